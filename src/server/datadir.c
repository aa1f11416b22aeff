#include "server/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* What is at DIR: false with an error when it must not be touched. */
static bool look(const struct datadir_options *o, bool *ret_existed, GError **error)
{
	g_autofree char *conf = datadir_path(o->dir, DATADIR_CONF), *key = datadir_path(o->dir, DATADIR_SEAL);
	struct settings settings;
	bool same;

	*ret_existed = false;
	if (!g_file_test(o->dir, G_FILE_TEST_EXISTS) || is_empty(o->dir))
		return true;
	if (!g_file_test(conf, G_FILE_TEST_IS_REGULAR) || !g_file_test(key, G_FILE_TEST_IS_REGULAR))
		return pom_fail(error, POM_ERR_CONFLICT, "%s exists and is not a data directory of Pomona: name another, or an empty one", o->dir);
	settings_init(&settings);
	same = settings_load_file(&settings, conf, error) && (!strcmp(settings_text(&settings, SETTING_URL) ? settings_text(&settings, SETTING_URL) : "", o->url) ||
	       pom_fail(error, POM_ERR_CONFLICT, "%s was made for %s: devices that are enrolled know that URL. Name another directory", o->dir, settings_text(&settings, SETTING_URL)));
	settings_clear(&settings);
	*ret_existed = same;
	return same;
}

static bool write_conf(const char *dir, const struct datadir_options *o, GError **error)
{
	g_autoptr(GKeyFile) file = g_key_file_new();
	g_autofree char *path = datadir_path(dir, DATADIR_CONF), *text = NULL;
	gsize len;

	g_key_file_set_string(file, "server", "url", o->url);
	g_key_file_set_string(file, "server", "organization", o->organization);
	if (o->store_url)
		g_key_file_set_string(file, "store", "url", o->store_url);
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

static bool fill(const char *dir, const struct datadir_options *o, GError **error)
{
	g_autofree char *key = datadir_path(dir, DATADIR_SEAL), *db = datadir_path(dir, DATADIR_DB), *url = o->store_url ? g_strdup(o->store_url) : g_strconcat("sqlite:", db, NULL);
	const struct ca_spec ca = {.name = "default", .organization = o->organization, .key_type = o->key_type, .root_bits = o->root_bits, .issuing_bits = o->issuing_bits, .ra = o->ra};
	struct seal seal;
	struct store *store;
	bool ok;

	if (!seal_create_file(key, pom_random_system(), error) || !seal_load_file(key, pom_random_system(), &seal, error))
		return false;
	store = store_open(url, pom_clock_system(), pom_random_system(), error);
	ok = store && ca_make_first(store, &seal, &ca, pom_clock_system(), pom_random_system(), error) && make_token(dir, store, error) && write_root(dir, store, error);
	store_close(store);
	explicit_bzero(&seal, sizeof(seal));
	return ok && write_conf(dir, o, error);
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

bool datadir_init(const struct datadir_options *o, bool *ret_existed, GError **error)
{
	g_autofree char *trimmed = g_strdup(o->dir), *making = NULL, *parent = NULL;

	if (!look(o, ret_existed, error))
		return false;
	if (*ret_existed)
		return true;
	for (size_t n = strlen(trimmed); n > 1 && trimmed[n - 1] == '/'; n--)
		trimmed[n - 1] = '\0';
	making = g_strconcat(trimmed, ".new", NULL);
	parent = g_path_get_dirname(trimmed);
	if (g_file_test(making, G_FILE_TEST_EXISTS)) {
		g_autofree char *key = datadir_path(making, DATADIR_SEAL);

		if (g_file_test(key, G_FILE_TEST_IS_REGULAR) || is_empty(making))
			remove_leftovers(making);
	}
	if (g_mkdir_with_parents(parent, 0755) < 0 || g_mkdir(making, 0700) < 0)
		return pom_fail(error, POM_ERR_IO, "%s cannot be made: %s", making, g_strerror(errno));
	if (!fill(making, o, error)) {
		remove_leftovers(making);
		return false;
	}
	if (rename(making, trimmed) < 0)
		return pom_fail(error, POM_ERR_IO, "%s cannot be made: %s", trimmed, g_strerror(errno));
	sync_dir(trimmed);
	return true;
}

bool datadir_load_settings(const char *dir, struct settings *settings, GError **error)
{
	g_autofree char *conf = datadir_path(dir, DATADIR_CONF);

	if (!g_file_test(conf, G_FILE_TEST_EXISTS))
		return pom_fail(error, POM_ERR_NOT_FOUND, "%s is not a data directory (it has no %s): run \"pomona init --data %s --url https://…\" first", dir, DATADIR_CONF, dir);
	return settings_load_file(settings, conf, error) && settings_load_environment(settings, error);
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
