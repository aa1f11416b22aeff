"""The queue: what is secret in it, how long commands wait, what is folded, what is told of them, and NotNow."""
import concurrent.futures

from harness import *

PASSWORD = "Tr0ub4dor-4711-Xyzzy"
BYPASS = "AAAA1-BBBBB-CCCCC-DDDDD-EEEE-0815"


def enroll(s, product="iPhone15,2", **options):
    d = Device(s, product=product, **options)
    d.enroll(s.link())
    return d


def send(s, d, *words, **options):
    return s.cli("command", "send", d.udid, *words, **options)


def show(s, uuid, *flags):
    return s.cli("command", "show", uuid, *flags)


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def on_disk(s, secret):
    """The files of the data directory that hold SECRET in clear."""
    return [name for name in os.listdir(s.data) if os.path.isfile(os.path.join(s.data, name)) and secret.encode() in open(os.path.join(s.data, name), "rb").read()]


@case
def secrets_are_sealed_and_shown_only_by_right():
    with Server() as s:
        mac = enroll(s, "Mac15,3")
        asked = send(s, mac, "SetRecoveryLock", "NewPassword=@-", input=PASSWORD + "\n")["command_uuid"]
        plain = send(s, mac, "ProfileList")["command_uuid"]
        equal(show(s, asked)["command"], {"RequestType": "SetRecoveryLock", "NewPassword": "(secret)"})
        equal(show(s, plain)["command"], {"RequestType": "ProfileList"})
        equal(show(s, asked, "--secrets")["command"]["NewPassword"], PASSWORD)
        expect(PASSWORD not in json.dumps(s.cli("command", "list", mac.udid)), "a list shows a secret")
        equal(on_disk(s, PASSWORD), [], "the password on disk, while it waits")
        got = mac.idle()[1]
        equal(got["Command"], {"RequestType": "SetRecoveryLock", "NewPassword": PASSWORD}, "the device gets it")
        mac.report(got["CommandUUID"])
        mac.report(plain)
        # An answer.
        code = send(s, mac, "ActivationLockBypassCode")["command_uuid"]
        equal(mac.idle()[1]["CommandUUID"], code)
        mac.report(code, ActivationLockBypassCode=BYPASS)
        equal(show(s, code)["result"]["ActivationLockBypassCode"], "(secret)")
        equal(on_disk(s, BYPASS), [], "the code on disk")
        # By right.
        path = f"/api/v1/commands/{code}?secrets=true"
        status, reply, _ = s.api("GET", path)
        equal((status, reply["code"]), (403, "POM-E4411"))
        equal(s.api("POST", "/api/v1/tokens", {"name": "more", "secrets": True})[1].get("code"), "POM-E4411", "nobody gives a right that he has not")
        token = s.cli("token", "new", "reader", "--secrets")
        equal((token["secrets"], s.cli("token", "new", "other")["secrets"]), (True, False))
        equal(s.api("GET", path, token=token["token"])[1]["result"]["ActivationLockBypassCode"], BYPASS)
        equal(s.api("GET", f"/api/v1/commands/{code}", token=token["token"])[1]["result"]["ActivationLockBypassCode"], "(secret)", "only when it is asked for")
        equal(s.api("GET", f"/api/v1/commands/{code}?secrets=maybe", token=token["token"])[0], 400)
        equal(s.api("POST", "/api/v1/tokens", {"name": "more", "secrets": True}, token=token["token"])[0], 201)
        equal([(t["name"], t["secrets"]) for t in s.cli("token", "list") if t["name"] in ("reader", "other")], [("reader", True), ("other", False)])
        read = wait_for("the audit log", lambda: [e for e in s.cli("ca", "audit") if e["action"] == "command.secrets"])
        equal([(e["actor"], e["object"]) for e in read], [(f"uid:{os.getuid()}", asked), ("token:reader", code)])
        for secret in (PASSWORD, BYPASS):
            expect(secret not in s.logs(), "a secret is in the log")


@case
def nothing_secret_is_learnt():
    with Server() as s:
        d = enroll(s)
        uuid = send(s, d, "DeviceInformation", 'Queries=["PushToken","OSVersion"]')["command_uuid"]
        equal(d.idle()[1]["CommandUUID"], uuid)
        d.report(uuid, QueryResponses={"PushToken": b"4711-push-token-4711", "OSVersion": "18.3"})
        text = json.dumps(s.cli("device", "facts", d.udid))
        expect("18.3" in text, "the version was not learnt")
        expect(base64.b64encode(b"4711-push-token-4711").decode() not in text, "a push token became a fact")


@case
def values_have_the_type_of_their_key():
    with Server() as s:
        mac, phone = enroll(s, "Mac15,3"), enroll(s)
        with tempfile.NamedTemporaryFile() as profile:
            profile.write(b"\x00\x01provision\xff\n")
            profile.flush()
            rows = (
                (mac, ["DeviceLock", "PIN=000123", "Message=true"], None, {"RequestType": "DeviceLock", "PIN": "000123", "Message": "true"}),
                (mac, ["DeviceLock", "PIN=@-"], "123456\n", {"RequestType": "DeviceLock", "PIN": "123456"}),
                (mac, ["DeviceLock", "Message=[x] {y} @z", "PhoneNumber=110"], None, {"RequestType": "DeviceLock", "Message": "[x] {y} @z", "PhoneNumber": "110"}),
                (mac, ["RestartDevice", "NotifyUser=true", 'KextPaths=["/x"]'], None, {"RequestType": "RestartDevice", "NotifyUser": True, "KextPaths": ["/x"]}),
                (phone, ["InstallApplication", "iTunesStoreID=361309726", "ManagementFlags=1"], None, {"RequestType": "InstallApplication", "iTunesStoreID": 361309726, "ManagementFlags": 1}),
                (phone, ["InstallProvisioningProfile", "ProvisioningProfile=@" + profile.name], None, {"RequestType": "InstallProvisioningProfile", "ProvisioningProfile": b"\x00\x01provision\xff\n"}),
                (phone, ["InstallProvisioningProfile", "ProvisioningProfile=AAEC"], None, {"RequestType": "InstallProvisioningProfile", "ProvisioningProfile": b"\x00\x01\x02"}),
            )
            for device, words, typed, wanted in rows:
                uuid = send(s, device, *words, input=typed)["command_uuid"]
                equal(device.idle()[1]["Command"], wanted, words)
                device.report(uuid)
        for words, text in ((["RestartDevice", "NotifyUser=perhaps"], "NotifyUser must be true or false"), (["InstallApplication", "iTunesStoreID=x1"], "iTunesStoreID must be an integer"),
                            (["InstallProvisioningProfile", "ProvisioningProfile=!!"], "ProvisioningProfile is data"), (["DeviceLock", "PIN"], "is not Key=value"),
                            (["DeviceLock", "PIN=1234"], "has 4 characters")):
            s.refused("command", "send", mac.udid, *words, text=text)
        expect("1234567" not in s.refused("command", "send", mac.udid, "DeviceLock", "PIN=1234567", text="PIN has 7 characters"), "a PIN is in an error")


@case
def clear_passcode_takes_the_token_of_the_device():
    with Server() as s:
        d, bare = enroll(s), enroll(s, minimal=True)
        # Nothing in the queue but the wish.
        uuid = send(s, d, "ClearPasscode")["command_uuid"]
        equal(show(s, uuid, "--secrets")["command"], {"RequestType": "ClearPasscode"})
        equal(d.idle()[1]["Command"], {"RequestType": "ClearPasscode", "UnlockToken": b"unlock" * 50})
        equal(d.idle()[1]["Command"]["UnlockToken"], b"unlock" * 50, "and again, when the answer was lost")
        equal(d.report(uuid), (200, b""))
        equal(show(s, uuid)["status"], "Acknowledged")
        # One that is given is not replaced.
        uuid = send(s, d, "ClearPasscode", 'UnlockToken={"$data": "AAEC"}')["command_uuid"]
        equal(d.idle()[1]["Command"]["UnlockToken"], b"\0\1\2")
        d.report(uuid)
        err = s.refused("command", "send", bare.udid, "ClearPasscode", text="POM-E4412")
        expect("UnlockToken" in err and "TokenUpdate" in err, err)
        equal(bare.idle(), (200, b""))
        # A device that is asked for it tells it.
        uuid = send(s, bare, "RequestUnlockToken", "--force")["command_uuid"]
        equal(bare.idle()[1]["CommandUUID"], uuid)
        bare.report(uuid, UnlockToken=b"told-4711-told")
        equal(show(s, uuid)["result"]["UnlockToken"], "(secret)")
        send(s, bare, "ClearPasscode")
        equal(bare.idle()[1]["Command"]["UnlockToken"], b"told-4711-told")
        equal(on_disk(s, "told-4711-told") + on_disk(s, base64.b64encode(b"told-4711-told").decode()), [])


@case
def old_commands_go():
    day_ms = 86400 * 1000
    with Server() as s:
        d = enroll(s)
        kept = send(s, d, "ProfileList")["command_uuid"]
        equal(d.idle()[1]["CommandUUID"], kept)
        d.report(kept)
        now = s.sql("SELECT finished_at FROM command_done WHERE uuid = ?", kept)[0][0]

        def left():
            return s.sql("SELECT count(*) FROM command_done")[0][0]

        # More than go in one piece, and one that is not a hundred days old.
        with s.stopped() as execute:
            execute("INSERT INTO command_done (enrollment_id, uuid, seq, epoch, request_type, created_at, finished_at, status, packed)"
                    " WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 10003)"
                    " SELECT enrollment_id, 'old-' || n, seq, epoch, request_type, created_at, finished_at - ?, status, packed FROM command_done, c", 200 * day_ms)
            execute("INSERT INTO command_done (enrollment_id, uuid, seq, epoch, request_type, created_at, finished_at, status, packed)"
                    " SELECT enrollment_id, 'newer', seq, epoch, request_type, created_at, finished_at - ?, status, packed FROM command_done WHERE uuid = ?", 50 * day_ms, kept)
        equal(left(), 10005, "they are not a year old")
        s.restart("--set", "commands.keep_days=1")
        wait_for("the end of old commands", lambda: left() == 2, 60)
        equal(sorted(r[0] for r in s.sql("SELECT uuid FROM command_done")), sorted([kept, "newer"]))
        s.stop()
        expect("commands.keep_days must be between" in s.cli_code("serve", "--set", "commands.keep_days=-1")[2], "a setting out of range")


@case
def commands_expire():
    with Server() as s:
        d = enroll(s)
        stays = send(s, d, "ProfileList", "--expires", "never")
        equal(stays["expires_at"], None)
        equal(d.idle()[1]["CommandUUID"], stays["command_uuid"])
        d.report(stays["command_uuid"])
        # Nobody says anything: the setting; but a lost device is waited for.
        now = datetime.datetime.now(datetime.timezone.utc)
        usual = send(s, d, "CertificateList")
        expect(datetime.timedelta(days=89) < moment(usual["expires_at"]) - now < datetime.timedelta(days=91), usual)
        lost = send(s, d, "DeviceLock")
        equal(lost["expires_at"], None)
        s.cli("command", "cancel", lost["command_uuid"])
        s.cli("command", "cancel", usual["command_uuid"])
        # The device has this one, and is slow.
        slow = send(s, d, "SecurityInfo", "--expires", "1s")["command_uuid"]
        d.idle()
        gone = send(s, d, "CertificateList", "--expires", "1s")["command_uuid"]
        for uuid in (slow, gone):
            wait_for("the end of a command", lambda: show(s, uuid)["status"] == "Expired")
        expect("taken out of the queue" in show(s, gone)["explanation"], show(s, gone))
        equal(d.idle(), (200, b""), "nothing is delivered any more")
        equal(s.cli("command", "list", d.udid), [])
        told = [e["detail"] for e in s.cli("device", "timeline", d.udid) if e["kind"] == "CommandExpired"]
        equal(sorted(told), sorted([slow, gone]))
        equal(s.cli_code("command", "cancel", gone)[0], 1)
        # Its answer is worth knowing all the same.
        equal(d.report(slow, "NotNow"), (200, b""))
        equal(show(s, slow)["status"], "Expired")
        equal(d.report(slow, SecurityInfo={"PasscodePresent": True}), (200, b""))
        late = show(s, slow)
        equal((late["status"], late["result"]["SecurityInfo"]), ("Acknowledged", {"PasscodePresent": True}))
        equal(d.report(slow, "Error"), (200, b""))
        equal(show(s, slow)["status"], "Acknowledged", "only once")
        for words, text in ((["--expires", "0s"], "is not a time"), (["--expires", "soon"], "is not a time")):
            s.refused("command", "send", d.udid, "ProfileList", *words, text=text)
        for query, body, code in (("?expires_in_s=x", {}, "POM-E0002"), ("?expires_in_s=-1", {}, "POM-E4413"), ("", {"expires_in_s": 400000000}, "POM-E4413"), ("", {"expires_in_s": "1"}, "POM-E0016")):
            equal(s.api("POST", f"/api/v1/devices/{d.udid}/commands{query}", {"RequestType": "ProfileList", **body})[1].get("code"), code)
        reply = s.api("POST", f"/api/v1/devices/{d.udid}/commands", {"RequestType": "ProfileList", "expires_in_s": 3600})[1]
        equal(reply["expires_at"] is not None, True)
        equal(d.idle()[1]["Command"], {"RequestType": "ProfileList"}, "options are no keys of the command")


@case
def identical_commands_are_folded():
    with Server() as s:
        d = enroll(s)
        path = f"/api/v1/devices/{d.udid}/commands"
        ask = {"RequestType": "DeviceInformation", "Queries": ["OSVersion", "DeviceName"]}
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            replies = [r[1] for r in pool.map(lambda _: s.api("POST", path, {**ask, "fold": True}), range(24))]
        equal(len({r["command_uuid"] for r in replies}), 1, replies)
        equal(sorted(r["folded"] for r in replies), [False] + [True] * 23)
        first = replies[0]["command_uuid"]
        equal([c["command_uuid"] for c in s.cli("command", "list", d.udid)], [first])
        # Another order of keys is the same, another query is not, and who does not ask for it gets his own.
        equal(s.api("POST", path + "?fold=true", {"Queries": ask["Queries"], "RequestType": "DeviceInformation"})[1]["command_uuid"], first)
        other = s.api("POST", path, {**ask, "Queries": ["DeviceName", "OSVersion"], "fold": True})[1]
        own = s.api("POST", path, ask)[1]
        equal((other["folded"], own["folded"], len({first, other["command_uuid"], own["command_uuid"]})), (False, False, 3))
        # What the device has is past: its answer may be older than the wish.
        equal(d.idle()[1]["CommandUUID"], first)
        equal(s.api("POST", path, {**ask, "fold": True})[1]["command_uuid"], own["command_uuid"], "the one behind it waits")
        equal(d.report(first)[1]["CommandUUID"], other["command_uuid"])
        equal(d.report(other["command_uuid"])[1]["CommandUUID"], own["command_uuid"])
        fresh = s.cli("command", "send", d.udid, "DeviceInformation", 'Queries=["OSVersion","DeviceName"]', "--fold")
        equal(fresh["folded"], False, "all others are with the device")
        # After NotNow the device has forgotten it.
        equal(d.report(own["command_uuid"], "NotNow")[1]["CommandUUID"], fresh["command_uuid"])
        equal(s.api("POST", path, {**ask, "fold": True})[1]["command_uuid"], own["command_uuid"])
        # Another device is another queue.
        equal(s.api("POST", f"/api/v1/devices/{enroll(s).udid}/commands", {**ask, "fold": True})[1]["folded"], False)


@case
def deliveries_are_told():
    with Server() as s:
        d = enroll(s)
        uuid = send(s, d, "ProfileList")["command_uuid"]
        told = show(s, uuid)
        equal((told["status"], told["delivered_count"], told["delivered_at"]), ("Queued", 0, None))
        for n in (1, 2, 3):
            equal(d.idle()[1]["CommandUUID"], uuid)
            told = show(s, uuid)
            equal((told["status"], told["delivered_count"]), ("Delivered", n))
            expect(told["delivered_at"], told)
        equal([(c["status"], c["delivered_count"]) for c in s.cli("command", "list", d.udid)], [("Delivered", 3)])
        d.hang_up()
        s.restart()
        told = show(s, uuid)
        equal((told["status"], told["delivered_count"]), ("Delivered", 3), "after a restart")
        equal(d.idle()[1]["CommandUUID"], uuid)
        equal(d.report(uuid, "NotNow"), (200, b""))
        told = show(s, uuid)
        equal((told["status"], told["delivered_count"], told["not_now_count"]), ("NotNow", 4, 1))
        equal(d.idle()[1]["CommandUUID"], uuid)
        d.report(uuid)
        told = show(s, uuid)
        equal((told["status"], told["delivered_count"], told["not_now_count"]), ("Acknowledged", 5, 1))
        # What belongs to an epoch ends with it, and the timeline says so.
        for _ in range(2):
            send(s, d, "ProfileList")
        d.hang_up()
        d.enroll(s.link())
        equal([e["detail"] for e in s.cli("device", "timeline", d.udid) if e["kind"] == "CommandsCleared"], ["2"])
        expect("enrolled again" in show(s, s.cli("command", "list", d.udid, "--done")[-1]["command_uuid"])["explanation"], "")


@case
def errors_are_explained():
    with Server() as s:
        d = enroll(s)
        uuid = send(s, d, "InstallApplication", "iTunesStoreID=1")["command_uuid"]
        equal(d.idle()[1]["CommandUUID"], uuid)
        d.report(uuid, "Error", ErrorChain=[{"ErrorCode": 12021, "ErrorDomain": "MCMDMErrorDomain", "LocalizedDescription": "Nein", "USEnglishDescription": "No"}, {"ErrorCode": 4711, "ErrorDomain": "Strange", "LocalizedDescription": "hm"}])
        told = show(s, uuid)
        equal([(e["domain"], e["code"], e["text"], e["explanation"] is None) for e in told["error_chain"]], [("MCMDMErrorDomain", 12021, "No", False), ("Strange", 4711, "hm", True)])
        meaning = json.loads(run("explain", "MCMDMErrorDomain:12021", "--json"))["text"]
        expect(told["error_chain"][0]["explanation"].startswith(meaning), told)
        shown = run("command", "show", uuid, "--data", s.data)
        expect("error MCMDMErrorDomain 12021: No" in shown and meaning in shown and "because of Strange 4711: hm" in shown, shown)
        # Acknowledged, and yet not all of it.
        uuid = send(s, d, "Settings", 'Settings=[{"Item":"Bluetooth","Enabled":true},{"Item":"DeviceName","DeviceName":"x"}]')["command_uuid"]
        equal(d.idle()[1]["CommandUUID"], uuid)
        d.report(uuid, Settings=[{"Status": "Acknowledged"}, {"Status": "Error", "ErrorChain": [{"ErrorCode": 12021, "ErrorDomain": "MCMDMErrorDomain", "LocalizedDescription": "inner"}]}, {"Status": "Error"}])
        told = show(s, uuid)
        equal((told["status"], told["error_chain"]), ("Acknowledged", []))
        equal([(e["path"], e["status"], [c["text"] for c in e["error_chain"]]) for e in told["errors"]], [("Settings[1]", "Error", ["inner"]), ("Settings[2]", "Error", [])])
        shown = run("command", "show", uuid, "--data", s.data)
        expect("error Settings[1] MCMDMErrorDomain 12021: inner" in shown and "error Settings[2] Error" in shown, shown)
        uuid = send(s, d, "ProfileList")["command_uuid"]
        equal(d.idle()[1]["CommandUUID"], uuid)
        d.report(uuid, "CommandFormatError")
        told = show(s, uuid)
        expect("did not understand" in told["explanation"] and told["error_chain"] == [], told)
        # Nonsense from a device is no fault of ours.
        uuid = send(s, d, "ProfileList")["command_uuid"]
        d.idle()
        d.report(uuid, "Error", ErrorChain=["x", {"ErrorCode": "12021"}, {}])
        equal([e["code"] for e in show(s, uuid)["error_chain"]], [None] * 3)


@case
def not_now_is_pushed_later_each_time():
    with Server() as s:
        d = enroll(s)
        uuid = send(s, d, "ProfileList")["command_uuid"]

        def put_off():
            equal(d.idle()[1]["CommandUUID"], uuid, "offered again with the next Idle")
            before = datetime.datetime.now(datetime.timezone.utc)
            equal(d.report(uuid, "NotNow"), (200, b""))
            after = datetime.datetime.now(datetime.timezone.utc)
            told = show(s, uuid)
            at = moment(told["next_push_at"])
            return (at - after).total_seconds() - 1, (at - before).total_seconds() + 1, told["next_push_at"]

        for minutes in (2, 10, 30, 120, 120):
            least, most, at = put_off()
            expect(least <= minutes * 60 <= most, f"the push is put off by {least} to {most} s, wanted {minutes} minutes")
        d.hang_up()
        s.restart()
        equal((show(s, uuid)["next_push_at"], show(s, uuid)["not_now_count"]), (at, 5), "after a restart")
        least, most, _ = put_off()
        expect(least <= 7200 <= most, "the count was forgotten")
        # It comes by itself and does all: nobody needs to wake it any more.
        equal(d.idle()[1]["CommandUUID"], uuid)
        equal(d.report(uuid), (200, b""))
        other = send(s, d, "ProfileList")["command_uuid"]
        at = moment(show(s, other)["next_push_at"])
        expect(at < datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=60), f"a new command waits for the old push at {at}")
        # Two of them: one is done, the push for the other stays.
        third = send(s, d, "SecurityInfo")["command_uuid"]
        equal(d.idle()[1]["CommandUUID"], other)
        equal(d.report(other, "NotNow")[1]["CommandUUID"], third)
        equal(d.report(third, "NotNow"), (200, b""))
        equal(d.idle()[1]["CommandUUID"], other)
        equal(d.report(other)[1]["CommandUUID"], third)
        expect(show(s, third)["next_push_at"] is not None, "the push for the other is gone")
        equal(d.report(third), (200, b""))
        equal(s.sql("SELECT count(*) FROM push_outbox"), [(0,)], "a push that nobody needs")


@case
def raw_plists_over_the_api():
    with Server() as s:
        d = enroll(s)
        path = f"/api/v1/devices/{d.udid}/commands"
        raw = plistlib.dumps({"CommandUUID": "my-own-uuid", "Command": {"RequestType": "BrandNew", "Key": b"x"}})
        equal(s.api("POST", path, {"plist": base64.b64encode(raw).decode(), "expires_in_s": 60})[1]["command_uuid"], "my-own-uuid")
        equal(d.idle()[1], {"CommandUUID": "my-own-uuid", "Command": {"RequestType": "BrandNew", "Key": b"x"}})
        d.report("my-own-uuid")
        equal(s.api("POST", path, {"plist": base64.b64encode(raw).decode()})[0], 409, "the same UUID again")
        for body in ({"plist": "!!"}, {"plist": 1}, {"plist": base64.b64encode(raw).decode(), "RequestType": "ProfileList"}, {"plist": base64.b64encode(b"<plist/>").decode()}):
            equal(s.api("POST", path, body)[0], 400, body)
        reply = s.api("POST", path, {"RequestType": "BrandNew"})[1]
        equal(reply["code"], "POM-E4404")
        expect("raw plist" in reply["detail"], reply)
        folded = [s.api("POST", path + "?fold=true&expires_in_s=60", plistlib.dumps({"RequestType": "BrandNew"}), {"Content-Type": "application/xml"})[1] for _ in range(2)]
        equal(([r["folded"] for r in folded], len({r["command_uuid"] for r in folded})), ([False, True], 1))


if __name__ == "__main__":
    main()
