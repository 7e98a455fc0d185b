import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import BaseModel

from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.handlers import LATER, handles
from zejzl_ray.bus.mailbox import Overflow
from zejzl_ray.bus.message import Message
from zejzl_ray.errors import Conflict, InvalidInput
from zejzl_ray.testing.agents import AgentHarness


class Observation(BaseModel):
    camera: str
    count: int = 1


class Seen(BaseModel):
    camera: str


class Observer(Agent):
    @handles("observation")
    async def seen(self, observation: Observation) -> Seen:
        return Seen(camera=observation.camera)

    @handles("raw", "raw.again")
    async def raw(self, content: dict[str, Any]) -> dict[str, Any]:
        return {"keys": sorted(content)}

    @handles("envelope")
    async def envelope(self, message: Message) -> None:
        self.metrics.count(message.from_agent)

    @handles("both")
    async def both(self, observation: Observation, message: Message) -> dict[str, Any]:
        return {"camera": observation.camera, "from": message.from_agent}

    async def on_message(self, message: Message) -> dict[str, Any]:
        return {"else": message.message_type}


@pytest.mark.parametrize(
    ("kind", "content", "reply"),
    [
        ("observation", {"camera": "door"}, {"camera": "door"}),
        ("raw", {"b": 1, "a": 2}, {"keys": ["a", "b"]}),
        ("raw.again", {}, {"keys": []}),
        ("envelope", {}, {}),
        ("both", {"camera": "door"}, {"camera": "door", "from": "tester"}),
        ("other", {}, {"else": "other"}),
    ],
)
async def test_a_handler_gets_what_its_parameter_says(
    kind: str, content: dict[str, Any], reply: dict[str, Any]
) -> None:
    async with AgentHarness(Observer()) as harness:
        assert await harness.ask(kind, content) == reply


async def test_content_that_does_not_fit_gets_one_clear_error_without_the_values() -> None:
    async with AgentHarness(Observer()) as harness:
        with pytest.raises(InvalidInput) as caught:
            await harness.ask("observation", {"count": "hunter2"})
        assert "camera: Field required" in caught.value.message
        assert "count: " in caught.value.message
        assert "hunter2" not in str(caught.value)
        assert caught.value.remedy == "Send the fields camera, count."
        assert await harness.ask("observation", {"camera": "door"}) == {"camera": "door"}  # it goes on


async def test_only_the_first_places_of_a_wrong_content_are_shown() -> None:
    class Wide(BaseModel):
        a: int
        b: int
        c: int
        d: int
        e: int
        f: int
        g: int

    class Reader(Agent):
        @handles("wide")
        async def wide(self, wide: Wide) -> None:
            """Nothing."""

    async with AgentHarness(Reader()) as harness:
        with pytest.raises(InvalidInput, match="e: Field required; and 2 more"):
            await harness.ask("wide")


async def test_mail_that_nothing_handles_is_answered_with_what_is_handled() -> None:
    class Small(Agent):
        @handles("known")
        async def known(self, message: Message) -> None:
            """Nothing."""

    async with AgentHarness(Small()) as harness:
        with pytest.raises(InvalidInput, match=r"no handler of 'unknown'. It handles: known"):
            await harness.ask("unknown")


async def test_a_handler_may_answer_itself_or_later() -> None:
    class Slow(Agent):
        def __init__(self) -> None:
            self.waiting: list[Message] = []

        @handles("now")
        async def now(self, message: Message) -> dict[str, Any]:
            await self.respond(message, {"by": "itself"})
            return {"by": "return"}

        @handles("later")
        async def later(self, message: Message) -> Any:
            self.waiting.append(message)
            return LATER

        @handles("release")
        async def release(self, message: Message) -> None:
            await self.respond(self.waiting.pop(), Seen(camera="late"))

    async with AgentHarness(Slow()) as harness:
        assert await harness.ask("now") == {"by": "itself"}
        asked = asyncio.create_task(harness.ask("later"))
        await harness.settle()
        assert not asked.done()
        await harness.tell("release")
        assert await asked == {"camera": "late"}
        assert harness.dead_letters == []
    assert repr(LATER) == "LATER"


def test_a_subclass_may_override_a_handler_and_add_others() -> None:
    class Better(Observer):
        async def seen(self, observation: Observation) -> Seen:
            return Seen(camera="better " + observation.camera)

        @handles("more")
        async def more(self, content: Mapping[str, Any]) -> None:
            """Nothing."""

    assert Better._handlers["observation"].attribute == "seen"
    assert set(Better._handlers) == {*Observer._handlers, "more"}


def test_two_handlers_of_one_type_are_an_error_when_the_class_is_made() -> None:
    with pytest.raises(InvalidInput, match=r"two handlers of 'x': one and two.*override the method one"):

        class _Twice(Agent):
            @handles("x")
            async def one(self, message: Message) -> None:
                """Nothing."""

            @handles("x")
            async def two(self, message: Message) -> None:
                """Nothing."""


def make(name: str, handler: Any, kind: str = "x") -> type:
    return type(name, (Agent,), {"handler": handles(kind)(handler)})


async def no_parameter(self: Any) -> None: ...
async def three_parameters(self: Any, a: dict[str, Any], b: Message, c: int) -> None: ...
async def keyword_only(self: Any, *, a: dict[str, Any]) -> None: ...
async def not_annotated(self: Any, a) -> None: ...  # type: ignore[no-untyped-def] # the fault under test
async def of_a_list(self: Any, a: list[int]) -> None: ...
async def wrong_second(self: Any, a: dict[str, Any], b: int) -> None: ...
async def message_twice(self: Any, a: Message, b: Message) -> None: ...
async def returns_text(self: Any, a: dict[str, Any]) -> str:
    return ""


async def unknown_name(self: Any, a: "Nowhere") -> None: ...  # type: ignore[name-defined] # noqa: F821 - the fault under test
def not_async(self: Any, a: dict[str, Any]) -> None: ...


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (no_parameter, "takes 0 parameters"),
        (three_parameters, "takes 3 parameters"),
        (keyword_only, "takes 1 parameters"),
        (not_annotated, "annotated with nothing"),
        (of_a_list, "annotated with list"),
        (wrong_second, "second parameter of Wrong.handler"),
        (message_twice, "annotated with Message"),
        (returns_text, "returns str, which is no reply"),
        (unknown_name, "'Nowhere' is not defined"),
        (not_async, "no coroutine function"),
    ],
)
def test_what_cannot_be_a_handler_is_refused_when_the_class_is_made(handler: Any, text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        make("Wrong", handler)


@pytest.mark.parametrize("types", [(), ("",), (3,), ("x" * 257,)])
def test_a_message_type_is_a_text(types: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidInput, match="no usable message type"):
        handles(*types)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("concurrency", 0),
        ("concurrency", True),
        ("concurrency", 1001),
        ("mailbox_capacity", 0),
        ("heartbeat_period_s", 0),
        ("drain_timeout_s", float("inf")),
        ("drain_timeout_s", None),
        ("handler_timeout_s", "5"),
        ("overflow", "forget"),
        ("subscriptions", "sensors.*"),
        ("capabilities", ("",)),
    ],
)
def test_an_attribute_that_cannot_be_is_refused_when_the_class_is_made(attribute: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=f"{attribute} of Wrong is"):
        type("Wrong", (Agent,), {attribute: value})


def test_attributes_that_can_be_are_taken() -> None:
    made = type("Fine", (Agent,), {"handler_timeout_s": None, "overflow": Overflow.WAIT, "concurrency": 1000})
    assert issubclass(made, Agent)


def test_hooks_are_of_the_right_kind() -> None:
    with pytest.raises(InvalidInput, match="Write `async def on_start`"):
        type("Wrong", (Agent,), {"on_start": lambda self: None})

    async def save_state(self: Any) -> None: ...

    with pytest.raises(InvalidInput, match="Write `def save_state`"):
        type("Wrong", (Agent,), {"save_state": save_state})


def test_state_is_saved_and_loaded_or_neither() -> None:
    with pytest.raises(InvalidInput, match="only one of save_state and load_state"):
        type("Half", (Agent,), {"save_state": lambda self: 1})


def test_an_agent_that_is_not_started_says_so() -> None:
    agent = Observer()
    assert agent.name == "Observer"
    with pytest.raises(Conflict, match="Observer is not started yet"):
        _ = agent.log
