#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/face.h"
#include "sim/device_internal.h"

enum { THREADS_MAX = 200, POLL_MS = 1000, BOOTSTRAP_TOKEN_LEN = 32, COMMANDS_MAX = 10000 };
enum { INVALID_REPLACEMENT = 12009, REPLACEMENT_MISMATCH = 12012 };

/* ---- a device ---- */

struct device *device_new(const struct sim_device_options *options, const char *url, const char *state_dir)
{
	struct device *d = g_new0(struct device, 1);

	d->options = options;
	d->model = sim_model_of(options->kind);
	d->url = url;
	d->state_dir = g_strdup(state_dir);
	d->http = sim_http_new(options->stop);
	d->ddm = sim_ddm_new();
	d->installed = g_ptr_array_new_with_free_func((GDestroyNotify)sim_mobileconfig_free);
	d->users = g_ptr_array_new_with_free_func(sim_user_free);
	d->identities = sim_identities_new();
	d->supervised = options->supervised || d->model->always_supervised;
	device_invent(d);
	return d;
}

void device_free(struct device *d)
{
	if (!d)
		return;
	g_free(d->state_dir);
	g_free(d->udid);
	g_free(d->serial);
	g_free(d->name);
	g_free(d->magic);
	sim_profile_free(d->profile);
	sim_http_free(d->http);
	EVP_PKEY_free(d->key);
	X509_free(d->cert);
	sim_identity_free(d->factory);
	sim_certs_free(d->factory_chain);
	g_ptr_array_unref(d->identities);
	g_ptr_array_unref(d->installed);
	g_ptr_array_unref(d->users);
	sim_ddm_free(d->ddm);
	g_clear_pointer(&d->ddm_tokens, g_bytes_unref);
	g_free(d->watch_url);
	g_free(d->watch_pins);
	g_free(d);
}

/* The roots of --ca-file; NULL without ERROR when there are none. transfer full. */
static sim_certs *read_roots(const struct sim_device_options *options, GError **error)
{
	g_autofree char *pem = NULL;
	g_autoptr(GError) why = NULL;

	if (!options->ca_file)
		return sk_X509_new_null();
	if (g_file_get_contents(options->ca_file, &pem, NULL, &why))
		return sim_certs_parse(pem, options->ca_file, error);
	pom_fail(error, POM_ERR_USAGE, "%s", why->message);
	return NULL;
}

static void append_pem(GString *pem, const sim_certs *certs)
{
	for (int i = 0; certs && i < sk_X509_num(certs); i++) {
		g_autofree char *one = sim_cert_pem(sk_X509_value(certs, i));

		g_string_append(pem, one);
	}
}

/* The roots of --ca-file, of the enrollment profile, if there is one, and of all that were installed are trusted from now on. */
static void trust(struct device *d, const sim_certs *roots)
{
	g_autoptr(GString) pem = g_string_new(NULL);

	/* Anchors that a declaration lists are all that counts. */
	if (d->watch_pins && !d->profile) {
		sim_http_trust(d->http, d->watch_pins);
		return;
	}
	append_pem(pem, roots);
	append_pem(pem, d->profile ? d->profile->roots : NULL);
	for (guint i = 0; i < d->installed->len; i++) {
		const sim_mobileconfig *profile = g_ptr_array_index(d->installed, i);
		g_autoptr(sim_certs) more = sim_profile_roots(profile->tree);

		append_pem(pem, more);
	}
	sim_http_trust(d->http, pem->str);
}

bool device_trust(struct device *d, GError **error)
{
	g_autoptr(sim_certs) roots = read_roots(d->options, error);

	if (roots)
		trust(d, roots);
	return roots != NULL;
}

/* ---- enrollment ---- */

/* Whether the answer is a page for people: the profile is behind it then. */
static bool is_html(const struct sim_reply *reply)
{
	return reply->content_type && g_str_has_prefix(reply->content_type, "text/html");
}

static bool fetch_url(struct device *d, const char *url, struct sim_reply *ret, GError **error)
{
	struct sim_request request = {.method = "GET", .url = url};

	if (!sim_http_send(d->http, &request, ret, error))
		return false;
	return ret->status == 200 || device_refused(d, "the request for the profile", ret, error);
}

static GBytes *fetch(struct device *d, GError **error)
{
	g_auto(sim_reply) reply = {0};
	g_autofree char *longer = NULL, *text = NULL;
	g_autoptr(GError) why = NULL;
	gsize len;

	if (!strstr(d->url, "://")) {
		if (g_file_get_contents(d->url, &text, &len, &why))
			return g_bytes_new_take(g_steal_pointer(&text), len);
		pom_fail(error, POM_ERR_USAGE, "%s", why->message);
		return NULL;
	}
	if (!fetch_url(d, d->url, &reply, error))
		return NULL;
	if (is_html(&reply)) {
		longer = g_strdup_printf("%s%sprofile", d->url, g_str_has_suffix(d->url, "/") ? "" : "/");
		if (!fetch_url(d, longer, &reply, error))
			return NULL;
	}
	return g_bytes_ref(reply.body);
}

bool device_take_profile(struct device *d, GBytes *bytes, GError **error)
{
	g_autoptr(sim_certs) roots = read_roots(d->options, error);
	g_autoptr(GPtrArray) identities = device_identities(d);
	sim_profile *profile = roots ? sim_profile_parse(bytes, roots, identities, error) : NULL;

	if (!profile)
		return false;
	sim_profile_free(d->profile);
	d->profile = profile;
	trust(d, roots);
	device_say(d, "profile", json_pack("{s:s, s:s?, s:b, s:s, s:b}", "url", d->url, "signer", d->profile->signer, "trusted", d->profile->signer_trusted, "topic", d->profile->topic,
	           "encrypted", d->profile->form->encrypted), "fetched the profile from %s (%s%s%s%s)", d->url, d->profile->signer ? "signed by " : "unsigned",
	           d->profile->signer ? d->profile->signer : "", d->profile->signer && !d->profile->signer_trusted ? ", not verified" : "", d->profile->form->encrypted ? ", encrypted" : "");
	return true;
}

bool device_fetch_profile(struct device *d, GError **error)
{
	g_autoptr(GBytes) bytes = NULL;
	bool is_service = false;

	if (d->model->kind == SIM_WATCH)
		return device_watch_profile(d, error);
	if (!device_trust(d, error) || !(bytes = fetch(d, error)))
		return false;
	if (!device_ota(d, bytes, &is_service, error))
		return false;
	return is_service || device_take_profile(d, bytes, error);
}

/* The reason of a SCEP refusal as a device shows it. */
static bool scep_refused(const struct sim_scep_outcome *outcome, GError **error)
{
	if (outcome->http_status != 200)
		return pom_fail(error, POM_ERR_CONFLICT, "22013: the SCEP server answered HTTP %d", outcome->http_status);
	return pom_fail(error, POM_ERR_CONFLICT, "22013: the SCEP server refused the certificate request (failInfo %s)", outcome->fail_info ? outcome->fail_info : "missing");
}

static struct sim_identity *ask_scep(struct device *d, const struct sim_scep_settings *scep, GError **error)
{
	g_autoptr(EVP_PKEY) key = sim_key_new_bits((unsigned)scep->key_bits);
	struct sim_identity *identity = NULL;
	struct sim_scep_outcome outcome;

	if (!sim_scep_enroll(d->http, scep, sim_scep_form_find(d->model->macos ? "macos" : "ios"), key, NULL, d->options->stop, &outcome, error))
		return NULL;
	if (outcome.status == SIM_SCEP_SUCCESS)
		identity = sim_identity_new(key, outcome.cert);
	else
		scep_refused(&outcome, error);
	sim_scep_outcome_clear(&outcome);
	return identity;
}

struct sim_identity *device_obtain(struct device *d, const struct sim_identity_payload *payload, GError **error)
{
	return payload->pkcs12 ? sim_identity_payload_open(payload, error) : ask_scep(d, &payload->scep, error);
}

GPtrArray *device_identities(const struct device *d)
{
	GPtrArray *all = sim_identities_new();

	if (d->key)
		g_ptr_array_add(all, sim_identity_new(d->key, d->cert));
	for (guint i = d->identities->len; i--;) {
		const struct sim_identity *old = g_ptr_array_index(d->identities, i);

		g_ptr_array_add(all, sim_identity_new(old->key, old->cert));
	}
	for (guint i = 0; i < d->installed->len; i++) {
		const sim_mobileconfig *profile = g_ptr_array_index(d->installed, i);

		for (guint j = 0; j < profile->identities->len; j++) {
			const struct sim_identity *brought = g_ptr_array_index(profile->identities, j);

			g_ptr_array_add(all, sim_identity_new(brought->key, brought->cert));
		}
	}
	return all;
}

/* The one before stays on the device, as what is encrypted to it may still come. */
static void take_identity(struct device *d, const struct sim_identity *identity, const char *how)
{
	g_autofree char *serial = sim_cert_serial(identity->cert), *subject = sim_cert_subject(identity->cert);

	if (d->key)
		g_ptr_array_add(d->identities, sim_identity_new(d->key, d->cert));
	EVP_PKEY_free(d->key);
	X509_free(d->cert);
	EVP_PKEY_up_ref(identity->key);
	X509_up_ref(identity->cert);
	d->key = identity->key;
	d->cert = identity->cert;
	sim_http_set_identity(d->http, d->key, d->cert);
	device_say(d, "identity", json_pack("{s:s, s:s}", "serial", serial, "subject", subject), "got its identity certificate by %s (serial %s)", how, serial);
}

bool device_get_identity(struct device *d, GError **error)
{
	struct sim_identity *identity = device_obtain(d, &d->profile->identity, error);

	if (!identity)
		return false;
	take_identity(d, identity, d->profile->identity.pkcs12 ? "PKCS#12" : "SCEP");
	sim_identity_free(identity);
	return true;
}

/* What Apple devices do not let an update change. */
static bool check_update(const sim_profile *before, const sim_profile *after, GError **error)
{
	const struct { const char *key, *before, *after; } fixed[] = {
		{"PayloadIdentifier", before->identifier, after->identifier}, {"ServerURL", before->server_url, after->server_url}, {"CheckInURL", before->checkin_url, after->checkin_url},
		{"Topic", before->topic, after->topic},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(fixed); i++)
		if (strcmp(fixed[i].before, fixed[i].after))
			return sim_refuse(error, "MCMDMErrorDomain", REPLACEMENT_MISMATCH, "the new profile changes %s from \"%s\" to \"%s\"", fixed[i].key, fixed[i].before, fixed[i].after);
	return true;
}

bool device_update_profile(struct device *d, GBytes *bytes, GError **error)
{
	g_autoptr(GPtrArray) identities = device_identities(d);
	g_autoptr(GError) why = NULL;
	g_autoptr(sim_profile) after = sim_profile_parse(bytes, d->profile->roots, identities, &why), before = NULL;

	if (!after)
		return sim_refuse(error, "MCMDMErrorDomain", INVALID_REPLACEMENT, "%s", why->message);
	if (!check_update(d->profile, after, error))
		return false;
	before = d->profile;
	d->profile = g_steal_pointer(&after);
	if (!device_trust(d, error) || !device_get_identity(d, error)) {
		sim_profile_free(d->profile);
		d->profile = g_steal_pointer(&before);
		return false;
	}
	device_say(d, "profile_updated", NULL, "took a new enrollment profile");
	return device_save(d, error);
}

bool device_authenticate(struct device *d, GError **error)
{
	g_autoptr(plist) message = device_authenticate_message(d);
	g_auto(sim_reply) reply = {0};

	if (!device_tell(d, DEVICE_CHECKIN, message, &reply, error))
		return false;
	if (reply.status != 200)
		return device_refused(d, "Authenticate", &reply, error);
	device_say(d, "authenticate", json_pack("{s:s}", "serial_number", d->serial), "Authenticate accepted");
	return true;
}

bool device_update_token(struct device *d, GError **error)
{
	g_autoptr(plist) message = device_token_update_message(d);
	g_auto(sim_reply) reply = {0};

	if (!device_tell_until_heard(d, DEVICE_CHECKIN, message, &reply, error))
		return false;
	device_say(d, "token_update", NULL, "TokenUpdate accepted: enrolled");
	return true;
}

static bool set_bootstrap_token(struct device *d, GError **error)
{
	g_autoptr(plist) message = device_message(d, "SetBootstrapToken");
	g_auto(sim_reply) reply = {0};
	uint8_t token[BOOTSTRAP_TOKEN_LEN];

	pom_random_fill(pom_random_system(), token, sizeof(token));
	plist_dict_set_data(message, "BootstrapToken", token, sizeof(token));
	if (!device_tell_until_heard(d, DEVICE_CHECKIN, message, &reply, error))
		return false;
	device_say(d, "bootstrap_token", NULL, "SetBootstrapToken accepted");
	return true;
}

bool device_enroll(struct device *d, GError **error)
{
	return device_fetch_profile(d, error) && device_get_identity(d, error) && device_authenticate(d, error) && device_update_token(d, error) &&
	       device_save(d, error) && (!d->model->macos || d->minimal || d->options->user_enrollment || set_bootstrap_token(d, error));
}

/* ---- the loop ---- */

static void leave(struct device *d, const char *step, const char *text)
{
	d->gone = true;
	device_forget(d);
	device_say(d, step, NULL, "%s", text);
}

/* What the last command leads to, once its answer has arrived. */
static void take_consequences(struct device *d)
{
	g_autoptr(plist) message = NULL;
	g_autoptr(GError) ignored = NULL;
	g_auto(sim_reply) reply = {0};

	if (d->erase_next) {
		leave(d, "erase", "has been erased");
		return;
	}
	if (!d->check_out_next)
		return;
	/* A device tries once, and does not care for the answer. */
	if (d->profile->check_out_when_removed) {
		message = device_message(d, "CheckOut");
		if (!device_tell(d, DEVICE_CHECKIN, message, &reply, &ignored) && d->gone)
			return;
	}
	leave(d, "check_out", "removed its enrollment profile");
}

/* A device synchronizes once it has answered the command that tells it to. */
static bool follow_declarations(struct device *d, GError **error)
{
	g_autoptr(GBytes) tokens = g_steal_pointer(&d->ddm_tokens);

	return !tokens || d->gone || device_synchronize(d, tokens, error);
}

bool device_connect(struct device *d, GError **error)
{
	g_autoptr(plist) message = device_report_message(d, "Idle", NULL);

	for (int i = 0; i < COMMANDS_MAX; i++) {
		g_auto(sim_reply) reply = {0};
		g_autoptr(plist) command = NULL;
		gsize len;
		const void *data;

		if (!device_tell_until_heard(d, DEVICE_REPORT, message, &reply, error))
			return false;
		take_consequences(d);
		if (!follow_declarations(d, error))
			return false;
		data = g_bytes_get_data(reply.body, &len);
		if (d->gone || !len)
			return true;
		command = plist_parse(data, len, NULL, error);
		if (!command) {
			g_prefix_error(error, "the server's command cannot be read: ");
			return false;
		}
		plist_free(g_steal_pointer(&message));
		message = device_answer(d, command);
	}
	return pom_fail(error, POM_ERR_LIMIT, "the server gave %d commands in one connection", COMMANDS_MAX);
}

/* Waits until it is time for the next connection; false when it is time to end. */
static bool wait_turn(struct device *d, wake *w, bool at_once)
{
	if (at_once)
		return !sim_stopped(d->options->stop);
	if (!w)
		return sim_sleep_ms(d->options->stop, POLL_MS);
	if (!wake_wait(w))
		return false;
	device_say(d, "push", NULL, "woken by a push");
	return true;
}

/* Connections until it is time to end. The last one decides whether all went well: a device that was refused asks again. */
static bool run_loop(struct device *d, wake *w, bool at_once, GError **error)
{
	g_autoptr(GError) trouble = NULL;

	for (int64_t n = 0; (d->options->polls < 0 || n < d->options->polls) && !d->gone && wait_turn(d, w, at_once); n++) {
		g_clear_error(&trouble);
		at_once = false;
		if (!device_connect(d, &trouble) || !device_connect_users(d, &trouble))
			device_say(d, "refused", json_pack("{s:i}", "status", d->last_status), "%s", trouble->message);
	}
	if (!trouble)
		return true;
	g_propagate_error(error, g_steal_pointer(&trouble));
	return false;
}

/* Whether it carries on where an earlier run ended. */
static bool resume(struct device *d, bool *ret_found, GError **error)
{
	g_autoptr(sim_certs) roots = NULL;

	if (!device_load(d, ret_found, error))
		return false;
	if (!*ret_found)
		return true;
	roots = read_roots(d->options, error);
	if (!roots)
		return false;
	trust(d, roots);
	sim_http_set_identity(d->http, d->key, d->cert);
	device_say(d, "resumed", NULL, "carries on with the identity in %s", d->state_dir);
	return true;
}

static bool run_device(struct device *d, GError **error)
{
	g_autoptr(wake) w = NULL;
	bool resumed;

	if (!resume(d, &resumed, error))
		return false;
	if (d->options->apns) {
		w = wake_new(d, d->options->apns, error);
		if (!w)
			return false;
		/* Before TokenUpdate, which the server may answer with a push. */
		wake_connect(w);
	}
	if ((!resumed && !device_enroll(d, error)) || !device_begin_users(d, error))
		return false;
	return run_loop(d, w, resumed || !w, error);
}

/* ---- many devices ---- */

struct crowd {
	const struct sim_device_options *options;
	const struct misbehavior *misbehavior;
	unsigned n_jobs;      /* a job is a device, or two that misbehave together */
	pthread_mutex_t lock;
	unsigned next, n_failed;
	GError *first;
};

/* One device keeps its state in the directory itself, several in numbered ones inside. */
static char *state_dir_of(const struct crowd *crowd, unsigned job)
{
	const char *dir = crowd->options->state_dir;

	if (!dir || crowd->misbehavior)
		return NULL;
	return crowd->n_jobs == 1 ? g_strdup(dir) : g_strdup_printf("%s/%u", dir, job + 1);
}

static bool run_job(const struct crowd *crowd, unsigned job, GError **error)
{
	unsigned n = crowd->misbehavior ? (unsigned)misbehavior_n_devices(crowd->misbehavior) : 1;
	const char *const *urls = crowd->options->urls + (size_t)job * n;
	g_autofree char *state_dir = state_dir_of(crowd, job), *title = NULL;
	g_autoptr(device) d = device_new(crowd->options, urls[0], state_dir), other = n > 1 ? device_new(crowd->options, urls[1], NULL) : NULL;
	bool ok;

	if (crowd->misbehavior)
		misbehavior_prepare(crowd->misbehavior, d, other);
	ok = device_be_born(d, error) && (!other || device_be_born(other, error)) && (crowd->misbehavior ? misbehavior_run(crowd->misbehavior, d, other, error) : run_device(d, error));
	if (ok)
		return true;
	sim_refusal_translate(error);
	/* A request that ended because it was time to end. */
	if (sim_stopped(crowd->options->stop) && g_error_matches(*error, POM_ERROR, POM_ERR_UNREACHABLE)) {
		g_clear_error(error);
		return true;
	}
	title = device_title(d);
	g_prefix_error(error, "%s: ", title);
	return false;
}

static void note_failure(struct crowd *crowd, GError *error)
{
	if (crowd->n_jobs > 1)
		fprintf(stderr, "%s\n", error->message);
	pthread_mutex_lock(&crowd->lock);
	crowd->n_failed++;
	if (crowd->first)
		g_error_free(error);
	else
		crowd->first = error;
	pthread_mutex_unlock(&crowd->lock);
}

static void *work(void *ctx)
{
	struct crowd *crowd = ctx;

	for (;;) {
		GError *error = NULL;
		unsigned job;

		pthread_mutex_lock(&crowd->lock);
		job = crowd->next++;
		pthread_mutex_unlock(&crowd->lock);
		if (job >= crowd->n_jobs || sim_stopped(crowd->options->stop))
			return NULL;
		if (!run_job(crowd, job, &error))
			note_failure(crowd, error);
	}
}

static void run_crowd(struct crowd *crowd)
{
	unsigned n = MIN(crowd->n_jobs, THREADS_MAX), n_started = 0;
	g_autofree pthread_t *threads = g_new0(pthread_t, n);

	while (n_started < n && pthread_create(&threads[n_started], NULL, work, crowd) == 0)
		n_started++;
	if (!n_started)
		work(crowd);
	for (unsigned i = 0; i < n_started; i++)
		pthread_join(threads[i], NULL);
}

static bool report(struct crowd *crowd, GError **error)
{
	if (!crowd->n_failed)
		return true;
	if (crowd->n_jobs > 1)
		g_prefix_error(&crowd->first, "%u of %u failed; one of them: ", crowd->n_failed, crowd->n_jobs);
	g_propagate_error(error, g_steal_pointer(&crowd->first));
	return false;
}

static bool plan(const struct sim_device_options *options, struct crowd *crowd, GError **error)
{
	unsigned n = g_strv_length((char **)(uintptr_t)options->urls), each = 1;

	crowd->misbehavior = options->misbehave ? misbehavior_find(options->misbehave) : NULL;
	if (options->misbehave && !crowd->misbehavior)
		return pom_fail(error, POM_ERR_USAGE, "there is no misbehavior \"%s\": \"list\" names them", options->misbehave);
	if (crowd->misbehavior)
		each = (unsigned)misbehavior_n_devices(crowd->misbehavior);
	if (!n || n % each)
		return pom_fail(error, POM_ERR_USAGE, "%s takes %u enrollment links for each run, there are %u", options->misbehave ? options->misbehave : "a device", each, n);
	crowd->n_jobs = n / each;
	if (crowd->n_jobs > THREADS_MAX && options->polls < 0 && !crowd->misbehavior)
		return pom_fail(error, POM_ERR_USAGE, "at most %d devices can run at the same time, there are %u links: bound them with --polls", THREADS_MAX, n);
	return true;
}

bool sim_device_run(const struct sim_device_options *options, GError **error)
{
	struct crowd crowd = {.options = options, .lock = PTHREAD_MUTEX_INITIALIZER};

	if (!plan(options, &crowd, error))
		return false;
	curl_global_init(CURL_GLOBAL_ALL);
	run_crowd(&crowd);
	curl_global_cleanup();
	pthread_mutex_destroy(&crowd.lock);
	return report(&crowd, error);
}
