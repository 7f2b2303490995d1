"""Checkpoints that the user commands: make, list, go back, undo, recover."""

import os
import re
import time

import pytest

from helpers import plain, wait_until

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


def test_names_numbers_and_limits(fresh):
    refused(fresh.run("%rollback"), "%checkpoint makes one")
    refused(fresh.run("%rollback nowhere"), "'nowhere'", "%checkpoints")
    for bad in ("1a", "a/b", "'a b'", "x" * 65, "é"):
        refused(fresh.run(f"%checkpoint {bad}"), "a letter or _")
    ok(fresh.run("x = 0"))
    ok(fresh.run("%checkpoint a"))
    ok(fresh.run("x = 1"))
    moved = ok(fresh.run("%checkpoint a"))
    assert [each["name"] for each in listed(fresh)].count("a") == 1
    ok(fresh.run("x = 2"))
    ok(fresh.run("%rollback a"))
    assert fresh.run("x").result == "1"
    number = re.search(r"\d+", moved.stdout)[0]
    ok(fresh.run(f"%rollback {number}"))
    for n in range(7):
        ok(fresh.run(f"%checkpoint n{n}"))
    refused(fresh.run("%checkpoint more"), "--drop")
    ok(fresh.run("%checkpoint n3"))  # a name that there is can move
    ok(fresh.run("%checkpoint --drop n4"))
    ok(fresh.run("%checkpoint"))
    refused(fresh.run("%rollback n4"), "'n4'")
    shown = ok(fresh.run("%checkpoints")).stdout
    assert "n3" in shown and "automatic" in shown and "n4" not in shown
    cell = fresh.run("%checkpoint n0\n%checkpoint n1")
    refused(cell, "next cell")
    assert "rollback" in ok(fresh.run("%rollback?")).reply["content"]["payload"][0]["data"]["text/plain"]


def test_undo_and_redo(fresh):
    refused(fresh.run("%undo"), "nothing to undo")
    for n in range(3):
        ok(fresh.run(f"x = {n}"))
        settled(fresh)
    ok(fresh.run("%checkpoints"))  # does not count
    back = ok(fresh.run("%undo"))
    assert "x = 2" in back.stdout and "x = 1" not in back.stdout
    assert fresh.value("x") == 1
    ok(fresh.run("y = 5"))
    settled(fresh)
    ok(fresh.run("%undo"))
    ok(fresh.run("%checkpoint between"))
    ok(fresh.run("%undo"))  # of the rollback
    assert ok(fresh.run("x, y")).result == "(1, 5)"
    ok(fresh.run("x = 7", silent=True))  # is the frontend's, and goes with the cell before
    settled(fresh)


def test_undo_of_a_cell_that_used_memory_for_a_while(fresh):
    """What it has given back costs no checkpoint memory."""
    ok(fresh.run("data = [[n] for n in range(1 << 21)]; x = 1"))
    settled(fresh)
    ok(fresh.run("x = 2\nfor _ in range(3):\n"
                 "    held = None\n    held = [bytes(100_000) + b'1' for _ in range(4000)]\ndel held"))
    settled(fresh)
    ok(fresh.run("%undo"))
    assert fresh.value("x") == 1


def test_no_undo_of_a_cell_that_changed_much(fresh):
    """It would hold all that twice."""
    ok(fresh.run("data = [[n] for n in range(1 << 21)]; x = 1"))
    settled(fresh)
    ok(fresh.run("x = 2\nfor each in data: each[0] += 1"))
    settled(fresh)
    refused(fresh.run("%undo"), "nothing to undo")


def test_recover(fresh):
    ok(fresh.run("x = 1"))
    settled(fresh)
    assert "No cell" in ok(fresh.run("%recover")).stdout
    waiting = [fresh.execute(code) for code in ("a = 'ä'", "%%time\nb = 2", KILL)]
    crashed = [each.wait() for each in waiting][-1]
    assert crashed.status == "error" and "%recover" in plain(crashed.error)
    cell = ok(fresh.run("%recover"))
    payload, = cell.content["payload"]
    assert payload["source"] == "set_next_input" and not payload["replace"]
    assert KILL in payload["text"] and cell.content["execution_count"] == cell.count
    if "a = 'ä'" in payload["text"]:  # unless a checkpoint was made in between
        assert payload["text"].index("a = 'ä'") < payload["text"].index("run_cell_magic('time'")
    ok(fresh.run("%checkpoint here"))
    ok(fresh.run("a = 'lost'"))
    ok(fresh.run("%rollback here"))
    assert ok(fresh.run("%recover")).content["payload"][0]["text"] == "a = 'lost'"


def settled(kernel):
    """The automatic checkpoint holds all cells."""
    count = kernel.run("%checkpoints").count

    def newest():
        return any(each["current"] and each["execution_count"] >= count - 1
                   for each in listed(kernel))

    wait_until(newest)


def test_in_out_and_counts(fresh):
    ok(fresh.run("'first'"))
    ok(fresh.run("'second'"))
    ok(fresh.run("%checkpoint here"))
    ok(fresh.run("'third'"))
    back = ok(fresh.run("%rollback here"))
    cell = ok(fresh.run("_, __, _i, _i2, len(In), 4 in Out, In[4]"))
    assert cell.result == "('second', 'first', '%checkpoint here', \"'second'\", 7, False, '')"
    assert cell.count == back.count + 1 == 6


def test_after_the_frontend(fresh):
    """The same as messages of a client; unknown ones get an error that says what to do."""
    assert order(fresh, "fly")["ename"] == "ValueError"
    assert "rollback" in order(fresh, "fly")["evalue"]
    assert order(fresh, "rollback", name=5)["status"] == "error"
    assert order(fresh, "rollback", name="x" * 300)["status"] == "error"
    ok(fresh.run("x = 1"))
    for channel in ("shell", "control"):
        made = order(fresh, "checkpoint", channel, name="here")
        assert made["status"] == "ok" and made["checkpoint"]["class"] == "full", made
        assert made["checkpoint"]["name"] == "here" and made["checkpoint"]["current"]
    ok(fresh.run("x = 2"))
    back = order(fresh, "rollback", "control", name="here")
    assert back["operation"] == "rollback" and "x = 2" in back["text"]
    assert fresh.run("x").result == "1"
    assert order(fresh, "recover")["cells"] == [{"execution_count": 2, "source": "x = 2"}]
    assert "here" in [each["name"] for each in order(fresh, "list")["checkpoints"]]
    assert order(fresh, "drop", name="here")["status"] == "ok"
    assert "here" not in [each["name"] for each in listed(fresh)]
    assert order(fresh, "drop", name="here")["status"] == "error"
    waits = fresh.execute("import time; time.sleep(1); x = 3")
    waits.wait_for(lambda cell: "execute_input" in cell.types)
    assert listed(fresh) is not None and not waits.done  # at once
    made = order(fresh, "checkpoint", name="after")
    assert made["status"] == "ok" and made["checkpoint"]["execution_count"] == waits.count, made


def test_a_crash_after_a_rollback_goes_on_from_there(fresh):
    ok(fresh.run("x = 1"))
    ok(fresh.run("%checkpoint here"))
    ok(fresh.run("x = 2"))
    settled(fresh)
    ok(fresh.run("%rollback here"))
    crashed = fresh.run(KILL)
    assert "x = 2" not in plain(crashed.error)
    assert fresh.run("x").result == "1"


def test_tasks_input_and_files(fresh, tmp_path_factory):
    """asyncio goes on in each copy; what was written stays; input() is no obstacle."""
    ok(fresh.run("import asyncio\nticks = []\nasync def tick():\n    while True:\n"
                 "        ticks.append(1); await asyncio.sleep(0.01)\n"
                 "task = asyncio.create_task(tick())\nfile = open('kept.txt', 'w')\n"
                 "file.write('early\\n');"))
    ok(fresh.run("%checkpoint here"))
    ok(fresh.run("file.write('late\\n'); file.close()"))
    ok(fresh.run("%rollback here"))
    assert ok(fresh.run("n = len(ticks); await asyncio.sleep(1); len(ticks) > n, task.done(), "
                        "file.closed, open('kept.txt').read()")).result == \
        "(True, False, False, 'early\\nlate\\n')"
    asks = fresh.execute("answer = input('?')", allow_stdin=True)
    fresh.client.pump_until(lambda: fresh.client.inputs, 10)
    fresh.client.kc.shell_channel.send(fresh.client.kc.session.msg(
        "ringfence_checkpoint_request", {"operation": "checkpoint", "name": "asked"}))
    fresh.client.answer("yes")
    assert asks.wait().status == "ok"
    settled(fresh)
    ok(fresh.run("answer = 'no'"))
    ok(fresh.run("%rollback asked"))
    assert fresh.run("answer").result == "'yes'"


def test_a_secret_of_a_later_cell_is_gone(fresh):
    """Row C4.  Its halves never stand together in what this test itself writes."""
    def times_found():
        return ok(fresh.run(
            "import os, re\nhalf, fd, found = 'Kh7wQz-Xp3', os.open('/proc/self/mem', 0), 0\n"
            "for line in open('/proc/self/maps'):\n"
            "    low, high = (int(n, 16) for n in line.split()[0].split('-'))\n"
            "    if 'r' not in line.split()[1] or high - low > 1 << 28: continue\n"
            "    try: chunk = os.pread(fd, high - low, low)\n"
            "    except (OSError, OverflowError): continue\n"
            "    found += sum(chunk[m.end():m.end() + 6][::-1] == b'terces'\n"
            "                 for m in re.finditer(half.encode(), chunk))\n"
            "os.close(fd)\ndel chunk\nfound")).result

    ok(fresh.run("%checkpoint before"))
    ok(fresh.run("key = 'Kh7wQz-Xp3' + 'terces'[::-1]"))
    assert int(times_found()) > 0
    ok(fresh.run("%rollback before"))
    assert times_found() == "0"


def test_what_a_copy_does_not_do_again(fresh):
    """Rows C7 and C8: no exit handler and no finaliser runs in what is dropped, and text in
    the buffers of C and Python comes once."""
    ok(fresh.run("import atexit, ctypes, os\natexit.register(open('exits', 'a').write, 'x')\n"
                 "class Noisy:\n    def __del__(self): open('deleted', 'a').write('x')\n"
                 "noisy = Noisy()\nfile = open('log', 'w'); file.write('in the buffer\\n')\n"
                 "libc = ctypes.CDLL(None)"))
    cell = ok(fresh.run("print('P', end=''); libc.printf(b'C')\n%checkpoint one"))
    assert cell.stdout.count("P") == cell.stdout.count("C") == 1, cell.stdout
    for command in ("%checkpoint one", "%checkpoint two", "%rollback one", "%checkpoint --drop two",
                    "%rollback one", "%undo"):
        cell = ok(fresh.run(command))
        assert "P" not in cell.stdout and "C" not in cell.stdout.replace("Cells", ""), cell.stdout
    assert ok(fresh.run("file.flush(); os.path.getsize('exits'), os.path.exists('deleted'), "
                        "open('log').read()")).result == "(0, False, 'in the buffer\\n')"


def test_only_a_cell_in_its_main_thread_can_order(fresh):
    cell = ok(fresh.run("import threading\nseen = []\ndef go():\n    try:\n"
                        "        get_ipython().run_line_magic('checkpoint', 'x')\n"
                        "    except Exception as e: seen.append(type(e).__name__)\n"
                        "t = threading.Thread(target=go); t.start(); t.join(); seen"))
    assert cell.result == "['UsageError']"
    cell = fresh.run("import os\npid = os.fork()\nif pid == 0:\n    go()\n    os._exit(len(seen))\n"
                     "os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])")
    assert ok(cell).result == "2"
    ok(fresh.run("import asyncio\nawait asyncio.sleep(0.01)\nx = 1\n%checkpoint here"))
    assert ok(fresh.run("import asyncio; await asyncio.sleep(0.01)\nx = 2\n"
                        "%rollback here")).stdout.count("Rolled back") == 1
    assert ok(fresh.run("await asyncio.sleep(0.01, x)")).result == "1"
    ok(fresh.run("%checkpoint quietly", silent=True))
    assert "quietly" in [each["name"] for each in listed(fresh)]


# When something fails: the old state or the new, never none

SIGNAL_CHECKPOINTS = """
import os, signal, time
def signal_checkpoints(name):
    for pid in map(int, filter(str.isdigit, os.listdir('/proc'))):
        try:
            if open(f'/proc/{pid}/comm').read() == 'ringfence-ckpt\\n':
                os.kill(pid, getattr(signal, name))
        except OSError: pass
"""


LOOK_AT = """
import ctypes, re

def look_at(held):
    for line in open("/proc/self/smaps"):
        if area := re.match("([0-9a-f]+)-([0-9a-f]+) ", line):
            within = int(area[1], 16) <= held < int(area[2], 16)
        elif within and line.startswith("AnonHugePages:"):
            pages = int(line.split()[1]) >> 10
        elif within and line.startswith("VmFlags:"):
            return " hg" in line, pages

def middle(buffer):
    return look_at(ctypes.addressof(ctypes.c_char.from_buffer(buffer, len(buffer) // 2)))
"""

IN_HUGE_PAGES = LOOK_AT + """
data = bytearray(64 << 20)
data.extend(bytes(64 << 20))
objects = [(n, str(n)) for n in range(1_000_000)]
grown, between = [], []
for n in range(12_000_000):
    grown.append(None)
    if n % 100_000 == 0:
        between.append(bytearray(4 << 20)) # so that it has to move
fresh = bytearray(b"1") * (64 << 20)

items = ctypes.c_void_p.from_address(id(grown) + tuple.__basicsize__).value
there_are_some = middle(fresh)[1] >= 60
(middle(data)[0], look_at(id(objects[-1]))[0],
 not there_are_some or look_at(items + 8 * len(grown) // 2)[1] >= 60)
"""


@pytest.mark.skipif(not os.path.exists("/sys/kernel/mm/transparent_hugepage"),
                    reason="absent layer: huge pages")
def test_what_is_large_lies_in_huge_pages(fresh):
    """A fork of small pages takes 17 ms per gigabyte, and their end as much."""
    assert ok(fresh.run(IN_HUGE_PAGES)).result == "(True, True, True)"


REWRITE = LOOK_AT + """
import os, time

def rewrite():
    pid = os.fork()
    if not pid: # while it shares them, no checkpoint copies them ahead
        time.sleep(60)
        os._exit(0)
    data[:] = bytes(len(data))
    os.kill(pid, 9)
    os.waitpid(pid, 0)

data = bytearray(b"1") * (128 << 20)
middle(data)[1]
"""


@pytest.mark.skipif(tuple(map(int, os.uname().release.split(".")[:2])) < (6, 1),
                    reason="absent layer: MADV_COLLAPSE")
def test_what_was_rewritten_is_huge_pages_again(fresh):
    """In the worker's next rest: else each checkpoint and each resume copies small pages."""
    if int(ok(fresh.run(REWRITE)).result) < 100:
        pytest.skip("absent layer: free huge pages")
    settled(fresh)
    assert fresh.run("os.kill(os.getpid(), 11)").status == "error"
    assert int(ok(fresh.run("rewrite(); middle(data)[1]")).result) < 64
    settled(fresh)
    assert int(ok(fresh.run("middle(data)[1]")).result) > 64
    # Not while a task of the user's is to go on.
    ok(fresh.run("import asyncio; task = asyncio.create_task(asyncio.sleep(3600))"))
    settled(fresh)
    ok(fresh.run("rewrite()"))
    settled(fresh)
    assert int(ok(fresh.run("middle(data)[1]")).result) < 64


def test_faults(fresh):
    ok(fresh.run("x = 'old'" + SIGNAL_CHECKPOINTS))
    ok(fresh.run("%checkpoint here"))
    ok(fresh.run("x = 'new'"))
    # The worker ends before the checkpoint that it ordered is made.
    assert fresh.run("x = 'lost'\n%checkpoint never\nimport os; os._exit(3)").status == "error"
    assert fresh.run("x").result in ("'new'", "'old'")
    refused(fresh.run("%rollback never"), "'never'")
    # A checkpoint that does not wake up, and then does: too late.
    ok(fresh.run("x = 'newer'"))
    ok(fresh.run("signal_checkpoints('SIGSTOP')"))
    refused(fresh.run("%rollback here"), "nothing has changed")
    assert fresh.run("x").result == "'newer'"
    ok(fresh.run("signal_checkpoints('SIGCONT')"))
    ok(fresh.run("%rollback here"))
    assert fresh.run("x").result == "'old'"
    # The old worker dies while the new one is on its way.
    ok(fresh.run("x = 'newest'"))
    settled(fresh)
    cell = fresh.run("signal_checkpoints('SIGSTOP')\npid = os.getpid()\n"
                     "if not os.fork():\n    os.setsid(); time.sleep(0.5); os.kill(pid, 9)\n"
                     "    time.sleep(0.5); signal_checkpoints('SIGCONT'); os._exit(0)\n"
                     "%rollback here", timeout=30)
    assert cell.status == "error" and cell.content["ename"] == "WorkerDied", cell.describe()
    assert fresh.run("x").result == "'old'"
    # All checkpoints are gone.
    ok(fresh.run("x = 'last'"))
    ok(fresh.run("signal_checkpoints('SIGKILL')"))
    wait_until(lambda: not any(each["name"] for each in listed(fresh)))
    refused(fresh.run("%rollback here"), "'here'")
    assert fresh.run("x").result == "'last'"
    assert fresh.run("1").status == "ok"


ODD = r"""
import fcntl, io, os, threading, time
from concurrent.futures import ThreadPoolExecutor
class Proxy:
    @property
    def __class__(self): raise RuntimeError('no request')
class Stream:
    readable = writable = lambda self: True
    seekable = lambda self: False
    closed = False
    flush = lambda self: None
odd = Proxy(), io.TextIOWrapper(Stream())
pool = ThreadPoolExecutor(2); pool.submit(int).result()
half = ThreadPoolExecutor.__new__(ThreadPoolExecutor)
file = open(b'/tmp/\xff', 'w'); fcntl.flock(file, fcntl.LOCK_EX)
x = 'kept'
"""


def test_what_cannot_be_looked_at(fresh):
    """Proxies, half made pools, names of bytes: they cost no worker, before and after a fork."""
    ok(fresh.run(ODD))
    settled(fresh)
    assert "crash-only" in ok(fresh.run("%checkpoint --why")).stdout
    assert fresh.run("x").result == "'kept'"
    settled(fresh)
    assert fresh.run(KILL).content["ename"] == "WorkerDied"
    assert fresh.run("x").result == "'kept'"
    ok(fresh.run("del half; file.close()"))
    assert "full" in ok(fresh.run("%checkpoint here")).stdout


def test_threads_and_tasks_of_other_cells(fresh):
    """A thread that waits for input() reads no answer to an order; a task of an earlier cell
    may not order in the name of the one that runs."""
    cell = fresh.run("import threading, time\n"
                     "threading.Thread(target=input).start(); time.sleep(0.2)\n"
                     "for n in range(50): get_ipython().run_line_magic('checkpoints', '')",
                     allow_stdin=True)
    assert ok(cell).stdout
    ok(fresh.run("import asyncio\nasync def order():\n    await asyncio.sleep(0.2)\n"
                 "    get_ipython().run_line_magic('checkpoint', 'task')\n"
                 "task = asyncio.ensure_future(order())"))
    ok(fresh.run("await asyncio.wait([task])"))
    assert "UsageError" in fresh.run("task.exception()").result
    assert "task" not in [each["name"] for each in listed(fresh)]


def test_shutdown_during_a_rollback(fresh):
    """The new worker comes while the old one runs its exit handlers: it ends like that."""
    ok(fresh.run("x = 'old'" + SIGNAL_CHECKPOINTS))
    ok(fresh.run("%checkpoint here"))
    cell = fresh.execute("import atexit; atexit.register(time.sleep, 2)\n"
                         "signal_checkpoints('SIGSTOP')\n"
                         "if not os.fork():\n    os.setsid(); time.sleep(2)\n"
                         "    signal_checkpoints('SIGCONT'); os._exit(0)\n"
                         "print('on', flush=True)\n%rollback here")
    cell.wait_for(lambda cell: "on" in cell.stdout)
    fresh.client.request("control", "shutdown_request", {"restart": False})
    assert cell.wait().content["ename"] == "KernelShutdown"
    wait_until(lambda: not fresh.km.is_alive(), 20)


def test_interrupts_at_any_point(fresh):
    """An interrupt ends the cell or comes too late; it leaves no half state."""
    ok(fresh.run("x = 'old'; y = 0"))
    ok(fresh.run("%checkpoint here"))
    for n in range(24):
        ok(fresh.run("x = 'new'; y = 1"))
        cell = fresh.execute("%rollback here" if n % 2 else "%checkpoint again")
        cell.wait_for(lambda cell: "execute_input" in cell.types or cell.done)
        time.sleep(n / 1000)
        fresh.client.request("control", "interrupt_request")
        cell.wait()
        after = fresh.run("x, y")
        if after.status == "error":  # the interrupt came that late
            assert after.content["ename"] == "KeyboardInterrupt", after.describe()
            after = fresh.run("x, y")
        assert after.result in ("('old', 0)", "('new', 1)")
    ok(fresh.run("%rollback here"))
    assert fresh.run("x, y").result == "('old', 0)"


def test_a_thousand(fresh):
    """No zombie, no descriptor and no memory stays."""
    def footprint():
        cell = ok(fresh.run(
            "import os\nstates = []\nfor pid in filter(str.isdigit, os.listdir('/proc')):\n"
            "    try: states.append(open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[0])\n"
            "    except OSError: pass\n"
            "states.count('Z'), len(states), len(os.listdir('/proc/self/fd'))"))
        return (*eval(cell.result), len(os.listdir(f"/proc/{fresh.pid}/fd")))

    ok(fresh.run("data = bytearray(50 << 20); data[::4096] = b'x' * len(data[::4096])"))
    for n in range(20):
        assert order(fresh, "checkpoint", name=f"n{n % 8}")["status"] == "ok"
    wait_until(lambda: footprint()[0] == 0)  # what is being reaped
    before = footprint()
    for n in range(1000):
        assert order(fresh, "checkpoint", name=f"n{n % 8}")["status"] == "ok"
        if n % 100 == 0:
            assert order(fresh, "rollback", name=f"n{n % 8}")["status"] == "ok"
    wait_until(lambda: footprint()[0] == 0)
    after = footprint()
    assert after[1] <= before[1] + 2 and after[2] <= before[2] and after[3] <= before[3] + 2, \
        (before, after)
    assert ok(fresh.run("len(data), data[4096]")).result == "(52428800, 120)"
    worker = ok(fresh.run("import os\ndef read(pid, name):\n"
                          "    try: return open(f'/proc/{pid}/{name}').read()\n"
                          "    except OSError: return ''  # it has just ended\n"
                          "def memory(pid, what):\n"
                          "    for line in read(pid, 'smaps_rollup').splitlines():\n"
                          "        if line.startswith(what): return int(line.split()[1])\n"
                          "    return 0\n"
                          "pids = [p for p in filter(str.isdigit, os.listdir('/proc'))\n"
                          "        if read(p, 'comm').startswith('ringfence-') and p != '1']\n"
                          "memory('self', 'Rss:'), sum(memory(p, 'Pss:') for p in pids), len(pids)"))
    rss, pss, n = eval(worker.result)
    assert n > 8 and pss <= 2 * rss, worker.result
