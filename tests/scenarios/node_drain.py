#!/usr/bin/python3
"""A stop that a load balancer notices first, and a restart of all nodes, one after another, that no device notices."""
import csv
import io

from harness import *
from lib.balancer import Balancer, Caller, example

BALANCER = "127.0.0.9"
DRAINING = "POM-E0115"


def readyz(s, path="/readyz"):
    """(status, text) at the listeners for devices, with and without TLS, and at the admin listener: they say the same."""
    found = set()
    for plain in (False, True):
        status, body, headers = s.request("GET", path, plain=plain)
        found.add((status, DRAINING if DRAINING.encode() in body else body.decode()))
        expect(status != 503 or int(headers["retry-after"]) > 0, "503 without Retry-After")
    status, body, _ = s.api("GET", path)
    found.add((status, body["code"] if isinstance(body, dict) else body.decode()))
    expect(len(found) == 1, f"{found}")
    return found.pop()


@case
def a_stop_with_notice():
    """As long as server.drain_seconds say, or until the second signal, it is not ready, serves everybody, and ends connections with their replies."""
    with Server("--set", "server.drain_seconds=3600") as s:
        d, late = s.enroll(), s.link()
        equal((d.idle(), d.headers.get("connection")), ((200, b""), "keep-alive"), "the connection stays")
        equal([readyz(s), readyz(s, "/readyz?draining=404")], [(200, "ready\n")] * 2)
        kept = d.connection
        s.process.send_signal(signal.SIGTERM)
        wait_for("not ready", lambda: s.request("GET", "/readyz")[0] == 503)
        equal([readyz(s), readyz(s, "/readyz?draining=404"), readyz(s, "/readyz?draining=200")], [(503, DRAINING), (404, "draining\n"), (503, DRAINING)])
        expect(d.connection is kept, "a connection that rests is left open")
        equal((d.idle(), d.headers["connection"]), ((200, b""), "close"), "over the connection that was there")
        equal((d.idle(), d.headers["connection"]), ((200, b""), "close"), "over a new one")
        equal(s.api("GET", "/healthz")[0], 200, "it lives")
        equal(Device(s).enroll(late).idle(), (200, b""), "all is served")
        equal((s.process.poll(), s.stop()), (None, 0), "the second signal")
        s.start("--set", "server.drain_seconds=1")
        begun = time.monotonic()
        equal((s.stop(timeout=60), s.logs().count("draining")), (0, 2))
        expect(time.monotonic() - begun >= 1, "it did not wait")
        s.start()
        equal((readyz(s), d.idle()), ((200, "ready\n"), (200, b"")), "again")


@case
def who_does_not_want_to_wait():
    """The second signal ends it at once; SIGINT, and SIGTERM without the setting, are no notice. SIGHUP is none of them."""
    with Server("--set", "server.drain_seconds=3600", push_cert=False) as s:
        for second in (signal.SIGTERM, signal.SIGINT):
            s.process.send_signal(signal.SIGTERM)
            wait_for("not ready", lambda: s.request("GET", "/readyz")[0] == 503)
            s.process.send_signal(signal.SIGHUP)
            equal(readyz(s)[0], 503)
            s.process.send_signal(second)
            equal(s.process.wait(30), 0)
            s.start()
        s.process.send_signal(signal.SIGINT)
        equal(s.process.wait(30), 0)
        s.args = []
        s.start()
        s.process.send_signal(signal.SIGTERM)
        equal(s.process.wait(30), 0)
        equal(s.logs().count("draining"), 2, "drained")
        s.start("--set", "server.drain_seconds=-1", wait=False)
        expect(s.process.wait(30) != 0 and "server.drain_seconds must be between 0 and 3600" in s.logs(), "a wrong value")


class Crowd:
    """Devices that ask without a pause, each over its connection while that is left open. None of them tries anything twice."""

    def __init__(self, devices):
        self.ending, self.errors, self.asked, self.closed = False, [], 0, 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(d, i % 2 == 0)) for i, d in enumerate(devices)]
        for t in self.threads:
            t.start()

    def run(self, device, keeps):
        while not self.ending and not self.errors:
            try:
                if not keeps:
                    device.hang_up()
                reply = device.idle()
                with self.lock:
                    self.asked += 1
                    self.closed += device.headers.get("connection") == "close"
                if reply != (200, b""):
                    self.errors.append(reply)
            except Exception as e:
                self.errors.append(f"{type(e).__name__}: {e}")
            time.sleep(0.05)

    def check(self):
        expect(not self.errors, f"a device saw {self.errors}")

    def more(self, n=20):
        """Waits until so many requests more were answered."""
        wanted = self.asked + n

        def enough():
            self.check()
            return self.asked >= wanted
        wait_for("requests of devices", enough, 120)

    def end(self):
        self.ending = True
        for t in self.threads:
            t.join()
        self.check()


def begin(d, port):
    """A request of which only the head and a part of the body have gone out: (socket, the rest)."""
    body = plistlib.dumps({"UDID": d.udid, "Status": "Idle"})
    signature = base64.b64encode(detached_signature(d.key, d.cert, body)).decode()
    c = d.tls().wrap_socket(socket.create_connection(("127.0.0.1", port), 60, source_address=(d.address, 0)), server_hostname="127.0.0.1")
    c.sendall(f"PUT /mdm HTTP/1.1\r\nHost: a\r\nContent-Type: {REPORT}\r\nMdm-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:40])
    return c, body[40:]


def connections(balancer, name):
    """How many the load balancer has to a node."""
    return int(next(r["scur"] for r in csv.DictReader(io.StringIO(balancer.ask("show stat").lstrip("# "))) if (r["pxname"], r["svname"]) == ("nodes", name)))


@case
def all_nodes_one_after_another():
    """Behind the HAProxy of the documentation, with the PROXY protocol. The second signal comes as soon as it has taken the node out, so that nothing hangs on time."""
    settings = [word for setting in (f"proxy.addresses={BALANCER}", "proxy.protocol=device", "server.drain_seconds=3600", "node.lease_seconds=5") for word in ("--set", setting)]
    with Server(*settings, "--set", "node.name=a") as a:
        b = a.node("--set", "node.name=b")
        nodes, front = {"node-a": a, "node-b": b}, free_port()
        text = example("haproxy-nodes.cfg", ("maxconn 20000", "maxconn 500\n\tstats socket {root}/stats"), ("bind :443", f"bind 127.0.0.1:{front}"), ("192.0.2.11:443", f"127.0.0.1:{a.port} source {BALANCER}"),
                       ("192.0.2.12:443", f"127.0.0.1:{b.port} source {BALANCER}"), ("bind 127.0.0.1:8081", f"bind 127.0.0.1:{free_port()}"), ("192.0.2.11:8081", f"127.0.0.1:{a.admin_port}"),
                       ("192.0.2.12:8081", f"127.0.0.1:{b.admin_port}"), ("inter 1s fastinter 500ms", "inter 300ms"), ("timeout check 1s", "timeout check 20s"))
        with Balancer("haproxy", text, front) as balancer:
            def are(*states):
                return [balancer.state("nodes", name)[0] for name in nodes] == list(states)
            wait_for("both nodes", lambda: are("UP", "UP"), 60)
            slow, *devices = [Caller(a, front, f"127.0.1.{i + 1}").enroll(a.link()) for i in range(4)]
            slow.hang_up()
            crowd = Crowd(devices)
            try:
                for name, node in nodes.items():
                    crowd.more()
                    begun = [begin(slow, front) for _ in range(4)]
                    wait_for("connections to both", lambda: all(connections(balancer, n) for n in nodes), 60)
                    node.process.send_signal(signal.SIGTERM)
                    wait_for(f"{name} to be left out", lambda: balancer.state("nodes", name)[0] in ("NOLB", "DRAIN"), 60)
                    for c, rest in begun:
                        c.sendall(rest)
                        expect(c.recv(65536).startswith(b"HTTP/1.1 200 "), "a request that was under way")
                        c.close()
                    crowd.more()
                    wait_for("its connections to end", lambda: connections(balancer, name) == 0, 60)
                    equal(node.stop(signal.SIGTERM), 0, "exit")
                    crowd.more()
                    wait_for("it to be away", lambda: balancer.state("nodes", name)[0] == "DOWN", 60)
                    node.start()
                    wait_for("both nodes again", lambda: are("UP", "UP"), 60)
                crowd.more()
            finally:
                crowd.end()
            expect(crowd.closed > 0, "no connection was ended with its reply")
            expect(not [n for n in nodes.values() if f"peer={BALANCER}" in n.logs()], "addresses in the logs")


if __name__ == "__main__":
    main()
