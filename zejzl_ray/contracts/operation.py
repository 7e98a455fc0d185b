"""An operation of a service, declared once.

The scope check, the HTTP routes, both transports of the SDK and the closed-by-default test read these declarations;
nobody writes them a second time.
"""

from dataclasses import dataclass
from typing import Literal

from zejzl_ray.contracts.base import Contract

Verb = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Attributes:
        name: method name of the actor, of the typed client and of the SDK.
        service: actor name of the service.
        request: model of the one argument.
        reply: model of the answer.
        scope: ``service:resource:action`` that the caller needs; empty only with ``is_public``.
        verb: HTTP verb.
        path: HTTP path; ``{field}`` takes that field of the request; on GET and DELETE the other fields are query
            parameters, otherwise they are the JSON body.
        is_repeatable: repeating the same request (same ``request_id``) changes nothing, so transports may retry.
        is_public: anybody may call it.
        status: HTTP status of success.
    """

    name: str
    service: str
    request: type[Contract]
    reply: type[Contract]
    scope: str
    verb: Verb
    path: str
    is_repeatable: bool = True
    is_public: bool = False
    status: int = 200

    @property
    def key(self) -> str:
        """``service.name``: unique over all services, while several may have an operation of the same name."""
        return f"{self.service}.{self.name}"
