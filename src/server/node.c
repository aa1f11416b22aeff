#include "server/node.h"

#include <string.h>
#include <time.h>

#include "base/log.h"
#include "server/datadir.h"
#include "service/answer.h"
#include "store/node_store.h"

enum {
	BEATS_PER_LEASE = 5,
	BEAT_MAX_MS = 10 * 1000,  /* between beats, however long leases are */
	BEAT_AGAIN_MS = 1000,     /* after one that failed */
	LOOK_MAX_MS = 30 * 1000,  /* between looks at the database; half of what makes a node a dead one for who moves the data elsewhere */
	CLOCK_LIMIT_MS = 5000,    /* between this machine's clock and the database's, and between those of two nodes */
	LOOK_SURE_MS = 1000,      /* a look that took longer says too little about the clock */
	START_LOOKS = 5,
	FORGET_MS = 24 * 3600 * 1000,
	TELL_EVERY_MS = 250,
	NAME_MAX_LEN = 100,
};

#define KEY_PROOF "seal_proof"
#define KEY_LABEL "proof that nodes have the same key"

struct hold {
	int64_t fence;    /* 0: not ours */
	int64_t until_ms; /* of our own time */
	unsigned n_users; /* threads that work under it */
};

struct server_node {
	char id[POM_ID_LEN + 1], *name, *address;
	int64_t started_ms, ttl_ms;
	bool is_shared, is_running;
	pthread_t thread;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t wake;
	bool stopping, woken;
	struct hold holds[NODE_JOB_MAX];
	GError *trouble;      /* why no work is taken; NULL: it is */
	int64_t clock_ms;     /* how far our clock is ahead of the database's */
	int64_t told_ms;
};

const char *server_node_job_name(enum node_job job)
{
	static const char *const names[NODE_JOB_MAX] = {
#define X(name, text) [name] = text,
		NODE_JOBS(X)
#undef X
	};

	return names[job];
}

/* Our own time, which goes on while the machine sleeps and knows no summer time, and which nobody can set. */
static int64_t own_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- the clock */

/* How far our clock is ahead of the database's at the moment of a look, and how much that may be wrong. */
struct clock_look { int64_t ahead_ms, error_ms; };

static bool look_timed(struct store *store, struct node_look *ret, struct clock_look *ret_clock, GError **error)
{
	int64_t before_ms = own_ms(), wall_ms = pom_clock_now_ms(pom_clock_system()), took_ms;

	if (!store_node_look(store, ret, error))
		return false;
	took_ms = own_ms() - before_ms;
	*ret_clock = (struct clock_look){wall_ms + took_ms / 2 - ret->now_ms, (took_ms + 1) / 2};
	return true;
}

static bool is_off(int64_t distance_ms, int64_t error_ms)
{
	return ABS(distance_ms) - error_ms > CLOCK_LIMIT_MS;
}

static char *format_distance(int64_t ms)
{
	return g_strdup_printf("%" G_GINT64_FORMAT ".%d s %s", ABS(ms) / 1000, (int)(ABS(ms) % 1000 / 100), ms < 0 ? "behind" : "ahead of");
}

/* Of two nodes that differ the one that is farther from the database gives way; of two that are as far the one with the greater id. */
static bool gives_way(const struct server_node *node, int64_t own_ahead_ms, const struct node_row *other)
{
	return ABS(own_ahead_ms) > ABS(other->clock_ms) || (ABS(own_ahead_ms) == ABS(other->clock_ms) && strcmp(node->id, other->id) > 0);
}

static bool is_alive(const struct server_node *node, const struct node_row *row, int64_t now_ms)
{
	return ABS(now_ms - row->seen_ms) < node->ttl_ms;
}

static bool check_clock(const struct server_node *node, const struct node_look *look, const struct clock_look *clock, GError **error)
{
	g_autofree char *distance = format_distance(clock->ahead_ms);

	if (is_off(clock->ahead_ms, clock->error_ms))
		return pom_fail(error, POM_ERR_NODE_CLOCK, "the clock of this machine is %s that of the database: set it right (NTP does)", distance);
	for (guint i = 0; i < look->nodes->len; i++) {
		const struct node_row *other = &g_array_index(look->nodes, struct node_row, i);
		int64_t between_ms = clock->ahead_ms - other->clock_ms;
		g_autofree char *text = format_distance(between_ms);

		if (!strcmp(other->id, node->id) || !is_alive(node, other, look->now_ms) || *other->trouble)
			continue;
		if (is_off(between_ms, clock->error_ms) && gives_way(node, clock->ahead_ms, other))
			return pom_fail(error, POM_ERR_NODE_CLOCK, "the clock of this machine is %s that of node %s: set it right (NTP does)", text, other->name);
	}
	return true;
}

/* That the database is one that this program may use. */
static bool check_schema(const struct node_look *look, GError **error)
{
	if (look->is_left)
		return pom_fail(error, POM_ERR_STORE_MOVE, "the data of this database goes to another one: stop this server, and let store.url in pomona.conf name the other database");
	return look->schema <= store_schema() ||
	       pom_fail(error, POM_ERR_NODE_OLD, "the database has schema %" G_GINT64_FORMAT " by now, this program knows %" G_GINT64_FORMAT " at most: install the Pomona that the other nodes run, and start it again",
	                look->schema, store_schema());
}

/* ---- the start */

static char *node_name(const struct settings *settings, GError **error)
{
	const char *set = settings_text(settings, SETTING_NODE_NAME);

	if (!set)
		return g_utf8_make_valid(g_get_host_name(), -1);
	if (g_utf8_validate(set, -1, NULL) && strlen(set) <= NAME_MAX_LEN && !strpbrk(set, "\t\r\n"))
		return g_strdup(set);
	pom_fail(error, POM_ERR_CONFIG, "node.name must be one line of at most %d bytes", NAME_MAX_LEN);
	return NULL;
}

/* The best of a few looks: on a busy machine a single one may take long. */
static bool check_at_start(struct server_node *node, struct store *store, GError **error)
{
	struct node_look look = {0};
	struct clock_look clock = {0};
	bool ok = true;

	for (int i = 0; i < START_LOOKS && ok && (!i || clock.error_ms > LOOK_SURE_MS / 2); i++) {
		node_look_clear(&look);
		ok = look_timed(store, &look, &clock, error);
	}
	ok = ok && check_clock(node, &look, &clock, error);
	node->started_ms = look.now_ms;
	node_look_clear(&look);
	return ok;
}

/* A process that had no time to take its leave has left its ports behind, and with them its id. It is dead, for we have the lock of its data directory: nobody has to wait until its leases end. */
static bool end_former(struct server *server, GError **error)
{
	g_autofree char *path = datadir_path(server->dir, DATADIR_PORTS), *text = NULL;
	g_autoptr(json_t) ports = NULL;
	const char *former;
	gsize len;

	if (!g_file_get_contents(path, &text, &len, NULL))
		return true;
	ports = json_parse(text, len, NULL);
	former = json_string_value(json_object_get(ports, "node"));
	return !former || !pom_id_check(former) || store_node_remove(server->store, former, error);
}

bool server_node_open(struct server *server, GError **error)
{
	struct server_node *node;
	pthread_condattr_t attr;
	char *name = node_name(server->settings, error);

	if (!name)
		return false;
	node = server->node = g_new0(struct server_node, 1);
	node->name = name;
	g_strlcpy(node->id, pom_id_new(pom_clock_system(), pom_random_system()).text, sizeof(node->id));
	node->is_shared = store_is_shared(server->store);
	node->ttl_ms = settings_int(server->settings, SETTING_NODE_LEASE) * 1000;
	pthread_mutex_init(&node->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&node->wake, &attr);
	pthread_condattr_destroy(&attr);
	return check_at_start(node, server->store, error) && (!node->is_shared || end_former(server, error));
}

void server_node_free(struct server *server)
{
	struct server_node *node = server->node;

	if (!node)
		return;
	pthread_mutex_destroy(&node->lock);
	pthread_cond_destroy(&node->wake);
	g_clear_error(&node->trouble);
	g_free(node->name);
	g_free(node->address);
	g_free(node);
}

const char *server_node_name(const struct server *server)
{
	return server->node->name;
}

const char *server_node_id(const struct server *server)
{
	return server->node->id;
}

/* ---- the encryption key */

/* A number that follows from the key, and from which the key does not follow. transfer full. */
static char *key_proof(const struct seal *seal)
{
	uint8_t proof[32];

	seal_derive(seal, KEY_LABEL, proof);
	return hex_format(proof, sizeof(proof));
}

static bool compare_key(const struct server *server, const struct seal *seal, const char *known, GError **error)
{
	g_autofree char *own = key_proof(seal);

	return !strcmp(own, known) || pom_fail(error, POM_ERR_STORE_SEAL, "%s/seal.key is not the encryption key that the secrets in this database are sealed with: all nodes of a database need the same file. Copy it from a node that"
	                                       " runs, or from where you keep it safe", server->dir);
}

bool server_node_check_key(struct server *server, const struct seal *seal, GError **error)
{
	g_autofree char *known = NULL;

	return store_setting_get(server->store, KEY_PROOF, &known, error) && (!known || compare_key(server, seal, known, error));
}

bool server_node_keep_key(struct server *server, const struct seal *seal, GError **error)
{
	g_autofree char *own = key_proof(seal), *known = NULL;

	return store_setting_keep(server->store, KEY_PROOF, own, &known, error) && compare_key(server, seal, known, error);
}

/* ---- the beat */

static void set_trouble(struct server_node *node, GError *trouble)
{
	bool changed, is_good;

	pthread_mutex_lock(&node->lock);
	changed = !node->trouble != !trouble;
	is_good = !trouble;
	if (node->trouble)
		g_error_free(node->trouble);
	node->trouble = trouble;
	pthread_mutex_unlock(&node->lock);
	if (!changed)
		return;
	if (is_good)
		pom_log(POM_LOG_NOTICE, "this node takes work again", "node", node->name, NULL);
	else
		pom_log(POM_LOG_ERROR, "this node takes no work until this is mended", "node", node->name, "reason", pom_error_info(trouble->code)->id, "why", trouble->message, NULL);
}

static enum node_job find_job(const char *name)
{
	for (int i = 0; i < NODE_JOB_MAX; i++)
		if (!strcmp(server_node_job_name((enum node_job)i), name))
			return (enum node_job)i;
	return NODE_JOB_MAX;
}

static void tell_jobs(const char *what, const bool which[NODE_JOB_MAX])
{
	g_autoptr(GString) text = g_string_new(NULL);

	for (int i = 0; i < NODE_JOB_MAX; i++)
		if (which[i])
			g_string_append_printf(text, "%s%s", text->len ? " " : "", server_node_job_name((enum node_job)i));
	if (text->len)
		pom_log(POM_LOG_INFO, what, "jobs", text->str, NULL);
}

/* HELD: what a beat renewed; what is not among it is somebody else's. UNTIL_MS of our own time. */
static void take_holds(struct server_node *node, const GArray *held, int64_t until_ms)
{
	int64_t fences[NODE_JOB_MAX] = {0};
	bool lost[NODE_JOB_MAX];

	for (guint i = 0; held && i < held->len; i++) {
		const struct lease_hold *hold = &g_array_index(held, struct lease_hold, i);
		enum node_job job = find_job(hold->job);

		if (job < NODE_JOB_MAX)
			fences[job] = hold->fence;
	}
	pthread_mutex_lock(&node->lock);
	for (int i = 0; i < NODE_JOB_MAX; i++) {
		lost[i] = node->holds[i].fence && !fences[i];
		node->holds[i].fence = fences[i];
		node->holds[i].until_ms = until_ms;
	}
	pthread_mutex_unlock(&node->lock);
	tell_jobs("this node does this work no more", lost);
}

static unsigned count_holds(struct server_node *node)
{
	unsigned n = 0;

	pthread_mutex_lock(&node->lock);
	for (int i = 0; i < NODE_JOB_MAX; i++)
		n += node->holds[i].fence != 0;
	pthread_mutex_unlock(&node->lock);
	return n;
}

/* How many jobs each of the nodes that can work has to do, ours included. */
static unsigned share(const struct server_node *node, const struct node_look *look)
{
	unsigned n = 1;

	for (guint i = 0; i < look->nodes->len; i++) {
		const struct node_row *row = &g_array_index(look->nodes, struct node_row, i);

		n += strcmp(row->id, node->id) && is_alive(node, row, look->now_ms) && !*row->trouble;
	}
	return (NODE_JOB_MAX + n - 1) / n;
}

static const struct lease_row *find_lease(const struct node_look *look, const char *job)
{
	for (guint i = 0; i < look->leases->len; i++) {
		const struct lease_row *row = &g_array_index(look->leases, struct lease_row, i);

		if (!strcmp(row->job, job))
			return row;
	}
	return NULL;
}

/* Takes what nobody holds, up to our share. UNTIL_MS of our own time. */
static bool take_free(struct server *server, const struct node_look *look, int64_t until_ms, GError **error)
{
	struct server_node *node = server->node;
	unsigned n_held = count_holds(node), wanted = share(node, look), n = 0;
	const char *names[NODE_JOB_MAX];
	enum node_job jobs[NODE_JOB_MAX];
	int64_t fences[NODE_JOB_MAX];
	bool taken[NODE_JOB_MAX] = {false};

	for (int i = 0; i < NODE_JOB_MAX && n_held + n < wanted; i++) {
		const char *name = server_node_job_name((enum node_job)i);
		const struct lease_row *lease = find_lease(look, name);

		if (lease && !lease_is_free(lease, look->now_ms))
			continue;
		jobs[n] = (enum node_job)i;
		names[n++] = name;
	}
	if (!store_leases_take(server->store, names, n, node->id, look->now_ms, node->ttl_ms, fences, error))
		return false;
	pthread_mutex_lock(&node->lock);
	for (unsigned i = 0; i < n; i++) {
		node->holds[jobs[i]].fence = fences[i];
		node->holds[jobs[i]].until_ms = until_ms;
		taken[jobs[i]] = fences[i] != 0;
	}
	pthread_mutex_unlock(&node->lock);
	tell_jobs("this node does this work now", taken);
	if (n)
		server_janitor_told(server, false);
	return true;
}

/* Takes a hold that nobody uses at this moment away from us; NODE_JOB_MAX: there is none. */
static enum node_job drop_hold(struct server_node *node)
{
	enum node_job dropped = NODE_JOB_MAX;

	pthread_mutex_lock(&node->lock);
	for (int i = NODE_JOB_MAX - 1; i >= 0 && dropped == NODE_JOB_MAX; i--)
		if (node->holds[i].fence && !node->holds[i].n_users) {
			node->holds[i].fence = 0;
			dropped = (enum node_job)i;
		}
	pthread_mutex_unlock(&node->lock);
	return dropped;
}

/* Gives up what is more than WANTED. What is worked on just now stays until another beat. */
static bool give_up(struct server *server, unsigned wanted, GError **error)
{
	struct server_node *node = server->node;
	bool ok = true, any = false;

	for (unsigned n = count_holds(node); ok && n > wanted; n--) {
		enum node_job job = drop_hold(node);

		if (job == NODE_JOB_MAX)
			break;
		ok = store_lease_release(server->store, server_node_job_name(job), node->id, error);
		any = true;
	}
	return ok && (!any || store_node_hint(server->store, NODE_HINT_NODES, error));
}

static bool beat_with(struct server *server, const struct node_look *look, const struct clock_look *clock, int64_t until_ms, GError **error)
{
	struct server_node *node = server->node;
	g_autoptr(GArray) held = NULL;
	GError *trouble = NULL;
	bool is_good = check_clock(node, look, clock, &trouble);
	/* Only this thread changes it. */
	const struct node_row row = {node->id, node->name, node->address, POMONA_VERSION, store_schema(), node->started_ms, look->now_ms, clock->ahead_ms, is_good ? "" : trouble->message};

	if (!store_node_beat(server->store, &row, look->now_ms + node->ttl_ms, &held, error)) {
		g_clear_error(&trouble);
		return false;
	}
	set_trouble(node, trouble);
	take_holds(node, held, until_ms);
	if (!is_good)
		return give_up(server, 0, error);
	return give_up(server, share(node, look), error) && take_free(server, look, until_ms, error);
}

/* The database is newer than this program, or its data goes elsewhere: what it would write might be wrong or lost, so it takes its leave. */
static bool leave_newer(struct server *server, GError *trouble, GError **error)
{
	struct server_node *node = server->node;
	/* Only this thread changes it. */
	bool has_left = node->trouble && (node->trouble->code == POM_ERR_NODE_OLD || node->trouble->code == POM_ERR_STORE_MOVE);

	take_holds(node, NULL, 0);
	set_trouble(node, trouble);
	return has_left || store_node_remove(server->store, node->id, error);
}

static bool forget(struct server *server, const struct node_look *look, GError **error)
{
	for (guint i = 0; i < look->nodes->len; i++)
		if (g_array_index(look->nodes, struct node_row, i).seen_ms < look->now_ms - FORGET_MS)
			return store_node_forget(server->store, look->now_ms - FORGET_MS, error);
	return true;
}

static bool beat(struct server *server, GError **error)
{
	struct server_node *node = server->node;
	int64_t until_ms = own_ms() + node->ttl_ms;
	GError *trouble = NULL;
	struct clock_look clock;
	struct node_look look = {0};
	bool ok;

	if (!look_timed(server->store, &look, &clock, error)) {
		node_look_clear(&look);
		return false;
	}
	if (!check_schema(&look, &trouble)) {
		ok = leave_newer(server, trouble, error);
		node_look_clear(&look);
		return ok;
	}
	pthread_mutex_lock(&node->lock);
	if (clock.error_ms > LOOK_SURE_MS / 2)
		clock.ahead_ms = node->clock_ms;
	node->clock_ms = clock.ahead_ms;
	pthread_mutex_unlock(&node->lock);
	ok = beat_with(server, &look, &clock, until_ms, error) && forget(server, &look, error);
	node_look_clear(&look);
	return ok;
}

/* ---- the thread */

/* Until the next beat is due, or somebody wakes us. False: it is time to end. */
static bool wait_turn(struct server_node *node, bool failing)
{
	int64_t pause_ms = failing ? BEAT_AGAIN_MS : MIN(node->ttl_ms / BEATS_PER_LEASE, BEAT_MAX_MS);
	struct timespec until;
	bool go;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += pause_ms / 1000;
	until.tv_nsec += pause_ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&node->lock);
	while (!node->stopping && !node->woken && pthread_cond_timedwait(&node->wake, &node->lock, &until) == 0)
		;
	node->woken = false;
	go = !node->stopping;
	pthread_mutex_unlock(&node->lock);
	return go;
}

/* Says a failure once, until a beat succeeds; that the database is away is told by others. */
static void beat_and_say(struct server *server, bool *failing)
{
	g_autoptr(GError) error = NULL;

	if (beat(server, &error)) {
		*failing = false;
		return;
	}
	if (!*failing && !store_error_is_away(error))
		pom_log(POM_LOG_WARNING, "this node could not say that it is there: others take over its work when it does not come back in time", "node", server->node->name, "why", error->message, NULL);
	*failing = true;
}

static void *node_main(void *data)
{
	struct server *server = data;
	bool failing = false;

	while (wait_turn(server->node, failing))
		beat_and_say(server, &failing);
	return NULL;
}

static char *format_address(const struct server *server)
{
	static const char *const names[] = {"device", "mtls", "proxy", "plain", "admin"};
	g_autoptr(GString) text = g_string_new(NULL);

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		uint16_t port = http_server_port(server->http, names[i]);

		if (port)
			g_string_append_printf(text, "%s%s %u", text->len ? ", " : "", names[i], port);
	}
	return g_strdup(text->str);
}

void server_node_start(struct server *server)
{
	struct server_node *node = server->node;
	g_autoptr(GError) error = NULL;
	bool failing = false;

	node->address = format_address(server);
	if (!node->is_shared)
		return;
	beat_and_say(server, &failing);
	if (!store_node_replace(server->store, node->name, node->started_ms - node->ttl_ms, &error) || !store_node_hint(server->store, NODE_HINT_NODES, &error))
		pom_log(POM_LOG_INFO, "the other nodes could not be told that this one is here", "why", error->message, NULL);
	node->is_running = pthread_create(&node->thread, NULL, node_main, server) == 0;
	store_look_limit(server->store, node->is_running ? LOOK_MAX_MS : 0);
}

void server_node_stop(struct server *server)
{
	struct server_node *node = server->node;
	g_autoptr(GError) error = NULL;

	if (!node->is_running)
		return;
	pthread_mutex_lock(&node->lock);
	node->stopping = true;
	pthread_cond_signal(&node->wake);
	pthread_mutex_unlock(&node->lock);
	pthread_join(node->thread, NULL);
	store_look_limit(server->store, 0);
	if (!store_node_remove(server->store, node->id, &error))
		pom_log(POM_LOG_WARNING, "the work of this node could not be handed over: others take it when its time is up", "why", error->message, NULL);
}

/* ---- work */

bool server_node_check(struct server *server, GError **error)
{
	struct server_node *node = server->node;
	bool ok;

	pthread_mutex_lock(&node->lock);
	ok = !node->trouble;
	if (!ok)
		g_propagate_error(error, g_error_copy(node->trouble));
	pthread_mutex_unlock(&node->lock);
	return ok;
}

bool server_node_enter(struct server *server, enum node_job job)
{
	struct server_node *node = server->node;
	struct hold *hold = &node->holds[job];
	int64_t fence = 0;

	if (!node->is_shared)
		return true;
	pthread_mutex_lock(&node->lock);
	if (hold->fence && !node->trouble && own_ms() < hold->until_ms) {
		fence = hold->fence;
		hold->n_users++;
	}
	pthread_mutex_unlock(&node->lock);
	if (fence)
		store_lease_enter(server->store, server_node_job_name(job), node->id, fence);
	return fence != 0;
}

bool server_node_leave(struct server *server, enum node_job job)
{
	struct server_node *node = server->node;
	bool kept;

	if (!node->is_shared)
		return true;
	kept = store_lease_leave(server->store);
	pthread_mutex_lock(&node->lock);
	node->holds[job].n_users--;
	pthread_mutex_unlock(&node->lock);
	return kept;
}

void server_node_tell(struct server *server, bool hurry)
{
	struct server_node *node = server->node;
	g_autoptr(GError) error = NULL;
	bool is_time;

	if (!node->is_shared || count_holds(node) == NODE_JOB_MAX)
		return;
	pthread_mutex_lock(&node->lock);
	is_time = hurry || own_ms() >= node->told_ms + TELL_EVERY_MS;
	if (is_time)
		node->told_ms = own_ms();
	pthread_mutex_unlock(&node->lock);
	if (is_time && !store_node_hint(server->store, hurry ? NODE_HINT_HURRY : NODE_HINT_WORK, &error))
		pom_log(POM_LOG_DEBUG, "the other nodes could not be told of work", "why", error->message, NULL);
}

static void wake(struct server_node *node)
{
	pthread_mutex_lock(&node->lock);
	node->woken = true;
	pthread_cond_signal(&node->wake);
	pthread_mutex_unlock(&node->lock);
}

void server_node_told(struct server *server, const char *word)
{
	if (!word || !strcmp(word, NODE_HINT_NODES))
		wake(server->node);
	if (!atomic_load(&server->janitor_runs))
		return;
	if (!word || !strcmp(word, NODE_HINT_WORK) || !strcmp(word, NODE_HINT_HURRY))
		server_janitor_told(server, !word || !strcmp(word, NODE_HINT_HURRY));
}

/* ---- what people see */

static json_t *list_jobs(const struct server_node *node, const struct node_look *look, const char *id)
{
	json_t *jobs = json_array();

	for (int i = 0; i < NODE_JOB_MAX; i++) {
		const char *name = server_node_job_name((enum node_job)i);
		const struct lease_row *lease = find_lease(look, name);

		if (!node->is_shared || (lease && !strcmp(lease->node, id) && lease->expires_ms > look->now_ms))
			json_array_append_new(jobs, json_string(name));
	}
	return jobs;
}

static json_t *format_node(const struct server_node *node, const struct node_look *look, const struct node_row *row)
{
	json_t *o = json_object();

	json_set_text(o, "id", row->id);
	json_set_text(o, "name", row->name);
	json_set_text(o, "state", !is_alive(node, row, look->now_ms) ? "silent" : *row->trouble ? "idle" : "working");
	json_set_text(o, "ports", row->address);
	json_set_text(o, "version", row->version);
	json_object_set_new(o, "schema", json_integer(row->schema));
	json_object_set_new(o, "started", json_time(row->started_ms));
	json_object_set_new(o, "seen", json_time(row->seen_ms));
	json_object_set_new(o, "clock_ms", json_integer(row->clock_ms));
	json_set_text(o, "trouble", *row->trouble ? row->trouble : NULL);
	json_object_set_new(o, "jobs", list_jobs(node, look, row->id));
	json_object_set_new(o, "self", json_boolean(!strcmp(row->id, node->id)));
	return o;
}

/* Alone there is no row. */
static json_t *list_self(const struct server_node *node, const struct node_look *look)
{
	const struct node_row row = {node->id, node->name, node->address, POMONA_VERSION, look->schema, node->started_ms, look->now_ms, 0, ""};
	json_t *items = json_array();

	json_array_append_new(items, format_node(node, look, &row));
	return json_page(items, NULL, 0);
}

json_t *server_node_list(struct server *server, const char *after, int64_t limit, GError **error)
{
	const struct server_node *node = server->node;
	struct node_look look = {0};
	const char *last = NULL;
	json_t *items, *page;

	if (!store_node_look(server->store, &look, error))
		return NULL;
	if (!node->is_shared) {
		page = list_self(node, &look);
		node_look_clear(&look);
		return page;
	}
	items = json_array();
	for (guint i = 0; i < look.nodes->len && (int64_t)json_array_size(items) < limit; i++) {
		const struct node_row *row = &g_array_index(look.nodes, struct node_row, i);

		if (strcmp(row->id, after) <= 0)
			continue;
		json_array_append_new(items, format_node(node, &look, row));
		last = row->id;
	}
	page = json_page(items, last, limit);
	node_look_clear(&look);
	return page;
}
