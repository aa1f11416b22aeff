/* The simulator: fake Apple devices and a fake APNs. A product too: demo, smoke test, load.
 *
 * It never includes src/core, and it makes its messages with OpenSSL's CMS functions rather than with our codec, so that it does
 * not share the server's mistakes. Messages look like Apple's: BER with indefinite lengths, SHA-1 detached signatures
 * without signed attributes, throw-away signer certificates, 8-byte nonces. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum sim_kind { SIM_IPHONE, SIM_IPAD, SIM_MAC, SIM_APPLETV, SIM_KIND_MAX };
/* The kind named TEXT ("iphone", "ipad", "mac", "appletv"), or SIM_KIND_MAX. */
enum sim_kind sim_kind_find(const char *text);

struct sim_device_options {
	enum sim_kind kind;
	const char *const *urls;    /* profile URLs (https://…/profile, or …/enroll/TOKEN, or a file), one for each device; NULL-terminated */
	const char *ca_file;        /* PEM roots to trust besides those in the profile; NULL */
	const char *state_dir;      /* identities are kept and found here; NULL: forgotten at the end */
	const char *apns;           /* "HOST:PORT" of the wake port of sim_apns_run; NULL: poll every second */
	const char *misbehave;      /* a name of sim_misbehaviors(); NULL */
	int64_t polls;              /* end after this many connections of each device with the server after enrollment; <0: run until stopped */
	bool quiet, json;           /* json: one JSON object per line and step on stdout */
	const int *stop;            /* becomes non-zero (atomically) when it is time to end */
};
/* Enrolls and answers. False with ERROR when a device could not be enrolled, or when a misbehavior was not refused as it must be. Blocks. */
bool sim_device_run(const struct sim_device_options *options, GError **error) G_GNUC_WARN_UNUSED_RESULT;

struct sim_misbehavior { const char *name, *text; };
/* Ended by a NULL name. */
const struct sim_misbehavior *sim_misbehaviors(void);

struct sim_apns_failure { const char *token; const char *reason; }; /* token: hex or "*"; reason: APNs reason, e.g. "Unregistered" */
struct sim_apns_options {
	const char *dir;             /* gets root.pem, push.pem (certificate and key, UID = topic), apns.json {"port", "wake_port", "topic", "pid"} */
	const char *listen, *wake_listen; /* "127.0.0.1:0" */
	unsigned delay_ms;
	const struct sim_apns_failure *failures; /* ended by a NULL token; may be NULL */
	bool quiet;
	const int *stop;
};
bool sim_apns_run(const struct sim_apns_options *options, GError **error) G_GNUC_WARN_UNUSED_RESULT;
