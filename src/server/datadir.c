#include "server/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/shared_settings.h"
#include "service/service.h"

char *datadir_path(const char *dir, const char *name)
{
	return g_build_filename(dir, name, NULL);
}

static bool write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return fsync(fd) == 0;
}

static void sync_dir(const char *path)
{
	g_autofree char *dir = g_path_get_dirname(path);
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0) {
		(void)!fsync(fd);
		close(fd);
	}
}

bool datadir_write_file(const char *path, const void *data, size_t len, int mode, GError **error)
{
	g_autofree char *temporary = g_strconcat(path, ".new", NULL);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	bool ok = fd >= 0 && write_all(fd, data, len);

	if (fd >= 0)
		close(fd);
	if (!ok || rename(temporary, path) < 0)
		return pom_fail(error, POM_ERR_IO, "%s cannot be written: %s", path, g_strerror(errno));
	sync_dir(path);
	return true;
}

static bool is_empty(const char *dir)
{
	g_autoptr(GDir) d = g_dir_open(dir, 0, NULL);

	return d && !g_dir_read_name(d);
}

/* Whether the data directory with CONF is of the server URL (NULL: any) and the database STORE_URL (NULL: any). */
static bool check_same(const char *dir, const char *conf, const char *url, const char *store_url, GError **error)
{
	struct settings settings;
	const char *own_url, *own_store;
	bool same;

	settings_init(&settings);
	same = settings_load_file(&settings, conf, error);
	own_url = settings_text(&settings, SETTING_URL) ? settings_text(&settings, SETTING_URL) : "";
	own_store = settings_text(&settings, SETTING_STORE) ? settings_text(&settings, SETTING_STORE) : "";
	if (same && url && strcmp(own_url, url))
		same = pom_fail(error, POM_ERR_CONFLICT, "%s was made for %s: devices that are enrolled know that URL. Name another directory", dir, own_url);
	else if (same && store_url && strcmp(own_store, store_url))
		same = pom_fail(error, POM_ERR_CONFLICT, "%s was made with another database (store.url in its %s). Name another directory; \"pomona migrate-store\" moves data from one database to another", dir, DATADIR_CONF);
	settings_clear(&settings);
	return same;
}

/* What is at DIR: false with an error when it must not be touched. */
static bool look(const char *dir, const char *url, const char *store_url, bool *ret_existed, GError **error)
{
	g_autofree char *conf = datadir_path(dir, DATADIR_CONF), *key = datadir_path(dir, DATADIR_SEAL);

	*ret_existed = false;
	if (!g_file_test(dir, G_FILE_TEST_EXISTS) || is_empty(dir))
		return true;
	if (!g_file_test(conf, G_FILE_TEST_IS_REGULAR) || !g_file_test(key, G_FILE_TEST_IS_REGULAR))
		return pom_fail(error, POM_ERR_CONFLICT, "%s exists and is not a data directory of Pomona: name another, or an empty one", dir);
	*ret_existed = check_same(dir, conf, url, store_url, error);
	return *ret_existed;
}

/* Writes those settings that are not left at their defaults; STORE_URL is where the data is, NULL: not said here. */
static bool write_conf(const char *dir, const struct settings *settings, const char *store_url, const char *node, GError **error)
{
	g_autoptr(GKeyFile) file = g_key_file_new();
	g_autofree char *path = datadir_path(dir, DATADIR_CONF), *text = NULL;
	gsize len;

	for (int i = 0; i < SETTING_MAX; i++)
		if (!shared_settings_is_own((enum setting)i) && strcmp(settings->values[i], setting_table[i].value))
			g_key_file_set_string(file, setting_table[i].section, setting_table[i].key, settings->values[i]);
	g_key_file_set_string(file, "server", "organization", settings->values[SETTING_ORGANIZATION]);
	if (store_url)
		g_key_file_set_string(file, "store", "url", store_url);
	if (node)
		g_key_file_set_string(file, "node", "name", node);
	g_key_file_set_comment(file, NULL, NULL, " Settings of Pomona. \"pomona help serve\" lists them all with their defaults.", NULL);
	text = g_key_file_to_data(file, &len, NULL);
	return datadir_write_file(path, text, len, 0644, error);
}

static bool make_token(const char *dir, struct store *store, GError **error)
{
	const struct pom_random *random = pom_random_system();
	g_autofree char *secret = pom_random_token(random, 32), *line = g_strconcat(secret, "\n", NULL), *path = datadir_path(dir, DATADIR_TOKEN);
	struct pom_id id = pom_id_new(pom_clock_system(), random);
	uint8_t hash[32];
	bool ok;

	cert_sha256(secret, strlen(secret), hash);
	ok = store_token_add(store, id.text, "admin", hash, false, pom_clock_now_ms(pom_clock_system()), NULL, error) && datadir_write_file(path, line, strlen(line), 0600, error);
	explicit_bzero(secret, strlen(secret));
	explicit_bzero(line, strlen(line));
	return ok;
}

bool datadir_write_key(const struct seal *seal, const char *dir, GError **error)
{
	g_autofree char *path = datadir_path(dir, DATADIR_SEAL), *hex = hex_format(seal->key, SEAL_KEY_LEN), *line = g_strconcat(hex, "\n", NULL);
	bool ok = datadir_write_file(path, line, strlen(line), 0600, error);

	explicit_bzero(hex, strlen(hex));
	explicit_bzero(line, strlen(line));
	return ok;
}

bool datadir_write_roots(const char *dir, X509 *const *roots, size_t n, GError **error)
{
	g_autofree char *path = datadir_path(dir, DATADIR_ROOT), *before = NULL;
	g_autoptr(GString) text = g_string_new(NULL);

	for (size_t i = 0; i < n; i++) {
		g_autofree char *pem = cert_format_pem(roots[i]);

		g_string_append(text, pem);
	}
	/* A start that changes nothing writes nothing. */
	if (g_file_get_contents(path, &before, NULL, NULL) && !strcmp(before, text->str))
		return true;
	return datadir_write_file(path, text->str, text->len, 0644, error);
}

static bool write_root(const char *dir, struct store *store, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_authority_list(store, &load, error);

	for (guint i = 0; rows && i < rows->len; i++) {
		const struct authority_row *row = &g_array_index(rows, struct authority_row, i);
		g_autoptr(X509) cert = NULL;

		if (strcmp(row->role, "root"))
			continue;
		cert = cert_parse_der(g_bytes_get_data(row->certificate, NULL), g_bytes_get_size(row->certificate), error);
		return cert && datadir_write_roots(dir, &cert, 1, error);
	}
	return false;
}

/* Whose data is in the database, by what is sealed in it. */
enum owner { NOBODY, THIS_KEY, ANOTHER_KEY };

/* KEY NULL: none of ours. */
static bool find_owner(struct store *store, const struct seal *key, enum owner *ret, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_authority_list(store, &load, error);

	if (!rows)
		return false;
	*ret = rows->len ? ANOTHER_KEY : NOBODY;
	for (guint i = 0; i < rows->len; i++) {
		const struct authority_row *row = &g_array_index(rows, struct authority_row, i);
		g_autoptr(GBytes) opened = key && row->key_sealed ? seal_open(key, "authority", row->id, "key", row->key_sealed, NULL) : NULL;

		if (opened)
			*ret = THIS_KEY;
	}
	return true;
}

static bool fail_key(const char *path, GError **error)
{
	return pom_fail(error, POM_ERR_STORE_SEAL, "%s is not the encryption key of this database: all nodes have a copy of the same " DATADIR_SEAL, path);
}

/* What devices and other nodes are told from the first moment on. */
static bool note_settings(struct store *store, const struct settings *settings, GError **error)
{
	return store_setting_put(store, "public_url", settings->values[SETTING_URL], error) && shared_settings_save(store, settings, error);
}

struct filling {
	const struct datadir_options *o;
	const char *dir; /* DIR.new */
	bool begun;      /* the database holds, or may hold, what the key here has sealed: the key must stay */
};

static bool fill_store(struct filling *f, struct store *store, const struct seal *seal, const char *key, GError **error)
{
	const struct datadir_options *o = f->o;
	const struct ca_spec ca = {.name = "default", .organization = o->organization, .key_type = o->key_type, .root_bits = o->root_bits, .issuing_bits = o->issuing_bits, .ra = o->ra};
	g_autoptr(GError) inner = NULL;
	enum owner owner;

	if (!find_owner(store, seal, &owner, error))
		return false;
	if (owner == ANOTHER_KEY)
		return fail_key(key, error);
	f->begun = o->store_url != NULL;
	if (owner == NOBODY && !ca_make_first(store, seal, &ca, pom_clock_system(), pom_random_system(), &inner)) {
		/* Whoever was first has sealed with a key of his own. */
		f->begun = f->begun && g_error_matches(inner, POM_ERROR, POM_ERR_STORE_UNKNOWN);
		g_propagate_error(error, g_steal_pointer(&inner));
		return false;
	}
	return make_token(f->dir, store, error) && write_root(f->dir, store, error);
}

static bool fill(struct filling *f, GError **error)
{
	const struct datadir_options *o = f->o;
	g_autofree char *key = datadir_path(f->dir, DATADIR_SEAL), *db = datadir_path(f->dir, DATADIR_DB), *url = o->store_url ? g_strdup(o->store_url) : g_strconcat("sqlite:", db, NULL);
	struct settings settings;
	struct store *store;
	struct seal seal;
	bool ok;

	if ((!g_file_test(key, G_FILE_TEST_EXISTS) && !seal_create_file(key, pom_random_system(), error)) || !seal_load_file(key, pom_random_system(), &seal, error))
		return false;
	settings_init(&settings);
	ok = settings_set_value(&settings, SETTING_URL, o->url, error) && settings_set_value(&settings, SETTING_ORGANIZATION, o->organization, error) &&
	     settings_set_value(&settings, SETTING_NODE_NAME, o->node ? o->node : "", error);
	store = ok ? store_open(url, pom_clock_system(), pom_random_system(), error) : NULL;
	ok = store && fill_store(f, store, &seal, key, error) && (!o->store_url || note_settings(store, &settings, error)) &&
	     write_conf(f->dir, &settings, o->keep_store_url ? o->store_url : NULL, o->node, error);
	store_close(store);
	settings_clear(&settings);
	explicit_bzero(&seal, sizeof(seal));
	return ok;
}

/* Removes what an interrupted init left, and nothing else: the folder may be somebody's. */
static void remove_leftovers(const char *dir)
{
	static const char *const names[] = {
		DATADIR_SEAL, DATADIR_DB, DATADIR_DB "-wal", DATADIR_DB "-shm", DATADIR_TOKEN, DATADIR_TOKEN ".new", DATADIR_ROOT, DATADIR_ROOT ".new",
		DATADIR_CONF, DATADIR_CONF ".new",
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = g_build_filename(dir, names[i], NULL);

		g_unlink(path);
	}
	g_rmdir(dir);
}

/* "DIR.new", transfer full, and that it can be made; NULL with an error. KEEP: what an interrupted init left there stays. */
static char *begin(const char *dir, bool keep, GError **error)
{
	g_autofree char *making = g_strconcat(dir, ".new", NULL), *parent = g_path_get_dirname(dir), *key = datadir_path(making, DATADIR_SEAL);
	bool is_there = g_file_test(making, G_FILE_TEST_EXISTS), is_left = g_file_test(key, G_FILE_TEST_IS_REGULAR);

	if (is_left && keep)
		return g_steal_pointer(&making);
	if (is_there && (is_left || is_empty(making)))
		remove_leftovers(making);
	if (g_mkdir_with_parents(parent, 0755) == 0 && g_mkdir(making, 0700) == 0)
		return g_steal_pointer(&making);
	pom_fail(error, POM_ERR_IO, "%s cannot be made: %s", making, g_strerror(errno));
	return NULL;
}

static bool finish(const char *making, const char *dir, GError **error)
{
	if (rename(making, dir) < 0)
		return pom_fail(error, POM_ERR_IO, "%s cannot be made: %s", dir, g_strerror(errno));
	sync_dir(dir);
	return true;
}

/* DIR without slashes at its end. transfer full. */
static char *trim(const char *dir)
{
	char *trimmed = g_strdup(dir);

	for (size_t n = strlen(trimmed); n > 1 && trimmed[n - 1] == '/'; n--)
		trimmed[n - 1] = '\0';
	return trimmed;
}

/* Whose data is in a database elsewhere; THIS_KEY: of an init that was interrupted and has left its key in MAKING. */
static bool find_begun(const char *store_url, const char *making, enum owner *ret, char **ret_url, GError **error)
{
	g_autofree char *key_path = datadir_path(making, DATADIR_SEAL);
	struct store *store;
	struct seal key;
	bool has_key = seal_load_file(key_path, pom_random_system(), &key, NULL), ok;
	int schema;

	*ret = NOBODY;
	if (!store_peek(store_url, &schema, error))
		return false;
	if (!schema)
		return true;
	store = store_open(store_url, pom_clock_system(), pom_random_system(), error);
	ok = store && find_owner(store, has_key ? &key : NULL, ret, error) && store_setting_get(store, "public_url", ret_url, error);
	store_close(store);
	explicit_bzero(&key, sizeof(key));
	return ok;
}

/* A database elsewhere is empty, or begun by an init like this one. */
static bool check_free(const char *store_url, const char *making, bool *ret_begun, GError **error)
{
	g_autofree char *known = NULL, *shown = store_url_show(store_url);
	enum owner owner;

	if (!find_begun(store_url, making, &owner, &known, error))
		return false;
	*ret_begun = owner == THIS_KEY;
	return owner != ANOTHER_KEY || pom_fail(error, POM_ERR_CONFLICT, "%s holds the data of a server already%s%s. To add a node to that server: pomona init --join --store … --seal-key FILE. A new server needs a database of its own",
	                                        shown, known ? ", " : "", known ? known : "");
}

bool datadir_init(const struct datadir_options *o, bool *ret_existed, GError **error)
{
	g_autofree char *dir = trim(o->dir), *leftover = g_strconcat(dir, ".new", NULL), *making = NULL;
	struct filling f = {.o = o};
	bool begun = false;

	if (!look(dir, o->url, o->keep_store_url ? o->store_url : NULL, ret_existed, error))
		return false;
	if (*ret_existed)
		return true;
	if (o->store_url && !check_free(o->store_url, leftover, &begun, error))
		return false;
	making = begin(dir, begun, error);
	if (!making)
		return false;
	f.dir = making;
	if (fill(&f, error))
		return finish(making, dir, error);
	if (f.begun)
		g_prefix_error(error, "the database is begun and its key is in %s, so run the same command again: ", making);
	else
		remove_leftovers(making);
	return false;
}

/* ---- another node */

/* What the settings of the server are, by its database. */
static bool take_settings(struct store *store, const struct datadir_join *o, struct settings *settings, GError **error)
{
	g_autoptr(json_t) shared = NULL;
	g_autofree char *url = NULL;

	if (!store_setting_get(store, "public_url", &url, error) || !shared_settings_load(store, &shared, error))
		return false;
	if (!url || !shared)
		return pom_fail(error, POM_ERR_CONFLICT, "the database does not say yet what its settings are: start the first node once (pomona serve), then add this one");
	if (o->url && strcmp(url, o->url))
		return pom_fail(error, POM_ERR_CONFLICT, "the server of this database is %s, not %s", url, o->url);
	return shared_settings_take(settings, shared, error) && settings_set_value(settings, SETTING_URL, url, error);
}

static bool fill_joined(const char *making, const struct datadir_join *o, struct store *store, const struct seal *seal, const struct settings *settings, GError **error)
{
	return datadir_write_key(seal, making, error) && write_root(making, store, error) && write_conf(making, settings, o->keep_store_url ? o->store_url : NULL, o->node, error);
}

/* Everything is known to be right by now. */
static bool place_joined(const struct datadir_join *o, struct store *store, const struct seal *seal, const struct settings *settings, bool *ret_existed, GError **error)
{
	g_autofree char *dir = trim(o->dir), *making = NULL;

	if (!look(dir, settings->values[SETTING_URL], o->keep_store_url ? o->store_url : NULL, ret_existed, error))
		return false;
	if (*ret_existed)
		return true;
	making = begin(dir, false, error);
	if (making && fill_joined(making, o, store, seal, settings, error))
		return finish(making, dir, error);
	if (making)
		remove_leftovers(making);
	return false;
}

/* The database of a server that is there, proved against the key. NULL with an error. */
static struct store *open_joined(const struct datadir_join *o, const struct seal *seal, GError **error)
{
	g_autofree char *shown = store_url_show(o->store_url);
	enum owner owner = NOBODY;
	struct store *store = NULL;
	int schema;

	if (!store_peek(o->store_url, &schema, error) || (schema && !(store = store_open(o->store_url, pom_clock_system(), pom_random_system(), error))))
		return NULL;
	if (store && find_owner(store, seal, &owner, error) && owner == THIS_KEY)
		return store;
	if (owner == ANOTHER_KEY)
		fail_key(o->seal_file, error);
	else if (!error || !*error)
		pom_fail(error, POM_ERR_CONFLICT, "%s is empty: there is no server to join. The first node is made with pomona init --url https://… --store …", shown);
	store_close(store);
	return NULL;
}

bool datadir_join(const struct datadir_join *o, bool *ret_existed, char **ret_url, char ***ret_missing, GError **error)
{
	struct settings settings;
	struct store *store;
	struct seal seal;
	bool ok;

	if (g_str_has_prefix(o->store_url, "sqlite:"))
		return pom_fail(error, POM_ERR_CONFIG, "a database of SQLite serves one node: move the data to PostgreSQL first (pomona migrate-store)");
	if (!seal_load_file(o->seal_file, pom_random_system(), &seal, error))
		return false;
	store = open_joined(o, &seal, error);
	settings_init(&settings);
	ok = store && take_settings(store, o, &settings, error) && place_joined(o, store, &seal, &settings, ret_existed, error);
	if (ok) {
		*ret_url = g_strdup(settings.values[SETTING_URL]);
		*ret_missing = settings_missing_files(&settings);
	}
	settings_clear(&settings);
	store_close(store);
	explicit_bzero(&seal, sizeof(seal));
	return ok;
}

/* ---- what is there */

/* A password of the database in CONF is for its owner alone. */
static bool check_secret(const char *conf, const struct settings *settings, GError **error)
{
	const char *url = settings_text(settings, SETTING_STORE);
	struct stat st;

	if (!url || !store_url_has_password(url) || (stat(conf, &st) == 0 && !(st.st_mode & 077)))
		return true;
	return pom_fail(error, POM_ERR_PERMISSION, "%s can be read by others, and store.url in it holds a password: chmod 600 it, or better keep the password in a file of its own (passfile=… in store.url)", conf);
}

bool datadir_load_settings(const char *dir, struct settings *settings, GError **error)
{
	g_autofree char *conf = datadir_path(dir, DATADIR_CONF);

	if (!g_file_test(conf, G_FILE_TEST_EXISTS))
		return pom_fail(error, POM_ERR_NOT_FOUND, "%s is not a data directory (it has no %s): run \"pomona init --data %s --url https://…\" first", dir, DATADIR_CONF, dir);
	return settings_load_file(settings, conf, error) && check_secret(conf, settings, error) && settings_load_environment(settings, error);
}

int datadir_lock(const char *dir, GError **error)
{
	g_autofree char *path = datadir_path(dir, DATADIR_LOCK);
	char pid[32] = "";
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0) {
		pom_fail(error, POM_ERR_IO, "%s cannot be opened: %s", path, g_strerror(errno));
		return -1;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		(void)!read(fd, pid, sizeof(pid) - 1);
		close(fd);
		pom_fail(error, POM_ERR_LOCKED, "another process (%s) already serves %s", *g_strstrip(pid) ? pid : "?", dir);
		return -1;
	}
	g_snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	(void)!ftruncate(fd, 0);
	(void)!pwrite(fd, pid, strlen(pid), 0);
	return fd;
}

char *datadir_store_url(const char *dir, const struct settings *settings)
{
	g_autofree char *db = datadir_path(dir, DATADIR_DB);
	const char *url = settings_text(settings, SETTING_STORE);

	return url ? g_strdup(url) : g_strconcat("sqlite:", db, NULL);
}
