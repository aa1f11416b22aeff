#include "core/scep.h"

#include <string.h>

/* Default deny: whatever is not in this list is refused before anything else is looked at (CVE-2026-30836). */
static bool is_served(int message_type)
{
	static const int served[] = {SCEP_PKCS_REQ, SCEP_RENEWAL_REQ, SCEP_CERT_POLL, SCEP_GET_CERT, SCEP_GET_CRL};

	for (unsigned i = 0; i < G_N_ELEMENTS(served); i++)
		if (message_type == served[i])
			return true;
	return false;
}

bool scep_check_message(const struct scep_request *request, int cipher_nid, const struct scep_profile *profile, enum scep_fail_info *ret_fail_info, GError **error)
{
	if (!is_served(request->message_type)) {
		*ret_fail_info = SCEP_BAD_REQUEST;
		return pom_fail(error, POM_ERR_SCEP_TYPE, "messageType %d is not served (RFC 8894 §3.2.1.2)", request->message_type);
	}
	if (request->fail_info != SCEP_FAIL_INFO_NONE) {
		*ret_fail_info = request->fail_info;
		if (request->refusal)
			return pom_fail(error, request->refusal->code, "%s", request->refusal->message);
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "the message is not valid");
	}
	*ret_fail_info = SCEP_BAD_ALG;
	if (request->digest_nid == NID_sha1 && !profile->legacy)
		return pom_fail(error, POM_ERR_CMS_ALGORITHM, "SHA-1 is switched off (setting legacy of profile %s)", profile->name);
	switch (cipher_nid) {
	case NID_undef:
	case NID_aes_128_cbc:
	case NID_aes_192_cbc:
	case NID_aes_256_cbc:
		return true;
	case NID_des_ede3_cbc:
		return profile->legacy ? true : pom_fail(error, POM_ERR_CMS_ALGORITHM, "3DES is switched off (setting legacy of profile %s)", profile->name);
	case NID_des_cbc:
		return profile->legacy_des ? true : pom_fail(error, POM_ERR_CMS_ALGORITHM, "single DES is forbidden by RFC 8894 §2.9; the setting legacy_des of profile %s accepts it for old clients", profile->name);
	default:
		return pom_fail(error, POM_ERR_CMS_ALGORITHM, "content cipher %s is not accepted", OBJ_nid2sn(cipher_nid));
	}
}

bool scep_check_csr(const struct csr *csr, const struct scep_profile *profile, GError **error)
{
	if (csr->key_type != EVP_PKEY_RSA && csr->key_type != EVP_PKEY_EC)
		return pom_fail(error, POM_ERR_KEY_WEAK, "keys of type %s are not accepted", OBJ_nid2sn(csr->key_type));
	if (csr->key_type == EVP_PKEY_RSA ? !profile->rsa : !profile->ec)
		return pom_fail(error, POM_ERR_KEY_WEAK, "profile %s does not take %s keys", profile->name, csr->key_type == EVP_PKEY_RSA ? "RSA" : "EC");
	if (csr->key_type == EVP_PKEY_RSA && csr->key_bits < profile->rsa_bits_min)
		return pom_fail(error, POM_ERR_KEY_WEAK, "the RSA key has %d bits, at least %d are needed: set Keysize in the SCEP payload", csr->key_bits, (int)profile->rsa_bits_min);
	return true;
}

static bool has_text(const json_t *texts, const char *wanted)
{
	const json_t *text;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)texts, i, text)
		if (!g_strcmp0(json_string_value(text), wanted))
			return true;
	return false;
}

bool scep_check_names(const struct csr *csr, const struct scep_record *record, GError **error)
{
	g_autoptr(GBytes) wanted = cert_subject_parse_text(record->subject, error);
	g_autoptr(GPtrArray) asked = NULL;
	g_autoptr(json_t) mine = NULL;

	if (!wanted)
		return false;
	if (*csr->subject && !cert_names_match(wanted, csr->subject_der))
		return pom_fail(error, POM_ERR_SCEP_NAMES, "the request asks for the subject \"%.200s\", its challenge is for \"%.200s\"", csr->subject, record->subject);
	asked = csr_sans(csr);
	mine = scep_record_sans(record);
	for (guint i = 0; i < asked->len; i++)
		if (!has_text(mine, g_ptr_array_index(asked, i)))
			return pom_fail(error, POM_ERR_SCEP_NAMES, "the request asks for the alternative name \"%.200s\", which its challenge does not give", (const char *)g_ptr_array_index(asked, i));
	return true;
}

static void refuse(struct scep_plan *plan, GError **error, enum pom_error code, const char *why)
{
	*plan = (struct scep_plan){.action = SCEP_DO_REFUSE, .fail_info = SCEP_BAD_REQUEST, .alarm = code == POM_ERR_SCEP_CHALLENGE_USED};
	pom_fail(error, code, "%s", why);
}

/* Whether the request may have the certificate that was given before: a lost reply is fetched again. */
static bool is_resend(bool has, int64_t issued_ms, int64_t now_ms)
{
	return has && now_ms - issued_ms < SCEP_RESEND_WINDOW_MS;
}

void scep_decide(const struct challenge_facts *challenge, const struct scep_profile *profile, const struct csr *csr, int64_t now_ms, struct scep_plan *ret, GError **error)
{
	if (!challenge->known) {
		refuse(ret, error, POM_ERR_SCEP_CHALLENGE_UNKNOWN, "the challenge is missing or unknown");
		return;
	}
	if (g_strcmp0(challenge->profile, profile->name)) {
		refuse(ret, error, POM_ERR_SCEP_CHALLENGE_UNKNOWN, "the challenge was made for another profile");
		return;
	}
	/* Also after the challenge has been used up or closed. */
	if (is_resend(challenge->has_same_key && challenge->same_key_usable, challenge->same_key_issued_ms, now_ms)) {
		*ret = (struct scep_plan){.action = SCEP_DO_RESEND, .fail_info = SCEP_FAIL_INFO_NONE};
		return;
	}
	if (challenge->revoked)
		refuse(ret, error, POM_ERR_SCEP_CHALLENGE_REVOKED, "the challenge has been revoked");
	else if (challenge->has_same_key)
		refuse(ret, error, POM_ERR_SCEP_CHALLENGE_USED, "the certificate of this key and challenge is revoked or too old to be fetched again");
	else if (challenge->closed || challenge->n_keys >= challenge->max_keys)
		refuse(ret, error, POM_ERR_SCEP_CHALLENGE_USED, "the challenge has been used with another key");
	else if (now_ms >= challenge->expires_ms)
		refuse(ret, error, POM_ERR_SCEP_CHALLENGE_EXPIRED, "the challenge has expired");
	else if (challenge->key_type && strcmp(challenge->key_type, csr->key_type == EVP_PKEY_RSA ? "rsa" : "ec"))
		refuse(ret, error, POM_ERR_KEY_WEAK, "the challenge is for a key of the other type (RSA or EC)");
	else
		*ret = (struct scep_plan){.action = SCEP_DO_ISSUE, .fail_info = SCEP_FAIL_INFO_NONE};
}

void scep_decide_renewal(const struct renewal_facts_old *old, const struct scep_profile *profile, int64_t now_ms, struct scep_plan *ret, GError **error)
{
	int64_t life_ms = old->not_after_ms - old->not_before_ms;
	int64_t window_ms = profile->renewal_percent ? old->not_after_ms - life_ms / 100 * profile->renewal_percent : old->not_before_ms;

	if (!old->known || !old->of_profile)
		refuse(ret, error, POM_ERR_SCEP_RENEWAL, "the message is not signed with a certificate that this profile has issued");
	else if (!old->issued)
		refuse(ret, error, POM_ERR_SCEP_RENEWAL, "the certificate that the message is signed with has been revoked");
	else if (is_resend(old->has_successor, old->successor_issued_ms, now_ms))
		*ret = (struct scep_plan){.action = SCEP_DO_RESEND, .fail_info = SCEP_FAIL_INFO_NONE};
	else if (now_ms < old->not_before_ms || now_ms > old->not_after_ms)
		refuse(ret, error, POM_ERR_SCEP_RENEWAL, "the certificate that the message is signed with has expired or is not valid yet");
	else if (now_ms < window_ms)
		refuse(ret, error, POM_ERR_SCEP_RENEWAL, "it is too early: a certificate is renewed in the last part of its life (setting renewal_percent of the profile)");
	else if (old->same_key && !profile->renewal_same_key)
		refuse(ret, error, POM_ERR_SCEP_RENEWAL, "a renewal needs a new key (setting renewal_same_key of the profile)");
	else if (!old->reserved_ms && old->renewed_ms && old->renewed_ms >= window_ms && profile->renewal_percent)
		refuse(ret, error, POM_ERR_SCEP_RENEWAL, "the certificate has been renewed already, with another key");
	else if (!old->reserved_ms && old->renewed_ms && !profile->renewal_percent && now_ms - old->renewed_ms < SCEP_RESEND_WINDOW_MS)
		refuse(ret, error, POM_ERR_SCEP_RENEWAL, "the certificate has been renewed less than a day ago, with another key");
	else
		*ret = (struct scep_plan){.action = SCEP_DO_ISSUE, .fail_info = SCEP_FAIL_INFO_NONE};
}
