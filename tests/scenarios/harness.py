"""What the scenarios share: a real server on loopback, a device written in Python, TAP.

The device uses none of Pomona's code: asn1crypto and cryptography build its messages, curl's library is not involved, http.client talks.
Its messages are those of Apple devices: a throw-away signer for SCEP, an 8-byte nonce, SHA-1 detached signatures without attributes."""
import base64
import collections
import contextlib
import datetime
import hashlib
import http.client
import json
import os
import pathlib
import plistlib
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse

from asn1crypto import algos, cms, core, csr, x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, padding as sym_padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

POMONA = os.environ.get("POMONA", "build/pomona")
# What a sanitized build writes when it finds something; a case with such a line in the server's log has failed.
SANITIZER_REPORTS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "WARNING: ThreadSanitizer")
CHECKIN = "application/x-apple-aspen-mdm-checkin"
REPORT = "application/x-apple-aspen-mdm"
TOPIC = "com.apple.mgmt.External.0a1b2c3d-0000-4000-8000-000000000001"

# ---------------------------------------------------------------- TAP

_cases = []


def case(fn):
    """Marks a scenario: a function that raises when something is not as it must be."""
    _cases.append(fn)
    return fn


class Skip(Exception):
    """Raised by a case that this machine does not allow."""


def expect(condition, text):
    if not condition:
        raise AssertionError(text)


def equal(got, wanted, what=""):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r}, wanted {wanted!r}")


def main():
    """Runs the cases named in argv, or all, and prints TAP."""
    wanted = set(sys.argv[1:])
    cases = [c for c in _cases if not wanted or c.__name__ in wanted]
    print(f"1..{len(cases)}", flush=True)
    failed = 0
    for number, fn in enumerate(cases, 1):
        name = fn.__name__.replace("_", "-")
        try:
            fn()
            print(f"ok {number} - {name}", flush=True)
        except Skip as e:
            print(f"ok {number} - {name} # SKIP {e}", flush=True)
        except BaseException as e:
            failed += 1
            print(f"not ok {number} - {name}", flush=True)
            for line in (traceback.format_exc() + getattr(e, "log", "")).splitlines():
                print(f"# {line}", flush=True)
            if isinstance(e, KeyboardInterrupt):
                break
    sys.exit(1 if failed else 0)


# ---------------------------------------------------------------- the server

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """`pomona serve` over a data directory of its own."""

    def __init__(self, *args, url=None, push_cert=True, data=None, env=None):
        self.root = data or tempfile.mkdtemp(prefix="pomona-")
        self.data = os.path.join(self.root, "data")
        self.port = free_port()
        self.url = url or f"https://127.0.0.1:{self.port}"
        self.args = list(args)
        self.env = {**os.environ, **(env or {})}
        self.process = None
        run("init", "--data", self.data, "--url", self.url, "--org", "Test Org")
        self.start()
        if push_cert:
            self.import_push_cert()

    def start(self, *extra, wait=True):
        self.log_path = os.path.join(self.root, "log")
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [POMONA, "serve", "--data", self.data, "--listen", f"127.0.0.1:{self.port}", "--admin-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0",
             *self.args, *extra], stderr=self.log, stdin=subprocess.DEVNULL, env=self.env)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        ports = os.path.join(self.data, "serve.json")
        for _ in range(1000):
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.logs()}")
            with contextlib.suppress(FileNotFoundError, ValueError, ConnectionError):
                p = json.load(open(ports))
                if p["pid"] == self.process.pid:
                    self.admin_port, self.http_port = p["admin_port"], p["http_port"]
                    socket.create_connection(("127.0.0.1", self.port), 1).close()
                    return
            time.sleep(0.01)
        raise AssertionError(f"the server did not become ready:\n{self.logs()}")

    def logs(self):
        return open(self.log_path, errors="replace").read()

    def stop(self, sig=signal.SIGTERM, timeout=15):
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
            self.process.wait(timeout)
        return self.process.returncode if self.process else None

    def restart(self, *extra):
        self.stop()
        return self.start(*extra)

    def close(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.stop()
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        reports = self.sanitizer_reports()
        shutil.rmtree(self.root, ignore_errors=True)
        expect(not reports, "a sanitizer found something:\n" + reports)

    def sanitizer_reports(self):
        """The log from the first report of a sanitizer on, or nothing."""
        lines = self.logs().splitlines()
        first = next((i for i, line in enumerate(lines) if any(r in line for r in SANITIZER_REPORTS)), None)
        return "" if first is None else "\n".join(lines[first:first + 80])

    def __enter__(self):
        return self

    def __exit__(self, kind, e, tb):
        if e is not None:
            with contextlib.suppress(Exception):
                e.log = "\n--- server log ---\n" + "\n".join(self.logs().splitlines()[-40:])
        self.close()

    @property
    def root_ca(self):
        return os.path.join(self.data, "root-ca.pem")

    def import_push_cert(self, topic=TOPIC):
        pem = push_cert(topic)
        path = os.path.join(self.root, "push.pem")
        pathlib.Path(path).write_bytes(pem)
        return self.cli("push-cert", "import", path)

    def cli(self, *args, input=None):
        """A verb with --json; the parsed answer."""
        words = list(args)
        return json.loads(run(*words, "--data", self.data, "--json", input=input))

    def cli_code(self, *args, input=None):
        p = subprocess.run([POMONA, *args, "--data", self.data], capture_output=True, text=True, input=input, timeout=60)
        return p.returncode, p.stdout, p.stderr

    def token(self):
        return open(os.path.join(self.data, "admin.token")).read().strip()

    def api(self, method, path, body=None, headers=None, token=None):
        """A call to the admin API: (status, parsed body, headers)."""
        c = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=30)
        h = {"Authorization": f"Bearer {self.token() if token is None else token}", **(headers or {})}
        data = json.dumps(body) if isinstance(body, (dict, list)) else body
        c.request(method, path, data, h)
        r = c.getresponse()
        text = r.read()
        c.close()
        with contextlib.suppress(ValueError):
            text = json.loads(text)
        return r.status, text, dict(r.getheaders())

    def tls(self):
        context = ssl.create_default_context(cafile=self.root_ca)
        return context

    def request(self, method, path, body=None, headers=None, plain=False):
        """A request to the device (or plain) listener: (status, bytes, headers)."""
        c = (http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=30) if plain
             else http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=self.tls()))
        try:
            c.request(method, path, body, headers or {})
            r = c.getresponse()
            return r.status, r.read(), {k.lower(): v for k, v in r.getheaders()}
        finally:
            c.close()

    def metric(self, name):
        text = self.api("GET", "/metrics")[1]
        text = text.decode() if isinstance(text, bytes) else str(text)
        for line in text.splitlines():
            if line.startswith(name + " "):
                return float(line.split()[-1])
        return 0.0

    def link(self, *args):
        return self.cli("enroll", "new", *args)

    def profile(self, link):
        status, body, _ = self.request("GET", urllib.parse.urlsplit(link["profile_url"]).path)
        equal(status, 200, "profile")
        return body

    def enroll(self, **options):
        """A device that is enrolled."""
        device = Device(self, **options)
        device.enroll(self.link())
        return device


def run(*args, input=None, code=0):
    p = subprocess.run([POMONA, *args], capture_output=True, text=True, input=input, timeout=120)
    expect(p.returncode == code, f"pomona {' '.join(args)}: exit {p.returncode}, wanted {code}\n{p.stdout}{p.stderr}")
    return p.stdout


# ---------------------------------------------------------------- certificates

KEYS = 32
_keys = collections.deque()
_keys_lock = threading.Lock()


def rsa_key():
    """A key from a pool: making one takes Python longer than enrolling with it. Keys come round again after all the others."""
    with _keys_lock:
        key = _keys.popleft() if len(_keys) == KEYS else rsa.generate_private_key(65537, 2048)
        _keys.append(key)
        return key


def pem_key(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def self_signed(key, subject, days=30):
    now = datetime.datetime.utcnow()
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1) - (datetime.timedelta(days=9) if days < 0 else datetime.timedelta())).not_valid_after(now + datetime.timedelta(days=days)).sign(key, hashes.SHA256()))


def push_cert(topic=TOPIC, days=300):
    key = rsa_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.USER_ID, topic), x509.NameAttribute(x509.NameOID.COMMON_NAME, "APSP:test")])
    return self_signed(key, name, days).public_bytes(serialization.Encoding.PEM) + pem_key(key)


def der(cert):
    return cert.public_bytes(serialization.Encoding.DER)


# ---------------------------------------------------------------- CMS

def detached_signature(key, cert, content, digest="sha1", attributes=False):
    """What an Apple device puts into Mdm-Signature."""
    hash_class = {"sha1": hashes.SHA1, "sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}[digest]
    return signed_data(key, cert, content, digest, hash_class, attributes and [], detached=True)


def signed_data(key, cert, content, digest, hash_class, attributes, detached=False):
    parsed = asn1_x509.Certificate.load(der(cert))
    info = {
        "version": "v1",
        "sid": cms.SignerIdentifier({"issuer_and_serial_number": {"issuer": parsed.issuer, "serial_number": parsed.serial_number}}),
        "digest_algorithm": {"algorithm": digest},
        "signature_algorithm": {"algorithm": "rsassa_pkcs1v15"},
    }
    to_sign = content
    if attributes is not None and attributes is not False:
        attrs = cms.CMSAttributes([
            cms.CMSAttribute({"type": "content_type", "values": ["data"]}),
            cms.CMSAttribute({"type": "message_digest", "values": [hashlib.new(digest, content).digest()]}),
            *attributes])
        info["signed_attrs"] = attrs
        to_sign = attrs.untag().dump(force=True) if hasattr(attrs, "untag") else attrs.dump()
    info["signature"] = key.sign(to_sign, padding.PKCS1v15(), hash_class())
    body = cms.SignedData({
        "version": "v1",
        "digest_algorithms": [{"algorithm": digest}],
        "encap_content_info": {"content_type": "data"} if detached else {"content_type": "data", "content": content},
        "certificates": [parsed],
        "signer_infos": [info],
    })
    return cms.ContentInfo({"content_type": "signed_data", "content": body}).dump()


def enveloped_data(content, recipient, cipher="tripledes_3key"):
    parsed = asn1_x509.Certificate.load(recipient)
    public = x509.load_der_x509_certificate(recipient).public_key()
    size, block, make = {"tripledes_3key": (24, 8, algorithms.TripleDES), "aes128_cbc": (16, 16, algorithms.AES), "aes256_cbc": (32, 16, algorithms.AES)}[cipher]
    key, iv = secrets.token_bytes(size), secrets.token_bytes(block)
    pad = sym_padding.PKCS7(block * 8).padder()
    encryptor = Cipher(make(key), modes.CBC(iv)).encryptor()
    encrypted = encryptor.update(pad.update(content) + pad.finalize()) + encryptor.finalize()
    return cms.ContentInfo({"content_type": "enveloped_data", "content": cms.EnvelopedData({
        "version": "v0",
        "recipient_infos": [cms.RecipientInfo({"ktri": cms.KeyTransRecipientInfo({
            "version": "v0",
            "rid": cms.RecipientIdentifier({"issuer_and_serial_number": {"issuer": parsed.issuer, "serial_number": parsed.serial_number}}),
            "key_encryption_algorithm": {"algorithm": "rsaes_pkcs1v15"},
            "encrypted_key": public.encrypt(key, padding.PKCS1v15()),
        })})],
        "encrypted_content_info": {"content_type": "data", "content_encryption_algorithm": {"algorithm": cipher, "parameters": iv}, "encrypted_content": encrypted},
    })}).dump()


def open_enveloped(data, key):
    content = cms.ContentInfo.load(data)["content"]
    wrapped = content["recipient_infos"][0].chosen["encrypted_key"].native
    info = content["encrypted_content_info"]
    algorithm = info["content_encryption_algorithm"]
    cek = key.decrypt(wrapped, padding.PKCS1v15())
    make = algorithms.TripleDES if "tripledes" in algorithm["algorithm"].native else algorithms.AES
    decryptor = Cipher(make(cek), modes.CBC(algorithm["parameters"].native)).decryptor()
    plain = decryptor.update(info["encrypted_content"].native) + decryptor.finalize()
    return plain[:-plain[-1]]


# ---------------------------------------------------------------- SCEP

class ScepAttribute(core.Sequence):
    _fields = [("type", core.ObjectIdentifier), ("values", core.Any)]


SCEP = "2.16.840.1.113733.1.9."


def scep_attribute(oid, value):
    der_set = core.SetOf(spec=type(value))
    der_set.append(value)
    attribute = cms.CMSAttribute()
    encoded = ScepAttribute({"type": oid, "values": core.Any(der_set)}).dump()
    return cms.CMSAttribute.load(encoded)


def make_csr(key, subject="com.apple.security.scep.test", challenge=None, version=None):
    info = csr.CertificationRequestInfo({
        "version": version or "v1",
        "subject": asn1_x509.Name.build({"common_name": subject}),
        "subject_pk_info": asn1_x509.PublicKeyInfo.load(key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)),
        "attributes": [] if challenge is None else [{"type": "challenge_password", "values": [asn1_x509.DirectoryString({"printable_string": challenge} if challenge.isascii() else {"utf8_string": challenge})]}],
    })
    return csr.CertificationRequest({
        "certification_request_info": info,
        "signature_algorithm": {"algorithm": "sha1_rsa"},
        "signature": key.sign(info.dump(), padding.PKCS1v15(), hashes.SHA1()),
    }).dump()


def scep_message(content, ca_der, signer_key, signer_cert, message_type=19, digest="sha1", cipher="tripledes_3key", nonce=None, transaction=None):
    enveloped = enveloped_data(content, ca_der, cipher)
    hash_class = {"sha1": hashes.SHA1, "sha256": hashes.SHA256, "sha512": hashes.SHA512}[digest]
    attributes = [
        scep_attribute(SCEP + "2", core.PrintableString(str(message_type))),
        scep_attribute(SCEP + "7", core.PrintableString(transaction or secrets.token_hex(20).upper())),
        scep_attribute(SCEP + "5", core.OctetString(nonce or secrets.token_bytes(8))),
    ]
    return signed_data(signer_key, signer_cert, enveloped, digest, hash_class, attributes)


def scep_reply(data):
    """(pkiStatus, failInfo or None, enveloped content or None)"""
    signed = cms.ContentInfo.load(data)["content"]
    values = {}
    for attribute in signed["signer_infos"][0]["signed_attrs"]:
        values[attribute["type"].dotted if hasattr(attribute["type"], "dotted") else attribute["type"].native] = attribute["values"][0].native
    content = signed["encap_content_info"]["content"]
    return values.get(SCEP + "3"), values.get(SCEP + "4"), content.native if content else None, values


class ScepRefused(AssertionError):
    pass


def scep_enroll(post, ca_der, challenge, key=None, **options):
    """Enrolls through POST(bytes) → bytes; the certificate. Raises ScepRefused with the failInfo."""
    key = key or rsa_key()
    signer_key = options.pop("signer_key", None) or rsa_key()
    signer = self_signed(signer_key, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "MDM SCEP SIGNER"), x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "US")]))
    message = scep_message(make_csr(key, challenge=challenge), ca_der, signer_key, signer, **options)
    status, fail_info, content, _ = scep_reply(post(message))
    if status != "0":
        raise ScepRefused(f"failInfo {fail_info}")
    certs = cms.ContentInfo.load(open_enveloped(content, signer_key))["content"]["certificates"]
    equal(len(certs), 1, "certificates in CertRep")
    return key, x509.load_der_x509_certificate(certs[0].chosen.dump())


# ---------------------------------------------------------------- the device

class Device:
    def __init__(self, server, udid=None, minimal=False, digest="sha1", attributes=False, product="iPhone15,2"):
        self.server = server
        self.udid = udid or secrets.token_hex(20)
        self.serial = "S" + secrets.token_hex(5).upper()
        self.minimal = minimal
        self.product = product
        self.digest, self.attributes = digest, attributes
        self.token, self.magic = secrets.token_bytes(32), secrets.token_hex(16).upper()
        self.connection = None

    def read_profile(self, data):
        if data[:1] != b"<":
            p = subprocess.run(["openssl", "cms", "-verify", "-inform", "DER", "-CAfile", self.server.root_ca], input=data, capture_output=True)
            expect(p.returncode == 0, p.stderr.decode())
            data = p.stdout
        self.payload = plistlib.loads(data)
        payloads = {p["PayloadType"]: p for p in self.payload["PayloadContent"]}
        self.mdm, self.scep = payloads["com.apple.mdm"], payloads["com.apple.security.scep"]["PayloadContent"]
        self.topic = self.mdm["Topic"]
        return self

    def get_identity(self, **options):
        path = urllib.parse.urlsplit(self.scep["URL"]).path
        status, ca, headers = self.server.request("GET", path + "?operation=GetCACert&message=x")
        equal((status, headers["content-type"]), (200, "application/x-x509-ca-cert"), "GetCACert")
        if "CAFingerprint" in self.scep:
            equal(hashlib.sha1(ca).digest(), self.scep["CAFingerprint"], "CAFingerprint")

        def post(message):
            status, body, headers = self.server.request("POST", path + "?operation=PKIOperation", message, {"Content-Type": "application/x-pki-message"})
            equal((status, headers.get("content-type")), (200, "application/x-pki-message"), f"PKIOperation {body[:200]!r}")
            return body
        self.key, self.cert = scep_enroll(post, ca, options.pop("challenge", self.scep["Challenge"]), **options)
        return self

    def put(self, message, content_type=CHECKIN, signature=None, body=None, **overrides):
        """Sends a plist; (status, parsed reply or bytes)."""
        data = plistlib.dumps({**message, **overrides}) if body is None else body
        if signature is None:
            signature = base64.b64encode(detached_signature(self.key, self.cert, data, self.digest, self.attributes)).decode()
        headers = {"Content-Type": content_type, "User-Agent": "MDM/1.0", "Accept": "*/*", "Accept-Encoding": "gzip, deflate, br", "Cache-Control": "no-cache"}
        if signature:
            headers["Mdm-Signature"] = signature
        path = urllib.parse.urlsplit(self.mdm["ServerURL"]).path
        if self.connection is None:
            self.connection = http.client.HTTPSConnection("127.0.0.1", self.server.port, timeout=60, context=self.server.tls())
        try:
            self.connection.request("PUT", path, data, headers)
            r = self.connection.getresponse()
            reply = r.read()
        except (http.client.HTTPException, OSError):
            self.connection.close()
            self.connection = None
            raise
        if r.will_close:
            self.connection.close()
            self.connection = None
        expect(r.status != 401, "a device was answered 401: it would un-enroll")
        self.headers = {k.lower(): v for k, v in r.getheaders()}
        return r.status, plistlib.loads(reply) if r.status == 200 and reply else reply

    def authenticate(self, **overrides):
        message = {"MessageType": "Authenticate", "Topic": self.topic, "UDID": self.udid}
        if not self.minimal:
            message |= {"OSVersion": "18.2.1", "BuildVersion": "22C161", "ProductName": self.product, "SerialNumber": self.serial, "DeviceName": "Test & <device>",
                        "Model": "MQ0G3", "ModelName": "iPhone", "IMEI": "35 000000 000000 0"}
        return self.put(message, **overrides)

    def token_update(self, **overrides):
        message = {"MessageType": "TokenUpdate", "Topic": self.topic, "UDID": self.udid, "Token": self.token, "PushMagic": self.magic}
        if not self.minimal:
            message |= {"AwaitingConfiguration": False, "UnlockToken": b"unlock" * 50, "NotOnConsole": False}
        return self.put(message, **overrides)

    def check_out(self, **overrides):
        return self.put({"MessageType": "CheckOut", "Topic": self.topic, "UDID": self.udid}, **overrides)

    def idle(self, **overrides):
        return self.put({"UDID": self.udid, "Status": "Idle"}, REPORT, **overrides)

    def report(self, uuid, status="Acknowledged", **more):
        return self.put({"UDID": self.udid, "Status": status, "CommandUUID": uuid, **more}, REPORT)

    def enroll(self, link):
        self.read_profile(self.server.profile(link))
        self.get_identity()
        equal(self.authenticate(), (200, b""), "Authenticate")
        equal(self.token_update(), (200, b""), "TokenUpdate")
        return self

    @property
    def id(self):
        return self.server.cli("device", "show", self.udid)["id"]
