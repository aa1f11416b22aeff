/* A year in the life of a push certificate, with the clock as a parameter; and what is asked of the outside. */
#include <string.h>

#include "core/ca.h"
#include "db/testkit.h"
#include "keys/ca_make.h"
#include "service/push_cert.h"

#define TOPIC "com.apple.mgmt.External.11111111-2222-3333-4444-555555555555"
#define OTHER "com.apple.mgmt.External.other"
enum { DAY_S = 86400 };

static int64_t now;
static const struct pom_clock test_clock = {pom_clock_fixed_now_ms, &now};

struct fixture { char *url; struct store *store; struct service *service; unsigned n_calls; unsigned n_wakes; int status; const char *body; char *sent; };

static bool call(void *ctx, const struct outbound_request *request, struct outbound_reply *ret, GError **error)
{
	struct fixture *f = ctx;

	f->n_calls++;
	g_free(f->sent);
	f->sent = request->body ? g_strndup(g_bytes_get_data(request->body, NULL), g_bytes_get_size(request->body)) : NULL;
	*ret = (struct outbound_reply){.status = f->status, .body = g_bytes_new(f->body, strlen(f->body))};
	return true;
}

static void wake(void *ctx)
{
	((struct fixture *)ctx)->n_wakes++;
}

static struct outbound face = {.call = call};

static const struct seal test_seal = {.key = "0123456789012345678901234567890", .id = {1, 2, 3, 4}};

/* A store with its first CA. */
static void prepare(const char *url)
{
	struct seal seal = test_seal;
	struct store *store = store_open(url, &test_clock, pom_random_system(), NULL);

	seal.random = pom_random_system();
	g_assert_true(ca_make_first(store, &seal, &(struct ca_spec){.name = "default", .organization = "Test", .key_type = "ec", .root_bits = 2048, .issuing_bits = 2048}, &test_clock, pom_random_system(), NULL));
	store_close(store);
}

static void set_up(struct fixture *f, gconstpointer data)
{
	struct seal seal = test_seal;
	struct service_settings settings = {.url = g_strdup("https://mdm.example.org"), .organization = g_strdup("Test"), .push_signing_url = g_strdup("https://sign.example.org/"),
	                                    .push_chain_urls = g_strsplit("https://one.example.org/a.cer", " ", -1)};
	g_autoptr(GError) error = NULL;

	now = 1800000000000;
	seal.random = pom_random_system();
	settings.profile = scep_profile_new("default");
	f->url = test_database_new(prepare);
	f->store = store_open(f->url, &test_clock, pom_random_system(), NULL);
	f->service = service_new(f->store, &seal, settings, &test_clock, pom_random_system(), &error);
	g_assert_no_error(error);
	face.ctx = f;
	f->service->outbound = &face;
	f->service->push_changed = wake;
	f->service->wake_ctx = f;
	f->status = 200;
	f->body = "";
}

static void tear_down(struct fixture *f, gconstpointer data)
{
	service_free(f->service);
	store_close(f->store);
	test_database_free(f->url);
	g_free(f->sent);
}

/* Made once: it takes longer than all the rest. */
static struct signer *push_key(void)
{
	static struct signer *key;

	if (!key)
		key = signer_generate_rsa(2048, NULL);
	return key;
}

/* A certificate of TOPIC from now on for DAYS; imports it, with its key. */
static json_t *import(struct fixture *f, const char *topic, int days, bool force, GError **error)
{
	struct signer *key = push_key();
	g_autoptr(GBytes) subject = cert_name_format(NULL, "UID", topic, NULL), spki = cert_spki_format(signer_get_key(key));
	struct cert_plan plan = {.purpose = CERT_DEVICE, .serial = {1}, .serial_len = 1, .subject_der = subject, .spki = spki, .not_before = now / 1000 - 10 * DAY_S, .not_after = now / 1000 + (int64_t)days * DAY_S};
	g_autoptr(X509) cert = cert_build(&plan, NULL, NULL);
	g_autoptr(GBytes) secret = signer_format(key, NULL), der = NULL;

	g_assert_true(signer_sign_cert(key, cert, NULL));
	der = cert_format_der(cert);
	return service_push_cert_import(f->service, "test", &(struct push_cert_import){.files = {(GBytes *const[]){secret, der}, 2, NULL}, .apple_account = "ann@example.org", .force = force}, error);
}

/* "warn" of the only certificate; -1: none. */
static int warned(struct fixture *f)
{
	g_autoptr(json_t) list = service_push_cert_list(f->service, NULL);
	const json_t *warn = json_object_get(json_array_get(json_object_get(list, "items"), 0), "warn");

	return json_is_null(warn) ? -1 : (int)json_integer_value(warn);
}

static int count(struct fixture *f, const char *key)
{
	g_autoptr(json_t) check = service_push_cert_check(f->service, NULL);

	return (int)json_integer_value(json_object_get(check, key));
}

static const char *request_state(struct fixture *f)
{
	g_autoptr(json_t) setup = service_push_setup(f->service, NULL);

	return g_intern_string(json_string_value(json_object_get(json_array_get(json_object_get(setup, "steps"), PUSH_STEP_REQUEST), "state")));
}

static void test_year(struct fixture *f, gconstpointer data)
{
	/* Days after the import; what is told then. */
	static const struct { int day, warn, errors, warnings; const char *request; } cases[] = {
		{0, -1, 0, 0, "done"}, {304, -1, 0, 0, "done"}, {305, 60, 0, 1, "later"}, {334, 60, 0, 1, "later"}, {335, 30, 0, 1, "later"}, {355, 10, 0, 1, "later"}, {364, 1, 0, 1, "later"}, {366, 0, 1, 0, "later"},
	};
	int64_t start = now;
	g_autoptr(json_t) first = import(f, TOPIC, 365, false, NULL), renewed = NULL;

	g_assert_nonnull(first);
	g_assert_cmpuint(f->n_wakes, ==, 1);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		now = start + (int64_t)cases[i].day * DAY_S * 1000;
		g_test_message("day %d", cases[i].day);
		g_assert_cmpint(warned(f), ==, cases[i].warn);
		g_assert_cmpint(count(f, "errors"), ==, cases[i].errors);
		g_assert_cmpint(count(f, "warnings"), ==, cases[i].warnings);
		g_assert_cmpstr(request_state(f), ==, cases[i].request);
	}
	renewed = import(f, TOPIC, 365, false, NULL);
	g_assert_cmpint(json_integer_value(json_object_get(renewed, "version")), ==, 2);
	g_assert_cmpstr(json_string_value(json_object_get(renewed, "apple_account")), ==, "ann@example.org");
	g_assert_cmpint(warned(f), ==, -1);
	g_assert_cmpuint(f->n_wakes, ==, 2);
}

static void test_dates(struct fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL;

	g_assert_null(import(f, TOPIC, -1, true, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_PUSH_DATES);
	g_assert_cmpuint(f->n_wakes, ==, 0);
}

static char *chosen(struct fixture *f)
{
	return g_strdup(f->service->topics ? f->service->topics[0] : NULL);
}

static void test_default(struct fixture *f, gconstpointer data)
{
	g_autoptr(json_t) first = import(f, TOPIC, 365, false, NULL), second = import(f, OTHER, 365, false, NULL), again = import(f, TOPIC, 365, false, NULL), set = NULL, removed = NULL;
	g_autofree char *newest = chosen(f), *told = NULL, *left = NULL;
	g_autoptr(GError) error = NULL;

	g_assert_true(first && second && again);
	/* No device was lost by it, so what came last, and was new, is what is wanted. */
	g_assert_cmpstr(newest, ==, OTHER);
	set = service_push_cert_set_default(f->service, "test", TOPIC, NULL);
	told = chosen(f);
	g_assert_cmpstr(told, ==, TOPIC);
	g_assert_null(service_push_cert_set_default(f->service, "test", "com.apple.mgmt.none", &error));
	g_assert_error(error, POM_ERROR, POM_ERR_NOT_FOUND);
	removed = service_push_cert_remove(f->service, "test", TOPIC, false, NULL);
	left = chosen(f);
	g_assert_nonnull(removed);
	g_assert_cmpstr(left, ==, OTHER);
}

static void test_signing_service(struct fixture *f, gconstpointer data)
{
	static const struct { int status; const char *body; bool ok; } cases[] = {
		{200, "{\"result\":\"success\"}", true}, {200, "{\"result\":\"failure\",\"reason\":\"no\"}", false}, {500, "{\"result\":\"success\"}", false}, {200, "<html>", false},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(json_t) reply = NULL, list = NULL;

		f->status = cases[i].status;
		f->body = cases[i].body;
		reply = service_push_mdmcert(f->service, "test", &(struct push_mdmcert_wish){.email = "ann@example.org", .api_key = "k"}, &error);
		g_assert_true((reply != NULL) == cases[i].ok);
		g_assert_true(cases[i].ok || g_error_matches(error, POM_ERROR, POM_ERR_PUSH_SIGNING_SERVICE));
		/* What was not taken leaves nothing. */
		list = service_push_request_list(f->service, "", 10, NULL);
		g_assert_cmpuint(json_array_size(json_object_get(list, "items")), ==, 1);
	}
	g_assert_cmpuint(f->n_calls, ==, G_N_ELEMENTS(cases));
	g_assert_nonnull(strstr(f->sent, "\"email\":\"ann@example.org\""));
}

static void test_resumed(struct fixture *f, gconstpointer data)
{
	g_autoptr(json_t) first = service_push_vendor_csr(f->service, "test", NULL, false, NULL), same = service_push_vendor_csr(f->service, "test", NULL, false, NULL),
	                  another = service_push_vendor_csr(f->service, "test", "CN=x", true, NULL);
	g_autoptr(json_t) csr = service_push_csr(f->service, "test", &(struct push_csr_wish){0}, NULL), csr_same = service_push_csr(f->service, "test", &(struct push_csr_wish){0}, NULL);
	g_autoptr(GError) error = NULL;

	g_assert_cmpstr(json_string_value(json_object_get(first, "csr")), ==, json_string_value(json_object_get(same, "csr")));
	g_assert_cmpstr(json_string_value(json_object_get(first, "id")), !=, json_string_value(json_object_get(another, "id")));
	g_assert_cmpstr(json_string_value(json_object_get(csr, "csr")), ==, json_string_value(json_object_get(csr_same, "csr")));
	g_assert_null(service_push_sign(f->service, "test", &(struct push_sign_wish){0}, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_PUSH_NO_VENDOR);
	g_assert_cmpuint(f->n_calls, ==, 0);
}

static void test_fetch(struct fixture *f, gconstpointer data)
{
	static const struct { int status; const char *body; int code; } cases[] = {{404, "no", POM_ERR_UNREACHABLE}, {200, "<html>", POM_ERR_PUSH_CHAIN}, {200, "", POM_ERR_PUSH_CHAIN}};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;

		f->status = cases[i].status;
		f->body = cases[i].body;
		g_assert_null(service_push_chain_add(f->service, "test", &(struct push_files){0}, &error));
		g_assert_error(error, POM_ERROR, cases[i].code);
	}
	g_clear_pointer(&f->service->settings.push_chain_urls, g_strfreev);
	g_autoptr(GError) none = NULL;

	g_assert_null(service_push_chain_add(f->service, "test", &(struct push_files){0}, &none));
	g_assert_cmpuint(f->n_calls, ==, G_N_ELEMENTS(cases));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/push-cert/" name, struct fixture, NULL, set_up, fn, tear_down)
	ADD("year", test_year);
	ADD("dates", test_dates);
	ADD("default", test_default);
	ADD("signing-service", test_signing_service);
	ADD("resumed", test_resumed);
	ADD("fetch", test_fetch);
	return g_test_run();
}
