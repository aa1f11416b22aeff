/* What an outside CA says of itself, and which of its certificates are for what. */
#include <openssl/x509v3.h>
#include <string.h>

#include "codec/ndes.h"
#include "service/scep_client_internal.h"

enum { RESPONSE_MAX = 256 * 1024, CERTS_MAX = 8, CLOCK_DIFFERS_S = 300 };

void scep_client_ca_clear(struct scep_client_ca *ca)
{
	g_clear_pointer(&ca->anchors, g_ptr_array_unref);
	g_clear_pointer(&ca->certs, g_ptr_array_unref);
	ca->issuer = ca->recipient = NULL;
}

/* Whether KEY is RSA and that of CERT. */
static bool fits(struct signer *key, X509 *cert)
{
	g_autoptr(GBytes) spki = cert_spki_format(signer_get_key(key));
	g_autoptr(cert_info) info = cert_info_new(cert, NULL);

	return info && info->key_type == EVP_PKEY_RSA && g_bytes_equal(info->spki, spki);
}

bool scep_client_check(const struct scep_client *client, GError **error)
{
	if (!outbound_check_url(client->url, true, error) || (client->challenge_url && !outbound_check_url(client->challenge_url, false, error)))
		return false;
	if (!client->ca_sha256 && !outbound_is_private(client->url))
		return pom_fail(error, POM_ERR_CONFIG, "the outside CA is asked over plain http: give the SHA-256 of its certificate, or anybody on the way can put his own in its place");
	if (client->challenge && client->challenge_url)
		return pom_fail(error, POM_ERR_CONFIG, "the outside CA has a challenge and a challenge page: give one of them");
	if (client->timeout_ms < 1 || client->timeout_ms > SCEP_CLIENT_TIMEOUT_MAX_MS)
		return pom_fail(error, POM_ERR_CONFIG, "the time-out of the outside CA must be 1 to %d milliseconds", SCEP_CLIENT_TIMEOUT_MAX_MS);
	if (client->n_polls > SCEP_CLIENT_POLLS_MAX || (client->n_polls && !client->wait))
		return pom_fail(error, POM_ERR_CONFIG, "the outside CA can be asked again 0 to %d times", SCEP_CLIENT_POLLS_MAX);
	if (!client->signer != !client->signer_cert || (client->renewal && !client->signer))
		return pom_fail(error, POM_ERR_CONFIG, "a signing certificate and its key go together, and a renewal needs both");
	if (client->signer && !fits(client->signer, client->signer_cert))
		return pom_fail(error, POM_ERR_CONFIG, "the key that signs for the outside CA must be RSA and that of its certificate: the answer is encrypted to it (RFC 8894 §3.1)");
	return true;
}

bool scep_client_fail_reply(GError **error, const char *what, GError *inner)
{
	pom_fail(error, POM_ERR_SCEP_OUTSIDE_REPLY, "%s: %s", what, inner->message);
	g_error_free(inner);
	return false;
}

char *scep_client_url(const struct scep_client *client, const char *operation, const char *message)
{
	g_autofree char *escaped = g_uri_escape_string(message ? message : "", NULL, FALSE);

	return g_strdup_printf("%s%soperation=%s&message=%s", client->url, strchr(client->url, '?') ? "&" : "?", operation, escaped);
}

bool scep_client_call(const struct scep_client *client, const char *operation, struct outbound_request *request, struct outbound_reply *ret, GError **error)
{
	g_autoptr(GError) inner = NULL;

	request->ca_file = client->ca_file;
	request->timeout_ms = client->timeout_ms;
	request->response_max = RESPONSE_MAX;
	if (client->outbound->call(client->outbound->ctx, request, ret, &inner))
		return true;
	return pom_fail(error, POM_ERR_SCEP_OUTSIDE, "%s: %s", operation, inner->message);
}

const void *scep_client_body(const struct outbound_reply *reply, gsize *ret_len)
{
	const void *data = g_bytes_get_data(reply->body, ret_len);

	return data ? data : "";
}

static bool get(const struct scep_client *client, const char *operation, struct outbound_reply *ret, GError **error)
{
	g_autofree char *url = scep_client_url(client, operation, client->identifier);
	struct outbound_request request = {.method = "GET", .url = url};

	return scep_client_call(client, operation, &request, ret, error);
}

/* A CA without GetCACaps has none (RFC 8894 §3.5.1); one that cannot be reached is found out by GetCACert. */
static struct scep_caps get_caps(const struct scep_client *client)
{
	g_auto(outbound_reply) reply = {0};
	const void *body;
	gsize len;

	if (!get(client, "GetCACaps", &reply, NULL) || reply.status != 200)
		return (struct scep_caps){0};
	body = scep_client_body(&reply, &len);
	return scep_caps_parse(body, len);
}

static bool get_certs(const struct scep_client *client, GPtrArray **ret, GError **error)
{
	g_auto(outbound_reply) reply = {0};
	GError *inner = NULL;
	const void *body;
	gsize len;

	if (!get(client, "GetCACert", &reply, error))
		return false;
	if (reply.status != 200)
		return pom_fail(error, POM_ERR_SCEP_OUTSIDE, "GetCACert was answered with HTTP %d: is the URL that of a SCEP server?", reply.status);
	body = scep_client_body(&reply, &len);
	*ret = scep_ca_certs_parse(reply.content_type, body, len, &inner);
	if (!*ret)
		return scep_client_fail_reply(error, "GetCACert", inner);
	return (*ret)->len <= CERTS_MAX || pom_fail(error, POM_ERR_SCEP_OUTSIDE_REPLY, "GetCACert gave %u certificates, at most %d are accepted", (*ret)->len, CERTS_MAX);
}

static bool is_ca(X509 *cert)
{
	return X509_check_ca(cert) > 0;
}

static bool is_self_issued(X509 *cert)
{
	return !X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(cert));
}

static bool has_usage(X509 *cert, uint32_t usage)
{
	return X509_get_key_usage(cert) & usage; /* all bits are set when there is no extension */
}

/* The certificate of CERTS that has issued CERT and is another; borrowed, NULL when there is none. */
static X509 *find_issuer(const GPtrArray *certs, X509 *cert)
{
	for (guint i = 0; i < certs->len; i++) {
		X509 *other = g_ptr_array_index(certs, i);

		if (X509_cmp(other, cert) && is_ca(other) && cert_is_issued_by(cert, other))
			return other;
	}
	return NULL;
}

static bool has_issued(const GPtrArray *certs, X509 *issuer)
{
	for (guint i = 0; i < certs->len; i++)
		if (is_ca(certs->pdata[i]) && find_issuer(certs, certs->pdata[i]) == issuer)
			return true;
	return false;
}

/* The CA that issues: the one behind the RA, else the one that has issued no other CA here. */
static X509 *choose_issuer(const GPtrArray *certs)
{
	for (guint i = 0; i < certs->len; i++) {
		X509 *issuer = is_ca(certs->pdata[i]) ? NULL : find_issuer(certs, certs->pdata[i]);

		if (issuer)
			return issuer;
	}
	for (guint i = 0; i < certs->len; i++)
		if (is_ca(certs->pdata[i]) && !has_issued(certs, certs->pdata[i]))
			return certs->pdata[i];
	return NULL;
}

static bool can_receive(X509 *cert)
{
	EVP_PKEY *key = X509_get0_pubkey(cert);

	return key && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA;
}

/* Whom requests are encrypted to (RFC 8894 §2.1.2): an RA for that, else the issuing CA, though its certificate may not allow it: old servers'
 * do not. */
static X509 *choose_recipient(const struct scep_client_ca *ca)
{
	for (guint i = 0; i < ca->certs->len; i++) {
		X509 *cert = ca->certs->pdata[i];

		if (!is_ca(cert) && can_receive(cert) && has_usage(cert, KU_KEY_ENCIPHERMENT))
			return cert;
	}
	return can_receive(ca->issuer) ? ca->issuer : NULL;
}

bool scep_client_may_sign(const struct scep_client_ca *ca, X509 *cert)
{
	bool any = false;

	for (guint i = 0; i < ca->certs->len; i++) {
		X509 *other = ca->certs->pdata[i];
		bool may = has_usage(other, KU_DIGITAL_SIGNATURE);

		if (may && !X509_cmp(other, cert))
			return true;
		any |= may;
	}
	/* Where none of them may, as with old servers, it is the issuing CA. */
	return !any && !X509_cmp(ca->issuer, cert);
}

/* The pinned certificate, else the highest CAs. */
static bool choose_anchors(const struct scep_client *client, struct scep_client_ca *ca, GError **error)
{
	ca->anchors = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);
	for (guint i = 0; i < ca->certs->len; i++) {
		X509 *cert = ca->certs->pdata[i];
		g_autoptr(GBytes) der = cert_format_der(cert);
		uint8_t sha256[CERT_DIGEST_LEN];

		cert_sha256(g_bytes_get_data(der, NULL), g_bytes_get_size(der), sha256);
		if (is_ca(cert) && (client->ca_sha256 ? !memcmp(sha256, client->ca_sha256, sizeof(sha256)) : is_self_issued(cert) || !find_issuer(ca->certs, cert))) {
			X509_up_ref(cert);
			g_ptr_array_add(ca->anchors, cert);
		}
	}
	if (ca->anchors->len)
		return true;
	return pom_fail(error, POM_ERR_SCEP_OUTSIDE_REPLY, "GetCACert gave no CA certificate with the SHA-256 that is set: the CA has another certificate now, or somebody stands between");
}

bool scep_client_leads(const struct scep_client *client, const struct scep_client_ca *ca, X509 *cert, const GPtrArray *extra, GError **error)
{
	g_autoptr(GPtrArray) between = g_ptr_array_new();
	g_autoptr(cert_info) info = cert_info_new(cert, error);
	int64_t now_s = pom_clock_now_ms(client->clock) / 1000;

	if (!info)
		return false;
	for (guint i = 0; i < ca->certs->len; i++)
		g_ptr_array_add(between, ca->certs->pdata[i]);
	for (guint i = 0; extra && i < extra->len; i++)
		g_ptr_array_add(between, extra->pdata[i]);
	if (info->not_before > now_s && info->not_before <= now_s + CLOCK_DIFFERS_S)
		now_s = info->not_before;
	return cert_chain_verify(cert, (X509 *const *)between->pdata, between->len, (X509 *const *)ca->anchors->pdata, ca->anchors->len, now_s, false, error);
}

/* The certificates that lead to an anchor; borrowed, transfer full the array. *RET_WHY is why the first of the others does not. */
static GPtrArray *find_trusted(const struct scep_client *client, const struct scep_client_ca *ca, GError **ret_why)
{
	GPtrArray *trusted = g_ptr_array_new();

	for (guint i = 0; i < ca->certs->len; i++)
		if (scep_client_leads(client, ca, ca->certs->pdata[i], NULL, *ret_why ? NULL : ret_why))
			g_ptr_array_add(trusted, ca->certs->pdata[i]);
	return trusted;
}

static bool choose(const struct scep_client *client, struct scep_client_ca *ca, GError **error)
{
	g_autoptr(GPtrArray) trusted = NULL;
	g_autoptr(GError) why = NULL;
	GError *inner = NULL;

	if (!choose_issuer(ca->certs))
		return pom_fail(error, POM_ERR_SCEP_OUTSIDE_REPLY, "GetCACert gave no certificate of a CA");
	if (!choose_anchors(client, ca, error))
		return false;
	trusted = find_trusted(client, ca, &why);
	ca->issuer = choose_issuer(trusted);
	if (!ca->issuer)
		return pom_fail(error, POM_ERR_SCEP_OUTSIDE_REPLY, "GetCACert: %s", why->message);
	ca->recipient = choose_recipient(ca);
	if (!ca->recipient)
		return pom_fail(error, POM_ERR_SCEP_OUTSIDE_REPLY, "GetCACert gave no certificate with an RSA key that a request could be encrypted to (RFC 8894 §2.1.2)");
	return scep_client_leads(client, ca, ca->recipient, NULL, &inner) || scep_client_fail_reply(error, "GetCACert", inner);
}

bool scep_client_get_ca(const struct scep_client *client, struct scep_client_ca *ret, GError **error)
{
	g_auto(scep_client_ca) ca = {0};

	if (!scep_client_check(client, error))
		return false;
	ca.caps = get_caps(client);
	if (!get_certs(client, &ca.certs, error) || !choose(client, &ca, error))
		return false;
	*ret = ca;
	ca = (struct scep_client_ca){0};
	return true;
}

/* ---- challenges ---- */

/* TEXT with its NUL, in memory that is wiped. */
static GBytes *secret_text(const char *text)
{
	return secret_bytes_new(text, strlen(text) + 1);
}

/* The password of the page; its bytes are wiped. */
static bool read_page(struct outbound_reply *reply, GBytes **ret, GError **error)
{
	gsize len;
	char *page = g_bytes_unref_to_data(g_steal_pointer(&reply->body), &len);
	char *password = ndes_challenge_parse(page, len, error);

	explicit_bzero(page, len);
	g_free(page);
	if (!password)
		return false;
	*ret = secret_text(password);
	explicit_bzero(password, strlen(password));
	g_free(password);
	return true;
}

static bool fetch_challenge(const struct scep_client *client, GBytes **ret, GError **error)
{
	struct outbound_request request = {.method = "GET", .url = client->challenge_url, .user = client->challenge_user, .password = client->challenge_password};
	g_auto(outbound_reply) reply = {0};

	if (!scep_client_call(client, "the challenge page", &request, &reply, error))
		return false;
	if (reply.status == 401)
		return pom_fail(error, POM_ERR_SCEP_OUTSIDE, "the challenge page refused the user name and password (HTTP 401)");
	if (reply.status != 200)
		return pom_fail(error, POM_ERR_SCEP_OUTSIDE, "the challenge page answered HTTP %d", reply.status);
	return read_page(&reply, ret, error);
}

bool scep_client_challenge(const struct scep_client *client, GBytes **ret, GError **error)
{
	if (!scep_client_check(client, error))
		return false;
	if (client->challenge_url)
		return fetch_challenge(client, ret, error);
	*ret = client->challenge ? secret_text(client->challenge) : NULL;
	return true;
}
