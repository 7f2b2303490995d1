"""A worker that breaks every rule costs its cell, and nothing else of the gateway.

RINGFENCE_MOCK names the program of tests/mock, which takes the place of
ringfence-kernel in a copy of the installation.  Its cells are scripts of commands, see
tests/mock/commands.c.  Best run with a gateway that was built with -Db_sanitize=
address,undefined: a report of a sanitizer, leaks included, fails the test.
"""

import glob
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

import helpers
import processes
from helpers import Kernel, Settings, wait_until
from rawclient import RawClient, new_connection, write_connection

MOCK = os.environ.get("RINGFENCE_MOCK", "")
SPEC = "ringfence-mock"
LINUX = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
RESTED = 0.3  # seconds in which the automatic checkpoint is made
SANITIZER = "detect_leaks=1:quarantine_size_mb=1:log_path={}"

pytestmark = pytest.mark.skipif(
    not MOCK or not helpers.is_ringfence(Settings.kernels[0]),
    reason="absent layer: RINGFENCE_MOCK names no mock kernel (tests/mock)")


class Installation:
    """A copy of the installation whose ringfence-kernel is the mock program."""

    def __init__(self):
        self.folder = helpers.new_folder("mock")
        self.prefix = os.path.join(self.folder, "p")
        self.runtime = os.path.join(self.folder, "r")
        self.reports = os.path.join(self.folder, "sanitizer")
        os.mkdir(self.runtime, 0o700)
        shutil.copytree(Settings.prefix, self.prefix, copy_function=self.link)
        self.kernel_program = os.path.join(self.prefix, "libexec/ringfence/ringfence-kernel")
        os.unlink(self.kernel_program)
        shutil.copy2(MOCK, self.kernel_program)
        self.program = os.path.join(self.prefix, "bin/ringfence")
        spec = os.path.join(os.environ["JUPYTER_DATA_DIR"], "kernels", SPEC)
        os.makedirs(spec)
        with open(os.path.join(spec, "kernel.json"), "w", encoding="utf-8") as file:
            json.dump({"argv": [self.program, "kernel", "-f", "{connection_file}"],
                       "display_name": "mock", "language": "mock"}, file)
        os.makedirs(os.path.join(self.folder, "ringfence"))
        with open(os.path.join(self.folder, "ringfence", "config.json"), "w",
                  encoding="utf-8") as file:
            json.dump({"profile": "mock", "profiles": {"mock": {"env": ["RINGFENCE_MOCK_*"]}}}, file)

    @staticmethod
    def link(source, target):
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    def environment(self, **changes):
        return helpers.kernel_environment(
            XDG_RUNTIME_DIR=self.runtime, XDG_CONFIG_HOME=self.folder, ASAN_OPTIONS=SANITIZER.format(self.reports),
            UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1", **changes)

    def zygote(self, word):
        return subprocess.run([self.program, "zygote", word], env=self.environment(),
                              capture_output=True, text=True, timeout=30, check=True).stdout

    def survivors(self):
        """Processes of kernels, that is keepers and what is below them."""
        zygotes = map(int, re.findall(r"pid (\d+)", self.zygote("status")))
        keepers = [each for pid in zygotes for each in processes.below(pid).values()
                   if each.name == "ringfence-keepr"]
        return keepers + [each for keeper in keepers
                          for each in processes.below(keeper.pid).values()]

    def sanitizer_reports(self):
        return "\n".join(open(name, encoding="utf-8", errors="replace").read()
                         for name in glob.glob(self.reports + "*"))


class MockKernel(Kernel):
    """A kernel of the mock program, with a second client for heartbeats."""

    def __init__(self, installation, **settings):
        self.installation = installation
        self.raw = None
        super().__init__(SPEC, env=installation.environment(**settings))
        self.gateway = self.km.provisioner.process
        self.raw = RawClient(self.connection)
        self.newest_count = 0

    def hostile(self, code, timeout=20, **options):
        """A cell that does something bad.  It gets one reply and one idle, and meanwhile
        and afterwards the gateway answers for itself."""
        cell = self.execute(code, **options)
        self.check_gateway()
        cell.wait(timeout)
        assert cell.types[0] == "busy" and cell.types.count("idle") == 1, cell.types
        after = cell.types[cell.types.index("idle") + 1:]
        assert set(after) <= {"stream"}, cell.types  # of children that go on
        assert self.gateway.poll() is None
        assert cell.count > self.newest_count
        self.newest_count = cell.count
        return cell

    def check_gateway(self):
        info = self.client.request("control", "kernel_info_request", timeout=5)
        assert info["implementation"] == "mock"
        assert self.raw.heartbeat()

    def works(self, timeout=20):
        cell = self.hostile("result fine", timeout)
        assert cell.result == "fine", cell.describe()
        return cell

    def finish(self):
        """Ends the kernel like any client does and looks at what it leaves."""
        if self.raw:
            self.raw.close()
        self.stop()
        assert self.gateway.returncode == 0, self.installation.sanitizer_reports()
        wait_until(lambda: not self.installation.survivors(), 10)


@pytest.fixture(scope="module")
def installation():
    made = Installation()
    yield made
    made.zygote("stop")
    assert not made.sanitizer_reports()


@pytest.fixture
def start_mock(installation):
    kernels = []

    def starter(**settings):
        kernels.append(MockKernel(installation, **settings))
        return kernels[-1]

    yield starter
    for each in kernels:
        each.finish()


@pytest.fixture
def mock(start_mock):
    return start_mock()


def died(cell):
    """The cell's error says that the worker died; its text."""
    assert cell.status == "error" and cell.content["ename"] == "WorkerDied", cell.describe()
    assert len(cell.of("error")) == 1
    return cell.error


# What a cell does, and what its error says of the worker's end

DEATHS = [
    ("exit 3", "exited with code 3"),
    ("exit 0", "exited with code 0"),
    ("kill 9", "SIGKILL"),
    ("kill 11", "SIGSEGV"),
    ("kill 6", "SIGABRT"),
    ("print text\nraw more\nkill 9", "SIGKILL"),
    ("flood 5000\nkill 9", "SIGKILL"),
    ("fill-pipes 8\nkill 9", "SIGKILL"),
    ("crash-text 100\nkill 11", "crash text, line 99"),
    ("close", "closed its socket"),
    ("garbage", "packets"),
    ("garbage 0", "closed its socket"),
    ("garbage 1", "packets"),
    ("garbage 15", "packets"),
    ("garbage 4095", "packets"),
    ("protocol", "packets"),
    ("half\nhalf", "packets"),
    ("half\nexit 1", "exited with code 1"),
    ("half\nresult too late", "packets"),
    ("huge", "packets"),
    ("parts", "packets"),
    ("parts-many", "packets"),
    ("fds-half\nexit 1", "exited with code 1"),
    ("fds-late", "packets"),
    ("forge-reply 1", "broke the worker protocol"),
    ("forge-reply -1", "broke the worker protocol"),
    ("publish-status", "broke the worker protocol"),
    ("publish nonsense", "broke the worker protocol"),
    ("publish stream", "broke the worker protocol"),
    ("publish execute_result [1]", "broke the worker protocol"),
    ("publish display_data {\"data\":", "broke the worker protocol"),
    ("bad-json", "broke the worker protocol"),
    ("hello-again", "broke the worker protocol"),
    ("input", "broke the worker protocol"),
    ("input-forged", "broke the worker protocol"),
    ("checkpoint-unasked", "broke the worker protocol"),
    ("order-flood", "(orders)"),
    ("order-forged", "broke the worker protocol"),
    (f"order {33 * 'x'}", "broke the worker protocol"),
    (f"order drop {257 * 'x'}", "broke the worker protocol"),
    *((f"message {number}", "broke the worker protocol")
      for number in (0, 1, 3, 5, 8, 9, 16, 17, 18, 19, 20, 22, 23, 64, 255)),
    ("fork-hold\nkill 9", "SIGKILL"),
    ("fork-hold socket\nkill 9", "SIGKILL"),
    ("fork-hold slivers\nkill 9", ""),
    ("fork-hold pipe\nkill 9", "SIGKILL"),
]


@pytest.mark.parametrize("code, words", DEATHS, ids=[code for code, _ in DEATHS])
def test_death(mock, code, words):
    mock.run("keep before")
    time.sleep(RESTED)
    mock.newest_count = 1
    assert words in died(mock.hostile(code))
    assert mock.hostile("recall").result == "before"
    died(mock.hostile(code))
    mock.works()


@pytest.mark.parametrize("code, words", DEATHS[::4], ids=[code for code, _ in DEATHS[::4]])
def test_death_without_a_checkpoint(start_mock, code, words):
    mock = start_mock(RINGFENCE_MOCK_CHECKPOINTS="none")
    mock.hostile("keep before")
    assert words in died(mock.hostile(code))
    assert mock.hostile("recall").result == ""
    mock.works()


def test_two_replies(mock):
    """The second belongs to nothing: the cell keeps its first, and the worker is replaced."""
    cell = mock.hostile("two-replies")
    assert cell.status == "ok"
    cell.wait_for(lambda cell: "broke the worker protocol" in cell.stderr)
    mock.works()


# What is allowed, or harmless

@pytest.mark.parametrize("code", ["fds", "fds 300", "fds-many"])
def test_descriptors_that_nobody_asked_for(mock, code):
    """Refused by the system, or closed by the gateway."""
    def count():
        return len(os.listdir(f"/proc/{mock.gateway.pid}/fd"))

    mock.works()
    time.sleep(RESTED)
    before = count()
    assert mock.hostile(code).status == "ok"
    wait_until(lambda: count() <= before + 1, 5)
    mock.works()


@pytest.mark.parametrize("code, stdout", [
    ("message 21", ""),
    ("flood 20000", "x" * 20000),
    ("fence-flood 20000\nprint still", "still\n"),
    ("fence-block 2000\nprint still", "still\n"),
    ("slivers 64", "s" * 65536),
    ("fork-hold\nprint still", "still\n"),
], ids=lambda value: value.replace("\n", "; ")[:30])
def test_harmless(mock, code, stdout):
    cell = mock.hostile(code)
    assert cell.status == "ok" and cell.stdout == stdout
    mock.works()


def test_large_output(mock):
    cell = mock.hostile("fill-pipes 16", timeout=60)
    assert cell.status == "ok" and len(cell.stdout) == len(cell.stderr) == 8 << 20
    assert len(mock.hostile("big 20", timeout=60).result) == 20 << 20
    mock.works()


def test_order_of_pipes_and_messages(mock):
    cell = mock.hostile("\n".join(f"raw {i}\nprint {i}\neprint {i}" for i in range(100)))
    assert cell.stdout == "".join(f"{i}\n{i}\n" for i in range(100))
    assert cell.stderr == "".join(f"{i}\n" for i in range(100))


def test_output_before_death_arrives(mock):
    cell = mock.hostile("print one\nraw two\nprint three\nkill 9")
    assert cell.stdout == "one\ntwo\nthree\n"
    assert cell.types.index("error") > cell.types.index("stream")


def test_crash_text_is_bounded(mock):
    text = died(mock.hostile("crash-text 100000\nkill 6"))
    assert "crash text, line 0" in text and len(text) < 200000


@pytest.mark.skipif(LINUX < (6, 16), reason="absent layer: SO_PASSRIGHTS, Linux 6.16")
def test_descriptors_that_wait_when_they_are_closed(mock):
    """A connection that lingers, passed to the gateway: closing it must not stop the gateway."""
    mock.hostile("fds-linger 30")
    mock.works(timeout=5)


# Checkpoints: what the state is after a death that follows the lie

# A lie that is seen in time costs less: then there are two right answers.
LIES = [("none", "old"), ("silent", "old"), ("wrong-id", "old"), ("pid-text", "old"),
        ("pid-large", "old"), ("few-parts", "old"), ("said-twice", "old"), ("cost", "old"), ("pages-text", "old"),
        ("pid-1", "old", ""), ("pid-nobody", "old", ""), ("pid-self", "old", ""),
        ("resumed-late", "new"), ("resumed-twice", "new", "old"), ("resumed-unnamed", "new"),
        ("resumed-dies", "old"), ("resumed-talks", "old"), ("resumed-zero", "old"),
        ("resumed-nobody", "old"), ("resumed-other", "old"), ("resumed-garbage", "old"),
        ("resumed-never", "old"), ("resumed-ends", "old"), ("resumed-early", "old")]


@pytest.mark.parametrize("lie, states", [(each[0], each[1:]) for each in LIES],
                         ids=[each[0] for each in LIES])
def test_checkpoint_lie(mock, lie, states):
    mock.hostile("keep old")
    time.sleep(RESTED)
    mock.hostile(f"keep new\ncheckpoints {lie}")
    time.sleep(4 * RESTED)
    died(mock.hostile("kill 9"))
    assert mock.hostile("recall").result in states
    mock.hostile("keep newest\ncheckpoints honest")
    time.sleep(RESTED)
    mock.hostile("keep newest")
    time.sleep(RESTED)
    died(mock.hostile("kill 9"))
    assert mock.hostile("recall").result == "newest"
    mock.works()


@pytest.mark.parametrize("lie", ["dear", "dear-cheap"])
def test_a_checkpoint_is_too_dear_only_beyond_its_bound(mock, lie):
    """That of an idle kernel has none, else the worker could be asked for ever."""
    mock.hostile("keep old")
    time.sleep(RESTED)
    mock.hostile(f"keep new\ncheckpoints {lie}")
    time.sleep(4 * RESTED)
    assert mock.hostile("recall").result == "old"
    mock.works()


@pytest.mark.parametrize("lie, kept", [("slow-fork", True), ("many-pages", False),
                                       ("all-pages", False)])
def test_what_is_kept_for_undo(mock, lie, kept):
    """It is memory that counts, not the time that a large process takes to be forked."""
    for code in (f"keep before\ncheckpoints {lie}", "keep after"):
        count = mock.hostile(code).count
        wait_until(lambda: any(each["execution_count"] >= count for each in mock.client.request(
            "control", "ringfence_checkpoints_request")["checkpoints"]))
    reply = mock.client.request("shell", "ringfence_checkpoint_request", {"operation": "undo"},
                                timeout=20)
    assert reply["status"] == ("ok" if kept else "error"), reply
    assert kept or "nothing to undo" in reply["evalue"]
    assert mock.hostile("recall").result == ("before" if kept else "after")
    mock.works()


RESUMED = [each for each in LIES if each[0].startswith("resumed")]


@pytest.mark.parametrize("lie, states", [(each[0], each[1:]) for each in RESUMED],
                         ids=[each[0] for each in RESUMED])
def test_rollback_to_a_lie(mock, lie, states):
    """Either the old state or the new; an error says that nothing has changed."""
    def order(operation, name):
        return mock.client.request("shell", "ringfence_checkpoint_request",
                                   {"operation": operation, "name": name}, timeout=20)

    mock.hostile("keep good")
    assert order("checkpoint", "good")["status"] == "ok"
    mock.hostile(f"keep bad\ncheckpoints {lie}")
    order("checkpoint", "bad")
    mock.hostile("keep now\ncheckpoints honest")
    reply = order("rollback", "bad")
    works = reply["status"] == "ok"
    assert ("new" if works else "old") in states, reply
    assert works or "nothing has changed" in reply["evalue"] or "no checkpoint" in reply["evalue"]
    assert mock.hostile("recall").result == ("bad" if works else "now")
    assert order("rollback", "good")["status"] == "ok"
    assert mock.hostile("recall").result == "good"
    mock.works()


def test_a_reply_before_the_answer_to_an_order(mock):
    """It is killed for that, or the rollback has been quicker."""
    mock.run("keep before")
    time.sleep(RESTED)
    for _ in range(10):
        cell = mock.hostile("order rollback 1")
        assert cell.status == "ok" or "broke the worker protocol" in died(cell)
        assert mock.hostile("recall").result == "before"
    mock.works()


def test_a_reply_before_the_checkpoint_of_its_cell(mock):
    """The checkpoint would be taken for the next cell's."""
    mock.hostile("keep here")
    time.sleep(RESTED)
    for code in ("order checkpoint a", "order checkpoint a\norder checkpoint b\norder list"):
        mock.hostile(code)
        cell = mock.hostile("recall")  # which the death hits, unless it was quicker
        assert cell.result == "here" or "broke the worker protocol" in died(cell)
        assert mock.hostile("recall").result == "here"
    mock.works()


def test_orders_of_a_cell_that_awaits_no_answer(mock):
    for code in ("order list", "order fly", "order rollback nowhere", "order drop",
                 "order recover", "order undo", "order checkpoint \x01"):
        mock.hostile(code)
        mock.works()


def test_resumed_late_is_still_the_keepers(mock):
    """A worker whose HELLO came before its checkpoint named it is interrupted and
    missed like any other."""
    mock.hostile("keep here\ncheckpoints resumed-late")
    time.sleep(4 * RESTED)
    for _ in range(3):
        died(mock.hostile("fork-hold\nkill 9"))
        time.sleep(4 * RESTED)
        cell = mock.execute("print on\nsleep 60000")
        cell.wait_for(lambda cell: "on" in cell.stdout)
        mock.km.interrupt_kernel()
        assert cell.wait(5).content["ename"] == "MockError"
        assert mock.run("recall").result == "here"
        mock.newest_count = 0


def test_interrupt_after_a_death(mock):
    died(mock.hostile("exit 1"))
    cell = mock.execute("print on\nsleep 60000")
    cell.wait_for(lambda cell: "on" in cell.stdout)
    mock.km.interrupt_kernel()
    assert cell.wait(5).content["ename"] == "MockError"
    mock.works()


def test_crash_while_it_asks(mock):
    cell = mock.execute("input\nexit 1", allow_stdin=True)
    assert mock.client.answer("text")["prompt"] == "?"
    assert "exited with code 1" in died(cell.wait())
    assert cell.result == "text"
    cell = mock.execute("input", allow_stdin=True)
    mock.client.answer("again")
    assert cell.wait().result == "again"


def test_queue_behind_a_hostile_cell(mock):
    crashed = mock.execute("sleep 200\ngarbage")
    queued = [mock.execute("result x") for _ in range(50)]
    assert "packets" in died(crashed.wait())
    assert {each.wait().status for each in queued} == {"aborted"}
    mock.works()
    crashed = mock.execute("sleep 200\ngarbage", stop_on_error=False)
    queued = [mock.execute("result x") for _ in range(50)]
    assert "packets" in died(crashed.wait())
    assert {each.wait().result for each in queued} == {"x"}


# Answers while a cell runs: what is none, or no honest one, found nothing

@pytest.mark.parametrize("code, found", [
    ("ok", ["kept"]), ("other", []), ("no-json", []), ("no-parts", []), ("type", []),
    ("garbage", []), ("huge", []), ("nothing", []), ("never", [])])
def test_answer_of_a_checkpoint(mock, code, found):
    mock.hostile("keep kept")
    time.sleep(2 * RESTED)
    cell = mock.execute("print on\nsleep 60000")
    cell.wait_for(lambda cell: "on" in cell.stdout)
    for _ in range(2):
        reply = mock.client.request("shell", "complete_request", {"code": code}, timeout=10)
        assert (reply["status"], reply["matches"]) == ("ok", found)
    mock.check_gateway()
    wait_until(lambda: not any(each.name == "ringfence-answr"
                               for each in mock.installation.survivors()), 10)
    assert not cell.done
    mock.km.interrupt_kernel()
    cell.wait(10)
    mock.newest_count = 0
    mock.works()


@pytest.mark.parametrize("lie", ["resumed-zero", "resumed-nobody", "resumed-other", "resumed-never",
                                 "resumed-garbage", "resumed-ends", "resumed-early"])
def test_answer_of_a_lying_checkpoint(mock, lie):
    mock.hostile(f"checkpoints {lie}")
    mock.hostile("keep x")
    time.sleep(2 * RESTED)
    cell = mock.execute("print on\nsleep 60000")
    cell.wait_for(lambda cell: "on" in cell.stdout)
    for size in (1, 1 << 10, 1 << 20) * 30:  # one that does not read is full some day
        mock.client.kc.complete("x" * size)
    reply = mock.client.request("shell", "complete_request", {"code": "ok"}, timeout=20)
    assert (reply["status"], reply["matches"]) == ("ok", [])
    mock.check_gateway()
    mock.km.interrupt_kernel()
    cell.wait(10)
    mock.newest_count = 0
    mock.works()


@pytest.mark.parametrize("lie", [
    "honest", "none", "pid-nobody", "resumed-late", "resumed-unnamed", "resumed-dies", "resumed-zero",
    "resumed-nobody", "resumed-other", "resumed-never", "resumed-garbage", "resumed-ends",
    "resumed-early", "resumed-twice"])
def test_branch_of_a_lying_checkpoint(mock, lie):
    """It has the state, or it says that it is none and goes; its kernel does not notice."""
    mock.hostile(f"keep kept\ncheckpoints {lie}")
    content = {"operation": "branch"}
    answer = mock.client.request("shell", "ringfence_checkpoint_request", content, timeout=20)
    mock.check_gateway()
    if answer["status"] == "ok":
        path = answer["checkpoint"]["branch"]["connection_file"]
        result = ask_branch(path)
        wait_until(lambda: not os.path.exists(path), 15)
        assert result == "kept" or (result is None and lie not in ("honest", "resumed-late"))
    mock.works()


def ask_branch(path):
    """What a branch recalls, and shuts it down; None for one that has ended or fails."""
    try:
        with open(path, encoding="utf-8") as file:
            info = json.load(file)
    except FileNotFoundError:
        return None
    with RawClient(info) as client:
        try:
            client.ready(8)
            _, output = client.run("recall", 8)
        except TimeoutError:
            output = []
        client.send("control", "shutdown_request", {"restart": False})
        return "kept" if any("kept" in json.dumps(each["content"]) for each in output) else None


def test_other_requests_meanwhile(mock):
    crashed = mock.execute("sleep 300\nclose")
    replies = [mock.client.request("shell", "history_request", {"hist_access_type": "tail", "n": 1},
                                   timeout=10),
               mock.client.request("shell", "complete_request", {"code": "a", "cursor_pos": 1},
                                   timeout=10)]
    assert [each["status"] for each in replies] == ["ok", "ok"]
    died(crashed.wait())


# The end

@pytest.mark.parametrize("code", ["ignore-exit", "ignore-exit\nfork-hold", "fork-hold",
                                  "fork-hold pipe", "fork-hold socket", "result x"])
def test_shutdown(mock, code):
    mock.hostile(code)
    began = time.monotonic()
    mock.km.shutdown_kernel(now=False)
    assert mock.gateway.returncode == 0
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("code", ["sleep 60000", "no-reply", "half\nsleep 60000", "close",
                                  "ignore-exit\nno-reply"])
def test_shutdown_while_a_cell_runs(mock, code):
    cell = mock.execute(code)
    time.sleep(0.05)
    mock.client.request("control", "shutdown_request", {"restart": False})
    cell.wait(5)
    assert mock.gateway.wait(8) == 0


def test_many_deaths_cost_nothing(mock):
    """Neither descriptors nor memory grow, and the count goes on."""
    def crash(number):
        code = ("exit 1", "kill 9", "garbage", "half\nexit 1", "fds 3\nkill 11",
                "bad-json", "fork-hold\nkill 9", "crash-text 50\nkill 6")[number % 8]
        died(mock.hostile(code))

    for number in range(40):
        crash(number)
    before = footprint(mock.gateway.pid)
    for number in range(200):
        crash(number)
    after = footprint(mock.gateway.pid)
    assert after[0] <= before[0] + 2, (before, after)
    assert after[1] - before[1] < 6 << 10, (before, after)
    assert mock.works().count == 241


def footprint(pid):
    """(descriptors, resident KB) at rest."""
    time.sleep(1)
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        resident = int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))
    return len(os.listdir(f"/proc/{pid}/fd")), resident


# Workers that are bad from the start

def run_gateway(installation, hello):
    folder = helpers.new_folder()
    path = os.path.join(folder, "kernel.json")
    info = new_connection()
    write_connection(path, info)
    gateway = subprocess.Popen([installation.program, "kernel", "-f", path], text=True,
                               env=installation.environment(RINGFENCE_MOCK_HELLO=hello),
                               stderr=subprocess.PIPE)
    return gateway, info


@pytest.mark.parametrize("hello", ["dies", "then-dies", "other", "bad-json", "bad-pid",
                                   "after-reply"])
def test_no_worker_can_be_had(installation, hello):
    """The gateway gives up, says why, and ends."""
    gateway, info = run_gateway(installation, hello)
    with RawClient(info) as client:
        client.execute("result x")
        _, said = gateway.communicate(timeout=20)
    assert gateway.returncode == 1 and "workers in a row" in said, said
    wait_until(lambda: not installation.survivors(), 10)


def test_worker_that_never_says_hello(installation):
    gateway, info = run_gateway(installation, "never")
    with RawClient(info) as client:
        assert client.heartbeat(10)
        client.execute("result x")
        time.sleep(0.3)
        assert client.heartbeat()
    gateway.send_signal(signal.SIGTERM)
    gateway.communicate(timeout=10)
    assert gateway.returncode == 0
    wait_until(lambda: not installation.survivors(), 10)
