/* What database URLs hold that nobody else may see. */
#include <string.h>

#include "db/db.h"

/* The parts of a URL of PostgreSQL, as libpq reads it: the user and password end at the first @, if no / comes before it. */
struct parts {
	const char *user, *password; /* NULL: none */
	size_t user_len;
	const char *rest;            /* hosts and database */
	size_t rest_len;
	const char *query;           /* after '?'; NULL: none */
};

static bool split(const char *url, struct parts *ret)
{
	const char *start = strstr(url, "://"), *end;

	if (!start)
		return false;
	start += 3;
	*ret = (struct parts){.rest = start};
	end = start + strcspn(start, "@/");
	if (*end == '@') {
		ret->user = start;
		ret->user_len = strcspn(start, ":@");
		if (start[ret->user_len] == ':')
			ret->password = start + ret->user_len + 1;
		ret->rest = end + 1;
	}
	ret->rest_len = strcspn(ret->rest, "?");
	if (ret->rest[ret->rest_len] == '?')
		ret->query = ret->rest + ret->rest_len + 1;
	/* Another @ before the query: the first part holds a character that had to be escaped, and what is the password is anybody's guess. */
	return !memchr(ret->rest, '@', ret->rest_len);
}

/* Whether KEY=VALUE of a query is a secret: password, sslpassword, or a name that cannot be read. */
static bool is_secret(const char *pair)
{
	g_autofree char *raw = g_strndup(pair, strcspn(pair, "=")), *key = g_uri_unescape_string(raw, NULL);

	return !key || strstr(key, "password") != NULL;
}

/* The query without its secrets, "?…" or ""; transfer full. */
static char *show_query(const char *query)
{
	g_auto(GStrv) pairs = g_strsplit(query ? query : "", "&", -1);
	g_autoptr(GString) text = g_string_new(NULL);

	for (int i = 0; pairs[i]; i++)
		if (*pairs[i] && !is_secret(pairs[i]))
			g_string_append_printf(text, "%c%s", text->len ? '&' : '?', pairs[i]);
	return g_string_free(g_steal_pointer(&text), FALSE);
}

bool db_url_check(const char *url, GError **error)
{
	struct parts parts;
	enum db_engine engine;

	if (!db_engine_of(url, &engine, error))
		return false;
	if (engine == DB_SQLITE || split(url, &parts))
		return true;
	return pom_fail(error, POM_ERR_CONFIG, "store.url cannot be read: in a user name or password these characters are written as %%40 for @, %%2F for /, %%3A for : and %%3F for ?");
}

bool db_url_has_password(const char *url)
{
	enum db_engine engine;
	struct parts parts;
	g_auto(GStrv) pairs = NULL;

	if (!db_engine_of(url, &engine, NULL) || engine == DB_SQLITE)
		return false;
	if (!split(url, &parts) || (parts.password && *parts.password != '@'))
		return true;
	pairs = g_strsplit(parts.query ? parts.query : "", "&", -1);
	for (int i = 0; pairs[i]; i++)
		if (*pairs[i] && is_secret(pairs[i]))
			return true;
	return false;
}

char *db_url_show(const char *url)
{
	enum db_engine engine;
	struct parts parts;
	g_autofree char *user = NULL, *rest = NULL, *query = NULL;

	if (!db_engine_of(url, &engine, NULL))
		return g_strdup("(no database)");
	if (engine == DB_SQLITE)
		return g_strdup(url);
	if (!split(url, &parts))
		return g_strdup("postgresql://…");
	user = parts.user ? g_strdup_printf("%.*s@", (int)parts.user_len, parts.user) : g_strdup("");
	rest = g_strndup(parts.rest, parts.rest_len);
	query = show_query(parts.query);
	return g_strconcat("postgresql://", user, rest, query, NULL);
}
