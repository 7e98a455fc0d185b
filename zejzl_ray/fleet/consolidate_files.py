"""The fifteen old agents become five services: the owner's own two files, each in its own schema."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from zejzl_ray.errors import FleetInvalid
from zejzl_ray.fleet.consolidate import Rewired, consolidate_fleet
from zejzl_ray.fleet.correct_texts import correct_texts
from zejzl_ray.fleet.corrections import Corrected, apply_corrections
from zejzl_ray.fleet.finding import Finding
from zejzl_ray.fleet.legacy_nodes import read_text
from zejzl_ray.fleet.legacy_text import LegacyText
from zejzl_ray.fleet.load import LoadedFleet, load_fleet
from zejzl_ray.fleet.migrate import migrate_files
from zejzl_ray.fleet.model import Fleet, ServiceDeclaration
from zejzl_ray.fleet.replacements import service_of

_UNEDITABLE: Final = frozenset({"yaml-documents", "yaml-recursive"})
_PLACE: Final = re.compile(r"\S+:\d+:\d+")
_COMMENT: Final = "Consolidated services; each does the work of the agents named in its aliases."
_HEAD: Final = """\
The fleet of both machines: made by `zejzl fleet consolidate` from the two old startup files.
Check it after an edit: zejzl fleet validate config/fleet.yaml"""


@dataclass(frozen=True)
class Consolidation:
    """All that ``consolidate_files`` found and made; nothing is written yet.

    ``before`` and ``after`` are what the files say before and after, ``old_fleet`` and ``fleet`` their
    fleets. ``texts`` are the two files by their new file name, ``unified`` is what they say in the new
    schema. ``gone`` are the findings that only stand in ``before``.
    """

    before: LoadedFleet
    after: LoadedFleet
    old_fleet: Fleet
    fleet: Fleet
    removed: Mapping[str, str]
    rewired: tuple[Rewired, ...]
    corrected: tuple[Corrected, ...]
    texts: Mapping[str, str]
    unified: str
    gone: tuple[Finding, ...]


def consolidate_files(
    mainpc: Path,
    pc2: Path,
    *,
    is_correcting: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Consolidation:
    """Return the two files after the consolidation, each in its own schema, and the report's material.

    Everything that does not change keeps its text, its comments and its place. With ``is_correcting`` the
    known corrections are made too. The new files are read back and must say what was intended.

    Raises:
        FleetInvalid: a file cannot be read, is not of its machine, or cannot be edited safely.
    """
    files = {"mainpc": mainpc, "pc2": pc2}
    names = _new_names(mainpc, pc2)
    texts = {names[machine]: read_text(path) for machine, path in files.items()}
    line_ends = {names[machine]: _line_end(path) for machine, path in files.items()}
    before = _without_folders(load_fleet([mainpc, pc2], environment=environment), [mainpc, pc2])
    old_fleet = _fleet_of(before)
    for source, machine in zip(before.sources, names, strict=True):
        if source.machine != machine:
            raise FleetInvalid(
                f"{source.path} is not an old startup file of {machine}.",
                "Give MainPC's file, then PC2's file.",
            )
    _refuse_uneditable(before)
    read, corrected_texts = before, tuple[Corrected, ...]()
    if is_correcting:
        texts, corrected_texts = correct_texts(texts)
        read = _read_back(texts, environment)
    start = _with_old_names_of_replaced_agents(read)
    merged = consolidate_fleet(start)
    wanted, corrected = apply_corrections(merged.fleet) if is_correcting else (merged.fleet, ())
    new_texts = {
        name: _edited(LegacyText(texts[name], name), machine, start, wanted, _renamed_in(read, machine))
        for machine, name in names.items()
    }
    after = _read_back(new_texts, environment)
    if after.fleet != wanted:
        raise FleetInvalid(
            "the consolidated files would not say what was intended, so nothing was written.",
            "They use something that cannot be edited in place, such as YAML anchors: write it out first.",
        )
    left = {_identity(finding) for finding in after.findings}
    return Consolidation(
        before=before,
        after=after,
        old_fleet=old_fleet,
        fleet=wanted,
        removed=merged.removed,
        rewired=merged.rewired,
        corrected=(*corrected, *corrected_texts),
        texts={name: text.replace("\n", line_ends[name]) for name, text in new_texts.items()},
        unified=_unified(new_texts),
        gone=tuple(finding for finding in before.findings if _identity(finding) not in left),
    )


def _line_end(path: Path) -> str:
    """Return how the lines of a file end: as on Windows only where all of them do."""
    data = path.read_bytes()
    windows = data.count(b"\r\n")
    return "\r\n" if windows and windows == data.count(b"\n") else "\n"


def _refuse_uneditable(loaded: LoadedFleet) -> None:
    """Refuse files that mean something else to an editor of their text than to a reader of their values."""
    for finding in loaded.findings:
        if finding.code in _UNEDITABLE:
            raise FleetInvalid(str(finding))


def _edited(
    document: LegacyText, machine: str, start: Fleet, wanted: Fleet, renamed: Mapping[str, str]
) -> str:
    meaning = service_of()
    in_file = {new: old for old, new in renamed.items()}
    declared = {entry.name for entry in document.entries}
    for entry in document.entries:
        if entry.name in wanted.services:
            document.add_fields(
                entry, _new_fields(start.services.get(entry.name), wanted.services[entry.name])
            )
            continue
        name = renamed.get(entry.name, entry.name)
        new, old = wanted.agents.get(name), start.agents.get(name)
        if new is None or old is None:
            document.remove(entry)
            continue
        document.rewire(
            entry,
            {
                in_file.get(name, name): in_file.get(name) or _kept(meaning.get(name, name), new.dependencies)
                for name in old.dependencies
            },
        )
        for field in ("port", "health_port"):
            number, moved = getattr(old, field), getattr(new, field)
            if number != moved:
                document.renumber(entry, field, number, moved)
    services = [
        service
        for service in wanted.services.values()
        if service.home == machine and service.name not in declared and service.name not in start.services
    ]
    document.insert_entries([_entry_fields(service) for service in services], comment=_COMMENT)
    return document.result()


def _renamed_in(loaded: LoadedFleet, machine: str) -> dict[str, str]:
    """Return, for the file of a machine, its names that are others in the fleet."""
    files = {str(source.path) for source in loaded.sources if source.machine == machine}
    return {old: new for (file, old), new in loaded.renamed.items() if file in files}


def _with_old_names_of_replaced_agents(loaded: LoadedFleet) -> Fleet:
    """Return the fleet, where two machines have one agent that a service replaces, with that agent once."""
    fleet = _fleet_of(loaded)
    replaced = service_of()
    old_names = {new: old for (_, old), new in loaded.renamed.items() if old in replaced}
    agents = {
        name: agent.model_copy(
            update={"dependencies": tuple(old_names.get(word, word) for word in agent.dependencies)}
        )
        for name, agent in fleet.agents.items()
        if name not in old_names
    }
    return fleet.model_copy(update={"agents": agents})


def _kept(name: str, dependencies: Sequence[str]) -> str | None:
    return name if name in dependencies else None


def _new_fields(old: ServiceDeclaration | None, new: ServiceDeclaration) -> dict[str, Any]:
    """What a service that already stands in the file lacks."""
    if old is None:
        return {}
    return {
        field: list(getattr(new, field))
        for field in ("dependencies", "aliases")
        if getattr(new, field) and not getattr(old, field)
    }


def _entry_fields(service: ServiceDeclaration) -> dict[str, Any]:
    """The service as an entry of the old schemas; one HTTP server answers health and metrics on its port."""
    return {
        "name": service.name,
        "kind": "service",
        "script_path": f"actors/{service.name}.py",
        "port": service.port,
        "health_check_port": service.port,
        "required": True,
        "home": service.home,
        "fallback": service.fallback,
        "dependencies": list(service.dependencies),
        "aliases": list(service.aliases),
    }


def _new_names(mainpc: Path, pc2: Path) -> dict[str, str]:
    """File names of the results: as they were, with the machine in front where both are called the same."""
    if mainpc.name == pc2.name:
        return {"mainpc": f"mainpc_{mainpc.name}", "pc2": f"pc2_{pc2.name}"}
    return {"mainpc": mainpc.name, "pc2": pc2.name}


def _fleet_of(loaded: LoadedFleet) -> Fleet:
    """Faults do not matter here, they are reported; only a file that cannot be read does."""
    return loaded.fleet if loaded.fleet is not None else loaded.raise_if_invalid()


def _read_back(texts: Mapping[str, str], environment: Mapping[str, str] | None) -> LoadedFleet:
    with _as_files(texts) as paths:
        return _without_folders(load_fleet(paths, environment=environment), paths)


def _unified(texts: Mapping[str, str]) -> str:
    with _as_files(texts) as paths:
        return migrate_files(paths, comment=_HEAD, is_loss_allowed=True).text


@contextmanager
def _as_files(texts: Mapping[str, str]) -> Iterator[list[Path]]:
    with TemporaryDirectory(prefix="zejzl-fleet-") as folder:
        paths = [Path(folder) / name for name in texts]
        for path, text in zip(paths, texts.values(), strict=True):
            path.write_text(text, encoding="utf-8")
        yield paths


def _without_folders(loaded: LoadedFleet, paths: Sequence[Path]) -> LoadedFleet:
    """Findings that name files by their name alone: the folder of a file that was read back is gone."""

    def short(text: str) -> str:
        for path in paths:
            text = text.replace(str(path), path.name)
        return text

    findings = tuple(
        replace(
            finding,
            file=short(finding.file),
            message=short(finding.message),
            related=tuple(replace(place, file=short(place.file)) for place in finding.related),
        )
        for finding in loaded.findings
    )
    return replace(loaded, findings=findings)


def _identity(finding: Finding) -> tuple[str, frozenset[str]]:
    """What makes two findings one fault, although lines have moved and its parts have changed their order."""
    return finding.code, frozenset(re.findall(r"[\w.$]+", _PLACE.sub("", finding.message)))
