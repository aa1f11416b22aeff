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
    """{case: why} of the CASES of SCENARIO that are not for the engine that is tested. A row of its own goes before that of all."""
    mine = {row[1]: row for row in rows() if row[0] == scenario}
    for case in mine:
        if case != "*" and case not in cases:
            sys.exit(f"{TABLE}: {scenario} has no case {case}")
    found = {case: mine.get(case, mine.get("*")) for case in cases}
    return {case: row[3] for case, row in found.items() if row and is_left_out(store.ENGINE, row)}


def has_cases(scenario):
    """Whether there may be a case to run."""
    mine = [row for row in rows() if row[0] == scenario]
    return not any(row[1] == "*" and is_left_out(store.ENGINE, row) for row in mine) or any(row[1] != "*" and not is_left_out(store.ENGINE, row) for row in mine)


if __name__ == "__main__":
    print("\n".join(s for s in sys.argv[1:] if has_cases(s)))
