"""pomona backup and restore: under load, after a crash, and every backup that must be refused."""
import pty

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from harness import *

FILES = {"pomona.db", "pomona.conf", "root-ca.pem", "manifest.json"}
SECRETS = {"seal.key", "admin.token"}


def backup(data, folder, *args, code=0):
    return json.loads(run("backup", folder, "--data", data, "--json", *args, code=code) or "null")


def restore(folder, data, *args):
    return json.loads(run("restore", folder, "--data", data, "--json", *args))


def refused(*args, code=1):
    """What a verb says when it must refuse."""
    p = subprocess.run([POMONA, *args], capture_output=True, text=True, timeout=120)
    equal(p.returncode, code, f"pomona {' '.join(args)}: {p.stdout}{p.stderr}")
    return p.stderr


def nothing_left(*paths):
    for path in paths:
        expect(not os.path.lexists(path) and not os.path.lexists(path + ".unfinished"), f"something is left of {path}")


@contextlib.contextmanager
def folder():
    path = tempfile.mkdtemp(prefix="pomona-backup-")
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def make_bulky(server, megabytes):
    """Reports that cannot be packed, so that a copy takes its time."""
    device = server.enroll()
    for _ in range(megabytes // 4):
        uuid = server.cli("command", "send", device.udid, "DeviceInformation", 'Queries=["OSVersion"]')["command_uuid"]
        status, command = device.idle()
        equal((status, command["CommandUUID"]), (200, uuid), "command")
        equal(device.report(uuid, QueryResponses={"Blob": secrets.token_bytes(4 << 20)})[0], 200, "report")
    return device


class Load:
    """Devices that enroll and work without pause, in threads. What the server acknowledged, with the time of it."""

    def __init__(self, server, n_threads=3):
        self.server, self.devices, self.commands, self.faults = server, [], {}, []
        self.slowest, self.n_done, self.stopping = 0.0, 0, False
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(n_threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *args):
        self.stopping = True
        for thread in self.threads:
            thread.join(60)

    def call(self, fn, *args, **options):
        began = time.monotonic()
        result = fn(*args, **options)
        with self.lock:
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.n_done += 1
        return result

    def api(self, method, path, body=None):
        status, reply, _ = self.call(self.server.api, method, path, body)
        expect(status < 300, f"{path}: {status} {reply}")
        return reply

    def run(self):
        try:
            while not self.stopping:
                self.one_device()
        except Exception:
            self.faults.append(traceback.format_exc())

    def one_device(self):
        link = self.api("POST", "/api/v1/links", {})
        device = Device(self.server)
        device.read_profile(self.server.profile(link)).get_identity()
        equal(self.call(device.authenticate), (200, b""), "Authenticate")
        equal(self.call(device.token_update), (200, b""), "TokenUpdate")
        with self.lock:
            self.devices.append(device)
        for _ in range(3):
            uuid = self.api("POST", f"/api/v1/devices/{device.udid}/commands", {"RequestType": "DeviceLock"})["command_uuid"]
            with self.lock:
                self.commands[uuid] = "Queued"
            status, command = self.call(device.idle)
            equal((status, command["CommandUUID"]), (200, uuid), "command")
            equal(self.call(device.report, uuid)[0], 200, "report")
            with self.lock:
                self.commands[uuid] = "Acknowledged"

    def snapshot(self):
        with self.lock:
            return list(self.devices), dict(self.commands), self.n_done


@case
def every_device_goes_on_after_a_restore():
    """Backups at full load; the last one is restored elsewhere. Whatever was acknowledged before it began is there."""
    with Server() as s, folder() as root:
        make_bulky(s, 128)
        for _ in range(KEYS):
            rsa_key()
        n_during = []
        with Load(s) as load:
            deadline = time.monotonic() + 60
            while len(load.snapshot()[0]) < 6 and not load.faults and time.monotonic() < deadline:
                time.sleep(0.05)
            for i in range(3):
                devices, commands, n_before = load.snapshot()
                target = os.path.join(root, f"b{i}")
                manifest = backup(s.data, target)
                n_during.append(load.snapshot()[2] - n_before)
        expect(not load.faults, "\n".join(load.faults))
        expect(len(devices) >= 6 and sum(n_during) > 10, f"{len(devices)} devices; {n_during} requests were served during the backups")
        expect(load.slowest < 5, f"a request took {load.slowest:.1f} s")
        equal(set(os.listdir(target)), FILES, "files")
        equal({f["name"] for f in manifest["files"]}, FILES - {"manifest.json"}, "files in the manifest")
        s.stop(signal.SIGKILL)
        report = restore(target, os.path.join(s.root, "restored"), "--seal-key", os.path.join(s.data, "seal.key"))
        equal(report["url"], s.url, "url")
        expect(any("admin.token" in line for line in report["missing"]), f"missing: {report['missing']}")
        s.data = report["data"]
        s.start()
        token = s.cli("token", "new", "after the restore")["token"]
        for uuid, status in commands.items():
            code, found, _ = s.api("GET", f"/api/v1/commands/{uuid}", token=token)
            expect(code == 200 and (status == "Queued" or found["status"] == "Acknowledged"), f"command {uuid} was {status} before the backup, now {code} {found}")
        for device in devices:
            device.connection = None
            status, command = device.idle()
            while status == 200 and command:
                status, command = device.report(command["CommandUUID"])
            equal(status, 200, "an idle device")
            uuid = s.cli("command", "send", device.udid, "DeviceLock")["command_uuid"]
            equal(device.idle()[1]["CommandUUID"], uuid, "a new command")
            equal(device.report(uuid)[0], 200, "its report")
        s.enroll()


@case
def backup_after_a_crash():
    """What was acknowledged and is only in the log of a server that was killed is in the backup too."""
    with Server() as s, folder() as root:
        device = s.enroll()
        uuid = s.cli("command", "send", device.udid, "DeviceLock")["command_uuid"]
        s.stop(signal.SIGKILL)
        expect(os.path.getsize(os.path.join(s.data, "pomona.db-wal")) > 0, "there is a log")
        backup(s.data, os.path.join(root, "b"), "--with-key")
        s.data = restore(os.path.join(root, "b"), os.path.join(s.root, "restored"))["data"]
        s.start()
        device.connection = None
        equal(device.idle()[1]["CommandUUID"], uuid, "the command")
        equal(s.api("GET", "/api/v1/commands/" + uuid)[0], 200, "the token goes on working")


@case
def the_key_is_in_it_only_when_asked_for():
    with Server(push_cert=False) as s, folder() as root:
        key = open(os.path.join(s.data, "seal.key")).read().strip()
        without, with_key = os.path.join(root, "without"), os.path.join(root, "with")
        run("backup", without, "--data", s.data)
        for name in os.listdir(without):
            content = pathlib.Path(without, name).read_bytes()
            expect(key.encode() not in content and bytes.fromhex(key) not in content and s.token().encode() not in content, f"a secret is in {name}")
        p = subprocess.run([POMONA, "backup", with_key, "--data", s.data, "--with-key"], capture_output=True, text=True)
        expect(p.returncode == 0 and "warning" in p.stderr and key not in p.stdout + p.stderr, p.stdout + p.stderr)
        equal(set(os.listdir(with_key)), FILES | SECRETS, "files")
        for path in (without, with_key):
            equal(os.stat(path).st_mode & 0o777, 0o700, path)
            for name in os.listdir(path):
                equal(os.stat(os.path.join(path, name)).st_mode & 0o777, 0o600, name)
        report = restore(with_key, os.path.join(root, "r"))
        equal(report["missing"], [], "missing")
        equal({n: os.stat(os.path.join(root, "r", n)).st_mode & 0o777 for n in SECRETS}, {n: 0o600 for n in SECRETS}, "modes")


@case
def progress_is_shown_on_a_terminal():
    with Server(push_cert=False) as s, folder() as root:
        for args, texts in (((POMONA, "backup", os.path.join(root, "b"), "--data", s.data, "--with-key"), (b"copying the database:", b"Made the backup")),
                            ((POMONA, "restore", os.path.join(root, "b"), "--data", os.path.join(root, "r")), (b"checking the database", b"Made the data directory"))):
            ours, theirs = pty.openpty()
            p = subprocess.Popen(args, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL)
            os.close(theirs)
            shown = b""
            with contextlib.suppress(OSError):
                while chunk := os.read(ours, 65536):
                    shown += chunk
            os.close(ours)
            equal(p.wait(30), 0, "exit")
            for text in texts:
                expect(text in shown, f"{text} is not in {shown}")
        p = subprocess.run([POMONA, "backup", os.path.join(root, "b2"), "--data", s.data], capture_output=True)
        equal((p.returncode, p.stderr), (0, b""), "nothing without a terminal")


def seal_again(path, key):
    """A manifest that was changed, made good again by somebody who has the key: what is behind the proof is checked as well."""
    manifest = json.load(open(path))
    text = "".join(f"{n} {manifest[m]}\n" for n, m in (("format", "format"), ("version", "version"), ("created", "created"), ("url", "url"), ("schema", "schema"), ("key", "seal_key_id")))
    text += "".join(f"file {f['name']} {f['size']} {f['sha256']}\n" for f in manifest["files"])
    nonce = secrets.token_bytes(12)
    sealed = AESGCM(key).encrypt(nonce, hashlib.sha256(text.encode()).digest(), b"backup/manifest/proof")
    manifest["proof"] = base64.b64encode(b"\x01" + hashlib.sha256(key).digest()[:4] + nonce + sealed).decode()
    json.dump(manifest, open(path, "w"))


def edit_manifest(change):
    def edit(path, key):
        file = os.path.join(path, "manifest.json")
        manifest = json.load(open(file))
        change(manifest)
        json.dump(manifest, open(file, "w"))
    return edit


def edit_bytes(name, change):
    def edit(path, key):
        file = pathlib.Path(path, name)
        file.write_bytes(change(file.read_bytes()))
    return edit


def recount(name, *, then=None):
    """Changes a file, and then the manifest and its proof so that they fit."""
    def edit(path, key):
        then(path, key)
        data = pathlib.Path(path, name).read_bytes()
        edit_manifest(lambda m: [f.update(size=len(data), sha256=hashlib.sha256(data).hexdigest()) for f in m["files"] if f["name"] == name])(path, key)
        seal_again(os.path.join(path, "manifest.json"), key)
    return edit


def with_schema(number):
    return edit_bytes("pomona.db", lambda b: b[:60] + number.to_bytes(4, "big") + b[64:])


def damage_index(path, key):
    """One byte of a page in the middle of the database."""
    data = bytearray(pathlib.Path(path, "pomona.db").read_bytes())
    page = 4096 * (len(data) // 4096 // 2)
    data[page:page + 64] = secrets.token_bytes(64)
    pathlib.Path(path, "pomona.db").write_bytes(data)


REFUSED = [
    # what, how the backup is changed, exit code, part of what is said
    ("database cut off", edit_bytes("pomona.db", lambda b: b[:-4096]), 1, " bytes, "),
    ("database longer", edit_bytes("pomona.db", lambda b: b + b"\0"), 1, " bytes, "),
    ("one bit of the database", edit_bytes("pomona.db", lambda b: b[:5000] + bytes([b[5000] ^ 1]) + b[5001:]), 1, "SHA-256 differs"),
    ("settings changed", edit_bytes("pomona.conf", lambda b: b.replace(b"Test Org", b"Best Org")), 1, "pomona.conf is not as it was"),
    ("root certificate changed", edit_bytes("root-ca.pem", lambda b: b.lower()), 1, "root-ca.pem is not as it was"),
    ("no database", lambda path, key: os.unlink(os.path.join(path, "pomona.db")), 1, "pomona.db is missing"),
    ("no settings", lambda path, key: os.unlink(os.path.join(path, "pomona.conf")), 1, "pomona.conf is missing"),
    ("database is a folder", lambda path, key: (os.unlink(os.path.join(path, "pomona.db")), os.mkdir(os.path.join(path, "pomona.db"))), 1, "is no file"),
    ("no manifest", lambda path, key: os.unlink(os.path.join(path, "manifest.json")), 3, "is no backup"),
    ("manifest cut off", edit_bytes("manifest.json", lambda b: b[:-10]), 1, "manifest.json"),
    ("manifest empty", edit_bytes("manifest.json", lambda b: b""), 1, "manifest.json"),
    ("manifest too large", edit_bytes("manifest.json", lambda b: b + b" " * 65536), 1, "65536 bytes"),
    ("manifest of something else", edit_bytes("manifest.json", lambda b: b'{"name": "other"}'), 1, "none of a backup"),
    ("later format", edit_manifest(lambda m: m.update(format=2)), 1, "has format 2"),
    ("no proof", edit_manifest(lambda m: m.pop("proof")), 1, "lacks something"),
    ("proof is no base64", edit_manifest(lambda m: m.update(proof="***")), 1, "lacks something"),
    ("proof is short", edit_manifest(lambda m: m.update(proof="AAAA")), 1, "was changed after"),
    ("schema is a text", edit_manifest(lambda m: m.update(schema="1")), 1, "lacks something"),
    ("version of two lines", edit_manifest(lambda m: m.update(version="1\n2")), 1, "lacks something"),
    ("another URL", edit_manifest(lambda m: m.update(url="https://other.example.org")), 1, "was changed after"),
    ("another time", edit_manifest(lambda m: m.update(created="2020-01-01T00:00:00Z")), 1, "was changed after"),
    ("another version", edit_manifest(lambda m: m.update(version="9")), 1, "was changed after"),
    ("another schema", edit_manifest(lambda m: m.update(schema=99)), 1, "was changed after"),
    ("a file less", edit_manifest(lambda m: m.update(files=[f for f in m["files"] if f["name"] != "root-ca.pem"])), 1, "was changed after"),
    ("database left out", edit_manifest(lambda m: m.update(files=[f for f in m["files"] if f["name"] != "pomona.db"])), 1, "has no pomona.db"),
    ("a file outside", edit_manifest(lambda m: m["files"][0].update(name="../pomona.db")), 1, "not one that a backup has"),
    ("a file unknown", edit_manifest(lambda m: m["files"].append({"name": "x", "size": 0, "sha256": "00" * 32})), 1, "not one that a backup has"),
    ("a file twice", edit_manifest(lambda m: m["files"].append(m["files"][0])), 1, "not one that a backup has"),
    ("negative size", edit_manifest(lambda m: m["files"][0].update(size=-1)), 1, "not one that a backup has"),
    ("short digest", edit_manifest(lambda m: m["files"][0].update(sha256="00" * 31)), 1, "not one that a backup has"),
    ("database and manifest changed together", lambda path, key: (edit_bytes("pomona.db", lambda b: b + b"\0" * 4096)(path, key), edit_manifest(
        lambda m: m["files"][0].update(size=os.path.getsize(os.path.join(path, "pomona.db")), sha256=hashlib.sha256(pathlib.Path(path, "pomona.db").read_bytes()).hexdigest()))(path, key)),
     1, "was changed after"),
    # with a good proof
    ("damaged database", recount("pomona.db", then=damage_index), 1, "POM-E0103"),
    ("no database at all", recount("pomona.db", then=edit_bytes("pomona.db", lambda b: b"no database" * 1000)), 1, "POM-E0103"),
    ("schema of a later version", recount("pomona.db", then=with_schema(9999)), 1, "run a newer Pomona"),
    ("schema of the manifest", lambda path, key: (edit_manifest(lambda m: m.update(schema=99))(path, key), seal_again(os.path.join(path, "manifest.json"), key)), 1, "the manifest says 99"),
    ("another database", recount("pomona.db", then=with_schema(0)), 1, "none of Pomona's"),
    ("unknown setting", recount("pomona.conf", then=edit_bytes("pomona.conf", lambda b: b + b"\n[server]\nfuture=1\n")), 2, "future"),
]


@case
def bad_backups_are_refused():
    with Server(push_cert=False) as s, folder() as root:
        s.stop()
        good, key_file = os.path.join(root, "good"), os.path.join(s.data, "seal.key")
        key = bytes.fromhex(open(key_file).read().strip())
        backup(s.data, good)
        for i, (what, change, code, text) in enumerate(REFUSED):
            bad, target = os.path.join(root, f"bad{i}"), os.path.join(root, f"target{i}")
            shutil.copytree(good, bad)
            change(bad, key)
            said = refused("restore", bad, "--data", target, "--seal-key", key_file, code=code)
            expect(text in said, f"{what}: {said}")
            nothing_left(target)
        same = os.path.join(root, "same")
        shutil.copytree(good, same)
        seal_again(os.path.join(same, "manifest.json"), key)
        restore(same, os.path.join(root, "target"), "--seal-key", key_file)


@case
def keys_and_places_are_checked():
    with Server(push_cert=False) as s, folder() as root:
        s.stop()
        good, target, key_file = os.path.join(root, "good"), os.path.join(root, "target"), os.path.join(s.data, "seal.key")
        backup(s.data, good)
        other, open_key, no_key = (os.path.join(root, n) for n in ("other.key", "open.key", "no.key"))
        for path, text, mode in ((other, secrets.token_hex(32), 0o600), (open_key, open(key_file).read(), 0o644), (no_key, "hello", 0o600)):
            pathlib.Path(path).write_text(text)
            os.chmod(path, mode)
        for args, code, text in (((), 3, "--seal-key"), (("--seal-key", other), 1, "the backup was made with"), (("--seal-key", open_key), 1, "can be read by others"),
                                 (("--seal-key", no_key), 2, "is not an encryption key"), (("--seal-key", "/nowhere"), 1, "cannot be read")):
            said = refused("restore", good, "--data", target, *args, code=code)
            expect(text in said, f"{args}: {said}")
            nothing_left(target)
        os.mkdir(target)
        pathlib.Path(target, "mine").write_text("mine")
        file = os.path.join(root, "file")
        pathlib.Path(file).write_text("mine")
        for place in (target, file, s.data):
            expect("is there already" in refused("restore", good, "--data", place, "--seal-key", key_file), place)
            expect("is there already" in refused("backup", place, "--data", s.data), place)
        equal((os.listdir(target), open(file).read()), (["mine"], "mine"), "what was there")
        expect("is no backup" in refused("restore", os.path.join(root, "none"), "--data", os.path.join(root, "t2"), "--seal-key", key_file, code=3), "no folder")
        empty = os.path.join(root, "empty")
        os.mkdir(empty)
        restore(good, empty, "--seal-key", key_file)
        expect("is not a data directory" in refused("backup", os.path.join(root, "b2"), "--data", root, code=3), "no data directory")
        os.rename(key_file, key_file + ".away")
        expect("seal.key" in refused("backup", os.path.join(root, "b2"), "--data", s.data), "no key")
        os.rename(key_file + ".away", key_file)
        edit_bytes("pomona.db", lambda b: b[:60] + (9999).to_bytes(4, "big") + b[64:])(s.data, None)
        expect("run a newer Pomona" in refused("backup", os.path.join(root, "b2"), "--data", s.data), "later schema")
        damage_index(s.data, None)
        expect("POM-E0103" in refused("backup", os.path.join(root, "b2"), "--data", s.data), "damaged")
        nothing_left(os.path.join(root, "b2"))


@case
def what_settings_name_is_told():
    with Server(push_cert=False) as s, folder() as root:
        s.stop()
        elsewhere, conf = os.path.join(root, "elsewhere.db"), os.path.join(s.data, "pomona.conf")
        os.rename(os.path.join(s.data, "pomona.db"), elsewhere)
        with open(conf, "a") as f:
            f.write(f"\n[store]\nurl=sqlite:{elsewhere}\n[apns]\nroot=/nowhere/apns.pem\n[tls]\ncertificate={s.data}/seal.key\n")
        backup(s.data, os.path.join(root, "b"), "--with-key")
        os.unlink(elsewhere)
        report = restore(os.path.join(root, "b"), os.path.join(root, "r"))
        missing = "\n".join(report["missing"])
        expect("/nowhere/apns.pem, which the setting apns.root names" in missing and "store.url was left out" in missing and "tls.certificate" not in missing, missing)
        text = open(os.path.join(root, "r", "pomona.conf")).read()
        expect("elsewhere" not in text and "[apns]" in text and "Settings of Pomona" in text, text)


def stop_in_the_midst(args, unfinished, sig, after=0.0):
    """Starts a verb and sends the signal once the unfinished folder is there. The exit status, or None when it had ended before."""
    p = subprocess.Popen([POMONA, *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not os.path.exists(unfinished) and p.poll() is None:
        time.sleep(0.0005)
    time.sleep(after)
    if p.poll() is None:
        p.send_signal(sig)
    code = p.wait(60)
    return code if code != 0 else None


@case
def interrupted_ones_leave_nothing():
    with Server() as s, folder() as root:
        make_bulky(s, 128)
        s.stop()
        good, target, key_file = os.path.join(root, "good"), os.path.join(root, "t"), os.path.join(s.data, "seal.key")
        backup(s.data, good)
        for verb, place in ((("backup", os.path.join(root, "b"), "--data", s.data), os.path.join(root, "b")),
                            (("restore", good, "--data", target, "--seal-key", key_file), target)):
            equal(stop_in_the_midst(verb, place + ".unfinished", signal.SIGTERM), 1, f"{verb[0]}, asked to end")
            nothing_left(place)
            for i in range(5):
                equal(stop_in_the_midst(verb, place + ".unfinished", signal.SIGKILL, i * 0.01), -signal.SIGKILL, f"{verb[0]}, killed")
                expect(not os.path.exists(place), f"{verb[0]}: half of it is there")
            run(*verb)
            expect(os.path.exists(place) and not os.path.exists(place + ".unfinished"), f"{verb[0]} after that")


@case
def a_full_disk_is_told():
    with Server() as s, folder() as root:
        if os.geteuid() != 0:
            raise Skip("only root can mount a small file system")
        make_bulky(s, 8)
        small = os.path.join(root, "small")
        os.mkdir(small)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], capture_output=True).returncode != 0:
            raise Skip("no file system can be mounted here")
        try:
            expect("POM-E0012" in refused("backup", os.path.join(small, "b"), "--data", s.data), "the reason")
            nothing_left(os.path.join(small, "b"))
            backup(s.data, os.path.join(root, "b"), "--with-key")
            expect("POM-E0012" in refused("restore", os.path.join(root, "b"), "--data", os.path.join(small, "r")), "the reason")
            nothing_left(os.path.join(small, "r"))
        finally:
            subprocess.run(["umount", "-l", small], capture_output=True)


if __name__ == "__main__":
    main()
