#include "codec/mobileconfig.h"

#include <string.h>

#include "base/error.h"
#include "codec/mobileconfig_cases.h"
#include "codec/testkit.h"

#define DATA(bytes) g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes)
static void test_profiles(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(profiles); i++) {
		g_autoptr(GError) error = NULL;
		bool is_signed = true;
		g_autoptr(plist) profile = mobileconfig_parse(profiles[i].text, strlen(profiles[i].text), &is_signed, &error);

		if (!profiles[i].code) {
			g_assert_no_error(error);
			g_assert_false(is_signed);
			continue;
		}
		g_assert_null(profile);
		g_assert_true(is_signed);
		if (error->code != profiles[i].code || (profiles[i].message && !strstr(error->message, profiles[i].message)))
			g_error("%s: %s", profiles[i].text, error->message);
	}
}

static void test_signed(void)
{
	static const char text[] = PROFILE(CONTENT(SCEP MDM("s1")));
	g_autoptr(X509) cert = testkit_cert(testkit_ec("P-256"), "signer", 1, NULL, NULL);
	g_autoptr(GBytes) good = testkit_sign(cert, testkit_ec("P-256"), EVP_sha256(), 0, text), detached = testkit_sign(cert, testkit_ec("P-256"), EVP_sha256(), TESTKIT_DETACHED, "");
	g_autoptr(GBytes) ber = testkit_sign_streamed(cert, testkit_ec("P-256"), EVP_sha256(), text, strlen(text)), bad = testkit_replace(good, "org.example", "org.Example", 11);
	g_autoptr(GBytes) other = testkit_sign(cert, testkit_ec("P-256"), EVP_sha256(), 0, "<plist><dict/></plist>"), bare = testkit_sign(cert, testkit_ec("P-256"), EVP_sha256(), TESTKIT_NO_CERTIFICATE, text);
	struct {
		GBytes *bytes;
		int code;
	} cases[] = {{good, 0}, {ber, 0}, {bad, POM_ERR_CMS_SIGNATURE}, {detached, POM_ERR_PROFILE}, {other, POM_ERR_PROFILE}, {bare, POM_ERR_PROFILE_NO_CERTIFICATE}};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		bool is_signed = false;
		g_autoptr(plist) profile = mobileconfig_parse(DATA(cases[i].bytes), &is_signed, &error);

		if (cases[i].code) {
			g_assert_null(profile);
			g_assert_error(error, POM_ERROR, cases[i].code);
			g_assert_false(is_signed);
			continue;
		}
		g_assert_no_error(error);
		g_assert_true(is_signed);
		g_assert_cmpuint(plist_count(plist_dict_get(profile, "PayloadContent")), ==, 2);
	}
}

static void test_made(void)
{
	struct mobileconfig_head head = {"Configuration", "org.example", "P", .display_name = "Example"}, payload = {"com.apple.security.scep", "scep", "S"};
	g_autoptr(plist) profile = mobileconfig_new(&head);
	g_autoptr(GError) error = NULL;

	mobileconfig_add(profile, mobileconfig_new(&payload));
	payload = (struct mobileconfig_head){"com.apple.mdm", "mdm", "M"};
	plist *mdm = mobileconfig_new(&payload);

	plist_dict_set_string(mdm, "IdentityCertificateUUID", "S");
	mobileconfig_add(profile, mdm);
	g_assert_true(mobileconfig_check(profile, &error));
	g_assert_no_error(error);
	g_assert_cmpstr(plist_get_string(plist_dict_get(profile, "PayloadDisplayName")), ==, "Example");
	g_assert_null(plist_dict_get(profile, "PayloadOrganization"));
	g_autoptr(GBytes) text = plist_format(profile, &error);
	bool is_signed;
	g_autoptr(plist) again = mobileconfig_parse(DATA(text), &is_signed, &error);

	g_assert_true(plist_equal(profile, again));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/mobileconfig/profiles", test_profiles);
	g_test_add_func("/mobileconfig/signed", test_signed);
	g_test_add_func("/mobileconfig/made", test_made);
	return g_test_run();
}
