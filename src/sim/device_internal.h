/* A simulated device: what its parts share.
 *
 * device.c       threads, enrollment, the loop
 * device_kind.c  what the kinds of devices are and how they talk about themselves on stdout
 * checkin.c      messages to the server and how they are sent
 * device_ota.c   the Profile Service: enrollment over the air
 * device_watch.c an Apple Watch and the iPhone that vouches for it
 * device_user.c  users of Macs and Shared iPads, user enrollment, tokens, Return to Service
 * device_reply.c answers to commands
 * device_install.c  profiles that come by command, and what they bring
 * device_ddm.c   declarative management
 * device_state.c the files that keep an identity
 * device_wake.c  waiting for a push
 * device_misbehave.c  devices that do something wrong; device_misbehave_ota.c: while they enroll over the air */
#pragma once

#include "codec/json.h"
#include "codec/plist.h"
#include "sim/factory.h"
#include "sim/scep_client.h"
#include "sim/sim.h"
#include "sim/sim_http.h"
#include "sim/sim_message.h"
#include "sim/sim_profile.h"

struct sim_model {
	enum sim_kind kind;
	const char *option, *family;      /* "iphone", "iPhone" */
	const char *product, *model, *os, *build;
	const char *chip;                 /* begins the UDID; NULL: the UDID is a UUID */
	bool macos, has_unlock_token, always_supervised;
};
const struct sim_model *sim_model_of(enum sim_kind kind);

enum { SIM_TOKEN_LEN = 32 };

/* Belongs to one thread. */
/* Somebody who uses a Mac or a Shared iPad. */
struct sim_user { char *id, *short_name, *long_name, *magic; };

struct device {
	const struct sim_device_options *options;
	const struct sim_model *model;
	const char *url;
	char *state_dir;                  /* NULL: nothing is kept */
	char *udid, *serial, *name, *magic;
	uint8_t token[SIM_TOKEN_LEN];
	sim_profile *profile;
	sim_http *http;
	EVP_PKEY *key;
	X509 *cert;
	GPtrArray *identities;            /* of struct sim_identity: earlier ones, and those of the Profile Service */
	GPtrArray *installed;             /* of sim_mobileconfig: profiles that came by InstallProfile */
	struct sim_identity *factory;     /* what it was born with; NULL: it has none */
	sim_certs *factory_chain;         /* goes along with it */
	bool supervised;
	bool minimal;                     /* sends required keys only */
	bool modern_signature;
	bool gone;                        /* un-enrolled, checked out or erased */
	unsigned n_answered;              /* commands so far */
	bool erase_next, check_out_next;  /* what the command just answered leads to */
	struct sim_ddm *ddm;              /* its declarations */
	GBytes *ddm_tokens;               /* what a command DeclarativeManagement has told, to be followed when it is answered; empty: nothing but to ask; NULL: no such command */
	char *watch_url, *watch_pins;     /* of a watch whose phone was told by declaration: where it asks, and the only certificates (PEM) that it trusts there; NULL: not */
	int last_status;                  /* HTTP status of the server's last answer; 0: none */
	GPtrArray *users;                 /* of struct sim_user: those that the server manages */
	const struct sim_user *speaks;    /* whose channel messages are of; NULL: the device's */
};
typedef struct device device;

/* A device with made-up names and numbers. STATE_DIR may be NULL. transfer full. */
struct device *device_new(const struct sim_device_options *options, const char *url, const char *state_dir);
void device_free(struct device *d);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(device, device_free)

/* ---- device_kind.c ---- */

/* UDID, serial number, name, token and magic at random. */
void device_invent(struct device *d);
/* Another kind, and all of that anew. */
void device_become(struct device *d, enum sim_kind kind);

/* "simulated iPhone 00008130-…", transfer full. */
char *device_title(const struct device *d);

/* One line (or JSON object with "step" and MORE's members) on stdout, unless quiet. MORE transfer full, may be NULL. Any thread. */
void device_say(const struct device *d, const char *step, json_t *more, const char *format, ...) G_GNUC_PRINTF(4, 5);

/* ---- checkin.c ---- */

enum device_channel { DEVICE_CHECKIN, DEVICE_REPORT };

/* Messages; transfer full. */
plist *device_message(const struct device *d, const char *type); /* MessageType, UDID and, where it belongs, Topic */
plist *device_authenticate_message(const struct device *d);
plist *device_token_update_message(const struct device *d);
plist *device_report_message(const struct device *d, const char *status, const char *command_uuid); /* COMMAND_UUID NULL: none */

/* The bytes of MESSAGE; transfer full; never NULL: what a device says can be written. */
GBytes *device_format(const plist *message);

/* Sends BODY once, with SIGNATURE (NULL: none). False when the server cannot be reached. An answer of 401 un-enrolls the device: that is an error too. */
bool device_put(struct device *d, enum device_channel channel, GBytes *body, const char *signature, struct sim_reply *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Signs BODY if the profile wants it. transfer full; may be NULL. */
char *device_sign(const struct device *d, GBytes *body);

/* Formats, signs and sends MESSAGE once. */
bool device_tell(struct device *d, enum device_channel channel, const plist *message, struct sim_reply *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same, again with growing pauses while the server cannot be reached or answers 5xx, as a device keeps its result. False when it was refused. */
bool device_tell_until_heard(struct device *d, enum device_channel channel, const plist *message, struct sim_reply *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* An error for an answer that is not 200. WHAT is what was sent. */
bool device_refused(const struct device *d, const char *what, const struct sim_reply *reply, GError **error);

/* ---- enrollment, in device.c; each step says what it did ---- */

/* Whatever the link leads to: the profile itself, the Profile Service, or, for a watch, what its phone vouches for. */
bool device_fetch_profile(struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* BYTES becomes its enrollment profile. */
bool device_take_profile(struct device *d, GBytes *bytes, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The identity that PAYLOAD leads to, transfer full. An error of Apple's domains, or of ours whose text begins with a code of MCSCEPErrorDomain. */
struct sim_identity *device_obtain(struct device *d, const struct sim_identity_payload *payload, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* All identities on the device but the factory's, the newest first: a list of its own, transfer full. */
GPtrArray *device_identities(const struct device *d);
bool device_get_identity(struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Takes a new form of the enrollment profile: its roots, and its identity for what comes. Nothing changes when it fails. Errors as of device_obtain. */
bool device_update_profile(struct device *d, GBytes *bytes, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Trusts what --ca-file and all profiles say now. */
bool device_trust(struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool device_authenticate(struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool device_update_token(struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* All of these, and a Mac's bootstrap token. */
bool device_enroll(struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* One connection: Idle, then an answer to each command until the server has no more. */
bool device_connect(struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- device_user.c ---- */

/* User NUMBER (from 1) of the device, always the same one; transfer full. */
struct sim_user *sim_user_new(const struct device *d, int64_t number);
void sim_user_free(void *user);
/* Puts into MESSAGE who speaks: UDID or EnrollmentID, and the user whose channel it is. */
void device_set_ids(const struct device *d, plist *message);
/* What follows enrollment for a device with users, or that asks for tokens and Return to Service: as the options say. */
bool device_begin_users(struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* One connection on the channel of each user that the server manages. */
bool device_connect_users(struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- device_reply.c ---- */

/* The report that answers COMMAND ({CommandUUID, Command}), transfer full. Says so. */
plist *device_answer(struct device *d, const plist *command);

/* A link of an ErrorChain, put behind those that REPLY has; its Status becomes STATUS. */
void device_reply_fail(plist *reply, const char *status, const char *domain, int code, const char *text);

/* ---- device_install.c ---- */

/* Installs the profile in BYTES, in place of one with the same PayloadIdentifier; the enrollment profile's own identifier updates that. What it brings
 * (certificates, identities) is taken; all or nothing. Errors as of sim_mobileconfig_parse and device_obtain, or of MCInstallationErrorDomain. */
bool device_install(struct device *d, GBytes *bytes, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether a profile that came by command has gone. */
bool device_uninstall(struct device *d, const char *identifier);
void device_answer_install_profile(struct device *d, const plist *command, plist *reply);
void device_answer_remove_profile(struct device *d, const plist *command, plist *reply);
void device_answer_profile_list(struct device *d, const plist *command, plist *reply);
void device_answer_certificate_list(struct device *d, const plist *command, plist *reply);

/* ---- device_ota.c ---- */

/* What a step of the Profile Service does otherwise than it should. */
struct ota_step {
	const struct sim_identity *signer; /* NULL: the factory identity */
	const sim_certs *others;           /* NULL: of the factory identity its chain, else none */
	const char *challenge;             /* NULL: none */
	bool modern, without_certificates;
	unsigned attributes;               /* how much it tells of what it is asked for: OTA_MINIMAL … OTA_MAXIMAL */
};
enum { OTA_MINIMAL, OTA_USUAL, OTA_MAXIMAL };

/* A Profile Service document. */
typedef struct ota_service {
	char *url, *challenge;             /* challenge NULL: none */
	plist *attributes;                 /* array of strings */
} ota_service;
/* TREE as a device reads it: strictly. transfer full; NULL with POM_ERR_PROFILE or POM_ERR_PLIST_KEY. Pure. */
ota_service *ota_service_parse(const plist *tree, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void ota_service_free(ota_service *service);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ota_service, ota_service_free)

/* The answer to phase 2: a profile that is exactly one identity. *RET is to be cleared in any case. MCOTAProfilesErrorDomain 24002. Pure. */
bool ota_identity_parse(GBytes *bytes, struct sim_identity_payload *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Attributes that SERVICE asks for and the device has; transfer full. */
plist *ota_attributes(const struct device *d, const ota_service *service, const struct ota_step *step);

/* Fetches the document at the device's link; transfer full. */
ota_service *ota_fetch(struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* One POST to URL. True whatever the server says. */
bool ota_post(struct device *d, const char *url, const plist *attributes, const struct ota_step *step, struct sim_reply *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The identity out of an answer to phase 2, which the device keeps; borrowed. */
const struct sim_identity *ota_take_identity(struct device *d, const struct sim_reply *reply, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The answer to phase 3 becomes the enrollment profile. */
bool ota_take_profile(struct device *d, const struct sim_reply *reply, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Runs all phases, if BYTES (what the link has led to) is a Profile Service document. */
bool device_ota(struct device *d, GBytes *bytes, bool *ret_is_service, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- device_watch.c ---- */

/* What a device says of itself when it asks for an enrollment profile; TOKEN (NULL: none) is PAIRING_TOKEN. transfer full. */
plist *machine_info(const struct device *d, GBytes *token);
/* Asks, lets the phone fetch the pairing token, asks again; the answer becomes the enrollment profile. */
bool device_watch_profile(struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* One request of the watch, with TOKEN as its pairing token (NULL: none). True whatever its MDM says. */
bool watch_ask(struct device *d, GBytes *token, struct sim_reply *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The security token in the document that refuses the first request, transfer full; NULL with POM_ERR_PROFILE or POM_ERR_JSON. Pure. */
char *watch_read_security_token(const struct sim_reply *reply, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Asks without a pairing token, and reads that; transfer full. */
char *watch_security_token(struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What PHONE asks its server with GetToken. */
plist *watch_token_message(const struct device *phone, const char *phone_udid, const char *watch_udid, const char *security_token);
/* The pairing token out of the answer, transfer full. Pure. */
GBytes *watch_read_token(const struct sim_reply *reply, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* PHONE asks its MDM for the token of the watch, transfer full; NULL with POM_ERR_CONFLICT when a phone would not even ask. */
GBytes *watch_get_token(struct device *phone, const char *watch_udid, const char *security_token, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- device_ddm.c ---- */

/* In the state directory of a phone: what its watches were told by declaration. {"url", "anchors": [base64 of DER or PEM]} */
#define SIM_WATCH_FILE "watch.json"
struct sim_ddm *sim_ddm_new(void);
void sim_ddm_free(struct sim_ddm *ddm);
/* The DeclarationsToken of a tokens document, transfer full; NULL with POM_ERR_DECLARATION. Pure. */
char *ddm_read_tokens(const json_t *tokens, GError **error);
void device_answer_declarative_management(struct device *d, const plist *command, plist *reply);
/* One synchronization with what TOKENS (the tokens document; empty: it is asked for) says, and the status report that follows. POM_ERR_DECLARATION: the server does not keep to the protocol. */
bool device_synchronize(struct device *d, GBytes *tokens, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- device_state.c ---- */

/* Its factory identity: the one kept before, which also tells its UDID and serial number, or a new one of the factory in the options. Without either it has none. */
bool device_be_born(struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether an identity was kept; then D has it. False with ERROR when the files are damaged or of another kind of device. */
bool device_load(struct device *d, bool *ret_found, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool device_save(const struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Forgets an identity that is worth nothing any more. */
void device_forget(const struct device *d);

/* ---- device_wake.c ---- */

/* A connection to the wake port of a simulated APNs; it comes back by itself. */
typedef struct wake wake;
wake *wake_new(const struct device *d, const char *address, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void wake_free(wake *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(wake, wake_free)

/* Connects if it can, so that no push is missed from now on. */
void wake_connect(wake *w);

/* Waits for a push to D; several that wait are one. False when it is time to end. */
bool wake_wait(wake *w);

/* ---- device_misbehave.c ---- */

struct misbehavior;
const struct misbehavior *misbehavior_find(const char *name);
/* How many devices it takes: 1 or 2. */
int misbehavior_n_devices(const struct misbehavior *m);
/* Makes the devices (OTHER may be NULL) what it takes: a watch and its phone, if it is about them. */
void misbehavior_prepare(const struct misbehavior *m, struct device *d, struct device *other);
/* Runs it to its end. OTHER is the second device, or NULL. False when the server did not answer as it must. */
bool misbehavior_run(const struct misbehavior *m, struct device *d, struct device *other, GError **error) G_GNUC_WARN_UNUSED_RESULT;
