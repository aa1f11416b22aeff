"""Our property lists against Python's plistlib: random trees both ways, and documents with random damage, of which we must
read nothing that plistlib reads differently. Usage: plist_roundtrip.py TOOL [SEED]. Speaks TAP."""
import datetime
import math
import plistlib
import random
import subprocess
import sys

TREES, DAMAGED = 120, 300
CR_MARK = "\ue00d"  # plistlib writes LF for CR, so that the trees have this and the documents an escape
TOOL = sys.argv[1]
RANDOM = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 20261121)


def text():
    alphabet = CR_MARK + "aZ09 \t\n&<>\"']]>;%üß漢🍎\u0085\u2028\ufffd{}"
    return "".join(RANDOM.choice(alphabet) for _ in range(RANDOM.randrange(12)))


def leaf():
    kind = RANDOM.randrange(8)
    if kind == 0:
        return text()
    if kind == 1:
        return RANDOM.choice([0, 1, -1, 2**63 - 1, -2**63, 2**64 - 1, RANDOM.randrange(-2**40, 2**40)])
    if kind == 2:
        return RANDOM.choice([0.5, -0.0, 1e300, 5e-324, math.inf, -math.inf, RANDOM.uniform(-1e9, 1e9), RANDOM.random()])
    if kind == 3:
        return RANDOM.choice([True, False])
    if kind == 4:
        return RANDOM.randbytes(RANDOM.choice([0, 1, 2, 3, 57, 58, 200, RANDOM.randrange(1000)]))
    if kind == 5:
        return datetime.datetime(RANDOM.randrange(1, 10000), RANDOM.randrange(1, 13), RANDOM.randrange(1, 29),
                                 RANDOM.randrange(24), RANDOM.randrange(60), RANDOM.randrange(60))
    return text() * RANDOM.randrange(5)


def tree(depth):
    kind = RANDOM.randrange(4) if depth else 3
    if kind == 0:
        return [tree(depth - 1) for _ in range(RANDOM.randrange(6))]
    if kind in (1, 2):
        return {text(): tree(depth - 1) for _ in range(RANDOM.choice([0, 1, 3, 5, 40 if depth < 3 else 4]))}
    return leaf()


def with_cr(node):
    if isinstance(node, dict):
        return {with_cr(key): with_cr(value) for key, value in node.items()}
    if isinstance(node, list):
        return list(map(with_cr, node))
    return node.replace(CR_MARK, "\r") if isinstance(node, str) else node


def has_real(node):
    if isinstance(node, dict):
        return any(map(has_real, node.values()))
    return any(map(has_real, node)) if isinstance(node, list) else isinstance(node, float)


def same(a, b):
    """Equality in which 1, 1.0 and True differ."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


def run(document):
    done = subprocess.run([TOOL], input=document, capture_output=True, timeout=20)
    if done.returncode not in (0, 1):
        raise AssertionError(f"the tool ended with {done.returncode}: {done.stderr}")
    return done.stdout if done.returncode == 0 else None, done.stderr.decode()


def check_tree():
    marked = tree(5)
    value = with_cr(marked)
    document = plistlib.dumps(marked, sort_keys=False).replace(CR_MARK.encode(), b"&#13;")
    ours, error = run(document)
    assert ours is not None, error
    assert same(plistlib.loads(ours), value), "another value came back"
    assert run(ours)[0] == ours, "writing again changed the bytes"
    if not has_real(value):
        assert ours == document, "the bytes are not those of plistlib"


def check_damaged():
    document = bytearray(plistlib.dumps(tree(3), sort_keys=False))
    for _ in range(RANDOM.randrange(1, 4)):
        at = RANDOM.randrange(len(document))
        if RANDOM.randrange(3):
            document[at] = RANDOM.choice(b"<>/&;=\"0+- \x00\xff" + bytes([RANDOM.randrange(256)]))
        else:
            del document[at:at + RANDOM.randrange(9)]
    ours, error = run(bytes(document))
    if ours is None:
        assert error.startswith("line "), error
        return False
    assert same(plistlib.loads(ours), plistlib.loads(bytes(document), fmt=plistlib.FMT_XML)), "plistlib reads something else"
    return True


def attempt(number, name, check):
    try:
        check()
        print(f"ok {number} - {name}")
    except Exception as problem:  # every one is a finding
        print(f"not ok {number} - {name}: {problem!r}".replace("\n", " "))


def many(check, n):
    for _ in range(n):
        check()


print("1..2")
attempt(1, f"{TREES} random trees", lambda: many(check_tree, TREES))
attempt(2, f"{DAMAGED} damaged documents", lambda: many(check_damaged, DAMAGED))
