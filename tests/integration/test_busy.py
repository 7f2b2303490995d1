"""What a client may ask while a cell runs is answered at once, from the newest checkpoint,
and nothing of it reaches the kernel itself."""

import os
import time

import pytest


import processes
from helpers import Settings, wait_until

pytestmark = pytest.mark.ringfence_only("ipykernel answers after the cell")

DEADLINE = 5  # seconds, on a busy machine; the cells run longer
SPIN = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
IN_C = "import hashlib\nhashlib.pbkdf2_hmac('sha256', b'a', b'b', 10**9)"
SLEEP = "import time; time.sleep(60)"

TRAPS = """
import os, time
touched = []
shared = open("position.txt", "w+"); shared.write("0123456789"); shared.seek(2); None
class Trap:
    plain = 1
    def __dir__(self):
        touched.append(1)
        shared.read(3)
        os.system("sleep 300 &")
        print("seen by nobody")
        return ["trapped"]
class Hang:
    def __dir__(self):
        while True:
            try:
                os.fork()
                time.sleep(300)
            except BaseException:
                pass
class Die:
    def __dir__(self):
        os._exit(3)
trap, hang, die = Trap(), Hang(), Die()
"""


def ask(kernel, msg_type, code, **more):
    content = {"code": code, "cursor_pos": len(code), **more}
    return kernel.client.request("shell", msg_type, content, timeout=DEADLINE)


def matches(kernel, code):
    return ask(kernel, "complete_request", code)["matches"]


def busy(kernel, code):
    """A cell that runs, after a checkpoint was made."""
    assert kernel.run("number = 17").status == "ok"
    wait_until(lambda: checkpoints(kernel))
    time.sleep(0.5)
    cell = kernel.execute("print('on', flush=True)\n" + code)
    return cell.wait_for(lambda cell: "on" in cell.stdout)


def stop(kernel, cell):
    kernel.km.interrupt_kernel()
    return cell.wait(60)


def below(kernel, name):
    keepers = [each.pid for each in processes.below(Settings.reaper).values()
               if each.name == "ringfence-keepr"]
    return [each for pid in keepers for each in processes.below(pid).values() if name in each.command
            or name == each.name]


def checkpoints(kernel):
    return below(kernel, "ringfence-ckpt")


def last_status(kernel):
    return [each["content"]["execution_state"] for each in kernel.client.order
            if each["msg_type"] == "status"][-1]


def test_answers(fresh):
    """While the worker burns a processor in Python, sleeps, and is in C code, where no interrupt
    reaches it."""
    for code in (SPIN, SLEEP, IN_C):
        cell = busy(fresh, code)
        assert "number" in matches(fresh, "numb")
        found = ask(fresh, "inspect_request", "number", detail_level=0)
        assert found["found"] and "17" in found["data"]["text/plain"]
        assert ask(fresh, "is_complete_request", "for x in y:")["status"] == "incomplete"
        assert ask(fresh, "is_complete_request", "1 + 1")["status"] == "complete"
        fresh.client.quiet(0.1)
        assert not cell.done and last_status(fresh) == "busy"
        if code is not IN_C:
            stop(fresh, cell)
            assert fresh.value("number") == 17
            fresh.client.quiet(0.1)
            assert last_status(fresh) == "idle"


def test_side_effects_reach_nobody(kernel):
    assert kernel.run(TRAPS).status == "ok"
    cell = busy(kernel, SLEEP)
    wait_until(lambda: matches(kernel, "trap.") == ["trapped"])
    assert matches(kernel, "hang.") == []
    assert matches(kernel, "die.") == []
    for _ in range(20):  # more than may hang at a time: the oldest give way
        kernel.client.kc.complete("hang.")
    wait_until(lambda: matches(kernel, "trap.") == ["trapped"])
    wait_until(lambda: not below(kernel, "ringfence-answr"), 30)
    wait_until(lambda: not below(kernel, "sleep 300"), 30)
    assert "nobody" not in stop(kernel, cell).stdout
    assert kernel.value("(touched, shared.tell(), shared.read())") == ([], 2, "23456789")


def test_without_a_checkpoint(start):
    """Also what was sent before the cell began, and what the worker alone knows waits."""
    kernel = start()
    cell = kernel.execute("print('on', flush=True)\n" + SLEEP)
    kernel.client.kc.complete("prin")
    cell.wait_for(lambda cell: "on" in cell.stdout)
    assert matches(kernel, "prin") == []
    assert not ask(kernel, "inspect_request", "print")["found"]
    assert ask(kernel, "is_complete_request", "1 + 1")["status"] == "unknown"
    with pytest.raises(TimeoutError):
        kernel.client.request("shell", "comm_info_request", {}, timeout=0.5)
    stop(kernel, cell)
    assert "print" in matches(kernel, "prin")


def test_a_short_cell_is_waited_for(kernel):
    """In order, from the newest state."""
    kernel.run("pass")
    for n in range(20):
        cell = kernel.execute(f"fresh_{n} = 1")
        found = matches(kernel, f"fresh_{n}")
        assert cell.wait().status == "ok"
        if f"fresh_{n}" in found:
            return  # a busy machine may take longer than it is patient
    raise AssertionError("no cell of an instant was waited for")


def test_answers_during_input(kernel):
    busy(kernel, "pass").wait()
    cell = kernel.execute("text = input('? ')", allow_stdin=True)
    kernel.client.pump_until(lambda: kernel.client.inputs, 30)
    assert "number" in matches(kernel, "numb")
    assert kernel.client.answer("typed")["prompt"] == "? "
    assert cell.wait().status == "ok" and kernel.value("text") == "typed"


def test_descriptors(kernel):
    """Of the gateway: none is left by many answers, given or not."""
    kernel.run(TRAPS)
    cell = busy(kernel, SLEEP)

    def count():
        return len(os.listdir(f"/proc/{kernel.pid}/fd"))

    matches(kernel, "trap.")
    before = count()
    for _ in range(50):
        matches(kernel, "die.")
        ask(kernel, "is_complete_request", "1")
    wait_until(lambda: count() <= before, 10)
    stop(kernel, cell)
