"""%branch: a second live kernel with the same variables, in the same sandbox."""

import json
import os
import re
import signal
import stat
import time

import pytest
from jupyter_client import BlockingKernelClient

import processes
from helpers import client_of, plain, wait_until

pytestmark = pytest.mark.ringfence_only("ipykernel has no branches")

KILL = "import os; os.kill(os.getpid(), 9)"


def branch(kernel_or_client, code="%branch"):
    """Runs %branch; the path of the connection file that it names."""
    cell = kernel_or_client.run(code)
    assert cell.status == "ok", cell.error
    found = re.search(r"branch \d+: jupyter console --existing (\S+)", cell.stdout)
    assert found, cell.describe()
    return found.group(1)


class Branch:
    """A client of a branch; shut down at the end of the test."""

    def __init__(self, path):
        self.path = path
        self.client = client_of(path)

    def run(self, code, **options):
        return self.client.run(code, **options)

    def value(self, expression):
        cell = self.run(expression)
        assert cell.status == "ok", cell.error
        return cell.result

    def shut_down(self):
        if os.path.exists(self.path):
            self.client.request("control", "shutdown_request", {"restart": False})
        wait_until(lambda: not os.path.exists(self.path), 20)
        self.client.close()


@pytest.fixture
def open_branch():
    made = []

    def opener(path):
        made.append(Branch(path))
        return made[-1]

    yield opener
    for each in reversed(made):
        each.shut_down()


def order(client, operation, **more):
    return client.request("shell", "ringfence_checkpoint_request", {"operation": operation, **more})


def test_same_variables_then_its_own(kernel, open_branch):
    kernel.run("x = [1, 2]; import random")
    path = branch(kernel, "x.append(3)\n%branch")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert os.path.dirname(path) == os.environ["JUPYTER_RUNTIME_DIR"]
    with open(path, encoding="utf-8") as file:
        info = json.load(file)
    assert info["key"] and info["key"] != kernel.connection["key"]
    one = open_branch(path)
    assert one.value("x") == "[1, 2, 3]"  # of the end of the cell
    one.run("x = 'branch'")
    kernel.run("x.append(4)")
    assert (one.value("x"), kernel.run("x").result) == ("'branch'", "[1, 2, 3, 4]")
    assert one.value("random.random()") != kernel.run("random.random()").result
    assert one.run("1").count > 2  # it goes on counting


def test_of_a_checkpoint_and_by_message(kernel, open_branch):
    kernel.run("y = 1")
    kernel.run("%checkpoint here")
    kernel.run("y = 2")
    assert open_branch(branch(kernel, "%branch here")).value("y") == "1"
    answer = order(kernel.client, "branch")["checkpoint"]
    assert answer["class"] == "full" and answer["branch"]["number"] >= 1
    assert open_branch(answer["branch"]["connection_file"]).value("y") == "2"
    refused = order(kernel.client, "branch", name="nowhere")
    assert refused["status"] == "error" and "no checkpoint 'nowhere'" in refused["evalue"]
    cell = kernel.run("%branch nowhere")
    assert "no checkpoint 'nowhere'" in plain(cell.stderr + cell.stdout)


def test_each_survives_the_others_crash(kernel, open_branch):
    kernel.run("z = 1")
    one = open_branch(branch(kernel))
    one.run("z = 2")
    time.sleep(0.5)
    assert "SIGKILL" in plain(one.run(KILL).error)
    assert one.value("z") == "2"
    time.sleep(0.5)
    assert kernel.run(KILL).status == "error"
    assert (one.value("z"), kernel.run("z").result) == ("2", "1")
    cell = one.client.execute("import time; print('on', flush=True); time.sleep(60)")
    cell.wait_for(lambda cell: "on" in cell.stdout)
    one.client.request("control", "interrupt_request", {})  # of this one alone
    assert cell.wait().content["ename"] == "KeyboardInterrupt"
    assert one.value("z") == "2"
    cell = one.run("exit()")  # ends itself alone
    assert cell.status == "ok"
    wait_until(lambda: not os.path.exists(one.path), 20)
    assert kernel.run("z").result == "1"


def test_chain(kernel, open_branch):
    """A branch of a branch of a branch ..., each with its own checkpoints."""
    kernel.run("depth = 0")
    at, chain = kernel, []
    for depth in range(1, 9):
        chain.append(open_branch(branch(at, "depth += 1\n%branch")))
        at = chain[-1].client
        assert chain[-1].value("depth") == str(depth)
    chain[3].shut_down()
    assert [each.value("depth") for each in chain[:3]] == ["2", "3", "4"]
    assert chain[-1].value("depth") == "8"


LOOK = """
import os, signal, threading
def named(name):
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            if open(f'/proc/{pid}/comm').read().strip() == name: found.append(int(pid))
        except OSError: pass
    return found
def signal_checkpoints(name):
    for pid in named('ringfence-ckpt'):
        try: os.kill(pid, getattr(signal, name))
        except OSError: pass
"""


def test_faults(start):
    """Whatever fails: no branch or a whole one, and the kernel has its state."""
    kernel = start()
    kernel.run("x = 'old'" + LOOK)

    def dead_branch():
        """It was promised, and its worker does not come."""
        path = branch(kernel, "%branch made")
        wait_until(lambda: not os.path.exists(path), 20)
        assert kernel.run("x").result == "'new'"

    # The worker ends before the checkpoint of which the branch is to be made.
    assert kernel.run("%branch\nimport os; os._exit(3)").status == "error"
    assert kernel.run("%checkpoint made").status == "ok"
    kernel.run("x = 'new'")
    # A checkpoint that does not wake up, and then does: too late.
    kernel.run("signal_checkpoints('SIGSTOP')")
    dead_branch()
    kernel.run("signal_checkpoints('SIGCONT')")
    wait_until(lambda: kernel.value("len(named('ringfence-worke'))") == 1, 20)
    # One that ends while the branch is on its way.
    kernel.run("%checkpoint other")
    kernel.run("signal_checkpoints('SIGSTOP')")
    path = branch(kernel, "threading.Timer(0.5, signal_checkpoints, ['SIGKILL']).start()\n"
                          "%branch other")
    wait_until(lambda: not os.path.exists(path), 20)
    assert "no checkpoint 'made'" in order(kernel.client, "branch", name="made")["evalue"]
    assert kernel.run("x").result == "'new'"
    # All are gone: a new one is made for it, and the branch outlives its kernel's crash.
    wait_until(lambda: order(kernel.client, "checkpoint")["checkpoint"]["class"] == "full", 20)
    one = Branch(branch(kernel))
    assert kernel.run(KILL).status == "error"
    assert (one.value("x"), kernel.run("x").result) == ("'new'", "'new'")
    # Its own worker is killed before it has a checkpoint of its own, or right after.
    two = Branch(order(kernel.client, "branch")["checkpoint"]["branch"]["connection_file"])
    assert two.run(KILL).status == "error"
    assert not os.path.exists(two.path) or two.value("x") == "'new'"
    assert kernel.run("x").result == "'new'"
    for each in (one, two):
        each.shut_down()


def test_many(start):
    """A hundred in one sandbox; nothing is left of them."""
    kernel = start()
    kernel.run("data = bytes(10**7)")
    time.sleep(0.5)
    paths = [order(kernel.client, "branch")["checkpoint"]["branch"]["connection_file"]]
    first = Branch(paths[0])
    first.shut_down()
    time.sleep(0.5)
    before = len(os.listdir(f"/proc/{kernel.pid}/fd"))
    gateway = set(processes.below(kernel.pid))
    paths = []
    for _ in range(100):
        answer = order(kernel.client, "branch")
        assert answer["status"] == "ok", answer
        paths.append(answer["checkpoint"]["branch"]["connection_file"])
    for path in (paths[0], paths[50], paths[99]):
        one = Branch(path)
        assert one.value("len(data)") == "10000000"
        one.client.close()
    for path in paths:
        kc = BlockingKernelClient(connection_file=path)
        kc.load_connection_file()
        kc.start_channels()
        kc.shutdown()
        wait_until(lambda: not os.path.exists(path), 20, 0.01)
        kc.stop_channels()
    wait_until(lambda: len(os.listdir(f"/proc/{kernel.pid}/fd")) <= before + 3, 30)
    assert set(processes.below(kernel.pid)) <= gateway
    assert kernel.run("len(data)").result == "10000000"


def test_outlives_its_kernel(start, open_branch):
    """Shut down, the kernel lists its branches; the process that the client waits for ends, and
    the branches go on."""
    kernel = start()
    kernel.run("kept = 1")
    one = open_branch(branch(kernel))
    two = open_branch(branch(one.client))
    kernel.client.request("control", "shutdown_request", {"restart": False})
    kernel.client.pump_until(lambda: any(
        each["msg_type"] == "stream" and one.path in each["content"]["text"]
        and two.path in each["content"]["text"] for each in kernel.client.order), 10)
    wait_until(lambda: not kernel.km.is_alive(), 20)
    kernel.stop()  # and kills its process group
    time.sleep(1)
    assert one.value("kept") == "1"
    assert two.value("kept") == "1"
    assert one.run(KILL).status == "error"
    assert one.value("kept") == "1"
    one.shut_down()
    three = open_branch(branch(two.client))
    assert three.value("kept") == "1"


def test_restart_of_the_kernel(start, open_branch):
    """The client's restart is a new process on the same ports; the branch is not touched."""
    kernel = start()
    kernel.run("kept = 1")
    one = open_branch(branch(kernel))
    kernel.restart()
    assert kernel.run("kept").status == "error"
    assert one.value("kept") == "1"
    kernel.run("kept = 2")
    two = open_branch(branch(kernel))  # the new process counts from 1, and takes no file away
    assert (one.value("kept"), two.value("kept")) == ("1", "2") and one.path != two.path
    two.shut_down()
    assert os.path.exists(one.path)
    cell = kernel.execute("%branch\nexit()")  # the end by a cell tells of them, too
    kernel.client.pump_until(lambda: any(
        each["msg_type"] == "stream" and "jupyter console --existing" in each["content"]["text"]
        and each["content"]["name"] == "stderr" for each in kernel.client.order), 10)
    open_branch(re.search(r"--existing (\S+)", cell.stdout).group(1))


@pytest.mark.parametrize("how", ["shutdown", "SIGTERM"])
def test_none_of_a_kernel_that_ends(start, how):
    """The checkpoint for it comes when the cell ends, and that is too late."""
    kernel = start()
    kernel.run("x = 1")
    cell = kernel.execute("import time\n%branch\ntry:\n    print('on', flush=True); time.sleep(60)\n"
                          "except KeyboardInterrupt: pass")
    cell.wait_for(lambda cell: "on" in cell.stdout)
    before = set(os.listdir(os.environ["JUPYTER_RUNTIME_DIR"]))
    if how == "SIGTERM":
        os.kill(kernel.pid, signal.SIGTERM)
    else:
        kernel.client.request("control", "shutdown_request", {"restart": False})
    wait_until(lambda: not kernel.km.is_alive(), 20)
    after = set(os.listdir(os.environ["JUPYTER_RUNTIME_DIR"]))
    assert not [name for name in after - before if "-branch-" in name]


def test_killed_gateway(start):
    """Everything goes with the gateway."""
    kernel = start()
    one = Branch(branch(kernel))
    marks = [f"{os.getpid()}{n}.5" for n in range(2)]
    for client, mark in zip((kernel, one), marks):
        client.run(f"import subprocess; sleeper = subprocess.Popen(['sleep', '{mark}'])")
    wait_until(lambda: all(map(processes.with_argument, marks)))
    os.kill(kernel.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(processes.with_argument, marks)), 20)
    one.client.close()
    os.unlink(one.path)
