#include <openssl/err.h>
#include <string.h>

#include "base/log.h"
#include "base/metric.h"
#include "core/ca.h"
#include "server/server_internal.h"
#include "server/system_roots.h"
#include "service/profile_sign.h"

enum { CLIENT_CHAIN_MAX_BYTES = 32 * 1024 };

/* One of the server's two contexts, which a renewal replaces. */
static SSL_CTX *get(struct server *server, SSL_CTX *const *place)
{
	SSL_CTX *tls;

	pthread_mutex_lock(&server->tls_lock);
	tls = *place;
	SSL_CTX_up_ref(tls);
	pthread_mutex_unlock(&server->tls_lock);
	return tls;
}

SSL_CTX *server_tls_get(void *ctx)
{
	struct server *server = ctx;

	return get(server, &server->tls);
}

SSL_CTX *server_mtls_get(void *ctx)
{
	struct server *server = ctx;

	return get(server, &server->mtls);
}

/* The handshake proves that the client has the certificate's key. Everything else (issuer, dates, revocation, grace, binding) is decided as for a signature, so that one rule
 * holds and a refusal can be told; no chain of a stranger is built. */
static int take_any_certificate(X509_STORE_CTX *store, void *ctx)
{
	X509_STORE_CTX_set_error(store, X509_V_OK);
	return 1;
}

static SSL_CTX *new_context(void)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

	SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
	/* Forward secrecy and authenticated ciphers only, as App Transport Security asks. */
	SSL_CTX_set_cipher_list(tls, "ECDHE+AESGCM:ECDHE+CHACHA20");
	SSL_CTX_set_options(tls, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_TICKET);
	SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(tls, 0);
	return tls;
}

static bool use(SSL_CTX *tls, X509 *leaf, X509 *const *chain, size_t n, EVP_PKEY *key, GError **error)
{
	bool ok = SSL_CTX_use_certificate(tls, leaf) == 1 && SSL_CTX_use_PrivateKey(tls, key) == 1 && SSL_CTX_check_private_key(tls) == 1;

	for (size_t i = 0; ok && i < n; i++)
		ok = SSL_CTX_add1_chain_cert(tls, chain[i]) == 1;
	ERR_clear_error();
	return ok ? true : pom_fail(error, POM_ERR_KEY_MISMATCH, "the TLS key does not belong to the TLS certificate");
}

static SSL_CTX *context_from_files(const char *certificate, const char *key_file, int64_t *ret_not_after, GPtrArray **ret_certs, GError **error)
{
	g_autofree char *text = NULL, *key_text = NULL;
	g_autoptr(GPtrArray) certs = NULL;
	g_autoptr(signer) key = NULL;
	g_autoptr(cert_info) info = NULL;
	gsize len, key_len;
	SSL_CTX *tls;

	if (!key_file) {
		pom_fail(error, POM_ERR_CONFIG, "tls.certificate is set but tls.key is not");
		return NULL;
	}
	if (!g_file_get_contents(certificate, &text, &len, error) || !g_file_get_contents(key_file, &key_text, &key_len, error))
		return NULL;
	certs = cert_parse_all(text, len, error);
	key = certs ? signer_parse_any(key_text, key_len, NULL, error) : NULL;
	explicit_bzero(key_text, key_len);
	info = key ? cert_info_new(g_ptr_array_index(certs, 0), error) : NULL;
	if (!info)
		return NULL;
	*ret_not_after = info->not_after;
	tls = new_context();
	if (use(tls, g_ptr_array_index(certs, 0), (X509 *const *)certs->pdata + 1, certs->len - 1, signer_get_key(key), error)) {
		*ret_certs = g_steal_pointer(&certs);
		return tls;
	}
	SSL_CTX_free(tls);
	return NULL;
}

static SSL_CTX *context_from_ca(struct server *server, int64_t *ret_not_after, int64_t *ret_renew_ms, X509 **ret_cert, GError **error)
{
	g_autoptr(GPtrArray) chain = NULL;
	g_autoptr(authority) own = service_tls_authority(server->service, &chain, error);
	SSL_CTX *tls;

	if (!own)
		return NULL;
	*ret_not_after = own->info->not_after;
	*ret_renew_ms = ca_renew_at(own->info->not_before, own->info->not_after) * 1000;
	tls = new_context();
	if (use(tls, own->cert, (X509 *const *)chain->pdata, chain->len, signer_get_key(own->signer), error)) {
		*ret_cert = X509_dup(own->cert);
		return tls;
	}
	SSL_CTX_free(tls);
	return NULL;
}

/* Whether the roots that this machine trusts lead to the certificate. Dates do not matter here: a device that trusts the root does not need the step. */
static bool is_known_here(GPtrArray *certs)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	STACK_OF(X509) *chain = sk_X509_new_null();
	bool known;

	for (guint i = 1; i < certs->len; i++)
		sk_X509_push(chain, g_ptr_array_index(certs, i));
	known = X509_STORE_set_default_paths(store) == 1 && X509_STORE_CTX_init(ctx, store, g_ptr_array_index(certs, 0), chain) == 1 && X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER) == 1;
	if (known)
		X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME);
	known = known && X509_verify_cert(ctx) == 1;
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	sk_X509_free(chain);
	ERR_clear_error();
	return known;
}

/* The root at the end of the chain in the file, DER; NULL when it is not in it. transfer full. */
static GBytes *find_root(GPtrArray *certs)
{
	X509 *cert = g_ptr_array_index(certs, 0);

	for (guint step = 0; step <= certs->len; step++) {
		X509 *issuer = NULL;

		if (cert_is_issued_by(cert, cert))
			return cert_format_der(cert);
		for (guint i = 1; i < certs->len && !issuer; i++)
			if (g_ptr_array_index(certs, i) != cert && cert_is_issued_by(cert, g_ptr_array_index(certs, i)))
				issuer = g_ptr_array_index(certs, i);
		if (!issuer)
			return NULL;
		cert = issuer;
	}
	return NULL;
}

/* What the page of a link says about trust. CERTS: of the file; NULL: our own CA makes the certificate. */
static void tell_trust(struct server *server, GPtrArray *certs)
{
	const char *step = settings_text(server->settings, SETTING_ENROLL_TRUST);
	bool never = !g_strcmp0(step, "never"), always = !g_strcmp0(step, "always");
	g_autoptr(GBytes) root = NULL;

	if (never || (certs && !always && is_known_here(certs))) {
		service_set_tls_trust(server->service, TLS_TRUST_PUBLIC, NULL);
		return;
	}
	root = certs ? find_root(certs) : NULL;
	service_set_tls_trust(server->service, certs && !root ? TLS_TRUST_UNKNOWN : TLS_TRUST_ROOT, root);
}

GPtrArray *server_tls_chain(struct server *server)
{
	GPtrArray *certs = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);
	SSL_CTX *tls = server_tls_get(server);
	STACK_OF(X509) *chain = NULL;

	g_ptr_array_add(certs, X509_dup(SSL_CTX_get0_certificate(tls)));
	SSL_CTX_get0_chain_certs(tls, &chain);
	for (int i = 0; i < sk_X509_num(chain); i++)
		g_ptr_array_add(certs, X509_dup(sk_X509_value(chain, i)));
	SSL_CTX_free(tls);
	return certs;
}

/* TLS with the same certificate, but asking for the client's. */
static SSL_CTX *asking_context(SSL_CTX *tls, GError **error)
{
	SSL_CTX *asking = new_context();
	STACK_OF(X509) *chain = NULL;

	SSL_CTX_get0_chain_certs(tls, &chain);
	SSL_CTX_set_verify(asking, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(asking, take_any_certificate, NULL);
	SSL_CTX_set_max_cert_list(asking, CLIENT_CHAIN_MAX_BYTES);
	if (SSL_CTX_use_cert_and_key(asking, SSL_CTX_get0_certificate(tls), SSL_CTX_get0_privatekey(tls), chain, 1) == 1)
		return asking;
	ERR_clear_error();
	SSL_CTX_free(asking);
	pom_fail(error, POM_ERR_INTERNAL, "the TLS certificate cannot be used a second time");
	return NULL;
}

bool server_tls_load(struct server *server, GError **error)
{
	const char *certificate = settings_text(server->settings, SETTING_TLS_CERTIFICATE);
	int64_t not_after = 0, renew_ms = 0;
	X509 *cert = NULL, *old_cert;
	g_autoptr(GPtrArray) certs = NULL;
	SSL_CTX *tls = certificate ? context_from_files(certificate, settings_text(server->settings, SETTING_TLS_KEY), &not_after, &certs, error)
	                           : context_from_ca(server, &not_after, &renew_ms, &cert, error);
	SSL_CTX *mtls = tls ? asking_context(tls, error) : NULL, *old, *old_mtls;

	if (!mtls) {
		SSL_CTX_free(tls);
		X509_free(cert);
		return false;
	}
	pthread_mutex_lock(&server->tls_lock);
	old = server->tls;
	old_mtls = server->mtls;
	server->tls = tls;
	server->mtls = mtls;
	server->tls_renew_ms = renew_ms;
	old_cert = server->tls_cert;
	server->tls_cert = cert;
	pthread_mutex_unlock(&server->tls_lock);
	SSL_CTX_free(old);
	SSL_CTX_free(old_mtls);
	X509_free(old_cert);
	tell_trust(server, certs);
	pom_metric_set(POM_METRIC_CERT_EXPIRY, "tls", not_after);
	return true;
}

static GBytes *read_file(const char *path, GError **error)
{
	g_autofree char *text = NULL;
	gsize len;
	GBytes *bytes;

	if (!g_file_get_contents(path, &text, &len, error))
		return NULL;
	bytes = secret_bytes_new(text, len);
	explicit_bzero(text, len);
	return bytes;
}

static bool is_public(const struct profile_signer *signer, GPtrArray *roots, int64_t now_s)
{
	g_autoptr(GPtrArray) certs = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free), near = g_ptr_array_new();

	for (guint i = 0; i < signer->chain->len; i++) {
		GBytes *der = signer->chain->pdata[i];
		X509 *cert = cert_parse_der(g_bytes_get_data(der, NULL), g_bytes_get_size(der), NULL);

		for (guint k = 0; cert && k < roots->len && near->len < CERT_CHAIN_MAX; k++)
			if (cert_is_issued_by(cert, roots->pdata[k]))
				g_ptr_array_add(near, roots->pdata[k]);
		if (cert)
			g_ptr_array_add(certs, cert);
	}
	return near->len && cert_chain_verify(signer->cert, (X509 *const *)certs->pdata, certs->len, (X509 *const *)near->pdata, near->len, now_s, false, NULL);
}

static struct profile_signer *signer_from_files(struct server *server, GError **error)
{
	g_autoptr(GBytes) certificate = read_file(settings_text(server->settings, SETTING_TLS_CERTIFICATE), error), key = certificate ? read_file(settings_text(server->settings, SETTING_TLS_KEY), error) : NULL;
	g_autoptr(GPtrArray) roots = system_roots_load();
	int64_t now_s = service_now_ms(server->service) / 1000;
	struct profile_signer *signer = key ? profile_signer_load(certificate, key, NULL, roots, now_s, error) : NULL;

	if (!signer)
		return NULL;
	pom_log(POM_LOG_WARNING, "profiles are signed with the TLS certificate (profiles.signer): keep its key when you renew it, or devices may refuse updates of installed profiles", "signer", signer->info->subject, NULL);
	if (signer->missing)
		pom_log(POM_LOG_WARNING, "tls.certificate lacks an intermediate certificate: devices will show profiles as not verified", "missing", signer->missing, NULL);
	else if (!is_public(signer, roots, now_s))
		pom_log(POM_LOG_WARNING, "tls.certificate leads to no public root: devices will show profiles as not verified unless they were given its root", "signer", signer->info->subject, NULL);
	return signer;
}

static bool is_signed_by_tls(const struct server *server)
{
	return !g_strcmp0(settings_text(server->settings, SETTING_PROFILES_SIGNER), "tls");
}

void server_profile_signer_note(struct server *server)
{
	g_autoptr(GError) error = NULL;

	if (!is_signed_by_tls(server) && !service_profile_signer_set(server->service, NULL, &error))
		pom_log(POM_LOG_ERROR, "the signer of profiles could not be looked at", "why", error->message, NULL);
}

bool server_profile_signer_load(struct server *server, GError **error)
{
	bool is_tls = is_signed_by_tls(server);
	g_autoptr(GError) why = NULL;
	struct profile_signer *signer = is_tls ? signer_from_files(server, &why) : NULL;

	if (is_tls && !signer)
		return pom_fail(error, POM_ERR_CONFIG, "profiles.signer is tls, but the TLS certificate cannot sign profiles: %s", why->message);
	if (service_profile_signer_set(server->service, signer, &why))
		return true;
	if (g_error_matches(why, POM_ERROR, POM_ERR_PROFILE_SIGNER))
		return pom_fail(error, POM_ERR_CONFIG, "profiles.signer is tls, but the TLS certificate cannot sign profiles: %s", why->message);
	g_propagate_error(error, g_steal_pointer(&why));
	return false;
}
