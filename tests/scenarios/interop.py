"""Other people's programs against ours: strongSwan's SCEP client, openssl, xmllint."""
import subprocess

from harness import *


def tool(*args, cwd=None, input=None, code=0):
    p = subprocess.run(args, capture_output=True, cwd=cwd, input=input, timeout=60)
    expect(p.returncode == code, f"{' '.join(map(str, args))}: exit {p.returncode}\n{p.stdout.decode(errors='replace')[-1000:]}{p.stderr.decode(errors='replace')[-2000:]}")
    return p.stdout


@case
def strongswan_enrolls():
    with Server() as s:
        url = f"http://127.0.0.1:{s.http_port}/scep"
        tool("pki", "--scepca", "--url", url, "--caout", "ca.pem", "--raout", "ra.pem", "--outform", "pem", "--force", cwd=s.root)
        ca = next(n for n in ("ca-1.pem", "ca.pem") if os.path.exists(os.path.join(s.root, n)))
        for cipher, digest in [("aes", "sha256"), ("aes", "sha512"), ("des3", "sha1"), ("des3", "sha256")]:
            challenge = Device(s).read_profile(s.profile(s.link())).scep["Challenge"]
            key = tool("pki", "--gen", "--type", "rsa", "--size", "2048", "--outform", "pem")
            open(os.path.join(s.root, "k.pem"), "wb").write(key)

            def scep(secret, code=0):
                return tool("pki", "--scep", "--url", url, "--in", "k.pem", "--dn", "C=US, O=Lab, CN=somebody else", "--password", secret, "--cacert-enc", ca, "--cacert-sig", ca,
                            "--cacert", s.root_ca, "--cipher", cipher, "--digest", digest, "--outform", "pem", cwd=s.root, code=code)
            first = scep(challenge)
            equal(scep(challenge), first, "a lost reply is fetched again")
            scep("wrong", code=1)
            path = os.path.join(s.root, "c.pem")
            open(path, "wb").write(first)
            text = tool("openssl", "x509", "-in", path, "-noout", "-subject", "-ext", "keyUsage,extendedKeyUsage,basicConstraints").decode()
            expect("somebody else" not in text and "Pomona device" in text, "the subject is the record's: " + text)
            expect("TLS Web Client Authentication" in text and "CA:FALSE" in text and "Digital Signature, Key Encipherment" in text, text)
            chain = os.path.join(s.root, ca)
            tool("openssl", "verify", "-CAfile", s.root_ca, "-untrusted", chain, "-purpose", "sslclient", path)


@case
def scepclient_with_single_des():
    """micromdm's client sends single DES and SHA-1 whatever is announced: only the legacy setting serves it."""
    for setting, works in (("true", True), ("false", False)):
        with Server("--set", f"scep.legacy_des={setting}") as s:
            challenge = Device(s).read_profile(s.profile(s.link())).scep["Challenge"]
            p = subprocess.run(["scepclient", "-private-key", "k.pem", "-certificate", "c.pem", "-server-url", f"http://127.0.0.1:{s.http_port}/scep", "-challenge", challenge, "-cn", "dev"],
                               cwd=s.root, capture_output=True, text=True, timeout=60)
            equal((p.returncode == 0, os.path.exists(os.path.join(s.root, "c.pem"))), (works, works), p.stderr)
            equal("legacy_des is on" in s.logs(), works, "the warning")
            if not works:
                expect("POM-E2003" in s.logs(), "the reason in the log")


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
