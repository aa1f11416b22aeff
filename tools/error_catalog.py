#!/usr/bin/env python3
"""Makes the C table of Apple's error codes: error_catalog.py ERRORS.tsv OUTPUT.inc. Run by meson.

A row has the domain, the code (a number, or a word as APNs and declarative management use), its name, what it means, likely causes and what to look at; the last two may be empty."""
import sys

COLUMNS = "Domain Code Name Text Causes LookAt".split()


def read(path):
    seen = set()
    with open(path, encoding="utf-8") as f:
        for line, text in enumerate(f.read().split("\n")[:-1], 1):
            row = text.split("\t")

            def fail(what):
                sys.exit(f"{path}:{line}: {what}")
            if len(row) != len(COLUMNS):
                fail(f"{len(row)} columns, must be {len(COLUMNS)}")
            if line == 1:
                if row != COLUMNS:
                    fail(f"the first line must be: {' '.join(COLUMNS)}")
                continue
            if (row[0], row[1]) in seen:
                fail(f"{row[0]} {row[1]} is there twice")
            if not all(row[:4]):
                fail("Domain, Code, Name and Text must be there")
            if not row[3].endswith(".") or (row[4] and not row[4].endswith(".")):
                fail("Text and Causes must be whole sentences")
            seen.add((row[0], row[1]))
            yield row


def c(value):
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if value else "NULL"


def main(path, output):
    rows = [f"{{{c(domain)}, {code if code.isdigit() else 0}, {c(name)}, {c(text)}, {c(causes)}, {c(look_at)}, {c('' if code.isdigit() else code)}}},"
            for domain, code, name, text, causes, look_at in read(path)]
    with open(output, "w", encoding="utf-8") as f:
        f.write("\n".join(rows) + "\n")


main(*sys.argv[1:])
