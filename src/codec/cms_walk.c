/* The walk over BER before OpenSSL sees a byte. It allocates nothing, looks at every element once per level, and knows the
 * messages of RFC 5652 as far as to count their parts and read the algorithms. Errors of form and limits come first; an
 * algorithm outside the tables is reported only when the whole message has been walked, so that such a message can still
 * be opened to answer it. */
#include <string.h>

#include "base/error.h"
#include "codec/cms.h"

enum { DEPTH_MAX = 24, RECIPIENTS_MAX = 8, CERTIFICATES_MAX = 8, SIGNERS_MAX = 1, ALGORITHMS_MAX = 8 };

/* Identifier octets (X.690 §8.1.2) of what stands in these messages. */
enum {
	TAG_INTEGER = 0x02, TAG_OCTETS = 0x04, TAG_OID = 0x06, TAG_SEQUENCE = 0x30, TAG_SET = 0x31,
	TAG_0 = 0xa0, TAG_1 = 0xa1, TAG_0_PRIMITIVE = 0x80, TAG_OCTETS_CONSTRUCTED = 0x24,
	CONSTRUCTED = 0x20, TAG_NUMBER = 0x1f,
};

struct oid {
	uint8_t len, bytes[10];
};
/* The length of an OID is that of its octets; they stand in OpenSSL's table of objects too, but by number. */
#define OID(...) {sizeof((const uint8_t[]){__VA_ARGS__}), {__VA_ARGS__}}
#define PKCS(n) 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, n
#define NIST_ALGORITHM 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04

static const struct oid oid_data = OID(PKCS(7), 1), oid_signed = OID(PKCS(7), 2), oid_enveloped = OID(PKCS(7), 3);
/* RFC 5083 id-ct-authEnvelopedData without its last three octets */
static const struct oid oid_smime = OID(PKCS(9), 16);

static const struct oid digests[] = {
	OID(0x2b, 0x0e, 0x03, 0x02, 0x1a), /* SHA-1 */
	OID(NIST_ALGORITHM, 2, 1), OID(NIST_ALGORITHM, 2, 2), OID(NIST_ALGORITHM, 2, 3), /* SHA-256, -384, -512 */
};
static const struct oid signatures[] = {
	OID(PKCS(1), 1), OID(PKCS(1), 5), OID(PKCS(1), 10), OID(PKCS(1), 11), OID(PKCS(1), 12), OID(PKCS(1), 13), /* RSA: plain, SHA-1, PSS, SHA-2 */
	OID(0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1), OID(0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2), /* ECDSA with SHA-1, -256 */
	OID(0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3), OID(0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4), /* with SHA-384, -512 */
};
static const struct oid key_transports[] = {
	OID(PKCS(1), 1), OID(PKCS(1), 7), /* RSAES-PKCS1-v1_5, RSAES-OAEP */
};
static const struct oid ciphers[] = {
	OID(NIST_ALGORITHM, 1, 2), OID(NIST_ALGORITHM, 1, 22), OID(NIST_ALGORITHM, 1, 42), /* AES-128, -192, -256 CBC */
	OID(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 3, 7), OID(0x2b, 0x0e, 0x03, 0x02, 7), /* DES-EDE3-CBC, DES-CBC */
};

/* What is left of an element's contents. Of an indefinite one the end is where the contents stop, before the two zeros. */
struct span {
	const uint8_t *p, *end;
};

struct element {
	uint8_t tag;
	struct span contents;
};

struct walk {
	GError **error;
	bool walked;               /* everything once: from then on definite lengths are trusted */
	const char *bad_algorithm; /* what has an algorithm outside its table */
};

static bool malformed(struct walk *w, const char *what)
{
	return pom_fail(w->error, POM_ERR_CMS_MALFORMED, "the CMS message is not as RFC 5652 has it: %s", what);
}

static bool over_limit(struct walk *w, const char *what)
{
	return pom_fail(w->error, POM_ERR_CMS_LIMIT, "the CMS message has too many %s", what);
}

/* Length octets (X.690 §8.1.3); -1 is indefinite. At most four octets: more than any limit here. */
static bool read_length(struct span *s, int64_t *ret)
{
	uint64_t value = 0;

	if (s->p == s->end)
		return false;
	uint8_t first = *s->p++;

	if (first < 0x80 || first == 0x80) {
		*ret = first < 0x80 ? first : -1;
		return true;
	}
	int n = first & 0x7f;

	if (n > 4 || s->end - s->p < n)
		return false;
	while (n-- > 0)
		value = value << 8 | *s->p++;
	*ret = (int64_t)value;
	return true;
}

static bool next(struct walk *w, struct span *s, int depth, struct element *ret);

static bool is_end_of_contents(const struct span *s)
{
	return s->end - s->p >= 2 && s->p[0] == 0 && s->p[1] == 0;
}

/* Walks the elements of an indefinite one up to its two zeros and over them. */
static bool walk_indefinite(struct walk *w, struct span *s, int depth, struct span *ret_contents)
{
	struct element child = {0};

	ret_contents->p = s->p;
	while (!is_end_of_contents(s)) {
		if (!next(w, s, depth, &child))
			return false;
	}
	ret_contents->end = s->p;
	s->p += 2;
	return true;
}

static bool walk_contents(struct walk *w, struct span contents, int depth)
{
	struct element child = {0};

	while (contents.p < contents.end) {
		if (!next(w, &contents, depth, &child))
			return false;
	}
	return true;
}

/* Reads the next element of S and moves behind it, having walked everything inside. */
static bool next(struct walk *w, struct span *s, int depth, struct element *ret)
{
	int64_t len;

	if (depth > DEPTH_MAX)
		return over_limit(w, "levels");
	if (s->end - s->p < 2)
		return malformed(w, "it is cut off");
	ret->tag = *s->p++;
	if (ret->tag == 0 || (ret->tag & TAG_NUMBER) == TAG_NUMBER)
		return malformed(w, "a tag has no meaning here");
	if (!read_length(s, &len))
		return malformed(w, "a length is cut off or too long");
	if (len < 0)
		return ret->tag & CONSTRUCTED ? walk_indefinite(w, s, depth + 1, &ret->contents) : malformed(w, "a value without a length");
	if (len > s->end - s->p)
		return malformed(w, "a length reaches past the end");
	ret->contents = (struct span){s->p, s->p + len};
	s->p += len;
	return !(ret->tag & CONSTRUCTED) || w->walked || walk_contents(w, ret->contents, depth + 1);
}

/* The walks below go over ground that has been walked: they can only find the wrong element. */
static bool expect(struct walk *w, struct span *s, uint8_t tag, const char *what, struct span *ret_contents)
{
	struct element element = {0};

	if (s->p == s->end)
		return malformed(w, what);
	if (!next(w, s, 0, &element))
		return false;
	if (element.tag != tag)
		return malformed(w, what);
	*ret_contents = element.contents;
	return true;
}

static bool starts_with(const struct span *s, uint8_t tag)
{
	return s->p < s->end && *s->p == tag;
}

static bool expect_end(struct walk *w, const struct span *s)
{
	return s->p == s->end || malformed(w, "something stands after its last part");
}

static bool is_oid(struct span s, const struct oid *oid)
{
	return s.end - s.p == oid->len && !memcmp(s.p, oid->bytes, oid->len);
}

static void refuse_algorithm(struct walk *w, const char *what)
{
	if (!w->bad_algorithm)
		w->bad_algorithm = what;
}

/* AlgorithmIdentifier: notes when it is not in the table; *ret_parameters is empty when there are none. */
static bool check_algorithm(struct walk *w, struct span *s, const struct oid *table, size_t n, const char *what, struct span *ret_parameters)
{
	struct span algorithm = {0}, oid = {0};
	struct element parameters = {0};

	if (!expect(w, s, TAG_SEQUENCE, what, &algorithm) || !expect(w, &algorithm, TAG_OID, what, &oid))
		return false;
	if (algorithm.p < algorithm.end && !next(w, &algorithm, 0, &parameters))
		return false;
	if (!expect_end(w, &algorithm))
		return false;
	if (ret_parameters)
		*ret_parameters = parameters.contents;
	for (size_t i = 0; i < n; i++) {
		if (is_oid(oid, &table[i]))
			return true;
	}
	refuse_algorithm(w, what);
	return true;
}

#define CHECK_ALGORITHM(w, s, table, what) check_algorithm(w, s, table, G_N_ELEMENTS(table), what, NULL)

static bool check_digests(struct walk *w, struct span *s)
{
	struct span set = {0};
	int n = 0;

	if (!expect(w, s, TAG_SET, "digestAlgorithms are missing (§5.1)", &set))
		return false;
	while (set.p < set.end) {
		if (++n > ALGORITHMS_MAX)
			return over_limit(w, "digest algorithms");
		if (!CHECK_ALGORITHM(w, &set, digests, "digestAlgorithm"))
			return false;
	}
	return true;
}

/* encapContentInfo: id-data, and an OCTET STRING in one piece or several. */
static bool check_content(struct walk *w, struct span *s)
{
	struct span encap = {0}, type = {0}, wrapper = {0};
	struct element content = {0};

	if (!expect(w, s, TAG_SEQUENCE, "encapContentInfo is missing (§5.2)", &encap) || !expect(w, &encap, TAG_OID, "eContentType is missing (§5.2)", &type))
		return false;
	if (!is_oid(type, &oid_data))
		return malformed(w, "eContentType is not id-data (§5.2)");
	if (encap.p == encap.end)
		return true;
	if (!expect(w, &encap, TAG_0, "eContent has another tag (§5.2)", &wrapper) || !expect_end(w, &encap))
		return false;
	if (wrapper.p == wrapper.end)
		return malformed(w, "eContent is empty (§5.2)");
	if (!next(w, &wrapper, 0, &content))
		return false;
	if (content.tag != TAG_OCTETS && content.tag != TAG_OCTETS_CONSTRUCTED)
		return malformed(w, "eContent is not an OCTET STRING (§5.2)");
	return expect_end(w, &wrapper);
}

/* certificates [0] or crls [1], if there: plain ones only, not too many. */
static bool check_optional_set(struct walk *w, struct span *s, uint8_t tag, const char *what)
{
	struct span set = {0}, item = {0};
	int n = 0;

	if (!starts_with(s, tag))
		return true;
	if (!expect(w, s, tag, what, &set))
		return false;
	while (set.p < set.end) {
		if (++n > CERTIFICATES_MAX)
			return over_limit(w, what);
		if (!expect(w, &set, TAG_SEQUENCE, "a certificate or CRL of another kind (§10.2)", &item))
			return false;
	}
	return true;
}

/* issuerAndSerialNumber or subjectKeyIdentifier [0] */
static bool check_party(struct walk *w, struct span *s)
{
	struct element id = {0};

	if (s->p == s->end)
		return malformed(w, "a signer or recipient without a name");
	if (!next(w, s, 0, &id))
		return false;
	return id.tag == TAG_SEQUENCE || id.tag == TAG_0_PRIMITIVE || id.tag == TAG_0 || malformed(w, "a signer or recipient named otherwise than by certificate");
}

static bool expect_octets(struct walk *w, struct span *s, const char *what)
{
	struct span contents = {0};
	uint8_t tag = starts_with(s, TAG_OCTETS_CONSTRUCTED) ? TAG_OCTETS_CONSTRUCTED : TAG_OCTETS;

	return expect(w, s, tag, what, &contents);
}

static bool skip_optional(struct walk *w, struct span *s, uint8_t tag)
{
	struct span contents = {0};

	return !starts_with(s, tag) || expect(w, s, tag, "", &contents);
}

static bool check_signer(struct walk *w, struct span *s)
{
	struct span signer = {0}, version = {0};

	return expect(w, s, TAG_SEQUENCE, "a SignerInfo is not a SEQUENCE (§5.3)", &signer) &&
	       expect(w, &signer, TAG_INTEGER, "a SignerInfo without version (§5.3)", &version) && check_party(w, &signer) &&
	       CHECK_ALGORITHM(w, &signer, digests, "digestAlgorithm") && skip_optional(w, &signer, TAG_0) &&
	       CHECK_ALGORITHM(w, &signer, signatures, "signatureAlgorithm") &&
	       expect_octets(w, &signer, "a SignerInfo without signature (§5.3)") && skip_optional(w, &signer, TAG_1) && expect_end(w, &signer);
}

static bool check_signed(struct walk *w, struct span *s)
{
	struct span data = {0}, version = {0}, signers = {0};
	int n = 0;

	if (!expect(w, s, TAG_SEQUENCE, "SignedData is not a SEQUENCE (§5.1)", &data) || !expect(w, &data, TAG_INTEGER, "SignedData without version (§5.1)", &version) ||
	    !check_digests(w, &data) || !check_content(w, &data) || !check_optional_set(w, &data, TAG_0, "certificates") ||
	    !check_optional_set(w, &data, TAG_1, "CRLs") || !expect(w, &data, TAG_SET, "signerInfos are missing (§5.1)", &signers) || !expect_end(w, &data))
		return false;
	while (signers.p < signers.end) {
		if (++n > SIGNERS_MAX)
			return over_limit(w, "signers");
		if (!check_signer(w, &signers))
			return false;
	}
	return true;
}

static bool check_recipient(struct walk *w, struct span *s)
{
	struct span recipient = {0}, version = {0};
	struct element other = {0};

	if (!starts_with(s, TAG_SEQUENCE)) {
		refuse_algorithm(w, "recipient that is not key transport");
		return next(w, s, 0, &other);
	}
	return expect(w, s, TAG_SEQUENCE, "a RecipientInfo is not a SEQUENCE (§6.2.1)", &recipient) &&
	       expect(w, &recipient, TAG_INTEGER, "a RecipientInfo without version (§6.2.1)", &version) && check_party(w, &recipient) &&
	       CHECK_ALGORITHM(w, &recipient, key_transports, "keyEncryptionAlgorithm") &&
	       expect_octets(w, &recipient, "a RecipientInfo without key (§6.2.1)") && expect_end(w, &recipient);
}

static bool check_recipients(struct walk *w, struct span *s)
{
	struct span set = {0};
	int n = 0;

	if (!expect(w, s, TAG_SET, "recipientInfos are missing (§6.1)", &set))
		return false;
	while (set.p < set.end) {
		if (++n > RECIPIENTS_MAX)
			return over_limit(w, "recipients");
		if (!check_recipient(w, &set))
			return false;
	}
	return n > 0 || malformed(w, "there are no recipients (§6.1)");
}

/* The IV is all that a CBC cipher has for parameters; what an AEAD cipher has there has been a stack overflow (CVE-2025-15467). */
static bool check_cipher(struct walk *w, struct span *s)
{
	struct span iv = {0};

	if (!check_algorithm(w, s, ciphers, G_N_ELEMENTS(ciphers), "contentEncryptionAlgorithm", &iv))
		return false;
	return w->bad_algorithm || iv.end - iv.p == 8 || iv.end - iv.p == 16 || malformed(w, "the IV has another size than a block (RFC 3370 §5)");
}

static bool check_encrypted_content(struct walk *w, struct span *s)
{
	struct span content = {0}, type = {0};

	if (!expect(w, s, TAG_SEQUENCE, "encryptedContentInfo is missing (§6.1)", &content) || !expect(w, &content, TAG_OID, "contentType is missing (§6.1)", &type))
		return false;
	if (!is_oid(type, &oid_data))
		return malformed(w, "contentType is not id-data (§6.1)");
	if (!check_cipher(w, &content))
		return false;
	if (!starts_with(&content, TAG_0) && !starts_with(&content, TAG_0_PRIMITIVE))
		return malformed(w, "encryptedContent is missing (§6.1)");
	return skip_optional(w, &content, *content.p) && expect_end(w, &content);
}

static bool check_enveloped(struct walk *w, struct span *s)
{
	struct span data = {0}, version = {0};

	return expect(w, s, TAG_SEQUENCE, "EnvelopedData is not a SEQUENCE (§6.1)", &data) &&
	       expect(w, &data, TAG_INTEGER, "EnvelopedData without version (§6.1)", &version) && check_recipients(w, &data) &&
	       check_encrypted_content(w, &data) && skip_optional(w, &data, TAG_1) && expect_end(w, &data);
}

static bool check_message(struct walk *w, struct span all, enum cms_kind kind)
{
	struct span info = {0}, type = {0}, body = {0};

	if (!expect(w, &all, TAG_SEQUENCE, "ContentInfo is not a SEQUENCE (§3)", &info) || !expect_end(w, &all))
		return false;
	w->walked = true;
	if (!expect(w, &info, TAG_OID, "contentType is missing (§3)", &type))
		return false;
	if (kind == CMS_KIND_ENVELOPED && type.end - type.p > oid_smime.len && !memcmp(type.p, oid_smime.bytes, oid_smime.len))
		return pom_fail(w->error, POM_ERR_CMS_ALGORITHM, "AuthEnvelopedData is not accepted, only EnvelopedData with a CBC cipher");
	if (!is_oid(type, kind == CMS_KIND_SIGNED ? &oid_signed : &oid_enveloped))
		return malformed(w, kind == CMS_KIND_SIGNED ? "it is not SignedData (§5)" : "it is not EnvelopedData (§6)");
	if (!expect(w, &info, TAG_0, "content is missing (§3)", &body) || !expect_end(w, &info))
		return false;
	return (kind == CMS_KIND_SIGNED ? check_signed(w, &body) : check_enveloped(w, &body)) && expect_end(w, &body);
}

bool cms_check(const void *data, size_t len, enum cms_kind kind, size_t max_bytes, GError **error)
{
	struct walk w = {.error = error};

	/* Empty bytes may have no address. */
	data = data ? data : "";
	if (len > max_bytes)
		return pom_fail(error, POM_ERR_CMS_LIMIT, "the CMS message has %zu bytes, at most %zu are accepted", len, max_bytes);
	if (!check_message(&w, (struct span){data, (const uint8_t *)data + len}, kind))
		return false;
	if (w.bad_algorithm)
		return pom_fail(error, POM_ERR_CMS_ALGORITHM, "the CMS message has a %s that is not accepted", w.bad_algorithm);
	return true;
}
