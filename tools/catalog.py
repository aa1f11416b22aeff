#!/usr/bin/env python3
"""Makes the C tables of payload types and their keys: catalog.py PAYLOADS.tsv KEYS.tsv OUTPUT.inc. Run by meson.

Keys become a tree of rows in which the children of each stand together; a key path has a '.' before a key of a dictionary and '[]' before an item of an
array. Names of keys may hold dots themselves, so a path is cut where a longer path begins with a known one."""
import csv
import sys

KINDS = {"dictionary": "DICT", "array": "ARRAY", "string": "STRING", "integer": "INTEGER", "real": "REAL", "boolean": "BOOLEAN", "date": "DATE", "data": "DATA"}
REFERENCES = {"": "", "certificate": "REFERS_CERTIFICATE", "identity": "REFERS_IDENTITY"}


def read(path):
    with open(path, encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))


class Node:
    def __init__(self, name, row=None):
        self.name, self.row, self.children = name, row, []


def split(path, known):
    """The parent's path ("" at the top) and the name below it."""
    if path.endswith("[]"):
        return path[:-2], "[]"
    dots = [i for i, c in enumerate(path) if c == "." and path[:i] in known]
    return (path[:dots[-1]], path[dots[-1] + 1:]) if dots else ("", path)


def tree(rows):
    top = Node("")
    known = {"": top}
    for row in sorted(rows, key=lambda r: len(r["KeyPath"])):
        parent, name = split(row["KeyPath"], known)
        if parent not in known:
            sys.exit(f"catalog: {row['Type']}: {row['KeyPath']} has no parent")
        if row["KeyPath"] in known:
            sys.exit(f"catalog: {row['Type']}: {row['KeyPath']} stands there twice")
        known[row["KeyPath"]] = node = Node(name, row)
        known[parent].children.append(node)
    return top


def text(value):
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if value else "NULL"


def kinds(value, where):
    words = value.split("|")
    if "any" in words:
        return "ANY_TYPE"
    if not all(w in KINDS for w in words):
        sys.exit(f"catalog: {where}: the value type {value} is not known")
    return " | ".join(f"T({KINDS[w]})" for w in words)


def flags(row):
    words = [REFERENCES[row["Reference"]]] + (["REQUIRED"] if row["Presence"] == "required" else [])
    return " | ".join(w for w in words if w) or "0"


def main(payloads, keys, output):
    by_type = {}
    for row in read(keys):
        by_type.setdefault(row["Type"], []).append(row)
    lines, rows, types = [], [], []
    for row in [{"Type": t, "Multiple": "no"} for t in ("Configuration", "*")] + read(payloads):
        top = tree(by_type.pop(row["Type"], []))
        types.append((row["Type"], len(rows), len(top.children), row["Multiple"] == "yes"))
        rows += top.children
        done = types[-1][1]
        while done < len(rows):
            node = rows[done]
            node.first = len(rows)
            rows += sorted(node.children, key=lambda n: n.name)
            done += 1
    if by_type:
        sys.exit(f"catalog: keys of types that are not listed: {', '.join(by_type)}")
    for node in rows:
        first = node.first if node.children else 0
        where = f"{node.row['Type']}: {node.row['KeyPath']}"
        lines.append(f"KEY({text(node.name)}, {text(node.row['Values'])}, {first}, {len(node.children)}, {kinds(node.row['ValueType'], where)}, {flags(node.row)})")
    lines += [f"TYPE({text(t)}, {first}, {n}, {'true' if multiple else 'false'})" for t, first, n, multiple in types]
    with open(output, "w", encoding="utf-8") as f:
        for macro in ("KEY", "TYPE"):
            f.write(f"#ifdef {macro}\n" + "\n".join(l for l in lines if l.startswith(macro)) + "\n#endif\n")


main(*sys.argv[1:])
