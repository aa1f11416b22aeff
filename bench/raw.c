/* The operations themselves, without a server around them. CPU of this process, which does nothing else meanwhile. */
#include <openssl/rsa.h>
#include <sqlite3.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "sim/sim_cert.h"

enum { RAW_THREADS_MAX = 2, ROUNDS = 300, VERIFY_ROUNDS = 6000, GROUP = 32, GROUPS = 600, ROW_BYTES = 200 };

struct rsa {
	EVP_PKEY_CTX *sign, *verify, *decrypt;
	uint8_t digest[32], signature[256], encrypted[256];
	size_t signature_len, encrypted_len;
};

static EVP_PKEY *get_key(void)
{
	static EVP_PKEY *key;

	if (!key)
		key = sim_key_new();
	return key;
}

static EVP_PKEY_CTX *context(int (*init)(EVP_PKEY_CTX *), const EVP_MD *md)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(get_key(), NULL);

	if (!ctx || init(ctx) != 1 || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) != 1 || (md && EVP_PKEY_CTX_set_signature_md(ctx, md) != 1))
		bench_die("RSA cannot be used");
	return ctx;
}

static void rsa_init(struct rsa *rsa)
{
	EVP_PKEY_CTX *encrypt = context(EVP_PKEY_encrypt_init, NULL);

	*rsa = (struct rsa){context(EVP_PKEY_sign_init, EVP_sha256()), context(EVP_PKEY_verify_init, EVP_sha256()), context(EVP_PKEY_decrypt_init, NULL),
	                    .signature_len = sizeof(rsa->signature), .encrypted_len = sizeof(rsa->encrypted)};
	if (EVP_PKEY_sign(rsa->sign, rsa->signature, &rsa->signature_len, rsa->digest, sizeof(rsa->digest)) != 1 ||
	    EVP_PKEY_encrypt(encrypt, rsa->encrypted, &rsa->encrypted_len, rsa->digest, sizeof(rsa->digest)) != 1)
		bench_die("RSA cannot be used");
	EVP_PKEY_CTX_free(encrypt);
}

static void rsa_clear(struct rsa *rsa)
{
	EVP_PKEY_CTX_free(rsa->sign);
	EVP_PKEY_CTX_free(rsa->verify);
	EVP_PKEY_CTX_free(rsa->decrypt);
}

static bool sign(const struct rsa *rsa)
{
	uint8_t out[256];
	size_t len = sizeof(out);

	return EVP_PKEY_sign(rsa->sign, out, &len, rsa->digest, sizeof(rsa->digest)) == 1;
}

static bool decrypt(const struct rsa *rsa)
{
	uint8_t out[256];
	size_t len = sizeof(out);

	return EVP_PKEY_decrypt(rsa->decrypt, out, &len, rsa->encrypted, rsa->encrypted_len) == 1;
}

static bool verify(const struct rsa *rsa)
{
	return EVP_PKEY_verify(rsa->verify, rsa->signature, rsa->signature_len, rsa->digest, sizeof(rsa->digest)) == 1;
}

static double elapsed_ms(const struct timespec *from, const struct timespec *to)
{
	return (double)(to->tv_sec - from->tv_sec) * 1e3 + (double)(to->tv_nsec - from->tv_nsec) / 1e6;
}

struct timing {
	bool (*operation)(const struct rsa *rsa);
	unsigned n;
	double ms[RAW_THREADS_MAX];
};

static void time_one(void *ctx, size_t i)
{
	struct timing *timing = ctx;
	struct timespec from, to;
	struct rsa rsa;

	rsa_init(&rsa);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
	for (unsigned k = 0; k < timing->n; k++)
		if (!timing->operation(&rsa))
			bench_die("RSA cannot be used");
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
	timing->ms[i] = elapsed_ms(&from, &to) / timing->n;
	rsa_clear(&rsa);
}

static double time_rsa(bool (*operation)(const struct rsa *rsa), unsigned n, enum raw_load load)
{
	struct timing timing = {operation, n};

	get_key();
	bench_parallel(load == RAW_BUSY ? 2 : 1, time_one, &timing);
	return load == RAW_BUSY ? (timing.ms[0] + timing.ms[1]) / 2 : timing.ms[0];
}

double raw_rsa_private_ms(enum raw_load load)
{
	return (2 * time_rsa(sign, ROUNDS, load) + time_rsa(decrypt, ROUNDS, load)) / 3;
}

double raw_rsa_verify_ms(enum raw_load load)
{
	return time_rsa(verify, VERIFY_ROUNDS, load);
}

struct ecdsa {
	EVP_PKEY *key;
	double ms[RAW_THREADS_MAX];
};

static void time_ecdsa(void *ctx, size_t i)
{
	struct ecdsa *run = ctx;
	EVP_PKEY_CTX *sign = EVP_PKEY_CTX_new(run->key, NULL);
	uint8_t digest[32] = {0}, out[128];
	struct timespec from, to;
	size_t len;

	if (!sign || EVP_PKEY_sign_init(sign) != 1)
		bench_die("ECDSA cannot be used");
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
	for (unsigned k = 0; k < VERIFY_ROUNDS; k++) {
		len = sizeof(out);
		if (EVP_PKEY_sign(sign, out, &len, digest, sizeof(digest)) != 1)
			bench_die("ECDSA cannot be used");
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
	run->ms[i] = elapsed_ms(&from, &to) / VERIFY_ROUNDS;
	EVP_PKEY_CTX_free(sign);
}

double raw_ecdsa_ms(enum raw_load load)
{
	struct ecdsa run = {.key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256")};

	bench_parallel(load == RAW_BUSY ? 2 : 1, time_ecdsa, &run);
	EVP_PKEY_free(run.key);
	return load == RAW_BUSY ? (run.ms[0] + run.ms[1]) / 2 : run.ms[0];
}

static void sql(sqlite3 *db, const char *text)
{
	if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
		bench_die("SQLite: %s", sqlite3_errmsg(db));
}

static void change_row(sqlite3_stmt *put, unsigned n)
{
	static const uint8_t body[ROW_BYTES];
	char id[40];

	/* Spread over the table, as ids of many enrollments are. */
	g_snprintf(id, sizeof(id), "%08X-0000-7000-8000-000000000000", n * 2654435761u % 100000);
	sqlite3_bind_text(put, 1, id, -1, SQLITE_STATIC);
	sqlite3_bind_blob(put, 2, body, sizeof(body), SQLITE_STATIC);
	sqlite3_step(put);
	sqlite3_reset(put);
}

double raw_row_ms(const char *dir)
{
	g_autofree char *path = g_build_filename(dir, "raw.db", NULL);
	sqlite3_stmt *put;
	double started;
	sqlite3 *db;

	if (sqlite3_open(path, &db) != SQLITE_OK)
		bench_die("%s cannot be opened", path);
	sql(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE IF NOT EXISTS row (id TEXT NOT NULL PRIMARY KEY, body BLOB NOT NULL) STRICT");
	sqlite3_prepare_v2(db, "INSERT INTO row (id, body) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET body = excluded.body", -1, &put, NULL);
	started = bench_own_cpu_s();
	for (unsigned g = 0; g < GROUPS; g++) {
		sql(db, "BEGIN IMMEDIATE");
		for (unsigned i = 0; i < GROUP; i++)
			change_row(put, g * GROUP + i);
		sql(db, "COMMIT");
	}
	started = (bench_own_cpu_s() - started) * 1000 / (GROUPS * GROUP);
	sqlite3_finalize(put);
	sqlite3_close(db);
	return started;
}
