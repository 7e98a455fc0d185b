"""Which service goes home next, after its home was lost and is back: a pure decision."""

from collections.abc import Collection, Mapping

_TRY_AGAIN_S = 60.0


class Homecoming:
    """Sends services home one at a time, once their home has been healthy for a while.

    Ray puts a service on the other machine when its home is lost, and never moves it back by itself.

    Args:
        homes: service -> machine, in the order in which they go.
        after_s: how long a home must have been there without a break.
    """

    def __init__(self, homes: Mapping[str, str], after_s: float) -> None:
        self._homes = dict(homes)
        self._after_s = after_s
        self._since_s: dict[str, float] = {}  # machine -> since when it is alive, without a break
        self._tried_at_s: dict[str, float] = {}  # service -> when it was last sent

    def next(self, now_s: float, places: Mapping[str, str], alive: Collection[str]) -> str | None:
        """Return the service to send home now, or None.

        Args:
            now_s: monotonic seconds.
            places: service -> machine, of those that are ready only: while one of them is not, nobody moves.
            alive: machines that are there.
        """
        self._since_s = {machine: self._since_s.get(machine, now_s) for machine in alive}
        if any(service not in places for service in self._homes):
            return None
        for service, home in self._homes.items():
            since_s = self._since_s.get(home)
            is_healthy = since_s is not None and now_s - since_s >= self._after_s
            tried_at_s = self._tried_at_s.get(service)
            is_due = tried_at_s is None or now_s - tried_at_s >= _TRY_AGAIN_S
            if places[service] != home and is_healthy and is_due:
                self._tried_at_s[service] = now_s
                return service
        return None
