#!/usr/bin/env python3
"""Every header compiles alone: it includes what it needs.

Arguments: the source folder, then the compiler and its arguments.
"""

import concurrent.futures
import pathlib
import subprocess
import sys

FOLDERS = ("include", "common", "gateway", "kernel")
FLAGS = ("-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror",
         "-fsyntax-only")


def compile_alone(root, compiler, header):
    """The compiler's complaints about `header`, or nothing."""
    command = [*compiler, *FLAGS, f"-I{root}", f"-I{root / 'include'}", "-include", str(header),
               "-x", "c", "/dev/null"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=50)
    return run.stderr or f"exit code {run.returncode}" if run.returncode else ""


def main(root, *compiler):
    root = pathlib.Path(root)
    headers = sorted(h for folder in FOLDERS for h in (root / folder).rglob("*.h"))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda h: compile_alone(root, compiler, h), headers))
    for header, complaint in zip(headers, results):
        if complaint:
            print(f"{header.relative_to(root)} does not compile alone:\n{complaint}")
    print(f"{len(headers)} headers")
    return 1 if any(results) or not headers else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
