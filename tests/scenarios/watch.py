"""Apple Watches: a supervised iPhone and its watch, end to end; and tokens that have expired, were used, are another's or were made up."""
import re
import warnings

from harness import *

warnings.filterwarnings("ignore", "SHA1 signatures are deprecated")

# Nobody listens there: pushes are not what this is about.
NO_APNS = ("--apns-url", "https://127.0.0.1:1")
MINUTE = 60 * 1000


class Phone(Device):
    def get_token(self, security, watch, service="com.apple.watch.pairing", **more):
        parameters = {"SecurityToken": security, "PhoneUDID": self.udid, "WatchUDID": watch.udid, **more.pop("parameters", {})}
        return self.put({"MessageType": "GetToken", "UDID": self.udid, "TokenServiceType": service, "TokenParameters": parameters, **more})

    def fetch(self, security, watch):
        status, reply = self.get_token(security, watch)
        equal((status, list(reply)), (200, ["TokenData"]), f"GetToken {reply}")
        return reply["TokenData"]

    def say_supervised(self, yes):
        """Answers DeviceInformation."""
        uuid = self.server.cli("command", "send", self.udid, "DeviceInformation", 'Queries=["IsSupervised"]')["command_uuid"]
        equal(self.idle()[1]["CommandUUID"], uuid)
        equal(self.report(uuid, QueryResponses={"IsSupervised": yes})[0], 200)
        return self


class Watch(Device):
    def __init__(self, server, factory, **options):
        super().__init__(server, product="Watch6,1", **options)
        self.factory = factory.identity(self.udid)

    def ask(self, token=None, identity=None, ber=True, **more):
        """MachineInfo: (status, reply, headers)."""
        info = {"UDID": self.udid, "SERIAL": self.serial, "PRODUCT": self.product, "VERSION": "21S71", "OS_VERSION": "10.1", "LANGUAGE": "en-US", **more}
        if token is not None:
            info["PAIRING_TOKEN"] = token
        message = attached_signature(identity or self.factory, plistlib.dumps({k: v for k, v in info.items() if v is not None}))
        status, body, headers = self.request("POST", "/watch", indefinite(message) if ber else message, {"Content-Type": "application/pkcs7-signature"})
        expect(status != 401, "a watch was answered 401")
        return status, body, headers

    def security_token(self, **options):
        """Of the document that sends it to its phone."""
        status, body, headers = self.ask(**options)
        equal((status, headers["content-type"]), (403, "application/json"), f"{body}")
        document = json.loads(body)
        equal((sorted(document), document["code"], list(document["details"])), (["code", "details"], "com.apple.watch.pairing.token.missing", ["security-token"]))
        expect(re.fullmatch(r"[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}", document["details"]["security-token"]), f"a random UUID: {document}")
        return document["details"]["security-token"]

    def refused(self, code, status=403, **options):
        got, body, headers = self.ask(**options)
        equal((got, headers["content-type"].split(";")[0], body.split()[0].decode()), (status, "text/plain", code), f"{body}")


def behind(s, *devices, statement, values=()):
    """Behind the server's back, while it is stopped."""
    with s.stopped() as execute:
        changed = execute(statement, *values)
    for device in devices:
        device.hang_up()
    return changed


def know_supervised(s, phone, yes, learnt=None):
    """As if the phone had answered DeviceInformation."""
    behind(s, phone, statement="INSERT INTO fact (enrollment_id, name, value, learnt_at) SELECT id, 'IsSupervised', ?, ? FROM enrollment WHERE device_id = ?"
           " ON CONFLICT (enrollment_id, name) DO UPDATE SET value = excluded.value, learnt_at = excluded.learnt_at", values=(yes, learnt or int(time.time() * 1000) + MINUTE, phone.udid))


def pairings(s):
    return s.cli("watch", "list")


@case
def a_supervised_phone_and_its_watch():
    with Server(*NO_APNS) as s:
        factory = Factory()
        factory.add_to(s)
        phone = Phone(s)
        phone.enroll(s.link("--user", "Ann Example", "--email", "ann@example.org"))
        expect("com.apple.mdm.token" in phone.mdm["ServerCapabilities"], "the phone may ask for tokens")
        watch = Watch(s, factory)
        security = watch.security_token()
        equal([(p["state"], p["udid"], p["phone_enrollment_id"]) for p in pairings(s)], [("open", watch.udid, None)])
        status, body = phone.get_token(security, watch)
        equal((status, body.split()[0]), (403, b"POM-E5127"), "it is not known whether the phone is supervised")
        refused = [e for e in s.cli("device", "timeline", phone.udid) if e["kind"] == "WatchRefused"]
        expect("IsSupervised" in refused[-1]["detail"], "and that is said")
        equal(phone.get_token(security, watch)[0], 403, "it is still not known")
        equal([c["request_type"] for c in s.cli("command", "list", phone.udid)], ["DeviceInformation"], "the phone is asked, once")
        question = phone.idle()[1]
        equal(question["Command"], {"RequestType": "DeviceInformation", "Queries": ["IsSupervised"]}, "what it is asked")
        equal(phone.report(question["CommandUUID"], QueryResponses={})[0], 200, "it does not say")
        know_supervised(s, phone, "false")
        equal(phone.get_token(security, watch)[0], 403, "it is not")
        know_supervised(s, phone, "true", learnt=1)
        equal(phone.get_token(security, watch)[0], 403, "it was, before it enrolled here")
        know_supervised(s, phone, "true")
        token = phone.fetch(security, watch)
        equal([(p["state"], p["phone_enrollment_id"]) for p in pairings(s)], [("granted", phone.id)])
        status, profile, headers = watch.ask(token)
        equal((status, headers["content-type"], headers["cache-control"]), (200, PROFILE, "no-store"), f"{profile[:300]}")
        watch.read_profile(profile)
        equal(sorted(watch.mdm["ServerCapabilities"]), ["com.apple.mdm.bootstraptoken", "com.apple.mdm.per-user-connections"], "com.apple.mdm.token is the phone's alone")
        expect(roots_of(watch.payload), "trust and all")
        stranger = Watch(s, factory)
        stranger.payload, stranger.mdm, stranger.scep, stranger.topic = watch.payload, watch.mdm, watch.scep, watch.topic
        stranger.get_identity()
        equal(stranger.authenticate()[0], 403, "another watch with the profile")
        watch.get_identity()
        equal((watch.authenticate(), watch.token_update()), ((200, b""), (200, b"")))
        shown = s.cli("device", "show", watch.udid)
        equal((shown["state"], shown["owner"]), ("enrolled", "Ann Example"), "the phone's owner")
        uuid = s.cli("command", "send", watch.udid, "DeviceInformation", 'Queries=["OSVersion"]')["command_uuid"]
        equal(watch.idle()[1]["CommandUUID"], uuid)
        listed = pairings(s)[0]
        equal(listed["state"], "used")
        link = s.cli("enroll", "show", listed["link_id"])
        equal((link["state"], link["device_id"], link["enrollment_id"], link["user"], link["email"]), ("used", watch.udid, watch.id, "Ann Example", "ann@example.org"))
        of_phone, of_watch = ([e["kind"] for e in s.cli("device", "timeline", d.udid)] for d in (phone, watch))
        equal(of_phone[-2:], ["WatchTokenGranted", "WatchPaired"])
        equal([kind for kind in of_watch if kind in ("WatchPaired", "PKIOperation", "Refused", "Authenticate", "Enrolled")], ["WatchPaired", "PKIOperation", "Refused", "Authenticate", "Enrolled"])
        log = s.logs()
        expect(security not in log and base64.b64encode(token).decode() not in log, "the tokens are secrets")
        kept = s.store.content()
        expect(security.encode() not in kept and token[1:17] not in kept, "and only their hashes are kept")
        wait_for("the audit log", lambda: {"watch.grant", "watch.enroll"} <= {e["action"] for e in s.api("GET", "/api/v1/audit?limit=1000")[1]["items"]})


@case
def what_the_phone_says_of_itself():
    with Server(*NO_APNS) as s:
        phone = Phone(s)
        phone.enroll(s.link())
        factory = Factory()
        factory.add_to(s)
        watch = Watch(s, factory)
        security = watch.security_token()
        phone.say_supervised(True)
        equal(watch.ask(phone.fetch(security, watch))[0], 200)


@case
def tokens_that_are_refused():
    with Server(*NO_APNS, "--set", "enroll.watch=any") as s:
        factory, foreign = Factory(), Factory("Another Device CA")
        factory.add_to(s)
        phone, other_phone = Phone(s), Phone(s)
        phone.enroll(s.link())
        other_phone.enroll(s.link())
        watch, other = Watch(s, factory), Watch(s, factory)
        # Who is no watch of the factory.
        watch.refused("POM-E5101", identity=foreign.identity())
        watch.refused("POM-E5101", identity=(phone.key, phone.cert, []))
        watch.refused("POM-E5101", identity=factory.identity(ca=True))
        watch.refused("POM-E5103", status=400, UDID=None)
        watch.refused("POM-E5103", status=400, PRODUCT="iPhone15,2")
        watch.refused("POM-E5103", status=400, token="text")
        equal(watch.request("POST", "/watch", b"x")[0], 400)
        equal(watch.request("GET", "/watch")[0], 405)
        equal(pairings(s), [], "nothing of that is kept")
        # What the phone asks wrongly.
        security = watch.security_token()
        for what, status, code in (
                ({"service": "com.apple.maid"}, 400, "POM-E4012"), ({"service": "com.example"}, 400, "POM-E5121"), ({"parameters": {"PhoneUDID": other_phone.udid}}, 403, "POM-E5123"),
                ({"parameters": {"WatchUDID": other.udid}}, 403, "POM-E5124"), ({"parameters": {"SecurityToken": security[::-1]}}, 403, "POM-E5124"),
                ({"parameters": {"SecurityToken": ""}}, 400, "POM-E4001"), ({"parameters": {"SecurityToken": b"x"}}, 400, "POM-E1006"), ({"TokenParameters": "x"}, 400, "POM-E1006"),
                ({"UserID": "A1B2C3D4-0000-4000-8000-000000000001", "UserShortName": "ann"}, 403, "POM-E5123"), ({"UDID": other_phone.udid}, 403, "POM-E4103")):
            got, body = phone.get_token(security, watch, **what)
            equal((got, body.split()[0].decode()), (status, code), f"{what}")
        equal(pairings(s)[0]["state"], "open", "and it is still good")
        ipad = Phone(s, product="iPad13,1")
        ipad.enroll(s.link())
        equal(ipad.get_token(security, watch)[1].split()[0], b"POM-E5123", "an iPad has no watch")
        minimal = Phone(s, minimal=True)
        minimal.enroll(s.link())
        equal(minimal.get_token(security, watch)[1].split()[0], b"POM-E5123", "who does not say that it is an iPhone")
        pending = Phone(s)
        pending.read_profile(s.profile(s.link())).get_identity()
        equal(pending.get_token(security, watch)[0], 403, "who has not enrolled")
        equal(pending.authenticate()[0], 200)
        equal(pending.get_token(security, watch)[1].split()[0], b"POM-E4203", "nor completed it")
        gone = Phone(s)
        gone.enroll(s.link()).check_out()
        equal(gone.get_token(security, watch)[1].split()[0], b"POM-E4202", "who has left")
        token = phone.fetch(security, watch)
        for asker in (phone, other_phone):
            equal(asker.get_token(security, watch)[1].split()[0], b"POM-E5124", "a security token is good once")
        # Whose token it is.
        other.refused("POM-E5126", token=token)
        watch.refused("POM-E5126", token=token, UDID=other.udid)
        watch.refused("POM-E5126", token=token, identity=factory.identity())
        for forged in (token[:-1] + bytes([token[-1] ^ 1]), token[:1] + bytes(16) + token[17:], token[:-32] + bytes(32), token + b"\0", b"x", token[:-32], bytes(200)):
            watch.refused("POM-E5126", token=forged)
        equal(pairings(s)[0]["state"], "granted", "and it is still good")
        equal(watch.ask(token)[0], 200)
        # Twice: the watch may begin again, with another security token.
        again = watch.security_token(token=token)
        expect(again != security, "a new one")
        other.refused("POM-E5126", token=token)
        equal(watch.ask(phone.fetch(again, watch))[0], 200, "from the beginning")
        # A phone that left meanwhile.
        late = watch.security_token()
        token = phone.fetch(late, watch)
        equal(phone.check_out()[0], 200)
        watch.refused("POM-E5123", token=token)
        # Open ones of one watch do not pile up.
        tokens = [other.security_token() for _ in range(9)]
        opened = [p for p in pairings(s) if p["state"] == "open" and p["udid"] == other.udid]
        equal(len(opened), 4)
        equal(other_phone.get_token(tokens[0], other)[0], 403, "the oldest is gone")
        equal(other_phone.get_token(tokens[-1], other)[0], 200, "the newest is good")


@case
def tokens_that_have_expired():
    with Server(*NO_APNS, "--set", "enroll.watch=any") as s:
        factory = Factory()
        factory.add_to(s)
        phone, watch = Phone(s), Watch(s, factory)
        phone.enroll(s.link())
        security = watch.security_token()
        equal(behind(s, phone, statement="UPDATE watch_pairing SET expires_at = ?", values=(int(time.time() * 1000) - 1,)), 1)
        status, body = phone.get_token(security, watch)
        equal((status, body.split()[0]), (403, b"POM-E5124"))
        equal([p["state"] for p in pairings(s)], ["expired"])
        token = phone.fetch(watch.security_token(), watch)
        behind(s, phone, statement="UPDATE watch_pairing SET token_expires_at = ? WHERE granted_at > 0", values=(int(time.time() * 1000) - 1,))
        fresh = watch.security_token(token=token)
        token = phone.fetch(fresh, watch)
        equal(watch.ask(token)[0], 200, "the watch has begun again by itself")
        # A pairing that was removed long after: its token is of the right watch, so it may begin again too.
        behind(s, phone, statement="UPDATE watch_pairing SET expires_at = 1, token_expires_at = 1")
        wait_for("the janitor", lambda: pairings(s) == [])
        token = phone.fetch(watch.security_token(token=token), watch)
        # An identity that has ended gets nothing but a new one.
        security = watch.security_token()
        now = int(time.time() * 1000)
        behind(s, phone, statement="UPDATE certificate SET not_before = ?, not_after = ? WHERE enrollment_id IS NOT NULL", values=(now - 800 * 86400000, now - MINUTE))
        equal(phone.get_token(security, watch)[1].split()[0], b"POM-E2103")
        s.restart("--set", "enroll.watch=off")
        watch.hang_up()
        watch.refused("POM-E5122")
        expect(s.cli_code("watch", "list")[0] == 0, "what was is still shown")


if __name__ == "__main__":
    main()
