#include "core/ca.h"

#include <string.h>

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
