import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.agents.parties import bench
from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.factory import build_agent, load_agent_class
from zejzl_ray.agents.host import AgentSet, AgentSpec
from zejzl_ray.agents.lifecycle import Transition
from zejzl_ray.agents.supervisor import RestartPolicy
from zejzl_ray.bus.dead_letters import DeadLetter, DeadLetterReason
from zejzl_ray.bus.message import Message
from zejzl_ray.contracts.agent_life import LifeState
from zejzl_ray.errors import AgentExists, AgentNotFound, Conflict, InvalidInput, Overloaded

MODULE = """
from zejzl_ray import Agent

class Camera:
    pass

class Plain(Agent):
    def __init__(self):
        self.letters = []
    async def on_message(self, message):
        return {"name": self.name, "settings": dict(self.settings)}
    async def on_undelivered(self, letter):
        self.letters.append(letter)

class Needing(Agent):
    def __init__(self, camera: Camera, *others, settings, speed: int = 3, **more):
        self.camera, self.speed, self.given = camera, speed, settings

class Broken(Agent):
    def __init__(self):
        raise KeyError("lens")

class Refusing(Agent):
    def __init__(self):
        from zejzl_ray.errors import Conflict
        raise Conflict("not on a Sunday")

class Unfit:
    pass

value = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "camera_agents.py").write_text(MODULE)
    (tmp_path / "broken_module.py").write_text("import nowhere_at_all\n")
    (tmp_path / "failing_module.py").write_text("raise OSError('disk')\n")
    (tmp_path / "bad_class.py").write_text(
        "from zejzl_ray import Agent\nclass Bad(Agent):\n    concurrency = 0\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("camera_agents", "broken_module", "failing_module", "bad_class"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "camera_agents"


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("camera_agents", "'camera_agents' names no class"),
        ("camera_agents:", "names no class"),
        ("a/b.py:Plain", "names no class"),
        ("nowhere.agents:Plain", "There is no module nowhere, which nowhere.agents:Plain needs"),
        ("broken_module:Plain", "imports nowhere_at_all, which is not installed"),
        ("failing_module:Plain", r"fails when it is imported: OSError: disk \(failing_module.py:1\)"),
        ("bad_class:Bad", "bad_class:Bad cannot be loaded: concurrency of Bad is 0"),
        ("camera_agents:Plane", "camera_agents has no Plane. Did you mean Plain"),
        ("camera_agents:Unfit", "camera_agents:Unfit is no agent"),
        ("camera_agents:value", "camera_agents:value is no agent"),
        ("camera_agents:Agent", "is the base class of agents"),
    ],
)
def test_an_entry_that_leads_to_no_agent_says_at_which_step(module: str, entry: str, text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        load_agent_class(entry)


def test_a_constructor_gets_what_it_asks_for(module: str) -> None:
    kind = load_agent_class(f"{module}:Needing")
    camera = sys.modules[module].Camera()
    agent: Any = build_agent(kind, {"fps": 5}, {"camera": camera, "unused": 1})
    assert (agent.camera, agent.speed, agent.given) == (camera, 3, {"fps": 5})
    with pytest.raises(
        InvalidInput, match=r"Needing needs 'camera', which its host does not have. The host has: disk, s"
    ):
        build_agent(kind, {}, {"disk": 1})
    with pytest.raises(InvalidInput, match="Needing needs a Camera as 'camera'; its host has a str"):
        build_agent(kind, {}, {"camera": "usb0"})
    with pytest.raises(
        InvalidInput, match=r"Broken cannot be made: KeyError: 'lens' \(camera_agents.py:\d+\)"
    ):
        build_agent(load_agent_class(f"{module}:Broken"), {}, {})
    with pytest.raises(Conflict, match="not on a Sunday"):
        build_agent(load_agent_class(f"{module}:Refusing"), {}, {})


def test_annotations_that_only_type_checkers_know_are_not_checked() -> None:
    class Lazy(Agent):
        def __init__(self, lens: "Unknown") -> None:  # type: ignore[name-defined] # noqa: F821 - the case under test
            self.lens = lens

    assert isinstance(build_agent(Lazy, {}, {"lens": 1}), Lazy)


async def test_a_set_starts_lists_and_stops_agents(module: str) -> None:
    async with bench() as b:
        moves: list[Transition] = []
        agents = AgentSet(b.parts, registrar=b.registry, on_transition=moves.append)
        info = await agents.start(AgentSpec("door", f"{module}:Plain", {"fps": 5}))
        assert (info.name, info.entry, info.state) == ("door", "camera_agents:Plain", LifeState.RUNNING)
        await agents.start(AgentSpec("cellar", f"{module}:Plain", policy=RestartPolicy(limit=0)))
        assert agents.names() == ("cellar", "door")
        assert [each.name for each in await agents.list()] == ["cellar", "door"]
        assert (await b.ask("door", "x")).content == {"name": "door", "settings": {"fps": 5}}
        with pytest.raises(AgentExists, match="door in this process already"):
            await agents.start(AgentSpec("door", f"{module}:Plain"))
        agents.pause("door", "maintenance")
        assert (await agents.info("door")).state is LifeState.PAUSED
        agents.resume("door")
        assert (await agents.health("door")).score == 1.0
        assert (await agents.restart("door")).state is LifeState.RUNNING
        assert (await b.ask("door", "x")).content["name"] == "door"
        for call in (agents.stop("dor"), agents.restart("dor"), agents.info("dor"), agents.health("dor")):
            with pytest.raises(AgentNotFound, match=r"no agent dor in this process. Did you mean door"):
                await call
        await agents.stop("cellar", "not needed")
        assert agents.names() == ("door",)
        await agents.close()
        await agents.close()
        assert agents.names() == ()
        assert b.office.agents() == ["tester"]
        assert [call for call in b.registry.calls if call[0] == "deregister"] == [
            ("deregister", "cellar"), ("deregister", "door"),
        ]  # fmt: skip
        assert {move.agent for move in moves} == {"door", "cellar"}


async def test_an_agent_that_cannot_start_leaves_nothing_in_the_set(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench() as b:
        agents = AgentSet(b.parts)
        for spec in (
            AgentSpec("a", f"{module}:Broken"),
            AgentSpec("no name", f"{module}:Plain"),
            AgentSpec("a", f"{module}:Nothing"),
        ):
            with pytest.raises(InvalidInput):
                await agents.start(spec)
        with pytest.raises(Conflict):
            await agents.start(AgentSpec("tester", f"{module}:Plain"))  # somebody else has that mailbox
        assert b.office.is_local("tester")
        assert agents.names() == ()
        monkeypatch.setattr("zejzl_ray.agents.host.MAX_AGENTS", 0)
        with pytest.raises(Overloaded):
            await agents.start(AgentSpec("a", f"{module}:Plain"))
        await agents.close()


async def test_dead_letters_reach_the_agent_that_wrote(module: str) -> None:
    async with bench() as b:
        agents = AgentSet(b.parts)
        b.office.dead_letters.on_letter(agents.undelivered)
        made: list[Any] = []

        def build() -> Agent:
            made.append(load_agent_class(f"{module}:Plain")())
            agent: Agent = made[-1]
            return agent

        await agents.start_built("door", build)
        for sender in ("door", "tester"):
            b.office.dead_letters.add(Message(sender, "nobody", "x", {}), DeadLetterReason.UNKNOWN_AGENT)
        await asyncio.sleep(0)
        letters: list[DeadLetter] = made[0].letters
        assert [letter.message.from_agent for letter in letters] == ["door"]
        await agents.close()


async def test_fifty_idle_agents_do_nothing_at_all(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench() as b:
        agents = AgentSet(b.parts, registrar=b.registry)
        for n in range(50):
            await agents.start(AgentSpec(f"a{n}", f"{module}:Plain"))
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.01)
        handles_run = 0
        original = loop.call_soon

        def counted(*arguments: Any, **options: Any) -> asyncio.Handle:
            nonlocal handles_run
            handles_run += 1
            return original(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(loop, "call_soon", counted)
            await asyncio.sleep(0.05)
        assert handles_run < 10  # our own sleep
        await agents.close()
