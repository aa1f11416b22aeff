"""Load balancers that pass on bytes: a real HAProxy, a real nginx, and clients that come from addresses of their own."""
import csv
import io

from harness import *

EXAMPLES = pathlib.Path(__file__).resolve().parents[3] / "docs" / "examples"


class Balancer:
    """haproxy or nginx with CONFIGURATION, which may name {root}, a folder for its files. PORT answers once it runs."""

    def __init__(self, program, configuration, port):
        self.root = tempfile.mkdtemp(prefix="pomona-balancer-")
        path, self.has_stats = os.path.join(self.root, "config"), "{root}/stats" in configuration
        pathlib.Path(path).write_text(configuration.replace("{root}", self.root))
        if program == "haproxy":
            p = subprocess.run(["haproxy", "-c", "-f", path], capture_output=True, text=True)
            expect(p.returncode == 0 and "WARNING" not in p.stderr, f"haproxy -c: {p.stdout}{p.stderr}")
            command = ["haproxy", "-db", "-f", path]
        else:
            command = ["nginx", "-c", path, "-e", os.path.join(self.root, "log")]
        self.log = open(os.path.join(self.root, "out"), "wb")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        try:
            wait_for(f"{program} answers", lambda: self.answers(port), 60)
        except BaseException:
            self.close()
            raise

    def answers(self, port):
        expect(self.process.poll() is None, f"it ended: {open(os.path.join(self.root, 'out')).read()}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            # It gets its name after the ports are bound.
            return not self.has_stats or os.path.exists(os.path.join(self.root, "stats"))
        except OSError:
            return False

    def ask(self, command):
        """What HAProxy answers on {root}/stats."""
        with socket.socket(socket.AF_UNIX) as c:
            c.settimeout(10)
            c.connect(os.path.join(self.root, "stats"))
            c.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: c.recv(65536), b"")).decode()

    def state(self, backend, server):
        """(UP, DOWN, NOLB …; what the last check was) of a server of HAProxy."""
        for row in csv.DictReader(io.StringIO(self.ask("show stat").lstrip("# "))):
            if (row["pxname"], row["svname"]) == (backend, server):
                return row["status"], row["check_status"]
        raise AssertionError(f"there is no {backend}/{server}")

    def close(self):
        end_process(self.process, 10)
        self.log.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, e, tb):
        self.close()


def example(name, *changes):
    """A file of docs/examples with other addresses: [(old, new)]."""
    text = (EXAMPLES / name).read_text()
    for old, new in changes:
        expect(old in text, f"{old} is not in {name}")
        text = text.replace(old, new)
    return text


class Caller(Device):
    """A device that comes from ADDRESS, through PORT; with MTLS_PORT it shows its identity there, and signs nothing."""

    def __init__(self, server, port, address, mtls_port=None):
        super().__init__(server)
        self.port, self.address, self.mtls_port = port, address, mtls_port

    def connect(self):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self.tls(), source_address=(self.address, 0))

    def show(self):
        """From now on it checks in with its identity as TLS client certificate."""
        context = self.tls()
        with tempfile.NamedTemporaryFile(suffix=".pem") as f:
            f.write(self.cert.public_bytes(serialization.Encoding.PEM) + pem_key(self.key))
            f.flush()
            context.load_cert_chain(f.name)
        self.hang_up().connection = http.client.HTTPSConnection("127.0.0.1", self.mtls_port, timeout=60, context=context, source_address=(self.address, 0))
        return self

    def enroll(self, link):
        status, profile, _ = self.request("GET", urllib.parse.urlsplit(link["profile_url"]).path)
        equal(status, 200, "profile")
        self.read_profile(profile).get_identity()
        equal(self.authenticate(), (200, b""), "Authenticate")
        equal(self.token_update(), (200, b""), "TokenUpdate")
        return self
