/* Paths of certificates at a given time. */
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/error.h"
#include "codec/cert_internal.h"

/* 1 refuses MD5 and SHA-1 signatures, and keys that are worth less than 80 bits. */
enum { CHAIN_AUTH_LEVEL = 1, CHAIN_AUTH_LEVEL_AGELESS = 0 };

G_DEFINE_AUTOPTR_CLEANUP_FUNC(X509_STORE, X509_STORE_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(X509_STORE_CTX, X509_STORE_CTX_free)

static X509_STORE *new_store(X509 *const *roots, size_t n)
{
	X509_STORE *store = X509_STORE_new();

	for (size_t i = 0; i < n; i++)
		X509_STORE_add_cert(store, roots[i]);
	return store;
}

/* Borrowed certificates: free the stack alone. */
static STACK_OF(X509) *new_stack(X509 *const *certs, size_t n)
{
	STACK_OF(X509) *stack = sk_X509_new_null();

	for (size_t i = 0; i < n; i++)
		sk_X509_push(stack, certs[i]);
	return stack;
}

static bool refuse(X509 *cert, int reason, GError **error)
{
	g_autofree char *name = cert ? cert_name_text(X509_get_subject_name(cert)) : g_strdup("");
	g_autofree char *serial = cert ? asn1_serial_text(X509_get0_serialNumber(cert)) : g_strdup("");
	bool is_date = reason == X509_V_ERR_CERT_NOT_YET_VALID || reason == X509_V_ERR_CERT_HAS_EXPIRED;

	return pom_fail(error, is_date ? POM_ERR_CERT_EXPIRED : POM_ERR_CERT_UNTRUSTED, "the certificate \"%s\" (serial number %s) fails: %s (RFC 5280 §6.1)", name, serial,
	                X509_verify_cert_error_string(reason));
}

/* OpenSSL counts the certificates between the leaf and each CA; a leaf that is to issue is between, too (RFC 5280 §4.2.1.9). */
static bool check_room(const STACK_OF(X509) *chain, GError **error)
{
	int n_below = 0;

	for (int i = 0; i < sk_X509_num(chain); i++) {
		X509 *cert = sk_X509_value(chain, i);
		long path_len = X509_get_pathlen(cert);

		if (i > 0 && path_len >= 0 && n_below > path_len)
			return refuse(cert, X509_V_ERR_PATH_LENGTH_EXCEEDED, error);
		if (!(X509_get_extension_flags(cert) & EXFLAG_SI))
			n_below++;
	}
	return true;
}

static bool run(X509_STORE_CTX *ctx, int64_t at_s, bool ca_leaf, GError **error)
{
	X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
	X509 *leaf = X509_STORE_CTX_get0_cert(ctx);

	/* A given time also keeps the clock out. */
	X509_VERIFY_PARAM_set_time(param, (time_t)at_s);
	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
	X509_VERIFY_PARAM_set_auth_level(param, CHAIN_AUTH_LEVEL);
	/* 1: by basicConstraints and, if there, key usage. Other values are for certificates of version 1. */
	if (ca_leaf && X509_check_ca(leaf) != 1)
		return refuse(leaf, X509_V_ERR_INVALID_CA, error);
	if (X509_verify_cert(ctx) != 1)
		return refuse(X509_STORE_CTX_get_current_cert(ctx), X509_STORE_CTX_get_error(ctx), error);
	return !ca_leaf || check_room(X509_STORE_CTX_get0_chain(ctx), error);
}

/* What no age excuses. The anchor's own signature does not count. */
static bool check_strength(const STACK_OF(X509) *chain, GError **error)
{
	int n = sk_X509_num(chain);

	for (int i = 0; i < n; i++) {
		X509 *cert = sk_X509_value(chain, i);
		EVP_PKEY *key = X509_get0_pubkey(cert);
		int digest_nid = NID_undef;

		if (i + 1 < n && (!X509_get_signature_info(cert, &digest_nid, NULL, NULL, NULL) || is_outdated_digest(digest_nid)))
			return refuse(cert, X509_V_ERR_CA_MD_TOO_WEAK, error);
		if (!key || !cert_key_check(key, NULL))
			return refuse(cert, X509_V_ERR_CA_KEY_TOO_SMALL, error);
	}
	return true;
}

/* Without a time, and told not to look at dates, OpenSSL asks no clock. */
static bool run_ageless(X509_STORE_CTX *ctx, GError **error)
{
	X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);

	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_NO_CHECK_TIME);
	X509_VERIFY_PARAM_set_auth_level(param, CHAIN_AUTH_LEVEL_AGELESS);
	if (X509_verify_cert(ctx) != 1)
		return refuse(X509_STORE_CTX_get_current_cert(ctx), X509_STORE_CTX_get_error(ctx), error);
	return check_strength(X509_STORE_CTX_get0_chain(ctx), error);
}

bool cert_chain_verify_ageless(X509 *leaf, X509 *const *intermediates, size_t n, X509 *const *roots, size_t n_roots, GError **error)
{
	g_autoptr(X509_STORE_CTX) ctx = X509_STORE_CTX_new();

	if (n > CERT_CHAIN_MAX || n_roots > CERT_CHAIN_MAX)
		return pom_fail(error, POM_ERR_CERT_UNTRUSTED, "there are more than %d certificates to look for a path among", CERT_CHAIN_MAX);
	g_autoptr(X509_STORE) store = new_store(roots, n_roots);
	STACK_OF(X509) *untrusted = new_stack(intermediates, n);
	bool ok = X509_STORE_CTX_init(ctx, store, leaf, untrusted) == 1 ? run_ageless(ctx, error) : pom_fail(error, POM_ERR_INTERNAL, "the verification of a certificate cannot start");

	sk_X509_free(untrusted);
	ERR_clear_error();
	return ok;
}

bool cert_chain_verify(X509 *leaf, X509 *const *intermediates, size_t n, X509 *const *roots, size_t n_roots, int64_t at_s, bool ca_leaf, GError **error)
{
	g_autoptr(X509_STORE_CTX) ctx = X509_STORE_CTX_new();

	if (n > CERT_CHAIN_MAX || n_roots > CERT_CHAIN_MAX)
		return pom_fail(error, POM_ERR_CERT_UNTRUSTED, "there are more than %d certificates to look for a path among", CERT_CHAIN_MAX);
	g_autoptr(X509_STORE) store = new_store(roots, n_roots);
	STACK_OF(X509) *untrusted = new_stack(intermediates, n);
	bool ok = X509_STORE_CTX_init(ctx, store, leaf, untrusted) == 1 ? run(ctx, at_s, ca_leaf, error)
	                                                               : pom_fail(error, POM_ERR_INTERNAL, "the verification of a certificate cannot start");

	sk_X509_free(untrusted);
	ERR_clear_error();
	return ok;
}
