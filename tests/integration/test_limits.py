"""Limits: hitting one ends the cell and not the kernel, and the message names it."""

import errno
import glob
import os
import pwd
import re
import signal
import subprocess
import sys
import time

import pytest

import processes
from helpers import (cgroups_of, configuration, kernel_argv, new_folder, own_cgroup, plain, run_with,
                     wait_until, zygote)

pytestmark = pytest.mark.ringfence_only("limits of Ringfence's profiles")

NO_WANT = "absent layer: want of cgroups (the suite of an ordinary user has none)"
REST = 0.5  # seconds of idleness, so that a checkpoint is there


@pytest.fixture
def limited(start, kernel_name):
    """A function that starts a kernel of a profile with these limits."""
    used = []

    def starter(base="workspace", **limits):
        used.append(configuration(tight={"base": base, **limits}))
        return start(env=used[-1], arguments=["--profile", "tight"])

    yield starter
    for env in used:  # zygotes whose key has that configuration's folder
        zygote("stop", env=env)


@pytest.fixture
def cgroups():
    if not own_cgroup("memory") or not own_cgroup("pids"):
        pytest.skip("absent layer: no cgroup v1 that this user may divide")


# Memory and processes

def test_memory_kills_the_cell_and_the_state_comes_back(limited, cgroups):
    kernel = limited(memory="300M")
    kernel.run("x = 41")
    for grow in ("held = []\nwhile True: held.append(bytearray(b'x') * (1 << 20))",
                 # shared with nobody: it goes with the worker
                 "import mmap; held = mmap.mmap(-1, 1 << 30)\nwhile True: held.write(bytes(1 << 20))"):
        time.sleep(REST)
        cell = kernel.run(grow)
        assert cell.status == "error", cell.describe()
        text = plain(cell.error)
        if "MemoryError" not in text:  # a limit of address space came first
            assert "out of memory" in text and "the limit memory (300 MB)" in text
            assert "profile tight" in text and "config.json" in text
        assert kernel.run("x + 1").result == "42"


REWRITE = "data[::4096] = bytes([{0}]) * len(data[::4096])"


def test_checkpoints_go_before_the_worker(limited):
    """Each holds the pages that a later cell rewrote; with or without cgroups the kernel goes
    on where it would be killed otherwise, and says which went."""
    kernel = limited(memory="600M")
    kernel.run("data = bytearray(200 << 20)\n" + REWRITE.format(1))
    cell = kernel.run("%checkpoint first")
    assert cell.status == "ok", cell.describe()
    told = ""
    for n in range(2, 6):
        cell = kernel.run(REWRITE.format(n) + "\nimport time; time.sleep(2)")
        assert cell.status == "ok", cell.describe()
        told += cell.stderr
        assert kernel.run(f"%checkpoint n{n}").status == "ok"
        assert kernel.run("data[0], data[-4096], len(data)").result == f"({n}, {n}, {200 << 20})"
    assert re.search(r"dropped checkpoint \d+ first\b.* to stay within the limit memory \(600 MB\)", told), told
    names = kernel.run("%checkpoints").stdout
    assert "first" not in names and "n5" in names
    assert kernel.run("%rollback first").status == "error"
    assert kernel.run("import os; os.kill(os.getpid(), 9)").status == "error"
    assert kernel.run("data[0]").result == "5"


KEPT = """
import glob, time
def kept():
    found = 0
    for path in glob.glob("/proc/[0-9]*/comm"):
        try:
            with open(path) as file:
                found += file.read() == "ringfence-ckpt\\n"
        except OSError:
            pass
    return found
"""


def test_the_last_checkpoint_goes_too(limited):
    """Where the cell could not go on beside it; the next one is made after the cell."""
    kernel = limited(memory="500M")
    kernel.run("data = bytearray(300 << 20)\n" + REWRITE.format(1))
    kernel.run("%checkpoint only" + KEPT)
    cell = kernel.run("waited = 0\nfor at in range(0, len(data), 10 << 20):\n"
                      "    data[at:at + (10 << 20):4096] = bytes([2]) * (10 << 8)\n    time.sleep(0.1)\n"
                      "while kept() and waited < 200:\n    time.sleep(0.1)\n    waited += 1")
    assert cell.status == "ok", cell.describe()
    assert "dropped checkpoint" in cell.stderr and "the limit memory (500 MB)" in cell.stderr
    assert kernel.run("data[0], data[-4096]").result == "(2, 2)"
    wait_until(lambda: any(each["current"] for each in kernel.client.request(
        "control", "ringfence_checkpoints_request")["checkpoints"]))
    assert "dropped" not in kernel.run("%checkpoints").stderr
    assert kernel.run("import os; os.kill(os.getpid(), 9)").status == "error"
    assert kernel.run("data[0], data[-4096]").result == "(2, 2)"


def test_memory_of_a_child_process_is_told(limited, cgroups):
    kernel = limited(memory="200M")
    kernel.run("x = 41")
    cell = kernel.run("import subprocess, sys\n"
                      "p = subprocess.run([sys.executable, '-c', 'x = bytearray(b\"x\") * (1 << 30)'],"
                      " capture_output=True)\np.returncode")
    assert cell.status == "ok", cell.describe()
    if cell.result == "-9":
        assert "the limit memory (200 MB)" in cell.stderr
    assert kernel.run("x + 1").result == "42"


def test_a_fork_bomb_stays_at_the_limit(limited, cgroups):
    kernel = limited(processes=40)
    cell = kernel.run("import os, time\nchildren = []\ntry:\n    while True:\n"
                      "        pid = os.fork()\n        if not pid:\n            time.sleep(60)\n"
                      "            os._exit(0)\n        children.append(pid)\n"
                      "except OSError as exc:\n    print(type(exc).__name__)\n"
                      "for pid in children: os.kill(pid, 9)\nlen(children)")
    assert "BlockingIOError" in cell.stdout
    assert 20 < int(cell.result) < 40
    assert "the limit processes (40" in cell.stderr
    folder = [each for each in cgroups_of(kernel.pid) if "/pids" in each][0]
    with open(os.path.join(folder, "pids.max"), encoding="ascii") as file:
        assert file.read() == "40\n"
    assert kernel.run("1 + 1").result == "2"


def test_cpu_and_every_process_are_in_the_cgroups(limited, cgroups):
    kernel = limited(cpu=0.5, memory="300M")
    kernel.run("import subprocess; p = subprocess.Popen(['sleep', '60'])")
    folders = cgroups_of(kernel.pid)
    assert len(folders) == 3
    for folder in folders:
        with open(os.path.join(folder, "cgroup.procs"), encoding="ascii") as file:
            inside = set(map(int, file))
        names = {processes.Process(pid).name for pid in inside}
        assert {"ringfence-keepr", "ringfence-worke", "sleep"} <= names, names
        assert kernel.pid not in inside
    with open(os.path.join(folders[2], "cpu.cfs_quota_us"), encoding="ascii") as file:
        assert file.read() == "50000\n"
    kernel.run("p.kill()")


def test_the_watchdog_where_no_cgroup_is_ours(limited):
    if own_cgroup("memory"):
        pytest.skip(NO_WANT)
    kernel = limited(memory="300M")
    banner = kernel.client.request("shell", "kernel_info_request")["banner"]
    assert "cgroup memory" in banner and "cgroup pids" in banner
    kernel.run("x = 41")
    time.sleep(REST)
    cell = kernel.run("import time\nheld = []\nwhile True:\n"
                      "    held.append(bytearray(b'x') * (1 << 20))\n    time.sleep(0.002)")
    assert cell.status == "error"
    text = plain(cell.error)
    if "MemoryError" not in text:  # the rlimit came first
        assert "out of memory: the limit memory (300 MB)" in text
    assert kernel.run("x + 1").result == "42"


def test_processes_where_no_cgroup_is_ours(limited):
    if own_cgroup("pids"):
        pytest.skip(NO_WANT)
    kernel = limited(processes=60)
    other = limited(processes=60)  # of the same user: each kernel has the limit for itself
    cell = kernel.run("import os, time\nchildren = []\ntry:\n    while len(children) < 100:\n"
                      "        pid = os.fork()\n        if not pid:\n            time.sleep(60)\n"
                      "            os._exit(0)\n        children.append(pid)\n"
                      "except OSError as exc:\n    print(type(exc).__name__)\nlen(children)")
    assert cell.stdout == "BlockingIOError\n" and 20 < int(cell.result) < 60, cell.describe()
    assert other.value("__import__('os').system('true')") == 0
    kernel.run("for pid in children: os.kill(pid, 9)")
    assert kernel.run("1 + 1").result == "2"


def test_an_ordinary_user_with_delegated_cgroups(kernel_name):
    """The tests above that need cgroups, for a user to whom root gave some."""
    if os.getuid() or not own_cgroup("memory") or not own_cgroup("pids"):
        pytest.skip("absent layer: root with cgroup v1, who could delegate")
    user = next((each.pw_name for each in pwd.getpwall() if 1000 <= each.pw_uid < 60000), "nobody")
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "as_user.sh")
    if subprocess.run(["runuser", "-u", user, "--", sys.executable, "-c", "import pytest"], cwd="/",
                      capture_output=True, check=False).returncode:
        pytest.skip(f"absent layer: an interpreter with pytest that {user} can run")
    got = subprocess.run([script, user, "-q", "-p", "no:cacheprovider", "tests/integration/test_limits.py", "-k", "test_memory or fork_bomb or "
                          "cpu_and_every or test_cgroups or next_start"],
                         env={**os.environ, "DELEGATE": "1", "PYTHON": sys.executable,
                              "XDG_RUNTIME_DIR": ""}, cwd="/", text=True, capture_output=True, timeout=200,
                         check=False)
    assert got.returncode == 0 and re.search(r"\b[6-9] passed, \d+ deselected", got.stdout), got
    assert not glob.glob(f"{own_cgroup('memory')}/rf-delegated-*")


def test_require_refuses_where_no_cgroup_is_ours(own_runtime, kernel_name):
    if own_cgroup("memory"):
        pytest.skip(NO_WANT)
    path = os.path.join(new_folder(), "kernel.json")
    got = subprocess.run([*kernel_argv("ringfence", path), "--sandbox", "require"], env=own_runtime,
                         capture_output=True, text=True, timeout=60, check=False)
    assert got.returncode == 1
    assert "--sandbox=require" in got.stderr and "cgroup memory" in got.stderr


# The end of a kernel, and of its gateway

def test_cgroups_go_with_the_kernel(limited, cgroups):
    kernel = limited()
    kernel.run("1 + 1")
    pid = kernel.pid
    assert cgroups_of(pid)
    kernel.stop()
    wait_until(lambda: not cgroups_of(pid), 20)


def raw_gateway(env, *arguments):
    """A gateway that nobody restarts, and a client that is connected to it."""
    from jupyter_client import BlockingKernelClient
    path = os.path.join(new_folder(), "kernel.json")
    child = subprocess.Popen([*kernel_argv("ringfence", path), *arguments], env=env)
    wait_until(lambda: os.path.exists(path) and os.path.getsize(path))
    client = BlockingKernelClient(connection_file=path)
    client.load_connection_file()
    client.start_channels()
    client.wait_for_ready(timeout=30)
    return child, client


def test_cgroups_and_processes_go_when_the_gateway_is_killed(own_runtime, cgroups):
    child, client = raw_gateway(own_runtime)
    reply = client.execute_interactive("import subprocess\np = subprocess.Popen(['sleep', '4242'],"
                                       " start_new_session=True)", timeout=30)
    assert reply["content"]["status"] == "ok"
    folders = cgroups_of(child.pid)
    assert folders
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    client.stop_channels()
    wait_until(lambda: not cgroups_of(child.pid), 20)
    wait_until(lambda: not processes.with_argument("sleep 4242"), 20)


def put_into_new(folder, pid):
    """Again while the sweeper of some kernel that ends finds it still empty."""
    while True:
        os.mkdir(folder)
        try:
            with open(os.path.join(folder, "cgroup.procs"), "w", encoding="ascii") as file:
                file.write(str(pid))
            return
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ENODEV):
                raise


def test_the_next_start_sweeps_what_was_left(start, own_runtime, cgroups):
    """Gateway and sweeper were both killed; one of a gateway that lives stays."""
    space = os.stat("/proc/self/ns/pid").st_ino
    with open("/proc/self/stat", encoding="utf-8") as file:
        own_start = file.read().rsplit(")", 1)[1].split()[19]
    dead = os.path.join(own_cgroup("memory"), f"ringfence-{space:x}.{os.getpid()}.1.1")
    alive = os.path.join(own_cgroup("memory"), f"ringfence-{space:x}.{os.getpid()}.{own_start}.1")
    elsewhere = os.path.join(own_cgroup("memory"), "ringfence-1.1.1.1")
    child = subprocess.Popen(["sleep", "600"])
    for folder in (alive, elsewhere):
        os.mkdir(folder)
    try:
        put_into_new(dead, child.pid)
        start(env=own_runtime).run("1 + 1")
        wait_until(lambda: not os.path.exists(dead), 10)
        assert child.wait(10) == -signal.SIGKILL
        assert os.path.exists(alive) and os.path.exists(elsewhere)
    finally:
        child.kill()
        for folder in (alive, elsewhere):
            os.rmdir(folder)


# Time

def test_a_cell_is_interrupted_when_its_time_is_over(limited):
    kernel = limited(cell_time=1)
    cell = kernel.run("import time\nx = 41\ntime.sleep(60)")
    assert cell.content["ename"] == "KeyboardInterrupt"
    assert "the limit cell_time (1 s) of the profile tight" in cell.stderr
    assert kernel.run("x + 1").result == "42"


def test_a_cell_that_does_not_heed_it_is_killed(limited):
    kernel = limited(cell_time=1)
    kernel.run("x = 41")
    time.sleep(REST)
    cell = kernel.run("import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
                      "while True:\n    try:\n        time.sleep(60)\n    except BaseException:\n        pass")
    assert cell.content["ename"] == "WorkerDied"
    assert "the limit cell_time (1 s)" in plain(cell.error)
    assert kernel.run("x + 1").result == "42"


def test_a_kernel_without_work_ends(own_runtime, kernel_name):
    env = {**own_runtime, **configuration(idle={"idle_time": 4}), "XDG_RUNTIME_DIR": own_runtime["XDG_RUNTIME_DIR"]}
    child, client = raw_gateway(env, "--profile", "idle")
    client.execute_interactive("import time; time.sleep(5)", timeout=30)
    text = ""
    while "idle_time" not in text:
        message = client.get_iopub_msg(timeout=20)
        text += message["content"].get("text", "")
    assert "the limit idle_time (4 s)" in text
    wait_until(lambda: client.get_iopub_msg(timeout=20)["msg_type"] == "shutdown_reply")
    client.stop_channels()
    assert child.wait(20) == 0


def test_a_kernel_ends_after_its_lifetime(own_runtime, kernel_name):
    env = {**own_runtime, **configuration(mayfly={"lifetime": 15}), "XDG_RUNTIME_DIR": own_runtime["XDG_RUNTIME_DIR"]}
    child, client = raw_gateway(env, "--profile", "mayfly")
    told = []
    client.execute_interactive("%branch", timeout=30, output_hook=told.append)
    (branch,) = re.findall(r"--existing (\S+)", "".join(
        each["content"].get("text", "") for each in told))
    reply = client.execute_interactive("import time; time.sleep(60)", timeout=30)
    assert reply["content"]["ename"] == "KernelShutdown"
    assert "the limit lifetime (15 s)" in reply["content"]["evalue"]
    client.stop_channels()
    assert child.wait(20) == 0
    wait_until(lambda: not os.path.exists(branch))


# Output

def test_output_is_cut_once_and_the_cell_goes_on(limited):
    kernel = limited(output_bytes="1M")
    cell = kernel.run("for i in range(200_000): print('0123456789')\n"
                      "import os; os.write(1, b'more')\nx = 41\nx")
    assert cell.status == "ok"
    assert len(cell.stdout) == 1 << 20
    assert cell.stderr.count("output is cut here by the limit output_bytes (1 MB)") == 1
    assert cell.result is None
    assert kernel.run("print('again'); x").stdout == "again\n"


def test_displays_count_to_the_output(limited):
    kernel = limited(output_bytes="100K")
    cell = kernel.run("from IPython.display import display\n"
                      "for i in range(20): display({'text/plain': 'x' * 20_000}, raw=True)\n")
    assert cell.status == "ok"
    assert 1 <= len(cell.of("display_data")) <= 5
    assert "output_bytes (100 KB)" in cell.stderr


def test_a_flood_can_be_interrupted(limited):
    kernel = limited(output_bytes="1M")
    cell = kernel.execute("import sys\nwhile True: sys.stdout.write('x' * 65536)")
    cell.wait_for(lambda each: "output is cut" in each.stderr)
    kernel.km.interrupt_kernel()
    cell.wait()
    assert cell.content["ename"] == "KeyboardInterrupt"
    assert len(cell.stdout) == 1 << 20


# What a request says of itself

def test_a_request_may_have_a_time_of_its_own(kernel):
    cell = run_with(kernel, "import time; time.sleep(60)", timeout_s=0.5)
    assert cell.content["ename"] == "KeyboardInterrupt"
    assert "timeout_s (0.5 s)" in cell.stderr
    assert kernel.run("1 + 1").result == "2"


def test_a_request_may_have_variables_of_its_own(kernel):
    kernel.run("import os; os.environ['RF_OLD'] = 'before'")
    code = ("import subprocess\n"
            "(os.environ['RF_NEW'], os.environ['RF_OLD'],"
            " subprocess.check_output('echo $RF_NEW', shell=True))")
    cell = run_with(kernel, code, env={"RF_NEW": "é", "RF_OLD": "during"})
    assert cell.result == "('é', 'during', b'\\xc3\\xa9\\n')", cell.describe()
    assert kernel.run("os.environ.get('RF_NEW'), os.environ['RF_OLD']").result == "(None, 'before')"
    assert run_with(kernel, "1 / 0", env={"RF_NEW": "x"}).content["ename"] == "ZeroDivisionError"
    assert kernel.value("'RF_NEW' not in os.environ")


@pytest.mark.parametrize("options, says", [
    ({"timeout_s": "soon"}, "timeout_s must be a number"),
    ({"timeout_s": 0}, "timeout_s must be a number"),
    ({"timeout_s": -1}, "timeout_s must be a number"),
    ({"env": ["A"]}, "env must be an object"),
    ({"env": {"A": 1}}, "env must be an object"),
    ({"env": {"A=B": "x"}}, 'holds "="'),
    ({"env": {"": "x"}}, "name is empty"),
    ({"env": {"A": "x\0y"}}, "NUL"),
])
def test_mistakes_in_it_are_errors(kernel, options, says):
    cell = run_with(kernel, "ran = True", **options)
    assert cell.content["ename"] == "ValueError" and says in cell.content["evalue"]
    assert kernel.run("1 + 1").result == "2"
