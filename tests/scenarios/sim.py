"""The simulator's devices: the real `pomona sim device` against the real server, and against another one written in Python."""
import http.server
import ipaddress
import re
import stat
import threading

from harness import *

KINDS = {"iphone": ("iPhone16,1", r"00008130-[0-9A-F]{16}"), "ipad": ("iPad14,3", r"00008112-[0-9A-F]{16}"), "mac": ("Mac15,3", r"[0-9A-F-]{36}"),
         "appletv": ("AppleTV14,1", r"00008110-[0-9A-F]{16}")}
# Those that take a Profile Service or a watch are in sim_ota.py.
ELSEWHERE = ("ota-", "watch-")
TWO_DEVICES = ["others-return", "others-certificate", "others-command", "re-enroll"]
NEED_COMMAND = ["others-command", "replay", "not-now", "format-error"]


def eventually(check, what, seconds=20):
    until = time.time() + seconds
    while time.time() < until:
        value = check()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(what)


class Sim:
    """A running `pomona sim device`."""

    def __init__(self, *args, ca=None):
        self.process = subprocess.Popen([POMONA, "sim", "device", *(["--ca-file", ca] if ca else []), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait(self, code=0, timeout=90):
        self.out, self.err = self.process.communicate(timeout=timeout)
        expect(self.process.returncode == code, f"exit {self.process.returncode}, wanted {code}\n{self.out}{self.err}")
        return self

    def stop(self):
        self.process.terminate()
        return self.wait(timeout=15)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def steps(self):
        return [json.loads(line) for line in self.out.splitlines()]


def sim(s, *args, code=0):
    with Sim(*args, ca=s.root_ca) as p:
        return p.wait(code)


def enrolled(s, n=1):
    """The devices, once there are N that have enrolled."""
    def look():
        devices = [e for e in s.cli("device", "list") if e["state"] == "enrolled"]
        return devices if len(devices) >= n else None
    return eventually(look, f"{n} enrolled devices")


def answered(s, uuid, status="Acknowledged"):
    eventually(lambda: s.cli("command", "show", uuid)["status"] == status, f"{uuid} is {status}")
    return s.cli("command", "show", uuid)


def make(kind):
    def fn():
        with Server() as s, Sim("--kind", kind, "--json", s.link()["url"], ca=s.root_ca) as p:
            device = enrolled(s)[0]
            expect(re.fullmatch(KINDS[kind][1], device["udid"]), device["udid"])
            commands = [s.cli("command", "send", device["udid"], *c)["command_uuid"] for c in
                        [["DeviceInformation", "--force", 'Queries=["ProductName","SerialNumber","Nonsense"]'], ["SecurityInfo"], ["ProfileList"], ["InstalledApplicationList"], ["CertificateList"]]]
            unknown = s.cli("command", "send", device["udid"], "--plist", "-", input=plistlib.dumps({"RequestType": "NoSuchRequest"}).decode())["command_uuid"]
            shown = s.cli("device", "show", device["udid"])
            equal((shown["has_unlock_token"], shown["product_name"]), (kind in ("iphone", "ipad"), KINDS[kind][0]))
            responses = answered(s, commands[0])["result"]["QueryResponses"]
            equal(responses, {"ProductName": KINDS[kind][0], "SerialNumber": shown["serial"]}, "unknown queries are left out")
            for uuid in commands:
                answered(s, uuid)
            equal(answered(s, unknown, "Error")["result"]["ErrorChain"][0]["ErrorCode"], 12021)
            steps = p.stop().steps()
            names = [x["step"] for x in steps]
            equal(names[:4], ["profile", "identity", "authenticate", "token_update"])
            equal("bootstrap_token" in names, kind == "mac")
            equal({(x["device"], x["kind"], x["simulated"]) for x in steps}, {(device["udid"], kind, True)})
            equal([x["status"] for x in steps if x["step"] == "command"], ["Acknowledged"] * 5 + ["Error"])
    fn.__name__ = f"a_simulated_{kind}_enrolls_and_answers"
    return fn


for k in KINDS:
    case(make(k))


@case
def every_line_says_that_it_is_simulated():
    with Server() as s:
        p = sim(s, "--polls", "1", s.link()["profile_url"])
        lines = p.out.splitlines()
        equal(len(lines), 4)
        expect(all(line.startswith("simulated iPhone 00008130-") for line in lines), p.out)
        expect("(signed by CN=Pomona Profile Signing" in lines[0] and "not verified" not in lines[0], lines[0])
        p = sim(s, "--polls", "1", "--quiet", s.link()["profile_url"])
        equal((p.out, p.err), ("", ""))
        p = sim(s, "--polls", "1", s.url + "/enroll/nonsense/profile", code=1)
        expect("the server answered 404" in p.err and "simulated iPhone" in p.err, p.err)
        with Sim("--polls", "1", s.link()["profile_url"]) as p:
            code = p.process.wait(20)
            expect(code != 0 and "certificate" in p.wait(code).err, f"without a trust root: {p.err}")


@case
def state_is_taken_up_again():
    with Server() as s:
        state = os.path.join(s.root, "state")
        sim(s, "--polls", "0", "--state", state, s.link()["profile_url"])
        equal({stat.S_IMODE(os.stat(os.path.join(state, f)).st_mode) for f in os.listdir(state)}, {0o600})
        device = enrolled(s)[0]
        uuid = s.cli("command", "send", device["udid"], "DeviceInformation", "--force")["command_uuid"]
        p = sim(s, "--polls", "1", "--state", state, "--json", "none")
        equal([x["step"] for x in p.steps()], ["resumed", "command"])
        equal(answered(s, uuid)["result"]["QueryResponses"]["UDID"], device["udid"])
        p = sim(s, "--kind", "mac", "--polls", "1", "--state", state, "none", code=1)
        expect("holds a simulated iphone" in p.err, p.err)
        # What a device is told to forget, it forgets.
        s.cli("command", "send", device["udid"], "EraseDevice")
        p = sim(s, "--polls", "5", "--state", state, "none")
        expect("has been erased" in p.out, p.out)
        equal(os.listdir(state), [])


@case
def a_removed_profile_checks_out():
    with Server() as s, Sim(s.link()["profile_url"], ca=s.root_ca) as p:
        device = enrolled(s)[0]
        identifier = plistlib.loads(subprocess.run(["openssl", "cms", "-verify", "-noverify", "-inform", "DER"], input=s.profile(s.link()), capture_output=True).stdout)["PayloadIdentifier"]
        body = plistlib.dumps({"PayloadType": "Configuration", "PayloadIdentifier": "org.example.wifi", "PayloadVersion": 1, "PayloadUUID": "x", "PayloadContent": []})
        raw = plistlib.dumps({"Command": {"RequestType": "InstallProfile", "Payload": body}}).decode()
        answered(s, s.cli("command", "send", device["udid"], "--plist", "-", input=raw)["command_uuid"])
        listed = answered(s, s.cli("command", "send", device["udid"], "ProfileList")["command_uuid"])["result"]["ProfileList"]
        equal([x["PayloadIdentifier"] for x in listed], [identifier, "org.example.wifi"])
        for status in ("Acknowledged", "Error"):
            answered(s, s.cli("command", "send", device["udid"], "RemoveProfile", "Identifier=org.example.wifi")["command_uuid"], status)
        # The server refuses to send this: it is put into the queue past it, in place of the person who removes the profile on the device.
        s.refused("command", "send", device["udid"], "RemoveProfile", f"Identifier={identifier}", text="POM-E5221")
        body = plistlib.dumps({"CommandUUID": "by-hand", "Command": {"RequestType": "RemoveProfile", "Identifier": identifier}})
        s.sql("INSERT INTO command (enrollment_id, seq, uuid, epoch, request_type, body, created_at, not_now_at, n_not_now) VALUES (?, 'F', 'by-hand', ?, 'RemoveProfile', ?, 0, 0, 0)",
              device["id"], s.cli("device", "show", device["id"])["epoch"], body)
        s.cli("device", "push", device["id"])
        p.wait()
        equal(s.cli("device", "show", device["udid"])["state"], "ended")


@case
def a_new_identity_is_taken_over():
    """The server sends a new enrollment profile: the device speaks with the new identity, also after a rekey of the CA, and when it came as PKCS#12."""
    for args in ((), ("--set", "identity.source=pkcs12")):
        with Server(*args) as s:
            with Sim("--kind", "ipad", "--json", s.link()["profile_url"], ca=s.root_ca) as p:
                device = enrolled(s)[0]
                first = s.cli("device", "show", device["id"])["certificate_serial"]
                s.cli("device", "renew", device["id"])
                second = eventually(lambda: (lambda serial: serial != first and serial)(s.cli("device", "show", device["id"])["certificate_serial"]), "a new identity is used")
                if not args:
                    s.cli("ca", "rekey")
                    eventually(lambda: not s.cli("ca", "devices")["anchor"], "the new root is acknowledged")
                    s.cli("ca", "rekey", "--activate")
                    eventually(lambda: not s.cli("ca", "devices")["identity"], "the identity of the new CA is used", 60)
                    s.cli("ca", "rekey", "--finish")
                    expect(s.cli("device", "show", device["id"])["certificate_serial"] not in (first, second), "a third identity")
                uuid = s.cli("command", "send", device["id"], "DeviceInformation", 'Queries=["OSVersion"]')["command_uuid"]
                answered(s, uuid)
                p.stop()
            steps = [line["step"] for line in p.steps()]
            expect(steps.count("identity") >= 2 and "profile_updated" in steps, str(steps))


@case
def a_result_is_kept_while_the_server_is_away():
    with Server() as s, Sim(s.link()["profile_url"], ca=s.root_ca) as p:
        device = enrolled(s)[0]
        s.stop()
        time.sleep(2)
        s.start()
        answered(s, s.cli("command", "send", device["udid"], "DeviceInformation", "--force")["command_uuid"])
        expect("tries again in" in p.stop().out, p.out)


@case
def pushes_wake_devices():
    with Server(push_cert=False) as s:
        folder = os.path.join(s.root, "apns")
        apns = subprocess.Popen([POMONA, "sim", "apns", "--dir", folder, "--quiet"])
        try:
            path = os.path.join(folder, "apns.json")
            eventually(lambda: os.path.exists(path), "the simulated APNs")
            ports = json.load(open(path))
            s.restart("--apns-url", f"https://127.0.0.1:{ports['port']}", "--apns-root", os.path.join(folder, "root.pem"))
            s.cli("push-cert", "import", os.path.join(folder, "push.pem"))
            with Sim("--apns", f"127.0.0.1:{ports['wake_port']}", "--json", s.link()["profile_url"], ca=s.root_ca) as p:
                device = enrolled(s)[0]
                started = time.time()
                for _ in range(3):
                    answered(s, s.cli("command", "send", device["udid"], "DeviceInformation", "--force")["command_uuid"])
                expect(time.time() - started < 15, "pushes are slow")
                steps = [x["step"] for x in p.stop().steps()]
            expect(steps.count("push") >= 3 and steps.count("command") == 3, steps)
            expect("retry" not in steps and "refused" not in steps, steps)
        finally:
            apns.terminate()
            apns.wait(10)


@case
def many_devices_at_once():
    with Server() as s:
        urls = [s.link()["profile_url"] for _ in range(12)]
        path = os.path.join(s.root, "urls")
        pathlib.Path(path).write_text("\n".join(urls[1:]) + "\n")
        state = os.path.join(s.root, "state")
        p = sim(s, "--count", "12", "--url-file", path, "--polls", "2", "--state", state, "--json", urls[0])
        equal(len({x["device"] for x in p.steps()}), 12)
        equal(len(enrolled(s, 12)), 12)
        equal(len(os.listdir(state)), 12)
        # One link has been used up: that device fails, the others do not.
        urls = [urls[0]] + [s.link()["profile_url"] for _ in range(2)]
        pathlib.Path(path).write_text("\n".join(urls[1:]) + "\n")
        p = sim(s, "--count", "3", "--url-file", path, "--polls", "1", urls[0], code=1)
        expect("1 of 3 failed" in p.err, p.err)
        equal(len(enrolled(s, 14)), 14)


@case
def every_misbehavior_is_met_as_it_must_be():
    names = [line.split()[0] for line in run("sim", "device", "--misbehave", "list", "x").splitlines()]
    names = [name for name in names if not name.startswith(ELSEWHERE)]
    expect(len(names) >= 20, names)
    with Server() as s:
        done = set()
        for number, name in enumerate(names):
            args = ["--kind", list(KINDS)[number % len(KINDS)], "--json", "--misbehave", name]
            if name in TWO_DEVICES:
                path = os.path.join(s.root, "urls")
                pathlib.Path(path).write_text(s.link()["profile_url"] + "\n")
                args += ["--url-file", path]
            with Sim(*args, s.link()["profile_url"], ca=s.root_ca) as p:
                if name in NEED_COMMAND:
                    # The first device is the one that waits.
                    fresh = eventually(lambda: [e["udid"] for e in s.cli("device", "list") if e["state"] == "enrolled" and e["udid"] not in done], name)
                    if name in TWO_DEVICES:
                        fresh = eventually(lambda: (lambda n: n if len(n) == 2 else None)([e["udid"] for e in s.cli("device", "list") if e["udid"] not in done]), name)
                    for udid in fresh:
                        s.cli("command", "send", udid, "ProfileList")
                p.wait()
            equal(p.steps()[-1].get("passed"), True, name)
            done |= {e["udid"] for e in s.cli("device", "list")}
    p = sim(s, "--misbehave", "nonsense", "x", code=2)
    expect("there is no misbehavior" in p.err, p.err)


# ---------------------------------------------------------------- another MDM server

def issue(subject, key, issuer_cert, issuer_key, *extensions):
    now = datetime.datetime.utcnow()
    builder = (x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])).issuer_name(issuer_cert.subject)
               .public_key(key.public_key() if hasattr(key, "public_key") else key).serial_number(x509.random_serial_number())
               .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=30)))
    for extension in extensions:
        builder = builder.add_extension(extension, False)
    return builder.sign(issuer_key, hashes.SHA256())


def usage(*names):
    every = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    return x509.KeyUsage(**{n: n in names for n in every})


class Foreign:
    """A server that does everything otherwise than Pomona, as other servers do: an unsigned profile, plain-HTTP SCEP with a query and an RA under a
    root, by GET only, with approval by hand; no Mdm-Signature but a TLS client certificate; two URLs."""

    def __init__(self):
        self.root_key, self.ra_key, self.tls_key = rsa_key(), rsa_key(), rsa_key()
        now = datetime.datetime.utcnow()
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Foreign Root")])
        self.root = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.root_key.public_key()).serial_number(x509.random_serial_number())
                     .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=30))
                     .add_extension(x509.BasicConstraints(True, None), True).add_extension(usage("key_cert_sign", "digital_signature"), True).sign(self.root_key, hashes.SHA256()))
        self.ra = issue("Foreign RA", self.ra_key, self.root, self.root_key, usage("digital_signature", "key_encipherment"))
        tls = issue("127.0.0.1", self.tls_key, self.root, self.root_key, x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]))
        self.folder = tempfile.mkdtemp(prefix="pomona-foreign-")
        self.write("root.pem", self.root.public_bytes(serialization.Encoding.PEM))
        self.write("tls.pem", tls.public_bytes(serialization.Encoding.PEM) + pem_key(self.tls_key))
        self.issued, self.types, self.messages, self.problems = None, [], [], []
        self.fail_next_token_update = True
        self.servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler()) for _ in range(2)]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(self.folder, "tls.pem"))
        context.load_verify_locations(os.path.join(self.folder, "root.pem"))
        context.verify_mode = ssl.CERT_OPTIONAL
        self.servers[1].socket = context.wrap_socket(self.servers[1].socket, server_side=True)
        self.http, self.https = [x.server_address[1] for x in self.servers]
        for x in self.servers:
            threading.Thread(target=x.serve_forever, daemon=True).start()

    def write(self, name, data):
        path = os.path.join(self.folder, name)
        pathlib.Path(path).write_bytes(data)
        return path

    def close(self):
        for x in self.servers:
            x.shutdown()
            x.server_close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def profile(self):
        return self.write("foreign.mobileconfig", plistlib.dumps({
            "PayloadType": "Configuration", "PayloadVersion": 1, "PayloadIdentifier": "org.example.foreign", "PayloadUUID": "A", "PayloadContent": [
                {"PayloadType": "com.apple.security.root", "PayloadVersion": 1, "PayloadIdentifier": "r", "PayloadUUID": "R", "PayloadContent": der(self.root)},
                {"PayloadType": "com.apple.security.scep", "PayloadVersion": 1, "PayloadIdentifier": "s", "PayloadUUID": "S", "PayloadContent": {
                    "URL": f"http://127.0.0.1:{self.http}/scep?profile=one", "Name": "My & CA", "Challenge": "sécret", "Key Usage": 1, "RetryDelay": 1,
                    "CAFingerprint": hashlib.sha1(der(self.root)).digest(), "Subject": [[["C", "CZ"]], [["CN", "device"], ["2.5.4.5", "S1"]]],
                    "SubjectAltName": {"dNSName": ["a.example.org", "b.example.org"]}}},
                {"PayloadType": "com.apple.mdm", "PayloadVersion": 1, "PayloadIdentifier": "m", "PayloadUUID": "M", "IdentityCertificateUUID": "S", "Topic": TOPIC,
                 "ServerURL": f"https://127.0.0.1:{self.https}/server", "CheckInURL": f"https://127.0.0.1:{self.https}/checkin"}]}))

    def certs_only(self, *certs):
        return cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData({
            "version": "v1", "digest_algorithms": [], "encap_content_info": {"content_type": "data"},
            "certificates": [asn1_x509.Certificate.load(der(c)) for c in certs], "signer_infos": []})}).dump()

    def scep(self, query):
        if query["operation"] == ["GetCACert"]:
            equal(query["message"], ["My & CA"])
            return "application/x-x509-ca-ra-cert", self.certs_only(self.root, self.ra)
        if query["operation"] == ["GetCACaps"]:
            return "text/plain", b"SHA-1\nDES3\n"
        # Apple's clients leave '+' as it is, which a form decoder takes for a space.
        return "application/x-pki-message", self.pki(base64.b64decode(query["message"][0].replace(" ", "+"), validate=True))

    def pki(self, message):
        equal(message[:2], b"\x30\x80", "BER of indefinite length")
        signed = cms.ContentInfo.load(message)["content"]
        attributes = {a["type"].dotted: a["values"][0].native for a in signed["signer_infos"][0]["signed_attrs"]}
        self.types.append(attributes[SCEP + "2"])
        signer = der(x509.load_der_x509_certificate(signed["certificates"][0].chosen.dump()))
        content = open_enveloped(signed["encap_content_info"]["content"].native, self.ra_key)
        reply = [scep_attribute(SCEP + "2", core.PrintableString("3")), scep_attribute(SCEP + "7", core.PrintableString(attributes[SCEP + "7"])),
                 scep_attribute(SCEP + "5", core.OctetString(secrets.token_bytes(16))), scep_attribute(SCEP + "6", core.OctetString(attributes[SCEP + "5"]))]
        if len(self.types) == 1:
            self.request = x509.load_der_x509_csr(content)
        if len(self.types) < 3:
            return signed_data(self.ra_key, self.ra, b"", "sha1", hashes.SHA1, [*reply, scep_attribute(SCEP + "3", core.PrintableString("3"))], detached=True)
        self.issued = issue("device", self.request.public_key(), self.root, self.root_key)
        inner = enveloped_data(self.certs_only(self.issued), signer)
        return signed_data(self.ra_key, self.ra, inner, "sha1", hashes.SHA1, [*reply, scep_attribute(SCEP + "3", core.PrintableString("0"))])

    def mdm(self, path, message, peer):
        equal(peer, der(self.issued), "TLS client certificate")
        equal(path, "/checkin" if "MessageType" in message else "/server")
        self.messages.append(message)
        if message.get("MessageType") == "TokenUpdate" and self.fail_next_token_update:
            self.fail_next_token_update = False
            return 500, b""
        if message.get("Status") == "Idle":
            if sum(m.get("Status") == "Idle" for m in self.messages) > 1:
                return 401, b""
            return 200, plistlib.dumps({"CommandUUID": "C1", "Command": {"RequestType": "DeviceInformation", "Queries": ["UDID"]}})
        return 200, b""

    def handler(foreign):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, make):
                try:
                    status, kind, body = make()
                except BaseException:
                    foreign.problems.append(traceback.format_exc())
                    status, kind, body = 418, "text/plain", b""
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                self.answer(lambda: (200, *foreign.scep(query)) if query["profile"] == ["one"] else None)

            def do_PUT(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))

                def make():
                    equal(self.headers["Mdm-Signature"], None)
                    status, reply = foreign.mdm(self.path, plistlib.loads(body), self.connection.getpeercert(True))
                    return status, "application/xml", reply
                self.answer(make)
        return Handler


@case
def another_server_is_understood():
    foreign = Foreign()
    try:
        state = os.path.join(foreign.folder, "state")
        with Sim("--kind", "ipad", "--json", "--state", state, foreign.profile()) as p:
            code = p.process.wait(60)
            p.wait(code)
        equal(foreign.problems, [], p.out + p.err)
        equal(code, 1, "a device that un-enrolled itself")
        expect("un-enrolls itself" in p.err, p.err)
        # Two GETs of PENDING, then the certificate.
        equal(foreign.types, ["19", "20", "20"])
        equal([{(a.oid.dotted_string, a.value) for a in rdn} for rdn in foreign.request.subject.rdns], [{("2.5.4.6", "CZ")}, {("2.5.4.3", "device"), ("2.5.4.5", "S1")}])
        names = foreign.request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
        equal(names, ["a.example.org", "b.example.org"])
        equal([m.get("MessageType") or m["Status"] for m in foreign.messages], ["Authenticate", "TokenUpdate", "TokenUpdate", "Idle", "Acknowledged", "Idle"])
        equal(foreign.messages[1], foreign.messages[2], "the same again after a 500")
        equal(foreign.messages[4]["QueryResponses"], {"UDID": foreign.messages[0]["UDID"]})
        equal([x["step"] for x in p.steps()], ["profile", "identity", "authenticate", "retry", "token_update", "command", "unenrolled", "refused"])
        equal(os.listdir(state), [], "the identity is forgotten")
    finally:
        foreign.close()


if __name__ == "__main__":
    main()
