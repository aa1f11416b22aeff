"""Several nodes, a database with a synchronous standby, devices and administrators who choose a node for each request at random, and somebody who breaks things meanwhile:

    nodes_faults.py [--seconds N] [--nodes N] [--seed N] [--history FILE] [restart] [freeze] [wire] [nodes] [failover] [namespace]

Each word is a fault, N seconds (20) long: `restart` the database stops at once every few seconds; `freeze` its processes stand still, for longer than anybody waits, and then go on with what was sent to them; `wire` the way between a node and the database is cut, in both directions, in one, or with resets; `nodes` a
node is killed, or stopped for longer than its leases and then goes on; `failover` the primary dies with its machine and the standby is promoted (always the last); `namespace` a node behind a network of its own that
loses every packet (needs root). After each, all is mended and must serve again; at the end the devices do what is left, and history.py looks for what may never be. Without words: all that this machine allows."""
import argparse
import collections
import concurrent.futures
import random
import sys
import uuid

import pathlib
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "scenarios"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from cryptography.x509 import ocsp

from lib.postgres import *
from history import FAILED, FINAL_ANSWERS, OK, UNKNOWN, Fault, History, check, longest_gap, recovery

# A client waits so long for an answer; then it may have happened or not.
PATIENCE_S = 8
N_DEVICES, N_ADMINS, N_KEYS = 6, 2, 12
BROKEN = (OSError, http.client.HTTPException)
REVOKED, AWAY, CHANGED = "POM-E2104", "POM-E0108", "POM-E0102"


class Again(Exception):
    """Nothing was acknowledged: the client tries once more, later."""


class Clients:
    """What all of them share: nodes, history, and what there is to choose from."""

    def __init__(self, nodes, seed):
        self.nodes, self.history, self.random = nodes, History(), random.Random(seed)
        self.keys = [rsa_key() for _ in range(N_KEYS)]
        self.signer = throw_away(self.keys[0])
        self.lock, self.faults = threading.Lock(), []
        self.devices, self.commands, self.identities, self.tokens = [], [], [], []
        self.context = ssl.create_default_context(cafile=nodes[0].root_ca)
        self.context.check_hostname = False
        self.bearer = nodes[0].token()
        self.ca_der = nodes[0].request("GET", "/scep?operation=GetCACert")[1]
        self.ended, self.calm = threading.Event(), threading.Event()

    def fault(self, kind, text):
        with self.lock:
            self.faults.append(Fault(kind, "-", text))


class Client:
    """One who does one thing after the other, at whatever node."""

    def __init__(self, all, name):
        self.all, self.name, self.connections = all, name, {}
        self.random = random.Random(all.random.random())

    def node(self):
        return self.random.randrange(len(self.all.nodes))

    def connection(self, i, admin=False):
        node = self.all.nodes[i]
        if (i, admin) not in self.connections:
            self.connections[i, admin] = (http.client.HTTPConnection(node.address, node.admin_port, timeout=PATIENCE_S) if admin
                                          else http.client.HTTPSConnection(node.address, node.port, timeout=PATIENCE_S, context=self.all.context))
        return self.connections[i, admin]

    def drop(self, i, admin=False):
        c = self.connections.pop((i, admin), None)
        if c:
            c.close()

    def talk(self, i, method, path, body=None, headers=None, admin=False):
        """(status, bytes, headers) of node I."""
        try:
            c = self.connection(i, admin)
            c.request(method, path, body, headers or {})
            r = c.getresponse()
            data = r.read()
        except BROKEN:
            self.drop(i, admin)
            raise
        if r.will_close:
            self.drop(i, admin)
        return r.status, data, {k.lower(): v for k, v in r.getheaders()}

    def judge(self, op, status, code, headers, at_once=False):
        """Ends OP, unless it was acknowledged: then True. AT_ONCE: it is one transaction, so that away means that it did not happen."""
        if 200 <= status < 300:
            return True
        # Two administrators at once: one of them is told so.
        if status != 503 and (status, code) not in ((403, REVOKED), (409, CHANGED)):
            self.all.fault("answers", f"{op} was answered {status} {code}")
        elif status == 503 and not headers.get("retry-after"):
            self.all.fault("answers", f"{op} was answered 503 without Retry-After")
        self.all.history.end(op, FAILED if status not in (409, 503) or (at_once and code == AWAY) else UNKNOWN, note=f"{status} {code}")
        return False

    def api(self, op_of, method, path, body=None, token=None, at_once=False, allowed=()):
        """A call of the admin API as the operation that OP_OF(node) begins; (status, what came) when it was acknowledged or is ALLOWED. Again else."""
        i = self.node()
        with op_of(i) as op:
            status, data, headers = self.talk(i, method, path, None if body is None else json.dumps(body), {"Authorization": "Bearer " + (token or self.all.bearer)}, admin=True)
            reply = json.loads(data) if data else None
            if status in allowed:
                return op, status, reply
            if not self.judge(op, status, reply.get("code") if isinstance(reply, dict) else None, headers, at_once):
                raise Again
            return op, status, reply

    def begin(self, model, kind, key, value=None, **more):
        return lambda i: self.all.history.operation(model, kind, key, value, actor=self.name, node=i, **more)

    def end(self, op, got=None, outcome=OK):
        self.all.history.end(op, outcome, got)

    def scep(self, right, challenge, key, path="/scep"):
        """The certificate for KEY by CHALLENGE, or None when it was refused. Again when nothing is known."""
        i, history = self.node(), self.all.history
        signer_key, signer = self.all.signer
        pubkey = hashlib.sha256(key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)).hexdigest()[:16]
        message = scep_message(make_csr(key, challenge=challenge), self.all.ca_der, signer_key, signer)
        with history.operation("right", "issue", right, {"pubkey": pubkey, "uses": 1}, actor=self.name, node=i) as op:
            status, body, headers = self.talk(i, "POST", path + "?operation=PKIOperation", message, {"Content-Type": "application/x-pki-message"})
            if not self.judge(op, status, body[:9].decode(errors="replace"), headers):
                raise Again
            pki_status, _, content, _ = scep_reply(body)
            if pki_status != "0":
                self.end(op, None, FAILED)
                return None
            cert = x509.load_der_x509_certificate(cms.ContentInfo.load(open_enveloped(content, signer_key))["content"]["certificates"][0].chosen.dump())
            serial = f"{cert.serial_number:032X}"
            self.end(op, {"serial": serial, "cert": hashlib.sha256(der(cert)).hexdigest()})
        with history.operation("grant", "create", f"identity/{serial}", actor=self.name, node=i) as made:
            made.start = op.start
            self.end(made)
        return cert

    def main(self):
        while not self.all.ended.is_set():
            try:
                self.step()
            except Again:
                self.all.ended.wait(self.random.uniform(0.02, 0.2))
            except BROKEN:
                self.all.ended.wait(self.random.uniform(0.02, 0.2))
            except Exception:
                self.all.fault("answers", f"{self.name}: {traceback.format_exc()}")
                self.all.ended.wait(0.2)


# ---------------------------------------------------------------- devices

class RoamingDevice(Client):
    """A device: what it does not know to be done, it does again."""

    def __init__(self, all, name):
        super().__init__(all, name)
        self.device = Device(all.nodes[0])
        self.udid, self.enrollments, self.clear, self.old_serials = self.device.udid, 0, None, set()
        self.begin_anew()

    def begin_anew(self):
        if getattr(self, "cert", None):
            self.old_serials.add(self.serial)
        self.link = self.profile = self.cert = None
        self.authenticated = self.enrolled = False
        self.answering = None

    def step(self):
        if self.link is None:
            self.get_link()
        elif self.profile is None:
            self.get_profile()
        elif self.cert is None:
            self.get_certificate()
        elif not self.authenticated:
            self.authenticate()
        elif not self.enrolled:
            self.send_token()
        else:
            roll = self.random.random()
            if roll < 0.01:
                self.begin_anew()
            elif roll < 0.05:
                self.send_token()
            elif roll < 0.10:
                self.set_bootstrap_token()
            elif roll < 0.20:
                self.get_bootstrap_token()
            else:
                self.serve()
            time.sleep(self.random.uniform(0, 0.02))

    def get_link(self):
        op, _, link = self.api(self.begin("grant", "create", f"link/{uuid.uuid4()}"), "POST", "/api/v1/links", {}, at_once=True)
        op.key = f"link/{link['id']}"
        self.end(op)
        self.link = link

    def get_profile(self):
        i = self.node()
        with self.begin("grant", "use", f"link/{self.link['id']}")(i) as op:
            status, body, headers = self.talk(i, "GET", urllib.parse.urlsplit(self.link["profile_url"]).path)
            if status in (404, 410):
                self.end(op, False)
                self.link = None
                return
            if not self.judge(op, status, body[:9].decode(errors="replace"), headers):
                raise Again
            self.end(op, True)
        profile = plistlib.loads(cms.ContentInfo.load(body)["content"]["encap_content_info"]["content"].native)
        payloads = payloads_of(profile)
        self.profile, self.mdm, self.scep_payload = profile, payloads["com.apple.mdm"][0], payloads["com.apple.security.scep"][0]["PayloadContent"]
        self.key = self.random.choice(self.all.keys)

    def get_certificate(self):
        cert = self.scep(f"link/{self.link['id']}", self.scep_payload["Challenge"], self.key, urllib.parse.urlsplit(self.scep_payload["URL"]).path)
        if cert is None:
            self.all.fault("answers", f"{self.name} was refused the certificate of its own link {self.link['id']}")
            self.begin_anew()
            return
        self.cert, self.serial = cert, f"{cert.serial_number:032X}"
        with self.all.lock:
            self.all.identities.append((self.serial, cert, self))

    # ---- messages

    def put(self, i, message, content_type=CHECKIN):
        data = plistlib.dumps(message)
        signature = base64.b64encode(detached_signature(self.key, self.cert, data)).decode()
        return self.talk(i, "PUT", urllib.parse.urlsplit(self.mdm["ServerURL"]).path, data, {"Content-Type": content_type, "Mdm-Signature": signature})

    def send(self, i, ops, message, content_type=CHECKIN):
        """Bytes of the answer; Again when it was not acknowledged, with all OPS ended. What is not acknowledged may have happened, whatever was said."""
        with self.begin("grant", "use", f"identity/{self.serial}")(i) as used:
            status, body, headers = self.put(i, message, content_type)
            code = body[:9].decode(errors="replace")
            if status == 200:
                self.end(used, True)
                return body
            if status == 403 and code == REVOKED:
                self.end(used, False)
            acknowledged = [self.judge(op, status, code, headers) for op in [*ops, used] if op.end is None]
        if status == 403 and code == REVOKED:
            self.begin_anew()
        if status == 401:
            self.all.fault("answers", f"{self.name} was answered 401: it would un-enroll")
        raise Again

    def authenticate(self):
        i, d = self.node(), self.device
        if self.clear is None:
            self.clear = self.all.history.begin("queue", "clear", self.udid, actor=self.name, node=i)
            # The server revokes the identities of enrollments before, at a moment of its own.
            for serial in self.old_serials - {self.serial}:
                self.all.history.begin("grant", "revoke", f"identity/{serial}", actor=self.name, node=i)
        self.send(i, [], {"MessageType": "Authenticate", "Topic": self.mdm["Topic"], "UDID": self.udid, "OSVersion": "18.2.1", "BuildVersion": "22C161", "ProductName": d.product, "SerialNumber": d.serial,
                          "DeviceName": self.name, "Model": "MQ0G3", "ModelName": "iPhone"})
        self.authenticated = True

    def send_token(self):
        i, value = self.node(), secrets.token_hex(32)
        epoch = self.enrollments + (not self.enrolled)
        with self.begin("register", "write", f"token/{self.udid}/{epoch}", value)(i) as op:
            self.send(i, [op], {"MessageType": "TokenUpdate", "Topic": self.mdm["Topic"], "UDID": self.udid, "Token": bytes.fromhex(value), "PushMagic": self.device.magic, "UnlockToken": b"unlock" * 20})
            self.end(op)
        if not self.enrolled:
            self.enrollments, self.enrolled = epoch, True
            self.end(self.clear)
            self.clear = None
            with self.all.lock:
                if self not in self.all.devices:
                    self.all.devices.append(self)

    def set_bootstrap_token(self):
        i, value = self.node(), secrets.token_hex(20)
        with self.begin("register", "write", f"bootstrap/{self.udid}/{self.enrollments}", value)(i) as op:
            self.send(i, [op], {"MessageType": "SetBootstrapToken", "UDID": self.udid, "BootstrapToken": bytes.fromhex(value)})
            self.end(op)

    def get_bootstrap_token(self):
        i = self.node()
        with self.begin("register", "read", f"bootstrap/{self.udid}/{self.enrollments}")(i) as op:
            body = self.send(i, [op], {"MessageType": "GetBootstrapToken", "UDID": self.udid})
            token = plistlib.loads(body)["BootstrapToken"] if body else b""
            self.end(op, token.hex() or None)

    def serve(self):
        """Idle, or the report for the command that came with the last answer. True when nothing waits."""
        i, answer, status = self.node(), None, None
        message = {"UDID": self.udid, "Status": "Idle"}
        if self.answering:
            status = self.random.choices(["Acknowledged", "Error", "NotNow"], [92, 4, 0 if self.all.calm.is_set() else 4])[0]
            message = {"UDID": self.udid, "Status": status, "CommandUUID": self.answering}
        with contextlib.ExitStack() as stack:
            ops = []
            if self.answering:
                answer = stack.enter_context(self.begin("queue", "answer", self.udid, self.answering, status=status)(i))
                ops.append(answer)
            fetch = stack.enter_context(self.begin("queue", "fetch", self.udid)(i))
            ops.append(fetch)
            body = self.send(i, ops, message, REPORT)
            got = plistlib.loads(body)["CommandUUID"] if body else None
            if answer:
                self.end(answer)
            self.end(fetch, got)
        if got and got == self.answering and status in FINAL_ANSWERS:
            self.all.fault("executed-again", f"{self.name} got {got} with the reply to its own answer")
        self.answering = got
        return got is None


# ---------------------------------------------------------------- administrators

class Administrator(Client):
    def step(self):
        with self.all.lock:
            targets = list(self.all.devices)
        if not targets:
            self.all.ended.wait(0.1)
            return
        device = self.random.choice(targets)
        work = self.random.choices([self.send_command, self.cancel_command, self.token, self.room, self.days, self.race, self.revoke, self.ask_ocsp], [50, 3, 8, 14, 6, 4, 1.5, 8])[0]
        work(device)
        time.sleep(self.random.uniform(0, 0.03))

    def send_command(self, device):
        name = str(uuid.uuid4())
        raw = base64.b64encode(plistlib.dumps({"CommandUUID": name, "Command": {"RequestType": "ProfileList"}})).decode()
        for _ in range(3):
            try:
                op, status, reply = self.api(self.begin("queue", "send", device.udid, name), "POST", f"/api/v1/devices/{device.udid}/commands", {"plist": raw}, at_once=True, allowed=(404, 409))
            except (Again, *BROKEN):
                continue
            # Sent again after no answer: it is there already, which is as good.
            there = status == 201 or (status == 409 and name in reply.get("detail", ""))
            self.end(op, None, OK if there else FAILED)
            if there:
                with self.all.lock:
                    self.all.commands.append((device.udid, name))
            return

    def cancel_command(self, device):
        with self.all.lock:
            mine = [c for c in self.all.commands[-30:] if c[0] == device.udid]
        if mine:
            op, status, _ = self.api(self.begin("queue", "cancel", device.udid, mine[-1][1]), "DELETE", f"/api/v1/commands/{mine[-1][1]}", allowed=(404, 409))
            self.end(op, None, OK if status == 200 else FAILED)

    def token(self, device):
        roll = self.random.random()
        with self.all.lock:
            known = self.random.choice(self.all.tokens) if self.all.tokens else None
        if roll < 0.3 or known is None:
            op, _, made = self.api(self.begin("grant", "create", f"token/{uuid.uuid4()}"), "POST", "/api/v1/tokens", {"name": "faults"}, at_once=True)
            op.key = f"token/{made['id']}"
            self.end(op)
            with self.all.lock:
                self.all.tokens.append((made["id"], made["token"]))
        elif roll < 0.4:
            op, status, _ = self.api(self.begin("grant", "revoke", f"token/{known[0]}"), "DELETE", f"/api/v1/tokens/{known[0]}", allowed=(404, 409))
            self.end(op, None, OK if status == 200 else UNKNOWN)
        else:
            self.use_token(*known)

    def use_token(self, id, token):
        op, status, _ = self.api(self.begin("grant", "use", f"token/{id}"), "GET", "/api/v1/tokens?limit=1", token=token, allowed=(401,))
        self.end(op, status == 200)

    def room(self, device):
        """An attribute of a device, which all administrators write and read."""
        path, key = f"/api/v1/devices/{device.udid}/attributes", f"room/{device.udid}"
        if self.random.random() < 0.4:
            value = secrets.token_hex(6)
            op, _, _ = self.api(self.begin("register", "write", key, value), "POST", path, {"set": {"room": value}})
            self.end(op)
        else:
            op, _, reply = self.api(self.begin("register", "read", key), "GET", path)
            self.end(op, reply["attributes"].get("room"))

    def days(self, device):
        """The life of certificates of a profile, which each node keeps in memory: what is decided must be by the newest."""
        if self.random.random() < 0.5:
            with self.all.lock:
                self.all.n_days += 1
                value = self.all.n_days
            op, _, _ = self.api(self.begin("register", "write", "days", str(value)), "PUT", "/api/v1/scep-profiles/faults", {"days": value})
            self.end(op)
            return
        _, challenge = self.challenge({"profile": "faults"})
        i, key = self.node(), self.random.choice(self.all.keys)
        with self.begin("register", "read", "days")(i) as op:
            cert = self.scep(f"challenge/{challenge['id']}", challenge["challenge"], key, "/scep/faults")
            if cert is None:
                self.all.fault("answers", f"the challenge {challenge['id']} was refused")
                raise Again
            self.end(op, str(round((cert.not_valid_after - cert.not_valid_before).total_seconds() / 86400)))

    def challenge(self, more):
        op, _, challenge = self.api(self.begin("grant", "create", f"challenge/{uuid.uuid4()}"), "POST", "/api/v1/challenges", {"subject": "O=Test Org,CN=faults", **more}, at_once=True)
        op.key = f"challenge/{challenge['id']}"
        self.end(op)
        return op, challenge

    def race(self, device):
        """Two with the same challenge, each with a key of his own, at the same time: one gets a certificate."""
        _, challenge = self.challenge({})
        thieves = [Client(self.all, f"{self.name}-{n}") for n in "ab"]
        keys = self.random.sample(self.all.keys, 2)

        def ask(thief, key):
            with contextlib.suppress(Again, *BROKEN):
                thief.scep(f"challenge/{challenge['id']}", challenge["challenge"], key)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(ask, thieves, keys))
        for thief in thieves:
            for at in list(thief.connections):
                thief.drop(*at)

    def revoke(self, device):
        if device.cert is None or not device.enrolled:
            return
        serial = device.serial
        op, status, _ = self.api(self.begin("grant", "revoke", f"identity/{serial}"), "POST", f"/api/v1/certificates/{serial}/revoke", {"reason": "keyCompromise"}, allowed=(404, 409))
        # It may have been revoked before, by a new enrollment.
        self.end(op, None, OK if status == 200 else UNKNOWN)

    def ask_ocsp(self, device):
        with self.all.lock:
            recent = self.all.identities[-12:]
        if not recent:
            return
        serial, cert, _ = self.random.choice(recent)
        i = self.node()
        request = ocsp.OCSPRequestBuilder().add_certificate(cert, self.all.issuer, hashes.SHA1()).build().public_bytes(serialization.Encoding.DER)
        node = self.all.nodes[i]
        with self.begin("grant", "use", f"ocsp/{serial}")(i) as op:
            op.key = f"identity/{serial}"
            c = http.client.HTTPConnection(node.address, node.http_port, timeout=PATIENCE_S)
            try:
                c.request("POST", "/ocsp", request, {"Content-Type": "application/ocsp-request"})
                reply = c.getresponse()
                answer = ocsp.load_der_ocsp_response(reply.read())
            finally:
                c.close()
            if answer.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
                self.end(op, None, UNKNOWN)
            else:
                self.end(op, answer.certificate_status == ocsp.OCSPCertStatus.GOOD)


# ---------------------------------------------------------------- what is broken

class World:
    """Databases, wires and nodes."""

    def __init__(self, n_nodes, seed, with_namespace=False):
        self.random = random.Random(seed)
        self.stack = contextlib.ExitStack()
        try:
            self.namespace = self.stack.enter_context(Namespace()) if with_namespace else None
            self.primary = self.stack.enter_context(Postgres(namespace=self.namespace, wal_level="replica", max_wal_senders=5, synchronous_commit="on")).create()
            self.standby = self.stack.enter_context(Postgres(standby_of=self.primary, namespace=self.namespace, synchronous_standby_names="", wal_retrieve_retry_interval="200ms"))
            self.primary.sql("ALTER SYSTEM SET synchronous_standby_names = 'standby'", database="postgres")
            self.primary.sql("SELECT pg_reload_conf()", database="postgres")
            self.wires = [[self.stack.enter_context(Wire(pg)) for pg in (self.primary, self.standby)] for _ in range(n_nodes)]
            self.nodes = []
            for wires in self.wires:
                url = self.primary.url(*wires, target_session_attrs="read-write")
                self.nodes.append(self.stack.enter_context(ClusterNode(url, first=self.nodes[0] if self.nodes else None)))
            if self.namespace:
                hosts = ",".join(f"{self.namespace.database_address}:{pg.port}" for pg in (self.primary, self.standby))
                self.nodes.append(self.stack.enter_context(ClusterNode(f"postgresql://pomona@{hosts}/pomona?target_session_attrs=read-write", first=self.nodes[0], address=self.namespace.address,
                                                                       prefix=self.namespace.prefix)))
            self.nodes[0].api("PUT", "/api/v1/scep-profiles/faults", {"days": 1})
        except BaseException:
            self.stack.close()
            raise

    def close(self):
        self.stack.close()

    def wait_served(self, seconds=60):
        wait_for("all nodes to be ready", lambda: all(node.is_ready() for node in self.nodes), seconds)

    # Each fault: until UNTIL (of the monotonic clock), telling what it does by SAY. It leaves all mended.

    def restart(self, until, say):
        while time.monotonic() < until:
            say("the database is stopped at once")
            self.primary.stop("immediate")
            time.sleep(self.random.uniform(0, 1))
            self.primary.start()
            say("the database is up")
            time.sleep(self.random.uniform(1.5, 4))

    def freeze(self, until, say):
        """For a moment, and for so long that nodes give their connections up."""
        lengths = []
        while time.monotonic() < until:
            lengths = lengths or self.random.sample([self.random.uniform(0.5, 4), 20], 2)
            say("the database stands still")
            with self.primary.frozen():
                time.sleep(lengths.pop())
            say("the database goes on")
            time.sleep(self.random.uniform(1.5, 4))

    def wire(self, until, say):
        modes = []
        while time.monotonic() < until:
            i = self.random.randrange(len(self.wires))
            modes = modes or self.random.sample(["deaf", "mute", "dead", "gone"], 4)
            mode = modes.pop()
            say(f"the wire of node {i} is {mode}")
            for wire in self.wires[i]:
                wire.set(mode)
            time.sleep(self.random.uniform(1, 5))
            for wire in self.wires[i]:
                wire.set("through")
            say(f"the wire of node {i} is whole")
            time.sleep(self.random.uniform(0.2, 1.5))

    def lose_packets(self, until, say):
        """Of the last node. Longer than the time after which the kernel gives a connection up, too."""
        modes = []
        while time.monotonic() < until:
            modes = modes or self.random.sample(["deaf", "mute"], 2)
            mode = modes.pop()
            say(f"packets of node {len(self.nodes) - 1} are lost: {mode}")
            self.namespace.set(mode)
            time.sleep(self.random.choice([self.random.uniform(1, 5), 15]))
            self.namespace.set("through")
            say("packets arrive again")
            time.sleep(self.random.uniform(1, 3))

    def break_nodes(self, until, say):
        kinds = []
        while time.monotonic() < until:
            i = self.random.randrange(len(self.nodes))
            kinds = kinds or self.random.sample(["kill", "stop"], 2)
            self.stop_node(i, say) if kinds.pop() == "stop" else self.kill_node(i, say)
            time.sleep(self.random.uniform(0.5, 2))

    def kill_node(self, i, say):
        node = self.nodes[i]
        say(f"node {i} is killed")
        node.process.kill()
        node.process.wait()
        time.sleep(self.random.uniform(0, 1))
        node.start()
        say(f"node {i} is up")

    def stop_node(self, i, say):
        node = self.nodes[i]
        say(f"node {i} is stopped")
        node.process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(self.stop_s)
        finally:
            node.process.send_signal(signal.SIGCONT)
        say(f"node {i} goes on")

    def failover(self, until, say):
        time.sleep(1)
        say("the primary is dead")
        self.primary.kill()
        for wires in self.wires:
            wires[0].set("gone")
        time.sleep(self.random.uniform(0.2, 1))
        self.standby.promote()
        self.primary, self.dead = self.standby, self.primary
        say("the standby is promoted")
        time.sleep(max(0, until - time.monotonic()))


FAULTS = {"restart": World.restart, "freeze": World.freeze, "wire": World.wire, "namespace": World.lose_packets, "nodes": World.break_nodes, "failover": World.failover}
# How the events end after which all should be well.
MENDED = ("is up", "is whole", "arrive again", "goes on", "is promoted")
# What every machine allows, and what shows within seconds.
ORDINARY = [name for name in FAULTS if name not in ("namespace", "freeze")]


# ---------------------------------------------------------------- the run

def patiently(step):
    """What is undisturbed may still meet a connection that has been idle for too long."""
    for _ in range(5):
        with contextlib.suppress(Again, *BROKEN):
            return step()


class Run:
    def __init__(self, faults, seconds, n_nodes=3, seed=None, stop_s=None):
        self.seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
        self.faults, self.seconds, self.n_nodes = faults, seconds, n_nodes
        self.stop_s = min(30, seconds / 2) if stop_s is None else stop_s
        self.measured, self.found = [], []

    def go(self):
        """Runs everything; self.found: the faults."""
        self.world = World(self.n_nodes, self.seed, "namespace" in self.faults)
        self.world.stop_s = self.stop_s
        try:
            self.clients = Clients(self.world.nodes, self.seed)
            self.clients.n_days, self.clients.issuer = 1, x509.load_der_x509_certificate(self.clients.ca_der)
            self.work()
            self.found = check(self.clients.history) + self.clients.faults
            self.found += [Fault("sanitizer", node.url, node.sanitizer_reports()) for node in self.world.nodes if node.sanitizer_reports()]
        except BaseException as e:
            e.log = "\n".join(f"--- node {i} ---\n" + "\n".join(node.logs().splitlines()[-15:]) for i, node in enumerate(self.world.nodes)) + f"\n--- database ---\n{self.world.primary.log()}"
            raise
        finally:
            self.world.close()
        return self.found

    def work(self):
        clients, history = self.clients, self.clients.history
        actors = [RoamingDevice(clients, f"device-{n}") for n in range(N_DEVICES)] + [Administrator(clients, f"admin-{n}") for n in range(N_ADMINS)]
        threads = [threading.Thread(target=actor.main, daemon=True) for actor in actors]
        with self.clients.history.operation("register", "write", "days", "1") as op:
            history.end(op, OK)
        for thread in threads:
            thread.start()
        try:
            wait_for("the first devices to be enrolled", lambda: len(clients.devices) >= N_DEVICES // 2, 60)
            for fault in self.faults:
                self.break_for_a_while(fault)
        finally:
            clients.calm.set()
            clients.ended.set()
            for thread in threads:
                thread.join(4 * PATIENCE_S)
        expect(not any(t.is_alive() for t in threads), "a client hangs")
        self.drain([a for a in actors if isinstance(a, RoamingDevice)])
        self.read_the_end(actors)

    def break_for_a_while(self, fault):
        history, started = self.clients.history, time.monotonic()
        FAULTS[fault](self.world, started + self.seconds, history.event)
        healed = time.monotonic()
        self.world.wait_served()
        ready = time.monotonic()
        # Until every node has acknowledged something.
        wait_for("every node to serve", lambda: {op.node for op in list(history.ops) if op.outcome == OK and op.start > healed and op.node is not None} >= set(range(len(self.world.nodes))), 60)
        ended = time.monotonic()
        ops = [op for op in list(history.ops) if started <= op.start < ended]
        counts = collections.Counter(op.outcome for op in ops)
        self.measured.append((fault, ended - started, counts, longest_gap(history, started, ended), recovery(history, started, ended, lambda name: name.endswith(MENDED)), ready - healed))

    def drain(self, devices):
        """Devices do what is left, undisturbed. One that cannot has lost something, which the history tells."""
        stuck = False
        for device in devices:
            def finished():
                try:
                    if not device.enrolled:
                        device.step()
                        return False
                    return device.serve()
                except Again:
                    return False
                except BROKEN:
                    return False
            try:
                wait_for(f"{device.name} to have nothing to do", finished, 60 if not stuck else 5)
            except AssertionError as e:
                stuck = True
                self.clients.fault("stuck", f"{e}: {[str(op) for op in self.clients.history.ops if op.actor == device.name][-3:]}")

    def read_the_end(self, actors):
        history, pg = self.clients.history, self.world.primary

        def final(model, kind, key, value, got):
            with history.operation(model, kind, key, value) as op:
                history.end(op, OK, got)
        done = dict(pg.sql("SELECT uuid, status FROM command_done"))
        waiting = {row[0] for row in pg.sql("SELECT uuid FROM command")}
        for udid, name in {(op.key, op.value) for op in list(history.ops) if op.model == "queue" and op.kind == "send"}:
            final("queue", "final", udid, name, done.get(name, "Queued" if name in waiting else None))
        certificates = {serial: hashlib.sha256(bytes.fromhex(data)).hexdigest() for serial, data in pg.sql("SELECT serial, encode(der, 'hex') FROM certificate WHERE der IS NOT NULL")}
        for op in [op for op in list(history.ops) if op.model == "right" and op.kind == "issue" and op.outcome == OK]:
            final("right", "final", op.key, op.got["serial"], certificates.get(op.got["serial"]))
        enrolled = {udid: (state, token) for udid, state, token in pg.sql(
            "SELECT e.device_id, e.state, encode(p.push_token, 'hex') FROM enrollment e LEFT JOIN epoch p ON p.enrollment_id = e.id AND p.epoch = e.active_epoch WHERE e.user_part = ''")}
        for device in [a for a in actors if isinstance(a, RoamingDevice)]:
            state, token = enrolled.get(device.udid, (None, None))
            if state != "1":
                self.clients.fault("lost-write", f"{device.name} is enrolled and has state {state}")
            final("register", "read", f"token/{device.udid}/{device.enrollments}", None, token)
            patiently(device.get_bootstrap_token)
        admin = next(a for a in actors if isinstance(a, Administrator))
        for id, token in self.clients.tokens:
            patiently(lambda: admin.use_token(id, token))
        status, audit, _ = self.world.nodes[0].api("GET", "/api/v1/audit/verify")
        if status != 200 or not audit["ok"]:
            self.clients.fault("audit", f"the audit log does not hold: {status} {audit}")

    def report(self, out=sys.stdout):
        for fault, seconds, counts, gap, again, ready in self.measured:
            print(f"# {fault}: {seconds:.0f} s, {sum(counts.values())} operations: {counts[OK]} ok, {counts[FAILED]} failed, {counts[UNKNOWN]} unknown; nothing acknowledged for {gap:.1f} s at most, "
                  f"again {again:.1f} s after a mending at most, by all nodes {ready:.1f} s after the last", file=out)
        counts = self.clients.history.counts()
        print(f"# {len(self.clients.history.ops)} operations: {dict(counts)} (seed {self.seed})", file=out)
        for found in self.found[:20]:
            print(f"# {found.kind}: {found.key}: {found.text}"[:1500], file=out)


def run_words():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--history")
    parser.add_argument("faults", nargs="*")
    options = parser.parse_args()
    can = [name for name in FAULTS if name != "namespace" or (os.getuid() == 0 and shutil.which("ip"))]
    run = Run(options.faults or can, options.seconds, options.nodes, options.seed)
    try:
        found = run.go()
    except BaseException as e:
        print(getattr(e, "log", ""))
        raise
    run.report()
    if options.history:
        run.clients.history.save(options.history)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    run_words()
