/* The check-in protocol (Apple: "Check-in"), as a rule: (message, facts, now) → plan.
 *
 * What must hold:
 *  - Each Authenticate starts a new epoch of the enrollment. Commands, results, tokens and keys belong to one epoch.
 *  - A new certificate for a live enrollment gets a pending epoch beside the active one: the old epoch and its certificate
 *    stay valid until the new epoch's first TokenUpdate, since an enrollment link alone must not be able to un-enroll a device
 *    that exists. Secrets escrowed in an older epoch are never answered to a newer one.
 *  - The certificate says who speaks; the identifiers in the message must agree with it.
 *  - No refusal is 401: a device would un-enroll. */
#pragma once

#include "base/error.h"
#include "codec/plist.h"

enum checkin_type {
	CHECKIN_AUTHENTICATE, CHECKIN_TOKEN_UPDATE, CHECKIN_CHECK_OUT, CHECKIN_USER_AUTHENTICATE,
	CHECKIN_SET_BOOTSTRAP_TOKEN, CHECKIN_GET_BOOTSTRAP_TOKEN, CHECKIN_GET_TOKEN, CHECKIN_DECLARATIVE_MANAGEMENT, CHECKIN_RETURN_TO_SERVICE, CHECKIN_TYPE_MAX,
};

/* What an enrollment is; the words are those of the API. */
enum enrollment_kind { ENROLLMENT_DEVICE, ENROLLMENT_USER, ENROLLMENT_SHARED_IPAD, ENROLLMENT_USER_DEVICE, ENROLLMENT_USER_USER, ENROLLMENT_KIND_MAX };
const char *enrollment_kind_name(enum enrollment_kind kind);

/* Who a message speaks of. Strings borrow from the message. */
struct checkin_identity {
	const char *device_id;  /* UDID, else EnrollmentID; 1–255 bytes */
	const char *user_part;  /* "" on the device channel */
	enum enrollment_kind kind;
	const char *user_short_name, *user_long_name, *user_id; /* NULL when absent */
	const char *serial;     /* of Authenticate; NULL when absent */
};

struct checkin_message {
	enum checkin_type type;
	struct checkin_identity who;
	const char *topic;      /* required for Authenticate, TokenUpdate; else NULL when absent */
	/* Authenticate; NULL when absent */
	const char *serial, *product_name, *model, *model_name, *device_name, *os_version, *build_version, *imei, *meid;
	/* TokenUpdate */
	const void *token, *unlock_token; /* NULL when absent */
	size_t token_len, unlock_token_len;
	const char *push_magic;
	bool has_awaiting_configuration, awaiting_configuration; /* SetBootstrapToken too */
	bool has_not_on_console, not_on_console;
	/* SetBootstrapToken: NULL or empty deletes */
	const void *bootstrap_token;
	size_t bootstrap_token_len;
	const char *digest_response; /* UserAuthenticate, the second one; NULL: the first */
	/* GetToken; the parameters only for watches: there all of them */
	const char *token_service, *security_token, *phone_udid, *watch_udid;
	/* DeclarativeManagement: the endpoint as it was sent, 1–CHECKIN_TEXT_MAX bytes; data NULL when absent */
	const char *endpoint;
	const void *data;
	size_t data_len;
};

#define CHECKIN_SERVICE_WATCH "com.apple.watch.pairing"
#define CHECKIN_SERVICE_MAID "com.apple.maid" /* access of Managed Apple Accounts */
enum { CHECKIN_ID_MAX = 255, CHECKIN_TEXT_MAX = 1024, CHECKIN_TOKEN_MAX = 4096, CHECKIN_SECRET_MAX = 1 << 20 };

/* The identifiers of any message or command report: UDID before EnrollmentID, UserID (all F: the UserShortName) after.
 * POM_ERR_CHECKIN_MALFORMED naming the key. */
bool checkin_identity_parse(const plist *message, const char *path, struct checkin_identity *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Tree → message, borrowing from the tree. POM_ERR_CHECKIN_MALFORMED, POM_ERR_CHECKIN_TYPE, POM_ERR_PLIST_KEY. Unknown keys are ignored. */
bool checkin_message_parse(const plist *message, struct checkin_message *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
const char *checkin_type_name(enum checkin_type type);

/* Facts. Strings borrow from whoever loaded them; NULL when unknown. */
enum certificate_state { CERTIFICATE_RESERVED, CERTIFICATE_ISSUED, CERTIFICATE_REVOKED };
struct certificate_facts {
	bool known;
	enum certificate_state state;
	const char *serial;
	const char *enrollment_id; /* bound to this enrollment; NULL: not bound yet */
	int64_t epoch;             /* … and this epoch */
	const char *link_id;       /* the link it was issued for */
	bool may_enroll;           /* issued for enrollment (link) */
	int64_t not_before_ms, not_after_ms;
	const char *device_id;     /* UDID, EnrollmentID or serial number of the one device that may enroll with it; NULL: any */
	const char *for_enrollment_id; /* issued to renew the identity of this enrollment; NULL: not */
	int64_t for_epoch;
	int64_t grace_ms;          /* how long after its end it may still speak, only to be renewed; set by the caller */
	const char *ota_link_id;   /* only for fetching the profile of this link over the air; NULL: not */
};

enum enrollment_state { ENROLLMENT_PENDING, ENROLLMENT_ENROLLED, ENROLLMENT_ENDED, ENROLLMENT_STATE_MAX };
const char *enrollment_state_name(enum enrollment_state state);
struct enrollment_facts {
	bool known;
	const char *id;
	enum enrollment_state state;
	int64_t version;
	int64_t active_epoch, pending_epoch, last_epoch; /* 0: none */
	const char *active_topic, *pending_topic; /* "": not known yet, of a device that was taken up before its TokenUpdate */
	const char *product_name;
};

/* What the settings allow. */
struct checkin_policy {
	bool ask_user; /* UserAuthenticate is answered with an empty challenge, which needs no password, instead of being declined */
	bool maid;     /* there is a key for tokens of CHECKIN_SERVICE_MAID */
};

struct checkin_facts {
	struct certificate_facts certificate; /* of the signer */
	struct enrollment_facts device;       /* the device channel that the message names */
	struct enrollment_facts user;         /* the user channel, when it names one */
	const char *const *topics;            /* topics of our push certificates, NULL-terminated */
	struct checkin_policy policy;
	const char *blocked;                  /* why administrators have blocked the device, or ""; NULL: they have not */
	bool blocked_out;                     /* … and want it to un-enroll */
};

enum checkin_action {
	CHECKIN_DO_NOTHING,     /* answer 200 */
	CHECKIN_DO_CREATE,      /* Authenticate of a device not seen before: enrollment and pending epoch 1, bind the certificate */
	CHECKIN_DO_NEW_EPOCH,   /* Authenticate of a known device: pending epoch, bind the certificate */
	CHECKIN_DO_REFRESH,     /* Authenticate repeated before TokenUpdate: facts only */
	CHECKIN_DO_ACTIVATE,    /* first TokenUpdate of the pending epoch: it becomes the active one, the old one ends */
	CHECKIN_DO_TOKEN,       /* later TokenUpdate */
	CHECKIN_DO_USER_TOKEN,  /* TokenUpdate on a user channel, made if it is new */
	CHECKIN_DO_CHECK_OUT,
	CHECKIN_DO_USER_CHECK_OUT, /* only the user channel ends */
	CHECKIN_DO_SET_BOOTSTRAP,
	CHECKIN_DO_GET_BOOTSTRAP,
	CHECKIN_DO_GET_TOKEN,   /* a token for a watch; whether it is given is core/watch.h's */
	CHECKIN_DO_GET_MAID,    /* a token for access of a Managed Apple Account */
	CHECKIN_DO_CHALLENGE_USER, /* UserAuthenticate: an empty DigestChallenge */
	CHECKIN_DO_RETURN_TO_SERVICE,
	CHECKIN_DO_DECLARATIVE, /* handed to declarative management, for the channel that the message names */
};
struct checkin_plan {
	enum checkin_action action;
	int64_t epoch;          /* the epoch that the action is about */
	int64_t ends_epoch;     /* epoch that ends with it, 0: none; its pending commands are dropped */
	bool ends_at_once;      /* the active epoch ends now (same certificate), not at TokenUpdate */
	bool ends_enrollment;   /* CheckOut: nothing is left of it; false when only a pending epoch went */
};

/* The rule. False with the refusal: POM_ERR_CERT_*, POM_ERR_IDENTITY_FOREIGN, POM_ERR_ENROLLMENT_*, POM_ERR_TOPIC,
 * POM_ERR_USER_DECLINED, POM_ERR_USER_CHANNEL, POM_ERR_TOKEN_SERVICE, POM_ERR_MAID_OFF. NOW in Unix milliseconds. Pure. */
bool checkin_decide(const struct checkin_message *message, const struct checkin_facts *facts, int64_t now_ms, struct checkin_plan *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A device that is blocked is refused, whatever it says and proves. POM_ERR_DEVICE_BLOCKED, POM_ERR_DEVICE_BLOCKED_OUT. */
bool checkin_check_blocked(const struct checkin_facts *facts, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether the certificate is past its end, though the grace lets it speak. */
bool checkin_is_expired(const struct certificate_facts *certificate, int64_t now_ms);
/* Whether this is the first use of a certificate that renews the identity of DEVICE: it is to be bound before anything else. */
bool checkin_is_renewal(const struct certificate_facts *certificate, const struct enrollment_facts *device);

/* A device of another server, with a certificate of a CA that the settings list for that, which this server has never seen. */
struct first_use {
	int64_t until_ms;         /* the window's end */
	int64_t not_before_ms, not_after_ms; /* of the certificate */
};
enum { FIRST_USE_AHEAD_MAX_DAYS = 90 };
/* Whether the device may be taken up now with MESSAGE (NULL: a command report) of WHO, without an Authenticate: only as what is not known here at all. POM_ERR_FIRST_USE_*, POM_ERR_CERT_EXPIRED,
 * POM_ERR_TOPIC. Pure. */
bool checkin_check_first_use(const struct checkin_message *message, const struct checkin_identity *who, const struct first_use *first_use, const struct checkin_facts *facts, int64_t now_ms,
                             GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The part shared with command reports: the certificate is valid, bound to this device, and its epoch is active or pending
 * (*RET_EPOCH). */
bool checkin_check_identity(const struct certificate_facts *certificate, const struct enrollment_facts *device, int64_t now_ms, int64_t *ret_epoch, GError **error) G_GNUC_WARN_UNUSED_RESULT;
