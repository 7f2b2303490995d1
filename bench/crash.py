"""What bench/run measures of crashes: from the moment of death to the next cell's result."""

import json
import os
import time

MEMORY = "600M"  # the kernel's limit
BEGIN = """
import ctypes, mmap, os, signal, struct, sys, time
data = bytearray(100 << 20)
data[::4096] = bytes(len(data) // 4096)
with open("last", "wb") as file: file.write(bytes(8))
last = mmap.mmap(os.open("last", os.O_RDWR), 8)
def alive(): struct.pack_into("d", last, 0, time.perf_counter())
"""
DEATHS = {
    "SIGSEGV in C": "alive(); ctypes.string_at(0)",
    "SIGABRT": "alive(); os.abort()",
    "SIGBUS": "alive(); os.kill(os.getpid(), signal.SIGBUS)",
    "stack overflow in C": "sys.setrecursionlimit(10**9)\n"
                           "deeper = ctypes.CFUNCTYPE(None)(lambda: (alive(), deeper()))\ndeeper()",
    "os._exit": "alive(); os._exit(1)",
    "SIGKILL": "alive(); os.kill(os.getpid(), signal.SIGKILL)",
    "out of memory": "held = []\nwhile True: held.append(b'x' * (1 << 20)); alive()",
}
REST = 0.3


def configure(home):
    """A profile for it; its name."""
    folder = os.path.join(home, ".config", "ringfence")
    os.makedirs(folder)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump({"profiles": {"crash": {"memory": MEMORY}}}, file)
    return "crash"


def measure(kernel, folder, rounds):
    """{figure: values}; the worker and this process have the same clock.  What a cell does
    between its last word and its death is counted, too."""
    client, figures = kernel.client, {}
    reply, _ = client.run(BEGIN)
    assert reply["content"]["status"] == "ok", reply
    with open(os.path.join(folder, "last"), "rb") as last:
        for _ in range(rounds):
            for name, code in DEATHS.items():
                time.sleep(REST)
                reply, _ = client.run(code)
                if reply["content"]["ename"] == "MemoryError":  # without cgroups: nobody died
                    client.run("held = None")
                    continue
                assert reply["content"]["ename"] in ("WorkerDied", "MemoryLimit"), reply
                reply, _ = client.run("len(data)")
                done = time.perf_counter()
                assert reply["content"]["status"] == "ok", reply
                last.seek(0)
                (died,) = memoryview(last.read()).cast("d")
                figures.setdefault(f"{name}: to the next result, ms", []).append(
                    (done - died) * 1e3)
    return figures
