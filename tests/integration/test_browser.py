"""JupyterLab 4 and Debian's Notebook 6.4 in headless Chromium run one notebook through the kernel.

Only with --browser.  A program that is not installed is a missing layer and named as such.
Pictures go to --screenshots (default: build/screenshots).
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import uuid

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers import is_ringfence, kernel_environment, need, new_folder, plain, wait_until
from rawclient import free_ports

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

HERE = os.path.dirname(os.path.abspath(__file__))
CHROMIUM = "/usr/bin/chromium"
CHROMEDRIVER = "/usr/bin/chromedriver"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--window-size=1200,1400"]

CELLS = [
    ("x = 6 * 7", None),
    ("print('text', x)", "text 42"),
    ("x", "42"),
    ("from IPython.display import HTML\nHTML('<b>bold ' + str(x) + '</b>')", "bold 42"),
    ("import time\nfor n in range(3):\n    print('tick', n, flush=True)\n    time.sleep(0.3)",
     "tick 0\ntick 1\ntick 2"),
    ("1/0", "ZeroDivisionError: division by zero"),
    ("'last ' + 'cell'", "'last cell'"),
]

CRASH = [
    ("x = 41; print('set')", "set"),
    ("import time; time.sleep(1); print('rested')", "rested"),
    ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    ("print('x is still', x)", "x is still 41"),
]

NEVER_LOSE_WORK = [(cell.source, wanted) for cell, wanted in zip(
    (cell for cell in nbformat.read(os.path.join(HERE, "..", "..", "notebooks",
                                                 "never-lose-work.ipynb"), 4).cells
     if cell.cell_type == "code"),
    ("'start': full", "SIGSEGV", "1000000 ['measured on Monday']", "Rolled back to checkpoint",
     "start"), strict=True)]


class Lab:
    """JupyterLab from the interpreter that runs the tests."""

    def command(self, port, token, folder):
        pytest.importorskip("jupyterlab", reason="absent layer: jupyterlab is not installed")
        return [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
                "--LabApp.expose_app_in_browser=True", f"--ServerApp.port={port}",
                "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}",
                f"--ServerApp.root_dir={folder}"]

    def page(self, name):
        return f"lab/tree/{name}"

    # The shell's current widget is none as long as the page has no focus.
    panel = """
        const app = window.jupyterapp;
        const panel = app && [...app.shell.widgets('main')].find(each => each.sessionContext);
    """
    ready = panel + """
        const session = panel && panel.sessionContext && panel.sessionContext.session;
        return Boolean(session && session.kernel && session.kernel.status === 'idle'
                       && panel.content && panel.content.widgets.length);
    """
    run_all = panel + """
        app.shell.activateById(panel.id);
        app.commands.execute('notebook:run-all-cells');
    """
    outputs = panel + """
        return panel.content.widgets
            .filter(cell => cell.model.type === 'code')
            .map(cell => JSON.stringify(cell.model.outputs.toJSON()));
    """
    shown = "return document.querySelector('.jp-NotebookPanel').innerText;"
    sources = panel + "return panel.content.widgets.map(cell => cell.model.sharedModel.source);"
    indicator = """
        const found = document.querySelector('.jp-Notebook-ExecutionIndicator');
        return found && found.dataset.status;
    """


class ClassicNotebook:
    """Notebook 6.4 as Debian packages it."""

    def command(self, port, token, folder):
        return [need("jupyter-notebook"), "--no-browser", "--allow-root",
                f"--NotebookApp.port={port}", "--NotebookApp.port_retries=0",
                f"--NotebookApp.token={token}", f"--NotebookApp.notebook_dir={folder}"]

    def page(self, name):
        return f"notebooks/{name}"

    ready = """
        const notebook = window.Jupyter && Jupyter.notebook;
        return Boolean(notebook && notebook.kernel && notebook.kernel.is_connected()
                       && notebook.kernel.info_reply.status === 'ok'
                       && document.querySelector('#kernel_indicator_icon.kernel_idle_icon'));
    """
    run_all = "Jupyter.notebook.execute_all_cells();"
    outputs = """
        return Jupyter.notebook.get_cells().filter(cell => cell.cell_type === 'code')
            .map(cell => JSON.stringify(cell.output_area.toJSON()));
    """
    shown = "return document.querySelector('#notebook').innerText;"
    indicator = """
        const found = document.querySelector('#kernel_indicator_icon');
        return found && (found.classList.contains('kernel_idle_icon') ? 'idle' : found.className);
    """


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver",
                                    reason="absent layer: selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    for program in (CHROMIUM, CHROMEDRIVER):
        if not os.access(program, os.X_OK):
            pytest.skip(f"absent layer: {program} is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    with tempfile.TemporaryDirectory(prefix="rfc", ignore_cleanup_errors=True) as profile:
        for flag in [*FLAGS, f"--user-data-dir={profile}"]:
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
        driver.set_page_load_timeout(120)
        driver.set_script_timeout(60)
        yield driver
        driver.quit()


class Server:
    """A Jupyter server with one notebook."""

    def __init__(self, application, kernel_name, cells):
        self.application = application
        self.folder = new_folder("nb")
        self.port = free_ports(1)[0]
        self.token = uuid.uuid4().hex
        notebook = new_notebook(
            cells=[new_markdown_cell("# A notebook"),
                   *[new_code_cell(code, metadata={"tags": ["raises-exception"]})
                     for code, _ in cells]],
            metadata={"kernelspec": {"name": kernel_name, "display_name": kernel_name,
                                     "language": "python"}})
        nbformat.write(notebook, os.path.join(self.folder, "one.ipynb"))
        self.log = open(os.path.join(self.folder, "server.log"), "w+", encoding="utf-8")
        self.child = subprocess.Popen(
            application.command(self.port, self.token, self.folder), env=kernel_environment(),
            cwd=self.folder, stdout=self.log, stderr=subprocess.STDOUT)

    def wait(self):
        wait_until(self.answers, 60, 0.2)

    def answers(self):
        assert self.child.poll() is None, self.text()
        try:
            return urllib.request.urlopen(self.address("api"), timeout=5).status == 200
        except (OSError, urllib.error.URLError):
            return False

    def address(self, page):
        return f"http://127.0.0.1:{self.port}/{page}?token={self.token}"

    def text(self):
        self.log.seek(0)
        return self.log.read()[-5000:]

    def stop(self):
        """Ends its kernels, as its users would, then the server."""
        try:
            with urllib.request.urlopen(self.address("api/kernels"), timeout=10) as answer:
                for kernel in json.load(answer):
                    urllib.request.urlopen(urllib.request.Request(
                        self.address(f"api/kernels/{kernel['id']}"), method="DELETE"), timeout=20)
        except (OSError, urllib.error.URLError):
            pass
        self.child.terminate()
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.log.close()


def picture(driver, request, name):
    folder = request.config.getoption("--screenshots") or \
        os.path.join(HERE, "..", "..", "build", "screenshots")
    try:
        os.makedirs(folder, exist_ok=True)
        driver.save_screenshot(os.path.join(folder, f"{name}.png"))
    except OSError as error:
        print(f"no picture: {error}")


def run_notebook(driver, server, cells):
    """Opens the notebook, runs all cells, waits for what they show and for idle."""
    application = server.application
    driver.get(server.address(application.page("one.ipynb")))
    wait_until(lambda: driver.execute_script(application.ready), 90, 0.2)
    driver.execute_script(application.run_all)

    def outputs():
        found = iter(driver.execute_script(application.outputs))
        return all(any(has(text, wanted) for text in found) for _, wanted in cells)

    try:
        wait_until(outputs, 60, 0.2)
    except TimeoutError:
        raise AssertionError(driver.execute_script(application.outputs)) from None
    wait_until(lambda: driver.execute_script(application.indicator) == "idle", 30, 0.1)


def has(output, wanted):
    """True when the JSON text of a cell's outputs holds `wanted`."""
    text = []
    for each in json.loads(output):
        if each["output_type"] == "stream":
            text.append(joined(each["text"]))
        elif each["output_type"] == "error":
            text.append("\n".join([f"{each['ename']}: {each['evalue']}", *each["traceback"]]))
        else:
            text += [joined(value) for value in each["data"].values() if isinstance(
                value, (str, list))]
    return wanted is None or wanted in plain("".join(text))


def joined(text):
    return text if isinstance(text, str) else "".join(text)


@pytest.mark.parametrize("application", [Lab, ClassicNotebook],
                         ids=["jupyterlab", "notebook6"])
@pytest.mark.parametrize("cells", [CELLS, CRASH], ids=["cells", "crash"])
def test_run_all(browser, request, kernel_name, application, cells):
    if cells is CRASH and not is_ringfence(kernel_name):
        pytest.skip("ipykernel dies with the interpreter")
    server = Server(application(), kernel_name, cells)
    name = f"{application.__name__}-{kernel_name}-{'crash' if cells is CRASH else 'cells'}"
    try:
        server.wait()
        run_notebook(browser, server, cells)
        shown = browser.execute_script(server.application.shown)
        for _, wanted in cells[:3]:
            assert wanted is None or wanted in shown
    finally:
        picture(browser, request, name.lower())
        browser.get("about:blank")
        server.stop()


def test_never_lose_work(browser, request, kernel_name):
    """The notebook as it is delivered; %recover puts the lost cell's source into a new one."""
    if not is_ringfence(kernel_name):
        pytest.skip("ipykernel has no checkpoints")
    server = Server(Lab(), kernel_name, NEVER_LOSE_WORK)
    try:
        server.wait()
        run_notebook(browser, server, NEVER_LOSE_WORK)
        sources = browser.execute_script(Lab.sources)
        lost = NEVER_LOSE_WORK[1][0]
        assert sources.count(lost) == 2 and sources.index(lost) == 2, sources
    finally:
        picture(browser, request, f"lab-{kernel_name}-never-lose-work")
        browser.get("about:blank")
        server.stop()


BUSY = [
    ("number = 17; print('set')", "set"),
    ("import time; time.sleep(1); print('rested')", "rested"),
    ("print('begun', flush=True)\nwhile number: pass", None),
]

COMPLETE = Lab.panel + """
    const done = arguments[arguments.length - 1];
    const look = () => document.querySelector('.jp-Notebook-ExecutionIndicator').dataset.status;
    panel.sessionContext.session.kernel.requestComplete({code: 'numb', cursor_pos: 4})
        .then(reply => setTimeout(() => done([reply.content.matches, look()]), 500));
"""


def test_busy_while_it_answers(browser, request, kernel_name):
    """A completion while a cell runs comes at once, and the kernel is shown as busy after it."""
    if not is_ringfence(kernel_name):
        pytest.skip("ipykernel answers after the cell")
    server = Server(Lab(), kernel_name, BUSY)
    try:
        server.wait()
        browser.get(server.address(Lab().page("one.ipynb")))
        wait_until(lambda: browser.execute_script(Lab.ready), 90, 0.2)
        browser.execute_script(Lab.run_all)
        wait_until(lambda: "begun" in browser.execute_script(Lab.outputs)[-1], 60, 0.2)
        for _ in range(3):
            found, status = browser.execute_async_script(COMPLETE)
            assert "number" in found and status == "busy"
        browser.execute_script(Lab.panel + "panel.sessionContext.session.kernel.interrupt();")
        wait_until(lambda: browser.execute_script(Lab.indicator) == "idle", 30, 0.1)
    finally:
        picture(browser, request, f"lab-{kernel_name}-busy")
        browser.get("about:blank")
        server.stop()
