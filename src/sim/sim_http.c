#include "sim/sim_http.h"

#include <curl/curl.h>
#include <string.h>
#include <time.h>

#include "base/error.h"

enum { REPLY_MAX = 64 << 20, CONNECT_MS = 10000, TOTAL_MS = 60000, TICK_MS = 100, REDIRECTS_MAX = 5 };

struct sim_http {
	CURLM *multi; /* keeps the connections; libcurl's easy loop would look up only once a second */
	CURL *curl;
	const int *stop;
	char *roots, *key_pem, *cert_pem;
};

/* A body on its way out, for bodies that do not simply go. */
struct upload {
	const struct sim_request *request;
	const int *stop;
	const char *data;
	size_t len, sent;
};

bool sim_stopped(const int *stop)
{
	return stop && __atomic_load_n(stop, __ATOMIC_SEQ_CST);
}

static void nap(unsigned ms)
{
	struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};

	nanosleep(&time, NULL);
}

bool sim_sleep_ms(const int *stop, unsigned ms)
{
	while (ms && !sim_stopped(stop)) {
		unsigned step = MIN(ms, TICK_MS);

		nap(step);
		ms -= step;
	}
	return !sim_stopped(stop);
}

void sim_reply_clear(struct sim_reply *reply)
{
	g_clear_pointer(&reply->content_type, g_free);
	g_clear_pointer(&reply->body, g_bytes_unref);
	reply->status = 0;
}

sim_http *sim_http_new(const int *stop)
{
	sim_http *http = g_new0(sim_http, 1);

	http->stop = stop;
	http->multi = curl_multi_init();
	http->curl = curl_easy_init();
	if (!http->multi || !http->curl)
		g_error("libcurl cannot start");
	return http;
}

void sim_http_free(sim_http *http)
{
	if (!http)
		return;
	curl_easy_cleanup(http->curl);
	curl_multi_cleanup(http->multi);
	g_free(http->roots);
	g_free(http->key_pem);
	g_free(http->cert_pem);
	g_free(http);
}

void sim_http_trust(sim_http *http, const char *pem)
{
	g_free(http->roots);
	http->roots = pem && *pem ? g_strdup(pem) : NULL;
}

void sim_http_set_identity(sim_http *http, EVP_PKEY *key, X509 *cert)
{
	g_free(http->key_pem);
	g_free(http->cert_pem);
	http->key_pem = sim_key_pem(key);
	http->cert_pem = sim_cert_pem(cert);
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
	GByteArray *body = ctx;

	if (body->len + size * n > REPLY_MAX)
		return 0;
	g_byte_array_append(body, (const guint8 *)data, (guint)(size * n));
	return size * n;
}

static size_t on_upload(char *buf, size_t size, size_t n, void *ctx)
{
	struct upload *upload = ctx;
	size_t room = MIN(size * n, upload->len - upload->sent);

	if (upload->request->cut_after) {
		if (upload->sent >= upload->request->cut_after)
			return CURL_READFUNC_ABORT;
		room = MIN(room, upload->request->cut_after - upload->sent);
	}
	if (upload->sent < upload->request->n_slow_bytes) {
		if (!sim_sleep_ms(upload->stop, TICK_MS))
			return CURL_READFUNC_ABORT;
		room = MIN(room, 1);
	}
	memcpy(buf, upload->data + upload->sent, room);
	upload->sent += room;
	return room;
}

static void set_blob(CURL *curl, CURLoption option, const char *pem)
{
	struct curl_blob blob = {(void *)(uintptr_t)pem, pem ? strlen(pem) : 0, CURL_BLOB_COPY};

	if (pem)
		curl_easy_setopt(curl, option, &blob);
}

static void set_tls(const sim_http *http, const struct sim_request *request)
{
	set_blob(http->curl, CURLOPT_CAINFO_BLOB, http->roots);
	if (request->with_identity) {
		set_blob(http->curl, CURLOPT_SSLCERT_BLOB, http->cert_pem);
		set_blob(http->curl, CURLOPT_SSLKEY_BLOB, http->key_pem);
	}
}

static void set_body(const sim_http *http, const struct sim_request *request, struct upload *upload)
{
	gsize len;
	const char *data;

	if (!request->body)
		return;
	data = g_bytes_get_data(request->body, &len);
	if (!request->n_slow_bytes && !request->cut_after) {
		curl_easy_setopt(http->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
		curl_easy_setopt(http->curl, CURLOPT_POSTFIELDS, data ? data : "");
		return;
	}
	*upload = (struct upload){request, http->stop, data, len, 0};
	curl_easy_setopt(http->curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(http->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)len);
	curl_easy_setopt(http->curl, CURLOPT_READFUNCTION, on_upload);
	curl_easy_setopt(http->curl, CURLOPT_READDATA, upload);
}

static void append_header(struct curl_slist **headers, const char *name, const char *value)
{
	g_autofree char *line = value ? g_strdup_printf("%s: %s", name, value) : g_strdup_printf("%s:", name);

	*headers = curl_slist_append(*headers, line);
}

/* transfer full. Without Content-Type libcurl would claim a form; and no device waits for 100 Continue. */
static struct curl_slist *make_headers(const struct sim_request *request)
{
	struct curl_slist *headers = NULL;

	append_header(&headers, "Content-Type", request->content_type);
	append_header(&headers, "Expect", NULL);
	append_header(&headers, "Accept", "*/*");
	append_header(&headers, "Cache-Control", "no-cache");
	if (request->signature)
		append_header(&headers, "Mdm-Signature", request->signature);
	return headers;
}

static void set_common(const sim_http *http, GByteArray *body, char *message)
{
	CURL *curl = http->curl;

	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)TOTAL_MS);
	curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "");
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "MDM/1.0");
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
}

static CURLcode read_result(CURLM *multi)
{
	int n;
	const CURLMsg *message = curl_multi_info_read(multi, &n);

	return message ? message->data.result : CURLE_ABORTED_BY_CALLBACK;
}

/* Runs the request to its end, or until it is time to stop. */
static CURLcode perform(const sim_http *http)
{
	CURLMcode code = curl_multi_add_handle(http->multi, http->curl);
	CURLcode result;
	int running = 1;

	while (code == CURLM_OK && running && !sim_stopped(http->stop)) {
		code = curl_multi_perform(http->multi, &running);
		if (code == CURLM_OK && running)
			code = curl_multi_poll(http->multi, NULL, 0, TICK_MS, NULL);
	}
	result = code == CURLM_OK ? read_result(http->multi) : CURLE_FAILED_INIT;
	curl_multi_remove_handle(http->multi, http->curl);
	return result;
}

static void read_reply(CURL *curl, GByteArray *body, struct sim_reply *ret)
{
	const char *type = NULL;
	long status = 0;

	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
	sim_reply_clear(ret);
	ret->status = (int)status;
	ret->content_type = g_strdup(type);
	ret->body = g_bytes_new(body->data, body->len);
}

bool sim_http_send(sim_http *http, const struct sim_request *request, struct sim_reply *ret, GError **error)
{
	g_autoptr(GByteArray) body = g_byte_array_new();
	struct curl_slist *headers = make_headers(request);
	char message[CURL_ERROR_SIZE] = "";
	struct upload upload;
	CURLcode code;

	curl_easy_reset(http->curl);
	set_common(http, body, message);
	set_tls(http, request);
	if (request->user_agent)
		curl_easy_setopt(http->curl, CURLOPT_USERAGENT, request->user_agent);
	curl_easy_setopt(http->curl, CURLOPT_URL, request->url);
	curl_easy_setopt(http->curl, CURLOPT_HTTPHEADER, headers);
	set_body(http, request, &upload);
	curl_easy_setopt(http->curl, CURLOPT_CUSTOMREQUEST, request->method);
	code = perform(http);
	curl_slist_free_all(headers);
	if (code != CURLE_OK)
		return pom_fail(error, POM_ERR_UNREACHABLE, "%s %s: %s", request->method, request->url, *message ? message : curl_easy_strerror(code));
	read_reply(http->curl, body, ret);
	return true;
}
