"""Fixtures of the integration tests.

    pytest tests/integration [--kernels ringfence,python3] [--browser] [--slow]

The same tests run on each kernel of --kernels; what only Ringfence does is marked
`ringfence_only`.  RINGFENCE_PREFIX names a (staged) installation.  The session has
its own home, runtime and data folders, and fails if a process is left at its end.
"""

import os
import shutil
import signal
import tempfile

import pytest

pytest.register_assert_rewrite("aftermath")

from jupyter_client.connect import LocalPortCache

import helpers
import processes
import rawclient
from helpers import Kernel, Settings

PRIVATE = {"HOME": "home", "XDG_RUNTIME_DIR": "run", "JUPYTER_RUNTIME_DIR": "jr",
           "JUPYTER_DATA_DIR": "data", "JUPYTER_CONFIG_DIR": "config", "IPYTHONDIR": "ipython",
           "TMUX_TMPDIR": "tmux", "XDG_CACHE_HOME": "cache", "XDG_CONFIG_HOME": "xdg"}


def pytest_addoption(parser):
    parser.addoption("--kernels", default="ringfence", help="kernel names, separated by commas")
    parser.addoption("--browser", action="store_true", help="also the tests in Chromium")
    parser.addoption("--slow", action="store_true", help="also the tests that wait for long")
    parser.addoption("--libraries", action="store_true",
                     help="also the large libraries, of the interpreter RINGFENCE_LIBRARIES")
    parser.addoption("--screenshots", default=None, help="folder for the browser's pictures")


def pytest_configure(config):
    Settings.kernels = config.getoption("--kernels").split(",")
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored below nohup, and kernels inherit that
    if config.option.collectonly:
        return
    prefix = os.environ.get("RINGFENCE_PREFIX")
    if any(map(helpers.is_ringfence, Settings.kernels)) and not prefix:
        raise pytest.UsageError("RINGFENCE_PREFIX is not set: the folder of an installation, "
                                "with bin/ringfence and share/jupyter/kernels/ringfence")
    Settings.prefix = prefix and os.path.abspath(prefix)
    LocalPortCache.find_available_port = lambda self, ip: rawclient.free_ports(1)[0]
    Settings.reaper = processes.adopt_orphans()
    make_private()


def make_private():
    """Own folders under a short path, since a Unix socket's path has at most 107 bytes."""
    Settings.root = tempfile.mkdtemp(prefix="rf", dir="/tmp")
    for variable, name in PRIVATE.items():
        path = os.path.join(Settings.root, name)
        os.mkdir(path, 0o700)
        os.environ[variable] = path
    for variable in ("JUPYTER_PATH", "PYTHONPATH", "RINGFENCE_ZYGOTE", "RINGFENCE_NAMESPACE",
                     "DISPLAY"):
        os.environ.pop(variable, None)
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    if Settings.prefix:
        os.environ["JUPYTER_PATH"] = os.path.join(Settings.prefix, "share", "jupyter")
        os.environ["PATH"] = os.path.join(Settings.prefix, "bin") + ":" + os.environ["PATH"]


def pytest_unconfigure(config):
    if Settings.root:
        shutil.rmtree(Settings.root, ignore_errors=True)


def pytest_collection_modifyitems(config, items):
    for item in items:
        for option in ("browser", "slow", "libraries"):
            if option in item.keywords and not config.getoption(f"--{option}"):
                item.add_marker(pytest.mark.skip(reason=f"not asked for: --{option}"))


def pytest_generate_tests(metafunc):
    if "kernel_name" not in metafunc.fixturenames:
        return
    only = metafunc.definition.get_closest_marker("ringfence_only")
    params = []
    names = getattr(metafunc.module, "KERNELS", Settings.kernels)
    if names is not Settings.kernels and Settings.prefix and helpers.is_sanitized():
        names = [name for name in names if helpers.is_ringfence(name)]  # the others were run before
    for name in names:
        skip = only and not helpers.is_ringfence(name)
        if skip and names is not Settings.kernels:
            continue  # a stated difference (docs/compatibility.md), nothing that is missing
        reason = only and (only.args[0] if only.args else "Ringfence only")
        params.append(pytest.param(name, marks=pytest.mark.skip(reason=reason) if skip else ()))
    metafunc.parametrize("kernel_name", params, scope="session")


@pytest.fixture(scope="session", autouse=True)
def nothing_left():
    """After the last test: the zygote stops when it is told to, and no process remains."""
    yield
    if any(map(helpers.is_ringfence, Settings.kernels)):
        stopped = helpers.zygote("stop")
        assert stopped.returncode == 0, f"ringfence zygote stop: {stopped}"
    found = set(processes.below(Settings.reaper)) - {os.getpid()}
    left = processes.wait_gone(found, 10)
    processes.kill(left)
    assert not left, "processes remain:\n" + "\n".join(map(repr, left))


@pytest.fixture
def start(kernel_name):
    """A function that starts more kernels; they are stopped after the test."""
    kernels = []
    if kernel_name == helpers.OTHER:
        helpers.install_other()

    def starter(name=kernel_name, **options):
        kernels.append(Kernel(name, **options))
        return kernels[-1]

    yield starter
    for each in kernels:
        each.stop(now=not each.km.is_alive())


@pytest.fixture
def fresh(start):
    """A kernel that only this test uses."""
    return start()


@pytest.fixture
def own_runtime(kernel_name):
    """An environment with a runtime folder, and so a zygote, of its own."""
    env = helpers.kernel_environment(XDG_RUNTIME_DIR=helpers.new_folder("run"))
    yield env
    helpers.zygote("stop", env=env)


@pytest.fixture(scope="module")
def module_kernel(kernel_name):
    if kernel_name == helpers.OTHER:
        helpers.install_other()
    holder = {}
    yield holder
    if "kernel" in holder:
        holder["kernel"].stop()


@pytest.fixture
def kernel(kernel_name, module_kernel):
    """A kernel that the tests of a module share; a test that broke it costs a new one."""
    if "kernel" in module_kernel and not module_kernel["kernel"].healthy():
        module_kernel.pop("kernel").stop(now=True)
    if "kernel" not in module_kernel:
        module_kernel["kernel"] = Kernel(kernel_name)
    yield module_kernel["kernel"]
