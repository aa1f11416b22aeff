/* Files on the way to a push certificate, as people have them: certificates, keys, requests and what is taken for them by mistake.
 *
 * Read all the same: a byte order mark, UTF-16, CRLF or CR, text around the blocks, blocks that run together on one line, PEM lines of any
 * length, base64 without its frame, DER. Nothing is decrypted here. */
#pragma once

#include "codec/cert.h"

enum { PUSH_FILE_MAX = 1 << 20, PUSH_PIECES_MAX = 64 };

enum push_piece_kind {
	PUSH_PIECE_CERTIFICATE,   /* DER */
	PUSH_PIECE_KEY,           /* DER: PKCS#8, or an algorithm's own form */
	PUSH_PIECE_ENCRYPTED_KEY, /* PEM, or DER of EncryptedPrivateKeyInfo (RFC 5958 §3) */
	PUSH_PIECE_REQUEST,       /* DER of PKCS#10 */
	PUSH_PIECE_PKCS12,        /* DER */
	PUSH_PIECE_CMS,           /* DER of ContentInfo: a signing service's answer, or a list of certificates */
	PUSH_PIECE_DOCUMENT,      /* XML: a request for Apple's portal (codec/push_request.h) or another property list */
	PUSH_PIECE_PAGE,          /* HTML */
	PUSH_PIECE_OTHER,         /* none of these; the label of its PEM block, if it is one */
	PUSH_PIECE_MAX,
};
struct push_piece {
	enum push_piece_kind kind;
	uint8_t *data; /* wiped when freed: it may be a key */
	size_t len;
	char *label;   /* of the PEM block; NULL: none */
};

/* One file → its pieces in order, array of struct push_piece (element free function set), transfer full. An empty file has none. POM_ERR_PUSH_FILE for a block
 * that is broken (cut off, no base64) and names it, or over the limits. Pure. */
GPtrArray *push_file_parse(const void *data, size_t len, GError **error) G_GNUC_WARN_UNUSED_RESULT;
