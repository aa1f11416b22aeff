/* What the nodes of one database tell each other, so that each may keep in memory what is needed often.
 *
 * Each kind has a counter, which is raised in the transaction that changes what it speaks of; who keeps it in memory remembers which version that is, and compares. The hint that goes with it only
 * makes others look earlier. */
#pragma once

#include "store/store.h"

enum shared_kind {
	SHARED_CA,               /* generations and their keys, SCEP profiles, outside CAs, the signer of profiles */
	SHARED_PUSH_CERTIFICATE, /* push certificates, and which topic new enrollments get */
	SHARED_TLS,              /* the TLS certificate that our own CA made */
	SHARED_KIND_MAX,
};
/* "ca", …: also the word of the hint (db_listen). */
const char *shared_kind_name(enum shared_kind kind);
/* Whether WORD is the hint of a kind. */
bool shared_kind_is_hint(const char *word);

struct shared_versions { int64_t of[SHARED_KIND_MAX]; };
/* The versions as they are now. Read before what they speak of: then that is not older. Blocks. */
bool store_shared_versions(struct store *store, struct shared_versions *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* store_token_find and store_shared_versions in one question. */
bool store_token_enter(struct store *store, const uint8_t hash[32], char **ret_name, struct shared_versions *ret_versions, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Has FN called with each hint of other nodes, and of this one: see db_listen. Once. */
void store_listen(struct store *store, void (*fn)(void *ctx, const char *word), void *ctx);

/* Notes that ADDRESS fetched the profile of a link. */
bool store_address_served(struct store *store, const char *address, const char *link_id, int64_t now_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The link whose profile ADDRESS fetched last, not before SINCE_MS; *RET NULL: none. transfer full. */
bool store_address_link(struct store *store, const char *address, int64_t since_ms, char **ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Notes a failure of ADDRESS that is forgiven after COST_MS more, and AUDIT with it (NULL: none). *RET_FORGIVEN_MS: when all failures of the address are forgiven, on whatever node they were. Where no other node
 * can be, only AUDIT is written, and it is 0. */
bool store_scep_failed(struct store *store, const char *address, int64_t cost_ms, int64_t now_ms, const struct audit_entry *audit, int64_t *ret_forgiven_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Removes at most LIMIT of the addresses that are forgiven; *RET_MORE: there may be others. */
bool store_scep_forgive(struct store *store, int64_t now_ms, int64_t limit, bool *ret_more, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Removes at most LIMIT of those that fetched before BEFORE_MS. */
bool store_address_purge(struct store *store, int64_t before_ms, int64_t limit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
