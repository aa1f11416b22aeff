"""SCEP profiles: who issues, what, for how long, and who decides; challenges as administrators make them."""
import hmac
import http.server

from harness import *

STATIC = "correct horse battery staple"
HOOK = "webhook secret of 32 characters!"
SUBJECT_ALT_NAME = "2.5.29.17"


def profile(s, name, *settings, input=None):
    return s.cli("scep-profile", "set", name, *settings, input=input)


def challenge(s, *args):
    return s.cli("challenge", "new", *args)["challenge"]


def ec_key():
    return ec_keys.generate_private_key(ec_keys.SECP256R1())


def audit(s, **query):
    status, reply, _ = s.api("GET", "/api/v1/audit?" + urllib.parse.urlencode({"limit": 1000, **query}))
    equal(status, 200, f"audit: {reply}")
    return reply["items"]


def refused(s, code, answer, fail_info="2"):
    """A FAILURE with CODE in log and audit log; what the audit log says."""
    size = len(s.logs())
    got = answer()
    equal((got.http_status, got.status, got.fail_info), (200, "2", fail_info), f"{got.body[:100] if got.http_status != 200 else ''} {s.logs()[size:]}")
    expect(f"reason={code}" in s.logs()[size:], s.logs()[size:])
    rows = [r for r in audit(s, action="scep.refuse", object=got.values[SCEP + "7"]) if r["detail"]["incident"] == got.incident]
    equal([r["detail"]["reason"] for r in rows], [code], "rows in the audit log")
    return rows[0]["detail"]["why"]


def sans(cert):
    try:
        return sorted(str(n.value) for n in cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def days(cert):
    return round((cert.not_valid_after - cert.not_valid_before).total_seconds() / 86400)


def certs_of(answer):
    """What GetCACert gave."""
    if answer.headers["content-type"] == "application/x-x509-ca-cert":
        return [x509.load_der_x509_certificate(answer.body)]
    equal(answer.headers["content-type"], "application/x-x509-ca-ra-cert", "media type")
    return [x509.load_der_x509_certificate(c.chosen.dump()) for c in cms.ContentInfo.load(answer.body)["content"]["certificates"]]


def verify(cert, issuer):
    equal(cert.issuer, issuer.subject, "issuer")
    how = (ec_keys.ECDSA(cert.signature_hash_algorithm),) if isinstance(issuer.public_key(), ec_keys.EllipticCurvePublicKey) else (padding.PKCS1v15(), cert.signature_hash_algorithm)
    issuer.public_key().verify(cert.signature, cert.tbs_certificate_bytes, *how)


class Client(Scep):
    """Asks in the way of an EC client: the request's key may be of any kind, the message is signed with an RSA key."""

    def cert(self, text, key=None, subject="somebody", extensions=(), signer=None, **options):
        key, signer = key or rsa_key(), signer or throw_away()
        found = self.ask(make_csr(key, subject, text, extensions=extensions), signer, **options).certificate(signer[0])
        equal(found.public_key().public_numbers(), key.public_key().public_numbers(), "the key")
        return found


# ---------------------------------------------------------------- who issues what

@case
def profiles_have_their_own_ca_life_keys_and_names():
    with Server() as s:
        s.cli("ca", "create", "lab", "--key-type", "ec")
        s.cli("ca", "create", "shop")
        profile(s, "lab", "ca=lab", "days=30", "key_types=ec", "subject=O=Lab,OU={profile},CN={cn}", "sans=dns:{cn}.lab.example uri:urn:x:{id}")
        profile(s, "shop", "ca=shop", "days=7", "key_types=rsa", "rsa_bits_min=3072", "subject=CN={device},O={organization}")
        lab, shop = Client(s, "lab"), Client(s, "shop")
        lab_certs = certs_of(lab.get("GetCACert"))
        equal(len(lab_certs), 3, "RA, issuing CA and root")
        issuing = next(c for c in lab_certs if isinstance(c.public_key(), ec_keys.EllipticCurvePublicKey) and c.subject != c.issuer)
        made = s.cli("challenge", "new", "--profile", "lab", "--device", "bench-7", "--san", "email:lab@example.org")
        cert = lab.cert(made["challenge"], ec_key())
        verify(cert, issuing)
        equal((cert.subject.rfc4514_string(), days(cert)), ("CN=bench-7,OU=lab,O=Lab", 30))
        equal(sans(cert), sorted(["bench-7.lab.example", "lab@example.org", "urn:x:" + made["id"]]))
        equal((made["subject"], made["url"]), ("O=Lab,OU=lab,CN=bench-7", s.url + "/scep/lab"), "what the command says")
        refused(s, "POM-E2203", lambda: lab.ask(make_csr(rsa_key(), challenge=challenge(s, "--profile", "lab", "--device", "x"))))
        big = rsa.generate_private_key(65537, 3072)
        cert = shop.cert(challenge(s, "--profile", "shop", "--device", "till, 1"), big)
        verify(cert, certs_of(shop.get("GetCACert"))[0])
        equal((cert.subject.rfc4514_string(), days(cert), sans(cert)), ("O=Test Org,CN=till\\, 1", 7, []))
        refused(s, "POM-E2203", lambda: shop.ask(make_csr(rsa_key(), challenge=challenge(s, "--profile", "shop", "--device", "x"))))
        refused(s, "POM-E2203", lambda: shop.ask(make_csr(ec_key(), challenge=challenge(s, "--profile", "shop", "--device", "x"))))
        # The challenge of one profile is none for another, and the default profile is as it was.
        refused(s, "POM-E3101", lambda: lab.ask(make_csr(ec_key(), challenge=challenge(s, "--profile", "shop", "--device", "x"))))
        cert = Client(s).cert(challenge(s, "--subject", "CN=plain"))
        equal((days(cert), cert.subject.rfc4514_string()), (730, "CN=plain"))
        equal({p["name"]: (p["ca"], p["days"]) for p in s.cli("scep-profile", "list")}, {"default": ("default", 730), "lab": ("lab", 30), "shop": ("shop", 7)})
        # What is taken away goes back to the standard; a profile that is removed is not there.
        profile(s, "shop", "days=")
        equal(s.cli("scep-profile", "show", "shop")["days"], 730)
        s.cli("scep-profile", "remove", "shop")
        equal(s.request("GET", "/scep/shop?operation=GetCACaps", plain=True)[0], 404)
        s.restart()
        equal(Client(s, "lab").cert(challenge(s, "--profile", "lab", "--device", "x"), ec_key()).issuer, issuing.subject, "after a restart")


@case
def what_cannot_be_a_profile_is_refused():
    with Server() as s:
        for settings, text in [
            (["challenge=none"], "anybody"), (["challenge=none", "approval=auto"], "anybody"), (["challenge=static"], "static_challenge"), (["challenge=static", "static_challenge=short"], "12 characters"),
            (["challenge=webhook", "webhook_secret=" + HOOK], "webhook_url"), (["challenge=webhook", "webhook_url=https://example.org/", "webhook_secret=short"], "16 characters"),
            (["challenge=webhook", "webhook_url=http://192.0.2.1/", "webhook_secret=" + HOOK], "https"), (["challenge=webhook", "webhook_url=http://127.0.0.1.example.org/", "webhook_secret=" + HOOK], "https"),
            (["ca=nowhere"], "no active CA"), (["relay=nowhere"], "no outside CA"), (["subject=no name"], ""), (["sans=smoke:signal"], "must begin with"), (["days=0"], "1 to"), (["days=soon"], "whole number"),
            (["colour=red"], "no profile setting"), (["key_types=dsa"], "one of"), (["legacy=false", "legacy_des=true"], "single DES"),
        ]:
            code, out, err = s.cli_code("scep-profile", "set", "new", *settings)
            expect(code == 1 and text in err and HOOK not in err, f"{settings}: {code} {out} {err}")
        for name in ("Big", ".hidden", "a/b", "a" * 65, "ü"):
            expect(s.cli_code("scep-profile", "set", name, "days=1")[0] != 0, name)
        for settings in ({}, {"url": "ftp://example.org/"}, {"url": "https://user@example.org/"}, {"url": "https://example.org/scep", "ndes_url": "http://192.0.2.1/"}, {"url": "https://example.org/scep", "colour": "red"}):
            equal(s.api("PUT", "/api/v1/outside-cas/new", settings)[0], 400, f"outside CA {settings}")
        equal([p["name"] for p in s.cli("scep-profile", "list")], ["default"])
        for method, path in (("GET", "/scep/new?operation=GetCACaps"), ("GET", "/scep/new?operation=GetCACert"), ("POST", "/scep/new?operation=PKIOperation")):
            equal(s.request(method, path, b"x" if method == "POST" else None, plain=True)[0], 404, path)


@case
def names_must_be_those_of_the_record_where_it_is_strict():
    with Server() as s:
        profile(s, "strict", "strict_names=true", "sans=dns:{device}.example")
        c, new = Client(s, "strict"), ["--profile", "strict", "--subject", "CN=alpha", "--device", "alpha"]

        def ext(*names):
            return [(SUBJECT_ALT_NAME, False, tlv(0x30, *[tlv(0x82, n.encode()) for n in names]))]
        for subject, names in [("beta", []), ("alpha", ["beta.example"]), ("alpha", ["alpha.example", "beta.example"])]:
            refused(s, "POM-E3110", lambda: c.ask(make_csr(rsa_key(), subject, challenge(s, *new), extensions=ext(*names) if names else ())))
        for subject, names in [("alpha", ["alpha.example"]), ("alpha", []), (None, [])]:
            cert = c.cert(challenge(s, *new), subject=subject, extensions=ext(*names) if names else ())
            equal((cert.subject.rfc4514_string(), sans(cert)), ("CN=alpha", ["alpha.example"]), f"{subject} {names}")


@case
def what_a_profile_says_of_its_ca():
    with Server() as s:
        s.cli("ca", "create", "ra", "--ra")
        for name, settings in {"single": ["mode=single"], "chain": ["mode=chain"], "ra": ["ca=ra"], "ra-said": ["ca=ra", "mode=ra"], "wanting": ["mode=ra"]}.items():
            profile(s, name, *settings)
        sizes = {name: len(certs_of(Scep(s, name).get("GetCACert"))) for name in ("single", "chain", "ra", "ra-said", "wanting")}
        equal(sizes, {"single": 1, "chain": 2, "ra": 3, "ra-said": 3, "wanting": 2}, "certificates by mode")
        for name in sizes:
            c = Client(s, name)
            issuing = next(x for x in certs_of(c.get("GetCACert")) if x.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign and (x.subject != x.issuer or name == "single"))
            verify(c.cert(challenge(s, "--profile", name)), issuing)
        # The CA's certificate in the answer, where it is wanted: only beside another signer's is there one to add.
        for wanted in (False, True):
            profile(s, "ra", f"ca_in_reply={str(wanted).lower()}")
            answer = Scep(s, "ra").ask(make_csr(rsa_key(), challenge=challenge(s, "--profile", "ra")))
            equal((answer.status, len(cms.ContentInfo.load(answer.body)["content"]["certificates"])), ("0", 2 if wanted else 1), f"certificates beside the answer {wanted}")
        equal(Scep(s, "single").get("GetCACaps").body, b"AES\nDES3\nSHA-1\nSHA-256\nSHA-384\nSHA-512\nPOSTPKIOperation\nRenewal\nSCEPStandard\n")
        profile(s, "single", "legacy=false")
        equal(Scep(s, "single").get("GetCACaps").body, b"AES\nSHA-256\nSHA-384\nSHA-512\nPOSTPKIOperation\nRenewal\nSCEPStandard\n")
        equal(Scep(s, "single").get("GetNextCACert").http_status, 404)


@case
def paths_that_clients_use():
    with Server() as s:
        profile(s, "phones", "days=9")
        for path, life in [(p, 730) for p in ("/scep", "/scep/", "/scep/default", "/scep/pkiclient.exe", "/scep/cgi-bin/pkiclient.exe", "/cgi-bin/pkiclient.exe", "/certsrv/mscep/mscep.dll",
                                              "/certsrv/mscep/mscep.dll/pkiclient.exe", "/scep/certsrv/mscep/mscep.dll")] + \
                          [(p, 9) for p in ("/scep/phones", "/scep/phones/", "/scep/phones/pkiclient.exe", "/scep/phones/cgi-bin/pkiclient.exe", "/scep/phones/anything/at/all")]:
            c = Client(s)
            c.path = path
            equal(c.get("GetCACaps", "").http_status, 200, path)
            c.ca = c.recipient()
            name = ["--profile", "phones"] if life == 9 else []
            equal(days(c.cert(challenge(s, *name))), life, path)
        for path in ("/scep/nothing", "/scep/nothing/pkiclient.exe", "/cgi-bin/other.exe", "/certsrv/mscep/other.dll"):
            equal(s.request("GET", path + "?operation=GetCACert", plain=True)[0], 404, path)


@case
def a_clock_that_is_wrong():
    with Server() as s:
        profile(s, "timed", "enforce_time=true")
        now = datetime.datetime.now(datetime.timezone.utc)

        def at(hours):
            return [cms.CMSAttribute({"type": "signing_time", "values": [cms.Time({"utc_time": now + datetime.timedelta(hours=hours)})]})]
        for hours in (-25, 25, 24 * 400):
            refused(s, "POM-E3109", lambda: Scep(s, "timed").ask(make_csr(rsa_key(), challenge=challenge(s, "--profile", "timed")), attributes=at(hours)), "3")
        for attributes in (at(-23), at(23), []):
            Client(s, "timed").cert(challenge(s, "--profile", "timed"), attributes=attributes)
        Client(s).cert(challenge(s), attributes=at(-24 * 4000))


# ---------------------------------------------------------------- challenges

@case
def challenges_that_administrators_make():
    with Server() as s:
        profile(s, "phones", "key_types=rsa,ec")
        made = s.cli("challenge", "new", "--profile", "phones", "--subject", "O=Example,CN=printer", "--san", "dns:printer.example", "--san", "ip:192.0.2.7", "--ttl", "2h", "--uses", "2", "--key-type", "ec")
        equal(sorted(made), ["challenge", "expires", "id", "sans", "subject", "url"])
        left = datetime.datetime.fromisoformat(made["expires"].replace("Z", "+00:00")) - datetime.datetime.now(datetime.timezone.utc)
        expect(datetime.timedelta(minutes=119) < left <= datetime.timedelta(hours=2), f"two hours: {left}")
        expect(len(bytes.fromhex(made["challenge"])) >= 16, "128 bits")
        c = Client(s, "phones")
        refused(s, "POM-E2203", lambda: c.ask(make_csr(rsa_key(), challenge=made["challenge"])))
        for _ in range(2):
            cert = c.cert(made["challenge"], ec_key(), subject="anybody")
            equal((cert.subject.rfc4514_string(), sans(cert)), ("CN=printer,O=Example", ["192.0.2.7", "printer.example"]))
        refused(s, "POM-E3103", lambda: c.ask(make_csr(ec_key(), challenge=made["challenge"])))
        short, gone, fresh = (s.cli("challenge", "new", *more) for more in (["--ttl", "1s"], [], []))
        s.cli("challenge", "revoke", gone["id"])
        time.sleep(1.1)
        refused(s, "POM-E3102", lambda: Scep(s).ask(make_csr(rsa_key(), challenge=short["challenge"])))
        refused(s, "POM-E3104", lambda: Scep(s).ask(make_csr(rsa_key(), challenge=gone["challenge"])))
        listed = {r["id"]: r for r in s.cli("challenge", "list")}
        equal({listed[m["id"]]["state"] for m in (made, short, gone, fresh)}, {"used", "expired", "revoked", "open"})
        equal((listed[made["id"]]["uses"], listed[made["id"]]["used"], listed[made["id"]]["key_type"], listed[made["id"]]["may_enroll"]), (2, 2, "ec", False))
        for wrong in (["--ttl", "400d"], ["--ttl", "soon"], ["--uses", "0"], ["--key-type", "dsa"], ["--san", "carrier:pigeon"], ["--subject", "nonsense"], ["--profile", "nowhere"]):
            expect(s.cli_code("challenge", "new", *wrong)[0] != 0, f"{wrong}")
        # Of the secret only the hash is kept; it is said once.
        s.stop()
        files = s.store.content()
        for m in (made, short, gone, fresh):
            expect(m["challenge"].encode() not in files and m["challenge"] not in json.dumps(listed) + s.logs(), "a challenge is stored or shown")
            expect(hashlib.sha256(m["challenge"].encode()).digest() in files, "its hash is not")


class Stranger(Device):
    """A device without a link: its administrator has told it the server's address by other means."""

    def __init__(self, server, identity):
        super().__init__(server)
        self.mdm, self.topic = {"ServerURL": server.url + "/mdm"}, TOPIC
        self.key, self.cert = identity


@case
def a_device_enrolls_without_a_link_only_where_it_may():
    with Server() as s:
        for enroll in (False, True):
            made = s.cli("challenge", "new", "--subject", "CN=device", *(["--enroll"] if enroll else []))
            device = Stranger(s, Scep(s).enroll(made["challenge"]))
            equal(device.authenticate()[0], 200 if enroll else 403, f"--enroll {enroll}")
            if enroll:
                equal((device.token_update()[0], device.idle()), (200, (200, b"")), "the device is enrolled")
                equal(s.cli("device", "show", device.udid)["state"], "enrolled")
                # The certificate is this device's from now on.
                other = Stranger(s, (device.key, device.cert))
                equal(other.authenticate()[0], 403, "another device with it")
        # A profile whose certificates may.
        for may in ("false", "true"):
            profile(s, "open-" + may, "challenge=static", "static_challenge=@-", "may_enroll=" + may, input=STATIC)
            device = Stranger(s, Scep(s, "open-" + may).enroll(STATIC))
            equal(device.authenticate()[0], 200 if may == "true" else 403, f"may_enroll={may}")


@case
def one_challenge_for_all():
    with Server() as s:
        warning = "this SCEP profile has a static challenge"

        def warnings():
            return len([line for line in s.logs().splitlines() if " warning " in line and warning in line and "profile=shared" in line])
        profile(s, "shared", "challenge=static", "static_challenge=@-", "subject=CN={cn},OU={profile}", input=STATIC + "\n")
        equal(warnings(), 1, "a warning when it is set")
        key, c = rsa_key(), Client(s, "shared")
        first = c.cert(STATIC, key, "alpha")
        equal(first.subject.rfc4514_string(), "OU=shared,CN=alpha")
        # A lost answer is fetched again, under another transactionID; another key gets another certificate.
        equal(c.cert(STATIC, key, "alpha"), first)
        expect(c.cert(STATIC, subject="beta") != first, "another")
        for text in (STATIC + "x", STATIC[:-1], STATIC.upper(), "", None):
            refused(s, "POM-E3101", lambda: Scep(s, "shared").ask(make_csr(rsa_key(), challenge=text)))
        s.restart()
        equal(warnings(), 2, "a warning at the start")
        equal(Client(s, "shared").cert(STATIC, key, "alpha"), first)
        shown = json.dumps([s.cli("scep-profile", "show", "shared"), audit(s)])
        s.stop()
        files = b"".join(pathlib.Path(s.data, f).read_bytes() for f in os.listdir(s.data) if os.path.isfile(os.path.join(s.data, f)))
        expect(STATIC.encode() not in files and STATIC not in s.logs() + shown, "the challenge is shown or stored in clear")


# ---------------------------------------------------------------- a service decides

class Hook:
    """The decision service of docs/webhook.md; ANSWER(question) → (status, headers, body)."""

    def __init__(self):
        hook = self
        self.questions, self.answer = [], lambda question: (200, {}, {"allow": True})

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                parts = dict(part.split("=", 1) for part in self.headers["Pomona-Signature"].split(","))
                wanted = hmac.new(HOOK.encode(), parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
                genuine = hmac.compare_digest(wanted, parts["v1"]) and abs(time.time() - int(parts["t"])) < 300
                hook.questions.append((genuine, self.headers["Content-Type"], json.loads(body)))
                status, headers, reply = hook.answer(hook.questions[-1][2])
                data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/decide"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@case
def a_service_decides():
    with Server() as s, contextlib.closing(Hook()) as hook:
        profile(s, "asked", "challenge=webhook", "webhook_url=" + hook.url, "webhook_secret=@-", "webhook_timeout_s=1", "sans=dns:{cn}.example", "may_enroll=true", input=HOOK)
        c, key, request = Client(s, "asked"), rsa_key(), "what the inventory knows"
        cert = c.cert(request, key, "phone-7", transaction="0A1B")
        equal((cert.subject.rfc4514_string(), sans(cert)), ("CN=phone-7,O=Test Org", ["phone-7.example"]))
        genuine, kind, question = hook.questions[0]
        expect(genuine and kind == "application/json", "the signature of the question")
        equal({k: question[k] for k in ("type", "profile", "transaction_id", "subject", "sans", "challenge", "peer")},
              {"type": "enroll", "profile": "asked", "transaction_id": "0A1B", "subject": "O=Test Org,CN=phone-7", "sans": ["dns:phone-7.example"], "challenge": request, "peer": c.address})
        csr = base64.b64decode(question["csr"])
        expect(key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo) in csr and request.encode() in csr, "the request as it came")
        # The same key again has what it got.
        equal((c.cert(request, key, "phone-7"), len(hook.questions)), (cert, 1), "a lost answer is fetched again")
        # Other names.
        hook.answer = lambda q: (200, {}, {"allow": True, "subject": "CN=named,O=Example", "sans": ["dns:named.example", "uri:urn:x:1"], "unknown": 1})
        cert = c.cert("x", subject="other")
        equal((cert.subject.rfc4514_string(), sans(cert)), ("O=Example,CN=named", ["named.example", "urn:x:1"]))
        hook.answer = lambda q: (200, {}, {"allow": True, "subject": None, "sans": []})
        cert = c.cert("x", subject="other")
        equal((cert.subject.rfc4514_string(), sans(cert)), ("CN=other,O=Test Org", []))
        equal(Stranger(s, Scep(s, "asked").enroll("x")).authenticate()[0], 200, "may_enroll")
        nonces = [q["nonce"] for _, _, q in hook.questions]
        equal(len(set(nonces)), len(nonces), "nonces")


@case
def a_service_that_does_not_say_yes_says_no():
    with Server() as s, contextlib.closing(Hook()) as hook:
        profile(s, "asked", "challenge=webhook", "webhook_url=" + hook.url, "webhook_secret=@-", "webhook_timeout_s=1", input=HOOK)
        before = s.metric("pomona_certificates_issued_total")

        def slow(question):
            time.sleep(2)
            return 200, {}, {"allow": True}
        for answer, text in [
            (lambda q: (200, {}, {"allow": False, "reason": "not in the inventory"}), "not in the inventory"), (lambda q: (200, {}, {"allow": "true"}), ""), (lambda q: (200, {}, {"allow": 1}), ""),
            (lambda q: (200, {}, {}), ""), (lambda q: (200, {}, [True]), ""), (lambda q: (200, {}, b'{"allow": true'), ""), (lambda q: (200, {}, b'{"allow": true, "allow": true}'), ""), (lambda q: (200, {}, b""), ""),
            (lambda q: (500, {}, {"allow": True}), "500"), (lambda q: (201, {}, {"allow": True}), "201"), (lambda q: (302, {"Location": hook.url}, {"allow": True}), "302"),
            (lambda q: (200, {}, {"allow": True, "subject": "no name"}), ""), (lambda q: (200, {}, {"allow": True, "sans": ["carrier:pigeon"]}), ""), (lambda q: (200, {}, {"allow": True, "sans": "dns:a"}), ""),
            (lambda q: (200, {}, b'{"allow": true, "x": "' + b"x" * 70000 + b'"}'), ""), (slow, ""),
        ]:
            hook.answer = answer
            asked = len(hook.questions)
            why = refused(s, "POM-E3105", lambda: Scep(s, "asked").ask(make_csr(rsa_key(), challenge="my secret word")))
            expect(text in why and HOOK not in why and "my secret word" not in why, why)
            equal(len(hook.questions), asked + 1, "questions")
        hook.close()
        refused(s, "POM-E3105", lambda: Scep(s, "asked").ask(make_csr(rsa_key(), challenge="my secret word")))
        equal(s.metric("pomona_certificates_issued_total"), before, "certificates")
        expect("my secret word" not in s.logs() and HOOK not in s.logs(), "a secret is in the log")
        # A challenge of ours needs no service.
        Client(s, "asked").cert(challenge(s, "--profile", "asked"))


@case
def a_service_decides_on_renewals_too():
    with Server() as s, contextlib.closing(Hook()) as hook:
        profile(s, "asked", "challenge=webhook", "webhook_url=" + hook.url, "webhook_secret=@-", "renewal_percent=0", input=HOOK)
        c = Client(s, "asked")
        identity = Scep(s, "asked").enroll("x")
        for message_type in (RENEWAL_REQ, PKCS_REQ):
            hook.answer = lambda q: (200, {}, {"allow": False, "reason": "sold"})
            expect("sold" in refused(s, "POM-E3105", lambda: c.renew(identity, message_type=message_type)), "the reason")
            equal((hook.questions[-1][2]["type"], hook.questions[-1][2]["subject"]), ("renew", "O=Test Org,CN=com.apple.security.scep.test"))
        hook.answer = lambda q: (200, {}, {"allow": True})
        renewed = c.renew(identity).certificate(identity[0])
        equal(renewed.subject, identity[1].subject)


# ---------------------------------------------------------------- a person decides

def waiting(s, state="pending"):
    return s.cli("ca", "requests", "--state", state)


@case
def a_person_decides():
    with Server() as s:
        profile(s, "asked", "challenge=none", "approval=manual", "may_enroll=true")
        c, key, signer = Client(s, "asked"), rsa_key(), throw_away()
        options = {"transaction": "5E1F", "ca": c.ca}

        def poll(signer_=signer, transaction="5E1F"):
            return c.ask(issuer_and_subject(c.ca, "laptop"), signer_, message_type=CERT_POLL, transaction=transaction)
        first = c.ask(make_csr(key, "laptop"), signer, **options)
        equal((first.status, first.content, first.fail_info), ("3", None, None), "PENDING")
        equal(poll().status, "3")
        rows = waiting(s)
        equal([(r["subject"], r["profile"], r["transaction_id"], r["peer"]) for r in rows], [("CN=laptop", "asked", "5E1F", c.address)])
        # Another who says the transaction, and one who says another, find nothing.
        refused(s, "POM-E3108", lambda: poll(throw_away(rsa.generate_private_key(65537, 2048))), "4")
        refused(s, "POM-E3108", lambda: poll(transaction="5E20"), "4")
        # What comes again with a new signer is asked for with that.
        moved = throw_away()
        equal((c.ask(make_csr(key, "laptop"), moved, transaction="7777").status, len(waiting(s))), ("3", 1), "one request")
        equal(poll(moved, "7777").status, "3", "a poll with the new signer")
        # Approved is this name: with the same key another name is another request.
        s.cli("ca", "approve", rows[0]["id"], "--reason", "it is Ann's")
        equal(c.ask(make_csr(key, "the boss"), signer).status, "3", "another name")
        equal([r["subject"] for r in waiting(s)], ["CN=the boss"])
        cert = poll(moved, "7777").certificate(moved[0])
        equal(cert.subject.rfc4514_string(), "CN=laptop,O=Test Org")
        equal(c.ask(make_csr(key, "laptop"), signer).certificate(signer[0]), cert, "the same again")
        equal(poll(moved, "7777").certificate(moved[0]), cert, "polled again")
        row = next(r for r in s.cli("ca", "requests") if r["id"] == rows[0]["id"])
        equal((row["state"], row["reason"], row["certificate_serial"]), ("issued", "it is Ann's", f"{cert.serial_number:032X}"))
        equal(Stranger(s, (key, cert)).authenticate()[0], 200, "may_enroll")
        # Denied stays denied.
        other = rsa.generate_private_key(65537, 2048)
        equal(c.ask(make_csr(other, "an intruder"), signer).status, "3")
        boss = next(r["id"] for r in waiting(s) if r["subject"] == "CN=an intruder")
        s.cli("ca", "deny", boss, "--reason", "nobody knows it")
        for _ in range(2):
            refused(s, "POM-E3105", lambda: c.ask(make_csr(other, "an intruder"), signer))
        for again in ("approve", "deny"):
            code, _, err = s.cli_code("ca", again, boss)
            expect(code == 1 and "denied already" in err, err)
        equal(sorted(a["action"] for a in audit(s, object=boss)), ["scep.deny", "scep.pending"], "the audit log")
        # Asked for again instead of polled, over a restart.
        late = rsa_key()
        equal(c.ask(make_csr(late, "late"), signer).status, "3")
        s.restart()
        s.cli("ca", "approve", next(r["id"] for r in waiting(s) if r["subject"] == "CN=late"))
        Client(s, "asked").cert(None, late, "late")


@case
def a_person_decides_about_a_challenge():
    with Server() as s:
        profile(s, "asked", "approval=manual")
        c, signer = Client(s, "asked"), throw_away()
        new = ["--profile", "asked", "--subject", "CN=named"]
        text, key, other = challenge(s, *new), rsa_key(), rsa.generate_private_key(65537, 2048)
        refused(s, "POM-E3101", lambda: c.ask(make_csr(key, challenge="wrong"), signer))
        equal(waiting(s), [], "without a challenge nobody is asked")
        for k in (key, other):
            equal(c.ask(make_csr(k, challenge=text), signer).status, "3")
        rows = waiting(s)
        equal([r["subject"] for r in rows], ["CN=named"] * 2, "two keys wait, for the names that they would get")
        for row in rows:
            s.cli("ca", "approve", row["id"])
        equal(c.cert(text, key).subject.rfc4514_string(), "CN=named")
        refused(s, "POM-E3103", lambda: c.ask(make_csr(other, challenge=text), signer))
        # What was approved for one challenge is not for another.
        second = challenge(s, "--profile", "asked", "--subject", "CN=boss")
        equal(c.ask(make_csr(other, challenge=second), signer).status, "3", "another challenge")
        # A challenge that is revoked while a person thinks gives nothing.
        made, key = s.cli("challenge", "new", *new), rsa_key()
        equal(c.ask(make_csr(key, challenge=made["challenge"]), signer).status, "3")
        row = next(r for r in waiting(s) if r["challenge"] == made["id"])
        s.cli("challenge", "revoke", made["id"])
        s.cli("ca", "approve", row["id"])
        refused(s, "POM-E3104", lambda: c.ask(make_csr(key, challenge=made["challenge"]), signer))
        # The challenge in what waits is not in clear.
        s.stop()
        files = s.store.content()
        expect(text.encode() not in files and second.encode() not in files, "a challenge is stored in clear")


# ---------------------------------------------------------------- renewal

@case
def renewals_as_the_profile_has_them():
    with Server() as s:
        for name, settings in {"late": [], "any": ["renewal_percent=0"], "whole": ["renewal_percent=100"], "same": ["renewal_percent=100", "renewal_same_key=true"],
                               "proved": ["renewal_percent=0", "renewal_challenge=true"]}.items():
            profile(s, name, *settings)

        def identity(name):
            return Scep(s, name).enroll(challenge(s, "--profile", name, "--subject", "CN=device", "--san", "dns:device.example"))

        def client(name):
            return Client(s, name)
        # Only in the last third of its life, or in the part that is set.
        mine = identity("late")
        expect("too early" in refused(s, "POM-E3107", lambda: client("late").renew(mine)), "why")
        for name in ("any", "whole"):
            mine = identity(name)
            renewed = client(name).renew(mine).certificate(mine[0])
            equal((renewed.subject, sans(renewed)), (mine[1].subject, ["device.example"]))
            refused(s, "POM-E3107", lambda: client(name).renew(mine, rsa.generate_private_key(65537, 2048)))
        # Expired by the register, although inside the window of another profile.
        mine = identity("same")
        equal(client("same").renew(mine, mine[0]).certificate(mine[0]).public_key().public_numbers(), mine[0].public_key().public_numbers())
        mine = identity("whole")
        expect("new key" in refused(s, "POM-E3107", lambda: client("whole").renew(mine, mine[0])), "why")
        # With a challenge besides.
        mine = identity("proved")
        for message_type in (RENEWAL_REQ, PKCS_REQ):
            refused(s, "POM-E3101", lambda: client("proved").renew(mine, message_type=message_type))
        text = challenge(s, "--profile", "proved", "--subject", "CN=device")
        signer = mine
        cert = client("proved").ask(make_csr(rsa_key(), challenge=text), signer, message_type=RENEWAL_REQ).certificate(mine[0])
        equal(cert.subject.rfc4514_string(), "CN=device")
        refused(s, "POM-E3103", lambda: client("proved").ask(make_csr(rsa.generate_private_key(65537, 2048), challenge=text), signer, message_type=RENEWAL_REQ))
        # A static one is good for both.
        profile(s, "both", "renewal_percent=0", "renewal_challenge=true", "challenge=static", "static_challenge=@-", "subject=CN={cn}", input=STATIC)
        mine = Scep(s, "both").enroll(STATIC)
        refused(s, "POM-E3101", lambda: client("both").renew(mine))
        refused(s, "POM-E3101", lambda: client("both").ask(make_csr(rsa_key(), challenge=STATIC + "!"), mine, message_type=RENEWAL_REQ))
        new_key = rsa.generate_private_key(65537, 2048)
        equal(client("both").ask(make_csr(new_key, challenge=STATIC), mine, message_type=RENEWAL_REQ).certificate(mine[0]).subject, mine[1].subject)
        # The last third, by a certificate whose life is nearly over in the register.
        mine = identity("late")
        now = int(time.time() * 1000)
        with s.stopped() as execute:
            equal(execute("UPDATE certificate SET not_before = ?, not_after = ? WHERE serial = ?", now - 70 * 86400000, now + 30 * 86400000, f"{mine[1].serial_number:032X}"), 1)
        equal(client("late").renew(mine).certificate(mine[0]).subject, mine[1].subject)


if __name__ == "__main__":
    main()
