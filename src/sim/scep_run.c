/* One SCEP operation from the command line.
 *
 * While a request waits for approval, OUT_DIR/pending.json keeps what CertPoll needs: {"transaction", "key", "signer_key", "signer" (PEM), "csr"
 * (base64), "throw_away"}. */
#include "sim/scep_run.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/face.h"

enum { CHALLENGES_MAX = 1 << 20, STATE_MAX = 64 << 10 };

struct run {
	const struct sim_scep_options *options;
	scep_parsed parsed;
	sim_http *http;
	sim_scep_session *session;
	struct sim_scep_ca next;           /* with to_next_ca */
	const struct sim_scep_ca *ca;      /* the one that is asked */
	EVP_PKEY *old_key;                 /* the identity that renews or asks; NULL: none */
	X509 *old_cert;
	EVP_PKEY *key;                     /* to be certified */
	char *challenge;
	json_t *result;
};

/* ---- options ---- */

static bool usage(GError **error, const char *option, const char *value, const char *allowed)
{
	return pom_fail(error, POM_ERR_USAGE, "--%s %s is not known: it is %s", option, value, allowed);
}

static bool parse_fingerprint(const char *hex, GBytes **ret, GError **error)
{
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	size_t len = strlen(hex);

	if (strspn(hex, "0123456789abcdefABCDEF") != len || (len != 32 && len != 40))
		return pom_fail(error, POM_ERR_USAGE, "--fingerprint is 40 hexadecimal digits (SHA-1) or 32 (MD5)");
	for (size_t i = 0; i < len; i += 2) {
		guint8 byte = (guint8)(g_ascii_xdigit_value(hex[i]) << 4 | g_ascii_xdigit_value(hex[i + 1]));

		g_byte_array_append(bytes, &byte, 1);
	}
	*ret = g_bytes_new(bytes->data, bytes->len);
	return true;
}

static bool read_text(const char *path, char **ret, GError **error)
{
	g_autoptr(GError) why = NULL;

	return g_file_get_contents(path, ret, NULL, &why) || pom_fail(error, POM_ERR_IO, "%s", why->message);
}

bool scep_options_parse(const struct sim_scep_options *o, struct scep_parsed *ret, GError **error)
{
	*ret = (struct scep_parsed){.key_type = o->key_type ? o->key_type : "rsa2048"};
	ret->choice.transaction = o->transaction;
	if (o->form && !(ret->choice.form = sim_scep_form_find(o->form)))
		return usage(error, "form", o->form, "ios, macos, modern or renaming");
	if (o->method && (ret->method = sim_scep_method_find(o->method)) == SIM_SCEP_METHOD_MAX)
		return usage(error, "method", o->method, "post, get or get-lines");
	if (o->cipher && !(ret->choice.cipher = sim_scep_cipher_find(o->cipher)))
		return usage(error, "cipher", o->cipher, "aes128, aes192, aes256, 3des or (with OpenSSL's legacy provider) des");
	if (o->digest && !(ret->choice.digest = sim_scep_digest_find(o->digest)))
		return usage(error, "digest", o->digest, "sha1, sha256, sha384 or sha512");
	if (o->transport && !(ret->choice.transport = sim_scep_transport_find(o->transport)))
		return usage(error, "transport", o->transport, "v1.5, oaep or oaep-sha256");
	return sim_challenge_parse(o->challenge_as, &ret->choice.challenge_as, error) && (!o->fingerprint || parse_fingerprint(o->fingerprint, &ret->fingerprint, error)) &&
	       (!o->ca_file || read_text(o->ca_file, &ret->roots, error));
}

void scep_parsed_clear(struct scep_parsed *parsed)
{
	if (parsed->fingerprint)
		g_bytes_unref(parsed->fingerprint);
	g_free(parsed->roots);
	*parsed = (struct scep_parsed){0};
}

void scep_wipe(char *text)
{
	if (text)
		OPENSSL_cleanse(text, strlen(text));
	g_free(text);
}

char *scep_read_challenges(const char *file, GError **error)
{
	bool standard = !strcmp(file, "-");
	FILE *in = standard ? stdin : fopen(file, "re");
	char *text = in ? g_malloc0(CHALLENGES_MAX + 1) : NULL;
	bool ok = text != NULL;

	if (ok)
		ok = fread(text, 1, CHALLENGES_MAX, in) > 0 && !ferror(in) && feof(in) && g_utf8_validate(text, -1, NULL);
	if (in && !standard)
		fclose(in);
	if (ok)
		return text;
	scep_wipe(text);
	pom_fail(error, POM_ERR_IO, "%s holds no challenge: it must be a file of UTF-8 text", file);
	return NULL;
}

EVP_PKEY *scep_key_new(const char *type, GError **error)
{
	static const struct { const char *name; unsigned bits; const char *curve; } rows[] = {
		{"rsa1024", 1024, NULL}, {"rsa2048", 2048, NULL}, {"rsa3072", 3072, NULL}, {"rsa4096", 4096, NULL}, {"p256", 0, "P-256"}, {"p384", 0, "P-384"}, {"p521", 0, "P-521"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		if (!strcmp(rows[i].name, type))
			return rows[i].bits ? sim_key_new_bits(rows[i].bits) : EVP_EC_gen(rows[i].curve);
	usage(error, "key-type", type, "rsa1024, rsa2048, rsa3072, rsa4096, p256, p384 or p521");
	return NULL;
}

/* ---- files ---- */

/* OWN, or NAME in the folder of the results; NULL when there is neither. transfer full. */
static char *path_of(const struct run *run, const char *own, const char *name)
{
	g_autofree char *path = own ? g_strdup(own) : run->options->out_dir ? g_build_filename(run->options->out_dir, name, NULL) : NULL;

	return path && (own || g_file_test(path, G_FILE_TEST_EXISTS)) ? g_steal_pointer(&path) : NULL;
}

/* *RET stays NULL when there is no key. */
static bool read_key(const struct run *run, EVP_PKEY **ret, GError **error)
{
	g_autofree char *path = path_of(run, run->options->key_file, "key.pem"), *text = NULL;
	bool ok = !path || (read_text(path, &text, error) && (*ret = sim_key_parse(text, path, error)));

	scep_wipe(g_steal_pointer(&text));
	return ok;
}

static bool read_identity(struct run *run, GError **error)
{
	g_autofree char *path = path_of(run, run->options->cert_file, "cert.pem"), *text = NULL;

	if (!read_key(run, &run->old_key, error))
		return false;
	if (!run->old_key || !path)
		return pom_fail(error, POM_ERR_USAGE, "this operation needs an identity: give --key and --cert, or --out of an earlier enroll");
	return read_text(path, &text, error) && (run->old_cert = sim_cert_parse(text, path, error));
}

static bool write_file(const struct run *run, const char *name, const char *data, size_t len, GError **error)
{
	g_autofree char *path = run->options->out_dir ? g_build_filename(run->options->out_dir, name, NULL) : NULL;

	if (!path)
		return true;
	if (g_mkdir_with_parents(run->options->out_dir, 0700))
		return pom_fail(error, POM_ERR_IO, "%s cannot be made: %s", run->options->out_dir, g_strerror(errno));
	return sim_write_file(path, data, len, 0600, error);
}

static bool write_certs(const struct run *run, const char *name, sim_certs *certs, GError **error)
{
	g_autoptr(GString) text = g_string_new(NULL);

	for (int i = 0; i < sk_X509_num(certs); i++) {
		g_autofree char *pem = sim_cert_pem(sk_X509_value(certs, i));

		g_string_append(text, pem);
	}
	return write_file(run, name, text->str, text->len, error);
}

static bool write_key(const struct run *run, GError **error)
{
	char *pem = sim_key_pem(run->key);
	bool ok = write_file(run, "key.pem", pem, strlen(pem), error);

	scep_wipe(pem);
	return ok;
}

static bool write_crl(const struct run *run, X509_CRL *crl, GError **error)
{
	g_autoptr(BIO) bio = BIO_new(BIO_s_mem());
	char *data;
	long len;

	if (!PEM_write_bio_X509_CRL(bio, crl))
		return pom_fail(error, POM_ERR_INTERNAL, "the CRL cannot be written as PEM");
	len = BIO_get_mem_data(bio, &data);
	return write_file(run, "crl.pem", data, (size_t)len, error);
}

/* ---- a request that waits ---- */

static bool write_pending(const struct run *run, const sim_scep *scep, GBytes *csr, GError **error)
{
	g_autofree char *signer = sim_cert_pem(scep->signer), *csr64 = g_base64_encode(g_bytes_get_data(csr, NULL), g_bytes_get_size(csr));
	char *key = sim_key_pem(scep->key), *signer_key = sim_key_pem(scep->signer_key);
	g_autoptr(json_t) state = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b}", "transaction", scep->transaction, "key", key, "signer_key", signer_key, "signer", signer, "csr", csr64,
	                                    "throw_away", scep->throw_away);
	g_autoptr(GBytes) text = state ? json_format(state) : NULL;
	bool ok = text ? write_file(run, "pending.json", g_bytes_get_data(text, NULL), g_bytes_get_size(text), error) :
	                 pom_fail(error, POM_ERR_USAGE, "the transactionID is not UTF-8: it cannot be kept for polling");

	scep_wipe(key);
	scep_wipe(signer_key);
	return ok;
}

static void forget_pending(const struct run *run)
{
	g_autofree char *path = path_of(run, NULL, "pending.json");

	if (path)
		g_unlink(path);
}

static sim_scep *make_pending(const struct run *run, const char *transaction, const char *signer_pem, const char *signer_key_pem, bool throw_away, GError **error)
{
	g_autofree char *name = g_strconcat("text:", transaction, NULL);
	g_autoptr(X509) signer = sim_cert_parse(signer_pem, "pending.json", error);
	g_autoptr(EVP_PKEY) signer_key = signer ? sim_key_parse(signer_key_pem, "pending.json", error) : NULL;
	struct sim_scep_choice choice = run->parsed.choice;
	sim_scep *scep;

	if (!signer_key)
		return NULL;
	choice.transaction = name;
	choice.signer = signer;
	choice.signer_key = signer_key;
	scep = sim_scep_new(&choice, run->key, run->session->caps, error);
	if (scep)
		scep->throw_away = throw_away;
	return scep;
}

/* The transaction of pending.json; false with ERROR. */
static bool read_pending(struct run *run, const char *path, sim_scep **ret_scep, GBytes **ret_csr, GError **error)
{
	g_autofree char *text = NULL;
	g_autoptr(json_t) state = NULL;
	const char *transaction, *key, *signer_key, *signer, *csr;
	int throw_away;
	gsize len;

	if (!read_text(path, &text, error) || !(state = json_parse(text, strlen(text), error)))
		return false;
	scep_wipe(g_steal_pointer(&text));
	if (json_unpack(state, "{s:s, s:s, s:s, s:s, s:s, s:b}", "transaction", &transaction, "key", &key, "signer_key", &signer_key, "signer", &signer, "csr", &csr, "throw_away", &throw_away))
		return pom_fail(error, POM_ERR_JSON, "%s does not hold a request that waits", path);
	run->key = sim_key_parse(key, path, error);
	*ret_scep = run->key ? make_pending(run, transaction, signer, signer_key, throw_away, error) : NULL;
	if (!*ret_scep)
		return false;
	guchar *der = g_base64_decode(csr, &len);
	*ret_csr = g_bytes_new_take(der, len);
	return true;
}

/* ---- the result ---- */

static void set_time(json_t *result, const char *key, const ASN1_TIME *time)
{
	struct tm tm;
	g_autofree char *text = ASN1_TIME_to_tm(time, &tm) ? pom_time_format((int64_t)timegm(&tm) * 1000) : NULL;

	if (text)
		json_object_set_new(result, key, json_string(text));
}

static json_t *list_sans(X509 *cert)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	json_t *list = json_array();

	for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
		g_autoptr(BIO) bio = BIO_new(BIO_s_mem());
		char *data;
		long len;

		GENERAL_NAME_print(bio, sk_GENERAL_NAME_value(names, i));
		len = BIO_get_mem_data(bio, &data);
		json_array_append_new(list, json_stringn_nocheck(data, (size_t)len));
	}
	GENERAL_NAMES_free(names);
	return list;
}

static char *name_text(const X509_NAME *name)
{
	g_autoptr(BIO) bio = BIO_new(BIO_s_mem());
	char *data;
	long len;

	X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
	len = BIO_get_mem_data(bio, &data);
	return g_strndup(data, (gsize)len);
}

static void describe_cert(json_t *result, X509 *cert)
{
	g_autofree char *subject = name_text(X509_get_subject_name(cert)), *issuer = name_text(X509_get_issuer_name(cert)), *serial = sim_cert_serial(cert);

	json_object_set_new(result, "subject", json_string(subject));
	json_object_set_new(result, "issuer", json_string(issuer));
	json_object_set_new(result, "serial", json_string(serial));
	json_object_set_new(result, "sans", list_sans(cert));
	set_time(result, "not_before", X509_get0_notBefore(cert));
	set_time(result, "not_after", X509_get0_notAfter(cert));
}

static void describe_crl(json_t *result, X509_CRL *crl)
{
	g_autofree char *issuer = name_text(X509_CRL_get_issuer(crl));
	ASN1_INTEGER *number = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
	STACK_OF(X509_REVOKED) *revoked = X509_CRL_get_REVOKED(crl);

	json_object_set_new(result, "issuer", json_string(issuer));
	if (number)
		json_object_set_new(result, "crl_number", json_integer(ASN1_INTEGER_get(number)));
	json_object_set_new(result, "n_revoked", json_integer(revoked ? sk_X509_REVOKED_num(revoked) : 0));
	ASN1_INTEGER_free(number);
}

static json_t *describe_certs(sim_certs *certs)
{
	json_t *list = json_array();

	for (int i = 0; i < sk_X509_num(certs); i++) {
		json_t *one = json_object();

		describe_cert(one, sk_X509_value(certs, i));
		json_array_append_new(list, one);
	}
	return list;
}

static void set_status(struct run *run, const char *status)
{
	json_object_set_new(run->result, "status", json_string(status));
}

static void describe(struct run *run, const sim_scep *scep, const struct sim_scep_outcome *outcome)
{
	static const char *const names[] = {"badAlg", "badMessageCheck", "badRequest", "badTime", "badCertId"};

	set_status(run, outcome->http_status != 200 ? "http" : outcome->status == SIM_SCEP_SUCCESS ? "success" : outcome->status == SIM_SCEP_PENDING ? "pending" : "failure");
	json_object_set_new(run->result, "http_status", json_integer(outcome->http_status));
	json_object_set_new(run->result, "transaction", json_string(scep->transaction));
	if (outcome->fail_info)
		json_object_set_new(run->result, "fail_info", json_string(names[*outcome->fail_info - '0']));
	if (outcome->fail_info_text)
		json_object_set_new(run->result, "fail_info_text", json_string(outcome->fail_info_text));
	if (outcome->cert)
		describe_cert(run->result, outcome->cert);
	if (outcome->crl)
		describe_crl(run->result, outcome->crl);
}

/* ---- the operations ---- */

static bool connect_to(struct run *run, GError **error)
{
	const struct sim_scep_options *o = run->options;

	run->http = sim_http_new(o->stop);
	sim_http_trust(run->http, run->parsed.roots);
	run->session = sim_scep_session_new(run->http, o->url, o->ca_name, run->parsed.fingerprint, o->stop);
	run->session->method = run->parsed.method;
	if (!sim_scep_get_ca(run->session, error) || !sim_scep_get_caps(run->session, error) || !write_certs(run, "ca.pem", run->session->ca.all, error))
		return false;
	run->ca = &run->session->ca;
	if (!o->to_next_ca)
		return true;
	run->ca = &run->next;
	return sim_scep_get_next_ca(run->session, &run->next, error);
}

static bool do_caps(struct run *run, GError **error)
{
	g_auto(GStrv) lines = g_strsplit(run->session->caps, "\n", -1);
	json_t *list = json_array();

	for (int i = 0; lines[i]; i++)
		if (*lines[i])
			json_array_append_new(list, json_string(lines[i]));
	json_object_set_new(run->result, "caps", list);
	set_status(run, "success");
	return sim_scep_caps_check(run->session->caps, error);
}

static bool do_ca(struct run *run, GError **error)
{
	const struct sim_scep_ca *ca = &run->session->ca;
	g_autofree char *recipient = sim_cert_subject(ca->recipient), *signer = sim_cert_subject(ca->signer);

	json_object_set_new(run->result, "ca", describe_certs(ca->all));
	json_object_set_new(run->result, "recipient", json_string(recipient));
	json_object_set_new(run->result, "signer", json_string(signer));
	set_status(run, "success");
	return true;
}

static bool do_next_ca(struct run *run, GError **error)
{
	if (!sim_scep_get_next_ca(run->session, &run->next, error))
		return false;
	json_object_set_new(run->result, "next_ca", describe_certs(run->next.all));
	set_status(run, "success");
	return write_certs(run, "next-ca.pem", run->next.all, error);
}

/* What a CertRep to a certificate request leads to. */
static bool conclude(struct run *run, const sim_scep *scep, GBytes *csr, const struct sim_scep_outcome *outcome, GError **error)
{
	g_autofree char *pem = outcome->cert ? sim_cert_pem(outcome->cert) : NULL;

	describe(run, scep, outcome);
	if (outcome->http_status == 200 && outcome->status == SIM_SCEP_PENDING)
		return write_pending(run, scep, csr, error);
	if (outcome->http_status == 200)
		forget_pending(run);
	return !pem || (write_key(run, error) && write_file(run, "cert.pem", pem, strlen(pem), error));
}

/* Asks with TYPE, and polls as long as --wait allows. */
static bool ask_for_cert(struct run *run, sim_scep *scep, enum sim_scep_type type, GBytes *csr, GError **error)
{
	const struct sim_scep_question question = {.type = type, .content = csr};
	struct sim_scep_outcome outcome = {.status = SIM_SCEP_PENDING};
	int64_t n_tries = run->options->wait_s * 1000 / SIM_SCEP_POLL_MS;
	bool ok;

	/* A transaction that is taken up again begins with polling. */
	if (type == SIM_SCEP_CERT_POLL)
		n_tries = MAX(n_tries, 1);
	ok = (type == SIM_SCEP_CERT_POLL || sim_scep_ask(run->session, scep, run->ca, &question, &outcome, error)) &&
	     sim_scep_poll(run->session, scep, run->ca, csr, n_tries, SIM_SCEP_POLL_MS, &outcome, error) && conclude(run, scep, csr, &outcome, error);
	sim_scep_outcome_clear(&outcome);
	return ok;
}

static bool choose_key(struct run *run, GError **error)
{
	bool renews = run->old_cert != NULL;

	if (renews && !strcmp(run->parsed.key_type, "same")) {
		EVP_PKEY_up_ref(run->old_key);
		run->key = run->old_key;
	} else if (!renews && run->options->key_file) {
		return read_key(run, &run->key, error);
	} else {
		run->key = scep_key_new(run->parsed.key_type, error);
	}
	return run->key != NULL;
}

static bool read_challenge(struct run *run, GError **error)
{
	if (!run->options->challenge_file)
		return true;
	run->challenge = scep_read_challenges(run->options->challenge_file, error);
	if (run->challenge)
		run->challenge[strcspn(run->challenge, "\r\n")] = 0;
	return run->challenge != NULL;
}

/* A new transaction; *RET_CSR transfer full. NULL with ERROR. */
static sim_scep *begin(struct run *run, GBytes **ret_csr, GError **error)
{
	const struct sim_scep_wish wish = {.subject_text = run->options->subject, .key_usage = 5, .extensions = run->options->extensions};
	struct sim_scep_choice choice = run->parsed.choice;
	g_autoptr(sim_scep) scep = NULL;

	if (!read_challenge(run, error) || !choose_key(run, error))
		return NULL;
	choice.challenge = run->challenge;
	choice.signer = run->old_cert;
	choice.signer_key = run->old_key;
	scep = sim_scep_new(&choice, run->key, run->session->caps, error);
	*ret_csr = scep ? sim_scep_csr(scep, &wish, error) : NULL;
	return *ret_csr ? g_steal_pointer(&scep) : NULL;
}

static bool request_cert(struct run *run, enum sim_scep_type type, GError **error)
{
	g_autoptr(GBytes) csr = NULL;
	g_autoptr(sim_scep) scep = begin(run, &csr, error);

	return scep && ask_for_cert(run, scep, type, csr, error);
}

static bool do_enroll(struct run *run, GError **error)
{
	return request_cert(run, SIM_SCEP_PKCS_REQ, error);
}

static bool do_renew(struct run *run, GError **error)
{
	return read_identity(run, error) && request_cert(run, SIM_SCEP_RENEWAL_REQ, error);
}

static bool do_renew19(struct run *run, GError **error)
{
	return read_identity(run, error) && request_cert(run, SIM_SCEP_PKCS_REQ, error);
}

/* Without a request that waits, it polls for one that was never made. */
static bool do_poll(struct run *run, GError **error)
{
	g_autofree char *path = path_of(run, NULL, "pending.json");
	g_autoptr(sim_scep) scep = NULL;
	g_autoptr(GBytes) csr = NULL;

	if (!path)
		return request_cert(run, SIM_SCEP_CERT_POLL, error);
	return read_pending(run, path, &scep, &csr, error) && ask_for_cert(run, scep, SIM_SCEP_CERT_POLL, csr, error);
}

/* The identity's serial number, or --serial's. transfer full; NULL with ERROR. */
static ASN1_INTEGER *choose_serial(const struct run *run, GError **error)
{
	const char *hex = run->options->serial;
	BIGNUM *number = NULL;
	ASN1_INTEGER *serial;

	if (!hex)
		return ASN1_INTEGER_dup(X509_get0_serialNumber(run->old_cert));
	serial = BN_hex2bn(&number, hex) == (int)strlen(hex) ? BN_to_ASN1_INTEGER(number, NULL) : NULL;
	BN_free(number);
	if (!serial)
		pom_fail(error, POM_ERR_USAGE, "--serial %s is not hexadecimal", hex);
	return serial;
}

static bool ask_for_existing(struct run *run, enum sim_scep_type type, const ASN1_INTEGER *serial, GError **error)
{
	const X509_NAME *issuer = X509_get_issuer_name(run->old_cert);
	g_autoptr(GBytes) content = sim_scep_get_content(issuer, serial);
	const struct sim_scep_question question = {.type = type, .content = content, .issuer = issuer, .serial = serial};
	struct sim_scep_choice choice = run->parsed.choice;
	struct sim_scep_outcome outcome = {0};
	g_autoptr(sim_scep) scep = NULL;
	bool ok;

	choice.signer = run->old_cert;
	choice.signer_key = run->old_key;
	scep = sim_scep_new(&choice, run->old_key, run->session->caps, error);
	ok = scep && sim_scep_ask(run->session, scep, run->ca, &question, &outcome, error);
	if (ok) {
		describe(run, scep, &outcome);
		ok = !outcome.crl || write_crl(run, outcome.crl, error);
	}
	sim_scep_outcome_clear(&outcome);
	return ok;
}

static bool get_existing(struct run *run, enum sim_scep_type type, GError **error)
{
	ASN1_INTEGER *serial = read_identity(run, error) ? choose_serial(run, error) : NULL;
	bool ok = serial && ask_for_existing(run, type, serial, error);

	ASN1_INTEGER_free(serial);
	return ok;
}

static bool do_get_cert(struct run *run, GError **error)
{
	return get_existing(run, SIM_SCEP_GET_CERT, error);
}

static bool do_get_crl(struct run *run, GError **error)
{
	return get_existing(run, SIM_SCEP_GET_CRL, error);
}

static const struct operation {
	const char *name;
	bool (*run)(struct run *run, GError **error);
} operations[] = {
	{"enroll", do_enroll}, {"renew", do_renew}, {"renew19", do_renew19}, {"poll", do_poll}, {"get-cert", do_get_cert}, {"get-crl", do_get_crl}, {"get-next-ca", do_next_ca},
	{"caps", do_caps}, {"ca", do_ca},
};

static const struct operation *find_operation(const char *name, GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(operations); i++)
		if (!strcmp(operations[i].name, name))
			return &operations[i];
	usage(error, "operation", name, "enroll, renew, renew19, poll, get-cert, get-crl, get-next-ca, caps or ca");
	return NULL;
}

static void run_clear(struct run *run)
{
	sim_scep_session_free(run->session);
	sim_http_free(run->http);
	sim_scep_ca_clear(&run->next);
	scep_parsed_clear(&run->parsed);
	EVP_PKEY_free(run->old_key);
	EVP_PKEY_free(run->key);
	X509_free(run->old_cert);
	scep_wipe(run->challenge);
	json_decref(run->result);
}

bool sim_scep_run(const struct sim_scep_options *options, json_t **ret, GError **error)
{
	const struct operation *operation = find_operation(options->operation ? options->operation : "enroll", error);
	struct run run = {.options = options, .result = json_object()};
	bool ok = operation && scep_options_parse(options, &run.parsed, error);

	if (ok) {
		json_object_set_new(run.result, "operation", json_string(operation->name));
		ok = connect_to(&run, error) && operation->run(&run, error);
	}
	if (ok)
		*ret = g_steal_pointer(&run.result);
	run_clear(&run);
	return ok;
}
