"""The command line: install, uninstall, doctor, and what it says about mistakes."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys

import pytest

from helpers import Settings, kernel_environment, new_folder, ringfence_program

pytestmark = pytest.mark.skipif(not Settings.prefix, reason="RINGFENCE_PREFIX is not set")

SPEC_FILES = ["kernel.json", "logo-32x32.png", "logo-64x64.png", "logo-svg.svg"]


def run(*arguments, program=None, stdin=None, **changes):
    return subprocess.run([program or ringfence_program(), *arguments], capture_output=True,
                          text=True, timeout=60, env=kernel_environment(**changes), check=False,
                          stdin=stdin or subprocess.DEVNULL)


def read_spec(folder):
    with open(os.path.join(folder, "kernel.json"), encoding="utf-8") as file:
        return json.load(file)


def script(folder, name, text):
    """An executable shell script."""
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n" + text)
    os.chmod(path, 0o755)
    return path


@pytest.fixture
def moved():
    """A copy of the installation at another place, with a manifest as the installer writes it."""
    prefix = os.path.join(new_folder("moved"), "p")
    shutil.copytree(Settings.prefix, prefix, ignore=shutil.ignore_patterns(
        "kernelspecs.list", "manifest", "jupyter", "__pycache__"))
    write_manifest(prefix)
    return prefix


def write_manifest(prefix):
    files, folders = [], []
    for here, _, names in os.walk(prefix):
        relative = os.path.relpath(here, prefix)
        folders += [] if relative == "." else [relative + "/"]
        files += [os.path.normpath(os.path.join(relative, name)) for name in names]
    with open(os.path.join(prefix, "share/ringfence/manifest"), "w", encoding="utf-8") as file:
        file.write("\n".join(files + sorted(folders, reverse=True)) + "\n")


def program_of(prefix):
    return os.path.join(prefix, "bin", "ringfence")


def left_in(folder):
    return sorted(os.path.relpath(os.path.join(here, name), folder)
                  for here, _, names in os.walk(folder) for name in names)


# The program

def test_version():
    got = run("--version")
    assert (got.returncode, got.stderr) == (0, "")
    assert re.fullmatch(r"ringfence \d+\.\d+\.\d+\n", got.stdout)


def test_help_names_every_command():
    got = run("--help")
    assert got.returncode == 0
    for command in ("kernel", "install", "uninstall", "zygote", "env", "doctor"):
        assert re.search(rf"^  {command} ", got.stdout, re.M), got.stdout


@pytest.mark.parametrize("command", ["kernel", "install", "uninstall", "zygote", "env", "doctor"])
def test_each_command_has_help(command):
    got = run(command, "--help")
    assert (got.returncode, got.stderr) == (0, "")
    assert got.stdout.startswith(f"usage: ringfence {command}")


@pytest.mark.parametrize("arguments, says", [
    ([], "usage: ringfence"),
    (["frobnicate"], 'no command "frobnicate"'),
    (["install", "--frobnicate"], "no option --frobnicate"),
    (["install", "word"], "one word too many"),
    (["install", "--name"], "--name needs a value"),
    (["install", "--user=1"], "--user takes no value"),
    (["install", "--user", "--sys-prefix"], "exclude each other"),
    (["install", "--name", "a b"], "cannot name a kernelspec"),
    (["install", "--name", "../up"], "cannot name a kernelspec"),
    (["install", "--name", ".."], "cannot name a kernelspec"),
    (["install", "--preload", "os;import x"], "no list of modules"),
    (["uninstall", "--name", "x", "--all"], "exclude each other"),
    (["zygote", "dance"], "status or stop"),
    (["env", "dance"], "say reset"),
])
def test_mistakes(arguments, says):
    got = run(*arguments)
    assert got.returncode == 2
    assert says in got.stderr, got.stderr


# Install

def test_install_for_the_user(moved):
    data = new_folder("data")
    got = run("install", program=program_of(moved), JUPYTER_DATA_DIR=data)
    assert got.returncode == 0, got.stderr
    folder = os.path.join(data, "kernels", "ringfence")
    assert folder in got.stdout
    assert sorted(os.listdir(folder)) == SPEC_FILES
    assert read_spec(folder) == {
        "argv": [program_of(moved), "kernel", "-f", "{connection_file}"],
        "display_name": "Python 3 (Ringfence)", "language": "python",
        "interrupt_mode": "message", "kernel_protocol_version": "5.5",
        "metadata": {"debugger": False}}
    for name in SPEC_FILES:
        assert stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) & 0o444 == 0o444


@pytest.mark.parametrize("changes, where", [
    ({"JUPYTER_DATA_DIR": None, "XDG_DATA_HOME": "{0}/x"}, "x/jupyter/kernels/ringfence"),
    ({"JUPYTER_DATA_DIR": None, "XDG_DATA_HOME": None, "HOME": "{0}"},
     ".local/share/jupyter/kernels/ringfence"),
])
def test_install_follows_jupyter(moved, changes, where):
    base = new_folder()
    changes = {name: value and value.format(base) for name, value in changes.items()}
    got = run("install", "--user", program=program_of(moved), **changes)
    assert got.returncode == 0, got.stderr
    assert os.path.exists(os.path.join(base, where, "kernel.json"))


def test_install_sys_prefix(moved):
    environment, other = new_folder("venv"), new_folder("bin")
    got = run("install", "--sys-prefix", program=program_of(moved), VIRTUAL_ENV=environment)
    assert got.returncode == 0, got.stderr
    assert os.path.exists(f"{environment}/share/jupyter/kernels/ringfence/kernel.json")
    script(other, "python3", f"echo {other}\n")
    got = run("install", "--sys-prefix", program=program_of(moved), VIRTUAL_ENV=None,
              CONDA_PREFIX=None, PATH=other + ":/usr/bin:/bin")
    assert got.returncode == 0, got.stderr
    assert os.path.exists(f"{other}/share/jupyter/kernels/ringfence/kernel.json")


def test_install_with_all_options(moved):
    base = new_folder()
    got = run("install", "--prefix", base, "--name", "My-2.x", "--display-name", 'A "quoted" \\ ü',
              "--python", sys.executable, "--preload", "json,os.path", program=program_of(moved))
    assert got.returncode == 0, got.stderr
    spec = read_spec(f"{base}/share/jupyter/kernels/My-2.x")
    assert spec["argv"][4:] == ["--python", sys.executable, "--preload", "json,os.path"]
    assert spec["display_name"] == 'A "quoted" \\ ü'


def test_install_again_and_never_over_another_kernel(moved):
    base = new_folder()
    for _ in range(2):
        assert run("install", "--prefix", base, program=program_of(moved)).returncode == 0
    with open(f"{moved}/share/ringfence/kernelspecs.list", encoding="utf-8") as file:
        assert file.read() == f"{base}/share/jupyter/kernels/ringfence\n"
    foreign = f"{base}/share/jupyter/kernels/python3"
    os.mkdir(foreign)
    with open(f"{foreign}/kernel.json", "w", encoding="utf-8") as file:
        json.dump({"argv": ["python", "-m", "ipykernel"], "display_name": "x"}, file)
    got = run("install", "--prefix", base, "--name", "python3", program=program_of(moved))
    assert got.returncode == 1
    assert "of another program" in got.stderr
    assert os.listdir(foreign) == ["kernel.json"]


@pytest.mark.parametrize("answer, says", [
    ("echo 3 10 8.5.0\necho x", "is Python 3.10; Ringfence runs on 3.11 to 3.13"),
    ("echo 3 14 9.0.0\necho x", "is Python 3.14; Ringfence runs on 3.11 to 3.13"),
    ("echo 3 12 -\necho x", "-m pip install ipython"),
    ("echo 3 12 8.4.0\necho x", "Ringfence needs 8.5 or later"),
    ("echo hello", "does not answer as a Python interpreter does"),
    ("exit 3", "does not answer as a Python interpreter does"),
])
def test_python_is_checked(answer, says):
    base = new_folder()
    got = run("install", "--prefix", base, "--python", script(base, "python", answer + "\n"))
    assert got.returncode == 1
    assert says in got.stderr, got.stderr
    assert not os.path.exists(f"{base}/share")


def test_python_that_is_not_there():
    got = run("install", "--prefix", new_folder(), "--python", "/nowhere/python")
    assert (got.returncode, "/nowhere/python: No such file" in got.stderr) == (1, True)
    got = run("install", "--prefix", new_folder(), "--python", "no-such-python")
    assert (got.returncode, "on the PATH" in got.stderr) == (1, True)


def test_a_moved_installation_runs(moved):
    from helpers import Kernel

    name = "ringfence-moved"
    got = run("install", "--name", name, program=program_of(moved))
    assert got.returncode == 0, got.stderr
    kernel = Kernel(name)
    try:
        assert kernel.run("1+1").result == "2"
    finally:
        kernel.stop()
        run("zygote", "stop", program=program_of(moved))
        run("uninstall", "--name", name, program=program_of(moved))


# Uninstall

def test_uninstall_one_kernelspec(moved):
    base = new_folder()
    for name in ("one", "two"):
        run("install", "--prefix", base, "--name", name, program=program_of(moved))
    got = run("uninstall", "--name", "one", program=program_of(moved))
    assert got.returncode == 0, got.stderr
    assert os.listdir(f"{base}/share/jupyter/kernels") == ["two"]
    got = run("uninstall", "--name", "one", program=program_of(moved))
    assert (got.returncode, "no kernelspec" in got.stderr) == (1, True)


def test_uninstall_all_leaves_what_is_not_ours(moved):
    base = new_folder()
    run("install", "--prefix", base, program=program_of(moved))
    for path in ("bin/other", "lib/ringfence/mine.txt"):
        with open(os.path.join(moved, path), "w", encoding="utf-8") as file:
            file.write("mine")
    os.makedirs(f"{moved}/lib/ringfence/ringfence_shell/__pycache__", exist_ok=True)
    with open(f"{moved}/lib/ringfence/ringfence_shell/__pycache__/worker.cpython-311.pyc", "w",
              encoding="utf-8"):
        pass
    got = run("uninstall", "--yes", program=program_of(moved))
    assert got.returncode == 0, got.stderr
    assert left_in(moved) == ["bin/other", "lib/ringfence/mine.txt"]
    assert not os.path.exists(f"{moved}/libexec")
    assert not os.path.exists(f"{base}/share/jupyter/kernels/ringfence")


def test_uninstall_refuses_to_leave_the_prefix(moved):
    outside = new_folder("outside")
    victim = os.path.join(outside, "victim")
    with open(victim, "w", encoding="utf-8"):
        pass
    os.symlink(outside, f"{moved}/lib/link")
    with open(f"{moved}/share/ringfence/manifest", "a", encoding="utf-8") as file:
        file.write(f"{victim}\n../{os.path.basename(outside)}/victim\nlib/link/victim\n"
                   f"lib/../../{os.path.basename(outside)}/victim\n")
    got = run("uninstall", "--yes", program=program_of(moved))
    assert got.returncode == 1
    assert got.stderr.count("leads out of the prefix") == 4, got.stderr
    assert os.path.exists(victim)
    assert os.path.exists(f"{moved}/share/ringfence/manifest")


def test_uninstall_leaves_a_kernelspec_that_was_replaced(moved):
    base = new_folder()
    run("install", "--prefix", base, program=program_of(moved))
    path = f"{base}/share/jupyter/kernels/ringfence/kernel.json"
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"argv": ["other"]}, file)
    run("uninstall", "--yes", program=program_of(moved))
    assert os.path.exists(path)


def test_uninstall_without_a_manifest_removes_nothing(moved):
    os.unlink(f"{moved}/share/ringfence/manifest")
    before = left_in(moved)
    got = run("uninstall", "--yes", program=program_of(moved))
    assert (got.returncode, "manifest" in got.stderr) == (1, True)
    assert left_in(moved) == before


def test_uninstall_asks(moved):
    import pexpect

    child = pexpect.spawn(program_of(moved), ["uninstall"], env=kernel_environment(), timeout=20)
    child.expect(r"\[y/N\]")
    child.sendline("n")
    child.expect("Nothing was removed")
    child.expect(pexpect.EOF)
    assert os.path.exists(program_of(moved))


# Doctor

def test_doctor():
    got = run("doctor")
    assert (got.returncode, got.stderr) == (0, "")
    for layer in ("Linux", "cgroup", "network helper", "runtime folder", "zygotes", "profiles",
                  "built-in Python"):
        assert re.search(rf"^  (ok|LACKS|note) +{layer}  ", got.stdout, re.M), (layer, got.stdout)
    assert "--sandbox=require" in got.stdout
    assert re.search(r"ok +built-in Python +Python 3\.\d+, IPython \d", got.stdout), got.stdout


def test_doctor_says_what_to_do_about_python():
    folder = new_folder("bin")
    script(folder, "python3", "echo 3 12 -\necho x\n")
    got = run("doctor", PATH=folder + ":/usr/bin:/bin")
    assert got.returncode == 0
    assert "-m pip install ipython" in got.stdout
