"""What is wrong with a policy: one fault, its place, its remedy."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class PolicyProblem:
    """One fault of a policy.

    Attributes:
        code: stable name to filter by, such as ``unknown-role``.
        message: what is wrong, one sentence without its full stop.
        remedy: what to do about it; empty when there is nothing to add.
        path: keys and positions that lead to the faulty value.
        is_error: the policy cannot be used; else it is a warning.
        file: as it was named; empty for a policy that came over the wire.
        line: counts from 1; 0 means the file as a whole.
        column: counts from 1.
    """

    code: str
    message: str
    remedy: str = ""
    path: Path = ()
    is_error: bool = True
    file: str = ""
    line: int = 0
    column: int = 0

    @property
    def place(self) -> str:
        """Where it is: file, line and column where there is a file, else the path in the policy."""
        if self.file:
            return f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return ".".join(str(part) for part in self.path) or "policy"

    def __str__(self) -> str:
        """Return ``place: error: message. Remedy`` on one line, control characters written out."""
        severity = "error" if self.is_error else "warning"
        text = f"{self.place}: {severity}: {self.message}."
        return shown(f"{text} {self.remedy}" if self.remedy else text, most=2048)


def shown(text: str, most: int = 64) -> str:
    """Return a text that is safe in a terminal, a log or a message: cut, control characters written out."""
    cut = text if len(text) <= most else text[:most] + "..."
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """Return a remedy: the nearest known word as a question, or ``otherwise`` when none is near."""
    near = difflib.get_close_matches(word[:160], sorted(known), n=1, cutoff=0.6)
    return f"Did you mean {near[0]}?" if near else otherwise
