/* Stand-ins for the two pages of Apple's that lead to a push certificate: they take what people upload, as strictly as it is told of the real ones, and give
 * what people download. Their CAs are in a folder. */
#include <errno.h>
#include <glib/gstdio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#include "base/error.h"
#include "base/face.h"
#include "codec/plist.h"
#include "sim/sim.h"
#include "sim/sim_cert.h"

enum { CA_DAYS = 3650, BITS_MIN = 2048, LINE = 64, CHAIN_LEN = 3, FILE_MAX = 1 << 20 };
#define WWDR_NAME "Apple Worldwide Developer Relations (simulated)"
#define VENDOR_NAME "MDM Vendor: "
#define TOPIC_PREFIX "com.apple.mgmt.External."
#define TEAM "SIMTEAM123"

struct portal { const char *dir; struct sim_identity *root, *wwdr, *push; };

/* ---- the CAs ---- */

static bool put_text(const char *dir, const char *name, char *text, int mode, GError **error)
{
	g_autofree char *path = g_build_filename(dir, name, NULL), *owned = text;

	return sim_write_file(path, owned, strlen(owned), mode, error);
}

/* As Apple offers it for download. */
static bool put_der(const char *dir, const char *name, X509 *cert, GError **error)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);
	unsigned char *der = NULL;
	int len = i2d_X509(cert, &der);
	bool ok = len > 0 && sim_write_file(path, der, (size_t)len, 0644, error);

	OPENSSL_free(der);
	return ok;
}

static char *get_text(const char *dir, const char *name, GError **error)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);
	char *text = NULL;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		pom_fail(error, POM_ERR_IO, "%s cannot be read: \"pomona sim portal make --dir %s\" makes the portals", path, dir);
	return text;
}

static struct sim_identity *make_ca(const char *name, const struct sim_identity *issuer)
{
	g_autoptr(EVP_PKEY) key = sim_key_new();
	const struct sim_cert_plan plan = {.key = key, .cn = name, .organization = "Simulated Inc.", .country = "US", .issuer = issuer ? issuer->cert : NULL, .issuer_key = issuer ? issuer->key : NULL, .ca = true,
	                                   .from_days = -1, .to_days = CA_DAYS, .md = EVP_sha256()};
	g_autoptr(X509) cert = sim_cert_make(&plan);

	return sim_identity_new(key, cert);
}

static bool put_ca(const char *dir, const char *name, const struct sim_identity *ca, GError **error)
{
	g_autofree char *pem = g_strconcat(name, ".pem", NULL), *key = g_strconcat(name, ".key.pem", NULL), *der = g_strconcat(name, ".cer", NULL);

	return put_text(dir, key, sim_key_pem(ca->key), 0600, error) && put_der(dir, der, ca->cert, error) && put_text(dir, pem, sim_cert_pem(ca->cert), 0644, error);
}

static struct sim_identity *get_ca(const char *dir, const char *name, GError **error)
{
	g_autofree char *pem_name = g_strconcat(name, ".pem", NULL), *key_name = g_strconcat(name, ".key.pem", NULL);
	g_autofree char *pem = get_text(dir, pem_name, error), *key_pem = pem ? get_text(dir, key_name, error) : NULL;
	g_autoptr(X509) cert = key_pem ? sim_cert_parse(pem, pem_name, error) : NULL;
	g_autoptr(EVP_PKEY) key = cert ? sim_key_parse(key_pem, key_name, error) : NULL;

	return key ? sim_identity_new(key, cert) : NULL;
}

bool sim_portal_make(const char *dir, GError **error)
{
	g_autofree char *path = g_build_filename(dir, "root.pem", NULL);
	struct sim_identity *root, *wwdr, *push;
	bool ok;

	if (g_file_test(path, G_FILE_TEST_EXISTS))
		return true;
	if (g_mkdir_with_parents(dir, 0700) < 0)
		return pom_fail(error, POM_ERR_IO, "%s cannot be made: %s", dir, g_strerror(errno));
	root = make_ca("Apple Root CA (simulated)", NULL);
	wwdr = make_ca(WWDR_NAME, root);
	push = make_ca("Apple Application Integration (simulated)", root);
	/* The root last: with it the portals are there. */
	ok = put_ca(dir, "push-ca", push, error) && put_ca(dir, "wwdr", wwdr, error) && put_ca(dir, "root", root, error);
	sim_identity_free(root);
	sim_identity_free(wwdr);
	sim_identity_free(push);
	return ok;
}

static bool portal_open(struct portal *portal, const char *dir, GError **error)
{
	*portal = (struct portal){.dir = dir};
	portal->root = get_ca(dir, "root", error);
	portal->wwdr = portal->root ? get_ca(dir, "wwdr", error) : NULL;
	portal->push = portal->wwdr ? get_ca(dir, "push-ca", error) : NULL;
	return portal->push != NULL;
}

static void portal_clear(struct portal *portal)
{
	sim_identity_free(portal->root);
	sim_identity_free(portal->wwdr);
	sim_identity_free(portal->push);
}
typedef struct portal portal;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(portal, portal_clear)

/* ---- checks ---- */

static bool refuse(GError **error, const char *why)
{
	ERR_clear_error();
	return pom_fail(error, POM_ERR_PUSH_DOCUMENT, "the simulated portal refuses it: %s", why);
}

/* A request: signed with its own key, RSA with 2,048 bits or more. */
static bool check_request(X509_REQ *request, GError **error)
{
	EVP_PKEY *key = X509_REQ_get0_pubkey(request);

	if (!key || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA || EVP_PKEY_get_bits(key) < BITS_MIN)
		return refuse(error, "Invalid Certificate Signing Request: the key must be RSA with 2048 bits");
	return X509_REQ_verify(request, key) == 1 || refuse(error, "Invalid Certificate Signing Request: it is not signed with its own key");
}

/* Base64 without anything else, as a decoder that skips nothing takes it; transfer full. */
static guchar *strict_base64(const char *text, gsize *ret_len)
{
	size_t len = strlen(text), pads = len > 1 && text[len - 1] == '=' ? (text[len - 2] == '=' ? 2 : 1) : 0;

	for (size_t i = 0; i < len - pads; i++)
		if (!g_ascii_isalnum(text[i]) && text[i] != '+' && text[i] != '/')
			return NULL;
	return len && len % 4 == 0 ? g_base64_decode(text, ret_len) : NULL;
}

/* The bytes behind a key of the document; transfer full. */
static guchar *take(const plist *dict, const char *key, gsize *ret_len, GError **error)
{
	const char *text = plist_get_string(plist_dict_get(dict, key));
	g_autofree char *why = g_strdup_printf("%s is missing, or no string of base64", key);
	guchar *bytes = text ? strict_base64(text, ret_len) : NULL;

	if (!bytes)
		refuse(error, why);
	return bytes;
}

/* Between BEGIN and END each line has 64 characters but the last, which may have fewer. */
static bool check_lines(const char *pem, GError **error)
{
	g_auto(GStrv) lines = g_strsplit(pem, "\n", -1);
	bool inside = false;

	for (char **line = lines; *line; line++) {
		if (g_str_has_prefix(*line, "-----")) {
			inside = g_str_has_prefix(*line, "-----BEGIN CERTIFICATE-----") != 0;
		} else if (inside && (strlen(*line) > LINE || (strlen(*line) < LINE && line[1] && !g_str_has_prefix(line[1], "-----END")))) {
			return refuse(error, "PushCertCertificateChain has a line that is not 64 characters long");
		}
	}
	return true;
}

static bool is_valid_now(X509 *cert)
{
	return X509_cmp_current_time(X509_get0_notBefore(cert)) < 0 && X509_cmp_current_time(X509_get0_notAfter(cert)) > 0;
}

/* Vendor, WWDR, root, in this order and nothing else. */
static bool check_chain(const struct portal *portal, STACK_OF(X509) *chain, GError **error)
{
	X509 *vendor = sk_X509_value(chain, 0), *wwdr = sk_X509_value(chain, 1), *root = sk_X509_value(chain, 2);
	g_autofree char *subject = NULL;

	if (sk_X509_num(chain) != CHAIN_LEN)
		return refuse(error, "PushCertCertificateChain must have three certificates: vendor, WWDR intermediate, root");
	if (X509_cmp(root, portal->root->cert) != 0)
		return refuse(error, "Certificate Signature Verification failed because the chain does not end with Apple's root");
	if (X509_check_issued(wwdr, vendor) != X509_V_OK || X509_verify(vendor, X509_get0_pubkey(wwdr)) != 1 || X509_check_issued(root, wwdr) != X509_V_OK || X509_verify(wwdr, X509_get0_pubkey(root)) != 1)
		return refuse(error, "Certificate Signature Verification failed because the chain is not in order: vendor, WWDR intermediate, root");
	subject = sim_cert_subject(vendor);
	if (!strstr(subject, "CN=" VENDOR_NAME))
		return refuse(error, "the first certificate of the chain is no MDM vendor's");
	for (int i = 0; i < CHAIN_LEN; i++)
		if (!is_valid_now(sk_X509_value(chain, i)))
			return refuse(error, "Certificate Signature Verification failed because the signing certificate is expired");
	return true;
}

static bool verifies(EVP_PKEY *key, const EVP_MD *digest, const guchar *signature, gsize signature_len, const guchar *data, gsize len)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool ok = EVP_DigestVerifyInit(md, NULL, digest, NULL, key) == 1 && EVP_DigestVerify(md, signature, signature_len, data, len) == 1;

	EVP_MD_CTX_free(md);
	ERR_clear_error();
	return ok;
}

/* The document's request, when all of it is as it must be; transfer full. */
static X509_REQ *open_document(const struct portal *portal, const plist *dict, GError **error)
{
	const char *pem = plist_get_string(plist_dict_get(dict, "PushCertCertificateChain"));
	gsize csr_len, signature_len;
	g_autofree guchar *csr = take(dict, "PushCertRequestCSR", &csr_len, error), *signature = csr ? take(dict, "PushCertSignature", &signature_len, error) : NULL;
	const unsigned char *p = csr;
	g_autoptr(X509_REQ) request = signature ? d2i_X509_REQ(NULL, &p, (long)csr_len) : NULL;
	g_autoptr(sim_certs) chain = NULL;
	EVP_PKEY *key;

	if (!signature)
		return NULL;
	if (!request || p != csr + csr_len) {
		refuse(error, "PushCertRequestCSR is not base64 of one DER request");
		return NULL;
	}
	if (!pem) {
		refuse(error, "PushCertCertificateChain is missing or no string");
		return NULL;
	}
	chain = check_lines(pem, error) ? sim_certs_parse(pem, "PushCertCertificateChain", error) : NULL;
	if (!chain || !check_chain(portal, chain, error) || !check_request(request, error))
		return NULL;
	key = X509_get0_pubkey(sk_X509_value(chain, 0));
	if (verifies(key, EVP_sha256(), signature, signature_len, csr, csr_len))
		return g_steal_pointer(&request);
	refuse(error, verifies(key, EVP_sha1(), signature, signature_len, csr, csr_len) ? "Certificate Signature Verification failed because the signature is made with SHA-1"
	                                                                               : "Certificate Signature Verification failed because the signature is invalid");
	return NULL;
}

static X509_REQ *read_document(const struct portal *portal, const char *text, GError **error)
{
	gsize len;
	g_autofree guchar *xml = strict_base64(text, &len);
	g_autoptr(plist) dict = xml ? plist_parse(xml, len, NULL, NULL) : NULL;

	if (xml && dict && plist_get_type(dict) == PLIST_DICT && plist_count(dict) == CHAIN_LEN)
		return open_document(portal, dict, error);
	refuse(error, xml ? "what is in the base64 is no property list with three strings" : "the file is not base64 of a property list, without anything around it");
	return NULL;
}

/* ---- the developer page ---- */

static X509_REQ *read_csr(const char *text, GError **error)
{
	g_autoptr(BIO) bio = BIO_new_mem_buf(text, -1);
	g_autoptr(X509_REQ) request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);

	if (!request)
		refuse(error, "Invalid Certificate Signing Request: it is no PEM request");
	return request && check_request(request, error) ? g_steal_pointer(&request) : NULL;
}

static bool answer_vendor(const struct portal *portal, const struct sim_portal_upload *upload, const char *text, GError **error)
{
	g_autoptr(X509_REQ) request = read_csr(text, error);
	g_autoptr(X509) cert = request ? sim_cert_new(X509_REQ_get0_pubkey(request), VENDOR_NAME "Simulated Example", TEAM, NULL, portal->wwdr->cert, portal->wwdr->key, upload->days) : NULL;
	unsigned char *der = NULL;
	int len = cert ? i2d_X509(cert, &der) : 0;
	bool ok = len > 0 && sim_write_file(upload->out, der, (size_t)len, 0644, error);

	OPENSSL_free(der);
	return ok;
}

/* ---- the push certificates portal ---- */

/* Which Apple account has which topics: lines "ACCOUNT TOPIC". */
static bool owns(const struct portal *portal, const char *account, const char *topic)
{
	g_autofree char *text = get_text(portal->dir, "accounts", NULL), *line = g_strdup_printf("%s %s\n", account, topic);

	return text && strstr(text, line);
}

static bool add_topic(const struct portal *portal, const char *account, const char *topic, GError **error)
{
	g_autofree char *text = get_text(portal->dir, "accounts", NULL);

	return put_text(portal->dir, "accounts", g_strdup_printf("%s%s %s\n", text ? text : "", account, topic), 0644, error);
}

static bool answer_push(const struct portal *portal, const struct sim_portal_upload *upload, const char *text, char **ret_topic, GError **error)
{
	g_autoptr(X509_REQ) request = read_document(portal, text, error);
	struct pom_id id = pom_id_new(pom_clock_system(), pom_random_system());
	g_autofree char *fresh = g_strconcat(TOPIC_PREFIX, id.text, NULL), *cn = NULL;
	const char *topic = upload->topic ? upload->topic : fresh;
	g_autoptr(X509) cert = NULL;

	if (!request)
		return false;
	if (upload->topic && !owns(portal, upload->account, topic))
		return refuse(error, "this Apple account has no certificate of this topic that could be renewed");
	if (!upload->topic && !add_topic(portal, upload->account, topic, error))
		return false;
	cn = g_strconcat("APSP:", topic + strlen(TOPIC_PREFIX), NULL);
	cert = sim_cert_new(X509_REQ_get0_pubkey(request), cn, topic, NULL, portal->push->cert, portal->push->key, upload->days);
	g_autofree char *pem = sim_cert_pem(cert);

	*ret_topic = g_strdup(topic);
	return sim_write_file(upload->out, pem, strlen(pem), 0644, error);
}

bool sim_portal_answer(const char *dir, const struct sim_portal_upload *upload, char **ret_topic, GError **error)
{
	g_autofree char *text = NULL;
	gsize len;
	g_auto(portal) portal = {0};

	*ret_topic = NULL;
	if (!g_file_get_contents(upload->file, &text, &len, NULL) || len > FILE_MAX)
		return pom_fail(error, POM_ERR_IO, "%s cannot be read", upload->file);
	if (!portal_open(&portal, dir, error))
		return false;
	return upload->vendor ? answer_vendor(&portal, upload, text, error) : answer_push(&portal, upload, text, ret_topic, error);
}
