"""One of the five services in an old startup file, where ``zejzl fleet consolidate`` has put it."""

from typing import Any, Final

from zejzl_ray.fleet.document import Scalar, Table
from zejzl_ray.fleet.drafts import Draft
from zejzl_ray.fleet.fields import FieldReader
from zejzl_ray.fleet.finding import Place
from zejzl_ray.fleet.model import ServiceDeclaration
from zejzl_ray.fleet.topology import DEFAULT_SERVICES

#: what other readers of the old files want of every entry; a service has no use for it
_FOR_OTHERS: Final = ("name", "kind", "script_path", "health_check_port", "required", "host")
_KNOWN: Final = (*_FOR_OTHERS, "port", "home", "fallback", "dependencies", "aliases")


def is_service(table: Table, name: str) -> bool:
    """Whether an entry of this name is a service: it says ``kind: service``."""
    kind = table.get("kind")
    return (
        name in DEFAULT_SERVICES
        and kind is not None
        and isinstance(kind.node, Scalar)
        and kind.node.value == "service"
    )


def read_service(
    reader: FieldReader, table: Table, name: str, place: Place, path: str
) -> Draft[ServiceDeclaration]:
    """Return the service; what the entry does not say is as usual."""
    reader.unknown_keys(table.every, _KNOWN, path, "a service")
    usual = DEFAULT_SERVICES[name]
    values: dict[str, Any] = {"home": usual.home, "port": usual.port}
    places: dict[str, Place] = {}
    for field in ("home", "fallback", "port"):
        entry = table.get(field)
        if entry is not None:
            read = reader.port if field == "port" else reader.name
            value = read(entry.node, f"{path}.{field}")
            if value is not None:
                values[field], places[field] = value, entry.node.place
    for field in ("dependencies", "aliases"):
        entry = table.get(field)
        if entry is not None:
            names = reader.names(entry.node, f"{path}.{field}")
            values[field] = tuple(one for one, _ in names)
            places[field] = entry.node.place
            places.update({f"{field}.{one}": where for one, where in names})
    return Draft(ServiceDeclaration(name=name, **values), place, path, places)
