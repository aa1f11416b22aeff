/* The rules of a chain as it is sent: order, what is missing, what is too much, where it ends. Nothing is fetched and nothing is rebuilt: a certificate counts if it was sent, or is a root. */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/error.h"
#include "core/doctor.h"

/* What was sent, and what it is to the first of it. */
struct chain {
	const struct doctor *doctor;
	const char *where;
	unsigned n;
	X509 *certs[DOCTOR_CHAIN_MAX];
	bool is_repeated[DOCTOR_CHAIN_MAX]; /* was sent before */
	bool leads[DOCTOR_CHAIN_MAX];       /* the first one, or has issued one that leads */
	bool is_root[DOCTOR_CHAIN_MAX];     /* has signed itself */
	X509 *root;                         /* of those that devices have; NULL: it leads to none */
	unsigned top;                       /* the certificate that ROOT has issued, or is */
	bool is_public;
};

static char *place(const struct chain *chain, unsigned i)
{
	return g_strdup_printf("%s%schain[%u]", chain->where, *chain->where ? " " : "", i);
}

static char *subject_of(X509 *cert)
{
	g_autoptr(cert_info) info = cert_info_new(cert, NULL);

	return g_strdup(info ? info->subject : "a certificate that cannot be read");
}

/* The name and key of A root, whichever certificate it is in. */
static bool is_same_ca(X509 *a, X509 *b)
{
	return !X509_NAME_cmp(X509_get_subject_name(a), X509_get_subject_name(b)) && EVP_PKEY_eq(X509_get0_pubkey(a), X509_get0_pubkey(b)) == 1;
}

/* Names first: a signature is dear, and the lists are long. */
static bool issued(X509 *issuer, X509 *cert)
{
	return !X509_NAME_cmp(X509_get_subject_name(issuer), X509_get_issuer_name(cert)) && X509_get0_pubkey(issuer) && X509_get0_pubkey(cert) && cert_is_signed_by(cert, issuer);
}

/* ---- what belongs to what ---- */

static void find_repeated(struct chain *chain)
{
	for (unsigned i = 1; i < chain->n; i++)
		for (unsigned k = 0; k < i; k++)
			if (!X509_cmp(chain->certs[i], chain->certs[k]))
				chain->is_repeated[i] = true;
}

static void find_leading(struct chain *chain)
{
	bool again = true;

	chain->leads[0] = true;
	while (again) {
		again = false;
		for (unsigned i = 1; i < chain->n; i++)
			for (unsigned k = 0; k < chain->n && !chain->leads[i] && !chain->is_repeated[i]; k++)
				if (chain->leads[k] && !chain->is_root[k] && issued(chain->certs[i], chain->certs[k]))
					again = chain->leads[i] = true;
	}
}

static X509 *find_issuer(const GPtrArray *roots, X509 *cert)
{
	for (guint i = 0; roots && i < roots->len; i++)
		if (is_same_ca(roots->pdata[i], cert) || issued(roots->pdata[i], cert))
			return roots->pdata[i];
	return NULL;
}

/* The nearest certificate that ROOTS know; NULL. */
static X509 *find_root(const struct chain *chain, const GPtrArray *roots, unsigned *ret_top)
{
	for (unsigned i = 0; i < chain->n; i++) {
		X509 *root = chain->leads[i] && !chain->is_repeated[i] ? find_issuer(roots, chain->certs[i]) : NULL;

		if (root) {
			*ret_top = i;
			return root;
		}
	}
	return NULL;
}

static void find_trust(struct chain *chain)
{
	chain->root = find_root(chain, chain->doctor->public_roots, &chain->top);
	chain->is_public = chain->root != NULL;
	if (!chain->root)
		chain->root = find_root(chain, chain->doctor->trusted, &chain->top);
	if (!chain->root)
		chain->root = find_root(chain, chain->doctor->anchors, &chain->top);
}

/* ---- order, repetitions, strangers ---- */

static void check_repeated(const struct chain *chain)
{
	for (unsigned i = 1; i < chain->n; i++) {
		g_autofree char *path = place(chain, i), *subject = subject_of(chain->certs[i]);

		if (!chain->is_repeated[i])
			continue;
		if (!X509_cmp(chain->certs[i], chain->certs[0]))
			doctor_say(chain->doctor, "chain-leaf-twice", path, "the server's certificate \"%s\" is sent again", subject);
		else
			doctor_say(chain->doctor, "chain-duplicate", path, "\"%s\" is sent again", subject);
	}
}

/* A sent certificate that another one names as its issuer, though the signature is not by its key. */
static bool find_broken(const struct chain *chain, unsigned cert, X509 *issuer)
{
	bool fits = issuer != chain->certs[cert] && X509_check_issued(issuer, chain->certs[cert]) == X509_V_OK && !issued(issuer, chain->certs[cert]);

	ERR_clear_error();
	return fits;
}

static X509 *find_broken_root(const struct chain *chain, const GPtrArray *roots, unsigned cert)
{
	for (guint i = 0; roots && i < roots->len; i++)
		if (find_broken(chain, cert, roots->pdata[i]))
			return roots->pdata[i];
	return NULL;
}

static bool check_signatures(const struct chain *chain)
{
	bool found = false;

	for (unsigned i = 0; i < chain->n; i++) {
		g_autofree char *path = place(chain, i), *subject = subject_of(chain->certs[i]);
		X509 *broken = NULL;
		bool is_whole = find_issuer(chain->doctor->public_roots, chain->certs[i]) || find_issuer(chain->doctor->trusted, chain->certs[i]) || find_issuer(chain->doctor->anchors, chain->certs[i]);

		if (!chain->leads[i] || chain->is_root[i] || is_whole)
			continue;
		for (unsigned k = 0; k < chain->n && !is_whole; k++)
			is_whole = issued(chain->certs[k], chain->certs[i]);
		for (unsigned k = 0; k < chain->n && !is_whole && !broken; k++)
			broken = find_broken(chain, i, chain->certs[k]) ? chain->certs[k] : NULL;
		if (!is_whole && !broken)
			broken = find_broken_root(chain, chain->doctor->trusted, i);
		if (!broken)
			continue;
		found = true;
		doctor_say(chain->doctor, "chain-bad-signature", path, "the signature of \"%s\" was not made by the key of the issuer that it names", subject);
	}
	return found;
}

/* IS_BROKEN: beyond a wrong signature nobody knows what belongs to the chain. */
static void check_strangers(const struct chain *chain, bool is_broken)
{
	for (unsigned i = 1; i < chain->n; i++) {
		g_autofree char *path = place(chain, i), *subject = subject_of(chain->certs[i]);

		if (chain->is_repeated[i])
			continue;
		if (!chain->leads[i] && !is_broken)
			doctor_say(chain->doctor, "chain-foreign", path, "\"%s\" has issued nothing of this chain", subject);
		else if (chain->leads[i] && chain->is_root[i])
			doctor_say(chain->doctor, "chain-root-sent", path, "the root \"%s\" is sent", subject);
	}
}

/* Whether certificate I has issued one of those before it. */
static bool follows(const struct chain *chain, unsigned i)
{
	for (unsigned k = 0; k < i; k++)
		if (issued(chain->certs[i], chain->certs[k]))
			return true;
	return false;
}

static void check_order(const struct chain *chain)
{
	for (unsigned i = 1; i < chain->n; i++) {
		g_autofree char *path = place(chain, i), *subject = subject_of(chain->certs[i]);

		if (chain->leads[i] && !chain->is_repeated[i] && !follows(chain, i)) {
			doctor_say(chain->doctor, "chain-order", path, "\"%s\" stands before the certificate that it has issued", subject);
			return;
		}
	}
}

/* ---- where it ends ---- */

/* Where the issuer's certificate is, as CERT says (authorityInfoAccess); transfer full, NULL: it does not say. */
static char *find_issuer_url(X509 *cert)
{
	AUTHORITY_INFO_ACCESS *access = X509_get_ext_d2i(cert, NID_info_access, NULL, NULL);
	char *url = NULL;

	for (int i = 0; i < sk_ACCESS_DESCRIPTION_num(access) && !url; i++) {
		const ACCESS_DESCRIPTION *item = sk_ACCESS_DESCRIPTION_value(access, i);

		if (OBJ_obj2nid(item->method) == NID_ad_ca_issuers && item->location->type == GEN_URI)
			url = g_strndup((const char *)ASN1_STRING_get0_data(item->location->d.uniformResourceIdentifier), (gsize)ASN1_STRING_length(item->location->d.uniformResourceIdentifier));
	}
	AUTHORITY_INFO_ACCESS_free(access);
	ERR_clear_error();
	return url;
}

/* The last certificate of the way from the first up, which nobody who was sent has issued. */
static unsigned find_end(const struct chain *chain)
{
	unsigned end = 0;

	for (unsigned step = 0; step < chain->n; step++) {
		unsigned next = end;

		for (unsigned k = 0; k < chain->n && next == end; k++)
			if (k != end && chain->leads[k] && !chain->is_repeated[k] && issued(chain->certs[k], chain->certs[end]))
				next = k;
		if (next == end || chain->is_root[next])
			return next;
		end = next;
	}
	return end;
}

static void say_missing(const struct chain *chain, const char *rule, unsigned end)
{
	g_autofree char *path = place(chain, end), *subject = subject_of(chain->certs[end]), *issuer = cert_issuer_text(chain->certs[end]), *url = find_issuer_url(chain->certs[end]);

	if (url)
		doctor_say_as(chain->doctor, rule, FINDING_ERROR, FINDING_WATCHOS, path, "the certificate of \"%s\", which has issued \"%s\", is not sent; other systems fetch it from %s, a watch does not", issuer, subject, url);
	else
		doctor_say(chain->doctor, rule, path, "the certificate of \"%s\", which has issued \"%s\", is not sent, and the certificate does not say where to get it", issuer, subject);
}

static void say_untrusted(const struct chain *chain)
{
	unsigned end = find_end(chain);
	g_autofree char *path = place(chain, end), *subject = subject_of(chain->certs[end]), *issuer = cert_issuer_text(chain->certs[end]), *url = find_issuer_url(chain->certs[end]);

	if (chain->is_root[0])
		doctor_say(chain->doctor, "self-signed", path, "\"%s\" is signed by itself, and is no root that devices have", subject);
	else if (chain->is_root[end])
		doctor_say(chain->doctor, "root-unknown", path, "the chain ends in the root \"%s\", which is not among Debian's ca-certificates (an approximation of Apple's)", subject);
	else if (end == 0)
		say_missing(chain, "chain-leaf-only", 0);
	else if (url)
		say_missing(chain, "chain-missing-intermediate", end);
	else
		doctor_say(chain->doctor, "root-unknown", path, "the chain ends in \"%s\", whose issuer \"%s\" was not sent and is not among Debian's ca-certificates (an approximation of Apple's)", subject, issuer);
}

static void check_root_date(const struct chain *chain)
{
	g_autoptr(cert_info) info = cert_info_new(chain->root, NULL);

	if (!chain->is_public && info && info->not_after < chain->doctor->now_s)
		doctor_say(chain->doctor, "root-expired", chain->where, "the root \"%s\" that devices were given has expired", info->subject);
}

/* Whatever else RFC 5280 has against the path, when nothing better was found to say. */
static void check_path(const struct chain *chain, unsigned n_errors)
{
	X509 *roots[] = {chain->root};
	g_autoptr(GError) error = NULL;
	g_autofree char *path = place(chain, 0);

	if (!chain->root || chain->doctor->report->n[FINDING_ERROR] != n_errors || X509_cmp(chain->root, chain->certs[0]) == 0)
		return;
	if (!cert_chain_verify(chain->certs[0], chain->certs + 1, chain->n - 1, roots, 1, chain->doctor->now_s, false, &error) && !g_error_matches(error, POM_ERROR, POM_ERR_CERT_EXPIRED))
		doctor_say(chain->doctor, "chain-invalid", path, "%s", error->message);
}

/* ---- anchors ---- */

static void check_listed(const struct chain *chain)
{
	const GPtrArray *anchors = chain->doctor->anchors;

	for (guint i = 0; i < anchors->len; i++) {
		g_autofree char *path = g_strdup_printf("anchors[%u]", i);
		g_autoptr(cert_info) info = cert_info_new(anchors->pdata[i], NULL);

		if (info && info->not_after < chain->doctor->now_s)
			doctor_say(chain->doctor, "anchor-expired", path, "the anchor \"%s\" has expired", info->subject);
		if (chain->doctor->are_pins && !X509_cmp(anchors->pdata[i], chain->certs[0]))
			doctor_say(chain->doctor, "anchor-is-leaf", path, "the anchor is the server's certificate itself");
	}
}

static void check_anchors(const struct chain *chain)
{
	unsigned top, end = find_end(chain);
	g_autofree char *name = chain->root ? subject_of(chain->root) : chain->is_root[end] ? subject_of(chain->certs[end]) : cert_issuer_text(chain->certs[end]);
	X509 *anchor = find_root(chain, chain->doctor->anchors, &top);
	bool is_alone = chain->n == 1 && !chain->is_root[0] && !chain->is_public;

	check_listed(chain);
	if (anchor && chain->is_public && chain->doctor->are_pins && chain->doctor->anchors->len)
		doctor_say(chain->doctor, "anchor-superfluous", chain->where, "the chain ends in \"%s\", which is publicly trusted (by Debian's ca-certificates, an approximation of Apple's)", name);
	if (anchor || (chain->is_public && (!chain->doctor->are_pins || !chain->doctor->anchors->len)))
		return;
	if (chain->doctor->are_pins)
		doctor_say(chain->doctor, "anchor-not-reached", chain->where, "%s leads to none of the %u listed anchors: %slist \"%s\"%s",
		           is_alone ? "the server's certificate is sent alone, without an intermediate, and" : "the chain that is sent", chain->doctor->anchors->len, is_alone ? "send what issued it, or " : "", name,
		           chain->is_public ? ", or none, for it is publicly trusted (by Debian's ca-certificates)" : "");
	else
		doctor_say(chain->doctor, "anchor-none", chain->where, "the chain that is sent leads to none of the %u certificates of the profile: put \"%s\" into it", chain->doctor->anchors->len, name);
}

/* ---- all of it ---- */

static void fill(struct chain *chain, const GPtrArray *certs)
{
	chain->n = MIN(certs->len, DOCTOR_CHAIN_MAX);
	for (unsigned i = 0; i < chain->n; i++) {
		chain->certs[i] = certs->pdata[i];
		chain->is_root[i] = issued(chain->certs[i], chain->certs[i]);
	}
	find_repeated(chain);
	find_leading(chain);
	find_trust(chain);
}

static void check_each(const struct chain *chain, const char *host)
{
	g_autofree char *first = place(chain, 0);

	doctor_leaf(chain->doctor, chain->certs[0], host, chain->is_public, first);
	for (unsigned i = 1; i < chain->n; i++) {
		g_autofree char *path = place(chain, i);

		/* What a device has as root is not judged by its own signature or dates. */
		if (chain->leads[i] && !chain->is_repeated[i] && !chain->is_root[i])
			doctor_cert_common(chain->doctor, chain->certs[i], path);
	}
}

/* Where the chain ends. True: there is a gap, so that nobody can say which root it would lead to. */
static bool check_end(const struct chain *chain)
{
	unsigned end = find_end(chain);
	g_autofree char *url = find_issuer_url(chain->certs[end]);

	if (chain->root) {
		check_root_date(chain);
		return false;
	}
	if (chain->doctor->anchors && (chain->is_root[end] || !url))
		return false;
	say_untrusted(chain);
	return true;
}

void doctor_chain(const struct doctor *doctor, const GPtrArray *certs, const char *host, const char *where)
{
	struct chain chain = {.doctor = doctor, .where = where};
	unsigned n_errors = doctor->report->n[FINDING_ERROR];
	g_autofree char *first = NULL;
	bool is_broken = false;

	if (certs->len > DOCTOR_CHAIN_MAX)
		doctor_say(doctor, "chain-too-long", where, "%u certificates are sent; the first %d were looked at", certs->len, DOCTOR_CHAIN_MAX);
	fill(&chain, certs);
	first = place(&chain, 0);
	if (doctor_wrong_kind(doctor, chain.certs[0], first))
		return;
	check_repeated(&chain);
	check_order(&chain);
	check_each(&chain, host);
	is_broken = check_signatures(&chain);
	check_strangers(&chain, is_broken);
	check_path(&chain, n_errors);
	if (!is_broken && !check_end(&chain) && doctor->anchors)
		check_anchors(&chain);
}
