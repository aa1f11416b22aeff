/* A simulated device: what its parts share.
 *
 * device.c       threads, enrollment, the loop
 * device_kind.c  what the kinds of devices are and how they talk about themselves on stdout
 * checkin.c      messages to the server and how they are sent
 * device_reply.c answers to commands
 * device_state.c the files that keep an identity
 * device_wake.c  waiting for a push
 * device_misbehave.c  devices that do something wrong */
#pragma once

#include "codec/json.h"
#include "codec/plist.h"
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
	bool macos, has_unlock_token;
};
const struct sim_model *sim_model_of(enum sim_kind kind);

enum { SIM_TOKEN_LEN = 32 };

/* Belongs to one thread. */
struct device {
	const struct sim_device_options *options;
	const struct sim_model *model;
	const char *url;
	char *state_dir;                  /* NULL: nothing is kept */
	char *udid, *serial, *name, *magic;
	uint8_t token[SIM_TOKEN_LEN];
	GBytes *profile_bytes;
	sim_profile *profile;
	sim_http *http;
	EVP_PKEY *key;
	X509 *cert;
	GPtrArray *installed;             /* sim_profile trees (plist) of InstallProfile */
	bool minimal;                     /* sends required keys only */
	bool modern_signature;
	bool gone;                        /* un-enrolled, checked out or erased */
	bool erase_next, check_out_next;  /* what the command just answered leads to */
	int last_status;                  /* HTTP status of the server's last answer; 0: none */
};
typedef struct device device;

/* A device with made-up names and numbers. STATE_DIR may be NULL. transfer full. */
struct device *device_new(const struct sim_device_options *options, const char *url, const char *state_dir);
void device_free(struct device *d);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(device, device_free)

/* ---- device_kind.c ---- */

/* UDID, serial number, name, token and magic at random. */
void device_invent(struct device *d);

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

bool device_fetch_profile(struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool device_get_identity(struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Takes a new form of the enrollment profile: its roots, and its identity for what comes. Nothing changes when it fails. */
bool device_update_profile(struct device *d, const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Trusts what --ca-file and all profiles say now. */
bool device_trust(struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool device_authenticate(struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool device_update_token(struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* All of these, and a Mac's bootstrap token. */
bool device_enroll(struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* One connection: Idle, then an answer to each command until the server has no more. */
bool device_connect(struct device *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- device_reply.c ---- */

/* The report that answers COMMAND ({CommandUUID, Command}), transfer full. Says so. */
plist *device_answer(struct device *d, const plist *command);

/* ---- device_state.c ---- */

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
/* Runs it to its end. OTHER is the second device, or NULL. False when the server did not answer as it must. */
bool misbehavior_run(const struct misbehavior *m, struct device *d, struct device *other, GError **error) G_GNUC_WARN_UNUSED_RESULT;
