"""The host of agents: an actor with one or many agents in one process, so that those who talk much are neighbours."""

import gc
import sys
from typing import Any, Final, cast

import ray
from ray.actor import ActorHandle

from actors.closed import closed
from actors.place import MAX_CONCURRENCY, prepare_process
from zejzl_ray.cluster.agent_host import AgentHost, AgentHostOptions
from zejzl_ray.cluster.mail_door import Deliver
from zejzl_ray.cluster.names import MACHINE_LABEL, agent_host_name
from zejzl_ray.contracts import agent_host as wire
from zejzl_ray.contracts.agent_life import AgentInfo
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.life import Stopped, StopService

# Mail makes very many objects that live for a moment and hang in no circle. With Python's own 700 the collector takes a
# fifth of the time of mail that is kept, most of it in walking through what was imported at the start.
_NEW_OBJECTS: Final = 20_000

# Ray's threads need Python's lock to hand a call over or an answer back, and get it from a busy event loop after this
# time only. With Python's own 5 ms each batch of mail waits for that several times; 8 busy senders got half the rate.
_SWITCH_S: Final = 0.0005


@closed(wire.SERVICE)
class AgentHostActor:
    """Holds agents from its start until ``stop``; Ray starts it anew when its process dies.

    Args:
        options: from the starter.
    """

    def __init__(self, options: AgentHostOptions) -> None:
        prepare_process(agent_host_name(options.name), options.settings, options.machine)
        sys.path[:0] = [folder for folder in options.path if folder not in sys.path]
        # Closed, like every method of this class; its type is that of a handle's method, which it is not in here.
        deliver = cast(Deliver, self.deliver_mail)
        self._host = AgentHost(options, ray.util.get_node_ip_address(), deliver)
        self._security = self._host.security
        self._host.launch()
        gc.collect()
        gc.freeze()
        gc.set_threshold(_NEW_OBJECTS, 20, 20)
        sys.setswitchinterval(_SWITCH_S)

    @ray.method
    async def open_mail(self, request: wire.OpenMail, call: CallContext) -> wire.MailOpened:
        """Open or renew the connection of another host."""
        return await self._host.open_mail(request, call)

    @ray.method
    async def deliver_mail(self, request: wire.DeliverMail, call: CallContext) -> wire.MailDelivered:
        """Take a batch of another host, and give it what is there for it."""
        return await self._host.deliver_mail(request, call)

    @ray.method
    async def hold_line(self, request: wire.HoldLine, call: CallContext) -> wire.LineHeld:
        """Answer after a while; the caller hears at once when this process ends meanwhile."""
        return await self._host.hold_line(request)

    @ray.method
    async def list_held_agents(self, request: wire.ListHeldAgents, call: CallContext) -> wire.HeldAgents:
        """Return the agents and how they are."""
        return await self._host.list_held_agents()

    @ray.method
    async def start_agent(self, request: wire.ControlAgent, call: CallContext) -> AgentInfo:
        """Start an agent that was stopped."""
        return await self._host.start_agent(request)

    @ray.method
    async def stop_agent(self, request: wire.ControlAgent, call: CallContext) -> AgentInfo:
        """Stop an agent after it has handled its mail."""
        return await self._host.stop_agent(request)

    @ray.method
    async def restart_agent(self, request: wire.ControlAgent, call: CallContext) -> AgentInfo:
        """Start an agent anew; what is in its mailbox stays there."""
        return await self._host.restart_agent(request)

    @ray.method
    async def health(self, request: GetHealth, call: CallContext) -> ServiceHealth:
        """Return whether this host can work, and what of its agents is not well."""
        return await self._host.health()

    @ray.method
    async def stop(self, request: StopService, call: CallContext) -> Stopped:
        """Stop all agents after they have handled their mail; safe to repeat."""
        return await self._host.stop()


def start(
    options: AgentHostOptions,
    *,
    cpus: float = 0.1,
    memory_mib: int = 0,
    resources: dict[str, float] | None = None,
) -> "ActorHandle[Any]":
    """Start a host on its machine, or return the running one of that name; safe to repeat.

    Args:
        options: what it holds.
        cpus: cores that it asks of Ray.
        memory_mib: main memory that it asks of Ray.
        resources: other resources.
    """
    actor: type[Any] = AgentHostActor
    handle: ActorHandle[Any] = (
        ray.remote(actor)
        .options(
            name=agent_host_name(options.name),
            namespace=options.settings.namespace,
            get_if_exists=True,
            num_cpus=cpus,
            resources=dict(resources or {}),
            label_selector={MACHINE_LABEL: options.machine},
            **lasting(memory_mib),
        )
        .remote(options)
    )
    return handle


def lasting(memory_mib: int = 0) -> dict[str, Any]:
    """Return the Ray options of every host: it outlives its starter, and is started anew for ever."""
    options: dict[str, Any] = {
        "lifetime": "detached",
        "max_restarts": -1,
        "max_task_retries": 0,
        "max_concurrency": MAX_CONCURRENCY,
        "enable_task_events": False,  # one for each batch of mail cost a third of the rate; the bus has its own figures
    }
    return options | ({"memory": memory_mib * 1024 * 1024} if memory_mib else {})
