/* What the doctor needs to know of this server, and where its reports are kept. */
#pragma once

#include "core/doctor.h"
#include "service/service.h"

/* The roots that devices are given: of our CA, and of the TLS certificate in a file when it is known. Array of X509, transfer full. */
GPtrArray *service_doctor_roots(struct service *service);
/* The push certificates, and whether every device can be woken by one. Blocks on the store. */
bool service_doctor_push(struct service *service, const struct doctor *doctor, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The last report about this server, transfer full; *RET NULL when there is none. Blocks on the store. */
bool service_doctor_load(struct service *service, json_t **ret, int64_t *ret_finished_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool service_doctor_save(struct service *service, const json_t *report, int64_t finished_ms, GError **error) G_GNUC_WARN_UNUSED_RESULT;
