"""Control plane for a fleet of AI agents on the GPU machines that you own.

Start with ``connect``::

    import zejzl_ray

    with zejzl_ray.connect() as client:
        for agent in client.list_agents(state="healthy"):
            print(agent.name)

The names here are loaded when they are first used, so that ``import zejzl_ray`` is cheap and never imports
Ray.
"""

import importlib
from typing import TYPE_CHECKING, Final

from zejzl_ray.version import __version__

if TYPE_CHECKING:
    from zejzl_ray.agents.agent import Agent
    from zejzl_ray.agents.handlers import LATER, handles
    from zejzl_ray.agents.health import CheckResult
    from zejzl_ray.agents.local import LocalAgents
    from zejzl_ray.bus.dead_letters import DeadLetter
    from zejzl_ray.bus.facade import MessageBus
    from zejzl_ray.bus.mailbox import Overflow
    from zejzl_ray.bus.message import Guarantee, Message, MessagePriority
    from zejzl_ray.contracts.machines import Gpu, Machine
    from zejzl_ray.contracts.orchestrator import (
        AgentEvent,
        AgentKind,
        AgentState,
        HealthStatus,
        RegisterAgent,
    )
    from zejzl_ray.errors import ZejzlError
    from zejzl_ray.sdk.async_client import AsyncClient
    from zejzl_ray.sdk.client import Client
    from zejzl_ray.sdk.connect import connect, connect_async
    from zejzl_ray.sdk.registration import Registration

__all__ = [
    "connect",
    "connect_async",
    "Client",
    "AsyncClient",
    "Registration",
    "Agent",
    "handles",
    "LATER",
    "CheckResult",
    "LocalAgents",
    "Message",
    "MessagePriority",
    "Guarantee",
    "Overflow",
    "DeadLetter",
    "MessageBus",
    "AgentEvent",
    "AgentKind",
    "AgentState",
    "HealthStatus",
    "RegisterAgent",
    "Gpu",
    "Machine",
    "ZejzlError",
    "__version__",
]

# public name -> module that defines it
_HOMES: Final = {
    "connect": "zejzl_ray.sdk.connect",
    "connect_async": "zejzl_ray.sdk.connect",
    "Client": "zejzl_ray.sdk.client",
    "AsyncClient": "zejzl_ray.sdk.async_client",
    "Registration": "zejzl_ray.sdk.registration",
    "Agent": "zejzl_ray.agents.agent",
    "handles": "zejzl_ray.agents.handlers",
    "LATER": "zejzl_ray.agents.handlers",
    "CheckResult": "zejzl_ray.agents.health",
    "LocalAgents": "zejzl_ray.agents.local",
    "Message": "zejzl_ray.bus.message",
    "MessagePriority": "zejzl_ray.bus.message",
    "Guarantee": "zejzl_ray.bus.message",
    "Overflow": "zejzl_ray.bus.mailbox",
    "DeadLetter": "zejzl_ray.bus.dead_letters",
    "MessageBus": "zejzl_ray.bus.facade",
    "AgentEvent": "zejzl_ray.contracts.orchestrator",
    "AgentKind": "zejzl_ray.contracts.orchestrator",
    "AgentState": "zejzl_ray.contracts.orchestrator",
    "HealthStatus": "zejzl_ray.contracts.orchestrator",
    "RegisterAgent": "zejzl_ray.contracts.orchestrator",
    "Gpu": "zejzl_ray.contracts.machines",
    "Machine": "zejzl_ray.contracts.machines",
    "ZejzlError": "zejzl_ray.errors",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, loaded or not, beside what is here already."""
    return sorted({*globals(), *__all__})
