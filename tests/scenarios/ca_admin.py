"""What administrators do with CAs and certificates: make, import, ask an outside CA, issue, revoke, audit; and what becomes of old identities and old data."""
import sqlite3
import warnings

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
    with Token() as token, Server(*NO_APNS, "--set", f"ca.pkcs11_module={MODULE}", env=token.env) as s:
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
        s.cli("ca", "install", "school", keep(s, "a.pem", good), keep(s, "b.pem", root.pem))
        shown = generation(s, "school")
        equal((shown["state"], load_pem(shown["certificate_pem"])), ("active", load_pem(good)), "the installed CA")
        chain_verifies(s, enroll_by(s, "of-school", "school"), shown)

        # A new certificate for the same key is a renewal, whatever else is in the file.
        old = Scep(s, "of-school")
        s.refused("ca", "renew", "school", text='give it with "pomona ca install"')
        renewed = answer(request, days=2000)
        s.cli("ca", "install", "school", keep(s, "a.pem", renewed + root.pem))
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
              ["ca.csr", "ca.install", "ca.renew", "ca.csr", "ca.install", "ca.rekey.activate", "ca.rekey.finish"], "audit")


if __name__ == "__main__":
    main()
