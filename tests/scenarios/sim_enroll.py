"""The simulator with Pomona as the server: enrollment over the air, watches, and every misbehavior on the way."""
from harness import *
import harness
from sim_ota import Process, device, steps

harness._cases.clear()  # sim_ota.py runs its own


def fresh_device(s):
    return wait_for("an enrolled device", lambda: next((d for d in s.cli("device", "list") if d["state"] == "enrolled"), None))


def ask(s, udid, kind, **more):
    raw = plistlib.dumps({"Command": {"RequestType": kind, **more}}).decode()
    uuid = s.cli("command", "send", udid, "--plist", "-", input=raw)["command_uuid"]
    return wait_for(kind, lambda: (lambda c: c if c["status"] not in ("Queued", "Sent", "NotNow") else None)(s.cli("command", "show", uuid)))


@contextlib.contextmanager
def pomona(*args, like_apple=True):
    with Server(*args) as s:
        s.factory = os.path.join(s.root, "factory")
        run("sim", "factory-ca", "--dir", s.factory, *(["--like-apple"] if like_apple else []))
        s.cli("device-ca", "add", os.path.join(s.factory, "device-ca.pem"))
        yield s


def url_file(s, *urls):
    path = os.path.join(s.root, "urls")
    pathlib.Path(path).write_text("\n".join(urls) + "\n")
    return path


@case
def over_the_air_to_pomona():
    for args, by, kind in (((), "scep", "iphone"), (("--set", "identity.source=pkcs12"), "pkcs12", "mac")):
        with pomona(*args, like_apple=not args) as s:
            p = device("--ca-file", s.root_ca, "--factory-ca", s.factory, "--kind", kind, "--polls", "1", "--json", s.link()["ota_url"])
            names = [x["step"] for x in steps(p)]
            equal(names[:6], ["ota_service", "ota_identity", "profile", "identity", "authenticate", "token_update"])
            equal((steps(p)[1]["by"], steps(p)[2]["encrypted"]), (by, True))
            equal(fresh_device(s)["udid"], steps(p)[0]["device"])
            # A device of another factory does not get past the second phase.
            other = os.path.join(s.root, "other")
            run("sim", "factory-ca", "--dir", other)
            p = device("--ca-file", s.root_ca, "--factory-ca", other, "--polls", "1", s.link()["ota_url"], code=1)
            expect("the server answered 403 to phase 2" in p.err, p.err)


@case
def many_devices_over_the_air_at_once():
    with pomona() as s:
        links = [s.link()["ota_url"] for _ in range(8)]
        p = device("--ca-file", s.root_ca, "--factory-ca", s.factory, "--count", "8", "--url-file", url_file(s, *links[1:]), "--polls", "1", "--json", links[0])
        equal(len({x["device"] for x in steps(p) if x["step"] == "token_update"}), 8)
        equal(sum(d["state"] == "enrolled" for d in s.cli("device", "list")), 8)


@case
def a_watch_of_a_running_phone():
    with pomona() as s:
        state = os.path.join(s.root, "phone")
        watch = ["--ca-file", s.root_ca, "--factory-ca", s.factory, "--kind", "watch", "--phone", state, "--polls", "1", "--json", s.url + "/watch"]
        with Process("--ca-file", s.root_ca, "--supervised", "--state", state, "--json", s.link()["profile_url"]) as phone:
            udid = fresh_device(s)["udid"]
            p = device(*watch, code=1)
            expect("answered 403 to GetToken" in p.err, "the server has not heard that the phone is supervised: " + p.err)
            ask(s, udid, "DeviceInformation", Queries=["IsSupervised"])
            p = device(*watch)
            equal([x["step"] for x in steps(p)], ["security_token", "get_token", "profile", "identity", "authenticate", "token_update"])
            expect(next(d for d in s.cli("device", "list") if d["udid"] == steps(p)[-1]["device"])["state"] == "enrolled", "the watch")
            equal(ask(s, udid, "DeviceInformation", Queries=["UDID"])["status"], "Acknowledged", "the phone goes on")
            phone.process.terminate()
            phone.wait()


@case
def every_misbehavior_over_the_air_is_met_as_it_must_be():
    names = [line.split()[0] for line in run("sim", "device", "--misbehave", "list", "x").splitlines() if line.startswith(("ota-", "watch-"))]
    expect(len(names) == 15, names)
    with pomona() as s:
        for name in names:
            watch, two = name.startswith("watch-"), name in ("ota-other-link", "ota-foreign-identity")
            args = ["--ca-file", s.root_ca, "--factory-ca", s.factory, "--json", "--misbehave", name]
            if watch or two:
                args += ["--url-file", url_file(s, s.link()["profile_url" if watch else "ota_url"])]
            known = {d["id"] for d in s.cli("device", "list")}
            with Process(*args, s.url + "/watch" if watch else s.link()["ota_url"]) as p:
                if watch:
                    phone = wait_for(name, lambda: next((d["id"] for d in s.cli("device", "list") if d["state"] == "enrolled" and d["id"] not in known), None))
                    s.cli("command", "send", phone, "DeviceInformation", 'Queries=["IsSupervised"]')
                p.wait()
            equal(steps(p)[-1].get("passed"), True, name)


if __name__ == "__main__":
    main()
