/* GetCACaps and GetCACert, byte by byte, as Apple's client reads them. */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "codec/scep.h"
#include "core/doctor.h"

enum { MD5_LEN = 16, SHA1_LEN = 20 };

#define ONE_TYPE "application/x-x509-ca-cert"
#define SEVERAL_TYPE "application/x-x509-ca-ra-cert"

static const char *body_of(const struct doctor_answer *answer, size_t *ret_len)
{
	gsize len = 0;
	const char *data = answer->body ? g_bytes_get_data(answer->body, &len) : NULL;

	*ret_len = data ? len : 0;
	return data ? data : "";
}

static bool is_html(const struct doctor_answer *answer)
{
	size_t len;
	const char *body = body_of(answer, &len);

	while (len && g_ascii_isspace(*body)) {
		body++;
		len--;
	}
	return (len >= 5 && !g_ascii_strncasecmp(body, "<html", 5)) || (len >= 9 && !g_ascii_strncasecmp(body, "<!doctype", 9)) ||
	       (answer->content_type && !g_ascii_strncasecmp(answer->content_type, "text/html", 9));
}

/* What stands in the way of any operation. True: there is a body to look at. */
static bool check_answer(const struct doctor *doctor, const struct doctor_answer *answer, const char *operation)
{
	if (!answer->status)
		doctor_say(doctor, "scep-unreachable", operation, "%s", answer->why);
	else if (answer->status / 100 == 3)
		doctor_say(doctor, "scep-redirect", operation, "%s leads to %.200s (%d)", operation, answer->location ? answer->location : "somewhere else", answer->status);
	else if (answer->status != 200)
		doctor_say(doctor, "scep-status", operation, "%s is answered with %d%s", operation, answer->status, is_html(answer) ? " and a web page" : "");
	else if (is_html(answer))
		doctor_say(doctor, "scep-html", operation, "%s is answered with a web page", operation);
	else
		return true;
	return false;
}

/* ---- GetCACaps ---- */

/* A keyword in other letters than RFC 8894 §3.5.2 has it; NULL. */
static const char *find_misspelled(const char *line)
{
	static const char *const words[] = {"AES", "DES3", "GetNextCACert", "POSTPKIOperation", "Renewal", "SHA-1", "SHA-256", "SHA-384", "SHA-512", "SCEPStandard"};

	for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
		if (!g_ascii_strcasecmp(line, words[i]) && strcmp(line, words[i]))
			return words[i];
	return NULL;
}

static void check_lines(const struct doctor *doctor, const char *body, size_t len)
{
	g_autofree char *text = g_strndup(body, len);
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

	if (memchr(body, '\r', len)) {
		doctor_say(doctor, "scep-caps-lines", "GetCACaps", "lines end with CR and LF");
		return;
	}
	if (len && body[len - 1] != '\n')
		doctor_say(doctor, "scep-caps-lines", "GetCACaps", "the last line does not end with LF");
	for (char **line = lines; *line; line++) {
		const char *right = find_misspelled(*line);

		if (right)
			doctor_say(doctor, "scep-caps-lines", "GetCACaps", "\"%s\" must be written \"%s\"", *line, right);
	}
}

void doctor_scep_caps(const struct doctor *doctor, const struct doctor_answer *answer)
{
	struct scep_caps caps;
	size_t len;
	const char *body;

	if (answer->status == 404 || answer->status == 400 || answer->status == 405 || answer->status == 501) {
		doctor_say(doctor, "scep-caps-none", "GetCACaps", "GetCACaps is answered with %d", answer->status);
		return;
	}
	if (!check_answer(doctor, answer, "GetCACaps"))
		return;
	body = body_of(answer, &len);
	caps = scep_caps_parse(body, len);
	check_lines(doctor, body, MIN(len, (size_t)16384));
	if (!caps.sha1 && !caps.sha256 && !caps.sha512 && !caps.standard)
		doctor_say(doctor, "scep-caps-hash", "GetCACaps", "none of SHA-1, SHA-256 and SHA-512 is announced");
	if (!caps.post && !caps.standard)
		doctor_say(doctor, "scep-caps-post", "GetCACaps", "POSTPKIOperation is not announced");
}

/* ---- GetCACert ---- */

/* Without a key usage all is allowed. */
static bool may(X509 *cert, uint32_t usage)
{
	uint32_t has = X509_get_key_usage(cert);

	return has == UINT32_MAX || (has & usage) == usage;
}

static bool is_self_signed(X509 *cert)
{
	return !X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(cert)) && X509_get0_pubkey(cert) && cert_is_signed_by(cert, cert);
}

static char *name_of(X509 *cert)
{
	g_autoptr(cert_info) info = cert_info_new(cert, NULL);

	return g_strdup(info ? info->subject : "a certificate that cannot be read");
}

/* The certificates of the answer, transfer full; NULL with a finding. */
static GPtrArray *read_certs(const struct doctor *doctor, const struct doctor_answer *answer)
{
	size_t len;
	const char *body = body_of(answer, &len);
	bool says_one = !g_strcmp0(answer->content_type, ONE_TYPE), says_several = !g_strcmp0(answer->content_type, SEVERAL_TYPE);
	g_autoptr(GPtrArray) one = scep_ca_certs_parse(ONE_TYPE, body, len, NULL), several = one ? NULL : scep_ca_certs_parse(SEVERAL_TYPE, body, len, NULL);

	if (!one && !several) {
		if (memmem(body, len, "-----BEGIN ", 11))
			doctor_say(doctor, "scep-pem", "GetCACert", "GetCACert is answered with PEM");
		else
			doctor_say(doctor, "scep-broken", "GetCACert", "the %zu bytes that answer GetCACert are neither a certificate nor a PKCS#7", len);
		return NULL;
	}
	if (!says_one && !says_several)
		doctor_say(doctor, "scep-type", "GetCACert", "GetCACert is answered with the media type %s", answer->content_type ? answer->content_type : "that is not named");
	else if (says_one != (one != NULL))
		doctor_say(doctor, "scep-type-mismatch", "GetCACert", "%s comes as %s", one ? "one certificate" : "a PKCS#7", answer->content_type);
	else
		return one ? g_steal_pointer(&one) : g_steal_pointer(&several);
	return NULL;
}

/* What Apple's client takes of several: one root, all chains complete, and below it a pair of certificates before one that does both. */
static X509 *find_usage(const GPtrArray *certs, uint32_t usage, uint32_t without)
{
	for (guint i = 0; i < certs->len; i++) {
		uint32_t has = X509_get_key_usage(certs->pdata[i]);

		if (!is_self_signed(certs->pdata[i]) && has != UINT32_MAX && (has & usage) == usage && !(has & without))
			return certs->pdata[i];
	}
	return NULL;
}

static X509 *find_root(const struct doctor *doctor, const GPtrArray *certs)
{
	X509 *root = NULL;

	for (guint i = 0; i < certs->len; i++) {
		if (!is_self_signed(certs->pdata[i]))
			continue;
		if (root) {
			doctor_say(doctor, "scep-roots", "GetCACert", "there are two roots in the PKCS#7");
			return NULL;
		}
		root = certs->pdata[i];
	}
	if (!root)
		doctor_say(doctor, "scep-roots", "GetCACert", "there is no root in the PKCS#7");
	return root;
}

static bool check_complete(const struct doctor *doctor, const GPtrArray *certs)
{
	for (guint i = 0; i < certs->len; i++) {
		g_autofree char *name = name_of(certs->pdata[i]);
		bool found = false;

		for (guint k = 0; k < certs->len && !found; k++)
			found = cert_is_issued_by(certs->pdata[i], certs->pdata[k]);
		if (!found) {
			doctor_say(doctor, "scep-chain", "GetCACert", "the issuer of \"%s\" is not in the PKCS#7", name);
			return false;
		}
	}
	return true;
}

/* Borrowed; false with a finding. */
static bool choose(const struct doctor *doctor, const GPtrArray *certs, X509 **recipient, X509 **signer, X509 **compared)
{
	*compared = find_root(doctor, certs);
	if (!*compared || !check_complete(doctor, certs))
		return false;
	*recipient = find_usage(certs, KU_KEY_ENCIPHERMENT, KU_DIGITAL_SIGNATURE);
	*signer = find_usage(certs, KU_DIGITAL_SIGNATURE, KU_KEY_ENCIPHERMENT);
	if (!*recipient || !*signer)
		*recipient = *signer = find_usage(certs, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT, 0);
	if (!*recipient)
		doctor_say(doctor, "scep-ra", "GetCACert", "below the root there is no certificate with digitalSignature and keyEncipherment");
	return *recipient != NULL;
}

static bool check_use(const struct doctor *doctor, X509 *recipient, X509 *signer)
{
	g_autoptr(cert_info) info = cert_info_new(recipient, NULL);

	if (info && info->key_type != EVP_PKEY_RSA) {
		doctor_say(doctor, "scep-key-type", "GetCACert", "the key of \"%s\" is not RSA", info->subject);
		return false;
	}
	if (!may(recipient, KU_KEY_ENCIPHERMENT) || !may(signer, KU_DIGITAL_SIGNATURE)) {
		doctor_say(doctor, "scep-key-usage", "GetCACert", "\"%s\" lacks %s", info ? info->subject : "", may(recipient, KU_KEY_ENCIPHERMENT) ? "digitalSignature" : "keyEncipherment");
		return false;
	}
	if (info && (info->not_after < doctor->now_s || info->not_before > doctor->now_s))
		doctor_say(doctor, "scep-expired", "GetCACert", "\"%s\" %s", info->subject, info->not_after < doctor->now_s ? "has expired" : "is not valid yet");
	return true;
}

static void check_fingerprint(const struct doctor *doctor, X509 *compared, GBytes *fingerprint)
{
	g_autofree char *name = name_of(compared), *wanted = NULL;
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	gsize given = g_bytes_get_size(fingerprint);

	if (given != SHA1_LEN && given != MD5_LEN) {
		doctor_say(doctor, "scep-fingerprint-form", "CAFingerprint", "CAFingerprint has %zu bytes", given);
		return;
	}
	if (X509_digest(compared, given == MD5_LEN ? EVP_md5() : EVP_sha1(), digest, &len) == 1 && len == given && !memcmp(digest, g_bytes_get_data(fingerprint, NULL), len))
		return;
	X509_digest(compared, EVP_sha1(), digest, &len);
	wanted = hex_format(digest, len);
	doctor_say(doctor, "scep-fingerprint", "CAFingerprint", "Apple compares \"%s\", whose SHA-1 is %s", name, wanted);
	ERR_clear_error();
}

bool doctor_scep_ca(const struct doctor *doctor, const struct doctor_answer *answer, GBytes *fingerprint, X509 **ret_recipient, X509 **ret_signer)
{
	g_autoptr(GPtrArray) certs = check_answer(doctor, answer, "GetCACert") ? read_certs(doctor, answer) : NULL;
	X509 *recipient, *signer, *compared;

	if (!certs)
		return false;
	if (!g_strcmp0(answer->content_type, ONE_TYPE))
		recipient = signer = compared = certs->pdata[0];
	else if (!choose(doctor, certs, &recipient, &signer, &compared))
		return false;
	if (!check_use(doctor, recipient, signer))
		return false;
	if (fingerprint)
		check_fingerprint(doctor, compared, fingerprint);
	X509_up_ref(recipient);
	X509_up_ref(signer);
	*ret_recipient = recipient;
	*ret_signer = signer;
	return true;
}
