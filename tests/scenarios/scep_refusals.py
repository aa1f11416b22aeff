"""What the SCEP server must refuse, or must not be led astray by: attack after attack, each with its row in log, metric and audit log, since devices show no reason."""
import re
import statistics

from cryptography.hazmat.primitives.asymmetric import ed25519

from harness import *

TEXTS = {"0": "algorithm not accepted", "1": "signature not valid", "2": "request not accepted", "3": "time not accepted", "4": "no such certificate"}
SIGNING_TIME, MESSAGE_DIGEST = "1.2.840.113549.1.9.5", "1.2.840.113549.1.9.4"
UPN = "1.3.6.1.4.1.311.20.2.3"


def challenge(s, *args):
    """The text of a new challenge."""
    return s.cli("challenge", "new", *args)["challenge"]


def set_profile(s, name, *settings):
    return s.cli("scep-profile", "set", name, *settings)


def audit(s, **query):
    status, reply, _ = s.api("GET", "/api/v1/audit?" + urllib.parse.urlencode({"limit": 1000, **query}))
    equal(status, 200, f"audit: {reply}")
    return reply["items"]


def issued(s):
    return s.metric("pomona_certificates_issued_total")


def refused(s, reason, answer, fail_info="2", what=""):
    """ANSWER (a function that asks) must be a FAILURE whose text tells nothing, while log, metric and audit log tell REASON. The audit row's detail."""
    name = f'pomona_refusals_total{{reason="{reason}"}}'
    count, size = s.metric(name), len(s.logs())
    got = answer()
    equal((got.http_status, got.status, got.fail_info), (200, "2", fail_info), f"{what}: {got.body[:100] if got.http_status != 200 else ''} {s.logs()[size:]}")
    equal(got.content, None, f"{what}: content of a FAILURE")
    expect(re.fullmatch(re.escape(TEXTS[fail_info]) + r" \(incident [0-9A-F-]{36}\)", got.fail_text), f"{what}: {got.fail_text}")
    lines = [line for line in s.logs()[size:].splitlines() if got.incident in line]
    equal(len(lines), 1, f"{what}: log lines of the incident")
    expect(f"reason={reason}" in lines[0], f"{what}: wanted {reason}: {lines[0]}")
    equal(s.metric(name) - count, 1, f"{what}: {name}")
    rows = [r for r in audit(s, action="scep.refuse", object=got.values[SCEP + "7"]) if r["detail"]["incident"] == got.incident]
    equal(len(rows), 1, f"{what}: rows in the audit log")
    equal(rows[0]["detail"]["reason"], reason, what)
    return rows[0]["detail"]


def not_read(s, answer, what, statuses=(400,)):
    """ANSWER must be an HTTP error: no CertRep can be built."""
    got = answer()
    expect(got.http_status in statuses, f"{what}: {got.http_status} {got.status} {got.fail_info}")
    return got


def alt_names(cert):
    try:
        return sorted(cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value, key=str)
    except x509.ExtensionNotFound:
        return []


def general_names(dns=(), emails=(), upn=None):
    names = [tlv(0x82, d.encode()) for d in dns] + [tlv(0x81, e.encode()) for e in emails]
    if upn:
        names.append(tlv(0xa0, oid(UPN), tlv(0xa0, asn1_string("utf8", upn))))
    return tlv(0x30, *names)


def text_of(name):
    return name.rfc4514_string()


# ---------------------------------------------------------------- challenges

@case
def s1_a_certificate_says_what_its_challenge_says():
    with Server() as s:
        c = Scep(s)
        request = make_csr(rsa_key(), subject=[("2.5.4.10", "Another"), ("2.5.4.3", "beta"), ("2.5.4.3", "gamma")],
                           challenge=challenge(s, "--subject", "O=Test Org,CN=alpha", "--san", "dns:alpha.example", "--san", "email:alpha@example.org", "--san", "uri:urn:x:1"),
                           extensions=[(SUBJECT_ALT_NAME, False, general_names(["beta.example"], ["root@example.org"], "administrator@example.org"))])
        signer = throw_away()
        cert = c.ask(request, signer).certificate(signer[0])
        equal(text_of(cert.subject), "CN=alpha,O=Test Org")
        equal(sorted(n.value for n in alt_names(cert)), ["alpha.example", "alpha@example.org", "urn:x:1"])
        # A profile that takes names at their word: what differs is refused, what agrees is served.
        set_profile(s, "strict", "strict_names=true")
        strict = Scep(s, "strict")
        mine = ["--profile", "strict", "--subject", "CN=alpha", "--san", "dns:alpha.example"]
        for subject, names in [("beta", ["alpha.example"]), ("alpha", ["beta.example"]), ("alpha", ["alpha.example", "beta.example"])]:
            request = make_csr(rsa_key(), subject=subject, challenge=challenge(s, *mine), extensions=[(SUBJECT_ALT_NAME, False, general_names(names))])
            refused(s, "POM-E3110", lambda: strict.ask(request), what=f"{subject} {names}")
        request = make_csr(rsa_key(), subject="alpha", challenge=challenge(s, *mine), extensions=[(SUBJECT_ALT_NAME, False, general_names(["alpha.example"]))])
        equal(text_of(strict.ask(request, signer).certificate(signer[0]).subject), "CN=alpha")
        # A challenge is for its profile, and for its type of key.
        refused(s, "POM-E3101", lambda: c.ask(make_csr(rsa_key(), challenge=challenge(s, *mine))), what="the challenge of another profile")
        refused(s, "POM-E2203", lambda: c.ask(make_csr(rsa_key(), challenge=challenge(s, "--key-type", "ec"))), what="a challenge for EC keys")
        ec = ec_keys.generate_private_key(ec_keys.SECP256R1())
        set_profile(s, "both", "key_types=rsa,ec")
        both = Scep(s, "both")
        refused(s, "POM-E2203", lambda: both.ask(make_csr(ec, challenge=challenge(s, "--profile", "both", "--key-type", "rsa"))), what="a challenge for RSA keys")
        both.ask(make_csr(ec, challenge=challenge(s, "--profile", "both", "--key-type", "ec")), signer).certificate(signer[0])


@case
def s2_a_challenge_gives_one_certificate():
    with Server() as s:
        text = challenge(s, "--subject", "CN=one")
        clients, keys, signer = [Scep(s) for _ in range(KEYS)], [rsa_key() for _ in range(KEYS)], throw_away()
        before = issued(s)
        answers = Scep.post_together(clients, [scep_message(make_csr(key, challenge=text), client.ca, *signer) for client, key in zip(clients, keys)])
        good = [a for a in answers if a.status == "0"]
        equal((len(good), issued(s) - before), (1, 1), "certificates")
        # The same key again, under another transactionID: a lost reply is fetched once more.
        serial = good[0].certificate(signer[0]).serial_number
        winner = next(k for k in keys if k.public_key().public_numbers() == good[0].certificate(signer[0]).public_key().public_numbers())
        equal(Scep(s).enroll(text, winner)[1].serial_number, serial)
        other = rsa.generate_private_key(65537, 2048)
        alarms = len(audit(s, action="scep.alarm"))
        refused(s, "POM-E3103", lambda: Scep(s).ask(make_csr(other, challenge=text)), what="another key")
        equal(len(audit(s, action="scep.alarm")) - alarms, 1, "an alarm")
        # As many keys as it has uses.
        text = challenge(s, "--uses", "2")
        for _ in range(2):
            Scep(s).enroll(text)
        refused(s, "POM-E3103", lambda: Scep(s).ask(make_csr(rsa_key(), challenge=text)))
        revoked = s.cli("challenge", "new")
        s.cli("challenge", "revoke", revoked["id"])
        refused(s, "POM-E3104", lambda: Scep(s).ask(make_csr(rsa_key(), challenge=revoked["challenge"])))
        equal({r["id"]: r["state"] for r in s.cli("challenge", "list")}[revoked["id"]], "revoked")


@case
def one_key_at_once_gets_one_certificate():
    """A client that asks again before it has been answered: a challenge and a key have one certificate, however often they come at the same moment."""
    with Server() as s:
        signer, ca = throw_away(), Scep(s).ca
        for n in range(12):
            text, key, before = challenge(s), rsa_key(), issued(s)
            clients = [Scep(s) for _ in range(12)]
            answers = Scep.post_together(clients, [scep_message(make_csr(key, challenge=text), ca, *signer) for _ in clients])
            equal((len({a.certificate(signer[0]).serial_number for a in answers}), issued(s) - before), (1, 1), f"certificates of round {n}")
        # Where a person decides, he is asked once.
        set_profile(s, "manual", "approval=manual")
        for n in range(6):
            request = make_csr(rsa_key(), challenge=challenge(s, "--profile", "manual"))
            clients = [Scep(s, "manual") for _ in range(8)]
            answers = Scep.post_together(clients, [scep_message(request, ca, *signer, transaction=f"T{n}") for _ in clients])
            equal({a.status for a in answers}, {"3"})
            equal([w["transaction_id"] for w in s.cli("ca", "requests", "--state", "pending")].count(f"T{n}"), 1, f"requests of round {n}")


@case
def s3_guessing_is_slowed_down_for_the_guesser_alone():
    with Server() as s:
        attacker, bystander = Scep(s), Scep(s)
        text = challenge(s)
        # Devices say it in a PrintableString, and what reads that strictly (Go's SCEP servers, when we relay) knows no '_'.
        expect(len(bytes.fromhex(text)) >= 16, f"a challenge of 128 bits: {text}")
        signer, key = throw_away(), rsa_key()
        statuses = []
        for i in range(1000):
            statuses.append(attacker.ask(make_csr(key, challenge=f"guess {i}"), signer).http_status)
            if i < 50:
                equal(statuses[-1], 200, f"guess {i} is answered as SCEP has it")
        expect(statuses.count(429) > 800, f"{statuses.count(429)} of 1000 guesses were limited")
        limited = attacker.ask(make_csr(key, challenge=text), signer)
        equal(limited.http_status, 429, "the guesser's own right challenge")
        bystander.enroll(text)
        expect('reason="POM-E3106"' in s.api("GET", "/metrics")[1].decode(), "the metric")
        # An expired challenge is no way to a profile that is served without one.
        set_profile(s, "open", "challenge=none", "approval=manual")
        late = challenge(s, "--profile", "open", "--ttl", "1s")
        time.sleep(1.2)
        refused(s, "POM-E3102", lambda: Scep(s, "open").ask(make_csr(rsa_key(), challenge=late)), what="expired")
        equal(s.cli("ca", "requests"), [], "requests that wait")


@case
def s4_nobody_is_served_without_a_right():
    with Server() as s:
        for settings in (["challenge=none", "approval=auto"], ["challenge=none"], ["challenge=static"], ["challenge=static", "static_challenge=short"], ["challenge=webhook"]):
            code, _, err = s.cli_code("scep-profile", "set", "open", *settings)
            equal(code, 1, f"{settings}: {err}")
            expect("POM-E0004" in err, err)
        equal([p["name"] for p in s.cli("scep-profile", "list") if p["name"] == "open"], [])
        equal(Scep(s).get("GetCACaps").http_status, 200)
        equal(s.request("GET", "/scep/nothing?operation=GetCACaps", plain=True)[0], 404, "a profile that is not there")
        refused(s, "POM-E3101", lambda: Scep(s).ask(make_csr(rsa_key())), what="no challenge")
        refused(s, "POM-E3101", lambda: Scep(s).ask(make_csr(rsa_key(), challenge=" ")), what="a blank challenge")
        # A profile of this CA that demands nothing still asks a person.
        set_profile(s, "asked", "challenge=none", "approval=manual")
        answer = Scep(s, "asked").ask(make_csr(rsa_key(), subject="somebody"))
        equal((answer.status, answer.content), ("3", None))
        waiting = s.cli("ca", "requests")
        equal([(w["subject"], w["state"]) for w in waiting], [("CN=somebody", "pending")])
        equal(issued(s), 0)
        # A static challenge is taken, with a loud warning.
        set_profile(s, "static", "challenge=static", "static_challenge=correct horse battery")
        Scep(s, "static").enroll("correct horse battery")
        expect(any(" warning " in line and "static" in line for line in s.logs().splitlines()), "no warning of a static challenge:\n" + s.logs())
        refused(s, "POM-E3101", lambda: Scep(s, "static").ask(make_csr(rsa_key(), challenge="correct horse batterz")))
        expect("correct horse" not in s.logs() and "correct horse" not in json.dumps(s.cli("scep-profile", "show", "static")) + json.dumps(audit(s)), "the static challenge is shown")


# ---------------------------------------------------------------- messages

@case
def s5_other_message_types_are_refused_first():
    with Server() as s:
        text = challenge(s)
        request = make_csr(rsa_key(), challenge=text)
        values = [(str(t), core.PrintableString(str(t))) for t in (0, 1, 2, 3, 4, 16, 18, 23, 24, 255, 99999999999)]
        values += [("19 ", core.PrintableString("19 ")), (" 19", core.PrintableString(" 19")), ("+19", core.PrintableString("+19")), ("0x13", core.PrintableString("0x13")), ("", core.PrintableString("")),
                   ("an integer", core.Integer(19)), ("an octet string", core.OctetString(b"19")), ("none", False)]
        for name, value in values:
            # Even enveloped to nobody: nothing else is looked at.
            for enveloped in (None, b"not an envelope"):
                refused(s, "POM-E3003", lambda: Scep(s).ask(request, type_value=value, enveloped=enveloped), what=f"messageType {name!r}")
        equal(issued(s), 0)
        signer = throw_away()
        Scep(s).ask(request, signer, type_value=core.UTF8String("19")).certificate(signer[0])
        # Types that are served need more than a challenge.
        for message_type, reason, fail_info in [(RENEWAL_REQ, "POM-E3107", "2"), (CERT_POLL, "POM-E2201", "2"), (GET_CERT, "POM-E2201", "2"), (GET_CRL, "POM-E2201", "2")]:
            answer = Scep(s).ask(make_csr(rsa_key(), challenge=challenge(s)), message_type=message_type)
            equal((answer.status, answer.fail_info in ("2", "4")), ("2", True), f"messageType {message_type}")
        equal(issued(s), 1)


@case
def attributes_out_of_order():
    """Transaction attributes that are missing, there twice or of the wrong kind."""
    with Server() as s:
        request = make_csr(rsa_key(), challenge=challenge(s))
        not_read(s, lambda: Scep(s).ask(request, transaction_value=False), "no transactionID")
        not_read(s, lambda: Scep(s).ask(request, transaction_value=core.PrintableString("")), "an empty transactionID")
        not_read(s, lambda: Scep(s).ask(request, transaction="x" * 256), "256 characters")
        for name, extra in [("messageType", scep_attribute(SCEP + "2", core.PrintableString("19"))), ("senderNonce", scep_attribute(SCEP + "5", core.OctetString(b"8 bytes.")))]:
            refused(s, "POM-E3002", lambda: Scep(s).ask(request, attributes=[extra]), what=f"two attributes {name}")
        refused(s, "POM-E3002", lambda: Scep(s).ask(request, type_value=False, attributes=[scep_attribute(SCEP + "2", core.PrintableString("19"), core.PrintableString("19"))]), what="two values")
        refused(s, "POM-E3002", lambda: Scep(s).ask(request, nonce=b"n" * 65), what="a nonce of 65 bytes")
        equal(issued(s), 0)
        signer = throw_away()
        Scep(s).ask(request, signer, attributes=[scep_attribute("1.3.6.1.4.1.99999.1", core.UTF8String("?"))]).certificate(signer[0])


@case
def s10_nothing_is_decrypted_before_the_signature_is_right():
    with Server() as s:
        c, (key, cert) = Scep(s), throw_away()
        request = make_csr(rsa_key(), challenge=challenge(s))
        message = scep_message(request, c.ca, key, cert)
        at = message.find(cms.ContentInfo.load(message)["content"]["encap_content_info"]["content"].native) + 100
        for position in (at, at + 200, len(message) - 1):
            damaged = bytearray(message)
            damaged[position] ^= 1
            refused(s, "POM-E2002", lambda: Scep(s).post(bytes(damaged)), "1", what=f"byte {position}")
        # Signed by another key than the certificate's.
        refused(s, "POM-E2002", lambda: Scep(s).post(scep_message(request, c.ca, rsa_key(), cert)), "1", what="another key")
        equal(issued(s), 0)
        c.post(message).certificate(key)


def without_chance(answer):
    """What of a FAILURE must be the same whatever was wrong: all but what is fresh in each message."""
    signed = cms.ContentInfo.load(answer.body)["content"]
    info = signed["signer_infos"][0]
    fixed = {}
    for attribute in info["signed_attrs"]:
        kind = attribute["type"].dotted
        fixed[kind] = {SCEP + "5": 16, SIGNING_TIME: "time", FAIL_INFO_TEXT: TEXTS["2"] + f" (incident {36})"}.get(kind, attribute["values"][0].dump())
    return (len(answer.body), sorted(answer.headers.items() - {("date", answer.headers.get("date"))}), fixed, signed["certificates"].dump(), info["digest_algorithm"].dump(), info["signature_algorithm"].dump(),
            signed["encap_content_info"].dump())


def broken_envelopes(ca, request):
    """(what, the envelope): decryption fails in every way that it can, at the same size."""
    cipher, size, block = "aes128_cbc", 16, 16
    bits = x509.load_der_x509_certificate(ca).public_key().key_size // 8
    good_key = secrets.token_bytes(size)
    other_ca = der(throw_away()[1])

    def flipped(index):
        def encrypted(key, iv):
            data = bytearray(encrypt(request, cipher, key, iv))
            data[index] ^= 0x55
            return bytes(data)
        return encrypted

    def raw(padded):
        """RSA of these very bytes, without padding."""
        numbers = x509.load_der_x509_certificate(ca).public_key().public_numbers()
        return pow(int.from_bytes(padded, "big"), numbers.e, numbers.n).to_bytes(bits, "big")
    filler = bytes(secrets.choice(range(1, 256)) for _ in range(bits))
    yield "the content's last byte flipped", enveloped_data(request, ca, cipher, encrypted=flipped(-1))
    yield "the content's last block flipped", enveloped_data(request, ca, cipher, encrypted=flipped(-block))
    yield "the block before flipped (padding wrong)", enveloped_data(request, ca, cipher, encrypted=flipped(-block - 1))
    yield "a block in the middle flipped", enveloped_data(request, ca, cipher, encrypted=flipped(len(request) // 2))
    yield "content that is random", enveloped_data(request, ca, cipher, encrypted=lambda key, iv: secrets.token_bytes(len(request) // block * block + block))
    yield "content without padding", enveloped_data(request, ca, cipher, encrypted=lambda key, iv: encrypt(b"\x00" * (len(request) // block * block + block), cipher, key, iv, pad=False))
    yield "a random RSA block", enveloped_data(request, ca, cipher, recipients=[key_trans(ca, b"\x00" + secrets.token_bytes(bits - 1))])
    yield "PKCS #1 type 1", enveloped_data(request, ca, cipher, recipients=[key_trans(ca, raw(b"\x00\x01" + filler[:bits - 19] + b"\x00" + good_key))], key=good_key)
    yield "PKCS #1 without separator", enveloped_data(request, ca, cipher, recipients=[key_trans(ca, raw(b"\x00\x02" + filler[:bits - 2]))], key=good_key)
    yield "PKCS #1 with short padding", enveloped_data(request, ca, cipher, recipients=[key_trans(ca, raw(b"\x00\x02" + filler[:4] + b"\x00" + filler[:bits - 7 - size - 1] + b"\x00" + good_key))], key=good_key)
    yield "a key that is too short", enveloped_data(request, ca, cipher, recipients=[wrap_key(good_key[:8], ca)], key=good_key)
    yield "a key that is too long", enveloped_data(request, ca, cipher, recipients=[wrap_key(good_key * 2, ca)], key=good_key)
    yield "another key", enveloped_data(request, ca, cipher, recipients=[wrap_key(secrets.token_bytes(size), ca)], key=good_key)
    yield "an encrypted key that is too short", enveloped_data(request, ca, cipher, recipients=[key_trans(ca, secrets.token_bytes(bits // 2))], key=good_key)
    yield "an encrypted key that is larger than the modulus", enveloped_data(request, ca, cipher, recipients=[key_trans(ca, b"\xff" * bits)], key=good_key)
    yield "enveloped to another", enveloped_data(request, other_ca, cipher)
    yield "decrypts to no request", enveloped_data(b"\x30\x03\x02\x01\x00" + secrets.token_bytes(len(request) - 5), ca, cipher)
    yield "decrypts to nothing", enveloped_data(b"", ca, cipher)


@case
def s9_failures_to_decrypt_look_alike():
    with Server() as s:
        signer = throw_away()
        request = make_csr(rsa_key(), challenge="x" * 30)
        ca = Scep(s).ca
        answers, reasons = {}, {}
        for what, enveloped in broken_envelopes(ca, request):
            answer = Scep(s).ask(None, signer, enveloped=enveloped, transaction="ONE", nonce=b"0123456789abcdef", digest="sha256")
            equal((answer.status, answer.fail_info), ("2", "2"), what)
            answers[what] = without_chance(answer)
            reasons[what] = [r["detail"]["reason"] for r in audit(s, action="scep.refuse", object="ONE") if r["detail"]["incident"] == answer.incident]
        first = answers["a random RSA block"]
        for what, answer in answers.items():
            equal(answer, first, f"the answer to {what}")
            # One garbled block of 256 ends like padding: then it is the request that is no request.
            expect(reasons[what] in (["POM-E2005"], ["POM-E2201"]), f"{what}: {reasons[what]}")
        equal((reasons["the block before flipped (padding wrong)"], reasons["content without padding"], reasons["decrypts to no request"]), (["POM-E2005"], ["POM-E2005"], ["POM-E2201"]))
        # And a wrong challenge in an envelope that opens.
        answer = Scep(s).ask(make_csr(rsa_key(), challenge="y" * 30), signer, transaction="ONE", nonce=b"0123456789abcdef", digest="sha256", cipher="aes128_cbc")
        equal(without_chance(answer), first, "the answer to a wrong challenge")
        equal(issued(s), 0)


@case
def s9_failures_to_decrypt_take_the_same_time():
    """PKCS #1 padding that is right and that is wrong, in turns: the medians of their times are alike."""
    with Server() as s:
        signer, key = throw_away(), secrets.token_bytes(16)
        ca = Scep(s).ca
        request = make_csr(rsa_key(), challenge="x" * 30)
        bits = x509.load_der_x509_certificate(ca).public_key().key_size // 8
        kinds = {"right padding, another key": lambda: [wrap_key(secrets.token_bytes(16), ca)], "right padding, short key": lambda: [wrap_key(key[:8], ca)],
                 "wrong padding": lambda: [key_trans(ca, b"\x00" + secrets.token_bytes(bits - 1))]}
        times = {kind: [] for kind in kinds}
        client = None
        for i in range(100):
            client = client if client and i % 15 else Scep(s)
            for kind, recipients in kinds.items():
                message = scep_message(None, ca, *signer, enveloped=enveloped_data(request, ca, "aes128_cbc", recipients=recipients(), key=key))
                started = time.perf_counter()
                equal(client.post(message).fail_info, "2", kind)
                times[kind].append(time.perf_counter() - started)
        medians = {kind: statistics.median(t) for kind, t in times.items()}
        for kind, median in medians.items():
            for other, t in times.items():
                low, high = sorted(t)[5], sorted(t)[-5]
                expect(low <= median <= high, f"{kind} takes {median * 1000:.2f} ms, {other} {low * 1000:.2f} to {high * 1000:.2f} ms")


@case
def s11_algorithms_that_are_not_accepted():
    with Server() as s:
        request = make_csr(rsa_key(), challenge=challenge(s))
        forbidden = [("digest", "md5"), ("cipher", "des"), ("cipher", "rc2"), ("cipher", "blowfish")]
        for option, name in forbidden:
            refused(s, "POM-E2003", lambda: Scep(s).ask(request, **{option: name}), "0", what=f"{option} {name}")
        refused(s, "POM-E2003", lambda: Scep(s).ask(request, enveloped=enveloped_data(request, Scep(s).ca, "aes128_cbc", content_type=ID_AUTH_ENVELOPED)), "0", what="AuthEnvelopedData")
        ec = ec_keys.generate_private_key(ec_keys.SECP256R1())
        ec_cert = (x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(x509.Name([])).public_key(ec.public_key()).serial_number(1).not_valid_before(datetime.datetime(2020, 1, 1))
                   .not_valid_after(datetime.datetime(2040, 1, 1)).sign(ec, hashes.SHA256()))
        refused(s, "POM-E2003", lambda: Scep(s).ask(request, (ec, ec_cert), digest="sha256"), "0", what="an EC signer, whom no answer can be enveloped to")
        tiny = rsa.generate_private_key(65537, 512)
        refused(s, "POM-E2003", lambda: Scep(s).ask(request, throw_away(tiny)), "0", what="an RSA signer of 512 bits")
        # Legacy algorithms are a setting of the profile.
        for name, settings, accepted in [("new", ["legacy=false"], set()), ("old", ["legacy=true"], {"sha1", "tripledes_3key"}), ("oldest", ["legacy=true", "legacy_des=true"], {"sha1", "tripledes_3key", "des"})]:
            set_profile(s, name, *settings)
            client = Scep(s, name)
            caps = client.get("GetCACaps").body.decode().split("\n")
            equal(("SHA-1" in caps, "DES3" in caps), ("sha1" in accepted, "sha1" in accepted), f"caps of {name}")
            for digest, cipher in [("sha1", "aes128_cbc"), ("sha256", "tripledes_3key"), ("sha256", "des")]:
                mine = make_csr(rsa_key(), challenge=challenge(s, "--profile", name))
                if {digest, cipher} & {"sha1", "tripledes_3key", "des"} <= accepted:
                    signer = throw_away()
                    client.ask(mine, signer, digest=digest, cipher=cipher).certificate(signer[0])
                else:
                    refused(s, "POM-E2003", lambda: client.ask(mine, digest=digest, cipher=cipher), "0", what=f"{digest} {cipher} in {name}")
            client.enroll(challenge(s, "--profile", name), digest="sha512", cipher="aes256_cbc")
        expect(any("warning" in line and "legacy_des" in line for line in s.logs().splitlines()), "no warning of single DES")


@case
def s12_cms_that_is_made_to_hurt():
    with Server() as s:
        ca = Scep(s).ca
        signer = throw_away()
        request = make_csr(rsa_key(), challenge=challenge(s))
        key = secrets.token_bytes(16)
        right = wrap_key(key, ca)
        password = tlv(0xa3, b"\x02\x01\x00", tlv(0xa0, oid("1.2.840.113549.1.5.12"), tlv(0x30, tlv(0x04, b"saltsalt"), b"\x02\x04\x7f\xff\xff\xff")),
                       tlv(0x30, oid("1.2.840.113549.1.9.16.3.9"), tlv(0x30, oid("2.16.840.1.101.3.4.1.2"), tlv(0x04, b"i" * 16))), tlv(0x04, b"k" * 32))
        agreed = tlv(0xa1, b"\x02\x01\x03", tlv(0xa0, tlv(0xa1, tlv(0x30, oid("1.2.840.10045.2.1")), tlv(0x03, b"\x00\x04" + b"p" * 64))), tlv(0x30, oid("1.3.132.1.11.1")),
                     tlv(0x30, tlv(0x30, tlv(0x30, b"\x30\x00", b"\x02\x01\x01"), tlv(0x04, b"k" * 24))))
        envelopes = {
            "a password recipient": enveloped_data(request, ca, "aes128_cbc", recipients=[password], key=key), "a key agreement": enveloped_data(request, ca, "aes128_cbc", recipients=[agreed], key=key),
            "nine recipients": enveloped_data(request, ca, "aes128_cbc", recipients=[right] * 9, key=key), "no recipient": enveloped_data(request, ca, "aes128_cbc", recipients=[], key=key),
            "an unknown form of recipient": enveloped_data(request, ca, "aes128_cbc", recipients=[tlv(0xa4, oid(ID_DATA), b"\x05\x00")], key=key),
            "an empty envelope": tlv(0x30, oid(ID_ENVELOPED), tlv(0xa0, tlv(0x30))), "data instead": tlv(0x30, oid(ID_DATA), tlv(0xa0, tlv(0x04, request))),
            "signed data instead": signed_data(*signer, request, "sha256", hashes.SHA256, None), "nothing": b"",
            "a long initialization vector": tlv(0x30, oid(ID_AUTH_ENVELOPED), tlv(0xa0, tlv(0x30, b"\x02\x01\x00", tlv(0x31, right), tlv(0x30, oid(ID_DATA), tlv(0x30, oid("2.16.840.1.101.3.4.1.6"), tlv(
                0x30, tlv(0x04, b"n" * 4000), b"\x02\x01\x10")), tlv(0x80, b"c" * 64)), tlv(0x04, b"t" * 16)))),
            "deep inside": b"\x30\x80" * 2000, "a length beyond the end": b"\x30\x84\x7f\xff\xff\xff" + oid(ID_ENVELOPED),
        }
        for what, enveloped in envelopes.items():
            answer = Scep(s).ask(None, signer, enveloped=enveloped)
            equal((answer.http_status, answer.status), (200, "2"), what)
            expect(answer.fail_info in ("0", "2"), f"{what}: failInfo {answer.fail_info}")
        cert = signer[1]
        for what, raw in {"nothing": b"", "a PEM": cert.public_bytes(serialization.Encoding.PEM), "a certificate": der(cert), "deep": b"\x30\x80" * 20000, "data": tlv(0x30, oid(ID_DATA), tlv(0xa0, tlv(0x04, b"x"))),
                          "an envelope": enveloped_data(request, ca), "cut": scep_message(request, ca, *signer)[:-10], "a length of 2 GiB": b"\x30\x84\x80\x00\x00\x00" + b"\x00" * 100}.items():
            not_read(s, lambda: Scep(s).post(raw), what)
        answer = Scep(s).ask(request, signer, certificates=[throw_away()[1] for _ in range(20)] + [cert])
        expect(answer.http_status == 400 or answer.status == "2", "twenty-one certificates")
        equal(issued(s), 0)
        Scep(s).ask(request, signer).certificate(signer[0])


@case
def s13_sizes():
    with Server() as s:
        c = Scep(s)
        equal(c.post(b"\x30" * (64 << 10)).http_status, 400, "64 KiB are read")
        equal(c.post(b"\x30" * ((64 << 10) + 1)).http_status, 413)

        def announce(head):
            """The status of the answer to a head, whose body never comes or never ends."""
            with socket.create_connection(("127.0.0.1", s.http_port), 10) as raw:
                raw.sendall(head)
                sent = 0
                raw.settimeout(0.02)
                while sent < 4 << 20:
                    try:
                        got = raw.recv(1000)
                        return int(got.split(b" ")[1]) if got else None, sent
                    except TimeoutError:
                        pass
                    except OSError:
                        return None, sent
                    if b"chunked" in head:
                        with contextlib.suppress(OSError):
                            raw.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
                        sent += 4096
                    else:
                        sent += 1 << 18
            return None, sent
        equal(announce(b"POST /scep?operation=PKIOperation HTTP/1.1\r\nHost: a\r\nContent-Length: 1073741824\r\n\r\n"), (413, 0), "1 GiB is refused before it is sent")
        status, sent = announce(b"POST /scep?operation=PKIOperation HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        expect(status in (413, None) and sent <= 1 << 20, f"chunks without end: {status} after {sent} bytes")
        equal(c.get("PKIOperation", "A" * 60000).http_status, 400, "a long GET is read")
        equal(c.get("PKIOperation", "A" * 70000).http_status, 414)
        c.enroll(challenge(s))


# ---------------------------------------------------------------- renewal

@case
def s6_only_valid_certificates_of_ours_renew():
    with Server() as s:
        s.cli("ca", "create", "other")
        set_profile(s, "other", "ca=other", "renewal_percent=0")
        set_profile(s, "main", "renewal_percent=0")
        set_profile(s, "late", "renewal_percent=33")
        main, other, late = Scep(s, "main"), Scep(s, "other"), Scep(s, "late")

        def identity(name="main", client=None):
            return (client or Scep(s, name)).enroll(challenge(s, "--profile", name, "--subject", "CN=device"))
        # A certificate with our CA's name that we have not issued, and one that signed itself.
        forger, victim = rsa_key(), identity()
        now = datetime.datetime.utcnow()
        base = (x509.CertificateBuilder().subject_name(victim[1].subject).public_key(forger.public_key()).serial_number(victim[1].serial_number).not_valid_before(now - datetime.timedelta(days=1))
                .not_valid_after(now + datetime.timedelta(days=30)))
        forged = base.issuer_name(victim[1].issuer).sign(forger, hashes.SHA256())
        refused(s, "POM-E3107", lambda: Scep(s, "main").renew((forger, forged)), what="our CA's name, another's signature")
        refused(s, "POM-E3107", lambda: Scep(s, "main").renew((forger, base.issuer_name(victim[1].subject).sign(forger, hashes.SHA256()))), what="signed by itself")
        refused(s, "POM-E3101", lambda: Scep(s, "main").renew((forger, forged), message_type=PKCS_REQ), what="the same as PKCSReq")
        # The certificate is right, the signature is another's.
        message = scep_message(make_csr(rsa_key()), main.ca, forger, victim[1], message_type=RENEWAL_REQ)
        refused(s, "POM-E2002", lambda: Scep(s, "main").post(message), "1", what="the certificate of a victim")
        # Of another CA of this very server.
        stranger = identity("other")
        refused(s, "POM-E3107", lambda: Scep(s, "main").renew(stranger), what="another CA's certificate")
        # Revoked.
        gone = identity()
        s.cli("ca", "revoke", f"{gone[1].serial_number:032X}")
        refused(s, "POM-E3107", lambda: Scep(s, "main").renew(gone), what="revoked")
        # Too early.
        early = identity("late", late)
        refused(s, "POM-E3107", lambda: Scep(s, "late").renew(early), what="too early")
        # Once, with a new key; the same key again gets the same certificate.
        mine, key = identity(), rsa_key()
        renewed = main.renew(mine, key).certificate(mine[0])
        equal(main.renew(mine, key).certificate(mine[0]), renewed, "a lost reply is fetched again")
        refused(s, "POM-E3107", lambda: Scep(s, "main").renew(mine, rsa_key()), what="renewed already")
        second = identity()
        refused(s, "POM-E3107", lambda: Scep(s, "main").renew(second, second[0]), what="the old key")
        # As PKCSReq without a challenge, and with the used one, which is not looked at.
        for text in (None, "used long ago"):
            third = identity()
            answer = main.ask(make_csr(rsa_key(), challenge=text), third, message_type=PKCS_REQ)
            answer.certificate(third[0])
        # What the register does not know, or knows as expired.
        expired, unknown = identity(), identity()
        with s.stopped() as execute:
            for sql, cert in [("UPDATE certificate SET not_after = 1 WHERE serial = ?", expired[1]), ("DELETE FROM certificate WHERE serial = ?", unknown[1])]:
                equal(execute(sql, f"{cert.serial_number:032X}"), 1)
        refused(s, "POM-E3107", lambda: Scep(s, "main").renew(expired), what="expired")
        refused(s, "POM-E3107", lambda: Scep(s, "main").renew(unknown), what="not in the register")
        refused(s, "POM-E3101", lambda: Scep(s, "main").renew(unknown, message_type=PKCS_REQ), what="not in the register, as PKCSReq")


@case
def s7_a_renewal_keeps_its_names():
    with Server() as s:
        set_profile(s, "main", "renewal_percent=0")
        c = Scep(s, "main")
        identity = c.enroll(challenge(s, "--profile", "main", "--subject", "CN=alpha,O=Test Org", "--san", "dns:alpha.example"))
        request = make_csr(rsa_key(), subject="root", extensions=[(SUBJECT_ALT_NAME, False, general_names(["root.example"], [], "root@example.org"))])
        renewed = c.ask(request, identity, message_type=RENEWAL_REQ).certificate(identity[0])
        equal(renewed.subject, identity[1].subject)
        equal(alt_names(renewed), alt_names(identity[1]))
        equal([n.value for n in alt_names(renewed)], ["alpha.example"])


@case
def s8_the_answer_is_for_the_signer_alone():
    with Server() as s:
        c = Scep(s)
        mallory = throw_away(common_name="mallory")
        for swapped in (False, True):
            key, cert = throw_away()
            certificates = [mallory[1], cert] if swapped else [cert, mallory[1]]
            answer = c.ask(make_csr(rsa_key(), challenge=challenge(s)), (key, cert), certificates=certificates)
            recipients = cms.ContentInfo.load(answer.content)["content"]["recipient_infos"]
            equal([r.chosen["rid"].chosen["serial_number"].native for r in recipients], [cert.serial_number], "recipients")
            answer.certificate(key)
        # A signer whose certificate is not there, though one of ours is.
        identity = c.enroll(challenge(s))
        answer = not_read(s, lambda: Scep(s).ask(make_csr(rsa_key()), mallory, certificates=[identity[1]], message_type=RENEWAL_REQ), "without the signer's certificate")


@case
def s20_certificates_of_others_are_not_given_away():
    with Server() as s:
        c = Scep(s)
        mine, other = c.enroll(challenge(s)), c.enroll(challenge(s))
        equal(c.ask(issuer_and_serial(mine[1]), mine, message_type=GET_CERT).certificate(mine[0]), mine[1])
        for what, content in [("another's", issuer_and_serial(other[1])), ("nobody's", issuer_and_serial(mine[1], 12345)), ("a negative number", issuer_and_serial(mine[1], -1)),
                              ("another issuer's", tlv(0x30, asn1_x509.Name.build({"common_name": "x"}).dump(), core.Integer(mine[1].serial_number).dump()))]:
            refused(s, "POM-E3108", lambda: Scep(s).ask(content, mine, message_type=GET_CERT), "4", what=what)
        crls = c.ask(issuer_and_serial(mine[1]), mine, message_type=GET_CRL).inner(mine[0])
        equal((len(crls["crls"]), len(crls["certificates"])), (1, 0), "GetCRL")
        for message_type in (GET_CERT, GET_CRL):
            refused(s, "POM-E3108", lambda: Scep(s).ask(issuer_and_serial(mine[1]), message_type=message_type), "4", what=f"{message_type} by a throw-away signer")
        s.cli("ca", "revoke", f"{mine[1].serial_number:032X}")
        refused(s, "POM-E3108", lambda: Scep(s).ask(issuer_and_serial(mine[1]), mine, message_type=GET_CERT), "4", what="by a revoked certificate")
        # To ask again and again is limited as guessing is.
        walker = Scep(s)
        statuses = {walker.ask(issuer_and_serial(other[1], n), other, message_type=GET_CERT).http_status for n in range(1, 80)}
        equal(statuses, {200, 429}, "serial numbers tried one after the other")


@case
def cert_poll_for_nothing():
    with Server() as s:
        set_profile(s, "manual", "approval=manual")
        c = Scep(s, "manual")
        refused(s, "POM-E3108", lambda: Scep(s, "manual").ask(issuer_and_subject(c.ca), message_type=CERT_POLL), "4", what="no such transaction")
        signer, request = throw_away(), make_csr(rsa_key(), challenge=challenge(s, "--profile", "manual"))
        for _ in range(2):
            answer = c.ask(request, signer, transaction="T1")
            equal((answer.status, answer.content, answer.fail_info), ("3", None, None), "PENDING, also when it is asked for again")
        equal(c.ask(issuer_and_subject(c.ca), signer, message_type=CERT_POLL, transaction="T1").status, "3")
        refused(s, "POM-E3108", lambda: Scep(s, "manual").ask(issuer_and_subject(c.ca), message_type=CERT_POLL, transaction="T1"), "4", what="another signer")
        refused(s, "POM-E3108", lambda: Scep(s, "manual").ask(issuer_and_subject(c.ca), signer, message_type=CERT_POLL, transaction="T2"), "4", what="another transaction")
        refused(s, "POM-E3108", lambda: Scep(s).ask(issuer_and_subject(c.ca), signer, message_type=CERT_POLL, transaction="T1"), "4", what="another profile")
        waiting = s.cli("ca", "requests")
        equal(len(waiting), 1)
        s.cli("ca", "approve", waiting[0]["id"])
        # The signer may have another certificate by now: his key counts.
        again = throw_away(signer[0], "another name")
        cert = c.ask(issuer_and_subject(c.ca), again, message_type=CERT_POLL, transaction="T1").certificate(signer[0])
        equal(c.ask(request, signer, transaction="T3").certificate(signer[0]), cert, "asked for once more")
        # Denied.
        second = make_csr(rsa_key(), challenge=challenge(s, "--profile", "manual"))
        equal(c.ask(second, signer, transaction="T4").status, "3")
        s.cli("ca", "deny", next(w["id"] for w in s.cli("ca", "requests") if w["transaction_id"] == "T4"))
        refused(s, "POM-E3105", lambda: c.ask(issuer_and_subject(c.ca), signer, message_type=CERT_POLL, transaction="T4"), what="denied")
        equal(issued(s), 1)


@case
def an_approval_is_for_one_challenge():
    """The same key with another challenge waits anew, and gets what that challenge says."""
    with Server() as s:
        set_profile(s, "manual", "approval=manual")
        c, signer, key = Scep(s, "manual"), throw_away(), rsa_key()
        for n in (1, 2):
            request = make_csr(key, challenge=challenge(s, "--profile", "manual", "--subject", f"CN=number {n}"))
            equal(c.ask(request, signer, transaction=f"T{n}").status, "3", f"request {n}")
            waiting = s.cli("ca", "requests", "--state", "pending")
            equal([w["transaction_id"] for w in waiting], [f"T{n}"])
            equal(c.ask(issuer_and_subject(c.ca), signer, message_type=CERT_POLL, transaction=f"T{n}").status, "3", f"request {n} before it is approved")
            s.cli("ca", "approve", waiting[0]["id"])
            for _ in range(2):
                equal(text_of(c.ask(issuer_and_subject(c.ca), signer, message_type=CERT_POLL, transaction=f"T{n}").certificate(signer[0]).subject), f"CN=number {n}")
        # The first transaction still answers with its own certificate.
        equal(text_of(c.ask(issuer_and_subject(c.ca), signer, message_type=CERT_POLL, transaction="T1").certificate(signer[0]).subject), "CN=number 1")
        equal(issued(s), 2)


def without_signature(s, *certificates):
    """What a process leaves that died between the reservation of a row and its certificate."""
    with s.stopped() as execute:
        for cert in certificates:
            equal(execute("UPDATE certificate SET state = 0, der = NULL, sha256 = NULL WHERE serial = ?", f"{cert.serial_number:032X}"), 1)


@case
def many_with_one_key_get_one_certificate():
    """Clients ask again while the first answer is on its way: by challenge, as a renewal, and after an approval."""
    with Server() as s:
        set_profile(s, "main", "renewal_percent=0")
        set_profile(s, "manual", "approval=manual")
        c, m = [Scep(s, "main") for _ in range(16)], [Scep(s, "manual") for _ in range(16)]

        def same(clients, signer, content, what, **options):
            messages = [scep_message(content, client.ca, *signer, **options) for client in clients]
            certs = {a.certificate(signer[0]) for a in Scep.post_together(clients, messages)}
            equal(len(certs), 1, what)
            return certs.pop()
        key = rsa_key()
        first = same(c, throw_away(), make_csr(key, challenge=challenge(s, "--profile", "main")), "by challenge")
        second = rsa_key()
        renewed = same(c, (key, first), make_csr(second), "renewed", message_type=RENEWAL_REQ)
        signer, request = throw_away(), make_csr(rsa_key(), challenge=challenge(s, "--profile", "manual"))
        equal(m[0].ask(request, signer, transaction="T1").status, "3")
        s.cli("ca", "approve", s.cli("ca", "requests")[0]["id"])
        polled = same(m, signer, issuer_and_subject(m[0].ca), "polled", message_type=CERT_POLL, transaction="T1")
        equal([r["state"] for r in s.cli("ca", "requests")], ["issued"])
        # The same after a crash: the right is this key's still, and nobody else's.
        without_signature(s, renewed, polled)
        refused(s, "POM-E3107", lambda: Scep(s, "main").renew((key, first), rsa_key()), what="another key")
        c[0].renew((key, first), second).certificate(key)
        m[0].ask(issuer_and_subject(m[0].ca), signer, message_type=CERT_POLL, transaction="T1").certificate(signer[0])
        equal([r["state"] for r in s.cli("ca", "requests")], ["issued"])


# ---------------------------------------------------------------- certificate requests

@case
def s14_extensions_come_from_the_profile():
    with Server() as s:
        c = Scep(s)
        _, plain = c.enroll(challenge(s, "--subject", "CN=plain"))
        wishes = {
            "CA": [(BASIC_CONSTRAINTS, True, tlv(0x30, b"\x01\x01\xff"))], "signing keys": [(KEY_USAGE, True, tlv(0x03, b"\x01\x06"))],
            "foreign uses": [(EXT_KEY_USAGE, True, tlv(0x30, *[oid(o) for o in ("1.3.6.1.5.5.7.3.3", "1.3.6.1.5.5.7.3.9", "2.5.29.37.0", "1.3.6.1.5.5.7.3.1")]))],
            "an unknown critical one": [("1.3.6.1.4.1.99999.7", True, b"\x05\x00")], "a CRL elsewhere": [("2.5.29.31", False, tlv(0x30, tlv(0x30, tlv(0xa0, tlv(0xa0, tlv(0x86, b"http://x/crl"))))))],
            "all of it": [(BASIC_CONSTRAINTS, True, tlv(0x30, b"\x01\x01\xff")), (EXT_KEY_USAGE, False, tlv(0x30, oid("2.5.29.37.0"))), (SUBJECT_ALT_NAME, True, general_names(["*.example"], ["a@example.org"], "u@x"))],
        }
        for what, extensions in wishes.items():
            signer = throw_away()
            cert = c.ask(make_csr(rsa_key(), subject="x", challenge=challenge(s, "--subject", "CN=plain"), extensions=extensions), signer).certificate(signer[0])
            equal(sorted((e.oid.dotted_string, e.critical) for e in cert.extensions), sorted((e.oid.dotted_string, e.critical) for e in plain.extensions), what)
            for kind in (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage):
                equal(cert.extensions.get_extension_for_class(kind).value, plain.extensions.get_extension_for_class(kind).value, f"{what}: {kind.__name__}")
        equal(plain.extensions.get_extension_for_class(x509.BasicConstraints).value.ca, False)
        equal([o.dotted_string for o in plain.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value], ["1.3.6.1.5.5.7.3.2"], "client authentication alone")


@case
def s15_a_request_must_be_signed_with_its_own_key():
    with Server() as s:
        text = challenge(s)
        theirs = x509.load_der_x509_certificate(Scep(s).ca).public_key()
        for what, request in [("a foreign public key", make_csr(rsa_key(), challenge=text, sign_with=rsa.generate_private_key(65537, 2048))), ("the CA's own public key", make_csr(rsa_key(), challenge=text, public=theirs))]:
            refused(s, "POM-E2202", lambda: Scep(s).ask(request), what=what)
        damaged = bytearray(make_csr(rsa_key(), challenge=text))
        damaged[-1] ^= 1
        refused(s, "POM-E2202", lambda: Scep(s).ask(bytes(damaged)), what="a damaged signature")
        Scep(s).enroll(text)


@case
def the_zoo_of_requests():
    with Server() as s:
        c = Scep(s)
        # Challenges in every string type that is seen, and in both places.
        for kind in ("printable", "utf8", "bmp", "teletex", "ia5"):
            signer = throw_away()
            c.ask(make_csr(rsa_key(), challenge=[asn1_string(kind, challenge(s))]), signer).certificate(signer[0])
        signer = throw_away()
        attribute = scep_attribute("1.2.840.113549.1.9.7", core.UTF8String(challenge(s)))
        c.ask(make_csr(rsa_key()), signer, attributes=[attribute]).certificate(signer[0])
        for version in (0, 1, 2):
            c.ask(make_csr(rsa_key(), challenge=challenge(s), version=version), signer).certificate(signer[0])
        # No name asked for: the record has one.
        cert = c.ask(make_csr(rsa_key(), subject=None, challenge=challenge(s, "--subject", "CN=named")), signer).certificate(signer[0])
        equal(text_of(cert.subject), "CN=named")
        expect(text_of(c.ask(make_csr(rsa_key(), subject=None, challenge=challenge(s)), signer).certificate(signer[0]).subject), "a name in any case")
        # Two challenges: neither counts.
        text = challenge(s)
        one = asn1_string("printable", text)
        repeated = tlv(0x30, oid("1.2.840.113549.1.9.7"), tlv(0x31, one))
        refused(s, "POM-E2201", lambda: Scep(s).ask(make_csr(rsa_key(), challenge=[one, asn1_string("utf8", "another")])), what="two values")
        refused(s, "POM-E2201", lambda: Scep(s).ask(make_csr(rsa_key(), challenge=text, attributes=[repeated])), what="two attributes")
        refused(s, "POM-E2201", lambda: Scep(s).ask(make_csr(rsa_key(), challenge=[asn1_string("octet", text)])), what="a challenge that is no text")
        refused(s, "POM-E2201", lambda: Scep(s).ask(make_csr(rsa_key(), challenge="x" * 5000)), what="a challenge of 5000 characters")
        # Keys.
        for what, key in [("RSA-1024", rsa.generate_private_key(65537, 1024)), ("e = 3", rsa.generate_private_key(3, 2048)), ("Ed25519", ed25519.Ed25519PrivateKey.generate())]:
            refused(s, "POM-E2203", lambda: Scep(s).ask(make_csr(key, challenge=text)), what=what)
        for kind, key in [("rsa", ec_keys.generate_private_key(ec_keys.SECP256R1())), ("ec", rsa_key())]:
            set_profile(s, f"only-{kind}", f"key_types={kind}")
            refused(s, "POM-E2203", lambda: Scep(s, f"only-{kind}").ask(make_csr(key, challenge=challenge(s, "--profile", f"only-{kind}"))), what=f"the other type than {kind}")
        set_profile(s, "any", "key_types=rsa,ec", "rsa_bits_min=3072")
        takes_all = Scep(s, "any")
        for curve in (ec_keys.SECP256R1, ec_keys.SECP384R1, ec_keys.SECP521R1):
            takes_all.ask(make_csr(ec_keys.generate_private_key(curve()), challenge=challenge(s, "--profile", "any")), signer).certificate(signer[0])
        refused(s, "POM-E2203", lambda: Scep(s, "any").ask(make_csr(ec_keys.generate_private_key(ec_keys.SECP192R1()), challenge=challenge(s, "--profile", "any"))), what="P-192")
        refused(s, "POM-E2203", lambda: Scep(s, "any").ask(make_csr(rsa_key(), challenge=challenge(s, "--profile", "any"))), what="RSA-2048 where 3072 is needed")
        for what, content in [("no request", b"hello"), ("something behind it", make_csr(rsa_key(), challenge=text) + b"\x00"), ("a certificate", der(throw_away()[1]))]:
            refused(s, "POM-E2201", lambda: Scep(s).ask(content), what=what)
        Scep(s).enroll(text)
        expect(text not in s.logs() and text not in json.dumps(audit(s)), "a challenge in the log")


# ---------------------------------------------------------------- the rest

@case
def s16_replies_cannot_be_mixed_up():
    with Server() as s:
        c, signer = Scep(s), throw_away()
        seen = set()
        for size in (1, 8, 16, 64):
            nonce = secrets.token_bytes(size)
            for message_type, content in ((PKCS_REQ, make_csr(rsa_key(), challenge=challenge(s))), (PKCS_REQ, make_csr(rsa_key())), (CERT_POLL, issuer_and_subject(c.ca))):
                values = c.ask(content, signer, message_type=message_type, nonce=nonce, transaction=f"T-{size}").values
                equal((values[SCEP + "6"], values[SCEP + "7"], values[SCEP + "2"], len(values[SCEP + "5"])), (nonce, f"T-{size}", "3", 16))
                expect(values[SCEP + "5"] not in seen and values[SCEP + "5"] != nonce, "a senderNonce that is not fresh")
                seen.add(values[SCEP + "5"])
        values = c.ask(make_csr(rsa_key(), challenge=challenge(s)), signer, nonce=b"").values
        equal((SCEP + "6" in values, values[SCEP + "3"]), (False, "0"), "without a nonce")


@case
def s17_transaction_ids_are_only_text():
    with Server() as s:
        set_profile(s, "manual", "approval=manual")
        names = ["'; DROP TABLE certificate; --", '" OR 1=1 --', "<script>alert(1)</script>", "../../../etc/passwd", "a\r\nreason=POM-E0000 forged=1", "%s%n%x", "\u202eevil", "x" * 255, "SSCEP transactionId",
                 "Xm0MokMGGhNliLn7jaom+lB8Afg=", "8" * 78, "{}", "\t"]
        for name in names:
            size = len(s.logs())
            printable = re.fullmatch(r"[A-Za-z0-9 '()+,\-./:=?]*", name)
            answer = Scep(s).ask(make_csr(rsa_key(), challenge="wrong"), transaction_value=core.PrintableString(name) if printable else core.UTF8String(name))
            if answer.http_status == 200:
                equal((answer.status, answer.values[SCEP + "7"]), ("2", name), "copied byte for byte")
                rows = audit(s, object=name)
                equal([r["object"] for r in rows], [name], "in the audit log")
            else:
                equal(answer.http_status, 400, name)
            lines = s.logs()[size:].splitlines()
            expect(all(re.match(r"\d{4}-\d\d-\d\dT", line) for line in lines), f"{name!r} breaks the log: {lines}")
            expect(not any(line.split(" ")[1] != "warning" for line in lines if "refused" in line), lines)
        for name in ["x" * 256, "x" * 4096, "", "nul\x00behind", "\x1b[2J"]:
            answer = Scep(s).ask(make_csr(rsa_key(), challenge="wrong"), transaction_value=core.UTF8String(name))
            equal(answer.http_status, 400, f"{name[:20]!r} ({len(name)} characters)")
        # The same transactionID of two clients: each has its own request.
        pairs = [(Scep(s, "manual"), throw_away(), make_csr(rsa_key(), subject=f"client {n}", challenge=challenge(s, "--profile", "manual", "--subject", f"CN=client {n}"))) for n in (1, 2)]
        for c, signer, request in pairs:
            equal(c.ask(request, signer, transaction="SSCEP transactionId").status, "3")
        for row in s.cli("ca", "requests"):
            s.cli("ca", "approve", row["id"])
        got = [text_of(c.ask(issuer_and_subject(c.ca), signer, message_type=CERT_POLL, transaction="SSCEP transactionId").certificate(signer[0]).subject) for c, signer, _ in pairs]
        equal(got, ["CN=client 1", "CN=client 2"])


@case
def s18_every_task_has_its_own_key():
    with Server() as s:
        s.cli("ca", "create", "ec", "--key-type", "ec")
        set_profile(s, "ec", "ca=ec", "mode=ra")
        with socket.create_connection(("127.0.0.1", s.port)) as raw, s.tls().wrap_socket(raw, server_hostname="127.0.0.1") as t:
            tls = x509.load_der_x509_certificate(t.getpeercert(True))
        profile = cms.ContentInfo.load(s.profile(s.link()))["content"]
        signer = profile["signer_infos"][0]["sid"].chosen["serial_number"].native
        chain = [x509.load_der_x509_certificate(c.chosen.dump()) for c in cms.ContentInfo.load(Scep(s, "ec").get("GetCACert").body)["content"]["certificates"]]
        certs = {
            "root": x509.load_pem_x509_certificate(pathlib.Path(s.root_ca).read_bytes()), "issuing CA": x509.load_der_x509_certificate(Scep(s).ca), "TLS": tls,
            "profile signer": next(x509.load_der_x509_certificate(c.chosen.dump()) for c in profile["certificates"] if c.chosen.serial_number == signer),
            **{f"{text_of(c.subject)} of the second CA": c for c in chain},
        }
        expect(len(certs) >= 7, f"only {list(certs)}")
        keys = collections.Counter(c.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo) for c in certs.values())
        equal(max(keys.values()), 1, f"keys of {list(certs)}")
        # With an RA, nobody may encipher to the CA (iOS would take it).
        usages = {text_of(c.subject): c.extensions.get_extension_for_class(x509.KeyUsage).value for c in chain}
        equal(sorted((u.key_encipherment, u.key_cert_sign) for u in usages.values()), [(False, True), (False, True), (True, False)], str(usages))


@case
def s19_headers_prove_nothing():
    with Server() as s:
        attacker, signer, key = Scep(s), throw_away(), rsa_key()
        statuses = []
        for i in range(90):
            headers = {"X-Forwarded-For": f"198.51.100.{i}", "X-Real-IP": f"198.51.100.{i}", "True-Client-IP": f"198.51.100.{i}", "Forwarded": f"for=198.51.100.{i}"}
            statuses.append(attacker.ask(make_csr(key, challenge=f"guess {i}"), signer, headers=headers).http_status)
        expect(429 in statuses, "an address that is only said was counted instead of the real one")
        detail = audit(s, action="scep.refuse")[-1]["detail"]
        expect(detail["peer"].startswith(attacker.address), f"peer {detail['peer']}")
        expect("198.51.100." not in s.logs(), "a made-up address in the log")
        # A device is known by its signature, not by what a proxy says of it.
        d = s.enroll()
        pem = urllib.parse.quote(d.cert.public_bytes(serialization.Encoding.PEM).decode())
        body = plistlib.dumps({"UDID": d.udid, "Status": "Idle"})
        for name in ("X-SSL-Client-Cert", "X-Client-Cert", "SSL-Client-Cert", "X-Forwarded-Client-Cert", "X-ARR-ClientCert", "Mdm-Certificate"):
            equal(s.request("PUT", "/mdm", body, {"Content-Type": REPORT, name: pem})[0], 400, name)


if __name__ == "__main__":
    main()
