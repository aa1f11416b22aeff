/* Devices and everything that they will send, made before the clock runs. */
#include <string.h>

#include "bench.h"
#include "sim/scep_reply.h"
#include "sim/sim_message.h"

enum { N_KEYS = 16, N_SLOTS = 16, UNLOCK_TOKEN = 300 };

/* What makes a client of the iOS shape choose AES and SHA-256. */
#define MODERN_CAPS "SCEPStandard\nAES\nSHA-256\n"

static void make_key(void *ctx, size_t i)
{
	struct fleet *fleet = ctx;
	EVP_PKEY *key = sim_key_new();
	const struct sim_scep_choice ios = {.form = sim_scep_form_find("ios")}, macos = {.form = sim_scep_form_find("macos")};
	g_autoptr(GError) error = NULL;

	fleet->keys->pdata[i] = key;
	fleet->templates->pdata[2 * i] = sim_scep_new(&ios, key, MODERN_CAPS, &error);
	fleet->templates->pdata[2 * i + 1] = sim_scep_new(&macos, key, MODERN_CAPS, &error);
	if (error)
		bench_die("%s", error->message);
}

struct fleet *fleet_new(struct world *world, size_t n)
{
	struct fleet *fleet = g_new0(struct fleet, 1);

	fleet->world = world;
	fleet->n = n;
	fleet->devices = g_new0(struct device, n);
	fleet->keys = g_ptr_array_new_with_free_func((GDestroyNotify)EVP_PKEY_free);
	fleet->templates = g_ptr_array_new_with_free_func((GDestroyNotify)sim_scep_free);
	g_ptr_array_set_size(fleet->keys, N_KEYS);
	g_ptr_array_set_size(fleet->templates, 2 * N_KEYS);
	bench_parallel(N_KEYS, make_key, fleet);
	for (size_t i = 0; i < n; i++) {
		struct device *device = &fleet->devices[i];

		g_snprintf(device->udid, sizeof(device->udid), "bench%035zu", i);
		device->key = fleet->keys->pdata[i / 2 % N_KEYS];
		device->macos = i % 2;
	}
	return fleet;
}

void fleet_free(struct fleet *fleet)
{
	for (size_t i = 0; i < fleet->n; i++) {
		struct device *device = &fleet->devices[i];

		X509_free(device->cert);
		g_free(device->challenge);
		g_free(device->scep_path);
		g_clear_pointer(&device->scep, g_bytes_unref);
		g_clear_pointer(&device->authenticate, g_bytes_unref);
		g_clear_pointer(&device->token_update, g_bytes_unref);
		g_clear_pointer(&device->idle, g_bytes_unref);
	}
	g_free(fleet->devices);
	g_ptr_array_unref(fleet->keys);
	g_ptr_array_unref(fleet->templates);
	sim_scep_ca_clear(&fleet->ca);
	g_free(fleet);
}

/* ---- requests ---- */

static GBytes *request(const char *method, const char *path, const char *headers, const void *body, size_t len)
{
	g_autoptr(GString) text = g_string_new(NULL);

	g_string_printf(text, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: MDM/1.0\r\nAccept: */*\r\n%s", method, path, headers);
	if (body)
		g_string_append_printf(text, "Content-Length: %zu\r\n", len);
	g_string_append(text, "\r\n");
	g_string_append_len(text, body ? body : "", (gssize)len);
	return g_string_free_to_bytes(g_steal_pointer(&text));
}

GBytes *fleet_request(const struct fleet *fleet, const struct device *device, bool checkin, const char *body)
{
	g_autoptr(GBytes) bytes = g_bytes_new(body, strlen(body));
	g_autofree char *signature = sim_mdm_signature(device->key, device->cert, bytes, false);
	g_autofree char *headers = g_strdup_printf("Content-Type: application/x-apple-aspen-mdm%s\r\nMdm-Signature: %s\r\n", checkin ? "-checkin" : "", signature);

	return request("PUT", "/mdm", headers, body, strlen(body));
}

GBytes *fleet_api_request(const struct fleet *fleet, const char *method, const char *path, const char *type, const char *body)
{
	g_autofree char *headers = g_strdup_printf("Authorization: Bearer %s\r\nContent-Type: %s\r\n", fleet->world->token, type);

	return request(method, path, headers, body, body ? strlen(body) : 0);
}

static void send_bytes(struct client *client, unsigned connection, GBytes *bytes)
{
	gsize len;
	const void *data = g_bytes_get_data(bytes, &len);

	client_send(client, connection, data, len);
}

/* ---- SCEP ---- */

/* One slot is two connections: the administrator makes a link, the device fetches its profile. */
struct linking {
	struct fleet *fleet;
	size_t next, of_slot[N_SLOTS];
	GBytes *sent[N_SLOTS], *link;
};

static void next_link(struct linking *l, struct client *client, unsigned slot)
{
	if (l->next == l->fleet->n)
		return;
	l->of_slot[slot] = l->next++;
	send_bytes(client, slot, l->link);
}

/* The text between BEFORE and the next END in BODY; transfer full. */
static char *cut(const struct client_reply *reply, const char *before, char end)
{
	const char *at = memmem(reply->body, reply->len, before, strlen(before)), *stop;

	at = at ? at + strlen(before) : NULL;
	stop = at ? memchr(at, end, (size_t)(reply->body + reply->len - at)) : NULL;
	if (!stop || reply->status / 100 != 2)
		bench_die("a reply with status %d is not as expected: %.*s", reply->status, (int)MIN(reply->len, 300), reply->body);
	return g_strndup(at, (gsize)(stop - at));
}

static void on_link(void *ctx, struct client *client, const struct client_reply *reply)
{
	struct linking *l = ctx;
	unsigned slot = reply->connection % N_SLOTS;

	if (reply->connection < N_SLOTS) {
		g_autofree char *token = cut(reply, "/enroll/", '"'), *path = g_strdup_printf("/enroll/%s/profile", token);

		/* The first of the two URLs is the page's: nothing follows its token. */
		l->sent[slot] = request("GET", path, "", NULL, 0);
		send_bytes(client, slot + N_SLOTS, l->sent[slot]);
		return;
	}
	g_clear_pointer(&l->sent[slot], g_bytes_unref);
	struct device *device = &l->fleet->devices[l->of_slot[slot]];
	g_autofree char *after = cut(reply, "<key>Challenge</key>", '/');

	device->challenge = g_strndup(strchr(after, '>') + 1, strcspn(strchr(after, '>') + 1, "<"));
	device->scep_path = cut(reply, "/scep/", '<');
	next_link(l, client, slot);
}

static void get_challenges(struct fleet *fleet)
{
	struct linking l = {.fleet = fleet};
	struct client *client = client_new(on_link, &l);

	l.link = fleet_api_request(fleet, "POST", "/api/v1/links", "application/json", "{}");
	client_open(client, fleet->world->admin_port, false, N_SLOTS);
	client_open(client, fleet->world->device_port, true, N_SLOTS);
	for (unsigned slot = 0; slot < N_SLOTS; slot++)
		next_link(&l, client, slot);
	client_run(client, 60);
	client_free(client);
	g_bytes_unref(l.link);
}

static void on_ca(void *ctx, struct client *client, const struct client_reply *reply)
{
	struct fleet *fleet = ctx;
	g_autoptr(GBytes) body = g_bytes_new(reply->body, reply->len);
	g_autoptr(GError) error = NULL;

	if (!sim_scep_ca_parse(reply->type, body, NULL, &fleet->ca, &error))
		bench_die("%s", error->message);
}

static void get_ca(struct fleet *fleet)
{
	struct client *client = client_new(on_ca, fleet);
	g_autoptr(GBytes) get = request("GET", "/scep?operation=GetCACert", "", NULL, 0);

	send_bytes(client, client_open(client, fleet->world->device_port, true, 1), get);
	client_run(client, 10);
	client_free(client);
}

/* The shape and key of device I, with its challenge and nonce; borrows all of them. */
static sim_scep transaction(const struct fleet *fleet, size_t i)
{
	const struct device *device = &fleet->devices[i];
	sim_scep scep = *(const sim_scep *)fleet->templates->pdata[2 * (i / 2 % N_KEYS) + device->macos];

	scep.challenge = device->challenge;
	memcpy(scep.nonce, device->nonce, sizeof(scep.nonce));
	scep.nonce_len = device->nonce_len;
	return scep;
}

static void build_scep(void *ctx, size_t i)
{
	static const struct sim_scep_wish wish = {.key_usage = 5};
	struct fleet *fleet = ctx;
	struct device *device = &fleet->devices[i];
	sim_scep scep = transaction(fleet, i);
	g_autofree char *path = NULL;
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) csr = sim_scep_csr(&scep, &wish, &error), message = csr ? sim_scep_request(&scep, SIM_SCEP_PKCS_REQ, fleet->ca.recipient, csr, &error) : NULL;
	gsize len;
	const void *data;

	if (!message)
		bench_die("%s", error->message);
	memcpy(device->nonce, scep.nonce, sizeof(device->nonce));
	device->nonce_len = scep.nonce_len;
	data = g_bytes_get_data(message, &len);
	path = g_strdup_printf("/scep/%s?operation=PKIOperation", device->scep_path);
	device->scep = request("POST", path, "Content-Type: application/x-pki-message\r\n", data, len);
}

void fleet_build_scep(struct fleet *fleet)
{
	get_ca(fleet);
	get_challenges(fleet);
	bench_parallel(fleet->n, build_scep, fleet);
}

void fleet_take_certificate(struct fleet *fleet, size_t i, const void *body, size_t len)
{
	sim_scep scep = transaction(fleet, i);
	g_autoptr(GBytes) reply = g_bytes_new_static(body, len);
	const struct sim_scep_question question = {.type = SIM_SCEP_PKCS_REQ};
	struct sim_scep_outcome outcome = {0};
	g_autoptr(GError) error = NULL;

	if (!sim_scep_open(&scep, &question, &fleet->ca, reply, &outcome, &error) || outcome.status != SIM_SCEP_SUCCESS)
		bench_die("SCEP: %s", error ? error->message : outcome.fail_info_text ? outcome.fail_info_text : "refused");
	fleet->devices[i].cert = g_steal_pointer(&outcome.cert);
	sim_scep_outcome_clear(&outcome);
}

/* ---- check-in ---- */

#define PLIST(content) \
	"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n" \
	"<plist version=\"1.0\">\n<dict>\n" content "</dict>\n</plist>\n"
#define STRING(key, value) "\t<key>" key "</key>\n\t<string>" value "</string>\n"
#define DATA(key, value) "\t<key>" key "</key>\n\t<data>" value "</data>\n"

static void build_checkins(void *ctx, size_t i)
{
	struct fleet *fleet = ctx;
	struct device *device = &fleet->devices[i];
	uint8_t unlock[UNLOCK_TOKEN] = {0}, push[32] = {0};
	g_autofree char *unlock_text = g_base64_encode(unlock, sizeof(unlock)), *push_text = NULL, *authenticate = NULL, *token = NULL, *idle = NULL;

	memcpy(push, &i, sizeof(i));
	push_text = g_base64_encode(push, sizeof(push));
	authenticate = g_strdup_printf(PLIST(STRING("MessageType", "Authenticate") STRING("Topic", "%s") STRING("UDID", "%s") STRING("OSVersion", "18.2.1") STRING("BuildVersion", "22C161")
	                                         STRING("ProductName", "iPhone15,2") STRING("SerialNumber", "S%010zu") STRING("DeviceName", "Bench") STRING("Model", "MQ0G3")
	                                             STRING("ModelName", "iPhone") STRING("IMEI", "35 000000 000000 0")), fleet->world->topic, device->udid, i);
	token = g_strdup_printf(PLIST(STRING("MessageType", "TokenUpdate") STRING("Topic", "%s") STRING("UDID", "%s") DATA("Token", "%s") STRING("PushMagic", "%032zX")
	                                  DATA("UnlockToken", "%s") "\t<key>AwaitingConfiguration</key>\n\t<false/>\n"), fleet->world->topic, device->udid, push_text, i, unlock_text);
	idle = g_strdup_printf(PLIST(STRING("UDID", "%s") STRING("Status", "Idle")), device->udid);
	device->authenticate = fleet_request(fleet, device, true, authenticate);
	device->token_update = fleet_request(fleet, device, true, token);
	device->idle = fleet_request(fleet, device, false, idle);
}

void fleet_build_checkins(struct fleet *fleet)
{
	bench_parallel(fleet->n, build_checkins, fleet);
}
