"""The timeline: every step of a link and of the device that came of it, and the verdict: where it stopped, why, and what to do."""
from harness import *

NO_APNS = ("--set", "apns.url=https://127.0.0.1:9")


def show(s, link):
    status, shown, _ = s.api("GET", f"/api/v1/links/{link['id']}")
    equal(status, 200, shown)
    return shown


def kinds(s, link):
    return [e["kind"] for e in show(s, link)["timeline"]]


def scep_path(d):
    return urllib.parse.urlsplit(d.scep["URL"]).path


def open_page(s, link):
    return s.request("GET", urllib.parse.urlsplit(link["url"]).path)


@case
def from_the_link_to_a_command():
    with Server(*NO_APNS) as s:
        link = s.link("--user", "Ann Example")
        verdict = show(s, link)["verdict"]
        equal((verdict["state"], verdict["stage"], verdict["error"]), ("running", None, None), "nothing has happened")
        equal(s.request("HEAD", urllib.parse.urlsplit(link["url"]).path)[0], 200)
        equal(kinds(s, link), [], "HEAD is no step")
        equal(open_page(s, link)[0], 200)
        equal(show(s, link)["verdict"]["stage"], "LinkOpened")
        d = Device(s)
        d.read_profile(s.profile(link))
        equal(show(s, link)["verdict"]["stage"], "ProfileServed")
        path = scep_path(d)
        expect(link["id"] in path and "?" not in d.scep["URL"], f"{path}: it says whose requests they are")
        equal(d.request("GET", path + "?operation=GetCACaps&message=x")[0], 200)
        d.get_identity()
        equal(kinds(s, link), ["LinkOpened", "ProfileServed", "GetCACaps", "GetCACert", "PKIOperation"])
        equal((show(s, link)["verdict"]["stage"], show(s, link)["verdict"]["state"]), ("PKIOperation", "running"))
        equal(d.authenticate()[0], 200)
        equal(show(s, link)["verdict"]["stage"], "Authenticate", "the link's verdict goes on with its device")
        equal(d.token_update()[0], 200)
        equal((show(s, link)["verdict"]["state"], show(s, link)["verdict"]["stage"]), ("ok", "Enrolled"))
        uuid = s.cli("command", "send", d.udid, "ProfileList")["command_uuid"]
        equal(d.idle()[1]["CommandUUID"], uuid)
        equal(d.report(uuid), (200, b""))
        line = s.cli("device", "timeline", d.udid)
        own = [e for e in line if not e["kind"].startswith(("Push", "Connected"))]
        equal([e["kind"] for e in own], ["LinkOpened", "ProfileServed", "GetCACaps", "GetCACert", "PKIOperation", "Authenticate", "Enrolled", "CommandQueued", "CommandDelivered", "CommandEnded"])
        equal([e["detail"] for e in own[-3:]], ["ProfileList", "ProfileList", "ProfileList: Acknowledged"])
        expect(own[0]["detail"] == "127.0.0.1" and own[4]["detail"].startswith("issued"), f"{own}")
        equal([e["at"] for e in line], sorted(e["at"] for e in line))
        # Page by page it is the same.
        status, whole, _ = s.api("GET", f"/api/v1/devices/{d.udid}/timeline?limit=1000")
        equal((status, whole["next"], whole["verdict"]["state"]), (200, None, "ok"))
        pages, after = [], ""
        while after is not None:
            page = s.api("GET", f"/api/v1/devices/{d.udid}/timeline?limit=2&after={after}")[1]
            pages += page["items"]
            after = page["next"]
        equal([p for p in pages if p["kind"] != "Connected"], [p for p in whole["items"] if p["kind"] != "Connected"])
        equal(s.api("GET", f"/api/v1/devices/{d.udid}/timeline?after=x")[0], 400)
        equal(s.api("GET", "/api/v1/devices/nobody/timeline")[0], 404)
        events = s.api("GET", f"/api/v1/devices/{d.udid}/events")[1]["items"]
        equal([e["kind"] for e in events if not e["kind"].startswith("Push")], ["LinkOpened", "ProfileServed", "GetCACaps", "GetCACert", "PKIOperation", "Authenticate", "Enrolled"], "the events alone")
        code, text, _ = s.cli_code("device", "timeline", d.udid)
        expect(code == 0 and text.startswith("ok (since ") and "CommandEnded" in text, text)
        code, text, _ = s.cli_code("enroll", "show", link["id"])
        expect(code == 0 and text.startswith("ok (since ") and "GetCACert" in text, text)


@case
def what_repeats_is_one_line():
    with Server(*NO_APNS) as s:
        link, d = s.link(), Device(s)
        for _ in range(3):
            d.read_profile(s.profile(link))
        for _ in range(5):
            equal(d.request("GET", scep_path(d) + "?operation=GetCACaps")[0], 200)
            equal(d.request("GET", scep_path(d) + "?operation=GetCACert")[0], 200)
        lines = show(s, link)["timeline"]
        equal([(e["kind"], e["times"], e["last_at"] is None) for e in lines], [("ProfileServed", 3, False), ("GetCACaps", 5, False), ("GetCACert", 5, False)])
        expect("5 times, last at" in s.cli_code("enroll", "show", link["id"])[1], "for people")
        d.get_identity()
        equal(d.authenticate()[0], 200)
        for _ in range(3):
            equal(d.token_update()[0], 200)
        told = [(e["kind"], e["times"]) for e in s.cli("device", "timeline", d.udid)]
        expect(("Enrolled", 1) in told and ("TokenUpdate", 2) in told, f"{told}")
        # A link that nobody made has no timeline: an address from outside makes no rows.
        for path in (scep_path(d)[:-4] + "0000", "/scep/default/" + "x" * 36, "/scep/default/"):
            equal(d.request("GET", path + "?operation=GetCACert")[0], 200)
        equal(s.api("GET", "/api/v1/links/" + link["id"][:-4] + "0000")[0], 404)


@case
def where_it_stopped_and_why():
    with Server(*NO_APNS) as s:
        # A used challenge: two devices with one profile.
        link = s.link()
        first, second = Device(s), Device(s)
        profile = s.profile(link)
        first.read_profile(profile).get_identity()
        second.read_profile(profile)
        for _ in range(2):
            second.get_identity(key=rsa_key())
        try:
            second.get_identity(key=rsa_key())
            raise AssertionError("a fourth key got a certificate")
        except ScepRefused:
            pass
        verdict = show(s, link)["verdict"]
        equal((verdict["state"], verdict["error"], verdict["stage"]), ("stopped", "POM-E3103", "PKIOperation"))
        expect("PKIOperation" in verdict["why"] and "new link" in verdict["todo"], f"{verdict}")
        # A page that comes too late.
        late = s.link("--ttl", "1s")
        wait_for("the link's end", lambda: open_page(s, late)[0] == 410)
        verdict = show(s, late)["verdict"]
        equal((verdict["state"], verdict["error"]), ("stopped", "POM-E5002"))
        # Another topic: the device authenticates in vain.
        wrong, d = s.link(), Device(s)
        d.read_profile(s.profile(wrong)).get_identity()
        equal(d.authenticate(Topic=TOPIC + "x")[0], 400)
        verdict = show(s, wrong)["verdict"]
        equal((verdict["state"], verdict["error"], verdict["stage"]), ("stopped", "POM-E4301", "PKIOperation"))
        # Authenticated, then refused; when it is heard again all is well.
        equal(d.authenticate()[0], 200)
        equal(s.cli("device", "verdict", d.udid)["stage"], "Authenticate")
        equal(d.token_update(Topic=TOPIC + "x")[0], 400)
        equal((s.cli("device", "verdict", d.udid)["state"], s.cli("device", "verdict", d.udid)["error"]), ("stopped", "POM-E4301"))
        equal(d.token_update()[0], 200)
        equal(s.cli("device", "verdict", d.udid)["state"], "ok")
        # Its certificate speaks for another device: that is the certificate's fault, and in its owner's timeline alone.
        other = s.enroll()
        before = s.api("GET", f"/api/v1/devices/{other.udid}/events")[1]["items"]
        equal(d.put({"MessageType": "CheckOut", "Topic": d.topic, "UDID": other.udid})[0], 403)
        equal(s.api("GET", f"/api/v1/devices/{other.udid}/events")[1]["items"], before)
        expect("POM-E4103" in [e for e in s.cli("device", "timeline", d.udid) if e["kind"] == "Refused"][-1]["detail"], "the refusal")
        equal(d.check_out()[0], 200)
        verdict = s.cli("device", "verdict", d.udid)
        equal((verdict["state"], "checked out" in verdict["why"]), ("ended", True))


@case
def an_address_is_only_a_hint():
    with Server(*NO_APNS) as s:
        link, d = s.link(), Device(s)
        equal(d.request("GET", "/scep?operation=GetCACert")[0], 200)
        d.read_profile(s.profile(link))
        equal(d.request("GET", "/scep?operation=GetCACert")[0], 200)
        lines = show(s, link)["timeline"]
        equal([(e["kind"], e["times"]) for e in lines], [("ProfileServed", 1), ("GetCACert", 1)], "what came before its profile is not of this link")
        expect("address alone" in lines[1]["detail"], f"{lines}")


@case
def the_timeline_ends():
    with Server(*NO_APNS) as s:
        code, _, err = (s.stop(), *s.cli_code("serve", "--set", "timeline.keep_days=0")[1:])
        expect("timeline.keep_days must be between" in err, err)


if __name__ == "__main__":
    main()
