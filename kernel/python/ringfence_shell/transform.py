"""IPython's input transformations, without tokenizing cells that have nothing to transform.

IPython tokenizes each cell in Python, some 30 us a line, to find magics, !commands
and help?.  Where the characters that these need are nowhere, none can be found.
"""

from __future__ import annotations

from IPython.core import inputtransformer2
from IPython.core.inputtransformer2 import TransformerManager

# What the shortcut is known to be right for.  User code may add to them.
_KNOWN = [
    inputtransformer2.MagicAssign,
    inputtransformer2.SystemAssign,
    inputtransformer2.EscapedCommand,
    inputtransformer2.HelpEnd,
]
_ANYWHERE = ("%", "!", "?")
# A space: the tokenizer also finds wrong indentation, and how that is shown depends on it.
_FIRST = (",", ";", "/", " ", "\t", "\f", "\\")


class Transformer(TransformerManager):
    """The shell's input_transformer_manager."""

    def do_token_transforms(self, lines: list[str]) -> list[str]:
        if self.token_transformers == _KNOWN and not any(map(_may_be_special, lines)):
            return lines
        return super().do_token_transforms(lines)


def _may_be_special(line: str) -> bool:
    return line.startswith(_FIRST) or any(sign in line for sign in _ANYWHERE)
