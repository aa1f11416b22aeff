"""The doctor on our own server, through its public URL."""
import datetime
import json
import os
import pathlib
import sys
import tempfile

from harness import TOPIC, Server, case, equal, expect, push_cert, run, wait_for

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from gallery import DIR, Cert, Web, doctor, rules, run_cases


class Own(Server):
    """With much time for each step: a crowded machine is no finding."""

    def __init__(self, *args, **more):
        super().__init__("--set", "doctor.timeout_seconds=60", "--set", "doctor.interval_hours=6", *args, **more)


def last(server, run):
    return wait_for("the doctor's look", lambda: (r := server.api("GET", "/api/v1/doctor")[1])["run"] >= run and not r["running"] and r, 120)


def own(*more):
    """What every server of these tests is told: it has an address for a name, and Apple is far."""
    return sorted(["url-address", *more])


def known(report):
    """Without what depends on the network of this machine."""
    return [r for r in rules(report) if r not in ("offline", "apns-unreachable")]


@case
def before_there_is_a_server():
    with Own(push_cert=False) as server:
        again = json.loads(run("init", "--data", server.data, "--url", server.url, "--json"))
        equal(([f["rule"] for f in again["findings"]], again["existed"]), (["url-address"], True), "init looks at the URL, and knows its own root")
    data = os.path.join(DIR, "unknown")
    made = json.loads(run("init", "--data", data, "--url", "https://no-such-name.invalid", "--json"))
    equal([f["rule"] for f in made["findings"]], ["name-unknown"], "a name that nobody knows is told, and stops nothing")
    # Something that answers at the URL already.
    with Web([Cert("127.0.0.1", san=("ip:127.0.0.1",))]) as web:
        def look():
            # init waits for nobody long: on a crowded machine it may have to be asked again.
            made = json.loads(run("init", "--data", tempfile.mkdtemp(dir=DIR), "--url", f"https://{web.address}", "--json"))
            return sorted(f["rule"] for f in made["findings"]) == ["self-signed", "url-address"]
        wait_for("what answers there is looked at", look, 120)


@case
def our_own_server():
    with Own(push_cert=False) as server:
        report = last(server, 1)
        equal(known(report), own("push-absent"), f"at the start: {report}")
        expect(report["finished"] and report["target"] == server.url, report)
        equal(server.metric('pomona_doctor_findings{severity="warning"}'), float(report["warnings"]), "metric")
        wait_for("the finding in the log", lambda: "rule=push-absent" in server.logs())
        link = server.api("POST", "/api/v1/links", {})[1]
        equal(sorted(f["rule"] for f in link["findings"] if f["rule"] != "apns-unreachable"), own("push-absent"), "a link comes with what is known")
        server.import_push_cert()
        status, reply, _ = server.api("POST", "/api/v1/doctor")
        equal(status, 202, "asked")
        equal(known(last(server, reply["run"])), own(), "after the import")
        equal(server.logs().count("rule=url-address"), 1, "each finding is told once")
        equal(len(server.api("GET", "/api/v1/doctor/rules")[1]["rules"]), len(json.loads(doctor("--rules", "--json", raw=True).stdout)["rules"]), "rules")
        server.restart("--set", "doctor.interval_hours=0")
        report = server.api("GET", "/api/v1/doctor")[1]
        equal((known(report), report["run"], report["running"]), (own(), 0, False), "the last report is kept, and no look is made")


@case
def our_own_server_by_the_command_line():
    with Own() as server:
        report = server.cli("doctor", "--timeout", "60")
        equal(known(report), own(), json.dumps(report))
        trials = [c for c in server.cli("ca", "list") if c["subject"] == "CN=Pomona doctor"]
        equal(len(trials), 3, "a certificate for each form")
        expect(all(c["state"] == "revoked" for c in trials), f"and each revoked: {trials}")
        expect("issued" in server.logs(), "by SCEP")
        server.refused("doctor", "--trust", server.root_ca, text="say what to look at")
    # 3DES is off: what old macOS writes is not tried.
    with Own("--set", "scep.legacy=false") as server:
        equal(known(server.cli("doctor", "--timeout", "60", "--for", "watchos")), own(), "modern alone")


@case
def our_own_server_with_faults():
    with Own(url="https://127.0.0.1:1") as server:
        status, reply, _ = server.api("POST", "/api/v1/doctor")
        report = last(server, reply["run"])
        equal(known(report), sorted(own("connect-failed", "mdm-unreachable")), "a public URL that leads nowhere")
        code, out, _ = server.cli_code("doctor", "--timeout", "60")
        equal(code, 1, out)
        link = server.api("POST", "/api/v1/links", {})
        equal((link[0], "connect-failed" in [f["rule"] for f in link[1]["findings"]]), (201, True), "it stops no link")
        expect("rule=connect-failed" in server.logs(), server.logs())
        started = datetime.datetime.now()
        server.stop()
        expect((datetime.datetime.now() - started).seconds < 12, "it stops")
    # Another server at the public URL, with a certificate that nobody knows.
    with Web([Cert("127.0.0.1", san=("ip:127.0.0.1",))], answer=lambda *_: (401, {"Content-Type": "text/html"}, b"<html>")) as web, Own(url=f"https://{web.address}") as server:
        status, reply, _ = server.api("POST", "/api/v1/doctor")
        report = last(server, reply["run"])
        equal(known(report), own("mdm-unauthorized", "scep-status", "scep-status", "self-signed"), json.dumps(report))
    with Web([Cert("127.0.0.1", san=("ip:127.0.0.1",))], answer=lambda *_: (200, {"Content-Type": "text/html"}, b"<html>")) as web, Own(url=f"https://{web.address}") as server:
        status, reply, _ = server.api("POST", "/api/v1/doctor")
        equal(known(last(server, reply["run"])), own("mdm-elsewhere", "scep-html", "scep-html", "self-signed"), "a web site")


@case
def push_certificates():
    with Own("--set", "doctor.interval_hours=0") as server:
        run_number = server.api("POST", "/api/v1/doctor")[1]["run"]
        equal(known(last(server, run_number)), own(), "good")
        path = os.path.join(server.root, "short.pem")
        pathlib.Path(path).write_bytes(push_cert(TOPIC, days=10))
        server.cli("push-cert", "import", path)
        run_number = server.api("POST", "/api/v1/doctor")[1]["run"]
        equal(known(last(server, run_number)), own("push-expiring"), "soon")


@case
def one_worker_and_many_who_ask():
    with Own("--set", "server.workers=1", "--set", "doctor.interval_hours=0") as server:
        numbers = [server.api("POST", "/api/v1/doctor")[1]["run"] for _ in range(5)]
        expect(numbers == sorted(numbers) and numbers[-1] <= 2, f"one that waits serves all: {numbers}")
        equal(known(last(server, numbers[-1])), own(), "the server answers itself with a single worker")


run_cases()
