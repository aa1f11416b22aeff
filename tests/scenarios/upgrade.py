"""Databases of earlier releases under this program: each schema's data goes on, on both engines; an old program leaves a new schema alone; one of many migrates.

tests/data/schemaN holds a data directory as the last release with that schema left it: with a device and what waited for it. There was no release with PostgreSQL before schema 5: there, the migrations up to
N make the tables, the rows come from that data directory, and the program migrates what it finds."""
from harness import *

NO_APNS = ("--apns-url", "https://127.0.0.1:1")
TOOL = os.path.join(os.path.dirname(POMONA), "src", "store", "schema_tool")
DATA = pathlib.Path(__file__).parent.parent / "data"
NEWEST = 5
# What waits for the device in each of them.
WAITING = {1: [], 2: ["DeviceInformation"], 3: ["DeviceInformation"], 4: ["SecurityInfo", "DeviceInformation"]}


def tool(url, number):
    p = subprocess.run([TOOL, url, str(number)], capture_output=True, text=True, timeout=120)
    expect(p.returncode == 0, f"schema_tool: {p.stdout}{p.stderr}")


def old_rows(version):
    """{table: (columns, rows)} of the data directory."""
    with contextlib.closing(store.sqlite3.connect(":memory:")) as db:
        db.executescript((DATA / f"schema{version}" / "pomona.sql").read_text())
        found = {}
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            cursor = db.execute(f"SELECT * FROM {table}")
            found[table] = [d[0] for d in cursor.description], cursor.fetchall()
        return found


def old_store(version, data):
    """The URL of a database as that release left it."""
    if store.ENGINE == "sqlite":
        path = os.path.join(data, "pomona.db")
        with contextlib.closing(store.sqlite3.connect(path)) as db:
            db.executescript((DATA / f"schema{version}" / "pomona.sql").read_text())
            db.execute(f"PRAGMA user_version = {version}")
        return "sqlite:" + path
    url = store.new_database()
    tool(url, version)
    with store.Postgres(url).transaction() as execute:
        for table, (columns, rows) in old_rows(version).items():
            execute.many(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", rows)
    return url


def old_data(version):
    """A folder with a data directory as that release left it."""
    root = tempfile.mkdtemp(prefix="pomona-")
    data = os.path.join(root, "data")
    os.mkdir(data, 0o700)
    for name in ("pomona.conf", "seal.key", "admin.token", "root-ca.pem"):
        shutil.copy(DATA / f"schema{version}" / name, data)
        os.chmod(os.path.join(data, name), 0o600)
    url = old_store(version, data)
    if store.ENGINE == "postgres":
        store.set_conf(data, "store", url=url)
    return root


def old_device(server, version):
    """The device that is enrolled there."""
    saved = json.loads((DATA / f"schema{version}" / "device.json").read_text())
    d = Device(server, udid=saved["udid"])
    d.token, d.magic = bytes.fromhex(saved["token"]), saved["magic"]
    d.key, d.cert = serialization.load_pem_private_key(saved["key"].encode(), None), load_pem(saved["cert"])
    return d.read_profile(base64.b64decode(saved["payload"]))


def schema_of(server):
    if store.ENGINE == "postgres":
        return server.sql("SELECT version FROM pomona_schema")[0][0]
    return server.sql("PRAGMA user_version")[0][0]


def set_schema(server, number):
    if store.ENGINE == "postgres":
        server.sql("UPDATE pomona_schema SET version = ?", number)
    else:
        server.sql(f"PRAGMA user_version = {number}")


def check_rows(version):
    """The migrations alone change nothing of what the columns of then say, and lose no row."""
    root = old_data(version)
    try:
        found = store.store_of(os.path.join(root, "data"))
        tool(found.url if store.ENGINE == "postgres" else "sqlite:" + found.path, NEWEST)
        with found.transaction() as execute:
            for table, (columns, rows) in old_rows(version).items():
                now = execute(f"SELECT {', '.join(columns)} FROM {table}")
                equal(sorted(map(repr, map(tuple, now))), sorted(map(repr, rows)), f"rows of {table}")
    finally:
        shutil.rmtree(root)


def goes_on(version):
    check_rows(version)
    with Server(*NO_APNS, url="https://127.0.0.1", data=old_data(version), push_cert=False) as s:
        equal(schema_of(s), NEWEST, "schema")
        d = old_device(s, version)
        equal([kind for kind, _ in d.run_commands()], WAITING[version], "what waited for the device")
        shown = s.cli("device", "show", d.udid)
        equal((shown["state"], shown["id"]), ("enrolled", s.sql("SELECT id FROM enrollment WHERE device_id = ?", d.udid)[0][0]), "the device")
        # Users and keys of devices: what later schemas look up is there for those of before.
        equal(s.sql("SELECT enrollment_id FROM channel WHERE device_id = ? AND user_part = ''", d.udid)[0][0], shown["id"], "channel")
        identity = "SELECT 1 FROM epoch p JOIN certificate c ON c.serial = p.certificate_serial WHERE p.enrollment_id = ? AND p.ended_at = 0 AND p.renew_at > c.not_before AND p.renew_at < c.not_after"
        equal(len(s.sql(identity, shown["id"])), 1, "identities that will be renewed in time")
        s.cli("device", "renew", d.udid)
        before = d.cert
        equal(d.hang_up().run_commands(), [("InstallProfile", "Acknowledged")], f"a new identity ({d.why})")
        expect(d.cert != before, "a new identity")
        equal((d.authenticate(), d.token_update()), ((200, b""), (200, b"")), "it enrolls again")
        s.import_push_cert()
        equal(s.enroll().idle(), (200, b""), "a new device")
        equal(s.cli("ca", "audit-verify")["ok"], True, "audit-verify")
        s.restart()
        equal(d.hang_up().idle()[0], 200, "after another start")


@case
def data_of_schema_1():
    goes_on(1)


@case
def data_of_schema_2():
    goes_on(2)


@case
def data_of_schema_3():
    goes_on(3)


@case
def data_of_schema_4():
    goes_on(4)


@case
def an_old_program_leaves_a_newer_schema_alone():
    with Server(*NO_APNS, push_cert=False) as s:
        s.stop()
        set_schema(s, NEWEST + 1)
        s.start(wait=False)
        expect(s.process.wait(60) != 0, "it started")
        expect(f"schema {NEWEST + 1}" in s.logs() and f"knows {NEWEST} at most" in s.logs() and "newer Pomona" in s.logs(), s.logs()[-500:])
        equal(schema_of(s), NEWEST + 1, "the schema")
        set_schema(s, NEWEST)
        s.start()


def at_once(words):
    """Runs all of the commands at the same time; each must succeed."""
    running = [subprocess.Popen(w, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True) for w in words]
    for p in running:
        out, _ = p.communicate(timeout=120)
        expect(p.returncode == 0, out)


@case
def one_of_four_makes_the_tables():
    for version in (None, 4):
        url = store.new_database()
        if version:
            tool(url, version)
        at_once([[TOOL, url, str(NEWEST)]] * 4)
        with store.Postgres(url).transaction() as execute:
            equal(execute("SELECT count(*), max(version) FROM pomona_schema")[0], (1, NEWEST), "the schema")


@case
def one_of_four_nodes_migrates():
    with Server(*NO_APNS, url="https://127.0.0.1", data=old_data(4), push_cert=False) as s:
        # The migration has not happened yet for those that begin now.
        s.stop()
        s.store.remove()
        url = old_store(4, s.data)
        store.set_conf(s.data, "store", url=url)
        nodes = [s, *[s.node(start=False) for _ in range(3)]]
        for node in nodes:
            node.start(wait=False)
        for node in nodes:
            node.wait_ready()
        equal(schema_of(s), NEWEST, "schema")
        d = old_device(s, 4)
        for node in nodes:
            d.server = node
            equal(d.hang_up().run_commands(), [(kind, "Acknowledged") for kind in WAITING[4]] if node is s else [], "each of them serves the device")


if __name__ == "__main__":
    main()
