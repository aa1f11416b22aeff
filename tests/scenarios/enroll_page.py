"""The page that a person sees, and the QR code that leads there: read by programs that share nothing with Pomona."""
import pty
import re
import xml.etree.ElementTree

from harness import *

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
