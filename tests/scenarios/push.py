"""Pushes: from a queued command over HTTP/2 to the device that waits."""
import contextlib
import ipaddress
import socket
import sqlite3
import subprocess
import threading

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


def eventually(check, what, seconds=20):
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
    for reason, again in [("InternalServerError", True), ("TooManyRequests", True), ("BadCertificate", True), ("PayloadEmpty", True)]:
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


@case
def a_push_asked_for_while_one_is_under_way():
    with Apns("--delay-ms", "1000") as apns, server(apns) as s:
        d = s.enroll()
        s.cli("device", "push", d.udid)
        time.sleep(0.5)
        s.cli("device", "push", d.udid)
        eventually(lambda: s.metric('pomona_pushes_total{result="ok"}') == 2, "the second push waits for something else to happen", 20)


class OddApns:
    """An HTTP/2 peer made of bare frames, for what APNs does on its bad days. ANSWER(peer, connection, stream, body) is called for each whole
    request."""
    DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8

    def __init__(self, answer, settings=b""):
        self.answer, self.settings = answer, settings
        self.dir = tempfile.mkdtemp(prefix="pomona-apns-")
        self.topic, self.requests, self.connections, self.bodies = TOPIC, 0, 0, []
        key, name = rsa_key(), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
        now = datetime.datetime.utcnow()
        cert = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
                .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
                .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False).sign(key, hashes.SHA256()))
        pem = cert.public_bytes(serialization.Encoding.PEM)
        pathlib.Path(self.dir, "root.pem").write_bytes(pem)
        pathlib.Path(self.dir, "server.pem").write_bytes(pem + pem_key(key))
        pathlib.Path(self.dir, "push.pem").write_bytes(push_cert())
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(os.path.join(self.dir, "server.pem"))
        self.context.set_alpn_protocols(["h2"])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def server_args(self):
        return ["--apns-url", f"https://127.0.0.1:{self.port}", "--apns-root", os.path.join(self.dir, "root.pem")]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                c, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    @staticmethod
    def frame(kind, stream, payload=b"", flags=0):
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    def respond(self, c, stream, status, reason=None):
        block = b"\x08\x03" + str(status).encode()
        if reason is None:
            c.sendall(self.frame(self.HEADERS, stream, block, 5))
        else:
            c.sendall(self.frame(self.HEADERS, stream, block, 4) + self.frame(self.DATA, stream, json.dumps({"reason": reason}).encode(), 1))

    def serve(self, raw):
        def read(n):
            data = b""
            while len(data) < n:
                more = c.recv(n - len(data))
                if not more:
                    raise ConnectionError
                data += more
            return data
        with contextlib.suppress(OSError), self.context.wrap_socket(raw, server_side=True) as c:
            self.connections += 1
            read(24)
            c.sendall(self.frame(self.SETTINGS, 0, self.settings))
            bodies = {}
            while True:
                head = read(9)
                payload, kind, flags, stream = read(int.from_bytes(head[:3], "big")), head[3], head[4], int.from_bytes(head[5:], "big")
                if kind == self.SETTINGS and not flags & 1:
                    c.sendall(self.frame(self.SETTINGS, 0, b"", 1))
                elif kind == self.HEADERS:
                    self.requests += 1
                elif kind == self.DATA:
                    bodies[stream] = bodies.get(stream, b"") + payload
                    if payload:
                        c.sendall(self.frame(self.WINDOW_UPDATE, stream, len(payload).to_bytes(4, "big")))
                    if flags & 1:
                        self.bodies.append(bodies[stream])
                        self.answer(self, c, stream)


@case
def an_apns_that_hangs_up():
    def goodbye(apns, c, stream):
        c.sendall(apns.frame(apns.GOAWAY, 0, bytes(8)))
        c.close()
    with OddApns(goodbye) as apns, server(apns) as s:
        d = s.enroll()
        s.cli("device", "push", d.udid)
        time.sleep(4)
        expect(1 <= apns.connections <= 5, f"{apns.connections} connections in four seconds")


@case
def an_apns_that_resets_streams():
    with OddApns(lambda apns, c, stream: c.sendall(apns.frame(apns.RST_STREAM, stream, bytes([0, 0, 0, 7])))) as apns, server(apns) as s:
        d = s.enroll()
        s.cli("device", "push", d.udid)
        eventually(lambda: s.metric('pomona_pushes_total{result="reset"}') == 1, "the push goes back to the outbox")
        time.sleep(2)
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
        time.sleep(3)
        expect(1 <= apns.requests <= 2, f"{apns.requests} pushes with a certificate that was refused")


if __name__ == "__main__":
    main()
