"""Kernels and cells for the tests, on top of jupyter_client.

A Kernel is a started kernel with one Client; a Client reads its four channels in
the order in which messages arrive and sorts them by the request that they answer;
a Cell is one execute_request with all that came for it.
"""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid

import zmq
from jupyter_client import BlockingKernelClient, KernelManager
from jupyter_client.kernelspec import KernelSpecManager

import processes

START_TIMEOUT = 90  # these only find what hangs, on a machine however busy
CELL_TIMEOUT = 90
QUIET = 0.3  # seconds in which something that must not come would have come


class Settings:
    """Filled by conftest.py before the test modules are read."""

    kernels = ["ringfence"]
    prefix = None      # RINGFENCE_PREFIX
    root = None        # private folder of the session
    reaper = None      # process below which everything that the tests start is found


def is_ringfence(name):
    return name.startswith("ringfence")


def ringfence_program():
    return os.path.join(Settings.prefix, "bin", "ringfence")


def kernel_environment(**changes):
    """The environment of a kernel: ours without pytest's variables (ipykernel reads them)."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env.update(changes)
    return {name: value for name, value in env.items() if value is not None}


def new_folder(name="work"):
    """A new folder in the private folder of the session; its path is short."""
    path = os.path.join(Settings.root, f"{name}-{uuid.uuid4().hex[:6]}")
    os.mkdir(path, 0o700)
    return path


def wait_until(condition, timeout=CELL_TIMEOUT, step=0.02):
    """The first true value of condition(); fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout} s; last value: {value!r}")
        time.sleep(step)


def plain(text):
    """Text without terminal colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def need(program):
    """Path of a program, or the test ends here and names the missing layer."""
    import pytest

    path = shutil.which(program)
    if path is None:
        pytest.skip(f"absent layer: {program} is not installed")
    return path


class Cell:
    """One execute_request and the messages that came for it, in the order of arrival."""

    def __init__(self, client, msg_id):
        self.client = client
        self.msg_id = msg_id
        self.messages = client.iopub.setdefault(msg_id, [])

    @property
    def reply(self):
        return self.client.replies.get(self.msg_id)

    @property
    def done(self):
        return self.reply is not None and any(
            each["msg_type"] == "status" and each["content"]["execution_state"] == "idle"
            for each in self.messages)

    def wait(self, timeout=CELL_TIMEOUT):
        self.client.pump_until(lambda: self.done, timeout, self.describe)
        return self

    def wait_for(self, condition, timeout=CELL_TIMEOUT):
        """Waits until condition(self), for things to see while the cell runs."""
        self.client.pump_until(lambda: condition(self), timeout, self.describe)
        return self

    def describe(self):
        return (f"{self.types[:20]}, stdout {self.stdout[-200:]!r}, "
                f"stderr {self.stderr[-200:]!r}, reply {self.reply and self.reply['content']}")

    # What a test wants to know

    @property
    def types(self):
        """msg_types, with the state for a status; neighbouring streams are one."""
        found = []
        for each in self.messages:
            kind = each["content"]["execution_state"] if each["msg_type"] == "status" \
                else each["msg_type"]
            if kind != "stream" or found[-1:] != ["stream"]:
                found.append(kind)
        return found

    def of(self, *msg_types):
        return [each for each in self.messages if each["msg_type"] in msg_types]

    def text(self, name):
        return "".join(each["content"]["text"] for each in self.of("stream")
                       if each["content"]["name"] == name)

    @property
    def stdout(self):
        return self.text("stdout")

    @property
    def stderr(self):
        return self.text("stderr")

    @property
    def result(self):
        found = self.of("execute_result")
        return found[-1]["content"]["data"].get("text/plain") if found else None

    @property
    def content(self):
        return self.reply["content"]

    @property
    def status(self):
        return self.content["status"]

    @property
    def count(self):
        return self.content["execution_count"]

    @property
    def error(self):
        """ename, evalue and traceback of the reply as one text."""
        content = self.content
        return "\n".join([content.get("ename", ""), content.get("evalue", ""),
                          *content.get("traceback", [])])


def client_of(path):
    """A Client of the kernel with that connection file, which answers."""
    kc = BlockingKernelClient(connection_file=path)
    kc.load_connection_file()
    kc.start_channels()
    client = Client(kc)
    kc.wait_for_ready(timeout=60)
    return client


class Client:
    """Reads all channels of one jupyter_client client."""

    def __init__(self, kc):
        self.kc = kc
        self.iopub = {}      # msg_id of the request (None: without one) -> messages
        self.replies = {}    # msg_id of the request -> reply, shell and control
        self.inputs = []     # input_requests
        self.order = []      # everything, as it came

    def channels(self):
        return {"iopub": self.kc.iopub_channel, "shell": self.kc.shell_channel,
                "control": self.kc.control_channel, "stdin": self.kc.stdin_channel}

    def pump(self, timeout):
        """Reads what is there, waiting at most `timeout` seconds for the first."""
        poller, channels = zmq.Poller(), {}
        for name, channel in self.channels().items():
            channels[channel.socket] = name
            poller.register(channel.socket, zmq.POLLIN)
        for sock, _ in poller.poll(max(0, timeout) * 1000):
            for _ in range(100):
                _, message = self.kc.session.recv(sock, zmq.NOBLOCK)
                if message is None:
                    break
                self.sort(channels[sock], message)

    def sort(self, channel, message):
        parent = message["parent_header"].get("msg_id")
        message["channel"] = channel
        self.order.append(message)
        if channel == "iopub":
            self.iopub.setdefault(parent, []).append(message)
        elif channel == "stdin":
            self.inputs.append(message)
        else:
            assert parent not in self.replies, f"a second reply: {message!r}"
            self.replies[parent] = message

    def pump_until(self, condition, timeout, describe=lambda: ""):
        deadline = time.monotonic() + timeout
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"not within {timeout} s; {describe()}")
            self.pump(min(left, 0.2))

    def quiet(self, seconds=QUIET):
        """Reads for a while and returns what came."""
        start, deadline = len(self.order), time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.pump(deadline - time.monotonic())
        return self.order[start:]

    def execute(self, code, **options):
        options.setdefault("allow_stdin", False)
        return Cell(self, self.kc.execute(code, **options))

    def run(self, code, timeout=CELL_TIMEOUT, **options):
        return self.execute(code, **options).wait(timeout)

    def request(self, channel, msg_type, content=None, timeout=CELL_TIMEOUT):
        """Content of the reply to any other request."""
        message = self.kc.session.msg(msg_type, content or {})
        self.channels()[channel].send(message)
        msg_id = message["header"]["msg_id"]
        self.pump_until(lambda: msg_id in self.replies, timeout, lambda: msg_type)
        return self.replies[msg_id]["content"]

    def answer(self, value, timeout=CELL_TIMEOUT):
        """Waits for an input_request that is not answered yet and answers it."""
        self.pump_until(lambda: self.inputs, timeout, lambda: "no input_request")
        request = self.inputs.pop(0)
        self.kc.input(value)
        return request["content"]

    def close(self):
        self.kc.stop_channels()


class Kernel:
    """A started kernel, its manager and a first client."""

    def __init__(self, name, arguments=(), env=None, cwd=None, transport="tcp"):
        self.name = name
        self.folder = cwd or new_folder()
        self.km = KernelManager(kernel_name=name, transport=transport)
        if transport == "ipc":  # the default is relative to the client's working directory
            self.km.ip = os.path.join(self.folder, "ipc")
        self.km.start_kernel(extra_arguments=list(arguments), cwd=self.folder,
                             env=env or kernel_environment())
        self.clients = []
        try:
            self.client = self.new_client()
        except BaseException:
            self.stop()
            raise

    def new_client(self):
        """A client with a session of its own (km.client() would share the manager's)."""
        kc = BlockingKernelClient(connection_file=self.km.connection_file)
        kc.load_connection_file()
        kc.start_channels()
        client = Client(kc)
        self.clients.append(client)
        kc.wait_for_ready(timeout=START_TIMEOUT)
        return client

    @property
    def pid(self):
        return self.km.provisioner.process.pid

    @property
    def connection(self):
        info = self.km.get_connection_info()
        return {**info, "key": info["key"].decode()}

    def run(self, code, timeout=CELL_TIMEOUT, **options):
        return self.client.run(code, timeout, **options)

    def execute(self, code, **options):
        return self.client.execute(code, **options)

    def value(self, expression):
        """The Python value of an expression of literals in the kernel."""
        import ast

        cell = self.run(f"print(repr({expression}))", store_history=False)
        assert cell.status == "ok", cell.error
        return ast.literal_eval(cell.stdout.strip())

    def restart(self):
        self.km.restart_kernel(now=False)
        self.client.kc.wait_for_ready(timeout=START_TIMEOUT)

    def healthy(self):
        try:
            return self.km.is_alive() and self.run("1+1", 10, store_history=False).result == "2"
        except TimeoutError:
            return False

    def stop(self, now=False):
        for client in self.clients:
            client.close()
        self.clients = []
        if self.km.has_kernel:
            self.km.shutdown_kernel(now=now)
            self.km.cleanup_resources()


OTHER = "ringfence-tests"  # Ringfence on the interpreter of the tests


def is_sanitized():
    module = os.path.join(Settings.prefix, "lib", "ringfence", "_ringfence.abi3.so")
    with open(module, "rb") as file:
        return b"__asan_init" in file.read()


def install_other():
    """Makes the kernelspec of that name; skips where that interpreter cannot load our module."""
    import pytest

    folder = os.path.join(Settings.root, "other")
    if os.path.isdir(folder):
        return
    if is_sanitized():
        pytest.skip("absent layer: another interpreter cannot load a sanitized module")
    subprocess.run([ringfence_program(), "install", "--prefix", folder, "--name", OTHER,
                    "--python", sys.executable], check=True, capture_output=True, timeout=60)
    os.environ["JUPYTER_PATH"] += os.pathsep + os.path.join(folder, "share", "jupyter")


def kernel_argv(name, connection_file):
    """The kernelspec's command line, for tests that start the process themselves."""
    argv = KernelSpecManager().get_kernel_spec(name).argv
    if argv[0] in ("python", "python3"):
        argv = [sys.executable, *argv[1:]]
    return [each.format(connection_file=connection_file) for each in argv]


def zygote(*arguments, env=None):
    """Runs `ringfence zygote ...`."""
    return subprocess.run([ringfence_program(), "zygote", *arguments], capture_output=True,
                          text=True, timeout=30, env=env or kernel_environment(), check=False)


def zygote_pid(env):
    return int(re.search(r"pid (\d+)", zygote("status", env=env).stdout).group(1))


def ours():
    """Processes of the test session without the test itself and the zygote's spares,
    which belong to no kernel yet."""
    found = processes.below(Settings.reaper)
    found.pop(os.getpid(), None)
    return {pid: each for pid, each in found.items() if each.name != "ringfence-spare"}


def mounts():
    """What this process sees mounted; a sandbox adds nothing."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return file.read()


def configuration(**profiles):
    """An environment with a config.json of these profiles."""
    folder = new_folder("config")
    os.mkdir(os.path.join(folder, "ringfence"))
    with open(os.path.join(folder, "ringfence", "config.json"), "w", encoding="utf-8") as file:
        json.dump({"profiles": profiles}, file)
    return kernel_environment(XDG_CONFIG_HOME=folder)


def own_cgroup(controller):
    """Folder of this process's cgroup on the v1 mount of a controller, or None."""
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        for line in file:
            _, names, path = line.rstrip("\n").split(":", 2)
            folder = f"/sys/fs/cgroup/{controller}{path}".rstrip("/")
            if controller in names.split(",") and os.access(folder, os.W_OK):
                return folder
    return None


def cgroups_of(pid):
    """Cgroup folders that the gateway `pid` has made."""
    return [found for controller in ("memory", "pids", "cpu")
            for found in glob.glob(f"{own_cgroup(controller)}/ringfence-*.{pid}.*")]


def execute_with(kernel, code, **options):
    """A cell whose request's metadata has these options of Ringfence."""
    client = kernel.client
    content = {"code": code, "silent": False, "store_history": True, "user_expressions": {},
               "allow_stdin": False, "stop_on_error": True}
    message = client.kc.session.msg("execute_request", content, metadata={"ringfence": options})
    client.kc.shell_channel.send(message)
    return Cell(client, message["header"]["msg_id"])


def run_with(kernel, code, **options):
    return execute_with(kernel, code, **options).wait()
