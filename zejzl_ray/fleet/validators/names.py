"""The names that a dependency can mean, and lists of names in a message."""

from collections.abc import Sequence
from typing import Final

from zejzl_ray.fleet.drafts import FleetContext
from zejzl_ray.fleet.model import AgentDeclaration, ServiceDeclaration
from zejzl_ray.fleet.topology import SERVICE_NAMES

_SHOWN: Final = 40  # longer lists are cut in messages, not in ``related``


def listed(names: Sequence[str], separator: str = ", ") -> str:
    """Return the names for a message, cut where there are too many to read."""
    rest = len(names) - _SHOWN
    return separator.join(names[:_SHOWN]) + (f"{separator}and {rest} more" if rest > 0 else "")


def resolved_names(context: FleetContext) -> dict[str, str]:
    """Return, for every name and alias, the agent or service that it means; names go before aliases."""
    meaning = {name: name for name in (*context.fleet.agents, *SERVICE_NAMES)}
    declarations: list[AgentDeclaration | ServiceDeclaration] = [
        *context.fleet.agents.values(),
        *context.fleet.services.values(),
    ]
    for declaration in declarations:
        for alias in declaration.aliases:
            meaning.setdefault(alias, declaration.name)
    return meaning
