/* What this process keeps in memory of the store while other nodes may change it: CAs, topics of push certificates, the TLS certificate.
 *
 * The truth is the version in the store. Whatever is decided by the memory compares first: with service_shared_look, or with a version that was read together with other facts. Besides, the janitor looks
 * at each of its turns, and as soon as a hint comes. */
#pragma once

#include "service/service.h"

/* Compares CAs and topics with the store and reads what is not the newest. One read by key when all is as it was. Blocks; any thread. POM_ERR_STORE_*. */
bool service_shared_look(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same for who comes with the SECRET of a token, in one question with whether that is a live one (*RET_KNOWN); nothing is compared for who is not known. */
bool service_token_enter(struct service *service, const char *secret, bool *ret_known, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same, and the TLS certificate. For the janitor. */
bool service_shared_tick(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* service_ca_set after service_shared_look; NULL with ERROR. */
struct ca_set *service_ca_set_now(struct service *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The version of the CAs in memory. */
int64_t service_ca_version(struct service *service);
/* Reads the topics of push certificates again unless those in memory are of VERSION. */
bool service_topics_follow(struct service *service, int64_t version, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Reads the CAs again unless those in memory are of VERSION. */
bool service_ca_follow(struct service *service, int64_t version, GError **error) G_GNUC_WARN_UNUSED_RESULT;
