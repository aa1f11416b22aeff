/* What a profile file is, as a device would judge it: signature, signer, chain, roots, form. Needs no server and no store. */
#pragma once

#include "codec/json.h"
#include "keys/profile_crypt.h"

/* Roots to look for at the end of the chain, arrays of X509, borrowed; NULL: not looked at. */
struct profile_roots {
	GPtrArray *given;  /* the administrator's */
	GPtrArray *own;    /* of this server's CAs */
	GPtrArray *system; /* of the system's ca-certificates: near to Apple's own store, and not the same */
};

/* FILE judged at AT_S (Unix seconds). An object, transfer full, never NULL:
 *   ok         no problems: signed, unbroken, valid now, chain complete, a root found (the given one, when there is one), form as Apple's installer demands
 *   signed, encrypted, signature ("ok", "broken", "none"), digest ("SHA256")
 *   signer     subject, issuer, serial, not_before, not_after, sha256; null
 *   chain      certificates (subjects from the signer upwards), complete, missing (subject of the certificate that is needed next; null)
 *   trust      given, own, system: whether the chain ends there; null: not looked at
 *   profile    identifier, uuid, name, payloads (types; none when it is encrypted); null when it cannot be read
 *   problems, warnings   arrays of {code, what}, in the order in which a device meets them
 * Any thread; does not block. */
json_t *profile_verify(GBytes *file, const struct profile_roots *roots, int64_t at_s);
