"""The simulator where a device gets its enrollment profile in another way than by a link to it: over the air, and a watch through its phone; and profiles that come by command.
Against a server in Python that accepts only what Apple documents, and that can answer wrongly."""
import http.server
import ipaddress

from harness import *

SIGNED = "application/pkcs7-signature"
PROFILE = "application/x-apple-aspen-config"
ATTRIBUTES = ["UDID", "SERIAL", "PRODUCT", "VERSION", "IMEI", "MEID", "ICCID", "OS_VERSION", "LANGUAGE"]
MISSING = "com.apple.watch.pairing.token.missing"


class Process:
    """A running `pomona sim device`."""

    def __init__(self, *args):
        self.process = subprocess.Popen([POMONA, "sim", "device", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait(self, code=0):
        self.out, self.err = self.process.communicate(timeout=90)
        expect(self.process.returncode == code, f"exit {self.process.returncode}, wanted {code}\n{self.out}{self.err}")
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def device(*args, code=0):
    with Process(*args) as p:
        return p.wait(code)


def steps(p):
    return [json.loads(line) for line in p.out.splitlines()]


def issue(subject, key, issuer, issuer_key, *extensions):
    now = datetime.datetime.utcnow()
    builder = (x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])).issuer_name(issuer.subject).public_key(key.public_key())
               .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=30)))
    for extension in extensions:
        builder = builder.add_extension(extension, False)
    return builder.sign(issuer_key, hashes.SHA256())


def read_signed(data):
    """What an Apple device signs of itself: BER of indefinite length, SHA-1, no signed attributes. (content, certificates, the signer first)"""
    equal(data[:2], b"\x30\x80", "BER of indefinite length")
    signed = cms.ContentInfo.load(data)["content"]
    info = signed["signer_infos"][0]
    equal((info["digest_algorithm"]["algorithm"].native, info["signed_attrs"].native), ("sha1", None))
    content = signed["encap_content_info"]["content"].native
    certificates = [x509.load_der_x509_certificate(c.chosen.dump()) for c in signed["certificates"]]
    serial = info["sid"].chosen["serial_number"].native
    certificates.sort(key=lambda c: c.serial_number != serial)
    equal(certificates[0].serial_number, serial)
    certificates[0].public_key().verify(info["signature"].native, content, padding.PKCS1v15(), hashes.SHA1())
    return content, certificates


def payload(kind, uuid, **more):
    return {"PayloadType": kind, "PayloadVersion": 1, "PayloadIdentifier": "org.example." + uuid, "PayloadUUID": uuid, **more}


class Strict:
    """An MDM server with a Profile Service and watches. `change` names a document ("service", "identity", "final") and a function that spoils it."""

    def __init__(self, factory, change=(None, None)):
        self.device_ca = load_pem(pathlib.Path(factory, "device-ca.pem").read_text())
        self.change = change
        self.root_key, self.tls_key = rsa_key(), rsa_key()
        now = datetime.datetime.utcnow()
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Strict Root")])
        self.root = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.root_key.public_key()).serial_number(x509.random_serial_number())
                     .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=30)).add_extension(x509.BasicConstraints(True, None), True)
                     .sign(self.root_key, hashes.SHA256()))
        self.tls = issue("127.0.0.1", self.tls_key, self.root, self.root_key, x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]))
        self.folder = tempfile.mkdtemp(prefix="pomona-strict-")
        self.ca_file = os.path.join(self.folder, "root.pem")
        pathlib.Path(self.ca_file).write_bytes(self.root.public_bytes(serialization.Encoding.PEM))
        tls_file = os.path.join(self.folder, "tls.pem")
        pathlib.Path(tls_file).write_bytes(self.tls.public_bytes(serialization.Encoding.PEM) + pem_key(self.tls_key))
        self.problems, self.posts, self.messages, self.transport, self.identities = [], [], [], None, []
        self.security = "6F9619FF-8B86-4011-B42D-00CF4FC964FF"
        self.commands, self.n_commands = [], 0
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls_file)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def spoil(self, name, tree):
        if self.change[0] == name:
            return self.change[1](tree)
        return tree

    def sign(self, tree):
        data = tree if isinstance(tree, bytes) else plistlib.dumps(tree)
        return signed_data(self.tls_key, self.tls, data, "sha256", hashes.SHA256, [])

    def service(self):
        return self.sign(self.spoil("service", payload("Profile Service", "PS", PayloadContent={
            "URL": self.url + "/ota", "DeviceAttributes": ATTRIBUTES, "Challenge": "one & only"})))

    def new_identity(self, name):
        key = rsa_key()
        self.identities.append((key, issue(name, key, self.root, self.root_key)))
        return self.identities[-1]

    def pkcs12(self, uuid, name):
        key, cert = self.new_identity(name)
        how = serialization.PrivateFormat.PKCS12.encryption_builder().kdf_rounds(2000).key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(hashes.SHA1())
        return payload("com.apple.security.pkcs12", uuid, Password="secret", PayloadContent=pkcs12.serialize_key_and_certificates(b"n", key, cert, None, how.build(b"secret")))

    def enrollment(self):
        return [payload("com.apple.security.root", "R", PayloadContent=der(self.root)), self.pkcs12("S", "MDM identity"),
                payload("com.apple.mdm", "M", IdentityCertificateUUID="S", Topic=TOPIC, ServerURL=self.url + "/mdm", SignMessage=True, ServerCapabilities=["com.apple.mdm.token"])]

    def final(self, recipient):
        """The encrypted final profile."""
        content = enveloped_data(plistlib.dumps(self.enrollment()), der(recipient), "aes256_cbc")
        return self.sign(self.spoil("final", payload("Configuration", "F", EncryptedPayloadContent=content)))

    def check_factory(self, certificates):
        equal([c.subject for c in certificates[1:]], [self.device_ca.subject], "the device CA goes along")
        self.device_ca.public_key().verify(certificates[0].signature, certificates[0].tbs_certificate_bytes, padding.PKCS1v15(), certificates[0].signature_hash_algorithm)

    def ota(self, body):
        content, certificates = read_signed(body)
        attributes = plistlib.loads(content)
        self.posts.append(attributes)
        if self.transport and certificates[0] == self.transport:
            equal(len(certificates), 1)
            return 200, PROFILE, self.final(self.transport)
        self.check_factory(certificates)
        equal(attributes["CHALLENGE"], "one & only")
        identity = self.pkcs12("P", "transport")
        self.transport = self.identities[-1][1]
        return 200, PROFILE, self.sign(self.spoil("identity", payload("Configuration", "I", PayloadContent=[identity])))

    def watch(self, body):
        content, certificates = read_signed(body)
        info = plistlib.loads(content)
        self.posts.append(info)
        self.check_factory(certificates)
        if "PAIRING_TOKEN" not in info:
            return 403, "application/json", json.dumps(self.spoil("missing", {"code": MISSING, "details": {"security-token": self.security}})).encode()
        equal(info["PAIRING_TOKEN"], b"granted")
        return 200, PROFILE, self.sign(payload("Configuration", "F", PayloadContent=self.enrollment()))

    def mdm(self, message):
        self.messages.append(message)
        if message.get("MessageType") == "GetToken":
            equal((message["TokenServiceType"], message["TokenParameters"]["SecurityToken"]), ("com.apple.watch.pairing", self.security))
            return plistlib.dumps({"TokenData": b"granted"})
        if "Status" in message and self.commands:
            self.n_commands += 1
            return plistlib.dumps({"CommandUUID": f"C{self.n_commands}", "Command": self.commands.pop(0)})
        return b""

    def ask(self, kind, **more):
        """The report of the running device."""
        uuid = f"C{self.n_commands + 1}"
        self.commands.append({"RequestType": kind, **more})
        return wait_for(kind, lambda: next((m for m in self.messages if m.get("CommandUUID") == uuid), None))

    def handler(strict):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, make):
                try:
                    status, kind, body = make(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                except BaseException:
                    strict.problems.append(traceback.format_exc())
                    status, kind, body = 418, "text/plain", b""
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                if self.path == "/profile":
                    self.answer(lambda _: (200, PROFILE, strict.sign(payload("Configuration", "F", PayloadContent=strict.enrollment()))))
                else:
                    self.answer(lambda _: (200, PROFILE, strict.service()))

            def do_POST(self):
                def make(body):
                    equal((self.headers["Content-Type"], self.headers["User-Agent"]), (SIGNED, "DeviceManagementClient/1.0"))
                    return strict.ota(body) if self.path == "/ota" else strict.watch(body)
                self.answer(make)

            def do_PUT(self):
                def make(body):
                    expect(self.headers["Mdm-Signature"], "Mdm-Signature")
                    return 200, "application/xml", strict.mdm(plistlib.loads(body))
                self.answer(make)
        return Handler


@contextlib.contextmanager
def strict(like_apple=True, change=(None, None)):
    folder = tempfile.mkdtemp(prefix="pomona-factory-")
    try:
        run("sim", "factory-ca", "--dir", folder, *(["--like-apple"] if like_apple else []))
        with Strict(folder, change) as server:
            server.factory = folder
            yield server
            equal(server.problems, [])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def over_the_air(server, *args, code=0):
    return device("--ca-file", server.ca_file, "--factory-ca", server.factory, "--polls", "1", "--json", *args, server.url + "/start", code=code)


@case
def three_phases():
    with strict() as server:
        p = over_the_air(server)
        equal([x["step"] for x in steps(p)], ["ota_service", "ota_identity", "profile", "identity", "authenticate", "token_update"])
        first, second = server.posts
        equal(set(first), set(ATTRIBUTES) - {"ICCID", "MEID"} | {"CHALLENGE"}, "unknown attributes are ignored, and what it does not have is left out")
        equal({k: v for k, v in first.items() if k != "CHALLENGE"}, second, "the same again, without the challenge")
        equal(steps(p)[2]["encrypted"], True)
        equal(server.messages[0]["UDID"], first["UDID"])
        equal(server.messages[0]["SerialNumber"], first["SERIAL"])


@case
def a_mac_tells_its_user():
    with strict(like_apple=False) as server:
        over_the_air(server, "--kind", "mac")
        expect({"UserID", "UserLongName", "UserShortName", "NotOnConsole"} <= set(server.posts[0]) & set(server.posts[1]), server.posts)


@case
def the_factory_identity_stays_with_the_device():
    with strict() as server:
        state = os.path.join(server.folder, "state")
        over_the_air(server, "--state", state)
        equal(sorted(os.listdir(state)), ["cert.pem", "device.plist", "factory.pem", "key.pem", "more.plist", "profile.mobileconfig"])
        equal({os.stat(os.path.join(state, f)).st_mode & 0o777 for f in os.listdir(state)}, {0o600})
        # What is encrypted on disk opens again.
        p = device("--ca-file", server.ca_file, "--polls", "1", "--json", "--state", state, "none")
        equal([x["step"] for x in steps(p)], ["resumed"])
        server.commands.append({"RequestType": "EraseDevice"})
        device("--ca-file", server.ca_file, "--polls", "2", "--state", state, "none")
        equal(os.listdir(state), ["factory.pem"], "erased")
        server.transport = None
        device("--ca-file", server.ca_file, "--polls", "0", "--state", state, server.url + "/start")
        equal(server.posts[-1]["UDID"], server.posts[0]["UDID"], "the same device")


def without(*keys):
    return lambda tree: {k: v for k, v in tree.items() if k not in keys}


def pkcs12_as_string(tree):
    inner = dict(tree["PayloadContent"][0])
    inner["PayloadContent"] = base64.b64encode(inner["PayloadContent"]).decode()
    return {**tree, "PayloadContent": [inner]}


def with_content(**more):
    return lambda tree: {**tree, "PayloadContent": {**tree["PayloadContent"], **more}}


@case
def wrong_answers_are_refused_as_a_device_does():
    rows = [
        ("service", lambda t: {**t, "PayloadContent": [t["PayloadContent"]]}, "PayloadContent is an array"),
        ("service", without("PayloadUUID"), "PayloadUUID is missing"),
        ("service", with_content(URL="http://127.0.0.1/ota"), "must begin with https://"),
        ("service", with_content(DeviceAttributes="UDID"), "DeviceAttributes"),
        ("identity", pkcs12_as_string, "24002"), ("identity", without("PayloadIdentifier"), "24002"), ("identity", without("PayloadUUID"), "24002"),
        ("identity", lambda t: {**t, "PayloadType": "Profile Service"}, "24002"), ("identity", lambda t: {**t, "PayloadContent": t["PayloadContent"] * 2}, "24002"),
        ("identity", lambda t: b"<html>", "24002"),
        ("final", lambda t: {**t, "PayloadType": "Profile Service"}, "MCInstallationErrorDomain 4011"), ("final", without("PayloadUUID"), "24003"),
        ("final", lambda t: {**t, "EncryptedPayloadContent": t["EncryptedPayloadContent"][:-20]}, "1006"),
    ]
    with strict() as server:
        for name, spoil, text in rows:
            server.change = (name, spoil)
            server.transport = None
            p = over_the_air(server, code=1)
            expect(text in p.err, f"{name} {text}: {p.err}")
            equal(server.messages, [], "nothing was enrolled")
        server.change = (None, None)
        p = device("--ca-file", server.ca_file, "--polls", "0", server.url + "/start", code=2)
        expect("--factory-ca" in p.err, p.err)


@case
def a_final_profile_for_another_identity_is_refused():
    with strict() as server:
        stranger = server.new_identity("stranger")
        right = server.final
        server.final = lambda _: right(stranger[1])
        p = over_the_air(server, code=1)
        expect("24003" in p.err and "not encrypted to any identity" in p.err, p.err)


# ---------------------------------------------------------------- watches

@case
def a_watch_enrolls_through_its_phone():
    with strict() as server:
        phone = os.path.join(server.folder, "phone")
        common = ["--ca-file", server.ca_file, "--polls", "1", "--json"]
        device(*common, "--supervised", "--state", phone, server.url + "/profile")
        p = device(*common, "--factory-ca", server.factory, "--kind", "watch", "--phone", phone, server.url + "/watch")
        equal([x["step"] for x in steps(p)], ["security_token", "get_token", "profile", "identity", "authenticate", "token_update"])
        first, second = server.posts
        equal({**first, "PAIRING_TOKEN": b"granted"}, second)
        asked = next(m for m in server.messages if m.get("MessageType") == "GetToken")
        phone_udid = server.messages[0]["UDID"]
        equal((asked["UDID"], asked["TokenParameters"]["PhoneUDID"], asked["TokenParameters"]["WatchUDID"]), (phone_udid, phone_udid, first["UDID"]))
        equal((server.messages[-2]["UDID"], server.messages[-2]["MessageType"]), (first["UDID"], "TokenUpdate"))
        # A document that is another refusal leads nowhere.
        for spoil in (lambda t: {**t, "code": "com.apple.unrecognized.device"}, lambda t: {"code": MISSING, "details": {}}):
            server.change = ("missing", spoil)
            p = device(*common, "--factory-ca", server.factory, "--kind", "watch", "--phone", phone, server.url + "/watch", code=1)
            expect("403 document" in p.err, p.err)


@case
def only_a_supervised_phone_brings_a_watch():
    with strict() as server:
        phone = os.path.join(server.folder, "phone")
        watch = ["--ca-file", server.ca_file, "--polls", "0", "--factory-ca", server.factory, "--kind", "watch"]
        p = device(*watch, server.url + "/watch", code=2)
        expect("--phone" in p.err, p.err)
        p = device(*watch, "--phone", phone, server.url + "/watch", code=2)
        expect("holds no enrolled simulated iPhone" in p.err, p.err)
        device("--ca-file", server.ca_file, "--polls", "0", "--state", phone, server.url + "/profile")
        p = device(*watch, "--phone", phone, server.url + "/watch", code=1)
        expect("not supervised" in p.err, p.err)


# ---------------------------------------------------------------- profiles by command

@case
def profiles_by_command():
    with strict() as server:
        common = ["--ca-file", server.ca_file, "--quiet", "--state", os.path.join(server.folder, "state")]
        key = rsa_key()
        signer = self_signed(key, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Signer")]))

        def sealed(recipient, uuid="SEALED"):
            content = enveloped_data(plistlib.dumps([payload("com.apple.wifi.managed", "W")]), der(recipient), "aes256_cbc")
            return signed_data(key, signer, plistlib.dumps(payload("Configuration", uuid, EncryptedPayloadContent=content)), "sha256", hashes.SHA256, [])

        def plain(*payloads, **more):
            return plistlib.dumps(payload("Configuration", "X", PayloadContent=list(payloads), **more))

        with Process(*common, "--supervised", server.url + "/profile") as p:
            equal(server.ask("DeviceInformation", Queries=["IsSupervised"])["QueryResponses"], {"IsSupervised": True})
            identity = server.identities[0][1]
            wifi, brought = payload("com.apple.wifi.managed", "W"), server.pkcs12("B", "brought")
            rows = [
                (sealed(identity), []), (sealed(identity).replace(b"SEALED", b"sealed"), [1004]), (sealed(signer), [1006]), (plistlib.dumps({"PayloadType": "Configuration"}), [1002]), (b"nothing", [1000]),
                (plain(wifi, wifi), [1007]), (plain(wifi, {**wifi, "PayloadUUID": "V"}), [1008]), (plain({**wifi, "PayloadVersion": "1"}), [1000, 2003]), (plain(payload("com.apple.mdm", "M")), [4001, 1009, 12001]),
                (plain({**brought, "Password": "wrong"}), [4001, 1009, 9000]), (plain(payload("com.apple.security.root", "R", PayloadContent=b"x")), [4001, 1009, 9005]), (plain(brought), []),
                (sealed(server.identities[-1][1], "SECOND"), []),
            ]
            for data, codes in rows:
                report = server.ask("InstallProfile", Payload=data)
                equal((report["Status"], [e["ErrorCode"] for e in report.get("ErrorChain", [])]), ("Error" if codes else "Acknowledged", codes))
            p.process.terminate()
            p.wait()
        with Process(*common, "none") as p:
            listed = {x["PayloadIdentifier"]: x for x in server.ask("ProfileList")["ProfileList"]}
            equal(set(listed), {"org.example." + x for x in ("F", "SEALED", "X", "SECOND")}, "kept over a restart")
            equal({x["PayloadIdentifier"] for x in server.ask("ProfileList", ManagedOnly=True)["ProfileList"]}, set(listed) - {"org.example.F"})
            entry = listed["org.example.SEALED"]
            equal((entry["IsEncrypted"], entry["IsManaged"], entry["PayloadContent"][0]["PayloadType"], entry["SignerCertificates"]), (True, True, "com.apple.wifi.managed", [der(signer)]))
            certificates = {(c["CommonName"], c["IsIdentity"]) for c in server.ask("CertificateList")["CertificateList"]}
            equal(certificates, {("MDM identity", True), ("brought", True), ("Strict Root", False)})
            equal(server.ask("RemoveProfile", Identifier="org.example.X")["Status"], "Acknowledged")
            report = server.ask("RemoveProfile", Identifier="org.example.X")
            equal((report["Status"], report["ErrorChain"][0]["ErrorCode"]), ("Error", 12075))
            p.process.terminate()
            p.wait()


if __name__ == "__main__":
    main()
