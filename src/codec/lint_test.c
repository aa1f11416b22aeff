#include "codec/lint.h"

#include <string.h>

#include "codec/mobileconfig_cases.h"
#include "codec/payload_table.h"
#include "codec/testkit.h"

#define NOW 1800000000
#define U(n) "00000000-0000-4000-8000-00000000000" n
#define GOOD_HEAD(type, id, n) HEAD(type, id, U(n))
#define TOP(more) "<plist><dict>" GOOD_HEAD("Configuration", "org.example", "0") more "</dict></plist>"
#define ONE(payload) TOP(CONTENT(payload))
#define P(type, n, more) "<dict>" GOOD_HEAD(type, "org.example." n, n) more "</dict>"
#define K(key, value) "<key>" key "</key>" value
#define S(text) "<string>" text "</string>"
#define I(n) "<integer>" n "</integer>"
#define SCEP_GOOD K("URL", S("https://a/scep")) K("Keysize", I("2048"))
#define SCEP_P(more) P("com.apple.security.scep", "1", K("PayloadContent", "<dict>" SCEP_GOOD more "</dict>"))
#define MDM_P(more) P("com.apple.mdm", "2", K("IdentityCertificateUUID", S(U("1"))) K("Topic", S("com.apple.mgmt.x")) K("ServerURL", S("https://a/mdm")) more)
#define RIGHTS K("AccessRights", I("8191"))
#define YES "<true/>"
#define SERVICE(content) "<plist><dict>" GOOD_HEAD("Profile Service", "org.example", "0") K("PayloadContent", content) "</dict></plist>"
#define ACME_P(type, size, bound, more) \
	P("com.apple.security.acme", "1", K("DirectoryURL", S("https://a/acme")) K("ClientIdentifier", S("c")) K("KeyType", S(type)) K("KeySize", I(size)) K("HardwareBound", bound) \
	  K("Subject", "<array><array><array>" S("CN") S("x") "</array></array></array>") more)

/* The only finding but that nothing is signed; PATH NULL: none. */
static const struct {
	const char *text;
	char severity; /* E error, F error that can be repaired, W warning, N note, D error, with a warning that the key is not known */
	const char *path, *what;
} cases[] = {
	{ONE(SCEP_P("") MDM_P(RIGHTS)), 0, NULL, NULL},
	{ONE(SCEP_P(K("CAFingerprint", "<data>AAECAwQFBgcICQoLDA0ODxAREhM=</data>") K("Key Type", S("RSA")) K("Key Usage", I("5"))) MDM_P(RIGHTS)), 0, NULL, NULL},
	{TOP(K("EncryptedPayloadContent", "<data>AAEC</data>")), 0, NULL, NULL},
	/* the four keys */
	{"<plist><dict>" K("PayloadType", S("Configuration")) K("PayloadVersion", I("1")) K("PayloadUUID", S(U("0"))) CONTENT(SCEP_P("")) "</dict></plist>", 'F', "PayloadIdentifier", "missing"},
	{"<plist><dict>" K("PayloadType", S("Configuration")) K("PayloadVersion", I("1")) K("PayloadIdentifier", S("")) K("PayloadUUID", S(U("0"))) CONTENT(SCEP_P("")) "</dict></plist>", 'F', "PayloadIdentifier", "empty"},
	{"<plist><dict>" K("PayloadType", S("Configuration")) K("PayloadVersion", I("1")) K("PayloadIdentifier", S("a")) CONTENT(SCEP_P("")) "</dict></plist>", 'F', "PayloadUUID", "missing"},
	{"<plist><dict>" K("PayloadVersion", I("1")) K("PayloadIdentifier", S("a")) K("PayloadUUID", S(U("0"))) CONTENT(SCEP_P("")) "</dict></plist>", 'F', "PayloadType", "missing"},
	{"<plist><dict>" K("PayloadType", S("Configuration")) K("PayloadIdentifier", S("a")) K("PayloadUUID", S(U("0"))) CONTENT(SCEP_P("")) "</dict></plist>", 'F', "PayloadVersion", "missing"},
	{"<plist><dict>" K("PayloadType", S("Configuration")) K("PayloadVersion", S("1")) K("PayloadIdentifier", S("a")) K("PayloadUUID", S(U("0"))) CONTENT(SCEP_P("")) "</dict></plist>", 'F', "PayloadVersion", "string"},
	{"<plist><dict>" K("PayloadType", S("Configuration")) K("PayloadVersion", S("2")) K("PayloadIdentifier", S("a")) K("PayloadUUID", S(U("0"))) CONTENT(SCEP_P("")) "</dict></plist>", 'E', "PayloadVersion", "string"},
	{"<plist><dict>" K("PayloadType", S("Configuration")) K("PayloadVersion", I("2")) K("PayloadIdentifier", S("a")) K("PayloadUUID", S(U("0"))) CONTENT(SCEP_P("")) "</dict></plist>", 'E', "PayloadVersion", "is 2"},
	{"<plist><dict>" K("PayloadType", S("Configuration")) K("PayloadVersion", I("1")) K("PayloadIdentifier", I("7")) K("PayloadUUID", S(U("0"))) CONTENT(SCEP_P("")) "</dict></plist>", 'E', "PayloadIdentifier", "must be a string"},
	{"<plist><dict>" HEAD("Configuration", "a", "P") CONTENT(SCEP_P("")) "</dict></plist>", 'W', "PayloadUUID", "form of a UUID"},
	{ONE(P("com.apple.dock", "1", "") "<dict>" HEAD("com.apple.finder", "b", U("1")) "</dict>"), 'E', "PayloadContent[1].PayloadUUID", "1007"},
	{ONE(P("com.apple.dock", "1", "") "<dict>" HEAD("com.apple.finder", "org.example.1", U("2")) "</dict>"), 'E', "PayloadContent[1].PayloadIdentifier", "1008"},
	{ONE("<dict>" K("PayloadType", S("com.apple.dock")) K("PayloadVersion", I("1")) K("PayloadUUID", S(U("1"))) "</dict>"), 'F', "PayloadContent[0].PayloadIdentifier", "missing"},
	{ONE("<dict>" K("PayloadVersion", I("1")) K("PayloadIdentifier", S("b")) K("PayloadUUID", S(U("1"))) "</dict>"), 'E', "PayloadContent[0].PayloadType", "missing"},
	/* the profile */
	{TOP(""), 'E', "PayloadContent", "missing"},
	{TOP(K("PayloadContent", "<dict/>")), 'E', "PayloadContent", "is a dictionary, must be an array"},
	{ONE(""), 'W', "PayloadContent", "empty"},
	{ONE("<string>x</string>"), 'E', "PayloadContent[0]", "must be a dictionary"},
	{TOP(CONTENT(SCEP_P("")) K("PayloadScope", S("system"))), 'E', "PayloadScope", "System|User"},
	{TOP(CONTENT(SCEP_P("")) K("TargetDeviceType", I("7"))), 'E', "TargetDeviceType", "0|1|2"},
	{TOP(CONTENT(SCEP_P("")) K("TargetDeviceType", S("1"))), 'F', "TargetDeviceType", "is a string, must be an integer"},
	{TOP(CONTENT(SCEP_P("")) K("RemovalDate", "<date>2020-01-01T00:00:00Z</date>")), 'E', "RemovalDate", "past"},
	{TOP(CONTENT(SCEP_P("")) K("RemovalDate", "<date>2040-01-01T00:00:00Z</date>")), 0, NULL, NULL},
	{TOP(CONTENT(SCEP_P("")) K("RemovalDate", S("2040-01-01"))), 'E', "RemovalDate", "must be a date"},
	{TOP(CONTENT(SCEP_P("")) K("DurationUntilRemoval", I("3600"))), 0, NULL, NULL},
	{TOP(CONTENT(SCEP_P("")) K("DurationUntilRemoval", "<real>-1</real>")), 'E', "DurationUntilRemoval", "more than 0"},
	{TOP(CONTENT(SCEP_P("")) K("DurationUntilRemoval", I("9")) K("RemovalDate", "<date>2040-01-01T00:00:00Z</date>")), 'W', "DurationUntilRemoval", "earlier"},
	{TOP(CONTENT(SCEP_P("")) K("PayloadRemovalDisalowed", YES)), 'W', "PayloadRemovalDisalowed", "not known"},
	{TOP(CONTENT(SCEP_P("")) K("ConsentText", "<dict>" K("default", S("Hi")) "</dict>")), 0, NULL, NULL},
	/* types and keys */
	{ONE(P("com.apple.wifi.manged", "1", "")), 'W', "PayloadContent[0].PayloadType", "not known"},
	{ONE(P("com.apple.wifi.managed", "1", K("SSID_STR", S("x")) K("HIDDEN_NETWORK", S("true")))), 'F', "PayloadContent[0].HIDDEN_NETWORK", "must be a boolean"},
	{ONE(P("com.apple.wifi.managed", "1", K("HIDDEN_NETWORK", I("1")))), 'W', "PayloadContent[0].HIDDEN_NETWORK", "must be a boolean"},
	{ONE(P("com.apple.wifi.managed", "1", K("SSID-STR", S("x")))), 'W', "PayloadContent[0].SSID-STR", "not known"},
	{ONE(P("com.apple.wifi.managed", "1", K("EncryptionType", S("WPA4")))), 'W', "PayloadContent[0].EncryptionType", "WPA3"},
	{ONE(P("com.apple.wifi.managed", "1", K("ProxyServerPort", I("70000")))), 'W', "PayloadContent[0].ProxyServerPort", "0..65535"},
	{ONE(P("com.apple.wifi.managed", "1", K("PayloadCertificateUUID", S(U("9"))))), 'E', "PayloadContent[0].PayloadCertificateUUID", "names no payload"},
	{ONE(P("com.apple.wifi.managed", "1", K("PayloadCertificateUUID", S(U("0"))))), 'E', "PayloadContent[0].PayloadCertificateUUID", "names no payload"},
	{ONE(P("com.apple.wifi.managed", "2", K("EAPClientConfiguration", "<dict>" K("AcceptEAPTypes", "<array>" I("13") "</array>") K("PayloadCertificateAnchorUUID", "<array>" S(U("9")) "</array>") "</dict>"))), 'E',
	 "PayloadContent[0].EAPClientConfiguration.PayloadCertificateAnchorUUID[0]", "names no payload"},
	{ONE(P("com.apple.wifi.managed", "1", K("EAPClientConfiguration", "<dict/>"))), 'W', "PayloadContent[0].EAPClientConfiguration.AcceptEAPTypes", "required"},
	{ONE(P("com.apple.font", "1", K("Font", S("AAEC")))), 'F', "PayloadContent[0].Font", "must be data"},
	{ONE(P("com.apple.font", "1", K("Font", S("A!")))), 'E', "PayloadContent[0].Font", "must be data"},
	{ONE(P("com.apple.app.lock", "1", K("App", "<dict>" K("Identifier", S("a")) "</dict>")) P("com.apple.app.lock", "2", K("App", "<dict>" K("Identifier", S("a")) "</dict>"))), 'W', "PayloadContent[1].PayloadType",
	 "several"},
	{ONE(P("com.apple.dock", "1", K("PayloadEnabled", YES) K("PayloadDisplayName", S("Dock")))), 0, NULL, NULL},
	/* MDM */
	{ONE(P("com.apple.mdm", "2", K("IdentityCertificateUUID", S(U("9"))) K("Topic", S("com.apple.mgmt.x")) K("ServerURL", S("https://a")) RIGHTS)), 'E', "PayloadContent[0].IdentityCertificateUUID", "names no payload"},
	{ONE(P("com.apple.dock", "1", "") MDM_P(RIGHTS)), 'E', "PayloadContent[1].IdentityCertificateUUID", "no identity"},
	{ONE(SCEP_P("") P("com.apple.mdm", "2", K("Topic", S("com.apple.mgmt.x")) K("ServerURL", S("https://a")) RIGHTS)), 'E', "PayloadContent[1].IdentityCertificateUUID", "required"},
	{ONE(SCEP_P("") P("com.apple.mdm", "2", K("IdentityCertificateUUID", S(U("1"))) K("Topic", S("com.example.x")) K("ServerURL", S("https://a")) RIGHTS)), 'E', "PayloadContent[1].Topic", "com.apple.mgmt."},
	{ONE(SCEP_P("") P("com.apple.mdm", "2", K("IdentityCertificateUUID", S(U("1"))) K("Topic", S("com.apple.mgmt.x")) K("ServerURL", S("http://a")) RIGHTS)), 'E', "PayloadContent[1].ServerURL", "https://"},
	{ONE(SCEP_P("") MDM_P(RIGHTS K("CheckInURL", S("http://a")))), 'E', "PayloadContent[1].CheckInURL", "https://"},
	{ONE(SCEP_P("") MDM_P(RIGHTS K("AssignedManagedAppleID", S("a@b")) K("EnrollmentMode", S("BYOD")))), 'E', "PayloadContent[1].AccessRights", "BYOD"},
	{ONE(SCEP_P("") MDM_P("")), 'W', "PayloadContent[1].AccessRights", "missing"},
	{ONE(SCEP_P("") MDM_P(K("AccessRights", I("0")))), 'E', "PayloadContent[1].AccessRights", "from 1 to 8191"},
	{ONE(SCEP_P("") MDM_P(K("AccessRights", I("2")))), 'W', "PayloadContent[1].AccessRights", "2 needs 1"},
	{ONE(SCEP_P("") MDM_P(RIGHTS K("UseDevelopmentAPNS", YES))), 'W', "PayloadContent[1].UseDevelopmentAPNS", "do not work"},
	{ONE(SCEP_P("") MDM_P(RIGHTS K("ServerURLPinningCertificateUUIDs", "<array>" S(U("9")) "</array>"))), 'E', "PayloadContent[1].ServerURLPinningCertificateUUIDs[0]", "names no payload"},
	{ONE(SCEP_P("") MDM_P(RIGHTS K("ServerCapabilities", "<array>" S("com.apple.mdm.tokens") "</array>"))), 'W', "PayloadContent[1].ServerCapabilities[0]", "com.apple.mdm.token"},
	{ONE(SCEP_P("") MDM_P(RIGHTS K("SignMesage", YES))), 'W', "PayloadContent[1].SignMesage", "not known"},
	{ONE(SCEP_P("") MDM_P(RIGHTS) P("com.apple.mdm", "3", K("IdentityCertificateUUID", S(U("1"))) K("Topic", S("com.apple.mgmt.x")) K("ServerURL", S("https://a/mdm")) RIGHTS)), 'E', "PayloadContent[2]", "second"},
	/* SCEP */
	{ONE(P("com.apple.security.scep", "1", K("PayloadContent", "<dict>" K("URL", S("https://a")) "</dict>"))), 'W', "PayloadContent[0].PayloadContent.Keysize", "1024"},
	{ONE(P("com.apple.security.scep", "1", K("PayloadContent", "<dict>" K("URL", S("https://a")) K("Keysize", I("1024")) "</dict>"))), 'W', "PayloadContent[0].PayloadContent.Keysize", "too weak"},
	{ONE(P("com.apple.security.scep", "1", K("PayloadContent", "<dict>" K("URL", S("https://a")) K("KeySize", I("2048")) "</dict>"))), 'F', "PayloadContent[0].PayloadContent.KeySize", "\"Keysize\""},
	{ONE(SCEP_P(K("KeyType", S("RSA")))), 'F', "PayloadContent[0].PayloadContent.KeyType", "\"Key Type\""},
	{ONE(SCEP_P(K("KeyUsage", I("5")))), 'F', "PayloadContent[0].PayloadContent.KeyUsage", "\"Key Usage\""},
	{ONE(SCEP_P(K("KeySize", I("4096")))), 'D', "PayloadContent[0].PayloadContent.KeySize", "there as well"},
	{ONE(SCEP_P(K("Key Type", S("EC")))), 'E', "PayloadContent[0].PayloadContent.Key Type", "RSA keys only"},
	{ONE(SCEP_P(K("Key Usage", I("8")))), 'E', "PayloadContent[0].PayloadContent.Key Usage", "known are"},
	{ONE(P("com.apple.security.scep", "1", K("PayloadContent", "<dict>" K("URL", S("https://a")) "</dict>") K("Keysize", I("2048")))), 'F', "PayloadContent[0].Keysize", "beside PayloadContent"},
	{ONE(P("com.apple.security.scep", "1", K("PayloadContent", "<dict>" SCEP_GOOD "</dict>") K("URL", S("https://b")))), 'D', "PayloadContent[0].URL", "beside PayloadContent"},
	{ONE(SCEP_P(K("CAFingerprint", "<data>AAEC</data>"))), 'E', "PayloadContent[0].PayloadContent.CAFingerprint", "3 bytes"},
	{ONE(SCEP_P(K("CAFingerprint", "<data>AAECAwQFBgcICQoLDA0ODw==</data>"))), 'W', "PayloadContent[0].PayloadContent.CAFingerprint", "MD5"},
	{ONE(SCEP_P(K("CAFingerprint", "<data>AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=</data>"))), 'E', "PayloadContent[0].PayloadContent.CAFingerprint", "SHA-256"},
	{ONE(SCEP_P(K("CAFingerprint", S("00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13")))), 'F', "PayloadContent[0].PayloadContent.CAFingerprint", "must be data"},
	{ONE(SCEP_P(K("CAFingerprint", S("AAECAwQFBgcICQoLDA0ODxAREhM=")))), 'F', "PayloadContent[0].PayloadContent.CAFingerprint", "must be data"},
	{ONE(SCEP_P(K("SubjectAltName", "<dict>" K("dNSName", "<array>" S("a") "</array>") "</dict>"))), 0, NULL, NULL},
	{ONE(P("com.apple.security.scep", "1", K("PayloadContent", "<dict>" K("URL", S("ftp://a")) K("Keysize", I("2048")) "</dict>"))), 'E', "PayloadContent[0].PayloadContent.URL", "http"},
	{ONE(P("com.apple.security.scep", "1", K("PayloadContent", "<dict>" K("Keysize", I("2048")) "</dict>"))), 'E', "PayloadContent[0].PayloadContent.URL", "required"},
	{ONE(P("com.apple.security.scep", "1", "")), 'E', "PayloadContent[0].PayloadContent", "required"},
	{ONE(SCEP_P(K("Subject", "<array><array>" S("CN") S("x") "</array></array>"))), 'E', "PayloadContent[0].PayloadContent.Subject[0]", "22011"},
	{ONE(SCEP_P(K("Subject", "<array><array><array>" S("CN") "</array></array></array>"))), 'E', "PayloadContent[0].PayloadContent.Subject[0]", "22011"},
	{ONE(SCEP_P(K("Subject", "<array><array><array>" S("O") S("") "</array></array><array><array>" S("CN") S("x") "</array></array></array>"))), 0, NULL, NULL},
	{ONE(P("com.apple.security.scep", "1", K("PayloadContent", "<dict>" K("URL", S("https://a")) K("Keysize", I("3072")) "</dict>"))), 'E', "PayloadContent[0].PayloadContent.Keysize", "22001"},
	/* ACME */
	{ONE(ACME_P("RSA", "2048", "<false/>", "")), 0, NULL, NULL},
	{ONE(ACME_P("ECSECPrimeRandom", "384", YES, K("Attest", YES))), 0, NULL, NULL},
	{ONE(ACME_P("RSA", "2047", "<false/>", "")), 'E', "PayloadContent[0].KeySize", "does not fit"},
	{ONE(ACME_P("ECSECPrimeRandom", "512", "<false/>", "")), 'E', "PayloadContent[0].KeySize", "does not fit"},
	{ONE(ACME_P("ECSECPrimeRandom", "521", YES, "")), 'E', "PayloadContent[0].HardwareBound", "hardware"},
	{ONE(ACME_P("RSA", "2048", YES, "")), 'E', "PayloadContent[0].HardwareBound", "hardware"},
	{ONE(ACME_P("ECSECPrimeRandom", "256", "<false/>", K("Attest", YES))), 'E', "PayloadContent[0].Attest", "HardwareBound"},
	/* values */
	{ONE(SCEP_P("") MDM_P(RIGHTS K("SignMessage", S("true")))), 'F', "PayloadContent[1].SignMessage", "is a string, must be a boolean"},
	{ONE(SCEP_P("") MDM_P(RIGHTS K("SignMessage", S("yes")))), 'E', "PayloadContent[1].SignMessage", "is a string, must be a boolean"},
	{ONE(SCEP_P("") MDM_P(RIGHTS K("SignMessage", I("1")))), 'W', "PayloadContent[1].SignMessage", "is an integer, must be a boolean"},
	{ONE(SCEP_P("") MDM_P(K("AccessRights", S("8191")))), 'F', "PayloadContent[1].AccessRights", "is a string, must be an integer"},
	{ONE(SCEP_P("") MDM_P(K("AccessRights", S("08191")))), 'E', "PayloadContent[1].AccessRights", "is a string, must be an integer"},
	{ONE(SCEP_P("") MDM_P(RIGHTS K("EnrollmentMode", S("ADDE")))), 'E', "PayloadContent[1].AssignedManagedAppleID", "beside EnrollmentMode"},
	{ONE(P("com.apple.mobiledevice.passwordpolicy", "1", K("pinHistory", I("51")))), 'W', "PayloadContent[0].pinHistory", "1..50"},
	{ONE(P("com.apple.mobiledevice.passwordpolicy", "1", K("pinHistory", I("50")))), 0, NULL, NULL},
	{ONE(P("com.apple.dock", "1", "") P("com.apple.wifi.managed", "2", K("SSID_STR", S("a")) K("EncryptionType", S("WPA2")) K("PayloadCertificateUUID", S(U("1"))))), 'E', "PayloadContent[1].PayloadCertificateUUID", "no certificate"},
	{ONE(SCEP_P("") P("com.apple.wifi.managed", "2", K("SSID_STR", S("a")) K("EncryptionType", S("WPA2")) K("PayloadCertificateUUID", S(U("1"))))), 0, NULL, NULL},
	/* keys that stand there twice */
	{"<plist><dict>" GOOD_HEAD("Configuration", "org.example", "0") CONTENT(SCEP_P("")) CONTENT("") "</dict></plist>", 'E', "PayloadContent", "another value"},
	{"<plist><dict>" GOOD_HEAD("Configuration", "org.example", "0") CONTENT(SCEP_P("")) K("PayloadVersion", I("1")) "</dict></plist>", 'F', "PayloadVersion", "same value"},
	/* certificates */
	{ONE(P("com.apple.security.pkcs12", "1", K("PayloadContent", S("MAEC")))), 'F', "PayloadContent[0].PayloadContent", "must be data"},
	{ONE(P("com.apple.security.pkcs12", "1", K("PayloadContent", "<data>AAEC</data>"))), 'E', "PayloadContent[0].PayloadContent", "no PKCS #12"},
	{ONE(P("com.apple.security.pkcs12", "1", K("PayloadContent", "<data>MAEC</data>"))), 0, NULL, NULL},
	{ONE(P("com.apple.security.pkcs12", "1", K("PayloadContent", "<data>MAEC</data>") K("Password", S("wrong")))), 'E', "PayloadContent[0].PayloadContent", "with its Password"},
	{ONE(P("com.apple.security.pkcs12", "1", K("PayloadContent", "<data>MAEC</data>") K("Password", S("right")))), 0, NULL, NULL},
	{ONE(P("com.apple.security.pkcs12", "1", K("PayloadContent", "<data>MAEC</data>") K("Password", S("old")))), 'W', "PayloadContent[0].PayloadContent", "expired"},
	{ONE(P("com.apple.security.pkcs12", "1", K("PayloadContent", "<data>MA0GCSqGSIb3DQEFDTAA</data>"))), 'W', "PayloadContent[0].PayloadContent", "PBES2"},
	{ONE(P("com.apple.security.pkcs12", "1", K("PayloadContent", "<data>MAEC</data>"))), 'N', "PayloadContent[0].Password", "asks the user"},
	{ONE(P("com.apple.security.pkcs12", "1", K("PayloadContent", "<data>MAEC</data>") K("Password", S("")))), 'W', "PayloadContent[0].Password", "empty"},
	{ONE(P("com.apple.security.pkcs12", "1", K("PayloadContent", "<data>MAEC</data>") K("Password", S("twice")))), 'W', "PayloadContent[0].PayloadContent", "twice"},
	{ONE(P("com.apple.security.root", "1", K("PayloadContent", "<data>MAEC</data>"))), 'E', "PayloadContent[0].PayloadContent", "no certificate"},
	/* the Profile Service */
	{SERVICE("<dict>" K("URL", S("https://a")) K("DeviceAttributes", "<array>" S("UDID") "</array>") K("Challenge", S("c")) "</dict>"), 0, NULL, NULL},
	{SERVICE("<array/>"), 'E', "PayloadContent", "must be a dictionary"},
	{SERVICE("<dict>" K("DeviceAttributes", "<array/>") "</dict>"), 'E', "PayloadContent.URL", "missing"},
	{SERVICE("<dict>" K("URL", S("https://a")) "</dict>"), 'E', "PayloadContent.DeviceAttributes", "missing"},
	{SERVICE("<dict>" K("URL", S("https://a")) K("DeviceAttributes", "<array>" I("1") "</array>") "</dict>"), 'E', "PayloadContent.DeviceAttributes", "no string"},
	{SERVICE("<dict>" K("URL", S("https://a")) K("DeviceAttributes", "<array/>") K("Challenge", I("1")) "</dict>"), 'E', "PayloadContent.Challenge", "must be a string"},
	/* no profile at all */
	{"<plist><array/></plist>", 'E', "", "must be a dictionary"},
	{"hello", 'E', "", "syntax error"},
	{"0", 'E', "", "signed, but it is broken"},
};

static GPtrArray *open_pkcs12(const void *data, size_t len, const char *password, GError **error)
{
	GPtrArray *certs = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);
	X509 *cert = testkit_cert(testkit_ec("P-256"), "identity", 1, NULL, NULL);

	X509_gmtime_adj(X509_getm_notBefore(cert), 0);
	ASN1_TIME_set(X509_getm_notBefore(cert), NOW - 100);
	ASN1_TIME_set(X509_getm_notAfter(cert), !strcmp(password, "old") ? NOW - 1 : NOW + 100);
	g_ptr_array_add(certs, cert);
	if (!strcmp(password, "twice")) {
		X509_up_ref(cert);
		g_ptr_array_add(certs, cert);
	}
	if (strcmp(password, "wrong"))
		return certs;
	g_ptr_array_unref(certs);
	pom_fail(error, POM_ERR_PASSWORD, "no");
	return NULL;
}

static const struct lint_facts facts = {.now_s = NOW, .open_pkcs12 = open_pkcs12};

static void print(const struct lint_report *report)
{
	g_autofree char *text = finding_report_text(report->found, 0, false);

	g_test_message("%s", text);
}

/* The finding of most weight, when there is one: notes are passed over where a warning or error is meant. */
static const struct finding *only_finding(const struct lint_report *report, char severity)
{
	const struct finding *found = NULL;

	for (guint i = 0; i < report->found->findings->len; i++) {
		const struct finding *f = report->found->findings->pdata[i];

		if ((f->severity == FINDING_NOTE && severity != 'N') || !strcmp(f->rule, "signature-none") || (severity == 'D' && found))
			continue;
		if (found)
			return NULL;
		found = f;
	}
	return found;
}

static bool is_as(const struct lint_report *report, const struct finding *f, char severity)
{
	static const enum finding_severity severities[128] = {['W'] = FINDING_WARNING, ['E'] = FINDING_ERROR, ['F'] = FINDING_ERROR, ['D'] = FINDING_ERROR, ['N'] = FINDING_NOTE};

	return f->severity == severities[(unsigned char)severity] && g_hash_table_contains(report->fixable, f) == (severity == 'F');
}

static void test_cases(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(lint_report) report = lint_file("f", cases[i].text, strlen(cases[i].text), &facts);
		const struct finding *f = only_finding(report, cases[i].severity);

		if (!cases[i].path) {
			print(report);
			g_assert_cmpuint(report->found->n[FINDING_ERROR], ==, 0);
			g_assert_cmpuint(report->found->n[FINDING_WARNING], ==, 0);
			continue;
		}
		if (!f || strcmp(f->path, cases[i].path) || !strstr(f->text, cases[i].what) || !is_as(report, f, cases[i].severity)) {
			print(report);
			g_error("%s", cases[i].text);
		}
	}
}

/* What can be repaired is repaired, once and for all; what cannot stays as it is. */
static void test_fix(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(lint_report) left = NULL;
		g_autoptr(GError) error = NULL;
		g_autoptr(GBytes) fixed = lint_fix("f", cases[i].text, strlen(cases[i].text), &facts, &left, &error);
		g_autoptr(plist) tree = fixed ? plist_parse(g_bytes_get_data(fixed, NULL), g_bytes_get_size(fixed), NULL, NULL) : NULL;

		if (!fixed)
			continue;
		g_assert_nonnull(tree);
		if (cases[i].severity == 'F') {
			print(left);
			g_assert_cmpuint(left->found->n[FINDING_ERROR], ==, 0);
			g_assert_true(mobileconfig_check(tree, NULL));
		} else {
			g_autoptr(plist) before = plist_parse(cases[i].text, strlen(cases[i].text), NULL, NULL);

			g_assert_true(plist_equal(before, tree));
		}
	}
}

static void test_fixed_values(void)
{
	static const char text[] = "<plist><dict>" CONTENT("<dict>" K("PayloadType", S("com.apple.security.scep")) K("URL", S("https://a")) K("KeySize", I("2048")) K("CAFingerprint", S("000102030405060708090A0B0C0D0E0F10111213"))
	                                                   "</dict><dict>" K("PayloadType", S("com.apple.security.pkcs12")) K("PayloadContent", S("MAEC")) "</dict>") "</dict></plist>";
	g_autoptr(lint_report) left = NULL, again_left = NULL;
	g_autoptr(GBytes) fixed = lint_fix("f", text, strlen(text), &facts, &left, NULL), again = lint_fix("f", text, strlen(text), &facts, &again_left, NULL);
	g_autoptr(plist) tree = plist_parse(g_bytes_get_data(fixed, NULL), g_bytes_get_size(fixed), NULL, NULL);
	const plist *scep = plist_child(plist_dict_get(tree, "PayloadContent"), 0), *inside = plist_dict_get(scep, "PayloadContent"), *p12 = plist_child(plist_dict_get(tree, "PayloadContent"), 1);
	int64_t size = 0;
	size_t len = 0;

	g_assert_cmpuint(left->found->n[FINDING_ERROR], ==, 0);
	g_assert_true(g_bytes_equal(fixed, again));
	g_assert_true(plist_get_integer(plist_dict_get(inside, "Keysize"), &size) && size == 2048);
	g_assert_nonnull(plist_get_data(plist_dict_get(inside, "CAFingerprint"), &len));
	g_assert_cmpuint(len, ==, 20);
	g_assert_null(plist_dict_get(scep, "URL"));
	g_assert_nonnull(plist_get_data(plist_dict_get(p12, "PayloadContent"), &len));
	g_assert_cmpuint(len, ==, 3);
	g_assert_cmpstr(plist_get_string(plist_dict_get(tree, "PayloadType")), ==, "Configuration");
	g_assert_cmpstr(plist_get_string(plist_dict_get(scep, "PayloadUUID")), !=, plist_get_string(plist_dict_get(p12, "PayloadUUID")));
	g_assert_true(g_str_has_prefix(plist_get_string(plist_dict_get(scep, "PayloadIdentifier")), plist_get_string(plist_dict_get(tree, "PayloadIdentifier"))));
}

/* Whatever the strict check refuses is an error here; what it takes need not be without one. */
static void test_agreement(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(profiles); i++) {
		g_autoptr(lint_report) report = lint_file("f", profiles[i].text, strlen(profiles[i].text), &facts);

		if (profiles[i].code && !report->found->n[FINDING_ERROR])
			g_error("no error found: %s", profiles[i].text);
	}
}

static void test_signed(void)
{
	static const char text[] = ONE(SCEP_P("") MDM_P(RIGHTS)), bad[] = ONE("");
	g_autoptr(X509) cert = testkit_cert(testkit_ec("P-256"), "signer", 1, NULL, NULL);
	g_autoptr(GBytes) good = testkit_sign(cert, testkit_ec("P-256"), EVP_sha256(), 0, text), broken = testkit_replace(good, "org.example", "org.Example", 11),
	                  empty = testkit_sign(cert, testkit_ec("P-256"), EVP_sha256(), 0, bad);
	struct { GBytes *bytes; unsigned n_errors, n_warnings; } files[] = {{good, 0, 0}, {broken, 1, 0}, {empty, 0, 1}};

	for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
		g_autoptr(lint_report) report = lint_file("f", g_bytes_get_data(files[i].bytes, NULL), g_bytes_get_size(files[i].bytes), &facts), left = NULL;
		g_autoptr(GError) error = NULL;

		print(report);
		g_assert_true(report->is_signed);
		g_assert_cmpuint(report->found->n[FINDING_ERROR], ==, files[i].n_errors);
		g_assert_cmpuint(report->found->n[FINDING_WARNING], ==, files[i].n_warnings);
		g_assert_null(lint_fix("f", g_bytes_get_data(files[i].bytes, NULL), g_bytes_get_size(files[i].bytes), &facts, &left, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_CONFLICT);
	}
}

static const struct finding *find(const struct lint_report *report, const char *rule)
{
	for (guint i = 0; i < report->found->findings->len; i++)
		if (!strcmp(((const struct finding *)report->found->findings->pdata[i])->rule, rule))
			return report->found->findings->pdata[i];
	return NULL;
}

/* What cannot be read has its own rule. */
static void test_files(void)
{
	static const uint8_t wide[] = {0xff, 0xfe, '<', 0, 'p', 0};
	static const struct { const char *text, *rule; int line; } files[] = {
		{"", "file-empty", 0}, {"<!DOCTYPE html><html></html>", "file-html", 0}, {"\n <HTML>", "file-html", 0}, {"-----BEGIN PRIVATE KEY-----\n", "file-private-key", 0},
		{"-----BEGIN EC PRIVATE KEY-----\n", "file-private-key", 0}, {"-----BEGIN PKCS7-----\n", "file-pem", 0}, {"{\"Type\": 1}", "file-json", 0}, {"<plist>\n<dict>", "file-syntax", 2},
		{"<plist>\n<dict>\n<key>a</key><integer>x</integer></dict></plist>", "file-value", 3}, {"<plist>\n<dict><string>a</string></dict></plist>", "file-structure", 2},
		{"<!DOCTYPE plist [<!ENTITY a 'b'>]><plist/>", "file-entity", 1}, {"0", "signature-cut", 0}, {"0\x03\x02\x01\x01", "file-der", 0}, {"hello", "file-syntax", 1},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
		g_autoptr(lint_report) report = lint_file("f", files[i].text, strlen(files[i].text), &facts);
		const struct finding *f = find(report, files[i].rule);

		print(report);
		g_assert_cmpuint(report->found->findings->len, ==, 1);
		g_assert_nonnull(f);
		g_assert_cmpint(f->line, ==, files[i].line);
	}
	g_autoptr(lint_report) report = lint_file("f", wide, sizeof(wide), &facts);
	g_assert_nonnull(find(report, "file-utf16"));
}

/* The line of the key, or of the nearest thing around it that is there. */
static void test_lines(void)
{
	static const char text[] = "<plist>\n<dict>\n" GOOD_HEAD("Configuration", "org.example", "0") "\n<key>PayloadContent</key>\n<array>\n<dict>\n" GOOD_HEAD("com.apple.security.scep", "s", "1")
		"\n<key>PayloadContent</key>\n<dict>\n<key>URL</key>\n<string>ftp://a</string>\n<key>KeySize</key><integer>2048</integer></dict></dict></array></dict></plist>";
	g_autoptr(lint_report) report = lint_file("f", text, strlen(text), &facts);
	g_autoptr(lint_report) missing = lint_file("f", ONE("\n\n<dict>\n</dict>"), strlen(ONE("\n\n<dict>\n</dict>")), &facts);

	print(report);
	g_assert_cmpint(find(report, "scep-url")->line, ==, 10);
	g_assert_cmpint(find(report, "scep-spelling")->line, ==, 12);
	g_assert_cmpint(find(missing, "key-missing")->line, ==, 3);
}

static void test_systems(void)
{
	static const struct { const char *systems, *text, *rule; enum finding_severity severity; bool is_unsupervised; } asked[] = {
		{"ios", ONE(P("com.apple.dock", "1", "")), "payload-system", FINDING_ERROR, false},
		{"macos", ONE(P("com.apple.dock", "1", "")), NULL, FINDING_NOTE, false},
		{"ios=15.4", ONE(P("com.apple.security.acme", "1", "")), "payload-too-new", FINDING_ERROR, false},
		{"ios=16", ONE(ACME_P("RSA", "2048", "<false/>", "")), NULL, FINDING_NOTE, false},
		{"macos=10.14", ONE(P("com.apple.airplay", "1", "")), NULL, FINDING_NOTE, false},
		{"ios", ONE(P("com.apple.applicationaccess", "1", K("allowAirDrop", YES))), "key-supervised", FINDING_NOTE, false},
		{"ios", ONE(P("com.apple.applicationaccess", "1", K("allowAirDrop", YES))), "key-supervised", FINDING_WARNING, true},
		{"ios", ONE(P("com.apple.app.lock", "1", K("App", "<dict>" K("Identifier", S("a")) "</dict>"))), "payload-supervised", FINDING_WARNING, true},
		{"ios=17", ONE(SCEP_P("") MDM_P(RIGHTS K("ManagedAppleID", S("a@b")))), "key-deprecated", FINDING_NOTE, false},
		{"ios=18", ONE(SCEP_P("") MDM_P(RIGHTS K("ManagedAppleID", S("a@b")))), "key-removed", FINDING_WARNING, false},
		{"tvos", ONE(SCEP_P("") MDM_P(RIGHTS K("ManagedAppleID", S("a@b")))), "key-system", FINDING_WARNING, false},
		{"ios=15", ONE(SCEP_P("") MDM_P(RIGHTS K("RequiredAppIDForMDM", I("1")))), "key-too-new", FINDING_WARNING, false},
		{NULL, ONE(SCEP_P("") MDM_P(RIGHTS K("ManagedAppleID", S("a@b")))), "key-removed", FINDING_WARNING, false},
		{NULL, ONE(P("com.apple.apn.managed", "1", "")), "payload-deprecated", FINDING_NOTE, false},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(asked); i++) {
		struct lint_facts for_one = {.now_s = NOW, .n_systems = asked[i].systems != NULL, .is_unsupervised = asked[i].is_unsupervised};
		g_assert_true(!asked[i].systems || lint_system_parse(asked[i].systems, &for_one.systems[0], NULL));
		g_autoptr(lint_report) report = lint_file("f", asked[i].text, strlen(asked[i].text), &for_one);

		print(report);
		if (!asked[i].rule) {
			g_assert_cmpuint(report->found->n[FINDING_ERROR] + report->found->n[FINDING_WARNING], ==, 0);
			continue;
		}
		g_test_message("%s %s", asked[i].systems, asked[i].rule);
		g_assert_nonnull(find(report, asked[i].rule));
		g_assert_cmpint(find(report, asked[i].rule)->severity, ==, asked[i].severity);
	}
}

static void test_system_names(void)
{
	static const char *const bad[] = {"", "linux", "all", "ios=", "ios=x", "ios=1.2.3.4", "ios=100", "ios=17.", "=17"};
	struct lint_system system;

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_false(lint_system_parse(bad[i], &system, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_USAGE);
	}
	g_assert_true(lint_system_parse("macOS=10.13.4", &system, NULL));
	g_assert_cmpuint(system.system, ==, FINDING_MACOS);
	g_assert_cmpuint(system.version, ==, 101304);
	struct lint_system several[LINT_SYSTEMS_MAX];
	size_t n = 0;

	g_assert_true(lint_systems_parse("ios=17.2,macos", several, &n, NULL) && lint_systems_parse("tvos", several, &n, NULL));
	g_assert_cmpuint(n, ==, 3);
	g_assert_cmpuint(several[0].version, ==, 170200);
	g_assert_cmpuint(several[2].system, ==, FINDING_TVOS);
	g_assert_false(lint_systems_parse("ios,", several, &n, NULL));
	n = 0;
	g_assert_false(lint_systems_parse("ios,ios,ios,ios,ios,ios,ios,ios,ios,ios,ios", several, &n, NULL));
	g_assert_cmpuint(n, ==, LINT_SYSTEMS_MAX);
	g_assert_true(lint_system_parse("ipados", &system, NULL));
	g_assert_cmpuint(system.system, ==, FINDING_IOS);
}

/* Two values of one key are not chosen between; two equal ones are one. */
static void test_duplicates(void)
{
	static const char two[] = "<plist><dict>" GOOD_HEAD("Configuration", "org.example", "0") CONTENT(SCEP_P("")) CONTENT("") "</dict></plist>";
	static const char same[] = "<plist><dict>" GOOD_HEAD("Configuration", "org.example", "0") K("PayloadVersion", I("1")) CONTENT(SCEP_P("")) "</dict></plist>";
	g_autoptr(lint_report) left = NULL;
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) fixed = lint_fix("f", two, strlen(two), &facts, &left, &error);

	g_assert_null(fixed);
	g_assert_error(error, POM_ERROR, POM_ERR_PLIST_STRUCTURE);
	fixed = lint_fix("f", same, strlen(same), &facts, &left, NULL);
	g_assert_nonnull(fixed);
	g_assert_cmpuint(left->found->n[FINDING_ERROR], ==, 0);
}

static void test_rules(void)
{
	g_autoptr(GHashTable) ids = g_hash_table_new(g_str_hash, g_str_equal);

	for (int i = 0; i < LINT_RULE_MAX; i++)
		g_assert_true(g_hash_table_add(ids, (void *)(uintptr_t)lint_rule((enum lint_rule_id)i)->id));
}

static void test_many(void)
{
	g_autoptr(GString) text = g_string_new("<plist><dict>" HEAD("Configuration", "org.example", "P") "<key>PayloadContent</key><array><dict>" HEAD("com.apple.dock", "d", "D"));

	for (int i = 0; i < 5000; i++)
		g_string_append_printf(text, "<key>unknown%d</key><true/>", i);
	g_string_append(text, "</dict></array></dict></plist>");
	g_autoptr(lint_report) report = lint_file("f", text->str, text->len, &facts);

	g_assert_cmpuint(report->found->findings->len, ==, FINDINGS_MAX);
	g_assert_cmpuint(report->found->n[FINDING_WARNING], ==, 5002);
}

static void test_names(void)
{
	static const struct { const char *typed, *known; bool near; } names[] = {
		{"com.apple.wifi.manged", "com.apple.wifi.managed", true}, {"SSID-STR", "SSID_STR", true}, {"PayloadRemovalDisalowed", "PayloadRemovalDisallowed", true}, {"URl", "URL", true},
		{"com.example.other", "com.apple.wifi.managed", false}, {"Nmae", "Name", true}, {"xyz", "URL", false},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		g_assert_cmpint(payload_name_is_near(names[i].typed, names[i].known), ==, names[i].near);
	g_assert_cmpstr(payload_type_nearest("com.apple.security.scpe"), ==, "com.apple.security.scep");
	g_assert_null(payload_type_nearest("org.example.nothing"));
	g_assert_nonnull(payload_type_find(".GlobalPreferences"));
	const struct payload_type *dots = payload_type_find(".GlobalPreferences");
	g_assert_nonnull(payload_key_find(dots->first, dots->n_keys, "com.apple.autologout.AutoLogOutDelay"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/lint/cases", test_cases);
	g_test_add_func("/lint/fix", test_fix);
	g_test_add_func("/lint/fixed_values", test_fixed_values);
	g_test_add_func("/lint/agreement", test_agreement);
	g_test_add_func("/lint/signed", test_signed);
	g_test_add_func("/lint/files", test_files);
	g_test_add_func("/lint/lines", test_lines);
	g_test_add_func("/lint/systems", test_systems);
	g_test_add_func("/lint/system_names", test_system_names);
	g_test_add_func("/lint/duplicates", test_duplicates);
	g_test_add_func("/lint/rules", test_rules);
	g_test_add_func("/lint/many", test_many);
	g_test_add_func("/lint/names", test_names);
	return g_test_run();
}
