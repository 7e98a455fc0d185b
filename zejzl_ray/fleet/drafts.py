"""What the readers found, with places: the input of the validators."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from zejzl_ray.fleet.document import Node, Scalar, Table
from zejzl_ray.fleet.finding import Finding, Place, error, warning
from zejzl_ray.fleet.model import (
    AgentDeclaration,
    Fleet,
    HostDeclaration,
    MachineDeclaration,
    ServiceDeclaration,
)

D = TypeVar("D", AgentDeclaration, HostDeclaration, MachineDeclaration, ServiceDeclaration)


@dataclass(frozen=True)
class Draft(Generic[D]):
    """One declaration and where it stands.

    ``place`` is where its name stands. ``places`` holds the place of each value that was written down: by
    field (``port``), and ``dependencies.<name>`` for the items of a list. That of ``environment.<name>`` also has
    the text as it is written, before placeholders are replaced. ``path`` is the dotted path in the file, and
    ``keys`` the key that the file uses for a field, where it is another one.
    """

    declaration: D
    place: Place
    path: str
    places: Mapping[str, Place] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of what is declared."""
        return self.declaration.name

    def where(self, name: str, text: str = "") -> Place:
        """Return the place of a field, or of the whole where the field is not written down."""
        place = self.places.get(name, self.place)
        return Place(place.file, place.line, place.column, text)

    def path_of(self, name: str) -> str:
        """Return the dotted path of a field, in the file's own words."""
        return f"{self.path}.{self.keys.get(name, name)}"

    def error(
        self,
        code: str,
        name: str,
        message: str,
        remedy: str,
        *,
        subject: str = "",
        related: tuple[Place, ...] = (),
    ) -> Finding:
        """Return an error at the field ``name``; its subject is this declaration unless another is given."""
        return error(
            code,
            message,
            self.where(name),
            remedy=remedy,
            path=self.path_of(name),
            subject=subject or self.name,
            related=related,
        )

    def warning(
        self,
        code: str,
        name: str,
        message: str,
        remedy: str,
        *,
        subject: str = "",
        related: tuple[Place, ...] = (),
    ) -> Finding:
        """Return a warning at the field ``name``."""
        return warning(
            code,
            message,
            self.where(name),
            remedy=remedy,
            path=self.path_of(name),
            subject=subject or self.name,
            related=related,
        )


def variable_places(node: Node) -> dict[str, Place]:
    """Return where each environment variable of a mapping stands, with its text as it is written."""
    found: dict[str, Place] = {}
    for name, entry in node.entries.items() if isinstance(node, Table) else ():
        if isinstance(entry.node, Scalar) and entry.node.value is not None:
            place = entry.node.place
            found[f"environment.{name}"] = Place(place.file, place.line, place.column, entry.node.text)
    return found


@dataclass(frozen=True)
class FleetContext:
    """Everything a validator may look at.

    ``agents``, ``machines``, ``services`` and ``hosts`` are in file order and hold repeated declarations too; ``fleet``
    holds the first of each name.
    """

    fleet: Fleet
    agents: tuple[Draft[AgentDeclaration], ...]
    machines: tuple[Draft[MachineDeclaration], ...] = ()
    services: tuple[Draft[ServiceDeclaration], ...] = ()
    hosts: tuple[Draft[HostDeclaration], ...] = ()

    @property
    def running_agents(self) -> tuple[Draft[AgentDeclaration], ...]:
        """The first declaration of each name, without agents that are switched off (``enabled: false``)."""
        first: dict[str, Draft[AgentDeclaration]] = {}
        for draft in self.agents:
            first.setdefault(draft.name, draft)
        return tuple(
            draft for draft in first.values() if draft.declaration.extras.get("enabled") is not False
        )
