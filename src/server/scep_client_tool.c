/* For tests/scenarios/outside_ca.py: one enrollment with an outside CA, over real sockets. Settings as JSON on standard input, the result as JSON on
 * standard output: {"certificate", "chain", "key"} in base64, or {"code", "error"}. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "codec/json.h"
#include "server/outbound.h"
#include "service/scep_client.h"

enum { INPUT_MAX = 1 << 20 };

static bool wait_ms(void *ctx, unsigned ms)
{
	g_usleep((gulong)ms * 1000);
	return true;
}

static const char *text(const json_t *in, const char *name)
{
	return json_string_value(json_object_get(in, name));
}

/* A member in base64, transfer full; NULL when it is not there. */
static GBytes *bytes(const json_t *in, const char *name)
{
	gsize len;
	guchar *data = text(in, name) ? g_base64_decode(text(in, name), &len) : NULL;

	return data ? g_bytes_new_take(data, len) : NULL;
}

static json_t *to_json(GBytes *data)
{
	gsize len;
	const guchar *raw = g_bytes_get_data(data, &len);
	g_autofree char *base64 = g_base64_encode(raw, len);

	return json_string(base64);
}

static struct signer *key_of(const json_t *in, const char *name)
{
	g_autoptr(GBytes) der = bytes(in, name);

	return der ? signer_parse(g_bytes_get_data(der, NULL), g_bytes_get_size(der), NULL) : NULL;
}

static X509 *cert_of(const json_t *in, const char *name)
{
	g_autoptr(GBytes) der = bytes(in, name);

	return der ? cert_parse_der(g_bytes_get_data(der, NULL), g_bytes_get_size(der), NULL) : NULL;
}

/* With "csr" it is passed on; else a request is made for "key", or for a new one. */
static bool enroll(const json_t *in, const struct scep_client *client, struct signer **ret_key, struct scep_client_result *ret, GError **error)
{
	g_autoptr(GBytes) csr = bytes(in, "csr"), subject = NULL;

	if (csr)
		return scep_client_enroll(client, NULL, csr, ret, error);
	*ret_key = key_of(in, "key");
	if (!*ret_key)
		*ret_key = signer_generate_rsa(2048, error);
	subject = cert_subject_parse_text(text(in, "subject") ? text(in, "subject") : "CN=Test", error);
	return *ret_key && subject && scep_client_request(client, *ret_key, subject, NULL, ret, error);
}

static json_t *run(const json_t *in)
{
	g_autoptr(GBytes) pin = text(in, "pin") ? hex_parse(text(in, "pin")) : NULL, key_der = NULL;
	g_autoptr(signer) own = key_of(in, "signer_key"), key = NULL;
	g_autoptr(X509) own_cert = cert_of(in, "signer_cert");
	g_auto(scep_client_result) result = {0};
	g_autoptr(GError) error = NULL;
	json_t *out = json_object(), *chain = json_array();
	const struct scep_client client = {
		.outbound = server_outbound(), .clock = pom_clock_system(), .random = pom_random_system(), .url = text(in, "url"), .ca_file = text(in, "ca_file"),
		.identifier = text(in, "identifier"), .ca_sha256 = pin ? g_bytes_get_data(pin, NULL) : NULL, .timeout_ms = 10000, .legacy_des = json_is_true(json_object_get(in, "legacy_des")),
		.challenge = text(in, "challenge"), .challenge_url = text(in, "challenge_url"), .signer = own, .signer_cert = own_cert,
		.renewal = json_is_true(json_object_get(in, "renewal")), .n_polls = (unsigned)json_integer_value(json_object_get(in, "n_polls")), .poll_ms = 200, .wait = wait_ms,
	};

	if ((client.legacy_des && !keys_load_legacy(&error)) || !enroll(in, &client, &key, &result, &error)) {
		json_object_set_new(out, "code", json_string(pom_error_info_of(error)->id));
		json_object_set_new(out, "error", json_string(error->message));
		json_decref(chain);
		return out;
	}
	for (guint i = 0; i < result.chain->len; i++)
		json_array_append_new(chain, to_json(result.chain->pdata[i]));
	json_object_set_new(out, "certificate", to_json(result.certificate));
	json_object_set_new(out, "chain", chain);
	key_der = key ? signer_format(key, NULL) : NULL;
	if (key_der)
		json_object_set_new(out, "key", to_json(key_der));
	return out;
}

int main(void)
{
	g_autofree char *input = g_malloc(INPUT_MAX);
	size_t len = fread(input, 1, INPUT_MAX, stdin);
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) in = json_parse(input, len, &error), out = in ? run(in) : NULL;

	if (!out) {
		fprintf(stderr, "%s\n", error->message);
		return 2;
	}
	json_dumpf(out, stdout, JSON_COMPACT);
	return 0;
}
