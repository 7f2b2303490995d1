"""What bench/run measures of ours alone: answers while a cell runs, and branches."""

import json
import sys
import time

CELLS = {"Python": "import time\nend = time.monotonic() + 600\nwhile time.monotonic() < end: pass",
         "C": "import hashlib\nhashlib.pbkdf2_hmac('sha256', b'a', b'b', 2 * 10**9)"}
ASKED = [("complete_request", {"code": "os.pa", "cursor_pos": 5}),
         ("complete_request", {"code": "os.", "cursor_pos": 3}),
         ("inspect_request", {"code": "os.path.join", "cursor_pos": 12, "detail_level": 0}),
         ("is_complete_request", {"code": "for x in y:"})]


def ask(client, msg_type, content):
    """(reply's content, milliseconds)"""
    began = time.perf_counter()
    msg_id = client.send("shell", msg_type, content)
    reply = client.reply("shell", msg_id, 60)["content"]
    return reply, (time.perf_counter() - began) * 1e3


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measure_busy(kernel, rounds):
    """Answers while the worker burns a processor in Python, then in C; the last cell is left
    running, since no interrupt reaches it."""
    client, figures = kernel.client, {}
    client.run("import os")
    time.sleep(0.5)
    for name, code in CELLS.items():
        client.execute(code)
        time.sleep(0.3)
        taken = []
        for _ in range(rounds):
            for msg_type, content in ASKED:
                reply, ms = ask(client, msg_type, content)
                assert reply["status"] in ("ok", "incomplete"), reply
                assert reply.get("matches") != [] and reply.get("found") is not False, reply
                taken.append(ms)
        figures[f"answer while {name} runs, ms"] = taken
        figures[f"  95 % of them ({name}), ms"] = percentile(taken, 0.95)
        if name == "Python":
            client.send("control", "interrupt_request", {})
            time.sleep(0.5)
    return figures


def measure_branches(bench, kernel, rawclient, pss_below, count):
    """Time to a branch's connection file, and to its first result; memory of one more."""
    client, made, first, branches = kernel.client, [], [], []
    client.run("import os; data = bytearray(os.urandom(1 << 20)) * 100")
    time.sleep(0.5)
    before, _ = pss_below(bench.reaper)
    for _ in range(count):
        began = time.perf_counter()
        reply, ms = ask(client, "ringfence_checkpoint_request", {"operation": "branch"})
        assert reply["status"] == "ok", reply
        made.append(ms)
        with open(reply["checkpoint"]["branch"]["connection_file"], encoding="utf-8") as file:
            branches.append(rawclient.RawClient(json.load(file), reconnect_ms=1))
        msg_id = branches[-1].execute("x = len(data)", user_expressions={"x": "x"})
        content = branches[-1].reply("shell", msg_id, 60)["content"]
        assert content["user_expressions"]["x"]["data"]["text/plain"] == str(100 << 20), content
        first.append((time.perf_counter() - began) * 1e3)
        time.sleep(0.2)
    time.sleep(2)
    after, unread = pss_below(bench.reaper)
    for process in set(unread):
        print(f"note: memory of {process} could not be read (not root?)", file=sys.stderr)
    for each in branches:
        each.send("control", "shutdown_request", {"restart": False})
    for each in branches:
        each.close()
    return {"branch of 100 MB, ms": made, "  to its first result, ms": first,
            "  PSS of each, MB": (after - before) / count / 1024}
