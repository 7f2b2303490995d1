"""What bench/run measures of checkpoints: sessions of some sizes, and dill on the same ones."""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from branch import ask

ARRAYS = "import os\ndata = [bytearray(os.urandom(1 << 20)) * 100 for _ in range({mb} // 100)]"
OBJECTS = "data = [(n, str(n)) for n in range({mb} * 6400)]"  # some 160 bytes each
STATES = {"nothing": ("data = []", 0),
          **{f"{name}, {mb} MB": (code.format(mb=mb), mb)
             for name, code in (("arrays", ARRAYS), ("small objects", OBJECTS))
             for mb in (100, 1000, 4000)}}
DILL_MOST_MB = {"arrays": 4000, "small objects": 100}  # minutes for more
DUMP = """
import sys, time
{build}
import dill
began = time.perf_counter()
dill.dump_session(sys.argv[1])
print((time.perf_counter() - began) * 1e3)
"""
REST = 0.3
LOOPS = {"1,000 trivial cells": ("x = 1", "x += 1", 5),  # the last: rounds
         "1,000 cells that rewrite 1 GB in place":
             ("import numpy\na = numpy.ones(1 << 27)", "a += 1", 1)}
SLOWED = 4  # a cell that takes so many times the median was slowed by a checkpoint


def order(client, operation, **more):
    reply, ms = ask(client, "ringfence_checkpoint_request", {"operation": operation, **more})
    assert reply["status"] == "ok", reply
    return reply, ms


def trip(client, code="pass"):
    return ask(client, "execute_request",
               {"code": code, "silent": False, "store_history": True, "user_expressions": {},
                "allow_stdin": False, "stop_on_error": True})


def recover(client):
    """From the request that kills to the result of the next cell, and from its reply to that."""
    crashed, died = trip(client, "import os; os.kill(os.getpid(), 11)")
    assert crashed["ename"] == "WorkerDied", crashed
    reply, after = trip(client, "assert len(data) == size")
    assert reply["status"] == "ok", reply
    return died + after, after


def end_branch(rawclient, path):
    with open(path, encoding="utf-8") as file:
        with rawclient.RawClient(json.load(file)) as client:
            msg_id = client.send("control", "shutdown_request", {"restart": False})
            client.reply("control", msg_id, 60)


def measure_state(kernel, rawclient, rounds):
    """Figures of a kernel that has its state; each list is of `rounds` values."""
    client = kernel.client
    found = {name: [] for name in (
        "checkpoint", "cell after a rest", "of cells in a row, each", "crash to the next result",
        "  of it after the reply", "rollback", "branch", "completion while busy")}
    order(client, "checkpoint", name="here")
    for _ in range(rounds):
        time.sleep(REST)
        found["cell after a rest"].append(trip(client)[1])
        found["checkpoint"].append(order(client, "checkpoint", name="here")[1])
        found["rollback"].append(order(client, "rollback", name="here")[1])
        time.sleep(REST)
        whole, after = recover(client)
        found["crash to the next result"].append(whole)
        found["  of it after the reply"].append(after)
        began = time.perf_counter()
        for _ in range(100):
            trip(client)
        found["of cells in a row, each"].append((time.perf_counter() - began) * 10)
    time.sleep(REST)
    msg_id = client.execute("while True: pass")
    time.sleep(REST)
    for _ in range(2 * rounds):
        reply, ms = ask(client, "complete_request", {"code": "siz", "cursor_pos": 3})
        assert "size" in reply["matches"], reply
        found["completion while busy"].append(ms)
    client.send("control", "interrupt_request", {})
    client.reply("shell", msg_id, 60)
    for _ in range(rounds):  # last: one that ends frees its objects, for seconds where there are many
        time.sleep(REST)
        reply, ms = order(client, "branch", name="here")
        found["branch"].append(ms)
        end_branch(rawclient, reply["checkpoint"]["branch"]["connection_file"])
    return found


def measure_kernel(make_kernel, rawclient, state, rounds):
    kernel = make_kernel()
    try:
        kernel.client.ready(60)
        msg_id = kernel.client.execute(STATES[state][0] + "\nsize = len(data)")
        assert kernel.client.reply("shell", msg_id, 120)["content"]["status"] == "ok"
        kernel.client.until_idle(msg_id, 60)
        time.sleep(2 * REST)
        return measure_state(kernel, rawclient, rounds)
    finally:
        kernel.stop()


def lost_share(times):
    """What the cells that a checkpoint slowed take beyond the median cell, in percent of a loop
    of median cells.  They take many times as long; what the machine adds to others does not
    count, but a cell that it holds up for as long does."""
    usual = statistics.median(times)
    return 100 * sum(each - usual for each in times if each > SLOWED * usual) / (len(times) * usual)


def measure_loop(make_kernel, name):
    """Of a fresh kernel that has rested, so that the first cell pays for a checkpoint, too."""
    begin, cell, _ = LOOPS[name]
    kernel = make_kernel()
    try:
        kernel.client.ready(60)
        reply, _ = trip(kernel.client, begin)
        if reply["status"] != "ok":
            print(f"note: no {name}: {reply['evalue']}", file=sys.stderr)
            return None
        time.sleep(1)
        return lost_share([trip(kernel.client, cell)[1] for _ in range(1000)])
    finally:
        kernel.stop()


def measure_dill(state, folder):
    """Milliseconds of dill.dump_session of the same variables; None: it is missing, or takes
    minutes."""
    build, mb = STATES[state]
    if not mb or mb > DILL_MOST_MB[state.split(",")[0]] or not importlib.util.find_spec("dill"):
        return None
    with tempfile.TemporaryDirectory(dir=folder) as there:
        done = subprocess.run([sys.executable, "-c", DUMP.format(build=build),
                               os.path.join(there, "session")], text=True, capture_output=True,
                              check=True)
    return float(done.stdout)


def measure(make_kernel, rawclient, folder, rounds):
    """{"state: figure, ms": values}"""
    figures = {}
    if not importlib.util.find_spec("dill"):
        print("note: dill is not installed, so there is nothing beside it", file=sys.stderr)
    for name, (_, _, most) in LOOPS.items():  # first: a kernel with gigabytes ends for seconds
        shares = [measure_loop(make_kernel, name) for _ in range(min(rounds, most))]
        if None not in shares:
            figures[f"{name}: lost to checkpoints, %"] = shares
    for state in STATES:
        for figure, values in measure_kernel(make_kernel, rawclient, state, rounds).items():
            figures[f"{state}: {figure}, ms"] = values
        dumped = measure_dill(state, folder)
        if dumped:
            figures[f"{state}: dill.dump_session, ms"] = [dumped]
    return figures
