"""Protection of the list: when very many agents fall silent at once, the fault is rather on our side.

A cut network or a paused process makes everybody look lost. Then nobody is marked lost, an alarm is raised,
and the list stays usable until the agents are heard again, the hold runs out, or an operator accepts the
losses.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from zejzl_ray.orchestrator.config import RegistryConfig


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who of the silent agents may be marked lost; ``alarm`` is empty when nobody is held."""

    to_lose: tuple[str, ...]
    alarm: str = ""


class ProtectionGuard:
    """Decides whether silent agents are marked lost or held."""

    def __init__(self, config: RegistryConfig) -> None:
        self._config = config
        # (when, how many) were marked lost; nothing older than the window
        self._losses: deque[tuple[float, int]] = deque()
        self._held_since_s: float | None = None
        self._is_accepting = False

    @property
    def is_holding(self) -> bool:
        """Whether silent agents are held at the moment."""
        return self._held_since_s is not None

    def judge(self, silent: Sequence[str], live: int, now_s: float) -> Verdict:
        """Decide about the agents that are silent now.

        Args:
            silent: names; they are still counted as live.
            live: agents that count as there, the silent ones included.
            now_s: wall time.
        """
        config = self._config
        while self._losses and self._losses[0][0] <= now_s - config.protection_window_s:
            self._losses.popleft()
        if not silent:
            self._held_since_s = None
            self._is_accepting = False
            return Verdict(())
        gone = len(silent) + sum(count for _, count in self._losses)
        population = live + gone - len(silent)
        is_too_many = population >= config.protection_least and gone > config.protection_share * population
        if is_too_many and not self._is_accepting:
            if self._held_since_s is None:
                self._held_since_s = now_s
            left_s = self._held_since_s + config.protection_hold_s - now_s
            if left_s > 0:
                return Verdict(
                    (),
                    f"{gone} of {population} agents fell silent within {config.protection_window_s:g} s; "
                    f"{len(silent)} are held for {left_s:.0f} s more instead of being marked lost. "
                    "Check the network of this machine; accept_losses lets them go.",
                )
            self._is_accepting = True
        self._held_since_s = None
        if self._is_accepting:
            self._losses.clear()
        return Verdict(tuple(silent[: config.moves_per_tick]))

    def lost(self, count: int, now_s: float) -> None:
        """Note that so many agents were marked lost."""
        if count and not self._is_accepting:
            self._losses.append((now_s, count))

    def accept(self) -> None:
        """Let all go that are silent now; the guard is armed again when nobody is silent any more."""
        self._is_accepting = True
        self._held_since_s = None
        self._losses.clear()
