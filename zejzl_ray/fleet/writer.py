"""A fleet as text in the project's own schema."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from zejzl_ray.fleet.model import SCHEMA, Fleet, FleetModel

_WIDTH: Final = 110
_PARTS: Final = ("machines", "services", "hosts", "agents")


def write_unified(
    fleet: Fleet,
    *,
    comment: str = "",
    expressions: Mapping[tuple[str, str, str], str] | None = None,
    comments: Mapping[tuple[str, str], Sequence[str]] | None = None,
) -> str:
    """Return the fleet as YAML that a person can read and ``load_fleet`` reads back to an equal fleet.

    The schema stands first, then machines, services, hosts and agents in order of declaration, each field in the
    order of the schema; what equals its default is left out, so the same fleet always gives the same text.

    Args:
        fleet: what to write. A text with ``${`` in it is read back as an expression.
        comment: lines to put above the text.
        expressions: what to write in place of a value: (part, name, field) -> text, for example
            ``("agents", "NLUAgent", "port") -> "${PORT_OFFSET}+5709"``.
        comments: lines to put above a member: (part, name) -> lines.
    """
    written, remarks = expressions or {}, comments or {}
    lines = [*_commented(comment.splitlines(), ""), f"schema: {SCHEMA}"]
    for part in _PARTS:
        members: Mapping[str, FleetModel] = getattr(fleet, part)
        if members:
            lines += ["", f"{part}:"]
        for name, member in members.items():
            given = {
                field: text for (where, who, field), text in written.items() if (where, who) == (part, name)
            }
            lines += _commented(remarks.get((part, name), ()), "  ")
            lines += [
                f"  {line}" if line else "" for line in _dump({name: _fields(member, given)}).splitlines()
            ]
    return "\n".join(lines) + "\n"


def _commented(lines: Sequence[str], indent: str) -> list[str]:
    return [f"{indent}# {line}".rstrip() for line in lines]


def _fields(member: FleetModel, expressions: Mapping[str, str]) -> dict[str, Any]:
    data = member.model_dump(mode="json", exclude_defaults=True)
    data.pop("name", None)
    data.update(expressions)
    order = [*type(member).model_fields]
    return {key: data[key] for key in order if key in data}


class _Dumper(yaml.SafeDumper):
    """Lists indented below their key, short lists of plain values on one line, nothing shared by anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # signature of the base
        """Indent lists too."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:  # signature of the base
        """Write a value that occurs twice twice."""
        return True


def _list_node(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.Node:
    is_short = (
        all(not isinstance(item, list | dict) for item in items) and sum(len(str(i)) + 2 for i in items) < 80
    )  # fits a line
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=is_short)


_Dumper.add_representer(list, _list_node)


def _dump(value: Any) -> str:
    return str(
        yaml.dump(
            value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH, default_flow_style=False
        )
    )
