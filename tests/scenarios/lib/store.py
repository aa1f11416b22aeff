"""The store of a server in the tests, on either engine: made, copied, read behind the server's back, thrown away.

POMONA_TEST_STORE says which engine: sqlite (the default) or postgres. With PostgreSQL each server has a database of its own in a cluster that
tests/with_postgres.sh starts; when nobody has, the scenario runs itself again under it."""
import atexit
import configparser
import contextlib
import hashlib
import itertools
import os
import pathlib
import secrets
import shutil
import sqlite3
import sys
import tempfile
import urllib.parse

ENGINE = os.environ.get("POMONA_TEST_STORE", "sqlite")
CLUSTER = os.environ.get("POMONA_TEST_POSTGRES")
WITH_POSTGRES = pathlib.Path(__file__).parents[2] / "with_postgres.sh"
if ENGINE not in ("sqlite", "postgres"):
    sys.exit(f"POMONA_TEST_STORE is sqlite or postgres, not {ENGINE}")


def need_cluster():
    """Gives this process a cluster when it has none: it begins again under tests/with_postgres.sh."""
    if ENGINE == "postgres" and not CLUSTER:
        os.execv(WITH_POSTGRES, [str(WITH_POSTGRES), sys.executable, *sys.argv])


def database_url(name):
    """The URL of a database of the cluster."""
    return CLUSTER.replace("/postgres?", f"/{name}?")


def connect(url):
    """A connection that commits each statement. The package is there only where PostgreSQL is."""
    import psycopg2
    connection = psycopg2.connect(url)
    connection.autocommit = True
    return connection


class Sqlite:
    """The database of a data directory. The server may be running."""

    def __init__(self, url):
        self.path = url.removeprefix("sqlite:")

    @contextlib.contextmanager
    def transaction(self):
        """EXECUTE(text, value…): the rows, or how many were changed; execute.many(text, rows). All of it or nothing."""
        with contextlib.closing(sqlite3.connect(self.path, timeout=60)) as db, db:
            def execute(text, *values):
                return answer(db.execute(text, values))
            execute.many = db.executemany
            yield execute

    def columns(self):
        """{table: [columns]}"""
        with self.transaction() as execute:
            return {t: [r[1] for r in execute(f"PRAGMA table_info({t})")] for (t,) in execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    def content(self):
        """All bytes on the disk."""
        return b"".join(p.read_bytes() for p in sorted(pathlib.Path(self.path).parent.glob(pathlib.Path(self.path).name + "*")))

    def remove(self):
        for p in pathlib.Path(self.path).parent.glob(pathlib.Path(self.path).name + "*"):
            p.unlink()


class Postgres:
    """A database of the cluster."""

    def __init__(self, url):
        self.url = url

    @contextlib.contextmanager
    def transaction(self):
        from psycopg2.extras import execute_batch
        with contextlib.closing(connect(self.url)) as db:
            db.autocommit = False
            with db, db.cursor() as cursor:
                def execute(text, *values):
                    cursor.execute(with_percent(text), values)
                    return answer(cursor)
                execute.many = lambda text, rows: execute_batch(cursor, with_percent(text), rows, 500)
                yield execute

    def columns(self):
        found = {}
        with self.transaction() as execute:
            for table, column in execute("SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position"):
                found.setdefault(table, []).append(column)
        return found

    def content(self):
        """All values, each as its bytes: the files belong to the engine."""
        def raw(value):
            return value if isinstance(value, bytes) else b"" if value is None else str(value).encode()
        with self.transaction() as execute:
            return b"\n".join(raw(value) for table in self.columns() for row in execute(f'SELECT * FROM "{table}"') for value in row)

    def remove(self):
        with contextlib.closing(connect(CLUSTER)) as db, db.cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')
        _databases.discard(self.name)

    @property
    def name(self):
        return urllib.parse.urlsplit(self.url).path.lstrip("/")


def with_percent(text):
    return text.replace("%", "%%").replace("?", "%s")


def answer(cursor):
    if cursor.description is None:
        return cursor.rowcount
    names = [d[0] for d in cursor.description]
    return [Row(names, (bytes(v) if isinstance(v, memoryview) else v for v in row)) for row in cursor.fetchall()]


class Row(tuple):
    """A tuple whose columns have names, too."""

    def __new__(cls, names, values):
        row = super().__new__(cls, values)
        row.names = names
        return row

    def dict(self):
        return dict(zip(self.names, self))


_databases = set()


def new_database(template=None):
    """The URL of a new database of the cluster, empty or a copy of the one at the URL TEMPLATE, which nobody has open. It goes when the process ends, if not before."""
    name = f"pomona_{os.getpid()}_{secrets.token_hex(4)}"
    like = f'TEMPLATE "{Postgres(template).name}"' if template else "TEMPLATE template0 ENCODING 'UTF8'"
    with contextlib.closing(connect(CLUSTER)) as db, db.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}" {like}')
    _databases.add(name)
    return database_url(name)


@atexit.register
def drop_databases():
    for name in list(_databases):
        with contextlib.suppress(Exception):
            Postgres(database_url(name)).remove()


# ---------------------------------------------------------------- data directories

def conf_of(data):
    conf = configparser.ConfigParser(interpolation=None)
    conf.optionxform = str
    conf.read(os.path.join(data, "pomona.conf"))
    return conf


def store_of(data):
    """The store of a data directory, as its settings say."""
    url = conf_of(data).get("store", "url", fallback="") or "sqlite:" + os.path.join(data, "pomona.db")
    return Sqlite(url) if url.startswith("sqlite:") else Postgres(url)


def set_conf(data, section, **values):
    """Changes settings in pomona.conf, and leaves the rest as it is."""
    path = os.path.join(data, "pomona.conf")
    lines = pathlib.Path(path).read_text().splitlines()
    if f"[{section}]" not in lines:
        lines += ["", f"[{section}]"]
    first = lines.index(f"[{section}]") + 1
    end = next((i for i in range(first, len(lines)) if lines[i].startswith("[")), len(lines))
    kept = [line for line in lines[first:end] if line.partition("=")[0].strip() not in values]
    lines[first:end] = [f"{key}={value}" for key, value in values.items()] + kept
    pathlib.Path(path).write_text("\n".join(lines) + "\n")


def shared_folder():
    """Where processes of one run keep what takes long to make: POMONA_TEST_CACHE, or a folder of this process alone."""
    if "POMONA_TEST_CACHE" not in os.environ:
        os.environ["POMONA_TEST_CACHE"] = made = tempfile.mkdtemp(prefix="pomona-cache-")
        # Children that are forked end with os._exit, or leave it to their parent.
        atexit.register(lambda pid: os.getpid() == pid and shutil.rmtree(made, ignore_errors=True), os.getpid())
    return os.environ["POMONA_TEST_CACHE"]


class Templates:
    """Data directories as `pomona init` makes them, kept for others to be copied from: making the keys of a CA takes longer than most cases. Each has keys of its own, and
    in one process serves one server at a time, so that two servers that run side by side are as different as servers are."""

    def __init__(self, init):
        self.init, self.busy = init, set()

    def take(self, *args):
        """A template that this process does not use, made with the arguments ARGS of init: its path."""
        name = f"{ENGINE}-{hashlib.sha256(repr((CLUSTER, args)).encode()).hexdigest()[:16]}"
        for i in itertools.count():
            data = os.path.join(shared_folder(), f"{name}-{i}")
            if data not in self.busy:
                break
        self.busy.add(data)
        if not os.path.exists(data):
            self.make(data, *args)
        return data

    def make(self, data, *args):
        making = f"{data}.{os.getpid()}"
        self.init(making, *args)
        try:
            os.rename(making, data)
            # It stays for the other processes of this run, and goes with the cluster.
            _databases.discard(getattr(store_of(data), "name", None))
        except OSError:
            # Another process was faster.
            store_of(making).remove()
            shutil.rmtree(making)

    def give(self, data):
        self.busy.discard(data)


def copy_data(source, data, url):
    """A data directory for URL like SOURCE, which nobody uses, with a store of its own."""
    shutil.copytree(source, data)
    store = store_of(source)
    if isinstance(store, Postgres):
        set_conf(data, "store", url=new_database(store.url))
    set_conf(data, "server", url=url)
    with store_of(data).transaction() as execute:
        execute("UPDATE setting SET value = ? WHERE name = 'public_url'", url)
