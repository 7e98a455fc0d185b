"""An HTTP answer that is not a success, as one of the project's exceptions; no network here."""

from http import HTTPStatus
from typing import Final

from pydantic import JsonValue, TypeAdapter, ValidationError

from zejzl_ray.contracts.problems import Problem, error_of
from zejzl_ray.errors import DeadlineExceeded, InvalidInput, ZejzlError

_MAX_TEXT: Final = 2000
_ANY_OBJECT: Final[TypeAdapter[dict[str, JsonValue]]] = TypeAdapter(dict[str, JsonValue])


def to_error(status: int, body: bytes, *, where: str) -> ZejzlError:
    """Return the exception that an answer stands for.

    A problem document with a code gives the class of that code with its message and remedy, or the class of
    the status when the code is of a newer server. Anything else came from a proxy or from something that is
    not zejzl: it gives the class of the status, with a message that says so.

    Args:
        status: HTTP status of the answer.
        body: the answer, of any content type.
        where: what was asked, for the message.
    """
    try:
        fields = _ANY_OBJECT.validate_json(body)
    except ValidationError:
        fields = {}
    code = _text(fields.get("code"))
    said = _text(fields.get("detail")) or _text(fields.get("title"))
    if code:
        return _error(status, code, said or f"{where}: {code}.", _text(fields.get("remedy")))
    return _error(
        status,
        "",
        f"{where} was answered with HTTP status {status} and no problem code{': ' + said if said else ''}.",
        "Something between this program and zejzl answered, such as a proxy; check the address and its log.",
    )


def retry_after_s(value: str | None) -> float | None:
    """Return the seconds of a ``Retry-After`` header; null when it is absent or a date."""
    text = (value or "").strip()
    return float(text) if text.isascii() and text.isdigit() else None


def _error(status: int, code: str, message: str, remedy: str) -> ZejzlError:
    shown = min(status, 599)
    error = error_of(Problem(type="", title="", status=shown, detail=message, code=code, remedy=remedy))
    if type(error) is not ZejzlError or code == ZejzlError.code:
        return error
    # statuses that the service itself never gives
    if status == HTTPStatus.REQUEST_TIMEOUT:
        return DeadlineExceeded(message, remedy)
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return InvalidInput(message, remedy)
    return error


def _text(value: JsonValue) -> str:
    return value[:_MAX_TEXT] if isinstance(value, str) else ""
