#!/usr/bin/python3
"""./start --postgres: its demonstration with new data and again with the same, which must show what it promises and leave nothing behind."""
from harness import *

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Demo:
    """tools/demo_nodes.sh in a folder of the test's own."""

    def __init__(self):
        # As root: below a folder like /root, which the user of PostgreSQL may not enter.
        self.root = tempfile.mkdtemp(prefix="pomona-demo-")
        self.data = os.path.join(self.root, "data-nodes")
        self.url, self.admin = f"https://localhost:{free_port()}", f"127.0.0.1:{free_port()}"
        self.env = {**os.environ, "POMONA_DEMO_NODES_DATA": self.data, "POMONA_DEMO_POMONA": POMONA, "POMONA_DEMO_URL": self.url, "POMONA_DEMO_ADMIN": self.admin}
        self.process = None

    def start(self, *args):
        self.out = os.path.join(self.root, "out")
        with open(self.out, "wb") as f:
            self.process = subprocess.Popen([str(ROOT / "tools" / "demo_nodes.sh"), *args], cwd=ROOT, env=self.env, stdout=f, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)

        def runs():
            expect(self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.text()}")
            return "\nPomona runs on two nodes." in self.text()
        try:
            wait_for("the demonstration to run", runs, 150)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.text()}\n{self.logs()}") from None
        return self

    def text(self):
        return open(self.out, errors="replace").read()

    def logs(self):
        return "\n".join(f"--- {p.name}\n" + "\n".join(p.read_text(errors="replace").splitlines()[-20:]) for p in pathlib.Path(self.data).glob("*.log"))

    def left(self):
        """Processes that have our folder in their command line."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if (self.root in words or self.cluster() in words) and int(path.parent.name) != os.getpid():
                    found.append((int(path.parent.name), words))
        return found

    def cluster(self):
        """Where PostgreSQL is."""
        with contextlib.suppress(OSError):
            return open(os.path.join(self.data, "postgres.place")).read().strip()
        return os.path.join(self.data, "postgres")

    def interrupt(self):
        """Ctrl-C: to all processes of the terminal's group."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(60)
        wait_for("everything that was started to be gone", lambda: not self.left(), 30)

    def close(self):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
        for pid, _ in self.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.cluster(), ignore_errors=True)
        shutil.rmtree(self.root, ignore_errors=True)

    def cli(self, *args):
        return json.loads(run(*args, "--json"))


def check_shown(demo, new):
    lines = demo.text().splitlines()
    text = "\n".join(lines)
    answers = [i for i, line in enumerate(lines) if line.startswith("Answer: Acknowledged")]
    died = next(i for i, line in enumerate(lines) if line.startswith("Now node a dies"))
    equal([sum(i < died for i in answers), sum(i > died for i in answers)], [3, 3], f"answers before and after the death of node a in\n{text}\n")
    expect(("Making node b (pomona init --join)" in text) == new and ("Taking up the data" in text) != new, text)
    expect("simulated" in text and not any(line.startswith("pomona:") for line in lines), text)


def check_stopped(demo):
    """A node that hangs, with its connections open: HAProxy leaves it out until it answers again."""
    pid = json.load(open(os.path.join(demo.data, "node-b", "serve.json")))["pid"]
    context = ssl.create_default_context(cafile=os.path.join(demo.data, "node-a", "root-ca.pem"))
    port = int(demo.url.rsplit(":", 1)[1])

    def answered():
        """How many of four requests, each on a connection of its own, are answered within a second."""
        n = 0
        for _ in range(4):
            c = http.client.HTTPSConnection("localhost", port, timeout=1, context=context)
            with contextlib.suppress(OSError, http.client.HTTPException):
                c.request("GET", "/readyz")
                n += c.getresponse().status == 200
            c.close()
        return n
    wait_for("both nodes to answer", lambda: answered() == 4, 30)
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for("HAProxy to leave the stopped node out", lambda: answered() == 4, 30)
    finally:
        os.kill(pid, signal.SIGCONT)


@case
def shows_that_all_goes_on_when_a_node_dies():
    demo = Demo()
    try:
        demo.start()
        check_shown(demo, True)
        # Both are there again, and a program gets its answer through HAProxy.
        nodes = demo.cli("node", "list", "--data", os.path.join(demo.data, "node-b"))
        equal(sorted((n["name"], n["state"]) for n in nodes), [("a", "silent"), ("a", "working"), ("b", "working")], "nodes")
        devices = demo.cli("device", "list", "--server", f"http://{demo.admin}", "--token-file", os.path.join(demo.data, "node-a", "admin.token"))
        equal(len(devices), 3, "devices through HAProxy")
        password = open(os.path.join(demo.data, "pgpass")).read().split(":")[-1].strip()
        expect(password and password not in demo.text() + "".join(w for _, w in demo.left()), "the password of the database is shown")
        for node in ("node-a", "node-b"):
            expect(password not in open(os.path.join(demo.data, node, "pomona.conf")).read(), "the password of the database is in pomona.conf")
        check_stopped(demo)
        demo.interrupt()
        demo.start()
        check_shown(demo, False)
        equal(len(demo.cli("device", "list", "--data", os.path.join(demo.data, "node-b"))), 3, "the same devices")
        demo.interrupt()
    finally:
        demo.close()


if __name__ == "__main__":
    main()
