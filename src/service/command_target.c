#include "service/command_target.h"

#include "core/enroll.h"
#include "store/library_store.h"

/* The facts are of this enrollment: those of an earlier one were forgotten when it began. */
static bool learn_facts(struct service *service, const struct enrollment_row *device, struct command_target *target, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) facts = store_fact_list(service->store, device->id, NULL, 0, &load, error);

	for (unsigned i = 0; facts && i < facts->len; i++) {
		const struct fact_row *fact = &g_array_index(facts, struct fact_row, i);

		command_target_learn(target, fact->name, fact->value);
	}
	return facts != NULL;
}

static int64_t access_rights(struct service *service, const struct enrollment_row *device)
{
	g_autoptr(store_load) load = NULL;
	struct renewal_facts facts;
	struct enroll_served served = {0};
	int64_t rights = -1;

	if (device->active_epoch && store_renewal_facts(service->store, device->id, device->active_epoch, &facts, &load, NULL) && facts.served && enroll_served_parse(facts.served, &served, NULL))
		rights = served.access_rights;
	enroll_served_clear(&served);
	return rights;
}

bool service_command_target(struct service *service, const struct enrollment_row *row, struct command_target *ret, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct enrollment_row parent;
	const struct enrollment_row *device = row;
	struct command_target target;

	if (row->parent_id) {
		if (!store_enrollment_get(service->store, row->parent_id, &parent, &load, error))
			return false;
		device = &parent;
	}
	command_target_init(&target, (enum enrollment_kind)row->kind);
	if (platform_of(device->product_name, device->model) < PLATFORM_MAX)
		target.platform = platform_of(device->product_name, device->model);
	target.os_version = version_parse(device->os_version);
	target.access_rights = access_rights(service, device);
	if (!learn_facts(service, device, &target, error))
		return false;
	*ret = target;
	return true;
}
