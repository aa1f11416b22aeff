/* A decision on a SCEP request by a service of the administrator's own: one signed POST, and a reply that says yes or no (docs/webhook.md).
 *
 * Only a reply that is understood and says yes allows. No reply in time, a host that cannot be reached, a redirect, another status than 200,
 * JSON of another shape: all of that denies, so an attacker gains nothing by keeping the service from answering. */
#pragma once

#include "base/face.h"
#include "service/outbound.h"

enum { WEBHOOK_SECRET_MIN = 16, WEBHOOK_TIMEOUT_MAX_MS = 60000, WEBHOOK_SANS_MAX = 64, WEBHOOK_TEXT_MAX = 1024 };

struct webhook {
	const char *url;     /* https, or http on this machine: the question holds the challenge */
	const char *ca_file; /* PEM roots to trust for it; NULL: the system's */
	GBytes *secret;      /* key of the HMAC, at least WEBHOOK_SECRET_MIN bytes */
	unsigned timeout_ms; /* 1 to WEBHOOK_TIMEOUT_MAX_MS */
	const struct pom_clock *clock;
	const struct pom_random *random;
};
/* Whether it can be called: URL, length of the secret, time-out. POM_ERR_CONFIG. */
bool webhook_check(const struct webhook *hook, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What the service is told. All but type, profile, transaction_id and csr may be NULL. */
struct webhook_question {
	const char *type;              /* "enroll" or "renew" */
	const char *profile;
	const char *transaction_id;
	const char *subject;           /* of the certificate to be issued, RFC 2253 */
	const char *const *sans;       /* "dns:…", "email:…", "uri:…", NULL-terminated */
	GBytes *csr;                   /* PKCS#10 DER, as the client sent it */
	const char *challenge;
	const char *peer;              /* address of the client */
};

/* What it may say beside yes. */
struct webhook_answer {
	char *subject; /* to be issued instead, in the text form of RFC 2253, not parsed here; NULL: as it was */
	char **sans;   /* to be issued instead, each "dns:…", "email:…" or "uri:…"; empty: none; NULL: as they were */
};
void webhook_answer_clear(struct webhook_answer *answer);
typedef struct webhook_answer webhook_answer;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(webhook_answer, webhook_answer_clear)

/* Asks. True only when the service has said yes; *RET is then set (webhook_answer_clear). Else POM_ERR_SCEP_DENIED with what the service
 * said or why it could not be asked, for the log, never for the client. Blocks for up to the time-out; any thread. */
bool webhook_decide(const struct outbound *outbound, const struct webhook *hook, const struct webhook_question *question, struct webhook_answer *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
