/* The data directory: what init makes and what serve finds. */
#pragma once

#include "keys/keys.h"
#include "server/settings.h"
#include "store/store.h"

/* Paths in a data directory; transfer full. */
#define DATADIR_CONF "pomona.conf"
#define DATADIR_DB "pomona.db"
#define DATADIR_SEAL "seal.key"
#define DATADIR_TOKEN "admin.token"
#define DATADIR_ROOT "root-ca.pem"
#define DATADIR_SOCKET "pomona.sock"
#define DATADIR_LOCK "lock"
#define DATADIR_PORTS "serve.json"
char *datadir_path(const char *dir, const char *name);

struct datadir_options {
	const char *dir, *url, *organization;
	const char *store_url; /* NULL: SQLite in the directory */
	bool keep_store_url;   /* it is written into pomona.conf; else the environment has it */
	const char *node;      /* node.name; NULL: not written */
	unsigned root_bits, issuing_bits;
	const char *key_type; /* "rsa" or "ec" */
	bool ra;              /* an RA stands beside the issuing CA (always with EC) */
};
/* Makes a data directory: all in a sibling "DIR.new" first, then renamed, so that an interrupted init leaves nothing half made. An existing
 * directory is taken only when it is empty or a data directory already: then nothing is changed and *RET_EXISTED is set (POM_ERR_CONFLICT when it
 * was made for another URL or database). A database elsewhere must be empty (POM_ERR_CONFLICT, POM_ERR_STORE_UNFIT), or hold what an init with the key in "DIR.new" has begun, which is gone on with. */
bool datadir_init(const struct datadir_options *options, bool *ret_existed, GError **error) G_GNUC_WARN_UNUSED_RESULT;

struct datadir_join {
	const char *dir, *store_url, *seal_file;
	bool keep_store_url; /* as above */
	const char *url;     /* what the server's must be; NULL: any */
	const char *node;    /* node.name; NULL: not written */
};
/* Makes the data directory of another node for the database at STORE_URL: settings from it, the encryption key from SEAL_FILE, which is proved against the database first. Nothing is
 * written to the database, but for its schema where this program is newer. *RET_URL: the server's; *RET_MISSING: files that settings name and that are not here; transfer full both.
 * *RET_EXISTED as above. POM_ERR_CONFLICT for an empty database, POM_ERR_STORE_SEAL for another key, POM_ERR_CONFIG for an engine that serves one node only. */
bool datadir_join(const struct datadir_join *options, bool *ret_existed, char **ret_url, char ***ret_missing, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Writes the encryption key as a file of DIR. */
bool datadir_write_key(const struct seal *seal, const char *dir, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Writes the file of root certificates (PEM, in the order given) for people to install, unless it says that already. */
bool datadir_write_roots(const char *dir, X509 *const *roots, size_t n, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Settings of a directory: file, then environment. POM_ERR_PERMISSION when the file holds a database password and others can read it. */
bool datadir_load_settings(const char *dir, struct settings *settings, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The lock that keeps a second process away: a descriptor to be kept open, or -1 (POM_ERR_LOCKED naming the process). */
int datadir_lock(const char *dir, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The database URL of a directory. transfer full. */
char *datadir_store_url(const char *dir, const struct settings *settings);
/* Writes a file that appears whole or not at all, synced. */
bool datadir_write_file(const char *path, const void *data, size_t len, int mode, GError **error) G_GNUC_WARN_UNUSED_RESULT;
