"""Identities that are not of our own SCEP: PKCS #12, and outside SCEP CAs (micromdm's server of package scep, and another Pomona) asked by our client, pointed at, or relayed to."""
import concurrent.futures
import glob

from cryptography.hazmat.primitives.serialization import pkcs12

from harness import *

TOOL = os.path.join(os.path.dirname(POMONA), "src", "server", "scep_client_tool")
# scepserver listens on all addresses; in a network namespace of its own there is only the loopback one, and any port is free.
LOOPBACK_UP = "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'lo', 0x49))"
SECRET = "0123456789ABCDEF"


# Passes connections on: DOOR FROM TO, each tcp:PORT of loopback or unix:PATH.
DOOR = """
import os, socket, sys, threading
def make(name):
    kind, at = name.split(":", 1)
    return (socket.socket(socket.AF_UNIX), at) if kind == "unix" else (socket.socket(), ("127.0.0.1", int(at)))
def copy(a, b):
    while data := a.recv(65536):
        b.sendall(data)
    b.shutdown(socket.SHUT_WR)
listener, at = make(sys.argv[1])
listener.bind(at)
listener.listen(64)
while True:
    here, _ = listener.accept()
    there, to = make(sys.argv[2])
    there.connect(to)
    for pair in ((here, there), (there, here)):
        threading.Thread(target=copy, args=pair, daemon=True).start()
"""


def b64(data):
    return base64.b64encode(data).decode()


def pkcs8(key):
    return key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def public(thing):
    return thing.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def request(settings, prefix=()):
    """One enrollment; what the client says."""
    p = subprocess.run([*prefix, TOOL], input=json.dumps(settings), capture_output=True, text=True, timeout=120)
    expect(p.returncode == 0 and not any(r in p.stderr for r in SANITIZER_REPORTS), p.stderr)
    return json.loads(p.stdout)


def issued(reply, key=None):
    """The certificate of a reply that must be a success."""
    expect("certificate" in reply, f"no certificate: {reply}")
    cert = x509.load_der_x509_certificate(base64.b64decode(reply["certificate"]))
    wanted = public(key) if key else public(serialization.load_der_private_key(base64.b64decode(reply["key"]), None))
    equal(public(cert), wanted, "the certificate's key")
    return cert


def refused(reply, code, text=""):
    equal(reply.get("code"), code, f"{reply}")
    expect(text in reply["error"] and SECRET not in reply["error"], f"{text}: {reply['error']}")


class MicroMdm:
    """Debian's scepserver with a challenge, in a network namespace."""

    def __init__(self):
        if not shutil.which("scepserver") or not shutil.which("unshare") or not shutil.which("nsenter"):
            raise Skip("scepserver, unshare or nsenter is not installed")
        if subprocess.run(["unshare", "-rn", "/usr/bin/python3", "-c", LOOPBACK_UP], capture_output=True).returncode != 0:
            raise Skip("no network namespace can be made here, and scepserver would listen on all addresses")
        self.root = tempfile.mkdtemp(prefix="pomona-scepserver-")
        subprocess.run(["scepserver", "ca", "-init", "-depot", "depot", "-keySize", "2048"], cwd=self.root, capture_output=True, check=True, timeout=60)
        self.url = "http://127.0.0.1:8080/scep"
        self.processes = []
        self.server = self.start("unshare", "-rn", "sh", "-c", f'/usr/bin/python3 -c "{LOOPBACK_UP}" && exec scepserver -depot depot -port 8080 -challenge={SECRET} -allowrenew 0')
        self.inside = ("nsenter", "-t", str(self.server.pid), "-U", "-n", "--preserve-credentials")
        self.wait_for(8080)
        text = pathlib.Path(self.root, "depot", "ca.pem").read_bytes()
        self.ca = x509.load_pem_x509_certificate(text)

    def start(self, *args):
        p = subprocess.Popen(args, cwd=self.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        self.processes.append(p)
        return p

    def wait_for(self, port):
        for _ in range(100):
            probe = subprocess.run([*self.inside, "/usr/bin/python3", "-c", f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)"], capture_output=True)
            if probe.returncode == 0:
                return
            time.sleep(0.1)
        raise AssertionError(f"nobody listens on port {port}")

    def open_door(self):
        """An address of this machine from which connections go into the namespace: through a unix socket, which knows no network."""
        path = os.path.join(self.root, "door")
        self.start(*self.inside, "/usr/bin/python3", "-c", DOOR, "unix:" + path, "tcp:8080")
        while not os.path.exists(path):
            time.sleep(0.01)
        port = free_port()
        self.start("/usr/bin/python3", "-c", DOOR, f"tcp:{port}", "unix:" + path)
        for _ in range(500):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return f"http://127.0.0.1:{port}/scep"
            time.sleep(0.01)
        raise AssertionError("the way into the namespace did not open")

    def request(self, **settings):
        return request({"url": self.url, "legacy_des": True, **settings}, self.inside)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        for p in self.processes:
            p.kill()
            p.wait()
        shutil.rmtree(self.root, ignore_errors=True)


@case
def micromdm_issues_and_renews():
    with MicroMdm() as s:
        reply = s.request(challenge=SECRET, subject="CN=first,O=Test")
        cert = issued(reply)
        equal(cert.subject.rfc4514_string(), "CN=first,O=Test", "subject")
        s.ca.public_key().verify(cert.signature, cert.tbs_certificate_bytes, padding.PKCS1v15(), cert.signature_hash_algorithm)
        equal([base64.b64decode(c) for c in reply["chain"]], [der(s.ca)], "chain")
        pin = hashlib.sha256(der(s.ca)).hexdigest()
        issued(s.request(challenge=SECRET, subject="CN=second", pin=pin))
        renewed = issued(s.request(subject="CN=first,O=Test", renewal=True, challenge=SECRET, signer_key=reply["key"], signer_cert=reply["certificate"]))
        expect(renewed.serial_number != cert.serial_number and public(renewed) != public(cert), "a new certificate for a new key")


@case
def micromdm_refuses_and_is_refused():
    with MicroMdm() as s:
        refused(s.request(challenge="wrong"), "POM-E3202", "badRequest")
        refused(s.request(), "POM-E3202", "badRequest")
        # It answers in single DES whatever is asked: only the setting for old CAs takes that.
        refused(s.request(challenge=SECRET, subject="CN=des", legacy_des=False), "POM-E3203", "single DES")
        refused(s.request(challenge=SECRET, pin="00" * 32), "POM-E3203", "SHA-256 that is set")
        refused(s.request(challenge=SECRET, url="http://127.0.0.1:8080/other"), "POM-E3201", "HTTP 404")
        refused(s.request(challenge=SECRET, url="http://127.0.0.1:1/scep"), "POM-E3201", "nobody answers")
        refused(s.request(challenge=SECRET, url="https://127.0.0.1:8080/scep"), "POM-E3201", "GetCACert")
        refused(s.request(challenge=SECRET, url="http://192.0.2.1/scep"), "POM-E0010", "plain http")


@case
def micromdm_gets_requests_of_others():
    """As RA: the request is somebody else's, the message ours."""
    with MicroMdm() as s:
        key = rsa_key()
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "com.apple.security.scep.foreign")])
        signed = (x509.CertificateSigningRequestBuilder().subject_name(name).add_attribute(x509.ObjectIdentifier("1.2.840.113549.1.9.7"), SECRET.encode())
                  .sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))
        cert = issued(s.request(csr=b64(signed)), key)
        equal(cert.subject.rfc4514_string(), "CN=com.apple.security.scep.foreign", "subject")
        # It signs with the digest of the request, and a certificate that is signed with SHA-1 is none.
        refused(s.request(csr=b64(make_csr(key, "com.apple.security.scep.old", challenge=SECRET))), "POM-E3203", "digest algorithm too weak")
        # It reads the challenge only in the request itself.
        refused(s.request(csr=b64(make_csr(key, "com.apple.security.scep.none")), challenge=SECRET), "POM-E3202")


PAGE = "<html><head><title>Enrollment</title></head><body><p>CA thumbprint: <b>0A1B2C3D 4E5F6071 8293A4B5 C6D7E8F9</b><p>Password: <b>%s</b></body></html>"


@case
def the_challenge_page_is_read():
    with MicroMdm() as s:
        pages = os.path.join(s.root, "pages")
        os.mkdir(pages)
        for name, text in (("good", PAGE % SECRET), ("other", PAGE % "FEDCBA9876543210"), ("full", PAGE % "none left")):
            pathlib.Path(pages, name + ".html").write_bytes(b"\xff\xfe" + text.encode("utf-16-le"))
        s.start(*s.inside, "/usr/bin/python3", "-m", "http.server", "-d", pages, "--bind", "127.0.0.1", "8081")
        s.wait_for(8081)
        issued(s.request(challenge_url="http://127.0.0.1:8081/good.html", subject="CN=page"))
        refused(s.request(challenge_url="http://127.0.0.1:8081/other.html", subject="CN=page2"), "POM-E3202")
        refused(s.request(challenge_url="http://127.0.0.1:8081/full.html"), "POM-E3203", "password cache")
        refused(s.request(challenge_url="http://127.0.0.1:8081/none.html"), "POM-E3201", "HTTP 404")


def challenge_of(server):
    return Device(server).read_profile(server.profile(server.link())).scep["Challenge"]


@case
def another_pomona_issues():
    """Over http and https, with and without a pinned CA, for keys of ours and of others."""
    with Server() as s:
        plain, tls = f"http://127.0.0.1:{s.http_port}/scep", f"{s.url}/scep"
        ca = s.request("GET", "/scep?operation=GetCACert")[1]
        pin = hashlib.sha256(ca).hexdigest()
        for settings in ({"url": plain}, {"url": plain, "pin": pin}, {"url": tls, "ca_file": s.root_ca}, {"url": tls, "ca_file": s.root_ca, "pin": pin, "identifier": "any"}):
            reply = request({**settings, "challenge": challenge_of(s)})
            cert = issued(reply)
            equal([base64.b64decode(c) for c in reply["chain"]], [ca], "chain")
            expect(cert.issuer == x509.load_der_x509_certificate(ca).subject, "issuer")
        challenge = challenge_of(s)
        first = request({"url": plain, "challenge": challenge})
        again = request({"url": plain, "challenge": challenge, "key": first["key"]})
        equal(again["certificate"], first["certificate"], "a lost answer is fetched again")
        refused(request({"url": plain, "challenge": SECRET}), "POM-E3202", "badRequest")
        refused(request({"url": plain, "challenge": challenge_of(s), "pin": "11" * 32}), "POM-E3203")
        refused(request({"url": tls, "challenge": challenge_of(s)}), "POM-E3201", "not trusted")
        key = rsa_key()
        issued(request({"url": plain, "csr": b64(make_csr(key, challenge=challenge_of(s)))}), key)
        # A request without a challenge: ours goes beside it.
        issued(request({"url": tls, "ca_file": s.root_ca, "csr": b64(make_csr(key)), "challenge": challenge_of(s)}), key)
        refused(request({"url": plain, "csr": b64(make_csr(key))}), "POM-E3202", "badRequest")


# ---------------------------------------------------------------- the server


class OtherDevice(Device):
    """A device whose identity may come as PKCS #12, or by SCEP from where its profile says, with the names that it says."""

    def read_profile(self, data):
        if data[:1] != b"<":
            p = subprocess.run(["openssl", "cms", "-verify", "-inform", "DER", "-CAfile", self.server.root_ca], input=data, capture_output=True)
            expect(p.returncode == 0, p.stderr.decode())
            data = p.stdout
        self.payload = plistlib.loads(data)
        payloads = {p["PayloadType"]: p for p in self.payload["PayloadContent"]}
        self.mdm = payloads["com.apple.mdm"]
        self.topic = self.mdm["Topic"]
        self.container = payloads.get("com.apple.security.pkcs12")
        self.identity = self.container or payloads["com.apple.security.scep"]
        self.scep = None if self.container else self.identity["PayloadContent"]
        equal(self.mdm["IdentityCertificateUUID"], self.identity["PayloadUUID"], "IdentityCertificateUUID")
        return self

    def csr(self, key=None, **options):
        names = [({"O": "2.5.4.10", "CN": "2.5.4.3"}[kind], text) for ((kind, text),) in self.scep["Subject"]]
        return make_csr(key or rsa_key(), subject=names, challenge=self.scep["Challenge"], **{"digest": "sha256", **options})

    def take_identity(self, of=None):
        """From the container, or by SCEP from OF (a Scep); what was before is given back."""
        before = (getattr(self, "key", None), getattr(self, "cert", None))
        if self.container:
            self.key, self.cert, self.chain = pkcs12.load_key_and_certificates(self.container["PayloadContent"], self.container["Password"].encode())
            return before
        key, signer = rsa_key(), throw_away()
        self.cert = of.ask(self.csr(key), signer).certificate(signer[0])
        self.key = key
        return before

    def enroll(self, link, of=None):
        self.read_profile(self.server.profile(link))
        self.take_identity(of)
        equal(self.authenticate(), (200, b""), "Authenticate")
        equal(self.token_update(), (200, b""), "TokenUpdate")
        return self

    def renew(self, of=None):
        """Is sent a new identity by InstallProfile, and uses it. The profiles must be the same but for the identity."""
        self.server.cli("device", "renew", self.udid)
        old_payload, old_mdm, old_identity = self.payload, self.mdm, self.identity
        status, command = self.idle()
        equal((status, command["Command"]["RequestType"]), (200, "InstallProfile"), "the command")
        self.read_profile(command["Command"]["Payload"])
        equal(self.mdm, old_mdm, "the MDM payload")
        for name in ("PayloadIdentifier", "PayloadUUID"):
            equal((self.payload[name], self.identity[name]), (old_payload[name], old_identity[name]), name)
        before = self.take_identity(of)
        expect(public(self.cert) != public(before[1]), "a new key")
        equal(self.report(command["CommandUUID"]), (200, b""), "the new identity is taken")
        return before


def audit(s, **query):
    status, reply, _ = s.api("GET", "/api/v1/audit?" + urllib.parse.urlencode({"limit": 1000, **query}))
    equal(status, 200, f"audit: {reply}")
    return reply["items"]


def stored(s):
    """All bytes of the database and of what lies beside it."""
    s.request("GET", "/scep?operation=GetCACaps")
    return b"".join(pathlib.Path(f).read_bytes() for f in glob.glob(os.path.join(s.data, "*")) if os.path.isfile(f))


def expect_hidden(s, *secrets_):
    """No secret (text or bytes) is in the data directory, the log, the process or what the API says."""
    listed = json.dumps(s.cli("outside-ca", "list")) + json.dumps(audit(s)) + json.dumps(s.cli("scep-profile", "list"))
    proc = pathlib.Path(f"/proc/{s.process.pid}")
    places = {"data": stored(s), "log": s.logs().encode(), "API": listed.encode(), "argv": (proc / "cmdline").read_bytes(), "environment": (proc / "environ").read_bytes()}
    for secret in secrets_:
        for place, data in places.items():
            expect((secret.encode() if isinstance(secret, str) else secret) not in data, f"a secret is in the {place}")


def number_bytes(key):
    numbers = key.private_numbers()
    return [n.to_bytes((n.bit_length() + 7) // 8, "big") for n in (numbers.d, numbers.p, numbers.q)]


def serials(s, **query):
    """What the register holds, by state."""
    status, reply, _ = s.api("GET", "/api/v1/certificates?" + urllib.parse.urlencode({"limit": 1000, **query}))
    equal(status, 200, f"{reply}")
    return reply["items"]


def refused_checkin(device, code):
    """DEVICE's Authenticate must be 403 with CODE in the log."""
    size = len(device.server.logs())
    equal(device.authenticate()[0], 403, "Authenticate")
    expect(f"reason={code}" in device.server.logs()[size:], device.server.logs()[size:])


@case
def identities_as_pkcs12():
    with Server("--set", "identity.source=pkcs12") as s:
        link = s.link()
        first = OtherDevice(s).read_profile(s.profile(link))
        expect(all(first.container.get(k) for k in ("PayloadType", "PayloadVersion", "PayloadIdentifier", "PayloadUUID", "PayloadContent", "Password", "PayloadCertificateFileName")), "keys of the payload")
        expect(isinstance(first.container["PayloadContent"], bytes) and len(first.container["Password"]) >= 20, "content as data, a long password")
        # Devices, and openssl without its legacy provider, read it.
        path = os.path.join(s.root, "identity.p12")
        pathlib.Path(path).write_bytes(first.container["PayloadContent"])
        p = subprocess.run(["openssl", "pkcs12", "-provider", "default", "-in", path, "-nodes", "-passin", "stdin"], input=first.container["Password"].encode() + b"\n", capture_output=True)
        expect(p.returncode == 0 and b"PRIVATE KEY" in p.stdout and p.stdout.count(b"BEGIN CERTIFICATE") == 2, f"{p.stderr}")
        info = subprocess.run(["openssl", "pkcs12", "-in", path, "-info", "-noout", "-passin", "stdin"], input=first.container["Password"].encode() + b"\n", capture_output=True).stderr
        expect(b"MAC: sha1" in info and b"pbeWithSHA1And3-KeyTripleDES-CBC" in info and b"RC2" not in info, f"a form that Apple devices read: {info}")
        first.take_identity()
        # Each fetch makes a new one and ends the one before.
        second = OtherDevice(s).read_profile(s.profile(link))
        second.take_identity()
        expect(second.container["Password"] != first.container["Password"] and public(second.cert) != public(first.cert), "another key, another password")
        refused_checkin(first, "POM-E2104")
        equal((second.authenticate(), second.token_update()), ((200, b""), (200, b"")), "the device enrolls")
        equal(s.cli("device", "show", second.udid)["state"], "enrolled")
        before = second.renew()
        # The one before ends when the new one is used, with some time left for what is on its way.
        equal(second.idle(), (200, b""), "with the new identity")
        rows = serials(s, device=second.udid)
        equal(len(rows), 2, f"certificates of the device: {rows}")
        expect_hidden(s, first.container["Password"], second.container["Password"], *number_bytes(first.key), *number_bytes(second.key), *number_bytes(before[0]))


class Outside(Server):
    """A second Pomona as the outside CA: profile "outer" takes one challenge of all and leaves the common name as it is asked for."""

    def __init__(self):
        super().__init__(push_cert=False)
        self.set_challenge(SECRET)
        self.scep_url = f"http://127.0.0.1:{self.http_port}/scep/outer"
        self.ca = x509.load_der_x509_certificate(self.request("GET", "/scep?operation=GetCACert")[1])

    def set_challenge(self, text):
        self.cli("scep-profile", "set", "outer", "challenge=static", "static_challenge=@-", input=text)

    def restart(self, *extra):
        """At the same address."""
        self.stop()
        port = urllib.parse.urlsplit(self.scep_url).port
        return self.start("--http-listen", f"127.0.0.1:{port}", *extra)

    def issued(self):
        return self.metric("pomona_certificates_issued_total")


def tell(s, url, challenge=SECRET, *more):
    """Describes the outside CA to S; its challenge comes by standard input."""
    return s.cli("outside-ca", "set", "outer", f"url={url}", *(["challenge=@-"] if challenge else []), *more, input=challenge)


def by_issuer(device, ca):
    equal(device.cert.issuer, ca.subject, "issuer")
    ca.public_key().verify(device.cert.signature, device.cert.tbs_certificate_bytes, padding.PKCS1v15(), device.cert.signature_hash_algorithm)


@case
def proxy_to_another_pomona():
    with Outside() as b, Server("--set", "identity.source=scep-proxy", "--set", "identity.outside=outer") as s:
        status = s.request("GET", urllib.parse.urlsplit(s.link()["profile_url"]).path)[0]
        equal(status, 500, "a profile before the outside CA is described")
        tell(s, b.scep_url)
        device = OtherDevice(s).enroll(s.link())
        by_issuer(device, b.ca)
        equal([der(c) for c in device.chain], [der(b.ca)], "the chain in the container")
        row = serials(s, device=device.udid)[0]
        expect(row["serial"].startswith("outer:") and row["state"] == "valid", f"{row}")
        equal(audit(s, object=row["serial"])[0]["action"], "certificate.outside")
        # Each fetch of a link asks for another, and ends the one before.
        link = s.link()
        first, second = (OtherDevice(s).read_profile(s.profile(link)) for _ in range(2))
        first.take_identity(), second.take_identity()
        refused_checkin(first, "POM-E2104")
        equal(second.authenticate(), (200, b""), "the last one")
        before = device.renew()
        by_issuer(device, b.ca)
        equal(device.idle(), (200, b""), "with the new identity")
        expect_hidden(s, SECRET, device.container["Password"], *number_bytes(device.key), *number_bytes(before[0]))
        # Refused, and away: the person at the device is told that it is not ready, the log says why.
        b.set_challenge("another challenge")
        link = s.link()
        path = urllib.parse.urlsplit(link["profile_url"]).path
        for code, wanted in (("POM-E3202", 502), ("POM-E3201", 503)):
            size = len(s.logs())
            equal(s.request("GET", path)[0], wanted, code)
            expect(f"reason={code}" in s.logs()[size:], s.logs()[size:])
            b.stop()
        b.restart()
        b.set_challenge(SECRET)
        OtherDevice(s).enroll(link)


@case
def direct_to_another_pomona():
    with Outside() as b, Server("--set", "identity.source=scep-direct", "--set", "identity.outside=outer") as s:
        tell(s, b.scep_url)
        outside = Scep(b, "outer")
        device = OtherDevice(s).read_profile(s.profile(s.link()))
        equal((device.scep["URL"], device.scep["Challenge"]), (b.scep_url, SECRET), "the payload points at the outside CA")
        expect("CAFingerprint" not in device.scep, "the fingerprint would be of our CA")
        # What that CA gives to others is no way in, whatever their name; neither is its own certificate's name from elsewhere.
        stranger = OtherDevice(s).read_profile(s.profile(s.link()))
        stranger.key, signer = rsa_key(), throw_away()
        stranger.cert = outside.ask(make_csr(stranger.key, "CN of nobody", SECRET), signer).certificate(signer[0])
        refused_checkin(stranger, "POM-E2102")
        stranger.cert = self_signed(stranger.key, b.ca.subject)
        refused_checkin(stranger, "POM-E2102")
        equal(serials(s), [], "nothing is in the register")
        device.take_identity(outside)
        by_issuer(device, b.ca)
        equal((device.authenticate(), device.token_update()), ((200, b""), (200, b"")), "the device enrolls")
        row = serials(s, device=device.udid)[0]
        equal([a["action"] for a in audit(s, object=row["serial"])], ["certificate.adopt"])
        # Its name again, for another key: the link is used up.
        twin = OtherDevice(s).read_profile(s.profile(s.link()))
        twin.scep, twin.topic = device.scep, device.topic
        twin.take_identity(outside)
        refused_checkin(twin, "POM-E2102")
        device.renew(outside)
        by_issuer(device, b.ca)
        equal(device.idle(), (200, b""), "with the new identity")
        equal(len(serials(s, device=device.udid)), 2, "certificates of the device")
        # After a restart, with an empty cache, the chain is still trusted; without the description no longer.
        s.restart()
        device.connection = None
        equal(device.idle(), (200, b""), "after a restart")
        expect_hidden(s, SECRET)
        s.cli("outside-ca", "remove", "outer")
        equal(device.idle()[0], 403, "a device of a CA that is no longer trusted")


def relay_answer(s, profile, request, **options):
    return Scep(s, profile).ask(request, **options)


def refused_relay(s, code, answer, status="2"):
    """A FAILURE with CODE in log and audit log."""
    size = len(s.logs())
    got = answer()
    equal((got.http_status, got.status, got.fail_info), (200, status, "2"), f"{got.body[:200]!r} {s.logs()[size:]}")
    expect(f"reason={code}" in s.logs()[size:], s.logs()[size:])
    rows = [r for r in audit(s, action="scep.refuse", object=got.values[SCEP + "7"]) if r["detail"]["incident"] == got.incident]
    equal([r["detail"]["reason"] for r in rows], [code], "rows in the audit log")
    return rows[0]["detail"]["why"]


@case
def relay_to_another_pomona():
    with Outside() as b, Server() as s:
        tell(s, b.scep_url)
        s.cli("scep-profile", "set", "default", "relay=outer")
        here = Scep(s)
        device = OtherDevice(s).read_profile(s.profile(s.link()))
        expect(device.scep["URL"].startswith(s.url + "/scep/") and device.scep["Challenge"] != SECRET, "the device asks us, with a challenge of ours")
        # The names are those of the link, or the request is not passed on (the outside CA would take them as they are).
        before = b.issued()
        refused_relay(s, "POM-E3110", lambda: here.ask(make_csr(rsa_key(), "somebody else", device.scep["Challenge"])))
        refused_relay(s, "POM-E3101", lambda: here.ask(make_csr(rsa_key(), "somebody", "wrong")))
        refused_relay(s, "POM-E3101", lambda: here.ask(make_csr(rsa_key(), "somebody", SECRET)))
        refused_relay(s, "POM-E3101", lambda: here.ask(make_csr(rsa_key(), "somebody")))
        equal(b.issued(), before, "certificates of the outside CA")
        device.take_identity(here)
        by_issuer(device, b.ca)
        equal((device.authenticate(), device.token_update()), ((200, b""), (200, b"")), "the device enrolls")
        equal(serials(s, device=device.udid)[0]["serial"].split(":")[0], "outer")
        before = device.renew(here)
        by_issuer(device, b.ca)
        equal(device.idle(), (200, b""), "with the new identity")
        expect_hidden(s, SECRET, device.scep["Challenge"])


@case
def relay_gives_one_certificate():
    with Outside() as b, Server() as s:
        tell(s, b.scep_url)
        s.cli("scep-profile", "set", "phones", "relay=outer")
        new = ["challenge", "new", "--profile", "phones", "--subject", "CN=phone", "--san", "dns:phone.example"]
        text, signer, before = s.cli(*new)["challenge"], throw_away(), b.issued()
        messages = [scep_message(make_csr(rsa_key(), "phone", text), Scep(s, "phones").ca, *signer) for _ in range(8)]
        clients = [Scep(s, "phones") for _ in messages]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda pair: pair[0].post(pair[1]), zip(clients, messages)))
        good = [i for i, a in enumerate(answers) if a.status == "0"]
        equal((len(good), b.issued() - before), (1, 1), f"certificates {[(a.http_status, a.status) for a in answers]} {s.logs()}")
        equal([r["state"] for r in serials(s)], ["valid"], "the register")
        cert = answers[good[0]].certificate(signer[0])
        # The same key again: a lost answer, from our register. Another one is an alarm.
        again = clients[0].post(messages[good[0]])
        equal((again.certificate(signer[0]).serial_number, b.issued() - before), (cert.serial_number, 1))
        alarms = len(audit(s, action="scep.alarm"))
        refused_relay(s, "POM-E3103", lambda: Scep(s, "phones").ask(make_csr(rsa.generate_private_key(65537, 2048), "phone", text)))
        equal(len(audit(s, action="scep.alarm")) - alarms, 1, "an alarm")
        # Two with one key at the same time are one.
        text = s.cli(*new)["challenge"]
        message = scep_message(make_csr(rsa_key(), "phone", text), Scep(s, "phones").ca, *signer)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda c: c.post(message), clients))
        numbers = {a.certificate(signer[0]).serial_number for a in answers if a.status == "0"}
        expect(len(numbers) == 1 and b.issued() - before == 2, f"{[(a.http_status, a.status) for a in answers]} {b.issued() - before}")


@case
def relay_when_the_outside_ca_does_not_issue():
    with Outside() as b, Server() as s:
        tell(s, b.scep_url)
        s.cli("scep-profile", "set", "phones", "relay=outer")
        text, key, signer = s.cli("challenge", "new", "--profile", "phones", "--subject", "CN=phone")["challenge"], rsa_key(), throw_away()

        def ask():
            return Scep(s, "phones").ask(make_csr(key, "phone", text), signer)

        def held(code):
            """503, with the reason in the log."""
            size = len(s.logs())
            got = ask()
            equal((got.http_status, "retry-after" in got.headers), (503, True), s.logs()[size:])
            expect(f"reason={code}" in s.logs()[size:], s.logs()[size:])

        b.set_challenge("another challenge")
        why = refused_relay(s, "POM-E3202", ask)
        expect("badRequest" in why and "incident" in why, f"the outside CA's own words: {why}")
        b.stop()
        held("POM-E3201")
        # Another challenge needs no answer of it, and leaves its certificates as they are: identities of each of them may be about.
        kept = s.cli("outside-ca", "list")[0]["certificates"]
        equal(s.cli("outside-ca", "set", "outer", "challenge=@-", input=SECRET)["certificates"], kept)
        b.restart()
        b.set_challenge(SECRET)
        equal(serials(s), [], "nothing is left over in the register")
        # It wants a person: asked again for a while, then the device must come again.
        b.cli("scep-profile", "set", "outer", "approval=manual")
        held("POM-E3204")
        waiting = b.cli("ca", "requests")
        equal([(w["state"], w["subject"]) for w in waiting], [("pending", "CN=phone")])
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask)
            time.sleep(1)
            b.cli("ca", "approve", waiting[0]["id"])
            first = asked.result().certificate(signer[0])
        equal((public(first), first.issuer), (public(key), b.ca.subject))
        equal([r["state"] for r in serials(s)], ["valid"], "the register")
        # The pinned certificate is another: nothing is sent there.
        code, _, err = s.cli_code("outside-ca", "set", "outer", "fingerprint=" + "ab" * 32)
        expect(code == 1 and "POM-E3203" in err, err)
        expect_hidden(s, SECRET, "another challenge", text)


@case
def proxy_and_relay_to_micromdm():
    with MicroMdm() as m:
        url = m.open_door()
        with Server("--set", "identity.source=scep-proxy", "--set", "identity.outside=outer") as s:
            tell(s, url)
            path = urllib.parse.urlsplit(s.link()["profile_url"]).path
            equal(s.request("GET", path)[0], 502, "single DES without the setting")
            expect("reason=POM-E3203" in s.logs() and "single DES" in s.logs(), s.logs())
            tell(s, url, None, "legacy_des=true")
            s.restart()
            device = OtherDevice(s).enroll(s.link())
            by_issuer(device, m.ca)
            device.renew()
            by_issuer(device, m.ca)
            equal(device.idle(), (200, b""), "with the new identity")
            # It reads the challenge in the request only, so the device must have put it there: here a profile whose challenge is the CA's.
            s.cli("scep-profile", "set", "phones", "relay=outer", "challenge=static", "static_challenge=@-", "subject=CN={cn}", input=SECRET)
            key, signer = rsa_key(), throw_away()
            cert = Scep(s, "phones").ask(make_csr(key, "phone", SECRET, digest="sha256"), signer).certificate(signer[0])
            equal((public(cert), cert.issuer), (public(key), m.ca.subject))
            text = s.cli("challenge", "new", "--profile", "phones", "--subject", "CN=phone")["challenge"]
            why = refused_relay(s, "POM-E3202", lambda: Scep(s, "phones").ask(make_csr(rsa_key(), "phone", text, digest="sha256")))
            expect("badRequest" in why, why)
            expect_hidden(s, SECRET, *number_bytes(device.key))


if __name__ == "__main__":
    main()
