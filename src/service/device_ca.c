/* Who makes factory identities, and messages that are signed with one. */
#include <string.h>

#include "service/factory.h"
#include "store/ota_store.h"

enum { NAME_MAX_LEN = 128, LIST_MAX = 1000 };

void device_message_clear(struct device_message *message)
{
	g_clear_pointer(&message->cms, cms_signed_free);
	g_clear_pointer(&message->tree, plist_free);
	g_clear_pointer(&message->signer, cert_info_free);
}

bool device_message_open(GBytes *body, struct device_message *ret, GError **error)
{
	gsize len;
	const void *data = g_bytes_get_data(body, &len);

	*ret = (struct device_message){.cms = cms_signed_parse(data, len, NULL, 0, OTA_MESSAGE_MAX, error)};
	ret->signer = ret->cms ? cert_info_new(ret->cms->signer, error) : NULL;
	if (ret->signer)
		return true;
	device_message_clear(ret);
	return false;
}

bool device_message_read(struct device_message *message, GError **error)
{
	static const struct plist_limits limits = {8, OTA_MESSAGE_MAX, 1000};
	gsize len = 0;
	const void *data = message->cms->content ? g_bytes_get_data(message->cms->content, &len) : NULL;

	if (!len)
		return pom_fail(error, POM_ERR_OTA_ATTRIBUTES, "the signed message has no content: it must carry the property list with the device's attributes (RFC 5652 section 5.2)");
	message->tree = plist_parse(data, len, &limits, error);
	return message->tree && ota_attributes_parse(message->tree, &message->attributes, error);
}

/* ---- factory identities ---- */

/* The other certificates of the message, as far as they can be read: what cannot is in nobody's path. */
static GPtrArray *others(const struct cms_signed *cms)
{
	GPtrArray *certs = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);

	for (guint i = 0; i < cms->certificates->len; i++) {
		GBytes *der = g_ptr_array_index(cms->certificates, i);
		X509 *cert = g_bytes_equal(der, cms->signer_der) ? NULL : cert_parse_der(g_bytes_get_data(der, NULL), g_bytes_get_size(der), NULL);

		if (cert)
			g_ptr_array_add(certs, cert);
	}
	return certs;
}

/* The name of the added CA that the signer's certificate leads to, transfer full; NULL without an error: none. */
static bool find_added(struct service *service, const struct device_message *message, char **ret_ca, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_device_ca_list(service->store, "", CERT_CHAIN_MAX, &load, error);
	g_autoptr(GPtrArray) between = others(message->cms);

	for (guint i = 0; rows && i < rows->len && !*ret_ca; i++) {
		const struct device_ca_row *row = &g_array_index(rows, struct device_ca_row, i);
		g_autoptr(X509) ca = cert_parse_der(row->der, row->der_len, NULL);

		if (ca && cert_chain_verify_ageless(message->cms->signer, (X509 *const *)between->pdata, between->len, &ca, 1, NULL))
			*ret_ca = g_strdup(row->name);
	}
	return rows != NULL;
}

bool service_check_factory(struct service *service, const struct device_message *message, char **ret_ca, GError **error)
{
	const struct apple_key *apple;
	g_autofree char *ca = NULL, *issuer = NULL;

	if (!ota_check_leaf(message->signer, error))
		return false;
	apple = apple_key_issuer(apple_keys, n_apple_keys, message->cms->signer);
	if (apple)
		ca = g_strdup(apple->name);
	else if (!find_added(service, message, &ca, error))
		return false;
	if (ca) {
		*ret_ca = g_steal_pointer(&ca);
		return true;
	}
	issuer = cert_issuer_text(message->cms->signer);
	return pom_fail(error, POM_ERR_OTA_SIGNER, "the signer's certificate was issued by \"%.200s\": neither by Apple's device CA (whose key is known here; that it leads to Apple's root is not enough), nor by one that"
	                " was added with \"pomona device-ca add\", nor by this server", issuer);
}

/* ---- what administrators do ---- */

/* The built-in ones are named by what they are called. */
static char *builtin_id(const struct apple_key *key)
{
	return g_strdelimit(g_ascii_strdown(key->name, -1), " ", '-');
}

static json_t *builtin_json(const struct apple_key *key)
{
	g_autofree char *id = builtin_id(key);

	return json_pack("{s:s, s:s, s:b, s:n, s:s, s:n, s:n, s:s}", "id", id, "name", key->name, "built_in", 1, "subject", "spki_sha256", key->spki_sha256, "not_after", "created_at",
	                 "warning", "its certificate ended in 2014; it is known by its key");
}

static json_t *row_json(const struct device_ca_row *row, int64_t now_ms)
{
	g_autofree char *spki = hex_format(row->spki_sha256, CERT_DIGEST_LEN);
	g_autoptr(X509) cert = cert_parse_der(row->der, row->der_len, NULL);
	g_autoptr(cert_info) info = cert ? cert_info_new(cert, NULL) : NULL;
	json_t *o = json_pack("{s:s, s:s, s:b}", "id", row->id, "name", row->name, "built_in", 0);

	json_set_text(o, "subject", info ? info->subject : NULL);
	json_set_text(o, "spki_sha256", spki);
	json_object_set_new(o, "not_after", json_time(row->not_after_ms));
	json_object_set_new(o, "created_at", json_time(row->created_ms));
	json_set_text(o, "warning", now_ms > row->not_after_ms ? "the certificate has ended; factory identities of it are accepted all the same" : NULL);
	return o;
}

/* What is ours, or an outside CA's that gives devices their MDM identity, cannot tell a device that nobody knows yet from one that is enrolled. */
static bool check_foreign(struct service *service, const struct cert_info *info, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	GHashTableIter iter;
	void *value;

	for (guint i = 0; i < set->generations->len; i++) {
		const struct generation *g = g_ptr_array_index(set->generations, i);

		for (guint k = 0; k < g->authorities->len; k++) {
			const struct authority *a = g_ptr_array_index(g->authorities, k);

			if (a->info && !memcmp(a->info->spki_sha256, info->spki_sha256, CERT_DIGEST_LEN))
				return pom_fail(error, POM_ERR_DEVICE_CA, "this is a CA of this server (%s): identities of it are not made in a factory", g->id);
		}
	}
	g_hash_table_iter_init(&iter, set->outside);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct outside_ca *outside = value;

		for (guint i = 0; i < outside->certificates->len; i++) {
			g_autoptr(cert_info) theirs = cert_info_new(g_ptr_array_index(outside->certificates, i), NULL);

			if (theirs && !memcmp(theirs->spki_sha256, info->spki_sha256, CERT_DIGEST_LEN))
				return pom_fail(error, POM_ERR_DEVICE_CA, "this is a certificate of outside CA %s, which gives devices their MDM identity", outside->name);
		}
	}
	return true;
}

static X509 *read_one(GBytes *file, GError **error)
{
	gsize len;
	const void *data = g_bytes_get_data(file, &len);
	g_autoptr(GPtrArray) certs = cert_parse_all(data, len, error);

	if (certs && certs->len != 1)
		pom_fail(error, POM_ERR_DEVICE_CA, "the file has %u certificates: give the one that has issued the factory identities", certs->len);
	return certs && certs->len == 1 ? g_ptr_array_steal_index(certs, 0) : NULL;
}

static bool check_room(struct service *service, GError **error)
{
	int64_t n;

	if (!store_device_ca_count(service->store, &n, error))
		return false;
	return n < CERT_CHAIN_MAX || pom_fail(error, POM_ERR_LIMIT, "there are %d device CAs already: remove one that is not needed", CERT_CHAIN_MAX);
}

json_t *service_device_ca_add(struct service *service, const char *actor, GBytes *file, const char *name, GError **error)
{
	struct pom_id id = pom_id_new(service->clock, service->random);
	g_autoptr(X509) cert = read_one(file, error);
	g_autoptr(cert_info) info = cert ? cert_info_new(cert, error) : NULL;
	g_autofree char *cn = cert ? cert_subject_cn(cert) : NULL, *fingerprint = NULL;
	g_autoptr(GBytes) der = NULL;
	GError *inner = NULL;

	if (!info || !device_ca_check(cert, info, error) || !check_foreign(service, info, error) || !check_room(service, error))
		return NULL;
	name = name ? name : cn ? cn : info->subject;
	if (!*name || strlen(name) > NAME_MAX_LEN || !g_utf8_validate(name, -1, NULL)) {
		pom_fail(error, POM_ERR_BAD_REQUEST, "name must have 1 to %d bytes of UTF-8", NAME_MAX_LEN);
		return NULL;
	}
	der = cert_format_der(cert);
	fingerprint = hex_format(info->sha256, CERT_DIGEST_LEN);
	struct device_ca_row row = {.id = id.text, .name = name, .spki_sha256 = info->spki_sha256, .not_after_ms = info->not_after * 1000, .created_ms = service_now_ms(service)};
	row.der = g_bytes_get_data(der, &row.der_len);
	if (store_device_ca_add(service->store, &row, AUDIT(actor, "device-ca.add", id.text, audit_detail("name", name, "subject", info->subject, "sha256", fingerprint, NULL)), &inner))
		return row_json(&row, row.created_ms);
	if (g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT)) {
		g_clear_error(&inner);
		pom_fail(error, POM_ERR_CONFLICT, "a device CA with this key has been added already");
	} else {
		g_propagate_error(error, inner);
	}
	return NULL;
}

json_t *service_device_ca_list(struct service *service, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;
	const char *last = NULL;
	json_t *items;

	limit = CLAMP(limit, 1, LIST_MAX);
	rows = store_device_ca_list(service->store, after, limit, &load, error);
	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct device_ca_row *row = &g_array_index(rows, struct device_ca_row, i);

		json_array_append_new(items, row_json(row, service_now_ms(service)));
		last = row->id;
	}
	json_t *page = json_page(items, last, limit);
	/* The built-in ones are on the first page, before all others. */
	for (size_t i = n_apple_keys; i-- > 0 && !*after;)
		if (apple_keys[i].role == APPLE_DEVICE_CA)
			json_array_insert_new(items, 0, builtin_json(&apple_keys[i]));
	return page;
}

json_t *service_device_ca_remove(struct service *service, const char *actor, const char *id, GError **error)
{
	bool found;

	for (size_t i = 0; i < n_apple_keys; i++) {
		g_autofree char *builtin = builtin_id(&apple_keys[i]);

		if (apple_keys[i].role == APPLE_DEVICE_CA && !strcmp(builtin, id)) {
			pom_fail(error, POM_ERR_CONFLICT, "%s is built in and cannot be removed", apple_keys[i].name);
			return NULL;
		}
	}
	if (!store_device_ca_remove(service->store, id, AUDIT(actor, "device-ca.remove", id, NULL), &found, error))
		return NULL;
	if (found)
		return json_pack("{s:s, s:b}", "id", id, "removed", 1);
	pom_fail(error, POM_ERR_NOT_FOUND, "there is no device CA %s (give an id as \"device-ca list\" shows them)", id);
	return NULL;
}
