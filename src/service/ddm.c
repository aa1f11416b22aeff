/* Declarative management, as devices meet it. */
#include <string.h>

#include "base/log.h"
#include "core/fact.h"
#include "core/renewal.h"
#include "service/ddm_internal.h"
#include "service/library_device.h"

#define JSON_TYPE "application/json"

void ddm_nudge(struct service *service)
{
	if (service->library_changed)
		service->library_changed(service->library_changed_ctx);
}

char *ddm_resolve(struct service *service, const char *id, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct enrollment_row row;

	return store_enrollment_get(service->store, id, &row, &load, error) ? g_strdup(row.id) : NULL;
}

static void answer(struct device_reply *ret, GBytes *body)
{
	ret->body = body;
	ret->content_type = JSON_TYPE;
}

/* What a device has that was never given anything. */
static GBytes *empty_list(char **ret_token)
{
	g_autoptr(GArray) none = g_array_new(FALSE, FALSE, sizeof(struct ddm_item));

	return ddm_manifest_build(none, ret_token);
}

/* ---- tokens, declaration-items ---- */

static bool answer_tokens(struct service *service, const struct ddm_request *request, struct device_reply *ret, GError **error)
{
	g_autofree char *token = NULL;
	int64_t changed_ms = 0;

	if (!store_ddm_tokens(service->store, request->enrollment_id, request->epoch, &token, &changed_ms, error))
		return false;
	if (!token) {
		GBytes *unused = empty_list(&token);

		g_bytes_unref(unused);
	}
	answer(ret, ddm_tokens_format(token, changed_ms));
	return true;
}

static bool answer_items(struct service *service, const struct ddm_request *request, struct device_reply *ret, GError **error)
{
	struct ddm_listed listed = {0};
	g_autofree char *token = NULL;
	bool ok = store_ddm_listed(service->store, request->enrollment_id, request->epoch, &listed, error);

	if (ok && listed.items && !listed.told)
		ok = ddm_note_told(service, request->enrollment_id, request->epoch, listed.token, error);
	if (ok)
		answer(ret, listed.items ? g_bytes_ref(listed.items) : empty_list(&token));
	ddm_listed_clear(&listed);
	return ok;
}

/* ---- one declaration ---- */

bool ddm_open(struct service *service, const char *identifier, struct ddm_opened *ret, GError **error)
{
	struct ddm_opened o = {0};
	g_autoptr(GBytes) body = NULL;
	bool found;

	if (!store_declaration_get(service->store, identifier, &o.row, &found, &o.load, error))
		return false;
	body = found ? seal_open(&service->seal, "declaration", identifier, "body", o.row.body_sealed, error) : NULL;
	if (!found)
		pom_fail(error, POM_ERR_NOT_FOUND, "there is no declaration \"%.64s\" (\"pomona declaration list\")", identifier);
	o.declaration.payload = body ? json_parse(g_bytes_get_data(body, NULL), g_bytes_get_size(body), error) : NULL;
	if (!o.declaration.payload) {
		ddm_opened_clear(&o);
		return false;
	}
	o.declaration.identifier = g_strdup(o.row.identifier);
	o.declaration.type = g_strdup(o.row.type);
	o.declaration.kind = (enum declaration_kind)o.row.kind;
	o.declaration.row = declaration_type_find(o.row.type);
	*ret = o;
	return true;
}

void ddm_opened_clear(struct ddm_opened *opened)
{
	declaration_clear(&opened->declaration);
	declaration_row_clear(&opened->row);
	g_clear_pointer(&opened->load, store_load_free);
}

static GBytes *format_for(struct service *service, const struct ddm_request *request, const struct ddm_opened *o)
{
	const struct declaration *d = &o->declaration;
	bool data = declaration_has_own_data(d), profile = declaration_profile(d) != NULL;
	g_autofree char *url = data || profile ? ddm_file_url(service, request->enrollment_id, request->epoch, d->identifier) : NULL, *token = ddm_effective_token(o->row.token, o->row.profile_version);
	g_autoptr(json_t) payload = url ? declaration_with_urls(d->payload, data ? url : NULL, profile ? url : NULL) : json_incref(d->payload);

	return declaration_format(d->type, d->identifier, token, payload);
}

static GBytes *own_declaration(struct service *service, const struct ddm_request *request, const char *identifier, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_auto(declaration_auto) d = {0};
	g_autofree char *subscription = NULL, *token = NULL;
	struct ddm_facts facts;
	bool found;

	if (!store_ddm_facts(service->store, request->enrollment_id, &facts, &found, &load, error))
		return NULL;
	subscription = ddm_subscription(&facts);
	ddm_own_declaration(!strcmp(identifier, DDM_OWN_ACTIVATION) ? DECLARATION_ACTIVATION : DECLARATION_CONFIGURATION, subscription, &d);
	token = declaration_token(&d);
	return declaration_format(d.type, d.identifier, token, d.payload);
}

/* *RET NULL, and true: it is not there for this device. */
static bool find_declaration(struct service *service, const struct ddm_request *request, enum declaration_kind kind, const char *identifier, GBytes *manifest, GBytes **ret, GError **error)
{
	g_autofree char *listed = identifier ? ddm_manifest_find(manifest, identifier) : NULL;
	struct ddm_opened o;
	GError *inner = NULL;

	if (!listed)
		return true;
	if (g_str_has_prefix(identifier, DDM_OWN_PREFIX)) {
		*ret = kind == (!strcmp(identifier, DDM_OWN_ACTIVATION) ? DECLARATION_ACTIVATION : DECLARATION_CONFIGURATION) ? own_declaration(service, request, identifier, &inner) : NULL;
	} else if (ddm_open(service, identifier, &o, &inner)) {
		if (o.declaration.kind == kind)
			*ret = format_for(service, request, &o);
		ddm_opened_clear(&o);
	} else if (g_error_matches(inner, POM_ERROR, POM_ERR_NOT_FOUND)) {
		g_clear_error(&inner);
	}
	if (inner)
		g_propagate_error(error, inner);
	return !inner;
}

static bool answer_declaration(struct service *service, const struct ddm_request *request, const struct ddm_endpoint *endpoint, struct device_reply *ret, GError **error)
{
	struct ddm_listed listed = {0};
	GBytes *found = NULL;
	bool ok = store_ddm_listed(service->store, request->enrollment_id, request->epoch, &listed, error);

	if (ok && listed.items)
		ok = find_declaration(service, request, endpoint->kind, endpoint->identifier, listed.items, &found, error) &&
		     (found || find_declaration(service, request, endpoint->kind, endpoint->decoded, listed.items, &found, error));
	ddm_listed_clear(&listed);
	if (!ok)
		return false;
	if (!found)
		return pom_fail(error, POM_ERR_DDM_ABSENT, "there is no %s \"%.64s\" for this device, which removes its copy", declaration_kind_name(endpoint->kind), endpoint->identifier);
	answer(ret, found);
	return true;
}

/* ---- status ---- */

/* What the inventory learns of a report. Strings borrow from it. */
static GArray *facts_of(const struct ddm_report *report)
{
	GArray *facts = g_array_new(FALSE, FALSE, sizeof(struct fact));

	for (guint i = 0; i < report->changes->len; i++) {
		const struct ddm_change *c = g_ptr_array_index(report->changes, i);
		const struct status_item *item = status_item_find(c->item);
		struct fact fact = {item && item->fact ? (char *)(uintptr_t)item->fact : NULL, c->value};

		if (fact.name && c->value && !*c->element && strlen(c->value) <= FACT_VALUE_MAX)
			g_array_append_val(facts, fact);
	}
	return facts;
}

static const char *capabilities_of(const struct ddm_report *report)
{
	for (guint i = 0; i < report->changes->len; i++) {
		const struct ddm_change *c = g_ptr_array_index(report->changes, i);

		if (!strcmp(c->item, "management.client-capabilities"))
			return c->value;
	}
	return NULL;
}

static unsigned count_invalid(const struct ddm_report *report)
{
	unsigned n = 0;

	for (guint i = 0; i < report->declared->len; i++)
		n += !strcmp(((const struct ddm_declared *)g_ptr_array_index(report->declared, i))->valid, "invalid");
	return n;
}

static bool take_status(struct service *service, const struct ddm_request *request, GError **error)
{
	g_autoptr(ddm_report) report = ddm_report_parse(request->data ? request->data : "", request->data_len, error);
	g_autoptr(GArray) facts = report ? facts_of(report) : NULL;
	g_autofree char *subscription = report ? ddm_subscription_of(capabilities_of(report)) : NULL, *counts = NULL;
	unsigned n_invalid;

	if (!report || !store_ddm_report(service->store, request->enrollment_id, request->epoch, report, facts, subscription, service_now_ms(service), error))
		return false;
	if (subscription)
		ddm_nudge(service);
	n_invalid = count_invalid(report);
	counts = g_strdup_printf("%u of %u", n_invalid, report->declared->len);
	if (n_invalid)
		pom_log(POM_LOG_NOTICE, "declarations are not valid on a device", "enrollment", request->enrollment_id, "how_many", counts, NULL);
	if (report->n_ignored)
		pom_log(POM_LOG_NOTICE, "parts of a status report were not understood", "enrollment", request->enrollment_id, NULL);
	return true;
}

bool service_ddm_checkin(struct service *service, const struct ddm_request *request, struct device_reply *ret, GError **error)
{
	g_auto(ddm_endpoint_auto) endpoint = {0};

	if (!ddm_endpoint_parse(request->endpoint, &endpoint, error))
		return false;
	switch (endpoint.type) {
	case DDM_TOKENS:
		return answer_tokens(service, request, ret, error);
	case DDM_ITEMS:
		return answer_items(service, request, ret, error);
	case DDM_DECLARATION:
		return answer_declaration(service, request, &endpoint, ret, error);
	case DDM_STATUS:
		return take_status(service, request, error);
	}
	return false;
}

/* ---- the command DeclarativeManagement ---- */

GBytes *service_ddm_command(struct service *service, const char *enrollment_id, int64_t epoch, const struct command_next *next, GError **error)
{
	g_auto(command_auto) command = {0};
	g_autoptr(GBytes) tokens = NULL;
	plist *inner;

	if (!ddm_deliver(service, enrollment_id, epoch, next->uuid, &tokens, error))
		return NULL;
	inner = plist_new_dict();
	plist_dict_set_string(inner, "RequestType", "DeclarativeManagement");
	plist_dict_set_data(inner, "Data", g_bytes_get_data(tokens, NULL), g_bytes_get_size(tokens));
	return command_build(inner, next->uuid, &command, error) ? g_bytes_ref(command.body) : NULL;
}

bool service_ddm_report(struct service *service, const struct command_row *command, const struct report *report, GError **error)
{
	g_autofree char *reason = NULL;

	if (report->status == REPORT_ACKNOWLEDGED)
		return store_ddm_reason(service->store, command->enrollment_id, NULL, error);
	if (report->status != REPORT_ERROR && report->status != REPORT_COMMAND_FORMAT_ERROR)
		return true;
	reason = library_reason(report->error_chain, report->status);
	pom_log(POM_LOG_WARNING, "a device does not take declarations", "enrollment", command->enrollment_id, "why", reason, NULL);
	return store_ddm_reason(service->store, command->enrollment_id, reason, error) && store_event_add(service->store, command->enrollment_id, "DeclarationsRefused", reason, service_now_ms(service), error);
}

bool service_ddm_answered(struct service *service, const char *enrollment_id, GError **error)
{
	return ddm_reconcile(service, enrollment_id, NULL, error);
}
