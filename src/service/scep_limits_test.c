/* The limiter, with a clock that each step sets. */
#include "service/scep_limits.h"

#include <string.h>

enum { STEPS_MAX = 10, REFILL_MS = 1000, BUDGET = 60, BUDGET_UNDER_ATTACK = 5, PROFILE_BUDGET = 600 };

/* At a time a peer fails some times; then it may ask, or may not. */
struct step { int64_t at_ms; const char *profile, *peer; int n_failures; bool allowed; };

static const struct { const char *name; struct step steps[STEPS_MAX]; } cases[] = {
	{"who has never failed", {{0, "p", "192.0.2.1:1", 0, true}}},
	{"the last of the budget", {{0, "p", "192.0.2.1:1", BUDGET - 1, true}, {0, "p", "192.0.2.1:1", 1, false}, {999, "p", "192.0.2.1:1", 0, true}}},
	{"one failure is forgiven each second", {
		{0, "p", "192.0.2.1:1", BUDGET + 2, false}, {2 * REFILL_MS, "p", "192.0.2.1:1", 0, false}, {2 * REFILL_MS + 1, "p", "192.0.2.1:1", 0, true},
		{2 * REFILL_MS + 1, "p", "192.0.2.1:1", 1, false}, {3 * REFILL_MS + 1, "p", "192.0.2.1:1", 0, true}}},
	{"all is forgiven in the end, and not more", {
		{0, "p", "192.0.2.1:1", 3 * BUDGET, false}, {3 * BUDGET * REFILL_MS, "p", "192.0.2.1:1", BUDGET - 1, true}, {3 * BUDGET * REFILL_MS, "p", "192.0.2.1:1", 1, false}}},
	{"another port is the same address", {{0, "p", "192.0.2.1:1", BUDGET, false}, {0, "p", "192.0.2.1:2", 0, false}, {0, "p", "192.0.2.1", 0, false}}},
	{"another address is not", {{0, "p", "192.0.2.1:1", BUDGET, false}, {0, "p", "192.0.2.2:1", 0, true}, {0, "p", "192.0.2.10:1", 0, true}}},
	{"of IPv6, the network of 64 bits", {
		{0, "p", "[2001:db8:0:1::1]:1", BUDGET, false}, {0, "p", "[2001:db8:0:1:ffff::9]:2", 0, false}, {0, "p", "2001:db8:0:1::2", 0, false}, {0, "p", "[2001:db8:0:2::1]:1", 0, true},
		{0, "p", "[2001:0DB8:0000:0001::3]:1", 0, false}}},
	{"another profile is the same address", {{0, "p", "192.0.2.1:1", BUDGET, false}, {0, "q", "192.0.2.1:1", 0, false}}},
	{"under attack who has failed may fail less", {
		{0, "p", "192.0.2.1:1", BUDGET_UNDER_ATTACK, true}, {0, "p", "192.0.2.9:1", PROFILE_BUDGET, false}, {0, "p", "192.0.2.1:1", 0, false}, {0, "q", "192.0.2.1:1", 0, true},
		{0, "p", "192.0.2.2:1", 0, true}, {REFILL_MS, "p", "192.0.2.1:1", 0, true}}},
	{"as many as the profile's budget are no attack", {{0, "p", "192.0.2.1:1", BUDGET_UNDER_ATTACK, true}, {0, "p", "192.0.2.9:1", PROFILE_BUDGET - BUDGET_UNDER_ATTACK, false}, {0, "p", "192.0.2.1:1", 0, true}}},
	{"an attack is over a minute later", {
		{0, "p", "192.0.2.9:1", PROFILE_BUDGET + 1, false}, {59999, "p", "192.0.2.1:1", BUDGET_UNDER_ATTACK, false}, {60000, "p", "192.0.2.1:1", BUDGET_UNDER_ATTACK, true}}},
	{"a clock that goes back forgives nothing", {{60000, "p", "192.0.2.1:1", BUDGET, false}, {0, "p", "192.0.2.1:1", 0, false}, {999, "p", "192.0.2.1:1", 0, true}}},
	{"odd addresses", {{0, "p", "", BUDGET, false}, {0, "p", "", 0, false}, {0, "p", "local", 0, true}, {0, "p", "[", 0, false}, {0, "p", "192.0.2.1", 0, true}}},
};

static void test_steps(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct scep_limits *limits = scep_limits_new();

		for (int k = 0; k < STEPS_MAX && cases[i].steps[k].profile; k++) {
			const struct step *step = &cases[i].steps[k];

			g_test_message("%s: step %d", cases[i].name, k + 1);
			for (int n = 0; n < step->n_failures; n++)
				scep_limits_fail(limits, step->profile, step->peer, step->at_ms);
			g_assert_cmpint(scep_limits_allow(limits, step->profile, step->peer, step->at_ms), ==, step->allowed);
		}
		scep_limits_free(limits);
	}
	scep_limits_free(NULL);
}

/* More addresses than are remembered: no memory without end, and nobody is shut out for it. */
static void test_many_addresses(void)
{
	struct scep_limits *limits = scep_limits_new();
	char peer[32];

	for (int i = 0; i < 20000 + 1; i++) {
		g_snprintf(peer, sizeof(peer), "10.%d.%d.%d:1", i >> 16, i >> 8 & 255, i & 255);
		scep_limits_fail(limits, "p", peer, 0);
	}
	for (int n = 0; n < BUDGET; n++)
		scep_limits_fail(limits, "q", "192.0.2.1:1", 999);
	g_assert_true(scep_limits_allow(limits, "q", "192.0.2.1:1", 999));
	/* Those that are forgiven make room. */
	for (int n = 0; n < BUDGET; n++)
		scep_limits_fail(limits, "q", "192.0.2.1:1", 1000);
	g_assert_false(scep_limits_allow(limits, "q", "192.0.2.1:1", 1000));
	scep_limits_free(limits);
}

/* What other nodes have counted of an address: at most the larger sum counts, and it is forgiven with time like the rest. */
static void test_learn(void)
{
	struct scep_limits *limits = scep_limits_new();

	/* Of who has never failed here nothing is kept: it is learnt with his first failure. */
	scep_limits_learn(limits, "192.0.2.1:1", 1000000, 0);
	g_assert_true(scep_limits_allow(limits, "p", "192.0.2.1:1", 0));
	scep_limits_fail(limits, "p", "192.0.2.1:1", 0);
	scep_limits_learn(limits, "192.0.2.1:2", BUDGET * REFILL_MS, 0);
	g_assert_false(scep_limits_allow(limits, "p", "192.0.2.1:1", 0));
	g_assert_true(scep_limits_allow(limits, "p", "192.0.2.1:1", 1));
	/* Less than what is known here, as after a time without the database, or nothing. */
	for (int n = 0; n < BUDGET; n++)
		scep_limits_fail(limits, "p", "192.0.2.2:1", 0);
	scep_limits_learn(limits, "192.0.2.2:1", 1000, 0);
	scep_limits_learn(limits, "192.0.2.2:1", 0, 0);
	g_assert_false(scep_limits_allow(limits, "p", "192.0.2.2:1", 0));
	scep_limits_free(limits);
}

/* How many failures of a minute are put into the audit log. */
static void test_audit(void)
{
	struct scep_limits *limits = scep_limits_new();
	static const struct { int64_t at_ms; int n, n_audited; } steps[] = {{60000, 700, 600}, {119999, 10, 0}, {120000, 10, 10}, {180000, 601, 600}};

	for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
		int n_audited = 0;

		for (int n = 0; n < steps[i].n; n++)
			n_audited += scep_limits_fail(limits, n % 2 ? "p" : "q", "192.0.2.1:1", steps[i].at_ms);
		g_assert_cmpint(n_audited, ==, steps[i].n_audited);
	}
	scep_limits_free(limits);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/scep-limits/steps", test_steps);
	g_test_add_func("/scep-limits/many-addresses", test_many_addresses);
	g_test_add_func("/scep-limits/learn", test_learn);
	g_test_add_func("/scep-limits/audit", test_audit);
	return g_test_run();
}
