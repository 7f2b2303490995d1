"""The ipc transport: Unix sockets instead of ports."""

import glob

import pytest

from helpers import Kernel, wait_until
from rawclient import RawClient, stream_text


@pytest.fixture
def ipc(kernel_name):
    kernel = Kernel(kernel_name, transport="ipc")
    yield kernel
    kernel.stop()


def test_ipc(ipc):
    assert ipc.km.get_connection_info()["transport"] == "ipc"
    assert ipc.run("6 * 7").result == "42"
    cell = ipc.execute("input('?')", allow_stdin=True)
    ipc.client.answer("over ipc")
    assert cell.wait().result == "'over ipc'"
    ipc.execute("import time; time.sleep(1000)")
    ipc.client.quiet()
    ipc.km.interrupt_kernel()
    assert ipc.run("1+1", stop_on_error=False).result in ("2", None)
    assert ipc.run("1+1").result == "2"


def test_ipc_heartbeat_and_second_client(ipc):
    with RawClient(ipc.connection) as raw:
        raw.ready()
        assert raw.heartbeat()
        reply, messages = raw.run("print('raw')")
        assert reply["content"]["status"] == "ok"
        assert stream_text(messages) == "raw\n"


def test_ipc_leaves_no_socket_files(kernel_name):
    kernel = Kernel(kernel_name, transport="ipc")
    prefix = kernel.km.ip
    assert glob.glob(prefix + "-*")
    kernel.stop()
    assert wait_until(lambda: not glob.glob(prefix + "-*"), 10)
