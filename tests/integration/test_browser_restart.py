"""A kernel is restarted from the menus of JupyterLab and Notebook.  Only with --browser."""

import os

import pytest

import helpers
import processes
from helpers import ours, wait_until
from test_browser import ClassicNotebook, Lab, Server, browser, picture  # noqa: F401

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
KERNELS = ["ringfence-tests", "python3"]

CELLS = [(code, None) for code in (
    "import os, subprocess, time\nprint('kept' in globals(), time.time_ns())",
    "kept = subprocess.Popen(['sleep', '1000'])",
    "get_ipython().kernel.comm_manager.register_target('old', lambda comm, message: None)\n"
    "import ipywidgets as w\nb = w.Button(description='press me')\n"
    "b.on_click(lambda _: print('pressed'))\ndisplay(b)",
    "if os.path.exists('hang'):\n    print('hangs', flush=True)\n    while True: pass",
    "print('all', 'ran')")]

NAMES = ("ringfence", "ringfence-sweep", "ringfence-keepr", "ringfence-worke", "ringfence-ckpt",
         "slirp4netns", "sleep")


class RestartedLab(Lab):
    menu = ("//li[contains(@class, 'lm-MenuBar-item')][.='Kernel']",
            "//li[contains(@class, 'lm-Menu-item')]//div[starts-with(., '{}')]",
            "//div[contains(@class, 'jp-Dialog')]//button[contains(@class, 'jp-mod-accept')]")
    entries = ("Restart Kernel…", "Restart Kernel and Run All Cells…")
    counts = Lab.panel + """
        return panel.content.widgets.filter(cell => cell.model.type === 'code')
            .map(cell => cell.model.executionCount);
    """
    dialogs = "return document.querySelectorAll('.jp-Dialog').length;"
    hold = "return Boolean(document.querySelector('button.jupyter-button'));"
    use_old = "document.querySelector('button.jupyter-button').click();"


class RestartedNotebook(ClassicNotebook):
    menu = ("//a[@id='kernellink']", "//li[@id='{}']/a",
            "//div[contains(@class, 'modal')]//button[contains(@class, 'btn-danger')]")
    entries = ("restart_kernel", "restart_run_all")
    counts = """
        return Jupyter.notebook.get_cells().filter(cell => cell.cell_type === 'code')
            .map(cell => cell.input_prompt_number);
    """
    dialogs = "return document.querySelectorAll('.modal.in').length;"
    hold = "window.old = Jupyter.notebook.kernel.comm_manager.new_comm('old'); return true;"
    use_old = "window.old.send({press: 1});"


def click(driver, path):
    """Clicks what the path finds, once it is there and can be clicked."""
    from selenium.common.exceptions import WebDriverException

    def clicked():
        try:
            driver.find_element("xpath", path).click()
        except WebDriverException:
            return False
        return True

    wait_until(clicked, 30, 0.2)


def restart(driver, application, entry):
    """As a person does: the menu, its entry, the question."""
    bar, item, question = application.menu
    click(driver, bar)
    click(driver, item.format(entry))
    click(driver, question)
    wait_until(lambda: not driver.execute_script(application.dialogs), 30, 0.1)


def of_the_kernel():
    """Processes of the only kernel and what its cell has started, without the zygotes."""
    return {pid for pid, each in ours().items()
            if each.name in NAMES or "ipykernel_launcher" in each.command}


def test_restart_from_the_menu_of_jupyterlab(browser, request, kernel_name):  # noqa: F811
    check(browser, request, kernel_name, RestartedLab())


@pytest.mark.ringfence_only("Notebook 6 runs python3 with another, older ipykernel")
def test_restart_from_the_menu_of_notebook(browser, request, kernel_name):  # noqa: F811
    check(browser, request, kernel_name, RestartedNotebook())


def check(browser, request, kernel_name, application):  # noqa: F811
    """While a cell runs, and with "run all": a new kernel begins at 1, the old one is gone."""
    pytest.importorskip("ipywidgets", reason="absent layer: ipywidgets is not installed")
    if kernel_name == helpers.OTHER:
        helpers.install_other()
    server = Server(application, kernel_name, CELLS)
    hang = os.path.join(server.folder, "hang")
    open(hang, "w").close()
    name = f"restart-{type(application).__name__}-{kernel_name}".lower()

    def script(text):
        return browser.execute_script(text)

    def first():
        return script(application.outputs)[0]

    def all_ran(but):
        wait_until(lambda: "all ran" in script(application.outputs)[-1] and first() != but, 60, 0.2)
        wait_until(lambda: script(application.indicator) == "idle", 30, 0.1)
        assert "False" in first() and script(application.counts) == [1, 2, 3, 4, 5]
        assert not script(application.dialogs)

    try:
        server.wait()
        browser.get(server.address(application.page("one.ipynb")))
        wait_until(lambda: script(application.ready), 90, 0.2)
        script(application.run_all)
        wait_until(lambda: "hangs" in script(application.outputs)[3], 60, 0.2)
        assert script(application.indicator) != "idle"
        wait_until(lambda: script(application.hold), 60, 0.2)
        old, output = of_the_kernel(), first()
        assert len(old) > 1 and "False" in output
        os.unlink(hang)

        restart(browser, application, application.entries[0])
        wait_until(lambda: script(application.ready), 60, 0.2)
        wait_until(lambda: script(application.indicator) == "idle", 30, 0.1)
        assert not processes.wait_gone(old, 10)
        picture(browser, request, f"{name}-again")
        script(application.use_old)
        script(application.run_all)
        all_ran(output)

        old, output = of_the_kernel(), first()
        restart(browser, application, application.entries[1])
        all_ran(output)
        assert not processes.wait_gone(old, 10)
    finally:
        picture(browser, request, name)
        browser.get("about:blank")
        server.stop()
