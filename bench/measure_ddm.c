/* Declarative management: what a device's questions cost, and how long a change that concerns 100,000 devices takes. */
#include <stdio.h>
#include <string.h>

#include "bench.h"

enum { DEVICES = 64, CONNECTIONS = 64, SECONDS = 4, WAIT_S = 300, POLL_MS = 20 };
#define GROUP "bench"

/* ---- the admin API, one request at a time ---- */

static void on_admin(void *ctx, struct client *client, const struct client_reply *reply)
{
	if (reply->status / 100 != 2)
		bench_die("the admin API answered %d: %.*s", reply->status, (int)MIN(reply->len, 200), reply->body);
}

static double api(const struct fleet *fleet, const char *path, const char *body)
{
	g_autoptr(GBytes) request = fleet_api_request(fleet, "POST", path, "application/json", body);
	struct client *client = client_new(on_admin, NULL);
	double begin;

	client_open(client, fleet->world->admin_port, false, 1);
	begin = bench_now_s();
	client_send(client, 0, g_bytes_get_data(request, NULL), g_bytes_get_size(request));
	client_run(client, WAIT_S);
	client_free(client);
	return bench_now_s() - begin;
}

static void put_passcode(const struct fleet *fleet, int length, double *ret_s)
{
	g_autofree char *body = g_strdup_printf("{\"Type\":\"com.apple.configuration.passcode.settings\",\"Identifier\":\"passcode\",\"Payload\":{\"MinimumLength\":%d}}", length);

	*ret_s = api(fleet, "/api/v1/declarations", body);
}

static double wait_for_work(const char *database)
{
	double begin = bench_now_s();

	while (fill_work_count(database)) {
		bench_check_interrupt();
		if (bench_now_s() - begin > WAIT_S)
			bench_die("declarations are not planned within %d s", WAIT_S);
		g_usleep(POLL_MS * 1000);
	}
	return bench_now_s() - begin;
}

/* ---- what devices ask ---- */

struct asking { GBytes *requests[DEVICES]; size_t n; };

static void next(struct asking *run, struct client *client, unsigned connection)
{
	GBytes *request = run->requests[run->n % DEVICES];

	client_send(client, connection, g_bytes_get_data(request, NULL), g_bytes_get_size(request));
}

static void on_answer(void *ctx, struct client *client, const struct client_reply *reply)
{
	struct asking *run = ctx;

	if (reply->status != 200)
		bench_die("declarative management answered %d", reply->status);
	run->n++;
	if (!client_is_over(client))
		next(run, client, reply->connection);
}

static void ask(struct fleet *fleet, const char *endpoint, const char *name)
{
	struct asking run = {0};
	struct client *client = client_new(on_answer, &run);
	double cpu_s;

	for (size_t i = 0; i < DEVICES; i++) {
		const struct device *device = &fleet->devices[i];
		g_autofree char *body = g_strdup_printf("<plist version=\"1.0\"><dict><key>MessageType</key><string>DeclarativeManagement</string><key>UDID</key><string>%s</string><key>Endpoint</key>"
		                                        "<string>%s</string></dict></plist>", device->udid, endpoint);

		run.requests[i] = fleet_request(fleet, device, true, body);
	}
	client_open(client, fleet->world->device_port, true, CONNECTIONS);
	cpu_s = world_cpu_s(fleet->world);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		next(&run, client, i);
	client_run(client, SECONDS);
	/* The identity check is allowed what Idle is. */
	report_add((struct figure){name, "ms", (world_cpu_s(fleet->world) - cpu_s) * 1000 / (double)MAX(run.n, 1), 0.25, false, "1 RSA-2048 verification, CPU", raw_rsa_verify_ms(RAW_BUSY)});
	client_free(client);
	for (size_t i = 0; i < DEVICES; i++)
		g_bytes_unref(run.requests[i]);
}

void measure_ddm(struct fleet *fleet, size_t n_enrollments)
{
	struct world *world = fleet->world;
	g_autofree char *database = world_database(world);
	double durable_s;

	put_passcode(fleet, 4, &durable_s);
	api(fleet, "/api/v1/declarations", "{\"Type\":\"com.apple.activation.simple\",\"Identifier\":\"activation\",\"Payload\":{\"StandardConfigurations\":[\"passcode\"]}}");
	api(fleet, "/api/v1/sets", "{\"name\":\"" GROUP "\"}");
	api(fleet, "/api/v1/sets/" GROUP "/declarations", "{\"add\":[\"activation\"]}");
	api(fleet, "/api/v1/groups", "{\"name\":\"" GROUP "\"}");
	world_stop(world);
	fill_enrollments(database, world->topic, n_enrollments);
	fill_group(database, GROUP);
	world_start(world);
	api(fleet, "/api/v1/sets/" GROUP "/assign", "{\"groups\":[\"" GROUP "\"]}");
	report_add((struct figure){"a set for 100,000 devices, planned", "s", wait_for_work(database), 10});
	ask(fleet, "tokens", "DDM tokens, 64 connections, CPU");
	ask(fleet, "declaration-items", "DDM declaration-items, 64 connections, CPU");
	put_passcode(fleet, 6, &durable_s);
	report_add((struct figure){"a change of a set of 100,000 devices, durable", "ms", durable_s * 1000});
	report_add((struct figure){"a change of a set of 100,000 devices, planned", "s", wait_for_work(database), 10});
}
