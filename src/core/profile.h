/* SCEP profiles: what one enrollment URL (/scep/NAME) issues, to whom, and how. Made of settings that an administrator gives; pure.
 *
 * The names in a certificate come from a record (made with the challenge) or from the profile's templates, never from the request. */
#pragma once

#include "codec/cert.h"
#include "codec/json.h"

enum { PROFILE_NAME_MAX = 64, RECORD_NAMES_MAX = 32, RECORD_TEXT_MAX = 1024 };

enum profile_mode { PROFILE_MODE_AUTO, PROFILE_MODE_SINGLE, PROFILE_MODE_CHAIN, PROFILE_MODE_RA, PROFILE_MODE_MAX };
/* What gives the right to a first certificate. STATIC: one secret for all. NONE: nothing, so that a person must approve. */
enum profile_challenge { PROFILE_ONE_TIME, PROFILE_STATIC, PROFILE_WEBHOOK, PROFILE_NO_CHALLENGE, PROFILE_CHALLENGE_MAX };

struct scep_profile {
	char *name;
	char *ca;                   /* name of the CA that issues */
	char *relay;                /* name of an outside CA that issues instead; "" : none */
	enum profile_mode mode;     /* of GetCACert; AUTO: ra when the CA has an RA, else single */
	bool rsa, ec;               /* key types accepted */
	int64_t rsa_bits_min;
	int64_t days;               /* life of a certificate */
	int64_t renewal_percent;    /* RenewalReq is taken in the last N % of a certificate's life; 0: at any time */
	bool renewal_same_key;      /* a renewal may keep its key */
	bool renewal_challenge;     /* a renewal needs a challenge besides the old certificate */
	enum profile_challenge challenge;
	bool manual;                /* a person approves each first certificate */
	bool strict_names;          /* refuse a request whose names differ from the record, instead of ignoring them */
	bool may_enroll;            /* certificates by static challenge, webhook or approval may enroll a device without a link */
	bool ca_in_reply;           /* CertRep carries the CA certificate besides that of its signer */
	bool legacy, legacy_des;    /* SHA-1 and 3DES; single DES */
	bool enforce_time;          /* refuse messages whose signingTime is a day off */
	char *subject;              /* template: "O={organization},CN={cn}" */
	char *sans;                 /* templates, separated by spaces: "uri:urn:uuid:{id}" */
	char *webhook_url;
	int64_t webhook_timeout_s;
};

/* A profile with the standard values. NAME is copied; transfer full. */
struct scep_profile *scep_profile_new(const char *name);
struct scep_profile *scep_profile_copy(const struct scep_profile *profile, const char *name);
void scep_profile_free(struct scep_profile *profile);
typedef struct scep_profile scep_profile;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(scep_profile, scep_profile_free)

/* 1–64 of a–z, 0–9, '-', '_', '.', not beginning with '.': it becomes part of a URL. POM_ERR_BAD_REQUEST. */
bool scep_profile_check_name(const char *name, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether NAME is that of a program which clients put behind /scep by themselves ("pkiclient.exe"): it names no profile there. */
bool scep_profile_is_program(const char *name);
/* Sets what the JSON object SETTINGS names; unknown keys and wrong types are POM_ERR_JSON naming the key. */
bool scep_profile_apply(struct scep_profile *profile, const json_t *settings, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What does not go together: no challenge without approval, a webhook without URL, no key type, … POM_ERR_CONFLICT. */
bool scep_profile_check(const struct scep_profile *profile, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* All settings as an object, transfer full. */
json_t *scep_profile_format(const struct scep_profile *profile);
/* "name\tvalue by default\ttext" of each key, for help texts; ended by NULL. Static. */
struct profile_key { const char *name, *text; };
extern const struct profile_key profile_keys[];

/* The names of one certificate. */
struct scep_record {
	char *subject;                   /* RFC 4514 in the order written: "O=Example,CN=printer" */
	GPtrArray *dns, *emails, *uris, *ips; /* char *; NULL-terminated, so that pdata is a vector */
};
struct scep_record *scep_record_new(const char *subject);
void scep_record_free(struct scep_record *record);
typedef struct scep_record scep_record;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(scep_record, scep_record_free)
/* "dns:printer.example", "email:a@example.org", "uri:urn:…", "ip:192.0.2.1"; a name without its kind is taken for what it looks like. POM_ERR_BAD_REQUEST. */
bool scep_record_add_san(struct scep_record *record, const char *wished, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* JSON {"subject": …, "sans": [text as above]} and back; transfer full. */
char *scep_record_format(const struct scep_record *record);
struct scep_record *scep_record_parse(const char *json, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What a profile's templates give. Any value may be NULL: what names it is then left empty. {organization} {cn} {id} {device} {profile}. */
struct record_values { const char *organization, *cn, *id, *device, *profile; };
struct scep_record *scep_record_from_profile(const struct scep_profile *profile, const struct record_values *values, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same with what a person wished: SUBJECT instead of the template's (NULL: as it is), SANS (NULL-terminated or NULL) added. */
struct scep_record *scep_record_wished(const struct scep_profile *profile, const struct record_values *values, const char *subject, const char *const *sans, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The sans as texts ("dns:…"): a vector ended by NULL, or a JSON array; transfer full. */
char **scep_record_san_texts(const struct scep_record *record);
json_t *scep_record_sans(const struct scep_record *record);
/* The first CN of the record's subject, else the whole subject: for lists. transfer full. */
char *scep_record_common_name(const struct scep_record *record);
