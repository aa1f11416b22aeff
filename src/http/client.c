#include "http/client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"

enum { TIMEOUT_DEFAULT_MS = 60000, RESPONSE_DEFAULT = 64 << 20, REDIRECTS_MAX = 5 };

G_DEFINE_AUTOPTR_CLEANUP_FUNC(CURL, curl_easy_cleanup)
typedef struct curl_slist curl_list;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(curl_list, curl_slist_free_all)

static void init_curl(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* Anything but SIZE * N makes libcurl end the call with CURLE_WRITE_ERROR. */
static size_t on_data(char *data, size_t size, size_t n, void *ctx)
{
	return pom_buf_append(ctx, data, size * n) ? size * n : 0;
}

static void set_method(CURL *curl, const struct http_client_call *call)
{
	const char *method = call->method ? call->method : "GET";

	if (call->body) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_len);
	}
	curl_easy_setopt(curl, CURLOPT_NOBODY, (long)!strcmp(method, "HEAD"));
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
}

static void set_transport(CURL *curl, const struct http_client_call *call)
{
	curl_easy_setopt(curl, CURLOPT_URL, call->url);
	curl_easy_setopt(curl, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, (long)call->follow_redirects);
	curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (call->ca_file) {
		curl_easy_setopt(curl, CURLOPT_CAINFO, call->ca_file);
		curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	}
	if (call->unix_path) {
		curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, call->unix_path);
		curl_easy_setopt(curl, CURLOPT_PROXY, "");
	}
}

static int on_progress(void *ctx, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
	return __atomic_load_n((const int *)ctx, __ATOMIC_SEQ_CST);
}

static void set_stop(CURL *curl, const int *stop)
{
	if (!stop)
		return;
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, stop);
}

/* "::ADDRESS": whatever host and port the URL has. transfer full; NULL: none. */
static curl_list *set_look(CURL *curl, const struct http_client_call *call)
{
	g_autofree char *to = call->connect_to ? g_strconcat("::", call->connect_to, NULL) : NULL;
	curl_list *list = to ? curl_slist_append(NULL, to) : NULL;

	if (list)
		curl_easy_setopt(curl, CURLOPT_CONNECT_TO, list);
	if (call->any_certificate) {
		curl_easy_setopt(curl, CURLOPT_PROXY, "");
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
		curl_easy_setopt(curl, CURLOPT_SSL_CIPHER_LIST, "ALL:@SECLEVEL=0");
	}
	return list;
}

static void set_user(CURL *curl, const struct http_client_call *call)
{
	if (!call->user || !call->password)
		return;
	curl_easy_setopt(curl, CURLOPT_USERNAME, call->user);
	curl_easy_setopt(curl, CURLOPT_PASSWORD, call->password);
	curl_easy_setopt(curl, CURLOPT_HTTPAUTH, g_ascii_strncasecmp(call->url, "https:", 6) ? CURLAUTH_NTLM : CURLAUTH_NTLM | CURLAUTH_BASIC);
}

static curl_list *make_headers(const struct http_client_call *call)
{
	curl_list *list = NULL;

	/* Without these libcurl adds a form's type to each body and waits for 100 Continue. */
	if (call->body)
		list = curl_slist_append(curl_slist_append(list, "Content-Type:"), "Expect:");
	for (unsigned i = 0; call->headers && call->headers[i]; i++)
		list = curl_slist_append(list, call->headers[i]);
	return list;
}

/* What went wrong at WHERE, in plain words. transfer full. */
static char *explain(CURLcode code, const struct http_client_call *call, const char *where, const char *detail)
{
	switch ((int)code) {
	case CURLE_COULDNT_RESOLVE_HOST:
		return g_strdup_printf("%s: the host name is not known. Check the name and the resolver.", where);
	case CURLE_COULDNT_CONNECT:
		/* Of a unix socket libcurl speaks as if it were a port of localhost. */
		if (call->unix_path)
			return g_strdup_printf("%s: nobody answers there.", where);
		return g_strdup_printf("%s: nobody answers there (%s). Check that the server runs and that the port is right.", where, detail);
	case CURLE_OPERATION_TIMEDOUT:
		return g_strdup_printf("%s: no answer in time (%s).", where, detail);
	case CURLE_PEER_FAILED_VERIFICATION:
		return g_strdup_printf("%s: its certificate is not trusted or is for another name (%s).", where, detail);
	case CURLE_SSL_CACERT_BADFILE:
		return g_strdup_printf("the CA file %s cannot be read or holds no certificate.", call->ca_file ? call->ca_file : "");
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
		return g_strdup_printf("%s: the connection was closed without an answer (%s).", where, detail);
	case CURLE_LOGIN_DENIED:
		return g_strdup("a user name does not belong into a URL: give user and password apart.");
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_URL_MALFORMAT:
		return g_strdup_printf("%s: not an http:// or https:// address.", where);
	default:
		return g_strdup_printf("%s: %s.", where, detail);
	}
}

static bool fail(GError **error, CURLcode code, const struct http_client_call *call, const struct pom_buf *body, const char *detail)
{
	/* A query may hold a secret, or kilobytes. */
	g_autofree char *url = g_strndup(call->url, strcspn(call->url, "?#")), *why = NULL;

	if (body->failed)
		return pom_fail(error, POM_ERR_TOO_LARGE, "%s: the answer is larger than %zu bytes", url, body->max_bytes);
	why = explain(code, call, call->unix_path ? call->unix_path : url, *detail ? detail : curl_easy_strerror(code));
	return pom_fail(error, POM_ERR_UNREACHABLE, "%s", why);
}

static void fill(CURL *curl, struct pom_buf *body, struct http_client_reply *ret)
{
	const char *type = NULL, *location = NULL;
	struct curl_header *date = NULL;
	long status = 0;
	time_t date_s = -1;

	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
	curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &location);
	if (curl_easy_header(curl, "Date", 0, CURLH_HEADER, -1, &date) == CURLHE_OK)
		date_s = curl_getdate(date->value, NULL);
	*ret = (struct http_client_reply){(int)status, pom_buf_steal(body), g_strdup(type), g_strdup(location), MAX(date_s, 0)};
}

bool http_client_run(const struct http_client_call *call, struct http_client_reply *ret, GError **error)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	g_auto(pom_buf_auto) body = {.max_bytes = call->response_max ? call->response_max : RESPONSE_DEFAULT};
	g_autoptr(curl_list) headers = make_headers(call);
	char detail[CURL_ERROR_SIZE] = "";
	CURLcode code;

	pthread_once(&once, init_curl);
	/* Freed after the handle that uses it. */
	g_autoptr(curl_list) look = NULL;
	g_autoptr(CURL) curl = curl_easy_init();
	if (!curl)
		return pom_fail(error, POM_ERR_INTERNAL, "libcurl cannot be used");
	look = set_look(curl, call);
	set_stop(curl, call->stop);
	set_transport(curl, call);
	set_method(curl, call);
	set_user(curl, call);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(call->timeout_ms ? call->timeout_ms : TIMEOUT_DEFAULT_MS));
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
	code = curl_easy_perform(curl);
	if (code != CURLE_OK)
		return fail(error, code, call, &body, detail);
	fill(curl, &body, ret);
	return true;
}

void http_client_reply_clear(struct http_client_reply *reply)
{
	g_clear_pointer(&reply->body, g_bytes_unref);
	g_clear_pointer(&reply->content_type, g_free);
	g_clear_pointer(&reply->location, g_free);
	reply->status = 0;
}
