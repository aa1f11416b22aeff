#include "core/command.h"

#include <string.h>

enum { UUID_MAX = 128, REQUEST_TYPE_MAX = 128 };

static const char *const status_names[REPORT_STATUS_MAX] = {"Idle", "Acknowledged", "Error", "CommandFormatError", "NotNow"};

const char *report_status_name(enum report_status status)
{
	return status < REPORT_STATUS_MAX ? status_names[status] : "?";
}

bool report_parse(const plist *message, struct report *ret, GError **error)
{
	struct report report = {.status = REPORT_STATUS_MAX};
	const char *status;

	if (!checkin_identity_parse(message, "report", &report.who, error))
		return false;
	status = plist_get_string(plist_dict_get(message, "Status"));
	for (int i = 0; status && i < REPORT_STATUS_MAX; i++)
		if (!strcmp(status, status_names[i]))
			report.status = i;
	if (report.status == REPORT_STATUS_MAX)
		return pom_fail(error, POM_ERR_COMMAND_STATUS, "Status is %s%.64s%s: it must be Idle, Acknowledged, Error, CommandFormatError or NotNow",
		                status ? "\"" : "", status ? status : "missing or no string", status ? "\"" : "");
	if (!plist_take_string(message, "report", "CommandUUID", PLIST_OPTIONAL, &report.command_uuid, error) ||
	    !plist_take_child(message, "report", "ErrorChain", PLIST_ARRAY, PLIST_OPTIONAL, &report.error_chain, error))
		return false;
	report.has_facts = report.status == REPORT_ACKNOWLEDGED && (plist_dict_get(message, "QueryResponses") || plist_dict_get(message, "SecurityInfo"));
	if (report.status == REPORT_IDLE)
		report.command_uuid = NULL;
	else if (!report.command_uuid || !*report.command_uuid || strlen(report.command_uuid) > UUID_MAX)
		return pom_fail(error, POM_ERR_CHECKIN_MALFORMED, "CommandUUID is missing or too long: Status %s must name its command", status);
	*ret = report;
	return true;
}

/* A push after NotNow comes later each time: 2, 10, 30 minutes, then 2 hours. */
static int64_t deferral_ms(int64_t n_not_now)
{
	static const int64_t minutes[] = {2, 10, 30, 120};

	return minutes[CLAMP(n_not_now, 0, (int64_t)G_N_ELEMENTS(minutes) - 1)] * 60000;
}

bool report_decide(const struct report *report, enum command_where where, int64_t n_not_now, int64_t now_ms, struct report_plan *ret, GError **error)
{
	struct report_plan plan = {.action = REPORT_DO_NOTHING, .with_deferred = report->status == REPORT_IDLE};

	if (report->status == REPORT_IDLE) {
		*ret = plan;
		return true;
	}
	switch (where) {
	case COMMAND_OF_ANOTHER:
		return pom_fail(error, POM_ERR_COMMAND_FOREIGN, "command %s was queued for another enrollment", report->command_uuid);
	case COMMAND_NOWHERE:
		plan.unknown_command = true;
		break;
	case COMMAND_DONE:
		break;
	case COMMAND_GIVEN_UP:
		plan.action = report->status == REPORT_NOT_NOW ? REPORT_DO_NOTHING : REPORT_DO_FINISH;
		break;
	case COMMAND_PENDING:
		plan.action = report->status == REPORT_NOT_NOW ? REPORT_DO_DEFER : REPORT_DO_FINISH;
		if (plan.action == REPORT_DO_DEFER)
			plan.push_again_ms = now_ms + deferral_ms(n_not_now);
		break;
	}
	*ret = plan;
	return true;
}

void command_clear(struct command *command)
{
	g_clear_pointer(&command->request_type, g_free);
	g_clear_pointer(&command->body, g_bytes_unref);
}

bool command_build(plist *command, const char *uuid, struct command *ret, GError **error)
{
	g_autoptr(plist) inner = command;
	g_autoptr(plist) outer = plist_new_dict();
	g_autofree char *request_type = NULL;
	g_autoptr(GBytes) body = NULL;
	const char *type = plist_get_string(plist_dict_get(inner, "RequestType"));

	if (plist_get_type(inner) != PLIST_DICT)
		return pom_fail(error, POM_ERR_COMMAND_INVALID, "a command is a dictionary with RequestType");
	if (!type || !*type || strlen(type) > REQUEST_TYPE_MAX)
		return pom_fail(error, POM_ERR_COMMAND_INVALID, "Command.RequestType is missing, empty or too long: give the name of a command such as DeviceInformation");
	request_type = g_strdup(type);
	plist_dict_set(outer, "Command", g_steal_pointer(&inner));
	plist_dict_set_string(outer, "CommandUUID", uuid);
	body = plist_format(outer, error);
	if (!body)
		return false;
	if (g_bytes_get_size(body) > COMMAND_BODY_MAX)
		return pom_fail(error, POM_ERR_COMMAND_INVALID, "the command is larger than %d MiB", COMMAND_BODY_MAX >> 20);
	*ret = (struct command){g_steal_pointer(&request_type), g_steal_pointer(&body)};
	return true;
}

plist *command_unwrap(const plist *raw, char **ret_uuid, GError **error)
{
	const plist *inner = plist_dict_get(raw, "Command");
	const char *uuid = plist_get_string(plist_dict_get(raw, "CommandUUID"));

	if (uuid && (!*uuid || strlen(uuid) > UUID_MAX)) {
		pom_fail(error, POM_ERR_COMMAND_INVALID, "CommandUUID must have 1 to %d bytes", UUID_MAX);
		return NULL;
	}
	if (!inner)
		inner = raw;
	if (plist_get_type(inner) != PLIST_DICT || !plist_dict_get(inner, "RequestType")) {
		pom_fail(error, POM_ERR_COMMAND_INVALID, "Command.RequestType is missing: the plist must be {Command: {RequestType: …}} or the inner dictionary");
		return NULL;
	}
	if (inner != raw && uuid)
		*ret_uuid = g_strdup(uuid);
	return plist_copy(inner);
}

static plist *sorted(const plist *node);

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static plist *sorted_dict(const plist *dict)
{
	size_t n = plist_count(dict);
	g_autofree const char **names = g_new(const char *, n + 1);
	plist *copy = plist_new_dict();

	for (size_t i = 0; i < n; i++)
		names[i] = plist_dict_key(dict, i);
	qsort(names, n, sizeof(*names), compare_names);
	for (size_t i = 0; i < n; i++)
		plist_dict_set(copy, names[i], sorted(plist_dict_get(dict, names[i])));
	return copy;
}

static plist *sorted(const plist *node)
{
	plist *copy;

	if (plist_get_type(node) == PLIST_DICT)
		return sorted_dict(node);
	if (plist_get_type(node) != PLIST_ARRAY)
		return plist_copy(node);
	copy = plist_new_array();
	for (size_t i = 0; i < plist_count(node); i++)
		plist_array_append(copy, sorted(plist_child(node, i)));
	return copy;
}

GBytes *command_canonical(const plist *command, GError **error)
{
	g_autoptr(plist) copy = sorted(command);

	return plist_format(copy, error);
}

int64_t command_default_expiry(const char *request_type, int64_t expire_ms)
{
	static const char *const for_lost_devices[] = {"EraseDevice", "DeviceLock", "EnableLostMode", "PlayLostModeSound", "DeviceLocation", NULL};

	return g_strv_contains(for_lost_devices, request_type) ? 0 : expire_ms;
}

/* ---- what failed ---- */

static void report_error_clear(void *data)
{
	g_free(((struct report_error *)data)->path);
}

static bool is_failure(const char *status)
{
	return !g_strcmp0(status, "Error") || !g_strcmp0(status, "CommandFormatError");
}

static void look_for_errors(GArray *errors, const plist *node, const char *path)
{
	bool is_dict = plist_get_type(node) == PLIST_DICT;
	const plist *chain = plist_dict_get(node, "ErrorChain");
	struct report_error found = {.status = plist_get_string(plist_dict_get(node, "Status"))};

	if (errors->len >= REPORT_ERRORS_MAX)
		return;
	if (is_dict && (plist_get_type(chain) == PLIST_ARRAY || is_failure(found.status))) {
		found.path = g_strdup(path);
		found.chain = plist_get_type(chain) == PLIST_ARRAY ? chain : NULL;
		g_array_append_val(errors, found);
	}
	for (size_t i = 0; (is_dict || plist_get_type(node) == PLIST_ARRAY) && i < plist_count(node); i++) {
		const plist *child = plist_child(node, i);
		g_autofree char *below = NULL;

		if ((plist_get_type(child) != PLIST_DICT && plist_get_type(child) != PLIST_ARRAY) || child == chain)
			continue;
		below = is_dict ? g_strdup_printf("%s%s%s", path, *path ? "." : "", plist_dict_key(node, i)) : g_strdup_printf("%s[%zu]", path, i);
		look_for_errors(errors, child, below);
	}
}

GArray *report_errors(const plist *report)
{
	GArray *errors = g_array_new(FALSE, FALSE, sizeof(struct report_error));

	g_array_set_clear_func(errors, report_error_clear);
	look_for_errors(errors, report, "");
	return errors;
}

struct chain_item chain_item_read(const plist *item)
{
	struct chain_item read = {.domain = plist_get_string(plist_dict_get(item, "ErrorDomain")), .text = plist_get_string(plist_dict_get(item, "USEnglishDescription"))};

	read.has_code = plist_get_integer(plist_dict_get(item, "ErrorCode"), &read.code);
	if (!read.text)
		read.text = plist_get_string(plist_dict_get(item, "LocalizedDescription"));
	return read;
}
