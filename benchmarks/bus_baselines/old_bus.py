"""Baseline (a): a bus for one process as the framework before this one had it.

An ``asyncio.PriorityQueue`` an agent with messages ordered by priority and timestamp, ``wait_for`` around every
receive, a semaphore taken before the wait, a list of latencies a type, a ring of history entries, and for each
request a temporary task that receives from the requester's own queue until the reply is there.
"""

import asyncio
import logging
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

_log = logging.getLogger(__name__)


class OldPriority(Enum):
    """How urgent; a lower number goes first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


@dataclass
class OldMessage:
    """The envelope."""

    from_agent: str
    to_agent: str
    message_type: str
    content: dict[str, Any]
    priority: OldPriority = OldPriority.NORMAL
    correlation_id: str | None = None
    timestamp: float = field(default_factory=time.time)
    metadata: dict[str, Any] = field(default_factory=dict)

    def __lt__(self, other: "OldMessage") -> bool:
        """Order of the queue."""
        if self.priority.value != other.priority.value:
            return self.priority.value < other.priority.value
        return self.timestamp < other.timestamp


class OldBus:
    """Mail between the agents of one process.

    Args:
        default_timeout: seconds that a receive or a request waits where it says nothing else.
        history_size: history entries kept.
        max_concurrent: receives that may wait at once.
    """

    def __init__(
        self, default_timeout: float = 30.0, history_size: int = 100, max_concurrent: int = 1000
    ) -> None:
        self.default_timeout = default_timeout
        self.queues: dict[str, asyncio.PriorityQueue[OldMessage]] = {}
        self.pending_requests: dict[str, asyncio.Future[OldMessage]] = {}
        self.message_history: deque[dict[str, Any]] = deque(maxlen=history_size)
        self.latency_by_type: dict[str, list[float]] = {}
        self.message_count = 0
        self.concurrency = {"acquired": 0.0, "released": 0.0, "total_wait_time": 0.0}
        self._semaphore = asyncio.Semaphore(max_concurrent)

    async def register_agent(self, agent_id: str, queue_size: int = 0) -> None:
        """Give an agent a queue; 0 is unbounded."""
        if agent_id in self.queues:
            _log.warning("Agent %s is registered already", agent_id)
            return
        self.queues[agent_id] = asyncio.PriorityQueue(queue_size)

    async def send(self, message: OldMessage) -> None:
        """Put a message into its receiver's queue."""
        queue = self.queues.get(message.to_agent)
        if queue is None:
            raise ValueError(f"Unknown agent: {message.to_agent}")
        await queue.put(message)
        self.message_count += 1
        self.message_history.append(
            {
                "timestamp": message.timestamp,
                "from": message.from_agent,
                "to": message.to_agent,
                "type": message.message_type,
                "priority": message.priority.name,
                "correlation_id": message.correlation_id,
            }
        )

    async def receive(self, agent_id: str, timeout: float | None = None) -> OldMessage:
        """Take the most urgent message of an agent, or wait for one."""
        queue = self.queues.get(agent_id)
        if queue is None:
            raise ValueError(f"Unknown agent: {agent_id}")
        began_s = time.time()
        await self._semaphore.acquire()
        self.concurrency["acquired"] += 1
        self.concurrency["total_wait_time"] += time.time() - began_s
        try:
            message = await asyncio.wait_for(queue.get(), timeout or self.default_timeout)
            latencies = self.latency_by_type.setdefault(message.message_type, [])
            latencies.append(time.time() - message.timestamp)
            return message
        finally:
            self._semaphore.release()
            self.concurrency["released"] += 1

    async def send_request(
        self,
        from_agent: str,
        to_agent: str,
        message_type: str,
        content: dict[str, Any],
        timeout: float | None = None,
    ) -> OldMessage:
        """Send a message and wait for the one with the same correlation id."""
        correlation_id = str(uuid.uuid4())
        reply: asyncio.Future[OldMessage] = asyncio.get_running_loop().create_future()
        self.pending_requests[correlation_id] = reply
        receiver = asyncio.create_task(self._receive_reply(from_agent, correlation_id, reply))
        await self.send(
            OldMessage(from_agent, to_agent, message_type, content, correlation_id=correlation_id)
        )
        try:
            return await asyncio.wait_for(reply, timeout or self.default_timeout)
        except TimeoutError:
            self.pending_requests.pop(correlation_id, None)
            receiver.cancel()
            raise

    async def send_response(
        self, from_agent: str, to_agent: str, message_type: str, content: dict[str, Any], correlation_id: str
    ) -> None:
        """Answer a request."""
        await self.send(
            OldMessage(from_agent, to_agent, message_type, content, OldPriority.HIGH, correlation_id)
        )

    async def _receive_reply(
        self, agent_id: str, correlation_id: str, reply: "asyncio.Future[OldMessage]"
    ) -> None:
        while not reply.done():
            message = await self.receive(agent_id)
            if message.correlation_id == correlation_id:
                if not reply.done():
                    reply.set_result(message)
            else:
                _log.warning("An unexpected message of %s is lost", message.from_agent)
