"""Bad input: the right status, one log line with the reason, a metric, nothing stored by halves, never 401 to a device."""
import os
import plistlib
import ssl
import stat
import subprocess
import urllib.parse

from harness import *


def refused(s, reason, action, status):
    """Runs ACTION, which must be refused with STATUS and REASON: in the log with its route, and counted."""
    metric = f'pomona_refusals_total{{reason="{reason}"}}'
    before, size = s.metric(metric), len(s.logs())
    got = action()
    got = got[0] if isinstance(got, tuple) else got
    equal(got, status, reason)
    expect(s.metric(metric) == before + 1, f"{reason} was not counted")
    lines = [l for l in s.logs()[size:].splitlines() if f"reason={reason}" in l]
    equal(len(lines), 1, f"log lines of {reason}")
    return lines[0]


@case
def check_in():
    with Server() as s:
        d = s.enroll()
        other = s.enroll()
        stranger = Device(s).read_profile(s.profile(s.link())).get_identity()
        message = {"MessageType": "TokenUpdate", "Topic": d.topic, "UDID": d.udid, "Token": b"t", "PushMagic": "m"}
        refused(s, "POM-E4101", lambda: d.put(message, signature=""), 400)
        refused(s, "POM-E4102", lambda: d.put(message, signature="!!!"), 400)
        refused(s, "POM-E4102", lambda: d.put(message, signature=base64.b64encode(b"0\x80garbage").decode()), 400)
        data = plistlib.dumps(message)
        wrong = base64.b64encode(detached_signature(d.key, d.cert, data + b" ")).decode()
        refused(s, "POM-E4102", lambda: d.put(None, body=data, signature=wrong), 400)
        own_key = rsa_key()
        own = self_signed(own_key, d.cert.subject)
        refused(s, "POM-E2102", lambda: d.put(None, body=data, signature=base64.b64encode(detached_signature(own_key, own, data)).decode()), 403)
        line = refused(s, "POM-E4103", lambda: d.put({**message, "UDID": other.udid}), 403)
        expect("enrollment=" in line and "route=/mdm" in line, line)
        refused(s, "POM-E4103", lambda: d.put({"MessageType": "Authenticate", "Topic": d.topic, "UDID": "another-udid"}), 403)
        refused(s, "POM-E4201", lambda: stranger.put({**message, "UDID": stranger.udid}), 403)
        refused(s, "POM-E4201", lambda: stranger.put({"UDID": d.udid, "Status": "Idle"}, REPORT), 403)
        refused(s, "POM-E4301", lambda: d.put({**message, "Topic": "com.apple.mgmt.other"}), 400)
        refused(s, "POM-E4301", lambda: stranger.authenticate(Topic="com.apple.mgmt.other"), 400)
        refused(s, "POM-E4002", lambda: d.put({**message, "MessageType": "Unknown"}), 400)
        refused(s, "POM-E1006", lambda: d.put({"UDID": d.udid}), 400)
        refused(s, "POM-E4001", lambda: d.put({"MessageType": "CheckOut"}), 400)
        refused(s, "POM-E1006", lambda: d.put({**message, "Token": "text"}), 400)
        refused(s, "POM-E4401", lambda: d.put({"UDID": d.udid}, REPORT), 400)
        refused(s, "POM-E4001", lambda: d.put({"UDID": d.udid, "Status": "Acknowledged"}, REPORT), 400)
        for body, reason in [(b"", "POM-E1001"), (b"<plist><dict>", "POM-E1001"), (b'<!DOCTYPE x [<!ENTITY a "b">]><plist version="1.0"><dict/></plist>', "POM-E1005"),
                             (b"<plist version='1.0'><dict><key>a</key></dict></plist>", "POM-E1003"), (b"<plist version='1.0'><array/></plist>", "POM-E4001"),
                             (b"<plist version='1.0'>" + b"<array>" * 100 + b"</array>" * 100 + b"</plist>", "POM-E1004")]:
            refused(s, reason, lambda: d.put(None, body=body), 400)
        equal(d.idle()[0], 200, "the device is as it was")
        equal(len(s.cli("device", "list")), 2, "nothing was stored by halves")


@case
def sizes_and_routes():
    with Server() as s:
        d = s.enroll()
        big = b"x" * (10 * 1024 * 1024 + 1)
        line = refused(s, "POM-E0007", lambda: d.put(None, CHECKIN, body=big), 413)
        expect("device=" in line, "the device is not named: " + line)
        d.connection = None
        status, reply = d.put(None, REPORT, body=plistlib.dumps({"UDID": d.udid, "Status": "Acknowledged", "CommandUUID": "none", "Data": b"y" * (12 << 20)}))
        equal(status, 200, "a result of 16 MiB")
        equal(s.request("POST", "/scep?operation=PKIOperation", b"z" * 65537)[0], 413)
        equal(s.request("GET", "/nowhere")[0], 404)
        status, _, headers = s.request("POST", "/mdm", b"")
        equal((status, headers["allow"]), (405, "PUT"))
        equal(s.request("GET", "/", headers={f"X-{i}": "v" * 8000 for i in range(20)})[0], 431)
        equal(s.request("GET", "/enroll/" + "a" * 70000)[0], 414)
        equal(s.request("GET", "/scep?operation=GetCACaps&message=" + "a" * 60000)[0], 200, "SCEP takes long request lines")
        equal(s.request("GET", "/scep?operation=Nonsense")[0], 400)
        equal(s.request("GET", "/scep")[0], 400)
        equal(s.request("POST", "/scep", b"")[0], 400)
        equal(s.request("POST", "/scep?operation=PKIOperation", b"garbage")[0], 400)
        for path in ("/scep/pkiclient.exe", "/scep/default", "/cgi-bin/pkiclient.exe"):
            equal(s.request("GET", path + "?operation=GetCACaps")[0], 200, path)
            equal(s.request("GET", path + "?operation=getcacaps&message=", plain=True)[0], 200, path)
        equal(s.request("GET", "/enroll/x", plain=True)[0], 404, "the plain listener serves SCEP only")


@case
def scep_messages():
    with Server() as s:
        ca = s.request("GET", "/scep?operation=GetCACert")[1]
        key, signer_key = rsa_key(), rsa_key()
        signer = self_signed(signer_key, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "t")]))

        def fail_info(message):
            status, body, headers = s.request("POST", "/scep?operation=PKIOperation", message)
            equal((status, headers["content-type"]), (200, "application/x-pki-message"))
            result, info, content, values = scep_reply(body)
            equal((result, content), ("2", None))
            return info

        def challenge():
            return Device(s).read_profile(s.profile(s.link())).scep["Challenge"]

        def build(request, **options):
            return scep_message(request, ca, signer_key, signer, **options)
        good = make_csr(key, challenge=challenge())
        for message_type in (0, 1, 3, 17, 18, 20, 21, 22, 23, 255):
            equal(fail_info(build(good, message_type=message_type)), "2", f"messageType {message_type}")
        equal(fail_info(build(make_csr(key, challenge="wrong"))), "2")
        equal(fail_info(build(make_csr(key))), "2", "no challenge")
        equal(fail_info(build(b"not a request")), "2")
        weak = rsa.generate_private_key(65537, 1024)
        equal(fail_info(build(make_csr(weak, challenge=challenge()))), "2", "RSA-1024")
        broken = bytearray(make_csr(key, challenge=challenge()))
        broken[-1] ^= 1
        equal(fail_info(build(bytes(broken))), "2", "a request not signed with its own key")
        damaged = bytearray(build(good))
        damaged[-1] ^= 1
        equal(fail_info(bytes(damaged)), "1", "badMessageCheck")
        other_ca = der(self_signed(rsa_key(), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "other")])))
        equal(fail_info(scep_message(good, other_ca, signer_key, signer)), "2", "not enveloped to us")
        revoked = s.link()
        text = Device(s).read_profile(s.profile(revoked)).scep["Challenge"]
        s.cli("enroll", "revoke", revoked["id"])
        equal(fail_info(build(make_csr(key, challenge=text))), "2", "revoked link")
        equal(s.metric("pomona_certificates_issued_total"), 0, "nothing was issued")
        expect(text not in s.logs(), "a challenge in the log")
        # One challenge, several keys at once: not more certificates than it may give.
        shared = challenge()
        import concurrent.futures

        def one(_):
            try:
                scep_enroll(lambda m: s.request("POST", "/scep?operation=PKIOperation", m)[1], ca, shared)
                return 1
            except ScepRefused:
                return 0
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            equal(sum(pool.map(one, range(12))), 3, "certificates of one link")
    with Server("--set", "scep.legacy=false") as s:
        equal(s.request("GET", "/scep?operation=GetCACaps")[1].split()[:2], [b"AES", b"SHA-256"])
        ca = s.request("GET", "/scep?operation=GetCACert")[1]
        d = Device(s).read_profile(s.profile(s.link()))

        def post(message):
            return s.request("POST", "/scep?operation=PKIOperation", message)[1]
        for options in ({"digest": "sha1", "cipher": "aes128_cbc"}, {"digest": "sha256", "cipher": "tripledes_3key"}):
            try:
                scep_enroll(post, ca, d.scep["Challenge"], **options)
                expect(False, f"{options} was accepted")
            except ScepRefused as e:
                equal(str(e), "failInfo 0", str(options))
        scep_enroll(post, ca, d.scep["Challenge"], digest="sha256", cipher="aes256_cbc")


@case
def scep_algorithms():
    with Server() as s:
        ca = s.request("GET", "/scep?operation=GetCACert")[1]
        for digest in ("sha1", "sha256", "sha512"):
            for cipher in ("tripledes_3key", "aes128_cbc", "aes256_cbc"):
                for method in ("POST", "GET"):
                    def send(message):
                        if method == "POST":
                            return s.request("POST", "/scep?operation=PKIOperation", message)[1]
                        text = base64.b64encode(message).decode()
                        # As Apple's clients do: '+' is not escaped.
                        return s.request("GET", "/scep?operation=PKIOperation&message=" + text.replace("=", "%3D").replace("/", "%2F"))[1]
                    challenge = Device(s).read_profile(s.profile(s.link())).scep["Challenge"]
                    replies = []
                    scep_enroll(lambda m: replies.append(send(m)) or replies[0], ca, challenge, digest=digest, cipher=cipher)
                    signed = cms.ContentInfo.load(replies[0])["content"]
                    equal(signed["signer_infos"][0]["digest_algorithm"]["algorithm"].native, digest, "the client's digest")
                    enveloped = cms.ContentInfo.load(signed["encap_content_info"]["content"].native)["content"]
                    equal(enveloped["encrypted_content_info"]["content_encryption_algorithm"]["algorithm"].native, cipher, "the client's cipher")


@case
def admin_api():
    with Server() as s:
        for token in ("", "wrong", s.token() + "x"):
            equal(s.api("GET", "/api/v1/devices", token=token)[0], 401)
        equal(s.api("GET", "/metrics", token="wrong")[0], 401)
        equal([s.api("GET", p, token="none")[0] for p in ("/healthz", "/readyz", "/version")], [200, 200, 200])
        made = s.cli("token", "new", "script")
        equal(s.api("GET", "/api/v1/devices", token=made["token"])[0], 200)
        expect(made["token"] not in json.dumps(s.cli("token", "list")), "a token is shown again")
        s.cli("token", "revoke", made["id"])
        equal(s.api("GET", "/api/v1/devices", token=made["token"])[0], 401)
        equal(s.api("POST", "/api/v1/links", "{")[0], 400)
        equal(s.api("POST", "/api/v1/links", {"usr": "x"})[0], 400, "a key nobody reads")
        equal(s.api("POST", "/api/v1/links", {"k" * 63 + "\u00e9": "x"})[0], 400, "a text that is cut within a character")
        equal(s.api("POST", "/api/v1/links", {"ttl_seconds": -1})[0], 400)
        equal(s.api("GET", "/api/v1/devices/none")[0], 404)
        equal(s.api("GET", "/api/v1/commands/none")[0], 404)
        status, _, headers = s.api("PUT", "/api/v1/devices")
        equal((status, headers["Allow"].replace(" ", "").split(",")[0]), (405, "GET"))
        database = s.store.content()
        expect(s.token().encode() not in database and made["token"].encode() not in database, "a token in clear on disk")


@case
def push_certificates():
    with Server(push_cert=False) as s:
        equal(s.request("GET", urllib.parse.urlsplit(s.link()["profile_url"]).path)[0], 503, "no push certificate yet")
        a, b = push_cert(), push_cert("com.apple.mgmt.External.other")
        path = os.path.join(s.root, "x.pem")
        no_uid = self_signed(rsa_key(), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])).public_bytes(serialization.Encoding.PEM)
        cert = a[:a.index(b"-----BEGIN PRIVATE")]
        for content, why in [(cert, "POM-E6027"), (cert + pem_key(rsa_key()), "POM-E2302"), (b"nothing", "POM-E6031"), (push_cert(days=-1), "POM-E6030")]:
            open(path, "wb").write(content)
            code, _, err = s.cli_code("push-cert", "import", path)
            expect(code == 1 and why in err, f"{why}: {code} {err}")
        key = rsa_key()
        open(path, "wb").write(self_signed(key, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])).public_bytes(serialization.Encoding.PEM) + pem_key(key))
        expect("no MDM push certificate" in s.cli_code("push-cert", "import", path)[2], "a certificate without a topic")
        open(path, "wb").write(a)
        equal(s.cli("push-cert", "import", path)["topic"], TOPIC)
        s.enroll()
        open(path, "wb").write(b)
        code, _, err = s.cli_code("push-cert", "import", path)
        expect(code == 1 and "POM-E6006" in err and "Renew" in err, err)
        equal(len(s.cli("push-cert", "show")), 1)
        database = s.store.content()
        expect(b"PRIVATE" not in database, "a key in clear on disk")


@case
def command_line():
    with tempfile.TemporaryDirectory() as root:
        data = os.path.join(root, "d")
        for url in ("http://mdm.example.org", "https://mdm.example.org/path", "https://u:p@mdm.example.org", "mdm.example.org", "https://", "https://h:99999", "https://a b"):
            p = subprocess.run([POMONA, "init", "--data", data, "--url", url], capture_output=True, text=True)
            expect(p.returncode == 2 and url in p.stderr, f"{url}: {p.returncode} {p.stderr}")
        expect(not os.path.exists(data), "something was made")
        equal(subprocess.run([POMONA, "init", "--data", data], capture_output=True).returncode, 2)
        foreign = os.path.join(root, "foreign")
        os.mkdir(foreign)
        open(os.path.join(foreign, "file"), "w").close()
        p = subprocess.run([POMONA, "init", "--data", foreign, "--url", "https://mdm.example.org"], capture_output=True, text=True)
        expect(p.returncode == 1 and "not a data directory" in p.stderr, p.stderr)
        os.mkdir(data + ".new")
        open(os.path.join(data + ".new", "precious"), "w").close()
        p = subprocess.run([POMONA, "init", "--data", data, "--url", "https://192.0.2.1:8443"], capture_output=True, text=True)
        expect(p.returncode == 1 and os.listdir(data + ".new") == ["precious"], "init removed somebody's file: " + p.stderr)
        shutil.rmtree(data + ".new")
        os.mkdir(data + ".new")
        for leftover in ("seal.key", "pomona.db", "pomona.db-wal"):
            open(os.path.join(data + ".new", leftover), "w").close()
        made = json.loads(run("init", "--data", data, "--url", "https://192.0.2.1:8443", "--json"))
        equal(made["url"], "https://192.0.2.1:8443")
        equal(stat.S_IMODE(os.stat(made["admin_token_file"]).st_mode), 0o600)
        again = json.loads(run("init", "--data", data, "--url", "https://192.0.2.1:8443/", "--json"))
        equal(again["existed"], True)
        equal(subprocess.run([POMONA, "init", "--data", data, "--url", "https://other.example.org"], capture_output=True).returncode, 1)
        equal(subprocess.run([POMONA, "nonsense"], capture_output=True).returncode, 2)
        equal(subprocess.run([POMONA, "device", "show"], capture_output=True).returncode, 2)
        equal(subprocess.run([POMONA, "device", "list", "--data", data], capture_output=True).returncode, 6, "no server")
        for verb in ("init", "serve", "enroll new", "device list", "command send", "token new", "push-cert import", "push-cert show", "sim device", "sim apns", "sim scep", "version", "explain"):
            out = run(*verb.split(), "--help")
            expect("Usage: pomona " + verb in out and "Options:" in out, verb)
        verbs = [line.split("  ")[1].split() for line in run("help").splitlines() if line.startswith("  ")]
        families = [words[0] for n, words in enumerate(verbs) if not n or verbs[n - 1][0] != words[0]]
        equal(len(families), len(set(families)), "a family of verbs in two places")
        equal(len(verbs), len({" ".join(words) for words in verbs}), "a verb twice")
        for family, other in (("device", "device-ca"), ("push", "push-cert")):
            expect(f"  {other} " not in run("help", family), f"{other} is not of {family}")
        for unknown in (["nonsense"], ["device", "nonsense"], ["device", "list", "more"]):
            p = subprocess.run([POMONA, "help", *unknown], capture_output=True, text=True)
            expect(p.returncode == 2 and "is no command" in p.stderr, f"help {unknown}: {p.returncode} {p.stderr}")
        for wrong, said in (("push.per_second=-5", 'not "-5"'), ("apns.connections=9", "between 1 and 8"), ("doctor.timeout_seconds=0", "between 1 and 60"), ("inventory.queries=Nonsense", "Nonsense"),
                            ("commands.expire_days=-1", "between 0 and 3650"), ("enroll.mdm_url=http://h", "enroll.mdm_url: "), ("push.nonsense=1", "push.nonsense")):
            p = subprocess.run([POMONA, "serve", "--data", data, "--admin-listen", "", "--set", wrong], capture_output=True, text=True, timeout=60)
            expect(p.returncode and said in p.stderr, f"{wrong}: {p.returncode} {p.stderr}")
        for words in (["doctor", "absent.pem"], ["lint", "absent.mobileconfig"]):
            p = subprocess.run([POMONA, *words], capture_output=True, text=True)
            expect(p.returncode == 1 and "No such file" in p.stderr and words[1] in p.stderr, f"{words}: {p.returncode} {p.stderr}")
        expect("bad-signature" in run("sim", "device", "--misbehave", "list"), "list of misbehaviors")
        expect("belongs to another device" in run("explain", "POM-E4103"), "explain")
        expect("refused the certificate request" in run("explain", "22013"), "explain an error of Apple")
        equal(run("explain", "DMCSCEPErrorDomain:22013"), run("explain", "22013"), "the domain of newer systems")
        for code in range(22000, 22014):
            told = json.loads(run("explain", f"MCSCEPErrorDomain:{code}", "--json"))
            equal((told["domain"], told["code"]), ("MCSCEPErrorDomain", code))
            expect(all(told[key].endswith(".") for key in ("text", "causes", "look_at")), f"sentences of {code}")
        for unknown in ("22014", "MCMDMErrorDomain:22013", "22013x", ":", ""):
            equal(subprocess.run([POMONA, "explain", unknown], capture_output=True).returncode, 3, unknown)
        equal(subprocess.run([POMONA, "explain", "nonsense"], capture_output=True).returncode, 3)
        pages = os.path.join(root, "man")
        os.mkdir(pages)
        run("man-pages", pages)
        for page in os.listdir(pages):
            p = subprocess.run(["groff", "-Kutf8", "-man", "-Tutf8", "-ww", "-z", os.path.join(pages, page)], capture_output=True, text=True)
            expect(not p.stderr, f"{page}: {p.stderr}")


@case
def starting():
    with Server() as s:
        p = subprocess.run([POMONA, "serve", "--data", s.data], capture_output=True, text=True, timeout=20)
        expect(p.returncode == 1 and "POM-E0013" in p.stderr, p.stderr)
        second = os.path.join(s.root, "second")
        run("init", "--data", second, "--url", f"https://127.0.0.1:{s.port}")
        p = subprocess.run([POMONA, "serve", "--data", second, "--admin-listen", ""], capture_output=True, text=True, timeout=20)
        expect(p.returncode == 1 and str(s.port) in p.stderr, "port in use: " + p.stderr)
        key = os.path.join(second, "seal.key")
        os.chmod(key, 0o644)
        p = subprocess.run([POMONA, "serve", "--data", second], capture_output=True, text=True, timeout=20)
        expect(p.returncode != 0 and "POM-E0014" in p.stderr, p.stderr)
        os.rename(key, key + ".away")
        p = subprocess.run([POMONA, "serve", "--data", second], capture_output=True, text=True, timeout=20)
        expect(p.returncode != 0 and "encryption key" in p.stderr, p.stderr)
        run("init", "--data", os.path.join(s.root, "third"), "--url", "https://127.0.0.1:1")
        os.replace(os.path.join(s.root, "third", "seal.key"), key)
        p = subprocess.run([POMONA, "serve", "--data", second], capture_output=True, text=True, timeout=20)
        expect(p.returncode != 0 and "POM-E0106" in p.stderr, "another encryption key: " + p.stderr)
        for conf, text in [("[server]\nurll=x\n", "pomona.conf:2"), ("[scep]\nlegacy=maybe\n", "true or false"), ("[nix]\na=b\n", "nix.a")]:
            p = subprocess.run([POMONA, "serve", "--data", second, "--set", conf.split("\n")[0].strip("[]") + "." + conf.split("\n")[1]], capture_output=True, text=True, timeout=20)
            equal(p.returncode, 2, conf)
            open(os.path.join(second, "pomona.conf"), "w").write(conf)
            p = subprocess.run([POMONA, "serve", "--data", second], capture_output=True, text=True, timeout=20)
            expect(p.returncode == 2 and text in p.stderr, p.stderr)
        equal(subprocess.run([POMONA, "serve", "--data", os.path.join(s.root, "none")], capture_output=True, timeout=20).returncode, 3)


@case
def tls_certificate():
    with Server() as s:
        def leaf():
            context = s.tls()
            with socket.create_connection(("127.0.0.1", s.port)) as c, context.wrap_socket(c, server_hostname="127.0.0.1") as t:
                return x509.load_der_x509_certificate(t.getpeercert(True)), t.version()
        first, version = leaf()
        equal(version, "TLSv1.3")
        equal([str(a) for a in first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.IPAddress)], ["127.0.0.1"])
        expect((first.not_valid_after - first.not_valid_before).days < 397, "validity")
        out = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{s.port}", "-showcerts", "-tls1_2", "-CAfile", s.root_ca, "-verify_return_error"], input="", capture_output=True, text=True)
        equal(out.stdout.count("BEGIN CERTIFICATE"), 2, "the complete chain without the root")
        expect("Acceptable client certificate CA names" not in out.stdout and "No client certificate CA names sent" in out.stdout, "a client certificate is asked for")
        for old in ("-tls1", "-tls1_1"):
            expect(subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{s.port}", old, "-cipher", "ALL:@SECLEVEL=0"], input="", capture_output=True).returncode != 0, old)
        s.restart()
        equal(leaf()[0], first, "the same certificate after a restart")
        # An administrator's own files, read again on SIGHUP.
        key = rsa_key()
        files = [os.path.join(s.root, n) for n in ("tls.pem", "tls.key")]

        def write(cn):
            name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, cn)])
            open(files[0], "wb").write(self_signed(key, name).public_bytes(serialization.Encoding.PEM))
            open(files[1], "wb").write(pem_key(key))

        def subject():
            pem = ssl.get_server_certificate(("127.0.0.1", s.port))
            return x509.load_pem_x509_certificate(pem.encode()).subject.rfc4514_string()
        write("one")
        s.restart("--set", f"tls.certificate={files[0]}", "--set", f"tls.key={files[1]}")
        equal(subject(), "CN=one")
        write("two")
        s.process.send_signal(signal.SIGHUP)
        for _ in range(100):
            if subject() == "CN=two":
                break
            time.sleep(0.05)
        equal(subject(), "CN=two")
        open(files[0], "w").write("nonsense")
        s.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        equal(subject(), "CN=two", "a broken file changes nothing")


@case
def a_full_disk_heals():
    """The database on a small file system: 503 with Retry-After while it is full, nothing half stored, and on again by itself."""
    if os.geteuid() != 0:
        raise Skip("only root can mount a small file system")
    root = tempfile.mkdtemp(prefix="pomona-full-")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", root], capture_output=True).returncode != 0:
        raise Skip("no file system can be mounted here")
    try:
        with Server(data=root) as s:
            d = s.enroll()
            filler = os.path.join(root, "filler")
            f = os.open(filler, os.O_WRONLY | os.O_CREAT)
            try:
                while True:
                    os.write(f, b"x" * 4096)
            except OSError:
                os.close(f)
            statuses = []
            for i in range(400):
                statuses.append(s.api("POST", f"/api/v1/devices/{d.udid}/commands?force=true", {"RequestType": "ProfileList", "Pad": "p" * 3000}))
                if statuses[-1][0] == 503:
                    break
            equal(statuses[-1][0], 503, "a full disk")
            expect("Retry-After" in statuses[-1][2], "Retry-After")
            acknowledged = [r[1]["command_uuid"] for r in statuses if r[0] == 201]
            os.unlink(filler)
            status, reply, _ = s.api("POST", f"/api/v1/devices/{d.udid}/commands", {"RequestType": "SecurityInfo"})
            equal(status, 201, f"it heals {reply}")
            waiting = {c["command_uuid"] for c in s.cli("command", "list", d.udid)}
            equal(waiting, {*acknowledged, reply["command_uuid"]}, "exactly what was acknowledged is there")
    finally:
        subprocess.run(["umount", "-l", root], capture_output=True)
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
