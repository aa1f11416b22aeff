"""A gallery of bad servers and chains, and of good ones: each must yield exactly its finding. The certificates are made by cryptography, the servers are Python's, and openssl is asked
wherever it has a word."""
import concurrent.futures
import datetime
import http.server
import json
import pathlib
import socket
import ssl
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree

from asn1crypto import core as asn1_core
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID as EKU, ObjectIdentifier

from harness import case, equal, expect, pem_key, rsa_key

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from gallery import DAY, HOST, NOW, Cert, Raw, Web, doctor, ec_key, file_of, found, name, pems, rules, run_cases, yields

ROOT = Cert("Test Root", ca=True, days=7300, start=NOW - 400 * DAY)
OTHER = Cert("Other Root", ca=True, days=7300, start=NOW - 400 * DAY)
ICA = Cert("Test Issuing CA", ROOT, ca=True, days=3650, path=0)
DEEP = Cert("Test Deeper CA", ROOT, ca=True, days=3650)
DEEP2 = Cert("Test Deepest CA", DEEP, ca=True, days=3650)


def leaf(issuer=ICA, cn=HOST, san=(HOST,), **more):
    return Cert(cn, issuer, san=san, **more)


TRUST = file_of(ROOT.pem)


# ---------------------------------------------------------------- servers

def at(web, *args, host=HOST, **more):
    return doctor(f"https://{host}", "--connect", web.address, *args, **more)


# ---------------------------------------------------------------- chains

def resigned(cert):
    """The same with a signature by another key."""
    issuer = cert.issuer
    return Cert(HOST, issuer, key=cert.key, san=(HOST,), signing_key=ec_key())


CROSS = Cert("Other Root", ROOT, key=OTHER.key, ca=True, days=3650)
OTHER_ICA = Cert("Cross Issuing CA", OTHER, ca=True, days=3650)
EXPIRED_ICA = Cert("Expired Issuing CA", ROOT, ca=True, start=NOW - 100 * DAY, days=50)
SHORT_ICA = Cert("Short Issuing CA", ROOT, ca=True, start=NOW - 300 * DAY, days=303)
SMALL_ICA = Cert("Small Issuing CA", ROOT, ca=True, key=rsa.generate_private_key(65537, 1024), days=3650)
SHA1_ICA = Cert("Old Issuing CA", ROOT, ca=True, digest=hashes.SHA1, days=3650)
NOT_CA = Cert("No CA at all", ROOT, days=3650, usage=True, eku=())
RSA_ROOT = Cert("RSA Root", key=rsa_key(), ca=True, days=7300)
RSA_ICA = Cert("RSA Issuing CA", RSA_ROOT, key=rsa_key(), ca=True, days=3650)
AIA_URL = "http://ca.example.org/issuing.cer"
PUSH_EXT = x509.UnrecognizedExtension(ObjectIdentifier("1.2.840.113635.100.6.3.2"), b"\x05\x00")
APP_EXT = x509.UnrecognizedExtension(ObjectIdentifier("1.2.840.113635.100.6.1.4"), b"\x05\x00")


def good():
    """name, chain, roots: nothing may be found."""
    one, san = leaf(), leaf(san=("www.example.org", HOST))
    return [
        ("EC", [one, ICA], ROOT), ("several names", [san, ICA], ROOT), ("wildcard", [leaf(cn="*.example.org", san=("*.example.org",)), ICA], ROOT), ("no CN", [leaf(cn=None), ICA], ROOT),
        ("RSA", [leaf(RSA_ICA, key=rsa_key()), RSA_ICA], RSA_ROOT), ("own root, leaf alone", [leaf(ROOT)], ROOT), ("two intermediates", [leaf(DEEP2), DEEP2, DEEP], ROOT),
        ("cross-signed, old root", [leaf(OTHER_ICA), OTHER_ICA, CROSS], ROOT), ("cross-signed, new root", [leaf(OTHER_ICA), OTHER_ICA, CROSS], OTHER), ("825 days", [leaf(days=825), ICA], ROOT),
        ("P-384", [leaf(key=ec_key(ec.SECP384R1), digest=hashes.SHA384), ICA], ROOT), ("upper case", [leaf(san=(HOST.upper(),)), ICA], ROOT), ("both kinds of authentication", [leaf(eku=(EKU.CLIENT_AUTH, EKU.SERVER_AUTH)), ICA], ROOT),
    ]


def bad():
    """name, chain, what must be found, whether openssl verify takes it (None: it is not asked)."""
    one = leaf()
    aia = leaf(aia=AIA_URL)
    deep = leaf(DEEP2)
    deep2 = Cert("Test Deepest CA", DEEP, key=DEEP2.key, ca=True, days=3650, aia=AIA_URL)
    sha1 = leaf(digest=hashes.SHA1)
    return [
        ("leaf only", [one], ["chain-leaf-only"], False),
        ("leaf only with AIA", [aia], ["chain-leaf-only"], False),
        ("leaf twice", [one, one, ICA], ["chain-leaf-twice"], True),
        ("leaf twice and nothing else", [one, one], ["chain-leaf-only", "chain-leaf-twice"], False),
        ("intermediate twice", [one, ICA, ICA], ["chain-duplicate"], True),
        ("wrong order", [deep, DEEP, DEEP2], ["chain-order"], True),
        ("missing in between", [deep, deep2], ["chain-missing-intermediate"], False),
        ("foreign", [one, ICA, OTHER], ["chain-foreign"], True),
        ("root sent", [one, ICA, ROOT], ["chain-root-sent"], True),
        ("broken signature", [resigned(one), ICA], ["chain-bad-signature"], False),
        ("CA without CA", [leaf(NOT_CA), NOT_CA], ["chain-invalid"], False),
        ("path too long", [leaf(x := Cert("Below", ICA, ca=True, days=3650)), x, ICA], ["chain-invalid"], False),
        ("CN only", [leaf(san=None), ICA], ["name-cn-only"], None),
        ("no name", [leaf(san=None, cn="A server"), ICA], ["name-absent"], False),
        ("other name", [leaf(cn="www.example.org", san=("www.example.org",)), ICA], ["name-mismatch"], False),
        ("wildcard of the apex", [leaf(cn=None, san=("*." + HOST,)), ICA], ["name-wildcard"], False),
        ("wildcard two up", [leaf(cn=None, san=("*.org.example",), ), ICA], ["name-mismatch"], False),
        ("wildcard of two labels", [leaf(cn=None, san=("*.org",)), ICA], ["name-wildcard-form"], False),
        ("partial wildcard", [leaf(cn=None, san=("m*.example.org",)), ICA], ["name-wildcard-form"], None),
        ("no EKU", [leaf(eku=()), ICA], ["eku-absent"], True),
        ("other EKU", [leaf(eku=(EKU.EMAIL_PROTECTION,)), ICA], ["eku-no-server-auth"], False),
        ("client only", [leaf(eku=(EKU.CLIENT_AUTH,)), ICA], ["is-device"], False),
        ("no digitalSignature", [leaf(usage=2), ICA], ["key-usage"], None),
        ("826 days", [leaf(days=826), ICA], ["validity-825"], True),
        ("20 years", [leaf(days=7300, issuer=ROOT)], ["validity-825"], True),
        ("expired", [leaf(start=NOW - 100 * DAY, days=50), ICA], ["expired"], False),
        ("not yet", [leaf(start=NOW + 10 * DAY), ICA], ["not-yet-valid"], False),
        ("expiring", [leaf(start=NOW - 80 * DAY, days=90), ICA], ["expiring"], True),
        ("CA expired", [leaf(EXPIRED_ICA), EXPIRED_ICA], ["expired"], False),
        ("CA expiring", [leaf(SHORT_ICA), SHORT_ICA], ["expiring"], True),
        ("RSA 1024", [leaf(key=rsa.generate_private_key(65537, 1024)), ICA], ["key-rsa-small"], None),
        ("CA with RSA 1024", [leaf(SMALL_ICA), SMALL_ICA], ["key-rsa-small"], None),
        ("SHA-1", [sha1, ICA], ["signature-weak"], None),
        ("CA with SHA-1", [leaf(SHA1_ICA), SHA1_ICA], ["signature-weak"], None),
        ("CA as server", [Cert(HOST, ROOT, ca=True, san=(HOST,), extra=(x509.ExtendedKeyUsage([EKU.SERVER_AUTH]),))], ["leaf-is-ca"], None),
        ("self-signed", [leaf(None)], ["self-signed"], False),
        ("unknown root", [leaf(OTHER_ICA), OTHER_ICA], ["root-unknown"], False),
        ("unknown root, sent", [leaf(OTHER_ICA), OTHER_ICA, OTHER], ["chain-root-sent", "root-unknown"], False),
        ("push certificate", [leaf(uid="com.apple.mgmt.External.0a1b2c3d", cn="APSP:1", san=None, extra=(PUSH_EXT,)), ICA], ["is-push"], None),
        ("vendor certificate", [leaf(cn="MDM Vendor: Example", san=None), ICA], ["is-vendor"], None),
        ("developer certificate", [leaf(cn="iPhone Distribution: Example", san=None, eku=(EKU.CODE_SIGNING,), extra=(APP_EXT,)), ICA], ["is-developer"], None),
    ]


def openssl_takes(chain, root):
    args = ["verify", "-CAfile", file_of(root.pem), "-purpose", "sslserver", "-verify_hostname", HOST, "-auth_level", "0"]
    if len(chain) > 1:
        args += ["-untrusted", file_of(pems(chain[1:]))]
    return subprocess.run(["openssl", *args, file_of(chain[0].pem)], capture_output=True, timeout=60).returncode == 0


@case
def good_chains_have_no_finding():
    for what, chain, root in good():
        trust = file_of(root.pem)
        expect(openssl_takes(chain, root), f"openssl refuses {what}")
        yields(doctor(file_of(pems(chain)), "--host", HOST, "--trust", trust), [], what)
        with Web(chain) as web:
            yields(at(web, "--trust", trust), [], what + " on a server")


@case
def bad_chains_have_their_finding():
    for what, chain, wanted, taken in bad():
        report = doctor(file_of(pems(chain)), "--host", HOST, "--trust", TRUST)
        yields(report, wanted, what)
        if taken is not None:
            equal(openssl_takes(chain, ROOT), taken, f"what openssl says of {what}")
        for finding in report["findings"]:
            expect(finding["text"] and finding["mend"] and finding["systems"], f"{what}: {finding}")


@case
def bad_servers_have_their_finding():
    def look(row):
        with Web(row[1]) as web:
            yields(at(web, "--trust", TRUST), row[2], row[0])
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(look, bad()))


@case
def keys_that_no_server_can_use():
    root = Cert("Ed Root", ca=True, days=7300)
    for what, key in (("secp256k1", ec_key(ec.SECP256K1)), ("P-224", ec_key(ec.SECP224R1)), ("Ed25519", ed25519.Ed25519PrivateKey.generate())):
        report = doctor(file_of(pems([leaf(root, key=key)])), "--host", HOST, "--trust", file_of(root.pem))
        yields(report, ["key-type"], what)


@case
def addresses_in_names():
    for san, host, wanted in ((("ip:192.0.2.7",), "192.0.2.7", []), (("192.0.2.7",), "192.0.2.7", ["name-ip-as-dns"]), (("ip:192.0.2.8",), "192.0.2.7", ["name-mismatch"]), ((HOST,), "192.0.2.7", ["name-mismatch"]),
                              (None, "192.0.2.7", ["name-absent"]), (("ip:2001:db8::1",), "2001:db8:0::1", []), (("*.example.org",), "example.org", ["name-wildcard"]), (("*.example.org",), "a.b.example.org", ["name-wildcard"]),
                              (("*.example.org",), "a.example.org", []), (("*.example.org",), "A.EXAMPLE.org", []), (("*.example.org",), "aexample.org", ["name-mismatch"])):
        chain = [leaf(cn="A server", san=san), ICA]
        yields(doctor(file_of(pems(chain)), "--host", host, "--trust", TRUST), wanted, f"{san} for {host}")


@case
def what_the_text_says():
    report = doctor(file_of(pems([leaf(aia=AIA_URL)])), "--host", HOST, "--trust", TRUST)
    missing = found(report, "chain-leaf-only")
    equal(missing["systems"], ["watchos"], "who does not fetch")
    expect(AIA_URL in missing["text"] and "Test Issuing CA" in missing["text"], missing["text"])
    report = doctor(file_of(pems([leaf()])), "--host", HOST, "--trust", TRUST)
    equal(len(found(report, "chain-leaf-only")["systems"]), 5, "who cannot fetch")
    yields(doctor(file_of(pems([leaf(aia=AIA_URL)])), "--trust", TRUST, "--for", "ios,macos"), [], "what does not concern a phone")
    yields(doctor(file_of(pems([leaf(aia=AIA_URL)])), "--trust", TRUST, "--for", "watchos"), ["chain-leaf-only"], "what concerns a watch")
    report = doctor(file_of(pems([leaf(), ICA])), "--host", HOST)
    expect("approximation" in found(report, "root-unknown")["text"], "the list of roots is an approximation, and that is said")


@case
def public_lifetimes():
    public = file_of(ROOT.pem)

    def of(start, days):
        chain = [leaf(start=start, days=days), ICA_OLD]
        return doctor(file_of(pems(chain)), "--host", HOST, "--now", (start + 10 * DAY).strftime("%Y-%m-%dT%H:%M:%SZ"), public=public)
    ICA_OLD = Cert("Test Issuing CA", ROOT_OLD := Cert("Test Root", key=ROOT.key, ca=True, start=datetime.datetime(2015, 1, 1), days=7300), key=ICA.key, ca=True, start=datetime.datetime(2015, 1, 1), days=7300)
    public = file_of(ROOT_OLD.pem)
    for start, days, wanted in (
            (datetime.datetime(2019, 6, 30), 900, []), (datetime.datetime(2019, 7, 1), 825, []), (datetime.datetime(2019, 7, 1), 826, ["validity-825"]), (datetime.datetime(2020, 8, 31), 825, []),
            (datetime.datetime(2020, 9, 1), 398, []), (datetime.datetime(2020, 9, 1), 399, ["validity-398"]), (datetime.datetime(2026, 3, 14), 398, []), (datetime.datetime(2026, 3, 15), 200, []),
            (datetime.datetime(2026, 3, 15), 201, ["validity-public-limit"]), (datetime.datetime(2027, 3, 15), 101, ["validity-public-limit"]), (datetime.datetime(2029, 3, 15), 48, ["validity-public-limit"]),
            (datetime.datetime(2029, 3, 15), 47, []), (datetime.datetime(2026, 3, 15), 399, ["validity-398"])):
        report = of(start, days)
        yields(report, wanted, f"{days} days from {start}")
        if wanted == ["validity-398"]:
            expect("Debian" in report["findings"][0]["text"], "the list of roots is named")
    # The same of a private root: exempt.
    yields(doctor(file_of(pems([leaf(days=825), ICA])), "--trust", TRUST), [], "private root, 825 days")


@case
def roots_that_have_expired():
    root = Cert("Old Root", ca=True, start=NOW - 1000 * DAY, days=900)
    report = doctor(file_of(pems([leaf(root)])), "--host", HOST, "--trust", file_of(root.pem))
    yields(report, ["root-expired"], "expired root")


@case
def anchors_are_pins():
    chain, public, own = file_of(pems([leaf(), ICA])), file_of(ROOT.pem), file_of(ROOT.pem)
    other, expired = file_of(OTHER.pem), file_of(Cert("Old Anchor", ca=True, start=NOW - 100 * DAY, days=50).pem)
    one = leaf()
    pinned = file_of(pems([one, ICA]))
    for args, public_roots, wanted in (
            (("--anchors", own), None, []), (("--anchors", file_of(ICA.pem)), None, []), (("--anchors", other), None, ["anchor-not-reached"]), (("--anchors", other), public, ["anchor-not-reached"]),
            (("--anchors", own), public, ["anchor-superfluous"]), (("--anchors", own, "--anchors", other), None, []), (("--anchors", other, "--trust", own), None, ["anchor-not-reached"]),
            (("--anchors", own, "--anchors", expired), None, ["anchor-expired"]), (("--anchors", other, "--for", "ios"), public, [])):
        report = doctor(chain, "--host", HOST, *args, public=public_roots)
        yields(report, wanted, f"{args} {public_roots}")
        if wanted == ["anchor-not-reached"] and public_roots:
            expect("none" in found(report, wanted[0])["text"] and "Test Root" in found(report, wanted[0])["text"], "which to list, or none")
    yields(doctor(pinned, "--host", HOST, "--anchors", file_of(one.pem)), ["anchor-is-leaf"], "the leaf as anchor")
    # What is not sent is not fetched.
    yields(doctor(file_of(pems([leaf(aia=AIA_URL)])), "--host", HOST, "--anchors", own), ["chain-leaf-only"], "anchor beyond a gap")
    # openssl agrees when it takes nothing but the anchors.
    for anchor, taken in ((own, True), (other, False)):
        p = subprocess.run(["openssl", "verify", "-partial_chain", "-CAfile", anchor, "-untrusted", file_of(ICA.pem), file_of(leaf().pem)], capture_output=True, timeout=60)
        equal(p.returncode == 0, taken, "openssl verify")


# ---------------------------------------------------------------- files

@case
def files_of_all_kinds():
    key = ec_key()
    csr = x509.CertificateSigningRequestBuilder().subject_name(name("x")).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    chain = [leaf(), ICA]
    broken = leaf().pem.replace(b"MII", b"M!I", 1)
    truncated = leaf().pem[:300]
    p7 = pkcs7.serialize_certificates([c.cert for c in chain], serialization.Encoding.DER)
    for what, data, wanted in (
            ("empty", b"", ["file-empty"]), ("UTF-16", pems(chain).decode().encode("utf-16"), ["file-utf16"]), ("UTF-16 without a mark", pems(chain).decode().encode("utf-16-le"), ["file-utf16"]),
            ("a page", b"<html>not here</html>", ["file-not-certificates"]), ("a request", csr, ["file-not-certificates"]), ("broken base64", broken, ["file-broken"]), ("cut off", truncated, ["file-broken"]),
            ("garbage in DER", b"0\x82\x01\x00" + bytes(256), ["file-not-certificates"]), ("large", b"x" * (1 << 20) + b"y", ["file-too-large"]), ("key alone", pem_key(key), ["file-not-certificates", "file-private-key"]),
            ("key and chain", pems(chain) + pem_key(key), ["file-private-key"]), ("DER", leaf(ROOT).der, [])):
        yields(doctor(file_of(data), "--trust", TRUST), wanted, what)
    expect(rules(doctor(file_of(p7), "--trust", TRUST)) in ([], ["chain-order"]), "a PKCS#7 is read")
    secret = pem_key(key)
    out = doctor(file_of(pems(chain) + secret), "--trust", TRUST, raw=True)
    body = secret.splitlines()[1]
    expect(body not in out.stdout and body not in out.stderr, "the key is not shown")
    yields(doctor("-", "--trust", TRUST, input=pems(chain)), [], "standard input")
    yields(doctor(file_of(pems([leaf(ROOT)] + [Cert(f"CA {i}", ca=True) for i in range(20)])), "--trust", TRUST), ["chain-too-long"] + ["chain-foreign"] * 15, "a long file")
    doctor("/dev/zero", "--trust", TRUST, code=1)
    equal(doctor("/nowhere/x.pem", raw=True).returncode != 0, True, "a file that is not there")


# ---------------------------------------------------------------- servers that are odd

@case
def servers_that_speak_no_tls():
    def answer_http(connection):
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    def banner(connection):
        connection.sendall(b"220 mail.example.org ESMTP\r\n")
        connection.recv(4096)
    for talk, wanted in ((answer_http, ["no-tls"]), (banner, ["no-tls"]), (lambda c: c.recv(4096), ["handshake-failed"])):
        with Raw(talk) as raw:
            yields(at(raw), wanted, str(talk))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    yields(doctor(f"https://{HOST}", "--connect", f"127.0.0.1:{port}"), ["connect-failed"], "nobody there")
    yields(doctor("https://no-such-name.invalid"), ["name-unknown"], "no such name")


@case
def servers_that_never_end():
    def silent(connection):
        while connection.recv(4096):
            pass

    def drip(connection):
        # A handshake record of 16 KiB, a byte at a time.
        connection.sendall(b"\x16\x03\x03\x40\x00")
        while True:
            connection.sendall(b"\x02")
            time.sleep(0.2)
    with Raw(silent) as a, Raw(drip) as b:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            started = time.monotonic()
            for report in pool.map(lambda raw: at(raw, "--timeout", "2"), (a, b)):
                yields(report, ["answer-late"], "no end")
            expect(time.monotonic() - started < 60, "the doctor took more than its time")


@case
def endless_chain():
    huge = [leaf()] + [Cert(f"CA {i}", ca=True, extra=(x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), asn1_core.OctetString(bytes(30000)).dump()),)) for i in range(6)]
    with Web(huge) as web:
        yields(at(web), ["chain-too-long"], "180 KiB of certificates")
    many = [leaf(ROOT)] + [Cert(f"CA {i}", ca=True) for i in range(20)]
    with Web(many) as web:
        yields(at(web, "--trust", TRUST), ["chain-too-long"] + ["chain-foreign"] * 15, "20 certificates too many")


@case
def old_protocols_and_ciphers():
    def old(context):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.minimum_version = ssl.TLSVersion.TLSv1

    def static(context):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-SHA:AES256-SHA256:AES128-GCM-SHA256:@SECLEVEL=0")

    def only12(context):
        context.maximum_version = ssl.TLSVersion.TLSv1_2

    def only13(context):
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    rsa_leaf = leaf(key=rsa_key())
    for setup, wanted in ((old, ["tls-version"]), (static, ["tls-forward-secrecy"]), (only12, []), (only13, [])):
        with Web([rsa_leaf, ICA], setup=setup) as web:
            yields(at(web, "--trust", TRUST), wanted, setup.__name__)


@case
def client_certificates_http2_and_names():
    def asks(context):
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(TRUST)

    def demands(context):
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(TRUST)

    def demands12(context):
        demands(context)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    chain = [leaf(), ICA]
    for setup in (asks, demands, demands12):
        with Web(chain, setup=setup) as web:
            yields(at(web, "--trust", TRUST), ["client-certificate"], setup.__name__)
    with Web(chain, alpn=["h2", "http/1.1"], h2=True) as web:
        yields(at(web, "--trust", TRUST), [], "HTTP/2")
    with Web(chain, alpn=["h2"], h2=False) as web:
        yields(at(web, "--trust", TRUST), ["http2-broken"], "HTTP/2 that is none")
    with Web([leaf(ROOT, cn="default", san=("default.example.org",))], named={HOST: chain}) as web:
        yields(at(web, "--trust", TRUST), ["sni-required"], "another default certificate")


@case
def machines_that_differ():
    chain, other = [leaf(), ICA], [leaf(), ICA]
    with Web(chain) as a, Web(other) as b, Web([leaf(start=NOW - 100 * DAY, days=50), ICA]) as c:
        yields(at(a, "--connect", a.address, "--trust", TRUST), [], "the same twice")
        yields(at(a, "--connect", b.address, "--trust", TRUST), ["addresses-differ"], "another certificate")
        report = at(a, "--connect", c.address, "--trust", TRUST)
        yields(report, ["addresses-differ", "expired"], "one has expired")
        expect(c.address in found(report, "expired")["path"], "which machine")
        with socket.create_server(("127.0.0.1", 0)) as gone:
            dead = f"127.0.0.1:{gone.getsockname()[1]}"
        yields(at(a, "--connect", dead, "--trust", TRUST), ["connect-failed"], "one is down")


@case
def answers_of_http():
    chain = [leaf(), ICA]
    stamp = (datetime.datetime.utcnow() + datetime.timedelta(hours=2)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    for what, answer, wanted in (
            ("login page here", (302, {"Location": "/login"}, b""), []), ("elsewhere", (301, {"Location": "https://www.example.com/"}, b""), ["http-redirect"]), ("to http", (301, {"Location": f"http://{HOST}/"}, b""), ["http-redirect"]),
            ("bad gateway", (502, {}, b"<html>"), ["http-proxy-error"]), ("clock", (200, {"Date": stamp}, b""), ["clock"]), ("no date", (200, {}, b""), []), ("loop", (302, {"Location": f"https://{HOST}/"}, b""), [])):
        with Web(chain, answer=lambda *_: answer) as web:
            yields(at(web, "--trust", TRUST), wanted, what)
            expect(len(web.requests) <= 1, "no redirect is followed")


class Responder:
    """OCSP over HTTP."""

    def __init__(self, status):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                request = ocsp.load_der_ocsp_request(self.rfile.read(int(self.headers["Content-Length"])))
                expect(request.serial_number == outer.leaf.cert.serial_number, "whose status")
                revoked = status == ocsp.OCSPCertStatus.REVOKED
                b = ocsp.OCSPResponseBuilder().add_response(outer.leaf.cert, ICA.cert, hashes.SHA1(), status, NOW, NOW + DAY, NOW if revoked else None, None).responder_id(ocsp.OCSPResponderEncoding.HASH, ICA.cert)
                body = b"nonsense" if status is None else b.sign(ICA.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.leaf = leaf(ocsp_url=f"http://127.0.0.1:{self.server.server_port}/")


@case
def ocsp_is_asked():
    for status, wanted in ((ocsp.OCSPCertStatus.GOOD, []), (ocsp.OCSPCertStatus.REVOKED, ["revoked"])):
        responder = Responder(status)
        with Web([responder.leaf, ICA]) as web:
            yields(at(web, "--trust", TRUST), wanted, str(status))
        responder.server.shutdown()
        responder.server.server_close()
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with Web([leaf(ocsp_url=f"http://127.0.0.1:{port}/"), ICA]) as web:
        yields(at(web, "--trust", TRUST), ["ocsp-unreachable"], "nobody answers")


@case
def the_handshake_is_what_openssl_sees():
    deep = [leaf(DEEP2), DEEP, DEEP2, ROOT, ICA]
    with Web(deep) as web:
        p = subprocess.run(["openssl", "s_client", "-connect", web.address, "-servername", HOST, "-showcerts"], input=b"", capture_output=True, timeout=60)
        seen = [x509.load_pem_x509_certificate(b"-----BEGIN CERTIFICATE-----" + part.split(b"-----END CERTIFICATE-----")[0] + b"-----END CERTIFICATE-----\n")
                for part in p.stdout.split(b"-----BEGIN CERTIFICATE-----")[1:]]
        # s_client shows the server's certificate once more at the end.
        equal([c.subject for c in seen][:len(deep)], [c.cert.subject for c in deep], "what s_client saw")
        report = at(web, "--trust", TRUST)
        yields(report, ["chain-foreign", "chain-order", "chain-root-sent"], "all at once")
        equal((found(report, "chain-foreign")["path"], found(report, "chain-root-sent")["path"], found(report, "chain-order")["path"]), ("chain[4]", "chain[3]", "chain[1]"), "places")


# ---------------------------------------------------------------- output

@case
def forms_of_output():
    path = file_of(pems([leaf(start=NOW - 80 * DAY, days=90), ICA, ROOT]))
    text = doctor(path, "--trust", TRUST, raw=True, code=0).stdout.decode()
    expect(text.index("warning") < text.index("note ") and "0 errors, 1 warning, 1 note" in text and "\033" not in text, text)
    junit = doctor(path, "--trust", TRUST, "--junit", raw=True, code=0).stdout.decode()
    expect("<testsuite " in junit and 'tests="2" failures="0"' in junit, junit)
    report = doctor(path, "--trust", TRUST)
    equal(list(report), ["target", "errors", "warnings", "notes", "findings"], "keys")
    equal([list(f) for f in report["findings"]], [["rule", "severity", "systems", "path", "line", "text", "mend"]] * 2, "keys of a finding")
    equal([f["severity"] for f in report["findings"]], ["warning", "note"], "worst first")
    table = doctor("--rules", raw=True, code=0).stdout.decode()
    all_rules = json.loads(doctor("--rules", "--json", raw=True, code=0).stdout)["rules"]
    expect(len(all_rules) > 80 and all(r["id"] in table for r in all_rules), "the table of rules")
    for args in (("--for", "android", path), ("--now", "yesterday", path), ("ftp://x",), ("https://user@x/",), ("https://x:99999",), ("--anchors", path, "--profile", path, path), ("http://x/",)):
        expect(doctor(*args, raw=True).returncode not in (0, 75), f"refused: {args}")


@case
def evil_texts_stay_texts():
    evil = leaf(cn="\033[31mred\033]0;owned\007\r\nok: 0 errors", san=None)
    out = doctor(file_of(pems([evil, ICA])), "--host", HOST, "--trust", TRUST, raw=True).stdout
    expect(b"\033" not in out and b"\007" not in out and b"\r" not in out, out.decode())
    junit = doctor(file_of(pems([evil, ICA])), "--host", HOST, "--trust", TRUST, "--junit", raw=True).stdout
    xml.etree.ElementTree.fromstring(junit)


@case
def date_of_another_day():
    path = file_of(pems([leaf(days=90), ICA]))
    for now, wanted in ((NOW, []), (NOW + 80 * DAY, ["expiring"]), (NOW + 100 * DAY, ["expired"]), (NOW - 10 * DAY, ["not-yet-valid"] * 2)):
        yields(doctor(path, "--trust", TRUST, "--now", now.strftime("%Y-%m-%dT%H:%M:%SZ")), wanted, f"as of {now}")


run_cases()
