#include "server/move.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/datadir.h"
#include "store/move_store.h"

/* The URL in the first line of FILE; one with a password must be ours alone. transfer full. */
static char *read_url(const char *file, GError **error)
{
	g_autoptr(GError) inner = NULL;
	g_autofree char *text = NULL;
	struct stat st;

	if (!g_file_get_contents(file, &text, NULL, &inner) || stat(file, &st) < 0) {
		pom_fail(error, POM_ERR_IO, "%s", inner ? inner->message : file);
		return NULL;
	}
	text[strcspn(text, "\r\n")] = '\0';
	if (store_url_has_password(text) && S_ISREG(st.st_mode) && (st.st_mode & 077)) {
		explicit_bzero(text, strlen(text));
		pom_fail(error, POM_ERR_PERMISSION, "%s holds a password, and others can read it: chmod 600 %s", file, file);
		return NULL;
	}
	return g_strdup(g_strstrip(text));
}

/* What was given as --NAME or --NAME-file; NULL without an error: neither. transfer full. */
static char *given_url(const char *name, const char *url, const char *file, GError **error)
{
	if (url && file) {
		pom_fail(error, POM_ERR_USAGE, "give --%s or --%s-file, not both", name, name);
		return NULL;
	}
	if (file)
		return read_url(file, error);
	if (url && store_url_has_password(url)) {
		pom_fail(error, POM_ERR_USAGE, "the URL of --%s holds a password, and everybody on this machine can see the arguments of programs: put the URL into a file that only you can read and name that with --%s-file,"
		         " or leave the password out and put it into a password file (PGPASSFILE, ~/.pgpass)", name, name);
		return NULL;
	}
	return g_strdup(url);
}

/* The database of the data directory. transfer full. */
static char *own_url(const char *dir, GError **error)
{
	struct settings settings;
	char *url = NULL;

	settings_init(&settings);
	if (datadir_load_settings(dir, &settings, error))
		url = datadir_store_url(dir, &settings);
	settings_clear(&settings);
	return url;
}

static char *source_url(const struct move_options *o, GError **error)
{
	g_autoptr(GError) inner = NULL;
	char *url = given_url("from", o->from, o->from_file, &inner);

	if (inner) {
		g_propagate_error(error, g_steal_pointer(&inner));
		return NULL;
	}
	return url ? url : own_url(o->dir, error);
}

static char *target_url(const struct move_options *o, GError **error)
{
	g_autoptr(GError) inner = NULL;
	char *url = given_url("to", o->to, o->to_file, &inner);

	if (!url && !inner)
		pom_fail(&inner, POM_ERR_USAGE, "--to is missing: the URL of the new database, sqlite:/path/to/file or postgresql://…");
	if (inner)
		g_propagate_error(error, g_steal_pointer(&inner));
	return url;
}

/* Keeps servers away from the data directory DIR, when it is one: *RET_FD is the lock, or -1. */
static bool lock_dir(const char *dir, int *ret_fd, GError **error)
{
	g_autofree char *conf = datadir_path(dir, DATADIR_CONF);

	*ret_fd = -1;
	if (!g_file_test(conf, G_FILE_TEST_EXISTS))
		return true;
	*ret_fd = datadir_lock(dir, error);
	return *ret_fd >= 0;
}

/* The data directory that a database in a file lies in. transfer full; NULL: it is not in a file. */
static char *dir_of(const char *url)
{
	return g_str_has_prefix(url, "sqlite:") ? g_path_get_dirname(url + strlen("sqlite:")) : NULL;
}

/* The locks of the data directories that the databases lie in. */
struct locks { int fds[2]; };

static void locks_clear(struct locks *locks)
{
	for (size_t i = 0; i < G_N_ELEMENTS(locks->fds); i++)
		if (locks->fds[i] >= 0)
			close(locks->fds[i]);
}

typedef struct locks locks;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(locks, locks_clear)

static bool take_locks(struct locks *locks, const char *from, const char *to, GError **error)
{
	g_autofree char *from_dir = dir_of(from), *to_dir = to ? dir_of(to) : NULL;

	if (from_dir && !lock_dir(from_dir, &locks->fds[0], error))
		return false;
	/* Both may lie in one. */
	return !to_dir || !g_strcmp0(from_dir, to_dir) || lock_dir(to_dir, &locks->fds[1], error);
}

static json_t *report_json(const struct store_move_report *report, const char *from, const char *to)
{
	g_autofree char *from_name = store_url_show(from), *to_name = store_url_show(to);
	json_t *tables = json_array();

	for (guint i = 0; i < report->tables->len; i++) {
		const struct store_move_table *table = &g_array_index(report->tables, struct store_move_table, i);

		json_array_append_new(tables, json_pack("{s:s, s:I, s:s}", "name", table->name, "rows", (json_int_t)table->n_rows, "sha256", table->sha256));
	}
	return json_pack("{s:s, s:s, s:I, s:I, s:b, s:o}", "from", from_name, "to", to_name, "rows", (json_int_t)report->n_rows, "copied", (json_int_t)report->n_copied, "resumed", report->resumed, "tables", tables);
}

bool move_run(const struct move_options *o, json_t **ret_report, GError **error)
{
	g_auto(locks) locks = {{-1, -1}};
	g_autofree char *from = source_url(o, error), *to = from ? target_url(o, error) : NULL;
	struct store_move move = {from, to, pom_clock_system(), pom_random_system(), o->step, o->ctx};
	g_auto(store_move_report) report = {0};

	if (!to || !take_locks(&locks, from, to, error) || !store_move(&move, &report, error))
		return false;
	*ret_report = report_json(&report, from, to);
	return true;
}

bool move_undo(const struct move_options *o, char **ret_name, GError **error)
{
	g_auto(locks) locks = {{-1, -1}};
	g_autofree char *from = source_url(o, error);

	if (!from || !take_locks(&locks, from, NULL, error) || !store_move_undo(from, error))
		return false;
	*ret_name = store_url_show(from);
	return true;
}
