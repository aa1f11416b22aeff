#include "service/answer.h"

#include "base/face.h"

json_t *json_time(int64_t unix_ms)
{
	g_autofree char *text = NULL;

	if (!unix_ms)
		return json_null();
	text = pom_time_format(unix_ms);
	return json_string(text);
}

void json_set_text(json_t *object, const char *key, const char *text)
{
	json_object_set_new(object, key, text ? json_string(text) : json_null());
}

json_t *json_page(json_t *items, const char *last, int64_t limit)
{
	bool more = last && (int64_t)json_array_size(items) >= limit;

	return json_pack("{s:o, s:o}", "items", items, "next", more ? json_string(last) : json_null());
}
