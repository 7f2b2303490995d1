"""Which processes belong to the tests: found through /proc, without other packages.

adopt_orphans() puts a small parent above the test process.  It is the child
subreaper of everything that the tests start, so that a daemon that has left its
session and its parent is still found below it, and the dead are always reaped.
"""

import ctypes
import os
import signal
import time

PR_SET_CHILD_SUBREAPER = 36


class Process:
    """One line of /proc: pid, parent, name and state, as they were when it was read."""

    def __init__(self, pid):
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
        name_end = text.rindex(")")
        fields = text[name_end + 2:].split()
        self.pid = pid
        self.name = text[text.index("(") + 1:name_end]
        self.state = fields[0]
        self.parent = int(fields[1])

    @property
    def command(self):
        try:
            with open(f"/proc/{self.pid}/cmdline", "rb") as file:
                return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            return ""

    def __repr__(self):
        return f"{self.pid} (parent {self.parent}, {self.state}) {self.name}: {self.command[:120]}"


def table():
    """All processes that are not dead yet, by pid."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                process = Process(int(name))
            except (OSError, ValueError):
                continue
            if process.state not in "ZX":
                found[process.pid] = process
    return found


def below(root, processes=None):
    """Processes that descend from `root`, without it."""
    processes = table() if processes is None else processes
    found = {}
    for process in processes.values():
        chain, at = [], process
        while at is not None and at.pid != root and at.pid not in found:
            chain.append(at)
            at = processes.get(at.parent)
        if at is not None:
            found.update((each.pid, each) for each in chain)
    return found


def with_argument(marker):
    """Processes whose command line contains `marker`."""
    return [each for each in table().values() if marker in each.command]


def wait_gone(pids, seconds):
    """Waits until none of `pids` lives; returns those that still do."""
    deadline = time.monotonic() + seconds
    while True:
        left = [each for each in table().values() if each.pid in pids]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def kill(processes):
    for process in processes:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def adopt_orphans():
    """Forks: the child goes on as the caller, the parent reaps and ends with its status.

    Returns the parent's pid, below which all that the caller starts will be found.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    child = os.fork()
    if child == 0:
        return os.getppid()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda got, _frame: os.kill(child, got))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells the child itself
    while True:
        pid, status = os.wait()
        if pid == child:
            kill(below(os.getpid()).values())
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
