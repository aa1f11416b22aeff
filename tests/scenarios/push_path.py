"""A path that is dead, and one that is only slow: PING tells them apart. Both take about twenty seconds, so they are looked at together."""
from lib.apns_peer import *


def dead():
    """The connection rests; then its other end is gone without a word."""
    with Apns("--quiet", "--delay-ms", "1") as apns, server(apns) as s:
        d = s.enroll()
        s.cli("device", "push", d.udid)
        eventually(lambda: s.metric('pomona_pushes_total{result="ok"}') == 1, "it works")
        apns.process.send_signal(signal.SIGSTOP)
        try:
            s.cli("device", "push", d.udid)
            eventually(lambda: push_status(s)["error"] and push_status(s)["error"]["id"] == "POM-E6048", "it is found", 120)
        finally:
            apns.process.send_signal(signal.SIGCONT)
        s.cli("push", "resume")
        eventually(lambda: s.metric('pomona_pushes_total{result="ok"}') == 2 and not outbox(s), "and the push goes out over another")


def slow():
    """No push is answered for seventeen seconds, but a PING is: the connection is left alone."""
    with Apns("--quiet", "--delay-ms", "17000") as apns, server(apns) as s:
        s.cli("device", "push", s.enroll().udid)
        eventually(lambda: s.metric('pomona_pushes_total{result="ok"}') == 1, "it is answered", 180)
        expect("POM-E6048" not in s.logs() and not push_status(s)["error"], "it was taken for dead")


@case
def dead_and_slow_paths():
    failed = []

    def run(which):
        try:
            which()
        except BaseException as e:
            failed.append(e)
    threads = [threading.Thread(target=run, args=(which,)) for which in (dead, slow)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failed:
        raise failed[0]


if __name__ == "__main__":
    main()
