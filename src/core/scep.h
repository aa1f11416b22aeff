/* The SCEP server's policy for PKCSReq: (request, facts, now) → plan. What a certificate says comes from the challenge's record,
 * never from the request (VU#971035). */
#pragma once

#include "base/error.h"
#include "codec/scep.h"

enum { SCEP_RESEND_WINDOW_MS = 24 * 3600 * 1000 };

struct challenge_facts {
	bool known;
	const char *id;
	const char *link_id;        /* NULL: not of a link */
	int64_t expires_ms;
	bool revoked, closed;       /* closed: its link has been consumed by an Authenticate */
	int64_t max_keys;           /* how many different keys may get a certificate */
	int64_t n_keys;             /* how many have */
	/* The certificate that this very key got with this challenge. */
	bool has_same_key;
	const char *same_key_serial;
	int64_t same_key_issued_ms;
	bool same_key_usable;       /* issued, not revoked */
};

struct scep_policy {
	bool legacy;      /* SHA-1 and 3DES are accepted */
	bool legacy_des;  /* and single DES */
	int rsa_bits_min;
};

enum scep_action { SCEP_DO_ISSUE, SCEP_DO_RESEND, SCEP_DO_REFUSE };
struct scep_plan {
	enum scep_action action;
	enum scep_fail_info fail_info; /* with SCEP_DO_REFUSE */
	bool alarm;                    /* a used one-time challenge came with another key */
};

/* Message type and algorithms, before anything is decrypted. CIPHER_NID of the envelope. Refusals set ERROR for the log. */
bool scep_check_message(const struct scep_request *request, int cipher_nid, const struct scep_policy *policy, enum scep_fail_info *ret_fail_info, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The request inside. */
bool scep_check_csr(const struct csr *csr, const struct scep_policy *policy, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The challenge. ERROR is set with SCEP_DO_REFUSE. */
void scep_decide(const struct challenge_facts *challenge, int64_t now_ms, struct scep_plan *ret, GError **error);
