"""Try an agent in a test: a real bus and a real runner in this process, and nobody else on it.

::

    async def test_it_answers() -> None:
        async with AgentHarness(Observer()) as harness:
            reply = await harness.ask("observation", {"camera": "door"})
            assert reply == {"is_new": True}
            assert [mail.message_type for mail in harness.sent] == ["alarm"]
"""

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import orjson
from pydantic import JsonValue

from zejzl_ray.agents.agent import Agent, Content
from zejzl_ray.agents.content import content_of
from zejzl_ray.agents.runner import AgentRunner, RunnerParts, StopReport
from zejzl_ray.bus.dead_letters import DeadLetter
from zejzl_ray.bus.message import NORMAL, Guarantee, Message, MessagePriority, new_message_id
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.clock import Clock, SystemClock
from zejzl_ray.contracts.agent_life import AgentHealth
from zejzl_ray.errors import Conflict, ZejzlError

TESTER: Final = "tester"
"""In whose name a harness writes."""

Answer = Content | ZejzlError | Callable[[Message], Content]


class MemoryStates:
    """A ``StateStore`` for tests.

    Attributes:
        saved: name of the agent -> what was saved last.
        saves: how often something was saved.
        failure: raised by the next saves, while it is set.
    """

    def __init__(self) -> None:
        self.saved: dict[str, bytes] = {}
        self.saves = 0
        self.failure: Exception | None = None

    async def load(self, agent: str) -> bytes | None:
        """Return what was saved last."""
        return self.saved.get(agent)

    async def save(self, agent: str, data: bytes) -> None:
        """Keep it."""
        if self.failure is not None:
            raise self.failure
        self.saves += 1
        self.saved[agent] = data


class HarnessMail(PostOffice):
    """A bus that keeps what one agent sends, and lets it send to agents that are not there.

    Mail that is sent at least once is delivered as other mail, and its acknowledgement is noted.

    Attributes:
        kept: what the agent sent, in order; a published message has its topic.
        acknowledged: ids of messages that it acknowledged.
        refused: ids and reasons of those that it refused.
        answers: (agent, message type) -> what a request to it is answered with.
    """

    def __init__(self, agent: str, clock: Clock) -> None:
        super().__init__(clock=clock)
        self._agent = agent
        self.kept: list[Message] = []
        self.acknowledged: list[str] = []
        self.refused: list[tuple[str, str]] = []
        self.answers: dict[tuple[str, str], Answer] = {}

    async def send(self, message: Message) -> str:
        """Send; mail of the agent is kept, and need not have a receiver."""
        is_own = message.from_agent == self._agent and not message.is_reply
        if is_own and not message.topic:
            self.kept.append(message)
        if (
            is_own
            and not self.is_local(message.to_agent)
            and (message.correlation_id or "") not in self.pending
        ):
            message.id = message.id or new_message_id()
            return message.id
        if message.guarantee is Guarantee.AT_LEAST_ONCE:
            message.id = message.id or new_message_id()
            self.mailbox(message.to_agent).put(message)
            return message.id
        return await super().send(message)

    async def request(self, message: Message, timeout_s: float | None = None) -> Message:
        """Ask; what ``answers`` holds comes at once."""
        key = (message.to_agent, message.message_type)
        if key not in self.answers:
            return await super().request(message, timeout_s)
        self.kept.append(message)
        answer = self.answers[key]
        if isinstance(answer, ZejzlError):
            raise answer
        content = content_of(answer(message) if callable(answer) else answer)
        return Message(*key[:1], message.from_agent, f"{key[1]}_response", content, is_reply=True)

    async def publish(self, topic: str, message: Message) -> int:
        """Publish; kept once, however many subscribe."""
        if message.from_agent == self._agent:
            self.kept.append(msgspec.structs.replace(message, topic=topic))
        return await super().publish(topic, message)

    async def ack(self, message: Message, *, state: bytes | None = None) -> None:
        """Note it."""
        if message.guarantee is Guarantee.AT_LEAST_ONCE:
            self.acknowledged.append(message.id)

    async def nack(self, message: Message, reason: str) -> None:
        """Note it."""
        if message.guarantee is Guarantee.AT_LEAST_ONCE:
            self.refused.append((message.id, reason))


class AgentHarness:
    """Runs one agent; ``async with`` starts and stops it.

    Args:
        agent: what to try.
        name: under which it runs; default: the name of its class.
        settings: its settings.
        state: what it finds as the state that it saved before; None: nothing.
        clock: where it takes its time from.

    Attributes:
        runner: runs the agent.
        states: where its state is saved.
        mail: the bus.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        name: str = "",
        settings: Mapping[str, Any] | None = None,
        state: JsonValue = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = name or type(agent).__name__
        self.states = MemoryStates()
        if state is not None:
            self.states.saved[self.name] = orjson.dumps(state)
        self.mail = HarnessMail(self.name, clock or SystemClock())
        self.handlings = self.mail.handlings
        self._parts = RunnerParts(
            self.mail,
            clock=clock or SystemClock(),
            state_store=self.states,
            figures=self.mail.figures,
            handlings=self.handlings,
        )
        self._settings = dict(settings or {})
        self.runner = AgentRunner(agent, self._parts, name=self.name, settings=self._settings)

    async def __aenter__(self) -> Self:
        """Start the agent; raises what ``on_start`` raises."""
        self.mail.open_mailbox(TESTER)
        self.mail.dead_letters.on_letter(self._undelivered)
        await self.runner.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the agent and the bus."""
        await self.stop()
        await self.mail.close()

    @property
    def sent(self) -> list[Message]:
        """What the agent sent, without its replies; in order."""
        return self.mail.kept

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """Mail that nobody got, newest last."""
        return list(self.mail.dead_letters.letters())

    def answer(self, agent: str, message_type: str, answer: Answer) -> None:
        """Have requests to another agent answered: with a content, an error to raise, or what a function returns."""
        self.mail.answers[agent, message_type] = answer

    async def ask(
        self, message_type: str, content: Content = None, *, timeout_s: float = 5.0
    ) -> dict[str, Any]:
        """Ask the agent and return the content of its reply.

        Raises:
            ZejzlError: what its handler raised, as another agent would get it.
        """
        asked = Message(TESTER, self.name, message_type, content_of(content))
        return (await self.mail.request(asked, timeout_s)).content

    async def tell(
        self,
        message_type: str,
        content: Content = None,
        *,
        priority: MessagePriority = NORMAL,
        guarantee: Guarantee = Guarantee.AT_MOST_ONCE,
        timeout_s: float = 5.0,
    ) -> str:
        """Send to the agent, and return the id of the message once everything in its mailbox is handled."""
        message = Message(
            TESTER, self.name, message_type, content_of(content), priority=priority, guarantee=guarantee
        )
        message_id = await self.mail.send(message)
        await self.settle(timeout_s)
        return message_id

    async def publish(self, topic: str, message_type: str, content: Content = None) -> None:
        """Publish on a topic, and wait until the agent has handled it, if it subscribed."""
        await self.mail.publish(topic, Message(TESTER, topic, message_type, content_of(content)))
        await self.settle()

    async def settle(self, timeout_s: float = 5.0) -> None:
        """Wait until the agent has nothing to do.

        Raises:
            TimeoutError: it still has.
        """
        async with asyncio.timeout(timeout_s):
            while True:
                await asyncio.sleep(0.001)  # first, so that what was sent reaches its handler
                waiting = len(self.mail.mailbox(self.name)) if self.mail.is_local(self.name) else 0
                if not waiting and not self.runner.is_busy:
                    return

    async def health(self) -> AgentHealth:
        """Return how the agent is."""
        return await self.runner.health()

    @property
    def saved_state(self) -> JsonValue:
        """What the agent saved last; None when it saved nothing."""
        data = self.states.saved.get(self.name)
        return None if data is None else orjson.loads(data)

    async def stop(self) -> StopReport:
        """Stop the agent as its host would: its mailbox is drained, its state saved. Safe to repeat."""
        return await self.runner.stop("the test is over")

    async def restart(self, agent: Agent) -> None:
        """Stop the agent and start another one in its place, with the state that it saved.

        Raises:
            Conflict: it is the same object.
        """
        if agent is self.runner.agent:
            raise Conflict("This agent has run already.", "Give a new one.")
        await self.stop()
        self.runner = AgentRunner(agent, self._parts, name=self.name, settings=self._settings)
        await self.runner.start()

    def _undelivered(self, letter: DeadLetter) -> None:
        if letter.message.from_agent == self.name:
            self.runner.undelivered(letter)
