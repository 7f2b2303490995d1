"""Tests of kernel/python/ringfence_shell against a stand-in for its C module.

Run with every IPython that is supported: <python> -m pytest tests/unit/test_shell.py
"""

import importlib.util
import json
import os
import sys
import time

import fake_ringfence as fake
import pytest
from shell_harness import Zygote, strict_json


def installed(name):
    return importlib.util.find_spec(name) is not None


needs_comm = pytest.mark.skipif(not installed("comm"), reason="absent layer: the comm package is not installed")
needs_matplotlib = pytest.mark.skipif(not installed("matplotlib"), reason="absent layer: matplotlib is not installed")


# -- start ------------------------------------------------------------------


def test_hello(worker):
    info = worker.hello
    assert worker.generation == 1
    assert info["implementation"] == "ipython"
    assert (
        info["implementation_version"] == worker.value("import IPython; IPython.__version__")[1:-1]
    )
    language = info["language_info"]
    assert language["name"] == "python"
    assert language["version"] == sys.version.split()[0]
    assert language["codemirror_mode"] == {"name": "ipython", "version": 3}
    assert language["file_extension"] == ".py" and language["pygments_lexer"] == "ipython3"
    assert "IPython" in info["banner"]
    assert all(set(link) == {"text", "url"} for link in info["help_links"])


def test_start_is_quick(zygote):
    times = []
    for _ in range(10):
        worker = zygote.spawn()
        times.append(worker.timing_us)
        worker.close()
    print(f"fork to HELLO, us: {sorted(times)}")
    assert min(times) < 15_000


def test_nothing_is_left_of_warming(worker):
    assert worker.value("In") == "['', 'In']"
    assert worker.value("Out") == "{1: ['', 'In', 'Out']}" or worker.value("1") == "1"
    names = worker.value("sorted(n for n in dir() if n[0] != '_')")
    assert names == "['In', 'Out', 'exit', 'get_ipython', 'open', 'quit']" or names == (
        "['In', 'Out', 'exit', 'get_ipython', 'quit']"
    )
    assert worker.value("__name__, __import__('__main__').__dict__ is globals()") == (
        "('__main__', True)"
    )
    hidden = "{*globals(), *get_ipython().user_ns_hidden}"
    inputs = worker.value(f"sorted(n for n in {hidden} if n.startswith('_i'))")
    numbered = [f"_i{n + 1}" for n in range(worker.count)]
    assert inputs == repr(sorted(["_i", "_ii", "_iii", "_ih", *numbered]))


def test_one_thread(worker):
    assert worker.value("len(__import__('os').listdir('/proc/self/task'))") == "1"


def test_environment_is_the_clients(spawn):
    worker = spawn(environ={"COLOUR": "green", "TZ": "Asia/Tokyo"})
    assert worker.value("import os; os.environ['COLOUR'], 'PWD' in os.environ") == (
        "('green', False)"
    )
    assert worker.value("os.environ['TERM'], os.environ['PAGER']") == "('xterm-color', 'cat')"
    assert "matplotlib_inline" in worker.value("os.environ['MPLBACKEND']")
    assert worker.value("import time; time.localtime(0).tm_hour") == "9"
    assert worker.value("import subprocess; subprocess.getoutput('echo $COLOUR')") == "'green'"


def test_cwd_is_importable_in_the_worker_only(zygote, spawn, tmp_path):
    (tmp_path / "planted.py").write_text("x = 1")
    worker = spawn(cwd=tmp_path)
    assert worker.value("import planted; planted.x") == "1"
    assert worker.value("import sys; sys.path.count('')") == "1"


def test_zygote_does_not_import_from_cwd(tmp_path):
    (tmp_path / "traitlets.py").write_text("raise SystemExit('imported from cwd')")
    (tmp_path / "sub").mkdir()
    zygote = Zygote(tmp_path / "sub", cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    try:
        worker = zygote.spawn(environ={"PYTHONPATH": str(tmp_path)})
        assert worker.value(f"import sys; {str(tmp_path)!r} in sys.path") == "True"
        worker.close()
    finally:
        zygote.close()


def test_preload(tmp_path):
    zygote = Zygote(tmp_path, "--preload=csv,no_such_module_x,wave")
    try:
        worker = zygote.spawn()
        assert worker.value("import sys; 'csv' in sys.modules, 'wave' in sys.modules") == (
            "(True, True)"
        )
        assert "no_such_module_x" in worker.hello["banner"]
        assert "no_such_module_x" in zygote.read_log()
        worker.close()
    finally:
        zygote.close()


def test_two_workers_differ(spawn):
    code = (
        "import random, uuid, tempfile, os;"
        "(random.random(), str(uuid.uuid4()), next(tempfile._get_candidate_names()))"
    )
    assert spawn().value(code) != spawn().value(code)


def test_faulthandler_writes_to_the_crash_file(worker):
    request = worker.begin("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises((EOFError, ConnectionError)):
        worker.finish(request)
    assert "Segmentation fault" in (worker.folder / "crash").read_text()


# -- cells ------------------------------------------------------------------


def test_result(worker):
    answer = worker.run("1 + 1")
    assert answer.content == {
        "status": "ok",
        "execution_count": 1,
        "user_expressions": {},
        "payload": [],
    }
    assert answer.of("execute_result") == [
        {"execution_count": 1, "data": {"text/plain": "2"}, "metadata": {}}
    ]
    assert answer.text == "2" and answer.source == "1 + 1\n"
    assert answer.metadata["status"] == "ok" and answer.metadata["dependencies_met"] is True
    assert answer.metadata["engine"] == "" and answer.metadata["started"].endswith("Z")


def test_order_of_output(worker):
    answer = worker.run("print('a'); display(1); print('b'); 2")
    order = [kind for i, kind in enumerate(answer.order) if kind != answer.order[i - 1 : i][:1]]
    kinds = [k for k, before in zip(order, ["", *order]) if k != before]
    assert kinds == ["stdout", "display_data", "stdout", "execute_result"]


def test_semicolon_silences(worker):
    assert worker.run("1 + 1;").order == []
    assert worker.run("'a;b'").text == "'a;b'"


def test_history_variables(worker):
    worker.run("40 + 2")
    worker.run("x = 1")
    assert worker.value("_, _1, _i1, _i, _ii, In[1], Out[1]") == (
        "(42, 42, '40 + 2', 'x = 1', '40 + 2', '40 + 2', 42)"
    )
    assert worker.run("%history").stdout.startswith("40 + 2\nx = 1\n")
    assert worker.value("__") == "42"


def test_history_with_gaps(worker):
    worker.run("'a'")
    worker.count = 6
    worker.run("'b'")
    assert worker.value("In[1], In[4], In[7], Out[7], _7") == "(\"'a'\", '', \"'b'\", 'b', 'b')"


def test_no_history_file(worker):
    worker.run("x = 1")
    assert list((worker.folder / "home").iterdir()) == []


def test_error(worker):
    answer = worker.run("def f():\n    return 1 / 0\nf()")
    assert answer.content["status"] == "error" and answer.content["ename"] == "ZeroDivisionError"
    assert answer.content["evalue"] == "division by zero"
    assert answer.content["execution_count"] == 1
    text = "\n".join(answer.content["traceback"])
    assert "line 2" in text and "Cell" in text
    [error] = answer.of("error")
    assert error["traceback"] == answer.content["traceback"]
    assert answer.metadata["status"] == "error"


@pytest.mark.parametrize(
    "code", ["1 +", "for", "print 'a'", "return 3", "x = 1\n  y = 2", "%%nope"]
)
def test_code_that_does_not_compile(worker, code):
    assert worker.run(code).status == "error"
    assert worker.value("1") == "1"


def test_exception_without_text(worker):
    code = "class E(Exception):\n    def __str__(self): raise TypeError('no')\nraise E"
    answer = worker.run(code)
    assert answer.content["ename"] in ("E", "TypeError")  # IPython 9 fails to store it
    assert worker.value("1") == "1"


def test_showtraceback_by_user_code_is_no_failure(worker):
    code = "try:\n    1 / 0\nexcept Exception:\n    get_ipython().showtraceback()"
    answer = worker.run(code)
    assert answer.status == "ok" and len(answer.of("error")) == 1


def test_formatter_that_fails_marks_the_cell(worker):
    code = "class B:\n    def _repr_html_(self): raise ValueError('bad repr')\nB()"
    answer = worker.run(code)
    assert answer.status == "error" and answer.content["traceback"]
    assert worker.run("1").status == "ok"


def test_silent(worker):
    answer = worker.run("print('x'); 5", silent=True)
    assert answer.order == ["stdout", "stdout"] and answer.content["execution_count"] == 0
    assert worker.value("len(In)") == "2"


def test_no_store_history(worker):
    worker.run("'one'")
    answer = worker.run("'two'", store_history=False)
    [result] = answer.of("execute_result")
    assert result["execution_count"] == 1 and result["data"]["text/plain"] == "'two'"
    assert worker.value("In[1], len(In)") == "(\"'one'\", 3)"


def test_user_expressions(worker):
    answer = worker.run("a = 1", user_expressions={"good": "a + 1", "bad": "1 / 0"})
    values = answer.content["user_expressions"]
    assert values["good"] == {"status": "ok", "data": {"text/plain": "2"}, "metadata": {}}
    assert values["bad"]["status"] == "error" and values["bad"]["ename"] == "ZeroDivisionError"
    assert worker.run("1 / 0", user_expressions={"a": "a"}).content["user_expressions"] == {}


def test_payloads(worker):
    answer = worker.run("get_ipython().set_next_input('a'); get_ipython().set_next_input('b')")
    assert answer.content["payload"] == [
        {"source": "set_next_input", "text": "b", "replace": False}
    ]
    [page] = worker.run("print?").content["payload"]
    assert page["source"] == "page" and "text/plain" in page["data"]
    assert worker.run("1").content["payload"] == []
    answer = worker.run("get_ipython().set_next_input('a')\n1/0")
    assert answer.status == "error" and len(answer.content["payload"]) == 1


@pytest.mark.parametrize("code", ["exit", "exit()", "quit()"])
def test_exit_is_a_payload(worker, code):
    answer = worker.run(code)
    assert answer.content["payload"] == [{"source": "ask_exit", "keepkernel": False}]
    assert worker.value("1") == "1"


def test_system_exit_is_an_error(worker):
    answer = worker.run("raise SystemExit(3)")
    assert answer.content["ename"] == "SystemExit" and worker.value("1") == "1"


def test_transformed_source(worker):
    assert "run_line_magic" in worker.run("%pwd").source


def test_special_syntax_is_found(worker):
    cells = {
        "a = 3 % 2": "a = 3 % 2\n",
        "x = %pwd": "x = get_ipython().run_line_magic('pwd', '')\n",
        "for i in []:\n    !ls": "for i in []:\n    get_ipython().system('ls')\n",
        ",print a": "print(\"a\")\n",
        "/print 1": "print(1)\n",
        "len?": "get_ipython().run_line_magic('pinfo', 'len')\n",
        "  x = 1": "x = 1\n",
        ">>> x = 1": "x = 1\n",
        "x = 1\n>>> y = 2": "x = 1\ny = 2\n",
        "In [1]: x = 1": "x = 1\n",
        "\n\nx = 1": "x = 1\n",
        "x = (1,\n2)": "x = (1,\n2)\n",
    }
    assert {cell: worker.run(cell).source for cell in cells} == cells
    wrong = worker.run("if 1:\n    x = 1\n  y = 2")
    assert wrong.content["ename"] == "IndentationError"


def test_first_words(worker):
    """What a cell of one line means can depend on its first word alone."""
    worker.run("from IPython.core.macro import Macro\nm = Macro('6 * 7')")
    assert worker.value("m") == "42"
    assert worker.run("exit").content["payload"][0]["source"] == "ask_exit"
    assert worker.run("pwd").source == "get_ipython().run_line_magic('pwd', '')\n"
    for cell in "pwd = 3", "pwd", "pass", "len.__call__ 'ab'":  # it is a variable now
        assert worker.run(cell).source == cell + "\n"
    worker.run("%autocall 1")
    assert worker.run("len 'ab'").source == "len('ab')\n"
    worker.run("%autocall 0")
    worker.run(
        "from IPython.core.prefilter import PrefilterChecker\n"
        "class Euro(PrefilterChecker):\n"
        "    def check(self, line_info):\n"
        "        return self.prefilter_manager.get_handler_by_name('magic') "
        "if line_info.ifun == 'who_is_there' else None\n"
        "ip = get_ipython(); Euro(shell=ip, prefilter_manager=ip.prefilter_manager)"
    )
    assert "run_line_magic('who_is_there'" in worker.run("who_is_there").source


def test_traits_of_a_cell_are_told(worker):
    worker.run("seen = []; get_ipython().observe(lambda change: seen.append(change.name), "
               "['execution_count', 'last_execution_result'])")
    worker.run("pass")
    assert worker.value("sorted(set(seen))") == "['execution_count', 'last_execution_result']"


def test_cleanup_of_the_user(worker):
    worker.run("def shout(lines): return [l.replace('EUR', '100') for l in lines]\n"
               "get_ipython().input_transformer_manager.cleanup_transforms.append(shout)")
    assert worker.value("5 * EUR") == "500"


def test_token_transformer_of_the_user(worker):
    worker.run(
        "from IPython.core.inputtransformer2 import TokenTransformBase\n"
        "class Euro(TokenTransformBase):\n"
        "    @classmethod\n"
        "    def find(cls, lines):\n"
        "        found = [t for line in lines for t in line if t.string == 'EUR']\n"
        "        return cls(found[0].start) if found else None\n"
        "    def transform(self, lines): return [l.replace('EUR', '100') for l in lines]\n"
        "get_ipython().input_transformer_manager.token_transformers.append(Euro)"
    )
    assert worker.value("5 * EUR") == "500"


def test_magics(worker):
    assert "CPU times" in worker.run("%time 1").stdout
    assert worker.run("%%capture c\nprint('in')").order == []
    assert worker.value("c.stdout") == "'in\\n'"
    assert worker.run("%%bash\necho from bash").stdout == "from bash\n"
    assert worker.run("%cd /").status == "ok" and worker.value("%pwd") == "'/'"
    assert worker.run("%less /etc/hostname").content["payload"][0]["source"] == "page"
    assert worker.run("%edit -n 3 /etc/hostname").content["payload"][0]["line_number"] == 3
    assert worker.run("%autosave 5").of("display_data")
    assert worker.run("%gui asyncio").status == "ok"
    assert worker.run("%gui qt").status == "error" or worker.answer(worker.next_id).order


def test_detection_of_a_notebook(worker):
    code = "get_ipython().__class__.__name__, 'IPKernelApp' in get_ipython().config"
    assert worker.value(code) == "('ZMQInteractiveShell', True)"
    code = "k = get_ipython().kernel; k.shell is get_ipython(), k.get_parent('shell')['msg_type']"
    assert worker.value(code) == "(True, 'execute_request')"
    code = "k.send_response(k.iopub_socket, 'stream', {'name': 'stdout', 'text': 'hi'});"
    assert worker.run(code).stdout == "hi"
    bad = "k.send_response(k.iopub_socket, 'status', {'execution_state': 'idle'})"
    assert worker.run(bad).content["ename"] == "ValueError"


def test_store_magic(worker):
    assert worker.run("x = 5\n%store x").status == "ok"
    assert (worker.folder / "home/.ipython/profile_default/db").is_dir()


# -- bad input --------------------------------------------------------------


def test_lone_surrogate_in_code(worker):
    raw = b'{"code": "x = 1\\ny = \\"\\ud83d\\"", "silent": false}'
    answer = worker.ask("execute_request", None, raw=raw, count=1)
    assert answer.content["ename"] == "SyntaxError" and "D83D" in answer.content["evalue"]
    assert "line 2" in answer.content["evalue"] and answer.of("error")
    assert worker.value("1") == "1"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"code": "1", "user_expressions": {"a": NaN}, "x": 1e999}',
        b'{"code": "1", "x": "\xff\xfe"}',
        b'{"code": "1", "user_expressions": [], "allow_stdin": 7}',
    ],
)
def test_lenient_json(worker, raw):
    assert worker.ask("execute_request", None, raw=raw).status in ("ok", "error")
    assert worker.value("1") == "1"


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{", b'{"code": 5}', b"{}", b'{"a":' * 5000 + b"1" + b"}" * 5000]
)
def test_bad_content(worker, raw):
    for msg_type in ("execute_request", "complete_request", "inspect_request", "comm_msg"):
        answer = worker.ask(msg_type, None, raw=raw)
        assert answer.content["status"] == "error" and answer.content["ename"]
    assert worker.value("1") == "1"


def test_missing_parts(worker):
    worker.next_id += 1
    worker.send(fake.MSG_REQUEST, worker.next_id, [b"execute_request"])
    assert worker.finish(worker.next_id).content["status"] == "error"
    assert worker.ask("no_such_request", {}).content["ename"] == "NotImplementedError"
    worker.send(77, 5, [b"what"])
    assert worker.value("1") == "1"


def test_output_that_is_no_text(worker):
    assert worker.run("print('a\\ud83d b')").status == "ok"
    answer = worker.run(
        "display({'application/json': {'a': float('nan'), 'b': b'x', 3: {4}}}, raw=True)"
    )
    [shown] = answer.of("display_data")
    assert shown["data"]["application/json"]["a"] == "nan"
    answer = worker.run("'\\ud83d'")
    assert answer.status == "ok" and "text/plain" in answer.of("execute_result")[0]["data"]
    answer = worker.run("loop = []; loop.append(loop); display({'x/y': loop}, raw=True)")
    assert answer.content["ename"] == "ValueError"
    answer = worker.run("raise ValueError('\\udc80')")
    assert answer.content["ename"] == "ValueError"


# -- streams ----------------------------------------------------------------


def test_streams(worker):
    answer = worker.run("import sys; print('out'); print('err', file=sys.stderr)")
    assert answer.stdout == "out\n" and answer.stderr == "err\n"
    code = (
        "s = sys.stdout; s.isatty(), s.encoding, s.fileno(), s.writable(), s.readable(), "
        "sys.stderr.fileno(), s.write('abc'), s.flush(), s.closed"
    )
    assert worker.value(code) == "(False, 'UTF-8', 1, True, False, 2, 3, None, False)"
    assert worker.run("sys.stdout.writelines(['a', 'b'])").stdout == "ab"
    for bad in ("sys.stdout.write(b'x')", "sys.stdout.write(1)"):
        assert worker.run(bad).content["ename"] == "TypeError"
    worker.run("sys.stdout.close()")
    assert worker.run("print('still')").stdout == "still\n"


def test_fds(worker):
    worker.run(
        "import os, subprocess, sys\n"
        "os.write(1, b'raw\\n')\n"
        "subprocess.run(['echo', 'child'])\n"
        "subprocess.run(['echo', 'passed'], stdout=sys.stdout)\n"
        "sys.__stdout__.write('dunder\\n')"
    )
    assert worker.output(1) == "raw\nchild\npassed\ndunder\n"


def test_thread_prints_to_the_newest_cell(worker):
    code = (
        "import threading, time\n"
        "def late():\n    gate.wait()\n    print('from thread')\n"
        "gate = threading.Event()\n"
        "thread = threading.Thread(target=late); thread.start()"
    )
    assert worker.run(code).status == "ok"
    assert worker.run("gate.set(); thread.join()").stdout == "from thread\n"


def test_set_thread_parent(worker):
    first = worker.begin("shell = get_ipython(); parent = shell.get_parent()")
    worker.finish(first)
    worker.run("t = shell.set_thread_parent(parent)\nprint('x')\nshell.reset_thread_parent(t)")
    assert worker.answer(first).stdout == "x\n"


# -- display ----------------------------------------------------------------


def test_display_and_update(worker):
    answer = worker.run("h = display('a', display_id='d1'); h.update('b')")
    kinds = [kind for kind, *_ in answer.published]
    assert kinds == ["display_data", "update_display_data"]
    assert all(c["transient"] == {"display_id": "d1"} for _, c, *_ in answer.published)
    answer = worker.run("from IPython.display import HTML, clear_output; HTML('<b>')")
    assert answer.of("execute_result")[0]["data"]["text/html"] == "<b>"
    assert worker.run("clear_output(wait=True)").of("clear_output") == [{"wait": True}]
    png = "from IPython.display import Image; Image(data=b'\\x89PNG\\r\\n\\x1a\\n123')"
    assert isinstance(worker.run(png).of("execute_result")[0]["data"]["image/png"], str)


def test_display_hooks(worker):
    worker.run(
        "seen = []\n"
        "def hook(msg):\n    seen.append(msg['header']['msg_type'])\n"
        "pub = get_ipython().display_pub; pub.register_hook(hook)"
    )
    assert worker.run("display(1)").order == []
    assert worker.value("pub.unregister_hook(hook), pub.unregister_hook(hook)") == "(True, False)"
    assert worker.value("seen") == "['display_data']"
    assert worker.run("display(1)").order == ["display_data"]


@needs_matplotlib
def test_figures_come_before_the_reply(tmp_path):
    zygote = Zygote(tmp_path, "--preload=matplotlib.pyplot")
    try:
        for argv in ([], ["--matplotlib=inline"], ["--InteractiveShell.xmode=Plain"]):
            worker = zygote.spawn(argv)
            for code in (
                "import matplotlib.pyplot as plt; plt.plot([1, 2]);",
                "import asyncio; plt.plot([1, 2]); await asyncio.sleep(0)",
            ):
                answer = worker.run(code)
                shown = answer.of("display_data")
                assert answer.status == "ok" and len(shown) == 1, (argv, answer)
                assert "image/png" in shown[0]["data"]
            worker.close()
    finally:
        print(zygote.read_log())
        zygote.close()


# -- complete, inspect, is_complete ------------------------------------------


def test_complete(worker):
    worker.run("some_long_name = 1")
    answer = worker.ask("complete_request", {"code": "x = some_lo", "cursor_pos": 11}).content
    assert answer["matches"] == ["some_long_name"]
    assert (answer["cursor_start"], answer["cursor_end"]) == (4, 11)
    [entry] = answer["metadata"]["_jupyter_types_experimental"]
    assert entry["text"] == "some_long_name" and (entry["start"], entry["end"]) == (4, 11)
    code = "'\U0001f600'; some_lo"  # one code point, two UTF-16 units
    answer = worker.ask("complete_request", {"code": code, "cursor_pos": None}).content
    assert (answer["cursor_start"], answer["cursor_end"]) == (5, 12)
    for cursor in (-5, 999, "x"):
        answer = worker.ask("complete_request", {"code": "some_lo", "cursor_pos": cursor})
        assert answer.content["status"] == "ok"


def test_inspect(worker):
    worker.run("def g(a):\n    'the docstring'\n    return a")
    content = {"code": "g(1)", "cursor_pos": 1, "detail_level": 0}
    answer = worker.ask("inspect_request", content).content
    assert answer["found"] is True and "the docstring" in answer["data"]["text/plain"]
    content["detail_level"] = 1
    answer = worker.ask("inspect_request", content).content
    assert "return" in answer["data"]["text/plain"]
    answer = worker.ask("inspect_request", {"code": "nope_nope", "cursor_pos": 3}).content
    assert answer == {"status": "ok", "found": False, "data": {}, "metadata": {}}


@pytest.mark.parametrize(
    "code, status, indent",
    [
        ("1 + 1", "complete", None),
        ("for i in range(3):", "incomplete", "    "),
        ("def f():\n  x", "incomplete", "  "),
        ("print('''", "incomplete", ""),
        ("1 1", "invalid", None),
        ("%time", "complete", None),
    ],
)
def test_is_complete(worker, code, status, indent):
    answer = worker.ask("is_complete_request", {"code": code}).content
    assert answer["status"] == status and answer.get("indent") == indent


def test_handler_that_fails(worker):
    worker.run("get_ipython().Completer.completions = None")
    answer = worker.ask("complete_request", {"code": "a", "cursor_pos": 1}).content
    assert answer["status"] == "error" and answer["ename"] == "TypeError"
    assert worker.value("1") == "1"


# -- comms ------------------------------------------------------------------


@needs_comm
def test_comm_from_the_kernel(worker):
    answer = worker.run(
        "import comm\nc = comm.create_comm(target_name='t', data={'a': 1}, metadata={'m': 2},"
        " buffers=[b'buf', memoryview(b'view')], target_module='mod')\n"
        "got = []\nc.on_msg(lambda m: got.append(m)); print(c.comm_id)"
    )
    kind, content, topic, metadata, buffers = answer.published[0]
    assert kind == "comm_open" and content["target_name"] == "t" and content["data"] == {"a": 1}
    assert content["target_module"] == "mod" and metadata == {"m": 2}
    assert buffers == [b"buf", b"view"] and topic == f"comm-{content['comm_id']}".encode()
    comm_id = answer.stdout.strip()
    message = {"comm_id": comm_id, "data": {"x": 1}}
    assert worker.ask("comm_msg", message, buffers=[b"12"]).content["status"] == "ok"
    assert (
        worker.value(
            "m = got[0]; b = m['buffers'][0]; m['content']['data'], bytes(b), type(b).__name__"
        )
        == "({'x': 1}, b'12', 'memoryview')"
    )
    info = worker.ask("comm_info_request", {"target_name": "t"}).content
    assert info["comms"] == {comm_id: {"target_name": "t"}}
    assert worker.ask("comm_info_request", {"target_name": "u"}).content["comms"] == {}
    assert worker.run("c.send({'y': 1}); c.close()").order == ["comm_msg", "comm_close"]
    assert worker.ask("comm_info_request", {}).content["comms"] == {}


@needs_comm
def test_comm_from_the_client(worker):
    worker.run(
        "import comm, asyncio\nevents = []\n"
        "def running(): events.append(asyncio.get_running_loop().is_running())\n"
        "def opened(c, m):\n"
        "    c.on_msg(lambda m: (print('cb'), running()))\n"
        "    c.on_close(lambda m: events.append('closed'))\n    c.send({'hi': 1})\n"
        "get_ipython().kernel.comm_manager.register_target('mine', opened)"
    )
    answer = worker.ask("comm_open", {"comm_id": "c1", "target_name": "mine", "data": {}})
    assert answer.order == ["comm_msg"]
    assert worker.ask("comm_msg", {"comm_id": "c1", "data": {}}).stdout == "cb\n"
    worker.ask("comm_close", {"comm_id": "c1", "data": {}})
    assert worker.value("events") == "[True, 'closed']"


def test_comm_that_nobody_knows(worker):
    answer = worker.ask("comm_open", {"comm_id": "c1", "target_name": "nobody", "data": {}})
    assert [kind for kind, *_ in answer.published] == ["comm_close"]
    assert answer.of("comm_close")[0]["comm_id"] == "c1"
    for msg_type in ("comm_msg", "comm_close"):
        assert worker.ask(msg_type, {"comm_id": "c9", "data": {}}).content["status"] == "ok"
    assert worker.ask("comm_info_request", {}).content["comms"] == {}


@needs_comm
def test_comm_callback_that_fails(worker):
    worker.run("import comm; c = comm.create_comm(comm_id='c', target_name='t')")
    worker.run("c.on_msg(lambda m: 1 / 0)")
    answer = worker.ask("comm_msg", {"comm_id": "c", "data": {}})
    assert answer.content["status"] == "ok" and "ZeroDivisionError" in answer.stderr


# -- !cmd -------------------------------------------------------------------


def test_system(worker):
    answer = worker.run("!echo out; echo err >&2; exit 3")
    assert answer.status == "ok" and worker.value("_exit_code") == "3"
    assert worker.output(1) == "out\n" and worker.output(2) == "err\n"
    worker.run("name = 'x y'\n!echo {name} $name")
    assert worker.output(1).endswith("x y x y\n")
    assert worker.value("out = !echo one; echo two\nout") == "['one', 'two']"
    assert worker.run("!sleep 1 &").content["ename"] == "OSError"
    worker.run("!kill -9 $$")
    assert worker.value("_exit_code") == "-9"


def test_system_is_live(worker):
    request = worker.begin("!echo early; sleep 30")
    deadline = time.monotonic() + 10
    while "early" not in worker.output(1) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert worker.output(1) == "early\n"
    worker.interrupt()
    assert worker.finish(request).content["ename"] == "KeyboardInterrupt"
    assert worker.value("_exit_code") == "-2"


# -- configuration ------------------------------------------------------------


def test_arguments(spawn):
    worker = spawn(
        [
            "--HistoryManager.hist_file=:memory:",
            "--InteractiveShell.ast_node_interactivity=all",
            "--IPKernelApp.exec_lines=early = 1",
            "--IPKernelApp.exec_lines=late = 2",
            "-f",
            "/none",
            "--ip=127.0.0.1",
            "--Completer.use_jedi=False",
            "--colors=nocolor",
            "--no-such-flag",
            "stray",
        ]
    )
    answer = worker.run("1\n2")
    assert len(answer.of("execute_result")) == 2
    assert worker.value("early, late, get_ipython().Completer.use_jedi") == "(1, 2, False)"
    warnings = worker.answer(0).stderr
    assert "--no-such-flag" in warnings and "stray" in warnings and "127" not in warnings
    assert "\x1b" not in "".join(worker.run("1/0").content["traceback"])


def test_flags_and_cwd(spawn):
    worker = spawn(["--no-pprint", "--InteractiveShellApp.ignore_cwd=True"])
    code = (
        "import sys; formatters = get_ipython().display_formatter.formatters\n"
        "'' in sys.path, formatters['text/plain'].pprint"
    )
    assert worker.value(code) == "(False, False)"


def test_bad_configuration_is_reported(spawn):
    worker = spawn(["--InteractiveShell.ast_node_interactivity=nonsense"])
    assert worker.value("1") == "1"
    assert "configuration is not used" in worker.answer(0).stderr


_POLICY = """
import asyncio
class Policy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self):
        loop = super().new_event_loop()
        loop.mine = True
        return loop
asyncio.set_event_loop_policy(Policy())
"""


def test_profile(spawn, tmp_path):
    profile = tmp_path / "profile_default"
    (profile / "startup").mkdir(parents=True)
    (profile / "ipython_config.py").write_text(
        "c.InteractiveShell.xmode = 'Minimal'\nc.InteractiveShellApp.exec_lines = ['line = 1']"
    )
    (profile / "ipython_kernel_config.py").write_text("c.IPKernelApp.extensions = ['autoreload']")
    (profile / "startup" / "10-first.py").write_text("first = 10\nprint('hello from startup')")
    (profile / "startup" / "15-policy.py").write_text(_POLICY)
    (profile / "startup" / "20-second.ipy").write_text("%time second = first + 10")
    worker = spawn(environ={"IPYTHONDIR": str(tmp_path)})
    assert worker.value("first, second, line") == "(10, 20, 1)"
    assert "hello from startup" in worker.answer(0).stdout
    assert worker.value("In[1]").startswith("'first, second")
    assert worker.run("1/0").content["traceback"] == ["ZeroDivisionError: division by zero"] or (
        len(worker.run("1/0").content["traceback"]) == 1
    )
    assert worker.run("%autoreload 0").status == "ok"
    assert worker.value("asyncio.get_running_loop().mine") == "True"


def test_startup_that_shows_and_fails(spawn, tmp_path):
    """Nothing but text may be sent before HELLO."""
    (tmp_path / "profile_default/startup").mkdir(parents=True)
    (tmp_path / "profile_default/startup/a.py").write_text(
        "from IPython.display import display\n" "display(5)\n1 / 0\n"
    )
    worker = spawn(environ={"IPYTHONDIR": str(tmp_path)})
    assert worker.value("1") == "1"
    assert "ZeroDivisionError" in worker.answer(0).stderr
    assert worker.answer(0).of("display_data")[0]["data"] == {"text/plain": "5"}


def test_deep_json(worker):
    code = (
        "import sys; sys.setrecursionlimit(20000)\n"
        "def nest(n):\n    v = []\n    for _ in range(n): v = [v, '[[{\\\\']\n    return v\n"
        "display({'a/b': nest(%d)}, raw=True)"
    )
    assert len(worker.run(code % 900).of("display_data")) == 1
    assert worker.run(code % 1100).content["ename"] in ("ValueError", "RecursionError")
    wide = "display({'a/b': [['[', {'a': ']'}]] * 2000}, raw=True)"
    assert len(worker.run(wide).of("display_data")) == 1


def test_broken_profile(spawn, tmp_path):
    profile = tmp_path / "profile_default"
    (profile / "startup").mkdir(parents=True)
    (profile / "ipython_config.py").write_text("1 / 0")
    (profile / "startup" / "a.py").write_text("raise SystemExit(1)")
    worker = spawn(environ={"IPYTHONDIR": str(tmp_path)})
    assert worker.value("1") == "1" and "ZeroDivisionError" in worker.answer(0).stderr


def test_session_name(spawn):
    worker = spawn(environ={"JPY_SESSION_NAME": "/a/b.ipynb"})
    assert worker.value("__session__") == "'/a/b.ipynb'"


def test_json_writer_is_strict():
    sys.modules.setdefault("_ringfence", fake)
    sys.path.append(os.path.join(os.path.dirname(fake.__file__), "..", "..", "kernel", "python"))
    from ringfence_shell import wire

    value = {"a": float("inf"), 1: "\ud83d", "b": {1, 2}, "c": (None, True), "d": b"\0"}
    assert strict_json(wire.dumps(value)) == {
        "a": "inf",
        "1": "\ufffd",
        "b": [1, 2],
        "c": [None, True],
        "d": "AA==",
    }
    assert json.loads(wire.dumps({"x": 10**30}))["x"] == 10**30
