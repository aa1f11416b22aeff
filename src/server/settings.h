/* Settings: one table. From pomona.conf (key file), then the environment (POMONA_SECTION_KEY), then --set section.key=value. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "core/inventory.h"
#include "core/ota.h"

/* X(name, "section", "key", kind, "default", "what it is, for people"). kind: TEXT, BOOL, INT. */
#define SETTINGS_TABLE(X) \
	X(SETTING_URL, "server", "url", TEXT, "", "Public URL of this server, as devices reach it: https://host[:port].") \
	X(SETTING_ORGANIZATION, "server", "organization", TEXT, "Pomona", "Name of your organization, shown to people who enroll a device.") \
	X(SETTING_CONTACT, "server", "contact", TEXT, "", "Whom people ask who enroll a device: a name, a mail address, a telephone number (+…) or a URL. Shown on the page of each link.") \
	X(SETTING_LISTEN, "server", "listen", TEXT, "", "Address of the device listener (HTTPS). Empty: all addresses, port of the public URL.") \
	X(SETTING_ADMIN_LISTEN, "server", "admin_listen", TEXT, "127.0.0.1:8081", "Address of the admin API (plain HTTP, for loopback). Empty: only the unix socket.") \
	X(SETTING_MTLS_LISTEN, "server", "mtls_listen", TEXT, "", "Address of a listener (HTTPS) for check-in and commands that asks devices for their TLS client certificate. Empty: none.") \
	X(SETTING_HTTP_LISTEN, "server", "http_listen", TEXT, "", "Address for SCEP, CRL and OCSP without TLS. Empty: none.") \
	X(SETTING_URL_CHANGE, "server", "allow_url_change", BOOL, "false", "Start although the public URL is another one than enrolled devices were given. They will not find the server.") \
	X(SETTING_WORKERS, "server", "workers", INT, "64", "Worker threads. They wait for the store, so their number follows the requests in flight.") \
	X(SETTING_LOOPS, "server", "loops", INT, "0", "Network threads; 0: one for each core.") \
	X(SETTING_QUEUE, "server", "queue", INT, "1024", "Requests that may wait for a worker before the server answers 503.") \
	X(SETTING_DRAIN, "server", "drain_seconds", INT, "0", "How long a stop by SIGTERM lets devices be served while /readyz fails, so that a load balancer uses other nodes before this one is gone. 0: it stops at once.") \
	X(SETTING_LOG_LEVEL, "server", "log_level", TEXT, "info", "error, warning, notice, info or debug.") \
	X(SETTING_PROXY_ADDRESSES, "proxy", "addresses", TEXT, "", "Proxies of yours whose word is taken, as IP addresses and networks: 127.0.0.1, 192.0.2.0/24, 2001:db8::/32.") \
	X(SETTING_PROXY_LISTEN, "proxy", "listen", TEXT, "", "Address of a listener (plain HTTP) for everything that devices ask, which serves only proxy.addresses. Empty: none.") \
	X(SETTING_PROXY_CERTIFICATE, "proxy", "certificate_header", TEXT, "", "Header in which these proxies pass on a device's client certificate (RFC 9440 or percent-escaped PEM), as Client-Cert. They must delete it from what clients send.") \
	X(SETTING_PROXY_FORWARDED, "proxy", "forwarded_header", TEXT, "X-Forwarded-For", "Header in which these proxies name the address of their client: X-Forwarded-For or Forwarded. Empty: none.") \
	X(SETTING_PROXY_PROTOCOL, "proxy", "protocol", TEXT, "", "Listeners to which these proxies pass on bytes with the PROXY protocol (version 1 or 2), separated by spaces: device, mtls, http, admin. Such a listener serves nobody else, and takes no proxy's word from headers. Empty: none.") \
	X(SETTING_STORE_WAIT, "store", "wait_seconds", INT, "60", "How long a start waits for a database that cannot be reached, before it gives up.") \
	X(SETTING_STORE, "store", "url", TEXT, "", "Where data is kept: postgresql://user@host/database?passfile=… (the password is in that file), for one or several nodes. Empty: SQLite in the data directory.") \
	X(SETTING_NODE_NAME, "node", "name", TEXT, "", "What this node is called in \"pomona node list\" and in the logs of others, where several share a database. Empty: the name of the machine.") \
	X(SETTING_NODE_LEASE, "node", "lease_seconds", INT, "20", "How long after a node has died others take over what it alone did. The same on all nodes.") \
	X(SETTING_TLS_CERTIFICATE, "tls", "certificate", TEXT, "", "PEM file with your own server certificate and its chain; read again on SIGHUP. Empty: Pomona's CA makes one.") \
	X(SETTING_TLS_KEY, "tls", "key", TEXT, "", "PEM file with its private key.") \
	X(SETTING_ENROLL_UNSIGNED, "enroll", "unsigned_profiles", BOOL, "false", "Serve enrollment profiles unsigned (some test clients need it). Devices show them as not verified.") \
	X(SETTING_ENROLL_FINGERPRINT, "enroll", "ca_fingerprint", BOOL, "true", "Put the CA's SHA-1 fingerprint into the SCEP payload.") \
	X(SETTING_ENROLL_ROOT, "enroll", "include_root", BOOL, "true", "Put our root certificate into the enrollment profile.") \
	X(SETTING_ENROLL_RIGHTS, "enroll", "access_rights", INT, "8191", "AccessRights of the MDM payload; 8191 is all. Rights cannot be added to an enrollment later.") \
	X(SETTING_ENROLL_KEYSIZE, "enroll", "key_size", INT, "2048", "RSA key size asked of devices: 2048 or 4096.") \
	X(SETTING_ENROLL_TTL, "enroll", "link_ttl_hours", INT, "24", "How long an enrollment link can be used.") \
	X(SETTING_ENROLL_CIPHER, "enroll", "profile_cipher", TEXT, "aes256", "Cipher of profiles encrypted to a device: aes256, or aes128 or 3des for devices that read nothing better.") \
	X(SETTING_ENROLL_METHOD, "enroll", "method", TEXT, "profile", "What the button on the page of a link does: profile (the profile at once) or ota (the over-the-air Profile Service, which asks the device who it is first).") \
	X(SETTING_ENROLL_TRUST, "enroll", "trust_step", TEXT, "auto", "Whether that page has people trust the TLS certificate first: auto (when this machine does not know its root), always, or never (a proxy with a public certificate stands in front).") \
	X(SETTING_ENROLL_ATTRIBUTES, "enroll", "device_attributes", TEXT, OTA_WANTED_DEFAULT, "What devices that enroll over the air are asked to say of themselves, besides UDID and SERIAL: names separated by spaces.") \
	X(SETTING_ENROLL_WATCH, "enroll", "watch", TEXT, "supervised", "Whose Apple Watches are enrolled: supervised (of supervised phones), any (of any managed phone) or off.") \
	X(SETTING_ENROLL_MDM_URL, "enroll", "mdm_url", TEXT, "", "Public URL of the mutual-TLS listener (server.mtls_listen, or a proxy's): ServerURL and CheckInURL of new profiles, https://host[:port]. Empty: server.url.") \
	X(SETTING_ENROLL_SIGN, "enroll", "sign_message", BOOL, "true", "SignMessage of new profiles: devices sign every message. false only where they prove themselves by TLS client certificates.") \
	X(SETTING_CHECKIN_USER, "checkin", "user_authenticate", TEXT, "decline", "What UserAuthenticate of a Mac's network user is answered: decline (410: the user is not managed) or empty (an empty DigestChallenge: no password is asked for).") \
	X(SETTING_CHECKIN_MAID_KEY, "checkin", "maid_key", TEXT, "", "File with the private key of your server token of Apple Business Manager (chmod 600): signs the tokens that let Managed Apple Accounts in on managed devices. Empty: none are given.") \
	X(SETTING_CHECKIN_MAID_UUID, "checkin", "maid_server_uuid", TEXT, "", "The server_uuid of that server token.") \
	X(SETTING_RETURN_ENABLED, "return_to_service", "enabled", BOOL, "false", "Whether a supervised device that asks (iOS 26) is erased and comes back by itself. One device can have it otherwise: pomona device return-to-service.") \
	X(SETTING_RETURN_WIFI, "return_to_service", "wifi_profile", TEXT, "", "Name of the profile in the library with the Wi-Fi network that it joins then. Empty: none, for devices on Ethernet.") \
	X(SETTING_RETURN_MDM, "return_to_service", "mdm_profile", BOOL, "false", "Send it an enrollment profile with a link of its own: needed where Automated Device Enrollment uses a configuration_web_url.") \
	X(SETTING_RETURN_TOKEN, "return_to_service", "bootstrap_token", BOOL, "true", "Send its bootstrap token, with which apps are kept; without it everything is erased.") \
	X(SETTING_DEVICE_DAYS, "ca", "device_days", INT, "730", "Life of a device identity in days.") \
	X(SETTING_CA_URL, "ca", "public_url", TEXT, "", "Base of the CRL and OCSP addresses in issued certificates, best http://. Empty: the public URL. none: no addresses.") \
	X(SETTING_CA_GRACE, "ca", "expired_grace_days", INT, "30", "How long a device with an expired identity may still check in, only to be given a new one.") \
	X(SETTING_CA_UNENROLL, "ca", "revoked_unenroll", BOOL, "false", "Tell devices whose identity was revoked to un-enroll. Otherwise they are refused and stay as they are.") \
	X(SETTING_CA_PKCS11, "ca", "pkcs11_module", TEXT, "", "PKCS#11 module (a .so file) for CA and RA keys in a token.") \
	X(SETTING_IDENTITY_SOURCE, "identity", "source", TEXT, "scep", "How devices get their identity: scep, pkcs12 (made here), scep-proxy (made by an outside CA, delivered by us) or scep-direct (the device asks the outside CA).") \
	X(SETTING_IDENTITY_OUTSIDE, "identity", "outside", TEXT, "", "Name of the outside CA for scep-proxy and scep-direct.") \
	X(SETTING_IDENTITY_MODERN, "identity", "pkcs12_modern", BOOL, "false", "Make PKCS#12 with AES and SHA-256, which Apple devices up to now cannot read.") \
	X(SETTING_FIRST_USE_UNTIL, "identity", "bind_first_use_until", TEXT, "", "For migrations: until when devices that another server has enrolled are taken up by their certificate: 2026-12-31 or 2026-12-31T12:00:00Z, at most 90 days ahead. Empty: never.") \
	X(SETTING_FIRST_USE_CA, "identity", "first_use_ca", TEXT, "", "PEM file with the CA certificates whose device identities are taken up.") \
	X(SETTING_TIMELINE_DAYS, "timeline", "keep_days", INT, "365", "How long what happened to devices and links is kept.") \
	X(SETTING_PROFILES_SIGNER, "profiles", "signer", TEXT, "own", "Who signs profiles: own (Pomona's profile-signing key, which is stable) or tls (tls.certificate with tls.key: devices may refuse updates when its key changes).") \
	X(SETTING_SCEP_LEGACY, "scep", "legacy", BOOL, "true", "Accept SHA-1 and 3DES, which Apple devices still use.") \
	X(SETTING_SCEP_DES, "scep", "legacy_des", BOOL, "false", "Accept and answer single DES, which RFC 8894 §2.9 forbids, for micromdm-family clients.") \
	X(SETTING_LIBRARY_DELIVER, "library", "deliver_days", INT, "14", "How long a profile, or its removal, waits for a device to fetch it before it has failed.") \
	X(SETTING_LIBRARY_ANSWER, "library", "answer_hours", INT, "24", "How long a device that has fetched a profile may take to answer, and to confirm that it has it.") \
	X(SETTING_COMMAND_EXPIRE, "commands", "expire_days", INT, "90", "How long a command waits in the queue when nobody says how long; 0: for ever. Commands for lost devices (EraseDevice, DeviceLock, EnableLostMode, PlayLostModeSound, DeviceLocation) wait for ever.") \
	X(SETTING_COMMAND_KEEP, "commands", "keep_days", INT, "365", "How long commands and their answers are kept after their end, 100 days at least; 0: for ever.") \
	X(SETTING_PUSH_CHAIN, "push", "chain_urls", TEXT, "https://www.apple.com/certificateauthority/AppleWWDRCAG3.cer https://www.apple.com/appleca/AppleIncRootCertificate.cer", \
	  "Where Apple publishes the certificates above vendor certificates, separated by spaces; what is fetched must lead to Apple's root. Empty: nothing is fetched.") \
	X(SETTING_PUSH_ROOTS, "push", "extra_roots", TEXT, "", "PEM file with roots of vendor certificates besides Apple's. Only for tests with a stand-in for Apple's portals.") \
	X(SETTING_PUSH_SIGNING, "push", "signing_url", TEXT, "https://mdmcert.download/api/v1/signrequest", "The service that signs requests of push certificates for others. Empty: none is asked.") \
	X(SETTING_INVENTORY_HOURS, "inventory", "hours", INT, "24", "How often each device is asked again what it is, in hours, and what it has. A device is asked at its own time, so that they do not all answer at once. 0: only when somebody asks.") \
	X(SETTING_INVENTORY_QUERIES, "inventory", "queries", TEXT, INVENTORY_QUERIES_DEFAULT, "The commands by which it is asked, separated by spaces; those that a device cannot answer are left out for it.") \
	X(SETTING_DOCTOR_HOURS, "doctor", "interval_hours", INT, "6", "How often the doctor looks at this server through its public URL, and at the start too. 0: only when asked.") \
	X(SETTING_DOCTOR_TIMEOUT, "doctor", "timeout_seconds", INT, "5", "How long it waits at each step: a connection, a handshake, an answer.") \
	X(SETTING_APNS_URL, "apns", "url", TEXT, "https://api.push.apple.com:443", "Where pushes go.") \
	X(SETTING_APNS_ROOT, "apns", "root", TEXT, "", "PEM file with the roots to trust for it. Empty: the system's.") \
	X(SETTING_APNS_EXPIRATION, "apns", "expiration_days", INT, "7", "How long APNs keeps a push for a device that is off.") \
	X(SETTING_APNS_PROXY, "apns", "proxy", TEXT, "", "HTTP proxy on the way to APNs: http://proxy.example.org:3128, or none. Empty: what https_proxy in the environment says.") \
	X(SETTING_APNS_PROXY_PASSWORD, "apns", "proxy_password_file", TEXT, "", "File with user:password for that proxy in its first line.") \
	X(SETTING_APNS_CONNECTIONS, "apns", "connections", INT, "2", "Connections to APNs for each push certificate, at most 8. A second one is opened only when the first is full.") \
	X(SETTING_PUSH_RATE, "push", "per_second", INT, "500", "How many devices each node wakes in a second, so that they do not all come back at once; 0: no limit.")

enum setting {
#define X(name, section, key, kind, value, text) name,
	SETTINGS_TABLE(X)
#undef X
	SETTING_MAX
};

enum setting_kind { SETTING_KIND_TEXT, SETTING_KIND_BOOL, SETTING_KIND_INT };
struct setting_row { const char *section, *key; enum setting_kind kind; const char *value, *text; };
extern const struct setting_row setting_table[SETTING_MAX];

struct settings { char *values[SETTING_MAX]; };

void settings_init(struct settings *settings);
void settings_clear(struct settings *settings);
/* Reads FILE; one that does not exist is fine. Unknown sections and keys are errors with the line (POM_ERR_CONFIG). */
bool settings_load_file(struct settings *settings, const char *file, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Takes POMONA_SECTION_KEY from the environment. */
bool settings_load_environment(struct settings *settings, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* "section.key=value", checked against the kind. */
bool settings_set(struct settings *settings, const char *assignment, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool settings_set_value(struct settings *settings, enum setting setting, const char *value, GError **error) G_GNUC_WARN_UNUSED_RESULT;

const char *settings_text(const struct settings *settings, enum setting setting); /* NULL when empty */
bool settings_bool(const struct settings *settings, enum setting setting);
int64_t settings_int(const struct settings *settings, enum setting setting);

/* One line for each file that a setting names and that is not on this machine; transfer full, never NULL. */
char **settings_missing_files(const struct settings *settings);

/* The public URL as typed → checked form without a slash at the end, transfer full. POM_ERR_USAGE: not https, a path, query,
 * fragment, user info, no host, a bad port. An IP address is allowed. */
char *settings_check_url(const char *url, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Host (without brackets) and port (443 by default) of a checked URL. */
char *settings_url_host(const char *url, uint16_t *ret_port);
