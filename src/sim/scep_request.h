/* A SCEP client's messages (RFC 8894 §3), made with OpenSSL's own functions. */
#pragma once

#include "codec/plist.h"
#include "sim/scep_form.h"

enum sim_scep_type { SIM_SCEP_RENEWAL_REQ = 17, SIM_SCEP_PKCS_REQ = 19, SIM_SCEP_CERT_POLL = 20, SIM_SCEP_GET_CERT = 21, SIM_SCEP_GET_CRL = 22 };

/* How the challenge is written; bits. Without one of the string types the shortest that can hold it is taken. */
enum {
	SIM_CHALLENGE_ATTRIBUTE = 1, /* as a signed attribute of the message instead of in the certificate request */
	SIM_CHALLENGE_BOTH = 2,
	SIM_CHALLENGE_TWICE = 4,     /* a second, wrong one follows in the certificate request */
	SIM_CHALLENGE_PRINTABLE = 8, SIM_CHALLENGE_UTF8 = 16, SIM_CHALLENGE_BMP = 32, SIM_CHALLENGE_TELETEX = 64,
};
/* WORDS ("bmp,twice"; NULL: none) → bits. POM_ERR_USAGE. */
bool sim_challenge_parse(const char *words, unsigned *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What is not as the form has it. All of it borrowed. */
struct sim_scep_choice {
	const struct sim_scep_form *form;  /* NULL: ios */
	const EVP_CIPHER *cipher;          /* NULL: the form's */
	const EVP_MD *digest;              /* NULL: the form's */
	enum sim_scep_transport transport;
	const char *transaction;           /* a name of sim_scep_transaction_make; NULL: apple */
	EVP_PKEY *signer_key;              /* an identity that signs in place of a throw-away: renewal, GetCert, GetCRL; NULL: none */
	X509 *signer;
	EVP_PKEY *throw_away_key;          /* of the throw-away, where the form gives it a key of its own; NULL: a new one, which takes longer than all the rest */
	const char *challenge;             /* UTF-8; NULL or empty: none */
	unsigned challenge_as;
};

/* One transaction of a client. */
typedef struct sim_scep {
	const struct sim_scep_form *form;
	EVP_PKEY *key, *signer_key;        /* of the certificate that is asked for; of the messages' signer */
	X509 *signer;
	bool throw_away;
	uint8_t nonce[16];                 /* of the last message */
	size_t nonce_len;
	char *transaction;
	char *challenge;                   /* NULL: none; wiped in the end */
	unsigned challenge_as;
	const EVP_MD *md;
	const EVP_CIPHER *cipher;
	enum sim_scep_transport transport;
} sim_scep;

/* KEY is the one to be certified (a reference is taken). CAPS is the text of GetCACaps. transfer full; NULL with POM_ERR_USAGE when
 * CHOICE names no transactionID. */
sim_scep *sim_scep_new(const struct sim_scep_choice *choice, EVP_PKEY *key, const char *caps, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void sim_scep_free(sim_scep *scep);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(sim_scep, sim_scep_free)

/* Whether WORD stands on a line of its own in CAPS, in any case (RFC 8894 §3.5.2). */
bool sim_scep_has_cap(const char *caps, const char *word);

/* What a certificate request asks for. All of it borrowed. */
struct sim_scep_wish {
	const plist *subject;              /* an array of RDNs, each an array of [name, value]; NULL or empty: CN=com.apple.security.scep.UUID */
	const char *subject_text;          /* "CN=…,O=…" instead, a backslash before a comma of a value; "": no name at all; NULL: SUBJECT */
	const plist *alt_name;             /* SubjectAltName of a profile; NULL: none */
	int64_t key_usage;                 /* bits of a profile: 1 sign, 4 encipher */
	const char *const *extensions;     /* "basicConstraints=critical,CA:TRUE", in OpenSSL's words; NULL: none */
	EVP_PKEY *sign_with;               /* NULL: its own key */
};
/* The PKCS #10 request, transfer full; NULL with POM_ERR_PROFILE when the subject or an extension cannot be written. */
GBytes *sim_scep_csr(const sim_scep *scep, const struct sim_scep_wish *wish, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The content of CertPoll: IssuerAndSubject (§3.3.3). transfer full; NULL with POM_ERR_CSR_MALFORMED. */
GBytes *sim_scep_poll_content(X509 *ca, GBytes *csr, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The content of GetCert and GetCRL: IssuerAndSerialNumber (§3.3.4). transfer full. */
GBytes *sim_scep_get_content(const X509_NAME *issuer, const ASN1_INTEGER *serial);

/* CONTENT enveloped to RECIPIENT and signed, with a fresh nonce (and signer, if the form has it so); transfer full. NULL with POM_ERR_SCEP_MESSAGE when
 * RECIPIENT's key cannot be enveloped to. */
GBytes *sim_scep_request(sim_scep *scep, enum sim_scep_type type, X509 *recipient, GBytes *content, GError **error) G_GNUC_WARN_UNUSED_RESULT;
