/* Pushes without the store: the connections of src/push driven by this process, against `pomona sim apns`. */
#include <poll.h>
#include <string.h>
#include <time.h>

#include "base/face.h"
#include "bench.h"
#include "push/apns.h"

enum { PUSHES = 100000, LINE = 2000, TOKEN_LEN = 32 };

struct run { size_t n_made, n_done, n_refused; };

static void on_done(void *ctx, struct apns *apns, struct apns_push *push)
{
	struct run *run = ctx;

	run->n_done++;
	run->n_refused += push->status != 200;
	apns_push_free(push);
}

static void on_failed(void *ctx, struct apns *apns, const GError *error, const char *goaway_reason)
{
	if (error)
		bench_die("pushing: %s", error->message);
}

static struct apns_push *make_push(struct run *run)
{
	struct apns_push *push = g_new0(struct apns_push, 1);
	uint8_t token[TOKEN_LEN] = {0};
	size_t n = run->n_made++;

	memcpy(token, &n, sizeof(n));
	push->push_token = g_bytes_new(token, sizeof(token));
	push->push_magic = g_strdup_printf("00000000-0000-4000-8000-%012zX", n);
	g_snprintf(push->id, sizeof(push->id), "00000000-0000-4000-8000-%012zx", n);
	return push;
}

static SSL_CTX *new_context(const struct world *world)
{
	static const unsigned char alpn[] = {2, 'h', '2'};
	g_autofree char *push = g_build_filename(world->apns, "push.pem", NULL), *root = g_build_filename(world->apns, "root.pem", NULL);
	SSL_CTX *tls = SSL_CTX_new(TLS_client_method());

	SSL_CTX_set_alpn_protos(tls, alpn, sizeof(alpn));
	SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (SSL_CTX_use_certificate_file(tls, push, SSL_FILETYPE_PEM) != 1 || SSL_CTX_use_PrivateKey_file(tls, push, SSL_FILETYPE_PEM) != 1 || SSL_CTX_load_verify_file(tls, root) != 1)
		bench_die("%s and %s cannot be used", push, root);
	return tls;
}

static int64_t now_ms(void)
{
	return (int64_t)(bench_now_s() * 1000);
}

/* Keeps the line full until all are answered. */
static void push_all(struct apns *apns, struct run *run)
{
	g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
	struct push_pace pace = {0};

	while (run->n_done < PUSHES) {
		int64_t until = now_ms() + 1000;

		while (run->n_made < PUSHES && run->n_made - run->n_done < LINE)
			apns_submit(apns, make_push(run));
		apns_run(apns, now_ms(), g_get_real_time() / 1000, &pace);
		bench_check_interrupt();
		g_array_set_size(fds, 0);
		apns_poll(apns, &pace, fds, &until);
		poll((struct pollfd *)(void *)fds->data, fds->len, (int)MAX(until - now_ms(), 0));
	}
}

/* Runs alone in this process, so its CPU is the pushes' own. */
static void measure(const struct world *world, double *ret_cpu_us, double *ret_rate)
{
	struct dial_config dial = {.host = (char[]){"127.0.0.1"}, .port = g_strdup_printf("%u", world->apns_port), .wake_fd = 2};
	SSL_CTX *tls = new_context(world);
	struct run run = {0};
	struct apns *apns = apns_new(&(struct apns_config){&dial, world->topic, tls, 86400, 1, pom_random_system(), on_done, on_failed, &run});
	double cpu = bench_own_cpu_s(), started = bench_now_s();

	push_all(apns, &run);
	*ret_cpu_us = (bench_own_cpu_s() - cpu) * 1e6 / PUSHES;
	*ret_rate = PUSHES / (bench_now_s() - started);
	if (run.n_refused)
		bench_die("%zu pushes were refused", run.n_refused);
	apns_free(apns);
	SSL_CTX_free(tls);
	g_free(dial.port);
}

void measure_push_alone(const char *pomona)
{
	double cpu_us, rate;

	for (unsigned delay_ms = 0; delay_ms <= 50; delay_ms += 50) {
		struct world *world = world_new(pomona, "rsa", delay_ms);

		measure(world, &cpu_us, &rate);
		if (delay_ms)
			report_add((struct figure){"pushes on one connection, answers after 50 ms, no store", "/s", rate, 10000, true});
		else
			report_add((struct figure){"CPU of a push, answers at once, no store", "us", cpu_us, 5});
		world_free(world);
	}
}
