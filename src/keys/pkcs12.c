#include "keys/pkcs12.h"

#include <openssl/err.h>
#include <openssl/pkcs12.h>
#include <string.h>

enum {
	PASSWORD_MAX = 128, NAME_MAX_BYTES = 255, APPLE_ROUNDS = 2048, MODERN_ROUNDS = 100000,
	ROUNDS_BUDGET = 4000000, BAGS_MAX = 64, BAG_DEPTH_MAX = 4,
};

static void authsafes_free(STACK_OF(PKCS7) *safes)
{
	sk_PKCS7_pop_free(safes, PKCS7_free);
}

static void bags_free(STACK_OF(PKCS12_SAFEBAG) *bags)
{
	sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
}

typedef STACK_OF(PKCS7) authsafes;
typedef STACK_OF(PKCS12_SAFEBAG) bags;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(authsafes, authsafes_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(bags, bags_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PKCS12, PKCS12_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PKCS8_PRIV_KEY_INFO, PKCS8_PRIV_KEY_INFO_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PBEPARAM, PBEPARAM_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PBE2PARAM, PBE2PARAM_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PBKDF2PARAM, PBKDF2PARAM_free)

static bool check_password(const char *password, GError **error)
{
	size_t len = strlen(password);

	for (size_t i = 0; i < len; i++) {
		if (password[i] < ' ' || password[i] > '~')
			len = 0;
	}
	return (len > 0 && len <= PASSWORD_MAX) || pom_fail(error, POM_ERR_PASSWORD, "the password of a PKCS#12 file must have 1 to %d printable ASCII characters", PASSWORD_MAX);
}

/* The private key itself, out of the face. */
static EVP_PKEY *take_key(struct signer *signer, GError **error)
{
	g_autoptr(GBytes) pkcs8 = signer_format(signer, error);
	gsize len;
	const uint8_t *p = pkcs8 ? g_bytes_get_data(pkcs8, &len) : NULL;

	return pkcs8 ? d2i_AutoPrivateKey(NULL, &p, (long)len) : NULL;
}

static PKCS12 *create(EVP_PKEY *key, X509 *leaf, const STACK_OF(X509) *chain, const char *name, const char *password, bool modern)
{
	int cipher_nid = modern ? NID_aes_256_cbc : NID_pbe_WithSHA1And3_Key_TripleDES_CBC, rounds = modern ? MODERN_ROUNDS : APPLE_ROUNDS;
	/* -1: no integrity yet, because this call would choose its digest. */
	g_autoptr(PKCS12) p12 = PKCS12_create(password, name, key, leaf, (STACK_OF(X509) *)chain, cipher_nid, cipher_nid, rounds, -1, 0);

	if (!p12 || !PKCS12_set_mac(p12, password, -1, NULL, 0, rounds, modern ? EVP_sha256() : EVP_sha1()))
		return NULL;
	return g_steal_pointer(&p12);
}

static GBytes *format(const PKCS12 *p12)
{
	uint8_t *der = NULL;
	int len = i2d_PKCS12(p12, &der);
	GBytes *bytes = len > 0 ? secret_bytes_new(der, (size_t)len) : NULL;

	OPENSSL_clear_free(der, len > 0 ? (size_t)len : 0);
	return bytes;
}

GBytes *pkcs12_make(struct signer *key, X509 *leaf, X509 *const *chain, size_t n, const char *friendly_name, const char *password, bool modern, GError **error)
{
	g_autoptr(EVP_PKEY) private_key = NULL;
	g_autoptr(PKCS12) p12 = NULL;

	if (!check_password(password, error) || !(private_key = take_key(key, error)))
		return NULL;
	if (X509_check_private_key(leaf, private_key) != 1) {
		ERR_clear_error();
		pom_fail(error, POM_ERR_KEY_MISMATCH, "a PKCS#12 file needs a key and its own certificate");
		return NULL;
	}
	if (n + 1 > PKCS12_CERTS_MAX || (friendly_name && (strlen(friendly_name) > NAME_MAX_BYTES || !g_utf8_validate(friendly_name, -1, NULL)))) {
		pom_fail(error, POM_ERR_CERT_MALFORMED, "a PKCS#12 file can have %d certificates and a name of %d bytes of UTF-8", PKCS12_CERTS_MAX, NAME_MAX_BYTES);
		return NULL;
	}
	STACK_OF(X509) *others = sk_X509_new_null();

	for (size_t i = 0; i < n; i++)
		sk_X509_push(others, chain[i]);
	p12 = create(private_key, leaf, others, friendly_name, password, modern);
	sk_X509_free(others);
	ERR_clear_error();
	GBytes *bytes = p12 ? format(p12) : NULL;

	if (!bytes)
		pom_fail(error, POM_ERR_KEY, "the PKCS#12 file could not be made");
	return bytes;
}

/* A file while it is opened. */
struct opening {
	const char *password; /* the one that fits; NULL differs from "" in this format */
	int password_len;
	bool verified;        /* the password is known to be right */
	long rounds_left;
	int bags_left;
	EVP_PKEY *key;        /* owned */
	GPtrArray *certs;     /* X509 */
	GError **error;
};

static bool malformed(struct opening *o, const char *what)
{
	ERR_clear_error();
	return pom_fail(o->error, POM_ERR_CERT_MALFORMED, "the PKCS#12 file cannot be read: %s", what);
}

static bool spend(struct opening *o, const ASN1_INTEGER *rounds)
{
	long n = rounds ? ASN1_INTEGER_get(rounds) : 1;

	if (n < 1 || n > o->rounds_left)
		return malformed(o, "it demands too many rounds of key derivation");
	o->rounds_left -= n;
	return true;
}

/* Looks at how much work an encryption makes before it is done. Derivations without rounds (scrypt) are not accepted. */
static bool check_encryption(struct opening *o, const X509_ALGOR *algorithm)
{
	if (OBJ_obj2nid(algorithm->algorithm) != NID_pbes2) {
		g_autoptr(PBEPARAM) pbe = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBEPARAM), algorithm->parameter);

		return pbe ? spend(o, pbe->iter) : malformed(o, "it is encrypted in a way that is not known here");
	}
	g_autoptr(PBE2PARAM) pbes2 = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), algorithm->parameter);
	bool is_pbkdf2 = pbes2 && OBJ_obj2nid(pbes2->keyfunc->algorithm) == NID_id_pbkdf2;
	g_autoptr(PBKDF2PARAM) pbkdf2 = is_pbkdf2 ? ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), pbes2->keyfunc->parameter) : NULL;

	return pbkdf2 ? spend(o, pbkdf2->iter) : malformed(o, "it is encrypted in a way that is not known here");
}

/* The password was right, if there was a way to know: so it is the cipher. */
static bool fail_to_decrypt(struct opening *o, const X509_ALGOR *algorithm)
{
	ERR_clear_error();
	if (!o->verified)
		return pom_fail(o->error, POM_ERR_PASSWORD, "the password of the PKCS#12 file is wrong, or the file is damaged");
	return pom_fail(o->error, POM_ERR_CERT_MALFORMED, "the PKCS#12 file is encrypted with %s, which cannot be read here: export it again with AES or triple DES",
	                OBJ_nid2ln(OBJ_obj2nid(algorithm->algorithm)));
}

static bool add_key(struct opening *o, const PKCS8_PRIV_KEY_INFO *info)
{
	EVP_PKEY *key = EVP_PKCS82PKEY(info);

	if (key && !o->key) {
		o->key = key;
		return true;
	}
	EVP_PKEY_free(key);
	return malformed(o, key ? "it holds several private keys" : "its private key is broken or of an unknown kind");
}

static bool add_encrypted_key(struct opening *o, const PKCS12_SAFEBAG *bag)
{
	const X509_ALGOR *algorithm = NULL;
	const X509_SIG *encrypted = PKCS12_SAFEBAG_get0_pkcs8(bag);

	X509_SIG_get0(encrypted, &algorithm, NULL);
	if (!check_encryption(o, algorithm))
		return false;
	g_autoptr(PKCS8_PRIV_KEY_INFO) info = PKCS12_decrypt_skey(bag, o->password, o->password_len);

	return info ? add_key(o, info) : fail_to_decrypt(o, algorithm);
}

static bool add_cert(struct opening *o, const PKCS12_SAFEBAG *bag)
{
	if (PKCS12_SAFEBAG_get_bag_nid(bag) != NID_x509Certificate)
		return true;
	g_autoptr(X509) read = PKCS12_SAFEBAG_get1_cert(bag);
	g_autoptr(GBytes) der = read ? cert_format_der(read) : NULL;
	X509 *cert = der && o->certs->len < PKCS12_CERTS_MAX ? cert_parse_der(g_bytes_get_data(der, NULL), g_bytes_get_size(der), NULL) : NULL;

	if (!cert)
		return malformed(o, "a certificate is broken, or there are too many");
	g_ptr_array_add(o->certs, cert);
	return true;
}

static bool read_bags(struct opening *o, const STACK_OF(PKCS12_SAFEBAG) *list, int depth);

static bool read_bag(struct opening *o, const PKCS12_SAFEBAG *bag, int depth)
{
	if (o->bags_left-- <= 0 || depth > BAG_DEPTH_MAX)
		return malformed(o, "it has too many parts");
	switch (PKCS12_SAFEBAG_get_nid(bag)) {
	case NID_keyBag:
		return add_key(o, PKCS12_SAFEBAG_get0_p8inf(bag));
	case NID_pkcs8ShroudedKeyBag:
		return add_encrypted_key(o, bag);
	case NID_certBag:
		return add_cert(o, bag);
	case NID_safeContentsBag:
		return read_bags(o, PKCS12_SAFEBAG_get0_safes(bag), depth + 1);
	default:
		return true;
	}
}

static bool read_bags(struct opening *o, const STACK_OF(PKCS12_SAFEBAG) *list, int depth)
{
	for (int i = 0; i < sk_PKCS12_SAFEBAG_num(list); i++) {
		if (!read_bag(o, sk_PKCS12_SAFEBAG_value(list, i), depth))
			return false;
	}
	return true;
}

static bool read_safe(struct opening *o, PKCS7 *safe)
{
	g_autoptr(bags) list = NULL;

	if (o->bags_left-- <= 0)
		return malformed(o, "it has too many parts");
	if (PKCS7_type_is_data(safe)) {
		list = PKCS12_unpack_p7data(safe);
	} else if (PKCS7_type_is_encrypted(safe) && safe->d.encrypted) {
		const X509_ALGOR *algorithm = safe->d.encrypted->enc_data->algorithm;

		if (!check_encryption(o, algorithm))
			return false;
		list = PKCS12_unpack_p7encdata(safe, o->password, o->password_len);
		if (!list)
			return fail_to_decrypt(o, algorithm);
	}
	return list ? read_bags(o, list, 0) : malformed(o, "a part is broken, or encrypted otherwise than by a password");
}

static bool verify_with(struct opening *o, PKCS12 *p12, const char *password)
{
	if (PKCS12_verify_mac(p12, password, -1) != 1)
		return false;
	o->password = password;
	o->password_len = password ? (int)strlen(password) : 0;
	return true;
}

/* No password may have been written as none or as an empty one. */
static bool verify(struct opening *o, PKCS12 *p12)
{
	const ASN1_INTEGER *rounds = NULL;
	bool is_empty = !o->password || !*o->password;

	if (!PKCS12_mac_present(p12))
		return true;
	PKCS12_get0_mac(NULL, NULL, NULL, &rounds, p12);
	if (!spend(o, rounds) || (is_empty && !spend(o, rounds)))
		return false;
	o->verified = verify_with(o, p12, o->password) || (is_empty && verify_with(o, p12, o->password ? NULL : ""));
	ERR_clear_error();
	return o->verified || pom_fail(o->error, POM_ERR_PASSWORD, is_empty ? "the PKCS#12 file needs a password" : "the password of the PKCS#12 file is wrong");
}

/* Puts the key's certificate first. */
static bool sort_certs(struct opening *o)
{
	for (guint i = 0; i < o->certs->len; i++) {
		EVP_PKEY *key = X509_get0_pubkey(o->certs->pdata[i]);

		if (key && EVP_PKEY_eq(key, o->key) == 1) {
			g_ptr_array_insert(o->certs, 0, g_ptr_array_steal_index(o->certs, i));
			return true;
		}
	}
	ERR_clear_error();
	return pom_fail(o->error, POM_ERR_KEY_MISMATCH, "no certificate in the PKCS#12 file is for its private key");
}

static bool read_all(struct opening *o, const void *data, size_t len)
{
	const uint8_t *p = data;
	g_autoptr(PKCS12) p12 = len <= PKCS12_MAX_BYTES ? d2i_PKCS12(NULL, &p, (long)len) : NULL;

	if (!p12 || p != (const uint8_t *)data + len)
		return malformed(o, "it is not one PKCS#12 structure (RFC 7292 §4)");
	if (!verify(o, p12))
		return false;
	g_autoptr(authsafes) safes = PKCS12_unpack_authsafes(p12);

	if (!safes)
		return malformed(o, "it is protected by a key in place of a password, or broken");
	for (int i = 0; i < sk_PKCS7_num(safes); i++) {
		if (!read_safe(o, sk_PKCS7_value(safes, i)))
			return false;
	}
	ERR_clear_error();
	return (o->key || malformed(o, "there is no private key in it")) && sort_certs(o);
}

bool pkcs12_open(const void *data, size_t len, const char *password, struct signer **ret_signer, GPtrArray **ret_certs, GError **error)
{
	struct opening o = {.password = password, .password_len = password ? (int)strlen(password) : 0, .rounds_left = ROUNDS_BUDGET, .bags_left = BAGS_MAX, .error = error};

	o.certs = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);
	if (!read_all(&o, data, len)) {
		g_ptr_array_unref(o.certs);
		EVP_PKEY_free(o.key);
		return false;
	}
	*ret_signer = signer_new_memory(o.key);
	*ret_certs = o.certs;
	return true;
}
