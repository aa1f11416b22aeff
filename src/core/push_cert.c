#include "core/push_cert.h"

#include <string.h>

#include "base/face.h"
#include "codec/cert_kind.h"

#define VENDOR_NAME "MDM Vendor"

enum push_cert_kind push_cert_kind(const struct push_cert_names *names)
{
	static const enum push_cert_kind kinds[CERT_KIND_MAX] = {
		[CERT_KIND_PUSH] = PUSH_KIND_MDM, [CERT_KIND_CA] = PUSH_KIND_CA, [CERT_KIND_VENDOR] = PUSH_KIND_VENDOR, [CERT_KIND_APP_PUSH] = PUSH_KIND_APP, [CERT_KIND_DEVELOPER] = PUSH_KIND_DEVELOPER,
		[CERT_KIND_CODE] = PUSH_KIND_OTHER, [CERT_KIND_DEVICE] = PUSH_KIND_OTHER, [CERT_KIND_OTHER] = PUSH_KIND_OTHER,
	};
	const struct cert_kind_facts facts = {.uid = names->uid, .common_name = names->common_name, .issuer_common_name = names->issuer_common_name, .is_ca = names->is_ca, .ext_key_usage = UINT32_MAX};
	enum push_cert_kind kind = kinds[cert_kind_find(&facts)];

	/* Who brings it takes it for a push certificate, so its UID is taken for a bundle identifier. */
	return (kind == PUSH_KIND_OTHER || kind == PUSH_KIND_DEVELOPER) && names->uid && strchr(names->uid, '.') ? PUSH_KIND_APP : kind;
}

bool push_cert_check_kind(const struct push_cert_names *names, GError **error)
{
	switch (push_cert_kind(names)) {
	case PUSH_KIND_MDM:
		return true;
	case PUSH_KIND_VENDOR:
		return pom_fail(error, POM_ERR_PUSH_IS_VENDOR, "\"%s\" is a vendor certificate, as developer.apple.com makes it for \"MDM CSR\": it only signs requests. Give it to \"pomona push-cert sign --vendor\", upload the"
		                " document at " PUSH_PORTAL_URL ", and import what that page offers for download", names->subject);
	case PUSH_KIND_APP:
		return pom_fail(error, POM_ERR_PUSH_IS_APP, "\"%s\" is a certificate for pushes to the app %s: its topic does not begin with " PUSH_TOPIC_PREFIX ", so no device can be managed with it."
		                " Get one for MDM at " PUSH_PORTAL_URL " (\"pomona push-cert setup\" leads there)", names->subject, names->uid);
	case PUSH_KIND_DEVELOPER:
		return pom_fail(error, POM_ERR_PUSH_IS_APP, "\"%s\" is a developer's certificate of developer.apple.com. An MDM push certificate comes from " PUSH_PORTAL_URL " (\"pomona push-cert setup\" leads there)", names->subject);
	case PUSH_KIND_CA:
		return pom_fail(error, POM_ERR_PUSH_CERT, "\"%s\" is a CA's certificate: give the push certificate itself, whose subject has a UID that begins with " PUSH_TOPIC_PREFIX, names->subject);
	case PUSH_KIND_OTHER:
	case PUSH_KIND_MAX:
	default:
		return pom_fail(error, POM_ERR_PUSH_CERT, "the certificate \"%s\" is no MDM push certificate: its subject has no UID that begins with " PUSH_TOPIC_PREFIX, names->subject);
	}
}

bool push_vendor_check_kind(const struct push_cert_names *names, GError **error)
{
	switch (push_cert_kind(names)) {
	case PUSH_KIND_VENDOR:
	case PUSH_KIND_DEVELOPER: /* Whatever Apple calls it: the chain and the key decide. */
		return true;
	case PUSH_KIND_MDM:
		return pom_fail(error, POM_ERR_PUSH_NOT_VENDOR, "\"%s\" is a push certificate: import it with \"pomona push-cert import\". Requests are signed with the vendor certificate that developer.apple.com made"
		                " for \"MDM CSR\" (mdm.cer)", names->subject);
	case PUSH_KIND_APP:
	case PUSH_KIND_CA:
	case PUSH_KIND_OTHER:
	case PUSH_KIND_MAX:
	default:
		return pom_fail(error, POM_ERR_PUSH_NOT_VENDOR, "\"%s\" is no vendor certificate: take the one that developer.apple.com made for \"MDM CSR\" (mdm.cer; its name begins with \"" VENDOR_NAME ":\")", names->subject);
	}
}

bool push_cert_check_dates(const char *subject, int64_t not_before_s, int64_t not_after_s, int64_t now_s, const char *renew, GError **error)
{
	g_autofree char *at = pom_time_format((now_s > not_after_s ? not_after_s : not_before_s) * 1000);

	if (now_s > not_after_s)
		return pom_fail(error, POM_ERR_PUSH_DATES, "the certificate \"%s\" has expired on %s: %s", subject, at, renew);
	return now_s >= not_before_s || pom_fail(error, POM_ERR_PUSH_DATES, "the certificate \"%s\" is valid from %s on only: is the clock of this server right?", subject, at);
}

int64_t push_cert_count_others(const char *topic, const struct push_topic *topics, size_t n)
{
	int64_t others = 0;

	for (size_t i = 0; i < n; i++)
		if (strcmp(topics[i].topic, topic))
			others += topics[i].n_devices;
	return others;
}

static bool is_held(const char *topic, const struct push_topic *topics, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (topics[i].held && !strcmp(topics[i].topic, topic))
			return true;
	return false;
}

/* "12 have TOPIC (Apple account ann@example.org), 3 have TOPIC"; transfer full. */
static char *list_others(const char *topic, const struct push_topic *topics, size_t n)
{
	GString *text = g_string_new(NULL);

	for (size_t i = 0; i < n; i++) {
		const struct push_topic *t = &topics[i];

		if (!t->n_devices || !strcmp(t->topic, topic))
			continue;
		g_string_append_printf(text, "%s%" G_GINT64_FORMAT " %s %s", text->len ? ", " : "", t->n_devices, t->n_devices == 1 ? "has" : "have", t->topic);
		if (t->apple_account)
			g_string_append_printf(text, " (Apple account %s)", t->apple_account);
	}
	return g_string_free(text, FALSE);
}

bool push_cert_check_topic(const char *topic, const struct push_topic *topics, size_t n, GError **error)
{
	int64_t others = push_cert_count_others(topic, topics, n);
	g_autofree char *list = NULL;

	if (!others || is_held(topic, topics, n))
		return true;
	list = list_others(topic, topics, n);
	return pom_fail(error, POM_ERR_PUSH_TOPIC_CHANGED,
	                "this certificate has the topic %s, but of the enrolled devices %s. They could not be pushed with it: %" G_GINT64_FORMAT " device(s) would be lost and have to enroll again. Sign in at " PUSH_PORTAL_URL
	                " with the Apple account that made the old certificate, and choose \"Renew\" in its row, not \"Create a Certificate\". With --force this one is kept beside the old one", topic, list, others);
}

/* ---- the guided way ---- */

static const char *const ways[PUSH_WAY_MAX] = {"vendor", "mdmcert", "foreign"};
static const char *const steps[PUSH_STEP_MAX] = {"vendor", "request", "certificate"};
static const char *const states[PUSH_STATE_MAX] = {"later", "now", "waiting", "done", "skipped"};

const char *push_way_name(enum push_way way)
{
	return ways[way];
}

enum push_way push_way_find(const char *name)
{
	enum push_way way = 0;

	while (way < PUSH_WAY_MAX && strcmp(ways[way], name))
		way++;
	return way;
}

const char *push_step_name(enum push_step step)
{
	return steps[step];
}

const char *push_state_name(enum push_step_state state)
{
	return states[state];
}

static enum push_step_state vendor_state(const struct push_setup_facts *facts, bool finished)
{
	if (facts->way != PUSH_WAY_VENDOR)
		return PUSH_STATE_SKIPPED;
	/* A vendor certificate that has ended or was removed is not missed before the next renewal. */
	if (facts->vendor_ready || finished)
		return PUSH_STATE_DONE;
	return facts->vendor_requested ? PUSH_STATE_WAITING : PUSH_STATE_NOW;
}

void push_setup_decide(const struct push_setup_facts *facts, enum push_step_state ret[PUSH_STEP_MAX])
{
	bool finished = facts->certified && !facts->ends_soon && !facts->requested, may_request;

	ret[PUSH_STEP_VENDOR] = vendor_state(facts, finished || (facts->requested && facts->is_signed));
	may_request = ret[PUSH_STEP_VENDOR] == PUSH_STATE_DONE || ret[PUSH_STEP_VENDOR] == PUSH_STATE_SKIPPED;
	if (finished || facts->is_signed)
		ret[PUSH_STEP_REQUEST] = PUSH_STATE_DONE;
	else if (facts->requested && facts->way != PUSH_WAY_VENDOR)
		ret[PUSH_STEP_REQUEST] = PUSH_STATE_WAITING;
	else
		ret[PUSH_STEP_REQUEST] = may_request ? PUSH_STATE_NOW : PUSH_STATE_LATER;
	ret[PUSH_STEP_CERTIFICATE] = finished ? PUSH_STATE_DONE : facts->is_signed ? PUSH_STATE_WAITING : PUSH_STATE_LATER;
}
