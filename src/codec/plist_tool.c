/* Test tool: a property list from standard input, read and written again to standard output; "line 1: …" on standard error
 * and exit code 1 when it is refused. Driven by tests/interop/plist_roundtrip.py. */
#include <stdio.h>

#include "base/buf.h"
#include "codec/plist.h"

static bool read_all(FILE *in, struct pom_buf *buf)
{
	char chunk[4096];
	size_t n;

	while ((n = fread(chunk, 1, sizeof(chunk), in)) > 0)
		pom_buf_append(buf, chunk, n);
	return !ferror(in) && !buf->failed;
}

static GBytes *rewrite(const struct pom_buf *in, GError **error)
{
	g_autoptr(plist) node = plist_parse(in->data, in->len, NULL, error);

	return node ? plist_format(node, error) : NULL;
}

int main(void)
{
	g_auto(pom_buf_auto) in;
	g_autoptr(GError) error = NULL;

	pom_buf_init(&in, 64 << 20);
	if (!read_all(stdin, &in))
		return 2;
	g_autoptr(GBytes) out = rewrite(&in, &error);

	if (!out) {
		fprintf(stderr, "%s\n", error->message);
		return 1;
	}
	return fwrite(g_bytes_get_data(out, NULL), g_bytes_get_size(out), 1, stdout) == 1 ? 0 : 2;
}
