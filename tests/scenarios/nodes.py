"""Several nodes over one PostgreSQL: who does what, and what happens when one dies, is stopped, or does not fit to the others."""
import json
import os
import signal
import time

from harness import Server, case, equal, expect, main, wait_for

LEASE = 5
JOBS = {"audit", "crl", "ca", "renewal", "commands", "profiles", "declarations", "queries", "orders", "inventory", "warnings", "purge", "doctor"}


def server(*args, **options):
    return Server("--set", f"node.lease_seconds={LEASE}", *args, **options)


def nodes(of):
    return {n["name"]: n for n in of.cli("node", "list")}


def jobs(of):
    """{name of a node that works: its jobs}"""
    return {name: set(n["jobs"]) for name, n in nodes(of).items() if n["state"] == "working"}


def shared(of, *names):
    """Waits until NAMES, and nobody else, have all jobs among them."""
    def done():
        found = jobs(of)
        return set(found) == set(names) and set().union(*found.values()) == JOBS and all(found.values()) and found
    return wait_for(f"{names} have all jobs", done, 60)


@case
def jobs_are_shared_and_handed_over():
    with server("--set", "node.name=first") as s:
        equal(shared(s, "first")["first"], JOBS, "one node alone")
        second = s.node("--set", "node.name=second")
        found = shared(s, "first", "second")
        expect(not found["first"] & found["second"], f"no job twice: {found}")
        expect(all(len(have) <= (len(JOBS) + 1) // 2 for have in found.values()), f"about the half each: {found}")
        equal(jobs(second), jobs(s), "both tell the same")
        code, out, err = s.cli_code("node", "list")
        equal(code, 0, err)
        expect("first" in out and "second" in out and "working" in out, out)
        # A clean end is no death: no time passes, and nothing is left of it.
        began = time.monotonic()
        second.stop()
        equal(set(nodes(s)), {"first"}, "a node that has ended is not listed")
        shared(s, "first")
        expect(time.monotonic() - began < 60, "handed over")


@case
def one_node_over_sqlite():
    with server("--set", "node.name=only") as s:
        [n] = s.cli("node", "list")
        equal((n["name"], n["state"], set(n["jobs"]), n["self"]), ("only", "working", JOBS, True), "node")
        equal(s.sql("SELECT count(*) FROM node")[0][0], 0, "nothing is written")
        equal(s.sql("SELECT count(*) FROM lease")[0][0], 0, "nothing is written")


if __name__ == "__main__":
    main()
