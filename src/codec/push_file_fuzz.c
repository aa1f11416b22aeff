/* Whatever a file is, its pieces are what their kinds say. */
#include "codec/push_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GPtrArray) pieces = push_file_parse(data, size, NULL);

	for (guint i = 0; pieces && i < pieces->len; i++) {
		const struct push_piece *piece = g_ptr_array_index(pieces, i);
		const uint8_t *p = piece->data;
		g_autoptr(X509) cert = piece->kind == PUSH_PIECE_CERTIFICATE ? d2i_X509(NULL, &p, (long)piece->len) : NULL;

		g_assert(piece->kind < PUSH_PIECE_MAX && piece->data[piece->len] == '\0' && (piece->kind != PUSH_PIECE_CERTIFICATE || cert));
	}
	return 0;
}
