"""Starts actors where the video memory is, and shows what each one asked for and where it sits.

Ray's own resources are the gate that no race can pass: ``vram_mib`` for the machine, and one of each card. Two starters
that decide at the same moment cannot both get the last MiB of a card, and Ray's actor table is the only record.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorAlreadyExistsError, GetTimeoutError, RayActorError, RayError
from ray.util.state import list_actors
from ray.util.state.exception import RayStateApiException
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from zejzl_ray.cluster.core_orchestrator import CoreOrchestratorClient
from zejzl_ray.cluster.names import MACHINE_LABEL, VRAM_RESOURCE, card_resource
from zejzl_ray.contracts.machines import Machine
from zejzl_ray.contracts.orchestrator import ListMachines
from zejzl_ray.errors import ClusterError, Conflict, NoCapacity
from zejzl_ray.resources.placement import (
    MachineCapacity,
    PlacementDecision,
    PlacementRequest,
    capacity_of,
    place,
)

GPU_VARIABLE: Final = "ZEJZL_GPU_UUID"
_CARD_PREFIX: Final = card_resource("")
_MAX_ACTORS: Final = 10_000
_STATE_TIMEOUT_S: Final = 10
_ALIVE_STATES: Final = ("ALIVE", "PENDING_CREATION", "DEPENDENCIES_UNREADY", "RESTARTING")


@dataclass(frozen=True, slots=True)
class PlacedActor:
    """One actor as Ray knows it.

    ``vram_mib`` is what it asked for; ``gpu_uuid`` is empty where it asked for none.
    """

    name: str
    actor_class: str
    state: str
    machine: str
    vram_mib: int
    gpu_uuid: str
    cpus: float
    pid: int


@dataclass(frozen=True, slots=True)
class Placement:
    """A started actor and why it is where it is."""

    handle: "ActorHandle[Any]"
    machine: str
    gpu_uuid: str | None
    reason: str


def list_placed() -> tuple[PlacedActor, ...]:
    """Return all actors that live or are about to, by machine and name; blocks up to some seconds.

    Raises:
        ClusterError: Ray's dashboard, which keeps the table, does not answer.
    """
    machine_of = {node["NodeID"]: node["Labels"].get(MACHINE_LABEL, "") for node in ray.nodes()}
    # Named, because Ray otherwise looks for any cluster of the computer and refuses when there are two.
    address = ray.get_runtime_context().gcs_address
    try:
        # The dashboard answers some moments after the cluster does.
        for attempt in Retrying(
            retry=retry_if_exception_type((ConnectionError, RayStateApiException)),
            wait=wait_exponential_jitter(multiplier=0.2, max=2.0),
            stop=stop_after_attempt(6),
            reraise=True,
        ):
            with attempt:
                rows = list_actors(address, detail=True, limit=_MAX_ACTORS, timeout=_STATE_TIMEOUT_S)
    except (ConnectionError, RayStateApiException) as error:
        raise ClusterError(
            f"Ray's actor table cannot be read ({type(error).__name__}).", "Is the dashboard running?"
        ) from error
    placed = [_placed(row, machine_of) for row in rows if row.state in _ALIVE_STATES]
    return tuple(sorted(placed, key=lambda actor: (actor.machine, actor.name, actor.pid)))


def _placed(row: Any, machine_of: Mapping[str, str]) -> PlacedActor:
    asked: Mapping[str, float] = row.required_resources or {}
    card = next((name for name in asked if name.startswith(_CARD_PREFIX)), _CARD_PREFIX)
    return PlacedActor(
        name=row.name or row.class_name,
        actor_class=row.class_name,
        state=row.state,
        machine=machine_of.get(row.node_id or "", ""),
        vram_mib=round(asked.get(VRAM_RESOURCE, 0)),
        gpu_uuid=card.removeprefix(_CARD_PREFIX),
        cpus=asked.get("CPU", 0.0),
        pid=row.pid or 0,
    )


class VramPlacer:
    """Starts actors by their need of video memory: the biggest card first while it fits there, else the other.

    Args:
        orchestrator: tells which machines live and which cards they have.
        namespace: Ray namespace of named actors.
        start_timeout_s: how long an actor may take to start.
    """

    def __init__(
        self, orchestrator: CoreOrchestratorClient, namespace: str, *, start_timeout_s: float = 30.0
    ) -> None:
        self._orchestrator = orchestrator
        self._namespace = namespace
        self._start_timeout_s = start_timeout_s
        self._turn = asyncio.Lock()

    async def start(
        self,
        actor: type[Any],
        arguments: Sequence[object] = (),
        *,
        name: str,
        vram_mib: int,
        machine: str | None = None,
        cpus: float = 0.0,
        options: Mapping[str, Any] | None = None,
    ) -> Placement:
        """Start an actor on the card that takes it; one decision at a time in this process.

        Args:
            actor: the undecorated class.
            arguments: of its constructor.
            name: actor name; must be free.
            vram_mib: video memory on one card.
            machine: the only machine that will do; None for any.
            cpus: CPU cores.
            options: further Ray options, for example ``lifetime``; ``resources`` without those of video memory.

        Raises:
            NoCapacity: no card has room; the message names the largest free card.
            Conflict: an actor of this name exists.
            ClusterError: it was placed but did not start, or not in time; it is ended again.
        """
        async with self._turn:
            request = PlacementRequest(vram_mib=vram_mib, machine=machine, cpus=cpus)
            decision = place(request, await self.capacities())
            if not isinstance(decision, PlacementDecision):
                raise NoCapacity(f"{name}: {decision.message}.", "Release something, or ask for less.")
            handle = await asyncio.to_thread(
                self._launch,
                actor,
                tuple(arguments),
                name,
                request=request,
                decision=decision,
                options=options or {},
            )
            await self._wait_until_alive(handle, name)
        return Placement(handle, decision.machine, decision.gpu_uuid, decision.reason)

    async def capacities(self) -> dict[str, MachineCapacity]:
        """Return what is left on every living machine, from Ray's actor table and the machines' reports."""
        machines = (await self._orchestrator.list_machines(ListMachines())).machines
        actors, limits = await asyncio.to_thread(lambda: (list_placed(), _vram_of_nodes()))
        held: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for placed in actors:
            held[placed.machine][placed.gpu_uuid] += placed.vram_mib
        return {
            machine.name: self._capacity(machine, held[machine.name], limits.get(machine.name, 0))
            for machine in machines
            if machine.is_alive and machine.snapshot is not None
        }

    @staticmethod
    def _capacity(machine: Machine, held_mib: Mapping[str, int], limit_mib: int) -> MachineCapacity:
        assert machine.snapshot is not None
        return capacity_of(machine.snapshot, held_mib, vram_limit_mib=limit_mib)

    def _launch(
        self,
        actor: type[Any],
        arguments: tuple[object, ...],
        name: str,
        *,
        request: PlacementRequest,
        decision: PlacementDecision,
        options: Mapping[str, Any],
    ) -> "ActorHandle[Any]":
        resources = {}
        if request.vram_mib and decision.gpu_uuid is not None:
            resources = dict.fromkeys((VRAM_RESOURCE, card_resource(decision.gpu_uuid)), request.vram_mib)
        others = dict(options)
        resources = {**others.pop("resources", {}), **resources}
        configured = ray.remote(on_card(actor, decision.gpu_uuid or "")).options(
            name=name,
            namespace=self._namespace,
            num_cpus=request.cpus,
            resources=resources,
            label_selector={MACHINE_LABEL: decision.machine},
            **others,
        )
        try:
            handle: ActorHandle[Any] = configured.remote(*arguments)
        except ActorAlreadyExistsError:
            raise Conflict(f"An actor {name!r} exists already.", "Choose another name, or end it.") from None
        return handle

    async def _wait_until_alive(self, handle: "ActorHandle[Any]", name: str) -> None:
        try:
            await asyncio.to_thread(ray.get, handle.__ray_ready__.remote(), timeout=self._start_timeout_s)
        except GetTimeoutError:
            ray.kill(handle)
            raise ClusterError(
                f"{name} did not start within {self._start_timeout_s:.0f} s.",
                "Somebody else took its place; try again.",
            ) from None
        except RayError as error:
            ray.kill(handle)
            raise ClusterError(f"{name} did not start: {_said(error)}", "See its log.") from None
        except asyncio.CancelledError:  # nobody would have its handle
            ray.kill(handle)
            raise


def on_card(actor: type[Any], gpu_uuid: str) -> type[Any]:
    """Return the class with a constructor that first shows the process its card, and no other; "" shows none.

    CUDA reads the variable when it starts. A simulated card hides no real one.
    """
    if not gpu_uuid:
        return actor
    # Plain values: the class travels to another process.
    variables = {GPU_VARIABLE: gpu_uuid}
    if not gpu_uuid.startswith("GPU-sim-"):
        variables["CUDA_VISIBLE_DEVICES"] = gpu_uuid

    def construct(self: Any, *arguments: Any, **named: Any) -> None:
        os.environ.update(variables)
        actor.__init__(self, *arguments, **named)

    return type(actor.__name__, (actor,), {"__init__": construct, "__doc__": actor.__doc__})


def _said(error: RayError) -> str:
    """Return why an actor did not start, in one line: what its constructor raised, else the first that Ray says."""
    lines = str(error).strip().splitlines() or [""]
    if not (isinstance(error, RayActorError) and error.actor_init_failed):
        return lines[0]
    # Ray has the traceback as text, which ends with the class of the exception and what it says.
    kind, _, message = lines[-1].partition(": ")
    return message or kind


def _vram_of_nodes() -> dict[str, int]:
    nodes = ray.nodes()
    return {
        node["Labels"].get(MACHINE_LABEL, ""): round(node["Resources"].get(VRAM_RESOURCE, 0))
        for node in nodes
        if node["Alive"]
    }
