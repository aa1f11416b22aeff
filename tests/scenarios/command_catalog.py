"""The catalog of commands as the program tells it, against the tables it is made from, read here anew; and what the generator refuses."""
import pathlib
import re
import subprocess
import sys

from harness import *

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOOL = ROOT / "tools" / "command_catalog.py"
TABLES = [ROOT / "catalog" / "commands.tsv", ROOT / "catalog" / "command-keys.tsv"]


def rows(path):
    lines = path.read_text().splitlines()
    return [dict(zip(lines[0].split("\t"), line.split("\t"))) for line in lines[1:]]


def told(*args, code=0):
    done = subprocess.run([POMONA, "command", "help", *args], capture_output=True, text=True, timeout=20, env={"POMONA_DATA": "/nonexistent"})
    equal(done.returncode, code, done.stderr)
    return done.stdout if code == 0 else done.stderr


def systems(text):
    """"iOS>=9.0(dep 16.0) macOS:no" as the program's JSON has it."""
    found = {}
    for name, since, no, more in re.findall(r"([A-Za-z]+)(?:>=([\d.]+))?(:no)?((?:\([^)]*\))*)", text):
        words = dict((w.split() + [True])[:2] for w in re.findall(r"\(([^)]*)\)", more))
        entry = {"known": False} if no else {}
        entry.update({"since": since} if since else {})
        entry.update({"deprecated": words["dep"]} if "dep" in words else {})
        entry.update({"removed": words["removed"]} if "removed" in words else {})
        entry.update({"supervised": True} if "supervised" in words else {})
        entry.update({"automated_enrollment": True} if "automated" in words else {})
        found[name] = entry
    return found


def key_of(row):
    key = {"path": row["KeyPath"], "type": row["Type"], "systems": systems(row["Systems"])}
    key.update({"required": True} if row["Presence"] == "required" else {})
    key.update({"secret": True} if row["Secret"] else {})
    key.update({"default": row["Default"]} if row["Default"] else {})
    key.update({"values": row["Values"].split("|")} if row["Values"] else {})
    key.update({"limit": row["Limit"]} if row["Limit"] else {})
    return key


@case
def the_program_tells_every_row():
    keys = rows(TABLES[1])
    commands = rows(TABLES[0])
    equal(len(commands), 68)
    listed = json.loads(told("--json"))
    equal([i["request_type"] for i in listed["items"]], [c["RequestType"] for c in commands])
    equal(listed["next"], None)
    for command in commands:
        name = command["RequestType"]
        of = json.loads(told(name, "--json"))
        wanted = {} if command["Systems"] == "?" else systems(command["Systems"])
        for column, word in (("Supervised", "supervised"), ("Automated", "automated_enrollment")):
            for system in command[column].split():
                wanted[system][word] = True
        equal(of["systems"], wanted, name)
        equal(of["text"], command["Text"], name)
        equal(of["mac_channels"], command["MacChannels"].split(), name)
        equal(of["shared_ipad_channels"], [w for w in command["SharedIPad"].split() if w in ("device", "user")], name)
        equal(of["shared_ipad_only"], "only" in command["SharedIPad"], name)
        equal(of["user_enrollment"], command["UserEnrollment"].split(), name)
        equal(of["one_of"], command["AnyOf"].split("|") if command["AnyOf"] else [], name)
        right = re.fullmatch(r"(\d+)(?:\[(.*)\])?", command["Right"])
        equal(of["access_rights"], {s: int(right[1]) for s in (right[2].split(",") if right[2] else wanted)} if right else {}, name)
        for part, field in (("request", "keys"), ("response", "answer")):
            table = [key_of(k) for k in keys if k["RequestType"] == name and k["Part"] == part]
            equal(sorted(of[field], key=lambda k: k["path"]), sorted(table, key=lambda k: k["path"]), f"{name} {part}")


@case
def help_is_for_people_too():
    text = told("DeviceLock")
    for part in ("DeviceLock\nLocks the device", "pomona command send ID DeviceLock PIN=@-", "iOS 4.0, macOS 10.7, visionOS 2.0, watchOS 10.0", "4: lock, and remove the passcode",
                 "string, secret, 6 characters, only macOS 10.8", "MessageResult"):
        expect(part in text, f"{part!r} is not in {text}")
    expect("pomona command send ID --plist clear-passcode.plist" in told("ClearPasscode"), "a secret is no argument")
    expect("(iOS, tvOS)" in told("ScheduleOSUpdate"), "a right of some systems")
    expect("not on" not in told("CancelEnhancedLogCollection") and "Systems:" not in told("CancelEnhancedLogCollection"), "what is not known is not told")
    equal(len(told().splitlines()), 68)
    expect("did you mean DeviceLock" in told("DeviceLok", code=3), "the nearest name")
    expect("did you mean" not in told("Frobnicate", code=3), "no nearest name")
    told("DeviceLock", "EraseDevice", code=2)


def make(folder, commands, keys, what="table"):
    """Runs the generator on two tables; its exit code and what it said."""
    paths = [folder / "commands.tsv", folder / "command-keys.tsv"]
    for path, text in zip(paths, (commands, keys)):
        path.write_text(text)
    done = subprocess.run([sys.executable, TOOL, what, *paths, *([folder / "out.inc"] if what == "table" else [])], capture_output=True, text=True, timeout=20)
    return done.returncode, done.stderr, done.stdout


FAULTS = [  # table, what stands there, what is put there instead, the line, what the generator says
    (0, "DeviceLock\tiOS>=4.0", "DeviceLock\tiOS>4.0", "DeviceLock", "is not understood"),
    (0, "DeviceLock\tiOS>=4.0", "DeviceLock\tiOS>=4.0 iOS>=5.0", "DeviceLock", "iOS is there twice"),
    (0, "DeviceLock\tiOS>=4.0", "DeviceLock\tNeXT>=4.0", "DeviceLock", "is not understood"),
    (0, "DeviceLock\tiOS", "AeviceLock\tiOS", "AeviceLock", "the table is sorted"),
    (0, "PIN=@- Message", "Pin=@- Message", "DeviceLock", "Example: Pin is no key"),
    (0, "eSIMServerURL=https", "RequestRequiresNetworkTether=https", "RefreshCellularPlans", "Example: eSIMServerURL"),
    (0, "Message|PhoneNumber", "Message|FoneNumber", "EnableLostMode", "AnyOf: FoneNumber is no key"),
    (0, "\t2048\t", "\t2049\t", "Settings", "is no bit of AccessRights"),
    (0, "\tdevice user\tdevice user\t", "\tdevice users\tdevice user\t", "DeclarativeManagement", "MacChannels is"),
    (0, "Ends Lost Mode.", "Ends Lost Mode", "DisableLostMode", "whole sentences"),
    (0, "Ends Lost Mode.", "Ends Lost Mode.\tx", "DisableLostMode", "12 columns, must be 11"),
    (0, "RequestType\tSystems", "RequestType\tSystem", "RequestType", "the first line must be"),
    (1, "DeviceLock\trequest\tPIN\tstring", "DeviceLock\trequest\tPIN\ttext", "DeviceLock\trequest\tPIN", "Type \"text\""),
    (1, "DeviceLock\trequest\tPIN\tstring\toptional", "DeviceLock\trequest\tPIN\tstring\tmaybe", "DeviceLock\trequest\tPIN", "none of its words"),
    (1, "DeviceLock\trequest\tPIN\t", "DeviceLok\trequest\tPIN\t", "DeviceLok\t", "keys of DeviceLok"),
    (1, "DeviceLock\trequest\tPIN\t", "DeviceLock\trequest\tMessage\t", "DeviceLock\trequest\tMessage\tstring\toptional\t\t\t6", "is there twice"),
    (1, "DeviceLock\trequest\tPIN\t", "DeviceLock\trequest\tMessage.PIN\t", "DeviceLock\trequest\tMessage.PIN", "stands in what is of type string"),
    (1, "DeviceLock\trequest\tPIN\t", "DeviceLock\trequest\tPINs[]\t", "DeviceLock\trequest\tPINs", "has no parent"),
    (1, "6 characters", "six characters", "DeviceLock\trequest\tPIN", "Limit: "),
    (1, "6 characters", "6 bytes", "DeviceLock\trequest\tPIN", "not for type string"),
    (1, "DeviceInformation\trequest\tDeviceAttestationNonce\tdata\toptional\t\t\t", "DeviceInformation\trequest\tDeviceAttestationNonce\tdata\toptional\t\tA|B\t", "DeviceInformation\trequest\tDeviceAtt", "Values are for strings"),
]


@case
def the_generator_names_the_line_of_a_fault():
    good = [t.read_text() for t in TABLES]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        equal(make(folder, *good)[:2], (0, ""))
        for table, old, new, begin, words in FAULTS:
            texts = list(good)
            expect(old in texts[table], old)
            texts[table] = texts[table].replace(old, new, 1)
            line = next(i for i, t in enumerate(texts[table].split("\n"), 1) if t.startswith(begin))
            code, said, _ = make(folder, *texts)
            equal(code, 1, f"{new}: {said}")
            expect(words in said and f"{TABLES[table].name}:{line}:" in said, f"{new}: {said!r} is not about line {line}: {words}")


@case
def what_is_made_is_always_the_same():
    good = [t.read_text() for t in TABLES]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make(folder, *good)
        first = (folder / "out.inc").read_bytes()
        make(folder, *good)
        equal((folder / "out.inc").read_bytes(), first)
        equal(make(folder, *good, what="page")[2], (ROOT / "docs" / "commands.md").read_text())
        page = folder / "page.md"
        page.write_text((ROOT / "docs" / "commands.md").read_text().replace("6 characters", "7 characters", 1))
        equal(subprocess.run([sys.executable, TOOL, "check", *TABLES, page], capture_output=True).returncode, 1)


if __name__ == "__main__":
    main()
