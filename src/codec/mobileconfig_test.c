#include "codec/mobileconfig.h"

#include <string.h>

#include "base/error.h"
#include "codec/testkit.h"

#define DATA(bytes) g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes)
#define HEAD(type, id, uuid) \
	"<key>PayloadType</key><string>" type "</string><key>PayloadVersion</key><integer>1</integer>" \
	"<key>PayloadIdentifier</key><string>" id "</string><key>PayloadUUID</key><string>" uuid "</string>"
#define PROFILE(content) "<plist><dict>" HEAD("Configuration", "org.example", "P") content "</dict></plist>"
#define CONTENT(payloads) "<key>PayloadContent</key><array>" payloads "</array>"
#define PAYLOAD(type, id, uuid, more) "<dict>" HEAD(type, id, uuid) more "</dict>"
#define MDM(identity) PAYLOAD("com.apple.mdm", "mdm", "M", "<key>IdentityCertificateUUID</key><string>" identity "</string>")
#define SCEP PAYLOAD("com.apple.security.scep", "scep", "s1", "")
#define P12(content) PAYLOAD("com.apple.security.pkcs12", "p12", "X", "<key>PayloadContent</key>" content)

static const struct {
	const char *text;
	int code;            /* 0: accepted */
	const char *message; /* part of it */
} profiles[] = {
	{PROFILE(CONTENT("")), 0, NULL},
	{PROFILE(CONTENT(SCEP MDM("s1"))), 0, NULL},
	{PROFILE(CONTENT(SCEP MDM("S1"))), 0, NULL},
	{PROFILE(CONTENT(P12("<data>AAEC</data>") MDM("X"))), 0, NULL},
	{PROFILE(CONTENT(PAYLOAD("com.apple.security.acme", "a", "A", "") MDM("A"))), 0, NULL},
	{PROFILE("<key>EncryptedPayloadContent</key><data>AAEC</data>"), 0, NULL},
	{"<plist><array/></plist>", POM_ERR_PROFILE, "dictionary"},
	{"<plist><dict/></plist>", POM_ERR_PROFILE, "profile.PayloadType is missing"},
	{"<plist><dict>" HEAD("Profile Service", "a", "b") CONTENT("") "</dict></plist>", POM_ERR_PROFILE, "Configuration"},
	{"<plist><dict>" HEAD("Configuration", "", "b") CONTENT("") "</dict></plist>", POM_ERR_PROFILE, "PayloadIdentifier is empty"},
	{"<plist><dict>" HEAD("Configuration", "a", "") CONTENT("") "</dict></plist>", POM_ERR_PROFILE, "PayloadUUID is empty"},
	{PROFILE(""), POM_ERR_PROFILE, "PayloadContent is missing"},
	{PROFILE("<key>PayloadContent</key><dict/>"), POM_ERR_PROFILE, "PayloadContent is not an array"},
	{PROFILE(CONTENT("<string>x</string>")), POM_ERR_PROFILE, "PayloadContent[0] is not a dictionary"},
	{PROFILE(CONTENT("<dict/>")), POM_ERR_PROFILE, "PayloadContent[0].PayloadType is missing"},
	{PROFILE(CONTENT("<dict><key>PayloadType</key><integer>1</integer></dict>")), POM_ERR_PROFILE, "PayloadContent[0].PayloadType is an integer, must be a string"},
	{PROFILE(CONTENT("<dict><key>PayloadType</key><string>a</string><key>PayloadVersion</key><string>1</string></dict>")), POM_ERR_PROFILE, "PayloadVersion"},
	{PROFILE(CONTENT(SCEP PAYLOAD("a", "b", "S1", ""))), POM_ERR_PROFILE, "PayloadContent[1].PayloadUUID stands in this profile twice"},
	{PROFILE(CONTENT(SCEP PAYLOAD("a", "scep", "c", ""))), POM_ERR_PROFILE, "PayloadContent[1].PayloadIdentifier stands in this profile twice"},
	{PROFILE(CONTENT(PAYLOAD("a", "org.example", "c", ""))), POM_ERR_PROFILE, "PayloadIdentifier"},
	{PROFILE(CONTENT(PAYLOAD("a", "b", "P", ""))), POM_ERR_PROFILE, "PayloadUUID"},
	{PROFILE(CONTENT(SCEP MDM("other"))), POM_ERR_PROFILE, "IdentityCertificateUUID"},
	{PROFILE(CONTENT(SCEP MDM("M"))), POM_ERR_PROFILE, "IdentityCertificateUUID"},
	{PROFILE(CONTENT(PAYLOAD("com.apple.mdm", "mdm", "M", ""))), POM_ERR_PROFILE, "PayloadContent[0].IdentityCertificateUUID is missing"},
	{PROFILE(CONTENT(SCEP MDM("s1") PAYLOAD("com.apple.mdm", "m2", "M2", "<key>IdentityCertificateUUID</key><string>s1</string>"))), POM_ERR_PROFILE, "second"},
	{PROFILE(CONTENT(P12("<string>AAEC</string>"))), POM_ERR_PROFILE, "PayloadContent[0].PayloadContent is a string, must be data"},
	{PROFILE("<key>EncryptedPayloadContent</key><string>x</string>"), POM_ERR_PROFILE, "Encrypted"},
	{PROFILE(CONTENT("") "<key>EncryptedPayloadContent</key><data>AAEC</data>"), POM_ERR_PROFILE, "Encrypted"},
	{"<plist><dict>", POM_ERR_PLIST_SYNTAX, NULL},
	{"", POM_ERR_PLIST_SYNTAX, NULL},
	{"0", POM_ERR_CMS_MALFORMED, NULL},
};

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
