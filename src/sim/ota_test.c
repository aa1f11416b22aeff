/* The factory, the Profile Service, profiles that come by command, the watch: all that needs no server. */
#include <glib/gstdio.h>
#include <openssl/pkcs12.h>
#include <string.h>

#include "base/error.h"
#include "sim/device_internal.h"

#define HEAD(type, uuid) "<key>PayloadType</key><string>" type "</string><key>PayloadUUID</key><string>" uuid "</string><key>PayloadIdentifier</key><string>id." uuid "</string>" VERSION
#define VERSION "<key>PayloadVersion</key><integer>1</integer>"
#define PLIST(inner) "<plist version=\"1.0\">" inner "</plist>"
#define PROFILE(content) PLIST("<dict>" HEAD("Configuration", "TOP") content "</dict>")
#define WIFI "<dict>" HEAD("com.apple.wifi.managed", "W") "</dict>"

static EVP_PKEY *ca_key;
static X509 *ca_cert;

static GBytes *take_bio(BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	return g_bytes_new(data, (gsize)len);
}

static struct sim_identity *issue(const char *cn)
{
	g_autoptr(EVP_PKEY) key = sim_key_new();
	g_autoptr(X509) cert = sim_cert_new(key, cn, NULL, NULL, ca_cert, ca_key, 10);

	return sim_identity_new(key, cert);
}

/* XML with the first PART replaced. */
static char *replace(const char *xml, const char *part, const char *with)
{
	const char *at = strstr(xml, part);

	g_assert_nonnull(at);
	return g_strdup_printf("%.*s%s%s", (int)(at - xml), xml, with, at + strlen(part));
}

static GBytes *text_bytes(const char *text)
{
	return g_bytes_new(text, strlen(text));
}

/* The payloads of an encrypted profile are a property list of their own. */
static char *encrypted_profile(const char *payloads, X509 *recipient)
{
	g_autofree char *xml = g_strdup_printf(PLIST("%s"), payloads), *base64 = NULL;
	g_autoptr(BIO) in = BIO_new_mem_buf(xml, -1), out = BIO_new(BIO_s_mem());
	STACK_OF(X509) *recipients = sk_X509_new_null();
	g_autoptr(CMS_ContentInfo) cms = NULL;
	g_autoptr(GBytes) der = NULL;

	sk_X509_push(recipients, recipient);
	cms = CMS_encrypt(recipients, in, EVP_aes_256_cbc(), CMS_BINARY);
	sk_X509_free(recipients);
	g_assert_true(i2d_CMS_bio(out, cms));
	der = take_bio(out);
	base64 = g_base64_encode(g_bytes_get_data(der, NULL), g_bytes_get_size(der));
	return g_strdup_printf(PROFILE("<key>EncryptedPayloadContent</key><data>%s</data>"), base64);
}

static GBytes *sign_text(const char *text, const struct sim_identity *signer)
{
	g_autoptr(BIO) in = BIO_new_mem_buf(text, -1), out = BIO_new(BIO_s_mem());
	g_autoptr(CMS_ContentInfo) cms = CMS_sign(signer->cert, signer->key, NULL, in, CMS_BINARY);

	g_assert_true(i2d_CMS_bio(out, cms));
	return take_bio(out);
}

static void assert_apple(const GError *error, const char *domain, int code, const char *text)
{
	g_assert_nonnull(error);
	g_test_message("%s %d: %s", g_quark_to_string(error->domain), error->code, error->message);
	g_assert_cmpstr(g_quark_to_string(error->domain), ==, domain);
	g_assert_cmpint(error->code, ==, code);
	g_assert_nonnull(strstr(error->message, text));
}

/* ---- the factory ---- */

static void test_factory(gconstpointer data)
{
	bool like_apple = GPOINTER_TO_INT(data), made = false;
	g_autofree char *top = g_dir_make_tmp("pomona-factory-XXXXXX", NULL), *dir = g_build_filename(top, "f", NULL), *key_path = g_build_filename(dir, "device-ca.key.pem", NULL), *cn = NULL;
	g_autoptr(sim_factory) factory = NULL, again = NULL;
	struct sim_identity *leaf;
	GStatBuf info;

	g_assert_true(sim_factory_make(dir, like_apple, &made, NULL));
	g_assert_true(made);
	factory = sim_factory_open(dir, NULL);
	g_assert_true(sim_factory_make(dir, !like_apple, &made, NULL));
	g_assert_false(made);
	again = sim_factory_open(dir, NULL);
	g_assert_cmpint(X509_cmp(factory->ca, again->ca), ==, 0);
	g_assert_cmpint(g_stat(key_path, &info), ==, 0);
	g_assert_cmpint(info.st_mode & 0777, ==, 0600);
	cn = sim_cert_subject(factory->ca);
	g_assert_nonnull(strstr(cn, "CN=Simulated iPhone Device CA"));
	g_assert_cmpint(EVP_PKEY_get_bits(factory->key), ==, like_apple ? 1024 : 2048);
	g_assert_cmpint(X509_get_signature_nid(factory->ca), ==, like_apple ? NID_sha1WithRSAEncryption : NID_sha256WithRSAEncryption);
	g_assert_cmpint(X509_cmp_current_time(X509_get0_notAfter(factory->ca)), ==, like_apple ? -1 : 1);
	g_assert_cmpint(X509_verify(factory->ca, X509_get0_pubkey(factory->issuer)), ==, 1);
	leaf = sim_factory_build(factory, "00008130-0000000000000001", "SERIAL1");
	g_assert_cmpint(X509_verify(leaf->cert, X509_get0_pubkey(factory->ca)), ==, 1);
	g_assert_cmpint(X509_check_ca(leaf->cert), ==, 0);
	g_assert_cmpint(X509_cmp_current_time(X509_get0_notAfter(leaf->cert)), ==, 1);
	sim_identity_free(leaf);
	g_assert_true(g_file_set_contents(key_path, "nothing", -1, NULL));
	g_assert_null(sim_factory_open(dir, NULL));
	g_assert_null(sim_factory_open("/nonexistent", NULL));
}

static void test_born(void)
{
	g_autofree char *top = g_dir_make_tmp("pomona-born-XXXXXX", NULL), *dir = g_build_filename(top, "factory", NULL), *state = g_build_filename(top, "state", NULL);
	struct sim_device_options with = {.kind = SIM_IPHONE, .factory_dir = dir, .quiet = true}, without = {.kind = SIM_IPHONE, .quiet = true}, bad = {.kind = SIM_IPHONE, .factory_dir = top, .quiet = true};
	g_autoptr(device) first = device_new(&with, "none", state), second = device_new(&without, "none", state), third = device_new(&without, "none", NULL), fourth = device_new(&bad, "none", NULL);
	g_autoptr(GError) error = NULL;
	bool made;

	g_assert_true(sim_factory_make(dir, true, &made, NULL));
	g_assert_true(device_be_born(first, NULL));
	g_assert_true(device_be_born(second, NULL));
	g_assert_cmpint(X509_cmp(first->factory->cert, second->factory->cert), ==, 0);
	g_assert_cmpstr(first->udid, ==, second->udid);
	g_assert_cmpstr(first->serial, ==, second->serial);
	g_assert_cmpint(sk_X509_num(second->factory_chain), ==, 1);
	/* An erased device keeps what it was born with. */
	device_forget(first);
	g_assert_true(device_be_born(third, NULL));
	g_assert_null(third->factory);
	g_assert_false(device_be_born(fourth, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_IO);
}

static void test_attached(gconstpointer data)
{
	unsigned form = GPOINTER_TO_UINT(data);
	g_autoptr(sim_factory) factory = sim_factory_new(true);
	struct sim_identity *leaf = sim_factory_build(factory, "U", "S");
	g_autoptr(sim_certs) chain = sim_factory_chain(factory), got = NULL;
	g_autoptr(GBytes) content = text_bytes("line\nline\r\n"), ber = NULL, back = NULL;
	const struct sim_signing signing = {.key = leaf->key, .cert = leaf->cert, .others = chain, .modern = form & 1, .without_certificates = form & 2};
	g_autoptr(BIO) in = NULL, out = BIO_new(BIO_s_mem());
	g_autoptr(CMS_ContentInfo) cms = NULL;
	g_autoptr(sim_certs) signers = sk_X509_new_null();
	CMS_SignerInfo *signer;

	ber = sim_sign_attached(&signing, content);
	g_assert_cmpint(memcmp(g_bytes_get_data(ber, NULL), "\x30\x80", 2), ==, 0);
	in = BIO_new_mem_buf(g_bytes_get_data(ber, NULL), (int)g_bytes_get_size(ber));
	cms = d2i_CMS_bio(in, NULL);
	got = CMS_get1_certs(cms);
	g_assert_cmpint(got ? sk_X509_num(got) : 0, ==, form & 2 ? 0 : 2);
	signer = sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0);
	g_assert_cmpint(CMS_signed_get_attr_count(signer) > 0, ==, form & 1);
	X509_up_ref(leaf->cert);
	sk_X509_push(signers, leaf->cert);
	g_assert_cmpint(CMS_verify(cms, signers, NULL, NULL, out, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY), ==, 1);
	back = take_bio(out);
	g_assert_true(g_bytes_equal(back, content));
	sim_identity_free(leaf);
}

/* ---- profiles ---- */

static const char good[] = PROFILE("<key>PayloadContent</key><array>" WIFI "</array>");

static void test_form(void)
{
	static const struct { const char *part, *with, *domain; int code; const char *text; } rows[] = {
		{"</plist>", "", "MCProfileErrorDomain", 1000, "no element found"},
		{NULL, PLIST("<array/>"), "MCProfileErrorDomain", 1000, "must be dictionary"},
		{"<string>Configuration</string>", "<string>Profile Service</string>", "MCProfileErrorDomain", 1010, "must be Configuration"},
		{"<key>PayloadType</key><string>Configuration</string>", "", "MCProfileErrorDomain", 1002, "profile.PayloadType is missing"},
		{"<key>PayloadUUID</key><string>TOP</string>", "", "MCProfileErrorDomain", 1002, "profile.PayloadUUID is missing"},
		{"<key>PayloadIdentifier</key><string>id.TOP</string>", "", "MCProfileErrorDomain", 1002, "profile.PayloadIdentifier is missing"},
		{"<key>PayloadIdentifier</key><string>id.TOP</string>", "<key>PayloadIdentifier</key><integer>1</integer>", "MCProfileErrorDomain", 1003, "must be string"},
		{VERSION, "<key>PayloadVersion</key><integer>2</integer>", "MCProfileErrorDomain", 1001, "must be 1"},
		{"<array>" WIFI "</array>", "<dict/>", "MCProfileErrorDomain", 1003, "must be array"},
		{"<key>PayloadContent</key><array>" WIFI "</array>", "", "MCProfileErrorDomain", 1002, "PayloadContent is missing"},
		{WIFI, "<string>x</string>", "MCPayloadErrorDomain", 2000, "PayloadContent[0] is of type string"},
		{"<key>PayloadUUID</key><string>W</string>", "", "MCPayloadErrorDomain", 2002, "PayloadContent[0].PayloadUUID is missing"},
		{"<key>PayloadUUID</key><string>W</string>", "<key>PayloadUUID</key><data>AAAA</data>", "MCPayloadErrorDomain", 2003, "must be string"},
		{"<string>id.W</string>" VERSION, "<string>id.W</string><key>PayloadVersion</key><integer>0</integer>", "MCPayloadErrorDomain", 2001, "must be 1"},
		{WIFI, WIFI WIFI, "MCProfileErrorDomain", 1007, "PayloadUUID \"W\""},
		{WIFI, WIFI "<dict><key>PayloadType</key><string>x</string><key>PayloadUUID</key><string>X</string><key>PayloadIdentifier</key><string>id.W</string>" VERSION "</dict>",
		 "MCProfileErrorDomain", 1008, "PayloadIdentifier \"id.W\""},
		{WIFI, "<dict>" HEAD("com.apple.mdm", "A") "</dict><dict>" HEAD("com.apple.mdm", "B") "</dict>", "MCMDMErrorDomain", 12001, "2 com.apple.mdm"},
		{"<key>PayloadContent</key><array>" WIFI "</array>", "<key>EncryptedPayloadContent</key><string>x</string>", "MCProfileErrorDomain", 1003, "must be data"},
		{"<key>PayloadContent</key><array>" WIFI "</array>", "<key>EncryptedPayloadContent</key><data>AAAA</data>", "MCProfileErrorDomain", 1006, "not encrypted to any identity"},
		{"<key>PayloadContent</key>", "<key>EncryptedPayloadContent</key><data>AAAA</data><key>PayloadContent</key>", "MCProfileErrorDomain", 1000, "both"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *xml = replace(good, rows[i].part ? rows[i].part : good, rows[i].with);
		g_autoptr(GBytes) bytes = text_bytes(xml);
		g_autoptr(GError) error = NULL;

		g_assert_null(sim_mobileconfig_parse(bytes, NULL, &error));
		assert_apple(error, rows[i].domain, rows[i].code, rows[i].text);
	}
}

static void test_signature(void)
{
	struct sim_identity *signer = issue("Signer");
	g_autoptr(GBytes) bytes = sign_text(good, signer), empty = g_bytes_new(NULL, 0), broken = NULL, garbage = text_bytes("garbage");
	gsize len;
	const char *data = g_bytes_get_data(bytes, &len);
	char *copy = g_memdup2(data, len);
	g_autoptr(sim_mobileconfig) profile = sim_mobileconfig_parse(bytes, NULL, NULL);
	g_autoptr(GError) error = NULL;

	g_assert_nonnull(profile);
	g_assert_cmpint(X509_cmp(sk_X509_value(profile->certs, 0), signer->cert), ==, 0);
	*(char *)memmem(copy, len, "wifi", 4) = 'W';
	broken = g_bytes_new_take(copy, len);
	g_assert_null(sim_mobileconfig_parse(broken, NULL, &error));
	assert_apple(error, "MCProfileErrorDomain", 1004, "not validly signed");
	g_clear_error(&error);
	g_assert_null(sim_mobileconfig_parse(garbage, NULL, &error));
	assert_apple(error, "MCProfileErrorDomain", 1000, "neither");
	g_assert_null(sim_mobileconfig_parse(empty, NULL, NULL));
	sim_identity_free(signer);
}

static void test_encryption(void)
{
	g_autoptr(GPtrArray) right = sim_identities_new(), wrong = sim_identities_new();
	struct sim_identity *a = issue("A"), *b = issue("B");
	g_autofree char *xml = encrypted_profile("<array>" WIFI "</array>", a->cert), *not_array = encrypted_profile("<string>x</string>", a->cert);
	g_autoptr(GBytes) bytes = text_bytes(xml), odd = text_bytes(not_array);
	g_autoptr(sim_mobileconfig) profile = NULL;
	g_autoptr(GError) error = NULL;

	g_ptr_array_add(wrong, sim_identity_new(b->key, b->cert));
	g_ptr_array_add(right, b);
	g_ptr_array_add(right, a);
	profile = sim_mobileconfig_parse(bytes, right, &error);
	g_assert_no_error(error);
	g_assert_true(profile->encrypted);
	g_assert_nonnull(sim_mobileconfig_payload(profile, "com.apple.wifi.managed"));
	g_assert_null(sim_mobileconfig_parse(bytes, wrong, &error));
	assert_apple(error, "MCProfileErrorDomain", 1006, "not encrypted");
	g_clear_error(&error);
	g_assert_null(sim_mobileconfig_parse(odd, right, &error));
	assert_apple(error, "MCProfileErrorDomain", 1003, "must be array");
}

/* ---- the Profile Service ---- */

#define SERVICE PLIST("<dict>" HEAD("Profile Service", "PS") "<key>PayloadContent</key><dict><key>URL</key><string>https://mdm.example.org/ota/T</string><key>DeviceAttributes</key><array>" \
	"<string>UDID</string><string>SERIAL</string><string>IMEI</string><string>MEID</string><string>ICCID</string><string>OS_VERSION</string></array>" \
	"<key>Challenge</key><string>secret</string></dict></dict>")

static void test_service(void)
{
	static const struct { const char *part, *with, *text; } rows[] = {
		{NULL, NULL, NULL},
		{"<key>Challenge</key><string>secret</string>", "", NULL},
		{"<key>Challenge</key><string>secret</string>", "<key>Challenge</key><data>AAAA</data>", "Challenge is data"},
		{"https://", "http://", "must begin with https://"},
		{"<key>URL</key><string>https://mdm.example.org/ota/T</string>", "", "URL is missing"},
		{"<string>UDID</string>", "<integer>1</integer>", "DeviceAttributes[0] is of type integer"},
		{"DeviceAttributes", "deviceAttributes", "DeviceAttributes is missing"},
		{"<dict><key>URL</key>", "<array/><key>X</key><dict><key>URL</key>", "PayloadContent is an array"},
		{"Profile Service", "Configuration", "must have the PayloadType Profile Service"},
		{"<integer>1</integer>", "<integer>2</integer>", "PayloadVersion 1"},
		{"<key>PayloadUUID</key><string>PS</string>", "", "PayloadUUID is missing"},
		{"<key>PayloadIdentifier</key><string>id.PS</string>", "", "PayloadIdentifier is missing"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *xml = rows[i].part ? replace(SERVICE, rows[i].part, rows[i].with) : g_strdup(SERVICE);
		g_autoptr(plist) tree = plist_parse(xml, strlen(xml), NULL, NULL);
		g_autoptr(GError) error = NULL;
		g_autoptr(ota_service) service = ota_service_parse(tree, &error);

		g_assert_cmpint(service != NULL, ==, !rows[i].text);
		if (!service)
			g_test_message("%s", error->message);
		g_assert_true(service || strstr(error->message, rows[i].text));
	}
}

static void test_attributes(void)
{
	static const struct { enum sim_kind kind; unsigned set; const char *has, *lacks; } rows[] = {
		{SIM_IPHONE, OTA_USUAL, "UDID SERIAL IMEI OS_VERSION CHALLENGE", "MEID ICCID UserID LANGUAGE"}, {SIM_IPHONE, OTA_MINIMAL, "UDID SERIAL CHALLENGE", "IMEI MEID OS_VERSION"},
		{SIM_IPHONE, OTA_MAXIMAL, "UDID MEID", "ICCID"}, {SIM_IPAD, OTA_MAXIMAL, "UDID", "IMEI MEID"}, {SIM_MAC, OTA_USUAL, "UDID UserID UserShortName UserLongName NotOnConsole", "IMEI"},
	};
	g_autoptr(plist) tree = plist_parse(SERVICE, strlen(SERVICE), NULL, NULL);
	g_autoptr(ota_service) service = ota_service_parse(tree, NULL);

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct sim_device_options options = {.kind = rows[i].kind, .quiet = true};
		g_autoptr(device) d = device_new(&options, "none", NULL);
		const struct ota_step step = {.challenge = service->challenge, .attributes = rows[i].set}, third = {.attributes = rows[i].set};
		g_autoptr(plist) attributes = ota_attributes(d, service, &step), later = ota_attributes(d, service, &third);
		g_auto(GStrv) has = g_strsplit(rows[i].has, " ", -1), lacks = g_strsplit(rows[i].lacks, " ", -1);

		g_assert_null(plist_dict_get(later, "CHALLENGE"));
		for (char **name = has; *name; name++)
			g_assert_nonnull(plist_dict_get(attributes, *name));
		for (char **name = lacks; *name; name++)
			g_assert_null(plist_dict_get(attributes, *name));
	}
}

#define SCEP "<dict>" HEAD("com.apple.security.scep", "S") "<key>PayloadContent</key><dict><key>URL</key><string>https://mdm.example.org/scep</string></dict></dict>"

static void test_identity_profile(void)
{
	static const struct { const char *part, *with, *text; } rows[] = {
		{NULL, NULL, NULL},
		{SCEP, "", "has 0 payloads"}, {SCEP, SCEP WIFI, "has 2 payloads"}, {SCEP, WIFI, "by SCEP or PKCS#12"},
		{SCEP, "<dict>" HEAD("com.apple.security.pkcs12", "P") "<key>Password</key><string>x</string><key>PayloadContent</key><string>AAAA</string></dict>", "PayloadContent is a string, must be data"},
		{"<key>PayloadUUID</key><string>TOP</string>", "", "profile.PayloadUUID is missing (MCProfileErrorDomain 1002)"},
		{"<key>PayloadIdentifier</key><string>id.TOP</string>", "", "profile.PayloadIdentifier is missing"},
		{"<string>Configuration</string>", "<string>Profile Service</string>", "must be Configuration"},
	};
	static const char identity[] = PROFILE("<key>PayloadContent</key><array>" SCEP "</array>");

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *xml = rows[i].part ? replace(identity, rows[i].part, rows[i].with) : g_strdup(identity);
		g_autoptr(GBytes) bytes = text_bytes(xml);
		g_auto(sim_identity_payload) payload = {0};
		g_autoptr(GError) error = NULL;

		g_assert_cmpint(ota_identity_parse(bytes, &payload, &error), ==, !rows[i].text);
		if (rows[i].text)
			assert_apple(error, "MCOTAProfilesErrorDomain", 24002, rows[i].text);
		else
			g_assert_cmpstr(payload.scep.url, ==, "https://mdm.example.org/scep");
	}
}

/* ---- profiles by command ---- */

#define ENROLLMENT PROFILE("<key>PayloadContent</key><array>" SCEP "<dict>" HEAD("com.apple.mdm", "M") "<key>IdentityCertificateUUID</key><string>S</string>" \
	"<key>Topic</key><string>com.apple.mgmt.x</string><key>ServerURL</key><string>https://mdm.example.org/mdm</string>" \
	"<key>ServerCapabilities</key><array><string>com.apple.mdm.token</string></array></dict></array>")

static device *make_device(const struct sim_device_options *options, const char *state_dir)
{
	device *d = device_new(options, "none", state_dir);
	g_autoptr(GBytes) bytes = text_bytes(ENROLLMENT);
	struct sim_identity *identity = issue("device");

	d->profile = sim_profile_parse(bytes, NULL, NULL, NULL);
	d->key = g_steal_pointer(&identity->key);
	d->cert = g_steal_pointer(&identity->cert);
	sim_identity_free(identity);
	g_assert_nonnull(d->profile);
	return d;
}

static plist *answer(device *d, const char *type, const char *key, plist *value)
{
	g_autoptr(plist) command = plist_new_dict();
	plist *inner = plist_new_dict();

	plist_dict_set_string(inner, "RequestType", type);
	if (value)
		plist_dict_set(inner, key, value);
	plist_dict_set_string(command, "CommandUUID", "C1");
	plist_dict_set(command, "Command", inner);
	return device_answer(d, command);
}

static plist *install(device *d, const char *xml)
{
	return answer(d, "InstallProfile", "Payload", plist_new_data(xml, strlen(xml)));
}

/* "4001 1009 9000" */
static char *codes_of(const plist *reply)
{
	const plist *chain = plist_dict_get(reply, "ErrorChain");
	GString *text = g_string_new(NULL);

	for (size_t i = 0; i < plist_count(chain); i++) {
		int64_t code = 0;

		g_assert_true(plist_get_integer(plist_dict_get(plist_child(chain, i), "ErrorCode"), &code));
		g_string_append_printf(text, "%s%" G_GINT64_FORMAT, i ? " " : "", code);
	}
	return g_string_free(text, FALSE);
}

static void assert_installed(device *d, const char *xml, const char *codes)
{
	g_autoptr(plist) reply = install(d, xml);
	g_autofree char *got = codes_of(reply);

	g_assert_cmpstr(got, ==, codes);
	g_assert_cmpstr(plist_get_string(plist_dict_get(reply, "Status")), ==, *codes ? "Error" : "Acknowledged");
}

static void test_install(void)
{
	static const struct { const char *part, *with, *codes, *identifier; } rows[] = {
		{"wifi", "wifi", ""},
		{"</plist>", "", "1000"},
		{VERSION, "", "1002"},
		{"<key>PayloadUUID</key><string>W</string>", "", "1000 2002"},
		{WIFI, WIFI WIFI, "1007"},
		{WIFI, "<dict>" HEAD("com.apple.mdm", "M") "</dict>", "4001 1009 12001"},
		{"wifi", "vpn", "4015", "id.TOP"}, /* the identifier of the enrollment profile */
		{VERSION, VERSION "<key>RemovalDate</key><date>2020-01-01T00:00:00Z</date>", "4006"},
		{WIFI, "<dict>" HEAD("com.apple.security.root", "R") "<key>PayloadContent</key><data>AAAA</data></dict>", "4001 1009 9005"},
		{WIFI, "<dict>" HEAD("com.apple.security.pkcs12", "R") "<key>Password</key><string>x</string><key>PayloadContent</key><data>AAAA</data></dict>", "4001 1009 9000"},
		{WIFI, "<dict>" HEAD("com.apple.security.pkcs12", "R") "<key>Password</key><string>x</string><key>PayloadContent</key><string>AAAA</string></dict>", "1000 2000"},
	};
	struct sim_device_options options = {.kind = SIM_IPHONE, .quiet = true};
	g_autoptr(device) d = make_device(&options, NULL);

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *own = replace(good, "id.TOP", rows[i].identifier ? rows[i].identifier : "own"), *xml = replace(own, rows[i].part, rows[i].with);
		guint before = d->installed->len;

		assert_installed(d, xml, rows[i].codes);
		g_assert_cmpuint(d->installed->len, ==, before + !*rows[i].codes);
	}
	g_assert_cmpuint(d->installed->len, ==, 1);
}

/* A profile with a PKCS #12 and the root of the test's CA. */
static char *identity_profile(const struct sim_identity *identity)
{
	PKCS12 *p12 = PKCS12_create("x", "n", identity->key, identity->cert, NULL, 0, 0, 0, 0, 0);
	unsigned char *der = NULL, *root = NULL;
	int len = i2d_PKCS12(p12, &der), root_len = i2d_X509(ca_cert, &root);
	g_autofree char *base64 = g_base64_encode(der, (gsize)len), *root64 = g_base64_encode(root, (gsize)root_len);

	OPENSSL_free(der);
	OPENSSL_free(root);
	PKCS12_free(p12);
	return g_strdup_printf(PLIST("<dict>" HEAD("Configuration", "IDENTITY") "<key>PayloadContent</key><array><dict>" HEAD("com.apple.security.pkcs12", "P")
	                       "<key>Password</key><string>x</string><key>PayloadContent</key><data>%s</data></dict><dict>" HEAD("com.apple.security.root", "R")
	                       "<key>PayloadContent</key><data>%s</data></dict></array></dict>"), base64, root64);
}

static const plist *find_entry(const plist *list, const char *key, const char *value)
{
	for (size_t i = 0; i < plist_count(list); i++)
		if (!g_strcmp0(plist_get_string(plist_dict_get(plist_child(list, i), key)), value))
			return plist_child(list, i);
	return NULL;
}

static void assert_flag(const plist *entry, const char *key, bool wanted)
{
	bool got = !wanted;

	g_assert_true(plist_get_boolean(plist_dict_get(entry, key), &got));
	g_assert_cmpint(got, ==, wanted);
}

static void assert_lists(device *d)
{
	g_autoptr(plist) profiles = answer(d, "ProfileList", NULL, NULL), managed = answer(d, "ProfileList", "ManagedOnly", plist_new_boolean(true)), certs = answer(d, "CertificateList", NULL, NULL);
	const plist *list = plist_dict_get(profiles, "ProfileList"), *certificates = plist_dict_get(certs, "CertificateList"), *sealed = find_entry(list, "PayloadIdentifier", "sealed");

	g_assert_cmpuint(plist_count(list), ==, 3);
	g_assert_cmpuint(plist_count(plist_dict_get(managed, "ProfileList")), ==, 2);
	assert_flag(find_entry(list, "PayloadIdentifier", "id.TOP"), "IsManaged", false);
	assert_flag(find_entry(list, "PayloadIdentifier", "id.IDENTITY"), "IsManaged", true);
	assert_flag(find_entry(list, "PayloadIdentifier", "id.IDENTITY"), "IsEncrypted", false);
	assert_flag(sealed, "IsEncrypted", true);
	g_assert_cmpuint(plist_count(plist_dict_get(sealed, "SignerCertificates")), ==, 1);
	/* Nothing of a payload but its names. */
	g_assert_null(plist_dict_get(plist_child(plist_dict_get(find_entry(list, "PayloadIdentifier", "id.IDENTITY"), "PayloadContent"), 0), "Password"));
	assert_flag(find_entry(certificates, "CommonName", "brought"), "IsIdentity", true);
	assert_flag(find_entry(certificates, "CommonName", "device"), "IsIdentity", true);
	assert_flag(find_entry(certificates, "CommonName", "Test CA"), "IsIdentity", false);
}

static void assert_supervised(device *d)
{
	plist *queries = plist_new_array();
	g_autoptr(plist) reply = NULL;

	plist_array_append(queries, plist_new_string("IsSupervised"));
	reply = answer(d, "DeviceInformation", "Queries", queries);
	assert_flag(plist_dict_get(reply, "QueryResponses"), "IsSupervised", true);
}

/* What a profile brings is kept, can be decrypted with, and goes with it. */
static void test_brought(void)
{
	g_autofree char *top = g_dir_make_tmp("pomona-brought-XXXXXX", NULL), *state = g_build_filename(top, "state", NULL);
	struct sim_device_options options = {.kind = SIM_IPHONE, .supervised = true, .quiet = true}, plain = {.kind = SIM_IPHONE, .quiet = true};
	g_autoptr(device) d = make_device(&options, state), again = device_new(&plain, "none", state), third = device_new(&plain, "none", state);
	struct sim_identity *brought = issue("brought"), *old = issue("old"), *signer = issue("signer");
	g_autofree char *first = identity_profile(brought), *raw = encrypted_profile("<array>" WIFI "</array>", brought->cert), *sealed = replace(raw, "id.TOP", "sealed"),
			*raw_old = encrypted_profile("<array>" WIFI "</array>", old->cert), *for_old = replace(raw_old, "id.TOP", "sealed");
	g_autoptr(GBytes) signed_profile = sign_text(sealed, signer);
	g_autoptr(plist) reply = NULL;
	bool found;

	assert_installed(d, sealed, "1006");
	assert_installed(d, first, "");
	reply = answer(d, "InstallProfile", "Payload", plist_new_data(g_bytes_get_data(signed_profile, NULL), g_bytes_get_size(signed_profile)));
	g_assert_cmpstr(plist_get_string(plist_dict_get(reply, "Status")), ==, "Acknowledged");
	assert_lists(d);
	g_assert_true(device_load(again, &found, NULL));
	g_assert_true(found && again->supervised);
	assert_lists(again);
	assert_installed(again, for_old, "1006");
	g_ptr_array_add(again->identities, sim_identity_new(old->key, old->cert));
	assert_installed(again, for_old, "");
	g_assert_true(device_load(third, &found, NULL));
	assert_installed(third, for_old, "");
	plist_free(reply);
	assert_supervised(third);
	reply = answer(again, "RemoveProfile", "Identifier", plist_new_string("id.IDENTITY"));
	g_assert_cmpstr(plist_get_string(plist_dict_get(reply, "Status")), ==, "Acknowledged");
	assert_installed(again, sealed, "1006");
	g_assert_cmpuint(again->installed->len, ==, 1);
	sim_identity_free(brought);
	sim_identity_free(old);
	sim_identity_free(signer);
}

/* ---- the watch ---- */

static void test_watch(void)
{
	static const struct { const char *type, *body, *token; } rows[] = {
		{"application/json", "{\"code\":\"com.apple.watch.pairing.token.missing\",\"details\":{\"security-token\":\"T\"}}", "T"},
		{"application/json; charset=utf-8", "{\"code\":\"com.apple.watch.pairing.token.missing\",\"message\":\"m\",\"details\":{\"security-token\":\"T\"}}", "T"},
		{"text/html", "{\"code\":\"com.apple.watch.pairing.token.missing\",\"details\":{\"security-token\":\"T\"}}", NULL}, {NULL, "{}", NULL}, {"application/json", "", NULL},
		{"application/json", "[]", NULL}, {"application/json", "{\"code\":\"com.apple.unrecognized.device\",\"details\":{\"security-token\":\"T\"}}", NULL},
		{"application/json", "{\"code\":\"com.apple.watch.pairing.token.missing\",\"details\":{\"security_token\":\"T\"}}", NULL},
		{"application/json", "{\"code\":\"com.apple.watch.pairing.token.missing\",\"details\":{\"security-token\":\"\"}}", NULL},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_auto(sim_reply) reply = {.status = 403, .content_type = g_strdup(rows[i].type), .body = text_bytes(rows[i].body)};
		g_autoptr(GError) error = NULL;
		g_autofree char *token = watch_read_security_token(&reply, &error);

		g_assert_cmpstr(token, ==, rows[i].token);
		g_assert_cmpint(error != NULL, ==, !rows[i].token);
	}
}

static void test_token(void)
{
	struct sim_device_options options = {.kind = SIM_IPHONE, .quiet = true};
	g_autoptr(device) phone = make_device(&options, NULL);
	g_autoptr(plist) message = watch_token_message(phone, phone->udid, "W", "S");
	const plist *parameters = plist_dict_get(message, "TokenParameters");
	g_auto(sim_reply) good_reply = {.status = 200, .body = text_bytes(PLIST("<dict><key>TokenData</key><data>AAEC</data></dict>"))},
			  bad_reply = {.status = 200, .body = text_bytes(PLIST("<dict><key>TokenData</key><string>AAEC</string></dict>"))};
	g_autoptr(GBytes) token = watch_read_token(&good_reply, NULL);
	g_autoptr(GError) error = NULL;

	g_assert_cmpstr(plist_get_string(plist_dict_get(message, "MessageType")), ==, "GetToken");
	g_assert_cmpstr(plist_get_string(plist_dict_get(message, "TokenServiceType")), ==, "com.apple.watch.pairing");
	g_assert_cmpstr(plist_get_string(plist_dict_get(parameters, "PhoneUDID")), ==, phone->udid);
	g_assert_cmpstr(plist_get_string(plist_dict_get(parameters, "WatchUDID")), ==, "W");
	g_assert_cmpstr(plist_get_string(plist_dict_get(parameters, "SecurityToken")), ==, "S");
	g_assert_cmpmem(g_bytes_get_data(token, NULL), g_bytes_get_size(token), "\0\1\2", 3);
	g_assert_null(watch_read_token(&bad_reply, NULL));
	/* A phone that may not, does not even ask. */
	g_assert_null(watch_get_token(phone, "W", "S", &error));
	g_assert_nonnull(strstr(error->message, "not supervised"));
	g_clear_error(&error);
	phone->supervised = true;
	phone->profile->can_get_token = false;
	g_assert_null(watch_get_token(phone, "W", "S", &error));
	g_assert_nonnull(strstr(error->message, "com.apple.mdm.token"));
}

int main(int argc, char **argv)
{
	int status;

	g_test_init(&argc, &argv, NULL);
	ca_key = sim_key_new();
	ca_cert = sim_cert_new(ca_key, "Test CA", NULL, NULL, NULL, NULL, 30);
	g_test_add_data_func("/sim/factory/modern", GINT_TO_POINTER(0), test_factory);
	g_test_add_data_func("/sim/factory/like-apple", GINT_TO_POINTER(1), test_factory);
	g_test_add_func("/sim/factory/born", test_born);
	g_test_add_data_func("/sim/attached/sha1", GUINT_TO_POINTER(0), test_attached);
	g_test_add_data_func("/sim/attached/modern", GUINT_TO_POINTER(1), test_attached);
	g_test_add_data_func("/sim/attached/without-certificates", GUINT_TO_POINTER(2), test_attached);
	g_test_add_func("/sim/mobileconfig/form", test_form);
	g_test_add_func("/sim/mobileconfig/signature", test_signature);
	g_test_add_func("/sim/mobileconfig/encryption", test_encryption);
	g_test_add_func("/sim/ota/service", test_service);
	g_test_add_func("/sim/ota/attributes", test_attributes);
	g_test_add_func("/sim/ota/identity-profile", test_identity_profile);
	g_test_add_func("/sim/install/refused", test_install);
	g_test_add_func("/sim/install/brought", test_brought);
	g_test_add_func("/sim/watch/security-token", test_watch);
	g_test_add_func("/sim/watch/token", test_token);
	status = g_test_run();
	X509_free(ca_cert);
	EVP_PKEY_free(ca_key);
	return status;
}
