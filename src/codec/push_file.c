#include "codec/push_file.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <string.h>

#include "base/error.h"
#include "codec/base64.h"

#define BEGIN "-----BEGIN "
#define END "-----END "
#define DASHES "-----"

enum { LABEL_MAX = 64, NESTED_MAX = 2 };

static void piece_free(void *data)
{
	struct push_piece *piece = data;

	OPENSSL_cleanse(piece->data, piece->len);
	g_free(piece->data);
	g_free(piece->label);
	g_free(piece);
}

static bool add(GPtrArray *pieces, enum push_piece_kind kind, const void *data, size_t len, const char *label, GError **error)
{
	struct push_piece *piece;

	if (pieces->len >= PUSH_PIECES_MAX)
		return pom_fail(error, POM_ERR_PUSH_FILE, "the file has more than %d parts", PUSH_PIECES_MAX);
	piece = g_new0(struct push_piece, 1);
	piece->kind = kind;
	/* A NUL after it, so that text is a string. */
	piece->data = g_malloc0(len + 1);
	if (len)
		memcpy(piece->data, data, len);
	piece->len = len;
	piece->label = g_strdup(label);
	g_ptr_array_add(pieces, piece);
	return true;
}

/* ---- DER ---- */

/* Whether an ASN.1 reader takes all of the bytes. */
static bool is_x509_sig(const uint8_t *data, size_t len)
{
	const uint8_t *p = data;
	X509_SIG *sig = d2i_X509_SIG(NULL, &p, (long)len);
	bool ok = sig && p == data + len;

	X509_SIG_free(sig);
	return ok;
}

static bool is_request(const uint8_t *data, size_t len)
{
	const uint8_t *p = data;
	g_autoptr(X509_REQ) request = d2i_X509_REQ(NULL, &p, (long)len);

	return request && p == data + len;
}

static bool is_certificate(const uint8_t *data, size_t len)
{
	const uint8_t *p = data;
	g_autoptr(X509) cert = d2i_X509(NULL, &p, (long)len);

	return cert && p == data + len;
}

static bool is_key(const uint8_t *data, size_t len)
{
	const uint8_t *p = data;
	g_autoptr(EVP_PKEY) key = d2i_AutoPrivateKey(NULL, &p, (long)len);

	return key && p == data + len;
}

static bool is_pkcs12(const uint8_t *data, size_t len)
{
	const uint8_t *p = data;
	PKCS12 *p12 = d2i_PKCS12(NULL, &p, (long)len);
	bool ok = p12 != NULL;

	PKCS12_free(p12);
	return ok;
}

/* ContentInfo (RFC 5652 §3): a sequence that begins with the OID of signedData or envelopedData; BER too, so no reader of DER is asked. */
static bool is_cms(const uint8_t *data, size_t len)
{
	static const uint8_t pkcs7[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07};
	size_t head = len > 1 && data[1] & 0x80 ? 2u + (data[1] & 0x7f) : 2;

	return head + sizeof(pkcs7) < len && !memcmp(data + head, pkcs7, sizeof(pkcs7));
}

static enum push_piece_kind kind_of_der(const uint8_t *data, size_t len)
{
	enum push_piece_kind kind = is_cms(data, len)         ? PUSH_PIECE_CMS
	                            : is_certificate(data, len) ? PUSH_PIECE_CERTIFICATE
	                            : is_request(data, len)     ? PUSH_PIECE_REQUEST
	                            : is_x509_sig(data, len)    ? PUSH_PIECE_ENCRYPTED_KEY
	                            : is_key(data, len)         ? PUSH_PIECE_KEY
	                            : is_pkcs12(data, len)      ? PUSH_PIECE_PKCS12
	                                                        : PUSH_PIECE_OTHER;

	ERR_clear_error();
	return kind;
}

/* ---- PEM ---- */

/* The kind that a label promises; PUSH_PIECE_MAX: one that is passed over. */
static enum push_piece_kind kind_of_label(const char *label)
{
	static const struct { const char *label; enum push_piece_kind kind; } labels[] = {
		{"CERTIFICATE", PUSH_PIECE_CERTIFICATE}, {"X509 CERTIFICATE", PUSH_PIECE_CERTIFICATE}, {"TRUSTED CERTIFICATE", PUSH_PIECE_OTHER},
		{"CERTIFICATE REQUEST", PUSH_PIECE_REQUEST}, {"NEW CERTIFICATE REQUEST", PUSH_PIECE_REQUEST},
		{"PRIVATE KEY", PUSH_PIECE_KEY}, {"RSA PRIVATE KEY", PUSH_PIECE_KEY}, {"EC PRIVATE KEY", PUSH_PIECE_KEY}, {"ENCRYPTED PRIVATE KEY", PUSH_PIECE_ENCRYPTED_KEY},
		{"PKCS7", PUSH_PIECE_CMS}, {"CMS", PUSH_PIECE_CMS}, {"PKCS12", PUSH_PIECE_PKCS12},
		{"EC PARAMETERS", PUSH_PIECE_MAX}, {"DH PARAMETERS", PUSH_PIECE_MAX},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(labels); i++)
		if (!strcmp(labels[i].label, label))
			return labels[i].kind;
	return PUSH_PIECE_OTHER;
}

/* The block again as every reader of PEM takes it, with its header lines (RFC 1421 §4.6.1.1): only they tell how an old encrypted key is opened. */
static bool add_encrypted_pem(GPtrArray *pieces, const char *label, const char *headers, size_t headers_len, const char *base64, size_t len, GError **error)
{
	GString *pem = g_string_new(NULL);
	size_t column = 0;
	bool ok;

	g_string_append_printf(pem, BEGIN "%s" DASHES "\n", label);
	for (size_t i = 0; i < headers_len; i++)
		if (headers[i] == '\n' || headers[i] == '\r') {
			if (pem->str[pem->len - 1] != '\n')
				g_string_append_c(pem, '\n');
		} else if (pem->str[pem->len - 1] != '\n' || !g_ascii_isspace(headers[i])) {
			g_string_append_c(pem, headers[i]);
		}
	g_string_append(pem, headers_len ? "\n" : "");
	for (size_t i = 0; i < len; i++)
		if (!g_ascii_isspace(base64[i])) {
			g_string_append_c(pem, base64[i]);
			if (++column % 64 == 0)
				g_string_append_c(pem, '\n');
		}
	g_string_append_printf(pem, "%s" END "%s" DASHES "\n", column % 64 ? "\n" : "", label);
	ok = add(pieces, PUSH_PIECE_ENCRYPTED_KEY, pem->str, pem->len, label, error);
	OPENSSL_cleanse(pem->str, pem->len);
	g_string_free(pem, TRUE);
	return ok;
}

/* How many bytes of header lines a block begins with: lines with a colon, which is in no base64, up to the last such. */
static size_t headers_of(const char *body, size_t len)
{
	size_t end = 0;

	for (size_t i = 0; i < len; i++)
		if (body[i] == ':') {
			const char *p = memchr(body + i, '\n', len - i), *q = memchr(body + i, '\r', len - i);

			p = p && q ? MIN(p, q) : p ? p : q;
			if (!p)
				return len;
			end = (size_t)(p - body) + 1;
			i = end - 1;
		}
	return end;
}

static bool add_block(GPtrArray *pieces, const char *label, const char *body, size_t len, GError **error)
{
	enum push_piece_kind kind = kind_of_label(label);
	size_t headers = headers_of(body, len), n = 0;
	g_autofree uint8_t *der = NULL;
	bool ok;

	if (kind == PUSH_PIECE_MAX)
		return true;
	if (kind == PUSH_PIECE_KEY && headers)
		return add_encrypted_pem(pieces, label, body, headers, body + headers, len - headers, error);
	der = g_malloc(base64_decoded_max(len));
	if (!base64_parse(body + headers, len - headers, BASE64_SPACE, der, &n) || !n)
		return pom_fail(error, POM_ERR_PUSH_FILE, "the block \"%s\" (part %u of the file) is broken: between its BEGIN and END lines must be base64", label, pieces->len + 1);
	if (kind != PUSH_PIECE_OTHER && kind != PUSH_PIECE_ENCRYPTED_KEY && kind_of_der(der, n) != kind) {
		OPENSSL_cleanse(der, n);
		return pom_fail(error, POM_ERR_PUSH_FILE, "the block \"%s\" (part %u of the file) does not hold what it says: it is damaged, or was put together by hand", label, pieces->len + 1);
	}
	ok = add(pieces, kind, der, n, label, error);
	OPENSSL_cleanse(der, n);
	return ok;
}

/* All blocks of TEXT, wherever they begin. */
static bool add_blocks(GPtrArray *pieces, const char *text, GError **error)
{
	const char *p = text;

	while ((p = strstr(p, BEGIN))) {
		const char *label = p + strlen(BEGIN), *label_end = strstr(label, DASHES), *end;
		g_autofree char *name = label_end && label_end - label <= LABEL_MAX ? g_strndup(label, (gsize)(label_end - label)) : NULL;
		g_autofree char *closing = name ? g_strconcat(END, name, DASHES, NULL) : NULL;

		if (!name)
			return pom_fail(error, POM_ERR_PUSH_FILE, "part %u of the file begins like a PEM block and has no end of its first line", pieces->len + 1);
		end = strstr(label_end, closing);
		if (!end)
			return pom_fail(error, POM_ERR_PUSH_FILE, "the block \"%s\" (part %u of the file) is cut off: its line \"" END "%s" DASHES "\" is missing", name, pieces->len + 1, name);
		if (!add_block(pieces, name, label_end + strlen(DASHES), (size_t)(end - label_end) - strlen(DASHES), error))
			return false;
		p = end + strlen(closing);
	}
	return true;
}

/* ---- anything ---- */

/* The file as text of one byte a character, NUL-terminated, without a byte order mark; transfer full, N + 1 bytes. What is not ASCII becomes '?', which is in nothing that is looked for. */
static char *to_text(const uint8_t *data, size_t len, size_t *ret_n)
{
	bool little = len >= 2 && data[0] == 0xff && data[1] == 0xfe, big = len >= 2 && data[0] == 0xfe && data[1] == 0xff;
	bool marked = len >= 3 && data[0] == 0xef && data[1] == 0xbb && data[2] == 0xbf;
	size_t skip = little || big ? 2 : marked ? 3 : 0, step = little || big ? 2 : 1, n = (len - skip) / step;
	char *text = g_malloc(n + 1);

	for (size_t i = 0; i < n; i++) {
		const uint8_t *unit = data + skip + i * step;
		uint8_t low = unit[big ? 1 : 0], high = step == 2 ? unit[big ? 0 : 1] : 0;

		text[i] = high || !low ? '?' : (char)low;
	}
	text[n] = '\0';
	*ret_n = n;
	return text;
}

static bool parse(GPtrArray *pieces, const uint8_t *data, size_t len, unsigned depth, GError **error);

static bool begins_with(const char *text, const char *word)
{
	return !g_ascii_strncasecmp(text, word, strlen(word));
}

static bool is_hex(const char *text)
{
	size_t n = 0;

	for (const char *p = text; *p; p++) {
		if (!g_ascii_isxdigit(*p) && !g_ascii_isspace(*p))
			return false;
		n += g_ascii_isxdigit(*p) != 0;
	}
	return n > 8 && n % 2 == 0;
}

/* Hex (as a signing service mails its answer) or base64 without a frame: what is in it is looked at in turn. */
static bool parse_coded(GPtrArray *pieces, const char *text, size_t n, unsigned depth, GError **error)
{
	g_autofree uint8_t *bytes = g_malloc(base64_decoded_max(n));
	size_t len = 0;
	bool ok;

	if (is_hex(text)) {
		for (const char *p = text; *p; p++)
			if (!g_ascii_isspace(*p)) {
				bytes[len / 2] = (uint8_t)(len % 2 ? bytes[len / 2] << 4 | g_ascii_xdigit_value(*p) : g_ascii_xdigit_value(*p));
				len++;
			}
		len /= 2;
	} else if (!base64_parse(text, n, BASE64_SPACE, bytes, &len)) {
		return add(pieces, PUSH_PIECE_OTHER, text, n, NULL, error);
	}
	ok = parse(pieces, bytes, len, depth + 1, error);
	OPENSSL_cleanse(bytes, base64_decoded_max(n));
	return ok;
}

static bool parse_text(GPtrArray *pieces, char *text, size_t n, unsigned depth, GError **error)
{
	const char *p = text;

	while (g_ascii_isspace(*p))
		p++;
	if (!*p)
		return true;
	/* A page may show a certificate, but is none. */
	if (begins_with(p, "<!doctype html") || begins_with(p, "<html") || (*p == '<' && strcasestr(p, "<html") && !strstr(p, "<plist")))
		return add(pieces, PUSH_PIECE_PAGE, text, n, NULL, error);
	/* It has certificates in it. */
	if (*p == '<' && strstr(p, "<plist"))
		return add(pieces, PUSH_PIECE_DOCUMENT, p, strlen(p), NULL, error);
	if (strstr(p, BEGIN))
		return add_blocks(pieces, p, error);
	if (depth < NESTED_MAX)
		return parse_coded(pieces, p, strlen(p), depth, error);
	return add(pieces, PUSH_PIECE_OTHER, text, n, NULL, error);
}

static bool parse(GPtrArray *pieces, const uint8_t *data, size_t len, unsigned depth, GError **error)
{
	enum push_piece_kind kind = len && *data == 0x30 ? kind_of_der(data, len) : PUSH_PIECE_OTHER;
	char *text;
	size_t n;
	bool ok;

	/* '0' is 0x30 too: base64 and hex can begin with it. */
	if (kind != PUSH_PIECE_OTHER)
		return add(pieces, kind, data, len, NULL, error);
	text = to_text(data, len, &n);
	ok = parse_text(pieces, text, n, depth, error);
	OPENSSL_cleanse(text, n);
	g_free(text);
	return ok;
}

GPtrArray *push_file_parse(const void *data, size_t len, GError **error)
{
	g_autoptr(GPtrArray) pieces = g_ptr_array_new_with_free_func(piece_free);

	if (len > PUSH_FILE_MAX) {
		pom_fail(error, POM_ERR_PUSH_FILE, "the file has %zu bytes, at most %d are read: it is none of those that belong to a push certificate", len, PUSH_FILE_MAX);
		return NULL;
	}
	return parse(pieces, data, len, 0, error) ? g_steal_pointer(&pieces) : NULL;
}
