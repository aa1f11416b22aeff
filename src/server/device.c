/* Routes that devices and SCEP clients use. */
#include <string.h>

#include "base/log.h"
#include "base/metric.h"
#include "server/server_internal.h"

enum { CHECKIN_MAX = 10 << 20, REPORT_MAX = 32 << 20, SCEP_URL_MAX = 64 << 10 };

#define CHECKIN_TYPE "application/x-apple-aspen-mdm-checkin"
#define PROFILE_TYPE "application/x-apple-aspen-config"

void server_log_refusal(const struct http_request *request, const struct subject *subject, const GError *error)
{
	const struct pom_error_info *info = pom_error_info_of(error);
	enum pom_log_level level = info->http_status >= 500 && info->http_status != 503 ? POM_LOG_ERROR : POM_LOG_WARNING;
	const char *route = request->route ? request->route->pattern : NULL;

	pom_metric_add(POM_METRIC_REFUSED, info->id, 1);
	pom_log(level, "refused", "reason", info->id, "route", route, "peer", request->peer, "enrollment", subject ? subject->enrollment : NULL, "device",
	        subject ? subject->device : NULL, "subject", subject ? subject->detail : NULL, "why", error ? error->message : NULL, NULL);
}

void server_add_retry(struct http_response *response, const struct pom_error_info *info)
{
	if (info->http_status == 503)
		http_response_header(response, "Retry-After", "5");
}

/* What a device or its user is told: the stable id and the table's sentence, no details. */
static struct http_response *plain_refusal(const GError *error)
{
	const struct pom_error_info *info = pom_error_info_of(error);
	g_autofree char *text = g_strdup_printf("%s %s\n", info->id, info->text);
	struct http_response *response = http_response_text(info->http_status, "text/plain", text);

	server_add_retry(response, info);
	return response;
}

static struct http_response *refuse(const struct http_request *request, const struct subject *subject, const GError *error)
{
	server_log_refusal(request, subject, error);
	return plain_refusal(error);
}

/* The certificate that a request claims to be signed with, for the log: nothing is verified. */
static void name_signer(const struct http_request *head, struct subject *subject)
{
	const char *header = http_request_header(head, "Mdm-Signature");
	g_autofree guchar *data = NULL;
	g_autoptr(cms_detached) detached = NULL;
	g_autoptr(X509) cert = NULL;
	g_autofree char *cn = NULL;
	gsize len;

	if (!header || strlen(header) > 16384)
		return;
	data = g_base64_decode(header, &len);
	detached = cms_detached_parse(data, len, NULL);
	cert = detached ? cert_parse_der(g_bytes_get_data(detached->signer_der, NULL), g_bytes_get_size(detached->signer_der), NULL) : NULL;
	cn = cert ? cert_subject_cn(cert) : NULL;
	if (cn)
		g_strlcpy(subject->device, cn, sizeof(subject->device));
}

struct http_response *device_refuse(void *ctx, const struct http_request *head, enum pom_error reason, const char *detail)
{
	g_autoptr(GError) error = NULL;
	struct subject subject = {0};

	pom_fail(&error, reason, "%s", detail ? detail : pom_error_info(reason)->text);
	if (reason == POM_ERR_TOO_LARGE)
		name_signer(head, &subject);
	return refuse(head, &subject, error);
}

static bool is_checkin(const struct http_request *request)
{
	const char *type = http_request_header(request, "Content-Type");

	return type && !g_ascii_strncasecmp(type, CHECKIN_TYPE, strlen(CHECKIN_TYPE));
}

/* One URL serves both protocols, with different caps. */
struct http_response *device_admit(void *ctx, const struct http_request *head)
{
	const char *length = http_request_header(head, "Content-Length");

	if (head->method != HTTP_PUT || !is_checkin(head) || !length || g_ascii_strtoull(length, NULL, 10) <= CHECKIN_MAX)
		return NULL;
	return device_refuse(ctx, head, POM_ERR_TOO_LARGE, "a check-in message may have 10 MiB");
}

static struct http_response *mdm(void *ctx, const struct http_request *request)
{
	struct server *server = ctx;
	struct device_proof proof = {http_request_header(request, "Mdm-Signature")};
	struct device_reply reply = {0};
	struct subject subject = {0};
	g_autoptr(GError) error = NULL;
	bool checkin = is_checkin(request), ok;

	if (checkin && g_bytes_get_size(request->body) > CHECKIN_MAX)
		ok = pom_fail(&error, POM_ERR_TOO_LARGE, "a check-in message may have 10 MiB");
	else if (checkin)
		ok = service_checkin(server->service, &proof, request->body, &subject, &reply, &error);
	else
		ok = service_report(server->service, &proof, request->body, &subject, &reply, &error);
	if (!ok)
		return refuse(request, &subject, error);
	if (checkin)
		pom_log(POM_LOG_INFO, "check-in", "type", subject.detail, "enrollment", subject.enrollment, "device", subject.device, NULL);
	return http_response_new(reply.status, reply.body ? "application/xml" : NULL, reply.body);
}

static struct http_response *enroll_page(void *ctx, const struct http_request *request)
{
	struct server *server = ctx;
	struct subject subject = {0};
	g_autoptr(GError) refusal = NULL;
	int status;
	GBytes *page = service_enroll_page(server->service, request->params[0], &subject, &status, &refusal);
	struct http_response *response = http_response_new(status, "text/html; charset=utf-8", page);

	if (refusal)
		server_log_refusal(request, &subject, refusal);
	http_response_header(response, "Cache-Control", "no-store");
	http_response_header(response, "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
	http_response_header(response, "Referrer-Policy", "no-referrer");
	http_response_header(response, "X-Content-Type-Options", "nosniff");
	return response;
}

static struct http_response *enroll_profile(void *ctx, const struct http_request *request)
{
	struct server *server = ctx;
	struct subject subject = {0};
	g_autoptr(GError) error = NULL;
	GBytes *profile = service_enroll_profile(server->service, request->params[0], &subject, &error);
	struct http_response *response;

	if (!profile)
		return refuse(request, &subject, error);
	pom_log(POM_LOG_INFO, "enrollment profile served", "link", subject.detail, "peer", request->peer, NULL);
	response = http_response_new(200, PROFILE_TYPE, profile);
	http_response_header(response, "Cache-Control", "no-store");
	http_response_header(response, "Content-Disposition", "attachment; filename=\"enroll.mobileconfig\"");
	return response;
}

/* ---- SCEP ---- */

static struct http_response *scep_operation(struct server *server, const struct http_request *request, GBytes *message)
{
	struct subject subject = {0};
	g_autoptr(GError) error = NULL, refusal = NULL;
	GBytes *reply = NULL;
	struct http_response *response;

	if (!service_scep_operation(server->service, message, &subject, &reply, &refusal, &error))
		return refuse(request, &subject, error);
	if (refusal)
		server_log_refusal(request, &subject, refusal);
	else
		pom_log(POM_LOG_INFO, "SCEP certificate issued", "transaction", subject.detail, "peer", request->peer, NULL);
	response = http_response_new(200, "application/x-pki-message", reply);
	http_response_header(response, "Cache-Control", "no-store");
	return response;
}

static struct http_response *scep_get(struct server *server, const struct http_request *request, const char *operation)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) message = NULL;
	const char *raw;
	size_t len;

	if (!g_ascii_strcasecmp(operation, "GetCACaps"))
		return http_response_new(200, "text/plain", service_scep_caps(server->service));
	if (!g_ascii_strcasecmp(operation, "GetCACert"))
		return http_response_new(200, "application/x-x509-ca-cert", service_scep_ca_cert(server->service));
	if (g_ascii_strcasecmp(operation, "PKIOperation")) {
		pom_fail(&error, POM_ERR_SCEP_OPERATION, "operation \"%.64s\" is not served (RFC 8894 §4)", operation);
		return refuse(request, NULL, error);
	}
	raw = http_request_query_raw(request, "message", &len);
	message = raw ? scep_get_message_parse(raw, len, &error) : NULL;
	if (!raw)
		pom_fail(&error, POM_ERR_SCEP_MESSAGE, "PKIOperation by GET has no message (RFC 8894 §4.1)");
	return message ? scep_operation(server, request, message) : refuse(request, NULL, error);
}

static struct http_response *scep(void *ctx, const struct http_request *request)
{
	struct server *server = ctx;
	g_autofree char *operation = http_request_query(request, "operation");
	g_autoptr(GError) error = NULL;

	if (request->method != HTTP_POST) {
		if (operation)
			return scep_get(server, request, operation);
		pom_fail(&error, POM_ERR_SCEP_OPERATION, "operation is missing (RFC 8894 §4.1)");
	} else if (operation && g_ascii_strcasecmp(operation, "PKIOperation")) {
		pom_fail(&error, POM_ERR_SCEP_OPERATION, "operation \"%.64s\" cannot be used with POST (RFC 8894 §4.1)", operation);
	} else if (!g_bytes_get_size(request->body)) {
		pom_fail(&error, POM_ERR_SCEP_MESSAGE, "the body is empty: the client sent no message");
	} else {
		return scep_operation(server, request, request->body);
	}
	return refuse(request, NULL, error);
}

static struct http_response *home(void *ctx, const struct http_request *request)
{
	return http_response_text(200, "text/plain", "This is Pomona, a device management server. Devices enroll with a link from their administrator.\n");
}

#define SCEP_ROUTES \
	{"/scep", HTTP_BIT(HTTP_GET) | HTTP_BIT(HTTP_POST), SCEP_MESSAGE_MAX, SCEP_URL_MAX, scep, 0}, \
	{"/scep/*", HTTP_BIT(HTTP_GET) | HTTP_BIT(HTTP_POST), SCEP_MESSAGE_MAX, SCEP_URL_MAX, scep, 0}, \
	{"/cgi-bin/pkiclient.exe", HTTP_BIT(HTTP_GET) | HTTP_BIT(HTTP_POST), SCEP_MESSAGE_MAX, SCEP_URL_MAX, scep, 0}

const struct http_route device_routes[] = {
	{"/mdm", HTTP_BIT(HTTP_PUT), REPORT_MAX, 0, mdm, 0},
	{"/checkin", HTTP_BIT(HTTP_PUT), REPORT_MAX, 0, mdm, 0},
	SCEP_ROUTES,
	{"/enroll/{}", HTTP_BIT(HTTP_GET), 0, 0, enroll_page, 0},
	{"/enroll/{}/profile", HTTP_BIT(HTTP_GET), 0, 0, enroll_profile, 0},
	{"/", HTTP_BIT(HTTP_GET), 0, 0, home, 0},
	{0},
};

const struct http_route plain_routes[] = {SCEP_ROUTES, {0}};
