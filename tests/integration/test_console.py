"""jupyter console, driven through a terminal."""

import os
import shlex
import subprocess
import sys
import time

import pexpect
import pytest

from helpers import kernel_environment, need, new_folder, plain

# The console asks for a cell before it knows that its iopub socket is connected (it looks
# at the reply to kernel_info only), and waits for ever for an idle that it has missed.
SUBSCRIBED = 1.0


@pytest.fixture
def console(kernel_name):
    child = pexpect.spawn(sys.executable, ["-m", "jupyter_console", "--kernel", kernel_name,
                                           "--simple-prompt"],
                          env=kernel_environment(TERM="dumb"), cwd=new_folder(),
                          encoding="utf-8", timeout=30, dimensions=(50, 200))
    child.expect_exact("In [1]:")
    time.sleep(SUBSCRIBED)
    yield child
    child.close(force=True)


def test_console(console):
    console.sendline("value = 6 * 7")
    console.expect_exact("In [2]:")
    console.sendline("value")
    console.expect(r"Out\[2\]: ?42")
    console.expect_exact("In [3]:")
    console.sendline("print('printed', value)")
    console.expect_exact("printed 42")
    console.expect_exact("In [4]:")
    console.sendline("1/0")
    console.expect_exact("ZeroDivisionError")
    console.expect_exact("In [5]:")
    console.sendline("exit")
    console.expect(pexpect.EOF)


def test_console_input(console):
    console.sendline("name = input('Who? ')")
    console.expect_exact("Who? ")
    console.sendline("Ada")
    console.expect_exact("In [2]:")
    console.sendline("name")
    console.expect_exact("'Ada'")


def test_console_interrupt(console):
    console.sendline("import time; print('o' + 'n', flush=True); time.sleep(1000)")
    console.expect_exact("on\r\n")
    time.sleep(0.5)
    console.sendintr()
    console.expect_exact("KeyboardInterrupt")
    console.sendline("'still' + ' here'")
    console.expect_exact("'still here'")


class Terminal:
    """A program in a tmux of its own: real prompts, colours and completion."""

    def __init__(self, command, folder):
        self.tmux = [need("tmux"), "-L", "test", "-f", "/dev/null"]
        line = " ".join(map(shlex.quote, command))
        subprocess.run([*self.tmux, "new-session", "-d", "-x", "150", "-y", "50", line],
                       env=kernel_environment(TERM="xterm-256color"), cwd=folder, check=True)

    def send(self, *keys):
        subprocess.run([*self.tmux, "send-keys", *keys], check=True)

    def screen(self):
        return plain(subprocess.run([*self.tmux, "capture-pane", "-p"], check=True,
                                    capture_output=True, text=True).stdout)

    def wait_for(self, text, timeout=30):
        deadline = time.monotonic() + timeout
        while text not in (screen := self.screen()):
            assert time.monotonic() < deadline, f"no {text!r} on the screen:\n{screen}"
            time.sleep(0.1)
        return screen

    def close(self):
        subprocess.run([*self.tmux, "kill-server"], check=False, capture_output=True)


def test_console_with_the_real_prompt(kernel_name):
    terminal = Terminal([sys.executable, "-m", "jupyter_console", "--kernel", kernel_name],
                        new_folder())
    try:
        terminal.wait_for("In [1]:")
        time.sleep(SUBSCRIBED)
        terminal.send("a_long_name = 6 * 7", "Enter")
        terminal.wait_for("In [2]:")
        terminal.send("a_long_n", "Tab")
        terminal.wait_for("In [2]: a_long_name", 10)
        terminal.send("Enter")
        terminal.wait_for("Out[2]: 42")
        terminal.send("exit", "Enter")
    finally:
        time.sleep(1)
        terminal.close()


def test_console_attached_to_a_running_kernel(fresh):
    fresh.run("from_elsewhere = 'seen'")
    child = pexpect.spawn(sys.executable, ["-m", "jupyter_console", "--existing",
                                           os.path.abspath(fresh.km.connection_file),
                                           "--simple-prompt"],
                          env=kernel_environment(TERM="dumb"), encoding="utf-8", timeout=30,
                          dimensions=(50, 200))
    try:
        child.expect(r"In \[\d+\]:")
        time.sleep(SUBSCRIBED)
        child.sendline("from_elsewhere")
        child.expect_exact("'seen'")
        child.sendline("exit(keep_kernel=True)")
        child.expect(pexpect.EOF)
    finally:
        child.close(force=True)
    assert fresh.run("from_elsewhere").result == "'seen'"
