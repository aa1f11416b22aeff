"""What the scenarios share: a real server on loopback, a device written in Python, TAP.

The device uses none of Pomona's code: asn1crypto and cryptography build its messages, curl's library is not involved, http.client talks.
Its messages are those of Apple devices: a throw-away signer for SCEP, an 8-byte nonce, SHA-1 detached signatures without attributes."""
import base64
import collections
import contextlib
import datetime
import fcntl
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

from asn1crypto import cms, core, x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, padding as sym_padding, serialization
from cryptography.hazmat.primitives.asymmetric import ec as ec_keys, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import pkcs12

from lib import engines, store

store.need_cluster()
POMONA = os.path.abspath(os.environ.get("POMONA", "build/pomona"))
# What a sanitized build writes when it finds something, and what GLib writes of an error that was set twice and the like; a case with such a line in the server's log has failed.
SANITIZER_REPORTS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "WARNING: ThreadSanitizer", "-WARNING **: ", "-CRITICAL **: ")
CHECKIN = "application/x-apple-aspen-mdm-checkin"
REPORT = "application/x-apple-aspen-mdm"
TOPIC = "com.apple.mgmt.External.0a1b2c3d-0000-4000-8000-000000000001"

# ---------------------------------------------------------------- TAP

_cases = []


def case(fn):
    """Marks a scenario: a function that raises when something is not as it must be."""
    _cases.append(fn)
    return fn


def wait_for(what, condition, seconds=20):
    """Waits until CONDITION() is true, and gives that."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        expect(time.monotonic() < end, f"not within {seconds} s: {what}")
        time.sleep(0.1)


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
    there = [c for c in _cases if not wanted or c.__name__ in wanted]
    left_out = engines.left_out(pathlib.Path(sys.argv[0]).stem, [c.__name__ for c in _cases])
    cases = [c for c in there if c.__name__ not in left_out]
    print(f"1..{len(cases)}", flush=True)
    for c in there:
        if c.__name__ in left_out:
            print(f"# not with {store.ENGINE}: {c.__name__}: {left_out[c.__name__]}", flush=True)
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

_reserved = []  # sockets that hold ports for this process


def free_port():
    """A port that nobody uses, below those that the system gives to outgoing connections: one of them could take it before the server does. Other processes of the tests do not get it as long as this one lives, for
    which a name stands that the system forgets with it."""
    while True:
        port = 15000 + secrets.randbelow(17000)
        name = socket.socket(socket.AF_UNIX)
        with socket.socket() as s, contextlib.suppress(OSError):
            name.bind(f"\0pomona-test-port-{port}")
            s.bind(("127.0.0.1", port))
            _reserved.append(name)
            return port
        name.close()


def end_process(process, seconds=30):
    """Asks PROCESS to end, and after SECONDS ends it. Whether it did what it was asked."""
    process.terminate()
    try:
        process.wait(seconds)
        return True
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False


class Server:
    """`pomona serve` over a data directory of its own."""

    def __init__(self, *args, url=None, push_cert=True, data=None, env=None, init=()):
        self.root = data or tempfile.mkdtemp(prefix="pomona-")
        self.data = os.path.join(self.root, "data")
        self.port = free_port()
        self.url = url or f"https://127.0.0.1:{self.port}"
        self.args = list(args)
        self.env = {**os.environ, **(env or {})}
        self.process = self.template = None
        self.nodes = []
        if data:
            init_data(self.data, "--url", self.url, "--org", "Test Org", *init)
        else:
            self.template = templates.take("--org", "Test Org", *init)
            store.copy_data(self.template, self.data, self.url)
        self.start()
        if push_cert:
            self.import_push_cert()

    def node(self, *args, **options):
        """Another node over the same store, with a data directory and ports of its own. It is closed with this one. PostgreSQL only."""
        self.nodes.append(Node(self, *args, **options))
        return self.nodes[-1]

    # ---- the store, behind the server's back; values are given as ?

    @property
    def store(self):
        return store.store_of(self.data)

    def sql(self, text, *values):
        """The rows of a statement (tuples, each with dict()), or how many it has changed."""
        with self.store.transaction() as execute:
            return execute(text, *values)

    @contextlib.contextmanager
    def stopped(self):
        """EXECUTE(text, value…) of one transaction on the store of the server, which is stopped for it."""
        self.stop()
        with self.store.transaction() as execute:
            yield execute
        self.start()

    def start(self, *extra, wait=True):
        self.log_path = os.path.join(self.root, "log")
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [POMONA, "serve", "--data", self.data, "--listen", f"127.0.0.1:{self.port}", "--admin-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0",
             # Scenarios count the commands of a device: what the server itself asks comes only where it is looked at.
             "--set", "inventory.hours=0", "--set", "doctor.interval_hours=0", *self.args, *extra], stderr=self.log, stdin=subprocess.DEVNULL, env=self.env)
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
        for node in self.nodes:
            node.close()
        self.end()
        reports = self.sanitizer_reports()
        self.remove()
        expect(not reports, "a sanitizer found something:\n" + reports)

    def end(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.stop()
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def remove(self):
        if os.path.exists(os.path.join(self.data, "pomona.conf")):
            self.store.remove()
        shutil.rmtree(self.root, ignore_errors=True)
        if self.template:
            templates.give(self.template)

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

    def refused(self, *args, text, input=None):
        """A verb that must fail and say TEXT; all that it says."""
        code, out, err = self.cli_code(*args, input=input)
        expect(code != 0 and text in err, f"{' '.join(args)}: exit {code}, wanted {text!r}\n{out}{err}")
        return err

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


class Node(Server):
    """Another `pomona serve` over the store of FIRST, with the same encryption key; what differs from the first one's settings is given as for a Server."""

    def __init__(self, first, *args, env=None, start=True):
        expect(store.ENGINE == "postgres", "SQLite has one node: declare the case in tests/scenarios/engines.tsv")
        self.first = first
        self.root = tempfile.mkdtemp(prefix="pomona-node-")
        self.data = os.path.join(self.root, "data")
        self.port = free_port()
        self.url = first.url
        self.args = [*first.args, *args]
        self.env = {**os.environ, **(env or {})}
        self.process = self.template = None
        self.nodes = []
        os.mkdir(self.data, 0o700)
        for name in ("seal.key", "pomona.conf", "admin.token", "root-ca.pem"):
            shutil.copy(os.path.join(first.data, name), self.data)
        if start:
            self.start()

    def remove(self):
        shutil.rmtree(self.root, ignore_errors=True)


def init_data(data, *args, **options):
    """`pomona init` with the store of the engine that is tested."""
    words = ["init", "--data", data, *args]
    if store.ENGINE == "postgres" and not os.path.exists(data):
        words += ["--store", store.new_database()]
    return run(*words, **options)


templates = store.Templates(lambda data, *args: init_data(data, "--url", "https://127.0.0.1:1", *args))


def run(*args, input=None, code=0):
    p = subprocess.run([POMONA, *args], capture_output=True, text=True, input=input, timeout=120)
    expect(p.returncode == code, f"pomona {' '.join(args)}: exit {p.returncode}, wanted {code}\n{p.stdout}{p.stderr}")
    return p.stdout


# ---------------------------------------------------------------- certificates

KEYS = 32
_keys = []
_keys_lock = threading.Lock()
_next_key = 0


def rsa_key():
    """A key from a pool that the scenarios of one run share: making one takes Python longer than enrolling with it. Keys come round again after all the others."""
    global _next_key
    with _keys_lock:
        if len(_keys) < KEYS:
            _keys.append(shared_key(len(_keys)))
            return _keys[-1]
        _next_key = (_next_key + 1) % KEYS
        return _keys[_next_key - 1]


def shared_key(i):
    path = os.path.join(store.shared_folder(), f"key-{i}.pem")
    with open(path + ".lock", "w") as lock:
        # One process makes it, the others wait for that.
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            return load_own_key(pathlib.Path(path).read_bytes())
        key = rsa.generate_private_key(65537, 2048)
        new = f"{path}.{os.getpid()}"
        pathlib.Path(new).write_bytes(pem_key(key))
        os.rename(new, path)
        return key


def load_own_key(pem):
    """One that we made ourselves. To prove again that its primes are primes takes Python a hundred times as long as to sign with it; how it is left out depends on the version."""
    try:
        return serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        from cryptography.hazmat.backends.openssl.backend import backend
        backend._rsa_skip_check_key = True
        try:
            return serialization.load_pem_private_key(pem, None)
        finally:
            backend._rsa_skip_check_key = False


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


def load_pem(text):
    return x509.load_pem_x509_certificate(text.encode() if isinstance(text, str) else text)


def issued_by(cert, ca):
    """Whether CA's name stands in CERT and its key signed it."""
    if cert.issuer != ca.subject:
        return False
    key = ca.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(cert.signature, cert.tbs_certificate_bytes, padding.PKCS1v15(), cert.signature_hash_algorithm)
        else:
            key.verify(cert.signature, cert.tbs_certificate_bytes, ec_keys.ECDSA(cert.signature_hash_algorithm))
        return True
    except InvalidSignature:
        return False


def openssl(*args, input=None, ok=True, env=None):
    """What openssl writes; OK: whether it must succeed."""
    p = subprocess.run(["openssl", *args], input=input, capture_output=True, timeout=60, env=env)
    expect((p.returncode == 0) == ok, f"openssl {' '.join(args)}: {p.returncode}\n{p.stdout.decode(errors='replace')}{p.stderr.decode()}")
    return p.stdout


# ---------------------------------------------------------------- CMS

def tlv(tag, *parts):
    """DER with its shortest length; PARTS are joined."""
    content = b"".join(parts)
    size = len(content)
    length = bytes([size]) if size < 128 else (lambda n: bytes([0x80 | len(n)]) + n)(size.to_bytes((size.bit_length() + 7) // 8, "big"))
    return bytes([tag]) + length + content


def oid(dotted):
    return core.ObjectIdentifier(dotted).dump()


ID_DATA, ID_SIGNED, ID_ENVELOPED, ID_AUTH_ENVELOPED = "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.2", "1.2.840.113549.1.7.3", "1.2.840.113549.1.9.16.1.23"
HASHES = {"md5": hashes.MD5, "sha1": hashes.SHA1, "sha224": hashes.SHA224, "sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}
# name: OID, bytes of key, bytes of block, algorithm. Single DES is 3DES with one key three times; RC2 and Blowfish must be refused unread, so that anything may stand in for them.
CIPHERS = {
    "tripledes_3key": ("1.2.840.113549.3.7", 24, 8, algorithms.TripleDES), "aes128_cbc": ("2.16.840.1.101.3.4.1.2", 16, 16, algorithms.AES),
    "aes192_cbc": ("2.16.840.1.101.3.4.1.22", 24, 16, algorithms.AES), "aes256_cbc": ("2.16.840.1.101.3.4.1.42", 32, 16, algorithms.AES),
    "des": ("1.3.14.3.2.7", 8, 8, lambda key: algorithms.TripleDES(key * 3)), "rc2": ("1.2.840.113549.3.2", 16, 8, lambda key: algorithms.TripleDES(key)),
    "blowfish": ("1.3.6.1.4.1.3029.1.2", 16, 8, lambda key: algorithms.TripleDES(key)),
}


def detached_signature(key, cert, content, digest="sha1", attributes=False):
    """What an Apple device puts into Mdm-Signature."""
    return signed_data(key, cert, content, digest, HASHES[digest], attributes and [], detached=True)


def signed_data(key, cert, content, digest, hash_class, attributes, detached=False, certificates=None):
    """SignedData with one signer; CERTIFICATES are carried instead of CERT."""
    parsed = asn1_x509.Certificate.load(der(cert))
    ec = isinstance(key, ec_keys.EllipticCurvePrivateKey)
    info = {
        "version": "v1",
        "sid": cms.SignerIdentifier({"issuer_and_serial_number": {"issuer": parsed.issuer, "serial_number": parsed.serial_number}}),
        "digest_algorithm": {"algorithm": digest},
        "signature_algorithm": {"algorithm": f"{digest}_ecdsa" if ec else "rsassa_pkcs1v15"},
    }
    to_sign = content
    if attributes is not None and attributes is not False:
        attrs = cms.CMSAttributes([
            cms.CMSAttribute({"type": "content_type", "values": ["data"]}),
            cms.CMSAttribute({"type": "message_digest", "values": [hashlib.new(digest, content).digest()]}),
            *attributes])
        info["signed_attrs"] = attrs
        to_sign = attrs.untag().dump(force=True) if hasattr(attrs, "untag") else attrs.dump()
    info["signature"] = key.sign(to_sign, ec_keys.ECDSA(hash_class())) if ec else key.sign(to_sign, padding.PKCS1v15(), hash_class())
    body = cms.SignedData({
        "version": "v1",
        "digest_algorithms": [{"algorithm": digest}],
        "encap_content_info": {"content_type": "data"} if detached else {"content_type": "data", "content": content},
        "certificates": [asn1_x509.Certificate.load(der(c)) for c in certificates] if certificates else [parsed],
        "signer_infos": [info],
    })
    return cms.ContentInfo({"content_type": "signed_data", "content": body}).dump()


def wrap_key(key, recipient, transport="v1.5"):
    """KEY (bytes) for the certificate RECIPIENT (DER): one KeyTransRecipientInfo. TRANSPORT: v1.5, oaep, oaep-sha256."""
    public = x509.load_der_x509_certificate(recipient).public_key()
    if transport == "v1.5":
        return key_trans(recipient, public.encrypt(key, padding.PKCS1v15()))
    hash_class = hashes.SHA256 if transport == "oaep-sha256" else hashes.SHA1
    oaep = padding.OAEP(padding.MGF1(hash_class()), hash_class(), None)
    hash_id = tlv(0x30, oid("2.16.840.1.101.3.4.2.1"), b"\x05\x00") if transport == "oaep-sha256" else None
    parameters = tlv(0x30, *([tlv(0xa0, hash_id), tlv(0xa1, tlv(0x30, oid("1.2.840.113549.1.1.8"), hash_id))] if hash_id else []))
    return key_trans(recipient, public.encrypt(key, oaep), tlv(0x30, oid("1.2.840.113549.1.1.7"), parameters))


def key_trans(recipient, encrypted, algorithm=None):
    """KeyTransRecipientInfo with any bytes as the encrypted key."""
    parsed = asn1_x509.Certificate.load(recipient)
    return tlv(0x30, b"\x02\x01\x00", tlv(0x30, parsed.issuer.dump(), parsed["tbs_certificate"]["serial_number"].dump()),
               algorithm or tlv(0x30, oid("1.2.840.113549.1.1.1"), b"\x05\x00"), tlv(0x04, encrypted))


def encrypt(content, cipher, key, iv, pad=True):
    _, _, block, make = CIPHERS[cipher]
    if pad:
        padder = sym_padding.PKCS7(block * 8).padder()
        content = padder.update(content) + padder.finalize()
    encryptor = Cipher(make(key), modes.CBC(iv)).encryptor()
    return encryptor.update(content) + encryptor.finalize()


def enveloped_data(content, recipient, cipher="tripledes_3key", transport="v1.5", recipients=None, encrypted=None, key=None, content_type=ID_ENVELOPED):
    """EnvelopedData for the certificate RECIPIENT (DER). RECIPIENTS: RecipientInfos instead of the right one; ENCRYPTED: the content instead of CONTENT encrypted with KEY."""
    cipher_oid, size, block, _ = CIPHERS[cipher]
    key, iv = key or secrets.token_bytes(size), secrets.token_bytes(block)
    if encrypted is None:
        encrypted = encrypt(content, cipher, key, iv)
    elif callable(encrypted):
        encrypted = encrypted(key, iv)
    infos = [wrap_key(key, recipient, transport)] if recipients is None else recipients
    return tlv(0x30, oid(content_type), tlv(0xa0, tlv(0x30, b"\x02\x01\x00", tlv(0x31, *sorted(infos)), tlv(
        0x30, oid(ID_DATA), tlv(0x30, oid(cipher_oid), tlv(0x04, iv)), tlv(0x80, encrypted)))))


def open_enveloped(data, key):
    content = cms.ContentInfo.load(data)["content"]
    recipient = content["recipient_infos"][0].chosen
    wrapped = recipient["encrypted_key"].native
    info = content["encrypted_content_info"]
    algorithm = info["content_encryption_algorithm"]
    name = algorithm["algorithm"].native
    if recipient["key_encryption_algorithm"]["algorithm"].native == "rsaes_oaep":
        hash_class = hashes.SHA256 if b"\x60\x86\x48\x01\x65\x03\x04\x02\x01" in recipient["key_encryption_algorithm"].dump() else hashes.SHA1
        cek = key.decrypt(wrapped, padding.OAEP(padding.MGF1(hash_class()), hash_class(), None))
    else:
        cek = key.decrypt(wrapped, padding.PKCS1v15())
    make = CIPHERS[name][3] if name in CIPHERS else algorithms.TripleDES if "tripledes" in name else algorithms.AES
    decryptor = Cipher(make(cek), modes.CBC(algorithm["parameters"].native)).decryptor()
    plain = decryptor.update(info["encrypted_content"].native) + decryptor.finalize()
    return plain[:-plain[-1]]


# ---------------------------------------------------------------- SCEP

class ScepAttribute(core.Sequence):
    _fields = [("type", core.ObjectIdentifier), ("values", core.Any)]


SCEP = "2.16.840.1.113733.1.9."
FAIL_INFO_TEXT = "1.3.6.1.5.5.7.24.1"
PKCS_REQ, RENEWAL_REQ, CERT_POLL, GET_CERT, GET_CRL = 19, 17, 20, 21, 22


def scep_attribute(oid, *values):
    der_set = core.SetOf(spec=type(values[0]))
    for value in values:
        der_set.append(value)
    encoded = ScepAttribute({"type": oid, "values": core.Any(der_set)}).dump()
    return cms.CMSAttribute.load(encoded)


STRING_TAGS = {"printable": (0x13, "ascii"), "utf8": (0x0c, "utf-8"), "bmp": (0x1e, "utf-16-be"), "teletex": (0x14, "latin-1"), "ia5": (0x16, "ascii"), "octet": (0x04, "utf-8")}
SUBJECT_ALT_NAME, BASIC_CONSTRAINTS, EXT_KEY_USAGE, KEY_USAGE = "2.5.29.17", "2.5.29.19", "2.5.29.37", "2.5.29.15"


def asn1_string(kind, text):
    tag, encoding = STRING_TAGS[kind]
    return tlv(tag, text.encode(encoding))


def make_csr(key, subject="com.apple.security.scep.test", challenge=None, version=None, extensions=(), attributes=(), sign_with=None, digest="sha1", public=None):
    """PKCS #10. SUBJECT: a common name, a list of (OID, text), or None for no name. CHALLENGE: a text, or a list of DER strings that become its values. EXTENSIONS: (OID, critical, DER).
    ATTRIBUTES: DER of more. SIGN_WITH: signs instead of KEY."""
    pairs = [] if subject is None else [("2.5.4.3", subject)] if isinstance(subject, str) else subject
    name = tlv(0x30, *[tlv(0x31, tlv(0x30, oid(kind), asn1_string("utf8", text))) for kind, text in pairs])
    spki = (public or key.public_key()).public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    found = list(attributes)
    if challenge is not None:
        values = challenge if isinstance(challenge, list) else [asn1_string("printable" if challenge.isascii() else "utf8", challenge)]
        found.append(tlv(0x30, oid("1.2.840.113549.1.9.7"), tlv(0x31, *sorted(values))))
    if extensions:
        listed = [tlv(0x30, oid(kind), b"\x01\x01\xff" if critical else b"", tlv(0x04, value)) for kind, critical, value in extensions]
        found.append(tlv(0x30, oid("1.2.840.113549.1.9.14"), tlv(0x31, tlv(0x30, *listed))))
    number = {None: 0, "v1": 0, "v2": 1, "v3": 2}.get(version, version)
    info = tlv(0x30, tlv(0x02, bytes([number])), name, spki, tlv(0xa0, *sorted(found)))
    signer = sign_with or key
    if isinstance(signer, ec_keys.EllipticCurvePrivateKey):
        return tlv(0x30, info, tlv(0x30, oid("1.2.840.10045.4.3.2")), tlv(0x03, b"\x00", signer.sign(info, ec_keys.ECDSA(hashes.SHA256()))))
    if not isinstance(signer, rsa.RSAPrivateKey):
        return tlv(0x30, info, tlv(0x30, oid("1.3.101.112")), tlv(0x03, b"\x00", signer.sign(info)))
    algorithm = {"md5": "4", "sha1": "5", "sha256": "11", "sha512": "13"}[digest]
    return tlv(0x30, info, tlv(0x30, oid("1.2.840.113549.1.1." + algorithm), b"\x05\x00"), tlv(0x03, b"\x00", signer.sign(info, padding.PKCS1v15(), HASHES[digest]())))


def scep_message(content, ca_der, signer_key, signer_cert, message_type=19, digest="sha1", cipher="tripledes_3key", nonce=None, transaction=None, transport="v1.5", enveloped=None,
                 certificates=None, attributes=(), type_value=None, transaction_value=None):
    """A pkiMessage. ENVELOPED replaces the envelope of CONTENT; NONCE b"" leaves the nonce out; TYPE_VALUE and TRANSACTION_VALUE replace those attributes' values (False: none)."""
    if enveloped is None:
        enveloped = enveloped_data(content, ca_der, cipher, transport)
    if type_value is None:
        type_value = core.PrintableString(str(message_type))
    if transaction_value is None:
        transaction_value = core.PrintableString(transaction or secrets.token_hex(20).upper())
    found = [*attributes]
    found += [scep_attribute(SCEP + "2", type_value)] if type_value is not False else []
    found += [scep_attribute(SCEP + "7", transaction_value)] if transaction_value is not False else []
    found += [scep_attribute(SCEP + "5", core.OctetString(nonce or secrets.token_bytes(8)))] if nonce != b"" else []
    return signed_data(signer_key, signer_cert, enveloped, digest, HASHES[digest], found, certificates=certificates)


def scep_reply(data):
    """(pkiStatus, failInfo or None, enveloped content or None, all attributes by OID)"""
    signed = cms.ContentInfo.load(data)["content"]
    values = {}
    for attribute in signed["signer_infos"][0]["signed_attrs"]:
        values[attribute["type"].dotted if hasattr(attribute["type"], "dotted") else attribute["type"].native] = attribute["values"][0].native
    content = signed["encap_content_info"]["content"]
    return values.get(SCEP + "3"), values.get(SCEP + "4"), content.native if content else None, values


def issuer_and_serial(cert, serial=None):
    """The content of GetCert and GetCRL."""
    parsed = asn1_x509.Certificate.load(der(cert))
    return tlv(0x30, parsed.issuer.dump(), core.Integer(cert.serial_number if serial is None else serial).dump())


def issuer_and_subject(ca_der, subject="com.apple.security.scep.test"):
    """The content of CertPoll."""
    return tlv(0x30, asn1_x509.Certificate.load(ca_der).subject.dump(), asn1_x509.Name.build({"common_name": subject}).dump())


def ca_certificates(body, content_type):
    """The certificates (DER) of an answer to GetCACert."""
    if content_type == "application/x-x509-ca-cert":
        return [body]
    equal(content_type, "application/x-x509-ca-ra-cert", "GetCACert")
    return [choice.chosen.dump() for choice in cms.ContentInfo.load(body)["content"]["certificates"]]


def scep_recipient(certificates):
    """Of GetCACert's: the one that requests are enveloped to."""
    if len(certificates) == 1:
        return certificates[0]
    for certificate in certificates:
        cert = x509.load_der_x509_certificate(certificate)
        if cert.subject != cert.issuer and cert.extensions.get_extension_for_class(x509.KeyUsage).value.key_encipherment:
            return certificate
    raise AssertionError("no certificate of GetCACert may encipher keys")


class ScepRefused(AssertionError):
    pass


def throw_away(key=None, common_name="MDM SCEP SIGNER"):
    """A signer as macOS makes it: (key, self-signed certificate)."""
    key = key or rsa_key()
    names = [x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)]
    return key, self_signed(key, x509.Name([*names, x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "US")]))


def scep_enroll(post, ca_der, challenge, key=None, **options):
    """Enrolls through POST(bytes) → bytes; the certificate. Raises ScepRefused with the failInfo."""
    key = key or rsa_key()
    signer_key, signer = throw_away(options.pop("signer_key", None))
    message = scep_message(make_csr(key, challenge=challenge), ca_der, signer_key, signer, **options)
    status, fail_info, content, _ = scep_reply(post(message))
    if status != "0":
        raise ScepRefused(f"failInfo {fail_info}")
    certs = cms.ContentInfo.load(open_enveloped(content, signer_key))["content"]["certificates"]
    equal(len(certs), 1, "certificates in CertRep")
    return key, x509.load_der_x509_certificate(certs[0].chosen.dump())


class ScepAnswer:
    """What came to a PKIOperation. status, fail_info, fail_text and content are None when it was no CertRep."""

    def __init__(self, http_status, headers, body):
        self.http_status, self.headers, self.body = http_status, headers, body
        self.status = self.fail_info = self.content = self.fail_text = None
        self.values = {}
        if headers.get("content-type") == "application/x-pki-message":
            self.status, self.fail_info, self.content, self.values = scep_reply(body)
            self.fail_text = self.values.get(FAIL_INFO_TEXT)

    @property
    def incident(self):
        return self.fail_text.split("incident ")[1].rstrip(")")

    def inner(self, key):
        return cms.ContentInfo.load(open_enveloped(self.content, key))["content"]

    def certificate(self, key):
        equal(self.status, "0", f"pkiStatus ({self.fail_text})")
        certs = self.inner(key)["certificates"]
        equal(len(certs), 1, "certificates in CertRep")
        return x509.load_der_x509_certificate(certs[0].chosen.dump())


class Scep:
    """A SCEP client of one profile, by plain HTTP, that comes from an address of 127.0.0.0/8 which nobody else has: what one test does wrong is not counted against another."""

    _addresses = iter(range(2, 1 << 24))
    _lock = threading.Lock()

    def __init__(self, server, profile=None, address=None):
        self.server = server
        self.path = "/scep" + (f"/{profile}" if profile else "")
        with Scep._lock:
            number = next(Scep._addresses)
        self.address = address or f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
        self.ca = self.recipient()

    def recipient(self):
        """Of GetCACert: the certificate that requests are enveloped to."""
        answer = self.get("GetCACert")
        return scep_recipient(ca_certificates(answer.body, answer.headers["content-type"]))

    def get(self, operation, message=None, headers=None):
        return self.send("GET", f"{self.path}?operation={operation}" + (f"&message={message}" if message is not None else ""), None, headers)

    def send(self, method, path, body, headers=None):
        c = http.client.HTTPConnection("127.0.0.1", self.server.http_port, timeout=60, source_address=(self.address, 0))
        try:
            c.request(method, path, body, headers or {})
            r = c.getresponse()
            return ScepAnswer(r.status, {k.lower(): v for k, v in r.getheaders()}, r.read())
        finally:
            c.close()

    def post(self, message, headers=None):
        return self.send("POST", self.path + "?operation=PKIOperation", message, headers)

    @staticmethod
    def post_together(clients, messages):
        """The answers to MESSAGES, each by one of CLIENTS: all of them are there but for their last byte before the first is whole, so that the server has them at the same moment."""
        connections = []
        for client, message in zip(clients, messages):
            c = socket.create_connection(("127.0.0.1", client.server.http_port), 30, source_address=(client.address, 0))
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            c.sendall(f"POST {client.path}?operation=PKIOperation HTTP/1.1\r\nHost: a\r\nContent-Length: {len(message)}\r\n\r\n".encode() + message[:-1])
            connections.append(c)
        time.sleep(0.1)
        for c, message in zip(connections, messages):
            c.sendall(message[-1:])
        answers = []
        for c in connections:
            r = http.client.HTTPResponse(c)
            r.begin()
            answers.append(ScepAnswer(r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()))
            c.close()
        return answers

    def ask(self, content, signer=None, headers=None, **options):
        """Sends CONTENT in a pkiMessage of SIGNER (key, certificate), or of a throw-away; options as of scep_message."""
        key, cert = signer or throw_away()
        return self.post(scep_message(content, options.pop("ca", self.ca), key, cert, **options), headers)

    def enroll(self, challenge, key=None, signer=None, **options):
        """(key, certificate)"""
        key, signer = key or rsa_key(), signer or throw_away()
        return key, self.ask(make_csr(key, challenge=challenge), signer, **options).certificate(signer[0])

    def renew(self, identity, key=None, message_type=RENEWAL_REQ, subject="com.apple.security.scep.test", **options):
        """The answer to a renewal of IDENTITY (key, certificate) for KEY."""
        return self.ask(make_csr(key or rsa_key(), subject=subject), identity, message_type=message_type, **options)


# ---------------------------------------------------------------- the factory

PROFILE = "application/x-apple-aspen-config"


class Factory:
    """A CA that gives devices the identity that they leave the factory with: like Apple's small, signing with SHA-1, and over. ISSUER: the factory above it."""

    def __init__(self, name="Test Device CA", issuer=None, bits=1024, digest=hashes.SHA1, ca=True, ended=True):
        self.key = rsa.generate_private_key(65537, bits)
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Test Factory"), x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.digest, self.issuer, self.ended = digest, issuer, ended
        self.cert = (issuer or self).certify(self.name, self.key, ca)

    def certify(self, name, key, ca=False, days=(-4000, -400)):
        """A certificate of this CA; DAYS: from now, when it begins and ends."""
        now = datetime.datetime.utcnow()
        start, end = days if self.ended else (-10, 1000)
        return (x509.CertificateBuilder().subject_name(name).issuer_name(self.name).public_key(key.public_key()).serial_number(x509.random_serial_number())
                .not_valid_before(now + datetime.timedelta(days=start)).not_valid_after(now + datetime.timedelta(days=end))
                .add_extension(x509.BasicConstraints(ca, None), True).sign(self.key, self.digest()))

    @property
    def pem(self):
        return self.cert.public_bytes(serialization.Encoding.PEM)

    def identity(self, name="device", **options):
        """(key, certificate, what is sent with it)"""
        key = rsa.generate_private_key(65537, 1024)
        above, ca = [], self
        while ca:
            above.append(ca.cert)
            ca = ca.issuer
        return key, self.certify(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]), key, **options), above

    def add_to(self, server, *args):
        path = os.path.join(server.root, f"ca-{secrets.token_hex(4)}.pem")
        pathlib.Path(path).write_bytes(self.pem)
        return server.cli("device-ca", "add", path, *args)


def attached_signature(identity, content, digest="sha1", attributes=None, detached=False):
    """What a device POSTs: CONTENT signed with IDENTITY (key, certificate, certificates above)."""
    key, cert, above = identity
    return signed_data(key, cert, content, digest, HASHES[digest], attributes, detached, certificates=[cert, *above])


def indefinite(message):
    """SignedData as Apple devices write it: BER with indefinite lengths, the content in pieces."""
    def part(tag, *parts):
        return bytes([tag, 0x80]) + b"".join(parts) + b"\0\0"
    body = cms.ContentInfo.load(message)["content"]
    content = body["encap_content_info"]["content"].native
    pieces = [tlv(0x04, content[i:i + 100]) for i in range(0, len(content), 100)]
    return part(0x30, oid(ID_SIGNED), part(0xa0, part(0x30, body["version"].dump(), body["digest_algorithms"].dump(), part(
        0x30, oid(ID_DATA), part(0xa0, part(0x24, *pieces))), body["certificates"].dump(), body["signer_infos"].dump())))


def without_certificates(message):
    info = cms.ContentInfo.load(message)
    body = info["content"]
    return cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData({
        "version": "v1", "digest_algorithms": body["digest_algorithms"], "encap_content_info": body["encap_content_info"], "signer_infos": body["signer_infos"]})}).dump()


# ---------------------------------------------------------------- the device

def payloads_of(profile):
    """{PayloadType: [payload]}"""
    found = {}
    for payload in profile["PayloadContent"]:
        found.setdefault(payload["PayloadType"], []).append(payload)
    return found


def roots_of(profile):
    return [p["PayloadContent"] for p in payloads_of(profile).get("com.apple.security.root", [])]


def open_pkcs12(payload):
    """(key, certificate) of a com.apple.security.pkcs12 payload."""
    key, cert, _ = pkcs12.load_key_and_certificates(payload["PayloadContent"], payload["Password"].encode())
    return key, cert


class Device:
    """An Apple device. From its enrollment profile on it trusts, for TLS and for profiles, exactly the roots that it was given."""

    def __init__(self, server, udid=None, minimal=False, digest="sha1", attributes=False, product="iPhone15,2"):
        self.server = server
        self.udid = udid or secrets.token_hex(20)
        self.serial = "S" + secrets.token_hex(5).upper()
        self.minimal = minimal
        self.product = product
        self.digest, self.attributes = digest, attributes
        self.token, self.magic = secrets.token_bytes(32), secrets.token_hex(16).upper()
        self.connection = None
        self.installed = {}  # PayloadIdentifier of each profile: the roots in it
        self.why = None      # it answered Error to InstallProfile

    # ---- what it trusts

    def roots(self):
        """The roots that it trusts (DER): those of its profiles, and no others."""
        return [root for roots in self.installed.values() for root in roots]

    def tls(self):
        roots = self.roots()
        if not roots:
            return self.server.tls()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata="".join(ssl.DER_cert_to_PEM_cert(r) for r in roots))
        return context

    def connect(self):
        return http.client.HTTPSConnection("127.0.0.1", self.server.port, timeout=60, context=self.tls())

    def request(self, method, path, body=None, headers=None):
        """A request of its own: (status, bytes, headers)."""
        c = self.connect()
        try:
            c.request(method, path, body, headers or {})
            r = c.getresponse()
            return r.status, r.read(), {k.lower(): v for k, v in r.getheaders()}
        finally:
            c.close()

    def hang_up(self):
        """What it sends next goes over a new connection, whose certificate is looked at again."""
        if self.connection:
            self.connection.close()
        self.connection = None
        return self

    # ---- profiles

    def open_profile(self, data, roots=None):
        """What a profile says, after its signature was verified against ROOTS (DER), or against what the server gives people."""
        if data[:1] == b"<":
            return plistlib.loads(data)
        with tempfile.NamedTemporaryFile(suffix=".pem") as trusted:
            trusted.write("".join(ssl.DER_cert_to_PEM_cert(r) for r in roots).encode() if roots else pathlib.Path(self.server.root_ca).read_bytes())
            trusted.flush()
            p = subprocess.run(["openssl", "cms", "-verify", "-inform", "DER", "-CAfile", trusted.name], input=data, capture_output=True)
        expect(p.returncode == 0, p.stderr.decode())
        return plistlib.loads(p.stdout)

    def read_profile(self, data):
        self.payload = self.open_profile(data)
        payloads = payloads_of(self.payload)
        self.mdm = payloads["com.apple.mdm"][0]
        self.scep = payloads["com.apple.security.scep"][0]["PayloadContent"] if "com.apple.security.scep" in payloads else None
        self.topic = self.mdm["Topic"]
        self.installed = {self.payload["PayloadIdentifier"]: roots_of(self.payload)}
        return self

    def get_identity(self, scep=None, **options):
        """By the SCEP payload SCEP, or that of the enrollment profile; or the one that lies ready in the enrollment profile."""
        scep = scep or self.scep
        if scep is None:
            self.key, self.cert = open_pkcs12(payloads_of(self.payload)["com.apple.security.pkcs12"][0])
            return self
        path = urllib.parse.urlsplit(scep["URL"]).path
        status, body, headers = self.request("GET", path + "?operation=GetCACert&message=x")
        equal(status, 200, "GetCACert")
        certificates = ca_certificates(body, headers["content-type"])
        if "CAFingerprint" in scep:
            expect(scep["CAFingerprint"] in [hashlib.sha1(c).digest() for c in certificates], "no certificate of GetCACert has the CAFingerprint")

        def post(message):
            status, body, headers = self.request("POST", path + "?operation=PKIOperation", message, {"Content-Type": "application/x-pki-message"})
            equal((status, headers.get("content-type")), (200, "application/x-pki-message"), f"PKIOperation {body[:200]!r}")
            return body
        self.key, self.cert = scep_enroll(post, scep_recipient(certificates), options.pop("challenge", scep["Challenge"]), **options)
        return self

    # What Apple devices compare when a profile with an MDM payload replaces the one that they enrolled with.
    UNCHANGEABLE = ("ServerURL", "CheckInURL", "Topic", "AccessRights", "ServerCapabilities", "SignMessage", "PayloadIdentifier", "IdentityCertificateUUID")

    def check_update(self, profile):
        mdm = payloads_of(profile)["com.apple.mdm"][0]
        equal(profile["PayloadIdentifier"], self.payload["PayloadIdentifier"], "PayloadIdentifier of the profile")
        for key in self.UNCHANGEABLE:
            equal(mdm.get(key), self.mdm.get(key), f"{key} of the MDM payload")
        identities = [p["PayloadUUID"] for kind in ("com.apple.security.scep", "com.apple.security.pkcs12") for p in payloads_of(profile).get(kind, [])]
        equal(identities, [mdm["IdentityCertificateUUID"]], "identity payloads")

    def install(self, data):
        """A profile that came with InstallProfile: one with the same identifier is replaced. Nothing changes when it raises."""
        profile = self.open_profile(data, self.roots())
        payloads = payloads_of(profile)
        before = dict(self.installed)
        self.installed[profile["PayloadIdentifier"]] = roots_of(profile)
        try:
            if "com.apple.mdm" in payloads:
                self.check_update(profile)
            if "com.apple.security.scep" in payloads:
                self.get_identity(payloads["com.apple.security.scep"][0]["PayloadContent"])
            elif "com.apple.security.pkcs12" in payloads:
                self.key, self.cert = open_pkcs12(payloads["com.apple.security.pkcs12"][0])
        except BaseException:
            self.installed = before
            raise

    def run_commands(self, refuse=None):
        """Asks for commands and obeys, until none waits. [(RequestType, Status)]. REFUSE(command): the Status that it answers instead, or None."""
        done = []
        status, reply = self.idle()
        while True:
            equal(status, 200, f"{reply!r}")
            if not reply:
                return done
            command, answer, more = reply["Command"], refuse(reply["Command"]) if refuse else None, {}
            if answer is None:
                answer, more = self.obey(command)
            done.append((command["RequestType"], answer))
            status, reply = self.report(reply["CommandUUID"], answer, **more)

    def obey(self, command):
        if command["RequestType"] != "InstallProfile":
            return "Acknowledged", {}
        try:
            self.install(command["Payload"])
            return "Acknowledged", {}
        except (AssertionError, ValueError, KeyError, OSError) as e:
            self.why = f"{type(e).__name__}: {e}"
            return "Error", {"ErrorChain": [{"ErrorCode": 4001, "ErrorDomain": "MCInstallationErrorDomain", "LocalizedDescription": self.why}]}

    # ---- messages

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
            self.connection = self.connect()
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
