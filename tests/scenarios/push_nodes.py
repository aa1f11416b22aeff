"""Pushes of several nodes over one database: each goes out once, and what one node cannot send another one does."""
from lib.apns_peer import *

# How long a node has what it has claimed, and some more for a machine that is busy.
TAKEN_OVER = 15 + 45


@contextlib.contextmanager
def two_nodes(apns_args=(), rate=100, other=None):
    """(APNs, its log, first node, another one, which may have OTHER (a copy of the first APNs) for APNs), both ready."""
    with pushes_log() as log, Apns("--quiet", "--log", log, *apns_args) as apns, server(apns, "--set", f"push.per_second={rate}", "--set", "node.lease_seconds=15", "--set", "node.name=first") as a:
        yield apns, log, a, a.node("--set", "node.name=second", *(other(apns).server_args() if other else []))


@contextlib.contextmanager
def pushes_log():
    path = tempfile.mktemp(prefix="pomona-pushed-")
    yield path
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def n_sent(node):
    return node.metric('pomona_pushes_total{result="ok"}')


def n_owed(s):
    return s.sql("SELECT count(*) FROM push_outbox WHERE waiting = 0")[0][0]


def n_claimed(s):
    return s.sql("SELECT count(*) FROM push_outbox WHERE claim <> ''")[0][0]


def owed_tokens(s, tokens):
    """Of the devices that `fill` has made: those whose push is not written down as sent."""
    return {tokens[int(row[0].split("-")[-1], 16)].hex() for row in s.sql("SELECT enrollment_id FROM push_outbox WHERE waiting = 0")}


@case
def a_wave_goes_out_once_by_both():
    with two_nodes() as (apns, log, a, b):
        tokens = fill(a, apns.topic, 500)
        wait_for("all are pushed", lambda: sum(pushed(log).values()) >= 500 and n_owed(a) == 0, 90)
        equal(pushed(log), collections.Counter({t.hex(): 1 for t in tokens}), "each device once")
        sent = [n_sent(a), n_sent(b)]
        expect(sum(sent) == 500 and min(sent) > 50, f"both had their part: {sent}")
        equal(n_claimed(a), 0, "claims that are left")
        # Both tell the same of the outbox, and each whose connections it tells of.
        equal([(push_status(n)["owed"], push_status(n)["waiting_for_devices"]) for n in (a, b)], [(0, 500)] * 2)
        equal([n.cli("push", "status")["node"] for n in (a, b)], ["first", "second"])


@case
def nodes_that_die_and_nodes_that_are_stopped():
    with two_nodes(apns_args=["--delay-ms", "300"]) as (apns, log, a, b), contextlib.ExitStack() as after:
        c = a.node()
        after.callback(lambda: b.process.send_signal(signal.SIGCONT))
        tokens = fill(a, apns.topic, 600)
        wait_for("all nodes push", lambda: min(n_sent(n) for n in (a, b, c)) >= 20, 60)
        b.process.send_signal(signal.SIGSTOP)
        a.stop(signal.SIGKILL)
        # Only what had been sent, and not been written down, may go out again.
        owed, seen = owed_tokens(c, tokens), sum(pushed(log).values())
        wait_for("APNs has read on", lambda: sum(pushed(log).values()) >= seen + 20, 30)
        under_way = owed & set(pushed(log))
        wait_for("the third one sends the rest", lambda: n_owed(c) == 0, TAKEN_OVER)
        got = pushed(log)
        equal(set(got), {t.hex() for t in tokens}, "the devices that were pushed")
        twice = {t for t, n in got.items() if n > 1}
        expect(twice <= under_way and max(got.values()) == 2, f"{len(twice - under_way)} were pushed again without need; pushes of one device: {max(got.values())}")
        print(f"# {len(tokens)} devices, two of three nodes went: {len(twice)} pushed once more", flush=True)
        # What the stopped node writes now changes nothing, and what it still had to send it does not send.
        before = outbox(c)
        b.process.send_signal(signal.SIGCONT)
        wait_for("it has taken the answers that it had waited for", lambda: (s := push_status(b))["in_flight"] == 0 and s["queued"] == 0, 60)
        equal(outbox(c), before, "the outbox after it")
        equal(pushed(log), got, "pushes after it")
        # And it has its part in what comes then.
        c.stop()
        more = fill(a, apns.topic, 20, first=len(tokens))
        wait_for("it pushes again", lambda: n_owed(b) == 0, 60)
        equal({t: pushed(log)[t] for t in (t.hex() for t in more)}, {t.hex(): 1 for t in more}, "each once")


@case
def a_node_that_ends_gives_back():
    with two_nodes(apns_args=["--delay-ms", "1000"], rate=40) as (apns, log, a, b):
        b.stop()
        tokens = fill(a, apns.topic, 200)
        wait_for("it pushes", lambda: n_sent(a) >= 20, 60)
        expect(n_claimed(a) > 0, "it has claimed what it sends")
        a.stop()
        equal(n_claimed(a), 0, "claims that are left")
        # Another one goes on where it ended, and none goes twice.
        b.start()
        wait_for("the other one sends the rest", lambda: n_owed(b) == 0, 60)
        equal(pushed(log), collections.Counter({t.hex(): 1 for t in tokens}), "each device once")


@case
def a_node_whose_way_to_apns_is_cut():
    with contextlib.ExitStack() as stack, pushes_log() as other_log:
        def other(apns):
            return stack.enter_context(Apns("--quiet", "--log", other_log, dir=shutil.copytree(apns.dir, tempfile.mktemp(prefix="pomona-apns-"))))
        apns, log, a, b = stack.enter_context(two_nodes(other=other))
        tokens = fill(a, apns.topic, 400)
        wait_for("both push", lambda: pushed(log) and pushed(other_log), 60)
        apns.stop()
        owed = owed_tokens(a, tokens)
        wait_for("all are pushed over the way that is left", lambda: n_owed(b) == 0, 60)
        got = pushed(log) + pushed(other_log)
        equal(set(got), {t.hex() for t in tokens}, "the devices that were pushed")
        twice = {t for t, n in got.items() if n > 1}
        print(f"# {len(tokens)} devices, {sum(pushed(log).values())} over the way that was cut: {len(twice)} pushed once more", flush=True)
        expect(twice <= owed & set(pushed(log)), f"{len(twice)} were pushed again")
        expect(all(row["attempts"] == 0 for row in outbox(a)), "that APNs is away is no fault of the pushes")
        # What comes by the node that cannot send waits for none of its tries.
        device = a.enroll()
        for n in (1, 2, 3):
            a.cli("device", "push", device.udid)
            wait_for("the push by the other node", lambda: pushed(other_log)[device.token.hex()] == n, 12)
        wait_for("what is wrong is told where it is", lambda: push_status(a)["error"], 30)
        equal(push_status(b)["error"], None, "the error of the other one")


@case
def a_node_that_must_not_work():
    """Here because another one has migrated the database; a wrong clock is the same to pushes."""
    with two_nodes() as (apns, log, a, b):
        b.stop()
        newest = a.sql("SELECT max(version) FROM pomona_schema")[0][0]
        a.sql("UPDATE pomona_schema SET version = ?", newest + 1)
        wait_for("it has seen that", lambda: a.api("GET", "/readyz")[0] == 503, 60)
        fill(a, apns.topic, 20)
        # It looks each second.
        time.sleep(3)
        equal((n_claimed(a), pushed(log)), (0, collections.Counter()), "what it has claimed and pushed")
        a.sql("UPDATE pomona_schema SET version = ?", newest)
        wait_for("it works again", lambda: n_owed(a) == 0, 60)


@case
def push_certificates_come_and_go_everywhere():
    def answer(apns, c, stream):
        apns.respond(c, stream, 200)
    def named(name):
        key = rsa_key()
        subject = x509.Name([x509.NameAttribute(x509.NameOID.USER_ID, TOPIC), x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        return self_signed(key, subject).public_bytes(serialization.Encoding.PEM) + pem_key(key)
    # The names differ, so that the other side finds the root of each.
    first, renewed = named("APSP:first"), named("APSP:renewed")
    with OddApns(answer) as near, OddApns(answer, clients=first + renewed) as far:
        pathlib.Path(near.dir, "push.pem").write_bytes(first)
        come_and_go(near, far, renewed)


def come_and_go(near, far, renewed):
    with server(near) as a:
        b = a.node(*far.server_args())
        device = a.enroll()

        def push(): return b.cli("device", "push", device.udid)
        wait_for("the other node pushes", lambda: push() and far.requests, 60)
        # Renewed at one node, it is used by the other one.
        path = os.path.join(a.root, "renewed.pem")
        pathlib.Path(path).write_bytes(renewed)
        a.cli("push-cert", "import", path)
        wait_for("the other node uses the new one", lambda: push() and der(load_pem(renewed)) in far.peers, 60)
        # Another topic, and its end.
        pathlib.Path(path).write_bytes(push_cert(TOPIC[:-1] + "7"))
        a.cli("push-cert", "import", path, "--force")
        wait_for("the other node knows the new topic", lambda: len(b.cli("push", "status")["items"]) == 2, 30)
        a.cli("push-cert", "remove", TOPIC[:-1] + "7")
        wait_for("the other node has dropped it", lambda: len(b.cli("push", "status")["items"]) == 1, 30)


if __name__ == "__main__":
    main()
