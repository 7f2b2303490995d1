"""Adds up what the test suites reported.

    summarise.py FOLDER [--ci]

FOLDER holds one folder per suite: `status` (exit status of its command), `log`,
and any number of JUnit files (*.xml) or test logs of meson (*.json; its JUnit
files call a test passed that ran out of time).  Prints a line per suite, the tests
that failed and the end of what they said, those that were skipped, and at the end
`N passed, N failed`.  Ends with 1 if anything failed.

A suite that ended badly without a failed test counts as one failure.  With --ci a
skipped test counts as failed, unless its reason begins with "absent layer:":
this machine has no such layer.
"""

import json
import pathlib
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

ABSENT = "absent layer:"
NOTHING_COLLECTED = 5  # pytest, when -k leaves nothing
SAID = 25  # lines shown of a failed test


@dataclass
class Suite:
    name: str
    passed: int = 0
    failed: list = field(default_factory=list)  # (test, the end of what it said)
    skipped: list = field(default_factory=list)  # (test, reason)
    seconds: float = 0.0


def reason_of(skipped):
    """The reason; pytest writes "file:line: reason" as text, "reason" as message."""
    return (skipped.get("message") or skipped.text or "no reason given").strip()


def read_case(suite, case):
    name = f"{case.get('classname', '')} {case.get('name', '')}".strip()
    bad = next((each for each in case if each.tag in ("failure", "error")), None)
    skipped = case.find("skipped")
    if bad is not None:
        suite.failed.append((name, bad.text or bad.get("message", "")))
    elif skipped is not None:
        suite.skipped.append((name, reason_of(skipped)))
    else:
        suite.passed += 1


def read_junit(suite, path):
    try:
        cases = ElementTree.parse(path).iter("testcase")
    except ElementTree.ParseError:
        return  # cut short: the status tells
    for case in cases:
        read_case(suite, case)


def read_meson(suite, path):
    for test in map(json.loads, path.read_text().splitlines()):
        if test["result"] == "OK":
            suite.passed += 1
        elif test["result"] == "SKIP":
            suite.skipped.append((test["name"], "no reason given"))
        else:
            said = test.get("stdout", "") + test.get("stderr", "")
            suite.failed.append((f"{test['name']} ({test['result']}, {test['duration']:.0f} s)", said))


def read_suite(folder):
    suite = Suite(folder.name)
    for path in sorted(folder.glob("*.xml")):
        read_junit(suite, path)
    for path in sorted(folder.glob("*.json")):
        read_meson(suite, path)
    status, seconds = (folder / "status").read_text().split()
    suite.seconds = float(seconds)
    if int(status) not in (0, NOTHING_COLLECTED) and not suite.failed:
        said = (folder / "log").read_text(errors="replace")
        suite.failed.append((f"{folder.name}: its command ended with status {status}", said))
    return suite


def count_skipped(suites):
    for suite in suites:
        for name, reason in [each for each in suite.skipped if not each[1].startswith(ABSENT)]:
            suite.failed.append((f"{name} (skipped: {reason})", ""))


def show(suites, folder):
    for suite in suites:
        print(f"  {suite.name:<28}{suite.passed:5} passed {len(suite.failed):3} failed "
              f"{len(suite.skipped):3} skipped {suite.seconds:6.0f} s")
    reasons = sorted({reason for suite in suites for _, reason in suite.skipped})
    for reason in reasons:
        print(f"  skipped: {reason}")
    for suite in suites:
        for name, said in suite.failed:
            print(f"  FAILED {suite.name}: {name}")
            for line in said.rstrip().splitlines()[-SAID:]:
                print(f"         | {line}")
        if suite.failed:
            print(f"         see {folder / suite.name / 'log'}")


def main(folder, ci):
    folder = pathlib.Path(folder)
    suites = [read_suite(path.parent) for path in sorted(folder.glob("*/status"))]
    if ci:
        count_skipped(suites)
    show(suites, folder)
    failed = sum(len(suite.failed) for suite in suites)
    print(f"{sum(suite.passed for suite in suites)} passed, {failed} failed")
    return 1 if failed or not suites else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], "--ci" in sys.argv[2:]))
