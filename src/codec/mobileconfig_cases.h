/* Profiles that mobileconfig_check takes and refuses; the linter must agree. For tests. */
#pragma once

#include "base/error.h"

#define HEAD(type, id, uuid) \
	"<key>PayloadType</key><string>" type "</string><key>PayloadVersion</key><integer>1</integer>" \
	"<key>PayloadIdentifier</key><string>" id "</string><key>PayloadUUID</key><string>" uuid "</string>"
#define PROFILE(content) "<plist><dict>" HEAD("Configuration", "org.example", "P") content "</dict></plist>"
#define CONTENT(payloads) "<key>PayloadContent</key><array>" payloads "</array>"
#define PAYLOAD(type, id, uuid, more) "<dict>" HEAD(type, id, uuid) more "</dict>"
#define MDM(identity) PAYLOAD("com.apple.mdm", "mdm", "M", "<key>IdentityCertificateUUID</key><string>" identity "</string>")
#define SCEP PAYLOAD("com.apple.security.scep", "scep", "s1", "")
#define P12(content) PAYLOAD("com.apple.security.pkcs12", "p12", "X", "<key>PayloadContent</key>" content)

static const struct {
	const char *text;
	int code;            /* 0: accepted */
	const char *message; /* part of it */
} profiles[] = {
	{PROFILE(CONTENT("")), 0, NULL},
	{PROFILE(CONTENT(SCEP MDM("s1"))), 0, NULL},
	{PROFILE(CONTENT(SCEP MDM("S1"))), 0, NULL},
	{PROFILE(CONTENT(P12("<data>AAEC</data>") MDM("X"))), 0, NULL},
	{PROFILE(CONTENT(PAYLOAD("com.apple.security.acme", "a", "A", "") MDM("A"))), 0, NULL},
	{PROFILE("<key>EncryptedPayloadContent</key><data>AAEC</data>"), 0, NULL},
	{"<plist><array/></plist>", POM_ERR_PROFILE, "dictionary"},
	{"<plist><dict/></plist>", POM_ERR_PROFILE, "profile.PayloadType is missing"},
	{"<plist><dict>" HEAD("Profile Service", "a", "b") CONTENT("") "</dict></plist>", POM_ERR_PROFILE, "Configuration"},
	{"<plist><dict>" HEAD("Configuration", "", "b") CONTENT("") "</dict></plist>", POM_ERR_PROFILE, "PayloadIdentifier is empty"},
	{"<plist><dict>" HEAD("Configuration", "a", "") CONTENT("") "</dict></plist>", POM_ERR_PROFILE, "PayloadUUID is empty"},
	{PROFILE(""), POM_ERR_PROFILE, "PayloadContent is missing"},
	{PROFILE("<key>PayloadContent</key><dict/>"), POM_ERR_PROFILE, "PayloadContent is not an array"},
	{PROFILE(CONTENT("<string>x</string>")), POM_ERR_PROFILE, "PayloadContent[0] is not a dictionary"},
	{PROFILE(CONTENT("<dict/>")), POM_ERR_PROFILE, "PayloadContent[0].PayloadType is missing"},
	{PROFILE(CONTENT("<dict><key>PayloadType</key><integer>1</integer></dict>")), POM_ERR_PROFILE, "PayloadContent[0].PayloadType is an integer, must be a string"},
	{PROFILE(CONTENT("<dict><key>PayloadType</key><string>a</string><key>PayloadVersion</key><string>1</string></dict>")), POM_ERR_PROFILE, "PayloadVersion"},
	{PROFILE(CONTENT(SCEP PAYLOAD("a", "b", "S1", ""))), POM_ERR_PROFILE, "PayloadContent[1].PayloadUUID stands in this profile twice"},
	{PROFILE(CONTENT(SCEP PAYLOAD("a", "scep", "c", ""))), POM_ERR_PROFILE, "PayloadContent[1].PayloadIdentifier stands in this profile twice"},
	{PROFILE(CONTENT(PAYLOAD("a", "org.example", "c", ""))), POM_ERR_PROFILE, "PayloadIdentifier"},
	{PROFILE(CONTENT(PAYLOAD("a", "b", "P", ""))), POM_ERR_PROFILE, "PayloadUUID"},
	{PROFILE(CONTENT(SCEP MDM("other"))), POM_ERR_PROFILE, "IdentityCertificateUUID"},
	{PROFILE(CONTENT(SCEP MDM("M"))), POM_ERR_PROFILE, "IdentityCertificateUUID"},
	{PROFILE(CONTENT(PAYLOAD("com.apple.mdm", "mdm", "M", ""))), POM_ERR_PROFILE, "PayloadContent[0].IdentityCertificateUUID is missing"},
	{PROFILE(CONTENT(SCEP MDM("s1") PAYLOAD("com.apple.mdm", "m2", "M2", "<key>IdentityCertificateUUID</key><string>s1</string>"))), POM_ERR_PROFILE, "second"},
	{PROFILE(CONTENT(P12("<string>AAEC</string>"))), POM_ERR_PROFILE, "PayloadContent[0].PayloadContent is a string, must be data"},
	{PROFILE("<key>EncryptedPayloadContent</key><string>x</string>"), POM_ERR_PROFILE, "Encrypted"},
	{PROFILE(CONTENT("") "<key>EncryptedPayloadContent</key><data>AAEC</data>"), POM_ERR_PROFILE, "Encrypted"},
	{"<plist><dict>", POM_ERR_PLIST_SYNTAX, NULL},
	{"", POM_ERR_PLIST_SYNTAX, NULL},
	{"0", POM_ERR_CMS_MALFORMED, NULL},
};
