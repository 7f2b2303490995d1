"""execute_request and what belongs to it: order, counters, abort, displays, errors, magics."""

import json
import time

import pytest

from helpers import is_ringfence, plain, wait_until
from rawclient import RawClient


def test_order_of_messages(kernel):
    cell = kernel.run("print('a'); from IPython.display import display; display('b'); 42")
    assert cell.types == ["busy", "execute_input", "stream", "display_data", "execute_result",
                          "idle"]
    assert cell.stdout == "a\n" and cell.result == "42"
    assert cell.status == "ok" and cell.content["user_expressions"] == {}
    assert cell.content["payload"] == []
    assert cell.of("execute_input")[0]["content"]["execution_count"] == cell.count
    assert cell.of("execute_result")[0]["content"]["execution_count"] == cell.count


def test_headers(kernel):
    cell = kernel.run("1")
    everything = [*cell.messages, cell.reply]
    assert len({each["header"]["session"] for each in everything}) == 1
    assert len({each["header"]["msg_id"] for each in everything}) == len(everything)
    for each in everything:
        assert each["header"]["version"].startswith("5.")
        assert each["header"]["username"] is not None
        assert each["header"]["date"].tzinfo is not None
        assert each["parent_header"]["msg_id"] == cell.msg_id
        assert each["parent_header"]["msg_type"] == "execute_request"


def test_state_stays(kernel):
    kernel.run("kept = 40")
    assert kernel.run("kept + 2").result == "42"


def test_stderr_and_stdout_are_separate(kernel):
    cell = kernel.run("import sys; print('out'); print('err', file=sys.stderr)")
    assert (cell.stdout, cell.stderr) == ("out\n", "err\n")


def test_silent(kernel):
    before = kernel.run("1").count
    cell = kernel.run("print('heard'); hidden = 5; hidden", silent=True)
    assert cell.status == "ok" and cell.stdout == "heard\n"
    assert not cell.of("execute_input", "execute_result")
    assert kernel.run("hidden").count == before + 1


def test_silent_error_aborts_nothing(kernel):
    first = kernel.execute("import time; time.sleep(0.3); 1/0", silent=True)
    second = kernel.execute("'still here'")
    assert first.wait().status == "error"
    assert second.wait().result == "'still here'"


def test_store_history(kernel):
    before = kernel.run("1").count
    cell = kernel.run("'not stored'", store_history=False)
    assert cell.status == "ok" and cell.result == "'not stored'"
    assert kernel.run("1").count == before + 1
    history = kernel.client.request("shell", "history_request", {
        "hist_access_type": "tail", "n": 10, "raw": True, "output": False})["history"]
    assert all("not stored" not in each[2] for each in history)


def test_history(kernel):
    for code in ("'alpha one'", "'alpha two'", "beta = 3"):
        count = kernel.run(code).count

    def ask(**content):
        content = {"raw": True, "output": False, **content}
        return kernel.client.request("shell", "history_request", content)["history"]

    assert [each[2] for each in ask(hist_access_type="tail", n=2)] == ["'alpha two'", "beta = 3"]
    assert ask(hist_access_type="tail", n=1)[0][1] == count
    found = ask(hist_access_type="search", pattern="'alpha*", n=10)
    assert [each[2] for each in found] == ["'alpha one'", "'alpha two'"]
    assert len(ask(hist_access_type="search", pattern="'alpha*", n=1)) == 1
    with_output = ask(hist_access_type="tail", n=2, output=True)
    assert with_output[0][2][0] == "'alpha two'"
    assert with_output[0][2][1] == ("'alpha two'" if is_ringfence(kernel.name) else None)
    assert with_output[1][2][0] == "beta = 3" and not with_output[1][2][1]
    in_range = ask(hist_access_type="range", session=0, start=count - 1, stop=count + 1)
    assert [each[2] for each in in_range] == ["'alpha two'", "beta = 3"]


def test_stop_on_error_aborts_the_queue(kernel):
    first = kernel.execute("import time; time.sleep(0.5); 1/0")
    queued = [kernel.execute("print('never')") for _ in range(3)]
    info = kernel.client.kc.session.msg("kernel_info_request", {})
    kernel.client.kc.shell_channel.send(info)
    assert first.wait().status == "error"
    for cell in queued:
        assert cell.wait().status == "aborted"
        assert cell.stdout == "" and cell.types[0] == "busy" and cell.types[-1] == "idle"
        assert not cell.of("execute_input")
    kernel.client.pump_until(lambda: info["header"]["msg_id"] in kernel.client.replies, 10)
    assert kernel.client.replies[info["header"]["msg_id"]]["content"]["status"] == "ok"
    assert kernel.run("1+1").result == "2"


def test_without_stop_on_error_the_queue_runs(kernel):
    first = kernel.execute("import time; time.sleep(0.3); 1/0", stop_on_error=False)
    second = kernel.execute("'ran'")
    assert first.wait().status == "error"
    assert second.wait().result == "'ran'"


def test_user_expressions(kernel):
    cell = kernel.run("u = 6", user_expressions={"good": "u * 7", "bad": "nameless"})
    good, bad = (cell.content["user_expressions"][each] for each in ("good", "bad"))
    assert good["status"] == "ok" and good["data"]["text/plain"] == "42"
    assert good["metadata"] == {}
    assert bad["status"] == "error" and bad["ename"] == "NameError"
    failed = kernel.run("1/0", user_expressions={"good": "1"})
    assert failed.content.get("user_expressions", {}) == {}


def test_payload_page(kernel):
    payload = kernel.run("len?").content["payload"]
    assert [each["source"] for each in payload] == ["page"]
    assert "text/plain" in payload[0]["data"] and payload[0]["start"] == 0


def test_payload_set_next_input(kernel):
    code = "get_ipython().set_next_input('first'); get_ipython().set_next_input('second')"
    payload = kernel.run(code).content["payload"]
    assert [(each["source"], each["text"], each["replace"]) for each in payload] == \
        [("set_next_input", "second", False)]


def test_payload_of_a_failing_cell(kernel):
    cell = kernel.run("get_ipython().set_next_input('x'); 1/0")
    assert cell.status == "error"
    assert [each["source"] for each in cell.content["payload"]] == ["set_next_input"]


def test_payload_does_not_stay(kernel):
    kernel.run("get_ipython().set_next_input('x')")
    assert kernel.run("1").content["payload"] == []


def test_exit_asks_the_client(fresh):
    cell = fresh.run("exit")
    assert cell.status == "ok" and cell.types[-1] == "idle"
    assert [each["source"] for each in cell.content["payload"]] == ["ask_exit"]
    assert cell.content["payload"][0]["keepkernel"] is False


@pytest.mark.ringfence_only("ipykernel has gone within a second")
def test_exit_leaves_the_client_its_time(fresh):
    """jupyter console looks whether the kernel lives before it reads the reply to `exit`."""
    fresh.run("exit")
    assert fresh.km.is_alive()
    assert fresh.client.request("control", "shutdown_request", {"restart": False}) == \
        {"status": "ok", "restart": False}
    wait_until(lambda: not fresh.km.is_alive(), 10)


@pytest.mark.ringfence_only("ipykernel ends when it is raised outside of a callback")
@pytest.mark.parametrize("error", ["ZeroDivisionError", "TimeoutError", "EOFError"])
def test_a_signal_handler_that_raises_between_cells(fresh, error):
    pid = fresh.run("import os, signal, time\nx, raised = 41, 0\nos.getpid()").result
    assert fresh.run("def raising(*args):\n    global raised\n    raised += 1\n"
                     "    if raised == 20: signal.setitimer(signal.ITIMER_REAL, 0)\n"
                     f"    raise {error}\n"
                     "signal.signal(signal.SIGALRM, raising)\n"
                     "signal.setitimer(signal.ITIMER_REAL, 2, 0.02);").status == "ok"
    time.sleep(6)
    assert fresh.run("os.getpid(), x, raised").result == f"({pid}, 41, 20)"


def test_display_id_update(kernel):
    cell = kernel.run("from IPython.display import display\n"
                      "h = display('one', display_id='fixed'); h.update('two')")
    shown, updated = cell.of("display_data", "update_display_data")
    assert shown["content"]["transient"] == {"display_id": "fixed"}
    assert (updated["msg_type"], updated["content"]["transient"]) == \
        ("update_display_data", {"display_id": "fixed"})
    assert updated["content"]["data"]["text/plain"] == "'two'"
    later = kernel.run("h.update('three')")
    assert later.of("update_display_data")[0]["content"]["transient"] == {"display_id": "fixed"}


def test_display_metadata(kernel):
    cell = kernel.run("from IPython.display import display\n"
                      "display({'text/plain': 'p', 'image/png': 'cG5n'}, raw=True,"
                      " metadata={'image/png': {'width': 3}})")
    content = cell.of("display_data")[0]["content"]
    assert content["data"] == {"text/plain": "p", "image/png": "cG5n"}
    assert content["metadata"] == {"image/png": {"width": 3}}


def test_bytes_of_an_image_are_base64(kernel):
    cell = kernel.run("from IPython.display import Image, display\n"
                      "display(Image(b'\\x89PNG\\r\\n\\x1a\\n' + b'\\0' * 30, format='png'))")
    assert cell.of("display_data")[0]["content"]["data"]["image/png"].startswith("iVBORw0KGgo")


@pytest.mark.parametrize("wait", [True, False])
def test_clear_output(kernel, wait):
    cell = kernel.run(f"from IPython.display import clear_output\n"
                      f"print('x'); clear_output(wait={wait}); print('y')")
    assert cell.types == ["busy", "execute_input", "stream", "clear_output", "stream", "idle"]
    assert cell.of("clear_output")[0]["content"] == {"wait": wait}


def test_result_variables(kernel):
    kernel.run("6 * 7")
    assert kernel.run("_ + 1").result == "43"
    count = kernel.run("'named'").count
    assert kernel.run(f"_{count}, Out[{count}], In[{count}]").result == \
        "('named', 'named', \"'named'\")"


def test_semicolon_hides_the_result(kernel):
    assert not kernel.run("5;").of("execute_result")


def test_empty_and_comment_cells(kernel):
    for code in ("", "   \n", "# nothing"):
        cell = kernel.run(code)
        assert cell.status == "ok" and cell.types[0] == "busy" and cell.types[-1] == "idle"


def test_top_level_await(kernel):
    cell = kernel.run("import asyncio\nawait asyncio.sleep(0.01)\n'awaited'")
    assert cell.result == "'awaited'"
    assert kernel.run("asyncio.get_event_loop().is_running(); await asyncio.sleep(0, 'v')"
                      ).result == "'v'"


def test_tasks_go_on_between_cells(kernel):
    kernel.run("import asyncio\nbox = []\n"
               "async def later():\n    await asyncio.sleep(0.2)\n    box.append(1)\n"
               "task = asyncio.ensure_future(later())")
    time.sleep(0.8)
    assert kernel.run("box").result == "[1]"


def test_await_that_fails(kernel):
    cell = kernel.run("import asyncio\nawait asyncio.sleep(0)\n1/0")
    assert cell.status == "error" and cell.content["ename"] == "ZeroDivisionError"


def test_traceback(kernel):
    cell = kernel.run("def inner():\n    return 1 / 0\n\ninner()")
    message = cell.of("error")[0]["content"]
    for content in (cell.content, message):
        assert content["ename"] == "ZeroDivisionError"
        assert content["evalue"] == "division by zero"
        assert isinstance(content["traceback"], list) and content["traceback"]
    text = "\n".join(message["traceback"])
    assert "inner" in text and "ZeroDivisionError" in text and "\x1b[" in text
    assert cell.types == ["busy", "execute_input", "error", "idle"]
    assert "execution_count" in cell.content


def test_traceback_through_cells(kernel):
    kernel.run("def from_an_earlier_cell():\n    raise KeyError('deep')")
    cell = kernel.run("from_an_earlier_cell()")
    assert cell.content["ename"] == "KeyError"
    assert "raise KeyError" in plain(cell.error)


def test_syntax_error(kernel):
    cell = kernel.run("x = = 1")
    assert cell.content["ename"] == "SyntaxError" and len(cell.of("error")) == 1
    assert kernel.run("1").status == "ok"


def test_system_exit(fresh):
    cell = fresh.run("import sys; kept = 1; sys.exit(3)")
    assert cell.content["ename"] == "SystemExit" if cell.status == "error" else cell.status == "ok"
    assert fresh.run("kept").result == "1"


def test_keyboard_interrupt_raised_by_the_cell(kernel):
    assert kernel.run("raise KeyboardInterrupt('mine')").content["ename"] == "KeyboardInterrupt"
    assert kernel.run("1").status == "ok"


def test_exception_that_cannot_be_shown(kernel):
    cell = kernel.run("class Bad(Exception):\n    def __str__(self): raise ValueError('no')\n"
                      "raise Bad()")
    assert cell.status == "error" and cell.content["ename"] in ("Bad", "ValueError")
    assert kernel.run("1").status == "ok"


def test_repr_that_raises(kernel):
    cell = kernel.run("class Bad:\n    def __repr__(self): raise ValueError('no repr')\nBad()")
    assert "no repr" in cell.stderr + cell.error + json.dumps(
        [each["content"] for each in cell.of("error")])
    assert kernel.run("1").status == "ok"


def test_recursion_error(kernel):
    cell = kernel.run("def f(): return f()\nf()")
    assert cell.content["ename"] == "RecursionError"
    assert kernel.run("1").status == "ok"


# Magics

def test_timeit(kernel):
    assert "per loop" in kernel.run("%timeit -n 1 -r 1 1+1").stdout


def test_time_magic(kernel):
    cell = kernel.run("%%time\nmagic_x = 5")
    assert "Wall time" in cell.stdout and kernel.run("magic_x").result == "5"


def test_run_magic(kernel):
    kernel.run("with open('script.py', 'w') as f: f.write('print(\"ran\"); from_script = 9')")
    assert "ran" in kernel.run("%run script.py").stdout
    assert kernel.run("from_script").result == "9"


def test_bash_magic(kernel):
    cell = kernel.run("%%bash\necho one\necho two >&2")
    assert cell.stdout == "one\n" and cell.stderr == "two\n"


def test_bash_magic_that_fails(kernel):
    assert kernel.run("%%bash\nexit 3").content["ename"] == "CalledProcessError"


def test_who_magic(fresh):
    fresh.run("only_name = 1")
    assert fresh.run("%who").stdout.split() == ["only_name"]


def test_shell_escape(kernel):
    assert "from shell" in kernel.run("!echo from shell").stdout
    assert kernel.run("lines = !echo a; echo b\nlines").result.startswith("['a', 'b']")
    assert kernel.run("!exit 4").status == "ok"
    assert kernel.run("_exit_code").result == "4"


def test_capture_magic(kernel):
    cell = kernel.run("%%capture got\nprint('kept away')")
    assert not cell.of("stream") and kernel.run("got.stdout").result == "'kept away\\n'"


def test_unknown_magic(kernel):
    cell = kernel.run("%no_such_magic")
    assert "no_such_magic" in cell.stderr + cell.error
    assert kernel.run("1").status == "ok"


def test_cd_and_pwd(fresh):
    fresh.run("import os; os.mkdir('below')")
    fresh.run("%cd -q below")
    assert fresh.run("os.path.basename(os.getcwd())").result == "'below'"


def test_env_and_cwd(fresh):
    assert fresh.value("__import__('os').getcwd()") == fresh.folder


def test_import_from_the_notebooks_folder(fresh):
    with open(f"{fresh.folder}/beside.py", "w", encoding="utf-8") as file:
        file.write("VALUE = 'beside'\n")
    assert fresh.run("import beside; beside.VALUE").result == "'beside'"


# Shell requests other than execute

def test_complete(kernel):
    kernel.run("some_long_name = {'a': 1}")
    content = kernel.client.request("shell", "complete_request",
                                    {"code": "x = some_lo", "cursor_pos": 11})
    assert content["status"] == "ok" and content["matches"] == ["some_long_name"]
    assert (content["cursor_start"], content["cursor_end"]) == (4, 11)


def test_complete_counts_code_points(kernel):
    kernel.run("some_long_name = 1")
    code = "'\U0001F600'; some_lo"
    content = kernel.client.request("shell", "complete_request",
                                    {"code": code, "cursor_pos": len(code)})
    assert "some_long_name" in content["matches"]
    assert (content["cursor_start"], content["cursor_end"]) == (5, len(code))


def test_complete_gives_types(kernel):
    content = kernel.client.request("shell", "complete_request",
                                    {"code": "isinst", "cursor_pos": 6})
    types = content["metadata"]["_jupyter_types_experimental"]
    assert {"start", "end", "text", "type"} <= set(types[0])


def test_inspect(kernel):
    kernel.run("def documented(a, b=2):\n    'Says what it does.'")
    content = kernel.client.request("shell", "inspect_request", {
        "code": "documented(", "cursor_pos": 11, "detail_level": 0})
    assert content["found"] and "Says what it does." in content["data"]["text/plain"]


def test_is_complete_indent(kernel):
    content = kernel.client.request("shell", "is_complete_request", {"code": "for i in x:"})
    assert content == {"status": "incomplete", "indent": "    "}


def test_kernel_info(kernel):
    content = kernel.client.request("shell", "kernel_info_request")
    assert content["status"] == "ok" and content["protocol_version"].startswith("5.")
    language = content["language_info"]
    assert language["name"] == "python" and language["file_extension"] == ".py"
    assert language["version"].startswith("3.") and language["mimetype"] == "text/x-python"
    assert {"pygments_lexer", "codemirror_mode", "nbconvert_exporter"} <= set(language)
    assert content["implementation"] and content["implementation_version"]
    assert "Python" in content["banner"] and isinstance(content["help_links"], list)
    control = kernel.client.request("control", "kernel_info_request")
    assert control["language_info"] == language


@pytest.mark.ringfence_only("ipykernel 7 says 5.3 in kernel_info")
def test_protocol_version(kernel):
    content = kernel.client.request("shell", "kernel_info_request")
    assert content["protocol_version"] == "5.5"


def test_comm_info(kernel):
    content = kernel.client.request("shell", "comm_info_request")
    assert content == {"status": "ok", "comms": {}}


def test_connect_request(kernel):
    content = kernel.client.request("shell", "connect_request")
    ports = {name: value for name, value in kernel.connection.items() if name.endswith("_port")}
    assert {name: content[name] for name in ports} == ports


# Awkward text

def test_unicode(kernel):
    text = "é中\U0001F600 \u202e \u0000 \x7f \ufeff"
    assert kernel.run(f"print({text!r})").stdout == text + "\n"
    assert kernel.run(f"len({text!r})").result == str(len(text))
    assert kernel.run("ключ = 'значение'; ключ").result == "'значение'"


def test_utf8_split_between_writes(kernel):
    cell = kernel.run("import sys\nfor part in 'a\U0001F600b': sys.stdout.write(part)")
    assert cell.stdout == "a\U0001F600b"


def test_lone_surrogate_in_the_output(kernel):
    cell = kernel.run("print('before\\ud83dafter'); 'x\\udc00y'")
    assert cell.types[-1] == "idle" and cell.reply is not None
    assert kernel.run("1+1").result == "2"


@pytest.mark.ringfence_only("ipykernel 7.4 never answers it")
def test_lone_surrogate_in_the_code(kernel):
    """Browsers send an escape for half of a pair; the kernel must live and answer."""
    with RawClient(kernel.connection) as raw:
        raw.ready()
        content = {"code": "text = '\ud83d'; len(text)", "silent": False, "store_history": True,
                   "user_expressions": {}, "allow_stdin": False, "stop_on_error": True}
        msg_id = raw.send("shell", "execute_request", content)
        reply = raw.reply("shell", msg_id)
        assert reply["content"]["status"] in ("ok", "error")
        raw.until_idle(msg_id)
    assert kernel.run("1+1").result == "2"


def test_nan_in_the_metadata_of_a_request(kernel):
    with RawClient(kernel.connection) as raw:
        raw.ready()
        msg_id = raw.send("shell", "execute_request", {
            "code": "6*7", "silent": False, "store_history": True, "user_expressions": {},
            "allow_stdin": False, "stop_on_error": True}, metadata=b'{"n": NaN, "i": 1e999}')
        assert raw.reply("shell", msg_id)["content"]["status"] == "ok"
        assert [each["content"]["data"]["text/plain"] for each in raw.until_idle(msg_id)
                if each["msg_type"] == "execute_result"] == ["42"]


def test_nan_in_the_metadata_of_a_display(kernel):
    cell = kernel.run("from IPython.display import display\n"
                      "display({'text/plain': 'x'}, raw=True, metadata={'n': float('nan')})")
    assert cell.types[-1] == "idle"
    for each in cell.of("display_data"):
        json.dumps(each["content"], allow_nan=False)
    assert kernel.run("1+1").result == "2"


# Size

@pytest.mark.timeout(120)
def test_ten_megabytes_of_text(kernel):
    cell = kernel.run("print('x' * 10_000_000)", timeout=60)
    assert len(cell.stdout) == 10_000_001 and set(cell.stdout) == {"x", "\n"}


@pytest.mark.timeout(120)
def test_ten_megabytes_in_one_display(kernel):
    cell = kernel.run("from IPython.display import display\n"
                      "display({'text/html': 'y' * 10_000_000}, raw=True)", timeout=60)
    assert len(cell.of("display_data")[0]["content"]["data"]["text/html"]) == 10_000_000


@pytest.mark.timeout(120)
def test_ten_megabytes_of_code(kernel):
    code = "long_text = '" + "z" * 10_000_000 + "'\nlen(long_text)"
    assert kernel.run(code, timeout=60).result == "10000000"


def test_a_thousand_cells_at_once(kernel):
    cells = [kernel.execute(f"{number}") for number in range(1000)]
    assert [cell.wait(60).result for cell in cells] == [str(number) for number in range(1000)]
    counts = [cell.count for cell in cells]
    assert counts == list(range(counts[0], counts[0] + 1000))


# Restart

def test_restart(fresh):
    """While a cell runs; a second client stays connected, too."""
    other = fresh.new_client()
    fresh.run("gone = 1")
    fresh.execute("print('on', flush=True)\nwhile True: pass").wait_for(lambda cell: cell.stdout)
    fresh.restart()
    for count, client in enumerate((fresh.client, other), 1):
        cell = client.run("gone")
        assert cell.content["ename"] == "NameError" and cell.count == count
