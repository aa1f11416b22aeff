"""The history checker must find what it is there for, and nothing else: TAP. Each case is a history in short: one row for each operation, with its times."""
import pathlib
import random
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from history import *


def op(kind, value, start, end, outcome=OK, **more):
    return {"kind": kind, "value": value, "start": start, "end": end, "outcome": outcome, **more}


def send(uuid, start, end, outcome=OK):
    return op("send", uuid, start, end, outcome)


def fetch(uuid, start, end, outcome=OK):
    return op("fetch", None, start, end, outcome, got=uuid)


def answer(uuid, start, end, outcome=OK, status="Acknowledged"):
    return op("answer", uuid, start, end, outcome, status=status)


def final(uuid, status):
    return op("final", uuid, 1000, 1001, got=status)


def write(value, start, end, outcome=OK):
    return op("write", value, start, end, outcome)


def read(value, start, end, outcome=OK):
    return op("read", None, start, end, outcome, got=value)


def use(accepted, start, end):
    return op("use", None, start, end, got=accepted)


def issue(serial, start, end, outcome=OK, pubkey="k", uses=1, cert=None):
    return op("issue", {"pubkey": pubkey, "uses": uses}, start, end, outcome, got={"serial": serial, "cert": cert or "c" + serial} if outcome == OK else None)


# (what, model, operations, the kinds of faults that must be found)
CASES = [
    # ---- queues
    ("one command, its whole life", "queue", [send("a", 0, 1), fetch("a", 2, 3), answer("a", 4, 5), fetch(None, 6, 7), final("a", "Acknowledged")], []),
    ("a reply was lost: the command comes again", "queue", [send("a", 0, 1), fetch("a", 2, 3, UNKNOWN), fetch("a", 4, 5), answer("a", 6, 7), final("a", "Acknowledged")], []),
    ("an answer without reply: the command may come again", "queue", [send("a", 0, 1), fetch("a", 2, 3), answer("a", 4, 5, UNKNOWN), fetch("a", 6, 7), answer("a", 8, 9), final("a", "Acknowledged")], []),
    ("an answer without reply: or not", "queue", [send("a", 0, 1), fetch("a", 2, 3), answer("a", 4, 5, UNKNOWN), fetch(None, 6, 7), final("a", "Acknowledged")], []),
    ("a send without reply that never happened", "queue", [send("a", 0, 1, UNKNOWN), fetch(None, 2, 3), final("a", None)], []),
    ("a send without reply that happened later", "queue", [send("a", 0, 1, UNKNOWN), fetch(None, 2, 3), fetch("a", 4, 5), answer("a", 6, 7), final("a", "Acknowledged")], []),
    ("sent again after no reply", "queue", [send("a", 0, 1, UNKNOWN), send("a", 2, 3), fetch("a", 4, 5), final("a", "Delivered")], []),
    ("empty while the send is under way", "queue", [send("a", 0, 3), fetch(None, 2, 5), fetch("a", 6, 7)], []),
    ("NotNow steps aside", "queue", [send("a", 0, 1), fetch("a", 2, 3), answer("a", 4, 5, status="NotNow"), fetch(None, 6, 7), fetch("a", 8, 9), answer("a", 10, 11), final("a", "Acknowledged")], []),
    ("canceled before it was fetched", "queue", [send("a", 0, 1), op("cancel", "a", 2, 3), fetch(None, 4, 5), final("a", "Canceled")], []),
    ("canceled, but its device had it", "queue", [send("a", 0, 1), fetch("a", 2, 3), op("cancel", "a", 4, 5), answer("a", 6, 7), final("a", "Acknowledged")], []),
    ("a new enrollment empties the queue", "queue", [send("a", 0, 1), op("clear", None, 2, 3), fetch(None, 4, 5), final("a", "Cleared")], []),
    ("sent after a new enrollment", "queue", [op("clear", None, 0, 1), send("a", 2, 3), fetch("a", 4, 5), answer("a", 6, 7), final("a", "Acknowledged")], []),
    ("a lost command", "queue", [send("a", 0, 1), final("a", None)], ["lost-write"]),
    ("a command that is not offered", "queue", [send("a", 0, 1), fetch(None, 2, 3), final("a", "Queued")], ["stale-read"]),
    ("one that is not offered, behind one that was answered", "queue", [send("a", 0, 1), send("b", 0, 1), fetch("a", 2, 3), answer("a", 4, 5), fetch(None, 6, 7)], ["stale-read"]),
    ("not offered after a new enrollment that was before", "queue", [op("clear", None, 0, 1), send("a", 2, 3), fetch(None, 4, 5)], ["stale-read"]),
    ("executed twice", "queue", [send("a", 0, 1), fetch("a", 2, 3), answer("a", 4, 5), fetch("a", 6, 7), final("a", "Acknowledged")], ["executed-again"]),
    ("executed twice after an Error", "queue", [send("a", 0, 1), fetch("a", 2, 3), answer("a", 4, 5, status="Error"), fetch("a", 6, 7)], ["executed-again"]),
    ("executed twice, although the first answer had no reply", "queue", [send("a", 0, 1), fetch("a", 2, 3), answer("a", 4, 5, UNKNOWN), fetch("a", 6, 7), answer("a", 8, 9), fetch("a", 10, 11)],
     ["executed-again"]),
    ("an answer that is lost", "queue", [send("a", 0, 1), fetch("a", 2, 3), answer("a", 4, 5), final("a", "Queued")], ["answer-lost"]),
    ("an answer that became another", "queue", [send("a", 0, 1), fetch("a", 2, 3), answer("a", 4, 5, status="Error"), final("a", "Acknowledged")], ["answer-lost"]),
    ("an answer that nobody gave", "queue", [send("a", 0, 1), final("a", "Acknowledged")], ["phantom"]),
    ("a command that nobody sent", "queue", [fetch("a", 2, 3)], ["phantom"]),
    ("a command from the future", "queue", [fetch("a", 2, 3), send("a", 4, 5)], ["phantom"]),
    ("a refused command that came all the same", "queue", [send("a", 0, 1, FAILED), fetch("a", 2, 3)], ["failed-write-seen"]),
    ("a refused command that is there", "queue", [send("a", 0, 1, FAILED), final("a", "Queued")], ["failed-write-seen"]),
    ("a canceled command that comes", "queue", [send("a", 0, 1), op("cancel", "a", 2, 3), fetch("a", 4, 5), final("a", "Canceled")], ["stale-read"]),
    ("a cancel that is lost", "queue", [send("a", 0, 1), op("cancel", "a", 2, 3), final("a", "Queued")], ["lost-write"]),
    ("a command of the enrollment before", "queue", [send("a", 0, 1), op("clear", None, 2, 3), fetch("a", 4, 5)], ["stale-read"]),
    ("refused, fetched, and only then sent", "queue", [send("a", 0, 1, FAILED), fetch("a", 2, 3), send("a", 4, 5)], ["phantom"]),
    ("a cancel that was refused or had no reply", "queue", [send("a", 0, 1), op("cancel", "a", 2, 3, UNKNOWN), op("cancel", "a", 4, 5, FAILED), fetch("a", 6, 7), final("a", "Delivered")], []),
    ("a new enrollment without reply", "queue", [send("a", 0, 1), op("clear", None, 2, 3, UNKNOWN), fetch("a", 4, 5)], []),
    ("an answer that was refused and is kept", "queue", [send("a", 0, 1), fetch("a", 2, 3), answer("a", 4, 5, FAILED), final("a", "Acknowledged")], ["phantom"]),
    ("not offered after an answer that was refused", "queue", [send("a", 0, 1), fetch("a", 2, 3), answer("a", 4, 5, FAILED), fetch(None, 6, 7)], ["stale-read"]),
    # ---- registers
    ("write and read", "register", [read(None, 0, 1), write("a", 2, 3), read("a", 4, 5), write("b", 6, 7), read("b", 8, 9)], []),
    ("reads beside a write may give either", "register", [write("a", 0, 1), write("b", 2, 9), read("b", 3, 4), read("b", 5, 6)], []),
    ("two writes at the same time, read in one order", "register", [write("a", 0, 5), write("b", 0, 5), read("b", 6, 7), read("b", 8, 9)], []),
    ("a write without reply that happens late", "register", [write("a", 0, 1, UNKNOWN), write("b", 2, 3), read("b", 4, 5), read("a", 6, 7)], []),
    ("a write without reply that never happens", "register", [write("a", 0, 1, UNKNOWN), read(None, 4, 5), write("b", 6, 7), read("b", 8, 9)], []),
    ("a read without reply says nothing", "register", [write("a", 0, 1), read("x", 2, 3, UNKNOWN)], []),
    ("a lost write", "register", [write("a", 0, 1), read(None, 2, 3)], ["stale-read"]),
    ("a lost overwriting", "register", [write("a", 0, 1), write("b", 2, 3), read("a", 4, 5)], ["stale-read"]),
    ("back to the old after the new was seen", "register", [write("a", 0, 1), write("b", 2, 9), read("b", 3, 4), read("a", 5, 6)], ["stale-read"]),
    ("back to the old after what had no reply was seen", "register", [write("a", 0, 1), write("b", 2, 3, UNKNOWN), read("b", 4, 5), read("a", 6, 7)], ["stale-read"]),
    ("two writes at the same time, read in both orders", "register", [write("a", 0, 5), write("b", 0, 5), read("a", 6, 7), read("b", 8, 9)], ["stale-read"]),
    ("read by two at the same time in both orders", "register", [write("a", 0, 2), write("b", 0, 2), read("a", 3, 4), read("b", 5, 6), read("a", 7, 8)], ["stale-read"]),
    ("a value that nobody wrote", "register", [write("a", 0, 1), read("x", 2, 3)], ["phantom"]),
    ("a value from the future", "register", [read("a", 0, 1), write("a", 2, 3)], ["phantom"]),
    ("a refused write that is read", "register", [write("a", 0, 1, FAILED), read("a", 2, 3)], ["failed-write-seen"]),
    # ---- grants
    ("made, used, revoked", "grant", [op("create", None, 0, 1), use(True, 2, 3), op("revoke", None, 4, 5), use(False, 6, 7)], []),
    ("used while it is being revoked", "grant", [op("create", None, 0, 1), op("revoke", None, 2, 9), use(True, 3, 4), use(False, 5, 6)], []),
    ("a revocation without reply", "grant", [op("create", None, 0, 1), op("revoke", None, 2, 3, UNKNOWN), use(False, 4, 5), use(True, 6, 7)], []),
    ("a creation without reply", "grant", [op("create", None, 0, 1, UNKNOWN), use(False, 2, 3)], []),
    ("used after it was revoked", "grant", [op("create", None, 0, 1), op("revoke", None, 2, 3), use(True, 4, 5)], ["used-after-revoke"]),
    ("a creation that is lost", "grant", [op("create", None, 0, 1), use(False, 2, 3)], ["lost-write"]),
    ("a creation that was refused", "grant", [op("create", None, 0, 1, FAILED), use(True, 2, 3)], ["phantom"]),
    # ---- rights and certificates
    ("one certificate", "right", [issue("1", 0, 1), op("final", "1", 2, 3, got="c1")], []),
    ("asked again with the same key", "right", [issue("1", 0, 1), issue("1", 2, 3), op("final", "1", 4, 5, got="c1")], []),
    ("good for two", "right", [issue("1", 0, 1, pubkey="a", uses=2), issue("2", 2, 3, pubkey="b", uses=2)], []),
    ("no reply, then another key", "right", [issue("1", 0, 1, UNKNOWN, pubkey="a"), issue("2", 2, 3, pubkey="b")], []),
    ("a right used twice", "right", [issue("1", 0, 1, pubkey="a"), issue("2", 0, 1, pubkey="b")], ["right-twice"]),
    ("a serial twice", "right", [issue("1", 0, 1, cert="x"), issue("1", 2, 3, cert="y")], ["serial-twice"]),
    ("a certificate that is gone", "right", [issue("1", 0, 1), op("final", "1", 2, 3, got=None)], ["lost-write"]),
    ("another certificate in its row", "right", [issue("1", 0, 1), op("final", "1", 2, 3, got="cx")], ["lost-write"]),
]


def faults_of(model, rows):
    history = History()
    history.ops = [Op(id=i, model=model, key="k", actor="t", node=0, **row) for i, row in enumerate(rows, 1)]
    return sorted({fault.kind for fault in check(history)})


def is_linearizable(ops):
    """The definition, for few operations: tries all orders."""
    writes = [o for o in ops if o.kind == "write" and o.outcome != FAILED]
    rest = [o for o in ops if o.kind == "read" and o.outcome == OK] + writes

    def search(left, value):
        if all(o.outcome == UNKNOWN for o in left):
            return True
        for o in left:
            if any(other.outcome == OK and other.before(o) for other in left):
                continue
            if o.kind == "read" and o.got != value:
                continue
            if search([x for x in left if x is not o], o.value if o.kind == "write" else value):
                return True
        return False
    return search(rest, None)


def random_register(rng):
    """Up to seven operations of a few clients, which agree with time most of the time."""
    ops, value = [], None
    for i in range(rng.randint(2, 7)):
        start = rng.random() * 10
        end = start + rng.random() * 4
        if rng.random() < 0.5:
            value = f"v{i}"
            ops.append(Op(id=i, model="register", key="k", kind="write", value=value, start=start, end=end, outcome=rng.choice([OK, OK, UNKNOWN])))
        else:
            values = [None] + [o.value for o in ops if o.kind == "write"]
            ops.append(Op(id=i, model="register", key="k", kind="read", got=rng.choice(values), start=start, end=end, outcome=OK))
    return ops


def compare_with_definition(n=4000, seed=9):
    rng, both = random.Random(seed), collections.Counter()
    for _ in range(n):
        ops = random_register(rng)
        history = History()
        history.ops = ops
        found, wanted = not check(history), is_linearizable(ops)
        both[wanted] += 1
        if found != wanted:
            return "\n".join(["the checker says " + ("fine" if found else "fault"), *map(str, ops)])
    return "" if min(both[True], both[False]) > n / 10 else f"too few of one sort: {both}"


def keeps_its_files():
    history = History()
    with history.operation("register", "write", "k", "a", actor="x", node=1) as o:
        history.end(o, OK)
    try:
        with history.operation("register", "write", "k", "b"):
            raise OSError("cut")
    except OSError:
        pass
    with history.operation("register", "read", "k") as o:
        history.end(o, OK, got=None)
    history.event("kill")
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as f:
        history.save(f.name)
        again = History.load(f.name)
    if [str(o) for o in again.ops] != [str(o) for o in history.ops] or again.events != history.events:
        return "what was read is not what was written"
    if [o.outcome for o in again.ops] != [OK, UNKNOWN, OK]:
        return f"outcomes {[o.outcome for o in again.ops]}"
    return "" if [f.kind for f in check(again)] == ["stale-read"] else f"faults {check(again)}"


def measures_gaps():
    history = History()
    history.ops = [Op(kind="read", start=t, end=t + 0.5, outcome=OK) for t in (1, 2, 7, 8)]
    history.events = [(0.5, "up"), (3, "down"), (4, "up"), (20, "up")]
    gap, again = longest_gap(history, 0, 10), recovery(history, 0, 10, lambda name: name == "up")
    return "" if gap == 5.0 and longest_gap(history, 6, 9) == 1.5 and again == 3.5 and recovery(history, 0, 30, lambda name: name == "up") == math.inf else f"gap {gap}, again {again}"


def main():
    named = [(what, lambda m=model, r=rows, w=wanted: "" if faults_of(m, r) == sorted(w) else f"found {faults_of(m, r)}, wanted {w}") for what, model, rows, wanted in CASES]
    named += [("registers as the definition says", compare_with_definition), ("files", keeps_its_files), ("gaps", measures_gaps)]
    print(f"1..{len(named)}")
    failed = 0
    for number, (what, fn) in enumerate(named, 1):
        why = fn()
        failed += bool(why)
        print(f"{'not ok' if why else 'ok'} {number} - history: {what}")
        for line in why.splitlines():
            print(f"# {line}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
