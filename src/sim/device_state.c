/* A kept identity is a directory with key.pem, cert.pem, profile.mobileconfig (as it was fetched), more.plist (earlier identities, and profiles that came by command)
 * and device.plist, which is written last: while it is missing there is no identity. factory.pem is there from the device's birth to its scrapping. All of
 * them are 0600. */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#include "base/error.h"
#include "sim/device_internal.h"

#define FACTORY_FILE "factory.pem"

static const char *const files[] = {"device.plist", "cert.pem", "profile.mobileconfig", "more.plist", "key.pem"};

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
	if (!plist_take_boolean(tree, path, "Supervised", PLIST_OPTIONAL, &d->supervised, error))
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

/* ---- what else is on the device ---- */

static plist *format_identities(const GPtrArray *identities)
{
	plist *list = plist_new_array();

	for (guint i = 0; i < identities->len; i++) {
		const struct sim_identity *identity = g_ptr_array_index(identities, i);
		g_autofree char *key = sim_key_pem(identity->key), *cert = sim_cert_pem(identity->cert);
		plist *one = plist_new_dict();

		plist_dict_set_string(one, "Key", key);
		plist_dict_set_string(one, "Certificate", cert);
		plist_array_append(list, one);
	}
	return list;
}

static GBytes *format_more(const struct device *d)
{
	g_autoptr(plist) tree = plist_new_dict();
	plist *profiles = plist_new_array();

	for (guint i = 0; i < d->installed->len; i++) {
		const sim_mobileconfig *profile = g_ptr_array_index(d->installed, i);
		plist *one = plist_new_dict();

		plist_dict_set_data(one, "Data", g_bytes_get_data(profile->bytes, NULL), g_bytes_get_size(profile->bytes));
		plist_dict_set(one, "Identities", format_identities(profile->identities));
		plist_array_append(profiles, one);
	}
	plist_dict_set(tree, "Identities", format_identities(d->identities));
	plist_dict_set(tree, "Profiles", profiles);
	return device_format(tree);
}

/* Appends the identities that DICT lists to LIST. */
static bool read_identities(const plist *dict, const char *path, GPtrArray *list, GError **error)
{
	const plist *array = NULL;

	if (!plist_take_child(dict, path, "Identities", PLIST_ARRAY, PLIST_REQUIRED, &array, error))
		return false;
	for (size_t i = 0; i < plist_count(array); i++) {
		const char *key_pem = NULL, *cert_pem = NULL;
		g_autoptr(EVP_PKEY) key = NULL;
		g_autoptr(X509) cert = NULL;

		if (!plist_take_string(plist_child(array, i), path, "Key", PLIST_REQUIRED, &key_pem, error) || !(key = sim_key_parse(key_pem, path, error)) ||
		    !plist_take_string(plist_child(array, i), path, "Certificate", PLIST_REQUIRED, &cert_pem, error) || !(cert = sim_cert_parse(cert_pem, path, error)))
			return false;
		g_ptr_array_add(list, sim_identity_new(key, cert));
	}
	return true;
}

/* A profile may be encrypted to an identity of any other. */
static bool read_profiles(struct device *d, const plist *profiles, const char *path, GError **error)
{
	g_autoptr(GPtrArray) identities = device_identities(d);

	for (size_t i = 0; i < plist_count(profiles); i++)
		if (!read_identities(plist_child(profiles, i), path, identities, error))
			return false;
	for (size_t i = 0; i < plist_count(profiles); i++) {
		const void *data = NULL;
		size_t len = 0;
		g_autoptr(GBytes) bytes = NULL;
		g_autoptr(sim_mobileconfig) profile = NULL;

		if (!plist_take_data(plist_child(profiles, i), path, "Data", PLIST_REQUIRED, &data, &len, error))
			return false;
		bytes = g_bytes_new(data, len);
		profile = sim_mobileconfig_parse(bytes, identities, error);
		if (!profile) {
			sim_refusal_translate(error);
			return false;
		}
		if (!read_identities(plist_child(profiles, i), path, profile->identities, error))
			return false;
		g_ptr_array_add(d->installed, g_steal_pointer(&profile));
	}
	return true;
}

static bool read_more(struct device *d, GError **error)
{
	static const char path[] = "more.plist";
	g_autofree char *text = NULL, *file = g_build_filename(d->state_dir, path, NULL);
	gsize len;
	g_autoptr(plist) tree = NULL;
	const plist *profiles = NULL;

	/* Directories of earlier versions lack it. */
	if (!g_file_test(file, G_FILE_TEST_EXISTS))
		return true;
	return read_file(d, path, &text, &len, error) && (tree = plist_parse(text, len, NULL, error)) && read_identities(tree, path, d->identities, error) &&
	       plist_take_child(tree, path, "Profiles", PLIST_ARRAY, PLIST_REQUIRED, &profiles, error) && read_profiles(d, profiles, path, error);
}

static bool read_profile(struct device *d, GError **error)
{
	g_autoptr(GPtrArray) identities = device_identities(d);
	g_autoptr(GBytes) bytes = NULL;
	char *text = NULL;
	gsize len;

	if (!read_file(d, "profile.mobileconfig", &text, &len, error))
		return false;
	bytes = g_bytes_new_take(text, len);
	d->profile = sim_profile_parse(bytes, NULL, identities, error);
	return d->profile != NULL;
}

/* ---- all of it ---- */

bool device_load(struct device *d, bool *ret_found, GError **error)
{
	g_autofree char *path = d->state_dir ? g_build_filename(d->state_dir, files[0], NULL) : NULL;

	*ret_found = path && g_file_test(path, G_FILE_TEST_EXISTS);
	return !*ret_found || (read_plist(d, error) && read_identity(d, error) && read_more(d, error) && read_profile(d, error));
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
	plist_dict_set_boolean(tree, "Supervised", d->supervised);
	return device_format(tree);
}

static bool make_dir(const struct device *d, GError **error)
{
	return g_mkdir_with_parents(d->state_dir, 0700) == 0 || pom_fail(error, POM_ERR_IO, "%s cannot be made: %s", d->state_dir, g_strerror(errno));
}

static bool write_bytes(const struct device *d, const char *name, GBytes *bytes, GError **error)
{
	gsize len;
	const void *data = g_bytes_get_data(bytes, &len);

	return write_file(d, name, data, len, error);
}

bool device_save(const struct device *d, GError **error)
{
	g_autofree char *key = NULL, *cert = NULL;
	g_autoptr(GBytes) tree = NULL, more = NULL;

	if (!d->state_dir)
		return true;
	if (!make_dir(d, error))
		return false;
	key = sim_key_pem(d->key);
	cert = sim_cert_pem(d->cert);
	more = format_more(d);
	tree = format_plist(d);
	return write_file(d, "key.pem", key, strlen(key), error) && write_file(d, "cert.pem", cert, strlen(cert), error) &&
	       write_bytes(d, "profile.mobileconfig", d->profile->form->bytes, error) && write_bytes(d, "more.plist", more, error) && write_bytes(d, files[0], tree, error);
}

void device_forget(const struct device *d)
{
	for (unsigned i = 0; d->state_dir && i < G_N_ELEMENTS(files); i++) {
		g_autofree char *path = g_build_filename(d->state_dir, files[i], NULL);

		g_unlink(path);
	}
}

/* ---- the factory identity ---- */

static char *subject_text(X509 *cert, int nid)
{
	char text[256] = "";

	X509_NAME_get_text_by_NID(X509_get_subject_name(cert), nid, text, sizeof(text));
	return g_strdup(text);
}

static bool read_factory(struct device *d, GError **error)
{
	g_autofree char *pem = NULL;
	g_autoptr(EVP_PKEY) key = NULL;
	g_autoptr(X509) cert = NULL;

	if (!read_file(d, FACTORY_FILE, &pem, NULL, error) || !(key = sim_key_parse(pem, FACTORY_FILE, error)) || !(d->factory_chain = sim_certs_parse(pem, FACTORY_FILE, error)))
		return false;
	cert = sk_X509_shift(d->factory_chain);
	if (!X509_check_private_key(cert, key))
		return pom_fail(error, POM_ERR_KEY_MISMATCH, "%s/%s: the key does not belong to the first certificate", d->state_dir, FACTORY_FILE);
	d->factory = sim_identity_new(key, cert);
	g_free(d->udid);
	g_free(d->serial);
	d->udid = subject_text(cert, NID_commonName);
	d->serial = subject_text(cert, NID_serialNumber);
	return true;
}

static bool write_factory(const struct device *d, GError **error)
{
	g_autofree char *key = sim_key_pem(d->factory->key), *cert = sim_cert_pem(d->factory->cert);
	g_autoptr(GString) pem = g_string_new(key);

	g_string_append(pem, cert);
	for (int i = 0; i < sk_X509_num(d->factory_chain); i++) {
		g_autofree char *one = sim_cert_pem(sk_X509_value(d->factory_chain, i));

		g_string_append(pem, one);
	}
	return make_dir(d, error) && write_file(d, FACTORY_FILE, pem->str, pem->len, error);
}

bool device_be_born(struct device *d, GError **error)
{
	g_autofree char *path = d->state_dir ? g_build_filename(d->state_dir, FACTORY_FILE, NULL) : NULL;
	g_autoptr(sim_factory) factory = NULL;

	if (path && g_file_test(path, G_FILE_TEST_EXISTS))
		return read_factory(d, error);
	if (!d->options->factory_dir)
		return true;
	factory = sim_factory_open(d->options->factory_dir, error);
	if (!factory)
		return false;
	d->factory = sim_factory_build(factory, d->udid, d->serial);
	d->factory_chain = sim_factory_chain(factory);
	return !path || write_factory(d, error);
}
