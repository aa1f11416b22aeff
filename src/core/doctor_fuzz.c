/* Files, profiles and answers of strangers: whatever they are, each finding is of a rule in the table, is text, and comes back from JSON. The first byte says what the rest is. */
#include <string.h>

#include "core/doctor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_chain(const struct doctor *doctor, GPtrArray *certs)
{
	if (certs && certs->len)
		doctor_chain(doctor, certs, "mdm.example.org", "here");
}

static void look(struct doctor *doctor, unsigned kind, const uint8_t *data, size_t size)
{
	static const char *const types[] = {"application/x-x509-ca-cert", "application/x-x509-ca-ra-cert", "text/plain"};
	g_autoptr(GBytes) body = g_bytes_new(data, size), fingerprint = NULL;
	g_autoptr(GPtrArray) certs = NULL;
	g_autoptr(X509) recipient = NULL, signer = NULL;
	struct doctor_answer answer = {.status = 200, .content_type = (char *)(uintptr_t)types[kind % 3], .body = body};

	switch (kind / 3 % 4) {
	case 0:
		certs = doctor_file(doctor, data, size);
		doctor->anchors = kind % 3 == 1 ? certs : NULL;
		doctor->trusted = kind % 3 == 2 ? certs : NULL;
		look_chain(doctor, certs);
		doctor->anchors = doctor->trusted = NULL;
		return;
	case 1:
		certs = doctor_profile(doctor, data, size, &fingerprint);
		look_chain(doctor, certs);
		return;
	case 2:
		doctor_scep_caps(doctor, &answer);
		return;
	default:
		g_assert(doctor_scep_ca(doctor, &answer, fingerprint, &recipient, &signer) == (recipient && signer));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(finding_report) report = finding_report_new("fuzz"), again = NULL;
	struct doctor doctor = {.report = report, .systems = FINDING_ALL_SYSTEMS, .now_s = 1800000000, .are_pins = true};

	if (!size)
		return 0;
	look(&doctor, data[0], data + 1, size - 1);
	for (guint i = 0; i < report->findings->len; i++) {
		const struct finding *finding = report->findings->pdata[i];

		g_assert(doctor_rule_find(finding->rule) && finding->mend && *finding->text && g_utf8_validate(finding->text, -1, NULL));
	}
	g_autoptr(json_t) json = finding_report_format(report), twice = NULL;
	g_autofree char *text = finding_report_text(report, 80, true), *junit = finding_report_junit(report, "fuzz");

	g_assert(json && text && junit);
	again = finding_report_parse(json, NULL);
	twice = again ? finding_report_format(again) : NULL;
	g_assert(twice && json_equal(json, twice));
	return 0;
}
