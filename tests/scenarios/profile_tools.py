"""Profiles in files: signed, verified, encrypted, decrypted and linted, on the command line and over the API, read and made by OpenSSL besides."""
import copy
import stat

from cryptography.hazmat.primitives.asymmetric import ed25519

from harness import *

UTC = datetime.timezone.utc
NO_APNS = ("--apns-url", "https://127.0.0.1:1")
_server = None


def server():
    """One for all cases that change nothing in it."""
    global _server
    if _server is None:
        _server = Server(*NO_APNS)
    return _server


def folder():
    return tempfile.mkdtemp(prefix="profile-", dir=server().root)


def keep(name, data, where=None):
    path = os.path.join(where or folder(), name)
    pathlib.Path(path).write_bytes(data)
    return path


def tool(*args, data=None, env=None):
    """`pomona profile …`: (exit code, standard output, standard error)."""
    p = subprocess.run([POMONA, "profile", *args], capture_output=True, input=data, timeout=60, env={**os.environ, **(env or {})})
    return p.returncode, p.stdout, p.stderr.decode()


def refused(*args, text, code=1, **options):
    got, out, err = tool(*args, **options)
    expect(got == code and text in err, f"profile {' '.join(args)}: exit {got}, wanted {code} and {text!r}\n{err}")
    return err


def here(*args):
    return ("--data", server().data, *args)


# ---------------------------------------------------------------- profiles

def uuid(n):
    return f"00000000-0000-4000-8000-{n:012d}"


def payload(kind, n, **more):
    return {"PayloadType": kind, "PayloadVersion": 1, "PayloadIdentifier": f"org.example.{n}", "PayloadUUID": uuid(n), **more}


def profile(*content, **more):
    return {**payload("Configuration", 0), "PayloadDisplayName": "Test <&> profile", "PayloadContent": list(content), **more}


SECRET = "canary-5f1c"
WIFI = payload("com.apple.wifi.managed", 1, SSID_STR="lab", EncryptionType="WPA2", Password=SECRET)


def xml(tree):
    return plistlib.dumps(tree)


def good():
    return xml(profile(WIFI))


# ---------------------------------------------------------------- certificates of others

class Cert:
    """A certificate with its key, made without Pomona."""

    def __init__(self, name, issuer=None, ca=False, days=300, start=-1, key=None, eku=(), usage=None, extra=(), attributes=(), digest=None):
        self.key = key or ec_keys.generate_private_key(ec_keys.SECP256R1())
        self.name = x509.Name([*attributes, x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.datetime.utcnow()
        builder = (x509.CertificateBuilder().subject_name(self.name).issuer_name((issuer or self).name).public_key(self.key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(now + datetime.timedelta(days=start)).not_valid_after(now + datetime.timedelta(days=days)).add_extension(x509.BasicConstraints(ca, None), True)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False))
        if eku:
            builder = builder.add_extension(x509.ExtendedKeyUsage(eku), False)
        if usage:
            builder = builder.add_extension(x509.KeyUsage(*[u in usage for u in ("sign", "commit", "encipher", "data", "agree", "issue", "crl")], False, False), True)
        for dotted in extra:
            builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(dotted), b"\x05\x00"), False)
        signer = (issuer or self).key
        self.cert = builder.sign(signer, digest or (None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()))

    @property
    def pem(self):
        return self.cert.public_bytes(serialization.Encoding.PEM)

    @property
    def both(self):
        return self.pem + pem_key(self.key)


SERVER_AUTH, CLIENT_AUTH = x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH
ROOT = Cert("Other Root", ca=True)
MIDDLE = Cert("Other Issuing", ROOT, ca=True)
LEAF = Cert("mdm.example.org", MIDDLE, key=rsa_key(), eku=[SERVER_AUTH], usage=("sign", "encipher"))


def certificates_in(data):
    """The common names of all certificates in a SignedData, and the digest."""
    signed = cms.ContentInfo.load(data)["content"]
    return {c.chosen.subject.native["common_name"] for c in signed["certificates"]}, signed["signer_infos"][0]["digest_algorithm"]["algorithm"].native


def openssl_verify(data, root):
    """What OpenSSL finds in it, with nothing but the root."""
    out = keep("content", b"")
    openssl("cms", "-verify", "-binary", "-inform", "DER", "-in", keep("signed", data), "-CAfile", root, "-purpose", "any", "-out", out)
    return pathlib.Path(out).read_bytes()


def openssl_sign(data, signer, *options, chain=()):
    d = folder()
    args = ["cms", "-sign", "-binary", "-nodetach", "-outform", "DER", "-in", keep("in", data, d), "-signer", keep("signer", signer.both, d), "-out", os.path.join(d, "out"), *options]
    if chain:
        args += ["-certfile", keep("chain", b"".join(c.pem for c in chain), d)]
    openssl(*args)
    return pathlib.Path(d, "out").read_bytes()


# ---------------------------------------------------------------- signing

@case
def sign_by_the_server():
    s, data = server(), good()
    path = keep("wifi", data)
    out = path + ".signed"
    code, stdout, err = tool("sign", path, "-o", out, *here())
    equal((code, stdout, err), (0, b"", ""), "sign")
    signed = pathlib.Path(out).read_bytes()
    equal(stat.S_IMODE(os.stat(out).st_mode), 0o600, "mode")
    equal(openssl_verify(signed, s.root_ca), data, "content")
    names, digest = certificates_in(signed)
    equal((len(names), digest), (2, "sha256"), f"chain {names}")
    expect(not any("Root" in n for n in names), f"the root is in it: {names}")
    # By the API, raw and as JSON, and from standard input.
    status, body, headers = s.api("POST", "/api/v1/profile-tools/sign", data)
    equal((status, headers["Content-Type"]), (200, "application/x-apple-aspen-config"), "API")
    equal(openssl_verify(body, s.root_ca), data, "content by the API")
    equal(s.api("POST", "/api/v1/profile-tools/sign", {"profile": base64.b64encode(data).decode()}, {"Content-Type": "application/json"})[0], 200, "JSON")
    code, stdout, _ = tool("sign", "-", *here(), data=data)
    equal(openssl_verify(stdout, s.root_ca), data, "standard output")
    # What was signed stands in the audit log.
    digest = hashlib.sha256(data).hexdigest()
    expect(any(e["object"] == digest for e in s.cli("ca", "audit")), "no audit entry")


@case
def sign_refuses():
    s, data = server(), good()
    signed = s.api("POST", "/api/v1/profile-tools/sign", data)[1]
    status, body, _ = s.api("POST", "/api/v1/profile-tools/sign", signed)
    equal((status, body["code"]), (409, "POM-E0004"), "signed already")
    refused("sign", keep("signed", signed), *here(), text="signed already")
    bad = copy.deepcopy(profile(WIFI))
    del bad["PayloadContent"][0]["PayloadUUID"]
    for how in ("?force=false", ""):
        status, body, _ = s.api("POST", "/api/v1/profile-tools/sign" + how, xml(bad))
        equal((status, body["code"]), (400, "POM-E5302"), "broken")
        expect("PayloadContent[0].PayloadUUID" in body["detail"], body["detail"])
    path = keep("bad", xml(bad))
    refused("sign", path, *here(), text="POM-E5302")
    code, out, _ = tool("sign", path, "--force", *here())
    equal((code, openssl_verify(out, s.root_ca)), (0, xml(bad)), "--force")
    for body, wanted in ((b"hello", "POM-E1001"), (b"", "POM-E0002"), (b"\x30\x80", "POM-E0004")):
        equal(s.api("POST", "/api/v1/profile-tools/sign?force=true", body)[1]["code"], wanted, repr(body))
    # Secrets in a URL are refused, whoever else might read them there.
    for name in ("key", "password"):
        status, body, _ = s.api("POST", f"/api/v1/profile-tools/decrypt?{name}=x", data)
        expect(status == 400 and "URL" in body["detail"], str(body))
    equal(s.api("POST", "/api/v1/profile-tools/sign?force=perhaps", data)[0], 400, "force")
    equal(s.api("POST", "/api/v1/profile-tools/sign", {"profile": "AAEC", "keys": "x"}, {"Content-Type": "application/json"})[0], 400, "unknown key")


@case
def sign_with_an_own_certificate():
    d, data = folder(), good()
    path, root = keep("p", data, d), keep("root", ROOT.pem, d)
    chain, key = keep("chain", LEAF.pem + MIDDLE.pem + ROOT.pem, d), keep("key", pem_key(LEAF.key), d)
    # No server is needed: this data directory does not exist.
    code, out, err = tool("sign", path, "--cert", chain, "--key", key, "--data", "/nonexistent")
    equal((code, err), (0, ""), "sign")
    equal(openssl_verify(out, root), data, "content")
    equal(certificates_in(out)[0], {"mdm.example.org", "Other Issuing"}, "chain without the root")
    # One file with everything, in another order; PKCS#12; a key with a password.
    code, out, err = tool("sign", path, "--cert", keep("all", MIDDLE.pem + pem_key(LEAF.key) + LEAF.pem, d))
    equal(openssl_verify(out, root), data, "one file")
    expect("not complete" in err and "Other Root" in err, err)
    p12 = pkcs12.serialize_key_and_certificates(b"x", LEAF.key, LEAF.cert, [MIDDLE.cert, ROOT.cert], serialization.BestAvailableEncryption(b"pw"))
    password = keep("pw", b"pw\n", d)
    code, out, err = tool("sign", path, "--cert", keep("p12", p12, d), "--password-file", password)
    equal((code, err), (0, ""), "PKCS#12")
    equal(openssl_verify(out, root), data, "PKCS#12")
    sealed = LEAF.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pw"))
    equal(tool("sign", path, "--cert", chain, "--key", keep("sealed", sealed, d), "--password-file", password)[0], 0, "password")
    refused("sign", path, "--cert", chain, "--key", keep("sealed", sealed, d), "--password-file", keep("wrong", b"other", d), text="POM-E23")
    # Without the intermediate it is signed, and said.
    code, out, err = tool("sign", path, "--cert", keep("leaf", LEAF.pem, d), "--key", key)
    expect(code == 0 and "the chain is not complete" in err and "Other Issuing" in err, err)
    refused("sign", path, "--cert", chain, "--key", keep("other", pem_key(Cert("x").key), d), text="belongs to no certificate")
    refused("sign", path, "--key", key, text="--key needs --cert", code=2)
    # Over the API, with the key in the body.
    body = {"profile": base64.b64encode(data).decode(), "certificate": (LEAF.pem + MIDDLE.pem).decode(), "key": pem_key(LEAF.key).decode()}
    status, out, headers = server().api("POST", "/api/v1/profile-tools/sign", body, {"Content-Type": "application/json"})
    equal(status, 200, "API")
    equal(openssl_verify(out, root), data, "API")
    expect("Other Root" in headers.get("Pomona-Warning", ""), str(headers))
    expect(SECRET not in server().logs() and "PRIVATE" not in server().logs(), "a secret is in the log")


WWDR = Cert("Apple Worldwide Developer Relations Certification Authority", ca=True)


def unfit():
    """Certificates that must not sign profiles, with what is said of each."""
    uid = [x509.NameAttribute(x509.NameOID.USER_ID, TOPIC)]
    weak = rsa.generate_private_key(65537, 1024)
    return [
        (Cert("APSP:test", attributes=uid), "push certificate"),
        (Cert("Apple Push", extra=["1.2.840.113635.100.6.3.2"]), "push certificate"),
        (Cert("Apple Push", WWDR, extra=["1.2.840.113635.100.6.3.1"]), "push certificate"),
        (Cert("MDM Vendor: Example Inc.", WWDR), "vendor certificate"),
        (Cert("iPhone Distribution: Example", extra=["1.2.840.113635.100.6.1.4"]), "developer certificate"),
        (Cert("Apple Development: Ann", WWDR), "developer certificate"),
        (Cert("A CA", ca=True), "is a CA's"),
        (Cert("device", eku=[CLIENT_AUTH]), "identity of a device"),
        (Cert("only encipher", usage=("encipher",)), "digitalSignature"),
        (Cert("weak", key=weak), "too weak"),
        (Cert("edwards", key=ed25519.Ed25519PrivateKey.generate()), "kind that devices do not verify"),
        (Cert("old", start=-20, days=-1), "has expired"),
        (Cert("early", start=5), "not valid before"),
    ]


@case
def certificates_that_must_not_sign():
    path = keep("p", good())
    for cert, text in unfit():
        err = refused("sign", path, "--cert", keep("c", cert.both), text=text)
        expect("POM-E5301" in err, err)
    for fit in (Cert("mail", eku=[x509.ExtendedKeyUsageOID.EMAIL_PROTECTION]), Cert("both", eku=[CLIENT_AUTH, SERVER_AUTH]), Cert("ec", key=ec_keys.generate_private_key(ec_keys.SECP256R1())), Cert("plain", key=rsa_key())):
        code, out, err = tool("sign", path, "--cert", keep("c", fit.both))
        equal((code, err), (0, ""), fit.cert.subject.rfc4514_string())
        equal(openssl_verify(out, keep("r", fit.pem)), good(), "content")
    # A certificate that we have given to a device says so in our register too, whatever stands in it.
    s = server()
    device = s.enroll()
    body = {"profile": base64.b64encode(good()).decode(), "certificate": device.cert.public_bytes(serialization.Encoding.PEM).decode(), "key": pem_key(device.key).decode()}
    status, answer, _ = s.api("POST", "/api/v1/profile-tools/sign", body, {"Content-Type": "application/json"})
    equal((status, answer["code"]), (400, "POM-E5301"), "device")


# ---------------------------------------------------------------- verifying

def verify(data, *args, env=None):
    code, out, err = tool("verify", keep("v", data), "--json", *args, env=env)
    report = json.loads(out)
    equal(code, 0 if report["ok"] else 1, err)
    return report


def problems(report):
    return " | ".join(p["what"] for p in report["problems"])


@case
def verify_says_who_and_what():
    s = server()
    own = s.api("POST", "/api/v1/profile-tools/sign", good())[1]
    report = verify(own, *here())
    equal((report["ok"], report["signed"], report["signature"], report["digest"], report["encrypted"]), (True, True, "ok", "SHA256", False), str(report))
    equal((report["trust"]["own"], report["trust"]["given"], report["trust"]["system"]), (True, None, False), "trust")
    equal((report["chain"]["complete"], len(report["chain"]["certificates"]), report["chain"]["missing"]), (True, 2, None), "chain")
    equal((report["profile"]["identifier"], report["profile"]["payloads"]), ("org.example.0", ["com.apple.wifi.managed"]), "profile")
    equal(verify(own, "--data", "/nonexistent", "--root", s.root_ca)["trust"], {"given": True, "own": None, "system": False}, "given")
    equal(s.api("POST", "/api/v1/profile-tools/verify", own)[1]["ok"], True, "API")
    code, out, _ = tool("verify", keep("v", own), *here())
    expect(code == 0 and b"signature    ok" in out and b"leads to this server's root" in out, out.decode())
    # Others' signatures, DER and BER, by this system's roots, which SSL_CERT_FILE stands for.
    roots = {"SSL_CERT_FILE": keep("roots", Cert("unrelated", ca=True).pem + ROOT.pem)}
    for options in ((), ("-stream",), ("-md", "sha512"), ("-keyid",)):
        report = verify(openssl_sign(good(), LEAF, *(o for o in options if o != "-keyid"), chain=[MIDDLE]), "--data", "/nonexistent", env=roots)
        equal((report["ok"], report["trust"]["system"]), (True, True), f"{options}: {problems(report)}")
    report = verify(openssl_sign(good(), LEAF, "-md", "sha1", chain=[MIDDLE]), env=roots)
    expect(report["ok"] and "SHA-1" in report["warnings"][0]["what"], str(report))
    report = verify(openssl_sign(good(), Cert("APSP:test", ROOT, attributes=[x509.NameAttribute(x509.NameOID.USER_ID, TOPIC)])), env=roots)
    expect(report["ok"] and "push certificate" in report["warnings"][0]["what"], str(report))


@case
def verify_says_what_is_wrong():
    s = server()
    own = s.api("POST", "/api/v1/profile-tools/sign", good())[1]
    root = ("--root", keep("root", ROOT.pem))
    broken = own.replace(b"org.example.0", b"org.example.9")
    bad = copy.deepcopy(profile(WIFI))
    del bad["PayloadIdentifier"]
    other_root = Cert("Other Root", ca=True)
    cases = [
        (good(), here(), "POM-E1008", "not signed"),
        (broken, here(), "POM-E2002", "signed, but it is broken: the signature or digest does not match"),
        (openssl_sign(good(), LEAF, "-nocerts"), root, "POM-E5303", "no certificate is in it"),
        (own[:-40], here(), "POM-E2001", "signed, but it is broken"),
        (openssl_sign(xml(bad), LEAF, chain=[MIDDLE]), root, "POM-E1008", "what was signed is no profile that devices take: profile.PayloadIdentifier is missing"),
        (openssl_sign(b"hello", LEAF, chain=[MIDDLE]), root, "POM-E1001", "what was signed is no profile"),
        (openssl_sign(good(), LEAF), root, "POM-E2102", 'the chain is not complete: the certificate "CN=Other Issuing"'),
        (openssl_sign(good(), LEAF, chain=[MIDDLE]), here(), "POM-E2102", 'the chain is not complete: the certificate "CN=Other Root"'),
        (openssl_sign(good(), LEAF, chain=[MIDDLE]), ("--root", keep("r", other_root.pem)), "POM-E2102", "not complete"),
        (openssl_sign(good(), LEAF, chain=[MIDDLE, ROOT]), here(), "POM-E2102", "leads to no root that is known here"),
        (own, root, "POM-E2102", "does not lead to the given root"),
        (openssl_sign(good(), Cert("old", ROOT, start=-20, days=-1)), root, "POM-E2103", "not valid now"),
    ]
    for data, args, code, text in cases:
        report = verify(data, *args)
        expect(not report["ok"] and any(p["code"] == code and text in p["what"] for p in report["problems"]), f"wanted {code} {text}: {json.dumps(report, indent=1)}")
    detached = folder()
    openssl("cms", "-sign", "-binary", "-outform", "DER", "-in", keep("in", good(), detached), "-signer", keep("s", LEAF.both, detached), "-out", detached + "/out")
    expect("detached" in problems(verify(pathlib.Path(detached, "out").read_bytes())), "detached")
    equal(verify(broken, *here())["signature"], "broken", "signature")
    equal(server().api("POST", "/api/v1/profile-tools/verify", broken)[1]["ok"], False, "API")
    refused("verify", "/nonexistent", text="cannot be read")


# ---------------------------------------------------------------- encryption

IDENTITY = Cert("device", key=rsa_key())


def openssl_open(encrypted, identity):
    """The payloads, as OpenSSL and plistlib find them."""
    d = folder()
    openssl("cms", "-decrypt", "-binary", "-inform", "DER", "-in", keep("in", encrypted["EncryptedPayloadContent"], d), "-recip", keep("c", identity.pem, d), "-inkey", keep("k", pem_key(identity.key), d), "-out", d + "/out")
    subprocess.run(["/usr/bin/xmllint", "--noout", d + "/out"], check=True, capture_output=True)
    return plistlib.loads(pathlib.Path(d, "out").read_bytes())


@case
def encrypt_to_a_certificate():
    s, path = server(), keep("p", good())
    to, key = keep("to", IDENTITY.pem), keep("key", pem_key(IDENTITY.key))
    oids = {"aes256": "aes256_cbc", "aes128": "aes128_cbc", "3des": "tripledes_3key"}
    for cipher, name in oids.items():
        out = keep("out", b"")
        equal(tool("encrypt", path, "--to", to, "--cipher", cipher, "--no-sign", "-o", out, "--data", "/nonexistent")[0], 0, cipher)
        data = pathlib.Path(out).read_bytes()
        equal((SECRET.encode() in data, stat.S_IMODE(os.stat(out).st_mode)), (False, 0o600), "secret, mode")
        tree = plistlib.loads(data)
        equal(sorted(tree), ["EncryptedPayloadContent", "PayloadDisplayName", "PayloadIdentifier", "PayloadType", "PayloadUUID", "PayloadVersion"], "outside")
        content = cms.ContentInfo.load(tree["EncryptedPayloadContent"])["content"]
        equal(content["encrypted_content_info"]["content_encryption_algorithm"]["algorithm"].native, name, "cipher")
        equal(openssl_open(tree, IDENTITY), [WIFI], "content")
        subprocess.run(["/usr/bin/xmllint", "--noout", out], check=True, capture_output=True)
        code, back, err = tool("decrypt", out, "--key", key)
        equal((code, plistlib.loads(back)), (0, profile(WIFI)), err)
    # Encrypted, then signed.
    code, signed, err = tool("encrypt", path, "--to", to, *here())
    equal(code, 0, err)
    tree = plistlib.loads(openssl_verify(signed, s.root_ca))
    equal(openssl_open(tree, IDENTITY), [WIFI], "signed")
    report = verify(signed, *here())
    equal((report["ok"], report["encrypted"], report["profile"]["payloads"]), (True, True, []), problems(report))
    for extra in ((), ("--cert", to)):
        equal(plistlib.loads(tool("decrypt", keep("s", signed), "--key", key, *extra)[1]), profile(WIFI), "decrypt")
    p12 = pkcs12.serialize_key_and_certificates(b"x", IDENTITY.key, IDENTITY.cert, None, serialization.BestAvailableEncryption(b"pw"))
    equal(plistlib.loads(tool("decrypt", keep("s", signed), "--key", keep("p12", p12), "--password-file", keep("pw", b"pw\n"))[1]), profile(WIFI), "PKCS#12")
    # The same over the API.
    b64 = base64.b64encode
    as_json = {"Content-Type": "application/json"}
    status, body, _ = s.api("POST", "/api/v1/profile-tools/encrypt", {"profile": b64(good()).decode(), "certificate": IDENTITY.pem.decode(), "cipher": "aes128", "sign": False}, as_json)
    equal((status, openssl_open(plistlib.loads(body), IDENTITY)), (200, [WIFI]), "API")
    status, body, _ = s.api("POST", "/api/v1/profile-tools/decrypt", {"profile": b64(signed).decode(), "key": pem_key(IDENTITY.key).decode()}, as_json)
    equal((status, plistlib.loads(body)), (200, profile(WIFI)), "API decrypt")


@case
def encrypt_to_a_device():
    s = server()
    device = s.enroll()
    code, signed, err = tool("encrypt", keep("p", good()), "--device", device.udid, *here())
    equal(code, 0, err)
    identity = copy.copy(IDENTITY)
    identity.cert, identity.key = device.cert, device.key
    equal(openssl_open(plistlib.loads(openssl_verify(signed, s.root_ca)), identity), [WIFI], "device")
    status, body, _ = s.api("POST", f"/api/v1/profile-tools/encrypt?device={device.udid}&sign=false&cipher=3des", good())
    equal((status, openssl_open(plistlib.loads(body), identity)), (200, [WIFI]), "API")
    refused("encrypt", keep("p", good()), "--device", "nobody", *here(), text="POM-E0003", code=3)
    equal(device.put({"MessageType": "CheckOut", "Topic": TOPIC, "UDID": device.udid}, CHECKIN)[0], 200, "CheckOut")
    refused("encrypt", keep("p", good()), "--device", device.udid, *here(), text="not enrolled")


@case
def what_others_encrypt_is_read():
    inner = plistlib.dumps([WIFI])
    outer = payload("Configuration", 0)
    other = Cert("other", key=rsa_key())
    key = keep("key", pem_key(IDENTITY.key))
    for options in (["-aes128"], ["-des3"], ["-aes-256-cbc", "-stream"], ["-aes-256-cbc", "-keyid"]):
        d = folder()
        openssl("cms", "-encrypt", "-binary", "-outform", "DER", *options, "-in", keep("in", inner, d), "-out", d + "/out", keep("c", IDENTITY.pem, d))
        data = xml({**outer, "EncryptedPayloadContent": pathlib.Path(d, "out").read_bytes()})
        for file in (data, openssl_sign(data, LEAF, chain=[MIDDLE])):
            code, out, err = tool("decrypt", keep("e", file), "--key", key)
            equal((code, plistlib.loads(out) if out else None), (0, {**outer, "PayloadContent": [WIFI]}), f"{options}: {err}")
    d = folder()
    openssl("cms", "-encrypt", "-binary", "-outform", "DER", "-aes-256-cbc", "-in", keep("in", inner, d), "-out", d + "/out", keep("o", other.pem, d), keep("c", IDENTITY.pem, d))
    two = keep("two", xml({**outer, "EncryptedPayloadContent": pathlib.Path(d, "out").read_bytes()}))
    equal(tool("decrypt", two, "--key", key, "--cert", keep("c", IDENTITY.pem))[0], 0, "two recipients")
    refused("decrypt", two, "--key", key, text="POM-E5305")


@case
def encryption_refuses():
    path, to, key = keep("p", good()), keep("to", IDENTITY.pem), keep("key", pem_key(IDENTITY.key))
    other = Cert("other", key=rsa_key())
    sealed = keep("sealed", tool("encrypt", path, "--to", to, "--no-sign")[1])
    err = refused("decrypt", sealed, "--key", keep("o", pem_key(other.key)), text="POM-E5305")
    expect(f"serial number {IDENTITY.cert.serial_number:X}"[-20:] in err and '"device"' in err, err)
    refused("decrypt", sealed, "--key", keep("o", pem_key(other.key)), "--cert", to, text="does not belong to the certificate")
    refused("decrypt", path, "--key", key, text="POM-E5304")
    refused("decrypt", sealed, text="--key is missing", code=2)
    refused("decrypt", sealed, "--key", path, text="POM-E23")
    signed = openssl_sign(pathlib.Path(sealed).read_bytes(), LEAF)
    refused("decrypt", keep("b", signed.replace(b"org.example.0", b"org.example.9")), "--key", key, text="signed, but it is broken")
    ec = Cert("ec", key=ec_keys.generate_private_key(ec_keys.SECP256R1()))
    refused("encrypt", path, "--to", keep("ec", ec.pem), "--no-sign", text="RSA keys only")
    refused("encrypt", sealed, "--to", to, "--no-sign", text="encrypted already")
    refused("encrypt", keep("s", openssl_sign(good(), LEAF)), "--to", to, "--no-sign", text="signed already")
    refused("encrypt", path, "--to", to, "--device", "x", text="one of them", code=2)
    refused("encrypt", path, text="one of them", code=2)
    refused("encrypt", path, "--to", to, "--cipher", "des", text="aes256, aes128 or 3des", code=2)
    refused("encrypt", path, "--to", path, "--no-sign", text="POM-E2101")
    status, body, _ = server().api("POST", "/api/v1/profile-tools/encrypt", good())
    expect(status == 400 and "for whom" in body["detail"], str(body))
    status, body, _ = server().api("POST", "/api/v1/profile-tools/decrypt", good())
    expect(status == 400 and "key is missing" in body["detail"], str(body))


# ---------------------------------------------------------------- lint

SCEP = payload("com.apple.security.scep", 1, PayloadContent={"URL": "https://a/scep", "Keysize": 2048})
MDM = payload("com.apple.mdm", 2, IdentityCertificateUUID=uuid(1), Topic=TOPIC, ServerURL="https://a/mdm", AccessRights=8191)


def without(tree, *path):
    tree = copy.deepcopy(tree)
    at = tree
    for step in path[:-1]:
        at = at[step]
    del at[path[-1]]
    return tree


def changed(tree, *path):
    *path, key, value = path
    tree = copy.deepcopy(tree)
    at = tree
    for step in path:
        at = at[step]
    at[key] = value
    return tree


def mistakes():
    """Profile, severity (with + when --fix mends it), path, part of what is said."""
    both, c = profile(SCEP, MDM), "PayloadContent"
    old_form = (serialization.PrivateFormat.PKCS12.encryption_builder().kdf_rounds(2048).key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
                .hmac_hash(hashes.SHA1()).build(b"pw"))
    new_form = serialization.PrivateFormat.PKCS12.encryption_builder().key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC).hmac_hash(hashes.SHA256()).build(b"pw")
    own = Cert("device", MIDDLE, key=rsa_key(), eku=[CLIENT_AUTH])
    p12 = pkcs12.serialize_key_and_certificates(b"x", own.key, own.cert, None, old_form)
    new12 = pkcs12.serialize_key_and_certificates(b"x", own.key, own.cert, None, new_form)
    p12_payload = payload("com.apple.security.pkcs12", 1, Password="pw", PayloadContent=p12)
    old = Cert("old", start=-20, days=-1)
    old12 = pkcs12.serialize_key_and_certificates(b"x", old.key, old.cert, None, old_form)
    return [
        (both, None, None, None),
        (profile(p12_payload, MDM), None, None, None),
        (profile(payload("com.apple.security.root", 1, PayloadContent=der(ROOT.cert)), payload("com.apple.security.pem", 2, PayloadContent=MIDDLE.pem)), None, None, None),
        (without(both, "PayloadIdentifier"), "error+", "PayloadIdentifier", "missing"),
        (without(both, "PayloadUUID"), "error+", "PayloadUUID", "missing"),
        (without(both, c, 1, "PayloadIdentifier"), "error+", c + "[1].PayloadIdentifier", "missing"),
        (without(both, c, 1, "PayloadUUID"), "error+", c + "[1].PayloadUUID", "missing"),
        (without(both, c, 1, "PayloadType"), "error", c + "[1].PayloadType", "missing"),
        (without(both, c, 1, "PayloadVersion"), "error+", c + "[1].PayloadVersion", "missing"),
        (changed(both, "PayloadVersion", "1"), "error+", "PayloadVersion", "string"),
        (changed(both, c, 1, "PayloadUUID", "mdm"), "warning", c + "[1].PayloadUUID", "form of a UUID"),
        (changed(both, c, 1, "PayloadUUID", uuid(1)), "error", c + "[1].PayloadUUID", "1007"),
        (changed(both, c, 1, "PayloadIdentifier", "org.example.1"), "error", c + "[1].PayloadIdentifier", "1008"),
        (profile({**p12_payload, "PayloadContent": base64.encodebytes(p12).decode()}, MDM), "error+", c + "[0].PayloadContent", "must be data"),
        (profile({**p12_payload, "Password": "other"}), "error", c + "[0].PayloadContent", "with its Password"),
        (profile({**p12_payload, "PayloadContent": new12}), "warning", c + "[0].PayloadContent", "PBES2"),
        (profile({**p12_payload, "PayloadContent": old12}), "warning", c + "[0].PayloadContent", "expired"),
        (profile(payload("com.apple.security.root", 1, PayloadContent=base64.encodebytes(der(ROOT.cert)).decode())), "error+", c + "[0].PayloadContent", "must be data"),
        (profile(payload("com.apple.security.root", 1, PayloadContent=der(old.cert))), "warning", c + "[0].PayloadContent", "expired"),
        (profile(payload("com.apple.security.pkcs1", 1, PayloadContent=der(ROOT.cert)[:-9])), "error", c + "[0].PayloadContent", "no certificate"),
        (changed(both, c, 1, "IdentityCertificateUUID", uuid(9)), "error", c + "[1].IdentityCertificateUUID", "names no payload"),
        (profile(MDM, payload("com.apple.security.root", 1, PayloadContent=der(ROOT.cert))), "error", c + "[0].IdentityCertificateUUID", "no identity"),
        (changed(both, c, 1, "ServerURLPinningCertificateUUIDs", [uuid(9)]), "error", c + "[1].ServerURLPinningCertificateUUIDs[0]", "names no payload"),
        (profile({**WIFI, "PayloadCertificateUUID": uuid(9)}), "error", c + "[0].PayloadCertificateUUID", "names no payload"),
        (profile({**WIFI, "EAPClientConfiguration": {"AcceptEAPTypes": [13], "PayloadCertificateAnchorUUID": [uuid(9)]}}), "error", c + "[0].EAPClientConfiguration.PayloadCertificateAnchorUUID[0]", "names no payload"),
        (profile(SCEP, MDM, {**MDM, "PayloadUUID": uuid(3), "PayloadIdentifier": "x"}), "error", c + "[2]", "second"),
        (changed(both, c, 1, "EnrollmentMode", "BYOD"), "error", c + "[1].AccessRights", "BYOD"),
        (changed(both, c, 1, "ServerURL", "http://a"), "error", c + "[1].ServerURL", "https://"),
        (changed(both, c, 1, "Topic", "org.example"), "error", c + "[1].Topic", "com.apple.mgmt."),
        (changed(both, c, 0, c, {"URL": "https://a/scep", "KeySize": 2048}), "error+", c + "[0].PayloadContent.KeySize", '"Keysize"'),
        (changed(both, c, 0, c, "KeyType", "RSA"), "error+", c + "[0].PayloadContent.KeyType", '"Key Type"'),
        (changed(both, c, 0, c, "KeyUsage", 5), "error+", c + "[0].PayloadContent.KeyUsage", '"Key Usage"'),
        (profile({**payload("com.apple.security.scep", 1), "URL": "https://a"}), "error+", c + "[0].URL", "must be in it"),
        (without(both, c, 0, c, "Keysize"), "warning", c + "[0].PayloadContent.Keysize", "1024"),
        (changed(both, c, 0, c, "CAFingerprint", bytes(32)), "error", c + "[0].PayloadContent.CAFingerprint", "SHA-256"),
        (changed(both, c, 0, c, "CAFingerprint", "00" * 20), "error+", c + "[0].PayloadContent.CAFingerprint", "must be data"),
        (changed(profile(WIFI), c, 0, "PayloadType", "com.apple.wifi.manged"), "warning", c + "[0].PayloadType", "not known"),
        (changed(profile(WIFI), c, 0, "HIDDEN_NETWRK", True), "warning", c + "[0].HIDDEN_NETWRK", "not known"),
        (changed(profile(WIFI), c, 0, "HIDDEN_NETWORK", "yes"), "error", c + "[0].HIDDEN_NETWORK", "must be a boolean"),
        (changed(both, "RemovalDate", datetime.datetime(2020, 1, 1)), "error", "RemovalDate", "4006"),
        (changed(both, "DurationUntilRemoval", 0), "error", "DurationUntilRemoval", "more than 0"),
        (changed(both, "PayloadScope", "system"), "error", "PayloadScope", "System|User"),
        (changed(both, "TargetDeviceType", 7), "error", "TargetDeviceType", "0|1|2"),
        ([], "error", "", "dictionary"),
    ]


def lint(data, *args):
    code, out, err = tool("lint", keep("l", data), "--json", *args)
    report = json.loads(out)
    equal(code, 1 if report["errors"] else 0, err)
    return report


@case
def lint_finds_the_mistakes():
    for tree, severity, path, text in mistakes():
        report = lint(xml(tree))
        found = [f for f in report["findings"] if f["severity"] != "note"]
        if severity is None:
            equal(found, [], "a good profile")
            continue
        hits = [f for f in found if f["path"] == path and text in f["text"] and f["severity"] == severity.strip("+") and f["fixable"] == severity.endswith("+")]
        expect(len(hits) == 1, f"wanted {severity} {path}: {text}, found {json.dumps(found, indent=1)}")
        equal(report["errors"] > 0, severity.startswith("error"), str(found))
    for data, rule in ((b"hello", "file-syntax"), (openssl_sign(good(), LEAF, "-nocerts"), "signature-no-certificate"), (openssl_sign(good(), LEAF).replace(b"org.example.0", b"org.example.9"), "signature-broken")):
        equal([f["rule"] for f in lint(data)["findings"]], [rule], "what is no profile")
    equal([f["rule"] for f in lint(good())["findings"]], ["signature-none"], "unsigned")
    equal(lint(openssl_sign(good(), LEAF, chain=[MIDDLE]), "--trust", keep("root", ROOT.pem))["findings"], [], "signed")
    code, out, _ = tool("lint", keep("l", xml(mistakes()[3][0])))
    expect(code == 1 and b"error    key-missing  PayloadIdentifier  line 4" in out and b"one can be made; --fix does it" in out and b"1 error, 0 warnings, 2 notes" in out, out.decode())


@case
def what_is_served_has_no_mistakes():
    s = server()
    served = s.profile(s.link())
    report = lint(served, *here())
    equal((report["findings"], report["signed"]), ([], True), "enrollment profile")
    equal(verify(served, *here())["ok"], True, "enrollment profile")


@case
def lint_repairs():
    for tree, severity, path, _ in mistakes():
        if severity is None or not severity.endswith("+"):
            continue
        out = keep("fixed", b"")
        code, report, err = tool("lint", keep("l", xml(tree)), "--fix", "-o", out, "--json")
        equal(json.loads(report)["target"], out, "what is left is said of the file that was written")
        equal((code, json.loads(report)["errors"]), (0, 0), f"{path}: {report} {err}")
        data = pathlib.Path(out).read_bytes()
        equal(lint(data)["errors"], 0, path)
        fixed = plistlib.loads(data)
        equal(fixed["PayloadVersion"], 1, path)
        expect(all(set(p) >= {"PayloadUUID", "PayloadIdentifier", "PayloadType", "PayloadVersion"} for p in fixed["PayloadContent"]), str(fixed))
        again = keep("again", b"")
        tool("lint", keep("l", xml(tree)), "--fix", "-o", again)
        equal(pathlib.Path(again).read_bytes(), data, "the same repair again")
    by_type = {path: tree for tree, severity, path, text in mistakes() if severity == "error+" and text in ("must be data", "must be in it")}
    fixed = json.loads(json.dumps(server().api("POST", "/api/v1/profile-tools/lint?fix=true", xml(by_type["PayloadContent[0].URL"]))[1]))
    equal(plistlib.loads(base64.b64decode(fixed["fixed"]))["PayloadContent"][0]["PayloadContent"], {"URL": "https://a"}, "API")
    equal(server().api("POST", "/api/v1/profile-tools/lint", b"hello")[1]["errors"], 1, "API")
    refused("lint", keep("s", openssl_sign(good(), LEAF)), "--fix", "-o", keep("o", b""), text="would break its signature")
    equal(server().api("POST", "/api/v1/profile-tools/lint?fix=true", openssl_sign(good(), LEAF))[0], 409, "API signed")
    refused("lint", keep("s", good()), "--fix", text="-o", code=2)


# ---------------------------------------------------------------- who signs

def tls_files(d, *certs, key=None):
    c, k = os.path.join(d, "tls.pem"), os.path.join(d, "tls.key")
    pathlib.Path(c).write_bytes(b"".join(x.pem for x in certs))
    pathlib.Path(k).write_bytes(pem_key((key or certs[0]).key))
    return ("--set", f"tls.certificate={c}", "--set", f"tls.key={k}", "--set", "profiles.signer=tls")


def refuses_to_start(s, text, *args):
    s.stop()
    p = subprocess.run([POMONA, "serve", "--data", s.data, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", *args], capture_output=True, text=True, timeout=30)
    expect(p.returncode == 2 and text in p.stderr and "POM-E0010" in p.stderr, f"exit {p.returncode}, wanted {text!r}\n{p.stderr}")


@case
def profiles_signed_by_the_tls_certificate():
    with Server(*NO_APNS, env={"SSL_CERT_FILE": keep("public", ROOT.pem)}) as s:
        first = Cert("mdm.example.org", MIDDLE, eku=[SERVER_AUTH])
        args = tls_files(s.root, first, MIDDLE)
        s.restart(*args)
        expect("another key than before" in s.logs() and "profiles.signer" in s.logs(), "no warning when the signer changes")
        expect("no public root" not in s.logs() and "lacks an intermediate" not in s.logs(), "the chain is whole and public")
        root = keep("root", ROOT.pem)
        signed = s.api("POST", "/api/v1/profile-tools/sign", good())[1]
        equal(openssl_verify(signed, root), good(), "signed by TLS")
        equal(certificates_in(signed)[0], {"mdm.example.org", "Other Issuing"}, "chain")
        # What a device is given has the same signer.
        context = ssl._create_unverified_context()
        c = http.client.HTTPSConnection("127.0.0.1", s.port, timeout=30, context=context)
        c.request("GET", urllib.parse.urlsplit(s.link()["profile_url"]).path)
        served = c.getresponse().read()
        c.close()
        equal(plistlib.loads(openssl_verify(served, root))["PayloadType"], "Configuration", "enrollment profile")
        expect(any(i["name"] == "profile_signing/tls" and "mdm.example.org" in i["subject"] for i in s.cli("ca", "expiry")), "not listed")
        # The same key again is no change; another one is said aloud, and used.
        before = s.logs().count("another key than before")
        tls_files(s.root, Cert("mdm.example.org", MIDDLE, eku=[SERVER_AUTH], key=first.key))
        s.process.send_signal(signal.SIGHUP)
        wait_for("reading again", lambda: s.logs().count("TLS certificate read again") == 1)
        equal(s.logs().count("another key than before"), before, "same key")
        expect("lacks an intermediate" in s.logs() and "no public root" not in s.logs(), "the intermediate is missing")
        private = Cert("Private Root", ca=True)
        tls_files(s.root, Cert("second.example.org", private, eku=[SERVER_AUTH]), private)
        s.process.send_signal(signal.SIGHUP)
        wait_for("the warning", lambda: s.logs().count("another key than before") == before + 1)
        wait_for("reading again", lambda: s.logs().count("TLS certificate read again") == 2)
        expect("4008" in s.logs() and "no public root" in s.logs(), "the warnings say what may come")
        expect("second.example.org" in certificates_in(s.api("POST", "/api/v1/profile-tools/sign", good())[1])[0], "not used")
        expect(any(e["action"] == "profile.signer" for e in s.cli("ca", "audit")), "no audit entry")
        # One that must not sign is not taken; the old one goes on.
        tls_files(s.root, Cert("not-to-sign.example.org", MIDDLE, eku=[CLIENT_AUTH]), MIDDLE)
        s.process.send_signal(signal.SIGHUP)
        wait_for("the refusal", lambda: "the signer of profiles not changed" in s.logs())
        expect("second.example.org" in certificates_in(s.api("POST", "/api/v1/profile-tools/sign", good())[1])[0], "changed")


@case
def signers_that_keep_the_server_from_starting():
    with Server(*NO_APNS) as s:
        # Our own key stays when its CA is renewed, and is another one after a rekey, which is said at once.
        s.cli("ca", "renew")
        s.restart()
        expect("another key than before" not in s.logs(), "a renewal is no change")
        for step in ([], ["--activate"], ["--finish"]):
            s.cli("ca", "rekey", *step)
        wait_for("the warning", lambda: s.logs().count("another key than before") == 1)
        equal(openssl_verify(s.api("POST", "/api/v1/profile-tools/sign", good())[1], s.root_ca), good(), "signed after a rekey")
        s.restart()
        equal(s.logs().count("another key than before"), 1, "said once")
        # An identity that an outside CA has given a device can look like any other certificate: only the register knows it.
        device, identity = s.enroll(), Cert("looks harmless", MIDDLE, eku=[CLIENT_AUTH, SERVER_AUTH])
        s.stop()
        equal(s.sql("UPDATE certificate SET sha256 = ? WHERE sha256 = ?", identity.cert.fingerprint(hashes.SHA256()), device.cert.fingerprint(hashes.SHA256())), 1, "register")
        refuses_to_start(s, "identity of a device, issued by this server", *tls_files(s.root, identity, MIDDLE))
        for cert, text in unfit():
            # A TLS server takes none of these weak ones either.
            if text in ("too weak", "kind that devices do not verify"):
                continue
            refuses_to_start(s, text, *tls_files(s.root, cert))
        refuses_to_start(s, "tls.certificate and tls.key", "--set", "profiles.signer=tls")
        refuses_to_start(s, "own or tls", "--set", "profiles.signer=push")
        refuses_to_start(s, "aes256, aes128 or 3des", "--set", "enroll.profile_cipher=rc4")
        s.start("--set", "enroll.profile_cipher=3des")
        expect("enroll.profile_cipher is 3des" in s.logs(), "3des is not said aloud")
        status, body, _ = s.api("POST", "/api/v1/profile-tools/encrypt", {"profile": base64.b64encode(good()).decode(), "certificate": IDENTITY.pem.decode(), "sign": False}, {"Content-Type": "application/json"})
        content = cms.ContentInfo.load(plistlib.loads(body)["EncryptedPayloadContent"])["content"]
        equal(content["encrypted_content_info"]["content_encryption_algorithm"]["algorithm"].native, "tripledes_3key", "cipher of the setting")


@case
def zz_close():
    server().close()



main()
