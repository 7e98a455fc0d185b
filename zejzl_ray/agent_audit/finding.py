"""What the audit says: one place, one rule, what is wrong and what to do."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is; only an error fails a run."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, order=True, slots=True)
class Finding:
    """One thing to change.

    Attributes:
        path: the file, as it was reached.
        line: from 1.
        column: from 1, in characters.
        rule: id of the rule.
        level: error or warning.
        message: what is wrong; never holds a secret.
        remedy: what to do.
        end_line: last line of what is wrong, where an ignoring comment may also stand.
    """

    path: str
    line: int
    column: int
    rule: str
    level: Level
    message: str
    remedy: str
    end_line: int = 0
