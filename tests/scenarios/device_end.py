"""The end of a device's management: un-enrolled by command or at once, deleted, blocked. No device is ever answered 401."""

from harness import *

NO_APNS = ("--apns-url", "https://127.0.0.1:1")


class LeavingDevice(Device):
    """Removes its enrollment profile when it is told to, as an Apple device does."""

    leaves_by = "report"   # it answers, or "checkout": it checks out without an answer

    def run_commands(self, refuse=None):
        done = []
        status, reply = self.idle()
        while True:
            equal(status, 200, f"{reply!r}")
            if not reply:
                return done
            command = reply["Command"]
            done.append(command["RequestType"])
            if command["RequestType"] == "RemoveProfile" and command["Identifier"] == self.payload["PayloadIdentifier"]:
                self.installed = {}
                if self.leaves_by == "checkout":
                    equal(self.check_out(), (200, b""), "CheckOut")
                    return done
            if refuse:
                status, reply = self.report(reply["CommandUUID"], "Error", ErrorChain=[{"ErrorCode": 12075, "ErrorDomain": "MCMDMErrorDomain", "LocalizedDescription": "not installed"}])
            else:
                status, reply = self.report(reply["CommandUUID"])


def enroll(s, product="iPhone15,2"):
    d = LeavingDevice(s, product=product)
    d.enroll(s.link())
    return d


def revoked_on_crl(s, cert):
    status, body, _ = s.request("GET", "/ca/default-1.crl", plain=True)
    equal(status, 200, "CRL")
    row = x509.load_der_x509_crl(body).get_revoked_certificate_by_serial_number(cert.serial_number)
    return row and [e.value.reason.value for e in row.extensions]


def timeline(s, d):
    return [(e["kind"], e["detail"]) for e in s.cli("device", "timeline", d)]


def kinds(s, d):
    return [kind for kind, _ in timeline(s, d)]


# ---------------------------------------------------------------- unenroll

@case
def a_device_is_unenrolled_by_its_answer():
    with Server(*NO_APNS) as s:
        d = enroll(s)
        first = d.id
        s.refused("command", "send", d.udid, "RemoveProfile", f"Identifier={d.payload['PayloadIdentifier']}", text="POM-E5221")
        asked = s.cli("device", "unenroll", d.udid)
        equal((asked["id"], asked["unenroll"]), (first, "asked"))
        equal(s.cli("device", "unenroll", d.udid)["unenroll"], "asked", "a second time")
        queue = s.cli("command", "list", d.udid)
        equal([c["request_type"] for c in queue], ["RemoveProfile"], "once")
        # It is what the server itself queued: the device is still enrolled until it answers.
        equal(s.cli("device", "show", d.udid)["state"], "enrolled")
        s.cli("command", "send", d.udid, "ProfileList")
        equal(d.run_commands(), ["RemoveProfile"], "nothing after it")
        shown = s.cli("device", "show", d.udid)
        equal((shown["state"], shown["epoch"]), ("ended", 0))
        equal({c["request_type"]: c["status"] for c in s.cli("command", "list", d.udid, "--done")}, {"RemoveProfile": "Acknowledged", "ProfileList": "Cleared"})
        equal(s.cli("command", "list", d.udid), [])
        equal(wait_for("the CRL", lambda: revoked_on_crl(s, d.cert)), ["cessationOfOperation"])
        events = kinds(s, first)
        expect(events.index("UnenrollAsked") < events.index("Unenrolled"), f"{events}")
        # A CheckOut may come after all; what else it says is refused, never with 401.
        equal(d.check_out(), (200, b""))
        equal(d.idle()[0], 403)
        equal(d.token_update()[0], 403)
        s.refused("device", "unenroll", d.udid, text="has ended already")
        # It can come again with a new link.
        d.hang_up().enroll(s.link())
        equal((d.id, s.cli("device", "show", d.udid)["state"]), (first, "enrolled"))
        actions = [a["action"] for a in s.cli("ca", "audit") if a["object"] == first]
        expect({"device.unenroll", "device.unenrolled"} <= set(actions), f"{actions}")


@case
def a_check_out_ends_what_unenroll_has_begun():
    with Server(*NO_APNS) as s:
        d, other = enroll(s), enroll(s)
        s.cli("device", "unenroll", d.udid)
        d.leaves_by = "checkout"
        equal(d.run_commands(), ["RemoveProfile"])
        equal(s.cli("device", "show", d.udid)["state"], "ended")
        equal(wait_for("the CRL", lambda: revoked_on_crl(s, d.cert)), ["cessationOfOperation"])
        equal(d.check_out(), (200, b""), "whose answer was lost")
        # Who leaves by himself keeps an identity that nobody has taken from him.
        equal(other.check_out(), (200, b""))
        equal(revoked_on_crl(s, other.cert), None)


@case
def a_device_that_refuses_stays():
    with Server(*NO_APNS) as s:
        d = enroll(s)
        s.cli("device", "unenroll", d.udid)
        equal(d.run_commands(refuse=True), ["RemoveProfile"])
        equal(s.cli("device", "show", d.udid)["state"], "enrolled")
        expect(any(kind == "UnenrollFailed" and "12075" in detail for kind, detail in timeline(s, d.udid)), f"{timeline(s, d.udid)}")
        equal(revoked_on_crl(s, d.cert), None)
        equal(s.cli("device", "unenroll", d.udid)["unenroll"], "asked")
        equal(d.run_commands(), ["RemoveProfile"])
        equal(s.cli("device", "show", d.udid)["state"], "ended")


@case
def an_identity_is_revoked_at_once():
    for extra, answer in (((), b"POM-E2104"), (("--set", "ca.revoked_unenroll=true"), b"com.apple.unrecognized.device")):
        with Server(*NO_APNS, *extra) as s:
            d = enroll(s)
            s.cli("command", "send", d.udid, "ProfileList")
            done = s.cli("device", "unenroll", d.udid, "--now")
            expect(done["unenroll"] == "done" and ("cannot be told" in done["note"] or "told to un-enroll" in done["note"]), f"{done}")
            equal(s.cli("device", "show", d.udid)["state"], "ended")
            equal([c["status"] for c in s.cli("command", "list", d.udid, "--done")], ["Cleared"])
            status, body = d.idle()
            expect(status == 403 and answer in body, f"{status} {body!r}")
            equal(wait_for("the CRL", lambda: revoked_on_crl(s, d.cert)), ["cessationOfOperation"])
            s.refused("device", "unenroll", d.udid, "--now", text="has ended already")
            s.refused("device", "unenroll", "nobody", text="POM-E0003")


# ---------------------------------------------------------------- delete

def rows_of(s, ids):
    """Where something is still kept of these enrollments, but certificates, links and the audit log."""
    found = {}
    for table, columns in s.store.columns().items():
        for column in [c for c in columns if c in ("enrollment_id", "parent_id", "target", "phone_id") or (c == "id" and table == "enrollment")]:
            [(n,)] = s.sql(f"SELECT count(*) FROM {table} WHERE {column} IN ({','.join('?' * len(ids))})", *ids)
            if n and table not in ("certificate", "link"):
                found[f"{table}.{column}"] = n
    return found


@case
def a_deleted_device_leaves_nothing_behind():
    with Server(*NO_APNS) as s:
        d, other = enroll(s, "Mac15,3"), enroll(s)
        user = {"UserID": "U-1", "UserShortName": "ann", "UserLongName": "Ann"}
        equal(d.token_update(**user, Token=b"u" * 32)[0], 200)
        s.cli("group", "new", "g")
        s.cli("group", "add", "g", d.udid)
        s.cli("device", "set", d.udid, "room=B12")
        for kind in ("SecurityInfo", "ProfileList"):
            s.cli("command", "send", d.udid, kind)
        status, reply = d.idle()
        d.report(reply["CommandUUID"], SecurityInfo={"FDE_Enabled": True})
        s.cli("command", "send", "--all", "CertificateList")
        wait_for("the order", lambda: s.cli("order", "list")[0]["state"] == "done")
        ids = [d.id, *[e["id"] for e in s.cli("device", "list") if e["udid"] == d.udid and e["id"] != d.id]]
        equal(len(ids), 2, "the device and its user")
        before = rows_of(s, ids)
        expect({"enrollment.id", "enrollment.parent_id", "epoch.enrollment_id", "command.enrollment_id", "command_done.enrollment_id", "event.enrollment_id", "fact.enrollment_id", "attribute.enrollment_id",
                "group_member.enrollment_id", "order_device.enrollment_id"} <= set(before), f"{before}")
        s.refused("device", "delete", d.udid, text="is still enrolled")
        serial = s.cli("device", "show", d.udid)["certificate_serial"]
        deleted = s.cli("device", "delete", d.udid, "--force")
        equal((deleted["id"], deleted["deleted"]), (ids[0], True))
        equal(rows_of(s, ids), {})
        s.refused("device", "show", d.udid, text="POM-E0003")
        s.refused("device", "delete", d.udid, text="POM-E0003")
        equal([e["udid"] for e in s.cli("device", "list")], [other.udid])
        # What the CA has issued and what was decided stay.
        equal([c["state"] for c in s.cli("ca", "list") if c["serial"] == serial], ["revoked"])
        expect({"device.unenroll", "device.delete"} <= {a["action"] for a in s.cli("ca", "audit") if a["object"] == ids[0]}, "the audit log")
        # It is refused, and may enroll as if it had never been here.
        equal(d.idle()[0], 403)
        equal(d.check_out()[0], 403)
        d.hang_up().enroll(s.link())
        expect(d.id != ids[0], "a new enrollment")
        equal(s.cli("device", "show", d.udid)["attributes"], {})
        # One that has left by itself needs no force.
        equal(other.check_out(), (200, b""))
        s.cli("device", "delete", other.udid)


# ---------------------------------------------------------------- block

@case
def a_blocked_device_is_refused_and_not_woken():
    with Server(*NO_APNS) as s:
        d = enroll(s)
        s.cli("command", "send", d.udid, "ProfileList")
        blocked = s.cli("device", "block", d.udid, "--reason", "stolen")
        equal((blocked["udid"], blocked["serial"], blocked["reason"], blocked["told_to_unenroll"]), (d.udid, d.serial, "stolen", False))
        for answer in (d.idle(), d.token_update(), d.authenticate(), d.check_out(), d.report("X")):
            expect(answer[0] == 403 and b"POM-E4452" in answer[1] and b"stolen" not in answer[1], f"{answer}")
        equal(s.cli("device", "show", d.udid)["blocked"]["reason"], "stolen")
        equal([b["udid"] for b in s.cli("device", "blocked")], [d.udid])
        s.refused("command", "send", d.udid, "ProfileList", text="POM-E4452")
        s.refused("device", "unenroll", d.udid, text="POM-E4452")
        s.cli("device", "push", d.udid)
        equal(s.sql("SELECT count(*) FROM push_outbox"), [(0,)], "no push waits")
        order = s.cli("command", "send", "--all", "SecurityInfo")["id"]
        wait_for("the order", lambda: s.cli("order", "show", order)["state"] == "done")
        [row] = s.cli("order", "show", order, "--devices")
        expect(row["state"] == "skipped" and "blocked: stolen" in row["reason"], f"{row}")
        # Not by another link either, nor under another name with the same serial number.
        for again in (d, LeavingDevice(s)):
            again.serial = d.serial
            again.hang_up()
            again.read_profile(s.profile(s.link())).get_identity()
            status, body = again.authenticate()
            expect(status == 403 and b"POM-E4452" in body, f"{status} {body!r}")
        fresh = enroll(s)
        equal(fresh.run_commands(), [], "others are served")
        # Back in, with what waited.
        first = enroll(s)
        s.refused("device", "unblock", first.udid, text="is not blocked")
        unblocked = s.cli("device", "unblock", d.udid)
        equal(unblocked["unblocked"], True)
        equal(s.cli("device", "blocked"), [])
        d.hang_up().enroll(s.link())
        events = kinds(s, d.udid)
        expect("Blocked" in events and "Unblocked" in events, f"{events}")
        actions = [a["action"] for a in s.cli("ca", "audit")]
        expect("device.block" in actions and "device.unblock" in actions, f"{actions}")


@case
def a_blocked_device_can_be_told_to_unenroll():
    with Server(*NO_APNS) as s:
        d = enroll(s)
        s.cli("device", "block", d.udid, "--unenroll")
        for status, body in (d.idle(), d.token_update()):
            equal((status, json.loads(body)["code"]), (403, "com.apple.unrecognized.device"))
        s.cli("device", "unblock", d.udid)
        equal(d.idle(), (200, b""))


@case
def a_device_can_be_blocked_before_it_comes():
    with Server(*NO_APNS) as s:
        by_name, by_serial = LeavingDevice(s), LeavingDevice(s)
        s.cli("device", "block", by_name.udid)
        s.cli("device", "block", "nobody-knows", "--serial", by_serial.serial)
        for d in (by_name, by_serial):
            d.read_profile(s.profile(s.link())).get_identity()
            status, body = d.authenticate()
            expect(status == 403 and b"POM-E4452" in body, f"{status} {body!r}")
        equal(s.cli("device", "list"), [])
        s.refused("device", "block", "", text="POM-E0")
        s.refused("device", "block", "x y", text="POM-E0002")
        s.cli("device", "unblock", by_name.udid)
        s.cli("device", "unblock", by_serial.serial)
        equal(s.cli("device", "blocked"), [])
        by_name.hang_up().enroll(s.link())
        by_serial.hang_up().enroll(s.link())
        # Deleting one does not let it in again.
        s.cli("device", "block", by_name.udid)
        s.cli("device", "delete", by_name.udid, "--force")
        by_name.hang_up().read_profile(s.profile(s.link())).get_identity()
        equal(by_name.authenticate()[0], 403)


@case
def a_blocked_device_gets_no_profile_over_the_air():
    with Server(*NO_APNS) as s:
        factory = Factory()
        factory.add_to(s)
        identity = factory.identity()
        udid, serial = secrets.token_hex(20), "SOTA1"
        link = s.link("--ota")
        path = urllib.parse.urlsplit(link["ota_url"]).path
        status, body, _ = s.request("GET", path)
        equal(status, 200, "Profile Service")
        service = plistlib.loads(openssl("cms", "-verify", "-binary", "-noverify", "-inform", "DER", input=body) if body[:1] == b"0" else body)
        challenge = service["PayloadContent"]["Challenge"]
        message = attached_signature(identity, plistlib.dumps({"UDID": udid, "SERIAL": serial, "PRODUCT": "iPhone15,2", "VERSION": "22C161", "CHALLENGE": challenge}))
        s.cli("device", "block", "another", "--serial", serial)
        status, body, _ = s.request("POST", path, message, {"Content-Type": "application/pkcs7-signature"})
        expect(status == 403 and b"POM-E4452" in body, f"{status} {body[:200]!r}")
        s.cli("device", "unblock", "another")
        equal(s.request("POST", path, message, {"Content-Type": "application/pkcs7-signature"})[0], 200)


if __name__ == "__main__":
    main()
