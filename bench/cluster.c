/* A private PostgreSQL, as its defaults are but for memory: every commit reaches the disk. */
#include <glib/gstdio.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

enum { READY_S = 60, STOP_S = 60 };

struct cluster {
	char *dir, *bin, *url;
	pid_t pid; /* the postmaster, whose children do the work */
};

/* The newest that is installed. */
static char *find_programs(void)
{
	g_autoptr(GDir) versions = g_dir_open("/usr/lib/postgresql", 0, NULL);
	g_autofree char *newest = NULL;
	const char *name;

	while (versions && (name = g_dir_read_name(versions)))
		if (!newest || g_ascii_strtoll(name, NULL, 10) > g_ascii_strtoll(newest, NULL, 10)) {
			g_free(newest);
			newest = g_strdup(name);
		}
	if (!newest)
		bench_die("PostgreSQL is not installed: --store sqlite measures without it");
	return g_build_filename("/usr/lib/postgresql", newest, "bin", NULL);
}

/* PostgreSQL does not run as root. */
static void become_other(void *data)
{
	const struct passwd *user = data;

	if (user && (setgid(user->pw_gid) || setuid(user->pw_uid)))
		_exit(126);
}

static pid_t spawn(const struct cluster *cluster, const char *const *argv)
{
	g_autoptr(GError) error = NULL;
	const struct passwd *user = geteuid() ? NULL : getpwnam("postgres");
	GPid pid;

	if (!geteuid() && !user)
		bench_die("PostgreSQL does not run as root, and there is no user postgres");
	if (user && chown(cluster->dir, user->pw_uid, user->pw_gid))
		bench_die("%s cannot be given to postgres", cluster->dir);
	if (!g_spawn_async(cluster->dir, (char **)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL, become_other, (void *)user, &pid, &error))
		bench_die("%s cannot be started: %s", argv[0], error->message);
	return pid;
}

struct cluster *cluster_new(void)
{
	struct cluster *cluster = g_new0(struct cluster, 1);
	g_autofree char *initdb = NULL, *postgres = NULL, *data = NULL, *sockets = NULL;
	g_autoptr(GError) error = NULL;
	double until;
	int status;
	pid_t pid;

	cluster->bin = find_programs();
	cluster->dir = g_dir_make_tmp("pomona-bench-pg-XXXXXX", &error);
	if (!cluster->dir)
		bench_die("%s", error->message);
	initdb = g_build_filename(cluster->bin, "initdb", NULL);
	postgres = g_build_filename(cluster->bin, "postgres", NULL);
	data = g_build_filename(cluster->dir, "data", NULL);
	sockets = g_strdup_printf("unix_socket_directories=%s", cluster->dir);
	cluster->url = g_strdup_printf("postgresql:///postgres?host=%s&user=pomona", cluster->dir);
	pid = spawn(cluster, (const char *const[]){initdb, "-D", data, "-U", "pomona", "-A", "trust", "-E", "UTF8", "--locale=C", NULL});
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status))
		bench_die("initdb has failed in %s", cluster->dir);
	cluster->pid = spawn(cluster, (const char *const[]){postgres, "-D", data, "-c", "listen_addresses=", "-c", sockets, "-c", "shared_buffers=256MB", "-c", "max_wal_size=4GB", NULL});
	until = bench_now_s() + READY_S;
	while (PQping(cluster->url) != PQPING_OK) {
		bench_check_interrupt();
		if (bench_now_s() > until || waitpid(cluster->pid, NULL, WNOHANG) == cluster->pid)
			bench_die("PostgreSQL did not become ready in %s", cluster->dir);
		g_usleep(20000);
	}
	return cluster;
}

void cluster_free(struct cluster *cluster)
{
	const char *remove[] = {"/bin/rm", "-rf", cluster ? cluster->dir : NULL, NULL};
	double until = bench_now_s() + STOP_S;

	if (!cluster)
		return;
	/* At once: nothing of it is kept. */
	if (cluster->pid && !kill(cluster->pid, SIGQUIT))
		while (waitpid(cluster->pid, NULL, WNOHANG) == 0) {
			if (bench_now_s() > until)
				kill(cluster->pid, SIGKILL);
			g_usleep(5000);
		}
	g_spawn_sync(NULL, (char **)remove, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, NULL, NULL, NULL);
	g_free(cluster->dir);
	g_free(cluster->bin);
	g_free(cluster->url);
	g_free(cluster);
}

const char *cluster_url(const struct cluster *cluster)
{
	return cluster->url;
}

static double live_cpu_s(pid_t pid)
{
	struct timespec used;
	clockid_t clock;

	/* One that has just ended is among those that its parent has waited for. */
	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &used))
		return 0;
	return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

/* Field N of /proc/PID/stat, counted from 1; behind the name, which may hold anything. */
static double stat_field(pid_t pid, int n)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid), *text = NULL;
	g_auto(GStrv) fields = NULL;
	const char *rest;

	if (!g_file_get_contents(path, &text, NULL, NULL) || !(rest = strrchr(text, ')')))
		return 0;
	fields = g_strsplit(rest + 2, " ", -1);
	return (int)g_strv_length(fields) > n - 3 ? g_ascii_strtod(fields[n - 3], NULL) : 0;
}

double cluster_cpu_s(const struct cluster *cluster)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", (int)cluster->pid, (int)cluster->pid), *text = NULL;
	g_auto(GStrv) children = NULL;
	double ended = (stat_field(cluster->pid, 16) + stat_field(cluster->pid, 17)) / (double)sysconf(_SC_CLK_TCK), sum = ended + live_cpu_s(cluster->pid);

	if (!g_file_get_contents(path, &text, NULL, NULL))
		bench_die("PostgreSQL has ended");
	children = g_strsplit(g_strstrip(text), " ", -1);
	for (char **child = children; *child; child++)
		if (**child)
			sum += live_cpu_s((pid_t)g_ascii_strtoll(*child, NULL, 10));
	return sum;
}

static PGresult *run(const char *url, const char *sql)
{
	PGconn *connection = PQconnectdb(url);
	PGresult *result = PQexec(connection, sql);

	if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
		bench_die("filling: %s", PQerrorMessage(connection));
	PQfinish(connection);
	return result;
}

void cluster_run(const char *url, const char *sql)
{
	PQclear(run(url, sql));
}

int64_t cluster_count(const char *url, const char *sql)
{
	PGresult *result = run(url, sql);
	int64_t n = g_ascii_strtoll(PQgetvalue(result, 0, 0), NULL, 10);

	PQclear(result);
	return n;
}
