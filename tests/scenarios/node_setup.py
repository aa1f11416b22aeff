#!/usr/bin/python3
"""Making the data directories of several nodes: init --store, init --join, what each refuses, and that no password of the database is seen anywhere."""
import atexit
import glob
import random
import stat

from harness import *
from lib.postgres import ClusterNode, Postgres

URL = "https://mdm.example.org"
HUSH = "hush-hush-5"
_cluster = None


def cluster():
    """One for all cases; closed in the end."""
    global _cluster
    if not _cluster:
        _cluster = Postgres()
        atexit.register(_cluster.close)
        # Nothing here looks at what a crash of the database leaves.
        _cluster.configure(fsync="off")
        _cluster.sql("SELECT pg_reload_conf()", database="postgres")
    return _cluster


@contextlib.contextmanager
def place():
    """A folder, and the URL of a new database."""
    root = tempfile.mkdtemp(prefix="pomona-setup-")
    name = "d" + secrets.token_hex(6)
    cluster().create(name)
    try:
        yield root, cluster().url(database=name), name
    finally:
        shutil.rmtree(root, ignore_errors=True)


def pomona(*args, env=None):
    """(exit code, stdout, stderr)"""
    p = subprocess.run([POMONA, *args], capture_output=True, text=True, timeout=60, env={**os.environ, **(env or {})})
    expect(HUSH not in p.stdout + p.stderr, f"a password was shown: {p.stdout}{p.stderr}")
    return p.returncode, p.stdout, p.stderr


def refused(text, *args, env=None):
    code, out, err = pomona(*args, env=env)
    expect(code != 0 and text in err, f"pomona {' '.join(args)}: exit {code}, wanted {text!r}\n{out}{err}")


def init(root, store, name="a"):
    data = os.path.join(root, name)
    run("init", "--data", data, "--url", URL, "--org", "Test Org", "--store", store)
    return data


_made = None


def first(root, store, name):
    """What init makes with the database NAME, which is empty: a copy, because making keys takes seconds."""
    global _made
    if not _made:
        _made = os.path.join(cluster().root, "made")
        os.mkdir(_made)
        init(_made, cluster().create("made").url(database="made"))
    cluster().sql(f"DROP DATABASE {name}", database="postgres")
    cluster().sql(f"CREATE DATABASE {name} TEMPLATE made", database="postgres")
    data = os.path.join(root, "a")
    shutil.copytree(os.path.join(_made, "a"), data)
    conf = pathlib.Path(data, "pomona.conf")
    conf.write_text(conf.read_text().replace(cluster().url(database="made"), store))
    return data


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@case
def a_second_node_takes_over_what_all_must_have_alike():
    with place() as (root, store, name):
        a = first(root, store, name)
        conf = os.path.join(a, "pomona.conf")
        with open(conf, "a") as f:
            f.write("\n[enroll]\naccess_rights=4095\n[apns]\nroot=/nowhere/roots.pem\n")
        with open(conf) as f:
            text = f.read()
        open(conf, "w").write(text.replace("[server]\n", f"[server]\nlisten=127.0.0.1:{free_port()}\nadmin_listen=\nworkers=7\n"))
        # It says so when it serves; a file that is not there keeps it from that.
        pathlib.Path(root, "roots.pem").write_bytes(self_signed(rsa_key(), x509.Name([])).public_bytes(serialization.Encoding.PEM))
        serve = subprocess.Popen([POMONA, "serve", "--data", a, "--set", f"apns.root={root}/roots.pem", "--set", "doctor.interval_hours=0"], stderr=subprocess.DEVNULL)
        try:
            wait_for("the first node", lambda: os.path.exists(os.path.join(a, "serve.json")))
        finally:
            serve.terminate()
            equal(serve.wait(30), 0, "end of the first node")
        os.unlink(os.path.join(root, "roots.pem"))
        b = os.path.join(root, "b")
        joined = json.loads(run("init", "--data", b, "--join", "--store", store, "--seal-key", os.path.join(a, "seal.key"), "--json"))
        equal((joined["url"], joined["existed"]), (URL, False))
        expect(len(joined["missing"]) == 1 and "roots.pem, which the setting apns.root names" in joined["missing"][0], joined["missing"])
        text = open(os.path.join(b, "pomona.conf")).read()
        for line in (f"url={URL}", "organization=Test Org", "access_rights=4095", f"url={store}"):
            expect(line + "\n" in text, f"{line} is not in\n{text}")
        for key in ("listen", "workers"):
            expect(key not in text, f"{key} is each node's own:\n{text}")
        for file in ("seal.key", "root-ca.pem"):
            equal(open(os.path.join(a, file)).read(), open(os.path.join(b, file)).read(), file)
        equal((mode(b), mode(os.path.join(b, "seal.key"))), (0o700, 0o600))
        # Again: nothing is changed.
        again = json.loads(run("init", "--data", b, "--join", "--store", store, "--seal-key", os.path.join(a, "seal.key"), "--json"))
        equal(again["existed"], True)
        equal(open(os.path.join(b, "pomona.conf")).read(), text)


@case
def joining_is_refused_where_it_cannot_work():
    with place() as (root, store, name), place() as (_, empty, empty_name):
        a = first(root, store, name)
        key, other, c = os.path.join(a, "seal.key"), os.path.join(root, "other.key"), os.path.join(root, "c")
        pathlib.Path(other).write_text("ab" * 32 + "\n")
        os.chmod(other, 0o600)
        join = ["init", "--data", c, "--join"]
        refused("is not the encryption key of this database", *join, "--store", store, "--seal-key", other)
        refused("cannot be read", *join, "--store", store, "--seal-key", os.path.join(root, "none.key"))
        refused("there is no server to join", *join, "--store", empty, "--seal-key", key)
        refused("the server of this database is https://mdm.example.org, not https://other.example.org", *join, "--store", store, "--seal-key", key, "--url", "https://other.example.org")
        refused("--join needs --seal-key", *join, "--store", store)
        refused("--join needs --store", *join, "--seal-key", key)
        refused("serves one node", *join, "--store", f"sqlite:{root}/x.db", "--seal-key", key)
        refused("--org was decided with the first node", *join, "--store", store, "--seal-key", key, "--org", "X")
        refused("POM-E0108", *join, "--store", f"postgresql://pomona@127.0.0.1:{free_port()}/x", "--seal-key", key)
        os.chmod(other, 0o644)
        refused("can be read by others", *join, "--store", store, "--seal-key", other)
        os.mkdir(c)
        pathlib.Path(c, "somebody").write_text("s")
        refused("is not a data directory", *join, "--store", store, "--seal-key", key)
        equal(os.listdir(c), ["somebody"], "what was there")
        equal(cluster().sql("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace", database=empty_name), [["0"]], "the empty database was touched")
        expect(not glob.glob(root + "/*.new"), "something half made is left")


@case
def a_first_node_wants_a_database_of_its_own():
    with place() as (root, store, name):
        first(root, store, name)
        x = os.path.join(root, "x")
        refused(f"holds the data of a server already, {URL}", "init", "--data", x, "--url", "https://other.example.org", "--store", store)
        refused("holds the data of a server already", "init", "--data", x, "--url", URL, "--store", store)
        # The directory that made it is found again; not with another database.
        equal(json.loads(run("init", "--data", os.path.join(root, "a"), "--url", URL, "--store", store, "--json"))["existed"], True)
        with place() as (_, strange, strange_name):
            refused("was made with another database", "init", "--data", os.path.join(root, "a"), "--url", URL, "--store", strange)
            cluster().sql("CREATE TABLE somebodys (x int)", database=strange_name)
            refused("holds tables that are not Pomona's", "init", "--data", x, "--url", URL, "--store", strange)
            equal(cluster().sql("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'", database=strange_name), [["somebodys"]])
        expect(not os.path.exists(x) and not os.path.exists(x + ".new"), "something is left")


@case
def an_init_that_was_cut_off_goes_on():
    with place() as (root, store, name):
        # As if it had ended after the CA was written: the key is beside it.
        a = first(root, store, name)
        key = open(os.path.join(a, "seal.key")).read()
        os.rename(a, a + ".new")
        for file in ("pomona.conf", "admin.token", "root-ca.pem"):
            os.unlink(os.path.join(a + ".new", file))
        refused("holds the data of a server already", "init", "--data", os.path.join(root, "x"), "--url", URL, "--store", store)
        init(root, store)
        equal(open(os.path.join(a, "seal.key")).read(), key, "the key")
        equal(sorted(os.listdir(a)), ["admin.token", "pomona.conf", "root-ca.pem", "seal.key"])
        equal(cluster().sql("SELECT count(*) FROM ca_generation", database=name), [["1"]], "generations")


@case
def an_init_that_is_killed_can_be_repeated():
    for delay in (random.uniform(0, 1.5) for _ in range(2)):
        with place() as (root, store, name):
            p = subprocess.Popen([POMONA, "init", "--data", os.path.join(root, "a"), "--url", URL, "--org", "Test Org", "--store", store], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                p.wait(delay)
            p.kill()
            p.wait()
            a = init(root, store)
            b = os.path.join(root, "b")
            run("init", "--data", b, "--join", "--store", store, "--seal-key", os.path.join(a, "seal.key"))


@case
def two_first_nodes_at_once_make_one_server():
    with place() as (root, store, name):
        ps = [subprocess.Popen([POMONA, "init", "--data", os.path.join(root, n), "--url", URL, "--org", "Test Org", "--store", store], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for n in "ab"]
        codes = [p.wait(60) for p in ps]
        equal(sorted(bool(c) for c in codes), [False, True], f"exit codes {codes}")
        made = os.path.join(root, "ab"[codes.index(0)])
        expect(not glob.glob(root + "/*.new"), "what the other one began is left")
        run("init", "--data", os.path.join(root, "c"), "--join", "--store", store, "--seal-key", os.path.join(made, "seal.key"))


@case
def settings_that_differ_between_nodes_are_told():
    said = "this setting should be the same on all nodes"
    with place() as (root, store, name):
        a, b = first(root, store, name), os.path.join(root, "b")
        run("init", "--data", b, "--join", "--store", store, "--seal-key", os.path.join(a, "seal.key"), "--node", "b")
        expect("[node]\nname=b\n" in open(os.path.join(b, "pomona.conf")).read(), "node.name")
        with ServeOnce(a, "--set", "node.name=a", "--set", "enroll.access_rights=4095", "--set", "server.workers=3") as one:
            expect(said not in one.log(), one.log())
            with ServeOnce(b, "--set", "tls.certificate=") as two:
                lines = [line for line in two.log().splitlines() if said in line]
                equal(len(lines), 1, f"lines in {two.log()}")
                for part in ("setting=enroll.access_rights", "here=8191", "there=4095", "other_node=a"):
                    expect(part in lines[0], lines[0])
            # Again and again, as long as the other one is there.
            with ServeOnce(b, "--set", "enroll.access_rights=8191") as two:
                equal(two.log().count(said), 2, "lines after the second start")
            with ServeOnce(b, "--set", "enroll.access_rights=4095") as two:
                equal(two.log().count(said), 2, "lines after the third start")
            # A third one is given what the last one had.
            c = os.path.join(root, "c")
            run("init", "--data", c, "--join", "--store", store, "--seal-key", os.path.join(a, "seal.key"), "--node", "c")
            expect("access_rights=4095" in open(os.path.join(c, "pomona.conf")).read(), "settings of the last node")
        # Of a node that has ended, nothing is said.
        with ServeOnce(b) as two:
            equal(two.log().count(said), 2, "lines after the end of the other node")


@case
def another_url_is_refused_while_other_nodes_serve():
    with place() as (root, store, name):
        a, b = first(root, store, name), os.path.join(root, "b")
        run("init", "--data", b, "--join", "--store", store, "--seal-key", os.path.join(a, "seal.key"), "--node", "b")
        with ServeOnce(a, "--set", "node.name=a"):
            refused("server.url is https://other.example.org here, but other nodes of this database serve https://mdm.example.org", "serve", "--data", b, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
                    "--set", "server.url=https://other.example.org")
            with ServeOnce(b):
                pass
        # Alone, and without devices, it may change.
        with ServeOnce(b, "--set", "server.url=https://other.example.org") as two:
            expect("the public URL has changed" in two.log(), two.log())


@case
def a_node_older_than_its_database_is_not_ready():
    with place() as (root, store, name):
        a = first(root, store, name)
        with ServeOnce(a) as one:
            equal([one.get(path, tls) for path, tls in (("/readyz", True), ("/readyz", False), ("/healthz", False))], [200, 200, 200])
            cluster().sql("UPDATE pomona_schema SET version = version + 1", database=name)
            wait_for("the load balancer to be told", lambda: one.get("/readyz", True) == 503, 30)
            equal([one.get(path, tls) for path, tls in (("/readyz", False), ("/healthz", False))], [503, 200])
        for words in (["serve", "--data", a], ["init", "--data", os.path.join(root, "b"), "--join", "--store", store, "--seal-key", os.path.join(a, "seal.key")]):
            refused("run a newer Pomona", *words)


class Nginx:
    """nginx in front of NODES, with the example of the documentation: only addresses and files are others."""

    def __init__(self, root, *nodes):
        self.port = free_port()
        key = rsa_key()
        for file, content in (("tls-chain.pem", self_signed(key, x509.Name([])).public_bytes(serialization.Encoding.PEM)), ("tls-key.pem", pem_key(key))):
            pathlib.Path(root, file).write_bytes(content)
        text = (pathlib.Path(__file__).parents[2] / "docs" / "examples" / "nginx-nodes.conf").read_text()
        for old, new in [("/etc/pomona/", root + "/"), ("listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl"),
                         *((f"192.0.2.1{i}:8082", f"127.0.0.1:{node.ports()['proxy_port']}") for i, node in enumerate(nodes, 1))]:
            expect(old in text, f"{old} is not in the example")
            text = text.replace(old, new)
        pathlib.Path(root, "nginx-nodes.conf").write_text(text)
        temp = "".join(f"{kind}_temp_path {root}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        main_conf = pathlib.Path(root, "main.conf")
        main_conf.write_text(f"daemon off;\nmaster_process off;\npid {root}/pid;\nerror_log {root}/log;\nevents {{}}\nhttp {{\naccess_log off;\n{temp}include {root}/nginx-nodes.conf;\n}}\n")
        self.process = subprocess.Popen(["nginx", "-c", str(main_conf), "-e", f"{root}/log"], env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"}, stderr=subprocess.DEVNULL)

    def get(self, path):
        """The status, or 0 when nobody is there."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        c = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=context)
        try:
            c.request("GET", path)
            return c.getresponse().status
        except OSError:
            return 0
        finally:
            c.close()

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.process.kill()
        self.process.wait()


@case
def nginx_gives_requests_to_the_node_that_works():
    with place() as (root, store, name):
        a, b = first(root, store, name), os.path.join(root, "b")
        run("init", "--data", b, "--join", "--store", store, "--seal-key", os.path.join(a, "seal.key"), "--node", "b")
        proxied = ["--set", "proxy.listen=127.0.0.1:0", "--set", "proxy.addresses=127.0.0.1"]
        with ServeOnce(a, "--set", "node.name=a", *proxied) as one, ServeOnce(b, *proxied) as two, Nginx(root, one, two) as nginx:
            wait_for("nginx to answer", lambda: nginx.get("/readyz") == 200)
            one.process.kill()
            one.process.wait()
            equal([nginx.get("/readyz") for _ in range(8)], [200] * 8, "answers after a node has died")


def own_role(name):
    """A role with a password, which the cluster asks for; (role, undo)."""
    role = "r" + secrets.token_hex(4)
    cluster().sql(f"CREATE ROLE {role} LOGIN PASSWORD '{HUSH}'", database="postgres")
    cluster().sql(f"ALTER DATABASE {name} OWNER TO {role}", database="postgres")
    hba = pathlib.Path(cluster().data, "pg_hba.conf")
    text = hba.read_text()
    if role not in text:
        hba.write_text(f"host all {role} 127.0.0.1/32 scram-sha-256\n" + text)
        cluster().sql("SELECT pg_reload_conf()", database="postgres")
    return role


@case
def a_password_is_in_a_file_or_the_environment_and_nowhere_else():
    with place() as (root, store, name):
        role = own_role(name)
        plain = f"postgresql://{role}@127.0.0.1:{cluster().port}/{name}"
        secret = plain.replace("@", f":{HUSH}@")
        data = os.path.join(root, "a")
        init = ["init", "--data", data, "--url", URL]
        for typed in (secret, f"{plain}?password={HUSH}", plain.replace("@", f":{HUSH}/x@"), plain.replace("@", f":{HUSH}@x@")):
            code, out, err = pomona(*init, "--store", typed)
            expect(code == 2 and ("--store holds a password" in err or "store.url cannot be read" in err), err)
        wait_for("the cluster to ask for the password", lambda: "password" in pomona(*init, "--store", plain)[2])
        refused("POM-E0108", *init, env={"POMONA_STORE_URL": secret.replace(HUSH, "wrong")})
        passfile = os.path.join(root, "pgpass")
        pathlib.Path(passfile).write_text(f"*:*:*:*:{HUSH}\n")
        os.chmod(passfile, 0o600)
        run("init", "--data", data, "--url", URL, "--store", f"{plain}?passfile={passfile}")
        conf = open(os.path.join(data, "pomona.conf")).read()
        expect(HUSH not in conf and f"passfile={passfile}" in conf, conf)
        # From the environment, it is not written down.
        b = os.path.join(root, "b")
        equal(pomona("init", "--data", b, "--join", "--seal-key", os.path.join(data, "seal.key"), env={"POMONA_STORE_URL": secret})[0], 0)
        expect("[store]" not in open(os.path.join(b, "pomona.conf")).read(), "the URL of the environment was written down")
        with ServeOnce(b, env={"POMONA_STORE_URL": secret}) as s:
            expect(HUSH not in s.log() and f"store=postgresql://{role}@127.0.0.1" in s.log(), s.log())
            expect(HUSH not in open(f"/proc/{s.process.pid}/cmdline").read(), "argv")
        refused("--set store.url holds a password", "serve", "--data", b, "--set", f"store.url={secret}")


@case
def settings_with_a_password_are_their_owners_alone():
    with place() as (root, store, name):
        data = first(root, store, name)
        conf = pathlib.Path(data, "pomona.conf")
        conf.write_text(conf.read_text().replace("pomona@", f"pomona:{HUSH}@"))
        for words in (["serve"], ["backup", os.path.join(root, "backup")]):
            refused("can be read by others, and store.url in it holds a password: chmod 600", *words, "--data", data)
        conf.chmod(0o600)
        refused("back it up with the tools of its database server", "backup", os.path.join(root, "backup"), "--data", data)
        with ServeOnce(data) as s:
            expect(HUSH not in s.log() and "store=postgresql://pomona@127.0.0.1" in s.log(), s.log())


class ServeOnce:
    """`pomona serve` of a data directory until it is ready."""

    def __init__(self, data, *args, env=None):
        self.path = data + ".log"
        self.data = data
        self.file = open(self.path, "ab")
        self.process = subprocess.Popen([POMONA, "serve", "--data", data, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--set", "inventory.hours=0", "--set", "doctor.interval_hours=0", *args],
                                        stderr=self.file, env={**os.environ, **(env or {})})

    def log(self):
        return open(self.path, errors="replace").read()

    def ports(self):
        with contextlib.suppress(OSError, ValueError):
            p = json.load(open(os.path.join(self.data, "serve.json")))
            return p["pid"] == self.process.pid and p

    def get(self, path, tls):
        """The status of GET, at the listener for devices (TLS) or the admin API."""
        p = self.ports()
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        c = http.client.HTTPSConnection("127.0.0.1", p["device_port"], timeout=30, context=context) if tls else http.client.HTTPConnection("127.0.0.1", p["admin_port"], timeout=30)
        try:
            c.request("GET", path)
            return c.getresponse().status
        finally:
            c.close()

    def __enter__(self):
        def ready():
            expect(self.process.poll() is None, self.log())
            return self.ports()
        try:
            wait_for("the node to serve", ready, 60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *what):
        expect(end_process(self.process), "the server does not end")
        expect(not any(r in self.log() for r in SANITIZER_REPORTS), self.log())


if __name__ == "__main__":
    main()
