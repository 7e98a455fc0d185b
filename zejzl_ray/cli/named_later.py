"""Commands whose modules are loaded when somebody names them: each start of a node runs `zejzl` three times."""

from collections.abc import Iterator, MutableMapping, Sequence
from importlib import import_module
from typing import Any, ClassVar, Final, NamedTuple

import typer
from typer.core import TyperGroup

_PACKAGE: Final = "zejzl_ray.cli"


class Later(NamedTuple):
    """Where a command is.

    Attributes:
        name: by which it is called.
        module: of this package.
        help: of a group of commands, the ``app`` of its module; empty for the function that is called as the command.
    """

    name: str
    module: str
    help: str = ""

    def load(self) -> Any:
        """Import its module and return it; a command as Typer makes one, whose own click has no public types."""
        module = import_module(f"{_PACKAGE}.{self.module}")
        holder = typer.Typer()
        if self.help:
            holder.add_typer(module.app, name=self.name, help=self.help)
        else:
            holder.command(self.name)(getattr(module, self.name))
        return typer.main.get_group(holder).commands[self.name]


class LaterGroup(TyperGroup):
    """A group with further commands that are named in a table; a subclass gives the table."""

    later: ClassVar[Sequence[Later]] = ()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _Commands(self.later, self.commands)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names; loads nothing."""
        return list(self.commands)


class _Commands(MutableMapping[str, Any]):
    """Name -> command: those of the table first, loaded when they are taken out."""

    def __init__(self, later: Sequence[Later], here: MutableMapping[str, Any]) -> None:
        self._known: dict[str, Any] = {**{entry.name: entry for entry in later}, **here}

    def __getitem__(self, name: str) -> Any:
        found = self._known[name]
        if isinstance(found, Later):
            found = self._known[name] = found.load()
        return found

    def __setitem__(self, name: str, command: Any) -> None:
        self._known[name] = command

    def __delitem__(self, name: str) -> None:
        del self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, name: object) -> bool:
        return name in self._known
