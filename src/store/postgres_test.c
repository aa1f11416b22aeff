/* Every statement is prepared on a real PostgreSQL with the types that we declare, and its columns must have the types that we
 * declare: the SQL text is one for both engines, long before the second driver exists. Run by tests/with_postgres.sh. */
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "db/testkit.h"
#include "store/statements.h"

enum { INT8 = 20, TEXT = 25, BYTEA = 17 };

static Oid oid_of(char type)
{
	return type == 'i' ? INT8 : type == 't' ? TEXT : BYTEA;
}

static void test_statement(PGconn *connection, const struct db_statement *s, int number)
{
	Oid types[DB_PARAMS_MAX];
	PGresult *result;
	const char *why = NULL;

	for (size_t i = 0; s->params[i]; i++)
		types[i] = oid_of(s->params[i]);
	result = PQprepare(connection, s->name, s->sql, (int)strlen(s->params), types);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		why = PQresultErrorMessage(result);
	if (!why) {
		PQclear(result);
		result = PQdescribePrepared(connection, s->name);
		if (PQnfields(result) != (int)strlen(s->results))
			why = "another number of columns than declared";
		if (PQnparams(result) != (int)strlen(s->params))
			why = "another number of parameters than declared";
		for (int i = 0; !why && i < PQnfields(result); i++)
			if (PQftype(result, i) != oid_of(s->results[i]))
				why = PQfname(result, i);
	}
	printf("%s %d - %s\n", why ? "not ok" : "ok", number, s->name);
	if (why)
		printf("# %s\n", why);
	PQclear(result);
}

/* What the janitor looks for by an index that holds just what is due: PostgreSQL can use it, too. (Of empty tables it would not; that is forbidden to it here.) */
static const struct { enum store_statement statement; const char *index, *values; } by_index[] = {
	{Q_RENEWAL_DUE, "epoch_renew", "1, 1, 1"}, {Q_CERTIFICATE_REVOKE_SUPERSEDED, "certificate_superseded", "1, 1"}, {Q_DDM_STALE, "ddm_state_untold", "1, 1"},
	{Q_COMMAND_EXPIRED, "command_expires", "1, 1"}, {Q_INVENTORY_DUE, "inventory_due", "1, 1"}, {Q_LIB_STATE_DUE, "profile_state_deadline", "1, 1"},
};

static void test_index(PGconn *connection, size_t i, int number)
{
	const struct db_statement *s = &store_statements[by_index[i].statement];
	g_autofree char *explain = g_strdup_printf("EXPLAIN EXECUTE \"%s\" (%s)", s->name, by_index[i].values), *words = g_strdup_printf(" %s ", by_index[i].index);
	PGresult *result = PQexec(connection, explain);
	bool found = false;

	for (int row = 0; row < PQntuples(result); row++)
		found |= strstr(PQgetvalue(result, row, 0), words) != NULL;
	printf("%s %d - %s by %s\n", found ? "ok" : "not ok", number, s->name, by_index[i].index);
	for (int row = 0; !found && row < PQntuples(result); row++)
		printf("# %s\n", PQgetvalue(result, row, 0));
	PQclear(result);
}

int main(void)
{
	char *url = test_database_new(NULL);
	PGconn *connection = PQconnectdb(url);

	printf("1..%d\n", Q_MAX + 1 + (int)G_N_ELEMENTS(by_index));
	for (unsigned i = 0; i < store_n_migrations; i++) {
		PGresult *result = PQexec(connection, store_migrations_postgres[i].sql);

		if (PQresultStatus(result) != PGRES_COMMAND_OK) {
			printf("not ok 1 - migration\n# %s\n", PQerrorMessage(connection));
			return 1;
		}
		PQclear(result);
	}
	printf("ok 1 - migrations\n");
	for (int i = 0; i < Q_MAX; i++)
		test_statement(connection, &store_statements[i], i + 2);
	PQclear(PQexec(connection, "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan"));
	for (size_t i = 0; i < G_N_ELEMENTS(by_index); i++)
		test_index(connection, i, Q_MAX + 2 + (int)i);
	PQfinish(connection);
	test_database_free(url);
	return 0;
}
