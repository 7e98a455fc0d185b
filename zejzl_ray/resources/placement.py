"""Which machine and card hold a request for video memory: pure decisions over given figures."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from zejzl_ray.contracts.machines import MachineSnapshot


@dataclass(frozen=True, slots=True)
class PlacementRequest:
    """What somebody asks for.

    Attributes:
        vram_mib: video memory on one card, MiB; 0 asks for no card.
        machine: the only machine that will do; None for any.
        cpus: CPU cores, as Ray counts them.
    """

    vram_mib: int = 0
    machine: str | None = None
    cpus: float = 0.0

    def __post_init__(self) -> None:
        """Refuse negative amounts."""
        if self.vram_mib < 0 or self.cpus < 0:
            raise ValueError("a placement request cannot ask for less than nothing")


@dataclass(frozen=True, slots=True)
class CardCapacity:
    """One card: what it has, and what may still be granted on it (never more than the total), MiB."""

    uuid: str
    name: str
    vram_total_mib: int
    vram_free_mib: int


@dataclass(frozen=True, slots=True)
class MachineCapacity:
    """What may still be granted on one machine.

    Attributes:
        cards: in any order.
        vram_free_mib: what is left of the machine's ``vram_mib`` in Ray over all its cards; None: no such
            limit.
        vram_limit_mib: that ``vram_mib`` itself, before anything was granted; None: no such limit.
        cpus_free: CPU cores left; infinite when they are not counted.
    """

    cards: tuple[CardCapacity, ...] = ()
    vram_free_mib: int | None = None
    vram_limit_mib: int | None = None
    cpus_free: float = inf

    @property
    def largest_card_mib(self) -> int:
        """The size of its biggest card, used or not; 0 without cards."""
        return max((card.vram_total_mib for card in self.cards), default=0)

    def grantable_mib(self, card: CardCapacity) -> int:
        """Return the most that one request can get on this card now."""
        limit_mib = (
            card.vram_free_mib if self.vram_free_mib is None else min(card.vram_free_mib, self.vram_free_mib)
        )
        return max(0, limit_mib)

    def ceiling_mib(self, card: CardCapacity) -> int:
        """Return the most that one request could get on this card if nothing were held."""
        if self.vram_limit_mib is None:
            return card.vram_total_mib
        return min(card.vram_total_mib, self.vram_limit_mib)


@dataclass(frozen=True, slots=True)
class PlacementDecision:
    """Where the request goes. Nothing is reserved yet; ``gpu_uuid`` is None when no card was asked for."""

    machine: str
    gpu_uuid: str | None
    reason: str


class RefusalReason(StrEnum):
    """Why a request has no place."""

    NO_MACHINE = "no_machine"
    UNKNOWN_MACHINE = "unknown_machine"
    NO_CARD = "no_card"
    TOO_LARGE = "too_large"
    NO_VRAM_NOW = "no_vram_now"
    NO_CPUS_NOW = "no_cpus_now"


@dataclass(frozen=True, slots=True)
class PlacementRefusal:
    """Why the request goes nowhere.

    Attributes:
        reason: for programs.
        message: for people; one sentence that names the largest free card.
        largest_free_mib: the most that one request can get now where it may go, MiB.
        largest_machine: the machine of that card; empty when there is no card.
        largest_uuid: that card; empty when there is none.
        may_fit_later: whether the same machines can hold it once others have released what they hold.
    """

    reason: RefusalReason
    message: str
    largest_free_mib: int = 0
    largest_machine: str = ""
    largest_uuid: str = ""
    may_fit_later: bool = False


def place(
    request: PlacementRequest, machines: Mapping[str, MachineCapacity]
) -> PlacementDecision | PlacementRefusal:
    """Pick the machine and card for a request, or say why there is none.

    One card must hold the whole request. The machine with the biggest card comes first, whatever is used of
    it, then the next smaller; within a machine the card on which the least stays free, so that large pieces
    stay whole (best fit). A request without video memory goes to the machine with the most free CPU. Ties go
    by name, then by uuid: the same input always gives the same answer.

    Args:
        request: what is asked for.
        machines: name -> what is left there; only machines that are alive.

    Source: best-fit bin packing, Johnson et al. 1974.
    """
    if request.machine is not None:
        if request.machine not in machines:
            return PlacementRefusal(
                RefusalReason.UNKNOWN_MACHINE,
                f"machine {request.machine} is not there; {_known(machines)}",
                may_fit_later=True,
            )
        machines = {request.machine: machines[request.machine]}
    if not machines:
        return PlacementRefusal(RefusalReason.NO_MACHINE, "no machine is alive", may_fit_later=True)
    if request.vram_mib == 0:
        return _place_without_card(request, machines)
    return _place_on_card(request, machines)


def capacity_of(
    snapshot: MachineSnapshot,
    held_mib: Mapping[str, int],
    *,
    vram_limit_mib: int | None = None,
    cpus_free: float = inf,
) -> MachineCapacity:
    """Return what may still be granted on a machine.

    Of each card the larger of what is held and what the driver shows as used is taken: a holder that has not
    allocated yet counts in full, and so does a program outside the fleet as long as it uses more than is
    held.

    Args:
        snapshot: the machine's latest report.
        held_mib: card uuid -> MiB granted and not released.
        vram_limit_mib: Ray's ``vram_mib`` for the machine; what is held on its cards is taken off it.
        cpus_free: CPU cores left.
    """
    cards = tuple(
        CardCapacity(
            uuid=gpu.uuid,
            name=gpu.name,
            vram_total_mib=gpu.vram_total_mib,
            vram_free_mib=max(0, gpu.vram_total_mib - max(held_mib.get(gpu.uuid, 0), gpu.vram_used_mib)),
        )
        for gpu in snapshot.gpus
    )
    left_mib = None
    if vram_limit_mib is not None:
        left_mib = max(0, vram_limit_mib - sum(held_mib.get(card.uuid, 0) for card in cards))
    return MachineCapacity(cards, left_mib, vram_limit_mib, cpus_free)


def _place_without_card(
    request: PlacementRequest, machines: Mapping[str, MachineCapacity]
) -> PlacementDecision | PlacementRefusal:
    name, capacity = min(machines.items(), key=lambda item: (-item[1].cpus_free, item[0]))
    if capacity.cpus_free < request.cpus:
        return _no_cpus(request, machines.values())
    why = "it is the machine that was asked for" if request.machine else "it has the most free CPU"
    return PlacementDecision(name, None, f"no video memory was asked for; {name}: {why}")


def _place_on_card(
    request: PlacementRequest, machines: Mapping[str, MachineCapacity]
) -> PlacementDecision | PlacementRefusal:
    fitting = [
        (name, capacity, card)
        for name, capacity, card in _all_cards(machines)
        if capacity.grantable_mib(card) >= request.vram_mib
    ]
    if not fitting:
        return _no_vram(request, machines)
    ready = [item for item in fitting if item[1].cpus_free >= request.cpus]
    if not ready:
        return _no_cpus(request, (capacity for _, capacity, _ in fitting))
    name, _, card = min(
        ready, key=lambda item: (-item[1].largest_card_mib, item[0], item[2].vram_free_mib, item[2].uuid)
    )
    left_mib = card.vram_free_mib - request.vram_mib
    return PlacementDecision(
        name,
        card.uuid,
        f"{request.vram_mib} MiB fit on {card.name} on {name}, which has {left_mib} MiB left then",
    )


def _no_vram(request: PlacementRequest, machines: Mapping[str, MachineCapacity]) -> PlacementRefusal:
    where = f" on {request.machine}" if request.machine else ""
    cards = list(_all_cards(machines))
    if not cards:
        return PlacementRefusal(
            RefusalReason.NO_CARD,
            f"{request.vram_mib} MiB of video memory were asked for, but there is no card{where}",
        )
    name, capacity, card = min(
        cards,
        key=lambda item: (-item[1].grantable_mib(item[2]), -item[1].largest_card_mib, item[0], item[2].uuid),
    )
    free_mib = capacity.grantable_mib(card)
    biggest_mib = max(item[1].ceiling_mib(item[2]) for item in cards)
    is_too_large = request.vram_mib > biggest_mib
    message = (
        f"{request.vram_mib} MiB on one card is more than any card{where} has free; "
        f"the largest free card is {free_mib} MiB ({card.name} on {name})"
    )
    if is_too_large:
        message += f", and none can ever give more than {biggest_mib} MiB"
    return PlacementRefusal(
        RefusalReason.TOO_LARGE if is_too_large else RefusalReason.NO_VRAM_NOW,
        message,
        largest_free_mib=free_mib,
        largest_machine=name,
        largest_uuid=card.uuid,
        may_fit_later=not is_too_large,
    )


def _no_cpus(request: PlacementRequest, candidates: Iterable[MachineCapacity]) -> PlacementRefusal:
    free = max(capacity.cpus_free for capacity in candidates)
    where = request.machine or ("a machine whose card has room" if request.vram_mib else "any machine")
    return PlacementRefusal(
        RefusalReason.NO_CPUS_NOW,
        f"{request.cpus:g} CPU cores were asked for, but at most {free:g} are free on {where}",
        may_fit_later=True,
    )


def _all_cards(
    machines: Mapping[str, MachineCapacity],
) -> Iterator[tuple[str, MachineCapacity, CardCapacity]]:
    for name, capacity in machines.items():
        for card in capacity.cards:
            yield name, capacity, card


def _known(machines: Mapping[str, MachineCapacity]) -> str:
    return f"the machines are {', '.join(sorted(machines))}" if machines else "no machine is alive"
