/* Engines and the padding functions are deprecated in OpenSSL 3.0, which has nothing in their place yet. */
#undef OPENSSL_NO_DEPRECATED
#define OPENSSL_SUPPRESS_DEPRECATED

#include "keys/pkcs11.h"

#include <openssl/core_names.h>
#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/ui.h>
#include <string.h>

#define SCHEME "pkcs11:"
enum { URI_MAX = 4096, PIN_MAX = 255, RSA_BYTES_MAX = 1024 };

/* CK_RV codes that a login gives (PKCS#11 2.40 §5.1), which the engine puts into OpenSSL's queue of errors. */
enum { CKR_PIN_INCORRECT = 0xa0, CKR_PIN_INVALID = 0xa1, CKR_PIN_LEN_RANGE = 0xa2, CKR_PIN_EXPIRED = 0xa3, CKR_PIN_LOCKED = 0xa4 };

/* Held during every call into the engine, and for these. */
static GMutex lock;
static ENGINE *engine;
static char *loaded_path;

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ENGINE, ENGINE_free)

static bool load(const char *path, GError **error)
{
	/* Looks for pkcs11.so in the folder of engines that libcrypto was built with. */
	g_autoptr(ENGINE) found = ENGINE_by_id("pkcs11");

	if (!found)
		return pom_fail(error, POM_ERR_CONFIG, "OpenSSL's engine \"pkcs11\" is not installed: install the package libengine-pkcs11-openssl");
	/* Whoever sets OpenSSL up after us (libcurl does) would make it the default for all keys, also for those in memory. */
	ENGINE_set_flags(found, ENGINE_get_flags(found) | ENGINE_FLAGS_NO_REGISTER_ALL);
	if (!ENGINE_ctrl_cmd_string(found, "MODULE_PATH", path, 0) || !ENGINE_init(found))
		return pom_fail(error, POM_ERR_CONFIG, "the PKCS#11 module %s cannot be loaded", path);
	engine = g_steal_pointer(&found);
	loaded_path = g_strdup(path);
	return true;
}

bool keys_load_pkcs11(const char *module_path, GError **error)
{
	G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);

	if (!g_path_is_absolute(module_path) || !g_file_test(module_path, G_FILE_TEST_IS_REGULAR))
		return pom_fail(error, POM_ERR_CONFIG, "there is no PKCS#11 module at \"%s\": name the file of your token's module by its whole path", module_path);
	if (engine)
		return !strcmp(loaded_path, module_path) || pom_fail(error, POM_ERR_CONFIG, "the PKCS#11 module %s is in use: a process has one", loaded_path);
	bool ok = load(module_path, error);

	ERR_clear_error();
	return ok;
}

static void wipe_free(char *text)
{
	if (text)
		OPENSSL_cleanse(text, strlen(text));
	g_free(text);
}

typedef char secret_text;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(secret_text, wipe_free)

/* URI without what follows '?' and without pin-value, which goes to *ret_pin if it is there; transfer full. The engine prints
 * the URI of a key that it cannot find, so no PIN may stand in it. */
static char *take_pin(const char *uri, char **ret_pin)
{
	static const char name[] = "pin-value=";
	g_autoptr(GString) clean = g_string_new(SCHEME);
	const char *p = uri + strlen(SCHEME);
	bool in_query = false;

	for (size_t len; *p; p += len + (p[len] != '\0')) {
		len = strcspn(p, ";?&");
		if (!strncmp(p, name, strlen(name))) {
			wipe_free(*ret_pin);
			*ret_pin = g_uri_unescape_segment(p + strlen(name), p + len, NULL);
		} else if (!in_query) {
			if (clean->str[clean->len - 1] != ':')
				g_string_append_c(clean, ';');
			g_string_append_len(clean, p, (gssize)len);
		}
		in_query |= p[len] == '?';
	}
	return g_string_free(g_steal_pointer(&clean), FALSE);
}

/* Whether the queue of errors has one of a login; empties it. */
static bool was_login(void)
{
	bool found = false;

	for (unsigned long code; (code = ERR_get_error());)
		found |= ERR_GET_REASON(code) >= CKR_PIN_INCORRECT && ERR_GET_REASON(code) <= CKR_PIN_LOCKED;
	return found;
}

static EVP_PKEY *load_key(const char *uri, const char *pin, GError **error)
{
	G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);

	if (!engine) {
		pom_fail(error, POM_ERR_CONFIG, "no PKCS#11 module is loaded: name the token's (a .so file) in the setting ca.pkcs11_module");
		return NULL;
	}
	/* UI_null: the engine would ask for a PIN on the terminal. */
	ERR_clear_error();
	EVP_PKEY *key = !pin || ENGINE_ctrl_cmd_string(engine, "PIN", pin, 0) ? ENGINE_load_private_key(engine, uri, (UI_METHOD *)UI_null(), NULL) : NULL;
	bool login = was_login();

	if (!key)
		pom_fail(error, login ? POM_ERR_PASSWORD : POM_ERR_KEY_UNAVAILABLE,
		         login ? "the token refuses the PIN for %s" : "there is no private key at %s, or its token is not there or needs a PIN: look with pkcs11-tool -O", uri);
	return key;
}

/* A public key of OpenSSL's own kind, which needs no token. */
static EVP_PKEY *public_half(EVP_PKEY *key)
{
	g_autoptr(GBytes) spki = cert_spki_format(key);
	gsize len;
	const uint8_t *p = g_bytes_get_data(spki, &len);

	return len > 0 ? d2i_PUBKEY(NULL, &p, (long)len) : NULL;
}

/* What the face needs: the key in the token, and its public half. */
struct token_key {
	EVP_PKEY *private_key, *public_key;
};

static bool unavailable(GError **error)
{
	ERR_clear_error();
	return pom_fail(error, POM_ERR_KEY_UNAVAILABLE, "the token did not sign: look whether it is there and unlocked");
}

static GBytes *token_sign(void *ctx, int digest_nid, const void *data, size_t len, GError **error)
{
	const struct token_key *key = ctx;
	G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);
	g_autoptr(EVP_MD_CTX) md = EVP_MD_CTX_new();
	const EVP_MD *digest = EVP_get_digestbynid(digest_nid);
	uint8_t signature[RSA_BYTES_MAX];
	size_t n = sizeof(signature);

	if (!digest) {
		pom_fail(error, POM_ERR_KEY, "the key cannot sign with %s", OBJ_nid2sn(digest_nid));
		return NULL;
	}
	if (EVP_DigestSignInit(md, NULL, digest, NULL, key->private_key) == 1 && EVP_DigestSign(md, signature, &n, data, len) == 1)
		return g_bytes_new(signature, n);
	unavailable(error);
	return NULL;
}

static bool token_sign_cert(void *ctx, X509 *cert, GError **error)
{
	const struct token_key *key = ctx;
	G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);

	return X509_sign(cert, key->private_key, EVP_sha256()) > 0 || unavailable(error);
}

/* The ciphertext as long as the modulus, into OUT; false when it is not below the modulus, or KEY has none: no token must be asked then. */
static bool fit(EVP_PKEY *key, GBytes *encrypted, uint8_t *out, size_t size)
{
	gsize len;
	const uint8_t *data = g_bytes_get_data(encrypted, &len);
	BIGNUM *modulus = NULL, *value = BN_bin2bn(data, (int)len, NULL);
	bool ok = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &modulus) && BN_cmp(value, modulus) < 0 && BN_bn2binpad(value, out, (int)size) == (int)size;

	BN_free(value);
	BN_free(modulus);
	return ok;
}

static bool raw_decrypt(EVP_PKEY *key, const uint8_t *in, uint8_t *out, size_t size)
{
	G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);
	g_autoptr(EVP_PKEY_CTX) ctx = EVP_PKEY_CTX_new(key, NULL);
	size_t n = size;

	return ctx && EVP_PKEY_decrypt_init(ctx) > 0 && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) > 0 && EVP_PKEY_decrypt(ctx, out, &n, in, size) > 0 && n == size;
}

static GBytes *remove_padding(const struct cms_recipient *recipient, const uint8_t *padded, size_t size)
{
	uint8_t out[RSA_BYTES_MAX];
	int n;

	if (recipient->oaep)
		n = RSA_padding_check_PKCS1_OAEP_mgf1(out, sizeof(out), padded, (int)size, (int)size, NULL, 0, EVP_get_digestbynid(recipient->oaep_digest_nid),
		                                      EVP_get_digestbynid(recipient->oaep_mgf_nid));
	else
		n = RSA_padding_check_PKCS1_type_2(out, sizeof(out), padded, (int)size, (int)size);
	GBytes *key = n >= 0 ? secret_bytes_new(out, (size_t)n) : NULL;

	OPENSSL_cleanse(out, sizeof(out));
	return key;
}

static GBytes *token_unwrap(void *ctx, const struct cms_recipient *recipient, bool *ret_unavailable)
{
	const struct token_key *key = ctx;
	uint8_t in[RSA_BYTES_MAX], out[RSA_BYTES_MAX];
	size_t size = (size_t)EVP_PKEY_get_size(key->public_key);
	GBytes *content = NULL;

	if (size > sizeof(in) || !fit(key->public_key, recipient->encrypted_key, in, size))
		return NULL;
	*ret_unavailable = !raw_decrypt(key->private_key, in, out, size);
	if (!*ret_unavailable)
		content = remove_padding(recipient, out, size);
	OPENSSL_cleanse(out, sizeof(out));
	ERR_clear_error();
	return content;
}

static void token_free(void *ctx)
{
	struct token_key *key = ctx;

	g_mutex_lock(&lock);
	EVP_PKEY_free(key->private_key);
	g_mutex_unlock(&lock);
	EVP_PKEY_free(key->public_key);
	g_free(key);
}

static struct signer *new_signer(EVP_PKEY *private_key, GError **error)
{
	static const struct signer_ops ops = {.sign = token_sign, .sign_cert = token_sign_cert, .unwrap = token_unwrap, .free = token_free};
	struct token_key *key = g_new0(struct token_key, 1);

	key->private_key = private_key;
	key->public_key = public_half(private_key);
	ERR_clear_error();
	if (key->public_key && (EVP_PKEY_get_base_id(key->public_key) == EVP_PKEY_RSA || EVP_PKEY_get_base_id(key->public_key) == EVP_PKEY_EC)) {
		EVP_PKEY_up_ref(key->public_key);
		return signer_new(&ops, key, key->public_key);
	}
	token_free(key);
	pom_fail(error, POM_ERR_KEY, "the token's key is neither RSA nor EC, or its public half is not in the token");
	return NULL;
}

struct signer *signer_open_pkcs11(const char *uri, const char *pin, GError **error)
{
	g_autofree char *clean = NULL;
	g_autoptr(secret_text) used_pin = g_strdup(pin);

	if (!g_str_has_prefix(uri, SCHEME) || strlen(uri) > URI_MAX || (pin && strlen(pin) > PIN_MAX)) {
		pom_fail(error, POM_ERR_CONFIG, "a key in a token is named by a URI such as \"pkcs11:token=ca;object=issuing\" of at most %d bytes (RFC 7512)", URI_MAX);
		return NULL;
	}
	clean = take_pin(uri, &used_pin);
	EVP_PKEY *key = load_key(clean, used_pin, error);

	return key ? new_signer(key, error) : NULL;
}
