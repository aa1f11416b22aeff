/* Proof of a device's identity by a certificate that a CA of ours has issued: Mdm-Signature over the exact bytes of the body, or a client certificate.
 *
 * Keys of known certificates are kept decoded, because decoding costs several times the verification. Only what cannot change
 * is cached (key, issuer's signature); validity, revocation and binding are facts of the store and looked at every time. */
#include <string.h>

#include "codec/base64.h"
#include "service/ca_internal.h"
#include "service/checkin.h"
#include "service/shared.h"

enum { CACHE_MAX = 16384, SIGNATURE_TEXT_MAX = 16384 };

struct identity {
	uint8_t sha256[32];
	EVP_PKEY *key;
	struct cms_verifier *verifier; /* that nobody uses just now; NULL: none */
};

struct identity_cache {
	pthread_mutex_t lock;
	GHashTable *identities; /* struct identity, keyed by its first member */
	unsigned n_emptied;
};

static guint identity_hash(const void *data)
{
	guint h;

	memcpy(&h, data, sizeof(h));
	return h;
}

static gboolean identity_equal(const void *a, const void *b)
{
	return !memcmp(a, b, 32);
}

static void identity_free(void *data)
{
	struct identity *identity = data;

	EVP_PKEY_free(identity->key);
	cms_verifier_free(identity->verifier);
	g_free(identity);
}

struct identity_cache *identity_cache_new(void)
{
	struct identity_cache *cache = g_new0(struct identity_cache, 1);

	pthread_mutex_init(&cache->lock, NULL);
	cache->identities = g_hash_table_new_full(identity_hash, identity_equal, NULL, identity_free);
	return cache;
}

void identity_cache_free(struct identity_cache *cache)
{
	if (!cache)
		return;
	g_hash_table_unref(cache->identities);
	pthread_mutex_destroy(&cache->lock);
	g_free(cache);
}

/* With RET_VERIFIER (NULL: not wanted) also what verifies with the key, NULL when somebody has it: to be given back. */
static EVP_PKEY *cache_get(struct identity_cache *cache, const uint8_t sha256[32], struct cms_verifier **ret_verifier)
{
	struct identity *identity;
	EVP_PKEY *key = NULL;

	pthread_mutex_lock(&cache->lock);
	identity = g_hash_table_lookup(cache->identities, sha256);
	if (identity) {
		key = identity->key;
		EVP_PKEY_up_ref(key);
	}
	if (identity && ret_verifier)
		*ret_verifier = g_steal_pointer(&identity->verifier);
	pthread_mutex_unlock(&cache->lock);
	return key;
}

/* Takes VERIFIER over, which is of the certificate's key. */
static void cache_give(struct identity_cache *cache, const uint8_t sha256[32], struct cms_verifier *verifier)
{
	struct identity *identity;

	pthread_mutex_lock(&cache->lock);
	identity = g_hash_table_lookup(cache->identities, sha256);
	if (identity && !identity->verifier)
		identity->verifier = g_steal_pointer(&verifier);
	pthread_mutex_unlock(&cache->lock);
	cms_verifier_free(verifier);
}

static unsigned cache_turn(struct identity_cache *cache)
{
	unsigned turn;

	pthread_mutex_lock(&cache->lock);
	turn = cache->n_emptied;
	pthread_mutex_unlock(&cache->lock);
	return turn;
}

/* Unless the cache was emptied since TURN: then other CAs are trusted than those that KEY was checked with. */
static void cache_put(struct identity_cache *cache, const uint8_t sha256[32], EVP_PKEY *key, unsigned turn)
{
	struct identity *identity = g_new0(struct identity, 1);

	memcpy(identity->sha256, sha256, 32);
	EVP_PKEY_up_ref(key);
	identity->key = key;
	pthread_mutex_lock(&cache->lock);
	if (g_hash_table_size(cache->identities) >= CACHE_MAX)
		g_hash_table_remove_all(cache->identities);
	if (turn == cache->n_emptied)
		g_hash_table_add(cache->identities, g_steal_pointer(&identity));
	pthread_mutex_unlock(&cache->lock);
	if (identity)
		identity_free(identity);
}

void identity_cache_empty(struct identity_cache *cache)
{
	pthread_mutex_lock(&cache->lock);
	g_hash_table_remove_all(cache->identities);
	cache->n_emptied++;
	pthread_mutex_unlock(&cache->lock);
}

/* Of a CA of ours, or of an outside CA that we were told of. */
static bool is_trusted(struct service *service, X509 *cert, GBytes *der, const uint8_t sha256[32], GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	g_autofree char *issuer = NULL;
	const struct outside_ca *outside;
	bool first_use;

	if (ca_set_issuer_of(set, cert))
		return true;
	outside = ca_set_outside_issuer_of(set, cert);
	if (outside)
		return service_adopt(service, outside, cert, der, sha256, error);
	if (!service_first_use_trusts(service, cert, sha256, &first_use, error))
		return false;
	if (first_use)
		return true;
	issuer = cert_issuer_text(cert);
	return pom_fail(error, POM_ERR_CERT_UNTRUSTED, "the device's certificate was issued by \"%.200s\", which is no CA of this server", issuer);
}

/* The key of a certificate of a trusted issuer: from the cache, or decoded after the issuer has been checked. RET_VERIFIER as of cache_get, NULL before. transfer full. */
static EVP_PKEY *trusted_key(struct service *service, GBytes *der, const uint8_t sha256[32], struct cms_verifier **ret_verifier, GError **error)
{
	EVP_PKEY *key = cache_get(service->identities, sha256, ret_verifier);
	unsigned turn = key ? 0 : cache_turn(service->identities);
	g_autoptr(X509) cert = NULL;

	if (key)
		return key;
	cert = cert_parse_der(g_bytes_get_data(der, NULL), g_bytes_get_size(der), error);
	if (!cert || !is_trusted(service, cert, der, sha256, error))
		return NULL;
	key = X509_get_pubkey(cert);
	if (key)
		cache_put(service->identities, sha256, key, turn);
	else
		pom_fail(error, POM_ERR_CERT_MALFORMED, "the key in the device's certificate cannot be read");
	return key;
}

void service_identity_issued(struct service *service, const char *generation_id, GBytes *certificate, EVP_PKEY *key)
{
	/* Before the CAs are looked at: when they change from now on, the cache is emptied, and this comes too late. */
	unsigned turn = cache_turn(service->identities);
	g_autoptr(ca_set) set = service_ca_set(service);
	const struct generation *g = ca_set_find(set, generation_id);
	uint8_t sha256[32];

	if (!g || !generation_is_trusted(g->state))
		return;
	cert_sha256(g_bytes_get_data(certificate, NULL), g_bytes_get_size(certificate), sha256);
	cache_put(service->identities, sha256, key, turn);
}

static GBytes *decode_header(const char *text, GError **error)
{
	g_autofree guchar *data = NULL;
	gsize len = text ? strlen(text) : 0;

	if (!len) {
		pom_fail(error, POM_ERR_IDENTITY_MISSING, "there is neither an Mdm-Signature header (the MDM payload must have SignMessage true) nor a client certificate");
		return NULL;
	}
	if (len > SIGNATURE_TEXT_MAX) {
		pom_fail(error, POM_ERR_IDENTITY_SIGNATURE, "Mdm-Signature is larger than %d bytes", SIGNATURE_TEXT_MAX);
		return NULL;
	}
	data = g_malloc(base64_decoded_max(len));
	/* GLib's takes other forms too, but several times as long. */
	if (!base64_parse(text, len, BASE64_STRICT, data, &len)) {
		g_free(data);
		data = g_base64_decode(text, &len);
	}
	if (len)
		return g_bytes_new_take(g_steal_pointer(&data), len);
	pom_fail(error, POM_ERR_IDENTITY_SIGNATURE, "Mdm-Signature is not base64");
	return NULL;
}

/* Whatever is wrong with the signature itself is one answer: 400. */
static bool fail_signature(GError **error, GError *inner)
{
	pom_fail(error, POM_ERR_IDENTITY_SIGNATURE, "Mdm-Signature: %s", inner->message);
	g_error_free(inner);
	return false;
}

static bool prove_signature(struct service *service, const char *header, GBytes *body, uint8_t ret_sha256[32], GError **error)
{
	g_autoptr(GBytes) bytes = decode_header(header, error);
	g_autoptr(cms_detached) detached = NULL;
	g_autoptr(EVP_PKEY) key = NULL;
	struct cms_verifier *verifier = NULL;
	GError *inner = NULL;
	bool ok;

	if (!bytes)
		return false;
	detached = cms_detached_parse(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), &inner);
	if (!detached)
		return fail_signature(error, inner);
	key = trusted_key(service, detached->signer_der, detached->signer_sha256, &verifier, error);
	if (!key)
		return false;
	if (!verifier)
		verifier = cms_verifier_new(key);
	ok = cms_detached_verify_by(detached, verifier, g_bytes_get_data(body, NULL), g_bytes_get_size(body), &inner);
	cache_give(service->identities, detached->signer_sha256, verifier);
	if (!ok)
		return fail_signature(error, inner);
	memcpy(ret_sha256, detached->signer_sha256, 32);
	return true;
}

static bool prove_certificate(struct service *service, GBytes *der, uint8_t ret_sha256[32], GError **error)
{
	g_autoptr(EVP_PKEY) key = NULL;
	uint8_t sha256[32];

	cert_sha256(g_bytes_get_data(der, NULL), g_bytes_get_size(der), sha256);
	key = trusted_key(service, der, sha256, NULL, error);
	if (key)
		memcpy(ret_sha256, sha256, 32);
	return key != NULL;
}

/* The enrollment and epoch that a certificate is bound to, or that it was issued to renew: transfer full. NULL without an error when it is unknown or bound to none. */
static bool find_binding(struct service *service, const uint8_t sha256[32], char **ret, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct certificate_row row;
	bool found;

	if (!store_certificate_by_sha256(service->store, sha256, &row, &found, &load, error))
		return false;
	if (found && row.enrollment_id)
		*ret = g_strdup_printf("%s (epoch %" G_GINT64_FORMAT ")", row.enrollment_id, row.epoch);
	else if (found && row.for_enrollment_id)
		*ret = g_strdup_printf("%s (epoch %" G_GINT64_FORMAT ")", row.for_enrollment_id, row.for_epoch);
	return true;
}

/* A device that has renewed its identity may go on for a while over a connection that it opened with the old one. Another epoch may be another device that says the same UDID. */
static bool check_same_device(struct service *service, const uint8_t signer_sha256[32], GBytes *certificate, GError **error)
{
	g_autofree char *of_signer = NULL, *of_certificate = NULL;
	uint8_t sha256[32];

	cert_sha256(g_bytes_get_data(certificate, NULL), g_bytes_get_size(certificate), sha256);
	if (!memcmp(sha256, signer_sha256, 32))
		return true;
	if (!find_binding(service, signer_sha256, &of_signer, error) || !find_binding(service, sha256, &of_certificate, error))
		return false;
	if (of_signer && !g_strcmp0(of_signer, of_certificate))
		return true;
	return pom_fail(error, POM_ERR_IDENTITY_CONFLICT, "Mdm-Signature is of enrollment %s, the client certificate in the same request of %s", of_signer ? of_signer : "none yet",
	                of_certificate ? of_certificate : "none that is known");
}

GBytes *service_proof_certificate(const struct device_proof *proof, GError **error)
{
	g_autoptr(GBytes) bytes = NULL;
	g_autoptr(cms_detached) detached = NULL;

	if (!proof->mdm_signature && proof->certificate)
		return g_bytes_ref(proof->certificate);
	bytes = decode_header(proof->mdm_signature, error);
	detached = bytes ? cms_detached_parse(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), error) : NULL;
	return detached ? g_bytes_ref(detached->signer_der) : NULL;
}

void device_proof_clear(struct device_proof *proof)
{
	g_clear_pointer(&proof->certificate, g_bytes_unref);
}

static bool prove(struct service *service, const struct device_proof *proof, GBytes *body, uint8_t ret_sha256[32], GError **error)
{
	uint8_t sha256[32];

	if (!proof->mdm_signature && proof->certificate)
		return prove_certificate(service, proof->certificate, ret_sha256, error);
	if (!prove_signature(service, proof->mdm_signature, body, sha256, error) || (proof->certificate && !check_same_device(service, sha256, proof->certificate, error)))
		return false;
	memcpy(ret_sha256, sha256, 32);
	return true;
}

bool service_prove(struct service *service, const struct device_proof *proof, GBytes *body, uint8_t ret_sha256[32], GError **error)
{
	int64_t version = service_ca_version(service);
	g_autoptr(GError) inner = NULL;

	if (prove(service, proof, body, ret_sha256, &inner))
		return true;
	/* Another node may know its issuer already. */
	if (g_error_matches(inner, POM_ERROR, POM_ERR_CERT_UNTRUSTED)) {
		if (!service_shared_look(service, error))
			return false;
		if (service_ca_version(service) != version)
			return prove(service, proof, body, ret_sha256, error);
	}
	g_propagate_error(error, g_steal_pointer(&inner));
	return false;
}
