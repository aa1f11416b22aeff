"""The life of a CA with fifty devices: renewal with the same key, a new key with overlap, revocation, the end of the old key.

After each step every device that should keep working does, over a new TLS connection that it trusts by the roots it has and no others; no other device does."""
import concurrent.futures

from harness import *

DEVICES, LATE, REVOKED = 50, 5, 4
# Nobody listens there: pushes are not what this is about.
NO_APNS = ("--apns-url", "https://127.0.0.1:1")


def each(devices, do):
    """What DO gives for each device; at the same time."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(do, devices))


def connects(device):
    """Whether its identity is accepted; raises when it does not trust the server."""
    status, _ = device.hang_up().idle()
    expect(status in (200, 403), f"status {status}")
    return status == 200


def is_shut_out(device):
    """Also one that does not trust the server any more."""
    try:
        return not connects(device)
    except ssl.SSLCertVerificationError:
        return True


def check_devices(working, gone=()):
    equal(each(working, connects).count(False), 0, "devices that no longer work")
    equal(each(gone, is_shut_out).count(False), 0, "devices that still work")


def restart(s, devices):
    equal(s.stop(), 0, "exit status")
    s.start()
    each(devices, Device.hang_up)


def generations(s, name="default"):
    """{id: what "ca show" says}"""
    return {g["id"]: g for g in s.cli("ca", "show", name)}


def tls_chain_holds(s, root):
    """Whether a client that trusts ROOT (DER) alone takes the server's TLS certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(root))
    try:
        with socket.create_connection(("127.0.0.1", s.port), 10) as plain, context.wrap_socket(plain, server_hostname="127.0.0.1"):
            return True
    except ssl.SSLCertVerificationError:
        return False


def new_challenge(s):
    return s.cli("challenge", "new", "--subject", "O=Test Org,CN=printer")["challenge"]


def next_certificates(s, ca):
    """Of GetNextCACert, whose signature must be that of CA: issuing CA of the next generation first."""
    answer = Scep(s).get("GetNextCACert")
    equal((answer.http_status, answer.headers["content-type"]), (200, "application/x-x509-next-ca-cert"), "GetNextCACert")
    with tempfile.TemporaryDirectory() as folder:
        root, signer = os.path.join(folder, "root.pem"), os.path.join(folder, "signer.pem")
        pathlib.Path(root).write_bytes(pathlib.Path(s.root_ca).read_bytes())
        content = openssl("cms", "-verify", "-inform", "DER", "-CAfile", root, "-purpose", "any", "-signer", signer, input=answer.body)
        equal(x509.load_pem_x509_certificate(pathlib.Path(signer).read_bytes()), ca, "signer of GetNextCACert")
        broken = bytearray(answer.body)
        broken[-1] ^= 1
        openssl("cms", "-verify", "-inform", "DER", "-CAfile", root, "-purpose", "any", input=bytes(broken), ok=False)
    certs = [x509.load_der_x509_certificate(c.chosen.dump()) for c in cms.ContentInfo.load(content)["content"]["certificates"]]
    expect(certs and not any(c.serial_number == ca.serial_number for c in certs), "the present CA is in GetNextCACert")
    return sorted(certs, key=lambda c: c.subject == c.issuer)


def renew_with_the_same_key(s, devices):
    old = Scep(s)
    before = generations(s)["default-1"]
    old_ca, old_root = load_pem(before["certificate_pem"]), load_pem(before["root_pem"])
    challenge = new_challenge(s)
    s.cli("ca", "renew")
    after = generations(s)["default-1"]
    new_ca, new_root = load_pem(after["certificate_pem"]), load_pem(after["root_pem"])
    for a, b in ((old_ca, new_ca), (old_root, new_root)):
        expect(a != b and a.subject == b.subject and a.public_key().public_numbers() == b.public_key().public_numbers(), "a renewed certificate has the same name and key")
    equal((after["state"], list(generations(s))), ("active", ["default-1"]), "generations")
    expect(all(issued_by(d.cert, new_ca) for d in devices), "issued certificates under the new CA certificate")
    check_devices(devices)
    equal([c for d in each(devices, Device.run_commands) for c in d], [], "commands that a renewal caused")
    _, cert = old.enroll(challenge, ca=der(old_ca))
    expect(issued_by(cert, new_ca), "a request for the old certificate")
    equal(Scep(s).ca, der(new_ca), "GetCACert")
    equal(pathlib.Path(s.root_ca).read_text(), after["root_pem"], "root-ca.pem")
    # The fingerprint in its profile is compared with GetCACert when it gets its identity.
    newcomer = s.enroll()
    equal(newcomer.roots(), [der(new_root)], "roots of a new profile")
    restart(s, devices)
    check_devices([*devices, newcomer])
    expect(tls_chain_holds(s, der(old_root)) and tls_chain_holds(s, der(new_root)), "TLS under the old and the new root certificate")
    _, cert = old.enroll(new_challenge(s), ca=der(old_ca))
    expect(issued_by(cert, new_ca), "a request for the old certificate, after a restart")
    return newcomer


def begin_rekey(s, devices, late):
    """The roots of both generations, DER, and the next issuing CA."""
    s.refused("ca", "rekey", "--activate", text="has no next generation")
    s.refused("ca", "rekey", "--finish", text="no rekey of CA default is running")
    s.refused("ca", "devices", text="no rekey of CA default is running")
    equal(Scep(s).get("GetNextCACert").http_status, 404, "GetNextCACert before a rekey")
    first = generations(s)["default-1"]
    s.cli("ca", "rekey")
    shown = generations(s)
    equal({g["id"]: g["state"] for g in shown.values()}, {"default-1": "active", "default-2": "next"}, "states")
    next_ca, next_root = load_pem(shown["default-2"]["certificate_pem"]), load_pem(shown["default-2"]["root_pem"])
    ca, root = load_pem(first["certificate_pem"]), load_pem(first["root_pem"])
    equal(next_certificates(s, ca)[0], next_ca, "GetNextCACert")
    equal(Scep(s).ca, der(ca), "GetCACert still gives the present CA")
    _, cert = Scep(s).enroll(new_challenge(s), ca=der(next_ca))
    expect(issued_by(cert, next_ca), "a request enveloped for the next CA")
    _, cert = Scep(s).enroll(new_challenge(s))
    expect(issued_by(cert, ca), "a request enveloped for the present CA")
    s.refused("ca", "rekey", text="is published. Go on with \"pomona ca rekey --activate\"")
    s.refused("ca", "rekey", "--finish", text="does not issue yet")
    prompt = [d for d in devices if d not in late]
    wait_for("each device has the new root waiting", lambda: len(s.cli("command", "list", prompt[-1].udid)) == 1, 10)
    for done in each(prompt, Device.run_commands):
        equal(done, [("InstallProfile", "Acknowledged")], "commands that a rekey causes")
    expect(all({der(root), der(next_root)} <= set(d.roots()) for d in prompt), "roots of the devices")
    waiting = s.cli("ca", "devices")
    equal((waiting["from"], waiting["to"]), ("default-1", "default-2"), "ca devices")
    equal({d["udid"] for d in waiting["anchor"]}, {d.udid for d in late}, "devices without the new root")
    restart(s, devices)
    check_devices(devices)
    s.refused("ca", "rekey", text="a rekey of CA default is running")
    expect(tls_chain_holds(s, der(root)) and not tls_chain_holds(s, der(next_root)), "TLS stays under the present root")
    return der(root), der(next_root), next_ca


def activate(s, devices, late, refuser, root, next_root, next_ca):
    prompt = [d for d in devices if d not in late and d is not refuser]
    s.cli("ca", "rekey", "--activate")
    equal({g["id"]: g["state"] for g in generations(s).values()}, {"default-1": "retiring", "default-2": "active"}, "states")
    equal(Scep(s).ca, der(next_ca), "GetCACert gives the new CA")
    equal(Scep(s).get("GetNextCACert").http_status, 404, "GetNextCACert after the change")
    check_devices(devices)
    s.refused("ca", "rekey", text="an old generation is retiring")
    said = s.refused("ca", "rekey", "--finish", text="still have an identity of default-1")
    equal(len({d.udid for d in devices if d.udid in said}), 5, f"devices named in {said}")
    equal({d["udid"] for d in s.cli("ca", "devices")["identity"]}, {d.udid for d in devices}, "devices with old identities")
    wait_for("each device has a new identity waiting", lambda: len(s.cli("command", "list", prompt[-1].udid)) == 1, 10)
    for d, done in zip(prompt, each(prompt, Device.run_commands)):
        equal(done, [("InstallProfile", "Acknowledged")], f"commands of the change ({d.why})")
        expect(issued_by(d.cert, next_ca), "the new identity's issuer")
    equal(refuser.run_commands(lambda command: "Error"), [("InstallProfile", "Error")], "a device that refuses")
    equal({d["udid"] for d in s.cli("ca", "devices")["identity"]}, {d.udid for d in [*late, refuser]}, "devices with old identities")
    newcomer = s.enroll()
    expect(issued_by(newcomer.cert, next_ca) and set(newcomer.roots()) == {root, next_root}, "a device that enrolls now")
    check_devices([*devices, newcomer])
    expect(tls_chain_holds(s, root) and not tls_chain_holds(s, next_root), "TLS stays under the old root while a device lacks the new one")
    return newcomer


def revoke(s, devices):
    for d in devices:
        s.cli("ca", "revoke", f"{d.cert.serial_number:X}", "--reason", "keyCompromise")
        # put() raises should the answer be 401.
        equal([d.hang_up().idle()[0], d.token_update()[0], d.authenticate()[0], d.check_out()[0]], [403, 403, 403, 403], "a revoked identity")
        expect(b"com.apple.unrecognized.device" not in d.idle()[1], "the code that un-enrolls")


@case
def fifty_devices_through_two_keys():
    with Server(*NO_APNS) as s:
        devices = [Device(s) for _ in range(DEVICES)]
        links = [s.link() for _ in devices]
        each(zip(devices, links), lambda pair: pair[0].enroll(pair[1]))
        check_devices(devices)
        devices.append(renew_with_the_same_key(s, devices))
        late, refuser = devices[:LATE], devices[LATE]
        revoked = [devices[0], *devices[-REVOKED:-1]]
        root, next_root, next_ca = begin_rekey(s, devices, late)
        old_identities = {d.udid: (d.key, d.cert) for d in devices}
        devices.append(activate(s, devices, late, refuser, root, next_root, next_ca))

        revoke(s, revoked)
        working = [d for d in devices if d not in revoked]
        late = [d for d in late if d not in revoked]
        check_devices(working, revoked)
        restart(s, devices)
        check_devices(working, revoked)
        expect(tls_chain_holds(s, root), "TLS stays under the old root")

        # The roots first, so that the device trusts what comes after them.
        for d in late[1:]:
            equal(d.run_commands(), [("InstallProfile", "Acknowledged")] * 2, f"commands of a late device ({d.why})")
        last = late[0]
        equal(last.run_commands(lambda command: "NotNow"), [("InstallProfile", "NotNow")] * 2, "commands of the last device")
        expect(not tls_chain_holds(s, next_root), "TLS moved before the last device had the new root")
        said = s.refused("ca", "rekey", "--finish", text="2 device(s) still have an identity of default-1")
        expect(last.udid in said and refuser.udid in said, said)
        equal({d["udid"] for d in s.cli("ca", "devices")["anchor"]}, {last.udid}, "devices without the new root")
        # The root first; the identity is put off once more.
        answers = iter([None, "NotNow"])
        equal(last.run_commands(lambda command: next(answers)), [("InstallProfile", "Acknowledged"), ("InstallProfile", "NotNow")], f"the root alone ({last.why})")
        wait_for("TLS moves to the new root", lambda: tls_chain_holds(s, next_root))
        expect(not tls_chain_holds(s, root), "the TLS certificate is still the old one")
        check_devices(working, revoked)

        said = s.refused("ca", "rekey", "--finish", text="2 device(s) still have an identity of default-1")
        expect(last.udid in said and refuser.udid in said and working[-1].udid not in said, said)
        for d in (last, refuser):
            s.cli("device", "renew", d.udid)
            expect(("InstallProfile", "Acknowledged") in d.run_commands(), f"the last renewals ({d.why})")
        equal(s.cli("ca", "devices"), {"ca": "default", "from": "default-1", "to": "default-2", "identity": [], "anchor": []}, "ca devices at the end")
        s.cli("ca", "rekey", "--finish")
        equal({g["id"]: g["state"] for g in generations(s).values()}, {"default-1": "retired", "default-2": "active"}, "states")
        check_devices(working, revoked)
        restart(s, devices)
        check_devices(working, revoked)
        equal(pathlib.Path(s.root_ca).read_text(), generations(s)["default-2"]["root_pem"], "root-ca.pem")
        newest = s.enroll()
        equal(newest.roots(), [next_root], "roots of a new profile")

        # Nothing of the old key is accepted any more, also of devices that work with their new identity.
        for d in working:
            if d.udid in old_identities:
                old = Device(s, udid=d.udid)
                old.mdm, old.topic, old.installed = d.mdm, d.topic, d.installed
                old.key, old.cert = old_identities[d.udid]
                equal(old.idle()[0], 403, "an identity of the retired key")
                old.hang_up()
        check_devices([*working, newest], revoked)
        s.refused("ca", "rekey", "--finish", text="no rekey of CA default is running")
        actions = [e["action"] for e in s.cli("ca", "audit", "--action", "ca")]
        equal([a for a in actions if a != "ca.renew.own"], ["ca.create", "ca.renew", "ca.rekey.start", "ca.rekey.activate", "ca.rekey.finish"], "the audit log")
        equal(s.cli("ca", "audit-verify")["ok"], True, "audit-verify")


@case
def a_device_that_refuses_is_not_pestered():
    with Server(*NO_APNS) as s:
        d = s.enroll()
        for words, what in ((("ca", "rekey"), "anchor"), (("ca", "rekey", "--activate"), "identity")):
            s.cli(*words)
            wait_for("a command waits", lambda: s.cli("command", "list", d.udid))
            equal(d.run_commands(lambda command: "Error"), [("InstallProfile", "Error")], what)
            # A start looks at all devices, as each minute does.
            restart(s, [d])
            s.cli("ca", "crl")
            time.sleep(3)
            equal(s.cli("command", "list", d.udid), [], f"{what}: sent again at once")
            equal([x["udid"] for x in s.cli("ca", "devices")[what]], [d.udid], f"{what}: it is still waited for")
        kinds = [e["kind"] for e in s.cli("device", "timeline", d.udid)]
        expect("AnchorRefused" in kinds and "IdentityRenewalFailed" in kinds, f"timeline {kinds}")
        # A day later it is asked again.
        with s.stopped() as execute:
            execute("UPDATE event SET at = at - 90000000")
            execute("UPDATE epoch SET renewal_at = renewal_at - 90000000")
        wait_for("both commands wait", lambda: len(s.cli("command", "list", d.udid)) == 2)
        done = d.hang_up().run_commands(lambda command: None if b"com.apple.mdm" in command["Payload"] else "Error")
        equal(sorted(done), [("InstallProfile", "Acknowledged"), ("InstallProfile", "Error")], f"a day later ({d.why})")
        # With its new identity alone it is not yet safe: who knows whether it trusts the root.
        said = s.refused("ca", "rekey", "--finish", text="1 device(s) have not acknowledged the new root")
        expect(d.udid in said, said)
        s.cli("ca", "rekey", "--finish", "--force")
        equal([e["action"] for e in s.cli("ca", "audit", "--action", "ca.rekey")][-1], "ca.rekey.finish.forced", "the audit log")


if __name__ == "__main__":
    main()
