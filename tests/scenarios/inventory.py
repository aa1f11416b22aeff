"""What devices tell: facts and lists, kept with the time they were learnt; and that the server asks again, each device what it can answer, never twice at once."""

from harness import *

NO_APNS = ("--apns-url", "https://127.0.0.1:1")
DEFAULT = {"DeviceInformation", "SecurityInfo", "InstalledApplicationList", "ProfileList", "CertificateList"}


class TellingDevice(Device):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.says = {}
        self.got = []

    def obey(self, command):
        self.got.append(command)
        return self.says.get(command["RequestType"]) or ("Acknowledged", {})

    def ask(self, kind, answer, *keys):
        """Is sent this command, and answers it."""
        self.server.cli("command", "send", self.udid, kind, *keys, "--force")
        self.says[kind] = "Acknowledged", answer
        equal(self.run_commands(), [(kind, "Acknowledged")])


def enroll(s, product="iPhone15,2", **options):
    d = TellingDevice(s, product=product, **options)
    d.enroll(s.link())
    return d


def told(s, d):
    return {r["name"]: (r["items"], r["left_out"]) for r in s.cli("device", "told", d.udid)}


def items(s, d, name):
    status, body, _ = s.api("GET", f"/api/v1/devices/{d.udid}/lists/{name}?limit=1000")
    equal(status, 200, f"{body}")
    return body["items"]


def waiting(s, d):
    return sorted(c["request_type"] for c in s.cli("command", "list", d.udid))


# ---------------------------------------------------------------- lists

@case
def lists_are_kept_with_their_age():
    with Server(*NO_APNS) as s:
        d = enroll(s)
        s.refused("device", "apps", d.udid, text="has not told InstalledApplicationList yet")
        s.refused("device", "told", d.udid, "nonsense", text="is no list that devices tell")
        apps = [{"Identifier": f"org.example.app{i}", "Name": f"App {i}", "ShortVersion": "1.0", "Version": "7", "BundleSize": 1000 + i} for i in range(3)]
        d.ask("InstalledApplicationList", {"InstalledApplicationList": apps})
        d.ask("ManagedApplicationList", {"ManagedApplicationList": {"org.example.app1": {"Status": "Managed", "ManagementFlags": 1, "HasConfiguration": False}}})
        d.ask("CertificateList", {"CertificateList": [{"CommonName": "me", "IsIdentity": True, "Data": der(d.cert)}, {"CommonName": "broken", "IsIdentity": False, "Data": b"x"}]})
        d.ask("ProfileList", {"ProfileList": [{"PayloadIdentifier": "org.example.p", "PayloadUUID": "U", "PayloadDisplayName": "P", "SignerCertificates": [der(d.cert)]}]})
        d.ask("AvailableOSUpdates", {"AvailableOSUpdates": [{"ProductKey": "k", "Version": "18.3"}]})
        d.ask("OSUpdateStatus", {"OSUpdateStatus": []})
        d.ask("UserList", {"Users": [{"UserName": "ann", "IsLoggedIn": True}]})
        d.ask("Restrictions", {"GlobalRestrictions": {"restrictedBool": {"allowCamera": {"value": False}}}, "ProfileRestrictions": {}})
        equal(told(s, d), {"InstalledApplicationList": (3, 0), "ManagedApplicationList": (1, 0), "CertificateList": (2, 0), "ProfileList": (1, 0), "AvailableOSUpdates": (1, 0), "OSUpdateStatus": (0, 0), "Users": (1, 0),
                           "GlobalRestrictions": (1, 0), "ProfileRestrictions": (0, 0)})
        equal(s.cli("device", "apps", d.udid), apps)
        equal(s.cli("device", "apps", d.udid, "--managed"), [{"Status": "Managed", "ManagementFlags": 1, "HasConfiguration": False, "name": "org.example.app1"}])
        [mine, broken] = s.cli("device", "certificates", d.udid)
        info = x509.load_der_x509_certificate(der(d.cert))
        equal((mine["CommonName"], mine["IsIdentity"], mine["sha256"].lower(), int(mine["serial"], 16)), ("me", True, hashlib.sha256(der(d.cert)).hexdigest(), info.serial_number))
        equal(mine["not_after"], info.not_valid_after.strftime("%Y-%m-%dT%H:%M:%SZ"))
        expect("Data" not in mine and broken == {"CommonName": "broken", "IsIdentity": False}, f"{mine} {broken}")
        [profile] = s.cli("device", "profiles", d.udid, "--installed")
        expect(profile["PayloadIdentifier"] == "org.example.p" and len(profile["signed_by"]) == 1 and "SignerCertificates" not in profile, f"{profile}")
        equal(items(s, d, "restrictions"), [{"allowCamera": {"value": False}, "name": "restrictedBool"}])
        equal(items(s, d, "Users"), [{"UserName": "ann", "IsLoggedIn": True}])
        # For people, with its age.
        code, out, err = s.cli_code("device", "apps", d.udid)
        expect(code == 0 and "org.example.app2" in out and "App 2" in out and "the device told this" in err, f"{out}{err}")
        d.ask("DeviceInformation", {"QueryResponses": {"DeviceName": "Ann's", "OSVersion": "18.2"}})
        shown = s.cli("device", "show", d.udid)
        equal(set(shown["facts_learnt_at"]), {"DeviceName", "OSVersion"})
        equal({r["name"] for r in shown["lists"]}, set(told(s, d)))
        code, out, err = s.cli_code("device", "show", d.udid)
        expect("18.2 (" in out and "3 entries (" in out, out)
        # By pages.
        page = s.api("GET", f"/api/v1/devices/{d.udid}/lists/apps?limit=2")[1]
        rest = s.api("GET", f"/api/v1/devices/{d.udid}/lists/apps?limit=2&after={page['next']}")[1]
        equal((page["items"] + rest["items"], rest["next"]), (apps, None))


@case
def lists_are_bounded_and_never_a_part_or_a_secret():
    with Server(*NO_APNS) as s:
        d = enroll(s)
        d.ask("InstalledApplicationList", {"InstalledApplicationList": [{"Identifier": f"a{i}"} for i in range(2500)]})
        equal(told(s, d), {"InstalledApplicationList": (2000, 500)})
        code, out, err = s.cli_code("device", "apps", d.udid)
        expect(code == 0 and "500 entries were left out" in err, err)
        # What was asked of some is not the list of all: by people, and by an order.
        d.ask("InstalledApplicationList", {"InstalledApplicationList": [{"Identifier": "one"}]}, "ManagedAppsOnly=true")
        d.ask("InstalledApplicationList", {"InstalledApplicationList": [{"Identifier": "one"}]}, 'Identifiers=["one"]')
        order = s.cli("command", "send", "--all", "InstalledApplicationList", "ManagedAppsOnly=true")["id"]
        wait_for("the order", lambda: s.cli("order", "show", order)["state"] == "done")
        equal(d.run_commands(), [("InstalledApplicationList", "Acknowledged")])
        equal(told(s, d), {"InstalledApplicationList": (2000, 500)})
        order = s.cli("command", "send", "--all", "InstalledApplicationList")["id"]
        wait_for("the order", lambda: s.cli("order", "show", order)["state"] == "done")
        equal(d.run_commands(), [("InstalledApplicationList", "Acknowledged")])
        equal(told(s, d), {"InstalledApplicationList": (1, 0)}, "of an order for all of it")
        # Nor what an error says, nor the answer to something else.
        s.cli("command", "send", d.udid, "InstalledApplicationList")
        d.says["InstalledApplicationList"] = "Error", {"InstalledApplicationList": []}
        d.run_commands()
        d.ask("SecurityInfo", {"SecurityInfo": {"FDE_PersonalRecoveryKeyCMS": b"secret-key", "FDE_Enabled": True}, "InstalledApplicationList": []})
        equal(told(s, d), {"InstalledApplicationList": (1, 0)})
        equal({f["name"] for f in s.cli("device", "facts", d.udid)}, {"SecurityInfo.FDE_Enabled"})
        # Who enrolls again tells it again.
        d.hang_up().enroll(s.link())
        equal(told(s, d), {})


# ---------------------------------------------------------------- asking

@case
def new_devices_are_asked_what_they_can_answer():
    with Server(*NO_APNS, "--set", "inventory.hours=24", "--set", "inventory.queries=DeviceInformation SecurityInfo InstalledApplicationList AvailableOSUpdates UserList") as s:
        phone, mac, watch = enroll(s), enroll(s, "Mac15,3"), enroll(s, "Watch6,2")
        # By what each said when it enrolled: iOS, macOS and watchOS of that version.
        wanted = {phone: ["AvailableOSUpdates", "DeviceInformation", "InstalledApplicationList", "SecurityInfo"], mac: ["AvailableOSUpdates", "DeviceInformation", "InstalledApplicationList", "SecurityInfo", "UserList"],
                  watch: ["DeviceInformation", "InstalledApplicationList", "SecurityInfo"]}
        for d, kinds in wanted.items():
            wait_for(f"questions for {d.product}", lambda d=d: len(waiting(s, d)) >= 3)
            expect(set(waiting(s, d)) <= set(kinds) and "DeviceInformation" in waiting(s, d), f"{d.product}: {waiting(s, d)}")
        expect("UserList" in waiting(s, mac) and "UserList" not in waiting(s, watch), f"{waiting(s, mac)} {waiting(s, watch)}")
        queries = {}
        for d in wanted:
            d.says["DeviceInformation"] = "Acknowledged", {"QueryResponses": {"OSVersion": "18.2", "DeviceName": d.product}}
            d.run_commands()
            queries[d] = next(c["Queries"] for c in d.got if c["RequestType"] == "DeviceInformation")
            equal(waiting(s, d), [])
            expect("OSVersion" in queries[d] and len(queries[d]) > 10, f"{queries[d]}")
            equal(s.cli("device", "show", d.udid)["facts"]["DeviceName"], d.product)
        expect("IsAppleSilicon" in queries[mac] and "IsAppleSilicon" not in queries[phone] and "IsMultiUser" in queries[phone], f"{queries}")


@case
def devices_are_asked_again_at_their_time_and_never_twice_at_once():
    with Server(*NO_APNS, "--set", "inventory.hours=24") as s:
        # Whose time does not come while we look at it.
        due = now = 0
        while due - now < 600000:
            d = enroll(s)
            wait_for("questions", lambda: set(waiting(s, d)) == DEFAULT)
            [(due,)] = s.sql("SELECT due_at FROM inventory WHERE enrollment_id = ?", d.id)
            now = time.time() * 1000
            expect(now - 60000 < due <= now + 24 * 3600 * 1000 + 60000, "the next time is within the interval")
        # Its time comes again while nothing was answered: nothing is asked twice.
        first = d.id
        with s.stopped() as execute:
            execute("UPDATE inventory SET due_at = 1")
        wait_for("its time was seen", lambda: s.sql("SELECT due_at FROM inventory WHERE enrollment_id = ?", first) == [(due,)])
        equal(waiting(s, d), sorted(DEFAULT))
        d.hang_up()
        equal({kind for kind, _ in d.run_commands()}, DEFAULT)
        # Answered, it is asked again when its time comes.
        with s.stopped() as execute:
            execute("UPDATE inventory SET due_at = 1")
        wait_for("questions again", lambda: set(waiting(s, d)) == DEFAULT)
        # Not who has been silent for long, or is blocked, or has left.
        d.hang_up()
        d.run_commands()
        with s.stopped() as execute:
            execute("UPDATE inventory SET due_at = 1")
            execute("UPDATE enrollment SET last_seen = 1000")
        wait_for("its time was seen", lambda: s.sql("SELECT due_at FROM inventory WHERE enrollment_id = ?", first) == [(due,)])
        equal(waiting(s, d), [])
        s.cli("device", "block", d.udid)
        with s.stopped() as execute:
            execute("UPDATE inventory SET due_at = 1")
            execute("UPDATE enrollment SET last_seen = ?", int(time.time() * 1000))
        wait_for("its time was seen", lambda: s.sql("SELECT due_at FROM inventory WHERE enrollment_id = ?", first) == [(due,)])
        equal(waiting(s, d), [])
        s.cli("device", "unblock", d.udid)
        d.hang_up()
        equal(d.check_out(), (200, b""))
        with s.stopped() as execute:
            execute("INSERT INTO inventory (enrollment_id, due_at) VALUES (?, 1) ON CONFLICT (enrollment_id) DO UPDATE SET due_at = 1", first)
        wait_for("it is asked no more", lambda: s.sql("SELECT count(*) FROM inventory WHERE enrollment_id = ?", first) == [(0,)])


@case
def inventory_can_be_switched_off_and_is_checked():
    with Server(*NO_APNS) as s:
        d = enroll(s)
        other = enroll(s)
        order = s.cli("command", "send", "--all", "ProfileList")["id"]
        # The janitor has been round, and has asked nobody anything of its own.
        wait_for("the order", lambda: s.cli("order", "show", order)["state"] == "done")
        equal([waiting(s, d), waiting(s, other)], [["ProfileList"]] * 2)
        for setting in ("inventory.hours=-1", "inventory.hours=100000", "inventory.queries=EraseDevice", "inventory.queries=DeviceInfo"):
            p = subprocess.run([POMONA, "serve", "--data", s.data, "--set", setting], capture_output=True, text=True, timeout=30)
            expect(p.returncode == 2 and "POM-E0010" in p.stderr and "inventory." in p.stderr, f"{setting}: {p.returncode} {p.stderr}")


if __name__ == "__main__":
    main()
