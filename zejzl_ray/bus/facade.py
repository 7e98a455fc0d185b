"""The message bus for agents of one process, with the names of the old one.

Code that was written for the old bus works after its import line was changed. What was wrong with the old one is not
here: replies go to their request and to nothing else, mail keeps its order, nothing waits for ever, and every queue is
bounded.
"""

from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from zejzl_ray.bus.callbacks import MAX_CALLBACKS, Callback, CallbackHandle, CallbackRunner
from zejzl_ray.bus.concurrency import ConcurrencyLimit
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.deadlock_finder import DeadlockPolicy
from zejzl_ray.bus.deadlock_monitor import LocalDeadlockMonitor, OnDeadlock
from zejzl_ray.bus.facade_reports import advice, performance_snapshot
from zejzl_ray.bus.facade_views import OldAttributes
from zejzl_ray.bus.mailbox import DEFAULT_CAPACITY, Overflow
from zejzl_ray.bus.message import HIGH, NORMAL, Message, MessagePriority, priority_of
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.clock import Clock
from zejzl_ray.errors import BusClosed, InvalidInput, Overloaded, RequestTimedOut, UnknownAgent
from zejzl_ray.log import get_logger

log: Final = get_logger("zejzl.bus")


class MessageBus(OldAttributes):
    """Mail between the agents of one process; they are trusted as one.

    Belongs to one event loop; a call from another thread is not safe. A mailbox of a given size lets its senders wait
    while it is full, as the old one did, but never longer than the default time limit; one without a size holds 100,000
    messages and refuses more.

    Args:
        default_timeout: longest wait of a receive or a request that names none, seconds.
        history_size: messages kept for ``get_message_history``.
        max_concurrent: callbacks that may run at once, over all agents.
        clock: source of time.
    """

    def __init__(
        self,
        default_timeout: float = 30.0,
        history_size: int = 100,
        max_concurrent: int = 1000,
        *,
        clock: Clock | None = None,
    ) -> None:
        if not isinstance(max_concurrent, int) or isinstance(max_concurrent, bool) or max_concurrent < 1:
            raise InvalidInput(f"max_concurrent is {max_concurrent!r}.", "Give 1 or more.")
        self._office = PostOffice(
            clock=clock, options=BusOptions(default_timeout_s=default_timeout, history_size=history_size)
        )
        self._limit = ConcurrencyLimit(max_concurrent)
        self._runners: dict[str, CallbackRunner] = {}
        self._sizes: dict[str, int | None] = {}
        self._monitors: list[LocalDeadlockMonitor] = []
        log.info("message bus ready", default_timeout_s=default_timeout, history_size=history_size)

    # --- agents ------------------------------------------------------------------------------------------------------

    def register_agent(self, agent_id: str, queue_size: int = 0) -> None:
        """Open the mailbox of an agent; one that is open already stays as it is.

        Args:
            agent_id: the agent.
            queue_size: messages it holds; senders wait while it is full. 0 or less: 100,000, and more are refused.

        Raises:
            InvalidInput: no such name or size.
            BusClosed: after ``shutdown``.
        """
        if self._office.is_local(agent_id):
            log.warning("agent is registered already", agent=agent_id)
            return
        if not isinstance(queue_size, int) or isinstance(queue_size, bool):
            raise InvalidInput(f"queue_size of {agent_id} is {queue_size!r}.", "Give a number of messages.")
        if queue_size > 0:
            self._office.open_mailbox(agent_id, capacity=queue_size, overflow=Overflow.WAIT)
        else:
            self._office.open_mailbox(agent_id, capacity=DEFAULT_CAPACITY)
        self._sizes[agent_id] = queue_size if queue_size > 0 else None
        log.info("agent registered", agent=agent_id)

    def unregister_agent(self, agent_id: str) -> int:
        """Close the mailbox of an agent; whoever waits for its mail gets BusClosed.

        Returns:
            how many messages were in it; they are dead letters. 0 for an unknown agent.
        """
        if not self._office.is_local(agent_id):
            log.warning("agent is not registered", agent=agent_id)
            return 0
        self._stop_callbacks(agent_id)
        dropped = len(self._office.close_mailbox(agent_id))
        self._sizes.pop(agent_id, None)
        log.info("agent unregistered", agent=agent_id, dropped=dropped)
        return dropped

    # --- mail --------------------------------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """Put a message into the receiver's mailbox.

        Raises:
            UnknownAgent: no such agent; it is a BusError and a ValueError. Details: to_agent, available_agents.
            MailboxFull: the mailbox is full, or stayed so for the default time limit.
            InvalidInput: a field is of the wrong type.
        """
        await self._office.send(message)

    async def receive(self, agent_id: str, timeout: float | None = None) -> Message:
        """Return the most urgent message of an agent, in the order of sending within a priority.

        Args:
            agent_id: the agent.
            timeout: longest wait, seconds; 0 takes only what is there; None is the default.

        Raises:
            UnknownAgent: no such agent; it is a ValueError.
            RequestTimedOut: none came; it is a TimeoutError.
            BusClosed: the agent was unregistered meanwhile.
        """
        message = await self._office.receive(agent_id, timeout)
        self._limit.pass_through()
        return message

    async def send_request(
        self,
        from_agent: str,
        to_agent: str,
        message_type: str,
        content: dict[str, Any],
        priority: MessagePriority = NORMAL,
        timeout: float | None = None,
    ) -> Message:
        """Send a request and return its reply; other mail of the requester stays in its mailbox.

        Raises:
            RequestTimedOut: no reply in time; it is a TimeoutError.
            UnknownAgent: requester or receiver is not registered; it is a ValueError.
            MailboxFull, InvalidInput: as for ``send``.
        """
        self._office.mailbox(from_agent)
        return await self._office.request(
            Message(from_agent, to_agent, message_type, content, priority_of(priority)), timeout
        )

    async def send_response(
        self,
        from_agent: str,
        to_agent: str,
        message_type: str,
        content: dict[str, Any],
        correlation_id: str,
        priority: MessagePriority = HIGH,
    ) -> None:
        """Answer a request; one that has ended meanwhile makes the answer a dead letter.

        Raises:
            UnknownAgent: the requester is not registered any more.
        """
        reply = Message(from_agent, to_agent, message_type, content, priority_of(priority), correlation_id)
        reply.is_reply = True
        await self._office.send(reply)

    async def broadcast(self, message: Message, exclude: str | Iterable[str] | None = None) -> list[str]:
        """Send a copy of a message, with its priority, to all other agents; return who got one.

        Args:
            message: its ``to_agent`` does not matter.
            exclude: an agent, or several, to leave out.
        """
        left_out = (exclude,) if isinstance(exclude, str) else tuple(exclude or ())
        got = await self._office.broadcast(message, left_out)
        log.info(
            "broadcast", from_agent=message.from_agent, message_type=message.message_type, receivers=len(got)
        )
        return got

    async def subscribe(self, agent_id: str) -> AsyncIterator[Message]:
        """Yield the mail of an agent until it is unregistered.

        Raises:
            UnknownAgent: it is not registered, or not any more; it is a ValueError.
        """
        while True:
            try:
                message = await self.receive(agent_id)
            except RequestTimedOut:
                continue
            except BusClosed:
                raise UnknownAgent(
                    f"Unknown agent: {agent_id}", "It was unregistered.", {"to_agent": agent_id}
                ) from None
            yield message

    def subscribe_callback(self, agent_id: str, callback: Callback) -> CallbackHandle:
        """Have a function called with each message of an agent; needs a running event loop.

        Returns:
            a handle whose ``cancel`` ends it. Unregistering and ``shutdown`` end it too.

        Raises:
            UnknownAgent: no such agent.
            Overloaded: 1,000 agents have callbacks already.
            RuntimeError: no event loop runs.
        """
        self._office.mailbox(agent_id)
        runner = self._runners.get(agent_id)
        if runner is None:
            if len(self._runners) >= MAX_CALLBACKS:
                raise Overloaded(f"{MAX_CALLBACKS} agents have callbacks already.", "Unregister some.")
            runner = CallbackRunner(self._office, agent_id, self._limit)
        handle = runner.add(callback)
        self._runners[agent_id] = runner
        return handle

    def clear_queue(self, agent_id: str) -> int:
        """Empty the mailbox of an agent and return how many messages were in it, which are dead letters.

        Those who wait for mail go on.
        """
        box = self._office.find(agent_id)
        if box is None:
            return 0
        cleared = box.clear()
        for message in cleared:
            self._office.lose(message, DeadLetterReason.MAILBOX_CLOSED, "the mailbox was emptied")
        log.info("queue cleared", agent=agent_id, cleared=len(cleared))
        return len(cleared)

    async def shutdown(self) -> None:
        """Close everything; whoever waits gets BusClosed. Safe to repeat."""
        log.info("message bus closed", messages=self._office.sent)
        for monitor in self._monitors:
            await monitor.stop()
        for agent_id in tuple(self._runners):
            self._stop_callbacks(agent_id)
        await self._office.close()
        self._sizes.clear()

    # --- figures -----------------------------------------------------------------------------------------------------

    def get_queue_size(self, agent_id: str) -> int:
        """Return how many messages wait for an agent; 0 for an unknown one."""
        box = self._office.find(agent_id)
        return 0 if box is None else len(box)

    def get_stats(self) -> dict[str, Any]:
        """Return counts and latencies, with the keys of the old bus."""
        uptime_s = self._office.clock.now_s() - self._office.started_at_s
        return {
            "uptime_seconds": uptime_s,
            "total_messages": self._office.sent,
            "messages_per_second": self._office.sent / uptime_s if uptime_s > 0 else 0.0,
            "registered_agents": self._office.agents(),
            "queue_sizes": {agent: len(self._office.mailbox(agent)) for agent in self._office.agents()},
            "pending_requests": len(self._office.pending),
            "message_history_size": len(self._office.history()),
            "latency_by_type": self._office.figures.latency_by_type(),
            "concurrency_stats": self.get_concurrency_stats(),
        }

    def get_concurrency_stats(self) -> dict[str, float]:
        """Return how often and how long slots were waited for, with the keys of the old bus."""
        return self._limit.stats()

    def get_performance_snapshot(self) -> dict[str, Any]:
        """Return figures of this moment, with the keys of the old bus; plain JSON, ``max_size`` is null without one."""
        return performance_snapshot(self._office, self._sizes, self._limit)

    def optimize_performance(self) -> dict[str, Any]:
        """Return advice on what ``get_performance_snapshot`` shows; it changes nothing."""
        return advice(self.get_performance_snapshot())

    def deadlock_monitor(
        self, policy: DeadlockPolicy | None = None, *, on_deadlock: OnDeadlock | None = None
    ) -> LocalDeadlockMonitor:
        """Begin to look for agents that wait for one another in a circle; it ends with ``shutdown``.

        Args:
            policy: how deadlocks are judged; the default fails the youngest request of a circle.
            on_deadlock: called with each deadlock.

        Raises:
            RuntimeError: no event loop runs.
        """
        monitor = LocalDeadlockMonitor(self._office, policy, on_deadlock=on_deadlock)
        monitor.start()
        self._monitors = [*(each for each in self._monitors if each.is_running), monitor]
        return monitor

    def get_message_history(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Return the envelopes of the last messages, oldest first; None for all that are kept."""
        return self._office.history(limit)

    def _stop_callbacks(self, agent_id: str) -> None:
        runner = self._runners.pop(agent_id, None)
        if runner is not None:
            runner.stop()
