"""Pushes: from a queued command over HTTP/2 to the device that waits."""
import contextlib
import socket
import sqlite3
import subprocess

from harness import *


class Apns:
    """`pomona sim apns` in a folder of its own."""

    def __init__(self, *args, dir=None):
        self.dir = dir or tempfile.mkdtemp(prefix="pomona-apns-")
        self.args = args
        self.start()

    def start(self, port=0):
        path = os.path.join(self.dir, "apns.json")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self.process = subprocess.Popen([POMONA, "sim", "apns", "--dir", self.dir, "--listen", f"127.0.0.1:{port}", *self.args], stdout=subprocess.PIPE, text=True)
        for _ in range(500):
            with contextlib.suppress(FileNotFoundError, ValueError):
                info = json.load(open(path))
                self.port, self.wake_port, self.topic = info["port"], info["wake_port"], info["topic"]
                return self
            time.sleep(0.02)
        raise AssertionError("the simulated APNs did not start")

    def stop(self):
        self.process.terminate()
        out, _ = self.process.communicate(timeout=10)
        return out

    def server_args(self):
        return ["--apns-url", f"https://127.0.0.1:{self.port}", "--apns-root", os.path.join(self.dir, "root.pem")]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def waiting(self, token):
        """A socket on which pushes to TOKEN come."""
        c = socket.create_connection(("127.0.0.1", self.wake_port), 10)
        c.sendall(token.hex().encode() + b"\n")
        time.sleep(0.2)
        return c.makefile()


def server(apns, *args):
    s = Server(*apns.server_args(), *args, push_cert=False)
    s.cli("push-cert", "import", os.path.join(apns.dir, "push.pem"))
    return s


def eventually(check, what, seconds=10):
    until = time.time() + seconds
    while time.time() < until:
        if check():
            return
        time.sleep(0.05)
    raise AssertionError(what)


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
        s.cli("device", "push", d.udid)
        time.sleep(0.5)
        equal(s.metric('pomona_pushes_total{result="Unregistered"}'), pushes, "pushes to a dead token")
        time.sleep(1)
        equal(d.token_update()[0], 200)
        equal(s.cli("device", "show", d.udid)["push_token_dead_since"], None, "TokenUpdate revives it")


@case
def nothing_is_lost_while_apns_is_away():
    with Apns() as apns, server(apns) as s:
        devices = [s.enroll() for _ in range(3)]
        out = apns.stop()
        for d in devices:
            s.cli("command", "send", d.udid, "ProfileList")
        time.sleep(1)
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
    for reason, again in [("InternalServerError", True), ("TooManyRequests", True), ("BadCertificate", True), ("PayloadEmpty", False)]:
        with Apns("--fail", f"*={reason}") as apns, server(apns) as s:
            d = s.enroll()
            s.cli("device", "push", d.udid)
            name = f'pomona_pushes_total{{result="{reason}"}}'
            eventually(lambda: s.metric(name) == 1, f"{reason} is counted")
            expect(f"reason={reason}" in s.logs(), "and logged")
            s.stop()
            with contextlib.closing(sqlite3.connect(os.path.join(s.data, "pomona.db"))) as db:
                count = db.execute("SELECT count(*), coalesce(min(attempts), 0) FROM push_outbox").fetchone()
            equal(count, (1, 1) if again else (0, 0), f"outbox after {reason}")


@case
def not_now_is_pushed_again():
    with Apns() as apns, server(apns) as s:
        d = s.enroll()
        uuid = s.cli("command", "send", d.udid, "ProfileList")["command_uuid"]
        equal(d.idle()[1]["CommandUUID"], uuid)
        equal(d.report(uuid, "NotNow"), (200, b""))
        equal(s.cli("command", "show", uuid)["status"], "NotNow")
        s.stop()
        with contextlib.closing(sqlite3.connect(os.path.join(s.data, "pomona.db"))) as db:
            due = db.execute("SELECT due_at FROM push_outbox").fetchone()
        expect(due and 60 < due[0] / 1000 - time.time() < 150, f"a push in about two minutes: {due}")


if __name__ == "__main__":
    main()
