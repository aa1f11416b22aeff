/* What Apple devices show when an enrollment or a command fails, in our own words: X(domain, code, name, what it means, likely
 * causes, what to look at). The codes are those of Apple's published error table. */
#pragma once

#define SCEP_DOMAIN "MCSCEPErrorDomain"
#define MDM_DOMAIN "MCMDMErrorDomain"
#define INSTALL_DOMAIN "MCInstallationErrorDomain"
#define PROFILE_DOMAIN "MCProfileErrorDomain"
#define PAYLOAD_DOMAIN "MCPayloadErrorDomain"
#define HTTP_DOMAIN "MCHTTPTransactionErrorDomain"

#define APPLE_ERROR_TABLE(X) \
	X(SCEP_DOMAIN, 22000, "invalid key usage", "The SCEP payload asks for a use of the key that the device does not know.", \
	  "Key Usage in the payload is not 0, 1, 4 or 5, or the CA refuses that use.", "Key Usage of the SCEP payload; Pomona's own profiles have 5.") \
	X(SCEP_DOMAIN, 22001, "cannot generate a key pair", "The device could not make the key that the payload asks for.", \
	  "Keysize is not 1024, 2048 or 4096, Key Type is not RSA, or the device's keychain is locked.", "The setting enroll.key_size (2048 or 4096); unlock the device and try again.") \
	X(SCEP_DOMAIN, 22002, "invalid CA response", "What came for GetCACert is no certificate that the device can use.", \
	  "A proxy or a login page answers instead of Pomona, the answer is redirected, or CAFingerprint is that of another CA.", \
	  "Fetch SCEP-URL?operation=GetCACert from outside: it must be DER with the type application/x-x509-ca-cert. After a change of CA make a new link.") \
	X(SCEP_DOMAIN, 22003, "invalid RA response", "The set of certificates for GetCACert holds none that signs and encrypts.", \
	  "Another SCEP server or a proxy answers with a chain that has no key encipherment certificate.", "GetCACert as the device sees it; Pomona answers with one certificate.") \
	X(SCEP_DOMAIN, 22004, "unsupported configuration", "The device found no CA certificate that it can work with.", \
	  "The media type of the GetCACert answer was changed on the way, or the CA has no RSA key.", "The Content-Type of GetCACert through your proxy.") \
	X(SCEP_DOMAIN, 22005, "network error", "The device did not reach the SCEP server, or did not trust its TLS certificate.", \
	  "Name lookup, a firewall, a proxy, a TLS certificate that is expired, lacks the host name or its intermediate, or a server that asks for a client certificate.", \
	  "Open the SCEP URL on the same network. If Pomona's log shows no request from the device, it is the network or TLS.") \
	X(SCEP_DOMAIN, 22006, "insufficient CA capabilities", "GetCACaps does not list what the device needs.", \
	  "A proxy answers or changes the text, or lines end in CR LF.", "SCEP-URL?operation=GetCACaps: POSTPKIOperation and a SHA line must be there, each on a line of its own.") \
	X(SCEP_DOMAIN, 22007, "invalid signed certificate", "The certificate that came back does not fit the request.", \
	  "The device's clock is far off, or the certificate was made for another key.", "Date and time of the device and of the server.") \
	X(SCEP_DOMAIN, 22008, "cannot create the identity", "Certificate and key could not be joined in the keychain.", \
	  "The answer held more certificates than the issued one, or one for another key.", "Whether another SCEP server or proxy stands between device and Pomona.") \
	X(SCEP_DOMAIN, 22009, "cannot create the temporary identity", "The device could not make the throw-away certificate that signs its request.", \
	  "Leftovers of an enrollment that was broken off, or a locked keychain.", "Restart the device and open the link again; nothing is wrong at the server.") \
	X(SCEP_DOMAIN, 22010, "cannot store the temporary identity", "The throw-away certificate could not be kept in the keychain.", \
	  "Leftovers of an enrollment that was broken off, or a locked keychain.", "Restart the device and open the link again; nothing is wrong at the server.") \
	X(SCEP_DOMAIN, 22011, "cannot generate the request", "The device could not build the certificate request.", \
	  "Subject in the SCEP payload is nested wrongly, names an unknown attribute, or has no value.", "Subject of the SCEP payload, if the profile is not Pomona's own.") \
	X(SCEP_DOMAIN, 22012, "cannot store the CA certificate", "The CA's certificate could not be kept in the keychain.", \
	  "The certificate is malformed, for example with a serial number that is negative or longer than 20 octets.", "The CA certificate with openssl x509; another one of the same name on the device.") \
	X(SCEP_DOMAIN, 22013, "invalid PKIOperation response", "The server refused the certificate request; devices show this for every refusal.", \
	  "The link or its challenge is used up, expired or withdrawn, the answer is an error page, or its signer is not the certificate that GetCACert gave.", \
	  "Pomona's log at that minute: the line \"refused\" with the route /scep has the reason (POM-E31.. is the challenge). Usually a new link mends it.") \
	X(MDM_DOMAIN, 12000, "invalid access rights", "AccessRights of the MDM payload are not possible.", \
	  "A right is set without the one that it needs.", "The setting enroll.access_rights; 8191 is all.") \
	X(MDM_DOMAIN, 12001, "another management profile is there", "A device is managed by one server at a time.", \
	  "The device is still enrolled, here or elsewhere.", "Settings, General, VPN & Device Management: remove the old profile first.") \
	X(MDM_DOMAIN, 12002, "cannot check in", "The server did not accept the Authenticate or TokenUpdate message.", \
	  "Pomona is not reachable at server.url, a proxy drops the Mdm-Signature header, or the message was refused.", "Pomona's log: a line \"refused\" with route /mdm says why; no line means that nothing arrived.") \
	X(MDM_DOMAIN, 12004, "invalid push certificate", "The push topic in the profile is not one of Apple's management topics.", \
	  "The profile was made with something other than a push certificate from identity.apple.com.", "pomona push-cert show") \
	X(MDM_DOMAIN, 12005, "certificate not found", "The identity that the MDM payload names is not on the device.", \
	  "The SCEP payload failed before, or the profile names another payload.", "The error below this one in the chain, often one of MCSCEPErrorDomain.") \
	X(MDM_DOMAIN, 12006, "redirect refused", "The server sent the device elsewhere, which it does not follow here.", \
	  "A proxy redirects, for example from one host name to another.", "curl -I of server.url through the proxy: it must not answer 3xx.") \
	X(MDM_DOMAIN, 12007, "not authorized", "The server answered that this device may not do this.", \
	  "A proxy in front of Pomona asks for a password; Pomona itself never answers 401 to devices.", "Authentication rules of the proxy for /mdm and /scep.") \
	X(MDM_DOMAIN, 12008, "malformed request", "The server called the device's message malformed.", \
	  "A proxy changed the body or cut it off.", "Pomona's log: the line \"refused\" with route /mdm; size limits of the proxy.") \
	X(MDM_DOMAIN, 12009, "invalid replacement profile", "A profile that replaces the enrollment changes what must stay.", \
	  "ServerURL, Topic or the kind of enrollment differ from the profile that is installed.", "Enroll anew with a fresh link instead.") \
	X(MDM_DOMAIN, 12011, "invalid configuration", "The MDM payload contradicts itself.", \
	  "A URL is not https, or a required key is missing.", "server.url; the profile, if it is not Pomona's own.") \
	X(MDM_DOMAIN, 12015, "cannot get a push token", "The device got no token from Apple's push service.", \
	  "The network blocks TCP port 5223 or 443 to 17.0.0.0/8, or a proxy inspects that traffic.", "The same device on another network, for example a phone's hotspot.") \
	X(MDM_DOMAIN, 12016, "the identity is missing", "The certificate that the enrollment uses is gone from the keychain.", \
	  "The certificate was removed by hand, or the device was restored from a backup of another one.", "Remove the management profile and enroll again.") \
	X(MDM_DOMAIN, 12020, "not authorized by the server", "The server has ended the management.", \
	  "An answer 401 came, which Pomona never sends to devices: a proxy did.", "Authentication rules of the proxy for /mdm.") \
	X(MDM_DOMAIN, 12021, "invalid request type", "The device does not know this command, or not in its present state.", \
	  "A misspelt RequestType, an old system, a command for another kind of device, or one that needs supervision.", "RequestType as Apple writes it, capital letters included; pomona command show UUID.") \
	X(MDM_DOMAIN, 12022, "invalid topic", "The push topic differs from the one that the device is enrolled with.", \
	  "The push certificate was created anew instead of being renewed.", "pomona push-cert show; at identity.apple.com renew the old entry.") \
	X(MDM_DOMAIN, 12034, "the URL is not https", "A manifest or a document of the command lies at a URL without TLS.", \
	  "The command gives an http address.", "The URLs in the command.") \
	X(MDM_DOMAIN, 12076, "no connections per user", "This device does not serve user channels.", \
	  "The profile lacks the capability com.apple.mdm.per-user-connections, or the system has no such channel.", "Send the command to the device instead of the user.") \
	X(MDM_DOMAIN, 12013, "the profile is not managed", "The server may only remove what it has installed itself.", \
	  "The profile was installed by hand, or is gone already.", "Settings, General, VPN & Device Management on the device.") \
	X(MDM_DOMAIN, 12075, "the profile is not there", "There is no profile with this identifier on the device.", \
	  "It was removed before.", "pomona command send ID ProfileList") \
	X(PROFILE_DOMAIN, 1000, "malformed profile", "What came is no configuration profile.", \
	  "The file was cut off, or something else was put into the command.", "pomona profile show NAME; the file with plutil or xmllint.") \
	X(PROFILE_DOMAIN, 1002, "a field is missing", "A key that each profile needs is not there.", "PayloadIdentifier, PayloadUUID, PayloadType or PayloadVersion is missing.", "The key that the message names.") \
	X(PROFILE_DOMAIN, 1003, "a field has the wrong type", "A key of the profile has a value of another type than it must have.", "A number written as text, or data as text.", "The key that the message names.") \
	X(PROFILE_DOMAIN, 1004, "bad signature", "The signature of the profile does not verify.", \
	  "The file was changed after it was signed.", "Sign it again, or add it unsigned and let Pomona sign it.") \
	X(PROFILE_DOMAIN, 1005, "empty profile", "The profile holds no payload.", "PayloadContent is an empty array.", "The profile's PayloadContent.") \
	X(PROFILE_DOMAIN, 1006, "cannot be decrypted", "The content of the profile is encrypted for somebody else.", \
	  "The identity of the device was renewed after the profile was made.", "pomona profile resend NAME ID makes it anew for the present identity.") \
	X(PROFILE_DOMAIN, 1007, "a UUID stands twice", "Two payloads have the same PayloadUUID.", "Payloads were copied by hand.", "PayloadUUID of each payload.") \
	X(PROFILE_DOMAIN, 1008, "an identifier stands twice", "Two payloads have the same PayloadIdentifier.", "Payloads were copied by hand.", "PayloadIdentifier of each payload.") \
	X(PROFILE_DOMAIN, 1009, "installation failed", "The profile could not be installed; this is only an outer error.", "One of its payloads failed.", "The errors below it in the chain.") \
	X(PROFILE_DOMAIN, 1010, "a value is not supported", "A key of the profile has a value that this device does not know.", "The profile is for a newer system or another kind of device.", "The key that the message names.") \
	X(PAYLOAD_DOMAIN, 2000, "malformed payload", "A payload does not have the form of its type.", "A key is nested wrongly.", "The payload that the message names.") \
	X(PAYLOAD_DOMAIN, 2002, "a field is missing", "A payload lacks a key that its type needs.", "The profile was written by hand.", "The key that the message names.") \
	X(PAYLOAD_DOMAIN, 2003, "a field has the wrong type", "A payload has a value of the wrong type.", "A number written as text, or data as text.", "The key that the message names.") \
	X(PAYLOAD_DOMAIN, 2004, "a value is not supported", "A payload has a value that this device does not know.", "The profile is for a newer system or another kind of device.", "The key that the message names.") \
	X(INSTALL_DOMAIN, 4002, "a UUID is there already", "Another profile on the device has a payload with the same PayloadUUID.", "A profile was copied and given another PayloadIdentifier only.", "Give the copy UUIDs of its own.") \
	X(INSTALL_DOMAIN, 4005, "the passcode does not comply", "The passcode does not fit the rules that are there already.", "A passcode policy is waiting for a new passcode.", "Let the user set a new passcode; send the profile again.") \
	X(INSTALL_DOMAIN, 4006, "the removal date is past", "RemovalDate of the profile lies in the past.", "An old profile.", "RemovalDate.") \
	X(INSTALL_DOMAIN, 4008, "signed by somebody else", "A profile that replaces another must be signed by the same signer.", "The installed one was signed with another certificate.", "Remove the profile first, then install it.") \
	X(INSTALL_DOMAIN, 4010, "another identifier", "A new version of a profile must have the identifier of the old one.", "PayloadIdentifier was changed.", "PayloadIdentifier.") \
	X(INSTALL_DOMAIN, 4023, "a payload is not acceptable", "The device does not take a payload of this type in this way.", "The payload needs supervision, automated enrollment, or another channel (user instead of device).", "The requirements of the payload type.") \
	X(INSTALL_DOMAIN, 4024, "the profile is not there", "There is no such profile on the device.", "It was removed before.", "pomona command send ID ProfileList") \
	X(INSTALL_DOMAIN, 4025, "not supervised", "The profile needs a supervised device.", "The device was enrolled by hand.", "IsSupervised in pomona device facts ID.") \
	X(INSTALL_DOMAIN, 4027, "a new passcode is needed", "The profile can be installed after the passcode was changed.", "A passcode policy.", "Let the user set a new passcode; send the profile again.") \
	X(INSTALL_DOMAIN, 4031, "it holds user data", "The profile holds data of a user, which does not belong to this channel.", "An account payload on the device channel.", "Send it to the user channel.") \
	X(INSTALL_DOMAIN, 4000, "the profile cannot be parsed", "What was downloaded is no configuration profile.", \
	  "The link has expired, and its page of refusal came instead, or a proxy answered.", "Open the link in a browser; make a new one.") \
	X(INSTALL_DOMAIN, 4001, "installation failed", "One payload of the profile failed; this is only the outermost error.", \
	  "Most often the SCEP or the MDM payload.", "The errors below it in the chain: explain the last one first.") \
	X(INSTALL_DOMAIN, 4004, "canceled by the user", "Somebody pressed Cancel.", "The steps were broken off.", "Open the link again.") \
	X(INSTALL_DOMAIN, 4009, "the device is locked", "The profile could not be installed while the device was locked.", "A command came before the first unlock.", "Unlock the device; send the command again.") \
	X(HTTP_DOMAIN, 23001, "bad server response", "The server's answer was not one that the device expects.", \
	  "A proxy answers with an error page, or Pomona refused.", "Pomona's log at that minute; the proxy's log if Pomona saw nothing.") \
	X(HTTP_DOMAIN, 23002, "the server's certificate is not trusted", "The device did not accept the TLS certificate.", \
	  "The root certificate is missing on the device, an intermediate is not sent, the host name is not in the certificate, or it is valid for more than 397 days.", \
	  "openssl s_client -connect HOST:PORT -showcerts; the setting enroll.include_root.") \
	X(HTTP_DOMAIN, 23005, "forbidden", "The server answered 403.", \
	  "The certificate is revoked, expired, of an earlier enrollment, or of another device.", "Pomona's log: the line \"refused\" has the reason (pomona explain POM-E....).")
