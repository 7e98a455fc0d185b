"""What a grant covers: scopes are ``service:resource:action``, and any part of a grant may be ``*``."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

_ANY: Final = "*"
_PARTS: Final = 3


def allows(grants: Iterable[str], scope: str) -> bool:
    """Return whether one of the grants covers the scope; a text that is no scope is covered by none."""
    return granting(grants, scope) is not None


def granting(grants: Iterable[str], scope: str) -> str | None:
    """Return the first grant that covers the scope; None when there is none."""
    wanted = _parts(scope)
    if wanted is None or _ANY in wanted:
        return None
    return next((grant for grant in grants if _covers(grant, scope)), None)


def is_within(grant: str, grants: Iterable[str]) -> bool:
    """Return whether one of ``grants`` alone covers everything that ``grant`` covers."""
    return any(_covers(held, grant) for held in grants)


def narrowed(wanted: Iterable[str], held: Iterable[str]) -> tuple[str, ...]:
    """Return what is both wanted and held; nothing wanted in particular means all that is held.

    ``*:*:read`` wanted of ``core_orchestrator:*:*`` gives ``core_orchestrator:*:read``. No grant of the answer lies
    within another one; the order is that of ``wanted``, then of ``held``. Empty when the two have nothing in common.
    """
    held = tuple(dict.fromkeys(held))
    wanted = tuple(dict.fromkeys(wanted))
    if not wanted:
        return held
    common = dict.fromkeys(both for one in wanted for other in held if (both := _common(one, other)))
    return tuple(one for one in common if not is_within(one, (other for other in common if other != one)))


@lru_cache(maxsize=4096)
def _parts(text: str) -> tuple[str, ...] | None:
    parts = tuple(text.split(":"))
    return parts if len(parts) == _PARTS and all(parts) else None


def _covers(grant: str, other: str) -> bool:
    given, asked = _parts(grant), _parts(other)
    if given is None or asked is None:
        return False
    return all(mine in (_ANY, its) for mine, its in zip(given, asked, strict=True))


def _common(one: str, other: str) -> str | None:
    """Return the grant that covers what both cover."""
    first, second = _parts(one), _parts(other)
    if first is None or second is None:
        return None
    common = []
    for mine, its in zip(first, second, strict=True):
        if mine != its and _ANY not in (mine, its):
            return None
        common.append(its if mine == _ANY else mine)
    return ":".join(common)
