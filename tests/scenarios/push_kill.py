"""Owed pushes survive a kill: each device is pushed, and at most once more for each kill. POMONA_PUSHES=100000 makes it as large as a fleet."""
from lib.apns_peer import *

PUSHES = int(os.environ.get("POMONA_PUSHES", "4000"))
KILLS = 3


def n_owed(s):
    return s.sql("SELECT count(*) FROM push_outbox WHERE waiting = 0")[0][0]


@case
def owed_pushes_survive_kills():
    log = tempfile.mktemp(prefix="pomona-pushed-")
    rate = max(1000, PUSHES // 20)
    with Apns("--quiet", "--log", log, "--delay-ms", "50") as apns, server(apns, "--set", f"push.per_second={rate}") as s:
        s.stop()
        tokens = {t.hex() for t in fill(s, apns.topic, PUSHES)}
        for kill in range(1, KILLS + 1):
            s.start()
            # Killed while pushes are under way: some are answered and not written down yet.
            wait_for(f"kill {kill}", lambda: sum(pushed(log).values()) >= PUSHES * kill // (KILLS + 1), 120)
            s.stop(signal.SIGKILL)
        before = pushed(log)
        expect(n_owed(s) < PUSHES, "nothing was written down")
        s.start()
        wait_for("every device is pushed", lambda: n_owed(s) == 0, 240)
        got = pushed(log)
        equal(set(got), tokens, "the devices that were pushed")
        expect(max(got.values()) <= 1 + KILLS, f"pushes for one device: {max(got.values())}")
        twice = sum(n - 1 for n in got.values())
        # What was under way at a kill: at most what the line of requests and one transaction hold.
        expect(twice <= KILLS * 3000, f"{twice} pushes too many")
        print(f"# {PUSHES} owed, {KILLS} kills: {len(got)} devices pushed, {twice} of them once more, {sum(before.values())} pushes before the last start", flush=True)
        # Nothing more is due: they are waited for.
        equal(push_status(s)["waiting_for_devices"], PUSHES)
    os.unlink(log)


if __name__ == "__main__":
    main()
