#include "service/doctor.h"

#include <string.h>

#include "service/ca_internal.h"

#define OWN "self"

GPtrArray *service_doctor_roots(struct service *service)
{
	g_autoptr(ca_set) set = service_ca_set(service);
	g_autoptr(GPtrArray) anchors = ca_set_anchors(set);
	GPtrArray *roots = g_ptr_array_new_with_free_func((GDestroyNotify)X509_free);
	g_autoptr(GBytes) file_root = NULL;
	X509 *cert;

	for (guint i = 0; i < anchors->len; i++) {
		cert = ((const struct authority *)anchors->pdata[i])->cert;
		X509_up_ref(cert);
		g_ptr_array_add(roots, cert);
	}
	pthread_mutex_lock(&service->trust_lock);
	file_root = service->tls_root ? g_bytes_ref(service->tls_root) : NULL;
	pthread_mutex_unlock(&service->trust_lock);
	cert = file_root ? cert_parse_der(g_bytes_get_data(file_root, NULL), g_bytes_get_size(file_root), NULL) : NULL;
	if (cert)
		g_ptr_array_add(roots, cert);
	return roots;
}

bool service_doctor_push(struct service *service, const struct doctor *doctor, GError **error)
{
	g_autoptr(store_load) load = NULL;
	g_autoptr(GArray) rows = store_push_certificate_list(service->store, &load, error);
	g_autofree struct doctor_push *facts = NULL;
	int64_t n_others;

	if (!rows || !store_doctor_topicless(service->store, &n_others, error))
		return false;
	facts = g_new0(struct doctor_push, rows->len + 1);
	for (guint i = 0; i < rows->len; i++) {
		const struct push_certificate_row *row = &g_array_index(rows, struct push_certificate_row, i);

		facts[i] = (struct doctor_push){row->topic, row->not_after_ms / 1000};
	}
	doctor_push(doctor, facts, rows->len, n_others);
	return true;
}

bool service_doctor_load(struct service *service, json_t **ret, int64_t *ret_finished_ms, GError **error)
{
	g_autofree char *text = NULL;

	*ret = NULL;
	if (!store_doctor_get(service->store, OWN, &text, ret_finished_ms, error))
		return false;
	/* What cannot be read is made anew soon. */
	*ret = text ? json_parse(text, strlen(text), NULL) : NULL;
	return true;
}

bool service_doctor_save(struct service *service, const json_t *report, int64_t finished_ms, GError **error)
{
	g_autoptr(GBytes) text = json_format(report);
	g_autofree char *copy = g_strndup(g_bytes_get_data(text, NULL), g_bytes_get_size(text));

	return store_doctor_put(service->store, OWN, copy, finished_ms, error);
}
