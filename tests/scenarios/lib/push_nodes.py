"""Nodes that push: what the scenarios of them share."""
from lib.apns_peer import *

# How long a node has what it has claimed, and some more for a machine that is busy.
TAKEN_OVER = 15 + 45


@contextlib.contextmanager
def two_nodes(apns_args=(), rate=100, lease=15, other=None):
    """(APNs, its log, first node, another one, which may have OTHER (a copy of the first APNs) for APNs), both ready."""
    with (pushes_log() as log, Apns("--quiet", "--log", log, *apns_args) as apns,
          server(apns, "--set", f"push.per_second={rate}", "--set", f"node.lease_seconds={lease}", "--set", "node.name=first") as a):
        yield apns, log, a, a.node("--set", "node.name=second", *(other(apns).server_args() if other else []))


@contextlib.contextmanager
def pushes_log():
    path = tempfile.mktemp(prefix="pomona-pushed-")
    yield path
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def n_sent(node):
    return node.metric('pomona_pushes_total{result="ok"}')


def n_owed(s):
    return s.sql("SELECT count(*) FROM push_outbox WHERE waiting = 0")[0][0]


def n_claimed(s):
    return s.sql("SELECT count(*) FROM push_outbox WHERE claim <> ''")[0][0]


def owed_tokens(s, tokens):
    """Of the devices that `fill` has made: those whose push is not written down as sent."""
    return {tokens[int(row[0].split("-")[-1], 16)].hex() for row in s.sql("SELECT enrollment_id FROM push_outbox WHERE waiting = 0")}


def same(got, wanted, what):
    """Two dictionaries are alike; else what differs first is told."""
    differ = [key for key in {**got, **wanted} if got.get(key) != wanted.get(key)]
    expect(not differ, f"{what}: {len(differ)} differ, as {[(key, got.get(key), wanted.get(key)) for key in differ[:3]]}")


def each_once(log, tokens):
    same(pushed(log), {t.hex(): 1 for t in tokens}, "pushes")


def outbox_rows(s):
    return {row["enrollment_id"]: row for row in outbox(s)}
