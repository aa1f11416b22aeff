/* Check-in: facts in, plans out. */
#include <string.h>

#include "store/store_internal.h"

void store_read_certificate(const struct db_batch *batch, unsigned i, struct certificate_facts *ret)
{
	*ret = (struct certificate_facts){
		.known = db_rows(batch, i) > 0, .serial = db_get_text(batch, i, 0, 0), .state = (enum certificate_state)db_get_int(batch, i, 0, 1),
		.enrollment_id = db_get_text(batch, i, 0, 2), .epoch = db_get_int(batch, i, 0, 3), .link_id = db_get_text(batch, i, 0, 4),
		.may_enroll = db_get_int(batch, i, 0, 5) != 0, .for_enrollment_id = db_get_text(batch, i, 0, 9), .for_epoch = db_get_int(batch, i, 0, 10), .device_id = db_get_text(batch, i, 0, 11), .ota_link_id = db_get_text(batch, i, 0, 12), .not_before_ms = db_get_int(batch, i, 0, 7), .not_after_ms = db_get_int(batch, i, 0, 8),
	};
}

void store_read_enrollment(const struct db_batch *batch, unsigned i, struct enrollment_facts *ret)
{
	*ret = (struct enrollment_facts){
		.known = db_rows(batch, i) > 0, .id = db_get_text(batch, i, 0, 0), .state = (enum enrollment_state)db_get_int(batch, i, 0, 1),
		.version = db_get_int(batch, i, 0, 2), .active_epoch = db_get_int(batch, i, 0, 3), .pending_epoch = db_get_int(batch, i, 0, 4),
		.last_epoch = db_get_int(batch, i, 0, 5), .active_topic = db_get_text(batch, i, 0, 6), .pending_topic = db_get_text(batch, i, 0, 7),
		.product_name = db_get_text(batch, i, 0, 9),
	};
}

void store_add_facts(struct db_batch *batch, const uint8_t cert_sha256[32], const struct checkin_identity *who, const struct channel_ids *ids)
{
	/* The enrollment with its version comes first: a later statement may see newer facts, never older ones. */
	db_batch_add(batch, Q_FACTS_ENROLLMENT, db_text(ids->device), db_text(who->device_id), db_text(""));
	db_batch_add(batch, Q_FACTS_CERTIFICATE, db_blob(cert_sha256, 32));
	db_batch_add(batch, Q_BLOCK_OF_MESSAGE, db_text(who->device_id), db_text(who->serial), db_text(ids->device));
	if (*who->user_part)
		db_batch_add(batch, Q_FACTS_ENROLLMENT, db_text(ids->user), db_text(who->device_id), db_text(who->user_part));
}

void store_read_facts(const struct db_batch *batch, const struct checkin_identity *who, struct checkin_facts *ret)
{
	*ret = (struct checkin_facts){0};
	store_read_enrollment(batch, 0, &ret->device);
	store_read_certificate(batch, 1, &ret->certificate);
	ret->blocked = db_get_text(batch, 2, 0, 0);
	ret->blocked_out = db_get_int(batch, 2, 0, 1) != 0;
	if (*who->user_part)
		store_read_enrollment(batch, 3, &ret->user);
}

int64_t store_read_ca_version(const struct db_batch *batch)
{
	return db_get_int(batch, 1, 0, 13);
}

const char *store_read_push(const struct db_batch *batch, bool is_user)
{
	return db_get_text(batch, is_user ? 3 : 0, 0, 10);
}

/* *RET_STALE: what is remembered of the channels is not so any more. */
static bool try_checkin_load(struct store *store, const uint8_t cert_sha256[32], const struct checkin_identity *who, bool with_versions, struct checkin_load *ret, bool *ret_stale, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	g_auto(channel_ids) ids = {0};
	struct shared_versions versions = {0};
	unsigned n = 0;

	if (!store_channels_find(store, who, &ids, error))
		return false;
	store_add_facts(batch, cert_sha256, who, &ids);
	if (with_versions)
		n = db_batch_add_values(batch, Q_SHARED_VERSIONS, NULL, 0);
	if (!store_run(store, batch, error))
		return false;
	store_read_facts(batch, who, &ret->facts);
	if (with_versions)
		store_read_versions(batch, n, &versions);
	ret->push_version = versions.of[SHARED_PUSH_CERTIFICATE];
	ret->ca_version = store_read_ca_version(batch);
	ret->load = g_steal_pointer(&batch);
	*ret_stale = store_channels_are_stale(store, who, &ids, &ret->facts);
	return true;
}

bool store_checkin_load(struct store *store, const uint8_t cert_sha256[32], const struct checkin_identity *who, bool with_versions, struct checkin_load *ret, GError **error)
{
	struct checkin_load load = {0};
	bool stale;

	if (!try_checkin_load(store, cert_sha256, who, with_versions, &load, &stale, error))
		return false;
	if (stale) {
		checkin_load_clear(&load);
		if (!try_checkin_load(store, cert_sha256, who, with_versions, &load, &stale, error))
			return false;
	}
	*ret = load;
	return true;
}

void checkin_load_clear(struct checkin_load *load)
{
	g_clear_pointer(&load->load, store_load_free);
}

/* An epoch ends: its row, its certificates (but KEEP_SERIAL), its queue and those of the users in it. */
static void add_end_epoch(struct store *store, struct db_batch *batch, const struct checkin_write *w, int64_t epoch, const char *reason, const char *keep_serial)
{
	struct pom_id cleared = pom_id_new(store->clock, store->random);

	db_batch_add(batch, Q_USERS_HOLD, db_text(w->enrollment_id));
	db_batch_add(batch, Q_EPOCH_END, db_text(w->enrollment_id), db_int(epoch), db_int(w->now_ms), db_text(reason));
	if (keep_serial)
		db_batch_add(batch, Q_CERTIFICATE_REVOKE_EPOCH, db_text(w->enrollment_id), db_int(epoch), db_int(w->now_ms), db_text(keep_serial));
	db_batch_add(batch, Q_COMMAND_CLEARED_EVENT, db_text(w->enrollment_id), db_int(epoch), db_text(cleared.text), db_int(w->now_ms));
	db_batch_add(batch, Q_COMMAND_CLEAR_DONE, db_text(w->enrollment_id), db_int(epoch), db_int(w->now_ms));
	db_batch_add(batch, Q_COMMAND_CLEAR, db_text(w->enrollment_id), db_int(epoch));
	db_batch_add(batch, Q_COMMAND_CLEAR_USERS_DONE, db_text(w->enrollment_id), db_int(epoch), db_int(w->now_ms));
	db_batch_add(batch, Q_COMMAND_CLEAR_USERS, db_text(w->enrollment_id), db_int(epoch));
}

/* Commands that came before the channel had a token, or while its token was dead, were not pushed: now they are. Its place in
 * the batch tells whether. */
static unsigned add_push_for_waiting(struct store *store, struct db_batch *batch, const char *id, const struct checkin_write *w)
{
	struct pom_id generation = pom_id_new(store->clock, store->random);

	return db_batch_add(batch, Q_PUSH_ASK_FOR_WAITING, db_text(id), db_int(w->now_ms), db_text(generation.text), db_int(w->now_ms), db_int(w->plan->epoch));
}

/* What the device says of itself, in the order of DEVICE_FACTS. */
#define FACTS_OF(m) db_text((m)->serial), db_text((m)->product_name), db_text((m)->model), db_text((m)->model_name), db_text((m)->device_name), db_text((m)->os_version), db_text((m)->build_version), \
	db_text((m)->imei), db_text((m)->meid)
#define NO_FACTS db_null('t'), db_null('t'), db_null('t'), db_null('t'), db_null('t'), db_null('t'), db_null('t'), db_null('t'), db_null('t')

static void add_authenticate(struct store *store, struct db_batch *batch, const struct checkin_write *w)
{
	const struct certificate_facts *certificate = &w->facts->certificate;
	const struct enrollment_facts *device = &w->facts->device;
	bool is_new = w->plan->action == CHECKIN_DO_CREATE, keeps_active = device->active_epoch && !w->plan->ends_at_once;

	if (is_new) {
		db_batch_add(batch, Q_CHANNEL_ADD, db_text(w->message->who.device_id), db_text(""), db_text(w->enrollment_id));
		db_batch_add(batch, Q_ENROLLMENT_CREATE, db_text(w->enrollment_id), db_text(w->message->who.device_id), db_int(w->message->who.kind), db_int(w->plan->epoch), db_int(w->now_ms),
		             db_text(certificate->link_id), FACTS_OF(w->message));
	} else {
		db_batch_add(batch, Q_ENROLLMENT_NEW_EPOCH, db_text(w->enrollment_id), db_int(device->version), db_int(w->plan->epoch),
		             db_int(keeps_active ? device->active_epoch : 0), db_int(keeps_active ? ENROLLMENT_ENROLLED : ENROLLMENT_PENDING),
		             db_int(w->now_ms), db_int(w->now_ms));
	}
	if (certificate->link_id)
		db_batch_add(batch, Q_LINK_CONSUME, db_text(certificate->link_id), db_int(w->now_ms), db_text(w->enrollment_id));
	if (w->plan->ends_epoch)
		add_end_epoch(store, batch, w, w->plan->ends_epoch, "authenticated again", certificate->serial);
	if (w->plan->ends_at_once) {
		/* Its users come again after the TokenUpdate: until then nothing is queued for them either. */
		db_batch_add(batch, Q_ENROLLMENT_END_USERS, db_text(w->enrollment_id), db_int(w->plan->epoch), db_int(w->now_ms));
		store_batch_query_device(store, batch, w->enrollment_id);
		db_batch_add(batch, Q_PUSH_FORGET, db_text(w->enrollment_id));
		db_batch_add(batch, Q_LIB_STATE_END, db_text(w->enrollment_id), db_int(w->now_ms), db_text("the device began a new enrollment"));
	}
	if (certificate->link_id)
		db_batch_add(batch, Q_CHALLENGE_CLOSE_OF_LINK, db_text(certificate->link_id), db_int(w->now_ms));
	db_batch_add(batch, Q_CERTIFICATE_BIND, db_text(certificate->serial), db_text(w->enrollment_id), db_int(w->plan->epoch), db_int(w->now_ms));
	db_batch_add(batch, Q_EPOCH_ADD, db_text(w->enrollment_id), db_int(w->plan->epoch), db_text(certificate->serial), db_text(w->message->topic), db_int(w->now_ms),
	             db_text(certificate->link_id), FACTS_OF(w->message));
	if (certificate->link_id)
		db_batch_add(batch, Q_CERTIFICATE_REVOKE_UNBOUND, db_text(certificate->link_id), db_int(w->now_ms), db_text(certificate->serial));
	/* What it says of itself stays with the epoch. It becomes the enrollment's at once when no other epoch is live, else at the first TokenUpdate: until then a link's holder must not be able to rewrite what is
	 * known of a device. */
	if (!is_new && !keeps_active)
		db_batch_add(batch, Q_ENROLLMENT_FACTS, db_text(w->enrollment_id), db_text(certificate->link_id), db_int(w->plan->epoch));
	store_batch_event(store, batch, w->enrollment_id, "Authenticate", certificate->serial, w->now_ms);
}

static void add_token(struct db_batch *batch, const struct checkin_write *w)
{
	const struct checkin_message *m = w->message;

	db_batch_add(batch, Q_EPOCH_TOKEN, db_text(w->enrollment_id), db_int(w->plan->epoch), db_blob(m->token, m->token_len), db_text(m->push_magic), db_int(w->now_ms),
	             db_bytes(w->unlock_token_sealed), db_int(m->has_awaiting_configuration), db_int(m->awaiting_configuration));
}

/* What was of earlier epochs: users, and what the device told. It may have been erased, restored, supervised since. */
static void add_end_earlier(struct db_batch *batch, const struct checkin_write *w)
{
	db_batch_add(batch, Q_ENROLLMENT_END_USERS, db_text(w->enrollment_id), db_int(w->plan->epoch), db_int(w->now_ms));
	db_batch_add(batch, Q_FACT_FORGET, db_text(w->enrollment_id));
	db_batch_add(batch, Q_FACT_LIST_FORGET, db_text(w->enrollment_id));
}

static void add_activate(struct store *store, struct db_batch *batch, const struct checkin_write *w)
{
	db_batch_add(batch, Q_ENROLLMENT_ACTIVATE, db_text(w->enrollment_id), db_text(w->facts->certificate.link_id), db_int(w->plan->epoch), db_int(w->facts->device.version), db_int(w->now_ms));
	if (w->plan->ends_epoch)
		add_end_epoch(store, batch, w, w->plan->ends_epoch, "enrolled again", w->facts->certificate.serial);
	add_token(batch, w);
	/* The first epoch is the first in which it has users, and tells of itself. */
	if (w->plan->epoch > 1)
		add_end_earlier(batch, w);
	db_batch_add(batch, Q_INVENTORY_PUT, db_text(w->enrollment_id), db_int(0));
	store_batch_query_device(store, batch, w->enrollment_id);
	store_batch_library_device(store, batch, w->enrollment_id, w->now_ms);
	store_batch_event(store, batch, w->enrollment_id, "Enrolled", NULL, w->now_ms);
}

static void add_touch(struct db_batch *batch, const struct checkin_write *w)
{
	db_batch_add(batch, Q_ENROLLMENT_TOUCH, db_text(w->enrollment_id), db_int(w->facts->device.version), db_int(w->now_ms));
}

static void add_user_token(struct store *store, struct db_batch *batch, const struct checkin_write *w)
{
	const struct checkin_message *m = w->message;

	/* A user channel lives and ends with its device: only while that is as it was read. */
	add_touch(batch, w);
	if (!w->facts->user.known)
		db_batch_add(batch, Q_CHANNEL_ADD, db_text(m->who.device_id), db_text(m->who.user_part), db_text(w->user_id));
	db_batch_add(batch, Q_USER_PUT, db_text(w->user_id), db_text(m->who.device_id), db_text(m->who.user_part), db_text(w->enrollment_id), db_int(m->who.kind),
	             db_int(w->plan->epoch), db_text(m->who.user_short_name), db_text(m->who.user_long_name), db_int(w->now_ms));
	db_batch_add(batch, Q_EPOCH_USER_TOKEN, db_text(w->user_id), db_int(w->plan->epoch), db_text(m->topic), db_blob(m->token, m->token_len), db_text(m->push_magic),
	             db_int(m->has_awaiting_configuration), db_int(m->awaiting_configuration), db_int(m->has_not_on_console), db_int(m->not_on_console), db_int(w->now_ms));
	store_batch_library_device(store, batch, w->user_id, w->now_ms);
	store_batch_event_again(store, batch, w->user_id, "TokenUpdate", m->not_on_console ? "not on the console" : NULL, false, w->now_ms);
}

static void add_check_out(struct store *store, struct db_batch *batch, const struct checkin_write *w)
{
	const struct enrollment_facts *device = &w->facts->device;

	db_batch_add(batch, Q_END_ASKED_CERTIFICATES, db_text(w->enrollment_id), db_int(w->plan->ends_epoch), db_int(w->now_ms));
	if (w->plan->ends_enrollment) {
		store_batch_query_device(store, batch, w->enrollment_id);
		db_batch_add(batch, Q_ENROLLMENT_END, db_text(w->enrollment_id), db_int(device->version), db_int(w->now_ms));
		db_batch_add(batch, Q_ENROLLMENT_END_USERS, db_text(w->enrollment_id), db_int(0), db_int(w->now_ms));
		db_batch_add(batch, Q_PUSH_FORGET, db_text(w->enrollment_id));
		db_batch_add(batch, Q_LIB_STATE_END, db_text(w->enrollment_id), db_int(w->now_ms), db_text("the device was un-enrolled"));
		if (device->active_epoch && device->pending_epoch)
			add_end_epoch(store, batch, w, device->pending_epoch, "checked out", NULL);
	} else {
		db_batch_add(batch, Q_ENROLLMENT_DROP_PENDING, db_text(w->enrollment_id), db_int(device->version), db_int(w->now_ms));
	}
	add_end_epoch(store, batch, w, w->plan->ends_epoch, "checked out", NULL);
	store_batch_event(store, batch, w->enrollment_id, "CheckOut", NULL, w->now_ms);
}

static void add_user_check_out(struct store *store, struct db_batch *batch, const struct checkin_write *w)
{
	add_touch(batch, w);
	db_batch_add(batch, Q_USER_END, db_text(w->user_id), db_int(w->plan->epoch), db_int(w->now_ms));
	db_batch_add(batch, Q_COMMAND_CLEAR_DONE, db_text(w->user_id), db_int(w->plan->epoch), db_int(w->now_ms));
	db_batch_add(batch, Q_COMMAND_CLEAR, db_text(w->user_id), db_int(w->plan->epoch));
	db_batch_add(batch, Q_PUSH_FORGET, db_text(w->user_id));
	db_batch_add(batch, Q_LIB_STATE_END, db_text(w->user_id), db_int(w->now_ms), db_text("the user was un-enrolled"));
	store_batch_event(store, batch, w->user_id, "CheckOut", NULL, w->now_ms);
}

static void add_bootstrap_token(struct store *store, struct db_batch *batch, const struct checkin_write *w)
{
	add_touch(batch, w);
	db_batch_add(batch, Q_EPOCH_BOOTSTRAP_SET, db_text(w->enrollment_id), db_int(w->plan->epoch), db_bytes(w->bootstrap_token_sealed));
	if (w->message->has_awaiting_configuration)
		db_batch_add(batch, Q_EPOCH_AWAITING, db_text(w->enrollment_id), db_int(w->plan->epoch), db_int(w->message->awaiting_configuration));
	store_batch_event(store, batch, w->enrollment_id, w->bootstrap_token_sealed ? "SetBootstrapToken" : "BootstrapTokenDeleted", NULL, w->now_ms);
}

/* Fills BATCH; false when the plan writes nothing. *RET_PUSH: the place of the statement that may ask for a push, else -1. */
static bool add_plan(struct store *store, struct db_batch *batch, const struct checkin_write *w, int *ret_push)
{
	*ret_push = -1;
	switch (w->plan->action) {
	case CHECKIN_DO_CREATE:
	case CHECKIN_DO_NEW_EPOCH:
		add_authenticate(store, batch, w);
		break;
	case CHECKIN_DO_REFRESH:
		add_touch(batch, w);
		db_batch_add(batch, Q_EPOCH_FACTS, db_text(w->enrollment_id), db_int(w->plan->epoch), FACTS_OF(w->message));
		if (!w->facts->device.active_epoch)
			db_batch_add(batch, Q_ENROLLMENT_FACTS, db_text(w->enrollment_id), db_null('t'), db_int(w->plan->epoch));
		break;
	case CHECKIN_DO_ACTIVATE:
		add_activate(store, batch, w);
		*ret_push = (int)add_push_for_waiting(store, batch, w->enrollment_id, w);
		break;
	case CHECKIN_DO_TOKEN:
		add_touch(batch, w);
		add_token(batch, w);
		db_batch_add(batch, Q_EPOCH_TOPIC, db_text(w->enrollment_id), db_int(w->plan->epoch), db_text(w->message->topic));
		store_batch_event_again(store, batch, w->enrollment_id, "TokenUpdate", NULL, false, w->now_ms);
		*ret_push = (int)add_push_for_waiting(store, batch, w->enrollment_id, w);
		break;
	case CHECKIN_DO_USER_TOKEN:
		add_user_token(store, batch, w);
		*ret_push = (int)add_push_for_waiting(store, batch, w->user_id, w);
		break;
	case CHECKIN_DO_CHECK_OUT:
		add_check_out(store, batch, w);
		break;
	case CHECKIN_DO_USER_CHECK_OUT:
		add_user_check_out(store, batch, w);
		break;
	case CHECKIN_DO_SET_BOOTSTRAP:
		add_bootstrap_token(store, batch, w);
		break;
	case CHECKIN_DO_NOTHING:
	case CHECKIN_DO_GET_BOOTSTRAP:
	case CHECKIN_DO_GET_TOKEN:
	case CHECKIN_DO_GET_MAID:
	case CHECKIN_DO_CHALLENGE_USER:
	case CHECKIN_DO_RETURN_TO_SERVICE:
	case CHECKIN_DO_DECLARATIVE:
		return false;
	}
	return true;
}

bool store_checkin_apply(struct store *store, const struct checkin_write *w, bool *ret_push, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(w->enrollment_id);
	int push;

	if (add_plan(store, batch, w, &push) && !store_run(store, batch, error))
		return false;
	/* It will go on in a moment. */
	if (w->plan->action == CHECKIN_DO_CREATE)
		store_channel_remember(store, w->message->who.device_id, "", w->enrollment_id);
	if (ret_push)
		*ret_push = push >= 0 && db_rows(batch, (unsigned)push) > 0;
	return true;
}

bool store_bootstrap_token_get(struct store *store, const char *enrollment_id, int64_t epoch, GBytes **ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_EPOCH_BOOTSTRAP_GET, db_text(enrollment_id), db_int(epoch));
	if (!store_run(store, batch, error))
		return false;
	*ret = db_get_bytes(batch, 0, 0, 0);
	return true;
}

void store_seen(struct store *store, const char *enrollment_id, int64_t now_ms)
{
	int64_t *at;

	pthread_mutex_lock(&store->seen_lock);
	at = g_hash_table_lookup(store->seen, enrollment_id);
	if (at)
		*at = MAX(*at, now_ms);
	else
		g_hash_table_insert(store->seen, g_strdup(enrollment_id), g_memdup2(&now_ms, sizeof(now_ms)));
	pthread_mutex_unlock(&store->seen_lock);
}

int64_t store_last_seen(struct store *store, const char *enrollment_id, int64_t stored_ms)
{
	const int64_t *at;

	pthread_mutex_lock(&store->seen_lock);
	at = g_hash_table_lookup(store->seen, enrollment_id);
	stored_ms = at ? MAX(*at, stored_ms) : stored_ms;
	pthread_mutex_unlock(&store->seen_lock);
	return stored_ms;
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

bool store_flush_last_seen(struct store *store, GError **error)
{
	enum { FLUSH_MAX = 500 };
	g_autoptr(GHashTable) seen = NULL;
	g_autofree char **ids = NULL;
	guint n;

	pthread_mutex_lock(&store->seen_lock);
	seen = store->seen;
	store->seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	pthread_mutex_unlock(&store->seen_lock);
	ids = (char **)g_hash_table_get_keys_as_array(seen, &n);
	qsort(ids, n, sizeof(*ids), compare_ids);
	for (guint i = 0; i < n; i += FLUSH_MAX) {
		g_autoptr(db_batch) batch = db_batch_new(NULL);

		db_batch_spans(batch);
		for (guint k = i; k < MIN(n, i + FLUSH_MAX); k++)
			db_batch_add(batch, Q_LAST_SEEN, db_text(ids[k]), db_int(*(int64_t *)g_hash_table_lookup(seen, ids[k])));
		if (!store_run(store, batch, error)) {
			/* They are still the newest known: later. */
			for (guint k = i; k < n; k++)
				store_seen(store, ids[k], *(int64_t *)g_hash_table_lookup(seen, ids[k]));
			return false;
		}
	}
	return true;
}

bool store_checkin_event(struct store *store, const char *enrollment_id, const char *kind, const char *detail, int64_t now_ms, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(enrollment_id);

	store_batch_event_again(store, batch, enrollment_id, kind, detail, false, now_ms);
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

/* ---- devices of another server ---- */

bool store_first_use_bind(struct store *store, const struct first_use_new *n, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(n->enrollment_id);
	const struct certificate_import *c = n->certificate;

	db_batch_add(batch, Q_CHANNEL_ADD, db_text(n->who->device_id), db_text(""), db_text(n->enrollment_id));
	db_batch_add(batch, Q_ENROLLMENT_FIRST_USE, db_text(n->enrollment_id), db_text(n->who->device_id), db_int(n->who->kind), db_int(n->now_ms));
	store_batch_certificate_import(batch, c);
	db_batch_add(batch, Q_CERTIFICATE_BIND, db_text(c->serial), db_text(n->enrollment_id), db_int(1), db_int(n->now_ms));
	db_batch_add(batch, Q_EPOCH_ADD, db_text(n->enrollment_id), db_int(1), db_text(c->serial), db_text(n->topic ? n->topic : ""), db_int(n->now_ms), db_null('t'), NO_FACTS);
	db_batch_add(batch, Q_EPOCH_PROVENANCE, db_text(n->enrollment_id), db_int(1), db_text(FIRST_USE));
	db_batch_add(batch, Q_FIRST_USE_ADD, db_text(n->enrollment_id), db_int(n->now_ms), db_text(n->message), db_text(c->serial), db_text(n->issuer), db_text(n->issuer_serial));
	store_batch_event(store, batch, n->enrollment_id, "FirstUse", n->issuer, n->now_ms);
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

static void take_first_use(const struct db_batch *batch, size_t row, void *out)
{
	*(struct first_use_row *)out = (struct first_use_row){
		.enrollment_id = db_get_text(batch, 0, row, 0), .at_ms = db_get_int(batch, 0, row, 1), .message = db_get_text(batch, 0, row, 2), .certificate_serial = db_get_text(batch, 0, row, 3),
		.issuer = db_get_text(batch, 0, row, 4), .issuer_serial = db_get_text(batch, 0, row, 5), .device_id = db_get_text(batch, 0, row, 6), .subject = db_get_text(batch, 0, row, 7),
		.not_after_ms = db_get_int(batch, 0, row, 8), .state = db_get_int(batch, 0, row, 9), .has_token = db_get_int(batch, 0, row, 10), .provenance = db_get_text(batch, 0, row, 11),
	};
}

GArray *store_first_use_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_FIRST_USE_LIST, db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct first_use_row), take_first_use, ret_load, error);
}

bool store_first_use_known(struct store *store, const uint8_t cert_sha256[32], bool *ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_CERTIFICATE_IS_FIRST_USE, db_blob(cert_sha256, 32));
	if (!store_run(store, batch, error))
		return false;
	*ret = db_rows(batch, 0) > 0;
	return true;
}

/* ---- ReturnToService ---- */

bool store_return_get(struct store *store, const char *enrollment_id, struct return_row *ret, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_RETURN_GET, db_text(enrollment_id));
	if (!store_run(store, batch, error))
		return false;
	*ret = (struct return_row){0};
	if (db_rows(batch, 0))
		*ret = (struct return_row){
			.own = db_get_int(batch, 0, 0, 0) != 0, .enabled = db_get_int(batch, 0, 0, 1) != 0, .wifi_profile = db_get_text(batch, 0, 0, 2), .mdm_profile = db_get_int(batch, 0, 0, 3) != 0,
			.bootstrap_token = db_get_int(batch, 0, 0, 4) != 0,
		};
	*ret_load = g_steal_pointer(&batch);
	return true;
}

bool store_return_put(struct store *store, const char *enrollment_id, const struct return_row *row, int64_t now_ms, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(enrollment_id);

	db_batch_add(batch, Q_RETURN_PUT, db_text(enrollment_id), db_int(row->own), db_int(row->enabled), db_text(row->wifi_profile), db_int(row->mdm_profile), db_int(row->bootstrap_token), db_int(now_ms));
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

bool store_return_answer(struct store *store, const char *enrollment_id, int64_t now_ms, int64_t since_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(enrollment_id);

	db_batch_add(batch, Q_RETURN_ANSWER, db_text(enrollment_id), db_int(now_ms), db_int(since_ms));
	return store_run(store, batch, error);
}

/* ---- the timeline ---- */

bool store_event_again(struct store *store, const char *enrollment_id, const char *kind, const char *detail, int64_t now_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(enrollment_id);

	store_batch_event_again(store, batch, enrollment_id, kind, detail, false, now_ms);
	return store_run(store, batch, error);
}

void store_batch_link_step(struct store *store, struct db_batch *batch, const struct link_step *step)
{
	struct pom_id id = pom_id_new(store->clock, store->random);
	int64_t since_ms = step->at_ms - EVENT_AGAIN_MS;

	db_batch_add(batch, Q_EVENT_AGAIN, db_text(step->link_id), db_text(step->kind), db_int(step->at_ms), db_text(step->detail), db_int(since_ms), db_int(0));
	db_batch_add(batch, Q_EVENT_OF_LINK, db_text(step->link_id), db_text(step->kind), db_int(step->at_ms), db_text(step->detail), db_int(since_ms), db_int(0), db_text(id.text));
	db_batch_add(batch, Q_EVENT_TRIM, db_text(step->link_id));
}

bool store_link_event(struct store *store, const char *link_id, const char *kind, const char *detail, int64_t now_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(link_id);

	store_batch_link_step(store, batch, &(struct link_step){link_id, kind, detail, now_ms});
	return store_run(store, batch, error);
}

static void take_timeline(const struct db_batch *batch, size_t row, void *out)
{
	*(struct timeline_row *)out = (struct timeline_row){
		.at_ms = db_get_int(batch, 0, row, 0), .id = db_get_text(batch, 0, row, 1), .kind = db_get_text(batch, 0, row, 2), .detail = db_get_text(batch, 0, row, 3),
		.n = db_get_int(batch, 0, row, 4), .last_ms = db_get_int(batch, 0, row, 5),
	};
}

GArray *store_timeline_list(struct store *store, const char *id, int64_t after_ms, const char *after_id, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_TIMELINE_PAGE, db_text(id), db_int(after_ms), db_text(after_id), db_int(limit));
	return store_list(store, batch, sizeof(struct timeline_row), take_timeline, ret_load, error);
}

bool store_timeline_facts(struct store *store, const char *enrollment_id, struct timeline_enrollment *ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_TIMELINE_FACTS, db_text(enrollment_id));
	if (!store_run(store, batch, error))
		return false;
	if (!db_rows(batch, 0))
		return pom_fail(error, POM_ERR_NOT_FOUND, "there is no enrollment %s", enrollment_id);
	*ret = (struct timeline_enrollment){
		.state = db_get_int(batch, 0, 0, 0), .last_seen_ms = db_get_int(batch, 0, 0, 1), .ended_ms = db_get_int(batch, 0, 0, 2), .has_token = db_get_int(batch, 0, 0, 3),
		.push_dead_ms = db_get_int(batch, 0, 0, 4), .identity_not_after_ms = db_get_int(batch, 0, 0, 5), .identity_state = db_get_int(batch, 0, 0, 6), .oldest_command_ms = db_get_int(batch, 0, 0, 7),
		.is_user = db_get_text(batch, 0, 0, 8) != NULL,
	};
	return true;
}

static bool purge(struct store *store, unsigned statement, int64_t before_ms, int64_t limit, bool *ret_more, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_spans(batch);
	db_batch_add(batch, statement, db_int(before_ms), db_int(limit));
	if (!store_run(store, batch, error))
		return false;
	*ret_more = (int64_t)db_rows(batch, 0) == limit;
	return true;
}

bool store_event_purge(struct store *store, int64_t before_ms, int64_t limit, bool *ret_more, GError **error)
{
	return purge(store, Q_EVENT_PURGE, before_ms, limit, ret_more, error);
}

bool store_command_purge(struct store *store, int64_t before_ms, int64_t limit, bool *ret_more, GError **error)
{
	return purge(store, Q_COMMAND_DONE_PURGE, before_ms, limit, ret_more, error);
}
