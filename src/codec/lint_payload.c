/* The payloads that an enrollment hangs on: MDM, SCEP, ACME. */
#include <string.h>

#include "codec/lint_internal.h"

enum { RIGHTS_ALL = 8191, SHA1_LEN = 20, MD5_LEN = 16, SHA256_LEN = 32 };

static bool has_prefix(const char *text, const char *prefix)
{
	return !g_ascii_strncasecmp(text, prefix, strlen(prefix));
}

/* ---- com.apple.mdm ---- */

static void check_https(struct lint *lint, const plist *payload, const char *path, const char *key)
{
	const char *url = plist_get_string(plist_dict_get(payload, key));
	g_autofree char *where = lint_path(path, key);

	if (url && (!has_prefix(url, "https://") || !url[strlen("https://")] || url[strlen("https://")] == '/'))
		lint_add(lint, LINT_MDM_URL, LINT_USUAL, where, NULL, "must begin with https:// and name a host: devices connect to nothing else");
	/* The table says the same in other words. */
	if (url)
		g_hash_table_add(lint->said, g_steal_pointer(&where));
}

static void check_rights(struct lint *lint, const plist *payload, const char *path)
{
	const plist *value = plist_dict_get(payload, "AccessRights");
	const char *mode = plist_get_string(plist_dict_get(payload, "EnrollmentMode"));
	g_autofree char *where = lint_path(path, "AccessRights");
	int64_t rights;

	if (value && !g_strcmp0(mode, "BYOD"))
		lint_add(lint, LINT_MDM_RIGHTS_BYOD, LINT_USUAL, where, NULL, "stands beside EnrollmentMode BYOD: such devices cancel the enrollment");
	if (!value && !mode)
		lint_add(lint, LINT_MDM_RIGHTS_NONE, LINT_USUAL, where, NULL, "is missing: most commands will be refused");
	if (!plist_get_integer(value, &rights))
		return;
	if (rights < 1 || rights > RIGHTS_ALL)
		lint_add(lint, LINT_MDM_RIGHTS_VALUE, LINT_USUAL, where, NULL, "is %" G_GINT64_FORMAT ", must be from 1 to 8191", rights);
	else if ((rights & 2 && !(rights & 1)) || (rights & 128 && !(rights & 64)))
		lint_add(lint, LINT_MDM_RIGHTS_HALF, LINT_USUAL, where, NULL, "has a right to install without the right to look at what is installed (2 needs 1, 128 needs 64)");
}

static void check_account(struct lint *lint, const plist *payload, const char *path)
{
	g_autofree char *where = lint_path(path, "AssignedManagedAppleID");

	if (plist_dict_get(payload, "EnrollmentMode") && !plist_dict_get(payload, "AssignedManagedAppleID"))
		lint_add(lint, LINT_MDM_ACCOUNT, LINT_USUAL, where, NULL, "is missing beside EnrollmentMode");
}

static void check_sign_message(struct lint *lint, const plist *payload, const char *path)
{
	g_autofree char *where = lint_path(path, "SignMessage");
	bool is_signed = false;

	if (!plist_get_boolean(plist_dict_get(payload, "SignMessage"), &is_signed) || !is_signed)
		lint_add(lint, LINT_MDM_SIGN_MESSAGE, LINT_USUAL, where, NULL, "is not true: the device proves itself by its TLS client certificate alone");
}

static void check_mdm(struct lint *lint, const plist *payload, const char *path)
{
	const char *topic = plist_get_string(plist_dict_get(payload, "Topic"));
	g_autofree char *topic_path = lint_path(path, "Topic"), *apns_path = lint_path(path, "UseDevelopmentAPNS");
	bool development = false;

	if (lint->n_mdm++)
		lint_add(lint, LINT_MDM_SEVERAL, LINT_USUAL, path, NULL, "is a second com.apple.mdm payload: a profile has one at most");
	if (topic && !g_str_has_prefix(topic, "com.apple.mgmt."))
		lint_add(lint, LINT_MDM_TOPIC, LINT_USUAL, topic_path, NULL, "must begin with com.apple.mgmt.");
	if (plist_get_boolean(plist_dict_get(payload, "UseDevelopmentAPNS"), &development) && development)
		lint_add(lint, LINT_MDM_DEVELOPMENT, LINT_USUAL, apns_path, NULL, "is true: push certificates from Apple's portal do not work with it");
	check_https(lint, payload, path, "ServerURL");
	check_https(lint, payload, path, "CheckInURL");
	check_rights(lint, payload, path);
	check_account(lint, payload, path);
	check_sign_message(lint, payload, path);
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
			lint_add(lint, LINT_SCEP_SPELLING, LINT_USUAL, where, "remove it", "is a misspelt \"%s\", which is there as well", meant);
			g_hash_table_add(lint->said, g_steal_pointer(&where));
			continue;
		}
		lint_add(lint, LINT_SCEP_SPELLING, LINT_FIXED, where, mend, "is a misspelt \"%s\": devices pass it over and take the default", meant);
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
			lint_add(lint, LINT_SCEP_PLACE, LINT_USUAL, where, "remove it", "stands beside PayloadContent, must be in it");
			g_hash_table_add(lint->said, g_steal_pointer(&where));
			continue;
		}
		lint_add(lint, LINT_SCEP_PLACE, LINT_FIXED, where, NULL, "stands beside PayloadContent, must be in it");
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
	g_autofree char *where = lint_path(path, "CAFingerprint");
	const plist *value = plist_dict_get(settings, "CAFingerprint");
	g_autoptr(GBytes) read = plist_get_string(value) ? read_fingerprint(plist_get_string(value)) : NULL;
	size_t len;

	if (read) {
		lint_add(lint, LINT_SCEP_FINGERPRINT, LINT_FIXED, where, NULL, "is a string, must be data");
		plist_dict_set_data(settings, "CAFingerprint", g_bytes_get_data(read, NULL), g_bytes_get_size(read));
		return;
	}
	if (!plist_get_data(value, &len))
		return;
	if (!is_fingerprint_len(len))
		lint_add(lint, LINT_SCEP_FINGERPRINT, LINT_USUAL, where, NULL, "has %zu bytes%s", len, len == SHA256_LEN ? ", as a SHA-256 has: devices do not know it here" : "");
	else if (len == MD5_LEN)
		lint_add(lint, LINT_SCEP_FINGERPRINT_MD5, LINT_USUAL, where, NULL, "has 16 bytes, as an MD5 has, which proves nothing any more");
}

static void check_scep_keys(struct lint *lint, const plist *settings, const char *path)
{
	const char *url = plist_get_string(plist_dict_get(settings, "URL")), *type = plist_get_string(plist_dict_get(settings, "Key Type"));
	g_autofree char *url_path = lint_path(path, "URL"), *size_path = lint_path(path, "Keysize"), *type_path = lint_path(path, "Key Type"), *usage_path = lint_path(path, "Key Usage");
	int64_t value;

	if (url && !has_prefix(url, "https://") && !has_prefix(url, "http://"))
		lint_add(lint, LINT_SCEP_URL, LINT_USUAL, url_path, NULL, "must begin with http:// or https://");
	if (!plist_dict_get(settings, "Keysize"))
		lint_add(lint, LINT_SCEP_KEYSIZE_NONE, LINT_USUAL, size_path, NULL, "is missing: devices make a key of 1024 bits, which is too weak");
	else if (plist_get_integer(plist_dict_get(settings, "Keysize"), &value) && value == 1024)
		lint_add(lint, LINT_SCEP_KEYSIZE_WEAK, LINT_USUAL, size_path, NULL, "is 1024, which is too weak");
	else if (plist_get_integer(plist_dict_get(settings, "Keysize"), &value) && value != 2048 && value != 4096) {
		lint_add(lint, LINT_SCEP_KEYSIZE, LINT_USUAL, size_path, NULL, "is %" G_GINT64_FORMAT ", must be 1024, 2048 or 4096 (MCSCEPErrorDomain 22001)", value);
		g_hash_table_add(lint->said, g_strdup(size_path));
	}
	if (type && strcmp(type, "RSA"))
		lint_add(lint, LINT_SCEP_KEY_TYPE, LINT_USUAL, type_path, NULL, "is \"%.32s\", but SCEP on devices makes RSA keys only", type);
	if (plist_get_integer(plist_dict_get(settings, "Key Usage"), &value) && (value < 0 || value & ~5))
		lint_add(lint, LINT_SCEP_KEY_USAGE, LINT_USUAL, usage_path, NULL, "is %" G_GINT64_FORMAT ": known are 1 (signing), 4 (encryption) and 5 (both) (MCSCEPErrorDomain 22000)", value);
}

/* A pair of attribute and value. */
static bool is_pair(const plist *pair)
{
	return plist_get_type(pair) == PLIST_ARRAY && plist_count(pair) == 2 && plist_get_string(plist_child(pair, 0)) && *plist_get_string(plist_child(pair, 0)) && plist_get_string(plist_child(pair, 1));
}

/* Subject is an array of RDNs, an RDN an array of pairs (RFC 5280 §4.1.2.4). The first that is not is named. */
static void check_subject(struct lint *lint, const plist *settings, const char *path)
{
	const plist *subject = plist_dict_get(settings, "Subject");

	for (size_t i = 0; plist_get_type(subject) == PLIST_ARRAY && i < plist_count(subject); i++) {
		const plist *rdn = plist_child(subject, i);
		bool ok = plist_get_type(rdn) == PLIST_ARRAY && plist_count(rdn);
		g_autofree char *where = g_strdup_printf("%s.Subject[%zu]", path, i);

		for (size_t k = 0; ok && k < plist_count(rdn); k++)
			ok = is_pair(plist_child(rdn, k));
		if (ok)
			continue;
		lint_add(lint, LINT_SUBJECT_FORM, LINT_USUAL, where, NULL, "is no array of pairs of attribute and value (MCSCEPErrorDomain 22011)");
		g_hash_table_add(lint->said, lint_path(path, "Subject"));
		return;
	}
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
	check_subject(lint, settings, inside);
}

/* ---- com.apple.security.acme ---- */

static void check_acme_key(struct lint *lint, const plist *payload, const char *path)
{
	const char *type = plist_get_string(plist_dict_get(payload, "KeyType"));
	g_autofree char *size_path = lint_path(path, "KeySize"), *bound_path = lint_path(path, "HardwareBound"), *attest_path = lint_path(path, "Attest");
	bool is_ec = !g_strcmp0(type, "ECSECPrimeRandom"), is_rsa = !g_strcmp0(type, "RSA"), is_bound = false, is_attested = false;
	int64_t size = 0;

	if (plist_get_integer(plist_dict_get(payload, "KeySize"), &size) &&
	    ((is_rsa && (size < 1024 || size > 4096 || size % 8)) || (is_ec && size != 192 && size != 256 && size != 384 && size != 521)))
		lint_add(lint, LINT_ACME_KEY_SIZE, LINT_USUAL, size_path, NULL, "is %" G_GINT64_FORMAT ", which does not fit KeyType %s", size, type);
	else if (plist_get_boolean(plist_dict_get(payload, "HardwareBound"), &is_bound) && is_bound && type && !(is_ec && (size == 256 || size == 384)))
		lint_add(lint, LINT_ACME_HARDWARE, LINT_USUAL, bound_path, NULL, "is true, but hardware makes EC keys of 256 and 384 bits only");
	if (plist_get_boolean(plist_dict_get(payload, "Attest"), &is_attested) && is_attested && !is_bound)
		lint_add(lint, LINT_ACME_ATTEST, LINT_USUAL, attest_path, NULL, "is true without HardwareBound");
}

static void check_acme(struct lint *lint, const plist *payload, const char *path)
{
	const char *url = plist_get_string(plist_dict_get(payload, "DirectoryURL"));
	g_autofree char *url_path = lint_path(path, "DirectoryURL");

	if (url && !has_prefix(url, "https://"))
		lint_add(lint, LINT_ACME_URL, LINT_USUAL, url_path, NULL, "must begin with https://");
	check_acme_key(lint, payload, path);
	check_subject(lint, payload, path);
}

void lint_special(struct lint *lint, plist *payload, const char *type, const char *path)
{
	static const struct { const char *type; void (*check)(struct lint *, plist *, const char *); } changing[] = {{"com.apple.security.scep", check_scep}};
	static const struct { const char *type; void (*check)(struct lint *, const plist *, const char *); } looking[] = {
		{"com.apple.mdm", check_mdm}, {"com.apple.security.acme", check_acme}, {"com.apple.security.pkcs12", lint_pkcs12}, {"com.apple.security.root", lint_certificate},
		{"com.apple.security.pem", lint_certificate}, {"com.apple.security.pkcs1", lint_certificate},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(changing); i++)
		if (!strcmp(type, changing[i].type))
			changing[i].check(lint, payload, path);
	for (size_t i = 0; i < G_N_ELEMENTS(looking); i++)
		if (!strcmp(type, looking[i].type))
			looking[i].check(lint, payload, path);
}
