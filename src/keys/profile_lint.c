#include "keys/profile_lint.h"

#include <string.h>

#include "codec/mobileconfig.h"
#include "keys/profile_signer.h"

#define SIGNER "signer"

struct look {
	struct lint_report *report;
	struct cms_signed *message;
	GPtrArray *roots;
	GPtrArray *embedded; /* X509 */
	GPtrArray *path;     /* X509, borrowed: the signer, its issuer, … as far as the message leads */
	int64_t at_s;
};

static void read_embedded(struct look *look)
{
	for (guint i = 0; i < look->message->certificates->len; i++) {
		GBytes *der = look->message->certificates->pdata[i];
		X509 *cert = cert_parse_der(g_bytes_get_data(der, NULL), g_bytes_get_size(der), NULL);

		if (cert)
			g_ptr_array_add(look->embedded, cert);
	}
}

static X509 *find_issuer(X509 *cert, GPtrArray *among)
{
	for (guint i = 0; among && i < among->len; i++)
		if (cert_is_issued_by(cert, among->pdata[i]))
			return among->pdata[i];
	return NULL;
}

static void build_path(struct look *look)
{
	X509 *at = look->message->signer;

	while (at && look->path->len <= PROFILE_CHAIN_MAX) {
		g_ptr_array_add(look->path, at);
		at = cert_is_issued_by(at, at) ? NULL : find_issuer(at, look->embedded);
	}
}

static void judge_kind(const struct look *look, const struct cert_info *info)
{
	static const enum lint_rule_id rules[PROFILE_SIGNER_KIND_MAX] = {
		[PROFILE_SIGNER_PUSH] = LINT_SIGNATURE_PUSH, [PROFILE_SIGNER_VENDOR] = LINT_SIGNATURE_VENDOR, [PROFILE_SIGNER_DEVELOPER] = LINT_SIGNATURE_DEVELOPER,
		[PROFILE_SIGNER_CA] = LINT_SIGNATURE_CA, [PROFILE_SIGNER_IDENTITY] = LINT_SIGNATURE_IDENTITY, [PROFILE_SIGNER_USAGE] = LINT_SIGNATURE_USAGE,
	};
	enum profile_signer_kind kind = profile_signer_kind(look->message->signer, info);

	if (kind != PROFILE_SIGNER_FIT)
		lint_report_add(look->report, rules[kind], SIGNER, "\"%s\": %.*s", info->subject, (int)strlen(lint_rule(rules[kind])->text) - 1, lint_rule(rules[kind])->text);
	if (!profile_signer_is_strong(info))
		lint_report_add(look->report, LINT_SIGNATURE_WEAK_KEY, SIGNER, "\"%s\" has a key of %d bits, which is too weak or of a kind that devices do not verify", info->subject, info->key_bits);
	if (look->message->digest_nid == NID_sha1)
		lint_report_add(look->report, LINT_SIGNATURE_SHA1, SIGNER, "the digest of the signature is SHA-1, which new systems may refuse");
}

static void judge_dates(const struct look *look, const struct cert_info *info)
{
	if (look->at_s > info->not_after)
		lint_report_add(look->report, LINT_SIGNATURE_EXPIRED, SIGNER, "\"%s\" has expired: devices show the profile as not verified", info->subject);
	else if (look->at_s < info->not_before)
		lint_report_add(look->report, LINT_SIGNATURE_NOT_YET, SIGNER, "\"%s\" is not valid yet", info->subject);
}

static bool is_in(const GPtrArray *certs, const X509 *cert, guint before)
{
	for (guint i = 0; i < MIN(certs->len, before); i++)
		if (!X509_cmp(certs->pdata[i], cert))
			return true;
	return false;
}

static void judge_certificates(const struct look *look)
{
	for (guint i = 0; i < look->embedded->len; i++) {
		g_autoptr(cert_info) info = cert_info_new(look->embedded->pdata[i], NULL);

		if (is_in(look->embedded, look->embedded->pdata[i], i))
			lint_report_add(look->report, LINT_SIGNATURE_DOUBLED, SIGNER, "the certificate \"%s\" stands in the message twice", info ? info->subject : "?");
		else if (!is_in(look->path, look->embedded->pdata[i], G_MAXUINT))
			lint_report_add(look->report, LINT_SIGNATURE_FOREIGN, SIGNER, "the certificate \"%s\" does not belong to the signer's chain", info ? info->subject : "?");
	}
}

/* A signer that is alone in the message, whose issuer is no known root, most likely lacks its intermediate; with an intermediate beside it, the root is the one that is not known. */
static void judge_end(const struct look *look)
{
	X509 *last = look->path->pdata[look->path->len - 1];
	bool is_known = find_issuer(last, look->roots) || (look->roots && is_in(look->roots, last, G_MAXUINT)), is_root = cert_is_issued_by(last, last);
	g_autofree char *issuer = cert_issuer_text(last);

	if (!look->roots || is_known)
		return;
	if (look->path->len == 1 && !is_root)
		lint_report_add(look->report, LINT_SIGNATURE_INCOMPLETE, SIGNER, "the signer's certificate is alone in the message, and \"%s\", which issued it, is no root that is known here", issuer ? issuer : "?");
	else
		lint_report_add(look->report, LINT_SIGNATURE_UNTRUSTED, SIGNER, "the chain ends at \"%s\", which is no root that is known here", issuer ? issuer : "?");
}

void profile_lint_signature(struct lint_report *report, GBytes *file, GPtrArray *roots, int64_t at_s)
{
	g_autoptr(cms_signed) message = NULL;
	g_autoptr(GBytes) content = mobileconfig_open(g_bytes_get_data(file, NULL), g_bytes_get_size(file), &message, NULL);
	g_autoptr(GPtrArray) embedded = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free), path = g_ptr_array_new();
	struct look look = {report, message, roots, embedded, path, at_s};
	g_autoptr(cert_info) info = message ? cert_info_new(message->signer, NULL) : NULL;

	if (!content || !info)
		return;
	read_embedded(&look);
	build_path(&look);
	judge_kind(&look, info);
	judge_dates(&look, info);
	judge_certificates(&look);
	judge_end(&look);
}
