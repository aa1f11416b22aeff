/* Statements of over-the-air enrollment, device CAs and watches: rows as in statements.h. */
#pragma once

#define PAIRING_COLUMNS \
	"id, udid, serial, product, factory_spki_sha256, created_at, expires_at, phone_id, nonce_hash, granted_at, token_expires_at, used_at, link_id"
#define PAIRING_TYPES "ttttbiitbiiit"

#define OTA_STATEMENTS(X) \
	X(LINK_GET, "t", "tttiiiittttbttiiiiit", ANY, READ, \
	  "SELECT l.id, l.user_name, l.device_name, l.created_at, l.expires_at, l.consumed_at, l.revoked_at, l.enrollment_id, c.device_id," \
	  " o.udid, o.serial, o.factory_spki_sha256, o.factory_ca, o.attributes, o.version, o.n_identities, o.bound_at, o.answered_at, o.served_at, l.user_email" \
	  " FROM link l LEFT JOIN challenge c ON c.link_id = l.id LEFT JOIN ota o ON o.link_id = l.id WHERE l.id = $1") \
	X(OTA_GET, "t", "ttbttiiiii", ANY, READ, \
	  "SELECT udid, serial, factory_spki_sha256, factory_ca, attributes, version, n_identities, bound_at, answered_at, served_at FROM ota WHERE link_id = $1") \
	/* Only while the link can be used. */ \
	X(OTA_BIND, "tttbtti", "", ONE, WRITE, \
	  "INSERT INTO ota (link_id, udid, serial, factory_spki_sha256, factory_ca, attributes, version, n_identities, bound_at, answered_at, served_at)" \
	  " SELECT l.id, $2, $3, $4, $5, $6, 1, 1, $7, $7, 0 FROM link l WHERE l.id = $1 AND l.consumed_at = 0 AND l.revoked_at = 0 AND l.expires_at > $7") \
	/* The one device of the link, from now on also for the MDM identity. */ \
	X(CHALLENGE_BIND_OF_LINK, "tt", "", ONE, WRITE, "UPDATE challenge SET device_id = $2, version = version + 1 WHERE link_id = $1") \
	X(OTA_AGAIN, "titi", "", ONE, WRITE, \
	  "UPDATE ota SET version = version + 1, n_identities = n_identities + 1, attributes = $3, answered_at = $4 WHERE link_id = $1 AND version = $2") \
	X(OTA_SERVED, "ti", "", ONE, WRITE, "UPDATE ota SET served_at = $2 WHERE link_id = $1") \
	/* The challenge of a transport identity. */ \
	X(CHALLENGE_ADD_OTA, "tbtiiittt", "", ONE, WRITE, \
	  "INSERT INTO challenge (id, secret_hash, common_name, max_keys, may_enroll, version, created_at, expires_at, closed_at, revoked_at, profile, device_id, for_epoch, ota_link_id)" \
	  " VALUES ($1, $2, $3, $4, 0, 0, $5, $6, 0, 0, $7, $8, 0, $9)") \
	X(CHALLENGE_CLOSE_OTA, "ti", "", ANY, WRITE, "UPDATE challenge SET closed_at = $2, version = version + 1 WHERE ota_link_id = $1 AND closed_at = 0") \
	X(CERTIFICATE_REVOKE_OTA, "ti", "", ANY, WRITE, \
	  "UPDATE certificate SET state = 2, revoked_at = $2, revoked_reason = 'cessationOfOperation' WHERE ota_link_id = $1 AND state <> 2") \
	/* device CAs */ \
	X(DEVICE_CA_LIST, "ti", "ttbbii", ANY, READ, "SELECT id, name, certificate, spki_sha256, not_after, created_at FROM device_ca WHERE id > $1 ORDER BY id LIMIT $2") \
	X(DEVICE_CA_COUNT, "", "i", ANY, READ, "SELECT count(*) FROM device_ca") \
	X(DEVICE_CA_ADD, "ttbbii", "", ONE, WRITE, "INSERT INTO device_ca (id, name, certificate, spki_sha256, not_after, created_at) VALUES ($1, $2, $3, $4, $5, $6)") \
	X(DEVICE_CA_REMOVE, "t", "t", ONE, WRITE, "DELETE FROM device_ca WHERE id = $1 RETURNING name") \
	/* watches */ \
	X(PAIRING_ADD, "tbtttbii", "", ONE, WRITE, \
	  "INSERT INTO watch_pairing (id, security_hash, udid, serial, product, factory_spki_sha256, created_at, expires_at, granted_at, token_expires_at, used_at)" \
	  " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 0)") \
	/* What a watch can ask for without end must not grow without end. */ \
	X(PAIRING_TRIM, "bi", "", ANY, WRITE, \
	  "DELETE FROM watch_pairing WHERE factory_spki_sha256 = $1 AND granted_at = 0 AND id <= (SELECT o.id FROM watch_pairing o" \
	  " WHERE o.factory_spki_sha256 = $1 AND o.granted_at = 0 ORDER BY o.id DESC LIMIT 1 OFFSET $2)") \
	X(PAIRING_BY_SECURITY, "b", PAIRING_TYPES, ANY, READ, "SELECT " PAIRING_COLUMNS " FROM watch_pairing WHERE security_hash = $1") \
	X(PAIRING_GET, "t", PAIRING_TYPES, ANY, READ, "SELECT " PAIRING_COLUMNS " FROM watch_pairing WHERE id = $1") \
	X(PAIRING_LIST, "ti", PAIRING_TYPES, ANY, READ, "SELECT " PAIRING_COLUMNS " FROM watch_pairing WHERE id > $1 ORDER BY id LIMIT $2") \
	X(PAIRING_GRANT, "ttbii", "", ONE, WRITE, \
	  "UPDATE watch_pairing SET phone_id = $2, nonce_hash = $3, granted_at = $4, token_expires_at = $5 WHERE id = $1 AND granted_at = 0 AND expires_at > $4") \
	X(PAIRING_USE, "tbit", "", ONE, WRITE, \
	  "UPDATE watch_pairing SET used_at = $3, link_id = $4 WHERE id = $1 AND nonce_hash = $2 AND used_at = 0 AND token_expires_at > $3") \
	/* The watch is for whom the phone is for. */ \
	X(LINK_EMAIL_OF_PHONE, "tt", "", ONE, WRITE, \
	  "UPDATE link SET user_email = (SELECT f.user_email FROM enrollment e JOIN epoch p ON p.enrollment_id = e.id AND p.epoch = e.active_epoch JOIN link f ON f.id = p.link_id" \
	  " WHERE e.id = $2) WHERE id = $1") \
	X(PAIRING_PURGE, "ii", "", ANY, WRITE, \
	  "WITH old AS (SELECT p.id FROM watch_pairing p WHERE p.expires_at < $1 AND p.token_expires_at < $1 LIMIT $2 /*skip_locked*/) DELETE FROM watch_pairing WHERE id IN (SELECT id FROM old)") \
	/* Who the phone is: its enrollment, and whether it has said since it enrolled that it is supervised. */ \
	X(PAIRING_PHONE, "t", "ttttit", ANY, READ, \
	  "SELECT e.id, e.device_id, e.product_name, e.owner, e.state, (SELECT f.value FROM fact f WHERE f.enrollment_id = e.id AND f.name = 'IsSupervised'" \
	  " AND f.learnt_at >= e.enrolled_at) FROM enrollment e WHERE e.id = $1")
