#include "bench.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { N_DEVICES = 3000, N_WAKE = 10000, N_HISTORY = 1000000, N_CONNECTIONS = 10000, N_ENROLLMENTS = 100000, N_PUSHES = 50000, APNS_DELAY_MS = 50, N_THREADS = 2 };

void bench_die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("bench: ", stderr);
	vfprintf(stderr, format, args);
	fputs("\n", stderr);
	va_end(args);
	exit(1);
}

void bench_say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	fputs("\n", stderr);
	va_end(args);
}

static double read_clock(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double bench_now_s(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

double bench_own_cpu_s(void)
{
	return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

struct work {
	void (*one)(void *ctx, size_t i);
	void *ctx;
	size_t n, next;
};

static void *work_main(void *data)
{
	struct work *work = data;
	size_t i;

	while ((i = __atomic_fetch_add(&work->next, 1, __ATOMIC_RELAXED)) < work->n)
		work->one(work->ctx, i);
	return NULL;
}

void bench_parallel(size_t n, void (*one)(void *ctx, size_t i), void *ctx)
{
	struct work work = {one, ctx, n, 0};
	GThread *threads[N_THREADS];

	for (unsigned i = 0; i < N_THREADS; i++)
		threads[i] = g_thread_new("work", work_main, &work);
	for (unsigned i = 0; i < N_THREADS; i++)
		g_thread_join(threads[i]);
}

/* ---- */

static bool wants_json;
static char **only; /* NULL: all */
static int n_devices = N_DEVICES;

static bool is_wanted(const char *what)
{
	return !only || g_strv_contains((const char *const *)only, what);
}

static void measure_usual(const char *pomona)
{
	static const unsigned idle_connections[] = {2, 8, 64, 256};
	struct world *world = world_new(pomona, "rsa", APNS_DELAY_MS);
	struct fleet *fleet = fleet_new(world, (size_t)n_devices);

	measure_rest(world);
	bench_say("preparing %d devices …", n_devices);
	fleet_build_scep(fleet);
	measure_scep(fleet);
	fleet_build_checkins(fleet);
	measure_enroll(fleet);
	if (is_wanted("idle"))
		for (size_t i = 0; i < G_N_ELEMENTS(idle_connections); i++)
			measure_idle(fleet, idle_connections[i]);
	if (is_wanted("commands"))
		measure_commands(fleet);
	if (only && is_wanted("ddm"))
		measure_ddm(fleet, N_ENROLLMENTS);
	fleet_free(fleet);
	if (is_wanted("connections"))
		measure_connections(world, N_CONNECTIONS);
	if (is_wanted("store"))
		measure_large_store(world, N_ENROLLMENTS, N_PUSHES);
	world_free(world);
}

/* The queue: what a long history costs, and many devices at once. */
static void measure_queue(const char *pomona)
{
	struct world *world = world_new(pomona, "rsa", APNS_DELAY_MS);
	struct fleet *fleet = fleet_new(world, is_wanted("wake") ? N_WAKE : (size_t)n_devices);

	bench_say("preparing %zu devices …", fleet->n);
	fleet_build_scep(fleet);
	measure_scep(fleet);
	fleet_build_checkins(fleet);
	measure_enroll(fleet);
	if (is_wanted("nodes") && world->cluster)
		measure_nodes(fleet);
	if (is_wanted("history"))
		measure_history(fleet, N_HISTORY);
	if (is_wanted("wake"))
		measure_wake(fleet);
	fleet_free(fleet);
	world_free(world);
}

static void measure_both_scales(const char *pomona)
{
	static const char *const key_types[] = {"rsa", "ec"};

	for (size_t i = 0; i < G_N_ELEMENTS(key_types); i++) {
		struct world *world = world_new(pomona, key_types[i], APNS_DELAY_MS);

		measure_scale(world, key_types[i]);
		world_free(world);
	}
}

static bool with_sqlite = true, with_postgres; /* which engines are measured */

static void parse_store(const char *store)
{
	bool both = !g_strcmp0(store, "both");

	if (store && !both && strcmp(store, "sqlite") && strcmp(store, "postgres"))
		bench_die("--store is sqlite, postgres or both");
	with_sqlite = !store || both || !strcmp(store, "sqlite");
	with_postgres = store && (both || !strcmp(store, "postgres"));
}

static const char *parse_arguments(int argc, char **argv)
{
	g_autofree char *names = NULL, *store = NULL;
	char *pomona = NULL;
	GOptionEntry entries[] = {
		{"json", 0, 0, G_OPTION_ARG_NONE, &wants_json, "print JSON", NULL},
		{"pomona", 0, 0, G_OPTION_ARG_FILENAME, &pomona, "the program to be measured", "FILE"},
		{"only", 0, 0, G_OPTION_ARG_STRING, &names, "some of idle,commands,connections,store,ddm (SCEP and enrollment run with them); or scale or push alone; or history, wake, nodes", "NAMES"},
		{"devices", 0, 0, G_OPTION_ARG_INT, &n_devices, "how many devices enroll, at least 200; fewer are sooner ready, and the figures of enrollment less sure", "N"},
		{"store", 0, 0, G_OPTION_ARG_STRING, &store, "sqlite (as it is without this), postgres (a private one), or both", "ENGINE"},
		{0},
	};
	GOptionContext *context = g_option_context_new(NULL);
	g_autoptr(GError) error = NULL;

	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, &argc, &argv, &error))
		bench_die("%s", error->message);
	g_option_context_free(context);
	if (!pomona)
		bench_die("--pomona is missing");
	parse_store(store);
	if (n_devices < 200)
		bench_die("--devices is at least 200");
	only = names ? g_strsplit(names, ",", -1) : NULL;
	return pomona;
}

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = 1;
}

void bench_check_interrupt(void)
{
	if (interrupted)
		bench_die("interrupted");
}

static void catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static void measure(const char *pomona)
{
	if (only && is_wanted("scale"))
		measure_both_scales(pomona);
	else if (only && (is_wanted("history") || is_wanted("wake") || is_wanted("nodes")))
		measure_queue(pomona);
	else
		measure_usual(pomona);
}

int main(int argc, char **argv)
{
	const char *pomona = parse_arguments(argc, argv);
	struct rlimit limit;

	catch_signals();
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (only && is_wanted("push")) {
		measure_push_alone(pomona);
		with_sqlite = with_postgres = false;
	}
	if (only && is_wanted("nodes") && !with_postgres)
		bench_die("--only nodes needs --store postgres: SQLite has one node");
	if (with_sqlite) {
		report_section(with_postgres ? "SQLite: " : "");
		measure(pomona);
	}
	if (with_postgres) {
		report_section(with_sqlite ? "PostgreSQL: " : "");
		world_use_postgres(true);
		measure(pomona);
	}
	report_print(wants_json);
	return 0;
}
