/* Vendors, Apple's certificates above them, requests, and the signing of requests for Apple's portal. */
#include <string.h>

#include "core/ota.h"
#include "keys/ca_make.h"
#include "service/push_cert_internal.h"

enum { FETCH_TIMEOUT_MS = 15000, FETCH_MAX = 64 * 1024, CHAIN_DEPTH_MAX = 6 };
#define APPLE_ROOT "Apple Root CA"

GArray *push_vendors(struct service *service, store_load **ret_load, GError **error)
{
	return store_push_vendor_list(service->store, "", PUSH_ROWS_MAX, ret_load, error);
}

GArray *push_requests(struct service *service, store_load **ret_load, GError **error)
{
	return store_push_request_list(service->store, "", PUSH_ROWS_MAX, ret_load, error);
}

bool push_vendor_is_valid(const struct push_vendor_row *row, int64_t now_ms)
{
	return row->certificate && now_ms >= row->not_before_ms && now_ms <= row->not_after_ms;
}

/* The name of a request when nobody says one: names longer than X.520 allows are cut. */
static GBytes *own_subject(const struct service *service, const char *suffix, GError **error)
{
	g_autofree char *cn = g_strdup_printf("%s %s", service->settings.organization, suffix), *short_cn = g_utf8_substring(cn, 0, MIN(g_utf8_strlen(cn, -1), 64));
	g_autofree char *o = g_utf8_substring(service->settings.organization, 0, MIN(g_utf8_strlen(service->settings.organization, -1), 64));

	return cert_name_format(error, "O", o, "CN", short_cn, NULL);
}

bool push_make_request(struct service *service, const char *table, const char *id, const char *subject, const char *suffix, GBytes **ret_csr, GBytes **ret_sealed, char **ret_subject, GError **error)
{
	g_autoptr(GBytes) name = subject ? cert_subject_parse_text(subject, error) : own_subject(service, suffix, error), csr = NULL, sealed = NULL;
	g_autoptr(signer) key = name ? signer_generate_rsa(PUSH_KEY_BITS, error) : NULL;
	g_autoptr(csr) parsed = NULL;

	csr = key ? csr_make(key, name, NULL, NULL, error) : NULL;
	sealed = csr ? push_seal_key(service, table, id, "key", key, error) : NULL;
	parsed = sealed ? csr_parse(g_bytes_get_data(csr, NULL), g_bytes_get_size(csr), error) : NULL;
	if (!parsed)
		return false;
	*ret_subject = g_strdup(parsed->subject);
	*ret_csr = g_steal_pointer(&csr);
	*ret_sealed = g_steal_pointer(&sealed);
	return true;
}

/* ---- vendors ---- */

static json_t *vendor_json(const struct push_vendor_row *row, int64_t now_ms)
{
	json_t *o = json_pack("{s:s, s:s, s:s}", "id", row->id, "subject", row->subject, "state", !row->certificate ? "requested" : now_ms > row->not_after_ms ? "expired" : "ready");
	g_autofree char *pem = row->csr && !row->certificate ? service_csr_pem(row->csr) : NULL;

	if (row->certificate)
		push_add_dates(o, row->not_before_ms, row->not_after_ms, now_ms);
	json_set_text(o, "csr", pem);
	json_object_set_new(o, "created", json_time(row->created_ms));
	return o;
}

static json_t *vendor_csr_json(const char *id, const char *subject, GBytes *csr)
{
	g_autofree char *pem = service_csr_pem(csr);

	return json_pack("{s:s, s:s, s:s, s:s}", "id", id, "subject", subject, "csr", pem, "next",
	                 "upload this request at " PUSH_DEVELOPER_URL " (plus sign, \"MDM CSR\"), download mdm.cer and give it to \"pomona push-cert sign --vendor mdm.cer\" or \"pomona push-cert setup mdm.cer\"");
}

json_t *service_push_vendor_csr(struct service *service, const char *actor, const char *subject, bool fresh, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = push_vendors(service, &load, error);
	struct pom_id id = pom_id_new(service->clock, service->random);
	g_autoptr(GBytes) csr = NULL, sealed = NULL;
	g_autofree char *name = NULL;

	if (!rows)
		return NULL;
	for (guint i = 0; !fresh && i < rows->len; i++) {
		const struct push_vendor_row *row = &g_array_index(rows, struct push_vendor_row, i);

		if (!row->certificate)
			return vendor_csr_json(row->id, row->subject, row->csr);
	}
	if (!push_make_request(service, "push_vendor", id.text, subject, "MDM Vendor", &csr, &sealed, &name, error))
		return NULL;
	struct push_vendor_row row = {.id = id.text, .subject = name, .csr = csr, .key_sealed = sealed, .created_ms = service_now_ms(service)};

	if (!store_push_vendor_add(service->store, &row, AUDIT(actor, "push.vendor.csr", id.text, audit_detail("subject", name, NULL)), error))
		return NULL;
	return vendor_csr_json(id.text, name, csr);
}

/* The vendor's certificate among those of the files: the first that can be one, else the first that is no CA's, for its error. */
static X509 *pick_vendor(const struct push_found *found)
{
	X509 *first = NULL;

	for (guint i = 0; i < found->certificates->len; i++) {
		X509 *cert = g_ptr_array_index(found->certificates, i);
		g_auto(push_subject) s = {0};

		if (!push_subject_init(&s, cert, NULL))
			continue;
		if (push_vendor_check_kind(&s.names, NULL))
			return cert;
		if (!first || X509_check_ca(first))
			first = cert;
	}
	return first;
}

/* Whether ROW's request or certificate is for the key of SPKI. */
static bool vendor_has_key(const struct push_vendor_row *row, GBytes *spki)
{
	g_autoptr(X509) cert = row->certificate ? cert_parse_der(g_bytes_get_data(row->certificate, NULL), g_bytes_get_size(row->certificate), NULL) : NULL;
	g_autoptr(cert_info) info = cert ? cert_info_new(cert, NULL) : NULL;

	return push_csr_has_key(row->csr, spki) || (info && g_bytes_equal(info->spki, spki));
}

static bool add_vendor(struct service *service, const char *actor, const struct push_found *found, X509 *cert, const struct push_subject *s, struct push_vendor_row *row, GError **error)
{
	struct signer *key = push_found_key(found, cert);
	g_autoptr(GBytes) sealed = NULL;

	if (!key)
		return push_found_fail_key(found, s->info->subject, "give the key file that its request was made with beside it, or use the server that made the request (\"pomona push-cert vendor-csr\")", error);
	sealed = push_seal_key(service, "push_vendor", row->id, "key", key, error);
	row->key_sealed = sealed;
	row->created_ms = service_now_ms(service);
	return sealed && store_push_vendor_add(service->store, row, AUDIT(actor, "push.vendor.import", row->id, audit_detail("subject", row->subject, "serial", s->info->serial, NULL)), error);
}

/* Stores the vendor's certificate with the key that is here, or the one from the files. */
static json_t *store_vendor(struct service *service, const char *actor, const struct push_found *found, X509 *cert, const struct push_subject *s, GError **error)
{
	struct pom_id id = pom_id_new(service->clock, service->random);
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = push_vendors(service, &load, error);
	g_autoptr(GBytes) der = cert_format_der(cert);
	struct push_vendor_row row = {.id = id.text, .subject = s->info->subject, .certificate = der, .not_before_ms = s->info->not_before * 1000, .not_after_ms = s->info->not_after * 1000};
	const struct push_vendor_row *known = NULL;
	bool ok;

	if (!rows)
		return NULL;
	for (guint i = 0; !known && i < rows->len; i++)
		if (vendor_has_key(&g_array_index(rows, struct push_vendor_row, i), s->info->spki))
			known = &g_array_index(rows, struct push_vendor_row, i);
	if (known) {
		row.id = known->id;
		row.created_ms = known->created_ms;
		ok = (known->certificate && g_bytes_equal(known->certificate, der)) ||
		     store_push_vendor_certify(service->store, &row, AUDIT(actor, "push.vendor.import", row.id, audit_detail("subject", row.subject, "serial", s->info->serial, NULL)), error);
	} else {
		ok = add_vendor(service, actor, found, cert, s, &row, error);
	}
	return ok ? vendor_json(&row, service_now_ms(service)) : NULL;
}

json_t *service_push_vendor_import(struct service *service, const char *actor, const struct push_files *files, GError **error)
{
	g_auto(push_found) found = {0};
	g_auto(push_subject) s = {0};
	X509 *cert;

	if (!push_found_read(&found, files, error))
		return NULL;
	cert = pick_vendor(&found);
	if (!cert) {
		/* What it is instead, but a request here is the vendor's own. */
		if (!found.requests->len)
			push_found_fail(&found, error);
		else
			pom_fail(error, POM_ERR_PUSH_IS_REQUEST, "this is a certificate request (CSR), not the vendor certificate: upload it at " PUSH_DEVELOPER_URL " (\"MDM CSR\") and give mdm.cer, which is offered for download there");
		return NULL;
	}
	if (!push_subject_init(&s, cert, error) || !push_vendor_check_kind(&s.names, error) ||
	    !push_cert_check_dates(s.info->subject, s.info->not_before, s.info->not_after, service_now_ms(service) / 1000, "make a new one at " PUSH_DEVELOPER_URL " (\"MDM CSR\")", error))
		return NULL;
	if (s.info->key_type != EVP_PKEY_RSA)
		return push_fail(error, POM_ERR_PUSH_NOT_VENDOR, "the key of \"%s\" is not RSA: Apple's portal takes RSA signatures only", s.info->subject);
	return push_chain_keep(service, actor, found.certificates, error) ? store_vendor(service, actor, &found, cert, &s, error) : NULL;
}

json_t *service_push_vendor_list(struct service *service, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_push_vendor_list(service->store, after, CLAMP(limit, 1, 1000), &load, error);
	json_t *items;

	if (!rows)
		return NULL;
	items = json_array();
	for (guint i = 0; i < rows->len; i++)
		json_array_append_new(items, vendor_json(&g_array_index(rows, struct push_vendor_row, i), service_now_ms(service)));
	return json_page(items, rows->len ? g_array_index(rows, struct push_vendor_row, rows->len - 1).id : NULL, CLAMP(limit, 1, 1000));
}

json_t *service_push_vendor_remove(struct service *service, const char *actor, const char *id, GError **error)
{
	bool found;

	if (!store_push_vendor_remove(service->store, id, AUDIT(actor, "push.vendor.remove", id, audit_detail(NULL, NULL)), &found, error))
		return NULL;
	if (!found)
		return push_fail(error, POM_ERR_NOT_FOUND, "there is no vendor %.64s (\"pomona push-cert vendor-list\" shows them)", id);
	return json_pack("{s:s, s:s}", "removed", id, "note", "push certificates that were made with it are not touched: they and their devices go on until they end");
}

/* ---- Apple's certificates above vendors ---- */

/* Whether nobody but Apple (or who was set for tests) can be behind this root. */
static bool is_pinned(const struct service *service, X509 *root)
{
	g_autoptr(cert_info) info = cert_info_new(root, NULL);
	const struct apple_key *apple = info ? apple_key_find(info->spki_sha256) : NULL;

	if (apple && !strcmp(apple->name, APPLE_ROOT))
		return true;
	for (guint i = 0; info && service->settings.push_roots && i < service->settings.push_roots->len; i++)
		if (X509_cmp(root, g_ptr_array_index(service->settings.push_roots, i)) == 0)
			return true;
	return false;
}

/* The stored certificates, array of X509, transfer full. */
static GPtrArray *load_chain(struct service *service, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_push_chain_list(service->store, &load, error);
	GPtrArray *certs;

	if (!rows)
		return NULL;
	certs = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);
	for (guint i = 0; i < rows->len; i++) {
		GBytes *der = g_array_index(rows, struct push_chain_row, i).certificate;
		X509 *cert = cert_parse_der(g_bytes_get_data(der, NULL), g_bytes_get_size(der), NULL);

		if (cert)
			g_ptr_array_add(certs, cert);
	}
	return certs;
}

/* The issuer of CERT among CERTS, one that is valid now before others; borrowed, NULL. */
static X509 *find_issuer(GPtrArray *certs, X509 *cert, int64_t now_s)
{
	X509 *any = NULL;

	for (guint i = 0; i < certs->len; i++) {
		X509 *issuer = g_ptr_array_index(certs, i);
		g_autoptr(cert_info) info = cert_is_issued_by(cert, issuer) ? cert_info_new(issuer, NULL) : NULL;

		if (info && info->not_before <= now_s && now_s <= info->not_after)
			return issuer;
		any = info ? issuer : any;
	}
	return any;
}

/* From CERT to a pinned root over CERTS: array of X509, transfer full. POM_ERR_PUSH_CHAIN names the first that is missing. */
static GPtrArray *walk(struct service *service, X509 *cert, GPtrArray *certs, GError **error)
{
	g_autoptr(GPtrArray) path = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);
	int64_t now_s = service_now_ms(service) / 1000;
	X509 *at = cert;

	for (int depth = 0; depth < CHAIN_DEPTH_MAX && at; depth++) {
		X509_up_ref(at);
		g_ptr_array_add(path, at);
		if (is_pinned(service, at)) {
			if (path->len > 1 && !cert_chain_verify(cert, (X509 *const *)path->pdata + 1, path->len - 1, (X509 *const *)&at, 1, now_s, false, error))
				return NULL;
			return g_steal_pointer(&path);
		}
		if (cert_is_issued_by(at, at)) {
			g_autofree char *name = cert_issuer_text(at);

			pom_fail(error, POM_ERR_PUSH_ROOT, "the chain ends at \"%s\", whose key is not the one of " APPLE_ROOT ": Apple's portal takes vendor certificates of Apple only", name);
			return NULL;
		}
		at = find_issuer(certs, at, now_s);
	}
	g_autofree char *missing = cert_issuer_text(g_ptr_array_index(path, path->len - 1));

	pom_fail(error, POM_ERR_PUSH_CHAIN, "the certificate of \"%s\" is missing in the chain: Apple publishes it at " PUSH_AUTHORITY_URL "; give the file to \"pomona push-cert chain\", or let it be fetched with \"pomona push-cert chain --fetch\"", missing);
	return NULL;
}

/* Whether CERT is a CA that leads to a pinned root, with the help of CERTS. */
static bool check_link(struct service *service, X509 *cert, GPtrArray *certs, GError **error)
{
	g_autoptr(GPtrArray) path = walk(service, cert, certs, error);

	if (!path)
		return false;
	return X509_check_ca(cert) || pom_fail(error, POM_ERR_PUSH_ROOT, "this is no CA's certificate: vendor certificates go to \"pomona push-cert sign --vendor\", push certificates to \"pomona push-cert import\"");
}

static bool store_links(struct service *service, const char *actor, GPtrArray *certs, GError **error)
{
	g_autoptr(GArray) rows = g_array_new(FALSE, TRUE, sizeof(struct push_chain_row));
	g_autoptr(GPtrArray) keep = g_ptr_array_new_with_free_func(g_free), ders = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);

	for (guint i = 0; i < certs->len; i++) {
		GBytes *der = cert_format_der(g_ptr_array_index(certs, i));
		uint8_t digest[CERT_DIGEST_LEN];
		char *hex;

		cert_sha256(g_bytes_get_data(der, NULL), g_bytes_get_size(der), digest);
		hex = hex_format(digest, sizeof(digest));
		g_ptr_array_add(ders, der);
		g_ptr_array_add(keep, hex);
		g_array_append_val(rows, ((struct push_chain_row){hex, der, service_now_ms(service)}));
	}
	return !rows->len || store_push_chain_add(service->store, (const struct push_chain_row *)rows->data, rows->len, AUDIT(actor, "push.chain", rows->len ? keep->pdata[0] : "", audit_detail(NULL, NULL)), error);
}

static void add_all(GPtrArray *to, GPtrArray *from)
{
	for (guint i = 0; i < from->len; i++) {
		X509_up_ref(g_ptr_array_index(from, i));
		g_ptr_array_add(to, g_ptr_array_index(from, i));
	}
}

/* Those of CERTS that are CAs below a pinned root. With STRICT one that is not is an error. */
static bool keep_links(struct service *service, const char *actor, GPtrArray *certs, bool strict, GError **error)
{
	g_autoptr(GPtrArray) all = load_chain(service, error), good = g_ptr_array_new();

	if (!all)
		return false;
	add_all(all, certs);
	for (guint i = 0; i < certs->len; i++)
		if (check_link(service, g_ptr_array_index(certs, i), all, strict ? error : NULL))
			g_ptr_array_add(good, g_ptr_array_index(certs, i));
		else if (strict)
			return false;
	return store_links(service, actor, good, error);
}

bool push_chain_keep(struct service *service, const char *actor, GPtrArray *certs, GError **error)
{
	return keep_links(service, actor, certs, false, error);
}

/* What is published at URL: adds it to FOUND. */
static bool fetch_one(struct service *service, const char *url, GPtrArray *certs, GError **error)
{
	const struct outbound_request request = {.method = "GET", .url = url, .timeout_ms = FETCH_TIMEOUT_MS, .response_max = FETCH_MAX};
	g_auto(outbound_reply) reply = {0};
	g_auto(push_found) found = {0};
	g_autoptr(GError) inner = NULL;

	if (!service->outbound->call(service->outbound->ctx, &request, &reply, error))
		return false;
	if (reply.status != 200)
		return pom_fail(error, POM_ERR_UNREACHABLE, "%s answered %d: get the file at " PUSH_AUTHORITY_URL " and give it to \"pomona push-cert chain\"", url, reply.status);
	if (!push_found_read(&found, &(struct push_files){(GBytes *const[]){reply.body}, 1, NULL}, &inner) || !found.certificates->len)
		return pom_fail(error, POM_ERR_PUSH_CHAIN, "%s has no certificate: get the file at " PUSH_AUTHORITY_URL " and give it to \"pomona push-cert chain\"", url);
	add_all(certs, found.certificates);
	return true;
}

static bool fetch_all(struct service *service, const char *actor, GError **error)
{
	char **urls = service->settings.push_chain_urls;
	g_autoptr(GPtrArray) certs = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);

	if (!urls || !urls[0] || !service->outbound)
		return pom_fail(error, POM_ERR_PUSH_CHAIN, "no addresses are configured (push.chain_urls): get the certificates at " PUSH_AUTHORITY_URL " and give the files to \"pomona push-cert chain\"");
	for (; *urls; urls++)
		if (!fetch_one(service, *urls, certs, error))
			return false;
	return keep_links(service, actor, certs, true, error);
}

json_t *service_push_chain_add(struct service *service, const char *actor, const struct push_files *files, GError **error)
{
	g_auto(push_found) found = {0};

	if (!files->n)
		return fetch_all(service, actor, error) ? service_push_chain_list(service, error) : NULL;
	if (!push_found_read(&found, files, error))
		return NULL;
	if (!found.certificates->len) {
		push_found_fail(&found, error);
		return NULL;
	}
	return keep_links(service, actor, found.certificates, true, error) ? service_push_chain_list(service, error) : NULL;
}

json_t *service_push_chain_list(struct service *service, GError **error)
{
	g_autoptr(GPtrArray) certs = load_chain(service, error);
	json_t *items;

	if (!certs)
		return NULL;
	items = json_array();
	for (guint i = 0; i < certs->len; i++) {
		g_autoptr(cert_info) info = cert_info_new(g_ptr_array_index(certs, i), NULL);
		g_autofree char *sha256 = info ? hex_format(info->sha256, sizeof(info->sha256)) : NULL;
		json_t *o;

		if (!info)
			continue;
		o = json_pack("{s:s, s:s, s:b}", "subject", info->subject, "sha256", sha256, "root", is_pinned(service, g_ptr_array_index(certs, i)));
		push_add_dates(o, info->not_before * 1000, info->not_after * 1000, service_now_ms(service));
		json_array_append_new(items, o);
	}
	return json_page(items, NULL, 0);
}

GPtrArray *push_chain_build(struct service *service, const char *actor, X509 *vendor, GError **error)
{
	g_autoptr(GPtrArray) certs = load_chain(service, error);
	GError *inner = NULL;
	GPtrArray *path = certs ? walk(service, vendor, certs, &inner) : NULL;

	/* Only what is missing is fetched: nobody asks Apple for what is here. */
	if (path || !g_error_matches(inner, POM_ERROR, POM_ERR_PUSH_CHAIN) || !service->settings.push_chain_urls || !fetch_all(service, actor, NULL)) {
		if (inner)
			g_propagate_error(error, inner);
		return path;
	}
	g_clear_error(&inner);
	g_ptr_array_unref(certs);
	certs = load_chain(service, error);
	return certs ? walk(service, vendor, certs, error) : NULL;
}
