/* What a certificate is for, where that is something else than a server's or a signer's: told by the names, extensions and usages that Apple and CAs give each kind.
 *
 * One table, for all who turn away what was taken by mistake: the doctor (TLS servers), the linter and the library (signers of profiles), imports of push certificates. Pure. */
#pragma once

#include "codec/cert.h"

enum cert_kind {
	CERT_KIND_OTHER,     /* none of these: may be a server's, or an e-mail certificate */
	CERT_KIND_PUSH,      /* MDM push: the UID of its subject begins with com.apple.mgmt. */
	CERT_KIND_CA,
	CERT_KIND_VENDOR,    /* signs requests for push certificates */
	CERT_KIND_APP_PUSH,  /* pushes to an app */
	CERT_KIND_DEVELOPER, /* another one that Apple gives developers */
	CERT_KIND_CODE,      /* for signing code (extended key usage), and no server; by anybody's CA */
	CERT_KIND_DEVICE,    /* proves a device or client: of Apple's factory, or clientAuth alone */
	CERT_KIND_MAX,
};

/* What is looked at; texts may be NULL. */
struct cert_kind_facts {
	const char *uid, *common_name, *issuer_common_name;
	bool is_ca;
	uint32_t ext_key_usage; /* XKU_*, UINT32_MAX: absent */
	const X509 *cert;       /* for its extensions; NULL: not looked at */
};
enum cert_kind cert_kind_find(const struct cert_kind_facts *facts);
/* The kind of CERT, whose facts INFO has. */
enum cert_kind cert_kind_of(const X509 *cert, const struct cert_info *info);
