"""Databases as others have set them up: settings that would hurt are overruled, or told of; poolers that cannot be worked with are refused."""
import atexit

from lib.postgres import *

# What administrators set for all who use a server. None of it may change what Pomona does.
SETTINGS = {
    "default_transaction_isolation": "serializable", "default_transaction_deferrable": "on", "statement_timeout": "1s", "lock_timeout": "1s", "idle_session_timeout": "1s", "idle_in_transaction_session_timeout": "1s",
    "synchronous_commit": "off", "standard_conforming_strings": "off", "client_encoding": "LATIN1", "bytea_output": "escape", "datestyle": "German", "timezone": "Asia/Kathmandu", "intervalstyle": "sql_standard",
    "transform_null_equals": "on", "row_security": "off", "extra_float_digits": "0", "default_table_access_method": "heap", "plan_cache_mode": "force_custom_plan",
}


# What whoever migrates holds (src/db/postgres_open.c).
LOCK = 8245928655720965488


class Pooler:
    """PgBouncer before CLUSTER."""

    def __init__(self, cluster, mode):
        program = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
        expect(program, "PgBouncer is not installed")
        self.address, self.port, self.root = "127.0.0.1", free_port(), tempfile.mkdtemp(prefix="pomona-pgbouncer-")
        path = os.path.join(self.root, "ini")
        pathlib.Path(path).write_text(f"[databases]\n* = host={cluster.address} port={cluster.port} user=pomona\n[pgbouncer]\nlisten_addr = {self.address}\nlisten_port = {self.port}\nunix_socket_dir =\n"
                                      f"auth_type = any\npool_mode = {mode}\nuser = {'postgres' if os.getuid() == 0 else ''}\n")
        os.chmod(self.root, 0o755)
        with open(os.path.join(self.root, "log"), "wb") as log:
            self.process = subprocess.Popen([program, "-q", path], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def listening():
            expect(self.process.poll() is None, f"PgBouncer ended:\n{open(os.path.join(self.root, 'log')).read()}")
            with contextlib.suppress(OSError):
                socket.create_connection((self.address, self.port), 1).close()
                return True
        wait_for("PgBouncer", listening, 60)

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.process.kill()
        self.process.wait(60)
        shutil.rmtree(self.root, ignore_errors=True)


_cluster = None


def change(**settings):
    """Settings of the cluster, and waits until it has them."""
    _cluster.configure(**settings)
    _cluster.ctl("reload")
    for name, value in settings.items():
        wait_for(name, lambda: _cluster.sql(f"SELECT current_setting('{name}') = '{value}'", database="postgres") == [["t"]], 60)


@contextlib.contextmanager
def place():
    """The cluster that all cases share, and the name of a new database of it."""
    global _cluster
    if not _cluster:
        # Nothing here looks at what a crash of the database leaves.
        _cluster = Postgres(max_wal_senders="4")
        atexit.register(_cluster.close)
        change(fsync="off")
    name = "d" + secrets.token_hex(6)
    yield _cluster.create(name), name


def tables(name):
    return _cluster.sql("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace", database=name)


@case
def settings_of_others():
    with place() as (cluster, name):
        cluster.sql("; ".join(f"ALTER DATABASE {name} SET {key} = '{value}'" for key, value in SETTINGS.items()), database="postgres")
        with ClusterNode(cluster.url(database=name)) as node:
            device = node.enroll()
            for _ in range(3):
                node.cli("command", "send", device.udid, "DeviceInformation", 'Queries=["OSVersion"]')
                equal(device.run_commands(), [("DeviceInformation", "Acknowledged")], "a command")
            node.cli("enroll", "new", "--user", "Jürgen \\ O'Hara")
            expect("Jürgen \\ O'Hara" in [link["user"] for link in node.cli("enroll", "list")], f"text: {node.cli('enroll', 'list')}")
            equal(node.cli("ca", "audit-verify")["ok"], True, "audit-verify")
            expect("database is away" not in node.logs(), node.logs())
            node.stop()
            # It waits for as long as another node migrates.
            import psycopg2
            with contextlib.closing(psycopg2.connect(host=cluster.address, port=cluster.port, user="pomona", dbname=name, options="-c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0")) as other, other.cursor() as cursor:
                cursor.execute(f"SELECT pg_advisory_lock({LOCK})")
                node.start(wait=False)
                waits = lambda: cluster.sql("SELECT coalesce(max(extract(epoch from clock_timestamp() - query_start)), 0) FROM pg_stat_activity WHERE wait_event = 'advisory'", database="postgres")[0][0]
                wait_for("it waits", lambda: float(waits()) > 2 or node.process.poll() is not None, 60)
                expect(node.process.poll() is None, node.logs())
            node.wait_ready()


@case
def acknowledged_is_durable():
    """synchronous_commit is overruled: a commit waits for the synchronous standby, which never comes."""
    with place() as (cluster, name):
        cluster.sql(f"ALTER DATABASE {name} SET synchronous_commit = off", database="postgres")
        with ClusterNode(cluster.url(database=name)) as node:
            change(synchronous_standby_names="nobody")
            p = subprocess.Popen([POMONA, "group", "create", "late", "--data", node.data], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
            try:
                wait_for("a commit that waits for the standby", lambda: int(cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", database="postgres")[0][0]), 60)
                expect(p.poll() is None, "it was acknowledged")
            finally:
                change(synchronous_standby_names="")
            equal(p.wait(60), 0, "it goes on")


@case
def what_may_be_lost_is_told():
    with place() as (cluster, name):
        with ClusterNode(cluster.url(database=name), push_cert=False) as node:
            expect('off=fsync' in node.logs(), node.logs())
            for off in (["full_page_writes", "fsync"], []):
                change(**{key: "off" if key in off else "on" for key in ("fsync", "full_page_writes")})
                node.stop()
                before = len(node.logs())
                node.start()
                told = node.logs()[before:]
                expect(('off="fsync, full_page_writes"' in told) if off else "may be lost" not in told, told)
            change(fsync="off")


@case
def a_pooler_that_lends_sessions():
    with place() as (cluster, name):
        for mode in ("transaction", "statement"):
            with Pooler(cluster, mode) as pooler, tempfile.TemporaryDirectory() as root:
                data = os.path.join(root, "data")
                p = subprocess.run([POMONA, "init", "--data", data, "--url", "https://mdm.example.org", "--store", cluster.url(pooler, database=name)], capture_output=True, text=True, timeout=120)
                expect(p.returncode == 1 and "POM-E0109" in p.stderr and "pool_mode=session" in p.stderr, f"{mode}: {p.returncode} {p.stderr}")
                equal(os.listdir(root), [], "what was made")
        equal(tables(name), [], "tables")


@case
def a_pooler_that_keeps_sessions():
    with place() as (cluster, name), Pooler(cluster, "session") as pooler, ClusterNode(cluster.url(pooler, database=name)) as node:
        device = node.enroll()
        node.cli("command", "send", device.udid, "DeviceInformation", 'Queries=["OSVersion"]')
        equal(device.run_commands(), [("DeviceInformation", "Acknowledged")], "a command")


@case
def nothing_of_pomona():
    """A server makes no database: where a setting is wrong, it would be an empty one."""
    with place() as (cluster, name), place() as (_, other), ClusterNode(cluster.url(database=name), push_cert=False) as node:
        node.stop()
        for url, shown in ((cluster.url(database=other), other), ("", "pomona.db")):
            node.store_url = url
            node.start(wait=False)
            code = node.process.wait(60)
            expect(code != 0 and "holds no data of Pomona" in node.logs() and shown in node.logs(), f"{code} {node.logs()}")
        equal(tables(other), [], "tables")
        expect(not os.path.exists(os.path.join(node.data, "pomona.db")), "a file was made")


if __name__ == "__main__":
    main()
