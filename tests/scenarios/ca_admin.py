"""What administrators do with CAs and certificates: make, import, ask an outside CA, issue, revoke, audit; and what becomes of old identities and old data."""
import concurrent.futures
import sqlite3
import types
import warnings

from cryptography.x509 import ocsp as x509_ocsp

from harness import *

# A CA that still signs with SHA-1 is one of those to be refused.
warnings.filterwarnings("ignore", "SHA1 signatures are deprecated")

DAY = datetime.timedelta(days=1)
MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "c0rrect-pin"
# Nobody listens there: pushes are not what this is about.
NO_APNS = ("--apns-url", "https://127.0.0.1:1")


# ---------------------------------------------------------------- CAs of others

class Ca:
    """A certificate with its key, made without Pomona. DAYS: until it ends, also negative."""

    def __init__(self, name, issuer=None, key=None, days=1000, ca=True, usage="sign+encipher", digest=hashes.SHA256, path_length=None, subject=None):
        self.key = key or rsa_key()
        self.issuer = issuer
        self.name = subject or x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Example School"), x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.cert = self.certify(self.key.public_key(), issuer, days, ca, usage, digest, path_length)

    def certify(self, public, issuer, days=1000, ca=True, usage="sign+encipher", digest=hashes.SHA256, path_length=None):
        signer = issuer or self
        now = datetime.datetime.utcnow()
        builder = (x509.CertificateBuilder().subject_name(self.name).issuer_name(signer.name).public_key(public).serial_number(x509.random_serial_number())
                   .not_valid_before(now - 400 * DAY).not_valid_after(now + days * DAY).add_extension(x509.BasicConstraints(ca, path_length), True)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False))
        if usage:
            builder = builder.add_extension(x509.KeyUsage("encipher" in usage, False, "encipher" in usage, False, False, "sign" in usage, "sign" in usage, False, False), True)
        if issuer:
            builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False)
        return builder.sign(signer.key, digest())

    @property
    def pem(self):
        return self.cert.public_bytes(serialization.Encoding.PEM)

    def key_pem(self, password=None):
        how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)

    def p12(self, password, *above):
        return pkcs12.serialize_key_and_certificates(b"ca", self.key, self.cert, [c.cert for c in above], serialization.BestAvailableEncryption(password))


def keep(s, name, data):
    """A file of this test; its path."""
    path = os.path.join(s.root, name)
    pathlib.Path(path).write_bytes(data)
    return path


def new_challenge(s, *args):
    return s.cli("challenge", "new", "--subject", "O=Test Org,CN=printer", *args)["challenge"]


def enroll_by(s, profile, ca_name=None):
    """A certificate of the SCEP profile PROFILE, which is made for CA_NAME."""
    if ca_name:
        s.cli("scep-profile", "set", profile, f"ca={ca_name}")
    return Scep(s, profile).enroll(new_challenge(s, "--profile", profile))[1]


def generation(s, name, number=1):
    found = [g for g in s.cli("ca", "show", name) if g["number"] == number]
    expect(found, f"{name} has no generation {number}")
    return found[0]


def chain_verifies(s, cert, generation):
    """By openssl, from the root in what "ca show" says."""
    root, issuing, leaf = (keep(s, n, d) for n, d in (("root.pem", generation["root_pem"].encode()), ("issuing.pem", generation["certificate_pem"].encode()),
                                                    ("leaf.pem", cert.public_bytes(serialization.Encoding.PEM))))
    openssl("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", root, "-untrusted", issuing, leaf)


def audit(s, action=None, object=None):
    query = {"limit": 1000, **({"action": action} if action else {}), **({"object": object} if object else {})}
    status, reply, _ = s.api("GET", "/api/v1/audit?" + urllib.parse.urlencode(query))
    equal(status, 200, f"audit {reply}")
    return reply["items"]


# ---------------------------------------------------------------- made here

@case
def init_with_ec_and_with_an_ra():
    for init, key_type in ((("--key-type", "ec"), "ec"), (("--ra",), "rsa")):
        with Server(*NO_APNS, init=init) as s:
            shown = generation(s, "default")
            equal((shown["issuing"]["key_type"], shown["ra"]["key_type"], shown["state"]), (key_type, "rsa", "active"), f"{init}")
            answer = Scep(s).get("GetCACert")
            equal(answer.headers["content-type"], "application/x-x509-ca-ra-cert", "GetCACert")
            equal(len(ca_certificates(answer.body, answer.headers["content-type"])), 3, "certificates of GetCACert: RA, issuing CA, root")
            d = s.enroll()
            expect(issued_by(d.cert, load_pem(shown["certificate_pem"])), "the identity's issuer")
            chain_verifies(s, d.cert, shown)
            for renewed in (False, True):
                if renewed:
                    s.cli("ca", "renew")
                before = d.cert
                s.cli("device", "renew", d.udid)
                equal(d.run_commands(), [("InstallProfile", "Acknowledged")], f"a new identity through the RA ({d.why})")
                expect(d.cert != before and issued_by(d.cert, load_pem(shown["certificate_pem"])), "the new identity")
            expect(generation(s, "default")["ra"]["serial"] != shown["ra"]["serial"], "the RA's certificate is renewed too")
            s.restart()
            equal(d.hang_up().idle(), (200, b""), "after a restart")


@case
def another_ca_is_made():
    with Server(*NO_APNS) as s:
        s.cli("ca", "create", "lab")
        s.cli("ca", "create", "curves", "--key-type", "ec", "--common-name", "Curves CA", "--days", "100")
        s.refused("ca", "create", "lab", text='already a CA "lab"')
        s.refused("ca", "create", "default", text='already a CA "default"')
        s.refused("ca", "create", "../x", text="POM-E")
        s.refused("ca", "create", "big", "--issuing-bits", "1024", text="2048, 3072 or 4096")
        s.refused("ca", "show", "nothing", text='no CA "nothing"')
        s.refused("scep-profile", "set", "p", "ca=nothing", text="nothing")
        equal({g["id"] for g in s.cli("ca", "show")}, {"default-1", "lab-1", "curves-1"}, "ca show")
        for name in ("lab", "curves"):
            cert = enroll_by(s, f"of-{name}", name)
            chain_verifies(s, cert, generation(s, name))
        curves = load_pem(generation(s, "curves")["certificate_pem"])
        expect("Curves CA" in curves.subject.rfc4514_string() and 99 < (curves.not_valid_after - datetime.datetime.utcnow()) / DAY < 101, f"{curves.subject} {curves.not_valid_after}")
        equal([e["object"] for e in audit(s, "ca.create")], ["default", "lab", "curves"], "audit")


# ---------------------------------------------------------------- imported

@case
def import_of_files():
    with Server(*NO_APNS) as s:
        root = Ca("School Root")
        issuing = Ca("School Issuing", root)
        policy = Ca("School Policy", root)
        deep = Ca("School Deep", policy)
        curve_root = Ca("Curve Root", key=ec_keys.generate_private_key(ec_keys.SECP384R1()), usage="sign")
        curve = Ca("Curve Issuing", curve_root, key=ec_keys.generate_private_key(ec_keys.SECP256R1()), usage="sign")
        password = keep(s, "password", b"a long password\n")
        cases = {
            "pem": ([("chain.pem", issuing.pem + root.pem), ("key.pem", issuing.key_pem())], (), issuing),
            "one-file": ([("all.pem", root.pem + issuing.key_pem() + issuing.pem)], (), issuing),
            "locked": ([("chain.pem", issuing.pem + root.pem), ("key.pem", issuing.key_pem(b"a long password"))], ("--password-file", password), issuing),
            "der": ([("ca.cer", der(issuing.cert)), ("root.cer", der(root.cert)), ("key.pem", issuing.key_pem())], (), issuing),
            "p12": ([("ca.p12", issuing.p12(b"a long password", root))], ("--password-file", password), issuing),
            "single": ([("root.pem", root.pem + root.key_pem())], (), root),
            "deep": ([("chain.pem", root.pem + deep.pem + policy.pem), ("key.pem", deep.key_pem())], (), deep),
            "curve": ([("chain.pem", curve.pem + curve_root.pem), ("key.pem", curve.key_pem())], ("--ra",), curve),
        }
        for name, (files, options, ca) in cases.items():
            s.cli("ca", "import", name, *[keep(s, file, data) for file, data in files], *options)
            shown = generation(s, name)
            equal((shown["state"], shown["source"], load_pem(shown["certificate_pem"])), ("active", "imported", ca.cert), name)
            expect(issued_by(enroll_by(s, f"of-{name}", name), ca.cert), f"{name}: the issuer")
        equal(generation(s, "curve")["ra"]["key_type"], "rsa", "RA of an EC CA")
        s.refused("ca", "renew", "pem", text="is not here")
        # One certificate that signs itself is renewed as it is, whoever made it.
        earlier = enroll_by(s, "of-single")
        s.cli("ca", "renew", "single", "--days", "900")
        again = load_pem(generation(s, "single")["certificate_pem"])
        kept = lambda c: (c.subject, c.issuer, c.public_key().public_numbers(), [(e.oid, e.critical, e.value) for e in c.extensions])
        equal(kept(again), kept(root.cert), "names, key and extensions of the renewed CA")
        expect(again.serial_number != root.cert.serial_number and again.not_valid_after > earlier.not_valid_after and issued_by(earlier, again), "the renewed CA")
        expect(issued_by(enroll_by(s, "of-single"), again), "a new certificate")
        cases["single"] = (*cases["single"][:2], types.SimpleNamespace(cert=again))
        s.refused("ca", "rekey", "pem", text='make a request for a new key with "pomona ca csr"')
        s.restart()
        for name, (_, _, ca) in cases.items():
            expect(issued_by(enroll_by(s, f"of-{name}"), ca.cert), f"{name}: after a restart")
        equal([e["object"] for e in audit(s, "ca.import")], list(cases), "audit")
        secret = b"a long password"
        expect(secret.decode() not in s.logs() and not any(secret.decode() in json.dumps(e) for e in audit(s)), "the password is in log or audit log")


@case
def imports_that_are_refused():
    with Server(*NO_APNS) as s:
        root, other = Ca("School Root"), Ca("Other Root")
        issuing, stranger = Ca("School Issuing", root), Ca("School Issuing", other)
        wrong = keep(s, "wrong", b"not that one\n")
        small_key = rsa.generate_private_key(65537, 1024)
        curve = Ca("Curve", root, key=ec_keys.generate_private_key(ec_keys.SECP256R1()), usage="sign")

        def pem(ca, *above):
            return [("ca.pem", ca.pem + b"".join(a.pem for a in above) + ca.key_pem())]
        table = [
            ("wrong-key", [("a.pem", issuing.pem + root.pem), ("k.pem", other.key_pem())], (), "belongs to none of the 2 certificates"),
            ("not-a-ca", pem(Ca("Printer", root, ca=False, usage="encipher"), root), (), "not a CA certificate"),
            ("expired", pem(Ca("Old", root, days=-1), root), (), "has expired"),
            ("expired-root", pem(Ca("Issuing", other_root := Ca("Old Root", days=-1)), other_root), (), "has expired"),
            ("rsa-1024", pem(Ca("Small", root, key=small_key), root), (), "1024 bits"),
            ("rsa-1024-root", pem(Ca("Issuing", small := Ca("Small Root", key=small_key)), small), (), "1024 bits"),
            ("ec-without-ra", pem(curve, root), (), "--ra"),
            ("no-encipherment", pem(Ca("Signs only", root, usage="sign"), root), (), "--ra"),
            ("no-cert-sign", pem(Ca("Enciphers only", root, usage="encipher"), root), (), "keyCertSign"),
            ("sha1", pem(Ca("Weak", root, digest=hashes.SHA1), root), (), "too weak"),
            ("path-length", pem(Ca("Issuing", tight := Ca("Policy", root, path_length=0)), tight, root), (), "path length"),
            ("missing-root", pem(issuing), (), "CN=School Root,O=Example School\" is missing"),
            ("wrong-root", [("a.pem", stranger.pem + root.pem + stranger.key_pem())], (), "CN=Other Root,O=Example School\" is missing"),
            ("password", [("a.pem", issuing.pem + root.pem), ("k.pem", issuing.key_pem(b"right"))], ("--password-file", wrong), "wrong password"),
            ("no-password", [("a.pem", issuing.pem + root.pem), ("k.pem", issuing.key_pem(b"right"))], (), "password"),
            ("p12-password", [("a.p12", issuing.p12(b"right", root))], ("--password-file", wrong), "assword"),
            ("p12-no-password", [("a.p12", issuing.p12(b"right", root))], (), "assword"),
            ("no-key", [("a.pem", issuing.pem + root.pem)], (), "no private key"),
            ("no-certificate", [("k.pem", issuing.key_pem())], (), "no certificate"),
            ("two-keys", [("a.pem", issuing.pem + root.pem + issuing.key_pem()), ("k.pem", other.key_pem())], (), "two private keys"),
            ("garbage", [("a.bin", b"\x30\x03abc")], (), "neither a certificate"),
            ("..", pem(issuing, root), (), "POM-E"),
            ("default", pem(issuing, root), (), "already a CA"),
        ]
        for name, files, options, text in table:
            paths = [keep(s, file, data) for file, data in files]
            said = s.refused("ca", "import", name, *paths, *options, text=text)
            expect("POM-E" in said and "PRIVATE" not in said, f"{name}: {said}")
        s.refused("ca", "import", "token", keep(s, "a.pem", issuing.pem + root.pem), "--key", "pkcs11:token=lab;object=x", text="ca.pkcs11_module")
        equal({g["id"] for g in s.cli("ca", "show")}, {"default-1"}, "what was refused leaves nothing")
        equal(s.cli("ca", "audit-verify")["ok"], True, "audit-verify")


@case
def wishes_that_cannot_be():
    with Server() as s:
        table = [
            (("ca", "list", "--state", "gone"), "none of valid"),
            (("ca", "requests", "--state", "gone"), "none of pending"),
            (("scep-profile", "set", "certsrv", "days=3"), "never be reached"),
            (("scep-profile", "set", "pkiclient.exe", "days=3"), "never be reached"),
            (("outside-ca", "set", "o", "url=ftp://ca.example"), "POM-E0002"),
            (("challenge", "new", "--uses", "0"), "1 or more"),
            (("ca", "audit", "--last", "3", "--object", "default"), "do not go together"),
        ]
        for args, text in table:
            s.refused(*args, text=text)
        # What was not done stands in no audit log.
        s.cli("challenge", "revoke", challenge := s.cli("challenge", "new")["id"])
        s.cli("challenge", "revoke", challenge)
        s.refused("scep-profile", "remove", "gone", text="POM-E0003")
        s.refused("outside-ca", "remove", "gone", text="POM-E0003")
        equal([e["action"] for e in audit(s)], ["ca.create", "push.import", "challenge.new", "challenge.revoke"])
        equal([p["name"] for p in s.cli("scep-profile", "list")], ["default"])


@case
def the_newest_of_the_audit_log():
    with Server() as s:
        made = [s.cli("challenge", "new")["id"] for _ in range(4)]
        s.cli("ca", "crl")
        last = s.cli("ca", "audit", "--last", "3")
        equal([e["object"] for e in last], [*made[2:], ""])
        equal([e["seq"] for e in last], [e["seq"] for e in s.cli("ca", "audit")][-3:])
        equal([e["object"] for e in s.cli("ca", "audit", "--last", "2", "--action", "challenge")], made[2:])
        equal([e["object"] for e in s.cli("ca", "audit", "--last", "1000", "--action", "ca.create")], ["default"])
        # People are told why.
        expect(Scep(s).ask(make_csr(rsa_key(), challenge="wrong")).status == "2", "a wrong challenge")
        shown = subprocess.run([POMONA, "ca", "audit", "--last", "1", "--data", s.data], capture_output=True, text=True, timeout=30, check=True).stdout
        expect("scep.refuse" in shown and "the challenge is missing or unknown" in shown, shown)


@case
def a_device_without_a_link():
    """Enrolled by a challenge that may, it cannot be sent a profile like its first: that is said, and does not keep it from the commands of people."""
    with Server("--apns-url", "https://127.0.0.1:1") as s:
        d = Device(s).read_profile(s.profile(s.link()))
        d.get_identity(challenge=s.cli("challenge", "new", "--enroll")["challenge"])
        equal((d.authenticate(), d.token_update()), ((200, b""), (200, b"")))
        s.refused("device", "renew", d.udid, text="not made with a link")
        equal(s.cli("command", "list", d.udid), [])
        s.cli("ca", "rekey")
        s.cli("ca", "rekey", "--activate")
        wait_for("the new root", lambda: len(s.cli("command", "list", d.udid)) == 1, 60)
        s.cli("command", "send", d.udid, "ProfileList")
        told, (status, reply) = [], d.idle()
        while status == 200 and reply:
            told.append(reply["Command"]["RequestType"])
            status, reply = d.report(reply["CommandUUID"])
        equal((status, told), (200, ["InstallProfile", "ProfileList"]), "the root, and what a person wants")


@case
def one_of_many_decides():
    """Administrators who decide on a request at the same moment: one does, the others are told that it is done."""
    with Server() as s:
        s.cli("scep-profile", "set", "manual", "approval=manual", "challenge=none")
        for _ in range(10):
            equal(Scep(s, "manual").ask(make_csr(rsa_key())).status, "3")
            request = s.cli("ca", "requests", "--state", "pending")[0]["id"]
            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                said = list(pool.map(lambda n: s.api("POST", f"/api/v1/scep-requests/{request}/{'approve' if n % 2 else 'deny'}", b"{}"), range(16)))
            equal(sorted(status for status, _, _ in said), [200] + [409] * 15)
            equal({reply["code"] for status, reply, _ in said if status == 409}, {"POM-E0004"})


class Token:
    """A SoftHSM2 token in a folder of its own."""

    def __init__(self):
        if not shutil.which("softhsm2-util") or not shutil.which("pkcs11-tool") or not os.path.exists(MODULE):
            raise Skip("softhsm2 or opensc is not installed")
        self.folder = tempfile.mkdtemp(prefix="pomona-token-")
        self.env = {"SOFTHSM2_CONF": os.path.join(self.folder, "softhsm2.conf")}
        os.mkdir(os.path.join(self.folder, "tokens"), 0o700)
        pathlib.Path(self.env["SOFTHSM2_CONF"]).write_text(f"directories.tokendir = {self.folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
        self.run("softhsm2-util", "--init-token", "--free", "--label", "lab", "--pin", PIN, "--so-pin", "5678")

    def run(self, *args):
        subprocess.run(args, env={**os.environ, **self.env}, check=True, capture_output=True, timeout=60)

    def tool(self, *args):
        self.run("pkcs11-tool", "--module", MODULE, "--token-label", "lab", "--login", "--pin", PIN, *args)

    def key(self, label, kind="rsa:2048"):
        self.tool("--keypairgen", "--key-type", kind, "--label", label, "--id", secrets.token_hex(4))
        return f"pkcs11:token=lab;object={label};type=private"

    def bring(self, label, key):
        """A key made elsewhere."""
        path = os.path.join(self.folder, label + ".der")
        pathlib.Path(path).write_bytes(key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()))
        self.tool("--write-object", path, "--type", "privkey", "--label", label, "--id", secrets.token_hex(4), "--usage-sign", "--usage-decrypt")
        return f"pkcs11:token=lab;object={label};type=private"

    def __enter__(self):
        return self

    def __exit__(self, *args):
        shutil.rmtree(self.folder, ignore_errors=True)


@case
def keys_in_a_token():
    # The doctor, at the start, has libcurl set OpenSSL up with the module in it: keys in memory must be made all the same.
    with Token() as token, Server(*NO_APNS, "--set", f"ca.pkcs11_module={MODULE}", "--set", "doctor.interval_hours=6", env=token.env) as s:
        pin, wrong = keep(s, "pin", PIN.encode() + b"\n"), keep(s, "wrong", b"0000\n")
        root, issuing, curve, ra = token.key("root"), token.key("issuing"), token.key("curve", "EC:prime256v1"), token.key("ra")
        outside = Ca("School Root")
        brought = token.bring("brought", outside.key)
        chain = keep(s, "chain.pem", outside.pem)

        s.refused("ca", "create", "hsm", "--issuing-key", issuing, "--pin-file", wrong, text="PIN")
        s.refused("ca", "create", "hsm", "--issuing-key", "pkcs11:token=lab;object=none;type=private", "--pin-file", pin, text="none")
        s.refused("ca", "create", "hsm", "--issuing-key", issuing, "--ra-key", curve, "--pin-file", pin, text="RSA")
        s.refused("ca", "import", "school", chain, "--key", issuing, "--pin-file", pin, text="belongs to none")
        s.cli("ca", "create", "hsm", "--root-key", root, "--issuing-key", issuing, "--pin-file", pin)
        s.cli("ca", "create", "curves", "--key-type", "ec", "--issuing-key", curve, "--ra-key", ra, "--pin-file", pin)
        s.cli("ca", "import", "school", chain, "--key", brought, "--pin-file", pin)
        names = ("hsm", "curves", "school")
        equal([generation(s, n)["issuing"]["key"] for n in names], ["token"] * 3, "keys")
        equal(generation(s, "curves")["ra"]["key"], "token", "RA's key")
        for name in names:
            chain_verifies(s, enroll_by(s, f"of-{name}", name), generation(s, name))
        s.cli("ca", "renew", "hsm")
        chain_verifies(s, enroll_by(s, "of-hsm"), generation(s, "hsm"))
        s.refused("ca", "rekey", "hsm", text="--issuing-key")
        s.cli("ca", "rekey", "hsm", "--keep-root", "--issuing-key", token.key("second"), "--pin-file", pin)
        s.cli("ca", "rekey", "hsm", "--activate")
        chain_verifies(s, enroll_by(s, "of-hsm"), generation(s, "hsm", 2))
        s.cli("ca", "rekey", "hsm", "--finish")
        s.restart()
        for name, number in (("hsm", 2), ("curves", 1), ("school", 1)):
            chain_verifies(s, enroll_by(s, f"of-{name}"), generation(s, name, number))
        expect(PIN not in s.logs() and PIN not in json.dumps(audit(s)), "the PIN is in log or audit log")

        # Without the token the rest goes on, and what needs it says so.
        os.rename(os.path.join(token.folder, "tokens"), os.path.join(token.folder, "away"))
        os.mkdir(os.path.join(token.folder, "tokens"), 0o700)
        s.restart()
        equal(generation(s, "school")["issuing"]["key"], "token (not answering)", "a token that is away")
        s.enroll()
        answer = Scep(s, "of-school").get("GetCACert")
        status = Scep(s, "of-school").ask(make_csr(rsa_key(), challenge=new_challenge(s, "--profile", "of-school"))).http_status
        equal((answer.http_status, status), (200, 503), "SCEP of a CA whose token is away")


# ---------------------------------------------------------------- below an outside CA

@case
def a_ca_below_an_outside_one():
    with Server(*NO_APNS) as s:
        root = Ca("Outside Root")

        def answer(reply, name="Example Device CA", **options):
            """What the outside CA gives for a request: PEM."""
            csr = x509.load_pem_x509_csr(reply["csr"].encode())
            expect(csr.is_signature_valid and csr.extensions.get_extension_for_class(x509.BasicConstraints).value.ca, "the request is for a CA")
            ca = Ca(name, root, subject=csr.subject)
            return ca.certify(csr.public_key(), options.pop("issuer", root), **options).public_bytes(serialization.Encoding.PEM)
        s.refused("ca", "install", "school", keep(s, "a.pem", root.pem), text="none of the certificates is for the key")
        s.refused("ca", "csr", "school", text="subject")
        request = s.cli("ca", "csr", "school", "--subject", "O=Example School,CN=Example Device CA")
        equal(openssl("req", "-verify", "-noout", "-subject", "-nameopt", "RFC2253", input=request["csr"].encode()), b"subject=CN=Example Device CA,O=Example School\n", "the request")
        s.refused("ca", "csr", "school", "--subject", "CN=again", text="waits for the certificate of a request")
        # A request that nobody will answer is taken back, and another made.
        equal(s.cli("ca", "csr", "school", "--cancel"), {"ca": "school", "canceled": "school-1"}, "canceled")
        s.refused("ca", "csr", "school", "--cancel", text="no request")
        s.refused("ca", "install", "school", keep(s, "late.pem", answer(request)), keep(s, "root.pem", root.pem), text="none of the certificates is for the key")
        equal([e["object"] for e in audit(s, "ca.csr.cancel")], ["school"], "audit")
        request = s.cli("ca", "csr", "school", "--subject", "O=Example School,CN=Example Device CA")
        good = answer(request)
        for what, files, text in (
            ("another key", [Ca("Example Device CA", root).pem, root.pem], "none of the certificates is for the key"),
            ("no root", [good], "CN=Outside Root,O=Example School\" is missing"),
            ("another root", [good, Ca("Outside Root").pem], "is missing"),
            ("not a CA", [answer(request, ca=False), root.pem], "not a CA certificate"),
            ("expired", [answer(request, days=-1), root.pem], "has expired"),
        ):
            s.refused("ca", "install", "school", *[keep(s, f"{i}.pem", pem) for i, pem in enumerate(files)], text=text)
        s.restart()
        equal(generation(s, "school")["state"], "requested", "what was refused changes nothing")
        s.refused("scep-profile", "set", "of-school", "ca=school", text="school")
        s.cli("ca", "install", "school", keep(s, "a.cer", der(load_pem(good))), keep(s, "b.pem", root.pem))
        shown = generation(s, "school")
        equal((shown["state"], load_pem(shown["certificate_pem"])), ("active", load_pem(good)), "the installed CA")
        chain_verifies(s, enroll_by(s, "of-school", "school"), shown)

        # A new certificate for the same key is a renewal, whatever else is in the file.
        old = Scep(s, "of-school")
        s.refused("ca", "renew", "school", text='give it with "pomona ca install"')
        renewed = answer(request, days=2000)
        bundle = openssl("crl2pkcs7", "-nocrl", "-certfile", keep(s, "a.pem", renewed + root.pem), "-outform", "DER")
        s.refused("ca", "install", "school", keep(s, "junk.der", b"\x30\x03\x02\x01\x00"), text="neither PEM nor")
        s.cli("ca", "install", "school", keep(s, "a.p7b", bundle))
        equal(load_pem(generation(s, "school")["certificate_pem"]), load_pem(renewed), "the renewed CA")
        equal([g["number"] for g in s.cli("ca", "show", "school")], [1], "generations")
        expect(issued_by(old.enroll(new_challenge(s, "--profile", "of-school"))[1], load_pem(renewed)), "a request for the old certificate")

        # An outside CA that gives no keyEncipherment: an RA stands beside. And it is a rekey, for the key is new.
        request = s.cli("ca", "csr", "school", "--subject", "O=Example School,CN=Example Device CA G2")
        second = answer(request, "Example Device CA G2", usage="sign")
        s.cli("ca", "install", "school", keep(s, "a.pem", second), keep(s, "b.pem", root.pem))
        equal({g["number"]: g["state"] for g in s.cli("ca", "show", "school")}, {1: "active", 2: "next"}, "states")
        s.cli("ca", "rekey", "school", "--activate")
        chain_verifies(s, enroll_by(s, "of-school"), generation(s, "school", 2))
        equal(generation(s, "school", 2)["ra"]["key_type"], "rsa", "the RA")
        s.cli("ca", "rekey", "school", "--finish")
        chain_verifies(s, enroll_by(s, "of-school"), generation(s, "school", 2))
        equal([e["action"] for e in audit(s, object="school") if e["action"].startswith("ca.")],
              ["ca.csr", "ca.csr.cancel", "ca.csr", "ca.install", "ca.renew", "ca.csr", "ca.install", "ca.rekey.activate", "ca.rekey.finish"], "audit")


# ---------------------------------------------------------------- certificates, CRL, OCSP

def csr_file(s, key=None, name="asked.csr", **options):
    """A request as people bring it: PEM."""
    data = make_csr(key or rsa_key(), digest="sha256", **options)
    return keep(s, name, b"-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(data) + b"-----END CERTIFICATE REQUEST-----\n")


def issue(s, cn, *args):
    """A certificate by "ca issue"."""
    return load_pem(s.cli("ca", "issue", csr_file(s), "--subject", f"O=Example,CN={cn}", *args)["pem"])


def serial(cert):
    return f"{cert.serial_number:032X}"


class Crl:
    """What is published for a generation; verified by openssl against what "ca show" says."""

    def __init__(self, s, generation_id="default-1", headers=None):
        self.status, body, self.headers = s.request("GET", f"/ca/{generation_id}.crl", headers=headers, plain=True)
        if self.status != 200:
            return
        equal(self.headers["content-type"], "application/pkix-crl", "type of a CRL")
        name, number = generation_id.rsplit("-", 1)
        shown = generation(s, name, int(number))
        above, crl = keep(s, "above.pem", (shown["certificate_pem"] + shown["root_pem"]).encode()), keep(s, "crl.der", body)
        p = subprocess.run(["openssl", "crl", "-inform", "DER", "-in", crl, "-CAfile", above, "-noout", "-verify"], capture_output=True, text=True)
        expect(p.returncode == 0 and "verify OK" in p.stderr, p.stderr)
        self.crl = x509.load_der_x509_crl(body)
        self.number = self.crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        expect(self.crl.last_update < datetime.datetime.utcnow() < self.crl.next_update, "dates of the CRL")

    def reason(self, cert):
        """The reason that CERT is revoked with, "" for none said, None when it is not revoked."""
        row = self.crl.get_revoked_certificate_by_serial_number(cert.serial_number)
        if row is None:
            return None
        reasons = [e.value.reason.value for e in row.extensions if isinstance(e.value, x509.CRLReason)]
        return reasons[0] if reasons else ""


@case
def certificates_are_issued_and_found():
    with Server(*NO_APNS) as s:
        code, text, _ = s.cli_code("ca", "issue", csr_file(s, subject="evil", challenge="x", extensions=[(BASIC_CONSTRAINTS, True, bytes.fromhex("30030101ff"))]),
                                   "--subject", "O=Example,CN=printer", "--san", "dns:printer.example", "--san", "ip:192.0.2.7", "--days", "7")
        equal(code, 0, "exit of ca issue")
        cert = load_pem(text)
        equal(cert.subject.rfc4514_string(), "CN=printer,O=Example", "subject")
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        equal((names.get_values_for_type(x509.DNSName), [str(a) for a in names.get_values_for_type(x509.IPAddress)]), (["printer.example"], ["192.0.2.7"]), "names")
        expect(not cert.extensions.get_extension_for_class(x509.BasicConstraints).value.ca, "CA:TRUE was asked for and given")
        expect(6 < (cert.not_valid_after - datetime.datetime.utcnow()) / DAY < 7.1, "days")
        chain_verifies(s, cert, generation(s, "default"))
        other = issue(s, "router")
        s.refused("ca", "issue", csr_file(s, rsa.generate_private_key(65537, 1024)), text="1024")
        s.refused("ca", "issue", csr_file(s, sign_with=rsa_key()), text="POM-E")
        s.refused("ca", "issue", keep(s, "not.csr", b"nothing"), text="POM-E")
        s.refused("ca", "issue", csr_file(s), "--profile", "nothing", text='no SCEP profile "nothing"')
        s.refused("ca", "issue", csr_file(s), "--san", "smoke:signal", text="POM-E")
        d = s.enroll()
        s.cli("ca", "revoke", serial(other))

        def found(*args):
            return {c["serial"] for c in s.cli("ca", "list", *args)}
        equal(found(), {serial(cert), serial(other), serial(d.cert)}, "ca list")
        equal(found("--search", "PRINTER"), {serial(cert)}, "by a name")
        equal(found("--search", "printer.example"), {serial(cert)}, "by a subject alternative name")
        equal(found("--search", serial(other)[4:12].lower()), {serial(other)}, "by a part of the serial number")
        equal(found("--search", "nobody"), set(), "by what is not there")
        equal(found("--device", d.udid), {serial(d.cert)}, "of a device")
        equal(found("--device", "unknown"), set(), "of a device that is not there")
        equal((found("--state", "revoked"), found("--state", "valid")), ({serial(other)}, {serial(cert), serial(d.cert)}), "by state")
        shown = s.cli("ca", "cert", serial(cert).lower())
        equal((shown["serial"], shown["state"], load_pem(shown["pem"])), (serial(cert), "valid", cert), "ca cert")
        s.refused("ca", "cert", "00", text="POM-E")
        # Page by page it is the same.
        pages, after = set(), ""
        while after is not None:
            _, reply, _ = s.api("GET", f"/api/v1/certificates?limit=1&after={after}")
            pages |= {c["serial"] for c in reply["items"]}
            after = reply["next"]
        equal(pages, found(), "page by page")


@case
def revocation_and_the_crl():
    with Server(*NO_APNS) as s:
        certs = [issue(s, f"c{i}") for i in range(4)]
        first = Crl(s)
        equal(len(first.crl), 0, "revoked at the beginning")
        s.refused("ca", "revoke", serial(certs[0]), "--reason", "boredom", text="is none of")
        s.refused("ca", "revoke", serial(certs[0]), "--reason", "removeFromCRL", text="is none of")
        s.refused("ca", "revoke", "4711", text="POM-E")
        # One directly after the other: each is published when the answer comes.
        numbers = [first.number]
        for cert, reason in ((certs[0], "keyCompromise"), (certs[1], "certificateHold"), (certs[2], "unspecified")):
            status, reply, _ = s.api("POST", f"/api/v1/certificates/{serial(cert)}/revoke", {"reason": reason})
            equal((status, reply["state"]), (200, "held" if reason == "certificateHold" else "revoked"), f"{reply}")
            now = Crl(s)
            expect(now.reason(cert) is not None, f"{reason}: revoked, but not in the CRL")
            numbers.append(now.number)
        equal([now.reason(c) for c in certs], ["keyCompromise", "certificateHold", "", None], "reasons")
        s.refused("ca", "revoke", serial(certs[0]), text="is revoked already")
        s.refused("ca", "release", serial(certs[0]), text="is not on hold")
        s.cli("ca", "release", serial(certs[1]))
        now = Crl(s)
        equal([now.reason(c) for c in certs], ["keyCompromise", None, "", None], "after the release")
        numbers.append(now.number)
        equal(s.cli("ca", "crl")[0]["generation"], "default-1", "ca crl")
        numbers.append(Crl(s).number)
        s.restart()
        s.cli("ca", "revoke", serial(certs[3]))
        numbers.append(Crl(s).number)
        equal(numbers, sorted(set(numbers)), "numbers only rise")
        wait_for("the CRL rests", lambda: Crl(s).headers["etag"] == (time.sleep(3), Crl(s).headers["etag"])[1], 30)
        now = Crl(s)
        equal(Crl(s, headers={"If-None-Match": now.headers["etag"]}).status, 304, "an ETag that is known")
        equal(Crl(s, headers={"If-None-Match": '"other"'}).status, 200, "an ETag that is not")
        equal(s.request("GET", "/ca/default-1.crl")[0], 200, "over TLS")
        equal([s.request("GET", f"/ca/{name}", plain=True)[0] for name in ("default-2.crl", "x.crl", "default-1.txt", "default-1")], [404] * 4, "what is not there")
        status, body, headers = s.request("GET", "/ca/default-1.cer", plain=True)
        equal((status, body, headers["content-type"]), (200, der(load_pem(generation(s, "default")["certificate_pem"])), "application/pkix-cert"), "the CA's certificate")
        points = certs[0].extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        equal([n.value for p in points for n in p.full_name], [f"{s.url}/ca/default-1.crl"], "where certificates say that it is")
        # Under the renewed CA certificate too; and a device is refused at once.
        s.cli("ca", "renew")
        s.cli("ca", "crl")
        equal(Crl(s).reason(certs[0]), "keyCompromise", "after a renewal of the CA")
        d = s.enroll()
        s.cli("ca", "revoke", serial(d.cert), "--reason", "certificateHold")
        equal(d.idle()[0], 403, "on hold")
        s.cli("ca", "release", serial(d.cert))
        equal(d.idle(), (200, b""), "released")


def ocsp_request(pairs, digest=None, nonce=None):
    """DER. PAIRS: (certificate, issuer)."""
    def cert_id(cert, issuer):
        hashed = digest or hashes.SHA1()
        name = hashlib.new(hashed.name, asn1_x509.Certificate.load(der(issuer)).subject.dump()).digest()
        key = hashlib.new(hashed.name, asn1_x509.Certificate.load(der(issuer)).public_key["public_key"].contents[1:]).digest()
        algorithm = {"sha1": "1.3.14.3.2.26", "sha256": "2.16.840.1.101.3.4.2.1"}[hashed.name]
        number = cert if isinstance(cert, int) else cert.serial_number
        return tlv(0x30, tlv(0x30, tlv(0x30, oid(algorithm), b"\x05\x00"), tlv(0x04, name), tlv(0x04, key), core.Integer(number).dump()))
    extensions = tlv(0xa2, tlv(0x30, tlv(0x30, oid("1.3.6.1.5.5.7.48.1.2"), tlv(0x04, tlv(0x04, nonce))))) if nonce else b""
    return tlv(0x30, tlv(0x30, tlv(0x30, *[cert_id(*pair) for pair in pairs]), extensions))


@case
def ocsp():
    with Server(*NO_APNS) as s:
        good, revoked, held = (issue(s, n) for n in ("good", "revoked", "held"))
        s.cli("ca", "revoke", serial(revoked), "--reason", "keyCompromise")
        s.cli("ca", "revoke", serial(held), "--reason", "certificateHold")
        shown = generation(s, "default")
        ca = load_pem(shown["certificate_pem"])
        trusted, issuer = keep(s, "trusted.pem", (shown["certificate_pem"] + shown["root_pem"]).encode()), keep(s, "issuer.pem", shown["certificate_pem"].encode())
        url = f"http://127.0.0.1:{s.http_port}/ocsp"
        for options in ((), ("-no_nonce",), ("-sha256",), ("-sha256", "-no_nonce")):
            for cert, wanted in ((good, ": good"), (revoked, ": revoked"), (held, ": revoked")):
                path = keep(s, "asked.pem", cert.public_bytes(serialization.Encoding.PEM))
                p = subprocess.run(["openssl", "ocsp", "-CAfile", trusted, "-issuer", issuer, *options, "-cert", path, "-url", url], capture_output=True, text=True, timeout=60)
                expect(p.returncode == 0 and f"{path}{wanted}" in p.stdout and "Response verify OK" in p.stderr and "WARNING" not in p.stderr, f"{options} {wanted}: {p.stdout}{p.stderr}")
        p = subprocess.run(["openssl", "ocsp", "-CAfile", trusted, "-issuer", issuer, "-serial", "0x4711", "-cert", path, "-url", url], capture_output=True, text=True, timeout=60)
        expect("0x4711: unknown" in p.stdout and f"{path}: revoked" in p.stdout, f"two in one request: {p.stdout}{p.stderr}")

        def ask(data, get=False):
            path = "/ocsp/" + urllib.parse.quote(base64.b64encode(data).decode(), safe="") if get else "/ocsp"
            status, body, headers = s.request("GET" if get else "POST", path, None if get else data, {} if get else {"Content-Type": "application/ocsp-request"}, plain=True)
            equal((status, headers["content-type"]), (200, "application/ocsp-response"), "OCSP")
            reply = x509_ocsp.load_der_ocsp_response(body)
            return reply, headers
        nonce = secrets.token_bytes(16)
        for get in (False, True):
            reply, headers = ask(ocsp_request([(good, ca)], nonce=nonce), get)
            equal((reply.certificate_status.name, headers["cache-control"]), ("GOOD", "no-store"), "with a nonce")
            expect(nonce in reply.tbs_response_bytes, "the nonce")
            reply, headers = ask(ocsp_request([(revoked, ca)], hashes.SHA256()), get)
            equal((reply.certificate_status.name, reply.revocation_reason.value, reply.hash_algorithm.name), ("REVOKED", "keyCompromise", "sha256"), "SHA-256")
            equal("max-age" in headers["cache-control"], get, f"Cache-Control {headers['cache-control']}")
            expect(reply.this_update <= datetime.datetime.utcnow() < reply.next_update, "dates")
        responder = reply.certificates[0]
        expect(issued_by(responder, ca) and x509.oid.ExtendedKeyUsageOID.OCSP_SIGNING in responder.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value, "the responder")
        responder.extensions.get_extension_for_class(x509.OCSPNoCheck)
        reply, _ = ask(ocsp_request([(good, ca), (revoked, ca), (0x4711, ca)] * 21))
        equal([r.certificate_status.name for r in reply.responses], ["GOOD", "REVOKED", "UNKNOWN"] * 21, "many CertIDs")
        stranger = Ca("Stranger").cert
        reply, _ = ask(ocsp_request([(good, ca), (good, stranger)]))
        equal([r.certificate_status.name for r in reply.responses], ["GOOD", "UNKNOWN"], "an issuer that is not ours beside one that is")
        for what, data, status in (
            ("an issuer that is not ours", ocsp_request([(good, stranger)]), "UNAUTHORIZED"),
            ("too many CertIDs", ocsp_request([(good, ca)] * 65), "MALFORMED_REQUEST"),
            ("no CertID", ocsp_request([]), "MALFORMED_REQUEST"),
            ("a nonce that is too long", ocsp_request([(good, ca)], nonce=b"n" * 33), "MALFORMED_REQUEST"),
            ("bytes after the end", ocsp_request([(good, ca)]) + b"\0", "MALFORMED_REQUEST"),
            ("garbage", b"garbage", "MALFORMED_REQUEST"),
            ("nothing", b"", "MALFORMED_REQUEST"),
        ):
            for get in (False, True):
                equal(ask(data, get)[0].response_status.name, status, f"{what}, {get}")
        equal(s.request("GET", "/ocsp", plain=True)[0], 200, "GET of the responder itself")
        equal(s.request("POST", "/ocsp", b"\x30" * (1 << 20), plain=True)[0], 413, "a megabyte")
        # Released and renewed: the answers follow.
        s.cli("ca", "release", serial(held))
        s.cli("ca", "renew")
        s.restart()
        equal(ask(ocsp_request([(held, load_pem(generation(s, "default")["certificate_pem"]))]))[0].certificate_status.name, "GOOD", "released")


# ---------------------------------------------------------------- audit, warnings

def is_kept_from(s, statement):
    """Whether the engine changes nothing, or says that the audit log can only grow."""
    try:
        return s.sql(statement) == 0
    except sqlite3.DatabaseError as e:
        return "append-only" in str(e)


@case
def the_audit_log():
    unprotect = [f"DROP {'TRIGGER' if store.ENGINE == 'sqlite' else 'RULE'} audit_no_{change}{'' if store.ENGINE == 'sqlite' else ' ON audit'}" for change in ("update", "delete")]
    with Server(*NO_APNS) as s:
        d = s.enroll()
        made = s.cli("challenge", "new", "--subject", "CN=a")
        s.cli("challenge", "revoke", made["id"])
        cert = issue(s, "printer")
        s.cli("ca", "revoke", serial(cert), "--reason", "certificateHold")
        s.cli("ca", "release", serial(cert))
        s.cli("scep-profile", "set", "routers", "challenge=none", "approval=manual")
        wait = Scep(s, "routers")
        for verb in ("approve", "deny"):
            wait.ask(make_csr(rsa_key(), subject=verb))
            request = s.cli("ca", "requests", "--state", "pending")[0]
            s.cli("ca", verb, request["id"], "--reason", "so it is")
        Scep(s).ask(make_csr(rsa_key(), challenge="wrong"))
        s.cli("device", "renew", d.udid)
        d.run_commands()
        s.cli("scep-profile", "remove", "routers")
        s.cli("ca", "crl")
        entries = audit(s)
        equal([e["seq"] for e in entries], list(range(1, len(entries) + 1)), "numbers")
        actions = {e["action"] for e in entries}
        wanted = {"ca.create", "certificate.issue", "certificate.revoke", "certificate.release", "challenge.new", "challenge.revoke", "profile.set", "profile.remove",
                  "scep.refuse", "scep.approve", "scep.deny", "crl.publish"}
        equal(wanted - actions, set(), f"decisions that are not there; there are {sorted(actions)}")
        expect(any(e["object"] == serial(d.cert) for e in entries), "the renewed identity")
        revoked = audit(s, object=serial(cert), action="certificate.revoke")
        equal([(e["actor"], e["detail"]["reason"]) for e in revoked], [(f"uid:{os.getuid()}", "certificateHold")], "who and why")
        equal(s.cli("ca", "audit-verify"), {"ok": True, "entries": len(entries)}, "audit-verify")

        s.stop()
        for statement in ("UPDATE audit SET actor = 'nobody' WHERE seq = 2", "DELETE FROM audit WHERE seq = 2"):
            expect(is_kept_from(s, statement), f"the audit log let itself be changed: {statement}")
        for statement in unprotect:
            s.sql(statement)
        whole = s.sql("SELECT * FROM audit ORDER BY seq")
        last = len(entries)
        for what, statements, broken_at in (
            ("another actor", [["UPDATE audit SET actor = 'nobody' WHERE seq = 2"]], 2),
            ("another time", [["UPDATE audit SET at = at + 1 WHERE seq = ?", last]], last),
            ("another detail", [["UPDATE audit SET detail = '{}' WHERE seq = 3"]], 3),
            ("another hash", [["UPDATE audit SET hash = ? WHERE seq = 4", bytes(32)]], 4),
            ("moved between fields", [["UPDATE audit SET action = action || substr(object, 1, 1), object = substr(object, 2) WHERE seq = 2"]], 2),
            ("removed", [["DELETE FROM audit WHERE seq = 3"]], 3),
            ("removed and closed up", [["DELETE FROM audit WHERE seq = 3"], ["UPDATE audit SET seq = -seq WHERE seq > 3"], ["UPDATE audit SET seq = -seq - 1 WHERE seq < 0"]], 3),
            ("the first one removed", [["DELETE FROM audit WHERE seq = 1"]], 1),
        ):
            for statement, *values in statements:
                s.sql(statement, *values)
            s.start()
            code, out, err = s.cli_code("ca", "audit-verify", "--json")
            equal((code, json.loads(out)["ok"], json.loads(out)["broken_at"]), (1, False, broken_at), f"{what}: {out}{err}")
            s.stop()
            with s.store.transaction() as execute:
                execute("DELETE FROM audit")
                execute.many(f"INSERT INTO audit VALUES ({','.join('?' * len(whole[0]))})", whole)
        s.start()
        equal(s.cli("ca", "audit-verify")["ok"], True, "as it was")


@case
def certificates_that_end_soon():
    with Server(*NO_APNS, push_cert=False) as s:
        steps = {"d70": (70, None), "d50": (50, 60), "d20": (20, 30), "d5": (5, 10), "d0": (0.5, 1)}
        root = Ca("Long Root", days=4000)
        for name, (days, _) in steps.items():
            ca = Ca(name, root, days=days)
            s.cli("ca", "import", name, keep(s, "ca.pem", ca.pem + root.pem + ca.key_pem()))
        path = keep(s, "push.pem", push_cert(TOPIC, days=5))
        s.cli("push-cert", "import", path)
        s.restart()
        held = {h["name"]: h for h in s.cli("ca", "expiry")}
        for name, (days, warn) in steps.items():
            h = held[f"{name}-1/issuing"]
            equal(h["warn"], warn, name)
            # A whole day is still left only within the very millisecond of the import.
            expect(h["days_left"] in (int(days), int(days) - (days == int(days))), f"{name}: {h['days_left']} days left")
            ends = s.metric(f'pomona_certificate_expiry_seconds{{certificate="{name}-1/issuing"}}')
            expect(abs(ends - time.time() - days * 86400) < 300, f"{name}: metric {ends}")

        def lines(name):
            return [line for line in s.logs().splitlines() if "a certificate ends soon" in line and f"certificate={name}-1/issuing" in line]
        wait_for("the log warns", lambda: all(lines(name) for name, (_, warn) in steps.items() if warn is not None))
        # Once, however often the server starts; and again when the end is nearer, or it is another certificate.
        s.restart()
        wait_for("it has looked again", lambda: s.metric('pomona_jobs_total{job="warnings"}'))
        equal({name: len(lines(name)) for name in steps}, {name: int(warn is not None) for name, (_, warn) in steps.items()}, "lines of the log")
        with s.stopped() as execute:
            [noted] = execute("SELECT value FROM setting WHERE name = 'expiry_warned'")
            execute("UPDATE setting SET value = ? WHERE name = 'expiry_warned'", json.dumps({key: 60 if step == 30 else step for key, step in json.loads(noted[0]).items()} | {"gone until 2020-01-01T00:00:00Z": 1, "elsewhere until 2099-01-01T00:00:00Z": 1}))
        wait_for("the next step is told", lambda: len(lines("d20")) == 2)
        equal((len(lines("d50")), len(lines("d5"))), (1, 1), "the others are not")
        wait_for("it is noted", lambda: "gone until" not in s.sql("SELECT value FROM setting WHERE name = 'expiry_warned'")[0][0])
        expect("elsewhere until" in s.sql("SELECT value FROM setting WHERE name = 'expiry_warned'")[0][0], "what another node may hold is kept")
        equal(held[f"push/{TOPIC}"]["warn"], 10, "the push certificate")
        names = {"default-1/root", "default-1/issuing", "default-1/ocsp", "profile_signing", "tls", f"push/{TOPIC}"}
        equal(names - set(held), set(), "what is looked at")
        expect(all(held[n]["warn"] is None for n in names - {f"push/{TOPIC}"}), "new certificates")


# ---------------------------------------------------------------- identities

def age(s, device, starts, ends):
    """Behind the server's back, while it is stopped: the device's certificate began and ends so many days from now."""
    now = time.time()
    with s.stopped() as execute:
        equal(execute("UPDATE certificate SET not_before = ?, not_after = ? WHERE serial = ?", int((now + starts * 86400) * 1000), int((now + ends * 86400) * 1000), serial(device.cert)), 1, "certificates")
        equal(execute("UPDATE epoch SET renew_at = ? WHERE certificate_serial = ?", int((now + starts * 86400 + (ends - starts) * 57600) * 1000), serial(device.cert)), 1, "epochs")
    device.hang_up()


@case
def identities_are_renewed_in_time():
    for source in ("scep", "pkcs12"):
        with Server(*NO_APNS, "--set", f"identity.source={source}") as s:
            d, fresh = s.enroll(), s.enroll()
            first, before = d.cert, s.cli("device", "show", d.udid)
            age(s, fresh, -60, 40)
            age(s, d, -70, 30)
            wait_for("a new identity waits", lambda: s.cli("command", "list", d.udid))
            equal(s.cli("command", "list", fresh.udid), [], "before two thirds of its life")
            # Settings of new enrollments are nothing to those that are there.
            s.restart("--set", "enroll.access_rights=1", "--set", "server.organization=Another Name")
            equal(d.hang_up().run_commands(), [("InstallProfile", "Acknowledged")], f"{source} ({d.why})")
            expect(d.cert != first and d.cert.subject == first.subject, f"{source}: the new identity")
            equal(d.idle(), (200, b""), "with the new identity")
            after = s.cli("device", "show", d.udid)
            equal((after["id"], after["state"]), (before["id"], "enrolled"), "the same enrollment")
            equal([e["kind"] for e in s.cli("device", "timeline", d.udid)].count("Authenticate"), 1, "Authenticate messages")
            equal([c["state"] for c in s.cli("ca", "list", "--device", d.udid)], ["valid"] * 2, "both are valid for a while")
            s.restart()
            equal(s.cli("command", "list", d.udid), [], "nothing more to renew")


@case
def identities_of_an_outside_ca_are_renewed():
    with Server(*NO_APNS) as outside, Server(*NO_APNS) as s:
        secret = keep(s, "secret", b"0123456789ABCDEF0123456789ABCDEF")
        outside.cli("scep-profile", "set", "mdm", "challenge=static", f"static_challenge=@{secret}")
        s.cli("outside-ca", "set", "other", f"url=http://127.0.0.1:{outside.http_port}/scep/mdm", f"challenge=@{secret}")
        ca = load_pem(generation(outside, "default")["certificate_pem"])
        s.restart("--set", "identity.source=scep-proxy", "--set", "identity.outside=other")
        d = s.enroll()
        expect(issued_by(d.cert, ca), "the identity's issuer")
        first = d.cert
        s.cli("device", "renew", d.udid)
        equal(d.run_commands(), [("InstallProfile", "Acknowledged")], f"a new identity ({d.why})")
        expect(d.cert != first and issued_by(d.cert, ca), "the new identity")
        equal([e["kind"] for e in s.cli("device", "timeline", d.udid)].count("Authenticate"), 1, "Authenticate messages")
        row = s.cli("ca", "list", "--device", d.udid, "--search", serial(d.cert).lower().lstrip("0"))
        equal([(c["state"], c["generation"]) for c in row], [("valid", "outside:other")], "in the list")
        s.cli("ca", "revoke", row[0]["serial"])
        equal(d.idle()[0], 403, "revoked here")


@case
def expired_identities():
    with Server(*NO_APNS) as s:
        d, lost = s.enroll(), s.enroll()
        lock = s.cli("command", "send", d.udid, "DeviceLock")["command_uuid"]
        age(s, d, -100, -29)
        age(s, lost, -100, -31)
        equal(lost.idle()[0], 403, "after the grace")
        s.cli("device", "renew", lost.udid)
        equal(lost.idle()[0], 403, "after the grace, whatever waits")
        equal(d.authenticate()[0], 403, "an expired identity cannot enroll")
        equal(d.hang_up().run_commands(), [("InstallProfile", "Acknowledged"), ("DeviceLock", "Acknowledged")], f"first the new identity ({d.why})")
        equal(s.cli("command", "show", lock)["status"], "Acknowledged", "the command that waited")
        expired = s.enroll()
        age(s, expired, -100, -1)
        s.cli("command", "send", expired.udid, "DeviceLock")
        equal(expired.run_commands(lambda command: "NotNow"), [("InstallProfile", "NotNow")], "nothing but the new identity")
        s.restart("--set", "ca.expired_grace_days=0")
        equal(expired.hang_up().idle()[0], 403, "without a grace")


@case
def a_revoked_device_may_be_told_to_unenroll():
    with Server(*NO_APNS) as s:
        d = s.enroll()
        s.cli("ca", "revoke", serial(d.cert))
        status, body = d.idle()
        expect(status == 403 and b"unrecognized" not in body, f"{status} {body}")
        s.restart("--set", "ca.revoked_unenroll=true")
        status, body = d.hang_up().idle()
        equal((status, json.loads(body)["code"]), (403, "com.apple.unrecognized.device"), "by explicit setting")


@case
def the_public_url_stays():
    with Server(*NO_APNS) as s:
        other = ("--set", "server.url=https://127.0.0.1:1")
        s.restart(*other)
        s.restart()
        d = s.enroll()
        s.stop()
        s.start(*other, wait=False)
        expect(s.process.wait(15) != 0, "it started")
        expect(s.url in s.logs() and "allow_url_change" in s.logs(), s.logs()[-500:])
        s.start(*other, "--set", "server.allow_url_change=true")
        expect("the public URL has changed" in s.logs(), "a change is said aloud")
        equal(Device(s).read_profile(s.profile(s.link())).mdm["ServerURL"], "https://127.0.0.1:1/mdm", "new enrollments")
        # The one that is there is told its own URL again: it would refuse another.
        s.cli("device", "renew", d.udid)
        equal(d.hang_up().run_commands(), [("InstallProfile", "Acknowledged")], f"a new identity all the same ({d.why})")


def from_schema(version):
    """A data directory as a release with that schema left it, with one device: tests/data/schemaN."""
    source = pathlib.Path(__file__).parent.parent / "data" / f"schema{version}"
    root = tempfile.mkdtemp(prefix="pomona-")
    data = os.path.join(root, "data")
    os.mkdir(data, 0o700)
    for name in ("pomona.conf", "seal.key", "admin.token", "root-ca.pem"):
        shutil.copy(source / name, data)
        os.chmod(os.path.join(data, name), 0o600)
    with contextlib.closing(sqlite3.connect(os.path.join(data, "pomona.db"))) as db:
        db.executescript((source / "pomona.sql").read_text())
        db.execute(f"PRAGMA user_version = {version}")
    saved = json.loads((source / "device.json").read_text())
    with Server(*NO_APNS, url="https://127.0.0.1", data=root) as s:
        d = Device(s, udid=saved["udid"])
        d.token, d.magic = bytes.fromhex(saved["token"]), saved["magic"]
        d.key, d.cert = serialization.load_pem_private_key(saved["key"].encode(), None), load_pem(saved["cert"])
        d.read_profile(base64.b64decode(saved["payload"]))
        # What waited for it when the server was stopped is still there.
        equal(d.run_commands(), [] if version == 1 else [("DeviceInformation", "Acknowledged")], "the device goes on")
        shown = generation(s, "default")
        equal((shown["id"], shown["state"], shown["source"], shown["devices"]), ("default-1", "active", "own", 1), "its CA")
        equal(der(load_pem(shown["root_pem"])), d.roots()[0], "its root")
        chain_verifies(s, d.cert, shown)
        # What its profile said was said by the settings of that time.
        s.restart("--set", "enroll.access_rights=1")
        s.cli("device", "renew", d.udid)
        first = d.cert
        equal(d.hang_up().run_commands(), [("InstallProfile", "Acknowledged")], f"a new identity ({d.why})")
        expect(d.cert != first and issued_by(d.cert, load_pem(shown["certificate_pem"])), "the new identity")
        equal(d.token_update(), (200, b""), "TokenUpdate")
        wait_for("a responder", lambda: generation(s, "default")["ocsp"])
        equal(Crl(s).reason(first), None, "the CRL")
        s.cli("ca", "rekey")
        wait_for("the new root waits", lambda: s.cli("command", "list", d.udid))
        equal(d.run_commands(), [("InstallProfile", "Acknowledged")], f"the new root ({d.why})")
        s.cli("ca", "rekey", "--activate")
        wait_for("a new identity waits", lambda: s.cli("command", "list", d.udid))
        equal(d.hang_up().run_commands(), [("InstallProfile", "Acknowledged")], f"an identity of the new key ({d.why})")
        s.cli("ca", "rekey", "--finish")
        equal(d.hang_up().idle(), (200, b""), "after the rekey")
        newcomer = s.enroll()
        equal(newcomer.idle(), (200, b""), "a new device")
        equal(s.cli("ca", "audit-verify")["ok"], True, "audit-verify")


@case
def data_of_the_first_schema():
    from_schema(1)


@case
def data_of_the_second_schema():
    from_schema(2)


if __name__ == "__main__":
    main()
