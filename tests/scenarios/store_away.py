"""The database is away: everybody is told to come again, nobody is sent away, and all goes on by itself when it is back."""
import concurrent.futures

from cryptography.x509 import ocsp

from lib.postgres import *


@contextlib.contextmanager
def database():
    """One cluster for all cases, with a new database for each."""
    if not hasattr(database, "cluster"):
        database.cluster, database.n = Postgres(), 0
    database.n += 1
    name = f"pomona{database.n}"
    database.cluster.create(name)
    yield database.cluster, name


def scep_post(node, ca, challenge):
    key, signer_key = rsa_key(), rsa_key()
    signer = self_signed(signer_key, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "t")]))
    return node.request("POST", "/scep?operation=PKIOperation", scep_message(make_csr(key, challenge=challenge), ca, signer_key, signer))


def asked_while_away(node, device, link, ca):
    """(what, status, headers) of all that may come in."""
    path = urllib.parse.urlsplit(link["profile_url"]).path
    for what, ask in [("Idle", device.idle), ("TokenUpdate", device.token_update), ("Authenticate", device.authenticate),
                      ("SetBootstrapToken", lambda: device.put({"MessageType": "SetBootstrapToken", "UDID": device.udid, "BootstrapToken": b"x"})),
                      ("report", lambda: device.report("11111111-0000-4000-8000-000000000000")), ("CheckOut", device.check_out)]:
        yield what, ask()[0], device.headers
    for what, (status, _, headers) in [("PKIOperation", scep_post(node, ca, "nothing")), ("page of a link", node.request("GET", path.rsplit("/", 1)[0])), ("profile", node.request("GET", path)),
                                       ("/readyz for load balancers", node.request("GET", "/readyz")), ("/readyz without TLS", node.request("GET", "/readyz", plain=True))]:
        yield what, status, headers
    for method, path, body in [("GET", "/api/v1/devices", None), ("GET", f"/api/v1/devices/{device.udid}", None), ("POST", "/api/v1/links", {}), ("GET", "/readyz", None),
                               ("POST", f"/api/v1/devices/{device.udid}/commands", {"RequestType": "ProfileList"}), ("GET", "/api/v1/tokens", None), ("GET", "/api/v1/audit", None)]:
        status, reply, headers = node.api(method, path, body)
        equal(reply["code"], "POM-E0108", f"{method} {path}")
        yield f"{method} {path}", status, {name.lower(): value for name, value in headers.items()}


@case
def everybody_is_told_to_come_again():
    with database() as (pg, name), ClusterNode(pg.url(database=name)) as node:
        device, link, ca = node.enroll(), node.link(), node.request("GET", "/scep?operation=GetCACert")[1]
        other = node.link()
        kept = node.cli("command", "send", device.udid, "ProfileList")["command_uuid"]
        pg.stop("immediate")
        try:
            wait_for("/readyz to be false", lambda: not node.is_ready())
            for what, status, headers in asked_while_away(node, device, link, ca):
                equal(status, 503, what)
                expect(int(headers.get("retry-after", "0")) > 0, f"{what}: 503 without Retry-After")
            request = ocsp.OCSPRequestBuilder().add_certificate(device.cert, x509.load_der_x509_certificate(ca), hashes.SHA1()).build().public_bytes(serialization.Encoding.DER)
            status, body, _ = node.request("POST", "/ocsp", request, {"Content-Type": "application/ocsp-request"}, plain=True)
            equal((status, ocsp.load_der_ocsp_response(body).response_status), (200, ocsp.OCSPResponseStatus.TRY_LATER), "OCSP")
            status, text = node.plainly("/readyz")
            expect(status == 503 and "POM-E0108" in text and f"port {pg.port}" in text, f"/readyz: {status} {text}")
            expect(str(pg.port) not in node.request("GET", "/readyz")[1].decode(), "the world is told where the database is")
            equal(node.plainly("/healthz"), (200, "ok\n"))
            code, _, err = node.cli_code("device", "list")
            expect(code == 6 and "POM-E0108" in err, f"exit {code}: {err}")
            # The janitor and the others have met it more than once.
            time.sleep(5)
        finally:
            pg.start()
        wait_for("/readyz to be true", node.is_ready)
        device.hang_up()
        equal(device.idle()[1]["CommandUUID"], kept, "what was acknowledged before")
        equal(device.report(kept), (200, b""))
        Device(node).enroll(other)
        equal(node.cli_code("device", "list")[0], 0)
        wait_for("the log to say it", lambda: node.count("the database is back"))
        equal((node.count("the database is away"), node.count("the database is back")), (1, 1), "lines of going and coming")
        others = [line for line in node.logs().splitlines() if " error " in line and "the database is away" not in line]
        equal(others, [], "other errors in the log")
        expect(sum("could not" in line for line in node.logs().splitlines()) == 0, "background work tells its failures one by one")
        equal([line for line in node.logs().splitlines() if "reason=" in line and "reason=POM-E0108" not in line and "reason=POM-E0104" not in line], [], "refusals for other reasons")


@case
def what_was_left_undone_is_done():
    """Work of time alone, and what waits in memory, is not lost with the database."""
    with database() as (pg, name), ClusterNode(pg.url(database=name)) as node:
        device = node.enroll()
        uuid = node.api("POST", f"/api/v1/devices/{device.udid}/commands", {"RequestType": "ProfileList", "expires_in_s": 6})[1]["command_uuid"]
        equal(device.idle()[1]["CommandUUID"], uuid)
        pg.stop("immediate")
        try:
            wait_for("/readyz to be false", lambda: not node.is_ready())
            time.sleep(6)
        finally:
            pg.start()
        wait_for("the command to expire", lambda: node.is_ready() and node.cli("command", "show", uuid)["status"] == "Expired")
        shown = node.cli("command", "show", uuid)
        equal(shown["delivered_count"], 1, "deliveries, which were kept in memory")


@case
def a_database_that_says_nothing():
    """The worst one: connections stay open, and nothing comes. Whoever asks for health is answered at once, although all workers wait."""
    with database() as (pg, name), Wire(pg) as wire, ClusterNode(pg.url(wire, database=name), "--set", "server.workers=4") as node:
        devices = [node.enroll() for _ in range(2)]
        equal(devices[0].idle()[0], 200)
        wire.set("deaf")
        pool = concurrent.futures.ThreadPoolExecutor(12)

        def ask(i):
            with contextlib.suppress(OSError):
                return node.request("GET", "/ca/nothing.crl")[0] if i % 2 else node.api("GET", "/api/v1/devices")[0]
        asked = [pool.submit(ask, i) for i in range(12)]
        time.sleep(1)
        started = time.monotonic()
        equal(node.plainly("/healthz", timeout=5), (200, "ok\n"))
        expect(time.monotonic() - started < 3, f"/healthz took {time.monotonic() - started:.1f} s")
        wire.set("through")
        wait_for("all to be answered", lambda: all(f.done() for f in asked), 60)
        expect(all(f.result() in (200, 404, 503, None) for f in asked), f"answers {[f.result() for f in asked]}")
        wait_for("/readyz to be true", node.is_ready)
        equal(devices[1].hang_up().idle()[0], 200)


@case
def what_may_be_done_is_not_called_undone():
    """The command is queued, the connection ends before that is heard, and after that the database is away: nobody may be told that nothing was done."""
    with database() as (pg, name), Wire(pg) as wire, ClusterNode(pg.url(wire, database=name)) as node:
        device = node.enroll()
        wire.mute_at(b"INTO command ")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            sent = pool.submit(node.api, "POST", f"/api/v1/devices/{device.udid}/commands", {"RequestType": "ProfileList"})
            expect(wire.sprung.wait(20), "the command was not sent to the database")
            wait_for("the command to be queued", lambda: pg.sql("SELECT count(*) FROM command", database=name) == [["1"]])
            wire.set("gone")
            status, reply, _ = sent.result(60)
        equal((status, reply["code"]), (503, "POM-E0104"), reply["detail"])
        wire.set("through")
        wait_for("/readyz to be true", node.is_ready)
        equal(device.hang_up().idle()[1]["Command"]["RequestType"], "ProfileList")


@case
def a_refusal_that_cannot_be_written_down():
    """A challenge came again with another key, which is written into the audit log before it is refused: the connection ends just then."""
    with database() as (pg, name), Wire(pg) as wire, ClusterNode(pg.url(wire, database=name)) as node:
        ca, challenge = node.request("GET", "/scep?operation=GetCACert")[1], node.api("POST", "/api/v1/challenges", {"subject": "O=Test Org,CN=once"})[1]["challenge"]
        status, body, _ = scep_post(node, ca, challenge)
        equal((status, scep_reply(body)[0]), (200, "0"), "the first use")
        wire.mute_at(b"scep.alarm")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            sent = pool.submit(scep_post, node, ca, challenge)
            expect(wire.sprung.wait(20), "nothing was written down")
            wire.set("gone")
            status, _, headers = sent.result(60)
        equal((status, int(headers.get("retry-after", "0")) > 0), (503, True), "the second use, of which nothing can be written down")
        wire.set("through")
        wait_for("/readyz to be true", node.is_ready)
        status, body, _ = scep_post(node, ca, challenge)
        equal((status, scep_reply(body)[0]), (200, "2"), "the second use")
        expect(int(pg.sql("SELECT count(*) FROM audit_pending WHERE action = 'scep.alarm'", database=name)[0][0]) + int(pg.sql("SELECT count(*) FROM audit WHERE action = 'scep.alarm'", database=name)[0][0]) > 0, "no alarm")


@case
def a_database_that_stands_still():
    """All its processes are stopped, and the kernel answers for them: nobody waits for an answer as long as the longest statement may take."""
    with database() as (pg, name), ClusterNode(pg.url(database=name)) as node:
        device = node.enroll()
        with concurrent.futures.ThreadPoolExecutor(2) as pool, pg.frozen():
            asked = [pool.submit(device.idle), pool.submit(node.api, "POST", f"/api/v1/devices/{device.udid}/commands", {"RequestType": "ProfileList"})]
            started = time.monotonic()
            equal([f.result(70)[0] for f in asked], [503, 503])
            took = time.monotonic() - started
            expect(took < 45, f"answered after {took:.0f} s")
            equal((node.plainly("/readyz")[0], node.plainly("/healthz")[0]), (503, 200))
        wait_for("/readyz to be true", node.is_ready)
        # Unknown is what was answered: it was done, or not.
        equal(device.hang_up().idle()[0], 200)
        equal(node.cli_code("command", "send", device.udid, "SecurityInfo")[0], 0)


@case
def a_start_waits_for_the_database():
    with database() as (pg, name), Wire(pg) as wire, ClusterNode(pg.url(wire, database=name)) as node:
        device = node.enroll()
        node.stop()
        wire.set("dead")
        node.start(wait=False)
        wait_for("the node to wait", lambda: node.count("waiting for the database"))
        time.sleep(2.5)
        equal((node.process.poll(), node.count("waiting for the database")), (None, 1))
        wire.set("through")
        node.wait_ready()
        equal(device.hang_up().idle(), (200, b""))
        equal(node.stop(), 0)
        wire.set("dead")
        node.start(wait=False)
        wait_for("the node to wait", lambda: node.count("waiting for the database") == 2)
        equal(node.stop(), 0, "exit status when it is stopped meanwhile")
        equal(node.count("stopped before the database was there"), 1)


@case
def a_start_gives_up():
    with database() as (pg, name), ClusterNode(pg.url(database=name)) as node:
        node.stop()
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            port = nobody.getsockname()[1]
        node.store_url = f"postgresql://pomona:opensesame@127.0.0.1:{port}/{name}"
        node.start("--set", "store.wait_seconds=2", wait=False)
        expect(node.process.wait(30) != 0, "it ended as if all were well")
        expect(f"port {port}" in node.logs() and "127.0.0.1" in node.logs() and "store.wait_seconds" in node.logs(), node.logs()[-1000:])
        expect("opensesame" not in node.logs(), "the password is in the log")


if __name__ == "__main__":
    try:
        main()
    finally:
        if hasattr(database, "cluster"):
            database.cluster.close()
