/* What the process itself takes: memory, time to start, and pushes that are sent from a full outbox. */
#include <string.h>

#include "bench.h"

enum { SETTLE_MS = 500, LOOK_MS = 10, PUSH_S = 30, APNS_STREAMS = 1000, APNS_DELAY_MS = 50 };

void measure_rest(struct world *world)
{
	report_add((struct figure){"start of an empty server", "ms", world->start_s * 1000});
	report_add((struct figure){"memory at rest", "MiB", world_rss_mib(world)});
}

static double own_rss_mib(void)
{
	g_autofree char *text = NULL;

	g_file_get_contents("/proc/self/status", &text, NULL, NULL);
	return g_ascii_strtod(strstr(text, "VmRSS:") + strlen("VmRSS:"), NULL) / 1024;
}

static void on_page(void *ctx, struct client *client, const struct client_reply *reply)
{
	if (reply->status != 200)
		bench_die("the page was answered %d", reply->status);
}

void measure_connections(struct world *world, unsigned n)
{
	static const char get[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
	struct client *client = client_new(on_page, NULL);
	double own, cpu, rest;

	world_stop(world);
	world_start(world);
	own = own_rss_mib();
	rest = world_rss_mib(world);
	cpu = world_cpu_s(world);
	client_open(client, world->device_port, true, n);
	report_add((struct figure){"TLS handshake (server certificate only), CPU", "ms", (world_cpu_s(world) - cpu) * 1000 / n, .raw_name = "1 private RSA-2048 operation, CPU", .raw = raw_rsa_private_ms(RAW_ALONE)});
	/* A connection that has never been used would have allocated less than one that rests. */
	for (unsigned i = 0; i < n; i++)
		client_send(client, i, get, strlen(get));
	client_run(client, PUSH_S);
	report_add((struct figure){"memory with 10,000 idle TLS connections", "MiB", world_rss_mib(world), 300});
	report_add((struct figure){"memory of one idle TLS connection", "KiB", (world_rss_mib(world) - rest) * 1024 / n, .raw_name = "the client's side: OpenSSL and a buffer", .raw = (own_rss_mib() - own) * 1024 / n});
	client_free(client);
}

static void measure_pushes(struct world *world, const char *database, size_t n)
{
	double started, until, cpu;

	world_stop(world);
	fill_outbox(database, n);
	n = fill_outbox_count(database);
	world_start(world);
	started = bench_now_s();
	until = started + PUSH_S;
	cpu = world_cpu_s(world);
	while (fill_outbox_count(database)) {
		bench_check_interrupt();
		if (bench_now_s() < until)
			g_usleep(LOOK_MS * 1000);
		else
			bench_die("%zu of %zu pushes still wait after %d s", fill_outbox_count(database), n, PUSH_S);
	}
	report_add((struct figure){"pushes on one connection, APNs answering after 50 ms", "/s", (double)n / (bench_now_s() - started), 10000, true,
	                           "1000 streams × 50 ms, the most that APNs allows", APNS_STREAMS * 1000.0 / APNS_DELAY_MS});
	report_add((struct figure){"push, CPU", "ms", (world_cpu_s(world) - cpu) * 1000 / (double)n, .raw_name = "1 row in groups of 32, CPU", .raw = raw_row_ms(world->root)});
}

void measure_large_store(struct world *world, size_t n_enrollments, size_t n_pushes)
{
	g_autofree char *database = world_database(world);

	world_stop(world);
	fill_enrollments(database, world->topic, n_enrollments);
	world_start(world);
	report_add((struct figure){"start with 100,000 enrollments", "ms", world->start_s * 1000, 1000});
	g_usleep(SETTLE_MS * 1000);
	report_add((struct figure){"memory with 100,000 enrollments, after the start", "MiB", world_rss_mib(world), 200});
	measure_pushes(world, database, n_pushes);
}
