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

/* Everything that an enrollment profile is made of; strings borrowed. */
struct enroll_profile {
	const char *link_id;        /* the UUIDs are derived from it, so each fetch gives the same profile */
	const char *organization;
	const char *url;            /* public URL without a slash at the end: "https://mdm.example.org" */
	const char *topic;
	const char *challenge;
	const char *common_name;    /* of the identity */
	GBytes *root_der;           /* our root; NULL: left out (publicly trusted TLS) */
	GBytes *ca_fingerprint;     /* 20 bytes of SHA-1, or NULL: left out */
	int64_t access_rights;
	int key_size;
	bool sign_message;
};
/* → tree of the Configuration profile: root certificate, SCEP and MDM payloads; transfer full. Pure. */
plist *enroll_profile_build(const struct enroll_profile *profile);
/* The common name of an identity: "Pomona device <first 8 of the link id>". transfer full. */
char *enroll_common_name(const char *link_id);
/* A UUID (version 5 in form) derived from NAME within LINK_ID, upper case. transfer full. */
char *enroll_uuid(const char *link_id, const char *name);
