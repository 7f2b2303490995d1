"""What has to hold after every attack of the catalogue of abuses: its four general rules.

(a) The gateway answers for itself, during the attack too.  (b) Another kernel notices
nothing.  (c) The attacked kernel tells what became of the cell and of its state, and
runs the next one.  (d) Once it has ended nothing of it remains.
"""

import os
import time

import processes
from helpers import Kernel, cgroups_of, execute_with, mounts, ours, plain, wait_until, zygote
from rawclient import RawClient

MARK = f"rf-abuse-{os.getpid()}"  # in the names of all that an attack makes
REST = 0.3  # seconds of idleness, so that a checkpoint is there
SHARED = ("/tmp", "/var/tmp", "/dev/shm")  # folders of the machine that a kernel has of its own
PROBE = "print((globals().get('kept'), globals().pop('attacked', None)))"


def segments():
    """System V IPC of the machine."""
    found = []
    for kind in ("shm", "sem", "msg"):
        with open(f"/proc/sysvipc/{kind}", encoding="ascii") as file:
            found += [(kind, *line.split()[:2]) for line in file.readlines()[1:]]
    return found


def marked():
    """Files of the machine that carry MARK."""
    return [f"{folder}/{name}" for folder in SHARED for name in os.listdir(folder) if MARK in name]


class Target:
    """A kernel to attack, and another one beside it."""

    def __init__(self, kernel_name, **options):
        self.env = options.get("env")
        self.beside = Kernel(kernel_name)
        self.beside.run("kept = ['beside']")
        self.before = set(ours()), mounts(), segments()
        self.kernel = Kernel(kernel_name, **options)
        self.attacks = 0
        self.settle()

    def settle(self):
        assert self.kernel.run("kept = 41").status == "ok"
        time.sleep(REST)

    def gateway_answers(self):
        with RawClient(self.kernel.connection) as raw:
            assert raw.heartbeat(5)
            info = raw.reply("control", raw.send("control", "kernel_info_request"), 5)
            assert info["content"]["status"] == "ok"

    def beside_is_well(self):
        assert self.beside.run("kept").result == "['beside']"

    def attack(self, code, timeout=60, **options):
        """Runs the cell, with options of the request's metadata; rules a to c."""
        self.attacks += 1
        cell = execute_with(self.kernel, f"attacked = {self.attacks}\n{code}", **options)
        self.gateway_answers()
        cell.wait(timeout)
        self.judge(cell)
        return cell

    def judge(self, cell):
        assert cell.types[0] == "busy" and cell.types.count("idle") == 1, cell.types
        self.gateway_answers()
        self.beside_is_well()
        after = self.kernel.run(PROBE)
        assert after.count == cell.count + 1
        state = {True: (41, self.attacks), "back": (41, None), "lost": (None, None)}
        assert after.stdout.strip() == str(state[self.outcome(cell)]), (after.stdout, cell.describe())
        self.settle()

    @staticmethod
    def outcome(cell):
        """What the reply says of the state."""
        if cell.content.get("ename") != "WorkerDied":
            return True
        text = plain(cell.error)
        assert ("state rolled back" in text) != ("all state was lost" in text), text
        return "back" if "state rolled back" in text else "lost"

    def processes(self):
        """Names of the live processes in the sandbox; its keeper comes first."""
        return self.kernel.value(
            "[line.split()[1] for line in (open(f'/proc/{p}/stat').read() for p in sorted("
            "map(int, filter(str.isdigit, __import__('os').listdir('/proc'))))) "
            "if line.split()[2] != 'Z']")

    def close(self):
        """Rule d."""
        pids, known_mounts, known_segments = self.before
        gateway, connection = self.kernel.pid, self.kernel.km.connection_file
        started = set(ours()) - pids
        assert len(started) >= 3
        assert mounts() == known_mounts
        self.kernel.stop()
        self.beside.stop()
        zygote("stop", env=self.env)
        left = processes.wait_gone((set(ours()) - pids) | started, 10)
        assert not left, left
        wait_until(lambda: not cgroups_of(gateway), 5)
        assert mounts() == known_mounts and segments() == known_segments
        assert not marked() and not os.path.exists(connection)
