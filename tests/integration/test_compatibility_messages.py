"""What clients ask beside cells, on ipykernel and on Ringfence: comms, completion,
inspection, use of the machine; and output of tasks and threads."""

import time

import pytest

from helpers import Cell, is_ringfence, plain

KERNELS = ["ringfence", "ringfence-tests", "python3"]


def send(kernel, msg_type, content, buffers=(), channel="shell"):
    """Sends anything; what came for it, once the kernel is idle again."""
    client = kernel.client
    message = client.kc.session.msg(msg_type, content)
    client.kc.session.send(client.channels()[channel].socket, message, buffers=list(buffers))
    found = Cell(client, message["header"]["msg_id"])
    client.pump_until(lambda: found.types[-1:] == ["idle"], 30, lambda: f"{msg_type}: {found.types}")
    return found


# Comms

TARGET = """
import comm
log = []
def opened(c, msg):
    log.append(('open', msg['content']['data'], [bytes(b) for b in msg['buffers']]))
    @c.on_msg
    def _(msg):
        print('in the callback')
        log.append(('msg', msg['content']['data'], [bytes(b) for b in msg['buffers']]))
        c.send({'echo': msg['content']['data']}, metadata={'m': 1}, buffers=[b'\\x00\\x01', memoryview(b'abc')])
    c.on_close(lambda msg: log.append(('close', msg['content']['data'])))
comm.get_comm_manager().register_target('echo', opened)
"""


def test_a_comm_of_the_client(kernel):
    assert kernel.run(TARGET).status == "ok"
    send(kernel, "comm_open", {"comm_id": "one", "target_name": "echo", "data": {"a": 1}}, [b"\xff\x00"])
    told = send(kernel, "comm_msg", {"comm_id": "one", "data": {"b": 2}}, [b"x" * 100000])
    assert told.stdout == "in the callback\n"
    if is_ringfence(kernel.name):  # ipykernel sends what is printed later, from a thread
        assert told.types == ["busy", "stream", "comm_msg", "idle"]
    echo = told.of("comm_msg")[0]
    assert echo["content"] == {"comm_id": "one", "data": {"echo": {"b": 2}}} and echo["metadata"] == {"m": 1}
    assert [bytes(each) for each in echo["buffers"]] == [b"\x00\x01", b"abc"]
    info = kernel.client.request("shell", "comm_info_request", {"target_name": "echo"})
    assert info["comms"] == {"one": {"target_name": "echo"}} and info["status"] == "ok"
    send(kernel, "comm_close", {"comm_id": "one", "data": {"c": 3}})
    assert kernel.value("log") == [("open", {"a": 1}, [b"\xff\x00"]), ("msg", {"b": 2}, [b"x" * 100000]),
                                   ("close", {"c": 3})]
    assert kernel.client.request("shell", "comm_info_request", {"target_name": "echo"})["comms"] == {}


def test_a_comm_of_the_kernel(kernel):
    cell = kernel.run("import comm; c = comm.create_comm(target_name='t', data={'d': 1}, metadata={'m': 2}, "
                      "buffers=[b'b'])\nc.send({'e': 2}); c.close({'f': 3})")
    opened, sent, closed = cell.of("comm_open", "comm_msg", "comm_close")
    assert opened["content"]["target_name"] == "t" and opened["content"]["data"] == {"d": 1}
    assert "target_module" in opened["content"] and opened["metadata"]["m"] == 2
    assert bytes(opened["buffers"][0]) == b"b"
    assert sent["content"]["data"] == {"e": 2} and closed["content"]["data"] == {"f": 3}


def test_an_unknown_target_is_closed(kernel):
    told = send(kernel, "comm_open", {"comm_id": "lost", "target_name": "nobody", "data": {}})
    assert told.of("comm_close")[0]["content"]["comm_id"] == "lost"


@pytest.mark.parametrize("msg_type, content", [
    ("comm_msg", {"comm_id": "no such comm", "data": {}}),
    ("comm_close", {"comm_id": "no such comm", "data": {}}),
    ("comm_msg", {"data": {}}),
    ("comm_open", {"comm_id": 5, "target_name": ["x"], "data": 7}),
    ("comm_open", {}),
])
def test_comm_messages_about_nothing(kernel, msg_type, content):
    send(kernel, msg_type, content, [b"", b"\x00" * 10])
    assert kernel.run("1 + 1").result == "2"


def test_a_target_that_fails(kernel):
    kernel.run("import comm\ncomm.get_comm_manager().register_target('bad', lambda c, msg: 1 / 0)")
    told = send(kernel, "comm_open", {"comm_id": "bad", "target_name": "bad", "data": {}})
    assert told.of("comm_close")[0]["content"]["comm_id"] == "bad"
    assert kernel.client.request("shell", "comm_info_request", {"target_name": "bad"})["comms"] == {}


# Completion and inspection

def complete(kernel, code):
    return kernel.client.request("shell", "complete_request", {"code": code, "cursor_pos": len(code)})


def looked_up(kernel, code, level=0):
    return kernel.client.request("shell", "inspect_request", {
        "code": code, "cursor_pos": len(code), "detail_level": level})


def test_completion(kernel):
    kernel.run("import os\nclass Thing:\n    def method(self, arg: int): pass\nthing = Thing()\n"
               "table = {'key one': 1}")
    found = complete(kernel, "thing.me")
    assert found["matches"][0].endswith("method") and found["status"] == "ok"
    types = found["metadata"]["_jupyter_types_experimental"]
    assert types[0]["type"] == "function" and types[0]["start"] <= types[0]["end"] == 8
    assert "key one" in complete(kernel, "table['")["matches"]
    assert "%timeit" in complete(kernel, "%timei")["matches"]
    assert "path" in "".join(complete(kernel, "from os import pat")["matches"])
    assert complete(kernel, "no_such_name_at_all.")["matches"] == []


def test_inspection(kernel):
    kernel.run("def described(first, *, second: int = 2) -> str:\n    '''What it does.'''\n    return 'body'")
    text = plain(looked_up(kernel, "described(")["data"]["text/plain"])
    assert "described(first, *, second: int = 2) -> str" in text and "What it does." in text
    assert "return 'body'" in plain(looked_up(kernel, "described", 1)["data"]["text/plain"])
    assert looked_up(kernel, "no_such_name")["found"] is False


@pytest.mark.ringfence_only("ipykernel waits for such an object for ever")
@pytest.mark.parametrize("body", ["while True: pass", "import time; time.sleep(3600)",
                                  "return Hostile()", "raise BaseException('no')"])
def test_hostile_objects_are_answered(kernel, body):
    kernel.run(f"class Hostile:\n    def __getattr__(self, name):\n        {body}\n    def __dir__(self):\n"
               f"        {body}\nhostile = Hostile()")
    for ask in (complete(kernel, "hostile."), complete(kernel, "hostile.a.b"), looked_up(kernel, "hostile"),
                looked_up(kernel, "hostile.a", 1)):
        assert ask["status"] in ("ok", "error")
    assert kernel.run("1 + 1").result == "2"


@pytest.mark.ringfence_only("likewise")
def test_an_object_that_swallows_the_end_of_its_time(fresh):
    fresh.run("import time\nclass Stubborn:\n    def __getattr__(self, name):\n        end = time.time() + 1.2\n"
              "        while time.time() < end:\n            try: time.sleep(1)\n"
              "            except BaseException: global swallowed; swallowed = True\nswallowed = False; s = Stubborn()")
    assert looked_up(fresh, "s")["found"] is False
    assert fresh.run("swallowed", 60).result == "True"


@pytest.mark.ringfence_only("about our use of SIGALRM")
def test_an_alarm_of_the_users_is_left_alone(kernel):
    kernel.run("import signal, time\nrung = []\nold = signal.signal(signal.SIGALRM, lambda *a: rung.append(1))\n"
               "signal.setitimer(signal.ITIMER_REAL, 0.5)")
    complete(kernel, "rung.app")
    assert kernel.run("end = time.time() + 20\nwhile not rung and time.time() < end: time.sleep(.01)\n"
                      "signal.signal(signal.SIGALRM, old); rung").result == "[1]"


# The machine

def test_usage(kernel):
    def ask():
        return kernel.client.request("control", "usage_request")

    ask()
    kernel.run("sum(range(3 * 10**7)); kept = b'x' * (64 << 20)")
    told = ask()
    assert told["hostname"] and told["pid"] > 1 and told["cpu_count"] >= 1
    assert told["kernel_cpu"] > 0 and told["kernel_memory"] > 32 << 20
    assert told["host_virtual_memory"]["total"] > told["host_virtual_memory"]["available"] > 0
    kernel.run("del kept")


@pytest.mark.ringfence_only("ipykernel's control thread needs the GIL for it")
def test_usage_while_a_cell_holds_the_gil(kernel):
    cell = kernel.execute("import ctypes; ctypes.PyDLL(None).sleep(2)")
    cell.wait_for(lambda c: "execute_input" in c.types)
    assert kernel.client.request("control", "usage_request")["kernel_memory"] > 0
    assert not cell.done
    cell.wait()


def test_connect(kernel):
    told = kernel.client.request("shell", "connect_request")
    info = kernel.connection
    assert {name: told[name] for name in info if name.endswith("_port")} == \
        {name: port for name, port in info.items() if name.endswith("_port")}


def test_connect_info_does_not_hold_the_key(kernel):
    cell = kernel.run("%connect_info")
    assert str(kernel.connection["shell_port"]) in cell.stdout
    assert (kernel.connection["key"] in cell.stdout) == (not is_ringfence(kernel.name))


# Output of what goes on

def test_a_task_prints_to_its_cell(kernel):
    first = kernel.run("import asyncio\nasync def later():\n    await asyncio.sleep(0.2)\n    print('from the task')\n"
                       "task = asyncio.ensure_future(later())")
    second = kernel.run("await task; print('from the cell')")
    first.wait_for(lambda cell: "from the task" in cell.stdout)
    assert second.stdout == "from the cell\n"


def test_a_task_displays_to_its_cell_and_runs_between_cells(kernel):
    first = kernel.run("from IPython.display import display\nasync def later():\n    await asyncio.sleep(0.2)\n"
                       "    display('shown')\n    raise_nothing = 1\ntask = asyncio.ensure_future(later())")
    first.wait_for(lambda cell: cell.of("display_data"))
    assert kernel.run("task.done()").result == "True"


def test_a_thread_prints_to_the_newest_cell(kernel):
    first = kernel.run("import threading\nstop = threading.Event()\ndef work():\n    stop.wait(20)\n"
                       "    print('from the thread', flush=True)\nthread = threading.Thread(target=work); thread.start()")
    second = kernel.run("stop.set(); thread.join()")
    second.wait_for(lambda cell: "from the thread" in cell.stdout)
    assert first.stdout == ""


def test_a_thread_with_a_parent_of_its_own(kernel):
    first = kernel.run("shell = get_ipython(); parent = shell.get_parent(); stop = threading.Event()\ndef work():\n"
                       "    shell.set_thread_parent(parent); stop.wait(20); print('kept', flush=True)\n"
                       "thread = threading.Thread(target=work); thread.start()")
    second = kernel.run("stop.set(); thread.join()")
    first.wait_for(lambda cell: "kept" in cell.stdout)
    assert second.stdout == ""


def test_commands_are_heard_live_and_can_be_interrupted(kernel):
    for code in ("!echo begun; sleep 60", "%%bash\necho begun; sleep 60", "%%script sh\necho begun; sleep 60"):
        cell = kernel.execute(code)
        cell.wait_for(lambda each: "begun" in each.stdout)
        time.sleep(0.1)
        kernel.km.interrupt_kernel()
        cell.wait()
    assert kernel.run("1 + 1").result == "2"


@pytest.mark.parametrize("name", ["user_expressions", "100 MB"])
def test_what_is_too_much(kernel, name):
    if name == "user_expressions":
        cell = kernel.run("1", user_expressions={"a": "1/0", "b": "(", "c": "7", "d": "object()"})
        got = cell.content["user_expressions"]
        assert [got[each]["status"] for each in "abcd"] == ["error", "error", "ok", "ok"]
    else:
        cell = kernel.run("class Big:\n    def __repr__(self): return 'x' * 100_000_000\nBig()", 120)
        assert cell.status == "ok" and len(cell.result or "") in (0, 100_000_000)
    assert kernel.run("1 + 1").result == "2"


def test_store_lasts(start):
    first = start()
    assert first.run("stored = {'a': [1, 2]}\n%store stored").status == "ok"
    second = start(cwd=first.folder)
    assert second.run("%store -r\nstored").result == "{'a': [1, 2]}"
