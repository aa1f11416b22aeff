#!/usr/bin/python3
"""Load balancers that pass TLS through and say by the PROXY protocol whose each connection is: a real HAProxy, a real nginx, and whoever pretends to be one."""
import functools
import resource
import struct

from harness import *
from lib.balancer import Balancer, Caller, example

BALANCER = "127.0.0.9"
UNLISTED, HEADER, CONNECTIONS = "POM-E4106", "POM-E4110", "POM-E7011"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def serve(*args, protocol="device mtls http", **options):
    return Server("--set", f"proxy.addresses={BALANCER}", "--set", f"proxy.protocol={protocol}", "--set", "server.mtls_listen=127.0.0.1:0", *args, url="https://127.0.0.1:1", **options)


def ports(s):
    return json.load(open(os.path.join(s.data, "serve.json")))


def haproxy(s, version, names=("device", "mtls", "http")):
    """In front of listeners, with checks by their own /readyz; its connections come from BALANCER."""
    p = ports(s)
    server = f"source {BALANCER} check inter 200ms fall 2 rise 1 {version}"
    listeners = {"device": (p["device_port"], "check-ssl verify none"), "mtls": (p["mtls_port"], "check-ssl verify none"), "http": (p["http_port"], ""), "admin": (p["admin_port"], "")}
    front = {name: free_port() for name in names}
    text = "global\n\tstats socket {root}/stats\ndefaults\n\tmode tcp\n\ttimeout connect 30s\n\ttimeout client 75s\n\ttimeout server 75s\n\ttimeout check 30s\n"
    for name in names:
        port, check = listeners[name]
        text += f"listen {name}\n\tbind 127.0.0.1:{front[name]}\n\toption httpchk\n\thttp-check send meth GET uri /readyz ver HTTP/1.1 hdr Host pomona\n\tserver pomona 127.0.0.1:{port} {server} {check}\n"
    return Balancer("haproxy", text, front[names[0]]), front


def refusals(s, reason):
    return s.metric(f'pomona_refusals_total{{reason="{reason}"}}')


def lines(s, *texts):
    return [line for line in s.logs().splitlines() if all(text in line for text in texts)]


def seldom(s, reason, began):
    """The first line about REASON; there is one in a minute at most."""
    said, most = lines(s, reason), 1 + (time.monotonic() - began) // 60
    expect(1 <= len(said) <= most, f"{len(said)} lines: {said[:3]}")
    return said[0]


def ask(port, address, path="/", headers=None, method="GET", context=None, body=None):
    """(status, body) of a request that comes from ADDRESS."""
    kind = functools.partial(http.client.HTTPSConnection, context=context) if context else http.client.HTTPConnection
    c = kind("127.0.0.1", port, timeout=30, source_address=(address, 0))
    try:
        c.request(method, path, body, headers or {})
        r = c.getresponse()
        return r.status, r.read()
    finally:
        c.close()


def through_haproxy(s, version, device, stranger, liar):
    balancer, front = haproxy(s, version)
    with balancer:
        for name in ("device", "mtls", "http"):
            wait_for(f"the check of {name}", lambda: balancer.state(name, "pomona") == ("UP", "L7OK"), 60)
        # What a device does, over each listener; each line that names a peer names the device.
        d = Caller(s, front["device"], device, front["mtls"]).enroll(s.link())
        equal(d.idle(), (200, b""), "Idle")
        expect(lines(s, "SCEP", f"peer={device}"), "the log of SCEP names the device")
        equal(d.show().put({"UDID": d.udid, "Status": "Idle"}, REPORT, signature=""), (200, b""), "over the listener for certificates, without a signature")
        timeline = json.dumps(s.cli("device", "timeline", d.id))
        expect(device in timeline and BALANCER not in timeline, f"the timeline: {timeline}")
        equal(ask(front["http"], stranger, "/scep?operation=Nonsense")[0], 400, "the listener without TLS")
        expect(lines(s, "refused", f"peer={stranger}"), "a refusal over the listener without TLS")
        # What clients themselves write is not the load balancer's word.
        for port, context in [(front["device"], s.tls()), (front["http"], None)]:
            status, _ = ask(port, liar, "/scep?operation=Nonsense", {"X-Forwarded-For": "192.0.2.66", "Forwarded": "for=192.0.2.66"}, context=context)
            equal(status, 400)
        idle, headers = plistlib.dumps({"UDID": d.udid, "Status": "Idle"}), {"Content-Type": REPORT, "Client-Cert": f":{base64.b64encode(der(d.cert)).decode()}:"}
        status, reply = ask(front["device"], liar, "/mdm", headers, "PUT", s.tls(), idle)
        equal((status, reply[:9]), (400, b"POM-E4101"), "a client's own header proves nothing")


@case
def haproxy_in_front():
    """Versions 1 and 2, and 2 with a checksum, an id of the connection and the name that the client asks for."""
    with serve("--set", "proxy.certificate_header=Client-Cert") as s:
        for i, version in enumerate(("send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority")):
            through_haproxy(s, version, *(f"127.0.{i + 1}.{k}" for k in (77, 78, 79)))
        expect(lines(s, "a client certificate in a header was ignored", "peer=127.0.1.79"), "it is said")
        expect("192.0.2.66" not in s.logs() and not lines(s, f"peer={BALANCER}"), "no other address")
        equal(refusals(s, HEADER), 0.0)


def fails(port, address, times):
    """How often a client at ADDRESS may fail, at most TIMES, before it is stopped."""
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60, source_address=(address, 0))
    try:
        for n in range(times):
            c.request("POST", "/scep?operation=PKIOperation", b"nonsense", {"Content-Type": "application/x-pki-message"})
            r = c.getresponse()
            r.read()
            if r.status == 429:
                return n
            equal(r.status, 400, "nonsense")
        return times
    finally:
        c.close()


@case
def limits_are_the_clients():
    """Who fails too often is stopped; who comes through the same load balancer is not."""
    with serve(push_cert=False) as s:
        balancer, front = haproxy(s, "send-proxy-v2", ("http",))
        with balancer:
            expect(fails(front["http"], "127.0.0.81", 600) < 600, "nobody was stopped")
            equal(fails(front["http"], "127.0.0.82", 1), 1, "another address")
            expect(lines(s, "too many requests of this address", "peer=127.0.0.81"), "it is said")


@case
def a_balancer_without_the_header():
    """Its connections are closed; one line says why, and what to set. As soon as it says whom it brings, devices are there."""
    began = time.monotonic()
    with serve() as s:
        balancer, front = haproxy(s, "")
        with balancer:
            for name in ("device", "mtls", "http"):
                wait_for(f"the check of {name} fails", lambda: balancer.state(name, "pomona")[0] == "DOWN", 60)
            wait_for("refusals", lambda: refusals(s, HEADER) >= 3)
        said = seldom(s, HEADER, began)
        expect("send-proxy-v2" in said and f"peer={BALANCER}" in said, said)
        balancer, front = haproxy(s, "send-proxy-v2")
        with balancer:
            wait_for("the check", lambda: balancer.state("device", "pomona")[0] == "UP", 60)
            Caller(s, front["device"], "127.0.0.77").enroll(s.link())


def dial(port, address):
    c = socket.create_connection(("127.0.0.1", port), 30, source_address=(address, 0))
    c.settimeout(60)
    return c


def closed(c):
    """The connection ends without a byte."""
    with contextlib.suppress(ConnectionError):
        return c.recv(1) == b""
    return True


@case
def strangers():
    """Whoever is not listed is not heard, whatever it sends; one line a minute says so."""
    began = time.monotonic()
    with serve(protocol="device mtls http admin") as s:
        p = ports(s)
        headers = [b"PROXY TCP4 192.0.2.66 192.0.2.1 1 2\r\n", SIGNATURE + b"\x21\x11" + struct.pack("!H", 12) + bytes([192, 0, 2, 66, 192, 0, 2, 1, 0, 1, 0, 2]), b"", b"PROXY UNKNOWN\r\n"]
        balancer, front = haproxy(s, "send-proxy-v2", ("device", "admin"))
        with balancer:
            s.admin_port = front["admin"]
            wait_for("the check", lambda: balancer.state("admin", "pomona")[0] == "UP", 60)
            before = refusals(s, UNLISTED)
            for name in ("device_port", "mtls_port", "http_port", "admin_port"):
                for header in headers:
                    with dial(p[name], "127.0.0.1") as c:
                        with contextlib.suppress(ConnectionError):
                            c.sendall(header + b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
                        expect(closed(c), f"{name} answers a stranger")
            equal(refusals(s, UNLISTED) - before, float(4 * len(headers)), "refusals")
            status, _, _ = s.api("GET", "/api/v1/devices")
            equal(status, 200, "the admin API, through the load balancer")
        said = seldom(s, UNLISTED, began)
        expect("proxy.addresses" in said and "peer=127.0.0.1" in said, said)
        expect("192.0.2.66" not in s.logs(), "a stranger's word")


@case
def headers_that_are_none():
    """From a listed address: what is no header, is cut, or comes too slowly."""
    began = time.monotonic()
    with serve() as s:
        p = ports(s)
        slow = dial(p["device_port"], BALANCER)
        slow.sendall(SIGNATURE + b"\x20\x00\x0f\xf0")
        sent, n = time.monotonic(), 0
        bad = [b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"PROXY TCP4 192.0.2.66 192.0.2.1 1 2\n", b"PROXY TCP4 192.0.2.66\r\n", SIGNATURE + b"\x21\x31\x00\xd8" + b"/run/x".ljust(216, b"\0"),
               SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12), SIGNATURE + b"\x21\x11\xff\xff", SIGNATURE + b"\x21\x11\x00\x0f" + bytes(12) + b"\x04\xff\xff", SIGNATURE + b"\x31\x11\x00\x00"]
        for name in ("device_port", "mtls_port", "http_port"):
            for header in bad:
                with dial(p[name], BALANCER) as c:
                    c.sendall(header)
                    expect(closed(c), f"{name} answers {header!r}")
                n += 1
            with dial(p[name], BALANCER) as c:
                c.sendall(b"PROXY TCP4 192.")
                c.shutdown(socket.SHUT_WR)
                expect(closed(c), f"{name} answers half a header")
            n += 1
            dial(p[name], BALANCER).close()
        wait_for(f"{n} refusals", lambda: refusals(s, HEADER) >= n)
        # A byte now and then does not keep it open.
        with contextlib.suppress(OSError):
            for _ in range(300):
                slow.sendall(b"x")
                time.sleep(0.2)
        expect(closed(slow) and time.monotonic() - sent > 9, f"cut after {time.monotonic() - sent:.1f} s")
        slow.close()
        wait_for("its refusal", lambda: refusals(s, HEADER) == n + 1)
        seldom(s, HEADER, began)
        # A header for itself: it is heard, under its own address, whatever stands in the request.
        for i, header in enumerate((SIGNATURE + b"\x20\x00\x00\x00", b"PROXY UNKNOWN\r\n")):
            with dial(p["http_port"], BALANCER) as c:
                c.sendall(header + b"GET /scep?operation=Nonsense HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.66\r\nConnection: close\r\n\r\n")
                expect(c.recv(65536).startswith(b"HTTP/1.1 400 "), "a refusal")
            equal(len(lines(s, "POM-E3001", f"peer={BALANCER}")), i + 1, "its own address")


@case
def nginx_stream():
    """The example of the documentation."""
    with serve(protocol="device") as s:
        front = free_port()
        text = example("nginx-stream.conf", ("listen 443;", f"listen 127.0.0.1:{front};\n\t\tproxy_bind {BALANCER};"), ("192.0.2.11:443", f"127.0.0.1:{ports(s)['device_port']}"),
                       ("192.0.2.12:443", f"127.0.0.1:{free_port()}"))
        main = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\nmaster_process off;\npid {root}/pid;\nerror_log {root}/log;\nevents {}\n" + text
        with Balancer("nginx", main, front):
            d = Caller(s, front, "127.0.0.77").enroll(s.link())
            equal(d.idle(), (200, b""), "Idle")
            expect(lines(s, "SCEP", "peer=127.0.0.77") and not lines(s, f"peer={BALANCER}"), "the log names the device")
            # A listener that is not named takes everybody, and no header.
            equal(ask(ports(s)["http_port"], "127.0.0.1", "/readyz")[0], 200)


@case
def too_many_from_one_address():
    """As when a load balancer is not listed: it is said, with what to set."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096) if hard > 0 else 4096, hard))
    with Server(push_cert=False) as s:
        open_ones = []
        try:
            for _ in range(1000):
                open_ones.append(dial(s.http_port, "127.0.0.33"))
            with dial(s.http_port, "127.0.0.33") as c:
                expect(closed(c), "one more than a thousand")
            equal(refusals(s, CONNECTIONS), 1.0)
            said = lines(s, CONNECTIONS)
            expect(len(said) == 1 and "peer=127.0.0.33" in said[0] and "proxy.addresses" in said[0], f"{said}")
            equal(ask(s.http_port, "127.0.0.34", "/readyz")[0], 200, "another address")
        finally:
            for c in open_ones:
                c.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@case
def settings_that_cannot_be():
    with Server(push_cert=False) as s:
        s.stop()
        for settings, text in [(("proxy.protocol=device",), "proxy.addresses does not say"), (("proxy.protocol=device", "proxy.addresses="), "proxy.addresses does not say"),
                               (("proxy.protocol=devices", f"proxy.addresses={BALANCER}"), "is none of device, mtls, http and admin"), (("proxy.protocol=proxy", f"proxy.addresses={BALANCER}"), "proxy.forwarded_header"),
                               (("proxy.protocol=device, mtls socket", f"proxy.addresses={BALANCER}"), "socket")]:
            extra = [word for setting in settings for word in ("--set", setting)]
            s.start(*extra, wait=False)
            code = s.process.wait(30)
            expect(code != 0 and text in s.logs().splitlines()[-1], f"{settings}: {code} {s.logs().splitlines()[-1]}")


if __name__ == "__main__":
    main()
