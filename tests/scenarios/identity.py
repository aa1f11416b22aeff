"""How a device proves who it is: Mdm-Signature, TLS client certificates, certificates that proxies pass on. With the configurations of docs/examples in a real nginx and a real HAProxy."""
import ipaddress
import re

from harness import *

HERE = pathlib.Path(__file__).resolve().parent
EXAMPLES = HERE.parent.parent / "docs" / "examples"
MTLS = ("--set", "server.mtls_listen=127.0.0.1:0")
PROXY_ADDRESS = "127.0.0.9"
HEADER = "Client-Cert"
SCEP_SIGNER = rsa_key()
FOREIGN_CA = ec_keys.generate_private_key(ec_keys.SECP256R1())


def proxied(addresses=PROXY_ADDRESS, header=HEADER, *more):
    return ("--set", f"proxy.addresses={addresses}", "--set", "proxy.listen=127.0.0.1:0", "--set", f"proxy.certificate_header={header}", *more)


def serve(*args):
    return Server(*args, url="https://127.0.0.1:1")


def ports(s):
    return json.load(open(os.path.join(s.data, "serve.json")))


def pem(cert):
    return cert.public_bytes(serialization.Encoding.PEM)


def serial(cert):
    return f"{cert.serial_number:032X}"


def reason(reply):
    """The id in a refusal."""
    found = re.match(rb"POM-E\d+", reply if isinstance(reply, bytes) else b"")
    return found.group().decode() if found else ""


def refused(reply, status, error, what):
    equal((reply[0], reason(reply[1])), (status, error), what)


def lines(s, text):
    return [line for line in s.logs().splitlines() if text in line]


class CertDevice(Device):
    """Checks in over TLS with its identity as client certificate, and does not sign unless it is told to. What it asks else goes where everybody goes."""

    def __init__(self, server, port=None, front=None, ca=None, version=None, **options):
        super().__init__(server, **options)
        self.port, self.front, self.ca, self.version = port or ports(server)["mtls_port"], front or server.port, ca, version
        self.shown = None  # (key, certificate) that it shows instead of its identity; () for none

    def context(self, identity=None):
        context = ssl.create_default_context(cafile=self.ca or self.server.root_ca)
        if self.version:
            context.minimum_version = context.maximum_version = self.version
        if identity:
            with tempfile.NamedTemporaryFile(suffix=".pem") as f:
                f.write(pem(identity[1]) + pem_key(identity[0]))
                f.flush()
                context.load_cert_chain(f.name)
        return context

    def connect(self):
        return http.client.HTTPSConnection("127.0.0.1", self.front, timeout=60, context=self.context())

    def put(self, message, content_type=CHECKIN, signature="", headers=None, **overrides):
        if self.connection is None:
            self.connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self.context((self.key, self.cert) if self.shown is None else self.shown))
        if headers:
            self.connection = WithHeaders(self.connection, headers)
        try:
            return super().put(message, content_type, signature=signature, **overrides)
        finally:
            if headers and self.connection:
                self.connection = self.connection.connection

    def obey(self, command):
        """A device with a new identity comes again with that: its connection shows the old one."""
        try:
            return super().obey(command)
        finally:
            if command["RequestType"] == "InstallProfile":
                self.hang_up()

    def signed(self, signer=None, **options):
        """Idle, signed by SIGNER (key, certificate), or by its own identity."""
        body = plistlib.dumps({"UDID": self.udid, "Status": "Idle"})
        key, cert = signer or (self.key, self.cert)
        return self.idle(body=body, signature=base64.b64encode(detached_signature(key, cert, options.pop("content", body))).decode(), **options)


class WithHeaders:
    """An http.client connection that sends some more headers."""

    def __init__(self, connection, headers):
        self.connection, self.headers = connection, headers

    def request(self, method, path, body, headers):
        self.connection.putrequest(method, path)
        for name, value in [*headers.items(), *self.headers, ("Content-Length", str(len(body)))]:
            self.connection.putheader(name, value)
        self.connection.endheaders(body)

    def getresponse(self):
        return self.connection.getresponse()

    def close(self):
        self.connection.close()


def enroll(device):
    """Everything but the check-ins over the front; the check-ins prove themselves by certificate alone."""
    link = device.server.link()
    status, profile, _ = device.request("GET", urllib.parse.urlsplit(link["profile_url"]).path)
    equal(status, 200, "profile")
    device.read_profile(profile)
    device.get_identity(signer_key=SCEP_SIGNER)
    equal(device.authenticate(), (200, b""), "Authenticate")
    equal(device.token_update(), (200, b""), "TokenUpdate")
    return device


def own_foreign(device, days=30):
    """(key, certificate) with DEVICE's name, of nobody's CA."""
    key, now = ec_keys.generate_private_key(ec_keys.SECP256R1()), datetime.datetime.utcnow()
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Foreign CA")])
    builder = x509.CertificateBuilder().subject_name(device.cert.subject).issuer_name(issuer).public_key(key.public_key()).serial_number(device.cert.serial_number)
    return key, builder.not_valid_before(now - datetime.timedelta(days=9)).not_valid_after(now + datetime.timedelta(days=days)).sign(FOREIGN_CA, hashes.SHA256())


def age(s, device, ends):
    """Behind the server's back, while it is stopped: the device's certificate ended so many days ago."""
    with s.stopped() as execute:
        equal(execute("UPDATE certificate SET not_after = ? WHERE serial = ?", int((time.time() + ends * 86400) * 1000), serial(device.cert)), 1, "certificates")
    device.hang_up()


# ---------------------------------------------------------------- TLS client certificates, directly

@case
def client_certificates():
    with serve(*MTLS) as s:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            d = enroll(CertDevice(s, version=version))
            equal(d.idle(), (200, b""), "Idle")
            sent = s.cli("command", "send", d.udid, "DeviceLock")["command_uuid"]
            equal(d.run_commands(), [("DeviceLock", "Acknowledged")], "a command")
            equal(s.cli("command", "show", sent)["status"], "Acknowledged")
            first = s.enroll()
            for what, shown, status, error in [
                    ("none", (), 400, "POM-E4101"), ("of a foreign CA", own_foreign(d), 403, "POM-E2102"), ("expired, of a foreign CA", own_foreign(d, -1), 403, "POM-E2102"),
                    ("of another device", (first.key, first.cert), 403, "POM-E4103")]:
                d.hang_up().shown = shown
                refused(d.idle(), status, error, f"{version.name}, {what}")
                refused(d.authenticate(), status, error, f"{version.name}, Authenticate, {what}")
            d.hang_up().shown = None
            equal(d.idle(), (200, b""), "the device itself, after all these")
            s.cli("ca", "revoke", serial(d.cert))
            refused(d.idle(), 403, "POM-E2104", "revoked, over the open connection")
            refused(d.hang_up().idle(), 403, "POM-E2104", "revoked, over a new connection")
        grace, over = enroll(CertDevice(s)), enroll(CertDevice(s))
        s.args += ["--set", "ca.expired_grace_days=30"]
        age(s, grace, -1)
        s.cli("command", "send", grace.udid, "DeviceLock")
        grace.port = ports(s)["mtls_port"]
        grace.front = s.port
        equal(grace.run_commands(), [("InstallProfile", "Acknowledged"), ("DeviceLock", "Acknowledged")], f"expired, within the grace: first the new identity ({grace.why})")
        age(s, over, -31)
        over.port = ports(s)["mtls_port"]
        refused(over.idle(), 403, "POM-E2103", "expired for longer")
        # It serves nothing else.
        c = http.client.HTTPSConnection("127.0.0.1", over.port, timeout=30, context=over.context())
        for path in ("/", "/scep?operation=GetCACaps", "/enroll/x", "/ca/default-1.crl"):
            c.request("GET", path)
            r = c.getresponse()
            equal((r.status, r.read() and True), (404, True), path)
            c.close()


@case
def the_device_listener_asks_nobody():
    with serve(*MTLS) as s:
        d = s.enroll()
        asks = {port: b"Requested Signature Algorithms" in s_client(port) for port in (s.port, ports(s)["mtls_port"])}
        equal(asks, {s.port: False, ports(s)["mtls_port"]: True}, "who asks for a certificate")
        twin = CertDevice(s, udid=d.udid, port=s.port)
        twin.key, twin.cert, twin.mdm = d.key, d.cert, d.mdm
        refused(twin.idle(), 400, "POM-E4101", "a certificate that nobody asked for")
        equal(twin.signed(), (200, b""), "its signature")


@case
def a_new_certificate_serves_both_listeners():
    with tempfile.TemporaryDirectory() as root:
        certificate, key_file = os.path.join(root, "tls.pem"), os.path.join(root, "tls.key")

        def put():
            key = ec_keys.generate_private_key(ec_keys.SECP256R1())
            cert = self_signed(key, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "front")]))
            pathlib.Path(key_file).write_bytes(pem_key(key))
            pathlib.Path(certificate).write_bytes(pem(cert))
            return der(cert)
        first = put()
        with serve(*MTLS, "--set", f"tls.certificate={certificate}", "--set", f"tls.key={key_file}") as s:
            shown = lambda: [ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port))) for port in (s.port, ports(s)["mtls_port"])]
            equal(shown(), [first] * 2, "the certificate of the file")
            second = put()
            s.process.send_signal(signal.SIGHUP)
            wait_for("both show the new one", lambda: shown() == [second] * 2)


def s_client(port, *args, input=b""):
    p = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *args], input=input, capture_output=True, timeout=30)
    return p.stdout + p.stderr


# ---------------------------------------------------------------- several proofs in one request

@case
def signature_and_certificate():
    with serve(*MTLS) as s:
        d, other = enroll(CertDevice(s)), enroll(CertDevice(s))
        equal(d.signed(), (200, b""), "both of one device")
        refused(d.signed((other.key, other.cert)), 403, "POM-E4105", "the signature of another device")
        d.hang_up().shown = (other.key, other.cert)
        refused(d.signed(), 403, "POM-E4105", "the certificate of another device")
        d.hang_up().shown = own_foreign(d)
        refused(d.signed(), 403, "POM-E4105", "a certificate that nobody knows")
        d.hang_up().shown = ()
        equal(d.signed(), (200, b""), "a signature alone")
        d.hang_up().shown = None
        for what, text in [("garbage", "AAAA"), ("no base64", "%%%"), ("empty", " "), ("of other bytes", None)]:
            reply = d.idle(signature=text) if text else d.signed(content=b"something else")
            equal((reply[0], reason(reply[1]) in ("POM-E4101", "POM-E4102")), (400, True), f"signature {what}: the certificate stands in for nothing")
        signer = own_foreign(d)
        refused(d.signed(signer), 403, "POM-E2102", "signed by a stranger")
        refused(d.idle(headers=[signature(d), ("Mdm-Signature", "AAAA")]), 400, "POM-E4102", "two signatures")
        equal(d.idle(), (200, b""), "afterwards")
        # A renewed identity over the connection of the old one.
        s.cli("device", "renew", d.udid)
        before = d.connection
        status, command = d.idle()
        equal(command["Command"]["RequestType"], "InstallProfile")
        d.install(command["Command"]["Payload"])
        equal(d.signed()[0], 200, "signed with the new identity")
        expect(d.connection is before, "the connection is still that of the old identity")
        equal(d.hang_up().signed()[0], 200, "both new")
        equal(d.report(command["CommandUUID"]), (200, b""), "the new certificate alone")


# ---------------------------------------------------------------- sessions

@case
def no_session_carries_an_identity():
    with serve(*MTLS) as s:
        a, b = enroll(CertDevice(s)), enroll(CertDevice(s))
        port = ports(s)["mtls_port"]
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = a.context((a.key, a.cert))
            context.minimum_version = context.maximum_version = version
            body = plistlib.dumps({"UDID": a.udid, "Status": "Idle"})
            head = f"PUT /mdm HTTP/1.1\r\nHost: a\r\nContent-Type: {REPORT}\r\nContent-Length: {len(body)}\r\n\r\n".encode()

            def ask(session):
                with context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1", session=session) as c:
                    c.sendall(head + body)
                    answer = c.recv(4096)
                    return c.session, c.session_reused, int(answer.split()[1])
            session, _, status = ask(None)
            equal(status, 200, "with its own certificate")
            with tempfile.NamedTemporaryFile(suffix=".pem") as f:
                f.write(pem(b.cert) + pem_key(b.key))
                f.flush()
                context.load_cert_chain(f.name)
            _, reused, status = ask(session)
            equal((reused, status), (False, 403), f"{version.name}: the session of another device")
        pems = {}
        for name, d in (("a", a), ("b", b)):
            pems[name] = os.path.join(s.root, f"{name}.pem")
            pathlib.Path(pems[name]).write_bytes(pem(d.cert) + pem_key(d.key))
        told = s_client(port, "-tls1_2", "-cert", pems["a"], "-key", pems["a"], "-reconnect")
        expect(told.count(b"New, TLSv1.2") >= 5 and b"Reused, " not in told, "a TLS 1.2 session was resumed")
        # R starts a renegotiation.
        told = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_2", "-cert", pems["a"], "-key", pems["a"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        time.sleep(1.5)
        told.stdin.write(b"R\n")
        told.stdin.flush()
        time.sleep(1.5)
        out = told.communicate(timeout=20)[0]
        expect(b"RENEGOTIATING" in out and b"no renegotiation" in out, f"renegotiation: {out[-300:]!r}")


# ---------------------------------------------------------------- headers, with Python as the proxy

class Proxy:
    """Speaks to the server from ADDRESS as a proxy does: one connection for many clients."""

    def __init__(self, s, address=PROXY_ADDRESS, port=None, tls=None):
        self.address, self.port, self.tls = address, port or ports(s)["proxy_port"], tls
        self.connection = None

    def send(self, method, path, body, headers):
        if self.connection is None:
            self.connection = (http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, source_address=(self.address, 0), context=self.tls) if self.tls
                               else http.client.HTTPConnection("127.0.0.1", self.port, timeout=30, source_address=(self.address, 0)))
        self.connection.putrequest(method, path)
        for name, value in [*headers, *([("Content-Length", str(len(body)))] if body is not None else [])]:
            self.connection.putheader(name, value)
        self.connection.endheaders(body)
        r = self.connection.getresponse()
        reply = r.read()
        if r.will_close:
            self.connection.close()
            self.connection = None
        expect(r.status != 401, "a device was answered 401: it would un-enroll")
        return r.status, reply

    def idle(self, device, *headers):
        return self.send("PUT", "/mdm", plistlib.dumps({"UDID": device.udid, "Status": "Idle"}), [("Content-Type", REPORT), *headers])


def rfc9440(cert):
    return ":" + base64.b64encode(der(cert)).decode() + ":"


def nginx_escaped(cert, safe=""):
    return urllib.parse.quote(pem(cert), safe=safe)


def signature(device, body=None):
    body = body or plistlib.dumps({"UDID": device.udid, "Status": "Idle"})
    return "Mdm-Signature", base64.b64encode(detached_signature(device.key, device.cert, body)).decode()


@case
def certificate_headers():
    with serve(*proxied()) as s:
        d, other = s.enroll(), s.enroll()
        root = load_pem(pathlib.Path(s.root_ca).read_bytes())
        proxy = Proxy(s)
        good = {"RFC 9440": rfc9440(d.cert), "nginx": nginx_escaped(d.cert), "ALB": nginx_escaped(d.cert, "+=/"), "chain, leaf first": nginx_escaped(d.cert, "+=/") + nginx_escaped(root, "+=/"),
                "CRLF": urllib.parse.quote(pem(d.cert).replace(b"\n", b"\r\n"), safe=""), "one line": pem(d.cert).decode().strip().replace("\n", " ")}
        for what, value in good.items():
            equal(proxy.idle(d, (HEADER, value)), (200, b""), what)
            refused(proxy.idle(other, (HEADER, value)), 403, "POM-E4103", f"{what}, for another device")
            proxy.idle(d, (HEADER.lower(), value))
        b64 = base64.b64encode(der(d.cert)).decode()
        bad = {"cut off": rfc9440(d.cert)[:-30], "cut off, with its end": ":" + b64[:-9] + ":", "half of it": ":" + base64.b64encode(der(d.cert)[:300]).decode() + ":",
               "two in one": rfc9440(d.cert) + ", " + rfc9440(d.cert), "bare base64": b64, "cut PEM": nginx_escaped(d.cert)[:-60], "a text": "CN=device",
               "+ as space": nginx_escaped(d.cert, "+=/").replace("+", " ").replace("BEGIN%20", "BEGIN ") + "%", "garbage": ":////:", "something after it": nginx_escaped(d.cert) + "x"}
        for what, value in bad.items():
            refused(proxy.idle(d, (HEADER, value)), 400, "POM-E4104", what)
            refused(proxy.idle(d, (HEADER, value), signature(d)), 400, "POM-E4104", f"{what}, beside a signature")
        for what, value in [("empty", ""), ("-", "-"), ("::", "::")]:
            refused(proxy.idle(d, (HEADER, value)), 400, "POM-E4101", what)
            equal(proxy.idle(d, (HEADER, value), signature(d)), (200, b""), f"{what}, beside a signature")
        refused(proxy.idle(d), 400, "POM-E4101", "no header")
        refused(proxy.idle(d, (HEADER, rfc9440(d.cert)), (HEADER, rfc9440(other.cert))), 400, "POM-E4104", "two headers")
        refused(proxy.idle(d, (HEADER, rfc9440(d.cert)), (HEADER, rfc9440(d.cert))), 400, "POM-E4104", "the same twice")
        equal(proxy.idle(d, (HEADER, ""), (HEADER, rfc9440(d.cert))), (200, b""), "an empty one beside it")
        refused(proxy.idle(d, ("X-Client-Cert", rfc9440(d.cert))), 400, "POM-E4101", "a header of another name")
        refused(proxy.idle(d, (HEADER, rfc9440(own_foreign(d)[1]))), 403, "POM-E2102", "of a stranger")
        refused(proxy.idle(d, (HEADER, rfc9440(root))), 403, "POM-E2102", "of our own root")
        # Beside a signature.
        equal(proxy.idle(d, (HEADER, rfc9440(d.cert)), signature(d)), (200, b""), "both of one device")
        refused(proxy.idle(d, (HEADER, rfc9440(other.cert)), signature(d)), 403, "POM-E4105", "of two devices")
        refused(proxy.idle(d, (HEADER, rfc9440(d.cert)), ("Mdm-Signature", "AAAA")), 400, "POM-E4102", "a broken signature")
        s.cli("ca", "revoke", serial(d.cert))
        refused(proxy.idle(d, (HEADER, rfc9440(d.cert))), 403, "POM-E2104", "revoked")
        equal(proxy.idle(other, (HEADER, rfc9440(other.cert))), (200, b""), "the next client over the same connection")
        equal(s.metric('pomona_refused_total{reason="POM-E4106"}'), 0.0)


@case
def headers_of_strangers():
    with serve(*proxied()) as s:
        d = s.enroll()
        header = HEADER, rfc9440(d.cert)
        # The listener for proxies serves nobody else, whatever is asked.
        stranger = Proxy(s, address="127.0.0.1")
        for method, path in [("GET", "/"), ("GET", "/scep?operation=GetCACaps"), ("GET", "/nowhere"), ("PUT", "/mdm")]:
            status, body = stranger.send(method, path, b"" if method == "PUT" else None, [header, ("X-Forwarded-For", PROXY_ADDRESS)])
            equal((status, reason(body)), (403, "POM-E4106"), f"{method} {path} of a stranger")
        # The device listener does, and ignores the header.
        trust = s.tls()
        stranger = Proxy(s, "127.0.0.1", s.port, trust)
        for _ in range(5):
            refused(stranger.idle(d, header), 400, "POM-E4101", "header of a stranger")
        refused(stranger.idle(d, (HEADER, "garbage")), 400, "POM-E4101", "garbage of a stranger")
        equal(stranger.idle(d, (HEADER, rfc9440(load_pem(pathlib.Path(s.root_ca).read_bytes()))), signature(d)), (200, b""), "beside a signature")
        equal(len(lines(s, "was ignored")), 1, "said once")
        refused(Proxy(s, "127.0.0.10", s.port, trust).idle(d, header, ("X-Forwarded-For", PROXY_ADDRESS)), 400, "POM-E4101", "a stranger that says it is a proxy")
        # A listed proxy may speak TLS to the device listener.
        equal(Proxy(s, PROXY_ADDRESS, s.port, trust).idle(d, header), (200, b""), "a listed proxy on the device listener")
        # No other listener believes it.
        status, _ = Proxy(s, PROXY_ADDRESS, s.admin_port).send("GET", "/healthz", None, [("X-Forwarded-For", "192.0.2.1")])
        equal(status, 200, "the admin listener")


@case
def networks_and_ipv6():
    with serve(*proxied("127.0.0.8/30, ::1")) as s:
        d = s.enroll()
        header = HEADER, rfc9440(d.cert)
        for address, wanted in [("127.0.0.7", 403), ("127.0.0.8", 200), ("127.0.0.11", 200), ("127.0.0.12", 403)]:
            equal(Proxy(s, address).idle(d, header)[0], wanted, address)
    try:
        socket.socket(socket.AF_INET6).bind(("::1", 0))
    except OSError:
        return
    with serve("--set", "proxy.addresses=2001:db8::/32, ::1", "--set", "proxy.listen=[::]:0", "--set", f"proxy.certificate_header={HEADER}") as s:
        d = s.enroll()
        header = HEADER, rfc9440(d.cert)
        proxy = Proxy(s, "127.0.0.1")
        equal(proxy.idle(d, header)[0], 403, "IPv4 over an IPv6 socket, not listed")
        proxy.connection = http.client.HTTPConnection("::1", ports(s)["proxy_port"], timeout=30)
        equal(proxy.idle(d, header)[0], 200, "::1")


@case
def peers_behind_proxies():
    with serve(*proxied(f"{PROXY_ADDRESS} 10.0.0.0/8")) as s:
        d = s.enroll()

        def peer(address, *headers, **where):
            """Whom the server logs for a request that it refuses."""
            before = len(lines(s, "POM-E4101"))
            Proxy(s, address, **where).idle(d, *headers)
            last = wait_for("a line", lambda: lines(s, "POM-E4101")[before:])[-1]
            return re.search(r"peer=(\S+)", last).group(1)
        xff = "X-Forwarded-For"
        equal(peer(PROXY_ADDRESS), PROXY_ADDRESS, "nothing said")
        equal(peer(PROXY_ADDRESS, (xff, "192.0.2.7")), "192.0.2.7")
        equal(peer(PROXY_ADDRESS, (xff, "198.51.100.1, 192.0.2.7, 10.1.1.1")), "192.0.2.7", "the right-most that is not a proxy")
        equal(peer(PROXY_ADDRESS, (xff, "198.51.100.1"), (xff, "[2001:db8::7]:4711")), "2001:db8::7", "two lines, IPv6 with port")
        equal(peer(PROXY_ADDRESS, (xff, "192.0.2.7, garbage")), PROXY_ADDRESS, "garbage")
        equal(peer(PROXY_ADDRESS, ("Forwarded", "for=192.0.2.7")), PROXY_ADDRESS, "the header that is not the set one")
        equal(peer("127.0.0.1", (xff, "192.0.2.7"), port=s.port, tls=s.tls()), "127.0.0.1", "a stranger")
        # SCEP's limits follow the peer too: one client does not use up what others have.
        proxy = Proxy(s)
        status, ca = proxy.send("GET", "/scep?operation=GetCACert", None, [])
        equal(status, 200, "GetCACert")
        message = scep_message(make_csr(SCEP_SIGNER, challenge="wrong"), ca, *throw_away(SCEP_SIGNER))

        def guess(client):
            return proxy.send("POST", "/scep?operation=PKIOperation", message, [(xff, client)])[0]
        expect(any(guess("192.0.2.50") == 429 for _ in range(300)), "nobody was limited")
        equal(guess("192.0.2.51"), 200, "the other client of the same proxy")
    with serve(*proxied(PROXY_ADDRESS, HEADER, "--set", "proxy.forwarded_header=Forwarded")) as s:
        d = s.enroll()
        Proxy(s).idle(d, ("Forwarded", 'for="[2001:db8::9]:80";proto=https'), ("X-Forwarded-For", "192.0.2.7"))
        expect("peer=2001:db8::9" in lines(s, "POM-E4101")[-1], "Forwarded")


@case
def wrong_settings():
    with tempfile.TemporaryDirectory() as root:
        data = os.path.join(root, "d")
        init_data(data, "--url", f"https://127.0.0.1:{free_port()}")
        for settings, text in [
                (("proxy.listen=127.0.0.1:0",), "proxy.addresses"), (("proxy.certificate_header=Client-Cert",), "proxy.addresses"), (("proxy.addresses=localhost",), "localhost"),
                (("proxy.addresses=0.0.0.0/0",), "0.0.0.0/0"), (("proxy.addresses=10.0.0.1/8",), "prefix"), (("proxy.addresses=::1", "proxy.certificate_header=Client Cert:"), "Cert:"),
                (("proxy.addresses=::1", "proxy.certificate_header=Mdm-Signature"), "Mdm-Signature"), (("proxy.addresses=::1", "proxy.certificate_header=Client_Cert"), "Client_Cert"),
                (("proxy.addresses=::1", "proxy.forwarded_header=X-Real-IP"), "X-Real-IP"), (("server.mtls_listen=nowhere",), "nowhere")]:
            args = [word for setting in settings for word in ("--set", setting)]
            p = subprocess.run([POMONA, "serve", "--data", data, "--admin-listen", "", *args], capture_output=True, text=True, timeout=20)
            expect(p.returncode in (1, 2) and text in p.stderr, f"{settings}: {p.returncode} {p.stderr}")


# ---------------------------------------------------------------- nginx and HAProxy

class Front:
    """A real proxy with the configuration of docs/examples: only its addresses, files and ports are those of this test."""

    def __init__(self, s, name):
        self.root, self.name = tempfile.mkdtemp(prefix=f"pomona-{name}-"), name
        self.port, self.mtls_port = free_port(), free_port()
        key, ca_key = rsa_key(), rsa_key()
        ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Front CA")])
        now = datetime.datetime.utcnow()

        def sign(subject, public, *extensions):
            builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(public).serial_number(x509.random_serial_number())
                       .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=30)))
            for extension in extensions:
                builder = builder.add_extension(extension, critical=False)
            return builder.sign(ca_key, hashes.SHA256())
        ca = sign(ca_name, ca_key.public_key(), x509.BasicConstraints(True, None))
        leaf = sign(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "front")]), key.public_key(),
                    x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), x509.BasicConstraints(False, None))
        self.ca = self.write("ca.pem", pem(ca))
        files = {"tls-chain-and-key.pem": pem(leaf) + pem_key(key), "tls-chain.pem": pem(leaf), "tls-key.pem": pem_key(key), "root-ca.pem": pathlib.Path(s.root_ca).read_bytes()}
        for file, content in files.items():
            self.write(file, content)
        self.start(s)

    def write(self, name, content):
        path = os.path.join(self.root, name)
        pathlib.Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def example(self, s, name, *changes):
        text = (EXAMPLES / name).read_text()
        for old, new in [("/etc/pomona/", self.root + "/"), ("127.0.0.1:8082", f"127.0.0.1:{ports(s)['proxy_port']}"), *changes]:
            expect(old in text, f"{old} is not in {name}")
            text = text.replace(old, new)
        return self.write(name, text)

    def start(self, s):
        if self.name == "nginx":
            self.example(s, "nginx.conf", ("listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl"), ("listen 8444 ssl", f"listen 127.0.0.1:{self.mtls_port} ssl"))
            temp = "".join(f"{kind}_temp_path {self.root}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            main = self.write("main.conf", f"daemon off;\nmaster_process off;\npid {self.root}/pid;\nerror_log {self.root}/log;\nevents {{}}\nhttp {{\naccess_log off;\n{temp}include {self.root}/nginx.conf;\n}}\n")
            command = ["nginx", "-c", main, "-e", os.path.join(self.root, "log")]
        else:
            path = self.example(s, "haproxy.cfg", ("bind :443", f"bind 127.0.0.1:{self.port}"), ("bind :8444", f"bind 127.0.0.1:{self.mtls_port}"))
            p = subprocess.run(["haproxy", "-c", "-f", path], capture_output=True, text=True)
            expect(p.returncode == 0 and "WARNING" not in p.stderr, f"haproxy -c: {p.stdout}{p.stderr}")
            command = ["haproxy", "-db", "-f", path]
        self.log = open(os.path.join(self.root, "out"), "wb")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_for(f"{self.name} answers", lambda: self.answers())

    def answers(self):
        expect(self.process.poll() is None, f"{self.name} ended: {open(os.path.join(self.root, 'out')).read()}")
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def __enter__(self):
        return self

    def __exit__(self, kind, e, tb):
        end_process(self.process, 10)
        self.log.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def device(self, s, **options):
        return CertDevice(s, port=self.mtls_port, front=self.port, ca=self.ca, **options)


# Each hides the beginning of a second request where one of two readers might see it.
HIDDEN = b"GET /smuggled HTTP/1.1\r\nX: "
SMUGGLED = {
    "both lengths": b"PUT /mdm HTTP/1.1\r\nHOST\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (len(HIDDEN) + 5) + HIDDEN,
    "both lengths, the other way": b"PUT /mdm HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n",
    "a spaced coding": b"PUT /mdm HTTP/1.1\r\nHOST\r\nContent-Length: %d\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" % (len(HIDDEN) + 5) + HIDDEN,
    "a coding with a tab": b"PUT /mdm HTTP/1.1\r\nHOST\r\nContent-Length: %d\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n" % (len(HIDDEN) + 5) + HIDDEN,
    "an unknown coding": b"PUT /mdm HTTP/1.1\r\nHOST\r\nContent-Length: %d\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" % (len(HIDDEN) + 5) + HIDDEN,
    "two codings": b"PUT /mdm HTTP/1.1\r\nHOST\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two lengths": b"PUT /mdm HTTP/1.1\r\nHOST\r\nContent-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "a list of lengths": b"PUT /mdm HTTP/1.1\r\nHOST\r\nContent-Length: 0, %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "a signed length": b"PUT /mdm HTTP/1.1\r\nHOST\r\nContent-Length: +%d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "a folded line": b"PUT /mdm HTTP/1.1\r\nHOST\r\nX: y\r\n Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "a bare line feed": b"PUT /mdm HTTP/1.1\r\nHOST\r\nX: y\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "a bare carriage return": b"PUT /mdm HTTP/1.1\r\nHOST\r\nX: y\rContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "a length on a GET": b"GET / HTTP/1.1\r\nHOST\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "a body that was refused": b"PUT /nowhere HTTP/1.1\r\nHOST\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "a chunk with an odd size": b"PUT /mdm HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n" + HIDDEN,
    "a chunk extension": b"PUT /mdm HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\n1;a=\nb\r\na\r\n0\r\n\r\n" + HIDDEN,
    "a header in the trailer": b"PUT /mdm HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nClient-Cert: x\r\n\r\n",
    "an upgrade": b"GET / HTTP/1.1\r\nHOST\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + HIDDEN,
    "a header that Connection names": b"PUT /mdm HTTP/1.1\r\nHOST\r\nConnection: Client-Cert, X-Forwarded-For\r\nContent-Length: 0\r\n\r\n",
}


def through(name):
    with serve(*proxied("127.0.0.1"), "--set", "server.queue=64") as s, Front(s, name) as front:
        a, b = enroll(front.device(s)), enroll(front.device(s, version=ssl.TLSVersion.TLSv1_2))
        equal(s.cli("device", "show", a.udid)["enrolled"], True)
        equal(a.idle(), (200, b""), "Idle")
        # Both devices share the proxy's connections to the server, and neither becomes the other.
        for _ in range(5):
            equal((a.idle(), b.idle()), ((200, b""), (200, b"")), "in turn")
            refused(a.idle(body=plistlib.dumps({"UDID": b.udid, "Status": "Idle"})), 403, "POM-E4103", "a's certificate, b's UDID")
        # What clients put into the headers themselves is deleted.
        for value in (rfc9440(b.cert), nginx_escaped(b.cert), "garbage"):
            for header in (HEADER, HEADER.lower(), "client_cert"):
                equal(a.idle(headers=[(header, value)]), (200, b""), "on the listener for certificates the proxy's header counts")
        liar = front.device(s, udid=b.udid)
        liar.mdm, liar.port, liar.shown = b.mdm, front.port, ()
        for port in (front.port, front.mtls_port):
            liar.hang_up().port = port
            for value in (rfc9440(b.cert), nginx_escaped(b.cert), "garbage", ""):
                for header in (HEADER, HEADER.lower(), "client_cert"):
                    refused(liar.idle(headers=[(header, value)]), 400, "POM-E4101", f"{header}: a header of the client's own, port {port == front.port and 1 or 2}")
                    liar.hang_up()
            refused(liar.idle(headers=[(HEADER, ""), (HEADER, rfc9440(b.cert))]), 400, "POM-E4101", "two of them")
            liar.hang_up()
            # Nor does it say who the client is.
            refused(liar.idle(headers=[("X-Forwarded-For", "192.0.2.66")]), 400, "POM-E4101", "refused, and logged")
            expect("192.0.2.66" not in s.logs(), "the client chose its own address")
            liar.hang_up()
        # What proxy and server could read differently leaves nothing behind in the connections that they share.
        for what, raw in SMUGGLED.items():
            with front.device(s).context().wrap_socket(socket.create_connection(("127.0.0.1", front.port)), server_hostname="127.0.0.1") as c:
                c.sendall(raw.replace(b"HOST", b"Host: mdm.example.org"))
                c.settimeout(0.2)
                with contextlib.suppress(TimeoutError, OSError):
                    while c.recv(65536):
                        pass
            equal((a.idle(), b.idle()), ((200, b""), (200, b"")), f"after {what}")
        # Strangers' certificates.
        a.hang_up().shown = own_foreign(a)
        refused(a.idle(), 403, "POM-E2102", "a stranger")
        a.hang_up().shown = own_foreign(a, -1)
        equal(a.idle()[0], 400 if name == "nginx" else 403, "an expired stranger: nginx refuses by itself")
        a.hang_up().shown = (b.key, b.cert)
        refused(a.idle(), 403, "POM-E4103", "b's certificate")
        a.hang_up().shown = ()
        equal(a.signed(), (200, b""), "a signature alone, where certificates are asked for")
        a.port = front.port
        equal(a.hang_up().signed(), (200, b""), "a signature alone, where nobody is asked")
        a.hang_up().port, a.shown = front.mtls_port, None
        equal(a.signed(), (200, b""), "both")
        refused(a.signed((b.key, b.cert)), 403, "POM-E4105", "of two devices")
        # Large ones, both ways.
        sent = s.cli("command", "send", a.udid, "InstalledApplicationList")["command_uuid"]
        equal(a.idle()[1]["CommandUUID"], sent)
        equal(a.report(sent, Big=b"\x00\x01" * (2 << 20)), (200, b""), "a report of 5 MB")
        status, reply = a.put({}, body=b"x" * (11 << 20))
        expect(status == 413, f"a check-in of 11 MiB: {status}")
        a.hang_up()
        message = base64.b64encode(scep_message(make_csr(a.key, challenge="x" * 28000), a_ca(front, s), *throw_away(SCEP_SIGNER))).decode()
        status, body, _ = front.device(s).request("GET", "/scep?operation=PKIOperation&message=" + urllib.parse.quote(message, safe=""))
        expect(len(message) > 32768 and status == 200, f"SCEP by GET of {len(message)} bytes: {status} {body[:200]}")
        # A device that sends slowly, and a server that answers slowly.
        equal(slowly(front, s, a), 200, "a slow sender")
        s.process.send_signal(signal.SIGSTOP)
        timer = threading.Timer(2, lambda: s.process.send_signal(signal.SIGCONT))
        timer.start()
        started = time.monotonic()
        equal(a.idle(), (200, b""), "a slow server")
        timer.join()
        expect(time.monotonic() - started > 1.5, "the server was not slow")
        s.cli("ca", "revoke", serial(a.cert))
        refused(a.idle(), 403, "POM-E2104", "revoked")
        # While the server is away the device keeps what it has: anything but a 4xx.
        s.stop()
        a.hang_up()
        status, _ = b.hang_up().idle()
        expect(status in (502, 503, 504), f"without a server: {status}")
        s.start("--set", f"proxy.listen=127.0.0.1:{front_upstream(front, name)}")
        wait_for("the proxy finds the server again", lambda: b.hang_up().idle()[0] == 200)


def a_ca(front, s):
    status, body, headers = front.device(s).request("GET", "/scep?operation=GetCACert")
    equal(status, 200, "GetCACert")
    return scep_recipient(ca_certificates(body, headers["content-type"]))


def front_upstream(front, name):
    text = open(os.path.join(front.root, "nginx.conf" if name == "nginx" else "haproxy.cfg")).read()
    return re.search(r"server (?:pomona )?127\.0\.0\.1:(\d+)", text).group(1)


def slowly(front, s, device):
    body = plistlib.dumps({"UDID": device.udid, "Status": "Idle"})
    context = device.context((device.key, device.cert))
    with context.wrap_socket(socket.create_connection(("127.0.0.1", front.mtls_port)), server_hostname="127.0.0.1") as c:
        c.settimeout(30)
        c.sendall(f"PUT /mdm HTTP/1.1\r\nHost: mdm.example.org\r\nContent-Type: {REPORT}\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        step = len(body) // 6 + 1
        for at in range(0, len(body), step):
            c.sendall(body[at:at + step])
            time.sleep(0.3)
        return int(c.recv(4096).split()[1])


@case
def nginx():
    through("nginx")


@case
def haproxy():
    through("haproxy")


if __name__ == "__main__":
    main()
