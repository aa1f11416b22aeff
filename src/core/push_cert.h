/* Rules of push certificates: which kind of certificate of Apple's a file holds, whether one may be imported, and where an administrator stands on
 * the way to the first one or to its renewal.
 *
 * Invariants: a certificate of another topic never takes the place of the one that devices enrolled with; the topic stays when a
 * certificate is renewed, and only then. */
#pragma once

#include "base/error.h"
#include "codec/cert.h"

#define PUSH_TOPIC_PREFIX "com.apple.mgmt."
/* Where things are done at Apple's. */
#define PUSH_PORTAL_URL "https://identity.apple.com/pushcert"
#define PUSH_DEVELOPER_URL "https://developer.apple.com/account/resources/certificates/list"
#define PUSH_AUTHORITY_URL "https://www.apple.com/certificateauthority/"

enum push_cert_kind {
	PUSH_KIND_MDM,       /* its subject has a UID that begins with com.apple.mgmt. */
	PUSH_KIND_VENDOR,    /* "MDM Vendor: …": signs requests */
	PUSH_KIND_APP,       /* pushes to an app: the UID is its bundle identifier */
	PUSH_KIND_DEVELOPER, /* signs apps: the UID is a team's or a person's */
	PUSH_KIND_CA,
	PUSH_KIND_OTHER,
	PUSH_KIND_MAX,
};
/* What is looked at; UID and COMMON_NAME of the subject may be NULL. */
struct push_cert_names { const char *uid, *common_name, *issuer_common_name, *subject; bool is_ca; };
enum push_cert_kind push_cert_kind(const struct push_cert_names *names);
/* Whether such a certificate can be a push certificate of MDM. POM_ERR_PUSH_IS_VENDOR, POM_ERR_PUSH_IS_APP, POM_ERR_PUSH_CERT: each says what to bring instead. */
bool push_cert_check_kind(const struct push_cert_names *names, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether it can sign requests. POM_ERR_PUSH_NOT_VENDOR. */
bool push_vendor_check_kind(const struct push_cert_names *names, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether it is valid at NOW; all in Unix seconds. RENEW: how to get another, a clause. POM_ERR_PUSH_DATES. */
bool push_cert_check_dates(const char *subject, int64_t not_before_s, int64_t not_after_s, int64_t now_s, const char *renew, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A topic that devices or certificates have. */
struct push_topic {
	const char *topic;
	const char *apple_account; /* of its certificate; NULL: not known */
	int64_t n_devices;         /* enrolled ones */
	bool held;                 /* there is a certificate of it */
};
/* Whether a certificate of TOPIC may come: it renews one that is held, or no enrolled device has another topic. Else POM_ERR_PUSH_TOPIC_CHANGED with
 * how many devices would be lost and what to do at Apple's instead. */
bool push_cert_check_topic(const char *topic, const struct push_topic *topics, size_t n, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* How many devices have another topic than TOPIC. */
int64_t push_cert_count_others(const char *topic, const struct push_topic *topics, size_t n);

/* ---- the guided way ---- */
enum push_way {
	PUSH_WAY_VENDOR,  /* one's own vendor certificate */
	PUSH_WAY_MDMCERT, /* mdmcert.download signs */
	PUSH_WAY_FOREIGN, /* another vendor signs */
	PUSH_WAY_MAX,
};
const char *push_way_name(enum push_way way);
enum push_way push_way_find(const char *name); /* PUSH_WAY_MAX: none */

enum push_step { PUSH_STEP_VENDOR, PUSH_STEP_REQUEST, PUSH_STEP_CERTIFICATE, PUSH_STEP_MAX };
const char *push_step_name(enum push_step step);
enum push_step_state {
	PUSH_STATE_LATER,   /* the step before comes first */
	PUSH_STATE_NOW,     /* the server can do it */
	PUSH_STATE_WAITING, /* somebody has to answer: Apple, or who signs */
	PUSH_STATE_DONE,
	PUSH_STATE_SKIPPED, /* not on this way */
	PUSH_STATE_MAX,
};
const char *push_state_name(enum push_step_state state);
struct push_setup_facts {
	enum push_way way;
	bool vendor_requested, vendor_ready; /* a vendor's request is out; a vendor certificate is valid */
	bool requested;                      /* a push certificate is being asked for */
	bool is_signed;                      /* that request can go to Apple's portal */
	bool certified;                      /* there is a push certificate, */
	bool ends_soon;                      /* and it ends soon, or is over */
};
/* The state of each step. */
void push_setup_decide(const struct push_setup_facts *facts, enum push_step_state ret[PUSH_STEP_MAX]);
