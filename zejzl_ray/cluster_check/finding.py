"""One thing that is not well: where, what, and what to do."""

from dataclasses import dataclass
from typing import Final

HERE: Final = "here"
"""Stands for the computer that asks, where that is none of the machines."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has to say.

    Attributes:
        machine: its name, or :data:`HERE`.
        check: which check says so, a stable word to filter by.
        what: what is wrong, one sentence without a full stop.
        remedy: what to do, one sentence or two.
    """

    machine: str
    check: str
    what: str
    remedy: str

    def as_dict(self) -> dict[str, str]:
        """Return it for JSON."""
        return {"machine": self.machine, "check": self.check, "what": self.what, "remedy": self.remedy}
