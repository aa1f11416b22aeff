"""Several nodes over one PostgreSQL: who does what."""
from lib.nodes import *

EACH_TICK = {"audit", "crl", "commands", "profiles", "declarations", "queries", "orders", "inventory"}


def turns(node):
    """{job: how often it was done}"""
    text = node.api("GET", "/metrics")[1].decode()
    return {job: sum(int(line.split()[-1]) for line in text.splitlines() if line.startswith(f'pomona_jobs_total{{job="{job}"}}')) for job in JOBS}


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
        # What each tick brings is done by who has it, and by nobody else.
        began = {name: turns(node) for name, node in (("first", s), ("second", second))}
        wait_for("each has worked", lambda: all(turns(node)[job] >= began[name][job] + 2 for name, node in (("first", s), ("second", second)) for job in found[name] & EACH_TICK), 60)
        for name, node in (("first", s), ("second", second)):
            equal({job: n for job, n in turns(node).items() if n != began[name][job] and job not in found[name]}, {}, f"turns of others' jobs at {name}")
        # A clean end is no death: nothing is left of it, and what it did goes on at once.
        second.stop()
        equal(set(nodes(s)), {"first"}, "a node that has ended is not listed")
        shared(s, "first")


@case
def work_is_told_to_who_does_it():
    """A change that a person makes at one node is not left to the next turn of the other one: it is told."""
    with server() as s:
        second = another(s)
        found = shared(s, "first", "second")
        other = second if "queries" in found["first"] else s
        with contextlib.closing(store.connect(s.store.url)) as db, db.cursor() as cursor:
            cursor.execute("LISTEN pomona")
            other.cli("group", "new", "told", "--query", "supervised")

            def words():
                cursor.execute("SELECT 1")
                return {n.payload for n in db.notifies}
            wait_for("the word", lambda: "work" in words(), 60)


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


if __name__ == "__main__":
    main()
