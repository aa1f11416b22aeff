/* Rows that traffic would take too long to make. The schema is that of src/store/schema.h, the rows are the same for both engines. */
#include <sqlite3.h>

#include "bench.h"

enum { BUSY_MS = 5000, NOW_MS_DIGITS = 1000 };

static sqlite3 *open_database(const char *path, int flags)
{
	sqlite3 *db;

	if (sqlite3_open_v2(path, &db, flags, NULL) != SQLITE_OK)
		bench_die("%s cannot be opened", path);
	sqlite3_busy_timeout(db, BUSY_MS);
	return db;
}

static void run(const char *path, char *text)
{
	sqlite3 *db = open_database(path, SQLITE_OPEN_READWRITE);

	if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
		bench_die("filling: %s", sqlite3_errmsg(db));
	sqlite3_close(db);
	sqlite3_free(text);
}

static bool is_postgres(const char *database)
{
	return g_str_has_prefix(database, "postgresql:");
}

/* Runs TEXT, transfer full, and tells the planner what has become of the tables. */
static void run_postgres(const char *url, char *text)
{
	cluster_run(url, text);
	cluster_run(url, "VACUUM ANALYZE");
	g_free(text);
}

static int64_t count_rows(const char *path, const char *text)
{
	sqlite3_stmt *count;
	sqlite3 *db;
	int64_t n;

	if (is_postgres(path))
		return cluster_count(path, text);
	db = open_database(path, SQLITE_OPEN_READONLY);

	if (sqlite3_prepare_v2(db, text, -1, &count, NULL) != SQLITE_OK || sqlite3_step(count) != SQLITE_ROW)
		bench_die("%s cannot be read: %s", path, sqlite3_errmsg(db));
	n = sqlite3_column_int64(count, 0);
	sqlite3_finalize(count);
	sqlite3_close(db);
	return n;
}

/* Bytes that nothing compresses, as long as MD5s; of PostgreSQL, by the row's number n. */
#define BYTES_32 "decode(md5('a' || n) || md5('b' || n), 'hex')"
#define BYTES_320 "decode(repeat(md5('c' || n) || md5('d' || n), 10), 'hex')"

static void fill_enrollments_postgres(const char *database, const char *topic, long long n, long long now_ms)
{
	run_postgres(database, g_strdup_printf(
		"BEGIN; CREATE TEMP TABLE filled AS SELECT n, lpad(to_hex(n * 2654435761 %% 4294967296), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(n), 12, '0') AS id, 'filled' || lpad(n::text, 34, '0') AS device,"
		" 'F' || lpad(to_hex(n), 31, '0') AS serial FROM generate_series(1::bigint, %lld) n;"
		"INSERT INTO channel (device_id, user_part, enrollment_id) SELECT device, '', id FROM filled;"
		"INSERT INTO enrollment (id, device_id, user_part, kind, state, version, active_epoch, pending_epoch, last_epoch, serial, product_name, model, device_name, os_version,"
		" build_version, created_at, authenticated_at, enrolled_at, ended_at, last_seen)"
		" SELECT id, device, '', 0, 1, 2, 1, 0, 1, serial, 'iPhone15,2', 'MQ0G3', 'Filled', '18.2.1', '22C161', %lld, %lld, %lld, 0, %lld FROM filled;"
		"INSERT INTO epoch (enrollment_id, epoch, certificate_serial, topic, push_token, push_magic, push_dead_at, unlock_token, awaiting_configuration, authenticated_at, token_at, ended_at)"
		" SELECT id, 1, serial, '%s', " BYTES_32 ", serial, 0, " BYTES_320 ", 0, %lld, %lld, 0 FROM filled;"
		"INSERT INTO certificate (serial, authority_id, sha256, spki_sha256, subject, not_before, not_after, der, state, may_enroll, enrollment_id, epoch, issued_at, bound_at, revoked_at)"
		" SELECT serial, '', " BYTES_32 ", " BYTES_32 ", device, %lld, %lld, " BYTES_320 " || " BYTES_320 " || " BYTES_320 ", 1, 1, id, 1, %lld, %lld, 0 FROM filled;"
		"DROP TABLE filled; COMMIT", n, now_ms, now_ms, now_ms, now_ms, topic, now_ms, now_ms, now_ms, now_ms + 365LL * 86400 * 1000, now_ms, now_ms));
}

void fill_enrollments(const char *database, const char *topic, size_t n)
{
	int64_t now_ms = g_get_real_time() / NOW_MS_DIGITS;

	if (is_postgres(database)) {
		fill_enrollments_postgres(database, topic, (long long)n, now_ms);
		return;
	}
	run(database, sqlite3_mprintf(
		"BEGIN;"
		"CREATE TEMP TABLE filled AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < %lld)"
		" SELECT printf('%%08X-0000-7000-8000-%%012X', n * 2654435761 %% 4294967296, n) AS id, printf('filled%%034d', n) AS device, printf('F%%031X', n) AS serial FROM c;"
		"INSERT INTO enrollment (id, device_id, user_part, kind, state, version, active_epoch, pending_epoch, last_epoch, serial, product_name, model, device_name, os_version,"
		" build_version, created_at, authenticated_at, enrolled_at, ended_at, last_seen)"
		" SELECT id, device, '', 0, 1, 2, 1, 0, 1, serial, 'iPhone15,2', 'MQ0G3', 'Filled', '18.2.1', '22C161', %lld, %lld, %lld, 0, %lld FROM filled;"
		"INSERT INTO channel (device_id, user_part, enrollment_id) SELECT device, '', id FROM filled;"
		"INSERT INTO epoch (enrollment_id, epoch, certificate_serial, topic, push_token, push_magic, push_dead_at, unlock_token, awaiting_configuration, authenticated_at, token_at, ended_at)"
		" SELECT id, 1, serial, %Q, randomblob(32), serial, 0, randomblob(330), 0, %lld, %lld, 0 FROM filled;"
		"INSERT INTO certificate (serial, authority_id, sha256, spki_sha256, subject, not_before, not_after, der, state, may_enroll, enrollment_id, epoch, issued_at, bound_at, revoked_at)"
		" SELECT serial, '', randomblob(32), randomblob(32), device, %lld, %lld, randomblob(900), 1, 1, id, 1, %lld, %lld, 0 FROM filled;"
		"DROP TABLE filled;"
		"COMMIT", (sqlite3_int64)n, now_ms, now_ms, now_ms, now_ms, topic, now_ms, now_ms, now_ms, now_ms + 365LL * 86400 * 1000, now_ms, now_ms));
}

static void fill_certificates_postgres(const char *database, long long n, const char *prefix, long long now_ms)
{
	run_postgres(database, g_strdup_printf(
		"BEGIN; CREATE TEMP TABLE filled AS SELECT n, decode(md5('%s' || n) || md5('x%s' || n), 'hex') AS h, '%s-' || lpad(to_hex(n), 12, '0') AS id, upper(md5('%s' || n)) AS serial"
		" FROM generate_series(1::bigint, %lld) n;"
		"INSERT INTO challenge (id, secret_hash, link_id, common_name, max_keys, may_enroll, version, created_at, expires_at, closed_at, revoked_at, profile, record, for_epoch)"
		" SELECT id, h, id, id, 1, 1, 1, %lld, %lld, 0, 0, 'default', '{\"subject\":\"CN=' || id || ',O=Bench\",\"sans\":[]}', 0 FROM filled ORDER BY h;"
		"INSERT INTO certificate (serial, authority_id, sha256, spki_sha256, subject, not_before, not_after, der, state, link_id, challenge_id, transaction_id, may_enroll, epoch,"
		" issued_at, bound_at, revoked_at, generation_id, profile, record)"
		" SELECT serial, '', h, h, id, %lld, %lld, " BYTES_320 " || " BYTES_320 " || " BYTES_320 ", 1, id, id, serial, 1, 0, %lld, 0, 0, 'default-1', 'default',"
		" '{\"subject\":\"CN=' || id || ',O=Bench\",\"sans\":[]}' FROM filled ORDER BY serial;"
		"INSERT INTO audit (seq, id, at, actor, action, object, detail, hash)"
		" SELECT (SELECT coalesce(max(seq), 0) FROM audit) + n, 'a' || id, %lld, 'scep', 'certificate.issue', serial, '{\"profile\":\"default\",\"subject\":\"' || id || '\"}', h FROM filled;"
		"DROP TABLE filled; COMMIT", prefix, prefix, prefix, prefix, n, now_ms, now_ms + 86400LL * 1000, now_ms, now_ms + 365LL * 86400 * 1000, now_ms, now_ms));
}

/* Serial numbers and digests are random, but inserted in order, and without a journal: a million rows take seconds instead of minutes. */
void fill_certificates(const char *database, size_t n)
{
	int64_t now_ms = g_get_real_time() / NOW_MS_DIGITS, before = count_rows(database, "SELECT count(*) FROM certificate");

	if ((int64_t)n <= before)
		return;
	if (is_postgres(database)) {
		fill_certificates_postgres(database, (long long)n - before, n > 100000 ? "00000000-0001-7000-8000" : "00000000-0000-7000-8000", now_ms);
		return;
	}
	run(database, sqlite3_mprintf(
		"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-262144; PRAGMA temp_store=MEMORY;"
		"BEGIN;"
		"CREATE TEMP TABLE filled AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < %lld), r(h) AS MATERIALIZED (SELECT randomblob(32) FROM c)"
		" SELECT h, printf('%%s-%%012X', %Q, row_number() OVER (ORDER BY h)) AS id, hex(substr(h, 1, 16)) AS serial FROM r ORDER BY h;"
		"INSERT INTO challenge (id, secret_hash, link_id, common_name, max_keys, may_enroll, version, created_at, expires_at, closed_at, revoked_at, profile, record, for_epoch)"
		" SELECT id, h, id, id, 1, 1, 1, %lld, %lld, 0, 0, 'default', json_object('subject', 'CN=' || id || ',O=Bench', 'sans', json_array()), 0 FROM filled;"
		"INSERT INTO certificate (serial, authority_id, sha256, spki_sha256, subject, not_before, not_after, der, state, link_id, challenge_id, transaction_id, may_enroll, epoch,"
		" issued_at, bound_at, revoked_at, generation_id, profile, record)"
		" SELECT serial, '', h, h, id, %lld, %lld, randomblob(900), 1, id, id, serial, 1, 0, %lld, 0, 0, 'default-1', 'default',"
		" json_object('subject', 'CN=' || id || ',O=Bench', 'sans', json_array()) FROM filled;"
		"INSERT INTO audit (seq, id, at, actor, action, object, detail, hash)"
		" SELECT (SELECT coalesce(max(seq), 0) FROM audit) + row_number() OVER (), 'a' || id, %lld, 'scep', 'certificate.issue', serial, json_object('profile', 'default', 'subject', id), h"
		" FROM filled;"
		"DROP TABLE filled;"
		"COMMIT; PRAGMA journal_mode=WAL", (long long)n - before, n > 100000 ? "00000000-0001-7000-8000" : "00000000-0000-7000-8000", now_ms, now_ms + 86400LL * 1000, now_ms,
		now_ms + 365LL * 86400 * 1000, now_ms, now_ms));
}

static void fill_history_postgres(const char *database, long long n, long long now_ms)
{
	run_postgres(database, g_strdup_printf(
		"BEGIN; CREATE TEMP TABLE device AS SELECT row_number() OVER (ORDER BY id) - 1 AS number, id FROM enrollment WHERE state = 1;"
		"CREATE TEMP TABLE filled AS SELECT n, d.id, lpad(to_hex(n * 2654435761 %% 4294967296), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(n), 12, '0') AS uuid"
		" FROM generate_series(0::bigint, %lld - 1) n JOIN device d ON d.number = n %% (SELECT count(*) FROM device);"
		"INSERT INTO command_done (enrollment_id, uuid, seq, epoch, request_type, created_at, finished_at, status, packed, result)"
		" SELECT id, uuid, '0000-' || lpad(to_hex(n), 12, '0'), 1, 'DeviceInformation', %lld, %lld, 'Acknowledged', 0, " BYTES_320 " FROM filled ORDER BY 1, 2;"
		"INSERT INTO event (enrollment_id, id, at, kind, detail) SELECT id, uuid, %lld, 'TokenUpdate', NULL FROM filled ORDER BY 1, 2;"
		"DROP TABLE filled; DROP TABLE device; COMMIT", n, now_ms, now_ms, now_ms));
}

void fill_history(const char *database, size_t n)
{
	int64_t now_ms = g_get_real_time() / NOW_MS_DIGITS;

	if (is_postgres(database)) {
		fill_history_postgres(database, (long long)n, now_ms);
		return;
	}
	run(database, sqlite3_mprintf(
		"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-262144; PRAGMA temp_store=MEMORY;"
		"BEGIN;"
		"CREATE TEMP TABLE device AS SELECT row_number() OVER (ORDER BY id) - 1 AS number, id FROM enrollment WHERE state = 1;"
		"INSERT INTO command_done (enrollment_id, uuid, seq, epoch, request_type, created_at, finished_at, status, packed, result)"
		" WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n + 1 < %lld)"
		" SELECT d.id, printf('%%08X-0000-7000-8000-%%012X', n * 2654435761 %% 4294967296, n), printf('0000-%%012X', n), 1, 'DeviceInformation', %lld, %lld, 'Acknowledged', 0, randomblob(300)"
		" FROM c JOIN device d ON d.number = c.n %% (SELECT count(*) FROM device) ORDER BY 1, 2;"
		"INSERT INTO event (enrollment_id, id, at, kind) SELECT enrollment_id, uuid, finished_at, 'TokenUpdate' FROM command_done;"
		"DROP TABLE device;"
		"COMMIT; PRAGMA journal_mode=WAL", (sqlite3_int64)n, now_ms, now_ms));
}

/* TEXT is the same for both. */
static void run_either(const char *database, const char *text)
{
	if (is_postgres(database))
		run_postgres(database, g_strdup(text));
	else
		run(database, sqlite3_mprintf("%s", text));
}

void fill_outbox(const char *database, size_t n)
{
	int64_t now_ms = g_get_real_time() / NOW_MS_DIGITS;

	g_autofree char *text = g_strdup_printf("INSERT INTO push_outbox (enrollment_id, topic, due_at, attempts, generation, created_at)"
	                                        " SELECT id, (SELECT p.topic FROM epoch p WHERE p.enrollment_id = enrollment.id), %lld, 0, id, %lld FROM enrollment WHERE device_id LIKE 'filled%%' ORDER BY device_id LIMIT %lld"
	                                        " ON CONFLICT (enrollment_id) DO NOTHING", (long long)now_ms, (long long)now_ms, (long long)n);

	run_either(database, text);
}

size_t fill_outbox_count(const char *database)
{
	return (size_t)count_rows(database, "SELECT count(*) FROM push_outbox");
}

void fill_group(const char *database, const char *group)
{
	g_autofree char *text = g_strdup_printf("INSERT INTO group_member (group_name, enrollment_id, added_at) SELECT '%s', id, 1 FROM enrollment WHERE user_part = ''", group);

	run_either(database, text);
}

size_t fill_work_count(const char *database)
{
	return (size_t)count_rows(database, "SELECT count(*) FROM ddm_work");
}
