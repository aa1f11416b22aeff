/* A kept identity is a directory with key.pem, cert.pem, profile.mobileconfig (as it was fetched) and device.plist, which is written last: while
 * it is missing there is no identity. All of them are 0600. */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#include "base/error.h"
#include "sim/device_internal.h"

static const char *const files[] = {"device.plist", "cert.pem", "profile.mobileconfig", "key.pem"};

static bool read_file(const struct device *d, const char *name, char **ret, gsize *ret_len, GError **error)
{
	g_autofree char *path = g_build_filename(d->state_dir, name, NULL);
	g_autoptr(GError) why = NULL;

	return g_file_get_contents(path, ret, ret_len, &why) || pom_fail(error, POM_ERR_IO, "%s", why->message);
}

static bool write_file(const struct device *d, const char *name, const void *data, size_t len, GError **error)
{
	g_autofree char *path = g_build_filename(d->state_dir, name, NULL);

	return sim_write_file(path, data, len, 0600, error);
}

static bool read_plist(struct device *d, GError **error)
{
	static const char path[] = "device.plist";
	g_autofree char *text = NULL;
	gsize len;
	g_autoptr(plist) tree = NULL;
	const char *kind = NULL, *udid = NULL, *serial = NULL, *name = NULL, *magic = NULL;
	const void *token = NULL;
	size_t token_len = 0;

	if (!read_file(d, path, &text, &len, error) || !(tree = plist_parse(text, len, NULL, error)) ||
	    !plist_take_string(tree, path, "Kind", PLIST_REQUIRED, &kind, error) || !plist_take_string(tree, path, "UDID", PLIST_REQUIRED, &udid, error) ||
	    !plist_take_string(tree, path, "SerialNumber", PLIST_REQUIRED, &serial, error) || !plist_take_string(tree, path, "DeviceName", PLIST_REQUIRED, &name, error) ||
	    !plist_take_string(tree, path, "PushMagic", PLIST_REQUIRED, &magic, error) || !plist_take_data(tree, path, "Token", PLIST_REQUIRED, &token, &token_len, error))
		return false;
	if (strcmp(kind, d->model->option))
		return pom_fail(error, POM_ERR_CONFLICT, "%s holds a simulated %s, not a %s", d->state_dir, kind, d->model->option);
	if (token_len != sizeof(d->token))
		return pom_fail(error, POM_ERR_PLIST_KEY, "%s.Token has %zu bytes, must have %d", path, token_len, SIM_TOKEN_LEN);
	g_free(d->udid);
	g_free(d->serial);
	g_free(d->name);
	g_free(d->magic);
	d->udid = g_strdup(udid);
	d->serial = g_strdup(serial);
	d->name = g_strdup(name);
	d->magic = g_strdup(magic);
	memcpy(d->token, token, token_len);
	return true;
}

static bool read_identity(struct device *d, GError **error)
{
	g_autofree char *key = NULL, *cert = NULL;

	if (!read_file(d, "key.pem", &key, NULL, error) || !read_file(d, "cert.pem", &cert, NULL, error))
		return false;
	d->key = sim_key_parse(key, "key.pem", error);
	d->cert = d->key ? sim_cert_parse(cert, "cert.pem", error) : NULL;
	if (!d->cert)
		return false;
	return X509_check_private_key(d->cert, d->key) || pom_fail(error, POM_ERR_KEY_MISMATCH, "%s: key.pem does not belong to cert.pem", d->state_dir);
}

bool device_load(struct device *d, bool *ret_found, GError **error)
{
	g_autofree char *path = d->state_dir ? g_build_filename(d->state_dir, files[0], NULL) : NULL, *profile = NULL;
	gsize len;

	if (!path || !g_file_test(path, G_FILE_TEST_EXISTS)) {
		*ret_found = false;
		return true;
	}
	if (!read_plist(d, error) || !read_identity(d, error) || !read_file(d, "profile.mobileconfig", &profile, &len, error))
		return false;
	d->profile = sim_profile_parse(profile, len, NULL, error);
	d->profile_bytes = g_bytes_new(profile, len);
	*ret_found = d->profile != NULL;
	return d->profile != NULL;
}

static GBytes *format_plist(const struct device *d)
{
	g_autoptr(plist) tree = plist_new_dict();

	plist_dict_set_string(tree, "Kind", d->model->option);
	plist_dict_set_string(tree, "UDID", d->udid);
	plist_dict_set_string(tree, "SerialNumber", d->serial);
	plist_dict_set_string(tree, "DeviceName", d->name);
	plist_dict_set_string(tree, "PushMagic", d->magic);
	plist_dict_set_data(tree, "Token", d->token, sizeof(d->token));
	return device_format(tree);
}

bool device_save(const struct device *d, GError **error)
{
	g_autofree char *key = NULL, *cert = NULL;
	g_autoptr(GBytes) tree = NULL;

	if (!d->state_dir)
		return true;
	if (g_mkdir_with_parents(d->state_dir, 0700) < 0)
		return pom_fail(error, POM_ERR_IO, "%s cannot be made: %s", d->state_dir, g_strerror(errno));
	key = sim_key_pem(d->key);
	cert = sim_cert_pem(d->cert);
	tree = format_plist(d);
	return write_file(d, "key.pem", key, strlen(key), error) && write_file(d, "cert.pem", cert, strlen(cert), error) &&
	       write_file(d, "profile.mobileconfig", g_bytes_get_data(d->profile_bytes, NULL), g_bytes_get_size(d->profile_bytes), error) &&
	       write_file(d, files[0], g_bytes_get_data(tree, NULL), g_bytes_get_size(tree), error);
}

void device_forget(const struct device *d)
{
	for (unsigned i = 0; d->state_dir && i < G_N_ELEMENTS(files); i++) {
		g_autofree char *path = g_build_filename(d->state_dir, files[i], NULL);

		g_unlink(path);
	}
}
