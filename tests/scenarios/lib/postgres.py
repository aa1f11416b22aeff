"""A PostgreSQL of the test's own, with what a real one has (fsync, full pages), standbys of it, nodes over it, and a wire between them that can be cut."""
import csv
import io
import pwd
import select
import struct

from harness import *


def postgres_bin():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda p: int(p.parent.parent.name))
    if not found:
        raise Skip("PostgreSQL is not installed")
    return found[-1].parent


class Postgres:
    """A cluster on loopback. STANDBY_OF: a primary, whose streaming standby it becomes. NAMESPACE: one whose node may come too."""

    def __init__(self, standby_of=None, namespace=None, address="127.0.0.1", **settings):
        self.bin, self.address, self.port = postgres_bin(), address, free_port()
        self.root = tempfile.mkdtemp(prefix="pomona-pg-")
        self.data = os.path.join(self.root, "data")
        os.chmod(self.root, 0o755)
        if os.getuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.root, owner.pw_uid, owner.pw_gid)
        try:
            if standby_of:
                self.run("pg_basebackup", "-D", self.data, "-h", standby_of.address, "-p", str(standby_of.port), "-U", "pomona", "-R", "--checkpoint=fast", "--no-sync")
                with open(os.path.join(self.data, "postgresql.auto.conf"), "a") as f:
                    f.write(f"primary_conninfo = 'host={standby_of.address} port={standby_of.port} user=pomona application_name=standby'\n")
            else:
                self.run("initdb", "-D", self.data, "-U", "pomona", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
            if namespace:
                with open(os.path.join(self.data, "pg_hba.conf"), "a") as f:
                    f.write(f"host all all {namespace.database_net} trust\n")
            self.configure(listen_addresses=f"{address},{namespace.database_address}" if namespace else address, port=self.port, unix_socket_directories=self.root, fsync="on", full_page_writes="on", max_connections=60, shared_buffers="32MB",
                           log_min_messages="warning", hot_standby="on", **settings)
            self.start()
        except BaseException:
            self.close()
            raise

    def run(self, program, *args, check=True):
        """A program of PostgreSQL, as a user that it takes; what it writes."""
        words = [str(self.bin / program), *args]
        if os.getuid() == 0:
            words = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--", *words]
        p = subprocess.run(words, capture_output=True, text=True, timeout=120, cwd=self.root, stdin=subprocess.DEVNULL)
        expect(not check or p.returncode == 0, f"{program}: {p.returncode}\n{p.stdout}{p.stderr}")
        return p.stdout

    def configure(self, **settings):
        with open(os.path.join(self.data, "postgresql.auto.conf"), "a") as f:
            for name, value in settings.items():
                f.write(f"{name} = '{value}'\n")

    def ctl(self, *args, check=True):
        # Its output would be held open by the server that it starts.
        words = [str(self.bin / "pg_ctl"), "-D", self.data, "-s", *args]
        if os.getuid() == 0:
            words = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--", *words]
        p = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=120, cwd=self.root)
        expect(not check or p.returncode == 0, f"pg_ctl {' '.join(args)}: {p.returncode}\n{self.log()}")

    def log(self):
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(open(os.path.join(self.root, "log"), errors="replace").read().splitlines()[-30:])
        return ""

    def start(self):
        self.ctl("-w", "-t", "60", "-l", os.path.join(self.root, "log"), "start")

    def stop(self, mode="fast"):
        self.ctl("-w", "-t", "60", "-m", mode, "stop")

    def restart(self, mode="immediate"):
        self.stop(mode)
        self.start()

    def pid(self):
        return int(open(os.path.join(self.data, "postmaster.pid")).readline())

    def stop_processes(self):
        """Stops all of them as they stand (SIGSTOP); their ids, the first one's first."""
        main = self.pid()
        os.kill(main, signal.SIGSTOP)
        children = [int(pid) for pid in subprocess.run(["ps", "-o", "pid=", "--ppid", str(main)], capture_output=True, text=True).stdout.split()]
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        return main, children

    @contextlib.contextmanager
    def frozen(self):
        """No process of it runs, and its machine goes on: connections stay, new ones are taken up, and nobody answers."""
        main, children = self.stop_processes()
        try:
            yield
        finally:
            for pid in [*children, main]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def kill(self):
        """As when its machine dies: no process of it is left."""
        main, children = self.stop_processes()
        for pid in [main, *children]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for("the killed database to be gone", lambda: not any(os.path.exists(f"/proc/{pid}") and "State:\tZ" not in open(f"/proc/{pid}/status").read() for pid in [main, *children]))

    def promote(self):
        self.ctl("-w", "-t", "60", "promote")

    def sql(self, text, database="pomona"):
        """Rows as lists of strings; None for NULL."""
        out = self.run("psql", "-XqAt", "--csv", "-P", "null=<NULL>", "-v", "ON_ERROR_STOP=1", "-h", self.address, "-p", str(self.port), "-U", "pomona", "-d", database, "-c", text)
        return [[None if cell == "<NULL>" else cell for cell in row] for row in csv.reader(io.StringIO(out))]

    def create(self, name="pomona"):
        self.sql(f"CREATE DATABASE {name}", database="postgres")
        return self

    def url(self, *wires, database="pomona", **params):
        """The database as nodes are told it; through WIRES, or at its own address and those of other clusters given in their place."""
        hosts = ",".join(f"{at.address}:{at.port}" for at in wires or [self])
        options = "&".join(f"{name}={value}" for name, value in params.items())
        return f"postgresql://pomona@{hosts}/{database}" + (f"?{options}" if options else "")

    def close(self):
        self.ctl("-m", "immediate", "stop", check=False)
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.close()


class ClusterNode(Server):
    """`pomona serve` over a database that others use too. FIRST: another node, of whose server this is one more."""

    def __init__(self, store, *args, first=None, port=None, address="127.0.0.1", prefix=(), push_cert=True, start=True):
        self.root = tempfile.mkdtemp(prefix="pomona-node-")
        self.data = os.path.join(self.root, "data")
        self.store_url, self.address, self.prefix = store, address, list(prefix)
        self.port = port or free_port()
        self.url = first.url if first else f"https://{address}:{self.port}"
        self.args, self.env, self.process, self.template, self.nodes = list(args), {**os.environ}, None, None, []
        try:
            if first:
                self.join(first)
            else:
                run("init", "--data", self.data, "--url", self.url, "--org", "Test Org", "--store", store)
            if start:
                self.start()
            if start and push_cert and not first:
                self.import_push_cert()
        except BaseException:
            self.end()
            self.remove()
            raise

    def join(self, first):
        os.mkdir(self.data, 0o700)
        for name in ("pomona.conf", "seal.key", "admin.token", "root-ca.pem"):
            shutil.copy(os.path.join(first.data, name), os.path.join(self.data, name))

    def remove(self):
        shutil.rmtree(self.root, ignore_errors=True)

    def start(self, *extra, wait=True):
        self.log_path = os.path.join(self.root, "log")
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [*self.prefix, POMONA, "serve", "--data", self.data, "--listen", f"{self.address}:{self.port}", "--admin-listen", f"{self.address}:0", "--http-listen", f"{self.address}:0",
             "--set", "inventory.hours=0", "--set", "doctor.interval_hours=0", "--apns-url", "https://127.0.0.1:1", *self.args, *extra],
            stderr=self.log, stdin=subprocess.DEVNULL, env={**self.env, "POMONA_STORE_URL": self.store_url})
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=60):
        def ready():
            expect(self.process.poll() is None, f"the server ended with {self.process.returncode}:\n{self.logs()[-3000:]}")
            with contextlib.suppress(FileNotFoundError, ValueError, OSError):
                p = json.load(open(os.path.join(self.data, "serve.json")))
                if p["pid"] != self.process.pid:
                    return False
                self.admin_port, self.http_port = p["admin_port"], p["http_port"]
                socket.create_connection((self.address, self.port), 1).close()
                return True
        wait_for("the node to serve", ready, seconds)

    def tls(self):
        if not hasattr(self, "context"):
            self.context = super().tls()
        return self.context

    def plainly(self, path, timeout=30):
        """GET on the admin listener without a token: (status, text)."""
        c = http.client.HTTPConnection(self.address, self.admin_port, timeout=timeout)
        try:
            c.request("GET", path)
            r = c.getresponse()
            return r.status, r.read().decode()
        finally:
            c.close()

    def is_ready(self):
        try:
            return self.plainly("/readyz")[0] == 200
        except OSError:
            return False

    def count(self, text):
        """Lines of the log with TEXT."""
        return sum(text in line for line in self.logs().splitlines())


class Wire:
    """A TCP proxy before a database. What is cut: "through" nothing; "deaf" both ways, silently; "mute" only the answers, so that work is done of which nobody hears; "dead" all connections are
    reset, new ones too; "gone" the same, and new ones are refused as where no server is (libpq then tries its next host, which it does not when a connection is made and then ends). Connections that have lost bytes are reset when it is whole again: as TCP would."""

    def __init__(self, target, address="127.0.0.1"):
        self.target, self.address, self.mode = target, address, "through"
        self.lock, self.pairs, self.poisoned, self.ending = threading.Lock(), {}, set(), False
        self.trap, self.sprung = None, threading.Event()
        self.listener = socket.create_server((address, 0))
        self.port = self.listener.getsockname()[1]
        self.wake_in, self.wake_out = socket.socketpair()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def set(self, mode):
        with self.lock:
            self.mode = mode
        self.wake_in.send(b"x")

    def mute_at(self, text):
        """The wire is mute as soon as a client has sent TEXT (bytes): what it asks for is done, and it does not hear of it."""
        self.sprung.clear()
        self.trap = text

    def reset(self, s):
        """Both ends of the pair that S is of."""
        for end in (s, self.pairs.pop(s, None)):
            if end is not None:
                self.pairs.pop(end, None)
                self.poisoned.discard(end)
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.close()

    def accept(self, mode):
        client, _ = self.listener.accept()
        if mode == "dead":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            return
        try:
            server = socket.create_connection((self.target.address, self.target.port), 5)
        except OSError:
            client.close()
            return
        for s in (client, server):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pairs[client], self.pairs[server] = server, client
        self.clients.add(client)

    def carry(self, s, mode):
        try:
            data = s.recv(65536)
        except OSError:
            data = b""
        if self.trap and s in self.clients and self.trap in data:
            self.trap, self.mode = None, "mute"
            self.sprung.set()
        if not data:
            self.reset(s)
        elif mode == "deaf" or (mode == "mute" and s not in self.clients):
            self.poisoned.add(s)
        else:
            try:
                self.pairs[s].sendall(data)
            except OSError:
                self.reset(s)

    def work(self):
        self.clients = set()
        while not self.ending:
            ready = select.select([self.wake_out, *([self.listener] if self.listener else []), *self.pairs], [], [])[0]
            with self.lock:
                mode = self.mode
            if self.wake_out in ready:
                self.wake_out.recv(64)
                if mode == "gone" and self.listener:
                    self.listener.close()
                    self.listener = None
                elif mode != "gone" and not self.listener:
                    self.listener = socket.create_server((self.address, self.port))
                for s in list(self.pairs) if mode in ("dead", "gone") else list(self.poisoned) if mode == "through" else []:
                    self.reset(s)
            if self.listener and self.listener in ready:
                self.accept(mode)
            for s in ready:
                if s in self.pairs:
                    self.carry(s, mode)
            self.clients &= set(self.pairs)
        for s in list(self.pairs):
            self.reset(s)
        if self.listener:
            self.listener.close()

    def close(self):
        self.ending = True
        self.wake_in.send(b"x")
        self.thread.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.close()


class Namespace:
    """A network namespace for a node, with a wire for its clients and one to the database, on which every packet can be lost: unlike a Wire, nobody acknowledges what does not arrive. Needs root."""

    LOST = "02:00:00:00:00:99"

    def __init__(self):
        if os.getuid() != 0 or not shutil.which("ip"):
            raise Skip("network namespaces need root and iproute2")
        self.name = "pomona-" + secrets.token_hex(4)
        tag, net = secrets.token_hex(3), f"10.213.{secrets.randbelow(250)}"
        self.devices = {"clients": (f"pc{tag}", f"{net}.1", f"{net}.2"), "database": (f"pd{tag}", f"{net}.5", f"{net}.6")}
        self.address, self.database_address, self.database_net = f"{net}.2", f"{net}.5", f"{net}.4/30"
        self.prefix = ["ip", "netns", "exec", self.name]
        p = subprocess.run(["ip", "netns", "add", self.name], capture_output=True, text=True)
        if p.returncode:
            raise Skip(f"this machine does not allow network namespaces: {p.stderr.strip()}")
        try:
            self.ip("-n", self.name, "link", "set", "lo", "up")
            for device, here, there in self.devices.values():
                self.ip("link", "add", device, "type", "veth", "peer", "name", device, "netns", self.name)
                for where, address in (((), here), (("-n", self.name), there)):
                    self.ip(*where, "addr", "add", f"{address}/30", "dev", device)
                    self.ip(*where, "link", "set", device, "up")
        except BaseException:
            self.close()
            raise

    def ip(self, *words, check=True):
        p = subprocess.run(["ip", *words], capture_output=True, text=True)
        expect(not check or p.returncode == 0, f"ip {' '.join(words)}: {p.stderr}")

    def set(self, mode):
        """As of a Wire: "through", "deaf", "mute"."""
        device, here, there = self.devices["database"]
        for where, address, lost in (((), there, mode in ("deaf", "mute")), (("-n", self.name), here, mode == "deaf")):
            if lost:
                self.ip(*where, "neigh", "replace", address, "lladdr", self.LOST, "dev", device, "nud", "permanent")
            else:
                self.ip(*where, "neigh", "del", address, "dev", device, check=False)

    def close(self):
        self.ip("netns", "del", self.name, check=False)
        for device, _, _ in self.devices.values():
            self.ip("link", "del", device, check=False)

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.close()
