"""The page that a person sees, and the QR code that leads there: read by programs that share nothing with Pomona."""
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
            for name, refused in (("used", used), ("revoked", revoked), ("expired", short), ("unknown", {"url": s.url + "/enroll/nonsense"})):
                wish(f"{name}-{scheme}", refused["url"], scheme=scheme, width=360)
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
        equal((code, err), (0, ""))
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
