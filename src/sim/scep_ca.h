/* The certificates of a SCEP server: GetCACert and GetNextCACert (RFC 8894 §4.2, §4.7), read as Apple's client reads them. */
#pragma once

#include "sim/sim_cert.h"

struct sim_scep_ca {
	X509 *recipient, *signer; /* whom requests are enveloped to; who must sign replies. Borrowed from ALL */
	X509 *root;               /* the end of the chain, whose fingerprint a profile may name. Borrowed from ALL */
	sim_certs *all;
};
void sim_scep_ca_clear(struct sim_scep_ca *ca);

/* BODY of the media type TYPE → certificates, checked against FINGERPRINT (SHA-1 or MD5 of the root; NULL: not checked).
 *
 * One certificate stands for itself. Of several, all must chain to one root among them, and below it a pair of certificates, one that signs and
 * one that deciphers, is taken before one that does both. The recipient's key must be RSA. False with POM_ERR_SCEP_MESSAGE and the code
 * that a device shows. */
bool sim_scep_ca_parse(const char *type, GBytes *body, GBytes *fingerprint, struct sim_scep_ca *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The answer to GetNextCACert: it must be signed by a CA certificate of CURRENT, not by its RA (§4.7.1). *RET has the next CA alone, or, when
 * the answer brings a chain, is chosen as for GetCACert. POM_ERR_SCEP_MESSAGE. */
bool sim_scep_next_ca_parse(const char *type, GBytes *body, const struct sim_scep_ca *current, struct sim_scep_ca *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Whether one of CA's certificates has signed CERT. */
bool sim_scep_ca_issued(const struct sim_scep_ca *ca, X509 *cert);
/* Whether one of CA's certificates has signed CRL. */
bool sim_scep_ca_issued_crl(const struct sim_scep_ca *ca, X509_CRL *crl);
