/* The client against a CA that the test plays, over a face instead of sockets. */
#include "service/scep_client.h"

#include <openssl/x509v3.h>
#include <string.h>

#define DATA(bytes) g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes)
#define URL "https://ca.example.org/scep"
#define PAGE "https://ca.example.org/certsrv/mscep_admin/"
#define DAY_S ((int64_t)86400)

static int64_t now = 1800000000000;
static const struct pom_clock test_clock = {pom_clock_fixed_now_ms, &now};

/* ---- certificates ---- */

struct identity {
	struct signer *key;
	X509 *cert;
	GBytes *der;
};

static void identity_clear(struct identity *identity)
{
	signer_unref(identity->key);
	X509_free(identity->cert);
	g_clear_pointer(&identity->der, g_bytes_unref);
}

/* A certificate for KEY (or SPKI) by ISSUER (NULL: by itself), valid from FROM to TO, seconds from now. */
static X509 *make_cert(enum cert_purpose purpose, const char *cn, long serial, GBytes *spki, const struct identity *issuer, struct signer *signer, int64_t from, int64_t to)
{
	g_autoptr(GBytes) name = cert_name_format(NULL, "CN", cn, NULL);
	struct cert_plan plan = {.purpose = purpose, .serial = {1, (uint8_t)serial}, .serial_len = 2, .subject_der = name, .spki = spki, .not_before = now / 1000 + from, .not_after = now / 1000 + to};
	g_autoptr(X509) cert = cert_build(&plan, issuer ? issuer->cert : NULL, NULL);

	g_assert_true(cert && signer_sign_cert(issuer ? issuer->key : signer, cert, NULL));
	return g_steal_pointer(&cert);
}

static struct identity make_identity(enum cert_purpose purpose, const char *cn, long serial, const struct identity *issuer)
{
	struct identity identity = {.key = signer_generate_rsa(2048, NULL)};
	g_autoptr(GBytes) spki = cert_spki_format(signer_get_key(identity.key));
	g_autoptr(X509) cert = make_cert(purpose, cn, serial, spki, issuer, identity.key, -DAY_S, 1000 * DAY_S);

	identity.der = cert_format_der(cert);
	identity.cert = cert_parse_der(DATA(identity.der), NULL);
	return identity;
}

/* Made once: keys are slow. */
static struct identity root, issuing, ra, other_root, other;
static struct signer *device;

static void make_all(void)
{
	root = make_identity(CERT_ROOT_CA, "Root", 1, NULL);
	issuing = make_identity(CERT_ISSUING_CA, "Issuing", 2, &root);
	ra = make_identity(CERT_RA, "RA", 3, &issuing);
	other_root = make_identity(CERT_ROOT_CA, "Root", 1, NULL); /* same name and serial number, another key */
	other = make_identity(CERT_ISSUING_CA, "Issuing", 2, &other_root);
	device = signer_generate_rsa(2048, NULL);
}

static void free_all(void)
{
	struct identity *const all[] = {&root, &issuing, &ra, &other_root, &other};

	for (size_t i = 0; i < G_N_ELEMENTS(all); i++)
		identity_clear(all[i]);
	signer_unref(device);
}

/* ---- the CA ---- */

enum fault {
	NONE, UNREACHABLE, HTTP_500, PAGE_OF_HTML, EMPTY, OTHER_SIGNER, SAME_NAME_SIGNER, ROOT_SIGNER, ISSUED_SIGNER, BAD_SIGNATURE, OTHER_TRANSACTION, OTHER_NONCE, NO_NONCE, SHORT_NONCE, LONG_NONCE,
	NO_CERTIFICATE, OTHER_KEY, TWO_OF_OURS, OTHER_ISSUER, EXPIRED, NOT_YET, SOON, OTHER_RECIPIENT, BAD_CONTENT, FAILURE, FAILURE_SILENT, EXTRA_CHAIN, LEAF_ONLY_ROOT_KNOWN,
};

struct fake {
	const char *caps;        /* NULL: HTTP 404 */
	bool caps_unreachable;
	const struct identity *ca_certs[3]; /* GetCACert: one as a certificate, more as p7 */
	const char *ca_type;     /* NULL: as it must be */
	int ca_status;           /* 0: 200 */
	const struct identity *recipient, *signer;
	enum fault fault;
	int reply_cipher;        /* 0: the request's */
	unsigned n_pending;      /* so many PENDING first */
	const char *page;        /* of challenges */
	int page_status;
	/* What was seen. */
	unsigned n_caps, n_ca, n_messages, n_pages;
	bool by_post;
	int cipher_nid, digest_nid;
	int types[8];
	char *transactions[8];
	GBytes *nonces[8], *signer_der;
	char *challenge, *attribute_challenge, *identifier, *page_user, *page_password;
	GBytes *spki;
};

static void fake_clear(struct fake *fake)
{
	for (size_t i = 0; i < G_N_ELEMENTS(fake->types); i++) {
		g_free(fake->transactions[i]);
		g_clear_pointer(&fake->nonces[i], g_bytes_unref);
	}
	g_clear_pointer(&fake->signer_der, g_bytes_unref);
	g_clear_pointer(&fake->spki, g_bytes_unref);
	g_free(fake->challenge);
	g_free(fake->attribute_challenge);
	g_free(fake->identifier);
	g_free(fake->page_user);
	g_free(fake->page_password);
}

static struct outbound_reply answer(int status, const char *type, const void *data, size_t len)
{
	return (struct outbound_reply){status, g_bytes_new(data, len), g_strdup(type)};
}

static struct outbound_reply answer_ca(struct fake *fake)
{
	GBytes *ders[3];
	size_t n = 0;

	fake->n_ca++;
	while (n < 3 && fake->ca_certs[n]) {
		ders[n] = fake->ca_certs[n]->der;
		n++;
	}
	if (fake->ca_status)
		return answer(fake->ca_status, "text/plain", "no", 2);
	if (n == 1)
		return answer(200, fake->ca_type ? fake->ca_type : "application/x-x509-ca-cert", DATA(ders[0]));
	g_autoptr(GBytes) p7 = cms_certs_only_format(ders, n, NULL);
	return answer(200, fake->ca_type ? fake->ca_type : "application/x-x509-ca-ra-cert", DATA(p7));
}

/* The certificates of a success for SPKI, as the fault wants them. */
static GBytes *issue(const struct fake *fake, GBytes *spki)
{
	const struct identity *issuer = fake->fault == OTHER_ISSUER ? &other : &issuing;
	int64_t from = fake->fault == EXPIRED ? -10 * DAY_S : fake->fault == NOT_YET ? 400 : fake->fault == SOON ? 200 : -3600, to = fake->fault == EXPIRED ? -1 : DAY_S;
	g_autoptr(GBytes) others_spki = cert_spki_format(signer_get_key(other.key)), first_der = NULL, second_der = NULL;
	g_autoptr(X509) first = make_cert(CERT_DEVICE, "Device", 7, fake->fault == OTHER_KEY ? others_spki : spki, issuer, NULL, from, to),
	                second = make_cert(CERT_DEVICE, "Device", 8, spki, issuer, NULL, from, to);

	first_der = cert_format_der(first);
	second_der = cert_format_der(second);
	if (fake->fault == NO_CERTIFICATE)
		return cms_certs_only_format(NULL, 0, NULL);
	if (fake->fault == TWO_OF_OURS)
		return cms_certs_only_format((GBytes *const[]){first_der, second_der}, 2, NULL);
	if (fake->fault == EXTRA_CHAIN)
		return cms_certs_only_format((GBytes *const[]){issuing.der, first_der, root.der}, 3, NULL);
	if (fake->fault == BAD_CONTENT)
		return g_bytes_new_static("not a p7", 8);
	return cms_certs_only_format(&first_der, 1, NULL);
}

static const struct identity *reply_signer(const struct fake *fake, struct identity *made)
{
	switch ((int)fake->fault) {
	case OTHER_SIGNER:
		return &other_root;
	case SAME_NAME_SIGNER:
		return &other;
	case ROOT_SIGNER:
		return &root;
	case ISSUED_SIGNER:
		/* One that the CA has issued, but which GetCACert does not give. */
		*made = make_identity(CERT_RA, "Another RA", 9, &issuing);
		return made;
	default:
		return fake->signer;
	}
}

/* What the answer will have for recipientNonce. */
static void change_nonce(enum fault fault, struct scep_request *request)
{
	uint8_t nonce[17] = {0};

	memcpy(nonce, g_bytes_get_data(request->sender_nonce, NULL), 16);
	if (fault != OTHER_NONCE && fault != NO_NONCE && fault != SHORT_NONCE && fault != LONG_NONCE)
		return;
	g_clear_pointer(&request->sender_nonce, g_bytes_unref);
	if (fault == OTHER_NONCE)
		nonce[15] ^= 1;
	if (fault != NO_NONCE)
		request->sender_nonce = g_bytes_new(nonce, fault == SHORT_NONCE ? 15 : fault == LONG_NONCE ? 17 : 16);
}

/* A CertRep to REQUEST. */
static GBytes *reply_to(struct fake *fake, struct scep_request *request, const struct cms_enveloped *enveloped, GBytes *spki)
{
	static const uint8_t nonce[16] = {1};
	enum scep_status status = fake->n_messages <= fake->n_pending ? SCEP_PENDING : fake->fault == FAILURE || fake->fault == FAILURE_SILENT ? SCEP_FAILURE : SCEP_SUCCESS;
	struct identity made = {0};
	const struct identity *signer = reply_signer(fake, &made);
	g_autoptr(GBytes) certs = status == SCEP_SUCCESS ? issue(fake, spki) : NULL, content = NULL;
	g_autoptr(GPtrArray) attributes = NULL;
	GBytes *message;

	if (certs) {
		g_autoptr(X509) signer_cert = scep_request_signer(request);
		g_autoptr(GError) error = NULL;

		content = cms_make_enveloped(fake->fault == OTHER_RECIPIENT ? other.cert : signer_cert, g_ptr_array_index(enveloped->recipients, 0),
		                             fake->reply_cipher ? fake->reply_cipher : enveloped->cipher_nid, DATA(certs), pom_random_system(), &error);
		g_assert_no_error(error);
	}
	if (fake->fault == OTHER_TRANSACTION) {
		g_free(request->transaction_id);
		request->transaction_id = g_strdup("other");
	}
	change_nonce(fake->fault, request);
	attributes = scep_reply_attributes(request, status, SCEP_BAD_REQUEST, fake->fault == FAILURE ? "not in the inventory" : NULL, nonce);
	message = cms_make_signed(signer->key, signer->cert, content ? g_bytes_get_data(content, NULL) : NULL, content ? g_bytes_get_size(content) : 0, content != NULL, request->digest_nid,
	                          now / 1000, (GBytes *const *)attributes->pdata, attributes->len, &signer->der, 1, NULL);
	identity_clear(&made);
	return message;
}

static void note_request(struct fake *fake, const struct scep_request *request, const struct cms_enveloped *enveloped)
{
	unsigned i = fake->n_messages++;

	g_assert_cmpuint(i, <, G_N_ELEMENTS(fake->types));
	g_assert_no_error(request->refusal);
	fake->types[i] = request->message_type;
	fake->transactions[i] = g_strdup(request->transaction_id);
	fake->nonces[i] = g_bytes_ref(request->sender_nonce);
	g_assert_cmpuint(g_bytes_get_size(request->sender_nonce), ==, 16);
	g_clear_pointer(&fake->signer_der, g_bytes_unref);
	fake->signer_der = g_bytes_ref(request->signer_der);
	fake->digest_nid = request->digest_nid;
	fake->cipher_nid = enveloped->cipher_nid;
	g_free(fake->attribute_challenge);
	fake->attribute_challenge = g_strdup(request->challenge_attribute);
}

/* What is inside a message: the request's key, or the names of a poll. */
static void note_content(struct fake *fake, int type, GBytes *content)
{
	if (type == SCEP_CERT_POLL) {
		g_autoptr(GBytes) issuer = NULL, subject = NULL, expected = cert_name_format(NULL, "CN", "Issuing", NULL), name = cert_name_format(NULL, "CN", "Device", NULL);

		g_assert_true(scep_issuer_and_subject_parse(DATA(content), &issuer, &subject, NULL));
		g_assert_true(g_bytes_equal(issuer, expected) && g_bytes_equal(subject, name));
		return;
	}
	g_autoptr(csr) csr = csr_parse(DATA(content), NULL);

	g_assert_nonnull(csr);
	g_clear_pointer(&fake->spki, g_bytes_unref);
	fake->spki = g_bytes_ref(csr->spki);
	g_free(fake->challenge);
	fake->challenge = g_strdup(csr->challenge);
}

static bool answer_message(struct fake *fake, GBytes *message, struct outbound_reply *ret, GError **error)
{
	g_autoptr(scep_request) request = scep_request_parse(DATA(message), NULL);
	g_autoptr(cms_enveloped) enveloped = cms_enveloped_parse(DATA(request->enveloped), SCEP_MESSAGE_MAX, NULL);
	g_autoptr(GBytes) content = cms_open_enveloped(fake->recipient->key, fake->recipient->cert, enveloped, pom_random_system(), NULL), reply = NULL;

	g_assert_nonnull(cms_recipient_for(enveloped, fake->recipient->cert));
	g_assert_nonnull(content);
	note_request(fake, request, enveloped);
	note_content(fake, request->message_type, content);
	if (fake->fault == UNREACHABLE)
		return pom_fail(error, POM_ERR_UNREACHABLE, "nobody answers");
	reply = reply_to(fake, request, enveloped, fake->spki);
	*ret = fake->fault == HTTP_500 ? answer(500, "text/plain", "broken", 6) : fake->fault == PAGE_OF_HTML ? answer(200, "text/html", "<html>", 6) :
	       fake->fault == EMPTY ? answer(200, "application/x-pki-message", "", 0) : answer(200, "application/x-pki-message", DATA(reply));
	if (fake->fault == BAD_SIGNATURE) {
		gsize len;
		uint8_t *data = g_bytes_unref_to_data(ret->body, &len);

		data[len - 1] ^= 1;
		ret->body = g_bytes_new_take(data, len);
	}
	return true;
}

static bool answer_page(struct fake *fake, const struct outbound_request *request, struct outbound_reply *ret)
{
	fake->n_pages++;
	g_free(fake->page_user);
	g_free(fake->page_password);
	fake->page_user = g_strdup(request->user);
	fake->page_password = g_strdup(request->password);
	*ret = answer(fake->page_status ? fake->page_status : 200, "text/html", fake->page, strlen(fake->page));
	return true;
}

static bool play(void *ctx, const struct outbound_request *request, struct outbound_reply *ret, GError **error)
{
	struct fake *fake = ctx;
	const char *query = strchr(request->url, '?'), *message = query ? strstr(query, "&message=") : NULL;

	g_assert_true(request->timeout_ms == 7000 && request->response_max > 0 && request->response_max <= 1 << 20);
	if (!strcmp(request->url, PAGE))
		return answer_page(fake, request, ret);
	g_assert_null(request->user);
	g_assert_null(request->password);
	if (strstr(query, "operation=PKIOperation") && request->body) {
		g_assert_cmpstr(request->method, ==, "POST");
		g_assert_null(message);
		fake->by_post = true;
		return answer_message(fake, request->body, ret, error);
	}
	g_assert_cmpstr(request->method, ==, "GET");
	g_assert_nonnull(message);
	if (strstr(query, "operation=PKIOperation")) {
		g_autoptr(GBytes) body = scep_get_message_parse(message + strlen("&message="), strlen(message + strlen("&message=")), NULL);

		fake->by_post = false;
		g_assert_null(strpbrk(message + strlen("&message="), "+/"));
		return answer_message(fake, body, ret, error);
	}
	g_free(fake->identifier);
	fake->identifier = g_strdup(message + strlen("&message="));
	if (strstr(query, "operation=GetCACert")) {
		*ret = answer_ca(fake);
		return true;
	}
	g_assert_nonnull(strstr(query, "operation=GetCACaps"));
	fake->n_caps++;
	if (fake->caps_unreachable)
		return pom_fail(error, POM_ERR_UNREACHABLE, "nobody answers");
	*ret = fake->caps ? answer(200, "text/plain", fake->caps, strlen(fake->caps)) : answer(404, "text/html", "AES", 3);
	return true;
}

#define CAPS "AES\nSHA-256\nPOSTPKIOperation\nRenewal\n"

/* A CA in RA mode without faults. */
static struct fake good(void)
{
	return (struct fake){.caps = CAPS, .ca_certs = {&ra, &issuing, &root}, .recipient = &ra, .signer = &ra};
}

static struct scep_client client_of(const struct outbound *outbound)
{
	return (struct scep_client){.outbound = outbound, .clock = &test_clock, .random = pom_random_system(), .url = URL, .timeout_ms = 7000};
}

static GBytes *make_csr(struct signer *key, const char *challenge)
{
	g_autoptr(GBytes) name = cert_name_format(NULL, "CN", "Device", NULL);
	GBytes *csr = csr_make(key, name, challenge, NULL, NULL);

	g_assert_nonnull(csr);
	return csr;
}

/* Enrolls the device's key; the error, NULL for success. */
static GError *enroll(const struct scep_client *client, struct scep_client_result *result)
{
	g_autoptr(GBytes) csr = make_csr(device, NULL);
	GError *error = NULL;

	g_assert_cmpint(scep_client_enroll(client, device, csr, result, &error), ==, !error);
	g_assert_true((result->certificate != NULL) == !error);
	return error;
}

static void assert_has_key(GBytes *der, struct signer *key)
{
	g_autoptr(X509) cert = cert_parse_der(DATA(der), NULL);

	g_assert_cmpint(EVP_PKEY_eq(X509_get0_pubkey(cert), signer_get_key(key)), ==, 1);
}

/* ---- tests ---- */

static void test_enroll(void)
{
	struct fake fake = good();
	const struct outbound outbound = {play, &fake};
	struct scep_client client = client_of(&outbound);
	g_auto(scep_client_result) result = {0}, again = {0};

	g_assert_no_error(enroll(&client, &result));
	assert_has_key(result.certificate, device);
	g_assert_cmpuint(result.chain->len, ==, 2);
	g_assert_true(g_bytes_equal(result.chain->pdata[0], issuing.der) && g_bytes_equal(result.chain->pdata[1], root.der));
	g_assert_cmpint(fake.types[0], ==, SCEP_PKCS_REQ);
	g_assert_cmpstr(fake.identifier, ==, "");
	/* The throw-away certificate has the request's key and subject. */
	assert_has_key(fake.signer_der, device);
	g_autoptr(X509) signer = cert_parse_der(DATA(fake.signer_der), NULL);
	g_autofree char *cn = cert_subject_cn(signer);
	g_assert_cmpstr(cn, ==, "Device");
	g_assert_true(X509_get_key_usage(signer) & KU_KEY_ENCIPHERMENT && X509_get_key_usage(signer) & KU_DIGITAL_SIGNATURE);
	/* Sent again, it is the same transaction, with another nonce. */
	g_assert_no_error(enroll(&client, &again));
	g_assert_cmpstr(fake.transactions[1], ==, fake.transactions[0]);
	g_assert_cmpuint(strlen(fake.transactions[0]), ==, 40);
	g_assert_false(g_bytes_equal(fake.nonces[0], fake.nonces[1]));
	fake_clear(&fake);
}

static void test_algorithms(void)
{
	static const struct { const char *caps; bool unreachable, legacy_des; int cipher, digest; bool post; } cases[] = {
		{"AES\nSHA-256\nPOSTPKIOperation\n", false, false, NID_aes_128_cbc, NID_sha256, true},
		{"SCEPStandard", false, false, NID_aes_128_cbc, NID_sha256, true},
		{"AES\r\nDES3\r\nSHA-1\r\nSHA-512\r\n", false, false, NID_aes_128_cbc, NID_sha512, false},
		{"aes\nsha-384\nsha-1", false, false, NID_aes_128_cbc, NID_sha384, false},
		{"AES\nSHA-1\n", false, true, NID_aes_128_cbc, NID_sha1, false},
		{"DES3\nSHA-1\nSHA-256\n", false, true, NID_des_ede3_cbc, NID_sha256, false},
		{"POSTPKIOperation\nRenewal\n", false, false, NID_des_ede3_cbc, NID_sha1, true},
		{"", false, false, NID_des_ede3_cbc, NID_sha1, false},
		{NULL, false, false, NID_des_ede3_cbc, NID_sha1, false},
		{NULL, true, false, NID_des_ede3_cbc, NID_sha1, false},
		{"<html>AES</html>", false, false, NID_des_ede3_cbc, NID_sha1, false},
		{"", false, true, NID_des_cbc, NID_sha1, false},
		{"POSTPKIOperation\nSHA-256", false, true, NID_des_cbc, NID_sha256, true},
	};

	g_assert_true(keys_load_legacy(NULL));
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct fake fake = good();
		const struct outbound outbound = {play, &fake};
		struct scep_client client = client_of(&outbound);
		g_auto(scep_client_result) result = {0};

		g_test_message("%s", cases[i].caps ? cases[i].caps : "(none)");
		fake.caps = cases[i].caps;
		fake.caps_unreachable = cases[i].unreachable;
		client.legacy_des = cases[i].legacy_des;
		g_assert_no_error(enroll(&client, &result));
		g_assert_cmpint(fake.cipher_nid, ==, cases[i].cipher);
		g_assert_cmpint(fake.digest_nid, ==, cases[i].digest);
		g_assert_cmpint(fake.by_post, ==, cases[i].post);
		fake_clear(&fake);
	}
}

/* An answer in single DES, to a request in AES: micromdm's server does that. */
static void test_reply_in_des(void)
{
	for (int allowed = 0; allowed < 2; allowed++) {
		struct fake fake = good();
		const struct outbound outbound = {play, &fake};
		struct scep_client client = client_of(&outbound);
		g_auto(scep_client_result) result = {0};
		g_autoptr(GError) error = NULL;

		g_assert_true(keys_load_legacy(NULL));
		fake.reply_cipher = NID_des_cbc;
		client.legacy_des = allowed;
		error = enroll(&client, &result);
		g_assert_cmpint(fake.cipher_nid, ==, NID_aes_128_cbc);
		if (allowed)
			g_assert_no_error(error);
		else
			g_assert_error(error, POM_ERROR, POM_ERR_SCEP_OUTSIDE_REPLY);
		fake_clear(&fake);
	}
}

static void test_faults(void)
{
	static const struct { enum fault fault; const char *name; int code; const char *why; } cases[] = {
		{UNREACHABLE, "not reachable", POM_ERR_SCEP_OUTSIDE, "nobody answers"},
		{HTTP_500, "HTTP 500", POM_ERR_SCEP_OUTSIDE, "HTTP 500"},
		{PAGE_OF_HTML, "a page", POM_ERR_SCEP_OUTSIDE_REPLY, "text/html"},
		{EMPTY, "nothing", POM_ERR_SCEP_OUTSIDE_REPLY, "the answer"},
		{BAD_SIGNATURE, "bad signature", POM_ERR_SCEP_OUTSIDE_REPLY, "the answer"},
		{OTHER_SIGNER, "signer of another CA", POM_ERR_SCEP_OUTSIDE_REPLY, "GetCACert did not give"},
		{SAME_NAME_SIGNER, "signer with the CA's name", POM_ERR_SCEP_OUTSIDE_REPLY, "GetCACert did not give"},
		{ISSUED_SIGNER, "signer by the CA, but unknown", POM_ERR_SCEP_OUTSIDE_REPLY, "GetCACert did not give"},
		{OTHER_TRANSACTION, "another transaction", POM_ERR_SCEP_OUTSIDE_REPLY, "another transactionID"},
		{OTHER_NONCE, "another nonce", POM_ERR_SCEP_OUTSIDE_REPLY, "recipientNonce"},
		{NO_NONCE, "no nonce", POM_ERR_SCEP_OUTSIDE_REPLY, "recipientNonce"},
		{SHORT_NONCE, "the beginning of the nonce", POM_ERR_SCEP_OUTSIDE_REPLY, "recipientNonce"},
		{LONG_NONCE, "a longer nonce", POM_ERR_SCEP_OUTSIDE_REPLY, "recipientNonce"},
		{FAILURE, "refused", POM_ERR_SCEP_OUTSIDE_REFUSED, "badRequest, not in the inventory"},
		{FAILURE_SILENT, "refused without text", POM_ERR_SCEP_OUTSIDE_REFUSED, "badRequest"},
		{NO_CERTIFICATE, "no certificate", POM_ERR_SCEP_OUTSIDE_REPLY, "0 of the 0 certificates"},
		{OTHER_KEY, "another key", POM_ERR_SCEP_OUTSIDE_REPLY, "0 of the 1 certificates"},
		{TWO_OF_OURS, "two of ours", POM_ERR_SCEP_OUTSIDE_REPLY, "2 of the 2 certificates"},
		{OTHER_ISSUER, "issued by another CA", POM_ERR_SCEP_OUTSIDE_REPLY, "the issued certificate"},
		{EXPIRED, "expired", POM_ERR_SCEP_OUTSIDE_REPLY, "the issued certificate"},
		{NOT_YET, "not valid yet", POM_ERR_SCEP_OUTSIDE_REPLY, "the issued certificate"},
		{OTHER_RECIPIENT, "for somebody else", POM_ERR_SCEP_OUTSIDE_REPLY, "cannot be taken"},
		{BAD_CONTENT, "no p7", POM_ERR_SCEP_OUTSIDE_REPLY, "cannot be taken"},
		{SOON, "clock ahead by minutes", 0, NULL},
		{EXTRA_CHAIN, "with its chain", 0, NULL},
		{NONE, "none", 0, NULL},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct fake fake = good();
		const struct outbound outbound = {play, &fake};
		struct scep_client client = client_of(&outbound);
		g_auto(scep_client_result) result = {0};
		g_autoptr(GError) error = NULL;

		g_test_message("%s", cases[i].name);
		fake.fault = cases[i].fault;
		error = enroll(&client, &result);
		if (!cases[i].why) {
			g_assert_no_error(error);
			g_assert_cmpuint(result.chain->len, ==, 2);
		} else {
			g_assert_error(error, POM_ERROR, cases[i].code);
			if (!strstr(error->message, cases[i].why))
				g_error("\"%s\" is not in \"%s\"", cases[i].why, error->message);
		}
		fake_clear(&fake);
	}
}

/* Gives a certificate another keyUsage. */
static void set_usage(struct identity *identity, const char *usage, const struct identity *issuer)
{
	X509_EXTENSION *made = X509V3_EXT_conf_nid(NULL, NULL, NID_key_usage, usage);

	X509_EXTENSION_free(X509_delete_ext(identity->cert, X509_get_ext_by_NID(identity->cert, NID_key_usage, -1)));
	g_assert_true(X509_add_ext(identity->cert, made, -1) && signer_sign_cert(issuer->key, identity->cert, NULL));
	X509_EXTENSION_free(made);
	identity->der = cert_format_der(identity->cert);
	X509_free(identity->cert);
	identity->cert = cert_parse_der(DATA(identity->der), NULL);
}

/* What GetCACert gives: whom we encrypt to, who may sign, what is trusted. */
static void test_ca_forms(void)
{
	g_autoptr(GBytes) ra_spki = cert_spki_format(signer_get_key(ra.key)), issuing_spki = cert_spki_format(signer_get_key(issuing.key)), other_spki = cert_spki_format(signer_get_key(other.key));
	struct identity old_ra = {signer_ref(ra.key), make_cert(CERT_RA, "RA", 3, ra_spki, &issuing, NULL, -10 * DAY_S, -1), NULL};
	struct identity foreign_ra = {signer_ref(ra.key), make_cert(CERT_RA, "RA", 3, ra_spki, &other, NULL, -DAY_S, DAY_S), NULL};
	/* Its key usage lacks keyEncipherment and digitalSignature, as that of old servers. */
	struct identity old_ca = {signer_ref(issuing.key), make_cert(CERT_ISSUING_CA, "Old", 4, issuing_spki, &root, NULL, -DAY_S, DAY_S), NULL};
	/* Its short name puts it first, if a p7 is sorted. */
	struct identity second_ca = {signer_ref(other.key), make_cert(CERT_ISSUING_CA, "A", 5, other_spki, &root, NULL, -DAY_S, DAY_S), NULL};
	const struct { const char *name; const struct identity *certs[3], *recipient, *signer, *pin; const char *type; int status, code; bool only_look; } cases[] = {
		{"RA", {&ra, &issuing, &root}, &ra, &ra, NULL, NULL, 0, 0},
		{"RA in another order", {&root, &ra, &issuing}, &ra, &ra, NULL, NULL, 0, 0},
		{"CA signs beside an RA", {&ra, &issuing, &root}, &ra, &issuing, NULL, NULL, 0, 0},
		{"chain", {&issuing, &root}, &issuing, &issuing, NULL, NULL, 0, 0},
		{"chain in another order", {&root, &issuing}, &issuing, &issuing, NULL, NULL, 0, 0},
		{"one that is not a root", {&issuing}, &issuing, &issuing, NULL, NULL, 0, 0},
		{"pinned root", {&ra, &issuing, &root}, &ra, &ra, &root, NULL, 0, 0},
		{"pinned issuing CA", {&ra, &issuing, &root}, &ra, &ra, &issuing, NULL, 0, 0},
		{"pinned is an RA", {&ra, &issuing, &root}, &ra, &ra, &ra, NULL, 0, POM_ERR_SCEP_OUTSIDE_REPLY},
		{"pinned is missing", {&ra, &issuing}, &ra, &ra, &root, NULL, 0, POM_ERR_SCEP_OUTSIDE_REPLY},
		{"another CA of the same name", {&other, &other_root}, &other, &other, &root, NULL, 0, POM_ERR_SCEP_OUTSIDE_REPLY},
		{"pinned beside another hierarchy", {&other, &other_root, &root}, &root, &root, &root, NULL, 0, 0, true},
		{"pinned issuing CA beside another hierarchy", {&other, &other_root, &issuing}, &issuing, &issuing, &issuing, NULL, 0, 0, false},
		{"RA beside two CAs", {&second_ca, &ra, &issuing}, &ra, &ra, NULL, NULL, 0, 0, false},
		{"expired RA", {&old_ra, &issuing, &root}, &old_ra, &old_ra, NULL, NULL, 0, POM_ERR_SCEP_OUTSIDE_REPLY},
		{"RA of another CA", {&foreign_ra, &issuing, &root}, &foreign_ra, &foreign_ra, NULL, NULL, 0, POM_ERR_SCEP_OUTSIDE_REPLY},
		{"no CA", {&ra}, &ra, &ra, NULL, NULL, 0, POM_ERR_SCEP_OUTSIDE_REPLY},
		{"old CA", {&old_ca}, &old_ca, &old_ca, NULL, NULL, 0, 0, true},
		{"wrong media type", {&issuing}, &issuing, &issuing, NULL, "text/html", 0, POM_ERR_SCEP_OUTSIDE_REPLY},
		{"one as several", {&issuing}, &issuing, &issuing, NULL, "application/x-x509-ca-ra-cert", 0, POM_ERR_SCEP_OUTSIDE_REPLY},
		{"HTTP 404", {&issuing}, &issuing, &issuing, NULL, NULL, 404, POM_ERR_SCEP_OUTSIDE},
	};

	set_usage(&old_ca, "keyCertSign,cRLSign", &root);
	old_ra.der = cert_format_der(old_ra.cert);
	foreign_ra.der = cert_format_der(foreign_ra.cert);
	second_ca.der = cert_format_der(second_ca.cert);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct fake fake = good();
		const struct outbound outbound = {play, &fake};
		struct scep_client client = client_of(&outbound);
		g_auto(scep_client_ca) ca = {0};
		g_auto(scep_client_result) result = {0};
		g_autoptr(GError) error = NULL;
		uint8_t pin[CERT_DIGEST_LEN];

		g_test_message("%s", cases[i].name);
		memcpy(fake.ca_certs, cases[i].certs, sizeof(fake.ca_certs));
		fake.recipient = cases[i].recipient;
		fake.signer = cases[i].signer;
		fake.ca_type = cases[i].type;
		fake.ca_status = cases[i].status;
		if (cases[i].pin)
			cert_sha256(DATA(cases[i].pin->der), pin);
		client.ca_sha256 = cases[i].pin ? pin : NULL;
		g_assert_cmpint(scep_client_get_ca(&client, &ca, &error), ==, !cases[i].code);
		if (cases[i].code) {
			g_assert_error(error, POM_ERROR, cases[i].code);
			g_assert_cmpuint(fake.n_messages, ==, 0);
			fake_clear(&fake);
			continue;
		}
		g_assert_no_error(error);
		g_assert_cmpint(X509_cmp(ca.recipient, cases[i].recipient->cert), ==, 0);
		g_assert_cmpint(X509_cmp(ca.issuer, cases[i].recipient == &ra ? issuing.cert : cases[i].recipient->cert), ==, 0);
		g_assert_cmpuint(ca.anchors->len, ==, cases[i].certs[0] == &second_ca ? 2 : 1);
		if (!cases[i].only_look) {
			g_assert_no_error(enroll(&client, &result));
			g_assert_true(ca.caps.aes && ca.caps.post && !ca.caps.des3);
		}
		fake_clear(&fake);
	}
	identity_clear(&old_ra);
	identity_clear(&foreign_ra);
	identity_clear(&old_ca);
	identity_clear(&second_ca);
}

/* A certificate of GetCACert signs only what it may, and only for its own CA. */
static void test_signers(void)
{
	g_autoptr(GBytes) spki = cert_spki_format(signer_get_key(device)), issuing_spki = cert_spki_format(signer_get_key(issuing.key));
	struct identity quiet_ra = {signer_ref(device), make_cert(CERT_RA, "Quiet", 5, spki, &issuing, NULL, -DAY_S, DAY_S), NULL};
	struct identity quiet_ca = {signer_ref(issuing.key), make_cert(CERT_ISSUING_CA, "Issuing", 2, issuing_spki, &root, NULL, -DAY_S, DAY_S), NULL};
	const struct { const char *name; const struct identity *certs[3], *recipient, *signer; const char *why; } cases[] = {
		{"RA that may not", {&quiet_ra, &issuing, &root}, &quiet_ra, &quiet_ra, "did not give for that"},
		{"CA beside an RA that may not", {&quiet_ra, &issuing, &root}, &quiet_ra, &issuing, NULL},
		{"CA that may not, beside an RA", {&ra, &quiet_ca, NULL}, &ra, &quiet_ca, "did not give for that"},
		{"RA beside a CA that may not", {&ra, &quiet_ca, NULL}, &ra, &ra, NULL},
		{"none may", {&quiet_ca, NULL}, &quiet_ca, &quiet_ca, NULL},
		{"of another CA", {&other, &issuing, &root}, NULL, &other, "the answer's signer"},
	};

	set_usage(&quiet_ra, "keyEncipherment", &issuing);
	set_usage(&quiet_ca, "keyCertSign,cRLSign", &root);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct fake fake = good();
		const struct outbound outbound = {play, &fake};
		struct scep_client client = client_of(&outbound);
		g_auto(scep_client_result) result = {0};
		g_autoptr(GError) error = NULL;
		uint8_t pin[CERT_DIGEST_LEN];

		g_test_message("%s", cases[i].name);
		memcpy(fake.ca_certs, cases[i].certs, sizeof(fake.ca_certs));
		fake.recipient = cases[i].recipient ? cases[i].recipient : &issuing;
		fake.signer = cases[i].signer;
		cert_sha256(DATA(root.der), pin);
		client.ca_sha256 = cases[i].recipient ? NULL : pin;
		error = enroll(&client, &result);
		if (cases[i].why) {
			g_assert_error(error, POM_ERROR, POM_ERR_SCEP_OUTSIDE_REPLY);
			if (!strstr(error->message, cases[i].why))
				g_error("\"%s\" is not in \"%s\"", cases[i].why, error->message);
		} else {
			g_assert_no_error(error);
		}
		fake_clear(&fake);
	}
	identity_clear(&quiet_ra);
	identity_clear(&quiet_ca);
}

static void test_foreign_request(void)
{
	g_autoptr(signer) ec = signer_generate_ec("P-256", NULL);
	struct signer *const keys[] = {device, ec};

	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
		for (int ours = 0; ours < 2; ours++) {
			struct fake fake = good();
			const struct outbound outbound = {play, &fake};
			struct scep_client client = client_of(&outbound);
			g_autoptr(GBytes) csr = make_csr(keys[i], "its own");
			g_auto(scep_client_result) result = {0};
			g_autoptr(GError) error = NULL;

			client.challenge = "hush";
			g_assert_true(scep_client_enroll(&client, ours ? keys[i] : NULL, csr, &result, &error));
			g_assert_no_error(error);
			assert_has_key(result.certificate, keys[i]);
			g_autoptr(X509) signer = cert_parse_der(DATA(fake.signer_der), NULL);
			/* Only an RSA key of ours signs by itself. */
			g_assert_cmpint(EVP_PKEY_eq(X509_get0_pubkey(signer), signer_get_key(keys[i])) == 1, ==, ours && keys[i] == device);
			g_assert_cmpstr(fake.challenge, ==, "its own");
			/* What somebody else's request holds is not for the CA. */
			g_assert_cmpstr(fake.attribute_challenge, ==, ours ? NULL : "hush");
			fake_clear(&fake);
		}
}

static void test_own_signer(void)
{
	g_autoptr(GBytes) name = cert_name_format(NULL, "CN", "Device", NULL), spki = cert_spki_format(signer_get_key(other.key));
	g_autoptr(X509) made = make_cert(CERT_DEVICE, "Device", 6, spki, &issuing, NULL, -DAY_S, DAY_S), old = NULL;
	g_autoptr(GBytes) old_der = cert_format_der(made);
	const struct { const char *caps; bool renewal; int type; const char *challenge; } cases[] = {
		{CAPS, true, SCEP_RENEWAL_REQ, NULL}, {"AES\nSHA-256\nPOSTPKIOperation", true, SCEP_PKCS_REQ, NULL}, {CAPS, false, SCEP_PKCS_REQ, "hush"}, {CAPS, true, SCEP_RENEWAL_REQ, "hush"},
	};

	old = cert_parse_der(DATA(old_der), NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct fake fake = good();
		const struct outbound outbound = {play, &fake};
		struct scep_client client = client_of(&outbound);
		g_auto(scep_client_result) result = {0};
		g_autoptr(GError) error = NULL;

		fake.caps = cases[i].caps;
		client.signer = other.key;
		client.signer_cert = old;
		client.renewal = cases[i].renewal;
		client.challenge = cases[i].challenge;
		g_assert_cmpint(scep_client_request(&client, device, name, NULL, &result, &error), ==, !error);
		g_assert_no_error(error);
		g_assert_cmpint(fake.types[0], ==, cases[i].type);
		g_assert_true(g_bytes_equal(fake.signer_der, old_der));
		g_assert_cmpstr(fake.challenge, ==, cases[i].challenge);
		g_assert_null(fake.attribute_challenge);
		assert_has_key(result.certificate, device);
		fake_clear(&fake);
	}
}

static void test_challenges(void)
{
	static const struct {
		const char *name, *challenge, *page;
		int page_status;
		bool plain, with_csr; /* with_csr: the request is made by scep_client_request */
		const char *in_csr, *as_attribute;
		int code;
		const char *foreign;  /* the request is somebody else's and holds this */
	} cases[] = {
		{"none", NULL, NULL, 0, false, true, NULL, NULL, 0},
		{"always the same", "hush", NULL, 0, false, true, "hush", NULL, 0},
		{"page", NULL, "<B> 0123456789ABCDEF </B>", 0, false, true, "0123456789ABCDEF", NULL, 0},
		{"beside the request", "hush \xc3\xbc", NULL, 0, false, false, NULL, "hush \xc3\xbc", 0},
		{"page, beside the request", NULL, "<B> 0123456789ABCDEF </B>", 0, false, false, NULL, "0123456789ABCDEF", 0},
		{"in the request over plain http", "hush", NULL, 0, true, true, "hush", NULL, 0},
		{"beside the request over plain http", "hush", NULL, 0, true, false, NULL, NULL, POM_ERR_CONFIG},
		{"of another, beside its own", "hush", NULL, 0, false, false, "for the relay", "hush", 0, "for the relay"},
		{"of another, page beside its own", NULL, "<B> 0123456789ABCDEF </B>", 0, false, false, "for the relay", "0123456789ABCDEF", 0, "for the relay"},
		{"of another, with the CA's", "hush", NULL, 0, true, false, "hush", NULL, 0, "hush"},
		{"of another, its own alone", NULL, NULL, 0, true, false, "for the CA", NULL, 0, "for the CA"},
		{"of another, beside its own over plain http", "hush", NULL, 0, true, false, NULL, NULL, POM_ERR_CONFIG, "for the relay"},
		{"page says no", NULL, "0123456789ABCDEF", 401, false, true, NULL, NULL, POM_ERR_SCEP_OUTSIDE},
		{"page broken", NULL, "0123456789ABCDEF", 500, false, true, NULL, NULL, POM_ERR_SCEP_OUTSIDE},
		{"page without password", NULL, "the cache is full", 0, false, true, NULL, NULL, POM_ERR_SCEP_OUTSIDE_REPLY},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct fake fake = good();
		const struct outbound outbound = {play, &fake};
		struct scep_client client = client_of(&outbound);
		g_autoptr(GBytes) name = cert_name_format(NULL, "CN", "Device", NULL), csr = make_csr(device, cases[i].foreign);
		g_auto(scep_client_result) result = {0};
		g_autoptr(GError) error = NULL;
		uint8_t pin[CERT_DIGEST_LEN];

		g_test_message("%s", cases[i].name);
		cert_sha256(DATA(root.der), pin);
		client.url = cases[i].plain ? "http://ca.example.org/scep" : URL "?profile=1";
		client.ca_sha256 = pin;
		client.identifier = "a b&c";
		client.challenge = cases[i].challenge;
		client.challenge_url = cases[i].page ? PAGE : NULL;
		client.challenge_user = "LAB\\user";
		client.challenge_password = "pass";
		fake.page = cases[i].page;
		fake.page_status = cases[i].page_status;
		g_assert_cmpint(cases[i].with_csr ? scep_client_request(&client, device, name, NULL, &result, &error) : scep_client_enroll(&client, cases[i].foreign ? NULL : device, csr, &result, &error), ==, !cases[i].code);
		if (cases[i].code) {
			g_assert_error(error, POM_ERROR, cases[i].code);
			g_assert_true(cases[i].page_status != 401 || strstr(error->message, "user name and password"));
			g_assert_null(strstr(error->message, "hush"));
			g_assert_null(strstr(error->message, "pass\""));
			g_assert_cmpuint(fake.n_messages, ==, 0);
		} else {
			g_assert_no_error(error);
			g_assert_cmpstr(fake.challenge, ==, cases[i].in_csr);
			g_assert_cmpstr(fake.attribute_challenge, ==, cases[i].as_attribute);
			g_assert_cmpstr(fake.identifier, ==, "a%20b%26c");
		}
		if (cases[i].page) {
			g_assert_cmpuint(fake.n_pages, ==, 1);
			g_assert_cmpstr(fake.page_user, ==, "LAB\\user");
			g_assert_cmpstr(fake.page_password, ==, "pass");
		}
		fake_clear(&fake);
	}
}

struct waits {
	unsigned n, n_allowed;
};

static bool on_wait(void *ctx, unsigned ms)
{
	struct waits *waits = ctx;

	g_assert_cmpuint(ms, ==, 1234);
	return ++waits->n <= waits->n_allowed;
}

static void test_pending(void)
{
	static const struct { const char *name; unsigned n_pending, n_polls, n_allowed; enum fault fault; unsigned n_messages; int code; } cases[] = {
		{"at once", 0, 3, 9, NONE, 1, 0},
		{"after the first", 1, 3, 9, NONE, 2, 0},
		{"at the last", 3, 3, 9, NONE, 4, 0},
		{"too long", 4, 3, 9, NONE, 4, POM_ERR_SCEP_OUTSIDE_PENDING},
		{"not polled", 1, 0, 9, NONE, 1, POM_ERR_SCEP_OUTSIDE_PENDING},
		{"given up", 9, 5, 1, NONE, 2, POM_ERR_SCEP_OUTSIDE_PENDING},
		{"refused in the end", 1, 3, 9, FAILURE, 2, POM_ERR_SCEP_OUTSIDE_REFUSED},
		{"odd answer to a poll", 1, 3, 9, OTHER_KEY, 2, POM_ERR_SCEP_OUTSIDE_REPLY},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct fake fake = good();
		const struct outbound outbound = {play, &fake};
		struct scep_client client = client_of(&outbound);
		struct waits waits = {.n_allowed = cases[i].n_allowed};
		g_auto(scep_client_result) result = {0};
		g_autoptr(GError) error = NULL;

		g_test_message("%s", cases[i].name);
		fake.n_pending = cases[i].n_pending;
		fake.fault = cases[i].fault;
		client.n_polls = cases[i].n_polls;
		client.poll_ms = 1234;
		client.wait = on_wait;
		client.wait_ctx = &waits;
		client.challenge = "hush";
		error = enroll(&client, &result);
		g_assert_cmpint(error ? error->code : 0, ==, cases[i].code);
		g_assert_cmpuint(fake.n_messages, ==, cases[i].n_messages);
		for (unsigned n = 1; n < fake.n_messages; n++) {
			g_assert_cmpint(fake.types[n], ==, SCEP_CERT_POLL);
			g_assert_cmpstr(fake.transactions[n], ==, fake.transactions[0]);
			g_assert_false(g_bytes_equal(fake.nonces[n], fake.nonces[n - 1]));
		}
		g_assert_cmpstr(fake.attribute_challenge, ==, "hush");
		g_assert_cmpuint(fake.n_ca, ==, 1);
		fake_clear(&fake);
	}
}

static void test_check(void)
{
	const struct outbound outbound = {play, NULL};
	static const uint8_t pin[CERT_DIGEST_LEN] = {1};
	g_autoptr(signer) ec = signer_generate_ec("P-256", NULL);
	struct scep_client good_one = client_of(&outbound), bad[14];
	g_autoptr(GError) none = NULL;
	size_t n = 0;

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
		bad[i] = good_one;
	bad[n++].url = "ftp://ca.example.org/";
	bad[n++].url = "https://user:hush@ca.example.org/";
	bad[n++].url = "http://ca.example.org/scep";
	bad[n++].challenge_url = "http://ca.example.org/certsrv/mscep_admin/";
	bad[n].challenge = "a";
	bad[n++].challenge_url = PAGE;
	bad[n++].timeout_ms = 0;
	bad[n++].timeout_ms = SCEP_CLIENT_TIMEOUT_MAX_MS + 1;
	bad[n++].n_polls = 1;
	bad[n].wait = on_wait;
	bad[n++].n_polls = SCEP_CLIENT_POLLS_MAX + 1;
	bad[n++].renewal = true;
	bad[n++].signer = ra.key;
	bad[n++].signer_cert = ra.cert;
	bad[n].signer = issuing.key;
	bad[n++].signer_cert = ra.cert;
	bad[n].signer = ec;
	bad[n++].signer_cert = ra.cert;
	g_assert_cmpuint(n, ==, G_N_ELEMENTS(bad));
	for (size_t i = 0; i < n; i++) {
		g_autoptr(GError) error = NULL;

		g_test_message("%zu", i);
		g_assert_false(scep_client_check(&bad[i], &error));
		g_assert_error(error, POM_ERROR, POM_ERR_CONFIG);
		g_assert_null(strstr(error->message, "hush"));
	}
	g_assert_true(scep_client_check(&good_one, &none));
	good_one.url = "http://ca.example.org/scep";
	good_one.ca_sha256 = pin;
	g_assert_true(scep_client_check(&good_one, &none));
	good_one.url = "http://127.0.0.1:1/scep";
	good_one.ca_sha256 = NULL;
	g_assert_true(scep_client_check(&good_one, &none));
}

static void test_wrong_key(void)
{
	struct fake fake = good();
	const struct outbound outbound = {play, &fake};
	struct scep_client client = client_of(&outbound);
	g_autoptr(GBytes) csr = make_csr(device, NULL), no_csr = g_bytes_new_static("x", 1);
	g_auto(scep_client_result) result = {0};
	g_autoptr(GError) mismatch = NULL, malformed = NULL;

	g_assert_false(scep_client_enroll(&client, other.key, csr, &result, &mismatch));
	g_assert_error(mismatch, POM_ERROR, POM_ERR_KEY_MISMATCH);
	g_assert_false(scep_client_enroll(&client, NULL, no_csr, &result, &malformed));
	g_assert_error(malformed, POM_ERROR, POM_ERR_CSR_MALFORMED);
	g_assert_cmpuint(fake.n_ca + fake.n_caps, ==, 0);
}

int main(int argc, char **argv)
{
	int code;

	g_test_init(&argc, &argv, NULL);
	make_all();
	g_test_add_func("/scep-client/enroll", test_enroll);
	g_test_add_func("/scep-client/algorithms", test_algorithms);
	g_test_add_func("/scep-client/reply-in-des", test_reply_in_des);
	g_test_add_func("/scep-client/faults", test_faults);
	g_test_add_func("/scep-client/ca-forms", test_ca_forms);
	g_test_add_func("/scep-client/signers", test_signers);
	g_test_add_func("/scep-client/foreign-request", test_foreign_request);
	g_test_add_func("/scep-client/own-signer", test_own_signer);
	g_test_add_func("/scep-client/challenges", test_challenges);
	g_test_add_func("/scep-client/pending", test_pending);
	g_test_add_func("/scep-client/check", test_check);
	g_test_add_func("/scep-client/wrong-key", test_wrong_key);
	code = g_test_run();
	free_all();
	return code;
}
