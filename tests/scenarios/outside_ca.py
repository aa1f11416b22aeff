"""Pomona as the client of an outside SCEP CA: micromdm's server (package scep) and another Pomona."""
from harness import *

TOOL = os.path.join(os.path.dirname(POMONA), "src", "server", "scep_client_tool")
# scepserver listens on all addresses; in a network namespace of its own there is only the loopback one, and any port is free.
LOOPBACK_UP = "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'lo', 0x49))"
SECRET = "0123456789ABCDEF"


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


if __name__ == "__main__":
    main()
