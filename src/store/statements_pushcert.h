/* The life of push certificates. Same form as statements.h. */
#pragma once

#define PUSHCERT_STATEMENTS(X) \
	X(PUSHCERT_LIST, "", "tbbiiiit", ANY, READ, \
	  "SELECT topic, certificate, key, not_before, not_after, imported_at, version, apple_account FROM push_certificate ORDER BY imported_at DESC, topic") \
	/* An account that is not said again stays. */ \
	X(PUSHCERT_PUT, "tbbiiit", "", ONE, WRITE, \
	  "INSERT INTO push_certificate (topic, certificate, key, not_before, not_after, imported_at, version, apple_account) VALUES ($1, $2, $3, $4, $5, $6, 1, $7)" \
	  " ON CONFLICT (topic) DO UPDATE SET certificate = excluded.certificate, key = excluded.key, not_before = excluded.not_before, not_after = excluded.not_after," \
	  " imported_at = excluded.imported_at, version = push_certificate.version + 1, apple_account = coalesce(excluded.apple_account, push_certificate.apple_account)") \
	X(PUSHCERT_ACCOUNT, "tt", "", ONE, WRITE, "UPDATE push_certificate SET apple_account = $2 WHERE topic = $1") \
	X(PUSHCERT_REMOVE, "t", "", ONE, WRITE, "DELETE FROM push_certificate WHERE topic = $1") \
	/* Only devices: their users' channels have the same topic. */ \
	X(PUSHCERT_DEVICES, "", "ti", ANY, READ, \
	  "SELECT p.topic, count(*) FROM enrollment e JOIN epoch p ON p.enrollment_id = e.id AND p.epoch = e.active_epoch WHERE e.state = 1 AND e.user_part = ''" \
	  " GROUP BY p.topic ORDER BY p.topic") \
	X(PUSH_VENDOR_LIST, "ti", "ttbbbiii", ANY, READ, \
	  "SELECT id, subject, csr, certificate, key, not_before, not_after, created_at FROM push_vendor WHERE id > $1 ORDER BY id LIMIT $2") \
	X(PUSH_VENDOR_ADD, "ttbbbiii", "", ONE, WRITE, \
	  "INSERT INTO push_vendor (id, subject, csr, certificate, key, not_before, not_after, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)") \
	X(PUSH_VENDOR_CERTIFY, "ttbii", "", ONE, WRITE, "UPDATE push_vendor SET subject = $2, certificate = $3, not_before = $4, not_after = $5 WHERE id = $1") \
	X(PUSH_VENDOR_REMOVE, "t", "", ONE, WRITE, "DELETE FROM push_vendor WHERE id = $1") \
	X(PUSH_REQUEST_LIST, "ti", "ttbbttbbbii", ANY, READ, \
	  "SELECT id, subject, csr, key, renews_topic, signed_by, document, encrypt_certificate, encrypt_key, created_at, signed_at FROM push_request WHERE id > $1 ORDER BY id LIMIT $2") \
	X(PUSH_REQUEST_ADD, "ttbbtbbi", "", ONE, WRITE, \
	  "INSERT INTO push_request (id, subject, csr, key, renews_topic, encrypt_certificate, encrypt_key, created_at, signed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)") \
	X(PUSH_REQUEST_SIGN, "ttbi", "", ONE, WRITE, "UPDATE push_request SET signed_by = $2, document = $3, signed_at = $4 WHERE id = $1") \
	X(PUSH_REQUEST_REMOVE, "t", "", ONE, WRITE, "DELETE FROM push_request WHERE id = $1") \
	/* Its certificate has come; somebody may have taken it back meanwhile. */ \
	X(PUSH_REQUEST_END, "t", "", ANY, WRITE, "DELETE FROM push_request WHERE id = $1") \
	X(PUSH_CHAIN_LIST, "", "tbi", ANY, READ, "SELECT sha256, certificate, created_at FROM push_chain ORDER BY created_at, sha256") \
	X(PUSH_CHAIN_ADD, "tbi", "", ANY, WRITE, "INSERT INTO push_chain (sha256, certificate, created_at) VALUES ($1, $2, $3) ON CONFLICT (sha256) DO NOTHING")
