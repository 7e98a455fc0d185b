"""One agent of an old startup file, in any of the spellings its keys have had."""

from collections.abc import Mapping
from typing import Any, Final

from zejzl_ray.fleet.document import Entry, Table
from zejzl_ray.fleet.drafts import Draft, variable_places
from zejzl_ray.fleet.fields import FieldReader
from zejzl_ray.fleet.finding import Place, warning
from zejzl_ray.fleet.model import AgentDeclaration
from zejzl_ray.fleet.topology import MAINPC, PC2, same_machine_name

#: our field -> the keys that have meant it, the usual one first
SPELLINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "entry": ("script_path", "script", "path"),
    "host": ("host", "ip"),
    "port": ("port",),
    "health_port": ("health_check_port", "health_port"),
    "required": ("required", "critical"),
    "dependencies": ("dependencies",),
    "config": ("config", "params"),
    "environment": ("environment", "env_vars", "env"),
    "machine": ("machine",),
}

#: keys with a meaning in some old file and no home in the fleet; kept in ``extras``
KEPT: Final = frozenset(
    {
        "args",
        "autoload",
        "auto_start",
        "category",
        "class",
        "command",
        "command_args",
        "container",
        "created",
        "depends_on",
        "description",
        "display_name",
        "enabled",
        "endpoint",
        "endpoints",
        "essential",
        "gpu",
        "group",
        "health_check",
        "health_checks",
        "health_endpoint",
        "health_timeout",
        "image",
        "lifecycle",
        "log_level",
        "logging",
        "max_restarts",
        "metadata",
        "metrics_port",
        "module",
        "network",
        "networks",
        "notes",
        "optional",
        "priority",
        "profile",
        "profiles",
        "replaces",
        "resource_limits",
        "resources",
        "restart",
        "restart_policy",
        "role",
        "startup",
        "startup_delay",
        "startup_order",
        "startup_priority",
        "startup_timeout",
        "status",
        "tags",
        "timeout",
        "type",
        "version",
        "volumes",
        "working_directory",
    }
)

_KNOWN: Final = ("name", *(key for keys in SPELLINGS.values() for key in keys), *sorted(KEPT))

#: a mapping with one of these keys is an agent and not a group of agents
MARKS: Final = frozenset(
    {
        "script_path",
        "script",
        "port",
        "health_check_port",
        "health_port",
        "dependencies",
        "required",
        "critical",
    }
)


def read_entry(
    reader: FieldReader, table: Table, name: str, place: Place, path: str, *, machine: str, group: str | None
) -> Draft[AgentDeclaration] | None:
    """Return the agent that ``table`` declares, or None when its name cannot be used."""
    if not reader.is_name(name, place, path):
        return None
    found = {field: _entry_of(table, keys) for field, keys in SPELLINGS.items()}
    values: dict[str, Any] = {}
    places: dict[str, Place] = {}
    for field, entry in found.items():
        if entry is None:
            continue
        value = _value(reader, field, entry, f"{path}.{entry.key}", places)
        if value is not None:
            values[field] = value
            places[field] = entry.node.place
    if values.get("machine") in (MAINPC, PC2):
        places.pop("machine")  # known without a declaration: the other machine has a file of its own
    extras = {
        key: reader.plain(entry.node, f"{path}.{key}")
        for key, entry in table.entries.items()
        if key in KEPT or _is_second_spelling(key, found)
    }
    reader.unknown_keys(table.every, _KNOWN, path, "an agent")
    extras.update(
        {
            key: reader.plain(entry.node, f"{path}.{key}")
            for key, entry in table.entries.items()
            if key not in _KNOWN
        }
    )
    keys = {field: entry.key for field, entry in found.items() if entry is not None}
    draft = Draft(
        AgentDeclaration(name=name, group=group, extras=extras, **{"machine": machine, **values}),
        place,
        path,
        places,
        {field: SPELLINGS[field][0] for field in SPELLINGS} | keys,
    )
    _report_missing(reader, draft, found)
    return draft


def _entry_of(table: Table, keys: tuple[str, ...]) -> Entry | None:
    return next((entry for key in keys if (entry := table.get(key)) is not None), None)


def _is_second_spelling(key: str, found: Mapping[str, Entry | None]) -> bool:
    """Whether the key means a field that another key of the same entry has already given."""
    return any(
        key in keys and (entry := found[field]) is not None and entry.key != key
        for field, keys in SPELLINGS.items()
    )


def _value(reader: FieldReader, field: str, entry: Entry, path: str, places: dict[str, Place]) -> Any:
    match field:
        case "port" | "health_port":
            return reader.port(entry.node, path)
        case "required":
            return reader.boolean(entry.node, path)
        case "dependencies":
            names = reader.names(entry.node, path)
            places.update({f"dependencies.{name}": place for name, place in names})
            return tuple(name for name, _ in names)
        case "config":
            table = reader.table(entry.node, path)
            if table is None:
                return {}
            places.update({f"config.{key}": inner.node.place for key, inner in table.entries.items()})
            return reader.plain_table(table, path)
        case "environment":
            places.update(variable_places(entry.node))
            return reader.texts(entry.node, path)
        case "machine":
            machine = reader.text(entry.node, path)
            return None if machine is None else same_machine_name(machine)
        case _:
            return reader.text(entry.node, path)


def _report_missing(
    reader: FieldReader, draft: Draft[AgentDeclaration], found: Mapping[str, Entry | None]
) -> None:
    """Warn of an agent without script or port, which nobody can start or reach; an endpoint is enough."""
    if {"endpoint", "module", "image", "container"} & draft.declaration.extras.keys():
        return
    for field, what in (("entry", "script_path"), ("port", "port")):
        if found[field] is None:
            reader.report(
                warning(
                    "missing-field",
                    f"{draft.name} has no {what}",
                    draft.place,
                    path=draft.path_of(field),
                    subject=draft.name,
                    remedy=f"Give it a {what}.",
                )
            )
