"""jupyter_kernel_test, the common test suite of Jupyter kernels, with every sample filled in."""

import time

import jupyter_kernel_test as jkt

from helpers import Settings, is_ringfence, wait_until


class Samples:
    """What the suite asks a Python kernel."""

    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('oops', file=sys.stderr)"
    completion_samples = [
        {"text": "zi", "matches": {"zip"}},
        {"text": "isinsta", "matches": {"isinstance"}},
    ]
    complete_code_samples = ["1", "print('hello, world')", "def f(x):\n    return x * 2\n\n",
                             "%who"]
    incomplete_code_samples = ["print('''hello", "def f(x):\n    x * 2", "for i in range(3):"]
    invalid_code_samples = ["import = 7q", "x = )"]
    code_page_something = "zip?"
    code_generate_error = "raise RuntimeError('wanted')"
    code_execute_result = [
        {"code": "1+2+3", "result": "6"},
        {"code": "'find me', 7", "result": "('find me', 7)"},
        {"code": "[n*n for n in range(1, 4)]", "result": "[1, 4, 9]"},
        {"code": "from IPython.display import HTML; HTML('<b>x</b>')", "mime": "text/html",
         "result": "<b>x</b>"},
    ]
    code_display_data = [
        {"code": "from IPython.display import HTML, display; display(HTML('<b>test</b>'))",
         "mime": "text/html"},
        {"code": "from IPython.display import Math, display; display(Math('x^2'))",
         "mime": "text/latex"},
    ]
    code_history_pattern = "'find ?e'*"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"


class Extra:
    """Checked in the same way, and not part of the suite."""

    def test_inspect_unknown(self):
        self.flush_channels()
        self.kc.inspect("there_is_no_such_name")
        content = self.get_non_kernel_info_reply(timeout=15)["content"]
        self.assertEqual((content["status"], content["found"], content["data"]), ("ok", False, {}))

    def test_zz_shutdown(self):
        self.kc.shutdown()
        reply = self.kc.get_control_msg(timeout=15)
        self.assertEqual(reply["msg_type"], "shutdown_reply")
        self.assertEqual(reply["content"], {"status": "ok", "restart": False})
        wait_until(lambda: not self.km.is_alive(), 15)
        time.sleep(0.1)
        self.assertFalse(self.km.is_alive())


def classes():
    for name in Settings.kernels:
        suffix = "".join(part.capitalize() for part in name.split("-"))
        suite = {"kernel_name": name}
        if not is_ringfence(name):  # ipykernel calls its own session 0 in a range
            suite["supported_history_operations"] = ("tail", "search")
        yield type(f"TestSuite{suffix}", (Samples, Extra, jkt.KernelTests), suite)
        yield type(f"TestWelcome{suffix}", (jkt.IopubWelcomeTests,),
                   {"kernel_name": name, "support_iopub_welcome": True})


globals().update((each.__name__, each) for each in classes())
