/* The files that people bring: told apart, opened, and, when they are the wrong ones, said so. */
#include <openssl/err.h>
#include <string.h>

#include "keys/pkcs12.h"
#include "service/push_cert_internal.h"

json_t *push_fail(GError **error, enum pom_error code, const char *format, ...)
{
	va_list args;
	g_autofree char *text = NULL;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	pom_fail(error, code, "%s", text);
	return NULL;
}

void push_found_clear(struct push_found *found)
{
	g_clear_pointer(&found->certificates, g_ptr_array_unref);
	g_clear_pointer(&found->keys, g_ptr_array_unref);
	g_clear_pointer(&found->requests, g_ptr_array_unref);
	g_clear_pointer(&found->documents, g_ptr_array_unref);
	g_clear_pointer(&found->messages, g_ptr_array_unref);
}

static bool add_certificate(struct push_found *found, const void *der, size_t len, GError **error)
{
	X509 *cert = cert_parse_der(der, len, error);

	if (cert)
		g_ptr_array_add(found->certificates, cert);
	return cert != NULL;
}

static bool fail_password(struct push_found *found, const char *password, const char *what, GError **error)
{
	if (password)
		return pom_fail(error, POM_ERR_PUSH_KEY_PASSWORD, "the password does not open the %s: give the one that it was encrypted with, without a line end that is not part of it", what);
	found->is_locked = true;
	return true;
}

static bool add_encrypted(struct push_found *found, const struct push_piece *piece, const char *password, GError **error)
{
	struct signer *key = password ? signer_parse_any(piece->data, piece->len, password, NULL) : NULL;

	if (!key)
		return fail_password(found, password, "private key", error);
	g_ptr_array_add(found->keys, key);
	return true;
}

static bool add_pkcs12(struct push_found *found, const struct push_piece *piece, const char *password, GError **error)
{
	g_autoptr(GPtrArray) certs = NULL;
	struct signer *key = NULL;
	GError *inner = NULL;

	if (!pkcs12_open(piece->data, piece->len, password, &key, &certs, &inner)) {
		bool wrong = g_error_matches(inner, POM_ERROR, POM_ERR_PASSWORD);

		if (!wrong) {
			g_propagate_error(error, inner);
			return false;
		}
		g_clear_error(&inner);
		return fail_password(found, password, "PKCS#12 file", error);
	}
	g_ptr_array_add(found->keys, key);
	for (guint i = 0; i < certs->len; i++) {
		X509_up_ref(g_ptr_array_index(certs, i));
		g_ptr_array_add(found->certificates, g_ptr_array_index(certs, i));
	}
	return true;
}

static bool add_cms(struct push_found *found, const struct push_piece *piece, GError **error)
{
	g_autoptr(GPtrArray) certs = cms_certs_only_parse(piece->data, piece->len, NULL);

	if (!certs)
		g_ptr_array_add(found->messages, g_bytes_new(piece->data, piece->len));
	for (guint i = 0; certs && i < certs->len; i++) {
		GBytes *der = g_ptr_array_index(certs, i);

		if (!add_certificate(found, g_bytes_get_data(der, NULL), g_bytes_get_size(der), error))
			return false;
	}
	return true;
}

static bool add_key(struct push_found *found, const struct push_piece *piece, GError **error)
{
	struct signer *key = signer_parse(piece->data, piece->len, error);

	if (key)
		g_ptr_array_add(found->keys, key);
	return key != NULL;
}

static bool add_piece(struct push_found *found, const struct push_piece *piece, const char *password, GError **error)
{
	switch (piece->kind) {
	case PUSH_PIECE_CERTIFICATE:
		return add_certificate(found, piece->data, piece->len, error);
	case PUSH_PIECE_KEY:
		return add_key(found, piece, error);
	case PUSH_PIECE_ENCRYPTED_KEY:
		return add_encrypted(found, piece, password, error);
	case PUSH_PIECE_PKCS12:
		return add_pkcs12(found, piece, password, error);
	case PUSH_PIECE_CMS:
		return add_cms(found, piece, error);
	case PUSH_PIECE_REQUEST:
		g_ptr_array_add(found->requests, g_bytes_new(piece->data, piece->len));
		return true;
	case PUSH_PIECE_DOCUMENT:
		g_ptr_array_add(found->documents, g_bytes_new(piece->data, piece->len));
		return true;
	case PUSH_PIECE_PAGE:
		found->has_page = true;
		return true;
	case PUSH_PIECE_OTHER:
	case PUSH_PIECE_MAX:
		found->has_other = true;
		return true;
	}
	g_assert_not_reached();
}

bool push_found_read(struct push_found *found, const struct push_files *files, GError **error)
{
	*found = (struct push_found){
		.certificates = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free), .keys = g_ptr_array_new_with_free_func((GDestroyNotify)signer_unref),
		.requests = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref), .documents = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref),
		.messages = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref),
	};
	for (size_t i = 0; i < files->n; i++) {
		gsize len;
		const void *data = g_bytes_get_data(files->files[i], &len);
		g_autoptr(GPtrArray) pieces = push_file_parse(data, len, error);

		if (!pieces)
			return false;
		for (guint k = 0; k < pieces->len; k++)
			if (!add_piece(found, g_ptr_array_index(pieces, k), files->password, error))
				return false;
	}
	return true;
}

bool push_found_fail(const struct push_found *found, GError **error)
{
	if (found->has_page)
		return pom_fail(error, POM_ERR_PUSH_IS_PAGE, "the file is a web page (HTML), although its name may end in .pem: the portal has sent a page, perhaps to sign in again, in place of the certificate. Download it anew at " PUSH_PORTAL_URL);
	if (found->documents->len)
		return pom_fail(error, POM_ERR_PUSH_IS_DOCUMENT, "this is the signed request, not Apple's answer to it: upload it at " PUSH_PORTAL_URL ", and import the certificate that is offered for download there");
	if (found->requests->len)
		return pom_fail(error, POM_ERR_PUSH_IS_REQUEST, "this is a certificate request (CSR), not a certificate: it is signed with \"pomona push-cert sign\", and the result is uploaded at " PUSH_PORTAL_URL
		                "; import what comes from there");
	if (found->messages->len)
		return pom_fail(error, POM_ERR_PUSH_IS_DOCUMENT, "this is an encrypted message, as mdmcert.download mails it: give it to \"pomona push-cert mdmcert --open\"");
	if (found->is_locked)
		return pom_fail(error, POM_ERR_PUSH_KEY_ENCRYPTED, "the file is encrypted: give its password (--password-file)");
	if (found->has_other)
		return pom_fail(error, POM_ERR_PUSH_FILE, "the file is neither PEM, DER nor PKCS#12: give the certificate as Apple's page offered it for download");
	return pom_fail(error, POM_ERR_PUSH_NO_CERTIFICATE, "no certificate was found%s: give the file that " PUSH_PORTAL_URL " offered for download (MDM_…_Certificate.pem)", found->keys->len ? ", only a private key" : "");
}

struct signer *push_found_key(const struct push_found *found, X509 *cert)
{
	for (guint i = 0; i < found->keys->len; i++) {
		struct signer *key = g_ptr_array_index(found->keys, i);
		bool same = EVP_PKEY_eq(X509_get0_pubkey(cert), signer_get_key(key)) == 1;

		ERR_clear_error();
		if (same)
			return key;
	}
	return NULL;
}

bool push_found_fail_key(const struct push_found *found, const char *subject, const char *where_made, GError **error)
{
	if (found->keys->len)
		return pom_fail(error, POM_ERR_KEY_MISMATCH, "the private key in the files does not belong to the certificate \"%s\": give the one that its request was made with", subject);
	if (found->is_locked)
		return pom_fail(error, POM_ERR_PUSH_KEY_ENCRYPTED, "the private key is encrypted: give its password (--password-file)");
	return pom_fail(error, POM_ERR_PUSH_NO_KEY, "the private key of the certificate \"%s\" was not given, and no request for it was made here: %s", subject, where_made);
}

/* ---- names ---- */

bool push_subject_init(struct push_subject *subject, X509 *cert, GError **error)
{
	*subject = (struct push_subject){.info = cert_info_new(cert, error)};
	if (!subject->info)
		return false;
	subject->uid = cert_subject_uid(cert);
	subject->cn = cert_subject_cn(cert);
	subject->issuer_cn = cert_name_common_name(subject->info->issuer_der);
	subject->names = (struct push_cert_names){subject->uid, subject->cn, subject->issuer_cn, subject->info->subject, subject->info->is_ca};
	return true;
}

void push_subject_clear(struct push_subject *subject)
{
	cert_info_free(subject->info);
	g_free(subject->uid);
	g_free(subject->cn);
	g_free(subject->issuer_cn);
}

/* ---- keys and dates ---- */

struct signer *push_open_key(struct service *service, const char *table, const char *id, const char *column, GBytes *sealed, GError **error)
{
	g_autoptr(GBytes) secret = seal_open(&service->seal, table, id, column, sealed, error);

	return secret ? signer_parse(g_bytes_get_data(secret, NULL), g_bytes_get_size(secret), error) : NULL;
}

GBytes *push_seal_key(struct service *service, const char *table, const char *id, const char *column, struct signer *key, GError **error)
{
	g_autoptr(GBytes) secret = signer_format(key, error);

	return secret ? seal_close(&service->seal, table, id, column, g_bytes_get_data(secret, NULL), g_bytes_get_size(secret)) : NULL;
}

bool push_csr_has_key(GBytes *csr, GBytes *spki)
{
	g_autoptr(csr) parsed = csr ? csr_parse(g_bytes_get_data(csr, NULL), g_bytes_get_size(csr), NULL) : NULL;

	return parsed && g_bytes_equal(parsed->spki, spki);
}

void push_add_dates(json_t *object, int64_t not_before_ms, int64_t not_after_ms, int64_t now_ms)
{
	int step = ca_expiry_step(not_after_ms / 1000, now_ms / 1000);

	json_object_set_new(object, "not_before", json_time(not_before_ms));
	json_object_set_new(object, "not_after", json_time(not_after_ms));
	json_object_set_new(object, "days_left", json_integer((not_after_ms - now_ms) / 86400000));
	json_object_set_new(object, "warn", step < 0 ? json_null() : json_integer(step));
}
