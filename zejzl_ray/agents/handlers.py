"""Typed handlers: which method of an agent handles which message type, checked when the class is made."""

import inspect
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar, get_origin, get_type_hints

from pydantic import BaseModel

from zejzl_ray.agents.content import model_from
from zejzl_ray.bus.message import Message
from zejzl_ray.errors import InvalidInput

H = TypeVar("H", bound=Callable[..., Coroutine[Any, Any, Any]])

_MARK: Final = "__zejzl_handles__"
_FORM: Final = "Write `async def name(self, content: Message | dict | a pydantic model)`, one of the three."


class _Later:
    """Type of ``LATER``."""

    def __repr__(self) -> str:
        return "LATER"


LATER: Final = _Later()
"""What a handler returns that answers its request afterwards, with ``self.respond``."""


def handles(*message_types: str) -> Callable[[H], H]:
    """Mark a method as the handler of some message types.

    Its parameter is what it is annotated with: the ``Message``, its content as ``dict``, or a pydantic model that the
    content is checked against; a second parameter, if there is one, is the ``Message``. What it returns (a dictionary,
    a model, or None for an empty one) is the reply, if the message is a request.

    Raises:
        InvalidInput: a type is no text of 1 to 256 characters.
    """
    wrong = [kind for kind in message_types if not isinstance(kind, str) or not 0 < len(kind) <= 256]
    if not message_types or wrong:
        raise InvalidInput(
            f"@handles{message_types!r} names no usable message type.", 'Write @handles("observation").'
        )

    def mark(method: H) -> H:
        setattr(method, _MARK, message_types)
        return method

    return mark


@dataclass(frozen=True, slots=True)
class Handler:
    """How one method is called.

    Attributes:
        attribute: name of the method.
        model: what the content is checked against; None: no model.
        takes_content: the parameter is the content, not the message.
        takes_message: there is a second parameter for the message.
    """

    attribute: str
    model: type[BaseModel] | None = None
    takes_content: bool = False
    takes_message: bool = False

    def arguments(self, message: Message) -> tuple[Any, ...]:
        """Return what the method is called with.

        Raises:
            InvalidInput: the content does not fit.
        """
        first: Any = message
        if self.model is not None:
            first = model_from(message, self.model)
        elif self.takes_content:
            first = message.content
        return (first, message) if self.takes_message else (first,)


def handlers_of(agent_class: type, local_names: Mapping[str, Any] | None = None) -> dict[str, Handler]:
    """Return message type -> handler of a class, those that it inherits too.

    Args:
        agent_class: the class.
        local_names: names that its annotations may use besides those of its module.

    Raises:
        InvalidInput: two methods want one type, or a method cannot be a handler; names it.
    """
    # attribute -> types; a subclass that overrides a handler without marking it again keeps its types
    marked: dict[str, tuple[str, ...]] = {}
    for owner in reversed(agent_class.__mro__):
        for attribute, value in vars(owner).items():
            if (types := getattr(value, _MARK, None)) is not None:
                marked[attribute] = types
    table: dict[str, Handler] = {}
    for attribute, types in marked.items():
        handler = _handler(agent_class, attribute, local_names or {})
        for kind in types:
            if kind in table:
                raise InvalidInput(
                    f"{agent_class.__name__} has two handlers of {kind!r}: {table[kind].attribute} and {attribute}.",
                    f"Keep one; to replace an inherited one, override the method {table[kind].attribute}.",
                )
            table[kind] = handler
    return table


def _handler(agent_class: type, attribute: str, local_names: Mapping[str, Any]) -> Handler:
    place = f"{agent_class.__name__}.{attribute}"
    method = inspect.getattr_static(agent_class, attribute)
    if not inspect.iscoroutinefunction(method):
        raise InvalidInput(f"{place} is marked with @handles, but is no coroutine function.", _FORM)
    parameters = list(inspect.signature(method).parameters.values())[1:]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if len(parameters) not in (1, 2) or any(each.kind not in positional for each in parameters):
        raise InvalidInput(
            f"{place} takes {len(parameters)} parameters; a handler takes one, or one and the Message.", _FORM
        )
    try:
        hints = get_type_hints(method, localns=dict(local_names))
    except NameError as unknown:
        raise InvalidInput(
            f"The annotations of {place} cannot be read: {unknown}.",
            "Define or import the model above the class.",
        ) from None
    if len(parameters) == 2 and hints.get(parameters[1].name) is not Message:
        raise InvalidInput(f"The second parameter of {place} is not annotated with Message.", _FORM)
    _check_reply(place, hints.get("return"))
    return _taking(place, attribute, hints.get(parameters[0].name), takes_message=len(parameters) == 2)


def _taking(place: str, attribute: str, annotation: object, *, takes_message: bool) -> Handler:
    if annotation is Message and not takes_message:
        return Handler(attribute)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return Handler(attribute, model=annotation, takes_content=True, takes_message=takes_message)
    if annotation is dict or get_origin(annotation) in (dict, Mapping):
        return Handler(attribute, takes_content=True, takes_message=takes_message)
    shown = "nothing" if annotation is None else getattr(annotation, "__name__", str(annotation))
    raise InvalidInput(f"The parameter of {place} is annotated with {shown}.", _FORM)


def _check_reply(place: str, annotation: object) -> None:
    """Refuse what can never be a reply; unions and the like are checked when the handler returns."""
    if isinstance(annotation, type) and issubclass(annotation, (str, bytes, int, float, list, tuple, set)):
        raise InvalidInput(
            f"{place} returns {annotation.__name__}, which is no reply.",
            "Return a dictionary, a model or None.",
        )


def names_around(depth: int) -> dict[str, Any]:
    """Return the local names of a calling function, for models that are defined inside of a function."""
    return dict(sys._getframe(depth + 1).f_locals)  # the way typing's own class-based syntax does it
