/* What administrators do with CAs: see, make, import, renew with the same key, rekey with overlap. */
#include <string.h>

#include "base/log.h"
#include "service/ca_internal.h"

static void set_hex(json_t *object, const char *key, const uint8_t *data, size_t len)
{
	g_autofree char *hex = hex_format(data, len);

	json_set_text(object, key, hex);
}

static json_t *authority_json(const struct authority *a)
{
	json_t *o;

	if (!a)
		return json_null();
	o = json_object();
	json_set_text(o, "subject", a->info->subject);
	json_set_text(o, "issuer", a->info->issuer);
	json_set_text(o, "serial", a->info->serial);
	json_object_set_new(o, "not_before", json_time(a->info->not_before * 1000));
	json_object_set_new(o, "not_after", json_time(a->info->not_after * 1000));
	json_set_text(o, "key_type", a->info->key_type == EVP_PKEY_EC ? "ec" : "rsa");
	json_object_set_new(o, "key_bits", json_integer(a->info->key_bits));
	set_hex(o, "sha256", a->info->sha256, sizeof(a->info->sha256));
	set_hex(o, "sha1", a->info->sha1, sizeof(a->info->sha1));
	json_set_text(o, "key", a->signer ? (a->key_uri ? "token" : "here") : a->key_uri ? "token (not answering)" : "elsewhere");
	return o;
}

static json_t *generation_json(const struct generation *g, int64_t devices)
{
	json_t *o = json_object();
	g_autofree char *pem = g->issuing ? cert_format_pem(g->issuing->cert) : NULL, *root = g->root ? cert_format_pem(g->root->cert) : NULL;

	json_set_text(o, "id", g->id);
	json_set_text(o, "ca", g->ca);
	json_object_set_new(o, "number", json_integer(g->number));
	json_set_text(o, "state", generation_state_name(g->state));
	json_set_text(o, "source", g->source);
	json_object_set_new(o, "devices", json_integer(devices));
	json_object_set_new(o, "issuing", authority_json(g->issuing));
	json_object_set_new(o, "root", authority_json(g->root));
	json_object_set_new(o, "ra", authority_json(g->ra));
	json_object_set_new(o, "ocsp", authority_json(g->ocsp));
	json_object_set_new(o, "created", json_time(g->created_ms));
	json_object_set_new(o, "activated", json_time(g->activated_ms));
	json_object_set_new(o, "retiring_since", json_time(g->retiring_ms));
	json_object_set_new(o, "retired", json_time(g->retired_ms));
	json_set_text(o, "certificate_pem", pem);
	json_set_text(o, "root_pem", root);
	return o;
}

json_t *service_ca_show(struct service *service, const char *name, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) counts = store_generation_devices(service->store, &load, error);
	json_t *items;

	if (!counts)
		return NULL;
	items = json_array();
	for (guint i = 0; i < set->generations->len; i++) {
		const struct generation *g = g_ptr_array_index(set->generations, i);
		int64_t devices = 0;

		if (name && strcmp(g->ca, name))
			continue;
		for (guint k = 0; k < counts->len; k++)
			if (!strcmp(g_array_index(counts, struct generation_count, k).generation_id, g->id))
				devices = g_array_index(counts, struct generation_count, k).n;
		json_array_append_new(items, generation_json(g, devices));
	}
	if (name && !json_array_size(items)) {
		json_decref(items);
		pom_fail(error, POM_ERR_NOT_FOUND, "there is no CA \"%.64s\"", name);
		return NULL;
	}
	return json_page(items, NULL, 0);
}

/* One generation as it is now, after something was done to it. */
static json_t *show_generation(struct service *service, const char *id, GError **error)
{
	g_autoptr(ca_set) set = NULL;
	const struct generation *g;

	if (!service_ca_reload(service, error))
		return NULL;
	set = service_ca_set(service);
	if (service->ca_changed)
		service->ca_changed(service->ca_changed_ctx);
	g = ca_set_find(set, id);
	if (g)
		return generation_json(g, 0);
	pom_fail(error, POM_ERR_INTERNAL, "generation %s was not stored", id);
	return NULL;
}

/* The states of a CA's generations and its highest number. */
static size_t states_of(const struct ca_set *set, const char *ca, enum generation_state states[64], int64_t *ret_number)
{
	size_t n = 0;

	*ret_number = 0;
	for (guint i = 0; i < set->generations->len; i++) {
		const struct generation *g = g_ptr_array_index(set->generations, i);

		if (strcmp(g->ca, ca))
			continue;
		*ret_number = MAX(*ret_number, g->number);
		/* Of many retired ones none matters. */
		if (n < 64 && g->state != GENERATION_RETIRED)
			states[n++] = g->state;
	}
	return n;
}

static bool check_new_name(const struct ca_set *set, const char *name, GError **error)
{
	enum generation_state states[64];
	int64_t number;

	if (!scep_profile_check_name(name, error))
		return false;
	states_of(set, name, states, &number);
	return number ? pom_fail(error, POM_ERR_CONFLICT, "there is already a CA \"%s\": name another, or replace its key with \"pomona ca rekey\"", name) : true;
}

json_t *service_ca_create(struct service *service, const char *actor, const struct ca_spec *spec, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	g_autofree char *id = g_strconcat(spec->name, "-1", NULL);
	struct ca_spec full = *spec;
	int64_t now_ms = service_now_ms(service);
	struct generation_row row = {.id = id, .ca = spec->name, .number = 1, .state = "active", .source = "own", .created_ms = now_ms, .activated_ms = now_ms};
	struct own_made made;
	bool ok;

	if (!check_new_name(set, spec->name, error))
		return NULL;
	full.organization = spec->organization ? spec->organization : service->settings.organization;
	own_made_init(&made);
	ok = ca_make_generation(&made, &full, id, 1, &service->seal, service->clock, error) &&
	     store_generation_add(service->store, &row, (const struct authority_row *)made.rows->data, made.rows->len,
	                          AUDIT(actor, "ca.create", spec->name, audit_detail("generation", id, "subject", own_made_find(&made, "issuing")->info->subject, NULL)), error);
	own_made_clear(&made);
	return ok ? show_generation(service, id, error) : NULL;
}

json_t *service_ca_import(struct service *service, const char *actor, const struct ca_import *import, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	g_autofree char *id = g_strconcat(import->name, "-1", NULL);
	int64_t now_ms = service_now_ms(service);
	struct generation_row row = {.id = id, .ca = import->name, .number = 1, .state = "active", .source = "imported", .created_ms = now_ms, .activated_ms = now_ms};
	struct own_made made;
	bool ok;

	if (!check_new_name(set, import->name, error))
		return NULL;
	own_made_init(&made);
	ok = ca_make_import(&made, import, service->settings.organization, id, &service->seal, service->clock, error) &&
	     store_generation_add(service->store, &row, (const struct authority_row *)made.rows->data, made.rows->len,
	                          AUDIT(actor, "ca.import", import->name, audit_detail("generation", id, "subject", own_made_find(&made, "issuing")->info->subject, NULL)), error);
	own_made_clear(&made);
	return ok ? show_generation(service, id, error) : NULL;
}

char *service_csr_pem(GBytes *csr)
{
	g_autofree char *text = g_base64_encode(g_bytes_get_data(csr, NULL), g_bytes_get_size(csr));
	GString *pem = g_string_new("-----BEGIN CERTIFICATE REQUEST-----\n");

	for (const char *p = text; *p; p += MIN(64, strlen(p)))
		g_string_append_printf(pem, "%.64s\n", p);
	g_string_append(pem, "-----END CERTIFICATE REQUEST-----\n");
	return g_string_free(pem, FALSE);
}

json_t *service_ca_csr(struct service *service, const char *actor, const struct ca_spec *spec, const char *subject, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	enum generation_state states[64];
	g_autoptr(GBytes) csr = NULL;
	g_autofree char *id = NULL, *pem = NULL;
	struct own_made made;
	int64_t number;
	size_t n;
	bool ok;

	if (!scep_profile_check_name(spec->name, error))
		return NULL;
	n = states_of(set, spec->name, states, &number);
	if (n == 1 && states[0] == GENERATION_REQUESTED) {
		pom_fail(error, POM_ERR_CONFLICT, "CA %s waits for the certificate of a request already: give it with \"pomona ca install\"", spec->name);
		return NULL;
	}
	if (n && !ca_check_rekey(spec->name, states, n, error))
		return NULL;
	id = g_strdup_printf("%s-%" G_GINT64_FORMAT, spec->name, number + 1);
	struct generation_row row = {.id = id, .ca = spec->name, .number = number + 1, .state = "requested", .source = "subordinate", .created_ms = service_now_ms(service)};
	own_made_init(&made);
	ok = ca_make_request(&made, spec, subject, id, &service->seal, service->clock, &csr, error) &&
	     store_generation_add(service->store, &row, (const struct authority_row *)made.rows->data, made.rows->len, AUDIT(actor, "ca.csr", spec->name, audit_detail("generation", id, "subject", subject, NULL)), error);
	own_made_clear(&made);
	if (!ok || !service_ca_reload(service, error))
		return NULL;
	pem = service_csr_pem(csr);
	return json_pack("{s:s, s:s, s:s}", "ca", spec->name, "generation", id, "csr", pem);
}

json_t *service_ca_csr_cancel(struct service *service, const char *actor, const char *name, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	const struct generation *g = ca_set_in_state(set, name, GENERATION_REQUESTED);
	json_t *o;

	if (!g) {
		pom_fail(error, POM_ERR_CONFLICT, "no request of a CA \"%.64s\" waits for its certificate", name);
		return NULL;
	}
	o = json_pack("{s:s, s:s}", "ca", name, "canceled", g->id);
	if (store_generation_drop(service->store, g->id, g->version, AUDIT(actor, "ca.csr.cancel", name, audit_detail("generation", g->id, NULL)), error) && service_ca_reload(service, error))
		return o;
	json_decref(o);
	return NULL;
}

/* Whether the chain holds a certificate for this key. */
static bool has_key(GPtrArray *certs, struct signer *key)
{
	for (guint i = 0; key && i < certs->len; i++)
		if (EVP_PKEY_eq(X509_get0_pubkey(g_ptr_array_index(certs, i)), signer_get_key(key)) == 1)
			return true;
	return false;
}

/* The sealed PIN of a token's key is kept with the row: the new row needs it again. */
static char *pin_of(struct service *service, const struct authority *a, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_authority_list(service->store, &load, error);

	for (guint i = 0; rows && a->key_uri && i < rows->len; i++) {
		const struct authority_row *row = &g_array_index(rows, struct authority_row, i);
		g_autoptr(GBytes) pin = NULL;

		if (strcmp(row->id, a->id) || !row->key_sealed)
			continue;
		pin = seal_open(&service->seal, "authority", row->id, "key", row->key_sealed, error);
		return pin ? g_strndup(g_bytes_get_data(pin, NULL), g_bytes_get_size(pin)) : NULL;
	}
	return NULL;
}

/* The ids of the generation's certificates that the new ones take the place of. */
static GPtrArray *superseded_ids(const struct generation *g, const struct own_made *made)
{
	GPtrArray *ids = g_ptr_array_new();

	for (guint i = 0; i < g->authorities->len; i++) {
		const struct authority *a = g_ptr_array_index(g->authorities, i);

		if (!a->superseded && (!a->cert || own_made_find(made, a->role)))
			g_ptr_array_add(ids, a->id);
	}
	g_ptr_array_add(ids, NULL);
	return ids;
}

static bool store_made(struct service *service, const struct generation *g, enum generation_state state, struct own_made *made, const struct audit_entry *audit, GError **error)
{
	g_autoptr(GPtrArray) ids = superseded_ids(g, made);
	struct generation_change change = {g->id, generation_state_name(state), g->version, .activated_ms = state == GENERATION_ACTIVE && g->state != GENERATION_ACTIVE ? service_now_ms(service) : 0};

	return store_generation_change(service->store, &change, 1, (const struct authority_row *)made->rows->data, made->rows->len, (const char *const *)ids->pdata, audit, error);
}

static struct generation *find_installable(const struct ca_set *set, const char *name, GPtrArray *certs)
{
	struct generation *requested = ca_set_in_state(set, name, GENERATION_REQUESTED), *active = ca_set_in_state(set, name, GENERATION_ACTIVE);

	if (requested && has_key(certs, requested->key))
		return requested;
	return active && active->issuing->signer && has_key(certs, active->issuing->signer) ? active : NULL;
}

json_t *service_ca_install(struct service *service, const char *actor, const char *name, GBytes *chain, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	g_autoptr(GPtrArray) certs = cert_parse_all(g_bytes_get_data(chain, NULL), g_bytes_get_size(chain), error);
	struct generation *g = certs ? find_installable(set, name, certs) : NULL;
	enum generation_state state;
	struct own_made made;
	struct signer *key;
	const struct authority *holder = NULL;
	g_autofree char *pin = NULL, *id = NULL;
	bool ok;

	if (!certs)
		return NULL;
	if (!g) {
		pom_fail(error, POM_ERR_KEY_MISMATCH, "none of the certificates is for the key of a request of CA \"%.64s\" (\"pomona ca csr\"), nor for the key that it has", name);
		return NULL;
	}
	id = g_strdup(g->id);
	key = g->state == GENERATION_REQUESTED ? g->key : g->issuing->signer;
	for (guint i = 0; i < g->authorities->len && !holder; i++)
		holder = ((struct authority *)g_ptr_array_index(g->authorities, i))->signer == key ? g_ptr_array_index(g->authorities, i) : NULL;
	pin = holder ? pin_of(service, holder, error) : NULL;
	state = g->state == GENERATION_ACTIVE || !ca_set_in_state(set, name, GENERATION_ACTIVE) ? GENERATION_ACTIVE : GENERATION_NEXT;
	own_made_init(&made);
	/* An RA stands beside whatever cannot decrypt by itself: outside CAs rarely give keyEncipherment to a sub-CA. */
	g_autoptr(cert_info) info = NULL;
	for (guint i = 0; i < certs->len && !info; i++)
		if (EVP_PKEY_eq(X509_get0_pubkey(g_ptr_array_index(certs, i)), signer_get_key(key)) == 1)
			info = cert_info_new(g_ptr_array_index(certs, i), error);
	bool ra = info && (info->key_type != EVP_PKEY_RSA || (info->key_usage != UINT32_MAX && !(info->key_usage & KU_KEY_ENCIPHERMENT)));
	ok = info && ca_make_installed(&made, certs, key, holder ? holder->key_uri : NULL, pin, ra, name, service->settings.organization, g->id, &service->seal, service->clock, error) &&
	     store_made(service, g, state, &made, AUDIT(actor, g->state == GENERATION_REQUESTED ? "ca.install" : "ca.renew", name, audit_detail("generation", g->id, "serial", info->serial, NULL)), error);
	own_made_clear(&made);
	if (pin)
		explicit_bzero(pin, strlen(pin));
	return ok ? show_generation(service, id, error) : NULL;
}

/* ---- renew: same key ---- */

static bool renew_one(struct service *service, struct own_made *made, const struct authority *old, enum cert_purpose purpose, const struct authority *issuer, const char *generation_id, int days,
                      bool no_encipherment, const struct authority **ret, GError **error)
{
	g_autofree char *pin = old->key_uri ? pin_of(service, old, NULL) : NULL;
	struct own_plan plan = {.purpose = purpose, .role = old->role, .generation_id = generation_id, .days = days, .issuer = issuer, .key_uri = old->key_uri, .pin = pin, .no_encipherment = no_encipherment};

	*ret = own_renew(made, old, &plan, &service->seal, service->clock, error);
	if (pin)
		explicit_bzero(pin, strlen(pin));
	return *ret != NULL;
}

/* The imported kind: one certificate that signs itself. */
static bool renew_single(struct service *service, struct own_made *made, const struct authority *old, const char *generation_id, int days, const struct authority **ret, GError **error)
{
	g_autofree char *pin = old->key_uri ? pin_of(service, old, NULL) : NULL;
	struct own_plan plan = {.role = "issuing", .generation_id = generation_id, .days = days, .key_uri = old->key_uri, .pin = pin};

	*ret = own_renew_single(made, old, &plan, &service->seal, service->clock, error);
	if (pin)
		explicit_bzero(pin, strlen(pin));
	return *ret != NULL;
}

json_t *service_ca_renew(struct service *service, const char *actor, const char *name, int days, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	const struct generation *g = ca_set_in_state(set, name, GENERATION_ACTIVE);
	const struct authority *root, *issuing = NULL, *ra;
	g_autofree char *id = NULL;
	struct own_made made;
	bool ok, single;

	if (!g) {
		pom_fail(error, POM_ERR_NOT_FOUND, "there is no active CA \"%.64s\"", name);
		return NULL;
	}
	single = g->issuing->signer && g_bytes_equal(g->root->der, g->issuing->der);
	if (!single && (!g->root->signer || g->chain->len)) {
		pom_fail(error, POM_ERR_CONFLICT, "the key of \"%s\" is not here, so it cannot be asked for a new certificate: get one from that CA for the same key and give it with \"pomona ca install\"", g->issuing->info->issuer);
		return NULL;
	}
	id = g_strdup(g->id);
	own_made_init(&made);
	if (single)
		ok = renew_single(service, &made, g->issuing, g->id, days ? days : CA_ISSUING_DAYS, &issuing, error);
	else
		ok = renew_one(service, &made, g->root, CERT_ROOT_CA, NULL, g->id, CA_ROOT_DAYS, false, &root, error) &&
		     renew_one(service, &made, g->issuing, CERT_ISSUING_CA, root, g->id, days ? days : CA_ISSUING_DAYS, g->ra != NULL, &issuing, error);
	ok = ok && (!g->ra || renew_one(service, &made, g->ra, CERT_RA, issuing, g->id, days ? days : CA_ISSUING_DAYS, false, &ra, error)) &&
	     store_made(service, g, GENERATION_ACTIVE, &made, AUDIT(actor, "ca.renew", name, audit_detail("generation", g->id, "serial", issuing->info->serial, NULL)), error);
	own_made_clear(&made);
	return ok ? show_generation(service, id, error) : NULL;
}

/* ---- rekey: a new key, with overlap ---- */

static json_t *rekey_start(struct service *service, const char *actor, const struct ca_set *set, const struct ca_spec *wish, bool keep_root, GError **error)
{
	const struct generation *active = ca_set_in_state(set, wish->name, GENERATION_ACTIVE);
	enum generation_state states[64];
	struct ca_spec spec = *wish;
	struct own_made made;
	int64_t number;
	size_t n = states_of(set, wish->name, states, &number);
	g_autofree char *id = g_strdup_printf("%s-%" G_GINT64_FORMAT, wish->name, number + 1);
	struct generation_row row = {.id = id, .ca = wish->name, .number = number + 1, .state = "next", .source = "own", .created_ms = service_now_ms(service)};
	bool ok;

	if (!ca_check_rekey(wish->name, states, n, error))
		return NULL;
	if (strcmp(active->source, "own")) {
		pom_fail(error, POM_ERR_CONFLICT, "the root of CA %s is not here: make a request for a new key with \"pomona ca csr\", and give what its CA answers with \"pomona ca install\"", wish->name);
		return NULL;
	}
	if (active->issuing->key_uri && !wish->issuing_key_uri) {
		pom_fail(error, POM_ERR_CONFLICT, "the key of CA %s is in a token: make the new key there and name it with --issuing-key (and --root-key, unless --keep-root)", wish->name);
		return NULL;
	}
	spec.organization = service->settings.organization;
	spec.key_type = active->issuing->info->key_type == EVP_PKEY_EC ? "ec" : "rsa";
	spec.root_bits = (unsigned)active->root->info->key_bits;
	spec.issuing_bits = (unsigned)active->issuing->info->key_bits;
	spec.ra = active->ra != NULL;
	spec.keep_root = keep_root ? active : NULL;
	own_made_init(&made);
	ok = ca_make_generation(&made, &spec, id, number + 1, &service->seal, service->clock, error) &&
	     store_generation_add(service->store, &row, (const struct authority_row *)made.rows->data, made.rows->len,
	                          AUDIT(actor, "ca.rekey.start", wish->name, audit_detail("generation", id, "subject", own_made_find(&made, "issuing")->info->subject, NULL)), error);
	own_made_clear(&made);
	return ok ? show_generation(service, id, error) : NULL;
}

static json_t *rekey_activate(struct service *service, const char *actor, const struct ca_set *set, const char *name, GError **error)
{
	const struct generation *active = ca_set_in_state(set, name, GENERATION_ACTIVE), *next = ca_set_in_state(set, name, GENERATION_NEXT);
	enum generation_state states[64];
	int64_t number, now_ms = service_now_ms(service);

	if (!ca_check_activate(name, states, states_of(set, name, states, &number), error))
		return NULL;
	g_autofree char *id = g_strdup(next->id);
	struct generation_change changes[] = {{next->id, "active", next->version, now_ms, 0, 0}, {active->id, "retiring", active->version, 0, now_ms, 0}};
	if (!store_generation_change(service->store, changes, G_N_ELEMENTS(changes), NULL, 0, NULL,
	                             AUDIT(actor, "ca.rekey.activate", name, audit_detail("generation", id, "retiring", active->id, NULL)), error))
		return NULL;
	return show_generation(service, id, error);
}

static json_t *brief_json(const struct device_brief *d)
{
	json_t *o = json_object();

	json_set_text(o, "id", d->id);
	json_set_text(o, "udid", d->device_id);
	json_set_text(o, "serial", d->serial);
	json_set_text(o, "name", d->name);
	json_object_set_new(o, "last_seen", json_time(d->last_seen_ms));
	return o;
}

static json_t *briefs_json(GArray *rows)
{
	json_t *items = json_array();

	for (guint i = 0; i < rows->len; i++)
		json_array_append_new(items, brief_json(&g_array_index(rows, struct device_brief, i)));
	return items;
}

/* Whether devices must have acknowledged a new root before the old one can go: only when our own CA's root carries the server's TLS certificate. */
static bool needs_anchor(struct service *service, const struct generation *from, const struct generation *to)
{
	return !strcmp(to->ca, CA_DEFAULT) && service->settings.own_tls && service->settings.enroll_include_root && !g_bytes_equal(from->root->der, to->root->der);
}

json_t *service_ca_devices(struct service *service, const char *name, int64_t limit, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	const struct generation *active = ca_set_in_state(set, name, GENERATION_ACTIVE), *retiring = ca_set_in_state(set, name, GENERATION_RETIRING), *next = ca_set_in_state(set, name, GENERATION_NEXT);
	const struct generation *from = retiring ? retiring : active, *to = retiring ? active : next;
	g_autoptr(store_load) load = NULL, anchor_load = NULL;
	g_autoptr(GArray) identity = NULL, anchor = NULL;
	json_t *o;

	if (!active || !to) {
		pom_fail(error, active ? POM_ERR_CONFLICT : POM_ERR_NOT_FOUND, active ? "no rekey of CA %s is running" : "there is no CA \"%.64s\"", name);
		return NULL;
	}
	identity = store_generation_device_list(service->store, from->id, "", limit, &load, error);
	anchor = identity ? store_anchor_lacking(service->store, needs_anchor(service, from, to) ? to->number : 0, "", STORE_WALK_END, limit, &anchor_load, error) : NULL;
	if (!anchor)
		return NULL;
	o = json_pack("{s:s, s:s, s:s}", "ca", name, "from", from->id, "to", to->id);
	json_object_set_new(o, "identity", briefs_json(identity));
	json_object_set_new(o, "anchor", briefs_json(anchor));
	return o;
}

/* Names the first few devices of each list, for the refusal. */
static char *names_of(const json_t *devices)
{
	GString *text = g_string_new(NULL);
	const json_t *d;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)devices, i, d) {
		if (i == 5) {
			g_string_append(text, ", …");
			break;
		}
		g_string_append_printf(text, "%s%s", i ? ", " : "", json_string_value(json_object_get(d, "udid")));
	}
	return g_string_free(text, FALSE);
}

static bool check_devices(struct service *service, const char *name, GError **error)
{
	g_autoptr(json_t) devices = service_ca_devices(service, name, 1000, error);
	json_t *identity = json_object_get(devices, "identity"), *anchor = json_object_get(devices, "anchor");

	if (!devices)
		return false;
	if (json_array_size(identity)) {
		g_autofree char *names = names_of(identity);

		return pom_fail(error, POM_ERR_CA_DEVICES, "%zu device(s) still have an identity of %s and would be lost: %s. They are sent a new one when they next connect; see \"pomona ca devices\"",
		                json_array_size(identity), json_string_value(json_object_get(devices, "from")), names);
	}
	if (json_array_size(anchor)) {
		g_autofree char *names = names_of(anchor);

		return pom_fail(error, POM_ERR_CA_DEVICES, "%zu device(s) have not acknowledged the new root and would not trust this server's TLS certificate: %s. See \"pomona ca devices\"",
		                json_array_size(anchor), names);
	}
	return true;
}

static json_t *rekey_finish(struct service *service, const char *actor, const struct ca_set *set, const char *name, bool force, GError **error)
{
	const struct generation *retiring = ca_set_in_state(set, name, GENERATION_RETIRING);
	enum generation_state states[64];
	const struct generation *active = ca_set_in_state(set, name, GENERATION_ACTIVE);
	const char *old_signer[] = {set->profile_signer->id, NULL};
	int64_t number, now_ms = service_now_ms(service);
	g_autofree char *id = NULL;
	struct own_made made;
	g_autoptr(GBytes) last = NULL;
	g_autoptr(GError) inner = NULL;
	bool ok = true;

	if (!ca_check_finish(name, states, states_of(set, name, states, &number), error) || (!force && !check_devices(service, name, error)))
		return NULL;
	id = g_strdup(retiring->id);
	struct generation_change change = {retiring->id, "retired", retiring->version, 0, 0, now_ms};
	/* A last CRL, for whoever still checks an old certificate; without its key there is the one before. */
	last = service_crl(service, retiring->id, NULL, NULL, &inner);
	if (!last)
		pom_log(POM_LOG_WARNING, "no last CRL of a retiring CA could be made", "generation", retiring->id, "why", inner->message, NULL);
	own_made_init(&made);
	/* Profiles are signed under the new root from now on, and not before: it must be one that devices trust already. */
	if (!strcmp(name, CA_DEFAULT))
		ok = ca_make_signer(&made, service->settings.organization, active->id, active->issuing, &service->seal, service->clock, error);
	ok = ok && store_generation_change(service->store, &change, 1, (const struct authority_row *)made.rows->data, made.rows->len, made.rows->len ? old_signer : NULL,
	                                   AUDIT(actor, force ? "ca.rekey.finish.forced" : "ca.rekey.finish", name, audit_detail("retired", id, NULL)), error);
	own_made_clear(&made);
	if (!ok || !service_ca_reload(service, error))
		return NULL;
	/* The TLS certificate moves now at the latest. */
	if (service->reload_tls)
		service->reload_tls(service->reload_tls_ctx);
	return show_generation(service, id, error);
}

json_t *service_ca_rekey(struct service *service, const char *actor, const struct ca_spec *spec, enum ca_rekey_step step, bool keep_root, bool force, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);

	if (!ca_set_in_state(set, spec->name, GENERATION_ACTIVE)) {
		pom_fail(error, POM_ERR_NOT_FOUND, "there is no active CA \"%.64s\"", spec->name);
		return NULL;
	}
	switch (step) {
	case CA_REKEY_ACTIVATE:
		return rekey_activate(service, actor, set, spec->name, error);
	case CA_REKEY_FINISH:
		return rekey_finish(service, actor, set, spec->name, force, error);
	case CA_REKEY_START:
		break;
	}
	return rekey_start(service, actor, set, spec, keep_root, error);
}

/* ---- certificates that are ours to keep alive ---- */

static bool is_old(const struct authority *a, int64_t now_s)
{
	return a && now_s >= ca_renew_at(a->info->not_before, a->info->not_after);
}

static bool renew_helper(struct service *service, const struct generation *g, const struct authority *old, enum cert_purpose purpose, int days, GError **error)
{
	struct generation_change change = {g->id, generation_state_name(g->state), g->version, 0, 0, 0};
	const char *superseded[] = {old->id, NULL};
	const struct authority *renewed;
	struct own_made made;
	bool ok;

	own_made_init(&made);
	ok = renew_one(service, &made, old, purpose, g->issuing, g->id, days, false, &renewed, error) &&
	     store_generation_change(service->store, &change, 1, (const struct authority_row *)made.rows->data, made.rows->len, superseded,
	                             AUDIT("janitor", "ca.renew.own", g->ca, audit_detail("generation", g->id, "role", old->role, "serial", renewed->info->serial, NULL)), error);
	own_made_clear(&made);
	if (ok)
		pom_log(POM_LOG_NOTICE, "a certificate of the CA was renewed", "generation", g->id, "role", old->role, NULL);
	return ok && service_ca_reload(service, error);
}

/* Schema 1 made no OCSP responder. */
static bool add_responder(struct service *service, const struct generation *g, GError **error)
{
	struct generation_change change = {g->id, generation_state_name(g->state), g->version, 0, 0, 0};
	g_autofree char *cn = g_strdup_printf("%s OCSP", g->id);
	struct own_plan plan = {.purpose = CERT_OCSP, .role = "ocsp", .generation_id = g->id, .organization = service->settings.organization, .common_name = cn, .days = CA_OCSP_DAYS, .issuer = g->issuing};
	g_autoptr(signer) key = signer_generate_rsa(2048, error);
	struct own_made made;
	bool ok;

	own_made_init(&made);
	ok = key && own_make(&made, &plan, key, &service->seal, service->clock, error) &&
	     store_generation_change(service->store, &change, 1, (const struct authority_row *)made.rows->data, made.rows->len, NULL, NULL, error);
	own_made_clear(&made);
	return ok && service_ca_reload(service, error);
}

static bool renew_signer(struct service *service, const struct ca_set *set, GError **error)
{
	const struct generation *g = ca_set_in_state(set, CA_DEFAULT, GENERATION_ACTIVE);
	struct generation_change change = {g->id, "active", g->version, 0, 0, 0};
	const char *old[] = {set->profile_signer->id, NULL};
	struct own_made made;
	bool ok;

	own_made_init(&made);
	ok = ca_make_signer(&made, service->settings.organization, g->id, g->issuing, &service->seal, service->clock, error) &&
	     store_generation_change(service->store, &change, 1, (const struct authority_row *)made.rows->data, made.rows->len, old, AUDIT("janitor", "signer.renew", g->id, NULL), error);
	own_made_clear(&made);
	return ok && service_ca_reload(service, error);
}

bool service_renew_own(struct service *service, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	int64_t now_s = service_now_ms(service) / 1000;

	for (guint i = 0; i < set->generations->len; i++) {
		const struct generation *g = g_ptr_array_index(set->generations, i);

		if (!generation_is_trusted(g->state) || !g->issuing->signer || now_s > g->issuing->info->not_after)
			continue;
		/* One step at a time: each changes the generation's version. */
		if (!g->ocsp)
			return add_responder(service, g, error);
		if (is_old(g->ocsp, now_s) && g->ocsp->info->not_after < g->issuing->info->not_after)
			return renew_helper(service, g, g->ocsp, CERT_OCSP, CA_OCSP_DAYS, error);
		if (is_old(g->ra, now_s) && g->ra->signer && g->ra->info->not_after < g->issuing->info->not_after)
			return renew_helper(service, g, g->ra, CERT_RA, CA_ISSUING_DAYS, error);
	}
	if (is_old(set->profile_signer, now_s) && set->profile_signer->info->not_after < ca_set_in_state(set, CA_DEFAULT, GENERATION_ACTIVE)->issuing->info->not_after)
		return renew_signer(service, set, error);
	return true;
}
