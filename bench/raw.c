/* The operations themselves, without a server around them. CPU of this process, which does nothing else meanwhile. */
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <sqlite3.h>
#include <string.h>

#include "bench.h"
#include "sim/sim_cert.h"

enum { ROUNDS = 300, VERIFY_ROUNDS = 6000, GROUP = 32, GROUPS = 600, ROW_BYTES = 200 };

struct rsa {
	EVP_PKEY *key;
	EVP_PKEY_CTX *sign, *verify, *decrypt;
	uint8_t digest[32], signature[256], encrypted[256];
	size_t signature_len, encrypted_len;
};

static EVP_PKEY_CTX *context(EVP_PKEY *key, int (*init)(EVP_PKEY_CTX *), const EVP_MD *md)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);

	if (!ctx || init(ctx) != 1 || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) != 1 || (md && EVP_PKEY_CTX_set_signature_md(ctx, md) != 1))
		bench_die("RSA cannot be used");
	return ctx;
}

static const struct rsa *get_rsa(void)
{
	static struct rsa rsa;
	EVP_PKEY_CTX *encrypt;

	if (rsa.key)
		return &rsa;
	rsa.key = sim_key_new();
	rsa.sign = context(rsa.key, EVP_PKEY_sign_init, EVP_sha256());
	rsa.verify = context(rsa.key, EVP_PKEY_verify_init, EVP_sha256());
	rsa.decrypt = context(rsa.key, EVP_PKEY_decrypt_init, NULL);
	encrypt = context(rsa.key, EVP_PKEY_encrypt_init, NULL);
	rsa.signature_len = sizeof(rsa.signature);
	rsa.encrypted_len = sizeof(rsa.encrypted);
	if (EVP_PKEY_sign(rsa.sign, rsa.signature, &rsa.signature_len, rsa.digest, sizeof(rsa.digest)) != 1 ||
	    EVP_PKEY_encrypt(encrypt, rsa.encrypted, &rsa.encrypted_len, rsa.digest, sizeof(rsa.digest)) != 1)
		bench_die("RSA cannot be used");
	EVP_PKEY_CTX_free(encrypt);
	return &rsa;
}

static double ms_each(double started, unsigned n)
{
	return (bench_own_cpu_s() - started) * 1000 / n;
}

double raw_rsa_sign_ms(void)
{
	const struct rsa *rsa = get_rsa();
	double started = bench_own_cpu_s();
	uint8_t out[256];
	size_t len;

	for (unsigned i = 0; i < ROUNDS; i++) {
		len = sizeof(out);
		if (EVP_PKEY_sign(rsa->sign, out, &len, rsa->digest, sizeof(rsa->digest)) != 1)
			bench_die("RSA cannot sign");
	}
	return ms_each(started, ROUNDS);
}

double raw_rsa_decrypt_ms(void)
{
	const struct rsa *rsa = get_rsa();
	double started = bench_own_cpu_s();
	uint8_t out[256];
	size_t len;

	for (unsigned i = 0; i < ROUNDS; i++) {
		len = sizeof(out);
		if (EVP_PKEY_decrypt(rsa->decrypt, out, &len, rsa->encrypted, rsa->encrypted_len) != 1)
			bench_die("RSA cannot decrypt");
	}
	return ms_each(started, ROUNDS);
}

double raw_rsa_verify_ms(void)
{
	const struct rsa *rsa = get_rsa();
	double started = bench_own_cpu_s();

	for (unsigned i = 0; i < VERIFY_ROUNDS; i++)
		if (EVP_PKEY_verify(rsa->verify, rsa->signature, rsa->signature_len, rsa->digest, sizeof(rsa->digest)) != 1)
			bench_die("RSA cannot verify");
	return ms_each(started, VERIFY_ROUNDS);
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
	started = ms_each(started, GROUPS * GROUP);
	sqlite3_finalize(put);
	sqlite3_close(db);
	return started;
}
