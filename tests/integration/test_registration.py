"""JEP 66: the launcher gives a registration file, the kernel binds and reports its ports."""

import hashlib
import hmac
import json
import os
import stat
import subprocess
import uuid

import pytest
import zmq

from helpers import kernel_argv, kernel_environment, new_folder
from rawclient import DELIMITER, PORTS, RawClient

pytestmark = pytest.mark.ringfence_only("ipykernel does not read registration files")


class Launcher:
    """The side that waits for the kernel's report."""

    def __init__(self):
        self.key = uuid.uuid4().hex
        self.kernel_id = str(uuid.uuid4())
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")

    def sign(self, content):
        return hmac.new(self.key.encode(), content, hashlib.sha256).hexdigest().encode()

    def write(self, path):
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            json.dump({"kernel_id": self.kernel_id, "transport": "tcp",
                       "registration_ip": "127.0.0.1", "registration_port": self.port,
                       "signature_scheme": "hmac-sha256", "key": self.key}, file)

    def receive(self, timeout=30):
        assert self.socket.poll(timeout * 1000), "the kernel did not register"
        frames = self.socket.recv_multipart()
        at = frames.index(DELIMITER)
        signature, content = frames[at + 1:]
        assert signature == self.sign(content)
        return frames[:at], json.loads(content)

    def acknowledge(self, identities, signature=None):
        self.socket.send_multipart([*identities, DELIMITER, signature or self.sign(b"ACK"),
                                    b"ACK"])

    def close(self):
        self.socket.close()
        self.context.term()


@pytest.fixture
def launched(kernel_name):
    launcher = Launcher()
    path = os.path.join(new_folder(), "registration.json")
    launcher.write(path)
    child = subprocess.Popen(kernel_argv(kernel_name, path), env=kernel_environment(),
                             cwd=os.path.dirname(path), stderr=subprocess.PIPE, text=True)
    yield launcher, child, path
    child.kill()
    child.communicate()
    launcher.close()


def test_registration(launched):
    launcher, child, path = launched
    identities, content = launcher.receive()
    assert content["kernel_id"] == launcher.kernel_id
    assert {name for name in content if name.endswith("_port")} == set(PORTS)
    assert all(isinstance(content[name], str) and 0 < int(content[name]) < 65536
               for name in PORTS)
    assert len({content[name] for name in PORTS}) == 5
    launcher.acknowledge(identities)
    info = {name: int(content[name]) for name in PORTS}
    info.update(transport="tcp", ip="127.0.0.1", key=launcher.key)
    with RawClient(info) as raw:
        raw.ready()
        assert raw.run("1+1")[0]["content"]["status"] == "ok"
        msg_id = raw.send("control", "shutdown_request", {"restart": False})
        raw.reply("control", msg_id)
    assert child.wait(30) == 0
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600 if os.path.exists(path) else True


def test_registration_without_an_answer_ends(launched):
    launcher, child, _ = launched
    launcher.receive()
    assert child.wait(50) != 0
    assert child.stderr.read().strip()


def test_registration_with_a_wrong_signature_ends(launched):
    launcher, child, _ = launched
    identities, _ = launcher.receive()
    launcher.acknowledge(identities, b"0" * 64)
    assert child.wait(50) != 0
    assert child.stderr.read().strip()
