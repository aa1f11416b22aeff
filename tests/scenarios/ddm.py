"""Declarative management: declarations, sets, the protocol, status reports. The devices are a client of their own, strict about tokens."""
import hashlib
import warnings

from harness import *

warnings.filterwarnings("ignore", "SHA1 signatures are deprecated")

# Nobody listens there: pushes are not what this is about.
NO_APNS = ("--apns-url", "https://127.0.0.1:1")
OWN = {"pomona.activation", "pomona.subscription"}
KINDS = {"Activations": "activation", "Configurations": "configuration", "Assets": "asset", "Management": "management"}
USER = {"UserID": "A1B2C3D4-0000-4000-8000-000000000001", "UserShortName": "ann", "UserLongName": "Ann Example"}


class Client(Device):
    """A device that knows declarative management."""

    def __init__(self, server, **options):
        super().__init__(server, **options)
        self.token = secrets.token_bytes(32)
        self.declarations = {}   # (kind, identifier): declaration
        self.declared = None     # DeclarationsToken that it has
        self.commands = []       # DeclarativeManagement commands that came
        self.fetched = 0
        self.user = {}

    def get(self, path, sign=True):
        headers = {"User-Agent": "MDM/1.0"}
        if sign:
            headers["Mdm-Signature"] = base64.b64encode(detached_signature(self.key, self.cert, b"")).decode()
        return self.request("GET", path, headers=headers)

    def checkin(self, endpoint, data=None, **more):
        message = {"MessageType": "DeclarativeManagement", "UDID": self.udid, "Endpoint": endpoint, **self.user, **more}
        if data is not None:
            message["Data"] = data if isinstance(data, bytes) else json.dumps(data).encode()
        body = plistlib.dumps(message)
        if self.connection is None:
            self.connection = self.connect()
        self.connection.request("PUT", urllib.parse.urlsplit(self.mdm["ServerURL"]).path, body, {
            "Content-Type": CHECKIN, "Mdm-Signature": base64.b64encode(detached_signature(self.key, self.cert, body)).decode()})
        r = self.connection.getresponse()
        reply = r.read()
        expect(r.status != 401, "a device was answered 401")
        if r.status == 200 and reply:
            equal(r.getheader("Content-Type"), "application/json", endpoint)
        if r.will_close:
            self.hang_up()
        return r.status, reply

    def tokens(self):
        status, body = self.checkin("tokens")
        equal(status, 200, f"tokens {body!r}")
        sync = json.loads(body)
        equal((list(sync), sorted(sync["SyncTokens"])), (["SyncTokens"], ["DeclarationsToken", "Timestamp"]))
        datetime.datetime.strptime(sync["SyncTokens"]["Timestamp"], "%Y-%m-%dT%H:%M:%SZ")
        return sync["SyncTokens"]["DeclarationsToken"]

    def items(self):
        status, body = self.checkin("declaration-items")
        equal(status, 200, f"items {body!r}")
        items = json.loads(body)
        equal((sorted(items), sorted(items["Declarations"])), (["Declarations", "DeclarationsToken"], sorted(KINDS)))
        listed = {(KINDS[k], i["Identifier"]): i["ServerToken"] for k, entries in items["Declarations"].items() for i in entries}
        expect(all(len(t.encode()) <= 64 and len(i.encode()) <= 64 for (_, i), t in listed.items()), "at most 64 octets")
        return items["DeclarationsToken"], listed

    def sync(self, token=None):
        """One synchronization, from a token that a command has told or asked for."""
        token = token or self.tokens()
        if token == self.declared:
            return False
        listed_token, listed = self.items()
        equal(listed_token, token, "the list that was announced")
        for key in [k for k in self.declarations if k not in listed]:
            del self.declarations[key]
        for (kind, identifier), server_token in listed.items():
            have = self.declarations.get((kind, identifier))
            if have and have["ServerToken"] == server_token:
                continue
            status, body = self.checkin(f"declaration/{kind}/{identifier}")
            self.fetched += 1
            if status == 404:
                self.declarations.pop((kind, identifier), None)
                continue
            equal(status, 200, f"{identifier} {body!r}")
            declaration = json.loads(body)
            equal((sorted(declaration), declaration["Identifier"], declaration["ServerToken"], declaration["Type"].split(".")[2]),
                  (["Identifier", "Payload", "ServerToken", "Type"], identifier, server_token, kind))
            self.declarations[(kind, identifier)] = declaration
        self.declared = listed_token
        return True

    def obey(self, command):
        if command["RequestType"] == "DeclarativeManagement":
            self.commands.append(json.loads(command["Data"])["SyncTokens"]["DeclarationsToken"])
        return super().obey(command)

    def work(self):
        """Fetches its commands, and synchronizes as they say. How many DeclarativeManagement came."""
        before = len(self.commands)
        self.run_commands()
        for token in self.commands[before:]:
            self.sync(token)
        return len(self.commands) - before

    def report(self, *args, **more):
        return super().report(*args, **more)

    def status(self, report):
        return self.checkin("status", report)

    def names(self):
        return sorted(i for _, i in self.declarations if i not in OWN)


def declaration(identifier, payload=None, kind="management.properties"):
    return {"Type": f"com.apple.{kind}", "Identifier": identifier, "Payload": {"name": identifier} if payload is None else payload}


def add(s, d, *args):
    return s.cli("declaration", "add", "-", *args, input=json.dumps(d))


def settle(s):
    """Until all work is done."""
    wait_for("the janitor", lambda: s.sql("SELECT count(*) FROM ddm_work") == [(0,)], 60)


def client(s, **options):
    device = Client(s, **options)
    device.enroll(s.link())
    return device


def commands(s, device):
    return [c for c in s.cli("command", "list", device.udid) if c["request_type"] == "DeclarativeManagement"]


@case
def from_a_set_to_a_device():
    with Server(*NO_APNS) as s:
        device, other = client(s), client(s)
        add(s, declaration("passcode", {"RequirePasscode": True}, "configuration.passcode.settings"))
        add(s, declaration("act", {"StandardConfigurations": ["passcode"]}, "activation.simple"))
        add(s, declaration("org", {"Name": "Example"}, "management.organization-info"))
        empty = device.tokens()
        equal((device.items(), device.tokens()), ((empty, {}), empty), "nothing yet, and stable")
        s.cli("set", "new", "office")
        shown = s.cli("set", "add", "office", "act", "org")
        equal(([b["identifier"] for b in shown["brings"]], shown["problems"]), (["act", "org", "passcode"], []), "with what the activation names")
        s.cli("set", "assign", "office", "--device", device.udid)
        settle(s)
        equal((len(commands(s, device)), len(commands(s, other))), (1, 0), "exactly whom it concerns")
        equal(device.work(), 1)
        equal((device.names(), device.commands), (["act", "org", "passcode"], [device.declared]))
        subscribed = {i["Name"] for i in device.declarations[("configuration", "pomona.subscription")]["Payload"]["StatusItems"]}
        expect({"device.operating-system.version", "passcode.is-present"} <= subscribed and "diskmanagement.filevault.enabled" not in subscribed, f"what the inventory wants of a phone: {subscribed}")
        equal((device.tokens(), device.sync(), device.work()), (device.declared, False, 0), "stable while nothing changes")
        # A change of content.
        before, device.fetched = device.declared, 0
        equal(add(s, declaration("passcode", {"RequirePasscode": False}, "configuration.passcode.settings"))["unchanged"], False)
        equal(add(s, declaration("passcode", {"RequirePasscode": False}, "configuration.passcode.settings"))["unchanged"], True)
        settle(s)
        equal((device.work(), device.fetched, device.declarations[("configuration", "passcode")]["Payload"]), (1, 1, {"RequirePasscode": False}), "only what has changed is fetched")
        expect(device.declared != before, "another token")
        # There and back before the device came: nothing is left to tell.
        add(s, declaration("org", {"Name": "Other"}, "management.organization-info"))
        settle(s)
        equal(len(commands(s, device)), 1)
        add(s, declaration("org", {"Name": "Example"}, "management.organization-info"))
        settle(s)
        equal((commands(s, device), device.work(), device.sync()), ([], 0, False), "the command was taken back")
        # Many changes are one command.
        for i in range(5):
            add(s, declaration("org", {"Name": f"N{i}"}, "management.organization-info"))
        settle(s)
        equal((len(commands(s, device)), device.work(), device.declarations[("management", "org")]["Payload"]["Name"]), (1, 1, "N4"))
        # A removal.
        s.refused("declaration", "remove", "org", text="in the set")
        s.refused("declaration", "remove", "passcode", text="named by")
        s.cli("set", "remove", "office", "org")
        s.cli("declaration", "remove", "org")
        settle(s)
        equal((device.checkin("declaration/management/org")[0], device.work(), device.names()), (404, 1, ["act", "passcode"]))
        # While a command is fetched and not answered, none is queued; what has changed follows then.
        add(s, declaration("passcode", {"MinimumLength": 4}, "configuration.passcode.settings"))
        settle(s)
        status, reply = device.idle()
        add(s, declaration("passcode", {"MinimumLength": 6}, "configuration.passcode.settings"))
        settle(s)
        equal(len(commands(s, device)), 1)
        status, following = device.report(reply["CommandUUID"])
        equal((status, following["Command"]["RequestType"]), (200, "DeclarativeManagement"), "the next follows at once")
        device.sync(json.loads(following["Command"]["Data"])["SyncTokens"]["DeclarationsToken"])
        device.report(following["CommandUUID"])
        equal((device.declarations[("configuration", "passcode")]["Payload"], device.work()), ({"MinimumLength": 6}, 0))
        # What it has fetched is not taken back, though there is nothing left to tell.
        add(s, declaration("passcode", {"MinimumLength": 8}, "configuration.passcode.settings"))
        settle(s)
        reply = device.idle()[1]
        for length in (9, 8):
            add(s, declaration("passcode", {"MinimumLength": length}, "configuration.passcode.settings"))
            settle(s)
        equal(device.report(reply["CommandUUID"]), (200, b""), "and nothing follows")
        equal(s.cli("command", "show", reply["CommandUUID"])["status"], "Acknowledged")
        equal(device.sync(), True)
        # Nothing left.
        s.refused("set", "delete", "office", text="is assigned")
        s.cli("set", "delete", "office", "--force")
        settle(s)
        equal((device.work(), device.declarations, device.declared), (1, {}, empty))
        actions = wait_for("the audit log", lambda: (lambda a: {"declaration.add", "set.assign", "set.remove"} <= a and a)({e["action"] for e in s.api("GET", "/api/v1/audit?limit=1000")[1]["items"]}))
        expect("declaration.remove" in actions, "removals too")


@case
def users_groups_and_new_enrollments():
    with Server(*NO_APNS) as s:
        for name in ("a", "b", "c"):
            add(s, declaration(name))
            s.cli("set", "new", name)
            s.cli("set", "add", name, name)
        s.cli("group", "create", "g")
        mac, late = client(s, product="Mac15,3"), Client(s, product="Mac15,3")
        s.cli("group", "add", "g", mac.udid)
        s.cli("set", "assign", "a", "--group", "g")
        s.cli("set", "assign", "b", "--group", "g", "--channel", "user")
        s.cli("set", "assign", "c", "--user", "ann")
        settle(s)
        equal((mac.work(), mac.names()), (1, ["a"]))
        user = Client(s)
        user.__dict__.update(mdm=mac.mdm, key=mac.key, cert=mac.cert, udid=mac.udid, installed=mac.installed, user=USER, topic=mac.topic)
        equal(mac.put({"MessageType": "TokenUpdate", "Topic": mac.topic, "UDID": mac.udid, "Token": b"x" * 32, "PushMagic": "m", "NotOnConsole": False, **USER})[0], 200)
        settle(s)
        equal((user.sync(), user.names(), mac.sync()), (True, ["b", "c"], False), "each channel has its own")
        equal(user.checkin("declaration/management/a")[0], 404)
        equal(mac.checkin("declaration/management/b")[0], 404)
        # By group before it enrolled is by membership alone: it joins, and leaves.
        late.enroll(s.link())
        s.cli("group", "add", "g", late.udid)
        settle(s)
        equal((late.work(), late.names()), (1, ["a"]))
        s.cli("group", "remove", "g", late.udid)
        settle(s)
        equal((late.work(), late.names()), (1, []))
        s.cli("group", "add", "g", late.udid)
        settle(s)
        late.work()
        equal(late.status({"StatusItems": {"device": {"model": {"family": "Mac"}}}})[0], 200)
        # A new enrollment begins anew: it is told again, and what was reported before does not count.
        equal(late.check_out()[0], 200)
        late.declarations, late.declared = {}, None
        late.hang_up().enroll(s.link())
        settle(s)
        equal((late.work(), late.names(), s.cli("device", "status", late.udid)), (1, ["a"], []))
        s.cli("group", "delete", "g", "--force")
        settle(s)
        equal((late.work(), late.names(), mac.work(), mac.names(), user.sync(), user.names()), (1, [], 1, [], True, ["c"]))
        s.refused("set", "assign", "a", "--device", "nobody", text="no")
        s.refused("set", "assign", "a", "--group", "g", text="no group")
        s.refused("set", "assign", "a", text="at least one")
        s.refused("set", "unassign", "a", "--device", mac.udid, text="not assigned")
        # What a device cannot use.
        add(s, declaration("disk", {}, "configuration.diskmanagement.settings"))
        s.cli("set", "add", "a", "disk")
        phone = client(s)
        s.refused("set", "assign", "a", "--device", phone.udid, text="its system does not know it")
        expect("disk" in s.cli("set", "assign", "a", "--device", phone.udid, "--force")["warnings"][0], "told")


@case
def reports_of_status():
    with Server(*NO_APNS) as s:
        device, other = client(s), client(s)
        add(s, declaration("bad", {}, "configuration.passcode.settings"))
        add(s, declaration("act", {"StandardConfigurations": ["bad"]}, "activation.simple"))
        s.cli("set", "new", "x")
        s.cli("set", "add", "x", "act")
        s.cli("set", "assign", "x", "--device", device.udid, "--device", other.udid)
        device.work()
        token = device.declarations[("configuration", "bad")]["ServerToken"]

        def declared(*entries):
            return {"management": {"declarations": {"activations": [], "assets": [], "management": [], "configurations": list(entries)}}}

        def status():
            return {(r["item"], r["element"]): r["value"] for r in s.cli("device", "status", device.udid)}
        reason = {"code": "Error.ConfigurationCannotBeApplied", "description": "d", "details": {"x": 1}}
        equal(device.status({"StatusItems": {"device": {"operating-system": {"version": "17.4"}, "model": {"family": "iPhone"}}, "mdm": {"app": [{"identifier": "a", "name": "A"}, {"identifier": "b", "name": "B"}]},
                             **declared({"identifier": "bad", "server-token": token, "active": False, "valid": "invalid", "reasons": [reason]})},
                             "Errors": [{"StatusItem": "passcode.is-present", "Reasons": [{"Code": "Error.Unknown", "Description": "?"}]}], "FullReport": True}), (200, b""))
        row = {r["identifier"]: r for r in s.cli("device", "declarations", device.udid)}["bad"]
        equal((row["valid"], row["active"], row["listed"], row["current"], row["reasons"][0]["code"], row["reasons"][0]["details"]), ("invalid", False, True, True, reason["code"], {"x": 1}))
        expect("demands" in row["reasons"][0]["text"], f"in words: {row}")
        equal(s.cli("declaration", "show", "bad")["devices"], {"invalid": 1})
        equal([d["udid"] for d in s.cli("declaration", "status", "bad")], [device.udid])
        facts = {f["name"]: f["value"] for f in s.cli("device", "facts", device.udid)}
        equal(facts.get("OSVersion"), "17.4", "the inventory learns")
        # Only what has changed.
        equal(device.status({"StatusItems": {"mdm": {"app": [{"identifier": "a", "_removed": True}, {"identifier": "c", "name": "C"}]}}})[0], 200)
        got = status()
        equal(sorted(e for i, e in got if i == "mdm.app"), ["b", "c"])
        equal((got[("device.operating-system.version", None)], ("passcode.is-present", None) in got), ("17.4", True))
        equal({r["identifier"]: r["valid"] for r in s.cli("device", "declarations", device.udid)}["bad"], "invalid", "declarations were not reported this time")
        equal(device.status({"StatusItems": {"passcode": {"is-present": True}, **declared({"identifier": "bad", "server-token": "old", "active": True, "valid": "valid"})}})[0], 200)
        rows = s.cli("device", "status", device.udid)
        equal([r["reasons"] for r in rows if r["item"] == "passcode.is-present"], [[]], "its error is over")
        row = {r["identifier"]: r for r in s.cli("device", "declarations", device.udid)}["bad"]
        equal((row["valid"], row["active"], row["current"]), ("valid", True, False), "of an older content")
        # A full report stands for all.
        equal(device.status({"StatusItems": {"device": {"model": {"family": "iPhone"}}}, "FullReport": True})[0], 200)
        equal(status(), {("device.model.family", None): "iPhone"})
        # What it can be asked for, as it says.
        equal(device.status({"StatusItems": {"management": {"client-capabilities": {"supported-versions": ["1.0.0"], "supported-payloads": {"status-items": ["device.model.family", "x.y"]}}}}})[0], 200)
        settle(s)
        equal((device.work(), [i["Name"] for i in device.declarations[("configuration", "pomona.subscription")]["Payload"]["StatusItems"]]), (1, ["device.model.family"]))
        equal(other.work(), 1, "the other was not disturbed")
        # Nonsense in a report never breaks the rest of it.
        equal(device.status({"StatusItems": {"management": {"declarations": 7}, "device": {"model": {"family": "iPad"}}, "deep": {"a": {"b": [1, {"identifier": 3}]}}}, "Errors": [7, {}], "Unknown": 1})[0], 200)
        equal(status()[("device.model.family", None)], "iPad")
        for what, wanted in ((b"", 400), (b"{", 400), (b"[]", 400), (b'{"StatusItems":{"a":1,"a":2}}', 400), (b'{"StatusItems":{"a":123456789012345678901234567890}}', 400), (b'"' + b"x" * (4 << 20) + b'"', 413)):
            equal((device.status(what)[0], what[:20]), (wanted, what[:20]))
        equal(device.sync(), False, "and it is still served")
        pages, after = [], ""
        while after is not None:
            reply = s.api("GET", f"/api/v1/devices/{device.udid}/status?limit=1&after={urllib.parse.quote(after, safe='')}")[1]
            pages += [(r["item"], r["element"]) for r in reply["items"]]
            after = reply["next"]
        equal(pages, list(status()))


@case
def what_is_refused():
    with Server(*NO_APNS) as s:
        device = client(s)

        def refused(d, text, *args):
            s.refused("declaration", "add", "-", *args, text=text, input=d if isinstance(d, str) else json.dumps(d))
        add(s, declaration("asset", {"Reference": {"DataURL": "https://x.example/"}}, "asset.data"))
        for d, text in ((declaration("x" * 65), "POM-E8302"), (declaration("a/b"), "POM-E8302"), (declaration("a%2Fb"), "POM-E8302"), (declaration(""), "POM-E8302"), (declaration("pomona.x"), "POM-E8302"),
                        ('{"Type":"com.apple.management.properties","Type":"x","Identifier":"a"}', "duplicate"), (declaration("n", {"n": 2 ** 53 + 1}), "2^53"), (declaration("t", {}, "wifi.x"), "POM-E8303"),
                        (declaration("t", {}, "configuration.future"), "--force"), (declaration("p", {"MinimumLenght": 1}, "configuration.passcode.settings"), "was MinimumLength meant"),
                        (declaration("r", {"StandardConfigurations": ["nothing"]}, "activation.simple"), "not there"), (declaration("r", {"StandardConfigurations": ["asset"]}, "activation.simple"), "POM-E8305"),
                        (declaration("q", {"StandardConfigurations": [], "Predicate": "@status(device.model.family == 'x'"}, "activation.simple"), "POM-E8307"),
                        (declaration("l", {"ProfileURL": "pomona:profile/none"}, "configuration.legacy"), "not in the library"), (declaration("d", {"Reference": {"DataURL": "pomona:data"}}, "asset.data"), "--content"),
                        ("[]", "POM-E8301"), ("{", "line 1")):
            refused(d, text)
        refused(declaration("c", {"AAssetReference": "c"}, "configuration.future"), "POM-E8306", "--force")
        add(s, declaration("c1", {"AAssetReference": "c2"}, "asset.future"), "--force")
        refused(declaration("c2", {"AAssetReference": "c1"}, "asset.future"), "c2 → c1 → c2", "--force")
        equal([d["identifier"] for d in s.cli("declaration", "list")], ["asset", "c1"], "nothing of that is kept")
        # What names something that was not there comes without it, and harms nobody.
        s.cli("set", "new", "x")
        expect("not there" in s.cli("set", "add", "x", "c1")["problems"][0], "told")
        s.cli("set", "assign", "x", "--device", device.udid)
        equal((device.work(), device.names()), (1, ["c1"]))
        add(s, declaration("c2", {}, "asset.future"), "--force")
        settle(s)
        equal((device.work(), device.names()), (1, ["c1", "c2"]), "and with it when it is")
        for endpoint in ("", "Tokens", "tokens/", "declaration", "declaration/asset", "declaration/asset/", "declaration/assets/c1", "declaration/credential/c1", "x" * 2000):
            status, body = device.checkin(endpoint)
            equal((status, endpoint[:40]), (400, endpoint[:40]), f"{body!r}")
        for endpoint in ("declaration/asset/c3", "declaration/configuration/c1", "declaration/asset/c1/", "declaration/asset/%00", "declaration/asset/" + "y" * 900, "declaration/asset/c%2F1"):
            equal((device.checkin(endpoint)[0], endpoint[:40]), (404, endpoint[:40]))
        equal(device.checkin("declaration/asset/%63%31")[0], 200, "as some clients write it")
        lint = s.cli_code("declaration", "lint", "-", "--json", input=json.dumps(declaration("p", {"MinimumLenght": 1, "MaximumFailedAttempts": 1}, "configuration.passcode.settings")))
        equal((lint[0], [f["path"] for f in json.loads(lint[1])["findings"]]), (1, ["Payload.MinimumLenght", "Payload.MaximumFailedAttempts"]))
        # A passing error is never 404. Behind the server's back the rows of what it would read are gone.
        with s.stopped() as execute:
            equal(execute("UPDATE declaration SET body = ? WHERE identifier = 'c1'", b"\0"), 1)
        device.hang_up()
        equal(device.checkin("declaration/asset/c1")[0], 500, "what cannot be opened is not gone")
        equal(device.checkin("declaration/asset/c2")[0], 200, "and the others are served")


@case
def files_that_declarations_bring():
    with Server(*NO_APNS) as s:
        device, other = client(s), client(s)
        credential = json.dumps({"UserName": "ann", "Password": "s3cret-of-ann"}).encode()
        data, profile = (os.path.join(s.root, n) for n in ("credential.json", "wifi.mobileconfig"))
        pathlib.Path(data).write_bytes(credential)
        content = {"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadIdentifier": "org.example.font", "PayloadUUID": "5B4C0D6E-0000-4000-8000-000000000001", "PayloadDisplayName": "${serial}", "PayloadContent": []}
        pathlib.Path(profile).write_bytes(plistlib.dumps(content))
        shown = add(s, declaration("credential", {}, "asset.credential.userpassword"), "--content", data)
        reference = shown["payload"]["Reference"]
        equal((reference["Size"], reference["Hash-SHA-256"], reference["ContentType"]), (len(credential), hashlib.sha256(credential).hexdigest(), "application/json"))
        pathlib.Path(data).write_bytes(b'{"Password": 1}')
        s.refused("declaration", "add", "-", "--content", data, text="data.", input=json.dumps(declaration("credential", {}, "asset.credential.userpassword")))
        s.cli("profile", "add", profile, "--name", "font")
        add(s, declaration("cal", {"HostName": "cal.example.org", "AuthenticationCredentialsAssetReference": "credential"}, "configuration.account.caldav"))
        add(s, declaration("legacy", {"ProfileURL": "pomona:profile/font"}, "configuration.legacy"))
        add(s, declaration("act", {"StandardConfigurations": ["cal", "legacy"]}, "activation.simple"))
        s.cli("set", "new", "x")
        s.cli("set", "add", "x", "act")
        s.cli("set", "assign", "x", "--device", device.udid, "--device", other.udid)
        urls = {}
        for d in (device, other):
            d.work()
            equal(d.names(), ["act", "cal", "credential", "legacy"])
            urls[d] = {"data": d.declarations[("asset", "credential")]["Payload"]["Reference"]["DataURL"], "profile": d.declarations[("configuration", "legacy")]["Payload"]["ProfileURL"]}
            expect(all(u.startswith(s.url + "/") for u in urls[d].values()), f"{urls[d]}")
        expect(urls[device]["data"] != urls[other]["data"], "each has its own")

        def path(d, what):
            return urllib.parse.urlsplit(urls[d][what]).path
        status, body, headers = device.get(path(device, "data"))
        equal((status, body, headers["content-type"]), (200, credential, "application/json"))
        status, body, headers = device.get(path(device, "profile"))
        equal((status, headers["content-type"]), (200, "application/x-apple-aspen-config"))
        equal(device.open_profile(body, device.roots())["PayloadDisplayName"], device.serial, "signed, and for this device")
        # Whoever else.
        for what in ("data", "profile"):
            status = device.get(path(device, what), sign=False)[0]
            expect(status in (400, 403), f"without identity: {status}")
            equal(other.get(path(device, what))[0], 403, "another device's address")
            good = path(device, what)
            swapped = good.rsplit("/", 1)[0] + "/" + path(other, what).rsplit("/", 1)[1]
            for wrong in (swapped, good[:-1], good[:-1] + ("0" if good[-1] != "0" else "1"), good.replace(good.split("/")[3], "6161"), good.replace(good.split("/")[2], "nobody")):
                equal((device.get(wrong)[0], wrong), (404, wrong))
        stranger = client(s)
        equal(stranger.get(path(device, "data"))[0], 403)
        # Nor one that is blocked, for as long as it is.
        s.cli("device", "block", device.udid)
        equal(device.get(path(device, "data"))[0], 403, "a blocked device")
        s.cli("device", "unblock", device.udid)
        equal(device.get(path(device, "data"))[0], 200)
        # A new version of the profile reaches those that have it by a declaration.
        before = device.declarations[("configuration", "legacy")]["ServerToken"]
        pathlib.Path(profile).write_bytes(plistlib.dumps({**content, "PayloadDisplayName": "second"}))
        s.cli("profile", "add", profile)
        settle(s)
        equal(device.work(), 1)
        expect(device.declarations[("configuration", "legacy")]["ServerToken"] != before, "it is fetched again")
        equal(device.open_profile(device.get(path(device, "profile"))[1], device.roots())["PayloadDisplayName"], "second")
        # Who does not have it any more, or has left.
        s.cli("set", "unassign", "x", "--device", device.udid)
        settle(s)
        equal(device.get(path(device, "data"))[0], 404, "not among its declarations")
        equal(other.get(path(other, "data"))[0], 200)
        equal(other.check_out()[0], 200)
        expect(other.get(path(other, "data"))[0] in (403, 404), "who has left")
        secret = "s3cret-of-ann"
        expect(secret not in s.logs(), "secrets are not logged")
        expect(secret.encode() not in s.store.content(), "nor on the disk in clear")


if __name__ == "__main__":
    main()
