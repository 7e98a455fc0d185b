"""An operation and its request model as an HTTP request; no network here."""

import json
import re
from dataclasses import dataclass
from urllib.parse import quote

from pydantic import JsonValue

from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.operation import Operation

_PATH_FIELD = re.compile(r"\{(\w+)\}")
_VERBS_WITHOUT_BODY = frozenset({"GET", "DELETE"})


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request, ready to be sent.

    Attributes:
        verb: HTTP verb.
        path: absolute path; the fields in it are percent-encoded.
        query: name and value, in the order of the model's fields; a list gives its name several times.
        body: JSON; null on verbs without one.
    """

    verb: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None


def to_http(operation: Operation, request: Contract) -> HttpRequest:
    """Lay the fields of ``request`` out as ``operation`` says.

    Fields named in the path go there. On GET and DELETE the others are query parameters, and null ones are
    left out; on other verbs they are the JSON body, with nulls.
    """
    in_path = set(_PATH_FIELD.findall(operation.path))
    fields: dict[str, JsonValue] = request.model_dump(mode="json")
    path = _PATH_FIELD.sub(lambda match: quote(_text(fields[match[1]]), safe=""), operation.path)
    others = {name: value for name, value in fields.items() if name not in in_path}
    if operation.verb in _VERBS_WITHOUT_BODY:
        return HttpRequest(operation.verb, path, query=_query(others))
    return HttpRequest(operation.verb, path, body=json.dumps(others, separators=(",", ":")).encode())


def _query(fields: dict[str, JsonValue]) -> tuple[tuple[str, str], ...]:
    pairs: list[tuple[str, str]] = []
    for name, value in fields.items():
        if isinstance(value, list):
            pairs += [(name, _text(item)) for item in value]
        elif value is not None:
            pairs.append((name, _text(value)))
    return tuple(pairs)


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value)
