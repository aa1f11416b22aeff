/* What administrators do with SCEP: challenges, profiles, requests that wait, outside CAs. */
#include <string.h>

#include "base/log.h"
#include "service/ca_internal.h"
#include "service/relay.h"

enum { SECRET_BYTES = 24, TTL_DEFAULT_S = 3600, TTL_MAX_S = 365 * 86400, USES_MAX = 100000, STATIC_MIN = 12 };

/* ---- challenges ---- */

static bool check_wish(const struct challenge_wish *wish, GError **error)
{
	if (wish->ttl_s < 0 || wish->ttl_s > TTL_MAX_S)
		return pom_fail(error, POM_ERR_BAD_REQUEST, "ttl must be between 1 second and 365 days");
	if (wish->uses < 0 || wish->uses > USES_MAX)
		return pom_fail(error, POM_ERR_BAD_REQUEST, "uses must be between 1 and %d", USES_MAX);
	if (wish->key_type && strcmp(wish->key_type, "rsa") && strcmp(wish->key_type, "ec"))
		return pom_fail(error, POM_ERR_BAD_REQUEST, "key_type must be rsa or ec");
	if (wish->device && (!*wish->device || strlen(wish->device) > 255 || !g_utf8_validate(wish->device, -1, NULL)))
		return pom_fail(error, POM_ERR_BAD_REQUEST, "device must have 1 to 255 bytes of UTF-8");
	return true;
}

/* The names that the challenge gives; from the profile's templates what was not said. */
static struct scep_record *wished_record(struct service *service, const struct challenge_wish *wish, const struct scep_profile *profile, const char *id, GError **error)
{
	g_autofree char *cn = wish->device ? g_strdup(wish->device) : g_strdup_printf("Pomona client %s", id + strlen(id) - 12);

	return scep_record_wished(profile, &(struct record_values){service->settings.organization, cn, id, wish->device, profile->name}, wish->subject, wish->sans, error);
}

json_t *service_challenge_new(struct service *service, const char *actor, const struct challenge_wish *wish, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	const char *profile_name = wish->profile ? wish->profile : PROFILE_DEFAULT;
	const struct profile_entry *entry = ca_set_profile(set, profile_name);
	struct pom_id id = pom_id_new(service->clock, service->random);
	g_autofree char *secret = pom_random_hex(service->random, SECRET_BYTES), *record_text = NULL, *common_name = NULL, *url = NULL, *expires = NULL;
	g_autoptr(scep_record) record = NULL;
	int64_t now_ms = service_now_ms(service), expires_ms = now_ms + (wish->ttl_s ? wish->ttl_s : TTL_DEFAULT_S) * 1000;
	json_t *reply;

	if (!entry) {
		pom_fail(error, POM_ERR_NOT_FOUND, "there is no SCEP profile \"%.64s\"", profile_name);
		return NULL;
	}
	if (!check_wish(wish, error) || !(record = wished_record(service, wish, entry->profile, id.text, error)))
		return NULL;
	record_text = scep_record_format(record);
	common_name = scep_record_common_name(record);
	struct challenge_new row = {
		.id = id.text, .common_name = common_name, .profile = profile_name, .record = record_text, .device_id = wish->device, .key_type = wish->key_type, .max_keys = wish->uses ? wish->uses : 1,
		.created_ms = now_ms, .expires_ms = expires_ms, .may_enroll = wish->may_enroll,
	};
	cert_sha256(secret, strlen(secret), row.secret_hash);
	if (!store_challenge_add(service->store, &row, AUDIT(actor, "challenge.new", id.text, audit_detail("profile", profile_name, "subject", record->subject, "device", wish->device, NULL)), error))
		return NULL;
	url = !strcmp(profile_name, PROFILE_DEFAULT) ? g_strconcat(service->settings.url, "/scep", NULL) : g_strdup_printf("%s/scep/%s", service->settings.url, profile_name);
	expires = pom_time_format(expires_ms);
	reply = json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", id.text, "challenge", secret, "url", url, "expires", expires, "subject", record->subject);
	json_object_set_new(reply, "sans", scep_record_sans(record));
	explicit_bzero(secret, strlen(secret));
	return reply;
}

static const char *challenge_state(const struct challenge_row *c, int64_t now_ms)
{
	if (c->revoked_ms)
		return "revoked";
	if (c->closed_ms || c->n_keys >= c->max_keys)
		return "used";
	return now_ms >= c->expires_ms ? "expired" : "open";
}

static json_t *challenge_json(const struct challenge_row *c, int64_t now_ms)
{
	json_t *o = json_object();
	g_autoptr(scep_record) record = c->record ? scep_record_parse(c->record, NULL) : NULL;

	json_set_text(o, "id", c->id);
	json_set_text(o, "profile", c->profile);
	json_set_text(o, "state", challenge_state(c, now_ms));
	json_set_text(o, "subject", record ? record->subject : c->common_name);
	json_object_set_new(o, "sans", record ? scep_record_sans(record) : json_array());
	json_set_text(o, "device", c->device_id);
	json_set_text(o, "key_type", c->key_type);
	json_set_text(o, "link", c->link_id);
	json_set_text(o, "renews_identity_of", c->for_enrollment_id);
	json_object_set_new(o, "uses", json_integer(c->max_keys));
	json_object_set_new(o, "used", json_integer(c->n_keys));
	json_object_set_new(o, "may_enroll", json_boolean(c->may_enroll));
	json_object_set_new(o, "created", json_time(c->created_ms));
	json_object_set_new(o, "expires", json_time(c->expires_ms));
	return o;
}

json_t *service_challenge_list(struct service *service, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	const char *last = NULL;
	json_t *items;

	limit = CLAMP(limit, 1, 1000);
	rows = store_challenge_list(service->store, after, limit, &load, error);
	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct challenge_row *row = &g_array_index(rows, struct challenge_row, i);

		json_array_append_new(items, challenge_json(row, service_now_ms(service)));
		last = row->id;
	}
	return json_page(items, last, limit);
}

json_t *service_challenge_revoke(struct service *service, const char *actor, const char *id, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct challenge_row row;
	bool found;

	if (!store_challenge_get(service->store, id, &row, &load, error) ||
	    !store_challenge_revoke(service->store, id, service_now_ms(service), AUDIT(actor, "challenge.revoke", id, NULL), &found, error))
		return NULL;
	return json_pack("{s:s, s:b}", "id", id, "revoked", found);
}

/* ---- profiles ---- */

static json_t *profile_json(struct service *service, const struct profile_entry *entry)
{
	json_t *o = scep_profile_format(entry->profile);
	g_autofree char *url = !strcmp(entry->profile->name, PROFILE_DEFAULT) ? g_strconcat(service->settings.url, "/scep", NULL) : g_strdup_printf("%s/scep/%s", service->settings.url, entry->profile->name);

	json_set_text(o, "url", url);
	json_object_set_new(o, "has_static_challenge", json_boolean(entry->static_challenge));
	json_object_set_new(o, "has_webhook_secret", json_boolean(entry->webhook_secret));
	return o;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

json_t *service_profile_list(struct service *service, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	guint n;
	g_autofree const char **names = (const char **)g_hash_table_get_keys_as_array(set->profiles, &n);
	json_t *items = json_array();

	qsort(names, n, sizeof(*names), compare_names);
	for (guint i = 0; i < n; i++)
		json_array_append_new(items, profile_json(service, ca_set_profile(set, names[i])));
	return json_page(items, NULL, 0);
}

json_t *service_profile_show(struct service *service, const char *name, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	const struct profile_entry *entry = ca_set_profile(set, name);

	if (entry)
		return profile_json(service, entry);
	pom_fail(error, POM_ERR_NOT_FOUND, "there is no SCEP profile \"%.64s\"", name);
	return NULL;
}

/* The stored settings and secrets of a row; empty objects when there is none. */
static bool stored_settings(struct service *service, GArray *rows, const char *table, const char *name, json_t **ret_settings, json_t **ret_secrets, GError **error)
{
	*ret_settings = json_object();
	*ret_secrets = json_object();
	for (guint i = 0; i < rows->len; i++) {
		const struct named_settings_row *row = &g_array_index(rows, struct named_settings_row, i);
		g_autoptr(GBytes) plain = NULL;

		if (strcmp(row->name, name))
			continue;
		json_decref(*ret_settings);
		*ret_settings = json_parse(row->settings, strlen(row->settings), error);
		if (!*ret_settings)
			return false;
		if (!row->secret_sealed)
			continue;
		plain = seal_open(&service->seal, table, name, "secret", row->secret_sealed, error);
		if (!plain)
			return false;
		json_decref(*ret_secrets);
		*ret_secrets = json_parse(g_bytes_get_data(plain, NULL), g_bytes_get_size(plain), error);
		return *ret_secrets != NULL;
	}
	return true;
}

/* 0: there is none of this name. */
static int64_t stored_version(GArray *rows, const char *name)
{
	for (guint i = 0; i < rows->len; i++)
		if (!strcmp(g_array_index(rows, struct named_settings_row, i).name, name))
			return g_array_index(rows, struct named_settings_row, i).version;
	return 0;
}

/* Moves what CHANGES names into SETTINGS or, for the names in SECRET_KEYS, into SECRETS; null takes it away. */
static bool merge(json_t *settings, json_t *secrets, const json_t *changes, const char *const *secret_keys, GError **error)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)changes, key, value) {
		json_t *into = g_strv_contains(secret_keys, key) ? secrets : settings;

		if (json_is_null(value))
			json_object_del(into, key);
		else if (into == secrets && !json_is_string(value))
			return pom_fail(error, POM_ERR_JSON, "%.64s must be a text", key);
		else
			json_object_set(into, key, value);
	}
	return true;
}

static GBytes *seal_secrets(struct service *service, const char *table, const char *name, const json_t *secrets)
{
	g_autoptr(GBytes) text = NULL, secret = NULL;

	if (!json_object_size(secrets))
		return NULL;
	text = json_format(secrets);
	secret = secret_bytes_new(g_bytes_get_data(text, NULL), g_bytes_get_size(text));
	return seal_close(&service->seal, table, name, "secret", g_bytes_get_data(secret, NULL), g_bytes_get_size(secret));
}

static char *json_text(const json_t *json)
{
	g_autoptr(GBytes) text = json_format(json);

	return g_strndup(g_bytes_get_data(text, NULL), g_bytes_get_size(text));
}

/* The question holds the challenge. */
static bool check_webhook(const struct scep_profile *p, GError **error)
{
	g_autoptr(GError) inner = NULL;

	if (p->challenge != PROFILE_WEBHOOK || outbound_check_url(p->webhook_url, false, &inner))
		return true;
	return pom_fail(error, POM_ERR_CONFLICT, "webhook_url of profile %s: %s", p->name, inner->message);
}

static bool check_secrets(const struct scep_profile *p, const json_t *secrets, GError **error)
{
	const char *text = json_string_value(json_object_get(secrets, "static_challenge")), *hook = json_string_value(json_object_get(secrets, "webhook_secret"));

	if (p->challenge == PROFILE_STATIC && (!text || strlen(text) < STATIC_MIN))
		return pom_fail(error, POM_ERR_CONFLICT, "profile %s has challenge=static: set static_challenge to at least %d characters", p->name, STATIC_MIN);
	if (p->challenge == PROFILE_WEBHOOK && (!hook || strlen(hook) < WEBHOOK_SECRET_MIN))
		return pom_fail(error, POM_ERR_CONFLICT, "profile %s has challenge=webhook: set webhook_secret to at least %d characters", p->name, WEBHOOK_SECRET_MIN);
	return true;
}

/* What lowers the guard is said aloud each time it is set. */
static void warn_profile(const struct scep_profile *p)
{
	g_autoptr(GError) error = NULL;

	if (p->challenge == PROFILE_STATIC)
		pom_log(POM_LOG_WARNING, "this SCEP profile has a static challenge: whoever learns it can get any certificate of the profile. Use one-time challenges", "profile", p->name, NULL);
	/* It was there when the profile was made; a changed system may have lost it. */
	if (p->legacy_des && !keys_load_legacy(&error))
		pom_log(POM_LOG_ERROR, "this SCEP profile accepts single DES, which this system cannot do", "profile", p->name, "why", error->message, NULL);
	if (p->legacy_des)
		pom_log(POM_LOG_WARNING, "this SCEP profile accepts single DES, which is broken and forbidden by RFC 8894 section 2.9", "profile", p->name, NULL);
}

void service_warn_profiles(struct service *service)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	GHashTableIter iter;
	void *value;

	g_hash_table_iter_init(&iter, set->profiles);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		warn_profile(((struct profile_entry *)value)->profile);
	g_hash_table_iter_init(&iter, set->outside);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (((struct outside_ca *)value)->legacy_des)
			pom_log(POM_LOG_WARNING, "this outside CA is asked with single DES where it knows nothing better, which is broken and forbidden by RFC 8894 section 2.9", "outside_ca", ((struct outside_ca *)value)->name, NULL);
}

json_t *service_profile_set(struct service *service, const char *actor, const char *name, json_t *changes, GError **error)
{
	static const char *const secret_keys[] = {"static_challenge", "webhook_secret", NULL};
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_profile_list(service->store, &load, error);
	g_autoptr(json_t) settings = NULL, secrets = NULL;
	g_autoptr(scep_profile) profile = scep_profile_copy(service->settings.profile, name);
	g_autoptr(ca_set) set = service_ca_set(service);
	g_autoptr(GBytes) sealed = NULL;
	g_autofree char *text = NULL, *shown = NULL;

	if (!rows || !scep_profile_check_name(name, error) || !stored_settings(service, rows, "scep_profile", name, &settings, &secrets, error) || !merge(settings, secrets, changes, secret_keys, error) ||
	    !scep_profile_apply(profile, settings, error) || !scep_profile_check(profile, error) || !check_webhook(profile, error) || !check_secrets(profile, secrets, error))
		return NULL;
	if (scep_profile_is_program(name)) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "the name \"%.64s\" cannot be used: clients put it behind /scep by themselves, so it would never be reached", name);
		return NULL;
	}
	if (!ca_set_in_state(set, profile->ca, GENERATION_ACTIVE)) {
		pom_fail(error, POM_ERR_CONFLICT, "there is no active CA \"%.64s\"", profile->ca);
		return NULL;
	}
	if (*profile->relay && !ca_set_outside(set, profile->relay)) {
		pom_fail(error, POM_ERR_CONFLICT, "there is no outside CA \"%.64s\": describe it first with \"pomona outside-ca set\"", profile->relay);
		return NULL;
	}
	if (profile->legacy_des && !keys_load_legacy(error))
		return NULL;
	text = json_text(settings);
	sealed = seal_secrets(service, "scep_profile", name, secrets);
	shown = json_text(settings);
	if (!store_profile_put(service->store, name, text, sealed, stored_version(rows, name), service_now_ms(service), AUDIT(actor, "profile.set", name, audit_detail("settings", shown, NULL)), error) || !service_ca_reload(service, error))
		return NULL;
	warn_profile(profile);
	return service_profile_show(service, name, error);
}

json_t *service_profile_remove(struct service *service, const char *actor, const char *name, GError **error)
{
	bool found;

	if (!store_profile_remove(service->store, name, AUDIT(actor, "profile.remove", name, NULL), &found, error) || !service_ca_reload(service, error))
		return NULL;
	if (found)
		return json_pack("{s:s, s:b}", "name", name, "removed", 1);
	pom_fail(error, POM_ERR_NOT_FOUND, "there are no settings of a SCEP profile \"%.64s\"", name);
	return NULL;
}

/* ---- requests that wait ---- */

static json_t *request_json(const struct scep_request_row *r, int64_t now_ms)
{
	json_t *o = json_object();

	json_set_text(o, "id", r->id);
	json_set_text(o, "profile", r->profile);
	json_set_text(o, "state", !strcmp(r->state, "pending") && r->expires_ms < now_ms ? "expired" : r->state);
	json_set_text(o, "subject", r->subject);
	json_set_text(o, "transaction_id", r->transaction_id);
	json_set_text(o, "challenge", r->challenge_id);
	json_set_text(o, "peer", r->peer);
	json_set_text(o, "certificate_serial", r->serial);
	json_set_text(o, "reason", r->reason);
	json_object_set_new(o, "created", json_time(r->created_ms));
	json_object_set_new(o, "decided", json_time(r->decided_ms));
	json_object_set_new(o, "expires", json_time(r->expires_ms));
	return o;
}

json_t *service_request_list(struct service *service, const char *state, const char *after, int64_t limit, GError **error)
{
	static const char *const states[] = {"pending", "approved", "denied", "issued", NULL};
	g_autofree char *last = g_strdup(after);
	json_t *items;

	if (state && !g_strv_contains(states, state)) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "the state \"%.64s\" is none of pending, approved, denied, issued", state);
		return NULL;
	}
	limit = CLAMP(limit, 1, 1000);
	items = json_array();
	for (;;) {
		g_autoptr(store_load) load = NULL;
		g_autoptr(GArray) rows = store_request_list(service->store, last, 1000, &load, error);

		if (!rows) {
			json_decref(items);
			return NULL;
		}
		for (guint i = 0; i < rows->len; i++) {
			const struct scep_request_row *row = &g_array_index(rows, struct scep_request_row, i);

			g_free(last);
			last = g_strdup(row->id);
			if (!state || !strcmp(row->state, state))
				json_array_append_new(items, request_json(row, service_now_ms(service)));
			if ((int64_t)json_array_size(items) >= limit)
				return json_page(items, last, limit);
		}
		if (rows->len < 1000)
			return json_page(items, NULL, limit);
	}
}

json_t *service_request_decide(struct service *service, const char *actor, const char *id, bool approve, const char *reason, GError **error)
{
	g_autoptr(store_load) load = NULL, after_load = NULL;
	struct scep_request_row row;
	GError *inner = NULL;

	if (!store_request_get(service->store, id, &row, &load, error))
		return NULL;
	if (strcmp(row.state, "pending")) {
		pom_fail(error, POM_ERR_CONFLICT, "the request is %s already", row.state);
		return NULL;
	}
	if (row.expires_ms < service_now_ms(service)) {
		pom_fail(error, POM_ERR_CONFLICT, "the request has expired: its client must ask again");
		return NULL;
	}
	if (!store_request_decide(service->store, id, approve ? "approved" : "denied", reason, service_now_ms(service),
	                          AUDIT(actor, approve ? "scep.approve" : "scep.deny", id, audit_detail("profile", row.profile, "subject", row.subject, "transaction", row.transaction_id, "reason", reason, NULL)), &inner)) {
		/* Only another's decision changes it. */
		if (g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT)) {
			g_clear_error(&inner);
			pom_fail(error, POM_ERR_CONFLICT, "the request was decided by another at the same moment: see \"pomona ca requests\"");
		} else {
			g_propagate_error(error, inner);
		}
		return NULL;
	}
	return store_request_get(service->store, id, &row, &after_load, error) ? request_json(&row, service_now_ms(service)) : NULL;
}

/* ---- outside CAs ---- */

static json_t *outside_json(const struct outside_ca *ca)
{
	json_t *o = json_object(), *chain = json_array();

	json_set_text(o, "name", ca->name);
	json_set_text(o, "url", ca->url);
	json_set_text(o, "ndes_url", ca->ndes_url);
	json_set_text(o, "ndes_user", ca->user);
	json_set_text(o, "fingerprint", ca->fingerprint);
	json_object_set_new(o, "legacy_des", json_boolean(ca->legacy_des));
	json_object_set_new(o, "has_challenge", json_boolean(ca->challenge));
	for (guint i = 0; i < ca->certificates->len; i++) {
		g_autoptr(cert_info) info = cert_info_new(g_ptr_array_index(ca->certificates, i), NULL);

		if (info)
			json_array_append_new(chain, json_pack("{s:s, s:o}", "subject", info->subject, "not_after", json_time(info->not_after * 1000)));
	}
	json_object_set_new(o, "certificates", chain);
	return o;
}

json_t *service_outside_list(struct service *service, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	json_t *items = json_array();
	GHashTableIter iter;
	void *value;

	g_hash_table_iter_init(&iter, set->outside);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		json_array_append_new(items, outside_json(value));
	return json_page(items, NULL, 0);
}

static bool check_outside(const json_t *settings, GError **error)
{
	static const char *const keys[] = {"url", "ndes_url", "ndes_user", "fingerprint", "legacy_des", NULL};
	const char *key, *url = json_string_value(json_object_get(settings, "url")), *ndes = json_string_value(json_object_get(settings, "ndes_url"));
	g_autoptr(GError) inner = NULL;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)settings, key, value) {
		if (!g_strv_contains(keys, key))
			return pom_fail(error, POM_ERR_JSON, "there is no setting \"%.64s\" of an outside CA", key);
		if (strcmp(key, "legacy_des") ? !json_is_string(value) : !json_is_boolean(value))
			return pom_fail(error, POM_ERR_JSON, "%s must be %s", key, strcmp(key, "legacy_des") ? "a text" : "true or false");
	}
	if (!url)
		return pom_fail(error, POM_ERR_BAD_REQUEST, "url is missing: the SCEP address of the outside CA");
	if (outbound_check_url(url, true, &inner) && (!ndes || outbound_check_url(ndes, false, &inner)))
		return true;
	/* To the outbound calls it is a setting; here it is what somebody asks for. */
	return pom_fail(error, POM_ERR_BAD_REQUEST, "%s", inner->message);
}

/* The certificates that are there already: what does not say where the CA is, or which, leaves them alone. Devices may have identities of each of them. transfer full. */
static GBytes *kept_certificates(GArray *rows, const char *name, const json_t *changes)
{
	static const char *const asking[] = {"url", "fingerprint", "certificates"};

	for (unsigned i = 0; i < G_N_ELEMENTS(asking); i++)
		if (json_object_get(changes, asking[i]))
			return NULL;
	for (guint i = 0; i < rows->len; i++) {
		const struct named_settings_row *row = &g_array_index(rows, struct named_settings_row, i);

		if (!strcmp(row->name, name) && row->certificates)
			return g_bytes_ref(row->certificates);
	}
	return NULL;
}

/* The outside CA's certificates: given as PEM, else asked of it. */
static GBytes *outside_certificates(struct service *service, const char *name, const json_t *settings, const char *pem, GError **error)
{
	struct outside_ca ca = {.name = (char *)(uintptr_t)name, .url = (char *)(uintptr_t)json_string_value(json_object_get(settings, "url")),
	                        .fingerprint = (char *)(uintptr_t)json_string_value(json_object_get(settings, "fingerprint")), .legacy_des = json_is_true(json_object_get(settings, "legacy_des"))};
	g_autoptr(GPtrArray) certs = NULL;
	GString *text;

	if (pem)
		return g_bytes_new(pem, strlen(pem));
	certs = service_outside_ask(service, &ca, error);
	if (!certs)
		return NULL;
	text = g_string_new(NULL);
	for (guint i = 0; i < certs->len; i++) {
		g_autofree char *one = cert_format_pem(g_ptr_array_index(certs, i));

		g_string_append(text, one);
	}
	return g_string_free_to_bytes(text);
}

json_t *service_outside_set(struct service *service, const char *actor, const char *name, json_t *changes, GError **error)
{
	static const char *const secret_keys[] = {"challenge", "ndes_password", NULL};
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_outside_list(service->store, &load, error);
	g_autoptr(json_t) settings = NULL, secrets = NULL, pem = NULL;
	g_autoptr(GBytes) sealed = NULL, certificates = NULL;
	g_autoptr(GPtrArray) checked = NULL;
	g_autoptr(ca_set) set = NULL;
	g_autofree char *text = NULL;

	certificates = rows ? kept_certificates(rows, name, changes) : NULL;
	pem = json_incref(json_object_get(changes, "certificates"));
	json_object_del(changes, "certificates");
	if (!rows || !scep_profile_check_name(name, error) || !stored_settings(service, rows, "outside_ca", name, &settings, &secrets, error) || !merge(settings, secrets, changes, secret_keys, error) ||
	    !check_outside(settings, error))
		return NULL;
	if (!certificates)
		certificates = outside_certificates(service, name, settings, json_string_value(pem), error);
	checked = certificates ? cert_parse_all(g_bytes_get_data(certificates, NULL), g_bytes_get_size(certificates), error) : NULL;
	if (!checked)
		return NULL;
	text = json_text(settings);
	sealed = seal_secrets(service, "outside_ca", name, secrets);
	struct named_settings_row row = {.name = name, .settings = text, .secret_sealed = sealed, .certificates = certificates, .version = stored_version(rows, name)};
	if (!store_outside_put(service->store, &row, service_now_ms(service), AUDIT(actor, "outside-ca.set", name, audit_detail("settings", text, NULL)), error) || !service_ca_reload(service, error))
		return NULL;
	set = service_ca_set(service);
	return outside_json(ca_set_outside(set, name));
}

json_t *service_outside_remove(struct service *service, const char *actor, const char *name, GError **error)
{
	bool found;

	if (!store_outside_remove(service->store, name, AUDIT(actor, "outside-ca.remove", name, NULL), &found, error) || !service_ca_reload(service, error))
		return NULL;
	if (found)
		return json_pack("{s:s, s:b}", "name", name, "removed", 1);
	pom_fail(error, POM_ERR_NOT_FOUND, "there is no outside CA \"%.64s\"", name);
	return NULL;
}
