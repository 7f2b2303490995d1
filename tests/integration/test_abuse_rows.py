"""Each row of the catalogue of abuses is a test that exists."""

import ast
import os

import pytest

from abuse_rows import ROWS

HERE = os.path.dirname(os.path.abspath(__file__))
GROUPS = {"R": 14, "S": 8, "F": 3, "C": 10}


def names_in(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as file:
        return {each.name for each in ast.walk(ast.parse(file.read()))
                if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")}


def test_no_row_is_missing():
    assert set(ROWS) == {f"{group}{n}" for group, most in GROUPS.items() for n in range(1, most + 1)}


@pytest.mark.parametrize("row", ROWS)
def test_row(row):
    missing = [f"{file}::{name}" for file, name in ROWS[row] if name not in names_in(file)]
    assert ROWS[row] and not missing
