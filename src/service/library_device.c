/* What becomes of the library's profiles on devices: events in, states and commands out; the content of a command, made when it is fetched. */
#include "service/library_device.h"

#include <string.h>

#include "base/log.h"
#include "core/renewal.h"
#include "core/variables.h"
#include "keys/profile_crypt.h"
#include "service/fleet.h"
#include "service/profile_sign.h"

enum { TRIES = 16, DELIVER_DAYS = 14, ANSWER_HOURS = 24, PAGE = 50, PAGES = 20, WORKS = 20, DUE_AT_ONCE = 500 };

static struct library_limits limits_of(const struct service *service)
{
	const struct service_settings *s = &service->settings;

	return (struct library_limits){s->library_deliver_ms ? s->library_deliver_ms : (int64_t)DELIVER_DAYS * 86400000, s->library_answer_ms ? s->library_answer_ms : (int64_t)ANSWER_HOURS * 3600000};
}

/* ---- one step of one profile on one device ---- */

struct step {
	struct library_facts facts;
	store_load *load;
	struct library_plan plan;
	struct library_write write;
	struct pom_id command, list;
	char *note;
	GBytes *body, *list_body;
};

static void step_free(struct step *step)
{
	if (!step)
		return;
	library_plan_clear(&step->plan);
	g_clear_pointer(&step->load, store_load_free);
	g_clear_pointer(&step->body, g_bytes_unref);
	g_clear_pointer(&step->list_body, g_bytes_unref);
	g_free(step->note);
	g_free(step);
}

typedef struct step step_auto;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(step_auto, step_free)

static GBytes *empty_command(const char *request_type, const char *uuid, GError **error)
{
	g_auto(command_auto) command = {0};
	plist *inner = plist_new_dict();

	plist_dict_set_string(inner, "RequestType", request_type);
	return command_build(inner, uuid, &command, error) ? g_bytes_ref(command.body) : NULL;
}

static const char *event_of(enum library_state state)
{
	switch (state) {
	case LIBRARY_INSTALLED:
		return "ProfileInstalled";
	case LIBRARY_FAILED:
		return "ProfileFailed";
	case LIBRARY_REMOVED:
		return "ProfileRemoved";
	case LIBRARY_REMOVAL_FAILED:
		return "ProfileRemovalFailed";
	case LIBRARY_NONE:
	case LIBRARY_QUEUED:
	case LIBRARY_DELIVERED:
	case LIBRARY_ACKNOWLEDGED:
	case LIBRARY_REMOVING:
	case LIBRARY_REMOVAL_DELIVERED:
	case LIBRARY_ENDED:
	case LIBRARY_STATE_MAX:
		break;
	}
	return NULL;
}

/* The new commands that the plan asks for. */
static bool prepare_commands(struct service *service, struct step *step, GError **error)
{
	struct library_write *w = &step->write;

	if (step->plan.install || step->plan.remove) {
		step->command = pom_id_new(service->clock, service->random);
		step->note = g_strconcat(step->plan.install ? NOTE_INSTALL : NOTE_REMOVE, w->profile, NULL);
		w->request_type = step->plan.install ? "InstallProfile" : "RemoveProfile";
		w->command_uuid = step->command.text;
		w->note = step->note;
		w->body = step->body = empty_command(w->request_type, w->command_uuid, error);
		if (!w->body)
			return false;
	}
	if (step->plan.list) {
		step->list = pom_id_new(service->clock, service->random);
		w->list_uuid = step->list.text;
		w->list_note = NOTE_PROFILES;
		w->list_body = step->list_body = empty_command("ProfileList", w->list_uuid, error);
	}
	return !step->plan.list || step->list_body;
}

/* Fills what is written by the step's facts and plan. EPOCH: that the state is of from now on. */
static bool prepare(struct service *service, struct step *step, const char *enrollment_id, const char *profile, int64_t epoch, int64_t now_ms, GError **error)
{
	bool queues = step->plan.install || step->plan.remove;

	step->write = (struct library_write){
		.enrollment_id = enrollment_id, .profile = profile, .facts = &step->facts, .plan = &step->plan, .epoch = epoch, .number = queues ? step->facts.newest : step->facts.number, .now_ms = now_ms,
		.uuid = step->facts.uuid, .command_uuid = step->facts.command_uuid, .event = event_of(step->plan.next.state),
	};
	return prepare_commands(service, step, error);
}

static struct step *load_step(struct service *service, const char *enrollment_id, const char *profile, bool *ret_found, GError **error)
{
	g_autoptr(step_auto) step = g_new0(struct step, 1);

	return store_library_facts(service->store, enrollment_id, profile, &step->facts, ret_found, &step->load, error) ? g_steal_pointer(&step) : NULL;
}

/* After the store has taken it. */
static void tell(struct service *service, const struct step *step)
{
	if (step->plan.reason)
		pom_log(POM_LOG_NOTICE, step->plan.next.state == LIBRARY_FAILED ? "a profile could not be installed" : "a profile could not be removed", "enrollment", step->write.enrollment_id, "profile",
		        step->write.profile, "why", step->plan.reason, NULL);
	if ((step->plan.install || step->plan.remove || step->plan.list) && service->wake_push)
		service->wake_push(service->wake_ctx);
}

static bool is_conflict(GError *error)
{
	return g_error_matches(error, POM_ERROR, POM_ERR_STORE_CONFLICT);
}

/* One try; *RET_STEP NULL: nothing to do. */
static bool decide_happening(struct service *service, const struct library_happening *h, struct step **ret_step, GError **error)
{
	struct library_limits limits = limits_of(service);
	int64_t now_ms = service_now_ms(service);
	bool found;
	g_autoptr(step_auto) step = load_step(service, h->enrollment_id, h->profile, &found, error);

	*ret_step = NULL;
	if (!step)
		return false;
	if (!found || !step->facts.version || (h->command_uuid && g_strcmp0(h->command_uuid, step->facts.command_uuid)))
		return true;
	/* A deadline that has moved meanwhile is not past. */
	if (h->event == LIBRARY_TIME && (!step->facts.row.deadline_ms || step->facts.row.deadline_ms > now_ms))
		return true;
	library_decide(&step->facts.row, h->event, h->reason, &limits, now_ms, &step->plan);
	if (!step->plan.changed)
		return true;
	if (!prepare(service, step, h->enrollment_id, h->profile, step->facts.epoch, now_ms, error))
		return false;
	if (h->number)
		step->write.number = h->number;
	if (h->uuid)
		step->write.uuid = h->uuid;
	*ret_step = g_steal_pointer(&step);
	return true;
}

/* What is to be done that a device has what it is assigned; *RET_STEP NULL: nothing. */
static bool decide_wanted(struct service *service, const char *enrollment_id, const char *profile, bool resend, struct step **ret_step, GError **error)
{
	struct library_limits limits = limits_of(service);
	int64_t now_ms = service_now_ms(service);
	bool found;
	g_autoptr(step_auto) step = load_step(service, enrollment_id, profile, &found, error);
	struct library_facts *f;
	struct library_row row;

	*ret_step = NULL;
	if (!step)
		return false;
	f = &step->facts;
	/* Who is not enrolled is looked at when he is. */
	if (!found || !f->active_epoch)
		return true;
	row = f->row;
	if (f->version && f->epoch != f->active_epoch) {
		/* With the enrollment before went what it had installed, and its commands. */
		row = (struct library_row){.state = f->assigned || row.state == LIBRARY_ENDED ? LIBRARY_NONE : library_state_waits(row.state) ? LIBRARY_INSTALLED : row.state};
		f->number = 0;
	}
	library_decide(&row, f->assigned ? (resend ? LIBRARY_RESEND : f->newest > f->number ? LIBRARY_WANT_NEWER : LIBRARY_WANT) : (resend ? LIBRARY_REMOVE_AGAIN : LIBRARY_UNWANT), NULL, &limits, now_ms, &step->plan);
	if (!step->plan.changed)
		return true;
	if (!prepare(service, step, enrollment_id, profile, f->active_epoch, now_ms, error))
		return false;
	step->write.check_assigned = true;
	*ret_step = g_steal_pointer(&step);
	return true;
}

/* What is to be decided: an event, or (HAPPENING NULL) what a device should have. */
struct occasion {
	const struct library_happening *happening;
	const char *enrollment_id, *profile;
	bool resend;
};

/* Decides and writes, again when somebody else changed the facts meanwhile. */
static bool settle(struct service *service, const struct occasion *o, bool *ret_changed, GError **error)
{
	GError *inner = NULL;

	for (int i = 0; i < TRIES; i++) {
		g_autoptr(step_auto) step = NULL;

		g_clear_error(&inner);
		if (o->happening ? !decide_happening(service, o->happening, &step, error) : !decide_wanted(service, o->enrollment_id, o->profile, o->resend, &step, error))
			return false;
		if (ret_changed)
			*ret_changed = step != NULL;
		if (!step)
			return true;
		if (store_library_apply(service->store, &step->write, 1, &inner)) {
			tell(service, step);
			return true;
		}
		if (!is_conflict(inner))
			break;
	}
	return service_fail_again(error, inner);
}

bool service_library_happen(struct service *service, const struct library_happening *h, bool *ret_changed, GError **error)
{
	return settle(service, &(struct occasion){.happening = h}, ret_changed, error);
}

bool service_library_reconcile(struct service *service, const char *enrollment_id, const char *profile, bool resend, bool *ret_changed, GError **error)
{
	return settle(service, &(struct occasion){NULL, enrollment_id, profile, resend}, ret_changed, error);
}

bool service_library_reconcile_device(struct service *service, const char *enrollment_id, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GPtrArray) profiles = store_library_profiles_of(service->store, enrollment_id, &load, error);

	for (guint i = 0; profiles && i < profiles->len; i++)
		if (!service_library_reconcile(service, enrollment_id, g_ptr_array_index(profiles, i), false, NULL, error))
			return false;
	return profiles != NULL;
}

/* ---- work ---- */

/* A page of devices in one transaction; when one of them changes at the same moment, each in its own. */
static bool look_at_page(struct service *service, const char *profile, const GPtrArray *ids, GError **error)
{
	g_autoptr(GPtrArray) steps = g_ptr_array_new_with_free_func((GDestroyNotify)step_free);
	g_autoptr(GArray) writes = g_array_new(FALSE, FALSE, sizeof(struct library_write));
	g_autoptr(GError) inner = NULL;

	for (guint i = 0; i < ids->len; i++) {
		struct step *step;

		if (!decide_wanted(service, g_ptr_array_index(ids, i), profile, false, &step, error))
			return false;
		if (!step)
			continue;
		g_ptr_array_add(steps, step);
		g_array_append_val(writes, step->write);
	}
	if (store_library_apply(service->store, (const struct library_write *)(const void *)writes->data, writes->len, &inner)) {
		for (guint i = 0; i < steps->len; i++)
			tell(service, g_ptr_array_index(steps, i));
		return true;
	}
	if (!is_conflict(inner)) {
		g_propagate_error(error, g_steal_pointer(&inner));
		return false;
	}
	for (guint i = 0; i < ids->len; i++)
		if (!service_library_reconcile(service, g_ptr_array_index(ids, i), profile, false, NULL, error))
			return false;
	return true;
}

/* One page; *RET_DONE: it was the last. Looked at twice a device is left as it is, so a crash between page and mark does no harm. */
static bool do_page(struct service *service, const struct library_work *work, char **after, bool *ret_done, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GPtrArray) ids = store_library_concerned(service->store, work->profile, *after, PAGE, &load, error);

	if (!ids || !look_at_page(service, work->profile, ids, error))
		return false;
	*ret_done = ids->len < PAGE;
	if (*ret_done)
		return store_library_work_done(service->store, work->id, error);
	g_free(*after);
	*after = g_strdup(g_ptr_array_index(ids, ids->len - 1));
	return store_library_work_move(service->store, work->id, *after, ids->len, error);
}

static bool do_work(struct service *service, const struct library_work *work, int *pages, GError **error)
{
	g_autofree char *after = g_strdup(work->after);
	bool done = false;

	if (work->enrollment_id)
		return service_library_reconcile_device(service, work->enrollment_id, error) && store_library_work_done(service->store, work->id, error);
	for (; !done && *pages > 0; --*pages)
		if (!do_page(service, work, &after, &done, error))
			return false;
	return true;
}

bool service_library_work(struct service *service, bool *ret_more, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) works = store_library_work(service->store, "", WORKS, &load, error);
	GError *first = NULL;
	bool ok = true;
	int pages = PAGES;

	if (!works)
		return false;
	/* What cannot be done now must not keep the rest from it. */
	for (guint i = 0; i < works->len; i++)
		ok &= do_work(service, &g_array_index(works, struct library_work, i), &pages, first ? NULL : &first);
	*ret_more = ok && (works->len == WORKS || (works->len && pages == 0));
	if (first)
		g_propagate_error(error, first);
	return ok;
}

bool service_library_minute(struct service *service, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) due = store_library_due(service->store, service_now_ms(service), DUE_AT_ONCE, &load, error);
	GError *first = NULL;
	bool ok = true;
	size_t n;

	if (!due)
		return false;
	for (guint i = 0; i < due->len; i++) {
		const struct library_due *d = &g_array_index(due, struct library_due, i);

		ok &= service_library_happen(service, &(struct library_happening){.enrollment_id = d->enrollment_id, .profile = d->profile, .event = LIBRARY_TIME}, NULL, first ? NULL : &first);
	}
	if (ok)
		return store_library_purge(service->store, &n, error);
	g_propagate_error(error, first);
	return false;
}

/* ---- values of variables ---- */

struct library_values {
	struct library_device device;
	store_load *load;
	GHashTable *attributes, *facts;
	const char *organization;
};

static void wipe_text(void *text)
{
	explicit_bzero(text, strlen(text));
	g_free(text);
}

GHashTable *service_attributes_load(struct service *service, const char *enrollment_id, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_attribute_list(service->store, enrollment_id, &load, error);
	g_autoptr(GHashTable) all = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, wipe_text);

	for (guint i = 0; rows && i < rows->len; i++) {
		const struct attribute_row *row = &g_array_index(rows, struct attribute_row, i);
		g_autofree char *seal_row = g_strdup_printf("%s.%s", enrollment_id, row->name);
		g_autoptr(GBytes) value = seal_open(&service->seal, "attribute", seal_row, "value", row->sealed, error);

		if (!value)
			return NULL;
		g_hash_table_insert(all, g_strdup(row->name), g_strndup(g_bytes_get_data(value, NULL), g_bytes_get_size(value)));
	}
	return rows ? g_steal_pointer(&all) : NULL;
}

/* Facts that are text. */
static GHashTable *load_facts(struct service *service, const char *enrollment_id, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_fact_list(service->store, enrollment_id, "", 0, &load, error);
	g_autoptr(GHashTable) all = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

	for (guint i = 0; rows && i < rows->len; i++) {
		const struct fact_row *row = &g_array_index(rows, struct fact_row, i);
		g_autoptr(json_t) value = json_loads(row->value, JSON_DECODE_ANY, NULL);

		if (json_is_string(value))
			g_hash_table_insert(all, g_strdup(row->name), g_strdup(json_string_value(value)));
	}
	return rows ? g_steal_pointer(&all) : NULL;
}

struct library_values *library_values_load(struct service *service, const char *enrollment_id, GError **error)
{
	g_autoptr(library_values) values = g_new0(struct library_values, 1);

	values->organization = service->settings.organization;
	if (!store_library_device(service->store, enrollment_id, &values->device, &values->load, error))
		return NULL;
	values->attributes = service_attributes_load(service, enrollment_id, error);
	values->facts = values->attributes ? load_facts(service, enrollment_id, error) : NULL;
	return values->facts ? g_steal_pointer(&values) : NULL;
}

void library_values_free(struct library_values *values)
{
	if (!values)
		return;
	g_clear_pointer(&values->load, store_load_free);
	g_clear_pointer(&values->attributes, g_hash_table_unref);
	g_clear_pointer(&values->facts, g_hash_table_unref);
	g_free(values);
}

/* What the device told last, else what it said when it enrolled. */
static const char *newest(const struct library_values *v, const char *fact, const char *enrolled)
{
	const char *told = g_hash_table_lookup(v->facts, fact);

	return told && *told ? told : enrolled;
}

const char *library_values_get(void *values, const char *name)
{
	const struct library_values *v = values;
	const char *own = g_hash_table_lookup(v->attributes, g_str_has_prefix(name, "attr.") ? name + strlen("attr.") : name);
	const struct { const char *name, *value; } known[] = {
		{"serial", v->device.serial ? v->device.serial : newest(v, "SerialNumber", NULL)}, {"udid", v->device.udid}, {"device.name", newest(v, "DeviceName", v->device.name)},
		{"model", newest(v, "Model", v->device.model)}, {"os.version", newest(v, "OSVersion", v->device.os_version)}, {"enrollment.id", v->device.id}, {"organization", v->organization},
		{"user.name", own ? own : v->device.long_name ? v->device.long_name : v->device.link_user}, {"user.email", own ? own : v->device.link_email},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
		if (!strcmp(known[i].name, name))
			return known[i].value;
	return g_str_has_prefix(name, "attr.") ? own : NULL;
}

/* ---- content ---- */

char *library_seal_row(const char *profile, int64_t number)
{
	return g_strdup_printf("%s.%" G_GINT64_FORMAT, profile, number);
}

void library_opened_clear(struct library_opened *opened)
{
	library_version_clear(&opened->row);
	g_clear_pointer(&opened->load, store_load_free);
	g_clear_pointer(&opened->body, g_bytes_unref);
	g_clear_pointer(&opened->tree, plist_free);
}

static bool open_version(struct service *service, const char *profile, struct library_opened *o, GError **error)
{
	g_autofree char *seal_row = library_seal_row(profile, o->row.number);
	g_autoptr(GBytes) content = NULL;
	bool is_signed;

	o->body = seal_open(&service->seal, "profile_version", seal_row, "body", o->row.body_sealed, error);
	if (!o->body)
		return false;
	if (o->row.content_sealed) {
		content = seal_open(&service->seal, "profile_version", seal_row, "content", o->row.content_sealed, error);
		o->tree = content ? plist_parse(g_bytes_get_data(content, NULL), g_bytes_get_size(content), NULL, error) : NULL;
	} else {
		o->tree = mobileconfig_parse(g_bytes_get_data(o->body, NULL), g_bytes_get_size(o->body), &is_signed, error);
	}
	return o->tree != NULL;
}

bool library_open(struct service *service, const char *profile, int64_t number, struct library_opened *ret, GError **error)
{
	struct library_opened o = {0};

	if (!store_library_version(service->store, profile, number, &o.row, &o.load, error))
		return false;
	if (!open_version(service, profile, &o, error)) {
		library_opened_clear(&o);
		return false;
	}
	*ret = o;
	return true;
}

/* To the identity that the device has now. */
static plist *encrypt_for(struct service *service, const plist *tree, const char *enrollment_id, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(X509) cert = NULL;
	g_autoptr(GError) inner = NULL;
	struct library_device device;
	plist *made;

	if (!store_library_device(service->store, enrollment_id, &device, &load, error))
		return NULL;
	cert = device.der ? cert_parse_der(device.der, device.der_len, error) : NULL;
	if (!cert) {
		if (!device.der)
			pom_fail(error, POM_ERR_LIBRARY_IDENTITY, "the profile must be encrypted, and the device's identity is not known");
		return NULL;
	}
	made = profile_encrypt(tree, cert, service_profile_cipher(service), service->random, &inner);
	if (made)
		return made;
	if (g_error_matches(inner, POM_ERROR, POM_ERR_CMS_ALGORITHM))
		pom_fail(error, POM_ERR_LIBRARY_IDENTITY, "the profile holds secrets or is always to be encrypted, and nothing can be encrypted to this device: its identity has no RSA key (%s)."
		         " Enroll it with an RSA identity, or add the profile with --encrypt never, which sends its secrets in clear inside TLS", inner->message);
	else
		g_propagate_error(error, g_steal_pointer(&inner));
	return NULL;
}

/* What stands inside the signature. */
static GBytes *inner_bytes(const struct library_opened *o, GError **error)
{
	g_autoptr(cms_signed) message = NULL;

	if (!o->row.is_signed)
		return g_bytes_ref(o->body);
	message = cms_signed_parse(g_bytes_get_data(o->body, NULL), g_bytes_get_size(o->body), NULL, 0, LIBRARY_PROFILE_MAX, error);
	return message ? g_bytes_ref(message->content) : NULL;
}

/* The tree as this device gets it; *RET_SAME: it is as uploaded. */
static plist *make_tree(struct service *service, const struct library_opened *o, const char *enrollment_id, bool *ret_same, GError **error)
{
	enum library_choice encrypt = library_choice_find(o->row.encrypt);
	g_autoptr(library_values) values = o->row.substitute ? library_values_load(service, enrollment_id, error) : NULL;
	g_autoptr(plist) tree = NULL;
	g_autofree char *secret = NULL;

	if (o->row.substitute && !values)
		return NULL;
	tree = values ? variables_substitute(o->tree, library_values_get, values, error) : plist_copy(o->tree);
	if (!tree || (values && !mobileconfig_check(tree, error)))
		return NULL;
	*ret_same = !values && !o->row.content_sealed;
	secret = encrypt == LIBRARY_AUTO ? library_find_secret(tree) : NULL;
	if (encrypt != LIBRARY_ALWAYS && !secret)
		return g_steal_pointer(&tree);
	*ret_same = false;
	return encrypt_for(service, tree, enrollment_id, error);
}

/* As the device gets it: byte for byte what was uploaded wherever that is possible. */
static GBytes *make_payload(struct service *service, const struct library_opened *o, const char *enrollment_id, GError **error)
{
	enum library_choice sign = library_choice_find(o->row.sign);
	bool same;
	g_autoptr(plist) tree = make_tree(service, o, enrollment_id, &same, error);
	g_autoptr(GBytes) plain = NULL;

	if (!tree)
		return NULL;
	if (same && o->row.is_signed && sign != LIBRARY_ALWAYS)
		return g_bytes_ref(o->body);
	plain = same ? inner_bytes(o, error) : plist_format(tree, error);
	if (!plain || sign == LIBRARY_NEVER)
		return g_steal_pointer(&plain);
	return service_profile_sign(service, plain, error);
}

GBytes *service_library_payload(struct service *service, const char *enrollment_id, const char *profile, bool encrypted, GError **error)
{
	struct library_opened o;
	GBytes *payload;

	if (!library_open(service, profile, 0, &o, error))
		return NULL;
	if (!encrypted)
		o.row.encrypt = "never";
	payload = make_payload(service, &o, enrollment_id, error);
	library_opened_clear(&o);
	return payload;
}

static GBytes *install_command(struct service *service, const char *enrollment_id, const char *profile, const char *uuid, GError **error)
{
	struct library_opened o;
	g_autoptr(GBytes) payload = NULL;
	g_auto(command_auto) command = {0};
	plist *inner;
	bool changed = false, ok;

	if (!library_open(service, profile, 0, &o, error))
		return NULL;
	payload = make_payload(service, &o, enrollment_id, error);
	if (payload) {
		inner = plist_new_dict();
		plist_dict_set_string(inner, "RequestType", "InstallProfile");
		plist_dict_set_data(inner, "Payload", g_bytes_get_data(payload, NULL), g_bytes_get_size(payload));
	}
	ok = payload && command_build(inner, uuid, &command, error) &&
	     service_library_happen(service, &(struct library_happening){.enrollment_id = enrollment_id, .profile = profile, .event = LIBRARY_FETCHED, .command_uuid = uuid, .number = o.row.number, .uuid = o.row.uuid},
	                            &changed, error);
	library_opened_clear(&o);
	if (ok && !changed)
		ok = pom_fail(error, POM_ERR_CONFLICT, "the profile was taken back");
	return ok ? g_bytes_ref(command.body) : NULL;
}

static GBytes *remove_command(struct service *service, const char *enrollment_id, const char *profile, const char *uuid, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_auto(command_auto) command = {0};
	struct library_facts facts;
	bool found, changed = false;
	plist *inner;

	if (!store_library_facts(service->store, enrollment_id, profile, &facts, &found, &load, error))
		return NULL;
	if (!found) {
		pom_fail(error, POM_ERR_NOT_FOUND, "the profile is not in the library any more");
		return NULL;
	}
	inner = plist_new_dict();
	plist_dict_set_string(inner, "RequestType", "RemoveProfile");
	plist_dict_set_string(inner, "Identifier", facts.identifier);
	if (!command_build(inner, uuid, &command, error) ||
	    !service_library_happen(service, &(struct library_happening){.enrollment_id = enrollment_id, .profile = profile, .event = LIBRARY_FETCHED, .command_uuid = uuid}, &changed, error))
		return NULL;
	/* A removal that was fetched before changes nothing: it is sent again. */
	return g_bytes_ref(command.body);
}

GBytes *service_library_command(struct service *service, const char *enrollment_id, const struct command_next *next, GError **error)
{
	bool removes;
	const char *profile = note_profile(next->note, &removes);

	if (!profile)
		return empty_command("ProfileList", next->uuid, error);
	return removes ? remove_command(service, enrollment_id, profile, next->uuid, error) : install_command(service, enrollment_id, profile, next->uuid, error);
}

bool service_library_unmade(struct service *service, const char *enrollment_id, const struct command_next *next, const char *reason, GError **error)
{
	g_autoptr(store_load) load = NULL;
	struct library_facts facts;
	bool removes, found = false;
	const char *profile = note_profile(next->note, &removes);

	if (!profile)
		return true;
	if (!store_library_facts(service->store, enrollment_id, profile, &facts, &found, &load, error))
		return false;
	return !found || service_library_happen(service, &(struct library_happening){.enrollment_id = enrollment_id, .profile = profile, .event = LIBRARY_UNMADE, .command_uuid = next->uuid, .reason = reason,
	                                        .number = facts.newest}, NULL, error);
}

/* ---- reports ---- */

bool service_library_report(struct service *service, const struct command_row *command, const struct report *report, GError **error)
{
	bool removes;
	const char *profile = note_profile(command->note, &removes);
	struct library_happening h = {.enrollment_id = command->enrollment_id, .profile = profile, .command_uuid = command->uuid};
	g_autofree char *reason = NULL;

	if (!profile || report->status == REPORT_IDLE)
		return true;
	switch (report->status) {
	case REPORT_ACKNOWLEDGED:
		h.event = LIBRARY_ACK;
		break;
	case REPORT_NOT_NOW:
		h.event = LIBRARY_NOT_NOW;
		break;
	case REPORT_ERROR:
	case REPORT_COMMAND_FORMAT_ERROR:
		h.event = removes && library_is_not_there(report->error_chain) ? LIBRARY_NOT_THERE : LIBRARY_ERROR;
		h.reason = reason = library_reason(report->error_chain, report->status);
		break;
	case REPORT_IDLE:
	case REPORT_STATUS_MAX:
		return true;
	}
	return service_library_happen(service, &h, NULL, error);
}

/* What a list of profiles confirms and denies. */
static bool confirm(struct service *service, const struct command_row *command, const plist *report, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_library_confirmable(service->store, command->enrollment_id, command->epoch, &load, error);

	for (guint i = 0; rows && i < rows->len; i++) {
		const struct library_confirmable *c = &g_array_index(rows, struct library_confirmable, i);
		enum library_event event = library_is_listed(report, c->identifier, c->uuid) ? LIBRARY_LISTED : LIBRARY_UNLISTED;

		if (!service_library_happen(service, &(struct library_happening){.enrollment_id = command->enrollment_id, .profile = c->profile, .event = event}, NULL, error))
			return false;
	}
	return rows != NULL;
}

bool service_library_learn(struct service *service, const struct command_row *command, const plist *report, const GArray *known, struct fact_write *ret, GError **error)
{
	if (!service_fleet_learn(service, command, report, known, ret, error))
		return false;
	return strcmp(command->request_type, "ProfileList") || plist_get_type(plist_dict_get(report, "ProfileList")) != PLIST_ARRAY || confirm(service, command, report, error);
}
