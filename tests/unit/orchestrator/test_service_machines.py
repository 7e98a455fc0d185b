import asyncio

import pytest

from tests.unit.orchestrator.bench import Bench
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.machines import Gpu, Machine, MachineSnapshot, ReportMachine
from zejzl_ray.contracts.orchestrator import GetMachine, ListMachines, RegisterAgent
from zejzl_ray.errors import Conflict, MachineNotFound, NoCapacity, StoreUnavailable
from zejzl_ray.ids import new_id
from zejzl_ray.orchestrator import CoreOrchestrator

CALL = CallContext()


def report(name: str = "pc1", *cards: str, **fields: object) -> ReportMachine:
    snapshot = MachineSnapshot.model_validate(
        {
            "machine": name,
            "address": "10.0.0.1",
            "cpu_count": 8,
            "cpu_busy_ratio": 0.5,
            "ram_total_mib": 1000,
            "ram_used_mib": 10,
            "disk_total_mib": 1000,
            "disk_used_mib": 10,
            "net_sent_bytes": 0,
            "net_received_bytes": 0,
            "gpus": tuple(
                Gpu(uuid=card, index=index, name="RTX", vram_total_mib=24_000)
                for index, card in enumerate(cards)
            ),
            "taken_at_s": 0.0,
            **fields,
        }
    )
    return ReportMachine(request_id=new_id(), snapshot=snapshot)


async def get(service: CoreOrchestrator, name: str = "pc1") -> Machine:
    return await service.get_machine(GetMachine(name=name), CALL)


async def test_the_latest_report_is_kept_in_memory_and_hardware_in_the_store(
    bench: Bench, service: CoreOrchestrator
) -> None:
    await service.report_machine(report(), CALL)
    commits = bench.store.commits
    bench.clock.advance(2)
    machine = await service.report_machine(report(ram_used_mib=500), CALL)
    assert (machine.revision, bench.store.commits) == (1, commits)
    found = await get(service)
    assert found.snapshot is not None
    assert found.snapshot.ram_used_mib == 500
    machine = await service.report_machine(report("pc1", "GPU-1"), CALL)
    assert (machine.revision, bench.store.commits) == (2, commits + 1)
    assert machine.first_seen_at_s == bench.clock.now_s() - 2


async def test_a_machine_is_alive_within_three_periods(bench: Bench, service: CoreOrchestrator) -> None:
    await service.report_machine(report(), CALL)
    bench.clock.advance(6)
    assert (await get(service)).is_alive
    bench.clock.advance(0.1)
    assert not (await get(service)).is_alive
    assert (await service.report_machine(report(), CALL)).is_alive


async def test_machines_are_there_after_a_restart_and_away_until_they_report(bench: Bench) -> None:
    first = await bench.start()
    await first.report_machine(report("pc2"), CALL)
    await first.report_machine(report("pc1"), CALL)
    bench.clock.advance(100)
    second = await bench.start()
    machines = (await second.list_machines(ListMachines(), CALL)).machines
    assert [(machine.name, machine.is_alive) for machine in machines] == [("pc1", False), ("pc2", False)]


async def test_a_reload_keeps_the_latest_report(bench: Bench, service: CoreOrchestrator) -> None:
    await service.report_machine(report(), CALL)
    bench.clock.advance(2)
    await service.report_machine(report(ram_used_mib=77), CALL)
    bench.store.fail_before = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        await service.register_agent(RegisterAgent(name="A"), CALL)
    await service.register_agent(RegisterAgent(name="A"), CALL)
    found = await get(service)
    assert found.snapshot is not None
    assert (found.snapshot.ram_used_mib, found.revision) == (77, 1)


async def test_a_card_belongs_to_one_live_machine(bench: Bench, service: CoreOrchestrator) -> None:
    await service.report_machine(report("pc1", "GPU-1"), CALL)
    with pytest.raises(Conflict, match="reports card GPU-1, which machine pc1 has"):
        await service.report_machine(report("pc2", "GPU-1"), CALL)
    bench.clock.advance(100)
    await service.report_machine(report("pc2", "GPU-1"), CALL)
    with pytest.raises(Conflict, match="which machine pc2 has"):
        await service.report_machine(report("pc1", "GPU-1"), CALL)


async def test_two_machines_that_claim_a_card_at_the_same_moment_are_told_apart(
    service: CoreOrchestrator,
) -> None:
    replies = await asyncio.gather(
        service.report_machine(report("pc1", "GPU-1"), CALL),
        service.report_machine(report("pc2", "GPU-1"), CALL),
        return_exceptions=True,
    )
    assert isinstance(replies[0], Machine)
    assert isinstance(replies[1], Conflict)


async def test_an_unknown_machine_is_answered_with_the_known_ones(service: CoreOrchestrator) -> None:
    with pytest.raises(MachineNotFound, match="none yet"):
        await get(service, "pc9")
    await service.report_machine(report(), CALL)
    with pytest.raises(MachineNotFound, match="Known machines: pc1"):
        await get(service, "pc9")


async def test_the_number_of_machines_is_bounded(bench: Bench) -> None:
    service = await bench.start(max_machines=1)
    await service.report_machine(report(), CALL)
    with pytest.raises(NoCapacity):
        await service.report_machine(report("pc2"), CALL)
