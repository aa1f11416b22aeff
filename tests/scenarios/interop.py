"""Other people's programs against ours: strongSwan's, certmonger's and micromdm's SCEP clients, openssl, xmllint."""
import subprocess
import tempfile

from harness import *


def tool(*args, cwd=None, input=None, code=0):
    p = subprocess.run(args, capture_output=True, cwd=cwd, input=input, timeout=60)
    expect(p.returncode == code, f"{' '.join(map(str, args))}: exit {p.returncode}\n{p.stdout.decode(errors='replace')[-1000:]}{p.stderr.decode(errors='replace')[-2000:]}")
    return p.stdout


MODES = ("single", "chain", "ra")


def scep_server(stack, *settings):
    """A server whose CA "lab" stands with its RA, and a profile for each mode, for those that wait, and for single DES: single and chain are of the default CA, which has no RA."""
    s = stack.enter_context(Server(*settings, push_cert=False))
    s.cli("ca", "create", "lab", "--ra")
    for mode in MODES:
        s.cli("scep-profile", "set", mode, f"ca={'lab' if mode == 'ra' else 'default'}", f"mode={mode}", "renewal_percent=0")
    return s


def challenge(s, profile):
    return s.cli("challenge", "new", "--profile", profile, "--subject", "O=Lab,CN=device", "--san", "dns:device.example")["challenge"]


def url(s, profile):
    return f"http://127.0.0.1:{s.http_port}/scep/{profile}"


def write(s, name, data):
    path = os.path.join(s.root, name)
    pathlib.Path(path).write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def pem(cert):
    return cert.public_bytes(serialization.Encoding.PEM)


def ca_files(s, profile):
    """Of GetCACert: paths of the certificate that signs replies, of the root, and of all in one file."""
    body, kind = (lambda a: (a.body, a.headers["content-type"]))(Scep(s, profile).get("GetCACert"))
    certs = [x509.load_der_x509_certificate(body)] if kind == "application/x-x509-ca-cert" else [
        x509.load_der_x509_certificate(c.chosen.dump()) for c in cms.ContentInfo.load(body)["content"]["certificates"]]
    speaker = x509.load_der_x509_certificate(Scep(s, profile).ca)
    roots = [c for c in certs if c.issuer == c.subject] or [x509.load_pem_x509_certificate(pathlib.Path(s.root_ca).read_bytes())]
    issuing = [c for c in certs if c not in roots and c != speaker]
    return write(s, "speaker.pem", pem(speaker)), write(s, "root.pem", pem(roots[0])), write(s, "others.pem", b"".join(map(pem, [*issuing, speaker])))


def check_certificate(s, path, others, root):
    text = tool("openssl", "x509", "-in", path, "-noout", "-subject", "-ext", "keyUsage,extendedKeyUsage,basicConstraints,subjectAltName").decode()
    expect("CN = device" in text and "somebody else" not in text and "DNS:device.example" in text, "names are the record's: " + text)
    expect("TLS Web Client Authentication" in text and "CA:FALSE" in text and "Digital Signature, Key Encipherment" in text, text)
    tool("openssl", "verify", "-CAfile", root, "-untrusted", others, "-purpose", "sslclient", path)


class StrongSwan:
    def __init__(self, s, profile):
        self.s, self.profile = s, profile
        self.speaker, self.root, self.others = ca_files(s, profile)

    def key(self, name):
        return write(self.s, name, pem_key(rsa_key()))

    def command(self, key, *args):
        return ["pki", "--scep", "--url", url(self.s, self.profile), "--in", key, "--dn", "C=US, O=Lab, CN=somebody else", "--cacert-enc", self.speaker, "--cacert-sig", self.speaker, "--cacert", self.root,
                "--outform", "pem", *args]

    def scep(self, key, *args, code=0):
        return tool(*self.command(key, *args), cwd=self.s.root, code=code)


@case
def strongswan_in_every_mode():
    """Enrollment with AES and 3DES, and renewal with RenewalReq."""
    with contextlib.ExitStack() as stack:
        s = scep_server(stack)
        for mode in MODES:
            # What its own GetCACert makes of each mode.
            tool("pki", "--scepca", "--url", url(s, mode), "--caout", f"{mode}-ca.pem", "--raout", f"{mode}-ra.pem", "--outform", "pem", "--force", cwd=s.root)
            swan = StrongSwan(s, mode)
            for cipher, digest in [("aes", "sha256"), ("aes", "sha512"), ("des3", "sha1"), ("des3", "sha256")]:
                key, text = swan.key("k.pem"), challenge(s, mode)
                algorithms_used = ("--cipher", cipher, "--digest", digest)
                first = swan.scep(key, "--password", text, *algorithms_used)
                equal(swan.scep(key, "--password", text, *algorithms_used), first, "a lost reply is fetched again")
                swan.scep(key, "--password", "wrong", *algorithms_used, code=1)
                path = write(s, "c.pem", first)
                check_certificate(s, path, swan.others, swan.root)
                new_key = swan.key("k2.pem")
                second = swan.scep(new_key, "--cert", path, "--key", key, *algorithms_used)
                check_certificate(s, write(s, "c2.pem", second), swan.others, swan.root)
                expect(first != second, f"{mode} {cipher}: the renewed certificate is the old one")
        actions = [r["action"] for r in s.api("GET", "/api/v1/audit?action=certificate&limit=1000")[1]["items"]]
        equal((actions.count("certificate.issue"), actions.count("certificate.renew")), (12, 12))


@case
def strongswan_waits_for_approval():
    with contextlib.ExitStack() as stack:
        s = scep_server(stack)
        for mode in MODES:
            name = f"{mode}-manual"
            s.cli("scep-profile", "set", name, f"ca={'lab' if mode == 'ra' else 'default'}", f"mode={mode}", "approval=manual", "renewal_percent=0")
            swan = StrongSwan(s, name)
            for approve in (True, False):
                p = subprocess.Popen(swan.command(swan.key("k.pem"), "--password", challenge(s, name), "--interval", "1", "--maxpolltime", "20"), cwd=s.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                try:
                    waiting = []
                    for _ in range(100):
                        waiting = s.cli("ca", "requests", "--state", "pending")
                        if waiting:
                            break
                        time.sleep(0.05)
                    equal([(w["profile"], w["state"]) for w in waiting], [(name, "pending")])
                    s.cli("ca", "approve" if approve else "deny", waiting[0]["id"])
                    out, err = p.communicate(timeout=30)
                finally:
                    if p.poll() is None:
                        p.kill()
                        p.communicate()
                equal(p.returncode == 0, approve, err.decode()[-500:])
                if approve:
                    check_certificate(s, write(s, "c.pem", out), swan.others, swan.root)


CERTMONGER = """
/usr/lib/certmonger/certmonger-session -n >certmonger.log 2>&1 & pid=$!
trap 'kill $pid' EXIT
for i in $(seq 40); do getcert list-cas -s >/dev/null 2>&1 && break; sleep 0.1; done
set -e
getcert add-scep-ca -s -c lab -u "$URL" -r "$SPEAKER" -N "$ROOT" ${OTHERS:+-I "$OTHERS"}
getcert request -s -c lab -f "$PWD/c.pem" -k "$PWD/k.pem" -N "CN=somebody else" -D other.example -L "$CHALLENGE" -I rq -w
cp c.pem c1.pem; cp k.pem k1.pem
getcert resubmit -s -i rq -w
cp c.pem c2.pem; cp k.pem k2.pem
getcert rekey -s -i rq -w
cp c.pem c3.pem; cp k.pem k3.pem
getcert list -s -i rq
"""


@case
def certmonger_in_every_mode():
    """Enrolls, asks again with the same key, and renews with a new one (PKCSReq signed with the old certificate, and its used challenge)."""
    with contextlib.ExitStack() as stack:
        s = scep_server(stack)
        for mode in MODES:
            s.cli("scep-profile", "set", mode, "renewal_same_key=true")
            speaker, root, others = ca_files(s, mode)
            folder = os.path.join(s.root, mode)
            os.mkdir(folder)
            env = {**os.environ, "HOME": folder, "XDG_RUNTIME_DIR": folder, "XDG_CONFIG_HOME": folder, "TMPDIR": folder, "URL": url(s, mode), "SPEAKER": speaker, "ROOT": root, "OTHERS": others if mode == "ra" else "",
                   "CHALLENGE": challenge(s, mode)}
            p = subprocess.run(["dbus-run-session", "--", "sh", "-c", CERTMONGER], capture_output=True, text=True, timeout=120, env=env, cwd=folder)
            expect(p.returncode == 0 and "status: MONITORING" in p.stdout, f"{mode}: exit {p.returncode}\n{p.stdout}\n{p.stderr[-1500:]}")
            certs = [pathlib.Path(folder, f"c{n}.pem").read_bytes() for n in (1, 2, 3)]
            keys = [pathlib.Path(folder, f"k{n}.pem").read_bytes() for n in (1, 2, 3)]
            equal((keys[0] == keys[1], keys[1] == keys[2], certs[1] == certs[2]), (True, False, False), f"{mode}: keys and certificates")
            for n in (1, 2, 3):
                check_certificate(s, os.path.join(folder, f"c{n}.pem"), others, root)
                modulus = [tool("openssl", *kind, "-noout", "-modulus", "-in", os.path.join(folder, f"{letter}{n}.pem")) for kind, letter in ((["x509"], "c"), (["rsa"], "k"))]
                equal(modulus[0], modulus[1], f"{mode}: key of certificate {n}")


@case
def scepclient_with_single_des():
    """micromdm's client sends single DES and SHA-1 whatever is announced: only the legacy setting of a profile serves it."""
    with contextlib.ExitStack() as stack:
        s = scep_server(stack)
        for mode in MODES:
            for setting in ("true", "false"):
                s.cli("scep-profile", "set", mode, f"legacy_des={setting}")
                folder = tempfile.mkdtemp(dir=s.root)
                size, works = len(s.logs()), setting == "true"
                p = subprocess.run(["scepclient", "-private-key", "k.pem", "-certificate", "c.pem", "-server-url", url(s, mode), "-challenge", challenge(s, mode), "-cn", "dev"],
                                   cwd=folder, capture_output=True, text=True, timeout=60)
                equal((p.returncode == 0, os.path.exists(os.path.join(folder, "c.pem"))), (works, works), f"{mode}: {p.stderr}")
                if works:
                    speaker, root, others = ca_files(s, mode)
                    check_certificate(s, os.path.join(folder, "c.pem"), others, root)
                else:
                    expect("POM-E2003" in s.logs()[size:], f"{mode}: the reason in the log")
        expect(any("warning" in line and "legacy_des" in line for line in s.logs().splitlines()), "the warning")


@case
def openssl_reads_crl_and_ocsp():
    with contextlib.ExitStack() as stack:
        s = scep_server(stack)
        for mode in ("single", "ra"):
            issued = [Scep(s, mode).enroll(challenge(s, mode))[1] for _ in range(3)]
            paths = [write(s, f"{mode}{n}.pem", pem(c)) for n, c in enumerate(issued)]
            generation = f"{'lab' if mode == 'ra' else 'default'}-1"
            status, body, headers = s.request("GET", f"/ca/{generation}.crl", plain=True)
            equal((status, headers["content-type"]), (200, "application/pkix-crl"))
            root = ca_files(s, mode)[1]
            issuing = write(s, "issuing.pem", tool("openssl", "x509", "-inform", "DER", "-in", write(s, "issuing.der", s.request("GET", f"/ca/{generation}.cer", plain=True)[1])))
            for n, (reason, number) in enumerate((("keyCompromise", "Key Compromise"), ("superseded", "Superseded"))):
                s.cli("ca", "revoke", f"{issued[n].serial_number:032X}", "--reason", reason)
            text, until = "", time.time() + 5
            while not all(f"{c.serial_number:032X}" in text for c in issued[:2]):
                # No more than one is made in a second.
                expect(time.time() < until, text)
                crl = write(s, "c.crl", s.request("GET", f"/ca/{generation}.crl", plain=True)[1])
                text = tool("openssl", "crl", "-inform", "DER", "-in", crl, "-noout", "-text", "-CAfile", issuing).decode()
            expect(f"{issued[2].serial_number:032X}" not in text, text)
            expect("Key Compromise" in text and "Superseded" in text and "X509v3 CRL Number" in text, text)
            as_pem = write(s, "c.crl.pem", tool("openssl", "crl", "-inform", "DER", "-in", crl))
            for n, path in enumerate(paths):
                tool("openssl", "verify", "-CAfile", root, "-untrusted", issuing, "-CRLfile", as_pem, "-crl_check", path, code=2 if n < 2 else 0)
            for digest in ("-sha1", "-sha256"):
                out = tool("openssl", "ocsp", "-issuer", issuing, digest, *[a for p in paths for a in ("-cert", p)], "-url", f"http://127.0.0.1:{s.http_port}/ocsp", "-CAfile", root, "-verify_other", issuing, "-nonce").decode()
                equal([line.split(": ")[1] for line in out.splitlines() if line.startswith(tuple(paths))], ["revoked", "revoked", "good"], out)
            # The CA's own helpers are in no register of issued certificates.
            own = next(g for g in s.cli("ca", "show") if g["id"] == generation)
            helpers = ["0x" + own[role]["serial"] for role in ("ocsp", "ra") if own[role]]
            out = tool("openssl", "ocsp", "-issuer", issuing, *[a for n in [*helpers, "0x1234"] for a in ("-serial", n)], "-url", f"http://127.0.0.1:{s.http_port}/ocsp", "-CAfile", root, "-verify_other", issuing).decode()
            equal([line.split(": ")[1] for line in out.splitlines() if line.startswith("0x")], ["good"] * len(helpers) + ["unknown"], out)


@case
def openssl_accepts_the_profile():
    with Server() as s:
        path = os.path.join(s.root, "p.mobileconfig")
        open(path, "wb").write(s.profile(s.link()))
        plain = tool("openssl", "cms", "-verify", "-inform", "DER", "-in", path, "-CAfile", s.root_ca)
        tool("xmllint", "--noout", "-", input=plain)
        certs = tool("openssl", "pkcs7", "-inform", "DER", "-in", path, "-print_certs").decode()
        equal(certs.count("BEGIN CERTIFICATE"), 2, "the complete chain")
        damaged = bytearray(open(path, "rb").read())
        at = damaged.find(b"AccessRights")
        damaged[at] ^= 1
        open(path, "wb").write(damaged)
        tool("openssl", "cms", "-verify", "-inform", "DER", "-in", path, "-CAfile", s.root_ca, code=4)


@case
def the_ca_is_sound():
    with Server() as s:
        ca = s.request("GET", "/scep?operation=GetCACert")[1]
        path = os.path.join(s.root, "ca.der")
        open(path, "wb").write(ca)
        text = tool("openssl", "x509", "-inform", "DER", "-in", path, "-noout", "-text").decode()
        for want in ("CA:TRUE, pathlen:0", "Digital Signature, Key Encipherment, Certificate Sign, CRL Sign", "sha256WithRSAEncryption", "Public-Key: (2048 bit)"):
            expect(want in text, f"{want} is missing: {text}")
        root = tool("openssl", "x509", "-in", s.root_ca, "-noout", "-text").decode()
        expect("CA:TRUE" in root and "Certificate Sign, CRL Sign" in root, root)
        d = s.enroll()
        equal(d.cert.serial_number.bit_length(), 127, "a serial of 128 bits that is positive")
        expect(abs((datetime.datetime.utcnow() - d.cert.not_valid_before).total_seconds() - 3600) < 60, "backdated one hour")
        issuer = x509.load_der_x509_certificate(ca)
        expect(d.cert.not_valid_after <= issuer.not_valid_after, "never beyond the issuer")


if __name__ == "__main__":
    main()
