/* Files with certificates, and profiles that hold some. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#include "base/error.h"
#include "codec/mobileconfig.h"
#include "core/doctor.h"

enum { FILE_MAX = 1 << 20, CERTS_MAX = 64, PAYLOADS_MAX = 1000 };

#define PEM_BEGIN "-----BEGIN "

static GPtrArray *new_list(void)
{
	return g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);
}

/* A byte order mark, or NUL at every other place. */
static bool is_utf16(const uint8_t *data, size_t len)
{
	if (len >= 2 && ((data[0] == 0xff && data[1] == 0xfe) || (data[0] == 0xfe && data[1] == 0xff)))
		return true;
	return len >= 8 && ((!data[1] && !data[3] && !data[5] && data[0] && data[2]) || (!data[0] && !data[2] && !data[4] && data[1] && data[3]));
}

static bool has_text(const void *data, size_t len, const char *text)
{
	return memmem(data, len, text, strlen(text)) != NULL;
}

static bool check_form(const struct doctor *doctor, const void *data, size_t len)
{
	if (!len)
		doctor_say(doctor, "file-empty", "", "the file is empty");
	else if (len > FILE_MAX)
		doctor_say(doctor, "file-too-large", "", "the file has %zu bytes; %d are looked at", len, FILE_MAX);
	else if (is_utf16(data, len))
		doctor_say(doctor, "file-utf16", "", "the file is UTF-16 text");
	else
		return true;
	return false;
}

/* The blocks of a PEM text; those that are no certificates are passed over. False with a finding when one cannot be read. */
static bool read_pem(const struct doctor *doctor, const void *data, size_t len, GPtrArray *certs)
{
	g_autoptr(BIO) bio = BIO_new_mem_buf(data, (int)len);
	char *name = NULL, *header = NULL;
	uint8_t *block = NULL;
	long block_len = 0;
	bool ok = true, at_end;

	while (ok && certs->len < CERTS_MAX && PEM_read_bio(bio, &name, &header, &block, &block_len)) {
		bool is_cert = !strcmp(name, PEM_STRING_X509) || !strcmp(name, PEM_STRING_X509_OLD);
		X509 *cert = is_cert ? cert_parse_der(block, (size_t)block_len, NULL) : NULL;

		if (cert)
			g_ptr_array_add(certs, cert);
		ok = !is_cert || cert;
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_clear_free(block, (size_t)block_len);
	}
	at_end = certs->len == CERTS_MAX || ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
	ERR_clear_error();
	if (ok && at_end)
		return true;
	doctor_say(doctor, "file-broken", "", "PEM block %u cannot be read", certs->len + 1);
	return false;
}

/* Whatever a PEM text calls a key. A key in DER is an integer and then octets or integers, and no certificate. */
static void check_keys(const struct doctor *doctor, const void *data, size_t len)
{
	if (has_text(data, len, "PRIVATE KEY-----"))
		doctor_say(doctor, "file-private-key", "", "the file holds a private key, which was not looked at");
}

GPtrArray *doctor_file(const struct doctor *doctor, const void *data, size_t len)
{
	g_autoptr(GPtrArray) certs = new_list();
	bool is_pem;

	if (!check_form(doctor, data, len))
		return NULL;
	is_pem = has_text(data, len, PEM_BEGIN);
	if (is_pem)
		check_keys(doctor, data, len);
	if (is_pem && !read_pem(doctor, data, len, certs))
		return NULL;
	if (!is_pem && ((const uint8_t *)data)[0] == 0x30) {
		X509 *cert = cert_parse_der(data, len, NULL);
		g_autoptr(GPtrArray) several = cert ? NULL : cms_certs_only_parse(data, len, NULL);

		if (cert)
			g_ptr_array_add(certs, cert);
		for (guint i = 0; several && i < MIN(several->len, (guint)CERTS_MAX); i++) {
			X509 *one = cert_parse_der(g_bytes_get_data(several->pdata[i], NULL), g_bytes_get_size(several->pdata[i]), NULL);

			if (one)
				g_ptr_array_add(certs, one);
		}
	}
	if (certs->len)
		return g_steal_pointer(&certs);
	doctor_say(doctor, "file-not-certificates", "", "there is no certificate in the file%s", has_text(data, len, "CERTIFICATE REQUEST-----") ? ": it is a request for one" : "");
	return NULL;
}

/* ---- profiles ---- */

static void add_certs(const plist *payload, GPtrArray *certs)
{
	size_t len;
	const void *data = plist_get_data(plist_dict_get(payload, "PayloadContent"), &len);
	g_autoptr(GPtrArray) some = data ? cert_parse_all(data, len, NULL) : NULL;

	for (guint i = 0; some && i < some->len && certs->len < CERTS_MAX; i++) {
		X509_up_ref(some->pdata[i]);
		g_ptr_array_add(certs, some->pdata[i]);
	}
}

static void read_payload(const plist *payload, GPtrArray *certs, GBytes **fingerprint)
{
	static const char *const types[] = {"com.apple.security.root", "com.apple.security.pkcs1", "com.apple.security.pem", NULL};
	const char *type = plist_get_string(plist_dict_get(payload, "PayloadType"));
	size_t len;
	const void *data;

	if (type && g_strv_contains(types, type))
		add_certs(payload, certs);
	if (g_strcmp0(type, "com.apple.security.scep"))
		return;
	data = plist_get_data(plist_dict_get(plist_dict_get(payload, "PayloadContent"), "CAFingerprint"), &len);
	if (data && !*fingerprint)
		*fingerprint = g_bytes_new(data, len);
}

GPtrArray *doctor_profile(const struct doctor *doctor, const void *data, size_t len, GBytes **ret_fingerprint)
{
	g_autoptr(GPtrArray) certs = new_list();
	g_autoptr(GBytes) fingerprint = NULL, content = NULL;
	g_autoptr(GError) error = NULL;
	g_autoptr(plist) tree = NULL;
	const plist *payloads;

	if (!check_form(doctor, data, len))
		return NULL;
	content = mobileconfig_open(data, len, NULL, &error);
	tree = content ? plist_parse(g_bytes_get_data(content, NULL), g_bytes_get_size(content), &plist_limits_default, &error) : NULL;
	if (!tree || plist_get_type(tree) != PLIST_DICT) {
		doctor_say(doctor, "profile-unreadable", "", "the profile cannot be read: %s", error ? error->message : "it is no dictionary");
		return NULL;
	}
	if (plist_dict_get(tree, "EncryptedPayloadContent")) {
		doctor_say(doctor, "profile-encrypted", "EncryptedPayloadContent", "the payloads of the profile are encrypted");
		return NULL;
	}
	payloads = plist_dict_get(tree, "PayloadContent");
	for (size_t i = 0; plist_get_type(payloads) == PLIST_ARRAY && i < MIN(plist_count(payloads), (size_t)PAYLOADS_MAX); i++)
		read_payload(plist_child(payloads, i), certs, &fingerprint);
	if (ret_fingerprint)
		*ret_fingerprint = g_steal_pointer(&fingerprint);
	return g_steal_pointer(&certs);
}
