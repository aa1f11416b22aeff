#!/usr/bin/env python3
"""Makes the C tables of declarations, their keys and status items: declaration_catalog.py DECLARATIONS.tsv KEYS.tsv STATUS.tsv OUTPUT.inc. Run by meson.

A key path has a '.' before a key of a dictionary and '[]' before an item of an array; '*' is a key of any name. Each system of a row is "iOS>=17.0" or, for keys,
"iOS:>=17.0", "iOS:n/a" and "iOS:removed 18.0"."""
import csv
import re
import sys

SYSTEMS = ["iOS", "macOS", "tvOS", "visionOS", "watchOS"]
TYPES = {"dictionary": "OBJECT", "array": "ARRAY", "string": "STRING", "integer": "INTEGER", "real": "REAL", "boolean": "BOOLEAN", "data": "STRING", "any": "ANY", "": "ANY"}
KINDS = {"com.apple.activation": "ACTIVATION", "com.apple.configuration": "CONFIGURATION", "com.apple.asset": "ASSET", "com.apple.management": "MANAGEMENT", "com.apple.credential": "DATA"}
ENROLLMENTS = {"supervised": 1, "device": 2, "user": 4, "local": 8}
SCOPES = {"system": 1, "user": 2}


def read(path):
    with open(path, encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))


def text(value):
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if value else "NULL"


def version(value):
    parts = [int(p) for p in value.split(".")] + [0, 0]
    return f"0x{parts[0]:02x}{parts[1]:02x}{parts[2]:02x}"


def since(row):
    """First version of each system; 0xffffff: the system does not know it; all 0: nothing is told."""
    told = dict(re.findall(r"(\w+):?>=([\d.]+)", row["Systems"]))
    absent = set(re.findall(r"(\w+):n/a", row["Systems"]))
    if bad := (set(told) | absent) - set(SYSTEMS):
        sys.exit(f"catalog: {row['Systems']}: no systems {bad}")
    is_key = "KeyPath" in row
    missing = "0" if is_key or not told else "0xffffff"
    return "{" + ", ".join(version(told[s]) if s in told else "0xffffff" if s in absent else missing for s in SYSTEMS) + "}"


def per_system(value, words):
    """"a/b[iOS,macOS] c[tvOS]" → bits for each system."""
    bits = dict.fromkeys(SYSTEMS, 0)
    for names, systems in re.findall(r"([\w/]+)\[([\w,]+)\]", value):
        for system in systems.split(","):
            bits[system] |= sum(words[n] for n in names.split("/"))
    return "{" + ", ".join(str(bits[s]) for s in SYSTEMS) + "}"


def children(path, rows):
    """Paths directly below PATH."""
    found = []
    for p in rows:
        if p == path or not p.startswith(path):
            continue
        rest = p[len(path):]
        if rest == "[]" or re.fullmatch(r"\.[^.\[]+" if path else r"[^.\[]+", rest) or (path and rest.startswith(".") and not rest.endswith("[]") and parent(p, rows) == path):
            found.append(p)
    return found


def parent(path, rows):
    """The longest known path above PATH: names of keys may hold dots."""
    if path.endswith("[]"):
        return path[:-2]
    cuts = [i for i, c in enumerate(path) if c == "." and path[:i] in rows]
    return path[:cuts[-1]] if cuts else ""


def main(declarations, keys, status, output):
    by_type, lines, out = {}, [], []
    for row in read(keys):
        if row["KeyPath"] in by_type.setdefault(row["Type"], {}):
            sys.exit(f"catalog: {row['Type']}: {row['KeyPath']} stands there twice")
        by_type[row["Type"]][row["KeyPath"]] = row
    before = ""
    for row in read(declarations):
        if row["Type"] <= before:
            sys.exit(f"catalog: {row['Type']} must come before {before}: the table is sorted")
        before = row["Type"]
        rows = by_type.pop(row["Type"], {})
        kind = KINDS[".".join(row["Type"].split(".")[:3])]
        first, queue = len(lines), children("", rows)
        top = len(queue)
        lines += [[p, rows[p], rows] for p in queue]
        done = first
        while done < len(lines):
            path, key, rows_of = lines[done]
            below = children(path, rows_of)
            lines[done] += [len(lines) if below else 0, len(below)]
            lines += [[p, rows_of[p], rows_of] for p in below]
            done += 1
        shared = sum(SCOPES.get(w, 0) for w in row["SharedIPad"].split()) | (4 if row["SharedIPad"] == "no" else 0)
        out.append(f"TYPE({text(row['Type'])}, DECLARATION_{kind}, {first}, {top}, {since(row)}, {per_system(row['Enrollments'], ENROLLMENTS)}, {per_system(row['Scopes'], SCOPES)}, {shared})")
    if by_type:
        sys.exit(f"catalog: keys of types that are not listed: {', '.join(by_type)}")
    n_keys = sum(len(r) for r in {id(l[2]): l[2] for l in lines}.values())
    if n_keys != len(lines):
        sys.exit("catalog: some keys have no parent")
    for path, key, _, first, n in lines:
        name = "[]" if path.endswith("[]") else path[len(parent(path, _)):].lstrip(".")
        low, high = key["Range"].split("..") if key["Range"] else ("0", "0")
        flags = " | ".join(w for w, on in (("REQUIRED", key["Presence"] == "required"), ("OPEN", key["Open"]), ("RANGED", key["Range"])) if on) or "0"
        out.append(f"KEY({text(name)}, {text(key['Values'])}, {text(key['Refers'])}, DECLARATION_{TYPES[key['ValueType']]}, {low}, {high}, {first}, {n}, {flags}, {since(key)})")
    for row in read(status):
        out.append(f"STATUS({text(row['Item'])}, DECLARATION_{TYPES[row['ValueType']]}, {text(row['Fact'])}, {'true' if row['Inventory'] else 'false'}, {since(row)}, {per_system(row['Enrollments'], ENROLLMENTS)},"
                   f" {per_system(row['Scopes'], SCOPES)})")
    with open(output, "w", encoding="utf-8") as f:
        for macro in ("TYPE", "KEY", "STATUS"):
            f.write(f"#ifdef {macro}\n" + "\n".join(l for l in out if l.startswith(macro + "(")) + "\n#endif\n")


main(*sys.argv[1:])
