"""Every behaviour of compatibility_rows.py, on ipykernel and on Ringfence."""

import re

import pytest

import compatibility_rows
from helpers import plain

KERNELS = ["ringfence", "ringfence-tests", "python3"]
CASES = [pytest.param(row, id=f"{group}: {row.name}")
         for group, rows in compatibility_rows.GROUPS.items() for row in rows]


def run(kernel, code, answers=()):
    cell = kernel.execute(code, allow_stdin=bool(answers))
    for answer in answers:
        kernel.client.answer(answer)
    return cell.wait(60)


def matches(pattern, text):
    return pattern is None or re.search(pattern, plain(text or "").strip())


@pytest.mark.parametrize("row", CASES)
def test_row(kernel, row):
    check(kernel, row)


def check(kernel, row, before=compatibility_rows.BEFORE):
    """Runs the row's cell and compares what comes with what the row says."""
    if not hasattr(kernel, "prepared"):
        kernel.prepared = run(kernel, before)
        assert kernel.prepared.status == "ok", kernel.prepared.error
    row = row.on(kernel.name)
    if row.setup:
        run(kernel, row.setup)
    cell = run(kernel, row.code, row.answers)
    said = cell.describe() + plain(cell.error)
    assert re.fullmatch(row.error, cell.content.get("ename", "")), said
    assert matches(row.out, cell.stdout) and matches(row.err, cell.stderr), said
    assert matches(row.result, cell.result), said
    assert set(row.shows) <= set(cell.types), said
    displays = cell.of("display_data")
    assert len(displays) == len(row.mimes), said
    for display, mime in zip(displays, row.mimes):
        assert mime in display["content"]["data"], said
    sources = [each["source"] for each in cell.content.get("payload", ())]
    assert sources == ([row.payload] if row.payload else []), said
