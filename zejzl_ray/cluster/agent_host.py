"""The process that holds agents: its bus, its agents, and what it tells the services."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import SecretStr

from zejzl_ray.agents.host import AgentSet, AgentSpec
from zejzl_ray.agents.runner import RunnerParts
from zejzl_ray.auth.audit_remote import RemoteAuditSink
from zejzl_ray.auth.authorised_caller import AuthorisedCaller
from zejzl_ray.auth.process_security import ProcessSecurity, SecurityOptions
from zejzl_ray.bus.durable_mail import DurableMail
from zejzl_ray.bus.frames import decode_outgoing, encode_frame
from zejzl_ray.bus.inboxes import Inboxes
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.agent_credentials import AgentCredentials, AgentRegistrar
from zejzl_ray.cluster.agent_host_reports import HostReports
from zejzl_ray.cluster.agent_host_watch import HostWatch, readings_of
from zejzl_ray.cluster.gateway_access import CALL_TIMEOUT_S, GatewayAccess
from zejzl_ray.cluster.host_stores import opener
from zejzl_ray.cluster.mail_calls import MailCalls
from zejzl_ray.cluster.mail_channel import mail_tls
from zejzl_ray.cluster.mail_directory import HOST_KEY, MailDirectory
from zejzl_ray.cluster.mail_door import Deliver, MailDoor
from zejzl_ray.cluster.mail_proofs import Shown
from zejzl_ray.cluster.mail_reception import Reception
from zejzl_ray.cluster.mail_transport import MailTransport
from zejzl_ray.cluster.node_start import is_loopback
from zejzl_ray.cluster.observability_hub import ObservabilityHubClient
from zejzl_ray.cluster.ray_metrics import RayMetricsExport
from zejzl_ray.contracts import agent_host as wire
from zejzl_ray.contracts.access import principal_of
from zejzl_ray.contracts.agent_life import AgentHealth, AgentInfo, LifeState
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import Check, CheckStatus, ServiceHealth
from zejzl_ray.contracts.life import Stopped
from zejzl_ray.contracts.orchestrator import HealthStatus
from zejzl_ray.errors import AgentNotFound, ServiceUnavailable, ZejzlError
from zejzl_ray.ids import new_id
from zejzl_ray.log import get_logger
from zejzl_ray.settings import Settings
from zejzl_ray.version import __version__

_DIRECTORY_S: Final = 5.0  # agents start without knowing of others when the registry is away for longer
FLUSH_S: Final = 5.0  # for what the agents have sent last to go, when the host stops
_STOP_S: Final = 5.0  # for the stores, the registry and the gateway then
LINGER_S: Final = 0.002  # how long a lone request's answer may bring the reply along
_log = get_logger("agent_host")


@dataclass(frozen=True, slots=True)
class HostedAgent:
    """One agent of a host, as it is started.

    Attributes:
        name: of the agent.
        entry: ``module:Class``.
        settings: handed to the agent as ``self.settings``.
        credential: proof of which agent it is; exchanged for short-lived tokens.
        mail_scope: senders need ``mail:<mail_scope>:write``; empty: as its class says.
    """

    name: str
    entry: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    credential: SecretStr | None = None
    mail_scope: str = ""


@dataclass(frozen=True, slots=True)
class AgentHostOptions:
    """What a host is started with.

    Attributes:
        name: of the host; its actor is ``agent_host:NAME``.
        machine: where it is meant to run.
        settings: of the cluster.
        credential: proof of which host it is.
        agents: whom it holds, in the order in which they start.
        bus: sizes and time limits of its mail.
        path: folders that agents' modules are imported from.
        digest: of what the fleet file says of it, so that a change is seen; empty: it is not of a fleet file.
    """

    name: str
    machine: str
    settings: Settings
    credential: SecretStr
    agents: tuple[HostedAgent, ...] = ()
    bus: BusOptions = field(default_factory=BusOptions)
    path: tuple[str, ...] = ()
    digest: str = ""


class AgentHost:
    """Holds the agents of one process; begins to work at once and goes on until ``stop``.

    Needs a running event loop and a process that is connected to Ray. Mail comes in as soon as the gateway was heard
    of; a host that was killed and started anew by Ray starts its agents again, with the state that they had saved.

    Args:
        options: from the starter.
        node_address: address of the machine, told to the registry; mail is taken there.
        deliver: ``deliver_mail`` of the actor, which checks who brings mail.

    Attributes:
        security: checks the calls of this process.
        office: the bus of this process.
    """

    def __init__(self, options: AgentHostOptions, node_address: str, deliver: Deliver) -> None:
        clock = SystemClock()
        settings = options.settings
        self._options = options
        self._clock = clock
        self._access = GatewayAccess(settings.namespace, options.credential, clock)
        self.security = ProcessSecurity(
            wire.SERVICE,
            f"{wire.SUBJECT_PREFIX}{options.name}.{new_id('run')}",  # a restarted one begins a chain of its own
            self._access.ports(RemoteAuditSink(self._access.audit.record)),
            clock,
            SecurityOptions(is_required=settings.require_auth, max_feed_age_s=settings.max_feed_age_s),
        )
        credentials = {
            agent.name: agent.credential for agent in options.agents if agent.credential is not None
        }
        self._credentials = AgentCredentials(
            self._access.actors,
            credentials,
            clock,
            is_required=settings.require_auth,
            guard=self.security.guard,
        )
        self._directory = MailDirectory(self._access.caller)
        self.office = PostOffice(
            clock=clock, options=options.bus, host=options.name, directory=self._directory
        )
        tls = mail_tls(os.environ)
        self._door = MailDoor(node_address, _mail_ports(settings, node_address), deliver, tls=tls)
        self._calls = MailCalls(timeout_s=CALL_TIMEOUT_S, tls=tls)
        self._transport = MailTransport(
            options.name,
            self.office.boot,
            caller=self._access.caller,
            ways=self._calls,
            direct=AuthorisedCaller(self._calls, self._access.tokens),
            guard=self.security.guard,
            proofs=self._proofs,
            agents=self._own_agents,
            is_awaited=lambda host: any(pending.host == host for pending in self.office.pending),
            on_gone=self._gone,
            clock=clock,
        )
        self.office.connect(self._transport)
        self._reception = Reception(options.name, self.security.guard, clock)
        registrar = AgentRegistrar(options.name, self._credentials.callers, options.machine, node_address)
        open_store = opener(settings, options.name, clock)
        inboxes = Inboxes(open_store, clock)
        self._durable = DurableMail(options.name, open_store, clock, inboxes=inboxes)
        self.office.keep(self._durable)
        parts = RunnerParts(
            mail=self.office,
            clock=clock,
            state_store=inboxes,
            figures=self.office.figures,
            handlings=self.office.handlings,
            metadata={HOST_KEY: options.name},
        )
        self._specs = {
            agent.name: AgentSpec(agent.name, agent.entry, agent.settings, mail_scope=agent.mail_scope)
            for agent in options.agents
        }
        # agent -> why it could not be started
        self._faults: dict[str, str] = {}
        self._absent_since: dict[str, float] = {}  # agent that does not run -> when that was seen first
        self.agents = AgentSet(parts, registrar=registrar)
        self.office.dead_letters.on_letter(self.agents.undelivered)
        hub = ObservabilityHubClient(self._access.caller)
        self._reports = HostReports(self.office, hub, options.machine, clock)
        export = None
        if settings.ray_metrics:
            export = RayMetricsExport(
                self.office.figures, lambda: readings_of(self.office, self.agents), host=options.name
            )
        self._watch = HostWatch(self.office, self.agents, clock, export=export)
        self._tasks: list[asyncio.Task[None]] = []
        self._is_started = False
        self._no_mail = ""
        self._ended: list[str] = []  # what should run and does not
        self._stopping: asyncio.Task[None] | None = None
        self._is_closed = False

    def launch(self) -> None:
        """Begin to work; safe to repeat."""
        if self._tasks:
            return
        self.security.launch()
        self._watch.start()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._directory.run(), name="mail-directory"),
            loop.create_task(self._durable.run(), name="durable-mail"),
            loop.create_task(self._reports.run(), name="host-reports"),
            loop.create_task(self._start_agents(), name="start-agents"),
        ]
        for task in self._tasks:
            task.add_done_callback(self._task_over)

    async def open_mail(self, request: wire.OpenMail, call: CallContext) -> wire.MailOpened:
        """Open or renew the connection of another host."""
        if self._is_closed or not self._door.address:
            raise ServiceUnavailable(
                f"Host {self._options.name} takes no mail{f': {self._no_mail}' if self._no_mail else ' now'}.",
                "Send again once it is back.",
            )
        connection = await self._reception.open(request, principal_of(call))
        shown = await self._proofs(request.host)
        self.office.link(request.host).can_go_back = shown.agents
        return wire.MailOpened(
            connection=connection.id,
            address=self._door.address,
            boot=self.office.boot,
            valid_s=min(self._reception.valid_s, shown.life_s),
            speakers=shown.speakers,
        )

    async def deliver_mail(self, request: wire.DeliverMail, call: CallContext) -> wire.MailDelivered:
        """Take a batch of another host, and give it what is there for it."""
        connection = self._reception.find(request.connection, principal_of(call))
        connection.speakers.begin_batch()
        outgoing = decode_outgoing(request.frame)
        delivered = await self.office.accept(
            connection.host, outgoing, connection.speakers, linger_s=LINGER_S
        )
        return wire.MailDelivered(frame=encode_frame(delivered))

    async def hold_line(self, request: wire.HoldLine) -> wire.LineHeld:
        """Answer after a while; the caller hears at once when this process ends meanwhile."""
        await asyncio.sleep(request.timeout_s)
        return wire.LineHeld(boot=self.office.boot)

    async def list_held_agents(self) -> wire.HeldAgents:
        """Return the agents and how they are."""
        return wire.HeldAgents(
            host=self._options.name,
            machine=self._options.machine,
            boot=self.office.boot,
            digest=self._options.digest,
            stop_within_s=self.agents.stop_within_s + FLUSH_S + _STOP_S,
            agents=(*(self._with_mailbox(info) for info in await self.agents.list()), *self._absent()),
        )

    async def start_agent(self, request: wire.ControlAgent) -> AgentInfo:
        """Start an agent that was stopped; safe to repeat.

        Raises:
            AgentNotFound: it is none of this host's.
            InvalidInput: it cannot be loaded or built.
        """
        spec = self._spec(request.name)
        if request.name in self.agents.names():
            return await self.agents.info(request.name)
        return await self._start(spec)

    async def stop_agent(self, request: wire.ControlAgent) -> AgentInfo:
        """Stop an agent after it has handled its mail; safe to repeat.

        Raises:
            AgentNotFound: it is none of this host's.
        """
        self._spec(request.name)
        if request.name in self.agents.names():
            await self.agents.stop(request.name, "stopped by hand")
        self._faults.pop(request.name, None)
        return next(info for info in self._absent() if info.name == request.name)

    async def restart_agent(self, request: wire.ControlAgent) -> AgentInfo:
        """Start an agent anew; what is in its mailbox stays there.

        Raises:
            AgentNotFound: it is none of this host's.
            InvalidInput: it cannot be loaded or built.
        """
        spec = self._spec(request.name)
        if request.name in self.agents.names():
            return await self.agents.restart(request.name, "restarted by hand")
        return await self._start(spec)

    async def health(self) -> ServiceHealth:
        """Return whether this host can work, and what of its agents is not well."""
        checks = [*self.security.checks()]
        checks += [
            _check("directory", self._directory.problem),
            _check("kept_mail", self._durable.fault),
            _check("observability_hub", self._reports.problem),
            _check("mail", self._no_mail),
            _check("background", "; ".join(self._ended), CheckStatus.FAILED),
        ]
        for info in (*await self.agents.list(), *self._absent()):
            status = _CHECK_OF[info.health.status]
            checks.append(
                Check(name=f"agent:{info.name}", status=status, reason="; ".join(info.health.reasons))
            )
        is_able = not any(check.status is CheckStatus.FAILED for check in checks)
        return ServiceHealth(
            service=wire.SERVICE,
            is_ready=is_able and self._is_started,
            checks=tuple(checks),
            machine=self._options.machine,
            version=__version__,
        )

    async def stop(self) -> Stopped:
        """Stop all agents after they have handled their mail, then the mail itself.

        Safe to repeat: who asks again waits for the same end, also when the first one has given up waiting.
        """
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(), name="stop-host")
        await asyncio.shield(self._stopping)
        return Stopped()

    async def _stop(self) -> None:
        *others, starting = self._tasks or (None,)
        await _ended(starting)  # it must not start agents beside those that are stopped
        await self.agents.close()
        # What they have sent last, and whom they have acknowledged: the other hosts hear of it before this one goes.
        await self._durable.close_inboxes()
        if not await self.office.flush(FLUSH_S):
            _log.warning(
                "the host stops with mail for other hosts that could not go", waiting=self.office.waiting
            )
        self._is_closed = True
        await _ended(*others)
        await self._durable.close()
        await self._watch.stop()
        await self._transport.close()
        await self.office.close()
        await self._calls.close()
        await self._door.close()
        await self.security.stop()
        await self._credentials.close()
        await self._access.close()

    def _task_over(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a task of this host has failed", task=task.get_name(), exc_info=error)
            self._ended.append(f"{task.get_name()} has ended ({type(error).__name__})")

    async def _start_agents(self) -> None:
        """Start the agents in their order; one that cannot be started does not keep the others from it."""
        await self._open_door()  # before others hear of mailboxes here
        await self._directory.wait_until_read(_DIRECTORY_S)  # otherwise all that they write to are unknown
        for spec in self._specs.values():
            try:
                await self._start(spec)
            except Exception as error:
                _log.error("agent could not be started", agent=spec.name, exc_info=error)
        self._is_started = True

    async def _open_door(self) -> None:
        try:
            await self._door.start()
        except ServiceUnavailable as error:  # among themselves the agents write all the same
            _log.error("no mail comes in from other hosts", error=error.message)
            self._no_mail = error.message

    async def _start(self, spec: AgentSpec) -> AgentInfo:
        try:
            info = await self.agents.start(spec)
        except Exception as error:
            self._faults[spec.name] = error.message if isinstance(error, ZejzlError) else repr(error)
            raise
        self._faults.pop(spec.name, None)
        return info

    def _spec(self, name: str) -> AgentSpec:
        spec = self._specs.get(name)
        if spec is None:
            raise AgentNotFound(
                f"Host {self._options.name} holds no agent {name}.",
                f"It holds: {', '.join(self._specs) or 'none'}.",
            )
        return spec

    def _with_mailbox(self, info: AgentInfo) -> AgentInfo:
        box = self.office.find(info.name)
        return info if box is None else info.model_copy(update={"mailbox": len(box)})

    def _absent(self) -> list[AgentInfo]:
        """The agents of this host that do not run."""
        running = set(self.agents.names())
        now_s = self._clock.now_s()
        for name in running:
            self._absent_since.pop(name, None)
        return [
            AgentInfo(
                name=name,
                entry=spec.entry,
                state=LifeState.FAILED if name in self._faults else LifeState.STOPPED,
                reason=self._faults.get(name, "stopped"),
                state_since_s=self._absent_since.setdefault(name, now_s),
                health=AgentHealth(
                    agent=name,
                    score=0.0,
                    status=HealthStatus.UNHEALTHY if name in self._faults else HealthStatus.HEALTHY,
                    reasons=(self._faults[name],) if name in self._faults else (),
                ),
            )
            for name, spec in self._specs.items()
            if name not in running
        ]

    async def _proofs(self, host: str) -> Shown:
        return await self._credentials.proofs(self._own_agents(), host)

    def _own_agents(self) -> list[str]:
        """The agents that this host speaks for, also those that do not run: their mail may be in its outbox."""
        return list(dict.fromkeys((*self._specs, *self.office.agents())))

    def _gone(self, host: str, why: str) -> None:
        self._reception.forget(host)  # one that comes back opens another
        link = self.office.link(host)
        link.can_go_back = frozenset()
        link.peer_gone(why)


def _mail_ports(settings: Settings, node_address: str) -> range:
    """Return the ports that a host may take for mail; an empty range stands for any free one."""
    found = None if is_loopback(node_address) else settings.mail_range
    return range(0) if found is None else range(found[0], found[1] + 1)


def _check(name: str, problem: str, status: CheckStatus = CheckStatus.DEGRADED) -> Check:
    return Check(name=name, status=status if problem else CheckStatus.OK, reason=problem)


async def _ended(*tasks: "asyncio.Task[None] | None") -> None:
    """Cancel tasks and wait for their end, 2 s at most."""
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running, timeout=2)


_CHECK_OF: Final = {
    HealthStatus.HEALTHY: CheckStatus.OK,
    HealthStatus.DEGRADED: CheckStatus.DEGRADED,
    HealthStatus.UNHEALTHY: CheckStatus.DEGRADED,
}
