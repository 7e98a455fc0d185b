"""The bus between two hosts of agents on two Ray nodes, through the functions that the baselines have too.

The agents of the hosts are registered and proved as always, but take no mail themselves: it is sent and received with
the bus's own ``send`` and ``receive`` on the hosts' event loops, as the baselines are.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self

from benchmarks.bus_across import TAKE_LIMIT_S, WAITING, require
from benchmarks.bus_host_work import OpenSent, OpenTaken
from benchmarks.bus_local import OpenLoop, summary
from benchmarks.bus_pacing import BURST
from benchmarks.own_hosts import MACHINES, AgentToRun, Host, OwnHosts
from zejzl_ray.testing.redis_server import RedisServer

Outbox = Literal["", "redis", "sqlite"]

PAIRS: Final = 8
_QUIET: Final = "benchmarks.bus_agents:Quiet"
_PREFIX: Final[Mapping[str, str]] = {"": "Plain", "redis": "Redis", "sqlite": "Sqlite"}


@dataclass(frozen=True, slots=True)
class AcrossOpenLoop:
    """An open loop between two processes.

    Attributes:
        loop: latencies and losses.
        sender_cpu: CPU of the sending process while it ran, as a part of one core.
        receiver_cpu: of the receiving one.
    """

    loop: OpenLoop
    sender_cpu: float
    receiver_cpu: float


class ProductAcross:
    """Two hosts of eight agents each, on two nodes; a context manager.

    Args:
        hosts: the cluster.
        outbox: where the hosts keep mail that is sent at least once; empty leaves them their default store.
    """

    def __init__(self, hosts: OwnHosts, outbox: Outbox = "") -> None:
        self._hosts = hosts
        self._outbox = outbox
        self._stack = ExitStack()
        prefix = _PREFIX[outbox]
        self._pairs = tuple((f"{prefix}Sender{n}", f"{prefix}Receiver{n}") for n in range(PAIRS))

    def __enter__(self) -> Self:
        """Start the hosts, and let each pair hear of each other."""
        senders = tuple(sender for sender, _ in self._pairs)
        receivers = tuple(receiver for _, receiver in self._pairs)
        with self._stack:
            store_url = self._store_url()
            self._sender = self._start("Senders", MACHINES[0], senders, store_url)
            self._receiver = self._start("Receivers", MACHINES[1], receivers, store_url)
            self._sender.call("keep_still", senders)
            self._receiver.call("keep_still", receivers)
            taking = self._receiver.begin("take", receivers, 1, TAKE_LIMIT_S)
            self._sender.call("greet", self._pairs)
            self._receiver.result(taking)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End them."""
        self._stack.__exit__(kind, error, trace)

    def rate(self, messages: int, pairs: int = 1) -> float:
        """Return messages a second of all pairs together, from the first one made to the last one received."""
        used, each = self._pairs[:pairs], messages // pairs
        taking = self._receiver.begin("take", tuple(receiver for _, receiver in used), each, TAKE_LIMIT_S)
        began_s = self._sender.call("send", used, each)
        ended_s, missing = self._receiver.result(taking)
        require(missing, each * pairs, "the bus")
        return float(each * pairs / (ended_s - began_s))

    def durable_rate(self, messages: int) -> float:
        """Return messages a second, at least once: durable for the sender, received, acknowledged."""
        sender, receiver = self._pairs[0]
        taking = self._receiver.begin("take", (receiver,), messages, TAKE_LIMIT_S, acknowledges=True)
        began_s, durable_s = self._sender.call("send_durably", sender, receiver, messages, WAITING)
        ended_s, missing = self._receiver.result(taking)
        require(missing, messages, f"the bus, outbox in {self._outbox}")
        return float(messages / (max(ended_s, durable_s) - began_s))

    def ask_p50_s(self, requests: int) -> float:
        """Return the median time of a request until its reply, one at a time, seconds."""
        sender, receiver = self._pairs[0]
        answering = self._receiver.begin("answer", receiver, requests)
        took_s = float(self._sender.call("ask", sender, receiver, requests))
        self._receiver.result(answering)
        return took_s

    def open_loop(self, per_s: float, seconds: float) -> AcrossOpenLoop:
        """Send bursts of 16 on a schedule and time every message."""
        sender, receiver = self._pairs[0]
        messages = max(1, int(per_s * seconds / BURST)) * BURST
        taking = self._receiver.begin("take_openly", receiver, messages, seconds + TAKE_LIMIT_S)
        sent: OpenSent = self._sender.call("send_openly", sender, receiver, per_s, messages)
        taken: OpenTaken = self._receiver.result(taking)
        return AcrossOpenLoop(summary(sent.sent_s, taken.came_s, sent.due_s), sent.cpu, taken.cpu)

    def _start(self, name: str, machine: str, agents: tuple[str, ...], store_url: str) -> Host:
        host = self._hosts.start(
            f"{_PREFIX[self._outbox]}{name}",
            machine,
            tuple(AgentToRun(agent, _QUIET) for agent in agents),
            store_url,
        )
        self._stack.callback(host.kill)
        return host

    def _store_url(self) -> str:
        if self._outbox == "redis":
            return self._stack.enter_context(RedisServer()).url  # appendfsync always
        if self._outbox == "sqlite":
            return f"sqlite://{self._hosts.directory}/outbox"
        return ""


def idle_cpu(hosts: OwnHosts, agents: int, seconds: float, times: int) -> list[float]:
    """Return the CPU of a host whose agents have nothing to do, as a part of one core, ``times`` times."""
    host = hosts.start("Idle", MACHINES[1], tuple(AgentToRun(f"Idle{n}", _QUIET) for n in range(agents)))
    try:
        host.call("cpu", 5.0)  # settle
        return [float(host.call("cpu", seconds)) for _ in range(times)]
    finally:
        host.kill()
