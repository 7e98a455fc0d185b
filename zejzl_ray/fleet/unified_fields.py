"""How each field of a unified file is read: the value, its place, and a finding where it is wrong."""

from typing import Any

from zejzl_ray.fleet.document import Entry, Table, is_null
from zejzl_ray.fleet.drafts import variable_places
from zejzl_ray.fleet.fields import FieldReader
from zejzl_ray.fleet.finding import Place, error
from zejzl_ray.fleet.model import AgentKind, GpuDeclaration, Needs
from zejzl_ray.fleet.suggest import did_you_mean


def read_text(reader: FieldReader, entry: Entry, path: str, _: dict[str, Place]) -> Any:
    """Read a text."""
    return reader.text(entry.node, path)


def read_name(reader: FieldReader, entry: Entry, path: str, _: dict[str, Place]) -> Any:
    """Read a name."""
    return reader.name(entry.node, path)


def read_port(reader: FieldReader, entry: Entry, path: str, _: dict[str, Place]) -> Any:
    """Read a port."""
    return reader.port(entry.node, path)


def read_flag(reader: FieldReader, entry: Entry, path: str, _: dict[str, Place]) -> Any:
    """Read a truth value."""
    return reader.boolean(entry.node, path)


def read_texts(reader: FieldReader, entry: Entry, path: str, places: dict[str, Place]) -> Any:
    """Read texts by name, such as an environment."""
    places.update(variable_places(entry.node))
    return reader.texts(entry.node, path)


def read_table(reader: FieldReader, entry: Entry, path: str, _: dict[str, Place]) -> Any:
    """Read a mapping that is only handed on."""
    return reader.plain_table(entry.node, path)


def read_config(reader: FieldReader, entry: Entry, path: str, places: dict[str, Place]) -> Any:
    """Read the settings of an agent, with the place of each."""
    if isinstance(entry.node, Table):
        places.update({f"config.{key}": inner.node.place for key, inner in entry.node.entries.items()})
    return reader.plain_table(entry.node, path)


def read_tables(reader: FieldReader, entry: Entry, path: str, _: dict[str, Place]) -> Any:
    """Read a list of mappings."""
    rows = enumerate(reader.items(entry.node, path))
    return tuple(reader.plain_table(item, f"{path}[{index}]") for index, item in rows)


def read_names(reader: FieldReader, entry: Entry, path: str, places: dict[str, Place]) -> Any:
    """Read a list of names, with the place of each."""
    names = reader.names(entry.node, path)
    places.update({f"{entry.key}.{name}": place for name, place in names})
    return tuple(name for name, _ in names)


def read_aliases(reader: FieldReader, entry: Entry, path: str, places: dict[str, Place]) -> Any:
    """Read a list of names that the registry resolves."""
    names = [
        (name, place) for name, place in reader.names(entry.node, path) if reader.is_name(name, place, path)
    ]
    places.update({f"{entry.key}.{name}": place for name, place in names})
    return tuple(name for name, _ in names)


def read_kind(reader: FieldReader, entry: Entry, path: str, _: dict[str, Place]) -> Any:
    """Read how an agent runs."""
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


def read_needs(reader: FieldReader, entry: Entry, path: str, places: dict[str, Place]) -> Any:
    """Read what an agent asks of its machine."""
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


def read_gpus(reader: FieldReader, entry: Entry, path: str, _: dict[str, Place]) -> Any:
    """Read the cards of a machine."""
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


def read_amount(reader: FieldReader, entry: Entry, path: str, _: dict[str, Place]) -> Any:
    """Read a whole number that is not negative."""
    return reader.amount(entry.node, path, is_whole=True)


def read_share(reader: FieldReader, entry: Entry, path: str, _: dict[str, Place]) -> Any:
    """Read a number that is not negative, such as a part of a core."""
    return reader.amount(entry.node, path, is_whole=False)


def read_shares(reader: FieldReader, entry: Entry, path: str, places: dict[str, Place]) -> Any:
    """Read amounts by name, such as Ray's resources, with the place of each."""
    table = reader.table(entry.node, path)
    found: dict[str, float] = {}
    for each in table.every if table is not None else ():
        amount = reader.amount(each.node, f"{path}.{each.key}", is_whole=False)
        if amount is not None:
            found[each.key] = amount
            places[f"{entry.key}.{each.key}"] = each.node.place
    return found


def read_folders(reader: FieldReader, entry: Entry, path: str, _: dict[str, Place]) -> Any:
    """Read a list of folders."""
    return tuple(folder for folder, _ in reader.names(entry.node, path))
