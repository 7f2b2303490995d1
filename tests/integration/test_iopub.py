"""iopub: each subscriber gets everything at its own pace, whatever another one does."""

import os
import select
import signal
import subprocess
import sys
import time

import pexpect
import pytest
import zmq
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from helpers import kernel_environment, new_folder, wait_until
from rawclient import RawClient, stream_text

SUBSCRIBER = """
import sys, time, zmq
socket = zmq.Context().socket(zmq.SUB)
socket.setsockopt(zmq.RCVHWM, 1)
socket.setsockopt(zmq.RCVBUF, 4096)
socket.subscribe(b'')
socket.connect(sys.argv[1])
print(socket.poll(30000), flush=True)
time.sleep(1000)
"""


class Subscriber:
    """A process that subscribes and never reads; it can also be stopped."""

    def __init__(self, address):
        self.child = subprocess.Popen([sys.executable, "-c", SUBSCRIBER, address],
                                      stdout=subprocess.PIPE, text=True)

    def stop(self, kernel):
        """After it has seen a first message."""
        while not select.select([self.child.stdout], [], [], 0.1)[0]:
            kernel.run("'something to see'")
        self.child.send_signal(signal.SIGSTOP)

    def close(self):
        self.child.kill()
        self.child.communicate()


def iopub_address(kernel):
    return f"tcp://127.0.0.1:{kernel.connection['iopub_port']}"


@pytest.mark.timeout(180)
def test_stopped_console_beside_nbclient(kernel_name):
    """nbclient starts the kernel; a console attaches and is stopped before the first cell."""
    consoles = []

    def attach(**_):
        child = pexpect.spawn(sys.executable, [
            "-m", "jupyter_console", "--existing", client.km.connection_file, "--simple-prompt"],
            env=kernel_environment(TERM="dumb"), encoding="utf-8", timeout=30)
        child.expect(r"In \[\d+\]:")
        os.kill(child.pid, signal.SIGSTOP)
        consoles.append(child)

    notebook = new_notebook(cells=[
        new_code_cell("for n in range(200_000): print('line', n)"),
        new_code_cell("'finished'")])
    client = NotebookClient(notebook, kernel_name=kernel_name, timeout=120,
                            resources={"metadata": {"path": new_folder()}},
                            on_notebook_start=attach)
    try:
        client.execute(env=kernel_environment())
    finally:
        for child in consoles:
            os.kill(child.pid, signal.SIGCONT)
            child.close(force=True)
    assert consoles
    text = "".join(each["text"] for each in notebook.cells[0].outputs)
    assert text == "".join(f"line {n}\n" for n in range(200_000))
    assert notebook.cells[1].outputs[0]["data"]["text/plain"] == "'finished'"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("stopped", [True, False], ids=["stopped", "not reading"])
def test_subscriber_that_never_reads(fresh, stopped):
    lazy = Subscriber(iopub_address(fresh))
    try:
        fresh.run("1")
        if stopped:
            lazy.stop(fresh)
        cell = fresh.run("for n in range(300_000): print('line', n)", timeout=120)
        assert cell.stdout == "".join(f"line {n}\n" for n in range(300_000))
        assert cell.types[-1] == "idle"
        assert fresh.run("1+1").result == "2"
    finally:
        lazy.close()


@pytest.mark.timeout(180)
@pytest.mark.ringfence_only("ipykernel drops messages beyond a thousand")
def test_many_messages_reach_a_slow_reader(fresh):
    """A healthy subscriber that does not read for a while misses nothing."""
    with RawClient(fresh.connection) as raw:
        raw.sockets["iopub"].close()
        sock = raw.context.socket(zmq.SUB)  # the default high-water mark
        sock.linger = 0
        sock.subscribe(b"")
        sock.connect(raw.address("iopub"))
        raw.sockets["iopub"] = sock
        raw.ready()
        msg_id = raw.execute("from IPython.display import display\n"
                             "for n in range(20_000): display({'text/plain': str(n)}, raw=True)")
        time.sleep(2)
        seen = [each["content"]["data"]["text/plain"] for each in raw.until_idle(msg_id, 120)
                if each["msg_type"] == "display_data"]
    assert seen == [str(n) for n in range(20_000)]


@pytest.mark.timeout(180)
@pytest.mark.ringfence_only("ipykernel drops messages beyond a thousand")
def test_many_messages_beside_a_stopped_subscriber(fresh):
    lazy = Subscriber(iopub_address(fresh))
    try:
        lazy.stop(fresh)
        cell = fresh.run("from IPython.display import display\n"
                         "for n in range(20_000): display({'text/plain': str(n)}, raw=True)",
                         timeout=120)
        assert [each["content"]["data"]["text/plain"] for each in cell.of("display_data")] == \
            [str(n) for n in range(20_000)]
        assert cell.types[-1] == "idle"
    finally:
        lazy.close()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.ringfence_only("ipykernel keeps it for ever")
def test_subscriber_that_takes_nothing_is_cut_off(fresh):
    context = zmq.Context()
    sock = context.socket(zmq.SUB)
    sock.linger = 0
    sock.setsockopt(zmq.RCVHWM, 1)
    sock.setsockopt(zmq.RCVBUF, 4096)
    sock.subscribe(b"")
    port = fresh.connection["iopub_port"]
    try:
        before = established(port)
        sock.connect(iopub_address(fresh))
        wait_until(lambda: established(port) == before + 1)
        fresh.run("1")
        cell = fresh.run("for n in range(200): print('x' * 500_000)", timeout=120)
        assert len(cell.stdout) == 200 * 500_001
        wait_until(lambda: established(port) == before, 120, 0.5)
        assert fresh.run("1+1").result == "2"
    finally:
        sock.close()
        context.term()


def established(port):
    """Connections that are open at the kernel's end of `port`.

    The subscriber cannot tell: the end of its connection waits behind what it never reads.
    """
    with open("/proc/net/tcp", encoding="ascii") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def welcomes(kernel, topics, seconds=1.0):
    """The first messages of new subscribers, before anything else is asked."""
    raws = [RawClient(kernel.connection, iopub_topic=topic) for topic in topics]
    try:
        deadline = time.monotonic() + seconds
        return [[message for message in iter(
            lambda raw=raw: raw.receive("iopub", deadline - time.monotonic()), None)]
            for raw in raws]
    finally:
        for raw in raws:
            raw.close()


@pytest.mark.ringfence_only("ipykernel welcomes only its first subscriber")
def test_each_subscriber_is_welcomed(fresh):
    fresh.client.quiet()
    for seen in welcomes(fresh, [b"", b"", b"stream"]):
        assert seen and seen[0]["msg_type"] == "iopub_welcome"
    (seen,) = welcomes(fresh, [b"stream"])
    assert seen[0]["content"]["subscription"] == "stream"
    assert seen[0]["parent_header"] == {} and seen[0]["topic"][0].startswith(b"stream")


@pytest.mark.ringfence_only("ipykernel welcomes only its first subscriber")
def test_a_topic_that_is_not_text_harms_nothing(fresh):
    welcomes(fresh, [b"\xff\xfe\x00"], 0.3)
    assert fresh.run("1+1").result == "2"


def test_topics(kernel):
    with RawClient(kernel.connection, iopub_topic=b"stream") as raw:
        time.sleep(0.5)
        kernel.run("print('by topic'); 42")
        seen = []
        while stream_text(seen) != "by topic\n":
            seen += raw.wait("iopub", lambda each: each["msg_type"] == "stream", 10)
        assert {each["msg_type"] for each in seen} <= {"stream", "iopub_welcome"}


def test_idle_always_arrives(kernel):
    for code in ("1", "1/0", "print('x' * 1_000_000)", "%lsmagic", "x ="):
        assert kernel.run(code).types[-1] == "idle"
    for msg_type, content in (("kernel_info_request", {}), ("comm_info_request", {}),
                              ("is_complete_request", {"code": "1"})):
        message = kernel.client.kc.session.msg(msg_type, content)
        kernel.client.kc.shell_channel.send(message)
        msg_id = message["header"]["msg_id"]
        kernel.client.pump_until(lambda: [
            each["content"].get("execution_state")
            for each in kernel.client.iopub.get(msg_id, ())] == ["busy", "idle"], 10)
