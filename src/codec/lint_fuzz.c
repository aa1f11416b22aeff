/* Whatever the strict check refuses has a finding that is an error; what is repaired has nothing left to repair, and is repaired the same way again. */
#include "codec/lint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct lint_facts facts = {.now_s = 1800000000};
	bool is_signed;
	g_autoptr(plist) profile = mobileconfig_parse(data, size, &is_signed, NULL);
	g_autoptr(lint_report) report = lint_file(data, size, &facts), left = NULL, again = NULL;
	g_autoptr(json_t) json = lint_format(report);
	g_autoptr(GBytes) fixed = lint_fix(data, size, &facts, &left, NULL), twice = fixed ? lint_fix(g_bytes_get_data(fixed, NULL), g_bytes_get_size(fixed), &facts, &again, NULL) : NULL;

	g_assert(json && (profile || report->n_errors));
	for (guint i = 0; left && i < left->findings->len; i++)
		g_assert(!((const struct lint_finding *)left->findings->pdata[i])->is_fixable);
	g_assert(!fixed || g_bytes_equal(fixed, twice));
	return 0;
}
