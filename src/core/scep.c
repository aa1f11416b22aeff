#include "core/scep.h"

bool scep_check_message(const struct scep_request *request, int cipher_nid, const struct scep_policy *policy, enum scep_fail_info *ret_fail_info, GError **error)
{
	/* Default deny, before anything else is looked at (CVE-2026-30836). */
	if (request->message_type != SCEP_PKCS_REQ) {
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
	if (request->digest_nid == NID_sha1 && !policy->legacy)
		return pom_fail(error, POM_ERR_CMS_ALGORITHM, "SHA-1 is switched off (scep.legacy)");
	switch (cipher_nid) {
	case NID_aes_128_cbc:
	case NID_aes_192_cbc:
	case NID_aes_256_cbc:
		return true;
	case NID_des_ede3_cbc:
		return policy->legacy ? true : pom_fail(error, POM_ERR_CMS_ALGORITHM, "3DES is switched off (scep.legacy)");
	case NID_des_cbc:
		return policy->legacy_des ? true : pom_fail(error, POM_ERR_CMS_ALGORITHM, "single DES is forbidden by RFC 8894 §2.9; the setting scep.legacy_des accepts it for old clients");
	default:
		return pom_fail(error, POM_ERR_CMS_ALGORITHM, "content cipher %s is not accepted", OBJ_nid2sn(cipher_nid));
	}
}

bool scep_check_csr(const struct csr *csr, const struct scep_policy *policy, GError **error)
{
	if (csr->key_type == EVP_PKEY_RSA && csr->key_bits < policy->rsa_bits_min)
		return pom_fail(error, POM_ERR_KEY_WEAK, "the RSA key has %d bits, at least %d are needed: set Keysize in the SCEP payload", csr->key_bits, policy->rsa_bits_min);
	if (csr->key_type != EVP_PKEY_RSA && csr->key_type != EVP_PKEY_EC)
		return pom_fail(error, POM_ERR_KEY_WEAK, "keys of type %s are not accepted", OBJ_nid2sn(csr->key_type));
	return true;
}

static void refuse(struct scep_plan *plan, GError **error, enum pom_error code, const char *why)
{
	*plan = (struct scep_plan){.action = SCEP_DO_REFUSE, .fail_info = SCEP_BAD_REQUEST, .alarm = code == POM_ERR_SCEP_CHALLENGE_USED};
	pom_fail(error, code, "%s", why);
}

void scep_decide(const struct challenge_facts *challenge, int64_t now_ms, struct scep_plan *ret, GError **error)
{
	if (!challenge->known) {
		refuse(ret, error, POM_ERR_SCEP_CHALLENGE_UNKNOWN, "the challenge is missing or unknown");
		return;
	}
	/* A lost reply is fetched again, also after the challenge has been used up or closed. */
	if (challenge->has_same_key && challenge->same_key_usable && now_ms - challenge->same_key_issued_ms < SCEP_RESEND_WINDOW_MS) {
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
	else
		*ret = (struct scep_plan){.action = SCEP_DO_ISSUE, .fail_info = SCEP_FAIL_INFO_NONE};
}
