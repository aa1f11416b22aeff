/* The payloads that an enrollment hangs on: MDM, SCEP, PKCS#12, certificates. */
#include <string.h>

#include "codec/cert.h"
#include "codec/lint_internal.h"

enum { OPENED_MAX = 16, RIGHTS_ALL = 8191, SHA1_LEN = 20, MD5_LEN = 16, SHA256_LEN = 32 };

static bool has_prefix(const char *text, const char *prefix)
{
	return !g_ascii_strncasecmp(text, prefix, strlen(prefix));
}

/* ---- com.apple.mdm ---- */

static void check_https(struct lint *lint, const plist *payload, const char *path, const char *key)
{
	const char *url = plist_get_string(plist_dict_get(payload, key));
	g_autofree char *where = lint_path(path, key);

	if (url && !has_prefix(url, "https://"))
		lint_add(lint, LINT_ERROR, where, NULL, "must begin with https://: devices connect to nothing else");
}

static void check_rights(struct lint *lint, const plist *payload, const char *path)
{
	const plist *value = plist_dict_get(payload, "AccessRights");
	const char *mode = plist_get_string(plist_dict_get(payload, "EnrollmentMode"));
	g_autofree char *where = lint_path(path, "AccessRights");
	int64_t rights;

	if (value && !g_strcmp0(mode, "BYOD"))
		lint_add(lint, LINT_ERROR, where, "remove it", "stands beside EnrollmentMode BYOD: such devices cancel the enrollment");
	if (!value && !mode)
		lint_add(lint, LINT_WARNING, where, "8191 is all; rights cannot be added later", "is missing: most commands will be refused");
	if (!plist_get_integer(value, &rights))
		return;
	if (rights < 1 || rights > RIGHTS_ALL)
		lint_add(lint, LINT_ERROR, where, "8191 is all", "is %" G_GINT64_FORMAT ", must be from 1 to 8191", rights);
	else if ((rights & 2 && !(rights & 1)) || (rights & 128 && !(rights & 64)))
		lint_add(lint, LINT_WARNING, where, NULL, "has a right to install without the right to look at what is installed (2 needs 1, 128 needs 64)");
}

static void check_mdm(struct lint *lint, const plist *payload, const char *path)
{
	const char *topic = plist_get_string(plist_dict_get(payload, "Topic"));
	g_autofree char *topic_path = lint_path(path, "Topic"), *apns_path = lint_path(path, "UseDevelopmentAPNS");
	bool development = false;

	if (lint->n_mdm++)
		lint_add(lint, LINT_ERROR, path, NULL, "is a second com.apple.mdm payload: a profile has one at most");
	if (topic && !g_str_has_prefix(topic, "com.apple.mgmt."))
		lint_add(lint, LINT_ERROR, topic_path, "it is the UID in the subject of the push certificate", "must begin with com.apple.mgmt.");
	if (plist_get_boolean(plist_dict_get(payload, "UseDevelopmentAPNS"), &development) && development)
		lint_add(lint, LINT_WARNING, apns_path, NULL, "is true: push certificates from Apple's portal do not work with it");
	check_https(lint, payload, path, "ServerURL");
	check_https(lint, payload, path, "CheckInURL");
	check_rights(lint, payload, path);
}

/* ---- com.apple.security.scep ---- */

static const char *const scep_keys[] = {"URL", "Name", "Subject", "Challenge", "Keysize", "Key Type", "Key Usage", "CAFingerprint", "Retries", "RetryDelay", "SubjectAltName", "KeyIsExtractable", "AllowAllAppsAccess"};

/* Whether two names have the same letters and digits, in either case. */
static bool is_same_name(const char *a, const char *b)
{
	for (;; a++, b++) {
		while (*a && !g_ascii_isalnum(*a))
			a++;
		while (*b && !g_ascii_isalnum(*b))
			b++;
		if (g_ascii_tolower(*a) != g_ascii_tolower(*b))
			return false;
		if (!*a)
			return true;
	}
}

/* The key of SCEP that NAME is written for; NULL. */
static const char *scep_key(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(scep_keys); i++)
		if (is_same_name(name, scep_keys[i]))
			return scep_keys[i];
	return NULL;
}

/* "KeySize" for "Keysize": passed over by devices, which then take the default. */
static void check_spelling(struct lint *lint, plist *settings, const char *path)
{
	for (size_t i = 0; i < plist_count(settings); i++) {
		const char *meant = scep_key(plist_dict_key(settings, i));
		g_autofree char *name = meant ? g_strdup(plist_dict_key(settings, i)) : NULL, *where = NULL, *mend = NULL;

		if (!meant || !strcmp(meant, name))
			continue;
		where = lint_path(path, name);
		mend = g_strdup_printf("write \"%s\"", meant);
		if (plist_dict_get(settings, meant)) {
			lint_add(lint, LINT_ERROR, where, "remove it", "is a misspelt \"%s\", which is there as well", meant);
			continue;
		}
		lint_add(lint, LINT_FIXABLE_ERROR, where, mend, "is a misspelt \"%s\": devices pass it over and take the default", meant);
		/* The next one stands in its place. */
		lint_rename(settings, name, meant);
		i--;
	}
}

/* Settings that stand in the payload itself instead of in its PayloadContent. */
static void move_inside(struct lint *lint, plist *payload, const char *path)
{
	plist *inside = lint_child(payload, "PayloadContent");
	bool can = !inside || plist_get_type(inside) == PLIST_DICT;

	for (size_t i = 0; i < plist_count(payload); i++) {
		const char *meant = scep_key(plist_dict_key(payload, i));
		g_autofree char *name = meant ? g_strdup(plist_dict_key(payload, i)) : NULL, *where = NULL;

		if (!meant)
			continue;
		where = lint_path(path, name);
		if (!can || plist_dict_get(inside, meant)) {
			lint_add(lint, LINT_ERROR, where, "remove it", "stands beside PayloadContent, must be in it");
			continue;
		}
		lint_add(lint, LINT_FIXABLE_ERROR, where, "the settings of SCEP are in a dictionary of their own, PayloadContent", "stands beside PayloadContent, must be in it");
		if (!inside)
			plist_dict_set(payload, "PayloadContent", plist_new_dict());
		inside = lint_child(payload, "PayloadContent");
		plist_dict_set(inside, meant, plist_copy(plist_child(payload, i)));
		plist_dict_remove(payload, name);
		i--;
	}
}

static bool is_fingerprint_len(gsize len)
{
	return len == SHA1_LEN || len == MD5_LEN;
}

/* A fingerprint as people copy it: hex digits with or without colons, or base64. NULL when it is none. */
static GBytes *read_fingerprint(const char *text)
{
	g_auto(GStrv) pairs = g_strsplit_set(text, ": ", -1);
	g_autofree char *plain = g_strjoinv("", pairs);
	g_autoptr(GBytes) hex = strspn(text, "0123456789abcdefABCDEF: ") == strlen(text) ? hex_parse(plain) : NULL, data = NULL;

	if (hex && is_fingerprint_len(g_bytes_get_size(hex)))
		return g_steal_pointer(&hex);
	data = lint_decode(text);
	return data && is_fingerprint_len(g_bytes_get_size(data)) ? g_steal_pointer(&data) : NULL;
}

static void check_fingerprint(struct lint *lint, plist *settings, const char *path)
{
	static const char mend[] = "it is the SHA-1 of the CA's certificate (DER), 20 bytes of data";
	g_autofree char *where = lint_path(path, "CAFingerprint");
	const plist *value = plist_dict_get(settings, "CAFingerprint");
	g_autoptr(GBytes) read = plist_get_string(value) ? read_fingerprint(plist_get_string(value)) : NULL;
	size_t len;

	if (read) {
		lint_add(lint, LINT_FIXABLE_ERROR, where, mend, "is a string, must be data");
		plist_dict_set_data(settings, "CAFingerprint", g_bytes_get_data(read, NULL), g_bytes_get_size(read));
		return;
	}
	if (!plist_get_data(value, &len))
		return;
	if (!is_fingerprint_len(len))
		lint_add(lint, LINT_ERROR, where, mend, "has %zu bytes%s", len, len == SHA256_LEN ? ", as a SHA-256 has: devices do not know it here" : "");
	else if (len == MD5_LEN)
		lint_add(lint, LINT_WARNING, where, mend, "has 16 bytes, as an MD5 has, which proves nothing any more");
}

static void check_scep_keys(struct lint *lint, const plist *settings, const char *path)
{
	const char *url = plist_get_string(plist_dict_get(settings, "URL")), *type = plist_get_string(plist_dict_get(settings, "Key Type"));
	g_autofree char *url_path = lint_path(path, "URL"), *size_path = lint_path(path, "Keysize"), *type_path = lint_path(path, "Key Type"), *usage_path = lint_path(path, "Key Usage");
	int64_t value;

	if (url && !has_prefix(url, "https://") && !has_prefix(url, "http://"))
		lint_add(lint, LINT_ERROR, url_path, NULL, "must begin with http:// or https://");
	if (!plist_dict_get(settings, "Keysize"))
		lint_add(lint, LINT_WARNING, size_path, "write 2048 or 4096", "is missing: devices make a key of 1024 bits, which is too weak");
	else if (plist_get_integer(plist_dict_get(settings, "Keysize"), &value) && value == 1024)
		lint_add(lint, LINT_WARNING, size_path, "write 2048 or 4096", "is 1024, which is too weak");
	if (type && strcmp(type, "RSA"))
		lint_add(lint, LINT_ERROR, type_path, "use an ACME payload for other keys", "is \"%.32s\", but SCEP on devices makes RSA keys only", type);
	if (plist_get_integer(plist_dict_get(settings, "Key Usage"), &value) && (value < 0 || value & ~5))
		lint_add(lint, LINT_WARNING, usage_path, NULL, "is %" G_GINT64_FORMAT ": known are 1 (signing), 4 (encryption) and 5 (both)", value);
}

static void check_scep(struct lint *lint, plist *payload, const char *path)
{
	g_autofree char *inside = lint_path(path, "PayloadContent");
	plist *settings;

	move_inside(lint, payload, path);
	settings = lint_child(payload, "PayloadContent");
	if (plist_get_type(settings) != PLIST_DICT)
		return;
	check_spelling(lint, settings, inside);
	check_fingerprint(lint, settings, inside);
	check_scep_keys(lint, settings, inside);
}

/* ---- what holds certificates ---- */

static void say_end(struct lint *lint, int64_t not_after, const char *where)
{
	if (not_after < lint->facts->now_s)
		lint_add(lint, LINT_WARNING, where, NULL, "the certificate has expired");
}

/* Whether anything in the file is enciphered with PBES2 (RFC 8018 §A.4): by its OBJECT IDENTIFIER, which stands in clear. */
static bool is_pbes2(const uint8_t *data, size_t len)
{
	static const uint8_t oid[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d};

	return memmem(data, len, oid, sizeof(oid)) != NULL;
}

static void check_pkcs12(struct lint *lint, const plist *payload, const char *path)
{
	size_t len;
	const uint8_t *data = plist_get_data(plist_dict_get(payload, "PayloadContent"), &len);
	const char *password = plist_get_string(plist_dict_get(payload, "Password"));
	g_autofree char *where = lint_path(path, "PayloadContent");
	g_autoptr(GError) why = NULL;
	int64_t not_after = INT64_MAX;

	if (!data)
		return;
	if (!len || data[0] != 0x30) {
		lint_add(lint, LINT_ERROR, where, "it is a .p12 or .pfx file, as bytes", "is no PKCS#12 file");
		return;
	}
	if (is_pbes2(data, len))
		lint_add(lint, LINT_WARNING, where, "openssl pkcs12 -export -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1 makes one that all read", "is enciphered with PBES2 (AES): many devices say \"wrong password\" to it");
	/* Opening one takes time on purpose. */
	if (!password || !lint->facts->open_pkcs12 || lint->n_opened++ >= OPENED_MAX)
		return;
	if (!lint->facts->open_pkcs12(data, len, password, &not_after, &why))
		lint_add(lint, LINT_ERROR, where, NULL, "cannot be opened with its Password: %s", why->message);
	else
		say_end(lint, not_after, where);
}

static void check_certificate(struct lint *lint, const plist *payload, const char *path)
{
	size_t len;
	const void *data = plist_get_data(plist_dict_get(payload, "PayloadContent"), &len);
	g_autofree char *where = lint_path(path, "PayloadContent");
	g_autoptr(GError) why = NULL;
	g_autoptr(GPtrArray) certs = data ? cert_parse_all(data, len, &why) : NULL;
	g_autoptr(cert_info) info = certs ? cert_info_new(certs->pdata[0], &why) : NULL;

	if (!data)
		return;
	if (!info) {
		lint_add(lint, LINT_ERROR, where, "it is one certificate, DER or PEM", "is no certificate: %s", why->message);
		return;
	}
	if (certs->len > 1)
		lint_add(lint, LINT_WARNING, where, "make a payload of each", "holds %u certificates: devices take the first", certs->len);
	say_end(lint, info->not_after, where);
}

void lint_special(struct lint *lint, plist *payload, const char *type, const char *path)
{
	static const struct { const char *type; void (*check)(struct lint *, plist *, const char *); } changing[] = {{"com.apple.security.scep", check_scep}};
	static const struct { const char *type; void (*check)(struct lint *, const plist *, const char *); } looking[] = {
		{"com.apple.mdm", check_mdm}, {"com.apple.security.pkcs12", check_pkcs12}, {"com.apple.security.root", check_certificate}, {"com.apple.security.pem", check_certificate},
		{"com.apple.security.pkcs1", check_certificate},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(changing); i++)
		if (!strcmp(type, changing[i].type))
			changing[i].check(lint, payload, path);
	for (size_t i = 0; i < G_N_ELEMENTS(looking); i++)
		if (!strcmp(type, looking[i].type))
			looking[i].check(lint, payload, path);
}
