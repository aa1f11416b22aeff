/* Backups of a data directory: a folder with the database as it was at one moment, the settings, the root certificate, and a manifest that
 * names each file with its size and SHA-256. The manifest is sealed with the encryption key, so that a backup which was changed, or is given
 * the wrong key, is told from a good one. The secrets in the database stay sealed: the key itself is in the backup only when that is asked for. */
#pragma once

#include "codec/json.h"

/* What goes on: WHAT is for people ("copying the database"), DONE and ALL are in units of the work, ALL 0 when it is not known. Called every
 * few milliseconds; false breaks off. */
struct backup_progress {
	bool (*step)(void *ctx, const char *what, uint64_t done, uint64_t all);
	void *ctx;
};

struct backup_options {
	const char *dir;    /* data directory; a server may be running over it */
	const char *folder; /* to be made; it may be there when it is empty */
	bool with_key;      /* put the encryption key and the admin token into it too */
	const struct backup_progress *progress; /* NULL: none */
};
/* Makes a backup. *RET_MANIFEST is what manifest.json holds, transfer full. Nothing is left of a backup that fails or is broken off. POM_ERR_CONFLICT
 * (FOLDER is in use), POM_ERR_CONFIG, POM_ERR_IO, POM_ERR_PERMISSION, POM_ERR_STORE_* (the database is damaged), POM_ERR_CANCELED. Blocks. */
bool backup_make(const struct backup_options *options, json_t **ret_manifest, GError **error) G_GNUC_WARN_UNUSED_RESULT;

struct restore_options {
	const char *folder;    /* a backup */
	const char *dir;       /* to be made; it may be there when it is empty */
	const char *seal_file; /* the encryption key; NULL: the one in the backup */
	const struct backup_progress *progress; /* NULL: none */
};
/* Makes a data directory from a backup, after all of it has been examined. *RET_REPORT, transfer full: {"data", "created", "version", "url", "missing":
 * ["what is not in the backup and must be seen to", …]}. Nothing is left of a restore that fails or is broken off. POM_ERR_BACKUP (with the file and
 * the reason), POM_ERR_STORE_SEAL (another key), POM_ERR_STORE_SCHEMA, POM_ERR_CONFLICT, POM_ERR_NOT_FOUND, POM_ERR_IO, POM_ERR_CANCELED. Blocks. */
bool backup_restore(const struct restore_options *options, json_t **ret_report, GError **error) G_GNUC_WARN_UNUSED_RESULT;
