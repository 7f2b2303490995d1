"""The user's zygote service from outside: how long it lives, for whom it forks, which
interpreter it is, what the configuration says of it."""

import glob
import json
import os
import pwd
import subprocess
import sys

import pytest

import processes
from helpers import (kernel_argv, kernel_environment, new_folder, ringfence_program,
                     wait_until, zygote, zygote_pid)

pytestmark = pytest.mark.ringfence_only("about Ringfence's zygote")

CGROUPS = "/sys/fs/cgroup/memory"  # cgroup v1, where it is mounted so


def test_an_idle_zygote_ends_and_its_kernels_do_not(start, own_runtime):
    kernel = start(env=own_runtime, arguments=["--zygote-idle", "10"])
    assert kernel.run("x = 6").status == "ok"
    assert zygote("status", env=own_runtime).returncode == 0
    wait_until(lambda: zygote("status", env=own_runtime).returncode != 0, 30, 0.5)
    assert kernel.run("x * 7").result == "42"
    kernel.run("import os; os.kill(os.getpid(), 9)")
    assert kernel.run("x * 7").result == "42"


def test_a_zygote_is_renewed(start, own_runtime):
    """The process stays and has another layout of its memory; its kernels go on."""
    seen = "import sys; hash('a'), id(None), sys.flags.hash_randomization"
    kernel = start(env=own_runtime, arguments=["--zygote-renew", "12"])
    before, pid = kernel.run(seen).result, zygote_pid(own_runtime)
    assert before.endswith(", 1)")
    assert start(env=own_runtime).run(seen).result == before
    wait_until(lambda: start(env=own_runtime).run(seen).result != before, 60)
    assert zygote_pid(own_runtime) == pid
    assert kernel.run(seen).result == before


def test_namespaces_share_no_zygote(start, own_runtime):
    """By the option or the variable, of which the option counts (over HTTP: test_browser_http)."""
    def layout(name, **changes):
        kernel = start(env={**own_runtime, **changes}, arguments=["--namespace", name] if name else [])
        return kernel.run("hash('a'), id(__import__('IPython').__dict__)").result.strip("()").split(", ")

    anna, bert, nobody = layout("anna"), layout("bert"), layout("")
    assert layout("", RINGFENCE_NAMESPACE="anna") == anna
    assert layout("bert", RINGFENCE_NAMESPACE="anna") == bert
    for one, other in ((anna, bert), (anna, nobody), (bert, nobody)):
        assert all(map(str.__ne__, one, other)), (one, other)
    assert len(zygote("status", env=own_runtime).stdout.splitlines()) == 3


def workers_in(cgroup):
    """Looked at from outside: a sandbox has a cgroup namespace, in which this is /."""
    return [pid for pid in processes_in(cgroup)
            if processes.Process(pid).name == "ringfence-worke"]


def processes_in(cgroup):
    """Also in those below it: a kernel has one of its own."""
    found = []
    for folder, _, _ in os.walk(cgroup):
        with open(os.path.join(folder, "cgroup.procs"), encoding="ascii") as file:
            found += map(int, file)
    return found


def test_a_client_in_another_cgroup_leaves_none_of_its_limits(start, own_runtime):
    folder = os.path.join(CGROUPS, f"ringfence-test-{os.getpid()}")
    try:
        os.mkdir(folder)
    except OSError as exc:
        pytest.skip(f"absent layer: no cgroup can be made: {exc}")
    path = os.path.join(new_folder(), "kernel.json")
    enter = f"echo $$ > {folder}/cgroup.procs && exec \"$@\""
    try:
        start(env=own_runtime)  # the user's zygote runs outside of it
        assert not workers_in(folder)
        child = subprocess.Popen(["sh", "-c", enter, "sh", *kernel_argv("ringfence", path)],
                                 env=own_runtime)
        wait_until(lambda: os.path.exists(path) or child.poll() is not None)
        from jupyter_client import BlockingKernelClient
        client = BlockingKernelClient(connection_file=path)
        client.load_connection_file()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        assert len(workers_in(folder)) == 1, processes_in(folder)
        client.shutdown()
        client.stop_channels()
        assert child.wait(20) == 0
    finally:
        wait_until(lambda: not processes_in(folder), 20)
        wait_until(lambda: not glob.glob(f"{folder}/*/"), 20)  # its own cgroups, too
        os.rmdir(folder)


# Other interpreters

def interpreters():
    """The one that runs the tests, and others of this machine that a kernel can run on."""
    home = pwd.getpwuid(os.getuid()).pw_dir  # HOME is the tests' own
    found = {f"{sys.version_info[0]}.{sys.version_info[1]} of the tests": sys.executable}
    for minor in (12, 13):
        paths = glob.glob(f"{home}/.pyenv/versions/3.{minor}*/bin/python3")
        found[f"3.{minor}"] = paths[0] if paths else None
    return found


@pytest.mark.timeout(240)  # an environment is made, from PyPI
@pytest.mark.parametrize("version", interpreters())
def test_another_interpreter_through_the_module(start, own_runtime, version):
    python = interpreters()[version]
    if python is None:
        pytest.skip(f"absent layer: CPython {version} is not on this machine")
    if python != sys.executable:
        python = virtual_environment(python)
    prefix = new_folder("prefix")
    subprocess.run([ringfence_program(), "install", "--prefix", prefix, "--name", "ringfence-other",
                    "--python", python], check=True, capture_output=True, timeout=60)
    kept = os.environ["JUPYTER_PATH"]
    os.environ["JUPYTER_PATH"] = os.path.join(prefix, "share", "jupyter")
    try:
        kernel = start("ringfence-other", env=own_runtime)
        assert kernel.value("__import__('sys').executable") == python
        kernel.run("x = 41")
        crash = kernel.run("import os; os.kill(os.getpid(), 9)")
        assert crash.content["ename"] == "WorkerDied"
        assert kernel.run("x + 1").result == "42"
        assert kernel.run("await __import__('asyncio').sleep(0, 'done')").result == "'done'"
    finally:
        os.environ["JUPYTER_PATH"] = kept


def virtual_environment(python):
    """With IPython; PyPI is reached as it is set up on this machine."""
    folder = new_folder("venv")
    made = subprocess.run([python, "-m", "venv", folder], capture_output=True, check=False)
    program = os.path.join(folder, "bin", "python")
    if made.returncode == 0:
        made = subprocess.run([program, "-m", "pip", "install", "-q", "ipython", "comm"],
                              capture_output=True, check=False, timeout=200)
    if made.returncode != 0:
        pytest.skip(f"absent layer: no IPython for {python}: {made.stderr[-200:]!r}")
    return program


# The configuration

def configured(text):
    folder = new_folder("config")
    os.mkdir(os.path.join(folder, "ringfence"))
    with open(os.path.join(folder, "ringfence", "config.json"), "w", encoding="utf-8") as file:
        file.write(text)
    return folder


def test_configuration_names_the_preload_list(start, own_runtime):
    folder = configured(json.dumps({"preload": ["wave", "chunk_that_is_not_there"]}))
    kernel = start(env={**own_runtime, "XDG_CONFIG_HOME": folder})
    assert kernel.value("'wave' in __import__('sys').modules")
    assert "wave,chunk_that_is_not_there" in zygote("status", env=own_runtime).stdout
    reply = kernel.client.request("shell", "kernel_info_request")
    assert "Preloading chunk_that_is_not_there failed" in reply["banner"]


@pytest.mark.parametrize("text, says", [
    ('{"preloads": []}', 'there is no setting "preloads"'),
    ('{"preload": "numpy"}', '"preload" must be a list'),
    ('{"zygote": "maybe"}', '"zygote" must be "auto" or "off"'),
    ('{"zygote_idle": -1}', '"zygote_idle" must be a whole number above 0'),
    ('{"preload": [}', "line 1, column"),
    ("[]", "one JSON object"),
])
def test_configuration_mistakes(kernel_name, text, says):
    path = os.path.join(new_folder(), "kernel.json")
    done = subprocess.run(kernel_argv(kernel_name, path), capture_output=True, text=True, timeout=20,
                          env=kernel_environment(XDG_CONFIG_HOME=configured(text)), check=False)
    assert done.returncode == 1 and says in done.stderr and "config.json" in done.stderr
    assert not os.path.exists(path)
