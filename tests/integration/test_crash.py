"""A cell that kills the interpreter costs that cell, not the session."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from helpers import client_of, kernel_argv, kernel_environment, new_folder, plain, wait_until

pytestmark = pytest.mark.ringfence_only("ipykernel dies with the interpreter")

KILL = "import os; os.kill(os.getpid(), 9)"
RESTED = 0.5  # seconds of idleness, ten times what the automatic checkpoint waits for


def rest():
    time.sleep(RESTED)


def crash(kernel, code, timeout=30):
    """Runs a cell that ends the worker; its reply is an error like any other."""
    rest()
    cell = kernel.run(code, timeout=timeout)
    assert cell.status == "error", cell.describe()
    assert cell.types[0] == "busy" and cell.types[-1] == "idle"
    message = cell.of("error")[-1]["content"]
    for name in ("ename", "evalue", "traceback"):
        assert message[name] == cell.content[name]
    assert cell.content["ename"] and cell.content["traceback"]
    return cell


@pytest.mark.parametrize("code, named", [
    (KILL, "SIGKILL"),
    ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    ("import os; os.abort()", "SIGABRT"),
    ("import os; os._exit(37)", "37"),
    ("import os; os._exit(0)", "exit"),
    ("import os; os.kill(os.getpid(), 15)", "SIGTERM"),
    ("import os, signal; os.kill(os.getpid(), signal.SIGBUS)", "SIGBUS"),
    ("import os; os.kill(os.getpid(), 8)", "SIGFPE"),
], ids=["kill", "segv", "abort", "exit37", "exit0", "term", "bus", "fpe"])
def test_crash(fresh, code, named):
    fresh.run("x = 41")
    cell = crash(fresh, code)
    assert named.lower() in plain(cell.error).lower()
    assert fresh.run("x").result == "41"
    assert fresh.run("x + 1").result == "42"


def test_a_checkpoint_outlives_a_worker_that_dies_at_once(fresh):
    """The worker goes while its newest checkpoint has hardly begun to run, on a machine
    that is busy with other things."""
    fresh.run("x = 41")
    rest()
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"])
            for _ in range(2 * os.cpu_count())]
    try:
        for n in range(60):
            fresh.run("pass")
            time.sleep(0.045 + n % 10 / 1000)  # about when an idle worker makes one
            assert fresh.run(KILL).status == "error"
            assert fresh.run("x").result == "41"
    finally:
        for each in busy:
            each.kill()
            each.wait()


def test_stack_overflow_in_c(fresh):
    fresh.run("x = 41")
    cell = crash(fresh, "import ctypes, sys; sys.setrecursionlimit(10**9)\n"
                        "callback = ctypes.CFUNCTYPE(None)(lambda: callback())\n"
                        "callback()", timeout=60)
    assert "SIGSEGV" in plain(cell.error)
    assert fresh.run("x").result == "41"


def test_traceback_names_the_line(fresh):
    """faulthandler's text is in the reply."""
    fresh.run("x = 41")
    cell = crash(fresh, "import ctypes\ndef guilty_function():\n    ctypes.string_at(0)\n"
                        "guilty_function()")
    assert "guilty_function" in plain(cell.error)


def test_crash_in_the_first_cell(fresh):
    cell = crash(fresh, KILL)
    assert "SIGKILL" in plain(cell.error)
    assert fresh.run("1+1").result == "2"


def test_what_a_crash_takes_is_bounded(kernel_name):
    """Cells without a pause between them are not covered one by one.  Those that a crash takes
    ran for less than twenty times what a checkpoint costs, copies included."""
    path, log_path = (os.path.join(new_folder(), name) for name in ("kernel.json", "log"))
    cell = ("began = time.perf_counter(); data[::4096] = bytes(len(data) // 4096); n += 1; "
            "print(time.perf_counter() - began)")
    taken = 0
    with open(log_path, "w", encoding="utf-8") as log:
        child = subprocess.Popen([*kernel_argv(kernel_name, path), "--log-level=debug"],
                                 env=kernel_environment(), cwd=new_folder(), stderr=log)
    try:
        wait_until(lambda: os.path.exists(path) or child.poll() is not None)
        client = client_of(path)
        client.run("import time; n = 0; data = bytearray(64 << 20)")
        for rounds in (3, 12, 40):
            before = int(client.run("n").result)
            cells = [client.execute(cell) for _ in range(rounds)]
            last = client.execute(KILL).wait()
            left = int(client.run("n").result) - before
            with open(log_path, encoding="utf-8") as log:
                risk, cost = map(int, re.findall(
                    r"at risk were cells of (\d+) us, a checkpoint costs (\d+) us", log.read())[-1])
            lost = [float(each.wait().stdout) * 1e6 for each in cells[left:]]
            assert plain(last.error).count("data[::4096]") == len(lost) == rounds - left
            assert sum(lost) <= risk < 20 * cost
            taken += len(lost)
        assert taken
        client.kc.shutdown()
        client.close()
        assert child.wait(20) == 0
    finally:
        child.kill()


def test_crash_right_after_a_cell(fresh):
    """No time for a checkpoint in between: what was lost is said."""
    first = fresh.execute("x = 41")
    crashed = fresh.execute(KILL)
    first.wait()
    crashed.wait()
    assert crashed.status == "error"
    cell = fresh.run("x")
    if cell.status == "error":
        assert cell.content["ename"] == "NameError"
        assert "x = 41" in plain(crashed.error)
    else:
        assert cell.result == "41"


def test_execution_count_never_goes_back(fresh):
    counts = [fresh.run("1").count]
    for _ in range(3):
        counts.append(crash(fresh, KILL).count)
        counts.append(fresh.run("1").count)
    assert counts == list(range(counts[0], counts[0] + len(counts)))


def test_chain_of_crashes(fresh):
    fresh.run("seen = []")
    for number in range(10):
        fresh.run(f"seen.append({number})")
        crash(fresh, "seen.append('lost'); " + KILL)
    assert fresh.run("seen").result == str(list(range(10)))


def test_crashes_without_a_cell_between(fresh):
    fresh.run("x = 41")
    for _ in range(5):
        crash(fresh, KILL)
    assert fresh.run("x").result == "41"


def test_state_goes_back_to_before_the_cell(fresh):
    fresh.run("data = {'a': [1, 2, 3]}; alias = data['a']")
    crash(fresh, "data['a'].append(4); data['b'] = 5; new = 1; " + KILL)
    assert fresh.run("data, alias is data['a'], 'new' in globals()").result == \
        "({'a': [1, 2, 3]}, True, False)"


def test_functions_modules_and_in_out_survive(fresh):
    fresh.run("import json, collections\ndef double(x): return 2 * x\n"
              "class Point: pass\np = Point()")
    fresh.run("'shown'")
    crash(fresh, KILL)
    assert fresh.run("double(21), json.dumps([1]), isinstance(p, Point), _, Out[2]").result == \
        "(42, '[1]', True, 'shown', 'shown')"


def test_output_before_the_crash_arrives(fresh):
    cell = crash(fresh, "import os, sys\nprint('printed', flush=True)\nos.write(1, b'written\\n')\n"
                        "print('to stderr', file=sys.stderr, flush=True)\n" + KILL)
    assert cell.stdout == "printed\nwritten\n" and "to stderr" in cell.stderr
    assert cell.types.index("error") > cell.types.index("stream")


def test_crash_aborts_the_queue(fresh):
    fresh.run("x = 41")
    rest()
    crashed = fresh.execute("import time; time.sleep(0.5); " + KILL)
    queued = [fresh.execute("x = 'wrong'") for _ in range(3)]
    assert crashed.wait().status == "error"
    assert [each.wait().status for each in queued] == ["aborted"] * 3
    for each in queued:
        assert each.types[0] == "busy" and each.types[-1] == "idle"
    assert fresh.run("x").result == "41"


def test_queue_goes_on_without_stop_on_error(fresh):
    fresh.run("x = 41")
    rest()
    crashed = fresh.execute("import time; time.sleep(0.3); " + KILL, stop_on_error=False)
    queued = [fresh.execute(f"x + {number}") for number in range(3)]
    assert crashed.wait().status == "error"
    assert [each.wait().result for each in queued] == ["41", "42", "43"]


def test_other_requests_in_the_queue_are_answered(fresh):
    fresh.run("a_long_name = 1")
    rest()
    crashed = fresh.execute("import time; time.sleep(0.3); " + KILL)
    content = fresh.client.request("shell", "is_complete_request", {"code": "1"})
    assert content["status"] in ("complete", "unknown")
    assert fresh.client.request("shell", "comm_info_request")["status"] == "ok"
    assert crashed.wait().status == "error"


def test_client_stays_connected(fresh):
    """Same process, same ports, same session, heartbeat all the time; no restart is seen."""
    pid, connection = fresh.pid, fresh.connection
    session = fresh.run("1").reply["header"]["session"]
    for _ in range(3):
        crash(fresh, KILL)
    assert fresh.km.is_alive() and fresh.pid == pid and fresh.connection == connection
    after = fresh.run("1")
    assert {each["header"]["session"] for each in [after.reply, *after.messages]} == {session}
    states = [each["content"]["execution_state"] for each in fresh.client.order
              if each["msg_type"] == "status"]
    assert set(states) <= {"busy", "idle", "starting"}


def test_two_clients_see_the_crash(fresh):
    other = fresh.new_client()
    fresh.run("x = 41")
    crashed = crash(fresh, KILL)
    other.pump_until(lambda: any(each["msg_type"] == "error"
                                 for each in other.iopub.get(crashed.msg_id, ())), 10)
    assert other.run("x").result == "41"


def test_killed_from_outside_while_idle(fresh):
    """The next cell runs on the checkpoint; nobody waits for a reply that does not come."""
    fresh.run("x = 41")
    rest()
    fresh.run("import os, subprocess, sys\nsubprocess.Popen(['sh', '-c', "
              "f'sleep 0.5; kill -9 {os.getpid()}'], start_new_session=True);")
    time.sleep(2)
    cell = fresh.run("x")
    assert cell.status == "ok" and cell.result == "41"


def test_crash_in_input(fresh):
    fresh.run("x = 41")
    rest()
    cell = fresh.execute("import threading, os\n"
                         "threading.Timer(0.5, lambda: os.kill(os.getpid(), 9)).start()\n"
                         "input('?')", allow_stdin=True)
    fresh.client.pump_until(lambda: fresh.client.inputs, 10)
    assert cell.wait().status == "error"
    fresh.client.inputs.clear()
    assert fresh.run("x").result == "41"
    cell = fresh.execute("input('again')", allow_stdin=True)
    fresh.client.answer("works")
    assert cell.wait().result == "'works'"


def test_interrupt_works_after_a_crash(fresh):
    fresh.run("x = 41")
    crash(fresh, KILL)
    cell = fresh.execute("print('on', flush=True)\nwhile True: pass")
    cell.wait_for(lambda cell: "on" in cell.stdout)
    fresh.km.interrupt_kernel()
    assert cell.wait().content["ename"] == "KeyboardInterrupt"
    assert fresh.run("x").result == "41"


def test_await_works_after_a_crash(fresh):
    fresh.run("import asyncio\nawait asyncio.sleep(0.01)\nx = 41")
    crash(fresh, "await asyncio.sleep(0.01)\n" + KILL)
    assert fresh.run("await asyncio.sleep(0.01, x)").result == "41"


def test_crash_in_a_silent_cell(fresh):
    fresh.run("x = 41")
    rest()
    cell = fresh.run(KILL, silent=True)
    assert cell.status == "error" and cell.types[-1] == "idle"
    assert fresh.run("x").result == "41"


def test_crash_while_completing(fresh):
    fresh.run("import os\nclass Trap:\n    def __dir__(self): os._exit(9)\n"
              "    def __getattr__(self, name): os._exit(9)\ntrap = Trap()\nx = 41")
    rest()
    fresh.client.request("shell", "complete_request", {"code": "trap.", "cursor_pos": 5})
    assert fresh.run("x").result == "41"


def test_restart_after_a_crash_is_empty(fresh):
    fresh.run("x = 41")
    crash(fresh, KILL)
    fresh.restart()
    assert fresh.run("x").content["ename"] == "NameError"


# Forks by user code

def test_forked_child_that_returns_never_answers(fresh):
    """It ends instead of reading the next cell; every cell is answered by the worker."""
    cell = fresh.run("import os\nworker = os.getpid()\nforked = os.fork()")
    assert cell.status == "ok"
    for _ in range(20):
        cell = fresh.run("os.getpid() == worker and forked != 0")
        assert cell.result == "True"
    fresh.client.quiet()
    assert fresh.run("os.waitpid(forked, 0)[0] == forked").result == "True"


def test_many_forked_children_that_return(fresh):
    fresh.run("import os\nworker = os.getpid()")
    for _ in range(10):
        assert fresh.run("pid = os.fork()").status == "ok"
        assert fresh.run("os.getpid() == worker").result == "True"


def test_forked_child_that_raises(fresh):
    cell = fresh.run("import os\npid = os.fork()\nif pid == 0: raise SystemExit\n"
                     "os.waitpid(pid, 0);")
    assert cell.status == "ok" and not cell.of("error")
    cell = fresh.run("pid = os.fork()\nif pid == 0: 1/0\nos.waitpid(pid, 0);")
    assert cell.status == "ok"
    assert fresh.run("1+1").result == "2"


def test_forked_child_that_crashes(fresh):
    fresh.run("x = 41")
    cell = fresh.run("import os\npid = os.fork()\nif pid == 0: os.abort()\n"
                     "os.WTERMSIG(os.waitpid(pid, 0)[1])")
    assert cell.result == str(int(signal.SIGABRT))
    assert fresh.run("x").result == "41"


def test_checkpoint_is_no_child_of_the_worker(fresh):
    fresh.run("import os")
    rest()
    assert fresh.run("os.wait()").content["ename"] == "ChildProcessError"


# What must differ after a fork

@pytest.mark.parametrize("expression", [
    "__import__('random').random()",
    "__import__('uuid').uuid4()",
    "__import__('uuid').uuid1()",
    "__import__('secrets').token_hex(8)",
    "__import__('os').urandom(8)",
    "__import__('tempfile').mktemp()",
    "__import__('ssl').RAND_bytes(8)",
    "__import__('numpy').random.random()",
], ids=["random", "uuid4", "uuid1", "secrets", "urandom", "tempfile", "ssl", "numpy"])
def test_two_resumes_draw_different_numbers(fresh, expression):
    """The same cell crashes twice, so both times the same checkpoint is resumed."""
    warm = fresh.run(expression)
    if warm.status == "error" and warm.content["ename"] == "ModuleNotFoundError":
        pytest.skip(f"absent layer: {warm.content['evalue']}")
    drawn = [crash(fresh, f"print({expression}, flush=True); {KILL}").stdout for _ in range(3)]
    assert all(drawn) and len(set(drawn)) == 3, drawn


def test_two_kernels_draw_different_numbers(start):
    """Nor do they share what wakes an event loop, which they have from the zygote."""
    code = ("import asyncio, os, random, uuid\nend = asyncio.get_running_loop()._csock.fileno()\n"
            "print(random.random(), uuid.uuid4(), os.fstat(end).st_ino)")
    drawn = [start().run(code).stdout.split() for _ in range(3)]
    assert all(len(set(column)) == 3 for column in zip(*drawn, strict=True)), drawn


def test_a_seed_that_the_user_set_goes_on(fresh):
    """A user's own generator is state like any other."""
    fresh.run("import random\nmine = random.Random(5)\nfirst = mine.random()")
    crash(fresh, KILL)
    assert fresh.run("mine.random() == (lambda r: (r.random(), r.random())[1])(random.Random(5))"
                     ).result == "True"
