"""pomona explain against the table it is made from, read here anew; and what the generator refuses."""
import pathlib
import subprocess
import sys

from harness import *

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TABLE = ROOT / "catalog" / "errors.tsv"
TOOL = ROOT / "tools" / "error_catalog.py"


def explain(*args, code=0):
    done = subprocess.run([POMONA, "explain", *args], capture_output=True, text=True, timeout=20)
    equal(done.returncode, code, done.stderr)
    return done.stdout


@case
def every_row_is_explained():
    lines = [line.split("\t") for line in TABLE.read_text().splitlines()[1:]]
    equal(len(lines), 348)
    for domain, code, name, text, causes, look_at in lines:
        told = json.loads(explain(f"{domain}:{code}", "--json"))
        expect(told.pop("take_log"), "how to take the log")
        equal(told, {"domain": domain, "code": int(code) if code.isdigit() else code, "name": name, "text": text, "causes": causes or None, "look_at": look_at or None})


@case
def what_people_type():
    expect("MCMDMErrorDomain 12067  not in Lost Mode (Apple)\nThe command is for devices in Lost Mode.\nLikely causes: " in explain("12067"), "for people")
    equal(explain("baddevicetoken"), explain("APNs:BadDeviceToken"))
    expect("Likely causes" not in explain("5011") and "Look at" not in explain("5011"), "what there is nothing to say about is left out")
    found = json.loads(explain("lost mode", "--json"))
    equal([i["code"] for i in found["items"]], [12066, 12067, 12069])
    equal(explain("lost mode").count("(Apple)"), 3)
    for unknown in ("22014", "MCMDMErrorDomain:22013", "DDM:BadTopic", "xyzzy", "the"):
        explain(unknown, code=3)
    expect("POM-E4404  The command is not in the catalog." in explain("e4404"), "an own code")


@case
def the_generator_names_the_line_of_a_fault():
    good = TABLE.read_text()
    faults = [("not in Lost Mode\t", "not in Lost Mode\t\t", "7 columns"), ("12067\tnot in", "12066\tnot in", "MCMDMErrorDomain 12066 is there twice"),
              ("12067\tnot in Lost Mode", "12067\t", "must be there"), ("The command is for devices in Lost Mode.", "The command is for devices in Lost Mode", "whole sentences"),
              ("Domain\tCode", "Code\tDomain", "the first line")]
    with tempfile.TemporaryDirectory() as folder:
        path, out = pathlib.Path(folder) / "errors.tsv", pathlib.Path(folder) / "out.inc"

        def make(text):
            path.write_text(text)
            done = subprocess.run([sys.executable, TOOL, path, out], capture_output=True, text=True)
            return done.returncode, done.stderr
        equal(make(good), (0, ""))
        for old, new, words in faults:
            expect(old in good, old)
            text = good.replace(old, new, 1)
            line = next(i for i, t in enumerate(text.split("\n"), 1) if new.split("\n")[0] in t)
            status, said = make(text)
            equal(status, 1, new)
            expect(words in said and f"errors.tsv:{line}:" in said, f"{new!r}: {said!r}, line {line}")


if __name__ == "__main__":
    main()
