/* Check-in and command reports of devices. */
#include <string.h>

#include "base/log.h"
#include "base/metric.h"
#include "core/command_table.h"
#include "core/renewal.h"
#include "service/checkin.h"
#include "service/ddm.h"
#include "service/command.h"
#include "service/fleet.h"
#include "service/ota.h"
#include "service/library_device.h"
#include "service/renewal.h"
#include "service/shared.h"
#include "service/timeline.h"

enum { CONFLICT_TRIES = 8 };

void device_reply_clear(struct device_reply *reply)
{
	g_clear_pointer(&reply->body, g_bytes_unref);
}

static void set_subject(struct subject *subject, const struct checkin_identity *who, const char *enrollment_id)
{
	g_strlcpy(subject->device, who->device_id, sizeof(subject->device));
	g_strlcpy(subject->enrollment, enrollment_id ? enrollment_id : "", sizeof(subject->enrollment));
}

static GBytes *seal_epoch(struct service *service, const char *enrollment_id, int64_t epoch, const char *column, const void *data, size_t len)
{
	g_autofree char *row = g_strdup_printf("%s.%" G_GINT64_FORMAT, enrollment_id, epoch);

	return seal_close(&service->seal, "epoch", row, column, data, len);
}

static bool apply(struct service *service, const struct checkin_message *m, const struct checkin_facts *facts, const struct checkin_plan *plan, int64_t now_ms,
                  struct subject *subject, GError **error)
{
	struct pom_id device_id = pom_id_new(service->clock, service->random), user_id = pom_id_new(service->clock, service->random);
	const char *enrollment_id = facts->device.known ? facts->device.id : device_id.text;
	g_autoptr(GBytes) unlock = NULL, bootstrap = NULL;
	bool push = false;

	if (m->unlock_token && m->unlock_token_len)
		unlock = seal_epoch(service, enrollment_id, plan->epoch, "unlock_token", m->unlock_token, m->unlock_token_len);
	if (m->bootstrap_token && m->bootstrap_token_len)
		bootstrap = seal_epoch(service, enrollment_id, plan->epoch, "bootstrap_token", m->bootstrap_token, m->bootstrap_token_len);
	set_subject(subject, &m->who, enrollment_id);
	const struct checkin_write write = {m, facts, plan, enrollment_id, facts->user.known ? facts->user.id : user_id.text, unlock, bootstrap, now_ms};
	if (!store_checkin_apply(service->store, &write, &push, error))
		return false;
	if (push && service->wake_push)
		service->wake_push(service->wake_ctx);
	return true;
}

static bool answer_bootstrap_token(struct service *service, const char *enrollment_id, int64_t epoch, struct device_reply *ret, GError **error)
{
	g_autoptr(GBytes) sealed = NULL, token = NULL;
	g_autoptr(plist) reply = NULL;
	g_autofree char *row = g_strdup_printf("%s.%" G_GINT64_FORMAT, enrollment_id, epoch);
	gsize len;
	const void *data;

	if (!store_bootstrap_token_get(service->store, enrollment_id, epoch, &sealed, error))
		return false;
	/* None is no error: the device is answered with nothing. */
	if (!sealed)
		return true;
	token = seal_open(&service->seal, "epoch", row, "bootstrap_token", sealed, error);
	if (!token)
		return false;
	reply = plist_new_dict();
	data = g_bytes_get_data(token, &len);
	plist_dict_set_data(reply, "BootstrapToken", data, len);
	ret->body = plist_format(reply, error);
	return ret->body != NULL;
}

static bool answer_declarative(struct service *service, const struct checkin_message *m, const struct checkin_facts *facts, int64_t epoch, struct device_reply *ret, GError **error)
{
	bool is_user = *m->who.user_part != '\0';
	const struct ddm_request request = {
		.enrollment_id = is_user ? facts->user.id : facts->device.id, .epoch = epoch, .kind = m->who.kind, .user_channel = is_user, .endpoint = m->endpoint, .data = m->data, .data_len = m->data_len,
	};

	return service_ddm_checkin(service, &request, ret, error);
}

/* The first use of a renewed identity makes it the enrollment's. *RET_AGAIN: the facts are to be loaded again. */
static bool bind_renewal(struct service *service, struct checkin_facts *facts, int64_t now_ms, bool *ret_again, GError **error)
{
	GError *inner = NULL;

	*ret_again = false;
	facts->certificate.grace_ms = service->settings.expired_grace_s * 1000;
	if (!checkin_is_renewal(&facts->certificate, &facts->device))
		return true;
	*ret_again = store_renewal_bind(service->store, facts->device.id, facts->certificate.for_epoch, facts->certificate.serial, now_ms, &inner) || g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT);
	if (!*ret_again) {
		g_propagate_error(error, inner);
		return false;
	}
	if (inner) {
		/* Another request of the same device has done it. */
		g_error_free(inner);
		return true;
	}
	pom_log(POM_LOG_INFO, "a device uses its new identity", "enrollment", facts->device.id, "certificate", facts->certificate.serial, NULL);
	return true;
}

/* What the device gets besides 200. */
static bool answer(struct service *service, const struct checkin_message *m, const struct checkin_facts *facts, const struct checkin_plan *plan, struct device_reply *ret, GError **error)
{
	switch (plan->action) {
	case CHECKIN_DO_GET_BOOTSTRAP:
		return answer_bootstrap_token(service, facts->device.id, plan->epoch, ret, error);
	case CHECKIN_DO_GET_TOKEN:
		return service_watch_grant(service, m, facts->device.id, &ret->body, error);
	case CHECKIN_DO_GET_MAID:
		return service_maid_grant(service, facts->device.id, &ret->body, error);
	case CHECKIN_DO_CHALLENGE_USER:
		return service_user_answer(service, m, facts->device.id, &ret->body, error);
	case CHECKIN_DO_RETURN_TO_SERVICE:
		return service_return_answer(service, &m->who, facts->device.id, plan->epoch, &ret->body, error);
	case CHECKIN_DO_DECLARATIVE:
		return answer_declarative(service, m, facts, plan->epoch, ret, error);
	case CHECKIN_DO_NOTHING:
	case CHECKIN_DO_CREATE:
	case CHECKIN_DO_NEW_EPOCH:
	case CHECKIN_DO_REFRESH:
	case CHECKIN_DO_ACTIVATE:
	case CHECKIN_DO_TOKEN:
	case CHECKIN_DO_USER_TOKEN:
	case CHECKIN_DO_CHECK_OUT:
	case CHECKIN_DO_USER_CHECK_OUT:
	case CHECKIN_DO_SET_BOOTSTRAP:
		break;
	}
	return true;
}

/* Who sent it: the certificate's hash, what proved it, and the version of the CAs by which it is trusted. */
struct sender { uint8_t sha256[32]; const struct device_proof *proof; GBytes *body; int64_t ca_version; };

static bool prove(struct service *service, const struct device_proof *proof, GBytes *body, struct sender *ret, GError **error)
{
	*ret = (struct sender){.proof = proof, .body = body, .ca_version = service_ca_version(service)};
	return service_prove(service, proof, body, ret->sha256, error);
}

/* LOADED_VERSION came with the certificate's facts. When other CAs are trusted by now, the proof is looked at again by them. */
static bool prove_again(struct service *service, const struct sender *sender, int64_t loaded_version, GError **error)
{
	uint8_t sha256[32];

	if (!loaded_version || loaded_version == sender->ca_version)
		return true;
	return service_ca_follow(service, loaded_version, error) && service_prove(service, sender->proof, sender->body, sha256, error);
}

/* A certificate that the register does not have: it may be of a device of another server. *RET_AGAIN as of bind_renewal. MESSAGE NULL: a command report. */
static bool bind_first_use(struct service *service, const struct sender *sender, const struct checkin_message *message, const struct checkin_identity *who, const struct checkin_facts *facts,
                           bool *ret_again, GError **error)
{
	g_autoptr(GBytes) der = NULL;
	g_auto(GStrv) topics = NULL;
	struct checkin_facts with_topics = *facts;

	*ret_again = false;
	if (facts->certificate.known || !service->settings.first_use)
		return true;
	der = service_proof_certificate(sender->proof, error);
	if (!der)
		return false;
	pthread_rwlock_rdlock(&service->topics_lock);
	topics = g_strdupv(service->topics);
	pthread_rwlock_unlock(&service->topics_lock);
	with_topics.topics = (const char *const *)topics;
	return service_first_use_bind(service, der, message, who, &with_topics, ret_again, error);
}

static bool load_checkin(struct service *service, const struct sender *sender, const struct checkin_message *m, struct checkin_load *ret, GError **error)
{
	bool again, bound = false;

	/* Whether the topic is ours. */
	bool with_topics = m->type == CHECKIN_AUTHENTICATE || m->type == CHECKIN_TOKEN_UPDATE;

	if (!store_checkin_load(service->store, sender->sha256, &m->who, with_topics, ret, error))
		return false;
	if ((with_topics && !service_topics_follow(service, ret->push_version, error)) || !prove_again(service, sender, ret->ca_version, error)) {
		checkin_load_clear(ret);
		return false;
	}
	if (bind_renewal(service, &ret->facts, service_now_ms(service), &again, error) && !again && bind_first_use(service, sender, m, &m->who, &ret->facts, &bound, error) && !bound)
		return true;
	checkin_load_clear(ret);
	if ((!again && !bound) || !store_checkin_load(service->store, sender->sha256, &m->who, false, ret, error))
		return false;
	ret->facts.certificate.grace_ms = service->settings.expired_grace_s * 1000;
	return true;
}

/* One try; *RET_AGAIN when somebody else changed the facts meanwhile. */
static bool checkin_once(struct service *service, const struct sender *sender, const struct checkin_message *m, struct subject *subject, struct device_reply *ret,
                         bool *ret_again, GError **error)
{
	struct checkin_load load = {0};
	struct checkin_plan plan;
	int64_t now_ms = service_now_ms(service);
	GError *inner = NULL;
	bool ok;

	*ret_again = false;
	if (!load_checkin(service, sender, m, &load, error))
		return false;
	set_subject(subject, &m->who, load.facts.device.id);
	pthread_rwlock_rdlock(&service->topics_lock);
	load.facts.topics = (const char *const *)service->topics;
	load.facts.policy = (struct checkin_policy){.ask_user = service->settings.ask_user, .maid = service->settings.maid != NULL};
	ok = checkin_decide(m, &load.facts, now_ms, &plan, &inner);
	pthread_rwlock_unlock(&service->topics_lock);
	if (!ok) {
		service_timeline_refused(service, &load.facts.certificate, checkin_type_name(m->type), inner);
		g_propagate_error(error, g_steal_pointer(&inner));
	}
	if (ok && !apply(service, m, &load.facts, &plan, now_ms, subject, &inner)) {
		*ret_again = g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT);
		g_propagate_error(error, inner);
		ok = false;
	}
	ok = ok && answer(service, m, &load.facts, &plan, ret, error);
	if (ok && *subject->enrollment)
		store_seen(service->store, subject->enrollment, now_ms);
	checkin_load_clear(&load);
	return ok;
}

bool service_checkin(struct service *service, const struct device_proof *proof, GBytes *body, struct subject *subject, struct device_reply *ret, GError **error)
{
	struct checkin_message message;
	struct device_reply reply = {200, NULL, NULL};
	g_autoptr(plist) tree = NULL;
	GError *inner = NULL;
	struct sender sender;
	bool again = true, ok = false;

	if (!prove(service, proof, body, &sender, error))
		return false;
	tree = plist_parse(g_bytes_get_data(body, NULL), g_bytes_get_size(body), NULL, error);
	if (!tree || !checkin_message_parse(tree, &message, error))
		return false;
	for (int i = 0; i < CONFLICT_TRIES && again && !ok; i++) {
		g_clear_error(&inner);
		ok = checkin_once(service, &sender, &message, subject, &reply, &again, &inner);
	}
	if (!ok)
		return service_fail_again(error, inner);
	g_strlcpy(subject->detail, checkin_type_name(message.type), sizeof(subject->detail));
	pom_metric_add(POM_METRIC_CHECKIN, checkin_type_name(message.type), 1);
	*ret = reply;
	return true;
}

/* Systems that know RequestUnlockToken answer with what others send in TokenUpdate. */
static bool escrow(struct service *service, const struct command_row *command, const plist *tree, GError **error)
{
	size_t len = 0;
	const void *token = strcmp(command->request_type, "RequestUnlockToken") ? NULL : plist_get_data(plist_dict_get(tree, "UnlockToken"), &len);
	g_autoptr(GBytes) sealed = token && len ? seal_epoch(service, command->enrollment_id, command->epoch, "unlock_token", token, len) : NULL;

	return !sealed || store_unlock_token_set(service->store, command->enrollment_id, command->epoch, sealed, error);
}

/* What is learnt from an answer, without its secrets. */
static bool learn(struct service *service, const struct command_row *command, const plist *tree, const GArray *known, bool has_secret, struct fact_write *ret, GError **error)
{
	g_autoptr(plist) shown = has_secret ? command_redact(command->request_type, COMMAND_RESPONSE, tree) : NULL;

	return escrow(service, command, tree, error) && service_library_learn(service, command, shown ? shown : tree, known, ret, error);
}

/* The turn of a channel that has sent a report. */
struct turn {
	struct command_ask ask;     /* for its next command, at the time of the report */
	bool serves;                /* it is given commands */
	struct command_after after; /* the end of the command that it reported of, unless more may come of that */
};

static bool finish(struct service *service, const struct report *report, const plist *tree, const struct report_load *load, GBytes *body, struct turn *turn, GError **error)
{
	const struct command_row *command = &load->command;
	/* The answer to what declarations asked for has them planned anew, which may queue the next one. */
	const struct command_ask *ask = turn->serves && !note_is_declarations(command->note) ? &turn->ask : NULL;
	bool has_secret = command_has_secret(command->request_type, COMMAND_RESPONSE, tree);
	gsize len;
	const void *data = g_bytes_get_data(body, &len);
	g_autoptr(GBytes) sealed = NULL;
	g_auto(fact_write) learnt = {0};

	/* First what follows from it: when this process ends between the two, the device says it again. */
	if ((command->note && !note_is_fill(command->note) && !service_noted_report(service, command, report, error)) ||
	    (report->status == REPORT_ACKNOWLEDGED && !learn(service, command, tree, load->known_facts, has_secret, &learnt, error)))
		return false;
	if (has_secret)
		sealed = seal_close(&service->seal, "command_done", command->uuid, "result", data, len);
	return store_command_finish_then(service->store, command, &(struct command_result){report_status_name(report->status), sealed ? sealed : body, has_secret, &learnt}, ask, turn->ask.now_ms, &turn->after, error);
}

/* Writes what the report says of its command. */
static bool apply_report(struct service *service, const struct report *report, const plist *tree, const struct report_load *load, const struct report_plan *plan, GBytes *body, struct turn *turn, GError **error)
{
	switch (plan->action) {
	case REPORT_DO_FINISH:
		if (!g_strcmp0(load->command.note, NOTE_UNENROLL))
			return service_unenroll_report(service, &load->command, report, body, error);
		return finish(service, report, tree, load, body, turn, error) &&
		       (!note_is_declarations(load->command.note) || service_ddm_answered(service, load->command.enrollment_id, error));
	case REPORT_DO_DEFER:
		if (note_is_library(load->command.note) && !service_library_report(service, &load->command, report, error))
			return false;
		return store_command_defer(service->store, &load->command, turn->ask.now_ms, plan->push_again_ms, error);
	case REPORT_DO_NOTHING:
		break;
	}
	return true;
}

/* The channel's enrollment and epoch that a proven report speaks for. A user channel lives in the device's epoch. */
static bool check_channel(const struct report *report, const struct report_load *load, int64_t now_ms, const char **ret_id, int64_t *ret_epoch, bool *ret_serves, GError **error)
{
	const struct checkin_facts *facts = &load->facts;
	int64_t epoch;

	if (!checkin_check_blocked(facts, error) || !checkin_check_identity(&facts->certificate, &facts->device, now_ms, &epoch, error))
		return false;
	*ret_epoch = epoch;
	*ret_id = facts->device.id;
	/* Before its first TokenUpdate a device gets nothing to do. */
	*ret_serves = epoch == facts->device.active_epoch;
	if (!*report->who.user_part)
		return true;
	if (!facts->user.known || facts->user.active_epoch != epoch)
		return pom_fail(error, POM_ERR_ENROLLMENT_UNKNOWN, "the user channel of \"%.64s\" has not sent a TokenUpdate", report->who.user_part);
	*ret_id = facts->user.id;
	return true;
}

static bool load_report(struct service *service, const struct sender *sender, const struct report *report, struct report_load *ret, GError **error)
{
	bool again, bound = false;

	if (!store_report_load(service->store, sender->sha256, report, ret, error))
		return false;
	if (!prove_again(service, sender, ret->ca_version, error)) {
		report_load_clear(ret);
		return false;
	}
	if (bind_renewal(service, &ret->facts, service_now_ms(service), &again, error) && !again && bind_first_use(service, sender, NULL, &report->who, &ret->facts, &bound, error) && !bound)
		return true;
	report_load_clear(ret);
	if ((!again && !bound) || !store_report_load(service->store, sender->sha256, report, ret, error))
		return false;
	ret->facts.certificate.grace_ms = service->settings.expired_grace_s * 1000;
	return true;
}

/* What could not be made. True with *RET_CANCELED: it is gone, and the one after it is the next. */
static bool give_up(struct service *service, const char *id, const struct command_next *next, GError *why, bool *ret_canceled, GError **error)
{
	g_autoptr(GError) owned = why;

	/* A profile of the library is not given up for what may pass, and nothing is when its seal cannot be opened or the database is away: the device comes again. */
	if (((note_is_library(next->note) || note_is_declarations(next->note)) && pom_error_info_of(owned)->retry && owned->code != POM_ERR_INTERNAL) || !next->note || g_error_matches(owned, POM_ERROR, POM_ERR_STORE_SEAL) ||
	    store_error_is_away(owned)) {
		g_propagate_error(error, g_steal_pointer(&owned));
		return false;
	}
	/* What the server wants for itself must not keep a device from the commands of people. */
	pom_log(POM_LOG_ERROR, note_is_fill(next->note) ? "a command could not be completed" : "a profile for a device could not be made", "enrollment", id, "command", next->uuid, "what", next->note, "why", owned->message,
	        NULL);
	return service_noted_unmade(service, id, next, owned, ret_canceled, error);
}

/* The content of NEXT, which is taken over; what the server itself queued gets its content now. *RET_CANCELED: it could not be made, and the one after it is the next. */
static bool try_command(struct service *service, const struct command_ask *ask, int64_t session_ms, struct command_next next, GBytes **ret_body, bool *ret_canceled, GError **error)
{
	GError *inner = NULL;
	bool ok = true;

	*ret_canceled = false;
	if (next.body)
		*ret_body = next.note && !note_is_fill(next.note) ? service_noted_command(service, ask->enrollment_id, ask->epoch, &next, &inner)
		                                                  : service_command_content(service, ask->enrollment_id, ask->epoch, &next, &inner);
	if (*ret_body)
		ok = store_command_delivered(service->store, ask->enrollment_id, &next, ask->now_ms, session_ms, error);
	else if (next.body)
		ok = give_up(service, ask->enrollment_id, &next, inner, ret_canceled, error);
	command_next_clear(&next);
	return ok;
}

/* The next command of TURN that is known already; false: it has to be asked for. */
static bool take_known(struct turn *turn, struct report_load *load, const struct report *report, struct command_next *ret)
{
	bool is_loaded = report->status == REPORT_IDLE && !turn->ask.only_note && load->next_epoch == turn->ask.epoch;

	if (is_loaded) {
		*ret = load->next;
		load->next = (struct command_next){0};
	} else if (turn->after.is_known) {
		*ret = turn->after.next;
		turn->after.next = (struct command_next){0};
	}
	return is_loaded || turn->after.is_known;
}

/* The next command. */
static bool next_command(struct service *service, const struct report *report, const struct report_plan *plan, struct report_load *load, struct turn *turn, GBytes **ret_body, GError **error)
{
	/* More than these in one request only when a library is full of what cannot be made. */
	enum { OWN_MAX = 64 };
	const struct command_ask *ask = &turn->ask;
	int64_t session_ms = plan->with_deferred ? ask->now_ms : load->command.session_ms;
	bool canceled = true;

	/* An expired identity is served nothing but a new one. */
	if (ask->only_note && report->status == REPORT_IDLE && !service_renewal_ensure(service, ask->enrollment_id, ask->epoch, error))
		return false;
	for (int i = 0; canceled && i <= OWN_MAX; i++) {
		struct command_next next;

		/* What was read with other facts is asked for again only when it was another's, or could not be made. */
		if ((i || !take_known(turn, load, report, &next)) && !store_command_next(service->store, ask, &next, error))
			return false;
		if (!try_command(service, ask, session_ms, next, ret_body, &canceled, error))
			return false;
	}
	return true;
}

/* That it fails costs no more than one push too many. */
static void settle_push(struct service *service, const struct turn *turn, const struct report *report, const struct report_load *load)
{
	const char *id = turn->ask.enrollment_id, *generation = turn->after.is_known ? turn->after.push_generation : load->push_generation;
	g_autoptr(GError) error = NULL;
	bool ok = true;

	/* While an answer was taken, more may have been asked for: an Idle asks for nothing. */
	if (report->status != REPORT_IDLE && !turn->after.is_known)
		ok = store_push_settle(service->store, id, turn->ask.epoch, &error);
	else if (generation)
		ok = store_push_settle_known(service->store, id, turn->ask.epoch, generation, &error);
	if (!ok && !store_error_is_away(error))
		pom_log(POM_LOG_WARNING, "a push could not be settled", "enrollment", id, "why", error->message, NULL);
}

/* check_channel; what is refused is in the timeline. */
static bool check_sender(struct service *service, const struct report *report, const struct report_load *load, int64_t now_ms, const char **ret_id, int64_t *ret_epoch, bool *ret_serves, GError **error)
{
	GError *inner = NULL;

	if (check_channel(report, load, now_ms, ret_id, ret_epoch, ret_serves, &inner))
		return true;
	service_timeline_refused(service, &load->facts.certificate, "command report", inner);
	g_propagate_error(error, inner);
	return false;
}

/* What else follows from a report that was answered with REPLY. */
static void note_report(struct service *service, const struct report *report, const struct report_load *load, const struct report_plan *plan, const struct turn *turn, const struct device_reply *reply)
{
	const char *id = turn->ask.enrollment_id;

	/* It came, and nothing is left for it. What it puts off is pushed again, later. */
	if (turn->serves && !reply->body && plan->action != REPORT_DO_DEFER)
		settle_push(service, turn, report, load);
	if (plan->unknown_command)
		pom_log(POM_LOG_NOTICE, "report for an unknown command", "enrollment", id, "command", report->command_uuid, "status", report_status_name(report->status), NULL);
	store_seen(service->store, id, turn->ask.now_ms);
	pom_metric_add(POM_METRIC_REPORTS, report_status_name(report->status), 1);
	if (reply->body)
		pom_metric_add(POM_METRIC_COMMANDS_SENT, NULL, 1);
	if (plan->action == REPORT_DO_DEFER && service->wake_push)
		service->wake_push(service->wake_ctx);
}

/* Who has sent the report, and what is asked for after it. */
static bool begin_turn(struct service *service, const struct report *report, const struct report_load *load, int64_t now_ms, struct report_plan *ret_plan, struct turn *ret, GError **error)
{
	struct command_ask *ask = &ret->ask;

	if (!check_sender(service, report, load, now_ms, &ask->enrollment_id, &ask->epoch, &ret->serves, error) || !report_decide(report, load->where, load->command.n_not_now, now_ms, ret_plan, error))
		return false;
	ask->now_ms = now_ms;
	ask->deferred_before_ms = ret_plan->with_deferred ? INT64_MAX : load->command.session_ms;
	ask->except = report->command_uuid;
	ask->only_note = checkin_is_expired(&load->facts.certificate, now_ms) ? NOTE_RENEWAL : NULL;
	return true;
}

/* One try; POM_ERR_STORE_CONFLICT when somebody else changed the facts meanwhile: the command was answered through another connection, taken back, or its device deleted. */
static bool report_once(struct service *service, const struct sender *sender, const struct report *report, const plist *tree, struct subject *subject, struct device_reply *ret, GError **error)
{
	struct report_load load = {0};
	struct report_plan plan;
	struct device_reply reply = {200, NULL, NULL};
	struct turn turn = {0};
	bool ok;

	if (!load_report(service, sender, report, &load, error))
		return false;
	set_subject(subject, &report->who, load.facts.device.id);
	ok = begin_turn(service, report, &load, service_now_ms(service), &plan, &turn, error) && apply_report(service, report, tree, &load, &plan, sender->body, &turn, error) &&
	     (!turn.serves || next_command(service, report, &plan, &load, &turn, &reply.body, error));
	if (ok) {
		note_report(service, report, &load, &plan, &turn, &reply);
		g_strlcpy(subject->enrollment, turn.ask.enrollment_id, sizeof(subject->enrollment));
		*ret = reply;
	} else {
		device_reply_clear(&reply);
	}
	command_after_clear(&turn.after);
	report_load_clear(&load);
	return ok;
}

bool service_report(struct service *service, const struct device_proof *proof, GBytes *body, struct subject *subject, struct device_reply *ret, GError **error)
{
	struct report report;
	g_autoptr(plist) tree = NULL;
	struct sender sender;
	GError *inner = NULL;
	bool ok = false;

	if (!prove(service, proof, body, &sender, error))
		return false;
	tree = plist_parse(g_bytes_get_data(body, NULL), g_bytes_get_size(body), NULL, error);
	if (!tree || !report_parse(tree, &report, error))
		return false;
	g_strlcpy(subject->detail, report.command_uuid ? report.command_uuid : "", sizeof(subject->detail));
	for (int i = 0; i < CONFLICT_TRIES && !ok && (!i || g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT)); i++) {
		g_clear_error(&inner);
		ok = report_once(service, &sender, &report, tree, subject, ret, &inner);
	}
	return ok || service_fail_again(error, inner);
}
