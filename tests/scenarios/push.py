"""Pushes: from a queued command over HTTP/2 to the device that waits."""
from lib.apns_peer import *


@case
def a_command_wakes_its_device():
    with Apns() as apns, server(apns) as s:
        d = s.enroll()
        lines = apns.waiting(d.token)
        s.cli("command", "send", d.udid, "ProfileList")
        equal(json.loads(lines.readline().split(" ", 1)[1]), {"mdm": d.magic}, "the push")
        eventually(lambda: s.metric('pomona_pushes_total{result="ok"}') == 1, "the push is counted")
        s.cli("device", "push", d.udid)
        expect(lines.readline(), "a push by hand")
        # The token has changed: the next push goes to the new one.
        d.token, d.magic = secrets.token_bytes(48), "new \"magic\" \\ with quotes"
        equal(d.token_update()[0], 200)
        fresh = apns.waiting(d.token)
        s.cli("device", "push", d.udid)
        equal(json.loads(fresh.readline().split(" ", 1)[1]), {"mdm": d.magic})


@case
def equal_tokens_of_two_devices():
    with Apns() as apns, server(apns) as s:
        a, b = s.enroll(), Device(s)
        b.token = a.token
        b.enroll(s.link())
        lines = apns.waiting(a.token)
        for d in (a, b):
            s.cli("device", "push", d.udid)
        equal({json.loads(lines.readline().split(" ", 1)[1])["mdm"] for _ in range(2)}, {a.magic, b.magic})


@case
def a_dead_token_is_left_alone():
    with Apns("--fail", "*=Unregistered") as apns, server(apns) as s:
        d = s.enroll()
        s.cli("device", "push", d.udid)
        eventually(lambda: s.cli("device", "show", d.udid)["push_token_dead_since"], "410 marks the token dead")
        pushes = s.metric('pomona_pushes_total{result="Unregistered"}')
        equal(push_status(s)["dead_tokens"], 1)
        s.cli("device", "push", d.udid)
        eventually(lambda: not outbox(s), "the wish is let go")
        equal(s.metric('pomona_pushes_total{result="Unregistered"}'), pushes, "pushes to a dead token")
        event = [e for e in s.cli("device", "timeline", d.udid) if e["kind"] == "PushTokenDead"]
        expect(len(event) == 1 and "Unregistered" in event[0]["detail"] and "apns-id" in event[0]["detail"], f"{event}")
        equal(d.token_update()[0], 200)
        equal(s.cli("device", "show", d.udid)["push_token_dead_since"], None, "TokenUpdate revives it")


@case
def nothing_is_lost_while_apns_is_away():
    with Apns() as apns, server(apns) as s:
        devices = [s.enroll() for _ in range(3)]
        out = apns.stop()
        for d in devices:
            s.cli("command", "send", d.udid, "ProfileList")
        eventually(lambda: push_status(s)["error"], "the server has tried")
        s.stop(signal.SIGKILL)
        for d in devices:
            d.connection = None
        port = apns.port
        apns.start(port)
        lines = [apns.waiting(d.token) for d in devices]
        s.start()
        for line, d in zip(lines, devices):
            equal(json.loads(line.readline().split(" ", 1)[1]), {"mdm": d.magic})


@case
def refusals_of_apns():
    for reason, again in [("InternalServerError", True), ("TooManyRequests", True), ("BadCertificate", True), ("PayloadEmpty", True)]:
        with Apns("--fail", f"*={reason}") as apns, server(apns) as s:
            d = s.enroll()
            s.cli("device", "push", d.udid)
            name = f'pomona_pushes_total{{result="{reason}"}}'
            eventually(lambda: s.metric(name) == 1, f"{reason} is counted")
            expect(f"reason={reason}" in s.logs(), "and logged")
            eventually(lambda: [(r["attempts"], r["waiting"]) for r in outbox(s)] == ([(1, 0)] if again else []), f"outbox after {reason}")


@case
def not_now_is_pushed_again():
    with Apns() as apns, server(apns) as s:
        d = s.enroll()
        uuid = s.cli("command", "send", d.udid, "ProfileList")["command_uuid"]
        equal(d.idle()[1]["CommandUUID"], uuid)
        equal(d.report(uuid, "NotNow"), (200, b""))
        equal(s.cli("command", "show", uuid)["status"], "NotNow")
        s.stop()
        rows = outbox(s)
        # On a machine that is very busy this may be looked at late.
        expect(len(rows) == 1 and -60 < rows[0]["due_at"] / 1000 - time.time() < 150 and not rows[0]["waiting"], f"a push in about two minutes: {rows}")


@case
def a_push_asked_for_while_one_is_under_way():
    with Apns("--delay-ms", "1000") as apns, server(apns) as s:
        d = s.enroll()
        s.cli("device", "push", d.udid)
        eventually(lambda: push_status(s)["in_flight"] == 1 or s.metric('pomona_pushes_total{result="ok"}'), "it is under way")
        s.cli("device", "push", d.udid)
        eventually(lambda: s.metric('pomona_pushes_total{result="ok"}') == 2, "the second push waits for something else to happen")


@case
def an_apns_that_hangs_up():
    def goodbye(apns, c, stream):
        c.sendall(apns.frame(apns.GOAWAY, 0, bytes(8)))
        c.close()
    with OddApns(goodbye) as apns, server(apns) as s:
        d = s.enroll()
        s.cli("device", "push", d.udid)
        eventually(lambda: apns.connections >= 2, "it tries again")
        started = time.time()
        first = apns.connections
        time.sleep(4)
        # Half a second, then twice as long each time, less a quarter.
        expect(apns.connections - first <= 1 + (time.time() - started) / 0.75, f"{apns.connections - first} connections in four seconds")
        expect(push_status(s)["error"]["id"] == "POM-E6001", "what is wrong is shown")


@case
def an_apns_that_resets_streams():
    with OddApns(lambda apns, c, stream: c.sendall(apns.frame(apns.RST_STREAM, stream, bytes([0, 0, 0, 7])))) as apns, server(apns) as s:
        d = s.enroll()
        s.cli("device", "push", d.udid)
        eventually(lambda: s.metric('pomona_pushes_total{result="reset"}') == 1, "the push goes back to the outbox")
        eventually(lambda: [r["attempts"] for r in outbox(s)] == [1], "the outbox knows")
        equal(apns.requests, 3, "requests for one push")


@case
def a_window_too_small_for_a_push():
    # SETTINGS_INITIAL_WINDOW_SIZE 10
    with OddApns(lambda apns, c, stream: apns.respond(c, stream, 200), bytes([0, 4, 0, 0, 0, 10])) as apns, server(apns) as s:
        d = s.enroll()
        # The first may be on its way before the setting is known.
        for n in (1, 2):
            s.cli("device", "push", d.udid)
            eventually(lambda: s.metric('pomona_pushes_total{result="ok"}') == n, "the push is sent in parts")
        equal(([json.loads(b) for b in apns.bodies], apns.requests), ([{"mdm": d.magic}] * 2, 2))


@case
def a_refused_topic_waits():
    # SETTINGS_MAX_CONCURRENT_STREAMS 1
    with OddApns(lambda apns, c, stream: apns.respond(c, stream, 403, "BadCertificate"), bytes([0, 3, 0, 0, 0, 1])) as apns, server(apns) as s:
        devices = [s.enroll() for _ in range(5)]
        for d in devices:
            s.cli("device", "push", d.udid)
        eventually(lambda: push_status(s)["state"] == "stopped", "the topic stops")
        time.sleep(1)
        expect(1 <= apns.requests <= 2, f"{apns.requests} pushes with a certificate that was refused")
        status = push_status(s)
        equal((status["error"]["id"], status["error"]["reason"]), ("POM-E6046", "BadCertificate"))
        expect("identity.apple.com" in status["error"]["text"] and status["paused_until"], f"{status}")
        equal(s.metric(f'pomona_push_stopped{{topic="{status["topic"]}"}}'), 1)
        expect(status["owed"] == 5, f"nothing is lost: {status}")


@case
def a_push_is_owed_until_the_device_comes():
    with Apns() as apns, server(apns) as s:
        d = s.enroll()
        uuid = s.cli("command", "send", d.udid, "ProfileList")["command_uuid"]
        eventually(lambda: [r["waiting"] for r in outbox(s)] == [1], "APNs has it, the device is waited for")
        row = outbox(s)[0]
        expect(4 * 60 < (row["due_at"] - row["sent_at"]) / 1000 <= 6.3 * 60, f"pushed again in about five minutes: {row}")
        eventually(lambda: push_status(s)["waiting_for_devices"] == 1, "and shown")
        # Killed and started again, it is still waited for, and not pushed before its time.
        s.stop(signal.SIGKILL)
        d.connection = None
        s.start()
        equal(d.idle()[1]["CommandUUID"], uuid)
        equal(len(outbox(s)), 1, "it has come, but not answered yet")
        equal(d.report(uuid, "Acknowledged"), (200, b""))
        equal(outbox(s), [], "settled")
        equal(s.metric('pomona_pushes_total{result="ok"}'), 0, "pushes after the restart")
        # A device that comes by itself while its push is owed needs none.
        apns.stop()
        uuid = s.cli("command", "send", d.udid, "ProfileList")["command_uuid"]
        equal(d.idle()[1]["CommandUUID"], uuid)
        equal(d.report(uuid, "Acknowledged"), (200, b""))
        equal(outbox(s), [])


@case
def a_silent_device_is_pushed_again():
    with Apns() as apns, server(apns) as s:
        d = s.enroll()
        lines = apns.waiting(d.token)
        s.cli("command", "send", d.udid, "ProfileList")
        expect(lines.readline(), "the first push")
        for n in (1, 2, 3):
            eventually(lambda: [(r["waiting"], r["n_sent"]) for r in outbox(s)] == [(1, n)], f"push {n} is written down")
            row = outbox(s)[0]
            # Minutes pass.
            with s.stopped() as execute:
                execute("UPDATE push_outbox SET due_at = ?, sent_at = sent_at - 300000", int(time.time() * 1000))
            d.connection = None
            expect(lines.readline(), f"push {n + 1}")
            eventually(lambda: [(r["waiting"], r["n_sent"]) for r in outbox(s)] == [(1, n + 1)], "and the next is planned")
            later = outbox(s)[0]
            expect(later["due_at"] - later["sent_at"] > 2 * (row["due_at"] - row["sent_at"]), "with growing delay")
        events = [e for e in s.cli("device", "timeline", d.udid) if e["kind"] == "PushSent"]
        expect(len(events) == 1 and "push 4" in events[0]["detail"] and "apns-id" in events[0]["detail"], f"one line that says so: {events}")
        # Its commands are gone: nothing is left to push for.
        s.cli("command", "cancel", s.cli("command", "list", d.udid)[0]["command_uuid"])
        with s.stopped() as execute:
            execute("UPDATE push_outbox SET due_at = ?", int(time.time() * 1000))
        eventually(lambda: not outbox(s), "the wish is let go")
        equal(s.metric('pomona_pushes_total{result="ok"}'), 0)


@case
def many_commands_make_few_pushes():
    with Apns() as apns, server(apns) as s:
        d = s.enroll()
        for _ in range(10):
            s.cli("command", "send", d.udid, "ProfileList")
        first = s.metric('pomona_pushes_total{result="ok"}')
        eventually(lambda: [r["waiting"] for r in outbox(s)] == [1], "all that was asked for is sent")
        started = [r["created_at"] for r in outbox(s)][0]
        seconds = time.time() - started / 1000
        n = s.metric('pomona_pushes_total{result="ok"}')
        # At once, and then not within three seconds of the last one.
        expect(1 <= n <= 3 + seconds / 3, f"{n} pushes for ten commands in {seconds} s ({first} at first)")


@case
def a_person_does_not_wait_for_a_wave():
    log = tempfile.mktemp(prefix="pomona-pushed-")
    with Apns("--quiet", "--log", log) as apns, server(apns, "--set", "push.per_second=100") as s:
        d, e = s.enroll(), s.enroll()
        s.stop()
        tokens = fill(s, apns.topic, 1500)
        d.connection = e.connection = None
        s.start()
        started = time.time()
        eventually(lambda: sum(pushed(log).values()) >= 100, "the wave begins")
        s.cli("device", "push", d.udid)
        s.cli("command", "send", e.udid, "ProfileList")
        eventually(lambda: pushed(log)[d.token.hex()] and pushed(log)[e.token.hex()], "they are pushed")
        so_far = sum(pushed(log)[t.hex()] for t in tokens)
        expect(so_far < 1400, f"{so_far} of 1,500 pushes of the wave went before")
        eventually(lambda: all(pushed(log)[t.hex()] for t in tokens), "and the wave goes on")
        took = time.time() - started
        expect(took > 1500 / 100 * 0.8, f"1,500 pushes at 100 a second took {took} s")
        equal({n for n in pushed(log).values()}, {1}, "pushes for each")
    os.unlink(log)


if __name__ == "__main__":
    main()
