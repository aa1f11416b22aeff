/* Apple Watch enrollment by declaration: what tells supervised iPhones where their watches are enrolled, and which certificates those pin. */
#include <string.h>

#include "core/command_check.h"
#include "core/watch.h"
#include "service/command_target.h"
#include "service/ddm_internal.h"
#include "service/declaration.h"
#include "service/library.h"
#include "service/watch_enable.h"
#include "store/library_store.h"

#define WATCH_CONFIGURATION "watch.enrollment"
#define WATCH_ACTIVATION "watch.activation"
#define WATCH_ANCHOR "watch.anchor."
#define WATCH_SET "watch-enrollment"
enum { ANCHORS_MAX = 8, FINDINGS_NAMED = 3, PAGE = 500 };

/* ---- anchors ---- */

/* What watches would pin, and what was found then. */
struct choice {
	GPtrArray *anchors; /* X509; empty: none */
	struct finding_report *found;
	char *unreachable;  /* NULL: the URL was looked at */
};

static void choice_clear(struct choice *choice)
{
	g_clear_pointer(&choice->anchors, g_ptr_array_unref);
	g_clear_pointer(&choice->found, finding_report_free);
	g_clear_pointer(&choice->unreachable, g_free);
}
typedef struct choice choice_auto;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(choice_auto, choice_clear)

static GPtrArray *new_anchors(void)
{
	return g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);
}

/* The roots that devices need for the TLS certificate; none when it is publicly trusted. Array of X509, transfer full. */
static GPtrArray *own_anchors(struct service *service, enum tls_trust *ret_trust, GError **error)
{
	g_autoptr(GPtrArray) anchors = new_anchors(), roots = service_trust_roots(service, ret_trust);

	for (guint i = 0; i < roots->len; i++) {
		X509 *cert = cert_parse_der(g_bytes_get_data(g_ptr_array_index(roots, i), NULL), g_bytes_get_size(g_ptr_array_index(roots, i)), error);

		if (!cert)
			return NULL;
		g_ptr_array_add(anchors, cert);
	}
	return g_steal_pointer(&anchors);
}

/* An address among several that cannot be reached from here may be reached from elsewhere. */
static bool is_refusal(const struct finding *f)
{
	return f->severity == FINDING_ERROR && strcmp(f->rule, "connect-failed") != 0;
}

static bool check_found(const struct choice *choice, const char *url, GError **error)
{
	g_autoptr(GString) text = g_string_new(NULL);
	unsigned n = 0;

	for (guint i = 0; i < choice->found->findings->len; i++) {
		const struct finding *f = choice->found->findings->pdata[i];

		if (is_refusal(f) && n++ < FINDINGS_NAMED)
			g_string_append_printf(text, "%s%s: %s. %s", n > 1 ? " " : "", f->rule, f->text, f->mend ? f->mend : "");
	}
	if (!n)
		return true;
	if (choice->unreachable)
		return pom_fail(error, POM_ERR_WATCH_ENABLE, "%s cannot be reached from here (%s), and no watch would trust the chain that this server sends itself. %s", url, choice->unreachable, text->str);
	return pom_fail(error, POM_ERR_WATCH_ENABLE, "no watch would trust %s. %s", url, text->str);
}

/* True when a watch that pins the anchors of CHOICE would trust the server. */
static bool look(const struct watch_enable_request *request, const char *url, struct choice *choice, GError **error)
{
	choice->found = request->look(request->look_ctx, choice->anchors, &choice->unreachable);
	finding_report_sort(choice->found);
	return check_found(choice, url, error);
}

/* Whatever this server has itself, what a proxy in front of it sends may be publicly trusted: then nothing is pinned. */
static bool try_public(const struct watch_enable_request *request, const char *url, struct choice *choice)
{
	g_auto(choice_auto) other = {.anchors = new_anchors()};
	struct choice before = *choice;

	if (!look(request, url, &other, NULL) || other.unreachable)
		return false;
	*choice = other;
	other = before;
	return true;
}

static bool choose(struct service *service, const struct watch_enable_request *request, const char *url, struct choice *choice, GError **error)
{
	bool is_given = request->anchors && request->anchors->len;
	enum tls_trust trust = TLS_TRUST_ROOT;
	GError *inner = NULL;

	choice->anchors = is_given ? g_ptr_array_ref(request->anchors) : own_anchors(service, &trust, error);
	if (!choice->anchors)
		return false;
	if (choice->anchors->len > ANCHORS_MAX)
		return pom_fail(error, POM_ERR_LIMIT, "%u anchors, at most %d are listed", choice->anchors->len, ANCHORS_MAX);
	if (trust == TLS_TRUST_UNKNOWN)
		pom_fail(&inner, POM_ERR_WATCH_ENABLE, "the root of the TLS certificate is not known here: name it, or an intermediate, with --anchor FILE");
	else if (look(request, url, choice, &inner))
		return true;
	if ((is_given || trust == TLS_TRUST_PUBLIC || choice->unreachable || !try_public(request, url, choice)) && (!request->force || trust == TLS_TRUST_UNKNOWN)) {
		g_propagate_error(error, inner);
		return false;
	}
	g_clear_error(&inner);
	return true;
}

/* ---- declarations ---- */

static bool add(struct service *service, const char *actor, const json_t *declaration, GBytes *data, GError **error)
{
	const struct declaration_upload upload = {.declaration = declaration, .data = data, .content_type = data ? "application/pkcs1" : NULL};
	json_t *reply = service_declaration_add(service, actor, &upload, error);

	json_decref(reply);
	return reply != NULL;
}

/* Their identifiers into NAMES. */
static bool add_anchors(struct service *service, const char *actor, const GPtrArray *anchors, json_t *names, GError **error)
{
	for (guint i = 0; i < anchors->len; i++) {
		g_autofree char *identifier = g_strdup_printf(WATCH_ANCHOR "%u", i + 1);
		g_autoptr(json_t) d = json_pack("{s:s, s:s, s:{s:{}}}", "Type", "com.apple.asset.credential.certificate", "Identifier", identifier, "Payload", "Reference");
		g_autoptr(GBytes) der = cert_format_der(g_ptr_array_index(anchors, i));

		if (!add(service, actor, d, der, error))
			return false;
		json_array_append_new(names, json_string(identifier));
	}
	return true;
}

/* Anchors of an earlier time that nobody names any more. */
static bool remove_anchors(struct service *service, const char *actor, guint from, GError **error)
{
	for (guint i = from; i < ANCHORS_MAX; i++) {
		g_autofree char *identifier = g_strdup_printf(WATCH_ANCHOR "%u", i + 1);
		GError *inner = NULL;
		json_t *reply = service_declaration_remove(service, actor, identifier, false, &inner);

		json_decref(reply);
		if (inner && !g_error_matches(inner, POM_ERROR, POM_ERR_NOT_FOUND)) {
			g_propagate_error(error, inner);
			return false;
		}
		g_clear_error(&inner);
	}
	return true;
}

static bool add_all(struct service *service, const char *actor, const char *url, const GPtrArray *anchors, GError **error)
{
	g_autoptr(json_t) names = json_array();
	g_autoptr(json_t) payload = json_pack("{s:s}", "EnrollmentProfileURL", url);
	g_autoptr(json_t) configuration = json_pack("{s:s, s:s, s:O}", "Type", "com.apple.configuration.watch.enrollment", "Identifier", WATCH_CONFIGURATION, "Payload", payload);
	g_autoptr(json_t) activation = json_pack("{s:s, s:s, s:{s:[s]}}", "Type", "com.apple.activation.simple", "Identifier", WATCH_ACTIVATION, "Payload", "StandardConfigurations", WATCH_CONFIGURATION);

	if (!add_anchors(service, actor, anchors, names, error))
		return false;
	if (anchors->len)
		json_object_set(payload, "AnchorCertificateAssetReferences", names);
	return add(service, actor, configuration, NULL, error) && add(service, actor, activation, NULL, error) && remove_anchors(service, actor, anchors->len, error);
}

static bool make_set(struct service *service, const char *actor, GError **error)
{
	GError *inner = NULL;
	json_t *reply = service_set_new(service, actor, WATCH_SET, &inner);

	json_decref(reply);
	if (inner && !g_error_matches(inner, POM_ERROR, POM_ERR_CONFLICT)) {
		g_propagate_error(error, inner);
		return false;
	}
	g_clear_error(&inner);
	reply = service_set_change(service, actor, WATCH_SET, (const char *const[]){WATCH_ACTIVATION, NULL}, NULL, error);
	json_decref(reply);
	return reply != NULL;
}

/* ---- phones ---- */

static bool can_get_token(struct service *service, const struct enrollment_row *row)
{
	g_autoptr(store_load) load = NULL;
	struct enroll_served served = {0};
	struct renewal_facts facts;
	bool can;

	if (!store_renewal_facts(service->store, row->id, row->active_epoch, &facts, &load, NULL) || !facts.served || !enroll_served_parse(facts.served, &served, NULL))
		return false;
	can = served.capabilities && g_strv_contains((const char *const *)served.capabilities, ENROLL_CAPABILITY_TOKEN);
	enroll_served_clear(&served);
	return can;
}

/* Why this device cannot bring a watch, transfer full; NULL: it can. */
static bool look_at_phone(struct service *service, const char *id, char **ret_why, GError **error)
{
	const struct declaration_type *type = declaration_type_find("com.apple.configuration.watch.enrollment");
	g_autoptr(store_load) load = NULL;
	struct command_target target;
	struct enrollment_row row;

	*ret_why = NULL;
	if (!store_enrollment_get(service->store, id, &row, &load, error) || !service_command_target(service, &row, &target, error))
		return false;
	if (row.parent_id || !row.product_name || !g_str_has_prefix(row.product_name, "iPhone"))
		*ret_why = g_strdup("is no iPhone, as far as is known");
	else if (!row.active_epoch)
		*ret_why = g_strdup("is not enrolled any more");
	else if (target.supervised != COMMAND_YES)
		*ret_why = g_strdup(target.supervised == COMMAND_NO ? "is not supervised" : "has not said yet whether it is supervised: send it DeviceInformation with IsSupervised, then do this again");
	else if (!can_get_token(service, &row))
		*ret_why = g_strdup("was enrolled without com.apple.mdm.token in ServerCapabilities: it has to enroll again");
	else
		*ret_why = declaration_unsuited(type, &target);
	return true;
}

static bool assign(struct service *service, const char *actor, const char *id, GError **error)
{
	const struct set_audience audience = {.devices = (const char *const[]){id, NULL}};
	json_t *reply = service_set_assign(service, actor, WATCH_SET, &audience, error);

	json_decref(reply);
	return reply != NULL;
}

static bool unassign(struct service *service, const char *actor, const char *id, GError **error)
{
	const struct set_audience audience = {.devices = (const char *const[]){id, NULL}};
	GError *inner = NULL;
	json_t *reply = service_set_unassign(service, actor, WATCH_SET, &audience, &inner);

	json_decref(reply);
	if (!inner || g_error_matches(inner, POM_ERROR, POM_ERR_NOT_FOUND)) {
		g_clear_error(&inner);
		return true;
	}
	g_propagate_error(error, inner);
	return false;
}

static bool look_at_group(struct service *service, const char *actor, const char *group, json_t *assigned, json_t *skipped, GError **error)
{
	g_autofree char *after = g_strdup("");
	guint n = PAGE;

	while (n == PAGE) {
		g_autoptr(store_load) load = NULL;
		g_autoptr(GArray) rows = store_member_list(service->store, group, after, PAGE, &load, error);

		if (!rows)
			return false;
		n = rows->len;
		for (guint i = 0; i < n; i++) {
			const struct member_row *row = &g_array_index(rows, struct member_row, i);
			g_autofree char *why = NULL;

			if (!look_at_phone(service, row->id, &why, error) || (why ? !unassign(service, actor, row->id, error) : !assign(service, actor, row->id, error)))
				return false;
			if (why)
				json_array_append_new(skipped, json_pack("{s:s, s:s, s:s?, s:s}", "id", row->id, "udid", row->device_id, "name", row->device_name, "why", why));
			else
				json_array_append_new(assigned, json_string(row->id));
			g_free(after);
			after = g_strdup(row->id);
		}
	}
	return true;
}

static json_t *format_reply(const struct choice *choice, const char *url, json_t *assigned, json_t *skipped)
{
	g_autoptr(json_t) report = finding_report_format(choice->found);

	return json_pack("{s:s, s:s, s:i, s:b, s:s?, s:O, s:O, s:O}", "set", WATCH_SET, "url", url, "anchors", (int)choice->anchors->len, "publicly_trusted", !choice->anchors->len, "unreachable", choice->unreachable,
	                 "findings", json_object_get(report, "findings"), "assigned", assigned, "skipped", skipped);
}

json_t *service_watch_enable(struct service *service, const char *actor, const struct watch_enable_request *request, GError **error)
{
	g_autofree char *url = g_strconcat(service->settings.url, "/watch", NULL);
	g_autoptr(json_t) assigned = json_array(), skipped = json_array();
	g_auto(choice_auto) choice = {0};
	g_autoptr(store_load) load = NULL;
	struct group_row group;

	if (service->settings.watch_policy == WATCH_OFF) {
		pom_fail(error, POM_ERR_WATCH_OFF, "enroll.watch is off");
		return NULL;
	}
	if (!store_group_get(service->store, request->group, &group, &load, error) || !choose(service, request, url, &choice, error) || !add_all(service, actor, url, choice.anchors, error) ||
	    !make_set(service, actor, error) || !look_at_group(service, actor, request->group, assigned, skipped, error))
		return NULL;
	return format_reply(&choice, url, assigned, skipped);
}
