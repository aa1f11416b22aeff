/* Routes that devices and SCEP clients use. */
#include <string.h>

#include "base/log.h"
#include "base/metric.h"
#include "codec/ocsp.h"
#include "core/ota.h"
#include "server/server_internal.h"
#include "service/ddm.h"
#include "service/ota.h"
#include "service/timeline.h"

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
	if (info->http_status == 503 || info->http_status == 429)
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

	if (server_connection_refused(ctx, head, reason, detail))
		return NULL;
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

/* Only by explicit setting: the device removes its enrollment (Apple: error code of a 403). */
static struct http_response *unenroll(const struct http_request *request, const struct subject *subject, const GError *error)
{
	server_log_refusal(request, subject, error);
	return http_response_text(403, "application/json", "{\"code\":\"com.apple.unrecognized.device\",\"description\":\"this device is not to be managed here any more\"}\n");
}

static struct http_response *mdm(void *ctx, const struct http_request *request)
{
	struct server *server = ctx;
	g_auto(device_proof) proof = {0};
	struct device_reply reply = {0};
	struct subject subject = {0};
	g_autoptr(GError) error = NULL;
	bool checkin = is_checkin(request), ok;

	if (checkin && g_bytes_get_size(request->body) > CHECKIN_MAX)
		ok = pom_fail(&error, POM_ERR_TOO_LARGE, "a check-in message may have 10 MiB");
	else if (!server_proof(server, request, &proof, &error))
		ok = false;
	else if (checkin)
		ok = service_checkin(server->service, &proof, request->body, &subject, &reply, &error);
	else
		ok = service_report(server->service, &proof, request->body, &subject, &reply, &error);
	if (!ok && ((server->service->settings.revoked_unenroll && g_error_matches(error, POM_ERROR, POM_ERR_CERT_REVOKED)) || g_error_matches(error, POM_ERROR, POM_ERR_DEVICE_BLOCKED_OUT)))
		return unenroll(request, &subject, error);
	if (!ok)
		return refuse(request, &subject, error);
	if (checkin)
		pom_log(POM_LOG_INFO, "check-in", "type", subject.detail, "enrollment", subject.enrollment, "device", subject.device, NULL);
	return http_response_new(reply.status, !reply.body ? NULL : reply.content_type ? reply.content_type : "application/xml", reply.body);
}

/* ---- the page of a link ---- */

static struct http_response *enroll_html(int status, GBytes *page)
{
	struct http_response *response = http_response_new(status, "text/html; charset=utf-8", page);

	http_response_header(response, "Cache-Control", "no-store");
	http_response_header(response, "Content-Security-Policy", service_enroll_policy());
	http_response_header(response, "Referrer-Policy", "no-referrer");
	http_response_header(response, "X-Content-Type-Options", "nosniff");
	http_response_header(response, "X-Frame-Options", "DENY");
	/* What is shown first depends on it. */
	http_response_header(response, "Vary", "User-Agent");
	return response;
}

/* HEAD is no step: programs that preview links send it. */
static void note_step(struct server *server, const struct http_request *request, const char *link_id, const char *kind, const GError *refusal)
{
	if (request->method != HTTP_HEAD)
		service_timeline_link(server->service, link_id, kind, NULL, request->peer, refusal);
}

static struct http_response *open_page(struct server *server, const struct http_request *request, bool ota)
{
	struct page_request wanted = {request->params[0], http_request_header(request, "User-Agent"), ota};
	struct subject subject = {0};
	g_autoptr(GError) refusal = NULL;
	int status;
	GBytes *page = service_enroll_page(server->service, &wanted, &subject, &status, &refusal);
	struct http_response *response = enroll_html(status, page);

	note_step(server, request, subject.detail, refusal ? "LinkRefused" : "LinkOpened", refusal);

	if (refusal) {
		server_log_refusal(request, &subject, refusal);
		server_add_retry(response, pom_error_info_of(refusal));
	}
	return response;
}

static struct http_response *enroll_page(void *ctx, const struct http_request *request)
{
	return open_page(ctx, request, false);
}

static struct http_response *enroll_page_ota(void *ctx, const struct http_request *request)
{
	return open_page(ctx, request, true);
}

/* A person in a browser is told in HTML what is wrong, any other client in a line. */
static struct http_response *refuse_person(struct server *server, const struct http_request *request, const struct subject *subject, const GError *error)
{
	const char *accept = http_request_header(request, "Accept");
	struct http_response *response;
	GBytes *page;
	int status;

	if (!accept || !strstr(accept, "text/html"))
		return refuse(request, subject, error);
	server_log_refusal(request, subject, error);
	page = service_enroll_refusal(server->service, error, &status);
	response = enroll_html(status, page);
	server_add_retry(response, pom_error_info_of(error));
	return response;
}

/* PROFILE (transfer full, NULL: ERROR) for download. */
static struct http_response *enroll_download(struct server *server, const struct http_request *request, const struct subject *subject, GBytes *profile, const char *name, const char *kind, const GError *error)
{
	g_autofree char *disposition = g_strdup_printf("attachment; filename=\"%s.mobileconfig\"", name);
	struct http_response *response;

	note_step(server, request, subject->detail, kind, error);
	if (!profile)
		return refuse_person(server, request, subject, error);
	pom_log(POM_LOG_INFO, "profile served", "name", name, "link", subject->detail, "peer", request->peer, NULL);
	response = http_response_new(200, PROFILE_TYPE, profile);
	http_response_header(response, "Cache-Control", "no-store");
	http_response_header(response, "X-Content-Type-Options", "nosniff");
	http_response_header(response, "Content-Disposition", disposition);
	return response;
}

static struct http_response *enroll_profile(void *ctx, const struct http_request *request)
{
	struct server *server = ctx;
	struct subject subject = {0};
	g_autoptr(GError) error = NULL;
	GBytes *profile = service_enroll_profile(server->service, request->params[0], &subject, &error);

	return enroll_download(server, request, &subject, profile, "enroll", profile ? "ProfileServed" : "ProfileRefused", error);
}

static struct http_response *enroll_trust(void *ctx, const struct http_request *request)
{
	struct server *server = ctx;
	struct subject subject = {0};
	g_autoptr(GError) error = NULL;
	GBytes *profile = service_enroll_trust(server->service, request->params[0], &subject, &error);

	return enroll_download(server, request, &subject, profile, "trust", profile ? "TrustServed" : "ProfileRefused", error);
}

/* ---- over the air ---- */

static struct http_response *profile_response(GBytes *profile)
{
	struct http_response *response = http_response_new(200, PROFILE_TYPE, profile);

	http_response_header(response, "Cache-Control", "no-store");
	return response;
}

/* What the body claims to be says nothing: it is CMS or it is refused. */
static struct http_response *ota(void *ctx, const struct http_request *request)
{
	struct server *server = ctx;
	struct subject subject = {0};
	struct ota_reply reply = {0};
	g_autoptr(GError) error = NULL;
	GBytes *document;

	if (request->method == HTTP_POST) {
		if (!service_ota_answer(server->service, request->params[0], request->body, &subject, &reply, &error))
			return refuse(request, &subject, error);
		pom_log(POM_LOG_INFO, "over-the-air enrollment", "sent", reply.step, "link", subject.detail, "device", subject.device, "peer", request->peer, NULL);
		return profile_response(reply.profile);
	}
	document = service_ota_begin(server->service, request->params[0], request->method == HTTP_HEAD, &subject, &error);
	if (!document)
		return refuse_person(server, request, &subject, error);
	pom_log(POM_LOG_INFO, "over-the-air enrollment", "sent", "service", "link", subject.detail, "peer", request->peer, NULL);
	return profile_response(document);
}

/* Apple: error codes of a 403. The watch has its phone fetch a token for this, and comes again. */
static struct http_response *watch_needs_token(const struct http_request *request, const struct subject *subject, const char *security_token, const GError *error)
{
	g_autoptr(json_t) body = json_pack("{s:s, s:{s:s}}", "code", "com.apple.watch.pairing.token.missing", "details", "security-token", security_token);
	struct http_response *response = http_response_new(403, "application/json", json_format(body));

	pom_log(POM_LOG_INFO, "a watch was sent for a pairing token", "device", subject->device, "why", error->message, "peer", request->peer, NULL);
	http_response_header(response, "Cache-Control", "no-store");
	return response;
}

static struct http_response *watch(void *ctx, const struct http_request *request)
{
	struct server *server = ctx;
	struct subject subject = {0};
	g_autofree char *security_token = NULL;
	g_autoptr(GError) error = NULL;
	GBytes *profile = NULL;

	if (service_watch_answer(server->service, request->body, &subject, &profile, &security_token, &error)) {
		pom_log(POM_LOG_INFO, "enrollment profile served to a watch", "link", subject.detail, "device", subject.device, "peer", request->peer, NULL);
		return profile_response(profile);
	}
	return security_token ? watch_needs_token(request, &subject, security_token, error) : refuse(request, &subject, error);
}

/* ---- what declarations bring along ---- */

static struct http_response *ddm_file(void *ctx, const struct http_request *request)
{
	struct server *server = ctx;
	g_auto(device_proof) proof = {0};
	struct subject subject = {0};
	g_autoptr(GError) error = NULL;
	g_autofree char *type = NULL;
	struct http_response *response;
	GBytes *file = NULL;

	if (server_proof(server, request, &proof, &error))
		file = service_ddm_file(server->service, &proof, request->params[0], request->params[1], request->params[2], &subject, &type, &error);
	if (!file)
		return refuse(request, &subject, error);
	pom_log(POM_LOG_INFO, "a device fetched what a declaration brings", "declaration", subject.detail, "enrollment", subject.enrollment, NULL);
	response = http_response_new(200, type, file);
	http_response_header(response, "Cache-Control", "no-store");
	return response;
}

/* ---- SCEP ---- */

/* The profile in a path: what stands behind /scep/. transfer full. */
static char *profile_of(const struct http_request *request)
{
	const char *rest = g_str_has_prefix(request->path, "/scep/") ? request->path + strlen("/scep/") : "";
	g_autofree char *name = g_strndup(rest, strcspn(rest, "/"));

	return !*name || scep_profile_is_program(name) ? g_strdup("default") : g_steal_pointer(&name);
}

/* The link in a path: behind the profile's name, as it stands in enrollment profiles. transfer full; NULL when there is none. */
static char *link_of(const struct http_request *request)
{
	enum { ID_LEN = 36 };
	const char *rest = g_str_has_prefix(request->path, "/scep/") ? strchr(request->path + strlen("/scep/"), '/') : NULL;

	return rest && strcspn(rest + 1, "/") == ID_LEN ? g_strndup(rest + 1, ID_LEN) : NULL;
}

static struct http_response *scep_operation(struct server *server, const struct http_request *request, const char *profile, GBytes *message)
{
	struct subject subject = {0};
	g_autofree char *link = link_of(request);
	g_autoptr(GError) error = NULL;
	struct scep_outcome outcome = {0};
	struct http_response *response;

	if (!service_scep_operation(server->service, &(struct scep_call){profile, request->peer, message, link}, &subject, &outcome, &error)) {
		scep_outcome_clear(&outcome);
		service_timeline_scep(server->service, link, "PKIOperation", NULL, request->peer, error);
		return refuse(request, &subject, error);
	}
	pom_metric_add(POM_METRIC_SCEP, outcome.what, 1);
	if (!outcome.noted && (outcome.refusal || (strcmp(outcome.what, "certificate") && strcmp(outcome.what, "crl"))))
		service_timeline_scep(server->service, link, "PKIOperation", outcome.what, request->peer, outcome.refusal);
	if (outcome.refusal)
		server_log_refusal(request, &subject, outcome.refusal);
	else
		pom_log(POM_LOG_INFO, "SCEP", "outcome", outcome.what, "profile", profile, "transaction", subject.detail, "peer", request->peer, "agent", http_request_header(request, "User-Agent"), NULL);
	response = http_response_new(200, "application/x-pki-message", g_bytes_ref(outcome.reply));
	http_response_header(response, "Cache-Control", "no-store");
	scep_outcome_clear(&outcome);
	return response;
}

static struct http_response *scep_message(struct server *server, const struct http_request *request, const char *profile)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) message = NULL;
	const char *raw;
	size_t len;

	raw = http_request_query_raw(request, "message", &len);
	message = raw ? scep_get_message_parse(raw, len, &error) : NULL;
	if (!raw)
		pom_fail(&error, POM_ERR_SCEP_MESSAGE, "PKIOperation by GET has no message (RFC 8894 §4.1)");
	return message ? scep_operation(server, request, profile, message) : refuse(request, NULL, error);
}

static struct http_response *scep_get(struct server *server, const struct http_request *request, const char *profile, const char *operation)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *link = link_of(request);
	const char *type = NULL, *known = NULL;
	GBytes *body = NULL;

	if (!g_ascii_strcasecmp(operation, "PKIOperation"))
		return scep_message(server, request, profile);
	if (!g_ascii_strcasecmp(operation, "GetCACaps")) {
		type = "text/plain";
		known = "GetCACaps";
		body = service_scep_caps(server->service, profile, &error);
	} else if (!g_ascii_strcasecmp(operation, "GetCACert")) {
		known = "GetCACert";
		body = service_scep_ca_cert(server->service, profile, &type, &error);
	} else if (!g_ascii_strcasecmp(operation, "GetNextCACert")) {
		type = "application/x-x509-next-ca-cert";
		body = service_scep_next_ca_cert(server->service, profile, &error);
	} else {
		pom_fail(&error, POM_ERR_SCEP_OPERATION, "operation \"%.64s\" is not served (RFC 8894 §4)", operation);
	}
	if (request->method == HTTP_GET && known)
		service_timeline_scep(server->service, link, known, NULL, request->peer, error);
	return body ? http_response_new(200, type, body) : refuse(request, NULL, error);
}

static struct http_response *scep(void *ctx, const struct http_request *request)
{
	struct server *server = ctx;
	g_autofree char *operation = http_request_query(request, "operation"), *profile = profile_of(request);
	g_autoptr(GError) error = NULL;

	if (request->method != HTTP_POST) {
		if (operation)
			return scep_get(server, request, profile, operation);
		pom_fail(&error, POM_ERR_SCEP_OPERATION, "operation is missing (RFC 8894 §4.1)");
	} else if (operation && g_ascii_strcasecmp(operation, "PKIOperation")) {
		pom_fail(&error, POM_ERR_SCEP_OPERATION, "operation \"%.64s\" cannot be used with POST (RFC 8894 §4.1)", operation);
	} else if (!g_bytes_get_size(request->body)) {
		pom_fail(&error, POM_ERR_SCEP_MESSAGE, "the body is empty: the client sent no message");
	} else {
		return scep_operation(server, request, profile, request->body);
	}
	return refuse(request, NULL, error);
}

/* ---- revocation ---- */

static void set_time(struct http_response *response, const char *name, int64_t unix_ms)
{
	g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(unix_ms / 1000);
	g_autofree char *text = time ? g_date_time_format(time, "%a, %d %b %Y %H:%M:%S GMT") : NULL;

	if (text)
		http_response_header(response, name, text);
}

/* /ca/default-1.crl, /ca/default-1.cer */
static struct http_response *ca_file(void *ctx, const struct http_request *request)
{
	struct server *server = ctx;
	const char *name = request->params[0], *dot = strrchr(name, '.'), *known;
	g_autofree char *generation = g_strndup(name, dot ? (gsize)(dot - name) : strlen(name)), *etag = NULL;
	g_autoptr(GError) error = NULL;
	struct http_response *response;
	int64_t number, next_update_ms;
	GBytes *body;

	if (dot && !strcmp(dot, ".cer")) {
		body = service_ca_certificate(server->service, generation, &error);
		return body ? http_response_new(200, "application/pkix-cert", body) : refuse(request, NULL, error);
	}
	if (!dot || strcmp(dot, ".crl")) {
		pom_fail(&error, POM_ERR_NOT_FOUND, "there are only NAME.crl and NAME.cer here");
		return refuse(request, NULL, error);
	}
	body = service_crl(server->service, generation, &number, &next_update_ms, &error);
	if (!body)
		return refuse(request, NULL, error);
	etag = g_strdup_printf("\"%s-%" G_GINT64_FORMAT "\"", generation, number);
	known = http_request_header(request, "If-None-Match");
	if (known && strstr(known, etag)) {
		g_bytes_unref(body);
		response = http_response_new(304, NULL, NULL);
	} else {
		response = http_response_new(200, "application/pkix-crl", body);
	}
	http_response_header(response, "ETag", etag);
	http_response_header(response, "Cache-Control", "public, max-age=600, must-revalidate");
	set_time(response, "Expires", service_now_ms(server->service) + 600 * 1000);
	return response;
}

/* RFC 6960 appendix A. Every request gets an answer of the protocol: what is malformed, unknown or failing is said within it. */
static struct http_response *ocsp(void *ctx, const struct http_request *request)
{
	struct server *server = ctx;
	g_autoptr(GError) refusal = NULL;
	g_autoptr(GBytes) message = NULL;
	g_autofree char *cache = NULL;
	struct http_response *response;
	int64_t max_age = 0;

	if (request->method == HTTP_POST) {
		message = g_bytes_ref(request->body);
	} else {
		/* As it was sent: base64 may hold slashes, escaped or not. */
		const char *raw = strstr(request->target, "/ocsp");
		size_t len = raw ? strcspn(raw + strlen("/ocsp"), "?") : 0;

		message = raw ? ocsp_get_parse(raw + strlen("/ocsp"), len, &refusal) : NULL;
	}
	response = http_response_new(200, "application/ocsp-response", service_ocsp(server->service, message, &max_age, refusal ? NULL : &refusal));
	if (refusal)
		server_log_refusal(request, NULL, refusal);
	cache = max_age && request->method != HTTP_POST ? g_strdup_printf("public, max-age=%" G_GINT64_FORMAT ", no-transform, must-revalidate", max_age) : g_strdup("no-store");
	http_response_header(response, "Cache-Control", cache);
	return response;
}

/* For load balancers, which cannot reach the admin listener: as /readyz there, without saying why to the world. */
static struct http_response *readyz(void *ctx, const struct http_request *request)
{
	struct http_response *draining = server_draining_reply(ctx, request);
	g_autoptr(GError) error = NULL;

	if (draining)
		return draining;
	return server_is_ready(ctx, &error) ? http_response_text(200, "text/plain", "ready\n") : plain_refusal(error);
}

static struct http_response *home(void *ctx, const struct http_request *request)
{
	return http_response_text(200, "text/plain", "This is Pomona, a device management server. Devices enroll with a link from their administrator.\n");
}

#define READ (HTTP_BIT(HTTP_GET) | HTTP_BIT(HTTP_POST))
#define CA_ROUTES \
	{"/scep", READ, SCEP_MESSAGE_MAX, SCEP_URL_MAX, scep, 0}, \
	{"/scep/*", READ, SCEP_MESSAGE_MAX, SCEP_URL_MAX, scep, 0}, \
	{"/cgi-bin/pkiclient.exe", READ, SCEP_MESSAGE_MAX, SCEP_URL_MAX, scep, 0}, \
	{"/certsrv/mscep/mscep.dll", READ, SCEP_MESSAGE_MAX, SCEP_URL_MAX, scep, 0}, \
	{"/certsrv/mscep/mscep.dll/*", READ, SCEP_MESSAGE_MAX, SCEP_URL_MAX, scep, 0}, \
	{"/ca/{}", HTTP_BIT(HTTP_GET), 0, 0, ca_file, 0}, \
	{"/ocsp", READ, OCSP_REQUEST_MAX_BYTES, SCEP_URL_MAX, ocsp, 0}, \
	{"/ocsp/*", HTTP_BIT(HTTP_GET), 0, SCEP_URL_MAX, ocsp, 0}

#define MDM_ROUTES \
	{"/mdm", HTTP_BIT(HTTP_PUT), REPORT_MAX, 0, mdm, 0}, \
	{"/checkin", HTTP_BIT(HTTP_PUT), REPORT_MAX, 0, mdm, 0}, \
	{"/ddm/{}/{}/{}", HTTP_BIT(HTTP_GET), 0, 0, ddm_file, 0}

const struct http_route device_routes[] = {
	MDM_ROUTES,
	CA_ROUTES,
	{"/enroll/{}", HTTP_BIT(HTTP_GET), 0, 0, enroll_page, 0},
	{"/enroll/{}/profile", HTTP_BIT(HTTP_GET), 0, 0, enroll_profile, 0},
	{"/enroll/{}/ota", HTTP_BIT(HTTP_GET), 0, 0, enroll_page_ota, 0},
	{"/enroll/{}/trust", HTTP_BIT(HTTP_GET), 0, 0, enroll_trust, 0},
	{"/ota/{}", READ, OTA_MESSAGE_MAX, 0, ota, 0},
	{"/watch", HTTP_BIT(HTTP_POST), OTA_MESSAGE_MAX, 0, watch, 0},
	{"/readyz", HTTP_BIT(HTTP_GET), 0, 0, readyz, 0},
	{"/", HTTP_BIT(HTTP_GET), 0, 0, home, 0},
	{0},
};

const struct http_route mtls_routes[] = {MDM_ROUTES, {"/readyz", HTTP_BIT(HTTP_GET), 0, 0, readyz, 0}, {0}};
const struct http_route plain_routes[] = {CA_ROUTES, {"/readyz", HTTP_BIT(HTTP_GET), 0, 0, readyz, 0}, {0}};
