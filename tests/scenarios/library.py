"""The library of profiles: what may be in it, what devices get of it, and that each device's state comes to an end.

What is delivered is read by openssl, xmllint and plistlib, never by code of ours."""
import re
import uuid as uuids

from harness import *

NO_APNS = ("--apns-url", "https://127.0.0.1:1")
WIFI = "org.example.wifi"


def new_uuid():
    return str(uuids.uuid4()).upper()


def payload(kind="com.apple.wifi.managed", **keys):
    return {"PayloadType": kind, "PayloadVersion": 1, "PayloadIdentifier": f"{WIFI}.{secrets.token_hex(4)}", "PayloadUUID": new_uuid(), **keys}


def profile(*payloads, identifier=WIFI, **head):
    return {"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadIdentifier": identifier, "PayloadUUID": new_uuid(), "PayloadDisplayName": "Example", "PayloadContent": list(payloads), **head}


def plain(**keys):
    return profile(payload(SSID_STR="Office", AutoJoin=True, **keys))


def cms_sign(data, key, cert, *options):
    with tempfile.TemporaryDirectory() as d:
        k, c = pathlib.Path(d, "k"), pathlib.Path(d, "c")
        k.write_bytes(pem_key(key))
        c.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        return openssl("cms", "-sign", "-binary", "-nodetach", "-outform", "DER", "-signer", str(c), "-inkey", str(k), *options, input=data)


def signer():
    key = rsa_key()
    return key, self_signed(key, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Somebody else")]))


def cms_encrypt(data, cert):
    with tempfile.NamedTemporaryFile(suffix=".pem") as f:
        f.write(cert.public_bytes(serialization.Encoding.PEM))
        f.flush()
        return openssl("cms", "-encrypt", "-binary", "-aes-256-cbc", "-outform", "DER", f.name, input=data)


def encrypted(p, cert):
    """P with its content in EncryptedPayloadContent."""
    outer = {k: v for k, v in p.items() if k != "PayloadContent"}
    return {**outer, "EncryptedPayloadContent": cms_encrypt(plistlib.dumps(p["PayloadContent"]), cert)}


def xmllint(data):
    p = subprocess.run(["/usr/bin/xmllint", "--noout", "--nonet", "-"], input=data, capture_output=True)
    equal(p.returncode, 0, f"xmllint: {p.stderr.decode()}")


class LibraryDevice(Device):
    """Installs, lists and removes profiles as an Apple device does."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.profiles = {}   # identifier: what is installed, decrypted
        self.raw = []        # each Payload as it came
        self.opened = []     # each profile inside its signature, as bytes
        self.says = {}       # RequestType: (Status, keys) to answer instead
        self.hides = set()   # identifiers that it does not list

    def verified(self, data):
        """The bytes inside a signature that verifies up to the root alone."""
        if data[:1] == b"<":
            return data
        with tempfile.NamedTemporaryFile(suffix=".pem") as f:
            f.write("".join(ssl.DER_cert_to_PEM_cert(r) for r in self.roots()).encode())
            f.flush()
            return openssl("cms", "-verify", "-binary", "-inform", "DER", "-CAfile", f.name, "-purpose", "any", input=data)

    def decrypted(self, p):
        if "EncryptedPayloadContent" not in p:
            return p
        expect("PayloadContent" not in p, "clear content beside the encrypted one")
        with tempfile.TemporaryDirectory() as d:
            k, c = pathlib.Path(d, "k"), pathlib.Path(d, "c")
            k.write_bytes(pem_key(self.key))
            c.write_bytes(self.cert.public_bytes(serialization.Encoding.PEM))
            array = openssl("cms", "-decrypt", "-binary", "-inform", "DER", "-recip", str(c), "-inkey", str(k), input=p["EncryptedPayloadContent"])
        return {**p, "PayloadContent": plistlib.loads(array)}

    def obey(self, command):
        kind = command["RequestType"]
        if kind in self.says:
            return self.says[kind]
        if kind == "InstallProfile":
            self.raw.append(command["Payload"])
            # An update of the enrollment is the harness's business.
            if command["Payload"][:1] == b"0" and b"com.apple.mdm" in command["Payload"]:
                return super().obey(command)
            signed_by_others = self.trusts_anybody and command["Payload"][:1] == b"0"
            data = openssl("cms", "-verify", "-binary", "-noverify", "-inform", "DER", input=command["Payload"]) if signed_by_others else self.verified(command["Payload"])
            xmllint(data)
            self.opened.append(data)
            p = self.decrypted(plistlib.loads(data))
            self.profiles[p["PayloadIdentifier"]] = p
        elif kind == "RemoveProfile":
            if self.profiles.pop(command["Identifier"], None) is None:
                return "Error", {"ErrorChain": [{"ErrorDomain": "MCMDMErrorDomain", "ErrorCode": 12075, "LocalizedDescription": "not installed"}]}
        elif kind == "ProfileList":
            return "Acknowledged", {"ProfileList": [{"PayloadIdentifier": i, "PayloadUUID": p["PayloadUUID"], "PayloadVersion": 1} for i, p in self.profiles.items() if i not in self.hides]}
        return "Acknowledged", {}

    trusts_anybody = False

    def content(self, identifier=WIFI, at=0):
        return self.profiles[identifier]["PayloadContent"][at]


def enroll(s, *link_options, **options):
    d = LibraryDevice(s, **options)
    d.enroll(s.link(*link_options))
    return d


def add(s, p, *options, name="wifi"):
    path = os.path.join(s.root, f"{secrets.token_hex(4)}.mobileconfig")
    pathlib.Path(path).write_bytes(p if isinstance(p, bytes) else plistlib.dumps(p))
    return s.cli("profile", "add", path, *(("--name", name) if name else ()), *options)


def refuse(s, p, text, *options, name="wifi"):
    path = os.path.join(s.root, f"{secrets.token_hex(4)}.mobileconfig")
    pathlib.Path(path).write_bytes(p if isinstance(p, bytes) else plistlib.dumps(p))
    return s.refused("profile", "add", path, *(("--name", name) if name else ()), *options, text=text)


def states(s, name="wifi"):
    return {r["id"]: r for r in s.cli("profile", "status", name)}


def state(s, d, name="wifi"):
    r = states(s, name).get(d.id)
    return r and r["state"]


def reason(s, d, name="wifi"):
    return states(s, name)[d.id]["reason"]


def looked_at(s, name="wifi"):
    """Waits until the janitor has looked at all devices of the profile."""
    wait_for("all devices looked at", lambda: s.cli("profile", "show", name)["to_look_at"] == 0)


def fetch(d):
    status, reply = d.idle()
    equal(status, 200, "Idle")
    return reply


# ---------------------------------------------------------------- adding

@case
def versions_are_kept_byte_for_byte():
    with Server(*NO_APNS) as s:
        first = plistlib.dumps(plain()).replace(b"<dict>", b"<dict><!-- as I wrote it -->\n", 1)
        made = add(s, first)
        equal((made["name"], made["version"], made["unchanged"], made["identifier"]), ("wifi", 1, False, WIFI))
        equal((add(s, first)["version"], add(s, first)["unchanged"]), (1, True), "the same bytes")
        signed = cms_sign(plistlib.dumps(plain()), *signer())
        equal(add(s, signed, name=None)["version"], 2, "found by its identifier")
        equal(add(s, signed, "--encrypt", "never")["version"], 3, "other options")
        out = os.path.join(s.root, "out")
        for number, wanted in ((1, first), (2, signed)):
            code, _, err = s.cli_code("profile", "get", "wifi", "--version", str(number), "-o", out)
            equal((code, pathlib.Path(out).read_bytes() == wanted), (0, True), f"version {number} {err}")
            equal(os.stat(out).st_mode & 0o777, 0o600, "mode")
        rows = s.cli("profile", "versions", "wifi")
        equal([(r["version"], r["signed"], r["encrypt"]) for r in rows], [(1, False, "auto"), (2, True, "auto"), (3, True, "never")])
        equal(rows[0]["sha256"], hashlib.sha256(first).hexdigest())
        # The linter is heard, and decides nothing: misspelt by a letter.
        found = add(s, plain(Passwort="x"))["lint"]
        expect(found["errors"] + found["warnings"] > 0 and any("Passwort" in f["path"] + f["text"] for f in found["findings"]), f"{found}")
        s.refused("profile", "get", "wifi", "--version", "9", text="there is no version 9")
        s.refused("profile", "show", "nothing", text="POM-E0003")
        # Two profiles must not replace one another on devices.
        refuse(s, plain(), 'the profile "wifi" has the PayloadIdentifier org.example.wifi already', name="other")
        refuse(s, profile(identifier="org.example.other"), "a new version must have it too")
        # Not in clear on the disk.
        s.stop()
        everything = s.store.content()
        expect(b"Office" not in everything and b"as I wrote it" not in everything, "a profile lies on the disk in clear")


@case
def bad_profiles_are_refused_and_nothing_is_stored():
    with Server(*NO_APNS) as s:
        key, cert = signer()
        good = plistlib.dumps(plain())
        signed = cms_sign(good, key, cert)
        base = ".".join(reversed(urllib.parse.urlsplit(s.url).hostname.split("."))) if not s.url.startswith("https://127.") else "mdm.127-0-0-1"
        mdm = payload("com.apple.mdm", IdentityCertificateUUID="A")
        identity = {**payload("com.apple.security.scep"), "PayloadUUID": "A", "PayloadContent": {}}
        broken = bytearray(signed)
        broken[signed.index(b"Office")] ^= 1
        for p, text in (
            (b"", "POM-E1008"),
            (b"hello", "POM-E1001"),
            (b"bplist00" + bytes(40), "POM-E1001"),
            ({k: v for k, v in plain().items() if k != "PayloadIdentifier"}, "PayloadIdentifier is missing"),
            ({k: v for k, v in plain().items() if k != "PayloadUUID"}, "PayloadUUID is missing"),
            ({**plain(), "PayloadType": "Profile Service"}, "PayloadType is not Configuration"),
            (profile({k: v for k, v in payload().items() if k != "PayloadUUID"}), "PayloadContent[0].PayloadUUID is missing"),
            (profile(payload("com.apple.security.pkcs12", PayloadContent="dGV4dA==")), "PayloadContent[0].PayloadContent is a string"),
            (profile(mdm, identity), "PayloadContent[0] is a com.apple.mdm payload"),
            ({**plain(), "PayloadScope": "Everybody"}, "profile.PayloadScope"),
            ({**plain(), "TargetDeviceType": 7}, "profile.TargetDeviceType"),
            ({**plain(), "TargetDeviceType": "5"}, "profile.TargetDeviceType"),
            ({**plain(), "RemovalDate": datetime.datetime(2020, 1, 1)}, "profile.RemovalDate"),
            (profile(payload(SSID_STR="x"), identifier=base + ".enroll"), "POM-E5201"),
            (profile(payload(SSID_STR="x"), identifier=base + ".enroll.mdm"), "POM-E5201"),
            (profile(payload(SSID_STR="x"), identifier=(base + ".ANCHORS")), "POM-E5201"),
            (bytes(broken), "the profile is signed, but broken"),
            (signed[:-40], "the profile is signed, but broken"),
            (cms_sign(good, key, cert, "-nocerts"), "the profile is signed, but broken"),
            (cms_encrypt(good, cert), "the profile is signed, but broken"),
            (encrypted(plain(), cert), "POM-E5203"),
            (plain(Comment="${HOME}/x"), "there is no variable ${HOME}"),
            (plain(Comment="${serial"), 'PayloadContent[0].Comment: "${" has no "}"'),
            (profile(payload(SSID_STR="${serial}"), identifier=WIFI + ".${serial}"), "must be the same for each device"),
            (plain(Filler="x" * (4 << 20)), "POM-E0007"),
        ):
            refuse(s, p, text)
        refuse(s, good, "must be auto, always", "--encrypt", "perhaps")
        refuse(s, good, "the name of a profile", name="a/b")
        other = os.path.join(s.root, "key.pem")
        pathlib.Path(other).write_bytes(pem_key(rsa_key()))
        refuse(s, encrypted(plain(), self_signed(rsa_key(), cert.subject)), "cannot be read with this key", "--key", other)
        refuse(s, good, "not encrypted", "--key", other)
        equal(s.cli("profile", "list"), [], "profiles")
        for table in ("profile", "profile_version", "profile_state", "profile_work", "profile_assignment"):
            equal(s.sql(f"SELECT count(*) FROM {table}"), [(0,)], table)


# ---------------------------------------------------------------- the way to a device

@case
def a_profile_is_installed_updated_and_removed():
    with Server(*NO_APNS) as s:
        d = enroll(s)
        first = plistlib.dumps(plain())
        add(s, first)
        s.cli("profile", "assign", "wifi", "--device", d.udid)
        equal(state(s, d), "queued")
        reply = fetch(d)
        equal(state(s, d), "delivered")
        # The exact bytes, signed by us with the chain.
        equal(d.verified(reply["Command"]["Payload"]), first, "eContent")
        d.profiles[WIFI] = plistlib.loads(first)
        _, reply = d.report(reply["CommandUUID"])
        equal((state(s, d), reply["Command"]["RequestType"]), ("acknowledged", "ProfileList"))
        _, reply = d.report(reply["CommandUUID"], **d.obey(reply["Command"])[1])
        equal((state(s, d), reply), ("installed", b""))
        equal([(r["profile"], r["state"], r["version"], r["deadline"]) for r in s.cli("device", "profiles", d.udid)], [("wifi", "installed", 1, None)])
        # A new version goes to all who have it.
        second = plain(HIDDEN_NETWORK=True)
        add(s, second)
        wait_for("the update is queued", lambda: state(s, d) == "queued")
        equal(d.run_commands(), [("InstallProfile", "Acknowledged"), ("ProfileList", "Acknowledged")])
        equal((d.content()["HIDDEN_NETWORK"], states(s)[d.id]["version"], state(s, d)), (True, 2, "installed"))
        s.refused("profile", "remove", "wifi", text="POM-E5205")
        s.cli("profile", "unassign", "wifi", "--device", d.id)
        equal(state(s, d), "removing")
        equal(d.run_commands(), [("RemoveProfile", "Acknowledged")])
        equal((state(s, d), d.profiles), ("removed", {}))
        equal([e["kind"] for e in s.cli("device", "timeline", d.udid) if e["kind"].startswith("Profile")][-3:], ["ProfileInstalled", "ProfileInstalled", "ProfileRemoved"])
        equal(s.cli("profile", "remove", "wifi")["removed"], True)
        equal(s.cli("profile", "list"), [])
        # Taken back before the device came for it: nothing is sent.
        add(s, first)
        s.cli("profile", "assign", "wifi", "--device", d.id)
        uuid = states(s)[d.id]["command_uuid"]
        s.cli("profile", "unassign", "wifi", "--device", d.id)
        equal((state(s, d), fetch(d), s.cli("command", "show", uuid)["status"]), ("removed", b"", "Canceled"))
        s.refused("profile", "unassign", "wifi", "--device", d.id, text="is not assigned")
        s.refused("profile", "resend", "wifi", d.id, text="is not assigned")
        # "install" of a file adds it first; --force takes it from the devices, then it goes.
        file = os.path.join(s.root, "other.mobileconfig")
        pathlib.Path(file).write_bytes(plistlib.dumps(profile(payload(), identifier="org.example.two")))
        s.cli("profile", "install", file, d.id, "--name", "two")
        d.run_commands()
        equal(state(s, d, "two"), "installed")
        equal(s.cli("profile", "remove", "two", "--force")["state"], "removing")
        refuse(s, profile(payload(), identifier="org.example.two"), "is being removed", name="two")
        equal(d.run_commands(), [("RemoveProfile", "Acknowledged")])
        s.restart()
        wait_for("it is out of the library", lambda: [p["name"] for p in s.cli("profile", "list")] == ["wifi"])
        actions = [e["action"] for e in s.api("GET", "/api/v1/audit?limit=1000")[1]["items"]]
        expect({"profile.add", "profile.assign", "profile.unassign", "profile.remove"} <= set(actions), f"{actions}")


@case
def signed_profiles_go_as_they_are():
    with Server(*NO_APNS) as s:
        d = enroll(s)
        key, cert = signer()
        text = plistlib.dumps(plain())
        signed = cms_sign(text, key, cert)
        add(s, signed)
        s.cli("profile", "assign", "wifi", "--device", d.id)
        equal(fetch(d)["Command"]["Payload"], signed, "byte for byte")
        add(s, signed, "--sign", "always")
        wait_for("queued", lambda: state(s, d) == "queued")
        equal(d.verified(fetch(d)["Command"]["Payload"]), text, "signed by us instead")
        add(s, text, "--sign", "never")
        wait_for("queued", lambda: state(s, d) == "queued")
        equal(fetch(d)["Command"]["Payload"], text, "unsigned")
        # Variables in it: nothing is guessed.
        variable = cms_sign(plistlib.dumps(plain(Comment="${serial}")), key, cert)
        refuse(s, variable, "would break its signature")
        add(s, variable, "--variables", "off", "--sign", "auto")
        wait_for("queued", lambda: state(s, d) == "queued")
        equal(fetch(d)["Command"]["Payload"], variable, "literal")
        add(s, variable, "--variables", "on")
        wait_for("queued", lambda: state(s, d) == "queued")
        d.run_commands()
        equal((d.content()["Comment"], state(s, d)), (d.serial, "installed"))


@case
def variables_do_not_leave_their_strings():
    with Server(*NO_APNS) as s:
        a, b = enroll(s, "--user", "Ann & <b>Bob</b>", "--email", "ann@example.org"), enroll(s)
        nasty = '</string><key>Evil</key><true/> ]]> &lt; <!-- ${serial} $${x} "\'\t'
        add(s, profile(payload(**{
            "SSID_STR": "${serial}", "udid": "${udid}", "user": "${user.name}", "mail": "${user.email}", "device": "${device.name}", "model": "${model}", "os": "${os.version}", "id": "${enrollment.id}",
            "org": "${organization}", "room": "[${attr.room}]", "literal": "$${serial} $x $", "${serial}": "key", "List": ["${attr.room}", 1, True, b"${serial}"]})))
        s.refused("profile", "assign", "wifi", "--device", a.id, text="has no value for ${attr.room}")
        equal(states(s), {}, "nothing is assigned")
        s.refused("device", "set", a.id, "room=a\x01b", text="U+0001")
        s.refused("device", "set", a.id, "ro om=x", text="the name of an attribute")
        file = os.path.join(s.root, "value")
        pathlib.Path(file).write_text(nasty)
        s.cli("device", "set", a.id, f"room=@{file}", "floor=2")
        equal(s.cli("device", "show", a.id)["attributes"], {"floor": "2", "room": nasty})
        equal(s.cli("device", "unset", a.id, "floor")["attributes"], {"room": nasty})
        s.refused("device", "unset", a.id, "floor", text="has no attribute")
        s.cli("profile", "assign", "wifi", "--device", a.id)
        a.run_commands()
        got = a.content()
        equal(state(s, a), "installed")
        for key, wanted in (("SSID_STR", a.serial), ("udid", a.udid), ("user", "Ann & <b>Bob</b>"), ("mail", "ann@example.org"), ("device", "Test & <device>"), ("model", "MQ0G3"), ("os", "18.2.1"),
                            ("id", a.id), ("org", "Test Org"), ("room", f"[{nasty}]"), ("literal", "${serial} $x $"), ("${serial}", "key"), ("List", [nasty, 1, True, b"${serial}"])):
            equal(got[key], wanted, key)
        expect("Evil" not in got, "a value made a key")
        # An attribute stands before what the link says; the values are those of the moment when it is sent.
        s.cli("device", "set", a.id, "user.name=Carol")
        s.cli("profile", "resend", "wifi", a.id)
        s.cli("device", "set", a.id, "user.email=carol@example.org")
        a.run_commands()
        equal((a.content()["user"], a.content()["mail"]), ("Carol", "carol@example.org"))
        # What the device tells counts more than what it said when it enrolled.
        s.cli("command", "send", a.id, "DeviceInformation", 'Queries=["OSVersion"]')
        a.says["DeviceInformation"] = "Acknowledged", {"QueryResponses": {"OSVersion": "19.0"}}
        s.cli("profile", "resend", "wifi", a.id)
        a.run_commands()
        equal(a.content()["os"], "19.0")
        # In a group whoever lacks a value fails with the reason; the others go on, and so do people's commands.
        s.cli("group", "create", "all")
        s.cli("group", "add", "all", a.id, b.id)
        s.cli("profile", "assign", "wifi", "--group", "all")
        looked_at(s)
        wait_for("queued", lambda: state(s, b) == "queued")
        s.cli("command", "send", b.id, "DeviceInformation", 'Queries=["OSVersion"]')
        equal(b.run_commands(), [("DeviceInformation", "Acknowledged")])
        equal((state(s, b), state(s, a)), ("failed", "installed"))
        expect("no value for ${attr.room}" in reason(s, b), reason(s, b))
        s.cli("device", "set", b.id, "user.name=B", "user.email=b@example.org", "room=1")
        s.cli("profile", "resend", "wifi", b.id)
        b.run_commands()
        equal(state(s, b), "installed")
        # Attributes may be secrets.
        s.stop()
        everything = s.store.content()
        expect(b"carol@example.org" not in everything and b"Carol" not in s.logs().encode(), "an attribute lies in clear")


@case
def secrets_are_encrypted_to_the_present_identity():
    with Server(*NO_APNS) as s:
        d, ec = enroll(s), enroll(s)
        add(s, plain(Password="top secret"))
        equal(s.cli("profile", "show", "wifi")["secret"], "PayloadContent[0].Password")
        s.cli("profile", "assign", "wifi", "--device", d.id)
        old_key, old_cert = d.key, d.cert
        # Put off once, meanwhile the identity is renewed: the same command comes again, for the new key.
        reply = fetch(d)
        uuid, first = reply["CommandUUID"], plistlib.loads(d.verified(reply["Command"]["Payload"]))
        expect(b"top secret" not in reply["Command"]["Payload"] and "PayloadContent" not in first, "in clear")
        equal(d.decrypted(first)["PayloadContent"][0]["Password"], "top secret")
        s.cli("device", "renew", d.id)
        _, reply = d.report(uuid, "NotNow")
        equal(state(s, d), "queued")
        equal(d.obey(reply["Command"])[0], "Acknowledged", "renewal")
        expect(d.key is not old_key, "no new identity")
        _, reply = d.report(reply["CommandUUID"])
        reply = reply or fetch(d)
        equal(reply["CommandUUID"], uuid, "the command that was put off")
        again = plistlib.loads(d.verified(reply["Command"]["Payload"]))
        equal(d.decrypted(again)["PayloadContent"][0]["Password"], "top secret")
        new = d.key, d.cert
        d.key, d.cert = old_key, old_cert
        try:
            d.decrypted(again)
            raise KeyError
        except AssertionError:
            pass
        d.key, d.cert = new
        d.profiles[WIFI] = d.decrypted(again)
        d.report(uuid)
        d.run_commands()
        equal(state(s, d), "installed")
        # By order, and against it.
        for options, clear in ((("--encrypt", "never"), True), (("--encrypt", "always"), False)):
            add(s, plain(Password="top secret"), *options)
            wait_for("queued", lambda: state(s, d) == "queued")
            d.run_commands()
            equal(("PayloadContent" in plistlib.loads(d.opened[-1]), d.content()["Password"]), (clear, "top secret"), f"{options}")
        add(s, plain(), "--encrypt", "auto")
        wait_for("queued", lambda: state(s, d) == "queued")
        d.run_commands()
        expect("PayloadContent" in plistlib.loads(d.opened[-1]), "encrypted without need")
        # A profile that was encrypted for somebody else is opened with the key, and encrypted to each device.
        key, cert = signer()
        file = os.path.join(s.root, "key.pem")
        pathlib.Path(file).write_bytes(pem_key(key))
        add(s, encrypted(plain(Password="another"), cert), "--key", file)
        wait_for("queued", lambda: state(s, d) == "queued")
        d.run_commands()
        equal((d.content()["Password"], "EncryptedPayloadContent" in plistlib.loads(d.opened[-1])), ("another", True))
        # Nothing can be encrypted to an EC key, and secrets do not go out in clear instead.
        ec_key = ec_keys.generate_private_key(ec_keys.SECP256R1())
        with s.stopped() as execute:
            [(serial,)] = execute("SELECT p.certificate_serial FROM epoch p JOIN enrollment e ON e.id = p.enrollment_id WHERE e.device_id = ?", ec.udid)
            execute("UPDATE certificate SET der = ? WHERE serial = ?", der(self_signed(ec_key, cert.subject)), serial)
        ec.hang_up()
        s.cli("profile", "assign", "wifi", "--device", ec.id)
        equal(ec.run_commands(), [])
        equal(state(s, ec), "failed")
        expect("no RSA key" in reason(s, ec) and "--encrypt never" in reason(s, ec), reason(s, ec))


# ---------------------------------------------------------------- states

@case
def every_state_comes_to_an_end():
    with Server(*NO_APNS) as s:
        d = enroll(s)
        add(s, plain())
        s.cli("profile", "assign", "wifi", "--device", d.id)
        # NotNow waits on, with the deadline that it had.
        deadline = states(s)[d.id]["deadline"]
        d.says["InstallProfile"] = "NotNow", {}
        reply = fetch(d)
        equal(d.report(reply["CommandUUID"], "NotNow")[1], b"")
        equal((state(s, d), states(s)[d.id]["deadline"]), ("queued", deadline))
        # An error says why in plain words.
        d.says["InstallProfile"] = "Error", {"ErrorChain": [
            {"ErrorDomain": "MCInstallationErrorDomain", "ErrorCode": 4001, "LocalizedDescription": "Die Installation schlug fehl", "USEnglishDescription": "Profile Installation Failed"},
            {"ErrorDomain": "MCProfileErrorDomain", "ErrorCode": 1010, "USEnglishDescription": "EncryptionType is unknown"}]}
        d.run_commands()
        equal(state(s, d), "failed")
        for text in ("Profile Installation Failed (MCInstallationErrorDomain 4001)", "EncryptionType is unknown", "has a value that this device does not know"):
            expect(text in reason(s, d), f"{text}: {reason(s, d)}")
        # It is not sent again by itself, but by a person; and acknowledged is not yet installed.
        equal(d.run_commands(), [])
        s.cli("profile", "resend", "wifi", d.id)
        d.says.clear()
        d.hides.add(WIFI)
        d.run_commands()
        equal((state(s, d), reason(s, d)), ("failed", "acknowledged, but the device does not list it"))
        d.hides.clear()
        s.cli("profile", "resend", "wifi", d.id)
        # Also while it waits: the command before is taken back.
        before = states(s)[d.id]["command_uuid"]
        s.cli("profile", "resend", "wifi", d.id)
        equal(s.cli("command", "show", before)["status"], "Canceled")
        equal(d.run_commands(), [("InstallProfile", "Acknowledged"), ("ProfileList", "Acknowledged")])
        equal((state(s, d), reason(s, d)), ("installed", None))
        # Any list of profiles tells that it was removed by hand.
        del d.profiles[WIFI]
        s.cli("command", "send", d.id, "ProfileList")
        d.run_commands()
        expect(state(s, d) == "failed" and "was removed there" in reason(s, d), reason(s, d))
        # Canceled by a person.
        s.cli("profile", "resend", "wifi", d.id)
        s.cli("command", "cancel", states(s)[d.id]["command_uuid"])
        equal((state(s, d), reason(s, d)), ("failed", "the command was canceled"))
        # A removal that the device refuses; one of what is not there is done.
        s.cli("profile", "resend", "wifi", d.id)
        d.run_commands()
        s.cli("profile", "unassign", "wifi", "--device", d.id)
        d.says["RemoveProfile"] = "Error", {"ErrorChain": [{"ErrorDomain": "MCInstallationErrorDomain", "ErrorCode": 4009, "LocalizedDescription": "locked"}]}
        d.run_commands()
        equal((state(s, d), states(s)[d.id]["goal"]), ("failed", "remove"))
        expect("locked while" in reason(s, d) or "was locked" in reason(s, d), reason(s, d))
        s.cli("profile", "resend", "wifi", d.id)
        d.says.clear()
        d.profiles.clear()
        equal(d.run_commands(), [("RemoveProfile", "Error")])
        equal(state(s, d), "removed")
        # A late answer to what was taken back changes nothing.
        s.cli("profile", "assign", "wifi", "--device", d.id)
        reply = fetch(d)
        s.cli("profile", "resend", "wifi", d.id)
        d.report(reply["CommandUUID"])
        equal(state(s, d), "delivered", "the answer brought the new command")


@case
def deadlines_end_what_waits():
    with Server(*NO_APNS, "--set", "library.deliver_days=3", "--set", "library.answer_hours=5") as s:
        wanted = {}
        for name, steps in (("queued", 0), ("delivered", 1), ("acknowledged", 2), ("removing", 3)):
            d = enroll(s)
            wanted[name] = d
            if not s.cli("profile", "list"):
                add(s, plain())
            s.cli("profile", "assign", "wifi", "--device", d.id)
            if steps == 3:
                d.run_commands()
                s.cli("profile", "unassign", "wifi", "--device", d.id)
            reply = fetch(d) if steps in (1, 2) else None
            if steps == 2:
                _, reply = d.report(reply["CommandUUID"])
            equal(state(s, d), name)
        now = time.time() * 1000
        with s.stopped() as execute:
            left = {i: (t - now) / 3600000 for i, t in execute("SELECT e.device_id, s.deadline_at FROM profile_state s JOIN enrollment e ON e.id = s.enrollment_id")}
            for name, hours in (("queued", 72), ("removing", 72), ("delivered", 5), ("acknowledged", 5)):
                expect(abs(left[wanted[name].udid] - hours) < 0.2, f"{name}: {left[wanted[name].udid]} hours")
            execute("UPDATE profile_state SET deadline_at = ?", int(now) + 3600000)
        time.sleep(1)
        equal({n: state(s, d) for n, d in wanted.items()}, {n: n for n in wanted}, "an hour before")
        with s.stopped() as execute:
            execute("UPDATE profile_state SET deadline_at = ?", int(now) - 1000)
        wait_for("all have failed", lambda: all(state(s, d) == "failed" for d in wanted.values()))
        for name, text in (("queued", "did not fetch the profile within 3 days"), ("delivered", "did not answer within 5 hours"), ("acknowledged", "nothing confirms it"),
                           ("removing", "did not fetch the removal within 3 days")):
            expect(text in reason(s, wanted[name]), f"{name}: {reason(s, wanted[name])}")
            equal(states(s)[wanted[name].id]["deadline"], None, name)
        # What has failed is not sent any more.
        equal([d.hang_up().run_commands() for n, d in wanted.items() if n != "acknowledged"], [[]] * 3)


@case
def who_enrolls_again_gets_everything_again():
    with Server(*NO_APNS) as s:
        d = enroll(s)
        add(s, plain())
        add(s, profile(payload(), identifier="org.example.two"), name="two")
        s.cli("group", "create", "all")
        s.cli("group", "add", "all", d.id)
        s.cli("profile", "assign", "wifi", "--group", "all")
        s.cli("profile", "assign", "two", "--device", d.id)
        looked_at(s)
        wait_for("queued", lambda: state(s, d) == "queued")
        d.run_commands()
        equal((state(s, d), state(s, d, "two")), ("installed", "installed"))
        s.cli("profile", "resend", "two", d.id)
        # Erased: it knows nothing of before.
        d.hang_up()
        d.profiles.clear()
        d.enroll(s.link())
        wait_for("queued again", lambda: (state(s, d), state(s, d, "two")) == ("queued", "queued"))
        equal(d.run_commands(), [("InstallProfile", "Acknowledged")] * 2 + [("ProfileList", "Acknowledged")], "one list for both")
        equal((state(s, d), state(s, d, "two"), len(d.profiles)), ("installed", "installed", 2))
        # Un-enrolled: nothing waits for it.
        s.cli("profile", "resend", "two", d.id)
        equal(d.check_out(), (200, b""))
        equal({(r["state"], r["reason"], r["deadline"]) for r in s.cli("device", "profiles", d.udid)}, {("ended", "the device was un-enrolled", None)})
        s.refused("profile", "resend", "two", d.udid, text="is not live")
        # Taken from it while it was away: it does not come back.
        s.cli("profile", "unassign", "two", "--device", d.udid)
        d.hang_up()
        d.enroll(s.link())
        wait_for("queued again", lambda: state(s, d) == "queued")
        d.profiles.clear()
        d.run_commands()
        equal((state(s, d), state(s, d, "two"), set(d.profiles)), ("installed", "ended", {WIFI}))


# ---------------------------------------------------------------- groups

@case
def groups_give_and_take():
    with Server(*NO_APNS) as s:
        a, b = enroll(s), enroll(s)
        add(s, plain())
        s.cli("group", "create", "one")
        s.cli("group", "create", "two")
        s.refused("group", "create", "one", text="already")
        s.refused("group", "create", "a b", text="the name of a group")
        s.refused("profile", "assign", "wifi", "--group", "three", text="there is no group")
        s.refused("group", "add", "one", "nobody", text="there is no enrollment nobody")
        s.refused("profile", "assign", "wifi", text="at least one device or group")
        equal(s.cli("group", "add", "one", a.id, b.udid)["members"], 2)
        equal(s.cli("group", "add", "two", b.id)["members"], 1)
        equal({m["udid"] for m in s.cli("group", "members", "one")}, {a.udid, b.udid})
        s.cli("profile", "assign", "wifi", "--group", "one", "--group", "two")
        looked_at(s)
        wait_for("both queued", lambda: [r["state"] for r in states(s).values()] == ["queued"] * 2)
        for d in (a, b):
            d.run_commands()
        equal((state(s, a), state(s, b)), ("installed", "installed"))
        equal(s.cli("profile", "show", "wifi")["states"], {"installed": 2})
        # Out of one group, but still in another.
        s.cli("group", "remove", "one", a.id, b.id)
        wait_for("removing", lambda: state(s, a) == "removing")
        equal(state(s, b), "installed")
        s.cli("group", "remove", "two", b.id)
        wait_for("removing", lambda: state(s, b) == "removing")
        s.cli("group", "add", "two", b.id)
        wait_for("wanted after all", lambda: state(s, b) == "queued")
        equal(b.run_commands()[0], ("InstallProfile", "Acknowledged"))
        s.refused("group", "delete", "two", text="POM-E5205")
        s.cli("group", "delete", "two", "--force")
        wait_for("removing", lambda: state(s, b) == "removing")
        equal([g["name"] for g in s.cli("group", "list")], ["one"])
        equal(s.cli("device", "show", b.id)["groups"], [])
        # Pages of one.
        s.cli("group", "create", "zwei")
        _, page, _ = s.api("GET", "/api/v1/groups?limit=1")
        equal([g["name"] for g in page["items"]], ["one"])
        _, page, _ = s.api("GET", f"/api/v1/groups?limit=1&after={page['next']}")
        equal([g["name"] for g in page["items"]], ["zwei"])


@case
def a_crash_while_many_devices_are_looked_at_loses_none():
    many = 3000
    with Server(*NO_APNS) as s:
        d = enroll(s)
        model = d.id
        add(s, plain())
        s.cli("group", "create", "all")
        with s.stopped() as execute:
            row = execute("SELECT * FROM enrollment WHERE id = ?", model)[0].dict()
            rows = [{**row, "id": new_uuid(), "device_id": f"many-{i}"} for i in range(many)]
            execute.many(f"INSERT INTO enrollment ({','.join(row)}) VALUES ({','.join('?' * len(row))})", [list(r.values()) for r in rows])
            execute.many("INSERT INTO group_member (group_name, enrollment_id, added_at) VALUES ('all', ?, 0)", [[r["id"]] for r in rows])
        s.cli("profile", "assign", "wifi", "--group", "all")

        def done():
            shown = s.cli("profile", "show", "wifi")
            return shown["states"].get("queued", 0), shown["to_look_at"]
        wait_for("some, not all", lambda: done()[0] > 0)
        s.process.kill()
        s.process.wait()
        [(n,)] = s.sql("SELECT count(*) FROM profile_state")
        expect(0 < n < many, f"killed too late: {n}")
        s.start()
        wait_for("all queued", lambda: done() == (many, 0), 30)
        s.stop()
        equal(s.sql("SELECT count(*), count(DISTINCT enrollment_id), count(DISTINCT uuid) FROM command WHERE note = 'install:wifi'"), [(many, many, many)], "one command each")
        equal(s.sql("SELECT count(*) FROM profile_state s JOIN command c ON c.uuid = s.command_uuid"), [(many,)], "states with their command")
        equal(s.sql("SELECT count(*) FROM profile_work"), [(0,)], "work")


# ---------------------------------------------------------------- besides

@case
def commands_that_would_end_the_enrollment_are_refused():
    with Server(*NO_APNS) as s:
        d = enroll(s)
        own = d.payload["PayloadIdentifier"]
        mdm = profile(*[p for p in d.payload["PayloadContent"]], identifier=own)

        def send(kind, **keys):
            return s.api("POST", f"/api/v1/devices/{d.id}/commands", plistlib.dumps({"RequestType": kind, **keys}), {"Content-Type": "application/xml"})
        status, body, _ = send("RemoveProfile", Identifier=own)
        equal((status, body["code"]), (409, "POM-E5221"))
        status, body, _ = send("RemoveProfile", Identifier=own.upper())
        equal(status, 409, "in other letters")
        key, cert = signer()
        for data in (plistlib.dumps(mdm), cms_sign(plistlib.dumps(mdm), key, cert), d.server.profile(s.link())):
            status, body, _ = send("InstallProfile", Payload=data)
            equal((status, body["code"]), (409, "POM-E5221"), f"{body}")
        status, body, _ = send("InstallProfile", Payload=plistlib.dumps(profile(payload(), identifier=own)))
        equal((status, body["code"]), (409, "POM-E5221"), "the identifier of the enrollment")
        for keys, text in (({}, "Command.Payload"), ({"Payload": "text"}, "Command.Payload"), ({"Payload": b""}, "Command.Payload"), ({"Payload": b"hello"}, "Command.Payload"),
                           ({"Payload": plistlib.dumps({"PayloadType": "Configuration"})}, "PayloadVersion"), ({"Payload": plistlib.dumps(profile({"PayloadType": "x"}))}, "PayloadContent[0]")):
            status, body, _ = send("InstallProfile", **keys)
            equal((status, body["code"]), (400, "POM-E4403"), f"{keys}")
            expect(text in body["detail"], body["detail"])
        equal(fetch(d), b"", "nothing was queued")
        equal(send("InstallProfile", Payload=plistlib.dumps(plain()))[0], 201)
        equal(send("RemoveProfile", Identifier=WIFI)[0], 201)
        equal(d.run_commands(), [("InstallProfile", "Acknowledged"), ("RemoveProfile", "Acknowledged")])


@case
def facts_are_learnt_and_bounded():
    with Server(*NO_APNS) as s:
        d = enroll(s)
        for kind, answer in (("DeviceInformation", {"QueryResponses": {"IsSupervised": True, "DeviceName": "Ann's iPhone", "BatteryLevel": 0.5, "Large": "x" * 10000, "n" * 200: 1, "Blob": b"abc"}}),
                             ("SecurityInfo", {"SecurityInfo": {"PasscodePresent": True, "FDE_PersonalRecoveryKeyCMS": b"secret"}})):
            s.cli("command", "send", d.id, kind, "--force")
            d.says[kind] = "Acknowledged", answer
        d.run_commands()
        facts = {f["name"]: f["value"] for f in s.cli("device", "facts", d.udid)}
        equal(facts, {"IsSupervised": True, "DeviceName": "Ann's iPhone", "BatteryLevel": 0.5, "Blob": {"$data": "YWJj"}, "SecurityInfo.PasscodePresent": True})
        equal(s.cli("device", "show", d.id)["facts"], {"DeviceName": "Ann's iPhone", "IsSupervised": True, "BatteryLevel": 0.5, "SecurityInfo.PasscodePresent": True})
        # Who enrolls again has been somewhere else.
        d.hang_up()
        d.enroll(s.link())
        equal(s.cli("device", "facts", d.udid), [])
        # Not what an error says, nor without end.
        s.cli("command", "send", d.id, "DeviceInformation", "--force")
        d.says["DeviceInformation"] = "Error", {"QueryResponses": {"IsSupervised": False}}
        d.run_commands()
        for start in range(0, 1000, 200):
            s.cli("command", "send", d.id, "DeviceInformation", "--force")
            d.says["DeviceInformation"] = "Acknowledged", {"QueryResponses": {f"k{start + i}": 1 for i in range(200)}}
            d.run_commands()
        facts = {f["name"]: f["value"] for f in s.cli("device", "facts", d.udid)}
        expect(len(facts) == 500 and "k999" in facts and "k0" not in facts, f"{len(facts)}")


if __name__ == "__main__":
    main()
