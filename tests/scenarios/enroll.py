"""The main job: a device enrolls, is sent a command, and its answer is kept."""
import plistlib
import subprocess
import urllib.parse

from harness import *


@case
def main_job():
    with Server() as s:
        d = s.enroll()
        shown = s.cli("device", "show", d.udid)
        equal((shown["state"], shown["enrolled"], shown["serial"], shown["name"], shown["os_version"]), ("enrolled", True, d.serial, "Test & <device>", "18.2.1"), "device")
        expect(shown["has_unlock_token"], "the unlock token is not kept")
        sent = s.cli("command", "send", d.udid, "DeviceInformation", 'Queries=["OSVersion","DeviceName"]')
        status, command = d.idle()
        equal(status, 200)
        equal(command, {"Command": {"RequestType": "DeviceInformation", "Queries": ["OSVersion", "DeviceName"]}, "CommandUUID": sent["command_uuid"]}, "command")
        equal(d.headers["content-type"], "application/xml")
        equal(d.report(sent["command_uuid"], QueryResponses={"OSVersion": "18.2.1", "Big": b"\x00\x01" * 5000}), (200, b""), "report")
        result = s.cli("command", "show", sent["command_uuid"])
        equal((result["status"], result["result"]["QueryResponses"]["OSVersion"]), ("Acknowledged", "18.2.1"), "result")
        equal(d.idle(), (200, b""), "Idle when nothing waits")
        equal([e["id"] for e in s.cli("device", "list")], [shown["id"]], "device list")


@case
def minimal_messages_and_digests():
    with Server() as s:
        for digest, attributes in [("sha1", False), ("sha1", True), ("sha256", False), ("sha256", True), ("sha384", True), ("sha512", False)]:
            d = s.enroll(minimal=True, digest=digest, attributes=attributes)
            equal(d.idle(), (200, b""), f"{digest} {attributes}")
            equal(s.cli("device", "show", d.udid)["enrolled"], True)


@case
def the_profile_is_what_apple_demands():
    with Server() as s:
        link = s.link("--user", "Ann", "--device", "Ann's phone")
        a, b = s.profile(link), s.profile(link)
        d = Device(s).read_profile(a)
        first = d.payload
        equal(Device(s).read_profile(b).payload, first, "the same profile each time")
        status, _, headers = s.request("HEAD", urllib.parse.urlsplit(link["profile_url"]).path)
        equal((status, headers["content-type"]), (200, "application/x-apple-aspen-config"))
        equal(first["PayloadScope"], "System")
        expect("?" not in d.scep["URL"], "SCEP URL with a query string")
        equal((d.scep["Keysize"], d.scep["Key Usage"], len(d.scep["CAFingerprint"])), (2048, 5, 20))
        equal(d.scep["Subject"][0][0][0], "O")
        m = d.mdm
        equal((m["SignMessage"], m["AccessRights"], m["CheckOutWhenRemoved"], m["Topic"]), (True, 8191, True, TOPIC))
        equal(sorted(m["ServerCapabilities"]), ["com.apple.mdm.bootstraptoken", "com.apple.mdm.per-user-connections", "com.apple.mdm.token"])
        identities = [p["PayloadUUID"] for p in first["PayloadContent"] if p["PayloadType"] == "com.apple.security.scep"]
        equal([m["IdentityCertificateUUID"]], identities)
        page = s.request("GET", urllib.parse.urlsplit(link["url"]).path)
        expect(b"Download the management profile" in page[1] and b"Ann" in page[1], "the page")
    with Server("--set", "enroll.unsigned_profiles=true", "--set", "enroll.ca_fingerprint=false") as s:
        body = s.profile(s.link())
        expect(body.startswith(b"<?xml"), "an unsigned profile")
        expect("CAFingerprint" not in Device(s).read_profile(body).scep, "the fingerprint is left out")


@case
def a_link_is_used_once():
    with Server() as s:
        link = s.link()
        path = urllib.parse.urlsplit(link["url"]).path
        d = Device(s).read_profile(s.profile(link))
        for _ in range(3):
            equal(s.request("GET", path)[0], 200, "GET never consumes")
        # People press Install again: three keys at most, the unused earlier ones end.
        certificates = [Device(s).read_profile(s.profile(link)).get_identity() for _ in range(3)]
        try:
            Device(s).read_profile(s.profile(link)).get_identity()
            expect(False, "a fourth certificate was issued")
        except ScepRefused as e:
            equal(str(e), "failInfo 2")
        equal(certificates[0].authenticate()[0], 403, "the first certificate has been revoked")
        last = certificates[2]
        equal(last.authenticate()[0], 200)
        equal(s.request("GET", path)[0], 410, "used link")
        equal(s.request("GET", path + "/profile")[0], 410, "used link's profile")
        equal(last.token_update()[0], 200)
        # The lost reply can still be fetched, by the same key.
        again = Device(s)
        again.payload, again.mdm, again.scep, again.topic = last.payload, last.mdm, last.scep, last.topic
        again.get_identity(key=last.key)
        equal(again.cert, last.cert, "the same certificate again")
        revoked = s.link()
        s.cli("enroll", "revoke", revoked["id"])
        equal(s.request("GET", urllib.parse.urlsplit(revoked["url"]).path)[0], 410, "revoked link")
        equal(s.request("GET", "/enroll/nonsense")[0], 404)
        short = s.link("--ttl", "1s")
        time.sleep(1.1)
        equal(s.request("GET", urllib.parse.urlsplit(short["url"]).path)[0], 410, "expired link")
        states = {x["id"]: x["state"] for x in s.cli("enroll", "list")}
        equal((states[link["id"]], states[revoked["id"]], states[short["id"]]), ("used", "revoked", "expired"))


@case
def a_new_certificate_for_a_live_device():
    with Server() as s:
        old = s.enroll()
        equal(old.put({"MessageType": "SetBootstrapToken", "UDID": old.udid, "BootstrapToken": b"old secret"})[0], 200)
        equal(old.put({"MessageType": "GetBootstrapToken", "UDID": old.udid})[1], {"BootstrapToken": b"old secret"})
        first = s.cli("command", "send", old.udid, "ProfileList")["command_uuid"]
        new = Device(s, udid=old.udid)
        new.read_profile(s.profile(s.link())).get_identity()
        equal(new.authenticate()[0], 200)
        equal(new.put({"MessageType": "GetBootstrapToken", "UDID": old.udid}), (200, b""), "the older epoch's secret is never answered")
        equal(new.idle(), (200, b""), "no command before TokenUpdate")
        equal(old.idle()[1]["CommandUUID"], first, "the old epoch works on")
        equal(new.token_update()[0], 200)
        equal(old.idle()[0], 403, "the old certificate is out")
        equal(new.idle(), (200, b""), "the old epoch's commands are gone")
        equal(s.cli("command", "show", first)["status"], "Cleared")
        equal(new.put({"MessageType": "GetBootstrapToken", "UDID": old.udid}), (200, b""))
        expect("Authenticate" in [e["kind"] for e in s.cli("device", "timeline", old.udid)], "timeline")
        # The same certificate may authenticate again.
        equal(new.authenticate()[0], 200)
        equal(new.token_update()[0], 200)
        equal(new.idle(), (200, b""))


@case
def user_channel_and_bootstrap_token():
    with Server() as s:
        d = s.enroll(product="Mac14,2")
        user = {"UserID": "A1B2C3D4-0000-4000-8000-000000000001", "UserShortName": "ann", "UserLongName": "Ann Example"}
        equal(d.put({"MessageType": "UserAuthenticate", "UDID": d.udid, **user})[0], 410)
        equal(d.put({"UDID": d.udid, "Status": "Idle", **user}, REPORT)[0], 403, "Idle of a user channel without TokenUpdate")
        equal(d.token_update(**user)[0], 200)
        users = [e for e in s.cli("device", "list") if e["kind"] == "user"]
        equal([(u["user_short_name"], u["udid"]) for u in users], [("ann", d.udid)])
        uuid = s.cli("command", "send", users[0]["id"], "ProfileList")["command_uuid"]
        equal(d.idle(), (200, b""), "the device channel does not get it")
        equal(d.put({"UDID": d.udid, "Status": "Idle", **user}, REPORT)[1]["CommandUUID"], uuid)
        equal(d.put({"UDID": d.udid, "Status": "Acknowledged", "CommandUUID": uuid, **user}, REPORT), (200, b""))
        equal(d.put({"MessageType": "GetBootstrapToken", "UDID": d.udid}), (200, b""), "none is no error")
        equal(d.put({"MessageType": "SetBootstrapToken", "UDID": d.udid, "BootstrapToken": b"b"})[0], 200)
        equal(d.put({"MessageType": "SetBootstrapToken", "UDID": d.udid})[0], 200, "missing deletes")
        equal(d.put({"MessageType": "GetBootstrapToken", "UDID": d.udid}), (200, b""))


@case
def the_queue():
    with Server() as s:
        d = s.enroll()
        a, b, c = (s.cli("command", "send", d.udid, t)["command_uuid"] for t in ("ProfileList", "SecurityInfo", "CertificateList"))
        equal(d.idle()[1]["CommandUUID"], a)
        equal(d.idle()[1]["CommandUUID"], a, "not done until it is answered")
        equal(d.report(a, "NotNow")[1]["CommandUUID"], b, "NotNow steps aside")
        equal(d.report(b, "Error", ErrorChain=[{"ErrorCode": 12021, "ErrorDomain": "MCMDMErrorDomain", "LocalizedDescription": "no"}])[1]["CommandUUID"], c)
        equal(d.report(c, "CommandFormatError"), (200, b""), "NotNow rests for this session")
        equal(d.idle()[1]["CommandUUID"], a, "and comes back with the next")
        equal(d.report(a), (200, b""))
        equal(d.report(a, "Error"), (200, b""), "the same result again")
        equal(s.cli("command", "show", a)["status"], "Acknowledged", "the first result stands")
        shown = s.cli("command", "show", b)
        equal((shown["status"], shown["error_chain"][0]["code"]), ("Error", 12021))
        equal(d.report("unknown-uuid"), (200, b""), "an unknown command is accepted")
        expect("report for an unknown command" in s.logs(), "and logged")
        other = s.enroll()
        theirs = s.cli("command", "send", other.udid, "ProfileList")["command_uuid"]
        equal(d.report(theirs)[0], 403, "another device's command")
        equal(other.idle()[1]["CommandUUID"], theirs)
        equal(s.cli("command", "cancel", theirs)["status"], "Canceled")
        equal(other.idle(), (200, b""))
        equal(s.cli_code("command", "cancel", theirs)[0], 1)
        equal([x["command_uuid"] for x in s.cli("command", "list", d.udid, "--done")], sorted([a, b, c]))


@case
def check_out():
    with Server() as s:
        d = s.enroll()
        uuid = s.cli("command", "send", d.udid, "ProfileList")["command_uuid"]
        equal(d.check_out(), (200, b""))
        equal(d.check_out(), (200, b""), "the answer was lost")
        equal((d.idle()[0], d.token_update()[0], d.report(uuid)[0]), (403, 403, 403))
        equal(s.cli("device", "show", d.udid)["state"], "ended")
        equal(s.cli_code("command", "send", d.udid, "ProfileList")[0], 1)
        equal(d.authenticate()[0], 200, "it may enroll again")
        equal(d.token_update()[0], 200)
        equal(d.idle(), (200, b""))


@case
def raw_plists_and_secrets():
    with Server() as s:
        d = s.enroll()
        raw = plistlib.dumps({"CommandUUID": "my-own-uuid", "Command": {"RequestType": "InstallProvisioningProfile", "ProvisioningProfile": b"\x00\xff" * 100}}).decode()
        equal(s.cli("command", "send", d.udid, "--plist", "-", input=raw)["command_uuid"], "my-own-uuid")
        equal(d.idle()[1]["Command"]["ProvisioningProfile"], b"\x00\xff" * 100)
        d.report("my-own-uuid")
        s.cli("command", "send", d.udid, "DeviceLock", "--force", "PIN=@-", "Message=Bring it <back> & soon", input="123456\n")
        command = d.idle()[1]["Command"]
        equal((command["PIN"], command["Message"]), ("123456", "Bring it <back> & soon"))
        status, reply, _ = s.api("POST", f"/api/v1/devices/{d.udid}/commands", {"RequestType": "Settings", "Settings": [{"Item": "Wallpaper", "Image": {"$data": "AAEC"}, "Where": 1}]})
        equal(status, 201, reply)
        status, reply, _ = s.api("POST", f"/api/v1/devices/{d.udid}/commands", {"Request": "x"})
        equal((status, reply["code"]), (400, "POM-E4403"))
        expect(s.token() not in s.logs() and "123456" not in s.logs(), "a secret in the log")


@case
def data_survives_a_restart():
    with Server() as s:
        d = s.enroll()
        uuid = s.cli("command", "send", d.udid, "ProfileList")["command_uuid"]
        equal(s.stop(), 0, "exit status of a graceful stop")
        d.connection = None
        s.start()
        equal(d.idle()[1]["CommandUUID"], uuid)
        d.report(uuid)
        s.stop(signal.SIGKILL)
        d.connection = None
        s.start()
        equal(s.cli("command", "show", uuid)["status"], "Acknowledged")


if __name__ == "__main__":
    main()
