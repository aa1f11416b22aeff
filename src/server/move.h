/* Moves of a data directory's data to another database. */
#pragma once

#include "codec/json.h"

struct move_options {
	const char *dir;        /* data directory: its database, unless FROM is given; no server may run over it */
	const char *from, *to;  /* URLs; NULL: not given */
	const char *from_file, *to_file; /* files with the URL in their first line; NULL: not given */
	/* As of store_move; NULL: none. */
	bool (*step)(void *ctx, const char *what, uint64_t done, uint64_t all);
	void *ctx;
};

/* Moves. *RET_REPORT, transfer full: {"from", "to" (without passwords), "rows", "copied", "resumed", "tables": [{"name", "rows", "sha256"}, …]}. A URL with a password is taken only from files and from pomona.conf.
 * POM_ERR_USAGE, POM_ERR_PERMISSION (others can read a file with a password), POM_ERR_LOCKED (a server runs), and those of store_move. Blocks. */
bool move_run(const struct move_options *options, json_t **ret_report, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Undoes: see store_move_undo; of TO nothing is asked. *RET_NAME: the database, without its password, transfer full. */
bool move_undo(const struct move_options *options, char **ret_name, GError **error) G_GNUC_WARN_UNUSED_RESULT;
