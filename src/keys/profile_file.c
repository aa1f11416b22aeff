#include "keys/profile_file.h"

#include <string.h>

#include "keys/pkcs12.h"
#include "keys/profile_lint.h"

enum { ERRORS_NAMED = 3 };

#define DATA(bytes) g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes)

static GPtrArray *open_pkcs12(const void *data, size_t len, const char *password, GError **error)
{
	g_autoptr(signer) key = NULL;
	GPtrArray *certs = NULL;

	return pkcs12_open(data, len, password, &key, &certs, error) ? certs : NULL;
}

static struct lint_facts lint_facts(const struct profile_file_lint *how)
{
	struct lint_facts facts = {.now_s = how->at_s, .open_pkcs12 = open_pkcs12, .n_systems = how->n_systems, .is_unsupervised = how->is_unsupervised};

	memcpy(facts.systems, how->systems, sizeof(facts.systems));
	return facts;
}

static const char *target_of(const struct profile_file_lint *how)
{
	return how->target ? how->target : "profile";
}

/* The report on what is inside, in place of OUTSIDE (transfer full). */
static struct lint_report *lint_inside(GBytes *file, struct lint_report *outside, const struct profile_file_lint *how, const struct pom_random *random)
{
	struct lint_facts facts = lint_facts(how);
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) open = profile_file_decrypt(file, how->key, how->cert, how->password, random, &error);
	struct lint_report *inside;

	if (!open) {
		lint_report_add(outside, LINT_PROFILE_KEY, "EncryptedPayloadContent", "%s", error->message);
		return outside;
	}
	facts.is_inner = outside->is_signed;
	inside = lint_file(target_of(how), DATA(open), &facts);
	inside->is_signed = outside->is_signed;
	inside->is_encrypted = true;
	lint_report_free(outside);
	return inside;
}

struct lint_report *profile_file_lint(GBytes *file, const struct profile_file_lint *how, const struct pom_random *random)
{
	const struct lint_facts facts = lint_facts(how);
	struct lint_report *report = lint_file(target_of(how), DATA(file), &facts);

	if (report->is_encrypted && how->key)
		report = lint_inside(file, report, how, random);
	if (report->is_signed)
		profile_lint_signature(report, file, how->roots, how->at_s);
	return report;
}

GBytes *profile_file_fix(GBytes *file, const struct profile_file_lint *how, struct lint_report **ret_report, GError **error)
{
	const struct lint_facts facts = lint_facts(how);

	return lint_fix(target_of(how), DATA(file), &facts, ret_report, error);
}

static bool refuse_errors(const struct lint_report *report, GError **error)
{
	g_autoptr(GString) text = g_string_new(NULL);
	unsigned n = 0, n_errors = report->found->n[FINDING_ERROR];

	for (guint i = 0; i < report->found->findings->len && n < ERRORS_NAMED; i++) {
		const struct finding *f = report->found->findings->pdata[i];

		if (f->severity == FINDING_ERROR)
			g_string_append_printf(text, "%s%s%s%s", n++ ? "; " : "", f->path, *f->path ? " " : "", f->text);
	}
	return pom_fail(error, POM_ERR_PROFILE_LINT, "the profile has %u error%s: %s%s. \"pomona profile lint\" says all of them, --force does it nevertheless", n_errors, n_errors == 1 ? "" : "s", text->str,
	                n_errors > n ? "; …" : "");
}

/* The tree, transfer full. */
static plist *read_plain(GBytes *file, bool force, int64_t at_s, GError **error)
{
	const struct lint_facts facts = lint_facts(&(struct profile_file_lint){.at_s = at_s});
	g_autoptr(plist) tree = NULL;
	g_autoptr(lint_report) report = NULL;

	if (mobileconfig_is_signed(DATA(file))) {
		pom_fail(error, POM_ERR_CONFLICT, "the profile is signed already: devices do not look for another signature inside the first one, nor encrypt around one. Take what it was signed from");
		return NULL;
	}
	tree = plist_parse(DATA(file), NULL, error);
	if (!tree || force)
		return g_steal_pointer(&tree);
	report = lint_file("profile", DATA(file), &facts);
	return !report->found->n[FINDING_ERROR] || refuse_errors(report, error) ? g_steal_pointer(&tree) : NULL;
}

bool profile_file_check(GBytes *file, bool force, int64_t at_s, GError **error)
{
	g_autoptr(plist) tree = read_plain(file, force, at_s, error);

	return tree != NULL;
}

GBytes *profile_file_encrypt(GBytes *file, X509 *to, int cipher_nid, bool force, int64_t at_s, const struct pom_random *random, GError **error)
{
	g_autoptr(plist) tree = read_plain(file, force, at_s, error);
	g_autoptr(plist) sealed = tree ? profile_encrypt(tree, to, cipher_nid, random, error) : NULL;

	return sealed ? plist_format(sealed, error) : NULL;
}

/* The certificate that belongs to KEY, borrowed; one that does not is left for profile_decrypt to refuse. */
static X509 *find_certificate(GPtrArray *certs, struct signer *key)
{
	for (guint i = 0; certs && i < certs->len; i++)
		if (EVP_PKEY_eq(X509_get0_pubkey(certs->pdata[i]), signer_get_key(key)) == 1)
			return certs->pdata[i];
	return certs && certs->len ? certs->pdata[0] : NULL;
}

static plist *decrypt_tree(const plist *tree, GBytes *key_file, GBytes *cert_file, const char *password, const struct pom_random *random, GError **error)
{
	g_autoptr(GPtrArray) with_key = NULL, given = NULL;
	g_autoptr(signer) key = profile_key_load(key_file, password, &with_key, error);

	if (!key)
		return NULL;
	if (cert_file) {
		given = cert_parse_all(DATA(cert_file), error);
		if (!given)
			return NULL;
	}
	return profile_decrypt(tree, key, find_certificate(given ? given : with_key, key), random, error);
}

GBytes *profile_file_decrypt(GBytes *file, GBytes *key_file, GBytes *cert_file, const char *password, const struct pom_random *random, GError **error)
{
	g_autoptr(GBytes) content = mobileconfig_open(DATA(file), NULL, error), text = NULL;
	g_autoptr(plist) tree = content ? plist_parse(DATA(content), NULL, error) : NULL, open = NULL;

	open = tree ? decrypt_tree(tree, key_file, cert_file, password, random, error) : NULL;
	text = open ? plist_format(open, error) : NULL;
	return text ? secret_bytes_new(DATA(text)) : NULL;
}
