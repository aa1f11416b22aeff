#include "sim/scep_request.h"

#include <openssl/asn1t.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/error.h"
#include "base/face.h"
#include "sim/scep_oid.h"

/* For what cannot fail unless memory is gone: the input is ours. */
static void must(bool ok, const char *what)
{
	g_autofree char *why = ok ? NULL : sim_openssl_error();

	if (!ok)
		g_error("%s: %s", what, why);
}

/* ---- a transaction ---- */

bool sim_scep_has_cap(const char *caps, const char *word)
{
	g_auto(GStrv) lines = g_strsplit_set(caps ? caps : "", "\r\n", -1);

	for (int i = 0; lines[i]; i++)
		if (!g_ascii_strcasecmp(g_strstrip(lines[i]), word))
			return true;
	return false;
}

static void choose_algorithms(sim_scep *scep, const struct sim_scep_choice *choice, const char *caps)
{
	bool standard = sim_scep_has_cap(caps, "SCEPStandard");
	const char *digest = standard || sim_scep_has_cap(caps, "SHA-256") ? "sha256" : "sha1", *cipher = standard || sim_scep_has_cap(caps, "AES") ? "aes128" : "3des";

	scep->md = choice->digest ? choice->digest : sim_scep_digest_find(scep->form->digest ? scep->form->digest : digest);
	scep->cipher = choice->cipher ? choice->cipher : sim_scep_cipher_find(scep->form->cipher ? scep->form->cipher : cipher);
	scep->transport = choice->transport ? choice->transport : scep->form->transport;
}

/* A certificate that nobody keeps. */
static void new_signer(sim_scep *scep)
{
	g_autofree char *uuid = g_uuid_string_random(), *cn = g_ascii_strup(uuid, -1);

	X509_free(scep->signer);
	scep->signer = sim_cert_new_signer(scep->signer_key, scep->form->signer_cn ? scep->form->signer_cn : cn, scep->form->signer_country, scep->form->encipherment);
}

static EVP_PKEY *own_key(const struct sim_scep_choice *choice)
{
	if (!choice->throw_away_key)
		return sim_key_new();
	EVP_PKEY_up_ref(choice->throw_away_key);
	return choice->throw_away_key;
}

static void choose_signer(sim_scep *scep, const struct sim_scep_choice *choice)
{
	EVP_PKEY *key = choice->signer ? choice->signer_key : scep->key;

	scep->throw_away = !choice->signer;
	if (scep->throw_away && scep->form->other_key) {
		scep->signer_key = own_key(choice);
	} else {
		EVP_PKEY_up_ref(key);
		scep->signer_key = key;
	}
	if (scep->throw_away) {
		new_signer(scep);
	} else {
		X509_up_ref(choice->signer);
		scep->signer = choice->signer;
	}
}

sim_scep *sim_scep_new(const struct sim_scep_choice *choice, EVP_PKEY *key, const char *caps, GError **error)
{
	const char *name = choice->transaction ? choice->transaction : "apple";
	char *transaction = sim_scep_transaction_make(name, key);
	sim_scep *scep;

	if (!transaction) {
		pom_fail(error, POM_ERR_USAGE, "there is no transactionID \"%s\": it is apple, strongswan, sscep, constant, certmonger, scepclient or text:…", name);
		return NULL;
	}
	scep = g_new0(sim_scep, 1);
	scep->transaction = transaction;
	scep->form = choice->form ? choice->form : &sim_scep_forms[0];
	scep->challenge = choice->challenge && *choice->challenge ? g_strdup(choice->challenge) : NULL;
	scep->challenge_as = choice->challenge_as | (scep->form->challenge_attribute ? SIM_CHALLENGE_BOTH : 0);
	EVP_PKEY_up_ref(key);
	scep->key = key;
	choose_algorithms(scep, choice, caps);
	choose_signer(scep, choice);
	return scep;
}

void sim_scep_free(sim_scep *scep)
{
	if (!scep)
		return;
	EVP_PKEY_free(scep->key);
	EVP_PKEY_free(scep->signer_key);
	X509_free(scep->signer);
	g_free(scep->transaction);
	if (scep->challenge)
		OPENSSL_cleanse(scep->challenge, strlen(scep->challenge));
	g_free(scep->challenge);
	g_free(scep);
}

/* ---- the challenge ---- */

bool sim_challenge_parse(const char *words, unsigned *ret, GError **error)
{
	static const struct { const char *word; unsigned bit; } rows[] = {
		{"attribute", SIM_CHALLENGE_ATTRIBUTE}, {"both", SIM_CHALLENGE_BOTH}, {"twice", SIM_CHALLENGE_TWICE}, {"printable", SIM_CHALLENGE_PRINTABLE},
		{"utf8", SIM_CHALLENGE_UTF8}, {"bmp", SIM_CHALLENGE_BMP}, {"teletex", SIM_CHALLENGE_TELETEX},
	};
	g_auto(GStrv) list = g_strsplit(words ? words : "", ",", -1);
	unsigned bits = 0;

	for (int i = 0; list[i]; i++) {
		unsigned n = 0;

		while (n < G_N_ELEMENTS(rows) && strcmp(rows[n].word, list[i]))
			n++;
		if (n == G_N_ELEMENTS(rows))
			return pom_fail(error, POM_ERR_USAGE, "a challenge cannot be written as \"%s\": words are attribute, both, twice, printable, utf8, bmp and teletex", list[i]);
		bits |= rows[n].bit;
	}
	*ret = bits;
	return true;
}

/* TEXT in the string type of BITS: its ASN.1 tag, and its bytes (transfer full). */
static int encode_challenge(const char *text, unsigned bits, char **ret, gsize *ret_len)
{
	const char *charset = bits & SIM_CHALLENGE_BMP ? "UTF-16BE" : bits & SIM_CHALLENGE_TELETEX ? "ISO-8859-1" : "UTF-8";

	*ret = g_convert_with_fallback(text, -1, charset, "UTF-8", "?", NULL, ret_len, NULL);
	must(*ret, "a challenge that is not UTF-8");
	if (bits & (SIM_CHALLENGE_BMP | SIM_CHALLENGE_TELETEX))
		return bits & SIM_CHALLENGE_BMP ? V_ASN1_BMPSTRING : V_ASN1_T61STRING;
	return bits & SIM_CHALLENGE_UTF8 || (!(bits & SIM_CHALLENGE_PRINTABLE) && ASN1_PRINTABLE_type((const unsigned char *)text, -1) != V_ASN1_PRINTABLESTRING) ?
	       V_ASN1_UTF8STRING : V_ASN1_PRINTABLESTRING;
}

/* Appends TEXT to the values of ATTRIBUTE. */
static void add_value(X509_ATTRIBUTE *attribute, const char *text, unsigned bits)
{
	g_autofree char *data = NULL;
	gsize len;
	int type = encode_challenge(text, bits, &data, &len);

	must(X509_ATTRIBUTE_set1_data(attribute, type, data, (int)len), "challengePassword");
	OPENSSL_cleanse(data, len);
}

static void add_csr_challenge(X509_REQ *req, const char *text, unsigned bits)
{
	X509_ATTRIBUTE *attribute = X509_ATTRIBUTE_new();

	must(attribute && X509_ATTRIBUTE_set1_object(attribute, OBJ_nid2obj(NID_pkcs9_challengePassword)), "challengePassword");
	add_value(attribute, text, bits);
	if (bits & SIM_CHALLENGE_TWICE)
		add_value(attribute, "another", bits);
	must(X509_REQ_add1_attr(req, attribute), "challengePassword");
	X509_ATTRIBUTE_free(attribute);
}

static void add_signed_challenge(CMS_SignerInfo *signer, const char *text, unsigned bits)
{
	g_autofree char *data = NULL;
	gsize len;
	int type = encode_challenge(text, bits, &data, &len);

	must(CMS_signed_add1_attr_by_NID(signer, NID_pkcs9_challengePassword, type, data, (int)len), "challengePassword");
	OPENSSL_cleanse(data, len);
}

/* ---- the certificate request ---- */

static bool add_entry(X509_NAME *name, const char *field, const char *value, bool same_rdn, GError **error)
{
	g_autofree char *why = NULL;

	if (X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)value, -1, -1, same_rdn ? -1 : 0))
		return true;
	why = sim_openssl_error();
	return pom_fail(error, POM_ERR_PROFILE, "the SCEP Subject has %s=\"%s\", which cannot be written: %s", field, value, why);
}

static bool add_rdn(X509_NAME *name, const plist *rdn, GError **error)
{
	for (size_t i = 0; i < plist_count(rdn); i++) {
		const plist *pair = plist_child(rdn, i);
		const char *field = plist_get_string(plist_child(pair, 0)), *value = plist_get_string(plist_child(pair, 1));

		if (plist_count(pair) != 2 || !field || !value)
			return pom_fail(error, POM_ERR_PROFILE, "the SCEP Subject must be an array of arrays of [name, value] (22011 on a device)");
		if (!add_entry(name, field, value, i > 0, error))
			return false;
	}
	return true;
}

/* The next "name=value" of *TEXT up to a bare comma, backslashes taken away; NULL at the end. transfer full. */
static char *next_pair(const char **text)
{
	GString *pair = g_string_new(NULL);
	const char *p = *text;

	if (!*p)
		return g_string_free(pair, TRUE);
	for (; *p && *p != ','; p++) {
		if (*p == '\\' && p[1])
			p++;
		g_string_append_c(pair, *p);
	}
	*text = *p ? p + 1 : p;
	return g_string_free(pair, FALSE);
}

static bool add_text_subject(X509_NAME *name, const char *text, GError **error)
{
	char *pair;

	while ((pair = next_pair(&text))) {
		g_autofree char *own = pair;
		char *value = strchr(own, '=');

		if (!value)
			return pom_fail(error, POM_ERR_PROFILE, "the subject has \"%s\", which is not NAME=VALUE", own);
		*value = 0;
		if (!add_entry(name, g_strstrip(own), value + 1, false, error))
			return false;
	}
	return true;
}

static bool set_subject(X509_NAME *name, const struct sim_scep_wish *wish, GError **error)
{
	g_autofree char *uuid = g_uuid_string_random(), *cn = g_strdup_printf("com.apple.security.scep.%s", uuid);

	if (wish->subject_text)
		return add_text_subject(name, wish->subject_text, error);
	for (size_t i = 0; i < plist_count(wish->subject); i++)
		if (!add_rdn(name, plist_child(wish->subject, i), error))
			return false;
	return plist_count(wish->subject) || add_entry(name, "CN", cn, false, error);
}

static bool push_extension(STACK_OF(X509_EXTENSION) *extensions, const char *name, const char *value, GError **error)
{
	X509_EXTENSION *extension = X509V3_EXT_nconf(NULL, NULL, name, value);
	g_autofree char *why = extension ? NULL : sim_openssl_error();

	if (extension)
		return sk_X509_EXTENSION_push(extensions, extension) > 0;
	return pom_fail(error, POM_ERR_PROFILE, "the extension %s=%s cannot be written: %s", name, value, why);
}

static bool push_alt_names(STACK_OF(X509_EXTENSION) *extensions, const plist *alt_name, GError **error)
{
	static const struct { const char *key, *form; } forms[] = {{"rfc822Name", "email"}, {"dNSName", "DNS"}, {"uniformResourceIdentifier", "URI"}};
	g_autoptr(GString) text = g_string_new(NULL);

	for (unsigned i = 0; i < G_N_ELEMENTS(forms); i++) {
		const plist *node = plist_dict_get(alt_name, forms[i].key);
		const char *one = plist_get_string(node);

		if (one)
			g_string_append_printf(text, "%s%s:%s", text->len ? "," : "", forms[i].form, one);
		for (size_t n = 0; plist_get_type(node) == PLIST_ARRAY && n < plist_count(node); n++)
			if ((one = plist_get_string(plist_child(node, n))))
				g_string_append_printf(text, "%s%s:%s", text->len ? "," : "", forms[i].form, one);
	}
	return !text->len || push_extension(extensions, "subjectAltName", text->str, error);
}

static bool push_wished(STACK_OF(X509_EXTENSION) *extensions, const char *const *wished, GError **error)
{
	for (int i = 0; wished && wished[i]; i++) {
		g_auto(GStrv) parts = g_strsplit(wished[i], "=", 2);

		if (!parts[0] || !parts[1])
			return pom_fail(error, POM_ERR_PROFILE, "the extension \"%s\" is not NAME=VALUE", wished[i]);
		if (!push_extension(extensions, parts[0], parts[1], error))
			return false;
	}
	return true;
}

static bool add_extensions(X509_REQ *req, const struct sim_scep_wish *wish, GError **error)
{
	STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
	bool sign = wish->key_usage & 1, encipher = wish->key_usage & 4, ok;
	const char *usage = sign && encipher ? "critical,digitalSignature,keyEncipherment" : sign ? "critical,digitalSignature" : "critical,keyEncipherment";

	ok = (!(sign || encipher) || push_extension(extensions, "keyUsage", usage, error)) && push_alt_names(extensions, wish->alt_name, error) &&
	     push_wished(extensions, wish->extensions, error);
	if (ok && sk_X509_EXTENSION_num(extensions))
		must(X509_REQ_add_extensions(req, extensions), "extensions");
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	return ok;
}

GBytes *sim_scep_csr(const sim_scep *scep, const struct sim_scep_wish *wish, GError **error)
{
	g_autoptr(X509_REQ) req = X509_REQ_new();
	unsigned char *der = NULL;
	GBytes *bytes;
	int len;

	if (!set_subject(X509_REQ_get_subject_name(req), wish, error))
		return NULL;
	must(X509_REQ_set_version(req, scep->form->csr_version) && X509_REQ_set_pubkey(req, scep->key), "CSR");
	if (scep->challenge && (scep->challenge_as & (SIM_CHALLENGE_ATTRIBUTE | SIM_CHALLENGE_BOTH)) != SIM_CHALLENGE_ATTRIBUTE)
		add_csr_challenge(req, scep->challenge, scep->challenge_as);
	if (!add_extensions(req, wish, error))
		return NULL;
	must(X509_REQ_sign(req, wish->sign_with ? wish->sign_with : scep->key, sim_scep_digest_find(scep->form->csr_digest)), "CSR");
	len = i2d_X509_REQ(req, &der);
	must(len > 0, "CSR");
	bytes = g_bytes_new(der, (gsize)len);
	OPENSSL_free(der);
	return bytes;
}

/* ---- the other contents ---- */

struct issuer_and_subject {
	X509_NAME *issuer, *subject;
};
/* RFC 8894 §3.3.3 */
ASN1_SEQUENCE(issuer_and_subject) = {
	ASN1_SIMPLE(struct issuer_and_subject, issuer, X509_NAME),
	ASN1_SIMPLE(struct issuer_and_subject, subject, X509_NAME),
} static_ASN1_SEQUENCE_END_name(struct issuer_and_subject, issuer_and_subject)

struct issuer_and_serial {
	const X509_NAME *issuer;
	const ASN1_INTEGER *serial;
};
/* RFC 5652 §10.2.4 */
ASN1_SEQUENCE(issuer_and_serial) = {
	ASN1_SIMPLE(struct issuer_and_serial, issuer, X509_NAME),
	ASN1_SIMPLE(struct issuer_and_serial, serial, ASN1_INTEGER),
} static_ASN1_SEQUENCE_END_name(struct issuer_and_serial, issuer_and_serial)

static GBytes *format_item(const void *value, const ASN1_ITEM *item)
{
	unsigned char *der = NULL;
	int len = ASN1_item_i2d(value, &der, item);
	GBytes *bytes;

	must(len > 0, item->sname);
	bytes = g_bytes_new(der, (gsize)len);
	OPENSSL_free(der);
	return bytes;
}

GBytes *sim_scep_poll_content(X509 *ca, GBytes *csr, GError **error)
{
	gsize csr_len;
	const unsigned char *p = g_bytes_get_data(csr, &csr_len);
	g_autoptr(X509_REQ) req = d2i_X509_REQ(NULL, &p, (long)csr_len);

	if (!req) {
		ERR_clear_error();
		pom_fail(error, POM_ERR_CSR_MALFORMED, "what was asked for is no PKCS #10 request");
		return NULL;
	}
	return format_item(&(struct issuer_and_subject){X509_get_subject_name(ca), X509_REQ_get_subject_name(req)}, ASN1_ITEM_rptr(issuer_and_subject));
}

GBytes *sim_scep_get_content(const X509_NAME *issuer, const ASN1_INTEGER *serial)
{
	return format_item(&(struct issuer_and_serial){issuer, serial}, ASN1_ITEM_rptr(issuer_and_serial));
}

/* ---- pkiMessage ---- */

/* CMS made with CMS_PARTIAL, and its content, as the form encodes them. transfer full; NULL when OpenSSL refuses. */
static GBytes *encode(const sim_scep *scep, CMS_ContentInfo *cms, GBytes *content)
{
	gsize len;
	const void *data = g_bytes_get_data(content, &len);
	g_autoptr(BIO) in = BIO_new_mem_buf(data ? data : "", (int)len), out = BIO_new(BIO_s_mem());
	bool ok = scep->form->der ? CMS_final(cms, in, NULL, CMS_BINARY) && i2d_CMS_bio(out, cms) : i2d_CMS_bio_stream(out, cms, in, CMS_BINARY | CMS_STREAM);
	char *bytes;
	long n = BIO_get_mem_data(out, &bytes);

	return ok ? g_bytes_new(bytes, (gsize)n) : NULL;
}

static bool set_transport(CMS_RecipientInfo *recipient, enum sim_scep_transport transport)
{
	EVP_PKEY_CTX *ctx = recipient ? CMS_RecipientInfo_get0_pkey_ctx(recipient) : NULL;
	const EVP_MD *md = transport == SIM_SCEP_OAEP_SHA256 ? EVP_sha256() : EVP_sha1();

	if (!recipient || transport == SIM_SCEP_PKCS1)
		return recipient != NULL;
	return ctx && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) > 0 && EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md) > 0 && EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) > 0;
}

static GBytes *envelope(const sim_scep *scep, X509 *recipient, GBytes *content, GError **error)
{
	g_autoptr(CMS_ContentInfo) cms = CMS_encrypt(NULL, NULL, scep->cipher, CMS_BINARY | CMS_PARTIAL | CMS_STREAM);
	bool ok = cms && set_transport(CMS_add1_recipient_cert(cms, recipient, scep->transport == SIM_SCEP_PKCS1 ? 0 : CMS_KEY_PARAM), scep->transport);
	GBytes *bytes = ok ? encode(scep, cms, content) : NULL;

	if (!bytes) {
		g_autofree char *why = sim_openssl_error();

		pom_fail(error, POM_ERR_SCEP_MESSAGE, "the request cannot be enveloped to the CA: %s", why);
	}
	return bytes;
}

static void add_attribute(CMS_SignerInfo *signer, const char *oid, int type, const void *value, size_t len)
{
	must(CMS_signed_add1_attr_by_txt(signer, oid, type, value, (int)len), oid);
}

static void add_text(CMS_SignerInfo *signer, const char *oid, const char *text)
{
	add_attribute(signer, oid, V_ASN1_PRINTABLESTRING, text, strlen(text));
}

static GBytes *sign(const sim_scep *scep, enum sim_scep_type type, GBytes *enveloped)
{
	unsigned flags = CMS_BINARY | CMS_PARTIAL | CMS_STREAM | CMS_NOSMIMECAP;
	g_autoptr(CMS_ContentInfo) cms = CMS_sign(NULL, NULL, NULL, NULL, flags);
	g_autofree char *number = g_strdup_printf("%d", type);
	CMS_SignerInfo *signer = cms ? CMS_add1_signer(cms, scep->signer, scep->signer_key, scep->md, flags) : NULL;
	GBytes *bytes;

	must(signer, "SignedData");
	add_text(signer, OID_MESSAGE_TYPE, number);
	add_text(signer, OID_TRANSACTION, scep->transaction);
	add_attribute(signer, OID_SENDER_NONCE, V_ASN1_OCTET_STRING, scep->nonce, scep->nonce_len);
	if (scep->challenge && (scep->challenge_as & (SIM_CHALLENGE_ATTRIBUTE | SIM_CHALLENGE_BOTH)) && type == SIM_SCEP_PKCS_REQ)
		add_signed_challenge(signer, scep->challenge, scep->challenge_as);
	bytes = encode(scep, cms, enveloped);
	must(bytes, "SignedData");
	return bytes;
}

GBytes *sim_scep_request(sim_scep *scep, enum sim_scep_type type, X509 *recipient, GBytes *content, GError **error)
{
	g_autoptr(GBytes) enveloped = envelope(scep, recipient, content, error);

	if (!enveloped)
		return NULL;
	scep->nonce_len = scep->form->nonce_len;
	pom_random_fill(pom_random_system(), scep->nonce, scep->nonce_len);
	if (scep->throw_away && scep->form->renames)
		new_signer(scep);
	return sign(scep, type, enveloped);
}
