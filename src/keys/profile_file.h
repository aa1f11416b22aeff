/* What is done with profiles in files, with or without a server. */
#pragma once

#include "codec/lint.h"
#include "keys/profile_crypt.h"
#include "keys/profile_signer.h"
#include "keys/profile_verify.h"

/* How a file is linted. All may be left 0 but AT_S. Borrowed for the call. */
struct profile_file_lint {
	const char *target;    /* the name of the file, or of the one that is written; NULL: "profile" */
	int64_t at_s;          /* Unix seconds */
	GBytes *key, *cert;    /* of the identity that the content is encrypted to, as in profile_file_decrypt */
	const char *password;
	GPtrArray *roots;      /* X509: roots that devices are taken to trust; NULL: where the signer's chain leads is not judged */
	struct lint_system systems[LINT_SYSTEMS_MAX];
	size_t n_systems;
	bool is_unsupervised;
};
/* lint_file, with PKCS #12 files opened, encrypted content decrypted when there is a key, and the signer judged: up to some seconds. Never NULL; transfer full. */
struct lint_report *profile_file_lint(GBytes *file, const struct profile_file_lint *how, const struct pom_random *random);
/* lint_fix; *RET_REPORT (transfer full) is what is left. */
GBytes *profile_file_fix(GBytes *file, const struct profile_file_lint *how, struct lint_report **ret_report, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Whether FILE can be signed: a property list that is not signed yet (POM_ERR_CONFLICT), in which the linter finds no error (POM_ERR_PROFILE_LINT names the first
 * ones); FORCE: a property list is enough. POM_ERR_PLIST_*. */
bool profile_file_check(GBytes *file, bool force, int64_t at_s, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* FILE, as above, with its content encrypted to TO; XML, transfer full. Errors of profile_encrypt. */
GBytes *profile_file_encrypt(GBytes *file, X509 *to, int cipher_nid, bool force, int64_t at_s, const struct pom_random *random, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* FILE, signed or not, in clear: XML without a signature, transfer full, wiped when freed. KEY_FILE: PEM, DER or PKCS#12; CERT_FILE (its certificate, one file) and
 * PASSWORD may be NULL. Errors of mobileconfig_open and profile_decrypt. */
GBytes *profile_file_decrypt(GBytes *file, GBytes *key_file, GBytes *cert_file, const char *password, const struct pom_random *random, GError **error) G_GNUC_WARN_UNUSED_RESULT;
