"""How an agent of a host is: where it is in its life, its health with reasons, its figures."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, JsonValue

from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.orchestrator import HealthStatus

Score = Annotated[float, Field(ge=0, le=1)]


class LifeState(StrEnum):
    """Where an agent is in its life inside of its host; ``agents/lifecycle.py`` holds the table of moves."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"  # finishes what it handles, takes no new mail
    DRAINING = "draining"  # handles what is in its mailbox, then stops
    STOPPED = "stopped"
    BACKING_OFF = "backing_off"  # failed, and is started again after a while
    STANDBY = "standby"  # another host holds it; is started here once that one lets it go
    FAILED = "failed"  # failed too often; waits for a person


class CheckOutcome(Contract):
    """What one health check said."""

    name: str
    score: Score = Field(description="1 is well, 0 is not")
    weight: Annotated[float, Field(gt=0)] = 1.0
    reason: str = ""


class AgentHealth(Contract):
    """How an agent is: the weighted mean of its checks, and why it is not better."""

    agent: str
    score: Score
    status: HealthStatus
    reasons: tuple[str, ...] = Field(default=(), description="why it is not healthy; empty when it is")
    checks: tuple[CheckOutcome, ...] = ()
    degradations: tuple[str, ...] = Field(default=(), description="declared fallbacks that are in use now")


class AgentInfo(Contract):
    """One agent of a host."""

    name: str
    entry: str = Field(default="", description="module:Class")
    state: LifeState
    reason: str = Field(default="", description="why it is in this state")
    state_since_s: float
    restarts: int = Field(default=0, description="restarts after failures since it was started by somebody")
    handled: int = Field(default=0, description="messages handled since its last start, failed ones too")
    failed: int = Field(default=0, description="those whose handler failed")
    slots: int = Field(default=1, description="how many handlers may run at once")
    busy: int = Field(default=0, description="how many run now")
    mailbox: int = Field(default=0, description="messages that wait in its mailbox")
    started_at_s: float | None = None
    metrics: dict[str, JsonValue] = Field(default_factory=dict, description="what the agent itself counts")
    health: AgentHealth
