/* The simulator: fake Apple devices and a fake APNs. A product too: demo, smoke test, load.
 *
 * It never includes src/core, and it makes its messages with OpenSSL's CMS functions rather than with our codec, so that it does
 * not share the server's mistakes. Messages look like Apple's: BER with indefinite lengths, SHA-1 detached signatures
 * without signed attributes, throw-away signer certificates, 8-byte nonces. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "codec/json.h"

enum sim_kind { SIM_IPHONE, SIM_IPAD, SIM_MAC, SIM_APPLETV, SIM_WATCH, SIM_KIND_MAX };
/* The kind named TEXT ("iphone", "ipad", "mac", "appletv", "watch"), or SIM_KIND_MAX. */
enum sim_kind sim_kind_find(const char *text);

struct sim_device_options {
	enum sim_kind kind;
	const char *const *urls;    /* profile URLs (https://…/profile, …/enroll/TOKEN, …/ota/TOKEN, or a file; for a watch what its MDM answers), one for each device; NULL-terminated */
	const char *ca_file;        /* PEM roots to trust besides those in the profile; NULL */
	const char *state_dir;      /* identities are kept and found here; NULL: forgotten at the end */
	const char *factory_dir;    /* of sim_factory_make: gives devices their factory identity; NULL: only those have one that kept it */
	const char *phone_dir;      /* a watch: the state directory of its phone; NULL */
	bool supervised;
	int64_t users;              /* of a Mac (the first is its own, the others come from the network) or a Shared iPad; 0: none */
	bool user_enrollment;       /* enrolls as its user's own device: EnrollmentID instead of UDID */
	bool maid;                  /* asks for a token of com.apple.maid */
	bool return_to_service;     /* asks for Return to Service once it has enrolled, and does what it is told */
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

/* Makes a simulated factory in DIR, unless there is one, which then stays as it is; *RET_MADE says which. It gives devices identities like those that Apple's
 * devices are born with; device-ca.pem in DIR is what a server has to be told of. With LIKE_APPLE as weak and as expired as Apple's: RSA-1024, SHA-1, 2014. POM_ERR_IO. */
bool sim_factory_make(const char *dir, bool like_apple, bool *ret_made, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Makes stand-ins for Apple's developer page and push certificates portal in DIR, unless they are there: root, WWDR intermediate and issuer of push certificates, each as
 * NAME.pem, NAME.cer (DER) and NAME.key.pem: root, wwdr, push-ca. POM_ERR_IO. */
bool sim_portal_make(const char *dir, GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct sim_portal_upload {
	const char *file, *out;     /* what is uploaded, and where the download goes */
	bool vendor;                /* at the developer page: a PEM request ("MDM CSR") becomes a vendor certificate (DER). Else at the push portal: a request document becomes a push certificate (PEM) */
	const char *account;        /* Apple account at the push portal */
	const char *topic;          /* renews this one of that account; NULL: creates another */
	int days;                   /* life of what is made */
};
/* Takes the upload as strictly as Apple does; *RET_TOPIC (transfer full) of a push certificate. POM_ERR_PUSH_DOCUMENT with the reason. */
bool sim_portal_answer(const char *dir, const struct sim_portal_upload *upload, char **ret_topic, GError **error) G_GNUC_WARN_UNUSED_RESULT;

struct sim_apns_failure { const char *token; const char *reason; }; /* token: hex or "*"; reason: APNs reason, e.g. "Unregistered" */
struct sim_apns_change { unsigned streams, after_ms; };             /* SETTINGS_MAX_CONCURRENT_STREAMS that a connection is told when it has this age */
struct sim_apns_options {
	const char *dir;             /* gets root.pem, push.pem (certificate and key, UID = topic), server.pem (its own), apns.json {"port", "wake_port", "topic", "pid"} */
	const char *listen, *wake_listen; /* "127.0.0.1:0" */
	const char *log;             /* file that gets a line "TOKEN STATUS" for each push; NULL */
	unsigned delay_ms, streams;  /* streams: 0: 1,000 */
	unsigned retry_after_s;      /* sent with 429 and 5xx; 0: not */
	unsigned seed;               /* of what happens by chance */
	/* How many pushes of 100 are answered with RST_STREAM (REFUSED_STREAM), with GOAWAY (this and earlier ones are answered), or with an end of the connection. */
	unsigned reset_percent, goaway_percent, abort_percent;
	bool hang, silent;           /* hang: no TLS handshake; silent: after the handshake nothing is answered, not even PING */
	const struct sim_apns_failure *failures; /* ended by a NULL token; may be NULL */
	const struct sim_apns_change *changes;   /* ended by age 0; may be NULL */
	bool quiet;
	const int *stop;
};
/* Whether REASON is one that APNs can give. */
bool sim_apns_has_reason(const char *reason);
bool sim_apns_run(const struct sim_apns_options *options, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A SCEP client (RFC 8894) that speaks as clients in the field do. Texts are those of the command line; NULL: the default. */
struct sim_scep_options {
	const char *url;
	const char *operation;      /* enroll (default), renew, renew19, poll, get-cert, get-crl, get-next-ca, caps, ca */
	const char *form;           /* a name of sim_scep_forms; default ios */
	const char *method;         /* post, get, get-lines; default: as the server announces */
	const char *cipher, *digest, *transport, *transaction; /* default: the form's */
	const char *challenge_file; /* one line; "-": standard input */
	const char *challenge_as;   /* words of sim_challenge_parse */
	const char *subject;        /* "CN=…,O=…"; "": none at all; default: CN=com.apple.security.scep.UUID */
	const char *const *extensions; /* "NAME=VALUE", ended by NULL */
	const char *key_type;       /* rsa1024, rsa2048 (default), rsa3072, rsa4096, p256, p384, p521; or same: a renewal with the old key */
	const char *key_file, *cert_file; /* PEM of the identity that renews or asks; enroll: the key to certify. Default: those in OUT_DIR */
	const char *serial;         /* get-cert: hexadecimal; default: the identity's own */
	const char *out_dir;        /* gets key.pem, cert.pem, ca.pem, crl.pem, next-ca.pem; keeps what polling needs while a request waits */
	const char *ca_file;        /* PEM roots to trust for https */
	const char *ca_name;        /* value of message= of the operations that have no message */
	const char *fingerprint;    /* hexadecimal SHA-1 or MD5 of the CA certificate */
	int64_t wait_s;             /* how long to poll while the answer is PENDING */
	bool to_next_ca;            /* request from the CA that GetNextCACert publishes (RFC 8894 §5.1) */
	const char *pending_url;    /* of sim_scep_matrix: where requests wait for approval; NULL: those rows are skipped */
	const int *stop;            /* may be NULL */
};

/* One operation. *RET, transfer full: {"operation", "status": "success", "failure", "pending" or "http", "http_status", "fail_info", "fail_info_text",
 * "transaction", "subject", "issuer", "serial", "sans", "not_before", "not_after",
 * "caps", "ca", "next_ca", "crl_number"}, each where it belongs. False with ERROR when the
 * server cannot be reached, or its answer is not what SCEP and the strictest clients demand. Blocks. */
bool sim_scep_run(const struct sim_scep_options *options, json_t **ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* {POST, GET} × {aes128, aes256, 3des} × {sha1, sha256, sha512} × {new, renew, pending} against the server, as TAP on stdout. CHALLENGE_FILE has a
 * challenge on each line, one for each new and each pending row (36 in all, 18 without PENDING_URL). *RET_FAILED is how many rows failed. False with ERROR when it cannot begin. Blocks. */
bool sim_scep_matrix(const struct sim_scep_options *options, unsigned *ret_failed, GError **error) G_GNUC_WARN_UNUSED_RESULT;
