"""The project's own startup configuration, ``schema: zejzl.fleet/1``: machines, services, agents by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic

from zejzl_ray.fleet.document import Entry, Scalar, Table
from zejzl_ray.fleet.drafts import D, Draft
from zejzl_ray.fleet.fields import FieldReader
from zejzl_ray.fleet.finding import Place, error
from zejzl_ray.fleet.model import (
    SCHEMA,
    AgentDeclaration,
    AgentKind,
    HostDeclaration,
    MachineDeclaration,
    ServiceDeclaration,
)
from zejzl_ray.fleet.suggest import did_you_mean
from zejzl_ray.fleet.topology import DEFAULT_SERVICES, SERVICE_NAMES
from zejzl_ray.fleet.unified_fields import (
    read_aliases,
    read_amount,
    read_config,
    read_flag,
    read_folders,
    read_gpus,
    read_kind,
    read_name,
    read_names,
    read_needs,
    read_port,
    read_share,
    read_shares,
    read_table,
    read_tables,
    read_text,
    read_texts,
)

SECTIONS: Final = ("machines", "services", "hosts", "agents")
_TOP: Final = ("schema", *SECTIONS)

_Read = Callable[[FieldReader, Entry, str, dict[str, Place]], Any]


@dataclass
class UnifiedReading:
    """What one unified file declares; ``agent_tables`` are the mappings whose keys are agents."""

    machines: list[Draft[MachineDeclaration]]
    services: list[Draft[ServiceDeclaration]]
    hosts: list[Draft[HostDeclaration]]
    agents: list[Draft[AgentDeclaration]]
    agent_tables: set[int]


@dataclass(frozen=True)
class _Section(Generic[D]):
    """How one section is read: its fields, and how a declaration is made of a name and the values found."""

    key: str
    what: str
    fields: Mapping[str, _Read]
    make: Callable[[str, dict[str, Any]], D]


def is_unified(root: Table) -> bool:
    """Whether the file has sections of this schema; one that says ``schema`` need not be asked."""
    return any(
        isinstance(entry.node, Table) for key in SECTIONS if (entry := root.entries.get(key)) is not None
    )


def read_unified(reader: FieldReader, root: Table) -> UnifiedReading:
    """Read a unified file, overlay already laid over it."""
    _check_schema(reader, root)
    reader.unknown_keys(root.every, _TOP, "", "a fleet")
    machines, _ = _read_section(reader, root, _MACHINES)
    services, _ = _read_section(reader, root, _SERVICES)
    hosts, _ = _read_section(reader, root, _HOSTS)
    agents, tables = _read_section(reader, root, _AGENTS)
    for agent in agents:
        if agent.declaration.kind is not AgentKind.EXTERNAL and agent.declaration.entry is None:
            what = "a script path" if agent.declaration.kind is AgentKind.PROCESS else "an entry module:Class"
            reader.report(
                agent.error(
                    "missing-field",
                    "entry",
                    f"{agent.name} is of kind {agent.declaration.kind}, but says not what to start",
                    f"Give it {what}.",
                )
            )
    return UnifiedReading(machines, services, _placed(reader, hosts), agents, tables)


def _placed(reader: FieldReader, hosts: list[Draft[HostDeclaration]]) -> list[Draft[HostDeclaration]]:
    """Return the hosts, those that name no machine reported."""
    for host in hosts:
        if "machine" not in host.places:
            reader.report(
                host.error(
                    "missing-field", "machine", f"the host {host.name} names no machine", "Say where it runs."
                )
            )
    return hosts


def _check_schema(reader: FieldReader, root: Table) -> None:
    entry = root.get("schema")
    if entry is None:
        reader.report(
            error(
                "schema-missing",
                f"the file does not name its schema {SCHEMA}",
                root.place,
                path="schema",
                subject="schema",
                remedy=f"Begin the file with 'schema: {SCHEMA}'.",
            )
        )
    elif not (isinstance(entry.node, Scalar) and entry.node.value == SCHEMA):
        shown = entry.node.text if isinstance(entry.node, Scalar) else "something else"
        reader.report(
            error(
                "schema-unknown",
                f"schema must be {SCHEMA}, but it is {shown}",
                entry.node.place,
                path="schema",
                subject="schema",
                remedy=f"Write 'schema: {SCHEMA}'.",
            )
        )


def _read_section(reader: FieldReader, root: Table, section: _Section[D]) -> tuple[list[Draft[D]], set[int]]:
    found = root.get(section.key)
    table = None if found is None else reader.table(found.node, section.key)
    if table is None:
        return [], set()
    drafts = []
    for entry in table.every:
        path = f"{section.key}.{entry.key}"
        if not reader.is_name(entry.key, entry.place, path):
            continue
        if section.key == "services" and entry.key not in SERVICE_NAMES:
            reader.report(
                error(
                    "service-unknown",
                    f"there is no service {entry.key}",
                    entry.place,
                    path=path,
                    subject=entry.key,
                    remedy=did_you_mean(
                        entry.key, SERVICE_NAMES, f"The services are {', '.join(SERVICE_NAMES)}."
                    ),
                )
            )
            continue
        drafts.append(_read_one(reader, entry, path, section))
    return drafts, {id(table)}


def _read_one(reader: FieldReader, entry: Entry, path: str, section: _Section[D]) -> Draft[D]:
    table = reader.table(entry.node, path)
    values: dict[str, Any] = {}
    places: dict[str, Place] = {}
    if table is not None:
        reader.unknown_keys(table.every, section.fields, path, section.what)
        for field, read in section.fields.items():
            written = table.get(field)
            if written is None:
                continue
            value = read(reader, written, f"{path}.{field}", places)
            if value is not None:
                values[field] = value
                places[field] = written.node.place
    return Draft(section.make(entry.key, values), entry.place, path, places)


def _service(name: str, values: dict[str, Any]) -> ServiceDeclaration:
    usual = DEFAULT_SERVICES[name]
    given = {"home": usual.home, "port": usual.port, **values}
    if not values:  # a service that only is named lives where it usually lives
        given["fallback"] = usual.fallback
    return ServiceDeclaration(name=name, **given)


def _agent(name: str, values: dict[str, Any]) -> AgentDeclaration:
    if "agent_host" in values:  # who is run by a host of agents is an actor; written otherwise is a finding
        values = {"kind": AgentKind.ACTOR, **values}
    return AgentDeclaration(name=name, **values)


_MACHINES: Final = _Section[MachineDeclaration](
    "machines",
    "a machine",
    {
        "address": read_text,
        "gpus": read_gpus,
        "groups": read_names,
        "environment": read_texts,
        "resource_limits": read_table,
        "health_checks": read_table,
        "volumes": read_tables,
        "network": read_table,
        "error_bus_port": read_port,
        "extras": read_table,
    },
    lambda name, values: MachineDeclaration(name=name, **values),
)
_SERVICES: Final = _Section[ServiceDeclaration](
    "services",
    "a service",
    {
        "home": read_name,
        "fallback": read_name,
        "port": read_port,
        "dependencies": read_names,
        "aliases": read_aliases,
    },
    _service,
)
_HOSTS: Final = _Section[HostDeclaration](
    "hosts",
    "a host",
    {
        "machine": read_name,
        "cpus": read_share,
        "vram_mib": read_amount,
        "memory_mib": read_amount,
        "resources": read_shares,
        "path": read_folders,
    },
    lambda name, values: HostDeclaration(name=name, **{"machine": "", **values}),
)
_AGENTS: Final = _Section[AgentDeclaration](
    "agents",
    "an agent",
    {
        "kind": read_kind,
        "machine": read_name,
        "agent_host": read_name,
        "mail_scope": read_text,
        "group": read_text,
        "entry": read_text,
        "host": read_text,
        "port": read_port,
        "health_port": read_port,
        "required": read_flag,
        "dependencies": read_names,
        "capabilities": read_names,
        "aliases": read_aliases,
        "needs": read_needs,
        "environment": read_texts,
        "config": read_config,
        "extras": read_table,
    },
    _agent,
)
