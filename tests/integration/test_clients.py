"""Real clients: blocking, asynchronous, two at once, nbclient; and what they may always ask."""

import asyncio
import glob
import os

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers import Cell, kernel_environment, new_folder, wait_until
from rawclient import RawClient, stream_text

HERE = os.path.dirname(os.path.abspath(__file__))
NOTEBOOKS = sorted(glob.glob(os.path.join(HERE, "..", "..", "notebooks", "*.ipynb")))

# Holds the GIL in one C call, looks at no signal and does not end by itself in time.
C_LOOP = "sum(range(10**13))"


def test_blocking_client(fresh):
    assert fresh.client.kc.execute_interactive("1+1", timeout=30)["content"]["status"] == "ok"


def test_asynchronous_client(kernel_name):
    async def session():
        km = AsyncKernelManager(kernel_name=kernel_name)
        await km.start_kernel(env=kernel_environment(), cwd=new_folder())
        kc = km.client()
        kc.start_channels()
        await kc.wait_for_ready(timeout=30)
        outputs = []
        reply = await kc.execute_interactive("print('async'); 6*7", timeout=30,
                                             output_hook=outputs.append)
        await km.restart_kernel()
        await kc.wait_for_ready(timeout=30)
        again = await kc.execute_interactive("6*7", timeout=30, output_hook=outputs.append)
        assert again["content"]["execution_count"] == 1
        assert await km.is_alive()
        kc.stop_channels()
        await km.shutdown_kernel()
        assert not await km.is_alive()
        return reply, outputs

    reply, outputs = asyncio.run(session())
    assert reply["content"]["status"] == "ok"
    assert stream_text(outputs) == "async\n"


def test_two_clients(kernel):
    other = kernel.new_client()
    try:
        kernel.run("shared_name = 41")
        cell = other.run("print('hear me'); shared_name + 1")
        assert cell.result == "42"
        seen = kernel.client.iopub
        kernel.client.pump_until(lambda: any(
            each["msg_type"] == "status" and each["content"]["execution_state"] == "idle"
            for each in seen.get(cell.msg_id, ())), 10)
        assert Cell(kernel.client, cell.msg_id).types == \
            ["busy", "execute_input", "stream", "execute_result", "idle"]
        assert cell.msg_id not in kernel.client.replies
    finally:
        other.close()
        kernel.clients.remove(other)


def test_two_clients_at_the_same_time(kernel):
    other = kernel.new_client()
    mine = [kernel.execute(f"'m{n}'") for n in range(50)]
    theirs = [other.execute(f"'t{n}'") for n in range(50)]
    assert [each.wait().result for each in mine] == [f"'m{n}'" for n in range(50)]
    assert [each.wait().result for each in theirs] == [f"'t{n}'" for n in range(50)]
    counts = sorted(each.count for each in mine + theirs)
    assert counts == list(range(counts[0], counts[0] + 100))


def test_a_client_that_goes_away_harms_nobody(kernel):
    other = kernel.new_client()
    other.execute("import time; time.sleep(0.5); print('to nobody')")
    other.close()
    kernel.clients.remove(other)
    assert kernel.run("1+1").result == "2"


def test_command_line_arguments(start):
    kernel = start(arguments=["--HistoryManager.hist_file=:memory:",
                              "--InteractiveShell.ast_node_interactivity=all"])
    assert kernel.run("'works'").result == "'works'"
    shown = kernel.run("1\n2").of("execute_result")
    assert [each["content"]["data"]["text/plain"] for each in shown] == ["1", "2"]


def execute(notebook, name, **options):
    client = NotebookClient(notebook, kernel_name=name, timeout=60,
                            resources={"metadata": {"path": new_folder()}}, **options)
    client.execute(env=kernel_environment())
    return notebook


def outputs(cell):
    """What a reader sees: text, results and errors."""
    seen = []
    for each in cell["outputs"]:
        if each["output_type"] == "stream":
            seen.append(each["text"])
        elif each["output_type"] == "error":
            seen.append(each["ename"])
        else:
            seen.append(each["data"].get("text/plain"))
    return "".join(filter(None, seen))


def test_nbclient(kernel_name):
    notebook = execute(new_notebook(cells=[
        new_markdown_cell("# title"),
        new_code_cell("x = 6"),
        new_code_cell("print('text')\nx * 7"),
        new_code_cell("from IPython.display import display\nh = display('old', display_id='d')"),
        new_code_cell("h.update('new');"),
        new_code_cell("import time\nfrom IPython.display import clear_output\n"
                      "print('gone'); clear_output(wait=True); print('stays')"),
    ]), kernel_name)
    cells = notebook.cells
    assert outputs(cells[2]) == "text\n42" and cells[2].execution_count == 2
    assert outputs(cells[3]) == "'new'"
    assert outputs(cells[5]) == "stays\n"


def test_nbclient_error_stops(kernel_name):
    notebook = new_notebook(cells=[new_code_cell("1/0"), new_code_cell("print('never')")])
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute(notebook, kernel_name)
    assert outputs(notebook.cells[1]) == ""


def test_nbclient_allow_errors(kernel_name):
    notebook = execute(new_notebook(cells=[
        new_code_cell("1/0", metadata={"tags": ["raises-exception"]}), new_code_cell("'after'"),
    ]), kernel_name)
    assert outputs(notebook.cells[0]) == "ZeroDivisionError"
    assert outputs(notebook.cells[1]) == "'after'"


def test_nbclient_long_notebook(kernel_name):
    cells = [new_code_cell(f"print({n}); {n} + 1") for n in range(100)]
    notebook = execute(new_notebook(cells=cells), kernel_name)
    assert [outputs(cell) for cell in notebook.cells] == [f"{n}\n{n + 1}" for n in range(100)]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=os.path.basename)
@pytest.mark.ringfence_only("our notebooks show what only Ringfence does")
def test_our_notebooks(kernel_name, path):
    notebook = nbformat.read(path, as_version=4)
    execute(notebook, kernel_name)
    errors = [each for cell in notebook.cells for each in cell.get("outputs", ())
              if each["output_type"] == "error"
              and "raises-exception" not in cell.metadata.get("tags", ())]
    assert not errors


# While Python is busy

@pytest.fixture
def busy(start):
    """A kernel whose Python is inside C code that holds the GIL, and a raw client of it."""
    kernel = start()
    kernel.execute("print('on', flush=True)").wait()
    kernel.execute(C_LOOP)
    with RawClient(kernel.connection) as raw:
        yield raw
    kernel.stop(now=True)


def test_heartbeat_while_busy(busy):
    for _ in range(20):
        assert busy.heartbeat()


@pytest.mark.ringfence_only("ipykernel answers when Python gives the GIL back")
@pytest.mark.parametrize("channel", ["control", "shell"])
def test_kernel_info_while_busy(busy, channel):
    for _ in range(20):
        reply = busy.reply(channel, busy.send(channel, "kernel_info_request"), 5)
        assert reply["content"]["status"] == "ok"


@pytest.mark.ringfence_only("ipykernel answers when Python gives the GIL back")
def test_history_while_busy(busy):
    def newest():
        msg_id = busy.send("shell", "history_request", {
            "hist_access_type": "tail", "n": 1, "raw": True, "output": False})
        return busy.reply("shell", msg_id, 5)["content"]["history"][-1][2]

    # the cell came over another connection, maybe later than the first request
    wait_until(lambda: newest() == C_LOOP, 5)


@pytest.mark.ringfence_only("ipykernel answers when Python gives the GIL back")
def test_interrupt_is_answered_while_busy(busy):
    msg_id = busy.send("control", "interrupt_request")
    assert busy.reply("control", msg_id, 5)["content"]["status"] == "ok"


@pytest.mark.ringfence_only("ipykernel answers when Python gives the GIL back")
def test_shutdown_while_busy(busy):
    msg_id = busy.send("control", "shutdown_request", {"restart": False})
    assert busy.reply("control", msg_id, 5)["content"] == {"status": "ok", "restart": False}


def test_heartbeat_while_the_cell_sleeps(kernel):
    kernel.execute("import time; time.sleep(1)")
    with RawClient(kernel.connection) as raw:
        for _ in range(100):
            assert raw.heartbeat()
        msg_id = raw.send("control", "kernel_info_request")
        assert raw.reply("control", msg_id, 5)["content"]["status"] == "ok"
