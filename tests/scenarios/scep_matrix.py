"""Every way to ask for a certificate that clients in the field take, in every mode of GetCACert, with keys in files and in a token: `pomona sim scep --matrix` against the real server."""
import glob
import threading

from harness import *

MODULES = glob.glob("/usr/lib/softhsm/libsofthsm2.so") + glob.glob("/usr/lib/*/softhsm/libsofthsm2.so")
PIN = "1234"
ROWS = 54          # of the matrix
N_CHALLENGES = 18  # new rows, and as many that wait


class Token:
    """A SoftHSM token in a folder of its own, with RSA keys made by its own tools."""

    def __init__(self, root, *keys):
        if not MODULES:
            raise Skip("SoftHSM is not installed")
        self.module, folder = MODULES[0], os.path.join(root, "token")
        os.mkdir(folder)
        configuration = os.path.join(root, "softhsm2.conf")
        pathlib.Path(configuration).write_text(f"directories.tokendir = {folder}\nobjectstore.backend = file\nlog.level = ERROR\n")
        self.env = {"SOFTHSM2_CONF": configuration}
        self.pin_file = os.path.join(root, "pin")
        pathlib.Path(self.pin_file).write_text(PIN + "\n")
        self.tool("softhsm2-util", "--init-token", "--free", "--label", "pomona", "--pin", PIN, "--so-pin", "5678")
        for number, label in enumerate(keys, 1):
            self.tool("pkcs11-tool", "--module", self.module, "--login", "--pin", PIN, "--token-label", "pomona", "--keypairgen", "--key-type", "rsa:2048", "--label", label, "--id", f"{number:02x}")

    def tool(self, *args):
        p = subprocess.run(args, capture_output=True, text=True, env={**os.environ, **self.env}, timeout=60)
        expect(p.returncode == 0, f"{args[0]}: {p.stdout}{p.stderr}")

    def uri(self, label):
        return f"pkcs11:token=pomona;object={label};type=private"


@contextlib.contextmanager
def approving(s):
    """Approves every request that waits, while the block runs."""
    stop, problems = threading.Event(), []

    def run():
        while not stop.wait(0.05):
            try:
                status, reply, _ = s.api("GET", "/api/v1/scep-requests?state=pending")
                equal(status, 200, str(reply))
                for row in reply["items"]:
                    status, answer, _ = s.api("POST", f"/api/v1/scep-requests/{row['id']}/approve", {})
                    equal(status, 200, str(answer))
            except BaseException as e:
                problems.append(e)
                return
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if problems:
        raise problems[0]


def make_ca(s, token, *options):
    """A CA named lab, with its keys in the token when there is one."""
    uris = [f"--{role}-key={token.uri(role)}" for role in (["root", "issuing", "ra"] if "--ra" in options else ["root", "issuing"])] + [f"--pin-file={token.pin_file}"] if token else []
    s.cli("ca", "create", "lab", *options, *uris)


def run_matrix(s, form):
    """The rows of one matrix; fails with those that failed."""
    made = [s.api("POST", "/api/v1/challenges", {"profile": name, "subject": f"CN=row {n}"}) for n in range(N_CHALLENGES) for name in ("lab", "wait")]
    lines = [reply["challenge"] for status, reply, _ in made if status == 201]
    path = os.path.join(s.root, "challenges")
    pathlib.Path(path).write_text("\n".join(lines) + "\n")
    base = f"http://127.0.0.1:{s.http_port}/scep/"
    with approving(s):
        p = subprocess.run([POMONA, "sim", "scep", "--matrix", "--form", form, "--challenge-file", path, "--pending-url", base + "wait", "--wait", "30", base + "lab"], capture_output=True, text=True, timeout=170)
    rows = [line for line in p.stdout.splitlines() if line.startswith(("ok ", "not ok "))]
    wrong = [line for line in p.stdout.splitlines() if line.startswith(("not ok ", "# "))]
    equal((p.returncode, len(rows), wrong), (0, ROWS, []), p.stderr)
    expect(not any("SKIP" in line for line in rows), "rows were left out")
    serials = [c["serial"] for c in s.api("GET", "/api/v1/certificates?limit=1000")[1]["items"]]
    expect(len(set(serials)) >= ROWS, f"{len(serials)} certificates for {ROWS} rows")


def make(mode, in_token, form):
    def fn():
        root = tempfile.mkdtemp(prefix="pomona-")
        try:
            token = Token(root, "root", "issuing", "ra") if in_token else None
            settings = ["--set", f"ca.pkcs11_module={token.module}"] if token else []
            with Server(*settings, data=root, push_cert=False, env=token.env if token else None) as s:
                make_ca(s, token, *(["--ra"] if mode == "ra" else []))
                for name, approval in (("lab", "auto"), ("wait", "manual")):
                    s.cli("scep-profile", "set", name, "ca=lab", f"mode={mode}", f"approval={approval}", "renewal_percent=0")
                kind = Scep(s, "lab").get("GetCACert").headers["content-type"]
                equal(kind, "application/x-x509-ca-cert" if mode == "single" else "application/x-x509-ca-ra-cert", "mode of GetCACert")
                run_matrix(s, form)
        finally:
            shutil.rmtree(root, ignore_errors=True)
    fn.__name__ = f"{mode}_mode_with_keys_in_{'a_token' if in_token else 'files'}_as_{form}"
    return fn


# Each form of client meets each mode once.
for number, mode_name in enumerate(("single", "chain", "ra")):
    case(make(mode_name, False, ("ios", "macos", "modern")[number]))
    case(make(mode_name, True, ("macos", "modern", "ios")[number]))


if __name__ == "__main__":
    main()
