/* All SQL of Pomona (some of it in the headers named here), in the dialect that SQLite and PostgreSQL share: X(name, parameters, results, expect, mode, SQL). */
#pragma once

#include "db/db.h"
#include "store/statements_checkin.h"
#include "store/statements_command.h"
#include "store/statements_ddm.h"
#include "store/statements_doctor.h"
#include "store/statements_fleet.h"
#include "store/statements_library.h"
#include "store/statements_move.h"
#include "store/statements_node.h"
#include "store/statements_ota.h"
#include "store/statements_push.h"
#include "store/statements_pushcert.h"
#include "store/statements_shared.h"

#define ENROLLMENT_COLUMNS \
	"id, device_id, user_part, parent_id, kind, state, active_epoch, pending_epoch, serial, product_name, model, model_name, device_name, os_version," \
	" build_version, imei, meid, user_short_name, user_long_name, owner, created_at, authenticated_at, enrolled_at, ended_at, last_seen"
#define ENROLLMENT_TYPES "ttttiiiittttttttttttiiiii"

#define CERTIFICATE_COLUMNS \
	"serial, authority_id, spki_sha256, subject, not_before, not_after, der, state, link_id, challenge_id, transaction_id, may_enroll, enrollment_id, epoch," \
	" issued_at, bound_at, revoked_at, revoked_reason, generation_id, profile, record, for_enrollment_id, for_epoch, renews_serial, renewed_at, ota_link_id"
#define CERTIFICATE_TYPES "ttbtiibitttitiiiitttttitit"
#define CHALLENGE_COLUMNS \
	"c.id, c.link_id, c.common_name, c.max_keys, c.may_enroll, c.created_at, c.expires_at, c.closed_at, c.revoked_at, c.profile, c.record, c.device_id, c.key_type," \
	" c.for_enrollment_id, (SELECT count(DISTINCT n.spki_sha256) FROM certificate n WHERE n.challenge_id = c.id)"
#define CHALLENGE_TYPES "tttiiiiiittttti"
#define REQUEST_COLUMNS \
	"id, profile, transaction_id, spki_sha256, signer_spki_sha256, challenge_id, renews_serial, subject, csr, peer, state, serial, reason, created_at, decided_at, expires_at"
#define REQUEST_TYPES "tttbbtttbttttiii"
#define AUDIT_COLUMNS "seq, id, at, actor, action, object, detail, hash"
#define AUDIT_TYPES "itittttb"

#define DEVICE_FACTS "serial, product_name, model, model_name, device_name, os_version, build_version, imei, meid"
/* Of epoch $3 of enrollment $1, which must be there, and the owner of link $2 unless that is NULL. */
#define DEVICE_FACTS_OF_EPOCH \
	"(" DEVICE_FACTS ") = (SELECT coalesce(p.serial, enrollment.serial), coalesce(p.product_name, enrollment.product_name), coalesce(p.model, enrollment.model)," \
	" coalesce(p.model_name, enrollment.model_name), coalesce(p.device_name, enrollment.device_name), coalesce(p.os_version, enrollment.os_version)," \
	" coalesce(p.build_version, enrollment.build_version), coalesce(p.imei, enrollment.imei), coalesce(p.meid, enrollment.meid) FROM epoch p WHERE p.enrollment_id = $1 AND p.epoch = $3)," \
	" owner = CASE WHEN $2 IS NULL THEN owner ELSE (SELECT l.user_name FROM link l WHERE l.id = $2) END"

/* A device whose identity was revoked is refused whatever it holds: nobody waits for it, unless the certificate may be released again. */
#define NOT_LOST "NOT (c.state = 2 AND coalesce(c.revoked_reason, '') <> 'certificateHold')"

/* When two thirds of the life of certificate c are over. */
#define RENEW_AT "c.not_before + (c.not_after - c.not_before) / 3 * 2"
/* Of epoch p: a renewal is in its queue. */
#define RENEWAL_WAITS "SELECT 1 FROM command m WHERE m.enrollment_id = p.enrollment_id AND m.epoch = p.epoch AND m.note = 'renewal'"

#define STORE_STATEMENTS(X) \
	OWN_STATEMENTS(X) OTA_STATEMENTS(X) LIBRARY_STATEMENTS(X) COMMAND_STATEMENTS(X) FLEET_STATEMENTS(X) CHECKIN_STATEMENTS(X) PUSHCERT_STATEMENTS(X) PUSH_STATEMENTS(X) DOCTOR_STATEMENTS(X) DDM_STATEMENTS(X) NODE_STATEMENTS(X) MOVE_STATEMENTS(X) SHARED_STATEMENTS(X)
#define OWN_STATEMENTS(X) \
	/* settings, authorities, tokens */ \
	X(SETTING_GET, "t", "t", ANY, READ, "SELECT value FROM setting WHERE name = $1") \
	X(SETTING_PUT, "tt", "", ANY, WRITE, "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value") \
	X(AUTHORITY_LIST, "", "tttbbiiitt", ANY, READ, \
	  "SELECT id, role, state, certificate, key, not_before, not_after, created_at, generation_id, key_uri FROM authority WHERE state <> 'retired' ORDER BY created_at, id") \
	X(AUTHORITY_ADD, "tttbbiiitt", "", ONE, WRITE, \
	  "INSERT INTO authority (id, role, state, certificate, key, not_before, not_after, created_at, generation_id, key_uri) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)") \
	X(AUTHORITY_RETIRE, "tt", "", ANY, WRITE, "UPDATE authority SET state = 'retired' WHERE role = $1 AND id <> $2 AND state <> 'retired'") \
	X(AUTHORITY_STATE, "tt", "", ONE, WRITE, "UPDATE authority SET state = $2 WHERE id = $1") \
	X(AUTHORITY_RETIRE_GENERATION, "t", "", ANY, WRITE, "UPDATE authority SET state = 'retired' WHERE generation_id = $1 AND role <> 'signer'") \
	X(GENERATION_LIST, "", "ttittiiiii", ANY, READ, \
	  "SELECT id, ca, number, state, source, version, created_at, activated_at, retiring_at, retired_at FROM ca_generation ORDER BY ca, number") \
	X(GENERATION_ADD, "ttittii", "", ONE, WRITE, \
	  "INSERT INTO ca_generation (id, ca, number, state, source, version, created_at, activated_at, retiring_at, retired_at) VALUES ($1, $2, $3, $4, $5, 1, $6, $7, 0, 0)") \
	/* Times of 0 leave what is there. */ \
	X(GENERATION_STATE, "titiii", "", ONE, WRITE, \
	  "UPDATE ca_generation SET state = $3, version = version + 1, activated_at = CASE WHEN $4 > 0 THEN $4 ELSE activated_at END," \
	  " retiring_at = CASE WHEN $5 > 0 THEN $5 ELSE retiring_at END, retired_at = CASE WHEN $6 > 0 THEN $6 ELSE retired_at END WHERE id = $1 AND version = $2") \
	/* A request whose certificate nobody will give: nothing was ever issued or promised with its key. */ \
	X(GENERATION_DROP, "ti", "", ONE, WRITE, "DELETE FROM ca_generation WHERE id = $1 AND version = $2 AND state = 'requested'") \
	X(AUTHORITY_DROP, "t", "", ANY, WRITE, "DELETE FROM authority WHERE generation_id = $1") \
	X(GENERATION_DEVICES, "", "ti", ANY, READ, \
	  "SELECT c.generation_id, count(*) FROM enrollment e JOIN epoch p ON p.enrollment_id = e.id AND p.epoch = e.active_epoch" \
	  " JOIN certificate c ON c.serial = p.certificate_serial WHERE e.state = 1 AND e.user_part = '' GROUP BY c.generation_id ORDER BY c.generation_id") \
	X(GENERATION_DEVICE_LIST, "tti", "ttttii", ANY, READ, \
	  "SELECT e.id, e.device_id, e.serial, e.device_name, e.last_seen, c.not_after FROM enrollment e JOIN epoch p ON p.enrollment_id = e.id AND p.epoch = e.active_epoch" \
	  " JOIN certificate c ON c.serial = p.certificate_serial WHERE e.state = 1 AND e.user_part = '' AND c.generation_id = $1 AND " NOT_LOST \
	  " AND e.id > $2 ORDER BY e.id LIMIT $3") \
	/* Live devices that have not acknowledged the root of generation $1 of the default CA. */ \
	/* Of enrollments after $2 up to $4. */ \
	X(ANCHOR_LACKING, "itit", "ttttii", ANY, READ, \
	  "SELECT e.id, e.device_id, e.serial, e.device_name, e.last_seen, p.anchor FROM enrollment e JOIN epoch p ON p.enrollment_id = e.id AND p.epoch = e.active_epoch" \
	  " JOIN certificate c ON c.serial = p.certificate_serial WHERE e.state = 1 AND e.user_part = '' AND p.anchor < $1 AND " NOT_LOST " AND e.id > $2 AND e.id <= $4 ORDER BY e.id LIMIT $3") \
	X(ANCHOR_SET, "tii", "", ANY, WRITE, "UPDATE epoch SET anchor = $3 WHERE enrollment_id = $1 AND epoch = $2 AND anchor < $3") \
	X(ANCHOR_REFUSED, "ti", "i", ANY, READ, "SELECT count(*) FROM event WHERE enrollment_id = $1 AND kind = 'AnchorRefused' AND at > $2") \
	X(ENROLLMENTS_LIVE, "", "i", ANY, READ, "SELECT count(*) FROM enrollment WHERE state = 1") \
	X(TOKEN_ADD, "ttbii", "", ONE, WRITE, "INSERT INTO api_token (id, name, hash, created_at, revoked_at, secrets) VALUES ($1, $2, $3, $4, 0, $5)") \
	X(TOKEN_LIST, "", "ttiii", ANY, READ, "SELECT id, name, created_at, revoked_at, secrets FROM api_token ORDER BY id") \
	X(TOKEN_GET, "t", "t", ANY, READ, "SELECT id FROM api_token WHERE id = $1") \
	X(TOKEN_FIND, "b", "tti", ANY, READ, "SELECT id, name, secrets FROM api_token WHERE hash = $1 AND revoked_at = 0") \
	X(TOKEN_REVOKE, "ti", "t", ANY, WRITE, "UPDATE api_token SET revoked_at = $2 WHERE id = $1 AND revoked_at = 0 RETURNING name") \
	/* push certificates */ \
	X(PUSH_CERT_LIST, "", "tbbiiii", ANY, READ, \
	  "SELECT topic, certificate, key, not_before, not_after, imported_at, version FROM push_certificate ORDER BY imported_at DESC, topic") \
	/* links and challenges */ \
	X(LINK_ADD, "tbttiitit", "", ONE, WRITE, \
	  "INSERT INTO link (id, token_hash, user_name, device_name, created_at, expires_at, consumed_at, revoked_at, served, anchor, user_email) VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $7, $8, $9)") \
	X(LINKS_SERVE, "t", "", ANY, WRITE, "UPDATE link SET served = $1 WHERE served IS NULL") \
	X(LINK_SERVED, "t", "t", ANY, READ, "SELECT served FROM link WHERE id = $1") \
	X(LINK_BY_TOKEN, "b", "tttiiitbtt", ANY, READ, \
	  "SELECT l.id, l.user_name, l.device_name, l.expires_at, l.consumed_at, l.revoked_at, c.id, c.secret, l.served, c.device_id" \
	  " FROM link l JOIN challenge c ON c.link_id = l.id WHERE l.token_hash = $1") \
	X(LINK_LIST, "ti", "tttiiiit", ANY, READ, \
	  "SELECT id, user_name, device_name, created_at, expires_at, consumed_at, revoked_at, enrollment_id FROM link WHERE id > $1 ORDER BY id LIMIT $2") \
	X(LINK_REVOKE, "ti", "t", ANY, WRITE, "UPDATE link SET revoked_at = $2 WHERE id = $1 AND revoked_at = 0 AND consumed_at = 0 RETURNING id") \
	/* Once, or again by the same enrollment. */ \
	X(LINK_CONSUME, "tit", "", ONE, WRITE, \
	  "UPDATE link SET consumed_at = CASE consumed_at WHEN 0 THEN $2 ELSE consumed_at END, enrollment_id = $3 WHERE id = $1 AND (consumed_at = 0 OR enrollment_id = $3)") \
	/* First in what gives certificates for a link: each sees those of the one before, and nobody gets one when it has been used. */ \
	X(LINK_HOLD_OPEN, "t", "", ONE, WRITE, "UPDATE link SET created_at = created_at WHERE id = $1 AND consumed_at = 0 AND revoked_at = 0") \
	X(LINK_HOLD, "t", "", ANY, WRITE, "UPDATE link SET created_at = created_at WHERE id = $1") \
	X(CHALLENGE_ADD, "tbbttiiiittttti", "", ONE, WRITE, \
	  "INSERT INTO challenge (id, secret_hash, secret, link_id, common_name, max_keys, may_enroll, version, created_at, expires_at, closed_at, revoked_at, profile, record," \
	  " device_id, key_type, for_enrollment_id, for_epoch) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9, 0, 0, $10, $11, $12, $13, $14, $15)") \
	X(CHALLENGE_LIST, "ti", CHALLENGE_TYPES, ANY, READ, "SELECT " CHALLENGE_COLUMNS " FROM challenge c WHERE c.id > $1 ORDER BY c.id LIMIT $2") \
	X(CHALLENGE_GET, "t", CHALLENGE_TYPES, ANY, READ, "SELECT " CHALLENGE_COLUMNS " FROM challenge c WHERE c.id = $1") \
	X(CHALLENGE_REVOKE, "ti", "t", ONE, WRITE, "UPDATE challenge SET revoked_at = $2, version = version + 1 WHERE id = $1 AND revoked_at = 0 RETURNING id") \
	/* Whoever was last to get a certificate with this name. */ \
	X(CHALLENGE_BY_NAME, "ti", "tttiit", ANY, READ, \
	  "SELECT c.id, c.link_id, c.for_enrollment_id, c.for_epoch, c.may_enroll, c.device_id FROM challenge c WHERE c.common_name = $1 AND c.revoked_at = 0 AND c.closed_at = 0" \
	  " AND c.expires_at > $2 AND c.ota_link_id IS NULL ORDER BY c.id DESC LIMIT 1") \
	/* Challenges that nothing can come of any more, long after. */ \
	X(CHALLENGE_PURGE, "ii", "", ANY, WRITE, \
	  "WITH old AS (SELECT c.id FROM challenge c WHERE c.expires_at < $1 AND NOT EXISTS (SELECT 1 FROM certificate n WHERE n.challenge_id = c.id) LIMIT $2 /*skip_locked*/)" \
	  " DELETE FROM challenge WHERE id IN (SELECT id FROM old)") \
	X(CHALLENGE_REVOKE_OF_LINK, "ti", "", ANY, WRITE, "UPDATE challenge SET revoked_at = $2, version = version + 1 WHERE link_id = $1") \
	X(CHALLENGE_CLOSE_OF_LINK, "ti", "", ANY, WRITE, "UPDATE challenge SET closed_at = $2, version = version + 1 WHERE link_id = $1 OR (ota_link_id = $1 AND closed_at = 0)") \
	X(CHALLENGE_BY_SECRET, "bb", "tttiiiiiiitiibtttttit", ANY, READ, \
	  "SELECT c.id, c.link_id, c.common_name, c.max_keys, c.may_enroll, c.version, c.expires_at, c.closed_at, c.revoked_at," \
	  " (SELECT count(DISTINCT n.spki_sha256) FROM certificate n WHERE n.challenge_id = c.id), s.serial, s.issued_at, s.state, s.der," \
	  " c.profile, c.record, c.device_id, c.key_type, c.for_enrollment_id, c.for_epoch, c.ota_link_id" \
	  " FROM challenge c LEFT JOIN certificate s ON s.challenge_id = c.id AND s.spki_sha256 = $2 WHERE c.secret_hash = $1" \
	  " ORDER BY CASE WHEN s.der IS NULL THEN 1 ELSE 0 END, s.state, s.issued_at DESC LIMIT 1") \
	X(CHALLENGE_USE, "ti", "", ONE, WRITE, "UPDATE challenge SET version = version + 1 WHERE id = $1 AND version = $2") \
	/* Whoever has seen the row without its certificate must look again. */ \
	X(CHALLENGE_FULFILL, "t", "", ANY, WRITE, \
	  "UPDATE challenge SET version = version + 1 WHERE id = (SELECT c.challenge_id FROM certificate c WHERE c.serial = $1)") \
	/* certificates */ \
	X(CERTIFICATE_RESERVE, "ttbtiitttiittttittt", "", ONE, WRITE, \
	  "INSERT INTO certificate (serial, authority_id, spki_sha256, subject, not_before, not_after, state, link_id, challenge_id, transaction_id," \
	  " may_enroll, epoch, issued_at, bound_at, revoked_at, generation_id, profile, record, for_enrollment_id, for_epoch, renews_serial, device_id, ota_link_id)" \
	  " SELECT $1, $2, $3, $4, $5, $6, 0, $7, $8, $9, $10, 0, $11, 0, 0, $12, $13, $14, $15, $16, $17, $18, $19" \
	  " WHERE NOT EXISTS (SELECT 1 FROM ca_generation g WHERE g.id = $12 AND g.state IN ('requested', 'retired'))") \
	/* Where the key alone is the right: it has none that was issued since $3, and nobody is about to give it one since $4. */ \
	X(CERTIFICATE_NONE_BY_KEY, "btii", "t", NONE, READ, \
	  "SELECT serial FROM certificate WHERE spki_sha256 = $1 AND profile = $2 AND challenge_id IS NULL AND renews_serial IS NULL AND ((state = 1 AND issued_at > $3) OR (state = 0 AND issued_at > $4))" \
	  " LIMIT 1") \
	X(CERTIFICATE_REVOKE_UNBOUND, "tit", "", ANY, WRITE, \
	  "UPDATE certificate SET state = 2, revoked_at = $2, revoked_reason = 'superseded' WHERE link_id = $1 AND enrollment_id IS NULL AND serial <> $3 AND state <> 2") \
	/* The same key asked several times at once, or a process died before it had signed: the newest row counts. */ \
	X(CERTIFICATE_END_RESERVED, "tbit", "", ANY, WRITE, \
	  "UPDATE certificate SET state = 2, revoked_at = $3, revoked_reason = 'superseded' WHERE challenge_id = $1 AND spki_sha256 = $2 AND serial <> $4 AND state = 0") \
	X(CERTIFICATE_ISSUE, "tbb", "", ONE, WRITE, \
	  "UPDATE certificate SET sha256 = $2, der = $3, state = 1 WHERE serial = $1 AND state = 0") \
	X(CERTIFICATE_BIND, "ttii", "", ONE, WRITE, \
	  "UPDATE certificate SET enrollment_id = $2, epoch = $3, bound_at = $4 WHERE serial = $1 AND state = 1 AND (enrollment_id IS NULL OR enrollment_id = $2)") \
	X(CERTIFICATE_REVOKE_EPOCH, "tiit", "", ANY, WRITE, \
	  "UPDATE certificate SET state = 2, revoked_at = $3, revoked_reason = 'superseded' WHERE enrollment_id = $1 AND epoch = $2 AND serial <> $4 AND state <> 2") \
	X(CERTIFICATE_LIST, "ti", CERTIFICATE_TYPES, ANY, READ, "SELECT " CERTIFICATE_COLUMNS " FROM certificate WHERE serial > $1 ORDER BY serial LIMIT $2") \
	X(CERTIFICATE_LIST_OF, "tti", CERTIFICATE_TYPES, ANY, READ, \
	  "SELECT " CERTIFICATE_COLUMNS " FROM certificate WHERE enrollment_id = $1 AND serial > $2 ORDER BY serial LIMIT $3") \
	X(CERTIFICATE_GET, "t", CERTIFICATE_TYPES, ANY, READ, "SELECT " CERTIFICATE_COLUMNS " FROM certificate WHERE serial = $1") \
	X(CERTIFICATE_BY_SHA256, "b", CERTIFICATE_TYPES, ANY, READ, "SELECT " CERTIFICATE_COLUMNS " FROM certificate WHERE sha256 = $1") \
	/* The certificate that this key got from this profile without a challenge of its own. */ \
	X(CERTIFICATE_BY_KEY, "bti", CERTIFICATE_TYPES, ANY, READ, \
	  "SELECT " CERTIFICATE_COLUMNS " FROM certificate WHERE spki_sha256 = $1 AND profile = $2 AND challenge_id IS NULL AND renews_serial IS NULL AND state = 1 AND issued_at > $3" \
	  " ORDER BY issued_at DESC LIMIT 1") \
	/* The certificate that this key got when it asked to renew another. */ \
	X(CERTIFICATE_RENEWAL, "tb", CERTIFICATE_TYPES, ANY, READ, \
	  "SELECT " CERTIFICATE_COLUMNS " FROM certificate WHERE renews_serial = $1 AND spki_sha256 = $2 AND state <> 2 ORDER BY issued_at DESC LIMIT 1") \
	X(CERTIFICATE_RENEW, "tii", "", ONE, WRITE, "UPDATE certificate SET renewed_at = $3 WHERE serial = $1 AND renewed_at = $2 AND state = 1") \
	/* A reserved row whose signature did not come about gives the right to renew back. */ \
	X(CERTIFICATE_FORGET, "t", "", ONE, WRITE, "DELETE FROM certificate WHERE serial = $1 AND state = 0") \
	X(CERTIFICATE_REVOKE, "tit", "t", ONE, WRITE, \
	  "UPDATE certificate SET state = 2, revoked_at = $2, revoked_reason = $3 WHERE serial = $1 AND (state <> 2 OR revoked_reason = 'certificateHold') RETURNING generation_id") \
	X(CERTIFICATE_UNREVOKE, "t", "t", ONE, WRITE, \
	  "UPDATE certificate SET state = 1, revoked_at = 0, revoked_reason = NULL WHERE serial = $1 AND state = 2 AND revoked_reason = 'certificateHold' RETURNING generation_id") \
	X(CERTIFICATE_STATUS, "tt", "iit", ANY, READ, "SELECT state, revoked_at, revoked_reason FROM certificate WHERE serial = $1 AND generation_id = $2") \
	/* The row that held the right to it while an outside CA was asked. */ \
	X(CERTIFICATE_FULFILL, "ttbbtii", "", ONE, WRITE, \
	  "UPDATE certificate SET serial = $2, sha256 = $3, der = $4, subject = $5, not_before = $6, not_after = $7, state = 1 WHERE serial = $1 AND state = 0") \
	X(CERTIFICATE_IMPORT, "ttbbbtiitttiiitt", "", ONE, WRITE, \
	  "INSERT INTO certificate (serial, authority_id, spki_sha256, sha256, der, subject, not_before, not_after, state, link_id, challenge_id, transaction_id," \
	  " may_enroll, epoch, issued_at, bound_at, revoked_at, generation_id, for_enrollment_id, for_epoch, profile, device_id)" \
	  " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, $9, NULL, NULL, $12, 0, $14, 0, 0, $10, $11, $13, $15, $16)") \
	/* The first use of a renewed identity: it is the enrollment's from now on, the one before ends after a while. */ \
	X(CERTIFICATE_SUPERSEDE, "tiit", "", ANY, WRITE, \
	  "UPDATE certificate SET superseded_at = $3 WHERE enrollment_id = $1 AND epoch = $2 AND serial <> $4 AND state = 1 AND superseded_at = 0") \
	X(CERTIFICATE_REVOKE_SUPERSEDED, "ii", "t", ANY, WRITE, \
	  "WITH old AS (SELECT serial FROM certificate WHERE superseded_at > 0 AND superseded_at <= $2 AND state = 1 /*skip_locked*/)" \
	  " UPDATE certificate SET state = 2, revoked_at = $1, revoked_reason = 'superseded' WHERE serial IN (SELECT serial FROM old) RETURNING serial") \
	X(EPOCH_CERTIFICATE, "tit", "", ONE, WRITE, \
	  "UPDATE epoch SET certificate_serial = $3, renewal_at = 0, renew_at = CASE WHEN link_id IS NULL THEN 0 ELSE coalesce((SELECT " RENEW_AT " FROM certificate c WHERE c.serial = $3), 0) END" \
	  " WHERE enrollment_id = $1 AND epoch = $2") \
	/* Epochs to be looked at, the longest due first. The last column: whether the identity is to be renewed now; else there is a reason to look again later. Without a link it is not known what the profile
	 * would have to say. */ \
	X(RENEWAL_DUE, "iii", "titiiii", ANY, READ, \
	  "SELECT p.enrollment_id, p.epoch, c.serial, c.not_after, p.renewal_at, p.renew_at, cast(CASE WHEN e.state = 1 AND e.user_part = '' AND c.serial IS NOT NULL AND p.renewal_at <= $2 AND " NOT_LOST \
	  " AND NOT EXISTS (" RENEWAL_WAITS ") THEN 1 ELSE 0 END as bigint) FROM epoch p LEFT JOIN enrollment e ON e.id = p.enrollment_id AND e.active_epoch = p.epoch" \
	  " LEFT JOIN certificate c ON c.serial = p.certificate_serial WHERE p.renew_at > 0 AND p.renew_at <= $1 ORDER BY p.renew_at LIMIT $3") \
	/* Only as it was seen: it may have been renewed since. */ \
	X(RENEWAL_PUT_OFF, "tiii", "", ANY, WRITE, "UPDATE epoch SET renew_at = $4 WHERE enrollment_id = $1 AND epoch = $2 AND renew_at = $3") \
	/* Of certificates after $1 up to $2, the identities of generations that retire. */ \
	X(RENEWAL_RETIRING, "ttii", "titiiii", ANY, READ, \
	  "SELECT p.enrollment_id, p.epoch, c.serial, c.not_after, p.renewal_at, p.renew_at, cast(1 as bigint) FROM certificate c JOIN epoch p ON p.enrollment_id = c.enrollment_id AND p.epoch = c.epoch" \
	  " AND p.certificate_serial = c.serial JOIN enrollment e ON e.id = p.enrollment_id AND e.active_epoch = p.epoch WHERE c.serial > $1 AND c.serial <= $2" \
	  " AND EXISTS (SELECT 1 FROM ca_generation g WHERE g.id = c.generation_id AND g.state = 'retiring') AND e.state = 1 AND e.user_part = '' AND p.link_id IS NOT NULL AND p.renewal_at <= $3 AND " NOT_LOST \
	  " AND NOT EXISTS (" RENEWAL_WAITS ") ORDER BY c.serial LIMIT $4") \
	/* The row that is $2 rows after $1: large tables are gone through in steps of so many. */ \
	X(WALK_CERTIFICATES, "ti", "t", ANY, READ, "SELECT serial FROM certificate WHERE serial > $1 ORDER BY serial LIMIT 1 OFFSET $2") \
	X(WALK_ENROLLMENTS, "ti", "t", ANY, READ, "SELECT id FROM enrollment WHERE id > $1 ORDER BY id LIMIT 1 OFFSET $2") \
	/* $4: what the decision knew of the last time; $5: when it is looked at again. */ \
	X(RENEWAL_MARK, "tiiii", "", ONE, WRITE, \
	  "UPDATE epoch SET renewal_at = $3, renew_at = CASE renew_at WHEN 0 THEN 0 ELSE $5 END WHERE enrollment_id = $1 AND epoch = $2 AND renewal_at <= $4") \
	/* Facts for a profile that renews an identity. */ \
	X(RENEWAL_FACTS, "ti", "tttttit", ANY, READ, \
	  "SELECT p.topic, p.link_id, l.served, c.subject, c.record, c.not_after, c.profile FROM epoch p LEFT JOIN link l ON l.id = p.link_id" \
	  " LEFT JOIN certificate c ON c.serial = p.certificate_serial WHERE p.enrollment_id = $1 AND p.epoch = $2") \
	/* CRLs */ \
	X(CRL_REVOKED, "ti", "tit", ANY, READ, \
	  "SELECT serial, revoked_at, revoked_reason FROM certificate WHERE generation_id = $1 AND revoked_at > 0 AND der IS NOT NULL AND not_after > $2 ORDER BY serial") \
	X(CRL_DIRTY, "ti", "t", ANY, READ, "SELECT serial FROM certificate WHERE generation_id = $1 AND revoked_at > 0 AND revoked_at >= $2 LIMIT 1") \
	X(CRL_STATE, "t", "iii", ANY, READ, "SELECT number, this_update, next_update FROM crl WHERE generation_id = $1") \
	X(CRL_GET, "t", "b", ANY, READ, "SELECT der FROM crl WHERE generation_id = $1") \
	X(CRL_PUT, "tibiii", "", ONE, WRITE, \
	  "INSERT INTO crl (generation_id, number, der, this_update, next_update) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (generation_id) DO UPDATE SET" \
	  " number = excluded.number, der = excluded.der, this_update = excluded.this_update, next_update = excluded.next_update WHERE crl.number = $6") \
	/* SCEP profiles, outside CAs, requests that wait */ \
	X(PROFILE_LIST, "", "ttbi", ANY, READ, "SELECT name, settings, secret, version FROM scep_profile ORDER BY name") \
	/* $5: the version that the settings were made from; 0: there was none. */ \
	X(PROFILE_PUT, "ttbii", "", ONE, WRITE, \
	  "INSERT INTO scep_profile (name, settings, secret, version, updated_at) VALUES ($1, $2, $3, 1, $4) ON CONFLICT (name) DO UPDATE SET" \
	  " settings = excluded.settings, secret = excluded.secret, version = scep_profile.version + 1, updated_at = excluded.updated_at WHERE scep_profile.version = $5") \
	X(PROFILE_REMOVE, "t", "t", ONE, WRITE, "DELETE FROM scep_profile WHERE name = $1 RETURNING name") \
	X(OUTSIDE_LIST, "", "ttbbi", ANY, READ, "SELECT name, settings, secret, certificates, version FROM outside_ca ORDER BY name") \
	X(OUTSIDE_PUT, "ttbbii", "", ONE, WRITE, \
	  "INSERT INTO outside_ca (name, settings, secret, certificates, version, updated_at) VALUES ($1, $2, $3, $4, 1, $5) ON CONFLICT (name) DO UPDATE SET" \
	  " settings = excluded.settings, secret = excluded.secret, certificates = excluded.certificates, version = outside_ca.version + 1, updated_at = excluded.updated_at WHERE outside_ca.version = $6") \
	X(OUTSIDE_REMOVE, "t", "t", ONE, WRITE, "DELETE FROM outside_ca WHERE name = $1 RETURNING name") \
	/* Under a lock (LOCK_TAKE); $13: as many wait at most. */ \
	X(REQUEST_ADD, "tttbbtttbtiii", "", ONE, WRITE, \
	  "INSERT INTO scep_request (id, profile, transaction_id, spki_sha256, signer_spki_sha256, challenge_id, renews_serial, subject, csr, peer, state, version, created_at, decided_at, expires_at)" \
	  " SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'pending', 1, $11, 0, $12 WHERE NOT EXISTS (SELECT 1 FROM scep_request r WHERE r.profile = $2" \
	  " AND r.spki_sha256 = $4 AND r.challenge_id IS NOT DISTINCT FROM $6 AND r.subject = $8 AND r.state = 'pending' AND r.expires_at > $11)" \
	  " AND (SELECT count(*) FROM scep_request w WHERE w.state = 'pending' AND w.profile = $2 AND w.expires_at > $11) < $13") \
	/* A person has approved what it says, so the same key with another challenge or subject is another request. */ \
	X(REQUEST_BY_KEY, "tbitt", REQUEST_TYPES, ANY, READ, \
	  "SELECT " REQUEST_COLUMNS " FROM scep_request WHERE profile = $1 AND spki_sha256 = $2 AND expires_at > $3 AND challenge_id IS NOT DISTINCT FROM $4 AND subject = $5" \
	  " ORDER BY id DESC LIMIT 1") \
	X(REQUEST_FOLLOW, "ttb", "", ANY, WRITE, "UPDATE scep_request SET transaction_id = $2, signer_spki_sha256 = $3 WHERE id = $1") \
	X(REQUEST_BY_TRANSACTION, "tti", REQUEST_TYPES, ANY, READ, \
	  "SELECT " REQUEST_COLUMNS " FROM scep_request WHERE profile = $1 AND transaction_id = $2 AND expires_at > $3 ORDER BY id DESC LIMIT 16") \
	X(REQUEST_GET, "t", REQUEST_TYPES, ANY, READ, "SELECT " REQUEST_COLUMNS " FROM scep_request WHERE id = $1") \
	X(REQUEST_LIST, "ti", REQUEST_TYPES, ANY, READ, "SELECT " REQUEST_COLUMNS " FROM scep_request WHERE id > $1 ORDER BY id LIMIT $2") \
	X(REQUEST_DECIDE, "ttti", "", ONE, WRITE, \
	  "UPDATE scep_request SET state = $2, reason = $3, decided_at = $4, version = version + 1 WHERE id = $1 AND state = 'pending'") \
	/* A row that was reserved for it and never filled does not use an approval up. */ \
	X(REQUEST_ISSUED, "tt", "", ONE, WRITE, \
	  "UPDATE scep_request SET state = 'issued', serial = $2, version = version + 1 WHERE id = $1 AND (state = 'approved'" \
	  " OR (state = 'issued' AND EXISTS (SELECT 1 FROM certificate c WHERE c.serial = scep_request.serial AND c.state = 0)))") \
	X(REQUEST_PENDING_COUNT, "ti", "i", ANY, READ, "SELECT count(*) FROM scep_request WHERE state = 'pending' AND profile = $1 AND expires_at > $2") \
	X(REQUEST_PURGE, "ii", "", ANY, WRITE, \
	  "WITH old AS (SELECT r.id FROM scep_request r WHERE r.expires_at < $1 LIMIT $2 /*skip_locked*/) DELETE FROM scep_request WHERE id IN (SELECT id FROM old)") \
	/* the audit log */ \
	X(AUDIT_ADD, "titttt", "", ONE, WRITE, "INSERT INTO audit_pending (id, at, actor, action, object, detail) VALUES ($1, $2, $3, $4, $5, $6)") \
	X(AUDIT_PENDING, "i", "titttt", ANY, READ, "SELECT id, at, actor, action, object, detail FROM audit_pending ORDER BY id LIMIT $1") \
	X(AUDIT_LAST, "", "ib", ANY, READ, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1") \
	X(AUDIT_CHAIN, "itittttb", "", ONE, WRITE, "INSERT INTO audit (seq, id, at, actor, action, object, detail, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)") \
	X(AUDIT_TAKE, "t", "", ONE, WRITE, "DELETE FROM audit_pending WHERE id = $1") \
	X(AUDIT_LIST, "ii", AUDIT_TYPES, ANY, READ, "SELECT " AUDIT_COLUMNS " FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2") \
	X(AUDIT_OF, "tii", AUDIT_TYPES, ANY, READ, "SELECT " AUDIT_COLUMNS " FROM audit WHERE object = $1 AND seq > $2 ORDER BY seq LIMIT $3") \
	X(AUDIT_BEFORE, "ii", AUDIT_TYPES, ANY, READ, "SELECT " AUDIT_COLUMNS " FROM audit WHERE seq < $1 ORDER BY seq DESC LIMIT $2") \
	/* the device path */ \
	/* With the version of the CAs: who proves a device's identity by an older state looks again. */ \
	X(FACTS_CERTIFICATE, "b", "titititiititti", ANY, READ, \
	  "SELECT serial, state, enrollment_id, epoch, link_id, may_enroll, generation_id, not_before, not_after, for_enrollment_id, for_epoch, device_id, ota_link_id," \
	  " coalesce((SELECT v.version FROM shared_version v WHERE v.name = 'ca'), 0) FROM certificate WHERE sha256 = $1") \
	/* Where a device or user is found. */ \
	X(CHANNEL_FIND, "tt", "t", ANY, READ, "SELECT enrollment_id FROM channel WHERE device_id = $1 AND user_part = $2") \
	X(CHANNEL_ADD, "ttt", "", ONE, WRITE, "INSERT INTO channel (device_id, user_part, enrollment_id) VALUES ($1, $2, $3)") \
	/* With the generation of the push that waits for it: read before its commands, so that what is asked for since then is not taken for done. */ \
	X(FACTS_ENROLLMENT, "ttt", "tiiiiittitt", ANY, READ, \
	  "SELECT e.id, e.state, e.version, e.active_epoch, e.pending_epoch, e.last_epoch, a.topic, p.topic, e.kind, e.product_name, o.generation FROM enrollment e" \
	  " LEFT JOIN push_outbox o ON o.enrollment_id = e.id" \
	  " LEFT JOIN epoch a ON a.enrollment_id = e.id AND a.epoch = e.active_epoch LEFT JOIN epoch p ON p.enrollment_id = e.id AND p.epoch = e.pending_epoch" \
	  " WHERE e.id = $1 AND e.device_id = $2 AND e.user_part = $3") \
	X(ENROLLMENT_CREATE, "ttiiitttttttttt", "", ONE, WRITE, \
	  "INSERT INTO enrollment (id, device_id, user_part, kind, state, version, active_epoch, pending_epoch, last_epoch, created_at, authenticated_at, enrolled_at, ended_at, last_seen, owner, " DEVICE_FACTS ")" \
	  " VALUES ($1, $2, '', $3, 0, 1, 0, $4, $4, $5, $5, 0, 0, $5, (SELECT l.user_name FROM link l WHERE l.id = $6), $7, $8, $9, $10, $11, $12, $13, $14, $15)") \
	X(ENROLLMENT_NEW_EPOCH, "tiiiiii", "", ONE, WRITE, \
	  "UPDATE enrollment SET version = version + 1, pending_epoch = $3, last_epoch = $3, active_epoch = $4, state = $5, authenticated_at = $6, last_seen = $7, ended_at = 0" \
	  " WHERE id = $1 AND version = $2") \
	/* What the device said of itself when it authenticated in this epoch becomes the enrollment's, and who the link was for its owner. */ \
	X(ENROLLMENT_FACTS, "tti", "", ONE, WRITE, "UPDATE enrollment SET " DEVICE_FACTS_OF_EPOCH " WHERE id = $1") \
	X(EPOCH_FACTS, "tittttttttt", "", ONE, WRITE, \
	  "UPDATE epoch SET serial = $3, product_name = $4, model = $5, model_name = $6, device_name = $7, os_version = $8, build_version = $9, imei = $10, meid = $11" \
	  " WHERE enrollment_id = $1 AND epoch = $2") \
	X(ENROLLMENT_ACTIVATE, "ttiii", "", ONE, WRITE, \
	  "UPDATE enrollment SET version = version + 1, active_epoch = $3, pending_epoch = 0, state = 1, enrolled_at = $5, last_seen = $5, ended_at = 0, " DEVICE_FACTS_OF_EPOCH \
	  " WHERE id = $1 AND version = $4") \
	X(ENROLLMENT_TOUCH, "tii", "", ONE, WRITE, "UPDATE enrollment SET version = version + 1, last_seen = $3 WHERE id = $1 AND version = $2") \
	X(ENROLLMENT_END, "tii", "", ONE, WRITE, \
	  "UPDATE enrollment SET version = version + 1, active_epoch = 0, pending_epoch = 0, state = 2, ended_at = $3, last_seen = $3 WHERE id = $1 AND version = $2") \
	X(ENROLLMENT_DROP_PENDING, "tii", "", ONE, WRITE, \
	  "UPDATE enrollment SET version = version + 1, pending_epoch = 0, last_seen = $3 WHERE id = $1 AND version = $2") \
	X(ENROLLMENT_END_USERS, "tii", "", ANY, WRITE, \
	  "UPDATE enrollment SET version = version + 1, active_epoch = 0, state = 2, ended_at = $3 WHERE parent_id = $1 AND active_epoch <> $2 AND state <> 2") \
	X(USER_END, "tii", "", ANY, WRITE, \
	  "UPDATE enrollment SET version = version + 1, active_epoch = 0, state = 2, ended_at = $3 WHERE id = $1 AND active_epoch = $2") \
	X(USER_PUT, "ttttiitti", "", ANY, WRITE, \
	  "INSERT INTO enrollment (id, device_id, user_part, parent_id, kind, state, version, active_epoch, pending_epoch, last_epoch, user_short_name, user_long_name," \
	  " created_at, authenticated_at, enrolled_at, ended_at, last_seen) VALUES ($1, $2, $3, $4, $5, 1, 1, $6, 0, $6, $7, $8, $9, $9, $9, 0, $9)" \
	  " ON CONFLICT (id) DO UPDATE SET version = enrollment.version + 1, state = 1, active_epoch = excluded.active_epoch, last_epoch = excluded.last_epoch," \
	  " user_short_name = excluded.user_short_name, user_long_name = excluded.user_long_name, ended_at = 0, last_seen = excluded.last_seen") \
	X(EPOCH_ADD, "tittitttttttttt", "", ONE, WRITE, \
	  "INSERT INTO epoch (enrollment_id, epoch, certificate_serial, topic, push_dead_at, awaiting_configuration, authenticated_at, token_at, ended_at, link_id, anchor, renew_at, " DEVICE_FACTS ")" \
	  " VALUES ($1, $2, $3, $4, 0, 0, $5, 0, 0, $6, coalesce((SELECT l.anchor FROM link l WHERE l.id = $6), 0)," \
	  " CASE WHEN $6 IS NULL THEN 0 ELSE coalesce((SELECT " RENEW_AT " FROM certificate c WHERE c.serial = $3), 0) END, $7, $8, $9, $10, $11, $12, $13, $14, $15)") \
	X(EPOCH_TOKEN, "tibtibii", "", ONE, WRITE, \
	  "UPDATE epoch SET push_token = $3, push_magic = $4, push_dead_at = 0, token_at = $5, unlock_token = coalesce($6, unlock_token)," \
	  " awaiting_configuration = CASE $7 WHEN 1 THEN $8 ELSE awaiting_configuration END WHERE enrollment_id = $1 AND epoch = $2") \
	X(EPOCH_USER_TOKEN, "titbtiiiii", "", ANY, WRITE, \
	  "INSERT INTO epoch (enrollment_id, epoch, topic, push_token, push_magic, push_dead_at, awaiting_configuration, not_on_console, authenticated_at, token_at, ended_at)" \
	  " VALUES ($1, $2, $3, $4, $5, 0, $7, $9, $10, $10, 0) ON CONFLICT (enrollment_id, epoch) DO UPDATE SET push_token = excluded.push_token," \
	  " push_magic = excluded.push_magic, push_dead_at = 0, token_at = excluded.token_at, ended_at = 0," \
	  " awaiting_configuration = CASE $6 WHEN 1 THEN $7 ELSE epoch.awaiting_configuration END, not_on_console = CASE $8 WHEN 1 THEN $9 ELSE epoch.not_on_console END") \
	X(EPOCH_END, "tiit", "", ANY, WRITE, "UPDATE epoch SET ended_at = $3, ended_reason = $4, renew_at = 0 WHERE enrollment_id = $1 AND epoch = $2 AND ended_at = 0") \
	X(EPOCH_BOOTSTRAP_SET, "tib", "", ONE, WRITE, "UPDATE epoch SET bootstrap_token = $3 WHERE enrollment_id = $1 AND epoch = $2") \
	X(EPOCH_BOOTSTRAP_GET, "ti", "b", ANY, READ, "SELECT bootstrap_token FROM epoch WHERE enrollment_id = $1 AND epoch = $2") \
	X(LAST_SEEN, "ti", "", ANY, WRITE, "UPDATE enrollment SET last_seen = $2 WHERE id = $1 AND last_seen < $2") \
	X(EVENT_ADD, "ttitt", "", ONE, WRITE, "INSERT INTO event (enrollment_id, id, at, kind, detail) VALUES ($1, $2, $3, $4, $5)") \
	/* What a device can cause without end must not grow without end. */ \
	X(EVENT_TRIM, "t", "", ANY, WRITE, \
	  "DELETE FROM event WHERE enrollment_id = $1 AND id <= (SELECT o.id FROM event o WHERE o.enrollment_id = $1 ORDER BY o.id DESC LIMIT 1 OFFSET 500)") \
	/* With what was before the enrollment, under the ids of the links that it came of. */ \
	X(EVENT_LIST, "tti", "tittii", ANY, READ, \
	  "SELECT id, at, kind, detail, n, last_at FROM event WHERE (enrollment_id = $1 OR enrollment_id IN (SELECT p.link_id FROM epoch p WHERE p.enrollment_id = $1 AND p.link_id IS NOT NULL))" \
	  " AND id > $2 ORDER BY id LIMIT $3") \
	/* admin */ \
	X(ENROLLMENT_LIST, "ti", ENROLLMENT_TYPES, ANY, READ, "SELECT " ENROLLMENT_COLUMNS " FROM enrollment WHERE id > $1 ORDER BY id LIMIT $2") \
	X(ENROLLMENT_GET, "t", ENROLLMENT_TYPES, ANY, READ, "SELECT " ENROLLMENT_COLUMNS " FROM enrollment WHERE id = $1") \
	X(ENROLLMENT_BY_DEVICE, "t", ENROLLMENT_TYPES, ANY, READ, "SELECT " ENROLLMENT_COLUMNS " FROM enrollment WHERE device_id = $1 AND user_part = ''") \
	X(EPOCH_GET, "ti", "ttiiiiiit", ANY, READ, \
	  "SELECT certificate_serial, topic, push_dead_at, awaiting_configuration, token_at, cast(CASE WHEN unlock_token IS NULL THEN 0 ELSE 1 END as bigint), cast(CASE WHEN bootstrap_token IS NULL THEN 0 ELSE 1 END as bigint), not_on_console, provenance FROM epoch WHERE enrollment_id = $1 AND epoch = $2") \
	X(PING, "", "i", ANY, READ, "SELECT cast(1 as bigint)")

enum store_statement {
#define X(name, params, results, expect, mode, sql) Q_##name,
	STORE_STATEMENTS(X)
#undef X
	Q_MAX
};

extern const struct db_statement store_statements[Q_MAX];
extern const struct db_migration store_migrations_sqlite[];
extern const struct db_migration store_migrations_postgres[];
extern const unsigned store_n_migrations;
