/* Measures a real `pomona serve` on loopback, one figure after another, each beside the raw operations of the same run.
 *
 * All that a client can do before the clock runs (keys, certificates, signatures, whole requests) is done before it, because client
 * and server share the cores. CPU is the server process's own (utime + stime), so it does not depend on what the client costs.
 * A benchmark that cannot go on says why and exits; the processes and folders that it made go with it. */
#pragma once

#include <glib.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "sim/scep_ca.h"

/* Says why and exits with 1. */
void bench_die(const char *format, ...) G_GNUC_PRINTF(1, 2) G_GNUC_NORETURN;
/* Dies when the user wants it to end; called wherever time passes. */
void bench_check_interrupt(void);
double bench_now_s(void);
double bench_own_cpu_s(void);
/* Progress for people, on stderr. */
void bench_say(const char *format, ...) G_GNUC_PRINTF(1, 2);
/* Calls ONE for 0 … N-1 on two threads. */
void bench_parallel(size_t n, void (*one)(void *ctx, size_t i), void *ctx);

/* ---- cluster.c: a private PostgreSQL ---- */

struct cluster;
/* Makes one in a folder of its own and starts it; commits reach the disk. */
struct cluster *cluster_new(void);
/* NULL is fine. */
void cluster_free(struct cluster *cluster);
const char *cluster_url(const struct cluster *cluster);
/* Of all its processes, those that have ended too. */
double cluster_cpu_s(const struct cluster *cluster);
/* Runs statements; the number that one gives. */
void cluster_run(const char *url, const char *sql);
int64_t cluster_count(const char *url, const char *sql);

/* ---- world.c: the processes ---- */

struct world {
	char *pomona;             /* the program */
	char *root, *data, *apns; /* folders; root holds the others and is removed at the end */
	struct cluster *cluster;  /* NULL: the store is SQLite's */
	char *data2;              /* of a second node; NULL: none */
	pid_t server, server2, apns_pid; /* 0: not running */
	uint16_t device_port, device_port2, admin_port, apns_port;
	char *token, *topic;
	double start_s;           /* from exec to ready, of the last start */
};
/* Where worlds made from now on have their store: in a PostgreSQL of their own, or in SQLite. */
void world_use_postgres(bool postgres);
/* Makes a data directory with a push certificate and a CA of KEY_TYPE (rsa, or ec with an RSA RA), and starts a simulated APNs that answers
 * after DELAY_MS, and the server. */
struct world *world_new(const char *pomona, const char *key_type, unsigned delay_ms);
/* Also run at exit. */
void world_free(struct world *world);
void world_start(struct world *world);
void world_stop(struct world *world);
/* Starts a second node over the same PostgreSQL; world_stop ends it, too. */
void world_start_second(struct world *world);
/* Of the nodes and their database together; of the database alone (0 for SQLite, which is in the node). */
double world_cpu_s(const struct world *world);
double world_database_cpu_s(const struct world *world);
double world_rss_mib(const struct world *world);
/* The database's file, or its URL; the server may be running. transfer full. */
char *world_database(const struct world *world);

/* ---- client.c: many keep-alive connections from one thread ---- */

struct client;
struct client_reply { unsigned connection; int status; char type[64]; const char *body; size_t len; };
/* Called for each complete reply; may call client_send on any connection that waits for none. */
typedef void (*client_reply_fn)(void *ctx, struct client *client, const struct client_reply *reply);

struct client *client_new(client_reply_fn on_reply, void *ctx);
void client_free(struct client *client);
/* Opens N connections, over TLS or not, and returns the number of the first; each address of loopback has at most 500 of them. */
unsigned client_open(struct client *client, uint16_t port, bool tls, unsigned n);
/* BYTES is a whole request and must stay until its reply. */
void client_send(struct client *client, unsigned connection, const void *bytes, size_t len);
/* Runs until no reply is awaited. After SECONDS client_is_over, and whoever sends should stop. */
void client_run(struct client *client, double seconds);
bool client_is_over(const struct client *client);

/* ---- fleet.c: devices and their requests ---- */

struct device {
	char udid[41];
	EVP_PKEY *key;   /* shared with others: making keys is slow */
	X509 *cert;      /* NULL: none yet */
	char *challenge, *scep_path; /* of its own link, as its profile says */
	bool macos;
	uint8_t nonce[16]; /* of the SCEP message, and how much of it the shape has */
	size_t nonce_len;
	GBytes *scep;    /* HTTP requests, NULL until built */
	GBytes *authenticate, *token_update, *idle;
};
struct fleet {
	struct world *world;
	struct device *devices;
	size_t n;
	GPtrArray *keys;      /* EVP_PKEY */
	GPtrArray *templates; /* sim_scep: one of each shape for each key */
	struct sim_scep_ca ca;
};
/* N devices, every other one of the macOS shape (3DES, SHA-1, a signer of its own), the others of the iOS shape (AES, SHA-256). */
struct fleet *fleet_new(struct world *world, size_t n);
void fleet_free(struct fleet *fleet);
/* Gets a link and its challenge for each device, and builds the PKIOperation requests. */
void fleet_build_scep(struct fleet *fleet);
/* Takes the certificate out of the reply to device I's request. */
void fleet_take_certificate(struct fleet *fleet, size_t i, const void *body, size_t len);
/* Builds and signs Authenticate, TokenUpdate and Idle of all devices. */
void fleet_build_checkins(struct fleet *fleet);
/* A PUT of BODY signed by the device, transfer full. */
GBytes *fleet_request(const struct fleet *fleet, const struct device *device, bool checkin, const char *body);
/* A request to the admin API, transfer full. */
GBytes *fleet_api_request(const struct fleet *fleet, const char *method, const char *path, const char *type, const char *body);

/* ---- raw.c: what the operations themselves cost on this machine, in milliseconds of CPU ---- */

/* Two virtual cores may be one: then an operation takes up to twice the CPU while the other is busy too. A figure under load is compared
 * with an operation under load. */
enum raw_load { RAW_ALONE, RAW_BUSY };
/* A private RSA-2048 operation: two signatures and a decryption, divided by three. */
double raw_rsa_private_ms(enum raw_load load);
double raw_rsa_verify_ms(enum raw_load load);
/* An ECDSA signature with a key on P-256. */
double raw_ecdsa_ms(enum raw_load load);
/* One row changed in a bare SQLite database, in durable groups of 32 changes. */
double raw_row_ms(const char *dir);

/* ---- fill.c: rows instead of traffic, while the server is stopped. DATABASE as of world_database ---- */

/* N enrolled devices with certificates. */
void fill_enrollments(const char *database, const char *topic, size_t n);
/* Certificates that SCEP has issued, N in all, each with its challenge and its entry of the audit log. */
void fill_certificates(const char *database, size_t n);
/* N answered commands and N lines of timelines, of the devices that are enrolled. */
void fill_history(const char *database, size_t n);
/* A push that is due for N of them. */
void fill_outbox(const char *database, size_t n);
/* All devices into a group that exists; and how much work of declarative management waits. */
void fill_group(const char *database, const char *group);
size_t fill_work_count(const char *database);
/* How many pushes wait. */
size_t fill_outbox_count(const char *database);

/* ---- report.c ---- */

struct figure {
	const char *name, *unit; /* texts, raw_name too, that live as long as the process */
	double value;
	double target;        /* 0: none */
	bool at_least;        /* the target is a minimum */
	const char *raw_name; /* NULL: none */
	double raw;
};
void report_add(struct figure figure);
/* What stands before the names of figures from now on; a text that lives as long as the process. */
void report_section(const char *section);
void report_print(bool json);

/* ---- measure_*.c: the figures, in the order in which each needs what the one before has left ---- */

void measure_scep(struct fleet *fleet);
/* Issuance with 0, 10,000 and 1,000,000 certificates in the store. Leaves them there. */
void measure_scale(struct world *world, const char *key_type);
void measure_enroll(struct fleet *fleet);
void measure_idle(struct fleet *fleet, unsigned n_connections);
void measure_commands(struct fleet *fleet);
/* Idle and the command cycle of one node, then of two. PostgreSQL only. */
void measure_nodes(struct fleet *fleet);
/* The last two before and after N answered commands are in the store. */
void measure_history(struct fleet *fleet, size_t n);
/* All devices wake within 10 s. */
void measure_wake(struct fleet *fleet);
/* Leaves N more enrollments in the store. */
void measure_ddm(struct fleet *fleet, size_t n_enrollments);
void measure_rest(struct world *world);
void measure_connections(struct world *world, unsigned n);
/* Pushes without the store, in worlds of their own. */
void measure_push_alone(const char *pomona);
void measure_large_store(struct world *world, size_t n_enrollments, size_t n_pushes);
