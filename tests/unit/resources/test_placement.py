from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.resources.placement import (
    CardCapacity,
    MachineCapacity,
    PlacementDecision,
    PlacementRefusal,
    PlacementRequest,
    RefusalReason,
    capacity_of,
    place,
)
from zejzl_ray.testing.gpus import fake_gpu, fake_snapshot


def fleet(held_on_4090_mib: int = 0, held_on_3060_mib: int = 0) -> dict[str, MachineCapacity]:
    return {
        "pc2": MachineCapacity((CardCapacity("GPU-3060", "RTX 3060", 12_288, 12_288 - held_on_3060_mib),)),
        "mainpc": MachineCapacity((CardCapacity("GPU-4090", "RTX 4090", 24_564, 24_564 - held_on_4090_mib),)),
    }


def decided(request: PlacementRequest, machines: dict[str, MachineCapacity]) -> PlacementDecision:
    answer = place(request, machines)
    assert isinstance(answer, PlacementDecision), answer
    return answer


def refused(request: PlacementRequest, machines: dict[str, MachineCapacity]) -> PlacementRefusal:
    answer = place(request, machines)
    assert isinstance(answer, PlacementRefusal), answer
    return answer


@pytest.mark.parametrize(
    ("held_mib", "asked_mib", "machine"),
    [
        (0, 20_000, "mainpc"),
        (0, 8_000, "mainpc"),
        (20_000, 8_000, "pc2"),
        (16_000, 8_000, "mainpc"),
        (16_565, 8_000, "pc2"),
        (0, 24_564, "mainpc"),
    ],
)
def test_the_machine_with_the_big_card_comes_first_while_it_fits_there(
    held_mib: int, asked_mib: int, machine: str
) -> None:
    assert decided(PlacementRequest(asked_mib), fleet(held_mib)).machine == machine


def test_a_decision_names_the_card_and_says_why() -> None:
    assert decided(PlacementRequest(20_000), fleet()) == PlacementDecision(
        "mainpc", "GPU-4090", "20000 MiB fit on RTX 4090 on mainpc, which has 4564 MiB left then"
    )


def test_more_than_any_card_has_is_refused_with_the_largest_free_card() -> None:
    assert refused(PlacementRequest(30_000), fleet()) == PlacementRefusal(
        RefusalReason.TOO_LARGE,
        "30000 MiB on one card is more than any card has free; the largest free card is 24564 MiB "
        "(RTX 4090 on mainpc), and none can ever give more than 24564 MiB",
        largest_free_mib=24_564,
        largest_machine="mainpc",
        largest_uuid="GPU-4090",
        may_fit_later=False,
    )


def test_what_is_only_held_now_is_refused_as_something_that_may_fit_later() -> None:
    answer = refused(PlacementRequest(20_000), fleet(20_000))
    assert (answer.reason, answer.may_fit_later) == (RefusalReason.NO_VRAM_NOW, True)
    assert answer.message == (
        "20000 MiB on one card is more than any card has free; the largest free card is 12288 MiB "
        "(RTX 3060 on pc2)"
    )


def test_one_card_must_hold_the_whole_request() -> None:
    two_cards = MachineCapacity(
        (CardCapacity("a", "RTX 3060", 12_288, 12_288), CardCapacity("b", "RTX 3060", 12_288, 12_288))
    )
    assert refused(PlacementRequest(16_000), {"pc2": two_cards}).largest_free_mib == 12_288


def test_within_a_machine_the_card_that_fits_best_is_taken() -> None:
    machine = MachineCapacity(
        (
            CardCapacity("a", "RTX 4090", 24_564, 24_564),
            CardCapacity("b", "RTX 4090", 24_564, 9_000),
            CardCapacity("c", "RTX 4090", 24_564, 7_000),
        )
    )
    assert decided(PlacementRequest(8_000), {"mainpc": machine}).gpu_uuid == "b"


def test_ties_go_by_name_and_then_by_uuid() -> None:
    cards = (CardCapacity("b", "X", 100, 100), CardCapacity("a", "X", 100, 100))
    machines = {"zeta": MachineCapacity(cards), "alpha": MachineCapacity(cards)}
    answer = decided(PlacementRequest(50), machines)
    assert (answer.machine, answer.gpu_uuid) == ("alpha", "a")


def test_a_pinned_request_goes_to_its_machine_only() -> None:
    assert decided(PlacementRequest(8_000, machine="pc2"), fleet()).machine == "pc2"
    answer = refused(PlacementRequest(20_000, machine="pc2"), fleet())
    assert answer.message == (
        "20000 MiB on one card is more than any card on pc2 has free; the largest free card is 12288 MiB "
        "(RTX 3060 on pc2), and none can ever give more than 12288 MiB"
    )


def test_an_unknown_machine_is_refused_with_the_known_ones() -> None:
    answer = refused(PlacementRequest(1, machine="pc9"), fleet())
    assert (answer.reason, answer.message) == (
        RefusalReason.UNKNOWN_MACHINE,
        "machine pc9 is not there; the machines are mainpc, pc2",
    )
    assert (
        refused(PlacementRequest(1, machine="pc9"), {}).message
        == "machine pc9 is not there; no machine is alive"
    )


def test_without_machines_or_cards_there_is_no_place_and_the_reason_says_which() -> None:
    assert refused(PlacementRequest(), {}).reason is RefusalReason.NO_MACHINE
    answer = refused(PlacementRequest(1), {"pc2": MachineCapacity()})
    assert (answer.reason, answer.may_fit_later) == (RefusalReason.NO_CARD, False)
    assert answer.message == "1 MiB of video memory were asked for, but there is no card"
    pinned = refused(PlacementRequest(1, machine="pc2"), {"pc2": MachineCapacity()})
    assert pinned.message.endswith("there is no card on pc2")


def test_without_video_memory_cards_do_not_matter() -> None:
    machines = {"mainpc": MachineCapacity(cpus_free=2), "pc2": MachineCapacity(cpus_free=6)}
    answer = decided(PlacementRequest(0, cpus=1), machines)
    assert (answer.machine, answer.gpu_uuid) == ("pc2", None)
    assert decided(PlacementRequest(0, machine="mainpc"), machines).machine == "mainpc"
    same = {"pc2": MachineCapacity(cpus_free=6), "mainpc": MachineCapacity(cpus_free=6)}
    assert decided(PlacementRequest(0), same).machine == "mainpc"


def test_cpus_must_be_free_on_the_machine_of_the_card() -> None:
    machines = fleet()
    machines["mainpc"] = replace(machines["mainpc"], cpus_free=1)
    machines["pc2"] = replace(machines["pc2"], cpus_free=4)
    assert decided(PlacementRequest(8_000, cpus=2), machines).machine == "pc2"
    answer = refused(PlacementRequest(20_000, cpus=2), machines)
    assert (answer.reason, answer.may_fit_later) == (RefusalReason.NO_CPUS_NOW, True)
    assert answer.message == (
        "2 CPU cores were asked for, but at most 1 are free on a machine whose card has room"
    )
    assert refused(PlacementRequest(0, cpus=5), machines).message.endswith(
        "at most 4 are free on any machine"
    )
    assert refused(PlacementRequest(0, machine="mainpc", cpus=5), machines).message.endswith("free on mainpc")


def test_the_machines_own_limit_holds_beside_its_cards() -> None:
    card = CardCapacity("a", "RTX 4090", 24_564, 24_564)
    limited = {"mainpc": MachineCapacity((card,), vram_free_mib=5_000, vram_limit_mib=20_000)}
    assert decided(PlacementRequest(5_000), limited).gpu_uuid == "a"
    now = refused(PlacementRequest(6_000), limited)
    assert (now.reason, now.largest_free_mib) == (RefusalReason.NO_VRAM_NOW, 5_000)
    assert refused(PlacementRequest(22_000), limited).reason is RefusalReason.TOO_LARGE


@pytest.mark.parametrize(("vram_mib", "cpus"), [(-1, 0.0), (0, -0.5)])
def test_less_than_nothing_cannot_be_asked_for(vram_mib: int, cpus: float) -> None:
    with pytest.raises(ValueError, match="less than nothing"):
        PlacementRequest(vram_mib, cpus=cpus)


def test_capacity_takes_the_larger_of_held_and_used_off_each_card() -> None:
    snapshot = fake_snapshot(
        gpus=[
            fake_gpu("a", vram_total_mib=100, vram_used_mib=30),
            fake_gpu("b", vram_total_mib=100, vram_used_mib=30, index=1),
            fake_gpu("c", vram_total_mib=100, vram_used_mib=100, index=2),
        ]
    )
    capacity = capacity_of(snapshot, {"a": 20, "b": 70, "elsewhere": 50}, vram_limit_mib=250, cpus_free=3)
    assert [card.vram_free_mib for card in capacity.cards] == [70, 30, 0]
    assert (capacity.vram_free_mib, capacity.vram_limit_mib, capacity.cpus_free) == (160, 250, 3)
    assert capacity_of(snapshot, {"a": 120}).cards[0].vram_free_mib == 0
    assert capacity_of(snapshot, {}).vram_free_mib is None
    assert capacity_of(snapshot, {"a": 99}, vram_limit_mib=50).vram_free_mib == 0


@st.composite
def capacities(draw: st.DrawFn) -> dict[str, MachineCapacity]:
    machines: dict[str, MachineCapacity] = {}
    for number in range(draw(st.integers(0, 4))):
        cards = []
        for index in range(draw(st.integers(0, 3))):
            total_mib = draw(st.integers(1, 40))
            free_mib = draw(st.integers(0, total_mib))
            cards.append(CardCapacity(f"{number}-{index}", "card", total_mib, free_mib))
        limit_mib = draw(st.none() | st.integers(0, 80))
        left_mib = None if limit_mib is None else draw(st.integers(0, limit_mib))
        machines[f"m{number}"] = MachineCapacity(
            tuple(cards), left_mib, limit_mib, draw(st.integers(0, 4).map(float))
        )
    return machines


requests = st.builds(
    PlacementRequest,
    vram_mib=st.integers(0, 45),
    machine=st.none() | st.sampled_from(["m0", "m1", "m2", "m3", "m9"]),
    cpus=st.integers(0, 5).map(float),
)


def fits(request: PlacementRequest, machines: dict[str, MachineCapacity]) -> list[tuple[str, str | None]]:
    """Every place that would do, found without the code under test."""
    places: list[tuple[str, str | None]] = []
    for name, machine in machines.items():
        if request.machine not in (None, name) or machine.cpus_free < request.cpus:
            continue
        if request.vram_mib == 0:
            places.append((name, None))
            continue
        gate_mib = 10**9 if machine.vram_free_mib is None else machine.vram_free_mib
        places += [
            (name, card.uuid)
            for card in machine.cards
            if min(card.vram_free_mib, gate_mib) >= request.vram_mib
        ]
    return places


@given(requests, capacities())
def test_a_request_is_placed_exactly_when_some_card_holds_it(
    request: PlacementRequest, machines: dict[str, MachineCapacity]
) -> None:
    places = fits(request, machines)
    answer = place(request, machines)
    if isinstance(answer, PlacementDecision):
        assert (answer.machine, answer.gpu_uuid) in places
    else:
        assert places == []


@given(requests, capacities())
def test_no_machine_with_a_bigger_card_was_passed_over(
    request: PlacementRequest, machines: dict[str, MachineCapacity]
) -> None:
    answer = place(request, machines)
    if isinstance(answer, PlacementDecision) and request.vram_mib:
        chosen_mib = machines[answer.machine].largest_card_mib
        assert chosen_mib == max(machines[name].largest_card_mib for name, _ in fits(request, machines))


@given(requests, capacities())
def test_the_order_in_which_machines_are_given_does_not_matter(
    request: PlacementRequest, machines: dict[str, MachineCapacity]
) -> None:
    turned = {
        name: replace(machines[name], cards=tuple(reversed(machines[name].cards)))
        for name in reversed(machines)
    }
    assert place(request, turned) == place(request, machines)


@given(requests, capacities())
def test_a_refusal_for_lack_of_memory_names_the_most_that_would_fit(
    request: PlacementRequest, machines: dict[str, MachineCapacity]
) -> None:
    answer = place(request, machines)
    if isinstance(answer, PlacementRefusal) and answer.largest_uuid:
        assert answer.largest_free_mib < request.vram_mib
        largest = PlacementRequest(answer.largest_free_mib, request.machine)
        if answer.largest_free_mib:
            assert isinstance(place(largest, machines), PlacementDecision)
        assert isinstance(
            place(replace(largest, vram_mib=answer.largest_free_mib + 1), machines), PlacementRefusal
        )


@given(st.lists(st.integers(1, 45), max_size=20), capacities())
def test_granting_one_after_the_other_never_overcommits(
    asked_mib: list[int], machines: dict[str, MachineCapacity]
) -> None:
    left = dict(machines)
    for vram_mib in asked_mib:
        answer = place(PlacementRequest(vram_mib), left)
        if isinstance(answer, PlacementRefusal):
            continue
        machine = left[answer.machine]
        left[answer.machine] = replace(
            machine,
            cards=tuple(
                replace(card, vram_free_mib=card.vram_free_mib - vram_mib)
                if card.uuid == answer.gpu_uuid
                else card
                for card in machine.cards
            ),
            vram_free_mib=None if machine.vram_free_mib is None else machine.vram_free_mib - vram_mib,
        )
    for machine in left.values():
        assert machine.vram_free_mib is None or machine.vram_free_mib >= 0
        assert all(card.vram_free_mib >= 0 for card in machine.cards)
