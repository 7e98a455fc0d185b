"""Did you mean: near names for one that is unknown, with bounded work."""

import bisect
import difflib
from collections.abc import Sequence
from typing import Final

from zejzl_ray.errors import AgentNotFound

_NEIGHBOURS: Final = 60
_MOST: Final = 3


def near_names(name: str, ordered: Sequence[str]) -> list[str]:
    """Return up to three names like the given one, the nearest first.

    Args:
        name: what was asked for.
        ordered: all names in order. Of many, only those that sort next to ``name`` are compared: names that
            begin
            alike stand together.
    """
    position = bisect.bisect_left(ordered, name)
    candidates = ordered[max(0, position - _NEIGHBOURS) : position + _NEIGHBOURS]
    return difflib.get_close_matches(name, candidates, n=_MOST, cutoff=0.6)


def unknown_agent(name: str, ordered: Sequence[str]) -> AgentNotFound:
    """Return the error for an unknown agent, with near names where there are some."""
    near = near_names(name, ordered)
    remedy = f"Did you mean {' or '.join(near)}?" if near else "Register it first, or list the agents."
    return AgentNotFound(f"No agent is called {name}.", remedy)
