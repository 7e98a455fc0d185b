"""Who waits for whom, on the wire: what hosts of agents report, and the circles that are found in it.

Times are wall time of the host that tells them, seconds since the epoch.
"""

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import REQUEST_ID_PATTERN
from zejzl_ray.ids import new_id

MAX_STACK: Final = 4000
MAX_AGENTS: Final = 10_000
MAX_WAITS: Final = 10_000

# names and ids as the bus takes them: free text of a bounded length
Text = Annotated[str, StringConstraints(max_length=256)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Ids = Annotated[tuple[Text, ...], Field(max_length=MAX_WAITS)]


class Handled(Contract):
    """One handler that runs, and the requests without whose replies it does not go on."""

    slot: int = Field(ge=0, description="which of the agent's handlers, from 0")
    request_id: Text = Field(
        default="",
        description="correlation id of the request it handles; empty for plain mail, and once it is answered",
    )
    message_id: Text
    since_s: float
    awaits: Ids = Field(default=(), description="correlation ids of the requests it waits for")
    stack: Annotated[str, StringConstraints(max_length=MAX_STACK)] = ""


class Pending(Contract):
    """One request without a reply yet, told by the host of its sender."""

    correlation_id: Name
    from_agent: Name
    to_agent: Name
    since_s: float
    slot: int | None = Field(
        default=None, ge=0, description="the handler that sent it; null: sent outside of one"
    )


class AgentWaits(Contract):
    """One agent's handlers and requests in its mailbox, at one moment."""

    agent: Name
    slots: int = Field(ge=0, description="how many handlers may run at once; 1 for an agent without a runner")
    has_receiver: bool = Field(description="somebody waits in receive() now, or a slot is free")
    handled: Annotated[tuple[Handled, ...], Field(max_length=MAX_WAITS)] = ()
    queued: Ids = Field(default=(), description="correlation ids of the requests in its mailbox")


class ReportWaits(Contract):
    """A host reports its agents, all of them at one moment. Safe to repeat: an older one never replaces a newer one."""

    request_id: Annotated[str, StringConstraints(pattern=REQUEST_ID_PATTERN)] = Field(default_factory=new_id)
    host: Name
    boot: Name = Field(description="changes whenever the host's process starts anew")
    sequence: int = Field(ge=0, description="grows with every report of this boot")
    answered: int | None = Field(
        default=None,
        ge=0,
        description="the newest report of this boot whose answer had come when this one was made; "
        "null: the one before it",
    )
    at_s: float
    agents: Annotated[tuple[AgentWaits, ...], Field(max_length=MAX_AGENTS)] = ()
    pending: Annotated[tuple[Pending, ...], Field(max_length=MAX_WAITS)] = ()
    has_stacks: bool = False


class DeadlockParty(Contract):
    """One handler of a circle: ``agent`` waits for the reply of ``of``."""

    agent: str
    host: str
    awaits: str = Field(description="correlation id of the request that it waits for")
    of: str = Field(description="the agent that was asked")
    waits_s: float = Field(ge=0, description="how long it had waited when the circle was found")
    stack: str = Field(default="", description="where it waits; empty where the host could not tell")


class Deadlock(Contract):
    """Agents that wait for one another in a circle: the first for the second, the last for the first."""

    id: str
    found_at_s: float
    agents: tuple[str, ...] = Field(description="in the order of the circle")
    correlation_ids: tuple[str, ...] = Field(description="what each of ``agents`` waits for")
    hosts: tuple[str, ...] = Field(description="where they are, each host once")
    parties: tuple[DeadlockParty, ...]
    broken: str = Field(
        default="", description="correlation id of the request that is failed to end it; empty if none is"
    )


class FailRequest(Contract):
    """A pending request that its host is to fail with ``DeadlockDetected``. Safe to repeat."""

    correlation_id: str
    agents: tuple[str, ...] = Field(description="the circle that it ends")
    reason: str


class WaitsReported(Contract):
    """What a host is to do after a report."""

    fail: tuple[FailRequest, ...] = Field(default=(), description="until they are gone from its reports")
    wants_stacks: bool = Field(default=False, description="report again at once, with stacks")
    deadlocks: tuple[Deadlock, ...] = Field(
        default=(), description="new ones with an agent of this host, each told once"
    )
