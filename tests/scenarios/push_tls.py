"""The way to APNs: its certificate, ours, proxies, addresses."""
from lib.apns_peer import *


def ok(apns, c, stream):
    apns.respond(c, stream, 200)


def wrong(apns, error, text, *args, root=None):
    with apns, Server(*apns.server_args(), *args, push_cert=False) as s:
        s.cli("push-cert", "import", os.path.join(apns.dir, "push.pem"))
        s.cli("device", "push", s.enroll().udid)
        eventually(lambda: push_status(s)["error"], f"{error}: seen")
        status = push_status(s)
        equal(status["error"]["id"], error)
        expect(text in status["error"]["text"], f"{error}: {status['error']['text']!r}")
        equal(apns.requests, 0, "pushes that went to it")
        expect(error in s.logs(), "in the log")
        equal(status["owed"], 1, "nothing is lost")
        expect(error in run("push", "status", "--data", s.data), "shown to people")


@case
def certificates_that_are_not_those_of_apns():
    wrong(OddApns(ok, name="apns.example.org"), "POM-E6043", "mismatch")
    wrong(OddApns(ok, days=-2), "POM-E6045", "expired")
    with OddApns(ok) as other:
        apns = OddApns(ok)
        apns.server_args = lambda: ["--apns-url", f"https://127.0.0.1:{apns.port}", "--apns-root", os.path.join(other.dir, "root.pem")]
        wrong(apns, "POM-E6044", "self-signed")
    wrong(OddApns(ok, alpn="http/1.1"), "POM-E6049", "h2")


@case
def a_certificate_that_apns_refuses_by_tls():
    with OddApns(ok, clients=push_cert("com.apple.mgmt.External.another")) as apns, server(apns) as s:
        s.cli("device", "push", s.enroll().udid)
        eventually(lambda: push_status(s)["state"] == "stopped", "the topic stops")
        equal(push_status(s)["error"]["id"], "POM-E6046")
        equal(apns.requests, 0)


@case
def a_new_certificate_takes_effect_at_once():
    """What is under way on the old connection is still answered."""
    release = threading.Event()

    def answer(apns, c, stream):
        if apns.connections == 1:
            release.wait(120)
        apns.respond(c, stream, 200)
    def named(name):
        key = rsa.generate_private_key(65537, 2048)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.USER_ID, TOPIC), x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        return self_signed(key, subject).public_bytes(serialization.Encoding.PEM) + pem_key(key)
    # Of one topic; the names differ, so that the other side finds the root of each.
    old, new = named("APSP:old"), named("APSP:new")
    with OddApns(answer, clients=old + new) as apns, server(apns) as s:
        pathlib.Path(apns.dir, "push.pem").write_bytes(old)
        pathlib.Path(apns.dir, "new.pem").write_bytes(new)
        s.cli("push-cert", "import", os.path.join(apns.dir, "push.pem"))
        d, e = s.enroll(), s.enroll()
        s.cli("device", "push", d.udid)
        eventually(lambda: apns.requests == 1, "a push is under way")
        s.cli("push-cert", "import", os.path.join(apns.dir, "new.pem"))
        s.cli("device", "push", e.udid)
        eventually(lambda: s.metric('pomona_pushes_total{result="ok"}') == 1, "the next one goes over a new connection")
        equal([der(load_pem(x)) for x in (old, new)], apns.peers, "certificates that were shown")
        release.set()
        eventually(lambda: s.metric('pomona_pushes_total{result="ok"}') == 2, "the first one is answered on the old one")
        equal(apns.requests, 2, "and was not sent again")


@case
def an_expired_push_certificate():
    with OddApns(ok) as apns, server(apns) as s:
        d = s.enroll()
        with s.stopped() as execute:
            execute("UPDATE push_certificate SET not_after = ?", int(time.time() * 1000) - 1000)
        d.connection = None
        s.cli("device", "push", d.udid)
        eventually(lambda: push_status(s)["state"] == "expired", "it is said")
        status = push_status(s)
        equal((status["error"]["id"], status["owed"], apns.requests), ("POM-E6047", 1, 0))
        equal(s.metric(f'pomona_push_stopped{{topic="{TOPIC}"}}'), 1)
        # The renewed one brings it all back.
        s.cli("push-cert", "import", os.path.join(apns.dir, "push.pem"))
        eventually(lambda: apns.requests == 1 and not outbox(s), "what was owed goes out")
        equal(push_status(s)["error"], None)


@case
def proxies():
    with Proxy("ann:s3cret pass") as proxy, Proxy() as broken, OddApns(ok) as apns:
        proxy_args = ["--set", f"apns.proxy=http://127.0.0.1:{proxy.port}"]
        with server(apns, *proxy_args) as s:
            s.cli("device", "push", s.enroll().udid)
            eventually(lambda: push_status(s)["error"], "it asks for a password")
            status = push_status(s)["error"]
            expect(status["id"] == "POM-E6042" and "apns.proxy_password_file" in status["text"], f"{status}")
            file = os.path.join(s.root, "proxy-password")
            pathlib.Path(file).write_text("ann:s3cret pass\n")
            os.chmod(file, 0o600)
            s.restart("--set", f"apns.proxy_password_file={file}")
            eventually(lambda: apns.requests == 1 and not outbox(s), "with it, the push goes through")
            expect(f"CONNECT 127.0.0.1:{apns.port} HTTP/1.1" in proxy.requests[-1], f"{proxy.requests[-1]}")
            equal(s.cli("push", "status")["proxy"], f"127.0.0.1:{proxy.port}")
            expect("s3cret" not in s.logs() and base64.b64encode(b"ann:s3cret pass").decode() not in s.logs(), "the password is in the log")
        broken.status = 403
        with server(apns, "--set", f"apns.proxy=http://127.0.0.1:{broken.port}") as s:
            s.cli("device", "push", s.enroll().udid)
            eventually(lambda: push_status(s)["error"], "the proxy refuses")
            expect("status 403" in push_status(s)["error"]["text"], f"{push_status(s)}")
        # The proxy of the environment, and what is excepted from it.
        for more, error in ({}, "POM-E6042"), ({"no_proxy": "example.org,.invalid"}, "POM-E6041"):
            env = {"https_proxy": f"http://ann:s3cret%20pass@127.0.0.1:{proxy.port}", "no_proxy": "", **more}
            with Server("--apns-url", "https://apns.invalid", "--apns-root", os.path.join(apns.dir, "root.pem"), push_cert=False, env=env) as s:
                s.cli("push-cert", "import", os.path.join(apns.dir, "push.pem"))
                s.cli("device", "push", s.enroll().udid)
                eventually(lambda: push_status(s)["error"], "apns.invalid is not there", 120)
                equal(push_status(s)["error"]["id"], error)
                expect(("CONNECT apns.invalid:443" in proxy.requests[-1]) == (not more), f"{proxy.requests[-1]}")
                expect("s3cret" not in s.logs(), "the password is in the log")
                proxy.requests.append("")
        # A proxy in the environment is not for loopback; a password in the setting would be seen by all who may read it.
        with Server(*apns.server_args(), push_cert=False, env={"https_proxy": "http://127.0.0.1:1", "no_proxy": ""}) as s:
            s.cli("push-cert", "import", os.path.join(apns.dir, "push.pem"))
            s.cli("device", "push", s.enroll().udid)
            eventually(lambda: apns.requests == 2, "straight to loopback")
            s.stop()
            s.start("--set", "apns.proxy=http://ann:s3cret@127.0.0.1:1", wait=False)
            expect(s.process.wait(60) != 0 and "apns.proxy_password_file" in s.logs() and "s3cret" not in s.logs(), "a password in the URL is refused, and not shown")


@case
def addresses():
    # localhost has two addresses as a rule, and only 127.0.0.1 is listened on.
    with OddApns(ok, host="localhost") as apns, server(apns) as s:
        s.cli("device", "push", s.enroll().udid)
        eventually(lambda: apns.requests == 1, "one of the addresses works")
    with OddApns(ok) as apns:
        apns.server_args = lambda: ["--apns-url", "https://apns.invalid:2197", "--apns-root", os.path.join(apns.dir, "root.pem")]
        with server(apns) as s:
            s.cli("device", "push", s.enroll().udid)
            eventually(lambda: push_status(s)["error"], "a name that is not there", 120)
            equal(push_status(s)["error"]["id"], "POM-E6041")
            equal(s.cli("push", "status")["apns"], "apns.invalid:2197")
    if not socket.has_ipv6:
        raise Skip("no IPv6 here")
    try:
        six = OddApns(ok, host="::1")
    except OSError as e:
        raise Skip("no IPv6 here") from e
    with six as apns, server(apns) as s:
        s.cli("device", "push", s.enroll().udid)
        eventually(lambda: apns.requests == 1, "over IPv6")


if __name__ == "__main__":
    main()
