"""A history of operations, and what must hold of it: history.py FILE.jsonl

Clients write down what they do: an operation has a beginning, an end and an outcome. `ok` means that it was acknowledged, `failed` that it was
refused and has surely changed nothing, `unknown` that it may have happened, or may still happen. From that alone, and from what is read at the end,
the checkers below find what may never be. None of them knows how the server works, and none of them guesses: what one of them says is a fault.

Times are seconds of one monotonic clock. An operation A came before B when A's end is smaller than B's beginning; else they were at the same time and
may have happened in either order.

    model     | operations (`key` says of what)                                     | what may never be
    ----------|---------------------------------------------------------------------|------------------------------------------------------------------------------
    register  | write(value), read → value                                          | a value that nobody wrote, or that was overwritten before: not linearizable
    queue     | send(uuid), fetch → uuid or None, answer(uuid, status),             | lost, fetched again after its answer or its end, not offered while it waits,
              | cancel(uuid), clear (a new enrollment), final(uuid) → status        | an answer lost
    grant     | create, use → accepted or not, revoke                               | refused after it was made, accepted before that, or after it was revoked
    right     | issue(serial, cert, pubkey, uses) → serial; final                   | a right or a serial used twice, an issued certificate that is gone
"""
import collections
import contextlib
import itertools
import json
import math
import sys
import threading
import time

OK, FAILED, UNKNOWN = "ok", "failed", "unknown"
# After these the server never offers a command again.
FINAL_ANSWERS = ("Acknowledged", "Error", "CommandFormatError")

Fault = collections.namedtuple("Fault", "kind key text")


class Op:
    """One operation. `value` is what was written or asked, `got` what came back; `status` is what a device says of a command."""

    __slots__ = ("id", "model", "kind", "key", "value", "status", "got", "actor", "node", "start", "end", "outcome", "note")

    def __init__(self, **fields):
        for name in self.__slots__:
            setattr(self, name, fields.get(name))

    def before(self, other):
        return self.end is not None and self.end < other.start

    def may_have_happened(self):
        return self.outcome != FAILED

    def row(self):
        return {name: getattr(self, name) for name in self.__slots__}

    def __str__(self):
        end = "…" if self.end is None else f"{self.end:.3f}"
        return f"#{self.id} {self.kind} {self.value!r} → {self.outcome} {self.got!r} [{self.start:.3f}–{end}] by {self.actor} at {self.node}"


class History:
    """Written by many threads."""

    def __init__(self, clock=time.monotonic):
        self.clock, self.ops, self.events = clock, [], []
        self.lock, self.numbers = threading.Lock(), itertools.count(1)

    def begin(self, model, kind, key, value=None, **more):
        op = Op(id=next(self.numbers), model=model, kind=kind, key=key, value=value, start=self.clock(), outcome=UNKNOWN, **more)
        with self.lock:
            self.ops.append(op)
        return op

    def end(self, op, outcome, got=None, note=None):
        op.got, op.note, op.end, op.outcome = got, note, self.clock(), outcome

    @contextlib.contextmanager
    def operation(self, model, kind, key, value=None, **more):
        """What is not ended within, because something was raised, is unknown."""
        op = self.begin(model, kind, key, value, **more)
        try:
            yield op
        except BaseException as e:
            if op.end is None:
                self.end(op, UNKNOWN, note=f"{type(e).__name__}: {e}")
            raise
        if op.end is None:
            self.end(op, UNKNOWN)

    def event(self, name):
        """Something that was done to the nodes or the database."""
        with self.lock:
            self.events.append((self.clock(), name))

    def counts(self):
        return collections.Counter(op.outcome for op in self.ops)

    def save(self, path):
        with open(path, "w", encoding="utf-8") as f:
            for at, name in self.events:
                f.write(json.dumps({"event": name, "at": at}) + "\n")
            for op in self.ops:
                f.write(json.dumps(op.row()) + "\n")

    @classmethod
    def load(cls, path):
        history = cls()
        with open(path, encoding="utf-8") as f:
            for line in f:
                row = json.loads(line)
                if "event" in row:
                    history.events.append((row["at"], row["event"]))
                else:
                    history.ops.append(Op(**row))
        return history


def check(history):
    """All faults of a history."""
    groups = collections.defaultdict(list)
    for op in history.ops:
        groups[op.model, op.key].append(op)
    faults = []
    for (model, key), ops in groups.items():
        ops.sort(key=lambda op: (op.start, op.id))
        faults += [Fault(kind, key, text) for kind, text in MODELS[model](ops)]
    return faults + [Fault("serial-twice", key, text) for key, text in check_serials(history.ops)]


# ---------------------------------------------------------------- registers

def check_register(ops):
    """Whether there is an order of all reads and writes that agrees with time and in which each read gives the last value written. Every write has a value of its own, so
    each value has a zone: from the first end of an operation on it to the last beginning of one. Where it is turned round, all of them could have been at one moment. The order exists exactly
    when no two zones that are not turned round overlap, and none that is turned round lies within one that is not (Gibbons and Korach, Testing Shared Memories, 1997)."""
    writes = {None: Op(id=0, kind="write", value=None, outcome=OK, start=-math.inf, end=-math.inf)}
    reads = collections.defaultdict(list)
    for op in ops:
        if op.kind == "write":
            if op.value in writes:
                raise ValueError(f"the value {op.value!r} was written twice: {op}")
            writes[op.value] = op
        elif op.outcome == OK:
            reads[op.got].append(op)
    for value, seen in reads.items():
        write = writes.get(value)
        if write is None:
            yield "phantom", f"a value that nobody wrote here was read: {seen[0]}"
        elif not write.may_have_happened():
            yield "failed-write-seen", f"{seen[0]} read what was refused: {write}"
        elif min(seen, key=lambda op: op.end).before(write):
            yield "phantom", f"{seen[0]} read what was written later: {write}"
    yield from crossed_zones([zone(write, reads[value]) for value, write in writes.items() if write.outcome == OK or (reads[value] and write.outcome == UNKNOWN)])


Zone = collections.namedtuple("Zone", "first_end last_start write reads")


def zone(write, reads):
    ends = [op.end for op in reads] + ([write.end] if write.outcome == OK else [])
    return Zone(min(ends), max([write.start] + [op.start for op in reads]), write, reads)


def crossed_zones(zones):
    forward = sorted((z for z in zones if z.first_end < z.last_start), key=lambda z: z.first_end)
    reach = None
    for z in forward:
        if reach and z.first_end < reach.last_start:
            yield "stale-read", f"{newest(reach)} read {reach.write.value!r} although {z.write.value!r} had been written and seen after it: {z.write}"
        if reach is None or z.last_start > reach.last_start:
            reach = z
    for z in zones:
        if z.first_end >= z.last_start:
            around = next((f for f in forward if f.first_end < z.last_start and z.first_end < f.last_start), None)
            if around:
                yield "stale-read", f"{newest(around)} read {around.write.value!r} although {z.write.value!r} had been written after it: {z.write}"


def newest(z):
    return max([z.write, *z.reads], key=lambda op: op.start)


# ---------------------------------------------------------------- queues of commands

def check_queue(ops):
    """The queue of one enrollment. Its device does one thing at a time."""
    commands, clears = {}, [op for op in ops if op.kind == "clear" and op.may_have_happened()]
    for op in ops:
        name = op.got if op.kind == "fetch" else op.value
        if name is not None:
            commands.setdefault(name, collections.defaultdict(list))[op.kind].append(op)
    for uuid, of in commands.items():
        yield from check_sent(uuid, of)
        yield from check_offered_again(uuid, of, clears)
        yield from check_end(uuid, of)
    yield from check_empty(ops, commands, clears)


def maybe(ops):
    return [op for op in ops if op.may_have_happened()]


def acknowledged(ops):
    return [op for op in ops if op.outcome == OK]


def taken_answers(of):
    return [a for a in acknowledged(of["answer"]) if a.status in FINAL_ANSWERS]


def check_sent(uuid, of):
    for fetch in of["fetch"]:
        if not maybe(of["send"]):
            yield ("failed-write-seen" if of["send"] else "phantom"), f"a command that {'was refused' if of['send'] else 'nobody sent'} was fetched: {fetch}"
            return
        if all(fetch.before(send) for send in maybe(of["send"])):
            yield "phantom", f"command {uuid} was fetched before it was sent: {fetch}"


def check_offered_again(uuid, of, clears):
    ends = taken_answers(of) + acknowledged(of["cancel"])
    ends += [c for c in acknowledged(clears) if of["send"] and all(send.before(c) for send in of["send"])]
    for fetch in of["fetch"]:
        over = next((op for op in ends if op.before(fetch)), None)
        if over:
            yield "executed-again" if over.kind == "answer" else "stale-read", f"command {uuid} was offered again by {fetch} after this was acknowledged: {over}"


def check_end(uuid, of):
    """What is known of the command in the end."""
    if not of["final"]:
        return
    status, taken, possible = of["final"][-1].got, taken_answers(of), {a.status for a in maybe(of["answer"])}
    if acknowledged(of["send"]) and status is None:
        yield "lost-write", f"command {uuid} was acknowledged and is gone: {of['send'][0]}"
    elif taken and status not in possible:
        yield "answer-lost", f"the answer to command {uuid} was acknowledged, and it is {status} in the end: {taken[0]}"
    elif status in FINAL_ANSWERS and status not in possible:
        yield "phantom", f"command {uuid} is {status}, which its device never said"
    elif acknowledged(of["cancel"]) and status not in {"Canceled", *possible}:
        yield "lost-write", f"command {uuid} was canceled, and it is {status} in the end"
    elif status is not None and of["send"] and not maybe(of["send"]):
        yield "failed-write-seen", f"command {uuid} was refused and is {status} in the end: {of['send'][0]}"


def check_empty(ops, commands, clears):
    """A device that is told that nothing waits, while something does."""
    waiting = []
    for uuid, of in commands.items():
        sent = min((s.end for s in acknowledged(of["send"])), default=None)
        if sent is None:
            continue
        first = min(s.start for s in of["send"])
        touched = [op.start for op in maybe(of["answer"]) + maybe(of["cancel"])] + [c.start for c in clears if c.end is None or c.end >= first]
        waiting.append((uuid, sent, min(touched, default=math.inf)))
    for op in ops:
        if op.kind != "fetch" or op.outcome != OK or op.got is not None:
            continue
        for uuid, sent, touched in waiting:
            if sent < op.start and op.end < touched:
                yield "stale-read", f"command {uuid}, acknowledged at {sent:.3f}, was not offered: {op}"


# ---------------------------------------------------------------- what is given and taken back

def check_grant(ops):
    """A token, an identity, a link: from its creation to its revocation it is good, and never again."""
    made = [op for op in ops if op.kind == "create"]
    revoked = [op for op in ops if op.kind == "revoke" and op.may_have_happened()]
    created_at = min((op.end for op in made if op.outcome == OK), default=math.inf)
    revoked_at = min((op.end for op in revoked if op.outcome == OK), default=math.inf)
    may_be_revoked_from = min((op.start for op in revoked), default=math.inf)
    may_be_made_from = min((op.start for op in made if op.may_have_happened()), default=math.inf)
    for op in ops:
        if op.kind != "use" or op.outcome != OK:
            continue
        if op.got and op.start > revoked_at:
            yield "used-after-revoke", f"it was revoked at {revoked_at:.3f} and accepted: {op}"
        elif op.got and op.end < may_be_made_from:
            yield "phantom", f"it was accepted before anybody made it: {op}"
        elif not op.got and created_at < op.start and op.end < may_be_revoked_from:
            yield "lost-write", f"it was acknowledged at {created_at:.3f} and refused: {op}"


# ---------------------------------------------------------------- certificates

def check_right(ops):
    """What a right (a challenge) has given. An `issue` has value {"pubkey", "uses"} and got {"serial", "cert"}; asking again with the same key is the same use."""
    issued = [op for op in ops if op.kind == "issue" and op.outcome == OK and op.got]
    keys = collections.OrderedDict((op.value["pubkey"], op) for op in issued)
    uses = min((op.value["uses"] for op in issued), default=1)
    if len(keys) > uses:
        yield "right-twice", f"it is good for {uses} and gave certificates to {len(keys)} keys: " + "; ".join(str(op) for op in keys.values())
    finals = {op.value: op for op in ops if op.kind == "final" and op.outcome == OK}
    for op in issued:
        final = finals.get(op.got["serial"])
        if final and final.got != op.got["cert"]:
            yield "lost-write", f"certificate {op.got['serial']} was given out and {'is gone' if final.got is None else 'another one has its row'}: {op}"


def check_serials(ops):
    """No serial is on two certificates, whoever got them."""
    seen = {}
    for op in ops:
        if op.model == "right" and op.kind == "issue" and op.outcome == OK and op.got:
            first = seen.setdefault((op.got.get("issuer"), op.got["serial"]), op)
            if first.got["cert"] != op.got["cert"]:
                yield op.key, f"serial {op.got['serial']} is on two certificates: {first}; {op}"


MODELS = {"register": check_register, "queue": check_queue, "grant": check_grant, "right": check_right}


# ---------------------------------------------------------------- how long nothing was served

def longest_gap(history, start, end, kinds=None):
    """The longest time between START and END in which no operation was acknowledged, in seconds."""
    times = sorted(op.end for op in history.ops if op.outcome == OK and start <= op.end <= end and (kinds is None or op.kind in kinds))
    points = [start, *times, end]
    return max(b - a for a, b in zip(points, points[1:]))


def recovery(history, start, end, mended):
    """The longest time from an event between START and END of which MENDED(name) holds to the next acknowledgement, in seconds; 0 when there was none."""
    times = sorted(op.end for op in history.ops if op.outcome == OK)
    waits = [next((t - at for t in times if t > at), math.inf) for at, name in history.events if start <= at <= end and mended(name)]
    return max(waits, default=0.0)


def main():
    history = History.load(sys.argv[1])
    faults = check(history)
    for fault in faults:
        print(f"{fault.kind}: {fault.key}: {fault.text}")
    print(f"{len(history.ops)} operations, {dict(history.counts())}, {len(faults)} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
