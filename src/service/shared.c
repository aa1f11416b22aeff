#include "service/shared.h"

#include <string.h>

#include "base/log.h"
#include "service/ca_internal.h"
#include "service/push_cert.h"
#include "store/shared_store.h"

int64_t service_ca_version(struct service *service)
{
	g_autoptr(ca_set) set = service_ca_set(service);

	return set->version;
}

bool service_ca_follow(struct service *service, int64_t version, GError **error)
{
	if (version == service_ca_version(service))
		return true;
	if (!service_ca_reload(service, error))
		return false;
	pom_log(POM_LOG_INFO, "the CAs were read again: another node has changed them", NULL);
	if (service->ca_changed)
		service->ca_changed(service->ca_changed_ctx);
	return true;
}

static int64_t topics_version(struct service *service)
{
	int64_t version;

	pthread_rwlock_rdlock(&service->topics_lock);
	version = service->topics_version;
	pthread_rwlock_unlock(&service->topics_lock);
	return version;
}

bool service_topics_follow(struct service *service, int64_t version, GError **error)
{
	if (version == topics_version(service))
		return true;
	if (!service_load_topics(service, error))
		return false;
	if (service->push_changed)
		service->push_changed(service->wake_ctx);
	return true;
}

static bool follow(struct service *service, const struct shared_versions *versions, GError **error)
{
	return service_ca_follow(service, versions->of[SHARED_CA], error) && service_topics_follow(service, versions->of[SHARED_PUSH_CERTIFICATE], error);
}

bool service_shared_look(struct service *service, GError **error)
{
	struct shared_versions versions;

	return store_shared_versions(service->store, &versions, error) && follow(service, &versions, error);
}

bool service_token_enter(struct service *service, const char *secret, bool *ret_known, GError **error)
{
	struct shared_versions versions;
	g_autofree char *name = NULL;
	uint8_t hash[32];

	/* As in service_token_find. */
	cert_sha256(secret, strlen(secret), hash);
	if (!store_token_enter(service->store, hash, &name, &versions, error))
		return false;
	*ret_known = name != NULL;
	return !name || follow(service, &versions, error);
}

struct ca_set *service_ca_set_now(struct service *service, GError **error)
{
	return service_shared_look(service, error) ? service_ca_set(service) : NULL;
}

bool service_shared_tick(struct service *service, GError **error)
{
	struct shared_versions versions;

	if (!store_shared_versions(service->store, &versions, error) || !follow(service, &versions, error))
		return false;
	if (versions.of[SHARED_TLS] == atomic_load(&service->tls_version))
		return true;
	/* Only the janitor comes here, so it is read once; when that fails, at the next turn again. */
	if (service->settings.own_tls && service->reload_tls)
		service->reload_tls(service->reload_tls_ctx);
	else
		atomic_store(&service->tls_version, versions.of[SHARED_TLS]);
	return true;
}
