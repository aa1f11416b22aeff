#include "sim/factory.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "sim/sim.h"

enum { BITS = 2048, BITS_LIKE_APPLE = 1024, CA_DAYS = 7300, DEVICE_DAYS = 3650, DAY_S = 86400 };
/* 2007-04-16 to 2014-04-16: the validity of Apple iPhone Device CA. 2007-04-12 to 2022-04-12: its issuer's. */
enum { APPLE_FROM = 1176681600, APPLE_TO = 1397606400, APPLE_ISSUER_FROM = 1176336000, APPLE_ISSUER_TO = 1649721600 };

#define ORGANIZATION "Simulated Inc."

void sim_factory_free(sim_factory *factory)
{
	if (!factory)
		return;
	EVP_PKEY_free(factory->key);
	X509_free(factory->ca);
	X509_free(factory->issuer);
	g_free(factory);
}

static int days_from_now(time_t then)
{
	return (int)((then - time(NULL)) / DAY_S);
}

sim_factory *sim_factory_new(bool like_apple)
{
	sim_factory *factory = g_new0(sim_factory, 1);
	g_autoptr(EVP_PKEY) issuer_key = sim_key_new();
	struct sim_cert_plan plan = {
		.key = issuer_key, .cn = "Simulated iPhone Certification Authority", .unit = "Simulated Certification Authority", .organization = ORGANIZATION, .country = "US", .ca = true,
		.from_days = like_apple ? days_from_now(APPLE_ISSUER_FROM) : -1, .to_days = like_apple ? days_from_now(APPLE_ISSUER_TO) : CA_DAYS, .md = like_apple ? EVP_sha1() : EVP_sha256(),
	};

	factory->issuer = sim_cert_make(&plan);
	factory->key = sim_key_new_bits(like_apple ? BITS_LIKE_APPLE : BITS);
	plan.key = factory->key;
	plan.cn = "Simulated iPhone Device CA";
	plan.unit = "Simulated iPhone";
	plan.issuer = factory->issuer;
	plan.issuer_key = issuer_key;
	if (like_apple) {
		plan.from_days = days_from_now(APPLE_FROM);
		plan.to_days = days_from_now(APPLE_TO);
	}
	factory->ca = sim_cert_make(&plan);
	return factory;
}

struct sim_identity *sim_factory_build(const sim_factory *factory, const char *udid, const char *serial_number)
{
	int bits = EVP_PKEY_get_bits(factory->key);
	g_autoptr(EVP_PKEY) key = sim_key_new_bits((unsigned)bits);
	const struct sim_cert_plan plan = {
		.key = key, .cn = udid, .serial_number = serial_number, .unit = "Simulated device", .organization = ORGANIZATION, .country = "US", .issuer = factory->ca, .issuer_key = factory->key,
		.from_days = -1, .to_days = DEVICE_DAYS, .md = bits == BITS_LIKE_APPLE ? EVP_sha1() : EVP_sha256(),
	};
	g_autoptr(X509) cert = sim_cert_make(&plan);

	return sim_identity_new(key, cert);
}

sim_certs *sim_factory_chain(const sim_factory *factory)
{
	sim_certs *certs = sk_X509_new_null();

	X509_up_ref(factory->ca);
	sk_X509_push(certs, factory->ca);
	return certs;
}

/* ---- on disk ---- */

static bool write_text(const char *dir, const char *name, char *text, int mode, GError **error)
{
	g_autofree char *path = g_build_filename(dir, name, NULL), *owned = text;

	return sim_write_file(path, owned, strlen(owned), mode, error);
}

static char *read_text(const char *dir, const char *name, GError **error)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);
	g_autoptr(GError) why = NULL;
	char *text = NULL;

	if (!g_file_get_contents(path, &text, NULL, &why))
		pom_fail(error, POM_ERR_IO, "%s: \"pomona sim factory-ca --dir %s\" makes a factory", why->message, dir);
	return text;
}

bool sim_factory_make(const char *dir, bool like_apple, bool *ret_made, GError **error)
{
	g_autofree char *path = g_build_filename(dir, "device-ca.pem", NULL);
	g_autoptr(sim_factory) factory = NULL;

	if (g_file_test(path, G_FILE_TEST_EXISTS)) {
		factory = sim_factory_open(dir, error);
		*ret_made = false;
		return factory != NULL;
	}
	if (g_mkdir_with_parents(dir, 0700) < 0)
		return pom_fail(error, POM_ERR_IO, "%s cannot be made: %s", dir, g_strerror(errno));
	factory = sim_factory_new(like_apple);
	/* The certificate of the CA last: with it the factory is there. */
	if (!write_text(dir, "device-ca.key.pem", sim_key_pem(factory->key), 0600, error) || !write_text(dir, "issuer.pem", sim_cert_pem(factory->issuer), 0644, error) ||
	    !write_text(dir, "device-ca.pem", sim_cert_pem(factory->ca), 0644, error))
		return false;
	*ret_made = true;
	return true;
}

sim_factory *sim_factory_open(const char *dir, GError **error)
{
	g_autoptr(sim_factory) factory = g_new0(sim_factory, 1);
	g_autofree char *key = read_text(dir, "device-ca.key.pem", error), *ca = key ? read_text(dir, "device-ca.pem", error) : NULL, *issuer = ca ? read_text(dir, "issuer.pem", error) : NULL;

	if (!issuer || !(factory->key = sim_key_parse(key, "device-ca.key.pem", error)) || !(factory->ca = sim_cert_parse(ca, "device-ca.pem", error)) ||
	    !(factory->issuer = sim_cert_parse(issuer, "issuer.pem", error)))
		return NULL;
	if (X509_check_private_key(factory->ca, factory->key))
		return g_steal_pointer(&factory);
	pom_fail(error, POM_ERR_KEY_MISMATCH, "%s: device-ca.key.pem does not belong to device-ca.pem", dir);
	return NULL;
}
