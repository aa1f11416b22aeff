"""Every command of docs/questions.md works, against a server with a device."""
import re

from harness import *

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "questions.md"
# What may fail because there is something to be said: a made-up host, a profile that is signed by nobody known.
MAY_FAIL = ("pomona doctor", "pomona profile verify", "pomona ca devices")


def payload(kind, n, **more):
    return {"PayloadType": kind, "PayloadVersion": 1, "PayloadIdentifier": f"org.example.{n}", "PayloadUUID": f"00000000-0000-4000-8000-{n:012d}", **more}


def prepare(folder):
    """The files that the page names."""
    def write(name, data):
        pathlib.Path(folder, name).write_bytes(data)
    key = rsa_key()
    cert = self_signed(key, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "device")]))
    write("device.key", pem_key(key))
    write("device.pem", cert.public_bytes(serialization.Encoding.PEM))
    write("chain.pem", cert.public_bytes(serialization.Encoding.PEM))
    write("password", b"pw\n")
    write("device.log", b"Error Domain=MCSCEPErrorDomain Code=22013\n")
    write("wifi.mobileconfig", plistlib.dumps({**payload("Configuration", 0), "PayloadContent": [payload("com.apple.wifi.managed", 1, SSID_STR="x", EncryptionType="WPA2", Password="secret")]}))
    scep = payload("com.apple.security.scep", 1, PayloadContent={"URL": "https://mdm.example.org/scep", "Keysize": 2048})
    write("enrollment.mobileconfig", plistlib.dumps({**payload("Configuration", 0), "PayloadContent": [scep]}))
    openssl("pkcs12", "-export", "-inkey", os.path.join(folder, "device.key"), "-in", os.path.join(folder, "device.pem"), "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1",
            "-passout", "pass:pw", "-out", os.path.join(folder, "made.p12"))
    made = pathlib.Path(folder, "made.p12").read_bytes()
    write("identity.mobileconfig", plistlib.dumps({**payload("Configuration", 0), "PayloadContent": [payload("com.apple.security.pkcs12", 1, Password="pw", PayloadContent=made)]}))


def commands():
    return [line.strip() for line in PAGE.read_text().splitlines() if re.match(r"    (pomona|openssl) ", line)]


@case
def every_command_of_the_page_works():
    with Server("--apns-url", "https://127.0.0.1:1") as s, tempfile.TemporaryDirectory() as folder:
        prepare(folder)
        device = Device(s).enroll(s.link())
        lines = commands()
        expect(len(lines) > 30, f"{len(lines)} commands")
        for line in lines:
            line = line.replace("DEVICE", device.udid).replace("https://mdm.example.org", s.url).replace("mdm.example.org:443", f"127.0.0.1:{s.port}").replace("-servername mdm.example.org", "")
            words = line.split()
            words[0] = POMONA if words[0] == "pomona" else words[0]
            p = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, env={**os.environ, "POMONA_DATA": s.data})
            expect(p.returncode == 0 or (p.returncode == 1 and line.startswith(MAY_FAIL) and p.stdout), f"{line}: {p.returncode}\n{p.stdout[-2000:]}\n{p.stderr[-2000:]}")
            expect(not any(text in p.stderr for text in SANITIZER_REPORTS), p.stderr)


if __name__ == "__main__":
    main()
