#include "db/postgres.h"

/* One row: whether there is a table of schemas, and how many relations there are beside it. */
static const char FOUND[] =
	"SELECT to_regclass('pomona_schema') IS NOT NULL, (SELECT count(*) FROM pg_catalog.pg_class WHERE relnamespace = to_regnamespace(current_schema()) AND relkind IN ('r', 'p', 'v', 'm', 'f'))";

static PGresult *ask(PGconn *pg, const char *sql, GError **error)
{
	PGresult *result = PQexec(pg, sql);
	g_autofree char *message = NULL;

	if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1)
		return result;
	message = pg_message(pg, result);
	PQclear(result);
	pom_fail(error, PQstatus(pg) == CONNECTION_OK ? POM_ERR_STORE_REFUSED : POM_ERR_STORE_AWAY, "PostgreSQL: %s", message);
	return NULL;
}

static bool peek(PGconn *pg, int *ret_schema, GError **error)
{
	PGresult *result = ask(pg, FOUND, error);
	bool is_ours, is_empty;

	if (!result)
		return false;
	is_ours = *PQgetvalue(result, 0, 0) == 't';
	is_empty = !g_ascii_strtoll(PQgetvalue(result, 0, 1), NULL, 10);
	PQclear(result);
	*ret_schema = 0;
	if (!is_ours)
		return is_empty ? true : pom_fail(error, POM_ERR_STORE_UNFIT, "the database \"%s\" holds tables that are not Pomona's: make one for Pomona alone (CREATE DATABASE …)", PQdb(pg));
	result = ask(pg, "SELECT coalesce(max(version), 0) FROM pomona_schema", error);
	if (!result)
		return false;
	*ret_schema = (int)g_ascii_strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);
	return true;
}

bool db_postgres_peek(const char *url, int *ret_schema, GError **error)
{
	PGconn *pg = pg_connect(url, error);
	bool ok = pg && pg_check_fit(url, pg, error) && peek(pg, ret_schema, error);

	PQfinish(pg);
	return ok;
}
