"""Apple Watches by declaration: a simulated supervised iPhone is told where its watch is enrolled and what that pins; the watch trusts nothing else."""
import os
import ssl
import threading

from ddm import *
from harness import _cases

_cases.clear()
MINUTE_S = 60


class Chain:
    """A root, an intermediate and a server's certificate."""

    def __init__(self, root, aia=None):
        self.dir = root
        now = datetime.datetime.utcnow()
        self.keys = {n: rsa_key() for n in ("root", "intermediate", "leaf")}

        def make(name, issuer, *extensions):
            subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"Test {name}")])
            builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"Test {issuer}")])).public_key(self.keys[name].public_key())
                       .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=30)))
            for extension, critical in extensions:
                builder = builder.add_extension(extension, critical)
            return builder.sign(self.keys[issuer], hashes.SHA256())
        ca = ((x509.BasicConstraints(True, None), True), (x509.KeyUsage(False, False, False, False, False, True, True, False, False), True))
        import ipaddress
        server = ((x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False), (x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), False))
        if aia:
            server += (x509.AuthorityInformationAccess([x509.AccessDescription(x509.AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(aia))]), False),
        self.certs = {"root": make("root", "root", *ca), "intermediate": make("intermediate", "root", *ca), "leaf": make("leaf", "intermediate", *server)}
        for name in self.certs:
            self.write(f"{name}.pem", name)

    def write(self, file, *names):
        path = os.path.join(self.dir, file)
        pathlib.Path(path).write_bytes(b"".join(self.certs[n].public_bytes(serialization.Encoding.PEM) for n in names))
        return path

    def path(self, name):
        return os.path.join(self.dir, f"{name}.pem")

    def key(self):
        path = os.path.join(self.dir, "tls.key")
        pathlib.Path(path).write_bytes(pem_key(self.keys["leaf"]))
        return path


def sim(*args, code=0):
    p = subprocess.run([POMONA, "sim", "device", "--json", *args], capture_output=True, text=True, timeout=120)
    expect(p.returncode == code, f"sim device {args}: exit {p.returncode}, wanted {code}\n{p.stdout}{p.stderr}")
    return [json.loads(line) for line in p.stdout.splitlines()], p.stderr


class Place:
    """A factory that the server knows, and a phone in the group."""

    def __init__(self, s, ca_file, supervised=True):
        self.s, self.ca = s, ca_file
        self.factory, self.phone = os.path.join(s.root, "factory"), os.path.join(s.root, "phone")
        run("sim", "factory-ca", "--dir", self.factory)
        s.cli("device-ca", "add", os.path.join(self.factory, "device-ca.pem"))
        s.cli("group", "create", "phones")
        sim("--ca-file", ca_file, "--state", self.phone, *(["--supervised"] if supervised else []), "--polls", "0", s.link()["profile_url"])
        self.udid = s.cli("device", "list")[0]["udid"]
        s.cli("group", "add", "phones", self.udid)

    def connect(self, *args):
        """One connection of the phone."""
        return sim("--ca-file", self.ca, "--state", self.phone, *args, "--polls", "1", "none")[0]

    def tell_supervised(self, supervised=True):
        self.s.cli("command", "send", self.udid, "DeviceInformation", 'Queries=["IsSupervised"]')
        self.connect(*(["--supervised"] if supervised else []))

    def watch(self, code=0):
        return sim("--ca-file", self.ca, "--factory-ca", self.factory, "--kind", "watch", "--phone", self.phone, "--supervised", "--polls", "1", "phone", code=code)


@case
def a_phone_is_told_and_its_watch_enrolls():
    with Server(*NO_APNS) as s:
        place = Place(s, s.root_ca)
        other = client(s, product="Mac15,3")
        s.cli("group", "add", "phones", other.udid)
        skipped = {x["udid"]: x["why"] for x in s.cli("watch", "enable", "--group", "phones")["skipped"]}
        expect("no iPhone" in skipped[other.udid] and "IsSupervised" in skipped[place.udid], f"{skipped}")
        settle(s)
        equal(commands(s, other), [])
        place.tell_supervised()
        made = s.cli("watch", "enable", "--group", "phones")
        equal((len(made["assigned"]), made["anchors"], made["publicly_trusted"], made["url"]), (1, 1, False, s.url + "/watch"))
        anchor = s.cli("declaration", "show", "watch.anchor.1")["payload"]["Reference"]
        equal(anchor["Hash-SHA-256"], hashlib.sha256(der(load_pem(pathlib.Path(s.root_ca).read_text()))).hexdigest(), "the root that devices need")
        settle(s)
        place.connect("--supervised")
        rows = {r["identifier"]: (r["active"], r["valid"], r["current"]) for r in s.cli("device", "declarations", place.udid)}
        equal((rows["watch.enrollment"], rows["watch.activation"]), ((True, "valid", True), (True, "valid", True)))
        place.watch()
        watches = s.cli("watch", "list")
        equal([w["state"] for w in watches], ["used"], "by its phone's token")
        shown = s.cli("device", "show", watches[0]["udid"])
        equal((shown["state"], watches[0]["phone_enrollment_id"]), ("enrolled", s.cli("device", "show", place.udid)["id"]), "managed by itself, and linked to its phone")
        before = s.cli("declaration", "show", "watch.enrollment")["token"]
        s.cli("watch", "enable", "--group", "phones")
        equal(s.cli("declaration", "show", "watch.enrollment")["token"], before, "a second time nothing changes")
        # Without the declaration there is nothing to ask.
        os.remove(os.path.join(place.phone, "watch.json"))
        expect("no active declaration" in place.watch(code=1)[1], "told")


@case
def what_watches_pin():
    with tempfile.TemporaryDirectory() as work:
        chain = Chain(work)
        full = chain.write("full.pem", "leaf", "intermediate")
        with Server(*NO_APNS, "--set", f"tls.certificate={full}", "--set", f"tls.key={chain.key()}") as s:
            s.__class__ = type("Files", (Server,), {"root_ca": property(lambda self: chain.path("root"))})
            place = Place(s, chain.path("root"))
            place.tell_supervised()
            s.refused("watch", "enable", "--group", "phones", text="--anchor FILE")
            s.refused("watch", "enable", "--group", "nobody", "--anchor", chain.path("root"), text="no group")
            stranger = Chain(tempfile.mkdtemp(dir=work))
            s.refused("watch", "enable", "--group", "phones", "--anchor", stranger.path("root"), text="leads to none of the 1 listed anchors")
            equal(s.cli("declaration", "list"), [], "nothing is published")
            for name in ("root", "intermediate", "leaf"):
                equal(s.cli("watch", "enable", "--group", "phones", "--anchor", chain.path(name))["anchors"], 1)
                settle(s)
                place.connect("--supervised")
                place.watch()
                equal([w["state"] for w in s.cli("watch", "list")][-1], "used", f"{name} as anchor")
            # Published by hand, against all advice: the watch trusts nothing else.
            other = os.path.join(work, "other.der")
            pathlib.Path(other).write_bytes(der(stranger.certs["root"]))
            add(s, declaration("watch.anchor.1", {}, "asset.credential.certificate"), "--content", other)
            settle(s)
            place.connect("--supervised")
            n = len(s.cli("watch", "list"))
            place.watch(code=6)
            equal(len(s.cli("watch", "list")), n, "it did not even ask")


@case
def chains_that_no_watch_would_trust():
    with tempfile.TemporaryDirectory() as work:
        chain, fetched = Chain(work), Chain(tempfile.mkdtemp(dir=work), aia="http://ca.example.org/intermediate.cer")
        cases = ((chain, ("leaf",), "anchor-not-reached: the server's certificate is sent alone", "List the certificate that the finding names"),
                 (fetched, ("leaf",), "chain-leaf-only: ", "Put the intermediate behind the server's certificate"),
                 (fetched, ("leaf", "root"), "chain-leaf-only: ", "a watch does not"),
                 (chain, ("leaf", "root"), "anchor-not-reached: ", "leads to none of the 1 listed anchors"),
                 (chain, ("leaf", "leaf", "intermediate"), "chain-leaf-twice: ", "(POM-E8315)"))
        for which, names, *texts in cases:
            file = which.write("tls.pem", *names)
            with Server(*NO_APNS, "--set", f"tls.certificate={file}", "--set", f"tls.key={which.key()}") as s:
                s.cli("group", "create", "phones")
                said = s.refused("watch", "enable", "--group", "phones", "--anchor", which.path("root"), text="no watch would trust " + s.url)
                expect(all(text in said for text in texts), f"{names}: {texts} in {said}")
                equal((s.cli("declaration", "list"), s.cli("set", "list")), ([], []), "nothing is published")
                expect("refused reason=POM-E7002" not in s.logs(), "the look is no refused request")
        # Whoever knows better says so, and is told what was found.
        with Server(*NO_APNS, "--set", f"tls.certificate={file}", "--set", f"tls.key={chain.key()}") as s:
            s.cli("group", "create", "phones")
            made = s.cli("watch", "enable", "--group", "phones", "--anchor", chain.path("root"), "--force")
            equal(([f["rule"] for f in made["findings"] if f["severity"] == "error"], made["unreachable"], made["anchors"]), (["chain-leaf-twice"], None, 1))
            equal({f["systems"] and "watchos" in f["systems"] for f in made["findings"]}, {True}, "only what concerns watches")
            expect("watch.enrollment" in [d["identifier"] for d in s.cli("declaration", "list")], "published")


class Front:
    """A proxy that ends TLS with a chain of its own, as far as the handshake goes."""

    def __init__(self, chain_file, key_file):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(chain_file, key_file)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                one = self.socket.accept()[0]
                one.settimeout(20)
                with contextlib.suppress(OSError), self.context.wrap_socket(one, server_side=True) as tls:
                    tls.recv(4096)
                    tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(20)


@case
def what_stands_in_front_counts():
    with tempfile.TemporaryDirectory() as work:
        chain = Chain(work, aia="http://ca.example.org/intermediate.cer")
        key = chain.key()
        for names, refusal in ((("leaf",), "chain-leaf-only"), (("leaf", "intermediate"), None)):
            front = Front(chain.write("front.pem", *names), key)
            try:
                # The server behind it has a chain of its own CA, which nobody sees.
                with Server(*NO_APNS, url=f"https://127.0.0.1:{front.port}") as s:
                    s.cli("group", "create", "phones")
                    if refusal:
                        s.refused("watch", "enable", "--group", "phones", "--anchor", chain.path("root"), text=refusal)
                        equal(s.cli("declaration", "list"), [], "nothing is published")
                        continue
                    s.refused("watch", "enable", "--group", "phones", text="leads to none of the 1 listed anchors")
                    made = s.cli("watch", "enable", "--group", "phones", "--anchor", chain.path("root"))
                    equal((made["anchors"], made["unreachable"], made["publicly_trusted"]), (1, None, False))
            finally:
                front.close()
        # A front that is publicly trusted needs no anchors, whatever stands behind it. (SSL_CERT_FILE: what this server takes for the public roots.)
        front = Front(chain.write("front.pem", "leaf", "intermediate"), key)
        try:
            with Server(*NO_APNS, url=f"https://127.0.0.1:{front.port}", env={"SSL_CERT_FILE": chain.path("root")}) as s:
                s.cli("group", "create", "phones")
                made = s.cli("watch", "enable", "--group", "phones")
                equal((made["anchors"], made["publicly_trusted"]), (0, True))
                expect("AnchorCertificateAssetReferences" not in s.cli("declaration", "show", "watch.enrollment")["payload"], "none is listed")
        finally:
            front.close()


@case
def a_url_that_cannot_be_reached_from_here():
    with tempfile.TemporaryDirectory() as work:
        chain = Chain(work, aia="http://ca.example.org/intermediate.cer")
        for names, refusal in ((("leaf",), "chain-leaf-only"), (("leaf", "intermediate"), None)):
            file = chain.write("tls.pem", *names)
            with Server(*NO_APNS, "--set", f"tls.certificate={file}", "--set", f"tls.key={chain.key()}", url=f"https://127.0.0.1:{free_port()}") as s:
                s.cli("group", "create", "phones")
                if refusal:
                    said = s.refused("watch", "enable", "--group", "phones", "--anchor", chain.path("root"), text=refusal)
                    expect("cannot be reached from here (connect-failed: " in said and "this server sends itself" in said, said)
                    continue
                code, out, err = s.cli_code("watch", "enable", "--group", "phones", "--anchor", chain.path("root"), "--json")
                equal(code, 0, err)
                expect("cannot be reached from here" in err and "connect-failed" in json.loads(out)["unreachable"], f"{out} {err}")


@case
def phones_that_cannot_bring_a_watch():
    with Server(*NO_APNS) as s:
        place = Place(s, s.root_ca, supervised=False)
        place.tell_supervised(False)
        equal([x["why"] for x in s.cli("watch", "enable", "--group", "phones")["skipped"]], ["is not supervised"])
        settle(s)
        equal(s.cli("set", "show", "watch-enrollment")["assignments"], [])
        old = Client(s)
        old.read_profile(s.profile(s.link())).get_identity()
        equal(old.authenticate(OSVersion="16.7")[0], 200)
        equal(old.token_update()[0], 200)
        s.cli("group", "add", "phones", old.udid)
        uuid = s.cli("command", "send", old.udid, "DeviceInformation", 'Queries=["IsSupervised"]')["command_uuid"]
        old.idle()
        equal(old.report(uuid, QueryResponses={"IsSupervised": True})[0], 200)
        why = {x["udid"]: x["why"] for x in s.cli("watch", "enable", "--group", "phones")["skipped"]}[old.udid]
        expect("too old" in why, why)
        s.restart("--set", "enroll.watch=off")
        s.refused("watch", "enable", "--group", "phones", text="enroll.watch is off")


if __name__ == "__main__":
    main()
