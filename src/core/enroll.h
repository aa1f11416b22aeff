/* Enrollment links and the profile that they lead to. */
#pragma once

#include "codec/mobileconfig.h"

enum { LINK_CERTIFICATES_MAX = 3, ACCESS_RIGHTS_ALL = 8191 };

struct link_facts {
	bool known;
	const char *id, *user_name, *device_name;
	int64_t expires_ms, consumed_ms, revoked_ms; /* 0: not */
};
/* POM_ERR_LINK_*. GET and HEAD never change a link. */
bool link_check(const struct link_facts *link, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What a device was told for good when it enrolled: Apple refuses a profile that changes any of it, so a profile that renews an identity says the same again, whatever
 * the settings are by then. */
struct enroll_served {
	char *url;                  /* public URL without a slash at the end: "https://mdm.example.org" */
	char *mdm_url;              /* the same of ServerURL and CheckInURL, where client certificates are asked for; NULL: url */
	int64_t access_rights;
	bool sign_message;
	char **capabilities;
};
/* GetToken: a phone gets pairing tokens for its watch. It belongs to the phone's payload, never to the watch's. */
#define ENROLL_CAPABILITY_TOKEN "com.apple.mdm.token"
/* As it is for new enrollments; transfer full into RET. */
void enroll_served_init(struct enroll_served *served, const char *url, int64_t access_rights);
/* Takes CAPABILITY out. */
void enroll_served_drop(struct enroll_served *served, const char *capability);
void enroll_served_clear(struct enroll_served *served);
/* JSON and back; transfer full. POM_ERR_JSON. */
char *enroll_served_format(const struct enroll_served *served);
bool enroll_served_parse(const char *json, struct enroll_served *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Everything that an enrollment profile is made of; strings borrowed. */
struct enroll_profile {
	const char *link_id;        /* the UUIDs are derived from it, so each fetch gives the same profile */
	const char *organization;
	const struct enroll_served *served;
	const char *topic;
	const char *common_name;    /* of the identity */
	GBytes *const *anchors;     /* roots to trust, newest first */
	size_t n_anchors;           /* 0: left out (publicly trusted TLS) */
	/* The identity: SCEP … */
	const char *scep_url, *challenge;
	GBytes *ca_fingerprint;     /* 20 bytes of SHA-1, or NULL: left out */
	int key_size;
	/* … or ready-made; NULL: SCEP. */
	GBytes *pkcs12;
	const char *pkcs12_password;
};
/* → tree of the Configuration profile: root certificates, identity and MDM payloads; transfer full. Pure. */
plist *enroll_profile_build(const struct enroll_profile *profile);
/* A profile with nothing but an identity: with it a device fetches its enrollment profile over the air. transfer full. */
plist *enroll_transport_build(const struct enroll_profile *profile);
/* A profile of the roots alone, for enrolled devices before the CA changes. */
plist *enroll_anchors_build(const struct enroll_profile *profile);
/* The reverse host name of the public URL, "org.example.mdm"; of an address "mdm.192-0-2-1". transfer full. */
char *enroll_base_identifier(const char *url);
/* PayloadIdentifier of the enrollment profile of a server with this public URL. transfer full. */
char *enroll_profile_identifier(const char *url);
/* A profile of the roots alone, for a person who is about to enroll: what the link's page is served with is trusted by it. Its identifier is another one than that
 * of the profile for enrolled devices, which a device would not let the server replace once a person has installed it. */
plist *enroll_trust_build(const struct enroll_profile *profile);
/* The common name of an identity: "Pomona device <first 8 of the link id>". transfer full. */
char *enroll_common_name(const char *link_id);
/* The same of an identity that only fetches the profile of the link over the air: "Pomona transport <…>". */
char *enroll_transport_name(const char *link_id);
/* A UUID (version 5 in form) derived from NAME within LINK_ID, upper case. transfer full. */
char *enroll_uuid(const char *link_id, const char *name);
/* Whether a profile with this PayloadIdentifier would replace, or its removal remove, what enrollment itself puts on devices of a server with this public URL; with ENROLLMENT only the profile that
 * a device is managed by. Pure. */
bool enroll_is_own_identifier(const char *url, const char *identifier, bool enrollment);
