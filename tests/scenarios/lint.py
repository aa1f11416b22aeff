"""`pomona lint`: a gallery of bad profiles, each with exactly its finding; good ones of every payload type; what Pomona makes itself; the forms of the output."""
import csv
import xml.etree.ElementTree

from harness import *

HERE = pathlib.Path(__file__).resolve().parents[2]
NO_APNS = ("--apns-url", "https://127.0.0.1:1")
FOLDER = tempfile.mkdtemp(prefix="lint-")
NOTES = {"signature-none"}  # what every unsigned profile has


def keep(name, data):
    path = os.path.join(FOLDER, name)
    pathlib.Path(path).write_bytes(data)
    return path


def lint(*args, code=None):
    p = subprocess.run([POMONA, "lint", "--data", FOLDER, *args], capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
    expect(not any(text in p.stderr.decode() for text in SANITIZER_REPORTS), p.stderr.decode())
    expect(code is None or p.returncode == code, f"lint {args}: exit {p.returncode}: {p.stdout.decode()[:2000]} {p.stderr.decode()}")
    return p


def reports(paths, *args):
    """The reports on all files, by path: many in one go."""
    found = json.loads(lint("--json", *args, *paths).stdout)
    items = found["items"] if "items" in found else [found]
    equal([r["target"] for r in items], list(paths), "a report on each file")
    return dict(zip(paths, items))


def refused(*args, text, code):
    p = lint(*args, code=code)
    expect(text in p.stderr.decode(), f"wanted {text}: {p.stderr.decode()}")


# ---------------------------------------------------------------- profiles and certificates

def uuid(n):
    return f"00000000-0000-4000-8000-{n:012d}"


def payload(kind, n, **more):
    return {"PayloadType": kind, "PayloadVersion": 1, "PayloadIdentifier": f"org.example.{n}", "PayloadUUID": uuid(n), **more}


def profile(*content, **more):
    return {**payload("Configuration", 0), "PayloadContent": list(content), **more}


def xml_of(tree):
    return plistlib.dumps(tree)


class Cert:
    """A certificate with its key, made without Pomona."""

    def __init__(self, name, issuer=None, ca=False, days=300, start=-1, key=None, eku=(), usage=(), extra=(), attributes=(), names=(), digest=None):
        self.key = key or ec_keys.generate_private_key(ec_keys.SECP256R1())
        self.name = x509.Name([*attributes, x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.datetime.utcnow()
        builder = (x509.CertificateBuilder().subject_name(self.name).issuer_name((issuer or self).name).public_key(self.key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(now + datetime.timedelta(days=start)).not_valid_after(now + datetime.timedelta(days=days)).add_extension(x509.BasicConstraints(ca, None), True))
        if eku:
            builder = builder.add_extension(x509.ExtendedKeyUsage(eku), False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
        if usage:
            builder = builder.add_extension(x509.KeyUsage(*[u in usage for u in ("sign", "commit", "encipher", "data", "agree", "issue", "crl")], False, False), True)
        for dotted in extra:
            builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(dotted), b"\x05\x00"), False)
        self.cert = builder.sign((issuer or self).key, digest or hashes.SHA256())

    @property
    def pem(self):
        return self.cert.public_bytes(serialization.Encoding.PEM)


SERVER_AUTH, CLIENT_AUTH = x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH
ROOT = Cert("Gallery Root", ca=True, usage=("sign", "issue", "crl"))
MIDDLE = Cert("Gallery Issuing", ROOT, ca=True, usage=("sign", "issue", "crl"))
LEAF = Cert("signer.example.org", MIDDLE, eku=[SERVER_AUTH], usage=("sign",), names=["signer.example.org"])


def sign(data, signer, *options, chain=(MIDDLE,), name="signed"):
    args = ["cms", "-sign", "-binary", "-nodetach", "-outform", "DER", "-in", keep("in", data), "-signer", keep("signer", signer.pem + pem_key(signer.key)), "-out", os.path.join(FOLDER, name), *options]
    if chain:
        args += ["-certfile", keep("chain", b"".join(c.pem for c in chain))]
    openssl(*args)
    return pathlib.Path(FOLDER, name).read_bytes()


def with_certificate_twice(data):
    message = cms.ContentInfo.load(data)
    certificates = message["content"]["certificates"]
    doubled = [c.dump() for c in certificates]
    body = b"".join(doubled + doubled[:1])
    length = len(body)
    head = b"\xa0" + (bytes([0x80 | ((length.bit_length() + 7) // 8)]) + length.to_bytes((length.bit_length() + 7) // 8, "big") if length > 127 else bytes([length]))
    inner = message["content"]
    parts = [inner["version"].dump(), inner["digest_algorithms"].dump(), inner["encap_content_info"].dump(), head + body, inner["signer_infos"].dump()]
    return tlv(0x30, message["content_type"].dump(), tlv(0xa0, tlv(0x30, *parts)))


def p12(cert, *others, modern=False, password=b"pw"):
    form = serialization.PrivateFormat.PKCS12.encryption_builder().kdf_rounds(2048)
    form = form.key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC if modern else pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(hashes.SHA256() if modern else hashes.SHA1()).build(password)
    return pkcs12.serialize_key_and_certificates(b"x", cert.key, cert.cert, [c.cert for c in others] or None, form)


def encrypted(content, cert):
    """A profile whose content is encrypted to the certificate, by openssl."""
    openssl("cms", "-encrypt", "-binary", "-aes256", "-outform", "DER", "-in", keep("content", plistlib.dumps(content)), "-out", os.path.join(FOLDER, "sealed"), keep("to", cert.pem))
    return xml_of({**payload("Configuration", 0), "EncryptedPayloadContent": pathlib.Path(FOLDER, "sealed").read_bytes()})


WIFI = payload("com.apple.wifi.managed", 1, SSID_STR="lab", EncryptionType="WPA2", Password="secret")
SCEP = payload("com.apple.security.scep", 1, PayloadContent={"URL": "https://a.example/scep", "Keysize": 2048})
MDM = payload("com.apple.mdm", 2, IdentityCertificateUUID=uuid(1), Topic=TOPIC, ServerURL="https://a.example/mdm", AccessRights=8191, SignMessage=True)
ACME = payload("com.apple.security.acme", 1, DirectoryURL="https://a.example/acme", ClientIdentifier="x", KeyType="RSA", KeySize=2048, HardwareBound=False, Subject=[[["CN", "x"]]])


def root_payload(cert, kind="root", n=1):
    return payload("com.apple.security." + kind, n, PayloadContent=der(cert.cert))


def p12_payload(data, **more):
    return payload("com.apple.security.pkcs12", 1, PayloadContent=data, **{"Password": "pw", **more})


def without(tree, *keys):
    return {k: v for k, v in tree.items() if k not in keys}


def scep(**more):
    return profile({**SCEP, "PayloadContent": {**SCEP["PayloadContent"], **more}})


# ---------------------------------------------------------------- the gallery

GOOD = xml_of(profile(SCEP, MDM))


def bad_files():
    """Bytes that are no profile, or not one that can be read."""
    signed = sign(GOOD, LEAF)
    yield "file-empty", b""
    yield "file-utf16", GOOD.decode().encode("utf-16")
    yield "file-html", b"<!DOCTYPE html>\n<html><body>Log in</body></html>"
    yield "file-private-key", pem_key(LEAF.key)
    yield "file-pem", openssl_pem(signed)
    yield "file-der", der(ROOT.cert)
    yield "file-syntax", GOOD[:-30]
    yield "file-syntax", GOOD.replace(b"</dict>", b"</dic>", 1)
    yield "file-structure", GOOD.replace(b"</array>", b"", 1)
    yield "file-value", GOOD.replace(b"<integer>8191</integer>", b"<integer>all</integer>")
    yield "file-structure", GOOD.replace(b"<key>AccessRights</key>", b"")
    yield "file-entity", GOOD.replace(b"<!DOCTYPE plist PUBLIC", b"<!DOCTYPE plist [<!ENTITY x 'y'>]><!-- ").replace(b'PropertyList-1.0.dtd">', b'" -->', 1)
    yield "file-limit", b"<plist>" + b"<array>" * 40 + b"</array>" * 40 + b"</plist>"
    yield "file-binary", plistlib.dumps(profile(SCEP, MDM), fmt=plistlib.FMT_BINARY)
    yield "file-syntax", plistlib.dumps(profile(SCEP, MDM), fmt=plistlib.FMT_BINARY)[:-9]
    yield "signature-cut", signed[:-60]
    yield "signature-cut", signed[:1]
    yield "signature-broken", signed.replace(b"a.example/mdm", b"b.example/mdm")
    yield "signature-no-certificate", sign(GOOD, LEAF, "-nocerts", chain=())
    yield "signature-malformed", signed + b"junk"
    yield "signature-algorithm", sign(GOOD, Cert("RSA", MIDDLE, key=rsa_key()), "-md", "md5")
    yield "signature-detached", detached(GOOD)


def openssl_pem(signed):
    openssl("cms", "-cmsout", "-inform", "DER", "-in", keep("der", signed), "-outform", "PEM", "-out", os.path.join(FOLDER, "pem"))
    return pathlib.Path(FOLDER, "pem").read_bytes()


def detached(data):
    out = os.path.join(FOLDER, "detached")
    openssl("cms", "-sign", "-binary", "-outform", "DER", "-in", keep("in", data), "-signer", keep("signer", LEAF.pem + pem_key(LEAF.key)), "-out", out)
    return pathlib.Path(out).read_bytes()


def bad_signers():
    def by(rule, *args, chain=(MIDDLE,), options=(), **more):
        return rule, sign(GOOD, Cert(*args, **{"issuer": MIDDLE, **more}), *options, chain=chain)
    uid = x509.NameAttribute(x509.NameOID.USER_ID, TOPIC)
    yield by("signature-push", "APSP:x", attributes=[uid])
    yield by("signature-push", "Push Service", extra=["1.2.840.113635.100.6.3.1"])
    yield by("signature-vendor", "MDM Vendor: Example", extra=["1.2.840.113635.100.6.1.22"])
    yield by("signature-developer", "Apple Development: Ann", extra=["1.2.840.113635.100.6.1.2"])
    yield by("signature-ca", "Issues", ca=True, usage=("sign", "issue"))
    yield by("signature-identity", "00008110-0001", eku=[CLIENT_AUTH])
    yield by("signature-usage", "Enciphers", usage=("encipher",))
    yield by("signature-weak-key", "Weak", key=rsa.generate_private_key(65537, 1024))
    yield by("signature-sha1", "Old digest", options=("-md", "sha1"))
    yield by("signature-expired", "Old", start=-90, days=-60)
    yield by("signature-not-yet", "Early", start=60, days=90)
    yield by("signature-incomplete", "Leaf only", chain=())
    yield "signature-doubled", with_certificate_twice(sign(GOOD, LEAF))
    yield by("signature-foreign", "With a stranger", chain=(MIDDLE, Cert("Stranger", ca=True)))
    yield "signature-untrusted", sign(GOOD, Cert("Own signer"), chain=())


def bad_structures():
    both = profile(SCEP, MDM)
    yield "profile-root", []
    yield "key-missing", without(both, "PayloadIdentifier")
    yield "key-missing", without(both, "PayloadUUID")
    yield "key-missing", without(both, "PayloadVersion")
    yield "key-missing", profile(SCEP, without(MDM, "PayloadUUID"))
    yield "key-missing", profile(SCEP, without(MDM, "PayloadIdentifier"))
    yield "key-missing", profile(SCEP, without(MDM, "Topic"))
    yield "key-missing", profile(payload("com.apple.wifi.managed", 1, SSID_STR="x", EncryptionType="WPA2", EAPClientConfiguration={}))
    yield "key-empty", {**both, "PayloadIdentifier": ""}
    yield "key-type", {**both, "PayloadDisplayName": 7}
    yield "key-type", profile({**WIFI, "HIDDEN_NETWORK": "true"})
    yield "key-data", profile(p12_payload(base64.b64encode(p12(LEAF)).decode()))
    yield "key-value", {**both, "PayloadScope": "system"}
    yield "key-value", profile({**WIFI, "EncryptionType": "WPA4"})
    yield "key-range", profile(payload("com.apple.mobiledevice.passwordpolicy", 1, pinHistory=51))
    yield "key-format", profile(payload("com.apple.airplay", 1, AllowList=[{"DeviceID": "not a MAC"}]))
    yield "key-version", {**both, "PayloadVersion": 2}
    yield "key-version", {**both, "PayloadVersion": "1"}
    yield "key-unknown", profile({**WIFI, "HIDDEN_NETWRK": True})
    yield "key-unknown", profile({**WIFI, "EAPClientConfiguration": {"AcceptEAPTypes": [13], "Nested": True}})
    yield "key-removed", profile(SCEP, {**MDM, "ManagedAppleID": "a@example.org"})
    yield "uuid-form", profile({**WIFI, "PayloadUUID": "wifi"})
    yield "uuid-twice", profile(WIFI, payload("com.apple.dock", 2) | {"PayloadUUID": uuid(1)})
    yield "identifier-twice", profile(WIFI, payload("com.apple.dock", 2) | {"PayloadIdentifier": "org.example.1"})
    yield "reference-missing", profile({**WIFI, "PayloadCertificateUUID": uuid(9)})
    yield "reference-identity", profile(root_payload(ROOT), MDM)
    yield "reference-certificate", profile(payload("com.apple.dock", 3), {**WIFI, "PayloadCertificateUUID": uuid(3)})
    yield "payload-unknown", profile({**WIFI, "PayloadType": "com.apple.wifi.manged"})
    yield "payload-several", profile(payload("com.apple.dock", 1), payload("com.apple.dock", 2))
    yield "payload-removed", profile(payload("com.apple.AIM.account", 1, AIMHostName="slogin.oscar.aol.com", AIMAuthentication="AIMAuthPassword"))
    yield "payload-deprecated", profile(payload("com.apple.apn.managed", 1, DefaultsDomainName="com.apple.managedCarrier", DefaultsData={"apns": []}))
    yield "profile-type", {**both, "PayloadType": "com.apple.wifi.managed"}
    yield "profile-no-content", payload("Configuration", 0)
    yield "profile-two-contents", {**both, "EncryptedPayloadContent": b"x"}
    yield "profile-empty", profile()
    yield "profile-payload", profile("text")
    yield "profile-too-many", profile(*[payload("com.example.x", n) for n in range(1, 1002)])
    yield "profile-removal-date", {**both, "RemovalDate": datetime.datetime(2020, 1, 1)}
    yield "profile-duration", {**both, "DurationUntilRemoval": 0}
    yield "profile-two-ends", {**both, "DurationUntilRemoval": 60, "RemovalDate": datetime.datetime(2090, 1, 1)}


def bad_enrollments():
    def mdm(**more):
        return profile(SCEP, {**MDM, **more})
    yield "mdm-several", profile(SCEP, MDM, {**MDM, "PayloadUUID": uuid(3), "PayloadIdentifier": "x"})
    yield "mdm-url", mdm(ServerURL="http://a.example/mdm")
    yield "mdm-url", mdm(CheckInURL="https://")
    yield "mdm-topic", mdm(Topic="org.example")
    yield "mdm-rights-value", mdm(AccessRights=8192)
    yield "mdm-rights-half", mdm(AccessRights=2)
    yield "mdm-rights-none", profile(SCEP, without(MDM, "AccessRights"))
    yield "mdm-rights-byod", mdm(EnrollmentMode="BYOD", AssignedManagedAppleID="a@example.org")
    yield "mdm-account", mdm(EnrollmentMode="ADDE")
    yield "mdm-development", mdm(UseDevelopmentAPNS=True)
    yield "mdm-sign-message", mdm(SignMessage=False)
    yield "scep-place", profile({**SCEP, "URL": "https://b.example"})
    yield "scep-place", profile({**SCEP, "PayloadContent": {"URL": "https://b.example"}, "Keysize": 2048})
    yield "scep-spelling", profile({**SCEP, "PayloadContent": {"URL": "https://a.example", "KeySize": 2048}})
    yield "scep-url", scep(URL="ftp://a.example")
    yield "scep-keysize", scep(Keysize=3072)
    yield "key-type", scep(Keysize="2048")
    yield "scep-keysize-none", profile({**SCEP, "PayloadContent": {"URL": "https://a.example"}})
    yield "scep-keysize-weak", scep(Keysize=1024)
    yield "scep-key-type", scep(**{"Key Type": "EC"})
    yield "scep-key-usage", scep(**{"Key Usage": 2})
    yield "scep-fingerprint", scep(CAFingerprint=bytes(32))
    yield "scep-fingerprint", scep(CAFingerprint="00" * 20)
    yield "scep-fingerprint-md5", scep(CAFingerprint=bytes(16))
    yield "subject-form", scep(Subject=[["CN", "x"]])
    yield "subject-form", scep(Subject=["CN=x"])
    yield "subject-form", profile({**ACME, "Subject": [[["CN"]]]})
    yield "acme-url", profile({**ACME, "DirectoryURL": "http://a.example/acme"})
    yield "acme-key-size", profile({**ACME, "KeySize": 2047})
    yield "acme-hardware", profile({**ACME, "HardwareBound": True})
    yield "acme-attest", profile({**ACME, "Attest": True})


def bad_certificates():
    yield "certificate-malformed", profile(payload("com.apple.security.root", 1, PayloadContent=der(ROOT.cert)[:-9]))
    yield "certificate-private-key", profile(payload("com.apple.security.pem", 1, PayloadContent=LEAF.pem + pem_key(LEAF.key)))
    yield "certificate-several", profile(payload("com.apple.security.pem", 1, PayloadContent=MIDDLE.pem + ROOT.pem))
    yield "certificate-twice", profile(root_payload(ROOT), root_payload(ROOT, "pkcs1", 2))
    yield "certificate-expired", profile(root_payload(Cert("Old", ca=True, start=-90, days=-60)))
    yield "certificate-not-yet", profile(root_payload(Cert("Early", ca=True, start=60, days=90)))
    yield "certificate-weak-key", profile(root_payload(Cert("Weak", ca=True, key=rsa.generate_private_key(65537, 1024))))
    yield "certificate-sha1", profile(root_payload(Cert("Old digest", ROOT, digest=hashes.SHA1()), "pkcs1"))
    yield "certificate-not-ca", profile(root_payload(Cert("Leaf", MIDDLE)))
    yield "certificate-ca-usage", profile(root_payload(Cert("Half a CA", ca=True, usage=("sign",))))
    yield "certificate-no-san", profile(root_payload(Cert("mdm.example.org", MIDDLE, eku=[SERVER_AUTH]), "pkcs1"))
    yield "certificate-life", profile(root_payload(Cert("mdm.example.org", MIDDLE, eku=[SERVER_AUTH], names=["mdm.example.org"], days=20 * 365), "pkcs1"))
    yield "certificate-expired", profile(p12_payload(p12(Cert("Old", MIDDLE, start=-90, days=-60))))
    yield "pkcs12-malformed", profile(p12_payload(b"\x00\x01"))
    yield "pkcs12-password", profile(p12_payload(p12(LEAF), Password="wrong"))
    yield "pkcs12-password-none", profile(without(p12_payload(p12(LEAF)), "Password"))
    yield "pkcs12-password-empty", profile(p12_payload(empty_p12(), Password=""))
    yield "pkcs12-cipher", profile(p12_payload(p12(LEAF, modern=True)))
    yield "pkcs12-doubled", profile(p12_payload(p12(LEAF, LEAF, MIDDLE)))


def empty_p12():
    openssl("pkcs12", "-export", "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1", "-in", keep("both", LEAF.pem + pem_key(LEAF.key)), "-passout", "pass:", "-out", os.path.join(FOLDER, "e.p12"))
    return pathlib.Path(FOLDER, "e.p12").read_bytes()


def twice(more):
    """GOOD with another key in the outer dictionary, which plistlib would not write."""
    at = GOOD.rindex(b"</dict>")
    return GOOD[:at] + more + GOOD[at:]


def bad_texts():
    yield "key-twice", twice(b"<key>PayloadContent</key><array/>")
    yield "key-twice", twice(b"<key>PayloadVersion</key><integer>1</integer>")
    yield "profile-encrypted", encrypted([WIFI], Cert("device", key=rsa_key()))


def for_systems():
    """Rule, profile, arguments."""
    dock, air = payload("com.apple.dock", 1), payload("com.apple.applicationaccess", 1, allowAirDrop=True)
    yield "payload-system", profile(dock), ("--for", "ios")
    yield "payload-too-new", profile(ACME), ("--for", "ios=15.8")
    yield "payload-supervised", profile(payload("com.apple.app.lock", 1, App={"Identifier": "x"})), ("--for", "ios", "--unsupervised")
    yield "key-system", profile(SCEP, {**MDM, "PromptUserToAllowBootstrapTokenForAuthentication": True}), ("--for", "ios")
    yield "key-too-new", profile(SCEP, {**MDM, "RequiredAppIDForMDM": 1}), ("--for", "ios=15")
    yield "key-supervised", profile(air), ("--for", "ios", "--unsupervised")
    yield "key-supervised", profile(air), ("--for", "ios")
    yield "key-deprecated", profile(SCEP, {**MDM, "ManagedAppleID": "a@example.org"}), ("--for", "ios=17")
    yield "key-removed", profile(SCEP, {**MDM, "ManagedAppleID": "a@example.org"}), ("--for", "ios=18")


def weighty(report, wanted):
    """The rules found: notes only where one is wanted."""
    return sorted({f["rule"] for f in report["findings"] if f["severity"] != "note" or f["rule"] in wanted})


def rows(path):
    with open(HERE / "catalog" / path, encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))


@case
def each_bad_profile_has_its_finding_and_no_other():
    gallery = [*bad_files(), *bad_signers(), *bad_structures(), *bad_enrollments(), *bad_certificates(), *bad_texts()]
    severities = {r["Rule"]: r["Severity"].split(" or ") for r in rows("lint-rules.tsv")}
    paths = [keep(f"bad-{i:03d}.mobileconfig", data if isinstance(data, bytes) else xml_of(data)) for i, (_, data) in enumerate(gallery)]
    found = reports(paths, "--trust", keep("trust", ROOT.pem))
    wrong = []
    for (rule, _), path in zip(gallery, paths):
        report = found[path]
        hits = [f for f in report["findings"] if f["rule"] == rule]
        if weighty(report, {rule}) != [rule] or len(hits) != 1 or hits[0]["severity"] not in severities[rule] or not hits[0]["mend"]:
            wrong.append((rule, path, report["findings"]))
    expect(not wrong, "\n".join(f"{rule} {path}: {json.dumps(f)}" for rule, path, f in wrong))
    expect(len(gallery) >= 100, f"{len(gallery)} bad profiles")
    asked = list(for_systems())
    for i, (rule, data, args) in enumerate(asked):
        path = keep(f"asked-{i}.mobileconfig", xml_of(data))
        equal(weighty(reports([path], *args)[path], {rule}), [rule], f"{args} {rule}")
    # Of the linter's own, file-json is said where a profile is asked for; a circle always names something of the wrong type, too: it is tried below.
    tried = {rule for rule, *_ in gallery} | {rule for rule, *_ in asked} | {rule for rule, _ in bad_declarations()} | NOTES | {"profile-key", "file-json", "declaration-cycle"}
    equal(sorted(set(severities) - tried), [], "rules without a bad profile")


# ---------------------------------------------------------------- declarations

def declared(kind, identifier, **content):
    return {"Type": "com.apple." + kind, "Identifier": identifier, "Payload": content}


def active(identifier, *names, **more):
    return declared("activation.simple", identifier, StandardConfigurations=list(names), **more)


PASSCODE = declared("configuration.passcode.settings", "p", MinimumLength=6)


def bad_declarations():
    yield "declaration-json", b'{"Type": "x",}'
    yield "declaration-json", b'{"Type": "a", "Type": "b"}'
    yield "declaration-json", declared("configuration.passcode.settings", "p", MinimumLength=1 << 60)
    yield "declaration-form", b'{"Type": "com.apple.configuration.passcode.settings"}'
    yield "declaration-form", b"[]"
    yield "declaration-form", b"[1]"
    yield "declaration-form", {**PASSCODE, "Payloads": {}}
    yield "declaration-identifier", {**PASSCODE, "Identifier": "a/b"}
    yield "declaration-identifier", [PASSCODE, PASSCODE]
    yield "declaration-type", declared("configuration.passcode.setings", "p")
    yield "declaration-type", {**PASSCODE, "Type": "org.example.x"}
    yield "declaration-key", declared("configuration.passcode.settings", "p", MinimumLenght=6)
    yield "declaration-key", declared("configuration.passcode.settings", "p", MinimumLength="6")
    yield "declaration-predicate", active("a", "p", Predicate="@status(device.model.family == 'Mac'")
    yield "declaration-reference", [active("a", "b"), active("b", "p"), PASSCODE]


@case
def declarations_in_files():
    gallery = [(rule, data if isinstance(data, bytes) else json.dumps(data, indent=2).encode()) for rule, data in bad_declarations()]
    paths = [keep(f"bad-declaration-{i}.json", data) for i, (_, data) in enumerate(gallery)]
    found = reports(paths)
    for (rule, data), path in zip(gallery, paths):
        equal([(f["rule"], f["severity"], bool(f["mend"])) for f in found[path]["findings"]], [(rule, "error", True)], f"{data} {found[path]}")
    good = keep("good.json", b"\xef\xbb\xbf" + json.dumps([active("a", "p"), PASSCODE]).encode())
    equal(reports([good])[good]["findings"], [], "two that belong together, behind a byte order mark")
    lint(good, code=0)
    lint(paths[0], code=1)
    # Each line is that of the key, or of what lacks it.
    path = keep("lines.json", json.dumps([PASSCODE, declared("configuration.passcode.settings", "q", **{"MinimumLenght": 6, "a\"b": [{"c": "}"}], "MinimumLength": "x"})], indent=2).encode())
    text = pathlib.Path(path).read_text().splitlines()
    rows = reports([path])[path]["findings"]
    equal(sorted(f["path"] for f in rows), ["[1].Payload.MinimumLenght", "[1].Payload.MinimumLength", '[1].Payload.a"b'])
    for f in rows:
        key = f["path"].split(".")[-1] if '"' not in f["path"] else "Payload"  # one that is written with escapes: where it stands
        expect(f'"{key}":' in text[f["line"] - 1], f"{f}: {text[f['line'] - 1]}")
    cycle = keep("cycle.json", json.dumps([active("a", "b"), active("b", "a")]).encode())
    equal(collections.Counter(f["rule"] for f in reports([cycle])[cycle]["findings"]), {"declaration-reference": 2, "declaration-cycle": 2})
    # Beside profiles, and in the other form.
    suites = xml.etree.ElementTree.fromstring(lint("--junit", path, keep("beside", GOOD)).stdout)
    equal(len(suites.findall("testsuite")), 2)
    refused("--fix", "-o", os.path.join(FOLDER, "fixed.json"), good, text="", code=1)
    # The verb of declarations says the same, and what the server knows.
    with Server(*NO_APNS) as s:
        own = keep("own.json", json.dumps(active("a", "p", Predicate="@status(")).encode())
        alone = reports([own])[own]["findings"]
        code, out, _ = s.cli_code("declaration", "lint", own, "--json")
        report = json.loads(out)
        more = [f for f in report["findings"] if f not in alone]
        equal((code, [f for f in alone if f not in report["findings"]], [(f["rule"], f["path"]) for f in more]), (1, [], [("declaration-reference", "Payload.StandardConfigurations[0]")]))
        expect(b"<testsuites>" in subprocess.run([POMONA, "declaration", "lint", path, "--junit", "--data", s.data], capture_output=True, timeout=60).stdout, "an array, by itself")


@case
def every_finding_names_its_line():
    path = keep("lines.mobileconfig", xml_of(profile({**SCEP, "PayloadContent": {"URL": "ftp://a", "KeySize": 2048}}, {**MDM, "AccessRights": 0})))
    text = pathlib.Path(path).read_text().splitlines()
    for f in reports([path])[path]["findings"]:
        key = f["path"].split(".")[-1]
        expect(not key or f["line"] and f"<key>{key}</key>" in text[f["line"] - 1], f"{f}: {text[(f['line'] or 1) - 1]}")


# ---------------------------------------------------------------- good ones of every type

SAMPLES = {"string": "text", "integer": 1, "real": 1.5, "boolean": True, "date": datetime.datetime(2030, 1, 1), "data": b"data", "any": "text"}
FORMS = {"^https://.*$": "https://a.example", "^[0-9]{6}$": "123456", "^([0-9A-Za-z]{6})|([0-9A-Za-z]{9})$": "123456", "^([0-9A-Fa-f]{2}:){5}([0-9A-Fa-f]{2})$": "00:11:22:33:44:55",
         "^[0-9A-Za-z]{8}-[0-9A-Za-z]{4}-[0-9A-Za-z]{4}-[0-9A-Za-z]{4}-[0-9A-Za-z]{12}$": uuid(7)}
SPECIAL = {"com.apple.mdm": MDM, "com.apple.security.scep": SCEP, "com.apple.security.acme": ACME, "com.apple.security.pkcs12": p12_payload(p12(Cert("device", MIDDLE))),
           "com.apple.security.root": root_payload(ROOT), "com.apple.security.pem": payload("com.apple.security.pem", 1, PayloadContent=ROOT.pem), "com.apple.security.pkcs1": root_payload(ROOT, "pkcs1")}


def split(path, known):
    if path.endswith("[]"):
        return path[:-2], "[]"
    dots = [i for i, c in enumerate(path) if c == "." and path[:i] in known]
    return (path[:dots[-1]], path[dots[-1] + 1:]) if dots else ("", path)


def one_value(row, wrong=False):
    kind, values = row["ValueType"].split("|")[0], row["Values"]
    if wrong:
        return {"wrong": b"x"}
    if row["Reference"]:
        return uuid(900)
    if values.startswith("^"):
        return FORMS[values]
    if ".." in values:
        low = values.split("..")[0]
        return int(low) if kind == "integer" else float(low)
    if values and kind in ("string", "integer", "real"):
        return {"string": str, "integer": lambda v: int(float(v)), "real": float}[kind](values.split("|")[0])
    return SAMPLES[kind]


def tree(keys, wrong=False):
    """A payload's keys with all that there is for each, from the catalog; WRONG: everything that holds nothing has the wrong type. Also the paths of those."""
    known = {r["KeyPath"] for r in keys}
    children = collections.defaultdict(list)
    for r in keys:
        parent, name = split(r["KeyPath"], known)
        children[parent].append((name, r))
    paths = []

    def make(path, row, where):
        kind = row["ValueType"].split("|")[0]
        if kind == "dictionary":
            return {("any" if name == "ANY" else name): make(r["KeyPath"], r, f"{where}.{'any' if name == 'ANY' else name}") for name, r in children[path] if usable(r)}
        if kind == "array":
            return [make(r["KeyPath"], r, f"{where}[0]") for name, r in children[path] if usable(r)]
        if wrong and row["ValueType"] != "any":
            paths.append(where)
            return one_value(row, True)
        return one_value(row)

    def usable(row):
        return "removed" not in row["Systems"]
    return {name: make(r["KeyPath"], r, "PayloadContent[0]." + name) for name, r in children[""] if usable(r)}, paths


def depth(path):
    return path.count("[]") + path.count(".")


@case
def a_well_formed_profile_of_every_type_is_let_pass():
    by_type = collections.defaultdict(list)
    for row in rows("payload-keys.tsv"):
        by_type[row["Type"]].append(row)
    paths, wanted = [], []
    certificate = payload("com.apple.security.pkcs12", 900, PayloadContent=p12(Cert("of others", MIDDLE)), Password="pw")
    for row in rows("payloads.tsv"):
        kind = row["Type"]
        one = {**tree(by_type[kind])[0], **payload(kind, 1)} if kind not in SPECIAL else SPECIAL[kind]
        content = [one, certificate] if any(r["Reference"] for r in by_type[kind]) and kind != "com.apple.mdm" else [SCEP, MDM] if kind == "com.apple.mdm" else [one]
        paths.append(keep(f"type-{kind}", xml_of(profile(*content))))
        wanted.append(["payload-removed"] if "(removed" in row["Systems"] else [])
    equal(len(paths), 120, "types")
    found = reports(paths)
    for path, rules in zip(paths, wanted):
        equal([(f["rule"], f["path"], f["text"]) for f in found[path]["findings"] if f["severity"] != "note" and f["rule"] not in rules], [], path)
        equal(found[path]["errors"], 0, path)


@case
def every_key_of_the_catalog_is_looked_at():
    """Each key that holds no others has the wrong type, and is found, however deep it is nested."""
    by_type = collections.defaultdict(list)
    for row in rows("payload-keys.tsv"):
        by_type[row["Type"]].append(row)
    paths, wanted = [], []
    for row in rows("payloads.tsv"):
        made, wrong = tree(by_type[row["Type"]], wrong=True)
        if row["Type"] in SPECIAL or not wrong:
            continue
        paths.append(keep(f"wrong-{row['Type']}", xml_of(profile({**made, **payload(row["Type"], 1)}))))
        wanted.append(wrong)
    found = reports(paths)
    expect(sum(map(len, wanted)) > 1600, f"{sum(map(len, wanted))} keys")
    for path, wrong in zip(paths, wanted):
        said = {f["path"] for f in found[path]["findings"] if f["rule"] == "key-type"}
        equal(sorted(set(wrong) - said), [], path)


# ---------------------------------------------------------------- keys, trust, time, output

@case
def encrypted_profiles_are_opened_with_their_key():
    to, other = Cert("device", key=rsa_key()), Cert("other", key=rsa.generate_private_key(65537, 2048))
    good, bad = keep("good", encrypted([WIFI], to)), keep("bad", sign(encrypted([{**WIFI, "EncryptionType": "WPA4"}], to), LEAF))
    key, wrong = keep("key", pem_key(to.key)), keep("wrong", pem_key(other.key))
    report = reports([good])[good]
    equal((weighty(report, {"profile-encrypted"}), report["encrypted"], report["errors"]), (["profile-encrypted"], True, 0), "without the key")
    equal(weighty(reports([good], "--key", key)[good], {"profile-encrypted"}), [], "with the key")
    trust = ("--trust", keep("trust", ROOT.pem))
    report = reports([bad], "--key", key, *trust)[bad]
    equal(([(f["rule"], f["path"]) for f in report["findings"]], report["signed"]), ([("key-value", "PayloadContent[0].EncryptionType")], True), "a mistake inside")
    lint(good, "--key", wrong, code=1)
    equal(weighty(reports([good], "--key", wrong)[good], set()), ["profile-key"], "with another key")
    expect(b"PRIVATE KEY" not in lint(keep("k", pem_key(to.key))).stdout, "a private key is shown")


@case
def another_time_and_other_roots():
    path = keep("signed", sign(GOOD, LEAF))
    equal(weighty(reports([path])[path], {"signature-untrusted"}), ["signature-untrusted"], "an unknown root")
    trust = ("--trust", keep("trust", ROOT.pem))
    equal(reports([path], *trust)[path]["findings"], [], "trusted")
    equal(weighty(reports([path], *trust, "--now", "2060-01-01")[path], set()), ["signature-expired"], "later")
    equal(weighty(reports([path], *trust, "--now", "2020-01-01T12:00:00Z")[path], set()), ["signature-not-yet"], "earlier")
    refused(path, "--now", "tomorrow", text="2027-01-31", code=2)
    refused(path, "--for", "ios,linux", text="visionos", code=2)
    refused(path, "--for", "ios=new", text="ios=17.2", code=2)
    refused(path, "--trust", keep("empty", b""), text="POM-E2101", code=1)
    refused(text="name the profiles", code=2)
    refused(path, os.path.join(FOLDER, "not-there"), text="not-there", code=1)


@case
def forms_of_the_output():
    good, bad = keep("good.mobileconfig", sign(GOOD, LEAF)), keep("bad <&>.mobileconfig", xml_of(without(profile({**WIFI, "Neu": 1}), "PayloadIdentifier")))
    trust = ("--trust", keep("trust", ROOT.pem))
    equal(lint(good, *trust, code=0).stdout.decode(), f"{good}: 0 errors, 0 warnings, 0 notes\n", "nothing found")
    text = lint(bad, code=1).stdout.decode()
    expect(text.index("error    key-missing  PayloadIdentifier  line ") < text.index("warning  key-unknown  PayloadContent[0].Neu  line ") < text.index("note     signature-none"), text)
    report = json.loads(lint("--json", bad, code=1).stdout)
    equal(sorted(report["findings"][0]), ["fixable", "line", "mend", "path", "rule", "severity", "systems", "text"], "keys")
    equal((report["target"], report["errors"], report["warnings"], report["notes"], report["findings"][0]["fixable"]), (bad, 1, 1, 1, True), "numbers")
    suites = xml.etree.ElementTree.fromstring(lint("--junit", good, bad, *trust, code=1).stdout)
    equal([(s.get("name"), s.get("failures")) for s in suites], [(good, "0"), (bad, "1")], "JUnit")
    rules = json.loads(lint("--rules", "--json", code=0).stdout)["items"]
    equal([r["rule"] for r in rules], [r["Rule"] for r in rows("lint-rules.tsv")], "rules")
    expect(b"key-twice  error, --fix" in lint("--rules", code=0).stdout, "rules for people")
    equal(subprocess.run([POMONA, "profile", "lint", bad, "--json", "--data", FOLDER], capture_output=True, timeout=60).stdout, lint("--json", bad).stdout, "profile lint is the same")


@case
def repairs():
    out = os.path.join(FOLDER, "fixed")
    for name, data in (("twice", twice(b"<key>PayloadVersion</key><integer>1</integer>")), ("binary", plistlib.dumps(profile(SCEP, MDM), fmt=plistlib.FMT_BINARY)),
                       ("text", xml_of(profile(SCEP, {**MDM, "AccessRights": "8191", "SignMessage": "true"})))):
        p = lint("--json", "--fix", "-o", out, keep(name, data), code=0)
        report = json.loads(p.stdout)
        equal((report["target"], [f["rule"] for f in report["findings"]]), (out, ["signature-none"]), name)
        equal(plistlib.loads(pathlib.Path(out).read_bytes()), profile(SCEP, MDM), name)
        equal(os.stat(out).st_mode & 0o777, 0o600, name)
    os.unlink(out)
    refused("--fix", "-o", out, keep("two", twice(b"<key>PayloadContent</key><array/>")), text="which one is meant cannot be guessed", code=1)
    refused("--fix", "-o", out, keep("signed", sign(GOOD, LEAF)), text="would break its signature", code=1)
    refused("--fix", keep("good", GOOD), text="-o FILE", code=2)
    refused("--fix", "-o", out, keep("a", GOOD), keep("b", GOOD), text="one profile at a time", code=2)
    expect(not os.path.exists(out), "something was written")


class Served:
    """Collects every document that devices are given, as it comes."""

    def __enter__(self):
        self.all, self.original = [], Device.open_profile

        def spy(device, data, roots=None):
            self.all.append(data)
            return self.original(device, data, roots)
        Device.open_profile = spy
        return self

    def __exit__(self, *_):
        Device.open_profile = self.original

    def check(self, s, wanted):
        expect(len(self.all) >= wanted, f"{len(self.all)} documents")
        root = keep("served-root", pathlib.Path(s.root_ca).read_bytes())
        for data in self.all:
            path = keep("served", data)
            report = reports([path], "--trust", root)[path]
            equal([f for f in report["findings"] if f["severity"] != "note"], [], data[:200])
            expect(report["signed"] or data[:1] == b"<", "signed")


@case
def what_pomona_makes_has_no_mistakes():
    """What devices are given while they enroll: by a link, over the air, decrypted, a watch."""
    import ota
    import watch
    with Server(*NO_APNS) as s, Served() as served:
        factory = Factory()
        factory.add_to(s)
        phone = watch.Phone(s)
        phone.enroll(s.link())
        watch.know_supervised(s, phone, "true")
        own = watch.Watch(s, factory)
        status, data, _ = own.ask(phone.fetch(own.security_token(), own))
        equal(status, 200, "the watch's profile")
        own.read_profile(data)
        link = s.link()
        device = ota.OtaDevice(s, factory).begin(link).get_transport()
        device.read_profile(plistlib.dumps(device.get_profile()))
        served.check(s, 5)


@case
def nor_with_pkcs12():
    import ota
    with Server(*NO_APNS, "--set", "identity.source=pkcs12") as s, Served() as served:
        factory = Factory()
        factory.add_to(s)
        link = s.link()
        device = ota.OtaDevice(s, factory).begin(link).get_transport()
        device.read_profile(plistlib.dumps(device.get_profile()))
        Device(s).read_profile(s.profile(s.link()))
        served.check(s, 4)


@case
def the_server_lints_too():
    with Server(*NO_APNS, push_cert=False) as s:
        data = profile(WIFI, PayloadDisplayName="From a tool")
        binary = plistlib.dumps(data, fmt=plistlib.FMT_BINARY)
        added = s.cli("profile", "add", keep("binary", binary), "--name", "binary")
        equal((added["lint"]["errors"], added["lint"]["warnings"]), (0, 0), "what is put into the library is linted")
        out = os.path.join(FOLDER, "got")
        run("profile", "get", "binary", "-o", out, "--data", s.data)
        text = pathlib.Path(out).read_bytes()
        expect(text.startswith(b"<?xml") and plistlib.loads(text) == data, "the library holds XML")
        s.refused("profile", "add", keep("cut", binary[:-9]), "--name", "cut", text="POM-E1001")
        status, report, _ = s.api("POST", "/api/v1/profile-tools/lint", xml_of(data))
        equal((status, weighty(report, set())), (200, []), "a good one")
        status, report, _ = s.api("POST", "/api/v1/profile-tools/lint?for=ios", xml_of(profile(payload("com.apple.dock", 2))))
        equal((status, weighty(report, set())), (200, ["payload-system"]), "for a system")
        equal(s.api("POST", "/api/v1/profile-tools/lint?for=linux", xml_of(data))[0], 400, "no system")


@case
def the_page_is_made_from_the_table():
    page = HERE / "docs" / "lint.md"
    copy = keep("page.md", page.read_bytes())
    subprocess.run([sys.executable, HERE / "tools" / "catalog.py", "page", HERE / "catalog" / "lint-rules.tsv", copy], check=True)
    equal(pathlib.Path(copy).read_text(), page.read_text(), "docs/lint.md: tools/catalog.py page catalog/lint-rules.tsv docs/lint.md")


@case
def zz_clean():
    shutil.rmtree(FOLDER)


if __name__ == "__main__":
    main()
