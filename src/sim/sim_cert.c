#include "sim/sim_cert.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/face.h"

enum { SERIAL_BYTES = 16, HOUR_S = 3600, SIGNER_DAYS = 7 };

char *sim_openssl_error(void)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	return g_strdup(reason ? reason : "no reason given");
}

/* For what cannot fail unless memory or randomness is gone. */
static void must(bool ok, const char *what)
{
	g_autofree char *why = ok ? NULL : sim_openssl_error();

	if (!ok)
		g_error("%s: %s", what, why);
}

struct sim_identity *sim_identity_new(EVP_PKEY *key, X509 *cert)
{
	struct sim_identity *identity = g_new0(struct sim_identity, 1);

	EVP_PKEY_up_ref(key);
	X509_up_ref(cert);
	*identity = (struct sim_identity){key, cert};
	return identity;
}

void sim_identity_free(struct sim_identity *identity)
{
	if (!identity)
		return;
	EVP_PKEY_free(identity->key);
	X509_free(identity->cert);
	g_free(identity);
}

GPtrArray *sim_identities_new(void)
{
	return g_ptr_array_new_with_free_func((GDestroyNotify)sim_identity_free);
}

EVP_PKEY *sim_key_new_bits(unsigned bits)
{
	EVP_PKEY *key = EVP_RSA_gen(bits);

	must(key, "an RSA key cannot be made");
	return key;
}

EVP_PKEY *sim_key_new(void)
{
	return sim_key_new_bits(2048);
}

static void add_name(X509_NAME *name, const char *field, const char *text)
{
	if (text)
		must(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)text, -1, -1, 0), field);
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;

	X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	must(extension && X509_add_ext(cert, extension, -1), value);
	X509_EXTENSION_free(extension);
}

static void add_dns(X509 *cert, const char *dns)
{
	unsigned char address[16];
	bool is_ip = inet_pton(AF_INET, dns, address) == 1 || inet_pton(AF_INET6, dns, address) == 1;
	g_autofree char *value = g_strdup_printf("%s:%s", is_ip ? "IP" : "DNS", dns);

	add_extension(cert, cert, NID_subject_alt_name, value);
}

static X509 *new_unsigned(EVP_PKEY *key, int days)
{
	X509 *cert = X509_new();
	unsigned char serial[SERIAL_BYTES];
	BIGNUM *number;

	pom_random_fill(pom_random_system(), serial, sizeof(serial));
	serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40); /* positive and always of the same length */
	number = BN_bin2bn(serial, sizeof(serial), NULL);
	must(cert && number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)), "serial number");
	BN_free(number);
	must(X509_set_version(cert, X509_VERSION_3) && X509_set_pubkey(cert, key) && X509_gmtime_adj(X509_getm_notBefore(cert), -HOUR_S) &&
	     X509_time_adj_ex(X509_getm_notAfter(cert), days, 0, NULL), "certificate");
	return cert;
}

X509 *sim_cert_new(EVP_PKEY *key, const char *cn, const char *uid, const char *dns, X509 *issuer, EVP_PKEY *issuer_key, int days)
{
	X509 *cert = new_unsigned(key, days);
	X509_NAME *name = X509_get_subject_name(cert);

	add_name(name, "UID", uid);
	add_name(name, "CN", cn);
	must(X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert)), "issuer");
	add_extension(cert, issuer ? issuer : cert, NID_subject_key_identifier, "hash");
	if (issuer)
		add_extension(cert, issuer, NID_authority_key_identifier, "keyid");
	add_extension(cert, cert, NID_basic_constraints, issuer ? "critical,CA:FALSE" : "critical,CA:TRUE");
	add_extension(cert, cert, NID_key_usage, issuer ? "critical,digitalSignature,keyEncipherment" : "critical,digitalSignature,keyCertSign,cRLSign");
	if (issuer)
		add_extension(cert, cert, NID_ext_key_usage, dns ? "serverAuth" : "clientAuth");
	if (dns)
		add_dns(cert, dns);
	must(X509_sign(cert, issuer ? issuer_key : key, EVP_sha256()), "signature");
	return cert;
}

X509 *sim_cert_make(const struct sim_cert_plan *plan)
{
	X509 *cert = new_unsigned(plan->key, plan->to_days), *issuer = plan->issuer ? plan->issuer : cert;
	X509_NAME *name = X509_get_subject_name(cert);

	add_name(name, "C", plan->country);
	add_name(name, "O", plan->organization);
	add_name(name, "OU", plan->unit);
	add_name(name, "CN", plan->cn);
	add_name(name, "serialNumber", plan->serial_number);
	must(X509_time_adj_ex(X509_getm_notBefore(cert), plan->from_days, 0, NULL) && X509_set_issuer_name(cert, X509_get_subject_name(issuer)), "certificate");
	add_extension(cert, issuer, NID_subject_key_identifier, "hash");
	if (plan->issuer)
		add_extension(cert, issuer, NID_authority_key_identifier, "keyid");
	add_extension(cert, cert, NID_basic_constraints, plan->ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
	add_extension(cert, cert, NID_key_usage, plan->ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature,keyEncipherment");
	must(X509_sign(cert, plan->issuer ? plan->issuer_key : plan->key, plan->md), "signature");
	return cert;
}

X509 *sim_cert_new_signer(EVP_PKEY *key, const char *cn, const char *country, bool encipherment)
{
	X509 *cert = new_unsigned(key, SIGNER_DAYS);
	X509_NAME *name = X509_get_subject_name(cert);

	add_name(name, "CN", cn);
	add_name(name, "C", country);
	must(X509_set_issuer_name(cert, name), "issuer");
	add_extension(cert, cert, NID_key_usage, encipherment ? "critical,digitalSignature,keyEncipherment" : "critical,digitalSignature");
	must(X509_sign(cert, key, EVP_sha256()), "signature");
	return cert;
}

static char *bio_text(BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	return g_strndup(data, (gsize)len);
}

char *sim_cert_pem(X509 *cert)
{
	g_autoptr(BIO) bio = BIO_new(BIO_s_mem());

	must(PEM_write_bio_X509(bio, cert), "PEM");
	return bio_text(bio);
}

char *sim_key_pem(EVP_PKEY *key)
{
	g_autoptr(BIO) bio = BIO_new(BIO_s_mem());

	must(PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), "PEM");
	return bio_text(bio);
}

/* A key with a password is refused, not asked for on the terminal. */
static int no_password(char *buf, int size, int writing, void *ctx)
{
	return -1;
}

EVP_PKEY *sim_key_parse(const char *pem, const char *what, GError **error)
{
	g_autoptr(BIO) bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	g_autofree char *why = key ? NULL : sim_openssl_error();

	if (!key)
		pom_fail(error, POM_ERR_KEY, "%s holds no PEM key without a password: %s", what, why);
	return key;
}

sim_certs *sim_certs_parse(const char *pem, const char *what, GError **error)
{
	g_autoptr(BIO) bio = BIO_new_mem_buf(pem, -1);
	g_autoptr(sim_certs) certs = sk_X509_new_null();
	X509 *cert;

	while ((cert = PEM_read_bio_X509(bio, NULL, no_password, NULL)))
		must(sk_X509_push(certs, cert), "list");
	ERR_clear_error();
	if (sk_X509_num(certs))
		return g_steal_pointer(&certs);
	pom_fail(error, POM_ERR_CERT_MALFORMED, "%s holds no PEM certificate", what);
	return NULL;
}

X509 *sim_cert_parse(const char *pem, const char *what, GError **error)
{
	g_autoptr(sim_certs) certs = sim_certs_parse(pem, what, error);

	return certs ? sk_X509_shift(certs) : NULL;
}

char *sim_cert_subject(X509 *cert)
{
	g_autoptr(BIO) bio = BIO_new(BIO_s_mem());

	/* UTF-8 stays readable; control characters are escaped. */
	X509_NAME_print_ex(bio, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
	return bio_text(bio);
}

char *sim_cert_serial(X509 *cert)
{
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
	char *hex = number ? BN_bn2hex(number) : NULL;
	char *text = g_strdup(hex ? hex : "?");

	OPENSSL_free(hex);
	BN_free(number);
	return text;
}

static bool write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

bool sim_write_file(const char *path, const void *data, size_t len, int mode, GError **error)
{
	g_autofree char *temporary = g_strdup_printf("%s.XXXXXX", path);
	int fd = mkostemp(temporary, O_CLOEXEC), saved = errno;
	bool ok;

	if (fd < 0)
		return pom_fail(error, POM_ERR_IO, "%s cannot be written: %s", path, g_strerror(saved));
	ok = write_all(fd, data, len) && fchmod(fd, (mode_t)mode) == 0 && fsync(fd) == 0;
	saved = errno;
	ok = close(fd) == 0 && ok;
	if (ok && rename(temporary, path) == 0)
		return true;
	saved = ok ? errno : saved;
	unlink(temporary);
	return pom_fail(error, POM_ERR_IO, "%s cannot be written: %s", path, g_strerror(saved));
}
