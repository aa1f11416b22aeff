#include "codec/ndes.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

/* The page with one byte for each character, transfer full. What is not ASCII becomes '?', which is in no tag or password. */
static char *to_ascii(const uint8_t *data, size_t len)
{
	bool little = len >= 2 && ((data[0] == 0xff && data[1] == 0xfe) || (data[0] && !data[1]));
	bool big = len >= 2 && ((data[0] == 0xfe && data[1] == 0xff) || (!data[0] && data[1]));
	size_t step = little || big ? 2 : 1, n = len / step;
	char *text = g_malloc(n + 1);

	for (size_t i = 0; i < n; i++) {
		uint8_t low = data[i * step + (big ? 1 : 0)], high = step == 2 ? data[i * step + (big ? 0 : 1)] : 0;

		text[i] = high || low >= 0x80 || !low ? '?' : (char)low;
	}
	text[n] = '\0';
	return text;
}

/* Behind the tag, comment or hidden element that begins at P, or the end of the text. */
static const char *skip_tag(const char *p)
{
	static const struct { const char *begin, *end; } hidden[] = {{"<!--", "-->"}, {"<script", "</script>"}, {"<style", "</style>"}};
	const char *mark = ">", *end;

	for (size_t i = 0; i < G_N_ELEMENTS(hidden); i++)
		if (!g_ascii_strncasecmp(p, hidden[i].begin, strlen(hidden[i].begin)))
			mark = hidden[i].end;
	end = strcasestr(p, mark);
	return end ? end + strlen(mark) : p + strlen(p);
}

static bool is_password(const char *word, size_t len)
{
	if (len < NDES_CHALLENGE_MIN || len > NDES_CHALLENGE_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!g_ascii_isxdigit(word[i]))
			return false;
	return true;
}

/* The words of the text that can be the password: the first of them, and how many different ones there are (at most 2). */
static unsigned find(const char *p, const char **ret_word, size_t *ret_len)
{
	unsigned n = 0;

	while (*p && n < 2) {
		const char *word = p;

		if (*p == '<') {
			p = skip_tag(p);
			continue;
		}
		while (g_ascii_isalnum(*p))
			p++;
		if (p == word) {
			p++;
			continue;
		}
		size_t len = (size_t)(p - word);

		if (!is_password(word, len) || (n && len == *ret_len && !memcmp(word, *ret_word, len)))
			continue;
		if (!n++) {
			*ret_word = word;
			*ret_len = len;
		}
	}
	return n;
}

char *ndes_challenge_parse(const void *data, size_t len, GError **error)
{
	g_autofree char *text = NULL;
	const char *word = NULL;
	size_t word_len = 0;
	char *password = NULL;
	unsigned n;

	if (len > NDES_PAGE_MAX) {
		pom_fail(error, POM_ERR_SCEP_OUTSIDE_REPLY, "the challenge page has %zu bytes, at most %d are accepted", len, NDES_PAGE_MAX);
		return NULL;
	}
	text = to_ascii(data, len);
	n = find(text, &word, &word_len);
	if (n == 1)
		password = g_strndup(word, word_len);
	else if (n)
		pom_fail(error, POM_ERR_SCEP_OUTSIDE_REPLY, "the challenge page shows more than one word that can be the password: is it the page of NDES?");
	else
		pom_fail(error, POM_ERR_SCEP_OUTSIDE_REPLY, "the challenge page shows no password of %d to %d hexadecimal digits: the account may lack the right to enroll for the"
		         " template, or the password cache of NDES is full", NDES_CHALLENGE_MIN, NDES_CHALLENGE_MAX);
	explicit_bzero(text, strlen(text));
	return password;
}
