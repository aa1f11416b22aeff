#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "core/watch.h"

enum { NOW = 1000000 };

static plist *parse_xml(const char *body)
{
	g_autofree char *xml = g_strdup_printf("<plist version=\"1.0\">%s</plist>", body);
	g_autoptr(GError) error = NULL;
	plist *tree = plist_parse(xml, strlen(xml), NULL, &error);

	g_assert_no_error(error);
	return tree;
}

/* ---- keys ---- */

/* The digests stand in the table beside the keys that they are of, so one that was copied wrongly shows. */
static void test_pins(void)
{
	for (size_t i = 0; i < n_apple_keys; i++) {
		gsize len;
		g_autofree guchar *der = g_base64_decode(apple_keys[i].spki, &len);
		const uint8_t *p = der;
		g_autoptr(EVP_PKEY) key = d2i_PUBKEY(NULL, &p, (long)len);
		uint8_t sha256[CERT_DIGEST_LEN];
		g_autofree char *hex = NULL;

		cert_sha256(der, len, sha256);
		hex = hex_format(sha256, sizeof(sha256));
		g_assert_cmpstr(hex, ==, apple_keys[i].spki_sha256);
		g_assert_nonnull(key);
		g_assert_cmpint(EVP_PKEY_get_bits(key), ==, apple_keys[i].role == APPLE_DEVICE_CA ? 1024 : 2048);
		g_assert_true(apple_key_find(sha256) == &apple_keys[i]);
	}
	g_assert_cmpstr(apple_keys[0].name, ==, "Apple iPhone Device CA");
	g_assert_cmpint(apple_keys[0].role, ==, APPLE_DEVICE_CA);
	g_assert_null(apple_key_find((const uint8_t[CERT_DIGEST_LEN]){0}));
}

static EVP_PKEY *new_key(unsigned bits)
{
	return EVP_RSA_gen(bits);
}

/* A certificate of SUBJECT for KEY, signed with SHA-1 by ISSUER's key. Times are years before now. */
static X509 *new_cert(EVP_PKEY *key, const char *subject, EVP_PKEY *issuer, const char *issuer_name, bool is_ca)
{
	X509 *cert = X509_new();
	X509_NAME *name;

	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 7);
	name = X509_get_subject_name(cert);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)subject, -1, -1, 0);
	name = X509_get_issuer_name(cert);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)issuer_name, -1, -1, 0);
	ASN1_TIME_set(X509_getm_notBefore(cert), 1176681600);
	ASN1_TIME_set(X509_getm_notAfter(cert), 1397520000);
	X509_set_pubkey(cert, key);
	if (is_ca) {
		X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");

		X509_add_ext(cert, extension, -1);
		X509_EXTENSION_free(extension);
	}
	g_assert_cmpint(X509_sign(cert, issuer, EVP_sha1()), >, 0);
	return cert;
}

/* A pin is a key: what is signed with it is a factory identity, though the CA has ended, is small and signs with SHA-1; what has only its name is not. */
static void test_pinned_issuer(void)
{
	g_autoptr(EVP_PKEY) ca = new_key(1024), other = new_key(1024), device = new_key(1024);
	g_autoptr(GBytes) der = cert_spki_format(ca);
	g_autofree char *spki = g_base64_encode(g_bytes_get_data(der, NULL), g_bytes_get_size(der));
	const struct apple_key pins[] = {{"above", APPLE_OTHER_CA, apple_keys[2].spki, ""}, {"device CA", APPLE_DEVICE_CA, spki, ""}}, above[] = {{"above", APPLE_OTHER_CA, spki, ""}};
	g_autoptr(X509) leaf = new_cert(device, "leaf", ca, "Apple iPhone Device CA", false), pretended = new_cert(device, "leaf", other, "Apple iPhone Device CA", false);

	g_assert_true(apple_key_issuer(pins, G_N_ELEMENTS(pins), leaf) == &pins[1]);
	g_assert_null(apple_key_issuer(pins, G_N_ELEMENTS(pins), pretended));
	g_assert_null(apple_key_issuer(above, G_N_ELEMENTS(above), leaf));
	g_assert_null(apple_key_issuer(apple_keys, n_apple_keys, leaf));
}

static void test_device_cas(void)
{
	static const struct { const char *name; unsigned bits; bool is_ca; const char *text; } cases[] = {
		{"fine", 1024, true, NULL}, {"no CA", 2048, false, "no CA certificate"}, {"small", 768, true, "768 bits"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(EVP_PKEY) key = new_key(cases[i].bits);
		g_autoptr(X509) cert = new_cert(key, cases[i].name, key, cases[i].name, cases[i].is_ca);
		g_autoptr(cert_info) info = cert_info_new(cert, NULL);
		g_autoptr(GError) error = NULL;

		g_assert_cmpint(device_ca_check(cert, info, &error), ==, !cases[i].text);
		if (cases[i].text) {
			g_assert_error(error, POM_ERROR, POM_ERR_DEVICE_CA);
			g_assert_nonnull(strstr(error->message, cases[i].text));
		}
		g_assert_cmpint(ota_check_leaf(info, NULL), ==, !cases[i].is_ca);
		/* Whatever a certificate says, Apple's keys are known. */
		for (size_t k = 0; k < n_apple_keys; k++) {
			g_autoptr(GBytes) digest = hex_parse(apple_keys[k].spki_sha256);
			g_autoptr(GError) apple = NULL;

			memcpy(info->spki_sha256, g_bytes_get_data(digest, NULL), CERT_DIGEST_LEN);
			g_assert_false(device_ca_check(cert, info, &apple));
			g_assert_nonnull(strstr(apple->message, apple_keys[k].name));
			g_assert_nonnull(strstr(apple->message, k ? "developer" : "built in"));
		}
	}
}

/* ---- attributes ---- */

#define DICT(x) "<dict>" x "</dict>"
#define KEY(k, v) "<key>" k "</key><string>" v "</string>"

static void test_attributes(void)
{
	static const struct { const char *xml; bool ok; } cases[] = {
		{DICT(KEY("UDID", "U1") KEY("SERIAL", "S1") KEY("CHALLENGE", "c")), true}, {DICT(KEY("UDID", "U1")), true}, {DICT(KEY("SERIAL", "S1")), true},
		{DICT(KEY("CHALLENGE", "c") KEY("PRODUCT", "iPhone15,2")), false}, {DICT(KEY("UDID", "") KEY("SERIAL", "S1")), false}, {DICT("<key>UDID</key><integer>1</integer>"), false},
		{"<array/>", false}, {"<string>x</string>", false}, {DICT(), false}, {DICT(KEY("UDID", "U1") "<key>CHALLENGE</key><data>AA==</data>"), false},
		{DICT(KEY("UDID", "U1") "<key>PAIRING_TOKEN</key><data>AAEC</data>"), true}, {DICT(KEY("UDID", "U1") KEY("PAIRING_TOKEN", "x")), false},
		{DICT(KEY("UDID", "U1") "<key>PAIRING_TOKEN</key><data></data>"), false}, {DICT(KEY("UDID", "U1") "<key>Other</key><array><string>x</string></array>"), true},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(plist) tree = parse_xml(cases[i].xml);
		g_autoptr(GError) error = NULL;
		struct ota_attributes a;

		g_test_message("%s", cases[i].xml);
		g_assert_cmpint(ota_attributes_parse(tree, &a, &error), ==, cases[i].ok);
		if (!cases[i].ok)
			g_assert_error(error, POM_ERROR, POM_ERR_OTA_ATTRIBUTES);
	}
}

static void test_too_many_attributes(void)
{
	GString *xml = g_string_new(NULL);
	g_autofree char *long_id = g_strnfill(CHECKIN_ID_MAX + 1, 'u'), *text = NULL, *long_xml = g_strdup_printf(DICT(KEY("UDID", "%s")), long_id);
	g_autoptr(plist) tree = NULL, longer = parse_xml(long_xml);
	struct ota_attributes a;

	for (int i = 0; i < OTA_ATTRIBUTES_MAX; i++)
		g_string_append_printf(xml, KEY("K%d", "v"), i);
	text = g_strdup_printf(DICT(KEY("UDID", "U1") "%s"), xml->str);
	g_string_free(xml, TRUE);
	tree = parse_xml(text);
	g_assert_false(ota_attributes_parse(tree, &a, NULL));
	g_assert_false(ota_attributes_parse(longer, &a, NULL));
}

static void test_shown_attributes(void)
{
	g_autoptr(plist) tree = parse_xml(DICT(KEY("UDID", "U1") KEY("CHALLENGE", "secret") "<key>PAIRING_TOKEN</key><data>AAEC</data><key>NotOnConsole</key><false/><key>N</key><integer>3</integer><key>L</key><array/>"));
	g_autofree char *shown = ota_attributes_format(tree);

	g_assert_cmpstr(shown, ==, "{\"UDID\":\"U1\",\"NotOnConsole\":false,\"N\":3}");
}

static void test_wanted(void)
{
	static const struct { const char *setting, *wanted; } cases[] = {
		{"", "UDID SERIAL"}, {"PRODUCT, VERSION", "UDID SERIAL PRODUCT VERSION"}, {"SERIAL UDID IMEI IMEI", "UDID SERIAL IMEI"}, {"Product", NULL}, {"A<B", NULL},
		{OTA_WANTED_DEFAULT, "UDID SERIAL " OTA_WANTED_DEFAULT},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_auto(GStrv) wanted = ota_wanted_parse(cases[i].setting, &error);
		g_autofree char *joined = wanted ? g_strjoinv(" ", wanted) : NULL;

		g_assert_cmpstr(joined, ==, cases[i].wanted);
		if (!cases[i].wanted)
			g_assert_error(error, POM_ERROR, POM_ERR_CONFIG);
	}
}

/* ---- rules ---- */

static void test_identify(void)
{
	static const struct { const char *challenge, *udid, *serial; uint8_t key; bool bound; int64_t n; int code; } cases[] = {
		{"c", "U1", "S1", 1, false, 0, -1}, {"c", "U1", "S1", 1, true, 1, -1}, {"c", "U1", "S1", 1, true, OTA_IDENTITIES_MAX, POM_ERR_OTA_LIMIT}, {NULL, "U1", "S1", 1, false, 0, POM_ERR_OTA_CHALLENGE},
		{"d", "U1", "S1", 1, false, 0, POM_ERR_OTA_CHALLENGE}, {"cc", "U1", "S1", 1, true, 1, POM_ERR_OTA_CHALLENGE}, {"c", "U1", "S1", 2, true, 1, POM_ERR_OTA_BOUND},
		{"c", "U2", "S2", 2, true, 1, POM_ERR_OTA_BOUND}, {"c", "U2", "S1", 1, true, 1, POM_ERR_OTA_BOUND}, {"c", "U1", NULL, 1, true, 1, POM_ERR_OTA_BOUND}, {"c", NULL, "S1", 1, true, 1, POM_ERR_OTA_BOUND},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		const uint8_t bound_key[CERT_DIGEST_LEN] = {1}, key[CERT_DIGEST_LEN] = {cases[i].key};
		struct ota_attributes a = {.udid = cases[i].udid, .serial = cases[i].serial, .challenge = cases[i].challenge};
		struct ota_facts facts = {.bound = cases[i].bound, .udid = "U1", .serial = "S1", .factory_spki_sha256 = bound_key, .version = 1, .n_identities = cases[i].n};
		g_autoptr(GError) error = NULL;
		bool again = false;

		g_test_message("case %u", i);
		g_assert_cmpint(ota_decide_identify(&a, "c", key, &facts, &again, &error), ==, cases[i].code < 0);
		if (cases[i].code >= 0)
			g_assert_error(error, POM_ERROR, cases[i].code);
		else
			g_assert_cmpint(again, ==, cases[i].bound);
	}
}

static void test_enroll(void)
{
	static const struct { bool known; enum certificate_state state; const char *ota_link; int64_t not_after; bool bound; const char *udid, *serial; int code; } cases[] = {
		{true, CERTIFICATE_ISSUED, "L1", 2 * NOW, true, "U1", "S1", -1}, {false, CERTIFICATE_ISSUED, "L1", 2 * NOW, true, "U1", "S1", POM_ERR_CERT_UNTRUSTED},
		{true, CERTIFICATE_RESERVED, "L1", 2 * NOW, true, "U1", "S1", POM_ERR_CERT_UNTRUSTED}, {true, CERTIFICATE_REVOKED, "L1", 2 * NOW, true, "U1", "S1", POM_ERR_CERT_REVOKED},
		{true, CERTIFICATE_ISSUED, "L2", 2 * NOW, true, "U1", "S1", POM_ERR_OTA_PHASE}, {true, CERTIFICATE_ISSUED, NULL, 2 * NOW, true, "U1", "S1", POM_ERR_OTA_PHASE},
		{true, CERTIFICATE_ISSUED, "L1", NOW - 1, true, "U1", "S1", POM_ERR_CERT_EXPIRED}, {true, CERTIFICATE_ISSUED, "L1", 2 * NOW, false, "U1", "S1", POM_ERR_OTA_PHASE},
		{true, CERTIFICATE_ISSUED, "L1", 2 * NOW, true, "U2", "S1", POM_ERR_OTA_BOUND}, {true, CERTIFICATE_ISSUED, "L1", 2 * NOW, true, "U1", NULL, POM_ERR_OTA_BOUND},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		const uint8_t key[CERT_DIGEST_LEN] = {1};
		struct ota_attributes a = {.udid = cases[i].udid, .serial = cases[i].serial};
		struct certificate_facts certificate = {.known = cases[i].known, .state = cases[i].state, .serial = "01", .ota_link_id = cases[i].ota_link, .not_after_ms = cases[i].not_after};
		struct ota_facts facts = {.bound = cases[i].bound, .udid = "U1", .serial = "S1", .factory_spki_sha256 = key, .version = 1};
		g_autoptr(GError) error = NULL;

		g_test_message("case %u", i);
		g_assert_cmpint(ota_decide_enroll(&a, "L1", &certificate, &facts, NOW, &error), ==, cases[i].code < 0);
		if (cases[i].code >= 0)
			g_assert_error(error, POM_ERROR, cases[i].code);
	}
}

static void test_service_document(void)
{
	static const char *const wanted[] = {"UDID", "SERIAL", NULL};
	const struct ota_service service = {"01890000-0000-7000-8000-AABBCCDDEEFF", "Org", "https://mdm.example.org:8443", "https://mdm.example.org:8443/ota/t", "c", wanted};
	g_autoptr(plist) tree = ota_service_build(&service);
	const plist *content = plist_dict_get(tree, "PayloadContent");

	g_assert_cmpstr(plist_get_string(plist_dict_get(tree, "PayloadType")), ==, "Profile Service");
	g_assert_cmpstr(plist_get_string(plist_dict_get(tree, "PayloadIdentifier")), ==, "org.example.mdm.profile-service");
	g_assert_cmpint(plist_get_type(content), ==, PLIST_DICT);
	g_assert_cmpstr(plist_get_string(plist_dict_get(content, "URL")), ==, service.url);
	g_assert_cmpuint(plist_count(plist_dict_get(content, "DeviceAttributes")), ==, 2);
	g_assert_cmpstr(plist_get_string(plist_dict_get(content, "Challenge")), ==, "c");
}

/* ---- watches ---- */

static void test_token(void)
{
	struct watch_token token = {.nonce = {1, 2, 3}, .expires_ms = 1234567890123, .pairing_id = (char *)"P1", .phone_id = (char *)"E1", .watch_udid = (char *)"W1"}, read;
	g_autoptr(GBytes) unsealed = watch_token_format(&token);
	gsize len;
	const uint8_t *data = g_bytes_get_data(unsealed, &len);
	g_autofree uint8_t *whole = g_malloc0(len + WATCH_MAC_LEN + 1);

	memcpy(whole, data, len);
	g_assert_true(watch_token_parse(whole, len + WATCH_MAC_LEN, &read, NULL));
	g_assert_cmpmem(read.nonce, WATCH_NONCE_LEN, token.nonce, WATCH_NONCE_LEN);
	g_assert_cmpint(read.expires_ms, ==, token.expires_ms);
	g_assert_cmpstr(read.pairing_id, ==, "P1");
	g_assert_cmpstr(read.phone_id, ==, "E1");
	g_assert_cmpstr(read.watch_udid, ==, "W1");
	watch_token_clear(&read);
	for (size_t n = 0; n < len + WATCH_MAC_LEN + 2; n++)
		if (n != len + WATCH_MAC_LEN)
			g_assert_false(watch_token_parse(whole, MIN(n, len + WATCH_MAC_LEN + 1), &read, NULL));
	whole[0] = 2;
	g_assert_false(watch_token_parse(whole, len + WATCH_MAC_LEN, &read, NULL));
}

static void test_grant(void)
{
	static const struct {
		enum watch_policy policy;
		const char *user, *phone_udid, *watch_udid, *product, *supervised;
		int64_t state, granted, expires;
		bool known;
		int code;
	} cases[] = {
		{WATCH_SUPERVISED, "", "U1", "W1", "iPhone15,2", "true", ENROLLMENT_ENROLLED, 0, 2 * NOW, true, -1},
		{WATCH_OFF, "", "U1", "W1", "iPhone15,2", "true", ENROLLMENT_ENROLLED, 0, 2 * NOW, true, POM_ERR_WATCH_OFF},
		{WATCH_SUPERVISED, "", "U1", "W1", "iPhone15,2", "false", ENROLLMENT_ENROLLED, 0, 2 * NOW, true, POM_ERR_WATCH_PHONE},
		{WATCH_SUPERVISED, "", "U1", "W1", "iPhone15,2", NULL, ENROLLMENT_ENROLLED, 0, 2 * NOW, true, POM_ERR_WATCH_SUPERVISION},
		{WATCH_ANY, "", "U1", "W1", "iPhone15,2", NULL, ENROLLMENT_ENROLLED, 0, 2 * NOW, true, -1},
		{WATCH_ANY, "u", "U1", "W1", "iPhone15,2", NULL, ENROLLMENT_ENROLLED, 0, 2 * NOW, true, POM_ERR_WATCH_PHONE},
		{WATCH_ANY, "", "U2", "W1", "iPhone15,2", NULL, ENROLLMENT_ENROLLED, 0, 2 * NOW, true, POM_ERR_WATCH_PHONE},
		{WATCH_ANY, "", "U1", "W1", "iPad13,1", NULL, ENROLLMENT_ENROLLED, 0, 2 * NOW, true, POM_ERR_WATCH_PHONE},
		{WATCH_ANY, "", "U1", "W1", NULL, NULL, ENROLLMENT_ENROLLED, 0, 2 * NOW, true, POM_ERR_WATCH_PHONE},
		{WATCH_ANY, "", "U1", "W1", "iPhone15,2", NULL, ENROLLMENT_ENDED, 0, 2 * NOW, true, POM_ERR_WATCH_PHONE},
		{WATCH_ANY, "", "U1", "W2", "iPhone15,2", NULL, ENROLLMENT_ENROLLED, 0, 2 * NOW, true, POM_ERR_WATCH_SECURITY},
		{WATCH_ANY, "", "U1", "W1", "iPhone15,2", NULL, ENROLLMENT_ENROLLED, 1, 2 * NOW, true, POM_ERR_WATCH_SECURITY},
		{WATCH_ANY, "", "U1", "W1", "iPhone15,2", NULL, ENROLLMENT_ENROLLED, 0, NOW, true, POM_ERR_WATCH_SECURITY},
		{WATCH_ANY, "", "U1", "W1", "iPhone15,2", NULL, ENROLLMENT_ENROLLED, 0, 2 * NOW, false, POM_ERR_WATCH_SECURITY},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct checkin_message m = {.type = CHECKIN_GET_TOKEN, .who = {.device_id = "U1", .user_part = cases[i].user}, .phone_udid = cases[i].phone_udid, .watch_udid = cases[i].watch_udid, .security_token = "s"};
		struct phone_facts phone = {.known = true, .id = "E1", .udid = "U1", .product_name = cases[i].product, .supervised = cases[i].supervised, .state = cases[i].state};
		struct pairing_facts pairing = {.known = cases[i].known, .id = "P1", .udid = "W1", .expires_ms = cases[i].expires, .granted_ms = cases[i].granted};
		g_autoptr(GError) error = NULL;

		g_test_message("case %u", i);
		g_assert_cmpint(watch_decide_grant(&m, cases[i].policy, &phone, &pairing, NOW, &error), ==, cases[i].code < 0);
		if (cases[i].code >= 0)
			g_assert_error(error, POM_ERROR, cases[i].code);
	}
}

static void test_use(void)
{
	static const struct { const char *udid; uint8_t key, nonce; const char *phone; int64_t expires, row_expires, used; bool known; int code; } cases[] = {
		{"W1", 1, 1, "E1", 2 * NOW, 2 * NOW, 0, true, -1}, {"W2", 1, 1, "E1", 2 * NOW, 2 * NOW, 0, true, POM_ERR_WATCH_TOKEN}, {NULL, 1, 1, "E1", 2 * NOW, 2 * NOW, 0, true, POM_ERR_WATCH_TOKEN},
		{"W1", 2, 1, "E1", 2 * NOW, 2 * NOW, 0, true, POM_ERR_WATCH_TOKEN}, {"W1", 1, 2, "E1", 2 * NOW, 2 * NOW, 0, true, POM_ERR_WATCH_TOKEN}, {"W1", 1, 1, "E2", 2 * NOW, 2 * NOW, 0, true, POM_ERR_WATCH_TOKEN},
		{"W1", 1, 1, "E1", NOW, 2 * NOW, 0, true, POM_ERR_WATCH_MISSING}, {"W1", 1, 1, "E1", 2 * NOW, NOW, 0, true, POM_ERR_WATCH_MISSING}, {"W1", 1, 1, "E1", 2 * NOW, 2 * NOW, 1, true, POM_ERR_WATCH_MISSING},
		{"W1", 1, 1, "E1", 2 * NOW, 2 * NOW, 0, false, POM_ERR_WATCH_MISSING}, {"W1", 2, 1, "E1", 2 * NOW, 2 * NOW, 1, true, POM_ERR_WATCH_TOKEN},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		const uint8_t row_key[CERT_DIGEST_LEN] = {1}, row_nonce[CERT_DIGEST_LEN] = {1}, key[CERT_DIGEST_LEN] = {cases[i].key}, nonce[CERT_DIGEST_LEN] = {cases[i].nonce};
		struct ota_attributes watch = {.udid = cases[i].udid, .serial = "S"};
		struct watch_token token = {.expires_ms = cases[i].expires, .pairing_id = (char *)"P1", .phone_id = (char *)"E1", .watch_udid = (char *)"W1"};
		struct pairing_facts pairing = {.known = cases[i].known, .id = "P1", .udid = "W1", .factory_spki_sha256 = row_key, .nonce_hash = row_nonce, .phone_id = cases[i].phone, .granted_ms = 1,
		                                .token_expires_ms = cases[i].row_expires, .used_ms = cases[i].used};
		g_autoptr(GError) error = NULL;

		g_test_message("case %u", i);
		g_assert_cmpint(watch_decide_use(&watch, key, &token, nonce, &pairing, NOW, &error), ==, cases[i].code < 0);
		if (cases[i].code >= 0)
			g_assert_error(error, POM_ERROR, cases[i].code);
	}
}

static void test_policy(void)
{
	g_assert_cmpint(watch_policy_find("supervised"), ==, WATCH_SUPERVISED);
	g_assert_cmpint(watch_policy_find("any"), ==, WATCH_ANY);
	g_assert_cmpint(watch_policy_find("off"), ==, WATCH_OFF);
	g_assert_cmpint(watch_policy_find("on"), ==, WATCH_POLICY_MAX);
	g_assert_cmpint(watch_policy_find(NULL), ==, WATCH_POLICY_MAX);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ota/pins", test_pins);
	g_test_add_func("/ota/pinned-issuer", test_pinned_issuer);
	g_test_add_func("/ota/device-cas", test_device_cas);
	g_test_add_func("/ota/attributes", test_attributes);
	g_test_add_func("/ota/too-many-attributes", test_too_many_attributes);
	g_test_add_func("/ota/shown-attributes", test_shown_attributes);
	g_test_add_func("/ota/wanted", test_wanted);
	g_test_add_func("/ota/identify", test_identify);
	g_test_add_func("/ota/enroll", test_enroll);
	g_test_add_func("/ota/service-document", test_service_document);
	g_test_add_func("/watch/token", test_token);
	g_test_add_func("/watch/grant", test_grant);
	g_test_add_func("/watch/use", test_use);
	g_test_add_func("/watch/policy", test_policy);
	return g_test_run();
}
