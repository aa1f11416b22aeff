/* A fake APNs: HTTP/2 over TLS on one port, and a wake port where simulated devices wait for the push that names them.
 *
 * One thread and one poll loop. Answers come after delay_ms, in order, from a queue. A device says "TOKEN-HEX\n" on the wake port
 * and is sent one line "push MAGIC\n" for each push to its token. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/face.h"
#include "sim/sim.h"
#include "sim/sim_cert.h"

enum { CONNECTIONS_MAX = 1024, STREAMS_MAX = 1000, LINE_MAX_BYTES = 8192, TICK_MS = 200 };

struct answer {
	int32_t stream;
	int64_t due_ms;
	int status;
	char reason[40];
	int64_t at_ms;
	char body[128];
	char id[40];
	size_t sent;
};

struct request {
	char token[512];
	char topic[256];
	char body[4200];
	char id[40];          /* apns-id of the request; "": none */
	size_t body_len;
	bool is_post, is_mdm;
};

struct pair {
	struct apns_sim *sim;
	struct connection *c;
};

struct connection {
	int fd;
	struct pair pair; /* what the HTTP/2 callbacks get */
	bool is_wake;
	SSL *ssl;
	nghttp2_session *session;
	GHashTable *requests; /* stream → struct request */
	GQueue answers;       /* struct answer, by due time */
	bool want_write, shaken, dead;
	const uint8_t *unsent;
	size_t unsent_len;
	char line[LINE_MAX_BYTES];
	size_t line_len;
	char *token;          /* of a waiting device */
	int64_t opened_ms;
	unsigned retry_after_s;
	unsigned n_changes;   /* of its SETTINGS, so far */
	bool leaving;         /* it has said GOAWAY */
};

struct apns_sim {
	const struct sim_apns_options *options;
	SSL_CTX *tls;
	int push_fd, wake_fd;
	char *topic;
	GPtrArray *connections;
	GRand *chance;
	FILE *log;
	uint64_t n_pushes;
};

static int64_t now_ms(void)
{
	return pom_clock_now_ms(pom_clock_system());
}

static void say(const struct apns_sim *sim, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void say(const struct apns_sim *sim, const char *format, ...)
{
	va_list args;

	if (sim->options->quiet)
		return;
	va_start(args, format);
	fputs("simulated APNs: ", stdout);
	vprintf(format, args);
	putchar('\n');
	fflush(stdout);
	va_end(args);
}

/* ---- answers ---- */

static const struct {
	const char *reason;
	int status;
} statuses[] = {
	{"BadCollapseId", 400}, {"BadDeviceToken", 400}, {"BadExpirationDate", 400}, {"BadMessageId", 400}, {"BadPriority", 400}, {"BadTopic", 400}, {"DeviceTokenNotForTopic", 400},
	{"DuplicateHeaders", 400}, {"IdleTimeout", 400}, {"InvalidPushType", 400}, {"MissingDeviceToken", 400}, {"MissingTopic", 400}, {"PayloadEmpty", 400}, {"TopicDisallowed", 400},
	{"BadCertificate", 403}, {"BadCertificateEnvironment", 403}, {"ExpiredProviderToken", 403}, {"Forbidden", 403}, {"InvalidProviderToken", 403}, {"MissingProviderToken", 403},
	{"BadPath", 404}, {"MethodNotAllowed", 405}, {"ExpiredToken", 410}, {"Unregistered", 410}, {"PayloadTooLarge", 413}, {"TooManyProviderTokenUpdates", 429}, {"TooManyRequests", 429},
	{"InternalServerError", 500}, {"ServiceUnavailable", 503}, {"Shutdown", 503},
};

bool sim_apns_has_reason(const char *reason)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(statuses); i++)
		if (!strcmp(statuses[i].reason, reason))
			return true;
	return false;
}

static int status_of(const char *reason)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(statuses); i++)
		if (!strcmp(statuses[i].reason, reason))
			return statuses[i].status;
	return 400;
}

static const char *judge_length(const struct request *request)
{
	if (!request->body_len)
		return "PayloadEmpty";
	return request->body_len > 4096 ? "PayloadTooLarge" : NULL;
}

/* What APNs would find wrong with the request; NULL: nothing. */
static const char *judge(const struct apns_sim *sim, const struct request *request)
{
	if (!request->is_post)
		return "MethodNotAllowed";
	if (!*request->token)
		return "BadPath";
	for (const struct sim_apns_failure *f = sim->options->failures; f && f->token; f++)
		if (!strcmp(f->token, "*") || !g_ascii_strcasecmp(f->token, request->token))
			return f->reason;
	if (!*request->topic)
		return "MissingTopic";
	if (strcmp(request->topic, sim->topic))
		return "TopicDisallowed";
	if (!request->is_mdm)
		return "InvalidPushType";
	return judge_length(request);
}

/* Tells the devices that wait with this token. */
static unsigned wake(struct apns_sim *sim, const struct request *request)
{
	unsigned n = 0;

	for (guint i = 0; i < sim->connections->len; i++) {
		struct connection *c = g_ptr_array_index(sim->connections, i);
		g_autofree char *line = NULL;

		if (!c->is_wake || !c->token || g_ascii_strcasecmp(c->token, request->token))
			continue;
		line = g_strdup_printf("push %.*s\n", (int)request->body_len, request->body);
		if (send(c->fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			c->dead = true;
		n++;
	}
	return n;
}

static bool happens(const struct apns_sim *sim, unsigned percent)
{
	return percent && g_rand_int_range(sim->chance, 0, 100) < (gint32)percent;
}

/* What a bad day of APNs does with the push instead of answering it; true when it did. */
static bool misbehave(struct apns_sim *sim, struct connection *c, int32_t stream)
{
	if (happens(sim, sim->options->abort_percent)) {
		c->dead = true;
		return true;
	}
	if (happens(sim, sim->options->reset_percent)) {
		nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_REFUSED_STREAM);
		return true;
	}
	if (!c->leaving && happens(sim, sim->options->goaway_percent)) {
		static const char shutdown[] = "{\"reason\":\"Shutdown\"}";

		c->leaving = true;
		nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_NO_ERROR, (const uint8_t *)shutdown, sizeof(shutdown) - 1);
	}
	return false;
}

static void finish_request(struct apns_sim *sim, struct connection *c, int32_t stream, const struct request *request)
{
	struct answer *answer;
	const char *reason = judge(sim, request);

	if (misbehave(sim, c, stream))
		return;
	answer = g_new0(struct answer, 1);
	sim->n_pushes++;
	g_strlcpy(answer->id, request->id, sizeof(answer->id));
	if (sim->log)
		fprintf(sim->log, "%s %d\n", request->token, reason ? status_of(reason) : 200);
	answer->stream = stream;
	answer->due_ms = now_ms() + sim->options->delay_ms;
	answer->status = reason ? status_of(reason) : 200;
	answer->at_ms = now_ms();
	g_strlcpy(answer->reason, reason ? reason : "", sizeof(answer->reason));
	if (reason) {
		say(sim, "push for token %.16s… refused: %s", request->token, reason);
	} else {
		unsigned n = wake(sim, request);

		say(sim, "push for token %.16s… %s", request->token, n ? "wakes its simulated device" : "accepted, nobody waits");
	}
	g_queue_push_tail(&c->answers, answer);
}

static ssize_t read_answer(nghttp2_session *session, int32_t stream, uint8_t *buf, size_t len, uint32_t *flags, nghttp2_data_source *source, void *data)
{
	g_autofree struct answer *answer = source->ptr;
	size_t n = MIN(len, strlen(answer->body));

	memcpy(buf, answer->body, n);
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

/* Takes ANSWER over. */
static void send_answer(struct connection *c, struct answer *answer)
{
	char status[8], seconds[12];
	g_autofree char *id = *answer->id ? g_strdup(answer->id) : g_uuid_string_random();
	nghttp2_nv headers[3];
	size_t n = 2;
	nghttp2_data_provider body = {.source.ptr = answer, .read_callback = read_answer};

	g_snprintf(status, sizeof(status), "%d", answer->status);
	headers[0] = (nghttp2_nv){(uint8_t *)(uintptr_t)":status", (uint8_t *)status, 7, strlen(status), 0};
	headers[1] = (nghttp2_nv){(uint8_t *)(uintptr_t)"apns-id", (uint8_t *)id, 7, strlen(id), 0};
	if (c->retry_after_s && (answer->status == 429 || answer->status >= 500)) {
		g_snprintf(seconds, sizeof(seconds), "%u", c->retry_after_s);
		headers[n++] = (nghttp2_nv){(uint8_t *)(uintptr_t)"retry-after", (uint8_t *)seconds, 11, strlen(seconds), 0};
	}
	if (answer->status == 200) {
		nghttp2_submit_response(c->session, answer->stream, headers, n, NULL);
		g_free(answer);
		return;
	}
	if (answer->status == 410)
		g_snprintf(answer->body, sizeof(answer->body), "{\"reason\":\"%s\",\"timestamp\":%" G_GINT64_FORMAT "}", answer->reason, answer->at_ms);
	else
		g_snprintf(answer->body, sizeof(answer->body), "{\"reason\":\"%s\"}", answer->reason);
	if (nghttp2_submit_response(c->session, answer->stream, headers, n, &body) != 0)
		g_free(answer);
}

static void send_due(struct connection *c, int64_t at_ms)
{
	struct answer *answer;

	while ((answer = g_queue_peek_head(&c->answers)) && answer->due_ms <= at_ms)
		send_answer(c, g_queue_pop_head(&c->answers));
}

/* ---- HTTP/2 callbacks ---- */

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	const struct pair *pair = data;

	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		g_hash_table_insert(pair->c->requests, GINT_TO_POINTER(frame->hd.stream_id), g_new0(struct request, 1));
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *data)
{
	const struct pair *pair = data;
	struct request *request = g_hash_table_lookup(pair->c->requests, GINT_TO_POINTER(frame->hd.stream_id));
	const char *v = (const char *)value, *n = (const char *)name;

	if (!request)
		return 0;
	if (!strcmp(n, ":method"))
		request->is_post = !strcmp(v, "POST");
	else if (!strcmp(n, ":path") && g_str_has_prefix(v, "/3/device/"))
		g_strlcpy(request->token, v + strlen("/3/device/"), sizeof(request->token));
	else if (!strcmp(n, "apns-topic"))
		g_strlcpy(request->topic, v, sizeof(request->topic));
	else if (!strcmp(n, "apns-push-type"))
		request->is_mdm = !strcmp(v, "mdm");
	else if (!strcmp(n, "apns-id"))
		g_strlcpy(request->id, v, sizeof(request->id));
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes, size_t len, void *data)
{
	const struct pair *pair = data;
	struct request *request = g_hash_table_lookup(pair->c->requests, GINT_TO_POINTER(stream));

	if (!request)
		return 0;
	len = MIN(len, sizeof(request->body) - request->body_len);
	memcpy(request->body + request->body_len, bytes, len);
	request->body_len += len;
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	const struct pair *pair = data;
	struct request *request;

	if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	request = g_hash_table_lookup(pair->c->requests, GINT_TO_POINTER(frame->hd.stream_id));
	if (request)
		finish_request(pair->sim, pair->c, frame->hd.stream_id, request);
	g_hash_table_remove(pair->c->requests, GINT_TO_POINTER(frame->hd.stream_id));
	return 0;
}

static void open_session(struct apns_sim *sim, struct connection *c)
{
	nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, sim->options->streams ? sim->options->streams : STREAMS_MAX}};
	nghttp2_session_callbacks *callbacks;

	c->pair = (struct pair){sim, c};
	nghttp2_session_callbacks_new(&callbacks);
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_server_new(&c->session, callbacks, &c->pair);
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, G_N_ELEMENTS(settings));
}

/* ---- connections ---- */

static void connection_free(void *data)
{
	struct connection *c = data;
	struct answer *answer;

	if (c->session)
		nghttp2_session_del(c->session);
	SSL_free(c->ssl);
	close(c->fd);
	while ((answer = g_queue_pop_head(&c->answers)))
		g_free(answer);
	if (c->requests)
		g_hash_table_unref(c->requests);
	g_free(c->token);
	g_free(c);
}

static void accept_one(struct apns_sim *sim, int listen_fd)
{
	struct connection *c;
	int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;

	if (fd < 0)
		return;
	if (sim->connections->len >= CONNECTIONS_MAX) {
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c = g_new0(struct connection, 1);
	c->fd = fd;
	c->is_wake = listen_fd == sim->wake_fd;
	c->opened_ms = now_ms();
	c->retry_after_s = sim->options->retry_after_s;
	g_queue_init(&c->answers);
	if (!c->is_wake) {
		c->ssl = SSL_new(sim->tls);
		SSL_set_fd(c->ssl, fd);
		SSL_set_accept_state(c->ssl);
		c->requests = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	}
	g_ptr_array_add(sim->connections, c);
}

/* What a TLS call came to: true when it has to wait. */
static bool waits(struct connection *c, int n)
{
	int code = SSL_get_error(c->ssl, n);

	c->want_write = code == SSL_ERROR_WANT_WRITE;
	if (code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE)
		return true;
	ERR_clear_error();
	c->dead = true;
	return true;
}

static void read_push(const struct apns_sim *sim, struct connection *c)
{
	uint8_t buf[16384];
	int n;

	while (!c->dead && (n = SSL_read(c->ssl, buf, sizeof(buf))) > 0)
		if (!sim->options->silent && nghttp2_session_mem_recv(c->session, buf, (size_t)n) < 0)
			c->dead = true;
	if (!c->dead)
		waits(c, n);
}

static void write_push(struct connection *c)
{
	while (!c->dead) {
		int n;

		if (!c->unsent_len) {
			ssize_t len = nghttp2_session_mem_send(c->session, &c->unsent);

			if (len <= 0)
				return;
			c->unsent_len = (size_t)len;
		}
		n = SSL_write(c->ssl, c->unsent, (int)c->unsent_len);
		if (n <= 0) {
			waits(c, n);
			return;
		}
		c->unsent += n;
		c->unsent_len -= (size_t)n;
	}
}

/* Tells the connection what its SETTINGS are from now on. */
static void change_settings(const struct apns_sim *sim, struct connection *c)
{
	const struct sim_apns_change *changes = sim->options->changes;

	while (changes && changes[c->n_changes].after_ms && now_ms() - c->opened_ms >= changes[c->n_changes].after_ms) {
		nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, changes[c->n_changes++].streams};

		nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, &entry, 1);
		say(sim, "a connection may have %u requests from now on", entry.value);
	}
}

static void run_push(struct apns_sim *sim, struct connection *c)
{
	if (sim->options->hang)
		return;
	if (!c->shaken) {
		int n = SSL_do_handshake(c->ssl);

		if (n != 1) {
			waits(c, n);
			return;
		}
		c->shaken = true;
		open_session(sim, c);
	}
	read_push(sim, c);
	if (c->dead)
		return;
	change_settings(sim, c);
	send_due(c, now_ms());
	write_push(c);
	if (!nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session))
		c->dead = true;
}

/* A device says its token, one line. */
static void run_wake(struct apns_sim *sim, struct connection *c)
{
	ssize_t n = recv(c->fd, c->line + c->line_len, sizeof(c->line) - 1 - c->line_len, 0);
	char *end;

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		c->dead = true;
		return;
	}
	if (n < 0)
		return;
	c->line_len += (size_t)n;
	c->line[c->line_len] = '\0';
	end = strchr(c->line, '\n');
	if (end) {
		*end = '\0';
		g_free(c->token);
		c->token = g_ascii_strdown(g_strstrip(c->line), -1);
		c->line_len = 0;
		say(sim, "a simulated device waits for pushes to token %.16s…", c->token);
	} else if (c->line_len == sizeof(c->line) - 1) {
		c->dead = true;
	}
}

/* ---- set-up ---- */

static int open_listener(const char *address, uint16_t *ret_port, GError **error)
{
	const char *colon = strrchr(address, ':');
	g_autofree char *host = colon ? g_strndup(address, (gsize)(colon - address)) : NULL;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_PASSIVE}, *found = NULL;
	struct sockaddr_in6 bound;
	socklen_t len = sizeof(bound);
	int fd = -1, one = 1;

	if (!colon || getaddrinfo(host, colon + 1, &hints, &found)) {
		pom_fail(error, POM_ERR_USAGE, "\"%s\" is not ADDRESS:PORT", address);
		return -1;
	}
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, 256) < 0) {
		pom_fail(error, POM_ERR_IO, "%s cannot be listened on: %s", address, g_strerror(errno));
		close(fd);
		fd = -1;
	} else {
		getsockname(fd, (struct sockaddr *)&bound, &len);
		/* The port stands in the same place in both families. */
		*ret_port = ntohs(bound.sin6_port);
	}
	freeaddrinfo(found);
	return fd;
}

static int select_h2(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned in_len, void *data)
{
	return nghttp2_select_next_protocol((unsigned char **)(uintptr_t)out, out_len, in, in_len) == 1 ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* The push certificate is judged by its topic, not by its chain: any is let through the handshake. */
static int accept_any(int ok, X509_STORE_CTX *ctx)
{
	return 1;
}

static bool write_pem(const char *dir, const char *name, X509 *cert, EVP_PKEY *key, GError **error)
{
	g_autofree char *path = g_build_filename(dir, name, NULL), *cert_pem = sim_cert_pem(cert), *key_pem = key ? sim_key_pem(key) : g_strdup("");
	g_autofree char *text = g_strconcat(cert_pem, key_pem, NULL);

	return sim_write_file(path, text, strlen(text), 0600, error);
}

/* The topic of a push.pem made before, so that enrolled devices stay valid; transfer full. */
static char *find_topic(const char *dir)
{
	g_autofree char *path = g_build_filename(dir, "push.pem", NULL), *text = NULL;
	g_autoptr(BIO) bio = NULL;
	g_autoptr(X509) cert = NULL;
	char topic[256];
	gsize len;

	if (!g_file_get_contents(path, &text, &len, NULL))
		return NULL;
	bio = BIO_new_mem_buf(text, (int)len);
	cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	if (!cert || X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_userId, topic, sizeof(topic)) <= 0)
		return NULL;
	return g_strdup(topic);
}

static bool make_certificates(struct apns_sim *sim, GError **error)
{
	const char *dir = sim->options->dir;
	g_autoptr(EVP_PKEY) root_key = sim_key_new(), key = sim_key_new(), push_key = sim_key_new();
	g_autoptr(X509) root = sim_cert_new(root_key, "Simulated APNs root", NULL, NULL, NULL, NULL, 397);
	g_autoptr(X509) leaf = sim_cert_new(key, "Simulated APNs", NULL, "127.0.0.1", root, root_key, 397);
	g_autofree char *uuid = g_uuid_string_random(), *own = g_build_filename(dir, "server.pem", NULL);

	sim->topic = find_topic(dir);
	/* Started again, it is the same APNs to those who trust it. */
	if (!g_file_test(own, G_FILE_TEST_EXISTS) && (!write_pem(dir, "root.pem", root, NULL, error) || !write_pem(dir, "server.pem", leaf, key, error)))
		return false;
	if (!sim->topic) {
		sim->topic = g_strconcat("com.apple.mgmt.External.", uuid, NULL);
		g_autoptr(X509) push = sim_cert_new(push_key, "Simulated push certificate", sim->topic, NULL, root, root_key, 365);
		if (!write_pem(dir, "push.pem", push, push_key, error))
			return false;
	}
	sim->tls = SSL_CTX_new(TLS_server_method());
	SSL_CTX_set_min_proto_version(sim->tls, TLS1_2_VERSION);
	SSL_CTX_set_alpn_select_cb(sim->tls, select_h2, NULL);
	SSL_CTX_set_verify(sim->tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, accept_any);
	SSL_CTX_set_mode(sim->tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (SSL_CTX_use_certificate_file(sim->tls, own, SSL_FILETYPE_PEM) == 1 && SSL_CTX_use_PrivateKey_file(sim->tls, own, SSL_FILETYPE_PEM) == 1)
		return true;
	return pom_fail(error, POM_ERR_KEY, "the simulated APNs cannot use its own certificate");
}

static bool announce(struct apns_sim *sim, uint16_t port, uint16_t wake_port, GError **error)
{
	g_autofree char *path = g_build_filename(sim->options->dir, "apns.json", NULL);
	g_autofree char *text = g_strdup_printf("{\"port\": %u, \"wake_port\": %u, \"topic\": \"%s\", \"pid\": %d}\n", port, wake_port, sim->topic, (int)getpid());

	say(sim, "listening on port %u, devices wait on port %u", port, wake_port);
	return sim_write_file(path, text, strlen(text), 0644, error);
}

/* ---- the loop ---- */

static int next_timeout(const struct apns_sim *sim)
{
	int64_t at_ms = now_ms(), wait = TICK_MS;

	for (guint i = 0; i < sim->connections->len; i++) {
		const struct connection *c = g_ptr_array_index(sim->connections, i);
		const struct answer *answer = g_queue_peek_head((GQueue *)&c->answers);

		if (answer)
			wait = MIN(wait, answer->due_ms - at_ms);
	}
	return (int)MAX(wait, 0);
}

static void run_once(struct apns_sim *sim)
{
	guint n = sim->connections->len;
	g_autofree struct pollfd *fds = g_new0(struct pollfd, n + 2);

	fds[0] = (struct pollfd){sim->push_fd, POLLIN, 0};
	fds[1] = (struct pollfd){sim->wake_fd, POLLIN, 0};
	for (guint i = 0; i < n; i++) {
		const struct connection *c = g_ptr_array_index(sim->connections, i);

		fds[i + 2] = (struct pollfd){!c->is_wake && sim->options->hang ? -1 : c->fd, (short)(POLLIN | (c->want_write ? POLLOUT : 0)), 0};
	}
	if (sim->log)
		fflush(sim->log);
	poll(fds, n + 2, next_timeout(sim));
	for (int i = 0; i < 2; i++)
		if (fds[i].revents)
			accept_one(sim, fds[i].fd);
	for (guint i = 0; i < n; i++) {
		struct connection *c = g_ptr_array_index(sim->connections, i);

		if (c->is_wake && fds[i + 2].revents)
			run_wake(sim, c);
		else if (!c->is_wake && (fds[i + 2].revents || !g_queue_is_empty(&c->answers) || (c->session && sim->options->changes)))
			run_push(sim, c);
	}
	for (guint i = sim->connections->len; i-- > 0;)
		if (((struct connection *)g_ptr_array_index(sim->connections, i))->dead)
			g_ptr_array_remove_index_fast(sim->connections, i);
}

bool sim_apns_run(const struct sim_apns_options *options, GError **error)
{
	struct apns_sim sim = {.options = options, .push_fd = -1, .wake_fd = -1};
	uint16_t port = 0, wake_port = 0;
	bool ok;

	sim.connections = g_ptr_array_new_with_free_func(connection_free);
	sim.chance = g_rand_new_with_seed(options->seed);
	sim.log = options->log ? fopen(options->log, "ae") : NULL;
	if (options->log && !sim.log)
		ok = pom_fail(error, POM_ERR_IO, "%s cannot be written: %s", options->log, g_strerror(errno));
	else if (mkdir(options->dir, 0700) < 0 && errno != EEXIST)
		ok = pom_fail(error, POM_ERR_IO, "%s cannot be made: %s", options->dir, g_strerror(errno));
	else
		ok = (sim.push_fd = open_listener(options->listen, &port, error)) >= 0 && (sim.wake_fd = open_listener(options->wake_listen, &wake_port, error)) >= 0 &&
		     make_certificates(&sim, error) && announce(&sim, port, wake_port, error);
	while (ok && !__atomic_load_n(options->stop, __ATOMIC_SEQ_CST))
		run_once(&sim);
	if (ok)
		say(&sim, "ended after %" G_GUINT64_FORMAT " pushes", sim.n_pushes);
	g_ptr_array_unref(sim.connections);
	g_rand_free(sim.chance);
	if (sim.log)
		fclose(sim.log);
	SSL_CTX_free(sim.tls);
	if (sim.push_fd >= 0)
		close(sim.push_fd);
	if (sim.wake_fd >= 0)
		close(sim.wake_fd);
	g_free(sim.topic);
	return ok;
}
