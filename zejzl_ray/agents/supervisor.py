"""Supervision of one agent: started again after a failure, each time after a longer wait, and not for ever."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import tenacity

from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.health import judge
from zejzl_ray.agents.lifecycle import Lifecycle, LifeEvent, Transition, shown_reason
from zejzl_ray.agents.place import AgentPlace
from zejzl_ray.agents.runner import AgentRunner, RunnerParts, StopReport
from zejzl_ray.bus.dead_letters import DeadLetter
from zejzl_ray.contracts.agent_life import AgentHealth, AgentInfo, LifeState
from zejzl_ray.errors import AgentHeld, Conflict, InvalidInput
from zejzl_ray.log import get_logger

_ASK_AGAIN_S: Final = 1.0  # whether an agent that another process holds is free by now

_log = get_logger("agents")


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a failed agent is started again.

    Attributes:
        initial_s: wait before the first restart; it doubles with each failure in the window.
        max_s: longest wait.
        jitter_s: up to this much is added at random, so that agents that failed together do not start together.
        limit: restarts within the window; one failure more, and the agent stays failed. 0 restarts never.
        window_s: failures longer ago are forgotten.
    """

    initial_s: float = 0.5
    max_s: float = 30.0
    jitter_s: float = 0.5
    limit: int = 5
    window_s: float = 300.0

    def __post_init__(self) -> None:
        """Refuse what cannot be a policy."""
        if self.initial_s <= 0 or self.max_s < self.initial_s or self.window_s <= 0:
            raise InvalidInput(f"{self} cannot be.", "Give 0 < initial_s <= max_s and window_s above 0.")
        if self.jitter_s < 0 or self.limit < 0:
            raise InvalidInput(f"{self} cannot be.", "Give jitter_s and limit of 0 or more.")

    def wait_s(self, failures: int) -> float:
        """Return how long to wait after so many failures in the window, 1 or more."""
        turn = tenacity.RetryCallState(tenacity.AsyncRetrying(), None, (), {})
        turn.attempt_number = failures
        wait = tenacity.wait_exponential_jitter(initial=self.initial_s, max=self.max_s, jitter=self.jitter_s)
        return wait(turn)


class AgentSupervisor:
    """Keeps one agent running; its mailbox, its topics and its registration stay through restarts.

    Args:
        name: of the agent.
        build: makes a new agent for each start.
        parts: what it runs on.
        settings: its own settings.
        entry: where its class is, for people.
        policy: when it is started again.
        sleep: waits.
        on_transition: called with every move between states.

    Attributes:
        name: of the agent.
        lifecycle: where it is.
        restarts: restarts after failures since somebody started it.
    """

    def __init__(
        self,
        name: str,
        build: Callable[[], Agent],
        parts: RunnerParts,
        *,
        settings: Mapping[str, Any] | None = None,
        entry: str = "",
        policy: RestartPolicy | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_transition: Callable[[Transition], None] | None = None,
    ) -> None:
        self.name = name
        self.restarts = 0
        self._build = build
        self._parts = parts
        self._settings = settings or {}
        self._entry = entry
        self._policy = policy or RestartPolicy()
        self._sleep = sleep
        self._clock = parts.clock
        self.lifecycle = Lifecycle(name, self._clock.now_s(), on_transition)
        self._place = AgentPlace(name, parts.mail, parts.heartbeats, parts.metadata)
        self._runner: AgentRunner | None = None
        self._failures: deque[float] = deque()
        self._task: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    @property
    def stop_within_s(self) -> float:
        """How long its stop may take: for its mail, its ``on_stop``, and its state."""
        return 0.0 if self._runner is None else 3 * self._runner.agent.drain_timeout_s

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the agent and keep it running; an ``on_start`` that fails is tried again in the background.

        One that another process holds stands by, and starts when that one lets it go.

        Raises:
            Conflict: it runs already.
            ZejzlError: it cannot be built, or its name is taken; nothing is left.
        """
        async with self._lock:
            await self._start()

    async def stop(self, reason: str = "", *, drains: bool = True) -> StopReport:
        """Stop it for good and deregister it, see ``AgentRunner.stop``; safe to repeat."""
        async with self._lock:
            report = await self._stop(reason, drains=drains)
            left = await self._place.close(reason or "was stopped")
            return StopReport(report.left + left, report.interrupted)

    async def restart(self, reason: str = "") -> None:
        """Start it anew with a new agent; handlers that run end first, and what is in its mailbox stays there.

        Raises:
            ZejzlError: it cannot be built any more; it is stopped then, and its mailbox is still open.
        """
        async with self._lock:
            await self._stop(reason, drains=False)
            await self._start()

    def pause(self, reason: str = "") -> None:
        """Take no more mail until ``resume``.

        Raises:
            Conflict: it does not run.
        """
        self._running.pause(reason)

    def resume(self) -> None:
        """Take mail again.

        Raises:
            Conflict: it is not paused.
        """
        self._running.resume()

    # --- what can be seen ---------------------------------------------------------------------------------------------

    async def health(self) -> AgentHealth:
        """Return how it is, also when it does not run."""
        if self._runner is not None:
            return await self._runner.health()
        return judge(self.name, self.lifecycle.state, self.lifecycle.reason)

    async def info(self) -> AgentInfo:
        """Return all that is known of it."""
        if self._runner is not None:
            info = await self._runner.info()
            return info.model_copy(update={"entry": self._entry, "restarts": self.restarts})
        return AgentInfo(
            name=self.name,
            entry=self._entry,
            state=self.lifecycle.state,
            reason=self.lifecycle.reason,
            state_since_s=self.lifecycle.since_s,
            restarts=self.restarts,
            health=await self.health(),
        )

    def undelivered(self, letter: DeadLetter) -> None:
        """Pass a dead letter of this agent on to it."""
        if self._runner is not None:
            self._runner.undelivered(letter)

    # --- inside -------------------------------------------------------------------------------------------------------

    @property
    def _running(self) -> AgentRunner:
        if self._runner is None:
            raise Conflict(f"{self.name} is {self.lifecycle.state}.", "Start it first.")
        return self._runner

    async def _start(self) -> None:
        if not self.lifecycle.allows(LifeEvent.START) or self._task is not None:
            raise Conflict(f"{self.name} is {self.lifecycle.state}.", "Stop it first, or restart it.")
        self.restarts = 0
        self._failures.clear()
        agent = self._build()
        held: AgentHeld | None = None
        try:
            await self._place.claim(agent, self.health, self._lose)
            self._place.open(agent)
        except AgentHeld as error:
            held = error
        except BaseException:
            await self._place.close("could not start")
            raise
        first = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(
            self._supervise(agent, held, first), name=f"supervisor of {self.name}"
        )
        await first.wait()

    async def _stop(self, reason: str, *, drains: bool) -> StopReport:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
        report = StopReport()
        if self._runner is not None:
            report = await self._runner.stop(reason, drains=drains)
            self._runner = None
        elif self.lifecycle.state is LifeState.STANDBY:
            self.lifecycle.apply(LifeEvent.STOP, self._clock.now_s(), reason)
            self.lifecycle.apply(LifeEvent.DRAINED, self._clock.now_s(), reason)
        return report

    async def _supervise(self, agent: Agent, held: AgentHeld | None, first: asyncio.Event) -> None:
        """Run agents one after the other until there are too many failures."""
        fresh: Agent | None = agent
        error: BaseException | None = held
        try:
            while True:
                if error is None:
                    error = await self._run(fresh, first)
                fresh = None
                if isinstance(error, AgentHeld):
                    await self._stand_by(error, first)
                    error = None
                    continue
                wait_s = self._wait_s()
                if wait_s is None:
                    return await self._give_up(error)
                self.lifecycle.apply(
                    LifeEvent.BACK_OFF,
                    self._clock.now_s(),
                    f"{self.lifecycle.reason}; starts again in {wait_s:.1f} s",
                )
                _log.warning(
                    "agent starts again", agent=self.name, wait_s=round(wait_s, 3), restarts=self.restarts
                )
                self._place.hurry()
                first.set()
                await self._sleep(wait_s)
                self.restarts += 1
                error = None
        finally:
            first.set()

    async def _run(self, fresh: Agent | None, first: asyncio.Event) -> BaseException:
        """Run one agent until it fails; return what failed."""
        try:
            agent = fresh
            if agent is None:
                agent = self._build()
                await self._place.claim(agent, self.health, self._lose)
            runner = AgentRunner(
                agent,
                self._parts,
                name=self.name,
                settings=self._settings,
                place=self._place,
                lifecycle=self.lifecycle,
            )
            self._runner = runner
            await runner.start()
        except AgentHeld as error:
            return error
        except Exception as error:
            if self.lifecycle.allows(LifeEvent.START):  # it could not even be built
                self.lifecycle.apply(LifeEvent.START, self._clock.now_s())
                self.lifecycle.apply(LifeEvent.CRASH, self._clock.now_s(), shown_reason(error))
            _log.error("agent could not be started", agent=self.name, exc_info=error)
            await self._place.tell()
            return error
        first.set()
        error_or_none = await runner.crashed()
        await runner.abandon()
        return error_or_none

    async def _stand_by(self, held: AgentHeld, first: asyncio.Event) -> None:
        """Let the process that holds the agent have it, and its mail; it is asked for again after a while."""
        await self._place.close_mailbox("is held by another process")
        self._runner = None
        if self.lifecycle.state is not LifeState.STANDBY:
            self.lifecycle.apply(LifeEvent.STAND_BY, self._clock.now_s(), held.message)
            _log.warning("agent stands by", agent=self.name, reason=held.message)
        first.set()
        await self._sleep(_ASK_AGAIN_S)

    def _lose(self, held: AgentHeld) -> None:
        """End the agent here: the registry has given its name to another process."""
        if self._runner is not None:
            self._runner.fail(held)

    def _wait_s(self) -> float | None:
        """Count a failure; return how long to wait, None when there were too many."""
        now_s = self._clock.monotonic_s()
        self._failures.append(now_s)
        while self._failures[0] < now_s - self._policy.window_s:
            self._failures.popleft()
        if len(self._failures) > self._policy.limit:
            return None
        return self._policy.wait_s(len(self._failures))

    async def _give_up(self, error: BaseException) -> None:
        """Leave the agent failed: it stays registered, as unhealthy with the reason, and takes no mail any more."""
        reason = (
            f"{self.lifecycle.reason}; failed {len(self._failures)} times within {self._policy.window_s:g} s"
        )
        self.lifecycle.apply(LifeEvent.GIVE_UP, self._clock.now_s(), reason)
        _log.error("agent is given up", agent=self.name, failures=len(self._failures), exc_info=error)
        await self._place.close_mailbox("failed for good")
        self._place.hurry()
