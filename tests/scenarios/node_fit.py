"""Nodes that do not fit to their database or to the others are refused, and say why."""
from lib.nodes import *


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


@case
def a_wrong_clock():
    with server() as s:
        clock = Clock(s)
        node = another(s, env=clock.env, start=False)
        for seconds, text in ((60, "ahead of"), (-60, "behind")):
            clock.set(seconds)
            text = not_started(node, f"{text} that of the database")
            expect("POM-E0110" in text, text)
        # Off by a little is fine.
        clock.set(2)
        node.start()
        shared(s, "first", "second")
        expect(1000 < nodes(s)["second"]["clock_ms"] < 3500, f"its clock: {nodes(s)['second']}")
        equal(ready(node), (200, None), "ready")
        # It goes wrong while the node serves, and is mended.
        clock.set(90)
        wait_for("it is not ready", lambda: ready(node) == (503, "POM-E0110"), 60)
        equal(shared(s, "first")["first"], JOBS, "the other one does all")
        found = nodes(s)["second"]
        expect(found["state"] == "idle" and "ahead of" in found["trouble"], f"{found}")
        equal(node.api("GET", "/healthz")[0], 200, "it lives")
        equal(ready(s), (200, None), "the other one is ready")
        clock.set(0)
        wait_for("it is ready again", lambda: ready(node) == (200, None), 60)
        shared(s, "first", "second")


@case
def clocks_of_two_nodes():
    """Each is near enough to the database, but not to the other: the one that is farther off gives way."""
    with server() as s:
        clocks = Clock(s, "near"), Clock(s, "far")
        clocks[0].set(2)
        clocks[1].set(-4)
        near = another(s, "near", env=clocks[0].env)
        s.stop()
        shared(near, "near")
        far = another(s, "far", env=clocks[1].env, start=False)
        not_started(far, "behind that of node near")
        clocks[1].set(-1)
        far.start()
        shared(near, "near", "far")
        # Now it is the first one that is farther off.
        clocks[0].set(4)
        clocks[1].set(-2)
        wait_for("it has given way", lambda: ready(near) == (503, "POM-E0110"), 60)
        equal(ready(far), (200, None), "the other one")
        shared(far, "far")


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
        wait_for("it is ready again", lambda: ready(s) == (200, None), 60)
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


@case
def a_standby():
    """Of a database that only follows another one nothing can be served."""
    from lib.postgres import ClusterNode, Postgres
    with Postgres(max_wal_senders="4") as primary:
        primary.create()
        with Postgres(standby_of=primary) as standby, ClusterNode(primary.url(), start=False) as node:
            node.store_url = standby.url()
            text = not_started(node, "POM-E0109")
            expect("standby" in text or "only for reading" in text, text)


if __name__ == "__main__":
    main()
