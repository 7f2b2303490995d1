#!/usr/bin/env python3
"""docs/compatibility.md tells every behaviour that is tested, and every difference.

Argument: the source folder.
"""

import ast
import pathlib
import re
import sys

FILES = ("test_compatibility_messages.py", "test_compatibility_libraries.py",
         "test_browser_widgets.py", "test_browser_restart.py")


def tests_in(path):
    return {each.name for each in ast.walk(ast.parse(path.read_text()))
            if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")}


def complaints(root):
    folder, text = root / "tests" / "integration", (root / "docs" / "compatibility.md").read_text()
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    import compatibility_rows

    groups = {**compatibility_rows.GROUPS, "libraries": compatibility_rows.LIBRARIES}
    lines = set(text.splitlines())
    for rows in groups.values():
        for row in rows:
            if bool(row.why) != bool(row.ipykernel):
                yield f"{row.name}: a difference without a reason, or the other way round"
            line = f"| {row.name.replace('|', chr(92) + '|')} | {row.why or 'same'} |"
            if line not in lines:
                yield f"this row is missing: {line}"
        names = [row.name for row in rows]
        yield from (f"{name}: twice" for name in set(names) if names.count(name) > 1)
    named = set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", text))
    for file, test in sorted(named):
        if test not in tests_in(folder / file):
            yield f"there is no {file}::{test}"
    for file in FILES:
        for test in sorted(tests_in(folder / file) - {test for _, test in named}):
            yield f"{file}::{test} is not told"


def main():
    found = list(complaints(pathlib.Path(sys.argv[1])))
    print("\n".join(found) or "all rows are told")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
