#include "db/driver.h"

struct db *db_postgres_open(const char *url, const struct db_config *config, GError **error)
{
	pom_fail(error, POM_ERR_STORE_AWAY, "not yet");
	return NULL;
}
