"""What a checkpoint made now could serve for, and why; and what mends a process that goes
on from one.

A fork holds memory and one thread.  What cannot be in it makes a checkpoint
crash-only: it is used when all would be lost otherwise, and refused for
%rollback.  docs/checkpoints.md has the table; what is in doubt is crash-only.
"""

from __future__ import annotations

import _thread
import bisect
import os
import stat
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fcntl import F_GETFL, fcntl
from typing import Any

from . import hygiene, pools

# Native libraries whose threads a fork can leave out, since they make new ones (all tried,
# see tests/integration/test_libraries.py).  OpenBLAS ends its own before a fork.
_REMAKE = ("libarrow", "libopenblas", "libscipy_openblas")
_RUNTIME = ("libc.so", "libc-", "libstdc++", "libpthread", "libpython", "libm.so", "libgcc_s",
            "ld-linux", "python3", "ringfence-kernel", "_ringfence", "[")
_STACK = 16384  # bytes of a thread's stack in which the library that it came from is found
_FORMATS = ((b"SQLite format 3\0", "SQLite"), (b"\x89HDF\r\n\x1a\n", "HDF5"))
_GPUS = ("/dev/nvidia", "/dev/kfd", "/dev/dri/render")


@dataclass
class Finding:
    reason: str = ""  # why the checkpoint is crash-only; "": it is not
    spared: int = 0  # threads beside the main one that a fork can leave out
    broken: list[str] = field(default_factory=list)  # kinds of objects to be mended

    def describe(self) -> str:
        return f"crash-only: {self.reason}" if self.reason else "full: all of it can go into one"


def survey() -> Finding:
    """Of this process, in its main thread.  Costs some 30 us while nothing is in the way."""
    global _newest
    finding = _newest = Finding()
    for look in (_threads, _children, _descriptors):
        try:
            reason = look(finding)
        except Exception as exc:  # of the user's objects, which are asked
            reason = f"the session cannot be looked through: {type(exc).__name__}"
        finding.reason = finding.reason or reason
    finding.reason = finding.reason.encode("utf-8", "replace").decode()  # names of files
    return finding


_newest = Finding()  # what the process was that a resumed one is a copy of


# -- threads --------------------------------------------------------------------


def _threads(finding: Finding) -> str:
    if os.stat("/proc/self/task").st_nlink <= 3:  # "." and "..", and the main one
        return ""
    pools.pause()
    main = threading.main_thread()  # whose own native_id is that of before the newest fork
    python = {t.native_id: t for t in threading.enumerate() if t is not main}
    if _thread._count() > len(python):
        return "threads of the module _thread run"
    running = []
    for thread in python.values():
        if _can_be_left_out(thread):
            finding.spared += 1
        else:
            running.append(thread.name)
    if python:
        finding.broken.append("threads")
    if running:
        return f"the thread {running[0]!r} runs" if len(running) == 1 else \
            f"{len(running)} threads run: {', '.join(map(repr, running[:5]))}"
    native = [tid for tid in map(int, os.listdir("/proc/self/task"))
              if tid not in python and tid != os.getpid()]
    return _native(native, finding)


def _can_be_left_out(thread: threading.Thread) -> bool:
    """tqdm makes a new monitor; an idle pool's threads are made anew by mend()."""
    if type(thread).__name__ == "TMonitor" and type(thread).__module__.startswith("tqdm"):
        return True
    return any(thread in pool._threads and _is_idle(pool) for pool in _thread_pools())


def _thread_pools() -> list[Any]:
    module = sys.modules.get("concurrent.futures.thread")
    return _instances(module.ThreadPoolExecutor) if module else []


def _instances(kind: type) -> list[Any]:
    import gc

    # Not isinstance(): it asks proxies for a __class__, and some of them raise then.
    return [thing for thing in gc.get_objects() if issubclass(type(thing), kind)]


def _is_idle(pool: Any) -> bool:
    waiting: int = pool._idle_semaphore._value
    return waiting >= len(pool._threads) and pool._work_queue.empty()


def _native(tids: list[int], finding: Finding) -> str:
    """Threads that no Python code made.  One that cannot be asked now is left to the count
    after the fork."""
    owners = _owners(tids)
    foreign = Counter(owner for owner in owners if owner and not owner.startswith(_REMAKE))
    finding.spared += sum(owner.startswith(_REMAKE) for owner in owners)
    if not foreign:
        return ""
    owner, n = foreign.most_common(1)[0]
    return f"{n} thread{'s' * (n > 1)} of the library {owner} {'run' if n > 1 else 'runs'}"


_known: dict[int, str] = {}


def _owners(tids: list[int]) -> list[str]:
    """The libraries that these threads came from; "" where that cannot be told."""
    if any(tid not in _known for tid in tids):
        code = _code_ranges()
        with open("/proc/self/mem", "rb", buffering=0) as memory:
            for tid in tids:
                if not _known.get(tid):
                    _known[tid] = _owner(tid, memory.fileno(), code)
    for tid in _known.keys() - set(tids):
        del _known[tid]
    return [_known[tid] for tid in tids]


def _code_ranges() -> list[tuple[int, int, str]]:
    found = []
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            addresses, mode, *_, name = line.split(maxsplit=5) if "/" in line else (line, "", "")
            name = os.path.basename(name.strip())
            if "x" in mode and not name.startswith(_RUNTIME):
                low, high = addresses.split("-")
                found.append((int(low, 16), int(high, 16), name))
    return sorted(found)


def _owner(tid: int, memory: int, code: list[tuple[int, int, str]]) -> str:
    """The library of the innermost return address on the thread's stack that is of any."""
    try:
        with open(f"/proc/self/task/{tid}/syscall", encoding="ascii") as file:
            words = file.read().split()
        stack = os.pread(memory, _STACK, int(words[-2], 16))  # no crash if it has ended
    except (OSError, ValueError, IndexError):
        return ""  # it runs, or has ended
    for (word,) in struct.iter_unpack("<Q", stack[: len(stack) // 8 * 8]):
        at = bisect.bisect(code, (word, sys.maxsize, "")) - 1
        if at >= 0 and code[at][0] <= word < code[at][1]:
            return code[at][2]
    return ""


# -- processes and descriptors ----------------------------------------------------


def _children(finding: Finding) -> str:
    try:
        with open(f"/proc/self/task/{threading.get_native_id()}/children", "rb") as file:
            pids = file.read().split()
    except OSError:
        return ""
    names = [name for name in map(_running, map(int, pids)) if name]
    if not names:
        return ""
    finding.broken.append("children")
    shown = ", ".join(names[:5])
    return f"child process{'es' * (len(names) > 1)} {shown} run{'s' * (len(names) == 1)}"


def _running(pid: int) -> str:
    """Its name; "" if it has ended and waits for its parent."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            head, _, tail = file.read().rpartition(")")
    except OSError:
        return ""
    return "" if tail.split()[0] in "ZX" else f"{pid} ({head.partition('(')[2]})"


def _descriptors(finding: Finding) -> str:
    for fd in hygiene.open_fds():
        try:
            mode = os.fstat(fd).st_mode
            reason = _CHECKS[stat.S_IFMT(mode)](fd) if stat.S_IFMT(mode) in _CHECKS else ""
        except OSError:
            continue  # closed meanwhile
        if reason:
            return reason
    return ""


def _check_file(fd: int) -> str:
    with open(f"/proc/self/fdinfo/{fd}", "rb") as info:
        if b"\nlock:" in info.read():
            return f"the file {_path(fd)} is locked"
    if fcntl(fd, F_GETFL) & os.O_ACCMODE != os.O_RDWR:
        return ""
    head = os.pread(fd, 16, 0)
    for magic, name in _FORMATS:
        if head.startswith(magic):
            return f"the {name} file {_path(fd)} is open for writing"
    return ""


def _check_device(fd: int) -> str:
    path = _path(fd)
    return f"a GPU is in use ({path})" if path.startswith(_GPUS) else ""


def _path(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")


_CHECKS: dict[int, Callable[[int], str]] = {stat.S_IFREG: _check_file, stat.S_IFCHR: _check_device}


# -- after a resume -----------------------------------------------------------------


def mend() -> None:
    """In a process that goes on from a checkpoint: objects that stand for threads and
    processes which it does not have say so, instead of waiting for them for ever."""
    _known.clear()
    if "threads" in _newest.broken:
        for pool in _thread_pools():
            with suppress(Exception):  # one that is half made, or a future that is done
                _mend_thread_pool(pool)
        for pool in _of("concurrent.futures.process", "ProcessPoolExecutor"):
            pool._broken = f"its processes {_GONE}"
    if "children" in _newest.broken:
        for child in _of("subprocess", "Popen"):
            if child.returncode is None:
                child.returncode = -9
        if processes := sys.modules.get("multiprocessing.process"):
            processes._children.clear()


_GONE = "were not carried by the checkpoint: make a new pool"


def _of(module: str, name: str) -> Iterator[Any]:
    loaded = sys.modules.get(module)
    yield from _instances(getattr(loaded, name)) if loaded else ()


def _mend_thread_pool(pool: Any) -> None:
    """One that was idle makes new threads when it is used."""
    import queue

    if not pool._threads:
        return
    if not _is_idle(pool):
        pool._broken = f"its threads {_GONE}"
    while not pool._work_queue.empty():
        item = pool._work_queue.get_nowait()
        if item is not None:
            item.future.set_exception(RuntimeError(pool._broken))
    pool._threads.clear()
    pool._idle_semaphore = threading.Semaphore(0)
    pool._work_queue = queue.SimpleQueue()
