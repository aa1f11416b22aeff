/* Push certificates, vendors and requests as they are kept, on a database of its own. */
#include "store/pushcert_store.h"

#include <string.h>

#include "db/testkit.h"

struct fixture { char *url; struct store *store; };

static void prepare(const char *url)
{
	store_close(store_open(url, pom_clock_system(), pom_random_system(), NULL));
}

static void set_up(struct fixture *f, gconstpointer data)
{
	f->url = test_database_new(prepare);
	f->store = store_open(f->url, pom_clock_system(), pom_random_system(), NULL);
	g_assert_nonnull(f->store);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
	store_close(f->store);
	test_database_free(f->url);
}

static void put(struct fixture *f, const char *topic, int64_t at, const char *account, const char *request_id, const char *default_topic)
{
	g_autoptr(GBytes) bytes = g_bytes_new(topic, strlen(topic));

	g_assert_true(store_pushcert_put(f->store, &(struct pushcert_import){{{topic, bytes, bytes, 1, 2, at, 0}, account}, request_id, default_topic, NULL}, NULL));
}

static void test_certificates(struct fixture *f, gconstpointer data)
{
	g_autoptr(store_load) load = NULL, counts_load = NULL;
	g_autoptr(GArray) rows = NULL, counts = NULL;
	g_autofree char *none = NULL, *topic = NULL;
	const struct pushcert_row *first, *second;
	bool found;

	g_assert_true(store_pushcert_default(f->store, &none, NULL) && !none);
	put(f, "a", 10, "ann@example.org", NULL, "a");
	put(f, "b", 20, NULL, NULL, NULL);
	put(f, "a", 30, NULL, NULL, NULL);
	rows = store_pushcert_list(f->store, &load, NULL);
	g_assert_cmpuint(rows->len, ==, 2);
	first = &g_array_index(rows, struct pushcert_row, 0);
	second = &g_array_index(rows, struct pushcert_row, 1);
	g_assert_cmpstr(first->certificate.topic, ==, "a");
	/* Renewed without saying the account again. */
	g_assert_cmpstr(first->apple_account, ==, "ann@example.org");
	g_assert_cmpint(first->certificate.version, ==, 2);
	g_assert_cmpstr(second->certificate.topic, ==, "b");
	g_assert_null(second->apple_account);
	g_assert_true(store_pushcert_account(f->store, "b", "bob@example.org", NULL, &found, NULL) && found);
	g_assert_true(store_pushcert_account(f->store, "c", "bob@example.org", NULL, &found, NULL) && !found);
	g_assert_true(store_pushcert_default(f->store, &topic, NULL));
	g_assert_cmpstr(topic, ==, "a");
	g_assert_true(store_pushcert_remove(f->store, "b", NULL, &found, NULL) && found);
	g_assert_true(store_pushcert_remove(f->store, "b", NULL, &found, NULL) && !found);
	counts = store_pushcert_devices(f->store, &counts_load, NULL);
	g_assert_cmpuint(counts->len, ==, 0);
}

static void test_vendors(struct fixture *f, gconstpointer data)
{
	g_autoptr(GBytes) key = g_bytes_new("k", 1), der = g_bytes_new("d", 1);
	g_autoptr(store_load) load = NULL, rest_load = NULL;
	g_autoptr(GArray) rows = NULL, rest = NULL;
	bool found;

	g_assert_true(store_push_vendor_add(f->store, &(struct push_vendor_row){.id = "1", .subject = "CN=x", .csr = der, .key_sealed = key, .created_ms = 5}, NULL, NULL));
	g_assert_true(store_push_vendor_add(f->store, &(struct push_vendor_row){.id = "2", .subject = "CN=y", .certificate = der, .key_sealed = key, .not_before_ms = 1, .not_after_ms = 2}, NULL, NULL));
	g_assert_true(store_push_vendor_certify(f->store, &(struct push_vendor_row){.id = "1", .subject = "CN=MDM Vendor: x", .certificate = der, .not_before_ms = 3, .not_after_ms = 4}, NULL, NULL));
	g_assert_false(store_push_vendor_certify(f->store, &(struct push_vendor_row){.id = "3", .subject = "CN=z", .certificate = der}, NULL, NULL));
	rows = store_push_vendor_list(f->store, "", 10, &load, NULL);
	g_assert_cmpuint(rows->len, ==, 2);
	g_assert_cmpstr(g_array_index(rows, struct push_vendor_row, 0).subject, ==, "CN=MDM Vendor: x");
	g_assert_cmpint(g_array_index(rows, struct push_vendor_row, 0).not_after_ms, ==, 4);
	g_assert_true(g_bytes_equal(g_array_index(rows, struct push_vendor_row, 0).certificate, der));
	g_assert_null(g_array_index(rows, struct push_vendor_row, 1).csr);
	g_assert_true(store_push_vendor_remove(f->store, "1", NULL, &found, NULL) && found);
	rest = store_push_vendor_list(f->store, "1", 10, &rest_load, NULL);
	g_assert_cmpuint(rest->len, ==, 1);
}

static GArray *requests(struct fixture *f, store_load **load)
{
	return store_push_request_list(f->store, "", 10, load, NULL);
}

static void test_requests(struct fixture *f, gconstpointer data)
{
	g_autoptr(GBytes) key = g_bytes_new("k", 1), der = g_bytes_new("d", 1);
	g_autoptr(store_load) load = NULL, after_load = NULL;
	g_autoptr(GArray) rows = NULL, after = NULL;
	bool found;

	for (int i = 1; i <= 3; i++) {
		const char id[] = {(char)('0' + i), 0};

		g_assert_true(store_push_request_add(f->store, &(struct push_request_row){.id = id, .subject = "CN=x", .csr = der, .key_sealed = key, .created_ms = i, .renews_topic = i == 2 ? "a" : NULL}, NULL, NULL));
	}
	g_assert_true(store_push_request_sign(f->store, "1", "CN=v", der, 9, NULL, NULL));
	g_assert_false(store_push_request_sign(f->store, "4", "CN=v", der, 9, NULL, NULL));
	rows = requests(f, &load);
	g_assert_cmpuint(rows->len, ==, 3);
	g_assert_cmpstr(g_array_index(rows, struct push_request_row, 0).signed_by, ==, "CN=v");
	g_assert_cmpint(g_array_index(rows, struct push_request_row, 0).signed_ms, ==, 9);
	g_assert_cmpstr(g_array_index(rows, struct push_request_row, 1).renews_topic, ==, "a");
	g_assert_null(g_array_index(rows, struct push_request_row, 1).document);
	g_assert_true(store_push_request_remove(f->store, "3", NULL, &found, NULL) && found);
	/* The certificate has come. */
	put(f, "a", 1, NULL, "1", NULL);
	after = requests(f, &after_load);
	g_assert_cmpuint(after->len, ==, 1);
	g_assert_cmpstr(g_array_index(after, struct push_request_row, 0).id, ==, "2");
	put(f, "a", 1, NULL, "gone", NULL);
}

static void test_chain(struct fixture *f, gconstpointer data)
{
	g_autoptr(GBytes) der = g_bytes_new("d", 1), other = g_bytes_new("o", 1);
	const struct push_chain_row rows[] = {{"11", der, 1}, {"22", other, 2}};
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) got = NULL;

	g_assert_true(store_push_chain_add(f->store, rows, 2, NULL, NULL));
	g_assert_true(store_push_chain_add(f->store, rows, 1, NULL, NULL));
	got = store_push_chain_list(f->store, &load, NULL);
	g_assert_cmpuint(got->len, ==, 2);
	g_assert_true(g_bytes_equal(g_array_index(got, struct push_chain_row, 1).certificate, other));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add("/pushcert-store/certificates", struct fixture, NULL, set_up, test_certificates, tear_down);
	g_test_add("/pushcert-store/vendors", struct fixture, NULL, set_up, test_vendors, tear_down);
	g_test_add("/pushcert-store/requests", struct fixture, NULL, set_up, test_requests, tear_down);
	g_test_add("/pushcert-store/chain", struct fixture, NULL, set_up, test_chain, tear_down);
	return g_test_run();
}
