/* The pages of an enrollment link as HTML: pure functions of plain facts. No script, nothing from elsewhere; every value is escaped by the one function that
 * all text goes through. */
#pragma once

#include "base/error.h"
#include "service/service.h"

enum page_device {
	PAGE_DEVICE_PHONE, /* an iPhone or iPad */
	PAGE_DEVICE_MAC,   /* or an iPad, which says that it is a Mac */
	PAGE_DEVICE_OTHER, /* not one that can enroll here */
};
/* What opens the page, by its User-Agent header; NULL: PAGE_DEVICE_OTHER. Only what is shown first depends on it. */
enum page_device page_device_parse(const char *user_agent);

/* A root certificate to trust first. */
struct page_root { char *name; uint8_t sha256[32]; };

/* Strings borrowed, UTF-8. */
struct enroll_page {
	const char *organization, *contact;          /* contact: text, mail address, telephone number or URL; NULL: none */
	const char *user_name, *device_name;         /* NULL: not said */
	int64_t now_ms, expires_ms;
	int64_t access_rights;
	const char *url;                             /* of this page, for its QR code */
	const char *profile_path, *trust_path;       /* "/enroll/…/profile", "/enroll/…/trust" */
	enum page_device device;
	enum tls_trust trust;
	const struct page_root *roots;               /* for TLS_TRUST_ROOT at least one; else none */
	size_t n_roots;
};
/* "AB CD 01 …": as Settings shows a fingerprint. transfer full. */
char *page_root_fingerprint(const struct page_root *root);
/* The page with the button. transfer full. */
GBytes *enroll_page_format(const struct enroll_page *page);
/* The page that says why a link cannot be used, or what is not ready, and what to do. Names nobody but the organization and its contact. transfer full. */
GBytes *enroll_refusal_format(const char *organization, const char *contact, const struct pom_error_info *reason);
/* The Content-Security-Policy of both: nothing is allowed but the one style sheet, by its digest. Static. Any thread. */
const char *enroll_page_policy(void);
