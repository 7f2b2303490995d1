"""The Jupyter wire protocol by hand: what a test or the benchmark needs below jupyter_client.

Frames are built and signed here, so that a test can break each part of a message,
and times are not those of another library.
"""

import functools
import hashlib
import hmac
import itertools
import json
import os
import socket
import time
import uuid

import zmq

DELIMITER = b"<IDS|MSG>"
PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")


RANGES, RANGE, FIRST_PORT = 16, 1400, 10000  # below those that the system hands out by itself


@functools.cache
def port_range():
    """Ports of this process alone among those that run such tests, and what holds them: what
    was free when it was looked for is taken by another when it is bound, now and then."""
    for n in range(RANGES):
        holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            holder.bind(f"\0ringfence-tests-ports-{n}")
            return itertools.cycle(range(FIRST_PORT + n * RANGE, FIRST_PORT + (n + 1) * RANGE)), holder
        except OSError:
            holder.close()
    raise RuntimeError(f"{RANGES} processes run tests at the same time")


def free_ports(count):
    """TCP ports that nobody listens on now."""
    ports = []
    while len(ports) < count:
        with socket.socket() as tried:
            port = next(port_range()[0])
            try:
                tried.bind(("127.0.0.1", port))
                ports.append(port)
            except OSError:
                pass
    return ports


def new_connection(**changes):
    """The content of a connection file with ports and a key of its own."""
    info = dict(zip(PORTS, free_ports(len(PORTS))))
    info.update(ip="127.0.0.1", transport="tcp", key=uuid.uuid4().hex,
                signature_scheme="hmac-sha256", kernel_name="")
    info.update(changes)
    return info


def write_connection(path, info):
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w",
              encoding="utf-8") as file:
        json.dump(info, file)


def read_connection(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


class RawClient:
    """Five sockets of one client of one kernel."""

    def __init__(self, info, reconnect_ms=1, iopub_topic=b"", context=None):
        self.info = info
        self.key = info["key"].encode()
        self.session = uuid.uuid4().hex
        self.count = 0
        self.context = context or zmq.Context()
        self.owns_context = context is None
        self.sockets = {}
        kinds = {"shell": zmq.DEALER, "control": zmq.DEALER, "stdin": zmq.DEALER,
                 "iopub": zmq.SUB, "hb": zmq.REQ}
        for channel, kind in kinds.items():
            sock = self.context.socket(kind)
            sock.linger = 0
            sock.setsockopt(zmq.RECONNECT_IVL, reconnect_ms)
            sock.setsockopt(zmq.RCVHWM, 0)
            if kind == zmq.DEALER:
                sock.identity = self.session.encode()
            elif kind == zmq.SUB:
                sock.subscribe(iopub_topic)
            else:
                sock.setsockopt(zmq.REQ_RELAXED, 1)
                sock.setsockopt(zmq.REQ_CORRELATE, 1)
            sock.connect(self.address(channel))
            self.sockets[channel] = sock

    def address(self, channel):
        between = "-" if self.info["transport"] == "ipc" else ":"
        port = self.info[f"{channel}_port"]
        return f"{self.info['transport']}://{self.info['ip']}{between}{port}"

    def close(self):
        for sock in self.sockets.values():
            sock.close()
        if self.owns_context:
            self.context.term()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # What goes out

    def sign(self, parts):
        return hmac.new(self.key, b"".join(parts), hashlib.sha256).hexdigest().encode()

    def header(self, msg_type, **changes):
        self.count += 1
        header = {"msg_id": f"{self.session}_{self.count}", "msg_type": msg_type,
                  "session": self.session, "username": "test", "version": "5.4",
                  "date": time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())}
        header.update(changes)
        return header

    def frames(self, msg_type, content, header=None, parent=None, metadata=None):
        """(msg_id, frames); a part given as bytes goes out as it is."""
        header = header if header is not None else self.header(msg_type)
        parts = [each if isinstance(each, bytes) else json.dumps(each).encode()
                 for each in (header, parent or {}, metadata or {}, content)]
        msg_id = header["msg_id"] if isinstance(header, dict) else None
        return msg_id, [DELIMITER, self.sign(parts), *parts]

    def send_frames(self, channel, frames):
        self.sockets[channel].send_multipart(frames)

    def send(self, channel, msg_type, content=None, **parts):
        msg_id, frames = self.frames(msg_type, {} if content is None else content, **parts)
        self.send_frames(channel, frames)
        return msg_id

    def execute_frames(self, code, **options):
        """(msg_id, frames) of an execute_request that is not sent yet."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {},
                   "allow_stdin": False, "stop_on_error": True}
        content.update(options)
        return self.frames("execute_request", content)

    def execute(self, code, **options):
        msg_id, frames = self.execute_frames(code, **options)
        self.send_frames("shell", frames)
        return msg_id

    # What comes in

    def receive(self, channel, timeout):
        """The next message as a dictionary, None when there is none within `timeout` seconds."""
        sock = self.sockets[channel]
        if not sock.poll(max(0, timeout) * 1000):
            return None
        frames = sock.recv_multipart()
        at = frames.index(DELIMITER)
        signature, *parts = frames[at + 1:]
        if self.key and not hmac.compare_digest(signature, self.sign(parts[:4])):
            raise AssertionError(f"wrong signature on {channel}: {frames!r}")
        header, parent, metadata, content = (json.loads(part) for part in parts[:4])
        return {"topic": frames[:at], "header": header, "parent_header": parent,
                "metadata": metadata, "content": content, "buffers": parts[4:],
                "msg_type": header["msg_type"], "parent": parent.get("msg_id")}

    def wait(self, channel, accept, timeout=30):
        """Messages up to and including the first that `accept` accepts."""
        deadline, seen = time.monotonic() + timeout, []
        while True:
            message = self.receive(channel, deadline - time.monotonic())
            if message is None:
                raise TimeoutError(f"{channel}: not within {timeout} s; seen: "
                                   f"{[each['msg_type'] for each in seen]}")
            seen.append(message)
            if accept(message):
                return seen

    def reply(self, channel, msg_id, timeout=30):
        return self.wait(channel, lambda each: each["parent"] == msg_id, timeout)[-1]

    def until_idle(self, msg_id, timeout=30):
        """iopub messages of the request `msg_id`, the idle status last."""
        seen = self.wait("iopub", lambda each: is_idle(each, msg_id), timeout)
        return [each for each in seen if each["parent"] == msg_id]

    def run(self, code, timeout=30, **options):
        """(reply, iopub messages) of one cell."""
        msg_id = self.execute(code, **options)
        return self.reply("shell", msg_id, timeout), self.until_idle(msg_id, timeout)

    def ready(self, timeout=30):
        """Waits until the kernel answers and its iopub reaches us."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            msg_id = self.send("shell", "kernel_info_request")
            self.reply("shell", msg_id, deadline - time.monotonic())
            try:
                self.until_idle(msg_id, 0.3)
                return
            except TimeoutError:
                continue
        raise TimeoutError(f"iopub silent for {timeout} s")

    def heartbeat(self, timeout=5):
        """True when the kernel echoes."""
        payload = uuid.uuid4().bytes
        self.sockets["hb"].send(payload)
        return bool(self.sockets["hb"].poll(timeout * 1000)) and \
            self.sockets["hb"].recv() == payload


def is_idle(message, msg_id):
    return (message["parent"] == msg_id and message["msg_type"] == "status"
            and message["content"]["execution_state"] == "idle")


def stream_text(messages, name="stdout"):
    return "".join(each["content"]["text"] for each in messages
                   if each["msg_type"] == "stream" and each["content"]["name"] == name)
