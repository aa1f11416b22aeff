"""The way to PostgreSQL as users of libpq know it: TLS that is proved, passwords in files, client certificates, several hosts, services; what each refuses, and that no password is seen anywhere."""
import atexit

from lib.postgres import *

URL = "https://mdm.example.org"
# With all that URLs and files of passwords make of such characters.
HUSH = 'hu sh@5:x/y?z#%&=é"\\'
ROLE, DATABASE = "role @:/?é", 'data "base" %/ü?&@:'
KEY_HUSH = "key-hush-7"
UNSEEN = [HUSH, urllib.parse.quote(HUSH, safe=""), HUSH.replace("\\", "\\\\"), json.dumps(HUSH)[1:-1], KEY_HUSH, "hu sh", "hu%20sh"]


class Secured(Postgres):
    """A cluster that is reached by TLS: its certificate is for "localhost" and issued by DIR/root.pem; DIR/other.pem is another root. `pomona` comes without a password (for the test), ROLE with HUSH, `certified` with a certificate of
    DIR/root.pem. DATABASE is ROLE's."""

    def __init__(self):
        super().__init__()
        try:
            self.dir = os.path.join(self.root, "tls")
            os.mkdir(self.dir, 0o755)
            for name in ("root", "other"):
                self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN=database {name}", "-days", "30")
            self.certify("server", "root", "database server", "subjectAltName=DNS:localhost")
            self.certify("stranger", "other", "database server", "subjectAltName=DNS:localhost")
            self.certify("client", "root", "certified")
            self.certify("wrong", "root", "somebody else")
            self.openssl("ec", "-in", "client.key", "-aes256", "-passout", f"pass:{KEY_HUSH}", "-out", "locked.key")
            os.chmod(self.file("locked.key"), 0o600)
            pathlib.Path(self.data, "pg_hba.conf").write_text("\n".join([
                "host all pomona 127.0.0.1/32 trust", "host all plain 127.0.0.1/32 scram-sha-256", "hostssl all certified 127.0.0.1/32 cert clientcert=verify-full", "hostssl all all 127.0.0.1/32 scram-sha-256"]) + "\n")
            # Nothing here looks at what a crash of the database leaves.
            self.configure(fsync="off")
            self.show("server")
            self.restart("fast")
            self.sql(f"CREATE ROLE {self.name(ROLE)} LOGIN PASSWORD {self.text(HUSH)}; CREATE ROLE plain LOGIN PASSWORD {self.text(HUSH)} IN ROLE {self.name(ROLE)}; CREATE ROLE certified LOGIN IN ROLE {self.name(ROLE)}", database="postgres")
            self.sql(f"CREATE DATABASE {self.name(DATABASE)} OWNER {self.name(ROLE)}", database="postgres")
            self.sql("GRANT ALL ON SCHEMA public TO PUBLIC", database=DATABASE)
        except BaseException:
            self.close()
            raise

    def file(self, name):
        return os.path.join(self.dir, name)

    def openssl(self, *args):
        p = subprocess.run(["openssl", *args], capture_output=True, text=True, cwd=self.dir)
        expect(p.returncode == 0, f"openssl {args[0]}: {p.stderr}")

    def certify(self, name, issuer, subject, *extensions):
        pathlib.Path(self.file(name + ".ext")).write_text("\n".join(["basicConstraints=CA:FALSE", *extensions]) + "\n")
        self.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={subject}")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-CAcreateserial", "-days", "30", "-extfile", f"{name}.ext", "-out", f"{name}.pem")
        os.chmod(self.file(name + ".key"), 0o600)

    def show(self, name):
        """The certificate that the server shows from its next start or reload on."""
        for kind in ("key", "pem"):
            shutil.copy(self.file(f"{name}.{kind}"), os.path.join(self.data, f"shown.{kind}"))
            os.chmod(os.path.join(self.data, f"shown.{kind}"), 0o600)
            if os.getuid() == 0:
                shutil.chown(os.path.join(self.data, f"shown.{kind}"), "postgres", "postgres")
        self.configure(ssl="on", ssl_cert_file="shown.pem", ssl_key_file="shown.key", ssl_ca_file=self.file("root.pem"))

    @staticmethod
    def name(text):
        return '"' + text.replace('"', '""') + '"'

    @staticmethod
    def text(text):
        return "'" + text.replace("'", "''") + "'"

    def at(self, role=ROLE, host="localhost", password=None, database=DATABASE, **params):
        """A URL. TLS with all that it proves, unless PARAMS say something else; None leaves one out."""
        quote = lambda text: urllib.parse.quote(text, safe="")
        params = {"hostaddr": "127.0.0.1", "sslmode": "verify-full", "sslrootcert": self.file("root.pem"), **params}
        secret = "" if password is None else ":" + quote(password)
        return f"postgresql://{quote(role)}{secret}@{host}:{self.port}/{quote(database)}?" + "&".join(f"{name}={quote(str(value))}" for name, value in params.items() if value is not None)

    def passfile(self, line=None, mode=0o600, name="pgpass"):
        """A password file with LINE; HUSH for everybody."""
        path = self.file(name)
        pathlib.Path(path).write_text((line or "*:*:*:*:" + HUSH.replace("\\", "\\\\").replace(":", "\\:")) + "\n")
        os.chmod(path, mode)
        return path


_cluster = None


def cluster():
    """One for all cases, with a server's data in DATABASE, which CLUSTER.made is the data directory of; closed in the end."""
    global _cluster
    if not _cluster:
        _cluster = Secured()
        atexit.register(_cluster.close)
        _cluster.made = os.path.join(_cluster.root, "made")
        code, _, err = pomona("init", "--data", _cluster.made, "--url", URL, "--org", "Test Org", "--store", _cluster.at(passfile=_cluster.passfile(name="first")))
        equal(code, 0, err)
        _cluster.key = os.path.join(_cluster.made, "seal.key")
    return _cluster


def unseen(text, where):
    for word in UNSEEN:
        expect(word not in text, f"a password ({word!r}) is in {where}:\n{text}")
    return text


def pomona(*args, env=None):
    """(exit code, stdout, stderr)"""
    p = subprocess.run([POMONA, *args], capture_output=True, text=True, timeout=60, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL)
    unseen(p.stdout + p.stderr, f"what {args[0]} says")
    return p.returncode, p.stdout, p.stderr


def refused(store, *words, env=None, on="argv"):
    """Joining the server at STORE is refused with all WORDS, and leaves nothing."""
    with tempfile.TemporaryDirectory(prefix="pomona-tls-") as root:
        join = ["init", "--data", os.path.join(root, "x"), "--join", "--seal-key", cluster().key]
        code, out, err = pomona(*join, *(["--store", store] if on == "argv" else []), env={**(env or {}), **({} if on == "argv" else {"POMONA_STORE_URL": store})})
        expect(code != 0 and all(word in err for word in words), f"{store}: exit {code}, wanted {words}\n{out}{err}")
        # libpq says by itself that it ignores a password file.
        equal(len([line for line in err.splitlines() if not line.startswith("WARNING: password file")]), 1, f"lines: {err}")
        equal(os.listdir(root), [], "what was made")


class Serving:
    """`pomona serve` over the store STORE (of the environment), until it is ready."""

    def __init__(self, store, env=None, ready=True):
        self.root = tempfile.mkdtemp(prefix="pomona-tls-")
        self.data, self.log_path, self.process = os.path.join(self.root, "data"), os.path.join(self.root, "log"), None
        try:
            code, _, err = pomona("init", "--data", self.data, "--join", "--seal-key", cluster().key, env={"POMONA_STORE_URL": store, **(env or {})})
            equal(code, 0, err)
            with open(self.log_path, "ab") as log:
                self.process = subprocess.Popen([POMONA, "serve", "--data", self.data, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--set", "inventory.hours=0", "--set", "doctor.interval_hours=0"],
                                                stderr=log, stdout=log, stdin=subprocess.DEVNULL, env={**os.environ, "POMONA_STORE_URL": store, **(env or {})})
            wait_for("the node to serve", self.ports, 60)
        except BaseException:
            self.close()
            raise

    def log(self):
        with contextlib.suppress(FileNotFoundError):
            return open(self.log_path, errors="replace").read()
        return ""

    def ports(self):
        expect(self.process.poll() is None, self.log())
        with contextlib.suppress(OSError, ValueError):
            p = json.load(open(os.path.join(self.data, "serve.json")))
            return p["pid"] == self.process.pid and p

    def get(self, path):
        """(status, text) of GET at the admin API."""
        c = http.client.HTTPConnection("127.0.0.1", self.ports()["admin_port"], timeout=30)
        try:
            c.request("GET", path)
            r = c.getresponse()
            return r.status, r.read().decode()
        finally:
            c.close()

    def cli(self, *args, wanted=0):
        code, out, err = pomona(*args, "--data", self.data)
        equal(code, wanted, f"{' '.join(args)}: {out}{err}")
        return out + err

    def close(self):
        try:
            if self.process:
                expect(end_process(self.process), "the server does not end")
            unseen(self.log(), "the log")
            expect(not any(r in self.log() for r in SANITIZER_REPORTS), self.log())
        finally:
            shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.close()


def sessions(role=ROLE):
    """[(version of TLS or None, name in the client's certificate)] of the connections of nodes."""
    pg = cluster()
    return [tuple(row) for row in pg.sql(f"SELECT s.version, s.client_dn FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid) WHERE a.application_name = 'pomona' AND a.usename = {pg.text(role)} AND a.backend_type = 'client backend'", "postgres")]


def is_written(node):
    """That the database can be written by NODE."""
    expect("profile_url" in node.cli("enroll", "new", "--json"), "no link was made")
    equal(node.get("/readyz")[0], 200)


@case
def a_password_file_over_tls():
    pg = cluster()
    with Serving(pg.at(passfile=pg.passfile())) as node:
        is_written(node)
        equal(set(sessions()), {("TLSv1.3", None)})
        seen_nowhere(node)
    # The file that the environment names.
    with Serving(pg.at(), env={"PGPASSFILE": pg.passfile()}) as node:
        is_written(node)
    # The password of the environment.
    with Serving(pg.at(), env={"PGPASSWORD": HUSH}) as node:
        is_written(node)
        seen_nowhere(node, environ={"PGPASSWORD": HUSH})


def seen_nowhere(node, environ=None):
    """That the password is in nothing that NODE says or keeps; ENVIRON: where the one who started it put it."""
    proc = pathlib.Path("/proc", str(node.process.pid))
    unseen((proc / "cmdline").read_text(errors="replace"), "argv")
    env = dict(pair.split("=", 1) for pair in (proc / "environ").read_text().split("\0") if "=" in pair)
    for name, value in (environ or {}).items():
        equal(env.pop(name), value, f"the environment's {name}")
    unseen(repr(env), "the environment")
    for path, _, files in os.walk(node.data):
        for name in [name for name in files if os.path.isfile(os.path.join(path, name))]:
            unseen(pathlib.Path(path, name).read_bytes().decode(errors="replace"), name)
    for words in (["node", "list", "--json"], ["ca", "audit", "--json"], ["push", "status", "--json"], ["device", "list", "--json"], ["token", "list", "--json"]):
        unseen(node.cli(*words), " ".join(words))
    for words in (["backup", os.path.join(node.root, "backup")], ["doctor", "--json"], ["migrate-store", "--to", "sqlite:" + os.path.join(node.root, "moved.db")]):
        pomona(*words, "--data", node.data, env=environ)
    for path in ("/readyz", "/metrics", "/healthz"):
        unseen(node.get(path)[1], path)
    pg = cluster()
    unseen(pg.run("pg_dump", "--inserts", "-h", "127.0.0.1", "-p", str(pg.port), "-U", "pomona", "-d", "dbname=" + "'" + DATABASE.replace("\\", "\\\\").replace("'", "\\'") + "'"), "the database")


@case
def a_url_with_odd_names_and_a_password():
    """From the environment, and from settings that their owner alone can read."""
    pg = cluster()
    store = pg.at(password=HUSH)
    with Serving(store) as node:
        is_written(node)
        seen_nowhere(node, environ={"POMONA_STORE_URL": store})
    refused(store, "--store holds a password")
    code, _, err = pomona("migrate-store", "--data", pg.made, "--to", store)
    expect(code == 2 and "--to holds a password" in err, f"exit {code}: {err}")
    refused(pg.at(password=KEY_HUSH), "POM-E0108", "password authentication failed", on="env")
    for url in (f"postgresql://u:{KEY_HUSH}%zz@localhost:1/d", f"postgresql://u:{KEY_HUSH}%00@localhost:1/d", f"postgresql://u@localhost:1/d?password=a&{KEY_HUSH}", f"postgresql://u@localhost:1/d?password=a&{KEY_HUSH}=b",
                f"postgresql://u:x\"{KEY_HUSH}%zz@localhost:1/d", f"postgresql://u@localhost:1/d?password={KEY_HUSH}=b"):
        refused(url, "store.url cannot be read", "POM-E0010", on="env")
    # What holds no password is quoted.
    refused("postgresql://u@localhost:1/d?sslmod=require", "store.url cannot be read", "sslmod")


@case
def what_is_not_proved_is_refused():
    pg = cluster()
    passfile = pg.passfile()
    open_file = pg.passfile(mode=0o644, name="open")
    other_line = pg.passfile("elsewhere:*:*:*:x", name="elsewhere")
    wrong = pg.passfile("*:*:*:*:wrong", name="wrong")
    refused(pg.at(passfile=passfile, sslrootcert=pg.file("other.pem")), "POM-E0108", "certificate verify failed")
    refused(pg.at(passfile=passfile, sslrootcert=pg.file("nothing.pem")), "POM-E0108", "nothing.pem", "does not exist")
    refused(pg.at(passfile=passfile, host="127.0.0.1", hostaddr=None), "POM-E0108", "localhost", "does not match host name \"127.0.0.1\"")
    refused(pg.at(passfile=wrong), "POM-E0108", "password authentication failed for user")
    refused(pg.at(), "POM-E0108", "no password supplied")
    refused(pg.at(passfile=other_line), "POM-E0108", "no password supplied", other_line, "has no line")
    refused(pg.at(passfile=pg.file("none")), "POM-E0108", "no password supplied", pg.file("none"), "cannot be read")
    refused(pg.at(passfile=open_file), "POM-E0108", open_file, "chmod 600")
    refused(pg.at(), "POM-E0108", open_file, "chmod 600", env={"PGPASSFILE": open_file})
    refused(pg.at(role="nobody", passfile=passfile), "POM-E0108", "password authentication failed for user \"nobody\"")
    refused(pg.at(passfile=passfile, database="nothing"), "POM-E0108", "database \"nothing\" does not exist")
    refused(pg.at(passfile=passfile, sslmode="disable", sslrootcert=None), "POM-E0108", "no encryption")
    refused(pg.at(passfile=passfile, sslmode="verify-ful"), "invalid sslmode value")
    refused(pg.at(role="plain", passfile=passfile, channel_binding="require", sslmode="disable", sslrootcert=None), "POM-E0108", "channel binding")
    pg.configure(ssl="off")
    pg.restart("fast")
    try:
        refused(pg.at(role="plain", passfile=passfile), "POM-E0108", "server does not support SSL, but SSL was required")
        refused(pg.at(role="plain", passfile=passfile, sslmode="require", sslrootcert=None), "POM-E0108", "server does not support SSL, but SSL was required")
    finally:
        pg.configure(ssl="on")
        pg.restart("fast")


@case
def a_client_certificate_instead_of_a_password():
    pg = cluster()
    mine = {"sslcert": pg.file("client.pem"), "sslkey": pg.file("client.key")}
    with Serving(pg.at(role="certified", **mine)) as node:
        is_written(node)
        equal(set(sessions("certified")), {("TLSv1.3", "/CN=certified")})
    locked = {**mine, "sslkey": pg.file("locked.key"), "sslpassword": KEY_HUSH}
    with Serving(pg.at(role="certified", **locked)) as node:
        is_written(node)
        seen_nowhere(node, environ={"POMONA_STORE_URL": pg.at(role="certified", **locked)})
    refused(pg.at(role="certified", **locked), "--store holds a password")
    refused(pg.at(role="certified", **{**locked, "sslpassword": "wrong"}), "POM-E0108", "locked.key", on="env")
    refused(pg.at(role="certified", **{**locked, "sslpassword": None}), "POM-E0108", "locked.key")
    refused(pg.at(role="certified"), "POM-E0108", "valid client certificate")
    refused(pg.at(role="certified", sslcert=pg.file("wrong.pem"), sslkey=pg.file("wrong.key")), "POM-E0108", "certificate authentication failed for user \"certified\"")
    refused(pg.at(role="certified", sslcert=pg.file("client.pem"), sslkey=pg.file("wrong.key")), "POM-E0108", "wrong.key", "mismatch")
    open_key = pg.file("open.key")
    shutil.copy(pg.file("client.key"), open_key)
    os.chmod(open_key, 0o644)
    refused(pg.at(role="certified", sslcert=pg.file("client.pem"), sslkey=open_key), "POM-E0108", open_key, "has group or world access")


@case
def several_hosts_and_a_service():
    pg = cluster()
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        dead = nobody.getsockname()[1]
    both = pg.at(passfile=pg.passfile(), hostaddr="127.0.0.1,127.0.0.1", target_session_attrs="read-write").replace(f"localhost:{pg.port}", f"localhost:{dead},localhost:{pg.port}")
    with Serving(both) as node:
        is_written(node)
    refused(both.replace(str(pg.port), str(dead)), "POM-E0108", f"port {dead}", "Connection refused")
    service = pg.file("services")
    pathlib.Path(service).write_text(f"[pomona-db]\nhost=localhost\nhostaddr=127.0.0.1\nport={pg.port}\nuser={ROLE}\ndbname={DATABASE}\nsslmode=verify-full\nsslrootcert={pg.file('root.pem')}\npassfile={pg.passfile()}\n")
    for url, env in (("postgresql:///?service=pomona-db", {"PGSERVICEFILE": service}), ("postgresql://", {"PGSERVICEFILE": service, "PGSERVICE": "pomona-db"})):
        with Serving(url, env=env) as node:
            equal(set(sessions()), {("TLSv1.3", None)})
            is_written(node)
    refused("postgresql:///?service=nothing", "definition of service \"nothing\" not found", env={"PGSERVICEFILE": service})


@case
def a_server_that_proves_itself_no_more():
    """While a node serves: it is as if the database were away, and the reason is told."""
    pg = cluster()
    with Serving(pg.at(passfile=pg.passfile())) as node:
        is_written(node)
        for certificate, is_good in (("stranger", False), ("server", True)):
            pg.show(certificate)
            pg.sql("SELECT pg_reload_conf()", "postgres")
            if not is_good:
                def away():
                    pg.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'pomona'", "postgres")
                    status, text = node.get("/readyz")
                    return status == 503 and "certificate verify failed" in text
                wait_for("the reason to be told", away, 30)
                expect(sessions() == [], "there are connections")
        wait_for("the node to be ready", lambda: node.get("/readyz")[0] == 200, 30)
        is_written(node)
        equal([sum(text in line for line in node.log().splitlines()) for text in ("the database is away", "the database is back")], [1, 1], node.log())


if __name__ == "__main__":
    main()
