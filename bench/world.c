/* The processes that are measured, and their end. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

enum { READY_S = 30, STOP_S = 20 };

static struct world *open_world; /* for the cleanup at exit */

static void close_open_world(void)
{
	world_free(open_world);
}

/* Starts ARGV with its output in the file LOG of the root folder. */
static pid_t spawn(const struct world *world, const char *log, const char *const *argv)
{
	g_autofree char *path = g_build_filename(world->root, log, NULL);
	g_autoptr(GError) error = NULL;
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	GPid pid;

	if (fd < 0 || !g_spawn_async_with_fds(NULL, (char **)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid, -1, fd, fd, &error))
		bench_die("%s cannot be started: %s", argv[0], error ? error->message : g_strerror(errno));
	close(fd);
	return pid;
}

static void run(const struct world *world, const char *const *argv)
{
	pid_t pid = spawn(world, "run.log", argv);
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status))
		bench_die("%s %s has failed; see run.log", argv[0], argv[1]);
}

static void end(pid_t *pid)
{
	double until = bench_now_s() + STOP_S;

	if (!*pid)
		return;
	kill(*pid, SIGTERM);
	while (waitpid(*pid, NULL, WNOHANG) == 0) {
		if (bench_now_s() > until)
			kill(*pid, SIGKILL);
		g_usleep(2000);
	}
	*pid = 0;
}

/* The JSON that PID writes into PATH when it is ready; transfer full. */
static json_t *wait_ready(const char *path, pid_t pid)
{
	double until = bench_now_s() + READY_S;

	while (bench_now_s() < until) {
		json_t *json = json_load_file(path, 0, NULL);

		if (json && json_integer_value(json_object_get(json, "pid")) == pid)
			return json;
		json_decref(json);
		bench_check_interrupt();
		if (waitpid(pid, NULL, WNOHANG) == pid)
			break;
		g_usleep(1000);
	}
	bench_die("process %d did not become ready (%s)", (int)pid, path);
}

static uint16_t get_port(const json_t *json, const char *key)
{
	return (uint16_t)json_integer_value(json_object_get(json, key));
}

static void start_apns(struct world *world, unsigned delay_ms)
{
	g_autofree char *delay = g_strdup_printf("%u", delay_ms), *path = g_build_filename(world->apns, "apns.json", NULL);
	json_t *ready;

	world->apns_pid = spawn(world, "apns.log", (const char *const[]){world->pomona, "sim", "apns", "--dir", world->apns, "--listen", "127.0.0.1:0",
	                                                                 "--wake-listen", "127.0.0.1:0", "--delay-ms", delay, "--quiet", NULL});
	ready = wait_ready(path, world->apns_pid);
	world->apns_port = get_port(ready, "port");
	world->topic = g_strdup(json_string_value(json_object_get(ready, "topic")));
	json_decref(ready);
}

/* Starts a node on DATA and waits until it serves; transfer full. */
static json_t *start_node(struct world *world, const char *data, pid_t *ret_pid)
{
	g_autofree char *url = g_strdup_printf("https://127.0.0.1:%u", world->apns_port), *root = g_build_filename(world->apns, "root.pem", NULL), *path = g_build_filename(data, "serve.json", NULL);

	*ret_pid = spawn(world, "server.log", (const char *const[]){world->pomona, "serve", "--data", data, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
	                                                                 "--apns-url", url, "--apns-root", root, "--set", "enroll.unsigned_profiles=true", "--set", "push.per_second=0", "--set", "apns.connections=1", "--set", "inventory.hours=0",
	                                                                 NULL});
	return wait_ready(path, *ret_pid);
}

void world_start(struct world *world)
{
	double started = bench_now_s();
	json_t *ready = start_node(world, world->data, &world->server);

	world->start_s = bench_now_s() - started;
	world->device_port = get_port(ready, "device_port");
	world->admin_port = get_port(ready, "admin_port");
	json_decref(ready);
}

void world_start_second(struct world *world)
{
	g_autofree char *seal = g_build_filename(world->data, "seal.key", NULL);
	json_t *ready;

	if (!world->data2) {
		world->data2 = g_build_filename(world->root, "data2", NULL);
		run(world, (const char *const[]){world->pomona, "init", "--join", "--data", world->data2, "--store", cluster_url(world->cluster), "--seal-key", seal, NULL});
	}
	ready = start_node(world, world->data2, &world->server2);
	world->device_port2 = get_port(ready, "device_port");
	json_decref(ready);
}

void world_stop(struct world *world)
{
	end(&world->server2);
	end(&world->server);
}

static bool use_postgres;

void world_use_postgres(bool postgres)
{
	use_postgres = postgres;
}

struct world *world_new(const char *pomona, const char *key_type, unsigned delay_ms)
{
	struct world *world = g_new0(struct world, 1);
	g_autoptr(GError) error = NULL;

	world->pomona = g_strdup(pomona);
	world->root = g_dir_make_tmp("pomona-bench-XXXXXX", &error);
	if (!world->root)
		bench_die("%s", error->message);
	open_world = world;
	atexit(close_open_world);
	world->data = g_build_filename(world->root, "data", NULL);
	world->apns = g_build_filename(world->root, "apns", NULL);
	start_apns(world, delay_ms);
	/* The port of the URL is only written into profiles, which nobody follows here. */
	if (use_postgres)
		world->cluster = cluster_new();
	run(world, (const char *const[]){pomona, "init", "--data", world->data, "--url", "https://127.0.0.1:8443", "--org", "Bench", "--key-type", key_type, use_postgres ? "--store" : NULL,
	                                 use_postgres ? cluster_url(world->cluster) : NULL, NULL});
	world_start(world);
	g_autofree char *pem = g_build_filename(world->apns, "push.pem", NULL), *token = g_build_filename(world->data, "admin.token", NULL);
	run(world, (const char *const[]){pomona, "push-cert", "import", pem, "--data", world->data, NULL});
	if (!g_file_get_contents(token, &world->token, NULL, &error))
		bench_die("%s", error->message);
	g_strstrip(world->token);
	return world;
}

void world_free(struct world *world)
{
	if (!world)
		return;
	open_world = NULL;
	world_stop(world);
	end(&world->apns_pid);
	cluster_free(world->cluster);
	run(world, (const char *const[]){"/bin/rm", "-rf", world->root, NULL});
	g_free(world->pomona);
	g_free(world->root);
	g_free(world->data);
	g_free(world->data2);
	g_free(world->apns);
	g_free(world->token);
	g_free(world->topic);
	g_free(world);
}

static double node_cpu_s(pid_t pid)
{
	struct timespec used;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &used))
		bench_die("the CPU of process %d cannot be read: the server has ended", (int)pid);
	return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

double world_cpu_s(const struct world *world)
{
	return node_cpu_s(world->server) + (world->server2 ? node_cpu_s(world->server2) : 0) + world_database_cpu_s(world);
}

double world_database_cpu_s(const struct world *world)
{
	return world->cluster ? cluster_cpu_s(world->cluster) : 0;
}

double world_rss_mib(const struct world *world)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)world->server), *text = NULL;
	const char *p;

	if (!g_file_get_contents(path, &text, NULL, NULL) || !(p = strstr(text, "VmRSS:")))
		bench_die("%s cannot be read: the server has ended", path);
	return g_ascii_strtod(p + strlen("VmRSS:"), NULL) / 1024;
}

char *world_database(const struct world *world)
{
	return world->cluster ? g_strdup(cluster_url(world->cluster)) : g_build_filename(world->data, "pomona.db", NULL);
}
