/* Whatever the strict check refuses has a finding that is an error (binary files are read as well here); what is repaired has nothing left to repair, and is repaired the same way again. */
#include "codec/lint.h"
#include "codec/plist_binary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_accepted(const uint8_t *data, size_t size)
{
	g_autoptr(GBytes) content = mobileconfig_open(data, size, NULL, NULL);
	g_autoptr(plist) profile = content ? plist_parse_any(g_bytes_get_data(content, NULL), g_bytes_get_size(content), NULL, NULL, NULL) : NULL;

	return profile && mobileconfig_check(profile, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct lint_facts facts = {.now_s = 1800000000}, asked = {.now_s = 1800000000, .systems = {{FINDING_IOS, 150000}, {FINDING_MACOS, 0}, {FINDING_WATCHOS, 0}}, .n_systems = 3, .is_unsupervised = true};
	g_autoptr(lint_report) report = lint_file("f", data, size, &facts), for_some = lint_file("f", data, size, &asked), left = NULL, again = NULL;
	g_autoptr(json_t) json = lint_format(report);
	g_autoptr(GBytes) fixed = lint_fix("f", data, size, &facts, &left, NULL), twice = fixed ? lint_fix("f", g_bytes_get_data(fixed, NULL), g_bytes_get_size(fixed), &facts, &again, NULL) : NULL;

	g_assert(json && (is_accepted(data, size) || report->is_service || report->found->n[FINDING_ERROR]));
	g_assert(for_some->found->n[FINDING_ERROR] >= report->found->n[FINDING_ERROR]);
	g_assert(!left || !g_hash_table_size(left->fixable));
	g_assert(!fixed || g_bytes_equal(fixed, twice));
	return 0;
}
