/* Over-the-air enrollment, device CAs, watches. */
#include "store/ota_store.h"

#include "store/store_internal.h"

/* The columns of the table ota from FIRST on, as both statements have them but for factory_ca and attributes, which stand between. */
static void read_ota(const struct db_batch *b, unsigned i, unsigned first, struct ota_facts *ret)
{
	size_t len;

	*ret = (struct ota_facts){
		.bound = db_rows(b, i) > 0 && !db_is_null(b, i, 0, first + 2), .udid = db_get_text(b, i, 0, first), .serial = db_get_text(b, i, 0, first + 1),
		.factory_spki_sha256 = db_get_blob(b, i, 0, first + 2, &len), .version = db_get_int(b, i, 0, first + 5), .n_identities = db_get_int(b, i, 0, first + 6),
		.bound_ms = db_get_int(b, i, 0, first + 7),
	};
}

bool store_ota_load(struct store *store, const char *link_id, const uint8_t cert_sha256[32], struct ota_load *ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_OTA_GET, db_text(link_id));
	if (cert_sha256)
		db_batch_add(batch, Q_FACTS_CERTIFICATE, db_blob(cert_sha256, 32));
	if (!store_run(store, batch, error))
		return false;
	*ret = (struct ota_load){0};
	read_ota(batch, 0, 0, &ret->facts);
	if (cert_sha256)
		store_read_certificate(batch, 1, &ret->certificate);
	ret->load = g_steal_pointer(&batch);
	return true;
}

void ota_load_clear(struct ota_load *load)
{
	g_clear_pointer(&load->load, store_load_free);
}

static void add_binding(struct db_batch *batch, const struct ota_identified *i)
{
	const struct ota_attributes *a = i->attributes;

	db_batch_add(batch, Q_OTA_BIND, db_text(i->link_id), db_text(a->udid), db_text(a->serial), db_blob(i->factory_spki_sha256, 32), db_text(i->factory_ca), db_text(i->attributes_json),
	             db_int(i->now_ms));
	db_batch_add(batch, Q_CHALLENGE_BIND_OF_LINK, db_text(i->link_id), db_text(ota_device_id(a)));
	/* What was given before the link had its device would let any enroll. */
	db_batch_add(batch, Q_CERTIFICATE_REVOKE_UNBOUND, db_text(i->link_id), db_int(i->now_ms), db_text(""));
}

bool store_ota_identify(struct store *store, const struct ota_identified *i, int64_t version, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(i->link_id);
	const struct ota_challenge *c = i->challenge;

	db_batch_add(batch, Q_LINK_HOLD, db_text(i->link_id));
	if (version)
		db_batch_add(batch, Q_OTA_AGAIN, db_text(i->link_id), db_int(version), db_text(i->attributes_json), db_int(i->now_ms));
	else
		add_binding(batch, i);
	db_batch_add(batch, Q_CHALLENGE_CLOSE_OTA, db_text(i->link_id), db_int(i->now_ms));
	if (c)
		db_batch_add(batch, Q_CHALLENGE_ADD_OTA, db_text(c->id), db_blob(c->secret_hash, 32), db_text(c->common_name), db_int(c->max_keys), db_int(i->now_ms), db_int(c->expires_ms),
		             db_text(c->profile), db_text(ota_device_id(i->attributes)), db_text(i->link_id));
	store_batch_event(store, batch, i->link_id, "OtaIdentified", i->event, i->now_ms);
	store_batch_audit(store, batch, i->audit);
	return store_run(store, batch, error);
}

bool store_ota_served(struct store *store, const char *link_id, const char *event, int64_t now_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(link_id);

	db_batch_add(batch, Q_OTA_SERVED, db_text(link_id), db_int(now_ms));
	store_batch_event(store, batch, link_id, "OtaProfileSent", event, now_ms);
	return store_run(store, batch, error);
}

bool store_link_get(struct store *store, const char *id, struct link_whole *ret, store_load **ret_load, GError **error)
{
	g_autoptr(db_batch) b = db_batch_new(NULL);

	db_batch_add(b, Q_LINK_GET, db_text(id));
	if (!store_run(store, b, error))
		return false;
	if (!db_rows(b, 0))
		return pom_fail(error, POM_ERR_NOT_FOUND, "there is no enrollment link %s (give an id as \"enroll list\" shows them)", id);
	*ret = (struct link_whole){
		.link = {
			db_get_text(b, 0, 0, 0), db_get_text(b, 0, 0, 1), db_get_text(b, 0, 0, 2), db_get_int(b, 0, 0, 3), db_get_int(b, 0, 0, 4), db_get_int(b, 0, 0, 5), db_get_int(b, 0, 0, 6),
			db_get_text(b, 0, 0, 7),
		},
		.device_id = db_get_text(b, 0, 0, 8), .factory_ca = db_get_text(b, 0, 0, 12), .attributes = db_get_text(b, 0, 0, 13), .answered_ms = db_get_int(b, 0, 0, 17),
		.served_ms = db_get_int(b, 0, 0, 18), .user_email = db_get_text(b, 0, 0, 19),
	};
	read_ota(b, 0, 9, &ret->ota);
	*ret_load = g_steal_pointer(&b);
	return true;
}

/* ---- device CAs ---- */

static void take_device_ca(const struct db_batch *b, size_t row, void *out)
{
	struct device_ca_row *ca = out;
	size_t len;

	*ca = (struct device_ca_row){
		.id = db_get_text(b, 0, row, 0), .name = db_get_text(b, 0, row, 1), .spki_sha256 = db_get_blob(b, 0, row, 3, &len), .not_after_ms = db_get_int(b, 0, row, 4),
		.created_ms = db_get_int(b, 0, row, 5),
	};
	ca->der = db_get_blob(b, 0, row, 2, &ca->der_len);
}

GArray *store_device_ca_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_DEVICE_CA_LIST, db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct device_ca_row), take_device_ca, ret_load, error);
}

bool store_device_ca_count(struct store *store, int64_t *ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add_values(batch, Q_DEVICE_CA_COUNT, NULL, 0);
	if (!store_run(store, batch, error))
		return false;
	*ret = db_get_int(batch, 0, 0, 0);
	return true;
}

bool store_device_ca_add(struct store *store, const struct device_ca_row *row, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_DEVICE_CA_ADD, db_text(row->id), db_text(row->name), db_blob(row->der, row->der_len), db_blob(row->spki_sha256, 32), db_int(row->not_after_ms), db_int(row->created_ms));
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

bool store_device_ca_remove(struct store *store, const char *id, const struct audit_entry *audit, bool *ret_found, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_DEVICE_CA_REMOVE, db_text(id));
	store_batch_audit(store, batch, audit);
	return store_run_found(store, batch, ret_found, error);
}

/* ---- watches ---- */

bool store_pairing_add(struct store *store, const char *id, const uint8_t security_hash[32], const struct ota_attributes *watch, const uint8_t factory_spki_sha256[32], int64_t now_ms, int64_t expires_ms,
                       GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_PAIRING_ADD, db_text(id), db_blob(security_hash, 32), db_text(watch->udid), db_text(watch->serial), db_text(watch->product), db_blob(factory_spki_sha256, 32),
	             db_int(now_ms), db_int(expires_ms));
	db_batch_add(batch, Q_PAIRING_TRIM, db_blob(factory_spki_sha256, 32), db_int(WATCH_OPEN_MAX));
	return store_run(store, batch, error);
}

static void take_pairing(const struct db_batch *b, size_t row, void *out)
{
	size_t len;

	*(struct pairing_facts *)out = (struct pairing_facts){
		.known = true, .id = db_get_text(b, 0, row, 0), .udid = db_get_text(b, 0, row, 1), .serial = db_get_text(b, 0, row, 2), .product = db_get_text(b, 0, row, 3),
		.factory_spki_sha256 = db_get_blob(b, 0, row, 4, &len), .created_ms = db_get_int(b, 0, row, 5), .expires_ms = db_get_int(b, 0, row, 6), .phone_id = db_get_text(b, 0, row, 7),
		.nonce_hash = db_get_blob(b, 0, row, 8, &len), .granted_ms = db_get_int(b, 0, row, 9), .token_expires_ms = db_get_int(b, 0, row, 10), .used_ms = db_get_int(b, 0, row, 11),
		.link_id = db_get_text(b, 0, row, 12),
	};
}

static bool load_pairing(struct store *store, struct db_batch *batch, struct pairing_load *ret, GError **error)
{
	g_autoptr(db_batch) owned = batch;

	if (!store_run(store, batch, error))
		return false;
	*ret = (struct pairing_load){0};
	if (db_rows(batch, 0))
		take_pairing(batch, 0, &ret->facts);
	ret->load = g_steal_pointer(&owned);
	return true;
}

bool store_pairing_by_security(struct store *store, const uint8_t security_hash[32], struct pairing_load *ret, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_PAIRING_BY_SECURITY, db_blob(security_hash, 32));
	return load_pairing(store, batch, ret, error);
}

bool store_pairing_get(struct store *store, const char *id, struct pairing_load *ret, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_PAIRING_GET, db_text(id));
	return load_pairing(store, batch, ret, error);
}

void pairing_load_clear(struct pairing_load *load)
{
	g_clear_pointer(&load->load, store_load_free);
}

GArray *store_pairing_list(struct store *store, const char *after, int64_t limit, store_load **ret_load, GError **error)
{
	struct db_batch *batch = db_batch_new(NULL);

	db_batch_add(batch, Q_PAIRING_LIST, db_text(after), db_int(limit));
	return store_list(store, batch, sizeof(struct pairing_facts), take_pairing, ret_load, error);
}

bool store_pairing_phone(struct store *store, const char *enrollment_id, struct phone_load *ret, GError **error)
{
	g_autoptr(db_batch) b = db_batch_new(NULL);

	db_batch_add(b, Q_PAIRING_PHONE, db_text(enrollment_id));
	if (!store_run(store, b, error))
		return false;
	*ret = (struct phone_load){.facts = {
		.known = db_rows(b, 0) > 0, .id = db_get_text(b, 0, 0, 0), .udid = db_get_text(b, 0, 0, 1), .product_name = db_get_text(b, 0, 0, 2), .owner = db_get_text(b, 0, 0, 3),
		.state = db_get_int(b, 0, 0, 4), .supervised = db_get_text(b, 0, 0, 5),
	}};
	ret->load = g_steal_pointer(&b);
	return true;
}

void phone_load_clear(struct phone_load *load)
{
	g_clear_pointer(&load->load, store_load_free);
}

bool store_pairing_grant(struct store *store, const struct pairing_facts *pairing, const char *phone_id, const uint8_t nonce_hash[32], int64_t now_ms, int64_t expires_ms, const struct audit_entry *audit,
                         GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(pairing->id);
	g_autofree char *detail = g_strdup_printf("watch %s", pairing->udid);

	db_batch_add(batch, Q_PAIRING_GRANT, db_text(pairing->id), db_text(phone_id), db_blob(nonce_hash, 32), db_int(now_ms), db_int(expires_ms));
	store_batch_event(store, batch, phone_id, "WatchTokenGranted", detail, now_ms);
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

bool store_pairing_use(struct store *store, const struct pairing_facts *pairing, const uint8_t nonce_hash[32], const struct link_new *link, int64_t now_ms, const struct audit_entry *audit, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(pairing->id);
	g_autofree char *of_phone = g_strdup_printf("watch %s", pairing->udid), *of_watch = g_strdup_printf("paired with the phone of enrollment %s", pairing->phone_id);

	db_batch_add(batch, Q_PAIRING_USE, db_text(pairing->id), db_blob(nonce_hash, 32), db_int(now_ms), db_text(link->id));
	store_batch_link(batch, link);
	db_batch_add(batch, Q_LINK_EMAIL_OF_PHONE, db_text(link->id), db_text(pairing->phone_id));
	store_batch_event(store, batch, pairing->phone_id, "WatchPaired", of_phone, now_ms);
	store_batch_event(store, batch, link->id, "WatchPaired", of_watch, now_ms);
	store_batch_audit(store, batch, audit);
	return store_run(store, batch, error);
}

bool store_pairing_purge(struct store *store, int64_t before_ms, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, Q_PAIRING_PURGE, db_int(before_ms), db_int(WATCH_PURGE_AT_ONCE));
	return store_run(store, batch, error);
}
