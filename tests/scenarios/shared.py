"""Two nodes: what one of them was told counts at the other from then on, and what comes to both at the same moment is done once."""
import concurrent.futures

from harness import *


@contextlib.contextmanager
def two():
    with Server() as a:
        yield a, a.node()


def to(device, node):
    """DEVICE goes on with NODE, as behind a balancer."""
    device.server = node
    return device.hang_up()


def together(*calls):
    """What CALLS give or raise, run at the same moment."""
    barrier = threading.Barrier(len(calls))

    def one(call):
        barrier.wait()
        try:
            return call()
        except Exception as e:
            return e
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


@case
def revocations_and_enrollments():
    with two() as (a, b):
        d = a.enroll()
        equal(to(d, b).idle(), (200, b""), "Idle at the other node")
        a.cli("ca", "revoke", f"{d.cert.serial_number:X}")
        expect(to(d, b).idle()[0] == 403, "the identity is revoked at the other node at once")
        # Enrollment begun here, ended there.
        e = Device(a)
        e.read_profile(b.profile(a.link()))
        e.get_identity()
        equal(e.authenticate(), (200, b""), "Authenticate")
        equal(to(e, b).token_update(), (200, b""), "TokenUpdate at the other node")
        equal([x["udid"] for x in a.cli("device", "list") if x["state"] == "enrolled" and x["udid"] == e.udid], [e.udid], "enrolled")
        # Un-enrolled here, refused there; deleted, and unknown there.
        a.cli("device", "unenroll", e.udid, "--now")
        expect(to(e, b).idle()[0] == 403, "un-enrolled")
        a.cli("device", "delete", e.udid)
        f = Device(b, udid=e.udid)
        f.enroll(a.link())
        equal(to(f, a).idle(), (200, b""), "enrolled again under another id")


@case
def certificate_authorities():
    with two() as (a, b):
        d = b.enroll()
        old = Scep(b).ca
        a.cli("ca", "rekey")
        expect("GetNextCACert" in Scep(b).get("GetCACaps").body.decode(), "the next CA is told of by the other node")
        a.cli("ca", "rekey", "--activate")
        client = Scep(b)
        expect(client.ca != old, "GetCACert at the other node")
        challenge = a.cli("challenge", "new")["challenge"]
        _, cert = client.enroll(challenge)
        [active] = [g for g in a.cli("ca", "show") if g["state"] == "active"]
        expect(issued_by(cert, load_pem(active["certificate_pem"])), "issued by the new generation")
        # The old generation goes, and with it, by force, the device that still has an identity of it.
        equal(to(d, b).idle()[0], 200, "the device is served before")
        a.cli("ca", "rekey", "--finish", "--force")
        # Its TLS certificate may be of the new generation by then, whose root the device does not know.
        try:
            status, body = to(d, b).idle()
            expect(status >= 400, f"an identity of a retired CA at the other node: {status} {body!r}")
        except ssl.SSLCertVerificationError:
            pass
        # What is given to people, too.
        wait_for("the other node has written the new roots", lambda: pathlib.Path(b.root_ca).read_text() == pathlib.Path(a.root_ca).read_text())


@case
def profiles_and_outside_cas():
    with two() as (a, b):
        a.cli("scep-profile", "set", "wifi", "days=7")
        challenge = a.cli("challenge", "new", "--profile", "wifi")["challenge"]
        _, cert = Scep(b, "wifi").enroll(challenge)
        equal((cert.not_valid_after - cert.not_valid_before).days, 6, "whole days of the profile")
        b.cli("scep-profile", "set", "wifi", "days=9")
        equal(a.cli("scep-profile", "show", "wifi")["days"], 9, "shown by the first")
        a.cli("scep-profile", "remove", "wifi")
        equal(Scep.send(Scep(b), "GET", "/scep/wifi?operation=GetCACaps", None).http_status, 404, "a profile that is gone")
        # An outside CA, whose certificates devices bring; and one that made devices.
        key = rsa_key()
        path = os.path.join(a.root, "outside.pem")
        pathlib.Path(path).write_bytes(self_signed(key, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Outside")])).public_bytes(serialization.Encoding.PEM))
        a.cli("outside-ca", "set", "others", "url=http://127.0.0.1:1/scep", f"certificates=@{path}")
        equal([o["name"] for o in b.cli("outside-ca", "list")], ["others"], "outside CAs")
        factory = Factory()
        factory.add_to(a)
        expect(any(c["subject"] and "Test Device CA" in c["subject"] for c in b.cli("device-ca", "list")), "device CAs")


@case
def push_certificates():
    with two() as (a, b):
        a.cli("push-cert", "remove", TOPIC, "--force")
        status, _, _ = b.request("GET", urllib.parse.urlsplit(a.link()["profile_url"]).path)
        expect(status >= 400, f"no profile without a push certificate: {status}")
        b.import_push_cert()
        d = Device(a)
        d.read_profile(a.profile(b.link()))
        d.get_identity()
        equal(d.authenticate(), (200, b""), "Authenticate with the topic that the other node has learnt")


@case
def one_challenge_at_both():
    with two() as (a, b):
        for _ in range(2):
            challenge = a.cli("challenge", "new")["challenge"]
            clients, keys, signers = [Scep(a), Scep(b)], [rsa_key(), rsa_key()], [throw_away(), throw_away()]
            answers = Scep.post_together(clients, [scep_message(make_csr(k, challenge=challenge), c.ca, *s) for c, k, s in zip(clients, keys, signers)])
            equal(sorted(x.status for x in answers), ["0", "2"], "one certificate, one refusal")
        # The same request at both: the same certificate.
        for _ in range(2):
            challenge = a.cli("challenge", "new")["challenge"]
            key, signer, clients = rsa_key(), throw_away(), [Scep(a), Scep(b)]
            message = scep_message(make_csr(key, challenge=challenge), clients[0].ca, *signer)
            serials = {x.certificate(signer[0]).serial_number for x in Scep.post_together(clients, [message, message])}
            good = a.sql("SELECT count(*) FROM certificate WHERE challenge_id = (SELECT id FROM challenge ORDER BY id DESC LIMIT 1) AND state = 1")[0][0]
            expect(good == 1 and 1 <= len(serials) <= 2, f"certificates that are good: {good} of {serials}")
        # A person is asked once, and one yes is one certificate.
        a.cli("scep-profile", "set", "printers", "approval=manual", "challenge=none")
        key, signer, clients = rsa_key(), throw_away(), [Scep(a, "printers"), Scep(b, "printers")]
        message = scep_message(make_csr(key, subject="printer"), clients[0].ca, *signer)
        equal([x.status for x in Scep.post_together(clients, [message, message])], ["3", "3"], "both wait")
        [request] = [r for r in b.cli("ca", "requests") if r["state"] == "pending"]
        b.cli("ca", "approve", request["id"])
        answers = Scep.post_together(clients, [message, message])
        equal(len({x.certificate(signer[0]).serial_number for x in answers}), 1, "certificates of one approval")


@case
def a_guesser_has_one_budget():
    """With several nodes an address has as many tries as with one, and one at each other node that has not heard of it."""
    with two() as (a, b):
        challenge = a.cli("challenge", "new")["challenge"]
        key, signer, guesser = rsa_key(), throw_away(), "127.9.9.9"

        def ask(node, text):
            return Scep(node, address=guesser).ask(make_csr(key, challenge=text), signer).http_status
        tries = next(n for n in range(600) if ask(a, f"guess {n}") == 429)
        expect(tries >= 60, f"the first node listens no more after {tries} guesses")
        # One try is forgiven each second, however slow this machine is: so long ago the guesses must not seem.
        equal(a.sql("UPDATE scep_failure SET forgiven_at = forgiven_at + 600000"), 1, "addresses that have failed")
        equal([ask(b, f"guess {n}") for n in range(3)], [200, 429, 429], "at the other node")
        equal(ask(b, challenge), 429, "the guesser's right challenge")
        Scep(b).enroll(challenge)
        # What is forgiven is forgotten.
        a.sql("INSERT INTO scep_failure (address, forgiven_at) VALUES ('192.0.2.1', 1)")
        a.cli("ca", "rekey")
        wait_for("the row goes", lambda: [tuple(r) for r in a.sql("SELECT address FROM scep_failure")] == [(guesser,)], seconds=90)


@case
def a_warning_comes_once():
    with two() as (a, b):
        a.cli("push-cert", "remove", TOPIC, "--force")
        path = os.path.join(a.root, "short.pem")
        pathlib.Path(path).write_bytes(push_cert(TOPIC, days=5))
        a.cli("push-cert", "import", path)

        def told(server):
            return [line for line in server.logs().splitlines() if "a certificate ends soon" in line and f"push/{TOPIC}" in line]

        def turn(server):
            """SERVER alone, from its start on, looks at the ends of certificates."""
            server.start()
            wait_for("it has looked", lambda: server.metric('pomona_jobs_total{job="warnings"}'))
            server.stop()
        a.stop()
        b.stop()
        turn(a)
        equal(len(told(a) + told(b)), 1, "warnings")
        turn(b)
        turn(a)
        equal(len(told(a) + told(b)), 1, "warnings after the job has moved twice")
        b.start()


@case
def one_link_at_both():
    with two() as (a, b):
        for _ in range(2):
            link = a.link()
            devices = [Device(a), Device(b)]
            for d in devices:
                d.read_profile(d.server.profile(link))

            def enroll(d):
                d.get_identity()
                return d.authenticate()[0] == 200 and d.token_update()[0] == 200
            done = together(*[lambda d=d: enroll(d) for d in devices])
            expect(done.count(True) <= 1, f"one link, one device: {done}")
            equal(a.sql("SELECT count(*) FROM epoch WHERE link_id = ?", link["id"])[0][0], done.count(True), "epochs of the link")


@case
def an_address_is_known_at_both():
    with two() as (a, b):
        link = a.link()
        Device(a).read_profile(a.profile(link))
        equal(b.request("GET", "/scep?operation=GetCACert")[0], 200)
        lines = a.cli("enroll", "show", link["id"])["timeline"]
        equal([e["kind"] for e in lines], ["ProfileServed", "GetCACert"], "steps at two nodes")
        expect("address alone" in lines[1]["detail"], f"{lines}")


@case
def commands_and_sessions():
    with two() as (a, b):
        d = a.enroll()
        first = a.cli("command", "send", d.udid, "ProfileList")["command_uuid"]
        equal(to(d, b).idle()[1]["CommandUUID"], first, "queued here, fetched there")
        # NotNow there: not again in this session, wherever it goes on.
        second = b.cli("command", "send", d.udid, "CertificateList")["command_uuid"]
        equal(d.report(first, "NotNow")[1]["CommandUUID"], second, "the next one")
        equal(to(d, a).report(second), (200, b""), "not again in this session at the first node")
        # The next session begins at A: what was put off is offered in it once, though its answers go to either node by turns.
        third = a.cli("command", "send", d.udid, "InstalledApplicationList")["command_uuid"]
        equal(to(d, a).idle()[1]["CommandUUID"], first, "a new session")
        equal(to(d, b).report(first, "NotNow")[1]["CommandUUID"], third, "the next at the other node")
        equal(to(d, a).report(third), (200, b""), "not twice in a session")
        # Two that were put off, and a new one before them: the session is known where the answer goes.
        fourth = a.cli("command", "send", d.udid, "SecurityInfo")["command_uuid"]
        equal(to(d, a).idle()[1]["CommandUUID"], first)
        equal(to(d, b).report(first, "NotNow")[1]["CommandUUID"], fourth)
        equal(to(d, a).report(fourth, "NotNow"), (200, b""), "nothing twice")
        equal(to(d, b).idle()[1]["CommandUUID"], first, "both again in the next")
        equal(to(d, a).report(first)[1]["CommandUUID"], fourth, "the other node knows the session: what was put off before it comes in it")
        equal(to(d, b).report(fourth), (200, b""))
        # Answered through one node, it is answered for the other; canceled, too.
        equal(to(d, a).report(fourth), (200, b""), "the same report again")
        fifth = a.cli("command", "send", d.udid, "ProfileList")["command_uuid"]
        b.cli("command", "cancel", fifth)
        equal(to(d, a).idle(), (200, b""), "nothing is left")


if __name__ == "__main__":
    main()
