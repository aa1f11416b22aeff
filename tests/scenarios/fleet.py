"""Many devices: queries, groups that follow what devices tell, orders, and that a crash in the middle of one gives each device exactly one command."""
import uuid as uuids

from harness import *

NO_APNS = ("--apns-url", "https://127.0.0.1:1")


class FleetDevice(Device):
    """Answers what SAYS tells it to, by RequestType: (Status, keys)."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.says = {}
        self.got = []   # the commands that it was given

    def obey(self, command):
        self.got.append(command)
        return self.says.get(command["RequestType"]) or ("Acknowledged", {})

    def tell(self, **answers):
        """Is asked for facts, and tells these."""
        self.server.cli("command", "send", self.udid, "DeviceInformation", "--force")
        self.says["DeviceInformation"] = "Acknowledged", {"QueryResponses": answers}
        self.run_commands()

    def is_asked(self):
        """The RequestTypes of what waits for it, having answered them."""
        return [kind for kind, _ in self.run_commands()]


def enroll(s, product):
    d = FleetDevice(s, product=product)
    d.enroll(s.link())
    return d


def three_kinds(s):
    return [enroll(s, product) for product in ("iPhone15,2", "iPad13,4", "Mac15,3")]


def ask(s, query):
    return sorted(d["udid"] for d in s.cli("device", "list", "--query", query))


def members(s, group):
    return sorted(d["udid"] for d in s.cli("group", "members", group))


def udids(*devices):
    return sorted(d.udid for d in devices)


def finished(s, order_id):
    """The order, when all of its devices have been looked at."""
    return wait_for(f"order {order_id} sent", lambda: (o := s.cli("order", "show", order_id))["state"] in ("done", "canceled") and o, 60)


def send(s, *words, input=None):
    return finished(s, s.cli("command", "send", *words, input=input)["id"])


# ---------------------------------------------------------------- queries

@case
def queries_find_devices_by_what_is_known():
    with Server(*NO_APNS) as s:
        phone, ipad, mac = three_kinds(s)
        ipad.tell(OSVersion="17.2", IsSupervised=False, BatteryLevel=0.4)
        phone.tell(OSVersion="17.10.1", IsSupervised=True)
        s.cli("device", "set", mac.udid, "room=B12")
        for query, wanted in (
                ('os.version >= 17 and model.family = "iPad" and not supervised', [ipad]), ("os.version > 17.2", [phone, mac]), ('os.version = 17.2', [ipad]), ("supervised", [phone]),
                ("not supervised", [ipad, mac]), ('platform = "macOS"', [mac]), ('attr.room = "b12"', [mac]), ("exists attr.room", [mac]), ('not exists attr.room', [phone, ipad]),
                ("fact.BatteryLevel < 0.5", [ipad]), (f'serial in ("{phone.serial}", "{mac.serial}")', [phone, mac]), (f'udid = "{mac.udid}"', [mac]), ("seen.days < 1", [phone, ipad, mac]),
                ("seen.days > 1", []), ('kind = "device"', [phone, ipad, mac]), ('model.identifier contains "1"', [phone, ipad, mac])):
            equal(ask(s, query), udids(*wanted), query)
        equal([d["udid"] for d in s.cli("group", "test", "--query", 'model.family = "Mac"')], [mac.udid])
        # What is wrong is told with its place.
        for query, text in (("os.version >= ipad", "column 15: expected a value"), ("IsSupervised", "a fact of the device is fact.NAME"), ("supervised and", "column 15: expected a name, not the end"),
                            ("(" * 40 + "supervised" + ")" * 40, "nested deeper than 32"), ("name = 'x" + "y" * 3000 + "'", "at most 2048 bytes")):
            status, body, _ = s.api("GET", "/api/v1/devices?query=" + urllib.parse.quote(query))
            equal((status, body["code"]), (400, "POM-E4451"), query)
            expect(text in body["detail"], body["detail"])
        s.refused("group", "test", "--query", "os.verson > 1", text='did you mean "os.version"?')
        # By pages.
        page = s.api("GET", "/api/v1/devices?query=" + urllib.parse.quote("exists udid") + "&limit=2")[1]
        rest = s.api("GET", "/api/v1/devices?query=" + urllib.parse.quote("exists udid") + f"&limit=2&after={page['next']}")[1]
        equal((len(page["items"]), len(rest["items"]), rest["next"]), (2, 1, None))
        # Who has left is not found.
        equal(phone.check_out(), (200, b""))
        equal(ask(s, "exists udid"), udids(ipad, mac))


@case
def groups_of_a_query_follow_what_devices_tell():
    with Server(*NO_APNS) as s:
        phone, ipad, mac = three_kinds(s)
        made = s.cli("group", "new", "new-ios", "--query", 'os.version >= 17 and platform = "iOS" and supervised')
        equal((made["name"], made["query"]), ("new-ios", 'os.version >= 17 and platform = "iOS" and supervised'))
        equal(members(s, "new-ios"), [])
        path = os.path.join(s.root, "p.mobileconfig")
        pathlib.Path(path).write_bytes(plistlib.dumps({"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadIdentifier": "org.example.p", "PayloadUUID": str(uuids.uuid4()).upper(), "PayloadDisplayName": "P",
                                                       "PayloadContent": []}))
        s.cli("profile", "add", path, "--name", "p")
        s.cli("profile", "assign", "p", "--group", "new-ios")
        phone.tell(IsSupervised=True)
        equal(members(s, "new-ios"), udids(phone), "at once for whoever asks")
        wait_for("the profile for the phone", lambda: "InstallProfile" in [c["request_type"] for c in s.cli("command", "list", phone.udid)])
        equal(s.cli("device", "show", phone.udid)["groups"], ["new-ios"])
        equal(phone.run_commands()[0], ("InstallProfile", "Acknowledged"))
        ipad.tell(IsSupervised=True, OSVersion="16.7")
        equal((members(s, "new-ios"), ipad.is_asked()), (udids(phone), []))
        # Another system, another supervision: in, and out again.
        ipad.tell(OSVersion="17.0")
        wait_for("the profile for the iPad", lambda: "InstallProfile" in [c["request_type"] for c in s.cli("command", "list", ipad.udid)])
        phone.tell(IsSupervised=False)
        wait_for("its removal from the phone", lambda: "RemoveProfile" in [c["request_type"] for c in s.cli("command", "list", phone.udid)])
        equal(members(s, "new-ios"), udids(ipad))
        # Another query moves all of them.
        changed = s.cli("group", "change", "new-ios", "--query", 'attr.room = "B12" or platform = "macOS"')
        equal(changed["query"], 'attr.room = "B12" or platform = "macOS"')
        wait_for("the profile for the Mac", lambda: "InstallProfile" in [c["request_type"] for c in s.cli("command", "list", mac.udid)])
        wait_for("its removal from the iPad", lambda: "RemoveProfile" in [c["request_type"] for c in s.cli("command", "list", ipad.udid)] or "InstallProfile" not in [c["request_type"] for c in s.cli("command", "list", ipad.udid)])
        wait_for("counted", lambda: not s.cli("group", "show", "new-ios")["being_counted"])
        equal(s.cli("group", "show", "new-ios")["members"], 1)
        s.cli("device", "set", phone.udid, "room=B12")
        wait_for("the phone in the group", lambda: s.cli("group", "show", "new-ios")["members"] == 2)
        s.cli("device", "unset", phone.udid, "room")
        wait_for("the phone out of the group", lambda: s.cli("group", "show", "new-ios")["members"] == 1)
        equal(mac.check_out(), (200, b""))
        wait_for("the Mac out of the group", lambda: s.cli("group", "show", "new-ios")["members"] == 0)
        # What cannot be.
        s.refused("group", "add", "new-ios", phone.udid, text="are those that match its query")
        s.refused("group", "new", "old", "--query", "seen.days > 30", text="seen.days changes by time alone")
        s.refused("group", "new", "new-ios", "--query", "supervised", text="POM-E0004")
        s.refused("group", "new", "bad", "--query", "supervised or", text="POM-E4451")
        s.cli("group", "new", "list")
        s.refused("group", "change", "list", "--query", "supervised", text="is a list of devices")
        equal(s.cli("group", "show", "list")["query"], None)
        s.cli("group", "delete", "new-ios", "--force")
        actions = [a["action"] for a in wait_for("the audit log", lambda: s.cli("ca", "audit"))]
        expect({"group.new", "group.change", "group.remove"} <= set(actions), f"{actions}")


# ---------------------------------------------------------------- orders

@case
def orders_go_to_those_who_can_take_them():
    with Server(*NO_APNS) as s:
        phone, ipad, mac = three_kinds(s)
        made = s.cli("command", "send", "--all", "RestartDevice")
        expect(made["planned"] == 3 and made["request_type"] == "RestartDevice" and made["for"] == "all", f"{made}")
        order = finished(s, made["id"])
        equal([order[k] for k in ("state", "planned", "sent", "queued", "skipped", "answered", "failed")], ["done", 3, 3, 3, 0, 0, 0])
        mac.says["RestartDevice"] = "Error", {"ErrorChain": [{"ErrorCode": 12021, "ErrorDomain": "MCMDMErrorDomain", "LocalizedDescription": "no"}]}
        equal([d.run_commands() for d in (phone, ipad, mac)], [[("RestartDevice", "Acknowledged")]] * 2 + [[("RestartDevice", "Error")]])
        order = s.cli("order", "show", made["id"])
        equal([order[k] for k in ("queued", "answered", "failed")], [0, 2, 1])
        code, out, err = s.cli_code("order", "show", made["id"], "--watch")
        expect(code == 0 and "done: 3 planned, 0 queued, 0 skipped, 2 answered, 1 failed" in err, f"{code} {err}")
        rows = s.cli("order", "show", made["id"], "--devices")
        equal(sorted((r["udid"], r["state"], r["status"]) for r in rows), sorted([(phone.udid, "answered", "Acknowledged"), (ipad.udid, "answered", "Acknowledged"), (mac.udid, "failed", "Error")]))
        equal(len({r["command_uuid"] for r in rows}), 3, "a CommandUUID for each")
        equal([r["udid"] for r in s.cli("order", "show", made["id"], "--state", "failed")], [mac.udid])
        # By the catalog: a Mac has no Lost Mode, and a phone that is not supervised neither.
        phone.tell(IsSupervised=True, OSVersion="18.0")
        ipad.tell(IsSupervised=False)
        order = send(s, "--query", 'os.version > 10', "EnableLostMode", "Message=Please call")
        equal([order[k] for k in ("sent", "skipped", "planned")], [1, 2, 3])
        skipped = {r["udid"]: r["reason"] for r in s.cli("order", "show", order["id"], "--state", "skipped")}
        expect("macOS" in skipped[mac.udid] and "supervised" in skipped[ipad.udid], f"{skipped}")
        equal([d.is_asked() for d in (phone, ipad, mac)], [["EnableLostMode"], [], []])
        equal(phone.got[-1], {"RequestType": "EnableLostMode", "Message": "Please call"}, "what it was given")
        # A group, several devices (one of them twice), a group of a query.
        s.cli("group", "new", "two")
        s.cli("group", "add", "two", phone.udid, mac.udid)
        equal(send(s, "--group", "two", "SecurityInfo")["sent"], 2)
        equal([d.is_asked() for d in (phone, ipad, mac)], [["SecurityInfo"], [], ["SecurityInfo"]])
        equal(send(s, "--device", ipad.udid, "--device", mac.id, "--device", mac.udid, "ProfileList")["sent"], 2)
        equal([d.is_asked() for d in (phone, ipad, mac)], [[], ["ProfileList"], ["ProfileList"]])
        s.cli("group", "new", "macs", "--query", 'model.family = "Mac"')
        equal(send(s, "--group", "macs", "CertificateList")["sent"], 1)
        equal([d.is_asked() for d in (phone, ipad, mac)], [[], [], ["CertificateList"]])
        # A raw property list, unchecked.
        raw = os.path.join(s.root, "raw.plist")
        pathlib.Path(raw).write_bytes(plistlib.dumps({"RequestType": "SomethingNew", "Key": b"\x00\x01"}))
        equal(send(s, "--all", "--plist", raw)["sent"], 3)
        equal(mac.is_asked() and mac.got[-1], {"RequestType": "SomethingNew", "Key": b"\x00\x01"})
        newest = s.cli("order", "list")
        equal([(o["request_type"], o["state"]) for o in newest[:2]], [("SomethingNew", "done"), ("CertificateList", "done")], "newest first")
        page = s.api("GET", "/api/v1/orders?limit=2")[1]
        equal([o["id"] for o in s.api("GET", f"/api/v1/orders?limit=2&after={page['next']}")[1]["items"]], [o["id"] for o in newest[2:4]])
        # Those that left are told by their reason.
        equal(ipad.check_out(), (200, b""))
        order = send(s, "--device", ipad.udid, "--device", mac.udid, "ProfileList")
        equal((order["sent"], [r["reason"] for r in s.cli("order", "show", order["id"], "--state", "skipped")]), (1, ["the device is not enrolled"]))


@case
def orders_are_refused_before_anything_is_kept():
    with Server(*NO_APNS) as s:
        phone = enroll(s, "iPhone15,2")
        own = os.path.join(s.root, "own.plist")
        pathlib.Path(own).write_bytes(plistlib.dumps({"CommandUUID": "X", "Command": {"RequestType": "ProfileList"}}))
        for words, text in ((("--all", "ProfilList"), "did you mean"), (("--all", "DeviceInformation"), "Queries is missing"), (("--group", "none", "ProfileList"), "POM-E0003"), (("--query", "x", "ProfileList"), "POM-E4451"),
                            (("--device", "nobody", "ProfileList"), "POM-E0003"), (("--all", "--query", "supervised", "ProfileList"), "in one of these ways"), (("--all",), "RequestType is missing"),
                            (("--all", "--plist", own), "has a CommandUUID")):
            s.refused("command", "send", *words, text=text)
        for body, code in (({"all": True}, "POM-E4454"), ({"command": {"RequestType": "ProfileList"}}, "POM-E4454"), ({"command": {"RequestType": "ProfileList"}, "plist": "", "all": True}, "POM-E4454"),
                           ({"command": {"RequestType": "ProfileList"}, "all": "yes"}, "POM-E0016"), ({"command": {"RequestType": "ProfileList"}, "everybody": True}, "POM-E0016"), ({"command": [], "all": True}, "POM-E4403"),
                           ({"command": {"RequestType": "ProfileList"}, "devices": [], "all": False}, "POM-E4454")):
            status, reply, _ = s.api("POST", "/api/v1/orders", body)
            equal((status, reply["code"]), (400, code), f"{body}")
        s.refused("order", "show", "nothing", text="POM-E0003")
        equal((s.cli("order", "list"), phone.is_asked()), ([], []))
        # Its own enrollment is not taken from a device by an order.
        order = send(s, "--all", "RemoveProfile", f"Identifier={phone.payload['PayloadIdentifier']}")
        expect(order["sent"] == 0 and "device unenroll" in s.cli("order", "show", order["id"], "--devices")[0]["reason"], f"{order}")
        status, reply, _ = s.api("GET", f"/api/v1/orders/{order['id']}/devices?state=none")
        equal((status, reply["code"]), (400, "POM-E0002"))


@case
def orders_keep_secrets_sealed_and_can_be_taken_back():
    with Server(*NO_APNS) as s:
        mac, other = enroll(s, "Mac15,3"), enroll(s, "Mac15,3")
        order = send(s, "--all", "DeviceLock", "PIN=@-", input="735519")
        equal(order["sent"], 2)
        s.stop()
        everything = s.store.content()
        expect(b"735519" not in everything and b"735519" not in s.logs().encode(), "a secret of an order lies in clear")
        s.start()
        mac.hang_up(), other.hang_up()
        equal(mac.is_asked(), ["DeviceLock"])
        equal(mac.got[-1]["PIN"], "735519")
        # What is not answered is taken back; what is, stays.
        equal(s.cli("order", "cancel", order["id"])["state"] in ("canceling", "canceled"), True)
        order = wait_for("canceled", lambda: (o := s.cli("order", "show", order["id"]))["state"] == "canceled" and o)
        equal([order[k] for k in ("answered", "canceled", "queued")], [1, 1, 0])
        equal(other.is_asked(), [])
        s.refused("order", "cancel", order["id"], text="POM-E0004")
        actions = {(a["action"], a["object"]) for a in s.cli("ca", "audit")}
        expect({("order.new", order["id"]), ("order.cancel", order["id"])} <= actions, f"{actions}")


# ---------------------------------------------------------------- many

DEVICES = 3000


def multiply(s, device, n):
    """N more enrolled devices, as the server would have them; none of them ever speaks."""
    with s.stopped() as execute:
        for table, column in (("enrollment", "id"), ("epoch", "enrollment_id")):
            row = execute(f"SELECT * FROM {table} WHERE {column} = ?", device.id_now)[0].dict()
            other = [{column: f"{i:08X}-0000-7000-8000-00000000000A", "device_id": f"many-{i}", "certificate_serial": None, "serial": f"MANY{i}"} for i in range(n)]
            execute.many(f"INSERT INTO {table} ({','.join(row)}) VALUES ({','.join('?' * len(row))})", [[o.get(name, row[name]) for name in row] for o in other])


@case
def a_crash_in_the_middle_gives_each_device_one_command():
    with Server(*NO_APNS) as s:
        phone = enroll(s, "iPhone15,2")
        phone.id_now = phone.id
        multiply(s, phone, DEVICES)
        seen_middle = False
        for attempt in range(6):
            order = s.cli("command", "send", "--all", "DeviceInformation", 'Queries=["OSVersion"]')["id"]
            end = time.monotonic() + 60
            while time.monotonic() < end:
                o = s.api("GET", f"/api/v1/orders/{order}")[1]
                if o["sent"] or o["state"] == "done":
                    break
            s.process.kill()
            s.process.wait()
            [(state, sent)] = s.sql("SELECT state, n_queued FROM fleet_order WHERE id = ?", order)
            [(n, devices)] = s.sql("SELECT count(*), count(DISTINCT enrollment_id) FROM command WHERE note = ?", "order:" + order)
            equal((n, devices), (sent, sent), "what is marked is what is queued")
            seen_middle = seen_middle or (state == "sending" and 0 < sent < DEVICES)
            s.start()
            done = finished(s, order)
            equal((done["sent"], done["skipped"]), (DEVICES + 1, 0))
            [(n, devices, uuids_)] = s.sql("SELECT count(*), count(DISTINCT enrollment_id), count(DISTINCT uuid) FROM command WHERE note = ?", "order:" + order)
            equal((n, devices, uuids_), (DEVICES + 1,) * 3, "one command for each device")
            # A device is served while all that is going on.
            equal(phone.hang_up().is_asked(), ["DeviceInformation"])
            if seen_middle:
                break
        expect(seen_middle, "it was never killed in the middle")
        # And all of it can be taken back.
        s.cli("order", "cancel", order)
        done = wait_for("canceled", lambda: (o := s.cli("order", "show", order))["state"] == "canceled" and o, 60)
        equal([done[k] for k in ("answered", "canceled", "queued")], [1, DEVICES, 0])
        equal(s.sql("SELECT count(*) FROM command WHERE note = ?", "order:" + order), [(0,)])


@case
def a_query_is_asked_of_many_by_pages():
    with Server(*NO_APNS) as s:
        phone = enroll(s, "iPhone15,2")
        phone.id_now = phone.id
        n = 6000   # more than are looked at for one answer
        multiply(s, phone, n)
        phone.hang_up().tell(IsSupervised=True)
        # Nothing was found yet, and how to go on is said.
        page = s.api("GET", "/api/v1/devices?query=supervised")[1]
        equal((page["items"], page["next"] is not None), ([], True))
        equal(ask(s, "supervised"), [phone.udid])
        equal(len(ask(s, 'serial contains "MANY1"')), sum(str(i).startswith("1") for i in range(n)))
        s.cli("group", "new", "some", "--query", 'serial contains "MANY1" or supervised')
        wait_for("counted", lambda: not s.cli("group", "show", "some")["being_counted"], 60)
        equal(s.cli("group", "show", "some")["members"], 1 + sum(str(i).startswith("1") for i in range(n)))


if __name__ == "__main__":
    main()
