/* The admin API for the outbox of pushes. */
#include <string.h>

#include "server/admin_internal.h"
#include "server/node.h"

static void set_text(json_t *o, const char *key, const char *value)
{
	json_object_set_new(o, key, value ? json_string(value) : json_null());
}

/* 0: null. */
static void set_time(json_t *o, const char *key, int64_t at_ms)
{
	g_autofree char *text = at_ms ? pom_time_format(at_ms) : NULL;

	set_text(o, key, text);
}

static json_t *format_error(const struct push_status *status)
{
	json_t *o;

	if (!status->error_id)
		return json_null();
	o = json_object();
	set_text(o, "id", status->error_id);
	set_text(o, "reason", status->error_reason);
	set_text(o, "text", status->error_text);
	set_time(o, "at", status->error_ms);
	return o;
}

static void set_count(json_t *o, const struct push_count *count)
{
	json_object_set_new(o, "owed", json_integer(count->owed));
	set_time(o, "owed_since", count->owed_since_ms);
	json_object_set_new(o, "waiting_for_devices", json_integer(count->waiting));
	json_object_set_new(o, "dead_tokens", json_integer(count->dead));
}

static json_t *format_topic(const struct push_status *status, const struct push_count *count)
{
	json_t *o = json_object();

	set_text(o, "topic", status->topic);
	set_text(o, "state", status->state);
	set_time(o, "certificate_expires", status->not_after_ms);
	json_object_set_new(o, "connections", json_integer(status->connections));
	json_object_set_new(o, "streams", json_integer(status->streams));
	json_object_set_new(o, "in_flight", json_integer(status->in_flight));
	json_object_set_new(o, "queued", json_integer(status->queued));
	set_count(o, count);
	set_time(o, "paused_until", status->paused_until_ms);
	json_object_set_new(o, "error", format_error(status));
	return o;
}

/* What is owed to devices of a topic that has no push certificate here. */
static json_t *format_foreign(const struct push_count *count)
{
	const struct push_status status = {.topic = (char *)(uintptr_t)(*count->topic ? count->topic : NULL), .state = *count->topic ? "no certificate" : "not enrolled"};

	return format_topic(&status, count);
}

static const struct push_count *find_count(GArray *counts, const char *topic)
{
	static const struct push_count none;

	for (guint i = 0; i < counts->len; i++)
		if (!strcmp(g_array_index(counts, struct push_count, i).topic, topic))
			return &g_array_index(counts, struct push_count, i);
	return &none;
}

static bool is_known(GArray *topics, const char *topic)
{
	for (guint i = 0; i < topics->len; i++)
		if (!strcmp(g_array_index(topics, struct push_status, i).topic, topic))
			return true;
	return false;
}

json_t *admin_push_status(struct server *server, const struct http_request *request, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) counts = store_push_counts(server->store, &load, error), topics = NULL;
	json_t *reply, *items;

	if (!counts)
		return NULL;
	topics = pusher_status(server->pusher);
	items = json_array();
	for (guint i = 0; i < topics->len; i++) {
		const struct push_status *status = &g_array_index(topics, struct push_status, i);

		json_array_append_new(items, format_topic(status, find_count(counts, status->topic)));
	}
	for (guint i = 0; i < counts->len; i++)
		if (!is_known(topics, g_array_index(counts, struct push_count, i).topic))
			json_array_append_new(items, format_foreign(&g_array_index(counts, struct push_count, i)));
	reply = json_object();
	/* Connections and pauses are this node's, what is owed is everybody's. */
	set_text(reply, "node", store_is_shared(server->store) ? server_node_name(server) : NULL);
	set_text(reply, "apns", pusher_peer(server->pusher));
	set_text(reply, "proxy", pusher_proxy(server->pusher));
	json_object_set_new(reply, "per_second", json_integer(settings_int(server->settings, SETTING_PUSH_RATE)));
	json_object_set_new(reply, "items", items);
	json_object_set_new(reply, "next", json_null());
	return reply;
}

json_t *admin_push_resume(struct server *server, const struct http_request *request, GError **error)
{
	pusher_resume(server->pusher);
	return json_pack("{s:b}", "resumed", 1);
}
