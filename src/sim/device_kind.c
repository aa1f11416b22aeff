#include <stdio.h>
#include <string.h>

#include "base/face.h"
#include "sim/device_internal.h"

static const struct sim_model models[SIM_KIND_MAX] = {
	{SIM_IPHONE, "iphone", "iPhone", "iPhone16,1", "MTQA3", "26.1", "23B85", "00008130", false, true, false},
	{SIM_IPAD, "ipad", "iPad", "iPad14,3", "MNXD3", "26.1", "23B85", "00008112", false, true, false},
	{SIM_MAC, "mac", "Mac", "Mac15,3", "Mac15,3", "26.1", "25B78", NULL, true, false, false},
	{SIM_APPLETV, "appletv", "Apple TV", "AppleTV14,1", "MN893", "26.1", "23J582", "00008110", false, false, false},
	{SIM_WATCH, "watch", "Apple Watch", "Watch7,1", "MR993", "26.1", "23S36", "00008301", false, true, true},
};

const struct sim_model *sim_model_of(enum sim_kind kind)
{
	return &models[kind];
}

enum sim_kind sim_kind_find(const char *text)
{
	for (unsigned i = 0; text && i < G_N_ELEMENTS(models); i++)
		if (!strcmp(models[i].option, text))
			return models[i].kind;
	return SIM_KIND_MAX;
}

static char *invent_uuid(void)
{
	g_autofree char *uuid = g_uuid_string_random();

	return g_ascii_strup(uuid, -1);
}

static char *invent_udid(const struct sim_model *model)
{
	uint8_t bytes[8];
	GString *text;

	if (!model->chip)
		return invent_uuid();
	pom_random_fill(pom_random_system(), bytes, sizeof(bytes));
	text = g_string_new(model->chip);
	g_string_append_c(text, '-');
	for (unsigned i = 0; i < sizeof(bytes); i++)
		g_string_append_printf(text, "%02X", bytes[i]);
	return g_string_free(text, FALSE);
}

static char *invent_serial(void)
{
	static const char letters[] = "0123456789CDFGHJKLMNPQRTVWXY";
	uint8_t bytes[10];
	GString *text = g_string_new(NULL);

	pom_random_fill(pom_random_system(), bytes, sizeof(bytes));
	for (unsigned i = 0; i < sizeof(bytes); i++)
		g_string_append_c(text, letters[bytes[i] % (sizeof(letters) - 1)]);
	return g_string_free(text, FALSE);
}

void device_invent(struct device *d)
{
	d->udid = invent_udid(d->model);
	d->serial = invent_serial();
	d->name = g_strdup_printf("Simulated %s %.4s", d->model->family, d->serial);
	d->magic = invent_uuid();
	pom_random_fill(pom_random_system(), d->token, sizeof(d->token));
}

void device_become(struct device *d, enum sim_kind kind)
{
	d->model = sim_model_of(kind);
	d->supervised = d->options->supervised || d->model->always_supervised;
	g_free(d->udid);
	g_free(d->serial);
	g_free(d->name);
	g_free(d->magic);
	device_invent(d);
}

char *device_title(const struct device *d)
{
	return g_strdup_printf("simulated %s %s", d->model->family, d->udid);
}

static void print_json(const struct device *d, const char *step, json_t *more, const char *text)
{
	g_autoptr(json_t) line = json_pack("{s:s, s:s, s:s, s:b, s:s}", "device", d->udid, "kind", d->model->option, "step", step, "simulated", 1, "text", text);
	g_autoptr(GBytes) bytes = NULL;

	if (more)
		json_object_update_missing(line, more);
	bytes = json_format(line);
	printf("%.*s\n", (int)g_bytes_get_size(bytes), (const char *)g_bytes_get_data(bytes, NULL));
}

/* A server's words must not become lines or escape sequences of ours. transfer full. */
static char *make_plain(const char *text)
{
	char *plain = g_utf8_make_valid(text, -1);

	for (char *p = plain; *p; p++)
		if (g_ascii_iscntrl(*p))
			*p = ' ';
	return plain;
}

void device_say(const struct device *d, const char *step, json_t *more, const char *format, ...)
{
	g_autoptr(json_t) owned = more;
	g_autofree char *raw = NULL, *text = NULL, *title = NULL;
	va_list args;

	if (d->options->quiet)
		return;
	va_start(args, format);
	raw = g_strdup_vprintf(format, args);
	va_end(args);
	text = make_plain(raw);
	title = device_title(d);
	if (d->options->json)
		print_json(d, step, owned, text);
	else
		printf("%s: %s\n", title, text);
	fflush(stdout);
}
