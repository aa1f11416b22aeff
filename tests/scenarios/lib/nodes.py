"""Several nodes over one PostgreSQL: who has which job, and nodes with clocks of their own."""
from lib import store
from harness import *

LEASE = 5
JOBS = {"audit", "crl", "ca", "renewal", "commands", "profiles", "declarations", "queries", "orders", "inventory", "warnings", "purge", "doctor"}


def server(name="first", *args, **options):
    return Server("--set", f"node.lease_seconds={LEASE}", "--set", f"node.name={name}", *args, **options)


def another(s, name="second", *args, **options):
    return s.node("--set", f"node.name={name}", *args, **options)


def nodes(of):
    return {n["name"]: n for n in of.cli("node", "list")}


def jobs(of):
    """{name of a node that works: its jobs}"""
    return {name: set(n["jobs"]) for name, n in nodes(of).items() if n["state"] == "working"}


def shared(of, *names):
    """Waits until NAMES, and nobody else, have all jobs among them."""
    def done():
        found = jobs(of)
        return set(found) == set(names) and set().union(*found.values()) == JOBS and all(found.values()) and found
    return wait_for(f"{names} have all jobs", done, 60)


def holder(job, *servers):
    """Which of SERVERS has JOB, and the others."""
    found = jobs(servers[0])
    [name] = [name for name, have in found.items() if job in have]
    return name


def sealed(of):
    """Waits until nothing of the audit log is left to be sealed, and it is whole; how long it is."""
    wait_for("the audit log is sealed", lambda: of.sql("SELECT count(*) FROM audit_pending")[0][0] == 0, 60)
    status, verdict, _ = of.api("GET", "/api/v1/audit/verify")
    expect(status == 200 and verdict["ok"], f"audit: {verdict}")
    return of.sql("SELECT count(*) FROM audit")[0][0]


def not_started(node, text):
    """NODE must end by itself at its start, and say TEXT."""
    node.start(wait=False)
    try:
        code = node.process.wait(60)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"it serves:\n{node.logs()}")
    expect(code != 0 and text in node.logs(), f"exit {code}, wanted {text!r}:\n{node.logs()}")
    return node.logs()


def ready(node):
    """(status, code of the reason); None while the listener for devices says something else."""
    status, body, headers = node.api("GET", "/readyz")
    if status == 503:
        expect(int(headers.get("Retry-After", 0)) > 0, "503 without Retry-After")
    if node.request("GET", "/readyz")[0] != status:
        return None
    return status, body.get("code") if isinstance(body, dict) else None


class Clock:
    """The clock of a node, which can be set while it runs."""

    def __init__(self, s, name="clock"):
        self.path, library = os.path.join(s.root, name), os.path.join(s.root, "clock.so")
        if not os.path.exists(library):
            subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, pathlib.Path(__file__).parent / "clock.c"], check=True)
        self.env = {"LD_PRELOAD": library, "POMONA_TEST_CLOCK": self.path}
        self.set(0)

    def set(self, seconds):
        """How far it is ahead."""
        pathlib.Path(self.path + ".new").write_text(f"{seconds}\n")
        os.replace(self.path + ".new", self.path)
