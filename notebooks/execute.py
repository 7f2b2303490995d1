"""Executes a notebook, cell by cell, and shows how it goes.

    execute.py NOTEBOOK OUTPUT [--kernel ringfence]
"""

import argparse
import os
import sys
import time

import nbclient
import nbformat


PAUSE = 0.1  # between cells, as with a person: the kernel takes its checkpoint while it is idle


class Progress:
    """One line per code cell: number, first line, outcome, time."""

    def __init__(self, cells):
        self.total = sum(cell.cell_type == "code" for cell in cells)
        self.number = 0
        self.started = 0.0

    def on_start(self, cell, cell_index):
        if cell.cell_type != "code":
            return
        time.sleep(PAUSE)
        self.number += 1
        self.started = time.monotonic()
        line = next((line for line in cell.source.splitlines() if line.strip()), "")
        print(f"  [{self.number}/{self.total}] {line[:52]:<52} ", end="", flush=True)

    def on_executed(self, cell, cell_index, execute_reply):
        outcome = execute_reply["content"]["status"]
        if outcome == "error":
            outcome = execute_reply["content"]["ename"]
        print(f"{outcome}, {(time.monotonic() - self.started) * 1000:.0f} ms", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebook")
    parser.add_argument("output")
    parser.add_argument("--kernel", default="ringfence")
    options = parser.parse_args()
    notebook = nbformat.read(options.notebook, as_version=4)
    progress = Progress(notebook.cells)
    folder = os.path.dirname(os.path.abspath(options.output))
    client = nbclient.NotebookClient(
        notebook, kernel_name=options.kernel, timeout=120, resources={"metadata": {"path": folder}},
        on_cell_start=progress.on_start, on_cell_executed=progress.on_executed)
    try:
        client.execute()
    except nbclient.exceptions.CellExecutionError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        notebook.metadata.kernelspec = {"name": options.kernel, "language": "python",
                                        "display_name": "Python 3 (Ringfence)"}
        nbformat.write(notebook, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
