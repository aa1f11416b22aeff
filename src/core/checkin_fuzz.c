/* Whatever a device sends: a property list, then a check-in message, a report or identifiers. What is accepted keeps its maxima. */
#include <string.h>

#include "core/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text)
{
	g_assert(!text || strlen(text) <= CHECKIN_TEXT_MAX);
}

static void check_identity(const struct checkin_identity *who)
{
	g_assert(*who->device_id && strlen(who->device_id) <= CHECKIN_ID_MAX && strlen(who->user_part) <= CHECKIN_ID_MAX && who->kind < ENROLLMENT_KIND_MAX);
	check_text(who->user_short_name);
	check_text(who->user_long_name);
}

static void check_message(const struct checkin_message *m)
{
	check_identity(&m->who);
	check_text(m->device_name);
	check_text(m->serial);
	g_assert(m->type < CHECKIN_TYPE_MAX && m->token_len <= CHECKIN_TOKEN_MAX && m->unlock_token_len <= CHECKIN_SECRET_MAX && m->bootstrap_token_len <= CHECKIN_SECRET_MAX);
	g_assert(m->type != CHECKIN_TOKEN_UPDATE || (m->token_len && m->push_magic && m->topic));
	g_assert(m->type != CHECKIN_AUTHENTICATE || m->topic);
	g_assert(m->type != CHECKIN_GET_TOKEN || m->token_service);
	g_assert(m->type != CHECKIN_DECLARATIVE_MANAGEMENT || (*m->endpoint && strlen(m->endpoint) <= CHECKIN_TEXT_MAX));
	if (m->type == CHECKIN_GET_TOKEN && !strcmp(m->token_service, CHECKIN_SERVICE_WATCH))
		g_assert(*m->security_token && strlen(m->security_token) <= CHECKIN_ID_MAX && *m->phone_udid && strlen(m->phone_udid) <= CHECKIN_ID_MAX && *m->watch_udid && strlen(m->watch_udid) <= CHECKIN_ID_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(plist) tree = plist_parse(data, size, NULL, NULL);
	struct checkin_message message;
	struct checkin_identity who;
	struct report report;

	if (!tree)
		return 0;
	if (checkin_message_parse(tree, &message, NULL))
		check_message(&message);
	if (checkin_identity_parse(tree, "fuzz", &who, NULL))
		check_identity(&who);
	if (report_parse(tree, &report, NULL)) {
		check_identity(&report.who);
		g_assert((report.status == REPORT_IDLE) == !report.command_uuid);
	}
	return 0;
}
