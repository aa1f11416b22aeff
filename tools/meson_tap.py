#!/usr/bin/env python3
"""The subtests of the last `meson test` as one TAP stream: meson_tap.py BUILD_DIR."""
import json
import pathlib
import re
import sys

lines = []
for text in (pathlib.Path(sys.argv[1]) / "meson-logs" / "testlog.json").read_text().splitlines():
    test = json.loads(text)
    out = test.get("stdout", "")
    cases = re.findall(r"^((?:not )?ok)\b[ \d]*(?:- )?(.*)$", out, re.M)
    cases = [(state, name) for state, name in cases if "# SKIP" not in name]
    lines += [(state, f"{test['name']}: {name}", "") for state, name in cases]
    # A test that crashed or timed out may have said "ok" until then.
    if test["result"] not in ("OK", "SKIP") and not any(state == "not ok" for state, _ in cases):
        lines.append(("not ok", f"{test['name']}: {test['result']}", out[-1500:] + test.get("stderr", "")[-3000:]))
    elif test["result"] not in ("OK", "SKIP"):
        lines.append(("", "", test.get("stderr", "")[-2000:]))
n = 0
for state, name, detail in lines:
    if state:
        n += 1
        print(f"{state} {n} - {name}")
    for line in detail.splitlines():
        print(f"# {line}")
print(f"1..{n}")
