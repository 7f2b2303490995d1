"""Profiles from the command line and the configuration: what a kernel gets of them."""

import json
import os
import shutil
import subprocess

import pytest

from helpers import (Settings, kernel_argv, kernel_environment, new_folder, ringfence_program,
                     zygote)

pytestmark = pytest.mark.ringfence_only("about Ringfence's profiles")


def configured(config, **changes):
    folder = new_folder("config")
    os.mkdir(os.path.join(folder, "ringfence"))
    with open(os.path.join(folder, "ringfence", "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    return kernel_environment(XDG_CONFIG_HOME=folder, **changes)


def fails(env, *arguments):
    """What a kernel that does not start prints."""
    path = os.path.join(new_folder(), "kernel.json")
    got = subprocess.run([*kernel_argv("ringfence", path), *arguments], env=env, text=True,
                         capture_output=True, timeout=60, check=False)
    assert got.returncode == 1, got
    return got.stderr


@pytest.mark.parametrize("config, arguments, says", [
    ({}, ["--profile", "none"], 'no profile "none" (known: workspace, offline, strict, off)'),
    ({"profile": "none"}, [], 'no profile "none"'),
    ({}, ["--sandbox", "maybe"], "--sandbox is auto or require"),
    ({"sandbox": "maybe"}, [], '"sandbox" must be "auto" or "require"'),
    ({"profiles": {"big": {"memroy": "1G"}}}, [], 'profiles.big: there is no key "memroy"'),
    ({"profiles": {"big": {"memory": "1X"}}}, [], "profiles.big.memory must be a number of bytes"),
])
def test_mistakes_name_their_place(kernel_name, config, arguments, says):
    text = fails(configured(config), *arguments)
    assert says in text
    assert "config.json" in text or arguments or config == {"profile": "none"}


def test_the_banner_names_profile_and_what_is_lost(start, own_runtime):
    env = {**configured({"profiles": {"mine": {"base": "offline"}}}), **{
        "XDG_RUNTIME_DIR": own_runtime["XDG_RUNTIME_DIR"]}}
    kernel = start(env=env, arguments=["--profile", "mine"])
    banner = kernel.client.request("shell", "kernel_info_request")["banner"]
    assert "sandbox: profile mine" in banner


def test_a_workspace_that_is_the_home_folder_is_told(start, own_runtime):
    home = new_folder("home")
    kernel = start(env={**own_runtime, "HOME": home}, cwd=home)
    banner = kernel.client.request("shell", "kernel_info_request")["banner"]
    assert f"the workspace {home} is your home folder: hidden files" in banner


@pytest.mark.parametrize("profile, variable", [("workspace", "IPYTHONDIR"), ("strict", None)])
def test_the_users_profile_of_ipython_is_loaded_and_cannot_be_changed(
        start, own_runtime, profile, variable):
    home = new_folder("home")
    ipython = os.path.join(home, "own" if variable else ".ipython")
    folder = os.path.join(ipython, "profile_default")
    os.makedirs(os.path.join(folder, "startup"))
    for name, text in (("startup/10-first.py", "STARTED = 5\n"), ("ipython_config.py",
                       "get_config().InteractiveShell.ast_node_interactivity = 'all'\n")):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)
    env = {**{k: v for k, v in own_runtime.items() if k != "IPYTHONDIR"}, "HOME": home}
    kernel = start(env=env if not variable else {**env, variable: ipython},
                   arguments=["--profile", profile])
    assert kernel.value("STARTED") == 5
    assert kernel.value("get_ipython().ast_node_interactivity") == "all"
    tries = ["open(PATH, 'a')", "__import__('os').unlink(PATH)",
             "open(PATH.replace('10-', '20-'), 'w')"]
    for each in tries:
        code = each.replace("PATH", repr(os.path.join(folder, "startup", "10-first.py")))
        assert "Error" in kernel.run(code).error.split("\n")[0], each
    assert os.listdir(os.path.join(folder, "startup")) == ["10-first.py"]


def test_only_listed_variables_come_in(start, own_runtime):
    secrets = {"JUPYTER_TOKEN": "s", "AWS_SECRET_ACCESS_KEY": "s", "SSH_AUTH_SOCK": "/s",
               "MY_OWN": "mine", "LC_MEASUREMENT": "C", "OMP_NUM_THREADS": "1"}
    config = configured({"profiles": {"mine": {"env": ["MY_*"]}}})
    names = "sorted(set(__import__('os').environ) & %r)" % set(secrets)
    for profile, seen in (("workspace", ["LC_MEASUREMENT", "OMP_NUM_THREADS"]),
                          ("mine", ["LC_MEASUREMENT", "MY_OWN", "OMP_NUM_THREADS"]),
                          ("off", sorted(secrets))):
        env = {**config, **secrets, "XDG_RUNTIME_DIR": own_runtime["XDG_RUNTIME_DIR"]}
        kernel = start(env=env, arguments=["--profile", profile])
        assert kernel.value(names) == seen, profile
        kernel.stop()
    zygote("stop", env={**config, "XDG_RUNTIME_DIR": own_runtime["XDG_RUNTIME_DIR"]})


@pytest.mark.parametrize("profile, name, display", [
    ("strict", "ringfence-strict", "Python 3 (Ringfence, strict)"),
    ("mine", "ringfence-mine", "Python 3 (Ringfence, mine)"),
])
def test_a_kernelspec_for_a_profile(kernel_name, profile, name, display):
    prefix = new_folder("prefix")
    env = configured({"profiles": {"mine": {"base": "strict"}}})
    subprocess.run([ringfence_program(), "install", "--prefix", prefix, "--profile", profile],
                   env=env, check=True, capture_output=True, timeout=60)
    with open(os.path.join(prefix, "share/jupyter/kernels", name, "kernel.json"),
              encoding="utf-8") as file:
        spec = json.load(file)
    assert spec["display_name"] == display
    assert spec["argv"][-2:] == ["--profile", profile]


def test_a_kernelspec_for_no_profile(kernel_name):
    got = subprocess.run([ringfence_program(), "install", "--prefix", new_folder(), "--profile", "x"],
                         capture_output=True, text=True, timeout=60, check=False)
    assert got.returncode == 2 and 'there is no profile "x"' in got.stderr


# Packages

def wheel(folder, name, version):
    """A wheel, written by hand: it takes no network and no build."""
    import zipfile
    path = os.path.join(folder, f"{name}-{version}-py3-none-any.whl")
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\n"
                                       "Tag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


def has_pip(kernel):
    if kernel.value("__import__('importlib.util').util.find_spec('pip') is None"):
        pytest.skip("absent layer: the kernel's interpreter has no pip")


def test_caches_outlive_the_kernel(start, own_runtime):
    cache = "__import__('os').path.join(__import__('os').environ['XDG_CACHE_HOME'], 'rf-test')"
    work = new_folder("work")
    first = start(cwd=work)
    first.run(f"import os; os.makedirs({cache})")
    assert start(cwd=work).value(f"__import__('os').path.isdir({cache})") is True
    assert start(cwd=new_folder("work")).value(f"__import__('os').path.isdir({cache})") is False


def test_pip_installs_into_the_layer(start, own_runtime):
    work = new_folder()
    env = {**own_runtime, "XDG_DATA_HOME": new_folder("data")}
    kernel = start(env=env, cwd=work)
    has_pip(kernel)
    for version in ("1.0", "2.0"):
        path = wheel(work, "rflayered", version)
        cell = kernel.run(f"%pip install --no-index {path}", timeout=120)
        assert "Successfully installed" in cell.stdout, cell.describe()
    assert kernel.value("__import__('rflayered').VERSION") == "2.0"
    assert kernel.value("__import__('rflayered').__file__").startswith(env["XDG_DATA_HOME"])
    code = "import subprocess, sys; subprocess.check_output([sys.executable, '-c', " \
           "'import rflayered; print(rflayered.VERSION)'], text=True)"
    assert kernel.run(code).result == repr("2.0\n")
    kernel.stop()
    again = start(env=env, cwd=work)
    assert again.value("__import__('rflayered').VERSION") == "2.0"
    elsewhere = start(env=env, cwd=new_folder())
    assert elsewhere.run("import rflayered").content["ename"] == "ModuleNotFoundError"
    got = subprocess.run([ringfence_program(), "env", "reset", "--workspace", work], env=env,
                         capture_output=True, text=True, timeout=30, check=True)
    assert "removed" in got.stdout and work in got.stdout
    again.stop()
    assert start(env=env, cwd=work).run("import rflayered").content["ename"] == "ModuleNotFoundError"


# Doctor

def test_doctor_prints_what_the_kernel_program_says(kernel_name):
    prefix = os.path.join(new_folder("moved"), "p")
    shutil.copytree(Settings.prefix, prefix)
    program = os.path.join(prefix, "libexec/ringfence/ringfence-kernel")
    os.rename(program, program + ".real")
    with open(program, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n[ \"$1\" = --probe-sandbox ] || exec \"$0.real\" \"$@\"\n"
                   "echo '{\"user\": {\"works\": false, \"why\": \"denied here\"},"
                   " \"seccomp\": {\"works\": true, \"why\": \"\"}}'\nexit 1\n")
    os.chmod(program, 0o755)
    env = configured({"profiles": {"open": {"network": "host"}}})
    got = subprocess.run([os.path.join(prefix, "bin/ringfence"), "doctor"], env=env, text=True,
                         capture_output=True, timeout=60, check=True)
    lines = [" ".join(line.split()) for line in got.stdout.splitlines()]
    assert "LACKS user denied here" in lines
    assert any("sysctl kernel.unprivileged_userns_clone=1" in line for line in lines)
    assert "ok seccomp works" in lines
    assert any(line.startswith("note open network=host") for line in lines)
    assert any(line.startswith("note off network=host") for line in lines)
