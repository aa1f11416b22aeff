#!/usr/bin/env python3
"""Makes C tables of facts. Run by meson.

    catalog.py PAYLOADS.tsv KEYS.tsv OUTPUT.inc    payload types and their keys
    catalog.py rules RULES.tsv OUTPUT.inc          the linter's rules
    catalog.py lines LINES.tsv OUTPUT.inc          what is known of lines in device logs
    catalog.py page RULES.tsv PAGE.md              the rules behind the last heading of a page (by hand)

Keys become a tree of rows in which the children of each stand together; a key path has a '.' before a key of a dictionary and '[]' before an item of an
array. Names of keys may hold dots themselves, so a path is cut where a longer path begins with a known one.

Systems of a type: "iOS>=4.0(dep 7.0)(removed 12.0) macOS>=10.7"; a system that is not named does not know it. Systems of a key, where they differ from those of what it stands in:
"iOS:>=13.1,dep 17.0,supervised macOS:n/a". Both become one row of five systems, in which what a key does not say is inherited."""
import csv
import re
import sys

SYSTEMS = "iOS", "macOS", "watchOS", "tvOS", "visionOS"
ABSENT, SUPERVISED = 1, 2

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


def version(text):
    """"10.13.4" as 101304."""
    if text == "all":
        return 0
    parts = [int(p) for p in text.split(".")] + [0, 0]
    return parts[0] * 10000 + parts[1] * 100 + parts[2]


def type_systems(text, supervised):
    sets = {name: (0, 0, 0, ABSENT) for name in SYSTEMS}
    for name, least, deprecated, removed in re.findall(r"(\w+)>=([\d.]+)(?:\(dep ([\d.]+)\))?(?:\(removed ([\d.]+)\))?", text):
        sets[name] = (version(least), version(deprecated or "0"), version(removed or "0"), SUPERVISED if name in supervised.split(",") else 0)
    return sets


def key_systems(text, inherited, where):
    sets = dict(inherited)
    for name, words in re.findall(r"(\w+):((?:(?!\s\w+:).)+)", text):
        least, deprecated, removed, flags_ = sets[name]
        for word in words.split(","):
            if word == "n/a":
                flags_ |= ABSENT
            elif word == "supervised":
                flags_ |= SUPERVISED
            elif word.startswith(">="):
                least, flags_ = max(least, version(word[2:])), flags_ & ~ABSENT
            elif word == "dep":
                deprecated = deprecated or 1
            elif word.startswith("dep "):
                deprecated = version(word[4:])
            elif word == "removed":
                removed = removed or 1
            elif word.startswith("removed "):
                removed = version(word[8:])
            elif word != "dep-enrolled":
                sys.exit(f"catalog: {where}: {word} says nothing of a system")
        sets[name] = (least, deprecated, removed, flags_)
    return sets


class Rows:
    """Rows of five systems, each once."""

    def __init__(self):
        self.index = {}

    def add(self, sets):
        row = tuple(sets[name] for name in SYSTEMS)
        return self.index.setdefault(row, len(self.index))

    def lines(self):
        return [f"SYSTEMS({', '.join('{%d, %d, %d, %d}' % one for one in row)})" for row in self.index]


def flags(row):
    words = [REFERENCES[row["Reference"]]] + (["REQUIRED"] if row["Presence"] == "required" else [])
    return " | ".join(w for w in words if w) or "0"


def payloads(payloads_path, keys_path, output):
    by_type = {}
    for row in read(keys_path):
        by_type.setdefault(row["Type"], []).append(row)
    lines, nodes, types, sets = [], [], [], Rows()
    everywhere = {"Systems": " ".join(f"{name}>=0" for name in SYSTEMS), "Supervised": "", "Multiple": "no"}
    for row in [{"Type": t, **everywhere} for t in ("Configuration", "*")] + read(payloads_path):
        top = tree(by_type.pop(row["Type"], []))
        top.sets = type_systems(row["Systems"], row["Supervised"])
        types.append((row["Type"], len(nodes), len(top.children), row["Multiple"] == "yes", sets.add(top.sets)))
        done = len(nodes)
        place(nodes, top.children, top)
        while done < len(nodes):
            node = nodes[done]
            node.first = len(nodes)
            place(nodes, sorted(node.children, key=lambda n: n.name), node)
            done += 1
    if by_type:
        sys.exit(f"catalog: keys of types that are not listed: {', '.join(by_type)}")
    for node in nodes:
        first = node.first if node.children else 0
        where = f"{node.row['Type']}: {node.row['KeyPath']}"
        lines.append(f"KEY({text(node.name)}, {text(node.row['Values'])}, {first}, {len(node.children)}, {kinds(node.row['ValueType'], where)}, {flags(node.row)}, {sets.add(node.sets)})")
    lines += [f"TYPE({text(t)}, {first}, {n}, {'true' if multiple else 'false'}, {systems})" for t, first, n, multiple, systems in types]
    write(output, lines + sets.lines(), ("KEY", "TYPE", "SYSTEMS"))


def place(nodes, children, parent):
    for child in children:
        child.sets = key_systems(child.row["Systems"], parent.sets, child.row["KeyPath"])
    nodes += children


def write(output, lines, macros):
    with open(output, "w", encoding="utf-8") as f:
        for macro in macros:
            f.write(f"#ifdef {macro}\n" + "\n".join(l for l in lines if l.startswith(macro + "(")) + "\n#endif\n")


SEVERITIES = {"error": ("ERROR", "ERROR"), "warning": ("WARNING", "WARNING"), "note": ("NOTE", "NOTE"), "error or warning": ("ERROR", "WARNING"), "note or warning": ("NOTE", "WARNING")}


def rules(path, output):
    lines = []
    for row in read(path):
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row["Rule"]) or row["Severity"] not in SEVERITIES or row["Fix"] not in ("yes", "no") or not row["Text"].endswith(".") or not row["Mend"].endswith("."):
            sys.exit(f"catalog: the rule {row['Rule']} is not well formed")
        usual, other = SEVERITIES[row["Severity"]]
        systems = " | ".join(f"FINDING_{name.upper()}" for name in row["Systems"].split(",")) if row["Systems"] != "all" else "FINDING_ALL_SYSTEMS"
        name = row["Rule"].upper().replace("-", "_")
        lines.append(f"RULE(LINT_{name}, {text(row['Rule'])}, FINDING_{usual}, FINDING_{other}, {systems}, {'true' if row['Fix'] == 'yes' else 'false'}, {text(row['Text'])}, {text(row['Mend'])})")
    if len(set(lines)) != len(lines):
        sys.exit("catalog: a rule stands there twice")
    write(output, lines, ("RULE",))


def page(path, output):
    with open(output, encoding="utf-8") as f:
        head, mark, rest = f.read().partition("## Rules\n")
    intro = rest.strip().split("\n\n")[0]
    lines = [f"| `{row['Rule']}` | {row['Severity']}{', `--fix`' if row['Fix'] == 'yes' else ''} | {row['Text']} | {row['Mend']} |" for row in read(path)]
    with open(output, "w", encoding="utf-8") as f:
        f.write(f"{head}{mark}\n{intro}\n\n| rule | severity | what is wrong | what to do |\n|---|---|---|---|\n" + "\n".join(lines) + "\n")


def log_lines(path, output):
    lines = []
    for row in read(path):
        if not all(row[c] for c in ("Id", "Pattern", "Text", "LookAt")) or not row["Text"].endswith(".") or not row["LookAt"].endswith((".", "?")):
            sys.exit(f"catalog: the line {row['Id']} is not well formed")
        lines.append(f"LINE({text(row['Id'])}, {text(row['Pattern'])}, {text(row['Text'])}, {text(row['LookAt'])})")
    write(output, lines, ("LINE",))


def main(first, *others):
    {"rules": rules, "lines": log_lines, "page": page}.get(first, lambda *rest: payloads(first, *rest))(*others)


main(*sys.argv[1:])
