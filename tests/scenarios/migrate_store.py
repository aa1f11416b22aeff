"""pomona migrate-store: all data goes to another database and devices notice nothing; broken off in whatever way it goes on; what it must refuse.

From SQLite to the engine that is tested, and back."""
import pty
import sqlite3

from harness import *
from lib import postgres

NO_APNS = ("--apns-url", "https://127.0.0.1:1")
SECRET = "geheim-8472"
HISTORY = 80000


class Place:
    """A database that does not exist yet, or is empty."""

    def __init__(self, root, engine=store.ENGINE):
        self.root = root
        self.url = store.new_database() if engine == "postgres" else "sqlite:" + os.path.join(root, f"db-{secrets.token_hex(4)}.db")

    @property
    def store(self):
        return store.Postgres(self.url) if self.url.startswith("postgresql:") else store.Sqlite(self.url)


def sqlite_server(**options):
    """A server over SQLite, whatever is tested."""
    root = tempfile.mkdtemp(prefix="pomona-")
    run("init", "--data", os.path.join(root, "data"), "--url", "https://127.0.0.1:1", "--org", "Test Org")
    return Server(*NO_APNS, url="https://127.0.0.1:1", data=root, **options)


def fill(s):
    """A device with a past and with a command that waits; a profile, a group, a token."""
    d = s.enroll(udid="00008110-0001AA")
    s.cli("command", "send", d.udid, "DeviceInformation", 'Queries=["OSVersion"]')
    equal(d.run_commands(), [("DeviceInformation", "Acknowledged")], "a command")
    path = os.path.join(s.root, "p.mobileconfig")
    pathlib.Path(path).write_bytes(plistlib.dumps({
        "PayloadType": "Configuration", "PayloadVersion": 1, "PayloadIdentifier": "com.example.n", "PayloadUUID": "5c0a7a3e-0000-4000-8000-000000000001", "PayloadDisplayName": "Ä",
        "PayloadContent": [{"PayloadType": "com.apple.notificationsettings", "PayloadVersion": 1, "PayloadIdentifier": "com.example.n.1", "PayloadUUID": "5c0a7a3e-0000-4000-8000-000000000002", "NotificationSettings": []}]}))
    s.cli("profile", "add", path, "--name", "notes")
    s.cli("group", "create", "staff")
    s.cli("group", "add", "staff", d.udid)
    s.cli("command", "send", d.udid, "SecurityInfo")
    return d


def add_rows(place, n):
    """Much history."""
    with place.transaction() as execute:
        execute.many("INSERT INTO event (enrollment_id, id, at, kind, detail) VALUES (?, ?, ?, 'test', ?)", [(f"device-{i % 97:03}", f"{i:08}", i, "ä" * (i % 40)) for i in range(n)])


def errors():
    """What says that a database is not there yet, or is just being made."""
    if store.ENGINE == "sqlite":
        return sqlite3.Error, IndexError
    import psycopg2
    return psycopg2.Error, IndexError


def counts(place):
    with place.transaction() as execute:
        return {t: execute(f"SELECT count(*) FROM {t}")[0][0] for t in place.columns() if t not in ("pomona_schema", "node", "lease", "shared_version", "shared_lock", "data_move", "data_move_table")}


def migrate(*args, code=0, env=None):
    p = subprocess.run([POMONA, "migrate-store", *args], capture_output=True, text=True, timeout=240, env={**os.environ, **(env or {})})
    expect(p.returncode == code, f"migrate-store {args}: exit {p.returncode}, wanted {code}\n{p.stdout}{p.stderr}")
    expect(SECRET not in p.stdout + p.stderr, "a password was shown")
    return json.loads(p.stdout) if "--json" in args and not code else p.stdout + p.stderr


def check_digests(report, place):
    """The rows of each table are in the new database, and the digest of one is what anybody computes."""
    there = counts(place)
    equal({t["name"]: t["rows"] for t in report["tables"]}, there, "tables and rows")
    equal(report["rows"], sum(there.values()), "rows")
    with place.transaction() as execute:
        rows = sorted(execute("SELECT id, ca, number, state, source, version, created_at, activated_at, retiring_at, retired_at FROM ca_generation"))
    sum_ = hashlib.sha256()
    for value in (v for row in rows for v in row):
        data = value.encode() if isinstance(value, str) else None
        sum_.update(b"n" if value is None else b"i" + value.to_bytes(8, "big", signed=True) if data is None else b"t" + len(data).to_bytes(8, "big") + data)
    equal(next(t["sha256"] for t in report["tables"] if t["name"] == "ca_generation"), sum_.hexdigest(), "SHA-256")


@case
def a_server_moves_and_comes_back():
    with sqlite_server() as s:
        d = fill(s)
        url = "sqlite:" + os.path.join(s.data, "pomona.db")
        target = Place(s.root)
        # While it runs: nothing happens.
        expect("already serves" in migrate("--data", s.data, "--to", target.url, code=1), "a server runs")
        s.stop()
        before = counts(s.store)
        report = migrate("--from", url, "--to", target.url, "--json")
        equal((report["from"], report["to"], report["resumed"], report["copied"]), (url, target.url, False, report["rows"]), "report")
        equal(counts(target.store), before, "rows")
        check_digests(report, target.store)
        # Nobody serves the old one any more.
        s.start(wait=False)
        expect(s.process.wait(60) != 0 and "was moved to" in s.logs() and target.url in s.logs(), s.logs()[-500:])
        expect("was moved to" in migrate("--data", s.data, "--to", Place(s.root).url, code=1), "once is enough")
        store.set_conf(s.data, "store", url=target.url)
        s.start()
        equal(d.hang_up().run_commands(), [("SecurityInfo", "Acknowledged")], "what waited")
        s.cli("device", "renew", d.udid)
        equal(d.run_commands(), [("InstallProfile", "Acknowledged")], f"a new identity ({d.why})")
        newcomer = s.enroll()
        equal(s.cli("ca", "audit-verify")["ok"], True, "audit-verify")
        equal(s.cli("profile", "list")[0]["name"], "notes", "the library")
        s.cli("command", "send", newcomer.udid, "SecurityInfo")
        s.stop()
        # And back, from the directory's own settings, into a file that is this user's alone.
        back = Place(s.root, "sqlite")
        report = migrate("--data", s.data, "--to", back.url, "--json")
        equal(report["from"], target.url, "the database of the data directory")
        check_digests(report, back.store)
        equal(os.stat(back.store.path).st_mode & 0o777, 0o600, "mode")
        store.set_conf(s.data, "store", url=back.url)
        s.start()
        equal(newcomer.hang_up().run_commands(), [("SecurityInfo", "Acknowledged")], "what waited")
        equal(d.hang_up().idle()[0], 200, "the other one")
        equal(s.cli("ca", "audit-verify")["ok"], True, "audit-verify")


def interrupted(words, number, at_least, place):
    """Runs migrate-store until AT_LEAST rows of history are there, holds it there, and sends it a signal. Its exit status, and what it said."""
    p = subprocess.Popen([POMONA, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)

    def signaled():
        # Nothing may be there yet.
        with contextlib.suppress(*errors()), place.transaction() as execute:
            # Who holds this row holds the move.
            execute("UPDATE data_move_table SET n_rows = n_rows WHERE name = 'event'")
            if execute("SELECT n_rows FROM data_move_table WHERE name = 'event'")[0][0] >= at_least:
                p.send_signal(number)
                return True
        return False
    end = time.monotonic() + 120
    while not signaled():
        expect(time.monotonic() < end and p.poll() is None, f"no {at_least} rows came, or all: {p.poll()}")
        time.sleep(0.002)
    out, _ = p.communicate(timeout=120)
    return p.returncode, out


@case
def an_interrupted_move_goes_on():
    with sqlite_server(push_cert=False) as s:
        s.stop()
        add_rows(s.store, HISTORY)
        before = counts(s.store)
        target = Place(s.root)
        words = ("migrate-store", "--data", s.data, "--to", target.url)
        code, out = interrupted(words, signal.SIGINT, 1, target.store)
        expect(code == 1 and "run the same command again" in out, f"{code} {out}")
        first = counts(target.store)["event"]
        # Neither can be used now.
        s.start(wait=False)
        expect(s.process.wait(60) != 0 and "is being moved" in s.logs(), s.logs()[-300:])
        refused = migrate("--from", target.url, "--to", Place(s.root).url, code=1)
        expect("not whole" in refused, refused)
        equal(interrupted(words, signal.SIGKILL, first + 2000, target.store)[0], -signal.SIGKILL, "killed")
        second = counts(target.store)["event"]
        expect(first < second < HISTORY, f"{first} rows, then {second}: it was to go on, and to be killed before its end")
        report = migrate("--data", s.data, "--to", target.url, "--json")
        equal((report["resumed"], report["copied"] <= sum(before.values()) - second), (True, True), "it goes on")
        equal(counts(target.store), before, "rows")
        check_digests(report, target.store)


@case
def a_move_is_given_up_or_taken_back():
    with sqlite_server(push_cert=False) as s:
        s.stop()
        add_rows(s.store, HISTORY)
        target = Place(s.root)
        code, out = interrupted(("migrate-store", "--data", s.data, "--to", target.url), signal.SIGTERM, 1, target.store)
        equal(code, 1, out)
        equal(migrate("--undo", "--data", s.data, "--json")["from"], "sqlite:" + os.path.join(s.data, "pomona.db"), "undo")
        s.start()
        expect("another process" in migrate("--undo", "--data", s.data, code=1), "a server runs")
        s.stop()
        expect("unfinished move" in migrate("--data", s.data, "--to", target.url, code=1), "what was begun is no longer of this database")
        expect("nothing to undo" in migrate("--undo", "--data", s.data, code=3), "nothing to undo")
        expect("leave --to out" in migrate("--undo", "--data", s.data, "--to", target.url, code=2), "--undo with --to")
        other = Place(s.root)
        migrate("--data", s.data, "--to", other.url)
        migrate("--undo", "--data", s.data)
        s.start()


@case
def what_is_refused():
    with sqlite_server(push_cert=False) as s:
        data = s.data
        url = "sqlite:" + os.path.join(data, "pomona.db")
        nothing = "sqlite:" + os.path.join(s.root, "nothing.db")
        empty, foreign, damaged = Place(s.root), Place(s.root), os.path.join(s.root, "damaged.db")
        with foreign.store.transaction() as execute:
            execute("CREATE TABLE somebody (id integer)")
        pathlib.Path(damaged).write_bytes(b"this is no database" * 100)
        # An open file is seen even when its data directory is not where the file is.
        elsewhere = os.path.join(s.root, "elsewhere")
        s.stop()
        shutil.copytree(data, elsewhere)
        store.set_conf(elsewhere, "store", url=url)
        s.data = elsewhere
        s.start()
        expect("another process uses" in migrate("--from", url, "--to", empty.url, code=1), "open elsewhere")
        s.stop()
        s.data = data
        for args, code, text in [
            (["--from", url], 2, "--to is missing"),
            (["--from", url, "--to", "mysql://x"], 2, "sqlite: or postgresql://"),
            (["--from", "nonsense", "--to", empty.url], 2, "sqlite: or postgresql://"),
            (["--from", nothing, "--to", empty.url], 3, "is not there"),
            (["--from", empty.url, "--to", nothing], 3, "holds no data of Pomona"),
            (["--from", foreign.url, "--to", nothing], 1, "not Pomona's"),
            (["--from", url, "--to", foreign.url], 1, "not Pomona's"),
            (["--from", url, "--to", url], 1, "holds data already"),
            (["--from", url, "--to", "sqlite:" + damaged], 1, "not a database"),
            (["--from", url, "--to", "sqlite:/nowhere/at/all.db"], 1, "/nowhere/at/all.db"),
            (["--from", url, "--to", empty.url, "--to-file", "/dev/null"], 2, "not both"),
            (["--from", url, "--to-file", os.path.join(s.root, "no-file")], 1, "no-file"),
            (["--data", os.path.join(s.root, "no-data"), "--to", empty.url], 3, "not a data directory"),
            (["--from", url, "--to", empty.url, "word"], 2, "too many arguments"),
        ]:
            said = migrate(*args, code=code)
            expect(text in said, f"{args}: wanted {text!r}\n{said}")
        expect(not os.path.exists(nothing.removeprefix("sqlite:")), "a file was made for a source")
        # None of that left a mark.
        s.start()
        s.stop()
        with s.store.transaction() as execute:
            execute("UPDATE link SET user_name = 'x'")
            equal(execute("SELECT count(*) FROM data_move")[0][0], 0, "marks")


@case
def passwords_are_not_shown():
    with sqlite_server(push_cert=False) as s:
        s.stop()
        with_password = f"postgresql://pomona:{SECRET}@127.0.0.1:1/pomona"
        for option in ("--to", "--from"):
            said = migrate("--data", s.data, option, with_password, *(["--to", "sqlite:/x"] if option == "--from" else []), code=2)
            expect("--to-file" in said or "--from-file" in said, said)
        path = os.path.join(s.root, "url")
        pathlib.Path(path).write_text(with_password + "\n")
        os.chmod(path, 0o644)
        expect("chmod 600" in migrate("--data", s.data, "--to-file", path, code=1), "others can read it")
        os.chmod(path, 0o600)
        # Nobody is there; but it was read.
        expect("127.0.0.1" in migrate("--data", s.data, "--to-file", path, code=6), "the server that was asked")
        # One that works, when there is one.
        target = Place(s.root)
        if store.ENGINE == "postgres":
            target.url = target.url.replace("postgresql:///", f"postgresql://pomona:{SECRET}@/").replace("&user=pomona", "")
        pathlib.Path(path).write_text(target.url + "\n")
        report = migrate("--data", s.data, "--to-file", path, "--json")
        expect(report["rows"] > 0, "moved")
        with contextlib.closing(sqlite3.connect(os.path.join(s.data, "pomona.db"))) as db:
            expect(SECRET not in db.execute("SELECT other FROM data_move").fetchone()[0], "the mark")


@case
def people_see_how_far_it_is():
    with sqlite_server(push_cert=False) as s:
        s.stop()
        add_rows(s.store, 20000)
        target = Place(s.root)
        ours, theirs = pty.openpty()
        p = subprocess.Popen([POMONA, "migrate-store", "--data", s.data, "--to", target.url], stdout=subprocess.PIPE, stderr=theirs, stdin=subprocess.DEVNULL, text=True)
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):
            while data := os.read(ours, 4096):
                shown += data
        out, _ = p.communicate(timeout=120)
        os.close(ours)
        equal(p.returncode, 0, out)
        expect(b"copying: " in shown and b"%" in shown, shown[:200])
        for text in ("event", "20000", "all of them are there", f"url={target.url}", "--undo"):
            expect(text in out, f"{text!r}\n{out}")


@case
def a_database_that_was_away_is_waited_for():
    with sqlite_server(push_cert=False) as s, postgres.Postgres() as cluster:
        s.stop()
        add_rows(s.store, HISTORY)
        before = counts(s.store)
        cluster.create()
        p = subprocess.Popen([POMONA, "migrate-store", "--data", s.data, "--to", cluster.url(), "--json"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)

        def rows():
            with contextlib.suppress(AssertionError, IndexError):
                return int(cluster.sql("SELECT n_rows FROM data_move_table WHERE name = 'event'")[0][0])
            return 0
        wait_for("some rows", lambda: p.poll() is not None or rows(), 120)
        expect(p.poll() is None, "it was not to end before that")
        cluster.restart("immediate")
        there = rows()
        expect(there < HISTORY, "it was not to be done with that")
        wait_for("it goes on", lambda: p.poll() is not None or rows() > there, 120)
        cluster.restart("immediate")
        out, _ = p.communicate(timeout=240)
        equal(p.returncode, 0, out)
        equal({t["name"]: t["rows"] for t in json.loads(out)["tables"]}, before, "rows")


@case
def a_living_node_is_seen():
    """Several machines can have it open: nodes tell that they live, and a stopped one that comes back writes nothing."""
    with Server(*NO_APNS, push_cert=False) as s:
        url, target = s.store.url, Place(s.root, "sqlite")
        wait_for("the node in the list", lambda: s.sql("SELECT count(*) FROM node")[0][0])
        said = migrate("--from", url, "--to", target.url, code=1)
        expect("stop all servers first" in said, said)
        equal(s.sql("SELECT count(*) FROM data_move")[0][0], 0, "no mark")
        expect(not os.path.exists(target.url.removeprefix("sqlite:")), "a file was made all the same")
        # As when it was frozen for so long that it counts as dead.
        s.process.send_signal(signal.SIGSTOP)
        s.sql("UPDATE node SET seen_at = seen_at - 3600000")
        try:
            report = migrate("--from", url, "--to", target.url, "--json")
        finally:
            s.process.send_signal(signal.SIGCONT)
        wait_for("the node to take its leave", lambda: not s.sql("SELECT count(*) FROM node")[0][0], 60)
        code, out, err = s.cli_code("group", "create", "late")
        expect(code != 0 and "goes to another one" in err, f"{code} {out}{err}")
        equal(s.request("GET", "/readyz")[0], 503, "/readyz")
        equal(counts(target.store), {t["name"]: t["rows"] for t in report["tables"]}, "rows")


if __name__ == "__main__":
    main()
