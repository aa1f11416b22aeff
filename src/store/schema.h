/* The schema, one text for both engines: TEXT, INT and BLOB are the engine's words for the three types, END closes a table.
 *
 * Times are Unix milliseconds, 0 or NULL for never. Ids are made by the caller. Everything of an enrollment begins its
 * primary key with the enrollment's id, so that an engine which shards by key can place it. Sealed columns hold envelopes
 * whose associated data is "table/row/column". Pending work and history are separate tables. */
#pragma once

#define STORE_SCHEMA_1(TEXT, INT, BLOB, END) \
	/* One row of each name: public URL, organization, … as made by init. */ \
	"CREATE TABLE setting (name " TEXT " NOT NULL PRIMARY KEY, value " TEXT " NOT NULL" END \
	/* Certificates and keys of this server. role: root, issuing, signer, tls. state: active, retired. */ \
	"CREATE TABLE authority (id " TEXT " NOT NULL PRIMARY KEY, role " TEXT " NOT NULL, state " TEXT " NOT NULL, certificate " BLOB " NOT NULL," \
	" key " BLOB ", not_before " INT " NOT NULL, not_after " INT " NOT NULL, created_at " INT " NOT NULL" END \
	"CREATE TABLE link (id " TEXT " NOT NULL PRIMARY KEY, token_hash " BLOB " NOT NULL UNIQUE, user_name " TEXT ", device_name " TEXT "," \
	" created_at " INT " NOT NULL, expires_at " INT " NOT NULL, consumed_at " INT " NOT NULL, revoked_at " INT " NOT NULL, enrollment_id " TEXT END \
	"CREATE TABLE challenge (id " TEXT " NOT NULL PRIMARY KEY, secret_hash " BLOB " NOT NULL UNIQUE, secret " BLOB ", link_id " TEXT "," \
	" common_name " TEXT " NOT NULL, max_keys " INT " NOT NULL, may_enroll " INT " NOT NULL, version " INT " NOT NULL, created_at " INT " NOT NULL," \
	" expires_at " INT " NOT NULL, closed_at " INT " NOT NULL, revoked_at " INT " NOT NULL" END \
	"CREATE INDEX challenge_link ON challenge (link_id);" \
	/* state: 0 reserved (the row is durable before the signature is made), 1 issued, 2 revoked. */ \
	"CREATE TABLE certificate (serial " TEXT " NOT NULL PRIMARY KEY, authority_id " TEXT " NOT NULL, sha256 " BLOB " UNIQUE, spki_sha256 " BLOB " NOT NULL," \
	" subject " TEXT " NOT NULL, not_before " INT " NOT NULL, not_after " INT " NOT NULL, der " BLOB ", state " INT " NOT NULL," \
	" link_id " TEXT ", challenge_id " TEXT ", transaction_id " TEXT ", may_enroll " INT " NOT NULL, enrollment_id " TEXT ", epoch " INT " NOT NULL," \
	" issued_at " INT " NOT NULL, bound_at " INT " NOT NULL, revoked_at " INT " NOT NULL, revoked_reason " TEXT END \
	"CREATE INDEX certificate_challenge ON certificate (challenge_id);" \
	"CREATE INDEX certificate_link ON certificate (link_id);" \
	"CREATE INDEX certificate_enrollment ON certificate (enrollment_id, epoch);" \
	/* kind, state: see core/checkin.h. version is raised by all that changes a fact of the rules, not by last_seen. */ \
	"CREATE TABLE enrollment (id " TEXT " NOT NULL PRIMARY KEY, device_id " TEXT " NOT NULL, user_part " TEXT " NOT NULL, parent_id " TEXT "," \
	" kind " INT " NOT NULL, state " INT " NOT NULL, version " INT " NOT NULL, active_epoch " INT " NOT NULL, pending_epoch " INT " NOT NULL," \
	" last_epoch " INT " NOT NULL, serial " TEXT ", product_name " TEXT ", model " TEXT ", model_name " TEXT ", device_name " TEXT "," \
	" os_version " TEXT ", build_version " TEXT ", imei " TEXT ", meid " TEXT ", user_short_name " TEXT ", user_long_name " TEXT "," \
	" owner " TEXT ", created_at " INT " NOT NULL, authenticated_at " INT " NOT NULL, enrolled_at " INT " NOT NULL, ended_at " INT " NOT NULL," \
	" last_seen " INT " NOT NULL, UNIQUE (device_id, user_part)" END \
	"CREATE INDEX enrollment_parent ON enrollment (parent_id);" \
	"CREATE TABLE epoch (enrollment_id " TEXT " NOT NULL, epoch " INT " NOT NULL, certificate_serial " TEXT ", topic " TEXT " NOT NULL," \
	" push_token " BLOB ", push_magic " TEXT ", push_dead_at " INT " NOT NULL, unlock_token " BLOB ", bootstrap_token " BLOB "," \
	" awaiting_configuration " INT " NOT NULL, authenticated_at " INT " NOT NULL, token_at " INT " NOT NULL, ended_at " INT " NOT NULL," \
	" ended_reason " TEXT ", serial " TEXT ", product_name " TEXT ", model " TEXT ", model_name " TEXT ", device_name " TEXT "," \
	" os_version " TEXT ", build_version " TEXT ", imei " TEXT ", meid " TEXT ", PRIMARY KEY (enrollment_id, epoch)" END \
	"CREATE TABLE command (enrollment_id " TEXT " NOT NULL, seq " TEXT " NOT NULL, uuid " TEXT " NOT NULL, epoch " INT " NOT NULL," \
	" request_type " TEXT " NOT NULL, body " BLOB " NOT NULL, created_at " INT " NOT NULL, not_now_at " INT " NOT NULL, n_not_now " INT " NOT NULL," \
	" PRIMARY KEY (enrollment_id, seq)" END \
	"CREATE UNIQUE INDEX command_uuid ON command (uuid);" \
	/* status: the report's, or Canceled, or Cleared (its epoch ended). request and result are zlib streams when packed is 1. */ \
	"CREATE TABLE command_done (enrollment_id " TEXT " NOT NULL, uuid " TEXT " NOT NULL, seq " TEXT " NOT NULL, epoch " INT " NOT NULL," \
	" request_type " TEXT " NOT NULL, created_at " INT " NOT NULL, finished_at " INT " NOT NULL, status " TEXT " NOT NULL, packed " INT " NOT NULL," \
	" result " BLOB ", PRIMARY KEY (enrollment_id, uuid)" END \
	"CREATE INDEX command_done_uuid ON command_done (uuid);" \
	/* One waiting push for each enrollment. generation tells a push that was asked for again while it was being sent. */ \
	"CREATE TABLE push_outbox (enrollment_id " TEXT " NOT NULL PRIMARY KEY, due_at " INT " NOT NULL, attempts " INT " NOT NULL," \
	" generation " TEXT " NOT NULL, created_at " INT " NOT NULL" END \
	"CREATE INDEX push_outbox_due ON push_outbox (due_at);" \
	"CREATE TABLE push_certificate (topic " TEXT " NOT NULL PRIMARY KEY, certificate " BLOB " NOT NULL, key " BLOB " NOT NULL," \
	" not_before " INT " NOT NULL, not_after " INT " NOT NULL, imported_at " INT " NOT NULL, version " INT " NOT NULL" END \
	"CREATE TABLE api_token (id " TEXT " NOT NULL PRIMARY KEY, name " TEXT " NOT NULL, hash " BLOB " NOT NULL UNIQUE, created_at " INT " NOT NULL," \
	" revoked_at " INT " NOT NULL" END \
	/* An enrollment's timeline. */ \
	"CREATE TABLE event (enrollment_id " TEXT " NOT NULL, id " TEXT " NOT NULL, at " INT " NOT NULL, kind " TEXT " NOT NULL, detail " TEXT "," \
	" PRIMARY KEY (enrollment_id, id)" END

/* Generations of certificate authorities, SCEP profiles and requests, CRLs, the audit chain. */
#define STORE_SCHEMA_2(TEXT, INT, BLOB, END) \
	/* A CA's key and its certificates: "NAME-NUMBER". state: requested (its CSR is out), next, active, retiring, retired. */ \
	"CREATE TABLE ca_generation (id " TEXT " NOT NULL PRIMARY KEY, ca " TEXT " NOT NULL, number " INT " NOT NULL, state " TEXT " NOT NULL," \
	" source " TEXT " NOT NULL, version " INT " NOT NULL, created_at " INT " NOT NULL, activated_at " INT " NOT NULL, retiring_at " INT " NOT NULL," \
	" retired_at " INT " NOT NULL, UNIQUE (ca, number)" END \
	/* role also: chain (between issuing and root), ra, ocsp. state also: superseded (renewed with the same key). key_uri: the key is in a
	 * PKCS#11 token, and key holds its sealed PIN. */ \
	"ALTER TABLE authority ADD COLUMN generation_id " TEXT ";" \
	"ALTER TABLE authority ADD COLUMN key_uri " TEXT ";" \
	"INSERT INTO ca_generation (id, ca, number, state, source, version, created_at, activated_at, retiring_at, retired_at)" \
	" SELECT 'default-1', 'default', 1, 'active', 'own', 1, min(created_at), min(created_at), 0, 0 FROM authority WHERE role = 'issuing' HAVING count(*) > 0;" \
	"UPDATE authority SET generation_id = 'default-1';" \
	/* record: JSON of the names that a certificate has or shall have. for_…: the enrollment that it will renew the identity of. */ \
	"ALTER TABLE certificate ADD COLUMN generation_id " TEXT " NOT NULL DEFAULT 'default-1';" \
	"ALTER TABLE certificate ADD COLUMN profile " TEXT ";" \
	"ALTER TABLE certificate ADD COLUMN record " TEXT ";" \
	"ALTER TABLE certificate ADD COLUMN device_id " TEXT ";" \
	"ALTER TABLE certificate ADD COLUMN for_enrollment_id " TEXT ";" \
	"ALTER TABLE certificate ADD COLUMN for_epoch " INT " NOT NULL DEFAULT 0;" \
	"ALTER TABLE certificate ADD COLUMN renews_serial " TEXT ";" \
	"ALTER TABLE certificate ADD COLUMN renewed_at " INT " NOT NULL DEFAULT 0;" \
	"ALTER TABLE certificate ADD COLUMN superseded_at " INT " NOT NULL DEFAULT 0;" \
	"CREATE INDEX certificate_renews ON certificate (renews_serial);" \
	"CREATE INDEX certificate_revoked ON certificate (generation_id, revoked_at);" \
	"CREATE INDEX certificate_spki ON certificate (spki_sha256);" \
	"CREATE INDEX certificate_superseded ON certificate (superseded_at);" \
	"ALTER TABLE challenge ADD COLUMN profile " TEXT " NOT NULL DEFAULT 'default';" \
	"ALTER TABLE challenge ADD COLUMN record " TEXT ";" \
	"ALTER TABLE challenge ADD COLUMN device_id " TEXT ";" \
	"ALTER TABLE challenge ADD COLUMN key_type " TEXT ";" \
	"ALTER TABLE challenge ADD COLUMN for_enrollment_id " TEXT ";" \
	"ALTER TABLE challenge ADD COLUMN for_epoch " INT " NOT NULL DEFAULT 0;" \
	"CREATE INDEX challenge_name ON challenge (common_name);" \
	/* What the profile of a link says for good, and the newest root that was in it. */ \
	"ALTER TABLE link ADD COLUMN served " TEXT ";" \
	"ALTER TABLE link ADD COLUMN anchor " INT " NOT NULL DEFAULT 1;" \
	"ALTER TABLE epoch ADD COLUMN anchor " INT " NOT NULL DEFAULT 1;" \
	"ALTER TABLE epoch ADD COLUMN link_id " TEXT ";" \
	/* Without its link an enrollment's profile could not be said again, and its identity never be renewed. */ \
	"UPDATE epoch SET link_id = (SELECT c.link_id FROM certificate c WHERE c.serial = epoch.certificate_serial);" \
	"ALTER TABLE epoch ADD COLUMN renewal_at " INT " NOT NULL DEFAULT 0;" \
	/* note: what the server itself wants with a command (core/renewal.h); NULL for those of people. */ \
	"ALTER TABLE command ADD COLUMN note " TEXT ";" \
	"CREATE TABLE scep_profile (name " TEXT " NOT NULL PRIMARY KEY, settings " TEXT " NOT NULL, secret " BLOB ", version " INT " NOT NULL, updated_at " INT " NOT NULL" END \
	"CREATE TABLE outside_ca (name " TEXT " NOT NULL PRIMARY KEY, settings " TEXT " NOT NULL, secret " BLOB ", certificates " BLOB ", version " INT " NOT NULL, updated_at " INT " NOT NULL" END \
	/* Requests that wait for approval. state: pending, approved, denied, issued. */ \
	"CREATE TABLE scep_request (id " TEXT " NOT NULL PRIMARY KEY, profile " TEXT " NOT NULL, transaction_id " TEXT " NOT NULL, spki_sha256 " BLOB " NOT NULL," \
	" signer_spki_sha256 " BLOB " NOT NULL, challenge_id " TEXT ", renews_serial " TEXT ", subject " TEXT ", csr " BLOB " NOT NULL, peer " TEXT ", state " TEXT " NOT NULL," \
	" serial " TEXT ", reason " TEXT ", version " INT " NOT NULL, created_at " INT " NOT NULL, decided_at " INT " NOT NULL, expires_at " INT " NOT NULL" END \
	"CREATE INDEX scep_request_key ON scep_request (spki_sha256, profile);" \
	"CREATE INDEX scep_request_transaction ON scep_request (transaction_id);" \
	"CREATE INDEX scep_request_state ON scep_request (state, id);" \
	"CREATE TABLE crl (generation_id " TEXT " NOT NULL PRIMARY KEY, number " INT " NOT NULL, der " BLOB " NOT NULL, this_update " INT " NOT NULL, next_update " INT " NOT NULL" END \
	/* Written with what they tell of; then taken into the chain, in order, and never touched again. */ \
	"CREATE TABLE audit_pending (id " TEXT " NOT NULL PRIMARY KEY, at " INT " NOT NULL, actor " TEXT " NOT NULL, action " TEXT " NOT NULL, object " TEXT " NOT NULL, detail " TEXT END \
	"CREATE TABLE audit (seq " INT " NOT NULL PRIMARY KEY, id " TEXT " NOT NULL UNIQUE, at " INT " NOT NULL, actor " TEXT " NOT NULL, action " TEXT " NOT NULL," \
	" object " TEXT " NOT NULL, detail " TEXT ", hash " BLOB " NOT NULL" END \
	"CREATE INDEX audit_object ON audit (object, seq);"

/* Over-the-air enrollment and watches. */
#define STORE_SCHEMA_3_OTA(TEXT, INT, BLOB, END) \
	/* Whom a link is for, besides the name. */ \
	"ALTER TABLE link ADD COLUMN user_email " TEXT ";" \
	/* The link whose final profile a transport identity fetches: it enrolls nothing itself, so its link_id is NULL. */ \
	"ALTER TABLE challenge ADD COLUMN ota_link_id " TEXT ";" \
	"ALTER TABLE certificate ADD COLUMN ota_link_id " TEXT ";" \
	"CREATE INDEX challenge_ota_link ON challenge (ota_link_id);" \
	"CREATE INDEX certificate_ota_link ON certificate (ota_link_id);" \
	/* The device that was first to answer the Profile Service of a link. attributes: what it said, as JSON. */ \
	"CREATE TABLE ota (link_id " TEXT " NOT NULL PRIMARY KEY, udid " TEXT ", serial " TEXT ", factory_spki_sha256 " BLOB " NOT NULL, factory_ca " TEXT " NOT NULL," \
	" attributes " TEXT " NOT NULL, version " INT " NOT NULL, n_identities " INT " NOT NULL, bound_at " INT " NOT NULL, answered_at " INT " NOT NULL, served_at " INT " NOT NULL" END \
	/* Issuers of factory identities, besides those that are built in. */ \
	"CREATE TABLE device_ca (id " TEXT " NOT NULL PRIMARY KEY, name " TEXT " NOT NULL, certificate " BLOB " NOT NULL, spki_sha256 " BLOB " NOT NULL UNIQUE," \
	" not_after " INT " NOT NULL, created_at " INT " NOT NULL" END \
	/* A watch that asked to be enrolled: what it was told to have its phone fetch a token for, and what came of it. Only hashes of both secrets. */ \
	"CREATE TABLE watch_pairing (id " TEXT " NOT NULL PRIMARY KEY, security_hash " BLOB " NOT NULL UNIQUE, udid " TEXT " NOT NULL, serial " TEXT ", product " TEXT "," \
	" factory_spki_sha256 " BLOB " NOT NULL, created_at " INT " NOT NULL, expires_at " INT " NOT NULL, phone_id " TEXT ", nonce_hash " BLOB "," \
	" granted_at " INT " NOT NULL, token_expires_at " INT " NOT NULL, used_at " INT " NOT NULL, link_id " TEXT END \
	"CREATE INDEX watch_pairing_factory ON watch_pairing (factory_spki_sha256, granted_at);" \
	"CREATE INDEX watch_pairing_expires ON watch_pairing (expires_at);"

/* The library of profiles, groups, attributes and facts of devices. */
#define STORE_SCHEMA_3_LIBRARY(TEXT, INT, BLOB, END) \
	/* What a device reported of itself, as JSON. */ \
	"CREATE TABLE fact (enrollment_id " TEXT " NOT NULL, name " TEXT " NOT NULL, value " TEXT " NOT NULL, learnt_at " INT " NOT NULL," \
	" PRIMARY KEY (enrollment_id, name)" END \
	/* What administrators say of a device: sealed as "attribute/<enrollment id>.<name>/value", because it may be a password. */ \
	"CREATE TABLE attribute (enrollment_id " TEXT " NOT NULL, name " TEXT " NOT NULL, value " BLOB " NOT NULL, updated_at " INT " NOT NULL, PRIMARY KEY (enrollment_id, name)" END \
	/* removing_at: devices are taking it off, then the row goes. */ \
	"CREATE TABLE profile (name " TEXT " NOT NULL PRIMARY KEY, identifier " TEXT " NOT NULL UNIQUE, newest " INT " NOT NULL, removing_at " INT " NOT NULL," \
	" created_at " INT " NOT NULL, updated_at " INT " NOT NULL" END \
	/* body: as uploaded; content: what was encrypted in it. Sealed as "profile_version/<profile>.<number>/…". secret: key path of the first secret in it. */ \
	"CREATE TABLE profile_version (profile " TEXT " NOT NULL, number " INT " NOT NULL, sha256 " BLOB " NOT NULL, body " BLOB " NOT NULL, content " BLOB ", size " INT " NOT NULL," \
	" is_signed " INT " NOT NULL, sign " TEXT " NOT NULL, encrypt " TEXT " NOT NULL, variables " TEXT " NOT NULL, substitute " INT " NOT NULL, secret " TEXT ", uuid " TEXT " NOT NULL," \
	" display_name " TEXT ", actor " TEXT " NOT NULL, created_at " INT " NOT NULL, PRIMARY KEY (profile, number)" END \
	"CREATE TABLE device_group (name " TEXT " NOT NULL PRIMARY KEY, created_at " INT " NOT NULL" END \
	"CREATE TABLE group_member (group_name " TEXT " NOT NULL, enrollment_id " TEXT " NOT NULL, added_at " INT " NOT NULL, PRIMARY KEY (group_name, enrollment_id)" END \
	"CREATE INDEX group_member_enrollment ON group_member (enrollment_id);" \
	/* kind: device (target: enrollment id), group (target: name). */ \
	"CREATE TABLE profile_assignment (profile " TEXT " NOT NULL, kind " TEXT " NOT NULL, target " TEXT " NOT NULL, created_at " INT " NOT NULL, PRIMARY KEY (profile, kind, target)" END \
	"CREATE INDEX profile_assignment_target ON profile_assignment (kind, target);" \
	/* A profile on a device: states in core/library.h. number, uuid: of what was sent last. version: for compare-and-set. */ \
	"CREATE TABLE profile_state (enrollment_id " TEXT " NOT NULL, profile " TEXT " NOT NULL, epoch " INT " NOT NULL, state " TEXT " NOT NULL, number " INT " NOT NULL, uuid " TEXT "," \
	" present " INT " NOT NULL, command_uuid " TEXT ", reason " TEXT ", queued_at " INT " NOT NULL, deadline_at " INT " NOT NULL, changed_at " INT " NOT NULL, version " INT " NOT NULL," \
	" PRIMARY KEY (enrollment_id, profile)" END \
	"CREATE INDEX profile_state_profile ON profile_state (profile, enrollment_id);" \
	"CREATE INDEX profile_state_deadline ON profile_state (deadline_at);" \
	/* Devices to be looked at: all of a profile, in order of id after after_id, or one. Written with the change that calls for it. */ \
	"CREATE TABLE profile_work (id " TEXT " NOT NULL PRIMARY KEY, profile " TEXT ", enrollment_id " TEXT ", after_id " TEXT " NOT NULL, n_done " INT " NOT NULL, created_at " INT " NOT NULL" END \
	"CREATE INDEX profile_work_profile ON profile_work (profile);"

#define STORE_SCHEMA_3(TEXT, INT, BLOB, END) STORE_SCHEMA_3_OTA(TEXT, INT, BLOB, END) STORE_SCHEMA_3_LIBRARY(TEXT, INT, BLOB, END)

/* The queue and what is asked about commands. */
#define STORE_SCHEMA_4_COMMAND(TEXT, INT, BLOB, END) \
	/* expires_at: never delivered from then on; 0: never. fold: HMAC of what is asked, by which identical commands are found. delivered_at, n_delivered: last and how often. is_out: the device has it
	 * and has not said anything yet. sealed: body is an envelope. */ \
	"ALTER TABLE command ADD COLUMN expires_at " INT " NOT NULL DEFAULT 0;" \
	"ALTER TABLE command ADD COLUMN fold " BLOB ";" \
	"ALTER TABLE command ADD COLUMN delivered_at " INT " NOT NULL DEFAULT 0;" \
	"ALTER TABLE command ADD COLUMN n_delivered " INT " NOT NULL DEFAULT 0;" \
	"ALTER TABLE command ADD COLUMN is_out " INT " NOT NULL DEFAULT 0;" \
	"ALTER TABLE command ADD COLUMN sealed " INT " NOT NULL DEFAULT 0;" \
	"CREATE INDEX command_expires ON command (expires_at) WHERE expires_at > 0;" \
	/* status also: Expired. sealed: result is an envelope. */ \
	"ALTER TABLE command_done ADD COLUMN delivered_at " INT " NOT NULL DEFAULT 0;" \
	"ALTER TABLE command_done ADD COLUMN n_delivered " INT " NOT NULL DEFAULT 0;" \
	"ALTER TABLE command_done ADD COLUMN n_not_now " INT " NOT NULL DEFAULT 0;" \
	"ALTER TABLE command_done ADD COLUMN sealed " INT " NOT NULL DEFAULT 0;" \
	/* Whoever has the token may read secrets in commands and answers. */ \
	"ALTER TABLE api_token ADD COLUMN secrets " INT " NOT NULL DEFAULT 0;"

/* Orders to many devices, queries, the end of enrollments, inventory. */
#define STORE_SCHEMA_4_FLEET(TEXT, INT, BLOB, END) \
	/* Lists that a device reported, as JSON: its apps, profiles, certificates … n_cut: entries that were left out, because there were too many. */ \
	"CREATE TABLE fact_list (enrollment_id " TEXT " NOT NULL, name " TEXT " NOT NULL, value " TEXT " NOT NULL, n_items " INT " NOT NULL, n_cut " INT " NOT NULL," \
	" learnt_at " INT " NOT NULL, PRIMARY KEY (enrollment_id, name)" END \
	/* query: who is in the group (core/query.h); NULL: those that administrators put there. Its rows of group_member follow what is known of devices. */ \
	"ALTER TABLE device_group ADD COLUMN query " TEXT ";" \
	/* Devices whose membership in groups of queries is to be looked at: one, or all for one group, in order of id after after_id. */ \
	"CREATE TABLE query_work (id " TEXT " NOT NULL PRIMARY KEY, group_name " TEXT ", enrollment_id " TEXT ", after_id " TEXT " NOT NULL" END \
	/* A command for many devices. body: the inner dictionary, sealed as "fleet_order/<id>/body". target: kind devices, group, query, all; the group's name or the query.
	 * state: sending, done, canceling, canceled. after_id: devices up to it have been looked at. */ \
	"CREATE TABLE fleet_order (id " TEXT " NOT NULL PRIMARY KEY, request_type " TEXT " NOT NULL, body " BLOB " NOT NULL, unchecked " INT " NOT NULL, kind " TEXT " NOT NULL," \
	" target " TEXT ", actor " TEXT " NOT NULL, state " TEXT " NOT NULL, after_id " TEXT " NOT NULL, n_planned " INT " NOT NULL, n_queued " INT " NOT NULL," \
	" n_skipped " INT " NOT NULL, created_at " INT " NOT NULL, sent_at " INT " NOT NULL, ended_at " INT " NOT NULL, expires_at " INT " NOT NULL" END \
	"CREATE INDEX fleet_order_state ON fleet_order (state, id);" \
	/* What became of an order on a device. command_uuid NULL: nothing yet, or skipped for the reason. */ \
	"CREATE TABLE order_device (order_id " TEXT " NOT NULL, enrollment_id " TEXT " NOT NULL, command_uuid " TEXT ", reason " TEXT ", PRIMARY KEY (order_id, enrollment_id)" END \
	"CREATE INDEX order_device_enrollment ON order_device (enrollment_id);" \
	/* Devices that may not speak or enroll, by what they call themselves and by serial number. unenroll: they are told to un-enroll. */ \
	"CREATE TABLE device_block (device_id " TEXT " NOT NULL PRIMARY KEY, serial " TEXT ", reason " TEXT ", unenroll " INT " NOT NULL, actor " TEXT " NOT NULL, created_at " INT " NOT NULL" END \
	"CREATE INDEX device_block_serial ON device_block (serial);" \
	/* When the server asks a device again what it is. */ \
	"CREATE TABLE inventory (enrollment_id " TEXT " NOT NULL PRIMARY KEY, due_at " INT " NOT NULL" END \
	"CREATE INDEX inventory_due ON inventory (due_at);" \
	"INSERT INTO inventory (enrollment_id, due_at) SELECT e.id, 0 FROM enrollment e WHERE e.state = 1 AND e.user_part = '';"

/* Check-in messages and the timeline. */
#define STORE_SCHEMA_4_CHECKIN(TEXT, INT, BLOB, END) \
	/* The same again is one row: how often, and when last (0: once, at "at"). */ \
	"ALTER TABLE event ADD COLUMN n " INT " NOT NULL DEFAULT 1;" \
	"ALTER TABLE event ADD COLUMN last_at " INT " NOT NULL DEFAULT 0;" \
	"CREATE INDEX event_at ON event (at);" \
	/* Of user channels: what macOS says with NotOnConsole. provenance: how the epoch began, when not with an Authenticate: "first use". */ \
	"ALTER TABLE epoch ADD COLUMN not_on_console " INT " NOT NULL DEFAULT 0;" \
	"ALTER TABLE epoch ADD COLUMN provenance " TEXT ";" \
	/* Earlier versions wrote a time there for user channels. */ \
	"UPDATE epoch SET awaiting_configuration = 0 WHERE awaiting_configuration > 1;" \
	/* Devices of another server that were taken up by their certificate when they first came. */ \
	"CREATE TABLE first_use (enrollment_id " TEXT " NOT NULL PRIMARY KEY, at " INT " NOT NULL, message " TEXT " NOT NULL, certificate_serial " TEXT " NOT NULL," \
	" issuer " TEXT " NOT NULL, issuer_serial " TEXT " NOT NULL" END \
	/* What one device is answered that asks for ReturnToService; own 0: what the settings say, and only answered_at counts. */ \
	"CREATE TABLE return_to_service (enrollment_id " TEXT " NOT NULL PRIMARY KEY, own " INT " NOT NULL, enabled " INT " NOT NULL, wifi_profile " TEXT ", mdm_profile " INT " NOT NULL," \
	" bootstrap_token " INT " NOT NULL, updated_at " INT " NOT NULL, answered_at " INT " NOT NULL" END

/* The life of push certificates. */
#define STORE_SCHEMA_4_PUSHCERT(TEXT, INT, BLOB, END) \
	/* Who at Apple renews it; NULL: nobody said. */ \
	"ALTER TABLE push_certificate ADD COLUMN apple_account " TEXT ";" \
	/* Who signs requests of push certificates. certificate: DER, NULL while Apple has not answered the request csr. key: sealed "push_vendor/<id>/key". */ \
	"CREATE TABLE push_vendor (id " TEXT " NOT NULL PRIMARY KEY, subject " TEXT " NOT NULL, csr " BLOB ", certificate " BLOB ", key " BLOB " NOT NULL," \
	" not_before " INT " NOT NULL, not_after " INT " NOT NULL, created_at " INT " NOT NULL" END \
	/* A request that waits for its push certificate. key, encrypt_key: sealed "push_request/<id>/…". document: for Apple's portal, once it is signed.
	 * encrypt_…: what a signing service encrypts its answer to. */ \
	"CREATE TABLE push_request (id " TEXT " NOT NULL PRIMARY KEY, subject " TEXT " NOT NULL, csr " BLOB " NOT NULL, key " BLOB " NOT NULL, renews_topic " TEXT ", signed_by " TEXT "," \
	" document " BLOB ", encrypt_certificate " BLOB ", encrypt_key " BLOB ", created_at " INT " NOT NULL, signed_at " INT " NOT NULL" END \
	/* Certificates between vendor certificates and Apple's root, and the root. */ \
	"CREATE TABLE push_chain (sha256 " TEXT " NOT NULL PRIMARY KEY, certificate " BLOB " NOT NULL, created_at " INT " NOT NULL" END

/* The outbox of pushes. */
#define STORE_SCHEMA_4_PUSH(TEXT, INT, BLOB, END) \
	/* A row stays until its device has come and nothing is left for it. topic: of the epoch that takes commands ('': none), so that what cannot go out is not read over and over.
	 * waiting: APNs has the push, and due_at is when the device is pushed again; else the push is owed from due_at on. sent_at: when APNs last took one; n_sent: how many since it
	 * was asked for. urgent: 1 one command, 2 a person asks for the push; both go before a wave. */ \
	"ALTER TABLE push_outbox ADD COLUMN topic " TEXT " NOT NULL DEFAULT '';" \
	"ALTER TABLE push_outbox ADD COLUMN waiting " INT " NOT NULL DEFAULT 0;" \
	"ALTER TABLE push_outbox ADD COLUMN sent_at " INT " NOT NULL DEFAULT 0;" \
	"ALTER TABLE push_outbox ADD COLUMN n_sent " INT " NOT NULL DEFAULT 0;" \
	"ALTER TABLE push_outbox ADD COLUMN urgent " INT " NOT NULL DEFAULT 0;" \
	"UPDATE push_outbox SET topic = coalesce((SELECT p.topic FROM enrollment e JOIN epoch p ON p.enrollment_id = e.id AND p.epoch = e.active_epoch WHERE e.id = push_outbox.enrollment_id), '');" \
	"DROP INDEX push_outbox_due;" \
	"CREATE INDEX push_outbox_due ON push_outbox (topic, due_at, enrollment_id);" \
	"CREATE INDEX push_outbox_urgent ON push_outbox (topic, due_at) WHERE urgent > 0;" \
	"CREATE INDEX epoch_push_dead ON epoch (topic) WHERE push_dead_at > 0;"

/* Findings of the doctor. */
#define STORE_SCHEMA_4_DOCTOR(TEXT, INT, BLOB, END) \
	/* The last report of each target. */ \
	"CREATE TABLE doctor_report (target " TEXT " NOT NULL PRIMARY KEY, finished_at " INT " NOT NULL, report " TEXT " NOT NULL" END

/* Declarative management. */
#define STORE_SCHEMA_4_DDM(TEXT, INT, BLOB, END) \
	/* kind: core/declaration_table.h. body: canonical JSON of the payload; data: of an asset. Sealed as "declaration/<identifier>/…". profile: of the library, that it brings. */ \
	"CREATE TABLE declaration (identifier " TEXT " NOT NULL PRIMARY KEY, type " TEXT " NOT NULL, kind " INT " NOT NULL, token " TEXT " NOT NULL, body " BLOB " NOT NULL, data " BLOB "," \
	" profile " TEXT ", forced " INT " NOT NULL, version " INT " NOT NULL, created_at " INT " NOT NULL, updated_at " INT " NOT NULL" END \
	"CREATE INDEX declaration_profile ON declaration (profile);" \
	/* Other declarations that one names. */ \
	"CREATE TABLE declaration_reference (identifier " TEXT " NOT NULL, path " TEXT " NOT NULL, target " TEXT " NOT NULL, PRIMARY KEY (identifier, path)" END \
	"CREATE INDEX declaration_reference_target ON declaration_reference (target);" \
	"CREATE TABLE declaration_set (name " TEXT " NOT NULL PRIMARY KEY, created_at " INT " NOT NULL, updated_at " INT " NOT NULL" END \
	"CREATE TABLE set_member (set_name " TEXT " NOT NULL, identifier " TEXT " NOT NULL, added_at " INT " NOT NULL, PRIMARY KEY (set_name, identifier)" END \
	"CREATE INDEX set_member_identifier ON set_member (identifier);" \
	/* kind: device (target is an enrollment id), group, user (a short name). channel: device, or user: the users of these devices. */ \
	"CREATE TABLE set_assignment (set_name " TEXT " NOT NULL, kind " TEXT " NOT NULL, target " TEXT " NOT NULL, channel " TEXT " NOT NULL, created_at " INT " NOT NULL," \
	" PRIMARY KEY (set_name, kind, target, channel)" END \
	"CREATE INDEX set_assignment_target ON set_assignment (kind, target);" \
	"CREATE INDEX enrollment_short_name ON enrollment (user_short_name);" \
	/* Lists of declarations by their DeclarationsToken, as devices get them; many devices have the same. */ \
	"CREATE TABLE ddm_manifest (token " TEXT " NOT NULL PRIMARY KEY, items " BLOB " NOT NULL, created_at " INT " NOT NULL" END \
	/* told: the list that it was told last; delivered: UUID of the command that did. subscription: status items that it can be asked for, as it says, with spaces between. */ \
	"CREATE TABLE ddm_state (enrollment_id " TEXT " NOT NULL PRIMARY KEY, epoch " INT " NOT NULL, token " TEXT " NOT NULL, told " TEXT ", delivered " TEXT ", subscription " TEXT ", reason " TEXT "," \
	" changed_at " INT " NOT NULL, told_at " INT " NOT NULL, status_at " INT " NOT NULL, version " INT " NOT NULL" END \
	"CREATE INDEX ddm_state_token ON ddm_state (token);" \
	/* Devices to be looked at. kind: set, declaration, profile (what has changed: the targets follow from it), target kinds as in set_assignment, all. */ \
	"CREATE TABLE ddm_work (id " TEXT " NOT NULL PRIMARY KEY, kind " TEXT " NOT NULL, subject " TEXT " NOT NULL, channel " TEXT " NOT NULL, after_id " TEXT " NOT NULL, n_done " INT " NOT NULL," \
	" created_at " INT " NOT NULL" END \
	/* element: identifier within a list, or ''. value and reasons: JSON as reported; value NULL: the item could not be told. */ \
	"CREATE TABLE ddm_status (enrollment_id " TEXT " NOT NULL, item " TEXT " NOT NULL, element " TEXT " NOT NULL, value " TEXT ", reasons " TEXT ", learnt_at " INT " NOT NULL," \
	" PRIMARY KEY (enrollment_id, item, element)" END \
	"CREATE TABLE ddm_declared (enrollment_id " TEXT " NOT NULL, identifier " TEXT " NOT NULL, kind " INT " NOT NULL, active " INT " NOT NULL, valid " TEXT " NOT NULL, token " TEXT " NOT NULL," \
	" reasons " TEXT ", learnt_at " INT " NOT NULL, PRIMARY KEY (enrollment_id, identifier)" END \
	"CREATE INDEX ddm_declared_identifier ON ddm_declared (identifier, enrollment_id);" \
	/* What "pomona apply" has made, for its owner to take away again. */ \
	"CREATE TABLE applied (owner " TEXT " NOT NULL, kind " TEXT " NOT NULL, name " TEXT " NOT NULL, PRIMARY KEY (owner, kind, name)" END

#define STORE_SCHEMA_4(TEXT, INT, BLOB, END) \
	STORE_SCHEMA_4_COMMAND(TEXT, INT, BLOB, END) \
	STORE_SCHEMA_4_FLEET(TEXT, INT, BLOB, END) \
	STORE_SCHEMA_4_CHECKIN(TEXT, INT, BLOB, END) \
	STORE_SCHEMA_4_PUSHCERT(TEXT, INT, BLOB, END) \
	STORE_SCHEMA_4_PUSH(TEXT, INT, BLOB, END) \
	STORE_SCHEMA_4_DOCTOR(TEXT, INT, BLOB, END) \
	STORE_SCHEMA_4_DDM(TEXT, INT, BLOB, END)

/* Nodes, and who does what time alone makes due. */
#define STORE_SCHEMA_5_NODE(TEXT, INT, BLOB, END) \
	/* Processes that serve. Times by the database's clock; clock_ms: how far the node's own clock is ahead of it. trouble: why it takes no work, '' when it does. */ \
	"CREATE TABLE node (id " TEXT " NOT NULL PRIMARY KEY, name " TEXT " NOT NULL, address " TEXT " NOT NULL, version " TEXT " NOT NULL, schema_version " INT " NOT NULL, started_at " INT " NOT NULL," \
	" seen_at " INT " NOT NULL, clock_ms " INT " NOT NULL, trouble " TEXT " NOT NULL" END \
	/* Who does what one node alone may do. node: '' for none; fence: grows with each new holder. */ \
	"CREATE TABLE lease (job " TEXT " NOT NULL PRIMARY KEY, node " TEXT " NOT NULL, fence " INT " NOT NULL, expires_at " INT " NOT NULL" END

/* What nodes keep in memory, and how they learn that it has changed. */
#define STORE_SCHEMA_5_SHARED(TEXT, INT, BLOB, END) \
	/* Counts the changes of what nodes keep in memory (store/shared_store.h), each in the transaction of the change. */ \
	"CREATE TABLE shared_version (name " TEXT " NOT NULL PRIMARY KEY, version " INT " NOT NULL" END \
	"INSERT INTO shared_version (name, version) VALUES ('ca', 1), ('push_certificate', 1), ('tls', 1);" \
	/* Empty but within transactions. */ \
	"CREATE TABLE shared_lock (name " TEXT " NOT NULL PRIMARY KEY" END \
	"CREATE TABLE served_address (address " TEXT " NOT NULL PRIMARY KEY, link_id " TEXT " NOT NULL, at " INT " NOT NULL" END \
	"CREATE INDEX served_address_at ON served_address (at);" \
	/* Addresses whose SCEP requests have failed, where several nodes count them together; forgiven_at: when all of it is forgiven (service/scep_limits.c). */ \
	"CREATE TABLE scep_failure (address " TEXT " NOT NULL PRIMARY KEY, forgiven_at " INT " NOT NULL" END \
	"CREATE INDEX scep_failure_forgiven ON scep_failure (forgiven_at);" \
	/* The Idle that began the session which the command was delivered in; 0: not written, as nothing hangs on it. */ \
	"ALTER TABLE command ADD COLUMN session_at " INT " NOT NULL DEFAULT 0;"

/* The outbox of pushes, of several nodes. */
#define STORE_SCHEMA_5_PUSH(TEXT, INT, BLOB, END) \
	/* claim: the id under which a node has taken the push to send it, until claimed_until ('', 0: nobody has). Only used where several nodes share the database. */ \
	"ALTER TABLE push_outbox ADD COLUMN claim " TEXT " NOT NULL DEFAULT '';" \
	"ALTER TABLE push_outbox ADD COLUMN claimed_until " INT " NOT NULL DEFAULT 0;" \
	"CREATE INDEX push_outbox_claim ON push_outbox (claim) WHERE claim <> '';"

/* Keys by which engines place rows. */
#define STORE_SCHEMA_5_KEYS(TEXT, INT, BLOB, END) \
	/* The enrollment of a device, and those of its users ("" is the device): one each. An engine that shards keeps a key unique only within what it shards by, so enrollment itself cannot say it. */ \
	"CREATE TABLE channel (device_id " TEXT " NOT NULL, user_part " TEXT " NOT NULL, enrollment_id " TEXT " NOT NULL, PRIMARY KEY (device_id, user_part)" END \
	"INSERT INTO channel (device_id, user_part, enrollment_id) SELECT device_id, user_part, id FROM enrollment;" \
	"DROP INDEX command_uuid;" \
	"CREATE UNIQUE INDEX command_uuid ON command (uuid, enrollment_id);" \
	"CREATE INDEX command_done_finished ON command_done (finished_at);" \
	"CREATE TABLE group_member_5 (enrollment_id " TEXT " NOT NULL, group_name " TEXT " NOT NULL, added_at " INT " NOT NULL, PRIMARY KEY (enrollment_id, group_name)" END \
	"INSERT INTO group_member_5 (enrollment_id, group_name, added_at) SELECT enrollment_id, group_name, added_at FROM group_member;" \
	"DROP TABLE group_member;" \
	"ALTER TABLE group_member_5 RENAME TO group_member;" \
	"CREATE INDEX group_member_group ON group_member (group_name, enrollment_id);" \
	"CREATE TABLE order_device_5 (enrollment_id " TEXT " NOT NULL, order_id " TEXT " NOT NULL, command_uuid " TEXT ", reason " TEXT ", PRIMARY KEY (enrollment_id, order_id)" END \
	"INSERT INTO order_device_5 (enrollment_id, order_id, command_uuid, reason) SELECT enrollment_id, order_id, command_uuid, reason FROM order_device;" \
	"DROP TABLE order_device;" \
	"ALTER TABLE order_device_5 RENAME TO order_device;" \
	"CREATE INDEX order_device_order ON order_device (order_id, enrollment_id);"

/* When the identity of an epoch is looked at. */
#define STORE_SCHEMA_5_RENEWAL(TEXT, INT, BLOB, END) \
	/* renew_at: when it is looked at next whether its identity is to be renewed; 0: never, as it has ended, or has no link to say its profile again. */ \
	"ALTER TABLE epoch ADD COLUMN renew_at " INT " NOT NULL DEFAULT 0;" \
	"UPDATE epoch SET renew_at = coalesce((SELECT c.not_before + (c.not_after - c.not_before) / 3 * 2 FROM certificate c WHERE c.serial = epoch.certificate_serial), 0) WHERE ended_at = 0 AND link_id IS NOT NULL;" \
	"CREATE INDEX epoch_renew ON epoch (renew_at) WHERE renew_at > 0;" \
	/* What the janitor looks for holds only what it may find: identities that are superseded and not revoked yet, devices that were not told of their declarations. */ \
	"DROP INDEX certificate_superseded;" \
	"CREATE INDEX certificate_superseded ON certificate (superseded_at) WHERE superseded_at > 0 AND state = 1;" \
	"CREATE INDEX ddm_state_untold ON ddm_state (enrollment_id) WHERE told IS DISTINCT FROM token AND reason IS NULL;"

/* Indexes that few certificates belong into: the rest has nothing there. */
#define STORE_SCHEMA_5_CERTIFICATE(TEXT, INT, BLOB, END) \
	"DROP INDEX certificate_renews;" \
	"CREATE INDEX certificate_renews ON certificate (renews_serial) WHERE renews_serial IS NOT NULL;" \
	"DROP INDEX certificate_revoked;" \
	"CREATE INDEX certificate_revoked ON certificate (generation_id, revoked_at) WHERE revoked_at > 0;" \
	"DROP INDEX certificate_ota_link;" \
	"CREATE INDEX certificate_ota_link ON certificate (ota_link_id) WHERE ota_link_id IS NOT NULL;" \
	"DROP INDEX challenge_ota_link;" \
	"CREATE INDEX challenge_ota_link ON challenge (ota_link_id) WHERE ota_link_id IS NOT NULL;"

/* Moves of all data from one database to another. */
#define STORE_SCHEMA_5_MOVE(TEXT, INT, BLOB, END) \
	/* side: "in": the data here comes from another database, "out": it goes to another one; both have the same id. state: running, done. other: that database, without its password. */ \
	"CREATE TABLE data_move (side " TEXT " NOT NULL PRIMARY KEY, id " TEXT " NOT NULL, state " TEXT " NOT NULL, other " TEXT " NOT NULL, started_at " INT " NOT NULL, ended_at " INT " NOT NULL" END \
	/* How many rows of each table a move that is not done has brought here, in order of their keys. */ \
	"CREATE TABLE data_move_table (name " TEXT " NOT NULL PRIMARY KEY, n_rows " INT " NOT NULL" END

#define STORE_SCHEMA_5(TEXT, INT, BLOB, END) \
	STORE_SCHEMA_5_NODE(TEXT, INT, BLOB, END) \
	STORE_SCHEMA_5_SHARED(TEXT, INT, BLOB, END) \
	STORE_SCHEMA_5_PUSH(TEXT, INT, BLOB, END) \
	STORE_SCHEMA_5_KEYS(TEXT, INT, BLOB, END) \
	STORE_SCHEMA_5_RENEWAL(TEXT, INT, BLOB, END) \
	STORE_SCHEMA_5_CERTIFICATE(TEXT, INT, BLOB, END) \
	STORE_SCHEMA_5_MOVE(TEXT, INT, BLOB, END)

#define STORE_SCHEMA_1_SQLITE STORE_SCHEMA_1("TEXT", "INTEGER", "BLOB", ") STRICT;")
#define STORE_SCHEMA_1_POSTGRES STORE_SCHEMA_1("TEXT COLLATE \"C\"", "bigint", "bytea", ");")
#define STORE_SCHEMA_2_SQLITE STORE_SCHEMA_2("TEXT", "INTEGER", "BLOB", ") STRICT;") \
	"CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;" \
	"CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;"
#define STORE_SCHEMA_2_POSTGRES STORE_SCHEMA_2("TEXT COLLATE \"C\"", "bigint", "bytea", ");") \
	"CREATE RULE audit_no_update AS ON UPDATE TO audit DO INSTEAD NOTHING;" \
	"CREATE RULE audit_no_delete AS ON DELETE TO audit DO INSTEAD NOTHING;"
#define STORE_SCHEMA_3_SQLITE STORE_SCHEMA_3("TEXT", "INTEGER", "BLOB", ") STRICT;")
#define STORE_SCHEMA_3_POSTGRES STORE_SCHEMA_3("TEXT COLLATE \"C\"", "bigint", "bytea", ");")
#define STORE_SCHEMA_4_SQLITE STORE_SCHEMA_4("TEXT", "INTEGER", "BLOB", ") STRICT;")
#define STORE_SCHEMA_4_POSTGRES STORE_SCHEMA_4("TEXT COLLATE \"C\"", "bigint", "bytea", ");")
#define STORE_SCHEMA_5_SQLITE STORE_SCHEMA_5("TEXT", "INTEGER", "BLOB", ") STRICT;")
/* SQLite, which does not shard, could not be rid of this key without building the table anew. */
#define STORE_SCHEMA_5_POSTGRES STORE_SCHEMA_5("TEXT COLLATE \"C\"", "bigint", "bytea", ");") \
	"ALTER TABLE enrollment DROP CONSTRAINT enrollment_device_id_user_part_key;" \
	"CREATE INDEX enrollment_device ON enrollment (device_id, user_part);"
