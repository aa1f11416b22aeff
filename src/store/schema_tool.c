/* Brings a database to a schema, as the release that had it would: schema_tool URL NUMBER. For tests/scenarios/upgrade.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/statements.h"

int main(int argc, char **argv)
{
	unsigned n = argc == 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
	bool sqlite = argc == 3 && g_str_has_prefix(argv[1], "sqlite:");
	struct db_config config = {.migrations = sqlite ? store_migrations_sqlite : store_migrations_postgres, .n_migrations = n};
	g_autoptr(GError) error = NULL;
	struct db *db;

	if (n < 1 || n > store_n_migrations) {
		fprintf(stderr, "schema_tool URL NUMBER, from 1 to %u\n", store_n_migrations);
		return 2;
	}
	config.url = argv[1];
	/* The statements are of the newest schema only. */
	if (n == store_n_migrations) {
		config.statements = store_statements;
		config.n_statements = Q_MAX;
	}
	db = db_open(&config, &error);
	if (!db) {
		fprintf(stderr, "%s\n", error->message);
		return 1;
	}
	db_close(db);
	return 0;
}
