#include <glib/gstdio.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/error.h"
#include "base/face.h"
#include "sim/device_internal.h"

#define TOPIC "com.apple.mgmt.External.0a1b2c3d-0000-4000-8000-000000000001"

static EVP_PKEY *ca_key;
static X509 *ca_cert;

static GBytes *take_bio(BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	return g_bytes_new(data, (gsize)len);
}

static CMS_ContentInfo *read_cms(GBytes *bytes)
{
	gsize len;
	const unsigned char *p = g_bytes_get_data(bytes, &len);
	CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &p, (long)len);

	g_assert_nonnull(cms);
	return cms;
}

static void assert_indefinite(GBytes *bytes)
{
	g_assert_cmpint(memcmp(g_bytes_get_data(bytes, NULL), "\x30\x80", 2), ==, 0);
}

static CMS_SignerInfo *only_signer(CMS_ContentInfo *cms)
{
	STACK_OF(CMS_SignerInfo) *signers = CMS_get0_SignerInfos(cms);

	g_assert_cmpint(sk_CMS_SignerInfo_num(signers), ==, 1);
	return sk_CMS_SignerInfo_value(signers, 0);
}

static int digest_of(CMS_SignerInfo *signer)
{
	X509_ALGOR *digest;
	const ASN1_OBJECT *object;

	CMS_SignerInfo_get0_algs(signer, NULL, NULL, &digest, NULL);
	X509_ALGOR_get0(&object, NULL, NULL, digest);
	return OBJ_obj2nid(object);
}

/* ---- Mdm-Signature ---- */

static void test_signature(gconstpointer data)
{
	bool modern = GPOINTER_TO_INT(data);
	g_autoptr(GBytes) body = g_bytes_new_static("line\nline\r\n", 11), ber = NULL;
	guchar *decoded;
	g_autofree char *text = sim_mdm_signature(ca_key, ca_cert, body, modern);
	g_autoptr(CMS_ContentInfo) cms = NULL;
	g_autoptr(BIO) right = BIO_new_mem_buf("line\nline\r\n", 11), wrong = BIO_new_mem_buf("line\nline\n", 10);
	g_autoptr(sim_certs) certs = NULL;
	gsize len;

	g_assert_null(strpbrk(text, "\r\n"));
	decoded = g_base64_decode(text, &len);
	ber = g_bytes_new_take(decoded, len);
	assert_indefinite(ber);
	cms = read_cms(ber);
	certs = CMS_get1_certs(cms);
	g_assert_cmpint(sk_X509_num(certs), ==, 1);
	g_assert_cmpint(CMS_is_detached(cms), ==, 1);
	g_assert_cmpint(digest_of(only_signer(cms)), ==, modern ? NID_sha256 : NID_sha1);
	g_assert_cmpint(CMS_signed_get_attr_count(only_signer(cms)) > 0, ==, modern);
	g_assert_cmpint(CMS_verify(cms, NULL, NULL, right, NULL, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY), ==, 1);
	g_assert_cmpint(CMS_verify(cms, NULL, NULL, wrong, NULL, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY), !=, 1);
}

/* ---- profiles ---- */

/* An enrollment profile with REPLACE (a part of it) replaced by WITH. */
static char *profile_xml(const char *replace, const char *with)
{
	static const char xml[] =
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<plist version=\"1.0\"><dict><key>PayloadType</key><string>Configuration</string>"
		"<key>PayloadIdentifier</key><string>org.example.mdm</string><key>PayloadUUID</key><string>U0</string><key>PayloadVersion</key><integer>1</integer><key>PayloadContent</key><array>"
		"<dict><key>PayloadType</key><string>com.apple.security.scep</string><key>PayloadUUID</key><string>U1</string><key>PayloadIdentifier</key><string>I1</string><key>PayloadVersion</key><integer>1</integer>"
		"<key>PayloadContent</key><dict><key>URL</key><string>http://scep.example.org/scep?ca=1</string><key>Name</key><string>CA 1</string><key>Challenge</key><string>secret</string>"
		"<key>Keysize</key><integer>1024</integer></dict></dict>"
		"<dict><key>PayloadType</key><string>com.apple.mdm</string><key>PayloadUUID</key><string>U2</string><key>PayloadIdentifier</key><string>I2</string><key>PayloadVersion</key><integer>1</integer>"
		"<key>IdentityCertificateUUID</key><string>U1</string>"
		"<key>Topic</key><string>" TOPIC "</string><key>ServerURL</key><string>https://mdm.example.org/mdm</string><key>SignMessage</key><true/></dict></array></dict></plist>";
	const char *at = replace ? strstr(xml, replace) : NULL;

	if (!replace)
		return g_strdup(xml);
	g_assert_nonnull(at);
	return g_strdup_printf("%.*s%s%s", (int)(at - xml), xml, with, at + strlen(replace));
}

static GBytes *sign_profile(const char *xml, X509 *cert, EVP_PKEY *key, bool stream)
{
	unsigned flags = CMS_BINARY | CMS_NOSMIMECAP | (stream ? CMS_STREAM : 0);
	g_autoptr(BIO) in = BIO_new_mem_buf(xml, -1), out = BIO_new(BIO_s_mem());
	g_autoptr(CMS_ContentInfo) cms = CMS_sign(cert, key, NULL, in, flags);

	g_assert_nonnull(cms);
	g_assert_cmpint(stream ? i2d_CMS_bio_stream(out, cms, in, (int)flags) : i2d_CMS_bio(out, cms), ==, 1);
	return take_bio(out);
}

static sim_profile *parse_profile(const void *data, size_t len, sim_certs *trusted, GError **error)
{
	g_autoptr(GBytes) bytes = g_bytes_new(data, len);

	return sim_profile_parse(bytes, trusted, NULL, error);
}

static void test_profile_unsigned(void)
{
	g_autofree char *xml = profile_xml(NULL, NULL), *odd = g_strconcat("\xef\xbb\xbf", xml, "\n", NULL);
	g_autoptr(sim_profile) profile = parse_profile(xml, strlen(xml), NULL, NULL), spaced = NULL;
	g_autoptr(GError) error = NULL;

	g_assert_nonnull(profile);
	g_assert_null(profile->signer);
	g_assert_cmpstr(profile->identifier, ==, "org.example.mdm");
	g_assert_cmpstr(profile->server_url, ==, "https://mdm.example.org/mdm");
	g_assert_cmpstr(profile->checkin_url, ==, profile->server_url);
	g_assert_cmpstr(profile->topic, ==, TOPIC);
	g_assert_true(profile->sign_message);
	g_assert_false(profile->check_out_when_removed);
	g_assert_cmpstr(profile->identity.scep.name, ==, "CA 1");
	g_assert_cmpint(profile->identity.scep.key_bits, ==, 2048);
	g_assert_cmpint(profile->identity.scep.n_retries, ==, 3);
	g_assert_cmpint(profile->identity.scep.retry_delay_s, ==, 10);
	g_assert_null(profile->identity.scep.fingerprint);
	spaced = parse_profile(odd, strlen(odd), NULL, &error);
	g_assert_no_error(error);
	g_assert_nonnull(spaced);
}

static void test_profile_signed(gconstpointer data)
{
	bool stream = GPOINTER_TO_INT(data);
	g_autofree char *xml = profile_xml(NULL, NULL);
	g_autoptr(EVP_PKEY) key = sim_key_new();
	g_autoptr(X509) cert = sim_cert_new(key, "Profile Signing", NULL, NULL, ca_cert, ca_key, 10);
	g_autoptr(GBytes) bytes = sign_profile(xml, cert, key, stream);
	g_autoptr(sim_certs) roots = sk_X509_new_null();
	gsize len;
	const char *body = g_bytes_get_data(bytes, &len);
	g_autofree char *broken = g_memdup2(body, len);
	g_autoptr(sim_profile) trusted = NULL, unknown = parse_profile(body, len, NULL, NULL), wrong = NULL;
	g_autoptr(GError) error = NULL;

	X509_up_ref(ca_cert);
	sk_X509_push(roots, ca_cert);
	trusted = parse_profile(body, len, roots, NULL);
	g_assert_cmpstr(trusted->signer, ==, "CN=Profile Signing");
	g_assert_true(trusted->signer_trusted);
	g_assert_nonnull(unknown);
	g_assert_false(unknown->signer_trusted);
	*(char *)memmem(broken, len, "secret", 6) = 'S';
	wrong = parse_profile(broken, len, roots, &error);
	g_assert_null(wrong);
	g_assert_error(error, POM_ERROR, POM_ERR_PROFILE);
}

static void test_profile_roots(void)
{
	g_autofree char *pem = sim_cert_pem(ca_cert), *pem64 = g_base64_encode((const guchar *)pem, strlen(pem));
	g_autofree char *payload = g_strdup_printf("<array><dict><key>PayloadType</key><string>com.apple.security.root</string><key>PayloadUUID</key><string>U3</string>"
		"<key>PayloadIdentifier</key><string>I3</string><key>PayloadVersion</key><integer>1</integer><key>PayloadContent</key><data>%s</data></dict>", pem64);
	g_autofree char *xml = profile_xml("<array>", payload);
	g_autoptr(sim_profile) profile = parse_profile(xml, strlen(xml), NULL, NULL), verified = NULL;
	g_autoptr(GBytes) bytes = sign_profile(xml, ca_cert, ca_key, true);

	g_assert_cmpint(sk_X509_num(profile->roots), ==, 1);
	/* Signed by what it brings along. */
	verified = parse_profile(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), NULL, NULL);
	g_assert_true(verified->signer_trusted);
}

static void test_profile_refused(void)
{
	static const struct { const char *replace, *with, *wanted; } rows[] = {
		{"https://mdm.example.org/mdm", "http://mdm.example.org/mdm", "https://"},
		{"http://scep.example.org", "ftp://scep.example.org", "SCEP URL"},
		{"<string>com.apple.mdm</string>", "<string>com.apple.wifi.managed</string>", "no com.apple.mdm payload"},
		{"IdentityCertificateUUID</key><string>U1", "IdentityCertificateUUID</key><string>U9", "names no payload"},
		{"IdentityCertificateUUID</key><string>U1", "IdentityCertificateUUID</key><string>U2", "by SCEP or PKCS#12"},
		{"<string>Configuration</string>", "<string>Profile Service</string>", "must be Configuration"},
		{"<key>Challenge</key><string>secret</string>", "<key>CAFingerprint</key><data>AAAA</data>", "CAFingerprint has 3 bytes"},
		{TOPIC, "org.example.topic", "com.apple.mgmt."},
		{"<key>ServerURL</key><string>https://mdm.example.org/mdm</string>", "", "ServerURL is missing"},
		{"</plist>", "", "no element found"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *xml = profile_xml(rows[i].replace, rows[i].with);
		g_autoptr(GError) error = NULL;

		g_assert_null(parse_profile(xml, strlen(xml), NULL, &error));
		g_test_message("%s", error->message);
		g_assert_nonnull(strstr(error->message, rows[i].wanted));
	}
	g_assert_null(parse_profile("", 0, NULL, NULL));
	g_assert_null(parse_profile("<html>", 6, NULL, NULL));
}

/* ---- devices ---- */

static device *make_device(const struct sim_device_options *options, const char *state_dir)
{
	g_autofree char *xml = profile_xml(NULL, NULL);
	device *d = device_new(options, "none", state_dir);

	d->profile = parse_profile(xml, strlen(xml), NULL, NULL);
	d->key = sim_key_new();
	d->cert = sim_cert_new(d->key, "device", NULL, NULL, ca_cert, ca_key, 10);
	return d;
}

static void test_kinds(void)
{
	static const struct { const char *name, *pattern; enum sim_kind kind; } rows[] = {
		{"iphone", "^00008130-[0-9A-F]{16}$", SIM_IPHONE}, {"ipad", "^00008112-[0-9A-F]{16}$", SIM_IPAD}, {"appletv", "^00008110-[0-9A-F]{16}$", SIM_APPLETV},
		{"watch", "^00008301-[0-9A-F]{16}$", SIM_WATCH}, {"mac", "^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$", SIM_MAC},
	};

	g_assert_cmpint(sim_kind_find("toaster"), ==, SIM_KIND_MAX);
	g_assert_cmpint(sim_kind_find(NULL), ==, SIM_KIND_MAX);
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct sim_device_options options = {.kind = sim_kind_find(rows[i].name)};
		g_autoptr(device) d = device_new(&options, "none", NULL);

		g_assert_cmpint(options.kind, ==, rows[i].kind);
		g_assert_true(g_regex_match_simple(rows[i].pattern, d->udid, 0, 0));
		g_assert_true(pom_id_check(d->magic));
	}
}

static void test_state(void)
{
	g_autofree char *top = g_dir_make_tmp("pomona-sim-XXXXXX", NULL), *dir = g_build_filename(top, "state", NULL), *path = g_build_filename(dir, "key.pem", NULL), *more = g_build_filename(dir, "more.plist", NULL);
	struct sim_device_options options = {.kind = SIM_IPAD, .quiet = true}, other = {.kind = SIM_MAC, .quiet = true};
	g_autoptr(device) a = make_device(&options, dir), b = device_new(&options, "none", dir), c = device_new(&other, "none", dir), d = device_new(&options, "none", dir), e = device_new(&options, "none", dir);
	g_autoptr(GError) error = NULL;
	GStatBuf info;
	bool found = true;

	g_assert_true(device_load(b, &found, NULL));
	g_assert_false(found);
	g_assert_true(device_save(a, NULL));
	g_assert_cmpint(g_stat(path, &info), ==, 0);
	g_assert_cmpint(info.st_mode & 0777, ==, 0600);
	g_assert_true(device_load(b, &found, NULL));
	g_assert_true(found);
	g_assert_cmpstr(a->udid, ==, b->udid);
	g_assert_cmpstr(a->serial, ==, b->serial);
	g_assert_cmpstr(a->name, ==, b->name);
	g_assert_cmpstr(a->magic, ==, b->magic);
	g_assert_cmpmem(a->token, SIM_TOKEN_LEN, b->token, SIM_TOKEN_LEN);
	g_assert_cmpint(EVP_PKEY_eq(a->key, b->key), ==, 1);
	g_assert_cmpint(X509_cmp(a->cert, b->cert), ==, 0);
	g_assert_cmpstr(a->profile->server_url, ==, b->profile->server_url);
	g_assert_false(device_load(c, &found, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_CONFLICT);
	g_clear_error(&error);
	/* As versions did that had no more.plist. */
	g_assert_cmpint(g_unlink(more), ==, 0);
	g_assert_true(device_load(e, &found, NULL));
	g_assert_true(found);
	g_assert_true(g_file_set_contents(path, "not a key", -1, NULL));
	g_assert_false(device_load(d, &found, &error));
	g_assert_error(error, POM_ERROR, POM_ERR_KEY);
	device_forget(a);
	g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
	g_assert_cmpint(g_rmdir(dir), ==, 0);
	g_assert_cmpint(g_rmdir(top), ==, 0);
}

static void test_messages(void)
{
	static const struct { enum sim_kind kind; bool minimal; const char *has, *lacks; } rows[] = {
		{SIM_IPHONE, false, "UnlockToken", "NotOnConsole"}, {SIM_IPAD, false, "UnlockToken", "NotOnConsole"}, {SIM_MAC, false, "NotOnConsole", "UnlockToken"},
		{SIM_APPLETV, false, "AwaitingConfiguration", "UnlockToken"}, {SIM_IPHONE, true, "PushMagic", "UnlockToken"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct sim_device_options options = {.kind = rows[i].kind, .quiet = true};
		g_autoptr(device) d = make_device(&options, NULL);
		g_autoptr(plist) token = NULL, authenticate = NULL;

		d->minimal = rows[i].minimal;
		token = device_token_update_message(d);
		authenticate = device_authenticate_message(d);
		g_assert_nonnull(plist_dict_get(token, rows[i].has));
		g_assert_null(plist_dict_get(token, rows[i].lacks));
		g_assert_cmpstr(plist_get_string(plist_dict_get(authenticate, "Topic")), ==, TOPIC);
		g_assert_cmpint(plist_dict_get(authenticate, "DeviceName") != NULL, ==, !rows[i].minimal);
		g_assert_cmpint(plist_dict_get(authenticate, "ModelName") != NULL, ==, !rows[i].minimal);
	}
}

/* ---- answers ---- */

static plist *answer(device *d, const char *inner)
{
	g_autofree char *xml = g_strdup_printf("<plist version=\"1.0\"><dict><key>CommandUUID</key><string>C1</string><key>Command</key><dict>%s</dict></dict></plist>", inner);
	g_autoptr(plist) command = plist_parse(xml, strlen(xml), NULL, NULL);
	plist *reply;

	g_assert_nonnull(command);
	reply = device_answer(d, command);
	g_assert_cmpstr(plist_get_string(plist_dict_get(reply, "UDID")), ==, d->udid);
	g_assert_cmpstr(plist_get_string(plist_dict_get(reply, "CommandUUID")), ==, "C1");
	return reply;
}

static void assert_answer(device *d, const char *inner, const char *status, int code, const char *key)
{
	g_autoptr(plist) reply = answer(d, inner);
	int64_t got = 0;

	g_assert_cmpstr(plist_get_string(plist_dict_get(reply, "Status")), ==, status);
	if (code) {
		g_assert_true(plist_get_integer(plist_dict_get(plist_child(plist_dict_get(reply, "ErrorChain"), 0), "ErrorCode"), &got));
		g_assert_cmpint(got, ==, code);
	}
	if (key)
		g_assert_nonnull(plist_dict_get(reply, key));
}

#define TYPE(name) "<key>RequestType</key><string>" name "</string>"

static void test_answers(void)
{
	static const struct { enum sim_kind kind; const char *inner, *status; int code; const char *key; } rows[] = {
		{SIM_IPHONE, TYPE("DeviceInformation"), "Acknowledged", 0, "QueryResponses"}, {SIM_MAC, TYPE("SecurityInfo"), "Acknowledged", 0, "SecurityInfo"},
		{SIM_APPLETV, TYPE("ProfileList"), "Acknowledged", 0, "ProfileList"}, {SIM_IPAD, TYPE("CertificateList"), "Acknowledged", 0, "CertificateList"},
		{SIM_IPAD, TYPE("InstalledApplicationList"), "Acknowledged", 0, "InstalledApplicationList"}, {SIM_IPHONE, TYPE("DeviceLock"), "Acknowledged", 0, NULL},
		{SIM_APPLETV, TYPE("DeviceLock"), "Error", 12021, NULL}, {SIM_IPHONE, TYPE("NoSuchThing"), "Error", 12021, NULL}, {SIM_IPHONE, "", "CommandFormatError", 12008, NULL},
		{SIM_IPHONE, TYPE("InstallProfile"), "Error", 12008, NULL}, {SIM_IPHONE, TYPE("InstallProfile") "<key>Payload</key><data>AAAA</data>", "Error", 1000, NULL},
		{SIM_IPHONE, TYPE("RemoveProfile") "<key>Identifier</key><string>x</string>", "Error", 12075, NULL}, {SIM_IPHONE, TYPE("RemoveProfile"), "Error", 12008, NULL},
		{SIM_IPHONE, TYPE("RemoveProfile") "<key>Identifier</key><string>org.example.mdm</string>", "Acknowledged", 0, NULL},
		{SIM_IPHONE, TYPE("EraseDevice"), "Acknowledged", 0, NULL}, {SIM_MAC, TYPE("Settings"), "Acknowledged", 0, "Settings"},
		{SIM_WATCH, TYPE("DeviceInformation"), "Acknowledged", 0, "QueryResponses"}, {SIM_WATCH, TYPE("RestartDevice"), "Error", 12021, NULL},
		{SIM_IPHONE, TYPE("ManagedApplicationList"), "Acknowledged", 0, "ManagedApplicationList"}, {SIM_IPHONE, TYPE("Restrictions"), "Acknowledged", 0, "GlobalRestrictions"},
		{SIM_IPHONE, TYPE("Settings") "<key>Settings</key><string>x</string>", "Acknowledged", 0, "Settings"},
		{SIM_IPHONE, TYPE("DeviceInformation") "<key>Queries</key><array><integer>1</integer><string>UDID</string></array>", "Acknowledged", 0, "QueryResponses"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct sim_device_options options = {.kind = rows[i].kind, .quiet = true};
		g_autoptr(device) d = make_device(&options, NULL);

		assert_answer(d, rows[i].inner, rows[i].status, rows[i].code, rows[i].key);
		g_assert_cmpint(d->erase_next, ==, strstr(rows[i].inner, "EraseDevice") != NULL);
		g_assert_cmpint(d->check_out_next, ==, strstr(rows[i].inner, "org.example.mdm") != NULL);
	}
}

static void test_profiles_installed(void)
{
	static const char body[] = "<plist version=\"1.0\"><dict><key>PayloadType</key><string>Configuration</string><key>PayloadIdentifier</key><string>org.example.wifi</string>"
		"<key>PayloadUUID</key><string>U</string><key>PayloadVersion</key><integer>1</integer><key>PayloadContent</key><array/></dict></plist>";
	struct sim_device_options options = {.kind = SIM_IPHONE, .quiet = true};
	g_autoptr(device) d = make_device(&options, NULL);
	g_autoptr(GBytes) bytes = sign_profile(body, ca_cert, ca_key, false);
	g_autofree char *base64 = g_base64_encode(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
	g_autofree char *install = g_strdup_printf(TYPE("InstallProfile") "<key>Payload</key><data>%s</data>", base64);

	for (int i = 0; i < 2; i++) {
		assert_answer(d, install, "Acknowledged", 0, NULL);
		g_assert_cmpuint(d->installed->len, ==, 1);
	}
	assert_answer(d, TYPE("RemoveProfile") "<key>Identifier</key><string>org.example.wifi</string>", "Acknowledged", 0, NULL);
	g_assert_cmpuint(d->installed->len, ==, 0);
	assert_answer(d, TYPE("RemoveProfile") "<key>Identifier</key><string>org.example.wifi</string>", "Error", 12075, NULL);
}

static void test_known_queries_only(void)
{
	struct sim_device_options options = {.kind = SIM_IPHONE, .quiet = true};
	g_autoptr(device) d = make_device(&options, NULL);
	g_autoptr(plist) reply = answer(d, TYPE("DeviceInformation") "<key>Queries</key><array><string>SerialNumber</string><string>NoSuchKey</string></array>");
	const plist *responses = plist_dict_get(reply, "QueryResponses");

	g_assert_cmpuint(plist_count(responses), ==, 1);
	g_assert_cmpstr(plist_get_string(plist_dict_get(responses, "SerialNumber")), ==, d->serial);
}

static void test_misbehaviors(void)
{
	g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
	const struct sim_misbehavior *list = sim_misbehaviors();

	for (const struct sim_misbehavior *m = list; m->name; m++) {
		const struct misbehavior *found = misbehavior_find(m->name);

		g_assert_true(g_hash_table_add(names, (void *)(uintptr_t)m->name));
		g_assert_nonnull(found);
		g_assert_cmpint(misbehavior_n_devices(found) == 2, ==, strstr(m->text, "takes two links") != NULL);
	}
	g_assert_null(misbehavior_find("no such"));
}

static void test_usage(void)
{
	static const char *const one[] = {"none", NULL}, *const none[] = {NULL};
	const struct { struct sim_device_options options; const char *wanted; } rows[] = {
		{{.urls = one, .misbehave = "no such", .quiet = true}, "no misbehavior"},
		{{.urls = one, .misbehave = "others-certificate", .quiet = true}, "takes 2 enrollment links"},
		{{.urls = none, .quiet = true}, "there are 0"},
		{{.urls = one, .quiet = true}, "none"},
		{{.urls = one, .ca_file = "/nonexistent/ca.pem", .quiet = true}, "ca.pem"},
		{{.urls = one, .apns = "nowhere", .quiet = true}, "HOST:PORT"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_false(sim_device_run(&rows[i].options, &error));
		g_assert_error(error, POM_ERROR, POM_ERR_USAGE);
		g_assert_nonnull(strstr(error->message, rows[i].wanted));
	}
}

int main(int argc, char **argv)
{
	int status;

	g_test_init(&argc, &argv, NULL);
	ca_key = sim_key_new();
	ca_cert = sim_cert_new(ca_key, "Test CA", NULL, NULL, NULL, NULL, 30);
	g_test_add_data_func("/sim/signature/sha1", GINT_TO_POINTER(0), test_signature);
	g_test_add_data_func("/sim/signature/modern", GINT_TO_POINTER(1), test_signature);
	g_test_add_func("/sim/profile/unsigned", test_profile_unsigned);
	g_test_add_data_func("/sim/profile/signed-der", GINT_TO_POINTER(0), test_profile_signed);
	g_test_add_data_func("/sim/profile/signed-ber", GINT_TO_POINTER(1), test_profile_signed);
	g_test_add_func("/sim/profile/roots", test_profile_roots);
	g_test_add_func("/sim/profile/refused", test_profile_refused);
	g_test_add_func("/sim/device/kinds", test_kinds);
	g_test_add_func("/sim/device/state", test_state);
	g_test_add_func("/sim/device/messages", test_messages);
	g_test_add_func("/sim/device/answers", test_answers);
	g_test_add_func("/sim/device/profiles-installed", test_profiles_installed);
	g_test_add_func("/sim/device/known-queries-only", test_known_queries_only);
	g_test_add_func("/sim/device/misbehaviors", test_misbehaviors);
	g_test_add_func("/sim/device/usage", test_usage);
	status = g_test_run();
	X509_free(ca_cert);
	EVP_PKEY_free(ca_key);
	return status;
}
