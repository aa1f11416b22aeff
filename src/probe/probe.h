/* Looking at other people's servers, who may be broken or mean: names, raw TLS handshakes, answers of HTTP, OCSP. What is seen becomes facts for core/doctor.h, and findings.
 *
 * Everything is bounded: one deadline for the whole look, a time for each step, bytes of certificates and bodies, number of addresses. No redirect is followed and no certificate is fetched.
 * No certificate is believed: nothing secret is sent. All calls block; any thread. */
#pragma once

#include "core/doctor.h"

enum { PROBE_ADDRESSES_MAX = 16, PROBE_STEP_MS = 5000, PROBE_TOTAL_MS = 45000, PROBE_BODY_MAX = 1 << 20, PROBE_CERTS_MAX_BYTES = 100 * 1024 };

/* https://HOST[:PORT][/PATH…], or HOST[:PORT]. */
struct probe_target {
	char *url;   /* as given, with its scheme */
	char *host;  /* without brackets */
	uint16_t port;
	bool is_https;
	bool has_path; /* more than "/" */
};
/* *RET is to be cleared (probe_target_clear). POM_ERR_DOCTOR_TARGET: no host, a user name, a port out of range, another scheme. */
bool probe_target_parse(const char *text, struct probe_target *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void probe_target_clear(struct probe_target *target);
typedef struct probe_target probe_target;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(probe_target, probe_target_clear)

struct probe {
	const struct doctor *doctor;
	const char *const *connect; /* "ADDR", "ADDR:PORT", "[ADDR]:PORT": these machines, whatever the DNS says; NULL-terminated. NULL: those of the name */
	unsigned step_ms;           /* 0: PROBE_STEP_MS */
	int64_t deadline_us;        /* of g_get_monotonic_time; 0: PROBE_TOTAL_MS from the call on */
	int64_t real_now_s;         /* to compare the server's clock with; 0: it is not compared */
	const int *stop;            /* when it is no longer 0, everything ends within about a second, with findings that mean nothing; NULL: none */
};
/* The server of TARGET: its addresses, a handshake with and without name at each, the chain, what it answers, the OCSP responder of its certificate. False when there was no handshake with anybody. */
bool probe_look(const struct probe *probe, const struct probe_target *target);
/* The public URL of a server that may not run yet: whether it is a name, and known; and when somebody answers there, as probe_look. */
void probe_url(const struct probe *probe, const struct probe_target *target);
/* GetCACaps and GetCACert of the SCEP server at TARGET, and its TLS when that is https and LOOK_TLS. FINGERPRINT: the profile's; NULL: none. */
void probe_scep(const struct probe *probe, const struct probe_target *target, GBytes *fingerprint, bool look_tls);

/* ---- parts ---- STOP as above. */
/* The addresses of NAME as text, in the resolver's order, at most PROBE_ADDRESSES_MAX; transfer full. POM_ERR_UNREACHABLE. After TIMEOUT_MS a resolver that hangs is left to itself. */
GPtrArray *probe_resolve(const char *name, unsigned timeout_ms, const int *stop, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* One handshake with ADDRESS ("192.0.2.1:443") as an Apple device makes it, and when that fails one that takes anything, to know what the server wants. SNI NULL: none. *RET is to be cleared. */
void probe_hello(const char *address, const char *sni, unsigned timeout_ms, const int *stop, struct doctor_hello *ret);
/* METHOD without a body at URL, at ADDRESS when it is not NULL. *RET is to be cleared. */
void probe_fetch(const char *method, const char *url, const char *address, unsigned timeout_ms, const int *stop, struct doctor_answer *ret);
/* Asks the OCSP responder that LEAF names of LEAF, whose issuer is ISSUER. Says nothing when LEAF names none. */
void probe_ocsp(const struct doctor *doctor, X509 *leaf, X509 *issuer, unsigned timeout_ms, const int *stop);
