/* A look at one server: from its name to its answers. */
#include "probe/probe.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/error.h"
#include "http/client.h"

enum { HTTPS_PORT = 443, HTTP_PORT = 80, HOST_MAX = 255 };

/* ---- the target ---- */

void probe_target_clear(struct probe_target *target)
{
	g_clear_pointer(&target->url, g_free);
	g_clear_pointer(&target->host, g_free);
}

/* "HOST", "HOST:PORT", "[ADDR]:PORT". PORT stays as it is when there is none. */
static bool split_port(const char *text, char **ret_host, uint16_t *port)
{
	const char *end = *text == '[' ? strchr(text, ']') : NULL, *colon = end ? end + 1 : strrchr(text, ':');
	guint64 number = *port;

	/* An IPv6 address by itself. */
	if (!end && colon && strchr(text, ':') != colon)
		colon = NULL;
	if (colon && *colon == ':' && !g_ascii_string_to_unsigned(colon + 1, 10, 1, 65535, &number, NULL))
		return false;
	if (colon && *colon && *colon != ':')
		return false;
	*ret_host = end ? g_strndup(text + 1, (gsize)(end - text) - 1) : g_strndup(text, colon ? (gsize)(colon - text) : strlen(text));
	*port = (uint16_t)number;
	return **ret_host && strlen(*ret_host) <= HOST_MAX && !strpbrk(*ret_host, " @[]<>\"\\");
}

static bool fail_target(const char *text, GError **error)
{
	return pom_fail(error, POM_ERR_DOCTOR_TARGET, "\"%.100s\" is no address of a server: it must be https://HOST[:PORT][/PATH]", text);
}

bool probe_target_parse(const char *text, struct probe_target *ret, GError **error)
{
	bool is_http = !g_ascii_strncasecmp(text, "http://", 7), is_https = !g_ascii_strncasecmp(text, "https://", 8);
	const char *rest = is_https ? text + 8 : is_http ? text + 7 : text;
	g_autofree char *authority = g_strndup(rest, strcspn(rest, "/?#"));
	const char *path = rest + strlen(authority);
	char *host = NULL;
	uint16_t port = is_http ? HTTP_PORT : HTTPS_PORT;

	if ((!is_http && !is_https && strstr(text, "://")) || strchr(path, '#') || !split_port(authority, &host, &port)) {
		g_free(host);
		return fail_target(text, error);
	}
	*ret = (struct probe_target){is_http || is_https ? g_strdup(text) : g_strconcat("https://", text, NULL), host, port, !is_http, *path && strcmp(path, "/")};
	return true;
}

/* ---- time ---- */

static unsigned step_ms(const struct probe *probe)
{
	int64_t left = (probe->deadline_us - g_get_monotonic_time()) / 1000;

	return (unsigned)CLAMP(left, 1, (int64_t)(probe->step_ms ? probe->step_ms : PROBE_STEP_MS));
}

static struct probe with_deadline(const struct probe *probe)
{
	struct probe copy = *probe;

	if (!copy.deadline_us)
		copy.deadline_us = g_get_monotonic_time() + (int64_t)PROBE_TOTAL_MS * 1000;
	return copy;
}

/* ---- addresses ---- */

static char *join_address(const char *host, uint16_t port)
{
	return strchr(host, ':') ? g_strdup_printf("[%s]:%u", host, port) : g_strdup_printf("%s:%u", host, port);
}

static bool add_addresses(const struct probe *probe, const char *host, uint16_t port, GPtrArray *all)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) some = probe_resolve(host, step_ms(probe), probe->stop, &error);

	if (!some)
		doctor_say(probe->doctor, "name-unknown", "", "%s", error->message);
	for (guint i = 0; some && i < some->len && all->len < PROBE_ADDRESSES_MAX; i++)
		g_ptr_array_add(all, join_address(some->pdata[i], port));
	return some != NULL;
}

/* "ADDRESS:PORT" of every machine, transfer full; empty with a finding when there is none. */
static GPtrArray *find_addresses(const struct probe *probe, const struct probe_target *target)
{
	GPtrArray *all = g_ptr_array_new_with_free_func(g_free);

	if (!probe->connect)
		add_addresses(probe, target->host, target->port, all);
	for (const char *const *one = probe->connect; one && *one; one++) {
		g_autofree char *host = NULL;
		uint16_t port = target->port;

		if (!split_port(*one, &host, &port))
			doctor_say(probe->doctor, "name-unknown", "", "\"%s\" is no address", *one);
		else
			add_addresses(probe, host, port, all);
	}
	return all;
}

/* ---- HTTP ---- */

void probe_fetch(const char *method, const char *url, const char *address, unsigned timeout_ms, const int *stop, struct doctor_answer *ret)
{
	g_autoptr(GError) error = NULL;
	struct http_client_call call = {.method = method, .url = url, .connect_to = address, .any_certificate = true, .stop = stop, .timeout_ms = timeout_ms, .response_max = PROBE_BODY_MAX};
	struct http_client_reply reply;

	if (!http_client_run(&call, &reply, &error)) {
		*ret = (struct doctor_answer){.why = g_strdup(error->message)};
		return;
	}
	*ret = (struct doctor_answer){.status = reply.status, .content_type = g_steal_pointer(&reply.content_type), .location = g_steal_pointer(&reply.location), .body = g_steal_pointer(&reply.body),
	                              .date_s = reply.date_s};
	http_client_reply_clear(&reply);
}

/* ---- OCSP ---- */

static GBytes *make_ocsp(X509 *leaf, X509 *issuer, OCSP_CERTID **ret_id)
{
	OCSP_REQUEST *request = OCSP_REQUEST_new();
	OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), leaf, issuer);
	unsigned char *der = NULL;
	int len;

	OCSP_request_add0_id(request, OCSP_CERTID_dup(id));
	len = i2d_OCSP_REQUEST(request, &der);
	OCSP_REQUEST_free(request);
	*ret_id = id;
	GBytes *bytes = g_bytes_new(der, (gsize)MAX(len, 0));

	OPENSSL_free(der);
	return bytes;
}

/* The status of ID in the answer; -1: there is none. */
static int read_ocsp(GBytes *body, OCSP_CERTID *id)
{
	gsize len;
	const unsigned char *data = g_bytes_get_data(body, &len);
	OCSP_RESPONSE *response = data ? d2i_OCSP_RESPONSE(NULL, &data, (long)len) : NULL;
	OCSP_BASICRESP *basic = response && OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL ? OCSP_response_get1_basic(response) : NULL;
	int status = -1;

	if (basic && OCSP_resp_find_status(basic, id, &status, NULL, NULL, NULL, NULL) != 1)
		status = -1;
	OCSP_BASICRESP_free(basic);
	OCSP_RESPONSE_free(response);
	ERR_clear_error();
	return status;
}

static void ask_ocsp(const struct doctor *doctor, const char *url, X509 *leaf, X509 *issuer, unsigned timeout_ms, const int *stop)
{
	static const char *const headers[] = {"Content-Type: application/ocsp-request", NULL};
	OCSP_CERTID *id = NULL;
	g_autoptr(GBytes) request = make_ocsp(leaf, issuer, &id);
	g_autoptr(GError) error = NULL;
	gsize len;
	const void *data = g_bytes_get_data(request, &len);
	struct http_client_call call = {.method = "POST", .url = url, .headers = headers, .body = data, .body_len = len, .stop = stop, .timeout_ms = timeout_ms, .response_max = PROBE_BODY_MAX};
	struct http_client_reply reply = {0};
	bool answered = http_client_run(&call, &reply, &error);
	int status = answered && reply.status == 200 ? read_ocsp(reply.body, id) : -1;

	if (!answered)
		doctor_say(doctor, "ocsp-unreachable", "", "%s", error->message);
	else if (status < 0)
		doctor_say(doctor, "ocsp-unreachable", "", "%s answers with status %d and no word on the certificate", url, reply.status);
	else if (status == V_OCSP_CERTSTATUS_REVOKED)
		doctor_say(doctor, "revoked", "", "%s says that the certificate is revoked", url);
	OCSP_CERTID_free(id);
	http_client_reply_clear(&reply);
}

void probe_ocsp(const struct doctor *doctor, X509 *leaf, X509 *issuer, unsigned timeout_ms, const int *stop)
{
	STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(leaf);

	if (urls && sk_OPENSSL_STRING_num(urls) > 0 && !g_ascii_strncasecmp(sk_OPENSSL_STRING_value(urls, 0), "http://", 7))
		ask_ocsp(doctor, sk_OPENSSL_STRING_value(urls, 0), leaf, issuer, timeout_ms, stop);
	X509_email_free(urls);
}

/* The certificate that has issued the first of the chain, among those sent and the roots; NULL. */
static X509 *find_issuer(const struct doctor *doctor, const GPtrArray *chain)
{
	const GPtrArray *const lists[] = {chain, doctor->trusted, doctor->public_roots};

	for (size_t k = 0; k < G_N_ELEMENTS(lists); k++)
		for (guint i = 0; lists[k] && i < lists[k]->len; i++)
			if (lists[k]->pdata[i] != chain->pdata[0] && cert_is_issued_by(chain->pdata[0], lists[k]->pdata[i]))
				return lists[k]->pdata[i];
	return NULL;
}

/* ---- the look ---- */

struct hellos { struct doctor_hello *named, *bare; size_t n; };

static bool is_address(const char *host)
{
	struct in6_addr address;

	return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

static struct hellos shake_all(const struct probe *probe, const struct probe_target *target, const GPtrArray *addresses)
{
	bool has_name = !is_address(target->host);
	struct hellos hellos = {g_new0(struct doctor_hello, addresses->len + 1), has_name ? g_new0(struct doctor_hello, addresses->len + 1) : NULL, addresses->len};

	for (guint i = 0; i < addresses->len; i++) {
		if (g_get_monotonic_time() >= probe->deadline_us) {
			doctor_say_as(probe->doctor, "answer-late", FINDING_NOTE, FINDING_ALL_SYSTEMS, "", "the time was up before %u of the %u addresses were looked at", addresses->len - i, addresses->len);
			hellos.n = i;
			break;
		}
		probe_hello(addresses->pdata[i], has_name ? target->host : NULL, step_ms(probe), probe->stop, &hellos.named[i]);
		/* Who does not answer once is not asked again. */
		if (has_name && hellos.named[i].outcome == DOCTOR_CONNECTED)
			probe_hello(addresses->pdata[i], NULL, step_ms(probe), probe->stop, &hellos.bare[i]);
	}
	return hellos;
}

static void hellos_clear(struct hellos *hellos)
{
	for (size_t i = 0; i < hellos->n; i++) {
		doctor_hello_clear(&hellos->named[i]);
		if (hellos->bare)
			doctor_hello_clear(&hellos->bare[i]);
	}
	g_free(hellos->named);
	g_free(hellos->bare);
}

static void look_further(const struct probe *probe, const struct probe_target *target, const struct hellos *hellos)
{
	for (size_t i = 0; i < hellos->n; i++) {
		const struct doctor_hello *hello = &hellos->named[i];
		struct doctor_answer answer;
		X509 *issuer;

		if (hello->outcome != DOCTOR_CONNECTED)
			continue;
		probe_fetch("HEAD", target->url, hello->address, step_ms(probe), probe->stop, &answer);
		doctor_http(probe->doctor, &answer, target->url, probe->real_now_s);
		doctor_answer_clear(&answer);
		issuer = find_issuer(probe->doctor, hello->chain);
		if (issuer)
			probe_ocsp(probe->doctor, hello->chain->pdata[0], issuer, step_ms(probe), probe->stop);
	}
}

bool probe_look(const struct probe *given, const struct probe_target *target)
{
	struct probe probe = with_deadline(given);
	g_autoptr(GPtrArray) addresses = find_addresses(&probe, target);
	struct hellos hellos = shake_all(&probe, target, addresses);
	bool ok = doctor_hellos(probe.doctor, target->host, hellos.named, hellos.bare, hellos.n);

	if (ok)
		look_further(&probe, target, &hellos);
	hellos_clear(&hellos);
	return ok;
}

void probe_url(const struct probe *given, const struct probe_target *target)
{
	struct probe probe = with_deadline(given);
	g_autoptr(GPtrArray) addresses = NULL;
	struct doctor_hello hello = {0};
	bool answers;

	doctor_url(probe.doctor, target->url, target->host);
	addresses = find_addresses(&probe, target);
	if (!addresses->len)
		return;
	probe_hello(addresses->pdata[0], is_address(target->host) ? NULL : target->host, step_ms(&probe), probe.stop, &hello);
	answers = hello.outcome == DOCTOR_CONNECTED;
	doctor_hello_clear(&hello);
	if (answers)
		probe_look(&probe, target);
}

/* ---- SCEP ---- */

static char *operation_url(const char *url, const char *operation)
{
	return g_strconcat(url, strchr(url, '?') ? "&" : "?", "operation=", operation, NULL);
}

/* The address of the first machine, for all of it; NULL: by the name. transfer full. */
static char *first_address(const struct probe *probe, const struct probe_target *target)
{
	g_autoptr(GPtrArray) addresses = probe->connect ? find_addresses(probe, target) : NULL;

	return addresses && addresses->len ? g_strdup(addresses->pdata[0]) : NULL;
}

/* A device that asks for its identity has none to show. */
static void check_prompt(const struct probe *probe, const struct probe_target *target)
{
	bool asks = false;
	g_autoptr(GPtrArray) addresses = find_addresses(probe, target);

	for (guint i = 0; i < addresses->len && !asks; i++) {
		struct doctor_hello hello = {0};

		probe_hello(addresses->pdata[i], is_address(target->host) ? NULL : target->host, step_ms(probe), probe->stop, &hello);
		asks = hello.asks_certificate;
		doctor_hello_clear(&hello);
	}
	if (asks)
		doctor_say(probe->doctor, "scep-client-certificate", target->url, "the server asks for a client certificate");
}

void probe_scep(const struct probe *given, const struct probe_target *target, GBytes *fingerprint, bool look_tls)
{
	struct probe probe = with_deadline(given);
	g_autofree char *caps_url = operation_url(target->url, "GetCACaps"), *cert_url = operation_url(target->url, "GetCACert"), *address = NULL;
	struct doctor_answer caps = {0}, cert = {0};
	g_autoptr(X509) recipient = NULL, signer = NULL;

	if (look_tls && target->is_https && !probe_look(&probe, target))
		return;
	if (target->is_https)
		check_prompt(&probe, target);
	address = first_address(&probe, target);
	probe_fetch("GET", cert_url, address, step_ms(&probe), probe.stop, &cert);
	doctor_scep_ca(probe.doctor, &cert, fingerprint, &recipient, &signer);
	/* Who does not answer once is not asked again. */
	if (cert.status) {
		probe_fetch("GET", caps_url, address, step_ms(&probe), probe.stop, &caps);
		doctor_scep_caps(probe.doctor, &caps);
	}
	doctor_answer_clear(&caps);
	doctor_answer_clear(&cert);
}
