#!/usr/bin/env python3
"""Who may include what, and which functions nobody may call.

The tables below are the may-use table of docs/architecture.md.  Argument: the
source folder.
"""

import pathlib
import re
import sys

# Folder -> folders whose headers its files may include.  The longest row that
# fits counts; folders without a row (tests, bench) may use anything.
MAY_USE = {
    "include": ["include"],
    "common": ["include", "common"],
    "gateway": ["include", "common", "gateway"],
    "gateway/jupyter": ["include", "common", "gateway/jupyter"],
    "gateway/zmq": ["include", "common", "gateway/jupyter", "gateway/zmq"],
    "kernel": ["include", "common", "kernel"],
    "kernel/keeper": ["include", "common", "kernel/keeper", "kernel/sandbox"],
    "kernel/sandbox": ["include", "common", "kernel/sandbox"],
}

# Third-party header (or folder of headers) -> where it may appear.
THIRD_PARTY = {
    "Python.h": ["kernel/python"],
    "cmocka.h": ["tests"],
    "czmq.h": ["gateway/zmq"],
    "jansson.h": ["common", "gateway/zmq", "gateway/cli"],
    "microhttpd.h": ["gateway/http"],
    "openssl/": ["gateway/jupyter"],
    "sanitizer/": ["kernel/sandbox"],
    "seccomp.h": ["kernel/sandbox"],
    "sodium.h": ["gateway"],
    "sqlite3.h": ["gateway/store"],
    "uv.h": ["gateway/cli", "gateway/http", "gateway/supervise", "gateway/zmq"],
    "wslay/": ["gateway/http"],
    "zmq.h": ["gateway/zmq"],
}

# The C library and the kernel's headers.
LIBC_FOLDERS = ("arpa/", "asm/", "linux/", "net/", "netinet/", "sys/")
LIBC = set("""
    assert ctype dirent dlfcn elf endian err errno fcntl float fnmatch ftw getopt glob grp inttypes
    ifaddrs langinfo libgen limits link locale malloc math netdb poll pthread pty pwd regex sched semaphore
    setjmp signal spawn stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn
    string strings syslog termios threads time unistd utime wchar wctype
""".split())

# The pure protocol code: bytes in, bytes out.
IMPURE = {"gateway/jupyter": ["fcntl.h", "poll.h", "sys/random.h", "sys/socket.h", "unistd.h"]}

POISONED = ["strcpy", "strcat", "sprintf", "vsprintf", "strtok", "atoi", "system", "gets"]

COMMENT_OR_STRING = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
                               re.DOTALL)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)
CALL = re.compile(rf"(?<![\w.>])({'|'.join(POISONED)})\s*\(")


def is_under(folder, row):
    return folder == row or folder.startswith(row + "/")


def longest_row(table, folder):
    """What the longest fitting row of `table` says, or None."""
    rows = [row for row in table if is_under(folder, row)]
    return table[max(rows, key=len)] if rows else None


def blank(text, keep_strings):
    """`text` without comments, and without strings, line by line as it was."""
    def replace(match):
        found = match.group()
        if keep_strings and found[0] in "\"'":
            return found
        return "\n" * found.count("\n") or " "
    return COMMENT_OR_STRING.sub(replace, text)


def own_folder(quote, name):
    """The folder of the header `name` where it is one of ours, else None."""
    if quote == '"':
        return str(pathlib.PurePath(name).parent)
    return "include/ringfence" if name.startswith("ringfence/") else None


def judge_own(root, folder, quote, name, target):
    path = root / ("include/" + name if quote == "<" else name)
    if not path.is_file():
        return f'"{name}" is not a path from the root of the tree'
    allowed = longest_row(MAY_USE, folder)
    if allowed is not None and not any(is_under(target, row) for row in allowed):
        return f"{folder} may not use {target} ({name})"
    return None


def judge_other(folder, name):
    for header, places in THIRD_PARTY.items():
        if name == header or (header.endswith("/") and name.startswith(header)):
            if is_under(folder, "tests") or any(is_under(folder, place) for place in places):
                return None
            return f"<{name}> belongs into {', '.join(places)} only"
    if name in (longest_row(IMPURE, folder) or []):
        return f"<{name}> in {folder}, which is pure protocol"
    if name.startswith(LIBC_FOLDERS) or name.removesuffix(".h") in LIBC:
        return None
    return f"<{name}> is in no table of tests/includes.py: say there who may use it"


def judge_include(root, folder, quote, name):
    """What is wrong with this include in a file of `folder`, or None."""
    target = own_folder(quote, name)
    if target is None:
        return judge_other(folder, name)
    return judge_own(root, folder, quote, name, target)


def complaints(root, path):
    """(line, text) for everything that is wrong in one file."""
    text = path.read_text()
    folder = str(path.relative_to(root).parent)
    for match in INCLUDE.finditer(blank(text, keep_strings=True)):
        wrong = judge_include(root, folder, *match.groups())
        if wrong:
            yield text.count("\n", 0, match.start()) + 1, wrong
    code = blank(text, keep_strings=False)
    for match in CALL.finditer(code):
        yield code.count("\n", 0, match.start()) + 1, f"{match.group(1)}() is banned"


def main(root):
    root = pathlib.Path(root)
    files = sorted(path for folder in ("include", "common", "gateway", "kernel", "tests", "bench")
                   for path in (root / folder).rglob("*.[ch]"))
    wrong = [f"{path.relative_to(root)}:{line}: {text}"
             for path in files for line, text in complaints(root, path)]
    print("\n".join([*wrong, f"{len(files)} files"]))
    return 1 if wrong or not files else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
