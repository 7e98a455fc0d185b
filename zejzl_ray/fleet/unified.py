"""The project's own startup configuration, ``schema: zejzl.fleet/1``: machines, services, agents by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic

from zejzl_ray.fleet.document import Entry, Scalar, Table, is_null
from zejzl_ray.fleet.drafts import D, Draft, variable_places
from zejzl_ray.fleet.fields import FieldReader
from zejzl_ray.fleet.finding import Place, error
from zejzl_ray.fleet.model import (
    SCHEMA,
    AgentDeclaration,
    AgentKind,
    GpuDeclaration,
    MachineDeclaration,
    Needs,
    ServiceDeclaration,
)
from zejzl_ray.fleet.suggest import did_you_mean
from zejzl_ray.fleet.topology import DEFAULT_SERVICES, SERVICE_NAMES

SECTIONS: Final = ("machines", "services", "agents")
_TOP: Final = ("schema", *SECTIONS)

_Read = Callable[[FieldReader, Entry, str, dict[str, Place]], Any]


@dataclass
class UnifiedReading:
    """What one unified file declares; ``agent_tables`` are the mappings whose keys are agents."""

    machines: list[Draft[MachineDeclaration]]
    services: list[Draft[ServiceDeclaration]]
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
    return UnifiedReading(machines, services, agents, tables)


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


def _text(reader: FieldReader, entry: Entry, path: str, _: dict[str, Place]) -> Any:
    return reader.text(entry.node, path)


def _name(reader: FieldReader, entry: Entry, path: str, _: dict[str, Place]) -> Any:
    return reader.name(entry.node, path)


def _port(reader: FieldReader, entry: Entry, path: str, _: dict[str, Place]) -> Any:
    return reader.port(entry.node, path)


def _flag(reader: FieldReader, entry: Entry, path: str, _: dict[str, Place]) -> Any:
    return reader.boolean(entry.node, path)


def _texts(reader: FieldReader, entry: Entry, path: str, places: dict[str, Place]) -> Any:
    places.update(variable_places(entry.node))
    return reader.texts(entry.node, path)


def _table(reader: FieldReader, entry: Entry, path: str, _: dict[str, Place]) -> Any:
    return reader.plain_table(entry.node, path)


def _config(reader: FieldReader, entry: Entry, path: str, places: dict[str, Place]) -> Any:
    if isinstance(entry.node, Table):
        places.update({f"config.{key}": inner.node.place for key, inner in entry.node.entries.items()})
    return reader.plain_table(entry.node, path)


def _tables(reader: FieldReader, entry: Entry, path: str, _: dict[str, Place]) -> Any:
    rows = enumerate(reader.items(entry.node, path))
    return tuple(reader.plain_table(item, f"{path}[{index}]") for index, item in rows)


def _names(reader: FieldReader, entry: Entry, path: str, places: dict[str, Place]) -> Any:
    names = reader.names(entry.node, path)
    places.update({f"{entry.key}.{name}": place for name, place in names})
    return tuple(name for name, _ in names)


def _aliases(reader: FieldReader, entry: Entry, path: str, places: dict[str, Place]) -> Any:
    names = [
        (name, place) for name, place in reader.names(entry.node, path) if reader.is_name(name, place, path)
    ]
    places.update({f"{entry.key}.{name}": place for name, place in names})
    return tuple(name for name, _ in names)


def _kind(reader: FieldReader, entry: Entry, path: str, _: dict[str, Place]) -> Any:
    kinds = [kind.value for kind in AgentKind]
    value = reader.text(entry.node, path)
    if value is None or value in kinds:
        return value
    reader.report(
        error(
            "wrong-value",
            f"{path} must be one of {', '.join(kinds)}, but it is '{value[:60]}'",
            entry.node.place,
            path=path,
            subject="kind",
            remedy=did_you_mean(value, kinds, "Choose one of them."),
        )
    )
    return None


def _needs(reader: FieldReader, entry: Entry, path: str, places: dict[str, Place]) -> Any:
    table = reader.table(entry.node, path)
    if table is None:
        return None
    reader.unknown_keys(table.every, Needs.model_fields, path, "needs")
    values: dict[str, Any] = {}
    for field in Needs.model_fields:
        written = table.get(field)
        if written is None:
            continue
        value = reader.amount(written.node, f"{path}.{field}", is_whole=field != "cpus")
        if value is not None:
            values[field] = value
            places[f"needs.{field}"] = written.node.place
    return Needs(**values)


def _gpus(reader: FieldReader, entry: Entry, path: str, _: dict[str, Place]) -> Any:
    cards = []
    for index, item in enumerate(reader.items(entry.node, path)):
        where = f"{path}[{index}]"
        if is_null(item) or (table := reader.table(item, where)) is None:
            continue
        reader.unknown_keys(table.every, GpuDeclaration.model_fields, where, "a GPU")
        name, vram = table.get("name"), table.get("vram_mib")
        vram_mib = None if vram is None else reader.amount(vram.node, f"{where}.vram_mib", is_whole=True)
        label = None if name is None else reader.text(name.node, f"{where}.name")
        if not vram_mib:
            reader.report(
                error(
                    "missing-field",
                    f"{where} has no vram_mib above 0",
                    item.place,
                    path=f"{where}.vram_mib",
                    subject="vram_mib",
                    remedy="Write its video memory in MiB.",
                )
            )
            continue
        cards.append(GpuDeclaration(name=label or f"gpu{index}", vram_mib=int(vram_mib)))
    return tuple(cards)


def _service(name: str, values: dict[str, Any]) -> ServiceDeclaration:
    usual = DEFAULT_SERVICES[name]
    given = {"home": usual.home, "port": usual.port, **values}
    if not values:  # a service that only is named lives where it usually lives
        given["fallback"] = usual.fallback
    return ServiceDeclaration(name=name, **given)


_MACHINES: Final = _Section[MachineDeclaration](
    "machines",
    "a machine",
    {
        "address": _text,
        "gpus": _gpus,
        "groups": _names,
        "environment": _texts,
        "resource_limits": _table,
        "health_checks": _table,
        "volumes": _tables,
        "network": _table,
        "error_bus_port": _port,
        "extras": _table,
    },
    lambda name, values: MachineDeclaration(name=name, **values),
)
_SERVICES: Final = _Section[ServiceDeclaration](
    "services",
    "a service",
    {"home": _name, "fallback": _name, "port": _port, "dependencies": _names, "aliases": _aliases},
    _service,
)
_AGENTS: Final = _Section[AgentDeclaration](
    "agents",
    "an agent",
    {
        "kind": _kind,
        "machine": _name,
        "group": _text,
        "entry": _text,
        "host": _text,
        "port": _port,
        "health_port": _port,
        "required": _flag,
        "dependencies": _names,
        "capabilities": _names,
        "aliases": _aliases,
        "needs": _needs,
        "environment": _texts,
        "config": _config,
        "extras": _table,
    },
    lambda name, values: AgentDeclaration(name=name, **values),
)
