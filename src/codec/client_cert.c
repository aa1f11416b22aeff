#include "codec/client_cert.h"

#include <string.h>

#include "base/error.h"
#include "codec/base64.h"
#include "codec/percent.h"

#define PEM_BEGIN "-----BEGIN CERTIFICATE-----"
#define PEM_END "-----END CERTIFICATE-----"

static GBytes *fail(GError **error, const char *what)
{
	pom_fail(error, POM_ERR_IDENTITY_HEADER, "%s: the proxy must pass it on as RFC 9440 says (:base64:) or as percent-escaped PEM", what);
	return NULL;
}

/* One SEQUENCE that fills all of DATA (X.690 §8.1.3.5, §10.1: the shortest length of two or three bytes, which a certificate has). */
static bool is_one_sequence(const uint8_t *data, size_t len)
{
	size_t n = len > 4 && data[0] == 0x30 && data[1] > 0x80 ? data[1] - 0x80 : 0, announced = 0;

	if (n < 1 || n > 2)
		return false;
	for (size_t i = 0; i < n; i++)
		announced = announced << 8 | data[2 + i];
	return announced == len - 2 - n && announced >= (n == 1 ? 0x80 : 0x100);
}

/* LEN characters of base64 → one DER value. */
static GBytes *decode(const char *text, size_t len, unsigned flags, GError **error)
{
	g_autofree uint8_t *data = g_malloc(base64_decoded_max(len) + 1);
	size_t n;

	if (!base64_parse(text, len, flags, data, &n))
		return fail(error, "the client certificate in the header is not whole base64");
	if (!is_one_sequence(data, n))
		return fail(error, "the client certificate in the header is not one whole DER value");
	return g_bytes_new_take(g_steal_pointer(&data), n);
}

/* RFC 9440 §2.1: one Byte Sequence of RFC 8941 §3.3.5, without parameters. */
static GBytes *parse_byte_sequence(const char *value, size_t len, GError **error)
{
	if (len < 2 || value[len - 1] != ':')
		return fail(error, "the client certificate in the header does not end with a colon");
	if (memchr(value + 1, ':', len - 2))
		return fail(error, "the header holds more than one client certificate");
	return decode(value + 1, len - 2, 0, error);
}

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && strchr(" \t\r\n", *p) && *p)
		p++;
	return p;
}

/* The next certificate of a PEM text; *P goes on behind it. */
static GBytes *parse_block(const char **p, const char *end, GError **error)
{
	const char *stop;
	GBytes *der;

	if ((size_t)(end - *p) < strlen(PEM_BEGIN) || memcmp(*p, PEM_BEGIN, strlen(PEM_BEGIN)))
		return fail(error, "the client certificate in the header is not PEM");
	*p += strlen(PEM_BEGIN);
	stop = memmem(*p, (size_t)(end - *p), PEM_END, strlen(PEM_END));
	if (!stop)
		return fail(error, "the client certificate in the header has no END line");
	der = decode(*p, (size_t)(stop - *p), BASE64_SPACE, error);
	*p = skip_space(stop + strlen(PEM_END), end);
	return der;
}

/* The leaf comes first; what follows must be certificates too. */
static GBytes *parse_pem(const char *value, size_t len, GError **error)
{
	g_autofree char *text = g_strndup(value, len);
	g_autoptr(GBytes) leaf = NULL;
	const char *p = text, *end;

	if (!percent_decode(text, &len))
		return fail(error, "the client certificate in the header is not percent-escaped");
	end = text + len;
	p = skip_space(p, end);
	leaf = parse_block(&p, end, error);
	for (int n = 1; leaf && p < end; n++) {
		g_autoptr(GBytes) next = n < CLIENT_CERT_CHAIN_MAX ? parse_block(&p, end, error) : fail(error, "the header holds too many certificates");

		if (!next)
			return NULL;
	}
	return g_steal_pointer(&leaf);
}

bool client_cert_parse(const char *value, GBytes **ret_der, GError **error)
{
	size_t len = strlen(value);
	GBytes *der;

	if (!len || !strcmp(value, "-") || !strcmp(value, "::")) {
		*ret_der = NULL;
		return true;
	}
	if (len > CLIENT_CERT_TEXT_MAX)
		return pom_fail(error, POM_ERR_IDENTITY_HEADER, "the header with the client certificate is longer than %d bytes", CLIENT_CERT_TEXT_MAX);
	der = value[0] == ':' ? parse_byte_sequence(value, len, error) : parse_pem(value, len, error);
	if (!der)
		return false;
	*ret_der = der;
	return true;
}
