/* What is done with profiles in files, with or without a server. */
#pragma once

#include "codec/lint.h"
#include "keys/profile_crypt.h"
#include "keys/profile_signer.h"
#include "keys/profile_verify.h"

/* The report of lint_file at AT_S (Unix seconds), with PKCS#12 files opened: up to some seconds. transfer full. */
json_t *profile_file_lint(GBytes *file, int64_t at_s);
/* lint_fix; *RET_REPORT (transfer full) is what is left. */
GBytes *profile_file_fix(GBytes *file, int64_t at_s, json_t **ret_report, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Whether FILE can be signed: a property list that is not signed yet (POM_ERR_CONFLICT), in which the linter finds no error (POM_ERR_PROFILE_LINT names the first
 * ones); FORCE: a property list is enough. POM_ERR_PLIST_*. */
bool profile_file_check(GBytes *file, bool force, int64_t at_s, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* FILE, as above, with its content encrypted to TO; XML, transfer full. Errors of profile_encrypt. */
GBytes *profile_file_encrypt(GBytes *file, X509 *to, int cipher_nid, bool force, int64_t at_s, const struct pom_random *random, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* FILE, signed or not, in clear: XML without a signature, transfer full, wiped when freed. KEY_FILE: PEM, DER or PKCS#12; CERT_FILE (its certificate, one file) and
 * PASSWORD may be NULL. Errors of mobileconfig_open and profile_decrypt. */
GBytes *profile_file_decrypt(GBytes *file, GBytes *key_file, GBytes *cert_file, const char *password, const struct pom_random *random, GError **error) G_GNUC_WARN_UNUSED_RESULT;
