/* Which enrollment a device is.
 *
 * The id of an enrollment is the first key of all that belongs to it, but devices tell their own. An id never changes: a device that is deleted and enrolls again gets another. So what was found once is remembered, and all
 * statements of a request can name the id at once; that it is out of date shows when the enrollment is not there. */
#include <string.h>

#include "store/store_internal.h"

/* About 150 bytes each. */
enum { CHANNELS_MAX = 200000 };

void channel_ids_clear(channel_ids *ids)
{
	g_clear_pointer(&ids->device, g_free);
	g_clear_pointer(&ids->user, g_free);
}

static char *make_key(const char *device_id, const char *user_part)
{
	return g_strconcat(device_id, "\n", user_part, NULL);
}

/* transfer full; NULL: not known. */
static char *recall(struct store *store, const char *device_id, const char *user_part)
{
	g_autofree char *key = make_key(device_id, user_part);
	char *id;

	pthread_mutex_lock(&store->channels_lock);
	id = g_strdup(g_hash_table_lookup(store->channels, key));
	pthread_mutex_unlock(&store->channels_lock);
	return id;
}

void store_channel_remember(struct store *store, const char *device_id, const char *user_part, const char *id)
{
	pthread_mutex_lock(&store->channels_lock);
	/* Whoever comes soon is found again at the price of one look. */
	if (g_hash_table_size(store->channels) >= CHANNELS_MAX)
		g_hash_table_remove_all(store->channels);
	g_hash_table_replace(store->channels, make_key(device_id, user_part), g_strdup(id));
	pthread_mutex_unlock(&store->channels_lock);
}

/* Only while it is ID that is remembered: somebody may have looked since. */
static void forget(struct store *store, const char *device_id, const char *user_part, const char *id)
{
	g_autofree char *key = make_key(device_id, user_part);

	pthread_mutex_lock(&store->channels_lock);
	if (!g_strcmp0(g_hash_table_lookup(store->channels, key), id))
		g_hash_table_remove(store->channels, key);
	pthread_mutex_unlock(&store->channels_lock);
}

static char *take_found(struct store *store, const struct db_batch *batch, unsigned i, const char *device_id, const char *user_part)
{
	char *id = g_strdup(db_get_text(batch, i, 0, 0));

	if (id)
		store_channel_remember(store, device_id, user_part, id);
	return id;
}

bool store_channels_find(struct store *store, const struct checkin_identity *who, struct channel_ids *ret, GError **error)
{
	g_autoptr(db_batch) batch = NULL;
	struct channel_ids ids = {.device = recall(store, who->device_id, "")};
	bool has_user = *who->user_part != '\0';

	if (has_user)
		ids.user = recall(store, who->device_id, who->user_part);
	*ret = ids;
	if (ids.device && (ids.user || !has_user))
		return true;
	batch = db_batch_new(NULL);
	db_batch_add(batch, Q_CHANNEL_FIND, db_text(who->device_id), db_text(""));
	if (has_user)
		db_batch_add(batch, Q_CHANNEL_FIND, db_text(who->device_id), db_text(who->user_part));
	channel_ids_clear(ret);
	if (!store_run(store, batch, error))
		return false;
	ret->device = take_found(store, batch, 0, who->device_id, "");
	if (has_user)
		ret->user = take_found(store, batch, 1, who->device_id, who->user_part);
	return true;
}

bool store_channels_are_stale(struct store *store, const struct checkin_identity *who, const struct channel_ids *ids, const struct checkin_facts *facts)
{
	bool device = ids->device && !facts->device.known, user = ids->user && !facts->user.known;

	if (device)
		forget(store, who->device_id, "", ids->device);
	if (user)
		forget(store, who->device_id, who->user_part, ids->user);
	/* The device was enrolled between the two looks: its certificate knows already, and alone would look like somebody else's. */
	return device || user || (!ids->device && facts->certificate.enrollment_id);
}
