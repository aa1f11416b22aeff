/* What devices ask for: certificates, enrollment, Idle, commands. */
#include <string.h>

#include "bench.h"

enum { CONNECTIONS = 32, IDLE_DEVICES = 500, IDLE_S = 4, COMMAND_DEVICES = 64, CYCLES = 16000, COMMAND_S = 6, RESULT_BYTES = 600, SCALE_DEVICES = 1600, ALONE_MAX = 1500, STATISTICS_MS = 1500 };

/* What an issuance may take. */
#define ISSUE_RSA_MS 1.1
#define ISSUE_EC_MS 0.9

/* Rows that one use case changes: a command is inserted with its outbox row, and moves to the done ones; Authenticate and TokenUpdate as
 * in src/store/checkin_store.c. */
enum { ROWS_OF_CYCLE = 4, ROWS_OF_ENROLLMENT = 15 };

struct clock { double started, cpu, database_cpu, wal_bytes; };

/* How much PostgreSQL has written to its log: what the disk, and each standby, has to take. */
static double wal_bytes(const struct world *world)
{
	return world->cluster ? (double)cluster_count(cluster_url(world->cluster), "SELECT pg_current_wal_insert_lsn() - '0/0'") : 0;
}

static struct clock start_clock(const struct world *world)
{
	return (struct clock){bench_now_s(), world_cpu_s(world), world_database_cpu_s(world), wal_bytes(world)};
}

static double elapsed_s(const struct clock *clock)
{
	return bench_now_s() - clock->started;
}

static double cpu_ms(const struct clock *clock, const struct world *world, size_t n)
{
	return (world_cpu_s(world) - clock->cpu) * 1000 / (double)n;
}

/* How much of the CPU of the figure before is the database's, and what it wrote for each of N. */
static void report_database(const struct clock *clock, const struct world *world, size_t n)
{
	double written = wal_bytes(world) - clock->wal_bytes;

	if (!world->cluster)
		return;
	report_add((struct figure){"   of it the database", "ms", (world_database_cpu_s(world) - clock->database_cpu) * 1000 / (double)n});
	report_add((struct figure){"   written by the database", "bytes", written / (double)n});
}

/* Each takes a second of PostgreSQL's before it is undone. */
static void report_deadlocks(const struct world *world)
{
	if (!world->cluster)
		return;
	g_usleep(STATISTICS_MS * 1000);
	report_add((struct figure){"   deadlocks of the database until now", "", (double)cluster_count(cluster_url(world->cluster), "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")});
}

/* Opens N connections to the device port; every other one to the second node, when there is one. */
static void open_devices(struct client *client, const struct world *world, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		client_open(client, i % 2 && world->server2 ? world->device_port2 : world->device_port, true, 1);
}

static void send_bytes(struct client *client, unsigned connection, GBytes *bytes)
{
	gsize len;
	const void *data = g_bytes_get_data(bytes, &len);

	client_send(client, connection, data, len);
}

static void must_be(const struct client_reply *reply, int status)
{
	if (reply->status != status)
		bench_die("a reply has status %d instead of %d: %.*s", reply->status, status, (int)MIN(reply->len, 300), reply->body);
}

/* ---- SCEP ---- */

struct shape {
	const char *cpu_name, *rate_name, *raw_name; /* rate_name NULL: not told */
	size_t first, end;    /* devices, every other one */
	unsigned n_connections;
	double raw_ms, target_ms;
};

struct issuance {
	struct fleet *fleet;
	size_t next, end, of_connection[CONNECTIONS];
	GBytes **replies;
};

static void next_issuance(struct issuance *run, struct client *client, unsigned connection)
{
	if (run->next >= run->end)
		return;
	run->of_connection[connection] = run->next;
	send_bytes(client, connection, run->fleet->devices[run->next].scep);
	run->next += 2;
}

static void on_certificate(void *ctx, struct client *client, const struct client_reply *reply)
{
	struct issuance *run = ctx;

	must_be(reply, 200);
	run->replies[run->of_connection[reply->connection]] = g_bytes_new(reply->body, reply->len);
	next_issuance(run, client, reply->connection);
}

static void open_reply(void *ctx, size_t i)
{
	struct issuance *run = ctx;
	gsize len;
	const void *data;

	if (!run->replies[i])
		return;
	data = g_bytes_get_data(run->replies[i], &len);
	fleet_take_certificate(run->fleet, i, data, len);
}

/* CPU of one issuance, in milliseconds. */
static double issue(struct fleet *fleet, const struct shape *shape)
{
	struct issuance run = {.fleet = fleet, .next = shape->first, .end = shape->end, .replies = g_new0(GBytes *, fleet->n)};
	struct client *client = client_new(on_certificate, &run);
	size_t n = (shape->end - shape->first + 1) / 2;
	struct clock clock;
	double used_ms, took_s;

	open_devices(client, fleet->world, shape->n_connections);
	clock = start_clock(fleet->world);
	for (unsigned i = 0; i < shape->n_connections; i++)
		next_issuance(&run, client, i);
	client_run(client, 60);
	took_s = elapsed_s(&clock);
	used_ms = cpu_ms(&clock, fleet->world, n);
	report_add((struct figure){shape->cpu_name, "ms", used_ms, shape->target_ms, false, shape->raw_name, shape->raw_ms});
	report_database(&clock, fleet->world, n);
	if (shape->rate_name)
		report_add((struct figure){shape->rate_name, "/s", (double)n / took_s});
	client_free(client);
	bench_parallel(fleet->n, open_reply, &run);
	for (size_t i = 0; i < fleet->n; i++)
		g_clear_pointer(&run.replies[i], g_bytes_unref);
	g_free(run.replies);
	return used_ms;
}

void measure_scep(struct fleet *fleet)
{
	double alone_ms = 3 * raw_rsa_private_ms(RAW_ALONE), busy_ms = 3 * raw_rsa_private_ms(RAW_BUSY);
	size_t alone = MIN(fleet->n / 2, ALONE_MAX) & ~(size_t)1; /* devices that come one after another */
	const struct shape shapes[] = {
		{"SCEP issuance, AES and SHA-256, 1 connection, CPU", "SCEP issuance, AES and SHA-256, 1 connection, rate", "3 private RSA-2048 operations, CPU", 0, alone, 1, alone_ms, ISSUE_RSA_MS},
		{"SCEP issuance, AES and SHA-256, 32 connections, CPU", "SCEP issuance, AES and SHA-256, 32 connections, rate", "the same, both cores busy", alone, fleet->n, CONNECTIONS, busy_ms, ISSUE_RSA_MS},
		{"SCEP issuance, 3DES and SHA-1, 1 connection, CPU", "SCEP issuance, 3DES and SHA-1, 1 connection, rate", "3 private RSA-2048 operations, CPU", 1, alone, 1, alone_ms, ISSUE_RSA_MS},
		{"SCEP issuance, 3DES and SHA-1, 32 connections, CPU", "SCEP issuance, 3DES and SHA-1, 32 connections, rate", "the same, both cores busy", alone + 1, fleet->n, CONNECTIONS, busy_ms, ISSUE_RSA_MS},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(shapes); i++)
		issue(fleet, &shapes[i]);
}

static const char *text_of(const char *shape, const char *key_type, const char *size)
{
	g_autofree char *text = g_strdup_printf("SCEP, %s, %s CA, %s certificates, CPU", shape, key_type, size);

	return g_intern_string(text);
}

void measure_scale(struct world *world, const char *key_type)
{
	static const struct { const char *text; size_t n; } sizes[] = {{"0", 0}, {"10,000", 10000}, {"1,000,000", 1000000}};
	bool is_ec = !strcmp(key_type, "ec");
	const char *key_name = is_ec ? "P-256" : "RSA", *raw_name = is_ec ? "2 private RSA-2048 operations and 1 ECDSA, both cores busy" : "3 private RSA-2048 operations, both cores busy";
	g_autofree char *database = world_database(world);
	double empty_ms = 0, used_ms = 0;

	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
		struct fleet *fleet;
		double raw_ms;

		if (sizes[i].n) {
			bench_say("filling up to %s certificates …", sizes[i].text);
			world_stop(world);
			fill_certificates(database, sizes[i].n);
			world_start(world);
		}
		fleet = fleet_new(world, SCALE_DEVICES);
		fleet_build_scep(fleet);
		raw_ms = (is_ec ? 2 : 3) * raw_rsa_private_ms(RAW_BUSY) + (is_ec ? raw_ecdsa_ms(RAW_BUSY) : 0);
		used_ms = issue(fleet, &(struct shape){text_of("AES", key_name, sizes[i].text), NULL, raw_name, 0, fleet->n, CONNECTIONS, raw_ms, is_ec ? ISSUE_EC_MS : ISSUE_RSA_MS});
		issue(fleet, &(struct shape){text_of("3DES", key_name, sizes[i].text), NULL, raw_name, 1, fleet->n, CONNECTIONS, raw_ms, is_ec ? ISSUE_EC_MS : ISSUE_RSA_MS});
		empty_ms = i ? empty_ms : used_ms;
		fleet_free(fleet);
	}
	report_add((struct figure){is_ec ? "1,000,000 certificates against none, P-256 CA" : "1,000,000 certificates against none, RSA CA", "times", used_ms / empty_ms});
}

/* ---- Authenticate and TokenUpdate ---- */

struct enrolling {
	struct fleet *fleet;
	size_t next, end;
	GBytes *then[CONNECTIONS]; /* the TokenUpdate of the device whose Authenticate is under way */
};

static void next_enrollment(struct enrolling *run, struct client *client, unsigned connection)
{
	const struct device *device;

	run->then[connection] = NULL;
	if (run->next == run->end)
		return;
	device = &run->fleet->devices[run->next++];
	run->then[connection] = device->token_update;
	send_bytes(client, connection, device->authenticate);
}

static void on_checkin(void *ctx, struct client *client, const struct client_reply *reply)
{
	struct enrolling *run = ctx;
	GBytes *then = run->then[reply->connection];

	must_be(reply, 200);
	if (!then) {
		next_enrollment(run, client, reply->connection);
		return;
	}
	run->then[reply->connection] = NULL;
	send_bytes(client, reply->connection, then);
}

static void enroll(struct fleet *fleet, size_t first, size_t end, unsigned n_connections, const char *cpu_name, const char *rate_name, enum raw_load load)
{
	double raw_ms = 2 * raw_rsa_verify_ms(load) + ROWS_OF_ENROLLMENT * raw_row_ms(fleet->world->root);
	struct enrolling run = {.fleet = fleet, .next = first, .end = end};
	struct client *client = client_new(on_checkin, &run);
	struct clock clock;

	open_devices(client, fleet->world, n_connections);
	clock = start_clock(fleet->world);
	for (unsigned i = 0; i < n_connections; i++)
		next_enrollment(&run, client, i);
	client_run(client, 60);
	report_add((struct figure){cpu_name, "ms", cpu_ms(&clock, fleet->world, end - first), 0.5, false, "2 RSA verifications, 15 rows in groups of 32, CPU", raw_ms});
	report_database(&clock, fleet->world, end - first);
	report_add((struct figure){rate_name, "/s", (double)(end - first) / elapsed_s(&clock)});
	client_free(client);
}

void measure_enroll(struct fleet *fleet)
{
	size_t alone = MIN(fleet->n, 2 * ALONE_MAX) / 3;

	enroll(fleet, 0, alone, 1, "Authenticate + TokenUpdate, 1 connection, CPU", "Authenticate + TokenUpdate, 1 connection, rate", RAW_ALONE);
	enroll(fleet, alone, fleet->n, CONNECTIONS, "Authenticate + TokenUpdate, 32 connections, CPU", "Authenticate + TokenUpdate, 32 connections, rate", RAW_BUSY);
}

/* ---- Idle ---- */

struct idling {
	struct fleet *fleet;
	size_t n;
};

static void next_idle(struct idling *run, struct client *client, unsigned connection)
{
	send_bytes(client, connection, run->fleet->devices[run->n % MIN(run->fleet->n, IDLE_DEVICES)].idle);
}

static void on_idle(void *ctx, struct client *client, const struct client_reply *reply)
{
	struct idling *run = ctx;

	must_be(reply, 200);
	run->n++;
	if (!client_is_over(client))
		next_idle(run, client, reply->connection);
}

/* What an Idle may take: of the node, and of node and database together. */
#define IDLE_MS 0.15
#define IDLE_POSTGRES_MS 0.35

void measure_idle(struct fleet *fleet, unsigned n_connections)
{
	double raw_ms = raw_rsa_verify_ms(RAW_BUSY), used_ms, took_s;
	g_autofree char *cpu_name = g_strdup_printf("Idle with Mdm-Signature, %u connections, CPU", n_connections), *rate_name = g_strdup_printf("Idle with Mdm-Signature, %u connections, rate", n_connections);
	struct idling run = {.fleet = fleet};
	struct client *client = client_new(on_idle, &run);
	struct clock clock;

	open_devices(client, fleet->world, n_connections);
	clock = start_clock(fleet->world);
	for (unsigned i = 0; i < n_connections; i++)
		next_idle(&run, client, i);
	client_run(client, IDLE_S);
	took_s = elapsed_s(&clock);
	used_ms = cpu_ms(&clock, fleet->world, run.n);
	report_add((struct figure){cpu_name, "ms", used_ms, fleet->world->cluster ? IDLE_POSTGRES_MS : IDLE_MS, false, "1 RSA-2048 verification, CPU", raw_ms});
	report_database(&clock, fleet->world, run.n);
	report_add((struct figure){rate_name, "/s", (double)run.n / took_s});
	client_free(client);
}

/* ---- commands: queued by the API, fetched with Idle, answered ---- */

struct cycle { GBytes *send, *report; };

struct commanding {
	struct fleet *fleet;
	struct cycle *cycles;                     /* number I belongs to device I modulo COMMAND_DEVICES */
	size_t at[COMMAND_DEVICES], n_done;
	bool reported[COMMAND_DEVICES];
	unsigned number;                          /* of the measurement: each has CommandUUIDs of its own */
};

static void build_cycle(void *ctx, size_t i)
{
	struct commanding *run = ctx;
	const struct device *device = &run->fleet->devices[i % COMMAND_DEVICES];
	g_autofree char *path = g_strdup_printf("/api/v1/devices/%s/commands", device->udid), *filler = g_strnfill(RESULT_BYTES, 'r'), *command = NULL, *report = NULL;

	command = g_strdup_printf("<plist version=\"1.0\"><dict><key>CommandUUID</key><string>BENCH-%u-%08zu</string><key>Command</key><dict><key>RequestType</key>"
	                          "<string>DeviceInformation</string><key>Queries</key><array><string>OSVersion</string><string>DeviceName</string></array></dict></dict></plist>", run->number, i);
	report = g_strdup_printf("<plist version=\"1.0\"><dict><key>UDID</key><string>%s</string><key>Status</key><string>Acknowledged</string><key>CommandUUID</key>"
	                         "<string>BENCH-%u-%08zu</string><key>QueryResponses</key><dict><key>OSVersion</key><string>18.2.1</string><key>DeviceName</key><string>%s</string>"
	                         "</dict></dict></plist>", device->udid, run->number, i, filler);
	run->cycles[i] = (struct cycle){fleet_api_request(run->fleet, "POST", path, "application/xml", command), fleet_request(run->fleet, device, false, report)};
}

/* The administrator's connection SLOT and the device's take turns. */
static void next_cycle(struct commanding *run, struct client *client, unsigned slot)
{
	run->reported[slot] = false;
	if (run->at[slot] < CYCLES && !client_is_over(client))
		send_bytes(client, slot, run->cycles[run->at[slot]].send);
}

static void on_command(void *ctx, struct client *client, const struct client_reply *reply)
{
	struct commanding *run = ctx;
	unsigned slot = reply->connection % COMMAND_DEVICES;

	if (reply->connection < COMMAND_DEVICES) {
		must_be(reply, 201);
		send_bytes(client, slot + COMMAND_DEVICES, run->fleet->devices[slot].idle);
		return;
	}
	must_be(reply, 200);
	if (!run->reported[slot]) {
		if (!memmem(reply->body, reply->len, "CommandUUID", strlen("CommandUUID")))
			bench_die("Idle was not answered with the command");
		run->reported[slot] = true;
		send_bytes(client, reply->connection, run->cycles[run->at[slot]].report);
		return;
	}
	run->n_done++;
	run->at[slot] += COMMAND_DEVICES;
	next_cycle(run, client, slot);
}

void measure_commands(struct fleet *fleet)
{
	double raw_ms = 2 * raw_rsa_verify_ms(RAW_BUSY) + ROWS_OF_CYCLE * raw_row_ms(fleet->world->root);
	static unsigned number;
	struct commanding run = {.fleet = fleet, .cycles = g_new0(struct cycle, CYCLES), .number = ++number};
	struct client *client = client_new(on_command, &run);
	struct clock clock;

	bench_parallel(CYCLES, build_cycle, &run);
	client_open(client, fleet->world->admin_port, false, COMMAND_DEVICES);
	open_devices(client, fleet->world, COMMAND_DEVICES);
	clock = start_clock(fleet->world);
	/* Not over yet: client_run sets the end. */
	for (unsigned slot = 0; slot < COMMAND_DEVICES; slot++) {
		run.at[slot] = slot;
		send_bytes(client, slot, run.cycles[slot].send);
	}
	client_run(client, COMMAND_S);
	report_add((struct figure){"command: queued, fetched, answered, durable", "cycles/s", (double)run.n_done / elapsed_s(&clock), 8000, true});
	report_add((struct figure){"command cycle, CPU", "ms", cpu_ms(&clock, fleet->world, run.n_done), .raw_name = "2 RSA verifications, 4 rows in groups of 32, CPU", .raw = raw_ms});
	report_database(&clock, fleet->world, run.n_done);
	report_deadlocks(fleet->world);
	client_free(client);
	for (size_t i = 0; i < CYCLES; i++) {
		g_bytes_unref(run.cycles[i].send);
		g_bytes_unref(run.cycles[i].report);
	}
	g_free(run.cycles);
}

void measure_history(struct fleet *fleet, size_t n)
{
	g_autofree char *database = world_database(fleet->world);

	report_add((struct figure){"with no history:", "commands", 0});
	measure_idle(fleet, 2);
	measure_idle(fleet, 64);
	measure_commands(fleet);
	world_stop(fleet->world);
	fill_history(database, n);
	world_start(fleet->world);
	report_add((struct figure){"with history:", "commands", (double)n});
	measure_idle(fleet, 2);
	measure_idle(fleet, 64);
	measure_commands(fleet);
}

void measure_nodes(struct fleet *fleet)
{
	report_add((struct figure){"with one node:", "nodes", 1});
	measure_idle(fleet, 64);
	measure_commands(fleet);
	world_start_second(fleet->world);
	report_add((struct figure){"with two nodes:", "nodes", 2});
	measure_idle(fleet, 64);
	measure_commands(fleet);
}
