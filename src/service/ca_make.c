/* Making the CAs' own certificates: root, issuing CA, RA, OCSP responder, profile signer; new, renewed with the same key, or imported. */
#include <string.h>

#include "keys/ca_make.h"
#include "keys/pkcs11.h"
#include "keys/pkcs12.h"
#include "service/ca_internal.h"

void own_made_init(struct own_made *made)
{
	*made = (struct own_made){
		g_array_new(FALSE, TRUE, sizeof(struct authority_row)), g_ptr_array_new_with_free_func(g_free), g_ptr_array_new_with_free_func((GDestroyNotify)authority_free),
	};
}

static void clear_row(struct authority_row *row)
{
	g_clear_pointer(&row->certificate, g_bytes_unref);
	g_clear_pointer(&row->key_sealed, g_bytes_unref);
}

void own_made_clear(struct own_made *made)
{
	for (guint i = 0; i < made->rows->len; i++)
		clear_row(&g_array_index(made->rows, struct authority_row, i));
	g_array_unref(made->rows);
	g_ptr_array_unref(made->strings);
	g_ptr_array_unref(made->made);
}

static const char *keep(struct own_made *made, const char *text)
{
	char *copy = g_strdup(text);

	g_ptr_array_add(made->strings, copy);
	return copy;
}

/* What is stored of a key: itself, or for one in a token its PIN; NULL when it is kept with another row or there is no PIN. */
static bool seal_key(const struct own_plan *plan, const char *id, struct signer *key, const struct seal *seal, GBytes **ret, GError **error)
{
	g_autoptr(GBytes) secret = NULL;

	*ret = NULL;
	if (plan->key_uri)
		secret = plan->pin ? secret_bytes_new(plan->pin, strlen(plan->pin)) : NULL;
	else if (!(secret = signer_format(key, error)))
		return false;
	if (secret)
		*ret = seal_close(seal, "authority", id, "key", g_bytes_get_data(secret, NULL), g_bytes_get_size(secret));
	return true;
}

/* Adds CERT (NULL: still to come) with its key (NULL: not here) to what is to be stored. */
static struct authority *add_made(struct own_made *made, const struct own_plan *plan, X509 *cert, struct signer *key, const struct seal *seal, const struct pom_clock *clock, GError **error)
{
	struct pom_id id = pom_id_new(clock, seal->random);
	struct authority_row row = {.id = keep(made, id.text), .role = plan->role, .state = "active", .generation_id = keep(made, plan->generation_id), .key_uri = plan->key_uri ? keep(made, plan->key_uri) : NULL,
	                            .created_ms = pom_clock_now_ms(clock)};
	struct authority *a = g_new0(struct authority, 1);

	g_ptr_array_add(made->made, a);
	a->id = g_strdup(id.text);
	a->role = g_strdup(plan->role);
	a->key_uri = g_strdup(plan->key_uri);
	a->der = cert ? cert_format_der(cert) : g_bytes_new_static("", 0);
	a->signer = key ? signer_ref(key) : NULL;
	if (cert) {
		/* Read again from its bytes: one that was just built has no decoded key in it. */
		a->cert = cert_parse_der(g_bytes_get_data(a->der, NULL), g_bytes_get_size(a->der), error);
		a->info = a->cert ? cert_info_new(a->cert, error) : NULL;
		if (!a->info)
			return NULL;
		row.not_before_ms = a->info->not_before * 1000;
		row.not_after_ms = a->info->not_after * 1000;
	}
	if (key && !seal_key(plan, id.text, key, seal, &row.key_sealed, error))
		return NULL;
	row.certificate = g_bytes_ref(a->der);
	g_array_append_val(made->rows, row);
	return a;
}

static bool sign(X509 *cert, const struct authority *issuer, struct signer *key, GError **error)
{
	if (issuer && !issuer->signer)
		return pom_fail(error, POM_ERR_KEY_UNAVAILABLE, "the key of %s is not here", issuer->info->subject);
	return signer_sign_cert(issuer ? issuer->signer : key, cert, error);
}

static struct authority *make(struct own_made *made, const struct own_plan *plan, GBytes *subject, struct signer *key, const struct seal *seal, const struct pom_clock *clock, GError **error)
{
	struct cert_plan p = {.purpose = plan->purpose, .subject_der = subject, .dns_names = plan->dns_names, .ip_addresses = plan->ip_addresses, .no_encipherment = plan->no_encipherment};
	const struct cert_info *issuer = plan->issuer ? plan->issuer->info : NULL;
	g_autoptr(GBytes) spki = cert_spki_format(signer_get_key(key));
	g_autoptr(X509) cert = NULL;
	uint8_t serial[16];

	pom_random_fill(seal->random, serial, sizeof(serial));
	ca_plan_serial(&p, serial);
	p.spki = spki;
	ca_plan_dates(&p, pom_clock_now_ms(clock) / 1000, plan->days, issuer ? issuer->not_before : 0, issuer ? issuer->not_after : 0);
	cert = spki ? cert_build(&p, plan->issuer ? plan->issuer->cert : NULL, error) : NULL;
	if (!cert || !sign(cert, plan->issuer, key, error))
		return NULL;
	return add_made(made, plan, cert, key, seal, clock, error);
}

struct authority *own_make(struct own_made *made, const struct own_plan *plan, struct signer *key, const struct seal *seal, const struct pom_clock *clock, GError **error)
{
	g_autoptr(GBytes) subject = cert_name_format(error, "O", plan->organization, "CN", plan->common_name, NULL);

	return subject ? make(made, plan, subject, key, seal, clock, error) : NULL;
}

struct authority *own_renew(struct own_made *made, const struct authority *old, const struct own_plan *plan, const struct seal *seal, const struct pom_clock *clock, GError **error)
{
	if (old->signer)
		return make(made, plan, old->info->subject_der, old->signer, seal, clock, error);
	pom_fail(error, POM_ERR_KEY_UNAVAILABLE, "the key of %s is not here", old->info->subject);
	return NULL;
}

struct authority *own_renew_single(struct own_made *made, const struct authority *old, const struct own_plan *plan, const struct seal *seal, const struct pom_clock *clock, GError **error)
{
	const struct own_plan root = {.role = "root", .generation_id = plan->generation_id};
	struct cert_plan p = {0};
	g_autoptr(X509) cert = NULL;
	uint8_t serial[16];

	pom_random_fill(seal->random, serial, sizeof(serial));
	ca_plan_serial(&p, serial);
	ca_plan_dates(&p, pom_clock_now_ms(clock) / 1000, plan->days, 0, 0);
	cert = cert_rebuild(old->cert, &p, error);
	if (!cert || !sign(cert, NULL, old->signer, error) || !add_made(made, &root, cert, NULL, seal, clock, error))
		return NULL;
	return add_made(made, plan, cert, old->signer, seal, clock, error);
}

/* A new key of our own, or the one in a token. */
static struct signer *get_key(const char *key_type, unsigned bits, const char *curve, const char *uri, const char *pin, GError **error)
{
	if (uri)
		return signer_open_pkcs11(uri, pin, error);
	return strcmp(key_type, "ec") ? signer_generate_rsa(bits, error) : signer_generate_ec(curve, error);
}

static int or_default(int days, int standard)
{
	return days ? days : standard;
}

/* The RA and the OCSP responder of an issuing CA. */
static bool make_helpers(struct own_made *made, const struct ca_spec *spec, const char *generation_id, const struct authority *issuing, bool ra, const char *name, const struct seal *seal,
                         const struct pom_clock *clock, GError **error)
{
	g_autofree char *ra_name = g_strconcat(name, " RA", NULL), *ocsp_name = g_strconcat(name, " OCSP", NULL);
	struct own_plan plan = {.purpose = CERT_OCSP, .role = "ocsp", .generation_id = generation_id, .organization = spec->organization, .common_name = ocsp_name, .days = CA_OCSP_DAYS, .issuer = issuing};
	g_autoptr(signer) ocsp_key = signer_generate_rsa(2048, error), ra_key = NULL;

	if (!ocsp_key || !own_make(made, &plan, ocsp_key, seal, clock, error))
		return false;
	if (!ra)
		return true;
	ra_key = get_key("rsa", 2048, NULL, spec->ra_key_uri, spec->pin, error);
	if (!ra_key)
		return false;
	if (EVP_PKEY_get_base_id(signer_get_key(ra_key)) != EVP_PKEY_RSA)
		return pom_fail(error, POM_ERR_CA, "the RA's key must be RSA: Apple devices cannot encrypt to another one");
	plan.purpose = CERT_RA;
	plan.role = "ra";
	plan.common_name = ra_name;
	plan.days = or_default(spec->issuing_days, CA_ISSUING_DAYS);
	plan.key_uri = spec->ra_key_uri;
	plan.pin = spec->ra_key_uri ? spec->pin : NULL;
	return own_make(made, &plan, ra_key, seal, clock, error) != NULL;
}

/* "Example Issuing CA", with the generation from the second on: their names must differ where keys do. */
static char *ca_name(const struct ca_spec *spec, const char *what, int64_t number)
{
	const char *base = spec->common_name ? spec->common_name : !strcmp(spec->name, CA_DEFAULT) ? "Pomona" : spec->name;
	g_autofree char *name = spec->common_name && !strcmp(what, "Issuing CA") ? g_strdup(base) : g_strdup_printf("%s %s", base, what);

	return number > 1 ? g_strdup_printf("%s G%" G_GINT64_FORMAT, name, number) : g_steal_pointer(&name);
}

bool ca_make_generation(struct own_made *made, const struct ca_spec *spec, const char *generation_id, int64_t number, const struct seal *seal, const struct pom_clock *clock, GError **error)
{
	g_autofree char *root_name = ca_name(spec, "Root CA", number), *issuing_name = ca_name(spec, "Issuing CA", number);
	const struct authority *root = spec->keep_root ? spec->keep_root->root : NULL;
	g_autoptr(signer) root_key = NULL, issuing_key = NULL;
	const struct authority *issuing;
	bool ra;

	if (root) {
		struct own_plan kept = {.role = "root", .generation_id = generation_id, .key_uri = root->key_uri, .pin = spec->pin};

		/* The same root again, so that the generation stands by itself when the older one is gone. */
		if (!add_made(made, &kept, root->cert, root->signer, seal, clock, error))
			return false;
		root = g_ptr_array_index(made->made, made->made->len - 1);
	} else {
		struct own_plan plan = {.purpose = CERT_ROOT_CA, .role = "root", .generation_id = generation_id, .organization = spec->organization, .common_name = root_name,
		                        .days = or_default(spec->root_days, CA_ROOT_DAYS), .key_uri = spec->root_key_uri, .pin = spec->pin};

		root_key = get_key(spec->key_type, spec->root_bits, "P-384", spec->root_key_uri, spec->pin, error);
		root = root_key ? own_make(made, &plan, root_key, seal, clock, error) : NULL;
	}
	issuing_key = root ? get_key(spec->key_type, spec->issuing_bits, "P-256", spec->issuing_key_uri, spec->pin, error) : NULL;
	if (!issuing_key)
		return false;
	ra = spec->ra || spec->ra_key_uri || EVP_PKEY_get_base_id(signer_get_key(issuing_key)) != EVP_PKEY_RSA;
	struct own_plan plan = {.purpose = CERT_ISSUING_CA, .role = "issuing", .generation_id = generation_id, .organization = spec->organization, .common_name = issuing_name,
	                        .days = or_default(spec->issuing_days, CA_ISSUING_DAYS), .issuer = root, .key_uri = spec->issuing_key_uri, .pin = spec->pin, .no_encipherment = ra};
	issuing = own_make(made, &plan, issuing_key, seal, clock, error);
	return issuing && make_helpers(made, spec, generation_id, issuing, ra, issuing_name, seal, clock, error);
}

bool ca_make_signer(struct own_made *made, const char *organization, const char *generation_id, const struct authority *issuing, const struct seal *seal, const struct pom_clock *clock, GError **error)
{
	g_autoptr(signer) key = signer_generate_rsa(2048, error);
	struct own_plan plan = {.purpose = CERT_PROFILE_SIGNER, .role = "signer", .generation_id = generation_id, .organization = organization, .common_name = "Pomona Profile Signing",
	                        .days = CA_SIGNER_DAYS, .issuer = issuing};

	return key && own_make(made, &plan, key, seal, clock, error);
}

const struct authority *own_made_find(const struct own_made *made, const char *role)
{
	for (guint i = 0; i < made->made->len; i++) {
		const struct authority *a = g_ptr_array_index(made->made, i);

		if (!strcmp(a->role, role))
			return a;
	}
	return NULL;
}

bool ca_make_first(struct store *store, const struct seal *seal, const struct ca_spec *spec, const struct pom_clock *clock, const struct pom_random *random, GError **error)
{
	int64_t now_ms = pom_clock_now_ms(clock);
	struct generation_row row = {.id = CA_DEFAULT "-1", .ca = CA_DEFAULT, .number = 1, .state = "active", .source = "own", .created_ms = now_ms, .activated_ms = now_ms};
	struct own_made made;
	bool ok;

	own_made_init(&made);
	ok = ca_make_generation(&made, spec, row.id, 1, seal, clock, error) && ca_make_signer(&made, spec->organization, row.id, own_made_find(&made, "issuing"), seal, clock, error) &&
	     store_generation_add(store, &row, (const struct authority_row *)made.rows->data, made.rows->len,
	                          AUDIT("init", "ca.create", CA_DEFAULT, audit_detail("generation", row.id, "subject", own_made_find(&made, "issuing")->info->subject, NULL)), error);
	own_made_clear(&made);
	return ok;
}

/* ---- import ---- */

/* What the files hold: certificates and a key. */
struct bundle { GPtrArray *certs; struct signer *key; };

static void bundle_clear(struct bundle *bundle)
{
	g_clear_pointer(&bundle->certs, g_ptr_array_unref);
	g_clear_pointer(&bundle->key, signer_unref);
}

static bool add_certs(struct bundle *bundle, GPtrArray *certs)
{
	for (guint i = 0; certs && i < certs->len; i++) {
		X509 *cert = g_ptr_array_index(certs, i);

		X509_up_ref(cert);
		g_ptr_array_add(bundle->certs, cert);
	}
	return certs != NULL;
}

static bool has_text(const void *data, size_t len, const char *wanted)
{
	return memmem(data, len, wanted, strlen(wanted)) != NULL;
}

static bool read_pem(struct bundle *bundle, const void *data, size_t len, const char *password, GError **error)
{
	if (has_text(data, len, "-----BEGIN CERTIFICATE-----")) {
		g_autoptr(GPtrArray) certs = cert_parse_all(data, len, error);

		if (!add_certs(bundle, certs))
			return false;
	}
	if (has_text(data, len, "PRIVATE KEY-----")) {
		if (bundle->key)
			return pom_fail(error, POM_ERR_CA, "there are two private keys");
		bundle->key = signer_parse_any(data, len, password, error);
		if (!bundle->key) {
			if (error && *error && has_text(data, len, "ENCRYPTED"))
				g_prefix_error(error, "%s: ", password ? "wrong password" : "the key is encrypted, give its password");
			return false;
		}
	}
	return true;
}

static bool read_file(struct bundle *bundle, GBytes *file, const char *password, GError **error)
{
	gsize len;
	const void *data = g_bytes_get_data(file, &len);
	g_autoptr(GPtrArray) certs = NULL;
	struct signer *key = NULL;
	GError *inner = NULL;

	if (has_text(data, len, "-----BEGIN"))
		return read_pem(bundle, data, len, password, error);
	if (pkcs12_open(data, len, password ? password : "", &key, &certs, &inner)) {
		if (bundle->key)
			signer_unref(bundle->key);
		bundle->key = key;
		return add_certs(bundle, certs);
	}
	if (g_error_matches(inner, POM_ERROR, POM_ERR_PASSWORD)) {
		g_propagate_error(error, inner);
		return false;
	}
	g_clear_error(&inner);
	certs = cert_parse_all(data, len, NULL);
	if (certs)
		return add_certs(bundle, certs);
	bundle->key = bundle->key ? bundle->key : signer_parse_any(data, len, password, NULL);
	return bundle->key ? true : pom_fail(error, POM_ERR_CA, "a file holds neither a certificate, a key nor PKCS#12");
}

static bool same_key(X509 *cert, struct signer *key)
{
	return EVP_PKEY_eq(X509_get0_pubkey(cert), signer_get_key(key)) == 1;
}

/* Checks the chain from ISSUING up to a self-signed root, all within CERTS, and adds it to MADE: issuing first. */
static bool ca_add_chain(struct own_made *made, GPtrArray *certs, struct signer *key, const char *key_uri, const char *pin, bool has_ra, const char *generation_id, const struct seal *seal,
                  const struct pom_clock *clock, GError **error)
{
	int64_t now_s = pom_clock_now_ms(clock) / 1000;
	X509 *issuing = NULL, *at;
	g_autoptr(cert_info) info = NULL;
	struct own_plan plan = {.role = "issuing", .generation_id = generation_id, .key_uri = key_uri, .pin = pin};

	for (guint i = 0; i < certs->len && !issuing; i++)
		issuing = same_key(g_ptr_array_index(certs, i), key) ? g_ptr_array_index(certs, i) : NULL;
	if (!issuing)
		return pom_fail(error, POM_ERR_KEY_MISMATCH, "the private key belongs to none of the %u certificates", certs->len);
	info = cert_info_new(issuing, error);
	if (!info || !ca_check_import(info, has_ra, now_s, error) || !add_made(made, &plan, issuing, key, seal, clock, error))
		return false;
	plan = (struct own_plan){.role = "chain", .generation_id = generation_id};
	for (at = issuing; !cert_is_issued_by(at, at);) {
		X509 *next = NULL;
		g_autoptr(cert_info) up = NULL;

		for (guint i = 0; i < certs->len && !next; i++) {
			X509 *candidate = g_ptr_array_index(certs, i);

			next = candidate != at && cert_is_issued_by(at, candidate) ? candidate : NULL;
		}
		if (!next || made->rows->len > 8) {
			g_autoptr(cert_info) last = cert_info_new(at, NULL);

			return pom_fail(error, POM_ERR_CA, "the chain is not complete: the certificate of \"%s\" is missing. Give all certificates up to the root", last ? last->issuer : "?");
		}
		up = cert_info_new(next, error);
		if (!up || !ca_check_import(up, true, now_s, error))
			return false;
		plan.role = cert_is_issued_by(next, next) ? "root" : "chain";
		if (!add_made(made, &plan, next, NULL, seal, clock, error))
			return false;
		at = next;
	}
	if (at == issuing) {
		/* One tier: the same certificate is root too. */
		plan.role = "root";
		if (!add_made(made, &plan, issuing, NULL, seal, clock, error))
			return false;
	}
	/* Signatures, path lengths and CA flags of the whole path. */
	return cert_chain_verify(issuing, (X509 *const *)certs->pdata, certs->len, &at, 1, now_s, true, error);
}

bool ca_make_import(struct own_made *made, const struct ca_import *import, const char *organization, const char *generation_id, const struct seal *seal, const struct pom_clock *clock, GError **error)
{
	struct bundle bundle = {g_ptr_array_new_with_free_func((GDestroyNotify)X509_free), NULL};
	const struct ca_spec spec = {.name = import->name, .organization = organization, .ra_key_uri = import->ra_key_uri, .pin = import->pin};
	bool ra = import->ra || import->ra_key_uri, ok = true;

	for (size_t i = 0; ok && i < import->n; i++)
		ok = read_file(&bundle, import->files[i], import->password, error);
	if (ok && import->key_uri) {
		signer_unref(bundle.key);
		bundle.key = signer_open_pkcs11(import->key_uri, import->pin, error);
		ok = bundle.key != NULL;
	}
	if (ok && !bundle.certs->len)
		ok = pom_fail(error, POM_ERR_CA, "there is no certificate in the files");
	if (ok && !bundle.key)
		ok = pom_fail(error, POM_ERR_CA, "there is no private key in the files, and no key of a token was named");
	ok = ok && ca_add_chain(made, bundle.certs, bundle.key, import->key_uri, import->pin, ra, generation_id, seal, clock, error);
	ok = ok && make_helpers(made, &spec, generation_id, own_made_find(made, "issuing"), ra, import->name, seal, clock, error);
	bundle_clear(&bundle);
	return ok;
}

bool ca_make_request(struct own_made *made, const struct ca_spec *spec, const char *subject, const char *generation_id, const struct seal *seal, const struct pom_clock *clock, GBytes **ret_csr, GError **error)
{
	static const struct csr_wish wish = {.is_ca = true};
	g_autoptr(GBytes) name = cert_subject_parse_text(subject, error);
	struct own_plan plan = {.role = "issuing", .generation_id = generation_id, .key_uri = spec->issuing_key_uri, .pin = spec->pin};
	g_autoptr(signer) key = name ? get_key(spec->key_type, spec->issuing_bits, "P-256", spec->issuing_key_uri, spec->pin, error) : NULL;

	if (!key)
		return false;
	*ret_csr = csr_make(key, name, NULL, &wish, error);
	return *ret_csr && add_made(made, &plan, NULL, key, seal, clock, error);
}

bool ca_make_installed(struct own_made *made, GPtrArray *certs, struct signer *key, const char *key_uri, const char *pin, bool ra, const char *ca, const char *organization, const char *generation_id,
                       const struct seal *seal, const struct pom_clock *clock, GError **error)
{
	const struct ca_spec spec = {.name = ca, .organization = organization};

	return ca_add_chain(made, certs, key, key_uri, pin, ra, generation_id, seal, clock, error) && make_helpers(made, &spec, generation_id, own_made_find(made, "issuing"), ra, ca, seal, clock, error);
}
