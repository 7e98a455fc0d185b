"""What readers and validators of a startup configuration have to say: one fault, its place, its remedy."""

from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """An error keeps the fleet from being used; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Place:
    """A place in a file, and what stands there in the context of a finding.

    Lines and columns count from 1; 0 means the file as a whole.
    """

    file: str
    line: int = 0
    column: int = 0
    text: str = ""

    def __str__(self) -> str:
        """Return ``file:line:column``, or the file alone where there is no line."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True)
class Finding:
    """One fault of a startup configuration.

    ``code`` is a stable name to filter by, such as ``port-clash``. ``path`` is the dotted path of the faulty
    value (``agent_groups.core_services.ServiceRegistry.port``). ``subject`` names the agent, variable or port
    it is about. ``related`` are the other places one has to look at, such as the other end of a clash.
    """

    severity: Severity
    code: str
    message: str
    remedy: str = ""
    file: str = ""
    line: int = 0
    column: int = 0
    path: str = ""
    subject: str = ""
    related: tuple[Place, ...] = field(default=())

    @property
    def is_error(self) -> bool:
        """Whether the fleet cannot be used because of it."""
        return self.severity is Severity.ERROR

    @property
    def place(self) -> Place:
        """Where it is."""
        return Place(self.file, self.line, self.column)

    @property
    def sort_key(self) -> tuple[str, int, int, str, str]:
        """Order of a report: file, line, column, then code and message, so that two runs print the same."""
        return (self.file, self.line, self.column, self.code, self.message)

    def __str__(self) -> str:
        """Return ``file:line:column: severity: message. Remedy``, on one line."""
        text = f"{self.place}: {self.severity}: {self.message}"
        return _one_line(f"{text.rstrip('.')}. {self.remedy}" if self.remedy else text)


def _one_line(text: str) -> str:
    """Escape what a file can smuggle into a terminal or a log: line breaks and control characters."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def error(
    code: str,
    message: str,
    place: Place,
    *,
    remedy: str = "",
    path: str = "",
    subject: str = "",
    related: tuple[Place, ...] = (),
) -> Finding:
    """Return an error at ``place``."""
    return Finding(
        Severity.ERROR, code, message, remedy, place.file, place.line, place.column, path, subject, related
    )


def warning(
    code: str,
    message: str,
    place: Place,
    *,
    remedy: str = "",
    path: str = "",
    subject: str = "",
    related: tuple[Place, ...] = (),
) -> Finding:
    """Return a warning at ``place``."""
    return Finding(
        Severity.WARNING, code, message, remedy, place.file, place.line, place.column, path, subject, related
    )
