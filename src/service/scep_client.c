/* The messages to an outside CA and the checks of its answers. */
#include <string.h>

#include "service/scep_client_internal.h"

enum { SELF_SIGNED_DAYS = 30, BACKDATE_S = 3600, TRANSACTION_BYTES = 20, RSA_BITS = 2048 };

/* One transaction: the same signer and transactionID in all of its messages. */
struct exchange {
	const struct scep_client *client;
	struct scep_client_ca ca;
	struct csr *csr;
	GBytes *csr_der;
	struct signer *signer;
	X509 *signer_cert;
	GBytes *signer_der;
	char *transaction;
	int cipher_nid, digest_nid;
	bool by_post;
	const char *attribute_challenge; /* borrowed; NULL: none is sent so */
	uint8_t nonce[16];               /* of the last message */
};

static void exchange_clear(struct exchange *x)
{
	scep_client_ca_clear(&x->ca);
	csr_free(x->csr);
	signer_unref(x->signer);
	X509_free(x->signer_cert);
	g_clear_pointer(&x->signer_der, g_bytes_unref);
	g_free(x->transaction);
}
typedef struct exchange exchange;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(exchange, exchange_clear)

void scep_client_result_clear(struct scep_client_result *result)
{
	g_clear_pointer(&result->certificate, g_bytes_unref);
	g_clear_pointer(&result->chain, g_ptr_array_unref);
}

/* The strongest that the CA announces. Without AES it is 3DES, whether that is announced or not: no CA of today does less, but those for which
 * single DES has been allowed. */
static void choose_algorithms(struct exchange *x)
{
	const struct scep_caps *caps = &x->ca.caps;

	x->cipher_nid = caps->aes ? NID_aes_128_cbc : caps->des3 || !x->client->legacy_des ? NID_des_ede3_cbc : NID_des_cbc;
	x->digest_nid = caps->sha256 ? NID_sha256 : caps->sha512 ? NID_sha512 : caps->sha384 ? NID_sha384 : NID_sha1;
	x->by_post = caps->post;
}

/* ---- the signer ---- */

static bool is_key_of(struct signer *key, const struct csr *csr)
{
	g_autoptr(GBytes) spki = cert_spki_format(signer_get_key(key));

	return g_bytes_equal(spki, csr->spki);
}

/* A certificate for the time of the transaction, with the request's subject (RFC 8894 §2.3). */
static X509 *self_sign(struct exchange *x, GError **error)
{
	int64_t now_s = pom_clock_now_ms(x->client->clock) / 1000;
	g_autoptr(GBytes) spki = cert_spki_format(signer_get_key(x->signer)), name = NULL;
	struct cert_plan plan = {.purpose = CERT_RA, .serial_len = 16, .spki = spki, .not_before = now_s - BACKDATE_S, .not_after = now_s + SELF_SIGNED_DAYS * 86400};
	g_autoptr(X509) cert = NULL;

	name = *x->csr->subject ? g_bytes_ref(x->csr->subject_der) : cert_name_format(error, "CN", x->transaction, NULL);
	if (!name)
		return NULL;
	plan.subject_der = name;
	pom_random_fill(x->client->random, plan.serial, plan.serial_len);
	plan.serial[0] = (plan.serial[0] & 0x7f) | 0x40;
	cert = cert_build(&plan, NULL, error);
	return cert && signer_sign_cert(x->signer, cert, error) ? g_steal_pointer(&cert) : NULL;
}

/* The one that is set; else KEY, if it is the request's and can receive; else one for this time. */
static bool choose_signer(struct exchange *x, struct signer *key, GError **error)
{
	if (x->client->signer) {
		x->signer = signer_ref(x->client->signer);
		X509_up_ref(x->client->signer_cert);
		x->signer_cert = x->client->signer_cert;
	} else {
		x->signer = key && EVP_PKEY_get_base_id(signer_get_key(key)) == EVP_PKEY_RSA ? signer_ref(key) : signer_generate_rsa(RSA_BITS, error);
		x->signer_cert = x->signer ? self_sign(x, error) : NULL;
	}
	x->signer_der = x->signer_cert ? cert_format_der(x->signer_cert) : NULL;
	return x->signer_der != NULL;
}

/* ---- messages ---- */

/* CONTENT as a pkiMessage, with a nonce of its own; transfer full. */
static GBytes *make_message(struct exchange *x, enum scep_message_type type, GBytes *content, GError **error)
{
	gsize len;
	const void *data = g_bytes_get_data(content, &len);
	g_autoptr(GBytes) enveloped = cms_make_enveloped(x->ca.recipient, NULL, x->cipher_nid, data, len, x->client->random, error);
	g_autoptr(GPtrArray) attributes = NULL;

	if (!enveloped)
		return NULL;
	pom_random_fill(x->client->random, x->nonce, sizeof(x->nonce));
	attributes = scep_request_attributes(type, x->transaction, x->nonce);
	/* At CertPoll too: a CA that finds the request again by its key decides on it as if it had come anew. */
	if (x->attribute_challenge)
		g_ptr_array_add(attributes, scep_challenge_attribute(x->attribute_challenge));
	data = g_bytes_get_data(enveloped, &len);
	return cms_make_signed(x->signer, x->signer_cert, data, len, true, x->digest_nid, pom_clock_now_ms(x->client->clock) / 1000, (GBytes *const *)attributes->pdata, attributes->len,
	                       &x->signer_der, 1, error);
}

static bool send(struct exchange *x, GBytes *message, struct outbound_reply *ret, GError **error)
{
	static const char *const headers[] = {"Content-Type: application/x-pki-message", NULL};
	struct outbound_request request = {.method = x->by_post ? "POST" : "GET"};
	g_autofree char *base64 = NULL, *url = NULL;
	gsize len;
	const guchar *data = g_bytes_get_data(message, &len);

	if (x->by_post) {
		request.body = message;
		request.headers = headers;
		url = g_strdup_printf("%s%soperation=PKIOperation", x->client->url, strchr(x->client->url, '?') ? "&" : "?");
	} else {
		base64 = g_base64_encode(data, len);
		url = scep_client_url(x->client, "PKIOperation", base64);
	}
	request.url = url;
	if (!scep_client_call(x->client, "PKIOperation", &request, ret, error))
		return false;
	return ret->status == 200 || pom_fail(error, POM_ERR_SCEP_OUTSIDE, "PKIOperation was answered with HTTP %d: the CA's own log says why", ret->status);
}

/* ---- answers ---- */

static bool check_reply(struct exchange *x, const struct scep_reply *reply, GError **error)
{
	gsize len = 0;
	const void *nonce = reply->recipient_nonce ? g_bytes_get_data(reply->recipient_nonce, &len) : NULL;
	GError *inner = NULL;

	if (!scep_client_may_sign(&x->ca, reply->signer))
		return pom_fail(error, POM_ERR_SCEP_OUTSIDE_REPLY, "the answer is signed with a certificate that GetCACert did not give for that (RFC 8894 §3.3.2)");
	if (!scep_client_leads(x->client, &x->ca, reply->signer, NULL, &inner))
		return scep_client_fail_reply(error, "the answer's signer", inner);
	if (strcmp(reply->transaction_id, x->transaction))
		return pom_fail(error, POM_ERR_SCEP_OUTSIDE_REPLY, "the answer has another transactionID (RFC 8894 §3.2.1.1)");
	if (len != sizeof(x->nonce) || memcmp(nonce, x->nonce, len))
		return pom_fail(error, POM_ERR_SCEP_OUTSIDE_REPLY, "the answer's recipientNonce is not the nonce of our message: it may be an old answer (RFC 8894 §3.2.1.5)");
	return true;
}

static bool fail_refused(const struct scep_reply *reply, GError **error)
{
	static const char *const names[] = {"badAlg", "badMessageCheck", "badRequest", "badTime", "badCertId"};

	return pom_fail(error, POM_ERR_SCEP_OUTSIDE_REFUSED, "the outside CA refused the request: %s%s%.200s", names[reply->fail_info], reply->fail_info_text ? ", " : "",
	                reply->fail_info_text ? reply->fail_info_text : "");
}

/* One message and its answer, checked. NULL with an error. */
static struct scep_reply *ask(struct exchange *x, enum scep_message_type type, GBytes *content, GError **error)
{
	g_autoptr(GBytes) message = make_message(x, type, content, error);
	g_autoptr(scep_reply) reply = NULL;
	g_auto(outbound_reply) http = {0};
	GError *inner = NULL;
	const void *body;
	gsize len;

	if (!message || !send(x, message, &http, error))
		return NULL;
	body = scep_client_body(&http, &len);
	reply = scep_reply_parse(body, len, &inner);
	if (!reply) {
		g_autofree char *what = g_strdup_printf("the answer (%.80s)", http.content_type ? http.content_type : "without a media type");

		scep_client_fail_reply(error, what, inner);
		return NULL;
	}
	if (!check_reply(x, reply, error) || (reply->status == SCEP_FAILURE && !fail_refused(reply, error)))
		return NULL;
	return g_steal_pointer(&reply);
}

/* Asks again while the CA's people decide. The last answer, or NULL. */
static struct scep_reply *await_decision(struct exchange *x, struct scep_reply *first, GError **error)
{
	g_autoptr(scep_reply) reply = first;
	g_autoptr(cert_info) issuer = cert_info_new(x->ca.issuer, error);
	g_autoptr(GBytes) content = issuer ? scep_issuer_and_subject_format(issuer->subject_der, x->csr->subject_der) : NULL;

	if (!content)
		return NULL;
	for (unsigned i = 0; reply && reply->status == SCEP_PENDING && i < x->client->n_polls; i++) {
		if (!x->client->wait(x->client->wait_ctx, x->client->poll_ms))
			break;
		scep_reply_free(g_steal_pointer(&reply));
		reply = ask(x, SCEP_CERT_POLL, content, error);
	}
	if (!reply || reply->status == SCEP_SUCCESS)
		return g_steal_pointer(&reply);
	pom_fail(error, POM_ERR_SCEP_OUTSIDE_PENDING, "the outside CA has not decided yet (transaction %s): approve the request there, then ask again", x->transaction);
	return NULL;
}

/* ---- the certificate ---- */

/* The certificates in a success, X509; transfer full. */
static GPtrArray *open_certificates(struct exchange *x, const struct scep_reply *reply, GError **error)
{
	g_autoptr(cms_enveloped) enveloped = cms_enveloped_parse(g_bytes_get_data(reply->enveloped, NULL), g_bytes_get_size(reply->enveloped), SCEP_MESSAGE_MAX, error);
	g_autoptr(GPtrArray) certs = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free), ders = NULL;
	g_autoptr(GBytes) content = NULL;

	if (!enveloped)
		return NULL;
	if (enveloped->cipher_nid == NID_des_cbc && !x->client->legacy_des) {
		pom_fail(error, POM_ERR_CMS_ALGORITHM, "it is enciphered with single DES, which RFC 8894 §2.9 forbids: the setting for old CAs allows it");
		return NULL;
	}
	content = cms_open_enveloped(x->signer, x->signer_cert, enveloped, x->client->random, error);
	ders = content ? cms_certs_only_parse(g_bytes_get_data(content, NULL), g_bytes_get_size(content), error) : NULL;
	for (guint i = 0; ders && i < ders->len; i++) {
		X509 *cert = cert_parse_der(g_bytes_get_data(ders->pdata[i], NULL), g_bytes_get_size(ders->pdata[i]), error);

		if (!cert)
			return NULL;
		g_ptr_array_add(certs, cert);
	}
	return ders ? g_steal_pointer(&certs) : NULL;
}

/* The one certificate with the request's key; borrowed. */
static X509 *find_ours(const struct exchange *x, const GPtrArray *certs, GError **error)
{
	X509 *ours = NULL;
	unsigned n = 0;

	for (guint i = 0; i < certs->len; i++) {
		g_autoptr(cert_info) info = cert_info_new(certs->pdata[i], NULL);

		if (info && g_bytes_equal(info->spki, x->csr->spki)) {
			ours = certs->pdata[i];
			n++;
		}
	}
	if (n == 1)
		return ours;
	pom_fail(error, POM_ERR_SCEP_OUTSIDE_REPLY, "%u of the %u certificates in the answer have the key of the request; it must be one", n, certs->len);
	return NULL;
}

/* The one among CERTS that has issued CERT, and is another; borrowed. */
static X509 *find_issuer(const GPtrArray *certs, X509 *cert)
{
	for (guint i = 0; i < certs->len; i++)
		if (X509_cmp(certs->pdata[i], cert) && cert_is_issued_by(cert, certs->pdata[i]))
			return certs->pdata[i];
	return NULL;
}

/* From the issuer of CERT upwards, as far as the CA's certificates and EXTRA go; DER, transfer full. */
static GPtrArray *make_chain(const struct exchange *x, X509 *cert, const GPtrArray *extra)
{
	GPtrArray *chain = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	guint n_all = x->ca.certs->len + extra->len;

	while (chain->len < n_all && X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(cert))) {
		X509 *issuer = find_issuer(x->ca.certs, cert);

		issuer = issuer ? issuer : find_issuer(extra, cert);
		if (!issuer)
			break;
		g_ptr_array_add(chain, cert_format_der(issuer));
		cert = issuer;
	}
	return chain;
}

static bool take_certificate(struct exchange *x, const struct scep_reply *reply, struct scep_client_result *ret, GError **error)
{
	GError *inner = NULL;
	g_autoptr(GPtrArray) certs = open_certificates(x, reply, &inner);
	X509 *ours;

	if (!certs)
		return scep_client_fail_reply(error, "the certificate cannot be taken from the answer", inner);
	ours = find_ours(x, certs, error);
	if (!ours)
		return false;
	if (!scep_client_leads(x->client, &x->ca, ours, certs, &inner))
		return scep_client_fail_reply(error, "the issued certificate", inner);
	*ret = (struct scep_client_result){cert_format_der(ours), make_chain(x, ours, certs)};
	return true;
}

/* ---- the whole ---- */

/* The same request has the same transactionID: what was lost on its way can be asked for again. */
static char *make_transaction(GBytes *csr)
{
	uint8_t digest[CERT_DIGEST_LEN];
	g_autofree char *hex = NULL;

	cert_sha256(g_bytes_get_data(csr, NULL), g_bytes_get_size(csr), digest);
	hex = hex_format(digest, TRANSACTION_BYTES);
	return g_ascii_strup(hex, -1);
}

static bool begin(struct exchange *x, struct signer *key, GError **error)
{
	x->csr = csr_parse(g_bytes_get_data(x->csr_der, NULL), g_bytes_get_size(x->csr_der), error);
	if (!x->csr)
		return false;
	if (key && !is_key_of(key, x->csr))
		return pom_fail(error, POM_ERR_KEY_MISMATCH, "the key is not that of the request");
	x->transaction = make_transaction(x->csr_der);
	if (!scep_client_get_ca(x->client, &x->ca, error) || !choose_signer(x, key, error))
		return false;
	choose_algorithms(x);
	return true;
}

/* Whether the request holds what the CA wants to read: with OURS (its key) we have put it there; what somebody else's request holds is for whoever
 * passes it on, unless it is the very challenge that the CA knows. */
static bool has_challenge(const struct exchange *x, bool ours)
{
	return x->csr->challenge && (ours || !g_strcmp0(x->csr->challenge, x->client->challenge));
}

/* A challenge beside the request travels in the clear, so only where nobody else listens. */
static bool add_challenge(struct exchange *x, bool ours, GBytes **ret, GError **error)
{
	if (has_challenge(x, ours) || (!x->client->challenge && !x->client->challenge_url))
		return true;
	if (!outbound_is_private(x->client->url))
		return pom_fail(error, POM_ERR_CONFIG, "the request does not hold the outside CA's challenge, and over plain http it cannot be sent beside it: reach the outside CA by https");
	if (!scep_client_challenge(x->client, ret, error))
		return false;
	x->attribute_challenge = g_bytes_get_data(*ret, NULL);
	return true;
}

bool scep_client_enroll(const struct scep_client *client, struct signer *key, GBytes *csr, struct scep_client_result *ret, GError **error)
{
	g_auto(exchange) x = {.client = client, .csr_der = csr};
	g_autoptr(GBytes) challenge = NULL;
	g_autoptr(scep_reply) reply = NULL;

	if (!begin(&x, key, error) || !add_challenge(&x, key != NULL, &challenge, error))
		return false;
	reply = ask(&x, client->renewal && x.ca.caps.renewal ? SCEP_RENEWAL_REQ : SCEP_PKCS_REQ, csr, error);
	if (reply && reply->status == SCEP_PENDING)
		reply = await_decision(&x, g_steal_pointer(&reply), error);
	return reply && take_certificate(&x, reply, ret, error);
}

bool scep_client_request(const struct scep_client *client, struct signer *key, GBytes *subject_der, const struct csr_wish *wish, struct scep_client_result *ret, GError **error)
{
	g_autoptr(GBytes) challenge = NULL, csr = NULL;

	if (!scep_client_challenge(client, &challenge, error))
		return false;
	csr = csr_make(key, subject_der, challenge ? g_bytes_get_data(challenge, NULL) : NULL, wish, error);
	return csr && scep_client_enroll(client, key, csr, ret, error);
}
