/* The error table: one row per reason that Pomona can refuse or fail with.
 *
 * A row has the C code, the stable id shown to people (never reused, never renumbered), the HTTP status it becomes,
 * whether the same request may succeed later, and the text for people. Messages built from a row add what is wrong and
 * where ("RFC 8894 §3.2.1.4", "TokenUpdate.Token", line 7) and what to do. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#define POM_ERROR_TABLE(X) \
	/* general */ \
	X(POM_ERR_INTERNAL, "POM-E0001", 500, true, "Something in Pomona failed that should not fail. The log has the details.") \
	X(POM_ERR_BAD_REQUEST, "POM-E0002", 400, false, "The request is not well formed.") \
	X(POM_ERR_NOT_FOUND, "POM-E0003", 404, false, "There is nothing with this name or id.") \
	X(POM_ERR_CONFLICT, "POM-E0004", 409, false, "This cannot be done in the present state.") \
	X(POM_ERR_UNAUTHORIZED, "POM-E0005", 401, false, "The admin API needs a valid token.") \
	X(POM_ERR_FORBIDDEN, "POM-E0006", 403, false, "This is not allowed.") \
	X(POM_ERR_TOO_LARGE, "POM-E0007", 413, false, "The data is larger than the limit for this place.") \
	X(POM_ERR_BUSY, "POM-E0008", 503, true, "The server has more work than it can take now.") \
	X(POM_ERR_USAGE, "POM-E0009", 400, false, "The command line is not understood.") \
	X(POM_ERR_CONFIG, "POM-E0010", 500, false, "A setting is wrong.") \
	X(POM_ERR_UNREACHABLE, "POM-E0011", 502, true, "The other side could not be reached.") \
	X(POM_ERR_IO, "POM-E0012", 500, true, "A file could not be read or written.") \
	X(POM_ERR_LOCKED, "POM-E0013", 409, true, "Another process uses this data directory.") \
	X(POM_ERR_PERMISSION, "POM-E0014", 500, false, "A secret file can be read by others.") \
	X(POM_ERR_LIMIT, "POM-E0015", 400, false, "A limit was exceeded.") \
	X(POM_ERR_JSON, "POM-E0016", 400, false, "The JSON is malformed or has the wrong shape.") \
	X(POM_ERR_CANCELED, "POM-E0017", 409, true, "This was broken off before its end; nothing is left of it.") \
	/* storage */ \
	X(POM_ERR_STORE_FULL, "POM-E0101", 503, true, "The disk is full: nothing was stored. Free some space; Pomona goes on by itself.") \
	X(POM_ERR_STORE_CONFLICT, "POM-E0102", 409, true, "Somebody else changed this at the same time.") \
	X(POM_ERR_STORE_REFUSED, "POM-E0103", 500, false, "The database refused the statement.") \
	X(POM_ERR_STORE_UNKNOWN, "POM-E0104", 503, true, "The connection to the database was lost: the result is unknown.") \
	X(POM_ERR_STORE_SCHEMA, "POM-E0105", 500, false, "The database has a schema that this version cannot use.") \
	X(POM_ERR_STORE_SEAL, "POM-E0106", 500, false, "A sealed value could not be opened: wrong encryption key or damaged data.") \
	X(POM_ERR_BACKUP, "POM-E0107", 400, false, "The backup is damaged or incomplete, or it is none of Pomona's.") \
	X(POM_ERR_STORE_AWAY, "POM-E0108", 503, true, "The database cannot be reached. Pomona goes on by itself when it is back.") \
	X(POM_ERR_STORE_UNFIT, "POM-E0109", 500, false, "This database cannot be used by Pomona.") \
	X(POM_ERR_NODE_CLOCK, "POM-E0110", 503, true, "The clock of this machine differs from those of the other nodes.") \
	X(POM_ERR_STORE_MOVE, "POM-E0111", 503, true, "The data of the database was moved, or is being moved, to another one, or cannot be.") \
	X(POM_ERR_NODE_LEASE, "POM-E0112", 503, true, "Another node does this work now.") \
	X(POM_ERR_NODE_DRAINING, "POM-E0115", 503, true, "This node is being stopped.") \
	X(POM_ERR_NODE_OLD, "POM-E0113", 503, true, "Another node has changed the database for a newer Pomona: this program is too old for it.") \
	/* plists */ \
	X(POM_ERR_PLIST_SYNTAX, "POM-E1001", 400, false, "The property list is not well-formed XML.") \
	X(POM_ERR_PLIST_VALUE, "POM-E1002", 400, false, "A value in the property list does not have the form of its type.") \
	X(POM_ERR_PLIST_STRUCTURE, "POM-E1003", 400, false, "The elements of the property list are not where they belong.") \
	X(POM_ERR_PLIST_LIMIT, "POM-E1004", 400, false, "The property list is too deep, too large or has too many elements.") \
	X(POM_ERR_PLIST_ENTITY, "POM-E1005", 400, false, "The property list declares entities, which Pomona does not accept.") \
	X(POM_ERR_PLIST_KEY, "POM-E1006", 400, false, "A key is missing or has a value of the wrong type.") \
	X(POM_ERR_PLIST_UNREPRESENTABLE, "POM-E1007", 400, false, "A value cannot be written in an XML property list.") \
	X(POM_ERR_PROFILE, "POM-E1008", 400, false, "The configuration profile is not valid.") \
	/* CMS, X.509 */ \
	X(POM_ERR_CMS_MALFORMED, "POM-E2001", 400, false, "The CMS message is malformed.") \
	X(POM_ERR_CMS_SIGNATURE, "POM-E2002", 400, false, "The signature does not match the data.") \
	X(POM_ERR_CMS_ALGORITHM, "POM-E2003", 400, false, "The message uses an algorithm that is not accepted.") \
	X(POM_ERR_CMS_LIMIT, "POM-E2004", 400, false, "The CMS message is too large, too deep or has too many parts.") \
	X(POM_ERR_CMS_DECRYPT, "POM-E2005", 400, false, "The message cannot be decrypted with our key.") \
	X(POM_ERR_CERT_MALFORMED, "POM-E2101", 400, false, "The certificate is malformed.") \
	X(POM_ERR_CERT_UNTRUSTED, "POM-E2102", 403, false, "The certificate was not issued by a CA of this server.") \
	X(POM_ERR_CERT_EXPIRED, "POM-E2103", 403, false, "The certificate is not valid at this time.") \
	X(POM_ERR_CERT_REVOKED, "POM-E2104", 403, false, "The certificate has been revoked.") \
	X(POM_ERR_CSR_MALFORMED, "POM-E2201", 400, false, "The certificate request is malformed.") \
	X(POM_ERR_CSR_SIGNATURE, "POM-E2202", 400, false, "The certificate request is not signed with its own key.") \
	X(POM_ERR_KEY_WEAK, "POM-E2203", 400, false, "The key is too weak or of a kind that is not accepted.") \
	X(POM_ERR_KEY, "POM-E2301", 500, false, "A key could not be read, made or used.") \
	X(POM_ERR_KEY_MISMATCH, "POM-E2302", 400, false, "The key does not belong to the certificate.") \
	X(POM_ERR_PASSWORD, "POM-E2303", 400, false, "The password is missing or wrong.") \
	X(POM_ERR_KEY_UNAVAILABLE, "POM-E2304", 503, true, "The token that holds the key does not answer.") \
	X(POM_ERR_OCSP, "POM-E2401", 400, false, "The OCSP request is malformed or too large.") \
	X(POM_ERR_CA, "POM-E2501", 400, false, "This cannot be a certificate authority here.") \
	X(POM_ERR_CA_DEVICES, "POM-E2502", 409, false, "Devices would be lost.") \
	/* profiles in files */ \
	X(POM_ERR_PROFILE_SIGNER, "POM-E5301", 400, false, "This certificate must not sign profiles.") \
	X(POM_ERR_PROFILE_LINT, "POM-E5302", 400, false, "The profile has errors that devices refuse it for.") \
	X(POM_ERR_PROFILE_NO_CERTIFICATE, "POM-E5303", 400, false, "The profile is signed, but the certificate of its signer is not in it.") \
	X(POM_ERR_PROFILE_NOT_ENCRYPTED, "POM-E5304", 400, false, "The profile is not encrypted.") \
	X(POM_ERR_PROFILE_RECIPIENT, "POM-E5305", 400, false, "The profile is encrypted for another key, or damaged.") \
	/* SCEP */ \
	X(POM_ERR_SCEP_OPERATION, "POM-E3001", 400, false, "The SCEP operation is unknown or used with the wrong method.") \
	X(POM_ERR_SCEP_MESSAGE, "POM-E3002", 400, false, "The SCEP message lacks what RFC 8894 demands.") \
	X(POM_ERR_SCEP_TYPE, "POM-E3003", 400, false, "The SCEP message type is not served.") \
	X(POM_ERR_SCEP_CHALLENGE_UNKNOWN, "POM-E3101", 403, false, "The SCEP challenge is missing or unknown.") \
	X(POM_ERR_SCEP_CHALLENGE_EXPIRED, "POM-E3102", 403, false, "The SCEP challenge has expired.") \
	X(POM_ERR_SCEP_CHALLENGE_USED, "POM-E3103", 403, false, "The SCEP challenge has been used with another key.") \
	X(POM_ERR_SCEP_CHALLENGE_REVOKED, "POM-E3104", 403, false, "The SCEP challenge has been revoked.") \
	X(POM_ERR_SCEP_DENIED, "POM-E3105", 403, false, "The decision service did not allow this certificate request.") \
	/* an outside SCEP CA */ \
	X(POM_ERR_SCEP_OUTSIDE, "POM-E3201", 503, true, "The outside CA cannot be reached or does not answer as a SCEP server.") \
	X(POM_ERR_SCEP_OUTSIDE_REFUSED, "POM-E3202", 502, false, "The outside CA refused the certificate request.") \
	X(POM_ERR_SCEP_OUTSIDE_REPLY, "POM-E3203", 502, false, "The outside CA's answer cannot be accepted.") \
	X(POM_ERR_SCEP_OUTSIDE_PENDING, "POM-E3204", 503, true, "The outside CA has not decided on the certificate request yet.") \
	X(POM_ERR_SCEP_LIMITED, "POM-E3106", 429, true, "Too many SCEP requests from this address have failed. Try again later.") \
	X(POM_ERR_SCEP_RENEWAL, "POM-E3107", 403, false, "The certificate cannot be renewed with this request.") \
	X(POM_ERR_SCEP_NOT_FOUND, "POM-E3108", 404, false, "There is no such certificate or request.") \
	X(POM_ERR_SCEP_TIME, "POM-E3109", 403, false, "The message was signed too long before or after now.") \
	X(POM_ERR_SCEP_NAMES, "POM-E3110", 403, false, "The request asks for other names than it may have.") \
	/* check-in and commands */ \
	X(POM_ERR_CHECKIN_MALFORMED, "POM-E4001", 400, false, "The check-in message lacks a required key.") \
	X(POM_ERR_CHECKIN_TYPE, "POM-E4002", 400, false, "The check-in message type is unknown.") \
	X(POM_ERR_USER_CHANNEL, "POM-E4011", 400, false, "This device has no user channel of this kind.") \
	X(POM_ERR_MAID_OFF, "POM-E4012", 400, false, "No key for Managed Apple Account tokens is configured.") \
	X(POM_ERR_RETURN_TO_SERVICE, "POM-E4013", 503, true, "The answer for the device's return to service cannot be made now.") \
	X(POM_ERR_IDENTITY_MISSING, "POM-E4101", 400, false, "The device did not prove its identity.") \
	X(POM_ERR_IDENTITY_SIGNATURE, "POM-E4102", 400, false, "The device's signature is not valid for this message.") \
	X(POM_ERR_IDENTITY_FOREIGN, "POM-E4103", 403, false, "The certificate belongs to another device.") \
	X(POM_ERR_IDENTITY_HEADER, "POM-E4104", 400, false, "The client certificate that the proxy passed on cannot be read.") \
	X(POM_ERR_IDENTITY_CONFLICT, "POM-E4105", 403, false, "The signature and the client certificate are not of the same device.") \
	X(POM_ERR_PROXY_UNLISTED, "POM-E4106", 403, false, "This address serves listed proxies only.") \
	X(POM_ERR_FIRST_USE_CLOSED, "POM-E4107", 403, false, "Devices of another server are not taken up now.") \
	X(POM_ERR_FIRST_USE_TAKEN, "POM-E4108", 403, false, "This device is known here already: another certificate does not take it over.") \
	X(POM_ERR_FIRST_USE_MESSAGE, "POM-E4109", 403, false, "A device of another server cannot begin with this message.") \
	X(POM_ERR_PROXY_HEADER, "POM-E4110", 400, false, "The connection did not begin with a valid header of the PROXY protocol.") \
	X(POM_ERR_ENROLLMENT_UNKNOWN, "POM-E4201", 403, false, "There is no enrollment for this device and certificate.") \
	X(POM_ERR_ENROLLMENT_ENDED, "POM-E4202", 403, false, "The enrollment of this device has ended.") \
	X(POM_ERR_ENROLLMENT_PENDING, "POM-E4203", 403, false, "The device has not completed its enrollment yet.") \
	X(POM_ERR_TOPIC, "POM-E4301", 400, false, "The push topic is not the one of this enrollment.") \
	X(POM_ERR_USER_DECLINED, "POM-E4302", 410, false, "This user is not managed.") \
	X(POM_ERR_COMMAND_STATUS, "POM-E4401", 400, false, "The command report has no valid Status.") \
	X(POM_ERR_COMMAND_FOREIGN, "POM-E4402", 403, false, "The command was sent to another device.") \
	X(POM_ERR_COMMAND_INVALID, "POM-E4403", 400, false, "The command is not valid.") \
	X(POM_ERR_COMMAND_UNKNOWN, "POM-E4404", 400, false, "The command is not in the catalog.") \
	X(POM_ERR_COMMAND_KEY, "POM-E4405", 400, false, "A key of the command is missing, unknown or has a wrong value.") \
	X(POM_ERR_COMMAND_SYSTEM, "POM-E4406", 409, false, "The system of this device does not know the command or a key of it.") \
	X(POM_ERR_COMMAND_CHANNEL, "POM-E4407", 409, false, "This kind of device or enrollment cannot get the command.") \
	X(POM_ERR_COMMAND_RIGHT, "POM-E4408", 409, false, "The enrollment has not the access right that the command needs.") \
	X(POM_ERR_COMMAND_SECRETS, "POM-E4411", 403, false, "This token may not read secrets of commands and answers.") \
	X(POM_ERR_COMMAND_UNLOCK, "POM-E4412", 409, false, "The server has no unlock token of this device.") \
	X(POM_ERR_COMMAND_EXPIRES, "POM-E4413", 400, false, "The time until a command expires is out of range.") \
	/* enrollment links */ \
	X(POM_ERR_LINK_UNKNOWN, "POM-E5001", 404, false, "This enrollment link does not exist.") \
	X(POM_ERR_LINK_EXPIRED, "POM-E5002", 410, false, "This enrollment link has expired. Ask for a new one.") \
	X(POM_ERR_LINK_USED, "POM-E5003", 410, false, "This enrollment link has been used. Ask for a new one.") \
	X(POM_ERR_LINK_REVOKED, "POM-E5004", 410, false, "This enrollment link has been withdrawn. Ask for a new one.") \
	X(POM_ERR_NO_PUSH_CERT, "POM-E5005", 503, true, "No push certificate has been imported: devices cannot enroll yet.") \
	/* over the air, watches */ \
	X(POM_ERR_OTA_SIGNER, "POM-E5101", 403, false, "The message is signed neither with a factory identity that is known here nor with an identity of this server.") \
	X(POM_ERR_OTA_CHALLENGE, "POM-E5102", 403, false, "The device's answer does not carry the challenge of this link.") \
	X(POM_ERR_OTA_ATTRIBUTES, "POM-E5103", 400, false, "The device's attributes are missing or malformed.") \
	X(POM_ERR_OTA_BOUND, "POM-E5104", 403, false, "This enrollment link belongs to another device. Ask for a link of your own.") \
	X(POM_ERR_OTA_PHASE, "POM-E5105", 403, false, "The identity was not given for this step of this link: begin again with the link.") \
	X(POM_ERR_OTA_TRANSPORT, "POM-E5106", 403, false, "This certificate is only for fetching a profile over the air.") \
	X(POM_ERR_OTA_KEY, "POM-E5107", 403, false, "The profile cannot be encrypted to this identity.") \
	X(POM_ERR_OTA_LIMIT, "POM-E5108", 403, false, "This link was tried too often. Ask for a new one.") \
	X(POM_ERR_DEVICE_CA, "POM-E5111", 400, false, "This certificate cannot be an issuer of factory identities.") \
	X(POM_ERR_TOKEN_SERVICE, "POM-E5121", 400, false, "This token service is not offered here.") \
	X(POM_ERR_WATCH_OFF, "POM-E5122", 403, false, "Watches are not enrolled by this server.") \
	X(POM_ERR_WATCH_PHONE, "POM-E5123", 403, false, "This phone may not bring a watch under management.") \
	X(POM_ERR_WATCH_SECURITY, "POM-E5124", 403, false, "The security token of the watch is unknown, expired or used.") \
	X(POM_ERR_WATCH_MISSING, "POM-E5125", 403, true, "The watch needs a new pairing token from its phone.") \
	X(POM_ERR_WATCH_SUPERVISION, "POM-E5127", 403, true, "It is not known yet whether the phone is supervised.") \
	X(POM_ERR_WATCH_TOKEN, "POM-E5126", 403, false, "The pairing token was not given to this watch by this server.") \
	/* the library of profiles */ \
	X(POM_ERR_LIBRARY_REFUSED, "POM-E5201", 400, false, "This profile cannot be kept in the library.") \
	X(POM_ERR_LIBRARY_SIGNATURE, "POM-E5202", 400, false, "The profile is signed, but its signature is broken.") \
	X(POM_ERR_LIBRARY_ENCRYPTED, "POM-E5203", 400, false, "The profile is encrypted, and cannot be read without its key.") \
	X(POM_ERR_LIBRARY_TAKEN, "POM-E5204", 409, false, "Another profile of the library has this name or identifier.") \
	X(POM_ERR_LIBRARY_ASSIGNED, "POM-E5205", 409, false, "The profile is assigned to devices or groups.") \
	X(POM_ERR_LIBRARY_IDENTITY, "POM-E5206", 409, false, "The profile cannot be encrypted to the identity of this device.") \
	X(POM_ERR_VARIABLE, "POM-E5211", 400, false, "A variable in the profile is unknown or malformed.") \
	X(POM_ERR_VARIABLE_VALUE, "POM-E5212", 409, false, "The device has no value for a variable, or one that cannot be written.") \
	/* declarative management */ \
	X(POM_ERR_DECLARATION, "POM-E8301", 400, false, "This is not a declaration.") \
	X(POM_ERR_DECLARATION_IDENTIFIER, "POM-E8302", 400, false, "The identifier of the declaration cannot be used.") \
	X(POM_ERR_DECLARATION_TYPE, "POM-E8303", 400, false, "The type of the declaration is not known.") \
	X(POM_ERR_DECLARATION_KEY, "POM-E8304", 400, false, "A key of the declaration is missing, not known, or has a value that cannot be.") \
	X(POM_ERR_DECLARATION_REFERENCE, "POM-E8305", 409, false, "The declaration names another that is not there, or is of the wrong type.") \
	X(POM_ERR_DECLARATION_CYCLE, "POM-E8306", 409, false, "Declarations name each other in a circle.") \
	X(POM_ERR_DECLARATION_PREDICATE, "POM-E8307", 400, false, "The predicate does not have the form of one.") \
	X(POM_ERR_DECLARATION_USED, "POM-E8308", 409, false, "The declaration or set is in use.") \
	X(POM_ERR_DDM_ENDPOINT, "POM-E8309", 400, false, "There is no such endpoint of declarative management.") \
	X(POM_ERR_DDM_ABSENT, "POM-E8310", 404, false, "This declaration is not there for this device.") \
	X(POM_ERR_DDM_STATUS, "POM-E8311", 400, false, "The status report does not have the form of one.") \
	X(POM_ERR_DDM_TARGET, "POM-E8312", 409, false, "The device or channel cannot use a declaration.") \
	X(POM_ERR_DDM_LINK, "POM-E8313", 404, false, "There is nothing at this address for this device.") \
	X(POM_ERR_APPLY, "POM-E8314", 400, false, "The configuration cannot be applied as it is.") \
	X(POM_ERR_WATCH_ENABLE, "POM-E8315", 409, false, "Watches cannot be enrolled this way.") \
	X(POM_ERR_COMMAND_ENROLLMENT, "POM-E5221", 409, false, "This command would end or replace the enrollment of the device.") \
	/* the fleet */ \
	X(POM_ERR_QUERY, "POM-E4451", 400, false, "The query for devices is not understood.") \
	X(POM_ERR_DEVICE_BLOCKED, "POM-E4452", 403, false, "This device is blocked.") \
	X(POM_ERR_DEVICE_BLOCKED_OUT, "POM-E4453", 403, false, "This device is blocked, and is told to un-enroll.") \
	X(POM_ERR_ORDER, "POM-E4454", 400, false, "The order to many devices is not complete.") \
	X(POM_ERR_UNENROLL, "POM-E4455", 409, false, "This enrollment cannot be ended in this way.") \
	/* push */ \
	X(POM_ERR_PUSH_CONNECT, "POM-E6001", 502, true, "APNs cannot be reached.") \
	X(POM_ERR_PUSH_TLS, "POM-E6002", 502, true, "The TLS connection to APNs failed.") \
	X(POM_ERR_PUSH_REFUSED, "POM-E6003", 502, false, "APNs refused the push.") \
	X(POM_ERR_PUSH_TOKEN_DEAD, "POM-E6004", 410, false, "APNs says that the push token is no longer valid.") \
	X(POM_ERR_PUSH_NAME, "POM-E6041", 502, true, "The name of APNs, or of the proxy, cannot be looked up.") \
	X(POM_ERR_PUSH_PROXY, "POM-E6042", 502, true, "The proxy does not let Pomona through to APNs.") \
	X(POM_ERR_PUSH_TLS_NAME, "POM-E6043", 502, true, "What answers in the place of APNs has a certificate for another name.") \
	X(POM_ERR_PUSH_TLS_ROOT, "POM-E6044", 502, true, "What answers in the place of APNs has a certificate whose root is not trusted.") \
	X(POM_ERR_PUSH_TLS_TIME, "POM-E6045", 502, true, "What answers in the place of APNs has a certificate that is not valid at this time.") \
	X(POM_ERR_PUSH_CERT_REFUSED, "POM-E6046", 502, false, "APNs does not accept the push certificate.") \
	X(POM_ERR_PUSH_CERT_EXPIRED, "POM-E6047", 503, false, "The push certificate has expired.") \
	X(POM_ERR_PUSH_SILENT, "POM-E6048", 502, true, "APNs does not answer.") \
	X(POM_ERR_PUSH_PROTOCOL, "POM-E6049", 502, true, "What answers in the place of APNs does not speak HTTP/2.") \
	X(POM_ERR_PUSH_BUSY, "POM-E6050", 503, true, "APNs has faults of its own, or asks to be sent less.") \
	X(POM_ERR_PUSH_CERT, "POM-E6005", 400, false, "The push certificate cannot be used.") \
	X(POM_ERR_PUSH_TOPIC_CHANGED, "POM-E6006", 409, false, "The push certificate has another topic than the enrolled devices.") \
	/* the life of push certificates */ \
	X(POM_ERR_PUSH_NO_CERTIFICATE, "POM-E6021", 400, false, "There is no certificate in the files.") \
	X(POM_ERR_PUSH_IS_VENDOR, "POM-E6022", 400, false, "This is a vendor certificate: it signs requests, and devices cannot be pushed with it.") \
	X(POM_ERR_PUSH_IS_APP, "POM-E6023", 400, false, "This certificate is for the pushes or the development of an app, not for MDM.") \
	X(POM_ERR_PUSH_IS_REQUEST, "POM-E6024", 400, false, "This is a certificate request, not the certificate that was made for it.") \
	X(POM_ERR_PUSH_IS_DOCUMENT, "POM-E6025", 400, false, "This is the signed request for Apple's portal, not Apple's answer to it.") \
	X(POM_ERR_PUSH_IS_PAGE, "POM-E6026", 400, false, "This is a web page, not a certificate.") \
	X(POM_ERR_PUSH_NO_KEY, "POM-E6027", 400, false, "The private key of the certificate is neither here nor in the files.") \
	X(POM_ERR_PUSH_KEY_ENCRYPTED, "POM-E6028", 400, false, "The private key is encrypted: its password is needed.") \
	X(POM_ERR_PUSH_KEY_PASSWORD, "POM-E6029", 400, false, "The password of the private key is wrong.") \
	X(POM_ERR_PUSH_DATES, "POM-E6030", 400, false, "The certificate has expired or is not valid yet.") \
	X(POM_ERR_PUSH_FILE, "POM-E6031", 400, false, "A file cannot be read as a certificate, a key or a request.") \
	X(POM_ERR_PUSH_CHAIN, "POM-E6032", 400, false, "A certificate between the vendor certificate and Apple's root is missing.") \
	X(POM_ERR_PUSH_ROOT, "POM-E6033", 400, false, "The certificate does not lead to Apple's root.") \
	X(POM_ERR_PUSH_NOT_VENDOR, "POM-E6034", 400, false, "This is no vendor certificate for signing requests of push certificates.") \
	X(POM_ERR_PUSH_NO_VENDOR, "POM-E6035", 409, false, "There is no vendor certificate to sign with, or it is not clear which.") \
	X(POM_ERR_PUSH_NO_REQUEST, "POM-E6036", 409, false, "No request waits for this, or it is not clear which.") \
	X(POM_ERR_PUSH_SIGNING_SERVICE, "POM-E6037", 502, true, "The signing service did not take the request, or its answer cannot be used.") \
	X(POM_ERR_PUSH_DOCUMENT, "POM-E6038", 400, false, "The request for Apple's portal is malformed.") \
	X(POM_ERR_PUSH_IN_USE, "POM-E6039", 409, false, "Devices are enrolled with the topic of this push certificate.") \
	/* HTTP */ \
	X(POM_ERR_HTTP_SYNTAX, "POM-E7001", 400, false, "The HTTP request is malformed.") \
	X(POM_ERR_HTTP_METHOD, "POM-E7002", 405, false, "This method is not allowed here.") \
	X(POM_ERR_HTTP_TIMEOUT, "POM-E7003", 408, true, "The request came too slowly.") \
	X(POM_ERR_HTTP_LENGTH_REQUIRED, "POM-E7004", 411, false, "The request needs a Content-Length.") \
	X(POM_ERR_HTTP_URI_TOO_LONG, "POM-E7005", 414, false, "The request line is too long.") \
	X(POM_ERR_HTTP_HEADERS_TOO_LARGE, "POM-E7006", 431, false, "The header lines are too large.") \
	X(POM_ERR_HTTP_EXPECTATION, "POM-E7007", 417, false, "Only Expect: 100-continue is understood.") \
	X(POM_ERR_HTTP_VERSION, "POM-E7008", 505, false, "Only HTTP/1.0 and HTTP/1.1 are spoken here.") \
	X(POM_ERR_HTTP_CODING, "POM-E7009", 501, false, "Only the chunked transfer coding is understood.") \
	X(POM_ERR_HTTP_CONNECTIONS, "POM-E7011", 503, true, "Too many connections are open.") \
	X(POM_ERR_HTTP_MISDIRECTED, "POM-E7010", 421, false, "This server does not answer for this host name.") \
	X(POM_ERR_DOCTOR_TARGET, "POM-E8101", 400, false, "This is no address of a server that the doctor could look at.")

enum pom_error {
#define X(code, id, status, retry, text) code,
	POM_ERROR_TABLE(X)
#undef X
	POM_ERR_MAX
};

/* One row of the table; static storage. */
struct pom_error_info {
	const char *name; /* "POM_ERR_INTERNAL" */
	const char *id;   /* "POM-E0001" */
	int http_status;
	bool retry;       /* the same request may succeed later */
	const char *text; /* for people, a full sentence */
};

#define POM_ERROR (pom_error_quark())
GQuark pom_error_quark(void);

/* The row of a code. Codes outside the table give the row of POM_ERR_INTERNAL. Any thread. */
const struct pom_error_info *pom_error_info(int code);

/* The row of an error: its own when it is of the domain POM_ERROR, else that of POM_ERR_INTERNAL. */
const struct pom_error_info *pom_error_info_of(const GError *error);

/* The code whose stable id is ID ("POM-E0001", any case, also "E0001"), or POM_ERR_MAX. */
enum pom_error pom_error_find(const char *id);

/* Sets ERROR (may be NULL) to CODE with the formatted message, and returns false, so that a refusal is one line:
 *   return pom_fail(error, POM_ERR_PLIST_KEY, "TokenUpdate.Token is missing"); */
bool pom_fail(GError **error, enum pom_error code, const char *format, ...) G_GNUC_PRINTF(3, 4);
