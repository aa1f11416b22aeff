"""The page that a person sees, and the QR code that leads there: read by programs that share nothing with Pomona."""
import html.parser
import ipaddress
import pty
import re
import xml.etree.ElementTree

from harness import *

BROWSER = pathlib.Path(__file__).resolve().parent.parent / "browser"
# Screenshots are kept here when it is set.
SHOTS = os.environ.get("POMONA_SCREENSHOTS")
AGENTS = {
    "iphone": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "mac": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
    "other": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
}
SVG = "{http://www.w3.org/2000/svg}"


def page_path(link):
    return urllib.parse.urlsplit(link["url"]).path


class Page(html.parser.HTMLParser):
    """A page as elements and text, read by Python's parser; tags must be closed in order."""
    VOID = {"meta", "br"}

    def __init__(self, body):
        super().__init__()
        self.elements, self.open, self.text, self.links = [], [], "", []
        self.feed(body.decode())
        self.close()
        equal(self.open, [], "elements that are not closed")

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        expect(not any(a.startswith("on") or a == "style" for a in attributes), f"{tag}: {attributes}")
        self.elements.append((tag, attributes))
        if tag == "a":
            self.links.append(attributes["href"])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        equal(self.open.pop(), tag, "the element that is closed")

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data


def open_page(s, path, agent="iphone", status=200):
    got, body, headers = s.request("GET", path, headers={"User-Agent": AGENTS[agent], "Accept": "text/html,application/xhtml+xml"})
    equal(got, status, path)
    equal((headers["content-type"], headers["cache-control"], headers["referrer-policy"], headers["x-content-type-options"], headers["x-frame-options"]),
          ("text/html; charset=utf-8", "no-store", "no-referrer", "nosniff", "DENY"), path)
    expect(len(body) < 20000, f"{len(body)} bytes")
    policy = headers["content-security-policy"]
    style = re.search(rb"<style>(.*)</style>", body, re.S).group(1)
    digest = base64.b64encode(hashlib.sha256(style).digest()).decode()
    equal(policy, f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
    return Page(body)


def make_tls(s, with_root=True, name="Private Root"):
    """A server certificate of a CA of somebody else: (file with the chain, key, root)."""
    now = datetime.datetime.utcnow()
    root_key, key = rsa_key(), rsa_key()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])

    def begin(subject_name, public_key, days):
        return (x509.CertificateBuilder().subject_name(subject_name).issuer_name(subject).public_key(public_key).serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=days)))
    root = begin(subject, root_key.public_key(), 90).add_extension(x509.BasicConstraints(True, None), True).sign(root_key, hashes.SHA256())
    leaf = (begin(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")]), key.public_key(), 30)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False).sign(root_key, hashes.SHA256()))
    pem = [c.public_bytes(serialization.Encoding.PEM) for c in (leaf, root)]
    files = [os.path.join(s.root, f) for f in ("tls.pem", "tls.key", "tls-root.pem")]
    for path, data in zip(files, (b"".join(pem if with_root else pem[:1]), pem_key(key), pem[1])):
        pathlib.Path(path).write_bytes(data)
    return files, root


def decode(image, suffix):
    """What zbar reads in an image."""
    with tempfile.NamedTemporaryFile(suffix=suffix) as f:
        f.write(image)
        f.flush()
        p = subprocess.run(["zbarimg", "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", f.name], capture_output=True, text=True, timeout=60)
    return p.stdout.strip()


def decode_svg(svg, width=400):
    """What it reads in an SVG, drawn by librsvg."""
    p = subprocess.run(["rsvg-convert", "--width", str(width), "--format", "png"], input=svg.encode(), capture_output=True, timeout=60)
    equal(p.returncode, 0, p.stderr.decode())
    return decode(p.stdout, ".png")


def decode_blocks(text, ink, ground, scale=4):
    """What it reads on a terminal that shows TEXT in these shades of grey."""
    halves = {" ": (0, 0), "\u2580": (1, 0), "\u2584": (0, 1), "\u2588": (1, 1)}
    rows = []
    for line in text.splitlines():
        rows += [[halves[c][half] for c in line] for half in (0, 1)]
    width = max(len(row) for row in rows)
    # As a terminal has it: something around the code, of its own color.
    pixels = [[ground] * (width + 8)] * 4 + [[ground] * 4 + [ink if bit else ground for bit in row] + [ground] * (4 + width - len(row)) for row in rows] + [[ground] * (width + 8)] * 4
    data = b"".join(bytes(value for value in row for _ in range(scale)) * scale for row in pixels)
    return decode(b"P5 %d %d 255\n" % (len(pixels[0]) * scale, len(pixels) * scale) + data, ".pgm")


def on_terminal(*args, env):
    """What a verb writes to a terminal."""
    master, slave = pty.openpty()
    p = subprocess.Popen([POMONA, *args], stdout=slave, stderr=slave, stdin=subprocess.DEVNULL, env={**os.environ, **env})
    os.close(slave)
    out = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(master, 65536):
            out += chunk
    os.close(master)
    equal(p.wait(60), 0, out.decode(errors="replace"))
    return out.decode().replace("\r\n", "\n")


def look(wishes):
    """What Chromium and axe-core find on pages; see look.mjs."""
    expect((BROWSER / "node_modules").is_dir(), "tests/browser has no node_modules: ./check puts them there (npm ci)")
    for wish in wishes:
        wish["shot"] = os.path.join(SHOTS, wish["name"] + ".png") if SHOTS else None
    p = subprocess.run(["node", str(BROWSER / "look.mjs"), shutil.which("chromium") or "/usr/bin/chromium"], input=json.dumps(wishes), capture_output=True, text=True, timeout=240)
    equal(p.returncode, 0, p.stderr)
    found = json.loads(p.stdout)
    equal([f["name"] for f in found], [w["name"] for w in wishes], "pages looked at")
    return found


@case
def looked_at_in_a_browser():
    with Server("--set", "server.contact=help@example.org") as s:
        link = s.api("POST", "/api/v1/links", {"user": "Ann <b>Example</b>", "device": "\u05d4\u05d0\u05d9\u05d9\u05e4\u05d3 \u05e9\u05dc Ann"})[1]
        used, revoked, short = s.link(), s.link(), s.link("--ttl", "1s")
        Device(s).enroll(used)
        s.cli("enroll", "revoke", revoked["id"])
        wishes = []

        def wish(name, url, agent="iphone", **how):
            wishes.append({"name": name, "url": url, "agent": AGENTS[agent], **how})
        for scheme in ("light", "dark"):
            wish(f"iphone-{scheme}", link["url"], scheme=scheme, width=390)
            wish(f"narrow-{scheme}", link["url"], scheme=scheme, width=320, open=True)
            wish(f"mac-{scheme}", link["url"], agent="mac", scheme=scheme, width=1200)
            wish(f"other-{scheme}", link["url"], agent="other", scheme=scheme, width=360, open=True)
            wish(f"used-{scheme}", used["url"], scheme=scheme, width=360)
        for name, refused in (("revoked", revoked), ("expired", short), ("unknown", {"url": s.url + "/enroll/nonsense"})):
            wish(name, refused["url"], width=360)
        wish("letters-twice", link["url"], width=360, text=2, open=True)
        wish("printed", link["url"], agent="other", width=700, media="print", open=True)
        wait_for("the link expires", lambda: s.request("GET", page_path(short))[0] == 410)
        for found in look(wishes):
            name = found["name"]
            equal(found["problems"], [], name)
            equal((found["lang"], len(found["headings"]), found["scripts"], found["landmarks"]), ("en", 1, 0, [1, 1, 1]), name)
            equal(found["ground"], "rgb(22, 22, 23)" if name.endswith("dark") else "rgb(255, 255, 255)", f"{name}: the style sheet is in force")
            expect(name == "printed" or found["passed"] > 15, f"{name}: axe-core looked at {found.get('passed')} rules only")
            equal(found["status"], {"unknown": 404, "used": 410, "revoked": 410, "expired": 410}.get(name.split("-")[0], 200), name)
        expect(s.cli("enroll", "list")[0]["state"] == "open", "looking does not use a link")


@case
def says_what_the_link_means():
    with Server("--set", "server.contact=help@example.org", "--set", "enroll.access_rights=19") as s:
        link = s.link("--user", "Ann Example", "--device", "Ann's phone", "--ttl", "3d")
        page = open_page(s, page_path(link))
        for text in ("Test Org asks to manage this device", "Ann Example", "Ann's phone", "install, change and remove settings", "serial number", "which settings and limits", "your photos", "days from now"):
            expect(text in page.text, f"the page lacks {text!r}")
        for text in ("erase the device", "lock the device", "which apps", "phone number", "roaming"):
            expect(text not in page.text, f"the page has {text!r}, but the link's profile does not give that right")
        until = [a["datetime"] for tag, a in page.elements if tag == "time"]
        equal(until, [link["expires"][:19] + "Z"])
        equal([l for l in page.links if l.startswith("/enroll")], [page_path(link) + "/trust", page_path(link) + "/profile"])
        expect("mailto:help@example.org" in page.links, "contact")
        # What a link says is what its profile holds, whatever the settings become.
        s.restart("--set", "enroll.access_rights=8191")
        expect("erase the device" not in open_page(s, page_path(link)).text, "the rights of now")
        expect("erase the device" in open_page(s, page_path(s.link())).text, "the rights of a new link")
        # On something else than the device there is a code for it.
        expect("svg" not in [e[0] for e in page.elements], "a code on the telephone itself")
        other = s.request("GET", page_path(link), headers={"User-Agent": AGENTS["other"]})[1].decode()
        equal(decode_svg(other[other.index("<svg"):other.index("</svg>") + 6]), link["url"])
        # The body that HEAD does not send is the one that GET sends, and neither uses the link.
        get = s.request("GET", page_path(link))
        head = s.request("HEAD", page_path(link))
        equal((head[0], head[1], head[2]["content-length"], head[2]["content-security-policy"]), (200, b"", str(len(get[1])), get[2]["content-security-policy"]))
        equal(s.request("POST", page_path(link), b"x")[0], 405)
        equal([e["state"] for e in s.cli("enroll", "list")], ["open"] * 2)


@case
def values_are_text():
    evil = "<script>alert(1)</script> & \"Co\" '\u05d0\u202e"
    with Server(env={"POMONA_SERVER_CONTACT": evil, "POMONA_SERVER_ORGANIZATION": evil}) as s:
        made = s.api("POST", "/api/v1/links", {"user": evil, "device": evil})[1]
        page = open_page(s, page_path(made), agent="other")
        equal({tag for tag, _ in page.elements} & {"script", "b", "img"}, set())
        expect(page.text.count(evil) > 8, f"{page.text.count(evil)} times as it is")
        expect(evil in open_page(s, "/enroll/nonsense", status=404).text, "on the page of a refusal")


@case
def names_in_any_script():
    name = "J\u00fcrgen \u05d0\u05d1\u05d2 \u5f20\u4f1f"
    with Server() as s:
        for locale in ("C", "C.UTF-8"):
            p = subprocess.run([POMONA.encode(), b"enroll", b"new", b"--data", s.data.encode(), b"--json", b"--user", name.encode(), b"--device", name.encode()],
                               capture_output=True, env={**os.environ, "LC_ALL": locale})
            equal(p.returncode, 0, p.stderr.decode())
            page = open_page(s, page_path(json.loads(p.stdout)))
            equal(page.text.count(name), 2, f"{locale}: {page.text}")
        p = subprocess.run([POMONA.encode(), b"enroll", b"new", b"--data", s.data.encode(), b"--user", "J\u00fcrgen".encode("latin-1")], capture_output=True)
        expect(p.returncode == 2 and b"not UTF-8" in p.stderr, p.stderr)
        p = subprocess.run([POMONA.encode(), b"enroll", b"revoke", b"--data", s.data.encode(), "J\u00fcrgen".encode("latin-1")], capture_output=True)
        expect(p.returncode == 2 and b"not UTF-8" in p.stderr, p.stderr)
        equal(len(s.cli("enroll", "list")), 2)


@case
def links_that_cannot_be_used_say_so():
    with Server("--set", "server.contact=Ms Example, room 5") as s:
        used, revoked, short, none = s.link("--user", "Secret Person"), s.link(), s.link("--ttl", "1s"), {"url": s.url + "/enroll/nonsense"}
        Device(s).enroll(used)
        s.cli("enroll", "revoke", revoked["id"])
        wait_for("the link expires", lambda: s.request("GET", page_path(short))[0] == 410)
        rows = [(used, 410, "This link has been used", "POM-E5003"), (revoked, 410, "This link has been withdrawn", "POM-E5004"), (short, 410, "This link has expired", "POM-E5002"),
                (none, 404, "This link does not exist", "POM-E5001")]
        for link, status, text, code in rows:
            path = page_path(link)
            for address in (path, path + "/ota", path + "/profile", path + "/trust", path.replace("/enroll/", "/ota/")):
                page = open_page(s, address, status=status)
                expect(text in page.text and code in page.text and "Ms Example, room 5" in page.text, f"{address}: {page.text}")
                expect("Secret Person" not in page.text and not page.links, "what only the holder of a good link is told")
            # Whatever is no browser gets a line.
            for address in (path + "/profile", path.replace("/enroll/", "/ota/")):
                got, body, headers = s.request("GET", address, headers={"Accept": "*/*"})
                equal((got, headers["content-type"].split(";")[0], body.split()[0].decode()), (status, "text/plain", code))


@case
def not_ready_without_a_push_certificate():
    with Server(push_cert=False) as s:
        link = s.link()
        for tail in ("", "/profile"):
            page = open_page(s, page_path(link) + tail, status=503)
            expect("not ready yet" in page.text and "POM-E5005" in page.text, page.text)
        expect(s.request("GET", page_path(link))[2].get("retry-after"), "Retry-After")
        s.import_push_cert()
        open_page(s, page_path(link))


def shown_roots(page):
    """Names and fingerprints on the page."""
    return re.findall(r"((?:[0-9A-F]{2} ){31}[0-9A-F]{2})", page.text)


def check_trust_profile(s, link, root):
    """The profile of the first step holds ROOT and nothing else, and is signed."""
    status, body, headers = s.request("GET", page_path(link) + "/trust")
    equal((status, headers["content-type"], headers["cache-control"], headers["content-disposition"]),
          (200, "application/x-apple-aspen-config", "no-store", 'attachment; filename="trust.mobileconfig"'))
    with tempfile.NamedTemporaryFile() as f:
        f.write(body)
        f.flush()
        plain = openssl("cms", "-verify", "-inform", "DER", "-in", f.name, "-CAfile", s.root_ca, "-purpose", "any")
    profile = plistlib.loads(plain)
    equal((profile["PayloadType"], profile["PayloadScope"], [p["PayloadType"] for p in profile["PayloadContent"]], [p["PayloadContent"] for p in profile["PayloadContent"]]),
          ("Configuration", "System", ["com.apple.security.root"], [der(root)]))
    expect(profile["PayloadIdentifier"].endswith(".trust"), "an identifier of its own: " + profile["PayloadIdentifier"])
    return profile


def fingerprint(cert):
    return cert.fingerprint(hashes.SHA256()).hex(" ").upper()


@case
def trust_in_our_own_ca_comes_first():
    with Server() as s:
        link, other = s.link(), s.link()
        root = load_pem(open(s.root_ca).read())
        page = open_page(s, page_path(link))
        expect("Step 1: trust this server" in page.text and "Certificate Trust Settings" in page.text, page.text)
        expect(root.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value in page.text, "the name in Settings")
        equal((shown_roots(page), link["root_sha256"]), ([fingerprint(root)], fingerprint(root)))
        profile = check_trust_profile(s, link, root)
        equal(check_trust_profile(s, other, root), profile, "one profile for all links")
        s.restart("--set", "enroll.trust_step=never")
        page = open_page(s, page_path(other))
        expect("root_sha256" not in s.link(), "there is nothing to compare")
        expect("Step 1" not in page.text and not shown_roots(page) and page_path(other) + "/trust" not in page.links, page.text)
        open_page(s, page_path(other) + "/trust", status=404)


@case
def trust_in_certificates_from_files():
    with Server() as s:
        link = s.link()
        (pem, key, root_file), root = make_tls(s)
        files = ("--set", f"tls.certificate={pem}", "--set", f"tls.key={key}")
        s.tls = lambda: ssl.create_default_context(cafile=root_file)
        # Nobody knows this CA, but its root is in the file.
        s.restart(*files)
        page = open_page(s, page_path(link))
        equal(shown_roots(page), [fingerprint(root)])
        expect("Private Root" in page.text, "its name")
        check_trust_profile(s, link, root)
        # The root is not in the file: only the administrator can help.
        (_, _, _), root = make_tls(s, with_root=False)
        s.process.send_signal(signal.SIGHUP)
        page = wait_for("the file is read again", lambda: (lambda p: p if "for the root certificate" in p.text else None)(open_page(s, page_path(link))) if tls_works(s) else None)
        expect("Step 1: trust this server" in page.text and not shown_roots(page) and page_path(link) + "/trust" not in page.links, page.text)
        open_page(s, page_path(link) + "/trust", status=404)
        # This machine knows the CA: as with a public one there is nothing to trust.
        s.env["SSL_CERT_FILE"] = root_file
        s.restart(*files)
        page = open_page(s, page_path(link))
        expect("Step 1" not in page.text and not shown_roots(page), page.text)
        open_page(s, page_path(link) + "/trust", status=404)
        # Unless the administrator says otherwise.
        s.restart(*files, "--set", "enroll.trust_step=always")
        expect("Step 1" in open_page(s, page_path(link)).text, "always")


def tls_works(s):
    with contextlib.suppress(ssl.SSLError):
        return s.request("GET", "/")[0] == 200
    return False


@case
def the_button_follows_the_way_of_enrolling():
    with Server() as s:
        link, over_the_air = s.link(), s.link("--ota")
        token = page_path(link).split("/")[2]
        equal((link["ota_url"], over_the_air["url"]), (f"{s.url}/ota/{token}", over_the_air["profile_url"].replace("/profile", "/ota")))

        def button(path):
            return [l for l in open_page(s, path).links if l.startswith(("/enroll", "/ota")) and not l.endswith("/trust")]
        equal(button(page_path(link)), [f"/enroll/{token}/profile"])
        equal(button(page_path(over_the_air)), [urllib.parse.urlsplit(over_the_air["ota_url"]).path])
        s.restart("--set", "enroll.method=ota")
        equal(button(page_path(link)), [f"/ota/{token}"])
        status, body, headers = s.request("GET", f"/ota/{token}", headers={"Accept": "text/html"})
        equal((status, headers["content-type"]), (200, "application/x-apple-aspen-config"))
        equal(Device(s).open_profile(body)["PayloadType"], "Profile Service", "what the button gives")
        s.stop()
        for setting, text in (("enroll.method=mail", "enroll.method must be"), ("enroll.trust_step=maybe", "enroll.trust_step must be")):
            p = subprocess.run([POMONA, "serve", "--data", s.data, "--set", setting], capture_output=True, text=True, timeout=30)
            expect(p.returncode != 0 and text in p.stderr, p.stderr)
        s.start()


@case
def qr_code_in_the_api():
    with Server(push_cert=False) as s:
        status, made, _ = s.api("POST", "/api/v1/links", {"user": "Ann", "qr": True})
        equal(status, 201, made)
        root = xml.etree.ElementTree.fromstring(made["qr_svg"])
        equal((root.tag, root.get("role"), [e.tag for e in root]), (SVG + "svg", "img", [SVG + "title", SVG + "path", SVG + "path"]))
        expect(root.find(SVG + "title").text, "a title")
        for width in (120, 400, 1000):
            equal(decode_svg(made["qr_svg"], width), made["url"], f"{width} pixels wide")
        expect("qr_svg" not in s.api("POST", "/api/v1/links", {"qr": False})[1] and "qr_svg" not in s.api("POST", "/api/v1/links", {})[1], "not asked for")
        status, problem, _ = s.api("POST", "/api/v1/links", {"qr": "yes"})
        equal((status, problem["code"]), (400, "POM-E0016"), problem)
        equal(len(s.cli("enroll", "list")), 3, "a refused request makes no link")


@case
def qr_code_on_the_command_line():
    with Server(push_cert=False) as s:
        svg = os.path.join(s.root, "link.svg")
        made = s.cli("enroll", "new", "--user", "Ann", "--svg", svg)
        equal((decode_svg(open(svg).read()), os.stat(svg).st_mode & 0o777), (made["url"], 0o600))
        # Piped: light modules are the blocks.
        code, out, err = s.cli_code("enroll", "new", "--qr")
        expect(code == 0 and all(line.startswith("pomona: warning: ") for line in err.splitlines()), f"exit {code}: {err}")
        url = re.search(r"^url +(\S+)$", out, re.M).group(1)
        text = out[out.index("\n\n") + 2:]
        equal(decode_blocks(text, 230, 20), url, "on a dark terminal")
        # On a terminal: black on white by color, whatever the theme.
        out = on_terminal("enroll", "new", "--data", s.data, "--qr", env={"TERM": "xterm-256color", "NO_COLOR": ""})
        url = re.search(r"^url +(\S+)$", out, re.M).group(1)
        lines = re.findall(r"^\x1b\[38;5;16;48;5;231m(.*)\x1b\[0m$", out, re.M)
        equal(decode_blocks("\n".join(lines), 0, 255), url, "in color")
        for env in ({"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}):
            expect("\x1b" not in on_terminal("enroll", "new", "--data", s.data, "--qr", env=env), f"color with {env}")
        before = len(s.cli("enroll", "list"))
        s.refused("enroll", "new", "--qr", "--json", text="--svg FILE")
        equal(len(s.cli("enroll", "list")), before, "refused without making a link")
        s.refused("enroll", "new", "--svg", os.path.join(s.root, "none", "x.svg"), text="cannot be written")


if __name__ == "__main__":
    main()
