"""The short form of tests/nodes_faults.py: two nodes over a database with a synchronous standby, with each fault in turn for a few seconds."""
import collections
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from nodes_faults import *


@case
def nothing_acknowledged_is_lost_whatever_breaks():
    run = Run(ORDINARY, seconds=6, n_nodes=2, stop_s=3)
    found = run.go()
    run.report()
    expect(not found, f"{len(found)} faults: " + "\n".join(f"{f.kind}: {f.key}: {f.text}" for f in found[:10]))
    for fault, _, counts, *_ in run.measured:
        expect(counts[OK] >= 20, f"{fault}: hardly anything was acknowledged: {counts}")
        expect(counts[FAILED] + counts[UNKNOWN] > 0, f"{fault}: nothing was disturbed: {counts}")
    kinds = collections.Counter((op.model, op.kind) for op in run.clients.history.ops if op.outcome == OK)
    for wanted in [("queue", "send"), ("queue", "fetch"), ("queue", "answer"), ("queue", "final"), ("register", "write"), ("register", "read"), ("grant", "use"), ("right", "issue")]:
        expect(kinds[wanted] > 0, f"no {wanted} was acknowledged: {kinds}")


if __name__ == "__main__":
    main()
