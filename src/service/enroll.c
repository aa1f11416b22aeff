/* Enrollment links and their profile. */
#include "core/enroll.h"

#include <string.h>

#include "core/ota.h"
#include "service/enroll.h"
#include "service/library.h"
#include "service/profile_sign.h"
#include "service/shared.h"

enum { TOKEN_BYTES = 24, SECRET_BYTES = 24, TTL_MAX_S = 365 * 86400, NAME_MAX_LEN = 255 };

void link_made_clear(struct link_made *made)
{
	g_clear_pointer(&made->id, g_free);
	g_clear_pointer(&made->url, g_free);
	g_clear_pointer(&made->profile_url, g_free);
	g_clear_pointer(&made->ota_url, g_free);
}

static bool check_request(const struct link_request *request, GError **error)
{
	const char *const names[] = {request->user_name, request->device_name};

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		if (names[i] && (strlen(names[i]) > NAME_MAX_LEN || !g_utf8_validate(names[i], -1, NULL)))
			return pom_fail(error, POM_ERR_BAD_REQUEST, "%s must be UTF-8 text of at most %d bytes", i ? "device" : "user", NAME_MAX_LEN);
	if (request->ttl_s < 0 || request->ttl_s > TTL_MAX_S)
		return pom_fail(error, POM_ERR_BAD_REQUEST, "ttl must be between 1 second and 365 days");
	return service_email_check(request->user_email, error);
}

/* What the settings say that profiles say for good; GET_TOKEN: that this server has GetToken too. transfer full. */
static char *served_now(struct service *service, bool get_token)
{
	struct enroll_served served;
	char *text;

	enroll_served_init(&served, service->settings.url, service->settings.access_rights);
	served.mdm_url = g_strdup(service->settings.mdm_url);
	served.sign_message = !service->settings.unsigned_messages;
	if (!get_token)
		enroll_served_drop(&served, ENROLL_CAPABILITY_TOKEN);
	text = enroll_served_format(&served);
	enroll_served_clear(&served);
	return text;
}

void service_link_draft(struct service *service, int64_t ttl_s, bool watch, struct link_draft *ret)
{
	g_autofree char *secret = pom_random_hex(service->random, SECRET_BYTES);
	int64_t now_ms = service_now_ms(service);
	g_autoptr(ca_set) set = service_ca_set(service);
	struct link_new *link = &ret->link;

	*ret = (struct link_draft){
		.id = pom_id_new(service->clock, service->random), .challenge = pom_id_new(service->clock, service->random), .token = pom_random_token(service->random, TOKEN_BYTES),
		.served = served_now(service, !watch),
	};
	ret->common_name = enroll_common_name(ret->id.text);
	ret->sealed = seal_close(&service->seal, "challenge", ret->challenge.text, "secret", secret, strlen(secret));
	*link = (struct link_new){
		.id = ret->id.text, .challenge_id = ret->challenge.text, .common_name = ret->common_name, .secret_sealed = ret->sealed, .created_ms = now_ms, .expires_ms = now_ms + ttl_s * 1000,
		.served = ret->served,
		/* The roots of now are in every profile that the link will give. */
		.anchor = service->settings.enroll_include_root ? ca_set_newest_anchor(set) : 0,
	};
	cert_sha256(ret->token, strlen(ret->token), link->token_hash);
	cert_sha256(secret, strlen(secret), link->secret_hash);
	explicit_bzero(secret, strlen(secret));
}

void link_draft_clear(struct link_draft *draft)
{
	g_clear_pointer(&draft->token, g_free);
	g_clear_pointer(&draft->common_name, g_free);
	g_clear_pointer(&draft->served, g_free);
	g_clear_pointer(&draft->sealed, g_bytes_unref);
}

bool service_link_new(struct service *service, const struct link_request *request, struct link_made *ret, GError **error)
{
	struct link_draft draft;
	bool ok;

	if (!check_request(request, error))
		return false;
	service_link_draft(service, request->ttl_s ? request->ttl_s : service->settings.link_ttl_s, false, &draft);
	draft.link.user_name = request->user_name;
	draft.link.user_email = request->user_email;
	draft.link.device_name = request->device_name;
	ok = store_link_add(service->store, &draft.link, error);
	if (ok)
		*ret = (struct link_made){
			g_strdup(draft.id.text), g_strdup_printf("%s/enroll/%s%s", service->settings.url, draft.token, request->ota ? "/ota" : ""), g_strdup_printf("%s/enroll/%s/profile", service->settings.url, draft.token),
			g_strdup_printf("%s/ota/%s", service->settings.url, draft.token), draft.link.expires_ms,
		};
	link_draft_clear(&draft);
	return ok;
}

bool service_link_load(struct service *service, const char *token, struct subject *subject, struct link_load *ret, GError **error)
{
	uint8_t hash[32];

	cert_sha256(token, strlen(token), hash);
	if (!service_shared_look(service, error) || !store_link_load(service->store, hash, ret, error))
		return false;
	g_strlcpy(subject->detail, ret->facts.id ? ret->facts.id : "", sizeof(subject->detail));
	if (link_check(&ret->facts, service_now_ms(service), error))
		return true;
	link_load_clear(ret);
	return false;
}

char *service_new_topic(struct service *service, GError **error)
{
	char *topic;

	pthread_rwlock_rdlock(&service->topics_lock);
	topic = g_strdup(service->topics ? service->topics[0] : NULL);
	pthread_rwlock_unlock(&service->topics_lock);
	if (!topic)
		pom_fail(error, POM_ERR_NO_PUSH_CERT, "no push certificate has been imported: run \"pomona push-cert import\" first");
	return topic;
}

GBytes *service_profile_finish(struct service *service, plist *tree, GError **error)
{
	g_autoptr(GBytes) plain = mobileconfig_check(tree, error) ? plist_format(tree, error) : NULL;

	if (!plain || service->settings.enroll_unsigned)
		return g_steal_pointer(&plain);
	return service_profile_sign(service, plain, error);
}

/* The certificate whose SHA-1 devices compare: the only one of GetCACert, or the root at the end of a chain. */
static const struct authority *fingerprinted(const struct ca_set *set, const struct generation *g)
{
	const struct scep_profile *profile = ca_set_profile(set, PROFILE_DEFAULT)->profile;

	return profile->mode == PROFILE_MODE_CHAIN || g->ra ? g->root : g->issuing;
}

/* A key and certificate made here, in the container that Apple devices read; the key is not kept. */
static bool make_pkcs12(struct service *service, const struct ca_set *set, const struct enroll_wish *wish, struct enroll_profile *profile, char **ret_password, GError **error)
{
	bool relayed = !strcmp(service->settings.identity_source, "scep-proxy") && !wish->transport;
	const struct outside_ca *outside = relayed ? ca_set_outside(set, service->settings.identity_outside) : NULL;
	const struct profile_entry *entry = ca_set_profile(set, PROFILE_DEFAULT);
	const struct generation *g = ca_set_in_state(set, entry->profile->ca, GENERATION_ACTIVE);
	g_autoptr(signer) key = signer_generate_rsa((unsigned)service->settings.key_size, error);
	g_autoptr(GBytes) spki = key ? cert_spki_format(signer_get_key(key)) : NULL, der = NULL;
	g_autoptr(GPtrArray) chain = NULL;
	g_autoptr(scep_record) record = NULL;
	g_autoptr(X509) leaf = NULL;
	uint8_t spki_sha256[32];
	struct issue_plan plan = {
		.generation = g, .profile = entry->profile, .spki = spki, .spki_sha256 = spki_sha256, .link_id = wish->transport ? NULL : wish->link_id, .ota_link_id = wish->transport ? wish->link_id : NULL,
		.device_id = wish->device_id, .days = wish->transport ? OTA_IDENTITY_DAYS : 0, .for_enrollment_id = wish->enrollment_id, .for_epoch = wish->epoch,
		.transaction_id = wish->enrollment_id ? wish->enrollment_id : wish->link_id, .actor = "enroll", .action = "certificate.issue", .may_enroll = !wish->enrollment_id && !wish->transport,
	};

	if (!key)
		return false;
	if (!g)
		return pom_fail(error, POM_ERR_CONFIG, "CA \"%s\" is not active", entry->profile->ca);
	cert_sha256(g_bytes_get_data(spki, NULL), g_bytes_get_size(spki), spki_sha256);
	record = wish->record ? scep_record_parse(wish->record, error)
	                      : scep_record_from_profile(entry->profile, &(struct record_values){service->settings.organization, wish->common_name, wish->link_id, NULL, PROFILE_DEFAULT}, error);
	if (!record)
		return false;
	plan.record = record;
	if (relayed) {
		if (!outside)
			return pom_fail(error, POM_ERR_CONFIG, "identity.outside names no outside CA: describe it with \"pomona outside-ca set\"");
		if (!service_outside_identity(service, outside, &plan, key, &der, &chain, error))
			return false;
	} else {
		chain = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);
		X509_up_ref(g->issuing->cert);
		g_ptr_array_add(chain, g->issuing->cert);
		der = service_issue(service, &plan, NULL, error);
	}
	leaf = der ? cert_parse_der(g_bytes_get_data(der, NULL), g_bytes_get_size(der), error) : NULL;
	if (!leaf)
		return false;
	*ret_password = pom_random_token(service->random, 18);
	profile->pkcs12 = pkcs12_make(key, leaf, (X509 *const *)chain->pdata, chain->len, "Device identity", *ret_password, service->settings.pkcs12_modern, error);
	profile->pkcs12_password = *ret_password;
	return profile->pkcs12 != NULL;
}

/* Straight at the outside CA: its address, its challenge. */
static bool point_outside(struct service *service, const struct ca_set *set, struct enroll_profile *profile, char **ret_challenge, GError **error)
{
	const struct outside_ca *outside = ca_set_outside(set, service->settings.identity_outside);

	if (!outside)
		return pom_fail(error, POM_ERR_CONFIG, "identity.outside names no outside CA: describe it with \"pomona outside-ca set\"");
	if (!service_outside_challenge(service, outside, ret_challenge, error))
		return false;
	profile->scep_url = outside->url;
	profile->challenge = *ret_challenge;
	profile->ca_fingerprint = NULL;
	return true;
}

GBytes *service_ca_fingerprint(struct service *service)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	const struct generation *g = ca_set_in_state(set, ca_set_profile(set, PROFILE_DEFAULT)->profile->ca, GENERATION_ACTIVE);

	return g && service->settings.enroll_fingerprint ? g_bytes_new(fingerprinted(set, g)->info->sha1, 20) : NULL;
}

plist *service_enroll_tree(struct service *service, const struct enroll_wish *wish, GError **error)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	const struct generation *g = ca_set_in_state(set, ca_set_profile(set, PROFILE_DEFAULT)->profile->ca, GENERATION_ACTIVE);
	g_autoptr(GPtrArray) anchors = ca_set_anchors(set), anchor_ders = g_ptr_array_new();
	/* The link in the path says in the timeline whose requests they are, also of those that say nothing else. */
	g_autofree char *scep_url = g_strdup_printf("%s/scep/" PROFILE_DEFAULT "/%s", wish->served->url, wish->link_id);
	g_autoptr(GBytes) fingerprint = NULL;
	char *secret = NULL;
	const char *source = service->settings.identity_source;
	struct enroll_profile profile = {
		.link_id = wish->link_id, .organization = service->settings.organization, .served = wish->served, .topic = wish->topic, .common_name = wish->common_name,
		.scep_url = scep_url, .challenge = wish->challenge, .key_size = service->settings.key_size,
	};
	plist *tree = NULL;
	bool ok = true;

	for (guint i = 0; !wish->transport && service->settings.enroll_include_root && i < anchors->len; i++)
		g_ptr_array_add(anchor_ders, ((const struct authority *)g_ptr_array_index(anchors, i))->der);
	profile.anchors = (GBytes *const *)anchor_ders->pdata;
	profile.n_anchors = anchor_ders->len;
	if (!g) {
		pom_fail(error, POM_ERR_CONFIG, "the CA of the default SCEP profile is not active");
		return NULL;
	}
	profile.ca_fingerprint = fingerprint = service_ca_fingerprint(service);
	if (!strcmp(source, "pkcs12") || !strcmp(source, "scep-proxy"))
		ok = make_pkcs12(service, set, wish, &profile, &secret, error);
	else if (!strcmp(source, "scep-direct") && !wish->transport)
		ok = point_outside(service, set, &profile, &secret, error);
	if (ok)
		tree = wish->transport ? enroll_transport_build(&profile) : enroll_profile_build(&profile);
	g_clear_pointer(&profile.pkcs12, g_bytes_unref);
	if (secret)
		explicit_bzero(secret, strlen(secret));
	g_free(secret);
	return tree;
}

bool service_keep_served(struct service *service, GError **error)
{
	struct enroll_served served;
	g_autofree char *text = NULL;

	/* Those releases had neither GetToken nor a URL of its own for client certificates. */
	enroll_served_init(&served, service->settings.url, service->settings.access_rights);
	enroll_served_drop(&served, ENROLL_CAPABILITY_TOKEN);
	text = enroll_served_format(&served);
	enroll_served_clear(&served);
	return store_links_serve(service->store, text, error);
}

char *service_link_secret(struct service *service, const struct link_load *link, GError **error)
{
	g_autoptr(GBytes) secret = seal_open(&service->seal, "challenge", link->challenge_id, "secret", link->secret_sealed, error);

	return secret ? g_strndup(g_bytes_get_data(secret, NULL), g_bytes_get_size(secret)) : NULL;
}

plist *service_link_tree(struct service *service, const struct link_load *link, GError **error)
{
	g_autofree char *common_name = enroll_common_name(link->facts.id), *topic = service_new_topic(service, error), *secret = topic ? service_link_secret(service, link, error) : NULL;
	struct enroll_served served = {0};
	plist *tree = NULL;

	if (!secret)
		return NULL;
	if (enroll_served_parse(link->served, &served, error))
		tree = service_enroll_tree(service, &(struct enroll_wish){.link_id = link->facts.id, .common_name = common_name, .topic = topic, .challenge = secret, .served = &served, .device_id = link->device_id}, error);
	explicit_bzero(secret, strlen(secret));
	enroll_served_clear(&served);
	return tree;
}

GBytes *service_enroll_profile(struct service *service, const char *token, struct subject *subject, GError **error)
{
	struct link_load link = {0};
	g_autoptr(plist) tree = NULL;

	if (!service_link_load(service, token, subject, &link, error))
		return NULL;
	tree = service_link_tree(service, &link, error);
	link_load_clear(&link);
	return tree ? service_profile_finish(service, tree, error) : NULL;
}
