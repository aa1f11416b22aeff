/* The rules of one certificate: names, purpose, validity, keys, signatures, dates. */
#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "codec/cert_kind.h"
#include "core/doctor.h"

enum { DAY_S = 86400, SERIAL_BYTES_MAX = 20, RSA_BITS_MIN = 2048, EXPIRING_DAYS = 21, DAYS_PRIVATE = 825, DAYS_PUBLIC = 398 };

/* 1 July 2019 and 1 September 2020, 00:00 UTC. */
static const int64_t RULES_OF_2019_S = 1561939200, LIMIT_398_S = 1598918400;

/* Since when public CAs may issue for how many days (SC-081v3). Newest first. */
static const struct { int64_t from_s; int days; } public_limits[] = {{1868227200, 47}, {1805068800, 100}, {1773532800, 200}};

static char *date_text(int64_t time_s)
{
	g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(time_s);

	return time ? g_date_time_format(time, "%Y-%m-%d %H:%M UTC") : g_strdup("a time out of all range");
}

/* ---- names ---- */

static bool is_address(const char *host)
{
	struct in6_addr address;

	return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

/* The same address may be written in several ways. */
static bool same_address(const char *a, const char *b)
{
	struct in6_addr x, y;

	if (inet_pton(AF_INET, a, &x) == 1)
		return inet_pton(AF_INET, b, &y) == 1 && !memcmp(&x, &y, sizeof(struct in_addr));
	return inet_pton(AF_INET6, a, &x) == 1 && inet_pton(AF_INET6, b, &y) == 1 && !memcmp(&x, &y, sizeof(x));
}

static size_t name_len(const char *name)
{
	size_t len = strlen(name);

	return len && name[len - 1] == '.' ? len - 1 : len;
}

static bool same_name(const char *a, const char *b)
{
	return name_len(a) == name_len(b) && !g_ascii_strncasecmp(a, b, name_len(a));
}

/* "*" as the whole first label, above two others at least. */
static bool is_good_wildcard(const char *name)
{
	const char *dot = strchr(name, '.');

	return g_str_has_prefix(name, "*.") && !strchr(name + 1, '*') && dot && strchr(dot + 1, '.') && strchr(dot + 1, '.')[1];
}

static bool wildcard_matches(const char *name, const char *host)
{
	const char *dot = strchr(host, '.');

	return is_good_wildcard(name) && dot && dot != host && same_name(name + 2, dot + 1);
}

bool doctor_name_matches(const struct cert_info *info, const char *host)
{
	if (is_address(host)) {
		for (char **address = info->ip_addresses; address && *address; address++)
			if (same_address(*address, host))
				return true;
		return false;
	}
	for (char **name = info->dns_names; name && *name; name++)
		if (same_name(*name, host) || wildcard_matches(*name, host))
			return true;
	return false;
}

/* HOST is the apex of the wildcard, or has more than one label below it. */
static bool wildcard_is_near(const char *name, const char *host)
{
	size_t tail;

	if (!is_good_wildcard(name))
		return false;
	tail = name_len(name) - 2;
	return same_name(name + 2, host) || (name_len(host) > tail + 1 && host[name_len(host) - tail - 1] == '.' && !g_ascii_strncasecmp(host + name_len(host) - tail, name + 2, tail));
}

/* "a.example.org, *.example.org", at most five. */
static char *list_names(char **names)
{
	GString *text = g_string_new(NULL);
	unsigned n = g_strv_length(names);

	for (unsigned i = 0; i < MIN(n, 5); i++)
		g_string_append_printf(text, "%s%.100s", i ? ", " : "", names[i]);
	if (n > 5)
		g_string_append_printf(text, " and %u more", n - 5);
	return g_string_free(text, FALSE);
}

static void say_mismatch(const struct doctor *doctor, const struct cert_info *info, const char *host, const char *path)
{
	g_autofree char *names = list_names(info->dns_names);

	for (char **name = info->dns_names; *name; name++) {
		if (wildcard_is_near(*name, host)) {
			doctor_say(doctor, "name-wildcard", path, "%s is not covered by %s: a wildcard stands for exactly one label", host, *name);
			return;
		}
		if (strchr(*name, '*') && !is_good_wildcard(*name)) {
			doctor_say(doctor, "name-wildcard-form", path, "the name %s of the certificate is no wildcard that devices take", *name);
			return;
		}
	}
	doctor_say(doctor, "name-mismatch", path, "the certificate is for %s, not for %s", names, host);
}

static void check_address(const struct doctor *doctor, const struct cert_info *info, const char *host, const char *path)
{
	g_autofree char *names = list_names(*info->ip_addresses ? info->ip_addresses : info->dns_names);

	for (char **name = info->dns_names; *name; name++)
		if (same_address(*name, host)) {
			doctor_say(doctor, "name-ip-as-dns", path, "the address %s stands in the certificate as a DNS name, where no device looks for it", host);
			return;
		}
	if (*names)
		doctor_say(doctor, "name-mismatch", path, "the certificate is for %s, not for the address %s", names, host);
	else
		doctor_say(doctor, "name-absent", path, "the certificate has no alternative name, so none for the address %s", host);
}

static void check_names(const struct doctor *doctor, X509 *leaf, const struct cert_info *info, const char *host, const char *path)
{
	g_autofree char *cn = cert_subject_cn(leaf);
	bool has_none = !*info->dns_names && !*info->ip_addresses;

	if (host && doctor_name_matches(info, host))
		return;
	if (has_none && cn && (host ? same_name(cn, host) || wildcard_matches(cn, host) : strchr(cn, '.') != NULL))
		doctor_say(doctor, "name-cn-only", path, "%s stands in the common name alone: the certificate has no alternative name", cn);
	else if (has_none && !(host && is_address(host)))
		doctor_say(doctor, "name-absent", path, "the certificate has no alternative name%s%s", host ? ", so none for " : "", host ? host : "");
	else if (host && is_address(host))
		check_address(doctor, info, host, path);
	else if (host)
		say_mismatch(doctor, info, host, path);
}

/* ---- other kinds ---- */

bool doctor_wrong_kind(const struct doctor *doctor, X509 *cert, const char *path)
{
	g_autoptr(cert_info) info = cert_info_new(cert, NULL);
	g_autofree char *uid = cert_subject_uid(cert), *cn = cert_subject_cn(cert);

	switch (info ? cert_kind_of(cert, info) : CERT_KIND_OTHER) {
	case CERT_KIND_PUSH:
	case CERT_KIND_APP_PUSH:
		doctor_say(doctor, "is-push", path, "this is a push certificate%s%s", uid ? " of the topic " : "", uid ? uid : "");
		return true;
	case CERT_KIND_VENDOR:
		doctor_say(doctor, "is-vendor", path, "this is a vendor certificate (%s)", cn);
		return true;
	case CERT_KIND_DEVELOPER:
	case CERT_KIND_CODE:
		doctor_say(doctor, "is-developer", path, "this is a certificate for signing apps%s%s", cn ? ": " : "", cn ? cn : "");
		return true;
	case CERT_KIND_DEVICE:
		doctor_say(doctor, "is-device", path, "this certificate proves a device or client%s%s, not a server", cn ? ", " : "", cn ? cn : "");
		return true;
	case CERT_KIND_OTHER:
	case CERT_KIND_CA: /* Other rules say that. */
	case CERT_KIND_MAX:
	default:
		return false;
	}
}

/* ---- purpose and validity ---- */

static void check_purpose(const struct doctor *doctor, const struct cert_info *info, const char *path)
{
	if (info->ext_key_usage == UINT32_MAX && info->not_before >= RULES_OF_2019_S)
		doctor_say(doctor, "eku-absent", path, "the certificate has no extended key usage");
	else if (info->ext_key_usage != UINT32_MAX && !(info->ext_key_usage & XKU_SSL_SERVER))
		doctor_say(doctor, "eku-no-server-auth", path, "the extended key usage of the certificate lacks serverAuth");
	if (info->key_usage != UINT32_MAX && !(info->key_usage & KU_DIGITAL_SIGNATURE))
		doctor_say(doctor, "key-usage", path, "the key usage of the certificate lacks digitalSignature");
	if (info->is_ca)
		doctor_say(doctor, "leaf-is-ca", path, "the server's certificate \"%s\" may issue certificates (CA)", info->subject);
}

/* Both ends belong to the time (RFC 5280 §4.1.2.5): a day is 86,400 seconds, and a second more is a day more. */
static int64_t validity_days(const struct cert_info *info)
{
	return (info->not_after - info->not_before + 1 + DAY_S - 1) / DAY_S;
}

static void check_validity(const struct doctor *doctor, const struct cert_info *info, bool is_public, const char *path)
{
	int64_t days = validity_days(info);

	if (is_public && info->not_before >= LIMIT_398_S && days > DAYS_PUBLIC) {
		doctor_say(doctor, "validity-398", path, "the certificate is valid for %" G_GINT64_FORMAT " days, and its root is one of Debian's ca-certificates, taken here for Apple's preinstalled ones", days);
		return;
	}
	if (info->not_before >= RULES_OF_2019_S && days > DAYS_PRIVATE) {
		doctor_say(doctor, "validity-825", path, "the certificate is valid for %" G_GINT64_FORMAT " days", days);
		return;
	}
	for (size_t i = 0; is_public && i < G_N_ELEMENTS(public_limits); i++)
		if (info->not_before >= public_limits[i].from_s) {
			if (days > public_limits[i].days)
				doctor_say(doctor, "validity-public-limit", path, "the certificate is valid for %" G_GINT64_FORMAT " days; public CAs may issue for %d since it was made (public: by Debian's ca-certificates)", days,
				           public_limits[i].days);
			return;
		}
}

/* ---- what CAs have to keep, too ---- */

static void check_key(const struct doctor *doctor, X509 *cert, const struct cert_info *info, const char *path)
{
	EVP_PKEY *key = X509_get0_pubkey(cert);
	char group[64] = "";

	if (info->key_type == EVP_PKEY_RSA || info->key_type == EVP_PKEY_RSA_PSS) {
		if (info->key_bits < RSA_BITS_MIN)
			doctor_say(doctor, "key-rsa-small", path, "the RSA key of \"%s\" has %d bits", info->subject, info->key_bits);
		return;
	}
	if (key && info->key_type == EVP_PKEY_EC && EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 &&
	    (!strcmp(group, "prime256v1") || !strcmp(group, "P-256") || !strcmp(group, "secp384r1") || !strcmp(group, "P-384") || !strcmp(group, "secp521r1") || !strcmp(group, "P-521")))
		return;
	if (info->key_type == EVP_PKEY_EC)
		doctor_say(doctor, "key-type", path, "the key of \"%s\" is on the curve %s", info->subject, *group ? group : "that nobody named");
	else
		doctor_say(doctor, "key-type", path, "the key of \"%s\" is of the type %s", info->subject, key && OBJ_nid2sn(info->key_type) ? OBJ_nid2sn(info->key_type) : "that is not known");
}

static void check_signature(const struct doctor *doctor, const X509 *cert, const struct cert_info *info, const char *path)
{
	int digest = NID_undef;

	/* What has no digest of its own, as Ed25519, is said of the key. */
	X509_get_signature_info((X509 *)(uintptr_t)cert, &digest, NULL, NULL, NULL);
	if (digest == NID_sha1 || digest == NID_md5 || digest == NID_md4 || digest == NID_md2 || digest == NID_ripemd160 || digest == NID_md5_sha1)
		doctor_say(doctor, "signature-weak", path, "\"%s\" is signed with %s", info->subject, OBJ_nid2sn(digest));
}

static void check_dates(const struct doctor *doctor, const struct cert_info *info, const char *path)
{
	g_autofree char *from = date_text(info->not_before), *to = date_text(info->not_after);
	int64_t left = info->not_after - doctor->now_s;

	if (left < 0)
		doctor_say(doctor, "expired", path, "\"%s\" has expired on %s", info->subject, to);
	else if (info->not_before > doctor->now_s)
		doctor_say(doctor, "not-yet-valid", path, "\"%s\" is not valid before %s", info->subject, from);
	else if (left < MIN((int64_t)EXPIRING_DAYS * DAY_S, (info->not_after - info->not_before) / 4))
		doctor_say(doctor, "expiring", path, "\"%s\" expires on %s", info->subject, to);
}

static void check_serial(const struct doctor *doctor, const X509 *cert, const struct cert_info *info, const char *path)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
	bool is_zero = serial->length == 0 || (serial->length == 1 && serial->data[0] == 0);

	if (is_zero || (serial->type & V_ASN1_NEG) || serial->length > SERIAL_BYTES_MAX || (serial->length == SERIAL_BYTES_MAX && (serial->data[0] & 0x80)))
		doctor_say(doctor, "serial-number", path, "the serial number of \"%s\" is %s", info->subject, is_zero ? "0" : serial->type & V_ASN1_NEG ? "negative" : "longer than 20 bytes");
}

void doctor_cert_common(const struct doctor *doctor, X509 *cert, const char *path)
{
	g_autoptr(cert_info) info = cert_info_new(cert, NULL);

	if (!info) {
		doctor_say(doctor, "certificate-unreadable", path, "the certificate cannot be understood");
		return;
	}
	check_key(doctor, cert, info, path);
	check_signature(doctor, cert, info, path);
	check_serial(doctor, cert, info, path);
	check_dates(doctor, info, path);
}

void doctor_leaf(const struct doctor *doctor, X509 *leaf, const char *host, bool is_public, const char *path)
{
	g_autoptr(cert_info) info = cert_info_new(leaf, NULL);

	doctor_cert_common(doctor, leaf, path);
	if (!info)
		return;
	check_names(doctor, leaf, info, host, path);
	check_purpose(doctor, info, path);
	check_validity(doctor, info, is_public, path);
}
