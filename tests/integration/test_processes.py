"""What runs, what a worker holds, and that all of it goes away."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

import processes
from helpers import (Kernel, kernel_argv, kernel_environment, new_folder, ours, ringfence_program,
                     wait_until, zygote)
from rawclient import PORTS, RawClient, new_connection, write_connection

pytestmark = pytest.mark.ringfence_only("about Ringfence's own processes")

GONE_WITHIN = 20  # seconds, on a machine however busy; bench/run measures it


@pytest.fixture
def warm(kernel_name):
    """The zygote is there, so that what a kernel adds can be told from it."""
    kernel = Kernel(kernel_name)
    kernel.run("1")
    kernel.stop()
    wait_until(zygote_pids, 10)
    time.sleep(0.5)
    return set(ours())


def ringfences(found):
    return {pid: each for pid, each in found.items() if each.name.startswith("ringfence")}


def zygote_pids(env=None):
    """pids that `ringfence zygote status` names; none when no zygote runs."""
    status = zygote("status", env=env)
    numbers = {int(each) for each in re.findall(r"\b\d+\b", status.stdout)}
    return numbers & set(ringfences(ours()))


def tops(gateways):
    """The uppermost Ringfence process above each process that is no gateway, nor a
    gateway's sweeper."""
    found = ringfences(ours())
    above = set()
    for process in found.values():
        if process.pid in gateways or process.name == "ringfence-sweep":
            continue
        while process.parent in found and process.parent not in gateways:
            process = found[process.parent]
        above.add(process.pid)
    return above


# The worker

def test_idle_worker_has_one_task(fresh):
    fresh.run("1")
    for _ in range(5):
        assert fresh.run("import os; len(os.listdir('/proc/self/task'))").result == "1"
        time.sleep(0.3)


def test_still_one_task_after_work(fresh):
    fresh.run("import asyncio; await asyncio.sleep(0.01)")
    fresh.run("!true")
    fresh.run("import threading; t = threading.Thread(target=print); t.start(); t.join()")
    assert fresh.run("import os; len(os.listdir('/proc/self/task'))").result == "1"


def test_a_worker_knows_its_processor(fresh):
    """glibc reads it where Linux writes it, in memory that a fork has to tell of anew."""
    cell = fresh.run("""
        import ctypes, os
        libc, all_of_them = ctypes.CDLL(None), os.sched_getaffinity(0)
        def asked(number):
            os.sched_setaffinity(0, {number})
            return libc.sched_getcpu() == number
        right = [asked(number) for number in sorted(all_of_them)]
        os.sched_setaffinity(0, all_of_them)
        all(right)
    """)
    assert cell.result == "True", cell.describe()


def test_worker_is_a_child_of_the_keeper(fresh):
    pid, parent, session = fresh.value(
        "(__import__('os').getpid(), __import__('os').getppid(), __import__('os').getsid(0))")
    assert pid != 1 and parent == 1
    assert session == pid, "the worker leads its own session"
    assert fresh.value("open('/proc/1/comm').read()").startswith("ringfence")


def test_only_the_kernels_own_processes_are_seen_inside(fresh):
    names = fresh.value("[open(f'/proc/{p}/comm').read().strip() for p in "
                        "__import__('os').listdir('/proc') if p.isdigit()]")
    assert len(names) <= 5, names


DESCRIPTORS = """
import os
found = {}
for name in os.listdir('/proc/self/fd'):
    try:
        found[int(name)] = os.readlink('/proc/self/fd/' + name)
    except OSError:
        pass
"""


def test_descriptors_of_the_worker(fresh):
    """0, 1, 2, socket, fence, crash text and the two pipes once more, for text; and what
    asyncio needs for a loop (3), and IPython's own /dev/null."""
    fresh.run(DESCRIPTORS)
    found = fresh.value("found")
    more = {fd: what for fd, what in found.items() if fd > 2}
    kinds = [re.sub(r":.*", "", what) for what in more.values()]
    files = [what for what in more.values()
             if what.startswith("/") and not what.startswith(("/memfd:", "/dev/null"))]
    assert not files, found
    assert kinds.count("socket") <= 4 and kinds.count("pipe") <= 4, found
    assert len(more) <= 5 + 4, found


def test_no_descriptor_grows(fresh):
    fresh.run(DESCRIPTORS)
    before = fresh.value("len(found)")
    for _ in range(30):
        fresh.run("1")
    time.sleep(0.5)
    fresh.run(DESCRIPTORS)
    assert fresh.value("len(found)") <= before


def test_descriptors_of_the_client_are_not_inherited(fresh, kernel_name):
    """A pipe that the launcher lets through ends with the gateway at the latest."""
    reader, writer = os.pipe()
    path = os.path.join(new_folder(), "kernel.json")
    info = new_connection()
    write_connection(path, info)
    child = subprocess.Popen(kernel_argv(kernel_name, path), env=kernel_environment(),
                             pass_fds=[writer])
    os.close(writer)
    try:
        with RawClient(info) as raw:
            raw.ready()
            _, messages = raw.run(DESCRIPTORS + "print(sorted(found.values()))")
            inside = [each["content"]["text"] for each in messages if each["msg_type"] == "stream"]
            assert f"pipe:[{os.fstat(reader).st_ino}]" not in "".join(inside)
    finally:
        child.kill()
        child.wait()
    os.set_blocking(reader, False)
    wait_until(lambda: at_end(reader), 10)
    os.close(reader)


def at_end(reader):
    try:
        return os.read(reader, 1) == b""
    except BlockingIOError:
        return False


# The end

def left_of(pids):
    """A zygote's spare has no name yet a moment after its fork, and belongs to no kernel."""
    return [each for each in processes.wait_gone(pids, GONE_WITHIN) if each.name != "ringfence-spare"]


def test_gone_after_shutdown(warm, start):
    kernel = start()
    kernel.run("import subprocess; subprocess.Popen(['sleep', '1000']);")
    new = set(ours()) - warm
    assert len(new) >= 3  # gateway, keeper, worker, and what they keep
    kernel.stop()
    assert not left_of(new)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP],
                         ids=lambda number: number.name)
def test_gone_after_the_gateway_was_killed(warm, start, number):
    kernel = start()
    kernel.run("import subprocess; subprocess.Popen(['setsid', 'sleep', '1000']);")
    kernel.run("2")
    time.sleep(0.5)
    new = set(ours()) - warm
    assert len(new) >= 3
    os.kill(kernel.pid, number)
    left = left_of(new)
    kernel.stop(now=True)
    assert not left


def test_gone_after_the_gateway_was_killed_while_busy(warm, start):
    kernel = start()
    kernel.execute("while True: pass")
    kernel.client.quiet()
    new = set(ours()) - warm
    os.kill(kernel.pid, signal.SIGKILL)
    left = left_of(new)
    kernel.stop(now=True)
    assert not left


def test_gone_after_crashes(warm, start):
    kernel = start()
    for _ in range(3):
        time.sleep(0.3)
        kernel.run("import os; os.kill(os.getpid(), 9)")
    kernel.run("1")
    new = set(ours()) - warm
    kernel.stop()
    assert not left_of(new)


def test_crashed_workers_do_not_pile_up(fresh):
    fresh.run("1")
    time.sleep(0.5)
    before = len(ours())
    for _ in range(5):
        time.sleep(0.3)
        fresh.run("import os; os.kill(os.getpid(), 9)")
    fresh.run("1")
    wait_until(lambda: len(ours()) <= before + 1, 10)


def test_shutdown_removes_the_connection_file(start):
    kernel = start()
    path = kernel.km.connection_file
    kernel.stop()
    assert not os.path.exists(path)


def test_restart_leaves_nothing_of_the_old_worker(warm, fresh):
    fresh.run("1")
    old = set(ours()) - warm
    fresh.restart()
    fresh.run("1")
    assert not left_of(old)


# The zygote

def launch(name, env, results, index):
    """The process of a kernel that chooses its ports; (process, connection file)."""
    path = os.path.join(new_folder(), "kernel.json")
    write_connection(path, new_connection(**dict.fromkeys(PORTS, 0)))
    child = subprocess.Popen(kernel_argv(name, path), env=env, stderr=subprocess.PIPE)
    results[index] = (child, path)


def test_twenty_kernels_at_the_same_moment(kernel_name, own_runtime):
    """No zygote runs yet; all of them work, and one zygote is left."""
    results = [None] * 20
    threads = [threading.Thread(target=launch, args=(kernel_name, own_runtime, results, index))
               for index in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    gateways = {child.pid for child, _ in results}
    raws = []
    try:
        for _, path in results:
            wait_until(lambda path=path: json_ports(path), 30)
            raws.append(RawClient(json_ports(path)))
        for index, raw in enumerate(raws):
            raw.ready()
            reply, messages = raw.run(f"{index} * 2")
            assert reply["content"]["status"] == "ok"
            assert [each["content"]["data"]["text/plain"] for each in messages
                    if each["msg_type"] == "execute_result"] == [str(index * 2)]
        wait_until(lambda: len(tops(gateways) - tops_of_other_zygotes(own_runtime)) == 1, 60)
        for raw in raws:
            raw.send("control", "shutdown_request", {"restart": False})
        for child, _ in results:
            assert child.wait(20) == 0
    finally:
        for raw in raws:
            raw.close()
        for child, _ in results:
            child.kill()
            child.communicate()


def json_ports(path):
    with open(path, encoding="utf-8") as file:
        info = json.load(file)
    return info if all(info[port] for port in PORTS) else None


def tops_of_other_zygotes(env):
    """Ringfence processes that belong to the session's zygote, not to that of `env`."""
    others = set()
    for process in ringfences(ours()).values():
        try:
            with open(f"/proc/{process.pid}/environ", "rb") as file:
                variables = file.read().split(b"\0")
        except OSError:
            continue
        own = f"XDG_RUNTIME_DIR={env['XDG_RUNTIME_DIR']}".encode()
        if any(each.startswith(b"XDG_RUNTIME_DIR=") for each in variables) \
                and own not in variables:
            others.add(process.pid)
    return others


def test_zygote_status_and_stop(own_runtime, start):
    assert not zygote_pids(own_runtime)
    kernel = start(env=own_runtime)
    pids = zygote_pids(own_runtime)
    assert len(pids) == 1, zygote("status", env=own_runtime)
    kernel.run("x = 1")
    stopped = zygote("stop", env=own_runtime)
    assert stopped.returncode == 0
    assert not processes.wait_gone(pids, 5)
    assert not zygote_pids(own_runtime)
    assert kernel.run("x").result == "1", "kernels go on without the zygote"
    second = start(env=own_runtime)
    assert second.run("1+1").result == "2", "and a new one starts another"
    second.stop()
    kernel.stop()


def test_stop_without_a_zygote_is_no_error(own_runtime):
    assert zygote("stop", env=own_runtime).returncode == 0


def test_killed_zygote_is_replaced(own_runtime, start):
    first = start(env=own_runtime)
    first.run("x = 1")
    for pid in zygote_pids(own_runtime):
        os.kill(pid, signal.SIGKILL)
    second = start(env=own_runtime)
    assert second.run("1+1").result == "2"
    assert first.run("x").result == "1"
    second.stop()
    first.stop()


def test_zygote_off(own_runtime, start):
    env = {**own_runtime, "RINGFENCE_ZYGOTE": "off"}
    before = set(ours())
    kernel = start(env=env)
    assert kernel.run("6 * 7").result == "42"
    assert not zygote_pids(own_runtime)
    new = set(ours()) - before
    kernel.stop()
    assert not left_of(new)


def test_without_a_runtime_folder(start):
    env = kernel_environment(XDG_RUNTIME_DIR=None, TMPDIR=new_folder("tmp"))
    kernel = start(env=env)
    try:
        assert kernel.run("1+1").result == "2"
    finally:
        kernel.stop()
        zygote("stop", env=env)


def test_runtime_folder_of_others_is_refused(start):
    """A folder that others may write to is no place for the zygote's socket."""
    folder = new_folder("run")
    os.chmod(folder, 0o777)
    env = kernel_environment(XDG_RUNTIME_DIR=folder)
    kernel = start(env=env)
    try:
        assert kernel.run("1+1").result == "2"
        for path, folders, files in os.walk(folder):
            for name in folders + files:
                assert os.lstat(os.path.join(path, name)).st_mode & 0o077 == 0
    finally:
        kernel.stop()
        zygote("stop", env=env)


def test_runtime_folder_whose_path_is_too_long(start):
    folder = os.path.join(new_folder("run"), "x" * 120)
    os.mkdir(folder, 0o700)
    env = kernel_environment(XDG_RUNTIME_DIR=folder)
    kernel = start(env=env)
    try:
        assert kernel.run("1+1").result == "2"
    finally:
        kernel.stop()
        zygote("stop", env=env)


# What travels with the request

def test_environment_and_umask_are_the_clients(start):
    kernel = start(env=kernel_environment(OMP_RF_TEST="é value"))
    try:
        assert kernel.value("__import__('os').environ['OMP_RF_TEST']") == "é value"
    finally:
        kernel.stop()
    kernel = start()
    try:
        assert kernel.value("__import__('os').environ.get('OMP_RF_TEST')") is None
    finally:
        kernel.stop()


def start_under(prefix, name, code):
    """stdout of one cell of a kernel whose command line has `prefix` before it."""
    path = os.path.join(new_folder(), "kernel.json")
    info = new_connection()
    write_connection(path, info)
    child = subprocess.Popen([*prefix, *kernel_argv(name, path)], env=kernel_environment())
    try:
        with RawClient(info) as raw:
            raw.ready()
            _, messages = raw.run(code)
            raw.reply("control", raw.send("control", "shutdown_request", {"restart": False}))
        child.wait(10)
    finally:
        child.kill()
        child.wait()
    return "".join(each["content"]["text"] for each in messages if each["msg_type"] == "stream")


def test_nice_level_is_the_clients(warm, kernel_name):
    """The zygote has another, so the kernel does without it; no job leaves its limits."""
    assert start_under(["nice", "-n", "7"], kernel_name,
                       "import os; print(os.nice(0))").strip() == "7"
    assert start_under([], kernel_name, "import os; print(os.nice(0))").strip() == "0"


def test_cpus_are_the_clients(warm, kernel_name):
    cpu = min(os.sched_getaffinity(0))
    code = "import os; print(sorted(os.sched_getaffinity(0)))"
    assert start_under(["taskset", "-c", str(cpu)], kernel_name, code).strip() == f"[{cpu}]"
    assert start_under([], kernel_name, code).strip() == str(sorted(os.sched_getaffinity(0)))


def test_limits_and_umask_are_the_clients(warm, kernel_name):
    code = ("import os, resource; old = os.umask(0); os.umask(old)\n"
            "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], oct(old))")
    shell = ["sh", "-c", 'ulimit -n 200; umask 027; exec "$@"', "sh"]
    assert start_under(shell, kernel_name, code).split() == ["200", "0o27"]


# Capturing the output of a client

NBCLIENT = """
import nbformat, sys
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
notebook = new_notebook(cells=[new_code_cell("6 * 7")])
NotebookClient(notebook, kernel_name=sys.argv[1]).execute()
print(notebook.cells[0].outputs[0]['data']['text/plain'])
"""


def test_capture_ends_though_the_zygote_lives(kernel_name, own_runtime):
    """out=$(...): whoever reads the pipe gets its end when the client has ended."""
    reader, writer = os.pipe()
    done = subprocess.run([sys.executable, "-c", NBCLIENT, kernel_name], env=own_runtime,
                          cwd=new_folder(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          pass_fds=[writer], timeout=40, check=False, text=True)
    os.close(writer)
    assert done.returncode == 0 and done.stdout.strip() == "42", done
    os.set_blocking(reader, False)
    assert at_end(reader)
    os.close(reader)
    assert zygote_pids(own_runtime), "the zygote lives on"


def test_capture_of_nbconvert(kernel_name, own_runtime):
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    folder = new_folder()
    path = os.path.join(folder, "in.ipynb")
    nbformat.write(new_notebook(cells=[new_code_cell("print('cap' + 'tured')")]), path)
    done = subprocess.run([sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute",
                           "--stdout", f"--ExecutePreprocessor.kernel_name={kernel_name}", path],
                          env=own_runtime, capture_output=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert b"captured" in done.stdout


def test_zygote_status_can_be_captured(own_runtime, start):
    start(env=own_runtime).stop()
    started = time.monotonic()
    zygote("status", env=own_runtime)
    assert time.monotonic() - started < 20


# Packages that change

def write_package(folder, version):
    info = os.path.join(folder, f"rfprobe-{version}.dist-info")
    for name in os.listdir(folder):
        if name.startswith("rfprobe"):
            path = os.path.join(folder, name)
            subprocess.run(["rm", "-rf", path], check=True)
    os.makedirs(info)
    with open(os.path.join(info, "METADATA"), "w", encoding="utf-8") as file:
        file.write(f"Metadata-Version: 2.1\nName: rfprobe\nVersion: {version}\n")
    with open(os.path.join(folder, "rfprobe.py"), "w", encoding="utf-8") as file:
        file.write(f"VERSION = {version!r}\n")


VERSIONS = ("(__import__('rfprobe').VERSION, "
            "__import__('importlib.metadata').metadata.version('rfprobe'))")


@pytest.mark.parametrize("there", [True, False], ids=["folder there", "first package ever"])
def test_new_version_in_the_users_site_is_seen(start, own_runtime, there):
    home = new_folder("home")
    site = start().value("__import__('site').getusersitepackages()")
    if not site.startswith(os.environ["HOME"]):
        pytest.skip(f"absent layer: the user's site is not in the home folder: {site}")
    folder = os.path.join(home, os.path.relpath(site, os.environ["HOME"]))
    if there:
        os.makedirs(folder)
    kernel = start(env={**own_runtime, "HOME": home})
    assert kernel.run("import rfprobe").content["ename"] == "ModuleNotFoundError"
    os.makedirs(folder, exist_ok=True)
    for version in ("1.0", "2.0.1"):
        write_package(folder, version)
        kernel.restart()
        assert kernel.value(VERSIONS) == (version, version)


def test_new_version_of_a_preloaded_package_is_seen(start):
    """The zygote has imported it; the next kernel must not get the old one."""
    folder, prefix = new_folder("site"), new_folder("prefix")
    write_package(folder, "1.0")
    env = kernel_environment(PYTHONPATH=folder)
    done = subprocess.run([ringfence_program(), "install", "--prefix", prefix, "--name",
                           "ringfence-probe", "--preload", "rfprobe"], env=env, timeout=60,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kept = os.environ["JUPYTER_PATH"]
    os.environ["JUPYTER_PATH"] = os.path.join(prefix, "share", "jupyter")
    try:
        kernel = start("ringfence-probe", env=env)
        try:
            assert kernel.run("import sys; 'rfprobe' in sys.modules").result == "True"
            assert kernel.value(VERSIONS) == ("1.0", "1.0")
            time.sleep(1)
            write_package(folder, "2.0.1")
            kernel.restart()
            assert kernel.value(VERSIONS) == ("2.0.1", "2.0.1")
        finally:
            kernel.stop()
    finally:
        os.environ["JUPYTER_PATH"] = kept
        zygote("stop", env=env)


def test_the_notebooks_folder_cannot_shadow_what_a_zygote_imports(own_runtime, start):
    """cwd is never on the zygote's import path."""
    folder = new_folder()
    for name in ("json", "random", "traitlets", "IPython"):
        with open(os.path.join(folder, f"{name}.py"), "w", encoding="utf-8") as file:
            file.write("raise SystemExit('planted')\n")
    kernel = start(env=own_runtime, cwd=folder)
    try:
        assert kernel.run("1+1").result == "2"
    finally:
        kernel.stop()
    other = start(env=own_runtime)
    try:
        assert other.run("import json; json.dumps([1])").result == "'[1]'"
    finally:
        other.stop()
