#!/usr/bin/env python3
"""What the table of the doctor's rules becomes. Run by meson.

    doctor_catalog.py table RULES.tsv OUTPUT.inc           the C table
    doctor_catalog.py page RULES.tsv                       the list of rules in docs/doctor.md, on standard output
    doctor_catalog.py check RULES.tsv PAGE.md SOURCES…     whether that page ends with it, and whether the sources name the rules of the table and no others (TAP)

A row has the rule's id, its group, the severity that it usually has, the systems that it is about ("all", or names separated by spaces), since when, what devices demand, how to mend it, and where that is
written; Since and Source may be empty. Texts are whole sentences but for Mend, which may end in a command."""
import re
import sys

COLUMNS = "Id Group Severity Systems Since Text Mend Source".split()
GROUPS = {"file": "Files", "connection": "The connection", "chain": "The chain", "certificate": "The certificate", "trust": "Trust", "anchors": "Anchors", "scep": "SCEP", "mdm": "This server"}
SEVERITIES = ["error", "warning", "note"]
SYSTEMS = ["iOS", "macOS", "watchOS", "tvOS", "visionOS"]


def read(path):
    rows = []
    with open(path, encoding="utf-8") as f:
        for line, text in enumerate(f.read().split("\n")[:-1], 1):
            row = dict(zip(COLUMNS, text.split("\t")))

            def fail(what):
                sys.exit(f"{path}:{line}: {what}")
            if text.count("\t") != len(COLUMNS) - 1:
                fail(f"{text.count(chr(9)) + 1} columns, must be {len(COLUMNS)}")
            if line == 1:
                if text.split("\t") != COLUMNS:
                    fail(f"the first line must be: {' '.join(COLUMNS)}")
                continue
            if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row["Id"]) or any(r["Id"] == row["Id"] for r in rows):
                fail("Id must be words joined by '-', and its own")
            if row["Group"] not in GROUPS or row["Severity"] not in SEVERITIES:
                fail("Group or Severity is not known")
            if row["Systems"] != "all" and not set(row["Systems"].split()) <= set(SYSTEMS):
                fail(f"Systems are all, or of {', '.join(SYSTEMS)}")
            if not row["Text"].endswith(".") or not row["Mend"]:
                fail("Text must be whole sentences, and Mend must be there")
            rows.append(row)
    return rows


def c(value):
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if value else "NULL"


def table(rows, output):
    with open(output, "w", encoding="utf-8") as f:
        for row in rows:
            systems = "FINDING_ALL_SYSTEMS" if row["Systems"] == "all" else " | ".join(f"FINDING_{s.upper()}" for s in row["Systems"].split())
            f.write(f"{{{c(row['Id'])}, {c(row['Group'])}, FINDING_{row['Severity'].upper()}, {systems}, {c(row['Since'])}, {c(row['Text'])}, {c(row['Mend'])}, {c(row['Source'])}}},\n")


def page(rows):
    lines = ["## Rules", "", "This list is made from `catalog/doctor-rules.tsv` by `tools/doctor_catalog.py page`, and `./check` proves that it is; `pomona doctor --rules` prints it.", ""]
    for group, title in GROUPS.items():
        lines += [f"### {title}", ""]
        for row in rows:
            if row["Group"] == group:
                head = ", ".join(x for x in (row["Severity"], "" if row["Systems"] == "all" else row["Systems"].replace(" ", ", "), f"since {row['Since']}" if row["Since"] else "") if x)
                lines.append(f"* `{row['Id']}` ({head}): {row['Text']} *{row['Mend']}*" + (f" [{row['Source']}]" if row["Source"] else ""))
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


def report(number, problems, name):
    print(f"{'not ok' if problems else 'ok'} {number} - {name}")
    for problem in problems:
        print(f"# {problem}")
    return bool(problems)


def check(rows, page_path, sources):
    with open(page_path, encoding="utf-8") as f:
        is_fresh = f.read().endswith("\n" + page(rows))
    failed = report(1, [] if is_fresh else ["write its end anew: tools/doctor_catalog.py page catalog/doctor-rules.tsv"], "docs/doctor.md has the rules of the table")
    text = ""
    for path in sources:
        with open(path, encoding="utf-8") as f:
            text += f.read()
    known = {row["Id"] for row in rows}
    named = set(re.findall(r'doctor_say(?:_as)?\(\s*[^,"]+,\s*"([^"]+)"', text))
    failed |= report(2, [f"{name} is no rule of the table" for name in sorted(named - known)] + [f"nothing finds {name}" for name in sorted(known) if f'"{name}"' not in text],
                     "the sources and the table have the same rules")
    print("1..2")
    sys.exit(1 if failed else 0)


def main(what, rules, *rest):
    rows = read(rules)
    if what == "table":
        table(rows, *rest)
    elif what == "page":
        sys.stdout.write(page(rows))
    else:
        check(rows, rest[0], rest[1:])


main(*sys.argv[1:])
