/* What Apple devices refuse, as rules over plain facts: certificates as a server sends them, answers of a SCEP server, push certificates. Looking is others'
 * (probe/); here is what the facts mean. Each rule is a row of catalog/doctor-rules.tsv: what devices demand, since when, which systems, how to mend it.
 *
 * Judged is what the server sends, never what could be built of it: nothing is fetched. "Publicly trusted" is the list of roots that the caller gives. Pure: the time is a parameter. */
#pragma once

#include "codec/cert.h"
#include "codec/finding.h"

struct doctor_rule {
	const char *id, *group;
	enum finding_severity severity;
	unsigned systems; /* FINDING_* */
	const char *since, *text, *mend, *source; /* since and source: NULL when there is none */
};
/* All, in the order of the table; static. */
const struct doctor_rule *doctor_rules(size_t *ret_n);
/* NULL when there is none of this id. */
const struct doctor_rule *doctor_rule_find(const char *id);
/* {"rules": [{"id", "group", "severity", "systems", "since", "text", "mend", "source"}]}, transfer full. */
json_t *doctor_rules_format(void);

/* One examination. All borrowed; lists of X509 may be NULL. */
struct doctor {
	struct finding_report *report;
	unsigned systems;               /* FINDING_*: findings that concern none of these are left out */
	int64_t now_s;                  /* Unix seconds */
	const GPtrArray *public_roots;  /* preinstalled, as far as known */
	const GPtrArray *trusted;       /* what devices were given besides */
	const GPtrArray *anchors;       /* listed for watches, or in the profile; NULL: nobody asks about them */
	bool are_pins;                  /* anchors: of AnchorCertificateAssetReferences, not of a profile */
};
/* Adds a finding of the rule ID, which must be in the table, with its severity, systems and mend. The same one again is left out. */
void doctor_say(const struct doctor *doctor, const char *id, const char *path, const char *format, ...) G_GNUC_PRINTF(4, 5);
/* The same with another severity and other systems than the table's. */
void doctor_say_as(const struct doctor *doctor, const char *id, enum finding_severity severity, unsigned systems, const char *path, const char *format, ...) G_GNUC_PRINTF(6, 7);

/* ---- certificates ---- */
enum { DOCTOR_CHAIN_MAX = 16 }; /* certificates that are looked at */
/* CHAIN (X509, exactly as sent, the server's first; at least one) of the server HOST: a name, or an address. NULL: a file, whose names are compared with nobody's. WHERE: before
 * the place in the chain in paths, "" for nothing. */
void doctor_chain(const struct doctor *doctor, const GPtrArray *chain, const char *host, const char *where);
/* The rules of one TLS server certificate by itself; used by doctor_chain. */
void doctor_leaf(const struct doctor *doctor, X509 *leaf, const char *host, bool is_public, const char *path);
/* The rules of keys, signatures, serial numbers and dates, which intermediates have to keep too. */
void doctor_cert_common(const struct doctor *doctor, X509 *cert, const char *path);
/* Whether CERT is for something else than a TLS server (push, vendor, developer, device): then that is said, and true. */
bool doctor_wrong_kind(const struct doctor *doctor, X509 *cert, const char *path);
/* Whether the certificate is for HOST by its alternative names (RFC 9525): exact, or one wildcard label. */
bool doctor_name_matches(const struct cert_info *info, const char *host);

/* Bytes of a file → its certificates in their order (X509), transfer full; NULL with findings about the file when there are none. */
GPtrArray *doctor_file(const struct doctor *doctor, const void *data, size_t len);
/* Bytes of a .mobileconfig → the certificates of its payloads (root, pkcs1, pem), and the CAFingerprint of its SCEP payload (*RET_FINGERPRINT, NULL when there is none; may be NULL);
 * transfer full. NULL with a finding when it cannot be read. */
GPtrArray *doctor_profile(const struct doctor *doctor, const void *data, size_t len, GBytes **ret_fingerprint);

/* ---- a handshake ---- */
enum doctor_outcome { DOCTOR_CONNECTED, DOCTOR_NOT_CONNECTED, DOCTOR_LATE, DOCTOR_NO_TLS, DOCTOR_REFUSED, DOCTOR_TOO_LONG, DOCTOR_UNREADABLE };
struct doctor_hello {
	char *address;                 /* "192.0.2.1:443" */
	enum doctor_outcome outcome;
	char *why;                     /* of another outcome than DOCTOR_CONNECTED, in plain words */
	GPtrArray *chain;              /* X509 as sent; NULL unless connected */
	char *version, *cipher;        /* "TLSv1.3", as OpenSSL calls them */
	bool is_old, is_static;        /* only by taking less than devices do: before TLS 1.2; without ECDHE */
	bool asks_certificate;
	bool chose_h2, speaks_h2;
};
void doctor_hello_clear(struct doctor_hello *hello);
/* All that the handshakes with the addresses of HOST say: WITH_NAME one for each, WITHOUT_NAME (as long; NULL when HOST is an address) the same without SNI. Calls doctor_chain for each
 * chain that differs. True when at least one handshake went through. */
bool doctor_hellos(const struct doctor *doctor, const char *host, const struct doctor_hello *with_name, const struct doctor_hello *without_name, size_t n);

/* ---- answers of HTTP ---- */
struct doctor_answer {
	int status;         /* 0: none; then WHY */
	char *why, *content_type, *location;
	GBytes *body;
	int64_t date_s;     /* of the Date header; 0: none */
};
void doctor_answer_clear(struct doctor_answer *answer);
/* What an answer at URL says by itself: proxies, redirects elsewhere, the clock (REAL_NOW_S; 0: not compared). */
void doctor_http(const struct doctor *doctor, const struct doctor_answer *answer, const char *url, int64_t real_now_s);

/* ---- SCEP ---- */
void doctor_scep_caps(const struct doctor *doctor, const struct doctor_answer *answer);
/* GetCACert; FINGERPRINT: the profile's CAFingerprint, NULL when there is none. *RET_RECIPIENT and *RET_SIGNER (transfer full): whom a device would encrypt to, and whose signature it would
 * take; untouched, and false, when it would take none. */
bool doctor_scep_ca(const struct doctor *doctor, const struct doctor_answer *answer, GBytes *fingerprint, X509 **ret_recipient, X509 **ret_signer);

/* ---- this server ---- */
/* The public URL by itself, of the server HOST. */
void doctor_url(const struct doctor *doctor, const char *url, const char *host);
struct doctor_push { const char *topic; int64_t not_after_s; };
/* N push certificates, the newest first; N_OTHERS live enrollments have a topic that none of them has. */
void doctor_push(const struct doctor *doctor, const struct doctor_push *certificates, size_t n, int64_t n_others);
