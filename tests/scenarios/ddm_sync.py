"""Declarative management as a whole: a property over any sequence of changes, and the simulated device."""
import random

from ddm import *
from harness import _cases

_cases.clear()

class Process:
    """A running `pomona sim device`."""

    def __init__(self, *args):
        self.process = subprocess.Popen([POMONA, "sim", "device", "--json", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def steps(self, step):
        return [line for line in list(self.lines) if line["step"] == step]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(30)
        self.reader.join(30)
        self.err = self.process.stderr.read()


@case
def the_simulated_device():
    with Server(*NO_APNS) as s:
        data, profile = (os.path.join(s.root, n) for n in ("blob", "x.mobileconfig"))
        pathlib.Path(data).write_bytes(b"some data")
        pathlib.Path(profile).write_bytes(plistlib.dumps({"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadIdentifier": "org.example.x", "PayloadUUID": "5B4C0D6E-0000-4000-8000-000000000002",
                                                          "PayloadDisplayName": "x", "PayloadContent": []}))
        s.cli("profile", "add", profile, "--name", "x")
        add(s, declaration("blob", {}, "asset.data"), "--content", data)
        add(s, declaration("test", {"Echo": "a", "EchoDataAssetReference": "blob"}, "configuration.management.test"))
        add(s, declaration("legacy", {"ProfileURL": "pomona:profile/x"}, "configuration.legacy"))
        add(s, declaration("good", {"StandardConfigurations": ["test", "legacy"]}, "activation.simple"))
        add(s, declaration("broken", {"StandardConfigurations": ["nothing"]}, "activation.simple"), "--force")
        s.cli("set", "new", "x")
        s.cli("set", "add", "x", "good", "broken")
        s.cli("group", "create", "g")
        s.cli("set", "assign", "x", "--group", "g")
        with Process("--ca-file", s.root_ca, s.link()["profile_url"]) as p:
            udid = wait_for("the device", lambda: (s.cli("device", "list") or [{}])[0].get("udid"), 60)
            wait_for("its enrollment", lambda: s.cli("device", "show", udid)["state"] == "enrolled", 60)
            s.cli("group", "add", "g", udid)
            wait_for("its status report", lambda: p.steps("status"), 60)

            def rows():
                return {r["identifier"]: r for r in s.cli("device", "declarations", udid)}
            got = wait_for("its report", lambda: (lambda r: r if all(x["current"] for x in r.values() if x["listed"]) and len(r) == 7 else None)(rows()), 60)
            equal({k: (v["active"], v["valid"]) for k, v in got.items() if k not in OWN},
                  {"blob": (False, "valid"), "test": (True, "valid"), "legacy": (True, "valid"), "good": (True, "valid"), "broken": (False, "invalid")}, "one that is broken harms no other")
            equal(got["broken"]["reasons"][0]["code"], "Error.MissingConfigurations")
            equal([(r["item"], r["value"]) for r in s.cli("device", "status", udid) if r["item"] == "device.model.family"], [("device.model.family", "iPhone")])
            equal(p.steps("status")[0]["full"], True)
            # One change, one command, one report of what has changed.
            before = len(p.steps("declarations"))
            s.cli("set", "remove", "x", "broken")
            wait_for("the change", lambda: "broken" not in rows(), 60)
            equal([(d["fetched"], d["removed"]) for d in p.steps("declarations")[before:]], [(0, 1)])
            equal(p.steps("status")[-1]["full"], False)
            expect(not p.steps("refused"), f"{p.lines}")


@case
def whatever_changes_all_converge():
    """A property: after any sequence of changes each device has exactly its declarations by one synchronization, and no command that told it nothing."""
    seed = int(os.environ.get("POMONA_SEED", random.randrange(1 << 30)))
    print(f"# POMONA_SEED={seed}", flush=True)
    r = random.Random(seed)
    with Server(*NO_APNS) as s:
        devices = [client(s) for _ in range(3)]
        names, sets, groups = [f"d{i}" for i in range(5)], ["s0", "s1", "s2"], ["g0", "g1"]
        content = {}
        for name in names:
            content[name] = add(s, declaration(name))["token"]
        for name in sets:
            s.cli("set", "new", name)
        for name in groups:
            s.cli("group", "create", name)
        members, assigned, grouped = {n: set() for n in sets}, {n: set() for n in sets}, {n: set() for n in groups}

        def wanted(i):
            mine = {n for n in sets if i in assigned[n] or any(("g", g) in assigned[n] and i in grouped[g] for g in groups)}
            return {d: content[d] for n in mine for d in members[n]}

        def change():
            kind = r.randrange(4)
            if kind == 0:
                name = r.choice(names)
                content[name] = add(s, declaration(name, {"n": r.randrange(3)}))["token"]
            elif kind == 1:
                name, d = r.choice(sets), r.choice(names)
                s.cli("set", "remove" if d in members[name] else "add", name, d)
                members[name] ^= {d}
            elif kind == 2:
                name, who = r.choice(sets), r.choice([0, 1, 2, ("g", "g0"), ("g", "g1")])
                option = ["--device", devices[who].udid] if isinstance(who, int) else ["--group", who[1]]
                s.cli("set", "unassign" if who in assigned[name] else "assign", name, *option)
                assigned[name] ^= {who}
            else:
                name, i = r.choice(groups), r.randrange(3)
                s.cli("group", "remove" if i in grouped[name] else "add", name, devices[i].udid)
                grouped[name] ^= {i}
        told = [None] * len(devices)
        for _ in range(12):
            for _ in range(r.randrange(1, 4)):
                change()
            settle(s)
            for i, d in enumerate(devices):
                want = wanted(i)
                has_sets = any(i in assigned[n] or any(("g", g) in assigned[n] and i in grouped[g] for g in groups) for n in sets)
                n = d.work()
                have = {k: v["ServerToken"] for (_, k), v in d.declarations.items() if k not in OWN}
                equal(have, want, f"device {i}, seed {seed}")
                now = (tuple(sorted(want.items())), has_sets)
                equal(n, 1 if now != told[i] and (told[i] is not None or has_sets) else 0, f"commands to device {i}, seed {seed}")
                if n:
                    told[i] = now
                expect(told[i] is None or not d.sync(), f"device {i} is done, seed {seed}")


if __name__ == "__main__":
    main()
