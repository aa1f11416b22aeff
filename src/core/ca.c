#include "core/ca.h"

#include <openssl/x509v3.h>
#include <string.h>

static const char *const state_names[GENERATION_STATE_MAX] = {"requested", "next", "active", "retiring", "retired"};

const char *generation_state_name(enum generation_state state)
{
	return state < GENERATION_STATE_MAX ? state_names[state] : "?";
}

enum generation_state generation_state_find(const char *name)
{
	for (int i = 0; i < GENERATION_STATE_MAX; i++)
		if (!g_strcmp0(name, state_names[i]))
			return (enum generation_state)i;
	return GENERATION_STATE_MAX;
}

bool generation_is_trusted(enum generation_state state)
{
	return state == GENERATION_NEXT || state == GENERATION_ACTIVE || state == GENERATION_RETIRING;
}

static bool has(const enum generation_state *states, size_t n, enum generation_state wanted)
{
	for (size_t i = 0; i < n; i++)
		if (states[i] == wanted)
			return true;
	return false;
}

bool ca_check_rekey(const char *ca, const enum generation_state *states, size_t n, GError **error)
{
	if (!has(states, n, GENERATION_ACTIVE))
		return pom_fail(error, POM_ERR_CONFLICT, "CA %s has no active generation to be replaced", ca);
	if (has(states, n, GENERATION_REQUESTED))
		return pom_fail(error, POM_ERR_CONFLICT, "CA %s waits for the certificate of a request already: give it with \"pomona ca install\"", ca);
	if (has(states, n, GENERATION_NEXT))
		return pom_fail(error, POM_ERR_CONFLICT, "a rekey of CA %s is running: its next generation is published. Go on with \"pomona ca rekey --activate\"", ca);
	if (has(states, n, GENERATION_RETIRING))
		return pom_fail(error, POM_ERR_CONFLICT, "a rekey of CA %s is running: an old generation is retiring. End it with \"pomona ca rekey --finish\"", ca);
	return true;
}

bool ca_check_activate(const char *ca, const enum generation_state *states, size_t n, GError **error)
{
	if (!has(states, n, GENERATION_NEXT))
		return pom_fail(error, POM_ERR_CONFLICT, "CA %s has no next generation: begin with \"pomona ca rekey\"", ca);
	if (has(states, n, GENERATION_RETIRING))
		return pom_fail(error, POM_ERR_CONFLICT, "an older generation of CA %s is still retiring: end that with \"pomona ca rekey --finish\"", ca);
	return true;
}

bool ca_check_finish(const char *ca, const enum generation_state *states, size_t n, GError **error)
{
	if (has(states, n, GENERATION_RETIRING))
		return true;
	if (has(states, n, GENERATION_NEXT))
		return pom_fail(error, POM_ERR_CONFLICT, "the next generation of CA %s does not issue yet: run \"pomona ca rekey --activate\" first", ca);
	return pom_fail(error, POM_ERR_CONFLICT, "no rekey of CA %s is running", ca);
}

bool ca_check_import(const struct cert_info *info, bool has_ra, int64_t now_s, GError **error)
{
	if (!info->is_ca)
		return pom_fail(error, POM_ERR_CA, "%s is not a CA certificate (its basicConstraints do not say CA:TRUE)", info->subject);
	if (info->key_usage != UINT32_MAX && !(info->key_usage & KU_KEY_CERT_SIGN))
		return pom_fail(error, POM_ERR_CA, "%s must not sign certificates: its keyUsage lacks keyCertSign", info->subject);
	if (info->not_after < now_s)
		return pom_fail(error, POM_ERR_CA, "%s has expired", info->subject);
	if (info->not_before > now_s + CA_BACKDATE_S)
		return pom_fail(error, POM_ERR_CA, "%s is not valid yet", info->subject);
	if (info->key_type == EVP_PKEY_RSA && info->key_bits < 2048)
		return pom_fail(error, POM_ERR_CA, "%s has an RSA key of %d bits: at least 2048 are needed, Apple devices refuse less", info->subject, info->key_bits);
	if (info->key_type != EVP_PKEY_RSA && info->key_type != EVP_PKEY_EC)
		return pom_fail(error, POM_ERR_CA, "%s has a key that is neither RSA nor EC", info->subject);
	if (info->key_type == EVP_PKEY_EC && !has_ra)
		return pom_fail(error, POM_ERR_CA, "%s has an EC key, which SCEP messages cannot be encrypted to: let an RSA RA stand beside it (--ra)", info->subject);
	if (!has_ra && info->key_usage != UINT32_MAX && (info->key_usage & (KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT)) != (KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT))
		return pom_fail(error, POM_ERR_CA, "%s lacks digitalSignature or keyEncipherment in its keyUsage (RFC 8894 §2.1.2): let an RA stand beside it (--ra)", info->subject);
	return true;
}

int ca_reason_code(const char *name)
{
	static const char *const names[] = {
		"unspecified", "keyCompromise", "cACompromise", "affiliationChanged", "superseded", "cessationOfOperation", "certificateHold", "", "removeFromCRL",
		"privilegeWithdrawn", "aACompromise",
	};

	for (int i = 0; i < (int)G_N_ELEMENTS(names); i++)
		if (*names[i] && !g_strcmp0(names[i], name))
			return i;
	return -1;
}

void ca_plan_dates(struct cert_plan *plan, int64_t now_s, int lifetime_days, int64_t issuer_not_before, int64_t issuer_not_after)
{
	plan->not_before = MAX(now_s - CA_BACKDATE_S, issuer_not_before);
	/* Both ends count (RFC 5280 §4.1.2.5), hence one second less. */
	plan->not_after = plan->not_before + (int64_t)lifetime_days * 86400 - 1;
	if (issuer_not_after)
		plan->not_after = MIN(plan->not_after, issuer_not_after);
}

void ca_plan_serial(struct cert_plan *plan, const uint8_t random[16])
{
	memcpy(plan->serial, random, 16);
	plan->serial[0] &= 0x7f;
	/* A first octet of zero would shorten the encoding; a set bit keeps every serial at 16 octets. */
	plan->serial[0] |= 0x40;
	plan->serial_len = 16;
}

int64_t ca_renew_at(int64_t not_before, int64_t not_after)
{
	return not_before + (not_after - not_before) / 3 * 2;
}

int ca_expiry_step(int64_t not_after_s, int64_t now_s)
{
	static const int steps[] = {1, 10, 30, 60};

	if (now_s > not_after_s)
		return 0;
	for (unsigned i = 0; i < G_N_ELEMENTS(steps); i++)
		if (not_after_s - now_s <= (int64_t)steps[i] * 86400)
			return steps[i];
	return -1;
}
