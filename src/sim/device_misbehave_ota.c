/* Misbehaviors on the way to an enrollment: over the air, and of a watch and its phone. Each ends with an enrollment that works, so that it is known that a refusal was not
 * for another reason. */
#include <string.h>

#include "base/error.h"
#include "sim/device_misbehave.h"

#define RIGHT "the right way after that"

enum { COMMAND_WAIT_S = 30 };

/* ---- what they have in common ---- */

static bool post(struct device *d, const ota_service *service, const struct ota_step *step, const char *what, int wanted, struct sim_reply *ret, GError **error)
{
	g_autoptr(plist) attributes = ota_attributes(d, service, step);

	return ota_post(d, service->url, attributes, step, ret, error) && misbehavior_check(d, what, ret->status, wanted, error);
}

/* One POST whose answer does not matter otherwise. */
static bool try(struct device *d, const ota_service *service, const struct ota_step *step, const char *what, int wanted, GError **error)
{
	g_auto(sim_reply) reply = {0};

	return post(d, service, step, what, wanted, &reply, error);
}

static struct ota_step step_of(const ota_service *service)
{
	return (struct ota_step){.challenge = service->challenge, .attributes = OTA_USUAL};
}

/* Phase 2 as it should be; the identity belongs to the device. */
static const struct sim_identity *identify(struct device *d, const ota_service *service, GError **error)
{
	const struct ota_step step = step_of(service);
	g_auto(sim_reply) reply = {0};

	return post(d, service, &step, "phase 2", 200, &reply, error) ? ota_take_identity(d, &reply, error) : NULL;
}

static bool fetch_final(struct device *d, const ota_service *service, const struct sim_identity *identity, GError **error)
{
	const struct ota_step step = {.signer = identity, .attributes = OTA_USUAL};
	g_auto(sim_reply) reply = {0};

	return post(d, service, &step, "phase 3", 200, &reply, error) && ota_take_profile(d, &reply, error);
}

static bool enroll_rightly(struct device *d, GError **error)
{
	return device_enroll(d, error) && misbehavior_idle(d, RIGHT, 200, error);
}

static bool need_factory(const struct device *d, GError **error)
{
	return d->factory || pom_fail(error, POM_ERR_USAGE, "%s takes a factory identity: --factory-ca DIR", d->options->misbehave);
}

/* ---- phases and links ---- */

bool ota_skip(struct device *d, struct device *other, GError **error)
{
	g_autoptr(ota_service) service = ota_fetch(d, error);
	g_autoptr(EVP_PKEY) key = sim_key_new();
	g_autoptr(X509) cert = sim_cert_new(key, "Made by the device itself", NULL, NULL, NULL, NULL, 30);
	struct sim_identity *own = sim_identity_new(key, cert);
	const struct ota_step by_factory = {.attributes = OTA_USUAL}, by_own = {.signer = own, .attributes = OTA_USUAL};
	bool ok = service && try(d, service, &by_factory, "phase 3 signed with the factory identity", 403, error) &&
		  try(d, service, &by_own, "phase 3 signed with a self-made identity", 403, error) && enroll_rightly(d, error);

	sim_identity_free(own);
	return ok;
}

bool ota_other_link(struct device *d, struct device *other, GError **error)
{
	g_autoptr(ota_service) service = ota_fetch(d, error), second = service ? ota_fetch(other, error) : NULL;
	struct ota_step step;

	if (!second)
		return false;
	step = step_of(second);
	return try(d, service, &step, "phase 2 with the challenge of another link", 403, error) && enroll_rightly(d, error) && enroll_rightly(other, error);
}

bool ota_foreign_identity(struct device *d, struct device *other, GError **error)
{
	g_autoptr(ota_service) service = ota_fetch(d, error), second = service ? ota_fetch(other, error) : NULL;
	const struct sim_identity *own = second ? identify(d, service, error) : NULL, *foreign = own ? identify(other, second, error) : NULL;
	const struct ota_step as_other = {.signer = foreign, .attributes = OTA_USUAL}, as_own = {.signer = own, .attributes = OTA_USUAL};

	return foreign && try(d, service, &as_other, "phase 3 signed with the identity of another device", 403, error) &&
	       try(other, service, &as_other, "phase 3 of another device at this link", 403, error) && try(d, second, &as_own, "phase 3 at the link of another device", 403, error) &&
	       enroll_rightly(d, error) && enroll_rightly(other, error);
}

bool ota_wrong_challenge(struct device *d, struct device *other, GError **error)
{
	g_autoptr(ota_service) service = ota_fetch(d, error);
	struct ota_step guessed, none;

	if (!service)
		return false;
	guessed = none = step_of(service);
	guessed.challenge = "0000-0000-0000-0000";
	none.challenge = NULL;
	return try(d, service, &guessed, "phase 2 with a guessed challenge", 403, error) && try(d, service, &none, "phase 2 without a challenge", 403, error) && enroll_rightly(d, error);
}

bool ota_second_device(struct device *d, struct device *other, GError **error)
{
	g_autoptr(ota_service) service = ota_fetch(d, error);
	const struct sim_identity *identity = service ? identify(d, service, error) : NULL;
	g_autoptr(device) second = device_new(d->options, d->url, NULL);
	struct ota_step step, third;

	if (!identity || !device_be_born(second, error) || !device_trust(second, error))
		return false;
	step = step_of(service);
	third = (struct ota_step){.signer = identity, .attributes = OTA_USUAL};
	return try(second, service, &step, "phase 2 of a second device", 403, error) && try(second, service, &third, "phase 3 of a second device with the first one's identity", 403, error) &&
	       fetch_final(d, service, identity, error) && enroll_rightly(d, error);
}

bool ota_repeat(struct device *d, struct device *other, GError **error)
{
	g_autoptr(ota_service) service = ota_fetch(d, error);
	const struct sim_identity *first = service ? identify(d, service, error) : NULL, *second = first ? identify(d, service, error) : NULL;

	return second && fetch_final(d, service, first, error) && fetch_final(d, service, second, error) && fetch_final(d, service, second, error) && device_get_identity(d, error) &&
	       device_authenticate(d, error) && device_update_token(d, error) && misbehavior_idle(d, "an Idle after everything twice", 200, error);
}

/* ---- what is told ---- */

bool ota_minimal(struct device *d, struct device *other, GError **error)
{
	d->minimal = true;
	return enroll_rightly(d, error);
}

bool ota_maximal(struct device *d, struct device *other, GError **error)
{
	g_autoptr(ota_service) service = ota_fetch(d, error);
	struct ota_step step;

	if (!service)
		return false;
	step = step_of(service);
	step.attributes = OTA_MAXIMAL;
	return try(d, service, &step, "phase 2 with all attributes", 200, error) && enroll_rightly(d, error);
}

bool ota_modern(struct device *d, struct device *other, GError **error)
{
	d->modern_signature = true;
	return enroll_rightly(d, error);
}

/* ---- who signs ---- */

bool ota_foreign_factory(struct device *d, struct device *other, GError **error)
{
	g_autoptr(sim_factory) factory = NULL;
	g_autoptr(ota_service) service = NULL;
	g_autoptr(sim_certs) chain = NULL;
	struct sim_identity *identity;
	struct ota_step step;
	bool ok;

	if (!need_factory(d, error) || !(service = ota_fetch(d, error)))
		return false;
	factory = sim_factory_new(EVP_PKEY_get_bits(d->factory->key) < 2048);
	chain = sim_factory_chain(factory);
	identity = sim_factory_build(factory, d->udid, d->serial);
	step = step_of(service);
	step.signer = identity;
	step.others = chain;
	ok = try(d, service, &step, "phase 2 signed in a foreign factory", 403, error);
	/* With the certificate of the right CA along, which has not issued it. */
	step.others = d->factory_chain;
	ok = ok && try(d, service, &step, "phase 2 signed in a foreign factory, with the right CA's certificate", 403, error) && enroll_rightly(d, error);
	sim_identity_free(identity);
	return ok;
}

/* A certificate for D over a new key, signed with ISSUER. transfer full. */
static struct sim_identity *make_identity(const struct device *d, X509 *issuer, EVP_PKEY *issuer_key, bool ca)
{
	g_autoptr(EVP_PKEY) key = sim_key_new();
	const struct sim_cert_plan plan = {.key = key, .cn = d->udid, .serial_number = d->serial, .issuer = issuer, .issuer_key = issuer_key, .ca = ca, .from_days = -1, .to_days = 30, .md = EVP_sha256()};
	g_autoptr(X509) cert = sim_cert_make(&plan);

	return sim_identity_new(key, cert);
}

static bool try_signer(struct device *d, const ota_service *service, const struct sim_identity *signer, const sim_certs *others, const char *what, GError **error)
{
	struct ota_step step = step_of(service);

	step.signer = signer;
	step.others = others;
	return try(d, service, &step, what, 403, error);
}

bool ota_factory_leaf(struct device *d, struct device *other, GError **error)
{
	g_autoptr(sim_factory) factory = d->options->factory_dir ? sim_factory_open(d->options->factory_dir, error) : NULL;
	g_autoptr(ota_service) service = NULL;
	g_autoptr(sim_certs) chain = NULL;
	struct sim_identity *by_leaf, *is_ca;
	bool ok;

	if (!need_factory(d, error) || !factory || !(service = ota_fetch(d, error)))
		return false;
	by_leaf = make_identity(d, d->factory->cert, d->factory->key, false);
	is_ca = make_identity(d, factory->ca, factory->key, true);
	chain = sim_factory_chain(factory);
	sk_X509_push(chain, X509_dup(d->factory->cert));
	ok = try_signer(d, service, by_leaf, chain, "phase 2 signed with what a factory identity has issued", error) &&
	     try_signer(d, service, is_ca, d->factory_chain, "phase 2 signed with a factory identity that is a CA", error) && enroll_rightly(d, error);
	sim_identity_free(by_leaf);
	sim_identity_free(is_ca);
	return ok;
}

bool ota_no_certificates(struct device *d, struct device *other, GError **error)
{
	g_autoptr(ota_service) service = ota_fetch(d, error);
	struct ota_step step;

	if (!service)
		return false;
	step = step_of(service);
	step.without_certificates = true;
	return try(d, service, &step, "phase 2 without any certificate", 400, error) && enroll_rightly(d, error);
}

/* ---- watches: OTHER is the phone ---- */

/* The phone enrolls, and waits until it has been asked whether it is supervised: a server need not believe it before. */
static bool prepare_phone(struct device *phone, GError **error)
{
	if (!device_enroll(phone, error))
		return false;
	device_say(phone, "misbehavior", json_pack("{s:s}", "name", phone->options->misbehave), "waits for a command: send it DeviceInformation");
	for (int i = 0; i < COMMAND_WAIT_S; i++) {
		if (!device_connect(phone, error))
			return false;
		if (phone->n_answered)
			return true;
		if (!sim_sleep_ms(phone->options->stop, 1000))
			break;
	}
	return pom_fail(error, POM_ERR_CONFLICT, "%s needs a command: DeviceInformation with the query IsSupervised was not queued for the phone in %d seconds", phone->options->misbehave, COMMAND_WAIT_S);
}

static bool ask(struct device *watch, GBytes *token, const char *what, int wanted, struct sim_reply *ret, GError **error)
{
	return watch_ask(watch, token, ret, error) && misbehavior_check(watch, what, ret->status, wanted, error);
}

/* The watch TOKEN belongs to enrolls with it. */
static bool enroll_watch(struct device *watch, GBytes *token, GError **error)
{
	g_auto(sim_reply) reply = {0};

	return ask(watch, token, "the right pairing token", 200, &reply, error) && device_take_profile(watch, reply.body, error) && device_get_identity(watch, error) &&
	       device_authenticate(watch, error) && device_update_token(watch, error) && misbehavior_idle(watch, RIGHT, 200, error);
}

bool watch_replay(struct device *d, struct device *other, GError **error)
{
	g_autofree char *security_token = prepare_phone(other, error) ? watch_security_token(d, error) : NULL;
	g_autoptr(GBytes) token = security_token ? watch_get_token(other, d->udid, security_token, error) : NULL;
	g_auto(sim_reply) reply = {0};
	g_autoptr(plist) message = NULL;
	g_auto(sim_reply) again = {0};

	if (!token || !enroll_watch(d, token, error))
		return false;
	message = watch_token_message(other, other->udid, d->udid, security_token);
	return ask(d, token, "the same pairing token again", 403, &reply, error) && device_tell(other, DEVICE_CHECKIN, message, &again, error) &&
	       misbehavior_check(other, "GetToken with the same security token again", again.status, 403, error);
}

bool watch_foreign_token(struct device *d, struct device *other, GError **error)
{
	g_autoptr(device) second = device_new(d->options, d->url, NULL);
	g_autofree char *security_token = prepare_phone(other, error) ? watch_security_token(d, error) : NULL;
	g_autoptr(GBytes) token = security_token ? watch_get_token(other, d->udid, security_token, error) : NULL, broken = NULL;
	g_auto(sim_reply) foreign = {0}, damaged = {0};
	uint8_t *bytes;
	gsize len;

	if (!token)
		return false;
	device_become(second, SIM_WATCH);
	if (!device_be_born(second, error) || !device_trust(second, error))
		return false;
	len = g_bytes_get_size(token);
	bytes = g_memdup2(g_bytes_get_data(token, NULL), len);
	if (len)
		bytes[len / 2] ^= 1;
	broken = g_bytes_new_take(bytes, len);
	return ask(second, token, "the pairing token of another watch", 403, &foreign, error) && ask(d, broken, "a damaged pairing token", 403, &damaged, error) && enroll_watch(d, token, error);
}

static bool ask_token(struct device *phone, const char *phone_udid, const char *watch_udid, const char *security_token, const char *what, GError **error)
{
	g_autoptr(plist) message = watch_token_message(phone, phone_udid, watch_udid, security_token);
	g_auto(sim_reply) reply = {0};

	return device_tell(phone, DEVICE_CHECKIN, message, &reply, error) && misbehavior_check(phone, what, reply.status, 403, error);
}

bool watch_wrong_phone(struct device *d, struct device *other, GError **error)
{
	g_autofree char *security_token = prepare_phone(other, error) ? watch_security_token(d, error) : NULL, *guessed = g_uuid_string_random();
	g_autoptr(GBytes) token = NULL;

	if (!security_token || !ask_token(other, d->udid, d->udid, security_token, "GetToken for another phone", error) ||
	    !ask_token(other, other->udid, other->udid, security_token, "GetToken for another watch", error) ||
	    !ask_token(other, other->udid, d->udid, guessed, "GetToken with a guessed security token", error))
		return false;
	token = watch_get_token(other, d->udid, security_token, error);
	return token && enroll_watch(d, token, error);
}
