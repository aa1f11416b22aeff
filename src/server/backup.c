#include "server/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/base64.h"
#include "server/datadir.h"

enum { FORMAT = 1, FILES_MAX = 8, MANIFEST_MAX = 64 * 1024, BLOCK = 256 * 1024, TEXT_MAX = 1024 };

#define MANIFEST "manifest.json"
/* Beside the folder that is being made; renamed when all is well. */
#define UNFINISHED ".unfinished"

/* What a backup can hold, and the mode of it in a data directory. */
static const struct { const char *name; int mode; bool required, only_with_key; } parts[] = {
	{DATADIR_DB, 0600, true, false}, {DATADIR_CONF, 0644, true, false}, {DATADIR_ROOT, 0644, false, false}, {DATADIR_SEAL, 0600, false, true}, {DATADIR_TOKEN, 0600, false, true},
};

struct file_entry {
	char *name;
	uint64_t size;
	uint8_t sha256[CERT_DIGEST_LEN];
};
struct manifest {
	char *version, *created, *url;
	int schema;
	uint8_t key_id[SEAL_ID_LEN];
	struct file_entry files[FILES_MAX];
	size_t n_files;
	GBytes *proof; /* the digest of all the above, sealed */
};

static void manifest_clear(struct manifest *manifest)
{
	g_free(manifest->version);
	g_free(manifest->created);
	g_free(manifest->url);
	for (size_t i = 0; i < manifest->n_files; i++)
		g_free(manifest->files[i].name);
	g_clear_pointer(&manifest->proof, g_bytes_unref);
}
typedef struct manifest manifest;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(manifest, manifest_clear)

/* ---- files ---- */

struct phase {
	const struct backup_progress *progress;
	const char *what;
};

static bool on_step(void *ctx, uint64_t done, uint64_t all)
{
	const struct phase *phase = ctx;

	return !phase->progress || phase->progress->step(phase->progress->ctx, phase->what, done, all);
}

static bool fail_canceled(const char *path, GError **error)
{
	return pom_fail(error, POM_ERR_CANCELED, "%s: broken off", path);
}

static bool fail_errno(const char *path, const char *what, GError **error)
{
	return pom_fail(error, POM_ERR_IO, "%s cannot be %s: %s", path, what, g_strerror(errno));
}

static bool sync_folder(const char *path, GError **error)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ok = fd >= 0 && fsync(fd) == 0;

	if (!ok)
		fail_errno(path, "written", error);
	if (fd >= 0)
		close(fd);
	return ok;
}

/* A regular file for reading, and its present size. -1 with an error. */
static int open_file(const char *path, uint64_t *ret_size, GError **error)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0) {
		pom_fail(error, errno == ENOENT ? POM_ERR_NOT_FOUND : POM_ERR_IO, "%s cannot be read: %s", path, g_strerror(errno));
		return -1;
	}
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		*ret_size = (uint64_t)st.st_size;
		return fd;
	}
	close(fd);
	pom_fail(error, POM_ERR_IO, "%s is no file", path);
	return -1;
}

static bool write_all(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

/* The way of the bytes of one file. */
struct pump {
	int from, to; /* to -1: they are only read */
	const char *from_path, *to_path;
	uint64_t size; /* as it was when it was opened, for the progress */
	struct phase phase;
};

/* Reads to the end, through BLOCK. ENTRY gets size and digest. */
static bool run_pump(struct pump *p, uint8_t *block, struct file_entry *entry, GError **error)
{
	g_autoptr(EVP_MD_CTX) digest = EVP_MD_CTX_new();
	ssize_t n;

	entry->size = 0;
	EVP_DigestInit_ex(digest, EVP_sha256(), NULL);
	while ((n = read(p->from, block, BLOCK)) > 0 || (n < 0 && errno == EINTR)) {
		if (n < 0)
			continue;
		EVP_DigestUpdate(digest, block, (size_t)n);
		entry->size += (uint64_t)n;
		if (p->to >= 0 && !write_all(p->to, block, (size_t)n))
			return fail_errno(p->to_path, "written", error);
		if (!on_step(&p->phase, MIN(entry->size, p->size), p->size))
			return fail_canceled(p->from_path, error);
	}
	EVP_DigestFinal_ex(digest, entry->sha256, NULL);
	return n == 0 ? true : fail_errno(p->from_path, "read", error);
}

static bool pump(struct pump *p, struct file_entry *entry, GError **error)
{
	g_autofree uint8_t *block = g_malloc(BLOCK);
	bool ok = run_pump(p, block, entry, error);

	/* The encryption key may have passed. */
	explicit_bzero(block, BLOCK);
	return ok;
}

/* Gives the file its mode and syncs it. */
static bool settle(int fd, const char *path, int mode, GError **error)
{
	return fchmod(fd, (mode_t)mode) == 0 && fsync(fd) == 0 ? true : fail_errno(path, "written", error);
}

/* Copies a file to a new one of the same NAME, synced. */
static bool copy_file(const char *from_dir, const char *to_dir, const char *name, int mode, struct file_entry *entry, struct phase phase, GError **error)
{
	g_autofree char *from_path = g_build_filename(from_dir, name, NULL), *to_path = g_build_filename(to_dir, name, NULL);
	struct pump p = {.to = -1, .from_path = from_path, .to_path = to_path, .phase = phase};
	bool ok;

	p.from = open_file(from_path, &p.size, error);
	if (p.from < 0)
		return false;
	p.to = open(to_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ok = (p.to >= 0 || fail_errno(to_path, "made", error)) && pump(&p, entry, error) && settle(p.to, to_path, mode, error);
	close(p.from);
	if (p.to >= 0)
		close(p.to);
	return ok;
}

/* Size and digest of a file of ours, which is synced too. */
static bool digest_file(const char *dir, const char *name, struct file_entry *entry, struct phase phase, GError **error)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);
	struct pump p = {.to = -1, .from_path = path, .phase = phase};
	bool ok;

	p.from = open_file(path, &p.size, error);
	if (p.from < 0)
		return false;
	ok = pump(&p, entry, error) && settle(p.from, path, 0600, error);
	close(p.from);
	return ok;
}

/* Removes what we may have made in an unfinished folder, and nothing else. */
static void remove_unfinished(const char *dir)
{
	static const char *const others[] = {MANIFEST, MANIFEST ".new", DATADIR_DB "-wal", DATADIR_DB "-shm", DATADIR_DB "-journal", DATADIR_CONF ".new"};

	for (size_t i = 0; i < G_N_ELEMENTS(parts) + G_N_ELEMENTS(others); i++) {
		g_autofree char *path = g_build_filename(dir, i < G_N_ELEMENTS(parts) ? parts[i].name : others[i - G_N_ELEMENTS(parts)], NULL);

		g_unlink(path);
	}
	g_rmdir(dir);
}

static bool is_free(const char *dir)
{
	g_autoptr(GDir) open = g_dir_open(dir, 0, NULL);

	return open ? !g_dir_read_name(open) : !g_file_test(dir, G_FILE_TEST_EXISTS) && !g_file_test(dir, G_FILE_TEST_IS_SYMLINK);
}

/* The unfinished folder for DIR, transfer full, made anew. NULL with an error. */
static char *begin(const char *dir, GError **error)
{
	g_autofree char *making = g_strconcat(dir, UNFINISHED, NULL), *parent = g_path_get_dirname(dir);

	if (!is_free(dir)) {
		pom_fail(error, POM_ERR_CONFLICT, "%s is there already: name a folder that is new or empty", dir);
		return NULL;
	}
	remove_unfinished(making);
	if (g_mkdir_with_parents(parent, 0755) == 0 && g_mkdir(making, 0700) == 0)
		return g_steal_pointer(&making);
	fail_errno(making, "made", error);
	return NULL;
}

/* The unfinished folder becomes DIR. */
static bool finish(const char *making, const char *dir, GError **error)
{
	g_autofree char *parent = g_path_get_dirname(dir);

	if (!sync_folder(making, error))
		return false;
	if (rename(making, dir) < 0)
		return fail_errno(dir, "made", error);
	return sync_folder(parent, error);
}

/* ---- manifest ---- */

/* The digest of all that the manifest says, over a text with one fixed form. */
static void manifest_digest(const struct manifest *m, uint8_t ret[CERT_DIGEST_LEN])
{
	g_autoptr(GString) text = g_string_new(NULL);
	g_autofree char *key_id = hex_format(m->key_id, sizeof(m->key_id));

	g_string_append_printf(text, "format %d\nversion %s\ncreated %s\nurl %s\nschema %d\nkey %s\n", FORMAT, m->version, m->created, m->url, m->schema, key_id);
	for (size_t i = 0; i < m->n_files; i++) {
		g_autofree char *hex = hex_format(m->files[i].sha256, CERT_DIGEST_LEN);

		g_string_append_printf(text, "file %s %" G_GUINT64_FORMAT " %s\n", m->files[i].name, m->files[i].size, hex);
	}
	cert_sha256(text->str, text->len, ret);
}

static json_t *manifest_format(const struct manifest *m)
{
	gsize len;
	const guchar *data = g_bytes_get_data(m->proof, &len);
	g_autofree char *key_id = hex_format(m->key_id, sizeof(m->key_id)), *proof = g_base64_encode(data, len);
	json_t *files = json_array();

	for (size_t i = 0; i < m->n_files; i++) {
		g_autofree char *hex = hex_format(m->files[i].sha256, CERT_DIGEST_LEN);

		json_array_append_new(files, json_pack("{s:s, s:I, s:s}", "name", m->files[i].name, "size", (json_int_t)m->files[i].size, "sha256", hex));
	}
	return json_pack("{s:i, s:s, s:s, s:s, s:i, s:s, s:o, s:s}", "format", FORMAT, "version", m->version, "created", m->created, "url", m->url, "schema", m->schema,
	                 "seal_key_id", key_id, "files", files, "proof", proof);
}

/* A text of one line. */
static bool take_text(const json_t *json, const char *name, char **ret)
{
	const char *text = json_string_value(json_object_get(json, name));

	if (!text || strlen(text) > TEXT_MAX || strpbrk(text, "\r\n"))
		return false;
	*ret = g_strdup(text);
	return true;
}

/* Hex of exactly LEN bytes. */
static bool take_hex(const json_t *json, const char *name, uint8_t *ret, size_t len)
{
	const char *text = json_string_value(json_object_get(json, name));
	g_autoptr(GBytes) bytes = text ? hex_parse(text) : NULL;

	if (!bytes || g_bytes_get_size(bytes) != len)
		return false;
	memcpy(ret, g_bytes_get_data(bytes, NULL), len);
	return true;
}

static bool is_listed(const struct manifest *m, const char *name)
{
	for (size_t i = 0; i < m->n_files; i++)
		if (!strcmp(m->files[i].name, name))
			return true;
	return false;
}

static bool take_file(struct manifest *m, const json_t *json, GError **error)
{
	const char *name = json_string_value(json_object_get(json, "name"));
	json_int_t size = json_is_integer(json_object_get(json, "size")) ? json_integer_value(json_object_get(json, "size")) : -1;
	struct file_entry *entry = &m->files[m->n_files];
	size_t i = 0;

	while (name && i < G_N_ELEMENTS(parts) && strcmp(name, parts[i].name))
		i++;
	if (!name || i == G_N_ELEMENTS(parts) || is_listed(m, name) || m->n_files == FILES_MAX || size < 0 || !take_hex(json, "sha256", entry->sha256, CERT_DIGEST_LEN))
		return pom_fail(error, POM_ERR_BACKUP, MANIFEST ": the entry of the file \"%s\" is not one that a backup has", name ? name : "");
	entry->name = g_strdup(name);
	entry->size = (uint64_t)size;
	m->n_files++;
	return true;
}

static bool take_proof(struct manifest *m, const json_t *json)
{
	const char *text = json_string_value(json_object_get(json, "proof"));
	size_t len = text ? strlen(text) : 0;
	g_autofree uint8_t *data = len && len <= TEXT_MAX ? g_malloc(base64_decoded_max(len)) : NULL;

	if (!data || !base64_parse(text, len, BASE64_STRICT, data, &len))
		return false;
	m->proof = g_bytes_new_take(g_steal_pointer(&data), len);
	return true;
}

static bool manifest_parse(const json_t *json, struct manifest *m, GError **error)
{
	const json_t *files = json_object_get(json, "files"), *schema = json_object_get(json, "schema"), *format = json_object_get(json, "format");

	if (!json_is_integer(format))
		return pom_fail(error, POM_ERR_BACKUP, MANIFEST " is none of a backup of Pomona");
	if (json_integer_value(format) != FORMAT)
		return pom_fail(error, POM_ERR_BACKUP, "the backup has format %d; this program knows %d: use the Pomona that made it, or a newer one", (int)json_integer_value(format), FORMAT);
	if (!take_text(json, "version", &m->version) || !take_text(json, "created", &m->created) || !take_text(json, "url", &m->url) || !json_is_integer(schema) ||
	    json_integer_value(schema) < 1 || json_integer_value(schema) > 1000000 || !take_hex(json, "seal_key_id", m->key_id, SEAL_ID_LEN) || !json_is_array(files) || !take_proof(m, json))
		return pom_fail(error, POM_ERR_BACKUP, MANIFEST " lacks something or holds a value of the wrong form");
	m->schema = (int)json_integer_value(schema);
	for (size_t i = 0; i < json_array_size(files); i++)
		if (!take_file(m, json_array_get(files, i), error))
			return false;
	for (size_t i = 0; i < G_N_ELEMENTS(parts); i++)
		if (parts[i].required && !is_listed(m, parts[i].name))
			return pom_fail(error, POM_ERR_BACKUP, "the backup has no %s", parts[i].name);
	return true;
}

static bool manifest_load(const char *folder, struct manifest *m, GError **error)
{
	g_autofree char *path = g_build_filename(folder, MANIFEST, NULL), *text = NULL;
	uint64_t size = 0;
	int fd = open_file(path, &size, NULL);
	g_autoptr(json_t) json = NULL;
	g_autoptr(GError) inner = NULL;
	ssize_t n = 0;

	if (fd < 0)
		return pom_fail(error, POM_ERR_NOT_FOUND, "%s is no backup: it has no readable " MANIFEST, folder);
	text = g_malloc(MANIFEST_MAX + 1);
	n = read(fd, text, MANIFEST_MAX + 1);
	close(fd);
	if (n < 0 || n > MANIFEST_MAX)
		return pom_fail(error, POM_ERR_BACKUP, "%s cannot be read or has more than %d bytes", path, MANIFEST_MAX);
	json = json_parse(text, (size_t)n, &inner);
	if (!json)
		return pom_fail(error, POM_ERR_BACKUP, "%s: %s", path, inner->message);
	return manifest_parse(json, m, error);
}

static void manifest_seal(struct manifest *m, const struct seal *seal)
{
	uint8_t digest[CERT_DIGEST_LEN];

	manifest_digest(m, digest);
	m->proof = seal_close(seal, "backup", "manifest", "proof", digest, sizeof(digest));
}

/* Whether the manifest is as it was sealed, with this key. */
static bool manifest_check(const struct manifest *m, const struct seal *seal, GError **error)
{
	uint8_t digest[CERT_DIGEST_LEN];
	g_autoptr(GBytes) sealed = NULL;

	if (memcmp(m->key_id, seal->id, SEAL_ID_LEN)) {
		g_autofree char *wanted = hex_format(m->key_id, SEAL_ID_LEN), *got = hex_format(seal->id, SEAL_ID_LEN);

		return pom_fail(error, POM_ERR_STORE_SEAL, "the encryption key has the id %s, the backup was made with %s: give the " DATADIR_SEAL " of the server that was backed up", got, wanted);
	}
	manifest_digest(m, digest);
	sealed = seal_open(seal, "backup", "manifest", "proof", m->proof, NULL);
	if (!sealed || g_bytes_get_size(sealed) != sizeof(digest) || memcmp(g_bytes_get_data(sealed, NULL), digest, sizeof(digest)))
		return pom_fail(error, POM_ERR_BACKUP, MANIFEST " was changed after the backup was made");
	return true;
}

/* ---- backup ---- */

static bool add_file(struct manifest *m, const struct backup_options *o, const char *making, size_t part, GError **error)
{
	g_autofree char *path = g_build_filename(o->dir, parts[part].name, NULL);
	struct phase phase = {o->progress, "copying the files"};
	struct file_entry *entry = &m->files[m->n_files];

	if (!parts[part].required && !g_file_test(path, G_FILE_TEST_EXISTS))
		return true;
	if (!copy_file(o->dir, making, parts[part].name, 0600, entry, phase, error))
		return false;
	entry->name = g_strdup(parts[part].name);
	m->n_files++;
	return true;
}

static bool add_database(struct manifest *m, const struct backup_options *o, const char *making, const char *url, GError **error)
{
	g_autofree char *copy = g_build_filename(making, DATADIR_DB, NULL);
	struct phase copying = {o->progress, "copying the database"}, checking = {o->progress, "checking the copy"}, summing = {o->progress, "computing digests"};
	const struct db_progress copied = {on_step, &copying}, checked = {on_step, &checking};
	struct file_entry *entry = &m->files[m->n_files];

	if (!store_copy(url, copy, &copied, &m->schema, error) || !store_check_copy(copy, &checked, &m->schema, error) || !digest_file(making, DATADIR_DB, entry, summing, error))
		return false;
	entry->name = g_strdup(DATADIR_DB);
	m->n_files++;
	return true;
}

static bool write_manifest(const struct manifest *m, const char *making, json_t **ret, GError **error)
{
	g_autofree char *path = g_build_filename(making, MANIFEST, NULL), *text = NULL;
	g_autoptr(json_t) json = manifest_format(m);

	text = json_dumps(json, JSON_INDENT(2));
	if (!datadir_write_file(path, text, strlen(text), 0600, error))
		return false;
	*ret = g_steal_pointer(&json);
	return true;
}

static bool fill_backup(struct manifest *m, const struct backup_options *o, const char *making, const char *store_url, const struct seal *seal, json_t **ret, GError **error)
{
	if (!add_database(m, o, making, store_url, error))
		return false;
	for (size_t i = 0; i < G_N_ELEMENTS(parts); i++)
		if (strcmp(parts[i].name, DATADIR_DB) && (o->with_key || !parts[i].only_with_key) && !add_file(m, o, making, i, error))
			return false;
	m->version = g_strdup(POMONA_VERSION);
	m->created = pom_time_format(pom_clock_now_ms(pom_clock_system()));
	memcpy(m->key_id, seal->id, SEAL_ID_LEN);
	manifest_seal(m, seal);
	return write_manifest(m, making, ret, error);
}

/* The public URL and where the data is, of the settings; transfer full both. */
static bool read_places(const struct backup_options *o, char **ret_url, char **ret_store_url, GError **error)
{
	struct settings settings;
	bool ok;

	settings_init(&settings);
	ok = datadir_load_settings(o->dir, &settings, error);
	if (ok) {
		*ret_url = g_strdup(settings_text(&settings, SETTING_URL) ? settings_text(&settings, SETTING_URL) : "");
		*ret_store_url = datadir_store_url(o->dir, &settings);
	}
	settings_clear(&settings);
	return ok;
}

bool backup_make(const struct backup_options *o, json_t **ret_manifest, GError **error)
{
	g_auto(manifest) m = {0};
	g_autofree char *making = NULL, *store_url = NULL, *key = datadir_path(o->dir, DATADIR_SEAL);
	g_autoptr(json_t) json = NULL;
	struct seal seal;
	bool ok;

	if (!read_places(o, &m.url, &store_url, error) || !seal_load_file(key, pom_random_system(), &seal, error))
		return false;
	making = begin(o->folder, error);
	ok = making && fill_backup(&m, o, making, store_url, &seal, &json, error) && finish(making, o->folder, error);
	explicit_bzero(&seal, sizeof(seal));
	if (!ok && making)
		remove_unfinished(making);
	if (ok)
		*ret_manifest = g_steal_pointer(&json);
	return ok;
}

/* ---- restore ---- */

/* The encryption key: what is given, else what is in the backup. */
static bool load_key(const struct restore_options *o, const struct manifest *m, struct seal *ret, GError **error)
{
	g_autofree char *inside = g_build_filename(o->folder, DATADIR_SEAL, NULL);

	if (o->seal_file)
		return seal_load_file(o->seal_file, pom_random_system(), ret, error);
	if (!is_listed(m, DATADIR_SEAL))
		return pom_fail(error, POM_ERR_NOT_FOUND, "the backup holds no encryption key: give the " DATADIR_SEAL " of the server that was backed up with --seal-key FILE");
	return seal_load_file(inside, pom_random_system(), ret, error);
}

static bool restore_file(const struct restore_options *o, const struct file_entry *wanted, const char *making, GError **error)
{
	struct phase phase = {o->progress, strcmp(wanted->name, DATADIR_DB) ? "copying the files" : "copying the database"};
	struct file_entry got = {0};
	g_autoptr(GError) inner = NULL;
	int mode = 0600;

	for (size_t i = 0; i < G_N_ELEMENTS(parts); i++)
		if (!strcmp(parts[i].name, wanted->name))
			mode = parts[i].mode;
	if (!copy_file(o->folder, making, wanted->name, mode, &got, phase, &inner)) {
		if (!g_error_matches(inner, POM_ERROR, POM_ERR_NOT_FOUND)) {
			g_propagate_error(error, g_steal_pointer(&inner));
			return false;
		}
		return pom_fail(error, POM_ERR_BACKUP, "%s is missing in the backup", wanted->name);
	}
	if (got.size != wanted->size)
		return pom_fail(error, POM_ERR_BACKUP, "%s has %" G_GUINT64_FORMAT " bytes, %" G_GUINT64_FORMAT " when the backup was made", wanted->name, got.size, wanted->size);
	if (memcmp(got.sha256, wanted->sha256, CERT_DIGEST_LEN))
		return pom_fail(error, POM_ERR_BACKUP, "%s is not as it was when the backup was made: its SHA-256 differs", wanted->name);
	return true;
}

static bool check_database(const struct restore_options *o, const struct manifest *m, const char *making, GError **error)
{
	g_autofree char *db = g_build_filename(making, DATADIR_DB, NULL);
	struct phase phase = {o->progress, "checking the database"};
	const struct db_progress checked = {on_step, &phase};
	int schema = 0;

	if (!store_check_copy(db, &checked, &schema, error))
		return false;
	return schema == m->schema ? true : pom_fail(error, POM_ERR_BACKUP, "the database has schema %d, the manifest says %d", schema, m->schema);
}

/* The key as a file of the new data directory, when it came from elsewhere. */
static bool place_key(const struct seal *seal, const char *making, GError **error)
{
	g_autofree char *path = g_build_filename(making, DATADIR_SEAL, NULL);

	return g_file_test(path, G_FILE_TEST_EXISTS) || datadir_write_key(seal, making, error);
}

/* The database is now in the new directory, wherever it was before. */
static bool forget_store_url(const char *conf, GError **error)
{
	g_autoptr(GKeyFile) file = g_key_file_new();
	g_autoptr(GError) inner = NULL;
	g_autofree char *text = NULL;
	gsize len;

	if (!g_key_file_load_from_file(file, conf, G_KEY_FILE_KEEP_COMMENTS, &inner))
		return pom_fail(error, POM_ERR_CONFIG, "%s: %s", conf, inner->message);
	if (!g_key_file_remove_key(file, setting_table[SETTING_STORE].section, setting_table[SETTING_STORE].key, NULL))
		return true;
	text = g_key_file_to_data(file, &len, NULL);
	return datadir_write_file(conf, text, len, 0644, error);
}

static void add_missing(const struct settings *settings, json_t *missing)
{
	g_auto(GStrv) lines = settings_missing_files(settings);

	for (int i = 0; lines[i]; i++)
		json_array_append_new(missing, json_string(lines[i]));
}

static bool check_settings(const struct manifest *m, const char *making, json_t *missing, GError **error)
{
	g_autofree char *conf = g_build_filename(making, DATADIR_CONF, NULL);
	struct settings settings;
	bool ok;

	settings_init(&settings);
	ok = settings_load_file(&settings, conf, error) && forget_store_url(conf, error);
	if (ok) {
		if (settings_text(&settings, SETTING_STORE))
			json_array_append_new(missing, json_string("the setting store.url was left out: the database is in the new data directory"));
		add_missing(&settings, missing);
		if (!is_listed(m, DATADIR_TOKEN))
			json_array_append_new(missing, json_string(DATADIR_TOKEN " is not in the backup: tokens made before go on working; make another with \"pomona token new\""));
	}
	settings_clear(&settings);
	return ok;
}

static bool fill_restored(const struct restore_options *o, const struct manifest *m, const struct seal *seal, const char *making, json_t *missing, GError **error)
{
	for (size_t i = 0; i < m->n_files; i++) {
		/* The key that was given is the one to be used, and known to be right. */
		if (strcmp(m->files[i].name, DATADIR_SEAL) && !restore_file(o, &m->files[i], making, error))
			return false;
	}
	return place_key(seal, making, error) && check_settings(m, making, missing, error) && check_database(o, m, making, error);
}

bool backup_restore(const struct restore_options *o, json_t **ret_report, GError **error)
{
	g_auto(manifest) m = {0};
	g_autofree char *making = NULL;
	g_autoptr(json_t) missing = json_array();
	struct seal seal;
	bool ok;

	if (!manifest_load(o->folder, &m, error) || !load_key(o, &m, &seal, error))
		return false;
	ok = manifest_check(&m, &seal, error) && (making = begin(o->dir, error)) && fill_restored(o, &m, &seal, making, missing, error) && finish(making, o->dir, error);
	explicit_bzero(&seal, sizeof(seal));
	if (!ok && making)
		remove_unfinished(making);
	if (ok)
		*ret_report = json_pack("{s:s, s:s, s:s, s:s, s:O}", "data", o->dir, "created", m.created, "version", m.version, "url", m.url, "missing", missing);
	return ok;
}
