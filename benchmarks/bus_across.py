"""What carries mail from one process to another, each measured through the same few functions."""

from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from benchmarks.bus_baselines.nats_parties import NatsReceiver, NatsSender
from benchmarks.bus_baselines.redis_pubsub import RedisReceiver, RedisSender
from benchmarks.bus_parties import PartyProcess
from zejzl_ray.testing.nats import NatsServer
from zejzl_ray.testing.redis_server import RedisServer

TAKE_LIMIT_S: Final = 60.0
WAITING: Final = 1024  # at-least-once messages under way at once, with the baseline and with the bus


class Lost(RuntimeError):
    """A measurement whose messages did not all arrive is none."""


class RedisAcross:
    """Redis pub/sub between two processes; the server keeps nothing on the disk. A context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start server and processes."""
        with self._stack:
            server = self._stack.enter_context(RedisServer(is_durable=False))
            self._sender = self._stack.enter_context(PartyProcess(RedisSender, server.url))
            self._receiver = self._stack.enter_context(PartyProcess(RedisReceiver, server.url, "receiver"))
            self._receiver.call("ready")
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End them."""
        self._stack.__exit__(kind, error, trace)

    def rate(self, messages: int, *, is_pipelined: bool = False) -> float:
        """Return messages a second from the first one made to the last one taken."""
        self._receiver.begin("take", messages, TAKE_LIMIT_S)
        began_s = self._sender.call("publish_pipelined" if is_pipelined else "publish", "receiver", messages)
        ended_s, missing = self._receiver.result()
        require(missing, messages, "Redis pub/sub")
        return float(messages / (ended_s - began_s))


class NatsAcross:
    """nats-server with JetStream between two processes; a context manager.

    Args:
        is_synced: JetStream syncs each write to the disk; by default it does so every two minutes.
    """

    def __init__(self, *, is_synced: bool = False) -> None:
        self._stack = ExitStack()
        self._names = tuple(f"receiver-{number}" for number in range(8))
        self._is_synced = is_synced
        self._has_stream = False

    def __enter__(self) -> Self:
        """Start server and processes."""
        with self._stack:
            server = self._stack.enter_context(NatsServer(is_synced=self._is_synced))
            self._sender = self._stack.enter_context(PartyProcess(NatsSender, server.url))
            self._receiver = self._stack.enter_context(PartyProcess(NatsReceiver, server.url, self._names))
            self._receiver.call("ready")
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End them."""
        self._stack.__exit__(kind, error, trace)

    def rate(self, messages: int, pairs: int = 1) -> float:
        """Return messages a second of all pairs together, from the first one made to the last one taken."""
        each = messages // pairs
        self._receiver.call("expect", each * pairs)
        self._receiver.begin("take", TAKE_LIMIT_S)
        began_s = self._sender.call("publish", self._names[:pairs], each)
        ended_s, missing = self._receiver.result()
        require(missing, each * pairs, "NATS")
        return float(each * pairs / (ended_s - began_s))

    def iterated_rate(self, messages: int) -> float:
        """Return messages a second where the receiver awaits the next one, instead of having a callback."""
        self._receiver.begin("iterate", messages, TAKE_LIMIT_S)
        began_s = self._sender.call("publish", self._names[:1], messages, "iterated")
        ended_s, missing = self._receiver.result()
        require(missing, messages, "NATS, iterator")
        return float(messages / (ended_s - began_s))

    def durable_rate(self, messages: int) -> float:
        """Return messages a second that were acknowledged to the sender, taken, and acknowledged by the receiver."""
        self._sender.call("open_stream")
        if not self._has_stream:
            self._receiver.call("ready_durably", WAITING)
            self._has_stream = True
        self._receiver.call("expect", messages)
        self._receiver.begin("take", TAKE_LIMIT_S)
        began_s, acknowledged_s = self._sender.call("publish_durably", self._names[0], messages, WAITING)
        ended_s, missing = self._receiver.result()
        require(missing, messages, "JetStream")
        return float(messages / (max(ended_s, acknowledged_s) - began_s))


def require(missing: int, messages: int, what: str) -> None:
    """Raise Lost if a message is missing."""
    if missing:
        raise Lost(f"{what}: {missing} of {messages} messages did not arrive within {TAKE_LIMIT_S:g} s")
