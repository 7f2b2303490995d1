"""What has to hold after every attack of the catalogue of abuses: its four general rules.

(a) The gateway answers for itself, during the attack too.  (b) Another kernel notices
nothing.  (c) The attacked kernel tells what became of the cell and of its state, and
runs the next one.  (d) Once it has ended nothing of it remains.
"""

import ast
import os
import time

import processes
from helpers import (Kernel, cgroups_of, configuration, execute_with, mounts, new_folder, plain,
                     wait_until, zygote, zygote_pid)
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
    """A kernel of a profile of its own, to be attacked, and another kernel beside it."""

    def __init__(self, kernel_name, **profile):
        self.env = {**configuration(abused=profile), "XDG_RUNTIME_DIR": new_folder("run")}
        self.mounts, self.segments = mounts(), segments()
        self.beside = Kernel(kernel_name)
        self.beside.run("kept = ['beside']")
        self.kernel = Kernel(kernel_name, env=self.env, arguments=["--profile", "abused"])
        self.zygote = zygote_pid(self.env)
        self.attacks = 0

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
        self.settle()
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
        before = [(41, attacked) for attacked in (None, *range(1, self.attacks))]
        states = {True: [(41, self.attacks)], "back": before, "lost": [(None, None)]}
        assert ast.literal_eval(after.stdout) in states[self.outcome(cell)], (after.stdout, cell.describe())

    @staticmethod
    def outcome(cell):
        """What the reply says of the state."""
        if cell.content.get("ename") != "WorkerDied":
            return True
        text = plain(cell.error)
        assert ("state rolled back" in text) != ("all state was lost" in text), text
        return "back" if "state rolled back" in text else "lost"

    def processes(self):
        """What runs in the sandbox: the zygote has no other children but its spare."""
        return [each.name for each in processes.below(self.zygote).values()
                if each.name not in ("ringfence-keepr", "ringfence-spare")]

    def new_mounts(self):
        """At the folders that every sandbox mounts, since the machine has others to mount too."""
        new = set(mounts().splitlines()) - set(self.mounts.splitlines())
        return [each for each in new if each.split()[4].startswith(SHARED)]

    def close(self):
        """Rule d."""
        gateway, connection = self.kernel.pid, self.kernel.km.connection_file
        started = {self.zygote, gateway, *processes.below(self.zygote), *processes.below(gateway)}
        assert len(started) >= 4 and self.new_mounts() == []
        self.kernel.stop()
        self.beside.stop()
        zygote("stop", env=self.env)
        left = processes.wait_gone(started, 10)
        assert not left, left
        wait_until(lambda: not cgroups_of(gateway), 20)
        assert self.new_mounts() == [] and segments() == self.segments
        assert marked() == [] and not os.path.exists(connection)
