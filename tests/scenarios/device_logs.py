"""`pomona explain --log`: known lines of iPhone, watch and Mac, in any encoding, with their line numbers."""
from harness import *

# As devices write them; the names are made up.
IPHONE = """Mar 17 03:07:41 iPad profiled[1764] <Notice>: (Note ) MC: Checking for MDM installation...
Mar 17 03:07:45 iPad profiled[1764] <Notice>: (Note ) MC: Enrolling in OTA Profile service...
Mar 17 03:07:45 iPad kernel[0] <Debug>: 493937.610838 nothing to do with it
Mar 17 03:07:46 iPad profiled[1764] <Notice>: (Error) MC: Installation failed. Error: NSError:
    Desc   : Profile Installation Failed
    Sugg   : The SCEP server returned an invalid response.
    Domain : MCInstallationErrorDomain
    Code   : 4001
    Type   : MCFatalError
    ...Underlying error:
    NSError:
    Desc   : The SCEP server returned an invalid response.
    Domain : MCSCEPErrorDomain
    Code   : 22013
    Type   : MCFatalError
"""
WATCH = """default 10:11:12 trustd Trust evaluate failure: [leaf MissingIntermediate]
default 10:11:12 profiled Task <1>.<1> finished with error [-1202] Error Domain=NSURLErrorDomain Code=-1202 "The certificate for this server is invalid." UserInfo={_kCFStreamErrorCodeKey=-9807}
"""
MAC = """2026-01-11 14:03:42.755219-0600 0x137ae Error 0x0 2183 0 mdmclient: [com.apple.ManagedClient:MDMDaemon] [ERROR] <: [MDM_SCEP_Enroll] Calling SCEPRequestCertSignature --> <NSOSStatusErrorDomain:-603>
2026-01-11 14:03:43 mdmclient: <OUTERROR> Error Domain=MCMDMErrorDomain Code=12021 "x" UserInfo={}
"""


def explain(data, *args, name="device.log", code=0):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, name)
        pathlib.Path(path).write_bytes(data)
        p = subprocess.run([POMONA, "explain", "--log", path, *args], capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
    expect(p.returncode == code and not any(text in p.stderr.decode() for text in SANITIZER_REPORTS), f"exit {p.returncode}: {p.stderr.decode()}")
    return json.loads(p.stdout) if "--json" in args else p.stdout.decode()


def found(data):
    return [(e["id"], e["lines"]) for e in explain(data, "--json")["items"]]


@case
def known_lines_of_each_kind_of_device():
    equal(found(IPHONE.encode()), [("mdm-checking", [1]), ("ota-begin", [2]), ("scep-invalid-response", [6, 12]), ("MCInstallationErrorDomain:4001", [8]), ("MCSCEPErrorDomain:22013", [14])], "iPhone")
    equal(found(WATCH.encode()), [("trust-missingintermediate", [1]), ("server-certificate-invalid", [2]), ("url-1202", [2]), ("ssl-9807", [2])], "watch")
    equal(found(MAC.encode()), [("scep-enroll-mac", [1]), ("osstatus-603", [1]), ("MCMDMErrorDomain:12021", [2])], "Mac")
    for e in explain((IPHONE + WATCH + MAC).encode(), "--json")["items"]:
        expect(e["text"] and e["excerpt"] and e["count"] >= len(e["lines"]) > 0, str(e))
    text = explain(IPHONE.encode())
    expect("line 6, 12  scep-invalid-response" in text and "line 14  MCSCEPErrorDomain:22013" in text and "the last is the reason" in text, text)


@case
def any_encoding():
    wanted = found(IPHONE.encode())
    for data in (IPHONE.encode("utf-16"), IPHONE.encode("utf-16-le"), IPHONE.encode("utf-16-be"), IPHONE.replace("\n", "\r\n").encode(), b"\xef\xbb\xbf" + IPHONE.encode(), IPHONE.replace("iPad", "Büro").encode("latin-1")):
        equal(found(data), wanted, repr(data[:20]))


@case
def hostile_and_useless_files():
    for data in (b"", b"\0" * 5000, bytes(range(256)) * 500, b"x" * 1000000, b"ErrorDomain" * 10000, b"Domain : MCSCEPErrorDomain\n" * 1000):
        equal(found(data), [], repr(data[:20]))
    expect("Nothing known was found" in explain(b"hello") and "Console" in explain(b"hello"), "how to take a log")
    shown = explain(b"\x1b]0;title\x07\x1b[2J MCSCEPErrorDomain:22013\n")
    expect("\x1b" not in shown and "\x07" not in shown, repr(shown))
    many = explain(b"MCSCEPErrorDomain:22013\n" * 5000, "--json")["items"][0]
    equal((many["count"], many["lines"]), (5000, list(range(1, 21))), "counted, and the first named")
    whole = 64 << 20
    report = explain(b"MCSCEPErrorDomain:22013\n" + b"y" * whole + b"\nMCMDMErrorDomain:12021\n", "--json")
    equal(([e["id"] for e in report["items"]], report["cut"]), (["MCSCEPErrorDomain:22013"], True), "more than is looked at")


@case
def how_it_is_called():
    p = subprocess.run([POMONA, "explain", "--log", "-", "--json"], input=WATCH.encode(), capture_output=True, timeout=60)
    equal(json.loads(p.stdout)["items"][0]["id"], "trust-missingintermediate", "standard input")
    for args, code, text in (((), 2, "one of them"), (("22013", "--log", "x"), 2, "one of them"), (("--log", "/not/there"), 1, "/not/there")):
        p = subprocess.run([POMONA, "explain", *args], capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
        expect(p.returncode == code and text in p.stderr.decode(), f"{args}: {p.returncode} {p.stderr.decode()}")
    p = subprocess.run([POMONA, "explain", "22013"], capture_output=True, timeout=60)
    expect("Console" in p.stdout.decode() and "log show" in p.stdout.decode() and "sysdiagnose" in p.stdout.decode(), "each row says how to take the log")
    expect("sysdiagnose" in json.loads(subprocess.run([POMONA, "explain", "22013", "--json"], capture_output=True, timeout=60).stdout)["take_log"], "and its JSON")


if __name__ == "__main__":
    main()
