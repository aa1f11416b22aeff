"""The push certificate from nothing to renewal, against stand-ins for Apple's two pages; and every file that people take for it by mistake."""
import http.server
import pty
import termios

from harness import *

# Nobody listens there: pushes are not what this is about.
NO_APNS = ("--apns-url", "https://127.0.0.1:1")
ACCOUNT = "mdm@example.org"


def keep(s, name, data):
    """A file of this test; its path."""
    path = os.path.join(s.root, name)
    pathlib.Path(path).write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def read(path):
    return pathlib.Path(path).read_bytes()


class Portal:
    """`pomona sim portal`: Apple's developer page and push certificates portal."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="pomona-portal-")
        run("sim", "portal", "make", "--dir", self.dir)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    @property
    def settings(self):
        return ("--set", f"push.extra_roots={self.path('root.pem')}", "--set", "push.chain_urls=", *NO_APNS)

    def upload(self, action, file, out, *args):
        run("sim", "portal", action, file, "--dir", self.dir, "--out", self.path(out), *args)
        return self.path(out)

    def refuses(self, file, text):
        p = subprocess.run([POMONA, "sim", "portal", "create", file, "--dir", self.dir, "--account", ACCOUNT, "--out", self.path("none")], capture_output=True, text=True, timeout=60)
        expect(p.returncode != 0 and text in p.stderr, f"wanted {text!r}: {p.stderr}")

    def vendor(self, s, out="mdm.cer", **options):
        """Apple's answer to a new vendor request of S."""
        csr = keep(s, "vendor.csr", s.cli("push-cert", "vendor-csr", "--new")["csr"])
        return self.upload("developer", csr, out, *(f"--{k}={v}" for k, v in options.items()))

    def certificate(self, s, out="push.pem", days=365, topic=None):
        """Apple's answer to the signed request of S."""
        document = self.path("document")
        request = s.cli("push-cert", "csr", *(("--renew", topic) if topic else ()))["id"]
        pathlib.Path(document).write_text(s.cli("push-cert", "sign", "--request", request)["document"])
        return self.upload("renew" if topic else "create", document, out, "--account", ACCOUNT, f"--days={days}", *(("--topic", topic) if topic else ()))

    @property
    def chain(self):
        return self.path("wwdr.cer"), self.path("root.cer")


@contextlib.contextmanager
def serve(*args):
    with Portal() as portal, Server(*portal.settings, *args, push_cert=False) as s:
        yield s, portal


def age(s, table, days):
    """Behind the server's back, while it is stopped: all rows of TABLE end so many days from now."""
    with s.stopped() as execute:
        expect(execute(f"UPDATE {table} SET not_after = ?", int((time.time() + days * 86400) * 1000)) > 0, "rows")


def topic_of(pem):
    return load_pem(pem).subject.get_attributes_for_oid(x509.NameOID.USER_ID)[0].value


def public_key(text):
    return text.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


# ---------------------------------------------------------------- the whole way

@case
def from_nothing_to_a_certificate():
    with serve() as (s, portal):
        code, out, err = s.cli_code("push-cert", "check")
        expect(code == 1 and "no device can enroll" in out, f"check without a certificate: {code} {out}{err}")
        csr = s.cli_code("push-cert", "vendor-csr", "--subject", "O=Example,CN=Example MDM Vendor")[1]
        parsed = x509.load_pem_x509_csr(csr.encode())
        expect(parsed.is_signature_valid and parsed.public_key().key_size == 2048, "the vendor's request")
        equal(s.cli_code("push-cert", "vendor-csr")[1], csr, "a request that waits is given again")
        mdm_cer = portal.upload("developer", keep(s, "vendor.csr", csr), "mdm.cer")
        push_csr = s.cli("push-cert", "csr")["csr"]
        # The chain is not there yet: which certificate is missing, and where it is.
        err = s.refused("push-cert", "sign", "--vendor", mdm_cer, text="POM-E6032")
        expect("Apple Worldwide Developer Relations" in err and "https://www.apple.com/certificateauthority/" in err, err)
        s.cli("push-cert", "chain", portal.chain[0], portal.chain[1])
        document = os.path.join(s.root, "document")
        code, out, err = s.cli_code("push-cert", "sign", "--vendor", mdm_cer, "--out", document)
        expect(code == 0 and "https://identity.apple.com/pushcert" in err and not out, f"{code} {out}{err}")
        examine_document(s, portal, document, push_csr, mdm_cer)
        answer = portal.upload("create", document, "push.pem", "--account", ACCOUNT)
        found = s.cli("push-cert", "import", answer, "--apple-account", ACCOUNT)
        equal((found["topic"], found["apple_account"], found["default"], found["warn"]), (topic_of(read(answer)), ACCOUNT, True, None))
        equal(s.cli("push-cert", "requests"), [], "the request has ended")
        equal(s.cli_code("push-cert", "check")[:2], (0, "Nothing is wrong.\n"), "check")
        equal(s.enroll().topic, found["topic"], "a device enrolls with it at once")
        no_secret_on_disk(s)
        actions = [e["action"] for e in wait_for("the audit log", lambda: (lambda log: log if "push.import" in {e["action"] for e in log} else None)(s.cli("ca", "audit", "--last", "50")))]
        expect({"push.vendor.csr", "push.vendor.import", "push.csr", "push.sign", "push.chain", "push.import"} <= set(actions), f"audit: {actions}")


def examine_document(s, portal, path, csr_pem, mdm_cer):
    """As Apple's portal would, with other people's tools."""
    text = read(path)
    expect(b"\n" not in text and b" " not in text, "the document is one line of base64")
    xml = base64.b64decode(text, validate=True)
    expect(xml.startswith(b"<?xml"), "XML")
    document = plistlib.loads(xml, fmt=plistlib.FMT_XML)
    equal(sorted(document), ["PushCertCertificateChain", "PushCertRequestCSR", "PushCertSignature"])
    expect(all(isinstance(v, str) for v in document.values()), "strings")
    csr = base64.b64decode(document["PushCertRequestCSR"], validate=True)
    equal(csr, x509.load_pem_x509_csr(csr_pem.encode()).public_bytes(serialization.Encoding.DER), "the request")
    certificates = [load_pem(block + "-----END CERTIFICATE-----\n") for block in document["PushCertCertificateChain"].split("-----END CERTIFICATE-----\n")[:-1]]
    equal([der(c) for c in certificates], [read(mdm_cer), read(portal.path("wwdr.cer")), read(portal.path("root.cer"))], "vendor, WWDR, root")
    lines = document["PushCertCertificateChain"].splitlines()
    for i, line in enumerate(lines):
        expect(line.startswith("-----") or len(line) == 64 or (len(line) < 64 and lines[i + 1].startswith("-----END")), f"line {i} has {len(line)} characters")
    public = keep(s, "vendor.pub", certificates[0].public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    signature = keep(s, "signature", base64.b64decode(document["PushCertSignature"], validate=True))
    expect(b"Verified OK" in openssl("dgst", "-sha256", "-verify", public, "-signature", signature, keep(s, "csr.der", csr)), "PushCertSignature")


def no_secret_on_disk(s):
    s.stop()
    data = s.store.content()
    expect(b"PRIVATE KEY" not in data, "a key in clear on disk")
    # PKCS#8 of RSA: version 0, then the OID of rsaEncryption.
    expect(bytes.fromhex("020100300d06092a864886f70d010101") not in data, "a key in clear on disk")
    s.start()


@case
def the_stand_ins_are_strict():
    with serve() as (s, portal):
        portal.vendor(s)
        s.cli("push-cert", "chain", *portal.chain)
        s.cli("push-cert", "csr")
        good = s.cli("push-cert", "sign", "--vendor", portal.path("mdm.cer"))["document"]
        document = plistlib.loads(base64.b64decode(good))
        chain = document["PushCertCertificateChain"]
        blocks = [b + "-----END CERTIFICATE-----\n" for b in chain.split("-----END CERTIFICATE-----\n")[:-1]]
        narrow = "".join(b if b.startswith("-----") else "".join(b[i:i + 60] + "\n" for i in range(0, len(b), 60)) for b in chain.splitlines())
        for change, why in [({"PushCertCertificateChain": "".join(reversed(blocks))}, "root"), ({"PushCertCertificateChain": "".join(blocks[:2])}, "three certificates"), ({"PushCertCertificateChain": narrow}, "64"),
                            ({"PushCertSignature": base64.b64encode(b"x" * 256).decode()}, "signature is invalid"), ({"PushCertRequestCSR": base64.b64encode(b"-----BEGIN").decode()}, "DER"), ({"More": "x"}, "three strings")]:
            portal.refuses(keep(s, "bad", base64.b64encode(plistlib.dumps({**document, **change}))), why)
        portal.refuses(keep(s, "bad", plistlib.dumps(document)), "not base64")
        portal.refuses(keep(s, "bad", good + "\n"), "not base64")
        portal.upload("create", keep(s, "good", good), "push.pem", "--account", ACCOUNT)


# ---------------------------------------------------------------- a year passes

@case
def a_year_passes():
    with serve() as (s, portal):
        s.cli("push-cert", "chain", *portal.chain)
        s.cli("push-cert", "csr")
        s.cli("push-cert", "sign", "--vendor", portal.vendor(s))
        first = portal.certificate(s)
        topic = s.cli("push-cert", "import", first, "--apple-account", ACCOUNT)["topic"]
        d = s.enroll()
        equal(s.cli_code("push-cert", "check")[0], 0)
        for days, warn in ((70, None), (59, 60), (29, 30), (9, 10), (0.9, 1), (-1, 0)):
            age(s, "push_certificate", days)
            shown = s.cli("push-cert", "show")[0]
            equal((shown["warn"], shown["apple_account"], shown["devices"]), (warn, ACCOUNT, 1), f"{days} days before its end")
            code, out, _ = s.cli_code("push-cert", "check")
            equal(code, 1 if warn == 0 else 0 if warn is None else 5, f"exit status {days} days before its end")
            expect(warn is None or (ACCOUNT in out and "Renew" in out), out)
            name = f'pomona_certificate_expiry_seconds{{certificate="push/{topic}"}}'
            wait_for("the metric", lambda: abs(s.metric(name) - time.time() - days * 86400) < 3600)
            equal(s.metric(name.replace("expiry_seconds", "warning_days")), -1 if warn is None else warn)
            if warn is not None:
                wait_for("a line in the log", lambda: any("push/" + topic in line and ("ends soon" in line or "has expired" in line) for line in s.logs().splitlines()))
        setup = s.cli("push-cert", "setup")
        equal((setup["finished"], setup["steps"][1]["state"]), (False, "now"), "renewal is due")
        # Another topic: refused, with what to do.
        other = portal.certificate(s, "other.pem")
        err = s.refused("push-cert", "import", other, text="POM-E6006")
        expect("1 device(s) would be lost" in err and ACCOUNT in err and '"Renew"' in err and "1 has " + topic in err, err)
        equal([c["topic"] for c in s.cli("push-cert", "show")], [topic], "nothing was imported")
        equal(s.cli("push-cert", "requests")[0]["state"], "signed", "the request still waits")
        # "Renew": the same topic, another key.
        renewed = portal.certificate(s, "renewed.pem", topic=topic)
        expect(public_key(load_pem(read(renewed))) != public_key(load_pem(read(first))), "another key")
        found = s.cli("push-cert", "import", renewed)
        equal((found["topic"], found["warn"], found["apple_account"], found["version"], found["devices"]), (topic, None, ACCOUNT, 2, 1))
        equal(s.cli_code("push-cert", "check")[0], 0)
        d.hang_up()
        equal(d.idle()[0], 200, "the device goes on")
        equal(s.enroll().topic, topic)
        # The same request can be uploaded again: its key is that of the certificate.
        document = portal.path("document")
        again = portal.upload("renew", document, "again.pem", "--account", ACCOUNT, "--topic", topic)
        equal(s.cli("push-cert", "import", again)["version"], 3)


@case
def tenants_side_by_side():
    with serve() as (s, portal):
        s.cli("push-cert", "import", keep(s, "a.pem", push_cert("com.apple.mgmt.External.a")))
        a = s.enroll()
        b = keep(s, "b.pem", push_cert("com.apple.mgmt.External.b"))
        s.refused("push-cert", "import", b, text="POM-E6006")
        equal(s.cli("push-cert", "import", b, "--force")["default"], False, "it is beside the other")
        equal(s.enroll().topic, "com.apple.mgmt.External.a", "new devices get the topic that they got before")
        s.cli("push-cert", "default", "com.apple.mgmt.External.b")
        equal(s.enroll().topic, "com.apple.mgmt.External.b")
        equal(a.idle()[0], 200)
        s.restart()
        a.hang_up()
        equal(s.enroll().topic, "com.apple.mgmt.External.b", "after a restart")
        # Each is renewed although the other has devices.
        for topic in ("com.apple.mgmt.External.a", "com.apple.mgmt.External.b"):
            equal(s.cli("push-cert", "import", keep(s, "again.pem", push_cert(topic)))["version"], 2)
        equal({c["topic"]: (c["devices"], c["default"]) for c in s.cli("push-cert", "show")}, {"com.apple.mgmt.External.a": (2, False), "com.apple.mgmt.External.b": (2, True)})
        s.refused("push-cert", "default", "com.apple.mgmt.External.c", text="POM-E0003")
        s.refused("push-cert", "remove", "com.apple.mgmt.External.a", text="POM-E6039")
        expect("2 enrolled device(s)" in s.refused("push-cert", "remove", "com.apple.mgmt.External.a", text="2 enrolled"), "how many")
        s.cli("push-cert", "remove", "com.apple.mgmt.External.a", "--force")
        code, out, _ = s.cli_code("push-cert", "check")
        expect(code == 1 and "2 enrolled device(s) have this topic, and there is no certificate" in out, out)
        s.refused("push-cert", "export", "--pkcs12", os.path.join(s.root, "x"), "--password-file", keep(s, "pw", ""), text="password")


# ---------------------------------------------------------------- files

_keys_here = []


def some_key():
    """Another one than the last two times: making keys takes longer than all the rest."""
    if len(_keys_here) < 3:
        _keys_here.append(rsa_key())
    else:
        _keys_here.append(_keys_here.pop(0))
    return _keys_here[-1]


def named(uid=None, cn="x", key=None, days=30):
    key = key or some_key()
    name = [x509.NameAttribute(x509.NameOID.USER_ID, uid)] if uid else []
    return key, self_signed(key, x509.Name(name + [x509.NameAttribute(x509.NameOID.COMMON_NAME, cn)]), days)


def pem(cert):
    return cert.public_bytes(serialization.Encoding.PEM)


def locked(key, password=b"secret", form=serialization.PrivateFormat.PKCS8, encoding=serialization.Encoding.PEM):
    return key.private_bytes(encoding, form, serialization.BestAvailableEncryption(password))


@case
def wrong_files_have_their_own_messages():
    with serve() as (s, portal):
        mdm_cer = portal.vendor(s)
        s.cli("push-cert", "chain", *portal.chain)
        csr = s.cli("push-cert", "csr")["csr"]
        document = s.cli("push-cert", "sign", "--vendor", mdm_cer)["document"]
        key, cert = named(TOPIC, "APSP:x")
        app_key, app = named("org.example.app", "Apple Push Services: org.example.app")
        _, dev = named("TEAM123456", "Somebody")
        _, expired = named(TOPIC, days=-1)
        p12 = pkcs12.serialize_key_and_certificates(b"x", key, cert, None, serialization.BestAvailableEncryption(b"secret"))
        page = "<!DOCTYPE html>\n<html><head><title>Sign In</title></head><body>…</body></html>"
        cases = [
            ("vendor certificate", [read(mdm_cer)], "POM-E6022", "it only signs requests"), ("app", [pem(app), pem_key(app_key)], "POM-E6023", "org.example.app"), ("someone's", [pem(dev)], "POM-E6005", "no UID that begins with"),
            ("no key", [pem(cert)], "POM-E6027", "was not given"), ("another key", [pem(cert), pem_key(some_key())], "POM-E2302", "does not belong"), ("locked", [pem(cert), locked(key)], "POM-E6028", "--password-file"),
            ("expired", [pem(expired)], "POM-E6027", "key"), ("page", [page], "POM-E6026", "web page"), ("request", [csr], "POM-E6024", "certificate request"), ("document", [document], "POM-E6025", "upload it"),
            ("document, decoded", [base64.b64decode(document)], "POM-E6025", "upload it"), ("only a key", [pem_key(key)], "POM-E6021", "only a private key"), ("nothing", [""], "POM-E6021", "no certificate"),
            ("text", ["hello"], "POM-E6031", "neither PEM"), ("cut off", [pem(cert)[:-30]], "POM-E6031", "cut off"), ("damaged", [pem(cert).replace(b"MII", b"M!I", 1)], "POM-E6031", "broken"),
            ("Apple's intermediate", [read(portal.path("wwdr.cer"))], "POM-E6005", "CA's certificate"), ("PKCS#12 without password", [p12], "POM-E6028", "password"),
        ]
        for name, files, code, text in cases:
            paths = [keep(s, f"wrong{i}.pem", f) for i, f in enumerate(files)]
            err = s.refused("push-cert", "import", *paths, text=code)
            expect(text in err, f"{name}: {err}")
        wrong = keep(s, "wrong-password", "not it\n")
        for files in ([pem(cert), locked(key)], [p12], [pem(cert), locked(key, encoding=serialization.Encoding.DER)]):
            paths = [keep(s, f"wrong{i}.pem", f) for i, f in enumerate(files)]
            s.refused("push-cert", "import", *paths, "--password-file", wrong, text="POM-E6029")
        s.refused("push-cert", "import", keep(s, "expired.pem", push_cert(days=-1)), text="POM-E6030")
        equal(s.cli("push-cert", "show"), [], "nothing was imported")
        # At the vendor's place.
        for name, files, code in [("push certificate", [pem(cert), pem_key(key)], "POM-E6034"), ("web server's", [pem(named(cn="www.example.org")[1])], "POM-E6034"), ("another's vendor certificate", [pem(named(cn="MDM Vendor: x")[1])], "POM-E6027"),
                                  ("our own request", [csr], "POM-E6024"), ("page", [page], "POM-E6026"), ("expired", [pem(named(cn="MDM Vendor: x", days=-1)[1])], "POM-E6030")]:
            err = s.refused("push-cert", "sign", "--vendor", keep(s, "wrong.cer", files[0]), text=code)
        key, cert = named(cn="MDM Vendor: Somebody Else")
        err = s.refused("push-cert", "sign", "--vendor", keep(s, "wrong.cer", pem(cert)), "--vendor-key", keep(s, "wrong.key", pem_key(key)), text="POM-E6033")
        expect("Apple Root CA" in err, err)


def typed_password(s, typed, *files):
    """An import by somebody at a terminal: (exit status, what the terminal shows, errors)."""
    leader, terminal = pty.openpty()
    try:
        p = subprocess.Popen([POMONA, "push-cert", "import", *files, "--data", s.data], stdin=terminal, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        asked = b""
        while not asked.endswith(b": "):
            byte = os.read(p.stderr.fileno(), 1)
            expect(byte, f"no password was asked for: {asked}")
            asked += byte
        wait_for("the terminal shows nothing of what is typed", lambda: not termios.tcgetattr(terminal)[3] & termios.ECHO)
        os.write(leader, typed)
        err = p.communicate(timeout=60)[1].decode()
        os.set_blocking(leader, False)
        try:
            shown = os.read(leader, 1000)
        except BlockingIOError:
            shown = b""
        return p.returncode, shown, err
    finally:
        os.close(leader)
        os.close(terminal)


@case
def all_forms_are_read():
    with serve() as (s, portal):
        pw = keep(s, "pw", "secret\r\n")
        key = rsa_key()
        forms = 0
        cert_text, key_text = pem(named(TOPIC, key=key)[1]), pem_key(key)
        both = cert_text + key_text
        trad = serialization.PrivateFormat.TraditionalOpenSSL
        cert = load_pem(cert_text)
        for files in ([both], [key_text + cert_text], [cert_text, key_text], [b"\xef\xbb\xbf" + both], [both.replace(b"\n", b"\r\n")], [both.replace(b"\n", b"\r")], [both.replace(b"-----\n-----", b"----------")],
                      [both.decode().encode("utf-16")], [der(cert), key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())],
                      [b"Bag Attributes\n friendlyName: x\n" + both], [cert_text, locked(key)], [cert_text, locked(key, form=trad).replace(b"\n", b"\r\n")], [cert_text, locked(key, encoding=serialization.Encoding.DER)],
                      [pkcs12.serialize_key_and_certificates(b"x", key, cert, None, serialization.BestAvailableEncryption(b"secret"))], [base64.b64encode(der(cert)), key_text]):
            paths = [keep(s, f"file{i}", f) for i, f in enumerate(files)]
            equal(s.cli("push-cert", "import", *paths, "--password-file", pw)["topic"], TOPIC)
            forms += 1
        equal(s.cli("push-cert", "show")[0]["version"], forms, "each was taken")
        checked = s.cli("push-cert", "import", keep(s, "new", push_cert("com.apple.mgmt.External.new")), "--check")
        equal((checked["topic"], checked["renews"]), ("com.apple.mgmt.External.new", False))
        equal(len(s.cli("push-cert", "show")), 1, "--check imports nothing")
        equal(s.cli("push-cert", "import", keep(s, "c", cert_text))["version"], forms + 1, "the key of the same certificate is here")
        other, renewed = named(TOPIC)
        files = keep(s, "c", pem(renewed)), keep(s, "k", locked(other))
        code, shown, err = typed_password(s, b"wrong\n", *files)
        expect(code == 1 and "POM-E6029" in err and b"wrong" not in shown, f"a wrong password typed: {code} {err}")
        equal(typed_password(s, b"secret\n", *files)[0], 0, "a password typed on a terminal")
        cert = renewed
        # Out again, for another server.
        for options in ((), ("--legacy",)):
            out = os.path.join(s.root, "out.p12")
            s.cli("push-cert", "export", "--pkcs12", out, "--password-file", pw, *options)
            equal(os.stat(out).st_mode & 0o777, 0o600)
            text = openssl("pkcs12", "-in", out, "-passin", "pass:secret", "-nodes")
            expect(b"PRIVATE KEY" in text and load_pem(text[text.index(b"-----BEGIN CERT"):]) == cert, "the export")
            openssl("pkcs12", "-in", out, "-passin", "pass:wrong", "-nodes", ok=False)
        s.refused("push-cert", "export", "--pkcs12", os.path.join(s.root, "x"), text="--password-file")


# ---------------------------------------------------------------- vendors and chains

@case
def vendors_side_by_side():
    with serve() as (s, portal):
        first, second = portal.vendor(s, "first.cer"), portal.vendor(s, "second.cer")
        s.cli("push-cert", "chain", *portal.chain)
        s.cli("push-cert", "csr")
        s.cli("push-cert", "sign", "--vendor", first)
        pem_answer = portal.upload("create", keep(s, "d", s.cli("push-cert", "sign", "--vendor", second)["document"]), "push.pem", "--account", ACCOUNT)
        s.cli("push-cert", "import", pem_answer)
        d = s.enroll()
        vendors = s.cli("push-cert", "vendor-list")
        equal([v["state"] for v in vendors], ["ready", "ready"])
        s.cli("push-cert", "csr")
        s.refused("push-cert", "sign", text="POM-E6035")
        s.cli("push-cert", "sign", "--vendor", vendors[0]["id"])
        removed = s.cli("push-cert", "vendor-remove", vendors[0]["id"])
        expect("not touched" in removed["note"], removed)
        s.cli("push-cert", "sign")
        s.cli("push-cert", "vendor-remove", vendors[1]["id"])
        s.refused("push-cert", "sign", text="POM-E6035")
        equal((s.cli("push-cert", "show")[0]["devices"], d.idle()[0]), (1, 200), "the push certificate goes on")
        s.refused("push-cert", "vendor-remove", vendors[0]["id"], text="POM-E0003")
        # Its end is foretold like the others'.
        s.cli("push-cert", "sign", "--vendor", portal.vendor(s, "third.cer"))
        age(s, "push_vendor", 9)
        equal(s.cli("push-cert", "vendor-list")[0]["warn"], 10)
        code, out, _ = s.cli_code("push-cert", "check")
        expect(code == 5 and "push certificates that were made with it stay" in out, f"{code} {out}")
        expect(any(c["kind"] == "vendor" and c["warn"] == 10 for c in s.cli("ca", "expiry")), "ca expiry")
        age(s, "push_vendor", -1)
        s.refused("push-cert", "sign", "--vendor", s.cli("push-cert", "vendor-list")[0]["id"], text="POM-E6030")


class Web:
    """A web server that gives files by their path, and takes what it is sent."""

    def __init__(self, files=None, reply=(200, b'{"result":"success"}')):
        web = self
        self.asked, self.files, self.reply = [], files or {}, reply

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                web.asked.append(self.path)
                self.answer(200 if self.path in web.files else 404, web.files.get(self.path, b"no"))

            def do_POST(self):
                web.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.answer(*web.reply)

            def answer(self, status, body):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


@case
def the_chain_is_fetched_but_never_believed():
    with Portal() as portal, Portal() as foreign:
        with Web({"/wwdr.cer": read(portal.chain[0]), "/root.cer": read(portal.chain[1]), "/foreign.cer": read(foreign.chain[1]), "/page": b"<html>"}) as web:
            urls = f"{web.url}/wwdr.cer {web.url}/root.cer"
            with Server("--set", f"push.extra_roots={portal.path('root.pem')}", "--set", f"push.chain_urls={urls}", *NO_APNS, push_cert=False) as s:
                s.refused("push-cert", "chain", foreign.chain[1], text="POM-E6033")
                s.refused("push-cert", "chain", foreign.chain[0], text="POM-E6032")
                s.refused("push-cert", "chain", portal.vendor(s), text="POM-E6032")
                equal((web.asked, s.cli("push-cert", "chain")), ([], []), "nothing is fetched unasked")
                s.cli("push-cert", "csr")
                s.cli("push-cert", "sign", "--vendor", portal.path("mdm.cer"))
                equal(web.asked, ["/wwdr.cer", "/root.cer"], "what was missing was fetched")
                equal(sorted(c["root"] for c in s.cli("push-cert", "chain")), [False, True])
                s.cli("push-cert", "sign")
                equal(len(web.asked), 2, "once")
                s.refused("push-cert", "chain", portal.path("mdm.cer"), text="no CA's certificate")
                for url, why in (("/foreign.cer", "POM-E6033"), ("/page", "POM-E6032"), ("/none", "404")):
                    s.args[3] = f"push.chain_urls={web.url}{url}"
                    s.restart()
                    s.refused("push-cert", "chain", "--fetch", text=why)
                # Without the setting only Apple's own root counts.
                s.args[1] = "push.extra_roots="
                s.restart()
                s.refused("push-cert", "sign", text="POM-E6033")


# ---------------------------------------------------------------- who signs for others

@case
def a_vendor_signs_for_customers():
    with Portal() as portal, Server(*portal.settings, push_cert=False) as vendor, Server(*portal.settings, push_cert=False) as customer:
        mdm_cer = portal.vendor(vendor)
        vendor.cli("push-cert", "chain", *portal.chain)
        equal(customer.cli("push-cert", "setup", "--way", "foreign")["steps"][1]["state"], "waiting")
        csr = os.path.join(customer.root, "push.csr")
        customer.cli_code("push-cert", "setup", "--out", csr)
        document = os.path.join(vendor.root, "document")
        vendor.cli_code("push-cert", "sign", "--vendor", mdm_cer, "--csr", csr, "--out", document)
        equal(vendor.cli("push-cert", "requests"), [], "it is not the vendor's own")
        told = customer.cli("push-cert", "setup", document)
        equal([step["state"] for step in told["steps"]], ["skipped", "done", "waiting"])
        equal(told["output"]["text"].encode(), read(document), "it is kept as it came")
        answer = portal.upload("create", document, "push.pem", "--account", ACCOUNT)
        vendor.refused("push-cert", "import", answer, text="POM-E6027")
        told = customer.cli("push-cert", "setup", answer, "--apple-account", ACCOUNT)
        equal((told["finished"], told["certificates"][0]["apple_account"]), (True, ACCOUNT))
        # Not every request is signed.
        weak = rsa.generate_private_key(65537, 1024)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
        for key, code in ((weak, "POM-E2203"), (ec_keys.generate_private_key(ec_keys.SECP256R1()), "POM-E2203")):
            request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
            vendor.refused("push-cert", "sign", "--csr", keep(vendor, "weak.csr", request.public_bytes(serialization.Encoding.PEM)), text=code)
        data = bytearray(x509.CertificateSigningRequestBuilder().subject_name(name).sign(rsa_key(), hashes.SHA256()).public_bytes(serialization.Encoding.DER))
        data[-1] ^= 1
        vendor.refused("push-cert", "sign", "--csr", keep(vendor, "broken.csr", bytes(data)), text="POM-E2202")
        customer.refused("push-cert", "setup", document, text="POM-E6036")


@case
def mdmcert_download():
    with Portal() as portal, Web() as web, Server(*portal.settings, "--set", f"push.signing_url={web.url}/api/v1/signrequest", push_cert=False) as s, Server(*portal.settings, push_cert=False) as signs:
        mdm_cer = portal.vendor(signs)
        signs.cli("push-cert", "chain", *portal.chain)
        key = keep(s, "api-key", "k3y\n")
        s.refused("push-cert", "mdmcert", "--email", ACCOUNT, text="API key")
        web.reply = (200, b'{"result":"failure","reason":"unknown address"}')
        s.refused("push-cert", "mdmcert", "--email", ACCOUNT, "--api-key-file", key, text="unknown address")
        equal(s.cli("push-cert", "requests"), [], "nothing is left of it")
        web.reply = (200, b'{"result":"success"}')
        del web.asked[:]
        equal(s.cli("push-cert", "setup", "--way", "mdmcert", "--email", ACCOUNT, "--api-key-file", key)["steps"][1]["state"], "waiting")
        body, = web.asked
        equal((sorted(body), body["email"], body["key"]), (["csr", "email", "encrypt", "key"], ACCOUNT, "k3y"))
        csr, certificate = base64.b64decode(body["csr"], validate=True), base64.b64decode(body["encrypt"], validate=True)
        expect(x509.load_pem_x509_csr(csr).is_signature_valid and csr.startswith(b"-----BEGIN CERTIFICATE REQUEST-----"), "the request")
        document = signs.cli("push-cert", "sign", "--vendor", mdm_cer, "--csr", keep(s, "their.csr", csr))["document"]
        message = openssl("cms", "-encrypt", "-binary", "-aes256", "-outform", "DER", keep(s, "encrypt.pem", certificate), input=document.encode())
        mailed = keep(s, "mdm_signed_request.plist.b64.p7", message.hex())
        foreign = openssl("cms", "-encrypt", "-binary", "-aes256", "-outform", "DER", keep(s, "foreign.pem", pem(named()[1])), input=document.encode())
        s.refused("push-cert", "mdmcert", "--open", keep(s, "foreign.p7", foreign.hex()), text="POM-E6036")
        s.refused("push-cert", "import", mailed, text="POM-E6025")
        code, out, err = s.cli_code("push-cert", "mdmcert", "--open", mailed)
        equal((code, out), (0, document), "the mailed document")
        answer = portal.upload("create", keep(s, "document", out), "push.pem", "--account", ACCOUNT)
        equal(s.cli("push-cert", "setup", answer)["finished"], True)
        shown = s.cli("push-cert", "mdmcert", "--email", ACCOUNT, "--api-key-file", key, "--dont-send")
        equal((shown["sent"], sorted(shown["body"]), len(web.asked)), (False, ["csr", "email", "encrypt", "key"], 1))
        expect("k3y" not in s.logs(), "the API key in the log")


# ---------------------------------------------------------------- guided

@case
def guided_and_resumed():
    with serve() as (s, portal):
        states = lambda told: [step["state"] for step in told["steps"]]
        equal(states(s.cli("push-cert", "setup")), ["now", "later", "later"])
        status, told, _ = s.api("GET", "/api/v1/push-setup")
        equal((status, states(told), told["output"]), (200, ["now", "later", "later"], None))
        told = s.cli("push-cert", "setup", "--way", "vendor")
        equal((states(told), told["output"]["kind"]), (["waiting", "later", "later"], "vendor-csr"))
        expect("MDM CSR" in told["steps"][0]["page"] and told["steps"][0]["address"].startswith("https://developer.apple.com/"), told)
        s.restart()
        out = os.path.join(s.root, "vendor.csr")
        text = s.cli_code("push-cert", "setup", "--out", out)[1]
        expect("Next: pomona push-cert setup mdm.cer" in text and "-> 1. vendor" in text, text)
        mdm_cer = portal.upload("developer", out, "mdm.cer")
        # What is missing is said, and nothing is lost.
        s.refused("push-cert", "setup", mdm_cer, text="POM-E6032")
        equal(states(s.cli("push-cert", "setup")), ["done", "now", "later"])
        told = s.cli("push-cert", "setup", portal.chain[0], portal.chain[1])
        equal((states(told), told["output"]["kind"]), (["done", "done", "waiting"], "document"))
        equal((told["steps"][2]["address"], "Create a Certificate" in told["steps"][2]["text"]), ("https://identity.apple.com/pushcert", True))
        s.restart()
        document = os.path.join(s.root, "document")
        s.cli_code("push-cert", "setup", "--out", document)
        answer = portal.upload("create", document, "push.pem", "--account", ACCOUNT)
        status, told, _ = s.api("POST", "/api/v1/push-setup", {"files": [read(answer).decode()], "apple_account": ACCOUNT})
        equal((status, states(told), told["finished"], told["output"]), (200, ["done", "done", "done"], True, None))
        topic = told["certificates"][0]["topic"]
        s.enroll()
        # Renewal, before time.
        told = s.cli("push-cert", "setup", "--renew", topic)
        equal((states(told), told["output"]["kind"]), (["done", "done", "waiting"], "document"))
        expect("Renew" in told["steps"][2]["text"] and ACCOUNT in told["steps"][2]["text"], told["steps"][2])
        answer = portal.upload("renew", keep(s, "document", told["output"]["text"]), "renewed.pem", "--account", ACCOUNT, "--topic", topic)
        told = s.cli("push-cert", "setup", answer)
        equal((told["finished"], told["certificates"][0]["topic"], told["certificates"][0]["version"]), (True, topic, 2))
        s.refused("push-cert", "setup", "--way", "magic", text="vendor")
        for path, body in (("/api/v1/push-setup", {"wey": "vendor"}), ("/api/v1/push-certificates", {}), ("/api/v1/push-vendors/import", {"files": "x"}), ("/api/v1/push-chain", {}), ("/api/v1/push-certificates/export", {})):
            equal(s.api("POST", path, body)[0], 400, f"{path} {body}")


if __name__ == "__main__":
    main()
