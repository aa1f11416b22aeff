#include <string.h>

#include "core/timeline.h"

#define MINUTE ((int64_t)60 * 1000)
#define DAY ((int64_t)86400 * 1000)
#define NOW (1000 * DAY)

/* A case: steps as "KIND@MINUTES-AGO[=DETAIL]", separated by "|"; what must come of it. */
struct way {
	const char *name, *steps;
	bool is_link;
	int64_t expires_ms, revoked_ms;
	enum timeline_state state;
	const char *stage, *error, *why; /* why: a part of it; NULL: not looked at */
};

static const struct way ways[] = {
	{"nothing yet", "", true, NOW + DAY, 0, TIMELINE_RUNNING, "", "", "Nobody"},
	{"never opened, expired", "", true, NOW, 0, TIMELINE_STOPPED, "", "", "expired"},
	{"never opened, revoked", "", true, NOW + DAY, NOW - DAY, TIMELINE_ENDED, "", "", "revoked"},
	{"opened a moment ago", "LinkOpened@1", true, NOW + DAY, 0, TIMELINE_RUNNING, "LinkOpened", "", NULL},
	{"opened, no more", "LinkOpened@11", true, NOW + DAY, 0, TIMELINE_STOPPED, "LinkOpened", "", "button"},
	{"opened too late", "LinkRefused@3=POM-E5002 it has expired", true, NOW - DAY, 0, TIMELINE_STOPPED, "", "POM-E5002", "expired"},
	{"the root alone", "LinkOpened@30|TrustServed@29", true, NOW + DAY, 0, TIMELINE_STOPPED, "TrustServed", "", NULL},
	{"the profile is not installed", "LinkOpened@30|ProfileServed@29=192.0.2.1", true, NOW + DAY, 0, TIMELINE_STOPPED, "ProfileServed", "", "installed"},
	{"GetCACaps and no more", "ProfileServed@30|GetCACaps@29", true, NOW + DAY, 0, TIMELINE_STOPPED, "GetCACaps", "", NULL},
	{"GetCACert and never back", "LinkOpened@32|ProfileServed@30|GetCACaps@29|GetCACert@28", true, NOW + DAY, 0, TIMELINE_STOPPED, "GetCACert", "", "CAFingerprint"},
	{"GetCACert just now", "ProfileServed@30|GetCACert@1", true, NOW + DAY, 0, TIMELINE_RUNNING, "GetCACert", "", NULL},
	{"refused by SCEP", "ProfileServed@30|GetCACert@28|PKIOperation@27=POM-E3103 used with another key, 192.0.2.1", true, NOW + DAY, 0, TIMELINE_STOPPED, "GetCACert", "POM-E3103", "another key"},
	{"refused, then issued", "GetCACert@28|PKIOperation@27=POM-E3106 later|PKIOperation@26=issued", true, NOW + DAY, 0, TIMELINE_STOPPED, "PKIOperation", "", "Another payload"},
	{"issued, then refused at another step", "PKIOperation@26=issued|Refused@20=Authenticate: POM-E4301 the topic", true, NOW + DAY, 0, TIMELINE_STOPPED, "PKIOperation", "POM-E4301", "Authenticate"},
	{"waits for approval", "GetCACert@28|PKIOperation@27=pending, 192.0.2.1", true, NOW + DAY, 0, TIMELINE_STOPPED, "PKIOperation", "", "decided"},
	{"no TokenUpdate", "PKIOperation@26=issued|Authenticate@25=01", false, 0, 0, TIMELINE_STOPPED, "Authenticate", "", "push service"},
	{"a new attempt behind an ended one", "Authenticate@2000|Enrolled@1999|CheckOut@1000|LinkOpened@20", false, 0, 0, TIMELINE_STOPPED, "LinkOpened", "", NULL},
	{"refusals of an earlier attempt are over", "Refused@2000=POM-E4301 x|Enrolled@1999|CheckOut@1000|LinkOpened@1", false, 0, 0, TIMELINE_RUNNING, "LinkOpened", "", NULL},
	{"over the air: the transport identity is not the last", "OtaBegun@30|OtaIdentified@29|GetCACert@28|PKIOperation@27=issued|OtaProfileSent@26", true, NOW + DAY, 0, TIMELINE_STOPPED, "OtaProfileSent", "", NULL},
	{"over the air: then its own", "OtaBegun@30|PKIOperation@27=issued|OtaProfileSent@26|GetCACert@25", true, NOW + DAY, 0, TIMELINE_STOPPED, "GetCACert", "", NULL},
	{"over the air, refused", "OtaBegun@30|OtaRefused@29=POM-E5101 not known", true, NOW + DAY, 0, TIMELINE_STOPPED, "OtaBegun", "POM-E5101", NULL},
	{"nothing known", "", false, 0, 0, TIMELINE_STOPPED, "", "", NULL},
	{"a code that nobody has", "LinkOpened@20|Refused@19=POM-E9999 x", true, NOW + DAY, 0, TIMELINE_STOPPED, "LinkOpened", "", "button"},
};

/* STEPS as above into OUT; the texts are TEXTS' (freed with it). */
static size_t read_steps(const char *text, struct timeline_step *out, GPtrArray *texts)
{
	g_auto(GStrv) parts = g_strsplit(text, "|", -1);
	size_t n = 0;

	for (; parts[n] && *parts[n]; n++) {
		char *copy = g_strdup(parts[n]), *at = strchr(copy, '@'), *detail = strchr(copy, '=');

		g_ptr_array_add(texts, copy);
		*at = '\0';
		if (detail)
			*detail++ = '\0';
		out[n] = (struct timeline_step){copy, detail, NOW - g_ascii_strtoll(at + 1, NULL, 10) * MINUTE, 0};
	}
	return n;
}

static void test_ways(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(ways); i++) {
		const struct way *w = &ways[i];
		g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
		struct timeline_step steps[8];
		struct timeline_facts facts = {.now_ms = NOW, .steps = steps, .n_steps = read_steps(w->steps, steps, texts), .is_link = w->is_link, .link_expires_ms = w->expires_ms, .link_revoked_ms = w->revoked_ms,
		                               .is_enrollment = !w->is_link, .state = ENROLLMENT_PENDING};
		struct timeline_verdict verdict;

		g_test_message("%s", w->name);
		timeline_decide(&facts, &verdict);
		g_assert_cmpstr(timeline_state_name(verdict.state), ==, timeline_state_name(w->state));
		g_assert_cmpstr(verdict.stage, ==, w->stage);
		g_assert_cmpstr(verdict.error_id, ==, w->error);
		g_assert_nonnull(verdict.where);
		g_assert_nonnull(verdict.todo);
		if (w->why)
			g_assert_nonnull(strstr(verdict.why, w->why));
		/* Who is told that it stopped is told what to do. */
		if (verdict.state == TIMELINE_STOPPED)
			g_assert_cmpstr(verdict.todo, !=, "");
		timeline_verdict_clear(&verdict);
	}
}

/* A device that is enrolled, heard an hour ago, with a token; and what each case changes. */
static void test_live(void)
{
	static const struct { const char *name, *steps; int64_t seen_ms, dead_ms, command_ms, not_after_ms; bool no_token, revoked; enum timeline_state state; const char *why, *error; } cases[] = {
		{"fine", "Enrolled@100", NOW - 60 * MINUTE, 0, 0, 0, false, false, TIMELINE_OK, "nothing waits", ""},
		{"fine, a command waits", "Enrolled@100|PushSent@5", NOW - 60 * MINUTE, 0, NOW - 5 * MINUTE, 0, false, false, TIMELINE_OK, "Commands wait", ""},
		{"pushed, and did not come", "Enrolled@500|PushSent@100", NOW - 200 * MINUTE, 0, NOW - 100 * MINUTE, 0, false, false, TIMELINE_STOPPED, "has not come", ""},
		{"came after the push", "Enrolled@500|PushSent@100", NOW - 50 * MINUTE, 0, NOW - 100 * MINUTE, 0, false, false, TIMELINE_OK, NULL, ""},
		{"a push that was refused", "Enrolled@500|PushSent@100|PushRefused@50=BadDeviceToken", NOW - 200 * MINUTE, 0, NOW - 50 * MINUTE, 0, false, false, TIMELINE_STOPPED, "BadDeviceToken", ""},
		{"refused, then sent", "Enrolled@500|PushRefused@100=x|PushSent@50", NOW - 200 * MINUTE, 0, NOW - 50 * MINUTE, 0, false, false, TIMELINE_OK, NULL, ""},
		{"the token is dead", "Enrolled@500", NOW - 60 * MINUTE, NOW - 50 * MINUTE, 0, 0, false, false, TIMELINE_STOPPED, "no longer valid", ""},
		{"no token yet", "FirstUse@500", NOW - 60 * MINUTE, 0, 0, 0, true, false, TIMELINE_STOPPED, "TokenUpdate", ""},
		{"the identity has ended", "Enrolled@500", NOW - 60 * MINUTE, 0, 0, NOW - 1, false, false, TIMELINE_STOPPED, "identity has ended", ""},
		{"the identity was revoked", "Enrolled@500", NOW - 60 * MINUTE, 0, 0, NOW + DAY, false, true, TIMELINE_STOPPED, "revoked", ""},
		{"silent", "Enrolled@50000", NOW - 7 * DAY - 1, 0, 0, NOW + DAY, false, false, TIMELINE_STOPPED, "silent", ""},
		{"silent for just a week", "Enrolled@50000", NOW - 7 * DAY, 0, 0, NOW + DAY, false, false, TIMELINE_OK, NULL, ""},
		{"what it says is refused", "Enrolled@500|Refused@10=TokenUpdate: POM-E4301 another topic", NOW - 60 * MINUTE, 0, 0, 0, false, false, TIMELINE_STOPPED, "TokenUpdate", "POM-E4301"},
		{"was refused once, heard since", "Enrolled@500|Refused@100=TokenUpdate: POM-E4301 another topic", NOW - 60 * MINUTE, 0, 0, 0, false, false, TIMELINE_OK, NULL, ""},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
		struct timeline_step steps[8];
		struct timeline_facts facts = {.now_ms = NOW, .steps = steps, .n_steps = read_steps(cases[i].steps, steps, texts), .is_enrollment = true, .state = ENROLLMENT_ENROLLED, .has_token = !cases[i].no_token,
		                               .push_dead_ms = cases[i].dead_ms, .last_seen_ms = cases[i].seen_ms, .oldest_command_ms = cases[i].command_ms, .identity_not_after_ms = cases[i].not_after_ms,
		                               .identity_revoked = cases[i].revoked};
		struct timeline_verdict verdict;

		g_test_message("%s", cases[i].name);
		timeline_decide(&facts, &verdict);
		g_assert_cmpstr(timeline_state_name(verdict.state), ==, timeline_state_name(cases[i].state));
		g_assert_cmpstr(verdict.error_id, ==, cases[i].error);
		if (cases[i].why)
			g_assert_nonnull(strstr(verdict.why, cases[i].why));
		timeline_verdict_clear(&verdict);
	}
}

static void test_ended(void)
{
	static const struct { const char *steps, *why; bool is_user; } cases[] = {
		{"Enrolled@500|CheckOut@10", "checked out", false}, {"Enrolled@500", "ended here", false}, {"TokenUpdate@500", "user channel", true},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
		struct timeline_step steps[8];
		struct timeline_facts facts = {.now_ms = NOW, .steps = steps, .n_steps = read_steps(cases[i].steps, steps, texts), .is_enrollment = true, .is_user = cases[i].is_user, .state = ENROLLMENT_ENDED, .ended_ms = NOW - MINUTE};
		struct timeline_verdict verdict;

		timeline_decide(&facts, &verdict);
		g_assert_cmpint(verdict.state, ==, TIMELINE_ENDED);
		g_assert_cmpint(verdict.since_ms, ==, NOW - MINUTE);
		g_assert_nonnull(strstr(verdict.why, cases[i].why));
		timeline_verdict_clear(&verdict);
	}
}

/* A line that counts stands where the first time was. */
static void test_counted(void)
{
	const struct timeline_step steps[] = {{"GetCACert", NULL, NOW - 60 * MINUTE, NOW - MINUTE}, {"ProfileServed", NULL, NOW - 50 * MINUTE, 0}};
	struct timeline_facts facts = {.now_ms = NOW, .steps = steps, .n_steps = 2, .is_link = true, .link_expires_ms = NOW + DAY};
	struct timeline_verdict verdict;

	timeline_decide(&facts, &verdict);
	g_assert_cmpint(verdict.state, ==, TIMELINE_RUNNING);
	g_assert_cmpint(verdict.since_ms, ==, NOW - MINUTE);
	timeline_verdict_clear(&verdict);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/timeline/ways", test_ways);
	g_test_add_func("/timeline/live", test_live);
	g_test_add_func("/timeline/ended", test_ended);
	g_test_add_func("/timeline/counted", test_counted);
	return g_test_run();
}
