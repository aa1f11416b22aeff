"""What the scenarios of the doctor share: certificates of every kind, servers that send what they are told, and the doctor's reports."""
import contextlib
import datetime
import ipaddress
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import warnings

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import AuthorityInformationAccessOID as AIA, ExtendedKeyUsageOID as EKU, NameOID

from harness import POMONA, equal, expect, main, pem_key

# Old digests and protocols are what the gallery is about.
warnings.simplefilter("ignore")
HOST = "mdm.example.org"
NOW = datetime.datetime.utcnow().replace(microsecond=0)
DAY = datetime.timedelta(days=1)
DIR = tempfile.mkdtemp(prefix="pomona-doctor-")


def run_cases():
    try:
        main()
    finally:
        shutil.rmtree(DIR, ignore_errors=True)


def ec_key(curve=ec.SECP256R1):
    return ec.generate_private_key(curve())


def name(cn, uid=None):
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, cn)] if cn else []
    return x509.Name(([x509.NameAttribute(NameOID.USER_ID, uid)] if uid else []) + parts)


class Cert:
    """A certificate with its key. ISSUER None: self-signed."""

    def __init__(self, cn, issuer=None, key=None, ca=False, san=None, eku=(EKU.SERVER_AUTH,), start=NOW - DAY, days=90, end=None, digest=hashes.SHA256, usage=True, path=None, aia=None, uid=None, serial=None,
                 signing_key=None, extra=(), ski=True, ocsp_url=None):
        self.key = key or ec_key()
        self.issuer = issuer
        signer = issuer.key if issuer else self.key
        b = (x509.CertificateBuilder().subject_name(name(cn, uid)).issuer_name(issuer.cert.subject if issuer else name(cn, uid)).public_key(self.key.public_key())
             .serial_number(serial or x509.random_serial_number()).not_valid_before(start).not_valid_after(end or start + days * DAY - datetime.timedelta(seconds=1)))
        if ca:
            b = b.add_extension(x509.BasicConstraints(True, path), True)
        if usage:
            b = b.add_extension(x509.KeyUsage(usage is True, False, not ca, False, False, ca, ca, False, False), True)
        if eku and not ca:
            b = b.add_extension(x509.ExtendedKeyUsage(list(eku)), False)
        if san:
            b = b.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(n[3:])) if n.startswith("ip:") else x509.DNSName(n) for n in san]), False)
        if ski:
            b = b.add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
            if issuer:
                b = b.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False)
        urls = ([x509.AccessDescription(AIA.CA_ISSUERS, x509.UniformResourceIdentifier(aia))] if aia else []) + ([x509.AccessDescription(AIA.OCSP, x509.UniformResourceIdentifier(ocsp_url))] if ocsp_url else [])
        if urls:
            b = b.add_extension(x509.AuthorityInformationAccess(urls), False)
        for extension in extra:
            b = b.add_extension(extension, False)
        sign_with = signing_key or signer
        self.cert = b.sign(sign_with, None if isinstance(sign_with, ed25519.Ed25519PrivateKey) else digest())

    @property
    def pem(self):
        return self.cert.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self):
        return self.cert.public_bytes(serialization.Encoding.DER)


def file_of(data, suffix=".pem"):
    handle, path = tempfile.mkstemp(suffix=suffix, dir=DIR)
    os.write(handle, data)
    os.close(handle)
    return path


def pems(chain):
    return b"".join(c.pem for c in chain)


NO_ROOTS = file_of(b"")


def doctor(*args, public=None, code=None, raw=False, input=None):
    """The report of a run. Steps may take long: a crowded machine is no finding."""
    env = {**os.environ, "SSL_CERT_FILE": public or NO_ROOTS}
    timeout = [] if "--timeout" in args or "--rules" in args else ["--timeout", "30"]
    p = subprocess.run([POMONA, "doctor", *args, *timeout, *([] if raw else ["--json"])], capture_output=True, timeout=300, env=env, input=input)
    if code is not None:
        equal(p.returncode, code, f"doctor {args}: {p.stdout.decode()}{p.stderr.decode()}")
    if raw:
        return p
    expect(p.returncode in (0, 1), f"doctor {args}: {p.returncode} {p.stderr.decode()}")
    report = json.loads(p.stdout)
    errors = sum(f["severity"] == "error" for f in report["findings"])
    equal(p.returncode, 1 if errors else 0, "exit status")
    equal(report["errors"], errors, "number of errors")
    return report


def rules(report):
    return sorted(f["rule"] for f in report["findings"])


def found(report, rule):
    return next(f for f in report["findings"] if f["rule"] == rule)


def yields(report, wanted, what):
    equal(rules(report), sorted(wanted), f"{what}: {json.dumps(report['findings'], indent=1)}")


class Web:
    """A TLS server on loopback. CHAIN: what it sends; NAMED: {SNI name: chain}. ANSWER: (status, headers, body) of a request's path."""

    def __init__(self, chain, key=None, answer=None, named=None, alpn=None, h2=False, setup=None):
        self.answer = answer or (lambda method, path, body: (200, {"Content-Type": "text/plain"}, b"ok\n"))
        self.h2 = h2
        self.context = self.make(chain, key or chain[0].key, alpn, setup)
        contexts = {n: self.make(c, c[0].key, alpn, setup) for n, c in (named or {}).items()}
        if named:
            def on_name(sock, server_name, context):
                sock.context = contexts.get(server_name, self.context)
            self.context.sni_callback = on_name
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.requests = []
        threading.Thread(target=self.run, daemon=True).start()

    def make(self, chain, key, alpn, setup):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:@SECLEVEL=0")
        if alpn:
            context.set_alpn_protocols(alpn)
        if setup:
            setup(context)
        context.load_cert_chain(file_of(pems(chain) + pem_key(key)))
        return context

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError, ValueError), connection:
            connection.settimeout(20)
            with self.context.wrap_socket(connection, server_side=True) as tls:
                if tls.selected_alpn_protocol() == "h2" and self.h2:
                    tls.recv(100)
                    tls.sendall(b"\0\0\0\4\0\0\0\0\0")
                    tls.recv(100)
                    return
                self.talk(tls)

    def talk(self, tls):
        data = b""
        while b"\r\n\r\n" not in data:
            more = tls.recv(65536)
            if not more:
                return
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n")[0].decode().split(" ", 2)
        length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
        while len(body) < length:
            body += tls.recv(65536)
        self.requests.append((method, path))
        status, headers, out = self.answer(method, path, body)
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(out)}", "Connection: close", *(f"{k}: {v}" for k, v in headers.items())]
        tls.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if method == "HEAD" else out))
        with contextlib.suppress(OSError):
            tls.unwrap()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


class Raw:
    """A TCP server that does what TALK says with each connection."""

    def __init__(self, talk):
        self.talk, self.socket = talk, socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                threading.Thread(target=self.one, args=(connection,), daemon=True).start()

    def one(self, connection):
        with contextlib.suppress(OSError), connection:
            connection.settimeout(30)
            self.talk(connection)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
