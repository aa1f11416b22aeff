"""Pushes of several nodes over one database: each goes out once, by whichever node."""
from lib.nodes import Clock
from lib.push_nodes import *


@case
def a_wave_goes_out_once_by_both():
    with two_nodes(rate=50) as (apns, log, a, b):
        tokens = fill(a, apns.topic, 500)
        wait_for("all are pushed", lambda: sum(pushed(log).values()) >= 500 and n_owed(a) == 0, 90)
        each_once(log, tokens)
        sent = [n_sent(a), n_sent(b)]
        expect(sum(sent) == 500 and min(sent) > 20, f"both had their part: {sent}")
        equal(n_claimed(a), 0, "claims that are left")
        # Both tell the same of the outbox, and each whose connections it tells of.
        equal([(push_status(n)["owed"], push_status(n)["waiting_for_devices"]) for n in (a, b)], [(0, 500)] * 2)
        equal([n.cli("push", "status")["node"] for n in (a, b)], ["first", "second"])
        expect("Each node has a pace of its own: 50 devices in a second" in run("push", "status", "--data", b.data), "said to people")


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
        each_once(log, tokens)


@case
def a_node_that_must_not_work():
    """By its clock what another one has claimed might be free."""
    with two_nodes() as (apns, log, a, b):
        clock = Clock(a)
        b.stop()
        c = a.node(env=clock.env)
        a.stop()
        clock.set(90)
        wait_for("it has seen that its clock is wrong", lambda: c.api("GET", "/readyz")[0] == 503, 60)
        tokens = fill(a, apns.topic, 20)
        # It would look each second.
        time.sleep(3)
        equal((n_claimed(a), len(pushed(log))), (0, 0), "what it has claimed and pushed")
        clock.set(0)
        wait_for("it works again", lambda: n_owed(a) == 0, 60)
        each_once(log, tokens)


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
