"""A name that is declared twice."""

from collections.abc import Iterable

from zejzl_ray.fleet.drafts import Draft, FleetContext
from zejzl_ray.fleet.finding import Finding
from zejzl_ray.fleet.model import AgentDeclaration
from zejzl_ray.fleet.topology import SERVICE_NAMES


class DuplicateAgents:
    """One name is one agent in the whole fleet: says where both stand, and in what they differ."""

    name = "duplicate-agent"

    def check(self, context: FleetContext) -> Iterable[Finding]:
        """Return one finding for each declaration after the first of its name."""
        first: dict[str, Draft[AgentDeclaration]] = {}
        for draft in context.agents:
            known = first.setdefault(draft.name, draft)
            if draft.name in SERVICE_NAMES:
                yield draft.error(
                    "service-name",
                    "name",
                    f"{draft.name} is the name of a service",
                    "Give the agent another name.",
                )
            if known is not draft:
                yield draft.error(
                    "duplicate-agent",
                    "name",
                    f"{draft.name} is declared twice, first at {known.place}; {_difference(known, draft)}",
                    "Keep one declaration, or rename one of two different agents.",
                    related=(known.where("name", "first declared here"),),
                )


def _difference(first: Draft[AgentDeclaration], second: Draft[AgentDeclaration]) -> str:
    """Return in words what differs, values of the first declaration before those of the second."""
    one, two = first.declaration, second.declaration
    parts = []
    for field in AgentDeclaration.model_fields:
        before, after = getattr(one, field), getattr(two, field)
        if field == "group" or before == after:
            continue
        key = second.path_of(field).rsplit(".", 1)[-1]
        if isinstance(before, dict) and isinstance(after, dict):
            names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
            parts.append(", ".join(names) if field == "extras" else f"{key} ({', '.join(names)})")
        else:
            parts.append(f"{key} ({_shown(before)}, {_shown(after)})")
    return f"they differ in {', '.join(parts)}" if parts else "both say the same"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(str(item) for item in value) + "]"
    return "none" if value is None else str(value)
