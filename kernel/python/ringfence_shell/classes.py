"""What a checkpoint made now could serve for, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Finding:
    reason: str = ""  # why the checkpoint is crash-only; "": it is not
    spared: int = 0  # threads beside the main one that a fork can leave out

    def describe(self) -> str:
        return f"crash-only: {self.reason}" if self.reason else "full: all of it can go into one"


def survey() -> Finding:
    return Finding()
