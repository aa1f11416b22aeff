"""Commands that the catalog refuses before they are queued: for this device, in this enrollment, as far as it is known."""
from harness import *

USER = {"UserID": "A1B2C3D4-0000-4000-8000-000000000001", "UserShortName": "ann", "UserLongName": "Ann Example"}


def send(s, device, command, query="", plist=False):
    """Status and answer of the admin API."""
    path = f"/api/v1/devices/{device}/commands{query}"
    if plist:
        return s.api("POST", path, plistlib.dumps(command), {"Content-Type": "application/xml"})[:2]
    return s.api("POST", path, command)[:2]


def refused(s, device, command, status, code, *words):
    got, reply = send(s, device, command)
    equal((got, reply.get("code")), (status, code), reply)
    for word in words:
        expect(word in reply["detail"], f"{word!r} is not in {reply['detail']!r}")


def enroll(s, product):
    d = Device(s, product=product)
    d.enroll(s.link())
    return d


def answer(d, **answers):
    """Fetches all commands, and answers them."""
    while True:
        body = d.idle()[1]
        if not body:
            return
        d.report(body["CommandUUID"], **answers.get(body["Command"]["RequestType"], {}))


@case
def what_cannot_be_is_refused_and_not_queued():
    with Server() as s:
        phone, mac = enroll(s, "iPhone15,2"), enroll(s, "Mac15,3")
        for device, command, status, code, *words in (
                (phone, {"RequestType": "DeviceLok"}, 400, "POM-E4404", "did you mean DeviceLock", "--plist"),
                (phone, {"RequestType": "DeviceLock", "Mesage": "x"}, 400, "POM-E4405", "DeviceLock.Mesage is no key", "did you mean Message", "--force"),
                (phone, {"RequestType": "DeviceLock", "Message": 1}, 400, "POM-E4405", "DeviceLock.Message is an integer, must be a string"),
                (phone, {"RequestType": "DeviceLock", "PIN": "123456"}, 409, "POM-E4406", "DeviceLock.PIN is not for iOS"),
                (mac, {"RequestType": "DeviceLock", "PIN": "987654321"}, 400, "POM-E4405", "DeviceLock.PIN has 9 characters, must have 6"),
                (mac, {"RequestType": "EnableLostMode", "Message": "x"}, 409, "POM-E4406", "EnableLostMode is not for macOS"),
                (phone, {"RequestType": "EnableLostMode"}, 400, "POM-E4405", "needs Message or PhoneNumber"),
                (phone, {"RequestType": "InstallProfile"}, 400, "POM-E4403", "Command.Payload"),
                (phone, {"RequestType": "Settings", "Settings": [{"Item": "Bluetooth", "Enabled": True}, {"Item": "HostName", "HostName": "x"}]}, 409, "POM-E4406", "Settings.Settings[1] is not for iOS"),
                (phone, {"RequestType": "InstallApplication", "Identifier": "a", "Attributes": {"CellularSliceUUID": 1}}, 400, "POM-E4405", "InstallApplication.Attributes.CellularSliceUUID is an integer"),
                (phone, {"RequestType": "DeviceInformation"}, 400, "POM-E4405", "DeviceInformation.Queries is missing"),
                (phone, {"RequestType": "TriggerEnhancedLogCollection", "AppleCareToken": "t"}, 409, "POM-E4406", "needs iOS 27.0, this device has 18.2.1"),
                (phone, {"Request": "x"}, 400, "POM-E4403", "RequestType")):
            refused(s, device.udid, command, status, code, *words)
        expect("987654321" not in s.logs(), "a refused PIN is in the log")
        equal([s.cli("command", "list", d.udid) for d in (phone, mac)], [[], []])
        equal((phone.idle(), mac.idle()), ((200, b""), (200, b"")))


@case
def what_is_right_arrives():
    with Server() as s:
        phone, mac = enroll(s, "iPhone15,2"), enroll(s, "Mac15,3")
        for device, command in ((phone, {"RequestType": "DeviceLock", "Message": "x"}), (mac, {"RequestType": "DeviceLock", "PIN": "123456"}),
                                (phone, {"RequestType": "Settings", "Settings": [{"Item": "ApplicationAttributes", "Identifier": "a", "Attributes": {"Hideable": False}}]}),
                                (phone, {"RequestType": "DeviceInformation", "Queries": ["OSVersion"], "DeviceAttestationNonce": {"$data": "AAEC"}}),
                                (mac, {"RequestType": "RestartDevice", "NotifyUser": True, "KextPaths": ["/x"]})):
            equal(send(s, device.udid, command)[0], 201, command)
            got = device.idle()[1]
            equal(got["Command"]["RequestType"], command["RequestType"])
            device.report(got["CommandUUID"])


@case
def force_and_raw_plists_go_as_they_are():
    with Server() as s:
        phone = enroll(s, "iPhone15,2")
        equal(send(s, phone.udid, {"RequestType": "DeviceLock", "PIN": "1"}, "?force=true")[0], 201)
        equal(phone.idle()[1]["Command"], {"RequestType": "DeviceLock", "PIN": "1"})
        answer(phone)
        s.cli("command", "send", phone.udid, "EnableLostMode", "--force")
        equal(phone.idle()[1]["Command"], {"RequestType": "EnableLostMode"})
        answer(phone)
        equal(send(s, phone.udid, {"RequestType": "DeviceLock", "PIN": "1"}, "?force=false")[0], 409)
        equal(send(s, phone.udid, {"RequestType": "DeviceLock", "PIN": "1"}, "?force=1")[0], 400)
        equal(send(s, phone.udid, {"RequestType": "BrandNew", "A": 1}, "?force=true")[1]["code"], "POM-E4404", "a misspelled name is never forced")
        equal(send(s, phone.udid, {"RequestType": "BrandNew", "A": 1}, plist=True)[0], 201)
        equal(phone.idle()[1]["Command"], {"RequestType": "BrandNew", "A": 1})
        answer(phone)
        # What would take the device away is refused in every form.
        signed = cms.ContentInfo.load(s.profile(s.link()))["content"]
        own = plistlib.loads(signed["encap_content_info"]["content"].native)["PayloadIdentifier"]
        for query, plist in (("", False), ("?force=true", False), ("", True)):
            equal(send(s, phone.udid, {"RequestType": "RemoveProfile", "Identifier": own}, query, plist)[1].get("code"), "POM-E5221")


@case
def what_is_learnt_is_judged():
    with Server() as s:
        phone = enroll(s, "iPhone15,2")
        lost = {"RequestType": "EnableLostMode", "Message": "x"}
        users = {"RequestType": "UserList"}
        equal([send(s, phone.udid, c)[0] for c in (lost, users)], [201, 201], "nothing is known of it yet")
        answer(phone)
        s.cli("command", "send", phone.udid, "DeviceInformation", 'Queries=["IsSupervised","IsMultiUser","OSVersion"]')
        answer(phone, DeviceInformation={"QueryResponses": {"IsSupervised": False, "IsMultiUser": False, "OSVersion": "17.0"}})
        refused(s, phone.udid, lost, 409, "POM-E4407", "EnableLostMode needs a supervised device on iOS")
        refused(s, phone.udid, users, 409, "POM-E4407", "Shared iPad")
        hide = {"RequestType": "InstallApplication", "Identifier": "a", "Attributes": {"Hideable": False}}
        refused(s, phone.udid, hide, 409, "POM-E4406", "Attributes.Hideable needs iOS 18.1, this device has 17.0")
        s.cli("command", "send", phone.udid, "DeviceInformation", 'Queries=["IsSupervised","OSVersion"]')
        answer(phone, DeviceInformation={"QueryResponses": {"IsSupervised": True, "OSVersion": "26.1"}})
        equal([send(s, phone.udid, c)[0] for c in (lost, hide)], [201, 201])


@case
def rights_and_channels():
    with Server("--set", "enroll.access_rights=8187") as s:
        mac = enroll(s, "Mac15,3")
        refused(s, mac.udid, {"RequestType": "DeviceLock"}, 409, "POM-E4408", "access right 4", "has 8187")
        equal(send(s, mac.udid, {"RequestType": "ProfileList"})[0], 201)
        refused(s, mac.udid, {"RequestType": "NSExtensionMappings"}, 409, "POM-E4407", "goes to a user of a Mac")
        equal(mac.token_update(**USER)[0], 200)
        user = next(e["id"] for e in s.cli("device", "list") if e["kind"] == "user")
        equal(send(s, user, {"RequestType": "NSExtensionMappings"})[0], 201)
        refused(s, user, {"RequestType": "RestartDevice"}, 409, "POM-E4407", "goes to the device of a Mac")
        refused(s, user, {"RequestType": "InstallApplication", "iTunesStoreID": 1, "ManagementFlags": 2}, 400, "POM-E4405", "must be one of 1, 4, 5")
        # What is known of the device holds for its users.
        s.cli("command", "send", mac.udid, "DeviceInformation", 'Queries=["OSVersion"]')
        answer(mac, DeviceInformation={"QueryResponses": {"OSVersion": "10.14"}})
        refused(s, user, {"RequestType": "ProfileList", "ManagedOnly": True}, 409, "POM-E4406", "needs macOS 10.15, this device has 10.14")


if __name__ == "__main__":
    main()
