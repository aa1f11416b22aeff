/* Every way to ask for a certificate that real clients take, one after the other, as TAP. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "sim/scep_run.h"

enum { KEYS = 4 };

enum kind { KIND_NEW, KIND_RENEW, KIND_PENDING, KIND_MAX };
static const char *const kind_names[KIND_MAX] = {"new", "renew", "pending"};
static const char *const methods[] = {"post", "get"};
static const char *const ciphers[] = {"aes128", "aes256", "3des"};
static const char *const digests[] = {"sha1", "sha256", "sha512"};

struct matrix {
	const struct sim_scep_options *options;
	scep_parsed parsed;
	sim_http *http;
	sim_scep_session *session, *pending; /* pending: NULL without a URL for it */
	/* Keys come round again: to make one takes longer than all the rest of a row. Two in succession differ, so that a renewal has a new key. */
	EVP_PKEY *keys[KEYS], *throw_away_key;
	unsigned n_keys_used;
	char *text;                          /* the file of challenges, wiped in the end */
	char *next_challenge;                /* in TEXT */
	/* What the row "new" got, for the row "renew" behind it. */
	EVP_PKEY *key;                       /* borrowed */
	X509 *cert;
	unsigned n_rows, n_failed;
};

static const char *take_challenge(struct matrix *m, GError **error)
{
	char *line = m->next_challenge + strspn(m->next_challenge, "\r\n");
	size_t len = strcspn(line, "\r\n");

	if (!len) {
		pom_fail(error, POM_ERR_USAGE, "--challenge-file has no challenge left for this row");
		return NULL;
	}
	m->next_challenge = line + len + (line[len] != 0);
	line[len] = 0;
	return line;
}

static EVP_PKEY *take_key(struct matrix *m)
{
	return m->keys[m->n_keys_used++ % KEYS];
}

static bool fill_errand(struct matrix *m, enum kind kind, struct sim_scep_errand *errand, GError **error)
{
	errand->key = take_key(m);
	if (kind != KIND_RENEW)
		return (errand->choice.challenge = take_challenge(m, error)) != NULL;
	if (!m->cert)
		return pom_fail(error, POM_ERR_CONFLICT, "there is no certificate to renew");
	errand->type = SIM_SCEP_RENEWAL_REQ;
	errand->choice.signer = m->cert;
	errand->choice.signer_key = m->key;
	return true;
}

static bool judge(enum kind kind, const struct sim_scep_outcome *outcome, GError **error)
{
	if (outcome->http_status != 200)
		return pom_fail(error, POM_ERR_CONFLICT, "the server answered HTTP %d", outcome->http_status);
	if (outcome->status == SIM_SCEP_PENDING)
		return pom_fail(error, POM_ERR_CONFLICT, kind == KIND_PENDING ? "nobody has approved the request in time" : "the request waits for approval");
	if (outcome->status == SIM_SCEP_FAILURE)
		return pom_fail(error, POM_ERR_CONFLICT, "FAILURE, failInfo %s: %s", outcome->fail_info, outcome->fail_info_text ? outcome->fail_info_text : "no text");
	return true;
}

/* The request must have waited before it was granted. */
static bool obtain(sim_scep_session *session, struct sim_scep_errand *errand, enum kind kind, X509 **ret, GError **error)
{
	struct sim_scep_outcome outcome = {0};
	bool ok = sim_scep_obtain(session, errand, &outcome, error) && judge(kind, &outcome, error);

	if (ok && kind == KIND_PENDING && !outcome.n_polls)
		ok = pom_fail(error, POM_ERR_CONFLICT, "the request was granted at once: this URL is not one where requests wait");
	if (ok)
		*ret = g_steal_pointer(&outcome.cert);
	sim_scep_outcome_clear(&outcome);
	return ok;
}

static bool try_row(struct matrix *m, const char *method, const char *cipher, const char *digest, enum kind kind, GError **error)
{
	sim_scep_session *session = kind == KIND_PENDING ? m->pending : m->session;
	struct sim_scep_errand errand = {.type = SIM_SCEP_PKCS_REQ, .choice = m->parsed.choice, .wish = {.subject_text = m->options->subject, .key_usage = 5}};
	X509 *cert = NULL;

	session->method = sim_scep_method_find(method);
	errand.choice.throw_away_key = m->throw_away_key;
	errand.choice.cipher = sim_scep_cipher_find(cipher);
	errand.choice.digest = sim_scep_digest_find(digest);
	errand.delay_ms = SIM_SCEP_POLL_MS;
	errand.n_tries = kind == KIND_PENDING ? MAX(1, m->options->wait_s * 1000 / SIM_SCEP_POLL_MS) : 0;
	if (!fill_errand(m, kind, &errand, error) || !obtain(session, &errand, kind, &cert, error))
		return false;
	X509_free(m->cert);
	m->cert = cert;
	m->key = errand.key;
	return true;
}

static void run_row(struct matrix *m, const char *method, const char *cipher, const char *digest, enum kind kind)
{
	g_autofree char *name = g_strdup_printf("%s %s %s %s", method, cipher, digest, kind_names[kind]);
	g_autoptr(GError) error = NULL;

	m->n_rows++;
	if (kind == KIND_PENDING && !m->pending) {
		printf("ok %u - %s # SKIP without --pending-url\n", m->n_rows, name);
	} else if (try_row(m, method, cipher, digest, kind, &error)) {
		printf("ok %u - %s\n", m->n_rows, name);
	} else {
		m->n_failed++;
		if (kind == KIND_NEW)
			g_clear_pointer(&m->cert, X509_free);
		printf("not ok %u - %s\n# %s\n", m->n_rows, name, error->message);
	}
	fflush(stdout);
}

static void run_rows(struct matrix *m)
{
	printf("1..%zu\n", G_N_ELEMENTS(methods) * G_N_ELEMENTS(ciphers) * G_N_ELEMENTS(digests) * KIND_MAX);
	for (unsigned i = 0; i < G_N_ELEMENTS(methods) * G_N_ELEMENTS(ciphers) * G_N_ELEMENTS(digests) && !sim_stopped(m->options->stop); i++)
		for (enum kind kind = KIND_NEW; kind < KIND_MAX; kind++)
			run_row(m, methods[i / (G_N_ELEMENTS(ciphers) * G_N_ELEMENTS(digests))], ciphers[i / G_N_ELEMENTS(digests) % G_N_ELEMENTS(ciphers)], digests[i % G_N_ELEMENTS(digests)], kind);
}

static bool open_session(const struct matrix *m, const char *url, sim_scep_session **ret, GError **error)
{
	*ret = sim_scep_session_new(m->http, url, m->options->ca_name, m->parsed.fingerprint, m->options->stop);
	return sim_scep_get_ca(*ret, error) && sim_scep_get_caps(*ret, error);
}

static bool prepare(struct matrix *m, GError **error)
{
	const struct sim_scep_options *o = m->options;

	if (!o->challenge_file)
		return pom_fail(error, POM_ERR_USAGE, "--matrix needs --challenge-file with a challenge on each line");
	if (!scep_options_parse(o, &m->parsed, error) || !(m->text = scep_read_challenges(o->challenge_file, error)))
		return false;
	m->next_challenge = m->text;
	m->http = sim_http_new(o->stop);
	sim_http_trust(m->http, m->parsed.roots);
	for (unsigned i = 0; i < KEYS; i++)
		if (!(m->keys[i] = scep_key_new(m->parsed.key_type, error)))
			return false;
	m->throw_away_key = sim_key_new();
	return open_session(m, o->url, &m->session, error) && (!o->pending_url || open_session(m, o->pending_url, &m->pending, error));
}

static void matrix_clear(struct matrix *m)
{
	sim_scep_session_free(m->session);
	sim_scep_session_free(m->pending);
	sim_http_free(m->http);
	scep_parsed_clear(&m->parsed);
	for (unsigned i = 0; i < KEYS; i++)
		EVP_PKEY_free(m->keys[i]);
	EVP_PKEY_free(m->throw_away_key);
	X509_free(m->cert);
	/* Lines that have been used end in NUL: the text as a whole is longer than its first string. */
	if (m->text)
		OPENSSL_cleanse(m->text, (size_t)(m->next_challenge - m->text) + strlen(m->next_challenge));
	g_free(m->text);
}

bool sim_scep_matrix(const struct sim_scep_options *options, unsigned *ret_failed, GError **error)
{
	struct matrix m = {.options = options};
	bool ok = prepare(&m, error);

	if (ok) {
		run_rows(&m);
		*ret_failed = m.n_failed;
	}
	matrix_clear(&m);
	return ok;
}
