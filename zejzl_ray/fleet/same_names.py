"""One name in the files of two machines: which declaration is which agent.

The old files are one a machine, and each may start an agent of its own under a name that the other uses too.
A fleet has one agent of a name, so the later one gets its machine's name behind its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from zejzl_ray.fleet.drafts import Draft
from zejzl_ray.fleet.finding import Finding
from zejzl_ray.fleet.model import AgentDeclaration

Agent = Draft[AgentDeclaration]


@dataclass
class ToldApart:
    """The agents that are left, what the user should know, and (file, name in it) -> name in the fleet."""

    agents: list[Agent]
    findings: list[Finding] = field(default_factory=list)
    renamed: dict[tuple[str, str], str] = field(default_factory=dict)


def tell_apart(agents: Sequence[Agent]) -> ToldApart:
    """Return the agents of several old files, those of two machines under two names.

    An entry that only points at an agent of another machine (an endpoint and no script) is left out where
    that machine's own file declares it. What stands twice for one machine, or says the same for both, stays:
    those are faults.
    """
    told = ToldApart([draft for draft in agents if not _is_pointer_to_one_of(draft, agents)])
    first: dict[str, Agent] = {}
    taken = {draft.name for draft in told.agents}
    for draft in told.agents:
        known = first.setdefault(draft.name, draft)
        here, there = known.declaration.machine, draft.declaration.machine
        file = draft.place.file
        if (
            here is None
            or there is None
            or here == there
            or known.place.file == file
            or _is_copy(known, draft)
        ):
            continue
        new = f"{draft.name}_{there.upper()}"
        if new in taken or (file, draft.name) in told.renamed:
            continue
        told.renamed[file, draft.name] = new
        told.findings.append(
            draft.warning(
                "same-name",
                "name",
                f"{draft.name} is declared for {here} at {known.place} and for {there}; a fleet has one agent "
                f"of a name, so this one is read as {new}",
                "Give one of them another name.",
                related=(known.where("name", f"the one of {here}"),),
            )
        )
    told.agents = [_in_new_words(draft, told.renamed) for draft in told.agents]
    return told


def _is_copy(first: Agent, second: Agent) -> bool:
    """Whether two entries differ in nothing but where they stand."""
    standing = {"machine": None, "group": None}
    return first.declaration.model_copy(update=standing) == second.declaration.model_copy(update=standing)


def _is_pointer_to_one_of(draft: Agent, agents: Sequence[Agent]) -> bool:
    return _is_pointer(draft) and any(
        other.name == draft.name
        and other.place.file != draft.place.file
        and other.declaration.machine == draft.declaration.machine
        and not _is_pointer(other)
        for other in agents
    )


def _is_pointer(draft: Agent) -> bool:
    return draft.declaration.entry is None and "endpoint" in draft.declaration.extras


def _in_new_words(draft: Agent, renamed: dict[tuple[str, str], str]) -> Agent:
    """Return the agent under its new name; its file means its own machine's agents by the old names."""
    file = draft.place.file
    agent = draft.declaration
    dependencies = tuple(renamed.get((file, name), name) for name in agent.dependencies)
    name = renamed.get((file, agent.name), agent.name)
    if name == agent.name and dependencies == agent.dependencies:
        return draft
    places = dict(draft.places)
    for old, new in zip(agent.dependencies, dependencies, strict=True):
        if old != new:
            places[f"dependencies.{new}"] = places[f"dependencies.{old}"]
    changed = agent.model_copy(update={"name": name, "dependencies": dependencies})
    return replace(draft, declaration=changed, places=places)
