"""Bad days of APNs: goodbyes, resets, slowness, limits that change; and nghttpd, which nobody of ours has written."""
from lib.apns_peer import *


@case
def a_server_of_apns_that_goes_down():
    """GOAWAY with requests that it has not looked at: they go to another server at once."""
    def answer(apns, c, stream):
        if apns.connections == 1 and stream == 1:
            return
        if apns.connections == 1 and stream == 5:
            # 1 is still answered, 3 and 5 are not looked at.
            c.sendall(apns.frame(apns.GOAWAY, 0, (1).to_bytes(4, "big") + bytes(4) + b'{"reason":"Shutdown"}'))
            apns.respond(c, 1, 200)
        elif apns.connections > 1:
            apns.respond(c, stream, 200)
    with OddApns(answer) as apns, server(apns) as s:
        s.stop()
        fill(s, apns.topic, 3)
        s.start()
        eventually(lambda: [r["waiting"] for r in outbox(s)] == [1, 1, 1], "all three are sent")
        equal(apns.requests, 5, "requests")
        equal(s.metric('pomona_pushes_total{result="ok"}'), 3)
        equal([r["attempts"] for r in outbox(s)], [0, 0, 0])


@case
def limits_of_requests():
    for n, args in [(10, ["--streams", "1"]), (200, ["--streams", "100"]), (1500, ["--streams", "1000"]), (200, ["--streams", "1", "--streams-change", "0@300", "--streams-change", "100@800"])]:
        log = tempfile.mktemp(prefix="pomona-pushed-")
        with Apns("--quiet", "--log", log, "--delay-ms", "50", *args) as apns, server(apns, "--set", "push.per_second=0") as s:
            s.stop()
            tokens = fill(s, apns.topic, n)
            s.start()
            eventually(lambda: all(r["waiting"] for r in outbox(s)), f"{args}: all are sent")
            equal(pushed(log), collections.Counter({t.hex(): 1 for t in tokens}), f"{args}: each once")
            status = push_status(s)
            limit = 100 if len(args) > 2 else int(args[1])
            # The second connection may have been closed again, or may be young: then it has its first limit still.
            expect(status["connections"] <= 2 and (status["streams"] in (limit, 2 * limit) or len(args) > 2), f"{args}: {status}")
        os.unlink(log)


@case
def goodbyes_and_resets_by_chance():
    log = tempfile.mktemp(prefix="pomona-pushed-")
    with Apns("--quiet", "--log", log, "--delay-ms", "5", "--streams", "20", "--goaway", "2", "--reset", "5", "--abort", "1", "--seed", "7") as apns, server(apns, "--set", "push.per_second=0") as s:
        s.stop()
        tokens = fill(s, apns.topic, 150)
        s.start()
        # What was refused three times in a row is tried again after five seconds.
        eventually(lambda: all(r["waiting"] for r in outbox(s)), "all are sent in the end")
        got = pushed(log)
        equal(set(got), {t.hex() for t in tokens})
        # Which of those it got before it ended the connection it had looked at, cannot be known.
        expect(sum(got.values()) < 1500, f"{sum(got.values())} pushes")
    os.unlink(log)


@case
def slow_answers():
    with Apns("--delay-ms", "2000") as apns, server(apns) as s:
        s.stop()
        fill(s, apns.topic, 50)
        s.start()
        eventually(lambda: all(r["waiting"] for r in outbox(s)), "two seconds are no fault")
        equal(s.metric('pomona_pushes_total{result="ok"}'), 50)
        expect(not push_status(s)["error"], "no error")


@case
def nghttpd_as_apns():
    if not shutil.which("nghttpd"):
        raise Skip("no nghttpd here")
    with OddApns(None) as certificates:
        root = tempfile.mkdtemp(prefix="pomona-nghttpd-")
        port = free_port()
        process = subprocess.Popen(["nghttpd", "--verify-client", "-a", "127.0.0.1", "-d", root, str(port), os.path.join(certificates.dir, "server.pem"), os.path.join(certificates.dir, "server.pem")],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "SSL_CERT_FILE": os.path.join(certificates.dir, "root.pem")})
        certificates.port = port
        try:
            with server(certificates, "--set", "push.per_second=0") as s:
                s.stop()
                tokens = fill(s, TOPIC, 200)
                os.makedirs(os.path.join(root, "3/device"))
                # It answers 200 for files that are there, and 404 without a reason for others.
                for t in tokens[:150]:
                    pathlib.Path(root, "3/device", t.hex()).write_bytes(b"")
                s.start()
                eventually(lambda: all(r["waiting"] or r["attempts"] for r in outbox(s)), "all are answered")
                rows = outbox(s)
                equal((sum(r["waiting"] for r in rows), sum(r["attempts"] for r in rows)), (150, 50))
                equal(s.metric('pomona_pushes_total{result="ok"}'), 150)
                equal(s.metric('pomona_pushes_total{result="404"}'), 50)
        finally:
            process.terminate()
            process.wait(30)
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
