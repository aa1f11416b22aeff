#include "sim/scep_client.h"

#include <string.h>

#include "base/error.h"

enum { LINE_LEN = 64, CAPS_MAX = 64 << 10, DELAY_MAX_S = 3600 };

enum sim_scep_method sim_scep_method_find(const char *name)
{
	static const char *const names[SIM_SCEP_METHOD_MAX] = {[SIM_SCEP_POST] = "post", [SIM_SCEP_GET] = "get", [SIM_SCEP_GET_LINES] = "get-lines"};
	int i = SIM_SCEP_POST;

	while (i < SIM_SCEP_METHOD_MAX && g_strcmp0(names[i], name))
		i++;
	return (enum sim_scep_method)i;
}

char *sim_scep_url(const char *url, const char *operation, const char *message)
{
	g_autofree char *escaped = message ? g_uri_escape_string(message, NULL, FALSE) : NULL;

	return g_strdup_printf("%s%soperation=%s%s%s", url, strchr(url, '?') ? "&" : "?", operation, escaped ? "&message=" : "", escaped ? escaped : "");
}

sim_scep_session *sim_scep_session_new(sim_http *http, const char *url, const char *name, GBytes *fingerprint, const int *stop)
{
	sim_scep_session *session = g_new0(sim_scep_session, 1);

	*session = (sim_scep_session){.http = http, .url = url, .name = name, .fingerprint = fingerprint, .stop = stop};
	session->nonces = g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify)g_bytes_unref, NULL);
	return session;
}

void sim_scep_session_free(sim_scep_session *session)
{
	if (!session)
		return;
	sim_scep_ca_clear(&session->ca);
	g_free(session->caps);
	g_hash_table_unref(session->nonces);
	g_free(session);
}

/* ---- the certificates and capabilities ---- */

static bool get(sim_scep_session *session, const char *operation, struct sim_reply *ret, GError **error)
{
	g_autofree char *url = sim_scep_url(session->url, operation, session->name ? session->name : "");
	struct sim_request request = {.method = "GET", .url = url};

	return sim_http_send(session->http, &request, ret, error);
}

bool sim_scep_get_ca(sim_scep_session *session, GError **error)
{
	g_auto(sim_reply) reply = {0};
	struct sim_scep_ca ca = {0};

	if (!get(session, "GetCACert", &reply, error))
		return false;
	if (reply.status != 200)
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22005: GetCACert was answered with HTTP %d", reply.status);
	if (!sim_scep_ca_parse(reply.content_type, reply.body, session->fingerprint, &ca, error))
		return false;
	sim_scep_ca_clear(&session->ca);
	session->ca = ca;
	return true;
}

bool sim_scep_get_caps(sim_scep_session *session, GError **error)
{
	g_auto(sim_reply) reply = {0};
	gsize len = 0;
	const char *text;

	if (!get(session, "GetCACaps", &reply, error))
		return false;
	/* RFC 8894 §3.5.2: an HTTP error says that there are none. */
	text = reply.status == 200 ? g_bytes_get_data(reply.body, &len) : NULL;
	g_free(session->caps);
	session->caps = text ? g_strndup(text, MIN(len, CAPS_MAX)) : g_strdup("");
	return true;
}

bool sim_scep_caps_check(const char *caps, GError **error)
{
	static const char *const words[] = {"AES", "DES3", "GetNextCACert", "POSTPKIOperation", "Renewal", "SHA-1", "SHA-256", "SHA-512", "SCEPStandard"};
	g_auto(GStrv) lines = g_strsplit(caps, "\n", -1);

	if (strchr(caps, '\r') || !g_str_has_suffix(caps, "\n"))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22006: the lines of GetCACaps must end with LF alone, the last one too");
	for (int i = 0; lines[i]; i++)
		for (unsigned n = 0; n < G_N_ELEMENTS(words); n++)
			if (!g_ascii_strcasecmp(lines[i], words[n]) && strcmp(lines[i], words[n]))
				return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22006: GetCACaps says %s, which must be written %s (RFC 8894 §3.5.2)", lines[i], words[n]);
	if (!sim_scep_has_cap(caps, "SHA-1") && !sim_scep_has_cap(caps, "SHA-256") && !sim_scep_has_cap(caps, "SHA-512"))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22006: GetCACaps announces none of SHA-1, SHA-256 and SHA-512");
	return true;
}

bool sim_scep_get_next_ca(sim_scep_session *session, struct sim_scep_ca *ret, GError **error)
{
	g_auto(sim_reply) reply = {0};

	if (!get(session, "GetNextCACert", &reply, error))
		return false;
	if (reply.status != 200)
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "GetNextCACert was answered with HTTP %d: no next CA is published", reply.status);
	return sim_scep_next_ca_parse(reply.content_type, reply.body, &session->ca, ret, error);
}

/* ---- PKIOperation ---- */

/* The value of message= in the two ways of the field; transfer full. */
static char *encode_message(GBytes *message, bool lines)
{
	gsize len;
	const guchar *data = g_bytes_get_data(message, &len);
	g_autofree char *base64 = g_base64_encode(data, len);
	GString *text = g_string_new(NULL);

	for (size_t i = 0; base64[i]; i++) {
		if (lines && i && i % LINE_LEN == 0)
			g_string_append(text, "%0A");
		if (base64[i] == '=' || base64[i] == '/' || (lines && base64[i] == '+'))
			g_string_append_printf(text, "%%%02X", base64[i]);
		else
			g_string_append_c(text, base64[i]);
	}
	return g_string_free(text, FALSE);
}

static bool is_post(const sim_scep_session *session)
{
	if (session->method != SIM_SCEP_AS_ANNOUNCED)
		return session->method == SIM_SCEP_POST;
	return sim_scep_has_cap(session->caps, "POSTPKIOperation") || sim_scep_has_cap(session->caps, "SCEPStandard");
}

static bool operate(sim_scep_session *session, GBytes *message, struct sim_reply *ret, GError **error)
{
	g_autofree char *base = sim_scep_url(session->url, "PKIOperation", NULL), *encoded = NULL, *url = NULL;
	struct sim_request request = {.method = "POST", .url = base, .content_type = "application/x-pki-message", .body = message};

	if (!is_post(session)) {
		encoded = encode_message(message, session->method == SIM_SCEP_GET_LINES);
		url = g_strconcat(base, "&message=", encoded, NULL);
		request = (struct sim_request){.method = "GET", .url = url};
	}
	return sim_http_send(session->http, &request, ret, error);
}

static bool check_fresh(sim_scep_session *session, const struct sim_scep_outcome *outcome, GError **error)
{
	return g_hash_table_add(session->nonces, g_bytes_ref(outcome->server_nonce)) ||
	       pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: senderNonce of the reply has been used before, must be fresh (RFC 8894 §3.2.1.5)");
}

/* One pkiMessage and its answer. */
static bool exchange(sim_scep_session *session, const sim_scep *scep, const struct sim_scep_ca *ca, const struct sim_scep_question *question, GBytes *message, struct sim_scep_outcome *ret,
                     GError **error)
{
	g_auto(sim_reply) reply = {0};
	struct sim_scep_outcome outcome = {0};

	if (!operate(session, message, &reply, error))
		return false;
	if (reply.status != 200) {
		*ret = (struct sim_scep_outcome){.status = SIM_SCEP_FAILURE, .http_status = reply.status};
		return true;
	}
	if (g_strcmp0(reply.content_type, "application/x-pki-message"))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: PKIOperation was answered with the media type %s", reply.content_type ? reply.content_type : "(none)");
	if (!sim_scep_open(scep, question, ca, reply.body, &outcome, error))
		return false;
	if (check_fresh(session, &outcome, error)) {
		*ret = outcome;
		return true;
	}
	sim_scep_outcome_clear(&outcome);
	return false;
}

bool sim_scep_ask(sim_scep_session *session, sim_scep *scep, const struct sim_scep_ca *ca, const struct sim_scep_question *question, struct sim_scep_outcome *ret, GError **error)
{
	g_autoptr(GBytes) message = sim_scep_request(scep, question->type, ca->recipient, question->content, error);

	return message && exchange(session, scep, ca, question, message, ret, error);
}

bool sim_scep_poll(sim_scep_session *session, sim_scep *scep, const struct sim_scep_ca *ca, GBytes *csr, int64_t n_tries, unsigned delay_ms, struct sim_scep_outcome *outcome, GError **error)
{
	g_autoptr(GBytes) content = sim_scep_poll_content(ca->recipient, csr, error);
	const struct sim_scep_question question = {.type = SIM_SCEP_CERT_POLL, .content = content};

	if (!content)
		return false;
	for (int64_t i = 0; i < n_tries && outcome->status == SIM_SCEP_PENDING; i++) {
		struct sim_scep_outcome next = {0};

		if (i && !sim_sleep_ms(session->stop, delay_ms))
			break;
		if (!sim_scep_ask(session, scep, ca, &question, &next, error))
			return false;
		next.n_polls = outcome->n_polls + 1;
		sim_scep_outcome_clear(outcome);
		*outcome = next;
	}
	return true;
}

bool sim_scep_obtain(sim_scep_session *session, const struct sim_scep_errand *errand, struct sim_scep_outcome *ret, GError **error)
{
	g_autoptr(sim_scep) scep = sim_scep_new(&errand->choice, errand->key, session->caps, error);
	g_autoptr(GBytes) csr = scep ? sim_scep_csr(scep, &errand->wish, error) : NULL;
	const struct sim_scep_question question = {.type = errand->type, .content = csr};
	struct sim_scep_outcome outcome = {0};

	if (!csr)
		return false;
	if (errand->instead)
		return exchange(session, scep, &session->ca, &question, errand->instead, ret, error);
	if (sim_scep_ask(session, scep, &session->ca, &question, &outcome, error) &&
	    sim_scep_poll(session, scep, &session->ca, csr, errand->n_tries, errand->delay_ms, &outcome, error)) {
		*ret = outcome;
		return true;
	}
	sim_scep_outcome_clear(&outcome);
	return false;
}

/* ---- as a device does it ---- */

bool sim_scep_enroll(sim_http *http, const struct sim_scep_settings *settings, const struct sim_scep_form *form, EVP_PKEY *key, const struct sim_scep_quirks *quirks, const int *stop,
                     struct sim_scep_outcome *ret, GError **error)
{
	static const struct sim_scep_quirks none = {0};
	const struct sim_scep_quirks *q = quirks ? quirks : &none;
	const struct sim_scep_errand errand = {
		.type = SIM_SCEP_PKCS_REQ, .key = key, .instead = q->instead,
		.choice = {.form = form, .challenge = q->challenge ? q->challenge : settings->challenge},
		.wish = {.subject = settings->subject, .alt_name = settings->alt_name, .key_usage = settings->key_usage, .sign_with = q->csr_signer},
		.n_tries = settings->n_retries, .delay_ms = (unsigned)CLAMP(settings->retry_delay_s, 0, DELAY_MAX_S) * 1000,
	};
	g_autoptr(sim_scep_session) session = sim_scep_session_new(http, settings->url, settings->name, settings->fingerprint, stop);
	struct sim_scep_outcome outcome = {0};

	if (!sim_scep_get_ca(session, error) || !sim_scep_get_caps(session, error) || !sim_scep_obtain(session, &errand, &outcome, error))
		return false;
	if (outcome.status != SIM_SCEP_PENDING) {
		*ret = outcome;
		return true;
	}
	sim_scep_outcome_clear(&outcome);
	return pom_fail(error, POM_ERR_SCEP_MESSAGE, "the certificate request still waits for approval after %" G_GINT64_FORMAT " retries", settings->n_retries);
}
