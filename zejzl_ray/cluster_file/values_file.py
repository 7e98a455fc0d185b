"""The few values of a cluster that its user sets, in a file of their own: read with places, checked, nothing more."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from zejzl_ray.cluster_file.fields import in_own_words, repeated
from zejzl_ray.contracts.base import Contract
from zejzl_ray.errors import InvalidInput
from zejzl_ray.fleet.document import Entry, Scalar, Table, kind_of, repeated_keys
from zejzl_ray.fleet.finding import Finding, error
from zejzl_ray.fleet.suggest import did_you_mean
from zejzl_ray.fleet.yaml_reader import read_document

_EXAMPLE: Final = "Write into it: head: {mainpc: 192.168.1.10}; config/cluster_values.yaml shows the rest."
_FIELDS: Final = ("head", "workers", "ssh_user", "ssh_private_key")


class ClusterValues(Contract):
    """What the file says; an empty field is for a flag or a question."""

    head_name: str = ""
    head_address: str = ""
    workers: tuple[tuple[str, str], ...] = ()
    ssh_user: str = ""
    ssh_private_key: str = ""


def read_values(path: Path) -> ClusterValues:
    """Read the file; whether the addresses can be some is checked where they are used.

    Raises:
        InvalidInput: it cannot be read or understood; one line a fault, with file and line.
    """
    document = read_document(path.expanduser())
    root = document.root
    found = in_own_words(document.findings, _EXAMPLE)
    found = found if root is None else (*found, *_faults(root))
    if root is None or found:
        raise InvalidInput("\n".join(str(finding) for finding in found), "Nothing is written.")
    pairs = _pairs(root, "head")
    return ClusterValues(
        head_name=pairs[0][0] if pairs else "",
        head_address=pairs[0][1] if pairs else "",
        workers=_pairs(root, "workers"),
        ssh_user=_text(root.get("ssh_user")),
        ssh_private_key=_text(root.get("ssh_private_key")),
    )


def _faults(root: Table) -> Iterator[Finding]:
    for table, first, again in repeated_keys(root):
        if table is root:
            yield repeated(again, first)
    seen: dict[str, Entry] = {}
    for entry in root.every:
        if entry.key not in _FIELDS:
            remedy = did_you_mean(entry.key, _FIELDS, f"Fields are {', '.join(_FIELDS)}.")
            yield error("unknown-field", f"{entry.key} is no field of this file", entry.place, remedy=remedy)
        elif root.get(entry.key) is None:
            continue  # left empty
        elif entry.key in ("head", "workers"):
            yield from _machine_faults(entry, seen)
        elif not isinstance(entry.node, Scalar):
            yield _wrong(entry, "a text", "Write it behind the colon.")


def _machine_faults(section: Entry, seen: dict[str, Entry]) -> Iterator[Finding]:
    if not isinstance(section.node, Table):
        yield _wrong(section, "a mapping of NAME: ADDRESS", "Write, indented below it: pc2: 192.168.1.11")
        return
    if section.key == "head" and len(section.node.every) != 1:
        yield error(
            "head", "head must name one machine", section.place, remedy="Write one line, mainpc: 192.168.1.10"
        )
    for machine in section.node.every:
        twin = seen.get(machine.key.lower())
        if twin is not None:
            yield error(
                "name-twice",
                f"two machines are called {machine.key}",
                machine.place,
                remedy=f"Give each a name of its own; the other is in line {twin.place.line}.",
            )
        seen.setdefault(machine.key.lower(), machine)
        if not _text(machine):
            yield error(
                "address", f"{machine.key} has no address", machine.place, remedy="Write it behind the colon."
            )


def _wrong(entry: Entry, wanted: str, remedy: str) -> Finding:
    return error(
        "wrong-kind", f"{entry.key} must be {wanted}, not {kind_of(entry.node)}", entry.place, remedy=remedy
    )


def _text(entry: Entry | None) -> str:
    return entry.node.text.strip() if entry is not None and isinstance(entry.node, Scalar) else ""


def _pairs(root: Table, name: str) -> tuple[tuple[str, str], ...]:
    section = root.get(name)
    if section is None or not isinstance(section.node, Table):
        return ()
    return tuple((machine.key, _text(machine)) for machine in section.node.entries.values())
