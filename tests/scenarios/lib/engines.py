"""Which cases are for one engine only, and why: the rows of tests/scenarios/engines.tsv, SCENARIO, CASE or *, ENGINE, reason.

ENGINE is sqlite or postgres; or none: no store is opened, or only to have a server that something else is tested with, so that once is enough. `engines.py SCENARIO…` says which of the
scenarios have a case to run with POMONA_TEST_STORE."""
import pathlib
import sys

try:
    from lib import store
except ImportError:
    import store

TABLE = pathlib.Path(__file__).parents[1] / "engines.tsv"


def rows():
    """(scenario, case, engine, reason)"""
    lines = [line.split("\t") for line in TABLE.read_text().splitlines() if line and not line.startswith("#")]
    for line in lines:
        if len(line) != 4 or line[2] not in ("sqlite", "postgres", "none") or not line[3]:
            sys.exit(f"{TABLE}: SCENARIO, CASE or *, sqlite, postgres or none, and the reason, with tabs between: {line}")
    return lines


def is_left_out(engine, row):
    return row[2] != engine and (row[2] != "none" or engine != "sqlite")


def left_out(scenario, cases):
    """{case: why} of the CASES of SCENARIO that are not for the engine that is tested."""
    found = {}
    for row in rows():
        if row[0] != scenario:
            continue
        if row[1] != "*" and row[1] not in cases:
            sys.exit(f"{TABLE}: {scenario} has no case {row[1]}")
        if is_left_out(store.ENGINE, row):
            found.update((c, row[3]) for c in cases if row[1] in ("*", c))
    return found


if __name__ == "__main__":
    gone = {row[0] for row in rows() if row[1] == "*" and is_left_out(store.ENGINE, row)}
    print("\n".join(s for s in sys.argv[1:] if s not in gone))
