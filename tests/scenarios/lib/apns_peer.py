"""What the scenarios of pushes share: two kinds of APNs, many devices at once, a proxy."""
import ipaddress

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
        self.lines = []
        self.reader = threading.Thread(target=self.read, args=(self.process.stdout, self.lines), daemon=True)
        self.reader.start()
        for _ in range(3000):
            with contextlib.suppress(FileNotFoundError, ValueError):
                info = json.load(open(path))
                self.port, self.wake_port, self.topic = info["port"], info["wake_port"], info["topic"]
                return self
            time.sleep(0.02)
        raise AssertionError("the simulated APNs did not start")

    def stop(self):
        self.process.terminate()
        self.process.wait(60)
        self.reader.join(60)
        return "".join(self.lines)

    @staticmethod
    def read(out, lines):
        for line in out:
            lines.append(line)

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
        before = self.n_waiting(token)
        c.sendall(token.hex().encode() + b"\n")
        eventually(lambda: self.n_waiting(token) > before, "the simulated APNs knows the device")
        c.settimeout(60)
        return c.makefile()

    def n_waiting(self, token):
        return sum("waits for pushes" in line and token.hex()[:16] in line for line in self.lines)


def server(apns, *args):
    s = Server(*apns.server_args(), *args, push_cert=False)
    s.cli("push-cert", "import", os.path.join(apns.dir, "push.pem"))
    return s


def eventually(check, what, seconds=60):
    until = time.time() + seconds
    while time.time() < until:
        if check():
            return
        time.sleep(0.05)
    raise AssertionError(what)


class OddApns:
    """An HTTP/2 peer made of bare frames, for what APNs does on its bad days. ANSWER(peer, connection, stream, body) is called for each whole
    request."""
    DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8

    def __init__(self, answer, settings=b"", host="127.0.0.1", days=1, alpn="h2", name=None, clients=None):
        self.answer, self.settings = answer, settings
        self.dir = tempfile.mkdtemp(prefix="pomona-apns-")
        self.topic, self.requests, self.connections, self.bodies = TOPIC, 0, 0, []
        key, subject = rsa_key(), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "An odd APNs")])
        name = name or host
        self.host, self.peers = host, []
        now = datetime.datetime.utcnow()
        cert = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(1)
                .not_valid_before(now - datetime.timedelta(days=9)).not_valid_after(now + datetime.timedelta(days=days))
                .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(name)) if name[0] in ":1" else x509.DNSName(name)]), False).sign(key, hashes.SHA256()))
        pem = cert.public_bytes(serialization.Encoding.PEM)
        pathlib.Path(self.dir, "root.pem").write_bytes(pem)
        pathlib.Path(self.dir, "server.pem").write_bytes(pem + pem_key(key))
        pathlib.Path(self.dir, "push.pem").write_bytes(push_cert())
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(os.path.join(self.dir, "server.pem"))
        self.context.set_alpn_protocols([alpn])
        if clients is not None:
            pathlib.Path(self.dir, "clients.pem").write_bytes(clients)
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(os.path.join(self.dir, "clients.pem"))
        self.listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) if host != "localhost" else socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def server_args(self):
        return ["--apns-url", f"https://{'[' + self.host + ']' if ':' in self.host else self.host}:{self.port}", "--apns-root", os.path.join(self.dir, "root.pem")]

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
            self.peers.append(c.getpeercert(True))
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


def fill(s, topic, n, token=lambda i: secrets.token_bytes(32), first=0):
    """N enrolled devices that nobody plays, numbered from FIRST, each with a command that waits and a push that is owed, into the store (one that is not shared: of a server that is stopped): their tokens."""
    now, tokens = int(time.time() * 1000), [token(i) for i in range(n)]
    rows = [f"{now - 1000 + i // 1000:012X}" for i in range(n)]
    rows = [f"{row[:8]}-{row[8:]}-7000-8000-{i:012X}" for i, row in enumerate(rows, first)]
    with s.store.transaction() as execute:
        execute.many("INSERT INTO enrollment (id, device_id, user_part, kind, state, version, active_epoch, pending_epoch, last_epoch, created_at, authenticated_at, enrolled_at, ended_at, last_seen)"
                     " VALUES (?, ?, '', 0, 1, 2, 1, 0, 1, ?, ?, ?, 0, ?)", [(row, f"filled{i:034d}", now, now, now, now) for i, row in enumerate(rows, first)])
        execute.many("INSERT INTO epoch (enrollment_id, epoch, certificate_serial, topic, push_token, push_magic, push_dead_at, awaiting_configuration, authenticated_at, token_at, ended_at)"
                     " VALUES (?, 1, ?, ?, ?, ?, 0, 0, ?, ?, 0)", [(row, f"F{i:031X}", topic, tokens[i - first], row, now, now) for i, row in enumerate(rows, first)])
        execute.many("INSERT INTO command (enrollment_id, seq, uuid, epoch, request_type, body, created_at, not_now_at, n_not_now) VALUES (?, ?, ?, 1, 'ProfileList', ?, ?, 0, 0)",
                     [(row, row, f"u-{row}", b"\0", now) for row in rows])
        execute.many("INSERT INTO push_outbox (enrollment_id, topic, due_at, attempts, generation, created_at) VALUES (?, ?, ?, 0, ?, ?)", [(row, topic, now, row, now) for row in rows])
    return tokens


def outbox(s):
    """The rows of the outbox of a server that may be running, as dictionaries."""
    return [row.dict() for row in s.sql("SELECT * FROM push_outbox ORDER BY enrollment_id")]


def push_status(s):
    """The first topic of `push status`; a server that has just been started may not know it yet."""
    return wait_for("a topic", lambda: s.cli("push", "status")["items"], 60)[0]


def pushed(log):
    """How often each token was pushed, of the log of a simulated APNs."""
    if not os.path.exists(log):
        return collections.Counter()
    return collections.Counter(line.split()[0] for line in open(log).read().splitlines() if len(line.split()) == 2)


class Proxy:
    """An HTTP proxy that makes tunnels, for USER ("user:password") only when it is given."""

    def __init__(self, user=None, status=200):
        self.user, self.status, self.requests = user, status, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                c, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        with contextlib.suppress(OSError), c:
            head = b""
            while b"\r\n\r\n" not in head:
                head += c.recv(4096)
            self.requests.append(head.decode())
            wanted = self.user and "Proxy-Authorization: Basic " + base64.b64encode(self.user.encode()).decode()
            if wanted and wanted not in head.decode().splitlines():
                c.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n")
                return
            if self.status != 200:
                c.sendall(f"HTTP/1.1 {self.status} No\r\n\r\n".encode())
                return
            host, port = head.decode().split()[1].rsplit(":", 1)
            with socket.create_connection((host.strip("[]"), int(port)), 10) as other:
                c.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                threading.Thread(target=self.copy, args=(other, c), daemon=True).start()
                self.copy(c, other)

    @staticmethod
    def copy(a, b):
        with contextlib.suppress(OSError):
            while True:
                data = a.recv(65536)
                if not data:
                    break
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
