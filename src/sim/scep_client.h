/* SCEP over HTTP (RFC 8894 §4), as a device does it: GetCACert, GetCACaps, GetNextCACert, PKIOperation, polling while the answer is PENDING. */
#pragma once

#include "sim/scep_reply.h"
#include "sim/sim_http.h"
#include "sim/sim_profile.h"

/* GET leaves '+' as it is (iOS, macOS); GET_LINES escapes everything and has a line break every 64 characters (strongSwan). */
enum sim_scep_method { SIM_SCEP_AS_ANNOUNCED, SIM_SCEP_POST, SIM_SCEP_GET, SIM_SCEP_GET_LINES, SIM_SCEP_METHOD_MAX };
/* "post", "get", "get-lines", or SIM_SCEP_METHOD_MAX. */
enum sim_scep_method sim_scep_method_find(const char *name);

/* Talks with one server. Belongs to one thread at a time. */
typedef struct sim_scep_session {
	sim_http *http;              /* borrowed */
	const char *url, *name;      /* borrowed; name NULL: message= is left empty */
	GBytes *fingerprint;         /* borrowed; NULL: not checked */
	enum sim_scep_method method;
	const int *stop;             /* may be NULL */
	struct sim_scep_ca ca;       /* once sim_scep_get_ca has been called */
	char *caps;                  /* once sim_scep_get_caps has been called; "" when the server has none */
	GHashTable *nonces;          /* every senderNonce of the server so far */
} sim_scep_session;

/* NAME, FINGERPRINT and STOP may be NULL. transfer full. */
sim_scep_session *sim_scep_session_new(sim_http *http, const char *url, const char *name, GBytes *fingerprint, const int *stop);
void sim_scep_session_free(sim_scep_session *session);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(sim_scep_session, sim_scep_session_free)

/* The operations; each blocks. POM_ERR_UNREACHABLE, or POM_ERR_SCEP_MESSAGE with the code that a device shows. */
bool sim_scep_get_ca(sim_scep_session *session, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool sim_scep_get_caps(sim_scep_session *session, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Needs sim_scep_get_ca. *RET transfer full. */
bool sim_scep_get_next_ca(sim_scep_session *session, struct sim_scep_ca *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Whether CAPS is what the strictest clients can read: canonical words, one a line, each line ended by LF. POM_ERR_SCEP_MESSAGE. */
bool sim_scep_caps_check(const char *caps, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Asks QUESTION of CA, which is the session's or the next one. True with *RET (transfer full) also on FAILURE and PENDING, and, with http_status
 * other than 200 and FAILURE, when the server answered with an HTTP error. */
bool sim_scep_ask(sim_scep_session *session, sim_scep *scep, const struct sim_scep_ca *ca, const struct sim_scep_question *question, struct sim_scep_outcome *ret, GError **error)
	G_GNUC_WARN_UNUSED_RESULT;

/* Asks again for CSR with CertPoll, at most N_TRIES times, at once and then every DELAY_MS, until OUTCOME is no longer PENDING. OUTCOME is
 * that of the question before, and is replaced. */
bool sim_scep_poll(sim_scep_session *session, sim_scep *scep, const struct sim_scep_ca *ca, GBytes *csr, int64_t n_tries, unsigned delay_ms, struct sim_scep_outcome *outcome, GError **error)
	G_GNUC_WARN_UNUSED_RESULT;

/* How to get a certificate. All of it borrowed. */
struct sim_scep_errand {
	enum sim_scep_type type;       /* PKCSReq or RenewalReq */
	struct sim_scep_choice choice;
	struct sim_scep_wish wish;
	EVP_PKEY *key;
	int64_t n_tries;               /* of polling */
	unsigned delay_ms;
	GBytes *instead;               /* sent instead of the pkiMessage; NULL: none */
};
/* Asks the session's CA, and polls; needs sim_scep_get_ca and sim_scep_get_caps. *RET as of sim_scep_ask. */
bool sim_scep_obtain(sim_scep_session *session, const struct sim_scep_errand *errand, struct sim_scep_outcome *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

struct sim_scep_quirks {
	const char *challenge;   /* instead of the profile's; NULL: the profile's */
	EVP_PKEY *csr_signer;    /* signs the CSR instead of its own key; NULL: its own */
	GBytes *instead;         /* sent instead of the pkiMessage; NULL: none */
};

/* Gets a certificate for KEY as a device does with the SCEP payload SETTINGS. True with *RET also on FAILURE, and with http_status not 200 when the server
 * answered with an HTTP error; false when it cannot be reached, its answer is not what SCEP demands, or nobody has approved the request after all
 * retries. QUIRKS may be NULL. Blocks; STOP (may be NULL) ends the waiting. */
bool sim_scep_enroll(sim_http *http, const struct sim_scep_settings *settings, const struct sim_scep_form *form, EVP_PKEY *key, const struct sim_scep_quirks *quirks, const int *stop,
                     struct sim_scep_outcome *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The address of an operation: URL may have a query already. MESSAGE (NULL: none) is escaped. transfer full. */
char *sim_scep_url(const char *url, const char *operation, const char *message);
