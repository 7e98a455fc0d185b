"""What happens with one message: its handler, the reply, the acknowledgement, the figures."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Final

import structlog

from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.content import content_of
from zejzl_ray.agents.handlers import LATER
from zejzl_ray.agents.health import RecentOutcomes
from zejzl_ray.agents.ports import Mail
from zejzl_ray.agents.state_keeper import StateKeeper
from zejzl_ray.bus.failures import FAILURE, failure_content
from zejzl_ray.bus.handling import Handling, Handlings, current
from zejzl_ray.bus.message import Guarantee, Message
from zejzl_ray.clock import Clock
from zejzl_ray.errors import BusClosed, DeadlineExceeded, HandlerFailed, InvalidInput, ZejzlError
from zejzl_ray.metrics.figures import MailFigures

_GIVE_BACK_S: Final = 2.0


class FatalFailure(Exception):
    """A handler raised what its agent calls fatal; the cause is what it raised."""


def is_request(message: Message) -> bool:
    """Tell whether somebody waits for an answer to it."""
    return message.correlation_id is not None and not message.is_reply


class Desk:
    """Handles the mail of one agent, one message a call."""

    def __init__(
        self,
        agent: Agent,
        mail: Mail,
        keeper: StateKeeper,
        *,
        clock: Clock,
        figures: MailFigures | None = None,
        handlings: Handlings | None = None,
    ) -> None:
        self._agent = agent
        self._mail = mail
        self._keeper = keeper
        self._clock = clock
        self._figures = figures
        self._handlings = handlings
        self.outcomes = RecentOutcomes()

    async def handle(self, slot: int, message: Message) -> None:
        """Handle one message: afterwards it is answered if it was a request, and acknowledged or refused.

        Raises:
            FatalFailure: the handler raised a fatal exception.
        """
        agent = self._agent
        handling = Handling(
            agent.name, slot, message, since_s=self._clock.now_s(), task=asyncio.current_task()
        )
        token = current.set(handling)
        if self._handlings is not None:
            self._handlings.begin(handling)
        started_s = self._clock.monotonic_s()
        failure: Exception | None = None
        # Not taken back: the slot's task has its own context, and the next message overwrites it. It costs a tenth.
        structlog.contextvars.bind_contextvars(request_id=message.id, caused_by=message.caused_by)
        try:
            try:
                reply = await self._reply_to(message)
            except asyncio.CancelledError as cancelled:
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
                failure = RuntimeError("the handler awaited something that was cancelled")
                failure.__cause__ = cancelled
                await self._failed(handling, failure)
            except Exception as error:
                failure = error
                await self._failed(handling, error)
            else:
                failure = await self._done(handling, reply)
        finally:
            current.reset(token)
            if self._handlings is not None:
                self._handlings.end(handling)
        self._count(message, self._clock.monotonic_s() - started_s, has_failed=failure is not None)
        if failure is not None and isinstance(failure, agent.fatal):
            raise FatalFailure(str(failure)) from failure

    async def give_back(self, message: Message, reason: str) -> None:
        """Refuse a message whose handler was ended before it was done; never raises, and takes 2 s at most."""
        with suppress(ZejzlError, TimeoutError):
            async with asyncio.timeout(_GIVE_BACK_S):
                if is_request(message):
                    await self._respond_failure(
                        message, BusClosed(f"{self._agent.name} {reason}.", "Ask again later.")
                    )
                await self._mail.nack(message, reason)

    async def _reply_to(self, message: Message) -> dict[str, Any] | None:
        """Return the content of the reply; None when the handler answers later."""
        agent = self._agent
        handler = agent._handlers.get(message.message_type)
        called: Awaitable[Any]
        if handler is None:
            called = agent.on_message(message)
        else:
            called = getattr(agent, handler.attribute)(*handler.arguments(message))
        limit_s = agent.handler_timeout_s
        if limit_s is None:
            answer = await called
        else:
            try:
                async with asyncio.timeout(limit_s) as scope:
                    answer = await called
            except TimeoutError:
                if not scope.expired():  # the handler's own
                    raise
                raise DeadlineExceeded(
                    f"{agent.name} did not finish the {message.message_type!r} message within {limit_s:g} s.",
                    "Look at what its handler waits for, or give it a longer handler_timeout_s.",
                ) from None
        if answer is LATER:
            return None
        try:
            return content_of(answer)
        except InvalidInput:
            raise TypeError(
                f"the handler of {message.message_type!r} returned {type(answer).__name__}, "
                "which is neither a dictionary nor a pydantic model nor None"
            ) from None

    async def _done(self, handling: Handling, reply: dict[str, Any] | None) -> Exception | None:
        """Answer and acknowledge; return what went wrong with saving, if the mail had to be refused for it."""
        message = handling.message
        self._keeper.changed()
        is_kept = message.guarantee is Guarantee.AT_LEAST_ONCE
        state: bytes | None = None
        if is_kept and self._agent.state_with_ack:
            try:
                state = self._keeper.taken_along()
            except Exception as error:
                await self._failed(handling, error)
                return error
        if reply is not None and is_request(message) and not handling.is_answered:
            try:
                await self._mail.respond(message, reply, from_agent=self._agent.name)
            except ZejzlError as error:
                self._agent.log.warning("reply could not be sent", to=message.from_agent, error=str(error))
                if isinstance(
                    error, InvalidInput
                ):  # too large, or not to be written: the other one has to hear it
                    await self._respond_failure(message, error)
        if is_kept:
            try:
                await self._mail.ack(message, state=state)
            except ZejzlError as error:
                self._agent.log.warning("could not be acknowledged and may come again", error=str(error))
        return None

    async def _failed(self, handling: Handling, error: Exception) -> None:
        """Log a failure, tell it to the one who asked, and refuse the mail."""
        message, agent = handling.message, self._agent
        facts = {"message_type": message.message_type, "from_agent": message.from_agent}
        if isinstance(error, ZejzlError):
            told = error
            agent.log.warning("message failed", code=error.code, error=str(error), **facts)
        else:
            # Others are told no text of it: it may hold anything. The log has it.
            told = HandlerFailed(
                f"{agent.name} could not handle the {message.message_type!r} message.",
                f"Its log says why: zejzl logs --agent {agent.name}, request id {message.id}.",
                {"agent": agent.name, "message_id": message.id},
            )
            agent.log.error("handler raised", exc_info=error, **facts)
        if is_request(message) and not handling.is_answered:
            await self._respond_failure(message, told)
        if message.guarantee is Guarantee.AT_LEAST_ONCE:
            try:
                await self._mail.nack(message, told.message)
            except ZejzlError as wrong:
                agent.log.warning("could not be refused and may come again", error=str(wrong))

    async def _respond_failure(self, message: Message, error: ZejzlError) -> None:
        try:
            await self._mail.respond(
                message, failure_content(error), message_type=FAILURE, from_agent=self._agent.name
            )
        except ZejzlError as wrong:
            self._agent.log.warning("failure could not be told", to=message.from_agent, error=str(wrong))

    def _count(self, message: Message, duration_s: float, *, has_failed: bool) -> None:
        self.outcomes.add(has_failed=has_failed)
        if self._figures is not None:
            series = self._figures.of(self._agent.name, message.message_type)
            series.handling.record(duration_s)
            series.failed += has_failed
