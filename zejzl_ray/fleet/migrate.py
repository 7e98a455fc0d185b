"""Old startup files as one file of the new schema, with nothing lost: expressions and comments stay too."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from zejzl_ray.errors import FleetInvalid
from zejzl_ray.fleet.document import Node, Scalar, plain
from zejzl_ray.fleet.expressions import has_placeholder
from zejzl_ray.fleet.fields import FieldReader
from zejzl_ray.fleet.finding import Finding
from zejzl_ray.fleet.legacy_nodes import read_text
from zejzl_ray.fleet.legacy_text import LegacyText
from zejzl_ray.fleet.load import Family, LoadedFleet, load_fleet
from zejzl_ray.fleet.model import Fleet
from zejzl_ray.fleet.writer import write_unified

#: key of an old or new file -> the field it fills, where an expression is evaluated
_FIELDS: Final = {
    "port": "port",
    "health_check_port": "health_port",
    "health_port": "health_port",
    "required": "required",
    "critical": "required",
    "script_path": "entry",
    "script": "entry",
    "path": "entry",
    "entry": "entry",
    "host": "host",
    "ip": "host",
}

#: faults of a value or a place that cannot be taken over as it is written
_LOSING: Final = frozenset(
    {
        "duplicate-key",
        "name-invalid",
        "port-range",
        "service-unknown",
        "wrong-type",
        "wrong-value",
        "yaml-documents",
        "yaml-key",
        "yaml-merge",
        "yaml-recursive",
        "yaml-tag",
    }
)


@dataclass(frozen=True)
class Migrated:
    """The new text, what the old files say (which the text says too), and what is wrong with them."""

    text: str
    fleet: Fleet
    findings: tuple[Finding, ...]


def migrate_files(
    files: Sequence[Path],
    *,
    environment: Mapping[str, str] | None = None,
    comment: str = "",
    is_loss_allowed: bool = False,
) -> Migrated:
    """Return old (or new) files as one text of the new schema.

    Reading the text gives the same fleet as reading the files, under any environment. A second declaration
    of an agent cannot stand in the new schema; it is kept as a comment. ``comment`` is put above the text.
    With ``is_loss_allowed`` what cannot be taken over is left out instead of refused.

    Raises:
        FleetInvalid: a file cannot be read, or something in it cannot be taken over.
    """
    loaded = load_fleet(files, environment=environment)
    if loaded.fleet is None:
        raise FleetInvalid("\n".join(str(finding) for finding in loaded.errors))
    if not is_loss_allowed:
        refuse_losses(loaded.findings)
    reader = _RawReader()
    raw = load_fleet(files, reader=reader, validators=())
    fleet = raw.fleet or loaded.fleet
    text = write_unified(
        fleet,
        comment=comment,
        expressions=_expressions(reader, raw, fleet),
        comments=_comments(raw, files),
    )
    return Migrated(text, loaded.fleet, loaded.findings)


def refuse_losses(findings: Iterable[Finding]) -> None:
    """Refuse files in which something stands that the new schema would silently lack.

    Raises:
        FleetInvalid: names each such place, one a line.
    """
    losing = [
        str(finding)
        for finding in findings
        if finding.is_error
        and (finding.code in _LOSING or (finding.code == "missing-field" and finding.path.endswith(".name")))
    ]
    if losing:
        lines = [*losing, "The new file would lack what stands there, so nothing was written."]
        raise FleetInvalid("\n".join(lines))


class _RawReader(FieldReader):
    """Reads texts as they are written, and notes where a value that must be evaluated is an expression."""

    def __init__(self) -> None:
        super().__init__({})
        #: (file, path) -> the expression that stands there
        self.expressions: dict[tuple[str, str], str] = {}

    def plain(self, node: Node, path: str) -> Any:  # the path is for messages
        """Return a value as plain data, expressions untouched."""
        return plain(node)

    def texts(self, node: Node, path: str) -> dict[str, str]:
        """Return a mapping to texts, expressions untouched."""
        table = self.table(node, path)
        entries = table.entries if table is not None else {}
        return {
            key: entry.node.text if entry.node.value is not None else ""
            for key, entry in entries.items()
            if isinstance(entry.node, Scalar)
        }

    def port(self, node: Node, path: str) -> int | None:
        """Return the port, and note an expression."""
        self._note(node, path)
        return super().port(node, path)

    def boolean(self, node: Node, path: str) -> bool | None:
        """Return the flag, and note an expression."""
        self._note(node, path)
        return super().boolean(node, path)

    def text(self, node: Node, path: str) -> str | None:
        """Return the text, and note an expression."""
        self._note(node, path)
        return super().text(node, path)

    def _note(self, node: Node, path: str) -> None:
        if isinstance(node, Scalar) and has_placeholder(node.text):
            self.expressions.setdefault((node.place.file, path), node.text)


def _expressions(reader: _RawReader, loaded: LoadedFleet, fleet: Fleet) -> dict[tuple[str, str, str], str]:
    machines = {
        str(source.path): source.machine for source in loaded.sources if source.family is Family.LEGACY
    }
    found: dict[tuple[str, str, str], str] = {}
    for (file, path), text in reader.expressions.items():
        above, _, key = path.rpartition(".")
        if key == "error_bus_port":
            machine = machines.get(file) or above.removeprefix("machines.")
            found[("machines", machine, key)] = text
        elif key in _FIELDS:
            part = "services" if above.startswith("services.") else "agents"
            members = fleet.services if part == "services" else fleet.agents
            # A name may hold dots: the longest that ends the path is the one.
            names = [name for name in members if above == name or above.endswith(f".{name}")]
            if names:
                name = max(names, key=len)
                found.setdefault((part, loaded.renamed.get((file, name), name), _FIELDS[key]), text)
    return found


def _comments(loaded: LoadedFleet, files: Sequence[Path]) -> dict[tuple[str, str], list[str]]:
    """Comments by (part, name): those inside of an old entry, and what a second declaration says."""
    old = {source.path for source in loaded.sources if source.family is Family.LEGACY}
    found: dict[tuple[str, str], list[str]] = {}
    for path in files:
        if path not in old:
            continue
        document = LegacyText(read_text(path), str(path))
        for entry in document.entries:
            name = loaded.renamed.get((str(path), entry.name), entry.name)
            lines = found.setdefault(("agents", name), [])
            if entry is not document.named(entry.name)[0]:
                lines.append(f"declared again in {path.name}, {entry.path}, with {entry.one_line()}")
            lines += document.comments(entry)
    return found
