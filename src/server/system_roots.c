#include "server/system_roots.h"

#include <openssl/pem.h>
#include <openssl/err.h>

#include "codec/cert.h"

#define DEBIAN_FILE "/etc/ssl/certs/ca-certificates.crt"

GPtrArray *system_roots_load(void)
{
	GPtrArray *roots = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);
	const char *given = g_getenv("SSL_CERT_FILE");
	g_autofree char *text = NULL;
	gsize len = 0;
	X509 *cert;

	if (!g_file_get_contents(given && *given ? given : DEBIAN_FILE, &text, &len, NULL))
		return roots;
	g_autoptr(BIO) bio = BIO_new_mem_buf(text, (int)MIN(len, G_MAXINT));

	while ((cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
		g_ptr_array_add(roots, cert);
	ERR_clear_error();
	return roots;
}
