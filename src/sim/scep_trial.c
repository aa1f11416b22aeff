#include "sim/scep_trial.h"

#include "base/error.h"
#include "sim/scep_client.h"

enum { TRIAL_BITS = 2048, TRIAL_USAGE = 5 };

static int64_t begin_of(const X509 *cert)
{
	ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
	int days = 0, seconds = 0;

	ASN1_TIME_diff(&days, &seconds, epoch, X509_get0_notBefore(cert));
	ASN1_TIME_free(epoch);
	return (int64_t)days * 86400 + seconds;
}

static bool read_outcome(const struct sim_scep_outcome *outcome, char **ret_serial, int64_t *ret_not_before, GError **error)
{
	if (outcome->status == SIM_SCEP_SUCCESS && outcome->cert) {
		*ret_serial = sim_cert_serial(outcome->cert);
		*ret_not_before = begin_of(outcome->cert);
		return true;
	}
	if (outcome->http_status != 200)
		return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: the request is answered with HTTP %d", outcome->http_status);
	return pom_fail(error, POM_ERR_SCEP_MESSAGE, "22013: the request is refused, failInfo %s%s%s", outcome->fail_info ? outcome->fail_info : "none", outcome->fail_info_text ? ": " : "",
	                outcome->fail_info_text ? outcome->fail_info_text : "");
}

/* As sim_scep_enroll does it, but waiting for nobody. */
static bool ask(sim_http *http, const struct sim_trial *trial, EVP_PKEY *key, struct sim_scep_outcome *ret, GError **error)
{
	g_autoptr(sim_scep_session) session = sim_scep_session_new(http, trial->url, NULL, NULL, NULL);
	const struct sim_scep_errand errand = {.type = SIM_SCEP_PKCS_REQ, .key = key, .choice = {.form = sim_scep_form_find(trial->form), .challenge = trial->challenge}, .wish = {.key_usage = TRIAL_USAGE}};

	if (!sim_scep_get_ca(session, error) || !sim_scep_get_caps(session, error) || !sim_scep_obtain(session, &errand, ret, error))
		return false;
	return ret->status != SIM_SCEP_PENDING || pom_fail(error, POM_ERR_CONFLICT, "the request waits for approval");
}

bool sim_scep_trial(const struct sim_trial *trial, char **ret_serial, int64_t *ret_not_before, GError **error)
{
	g_autoptr(sim_http) http = sim_http_new(NULL);
	EVP_PKEY *key = sim_key_new_bits(TRIAL_BITS);
	struct sim_scep_outcome outcome = {0};
	bool ok;

	if (trial->roots)
		sim_http_trust(http, trial->roots);
	ok = ask(http, trial, key, &outcome, error) && read_outcome(&outcome, ret_serial, ret_not_before, error);
	sim_scep_outcome_clear(&outcome);
	EVP_PKEY_free(key);
	return ok;
}
