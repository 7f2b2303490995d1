"""Plays the gateway for tests of ringfence_shell; see fake_ringfence.py."""

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import fake_ringfence as fake

LIMIT_S = 20.0

# gateway/jupyter/kernel_worker.c
PUBLISHED = (
    "display_data update_display_data execute_result error clear_output debug_event "
    "comm_open comm_msg comm_close"
).split()


@dataclass
class Answer:
    """All that came for one request."""

    content: dict = None
    metadata: dict = None
    source: str = ""
    text: str = ""
    published: list = field(default_factory=list)  # (msg_type, content, topic, metadata, buffers)
    order: list = field(default_factory=list)  # msg_type or stream name, in order
    stdout: str = ""
    stderr: str = ""

    def of(self, msg_type):
        return [content for kind, content, *_ in self.published if kind == msg_type]

    @property
    def status(self):
        return self.content["status"]


class Worker:
    """One worker; `zygote` forked it, or a checkpoint did."""

    def __init__(self, folder, connection):
        self.folder = folder
        self.connection = connection
        self.received = bytearray()
        self.answers = {}
        self.count = 0
        self.next_id = 0
        self.hello = self.timing_us = None
        self.checkpoints = {}
        self.on_input = None
        self.asked = []  # content of the input_requests
        self.until(lambda: self.hello is not None)

    # -- messages ---------------------------------------------------------

    def send(self, kind, about, parts=()):
        self.connection.sendall(fake.pack(kind, about, parts))

    def until(self, done, limit=LIMIT_S):
        deadline = time.monotonic() + limit
        while not done():
            left = deadline - time.monotonic()
            assert left > 0, f"nothing came in {limit} s; stderr: {self.output(2)}"
            if select.select([self.connection], [], [], left)[0]:
                chunk = self.connection.recv(1 << 20)
                if not chunk:
                    raise EOFError(f"the worker is gone; stderr: {self.output(2)}")
                self.received += chunk
            self._take()

    def _take(self):
        while True:
            message, used = fake.unpack(self.received)
            if message is None:
                return
            del self.received[:used]
            self._on_message(*message)

    def _on_message(self, kind, about, parts):
        answer = self.answers.setdefault(about, Answer())
        if kind == fake.MSG_HELLO:
            self.generation, self.pid = about, int(parts[0])
            self.hello = strict_json(parts[1])
        elif kind == fake.MSG_TIMING:
            self.timing_us = int(parts[0]) / 1000
        elif kind == fake.MSG_STREAM:
            name = parts[0].decode()
            setattr(answer, name, getattr(answer, name) + parts[1].decode())
            answer.order.append(name)
        elif kind == fake.MSG_PUBLISH:
            assert self.hello is not None, "published before HELLO"
            msg_type = parts[0].decode()
            assert msg_type in PUBLISHED, f"the gateway takes no {msg_type}"
            row = (msg_type, strict_json(parts[3]), parts[1], strict_json(parts[2]), parts[4:])
            answer.published.append(row)
            answer.order.append(msg_type)
        elif kind == fake.MSG_INPUT_REQUEST:
            assert about == self.next_id, "input_request of a request that does not run"
            self.asked.append(strict_json(parts[0]))
            if self.on_input is not None:
                reply = {"value": self.on_input(self.asked[-1])}
                self.send(fake.MSG_INPUT_REPLY, about, [json.dumps(reply).encode()])
        elif kind == fake.MSG_REPLY:
            assert answer.content is None, "a second reply"
            answer.content, answer.metadata = strict_json(parts[0]), strict_json(parts[1])
            answer.source, answer.text = parts[2].decode(), parts[3].decode()
        elif kind == fake.MSG_CHECKPOINTED:
            self.checkpoints[about] = int(parts[0])

    # -- requests ---------------------------------------------------------

    def start(self, msg_type, content, metadata=None, buffers=(), raw=None, count=None):
        """Sends a request; its id."""
        self.next_id += 1
        header = {"msg_id": f"m{self.next_id}", "msg_type": msg_type, "session": "s"}
        parts = [
            msg_type.encode(),
            str(self.count if count is None else count).encode(),
            json.dumps(header).encode(),
            json.dumps(metadata or {}).encode(),
            json.dumps(content).encode() if raw is None else raw,
            *buffers,
        ]
        self.send(fake.MSG_REQUEST, self.next_id, parts)
        return self.next_id

    def finish(self, request_id, limit=LIMIT_S):
        self.until(lambda: self.answer(request_id).content is not None, limit)
        return self.answer(request_id)

    def answer(self, request_id):
        return self.answers.setdefault(request_id, Answer())

    def ask(self, msg_type, content, **more):
        return self.finish(self.start(msg_type, content, **more))

    def begin(self, code, **content):
        content = {"code": code, "silent": False, "store_history": True} | content
        if content["store_history"] and not content["silent"]:
            self.count += 1
        return self.start("execute_request", content)

    def run(self, code, **content):
        return self.finish(self.begin(code, **content))

    def value(self, code):
        """text/plain of the cell's result."""
        answer = self.run(code)
        assert answer.status == "ok", answer
        return answer.text

    def printed(self, request_id, text):
        """Waits until the request has printed `text`."""
        self.until(lambda: text in self.answer(request_id).stdout)

    # -- the process ------------------------------------------------------

    def interrupt(self):
        os.killpg(self.pid, signal.SIGINT)

    def output(self, fd):
        """What was written to fd 1 or 2 themselves so far."""
        return (self.folder / f"fd{fd}").read_text()

    def resume(self, checkpoint_id, generation):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.folder / str(checkpoint_id)))
        connection.sendall(struct.pack("<Q", generation))
        return Worker(self.folder, connection)

    def close(self):
        self.connection.close()
        for pid in self.checkpoints.values():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


class Zygote:
    """A zygote process and the workers it made."""

    def __init__(self, folder, *arguments, env=None, cwd=None):
        self.folder = Path(folder)
        self.path = str(self.folder / "zygote")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen()
        self.log = open(self.folder / "zygote.log", "w+")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                fake.__file__,
                f"--listen-fd={listener.fileno()}",
                "--keeper=/none",
                *arguments,
            ],
            pass_fds=[listener.fileno()],
            stdout=self.log,
            stderr=self.log,
            stdin=subprocess.DEVNULL,
            env=env,
            cwd=cwd,
        )
        listener.close()

    def _ask(self, message, fds=()):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.path)
        socket.send_fds(connection, [json.dumps(message).encode()], fds)
        return connection

    def spawn(self, argv=(), environ=None, cwd=None):
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        home = folder / "home"
        home.mkdir()
        given = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        message = {
            "generation": 1,
            "environ": given | (environ or {}),
            "cwd": str(cwd or folder),
            "argv": list(argv),
            "checkpoints": str(folder),
        }
        flags = os.O_CREAT | os.O_APPEND | os.O_RDWR
        fds = [os.open(folder / name, flags) for name in ("fd1", "fd2", "crash")]
        connection = self._ask(message, fds)
        for fd in fds:
            os.close(fd)
        return Worker(folder, connection)

    def wait(self, pid):
        """Exit status of a worker that this zygote forked."""
        connection = self._ask({"wait": pid})
        connection.settimeout(LIMIT_S)
        return int(connection.recv(64))

    def read_log(self):
        return (self.folder / "zygote.log").read_text()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


def strict_json(data):
    """JSON that every reader takes: UTF-8, no NaN, no lone surrogates."""

    def refuse(name):
        raise AssertionError(f"{name} in JSON that was sent: {data!r}")

    value = json.loads(data.decode("utf-8"), parse_constant=refuse)
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value
