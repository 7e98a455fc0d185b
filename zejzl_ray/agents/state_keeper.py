"""The state of one agent: restored when it starts, saved while it works."""

import asyncio
from typing import Any

import orjson

from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.ports import StateStore
from zejzl_ray.contracts.agent_life import CheckOutcome
from zejzl_ray.errors import InvalidInput, NotSerialisable
from zejzl_ray.log import get_logger

_log = get_logger("agents")


class StateKeeper:
    """Saves the state of one agent, many changes in one save; does nothing for an agent without state.

    Args:
        agent: whose state.
        store: where it is kept; None: nowhere.
        period_s: ``changed`` leads to a save after this time at the latest, and at most one in it.
    """

    def __init__(self, agent: Agent, store: StateStore | None, period_s: float) -> None:
        self._agent = agent
        self._store = store if agent._has_state else None
        self._period_s = period_s
        self._lock = asyncio.Lock()
        self._changes = 0
        self._saved = 0
        self._timer: asyncio.TimerHandle | None = None
        self._saving: asyncio.Task[None] | None = None
        self._problem = ""

    async def restore(self) -> bool:
        """Give the agent the state that was saved last; False when there is none.

        Raises:
            InvalidInput: it cannot be read, or the agent does not take it.
            StoreUnavailable: the store cannot be reached.
        """
        data = None if self._store is None else await self._store.load(self._agent.name)
        if data is None:
            return False
        try:
            self._agent.load_state(orjson.loads(data))
        except Exception as error:
            raise InvalidInput(
                f"The saved state of {self._agent.name} cannot be restored: {type(error).__name__}: {error}.",
                "Let load_state take what an older version saved, or remove the saved state.",
            ) from error
        return True

    def changed(self) -> None:
        """Note that mail was handled: the state is saved within the period."""
        if self._store is None:
            return
        self._changes += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._period_s, self._save_soon)

    async def save(self) -> None:
        """Save everything that ``changed`` has been told; who calls this meanwhile shares one save.

        Raises:
            NotSerialisable: what ``save_state`` returned is no JSON.
            StoreUnavailable: the store cannot be reached.
        """
        if self._store is None:
            return
        wanted = self._changes
        async with self._lock:
            if self._saved >= wanted and self._saved:
                return
            covered = self._changes
            try:
                await self._store.save(self._agent.name, self._encoded())
            except Exception as error:
                self._problem = f"{type(error).__name__}: {error}"
                raise
            self._problem = ""
            self._saved = covered

    def taken_along(self) -> bytes | None:
        """Return the state to be kept in one commit with an acknowledgement; None for an agent without.

        Raises:
            NotSerialisable: what ``save_state`` returned is no JSON.
        """
        if self._store is None:
            return None
        data = self._encoded()
        self._saved = self._changes
        return data

    def outcome(self) -> CheckOutcome | None:
        """Return the check ``state``; None for an agent without."""
        if self._store is None:
            return None
        reason = f"the state could not be saved: {self._problem}" if self._problem else ""
        return CheckOutcome(name="state", score=0.0 if reason else 1.0, reason=reason[:300])

    async def close(self, *, saves: bool) -> None:
        """End the timer, and save once more if asked to; safe to repeat.

        Raises:
            ZejzlError: as for ``save``.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._saving is not None:
            await asyncio.gather(self._saving, return_exceptions=True)
        if saves:
            self._changes += 1  # also what on_stop changed
            await self.save()

    def _encoded(self) -> bytes:
        try:
            return orjson.dumps(self._agent.save_state())
        except (TypeError, ValueError) as error:
            raise NotSerialisable(
                f"What save_state of {self._agent.name} returned is no JSON: {error}.",
                "Return texts, numbers, lists and dictionaries with texts as keys.",
            ) from None

    def _save_soon(self) -> None:
        self._timer = None
        self._saving = asyncio.get_running_loop().create_task(self._save_in_background())

    async def _save_in_background(self) -> None:
        try:
            await self.save()
        except Exception as error:
            details: dict[str, Any] = {"agent": self._agent.name, "error": str(error)}
            _log.warning("state could not be saved", **details)
            if self._timer is None:  # the same again, one period later
                self._timer = asyncio.get_running_loop().call_later(self._period_s, self._save_soon)
