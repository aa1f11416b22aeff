"""Over-the-air enrollment: the Profile Service, the factory identity, the transport identity, the encrypted profile; and everything that must not work."""
import atexit
import concurrent.futures
import warnings

from harness import *

warnings.filterwarnings("ignore", "SHA1 signatures are deprecated")

# Nobody listens there: pushes are not what this is about.
NO_APNS = ("--apns-url", "https://127.0.0.1:1")


_shared = []


@contextlib.contextmanager
def shared():
    """A server that several cases use one after another, and the factory whose devices it knows: (server, factory)."""
    if not _shared:
        s = Server(*NO_APNS)
        factory = Factory()
        factory.add_to(s)
        _shared.append((s, factory))
        atexit.register(end_shared)
    try:
        yield _shared[0]
    except BaseException as e:
        e.log = "\n--- server log ---\n" + "\n".join(_shared[0][0].logs().splitlines()[-40:])
        raise


def end_shared():
    while _shared:
        _shared.pop()[0].close()


class OtaDevice(Device):
    """A device with a factory identity."""

    def __init__(self, server, factory, **options):
        identity = options.pop("identity", None)
        super().__init__(server, **options)
        self.factory = identity or factory.identity(self.udid)
        self.transport = None

    def begin(self, link):
        """Step 1: what the Profile Service asks."""
        self.path = urllib.parse.urlsplit(link["ota_url"]).path
        status, body, headers = self.request("GET", self.path)
        equal((status, headers["content-type"], headers["cache-control"]), (200, PROFILE, "no-store"), f"the Profile Service {body[:200]}")
        self.document = self.open_profile(body)
        equal((self.document["PayloadType"], self.document["PayloadVersion"]), ("Profile Service", 1))
        self.service = self.document["PayloadContent"]
        return self

    def said(self, **more):
        known = {"UDID": self.udid, "SERIAL": self.serial, "PRODUCT": self.product, "VERSION": "22C161", "OS_VERSION": "18.2.1", "LANGUAGE": "en-US"}
        return {**{k: v for k, v in known.items() if k in self.service["DeviceAttributes"]}, **more}

    def post(self, body, path=None):
        status, reply, headers = self.request("POST", path or self.path, body, {"Content-Type": "application/pkcs7-signature"})
        expect(status != 401, "a device was answered 401: it would un-enroll")
        if status == 200:
            equal((headers["content-type"], headers["cache-control"]), (PROFILE, "no-store"))
        return status, reply

    def say(self, identity=None, digest="sha1", ber=False, challenge=True, path=None, **more):
        """Steps 2 and 3: (status, reply). CHALLENGE: the service's, another, or False for none."""
        if challenge:
            more["CHALLENGE"] = self.service["Challenge"] if challenge is True else challenge
        message = attached_signature(identity or self.factory, plistlib.dumps(self.said(**more)), digest)
        return self.post(indefinite(message) if ber else message, path)

    def get_transport(self, **options):
        """Step 2, up to the identity."""
        status, body = self.say(**options)
        equal(status, 200, f"step 2 {body[:300]}")
        profile = self.open_profile(body)
        equal((profile["PayloadType"], len(profile["PayloadContent"])), ("Configuration", 1), "exactly the identity")
        expect(profile["PayloadIdentifier"] and profile["PayloadUUID"], "identifier and UUID")
        payload = profile["PayloadContent"][0]
        if payload["PayloadType"] == "com.apple.security.scep":
            keep = getattr(self, "key", None), getattr(self, "cert", None)
            self.get_identity(payload["PayloadContent"])
            self.transport = (self.key, self.cert, [])
            self.key, self.cert = keep
        else:
            equal((payload["PayloadType"], type(payload["PayloadContent"])), ("com.apple.security.pkcs12", bytes))
            self.transport = (*open_pkcs12(payload), [])
        return self

    def get_profile(self):
        """Step 3: the profile in clear, opened by openssl."""
        status, body = self.say(self.transport, challenge=False)
        equal(status, 200, f"step 3 {body[:300]}")
        with tempfile.TemporaryDirectory() as folder:
            files = {name: os.path.join(folder, name) for name in ("signed", "root", "key", "cert", "sealed")}
            pathlib.Path(files["signed"]).write_bytes(body)
            pathlib.Path(files["key"]).write_bytes(pem_key(self.transport[0]))
            pathlib.Path(files["cert"]).write_bytes(self.transport[1].public_bytes(serialization.Encoding.PEM))
            outer = plistlib.loads(openssl("cms", "-verify", "-inform", "DER", "-in", files["signed"], "-CAfile", self.server.root_ca))
            expect("PayloadContent" not in outer and outer["PayloadType"] == "Configuration", "encrypted")
            pathlib.Path(files["sealed"]).write_bytes(outer["EncryptedPayloadContent"])
            self.cipher = cms.ContentInfo.load(outer["EncryptedPayloadContent"])["content"]["encrypted_content_info"]["content_encryption_algorithm"]["algorithm"].native
            content = openssl("cms", "-decrypt", "-inform", "DER", "-in", files["sealed"], "-inkey", files["key"], "-recip", files["cert"])
        del outer["EncryptedPayloadContent"]
        return {**outer, "PayloadContent": plistlib.loads(content)}

    def enroll_over_the_air(self, link):
        self.begin(link).get_transport()
        self.read_profile(plistlib.dumps(self.get_profile())).get_identity()
        equal((self.authenticate(), self.token_update()), ((200, b""), (200, b"")))
        return self


def show(s, link):
    status, shown, _ = s.api("GET", f"/api/v1/links/{link['id']}")
    equal(status, 200, shown)
    return shown


def state(s, link):
    """All that could have changed, but for what happened."""
    listed = [s.api("GET", f"/api/v1/{what}?limit=1000")[1]["items"] for what in ("devices", "certificates", "challenges")]
    for device in listed[0]:
        del device["last_seen"]
    return {k: v for k, v in show(s, link).items() if k not in ("timeline", "verdict")}, listed


def kinds(s, link):
    return [e["kind"] for e in steps(s, link)]


def steps(s, link):
    """The timeline's lines of the Profile Service; those of SCEP, between them, are for tests of the timeline."""
    return [e for e in show(s, link)["timeline"] if e["kind"].startswith("Ota")]


def refused(s, link, do, status, code):
    """DO() → (status, body) is refused with STATUS and CODE, says so in the timeline, and changes nothing."""
    before, lines = state(s, link), kinds(s, link)
    got, body = do()
    equal((got, body.split()[0].decode()), (status, code), f"{body!r}")
    equal(state(s, link), before, f"{code}: the state")
    events = steps(s, link)
    equal([e["kind"] for e in events], lines + ["OtaRefused"], f"{code}: the timeline")
    expect(events[-1]["detail"].startswith(code), f"{code}: {events[-1]}")
    return events[-1]["detail"]


# ---------------------------------------------------------------- what works

@case
def by_scep_from_the_link_to_a_command():
    with Server(*NO_APNS) as s:
        factory = Factory()
        added = factory.add_to(s, "--name", "test factory")
        expect("ended" in added["warning"], f"{added}")
        link = s.link("--user", "Ann Example")
        d = OtaDevice(s, factory).begin(link)
        again = OtaDevice(s, factory).begin(link)
        equal(d.document, again.document, "each fetch says the same")
        equal((d.service["URL"], d.service["DeviceAttributes"][:2]), (link["ota_url"], ["UDID", "SERIAL"]))
        equal(s.request("HEAD", d.path)[0], 200)
        equal(kinds(s, link), ["OtaBegun", "OtaBegun"], "HEAD is no step")
        d.enroll_over_the_air(link)
        equal(d.cipher, "aes256_cbc")
        equal((d.cert.issuer, d.cert.subject != d.transport[1].subject), (d.transport[1].issuer, True), "two identities of our CA")
        expect(d.transport[1].not_valid_after - d.transport[1].not_valid_before < datetime.timedelta(days=2), "the transport identity is short-lived")
        uuid = s.cli("command", "send", d.udid, "ProfileList")["command_uuid"]
        equal(d.idle()[1]["CommandUUID"], uuid)
        equal(d.report(uuid), (200, b""))
        shown = s.cli("enroll", "show", link["id"])
        equal((shown["state"], shown["user"], shown["device_id"], shown["enrollment_id"]), ("used", "Ann Example", d.udid, d.id))
        equal((shown["bound_device"]["udid"], shown["bound_device"]["serial"], shown["bound_device"]["factory_ca"]), (d.udid, d.serial, "test factory"))
        equal(shown["attributes"], d.said(), "as reported, without the challenge")
        equal(kinds(s, link), ["OtaBegun", "OtaBegun", "OtaBegun", "OtaIdentified", "OtaProfileSent"])
        line = [e["kind"] for e in s.cli("device", "timeline", d.udid) if e["kind"].startswith("Ota") or e["kind"] in ("Authenticate", "Enrolled")]
        equal(line[-5:], ["OtaBegun", "OtaIdentified", "OtaProfileSent", "Authenticate", "Enrolled"], "the device's timeline begins with the link's")
        expect(d.service["Challenge"] not in s.logs() and d.service["Challenge"] not in json.dumps(shown), "the challenge is a secret")
        text = s.cli_code("enroll", "show", link["id"])[1]
        expect(d.udid in text and "OtaProfileSent" in text, text)
        status, body = d.say(d.transport, challenge=False)
        equal((status, body.split()[0]), (410, b"POM-E5003"), "after it has enrolled")
        expect([e for e in s.api("GET", "/api/v1/audit?limit=1000")[1]["items"] if e["action"] == "ota.bind" and e["object"] == link["id"]] or
               wait_for("the audit log", lambda: [e for e in s.api("GET", "/api/v1/audit?limit=1000")[1]["items"] if e["action"] == "ota.bind"]), "the binding is in the audit log")


@case
def by_pkcs12_and_with_another_cipher():
    with Server(*NO_APNS, "--set", "identity.source=pkcs12", "--set", "enroll.profile_cipher=aes128", "--set", "enroll.device_attributes=PRODUCT IMEI") as s:
        factory = Factory()
        factory.add_to(s)
        link = s.link()
        d = OtaDevice(s, factory).begin(link)
        equal(d.service["DeviceAttributes"], ["UDID", "SERIAL", "PRODUCT", "IMEI"], "the setting")
        d.enroll_over_the_air(link)
        equal(d.cipher, "aes128_cbc")
        uuid = s.cli("command", "send", d.udid, "ProfileList")["command_uuid"]
        equal(d.idle()[1]["CommandUUID"], uuid)
        # The identity in the profile that anybody can fetch is the bound device's, too.
        other = s.link()
        first, second = OtaDevice(s, factory).begin(other).get_transport(), Device(s)
        second.read_profile(s.profile(other)).get_identity()
        equal(second.authenticate()[0], 403, "another device with the bound device's link")
        first.read_profile(plistlib.dumps(first.get_profile())).get_identity()
        equal((first.authenticate()[0], first.token_update()[0]), (200, 200))
        code, _, err = s.cli_code("serve", "--set", "enroll.device_attributes=UDID,<x>")
        expect(code != 0 and "enroll.device_attributes" in err, err)
        code, _, err = s.cli_code("serve", "--set", "enroll.watch=on")
        expect(code != 0 and "enroll.watch" in err, err)


@case
def transport_identities_are_always_our_own():
    with Server(*NO_APNS, "--set", "identity.source=scep-direct", "--set", "identity.outside=not-there") as s:
        factory = Factory()
        factory.add_to(s)
        d = OtaDevice(s, factory).begin(s.link())
        equal(d.get_transport().transport[1].issuer.rfc4514_string(), "CN=Pomona Issuing CA,O=Test Org", "by SCEP, though MDM identities come from elsewhere")
        status, body = d.say(d.transport, challenge=False)
        equal((status, body.split()[0]), (500, b"POM-E0010"), "elsewhere is not there")
        s.restart("--set", "identity.source=scep-proxy")
        equal(OtaDevice(s, factory).begin(s.link()).get_transport().transport[1].issuer, d.transport[1].issuer, "as PKCS #12")
        s.restart("--set", "identity.source=scep")
        s.cli("scep-profile", "set", "default", "approval=manual")
        d = OtaDevice(s, factory).begin(s.link()).get_transport()
        d.read_profile(plistlib.dumps(d.get_profile()))
        try:
            d.get_identity()
            expect(False, "an MDM identity without approval")
        except ScepRefused:
            equal([r["state"] for r in s.cli("ca", "requests")], ["pending"], "a person is asked about the MDM identity, and about nothing else")


@case
def people_press_install_twice():
    with shared() as (s, factory):
        link = s.link()
        d = OtaDevice(s, factory).begin(link).get_transport()
        first = d.transport
        d.get_profile()
        d.begin(link).get_transport()
        d.get_profile()
        d.get_profile()
        d.transport, second = first, d.transport
        d.get_profile()
        d.transport = second
        profile = d.get_profile()
        equal(s.cli("enroll", "show", link["id"])["bound_device"]["identities"], 2)
        d.read_profile(plistlib.dumps(profile)).get_identity()
        # The MDM identity that a device fetched directly before the link was its own is no use any more.
        equal((d.authenticate()[0], d.token_update()[0]), (200, 200))
        early = s.link()
        direct = Device(s).read_profile(s.profile(early)).get_identity()
        OtaDevice(s, factory).begin(early).get_transport()
        equal(direct.authenticate()[0], 403, "an identity from before the binding")


@case
def forms_of_the_message():
    with shared() as (s, factory):
        lower = Factory("Lower Device CA", issuer=factory)
        modern = Factory("Modern Device CA", bits=2048, digest=hashes.SHA256, ended=False)
        modern.add_to(s)
        for name, identity, options in (
                ("BER", None, {"ber": True}), ("SHA-256", None, {"digest": "sha256"}), ("through a certificate in the message", lower.identity(), {}),
                ("a CA that has not ended", modern.identity(), {}), ("a factory certificate that ended long ago", factory.identity(days=(-6000, -5000)), {})):
            link = s.link()
            d = OtaDevice(s, factory, identity=identity).begin(link)
            status, body = d.say(**options)
            equal(status, 200, f"{name}: {body[:300]}")
        link = s.link()
        d = OtaDevice(s, factory).begin(link)
        message = attached_signature(d.factory, plistlib.dumps(d.said(CHALLENGE=d.service["Challenge"])), "sha256", attributes=[])
        equal(d.post(message)[0], 200, "with signed attributes")
        status, _, _ = s.request("POST", d.path, message, {"Content-Type": "text/html"})
        equal(status, 200, "whatever it says that it is")
        without_udid = OtaDevice(s, factory).begin(s.link())
        message = attached_signature(without_udid.factory, plistlib.dumps({"SERIAL": without_udid.serial, "CHALLENGE": without_udid.service["Challenge"]}))
        equal(without_udid.post(message)[0], 200, "SERIAL alone names a device")


# ---------------------------------------------------------------- what does not

@case
def messages_that_are_refused():
    with shared() as (s, factory):
        foreign = Factory("Another Device CA")
        link, others = s.link(), s.link()
        d = OtaDevice(s, factory).begin(link)
        challenge = d.service["Challenge"]
        content = plistlib.dumps(d.said(CHALLENGE=challenge))
        good = attached_signature(d.factory, content)
        apple_root = Factory("Apple Root CA", bits=2048)
        apple_above = Factory("Apple iPhone Certification Authority", issuer=apple_root, bits=2048)
        apple = Factory("Apple iPhone Device CA", issuer=apple_above)
        authority = factory.identity("a CA", ca=True)
        no_ca = Factory("No CA", issuer=factory, ca=False)
        strange = self_signed_identity()
        for name, body, status, code in (
                ("a CA that was not added", attached_signature(foreign.identity(), content), 403, "POM-E5101"),
                ("with the names of Apple's chain, but other keys", attached_signature(apple.identity(), content), 403, "POM-E5101"),
                ("self-signed", attached_signature(strange, content), 403, "POM-E5101"),
                ("a leaf that is a CA", attached_signature(authority, content), 403, "POM-E5101"),
                ("the device CA itself", attached_signature((factory.key, factory.cert, []), content), 403, "POM-E5101"),
                ("through a certificate that is no CA", attached_signature(no_ca.identity(), content), 403, "POM-E5101"),
                ("without certificates", without_certificates(good), 400, "POM-E2001"),
                ("a changed content", good.replace(d.udid.encode(), b"0" * len(d.udid)), 400, "POM-E2002"),
                ("another's signature", attached_signature((foreign.key, d.factory[1], []), content), 400, "POM-E2002"),
                ("no content", attached_signature(d.factory, b"", detached=True), 400, "POM-E5103"),
                ("an empty content", attached_signature(d.factory, b""), 400, "POM-E5103"),
                ("content that is elsewhere", attached_signature(d.factory, content, detached=True), 400, "POM-E2002"),
                ("no property list", attached_signature(d.factory, b"UDID=" + d.udid.encode()), 400, "POM-E1001"),
                ("a list", attached_signature(d.factory, plistlib.dumps([1])), 400, "POM-E5103"),
                ("no UDID and no SERIAL", attached_signature(d.factory, plistlib.dumps({"PRODUCT": "iPhone15,2", "CHALLENGE": challenge})), 400, "POM-E5103"),
                ("UDID that is a number", attached_signature(d.factory, plistlib.dumps({"UDID": 5, "CHALLENGE": challenge})), 400, "POM-E5103"),
                ("no CHALLENGE", attached_signature(d.factory, plistlib.dumps(d.said())), 403, "POM-E5102"),
                ("a wrong CHALLENGE", attached_signature(d.factory, plistlib.dumps(d.said(CHALLENGE=challenge[::-1]))), 403, "POM-E5102"),
                ("another link's CHALLENGE", attached_signature(d.factory, plistlib.dumps(d.said(CHALLENGE=OtaDevice(s, factory).begin(others).service["Challenge"]))), 403, "POM-E5102"),
                ("no CMS", b"hello", 400, "POM-E2001"), ("nothing", b"", 400, "POM-E2001"), ("a property list in clear", content, 400, "POM-E2001")):
            detail = refused(s, link, lambda: d.post(body), status, code)
            if name == "a leaf that is a CA":
                expect("CA itself" in detail, detail)
        equal(s.request("POST", d.path, b"x" * (300 << 10))[0], 413)
        equal(s.request("PUT", d.path, good)[0], 405)
        equal(s.request("POST", "/ota/nonsense", good)[0], 404)
        equal((s.request("GET", "/ota/nonsense")[0], s.request("GET", "/ota/" + "x" * 500)[0]), (404, 404))
        equal(d.post(good)[0], 200, "and then the right one")


def self_signed_identity():
    key = rsa_key()
    return key, self_signed(key, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "me")])), []


@case
def devices_that_are_refused():
    with shared() as (s, factory):
        link = s.link()
        d = OtaDevice(s, factory).begin(link)
        other = OtaDevice(s, factory).begin(link)
        enrolled = s.enroll()
        # Skipping the first step with what looks right: identities of our own CA.
        d.path = urllib.parse.urlsplit(link["ota_url"]).path
        mdm = (enrolled.key, enrolled.cert, [])
        detail = refused(s, link, lambda: d.say(mdm, challenge=False), 403, "POM-E5105")
        expect("MDM identity" in detail, detail)
        scep = Scep(s)
        client = (*scep.enroll(s.cli("challenge", "new", "--subject", "CN=printer")["challenge"]), [])
        refused(s, link, lambda: d.say(client, challenge=False), 403, "POM-E5105")
        # Another link's transport identity.
        stranger = OtaDevice(s, factory).begin(s.link()).get_transport()
        detail = refused(s, link, lambda: d.say(stranger.transport, challenge=False), 403, "POM-E5105")
        expect("was given for link" in detail, detail)
        refused(s, link, lambda: other.say(stranger.factory, challenge=stranger.service["Challenge"]), 403, "POM-E5102")
        # The first device takes the link.
        d.get_transport()
        detail = refused(s, link, lambda: other.say(), 403, "POM-E5104")
        expect(d.udid in detail and other.udid in detail, detail)
        detail = refused(s, link, lambda: other.say(UDID=d.udid, SERIAL=d.serial), 403, "POM-E5104")
        expect("another factory key" in detail, detail)
        detail = refused(s, link, lambda: d.say(UDID=other.udid, SERIAL=other.serial), 403, "POM-E5104")
        expect("same factory key" in detail, detail)
        # The second step is the same device's.
        refused(s, link, lambda: d.say(d.transport, challenge=False, UDID=other.udid), 403, "POM-E5104")
        refused(s, link, lambda: d.say(d.transport, challenge=False, SERIAL=other.serial), 403, "POM-E5104")
        refused(s, link, lambda: d.say(stranger.transport, challenge=False), 403, "POM-E5105")
        # With the challenge it is still the signer that says which step it is.
        equal(d.say(d.transport)[0], 200)
        # The link's own MDM identity is not for fetching the profile.
        direct = Device(s).read_profile(s.profile(link)).get_identity()
        detail = refused(s, link, lambda: d.say((direct.key, direct.cert, []), challenge=False), 403, "POM-E5105")
        equal(direct.authenticate()[0], 403, "the link has its device, whichever way the profile was fetched")
        # A transport identity is none for management.
        d.read_profile(plistlib.dumps(d.get_profile())).get_identity()
        mine = d.key, d.cert
        d.key, d.cert = d.transport[:2]
        for status, body in (d.authenticate(), d.token_update(), d.idle(), d.check_out()):
            equal((status, body.split()[0]), (403, b"POM-E5106"))
        answer = scep.renew(d.transport[:2])
        equal((answer.status, answer.fail_info), ("2", "2"), "and is not renewed")
        d.key, d.cert = mine
        equal((d.authenticate()[0], d.token_update()[0]), (200, 200), "and after all of that it enrolls")


@case
def identities_that_cannot_receive_it():
    with shared() as (s, factory):
        link = s.link()
        d = OtaDevice(s, factory).begin(link)
        payload = d.open_profile(d.say()[1])["PayloadContent"][0]["PayloadContent"]
        equal((payload["Key Type"], payload["Keysize"]), ("RSA", 2048))
        d.get_identity(payload, key=ec_keys.generate_private_key(ec_keys.SECP256R1()))
        d.transport = (d.key, d.cert, [])
        detail = refused(s, link, lambda: d.say(d.transport, digest="sha256", challenge=False), 403, "POM-E5107")
        expect("RSA" in detail, detail)
        # Revoked by hand.
        d.get_transport()
        s.cli("ca", "revoke", f"{d.transport[1].serial_number:X}" if len(f"{d.transport[1].serial_number:X}") % 2 == 0 else f"0{d.transport[1].serial_number:X}")
        refused(s, link, lambda: d.say(d.transport, challenge=False), 403, "POM-E2104")
        # Its day is over.
        d.get_transport()
        with s.stopped() as execute:
            equal(execute("UPDATE certificate SET not_after = ? WHERE ota_link_id = ? AND state = 1", int(time.time() * 1000) - 1, link["id"]), 2)
        detail = refused(s, link, lambda: d.say(d.transport, challenge=False), 403, "POM-E2103")
        expect("begin again" in detail, detail)
        # The link ends: so does all that was given for it.
        d.get_transport()
        s.cli("enroll", "revoke", link["id"])
        for do in (lambda: s.request("GET", d.path)[:2], lambda: d.say(), lambda: d.say(d.transport, challenge=False)):
            refused(s, link, do, 410, "POM-E5004")
        short = s.link("--ttl", "5s")
        late = OtaDevice(s, factory).begin(short)
        time.sleep(5.1)
        refused(s, short, lambda: late.say(), 410, "POM-E5002")
        # A limit, so that one device cannot have identities without end.
        link = s.link()
        d = OtaDevice(s, factory).begin(link)
        for i in range(32):
            equal(d.say()[0], 200, f"time {i}")
        refused(s, link, lambda: d.say(), 403, "POM-E5108")


@case
def two_devices_at_once():
    with shared() as (s, factory), concurrent.futures.ThreadPoolExecutor(8) as pool:
        link = s.link()
        devices = [OtaDevice(s, factory).begin(link) for _ in range(8)]
        answers = sorted(status for status, _ in pool.map(lambda d: d.say(), devices))
        equal(answers, [200] + [403] * 7, "one link, one device")
        bound = s.cli("enroll", "show", link["id"])
        equal(bound["device_id"], bound["bound_device"]["udid"])


@case
def the_shared_server_ends_well():
    end_shared()


@case
def without_a_push_certificate():
    with Server(*NO_APNS, push_cert=False) as s:
        link = s.link()
        status, body, _ = s.request("GET", urllib.parse.urlsplit(link["ota_url"]).path)
        equal((status, body.split()[0]), (503, b"POM-E5005"), "it is said before the device is asked")


# ---------------------------------------------------------------- device CAs

# Apple's root as everybody has it: only its key counts.
APPLE_ROOT_KEY = """-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA5JGpCR+R2x5HUOsF7V55
hC3rNqJXTFXsixmJ3vlLbPUHqyIwAugYPvhQCdN/QaiY+dHKZpwkaxHQo7vkGyrD
H5WeegykR4tb1BY3M8vED03OFGnRyRly9V0O1X9fm/IlA7pVj01dDfFkNSMVSxVZ
HbOU9/acns9QusFYUGePCLQg98usLCBvcLY/ATCMt0PPD5098ytJKBrI/s61uQ7Z
XhzWyz21Oq30Dw4AkguxIRYudNU8DdtiFqujcZJHU1XBry9Bs/j743DN5qNMRX4f
TGtQlkGJxHRiCxCDQYczioGxMFjsWgQyjGizjx3eZXP/Z15lvEnYdp8zFGWhd5TJ
LQIDAQAB
-----END PUBLIC KEY-----
"""


@case
def device_cas_come_and_go():
    with Server(*NO_APNS) as s:
        factory = Factory("Factory One")
        builtin = s.cli("device-ca", "list")
        equal([(c["name"], c["built_in"]) for c in builtin], [("Apple iPhone Device CA", True)])
        equal(builtin[0]["spki_sha256"], "13686ec675f9fd26a123adb17b5533f593cf451edd6105ae39b748277a3922e5")
        d = OtaDevice(s, factory).begin(s.link())
        equal(d.say()[0], 403, "not yet")
        added = factory.add_to(s)
        equal((added["name"], added["built_in"]), ("Factory One", False), "by its common name")
        equal(d.say()[0], 200, "at once")
        equal([c["name"] for c in s.cli("device-ca", "list")], ["Apple iPhone Device CA", "Factory One"])
        page = s.api("GET", "/api/v1/device-cas?limit=1")[1]
        equal((len(page["items"]), s.api("GET", f"/api/v1/device-cas?limit=1&after={page['next']}")[1]["items"]), (2, []), "pages")
        s.cli("device-ca", "remove", added["id"])
        equal(d.say()[0], 403, "nor any more")
        s.refused("device-ca", "remove", added["id"], text="POM-E0003")
        s.refused("device-ca", "remove", builtin[0]["id"], text="built in")
        factory.add_to(s)
        s.refused("device-ca", "add", keep(s, "again.pem", factory.pem), text="has been added already")
        apple = serialization.load_pem_public_key(APPLE_ROOT_KEY.encode())
        pretend = lambda public, name: factory.certify(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]), Public(public), ca=True).public_bytes(serialization.Encoding.PEM)
        s.refused("device-ca", "add", keep(s, "root.pem", pretend(apple, "Apple Root CA")), text="every developer's certificate")
        s.refused("device-ca", "add", keep(s, "renamed.pem", pretend(apple, "Something else")), text="Apple Root CA stands above")
        s.refused("device-ca", "add", keep(s, "own.pem", pathlib.Path(s.root_ca).read_bytes()), text="a CA of this server")
        s.refused("device-ca", "add", keep(s, "leaf.pem", factory.identity()[1].public_bytes(serialization.Encoding.PEM)), text="no CA certificate")
        s.refused("device-ca", "add", keep(s, "weak.pem", Factory("Weak", bits=768).pem), text="768 bits")
        s.refused("device-ca", "add", keep(s, "two.pem", factory.pem + Factory("Two").pem), text="2 certificates")
        s.refused("device-ca", "add", keep(s, "junk.pem", b"junk"), text="POM-E2101")
        equal(s.api("POST", "/api/v1/device-cas", {})[0], 400)
        equal(s.api("POST", "/api/v1/device-cas", {"certificate": "x", "nane": "y"})[0], 400)
        wait_for("the audit log", lambda: [e["action"] for e in s.api("GET", "/api/v1/audit?limit=1000")[1]["items"] if e["action"].startswith("device-ca.")] ==
                 ["device-ca.add", "device-ca.remove", "device-ca.add"])
        s.restart()
        equal(OtaDevice(s, factory).begin(s.link()).say()[0], 200, "after a restart")
        s.refused("enroll", "show", "nonsense", text="POM-E0003")


class Public:
    """What a certificate is made for when nobody has the private key."""

    def __init__(self, key):
        self.public_key = lambda: key


def keep(s, name, data):
    path = os.path.join(s.root, name)
    pathlib.Path(path).write_bytes(data)
    return path


if __name__ == "__main__":
    main()
