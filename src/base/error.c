#include "base/error.h"

/* Not G_DEFINE_QUARK: its variable is written by whichever threads come first, without order. */
GQuark pom_error_quark(void)
{
	static gsize quark;

	if (g_once_init_enter(&quark))
		g_once_init_leave(&quark, g_quark_from_static_string("pom-error-quark"));
	return (GQuark)quark;
}

static const struct pom_error_info table[POM_ERR_MAX] = {
#define X(code, id, status, retry, text) [code] = {#code, id, status, retry, text},
	POM_ERROR_TABLE(X)
#undef X
};

const struct pom_error_info *pom_error_info(int code)
{
	return &table[code >= 0 && code < POM_ERR_MAX ? code : POM_ERR_INTERNAL];
}

const struct pom_error_info *pom_error_info_of(const GError *error)
{
	return pom_error_info(error && error->domain == POM_ERROR ? error->code : POM_ERR_INTERNAL);
}

enum pom_error pom_error_find(const char *id)
{
	for (int i = 0; i < POM_ERR_MAX; i++)
		if (!g_ascii_strcasecmp(id, table[i].id) || !g_ascii_strcasecmp(id, table[i].id + strlen("POM-")))
			return i;
	return POM_ERR_MAX;
}

bool pom_fail(GError **error, enum pom_error code, const char *format, ...)
{
	va_list args;

	if (!error)
		return false;
	va_start(args, format);
	g_propagate_error(error, g_error_new_valist(POM_ERROR, code, format, args));
	va_end(args);
	return false;
}
