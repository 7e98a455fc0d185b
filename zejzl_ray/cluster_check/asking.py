"""One machine while it is asked: questions go out in turn, answers become facts, and a silence becomes one too."""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic import BaseModel, RootModel, ValidationError

from zejzl_ray.cluster_check.clock_reading import clock_reading
from zejzl_ray.cluster_check.conversation import Conversation, ConversationEnded
from zejzl_ray.cluster_check.facts import Clock, MachineFacts, OwnFacts, PortAnswer, SshFault, first_fault
from zejzl_ray.cluster_check.needed_ports import loopback_ports, outer_ports
from zejzl_ray.cluster_check.ssh import ssh_fault
from zejzl_ray.cluster_file.model import ClusterFile, DeclaredMachine
from zejzl_ray.settings import setting_names

Say = Callable[[str, str], None]
Command = Callable[[ClusterFile, DeclaredMachine, int], Sequence[str]]
M = TypeVar("M", bound=BaseModel)

_FIRST_LIMIT_S: Final = 20.0
_FACTS_LIMIT_S: Final = 60.0
_RESOLVE_LIMIT_S: Final = 10.0
_CLOCK_ROUNDS: Final = 3


class _PortAnswers(RootModel[dict[str, PortAnswer]]):
    pass


class AskedMachine:
    """What is known of one machine so far, and the way to ask for more.

    Args:
        machine: as declared.
        is_head: whether it is the head.
        say: told what the machine is busy with; empty when with nothing.
    """

    def __init__(self, machine: DeclaredMachine, *, is_head: bool, say: Say) -> None:
        self.facts = MachineFacts(machine=machine, is_head=is_head)
        self._say = say
        self._talk: Conversation | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self.facts.machine.name

    @property
    def is_running_head(self) -> bool:
        """Whether it is the head now, whatever is declared."""
        return self.facts.own is not None and self.facts.own.node.is_head

    @property
    def is_answering(self) -> bool:
        """Whether further questions make sense."""
        return self._talk is not None

    async def resolve(self) -> None:
        """Look up its address here."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_RESOLVE_LIMIT_S):
                found = await loop.getaddrinfo(self.facts.machine.address, None, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError):
            return
        self._learn(addresses=tuple(dict.fromkeys(str(entry[4][0]) for entry in found)))

    async def meet(self, talk: Conversation, cluster: ClusterFile, digest_key: str) -> None:
        """Ask for the time, then for everything that the machine knows by itself."""
        self._talk = talk
        try:
            self._learn(clock=await self._clock(talk, "clock"), shell_clock=await self._clock(talk, "date"))
            self._say(self.name, "looking at programs, disks and files")
            question = {
                "ask": "facts", "machine": self.name, "digest_key": digest_key, "settings": setting_names()
            }  # fmt: skip
            answer = await talk.ask(question, _FACTS_LIMIT_S)
            if "failed" in answer and isinstance(answer["failed"], str):
                what = f"it cannot say what it has: {answer['failed'][:300]}"
                self.refuse(SshFault(cause="answer", what=what, remedy="Mend that there, then try again."))
            else:
                self._learn_own(OwnFacts.model_validate(answer), cluster)
        except ConversationEnded as ended:
            self.refuse(ssh_fault(cluster, self.facts.machine, ended.status, ended.said))
        except ValidationError as error:
            what = f"it answered something that is not understood ({first_fault(error)})"
            self.refuse(SshFault(cause="answer", what=what, remedy="Please report it."))
        self._say(self.name, "")

    def refuse(self, fault: SshFault) -> None:
        """Write down why the machine cannot be asked."""
        self._talk = None
        self._learn(ssh_fault=fault)

    async def listen(self, greeting: str, *, is_started: bool) -> None:
        """Let the machine listen where its node will; after the start on any free port only."""
        own = self.facts.own
        if own is None:
            return
        is_head = self.facts.is_head
        outer = outer_ports(own, is_head=is_head)
        # After the start the node has its ports itself; of a range, and of all ports, some are free.
        wanted = {need.port for need in outer if need.is_of_many or not is_started}
        loopback = set() if is_started else {need.port for need in loopback_ports(own, is_head=is_head)}
        address = next(iter(self.facts.addresses), self.facts.machine.address)
        self._learn(
            outer_ports=await self._ports(wanted, address, greeting),
            local_ports=await self._ports(loopback, "127.0.0.1", greeting),
        )

    async def ask(self, question: Mapping[str, Any], model: type[M], limit_s: float, busy: str) -> M | None:
        """Return the answer to a question; None, and the reason among the facts, where there is none."""
        if self._talk is None:
            return None
        self._say(self.name, busy)
        word = str(question["ask"])
        try:
            answer = await self._talk.ask(question, limit_s)
            if "failed" in answer:
                self._miss(word, str(answer["failed"]))
                return None
            return model.model_validate(answer)
        except ConversationEnded as ended:
            self._talk = None
            self._miss(word, (ended.said.strip().splitlines() or ["the connection broke"])[-1])
        except ValidationError as error:
            self._miss(word, f"the answer is not understood ({first_fault(error)})")
        finally:
            self._say(self.name, "")
        return None

    def _learn_own(self, own: OwnFacts, cluster: ClusterFile) -> None:
        """Lay what the start command sets over what is exported, and list what could not be looked at."""
        is_head = self.facts.machine == cluster.head
        said = cluster.environment if is_head else cluster.worker_environment
        settings = {**own.settings, **{name.removeprefix("ZEJZL_"): value for name, value in said.items()}}
        self._learn(own=own.model_copy(update={"settings": settings}))
        for part, why in own.failed.items():
            self._miss(part, why)

    def learn(self, **found: Any) -> None:
        """Add facts."""
        self._learn(**found)

    async def _ports(self, ports: set[int], address: str, greeting: str) -> dict[int, PortAnswer]:
        if not ports:
            return {}
        question = {
            "ask": "listen",
            "ports": sorted(ports),
            "address": address,
            "greeting": f"{greeting}:{self.name}",
        }
        found = await self.ask(question, _PortAnswers, _FIRST_LIMIT_S, "listening on its ports")
        return {} if found is None else {int(port): answer for port, answer in found.root.items()}

    async def _clock(self, talk: Conversation, word: str) -> Clock | None:
        """The answer that came soonest says most."""
        readings = []
        for _ in range(_CLOCK_ROUNDS):
            asked_at_s = time.time()
            answer = await talk.ask({"ask": word}, _FIRST_LIMIT_S)
            if isinstance(answer.get("time_s"), int | float):
                readings.append(clock_reading(asked_at_s, float(answer["time_s"]), time.time()))
        return min(readings, key=lambda reading: reading.uncertainty_s, default=None)

    def _miss(self, word: str, why: str) -> None:
        self._learn(unanswered={**self.facts.unanswered, word: why[:300]})

    def _learn(self, **found: Any) -> None:
        self.facts = self.facts.model_copy(update=found)
