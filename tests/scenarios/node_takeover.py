"""A node dies, or is stopped and goes on: another one takes over, and nothing is done twice."""
from lib.nodes import *


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
def a_node_that_is_back_goes_on():
    """A process that was killed and is started again on its data directory does not wait until its own leases have ended."""
    with server("first", "--set", "node.lease_seconds=300") as s:
        shared(s, "first")
        s.stop(signal.SIGKILL)
        s.start()
        shared(s, "first")
        equal(len(s.cli("node", "list")), 1, "nodes")


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


if __name__ == "__main__":
    main()
