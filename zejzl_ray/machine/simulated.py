"""Cards that are not there: chosen by a setting only, and marked in every figure."""

from pydantic import ValidationError

from zejzl_ray.contracts.machines import Gpu, GpuProcess
from zejzl_ray.errors import SettingsInvalid
from zejzl_ray.machine.gpus import GpuReading

_EXAMPLE = "Write it as 'RTX 4090:24564,RTX 3060:12288': name, colon, MiB; cards separated by commas."


class SimulatedBackend:
    """A ``GpuBackend`` whose cards come from a text such as ``RTX 4090:24564,RTX 3060:12288``.

    The uuids depend on the machine and the position only, so they survive a restart:
    ``GPU-sim-<machine>-<index>``. Nothing is used until ``set_used`` says so.

    Args:
        spec: name and MiB of each card.
        machine: the machine that has them.

    Raises:
        SettingsInvalid: the text names no card, or a card without a name or with no whole number of MiB above
            0.
    """

    def __init__(self, spec: str, machine: str) -> None:
        gpus = [_card(part, index, machine, spec) for index, part in enumerate(spec.split(","))]
        self._gpus: dict[str, Gpu] = {gpu.uuid: gpu for gpu in gpus}  # by uuid, in order of index

    def read(self) -> GpuReading:
        """Return the simulated cards with what was set last."""
        return GpuReading(tuple(self._gpus.values()))

    def close(self) -> None:
        """Do nothing; the cards stay as they are."""

    def set_used(
        self, uuid: str, vram_mib: int, *, pid: int | None = None, utilisation_ratio: float = 0.0
    ) -> None:
        """Say how much of a card is used, by which process, and how busy it is.

        Raises:
            SettingsInvalid: no such card, or more than the card has.
        """
        gpu = self._gpus.get(uuid)
        if gpu is None or not 0 <= vram_mib <= gpu.vram_total_mib:
            raise SettingsInvalid(
                f"{vram_mib} MiB cannot be in use on card {uuid}: unknown card or outside its size."
            )
        processes = () if pid is None else (GpuProcess(pid=pid, vram_mib=vram_mib),)
        self._gpus[uuid] = gpu.model_copy(
            update={"vram_used_mib": vram_mib, "utilisation_ratio": utilisation_ratio, "processes": processes}
        )


def _card(part: str, index: int, machine: str, spec: str) -> Gpu:
    name, _, size = part.rpartition(":")
    try:
        vram_mib = int(size)
        if not name.strip() or vram_mib <= 0:
            raise ValueError(part)
        return Gpu(
            uuid=f"GPU-sim-{machine}-{index}",
            index=index,
            name=name.strip(),
            vram_total_mib=vram_mib,
            utilisation_ratio=0.0,
            is_simulated=True,
        )
    except (ValueError, ValidationError):
        raise SettingsInvalid(f"Simulated card {part!r} in {spec!r} is not understood.", _EXAMPLE) from None
