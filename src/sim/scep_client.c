#include "sim/scep_client.h"

#include <string.h>

#include "base/error.h"

struct exchange {
	sim_http *http;
	const struct sim_scep_settings *settings;
	const int *stop;
	struct sim_scep_ca ca;
	char *caps;
};

void sim_scep_outcome_clear(struct sim_scep_outcome *outcome)
{
	g_clear_pointer(&outcome->cert, X509_free);
	g_clear_pointer(&outcome->fail_info, g_free);
}

char *sim_scep_url(const char *url, const char *operation, const char *message)
{
	g_autofree char *escaped = message ? g_uri_escape_string(message, NULL, FALSE) : NULL;

	return g_strdup_printf("%s%soperation=%s%s%s", url, strchr(url, '?') ? "&" : "?", operation, escaped ? "&message=" : "", escaped ? escaped : "");
}

static bool get(struct exchange *x, const char *operation, struct sim_reply *ret, GError **error)
{
	g_autofree char *url = sim_scep_url(x->settings->url, operation, x->settings->name ? x->settings->name : "");
	struct sim_request request = {.method = "GET", .url = url};

	return sim_http_send(x->http, &request, ret, error);
}

static bool get_ca(struct exchange *x, GError **error)
{
	g_auto(sim_reply) reply = {0};

	if (!get(x, "GetCACert", &reply, error))
		return false;
	if (reply.status != 200)
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22005: GetCACert was answered with HTTP %d", reply.status);
	return sim_scep_ca_parse(reply.content_type, reply.body, x->settings->fingerprint, &x->ca, error);
}

static bool get_caps(struct exchange *x, GError **error)
{
	g_auto(sim_reply) reply = {0};
	gsize len;
	const char *text;

	if (!get(x, "GetCACaps", &reply, error))
		return false;
	/* RFC 8894 §3.5.1: a server without GetCACaps has none. */
	text = reply.status == 200 ? g_bytes_get_data(reply.body, &len) : NULL;
	x->caps = text ? g_strndup(text, len) : g_strdup("");
	return true;
}

static bool operate(struct exchange *x, GBytes *message, struct sim_reply *ret, GError **error)
{
	g_autofree char *base64 = NULL, *url = NULL;
	struct sim_request request = {.method = "POST", .content_type = "application/x-pki-message", .body = message};
	gsize len;

	if (!sim_scep_has_cap(x->caps, "POSTPKIOperation") && !sim_scep_has_cap(x->caps, "SCEPStandard")) {
		const guchar *data = g_bytes_get_data(message, &len);

		base64 = g_base64_encode(data, len);
		request = (struct sim_request){.method = "GET"};
	}
	url = sim_scep_url(x->settings->url, "PKIOperation", base64);
	request.url = url;
	return sim_http_send(x->http, &request, ret, error);
}

/* One message and its answer. */
static bool ask(struct exchange *x, const sim_scep *scep, GBytes *message, struct sim_scep_outcome *ret, GError **error)
{
	g_auto(sim_reply) reply = {0};

	if (!operate(x, message, &reply, error))
		return false;
	ret->http_status = reply.status;
	if (reply.status != 200) {
		ret->status = SIM_SCEP_FAILURE;
		return true;
	}
	if (g_strcmp0(reply.content_type, "application/x-pki-message"))
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: PKIOperation was answered with the media type %s", reply.content_type ? reply.content_type : "(none)");
	return sim_scep_open(scep, reply.body, x->ca.signer, &ret->status, &ret->cert, &ret->fail_info, error);
}

/* Asks again while a person decides: the first time at once, then after RetryDelay. */
static bool poll_answer(struct exchange *x, const sim_scep *scep, GBytes *csr, struct sim_scep_outcome *ret, GError **error)
{
	g_autoptr(GBytes) content = sim_scep_poll_content(x->ca.recipient, csr), message = sim_scep_request(scep, SIM_SCEP_CERT_POLL, x->ca.recipient, content);

	for (int64_t i = 0; i < x->settings->n_retries && ret->status == SIM_SCEP_PENDING; i++) {
		if (i && !sim_sleep_ms(x->stop, (unsigned)CLAMP(x->settings->retry_delay_s, 0, 3600) * 1000))
			break;
		if (!ask(x, scep, message, ret, error))
			return false;
	}
	if (ret->status != SIM_SCEP_PENDING)
		return true;
	return pom_fail(error, POM_ERR_SCEP_MESSAGE, "the certificate request still waits for approval after %" G_GINT64_FORMAT " retries", x->settings->n_retries);
}

static bool enroll(struct exchange *x, bool macos, EVP_PKEY *key, const struct sim_scep_quirks *quirks, struct sim_scep_outcome *ret, GError **error)
{
	g_autoptr(sim_scep) scep = NULL;
	g_autoptr(GBytes) csr = NULL, message = NULL;

	if (!get_ca(x, error) || !get_caps(x, error))
		return false;
	scep = sim_scep_new(macos, key, quirks->challenge ? quirks->challenge : x->settings->challenge, x->caps);
	csr = sim_scep_csr(scep, x->settings, quirks->csr_signer, error);
	if (!csr)
		return false;
	message = quirks->instead ? g_bytes_ref(quirks->instead) : sim_scep_request(scep, SIM_SCEP_PKCS_REQ, x->ca.recipient, csr);
	return ask(x, scep, message, ret, error) && (ret->status != SIM_SCEP_PENDING || poll_answer(x, scep, csr, ret, error));
}

bool sim_scep_enroll(sim_http *http, const struct sim_scep_settings *settings, bool macos, EVP_PKEY *key, const struct sim_scep_quirks *quirks, const int *stop, struct sim_scep_outcome *ret, GError **error)
{
	static const struct sim_scep_quirks none = {0};
	struct exchange x = {.http = http, .settings = settings, .stop = stop};
	struct sim_scep_outcome outcome = {.status = SIM_SCEP_FAILURE};
	bool ok = enroll(&x, macos, key, quirks ? quirks : &none, &outcome, error);

	sim_scep_ca_clear(&x.ca);
	g_free(x.caps);
	if (ok)
		*ret = outcome;
	else
		sim_scep_outcome_clear(&outcome);
	return ok;
}
