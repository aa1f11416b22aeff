#include "keys/profile_verify.h"

#include "keys/profile_signer.h"

struct verify {
	const struct profile_roots *roots;
	int64_t at_s;
	json_t *report, *problems, *warnings;
	struct cms_signed *message;
	GPtrArray *embedded; /* X509 */
	GPtrArray *path;     /* X509, borrowed from the two above: the signer, its issuer, … */
};

static void add(json_t *list, int code, const char *what)
{
	json_array_append_new(list, json_pack("{s:s, s:s}", "code", pom_error_info(code)->id, "what", what));
}

static void add_error(json_t *list, const GError *error)
{
	g_autofree char *text = g_utf8_make_valid(error->message, -1);

	add(list, pom_error_info_of(error) == pom_error_info(error->code) ? error->code : POM_ERR_INTERNAL, text);
}

static json_t *text_or_null(const char *text)
{
	json_t *value = text ? json_string(text) : NULL;

	return value ? value : json_null();
}

static void read_embedded(struct verify *v)
{
	v->embedded = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);
	v->path = g_ptr_array_new();
	for (guint i = 0; v->message && i < v->message->certificates->len; i++) {
		GBytes *der = v->message->certificates->pdata[i];
		X509 *cert = cert_parse_der(g_bytes_get_data(der, NULL), g_bytes_get_size(der), NULL);

		if (cert)
			g_ptr_array_add(v->embedded, cert);
	}
}

static X509 *find_issuer(X509 *cert, GPtrArray *among)
{
	for (guint i = 0; among && i < among->len; i++)
		if (cert_is_issued_by(cert, among->pdata[i]))
			return among->pdata[i];
	return NULL;
}

/* As far as the certificates in the message lead. */
static void build_path(struct verify *v)
{
	X509 *at = v->message->signer;

	while (at && v->path->len <= PROFILE_CHAIN_MAX) {
		g_ptr_array_add(v->path, at);
		at = cert_is_issued_by(at, at) ? NULL : find_issuer(at, v->embedded);
	}
}

static bool is_root_near(X509 *last, GPtrArray *roots)
{
	for (guint i = 0; roots && i < roots->len; i++)
		if (!X509_cmp(last, roots->pdata[i]) || cert_is_issued_by(last, roots->pdata[i]))
			return true;
	return false;
}

static void judge_chain(struct verify *v)
{
	X509 *last = v->path->pdata[v->path->len - 1];
	bool ends = cert_is_issued_by(last, last) || is_root_near(last, v->roots->given) || is_root_near(last, v->roots->own) || is_root_near(last, v->roots->system);
	g_autofree char *missing = ends ? NULL : cert_issuer_text(last);
	json_t *names = json_array();

	for (guint i = 0; i < v->path->len; i++) {
		g_autoptr(cert_info) info = cert_info_new(v->path->pdata[i], NULL);

		json_array_append_new(names, text_or_null(info ? info->subject : NULL));
	}
	json_object_set_new(v->report, "chain", json_pack("{s:o, s:b, s:o}", "certificates", names, "complete", ends, "missing", text_or_null(missing)));
	if (ends)
		return;
	g_autofree char *what = g_strdup_printf("the chain is not complete: the certificate \"%s\", which issued the last one in the message, is neither there nor a known root. Sign with all intermediate certificates", missing);

	add(v->problems, POM_ERR_CERT_UNTRUSTED, what);
}

/* Those of ROOTS that any certificate of the path could end at: a verification takes a limited number. */
static GPtrArray *near_roots(const struct verify *v, GPtrArray *roots)
{
	GPtrArray *near = g_ptr_array_new();

	for (guint i = 0; i < roots->len && near->len < CERT_CHAIN_MAX; i++)
		for (guint k = 0; k < v->path->len; k++)
			if (!X509_cmp(v->path->pdata[k], roots->pdata[i]) || cert_is_issued_by(v->path->pdata[k], roots->pdata[i])) {
				g_ptr_array_add(near, roots->pdata[i]);
				break;
			}
	return near;
}

/* Sets KEY of TRUST, and *RET_WHY when the path leads to one of these roots but is refused. */
static bool judge_roots(const struct verify *v, json_t *trust, const char *key, GPtrArray *roots, GError **ret_why)
{
	g_autoptr(GPtrArray) near = roots ? near_roots(v, roots) : NULL;
	bool ok = false;

	if (near && near->len)
		ok = cert_chain_verify(v->message->signer, (X509 *const *)v->embedded->pdata, MIN(v->embedded->len, CERT_CHAIN_MAX), (X509 *const *)near->pdata, near->len, v->at_s, false,
		                       ret_why && !*ret_why ? ret_why : NULL);
	json_object_set_new(trust, key, roots ? json_boolean(ok) : json_null());
	return ok;
}

static void judge_trust(struct verify *v)
{
	json_t *trust = json_object();
	g_autoptr(GError) why = NULL;
	bool given = judge_roots(v, trust, "given", v->roots->given, &why), own = judge_roots(v, trust, "own", v->roots->own, &why), by_system = judge_roots(v, trust, "system", v->roots->system, &why);

	json_object_set_new(v->report, "trust", trust);
	if (v->roots->given ? given : own || by_system)
		return;
	if (why)
		add_error(v->problems, why);
	else if (v->roots->given)
		add(v->problems, POM_ERR_CERT_UNTRUSTED, "the signer does not lead to the given root");
	else
		add(v->problems, POM_ERR_CERT_UNTRUSTED, "the signer leads to no root that is known here: devices show the profile as not verified unless they were given its root");
}

static void judge_signer(struct verify *v)
{
	g_autoptr(cert_info) info = cert_info_new(v->message->signer, NULL);
	g_autoptr(GError) unfit = NULL;

	if (!info)
		return;
	g_autofree char *from = pom_time_format(info->not_before * 1000), *to = pom_time_format(info->not_after * 1000), *sha256 = hex_format(info->sha256, sizeof(info->sha256));

	json_object_set_new(v->report, "signer", json_pack("{s:o, s:o, s:o, s:s, s:s, s:s}", "subject", text_or_null(info->subject), "issuer", text_or_null(info->issuer), "serial", text_or_null(info->serial),
	                                                   "not_before", from, "not_after", to, "sha256", sha256));
	json_object_set_new(v->report, "digest", text_or_null(OBJ_nid2sn(v->message->digest_nid)));
	if (v->at_s < info->not_before || v->at_s > info->not_after) {
		g_autofree char *what = g_strdup_printf("the signer's certificate is not valid now: from %s to %s", from, to);

		add(v->problems, POM_ERR_CERT_EXPIRED, what);
	} else if (!profile_signer_check(v->message->signer, v->at_s, &unfit)) {
		add_error(v->warnings, unfit);
	}
	if (v->message->digest_nid == NID_sha1)
		add(v->warnings, POM_ERR_CMS_ALGORITHM, "the digest is SHA-1, which new systems may refuse: sign with SHA-256");
}

static json_t *list_payloads(const plist *profile)
{
	const plist *content = plist_dict_get(profile, "PayloadContent");
	json_t *types = json_array();

	for (size_t i = 0; plist_get_type(content) == PLIST_ARRAY && i < plist_count(content); i++)
		json_array_append_new(types, text_or_null(plist_get_string(plist_dict_get(plist_child(content, i), "PayloadType"))));
	return types;
}

static void judge_profile(struct verify *v, GBytes *content)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(plist) profile = plist_parse(g_bytes_get_data(content, NULL), g_bytes_get_size(content), NULL, &error);

	if (profile) {
		json_object_set_new(v->report, "profile", json_pack("{s:o, s:o, s:o, s:o}", "identifier", text_or_null(plist_get_string(plist_dict_get(profile, "PayloadIdentifier"))),
		                                                    "uuid", text_or_null(plist_get_string(plist_dict_get(profile, "PayloadUUID"))),
		                                                    "name", text_or_null(plist_get_string(plist_dict_get(profile, "PayloadDisplayName"))), "payloads", list_payloads(profile)));
		json_object_set_new(v->report, "encrypted", json_boolean(profile_is_encrypted(profile)));
	}
	if (!profile || !mobileconfig_check(profile, &error)) {
		g_prefix_error(&error, "%s", v->message ? "what was signed is no profile that devices take: " : "");
		add_error(v->problems, error);
	}
}

static void judge_message(struct verify *v)
{
	json_object_set_new(v->report, "signature", json_string("ok"));
	build_path(v);
	judge_signer(v);
	judge_chain(v);
	judge_trust(v);
}

json_t *profile_verify(GBytes *file, const struct profile_roots *roots, int64_t at_s)
{
	gsize len;
	const void *data = g_bytes_get_data(file, &len);
	bool is_signed = mobileconfig_is_signed(data, len);
	struct verify v = {.roots = roots, .at_s = at_s, .problems = json_array(), .warnings = json_array()};
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) content = mobileconfig_open(data, len, &v.message, &error);

	v.report = json_pack("{s:b, s:b, s:n, s:s, s:n, s:n, s:n, s:n, s:n}", "ok", false, "signed", is_signed, "encrypted", "signature", is_signed ? "broken" : "none", "digest", "signer", "chain", "trust",
	                     "profile");
	read_embedded(&v);
	if (error)
		add_error(v.problems, error);
	if (!is_signed)
		add(v.problems, POM_ERR_PROFILE, "the profile is not signed: devices show it as not verified, and anybody can have changed it");
	if (v.message)
		judge_message(&v);
	if (content)
		judge_profile(&v, content);
	json_object_set_new(v.report, "ok", json_boolean(!json_array_size(v.problems)));
	json_object_set_new(v.report, "problems", v.problems);
	json_object_set_new(v.report, "warnings", v.warnings);
	g_ptr_array_unref(v.path);
	g_ptr_array_unref(v.embedded);
	cms_signed_free(v.message);
	return v.report;
}
