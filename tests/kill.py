"""Kills the server at random moments under load and looks whether all that it had acknowledged is there: kill.py [KILLS] [SEED]

A reply with 2xx is a promise. Each one is written into a ledger; a time-out or a broken connection is unknown, never lost. After each
kill the server is started again and the ledger is compared with the database (rows), the API and what devices are answered. Devices
go on with what they have: a certificate that was acknowledged must be able to enroll, an answered command must not come again."""
import collections
import pathlib
import random
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "scenarios"))
from harness import *

N_KEYS, N_DEVICE_THREADS, DEVICES_PER_THREAD, N_SENT_AT_ONCE = 20, 3, 12, 16
BROKEN = (OSError, http.client.HTTPException)

# A disk whose writes are slow makes the time between a reply that came too early and its commit long enough to be met. (A slow fsync would
# not: what was written before a SIGKILL is with the kernel.) So does a slow way to PostgreSQL: libpq alone calls send().
SLOW_WRITES = {"sqlite": """
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>
ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at) { usleep(300); return syscall(SYS_pwrite64, fd, data, len, at); }
""", "postgres": """
#define _GNU_SOURCE
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
ssize_t send(int fd, const void *data, size_t len, int flags) { usleep(1000); return syscall(SYS_sendto, fd, data, len, flags, 0, 0); }
"""}


class Keys:
    """Making RSA keys is slow, so devices share a few; one key may have certificates of many links."""

    def __init__(self):
        self.keys = [rsa_key() for _ in range(N_KEYS)]
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "MDM SCEP SIGNER")])
        self.signer_key = rsa_key()
        self.signer = self_signed(self.signer_key, name)


class Ledger:
    """What was acknowledged, and what was found missing."""

    def __init__(self):
        self.lock = threading.Lock()
        self.commands = {}      # uuid → "Queued" or "Acknowledged"
        self.links, self.tokens = {}, {}
        self.fresh_links, self.fresh_tokens, self.fresh_commands = [], [], []
        self.devices = []       # enrolled ones
        self.writes = 0
        self.faults = collections.defaultdict(list)
        self.next_acknowledged = None  # called once

    def acknowledged(self):
        with self.lock:
            self.writes += 1
            call, self.next_acknowledged = self.next_acknowledged, None
        if call:
            call()

    def fault(self, kind, text):
        with self.lock:
            if text not in self.faults[kind]:
                self.faults[kind].append(text)


class KilledServer(Server):
    """A server that says how long its starts took, and that can be given a slow disk."""

    slowest = 0.0
    slow = None

    def make_slow(self):
        """The path of the library that slows writes down, or None: without a compiler, or under a sanitizer, which must be loaded first."""
        source, library = os.path.join(self.root, "slow.c"), os.path.join(self.root, "slow.so")
        pathlib.Path(source).write_text(SLOW_WRITES[store.ENGINE])
        if b"__asan_init" in pathlib.Path(POMONA).read_bytes() or not shutil.which("cc"):
            return None
        return library if subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source]).returncode == 0 else None

    def start_as(self, slow, **options):
        self.slow = slow
        self.env = {**os.environ, **({"LD_PRELOAD": slow} if slow else {})}
        return self.start(**options)

    def wait_ready(self):
        started, ports = time.monotonic(), os.path.join(self.data, "serve.json")
        while time.monotonic() - started < 30:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.logs()[-2000:]}")
            with contextlib.suppress(FileNotFoundError, ValueError, ConnectionError):
                p = json.load(open(ports))
                if p["pid"] == self.process.pid:
                    self.admin_port, self.http_port = p["admin_port"], p["http_port"]
                    socket.create_connection(("127.0.0.1", self.port), 1).close()
                    if not self.slow:
                        self.slowest = max(self.slowest, time.monotonic() - started)
                    return
            time.sleep(0.002)
        raise AssertionError(f"the server was not ready after 30 s:\n{self.logs()[-2000:]}")

    def tls(self):
        if not hasattr(self, "context"):
            self.context = super().tls()
        return self.context


class Api:
    """The admin API over one connection."""

    def __init__(self, server):
        self.server, self.connection = server, None
        self.bearer = server.token()

    def call(self, *args, **options):
        self.send(*args, **options)
        return self.receive()

    def send(self, method, path, body=None, token=None):
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.server.admin_port, timeout=20)
        try:
            self.connection.request(method, path, None if body is None else json.dumps(body), {"Authorization": "Bearer " + (token or self.bearer)})
        except BROKEN:
            self.drop()
            raise

    def receive(self):
        try:
            r = self.connection.getresponse()
            status, text = r.status, r.read()
        except BROKEN:
            self.drop()
            raise
        return status, json.loads(text)

    def drop(self):
        if self.connection:
            self.connection.close()
        self.connection = None


class LedgerDevice(Device):
    """A device that is one step further with each call of step(), and repeats a step whose outcome it does not know."""

    def __init__(self, server, ledger, keys, api):
        super().__init__(server)
        self.ledger, self.keys, self.api = ledger, keys, api
        self.key_of_device = random.choice(keys.keys)
        self.cert = self.link = self.mdm = None
        self.authenticated = self.enrolled = False
        self.tokens_possible, self.bootstrap_possible = [], [None]
        self.answering = None
        self.touched = False

    def read_profile(self, data):
        """Without verifying the signature, which would start openssl for each device."""
        return super().read_profile(cms.ContentInfo.load(data)["content"]["encap_content_info"]["content"].native)

    def drop(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def step(self):
        self.touched = True
        if self.link is None:
            self.get_link()
        elif self.mdm is None:
            self.read_profile(self.server.profile(self.link))
        elif self.cert is None:
            self.get_certificate()
        elif not self.authenticated:
            self.done(self.authenticate(), "Authenticate")
            self.authenticated = True
        elif not self.enrolled or random.random() < 0.1:
            self.send_token()
        elif random.random() < 0.15:
            self.send_bootstrap_token()
        else:
            self.answer_command()

    def done(self, reply, what):
        if reply[0] != 200:
            raise AssertionError(f"{what} was answered {reply[0]} {reply[1]!r}")
        self.ledger.acknowledged()

    def get_link(self):
        status, link = self.api.call("POST", "/api/v1/links", {"device": self.udid})
        equal(status, 201, f"a new link ({link})")
        self.link = link
        self.ledger.links[link["id"]] = link
        self.ledger.fresh_links.append(link)
        self.ledger.acknowledged()

    def get_certificate(self):
        self.get_identity(key=self.key_of_device, signer_key=self.keys.signer_key)
        self.ledger.acknowledged()

    def send_token(self):
        token = secrets.token_bytes(32)
        self.token = token
        self.tokens_possible.append(token)
        self.done(self.token_update(), "TokenUpdate")
        self.tokens_possible = [token]
        if not self.enrolled:
            self.enrolled = True
            with self.ledger.lock:
                self.ledger.devices.append(self)

    def send_bootstrap_token(self):
        token = secrets.token_bytes(40)
        self.bootstrap_possible.append(token)
        self.done(self.put({"MessageType": "SetBootstrapToken", "UDID": self.udid, "BootstrapToken": token}), "SetBootstrapToken")
        self.bootstrap_possible = [token]

    def answer_command(self):
        """Idle, or the report for the command that came with the last answer."""
        status, command = self.report(self.answering, QueryResponses={"UDID": self.udid}) if self.answering else self.idle()
        equal(status, 200, f"a report ({command!r})")
        if self.answering:
            self.ledger.acknowledged()
        with self.ledger.lock:
            if self.answering:
                self.ledger.commands[self.answering] = "Acknowledged"
                self.ledger.fresh_commands.append(self.answering)
            self.answering = None
            if command and self.ledger.commands.get(command["CommandUUID"]) == "Acknowledged":
                self.ledger.faults["reports"].append(f"command {command['CommandUUID']} was delivered again after its report")
            elif command:
                self.answering = command["CommandUUID"]

    def check(self, ledger):
        """What the restarted server answers to this device. Raises when it is not what was acknowledged."""
        if not self.enrolled:
            return
        self.drop()
        self.answering = None
        self.answer_command()
        status, reply = self.put({"MessageType": "GetBootstrapToken", "UDID": self.udid})
        equal(status, 200, "GetBootstrapToken")
        if (reply["BootstrapToken"] if reply else None) not in self.bootstrap_possible:
            ledger.fault("bootstrap-tokens", f"{self.udid}: the bootstrap token is not the last acknowledged one")


class Load:
    """Threads that work while the server is up, and stand still while it is down."""

    def __init__(self, server, ledger, keys):
        self.server, self.ledger, self.keys = server, ledger, keys
        self.condition, self.round, self.running, self.ending = threading.Condition(), 0, 0, False
        self.killed, self.fans = threading.Event(), {}
        works = [self.device_work] * N_DEVICE_THREADS + [self.send_work, self.admin_work]
        self.devices = [[] for _ in works]
        self.threads = [threading.Thread(target=self.main, args=(work, i), daemon=True) for i, work in enumerate(works)]
        for thread in self.threads:
            thread.start()

    def main(self, work, index):
        api, seen = Api(self.server), 0
        while True:
            with self.condition:
                self.condition.wait_for(lambda: self.round > seen or self.ending)
                if self.ending:
                    return
                seen = self.round
            for each in [api, *self.fans.get(index, [])]:
                each.drop()
            self.work_until_killed(work, index, api)
            with self.condition:
                self.running -= 1
                self.condition.notify_all()

    def work_until_killed(self, work, index, api):
        while not self.killed.is_set():
            try:
                work(index, api)
            except BROKEN:
                pass
            except Exception as e:
                # A reply that was cut off by the kill may look like anything.
                if not self.killed.is_set():
                    self.ledger.fault("answers", f"{type(e).__name__}: {e}")
                    time.sleep(0.05)

    def device_work(self, index, api):
        mine = self.devices[index]
        unfinished = [d for d in mine if not d.enrolled]
        if not unfinished and (len(mine) < DEVICES_PER_THREAD or random.random() < 0.1):
            mine.append(LedgerDevice(self.server, self.ledger, self.keys, api))
            unfinished = mine[-1:]
        (random.choice(unfinished) if unfinished and random.random() < 0.6 else random.choice(mine)).step()

    def send_work(self, index, api):
        """One command on each of many connections, then all the replies: so that many acknowledgements are near each commit."""
        with self.ledger.lock:
            targets = random.choices(self.ledger.devices, k=N_SENT_AT_ONCE)
        fan = self.fans.setdefault(index, [Api(self.server) for _ in range(N_SENT_AT_ONCE)])
        for sender, device in zip(fan, targets):
            sender.send("POST", f"/api/v1/devices/{device.udid}/commands", {"RequestType": "DeviceInformation", "Queries": ["UDID"]})
        for sender in fan:
            with contextlib.suppress(*BROKEN):
                self.sent(*sender.receive())
        time.sleep(0.002)

    def sent(self, status, reply):
        equal(status, 201, f"a new command ({reply})")
        self.ledger.acknowledged()
        with self.ledger.lock:
            # Its device may have been faster than the reply to the administrator.
            self.ledger.commands.setdefault(reply["command_uuid"], "Queued")
            self.ledger.fresh_commands.append(reply["command_uuid"])

    def admin_work(self, index, api):
        if random.random() < 0.5:
            status, reply = api.call("POST", "/api/v1/tokens", {"name": "kill"})
            equal(status, 201, f"a new token ({reply})")
            self.ledger.tokens[reply["id"]] = reply["token"]
            self.ledger.fresh_tokens.append(reply["token"])
        else:
            status, link = api.call("POST", "/api/v1/links", {})
            equal(status, 201, f"a new link ({link})")
            self.ledger.links[link["id"]] = link
            self.ledger.fresh_links.append(link)
        self.ledger.acknowledged()
        time.sleep(0.002)

    def kill(self):
        self.killed.set()
        self.server.process.kill()

    def run_and_kill(self, seconds):
        self.killed.clear()
        with self.condition:
            self.running = len(self.threads)
            self.round += 1
            self.condition.notify_all()
        time.sleep(seconds)
        if random.random() < 0.5:
            # Right after the next acknowledgement, when one that came before its commit is not true yet.
            self.ledger.next_acknowledged = self.kill
            self.killed.wait(1)
        self.ledger.next_acknowledged = None
        self.kill()
        self.server.process.wait()
        with self.condition:
            self.condition.wait_for(lambda: self.running == 0, 60)
            expect(self.running == 0, "a client hangs")

    def end(self):
        with self.condition:
            self.ending = True
            self.condition.notify_all()
        for thread in self.threads:
            thread.join(10)

    def all_devices(self):
        return [d for mine in self.devices for d in mine]


# ---------------------------------------------------------------- the comparison, while the clients stand still

def check_rows(server, ledger, devices):
    """Over all that was ever acknowledged. The server has recovered the log already: it is up, so this reader changes nothing."""
    if store.ENGINE == "sqlite":
        result = server.sql("PRAGMA integrity_check")
        if result != [("ok",)]:
            ledger.fault("integrity", f"integrity_check: {result[:3]}")
    with server.store.transaction() as execute:
        check_commands(execute, ledger)
        check_admin_rows(execute, ledger)
        check_certificates(execute, ledger, devices)
        check_enrollments(execute, ledger, devices)


def check_commands(execute, ledger):
    waiting = {row[0] for row in execute("SELECT uuid FROM command")}
    finished = dict(execute("SELECT uuid, status FROM command_done"))
    for uuid, status in list(ledger.commands.items()):
        if status == "Queued" and uuid not in waiting and uuid not in finished:
            ledger.fault("api-writes", f"command {uuid} is gone")
        elif status == "Acknowledged" and (finished.get(uuid) != "Acknowledged" or uuid in waiting):
            ledger.fault("reports", f"command {uuid} was acknowledged and is {finished.get(uuid, 'queued' if uuid in waiting else 'gone')}")
        else:
            continue
        del ledger.commands[uuid]


def check_admin_rows(execute, ledger):
    for kind, known, table in [("link", ledger.links, "link"), ("token", ledger.tokens, "api_token")]:
        rows = {row[0] for row in execute(f"SELECT id FROM {table}")}
        for lost in [i for i in known if i not in rows]:
            ledger.fault("api-writes", f"{kind} {lost} is gone")
            del known[lost]


def check_certificates(execute, ledger, devices):
    rows = {serial: (state, der_bytes) for serial, state, der_bytes in execute("SELECT serial, state, der FROM certificate")}
    for device in [d for d in devices if d.cert is not None]:
        state, stored = rows.get(f"{device.cert.serial_number:032X}", (None, None))
        if state not in (1, 2) or stored != der(device.cert):
            ledger.fault("certificates", f"certificate {device.cert.serial_number:X} has state {state} and {'another' if stored else 'no'} certificate in its row")


def check_enrollments(execute, ledger, devices):
    rows = {udid: (state, token) for udid, state, token in execute(
        "SELECT e.device_id, e.state, p.push_token FROM enrollment e LEFT JOIN epoch p ON p.enrollment_id = e.id AND p.epoch = e.active_epoch WHERE e.user_part = ''")}
    for device in devices:
        state, token = rows.get(device.udid, (None, None))
        if device.authenticated and state is None:
            ledger.fault("enrollments", f"{device.udid} has authenticated and is unknown")
        if device.enrolled and state != 1:
            ledger.fault("enrollments", f"{device.udid} was enrolled and has state {state}")
        elif device.enrolled and token not in device.tokens_possible:
            ledger.fault("enrollments", f"{device.udid}: the push token is not the last acknowledged one")


def check_answers(server, ledger, devices):
    """What is new since the last kill, asked through the front door."""
    api = Api(server)
    for token in ledger.fresh_tokens:
        if api.call("GET", "/api/v1/tokens", token=token)[0] != 200:
            ledger.fault("api-writes", "an acknowledged token does not work")
    for link in ledger.fresh_links[-20:]:
        status = server.request("GET", urllib.parse.urlsplit(link["url"]).path)[0]
        if status not in (200, 410):
            ledger.fault("api-writes", f"link {link['id']} is answered {status}")
    for uuid in ledger.fresh_commands[-40:]:
        status, shown = api.call("GET", f"/api/v1/commands/{uuid}")
        wanted = ledger.commands.get(uuid)
        if wanted and (status != 200 or shown["status"] not in (wanted, "Acknowledged")):
            ledger.fault("api-writes", f"command {uuid} is shown as {status} {shown.get('status')}, was {wanted}")
    for device in [d for d in devices if d.touched]:
        device.touched = False
        try:
            device.check(ledger)
        except AssertionError as e:
            ledger.fault("enrollments", f"{device.udid}: {e}")
    api.drop()
    ledger.fresh_tokens, ledger.fresh_links, ledger.fresh_commands = [], [], []


def restart(server, slow):
    """Every other time with slow writes; sometimes the server dies again while it is starting."""
    if random.random() < 0.2:
        server.start_as(slow, wait=False)
        time.sleep(random.uniform(0, 0.03))
        server.process.kill()
        server.process.wait()
    server.start_as(slow)


def prepare(server, ledger, load):
    """The first devices, so that commands and reports are under way from the first kill on."""
    for mine in load.devices[:N_DEVICE_THREADS]:
        device = LedgerDevice(server, ledger, load.keys, Api(server))
        while not device.enrolled:
            device.step()
        mine.append(device)


KINDS = ["answers", "api-writes", "enrollments", "reports", "certificates", "bootstrap-tokens", "integrity", "starts"]


def run(kills):
    ledger, keys = Ledger(), Keys()
    # Nobody listens there: pushes stay in the outbox, and nothing leaves this machine.
    with KilledServer("--apns-url", "https://127.0.0.1:1") as server:
        load = Load(server, ledger, keys)
        prepare(server, ledger, load)
        slow, done = server.make_slow(), 0
        try:
            while done < kills:
                load.run_and_kill(random.uniform(0.02, 0.4))
                done += 1
                restart(server, slow if done % 2 else None)
                check_rows(server, ledger, load.all_devices())
                check_answers(server, ledger, load.all_devices())
        except Exception:
            ledger.fault("starts", traceback.format_exc() + "\n" + "\n".join(server.logs().splitlines()[-20:]))
        load.end()
        if server.slowest > 10:
            ledger.fault("starts", f"a start took {server.slowest:.1f} s")
    return done, ledger, server.slowest


def main():
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1 << 32)
    random.seed(seed)
    print(f"1..{len(KINDS)}", flush=True)
    done, ledger, slowest = run(kills)
    for number, kind in enumerate(KINDS, 1):
        faults = ledger.faults[kind]
        print(f"{'not ok' if faults else 'ok'} {number} - kill-{kind}")
        for text in faults[:10]:
            print("\n".join(f"# {line}" for line in text.splitlines()))
    lost = sum(len(ledger.faults[kind]) for kind in KINDS if kind not in ("answers", "starts", "integrity"))
    print(f"# {done} kills, {ledger.writes} acknowledged writes, {lost} lost, slowest start {slowest * 1000:.0f} ms (seed {seed})")
    sys.exit(1 if any(ledger.faults.values()) else 0)


if __name__ == "__main__":
    main()
