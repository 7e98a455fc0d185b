"""Hosts of agents on the wire: processes that hold mailboxes and run agents, and the mail between them.

A host proves once a connection for which agents it speaks, with an access token of each; after that a batch needs the
host's own token alone. Connections are opened over actor handles, batches go from process to process over gRPC; what
people do with agents goes over HTTP too.
"""

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from zejzl_ray.contracts.agent_life import AgentInfo
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.operation import Operation, OperationsOf
from zejzl_ray.contracts.orchestrator import AgentName, RequestId
from zejzl_ray.contracts.wire_secret import WireSecret
from zejzl_ray.ids import new_id

SERVICE: Final = "agent_host"
# A host's subject is service:host.NAME.
SUBJECT_PREFIX: Final = "host."

MAX_SPEAKERS: Final = 10_000
MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
MAIL_SCOPE_PATTERN: Final = r"^[a-z][a-z0-9_-]{0,63}$"

# The scopes that a token shown to a host may have: it proves who writes, and is of no use for anything else.
MAIL_GRANTS: Final = ("mail:*:write",)

Boot = Annotated[str, StringConstraints(min_length=1, max_length=64)]


def mail_audience(host: str) -> str:
    """Return the audience of the tokens that are shown to a host; no service and no other host takes them."""
    return f"{SERVICE}.{host}"


def is_mail_audience(audience: str) -> bool:
    """Return whether tokens for this audience prove to a host who writes, and nothing else."""
    return audience.startswith(f"{SERVICE}.")


class Speaker(Contract):
    """An agent that a host speaks for, and the proof."""

    agent: AgentName
    token: WireSecret | None = Field(
        default=None,
        description="access token of the agent, issued for the host that it is shown to (audience agent_host.NAME);"
        " null where authentication is off",
    )


class OpenMail(Contract):
    """Open a connection to a host, or renew it: mail of these agents may come in, and of its own go back."""

    request_id: RequestId = Field(default_factory=new_id)
    host: AgentName = Field(description="the host that asks; its own token must say so")
    boot: Boot
    speakers: Annotated[tuple[Speaker, ...], Field(max_length=MAX_SPEAKERS)] = ()


class MailOpened(Contract):
    """The connection is open for ``valid_s``; open it again before."""

    connection: str
    address: str = Field(description="host:port at which batches are taken, over gRPC")
    boot: str
    valid_s: float
    speakers: tuple[Speaker, ...] = Field(
        default=(), description="for whom the other side speaks, proved to the caller"
    )


class DeliverMail(Contract):
    """Bring a batch; ``frame`` is a ``zejzl_ray.bus.ports.Outgoing`` as MessagePack."""

    connection: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    frame: Annotated[bytes, Field(max_length=MAX_FRAME_BYTES)]


class MailDelivered(Contract):
    """What became of it; ``frame`` is a ``zejzl_ray.bus.ports.Delivered`` as MessagePack."""

    frame: bytes


class HoldLine(Contract):
    """Wait with the host for as long as it lives, at most ``timeout_s``: whoever waits hears at once that it died."""

    timeout_s: Annotated[float, Field(ge=0, le=60)] = 20.0


class LineHeld(Contract):
    """The host is alive."""

    boot: str


class ListHeldAgents(Contract):
    """Ask which agents a host holds."""

    host: AgentName = Field(description="which host")


class HeldAgents(Contract):
    """The agents of one host."""

    host: str
    machine: str
    boot: str
    digest: str = Field(
        default="", description="of what the fleet file says of it; empty: it is not of a fleet file"
    )
    stop_within_s: float = Field(
        default=45.0, description="how long its stop may take: its agents handle what is in their mailboxes"
    )
    agents: tuple[AgentInfo, ...]


class ControlAgent(Contract):
    """Start, stop or restart one agent of a host. Safe to repeat."""

    request_id: RequestId = Field(default_factory=new_id)
    name: AgentName
    host: AgentName = Field(description="which host")


_op: Final = OperationsOf(SERVICE)

# To open a connection is a write: it is written down, and refused while news of revocations are late. Batches of an
# open one are counted only; a connection lives for minutes.
_MAIL: Final = "mail:report"
_READ: Final = "agents:read"
_CONTROL: Final = "agents:write"
_AGENTS: Final = "/v1/hosts/{host}/agents"

OPERATIONS: Final[tuple[Operation, ...]] = (
    _op("open_mail", OpenMail, MailOpened, "mail:write"),
    _op("deliver_mail", DeliverMail, MailDelivered, _MAIL, is_repeatable=False),
    _op("hold_line", HoldLine, LineHeld, _MAIL, is_repeatable=False),
    _op("list_held_agents", ListHeldAgents, HeldAgents, _READ, "GET", _AGENTS),
    _op("start_agent", ControlAgent, AgentInfo, _CONTROL, "POST", f"{_AGENTS}/{{name}}/start"),
    _op("stop_agent", ControlAgent, AgentInfo, _CONTROL, "POST", f"{_AGENTS}/{{name}}/stop"),
    # Not repeated by itself: each time is a restart.
    _op(
        "restart_agent",
        ControlAgent,
        AgentInfo,
        _CONTROL,
        "POST",
        f"{_AGENTS}/{{name}}/restart",
        is_repeatable=False,
    ),
)
