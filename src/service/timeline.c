#include "service/timeline.h"

#include <string.h>

#include "base/log.h"
#include "core/timeline.h"
#include "service/answer.h"
#include "store/shared_store.h"

enum { HINTS_MAX = 4096, HINT_MS = 3600 * 1000, DETAIL_MAX = 400, STEPS_MAX = 2000, LIST_MAX = 1000, PURGE_AT_ONCE = 10000 };

struct hint {
	char *link_id;
	int64_t at_ms;
};
struct timeline_hints {
	pthread_mutex_t lock;
	GHashTable *links; /* address → struct hint */
};

static void hint_free(void *data)
{
	struct hint *hint = data;

	g_free(hint->link_id);
	g_free(hint);
}

struct timeline_hints *timeline_hints_new(void)
{
	struct timeline_hints *hints = g_new0(struct timeline_hints, 1);

	pthread_mutex_init(&hints->lock, NULL);
	hints->links = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, hint_free);
	return hints;
}

void timeline_hints_free(struct timeline_hints *hints)
{
	if (!hints)
		return;
	g_hash_table_unref(hints->links);
	pthread_mutex_destroy(&hints->lock);
	g_free(hints);
}

/* The address in "192.0.2.1:4711", "[2001:db8::1]:4711", or without a port "192.0.2.1", "2001:db8::1"; transfer full. */
static char *address_of(const char *peer)
{
	const char *colon = peer ? strrchr(peer, ':') : NULL;

	if (peer && *peer == '[')
		return g_strndup(peer + 1, strcspn(peer + 1, "]"));
	/* Several colons are an address, one stands before a port. */
	return !peer ? NULL : colon && colon == strchr(peer, ':') ? g_strndup(peer, (gsize)(colon - peer)) : g_strdup(peer);
}

/* Where other nodes may be asked next, they must know it, too. */
static void share(struct service *service, const char *link_id, const char *address)
{
	g_autoptr(GError) error = NULL;

	if (!store_address_served(service->store, address, link_id, service_now_ms(service), &error))
		pom_log(POM_LOG_WARNING, "which link an address has fetched could not be written", "link", link_id, "why", error->message, NULL);
}

static void remember(struct service *service, const char *link_id, const char *address)
{
	struct timeline_hints *hints = service->hints;
	struct hint *hint;

	if (store_is_shared(service->store)) {
		share(service, link_id, address);
		return;
	}
	hint = g_new0(struct hint, 1);
	*hint = (struct hint){g_strdup(link_id), service_now_ms(service)};
	pthread_mutex_lock(&hints->lock);
	if (g_hash_table_size(hints->links) >= HINTS_MAX)
		g_hash_table_remove_all(hints->links);
	g_hash_table_replace(hints->links, g_strdup(address), hint);
	pthread_mutex_unlock(&hints->lock);
}

/* transfer full; NULL: none lately. */
static char *guess(struct service *service, const char *address)
{
	struct timeline_hints *hints = service->hints;
	const struct hint *hint;
	char *link_id = NULL;

	/* It is a guess: when the store does not answer, there is none. */
	if (store_is_shared(service->store))
		return store_address_link(service->store, address, service_now_ms(service) - HINT_MS, &link_id, NULL) ? link_id : NULL;
	pthread_mutex_lock(&hints->lock);
	hint = g_hash_table_lookup(hints->links, address);
	if (hint && service_now_ms(service) - hint->at_ms <= HINT_MS)
		link_id = g_strdup(hint->link_id);
	pthread_mutex_unlock(&hints->lock);
	return link_id;
}

/* "POM-E3103 why", valid UTF-8 of bounded length; transfer full. */
static char *say_refusal(const GError *refusal)
{
	g_autofree char *text = g_strdup_printf("%s %.*s", pom_error_info_of(refusal)->id, DETAIL_MAX, refusal->message);

	return g_utf8_make_valid(text, -1);
}

/* SAID, FROM, or both; transfer full, "" when there is neither. */
static char *join_detail(const char *said, const char *from)
{
	return g_strdup_printf("%s%s%s", said ? said : "", said && *said && from ? ", " : "", from ? from : "");
}

char *service_timeline_detail(const char *what, const char *peer)
{
	g_autofree char *address = address_of(peer);

	return join_detail(what, address);
}

static void note(struct service *service, const char *link_id, const char *kind, const char *what, const char *from, const GError *refusal)
{
	g_autofree char *said = refusal ? say_refusal(refusal) : g_strdup(what), *detail = join_detail(said, from);
	g_autoptr(GError) error = NULL;

	/* What will pass by itself is no step, and could not be written. */
	if (store_error_is_away(refusal))
		return;
	if (!store_link_event(service->store, link_id, kind, *detail ? detail : NULL, service_now_ms(service), &error) && !store_error_is_away(error))
		pom_log(POM_LOG_WARNING, "a step could not be written into the timeline", "link", link_id, "what", kind, "why", error->message, NULL);
}

void service_timeline_link(struct service *service, const char *link_id, const char *kind, const char *what, const char *peer, const GError *refusal)
{
	g_autofree char *address = address_of(peer);

	if (!link_id || !*link_id)
		return;
	if (address && !refusal && !strcmp(kind, "ProfileServed"))
		remember(service, link_id, address);
	note(service, link_id, kind, what, address, refusal);
}

void service_timeline_scep(struct service *service, const char *link_id, const char *kind, const char *what, const char *peer, const GError *refusal)
{
	g_autofree char *address = address_of(peer), *guessed = NULL, *from = NULL;

	if (link_id) {
		note(service, link_id, kind, what, address, refusal);
		return;
	}
	guessed = address ? guess(service, address) : NULL;
	if (!guessed)
		return;
	from = g_strdup_printf("%s (known by the address alone: it may be another device behind it)", address);
	note(service, guessed, kind, what, from, refusal);
}

void service_timeline_refused(struct service *service, const struct certificate_facts *certificate, const char *what, const GError *refusal)
{
	const char *id = certificate->enrollment_id ? certificate->enrollment_id : certificate->link_id;
	g_autofree char *said = NULL, *detail = NULL;
	g_autoptr(GError) error = NULL;

	/* What will pass by itself is no step. */
	if (!certificate->known || !id || pom_error_info_of(refusal)->retry || g_error_matches(refusal, POM_ERROR, POM_ERR_USER_DECLINED))
		return;
	said = say_refusal(refusal);
	detail = g_strdup_printf("%s: %s", what, said);
	if (!store_event_again(service->store, id, "Refused", detail, service_now_ms(service), &error) && !store_error_is_away(error))
		pom_log(POM_LOG_WARNING, "a refusal could not be written into the timeline", "enrollment", id, "why", error->message, NULL);
}

/* ---- verdict ---- */

static json_t *verdict_json(const struct timeline_verdict *verdict)
{
	json_t *o = json_object();

	json_set_text(o, "state", timeline_state_name(verdict->state));
	json_set_text(o, "stage", *verdict->stage ? verdict->stage : NULL);
	json_object_set_new(o, "since", json_time(verdict->since_ms));
	json_set_text(o, "error", *verdict->error_id ? verdict->error_id : NULL);
	json_set_text(o, "where", verdict->where);
	json_set_text(o, "why", verdict->why);
	json_set_text(o, "todo", *verdict->todo ? verdict->todo : NULL);
	return o;
}

/* FACTS with the steps of ID. */
static json_t *decide(struct service *service, struct timeline_facts *facts, const char *id, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_event_list(service->store, id, "", STEPS_MAX, &load, error);
	g_autofree struct timeline_step *steps = NULL;
	struct timeline_verdict verdict;
	json_t *o;

	if (!rows)
		return NULL;
	steps = g_new0(struct timeline_step, rows->len + 1);
	for (guint i = 0; i < rows->len; i++) {
		const struct event_row *row = &g_array_index(rows, struct event_row, i);

		steps[i] = (struct timeline_step){row->kind, row->detail, row->at_ms, row->last_ms};
	}
	facts->now_ms = service_now_ms(service);
	facts->steps = steps;
	facts->n_steps = rows->len;
	timeline_decide(facts, &verdict);
	o = verdict_json(&verdict);
	timeline_verdict_clear(&verdict);
	return o;
}

static json_t *enrollment_verdict(struct service *service, const char *id, int64_t *ret_seen_ms, GError **error)
{
	struct timeline_enrollment e;
	struct timeline_facts facts;

	if (!store_timeline_facts(service->store, id, &e, error))
		return NULL;
	*ret_seen_ms = store_last_seen(service->store, id, e.last_seen_ms);
	facts = (struct timeline_facts){
		.is_enrollment = true, .is_user = e.is_user, .state = (enum enrollment_state)e.state, .has_token = e.has_token != 0, .push_dead_ms = e.push_dead_ms, .last_seen_ms = *ret_seen_ms, .ended_ms = e.ended_ms,
		.oldest_command_ms = e.oldest_command_ms, .identity_not_after_ms = e.identity_not_after_ms, .identity_revoked = e.identity_state == CERTIFICATE_REVOKED,
	};
	return decide(service, &facts, id, error);
}

json_t *service_link_verdict(struct service *service, const struct link_row *link, GError **error)
{
	struct timeline_facts facts = {.is_link = true, .link_created_ms = link->created_ms, .link_expires_ms = link->expires_ms, .link_revoked_ms = link->revoked_ms};
	int64_t seen_ms;

	return link->enrollment_id ? enrollment_verdict(service, link->enrollment_id, &seen_ms, error) : decide(service, &facts, link->id, error);
}

/* ---- the list ---- */

static json_t *item_json(const struct timeline_row *row)
{
	json_t *o = json_object();

	json_object_set_new(o, "at", json_time(row->at_ms));
	json_set_text(o, "kind", row->kind);
	json_set_text(o, "detail", row->detail);
	json_object_set_new(o, "times", json_integer(row->n));
	json_object_set_new(o, "last_at", json_time(row->n > 1 ? row->last_ms : 0));
	return o;
}

/* "next" is the time and id of the last line. */
static bool parse_after(const char *after, int64_t *ret_ms, const char **ret_id, GError **error)
{
	char *end = NULL;

	*ret_ms = *after ? g_ascii_strtoll(after, &end, 10) : -1;
	*ret_id = *after && *end == '.' ? end + 1 : "";
	return !*after || *end == '.' ? true : pom_fail(error, POM_ERR_BAD_REQUEST, "after is not what \"next\" said");
}

/* When it was last heard is no event of its own: nothing is written for it. */
static void add_connected(json_t *items, int64_t seen_ms, int64_t last_ms)
{
	if (seen_ms > last_ms)
		json_array_append_new(items, json_pack("{s:o, s:s, s:n, s:i, s:n}", "at", json_time(seen_ms), "kind", "Connected", "detail", "times", 1, "last_at"));
}

json_t *service_device_timeline(struct service *service, const char *id, const char *after, int64_t limit, GError **error)
{
	g_autoptr(store_load) load = NULL, enrollment_load = NULL;
	g_autoptr(GArray) rows = NULL;
	g_autofree char *next = NULL;
	struct enrollment_row enrollment;
	json_t *verdict, *items, *page;
	const char *after_id;
	int64_t after_ms, last_ms = 0, seen_ms;

	limit = CLAMP(limit, 1, LIST_MAX);
	if (!parse_after(after, &after_ms, &after_id, error) || !store_enrollment_get(service->store, id, &enrollment, &enrollment_load, error))
		return NULL;
	verdict = enrollment_verdict(service, enrollment.id, &seen_ms, error);
	rows = verdict ? store_timeline_list(service->store, enrollment.id, after_ms, after_id, limit, &load, error) : NULL;
	if (!rows) {
		json_decref(verdict);
		return NULL;
	}
	items = json_array();
	for (guint i = 0; i < rows->len; i++) {
		const struct timeline_row *row = &g_array_index(rows, struct timeline_row, i);

		json_array_append_new(items, item_json(row));
		last_ms = row->at_ms;
		g_free(next);
		next = g_strdup_printf("%" G_GINT64_FORMAT ".%s", row->at_ms, row->id);
	}
	if (rows->len < (guint)limit && seen_ms)
		add_connected(items, seen_ms, last_ms);
	page = json_page(items, rows->len < (guint)limit ? NULL : next, limit);
	json_object_set_new(page, "verdict", verdict);
	return page;
}

bool service_timeline_purge(struct service *service, int64_t days, bool *ret_more, GError **error)
{
	int64_t now_ms = service_now_ms(service);

	return store_event_purge(service->store, now_ms - days * 86400000, PURGE_AT_ONCE, ret_more, error) && store_address_purge(service->store, now_ms - HINT_MS, PURGE_AT_ONCE, error);
}
