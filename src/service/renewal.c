/* Identities that end, and roots that come: what the server queues for enrolled devices by itself, and makes when they fetch it. */
#include "core/renewal.h"

#include <string.h>

#include "base/log.h"
#include "service/ddm.h"
#include "service/enroll.h"
#include "service/fleet.h"
#include "service/library_device.h"
#include "service/renewal.h"

/* WALK_ROWS: of a large table in one scan, of which few are wanted. PAGES_MAX: of what is due, when most of it only waits for its device. */
enum { SECRET_BYTES = 24, WALK_ROWS = 10000, PAGES_MAX = 50 };

/* Queues an empty InstallProfile with OWN's note and asks for a push, unless one waits. */
static bool queue(struct service *service, struct command_own own, enum command_own_result *ret, GError **error)
{
	struct pom_id uuid = pom_id_new(service->clock, service->random);
	g_auto(command_auto) command = {0};
	plist *inner = plist_new_dict();

	plist_dict_set_string(inner, "RequestType", "InstallProfile");
	if (!command_build(inner, uuid.text, &command, error))
		return false;
	own.uuid = uuid.text;
	own.command = &command;
	own.now_ms = service_now_ms(service);
	return store_command_add_own(service->store, &own, NULL, ret, error);
}

/* RENEWED_MS as of struct command_own. */
static bool queue_renewal(struct service *service, const char *enrollment_id, int64_t epoch, int64_t renewed_ms, enum command_own_result *ret, GError **error)
{
	return queue(service, (struct command_own){.enrollment_id = enrollment_id, .epoch = epoch, .note = NOTE_RENEWAL, .is_renewal = true, .renewed_ms = renewed_ms,
	             .next_ms = service_now_ms(service) + RENEWAL_RETRY_MS}, ret, error);
}

/* Queues a renewal for each of ROWS that is due. */
static bool renew_rows(struct service *service, GArray *rows, size_t *ret_n, GError **error)
{
	for (guint i = 0; i < rows->len; i++) {
		const struct renewal_due *due = &g_array_index(rows, struct renewal_due, i);
		enum command_own_result result;

		if (!due->is_due)
			continue;
		if (!queue_renewal(service, due->enrollment_id, due->epoch, due->renewal_ms, &result, error))
			return false;
		if (result != COMMAND_OWN_QUEUED)
			continue;
		pom_log(POM_LOG_INFO, "a new identity is queued", "enrollment", due->enrollment_id, "certificate", due->serial, NULL);
		++*ret_n;
	}
	return true;
}

/* By time: what is due is queued or put off for a day, and is not seen again today. */
static bool scan_due(struct service *service, size_t *ret_n, GError **error)
{
	int64_t now_ms = service_now_ms(service);
	bool more = true;

	for (int page = 0; more && page < PAGES_MAX && *ret_n < RENEWAL_AT_ONCE; page++) {
		g_autoptr(store_load) load = NULL;
		g_autoptr(GArray) rows = store_renewal_due(service->store, now_ms, now_ms - RENEWAL_RETRY_MS, RENEWAL_AT_ONCE, &load, error);

		if (!rows || !renew_rows(service, rows, ret_n, error) || !store_renewal_put_off(service->store, rows, now_ms + RENEWAL_RETRY_MS, error))
			return false;
		more = rows->len == RENEWAL_AT_ONCE;
	}
	return true;
}

/* Where a walk goes on when it has come from *AFTER to LAST (NULL: to UNTIL). */
static void walk_on(char **after, const char *last, const char *until)
{
	char *next = g_strdup(last ? last : strcmp(until, STORE_WALK_END) ? until : NULL);

	g_free(*after);
	*after = next;
}

static bool any_retires(const struct ca_set *set)
{
	for (guint i = 0; i < set->generations->len; i++)
		if (((const struct generation *)g_ptr_array_index(set->generations, i))->state == GENERATION_RETIRING)
			return true;
	return false;
}

/* While a generation retires: a step through all certificates in each scan, however many are of it. */
static bool scan_retiring(struct service *service, size_t *ret_n, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	const char *after = service->walked_certificates ? service->walked_certificates : "";
	g_autofree char *until = NULL;
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = NULL;

	if (!any_retires(set))
		return true;
	if (!store_walk(service->store, STORE_WALK_CERTIFICATES, after, WALK_ROWS, &until, error))
		return false;
	rows = store_renewal_retiring(service->store, after, until, service_now_ms(service) - RENEWAL_RETRY_MS, RENEWAL_AT_ONCE, &load, error);
	if (!rows || !renew_rows(service, rows, ret_n, error))
		return false;
	walk_on(&service->walked_certificates, rows->len == RENEWAL_AT_ONCE ? g_array_index(rows, struct renewal_due, rows->len - 1).serial : NULL, until);
	return true;
}

/* Whether a device shall get NOTE's roots now, in *RET_EPOCH: not while they wait already, nor each minute when it refuses them. */
static bool wants_anchors(struct service *service, const char *enrollment_id, const char *note, bool *ret, int64_t *ret_epoch, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct enrollment_row row;
	bool waits, refused;

	if (!store_enrollment_get(service->store, enrollment_id, &row, &load, error) || !store_command_is_noted(service->store, enrollment_id, row.active_epoch, note, &waits, error) ||
	    !store_anchor_is_refused(service->store, enrollment_id, service_now_ms(service) - RENEWAL_RETRY_MS, &refused, error))
		return false;
	*ret = !waits && !refused;
	*ret_epoch = row.active_epoch;
	return true;
}

/* NOTE's roots for those of ROWS that want them. */
static bool bring_anchors(struct service *service, GArray *rows, const char *note, size_t *ret_n, GError **error)
{
	for (guint i = 0; i < rows->len; i++) {
		const char *id = g_array_index(rows, struct device_brief, i).id;
		enum command_own_result result;
		int64_t epoch;
		bool wanted;

		if (!wants_anchors(service, id, note, &wanted, &epoch, error))
			return false;
		if (!wanted)
			continue;
		if (!queue(service, (struct command_own){.enrollment_id = id, .epoch = epoch, .note = note}, &result, error))
			return false;
		*ret_n += result == COMMAND_OWN_QUEUED;
	}
	return true;
}

/* While a new root is on its way in, each live device gets it: a step through all devices in each scan. */
static bool scan_anchors(struct service *service, size_t *ret_n, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	int64_t newest = ca_set_newest_anchor(set);
	g_autofree char *note = note_anchor_new(newest), *until = NULL;
	bool more = newest > 1 && service->settings.enroll_include_root;

	if (more && !store_walk(service->store, STORE_WALK_ENROLLMENTS, service->walked_enrollments ? service->walked_enrollments : "", WALK_ROWS, &until, error))
		return false;
	while (more && *ret_n < RENEWAL_AT_ONCE) {
		const char *after = service->walked_enrollments ? service->walked_enrollments : "";
		g_autoptr(store_load) load = NULL;
		g_autoptr(GArray) rows = store_anchor_lacking(service->store, newest, after, until, RENEWAL_AT_ONCE, &load, error);

		if (!rows || !bring_anchors(service, rows, note, ret_n, error))
			return false;
		more = rows->len == RENEWAL_AT_ONCE;
		walk_on(&service->walked_enrollments, more ? g_array_index(rows, struct device_brief, rows->len - 1).id : NULL, until);
	}
	return true;
}

bool service_renewal_scan(struct service *service, size_t *ret_n, GError **error)
{
	size_t anchors = 0, identities = 0;
	bool ok = scan_anchors(service, &anchors, error) && scan_due(service, &identities, error) && scan_retiring(service, &identities, error);

	*ret_n = anchors + identities;
	if (*ret_n && service->wake_push)
		service->wake_push(service->wake_ctx);
	return ok;
}

static bool check_link(const char *enrollment_id, const struct renewal_facts *facts, GError **error)
{
	if (facts->link_id && facts->served && facts->common_name)
		return true;
	return pom_fail(error, POM_ERR_CONFLICT, "enrollment %s was not made with a link of this server: what its profile says is not known, so it cannot be renewed by one", enrollment_id);
}

bool service_own_queued(const char *enrollment_id, enum command_own_result result, GError **error)
{
	return result != COMMAND_OWN_CHANGED || pom_fail(error, POM_ERR_BUSY, "enrollment %s changed at this moment: look at it, and try again", enrollment_id);
}

json_t *service_device_renew(struct service *service, const char *id, GError **error)
{
	g_autoptr(store_load) load = NULL, facts_load = NULL;
	struct enrollment_row row;
	struct renewal_facts facts;
	enum command_own_result result;

	if (!store_enrollment_get(service->store, id, &row, &load, error))
		return NULL;
	if (!row.active_epoch || row.parent_id) {
		pom_fail(error, POM_ERR_CONFLICT, row.parent_id ? "%s is a user: its device has the identity" : "enrollment %s is not live", row.id);
		return NULL;
	}
	if (!store_renewal_facts(service->store, row.id, row.active_epoch, &facts, &facts_load, error) || !check_link(row.id, &facts, error))
		return NULL;
	if (!queue_renewal(service, row.id, row.active_epoch, INT64_MAX, &result, error) || !service_own_queued(row.id, result, error))
		return NULL;
	if (service->wake_push)
		service->wake_push(service->wake_ctx);
	return json_pack("{s:s, s:b}", "id", row.id, "renewal_queued", 1);
}

bool service_renewal_ensure(struct service *service, const char *enrollment_id, int64_t epoch, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct renewal_facts facts;
	enum command_own_result result;
	bool waits;

	/* A device that was taken up from another server cannot be renewed: nothing is queued that could never be made. */
	if (!store_renewal_facts(service->store, enrollment_id, epoch, &facts, &load, error))
		return false;
	/* It is asked at each Idle, so at first without a write. */
	return !facts.link_id || (store_command_is_noted(service->store, enrollment_id, epoch, NOTE_RENEWAL, &waits, error) &&
	                          (waits || queue_renewal(service, enrollment_id, epoch, INT64_MAX, &result, error)));
}

/* A challenge for exactly this enrollment's next identity, with the names of the present one. */
static bool make_challenge(struct service *service, const char *enrollment_id, int64_t epoch, const struct renewal_facts *facts, char **ret_secret, GError **error)
{
	struct pom_id id = pom_id_new(service->clock, service->random);
	g_autofree char *secret = pom_random_hex(service->random, SECRET_BYTES);
	int64_t now_ms = service_now_ms(service);
	struct challenge_new row = {
		.id = id.text, .common_name = facts->common_name, .profile = PROFILE_DEFAULT, .record = facts->record, .for_enrollment_id = enrollment_id, .for_epoch = epoch,
		/* A device that could not install the profile makes a new key when it tries again. */
		.max_keys = LINK_CERTIFICATES_MAX, .created_ms = now_ms, .expires_ms = now_ms + RENEWAL_CHALLENGE_TTL_MS,
	};

	cert_sha256(secret, strlen(secret), row.secret_hash);
	if (!store_challenge_add(service->store, &row, AUDIT("janitor", "challenge.new", id.text, audit_detail("for", enrollment_id, "subject", facts->common_name, NULL)), error))
		return false;
	*ret_secret = g_steal_pointer(&secret);
	return true;
}

static plist *renewal_tree(struct service *service, const char *enrollment_id, int64_t epoch, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct renewal_facts facts;
	struct enroll_served served = {0};
	char *secret = NULL;
	plist *tree = NULL;

	if (!store_renewal_facts(service->store, enrollment_id, epoch, &facts, &load, error))
		return NULL;
	if (!check_link(enrollment_id, &facts, error) || !enroll_served_parse(facts.served, &served, error))
		return NULL;
	if (make_challenge(service, enrollment_id, epoch, &facts, &secret, error))
		tree = service_enroll_tree(service, &(struct enroll_wish){.link_id = facts.link_id, .common_name = facts.common_name, .record = facts.record, .topic = facts.topic, .challenge = secret,
		                           .served = &served, .enrollment_id = enrollment_id, .epoch = epoch}, error);
	if (secret)
		explicit_bzero(secret, strlen(secret));
	g_free(secret);
	enroll_served_clear(&served);
	return tree;
}

static plist *anchors_tree(struct service *service, const char *enrollment_id, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	g_autoptr(GPtrArray) anchors = ca_set_anchors(set), ders = g_ptr_array_new();
	struct enroll_served served;
	plist *tree;

	for (guint i = 0; i < anchors->len; i++)
		g_ptr_array_add(ders, ((const struct authority *)g_ptr_array_index(anchors, i))->der);
	enroll_served_init(&served, service->settings.url, 1);
	tree = enroll_anchors_build(&(struct enroll_profile){.link_id = enrollment_id, .organization = service->settings.organization, .served = &served, .anchors = (GBytes *const *)ders->pdata,
	                            .n_anchors = ders->len});
	enroll_served_clear(&served);
	return tree;
}

static GBytes *own_command(struct service *service, const char *enrollment_id, int64_t epoch, const struct command_next *next, GError **error)
{
	g_autoptr(plist) tree = !strcmp(next->note, NOTE_RENEWAL) ? renewal_tree(service, enrollment_id, epoch, error) : anchors_tree(service, enrollment_id, error);
	g_autoptr(GBytes) profile = tree ? service_profile_finish(service, tree, error) : NULL;
	g_auto(command_auto) command = {0};
	plist *inner;
	gsize len;
	const void *data;

	if (!profile)
		return NULL;
	data = g_bytes_get_data(profile, &len);
	inner = plist_new_dict();
	plist_dict_set_string(inner, "RequestType", "InstallProfile");
	plist_dict_set_data(inner, "Payload", data, len);
	return command_build(inner, next->uuid, &command, error) ? g_bytes_ref(command.body) : NULL;
}

GBytes *service_noted_command(struct service *service, const char *enrollment_id, int64_t epoch, const struct command_next *next, GError **error)
{
	if (note_is_ready(next->note))
		return g_bytes_ref(next->body);
	if (note_order(next->note))
		return service_order_command(service, next, error);
	if (note_is_declarations(next->note))
		return service_ddm_command(service, enrollment_id, epoch, next, error);
	return note_is_library(next->note) ? service_library_command(service, enrollment_id, next, error) : own_command(service, enrollment_id, epoch, next, error);
}

bool service_noted_unmade(struct service *service, const char *enrollment_id, const struct command_next *next, const GError *why, bool *ret_gone, GError **error)
{
	g_autoptr(GError) inner = NULL;

	*ret_gone = false;
	if (note_is_library(next->note) && !service_library_unmade(service, enrollment_id, next, why->message, error))
		return false;
	/* Who has taken it back already has done the same. */
	*ret_gone = store_command_cancel(service->store, next->uuid, service_now_ms(service), &inner) || g_error_matches(inner, POM_ERROR, POM_ERR_CONFLICT) || g_error_matches(inner, POM_ERROR, POM_ERR_NOT_FOUND);
	return true;
}

bool service_noted_report(struct service *service, const struct command_row *command, const struct report *report, GError **error)
{
	enum report_status status = report->status;
	int64_t anchor = note_anchor(command->note);

	if (note_is_library(command->note))
		return service_library_report(service, command, report, error);
	if (note_order(command->note) || note_is_ready(command->note))
		return true;
	if (note_is_declarations(command->note))
		return service_ddm_report(service, command, report, error);
	if (status == REPORT_ACKNOWLEDGED && anchor)
		return store_anchor_set(service->store, command->enrollment_id, command->epoch, anchor, error);
	if (status == REPORT_ERROR || status == REPORT_COMMAND_FORMAT_ERROR) {
		pom_log(POM_LOG_WARNING, anchor ? "a device refused the new root certificate" : "a device could not renew its identity", "enrollment", command->enrollment_id, "command", command->uuid, NULL);
		return store_event_add(service->store, command->enrollment_id, anchor ? "AnchorRefused" : "IdentityRenewalFailed", command->uuid, service_now_ms(service), error);
	}
	return true;
}
