"""From files to a validated fleet."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from zejzl_ray.errors import FleetInvalid
from zejzl_ray.fleet.document import Document, Items, Scalar, Table
from zejzl_ray.fleet.drafts import Draft, FleetContext
from zejzl_ray.fleet.fields import FieldReader
from zejzl_ray.fleet.finding import Finding, error
from zejzl_ray.fleet.legacy import GROUPS, LISTS, PC2_SERVICES, is_legacy, read_legacy, report_repeated_keys
from zejzl_ray.fleet.model import (
    SCHEMA,
    AgentDeclaration,
    Fleet,
    HostDeclaration,
    MachineDeclaration,
    ServiceDeclaration,
)
from zejzl_ray.fleet.overlay import lay_over
from zejzl_ray.fleet.same_names import tell_apart
from zejzl_ray.fleet.suggest import closest
from zejzl_ray.fleet.unified import SECTIONS, is_unified, read_unified
from zejzl_ray.fleet.validators import Validator, all_validators, run_validators
from zejzl_ray.fleet.yaml_reader import read_document


class Family(StrEnum):
    """Which kind of file it is."""

    UNIFIED = "unified"
    LEGACY = "legacy"
    OVERLAY = "overlay"


@dataclass(frozen=True)
class Source:
    """One file that was read; ``machine`` is the one an old file is about."""

    path: Path
    family: Family
    machine: str | None = None


@dataclass(frozen=True)
class LoadedFleet:
    """What the files say, and what is wrong with it.

    ``fleet`` is None only when a file could not be read at all; where the files have errors it holds what was
    usable, and the first of declarations that stand twice. ``findings`` are in order of file, line and
    column. ``sources`` are the files that were understood, in the order given, the overlay last. ``renamed``
    leads from (file, name in it) to the name in the fleet, for agents that two machines have of one name.
    """

    fleet: Fleet | None
    findings: tuple[Finding, ...]
    sources: tuple[Source, ...] = ()
    renamed: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that keep the fleet from being used."""
        return tuple(finding for finding in self.findings if finding.is_error)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that do not."""
        return tuple(finding for finding in self.findings if not finding.is_error)

    def raise_if_invalid(self) -> Fleet:
        """Return the fleet.

        Raises:
            FleetInvalid: there is at least one error; the message lists the errors, one a line.
        """
        if self.errors or self.fleet is None:
            raise FleetInvalid("\n".join(str(finding) for finding in self.errors))
        return self.fleet


@dataclass
class _Collected:
    machines: list[Draft[MachineDeclaration]] = field(default_factory=list)
    services: list[Draft[ServiceDeclaration]] = field(default_factory=list)
    hosts: list[Draft[HostDeclaration]] = field(default_factory=list)
    agents: list[Draft[AgentDeclaration]] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    is_complete: bool = True
    renamed: dict[tuple[str, str], str] = field(default_factory=dict)


def load_fleet(
    paths: Sequence[Path],
    *,
    environment: Mapping[str, str] | None = None,
    overlay: Path | None = None,
    validators: Iterable[Validator] | None = None,
    machines: Mapping[Path, str] | None = None,
    reader: FieldReader | None = None,
) -> LoadedFleet:
    """Read startup configurations (any of the schemas, mixed) into one fleet and check it.

    Never raises for what stands in a file: all of it becomes findings.

    Args:
        paths: the files; each is told by its content.
        environment: the variables that expressions see; none when not given, never the process's own.
            ``PORT_OFFSET`` is 0 unless it stands here.
        overlay: a file in the unified schema that is laid over the one unified file among ``paths``.
        validators: the rules to check; all built-in and installed ones when not given.
        machines: for old files, by path: the machine they are about, where their content should not decide.
        reader: what reads single values, in place of one that evaluates with ``environment``.
    """
    reader = FieldReader(environment or {}) if reader is None else reader
    collected = _Collected()
    documents = [(path, _read(reader, path)) for path in paths]
    changes = None if overlay is None else _read(reader, overlay).root
    if overlay is not None and not _can_overlay(
        reader, overlay, changes, [document for _, document in documents]
    ):
        collected.is_complete, changes = False, None
    for path, document in documents:
        _collect(reader, collected, path, document.root, changes=changes, machine=(machines or {}).get(path))
    if overlay is not None and changes is not None:
        collected.sources.append(Source(overlay, Family.OVERLAY))
    _tell_legacy_agents_apart(reader, collected)
    fleet = _fleet(collected)
    findings = list(reader.findings)
    if collected.is_complete:
        context = FleetContext(
            fleet,
            tuple(collected.agents),
            tuple(collected.machines),
            tuple(collected.services),
            tuple(collected.hosts),
        )
        rules, broken = (tuple(validators), ()) if validators is not None else all_validators()
        findings += [*broken, *run_validators(rules, context)]
    ordered = tuple(sorted(dict.fromkeys(findings), key=lambda finding: finding.sort_key))
    return LoadedFleet(
        fleet if collected.is_complete else None, ordered, tuple(collected.sources), collected.renamed
    )


def _tell_legacy_agents_apart(reader: FieldReader, collected: _Collected) -> None:
    """Give agents of one name their own names where only old files are given: those are one a machine."""
    if all(source.family is Family.LEGACY for source in collected.sources):
        told = tell_apart(collected.agents)
        collected.agents, collected.renamed = told.agents, told.renamed
        reader.findings.extend(told.findings)


def _read(reader: FieldReader, path: Path) -> Document:
    document = read_document(path)
    reader.findings.extend(document.findings)
    return document


def _collect(
    reader: FieldReader,
    collected: _Collected,
    path: Path,
    root: Table | None,
    *,
    changes: Table | None,
    machine: str | None,
) -> None:
    if root is None:
        collected.is_complete = False
    elif _is_of_our_schema(root):
        unified = read_unified(reader, root if changes is None else lay_over(root, changes))
        collected.machines += unified.machines
        collected.services += unified.services
        collected.hosts += unified.hosts
        collected.agents += unified.agents
        collected.sources.append(Source(path, Family.UNIFIED))
        report_repeated_keys(reader, root, unified.agent_tables)
    elif is_legacy(root):
        legacy = read_legacy(reader, root, machine)
        collected.machines.append(legacy.machine)
        collected.agents += legacy.agents
        collected.services += legacy.services
        collected.sources.append(Source(path, Family.LEGACY, legacy.machine.name))
        report_repeated_keys(reader, root, legacy.agent_tables)
    else:
        collected.is_complete = False
        reader.report(_unknown_shape(root))


def _is_of_our_schema(root: Table) -> bool:
    """Whether to read a file as unified: where it does not say so itself, old sections go first."""
    return "schema" in root.entries or (is_unified(root) and not is_legacy(root))


def _can_overlay(
    reader: FieldReader, overlay: Path, changes: Table | None, documents: Sequence[Document]
) -> bool:
    """Whether there is an overlay to lay, and exactly one unified file to lay it over."""
    if changes is None:
        return False
    unified = [
        document for document in documents if document.root is not None and _is_of_our_schema(document.root)
    ]
    if len(unified) == 1:
        report_repeated_keys(reader, changes, set())
        return True
    reader.report(
        error(
            "overlay-misplaced",
            f"an overlay is laid over one unified file, but {len(unified)} are given",
            changes.place,
            subject=str(overlay),
            remedy="Give one unified file, or leave the overlay out.",
        )
    )
    return False


def _unknown_shape(root: Table) -> Finding:
    known = (GROUPS, *LISTS, *SECTIONS, "schema")
    for key, entry in root.entries.items():
        near = closest(key, known, cutoff=0.8)
        if near:
            return error(
                "schema-unknown",
                f"no agents are found in this file; {key} is not a key of any known schema",
                entry.place,
                path=key,
                subject=key,
                remedy=f"Did you mean {near}?",
            )
    if "include" in root.entries:
        return error(
            "schema-unknown",
            "this file only includes others, which is not supported",
            root.place,
            path="include",
            subject="include",
            remedy=f"Name the included files themselves{_included(root)}.",
        )
    return error(
        "schema-unknown",
        "no agents are found in this file: it has none of the sections of any known schema",
        root.place,
        remedy=f"Begin with 'schema: {SCHEMA}', or give a file with '{GROUPS}' or '{PC2_SERVICES}'.",
    )


def _included(root: Table) -> str:
    """Return the files of an ``include`` list for a remedy."""
    node = root.entries["include"].node
    names = [item.text for item in node.items if isinstance(item, Scalar)] if isinstance(node, Items) else []
    return f": {' '.join(names[:5])}" if names else ""


def _fleet(collected: _Collected) -> Fleet:
    """Return the fleet of the first declaration of each name; machines of several files are put together."""
    machines: dict[str, MachineDeclaration] = {}
    for machine in collected.machines:
        known = machines.get(machine.name)
        machines[machine.name] = machine.declaration if known is None else _joined(known, machine.declaration)
    services: dict[str, ServiceDeclaration] = {}
    for service in collected.services:
        services.setdefault(service.name, service.declaration)
    hosts: dict[str, HostDeclaration] = {}
    for host in collected.hosts:
        hosts.setdefault(host.name, host.declaration)
    agents: dict[str, AgentDeclaration] = {}
    for agent in collected.agents:
        agents.setdefault(agent.name, _at_its_host(agent.declaration, hosts))
    return Fleet(machines=machines, services=services, hosts=hosts, agents=agents)


def _at_its_host(agent: AgentDeclaration, hosts: Mapping[str, HostDeclaration]) -> AgentDeclaration:
    """Return the agent on the machine of its host, where it names none itself."""
    host = hosts.get(agent.agent_host or "")
    if host is None or not host.machine or agent.machine is not None:
        return agent
    return agent.model_copy(update={"machine": host.machine})


def _joined(first: MachineDeclaration, second: MachineDeclaration) -> MachineDeclaration:
    """Return a machine that two files describe: the first one's words, and what only the second one says."""
    values = {name: getattr(second, name) for name in second.model_fields_set}
    values.update({name: getattr(first, name) for name in first.model_fields_set})
    values["groups"] = tuple(dict.fromkeys((*first.groups, *second.groups)))
    return MachineDeclaration(**values)
