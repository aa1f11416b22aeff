"""The doctor on SCEP servers, good and bad, and with the certificates of profiles."""
import http.server
import json
import pathlib
import plistlib
import ssl
import sys
import threading
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs7

from harness import case, equal, expect, rsa_key, self_signed, signed_data

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from gallery import DAY, HOST, NOW, Cert, Web, doctor, ec_key, file_of, found, name, pems, run_cases, yields

CAPS = b"AES\nDES3\nSHA-1\nSHA-256\nSHA-512\nPOSTPKIOperation\nRenewal\nSCEPStandard\n"
ONE, SEVERAL = "application/x-x509-ca-cert", "application/x-x509-ca-ra-cert"


def scep_ca(cn, issuer=None, key=None, sign=True, encipher=True, ca=True, days=3650, start=NOW - DAY):
    """A certificate with just these key usages."""
    key = key or rsa_key()
    b = (x509.CertificateBuilder().subject_name(name(cn)).issuer_name(issuer.cert.subject if issuer else name(cn)).public_key(key.public_key()).serial_number(x509.random_serial_number())
         .not_valid_before(start).not_valid_after(start + days * DAY).add_extension(x509.BasicConstraints(ca, None), True)
         .add_extension(x509.KeyUsage(sign, False, encipher, False, False, ca, ca, False, False), True))
    made = Cert.__new__(Cert)
    made.key, made.issuer = key, issuer
    made.cert = b.sign((issuer or made).key, hashes.SHA256())
    return made


ROOT = scep_ca("SCEP Root")
CA = scep_ca("SCEP CA", ROOT, encipher=False)
RA = scep_ca("SCEP RA", CA, ca=False)
BOTH = scep_ca("SCEP issuing CA", ROOT)
SIGNS, DECIPHERS = scep_ca("RA that signs", ROOT, encipher=False, ca=False), scep_ca("RA that deciphers", ROOT, sign=False, ca=False)


def p7(*certs):
    return pkcs7.serialize_certificates([c.cert for c in certs], serialization.Encoding.DER)


class Scep:
    """A SCEP server that answers what it is told; plain HTTP."""

    def __init__(self, cert, caps=(200, {"Content-Type": "text/plain"}, CAPS)):
        answers = {"GetCACert": cert, "GetCACaps": caps}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                operation = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query).get("operation", [""])[0]
                status, headers, body = answers[operation]
                self.send_response(status)
                for key, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/scep"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def ok(body, kind):
    return 200, {"Content-Type": kind}, body


def profile(certs=(), fingerprint=None):
    """An enrollment profile with these roots."""
    head = {"PayloadVersion": 1, "PayloadOrganization": "Test"}
    payloads = [{**head, "PayloadType": "com.apple.security.root", "PayloadIdentifier": f"r.{i}", "PayloadUUID": f"0000000{i}-0000-4000-8000-000000000000", "PayloadContent": c.der} for i, c in enumerate(certs)]
    content = {"URL": "https://x/scep", **({} if fingerprint is None else {"CAFingerprint": fingerprint})}
    payloads.append({**head, "PayloadType": "com.apple.security.scep", "PayloadIdentifier": "s", "PayloadUUID": "10000000-0000-4000-8000-000000000000", "PayloadContent": content})
    return plistlib.dumps({**head, "PayloadType": "Configuration", "PayloadIdentifier": "p", "PayloadUUID": "20000000-0000-4000-8000-000000000000", "PayloadContent": payloads})


def sha1(cert):
    return cert.cert.fingerprint(hashes.SHA1())


@case
def ca_certificates():
    der = BOTH.der
    for what, answer, wanted in (
            ("one", ok(der, ONE), []), ("a chain", ok(p7(BOTH, ROOT), SEVERAL), []), ("a chain with an RA", ok(p7(RA, CA, ROOT), SEVERAL), []), ("a pair", ok(p7(SIGNS, DECIPHERS, ROOT), SEVERAL), []),
            ("PEM", ok(BOTH.pem, ONE), ["scep-pem"]), ("a page", ok(b"<html>", "text/html"), ["scep-html"]), ("a page by another name", ok(b"  <!DOCTYPE html>", ONE), ["scep-html"]), ("nothing", ok(b"", ONE), ["scep-broken"]),
            ("cut off", ok(der[:-5], ONE), ["scep-broken"]), ("something behind", ok(der + b"\0", ONE), ["scep-broken"]), ("media type", ok(der, "application/octet-stream"), ["scep-type"]),
            ("media type with parameters", ok(der, ONE + "; charset=binary"), ["scep-type"]), ("one as several", ok(der, SEVERAL), ["scep-type-mismatch"]), ("several as one", ok(p7(BOTH, ROOT), ONE), ["scep-type-mismatch"]),
            ("two roots", ok(p7(RA, CA, ROOT, scep_ca("Other")), SEVERAL), ["scep-roots"]), ("no root", ok(p7(RA, CA), SEVERAL), ["scep-roots"]), ("a gap", ok(p7(RA, ROOT), SEVERAL), ["scep-chain"]),
            ("no RA", ok(p7(CA, ROOT), SEVERAL), ["scep-ra"]), ("no keyEncipherment", ok(CA.der, ONE), ["scep-key-usage"]), ("no digitalSignature", ok(scep_ca("x", sign=False).der, ONE), ["scep-key-usage"]),
            ("EC", ok(Cert("EC CA", ca=True, key=ec_key()).der, ONE), ["scep-key-type"]), ("expired", ok(scep_ca("old", start=NOW - 90 * DAY, days=30).der, ONE), ["scep-expired"]),
            ("not found", (404, {}, b"no"), ["scep-status"]), ("error", (500, {}, b"<html>"), ["scep-status"]), ("redirect", (302, {"Location": "https://elsewhere.example.org/"}, b""), ["scep-redirect"])):
        with Scep(answer) as scep:
            yields(doctor("--scep", scep.url), wanted, what)
    with Scep(ok(der, ONE)) as scep:
        port = scep.server.server_port
    yields(doctor("--scep", f"http://127.0.0.1:{port}/scep"), ["scep-unreachable"], "nobody")


@case
def what_a_device_would_show():
    for answer, code in ((ok(BOTH.pem, ONE), "22002"), (ok(p7(CA, ROOT), SEVERAL), "22003"), (ok(BOTH.der, "text/plain"), "22004"), ((503, {}, b""), "22005")):
        with Scep(answer) as scep:
            rule = doctor("--scep", scep.url)["findings"][0]["rule"]
        table = json.loads(doctor("--rules", "--json", raw=True, code=0).stdout)["rules"]
        row = next(r for r in table if r["id"] == rule)
        expect(code in row["text"] and code in row["source"], f"{rule} names {code}")


@case
def capabilities():
    for what, caps, wanted in (
            ("good", ok(CAPS, "text/plain"), []), ("CRLF", ok(CAPS.replace(b"\n", b"\r\n"), "text/plain"), ["scep-caps-lines"]), ("no last LF", ok(CAPS[:-1], "text/plain"), ["scep-caps-lines"]),
            ("lower case", ok(CAPS.replace(b"AES", b"aes"), "text/plain"), ["scep-caps-lines"]), ("no digest", ok(b"AES\nPOSTPKIOperation\n", "text/plain"), ["scep-caps-hash"]),
            ("no POST", ok(b"AES\nSHA-256\n", "text/plain"), ["scep-caps-post"]), ("a page", ok(b"<html>", "text/html"), ["scep-html"]), ("none", (404, {}, b""), ["scep-caps-none"]),
            ("standard alone", ok(b"SCEPStandard\n", "text/plain"), [])):
        with Scep(ok(BOTH.der, ONE), caps) as scep:
            yields(doctor("--scep", scep.url), wanted, what)


@case
def fingerprints_of_profiles():
    signed = signed_data(key := rsa_key(), self_signed(key, name("signer")), profile([], sha1(BOTH)), "sha256", hashes.SHA256, [])
    for what, answer, data, wanted in (
            ("one", ok(BOTH.der, ONE), profile([], sha1(BOTH)), []), ("one, the root's", ok(BOTH.der, ONE), profile([], sha1(ROOT)), ["scep-fingerprint"]), ("chain, the root's", ok(p7(RA, CA, ROOT), SEVERAL), profile([], sha1(ROOT)), []),
            ("chain, the RA's", ok(p7(RA, CA, ROOT), SEVERAL), profile([], sha1(RA)), ["scep-fingerprint"]), ("SHA-256", ok(BOTH.der, ONE), profile([], BOTH.cert.fingerprint(hashes.SHA256())), ["scep-fingerprint-form"]),
            ("MD5", ok(BOTH.der, ONE), profile([], BOTH.cert.fingerprint(hashes.MD5())), []), ("none", ok(BOTH.der, ONE), profile(), []), ("signed", ok(BOTH.der, ONE), signed, [])):
        with Scep(answer) as scep:
            report = doctor("--scep", scep.url, "--profile", file_of(data, ".mobileconfig"))
            yields(report, wanted, what)
            if wanted == ["scep-fingerprint"]:
                right = sha1(ROOT if "chain" in what else BOTH).hex()
                expect(right in report["findings"][0]["text"], "the right one is told")


@case
def scep_over_tls():
    root = Cert("TLS Root", ca=True, days=3650)
    issuing = Cert("TLS CA", root, ca=True, days=3650)
    trust = file_of(root.pem)

    def answer(method, path, body):
        return ok(CAPS, "text/plain") if "GetCACaps" in path else ok(BOTH.der, ONE)

    def asks(context):
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(trust)
    with Web([Cert(HOST, issuing, san=(HOST,)), issuing], answer=answer) as web:
        yields(doctor("--scep", f"https://{HOST}/scep", "--connect", web.address, "--trust", trust), [], "good")
    with Web([Cert(HOST, issuing, san=("other.example.org",)), issuing], answer=answer, setup=asks) as web:
        yields(doctor("--scep", f"https://{HOST}/scep", "--connect", web.address, "--trust", trust), ["client-certificate", "name-mismatch", "scep-client-certificate"], "asks for a certificate")


@case
def certificates_in_profiles():
    root, other = Cert("Own Root", ca=True, days=3650), Cert("Other Root", ca=True, days=3650)
    chain = file_of(pems([Cert(HOST, root, san=(HOST,))]))
    encrypted = plistlib.dumps({"PayloadVersion": 1, "PayloadType": "Configuration", "PayloadIdentifier": "p", "PayloadUUID": "20000000-0000-4000-8000-000000000000", "EncryptedPayloadContent": b"0"})
    broken = signed_data(key := rsa_key(), self_signed(key, name("signer")), profile([root]), "sha256", hashes.SHA256, []).replace(b"Test", b"Tset", 1)
    for what, data, public, wanted in (
            ("the root", profile([root]), None, []), ("several", profile([other, root]), None, []), ("another root", profile([other]), None, ["anchor-none"]), ("no root", profile(), None, ["anchor-none"]),
            ("no root, but public", profile(), file_of(root.pem), []), ("another root, but public", profile([other]), file_of(root.pem), []), ("encrypted", encrypted, None, ["profile-encrypted"]),
            ("no profile", b"hello", None, ["profile-unreadable"]), ("empty", b"", None, ["file-empty"]), ("UTF-16", profile([root]).decode().encode("utf-16"), None, ["file-utf16"]), ("broken signature", broken, None, ["profile-unreadable"])):
        report = doctor(chain, "--host", HOST, "--profile", file_of(data, ".mobileconfig"), public=public)
        yields(report, wanted, what)
    equal(found(report, "profile-unreadable")["severity"], "error", "a broken signature is an error")
    text = found(doctor(chain, "--host", HOST, "--profile", file_of(profile([other]))), "anchor-none")["text"]
    expect("Own Root" in text, text)


run_cases()
