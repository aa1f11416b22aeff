/* Profiles in files: on the files alone where that is possible, by the server where its keys are needed. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"
#include "keys/profile_file.h"
#include "server/datadir.h"
#include "server/system_roots.h"

#define PROFILE_TYPE "application/x-apple-aspen-config"

static int64_t now_s(void)
{
	return pom_clock_now_ms(pom_clock_system()) / 1000;
}

GBytes *cli_read_secret(const char *path, GError **error)
{
	gsize len;
	char *text = cli_read_file(path, &len, error);
	GBytes *bytes;

	if (!text)
		return NULL;
	bytes = secret_bytes_new(text, len);
	explicit_bzero(text, len);
	g_free(text);
	return bytes;
}

bool cli_read_option(const struct cli *cli, const char *name, GBytes **ret, GError **error)
{
	const char *path = cli_value(cli, name);

	*ret = path ? cli_read_secret(path, error) : NULL;
	return !path || *ret;
}

bool cli_read_password(const struct cli *cli, char **ret, GError **error)
{
	const char *path = cli_value(cli, "password-file");
	gsize len;

	*ret = path ? cli_read_file(path, &len, error) : NULL;
	if (*ret)
		(*ret)[strcspn(*ret, "\r\n")] = '\0';
	return !path || *ret;
}

void cli_forget(char *password)
{
	if (password)
		explicit_bzero(password, strlen(password));
	g_free(password);
}

int cli_write_profile(const struct cli *cli, GBytes *profile, const GError *error)
{
	g_autoptr(GError) inner = NULL;
	const char *out = cli_value(cli, "out");
	gsize len;
	const void *data;

	if (!profile)
		return cli_fail(error);
	data = g_bytes_get_data(profile, &len);
	if (out && strcmp(out, "-"))
		return datadir_write_file(out, data, len, 0600, &inner) ? CLI_OK : cli_fail(inner);
	if (fwrite(data, 1, len, stdout) == len && !fflush(stdout))
		return CLI_OK;
	pom_fail(&inner, POM_ERR_IO, "standard output cannot be written");
	return cli_fail(inner);
}

/* ---- sign ---- */

static struct profile_signer *load_signer(const struct cli *cli, GError **error)
{
	g_autoptr(GBytes) cert = NULL, key = NULL;
	g_autoptr(GPtrArray) roots = system_roots_load();
	char *password = NULL;
	struct profile_signer *signer = NULL;

	if (!cli_value(cli, "cert")) {
		pom_fail(error, POM_ERR_USAGE, "--key needs --cert");
		return NULL;
	}
	if (cli_read_option(cli, "cert", &cert, error) && cli_read_option(cli, "key", &key, error) && cli_read_password(cli, &password, error))
		signer = profile_signer_load(cert, key ? key : cert, password, roots, now_s(), error);
	cli_forget(password);
	return signer;
}

static GBytes *sign_here(const struct cli *cli, GBytes *file, GError **error)
{
	g_autoptr(profile_signer) signer = load_signer(cli, error);

	if (!signer || !profile_file_check(file, cli_flag(cli, "force"), now_s(), error))
		return NULL;
	if (signer->missing)
		fprintf(stderr, "pomona: the chain is not complete: the certificate \"%s\" is missing, and devices will show the profile as not verified\n", signer->missing);
	return profile_signer_sign(signer, file, now_s(), error);
}

static GBytes *sign_there(const struct cli *cli, GBytes *file, bool force, GError **error)
{
	g_autofree char *path = g_strdup_printf("/api/v1/profile-tools/sign?force=%s", force ? "true" : "false");

	return cli_call_raw(cli, "POST", path, PROFILE_TYPE, file, error);
}

int cmd_profile_sign(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) file = cli_read_secret(cli->args[0], &error), made = NULL;

	if (file)
		made = cli_value(cli, "cert") || cli_value(cli, "key") ? sign_here(cli, file, &error) : sign_there(cli, file, cli_flag(cli, "force"), &error);
	return cli_write_profile(cli, made, error);
}

/* ---- verify ---- */

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

static void print_list(const char *title, const json_t *list)
{
	const json_t *item;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, item)
		printf("%-12s %s (%s)\n", title, text_of(item, "what"), text_of(item, "code"));
}

static void print_chain(const json_t *chain)
{
	const json_t *item;
	size_t i;

	json_array_foreach(json_object_get(chain, "certificates"), i, item)
		printf("%-12s %s\n", i ? "" : "chain", json_string_value(item));
	if (chain && !json_is_null(chain) && !json_is_true(json_object_get(chain, "complete")))
		printf("%-12s (missing: %s)\n", "", text_of(chain, "missing"));
}

static void print_trust(const json_t *trust)
{
	static const struct { const char *key, *text; } roots[] = {{"given", "the given root"}, {"own", "this server's root"}, {"system", "a root of this system's ca-certificates (near to Apple's store, not the same)"}};

	for (size_t i = 0; i < G_N_ELEMENTS(roots); i++) {
		const json_t *value = json_object_get(trust, roots[i].key);

		if (json_is_boolean(value))
			printf("%-12s %s to %s\n", "trust", json_is_true(value) ? "leads" : "does not lead", roots[i].text);
	}
}

static void print_report(const json_t *report)
{
	const json_t *signer = json_object_get(report, "signer"), *profile = json_object_get(report, "profile");

	printf("%-12s %s\n", "signature", json_is_true(json_object_get(report, "signed")) ? text_of(report, "signature") : "none");
	if (json_is_object(signer)) {
		printf("%-12s %s, serial number %s\n", "signer", text_of(signer, "subject"), text_of(signer, "serial"));
		printf("%-12s %s to %s\n%-12s %s\n", "valid", text_of(signer, "not_before"), text_of(signer, "not_after"), "digest", text_of(report, "digest"));
	}
	print_chain(json_object_get(report, "chain"));
	print_trust(json_object_get(report, "trust"));
	if (json_is_object(profile))
		printf("%-12s %s (%s)%s\n", "profile", text_of(profile, "identifier"), text_of(profile, "name"), json_is_true(json_object_get(report, "encrypted")) ? ", encrypted" : "");
	print_list("problem", json_object_get(report, "problems"));
	print_list("warning", json_object_get(report, "warnings"));
}

/* The data directory's roots; NULL when there are none to be read: then nothing is said of them. */
static GPtrArray *own_roots(const struct cli *cli)
{
	g_autofree char *path = datadir_path(cli_data(cli), DATADIR_ROOT), *text = NULL;
	gsize len;

	return g_file_get_contents(path, &text, &len, NULL) ? cert_parse_all(text, len, NULL) : NULL;
}

int cmd_profile_verify(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) file = cli_read_secret(cli->args[0], &error), root = NULL;
	g_autoptr(GPtrArray) given = NULL, own = own_roots(cli), system = system_roots_load();
	g_autoptr(json_t) report = NULL;

	if (!file || !cli_read_option(cli, "root", &root, &error) || (root && !(given = cert_parse_all(g_bytes_get_data(root, NULL), g_bytes_get_size(root), &error))))
		return cli_fail(error);
	report = profile_verify(file, &(struct profile_roots){given, own, system}, now_s());
	if (cli_flag(cli, "json"))
		cli_print_json(report);
	else
		print_report(report);
	return json_is_true(json_object_get(report, "ok")) ? CLI_OK : CLI_FAILED;
}

/* ---- encrypt, decrypt ---- */

static GBytes *encrypt_here(const struct cli *cli, GBytes *file, GError **error)
{
	const char *cipher = cli_value(cli, "cipher");
	g_autoptr(GBytes) to = NULL;
	g_autoptr(GPtrArray) certs = NULL;

	if (!cli_read_option(cli, "to", &to, error) || !(certs = cert_parse_all(g_bytes_get_data(to, NULL), g_bytes_get_size(to), error)))
		return NULL;
	return profile_file_encrypt(file, certs->pdata[0], profile_cipher_nid(cipher ? cipher : "aes256"), cli_flag(cli, "force"), now_s(), pom_random_system(), error);
}

static GBytes *encrypt_there(const struct cli *cli, GBytes *file, GError **error)
{
	const char *cipher = cli_value(cli, "cipher");
	g_autofree char *device = g_uri_escape_string(cli_value(cli, "device"), NULL, FALSE);
	g_autofree char *path = g_strdup_printf("/api/v1/profile-tools/encrypt?device=%s&sign=%s&force=%s%s%s", device, cli_flag(cli, "no-sign") ? "false" : "true", cli_flag(cli, "force") ? "true" : "false",
	                                        cipher ? "&cipher=" : "", cipher ? cipher : "");

	return cli_call_raw(cli, "POST", path, PROFILE_TYPE, file, error);
}

static GBytes *encrypt_any(const struct cli *cli, GBytes *file, GError **error)
{
	g_autoptr(GBytes) sealed = NULL;

	if (cli_value(cli, "device"))
		return encrypt_there(cli, file, error);
	sealed = encrypt_here(cli, file, error);
	return sealed && !cli_flag(cli, "no-sign") ? sign_there(cli, sealed, cli_flag(cli, "force"), error) : g_steal_pointer(&sealed);
}

int cmd_profile_encrypt(const struct cli *cli)
{
	const char *cipher = cli_value(cli, "cipher");
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) file = NULL, made = NULL;

	if (!cli_value(cli, "to") == !cli_value(cli, "device"))
		pom_fail(&error, POM_ERR_USAGE, "say for whom: --device ID or --to CERTIFICATE, one of them");
	else if (cipher && !profile_cipher_nid(cipher))
		pom_fail(&error, POM_ERR_USAGE, "--cipher must be aes256, aes128 or 3des, not \"%s\"", cipher);
	else
		file = cli_read_secret(cli->args[0], &error);
	if (file)
		made = encrypt_any(cli, file, &error);
	return cli_write_profile(cli, made, error);
}

int cmd_profile_decrypt(const struct cli *cli)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) file = NULL, key = NULL, cert = NULL, made = NULL;
	char *password = NULL;

	if (!cli_value(cli, "key"))
		pom_fail(&error, POM_ERR_USAGE, "--key is missing: the private key of the identity that the profile is encrypted to");
	else if ((file = cli_read_secret(cli->args[0], &error)) && cli_read_option(cli, "key", &key, &error) && cli_read_option(cli, "cert", &cert, &error) && cli_read_password(cli, &password, &error))
		made = profile_file_decrypt(file, key, cert, password, pom_random_system(), &error);
	cli_forget(password);
	return cli_write_profile(cli, made, error);
}
