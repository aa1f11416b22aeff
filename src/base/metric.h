/* Counters and gauges in Prometheus text form. A metric is a row of the table; labels are one fixed name per row with a
 * bounded set of values, so a hostile peer cannot make the set grow. */
#pragma once

#include <glib.h>
#include <stdint.h>

#include "base/buf.h"

#define POM_METRIC_TABLE(X) \
	X(POM_METRIC_HTTP_REQUESTS, "pomona_http_requests_total", "counter", "status", "HTTP requests answered, by status.") \
	X(POM_METRIC_REFUSED, "pomona_refusals_total", "counter", "reason", "Requests refused, by reason id.") \
	X(POM_METRIC_CHECKIN, "pomona_checkin_messages_total", "counter", "type", "Check-in messages accepted, by type.") \
	X(POM_METRIC_REPORTS, "pomona_command_reports_total", "counter", "status", "Command reports accepted, by status.") \
	X(POM_METRIC_COMMANDS_SENT, "pomona_commands_delivered_total", "counter", NULL, "Commands handed to devices.") \
	X(POM_METRIC_CERTIFICATES, "pomona_certificates_issued_total", "counter", NULL, "Certificates issued by SCEP.") \
	X(POM_METRIC_SCEP, "pomona_scep_operations_total", "counter", "outcome", "PKIOperations answered, by what came of them.") \
	X(POM_METRIC_SCEP_ALARMS, "pomona_scep_alarms_total", "counter", NULL, "One-time challenges that came again with another key.") \
	X(POM_METRIC_PUSHES, "pomona_pushes_total", "counter", "result", "Pushes answered by APNs, by result.") \
	X(POM_METRIC_PUSH_BACKLOG, "pomona_push_backlog", "gauge", NULL, "Pushes that are owed and that APNs has not taken yet.") \
	X(POM_METRIC_PUSH_WAITING, "pomona_push_waiting", "gauge", NULL, "Devices that have been pushed, have work, and have not come.") \
	X(POM_METRIC_PUSH_DEAD, "pomona_push_dead_tokens", "gauge", NULL, "Enrolled devices whose push token is dead.") \
	X(POM_METRIC_PUSH_STOPPED, "pomona_push_stopped", "gauge", "topic", "1 while pushes of a topic are stopped by its certificate or by APNs.") \
	X(POM_METRIC_PUSH_CONNECTIONS, "pomona_push_connections", "gauge", "topic", "Connections to APNs.") \
	X(POM_METRIC_CONNECTIONS, "pomona_http_connections", "gauge", NULL, "Open HTTP connections.") \
	X(POM_METRIC_CERT_EXPIRY, "pomona_certificate_expiry_seconds", "gauge", "certificate", "Unix time at which a certificate of this server ends.") \
	X(POM_METRIC_CERT_WARNING, "pomona_certificate_warning_days", "gauge", "certificate", "Which warning of a certificate's end applies: 60, 30, 10, 1 or 0 (over) days; -1: none yet.") \
	X(POM_METRIC_DOCTOR, "pomona_doctor_findings", "gauge", "severity", "Findings of the doctor's last look at this server, by severity.") \
	X(POM_METRIC_JOBS, "pomona_jobs_total", "counter", "job", "Turns of what one node alone does at a time, by job.") \
	X(POM_METRIC_STORE_AWAY, "pomona_store_away", "gauge", NULL, "1 while the database cannot be reached.") \
	X(POM_METRIC_STORE_GROUPS, "pomona_store_groups_total", "counter", NULL, "Transactions committed by the writer.") \
	X(POM_METRIC_STORE_BATCHES, "pomona_store_batches_total", "counter", NULL, "Batches committed, several to a transaction.")

enum pom_metric {
#define X(code, name, kind, label, help) code,
	POM_METRIC_TABLE(X)
#undef X
	POM_METRIC_MAX
};

/* Adds N to the metric's value for the label's VALUE (NULL for rows without a label). Past 128 values of one metric,
 * further ones count as "other". Any thread. */
void pom_metric_add(enum pom_metric metric, const char *value, int64_t n);
/* Sets a gauge. */
void pom_metric_set(enum pom_metric metric, const char *value, int64_t n);
/* The present value, 0 if never touched. */
int64_t pom_metric_get(enum pom_metric metric, const char *value);
/* Appends all metrics in the text exposition format 0.0.4. */
void pom_metric_format(struct pom_buf *buf);
