"""Interrupts, as a message on the control channel and as SIGINT to the kernel's process."""

import time
import uuid

import pytest

import processes
from helpers import wait_until


@pytest.fixture(params=["message", "signal"])
def mode(request, kernel):
    kept = kernel.km.kernel_spec.interrupt_mode
    kernel.km.kernel_spec.interrupt_mode = request.param
    yield request.param
    kernel.km.kernel_spec.interrupt_mode = kept


def running(kernel, code, **options):
    """A cell that has printed "on" and is now in what follows it."""
    cell = kernel.execute("print('on', flush=True)\n" + code, **options)
    return cell.wait_for(lambda cell: "on" in cell.stdout)


def interrupted(cell):
    cell.wait()
    return cell.status == "error" and cell.content["ename"] == "KeyboardInterrupt"


@pytest.mark.parametrize("code", [
    "import time; time.sleep(1000)",
    "while True: pass",
    "import itertools\nfor i in itertools.count(): i * i",
    "import threading; threading.Event().wait()",
    "import subprocess; subprocess.run(['sleep', '1000'])",
    "import select; select.select([], [], [])",
], ids=["sleep", "loop", "count", "event", "subprocess", "select"])
def test_interrupt(kernel, mode, code):
    cell = running(kernel, code)
    kernel.km.interrupt_kernel()
    assert interrupted(cell)
    assert kernel.run("1+1").result == "2"


@pytest.mark.ringfence_only("ipykernel waits for the call's end")
def test_interrupt_that_comes_just_before_a_call_that_waits(kernel, mode):
    """Python looks for signals before the call: it has not seen this one when it waits.  The same
    happens when a signal lets the call go on."""
    cell = running(kernel, "import os, signal\nsignal.siginterrupt(signal.SIGINT, False)\n"
                           "os.read(os.pipe()[0], 1)")
    time.sleep(0.2)
    kernel.km.interrupt_kernel()
    assert interrupted(cell)
    assert kernel.run("1+1").result == "2"


@pytest.mark.ringfence_only("ipykernel 7.4 does not wake its loop for SIGINT")
def test_interrupt_await(kernel, mode):
    cell = running(kernel, "import asyncio; await asyncio.sleep(1000)")
    kernel.km.interrupt_kernel()
    assert cell.wait().status == "error"
    assert cell.content["ename"] in ("KeyboardInterrupt", "CancelledError")
    assert kernel.run("1+1").result == "2"


def test_interrupt_keeps_the_state(kernel, mode):
    cell = running(kernel, "seen = 0\nwhile True: seen += 1")
    time.sleep(0.2)
    kernel.km.interrupt_kernel()
    assert interrupted(cell)
    assert kernel.run("seen > 1").result == "True"


def test_interrupt_ends_shell_commands_and_their_children(kernel, mode):
    marker = f"1000.{uuid.uuid4().int % 10**9:09d}"
    cell = running(kernel, f"!sh -c 'sh -c \"sleep {marker}; true\"; true'")
    wait_until(lambda: any(each.name == "sleep" for each in processes.with_argument(marker)), 10)
    kernel.km.interrupt_kernel()
    cell.wait()
    assert wait_until(lambda: not processes.with_argument(marker), 10)
    assert kernel.run("1+1").result == "2"


def test_second_press(kernel, mode):
    cell = running(kernel, "import time\ntry:\n    time.sleep(1000)\n"
                           "except KeyboardInterrupt:\n    print('once', flush=True)\n"
                           "while True: pass")
    kernel.km.interrupt_kernel()
    cell.wait_for(lambda cell: "once" in cell.stdout)
    assert cell.reply is None
    kernel.km.interrupt_kernel()
    assert interrupted(cell)


def test_caught_interrupt_is_no_error(kernel, mode):
    cell = running(kernel, "import time\ntry:\n    time.sleep(1000)\n"
                           "except KeyboardInterrupt:\n    print('caught')")
    kernel.km.interrupt_kernel()
    assert cell.wait().status == "ok" and "caught" in cell.stdout


def test_interrupt_while_idle_is_harmless(kernel, mode):
    for _ in range(3):
        kernel.km.interrupt_kernel()
        time.sleep(0.05)
    cell = kernel.run("import time; time.sleep(0.5); 'undisturbed'")
    assert cell.status == "ok" and cell.result == "'undisturbed'"


def test_interrupt_aborts_the_queue(kernel, mode):
    cell = running(kernel, "import time; time.sleep(1000)")
    queued = [kernel.execute("print('never')") for _ in range(2)]
    time.sleep(0.2)
    kernel.km.interrupt_kernel()
    assert interrupted(cell)
    assert [each.wait().status for each in queued] == ["aborted", "aborted"]
    assert kernel.run("1+1").result == "2"


def test_interrupt_in_input(kernel, mode):
    cell = running(kernel, "input('?')", allow_stdin=True)
    kernel.client.pump_until(lambda: kernel.client.inputs, 10)
    kernel.km.interrupt_kernel()
    assert interrupted(cell)
    kernel.client.inputs.clear()


def test_interrupt_reply(kernel):
    cell = running(kernel, "import time; time.sleep(1000)")
    assert kernel.client.request("control", "interrupt_request")["status"] == "ok"
    assert interrupted(cell)


def test_many_interrupts_in_a_row(kernel, mode):
    for _ in range(20):
        cell = running(kernel, "while True: pass")
        kernel.km.interrupt_kernel()
        assert interrupted(cell)
    assert kernel.run("1+1").result == "2"
