"""APNs is away: refused, hanging, silent, ending every connection. Nothing is lost, nothing goes twice for the same need, and the end of it is no storm."""
from lib.apns_peer import *

RATE, PUSHES = 100, 300


def outage(bad, error):
    """An APNs that is BAD (arguments; None: not there) until the error is seen, and then well."""
    log = tempfile.mktemp(prefix="pomona-pushed-")
    with Apns("--quiet", *(bad or [])) as apns, server(apns, "--set", f"push.per_second={RATE}") as s:
        s.stop()
        tokens = fill(s, apns.topic, PUSHES)
        if bad is None:
            apns.stop()
        s.start()
        # A wave that is owed for long does not become a burst.
        eventually(lambda: push_status(s)["error"] and push_status(s)["error"]["id"] in error, f"{bad}: it is seen", 120)
        status = push_status(s)
        equal((status["owed"], status["waiting_for_devices"]), (PUSHES, 0), f"{bad}")
        expect(all(r["attempts"] == 0 for r in outbox(s)), "that APNs is away is no fault of the pushes")
        if apns.process.poll() is None:
            apns.stop()
        apns.args = ["--quiet", "--log", log]
        apns.start(apns.port)
        s.cli("push", "resume")
        started = time.time()
        eventually(lambda: sum(pushed(log).values()) >= PUSHES, f"{bad}: all are pushed in the end", 120)
        took = time.time() - started
        expect(took > PUSHES / RATE * 0.6, f"{bad}: {PUSHES} pushes in {took} s are a storm")
        eventually(lambda: all(r["waiting"] for r in outbox(s)), "and written down")
        equal(pushed(log), collections.Counter({t.hex(): 1 for t in tokens}), f"{bad}: each once")
        expect(push_status(s)["error"] is None, "the error is over")
    os.unlink(log)


@case
def refused():
    outage(None, ["POM-E6001"])


@case
def every_connection_is_ended():
    outage(["--abort", "100"], ["POM-E6001", "POM-E6002"])


@case
def hanging_and_silent():
    """Both take their time to be seen: a handshake, answers that are overdue and a PING."""
    failed = []

    def run(bad):
        try:
            outage(bad, ["POM-E6048"])
        except BaseException as e:
            failed.append(e)
    threads = [threading.Thread(target=run, args=([bad],)) for bad in ("--hang", "--silent")]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failed:
        raise failed[0]


def push_thread_cpu(s):
    """Seconds of CPU that the thread of pushes has used."""
    for task in pathlib.Path(f"/proc/{s.process.pid}/task").iterdir():
        if (task / "comm").read_text().strip() == "push":
            fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    raise AssertionError("no thread of pushes")


@case
def a_store_that_does_not_take_outcomes():
    """It is told once, tried each second, and not otherwise waited for; what was answered is written when it can be."""
    log = tempfile.mktemp(prefix="pomona-pushed-")
    with Apns("--quiet", "--log", log) as apns, server(apns) as s:
        devices = [s.enroll() for _ in range(2)]
        if store.ENGINE == "postgres":
            refuse, allow = "ALTER TABLE push_outbox ADD CONSTRAINT nothing_sent CHECK (waiting = 0)", "ALTER TABLE push_outbox DROP CONSTRAINT nothing_sent"
        else:
            refuse, allow = "CREATE TRIGGER nothing_sent BEFORE UPDATE ON push_outbox WHEN new.waiting = 1 BEGIN SELECT raise(ABORT, 'nothing'); END", "DROP TRIGGER nothing_sent"
        s.sql(refuse)
        for d in devices:
            s.cli("command", "send", d.udid, "ProfileList")
        wait_for("it is told", lambda: "outcomes of pushes could not be written" in s.logs(), 60)
        before = push_thread_cpu(s)
        time.sleep(4)
        used = push_thread_cpu(s) - before
        expect(used < 0.2, f"{used} s of CPU in 4 s of waiting")
        equal(s.logs().count("could not be written"), 1, "lines in the log")
        s.sql(allow)
        eventually(lambda: all(row["waiting"] for row in outbox(s)), "it is written when it can be")
        eventually(lambda: "the outbox of pushes can be used again" in s.logs(), "and told")
        expect(max(pushed(log).values()) == 1, f"{pushed(log)}")
    os.unlink(log)


if __name__ == "__main__":
    main()
