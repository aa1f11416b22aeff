/* A property of the queue: whatever the order in which commands are queued, fetched, answered, put off, lost, repeated, canceled, folded and expire, devices enroll again and the process dies, the server does
 * what this model of it does. No command is lost, none is delivered after its answer was accepted, order is kept, and what is done stays as it is.
 *
 * POMONA_QUEUE_SEED and POMONA_QUEUE_STEPS choose the run; the seed is printed. */
#include <stdlib.h>
#include <string.h>

#include "core/ca.h"
#include "db/testkit.h"
#include "service/ca_internal.h"
#include "service/command.h"

#define TOPIC "com.apple.mgmt.External.test"
#define USER_ID "A1B2C3D4-0000-4000-8000-000000000001"

enum { DEVICES = 3, CHANNELS = DEVICES + 1, STEPS = 2500, KEEP_MS = 10 * 60 * 1000, LIFE_MS = 20 * 60 * 1000 };

static int64_t now;
static const struct pom_clock test_clock = {pom_clock_fixed_now_ms, &now};

/* ---- the model ---- */

static const char *const bodies[] = {
	"{\"RequestType\":\"ProfileList\"}",
	"{\"RequestType\":\"CertificateList\"}",
	"{\"RequestType\":\"DeviceInformation\",\"Queries\":[\"OSVersion\"]}",
	"{\"RequestType\":\"DeviceLock\",\"PIN\":\"123456\"}",
};

struct model_command {
	char *uuid;
	unsigned channel, body, n_delivered, n_not_now;
	int64_t expires_ms, not_now_ms, delivered_ms, session_ms;
	bool is_out, session_lost;
	const char *status; /* NULL: waits */
	bool is_answered;   /* a report ended it: it must not be delivered again */
	unsigned epoch;
};

struct channel {
	unsigned device;
	bool is_user;
	const char *id;     /* as the admin API takes it; owned */
	char *got;          /* CommandUUID that the device has and has not answered */
	unsigned epoch;
	GArray *answered;   /* unsigned: commands that it has answered, to say it again */
};

struct run {
	GRand *rand;
	char *url;
	unsigned n_crashes, n_links;
	struct seal seal;
	struct store *store;
	struct service *service;
	EVP_PKEY *key;
	GBytes *identity[DEVICES];
	struct channel channels[CHANNELS];
	GArray *commands; /* struct model_command, in the order of queueing */
};

static struct model_command *at(struct run *run, unsigned i)
{
	return &g_array_index(run->commands, struct model_command, i);
}

static struct model_command *find(struct run *run, const char *uuid)
{
	for (unsigned i = 0; uuid && i < run->commands->len; i++)
		if (!strcmp(at(run, i)->uuid, uuid))
			return at(run, i);
	return NULL;
}

static int below(struct run *run, int n)
{
	return g_rand_int_range(run->rand, 0, n);
}

static bool chance(struct run *run, int percent)
{
	return below(run, 100) < percent;
}

static bool has_expired(const struct model_command *c)
{
	return c->expires_ms && c->expires_ms <= now;
}

/* The first that waits on the channel and may be offered: those that said NotNow only when they did before BEFORE. */
static struct model_command *expected(struct run *run, unsigned channel, const char *except, int64_t before_ms)
{
	for (unsigned i = 0; i < run->commands->len; i++) {
		struct model_command *c = at(run, i);

		if (c->channel == channel && !c->status && !has_expired(c) && (!c->n_not_now || c->not_now_ms < before_ms) && g_strcmp0(c->uuid, except))
			return c;
	}
	return NULL;
}

/* ---- the server ---- */

static void open_server(struct run *run, bool fresh)
{
	g_autoptr(GError) error = NULL;
	struct service_settings settings = {
		.url = g_strdup("https://mdm.example.org"), .organization = g_strdup("Test"), .access_rights = 8191, .key_size = 2048, .profile = scep_profile_new("default"), .link_ttl_s = 86400, .own_tls = true,
		.identity_source = g_strdup("scep"), .identity_outside = g_strdup(""), .command_expire_ms = (int64_t)90 * 86400 * 1000,
	};

	run->store = store_open(run->url, &test_clock, pom_random_system(), &error);
	g_assert_no_error(error);
	if (fresh)
		g_assert_true(ca_make_first(run->store, &run->seal, &(struct ca_spec){.name = "default", .organization = "Test", .key_type = "rsa", .root_bits = 2048, .issuing_bits = 2048}, &test_clock, pom_random_system(), &error));
	run->service = service_new(run->store, &run->seal, settings, &test_clock, pom_random_system(), &error);
	g_assert_no_error(error);
	g_strfreev(run->service->topics);
	run->service->topics = g_strsplit(TOPIC, " ", 0);
}

static void close_server(struct run *run)
{
	service_free(run->service);
	store_close(run->store);
}

/* A certificate of our CA for a fresh link, by which a device may enroll. */
static GBytes *new_identity(struct run *run)
{
	g_autoptr(ca_set) set = service_ca_set(run->service);
	const struct generation *generation = ca_set_in_state(set, "default", GENERATION_ACTIVE);
	g_autofree char *link = g_strdup_printf("link-%u", run->n_links), *challenge = g_strdup_printf("challenge-%u", run->n_links), *serial = g_strdup_printf("%08X", ++run->n_links);
	g_autoptr(GBytes) subject = cert_name_format(NULL, "CN", link, NULL), spki = cert_spki_format(run->key), sealed = g_bytes_new("s", 1);
	struct cert_plan plan = {.purpose = CERT_DEVICE, .serial_len = 4, .subject_der = subject, .spki = spki, .not_before = now / 1000 - 60, .not_after = now / 1000 + 86400 * 300};
	struct link_new row = {.id = link, .challenge_id = challenge, .common_name = link, .secret_sealed = sealed, .created_ms = now, .expires_ms = now + 86400000};
	struct certificate_new new = {.serial = serial, .authority_id = generation->issuing->id, .generation_id = generation->id, .subject = "CN", .link_id = link, .challenge_id = challenge, .transaction_id = "t",
	                              .not_before_ms = plan.not_before * 1000, .not_after_ms = plan.not_after * 1000, .issued_ms = now, .may_enroll = true};

	for (int i = 0; i < 4; i++)
		plan.serial[i] = (uint8_t)(run->n_links >> (24 - 8 * i));
	g_autoptr(X509) cert = cert_build(&plan, generation->issuing->cert, NULL);
	g_assert_true(signer_sign_cert(generation->issuing->signer, cert, NULL));
	GBytes *der = cert_format_der(cert);
	cert_sha256(link, strlen(link), row.token_hash);
	cert_sha256(challenge, strlen(challenge), row.secret_hash);
	cert_sha256(g_bytes_get_data(spki, NULL), g_bytes_get_size(spki), new.spki_sha256);
	g_assert_true(store_link_add(run->store, &row, NULL) && store_certificate_reserve(run->store, &new, &(struct certificate_right){0}, NULL) && store_certificate_issue(run->store, serial, der, NULL, NULL));
	return der;
}

/* ---- the devices ---- */

static GBytes *message(unsigned device, bool is_user, const char *key, const char *value, const char *uuid)
{
	g_autoptr(plist) dict = plist_new_dict();
	g_autofree char *udid = g_strdup_printf("UDID-%u", device);

	plist_dict_set_string(dict, "UDID", udid);
	plist_dict_set_string(dict, key, value);
	if (is_user) {
		plist_dict_set_string(dict, "UserID", USER_ID);
		plist_dict_set_string(dict, "UserShortName", "ann");
	}
	if (uuid)
		plist_dict_set_string(dict, "CommandUUID", uuid);
	if (!strcmp(key, "MessageType")) {
		plist_dict_set_string(dict, "Topic", TOPIC);
		plist_dict_set_data(dict, "Token", "token", 5);
		plist_dict_set_string(dict, "PushMagic", "magic");
	}
	return plist_format(dict, NULL);
}

static void check_in(struct run *run, unsigned device, bool is_user, const char *type)
{
	g_autoptr(GBytes) body = message(device, is_user, "MessageType", type, NULL);
	struct device_reply reply = {0};
	struct subject subject = {0};
	g_autoptr(GError) error = NULL;

	g_assert_true(service_checkin(run->service, &(struct device_proof){.certificate = run->identity[device]}, body, &subject, &reply, &error));
	g_assert_no_error(error);
	device_reply_clear(&reply);
}

/* Sends a report of the channel; the error's code, or -1 with the plist that came back (NULL: nothing). */
static int put(struct run *run, const struct channel *ch, const char *status, const char *uuid, plist **ret)
{
	g_autoptr(GBytes) body = message(ch->device, ch->is_user, "Status", status, uuid);
	struct device_reply reply = {0};
	struct subject subject = {0};
	g_autoptr(GError) error = NULL;
	bool ok = service_report(run->service, &(struct device_proof){.certificate = run->identity[ch->device]}, body, &subject, &reply, &error);

	*ret = reply.body ? plist_parse(g_bytes_get_data(reply.body, NULL), g_bytes_get_size(reply.body), NULL, NULL) : NULL;
	device_reply_clear(&reply);
	return ok ? -1 : error->code;
}

/* What came back against what had to; with ALTERNATIVE (may be NULL) that is right, too. The device gets it unless the reply is lost on its way. */
static void receive(struct run *run, unsigned channel, plist *reply, struct model_command *wanted, struct model_command *alternative, bool uncertain, int64_t session_ms)
{
	struct channel *ch = &run->channels[channel];
	g_autoptr(plist) owned = reply;
	const char *uuid = plist_get_string(plist_dict_get(owned, "CommandUUID"));
	struct model_command *got = find(run, uuid);
	g_autoptr(json_t) body = NULL;
	g_autoptr(plist) asked = NULL;

	g_assert_true(!uuid || got);
	if (got != wanted && !(uncertain && got == alternative))
		g_error("channel %u got %s, not %s", channel, uuid ? uuid : "nothing", wanted ? wanted->uuid : "nothing");
	g_clear_pointer(&ch->got, g_free);
	if (!got)
		return;
	g_assert_false(got->is_answered);
	body = json_parse(bodies[got->body], strlen(bodies[got->body]), NULL);
	asked = plist_from_json(body, "", NULL);
	g_assert_true(plist_equal(plist_dict_get(owned, "Command"), asked));
	got->n_delivered++;
	got->is_out = true;
	got->delivered_ms = now;
	got->session_ms = session_ms;
	got->session_lost = false;
	if (!chance(run, 10))
		ch->got = g_strdup(uuid);
}

/* ---- what may happen ---- */

static void do_idle(struct run *run, unsigned channel)
{
	plist *reply;

	g_assert_cmpint(put(run, &run->channels[channel], "Idle", NULL, &reply), ==, -1);
	receive(run, channel, reply, expected(run, channel, NULL, INT64_MAX), NULL, false, now);
}

/* A report of whatever command of the channel; C NULL: of one that nobody knows. */
static void do_report(struct run *run, unsigned channel, struct model_command *c, const char *status)
{
	struct channel *ch = &run->channels[channel];
	const char *uuid = c ? c->uuid : "unknown";
	bool is_same_epoch = c && c->epoch == ch->epoch, waits = c && !c->status, is_not_now = !strcmp(status, "NotNow");
	bool is_given_up = c && c->status && is_same_epoch && (!strcmp(c->status, "Expired") || !strcmp(c->status, "Canceled"));
	bool uncertain = waits && (c->session_lost || now - c->delivered_ms > KEEP_MS - 1000);
	int64_t session_ms = waits ? c->session_ms : 0;
	struct model_command *wanted, *alternative;
	plist *reply;

	g_assert_cmpint(put(run, ch, status, uuid, &reply), ==, -1);
	if (is_not_now && waits) {
		c->n_not_now++;
		c->not_now_ms = now;
		c->is_out = false;
	} else if (!is_not_now && (waits || is_given_up)) {
		c->status = status;
		c->is_answered = true;
	}
	wanted = expected(run, channel, uuid, session_ms);
	alternative = expected(run, channel, uuid, 0);
	receive(run, channel, reply, wanted, alternative, uncertain, session_ms);
	/* What the server has forgotten of the session, the next commands of it do not know either. */
	if (uncertain && ch->got)
		find(run, ch->got)->session_lost = true;
	if (c) {
		unsigned i = (unsigned)(c - at(run, 0));

		g_array_append_val(ch->answered, i);
	}
}

static const char *some_status(struct run *run)
{
	return ((const char *const[]){"Acknowledged", "Acknowledged", "Error", "CommandFormatError"})[below(run, 4)];
}

static void do_answer(struct run *run, unsigned channel)
{
	struct channel *ch = &run->channels[channel];

	if (ch->got)
		do_report(run, channel, find(run, ch->got), chance(run, 30) ? "NotNow" : some_status(run));
	else
		do_idle(run, channel);
}

/* The device did not hear that its report was taken, or is confused. */
static void do_repeat(struct run *run, unsigned channel)
{
	struct channel *ch = &run->channels[channel];
	struct model_command *c = ch->answered->len ? at(run, g_array_index(ch->answered, unsigned, below(run, (int)ch->answered->len))) : NULL;

	/* What waits again after NotNow was not executed, and is not reported out of turn. */
	if (!c || c->status)
		do_report(run, channel, c, chance(run, 20) ? "NotNow" : some_status(run));
}

static bool is_foldable(const struct model_command *c, unsigned channel, unsigned body)
{
	return c->channel == channel && c->body == body && !c->status && !c->is_out && !has_expired(c);
}

static void do_queue(struct run *run, unsigned channel)
{
	unsigned body = (unsigned)below(run, G_N_ELEMENTS(bodies));
	bool fold = chance(run, 30), expires = chance(run, 30);
	g_autoptr(GBytes) bytes = g_bytes_new_static(bodies[body], strlen(bodies[body]));
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) reply = service_command_send(run->service, &(struct command_order){.id = run->channels[channel].id, .body = bytes, .force = true, .fold = fold, .expires_s = expires ? LIFE_MS / 1000 : COMMAND_EXPIRES_NEVER}, &error);
	const char *uuid = json_string_value(json_object_get(reply, "command_uuid"));
	struct model_command c = {.channel = channel, .body = body, .expires_ms = expires ? now + LIFE_MS : 0, .epoch = run->channels[channel].epoch};
	unsigned i = 0;

	g_assert_no_error(error);
	for (; fold && i < run->commands->len && !is_foldable(at(run, i), channel, body);)
		i++;
	if (fold && i < run->commands->len) {
		g_assert_true(json_is_true(json_object_get(reply, "folded")));
		g_assert_cmpstr(uuid, ==, at(run, i)->uuid);
		return;
	}
	g_assert_true(json_is_false(json_object_get(reply, "folded")));
	g_assert_null(find(run, uuid));
	c.uuid = g_strdup(uuid);
	g_array_append_val(run->commands, c);
}

static void do_cancel(struct run *run)
{
	struct model_command *c = run->commands->len ? at(run, (unsigned)below(run, (int)run->commands->len)) : NULL;
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) reply = c ? service_command_cancel(run->service, c->uuid, &error) : NULL;

	if (!c)
		return;
	if (c->status) {
		g_assert_error(error, POM_ERROR, POM_ERR_CONFLICT);
		return;
	}
	g_assert_no_error(error);
	g_assert_nonnull(reply);
	c->status = "Canceled";
}

static void do_janitor(struct run *run)
{
	bool more = true;

	while (more)
		g_assert_true(service_command_expire(run->service, &more, NULL));
	g_assert_true(store_flush_delivered(run->store, NULL));
	for (unsigned i = 0; i < run->commands->len; i++)
		if (!at(run, i)->status && has_expired(at(run, i)))
			at(run, i)->status = "Expired";
}

static void do_enroll(struct run *run, unsigned device)
{
	g_clear_pointer(&run->identity[device], g_bytes_unref);
	run->identity[device] = new_identity(run);
	check_in(run, device, false, "Authenticate");
	check_in(run, device, false, "TokenUpdate");
	for (unsigned i = 0; i < CHANNELS; i++)
		if (run->channels[i].device == device) {
			run->channels[i].epoch++;
			g_clear_pointer(&run->channels[i].got, g_free);
		}
	for (unsigned i = 0; i < run->commands->len; i++)
		if (run->channels[at(run, i)->channel].device == device && !at(run, i)->status)
			at(run, i)->status = "Cleared";
	if (device == 0)
		check_in(run, device, true, "TokenUpdate");
}

/* One device answers what another was sent. */
static void do_intrude(struct run *run)
{
	struct model_command *c = run->commands->len ? at(run, (unsigned)below(run, (int)run->commands->len)) : NULL;
	unsigned channel = (unsigned)below(run, CHANNELS);
	plist *reply = NULL;

	if (!c || channel == c->channel)
		return;
	g_assert_cmpint(put(run, &run->channels[channel], "Acknowledged", c->uuid, &reply), ==, POM_ERR_COMMAND_FOREIGN);
	g_assert_null(reply);
}

/* ---- what must hold ---- */

static void check_done(struct run *run, struct model_command *c)
{
	g_autoptr(json_t) told = service_command_show(run->service, c->uuid, false, "test", NULL);

	g_assert_cmpstr(json_string_value(json_object_get(told, "status")), ==, c->status);
	g_assert_true(json_is_null(json_object_get(told, "result")) == !c->is_answered);
}

/* *NTH of LIST is C; AFTER_CRASH: what was not written of deliveries is taken from the server. */
static void check_waiting(const json_t *item, struct model_command *c, bool after_crash)
{
	bool is_out = !strcmp(json_string_value(json_object_get(item, "status")), "Delivered");
	unsigned n = (unsigned)json_integer_value(json_object_get(item, "delivered_count"));

	g_assert_cmpstr(json_string_value(json_object_get(item, "command_uuid")), ==, c->uuid);
	g_assert_cmpint(json_integer_value(json_object_get(item, "not_now_count")), ==, c->n_not_now);
	if (after_crash) {
		g_assert_true(!is_out || c->is_out);
		g_assert_cmpuint(n, <=, c->n_delivered);
		c->is_out = is_out;
		c->n_delivered = n;
		c->session_lost = true;
	}
	g_assert_true(is_out == c->is_out);
	g_assert_cmpuint(n, ==, c->n_delivered);
}

/* What waits is there, in order, and nothing else. */
static void check_all(struct run *run, bool after_crash)
{
	for (unsigned channel = 0; channel < CHANNELS; channel++) {
		g_autoptr(json_t) list = service_command_list(run->service, run->channels[channel].id, false, "", 1000, NULL);
		const json_t *items = json_object_get(list, "items");
		size_t n = 0;

		for (unsigned i = 0; i < run->commands->len; i++)
			if (at(run, i)->channel == channel && !at(run, i)->status)
				check_waiting(json_array_get(items, n++), at(run, i), after_crash);
		g_assert_cmpuint(json_array_size(items), ==, n);
	}
}

/* The process dies, and what is in the database then is all that the next one has. */
static void do_crash(struct run *run)
{
	char *old = run->url;

	run->url = test_database_crash(old);
	run->n_crashes++;
	close_server(run);
	test_database_free(old);
	open_server(run, false);
	check_all(run, true);
}

static void step(struct run *run)
{
	unsigned channel = (unsigned)below(run, CHANNELS);
	int what = below(run, 1000);

	now += below(run, 4);
	if (chance(run, 3))
		now += below(run, KEEP_MS);
	if (what < 250)
		do_queue(run, channel);
	else if (what < 350)
		do_idle(run, channel);
	else if (what < 800)
		do_answer(run, channel);
	else if (what < 870)
		do_repeat(run, channel);
	else if (what < 910)
		do_cancel(run);
	else if (what < 940)
		do_janitor(run);
	else if (what < 970)
		do_intrude(run);
	else if (what < 985)
		check_all(run, false);
	else if (what < 993)
		do_enroll(run, run->channels[channel].device);
	else
		do_crash(run);
}

static void begin(struct run *run)
{
	now = 1800000000000;
	run->commands = g_array_new(FALSE, TRUE, sizeof(struct model_command));
	run->seal = (struct seal){.key = "0123456789012345678901234567890", .id = {1, 2, 3, 4}, .random = pom_random_system()};
	run->key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	run->url = test_database_new(NULL);
	open_server(run, true);
	for (unsigned i = 0; i < CHANNELS; i++)
		run->channels[i] = (struct channel){.device = i % DEVICES, .is_user = i >= DEVICES, .id = g_strdup_printf("UDID-%u", i % DEVICES), .answered = g_array_new(FALSE, FALSE, sizeof(unsigned))};
	for (unsigned i = 0; i < DEVICES; i++)
		do_enroll(run, i);
}

/* The user's channel has an id of its own. */
static void find_user(struct run *run)
{
	g_autoptr(json_t) list = service_device_list(run->service, "", 100, NULL);
	const json_t *item;
	size_t i;

	json_array_foreach(json_object_get(list, "items"), i, item)
		if (!json_is_null(json_object_get(item, "user"))) {
			g_free((char *)run->channels[DEVICES].id);
			run->channels[DEVICES].id = g_strdup(json_string_value(json_object_get(item, "id")));
		}
}

static void end(struct run *run)
{
	close_server(run);
	test_database_free(run->url);
	for (unsigned i = 0; i < run->commands->len; i++)
		g_free(at(run, i)->uuid);
	g_array_unref(run->commands);
	for (unsigned i = 0; i < CHANNELS; i++) {
		g_free((char *)run->channels[i].id);
		g_free(run->channels[i].got);
		g_array_unref(run->channels[i].answered);
	}
	for (unsigned i = 0; i < DEVICES; i++)
		g_bytes_unref(run->identity[i]);
	EVP_PKEY_free(run->key);
	g_rand_free(run->rand);
}

static void test_queue(void)
{
	const char *seed_text = g_getenv("POMONA_QUEUE_SEED"), *steps_text = g_getenv("POMONA_QUEUE_STEPS");
	guint32 seed = seed_text ? (guint32)g_ascii_strtoull(seed_text, NULL, 10) : 20260101;
	unsigned n = steps_text ? (unsigned)g_ascii_strtoull(steps_text, NULL, 10) : STEPS, answered = 0;
	struct run run = {.rand = g_rand_new_with_seed(seed)};

	g_test_message("POMONA_QUEUE_SEED=%u POMONA_QUEUE_STEPS=%u", seed, n);
	begin(&run);
	find_user(&run);
	for (unsigned i = 0; i < n; i++)
		step(&run);
	/* In the end every device comes until nothing waits. */
	do_janitor(&run);
	for (unsigned channel = 0; channel < CHANNELS; channel++)
		for (do_idle(&run, channel); run.channels[channel].got || expected(&run, channel, NULL, INT64_MAX);)
			if (run.channels[channel].got)
				do_report(&run, channel, find(&run, run.channels[channel].got), "Acknowledged");
			else
				do_idle(&run, channel);
	check_all(&run, false);
	for (unsigned i = 0; i < run.commands->len; i++) {
		check_done(&run, at(&run, i));
		answered += at(&run, i)->is_answered;
	}
	g_test_message("%u commands, %u answered, %u crashes", run.commands->len, answered, run.n_crashes);
	g_assert_cmpuint(answered, >, n / 20);
	end(&run);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/command-queue/property", test_queue);
	return g_test_run();
}
