"""Several nodes over one PostgreSQL: who does what, and what happens when one dies, is stopped, or does not fit to the others."""
from lib import store
from harness import *

LEASE = 5
JOBS = {"audit", "crl", "ca", "renewal", "commands", "profiles", "declarations", "queries", "orders", "inventory", "warnings", "purge", "doctor"}
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


def server(name="first", *args, **options):
    return Server("--set", f"node.lease_seconds={LEASE}", "--set", f"node.name={name}", *args, **options)


def another(s, name="second", *args, **options):
    return s.node("--set", f"node.name={name}", *args, **options)


def nodes(of):
    return {n["name"]: n for n in of.cli("node", "list")}


def jobs(of):
    """{name of a node that works: its jobs}"""
    return {name: set(n["jobs"]) for name, n in nodes(of).items() if n["state"] == "working"}


def shared(of, *names):
    """Waits until NAMES, and nobody else, have all jobs among them."""
    def done():
        found = jobs(of)
        return set(found) == set(names) and set().union(*found.values()) == JOBS and all(found.values()) and found
    return wait_for(f"{names} have all jobs", done, 60)


def holder(job, *servers):
    """Which of SERVERS has JOB, and the others."""
    found = jobs(servers[0])
    [name] = [name for name, have in found.items() if job in have]
    return name


def sealed(of):
    """Waits until nothing of the audit log is left to be sealed, and it is whole; how long it is."""
    wait_for("the audit log is sealed", lambda: of.sql("SELECT count(*) FROM audit_pending")[0][0] == 0, 60)
    status, verdict, _ = of.api("GET", "/api/v1/audit/verify")
    expect(status == 200 and verdict["ok"], f"audit: {verdict}")
    return of.sql("SELECT count(*) FROM audit")[0][0]


def not_started(node, text):
    """NODE must end by itself at its start, and say TEXT."""
    node.start(wait=False)
    try:
        code = node.process.wait(60)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"it serves:\n{node.logs()}")
    expect(code != 0 and text in node.logs(), f"exit {code}, wanted {text!r}:\n{node.logs()}")
    return node.logs()


def ready(node):
    """(status, code of the reason)"""
    status, body, headers = node.api("GET", "/readyz")
    if status == 503:
        expect(int(headers.get("Retry-After", 0)) > 0, "503 without Retry-After")
    return status, body.get("code") if isinstance(body, dict) else None


# ---------------------------------------------------------------- who does what

@case
def jobs_are_shared_and_handed_over():
    with server() as s:
        equal(shared(s, "first")["first"], JOBS, "one node alone")
        second = another(s)
        found = shared(s, "first", "second")
        expect(not found["first"] & found["second"], f"no job twice: {found}")
        expect(all(len(have) <= (len(JOBS) + 1) // 2 for have in found.values()), f"about the half each: {found}")
        equal(jobs(second), jobs(s), "both tell the same")
        code, out, err = s.cli_code("node", "list")
        equal(code, 0, err)
        expect("first" in out and "second" in out and "working" in out, out)
        first_page = s.api("GET", "/api/v1/nodes?limit=1")[1]
        second_page = s.api("GET", f"/api/v1/nodes?limit=1&after={first_page['next']}")[1]
        equal({n["name"] for page in (first_page, second_page) for n in page["items"]}, {"first", "second"}, "pages")
        # A clean end is no death: nothing is left of it, and what it did goes on at once.
        second.stop()
        equal(set(nodes(s)), {"first"}, "a node that has ended is not listed")
        shared(s, "first")


@case
def one_node_over_sqlite():
    with server("only") as s:
        [n] = s.cli("node", "list")
        equal((n["name"], n["state"], set(n["jobs"]), n["self"]), ("only", "working", JOBS, True), "node")
        equal(s.sql("SELECT count(*) FROM node")[0][0], 0, "rows of nodes")
        equal(s.sql("SELECT count(*) FROM lease")[0][0], 0, "rows of leases")


@case
def each_job_is_done_once():
    """What both nodes are told of, one does: each device gets one command of each order and each profile once, each command expires once, and the audit log is one chain."""
    with server() as s:
        second = another(s)
        shared(s, "first", "second")
        devices = [s.enroll() for _ in range(4)]
        s.cli("command", "send", *[d.udid for d in devices[:1]], "ProfileList", "--expires", "1s")
        profile = os.path.join(s.root, "note.mobileconfig")
        pathlib.Path(profile).write_bytes(plistlib.dumps({
            "PayloadType": "Configuration", "PayloadIdentifier": "org.example.note", "PayloadUUID": "6d0f41de-0d0a-4b1c-8a27-0a1c1a1b1c1d", "PayloadVersion": 1, "PayloadDisplayName": "Note",
            "PayloadContent": [{"PayloadType": "com.apple.dnsSettings.managed", "PayloadIdentifier": "org.example.note.dns", "PayloadUUID": "6d0f41de-0d0a-4b1c-8a27-0a1c1a1b1c1e",
                                "PayloadVersion": 1, "DNSSettings": {"DNSProtocol": "HTTPS", "ServerURL": "https://dns.example.org/"}}]}))
        # By turns through either node: most of it is work of the other one.
        for i, node in enumerate((s, second) * 2):
            node.cli("group", "new", f"group{i}")
            node.cli("group", "add", f"group{i}", *[d.udid for d in devices])
        second.cli("profile", "add", profile, "--name", "note")
        s.cli("profile", "assign", "note", "--group", "group0")
        second.cli("profile", "assign", "note", "--group", "group1")
        order = second.cli("command", "send", "--group", "group2", "SecurityInfo")["id"]
        wait_for("the order is sent", lambda: s.cli("order", "show", order)["state"] == "done", 60)

        def commands(kind):
            return s.sql("SELECT count(*) FROM command WHERE request_type = ?", kind)[0][0]
        wait_for("all devices are to have the profile", lambda: commands("InstallProfile") == len(devices), 60)
        equal(commands("SecurityInfo"), len(devices), "commands of the order")
        wait_for("the command has expired", lambda: commands("ProfileList") == 0, 60)
        equal(s.sql("SELECT count(*) FROM event WHERE kind = 'CommandExpired'")[0][0], 1, "lines of its end")
        # Some more turns of both janitors: nothing comes twice.
        time.sleep(5)
        equal((commands("InstallProfile"), commands("SecurityInfo")), (len(devices), len(devices)), "commands, some time later")
        expect(sealed(s) > 5, "audit log")
        for node in (s, second):
            bad = [line for line in node.logs().splitlines() if " error " in line]
            equal(bad, [], "errors in the log")


# ---------------------------------------------------------------- a node dies, or is stopped

@case
def a_dead_node_is_replaced():
    with server() as s:
        second = another(s)
        had = shared(s, "first", "second")["second"]
        second.process.kill()
        second.process.wait()
        began = time.monotonic()
        found = wait_for("the other one has all jobs", lambda: jobs(s).get("first") == JOBS and nodes(s), 60)
        equal(found["second"]["state"], "silent", "the dead one")
        equal(found["second"]["jobs"], [], "its jobs")
        expect(time.monotonic() - began > LEASE / 2, f"taken before the lease had ended: {had}")
        s.cli("token", "new", "after")
        sealed(s)
        second.start()
        shared(s, "first", "second")


@case
def a_stopped_node_writes_nothing_more():
    """The node that seals the audit log is stopped in the middle of it: its statements wait in the database, behind a lock of ours, until the other node has taken over. When they run, they
    are refused, though nobody has changed what they had been decided by."""
    with server() as s:
        second = another(s)
        shared(s, "first", "second")
        name = holder("audit", s)
        stopped, other = (s, second) if name == "first" else (second, s)
        sealed(s)
        with store.connect(s.store.url) as lock:
            lock.autocommit = False
            with lock.cursor() as cursor:
                cursor.execute("LOCK TABLE audit IN SHARE MODE")
                other.cli("token", "new", "while-locked")
                wait_for("it waits to seal", lambda: s.sql("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'audit'::regclass")[0][0] == 1, 60)
                os.kill(stopped.process.pid, signal.SIGSTOP)
                try:
                    wait_for("the other one has taken over", lambda: "audit" in jobs(other).get("second" if name == "first" else "first", ()), 60)
                    wait_for("it waits to seal, too", lambda: s.sql("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'audit'::regclass")[0][0] == 2, 60)
                    lock.rollback()
                    wait_for("it is sealed by the other one", lambda: s.sql("SELECT count(*) FROM audit WHERE action = 'token.new' AND object <> ''")[0][0] and
                             s.sql("SELECT count(*) FROM audit_pending")[0][0] == 0, 60)
                finally:
                    os.kill(stopped.process.pid, signal.SIGCONT)
        wait_for("the stopped one has noticed", lambda: "another node has taken over while this one worked" in stopped.logs(), 60)
        expect("another node has taken over" not in other.logs(), "the other one has sealed it")
        shared(s, "first", "second")
        sealed(s)


# ---------------------------------------------------------------- nodes that do not fit

@case
def another_encryption_key():
    with server() as s:
        node = another(s, start=False) if store.ENGINE == "postgres" else s
        s.stop()
        path = os.path.join(node.data, "seal.key")
        right = pathlib.Path(path).read_text()
        pathlib.Path(path).write_text("0" * 64 + "\n")
        text = not_started(node, "is not the encryption key")
        expect("POM-E0106" in text or "seal.key" in text, text)
        expect("0" * 16 not in text, "the key stands in the log")
        # Before anything was noted, as after an upgrade: the key is tried, and a wrong one is not taken for the right one.
        s.sql("DELETE FROM setting WHERE name = 'seal_proof'")
        not_started(node, "POM-E0106")
        equal(s.sql("SELECT count(*) FROM setting WHERE name = 'seal_proof'")[0][0], 0, "proof of a wrong key")
        pathlib.Path(path).write_text(right)
        node.start()
        equal(s.sql("SELECT count(*) FROM setting WHERE name = 'seal_proof'")[0][0], 1, "proof")
        expect(right.strip() not in s.sql("SELECT value FROM setting WHERE name = 'seal_proof'")[0][0], "the proof is not the key")


def faked(offset_file):
    return {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": offset_file, "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}


@case
def a_wrong_clock():
    if not os.path.exists(FAKETIME):
        raise Skip("libfaketime is not installed")
    with server() as s:
        offset = os.path.join(s.root, "offset")
        node = another(s, env=faked(offset), start=False)
        for wrong, text in (("+60s", "ahead of"), ("-60s", "behind")):
            pathlib.Path(offset).write_text(wrong + "\n")
            not_started(node, f"{text} that of the database")
        # Off by a little is fine.
        pathlib.Path(offset).write_text("+2s\n")
        node.start()
        shared(s, "first", "second")
        expect(1000 < nodes(s)["second"]["clock_ms"] < 3500, f"its clock: {nodes(s)['second']}")
        equal(ready(node), (200, None), "ready")
        # It goes wrong while it serves, and is mended.
        pathlib.Path(offset).write_text("+90s\n")
        wait_for("it is not ready", lambda: ready(node) == (503, "POM-E0110"), 60)
        equal(shared(s, "first")["first"], JOBS, "the other one does all")
        found = nodes(s)["second"]
        expect(found["state"] == "idle" and "ahead of" in found["trouble"], f"{found}")
        equal(node.api("GET", "/healthz")[0], 200, "it lives")
        equal(ready(s), (200, None), "the other one is ready")
        pathlib.Path(offset).write_text("+0s\n")
        wait_for("it is ready again", lambda: ready(node)[0] == 200, 60)
        shared(s, "first", "second")


@case
def clocks_of_two_nodes():
    """Each is near enough to the database, but not to the other: the one that is farther off gives way."""
    if not os.path.exists(FAKETIME):
        raise Skip("libfaketime is not installed")
    with server() as s:
        offsets = [os.path.join(s.root, f"offset{i}") for i in range(2)]
        for path, offset in zip(offsets, ("+3s", "-4s")):
            pathlib.Path(path).write_text(offset + "\n")
        near = another(s, "near", env=faked(offsets[0]))
        s.stop()
        shared(near, "near")
        far = another(s, "far", env=faked(offsets[1]), start=False)
        not_started(far, "behind that of node near")
        pathlib.Path(offsets[1]).write_text("-1s\n")
        far.start()
        shared(near, "near", "far")
        # Now the first one is farther off, and it is the one to give way, though it was there before.
        pathlib.Path(offsets[1]).write_text("-2500s\n")
        wait_for("it has given way", lambda: ready(far)[0] == 503, 60)
        equal(ready(near)[0], 200, "near")


@case
def a_newer_schema():
    """Another node has migrated the database: the old program says so, instead of failing statement by statement, and does not start again."""
    with server() as s:
        device = s.enroll()
        newest = s.sql("SELECT max(version) FROM pomona_schema")[0][0]
        s.sql("UPDATE pomona_schema SET version = ?", newest + 1)
        wait_for("it is not ready", lambda: ready(s) == (503, "POM-E0113"), 60)
        equal(s.sql("SELECT count(*) FROM node")[0][0], 0, "it has left")
        status, _ = device.idle()
        equal(status, 503, "a device")
        expect(int(device.headers.get("retry-after", 0)) > 0, "Retry-After")
        status, body, _ = s.api("GET", "/api/v1/devices")
        equal((status, body["code"]), (503, "POM-E0113"), "an administrator")
        equal(s.api("GET", "/healthz")[0], 200, "it lives")
        # Somebody has put the old database back.
        s.sql("UPDATE pomona_schema SET version = ?", newest)
        wait_for("it is ready again", lambda: ready(s)[0] == 200, 60)
        equal(device.idle()[0], 200, "a device")
        shared(s, "first")
        s.stop()
        s.sql("UPDATE pomona_schema SET version = ?", newest + 1)
        not_started(s, f"the database has schema {newest + 1}; this program knows {newest} at most")


@case
def a_database_that_is_not_utf8():
    with server() as s:
        s.stop()
        for encoding in ("SQL_ASCII", "LATIN1"):
            name = f"pomona_{os.getpid()}_{encoding.lower()}"
            with contextlib.closing(store.connect(store.CLUSTER)) as db, db.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
                try:
                    s.args.append("--set")
                    s.args.append(f"store.url={store.database_url(name)}")
                    not_started(s, f"has the encoding {encoding}")
                finally:
                    del s.args[-2:]
                    cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


if __name__ == "__main__":
    main()
