/* All tables of the schema and their columns, for what reads or writes whole tables: X(name, what becomes of it, columns of its key, types of all columns, all columns, those of the key first, in order).
 *
 * MOVED: its rows are moved to another database. KEPT: they say something of this database only, and stay. A table or column that is missing here
 * would be lost by a move: move_test.c compares the list with the schema on both engines. */
#pragma once

#define STORE_TABLES(X) \
	X(api_token, MOVED, 1, "ttbiii", "id, name, hash, created_at, revoked_at, secrets") \
	X(applied, MOVED, 3, "ttt", "owner, kind, name") \
	X(attribute, MOVED, 2, "ttbi", "enrollment_id, name, value, updated_at") \
	X(audit, MOVED, 1, "itittttb", "seq, id, at, actor, action, object, detail, hash") \
	X(audit_pending, MOVED, 1, "titttt", "id, at, actor, action, object, detail") \
	X(authority, MOVED, 1, "tttbbiiitt", "id, role, state, certificate, key, not_before, not_after, created_at, generation_id, key_uri") \
	X(ca_generation, MOVED, 1, "ttittiiiii", "id, ca, number, state, source, version, created_at, activated_at, retiring_at, retired_at") \
	X(certificate, MOVED, 1, "ttbbtiibitttitiiiittttttitiit", "serial, authority_id, sha256, spki_sha256, subject, not_before, not_after, der, state, link_id, challenge_id, transaction_id, may_enroll, enrollment_id, epoch, issued_at, bound_at, revoked_at, revoked_reason, generation_id, profile, record, device_id, for_enrollment_id, for_epoch, renews_serial, renewed_at, superseded_at, ota_link_id") \
	X(challenge, MOVED, 1, "tbbttiiiiiiitttttit", "id, secret_hash, secret, link_id, common_name, max_keys, may_enroll, version, created_at, expires_at, closed_at, revoked_at, profile, record, device_id, key_type, for_enrollment_id, for_epoch, ota_link_id") \
	X(channel, MOVED, 2, "ttt", "device_id, user_part, enrollment_id") \
	X(command, MOVED, 2, "tttitbiiitibiiiii", "enrollment_id, seq, uuid, epoch, request_type, body, created_at, not_now_at, n_not_now, note, expires_at, fold, delivered_at, n_delivered, is_out, sealed, session_at") \
	X(command_done, MOVED, 2, "tttitiitibiiii", "enrollment_id, uuid, seq, epoch, request_type, created_at, finished_at, status, packed, result, delivered_at, n_delivered, n_not_now, sealed") \
	X(crl, MOVED, 1, "tibii", "generation_id, number, der, this_update, next_update") \
	X(data_move, KEPT, 1, "ttttii", "side, id, state, other, started_at, ended_at") \
	X(data_move_table, KEPT, 1, "ti", "name, n_rows") \
	X(ddm_declared, MOVED, 2, "ttiittti", "enrollment_id, identifier, kind, active, valid, token, reasons, learnt_at") \
	X(ddm_manifest, MOVED, 1, "tbi", "token, items, created_at") \
	X(ddm_state, MOVED, 1, "titttttiiii", "enrollment_id, epoch, token, told, delivered, subscription, reason, changed_at, told_at, status_at, version") \
	X(ddm_status, MOVED, 3, "ttttti", "enrollment_id, item, element, value, reasons, learnt_at") \
	X(ddm_work, MOVED, 1, "tttttii", "id, kind, subject, channel, after_id, n_done, created_at") \
	X(declaration, MOVED, 1, "ttitbbtiiii", "identifier, type, kind, token, body, data, profile, forced, version, created_at, updated_at") \
	X(declaration_reference, MOVED, 2, "ttt", "identifier, path, target") \
	X(declaration_set, MOVED, 1, "tii", "name, created_at, updated_at") \
	X(device_block, MOVED, 1, "tttiti", "device_id, serial, reason, unenroll, actor, created_at") \
	X(device_ca, MOVED, 1, "ttbbii", "id, name, certificate, spki_sha256, not_after, created_at") \
	X(device_group, MOVED, 1, "tit", "name, created_at, query") \
	X(doctor_report, MOVED, 1, "tit", "target, finished_at, report") \
	X(enrollment, MOVED, 1, "ttttiiiiiittttttttttttiiiii", "id, device_id, user_part, parent_id, kind, state, version, active_epoch, pending_epoch, last_epoch, serial, product_name, model, model_name, device_name, os_version, build_version, imei, meid, user_short_name, user_long_name, owner, created_at, authenticated_at, enrolled_at, ended_at, last_seen") \
	X(epoch, MOVED, 2, "tittbtibbiiiittttttttttitiiti", "enrollment_id, epoch, certificate_serial, topic, push_token, push_magic, push_dead_at, unlock_token, bootstrap_token, awaiting_configuration, authenticated_at, token_at, ended_at, ended_reason, serial, product_name, model, model_name, device_name, os_version, build_version, imei, meid, anchor, link_id, renewal_at, not_on_console, provenance, renew_at") \
	X(event, MOVED, 2, "ttittii", "enrollment_id, id, at, kind, detail, n, last_at") \
	X(fact, MOVED, 2, "ttti", "enrollment_id, name, value, learnt_at") \
	X(fact_list, MOVED, 2, "tttiii", "enrollment_id, name, value, n_items, n_cut, learnt_at") \
	X(first_use, MOVED, 1, "titttt", "enrollment_id, at, message, certificate_serial, issuer, issuer_serial") \
	X(fleet_order, MOVED, 1, "ttbitttttiiiiiii", "id, request_type, body, unchecked, kind, target, actor, state, after_id, n_planned, n_queued, n_skipped, created_at, sent_at, ended_at, expires_at") \
	X(group_member, MOVED, 2, "tti", "enrollment_id, group_name, added_at") \
	X(inventory, MOVED, 1, "ti", "enrollment_id, due_at") \
	X(lease, KEPT, 1, "ttii", "job, node, fence, expires_at") \
	X(link, MOVED, 1, "tbttiiiittit", "id, token_hash, user_name, device_name, created_at, expires_at, consumed_at, revoked_at, enrollment_id, served, anchor, user_email") \
	X(node, KEPT, 1, "ttttiiiit", "id, name, address, version, schema_version, started_at, seen_at, clock_ms, trouble") \
	X(order_device, MOVED, 2, "tttt", "enrollment_id, order_id, command_uuid, reason") \
	X(ota, MOVED, 1, "tttbttiiiii", "link_id, udid, serial, factory_spki_sha256, factory_ca, attributes, version, n_identities, bound_at, answered_at, served_at") \
	X(outside_ca, MOVED, 1, "ttbbii", "name, settings, secret, certificates, version, updated_at") \
	X(profile, MOVED, 1, "ttiiii", "name, identifier, newest, removing_at, created_at, updated_at") \
	X(profile_assignment, MOVED, 3, "ttti", "profile, kind, target, created_at") \
	X(profile_state, MOVED, 2, "ttititittiiii", "enrollment_id, profile, epoch, state, number, uuid, present, command_uuid, reason, queued_at, deadline_at, changed_at, version") \
	X(profile_version, MOVED, 2, "tibbbiitttitttti", "profile, number, sha256, body, content, size, is_signed, sign, encrypt, variables, substitute, secret, uuid, display_name, actor, created_at") \
	X(profile_work, MOVED, 1, "ttttii", "id, profile, enrollment_id, after_id, n_done, created_at") \
	X(push_certificate, MOVED, 1, "tbbiiiit", "topic, certificate, key, not_before, not_after, imported_at, version, apple_account") \
	X(push_chain, MOVED, 1, "tbi", "sha256, certificate, created_at") \
	X(push_outbox, MOVED, 1, "tiititiiiiti", "enrollment_id, due_at, attempts, generation, created_at, topic, waiting, sent_at, n_sent, urgent, claim, claimed_until") \
	X(push_request, MOVED, 1, "ttbbttbbbii", "id, subject, csr, key, renews_topic, signed_by, document, encrypt_certificate, encrypt_key, created_at, signed_at") \
	X(push_vendor, MOVED, 1, "ttbbbiii", "id, subject, csr, certificate, key, not_before, not_after, created_at") \
	X(query_work, MOVED, 1, "tttt", "id, group_name, enrollment_id, after_id") \
	X(return_to_service, MOVED, 1, "tiitiiii", "enrollment_id, own, enabled, wifi_profile, mdm_profile, bootstrap_token, updated_at, answered_at") \
	X(scep_failure, MOVED, 1, "ti", "address, forgiven_at") \
	X(scep_profile, MOVED, 1, "ttbii", "name, settings, secret, version, updated_at") \
	X(scep_request, MOVED, 1, "tttbbtttbttttiiii", "id, profile, transaction_id, spki_sha256, signer_spki_sha256, challenge_id, renews_serial, subject, csr, peer, state, serial, reason, version, created_at, decided_at, expires_at") \
	X(served_address, MOVED, 1, "tti", "address, link_id, at") \
	X(set_assignment, MOVED, 4, "tttti", "set_name, kind, target, channel, created_at") \
	X(set_member, MOVED, 2, "tti", "set_name, identifier, added_at") \
	X(setting, MOVED, 1, "tt", "name, value") \
	X(shared_lock, KEPT, 1, "t", "name") \
	X(shared_version, KEPT, 1, "ti", "name, version") \
	X(watch_pairing, MOVED, 1, "tbtttbiitbiiit", "id, security_hash, udid, serial, product, factory_spki_sha256, created_at, expires_at, phone_id, nonce_hash, granted_at, token_expires_at, used_at, link_id")
