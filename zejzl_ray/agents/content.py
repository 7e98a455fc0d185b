"""Contents of messages: models become dictionaries, dictionaries become models, and what does not fit is told."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from zejzl_ray.bus.message import Message
from zejzl_ray.errors import InvalidInput

M = TypeVar("M", bound=BaseModel)

_SHOWN: Final = 5


def content_of(value: Mapping[str, Any] | BaseModel | None) -> dict[str, Any]:
    """Return the content that a dictionary, a pydantic model or nothing means.

    Raises:
        InvalidInput: it is something else.
    """
    if value is None:
        return {}
    if type(value) is dict:
        return value
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return dict(value)
    raise InvalidInput(
        f"The content of a message is {type(value).__name__}.",
        "Give a dictionary, a pydantic model or nothing.",
    )


def model_from(message: Message, model: type[M]) -> M:
    """Return the content of a message as a model.

    Raises:
        InvalidInput: it does not fit; says where, at most five places, without the values.
    """
    try:
        return model.model_validate(message.content)
    except ValidationError as wrong:
        found = wrong.errors(include_url=False, include_context=False, include_input=False)
        shown = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'content'}: {each['msg']}" for each in found[:_SHOWN]
        )
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise InvalidInput(
            f"The content of this {message.message_type!r} message does not fit {model.__name__}: {shown}{more}.",
            f"Send the fields {', '.join(model.model_fields) or '(none)'}.",
        ) from None
