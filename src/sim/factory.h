/* A simulated factory: a device CA like Apple's, which gives each simulated device the identity that it is born with.
 *
 * Apple's chain is device ← Apple iPhone Device CA ← Apple iPhone Certification Authority ← Apple Root CA. A simulated one ends at the second CA. It
 * lives in a directory: device-ca.pem is what an MDM server has to be told of; device-ca.key.pem is the CA's key; issuer.pem is who has
 * issued the CA's certificate. sim_factory_make of sim.h makes it. */
#pragma once

#include "sim/sim_cert.h"

typedef struct sim_factory {
	EVP_PKEY *key;
	X509 *ca, *issuer;
} sim_factory;

/* The factory in DIR, transfer full. POM_ERR_IO, POM_ERR_KEY, POM_ERR_CERT_MALFORMED, POM_ERR_KEY_MISMATCH. */
sim_factory *sim_factory_open(const char *dir, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A factory that is nowhere on disk; LIKE_APPLE as of sim_factory_make. transfer full. */
sim_factory *sim_factory_new(bool like_apple);
void sim_factory_free(sim_factory *factory);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(sim_factory, sim_factory_free)

/* The identity of a new device: its certificate names UDID (common name) and SERIAL_NUMBER, and is of the same make as the CA's. transfer full. */
struct sim_identity *sim_factory_build(const sim_factory *factory, const char *udid, const char *serial_number);

/* What a device sends along with its own certificate: the CA's; transfer full. */
sim_certs *sim_factory_chain(const sim_factory *factory);
