/* SCEP over HTTP, as a device does it: GetCACert, GetCACaps, PKIOperation, polling while the answer is PENDING. */
#pragma once

#include "sim/sim_http.h"
#include "sim/sim_message.h"

struct sim_scep_quirks {
	const char *challenge;   /* instead of the profile's; NULL: the profile's */
	EVP_PKEY *csr_signer;    /* signs the CSR instead of its own key; NULL: its own */
	GBytes *instead;         /* sent instead of the pkiMessage; NULL: none */
};

struct sim_scep_outcome {
	enum sim_scep_status status;
	X509 *cert;              /* SUCCESS, transfer full */
	char *fail_info;         /* FAILURE, transfer full; NULL: the server gave none */
	int http_status;         /* of the last PKIOperation */
};
void sim_scep_outcome_clear(struct sim_scep_outcome *outcome);

/* Gets a certificate for KEY. True with *RET also on FAILURE, and with http_status not 200 when the server answered with an HTTP error; false
 * when it cannot be reached or its answer is not what SCEP demands. QUIRKS may be NULL. Blocks; STOP (may be NULL) ends the waiting. */
bool sim_scep_enroll(sim_http *http, const struct sim_scep_settings *settings, bool macos, EVP_PKEY *key, const struct sim_scep_quirks *quirks, const int *stop, struct sim_scep_outcome *ret, GError **error)
	G_GNUC_WARN_UNUSED_RESULT;

/* The address of an operation: URL may have a query already. transfer full. */
char *sim_scep_url(const char *url, const char *operation, const char *message);
