"""Faults that a review found, each as a test: what a kernel inherits, what a
checkpoint holds, and what is lost when something dies at a bad moment."""

import os
import shutil
import signal
import subprocess
import time

import pytest

import processes
from helpers import Kernel, kernel_argv, kernel_environment, new_folder, wait_until, zygote
from rawclient import RawClient, new_connection, write_connection

pytestmark = pytest.mark.ringfence_only("about Ringfence's own processes")

CHECKPOINT = 0.3  # seconds after which an idle kernel has its checkpoint


class Started:
    """A kernel whose command line has `prefix` before it."""

    def __init__(self, name, env, prefix=()):
        self.path = os.path.join(new_folder(), "kernel.json")
        self.info = new_connection()
        write_connection(self.path, self.info)
        self.process = subprocess.Popen([*prefix, *kernel_argv(name, self.path)], env=env)

    def run(self, code):
        """What one cell prints; the kernel then ends."""
        with RawClient(self.info) as raw:
            raw.ready()
            _, messages = raw.run(code)
            raw.reply("control", raw.send("control", "shutdown_request", {"restart": False}))
        self.process.wait(10)
        return "".join(each["content"]["text"] for each in messages
                       if each["msg_type"] == "stream").strip()

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def launch(kernel_name, own_runtime):
    started = []

    def launcher(*prefix):
        started.append(Started(kernel_name, own_runtime, prefix))
        return started[-1]

    yield launcher
    for each in started:
        each.kill()


# What a kernel inherits

def test_limits_above_those_of_the_zygote(launch):
    """Also for root: a worker is in a user namespace and cannot raise its own."""
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[1])"
    low = ["sh", "-c", 'ulimit -n 200; exec "$@"', "sh"]
    assert launch(*low).run(code) == "200"
    assert int(launch().run(code)) > 200


def test_oom_score_is_the_clients(launch):
    if not shutil.which("choom"):
        pytest.skip("absent layer: choom is not installed")
    code = "print(open('/proc/self/oom_score_adj').read())"
    ordinary = launch().run(code)
    assert int(launch("choom", "-n", "900", "--").run(code)) > max(900, int(ordinary))
    assert launch().run(code) == ordinary


@pytest.mark.skipif(os.geteuid() != 0, reason="absent layer: only root changes its groups")
def test_groups_of_root_stay_outside(launch):
    if not shutil.which("setpriv"):
        pytest.skip("absent layer: setpriv is not installed")
    code = "import os; print(os.getgroups())"
    assert launch("setpriv", "--groups", "0,12345").run(code) == "[]"
    assert launch().run(code) == "[]"


def test_files_that_a_preloaded_module_holds_open(own_runtime, kernel_name):
    """They have other numbers than the descriptors of the worker."""
    folder = new_folder()
    with open(os.path.join(folder, "holds_files.py"), "w", encoding="utf-8") as module:
        module.write("import os, tempfile\nFILES = [tempfile.TemporaryFile() for _ in range(6)]\n")
    env = {**own_runtime, "PYTHONPATH": folder}
    kernel = Kernel(kernel_name, arguments=["--preload", "holds_files"], env=env)
    try:
        written = kernel.value(
            "[(f.write(b'text'), f.seek(0), f.read(), f.close()) for f in "
            "__import__('holds_files').FILES]")
        assert written == [(4, 0, b"text", None)] * 6
        assert kernel.run("print('text')").stdout == "text\n"
        kernel.run("import os; os._exit(1)")
        assert kernel.run("print('text')").stdout == "text\n"
    finally:
        kernel.stop()
        zygote("stop", env=env)


# What a checkpoint holds

def test_a_pipe_to_a_child_ends_when_the_cell_closes_it(fresh):
    fresh.run("import subprocess\n"
              "child = subprocess.Popen(['cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)")
    time.sleep(CHECKPOINT)
    assert fresh.run("print(child.communicate(b'text'))", 10).stdout == "(b'text', None)\n"


def test_a_connection_ends_when_the_cell_closes_it(fresh):
    fresh.run("import socket\nnear, far = socket.socketpair()\n"
              "listening = socket.create_server(('127.0.0.1', 0)); port = listening.getsockname()")
    time.sleep(CHECKPOINT)
    cell = fresh.run("near.close(); far.settimeout(5); print(far.recv(1))\n"
                     "listening.close(); again = socket.socket(); again.bind(port); again.listen()")
    assert (cell.status, cell.stdout) == ("ok", "b''\n"), cell.error


def test_a_lock_ends_when_the_cell_closes_the_file(fresh):
    fresh.run("import fcntl\nfile = open('locked', 'w'); print('one', file=file)\n"
              "fcntl.flock(file, fcntl.LOCK_EX)")
    time.sleep(CHECKPOINT)
    cell = fresh.run("file.close(); other = open('locked', 'a')\n"
                     "fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)")
    assert cell.status == "ok", cell.error


def test_what_a_resumed_worker_finds_of_its_descriptors(fresh):
    """A locked file goes on where it was, an end of a pipe has no peer any more."""
    fresh.run("import fcntl, os\nfile = open('locked', 'w'); print('one', file=file, flush=True)\n"
              "fcntl.flock(file, fcntl.LOCK_EX); reader, writer = os.pipe(); os.write(writer, b'x')")
    time.sleep(CHECKPOINT)
    assert "exited with code 1" in fresh.run("os._exit(1)").error
    assert fresh.value("(print('two', file=file, flush=True), open('locked').read())")[1] == "one\ntwo\n"
    assert fresh.value("os.read(reader, 1)") == b""
    assert "BrokenPipeError" in fresh.run("os.write(writer, b'x')").error


def test_resume_under_a_low_limit_of_descriptors(fresh):
    fresh.run("import os, resource; x = 41\nresource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))")
    time.sleep(CHECKPOINT)
    assert "checkpoint" in fresh.run("os._exit(1)").error
    assert fresh.run("x").result == "41"


# Deaths at a bad moment

def test_zygote_that_dies_with_a_request_unread(launch):
    """The kernel asks the next one."""
    started = launch()
    time.sleep(0.2)  # it imports for longer
    found = processes.below(started.process.pid).values()
    for each in found:
        if each.name.startswith("ringfence-kerne"):
            os.kill(each.pid, signal.SIGKILL)
    assert started.run("print(6 * 7)") == "42"


def test_worker_that_dies_with_mail_unread(fresh):
    """What it had said still arrives."""
    cell = fresh.execute("""
import os, time, _ringfence
from IPython.display import display
from ringfence_shell import request
_ringfence.send(_ringfence.MSG_INPUT_REQUEST, request.current_id(), [b'{"prompt": "?"}'])
time.sleep(0.5)
for i in range(30):
    display(i)
os._exit(2)
""", allow_stdin=True)
    fresh.client.answer("never read")
    time.sleep(0.1)
    os.kill(fresh.pid, signal.SIGSTOP)  # so that it finds all of it at once
    time.sleep(1)
    os.kill(fresh.pid, signal.SIGCONT)
    cell.wait()
    assert len(cell.of("display_data")) == 30
    assert "exited with code 2" in cell.error


def test_crash_with_children_that_hold_the_socket(fresh):
    """The end of the last of them is no reason to end the resumed worker."""
    fresh.run("import os, time; x = 41")
    time.sleep(CHECKPOINT)
    for _ in range(5):
        fresh.run("for _ in range(6):\n    if os.fork() == 0:\n        time.sleep(1000)\nos._exit(3)")
        pid = fresh.value("os.getpid()")
        time.sleep(0.4)
        assert fresh.value("(os.getpid(), x)") == (pid, 41)


def test_threads_that_print_while_checkpoints_are_made(fresh):
    """Nothing hangs, nothing is lost or doubled, and a crash costs only its cell."""
    fresh.run("import os, threading, time; going = True; made = [0]\n"
              "def chatter():\n"
              "    while going:\n"
              "        print('line', flush=True); made[0] += 1; time.sleep(0.0005)\n"
              "thread = threading.Thread(target=chatter); thread.start()")
    for _ in range(20):
        fresh.run("time.sleep(0.02)")
        time.sleep(0.06)
    fresh.run("going = False; thread.join()")
    made = fresh.value("made[0]")
    fresh.client.quiet()
    lines = sum(each["content"]["text"].count("line") for each in fresh.client.order
                if each["msg_type"] == "stream")
    assert lines == made
    time.sleep(CHECKPOINT)
    fresh.run("os._exit(1)")
    assert fresh.value("made[0]") == made


def test_start_that_fails_while_the_worker_is_made(launch, kernel_name, own_runtime):
    """A port is taken: an error message, not a crash, however fast the worker is."""
    first = launch()
    wait_until(lambda: zygote("status", env=own_runtime).returncode == 0)
    for _ in range(10):
        path = os.path.join(new_folder(), "kernel.json")
        write_connection(path, first.info)
        second = subprocess.run(kernel_argv(kernel_name, path), env=own_runtime, timeout=20,
                                capture_output=True, text=True, check=False)
        assert second.returncode == 1 and "ringfence: " in second.stderr, second
