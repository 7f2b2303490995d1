"""ipywidgets 8 and ipympl in JupyterLab: what a person does with the mouse reaches the
kernel, and what the kernel does is seen.  Only with --browser."""

import pytest

import helpers
from helpers import wait_until
from test_browser import Lab, Server, browser, picture, run_notebook  # noqa: F401

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
KERNELS = ["ringfence-tests", "python3"]

CELLS = [
    ("import ipywidgets as w, base64\npressed, o = [], w.Output()\nb = w.Button(description='press me')\n"
     "def on_click(_):\n    pressed.append(1)\n    with o: print('pressed', len(pressed))\n"
     "b.on_click(on_click)\ndisplay(b, o)", None),
    ("_ = w.interact(lambda x: print('x is', x), x=w.IntText(value=2))", None),
    ("w.Image(value=base64.b64decode('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
     "awAAAABJRU5ErkJggg=='), width=20, height=20)", None),
    ("from tqdm.notebook import tqdm\nfor _ in tqdm(range(4), desc='bar'): pass", None),
    ("%matplotlib widget\nimport matplotlib.pyplot as plt\nf, x = plt.subplots(); _ = x.plot([1, 2]); plt.show()", None),
    ("print('all', 'ran')", "all ran"),
]

PRESS = "document.querySelector('.jp-OutputArea button.jupyter-button').click();"
TYPE = """
    const field = document.querySelector('.widget-interact input[type=number]');
    field.value = '7';
    for (const name of ['input', 'change'])
        field.dispatchEvent(new Event(name, {bubbles: true}));
"""
IMAGE = "const i = document.querySelector('img.widget-image'); return i ? i.naturalWidth : 0;"
BAR = "const b = document.querySelector('.jp-OutputArea .progress-bar'); return Boolean(b);"
CANVAS = "const c = document.querySelector('.jupyter-matplotlib canvas'); return c ? c.width : 0;"


def test_widgets(browser, request, kernel_name):  # noqa: F811
    for package in ("ipywidgets", "ipympl", "tqdm"):
        pytest.importorskip(package, reason=f"absent layer: {package} is not installed")
    if kernel_name == helpers.OTHER:
        helpers.install_other()
    server = Server(Lab(), kernel_name, CELLS)

    def shows(text):
        return wait_until(lambda: text in browser.execute_script(Lab.shown), 60, 0.2)

    try:
        server.wait()
        run_notebook(browser, server, CELLS)
        wait_until(lambda: browser.execute_script(
            "return Boolean(document.querySelector('button.jupyter-button'))"), 60, 0.2)
        browser.execute_script(PRESS)
        shows("pressed 1")
        browser.execute_script(PRESS)
        shows("pressed 2")
        shows("x is 2")
        browser.execute_script(TYPE)
        shows("x is 7")
        wait_until(lambda: browser.execute_script(IMAGE) == 1, 60, 0.2)
        wait_until(lambda: browser.execute_script(BAR), 60, 0.2)
        wait_until(lambda: browser.execute_script(CANVAS) > 100, 60, 0.2)
    finally:
        picture(browser, request, f"widgets-{kernel_name}")
        browser.get("about:blank")
        server.stop()
