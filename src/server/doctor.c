/* The doctor of this server, in a thread of its own: it looks from outside, through the public URL, so it must not hold up what it looks at. A look first says what concerns this server, which takes a second,
 * and then what of Apple can be reached, which may take long where packets are dropped. */
#include <string.h>

#include "base/log.h"
#include "base/metric.h"
#include "probe/probe.h"
#include "server/datadir.h"
#include "server/node.h"
#include "server/server_internal.h"
#include "server/system_roots.h"
#include "service/doctor.h"
#include "service/enroll.h"

enum { FINDINGS_LOGGED_MAX = 50, STEPS = 9, APPLE_STEP_MS = 3000, WATCH_STEP_MS = 3000, WATCH_TOTAL_MS = 10000 };

#define CHECKIN_URL "/mdm"
#define OWN_REFUSAL "POM-E"

struct server_doctor {
	struct server *server;
	pthread_mutex_t lock;        /* of all below */
	pthread_cond_t wake, done;
	pthread_t thread;
	bool stopping, is_running;
	uint64_t n_asked, n_finished; /* looks */
	json_t *report;              /* NULL: none yet */
	int64_t finished_ms;
	bool is_fresh;               /* of this process */
	int stop;                    /* ends what is being looked at */
};

/* One look. */
struct look {
	struct server *server;
	struct doctor doctor;
	struct probe probe;
	probe_target target;
	const char *url;
	bool is_whole; /* somebody asked: also what leaves a line in our own log */
};

/* ---- what is looked at ---- */

static void look_scep(const struct look *look)
{
	g_autofree char *url = g_strconcat(look->url, "/scep", NULL);
	g_autoptr(GBytes) fingerprint = service_ca_fingerprint(look->server->service);
	g_auto(probe_target) target = {0};

	if (probe_target_parse(url, &target, NULL))
		probe_scep(&look->probe, &target, fingerprint, false);
}

/* ServerURL and CheckInURL are one. An empty message is refused by us, and by nobody else in our words. */
static void look_mdm(const struct look *look)
{
	g_autofree char *url = g_strconcat(look->url, CHECKIN_URL, NULL);
	struct doctor_answer answer;
	gsize len = 0;
	const char *body;

	probe_fetch("PUT", url, NULL, look->probe.step_ms, look->probe.stop, &answer);
	body = answer.body ? g_bytes_get_data(answer.body, &len) : NULL;
	if (!answer.status)
		doctor_say(&look->doctor, "mdm-unreachable", url, "%s", answer.why);
	else if (answer.status == 401)
		doctor_say(&look->doctor, "mdm-unauthorized", url, "%s is answered with 401", url);
	else if (!body || !memmem(body, len, OWN_REFUSAL, strlen(OWN_REFUSAL)))
		doctor_say(&look->doctor, "mdm-elsewhere", url, "%s is answered with %d by something else than this server", url, answer.status);
	doctor_answer_clear(&answer);
}

static void look_self(const struct look *look)
{
	g_autoptr(GError) error = NULL;

	doctor_url(&look->doctor, look->url, look->target.host);
	if (probe_look(&look->probe, &look->target)) {
		look_scep(look);
		if (look->is_whole)
			look_mdm(look);
	} else {
		doctor_say(&look->doctor, "mdm-unreachable", look->url, "nobody can speak TLS with %s from here", look->url);
	}
	if (!service_doctor_push(look->server->service, &look->doctor, &error) && !store_error_is_away(error))
		pom_log(POM_LOG_WARNING, "the doctor could not read the push certificates", "why", error->message, NULL);
}

/* Whether the server of URL shakes hands; *RET_WHY (transfer full) when not. */
static bool can_reach(const char *url, const int *stop, char **ret_why)
{
	g_auto(probe_target) target = {0};
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) addresses = probe_target_parse(url, &target, &error) ? probe_resolve(target.host, APPLE_STEP_MS, stop, &error) : NULL;
	struct doctor_hello hello = {0};
	bool ok;

	if (!addresses) {
		*ret_why = g_strdup(error->message);
		return false;
	}
	g_autofree char *address = strchr(addresses->pdata[0], ':') ? g_strdup_printf("[%s]:%u", (char *)addresses->pdata[0], target.port) : g_strdup_printf("%s:%u", (char *)addresses->pdata[0], target.port);

	probe_hello(address, target.host, APPLE_STEP_MS, stop, &hello);
	ok = hello.outcome == DOCTOR_CONNECTED;
	*ret_why = ok ? NULL : g_strdup(hello.why);
	doctor_hello_clear(&hello);
	return ok;
}

static void look_apple(const struct look *look)
{
	static const char *const hosts[] = {"https://identity.apple.com", "https://mdmenrollment.apple.com"};
	const char *apns = settings_text(look->server->settings, SETTING_APNS_URL);
	g_autofree char *apns_why = NULL;
	/* Through a proxy only the push thread goes: "pomona push status" tells how it fares. */
	bool is_direct = !look->server->pusher || !pusher_proxy(look->server->pusher);
	bool has_apns = !apns || !is_direct || can_reach(apns, look->probe.stop, &apns_why), has_apple = false;

	for (size_t i = 0; i < G_N_ELEMENTS(hosts) && !has_apple; i++) {
		g_autofree char *why = NULL;

		has_apple = can_reach(hosts[i], look->probe.stop, &why);
	}
	if (!has_apple)
		doctor_say(&look->doctor, "offline", "", "identity.apple.com and mdmenrollment.apple.com cannot be reached from here");
	/* Where nothing of Apple is in reach, its APNs is not, either. */
	if (!has_apns && (has_apple || !strstr(apns, ".apple.com")))
		doctor_say(&look->doctor, "apns-unreachable", apns, "%s cannot be reached: %s", apns, apns_why);
}

/* ---- what comes of it ---- */

static bool was_known(json_t *old, json_t *finding)
{
	json_t *list = json_object_get(old, "findings"), *item;
	size_t i;

	json_array_foreach(list, i, item)
		if (json_equal(json_object_get(item, "rule"), json_object_get(finding, "rule")) && json_equal(json_object_get(item, "path"), json_object_get(finding, "path")))
			return true;
	return false;
}

/* Each finding is told once, not at every look. BEFORE: what the last look had found; EARLIER: what this one had already told. Both may be NULL. */
static void log_new(json_t *before, json_t *earlier, json_t *report)
{
	json_t *list = json_object_get(report, "findings"), *item;
	unsigned n = 0;
	size_t i;

	json_array_foreach(list, i, item) {
		const char *severity = json_string_value(json_object_get(item, "severity"));

		if (!was_known(before, item) && !was_known(earlier, item) && n++ < FINDINGS_LOGGED_MAX)
			pom_log(g_strcmp0(severity, "note") ? POM_LOG_WARNING : POM_LOG_NOTICE, "doctor", "severity", severity, "rule", json_string_value(json_object_get(item, "rule")), "what",
			        json_string_value(json_object_get(item, "text")), "mend", json_string_value(json_object_get(item, "mend")), NULL);
	}
}

static void count(const struct finding_report *report)
{
	for (int s = 0; s < FINDING_SEVERITY_MAX; s++)
		pom_metric_set(POM_METRIC_DOCTOR, finding_severity_name((enum finding_severity)s), report->n[s]);
}

/* The report as far as it is. EARLIER: whether this look had published a part already. */
static void publish(struct server_doctor *d, struct finding_report *found, json_t *before, bool earlier)
{
	json_t *report;

	finding_report_sort(found);
	report = finding_report_format(found);
	count(found);
	pthread_mutex_lock(&d->lock);
	log_new(before, earlier ? d->report : NULL, report);
	json_decref(d->report);
	d->report = report;
	d->finished_ms = service_now_ms(d->server->service);
	d->is_fresh = true;
	pthread_cond_broadcast(&d->done);
	pthread_mutex_unlock(&d->lock);
}

static bool is_stopping(struct server_doctor *d)
{
	bool stopping;

	pthread_mutex_lock(&d->lock);
	stopping = d->stopping;
	pthread_mutex_unlock(&d->lock);
	return stopping;
}

static json_t *last_report(struct server_doctor *d)
{
	json_t *report;

	pthread_mutex_lock(&d->lock);
	report = json_deep_copy(d->report);
	pthread_mutex_unlock(&d->lock);
	return report;
}

static void save(struct server_doctor *d)
{
	g_autoptr(json_t) report = last_report(d);
	g_autoptr(GError) error = NULL;

	/* Nobody but this thread writes it. */
	if (!service_doctor_save(d->server->service, report, d->finished_ms, &error))
		pom_log(POM_LOG_WARNING, "the doctor's report could not be kept", "why", error->message, NULL);
}

static void look(struct server_doctor *d, bool is_whole)
{
	struct server *server = d->server;
	int64_t now_s = service_now_ms(server->service) / 1000;
	unsigned step_ms = (unsigned)settings_int(server->settings, SETTING_DOCTOR_TIMEOUT) * 1000;
	g_autoptr(finding_report) report = finding_report_new(settings_text(server->settings, SETTING_URL));
	g_autoptr(json_t) before = last_report(d);
	g_autoptr(GPtrArray) roots = system_roots_load(), own = service_doctor_roots(server->service);
	struct look look = {.server = server, .url = settings_text(server->settings, SETTING_URL), .is_whole = is_whole,
	                    .doctor = {.report = report, .systems = FINDING_ALL_SYSTEMS, .now_s = now_s, .public_roots = roots, .trusted = own}};

	look.probe = (struct probe){.doctor = &look.doctor, .real_now_s = now_s, .stop = &d->stop, .step_ms = step_ms, .deadline_us = g_get_monotonic_time() + (int64_t)step_ms * STEPS * 1000};
	if (!probe_target_parse(look.url, &look.target, NULL))
		return;
	look_self(&look);
	if (!is_stopping(d)) {
		publish(d, report, before, false);
		look_apple(&look);
	}
	if (!is_stopping(d)) {
		publish(d, report, before, true);
		save(d);
	}
	probe_target_clear(&look.target);
}

/* What another node has found. */
static void read_report(struct server_doctor *d)
{
	g_autoptr(GError) error = NULL;
	json_t *report = NULL;
	int64_t finished_ms = 0;

	if (!service_doctor_load(d->server->service, &report, &finished_ms, &error)) {
		pom_log(POM_LOG_WARNING, "the doctor's last report could not be read", "why", error->message, NULL);
		return;
	}
	pthread_mutex_lock(&d->lock);
	if (report && finished_ms > d->finished_ms) {
		json_t *before = d->report;

		d->report = report;
		d->finished_ms = finished_ms;
		report = before;
	}
	pthread_mutex_unlock(&d->lock);
	json_decref(report);
}

/* All nodes stand behind one URL: when the time has come one of them looks, and the others read what was found last. */
static void look_in_turn(struct server_doctor *d)
{
	if (!server_node_enter(d->server, NODE_DOCTOR)) {
		read_report(d);
		return;
	}
	look(d, true);
	(void)server_node_leave(d->server, NODE_DOCTOR);
}

/* ---- the thread ---- */

/* Waits until a look is due; its number, 0: it is time to end. *RET_IN_TURN: nobody has asked for it. */
static uint64_t wait_for_work(struct server_doctor *d, uint64_t n_done, bool *ret_in_turn)
{
	int64_t hours = settings_int(d->server->settings, SETTING_DOCTOR_HOURS);
	struct timespec until;
	bool is_due = false;
	uint64_t n;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += hours * 3600;
	pthread_mutex_lock(&d->lock);
	while (!d->stopping && d->n_asked == n_done && !is_due) {
		if (hours)
			is_due = pthread_cond_timedwait(&d->wake, &d->lock, &until) != 0;
		else
			pthread_cond_wait(&d->wake, &d->lock);
	}
	if (is_due)
		d->n_asked++;
	*ret_in_turn = is_due;
	n = d->stopping ? 0 : d->n_asked;
	d->is_running = n != 0;
	pthread_mutex_unlock(&d->lock);
	return n;
}

static void *doctor_main(void *ctx)
{
	struct server_doctor *d = ctx;
	uint64_t n_done = 0, n;
	bool is_first = settings_int(d->server->settings, SETTING_DOCTOR_HOURS) > 0, in_turn;

	while ((n = wait_for_work(d, n_done, &in_turn))) {
		if (in_turn)
			look_in_turn(d);
		else
			look(d, !is_first);
		is_first = false;
		n_done = n;
		pthread_mutex_lock(&d->lock);
		d->n_finished = n;
		d->is_running = d->n_asked != n;
		pthread_cond_broadcast(&d->done);
		pthread_mutex_unlock(&d->lock);
	}
	return NULL;
}

static void init_cond(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

void server_doctor_start(struct server *server)
{
	struct server_doctor *d = g_new0(struct server_doctor, 1);
	g_autoptr(GError) error = NULL;

	d->server = server;
	pthread_mutex_init(&d->lock, NULL);
	init_cond(&d->wake);
	init_cond(&d->done);
	if (!service_doctor_load(server->service, &d->report, &d->finished_ms, &error))
		pom_log(POM_LOG_WARNING, "the doctor's last report could not be read", "why", error->message, NULL);
	d->n_asked = settings_int(server->settings, SETTING_DOCTOR_HOURS) > 0;
	pthread_create(&d->thread, NULL, doctor_main, d);
	server->doctor = d;
}

void server_doctor_stop(struct server *server)
{
	struct server_doctor *d = server->doctor;

	pthread_mutex_lock(&d->lock);
	d->stopping = true;
	pthread_cond_broadcast(&d->wake);
	pthread_cond_broadcast(&d->done);
	pthread_mutex_unlock(&d->lock);
	__atomic_store_n(&d->stop, 1, __ATOMIC_SEQ_CST);
	pthread_join(d->thread, NULL);
}

void server_doctor_free(struct server *server)
{
	struct server_doctor *d = server->doctor;

	if (!d)
		return;
	pthread_mutex_destroy(&d->lock);
	pthread_cond_destroy(&d->wake);
	pthread_cond_destroy(&d->done);
	json_decref(d->report);
	g_free(d);
}

/* ---- what others ask ---- */

uint64_t server_doctor_ask(struct server *server)
{
	struct server_doctor *d = server->doctor;
	uint64_t n;

	pthread_mutex_lock(&d->lock);
	/* One that waits serves all who ask; one that runs may have passed what changed since. */
	if (d->n_asked == d->n_finished + (d->is_running ? 1 : 0))
		d->n_asked++;
	n = d->n_asked;
	pthread_cond_signal(&d->wake);
	pthread_mutex_unlock(&d->lock);
	return n;
}

static void wait_for_first(struct server_doctor *d, unsigned wait_ms)
{
	int64_t end_us = g_get_monotonic_time() + (int64_t)wait_ms * 1000;
	struct timespec until = {.tv_sec = end_us / G_USEC_PER_SEC, .tv_nsec = end_us % G_USEC_PER_SEC * 1000};

	while (!d->is_fresh && !d->stopping && d->n_asked && g_get_monotonic_time() < end_us)
		if (pthread_cond_timedwait(&d->done, &d->lock, &until))
			return;
}

json_t *server_doctor_report(struct server *server, unsigned wait_ms)
{
	struct server_doctor *d = server->doctor;
	g_autofree char *finished = NULL, *url = datadir_store_url(server->dir, server->settings), *store = store_url_show(url);
	json_t *report;

	pthread_mutex_lock(&d->lock);
	wait_for_first(d, wait_ms);
	report = d->report ? json_deep_copy(d->report) : json_pack("{s:s, s:i, s:i, s:i, s:[]}", "target", settings_text(server->settings, SETTING_URL), "errors", 0, "warnings", 0, "notes", 0, "findings");
	finished = d->report ? pom_time_format(d->finished_ms) : NULL;
	json_object_set_new(report, "finished", finished ? json_string(finished) : json_null());
	json_object_set_new(report, "run", json_integer((json_int_t)d->n_finished));
	json_object_set_new(report, "running", json_boolean(d->is_running));
	json_object_set_new(report, "store", json_string(store));
	pthread_mutex_unlock(&d->lock);
	return report;
}

json_t *server_doctor_findings(struct server *server, unsigned wait_ms)
{
	g_autoptr(json_t) report = server_doctor_report(server, wait_ms);
	json_t *list = json_object_get(report, "findings"), *worse = json_array(), *item;
	size_t i;

	json_array_foreach(list, i, item)
		if (g_strcmp0(json_string_value(json_object_get(item, "severity")), "note"))
			json_array_append(worse, item);
	return worse;
}

/* ---- for a watch ---- */

/* Why nobody could be looked at. */
static char *first_error(const struct finding_report *report)
{
	for (guint i = 0; i < report->findings->len; i++) {
		const struct finding *f = report->findings->pdata[i];

		if (f->severity == FINDING_ERROR)
			return g_strdup_printf("%s: %s", f->rule, f->text);
	}
	return g_strdup("nobody speaks TLS there");
}

struct finding_report *server_doctor_watch(struct server *server, const GPtrArray *anchors, char **ret_unreachable)
{
	const char *url = settings_text(server->settings, SETTING_URL);
	int64_t now_s = service_now_ms(server->service) / 1000;
	unsigned step_ms = MIN((unsigned)settings_int(server->settings, SETTING_DOCTOR_TIMEOUT) * 1000, (unsigned)WATCH_STEP_MS);
	g_autoptr(finding_report) report = finding_report_new(url), own = finding_report_new(url);
	g_autoptr(GPtrArray) roots = system_roots_load(), chain = NULL;
	struct doctor doctor = {.report = report, .systems = FINDING_WATCHOS, .now_s = now_s, .public_roots = roots, .anchors = anchors, .are_pins = true};
	const struct probe probe = {.doctor = &doctor, .real_now_s = now_s, .stop = &server->doctor->stop, .step_ms = step_ms, .deadline_us = g_get_monotonic_time() + (int64_t)WATCH_TOTAL_MS * 1000};
	g_auto(probe_target) target = {0};
	g_autoptr(GError) error = NULL;

	if (probe_target_parse(url, &target, &error) && probe_look(&probe, &target))
		return g_steal_pointer(&report);
	*ret_unreachable = error ? g_strdup(error->message) : first_error(report);
	chain = server_tls_chain(server);
	doctor.report = own;
	doctor_chain(&doctor, chain, target.host, "");
	return g_steal_pointer(&own);
}
