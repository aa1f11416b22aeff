/* The format: objects, a table of their offsets, and a trailer of 32 bytes that says how wide offsets and references are. */
#include "codec/plist_binary.h"

#include <string.h>

#include "base/error.h"
#include "codec/datetime.h"
#include "codec/plist_internal.h"

#define MAGIC "bplist00"

enum { MAGIC_LEN = 8, TRAILER_LEN = 32, EPOCH_2001 = 978307200 };
enum marker { MARK_SIMPLE = 0, MARK_INTEGER = 1, MARK_REAL = 2, MARK_DATE = 3, MARK_DATA = 4, MARK_ASCII = 5, MARK_UTF16 = 6, MARK_ARRAY = 10, MARK_DICT = 13 };

struct reader {
	const uint8_t *data;
	size_t end;                /* of the objects: where the table of offsets begins */
	unsigned offset_len, ref_len;
	uint64_t n_objects;
	struct plist_limits limits;
	struct plist_notes *notes;
	unsigned n_nodes, depth;
	size_t n_bytes;            /* of all texts and data so far */
	GError **error;
};

/* An object's marker, its count and what follows. */
struct object {
	enum marker kind;
	unsigned low;  /* the low half of the marker */
	uint64_t n;    /* the count, of those kinds that have one */
	size_t at;     /* of its marker */
	size_t body;
};

static uint64_t big_endian(const uint8_t *p, size_t n)
{
	uint64_t value = 0;

	for (size_t i = 0; i < n; i++)
		value = value << 8 | p[i];
	return value;
}

/* NULL, which is also false. */
static void *refuse(struct reader *r, enum pom_error code, size_t at, const char *what)
{
	pom_fail(r->error, code, "offset %zu: %s", at, what);
	return NULL;
}

/* Whether LEN bytes from AT on are objects. */
static bool has(const struct reader *r, size_t at, uint64_t len)
{
	return at <= r->end && len <= r->end - at;
}

/* The count behind a marker whose low half is 15: an integer object of its own. */
static bool read_count(struct reader *r, struct object *o)
{
	unsigned width;

	o->n = o->low;
	if (o->low != 15)
		return true;
	if (!has(r, o->body, 1) || r->data[o->body] >> 4 != MARK_INTEGER || (r->data[o->body] & 15) > 3)
		return refuse(r, POM_ERR_PLIST_SYNTAX, o->at, "the count is no integer of 1 to 8 bytes");
	width = 1u << (r->data[o->body] & 15);
	if (!has(r, o->body + 1, width))
		return refuse(r, POM_ERR_PLIST_SYNTAX, o->at, "the count is cut off");
	o->n = big_endian(r->data + o->body + 1, width);
	o->body += 1 + width;
	return true;
}

static bool read_object(struct reader *r, uint64_t ref, struct object *o)
{
	uint64_t at;

	if (ref >= r->n_objects)
		return refuse(r, POM_ERR_PLIST_SYNTAX, r->end, "a reference names an object that is not there");
	at = big_endian(r->data + r->end + ref * r->offset_len, r->offset_len);
	if (at < MAGIC_LEN || at >= r->end)
		return refuse(r, POM_ERR_PLIST_SYNTAX, r->end + (size_t)ref * r->offset_len, "an object lies outside the file");
	*o = (struct object){.kind = (enum marker)(r->data[at] >> 4), .low = r->data[at] & 15, .at = (size_t)at, .body = (size_t)at + 1};
	return o->kind < MARK_DATA || read_count(r, o);
}

/* Counts LEN more bytes of texts or data. */
static bool take_bytes(struct reader *r, const struct object *o, uint64_t len)
{
	if (!has(r, o->body, len))
		return refuse(r, POM_ERR_PLIST_SYNTAX, o->at, "an object reaches past the end of the objects");
	r->n_bytes += (size_t)len;
	return r->n_bytes <= r->limits.size_bytes || refuse(r, POM_ERR_PLIST_LIMIT, o->at, "the texts and data are more than are accepted");
}

static plist *read_simple(struct reader *r, const struct object *o)
{
	if (o->low == 8 || o->low == 9)
		return plist_new_boolean(o->low == 9);
	return refuse(r, POM_ERR_PLIST_VALUE, o->at, "a null or a filler: no property list in XML can hold it");
}

/* 1, 2 and 4 bytes are unsigned, 8 are signed, 16 hold what is above INT64_MAX. */
static plist *read_integer(struct reader *r, const struct object *o)
{
	size_t width = (size_t)1 << MIN(o->low, 5);
	const uint8_t *p = r->data + o->body;

	if (o->low > 4 || !has(r, o->body, width))
		return refuse(r, POM_ERR_PLIST_SYNTAX, o->at, "an integer of another width than 1, 2, 4, 8 or 16 bytes, or cut off");
	if (width < 8)
		return plist_new_unsigned(big_endian(p, width));
	if (width == 8)
		return plist_new_integer((int64_t)big_endian(p, 8));
	if (big_endian(p, 8) == UINT64_MAX && p[8] & 0x80)
		return plist_new_integer((int64_t)big_endian(p + 8, 8));
	return big_endian(p, 8) ? refuse(r, POM_ERR_PLIST_VALUE, o->at, "an integer of more than 64 bits") : plist_new_unsigned(big_endian(p + 8, 8));
}

static bool read_double(struct reader *r, const struct object *o, double *ret)
{
	uint64_t bits;
	uint32_t bits32;
	float single;

	if ((o->low != 2 && o->low != 3) || !has(r, o->body, (uint64_t)1 << o->low))
		return refuse(r, POM_ERR_PLIST_SYNTAX, o->at, "a real or date of another width than 4 or 8 bytes, or cut off");
	bits = big_endian(r->data + o->body, (size_t)1 << o->low);
	bits32 = (uint32_t)bits;
	memcpy(&single, &bits32, sizeof(single));
	memcpy(ret, &bits, sizeof(bits));
	if (o->low == 2)
		*ret = (double)single;
	return true;
}

static plist *read_real(struct reader *r, const struct object *o)
{
	double value;

	return read_double(r, o, &value) ? plist_new_real(value) : NULL;
}

static plist *read_date(struct reader *r, const struct object *o)
{
	struct datetime time;
	double seconds;
	int64_t whole;

	if (!read_double(r, o, &seconds))
		return NULL;
	/* Far more than the years that are accepted, and far less than an int64_t. */
	if (!(seconds > -1e12 && seconds < 1e12))
		return refuse(r, POM_ERR_PLIST_VALUE, o->at, "a date outside the years 1 to 9999");
	whole = (int64_t)seconds - ((double)(int64_t)seconds > seconds);
	if (!datetime_from_unix(whole + EPOCH_2001, &time))
		return refuse(r, POM_ERR_PLIST_VALUE, o->at, "a date outside the years 1 to 9999");
	return plist_new_date(whole + EPOCH_2001);
}

static char *read_ascii(struct reader *r, const struct object *o)
{
	const uint8_t *p = r->data + o->body;

	if (!take_bytes(r, o, o->n))
		return NULL;
	for (size_t i = 0; i < o->n; i++)
		if (!p[i] || p[i] >= 0x80) {
			refuse(r, POM_ERR_PLIST_VALUE, o->at, "a text with NUL, or ASCII that is none");
			return NULL;
		}
	return g_strndup((const char *)p, (gsize)o->n);
}

static char *read_utf16(struct reader *r, const struct object *o)
{
	g_autofree gunichar2 *units = NULL;
	char *text;

	if (o->n > r->limits.size_bytes)
		return refuse(r, POM_ERR_PLIST_LIMIT, o->at, "the texts and data are more than are accepted");
	if (!take_bytes(r, o, o->n * 2))
		return NULL;
	units = g_new(gunichar2, o->n + 1);
	for (size_t i = 0; i < o->n; i++)
		units[i] = (gunichar2)big_endian(r->data + o->body + 2 * i, 2);
	for (size_t i = 0; i < o->n; i++)
		if (!units[i])
			return refuse(r, POM_ERR_PLIST_VALUE, o->at, "a text with NUL");
	text = o->n ? g_utf16_to_utf8(units, (glong)o->n, NULL, NULL, NULL) : g_strdup("");
	return text ? text : refuse(r, POM_ERR_PLIST_VALUE, o->at, "a text that is no UTF-16");
}

static char *read_text(struct reader *r, const struct object *o)
{
	return o->kind == MARK_ASCII ? read_ascii(r, o) : read_utf16(r, o);
}

static plist *read_string(struct reader *r, const struct object *o)
{
	g_autofree char *text = read_text(r, o);

	return text ? plist_new_string(text) : NULL;
}

static plist *read_data(struct reader *r, const struct object *o)
{
	return take_bytes(r, o, o->n) ? plist_new_data(r->data + o->body, (size_t)o->n) : NULL;
}

static plist *read_ref(struct reader *r, uint64_t ref);

static uint64_t ref_at(const struct reader *r, const struct object *o, uint64_t i)
{
	return big_endian(r->data + o->body + i * r->ref_len, r->ref_len);
}

static bool enter(struct reader *r, const struct object *o, unsigned refs_each)
{
	if (o->n > r->limits.n_nodes)
		return refuse(r, POM_ERR_PLIST_LIMIT, o->at, "a container with more values than are accepted");
	if (!has(r, o->body, o->n * refs_each * r->ref_len))
		return refuse(r, POM_ERR_PLIST_SYNTAX, o->at, "an object reaches past the end of the objects");
	if (r->depth >= r->limits.depth)
		return refuse(r, POM_ERR_PLIST_LIMIT, o->at, "too many containers inside one another, or one that holds itself");
	r->depth++;
	return true;
}

static plist *read_array(struct reader *r, const struct object *o)
{
	g_autoptr(plist) array = plist_new_array();

	if (!enter(r, o, 1))
		return NULL;
	for (uint64_t i = 0; i < o->n; i++) {
		plist *item = read_ref(r, ref_at(r, o, i));

		if (!item)
			return NULL;
		plist_array_append(array, item);
	}
	r->depth--;
	return g_steal_pointer(&array);
}

static char *read_key(struct reader *r, uint64_t ref)
{
	struct object o;

	if (!read_object(r, ref, &o))
		return NULL;
	return o.kind == MARK_ASCII || o.kind == MARK_UTF16 ? read_text(r, &o) : refuse(r, POM_ERR_PLIST_STRUCTURE, o.at, "a key that is no text");
}

static bool read_entry(struct reader *r, const struct object *o, uint64_t i, plist *dict)
{
	g_autofree char *key = read_key(r, ref_at(r, o, i));
	plist *value = key ? read_ref(r, ref_at(r, o, o->n + i)) : NULL;

	if (!value)
		return false;
	if (plist_dict_add(dict, key, strlen(key), value))
		return true;
	if (r->notes) {
		plist_note_duplicate(r->notes, key, 0, plist_dict_get(dict, key), value);
		return true;
	}
	plist_free(value);
	return refuse(r, POM_ERR_PLIST_STRUCTURE, o->at, "a key stands there twice");
}

static plist *read_dict(struct reader *r, const struct object *o)
{
	g_autoptr(plist) dict = plist_new_dict();

	if (!enter(r, o, 2))
		return NULL;
	for (uint64_t i = 0; i < o->n; i++)
		if (!read_entry(r, o, i, dict))
			return NULL;
	r->depth--;
	return g_steal_pointer(&dict);
}

static plist *read_ref(struct reader *r, uint64_t ref)
{
	struct object o;

	if (!read_object(r, ref, &o))
		return NULL;
	if (++r->n_nodes > r->limits.n_nodes)
		return refuse(r, POM_ERR_PLIST_LIMIT, o.at, "it unfolds to more values than are accepted");
	switch ((int)o.kind) {
	case MARK_SIMPLE:
		return read_simple(r, &o);
	case MARK_INTEGER:
		return read_integer(r, &o);
	case MARK_REAL:
		return read_real(r, &o);
	case MARK_DATE:
		return o.low == 3 ? read_date(r, &o) : refuse(r, POM_ERR_PLIST_SYNTAX, o.at, "a date of another width than 8 bytes");
	case MARK_DATA:
		return read_data(r, &o);
	case MARK_ASCII:
	case MARK_UTF16:
		return read_string(r, &o);
	case MARK_ARRAY:
		return read_array(r, &o);
	case MARK_DICT:
		return read_dict(r, &o);
	default:
		return refuse(r, POM_ERR_PLIST_VALUE, o.at, "an object of a kind that no property list in XML can hold");
	}
}

bool plist_is_binary(const void *data, size_t len)
{
	return len >= 6 && !memcmp(data, MAGIC, 6);
}

plist *plist_parse_binary(const void *data, size_t len, const struct plist_limits *limits, struct plist_notes *notes, GError **error)
{
	struct reader r = {.data = data, .limits = limits ? *limits : plist_limits_default, .notes = notes, .error = error};
	const uint8_t *trailer;
	uint64_t top, table;

	r.limits.depth = MIN(r.limits.depth, PLIST_DEPTH_MAX);
	if (len > r.limits.size_bytes)
		return refuse(&r, POM_ERR_PLIST_LIMIT, 0, "the property list has more bytes than are accepted");
	if (len < MAGIC_LEN + TRAILER_LEN || memcmp(data, MAGIC, MAGIC_LEN))
		return refuse(&r, POM_ERR_PLIST_SYNTAX, 0, "no binary property list of version 00, or one that is cut off");
	trailer = r.data + len - TRAILER_LEN;
	r.offset_len = trailer[6];
	r.ref_len = trailer[7];
	r.n_objects = big_endian(trailer + 8, 8);
	top = big_endian(trailer + 16, 8);
	table = big_endian(trailer + 24, 8);
	if (!r.offset_len || r.offset_len > 8 || !r.ref_len || r.ref_len > 8 || table < MAGIC_LEN || table > len - TRAILER_LEN || r.n_objects > (len - TRAILER_LEN - table) / r.offset_len)
		return refuse(&r, POM_ERR_PLIST_SYNTAX, len - TRAILER_LEN, "the trailer does not fit the file: it is damaged, or was cut off");
	r.end = (size_t)table;
	return read_ref(&r, top);
}

plist *plist_parse_any(const void *data, size_t len, const struct plist_limits *limits, struct plist_notes *notes, GError **error)
{
	if (plist_is_binary(data, len))
		return plist_parse_binary(data, len, limits, notes, error);
	return plist_parse_noted(data, len, limits, notes, error);
}
