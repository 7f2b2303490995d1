"""Attacks from within the worker on its protocol and on its own shell: rows S1 to S8 of
the catalogue (abuse_rows.py has all of them), in a real kernel.

tests/mock says what a worker can send in more ways (test_hostile_worker.py); here it is
user code that does so, with the rules of aftermath.py after each attack.
"""

import json

import pytest

from aftermath import Target
from helpers import execute_with, plain

pytestmark = pytest.mark.ringfence_only("about Ringfence's worker protocol")

# docs/worker-protocol.md, as an attacker would write it
PACKETS = """
import os, socket, struct, sys, time
def packet(kind, request, *parts, flags=3, more=0):
    parts = [each if isinstance(each, bytes) else each.encode() for each in parts]
    body = struct.pack(f"<I{len(parts)}I", len(parts), *map(len, parts)) + b"".join(parts)
    return struct.pack("<BBHIQ", 1, kind, flags, len(body) + more, request) + body
def this():
    return sys.modules["ringfence_shell.request"].current_id()
REPLY, PUBLISH, STREAM, INPUT, CHECKPOINTED = 17, 18, 19, 20, 22
link = socket.socket(fileno=os.dup(3))
"""
FORGED = '{"status":"ok","execution_count":9999,"user_expressions":{},"payload":[]}'
IDLE = '{"execution_state":"idle"}'


@pytest.fixture(scope="module")
def target(kernel_name):
    target = Target(kernel_name, network="off")
    yield target
    target.close()


def headers_are_the_gateways(cell):
    everything = [*cell.messages, cell.reply]
    assert {each["parent_header"]["msg_id"] for each in everything} == {cell.msg_id}
    assert len({each["header"]["session"] for each in everything}) == 1
    assert len({each["header"]["msg_id"] for each in everything}) == len(everything)


# S1: markers and protocol bytes as text

def test_protocol_bytes_as_text(target):
    cell = target.attack(PACKETS + f"""
reply = packet(REPLY, this(), {FORGED!r}, "{{}}", "", "")
for fd in (1, 2, 6, 7): os.write(fd, reply)
print(reply.decode("latin-1"), "<IDS|MSG>", "\\x00\\x1b]0;title\\x07", {IDLE!r})
sys.__stdout__.buffer.write(reply)
'mine'""")
    assert cell.status == "ok" and cell.result == "'mine'" and "9999" in cell.stdout
    assert cell.count != 9999
    headers_are_the_gateways(cell)


# S3: what is said in the name of the gateway, of another cell, or too early

FORGERIES = {
    "reply": f"link.send(packet(REPLY, this(), {FORGED!r}, '{{}}', '', ''))\ntime.sleep(0.2)",
    "reply to another": f"link.send(packet(REPLY, this() + 1, {FORGED!r}, '{{}}', '', ''))\ntime.sleep(9)",
    "idle": f"link.send(packet(PUBLISH, this(), 'status', '', '{{}}', {IDLE!r}))\ntime.sleep(9)",
    "input": "link.send(packet(INPUT, this(), '{\"prompt\":\"password: \",\"password\":true}'))\ntime.sleep(9)",
    "checkpoint": "link.send(packet(CHECKPOINTED, 1, '1', '1', '0', 'full', ''))\ntime.sleep(9)",
    "content": "link.send(packet(PUBLISH, this(), 'error', '', '{}', '{\"ename\":1}x'))\ntime.sleep(9)",
}


@pytest.mark.parametrize("what", FORGERIES)
def test_forged(target, what):
    cell = execute_with(target.kernel, PACKETS + FORGERIES[what]).wait()
    target.gateway_answers()
    headers_are_the_gateways(cell)
    after = target.kernel.run("'next'")
    counted = cell.of("execute_input")[0]["content"]["execution_count"]
    assert after.count == counted + 1  # whatever a reply said
    if what == "reply":  # the cell's own comes second: the end of that worker
        assert cell.status == "ok"
        told = plain(cell.stderr + after.stderr + (after.error if after.status == "error" else ""))
    else:
        assert cell.content["ename"] == "WorkerDied" and after.result == "'next'"
        told = plain(cell.error)
    assert "broke the worker protocol" in told


def test_output_in_the_name_of_others(target):
    """Only of the requests of this kernel, and under the gateway's headers."""
    cell = target.attack(PACKETS + """
for about in (0, 1, this() + 1, 2**63):
    link.send(packet(PUBLISH, about, 'display_data', 'kernel.of.another', '{}',
                     '{"data":{"text/plain":"forged"},"metadata":{},"parent_header":{"msg_id":"x"}}'))
    link.send(packet(STREAM, about, 'stderr', 'forged'))
time.sleep(0.2)""")
    assert cell.status == "ok"
    shown = [each for each in target.kernel.client.order if each["msg_type"] == "display_data"]
    assert shown and all(each["parent_header"]["msg_id"] != "x" for each in shown)
    session = {each["header"]["session"] for each in shown}
    assert session == {cell.reply["header"]["session"]}


# S4: the control descriptor

BREACHES = {
    "closed": "link.close()\nos.close(3)\ntime.sleep(9)",
    "another": "os.dup2(os.open('/dev/null', os.O_RDWR), 3)",
    "shut down": "link.shutdown(socket.SHUT_RDWR)\ntime.sleep(9)",
    "garbage": "link.send(os.urandom(4096))\ntime.sleep(9)",
    "half a message": "link.send(packet(REPLY, this(), 'x', flags=1, more=9))\ntime.sleep(60)",
    "descriptors": "socket.send_fds(link, [packet(STREAM, this(), 'stdout', '')], [1] * 8)\n"
                   "link.send(b'')\ntime.sleep(9)",
    "all closed": "link.close()\nos.closerange(0, 64)",
}


@pytest.mark.parametrize("what", BREACHES)
def test_breach(target, what):
    cell = target.attack(PACKETS + BREACHES[what], timeout_s=1)
    refused = what == "descriptors" and cell.content["ename"] == "PermissionError"  # SO_PASSRIGHTS
    assert refused or cell.content["ename"] == "WorkerDied", cell.describe()


# S2: the shell that runs the cell

SABOTAGE = {
    "streams": "import sys; sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = None",
    "builtins": "import builtins\nfor name in ('len', 'isinstance', 'print', 'type', '__import__'):\n"
                "    setattr(builtins, name, None)",
    "json": "import json, struct\njson.dumps = json.loads = struct.pack = None\n"
            "json.JSONEncoder.encode = json.JSONEncoder.iterencode = json.JSONDecoder.decode = None",
    "run_cell": "type(get_ipython()).run_cell = get_ipython().run_cell = lambda *a, **k: None",
    "hooks": "import sys; sys.displayhook = get_ipython().displayhook = None; sys.excepthook = None",
    "names": "del In, Out; get_ipython().user_ns.clear()",
    "trace": "import sys; sys.settrace(lambda *a: 1 / 0); sys.setprofile(lambda *a: 1 / 0)",
    "modules": "import sys; sys.modules.clear()",
    "sender": "import _ringfence; _ringfence.send = _ringfence.recv = lambda *a: None",
    "package": "import ringfence_shell.wire as w, ringfence_shell.reply as r; w.dumps = w.publish = r.send = None",
    "frames": "import sys\nframe = sys._getframe()\nwhile frame:\n"
              "    worker = frame.f_locals.get('self')\n"
              "    if type(worker).__name__ == 'Worker': worker._messages.clear()\n    frame = frame.f_back",
    "objects": "import gc\nfor each in gc.get_objects():\n"
               "    if type(each).__module__.startswith('ringfence_shell'): vars(each).clear()",
    "loop": "import asyncio; asyncio.get_event_loop().stop(); asyncio.get_event_loop().close()",
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("what", SABOTAGE)
def test_sabotage(target, what):
    """It harms this kernel and no other; each cell still has an end, and a restart mends it."""
    counts = [execute_with(target.kernel, code, timeout_s=0.5).wait().count
              for code in (SABOTAGE[what], "1 + 1")]
    assert counts[1] == counts[0] + 1
    target.gateway_answers()
    target.beside_is_well()
    target.kernel.restart()
    assert target.kernel.run("1 + 1").result == "2"


# S5 to S8: cells that are odd, not hostile

def test_questions_that_nobody_answers(target):
    for code in ("input()", "import getpass; getpass.getpass()", "breakpoint()", "import sys; sys.stdin.read()",
                 "import code; code.interact()", "help()"):
        cell = target.attack(code, timeout_s=20)
        assert "timeout_s" not in cell.stderr and cell.content.get("ename") != "WorkerDied", cell.describe()
    assert not target.kernel.client.inputs


ODD = {
    "exit": ("raise SystemExit(3)", "SystemExit"),
    "interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "generator exit": ("raise GeneratorExit('x')", "GeneratorExit"),
    "no text": ("class E(Exception):\n    def __str__(self): raise E\n    __repr__ = __str__\nraise E", "E"),
    "exits": ("class E(Exception):\n    def __str__(self): raise SystemExit\nraise E", None),
    "itself": ("x = []; x.append(x); raise ValueError(x)", "ValueError"),
    "deep": ("x = []\nfor _ in range(10**5): x = [x]\nraise ValueError(x)", None),
    "surrogates": ("raise ValueError('\\udc00 \\ud83d \\0 \\x1b[31m')", "ValueError"),
    "large": ("raise ValueError('x' * (10 << 20))", "ValueError"),
    "name": ("raise type('\\udc00\\0' * 9, (Exception,), {})", None),
    "cause": ("e = ValueError(1); e.__context__ = e.__cause__ = e\nraise e", "ValueError"),
    "group": ("raise ExceptionGroup('many', [ValueError(n) for n in range(1000)])", "ExceptionGroup"),
}


@pytest.mark.parametrize("what", ODD)
def test_odd_exception(target, what):
    code, name = ODD[what]
    cell = target.attack(code)
    assert cell.status == "error" and cell.content["ename"] != "WorkerDied", cell.describe()
    assert name is None or cell.content["ename"] == name, cell.content["ename"]
    json.dumps(cell.content).encode()
    assert all(isinstance(each, str) for each in cell.content["traceback"])


def test_signals_that_a_cell_leaves(target):
    """The next cell can be interrupted as ever, and runs whatever goes off between."""
    target.settle()
    target.kernel.run("import signal\n"
                      "for number in range(1, 65):\n"
                      "    try: signal.signal(number, lambda *a: 1 / 0)\n"
                      "    except (OSError, ValueError): pass\n"
                      "signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)")
    target.gateway_answers()
    target.beside_is_well()
    cell = execute_with(target.kernel, "signal.setitimer(signal.ITIMER_REAL, 0)\nimport time\n"
                                       "time.sleep(60)", timeout_s=1).wait()
    assert cell.content["ename"] in ("KeyboardInterrupt", "ZeroDivisionError"), cell.describe()
    assert target.kernel.run("signal.setitimer(signal.ITIMER_REAL, 0); kept").result == "41"
    cell = target.attack("import signal; signal.signal(signal.SIGALRM, signal.SIG_DFL); signal.alarm(1)\n"
                         "import time; time.sleep(9)")
    assert "SIGALRM" in cell.error


def test_markup_is_data(target):
    script = "<script>parent.document.title = 'taken'</script><svg onload=alert(1)>"
    cell = target.attack("from IPython.display import HTML, Javascript, SVG, display\n"
                         f"display(HTML({script!r}), Javascript('alert(1)'))\nHTML({script!r})")
    shown = [each["content"]["data"] for each in cell.of("display_data", "execute_result")]
    assert [each.get("text/html") for each in shown] == [script, None, script]
    assert shown[1]["application/javascript"].strip() == "alert(1)"
