"""Runs one agent: from the restored state to the drained mailbox."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from zejzl_ray.agents.agent import Agent, Link
from zejzl_ray.agents.desk import Desk, FatalFailure
from zejzl_ray.agents.health import judge
from zejzl_ray.agents.heartbeats import Heartbeats
from zejzl_ray.agents.hooks import UndeliveredMail, bounded
from zejzl_ray.agents.lifecycle import Lifecycle, LifeEvent, shown_reason
from zejzl_ray.agents.place import AgentPlace
from zejzl_ray.agents.ports import Mail, StateStore
from zejzl_ray.agents.slots import Slots
from zejzl_ray.agents.state_keeper import StateKeeper
from zejzl_ray.bus.dead_letters import DeadLetter
from zejzl_ray.bus.handling import Handlings
from zejzl_ray.bus.message import Message
from zejzl_ray.clock import Clock, SystemClock
from zejzl_ray.contracts.agent_life import AgentHealth, AgentInfo
from zejzl_ray.errors import Conflict, InvalidInput
from zejzl_ray.ids import NAME_REGEX
from zejzl_ray.log import bind_agent, get_logger
from zejzl_ray.metrics.figures import MailFigures
from zejzl_ray.resilience.degradations import using_degradations


@dataclass(frozen=True, slots=True)
class RunnerParts:
    """What the agents of one process share.

    Attributes:
        mail: the bus.
        clock: wall time, and monotonic time for durations.
        heartbeats: keeps agents registered; None: they are not registered.
        state_store: keeps their state; None: they start anew each time.
        figures: of the bus; handling times are counted there.
        handlings: what is being handled, for the search for deadlocks.
        metadata: told to the registry of each agent, such as its host.
    """

    mail: Mail
    clock: Clock = field(default_factory=SystemClock)
    heartbeats: Heartbeats | None = None
    state_store: StateStore | None = None
    figures: MailFigures | None = None
    handlings: Handlings | None = None
    metadata: Mapping[str, JsonValue] | None = None


@dataclass(frozen=True, slots=True)
class StopReport:
    """What was left when an agent stopped.

    Attributes:
        left: messages in its mailbox that it did not handle; they are dead letters.
        interrupted: messages whose handler was ended.
    """

    left: int = 0
    interrupted: int = 0


class AgentRunner:
    """Runs one agent once; a restart takes a new agent and a new runner.

    When ``start`` returns, the agent has its state, its mailbox is open, ``on_start`` is done and mail is handled. When
    ``stop`` returns, what was in the mailbox is handled as far as ``drain_timeout_s`` allowed, ``on_stop`` is done, the
    state is saved and the agent is deregistered.

    Args:
        agent: what to run.
        parts: what it runs on.
        name: under which; default: the name of its class.
        settings: its own settings.
        place: an open place that outlives this runner; None: the runner opens and closes its own.
        lifecycle: where its moves are kept; None: its own.

    Attributes:
        agent: what it runs.
        name: under which.
        lifecycle: where it is.
    """

    def __init__(
        self,
        agent: Agent,
        parts: RunnerParts,
        *,
        name: str = "",
        settings: Mapping[str, Any] | None = None,
        place: AgentPlace | None = None,
        lifecycle: Lifecycle | None = None,
    ) -> None:
        self.agent = agent
        self.name = name or type(agent).__name__
        if NAME_REGEX.match(self.name) is None:
            raise InvalidInput(
                f"{self.name!r} is no name of an agent.",
                "Begin with a letter, then letters, digits, _ . or -.",
            )
        clock = parts.clock
        log = get_logger("agent").bind(agent=self.name)
        agent._link = Link(self.name, parts.mail, clock, log, settings or {})
        self.lifecycle = lifecycle or Lifecycle(self.name, clock.now_s())
        self._parts = parts
        self._clock = clock
        self._log = log
        self._owns_place = place is None
        self._place = place or AgentPlace(self.name, parts.mail, parts.heartbeats, parts.metadata)
        self._keeper = StateKeeper(agent, parts.state_store, agent.state_period_s)
        self._desk = Desk(
            agent, parts.mail, self._keeper, clock=clock, figures=parts.figures, handlings=parts.handlings
        )
        self._slots = Slots(
            self.name, agent.concurrency, self._receive, self._desk.handle, self._around, self._crashed
        )
        self._crash: BaseException | None = None
        self._has_crashed = asyncio.Event()
        self._lock = asyncio.Lock()
        self._has_hooks_done = False
        self._started_at_s: float | None = None
        self._letters = UndeliveredMail(agent, self._around)

    async def start(self) -> None:
        """Start it.

        Raises:
            AgentHeld: another process holds the agent.
            Conflict: it was started before.
            DeadlineExceeded: ``on_start`` took too long.
            Exception: what ``on_start`` or the restored state raised; nothing is left running.
        """
        if self._started_at_s is not None or self._crash is not None:
            raise Conflict(f"{self.name} was started before.", "Make a new agent and a new runner.")
        if self._owns_place:
            await self._place.claim(self.agent, self.health, self.fail)
        self.lifecycle.apply(LifeEvent.START, self._clock.now_s())
        try:
            self._place.open(self.agent)
            if self._parts.handlings is not None:
                self._parts.handlings.open(self.name, self.agent.concurrency)
            with self._around():
                await self._keeper.restore()
                await bounded(self.agent.on_start(), self.name, "on_start", self.agent.start_timeout_s)
            if self._crash is not None:
                raise self._crash
        except BaseException as error:
            self._crash = error
            if self.lifecycle.allows(LifeEvent.CRASH):
                self.lifecycle.apply(LifeEvent.CRASH, self._clock.now_s(), shown_reason(error))
            await self._end(saves=False)
            if self._owns_place:
                await self._place.close("could not start")
            raise
        self._started_at_s = self._clock.now_s()
        self.lifecycle.apply(LifeEvent.STARTED, self._started_at_s)
        self._slots.open()
        await self._place.tell()

    async def stop(self, reason: str = "", *, drains: bool = True) -> StopReport:
        """Stop it, after its mailbox is empty or the time for that is over; safe to repeat.

        Args:
            reason: why, for the log and the registry.
            drains: handle what is in the mailbox; otherwise only what is being handled.
        """
        async with self._lock:
            if not self.lifecycle.allows(LifeEvent.STOP):
                return StopReport()
            had_crashed = self._crash is not None
            self.lifecycle.apply(LifeEvent.STOP, self._clock.now_s(), reason)
            interrupted: list[Message] = []
            try:
                if not had_crashed:
                    await self._drain(drains=drains)
                interrupted = await self._slots.cancel()
                for message in interrupted:
                    await self._desk.give_back(message, "was stopped")
                await self._end(saves=not had_crashed)
                left = await self._place.close("was stopped") if self._owns_place else 0
            finally:
                self.lifecycle.apply(LifeEvent.DRAINED, self._clock.now_s(), reason)
            return StopReport(left, len(interrupted))

    async def abandon(self) -> None:
        """End a crashed agent: its handlers, then ``on_stop``; its mailbox and registration stay. Safe to repeat."""
        async with self._lock:
            for message in await self._slots.cancel():
                await self._desk.give_back(message, "failed")
            await self._end(saves=False)

    def fail(self, error: Exception) -> None:
        """End it as if it had failed with this; nothing happens when it does not run."""
        self._crashed(error)

    async def crashed(self) -> BaseException:
        """Wait until it fails, and return what failed; never, when it is stopped."""
        await self._has_crashed.wait()
        assert self._crash is not None
        return self._crash

    def pause(self, reason: str = "") -> None:
        """Take no more mail until ``resume``; handlers that run end as usual, mail goes on to be queued.

        Raises:
            Conflict: it does not run.
        """
        self.lifecycle.apply(LifeEvent.PAUSE, self._clock.now_s(), reason)
        self._slots.shut()
        self._place.hurry()

    def resume(self) -> None:
        """Take mail again.

        Raises:
            Conflict: it is not paused.
        """
        self.lifecycle.apply(LifeEvent.RESUME, self._clock.now_s())
        self._slots.open()
        self._place.hurry()

    async def health(self) -> AgentHealth:
        """Return how it is: its own checks, how its last messages went, its state, the fallbacks in use."""
        checks = [] if self._crash is not None else await self.agent.checks.run()
        checks.append(self._desk.outcomes.outcome())
        if (saved := self._keeper.outcome()) is not None:
            checks.append(saved)
        in_use = self.agent.degradations.in_use()
        return judge(self.name, self.lifecycle.state, self.lifecycle.reason, checks, in_use)

    async def info(self) -> AgentInfo:
        """Return all that is known of it."""
        return AgentInfo(
            name=self.name,
            state=self.lifecycle.state,
            reason=self.lifecycle.reason,
            state_since_s=self.lifecycle.since_s,
            handled=self._desk.outcomes.handled,
            failed=self._desk.outcomes.failed,
            slots=self.agent.concurrency,
            busy=self._slots.busy,
            started_at_s=self._started_at_s,
            metrics=self.agent.metrics.snapshot(),
            health=await self.health(),
        )

    @property
    def is_busy(self) -> bool:
        """Whether a handler runs now."""
        return self._slots.busy > 0

    def undelivered(self, letter: DeadLetter) -> None:
        """Have ``on_undelivered`` called; for a listener of dead letters, so it returns at once."""
        self._letters.tell(letter)

    @contextmanager
    def _around(self) -> Iterator[None]:
        with bind_agent(self.name), using_degradations(self.agent.degradations):
            yield

    async def _receive(self, timeout_s: float | None) -> Message:
        return await self._parts.mail.receive(self.name, timeout_s)

    async def _drain(self, *, drains: bool) -> None:
        limit_s = self.agent.drain_timeout_s
        started_s = asyncio.get_running_loop().time()
        self._slots.shut()
        is_done = await self._slots.ended(limit_s)
        if is_done and drains:
            used_s = asyncio.get_running_loop().time() - started_s
            is_done = await self._slots.drain(max(0.0, limit_s - used_s))
        if not is_done:
            self._log.warning("handlers did not end in time", limit_s=limit_s, busy=self._slots.busy)

    async def _end(self, *, saves: bool) -> None:
        """Call ``on_stop`` and save the state, once; what goes wrong is logged."""
        if self._has_hooks_done:
            return
        self._has_hooks_done = True
        self._letters.close()
        with self._around():
            try:
                await bounded(self.agent.on_stop(), self.name, "on_stop", self.agent.drain_timeout_s)
            except Exception as error:
                self._log.error("on_stop failed", exc_info=error)
            try:
                async with asyncio.timeout(self.agent.drain_timeout_s):
                    await self._keeper.close(saves=saves)
            except Exception as error:
                self._log.error("state could not be saved", exc_info=error)
        if self._parts.handlings is not None:
            self._parts.handlings.close(self.name)

    def _crashed(self, error: BaseException) -> None:
        """Note what ended the slots; a stop under way goes on."""
        cause = error.__cause__ if isinstance(error, FatalFailure) and error.__cause__ else error
        if self.lifecycle.allows(LifeEvent.CRASH):
            self._crash = cause
            self.lifecycle.apply(LifeEvent.CRASH, self._clock.now_s(), shown_reason(cause))
            self._log.error("agent failed", exc_info=cause)
            self._place.hurry()
            self._has_crashed.set()
