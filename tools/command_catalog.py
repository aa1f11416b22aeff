#!/usr/bin/env python3
"""What the catalog of MDM commands becomes. Run by meson.

    command_catalog.py table COMMANDS.tsv KEYS.tsv OUTPUT.inc   the C tables
    command_catalog.py page COMMANDS.tsv KEYS.tsv               docs/commands.md, on standard output
    command_catalog.py check COMMANDS.tsv KEYS.tsv PAGE.md      whether that page is the tables' (TAP)

COMMANDS.tsv has a row for each command:
    Systems         those that know it: "iOS>=9.0 macOS>=10.11(dep 13.0)"; "?": nothing is known of the command but its name
    MacChannels     of a Mac: "device", "user" or both
    SharedIPad      channels of a Shared iPad: the same, "no", or with "only" in front: nowhere but there
    UserEnrollment  systems on which a user enrollment may get it
    Supervised, Automated   systems on which the device must be supervised, or enrolled by Automated Device Enrollment
    Right           bit of AccessRights; "4096[iOS,tvOS]" on these systems alone
    AnyOf           keys of which one must be there: "Message|PhoneNumber"
KEYS.tsv has a row for each key. A path has a '.' before a key of a dictionary, "[]" for every item of an array, and "[Name]" for the items that are, or whose Item is, that name.
"*" is a key of any name, and the command "*" stands for all. Systems say what differs from the command: "iOS>=16.0(supervised) macOS:no".
Limit is "6 characters", "1..32 bytes" or "https"."""
import re
import shlex
import sys

SYSTEMS = ["iOS", "macOS", "tvOS", "visionOS", "watchOS"]
TYPES = {"dictionary": "DICT", "array": "ARRAY", "string": "STRING", "integer": "INTEGER", "real": "REAL", "boolean": "BOOLEAN", "date": "DATE", "data": "DATA"}
COMMANDS = "RequestType Systems MacChannels SharedIPad UserEnrollment Supervised Automated Right AnyOf Example Text".split()
KEYS = "RequestType Part KeyPath Type Presence Default Values Limit Systems Secret".split()
RIGHTS = {1: "inspect profiles", 2: "install and remove profiles", 4: "lock, and remove the passcode", 8: "erase", 16: "query the device", 32: "query the network", 64: "inspect provisioning profiles",
          128: "install and remove provisioning profiles", 256: "inspect apps", 512: "query restrictions", 1024: "query security", 2048: "change settings", 4096: "manage apps"}


class Row(dict):
    def fail(self, what):
        sys.exit(f"{self.path}:{self.line}: {what}")

    def words(self, column, known):
        words = self[column].split()
        if not set(words) <= set(known):
            self.fail(f"{column} is \"{self[column]}\": the words are {', '.join(known)}")
        return words


def read(path, columns):
    rows = []
    with open(path, encoding="utf-8") as f:
        for line, text in enumerate(f.read().split("\n")[:-1], 1):
            row = Row(zip(columns, text.split("\t")))
            row.path, row.line = path, line
            if text.count("\t") != len(columns) - 1:
                row.fail(f"{text.count(chr(9)) + 1} columns, must be {len(columns)}")
            if line > 1:
                rows.append(row)
            elif text.split("\t") != columns:
                row.fail(f"the first line must be: {' '.join(columns)}")
    return rows


def read_system(row, word):
    m = re.fullmatch(r"(\w+?)(?:>=(\d+(?:\.\d+)*))?(:no)?((?:\((?:dep|removed) \d+(?:\.\d+)*\)|\(supervised\)|\(automated\))*)", word)
    if not m or m[1] not in SYSTEMS:
        row.fail(f"Systems: \"{word}\" is not understood")
    more = dict((w.split() + [""])[:2] for w in re.findall(r"\(([^)]*)\)", m[4]))
    return m[1], {"since": m[2], "no": bool(m[3]), "deprecated": more.get("dep"), "removed": more.get("removed"), "supervised": "supervised" in more, "automated": "automated" in more}


def read_systems(row):
    systems = {}
    for word in re.findall(r"\S+?(?:\([^)]*\)|[^\s(])*", row["Systems"]):
        name, system = read_system(row, word)
        if name in systems:
            row.fail(f"Systems: {name} is there twice")
        systems[name] = system
    return systems


class Key:
    def __init__(self, name, item=False, row=None):
        self.name, self.item, self.row, self.children, self.first = name, item, row, [], 0


def split(path, known):
    """The parent's path, the name below it, and whether it is an item of an array."""
    m = re.fullmatch(r"(.*)\[([^\[\].]*)\]", path)
    if m:
        return m[1], m[2], True
    dots = [i for i, c in enumerate(path) if c == "." and path[:i] in known]
    return (path[:dots[-1]], path[dots[-1] + 1:], False) if dots else ("", path, False)


def read_limit(row):
    limit = row["Limit"]
    m = re.fullmatch(r"(?:(\d+)\.\.)?(\d+) (characters|bytes)", limit)
    if limit in ("", "https"):
        if limit and row["Type"] != "string":
            row.fail("Limit: https is for strings")
        return ("HTTPS" if limit else "NONE"), 0, 0
    if not m or row["Type"] != {"characters": "string", "bytes": "data"}[m[3]]:
        row.fail(f"Limit: \"{limit}\" is not understood, or not for type {row['Type']}")
    return m[3].upper(), int(m[1] or m[2]), int(m[2])


def check_key(row, parent, item):
    if row["Part"] not in ("request", "response") or row["Presence"] not in ("", "required", "optional") or row["Secret"] not in ("", "yes"):
        row.fail("Part, Presence or Secret has none of its words")
    if row["Type"] not in TYPES and row["Type"] not in ("any", "value"):
        row.fail(f"Type \"{row['Type']}\" is not known")
    if row["Values"] and row["Type"] not in ("string", "integer"):
        row.fail(f"Values are for strings and integers, not for type {row['Type']}")
    above = parent.row["Type"] if parent.row else "dictionary"
    if above != ("array" if item else "dictionary"):
        row.fail(f"{row['KeyPath']} stands in what is of type {above}")


def tree(rows):
    top = Key("")
    known = {"": top}
    for row in sorted(rows, key=lambda r: len(r["KeyPath"])):
        parent, name, item = split(row["KeyPath"], known)
        if parent not in known:
            row.fail(f"{row['KeyPath']} has no parent")
        if row["KeyPath"] in known:
            row.fail(f"{row['KeyPath']} is there twice")
        check_key(row, known[parent], item)
        known[row["KeyPath"]] = Key(name, item, row)
    order = {row["KeyPath"]: i for i, row in enumerate(rows)}
    for path in sorted(order, key=order.get):
        known[split(path, known)[0]].children.append(known[path])
    return top


def check_example(row, request, common):
    """The example must be one that the table accepts, as far as its keys go."""
    if row["Example"].startswith("--plist "):
        return
    keys = [word.split("=")[0] for word in shlex.split(row["Example"])]
    known = {k.name for k in request.children} | {k.name for k in common.children}
    missing = {k.name for k in request.children if k.row["Presence"] == "required"} - set(keys)
    if set(keys) - known or missing:
        row.fail(f"Example: {', '.join(sorted(set(keys) - known | missing))} is no key, or is missing")
    if row["AnyOf"] and not set(row["AnyOf"].split("|")) & set(keys):
        row.fail("Example has none of AnyOf")


def load(commands_path, keys_path):
    by_type = {}
    for row in read(keys_path, KEYS):
        by_type.setdefault(row["RequestType"], {"request": [], "response": []}).setdefault(row["Part"], []).append(row)
    commands = read(commands_path, COMMANDS)
    names = [row["RequestType"] for row in commands]
    for row, before in zip(commands[1:], commands):
        if row["RequestType"].lower() <= before["RequestType"].lower():
            row.fail(f"{row['RequestType']} must come before {before['RequestType']}: the table is sorted")
    for name, parts in by_type.items():
        if name not in names + ["*"]:
            (parts["request"] + parts["response"])[0].fail(f"keys of {name}, which is not in {commands_path}")
    common = tree(by_type["*"]["request"])
    for row in commands:
        parts = by_type.get(row["RequestType"], {"request": [], "response": []})
        row.request, row.response = tree(parts["request"]), tree(parts["response"])
        row.systems = {} if row["Systems"] == "?" else read_systems(row)
        row.mac = row.words("MacChannels", ["device", "user"])
        row.shared = row.words("SharedIPad", ["device", "user", "no", "only"])
        row.user = row.words("UserEnrollment", SYSTEMS)
        row.supervised, row.automated = row.words("Supervised", SYSTEMS), row.words("Automated", SYSTEMS)
        row.rights = read_rights(row)
        if not row["Text"].endswith("."):
            row.fail("Text must be whole sentences")
        for key in row["AnyOf"].split("|") if row["AnyOf"] else []:
            if key not in {k.name for k in row.request.children}:
                row.fail(f"AnyOf: {key} is no key of the command")
        check_example(row, row.request, common)
    return commands, common


def read_rights(row):
    rights = {}
    for word in row["Right"].split():
        m = re.fullmatch(r"(\d+)(?:\[([\w,]+)\])?", word)
        if not m or int(m[1]) not in RIGHTS:
            row.fail(f"Right: \"{word}\" is no bit of AccessRights")
        for system in m[2].split(",") if m[2] else row.systems:
            rights[system] = int(m[1])
    if len(set(rights.values())) > 1:
        row.fail("Right: one for all systems, or for those named")
    return rights


# ---- C ----

def text(value):
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if value else "NULL"


def version(value):
    parts = [int(p) for p in (value or "0").split(".")] + [0, 0]
    return f"0x{parts[0]:02x}{parts[1]:02x}{parts[2]:02x}"


def c_systems(row, systems, whole):
    """One entry per system. WHOLE: a system that is not named does not know it."""
    entries = []
    for name in SYSTEMS:
        s = systems.get(name)
        supervised = (s and s["supervised"]) or (whole and name in row.supervised)
        automated = (s and s["automated"]) or (whole and name in row.automated)
        flags = [w for w, on in (("NO", (s is None and whole) or (s and s["no"])), ("SUPERVISED", supervised), ("AUTOMATED", automated)) if on]
        versions = [version(s and s[k]) for k in ("since", "deprecated", "removed")]
        entries.append("{" + ", ".join(versions + [" | ".join(flags) or "0"]) + "}")
    return "{{" + ", ".join(entries) + "}}"


class Table:
    def __init__(self):
        self.keys, self.systems = [], {}

    def system(self, entry):
        return self.systems.setdefault(entry, len(self.systems))

    def add(self, top):
        first = len(self.keys)
        self.keys += top.children
        done = first
        while done < len(self.keys):
            key = self.keys[done]
            key.first = len(self.keys)
            self.keys += key.children
            done += 1
        return first, len(top.children)

    def format(self, key):
        row = key.row
        flags = " | ".join(w for w, on in (("REQUIRED", row["Presence"] == "required"), ("SECRET", row["Secret"]), ("ITEM", key.item)) if on) or "0"
        kind, low, high = read_limit(row)
        kind_of = {"any": "COMMAND_TYPE_ANY", "value": "COMMAND_TYPE_VALUE"}.get(row["Type"]) or f"PLIST_{TYPES[row['Type']]}"
        system = self.system(c_systems(row, read_systems(row), False))
        return (f"KEY({text(key.name) if key.name else chr(34) * 2}, {text(row['Values'])}, {text(row['Default'])}, {text(row['Limit'])}, {kind_of}, COMMAND_LIMIT_{kind}, {low}, {high}, {flags}, "
                f"{key.first if key.children else 0}, {len(key.children)}, {system})")


def c_command(table, row):
    request, response = table.add(row.request), table.add(row.response)
    unread = row["Systems"] == "?"
    system = table.system(c_systems(row, {s: {"since": None, "no": False, "deprecated": None, "removed": None, "supervised": False, "automated": False} for s in SYSTEMS} if unread else row.systems, True))
    bits = ["UNREAD"] * unread + [f"MAC_{w.upper()}" for w in row.mac] + [f"SHARED_{w.upper()}" for w in row.shared] + [f"USER(PLATFORM_{w.upper()})" for w in row.user]
    rights = ", ".join(str(row.rights.get(s, 0)) for s in SYSTEMS)
    return (f"COMMAND({text(row['RequestType'])}, {text(row['Text'])}, {text(row['Example'])}, {text(row['AnyOf'])}, {' | '.join(bits) or '0'}, R({rights}), "
            f"{request[0]}, {request[1]}, {response[0]}, {response[1]}, {system})")


def write_table(commands, common, output):
    table = Table()
    shared = table.add(common)
    rows = [c_command(table, row) for row in commands]
    keys = [table.format(key) for key in table.keys]
    with open(output, "w", encoding="utf-8") as f:
        f.write(f"#ifdef COMMON\nCOMMON({shared[0]}, {shared[1]})\n#endif\n")
        f.write("#ifdef SYSTEMS\n" + "\n".join(f"SYSTEMS({entry})" for entry in table.systems) + "\n#endif\n")
        f.write("#ifdef KEY\n" + "\n".join(keys) + "\n#endif\n")
        f.write("#ifdef COMMAND\n" + "\n".join(rows) + "\n#endif\n")


# ---- the page ----

def words_of_system(name, s):
    words = [name if s["no"] is False else f"not {name}"] + ([s["since"]] if s["since"] else [])
    more = [f"deprecated in {s['deprecated']}"] * bool(s["deprecated"]) + [f"removed in {s['removed']}"] * bool(s["removed"]) + ["supervised"] * s["supervised"] + ["automated enrollment"] * s["automated"]
    return " ".join(words) + (f" ({', '.join(more)})" if more else "")


def words_of_rules(row):
    rules = []
    if row.supervised:
        rules.append(f"supervised ({', '.join(row.supervised)})")
    if row.automated:
        rules.append(f"enrolled by Automated Device Enrollment ({', '.join(row.automated)})")
    if row.mac == ["user"]:
        rules.append("on a Mac to a user")
    elif len(row.mac) == 2:
        rules.append("on a Mac to the device or a user")
    if row.shared:
        channels = [w for w in row.shared if w in ("device", "user")]
        rules.append("not on a Shared iPad" if row.shared == ["no"] else f"{'only ' if 'only' in row.shared else ''}on a Shared iPad to the {' or '.join(channels)}")
    for right in sorted(set(row.rights.values())):
        systems = [s for s in SYSTEMS if row.rights.get(s) == right]
        rules.append(f"access right {right}, {RIGHTS[right]}" + ("" if len(systems) == len(row.systems) else f" ({', '.join(systems)})"))
    rules.append(f"user enrollment: {', '.join(row.user) if row.user else 'no'}")
    return "; ".join(rules)


def send_line(row):
    plist = row["Example"].startswith("--plist ")
    return f"pomona command send ID {'' if plist else row['RequestType'] + ' '}{row['Example']}".rstrip()


def words_of_systems(row, known):
    """What the row says of systems that the command knows. When all others are ruled out: "only …"."""
    told = {n: s for n, s in read_systems(row).items() if n in known}
    left = [n for n in known if not (n in told and told[n]["no"])]
    if len(left) == len(known) or len(left) > 2:
        return [words_of_system(n, s) for n, s in told.items()]
    return [f"only {' and '.join(words_of_system(n, told[n]) if n in told else n for n in left)}"]


def page_key(key, depth, known):
    row = key.row
    name = f"[{key.name}]" if key.item else key.name
    facts = [row["Type"]] if row["Type"] != "value" else []
    facts += ["required"] * (row["Presence"] == "required") + [f"one of {row['Values'].replace('|', ', ')}"] * bool(row["Values"]) + [row["Limit"]] * bool(row["Limit"])
    facts += [f"default {row['Default']}"] * bool(row["Default"]) + ["secret"] * bool(row["Secret"])
    facts += words_of_systems(row, known)
    lines = [f"{'  ' * depth}* `{name}`{': ' if facts else ''}{', '.join(facts)}"]
    for child in key.children:
        lines += page_key(child, depth + 1, known)
    return lines


def page(commands):
    lines = ["# Commands", "",
             "Every command of Apple's device management that Pomona knows. This page is made from `catalog/commands.tsv` and `catalog/command-keys.tsv` by `tools/command_catalog.py page`, and `./check` proves that it is;"
             " `pomona command help NAME` shows the same for one command.", "",
             "`pomona command send` checks a command against this catalog before it is queued: its keys, and whether this device in this enrollment may get it. What is not known of the device (its version, whether it is"
             " supervised) is not judged; `DeviceInformation` and `SecurityInfo` make it known. `--force` (in the API `?force=true`) sends a command all the same. A raw plist (`--plist`) is not checked, and is the way to"
             " send a command that is not listed here.", "",
             "A number behind a system is its first version that knows the command or key. Keys marked secret hold what others must not read: give them by `Key=@FILE` or in a plist, never as an argument. `[]` stands for each item of an array, `[Name]` for items of that name,"
             " `*` for a key of any name.", ""]
    for row in commands:
        lines += [f"## {row['RequestType']}", "", row["Text"], ""]
        if row.systems:
            lines += [f"{', '.join(words_of_system(n, s) for n, s in row.systems.items())}; {words_of_rules(row)}.", ""]
        lines += [f"    {send_line(row)}", ""]
        if row["AnyOf"]:
            lines += [f"One of {', '.join(row['AnyOf'].split('|'))} must be there.", ""]
        keys = [line for key in row.request.children for line in page_key(key, 0, list(row.systems))]
        answers = [key.name for key in row.response.children]
        lines += keys + [""] * bool(keys)
        if answers:
            lines += [f"The answer has {', '.join(f'`{a}`' for a in answers)}.", ""]
    return "\n".join(lines)


def check_page(commands, path):
    with open(path, encoding="utf-8") as f:
        same = f.read() == page(commands)
    print(f"{'ok' if same else 'not ok'} 1 - {path} is made from the catalog\n1..1")
    if not same:
        print("# write it anew: tools/command_catalog.py page catalog/commands.tsv catalog/command-keys.tsv >docs/commands.md")
        sys.exit(1)


def main(what, commands_path, keys_path, *rest):
    commands, common = load(commands_path, keys_path)
    if what == "table":
        write_table(commands, common, *rest)
    elif what == "page":
        sys.stdout.write(page(commands))
    else:
        check_page(commands, *rest)


main(*sys.argv[1:])
