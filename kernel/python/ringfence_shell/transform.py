"""IPython's input transformations, but quickly for cells that have nothing to transform.

IPython tokenizes each cell in Python, some 30 us a line, to find magics, !commands
and help?.  Where the characters that these need are nowhere, none can be found.  The
same holds for prompts and indentation to be taken away, and for cell magics.  And
its prefilters, which see a cell of one line, look for five kinds of first words.
"""

from __future__ import annotations

import re
from typing import Any

from IPython.core import inputtransformer2, prefilter
from IPython.core.autocall import IPyAutocall
from IPython.core.inputtransformer2 import TransformerManager
from IPython.core.macro import Macro

# What the shortcuts are known to be right for.  User code may add to them.
_CLEANUPS = [
    inputtransformer2.leading_empty_lines,
    inputtransformer2.leading_indent,
    inputtransformer2.classic_prompt,
    inputtransformer2.ipython_prompt,
    inputtransformer2.cell_magic,
]
_KNOWN = [
    inputtransformer2.MagicAssign,
    inputtransformer2.SystemAssign,
    inputtransformer2.EscapedCommand,
    inputtransformer2.HelpEnd,
]
_PROMPT = re.compile(r"\.\.\.|>>>|In \[")
# What may make a line special.  A space: the tokenizer also finds wrong indentation, and how
# that is shown depends on it.
_SPECIAL = re.compile(r"\A[,;/ \t\f\\]|[%!?]")


class Transformer(TransformerManager):
    """The shell's input_transformer_manager."""

    def transform_cell(self, cell: str) -> str:
        known = self.cleanup_transforms + self.line_transforms == _CLEANUPS
        if not known or not cell[:1].isalpha() or _PROMPT.search(cell):
            return super().transform_cell(cell)
        if not cell.endswith("\n"):
            cell += "\n"
        return "".join(self.do_token_transforms(cell.splitlines(keepends=True)))

    def do_token_transforms(self, lines: list[str]) -> list[str]:
        if self.token_transformers == _KNOWN and not any(map(_SPECIAL.search, lines)):
            return lines
        return super().do_token_transforms(lines)


_CHECKERS = [
    prefilter.EmacsChecker,
    prefilter.MacroChecker,
    prefilter.IPyAutocallChecker,
    prefilter.AssignmentChecker,
    prefilter.AutoMagicChecker,
    prefilter.PythonOpsChecker,
    prefilter.AutocallChecker,
]
_WORD = re.compile(r"[^\W\d][\w.]*+(?!\*)")  # as prefilters split a line that begins with a name


def is_left_alone(shell: Any, cell: str) -> bool:
    """True if the shell's prefilters would not change the transformed cell."""
    if cell.count("\n") != 1 or not cell.endswith("\n"):
        return len(cell.splitlines()) > 1
    manager = shell.prefilter_manager
    word = _WORD.match(cell)
    if word is None or manager.transformers or list(map(type, manager.checkers)) != _CHECKERS:
        return False
    name = word.group()
    if "PYTHON-MODE" in cell or shell.autocall or shell.find_magic(name):
        return False
    normal = type(manager.handlers.get("normal")) is prefilter.PrefilterHandler
    return normal and not isinstance(shell.user_ns.get(name), (Macro, IPyAutocall))
