"""What an old startup file says for all agents of its machine."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from zejzl_ray.fleet.document import Entry, Scalar, Table, kind_of
from zejzl_ray.fleet.drafts import Draft, variable_places
from zejzl_ray.fleet.fields import FieldReader
from zejzl_ray.fleet.finding import Place, warning
from zejzl_ray.fleet.legacy_groups import DOCKER_GROUPS, member_places
from zejzl_ray.fleet.model import MachineDeclaration
from zejzl_ray.fleet.suggest import closest

#: blocks that wrap the settings of the machine, older ones too
WRAPPERS: Final = ("global_settings", "settings")

#: field -> the keys that have meant it
_BLOCKS: Final[Mapping[str, tuple[str, ...]]] = {
    "environment": ("environment",),
    "resource_limits": ("resource_limits",),
    "health_checks": ("health_checks",),
    "volumes": ("volumes",),
    "network": ("network", "pc2_network"),
    "error_bus_port": ("error_bus_port",),
}
_BLOCK_KEYS: Final = tuple(key for keys in _BLOCKS.values() for key in keys)

#: single settings and blocks that some old file has; kept in ``extras``
_KEPT: Final = (
    "created",
    "default_startup_timeout",
    "description",
    "disabled_agents",
    "docker_groups",
    "error_bus_host",
    "error_handling",
    "feature_flags",
    "features",
    "health_check_interval",
    "hybrid_inference_policy",
    "hybrid_llm_routing",
    "hybrid_routing",
    "include",
    "launcher_settings",
    "lazy_loader",
    "logging",
    "machine_profiles",
    "max_restart_attempts",
    "metadata",
    "name",
    "overrides",
    "performance_tuning",
    "phase1_config",
    "port_allocation",
    "profile",
    "start_period_seconds",
    "startup_sequence",
    "updated",
    "version",
)


def read_machine(
    reader: FieldReader,
    root: Table,
    machine: str,
    *,
    sections: Iterable[str],
    groups: Iterable[str],
    group_extras: Mapping[str, Any],
    group_places: Mapping[str, Place],
) -> Draft[MachineDeclaration]:
    """Return the machine of a file; ``sections`` are the top-level keys that hold agents.

    A block that stands both in ``global_settings`` and beside it is one block: the outer one adds to the
    inner one.
    """
    sections = tuple(sections)
    values: dict[str, Any] = {}
    places: dict[str, Place] = {}
    keys: dict[str, str] = {}
    extras: dict[str, Any] = {}
    for path, entry in _settings(reader, root, sections):
        field = next((field for field, names in _BLOCKS.items() if entry.key in names), None)
        if field is None:
            _warn_unknown(reader, entry, path, sections)
            extras[entry.key] = reader.plain(entry.node, path)
            if entry.key == DOCKER_GROUPS:
                places.update(member_places(entry.node))
            bus = entry.node.get("error_bus_port") if isinstance(entry.node, Table) else None
            if entry.key == "error_handling" and bus is not None:
                where = f"{path}.{bus.key}"
                port = reader.port(bus.node, where)
                if port is not None:
                    values["error_bus_port"], places["error_bus_port"] = port, bus.node.place
                    keys["error_bus_port"] = where
            continue
        value = _value(reader, field, entry, path)
        if value is None:
            continue
        if field == "environment":
            places.update(variable_places(entry.node))
        before = values.get(field)
        values[field] = (
            _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
        )
        places.setdefault(field, entry.node.place)
        keys[field] = path
    extras.update(group_extras)
    places.update(group_places)
    declaration = MachineDeclaration(
        name=machine, groups=tuple(dict.fromkeys(groups)), extras=extras, **values
    )
    return _AtTop(declaration, root.place, "", places, keys)


class _AtTop(Draft[MachineDeclaration]):
    """A machine whose fields stand at the top of its file."""

    def path_of(self, name: str) -> str:
        """Return the path of a field; there is no name before it."""
        return self.keys.get(name, name)


def _settings(reader: FieldReader, root: Table, sections: tuple[str, ...]) -> Iterable[tuple[str, Entry]]:
    """Yield every setting with its path, the wrapped ones first."""
    for wrapper in WRAPPERS:
        entry = root.get(wrapper)
        table = None if entry is None else reader.table(entry.node, wrapper)
        for inner in table.entries.values() if table is not None else ():
            yield f"{wrapper}.{inner.key}", inner
    for key, entry in root.entries.items():
        if key not in WRAPPERS and key not in sections:
            yield key, entry


def _value(reader: FieldReader, field: str, entry: Entry, path: str) -> Any:
    if field == "error_bus_port":
        return reader.port(entry.node, path)
    if field == "environment":
        return reader.texts(entry.node, path)
    if field == "volumes":
        rows = enumerate(reader.items(entry.node, path))
        return tuple(reader.plain_table(item, f"{path}[{index}]") for index, item in rows)
    return reader.plain_table(entry.node, path)


def _warn_unknown(reader: FieldReader, entry: Entry, path: str, sections: tuple[str, ...]) -> None:
    """Warn of a key that looks like a slip; whole blocks that nobody knows are kept in silence.

    The old files carry many operational blocks (compose hints, check lists) that come and go between
    revisions.
    """
    if entry.key in _KEPT:
        return
    near = closest(
        entry.key,
        (*_BLOCK_KEYS, *_KEPT, *WRAPPERS, "agent_groups", "pc2_services", "core_services"),
        cutoff=0.8,
    )
    if near == entry.key:
        reader.report(
            warning(
                "unknown-key",
                f"{entry.key} holds {kind_of(entry.node)}, and no agents are found in it",
                entry.place,
                path=path,
                subject=entry.key,
                remedy="List the agents below it, or rename it.",
            )
        )
        return
    is_block = not isinstance(entry.node, Scalar) or entry.node.value is None
    if near or not is_block:
        reader.report(
            warning(
                "unknown-key",
                f"{entry.key} is not a key of a startup configuration",
                entry.place,
                path=path,
                subject=entry.key,
                remedy=f"Did you mean {near}?" if near else "Remove it if nothing reads it.",
            )
        )


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    return {**first, **second}
