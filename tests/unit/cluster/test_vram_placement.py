"""Starting actors by video memory, over a stand-in for Ray's few functions; tests/cluster does it with Ray itself."""

import asyncio
import os
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorAlreadyExistsError, ActorDiedError, GetTimeoutError, RayTaskError
from ray.util.state.exception import RayStateApiException

from zejzl_ray.cluster import vram_placement
from zejzl_ray.cluster.core_orchestrator import CoreOrchestratorClient
from zejzl_ray.cluster.vram_placement import GPU_VARIABLE, VramPlacer, list_placed, on_card
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.machines import Gpu, Machine, MachineSnapshot
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.orchestrator import MachineList
from zejzl_ray.errors import ClusterError, Conflict, NoCapacity

CARDS = {"mainpc": ("GPU-a", 24000), "pc2": ("GPU-sim-b", 12000)}


def machine(name: str, *, is_alive: bool = True, has_reported: bool = True) -> Machine:
    uuid, total_mib = CARDS.get(name, ("GPU-x", 99000))
    snapshot = MachineSnapshot(
        machine=name,
        cpu_count=4,
        cpu_busy_ratio=0,
        ram_total_mib=1,
        ram_used_mib=0,
        disk_total_mib=1,
        disk_used_mib=0,
        net_sent_bytes=0,
        net_received_bytes=0,
        gpus=(Gpu(uuid=uuid, index=0, name="card", vram_total_mib=total_mib),),
        taken_at_s=1.0,
    )
    return Machine(
        name=name,
        snapshot=snapshot if has_reported else None,
        is_alive=is_alive,
        first_seen_at_s=1,
        last_seen_at_s=1,
        revision=1,
    )


class FakeRegistry:
    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        return MachineList(
            machines=(
                machine("mainpc"),
                machine("pc2"),
                machine("lost", is_alive=False),
                machine("new", has_reported=False),
            )
        )

    async def close(self) -> None: ...


def row(**fields: Any) -> SimpleNamespace:
    known = {
        "name": "a",
        "class_name": "A",
        "state": "ALIVE",
        "node_id": "n1",
        "required_resources": {},
        "pid": 1,
    }
    return SimpleNamespace(**{**known, **fields})


class FakeRay:
    """The functions of Ray that the placer uses."""

    def __init__(self) -> None:
        self.rows: list[SimpleNamespace] = []
        self.table_errors: list[Exception] = []
        self.started: list[dict[str, Any]] = []
        self.killed: list[object] = []
        self.outcome: Exception | str | None = None
        self.taken: set[str] = set()
        self.classes: list[type[Any]] = []

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {
                "NodeID": "n1",
                "Labels": {"zejzl.io/machine": "mainpc"},
                "Resources": {"vram_mib": 24000.0},
                "Alive": True,
            },
            {
                "NodeID": "n2",
                "Labels": {"zejzl.io/machine": "pc2"},
                "Resources": {"vram_mib": 12000.0},
                "Alive": True,
            },
            {"NodeID": "n3", "Labels": {}, "Resources": {}, "Alive": False},
        ]

    def get_runtime_context(self) -> SimpleNamespace:
        return SimpleNamespace(gcs_address="127.0.0.1:1")

    def list_actors(self, address: str, **_: Any) -> list[SimpleNamespace]:
        if self.table_errors:
            raise self.table_errors[0] if len(self.table_errors) == 1 else self.table_errors.pop(0)
        return self.rows

    def remote(self, actor: type[Any]) -> "FakeRay":
        self.classes.append(actor)
        return self

    def options(self, **options: Any) -> SimpleNamespace:
        def launch(*arguments: Any) -> SimpleNamespace:
            if options["name"] in self.taken:
                raise ActorAlreadyExistsError("taken")
            self.started.append({**options, "arguments": arguments})
            return SimpleNamespace(__ray_ready__=SimpleNamespace(remote=lambda: "ready"))

        return SimpleNamespace(remote=launch)

    def get(self, reference: Any, timeout: float) -> None:
        if isinstance(self.outcome, Exception):
            raise self.outcome

    def kill(self, handle: object) -> None:
        self.killed.append(handle)


@pytest.fixture
def fake_ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setattr(vram_placement, "ray", fake)
    monkeypatch.setattr(vram_placement, "list_actors", fake.list_actors)
    return fake


@pytest.fixture
def placer(fake_ray: FakeRay) -> VramPlacer:
    return VramPlacer(CoreOrchestratorClient(FakeRegistry()), "ns")


def holding(mib: int, uuid: str, node: str = "n1") -> SimpleNamespace:
    return row(required_resources={"vram_mib": mib, f"vram_mib:{uuid}": mib}, node_id=node)


def test_the_table_names_what_lives_and_what_it_asked_for(fake_ray: FakeRay) -> None:
    fake_ray.rows = [
        row(name="z", node_id="n2", required_resources={"CPU": 0.5}, pid=None),
        row(name="", class_name="Worker", state="DEAD"),
        row(name="", class_name="Waiting", state="PENDING_CREATION", node_id=None, required_resources=None),
        holding(6000, "GPU-a"),
        row(name="odd"),
    ]
    placed = list_placed()
    assert [(one.machine, one.name) for one in placed] == [
        ("", "Waiting"),
        ("mainpc", "a"),
        ("mainpc", "odd"),
        ("pc2", "z"),
    ]
    assert (placed[1].vram_mib, placed[1].gpu_uuid) == (6000, "GPU-a")
    assert (placed[3].cpus, placed[3].pid, placed[2].gpu_uuid) == (0.5, 0, "")


def test_a_dashboard_that_is_late_is_asked_again(fake_ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ray.rows = [row()]
    calls = iter([RayStateApiException("starting"), None])

    def late(address: str, **_: Any) -> list[SimpleNamespace]:
        error = next(calls)
        if error is not None:
            raise error
        return fake_ray.rows

    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(vram_placement, "list_actors", late)
    assert len(list_placed()) == 1


def test_a_dashboard_that_is_away_is_said(fake_ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    fake_ray.table_errors = [ConnectionError("refused")]
    with pytest.raises(ClusterError, match="dashboard"):
        list_placed()


async def test_the_biggest_card_is_taken_first_and_asked_of_ray_too(
    placer: VramPlacer, fake_ray: FakeRay
) -> None:
    placement = await placer.start(object, ("x",), name="A", vram_mib=8000, options={"lifetime": "detached"})
    assert (placement.machine, placement.gpu_uuid) == ("mainpc", "GPU-a")
    (started,) = fake_ray.started
    assert (started["resources"], started["arguments"]) == (
        {"vram_mib": 8000, "vram_mib:GPU-a": 8000},
        ("x",),
    )
    assert (started["namespace"], started["lifetime"]) == ("ns", "detached")
    assert started["label_selector"] == {"zejzl.io/machine": "mainpc"}


async def test_what_others_hold_is_not_given_again(placer: VramPlacer, fake_ray: FakeRay) -> None:
    fake_ray.rows = [holding(20000, "GPU-a")]
    placement = await placer.start(object, name="A", vram_mib=8000)
    assert (placement.machine, placement.gpu_uuid) == ("pc2", "GPU-sim-b")


class Holder:
    """An agent that notes what its process was shown."""

    def __init__(self, size: int, *, name: str) -> None:
        self.given = (size, name)
        self.shown = (os.environ.get(GPU_VARIABLE), os.environ.get("CUDA_VISIBLE_DEVICES"))


@pytest.mark.parametrize(
    ("uuid", "shown"), [("GPU-a", ("GPU-a", "GPU-a")), ("GPU-sim-b", ("GPU-sim-b", None)), ("", (None, None))]
)
def test_an_agent_sees_its_card_before_it_is_constructed_and_a_simulated_one_hides_no_real_one(
    monkeypatch: pytest.MonkeyPatch, uuid: str, shown: tuple[str | None, str | None]
) -> None:
    for variable in (GPU_VARIABLE, "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(variable, "before")
        monkeypatch.delenv(variable)
    made = on_card(Holder, uuid)
    holder = made(7, name="x")
    assert (holder.given, holder.shown) == ((7, "x"), shown)
    assert (made.__name__, made.__doc__) == (Holder.__name__, Holder.__doc__)


async def test_only_living_machines_that_have_reported_count(placer: VramPlacer) -> None:
    assert set(await placer.capacities()) == {"mainpc", "pc2"}


async def test_who_asks_for_no_memory_gets_no_card(placer: VramPlacer, fake_ray: FakeRay) -> None:
    placement = await placer.start(object, name="A", vram_mib=0, cpus=1.0)
    assert placement.gpu_uuid is None
    assert (fake_ray.started[0]["resources"], fake_ray.started[0]["num_cpus"]) == ({}, 1.0)


async def test_too_much_is_refused_and_nothing_starts(placer: VramPlacer, fake_ray: FakeRay) -> None:
    with pytest.raises(NoCapacity, match="A: "):
        await placer.start(object, name="A", vram_mib=50000)
    assert fake_ray.started == []


async def test_a_taken_name_is_a_conflict(placer: VramPlacer, fake_ray: FakeRay) -> None:
    fake_ray.taken = {"A"}
    with pytest.raises(Conflict, match="'A' exists already"):
        await placer.start(object, name="A", vram_mib=1)


def raised(last_line: str) -> RayTaskError:
    """Return what Ray makes of an exception in a constructor."""
    traceback = f'Traceback (most recent call last):\n  File "a.py", line 3, in __init__\n{last_line}\n'
    return RayTaskError("A.__init__", traceback, ValueError())


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (GetTimeoutError("late"), "did not start within 30 s"),
        (ActorDiedError(), "A did not start: The actor died unexpectedly"),
        (
            ActorDiedError(raised("a.B: There is no program: 'x'.")),
            "A did not start: There is no program: 'x'. See its log.",
        ),
        (ActorDiedError(raised("KeyError")), "A did not start: KeyError See its log."),
    ],
)
async def test_an_actor_that_does_not_start_is_ended(
    placer: VramPlacer, fake_ray: FakeRay, outcome: Exception, text: str
) -> None:
    fake_ray.outcome = outcome
    with pytest.raises(ClusterError, match=text) as caught:
        await placer.start(object, name="A", vram_mib=1)
    assert len(fake_ray.killed) == 1
    assert "\n" not in str(caught.value)


async def test_a_starter_that_gives_up_leaves_no_actor(
    placer: VramPlacer, fake_ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = asyncio.Event()
    to_thread = asyncio.to_thread

    async def hang_on_get(function: Any, *arguments: Any, **options: Any) -> Any:
        if function == fake_ray.get:
            waiting.set()
            await asyncio.Event().wait()
        return await to_thread(function, *arguments, **options)

    monkeypatch.setattr(asyncio, "to_thread", hang_on_get)
    task = asyncio.create_task(placer.start(object, name="A", vram_mib=1))
    await asyncio.wait_for(waiting.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(fake_ray.killed) == 1
