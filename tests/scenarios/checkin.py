"""Every check-in message and channel: users of Macs and Shared iPads, user enrollments, tokens for Managed Apple Accounts, Return to Service, devices of another server."""
import re

from harness import *

USER = {"UserID": "A1B2C3D4-0000-4000-8000-000000000001", "UserShortName": "ann", "UserLongName": "Ann Example"}
SHARED = {"UserID": "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "UserShortName": "ann@school.example", "UserLongName": "Ann"}
UUID = re.compile(r"[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$")
MAC, IPAD = "Mac14,2", "iPad13,1"
WIFI = {"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadIdentifier": "org.example.wifi", "PayloadUUID": "11111111-0000-4000-8000-000000000001", "PayloadDisplayName": "Wi-Fi", "PayloadContent": [
    {"PayloadType": "com.apple.wifi.managed", "PayloadVersion": 1, "PayloadIdentifier": "org.example.wifi.net", "PayloadUUID": "11111111-0000-4000-8000-000000000002", "PayloadDisplayName": "Net",
     "SSID_STR": "school", "HIDDEN_NETWORK": False, "AutoJoin": True, "EncryptionType": "WPA2", "Password": "wifi secret"}]}


def refused(reply, status, code, what=""):
    status_got, body = reply
    equal((status_got, body.split()[0].decode() if isinstance(body, bytes) and body else body), (status, code), what)


def write(s, name, data, mode=0o600):
    path = os.path.join(s.root, name)
    pathlib.Path(path).write_bytes(data)
    os.chmod(path, mode)
    return path


def users(s, d):
    return [e for e in s.cli("device", "list") if e["udid"] == d.udid and e["parent_id"]]


def jwt_part(text):
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


@case
def users_of_a_mac():
    with Server() as s:
        mac, other = s.enroll(product=MAC), Device(s, product=MAC)
        # Declined is the standard; a user of the Mac itself comes with a TokenUpdate of its own.
        refused(mac.put({"MessageType": "UserAuthenticate", "UDID": mac.udid, **USER}), 410, "POM-E4302")
        refused(mac.put({"MessageType": "UserAuthenticate", "UDID": mac.udid}), 400, "POM-E4001", "no user is named")
        refused(mac.put({"MessageType": "UserAuthenticate", "UDID": mac.udid, **SHARED}), 400, "POM-E4001", "Shared iPads do not ask")
        other.read_profile(s.profile(s.link())).get_identity()
        refused(other.token_update(**USER), 403, "POM-E4201", "before Authenticate")
        equal(other.authenticate()[0], 200)
        refused(other.token_update(**USER), 403, "POM-E4203", "before the device's own TokenUpdate")
        equal(mac.token_update(**USER, NotOnConsole=True, Token=b"user token")[0], 200)
        user = users(s, mac)[0]
        shown = s.cli("device", "show", user["id"])
        equal((shown["kind"], shown["user_short_name"], shown["not_on_console"], shown["awaiting_configuration"]), ("user", "ann", True, False))
        # What a message leaves out stays as it was.
        message = {"MessageType": "TokenUpdate", "Topic": mac.topic, "UDID": mac.udid, "Token": b"new", "PushMagic": "m", **USER}
        equal(mac.put(message)[0], 200)
        equal(s.cli("device", "show", user["id"])["not_on_console"], True, "left out")
        equal(mac.put(message, NotOnConsole=False)[0], 200)
        equal(s.cli("device", "show", user["id"])["not_on_console"], False)
        # Its commands are its own.
        uuid = s.cli("command", "send", user["id"], "ProfileList")["command_uuid"]
        equal(mac.idle(), (200, b""), "the device channel")
        equal(mac.idle(**USER)[1]["CommandUUID"], uuid)
        equal(mac.put({"UDID": mac.udid, "Status": "Acknowledged", "CommandUUID": uuid, **USER}, REPORT), (200, b""))
        # The user's CheckOut leaves the device; the device's ends its users.
        equal(mac.check_out(**USER)[0], 200)
        equal((s.cli("device", "show", user["id"])["state"], s.cli("device", "show", mac.udid)["state"]), ("ended", "enrolled"))
        refused(mac.idle(**USER), 403, "POM-E4201", "after its CheckOut")
        equal(mac.token_update(**USER)[0], 200)
        equal(s.cli("device", "show", user["id"])["state"], "enrolled", "again")
        equal(mac.authenticate()[0], 200)
        equal(mac.token_update()[0], 200)
        equal(s.cli("device", "show", user["id"])["state"], "ended", "a new epoch of the device ends its users")
        # Telephones have none.
        phone = s.enroll()
        refused(phone.token_update(**USER), 400, "POM-E4011")
        refused(phone.token_update(**SHARED), 400, "POM-E4011")
        equal(users(s, phone), [])


@case
def network_users_with_an_empty_challenge():
    with Server("--set", "checkin.user_authenticate=empty") as s:
        mac, phone = s.enroll(product=MAC), s.enroll()
        first = {"MessageType": "UserAuthenticate", "UDID": mac.udid, **USER}
        equal(mac.put(first), (200, {"DigestChallenge": ""}))
        equal(mac.put(first, DigestResponse="Digest whatever"), (200, b""))
        refused(phone.put(first, UDID=phone.udid), 400, "POM-E4011")
        refused(mac.put(first, UDID=phone.udid), 403, "POM-E4103", "of another device")
        equal(users(s, mac), [], "only a TokenUpdate makes a user channel")
        equal(mac.token_update(**USER)[0], 200)
        told = [e for e in s.cli("device", "timeline", mac.udid) if e["kind"] == "UserAuthenticate"]
        equal([(e["times"], "ann" in e["detail"]) for e in told], [(1, True)])
        s.stop()
        code, _, err = s.cli_code("serve", "--set", "checkin.user_authenticate=ask")
        expect(code != 0 and "decline or empty" in err, err)


@case
def a_shared_ipad():
    with Server() as s:
        ipad, mac = s.enroll(product=IPAD), s.enroll(product=MAC)
        equal(ipad.token_update(**SHARED, AwaitingConfiguration=True, Token=b"t")[0], 200)
        second = {**SHARED, "UserShortName": "bob@school.example", "UserID": SHARED["UserID"].lower()}
        equal(ipad.token_update(**second, AwaitingConfiguration=False)[0], 200)
        found = {u["user"]: s.cli("device", "show", u["id"]) for u in users(s, ipad)}
        equal(sorted(found), ["ann@school.example", "bob@school.example"])
        equal([(found[u]["kind"], found[u]["awaiting_configuration"]) for u in sorted(found)], [("shared-ipad", True), ("shared-ipad", False)])
        equal(ipad.put({"MessageType": "TokenUpdate", "Topic": ipad.topic, "UDID": ipad.udid, "Token": b"u", "PushMagic": "m", **SHARED})[0], 200)
        equal(s.cli("device", "show", found["ann@school.example"]["id"])["awaiting_configuration"], True, "left out")
        uuid = s.cli("command", "send", found["ann@school.example"]["id"], "ProfileList")["command_uuid"]
        equal(ipad.idle(**second), (200, b""), "another user's")
        equal(ipad.idle(**SHARED)[1]["CommandUUID"], uuid)
        refused(ipad.token_update(UserID=SHARED["UserID"]), 400, "POM-E4001", "nameless")
        refused(ipad.token_update(**USER), 400, "POM-E4011", "no user of a Mac")
        refused(mac.token_update(**SHARED), 400, "POM-E4011", "no Shared iPad")


@case
def user_enrollments_have_an_id_of_their_own():
    with Server() as s:
        d = Device(s, product=MAC, minimal=True)
        enrollment, user = "b6d8c2f0-1111-4222-8333-444455556666", "0A0B0C0D-1111-4222-8333-444455556666"
        d.read_profile(s.profile(s.link())).get_identity()
        ids = {"EnrollmentID": enrollment}
        equal(d.put({"MessageType": "Authenticate", "Topic": d.topic, "ProductName": MAC, **ids})[0], 200)
        token = {"MessageType": "TokenUpdate", "Topic": d.topic, "Token": d.token, "PushMagic": d.magic, **ids}
        equal(d.put(token)[0], 200)
        shown = s.cli("device", "show", enrollment)
        equal((shown["kind"], shown["udid"], shown["serial"]), ("user-enrollment-device", enrollment, None))
        equal(d.put(token, EnrollmentUserID=user, UserShortName="ann")[0], 200)
        channel = [e for e in s.cli("device", "list") if e["parent_id"] == shown["id"]]
        equal([(c["kind"], c["user"], c["user_short_name"]) for c in channel], [("user-enrollment", user, "ann")])
        equal(d.put({"Status": "Idle", **ids}, REPORT), (200, b""))
        uuid = s.cli("command", "send", channel[0]["id"], "ProfileList")["command_uuid"]
        equal(d.put({"Status": "Idle", **ids, "EnrollmentUserID": user}, REPORT)[1]["CommandUUID"], uuid)
        refused(d.put({"MessageType": "ReturnToService", **ids}), 400, "POM-E4001", "only supervised devices")
        refused(d.put({"MessageType": "UserAuthenticate", **ids, "UserID": user}), 400, "POM-E4001", "only with a UDID")
        refused(d.put({"MessageType": "TokenUpdate", "Topic": d.topic, "Token": b"x", "PushMagic": "m"}), 400, "POM-E4001", "nobody")
        # Where both are named the UDID counts, which this identity is not bound to.
        refused(d.put({"MessageType": "CheckOut", "Topic": d.topic, "UDID": "00008110-0000000000000001", **ids}), 403, "POM-E4103")
        equal(d.put({"MessageType": "CheckOut", "Topic": d.topic, **ids})[0], 200)
        equal(s.cli("device", "show", channel[0]["id"])["state"], "ended")


@case
def tokens_are_sealed_and_stay():
    with Server() as s:
        d = s.enroll(product=MAC)
        get = {"MessageType": "GetBootstrapToken", "UDID": d.udid}
        equal(d.put({"MessageType": "SetBootstrapToken", "UDID": d.udid, "BootstrapToken": b"the bootstrap token", "AwaitingConfiguration": True})[0], 200)
        shown = s.cli("device", "show", d.udid)
        equal((shown["has_unlock_token"], shown["has_bootstrap_token"], shown["awaiting_configuration"]), (True, True, True))
        message = {"MessageType": "TokenUpdate", "Topic": d.topic, "UDID": d.udid, "Token": b"new token", "PushMagic": "m"}
        equal(d.put(message)[0], 200, "a TokenUpdate that says nothing of either")
        shown = s.cli("device", "show", d.udid)
        equal((shown["has_unlock_token"], shown["has_bootstrap_token"], shown["awaiting_configuration"]), (True, True, True))
        equal(d.put(get, AwaitingConfiguration=True), (200, {"BootstrapToken": b"the bootstrap token"}))
        refused(d.put(get, AwaitingConfiguration="yes"), 400, "POM-E1006")
        equal(d.put(message, AwaitingConfiguration=False)[0], 200)
        equal(s.cli("device", "show", d.udid)["awaiting_configuration"], False)
        s.stop()
        kept = s.store.content()
        expect(b"the bootstrap token" not in kept and b"unlock" * 3 not in kept, "the store holds a token in clear")


@case
def declarations_are_asked_for_by_live_channels():
    with Server() as s:
        mac, new = s.enroll(product=MAC), Device(s, product=MAC)
        ask = {"MessageType": "DeclarativeManagement", "UDID": mac.udid, "Endpoint": "tokens"}
        status, _ = mac.put(ask, signature="")
        equal(status, 400, "unsigned")
        for what in ({"Endpoint": ""}, {"Endpoint": b"tokens"}, {"Endpoint": "x" * 1025}, {"Endpoint": "status", "Data": "{}"}):
            equal(mac.put(ask, **what)[0], 400, f"{what}")
        refused(mac.put(ask, **USER), 403, "POM-E4201", "a user that has not come")
        new.read_profile(s.profile(s.link())).get_identity()
        refused(new.put(ask, UDID=new.udid), 403, "POM-E4201", "before Authenticate")
        equal(new.authenticate()[0], 200)
        refused(new.put(ask, UDID=new.udid), 403, "POM-E4203", "before TokenUpdate")
        refused(new.put(ask), 403, "POM-E4103", "of another device")


@case
def tokens_for_managed_apple_accounts():
    with Server() as s:
        key = rsa_key()
        path = write(s, "server-token.pem", pem_key(key))
        d = s.enroll(product=MAC)
        ask = {"MessageType": "GetToken", "UDID": d.udid, "TokenServiceType": "com.apple.maid"}
        refused(d.put(ask), 400, "POM-E4012", "no key")
        s.stop()
        for args, text in ((("--set", f"checkin.maid_key={path}"), "maid_server_uuid is not"), (("--set", "checkin.maid_server_uuid=u"), "maid_key is not")):
            code, _, err = s.cli_code("serve", *args)
            expect(code != 0 and text in err, err)
        both = ("--set", f"checkin.maid_key={path}", "--set", "checkin.maid_server_uuid=0123ABCD-SERVER")
        os.chmod(path, 0o644)
        expect("chmod 600" in s.cli_code("serve", *both)[2], "a key that others can read")
        os.chmod(path, 0o600)
        weak = write(s, "ec.pem", pem_key(ec_keys.generate_private_key(ec_keys.SECP256R1())))
        expect("RSA" in s.cli_code("serve", "--set", f"checkin.maid_key={weak}", "--set", "checkin.maid_server_uuid=u")[2], "not RSA")
        s.start(*both)
        d.hang_up()
        begin = int(time.time())
        tokens = []
        for more in ({}, {"TokenParameters": {}}):
            status, reply = d.put(ask, **more)
            equal((status, list(reply)), (200, ["TokenData"]))
            tokens.append(reply["TokenData"].decode())
        header, claims, signature = tokens[0].split(".")
        equal(jwt_part(header), {"alg": "RS256", "typ": "JWT"})
        said = jwt_part(claims)
        equal(sorted(said), ["iat", "iss", "jti", "service_type"])
        equal((said["iss"], said["service_type"]), ("0123ABCD-SERVER", "com.apple.maid"))
        expect(begin - 1 <= said["iat"] <= time.time() + 1 and UUID.match(said["jti"]), f"{said}")
        expect(jwt_part(tokens[1].split(".")[1])["jti"] != said["jti"], "each has an id of its own")
        key.public_key().verify(base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)), f"{header}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
        refused(d.put(ask, TokenServiceType="com.apple.other"), 400, "POM-E5121", "an unknown service")
        phone = s.enroll()
        refused(phone.put(ask), 403, "POM-E4103", "of another device")
        entries = [e for e in s.cli("ca", "audit") if e["action"] == "token.grant"]
        equal([e["object"] for e in entries], [d.id, d.id])
        expect(tokens[0] not in s.logs(), "a token in the log")


@case
def return_to_service():
    with Server() as s:
        d, other = s.enroll(product=IPAD), s.enroll(product=IPAD)
        ask = {"MessageType": "ReturnToService", "UDID": d.udid}
        equal(d.put(ask), (200, {"ReturnToService": {"Enabled": False}}), "nothing is set")
        refused(other.put(ask), 403, "POM-E4103", "of another device")
        refused(d.put(ask, **SHARED), 400, "POM-E4001", "by a user")
        equal(d.put({"MessageType": "SetBootstrapToken", "UDID": d.udid, "BootstrapToken": b"apps"})[0], 200)
        s.cli("profile", "add", write(s, "wifi.mobileconfig", plistlib.dumps(WIFI)), "--name", "wifi")
        s.refused("device", "return-to-service", d.udid, "--enable", "--wifi", "nothing", text="POM-E0003")
        s.refused("device", "return-to-service", d.udid, "--wifi", "wifi", text="--enable")
        s.refused("device", "return-to-service", d.udid, "--enable", "--disable", text="exclude")
        shown = s.cli("device", "return-to-service", d.udid, "--enable", "--wifi", "wifi", "--mdm-profile")
        equal((shown["enabled"], shown["wifi_profile"], shown["mdm_profile"], shown["bootstrap_token"], shown["from"]), (True, "wifi", True, True, "device"))
        status, reply = d.put(ask)
        equal((status, sorted(reply["ReturnToService"])), (200, ["BootstrapToken", "Enabled", "MDMProfileData", "WiFiProfileData"]))
        answer = reply["ReturnToService"]
        equal((answer["Enabled"], answer["BootstrapToken"]), (True, b"apps"))
        wifi = d.open_profile(answer["WiFiProfileData"], d.roots())
        equal(payloads_of(wifi)["com.apple.wifi.managed"][0]["Password"], "wifi secret", "readable when its identity is gone")
        # Erased, it comes back with that profile; the link in it is for this device.
        back = Device(s, udid=d.udid, product=IPAD)
        back.read_profile(answer["MDMProfileData"]).get_identity()
        stranger = Device(s, product=IPAD)
        stranger.read_profile(answer["MDMProfileData"])
        stranger.key, stranger.cert = back.key, back.cert
        refused(stranger.authenticate(), 403, "POM-E4103", "another device with that profile")
        # Each profile makes a link: not without end.
        refused(d.put(ask), 503, "POM-E4013", "again at once")
        equal(back.authenticate()[0], 200)
        equal(back.token_update()[0], 200)
        equal(s.cli("device", "show", d.udid)["epoch"], 2)
        equal(back.put({"MessageType": "GetBootstrapToken", "UDID": d.udid}), (200, b""), "a secret of the epoch before")
        equal(s.cli("device", "return-to-service", d.udid, "--enable", "--no-bootstrap-token")["bootstrap_token"], False)
        equal(back.put(ask), (200, {"ReturnToService": {"Enabled": True}}))
        equal(s.cli("device", "return-to-service", d.udid, "--disable")["enabled"], False)
        equal(back.put(ask), (200, {"ReturnToService": {"Enabled": False}}))
        equal(s.cli("device", "return-to-service", d.udid, "--inherit")["from"], "settings")
        actions = [e["action"] for e in s.cli("ca", "audit")]
        equal((actions.count("return-to-service.set"), actions.count("return-to-service.answer")), (4, 4))
        s.restart("--set", "return_to_service.enabled=true", "--set", "return_to_service.wifi_profile=wifi")
        other.hang_up()
        status, reply = other.put(ask, UDID=other.udid)
        equal((status, sorted(reply["ReturnToService"])), (200, ["Enabled", "WiFiProfileData"]), "as the settings say; it has no token")
        s.restart("--set", "return_to_service.enabled=true", "--set", "return_to_service.wifi_profile=gone")
        other.hang_up()
        refused(other.put(ask, UDID=other.udid), 503, "POM-E4013", "a profile that is not there is for the administrator to mend")


class OldServer:
    """The CA of the server that devices come from, and devices that it has enrolled."""

    def __init__(self, s, name="Old CA"):
        self.s, self.key = s, rsa_key()
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.cert = self.certify(self.name, self.key, ca=True)
        self.path = write(s, f"{name.replace(' ', '-')}.pem", self.cert.public_bytes(serialization.Encoding.PEM))

    def certify(self, subject, key, ca=False, days=(-1, 300), serial=None):
        now = datetime.datetime.utcnow()
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key()).serial_number(serial or x509.random_serial_number())
                .not_valid_before(now + datetime.timedelta(days=days[0])).not_valid_after(now + datetime.timedelta(days=days[1])).add_extension(x509.BasicConstraints(ca, None), True).sign(self.key, hashes.SHA256()))

    def device(self, **options):
        """A device that this server never enrolled, with an identity of that CA."""
        d = Device(self.s)
        d.topic, d.mdm, d.key = TOPIC, {"ServerURL": self.s.url + "/mdm"}, rsa_key()
        d.cert = self.certify(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Old identity")]), d.key, **options)
        return d


def in_days(days):
    return (datetime.datetime.utcnow() + datetime.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


@case
def devices_of_another_server():
    with Server() as s:
        old, foreign = OldServer(s), OldServer(s, "Foreign CA")
        early = old.device()
        refused(early.token_update(), 403, "POM-E2102", "before anybody allowed it")
        s.stop()
        for args, text in ((("--set", f"identity.bind_first_use_until={in_days(30)}"), "first_use_ca is not"), (("--set", f"identity.bind_first_use_until={in_days(91)}", "--set", f"identity.first_use_ca={old.path}"), "90 days"),
                           (("--set", "identity.bind_first_use_until=soon", "--set", f"identity.first_use_ca={old.path}"), "2026-12-31"),
                           (("--set", f"identity.bind_first_use_until={in_days(1)}", "--set", f"identity.first_use_ca={write(s, 'leaf.pem', early.cert.public_bytes(serialization.Encoding.PEM))}"), "no CA")):
            code, _, err = s.cli_code("serve", *args)
            expect(code != 0 and text in err, f"{args}: {err}")
        open_window = ("--set", f"identity.bind_first_use_until={in_days(30)}", "--set", f"identity.first_use_ca={old.path}")
        s.start(*open_window)
        # What does not begin so.
        fresh = old.device()
        refused(fresh.authenticate(), 403, "POM-E4109", "Authenticate needs a link")
        refused(fresh.check_out(), 403, "POM-E4109")
        refused(fresh.put({"MessageType": "GetBootstrapToken", "UDID": fresh.udid}), 403, "POM-E4109")
        refused(fresh.token_update(**USER), 403, "POM-E4109", "a user before its device")
        refused(fresh.token_update(Topic=TOPIC + "x"), 400, "POM-E4301", "another push certificate")
        refused(foreign.device().token_update(), 403, "POM-E2102", "of a CA that is not listed")
        refused(old.device(days=(-30, -1)).token_update(), 403, "POM-E2103", "an identity that has ended")
        equal(s.cli("device", "first-use"), [], "nobody was taken up")
        equal(s.cli("device", "list"), [])
        # A TokenUpdate, and a report.
        equal(fresh.token_update()[0], 200)
        shown = s.cli("device", "show", fresh.udid)
        equal((shown["state"], shown["provenance"], shown["topic"], shown["has_unlock_token"]), ("enrolled", "first use", TOPIC, True))
        quiet = old.device(serial=7)
        equal(quiet.idle(), (200, b""))
        rows = {r["udid"]: r for r in s.cli("device", "first-use")}
        equal({u: (r["message"], r["has_push_token"], r["state"]) for u, r in rows.items()}, {fresh.udid: ("TokenUpdate", True, "enrolled"), quiet.udid: ("command report", False, "enrolled")})
        equal((rows[quiet.udid]["issuer"], rows[quiet.udid]["issuer_serial"]), ("CN=Old CA", "07"))
        page = s.api("GET", "/api/v1/first-use?limit=1")[1]
        equal((len(page["items"]), page["open"], page["next"] is not None), (1, True, True))
        equal(len(s.api("GET", f"/api/v1/first-use?limit=1&after={page['next']}")[1]["items"]), 1)
        verdict = s.cli("device", "verdict", quiet.udid)
        equal((verdict["state"], "TokenUpdate" in verdict["why"]), ("stopped", True), f"{verdict}")
        refused(quiet.token_update(Topic=TOPIC + "x"), 400, "POM-E4301", "when it tells its topic it must be ours")
        equal(quiet.token_update()[0], 200)
        equal((s.cli("device", "show", quiet.udid)["topic"], s.cli("device", "verdict", quiet.udid)["state"]), (TOPIC, "ok"))
        # It is managed as any other.
        uuid = s.cli("command", "send", quiet.udid, "ProfileList")["command_uuid"]
        equal(quiet.idle()[1]["CommandUUID"], uuid)
        equal(quiet.report(uuid), (200, b""))
        s.refused("device", "renew", quiet.udid, text="was not made with a link")
        # Never over what is known: another identity of that CA, nor one for a device that was enrolled with a link.
        thief = old.device()
        thief.udid = fresh.udid
        refused(thief.token_update(), 403, "POM-E4108")
        refused(thief.idle(), 403, "POM-E4108")
        own = s.enroll()
        thief.udid = own.udid
        refused(thief.token_update(), 403, "POM-E4108")
        fresh_udid, fresh.udid = fresh.udid, secrets.token_hex(20)
        refused(fresh.token_update(), 403, "POM-E4103", "a bound identity is of one device")
        fresh.udid = fresh_udid
        equal([e["object"] for e in s.cli("ca", "audit") if e["action"] == "first-use.bind"], [rows[fresh.udid]["enrollment_id"], rows[quiet.udid]["enrollment_id"]])
        # With a link it becomes one of ours.
        moved = Device(s, udid=fresh.udid)
        moved.enroll(s.link())
        equal((s.cli("device", "show", fresh.udid)["provenance"], {r["udid"]: r["state"] for r in s.cli("device", "first-use")}[fresh.udid]), ("link", "enrolled again with a link"))
        # The window is over: who was taken up stays, nobody else comes.
        for args in (("--set", f"identity.bind_first_use_until={in_days(-1)}", "--set", f"identity.first_use_ca={old.path}"), ()):
            s.restart(*args)
            late = old.device()
            refused(late.token_update(), 403, "POM-E4107" if args else "POM-E2102", "too late")
            refused(late.idle(), 403, "POM-E4107" if args else "POM-E2102", "too late")
            quiet.hang_up()
            equal(quiet.idle(), (200, b""), "taken up is taken up")
        equal(s.api("GET", "/api/v1/first-use")[1]["open"], False)


@case
def two_first_messages_at_once():
    with Server() as s:
        old = OldServer(s)
        s.restart("--set", f"identity.bind_first_use_until={in_days(30)}", "--set", f"identity.first_use_ca={old.path}")
        d = old.device()
        twins = [Device(s, udid=d.udid) for _ in range(6)]
        for t in twins:
            t.topic, t.mdm, t.key, t.cert = d.topic, d.mdm, d.key, d.cert
        answers = []
        threads = [threading.Thread(target=lambda t=t, i=i: answers.append((t.token_update() if i % 2 else t.idle())[0])) for i, t in enumerate(twins)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        equal(answers, [200] * 6)
        equal([r["udid"] for r in s.cli("device", "first-use")], [d.udid])


@case
def profiles_name_the_mutual_tls_listener():
    with Server() as s:
        before = s.link()
        port = free_port()
        url = f"https://127.0.0.1:{port}"
        s.stop()
        for args, text in ((("--set", f"enroll.mdm_url={url}"), "mtls_listen"), (("--set", "enroll.sign_message=false"), "sign_message"), (("--set", "server.mtls_listen=127.0.0.1:0", "--set", "enroll.sign_message=false"), "sign_message"),
                           (("--set", "server.mtls_listen=127.0.0.1:0", "--set", "enroll.mdm_url=https://other.example:1"), "other.example"), (("--set", "server.mtls_listen=127.0.0.1:0", "--set", f"enroll.mdm_url={url}/"), "written as")):
            code, _, err = s.cli_code("serve", *args)
            expect(code != 0 and text in err, f"{args}: {err}")
        s.start("--set", f"server.mtls_listen=127.0.0.1:{port}", "--set", f"enroll.mdm_url={url}", "--set", "enroll.sign_message=false")
        old, new = Device(s).read_profile(s.profile(before)), Device(s)
        equal((old.mdm["ServerURL"], old.mdm["SignMessage"]), (s.url + "/mdm", True), "what a link was made with stays")
        link = s.link()
        new.read_profile(s.profile(link))
        equal((new.mdm["ServerURL"], new.mdm["CheckInURL"], new.mdm["SignMessage"]), (url + "/mdm", url + "/mdm", False))
        expect(new.scep["URL"].startswith(s.url + "/scep/"), "SCEP asks for no certificate")
        new.get_identity()
        context = new.tls()
        with tempfile.NamedTemporaryFile(suffix=".pem") as f:
            f.write(new.cert.public_bytes(serialization.Encoding.PEM) + pem_key(new.key))
            f.flush()
            context.load_cert_chain(f.name)
        new.connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context)
        equal(new.put({"MessageType": "Authenticate", "Topic": new.topic, "UDID": new.udid}, signature="")[0], 200)
        equal(new.token_update(signature="")[0], 200)
        equal(s.cli("device", "show", new.udid)["state"], "enrolled")
        s.restart()
        equal(Device(s).read_profile(s.profile(s.link())).mdm["SignMessage"], True)


def simulate(s, link, *args, code=0):
    """The steps that a simulated device says."""
    out = run("sim", "device", "--ca-file", s.root_ca, "--json", "--polls", "1", *args, link["profile_url"], code=code)
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def steps(said):
    return [line["step"] for line in said]


@case
def simulated_users():
    with Server() as s:
        said = simulate(s, s.link(), "--kind", "mac", "--users", "3")
        equal([step for step in steps(said) if step.startswith(("token_update", "user"))], ["token_update", "token_update", "user_declined", "user_declined"], "the Mac, its own user, two of the network")
        equal([u["user_short_name"] for u in s.cli("device", "list") if u["parent_id"]], ["user-1"])
        said = simulate(s, s.link(), "--kind", "ipad", "--users", "2")
        equal(steps(said).count("token_update"), 3)
        equal(sorted(u["user"] for u in s.cli("device", "list") if u["kind"] == "shared-ipad"), ["user-1@school.example", "user-2@school.example"])
        simulate(s, s.link(), "--kind", "mac", "--users", "1", "--user-enrollment")
        own = [d for d in s.cli("device", "list") if d["kind"].startswith("user-enrollment")]
        equal(sorted((d["kind"], d["serial"]) for d in own), [("user-enrollment", None), ("user-enrollment-device", None)])
        simulate(s, s.link(), "--kind", "iphone", "--users", "1", code=2)
        # Commands on the user's channel.
        state = os.path.join(s.root, "mac")
        link = s.link()
        simulate(s, link, "--kind", "mac", "--users", "1", "--state", state)
        user = [u for u in s.cli("device", "list") if u["user_short_name"] == "user-1"][-1]
        uuid = s.cli("command", "send", user["id"], "ProfileList")["command_uuid"]
        said = simulate(s, link, "--kind", "mac", "--users", "1", "--state", state)
        equal([line["command_uuid"] for line in said if line["step"] == "command"], [uuid])
        equal(s.cli("command", "show", uuid)["status"], "Acknowledged")


@case
def simulated_network_users_tokens_and_return():
    with Server("--set", "checkin.user_authenticate=empty", "--set", "return_to_service.enabled=true", "--set", "return_to_service.mdm_profile=true") as s:
        key = write(s, "server-token.pem", pem_key(rsa_key()))
        s.restart("--set", f"checkin.maid_key={key}", "--set", "checkin.maid_server_uuid=U")
        said = simulate(s, s.link(), "--kind", "mac", "--users", "2", "--maid")
        equal([step for step in steps(said) if step.startswith(("user", "maid"))], ["maid_token", "user_authenticate"])
        equal(len([u for u in s.cli("device", "list") if u["kind"] == "user"]), 2)
        said = simulate(s, s.link(), "--kind", "ipad", "--supervised", "--return-to-service")
        answer = next(line for line in said if line["step"] == "return_to_service")
        equal((answer["enabled"], answer["profile"], steps(said).count("token_update")), (True, True, 2), "it has come back")
        ipad = next(d for d in s.cli("device", "list") if d["product_name"] and d["product_name"].startswith("iPad"))
        equal((ipad["epoch"], ipad["state"]), (2, "enrolled"))


if __name__ == "__main__":
    main()
