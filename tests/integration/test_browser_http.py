"""Kernels over HTTP and WebSocket, behind Jupyter's Kernel Gateway: what siblings share, those of
another namespace do not.  Only with --browser, since it needs Jupyter's server."""

import json
import os
import sys
import urllib.request
import uuid

import pytest

from helpers import zygote
from test_browser import Server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240),
              pytest.mark.ringfence_only("about Ringfence's zygotes")]

# The hash seed, where the heap and where libraries lie: of siblings the same.
SHARED = """
import ctypes, sys
print(hash("a"), id(sys.modules["IPython"].__dict__),
      ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p).value)
"""


class KernelGateway:
    """Hands RINGFENCE_NAMESPACE of a request on, and of its own environment what a zygote needs."""

    def command(self, port, token, folder):
        pytest.importorskip("kernel_gateway", reason="absent layer: jupyter_kernel_gateway")
        return [sys.executable, "-m", "kernel_gateway", f"--KernelGatewayApp.port={port}",
                "--KernelGatewayApp.port_retries=0", f"--KernelGatewayApp.auth_token={token}",
                f"--KernelGatewayApp.env_process_whitelist={sorted(os.environ)}",
                "--JupyterWebsocketPersonality.env_whitelist=['RINGFENCE_NAMESPACE']",
                "--JupyterWebsocketPersonality.list_kernels=True"]


@pytest.fixture(scope="module")
def gateway(kernel_name):
    server = Server(KernelGateway(), kernel_name, [])
    try:
        server.wait()
        yield server
    finally:
        server.stop()


def start(gateway, kernel_name, namespace):
    """A kernel's id."""
    body = {"name": kernel_name, "env": {} if namespace is None else {"RINGFENCE_NAMESPACE": namespace}}
    request = urllib.request.Request(gateway.address("api/kernels"), method="POST",
                                     data=json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["id"]


def run(gateway, kernel_id, code):
    """What a cell prints, by one WebSocket."""
    websocket = pytest.importorskip("websocket", reason="absent layer: websocket-client")
    address = gateway.address(f"api/kernels/{kernel_id}/channels").replace("http", "ws", 1)
    connection = websocket.create_connection(address, timeout=60)
    session, msg_id = uuid.uuid4().hex, uuid.uuid4().hex
    connection.send(json.dumps({
        "channel": "shell", "parent_header": {}, "metadata": {}, "buffers": [],
        "header": {"msg_id": msg_id, "msg_type": "execute_request", "session": session,
                   "username": "", "version": "5.4", "date": ""},
        "content": {"code": code, "silent": False, "store_history": True, "user_expressions": {},
                    "allow_stdin": False, "stop_on_error": True}}))
    text = ""
    try:
        while True:
            message = json.loads(connection.recv())
            if message["parent_header"].get("msg_id") != msg_id:
                continue
            if message["msg_type"] == "stream":
                text += message["content"]["text"]
            if message["content"].get("execution_state") == "idle":
                return text
    finally:
        connection.close()


def test_one_zygote_for_each_namespace(gateway, kernel_name):
    def shared(namespace):
        return run(gateway, start(gateway, kernel_name, namespace), SHARED)

    anna, bert, nobody = shared("token-anna"), shared("token-bert"), shared(None)
    assert len(anna.split()) == 3, anna
    assert shared("token-anna") == anna and shared("token-bert") == bert and shared("") == nobody
    for one, other in ((anna, bert), (anna, nobody), (bert, nobody)):
        assert all(a != b for a, b in zip(one.split(), other.split(), strict=True)), (one, other)
    assert "token-" not in zygote("status").stdout  # a token's name is nothing to show


def test_state_and_a_crash_over_websocket(gateway, kernel_name):
    kernel_id = start(gateway, kernel_name, "token-anna")
    run(gateway, kernel_id, "x = 6; import time; time.sleep(0.5)")
    run(gateway, kernel_id, "import time; time.sleep(0.5)")
    run(gateway, kernel_id, "import os; os.kill(os.getpid(), 11)")
    assert run(gateway, kernel_id, "print(x * 7)") == "42\n"
