/* The set of CAs, profiles and outside CAs: read from the store as a whole, immutable afterwards. */
#include <string.h>

#include "base/log.h"
#include "keys/pkcs11.h"
#include "service/ca_internal.h"
#include "store/shared_store.h"

void authority_free(struct authority *authority)
{
	if (!authority)
		return;
	g_free(authority->id);
	g_free(authority->role);
	g_free(authority->key_uri);
	X509_free(authority->cert);
	g_clear_pointer(&authority->der, g_bytes_unref);
	cert_info_free(authority->info);
	signer_unref(authority->signer);
	g_free(authority);
}

static void generation_free(void *data)
{
	struct generation *g = data;

	g_free(g->id);
	g_free(g->ca);
	g_free(g->source);
	g_ptr_array_unref(g->chain);
	g_ptr_array_unref(g->authorities);
	signer_unref(g->key);
	g_free(g);
}

static void wipe_free(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	g_free(secret);
}

static void profile_entry_free(void *data)
{
	struct profile_entry *entry = data;

	scep_profile_free(entry->profile);
	wipe_free(entry->static_challenge);
	wipe_free(entry->webhook_secret);
	g_free(entry);
}

static void outside_ca_free(void *data)
{
	struct outside_ca *ca = data;

	g_free(ca->name);
	g_free(ca->url);
	g_free(ca->ndes_url);
	g_free(ca->user);
	g_free(ca->fingerprint);
	wipe_free(ca->challenge);
	wipe_free(ca->password);
	g_ptr_array_unref(ca->certificates);
	g_free(ca);
}

void ca_set_unref(struct ca_set *set)
{
	if (!set || !pom_refs_drop(&set->refs))
		return;
	g_ptr_array_unref(set->generations);
	authority_free(set->profile_signer);
	g_hash_table_unref(set->profiles);
	g_hash_table_unref(set->outside);
	g_free(set);
}

struct ca_set *service_ca_set(struct service *service)
{
	struct ca_set *set;

	pthread_rwlock_rdlock(&service->ca_lock);
	set = service->ca;
	pom_refs_take(&set->refs);
	pthread_rwlock_unlock(&service->ca_lock);
	return set;
}

const struct authority *generation_speaker(const struct generation *generation)
{
	return generation->ra ? generation->ra : generation->issuing;
}

struct generation *ca_set_find(const struct ca_set *set, const char *id)
{
	for (guint i = 0; i < set->generations->len; i++) {
		struct generation *g = g_ptr_array_index(set->generations, i);

		if (!g_strcmp0(g->id, id))
			return g;
	}
	return NULL;
}

struct generation *ca_set_in_state(const struct ca_set *set, const char *ca, enum generation_state state)
{
	for (guint i = 0; i < set->generations->len; i++) {
		struct generation *g = g_ptr_array_index(set->generations, i);

		if (g->state == state && !g_strcmp0(g->ca, ca))
			return g;
	}
	return NULL;
}

struct profile_entry *ca_set_profile(const struct ca_set *set, const char *name)
{
	return g_hash_table_lookup(set->profiles, name);
}

struct outside_ca *ca_set_outside(const struct ca_set *set, const char *name)
{
	return g_hash_table_lookup(set->outside, name);
}

struct generation *ca_set_issuer_of(const struct ca_set *set, X509 *cert)
{
	for (guint i = 0; i < set->generations->len; i++) {
		struct generation *g = g_ptr_array_index(set->generations, i);

		if (generation_is_trusted(g->state) && g->issuing && cert_is_issued_by(cert, g->issuing->cert))
			return g;
	}
	return NULL;
}

const struct outside_ca *ca_set_outside_issuer_of(const struct ca_set *set, X509 *cert)
{
	GHashTableIter iter;
	void *value;

	g_hash_table_iter_init(&iter, set->outside);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct outside_ca *ca = value;

		for (guint i = 0; i < ca->certificates->len; i++)
			if (cert_is_issued_by(cert, g_ptr_array_index(ca->certificates, i)))
				return ca;
	}
	return NULL;
}

GPtrArray *ca_set_anchors(const struct ca_set *set)
{
	GPtrArray *anchors = g_ptr_array_new();

	for (guint i = set->generations->len; i-- > 0;) {
		struct generation *g = g_ptr_array_index(set->generations, i);
		bool known = false;

		if (strcmp(g->ca, CA_DEFAULT) || !generation_is_trusted(g->state) || !g->root)
			continue;
		for (guint k = 0; k < anchors->len; k++)
			known = known || g_bytes_equal(((struct authority *)g_ptr_array_index(anchors, k))->der, g->root->der);
		if (!known)
			g_ptr_array_add(anchors, g->root);
	}
	return anchors;
}

int64_t ca_set_newest_anchor(const struct ca_set *set)
{
	int64_t newest = 0;

	for (guint i = 0; i < set->generations->len; i++) {
		struct generation *g = g_ptr_array_index(set->generations, i);

		if (!strcmp(g->ca, CA_DEFAULT) && generation_is_trusted(g->state))
			newest = MAX(newest, g->number);
	}
	return newest;
}

/* ---- reading ---- */

/* The key of a row: opened before, in a token, or sealed. NULL without an error when there is none, or a token that does not answer. */
static struct signer *open_key(const struct authority_row *row, const struct seal *seal, const struct ca_set *before, GError **error)
{
	g_autoptr(GBytes) secret = NULL;
	g_autoptr(GError) inner = NULL;
	struct signer *signer = NULL;

	for (guint i = 0; before && i < before->generations->len; i++) {
		struct generation *g = g_ptr_array_index(before->generations, i);

		for (guint k = 0; k < g->authorities->len; k++) {
			struct authority *a = g_ptr_array_index(g->authorities, k);

			if (!strcmp(a->id, row->id) && a->signer)
				return signer_ref(a->signer);
		}
	}
	if (!row->key_sealed && !row->key_uri)
		return NULL;
	if (row->key_sealed) {
		secret = seal_open(seal, "authority", row->id, "key", row->key_sealed, error);
		if (!secret)
			return NULL;
	}
	if (!row->key_uri)
		return signer_parse(g_bytes_get_data(secret, NULL), g_bytes_get_size(secret), error);
	g_autofree char *pin = secret ? g_strndup(g_bytes_get_data(secret, NULL), g_bytes_get_size(secret)) : NULL;
	signer = signer_open_pkcs11(row->key_uri, pin, &inner);
	if (pin)
		explicit_bzero(pin, strlen(pin));
	/* A token that is away must not keep the server from starting: what needs the key says so when it is asked. */
	if (!signer)
		pom_log(POM_LOG_ERROR, "a key in a PKCS#11 token cannot be opened", "role", row->role, "generation", row->generation_id, "why", inner->message, NULL);
	return signer;
}

struct authority *authority_load(const struct authority_row *row, const struct seal *seal, const struct ca_set *before, GError **error)
{
	g_autoptr(authority) a = g_new0(struct authority, 1);
	GError *inner = NULL;

	a->id = g_strdup(row->id);
	a->role = g_strdup(row->role);
	a->key_uri = g_strdup(row->key_uri);
	a->superseded = !strcmp(row->state, "superseded");
	a->der = g_bytes_ref(row->certificate);
	/* A key whose certificate is still to come has an empty one. */
	if (g_bytes_get_size(a->der) > 0) {
		a->cert = cert_parse_der(g_bytes_get_data(a->der, NULL), g_bytes_get_size(a->der), error);
		a->info = a->cert ? cert_info_new(a->cert, error) : NULL;
		if (!a->info)
			return NULL;
	}
	a->signer = open_key(row, seal, before, &inner);
	if (inner) {
		g_propagate_error(error, inner);
		return NULL;
	}
	return g_steal_pointer(&a);
}

/* Puts an authority where it belongs in its generation. */
static void place(struct generation *g, struct authority *a)
{
	g_ptr_array_add(g->authorities, a);
	if (!a->cert) {
		if (!a->superseded && a->signer && !g->key)
			g->key = signer_ref(a->signer);
		return;
	}
	if (a->superseded)
		return;
	if (!strcmp(a->role, "root"))
		g->root = a;
	else if (!strcmp(a->role, "issuing"))
		g->issuing = a;
	else if (!strcmp(a->role, "ra"))
		g->ra = a;
	else if (!strcmp(a->role, "ocsp"))
		g->ocsp = a;
	else if (!strcmp(a->role, "chain"))
		g_ptr_array_add(g->chain, a);
}

/* Superseded certificates have no key row of their own: theirs is that of the one which took their place. */
static void share_keys(struct generation *g)
{
	for (guint i = 0; i < g->authorities->len; i++) {
		struct authority *a = g_ptr_array_index(g->authorities, i);
		struct authority *now = !strcmp(a->role, "issuing") ? g->issuing : !strcmp(a->role, "ra") ? g->ra : NULL;

		if (a->superseded && !a->signer && now && now->signer && !memcmp(a->info->spki_sha256, now->info->spki_sha256, 32))
			a->signer = signer_ref(now->signer);
	}
}

static bool load_generations(struct service *service, struct ca_set *set, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_generation_list(service->store, &load, error);

	for (guint i = 0; rows && i < rows->len; i++) {
		const struct generation_row *row = &g_array_index(rows, struct generation_row, i);
		struct generation *g = g_new0(struct generation, 1);

		*g = (struct generation){
			.id = g_strdup(row->id), .ca = g_strdup(row->ca), .source = g_strdup(row->source), .number = row->number, .version = row->version, .created_ms = row->created_ms,
			.activated_ms = row->activated_ms, .retiring_ms = row->retiring_ms, .retired_ms = row->retired_ms, .state = generation_state_find(row->state),
			.authorities = g_ptr_array_new_with_free_func((GDestroyNotify)authority_free), .chain = g_ptr_array_new(),
		};
		g_ptr_array_add(set->generations, g);
	}
	return rows != NULL;
}

static bool load_authorities(struct service *service, struct ca_set *set, const struct ca_set *before, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_authority_list(service->store, &load, error);

	for (guint i = 0; rows && i < rows->len; i++) {
		const struct authority_row *row = &g_array_index(rows, struct authority_row, i);
		struct generation *g = ca_set_find(set, row->generation_id);
		struct authority *a;

		if (!strcmp(row->role, "tls"))
			continue;
		a = authority_load(row, &service->seal, before, error);
		if (!a)
			return false;
		if (!strcmp(row->role, "signer")) {
			authority_free(set->profile_signer);
			set->profile_signer = a;
		} else if (g) {
			place(g, a);
		} else {
			authority_free(a);
		}
	}
	for (guint i = 0; i < set->generations->len; i++)
		share_keys(g_ptr_array_index(set->generations, i));
	return rows != NULL;
}

/* The secrets of a row: a JSON object in an envelope. NULL without an error when there is none. */
static json_t *open_secrets(struct service *service, const char *table, const struct named_settings_row *row, GError **error)
{
	g_autoptr(GBytes) plain = NULL;

	if (!row->secret_sealed)
		return NULL;
	plain = seal_open(&service->seal, table, row->name, "secret", row->secret_sealed, error);
	return plain ? json_parse(g_bytes_get_data(plain, NULL), g_bytes_get_size(plain), error) : NULL;
}

static struct profile_entry *standard_profile(struct service *service, const char *name)
{
	struct profile_entry *entry = g_new0(struct profile_entry, 1);
	struct scep_profile *p = entry->profile = scep_profile_copy(service->settings.profile, name);

	return p ? entry : NULL;
}

static bool load_profiles(struct service *service, struct ca_set *set, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_profile_list(service->store, &load, error);

	g_hash_table_insert(set->profiles, g_strdup(PROFILE_DEFAULT), standard_profile(service, PROFILE_DEFAULT));
	for (guint i = 0; rows && i < rows->len; i++) {
		const struct named_settings_row *row = &g_array_index(rows, struct named_settings_row, i);
		struct profile_entry *entry = standard_profile(service, row->name);
		g_autoptr(json_t) settings = json_parse(row->settings, strlen(row->settings), error);
		g_autoptr(json_t) secrets = NULL;
		GError *inner = NULL;

		g_hash_table_insert(set->profiles, g_strdup(row->name), entry);
		if (!settings || !scep_profile_apply(entry->profile, settings, error))
			return false;
		secrets = open_secrets(service, "scep_profile", row, &inner);
		if (inner) {
			g_propagate_error(error, inner);
			return false;
		}
		entry->static_challenge = g_strdup(json_string_value(json_object_get(secrets, "static_challenge")));
		entry->webhook_secret = g_strdup(json_string_value(json_object_get(secrets, "webhook_secret")));
		if (entry->static_challenge)
			cert_sha256(entry->static_challenge, strlen(entry->static_challenge), entry->static_hash);
	}
	return rows != NULL;
}

static bool load_outside(struct service *service, struct ca_set *set, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_outside_list(service->store, &load, error);

	for (guint i = 0; rows && i < rows->len; i++) {
		const struct named_settings_row *row = &g_array_index(rows, struct named_settings_row, i);
		g_autoptr(json_t) settings = json_parse(row->settings, strlen(row->settings), error);
		g_autoptr(json_t) secrets = NULL;
		struct outside_ca *ca = g_new0(struct outside_ca, 1);
		GError *inner = NULL;

		g_hash_table_insert(set->outside, g_strdup(row->name), ca);
		ca->name = g_strdup(row->name);
		ca->certificates = row->certificates ? cert_parse_all(g_bytes_get_data(row->certificates, NULL), g_bytes_get_size(row->certificates), error) : g_ptr_array_new();
		if (!settings || !ca->certificates)
			return false;
		secrets = open_secrets(service, "outside_ca", row, &inner);
		if (inner) {
			g_propagate_error(error, inner);
			return false;
		}
		ca->url = g_strdup(json_string_value(json_object_get(settings, "url")));
		ca->ndes_url = g_strdup(json_string_value(json_object_get(settings, "ndes_url")));
		ca->user = g_strdup(json_string_value(json_object_get(settings, "ndes_user")));
		ca->fingerprint = g_strdup(json_string_value(json_object_get(settings, "fingerprint")));
		ca->legacy_des = json_is_true(json_object_get(settings, "legacy_des"));
		ca->challenge = g_strdup(json_string_value(json_object_get(secrets, "challenge")));
		ca->password = g_strdup(json_string_value(json_object_get(secrets, "ndes_password")));
	}
	return rows != NULL;
}

/* Both, else the server cannot work. */
static bool check_set(const struct ca_set *set, GError **error)
{
	if (!ca_set_in_state(set, CA_DEFAULT, GENERATION_ACTIVE) || !set->profile_signer)
		return pom_fail(error, POM_ERR_CONFIG, "the database has no active CA or no profile signer: was it made by \"pomona init\"?");
	for (guint i = 0; i < set->generations->len; i++) {
		const struct generation *g = g_ptr_array_index(set->generations, i);

		if (generation_is_trusted(g->state) && (!g->issuing || !g->root))
			return pom_fail(error, POM_ERR_CONFIG, "generation %s has no issuing or root certificate: the database is damaged", g->id);
	}
	return true;
}

static struct ca_set *ca_set_new(int64_t version)
{
	struct ca_set *set = g_new0(struct ca_set, 1);

	pom_refs_init(&set->refs);
	set->version = version;
	set->generations = g_ptr_array_new_with_free_func(generation_free);
	set->profiles = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, profile_entry_free);
	set->outside = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, outside_ca_free);
	return set;
}

/* Reads the parts one after another. *RET_AGAIN: somebody changed them meanwhile, so they may not fit together. */
static struct ca_set *try_load(struct service *service, const struct ca_set *before, bool *ret_again, GError **error)
{
	struct shared_versions first, last;
	g_autoptr(ca_set) set = NULL;
	GError *inner = NULL;
	bool ok;

	*ret_again = false;
	if (!store_shared_versions(service->store, &first, error))
		return NULL;
	set = ca_set_new(first.of[SHARED_CA]);
	ok = load_generations(service, set, &inner) && load_authorities(service, set, before, &inner) && load_profiles(service, set, &inner) && load_outside(service, set, &inner) && check_set(set, &inner);
	if (store_shared_versions(service->store, &last, ok ? error : NULL))
		*ret_again = last.of[SHARED_CA] != first.of[SHARED_CA];
	else
		ok = false;
	if (*ret_again)
		pom_fail(error, POM_ERR_BUSY, "the CAs are changing while they are read");
	else if (inner)
		g_propagate_error(error, g_steal_pointer(&inner));
	g_clear_error(&inner);
	return ok && !*ret_again ? g_steal_pointer(&set) : NULL;
}

bool service_ca_reload(struct service *service, GError **error)
{
	enum { TRIES = 8 };
	g_autoptr(ca_set) set = NULL, before = NULL;
	bool again = true;
	GError *inner = NULL;

	/* One reads at a time, so that an older state never replaces a newer one. */
	pthread_mutex_lock(&service->load_lock);
	before = service->ca ? service_ca_set(service) : NULL;
	for (int i = 0; i < TRIES && again; i++) {
		g_clear_error(&inner);
		set = try_load(service, before, &again, &inner);
	}
	if (set) {
		struct ca_set *old;

		pthread_rwlock_wrlock(&service->ca_lock);
		old = service->ca;
		service->ca = g_steal_pointer(&set);
		pthread_rwlock_unlock(&service->ca_lock);
		ca_set_unref(old);
		identity_cache_empty(service->identities);
	}
	pthread_mutex_unlock(&service->load_lock);
	if (inner)
		g_propagate_error(error, inner);
	return !inner;
}

bool service_has_closed_token(struct service *service)
{
	g_autoptr(ca_set) set = service_ca_set(service);

	for (guint i = 0; i < set->generations->len; i++) {
		const struct generation *g = g_ptr_array_index(set->generations, i);

		for (guint k = 0; k < g->authorities->len; k++) {
			const struct authority *a = g_ptr_array_index(g->authorities, k);

			if (a->key_uri && !a->signer)
				return true;
		}
	}
	return false;
}
