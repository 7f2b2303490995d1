"""Checkpoints that the user commands: make, list, go back, undo, recover."""

import re

import pytest

from helpers import plain

pytestmark = pytest.mark.ringfence_only("ipykernel has no checkpoints")

KILL = "import os; os.kill(os.getpid(), 9)"


def ok(cell):
    assert cell.status == "ok", cell.describe()
    assert cell.types[0] == "busy" and cell.types[-1] == "idle"
    return cell


def refused(cell, *words):
    """A UsageError that says what to do, and the state is as it was."""
    assert cell.status == "error" and cell.content["ename"] == "UsageError", cell.describe()
    for word in words:
        assert word in cell.content["evalue"], cell.content["evalue"]


def listed(kernel):
    return kernel.client.request("control", "ringfence_checkpoints_request")["checkpoints"]


def order(kernel, operation, channel="shell", **more):
    return kernel.client.request(channel, "ringfence_checkpoint_request",
                                 {"operation": operation, **more})


def test_rollback(fresh):
    ok(fresh.run("x = [1]; y = 'old'"))
    made = ok(fresh.run("%checkpoint start"))
    assert re.fullmatch(r"checkpoint \d+ 'start': full\n", made.stdout)
    ok(fresh.run("x.append(2)"))
    ok(fresh.run("y = 'new'; z = 1"))
    back = ok(fresh.run("print('before'); get_ipython().run_line_magic('rollback', 'start')\n"
                        "never = 1"))
    assert back.stdout.startswith("before\nRolled back to checkpoint ")
    for words in ("In [3]: x.append(2)", "In [4]: y = 'new'; z = 1", "files that were written"):
        assert words in back.stdout
    assert "In [1]" not in back.stdout.replace("made after In [1]", "")
    cell = ok(fresh.run("x, y, 'z' in globals(), 'never' in globals()"))
    assert cell.result == "([1], 'old', False, False)" and cell.count == back.count + 1
    ok(fresh.run("x.append(3)"))
    ok(fresh.run("%rollback"))  # the newest of the user's, again: it is never used up
    assert fresh.run("x").result == "[1]"
