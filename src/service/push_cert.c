/* The push certificates that APNs knows this server by. */
#include <string.h>

#include "service/service.h"

static bool load_topics(struct service *service, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_push_certificate_list(service->store, &load, error);
	GPtrArray *topics;

	if (!rows)
		return false;
	topics = g_ptr_array_new();
	for (guint i = 0; i < rows->len; i++)
		g_ptr_array_add(topics, g_strdup(g_array_index(rows, struct push_certificate_row, i).topic));
	g_ptr_array_add(topics, NULL);
	pthread_rwlock_wrlock(&service->topics_lock);
	g_strfreev(service->topics);
	service->topics = (char **)g_ptr_array_free(topics, FALSE);
	pthread_rwlock_unlock(&service->topics_lock);
	return true;
}

bool service_load_topics(struct service *service, GError **error)
{
	bool ok;

	pthread_mutex_lock(&service->load_lock);
	ok = load_topics(service, error);
	pthread_mutex_unlock(&service->load_lock);
	return ok;
}

/* The key among the files: the first that is one. */
static struct signer *find_key(GBytes *const *files, size_t n, const char *password)
{
	for (size_t i = 0; i < n; i++) {
		struct signer *key = signer_parse_any(g_bytes_get_data(files[i], NULL), g_bytes_get_size(files[i]), password, NULL);

		if (key)
			return key;
	}
	return NULL;
}

/* All certificates of the files, in order. */
static GPtrArray *find_certificates(GBytes *const *files, size_t n)
{
	GPtrArray *all = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);

	for (size_t i = 0; i < n; i++) {
		g_autoptr(GPtrArray) some = cert_parse_all(g_bytes_get_data(files[i], NULL), g_bytes_get_size(files[i]), NULL);

		for (guint k = 0; some && k < some->len; k++) {
			X509_up_ref(g_ptr_array_index(some, k));
			g_ptr_array_add(all, g_ptr_array_index(some, k));
		}
	}
	return all;
}

/* The certificate that belongs to the key, moved to the front of the chain. */
static X509 *pick_leaf(GPtrArray *certificates, struct signer *key)
{
	for (guint i = 0; i < certificates->len; i++) {
		X509 *cert = g_ptr_array_index(certificates, i);

		if (EVP_PKEY_eq(X509_get0_pubkey(cert), signer_get_key(key)) != 1)
			continue;
		g_ptr_array_index(certificates, i) = g_ptr_array_index(certificates, 0);
		g_ptr_array_index(certificates, 0) = cert;
		return cert;
	}
	return NULL;
}

static bool check_leaf(struct service *service, X509 *leaf, const struct cert_info *info, bool force, char **ret_topic, GError **error)
{
	g_autofree char *topic = cert_subject_uid(leaf);
	int64_t others = 0;

	if (!topic || !g_str_has_prefix(topic, "com.apple.mgmt."))
		return pom_fail(error, POM_ERR_PUSH_CERT, "the certificate \"%s\" is no MDM push certificate: its subject has no UID that begins with com.apple.mgmt.", info->subject);
	if (service_now_ms(service) / 1000 > info->not_after)
		return pom_fail(error, POM_ERR_PUSH_CERT, "the push certificate has expired: renew it (do not create a new one) at identity.apple.com with the same Apple account");
	if (!store_other_topic_count(service->store, topic, &others, error))
		return false;
	if (others > 0 && !force)
		return pom_fail(error, POM_ERR_PUSH_TOPIC_CHANGED,
		                "this certificate has the topic %s, but %" G_GINT64_FORMAT " enrolled devices have another: they could not be pushed with it. At identity.apple.com choose \"Renew\" on the old entry,"
		                " not \"Create\". With --force it is imported beside the old one", topic, others);
	*ret_topic = g_steal_pointer(&topic);
	return true;
}

static GBytes *join_der(GPtrArray *certificates)
{
	GByteArray *all = g_byte_array_new();

	for (guint i = 0; i < certificates->len; i++) {
		g_autoptr(GBytes) der = cert_format_der(g_ptr_array_index(certificates, i));

		g_byte_array_append(all, g_bytes_get_data(der, NULL), (guint)g_bytes_get_size(der));
	}
	return g_byte_array_free_to_bytes(all);
}

static json_t *describe(const char *topic, int64_t not_before_ms, int64_t not_after_ms, int64_t imported_ms)
{
	g_autofree char *from = pom_time_format(not_before_ms), *to = pom_time_format(not_after_ms), *at = pom_time_format(imported_ms);

	return json_pack("{s:s, s:s, s:s, s:s}", "topic", topic, "not_before", from, "not_after", to, "imported", at);
}

static json_t *fail(GError **error, enum pom_error code, const char *why)
{
	pom_fail(error, code, "%s", why);
	return NULL;
}

json_t *service_push_cert_import(struct service *service, GBytes *const *files, size_t n, const char *password, bool force, GError **error)
{
	g_autoptr(signer) key = find_key(files, n, password);
	g_autoptr(GPtrArray) certificates = find_certificates(files, n);
	g_autoptr(cert_info) info = NULL;
	g_autofree char *topic = NULL;
	g_autoptr(GBytes) secret = NULL, sealed = NULL, chain = NULL;
	X509 *leaf;
	int64_t now_ms = service_now_ms(service);

	if (!certificates->len)
		return fail(error, POM_ERR_PUSH_CERT, "no certificate was found: give the file that identity.apple.com offered, and the key that its request was made with");
	if (!key)
		return fail(error, POM_ERR_PUSH_CERT, "no private key was found (or its password is wrong): give the key that the certificate request was made with");
	leaf = pick_leaf(certificates, key);
	if (!leaf)
		return fail(error, POM_ERR_KEY_MISMATCH, "the private key does not belong to the certificate");
	info = cert_info_new(leaf, error);
	if (!info || !check_leaf(service, leaf, info, force, &topic, error) || !(secret = signer_format(key, error)))
		return NULL;
	sealed = seal_close(&service->seal, "push_certificate", topic, "key", g_bytes_get_data(secret, NULL), g_bytes_get_size(secret));
	chain = join_der(certificates);
	if (!store_push_certificate_put(service->store, &(struct push_certificate_row){topic, chain, sealed, info->not_before * 1000, info->not_after * 1000, now_ms, 0}, error) ||
	    !service_load_topics(service, error))
		return NULL;
	if (service->wake_push)
		service->wake_push(service->wake_ctx);
	return describe(topic, info->not_before * 1000, info->not_after * 1000, now_ms);
}

json_t *service_push_cert_list(struct service *service, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_push_certificate_list(service->store, &load, error);
	json_t *items;

	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct push_certificate_row *row = &g_array_index(rows, struct push_certificate_row, i);

		json_array_append_new(items, describe(row->topic, row->not_before_ms, row->not_after_ms, row->imported_ms));
	}
	return json_pack("{s:o, s:n}", "items", items, "next");
}
