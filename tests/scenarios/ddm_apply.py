"""pomona apply: configuration that lives in files."""
from ddm import *
from harness import _cases

_cases.clear()


class Files:
    """A directory of configuration."""

    def __init__(self, s):
        self.s, self.root = s, pathlib.Path(s.root, "config")
        self.root.mkdir()

    def put(self, name, content):
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())

    def remove(self, name):
        (self.root / name).unlink()

    def apply(self, *args):
        return self.s.cli("apply", "-f", str(self.root), *args)

    def plan(self):
        return steps(self.apply("--dry-run"))

    def refused(self, text, *args):
        return self.s.refused("apply", "-f", str(self.root), *args, text=text)


def steps(reply):
    return [(p["action"], p["kind"], p["name"]) for p in reply["plan"]]


def profile(name, title="x"):
    return plistlib.dumps({"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadIdentifier": "org.example." + name, "PayloadUUID": "5B4C0D6E-0000-4000-8000-000000000003",
                           "PayloadDisplayName": title, "PayloadContent": []})


@case
def files_become_what_devices_have():
    with Server(*NO_APNS) as s:
        device, files = client(s), Files(s)
        device_id = device.id
        add(s, declaration("by-hand"))
        s.cli("set", "new", "by-hand")
        s.cli("set", "add", "by-hand", "by-hand")
        files.put("README.md", b"at the top everything is left alone")
        files.put("declarations/act.json", declaration("act", {"StandardConfigurations": ["passcode", "cal"]}, "activation.simple"))
        files.put("declarations/passcode.json", declaration("passcode", {"MinimumLength": 4}, "configuration.passcode.settings"))
        files.put("declarations/cal.json", declaration("cal", {"HostName": "h", "AuthenticationCredentialsAssetReference": "credential"}, "configuration.account.caldav"))
        files.put("declarations/credential.json", declaration("credential", {}, "asset.credential.userpassword"))
        files.put("declarations/credential.content", {"UserName": "a"})
        files.put("sets/office.json", {"declarations": ["act", "by-hand"], "groups": ["teachers"], "users": ["ann"]})
        files.put("groups/teachers.json", {"members": [device.udid, "not-enrolled"]})
        files.put("profiles/font.mobileconfig", profile("font"))
        files.put("profiles/font.json", {"groups": ["teachers"]})
        wanted = [("create", "group", "teachers"), ("create", "member", f"teachers/{device_id}"), ("create", "profile", "font"), ("create", "declaration", "credential"), ("create", "declaration", "cal"),
                  ("create", "declaration", "passcode"), ("create", "declaration", "act"), ("create", "set", "office"), ("create", "set-member", "office/act"), ("create", "set-member", "office/by-hand"),
                  ("create", "assignment", "office/group/device/teachers"), ("create", "assignment", "office/user/user/ann"), ("create", "profile-assignment", "font/group/teachers")]
        planned = files.apply("--dry-run")
        equal((steps(planned), planned["applied"], planned["missing_devices"]), (wanted, 0, ["not-enrolled"]), "first the plan")
        equal([d["identifier"] for d in s.cli("declaration", "list")], ["by-hand"], "and nothing but the plan")
        done = files.apply()
        equal((steps(done), done["applied"]), (wanted, len(wanted)), "then exactly that")
        equal((files.plan(), steps(files.apply())), ([], []), "a second time there is nothing to do")
        settle(s)
        device.work()
        equal(device.names(), ["act", "by-hand", "cal", "credential", "passcode"])
        # Changes.
        files.put("declarations/passcode.json", declaration("passcode", {"MinimumLength": 6}, "configuration.passcode.settings"))
        files.put("declarations/credential.content", {"UserName": "b"})
        files.put("profiles/font.mobileconfig", profile("font", "second"))
        equal(files.plan(), [("change", "profile", "font"), ("change", "declaration", "credential"), ("change", "declaration", "passcode")])
        files.apply()
        settle(s)
        equal((device.work(), device.declarations[("configuration", "passcode")]["Payload"]), (1, {"MinimumLength": 6}))
        # What goes: what names it first. What is not its own stays.
        for name in ("declarations/act.json", "declarations/cal.json", "declarations/credential.json", "declarations/credential.content", "profiles/font.mobileconfig", "profiles/font.json"):
            files.remove(name)
        files.put("sets/office.json", {"declarations": [], "groups": ["teachers"]})
        equal(files.plan(), [("remove", "profile-assignment", "font/group/teachers"), ("remove", "assignment", "office/user/user/ann"), ("remove", "set-member", "office/act"), ("remove", "set-member", "office/by-hand"),
                             ("remove", "declaration", "act"), ("remove", "declaration", "cal"), ("remove", "declaration", "credential"), ("remove", "profile", "font")])
        # Things that were changed by hand meanwhile make another plan, which is not done unseen.
        before = files.apply("--dry-run")
        s.cli("set", "remove", "office", "by-hand")
        bundle = {"owner": "apply", "digest": before["digest"], "dry_run": False, "sets": [{"name": "office", "groups": ["teachers"]}], "groups": [{"name": "teachers"}]}
        equal(s.api("POST", "/api/v1/apply", bundle)[0], 409)
        files.apply()
        equal(files.plan(), [])
        equal([d["identifier"] for d in s.cli("declaration", "list")], ["by-hand", "passcode"])
        # Nothing at all, of another owner and then of this one.
        for name in ("declarations/passcode.json", "sets/office.json", "groups/teachers.json"):
            files.remove(name)
        equal(steps(files.apply("--owner", "other")), [], "what others own is left alone")
        expect(("remove", "set", "office") in steps(files.apply()) and files.plan() == [], "the rest")
        equal(([x["name"] for x in s.cli("set", "list")], s.cli("group", "list"), [d["identifier"] for d in s.cli("declaration", "list")]), (["by-hand"], [], ["by-hand"]))
        settle(s)
        equal((device.work(), device.names()), (1, []))


@case
def what_files_must_not_say():
    with Server(*NO_APNS) as s:
        files = Files(s)
        s.refused("apply", text="-f DIR")
        s.refused("apply", "-f", "/nowhere", text="no directory")
        for name, content, text in (
                ("declarations/x.yaml", b"", "only files that end in .json"), ("declarations/x.content", b"", "no x.json beside"), ("declarations/x.json", b"{", "declarations/x.json: line 1"),
                ("declarations/x.json", declaration("a/b"), "POM-E8302"), ("declarations/x.json", b'{"Type":"com.apple.management.properties","Identifier":"a","Identifier":"b"}', "duplicate"),
                ("sets/x.json", {"declaration": ["a"]}, 'no key "declaration"'), ("sets/x.json", {"declarations": "a"}, "must be a list"), ("sets/x.json", {"declarations": [1]}, "must be a string"),
                ("sets/x.json", {"declarations": ["a", "a"]}, "twice"), ("groups/x.json", [], "must be a JSON object"), ("profiles/x.json", {}, "no x.mobileconfig beside")):
            files.put(name, content)
            files.refused(text)
            files.remove(name)
        # It stops at what cannot be done, says where, and goes on from there another time.
        files.put("declarations/a.json", declaration("a"))
        files.put("declarations/b.json", declaration("b", {"StandardConfigurations": ["missing"]}, "activation.simple"))
        files.put("sets/x.json", {"declarations": ["a"]})
        files.refused("step 2 of 4")
        equal([d["identifier"] for d in s.cli("declaration", "list")], ["a"])
        files.remove("declarations/b.json")
        equal(steps(files.apply()), [("create", "set", "x"), ("create", "set-member", "x/a")])
        # What somebody needs by hand is not taken from him.
        s.cli("set", "new", "mine")
        s.cli("set", "add", "mine", "a")
        files.remove("declarations/a.json")
        files.remove("sets/x.json")
        files.refused("in the set")
        s.cli("set", "remove", "mine", "a")
        files.apply()
        equal((s.cli("declaration", "list"), [x["name"] for x in s.cli("set", "list")]), ([], ["mine"]))


if __name__ == "__main__":
    main()
