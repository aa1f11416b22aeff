/* The push certificates that APNs knows this server by: import, list, what ends, export. */
#include <string.h>

#include "base/metric.h"
#include "keys/pkcs12.h"
#include "service/push_cert_internal.h"
#include "store/shared_store.h"

#define RENEW_TEXT "renew it (\"Renew\" in its row at " PUSH_PORTAL_URL ", with the Apple account that made it; \"Create a Certificate\" would lose the devices)"

/* ---- topics ---- */

/* The topic of new enrollments first, then the newest. */
static bool load_topics(struct service *service, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autofree char *chosen = NULL;
	struct shared_versions versions;
	g_autoptr(GArray) rows = store_shared_versions(service->store, &versions, error) && store_pushcert_default(service->store, &chosen, error) ? store_pushcert_list(service->store, &load, error) : NULL;
	GPtrArray *topics;

	if (!rows)
		return false;
	topics = g_ptr_array_new();
	for (guint i = 0; i < rows->len; i++) {
		const struct push_certificate_row *row = &g_array_index(rows, struct pushcert_row, i).certificate;
		const char *topic = row->topic;
		g_autofree char *name = g_strconcat("push/", topic, NULL);

		pom_metric_set(POM_METRIC_CERT_EXPIRY, name, row->not_after_ms / 1000);
		g_ptr_array_insert(topics, chosen && !strcmp(topic, chosen) ? 0 : -1, g_strdup(topic));
	}
	g_ptr_array_add(topics, NULL);
	pthread_rwlock_wrlock(&service->topics_lock);
	g_strfreev(service->topics);
	service->topics = (char **)g_ptr_array_free(topics, FALSE);
	service->topics_version = versions.of[SHARED_PUSH_CERTIFICATE];
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

/* The topic that new enrollments get now; transfer full, NULL when there is none. */
static char *present_default(struct service *service)
{
	char *topic;

	pthread_rwlock_rdlock(&service->topics_lock);
	topic = g_strdup(service->topics ? service->topics[0] : NULL);
	pthread_rwlock_unlock(&service->topics_lock);
	return topic;
}

/* After any change: who serves devices and who pushes shall know at once. */
static bool changed(struct service *service, GError **error)
{
	if (!service_load_topics(service, error))
		return false;
	if (service->push_changed)
		service->push_changed(service->wake_ctx);
	return true;
}

/* ---- what is there ---- */

struct held {
	store_load *load, *count_load;
	GArray *rows, *counts; /* struct pushcert_row, struct topic_count */
};

static void held_clear(struct held *held)
{
	g_clear_pointer(&held->rows, g_array_unref);
	g_clear_pointer(&held->counts, g_array_unref);
	g_clear_pointer(&held->load, store_load_free);
	g_clear_pointer(&held->count_load, store_load_free);
}
typedef struct held held;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(held, held_clear)

static bool held_load(struct service *service, struct held *held, GError **error)
{
	*held = (struct held){0};
	held->rows = store_pushcert_list(service->store, &held->load, error);
	held->counts = held->rows ? store_pushcert_devices(service->store, &held->count_load, error) : NULL;
	return held->counts != NULL;
}

static const struct pushcert_row *held_row(const struct held *held, guint i)
{
	return &g_array_index(held->rows, struct pushcert_row, i);
}

static const struct pushcert_row *held_find(const struct held *held, const char *topic)
{
	for (guint i = 0; i < held->rows->len; i++)
		if (!strcmp(held_row(held, i)->certificate.topic, topic))
			return held_row(held, i);
	return NULL;
}

static int64_t held_devices(const struct held *held, const char *topic)
{
	for (guint i = 0; i < held->counts->len; i++)
		if (!strcmp(g_array_index(held->counts, struct topic_count, i).topic, topic))
			return g_array_index(held->counts, struct topic_count, i).n;
	return 0;
}

/* Topics of certificates and of devices, as the rules want them; borrow from HELD. */
static GArray *held_topics(const struct held *held)
{
	GArray *topics = g_array_new(FALSE, TRUE, sizeof(struct push_topic));

	for (guint i = 0; i < held->rows->len; i++) {
		const struct pushcert_row *row = held_row(held, i);
		struct push_topic t = {row->certificate.topic, row->apple_account, held_devices(held, row->certificate.topic), true};

		g_array_append_val(topics, t);
	}
	for (guint i = 0; i < held->counts->len; i++) {
		const struct topic_count *c = &g_array_index(held->counts, struct topic_count, i);
		struct push_topic t = {c->topic, NULL, c->n, false};

		if (!held_find(held, c->topic))
			g_array_append_val(topics, t);
	}
	return topics;
}

/* The certificates of a row, the leaf first: array of X509, transfer full. */
static GPtrArray *row_chain(const struct push_certificate_row *row)
{
	GPtrArray *chain = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);
	const uint8_t *p = g_bytes_get_data(row->certificates, NULL), *end = p + g_bytes_get_size(row->certificates);
	X509 *cert;

	while (p < end && (cert = d2i_X509(NULL, &p, end - p)))
		g_ptr_array_add(chain, cert);
	return chain;
}

static json_t *row_json(const struct service *service, const struct held *held, const struct pushcert_row *row, const char *chosen)
{
	const struct push_certificate_row *c = &row->certificate;
	g_autoptr(GPtrArray) chain = row_chain(c);
	g_autoptr(cert_info) info = chain->len ? cert_info_new(g_ptr_array_index(chain, 0), NULL) : NULL;
	json_t *o = json_pack("{s:s}", "topic", c->topic);

	push_add_dates(o, c->not_before_ms, c->not_after_ms, service_now_ms(service));
	json_set_text(o, "apple_account", row->apple_account);
	json_object_set_new(o, "devices", json_integer(held_devices(held, c->topic)));
	json_object_set_new(o, "default", json_boolean(chosen && !strcmp(chosen, c->topic)));
	json_set_text(o, "subject", info ? info->subject : NULL);
	json_set_text(o, "issuer", info ? info->issuer : NULL);
	json_set_text(o, "serial", info ? info->serial : NULL);
	json_object_set_new(o, "chain", json_integer(chain->len ? chain->len - 1 : 0));
	json_object_set_new(o, "version", json_integer(c->version));
	json_object_set_new(o, "imported", json_time(c->imported_ms));
	return o;
}

json_t *service_push_cert_list(struct service *service, GError **error)
{
	g_auto(held) held = {0};
	g_autofree char *chosen = present_default(service);
	json_t *items;

	if (!held_load(service, &held, error))
		return NULL;
	items = json_array();
	for (guint i = 0; i < held.rows->len; i++)
		json_array_append_new(items, row_json(service, &held, held_row(&held, i), chosen));
	return json_page(items, NULL, 0);
}

static json_t *show_topic(struct service *service, const char *topic, GError **error)
{
	g_auto(held) held = {0};
	g_autofree char *chosen = present_default(service);
	const struct pushcert_row *row;

	if (!held_load(service, &held, error))
		return NULL;
	row = held_find(&held, topic);
	return row ? row_json(service, &held, row, chosen) : push_fail(error, POM_ERR_NOT_FOUND, "there is no push certificate of topic %.128s", topic);
}

/* ---- import ---- */

/* What an import found; borrows from the files but for the key. */
struct candidate {
	X509 *leaf;
	struct push_subject subject;
	struct signer *key;        /* owned */
	char *request_id;          /* of ours that it answers; NULL: none */
};

static void candidate_clear(struct candidate *c)
{
	push_subject_clear(&c->subject);
	g_clear_pointer(&c->key, signer_unref);
	g_clear_pointer(&c->request_id, g_free);
}
typedef struct candidate candidate;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(candidate, candidate_clear)

/* How good a certificate is as the one that is meant: an MDM certificate before others, one whose key came along before others, then the one that ends last. */
static int64_t rank(const struct push_found *found, X509 *cert)
{
	g_autoptr(cert_info) info = cert_info_new(cert, NULL);
	g_autofree char *uid = cert_subject_uid(cert);
	bool is_mdm = uid && g_str_has_prefix(uid, PUSH_TOPIC_PREFIX);

	if (!info)
		return -1;
	return ((int64_t)is_mdm << 60) + ((int64_t)(push_found_key(found, cert) != NULL) << 58) + ((int64_t)!info->is_ca << 56) + CLAMP(info->not_after, 0, (int64_t)1 << 50);
}

static X509 *pick_leaf(const struct push_found *found)
{
	X509 *best = NULL;
	int64_t best_rank = -1;

	for (guint i = 0; i < found->certificates->len; i++) {
		X509 *cert = g_ptr_array_index(found->certificates, i);
		int64_t r = rank(found, cert);

		if (!best || r > best_rank) {
			best = cert;
			best_rank = r;
		}
	}
	return best;
}

/* The key of a request of ours, which the certificate answers. */
static bool find_request_key(struct service *service, struct candidate *c, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = push_requests(service, &load, error);

	for (guint i = 0; rows && i < rows->len; i++) {
		const struct push_request_row *row = &g_array_index(rows, struct push_request_row, i);

		if (!push_csr_has_key(row->csr, c->subject.info->spki))
			continue;
		c->key = push_open_key(service, "push_request", row->id, "key", row->key_sealed, error);
		c->request_id = g_strdup(row->id);
		return c->key != NULL;
	}
	return rows != NULL;
}

/* The key of the certificate that it renews: the same request can be uploaded each year. */
static bool find_held_key(struct service *service, const struct held *held, struct candidate *c, GError **error)
{
	for (guint i = 0; !c->key && i < held->rows->len; i++) {
		const struct push_certificate_row *row = &held_row(held, i)->certificate;
		g_autoptr(GPtrArray) chain = row_chain(row);

		if (!chain->len || EVP_PKEY_eq(X509_get0_pubkey(g_ptr_array_index(chain, 0)), X509_get0_pubkey(c->leaf)) != 1)
			continue;
		c->key = push_open_key(service, "push_certificate", row->topic, "key", row->key_sealed, error);
		return c->key != NULL;
	}
	return true;
}

static bool find_key(struct service *service, const struct push_found *found, const struct held *held, struct candidate *c, GError **error)
{
	struct signer *given = push_found_key(found, c->leaf);

	/* A request of ours that it answers ends with it, wherever the key came from. */
	if (!find_request_key(service, c, error))
		return false;
	if (!c->key && given)
		c->key = signer_ref(given);
	if (!c->key && !find_held_key(service, held, c, error))
		return false;
	return c->key || push_found_fail_key(found, c->subject.info->subject, "give the key file that the request was made with beside it, or import on the server that made the request", error);
}

static bool check_candidate(struct service *service, const struct held *held, const struct candidate *c, bool force, GError **error)
{
	g_autoptr(GArray) topics = held_topics(held);
	const struct cert_info *info = c->subject.info;

	if (!push_cert_check_dates(info->subject, info->not_before, info->not_after, service_now_ms(service) / 1000, RENEW_TEXT, error))
		return false;
	return force || push_cert_check_topic(c->subject.uid, (const struct push_topic *)topics->data, topics->len, error);
}

/* Reads the files up to a certificate that may come. */
static bool find_candidate(struct service *service, const struct push_found *found, const struct held *held, bool force, struct candidate *c, GError **error)
{
	c->leaf = pick_leaf(found);
	if (!c->leaf)
		return push_found_fail(found, error);
	return push_subject_init(&c->subject, c->leaf, error) && push_cert_check_kind(&c->subject.names, error) && find_key(service, found, held, c, error) && check_candidate(service, held, c, force, error);
}

static bool append_der(GByteArray *all, X509 *cert)
{
	g_autoptr(GBytes) der = cert_format_der(cert);

	g_byte_array_append(all, g_bytes_get_data(der, NULL), (guint)g_bytes_get_size(der));
	return true;
}

/* The leaf, then the certificates above it as far as the files have them, each once. */
static GBytes *join_chain(const struct push_found *found, X509 *leaf)
{
	GByteArray *all = g_byte_array_new();
	X509 *child = leaf;
	guint n = 0;

	append_der(all, leaf);
	for (guint i = 0; n < CERT_CHAIN_MAX && i < found->certificates->len; i++) {
		X509 *cert = g_ptr_array_index(found->certificates, i);

		if (cert == child || X509_cmp(cert, child) == 0 || !cert_is_issued_by(child, cert))
			continue;
		append_der(all, cert);
		child = cert;
		i = (guint)-1;
		n++;
	}
	return g_byte_array_free_to_bytes(all);
}

/* The topic of new enrollments, when it changes or was never said: the first certificate's, and that of one which takes the place of certificates without devices. */
static const char *new_default(const struct held *held, const char *present, const char *topic)
{
	g_autoptr(GArray) topics = held_topics(held);

	if (!present || !push_cert_count_others(topic, (const struct push_topic *)topics->data, topics->len))
		return held_find(held, topic) && present ? present : topic;
	return present;
}

static json_t *store_candidate(struct service *service, const char *actor, const struct push_cert_import *import, const struct push_found *found, const struct held *held, const struct candidate *c, GError **error)
{
	const char *topic = c->subject.uid;
	g_autofree char *present = present_default(service);
	g_autoptr(GBytes) sealed = push_seal_key(service, "push_certificate", topic, "key", c->key, error), chain = join_chain(found, c->leaf);
	const struct cert_info *info = c->subject.info;
	struct pushcert_import row = {
		.row = {{topic, chain, sealed, info->not_before * 1000, info->not_after * 1000, service_now_ms(service), 0}, import->apple_account},
		.request_id = c->request_id, .default_topic = new_default(held, present, topic),
	};

	if (!sealed)
		return NULL;
	row.audit = AUDIT(actor, "push.import", topic, audit_detail("serial", info->serial, "renews", held_find(held, topic) ? "true" : "false", "force", import->force ? "true" : "false",
	                                                           "apple_account", import->apple_account, NULL));
	if (!store_pushcert_put(service->store, &row, error) || !changed(service, error))
		return NULL;
	return show_topic(service, topic, error);
}

json_t *service_push_cert_import(struct service *service, const char *actor, const struct push_cert_import *import, GError **error)
{
	g_auto(push_found) found = {0};
	g_auto(held) held = {0};
	g_auto(candidate) c = {0};
	json_t *o;

	if (!push_found_read(&found, &import->files, error) || !held_load(service, &held, error) || !find_candidate(service, &found, &held, import->force, &c, error))
		return NULL;
	if (!import->only_check)
		return store_candidate(service, actor, import, &found, &held, &c, error);
	o = json_pack("{s:s, s:s, s:s, s:b}", "topic", c.subject.uid, "subject", c.subject.info->subject, "issuer", c.subject.info->issuer, "renews", held_find(&held, c.subject.uid) != NULL);
	push_add_dates(o, c.subject.info->not_before * 1000, c.subject.info->not_after * 1000, service_now_ms(service));
	return o;
}

/* ---- choices ---- */

json_t *service_push_cert_set_default(struct service *service, const char *actor, const char *topic, GError **error)
{
	g_autoptr(json_t) known = show_topic(service, topic, error);

	if (!known || !store_pushcert_set_default(service->store, topic, AUDIT(actor, "push.default", topic, audit_detail(NULL, NULL)), error) || !changed(service, error))
		return NULL;
	return show_topic(service, topic, error);
}

json_t *service_push_cert_set_account(struct service *service, const char *actor, const char *topic, const char *account, GError **error)
{
	bool found;

	if (!store_pushcert_account(service->store, topic, account, AUDIT(actor, "push.account", topic, audit_detail("apple_account", account, NULL)), &found, error))
		return NULL;
	return show_topic(service, topic, error);
}

json_t *service_push_cert_remove(struct service *service, const char *actor, const char *topic, bool force, GError **error)
{
	g_auto(held) held = {0};
	int64_t n;
	bool found = false;

	if (!held_load(service, &held, error))
		return NULL;
	n = held_devices(&held, topic);
	if (n && !force)
		return push_fail(error, POM_ERR_PUSH_IN_USE, "%" G_GINT64_FORMAT " enrolled device(s) have the topic %.128s: without its certificate they can never be pushed again and have to enroll anew. Renew it instead, or give them up"
		                 " with --force", n, topic);
	if (!store_pushcert_remove(service->store, topic, AUDIT(actor, "push.remove", topic, audit_detail("force", force ? "true" : "false", NULL)), &found, error))
		return NULL;
	if (!found)
		return push_fail(error, POM_ERR_NOT_FOUND, "there is no push certificate of topic %.128s", topic);
	return changed(service, error) ? json_pack("{s:s}", "removed", topic) : NULL;
}

/* ---- export ---- */

static const struct pushcert_row *choose(const struct held *held, const char *topic, GError **error)
{
	const struct pushcert_row *row = topic ? held_find(held, topic) : held->rows->len == 1 ? held_row(held, 0) : NULL;

	if (row)
		return row;
	if (topic || !held->rows->len)
		pom_fail(error, POM_ERR_NOT_FOUND, topic ? "there is no push certificate of topic %.128s" : "there is no push certificate%s", topic ? topic : "");
	else
		pom_fail(error, POM_ERR_CONFLICT, "there are %u push certificates: name the topic of one (\"pomona push-cert show\" lists them)", held->rows->len);
	return NULL;
}

GBytes *service_push_cert_export(struct service *service, const char *actor, const char *topic, const char *password, bool modern, GError **error)
{
	g_auto(held) held = {0};
	const struct pushcert_row *row = held_load(service, &held, error) ? choose(&held, topic, error) : NULL;
	g_autoptr(signer) key = row ? push_open_key(service, "push_certificate", row->certificate.topic, "key", row->certificate.key_sealed, error) : NULL;
	g_autoptr(GPtrArray) chain = key ? row_chain(&row->certificate) : NULL;
	g_autoptr(GBytes) p12 = NULL;

	if (!chain)
		return NULL;
	if (!chain->len) {
		pom_fail(error, POM_ERR_PUSH_CERT, "the stored certificate cannot be read");
		return NULL;
	}
	p12 = pkcs12_make(key, g_ptr_array_index(chain, 0), (X509 *const *)chain->pdata + 1, chain->len - 1, row->certificate.topic, password, modern, error);
	if (!p12 || !store_audit_add(service->store, AUDIT(actor, "push.export", row->certificate.topic, audit_detail(NULL, NULL)), error))
		return NULL;
	return g_steal_pointer(&p12);
}

/* ---- what is wrong ---- */

struct check_report { json_t *findings; int errors, warnings; };

static void find(struct check_report *report, bool is_error, const char *about, char *text)
{
	json_array_append_new(report->findings, json_pack("{s:s, s:s, s:s}", "severity", is_error ? "error" : "warning", "about", about, "text", text));
	*(is_error ? &report->errors : &report->warnings) += 1;
	g_free(text);
}

/* An end that is near or over. */
static void check_end(struct check_report *report, const char *about, int64_t not_after_ms, int64_t now_ms, bool is_error, const char *what)
{
	int step = ca_expiry_step(not_after_ms / 1000, now_ms / 1000);
	g_autofree char *at = pom_time_format(not_after_ms);

	if (step == 0)
		find(report, is_error, about, g_strdup_printf("has expired on %s: %s", at, what));
	else if (step > 0)
		find(report, false, about, g_strdup_printf("ends in %" G_GINT64_FORMAT " day(s), on %s: %s", (not_after_ms - now_ms) / 86400000, at, what));
}

static void check_row(struct service *service, struct check_report *report, const struct pushcert_row *row)
{
	const struct push_certificate_row *c = &row->certificate;
	g_autofree char *what = g_strdup_printf("choose \"Renew\" in its row at " PUSH_PORTAL_URL ", not \"Create a Certificate\", signed in as %s (\"pomona push-cert setup\" leads there)",
	                                        row->apple_account ? row->apple_account : "the Apple account that made it");
	g_autoptr(GError) error = NULL;
	g_autoptr(signer) key = push_open_key(service, "push_certificate", c->topic, "key", c->key_sealed, &error);
	g_autoptr(GPtrArray) chain = row_chain(c);

	check_end(report, c->topic, c->not_after_ms, service_now_ms(service), true, what);
	if (c->not_before_ms > service_now_ms(service))
		find(report, true, c->topic, g_strdup("is not valid yet: is the clock of this server right?"));
	if (!key)
		find(report, true, c->topic, g_strdup_printf("its private key cannot be opened: %s", error->message));
	else if (!chain->len || EVP_PKEY_eq(X509_get0_pubkey(g_ptr_array_index(chain, 0)), signer_get_key(key)) != 1)
		find(report, true, c->topic, g_strdup("certificate and private key do not belong together: import both again"));
	if (!row->apple_account)
		find(report, false, c->topic, g_strdup("nobody has noted the Apple account that made it, which is needed to renew it: \"pomona push-cert account TOPIC NAME\""));
}

static bool check_vendors(struct service *service, struct check_report *report, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = push_vendors(service, &load, error);

	for (guint i = 0; rows && i < rows->len; i++) {
		const struct push_vendor_row *row = &g_array_index(rows, struct push_vendor_row, i);

		if (row->certificate)
			check_end(report, row->subject, row->not_after_ms, service_now_ms(service), false,
			          "no request can be signed with it then; push certificates that were made with it stay as they are. Make a new one at " PUSH_DEVELOPER_URL " (\"MDM CSR\"), or remove it");
	}
	return rows != NULL;
}

json_t *service_push_cert_check(struct service *service, GError **error)
{
	g_auto(held) held = {0};
	struct check_report report = {.findings = json_array()};
	json_t *o;

	if (!held_load(service, &held, error) || !check_vendors(service, &report, error)) {
		json_decref(report.findings);
		return NULL;
	}
	if (!held.rows->len)
		find(&report, true, "push", g_strdup("there is no push certificate: no device can enroll. \"pomona push-cert setup\" leads to one"));
	for (guint i = 0; i < held.rows->len; i++)
		check_row(service, &report, held_row(&held, i));
	for (guint i = 0; i < held.counts->len; i++) {
		const struct topic_count *c = &g_array_index(held.counts, struct topic_count, i);

		if (!held_find(&held, c->topic))
			find(&report, true, c->topic, g_strdup_printf("%" G_GINT64_FORMAT " enrolled device(s) have this topic, and there is no certificate of it: they cannot be pushed", c->n));
	}
	o = json_pack("{s:b, s:i, s:i, s:o}", "ok", !report.errors && !report.warnings, "errors", report.errors, "warnings", report.warnings, "findings", report.findings);
	return o;
}
