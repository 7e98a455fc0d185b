"""The start commands of a cluster file, taken apart: which machine is which, and what is set for it."""

import re
import shlex
from dataclasses import dataclass, field
from typing import Final

from zejzl_ray.errors import InvalidInput

_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_ENDS: Final = frozenset({"&&", "||", ";", "|"})


@dataclass(frozen=True, slots=True)
class StartCommand:
    """One ``zejzl node start``.

    Attributes:
        is_head: whether it starts the head.
        program: path or name of ``zejzl``.
        machine: what ``--machine`` says; empty without it.
        workers: what each ``--worker`` says: name, address.
        environment: variables that stand before the command.
    """

    is_head: bool
    program: str = "zejzl"
    machine: str = ""
    workers: tuple[tuple[str, str], ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


def parse_start_command(text: str) -> StartCommand | None:
    """Return the ``zejzl node start`` in a shell command; None when there is none.

    Raises:
        InvalidInput: the quotes do not match, or a ``--worker`` is not NAME=ADDRESS.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InvalidInput(f"the command cannot be read: {error}.", "Close the quotes.") from None
    for index in range(len(words) - 2):
        program = words[index].rpartition("/")[2]
        if program == "zejzl" and words[index + 1 : index + 3] == ["node", "start"]:
            return _parsed(words[:index], words[index], words[index + 3 :])
    return None


def parse_worker(text: str) -> tuple[str, str]:
    """Return name and address of ``NAME=ADDRESS``.

    Raises:
        InvalidInput: it is something else.
    """
    name, separator, address = text.partition("=")
    if not separator or not name.strip() or not address.strip():
        raise InvalidInput(f"{text!r} is no NAME=ADDRESS.", "Write it as pc2=192.168.1.11.")
    return name.strip(), address.strip()


def _parsed(before: list[str], program: str, after: list[str]) -> StartCommand:
    options: dict[str, list[str]] = {}
    rest = iter(after)
    for word in rest:
        if word in _ENDS:
            break
        name, separator, value = word.partition("=")
        if name in ("--machine", "--worker"):
            options.setdefault(name, []).append(value if separator else next(rest, ""))
        else:
            options.setdefault(name, [])
    environment: dict[str, str] = {}
    exported: dict[str, str] = {}
    is_export = False
    for word in before:
        is_end = word in _ENDS or word.endswith(";")
        if word == "export":
            is_export = True
        elif _ASSIGNMENT.fullmatch(word):
            name, _, value = word.removesuffix(";").partition("=")
            (exported if is_export else environment)[name] = value
        if is_end:  # what stood before a command counts for that command only
            environment.clear()
            is_export = False
    environment = {**exported, **environment}
    return StartCommand(
        is_head="--head" in options,
        program=program,
        machine=(options.get("--machine") or [""])[-1],
        workers=tuple(parse_worker(text) for text in options.get("--worker", ())),
        environment=environment,
    )
