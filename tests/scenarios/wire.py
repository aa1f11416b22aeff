"""The HTTP listener over real sockets: every malformed request of the list, slow senders, curl."""
import pathlib
import re
import subprocess

from harness import *

HERE = pathlib.Path(__file__).resolve().parent


def malformed():
    """(name, status, bytes) of tests/data/http/malformed.tsv."""
    def unescape(text):
        text = re.sub(r"\{([^{}]*)\*(\d+)\}", lambda m: m.group(1) * int(m.group(2)), text)
        names = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}
        return re.sub(r"\\(x[0-9a-fA-F]{2}|.)", lambda m: chr(int(m.group(1)[1:], 16)) if m.group(1)[0] == "x" else names[m.group(1)], text).encode("latin-1")
    for line in (HERE.parent / "data" / "http" / "malformed.tsv").read_text().splitlines():
        if line and not line.startswith("#"):
            name, status, raw = line.split("\t")
            yield name, int(status), unescape(raw)


def talk(s, data, plain=False):
    """Sends bytes; the status of the answer and whether the connection was closed after it."""
    raw = socket.create_connection(("127.0.0.1", s.http_port if plain else s.port), 10)
    c = raw if plain else s.tls().wrap_socket(raw, server_hostname="127.0.0.1")
    try:
        c.settimeout(10)
        try:
            c.sendall(data)
        except OSError:
            pass
        got = b""
        while b"\r\n\r\n" not in got:
            part = c.recv(65536)
            if not part:
                break
            got += part
        closed = b"connection: close" in got.lower()
        return (int(got.split(b" ")[1]) if got.startswith(b"HTTP/1.1 ") else None), closed
    finally:
        c.close()


@case
def malformed_requests():
    with Server() as s:
        wrong, n = [], 0
        for name, status, raw in malformed():
            if name.startswith("body-"):
                raw = raw.replace(b"/upload", b"/scep?operation=PKIOperation")
            got, closed = talk(s, raw, plain=name.startswith("body-"))
            n += 1
            if got != status or not closed:
                wrong.append(f"{name}: {got}, wanted {status}{'' if closed else ', connection kept'}")
        equal(wrong, [], "malformed requests")
        expect(n >= 60, f"only {n} rows")
        equal(s.request("GET", "/scep?operation=GetCACaps")[0], 200, "the server goes on")


@case
def slow_senders_are_cut():
    with Server() as s:
        def drip(seconds):
            c = s.tls().wrap_socket(socket.create_connection(("127.0.0.1", s.port)), server_hostname="127.0.0.1")
            started = time.time()
            try:
                for byte in b"GET /scep?operation=GetCACaps HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100:
                    c.sendall(bytes([byte]))
                    c.settimeout(0.001)
                    try:
                        if c.recv(100) is not None:
                            return time.time() - started
                    except (TimeoutError, ssl.SSLWantReadError):
                        pass
                    c.settimeout(10)
                    if time.time() - started > seconds:
                        return None
                    time.sleep(1)
            except OSError:
                return time.time() - started
        took = drip(25)
        expect(took and took < 15, f"one byte a second was served for {took} s")


@case
def plain_http_on_the_tls_port():
    with Server() as s:
        with socket.create_connection(("127.0.0.1", s.port), 5) as c:
            c.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            try:
                equal(c.recv(1000)[:5], b"", "an answer in plain")
            except ConnectionResetError:
                pass


@case
def curl_sees_the_statuses():
    with Server() as s:
        def curl(*args):
            p = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", s.root_ca, *args], capture_output=True, text=True, timeout=60)
            return p.stdout
        base = s.url
        big = os.path.join(s.root, "big")
        open(big, "wb").write(b"x" * (33 << 20))
        equal(curl(f"{base}/nowhere"), "404")
        equal(curl("-X", "DELETE", f"{base}/mdm"), "405")
        equal(curl("-T", big, f"{base}/mdm"), "413")
        equal(curl("-T", big, "-H", "Expect:", f"{base}/mdm"), "413", )
        equal(curl("-H", "X: " + "a" * 17000, f"{base}/"), "431")
        equal(curl("-X", "PUT", "-H", "Content-Type: " + CHECKIN, "-d", "x", f"{base}/mdm"), "400")
        equal(curl(f"{base}/scep?operation=GetCACaps"), "200")
        equal(curl("-I", f"{base}/"), "200")
        equal(curl("--http1.0", f"{base}/"), "200")
        equal(curl("--http2", f"{base}/"), "200", "HTTP/2 is not offered, HTTP/1.1 answers")
        equal(curl("--tls-max", "1.2", f"{base}/"), "200")


@case
def graceful_stop():
    with Server() as s:
        d = s.enroll()
        c = s.tls().wrap_socket(socket.create_connection(("127.0.0.1", s.port)), server_hostname="127.0.0.1")
        body = plistlib.dumps({"UDID": d.udid, "Status": "Idle"})
        signature = base64.b64encode(detached_signature(d.key, d.cert, body)).decode()
        head = f"PUT /mdm HTTP/1.1\r\nHost: a\r\nContent-Type: {REPORT}\r\nMdm-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        c.sendall(head + body[:10])
        time.sleep(1)
        s.process.send_signal(signal.SIGTERM)

        def refuses():
            try:
                socket.create_connection(("127.0.0.1", s.port), 1).close()
            except OSError:
                return True
        # What runs has ten seconds to end.
        wait_for("a stopping server does not accept", refuses, 6)
        c.sendall(body[10:])
        expect(c.recv(1000).startswith(b"HTTP/1.1 200"), "what was running is finished")
        equal(s.process.wait(12), 0)


if __name__ == "__main__":
    main()
