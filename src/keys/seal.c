#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keys/keys.h"

enum { NONCE_LEN = 12, TAG_LEN = 16, HEAD_LEN = 1 + SEAL_ID_LEN + NONCE_LEN, VERSION = 1 };

static void set_id(struct seal *seal)
{
	uint8_t digest[CERT_DIGEST_LEN];

	cert_sha256(seal->key, sizeof(seal->key), digest);
	memcpy(seal->id, digest, SEAL_ID_LEN);
}

static bool write_synced(int fd, const char *text, const char *path, GError **error)
{
	g_autofree char *dir = g_path_get_dirname(path);
	size_t len = strlen(text);
	int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ok = write(fd, text, len) == (ssize_t)len && fsync(fd) == 0 && dir_fd >= 0 && fsync(dir_fd) == 0;

	if (dir_fd >= 0)
		close(dir_fd);
	return ok ? true : pom_fail(error, POM_ERR_IO, "%s cannot be written: %s", path, g_strerror(errno));
}

bool seal_create_file(const char *path, const struct pom_random *random, GError **error)
{
	uint8_t key[SEAL_KEY_LEN];
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	g_autofree char *text = NULL, *line = NULL;
	bool ok;

	if (fd < 0)
		return pom_fail(error, POM_ERR_IO, "%s cannot be made: %s", path, g_strerror(errno));
	pom_random_fill(random, key, sizeof(key));
	text = hex_format(key, sizeof(key));
	line = g_strconcat(text, "\n", NULL);
	ok = write_synced(fd, line, path, error);
	explicit_bzero(key, sizeof(key));
	explicit_bzero(text, strlen(text));
	explicit_bzero(line, strlen(line));
	close(fd);
	return ok;
}

bool seal_load_file(const char *path, const struct pom_random *random, struct seal *ret, GError **error)
{
	g_autoptr(GBytes) key = NULL;
	struct stat st;
	char text[2 * SEAL_KEY_LEN + 2] = "";
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return pom_fail(error, POM_ERR_IO, "the encryption key %s cannot be read: %s. Without it nothing sealed in the database can be opened: put it back from your backup",
		                path, g_strerror(errno));
	if (fstat(fd, &st) < 0 || (st.st_mode & 077)) {
		close(fd);
		return pom_fail(error, POM_ERR_PERMISSION, "the encryption key %s can be read by others: chmod 600 it (and think about who has read it)", path);
	}
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	g_strchomp(text);
	key = n > 0 ? hex_parse(text) : NULL;
	explicit_bzero(text, sizeof(text));
	if (!key || g_bytes_get_size(key) != SEAL_KEY_LEN)
		return pom_fail(error, POM_ERR_CONFIG, "%s is not an encryption key: it must hold 64 hexadecimal digits", path);
	memcpy(ret->key, g_bytes_get_data(key, NULL), SEAL_KEY_LEN);
	ret->random = random;
	set_id(ret);
	return true;
}

static bool add_place(EVP_CIPHER_CTX *cipher, const char *table, const char *row, const char *column)
{
	g_autofree char *place = g_strdup_printf("%s/%s/%s", table, row, column);
	int n;

	return EVP_CipherUpdate(cipher, NULL, &n, (const uint8_t *)place, (int)strlen(place)) == 1;
}

GBytes *seal_close(const struct seal *seal, const char *table, const char *row, const char *column, const void *plain, size_t len)
{
	g_autoptr(EVP_CIPHER_CTX) cipher = EVP_CIPHER_CTX_new();
	uint8_t *out = g_malloc(HEAD_LEN + len + TAG_LEN);
	int n = 0, m = 0;

	out[0] = VERSION;
	memcpy(out + 1, seal->id, SEAL_ID_LEN);
	pom_random_fill(seal->random, out + 1 + SEAL_ID_LEN, NONCE_LEN);
	if (EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, seal->key, out + 1 + SEAL_ID_LEN) != 1 || !add_place(cipher, table, row, column) ||
	    EVP_EncryptUpdate(cipher, out + HEAD_LEN, &n, plain, (int)len) != 1 || EVP_EncryptFinal_ex(cipher, out + HEAD_LEN + n, &m) != 1 ||
	    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, out + HEAD_LEN + n + m) != 1)
		g_error("AES-256-GCM failed");
	return g_bytes_new_take(out, HEAD_LEN + len + TAG_LEN);
}

GBytes *seal_open(const struct seal *seal, const char *table, const char *row, const char *column, GBytes *sealed, GError **error)
{
	g_autoptr(EVP_CIPHER_CTX) cipher = EVP_CIPHER_CTX_new();
	gsize len = 0;
	const uint8_t *in = sealed ? g_bytes_get_data(sealed, &len) : NULL;
	g_autofree uint8_t *plain = NULL;
	GBytes *bytes;
	int n = 0, m = 0;

	if (len < HEAD_LEN + TAG_LEN || in[0] != VERSION) {
		pom_fail(error, POM_ERR_STORE_SEAL, "%s.%s of %s is not a sealed value", table, column, row);
		return NULL;
	}
	if (memcmp(in + 1, seal->id, SEAL_ID_LEN)) {
		pom_fail(error, POM_ERR_STORE_SEAL, "%s.%s of %s was sealed with another encryption key: put the right key file in place", table, column, row);
		return NULL;
	}
	len -= HEAD_LEN + TAG_LEN;
	plain = g_malloc(len + 1);
	if (EVP_DecryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, seal->key, in + 1 + SEAL_ID_LEN) != 1 || !add_place(cipher, table, row, column) ||
	    EVP_DecryptUpdate(cipher, plain, &n, in + HEAD_LEN, (int)len) != 1 ||
	    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, (void *)(in + HEAD_LEN + len)) != 1 || EVP_DecryptFinal_ex(cipher, plain + n, &m) != 1) {
		pom_fail(error, POM_ERR_STORE_SEAL, "%s.%s of %s is damaged or stands where it does not belong", table, column, row);
		return NULL;
	}
	bytes = secret_bytes_new(plain, len);
	explicit_bzero(plain, len);
	return bytes;
}

void hmac_sha256(const void *key, size_t key_len, const void *data, size_t len, uint8_t ret[32])
{
	unsigned n = 32;

	if (!HMAC(EVP_sha256(), key, (int)key_len, data, len, ret, &n))
		g_error("HMAC-SHA256 failed");
}

void seal_derive(const struct seal *seal, const char *label, uint8_t ret[32])
{
	hmac_sha256(seal->key, SEAL_KEY_LEN, label, strlen(label), ret);
}
