"""Corrections of faults in the old startup configurations: each a rule with a name and a reason.

A rule says where it applies and does nothing elsewhere, so the same list serves every revision of the files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from zejzl_ray.fleet.model import AgentDeclaration, Fleet
from zejzl_ray.fleet.order import canonical_names, dependency_edges, reaches
from zejzl_ray.fleet.port_matrix import claims


@dataclass(frozen=True)
class Corrected:
    """A correction that applied: ``subject`` is the agent or file, ``change`` says what was done."""

    name: str
    subject: str
    change: str
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Return the correction as JSON-able data."""
        return {"name": self.name, "subject": self.subject, "change": self.change, "reason": self.reason}


class Correction(Protocol):
    """A rule: returns the corrected fleet and what was done, or None where the fault is not there."""

    @property
    def name(self) -> str:
        """Stable name of the rule."""
        ...

    def apply(self, fleet: Fleet) -> tuple[Fleet, Corrected] | None:
        """Return the corrected fleet, or None."""
        ...


@dataclass(frozen=True)
class DropDependency:
    """Removes one dependency, but only while it is part of a circle."""

    name: str
    agent: str
    dependency: str
    reason: str

    def apply(self, fleet: Fleet) -> tuple[Fleet, Corrected] | None:
        """Return the fleet without the dependency, or None where there is no such circle."""
        agent = fleet.agents.get(self.agent)
        if agent is None or self.dependency not in agent.dependencies:
            return None
        target = canonical_names(fleet).get(self.dependency)
        if target is None or not reaches(dependency_edges(fleet), target, self.agent):
            return None
        kept = tuple(name for name in agent.dependencies if name != self.dependency)
        corrected = Corrected(self.name, self.agent, f"no longer depends on {self.dependency}", self.reason)
        return with_agent(fleet, agent.model_copy(update={"dependencies": kept})), corrected


@dataclass(frozen=True)
class MovePorts:
    """Moves an agent's ports, but only while somebody else claims one of them and the new ones are free.

    ``moves`` maps the old port to the new one.
    """

    name: str
    agent: str
    reason: str
    moves: Mapping[int, int] = field(default_factory=dict)

    def apply(self, fleet: Fleet) -> tuple[Fleet, Corrected] | None:
        """Return the fleet with the agent's ports moved, or None where nobody else claims them."""
        agent = fleet.agents.get(self.agent)
        if agent is None:
            return None
        mine = {"port": agent.port, "health_port": agent.health_port}
        moved = {
            key: self.moves[port] for key, port in mine.items() if port is not None and port in self.moves
        }
        if not any(self._others(fleet, agent, mine[key]) for key in moved):
            return None
        if any(claims(fleet, agent.machine, port) for port in moved.values()):
            return None
        change = ", ".join(f"{key} {mine[key]} -> {port}" for key, port in moved.items())
        return with_agent(fleet, agent.model_copy(update=moved)), Corrected(
            self.name, self.agent, change, self.reason
        )

    @staticmethod
    def _others(fleet: Fleet, agent: AgentDeclaration, port: int | None) -> bool:
        return port is not None and any(row.owner != agent.name for row in claims(fleet, agent.machine, port))


@dataclass(frozen=True)
class GiveDefault:
    """Gives a variable in a file a default, so that the value does not hang on who starts the agents."""

    name: str
    variable: str
    default: str
    reason: str

    def apply_to_text(self, text: str, file: str) -> tuple[str, Corrected] | None:
        """Return the corrected text, or None where the variable is not used without a default."""
        bare, given = f"${{{self.variable}}}", f"${{{self.variable}:-{self.default}}}"
        if bare not in text:
            return None
        return text.replace(bare, given), Corrected(self.name, file, f"{bare} -> {given}", self.reason)


TEXT_CORRECTIONS: Final = (
    GiveDefault(
        name="pythonpath-default",
        variable="PYTHONPATH",
        default="",
        reason="Most shells and service managers do not set it; the text itself was the search path then.",
    ),
    GiveDefault(
        name="pwd-default",
        variable="PWD",
        default=".",
        reason="Only a shell sets it; under a service manager the text itself was the search path.",
    ),
)

CORRECTIONS: Final[tuple[Correction, ...]] = (
    DropDependency(
        name="speech-circle",
        agent="TTSService",
        dependency="StreamingInterruptHandler",
        reason=(
            "TTSService, StreamingTTSAgent and StreamingInterruptHandler wait for each other: none starts. "
            "TTSService can speak without the interrupt handler, which only tells it to stop; the other two "
            "cannot work without what they wait for."
        ),
    ),
    MovePorts(
        name="vision-port",
        agent="VisionProcessingAgent",
        reason=(
            "7150 is where every old agent publishes its errors, and the bridge must hold it; "
            "8150 was the health port of the old error relay."
        ),
        moves={7150: 7160, 8150: 8160},
    ),
    MovePorts(
        name="goal-manager-port",
        agent="GoalManager",
        reason="7005 belongs to security_gateway, which runs on this machine when its home is lost.",
        moves={7005: 7006, 8005: 8006},
    ),
)


def apply_corrections(
    fleet: Fleet, rules: tuple[Correction, ...] = CORRECTIONS
) -> tuple[Fleet, tuple[Corrected, ...]]:
    """Return the fleet after every rule that applies, and what was done, in the order of the rules.

    Applying the rules again changes nothing.
    """
    done: list[Corrected] = []
    for rule in rules:
        outcome = rule.apply(fleet)
        if outcome is not None:
            fleet, corrected = outcome
            done.append(corrected)
    return fleet, tuple(done)


def with_agent(fleet: Fleet, agent: AgentDeclaration) -> Fleet:
    """Return the fleet with this declaration in place of the one of the same name, at the same position."""
    return fleet.model_copy(update={"agents": {**fleet.agents, agent.name: agent}})
