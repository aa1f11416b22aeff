/* Many devices that wake at nearly the same time, as after a push to all of them: each opens a TLS connection of its own, asks, carries one command out, says so, is told that there is no more, and hangs up.
 *
 * Devices do not wait for one another, so a server that falls behind is seen in the times: they run from the moment a device was due to the end of its last answer. Nothing here dies of a failure: they are counted. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

enum { WAKERS = 2, WAKE_S = 10, PATIENCE_S = 60, PER_ADDRESS = 400, ADDRESS_FIRST = 64, CHUNK = 8192 };

enum outcome { OUTCOME_DONE, OUTCOME_CONNECT, OUTCOME_CLOSED, OUTCOME_BUSY, OUTCOME_OTHER, OUTCOME_LATE, OUTCOME_MAX };
static const char *const outcome_names[OUTCOME_MAX] = {
	[OUTCOME_CONNECT] = "of them: no connection", [OUTCOME_CLOSED] = "of them: connection closed by the server", [OUTCOME_BUSY] = "of them: 503, come again", [OUTCOME_OTHER] = "of them: another answer",
	[OUTCOME_LATE] = "of them: not done after 70 s",
};

struct waking {
	int fd;
	SSL *ssl;
	double due_s, took_s;
	enum outcome outcome;
	unsigned step;        /* requests that were answered */
	GBytes *request;      /* what is being sent, then what was */
	size_t sent;
	GByteArray *in;
	bool is_over;
};

struct waker {
	struct fleet *fleet;
	SSL_CTX *tls;
	GBytes **reports;
	struct waking *all;
	size_t first, n, n_over;
	double start_s;
	int epoll;
};

static void end(struct waker *w, struct waking *d, enum outcome outcome)
{
	d->took_s = bench_now_s() - d->due_s;
	d->outcome = outcome;
	d->is_over = true;
	w->n_over++;
	SSL_free(d->ssl);
	d->ssl = NULL;
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
	g_clear_pointer(&d->in, g_byte_array_unref);
}

static void begin(struct waker *w, size_t i)
{
	struct waking *d = &w->all[i];
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + ADDRESS_FIRST + (unsigned)i / PER_ADDRESS)};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(w->fleet->world->device_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u64 = i};
	int one = 1;

	d->in = g_byte_array_new();
	d->request = w->fleet->devices[i].idle;
	d->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (d->fd < 0 || bind(d->fd, (struct sockaddr *)&from, sizeof(from)) || (connect(d->fd, (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS)) {
		end(w, d, OUTCOME_CONNECT);
		return;
	}
	d->ssl = SSL_new(w->tls);
	SSL_set_fd(d->ssl, d->fd);
	SSL_set_connect_state(d->ssl);
	epoll_ctl(w->epoll, EPOLL_CTL_ADD, d->fd, &event);
}

/* Whether a whole reply has come; *RET_STATUS, *RET_LEN of its body. */
static bool take_reply(struct waking *d, int *ret_status, size_t *ret_len)
{
	const char *data = (const char *)d->in->data, *head = d->in->len ? memmem(data, d->in->len, "\r\n\r\n", 4) : NULL, *length;

	if (!head)
		return false;
	*ret_status = (int)g_ascii_strtoull(data + strlen("HTTP/1.1 "), NULL, 10);
	length = memmem(data, (size_t)(head - data), "Content-Length: ", 16);
	*ret_len = length ? (size_t)g_ascii_strtoull(length + 16, NULL, 10) : 0;
	if (d->in->len < (size_t)(head + 4 - data) + *ret_len)
		return false;
	g_byte_array_set_size(d->in, 0);
	return true;
}

/* The next step after a reply with LEN bytes of body: first the command, then nothing. */
static void answered(struct waker *w, size_t i, int status, size_t len)
{
	struct waking *d = &w->all[i];

	d->step++;
	if (status == 200 && d->step == 1 && len) {
		d->request = w->reports[i];
		d->sent = 0;
	} else {
		end(w, d, status == 503 ? OUTCOME_BUSY : status == 200 && d->step == 2 && !len ? OUTCOME_DONE : OUTCOME_OTHER);
	}
}

/* As far as it goes without waiting; false when the connection is lost. */
static bool work(struct waker *w, size_t i)
{
	struct waking *d = &w->all[i];
	uint8_t chunk[CHUNK];
	bool moved = true;
	size_t n, len;
	int status;

	while (moved && !d->is_over) {
		const char *request = g_bytes_get_data(d->request, &len);
		int code = 1;

		moved = false;
		/* What another connection of this thread has left would be taken for a failure of this one. */
		ERR_clear_error();
		if (d->sent < len && (code = SSL_write_ex(d->ssl, request + d->sent, len - d->sent, &n)) == 1) {
			d->sent += n;
			moved = true;
		} else if (d->sent == len && (code = SSL_read_ex(d->ssl, chunk, sizeof(chunk), &n)) == 1) {
			g_byte_array_append(d->in, chunk, (guint)n);
			moved = true;
		}
		if (code != 1 && SSL_get_error(d->ssl, code) != SSL_ERROR_WANT_READ && SSL_get_error(d->ssl, code) != SSL_ERROR_WANT_WRITE)
			return false;
		if (take_reply(d, &status, &n))
			answered(w, i, status, n);
	}
	return true;
}

static void *waker_main(void *data)
{
	struct waker *w = data;
	size_t next = w->first;
	double until = w->start_s + WAKE_S + PATIENCE_S;

	while (w->n_over < w->n && bench_now_s() < until) {
		struct epoll_event events[128];
		int n;

		for (double now = bench_now_s(); next < w->first + w->n && w->all[next].due_s <= now; next++)
			begin(w, next);
		n = epoll_wait(w->epoll, events, G_N_ELEMENTS(events), 1);
		for (int k = 0; k < n; k++) {
			struct waking *d = &w->all[events[k].data.u64];

			if (!d->is_over && !work(w, events[k].data.u64))
				end(w, d, OUTCOME_CLOSED);
		}
	}
	for (size_t i = w->first; i < w->first + w->n; i++)
		if (!w->all[i].is_over)
			end(w, &w->all[i], OUTCOME_LATE);
	return NULL;
}

/* ---- commands and reports, made before ---- */

struct preparing { struct fleet *fleet; GBytes **sends, **reports; size_t next; };

static void build_pair(void *ctx, size_t i)
{
	struct preparing *p = ctx;
	const struct device *device = &p->fleet->devices[i];
	g_autofree char *path = g_strdup_printf("/api/v1/devices/%s/commands", device->udid), *command = NULL, *report = NULL;

	command = g_strdup_printf("<plist version=\"1.0\"><dict><key>CommandUUID</key><string>WAKE-%08zu</string><key>Command</key><dict><key>RequestType</key><string>DeviceInformation</string>"
	                          "<key>Queries</key><array><string>OSVersion</string></array></dict></dict></plist>", i);
	report = g_strdup_printf("<plist version=\"1.0\"><dict><key>UDID</key><string>%s</string><key>Status</key><string>Acknowledged</string><key>CommandUUID</key><string>WAKE-%08zu</string>"
	                         "<key>QueryResponses</key><dict><key>OSVersion</key><string>18.2.1</string></dict></dict></plist>", device->udid, i);
	p->sends[i] = fleet_api_request(p->fleet, "POST", path, "application/xml", command);
	p->reports[i] = fleet_request(p->fleet, device, false, report);
}

static void send_next(struct preparing *p, struct client *client, unsigned connection)
{
	gsize len;
	const void *data;

	if (p->next == p->fleet->n)
		return;
	data = g_bytes_get_data(p->sends[p->next++], &len);
	client_send(client, connection, data, len);
}

static void on_sent(void *ctx, struct client *client, const struct client_reply *reply)
{
	if (reply->status != 201)
		bench_die("a command was answered %d: %.*s", reply->status, (int)MIN(reply->len, 300), reply->body);
	send_next(ctx, client, reply->connection);
}

static void queue_all(struct preparing *p)
{
	enum { SENDERS = 16 };
	struct client *client = client_new(on_sent, p);

	bench_parallel(p->fleet->n, build_pair, p);
	client_open(client, p->fleet->world->admin_port, false, SENDERS);
	for (unsigned i = 0; i < SENDERS; i++)
		send_next(p, client, i);
	client_run(client, PATIENCE_S);
	client_free(client);
}

/* ---- figures ---- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void report(const struct waking *all, size_t n)
{
	g_autofree double *times = g_new(double, n + 1);
	size_t ok = 0, counts[OUTCOME_MAX] = {0};

	for (size_t i = 0; i < n; i++) {
		counts[all[i].outcome]++;
		if (all[i].outcome == OUTCOME_DONE)
			times[ok++] = all[i].took_s * 1000;
	}
	qsort(times, ok, sizeof(*times), compare);
	report_add((struct figure){"10,000 devices wake in 10 s: failed", "", (double)(n - ok)});
	for (int o = OUTCOME_CONNECT; o < OUTCOME_MAX; o++)
		if (counts[o])
			report_add((struct figure){outcome_names[o], "", (double)counts[o]});
	if (!ok)
		return;
	report_add((struct figure){"the same: TLS, Idle, command, answer; median", "ms", times[ok / 2]});
	report_add((struct figure){"the same, p99", "ms", times[ok * 99 / 100]});
	report_add((struct figure){"the same, longest", "ms", times[ok - 1]});
}

void measure_wake(struct fleet *fleet)
{
	struct preparing p = {fleet, g_new0(GBytes *, fleet->n), g_new0(GBytes *, fleet->n), 0};
	struct waking *all = g_new0(struct waking, fleet->n);
	struct waker wakers[WAKERS];
	GThread *threads[WAKERS];
	double start_s, cpu;

	queue_all(&p);
	start_s = bench_now_s() + 0.2;
	for (size_t i = 0; i < fleet->n; i++)
		all[i] = (struct waking){.fd = -1, .due_s = start_s + (double)(i % (fleet->n / WAKERS)) * WAKE_S / (double)(fleet->n / WAKERS)};
	cpu = world_cpu_s(fleet->world);
	for (unsigned k = 0; k < WAKERS; k++) {
		wakers[k] = (struct waker){fleet, SSL_CTX_new(TLS_client_method()), p.reports, all, k * (fleet->n / WAKERS), fleet->n / WAKERS, 0, start_s, epoll_create1(EPOLL_CLOEXEC)};
		threads[k] = g_thread_new("waker", waker_main, &wakers[k]);
	}
	for (unsigned k = 0; k < WAKERS; k++) {
		g_thread_join(threads[k]);
		SSL_CTX_free(wakers[k].tls);
		close(wakers[k].epoll);
	}
	report_add((struct figure){"the same, CPU of the server for each device", "ms", (world_cpu_s(fleet->world) - cpu) * 1000 / (double)fleet->n});
	report(all, fleet->n / WAKERS * WAKERS);
	for (size_t i = 0; i < fleet->n; i++) {
		g_bytes_unref(p.sends[i]);
		g_bytes_unref(p.reports[i]);
	}
	g_free(p.sends);
	g_free(p.reports);
	g_free(all);
}
