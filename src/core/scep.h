/* The SCEP server's policy: (request, facts, now) → plan. What a certificate says comes from the server's record, never from the
 * request (VU#971035). */
#pragma once

#include "base/error.h"
#include "codec/scep.h"
#include "core/profile.h"

enum { SCEP_RESEND_WINDOW_MS = 24 * 3600 * 1000, SCEP_TIME_TOLERANCE_S = 86400 };

struct challenge_facts {
	bool known;
	const char *id;
	const char *profile;        /* the one it was made for */
	const char *link_id;        /* NULL: not of a link */
	const char *key_type;       /* "rsa" or "ec"; NULL: any that the profile takes */
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

/* The certificate that a request is signed with, when it is one of ours. */
struct renewal_facts_old {
	bool known, issued;         /* issued: not reserved, not revoked */
	bool of_profile;            /* issued by this profile */
	bool same_key;              /* the request asks for the key of the old certificate */
	int64_t not_before_ms, not_after_ms, renewed_ms;
	bool has_successor;         /* this very key got a certificate in renewal of this one already */
	int64_t successor_issued_ms;
	int64_t reserved_ms;        /* this very key was about to get one then, which is not there; 0: no */
};

enum scep_action { SCEP_DO_ISSUE, SCEP_DO_RESEND, SCEP_DO_REFUSE };
struct scep_plan {
	enum scep_action action;
	enum scep_fail_info fail_info; /* with SCEP_DO_REFUSE */
	bool alarm;                    /* a used one-time challenge came with another key */
};

/* Message type and algorithms, before anything is decrypted. CIPHER_NID of the envelope, NID_undef before it is known. Refusals set ERROR for the log. */
bool scep_check_message(const struct scep_request *request, int cipher_nid, const struct scep_profile *profile, enum scep_fail_info *ret_fail_info, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The request inside: kind and size of its key. */
bool scep_check_csr(const struct csr *csr, const struct scep_profile *profile, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* With strict_names: the request's subject and alternative names must be the record's. POM_ERR_SCEP_NAMES. */
bool scep_check_names(const struct csr *csr, const struct scep_record *record, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The challenge. ERROR is set with SCEP_DO_REFUSE. */
void scep_decide(const struct challenge_facts *challenge, const struct scep_profile *profile, const struct csr *csr, int64_t now_ms, struct scep_plan *ret, GError **error);
/* A renewal, authenticated by the old certificate (RFC 8894 §2.4). ERROR is set with SCEP_DO_REFUSE. */
void scep_decide_renewal(const struct renewal_facts_old *old, const struct scep_profile *profile, int64_t now_ms, struct scep_plan *ret, GError **error);
