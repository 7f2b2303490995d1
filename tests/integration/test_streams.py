"""stdout and stderr: every way to write, in program order, nothing lost or doubled."""

import time

import pytest

MIXER = """
import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None)
stream, fd = (sys.stdout, 1) if {name!r} == 'stdout' else (sys.stderr, 2)
c_stream = ctypes.c_void_p.in_dll(libc, {name!r})

def by_print(n):
    print(f'{{n}} print', file=stream)

def by_write(n):
    os.write(fd, b'%d write\\n' % n)

def by_printf(n):
    libc.fprintf(c_stream, b'%d printf\\n', ctypes.c_int(n))
    libc.fflush(c_stream)

def by_child(n):
    subprocess.run(['/bin/sh', '-c', f'echo {{n}} child >&{{fd}}'], check=True)

ways = [by_print, by_write, by_printf]
for n in range({steps}):
    (by_child if n % 50 == 7 else ways[n * 7 % 3])(n)
"""


def expected(steps):
    ways = ["print", "write", "printf"]
    return [f"{n} {'child' if n % 50 == 7 else ways[n * 7 % 3]}" for n in range(steps)]


@pytest.mark.ringfence_only("ipykernel has no order between sys.stdout and fd 1")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_mixed_writers_keep_program_order(kernel, name):
    cell = kernel.run(MIXER.format(name=name, steps=10_000), timeout=150)
    assert cell.status == "ok", cell.error
    assert cell.text(name).splitlines() == expected(10_000)
    assert cell.text("stderr" if name == "stdout" else "stdout") == ""


@pytest.mark.timeout(120)
def test_mixed_writers_lose_nothing(kernel):
    """The weaker promise, which ipykernel gives too: each line once, in any order."""
    cell = kernel.run(MIXER.format(name="stdout", steps=600), timeout=60)
    cell.wait_for(lambda cell: len(cell.stdout.splitlines()) >= 600, 30)
    assert sorted(cell.stdout.splitlines()) == sorted(expected(600))


@pytest.mark.timeout(120)
def test_a_hundred_thousand_lines(kernel):
    cell = kernel.run("for n in range(100_000): print('line', n)", timeout=90)
    assert cell.stdout == "".join(f"line {n}\n" for n in range(100_000))


@pytest.mark.timeout(120)
def test_many_flushed_lines(kernel):
    """Each flush may become one message; none may be dropped."""
    cell = kernel.run("import sys\nfor n in range(3000): print(n, flush=True)", timeout=90)
    assert cell.stdout.split() == [str(n) for n in range(3000)]


def end(kernel, cell):
    """Interrupts until the cell is over: one press can end its command and no more."""
    for _ in range(20):
        kernel.km.interrupt_kernel()
        try:
            return cell.wait(1)
        except TimeoutError:
            continue
    raise AssertionError(cell.describe())


def test_partial_line_appears_while_the_cell_sleeps(kernel):
    cell = kernel.execute("import time\nprint('partial', end='')\ntime.sleep(1000)")
    cell.wait_for(lambda cell: cell.stdout == "partial", 10)
    assert cell.reply is None
    end(kernel, cell)


@pytest.mark.parametrize("code", [
    "import os; os.write(1, b'partial')",
    "import subprocess; subprocess.run(['printf', 'partial'])",
    "!printf partial",
], ids=["write", "child", "escape"])
def test_partial_line_of_a_descriptor_appears(kernel, code):
    cell = kernel.execute(code + "\nimport time; time.sleep(1000)")
    cell.wait_for(lambda cell: cell.stdout == "partial", 10)
    assert cell.reply is None
    end(kernel, cell)


def test_live_output_of_a_shell_command(kernel):
    cell = kernel.execute("!echo first; sleep 1000")
    cell.wait_for(lambda cell: "first" in cell.stdout, 10)
    assert cell.reply is None
    end(kernel, cell)


def test_order_between_stream_and_display(kernel):
    cell = kernel.run("from IPython.display import display\n"
                      "for n in range(50): print('s', n); display(n)")
    seen = []
    for each in cell.of("stream", "display_data"):
        content = each["content"]
        seen += content["text"].split("\n")[:-1] if each["msg_type"] == "stream" \
            else [content["data"]["text/plain"]]
    assert seen == [text for n in range(50) for text in (f"s {n}", str(n))]


@pytest.mark.ringfence_only("ipykernel has no order between fd 1 and display_data")
def test_order_between_descriptor_and_display(kernel):
    cell = kernel.run("import os\nfrom IPython.display import display\n"
                      "for n in range(50): os.write(1, b'%d\\n' % n); display(n)")
    assert cell.types == ["busy", "execute_input", *["stream", "display_data"] * 50, "idle"]


def test_output_comes_before_the_error_and_the_reply(kernel):
    cell = kernel.run("print('first', end=''); 1/0")
    assert cell.types == ["busy", "execute_input", "stream", "error", "idle"]


@pytest.mark.ringfence_only("ipykernel may bring it after idle")
def test_descriptor_output_comes_before_idle(kernel):
    for n in range(20):
        cell = kernel.run(f"import os; os.write(1, b'{n}');")
        assert cell.stdout == str(n) and cell.types[-1] == "idle"


def test_threads(kernel):
    cell = kernel.run("import threading\n"
                      "def work(n):\n    for k in range(200): print(f'{n}:{k}\\n', end='')\n"
                      "threads = [threading.Thread(target=work, args=(n,)) for n in range(5)]\n"
                      "for t in threads: t.start()\nfor t in threads: t.join()")
    lines = cell.stdout.splitlines()
    assert len(lines) == 1000
    for n in range(5):
        assert [each for each in lines if each.startswith(f"{n}:")] == \
            [f"{n}:{k}" for k in range(200)]


def test_thread_that_outlives_its_cell(kernel):
    """Its output comes after idle and belongs to that cell or, as in ipykernel, to a later one."""
    kernel.run("import threading, time\ngo_on = threading.Event()\n"
               "def late(): go_on.wait(); print('late words')\n"
               "t = threading.Thread(target=late); t.start()")
    kernel.run("go_on.set(); t.join()")
    kernel.client.quiet(0.5)
    text = "".join(each["content"]["text"] for each in kernel.client.order
                   if each["msg_type"] == "stream")
    assert text.count("late words\n") == 1


def test_forked_child_prints(kernel):
    cell = kernel.run("import os, sys\nprint('parent before', flush=True)\npid = os.fork()\n"
                      "if pid == 0:\n    print('child', flush=True); os._exit(0)\n"
                      "os.waitpid(pid, 0)\nprint('parent after')")
    cell.wait_for(lambda cell: "child" in cell.stdout, 10)
    assert sorted(cell.stdout.splitlines()) == ["child", "parent after", "parent before"]


def test_multiprocessing_prints(kernel):
    cell = kernel.run("import multiprocessing as mp\n"
                      "def work(n): print(f'from {n}\\n', end='', flush=True)\n"
                      "ctx = mp.get_context('fork')\n"
                      "ps = [ctx.Process(target=work, args=(n,)) for n in range(4)]\n"
                      "for p in ps: p.start()\nfor p in ps: p.join()")
    cell.wait_for(lambda cell: len(cell.stdout.splitlines()) == 4, 10)
    assert sorted(cell.stdout.splitlines()) == [f"from {n}" for n in range(4)]


def test_buffered_text_is_not_doubled_by_a_fork(kernel):
    cell = kernel.run("import os\nprint('once', end='')\npid = os.fork()\n"
                      "if pid == 0: os._exit(0)\nos.waitpid(pid, 0);")
    kernel.client.quiet()
    assert cell.stdout == "once"


def test_stream_object(kernel):
    cell = kernel.run("import sys, io\n"
                      "print(isinstance(sys.stdout, io.TextIOBase), sys.stdout.isatty(),"
                      " sys.stdout.encoding.lower(), sys.stdout.write('abc\\n'),"
                      " sys.stdout.writable(), sys.stdout.closed)\n"
                      "sys.stdout.writelines(['x', 'y', '\\n']); sys.stdout.flush()")
    assert cell.stdout == "abc\nTrue False utf-8 4 True False\nxy\n"


def test_write_of_a_wrong_type_is_a_type_error(kernel):
    assert kernel.run("import sys; sys.stdout.write(b'bytes')").content["ename"] == "TypeError"
    assert kernel.run("print('ok')").stdout == "ok\n"


def test_redirected_output_stays_away(kernel):
    cell = kernel.run("import contextlib, io\n"
                      "with contextlib.redirect_stdout(io.StringIO()) as kept: print('kept')\n"
                      "kept.getvalue()")
    assert cell.stdout == "" and cell.result == "'kept\\n'"


def test_bytes_that_are_not_utf8(kernel):
    cell = kernel.run("import os; os.write(1, b'a\\xff\\xfeb\\n');")
    cell.wait_for(lambda cell: "b\n" in cell.stdout, 10)
    assert cell.stdout.startswith("a") and kernel.run("1").status == "ok"


def test_child_that_floods_the_pipe(kernel):
    cell = kernel.run("import subprocess; subprocess.run(['sh', '-c', 'yes | head -c 5000000']);")
    cell.wait_for(lambda cell: len(cell.stdout) >= 5_000_000, 30)
    assert cell.stdout == "y\n" * 2_500_000


def test_background_child_may_write_later(kernel):
    cell = kernel.run("import subprocess; p = subprocess.Popen(['sh', '-c', "
                      "'sleep 0.5; echo late child'])")
    assert "late child" not in cell.stdout
    time.sleep(0.8)
    kernel.run("p.wait()")
    kernel.client.quiet(0.5)
    text = "".join(each["content"]["text"] for each in kernel.client.order
                   if each["msg_type"] == "stream")
    assert text.count("late child\n") == 1
