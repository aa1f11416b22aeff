"""What one node cannot send any more another one does: when it dies, is stopped, or loses its way to APNs."""
from lib.push_nodes import *


@case
def nodes_that_die_and_nodes_that_are_stopped():
    with two_nodes(apns_args=["--delay-ms", "300"], rate=80) as (apns, log, a, b), contextlib.ExitStack() as after:
        c = a.node()
        after.callback(lambda: b.process.send_signal(signal.SIGCONT))
        tokens = fill(a, apns.topic, 800)
        wait_for("all nodes push", lambda: min(n_sent(n) for n in (a, b, c)) >= 10, 60)
        b.process.send_signal(signal.SIGSTOP)
        a.stop(signal.SIGKILL)
        # Only what had been sent, and not been written down, may go out again.
        owed, seen = owed_tokens(c, tokens), sum(pushed(log).values())
        wait_for("APNs has read on", lambda: sum(pushed(log).values()) >= seen + 20, 30)
        under_way = owed & set(pushed(log))
        wait_for("the third one sends the rest", lambda: n_owed(c) == 0, TAKEN_OVER)
        got = pushed(log)
        expect(set(got) == {t.hex() for t in tokens}, f"{len(got)} devices were pushed")
        twice = {t for t, n in got.items() if n > 1}
        expect(twice <= under_way and max(got.values()) <= 2, f"{len(twice - under_way)} were pushed again without need; pushes of one device: {max(got.values())}")
        print(f"# {len(tokens)} devices, two of three nodes went: {len(twice)} pushed once more", flush=True)
        # What the stopped node writes now changes nothing, and what it still had to send it does not send; and it has its part in what comes then.
        before = outbox_rows(c)
        c.stop()
        b.process.send_signal(signal.SIGCONT)
        more = fill(a, apns.topic, 20, first=len(tokens))
        wait_for("it pushes again", lambda: n_owed(b) == 0, 60)
        wait_for("it has taken the answers that it had waited for", lambda: (s := push_status(b))["in_flight"] == 0 and s["queued"] == 0, 60)
        same({key: row for key, row in outbox_rows(b).items() if key in before}, before, "the outbox after it")
        same(pushed(log), got + collections.Counter({t.hex(): 1 for t in more}), "pushes after it")


@case
def a_node_whose_way_to_apns_is_cut():
    with contextlib.ExitStack() as stack, pushes_log() as other_log:
        def other(apns):
            return stack.enter_context(Apns("--quiet", "--log", other_log, dir=shutil.copytree(apns.dir, tempfile.mktemp(prefix="pomona-apns-"))))
        apns, log, a, b = stack.enter_context(two_nodes(rate=50, lease=240, other=other))
        tokens = fill(a, apns.topic, 300)
        wait_for("both push", lambda: pushed(log) and pushed(other_log), 60)
        apns.stop()
        owed = owed_tokens(a, tokens)
        # Given back, and not only when the time of its claims is over.
        wait_for("all are pushed over the way that is left", lambda: n_owed(b) == 0, 60)
        got = pushed(log) + pushed(other_log)
        expect(set(got) == {t.hex() for t in tokens}, f"{len(got)} devices were pushed")
        twice = {t for t, n in got.items() if n > 1}
        print(f"# {len(tokens)} devices, {sum(pushed(log).values())} over the way that was cut: {len(twice)} pushed once more", flush=True)
        expect(twice <= owed & set(pushed(log)), f"{len(twice)} were pushed again")
        expect(all(row["attempts"] == 0 for row in outbox(a)), "that APNs is away is no fault of the pushes")
        # What comes by the node that cannot send waits for none of its tries.
        device = a.enroll()
        for n in (1, 2, 3):
            a.cli("device", "push", device.udid)
            wait_for("the push by the other node", lambda: pushed(other_log)[device.token.hex()] == n, 60)
        wait_for("what is wrong is told where it is", lambda: push_status(a)["error"], 30)
        equal(push_status(b)["error"], None, "the error of the other one")


if __name__ == "__main__":
    main()
