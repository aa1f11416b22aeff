/* Where rows are placed by an engine that shards: T(table, place, column). keys_test.c proves it on both engines, so that no table can be forgotten.
 *
 * ENROLLMENT  with the enrollment whose id COLUMN holds: the first column of the primary key, and in every unique key. All that a device changes is here.
 * OWN         by COLUMN, a key of its own: what is there before an enrollment (links, challenges), what outlives it (certificates, the audit log), and work that is left.
 * EVERYWHERE  small, written by administrators, read with all else: a copy on each shard. */
#pragma once

#define STORE_PLACES(T) \
	T(enrollment, ENROLLMENT, id) \
	T(epoch, ENROLLMENT, enrollment_id) \
	T(command, ENROLLMENT, enrollment_id) \
	T(command_done, ENROLLMENT, enrollment_id) \
	T(push_outbox, ENROLLMENT, enrollment_id) \
	T(event, ENROLLMENT, enrollment_id) \
	T(fact, ENROLLMENT, enrollment_id) \
	T(fact_list, ENROLLMENT, enrollment_id) \
	T(attribute, ENROLLMENT, enrollment_id) \
	T(group_member, ENROLLMENT, enrollment_id) \
	T(order_device, ENROLLMENT, enrollment_id) \
	T(profile_state, ENROLLMENT, enrollment_id) \
	T(inventory, ENROLLMENT, enrollment_id) \
	T(first_use, ENROLLMENT, enrollment_id) \
	T(return_to_service, ENROLLMENT, enrollment_id) \
	T(ddm_state, ENROLLMENT, enrollment_id) \
	T(ddm_status, ENROLLMENT, enrollment_id) \
	T(ddm_declared, ENROLLMENT, enrollment_id) \
	T(channel, OWN, device_id) \
	T(certificate, OWN, serial) \
	T(link, OWN, id) \
	T(challenge, OWN, id) \
	T(ota, OWN, link_id) \
	T(watch_pairing, OWN, id) \
	T(scep_request, OWN, id) \
	T(audit_pending, OWN, id) \
	T(audit, OWN, seq) \
	T(profile_work, OWN, id) \
	T(query_work, OWN, id) \
	T(ddm_work, OWN, id) \
	T(node, OWN, id) \
	T(lease, OWN, job) \
	T(served_address, OWN, address) \
	T(scep_failure, OWN, address) \
	T(data_move, OWN, side) \
	T(data_move_table, OWN, name) \
	T(shared_version, EVERYWHERE, name) \
	T(shared_lock, EVERYWHERE, name) \
	T(setting, EVERYWHERE, name) \
	T(authority, EVERYWHERE, id) \
	T(ca_generation, EVERYWHERE, id) \
	T(crl, EVERYWHERE, generation_id) \
	T(scep_profile, EVERYWHERE, name) \
	T(outside_ca, EVERYWHERE, name) \
	T(device_ca, EVERYWHERE, id) \
	T(push_certificate, EVERYWHERE, topic) \
	T(push_vendor, EVERYWHERE, id) \
	T(push_request, EVERYWHERE, id) \
	T(push_chain, EVERYWHERE, sha256) \
	T(api_token, EVERYWHERE, id) \
	T(device_block, EVERYWHERE, device_id) \
	T(device_group, EVERYWHERE, name) \
	T(fleet_order, EVERYWHERE, id) \
	T(profile, EVERYWHERE, name) \
	T(profile_version, EVERYWHERE, profile) \
	T(profile_assignment, EVERYWHERE, profile) \
	T(declaration, EVERYWHERE, identifier) \
	T(declaration_reference, EVERYWHERE, identifier) \
	T(declaration_set, EVERYWHERE, name) \
	T(set_member, EVERYWHERE, set_name) \
	T(set_assignment, EVERYWHERE, set_name) \
	T(ddm_manifest, EVERYWHERE, token) \
	T(applied, EVERYWHERE, owner) \
	T(doctor_report, EVERYWHERE, target)
