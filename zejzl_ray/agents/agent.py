"""The base class of agents."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import structlog
from pydantic import BaseModel, JsonValue

from zejzl_ray.agents.class_checks import check_class
from zejzl_ray.agents.content import content_of, model_from
from zejzl_ray.agents.handlers import Handler, handlers_of, names_around
from zejzl_ray.agents.health import Check, HealthChecks
from zejzl_ray.agents.own_metrics import AgentMetrics
from zejzl_ray.agents.ports import Mail
from zejzl_ray.bus.dead_letters import DeadLetter
from zejzl_ray.bus.handling import current
from zejzl_ray.bus.mailbox import DEFAULT_CAPACITY, Overflow
from zejzl_ray.bus.message import HIGH, NORMAL, Guarantee, Message, MessagePriority
from zejzl_ray.clock import Clock
from zejzl_ray.errors import Conflict, InvalidInput
from zejzl_ray.resilience.degradations import Degradations

Content = Mapping[str, Any] | BaseModel | None
"""What may be sent: a dictionary, a pydantic model (sent as its JSON), or nothing."""
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Link:
    """What a running agent is connected to."""

    name: str
    mail: Mail
    clock: Clock
    log: structlog.typing.FilteringBoundLogger
    settings: Mapping[str, Any]


class Agent:
    """An agent: extend it with ``on_message``, or with methods that are marked with ``@handles``.

    Registration, heartbeats, health, state, restarts and the drain of its mailbox are done for it. Its constructor
    may ask for dependencies by keyword; the host gives them. One handler runs at a time, unless ``concurrency`` says
    more. What a handler raises is logged and told to the agent that asked, and does not end the agent.

    Attributes:
        concurrency: how many handlers may run at once, 1 to 1,000.
        mailbox_capacity: messages that may wait.
        overflow: what happens to more.
        subscriptions: patterns of topics, such as ``sensors.*.temperature`` or ``alarms.>``.
        capabilities: what the registry lists it under.
        mail_scope: resource of the scope that senders of other processes need.
        heartbeat_period_s: how often it renews its registration; its lease is three times as long.
        start_timeout_s: longest ``on_start``.
        handler_timeout_s: longest handler; None: no limit.
        drain_timeout_s: longest time on stop to handle what is in its mailbox, and again for ``on_stop``.
        state_period_s: state is saved at most this often while mail is handled.
        state_with_ack: state is saved in one commit with the acknowledgement of mail that is sent at least once.
        fatal: exceptions of handlers that end the agent, so that its supervisor starts a new one.
        checks: its health checks; see ``add_check``.
        degradations: its fallbacks, and which are in use.
        metrics: what it counts and measures itself.
    """

    concurrency: int = 1
    mailbox_capacity: int = DEFAULT_CAPACITY
    overflow: Overflow = Overflow.REJECT
    subscriptions: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    mail_scope: str = "agents"
    heartbeat_period_s: float = 10.0
    start_timeout_s: float = 60.0
    handler_timeout_s: float | None = None
    drain_timeout_s: float = 10.0
    state_period_s: float = 5.0
    state_with_ack: bool = False
    fatal: tuple[type[Exception], ...] = (MemoryError,)

    _handlers: ClassVar[Mapping[str, Handler]] = {}
    _has_state: ClassVar[bool] = False

    _link: Link | None
    checks: HealthChecks
    degradations: Degradations
    metrics: AgentMetrics

    def __init_subclass__(cls, **options: Any) -> None:
        """Check the class: its handlers, its attributes.

        Raises:
            InvalidInput: says what is wrong with it.
        """
        super().__init_subclass__(**options)
        check_class(cls)
        cls._handlers = handlers_of(cls, names_around(1))
        cls._has_state = cls.save_state is not Agent.save_state
        if cls._has_state != (cls.load_state is not Agent.load_state):
            raise InvalidInput(
                f"{cls.__name__} has only one of save_state and load_state.", "Override both, or neither."
            )

    def __new__(cls, *_: Any, **__: Any) -> "Agent":
        """Make the parts that every agent has, so that a constructor need not call the one of this class."""
        agent = super().__new__(cls)
        agent._link = None
        agent.checks = HealthChecks()
        agent.degradations = Degradations()
        agent.metrics = AgentMetrics()
        return agent

    # --- what a user overrides ------------------------------------------------------------------------------------

    async def on_message(self, message: Message) -> Any:
        """Handle mail that no ``@handles`` method takes; what it returns is the reply to a request.

        Return a dictionary, a model, None for an empty reply, or ``LATER`` to answer afterwards.
        """
        known = ", ".join(sorted(self._handlers)) or "none"
        raise InvalidInput(
            f"{self.name} has no handler of {message.message_type!r}.", f"It handles: {known}."
        )

    async def on_start(self) -> None:
        """Prepare; the state is restored already, and no mail is handled before this returns."""

    async def on_stop(self) -> None:
        """Release what ``on_start`` took; no handler runs any more. Called after a failure too."""

    async def on_undelivered(self, letter: DeadLetter) -> None:
        """Hear of mail of this agent that did not arrive, with the reason."""

    def save_state(self) -> JsonValue:
        """Return what has to survive a restart, as JSON; called between the awaits of the handlers that run."""
        return None

    def load_state(self, state: JsonValue) -> None:
        """Take what ``save_state`` returned before the restart; not called when there is none."""

    # --- what a user calls ----------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its name; before it is started, the name of its class."""
        return type(self).__name__ if self._link is None else self._link.name

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """Its logger: each line carries the agent, the request and its cause."""
        return self._linked.log

    @property
    def settings(self) -> Mapping[str, Any]:
        """Its own settings, as the fleet file or its starter gave them."""
        return self._linked.settings

    def add_check(self, name: str, check: Check, weight: float = 1.0) -> None:
        """Add a health check: it returns True or False, a score from 0 to 1, or a ``CheckResult`` with a reason.

        It runs with each heartbeat. A plain function must be quick; a coroutine function has 2 s.
        """
        self.checks.add(name, check, weight)

    def degrade(self, name: str, reason: str) -> None:
        """Show in its health that a fallback is in use, until ``recover``; ``@degrades`` does both by itself."""
        self.degradations.fell_back(name, reason)

    def recover(self, name: str) -> None:
        """Show that the fallback is not in use any more."""
        self.degradations.recovered(name)

    async def send(
        self,
        to: str,
        message_type: str,
        content: Content = None,
        *,
        priority: MessagePriority = NORMAL,
        guarantee: Guarantee = Guarantee.AT_MOST_ONCE,
        deadline_s: float | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> str:
        """Send mail, and return its id.

        Args:
            to: the receiver.
            message_type: free text.
            content: what is said.
            priority: HIGH, NORMAL or LOW.
            guarantee: with AT_LEAST_ONCE it is durable when this returns.
            deadline_s: seconds from now after which nobody wants it any more.
            metadata: free form.

        Raises:
            BusError: it cannot be sent; the class says why.
        """
        return await self._linked.mail.send(
            self._message(to, message_type, content, priority, deadline_s, metadata, guarantee)
        )

    async def request(
        self,
        to: str,
        message_type: str,
        content: Content = None,
        *,
        timeout_s: float | None = None,
        priority: MessagePriority = NORMAL,
        metadata: dict[str, Any] | None = None,
    ) -> Message:
        """Ask another agent and return its reply.

        Raises:
            RequestTimedOut: no reply in time; it is a TimeoutError.
            AgentUnreachable: the other one is gone.
            DeadlockDetected: agents wait for one another in a circle, and this request was chosen to end it.
            ZejzlError: what the other one raised.
        """
        asked = self._message(to, message_type, content, priority, None, metadata)
        return await self._linked.mail.request(asked, timeout_s)

    async def ask(
        self, to: str, message_type: str, content: Content, reply: type[M], *, timeout_s: float | None = None
    ) -> M:
        """Ask another agent and return its reply as a model; raises as ``request``, InvalidInput if it does not fit."""
        return model_from(await self.request(to, message_type, content, timeout_s=timeout_s), reply)

    async def respond(
        self, request: Message, content: Content = None, *, priority: MessagePriority = HIGH
    ) -> None:
        """Answer a request now; what its handler returns is not sent any more."""
        await self._linked.mail.respond(
            request, content_of(content), priority=priority, from_agent=self._linked.name
        )
        handling = current.get()
        if handling is not None and handling.message is request:
            handling.is_answered = True

    async def publish(
        self,
        topic: str,
        message_type: str,
        content: Content = None,
        *,
        priority: MessagePriority = NORMAL,
        deadline_s: float | None = None,
    ) -> int:
        """Send to everybody who subscribed to the topic; return how many those are, as far as is known here."""
        message = self._message(topic, message_type, content, priority, deadline_s)
        return await self._linked.mail.publish(topic, message)

    # --- what the runner uses -------------------------------------------------------------------------------------

    @property
    def _linked(self) -> Link:
        if self._link is None:
            raise Conflict(
                f"{type(self).__name__} is not started yet.",
                "Use this from on_start on, not in the constructor.",
            )
        return self._link

    def _message(
        self,
        to: str,
        message_type: str,
        content: Content,
        priority: MessagePriority,
        deadline_s: float | None,
        metadata: dict[str, Any] | None = None,
        guarantee: Guarantee = Guarantee.AT_MOST_ONCE,
    ) -> Message:
        link = self._linked
        return Message(
            from_agent=link.name,
            to_agent=to,
            message_type=message_type,
            content=content_of(content),
            priority=priority,
            metadata=metadata or {},
            deadline_at_s=None if deadline_s is None else link.clock.now_s() + deadline_s,
            guarantee=guarantee,
        )
