/* Any property list as a command: the check ends with a verdict, knowing more of the device never makes a refused command acceptable, and redaction hides what it says it does. */
#include "core/command.h"
#include "core/command_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A verdict, which must have a message that can be shown. */
static bool is_accepted(const plist *command, const struct command_target *target)
{
	g_autoptr(GError) error = NULL;

	if (command_check(command, target, &error)) {
		g_assert(!error);
		return true;
	}
	g_assert(error && error->domain == POM_ERROR && g_utf8_validate(error->message, -1, NULL));
	return false;
}

static void check_targets(const plist *command)
{
	bool accepted = is_accepted(command, NULL);

	for (int platform = 0; platform <= PLATFORM_MAX; platform++)
		for (int kind = 0; kind < ENROLLMENT_KIND_MAX; kind++) {
			struct command_target target;

			command_target_init(&target, (enum enrollment_kind)kind);
			target.platform = (enum platform)platform;
			target.os_version = platform % 2 ? 0x0b0000 : 0xff0000;
			g_assert(!is_accepted(command, &target) || accepted);
			target.access_rights = 0;
			target.supervised = target.automated = COMMAND_NO;
			g_assert(!is_accepted(command, &target) || accepted);
		}
}

static void check_redaction(const plist *tree)
{
	const char *type = plist_get_string(plist_dict_get(tree, "RequestType"));

	for (int part = 0; part < COMMAND_PART_MAX; part++) {
		g_autoptr(plist) once = command_redact(type, (enum command_part)part, tree), twice = command_redact(type, (enum command_part)part, once);

		g_assert(plist_equal(once, twice));
		g_assert(command_has_secret(type, (enum command_part)part, tree) || plist_equal(once, tree));
	}
}

/* Two orders of its keys are one command; whatever a device reports can be shown. */
static void check_reading(const plist *tree)
{
	g_autoptr(GBytes) canonical = command_canonical(tree, NULL);
	g_autoptr(plist) again = canonical ? plist_parse(g_bytes_get_data(canonical, NULL), g_bytes_get_size(canonical), NULL, NULL) : NULL;
	g_autoptr(GArray) errors = report_errors(tree);

	g_assert(!again || plist_equal(again, tree));
	g_assert(errors->len <= REPORT_ERRORS_MAX);
	for (guint i = 0; i < errors->len; i++) {
		const struct report_error *e = &g_array_index(errors, struct report_error, i);

		for (size_t k = 0; k < plist_count(e->chain); k++)
			(void)chain_item_read(plist_child(e->chain, k));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(plist) tree = plist_parse(data, size, NULL, NULL);

	if (!tree)
		return 0;
	check_targets(tree);
	check_redaction(tree);
	check_reading(tree);
	return 0;
}
