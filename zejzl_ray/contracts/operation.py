"""An operation of a service, declared once.

The scope check, the HTTP routes, both transports of the SDK and the closed-by-default test read these declarations;
nobody writes them a second time.
"""

import re
from dataclasses import dataclass, replace
from typing import Final, Literal

from zejzl_ray.contracts.access import CALM_ACTIONS, SCOPE_PATTERN
from zejzl_ray.contracts.base import Contract

_SCOPE: Final = re.compile(SCOPE_PATTERN)

PUBLIC: Final = ""  # in the place of a scope

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
            parameters, otherwise they are the JSON body. Empty: not over HTTP.
        is_repeatable: repeating the same request (same ``request_id``) changes nothing, so transports may retry.
        is_public: anybody may call it.
        status: HTTP status of success.
        own_scope: what lets a principal do this to the thing that bears its own name, without ``scope``.
        own_field: the field of the request that holds that name, with dots into nested models.
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
    own_scope: str = ""
    own_field: str = ""

    def __post_init__(self) -> None:
        """Refuse an operation that nobody could be checked for."""
        if bool(self.scope) == self.is_public:
            raise ValueError(f"{self.service}.{self.name}: declare a scope, or is_public, and not both")
        for scope in (self.scope, self.own_scope):
            if scope and not _SCOPE.fullmatch(scope):
                raise ValueError(f"{self.service}.{self.name}: {scope!r} is no service:resource:action")
        if bool(self.own_scope) != bool(self.own_field):
            raise ValueError(f"{self.service}.{self.name}: own_scope and own_field belong together")
        if self.own_field and self.own_field.partition(".")[0] not in self.request.model_fields:
            raise ValueError(f"{self.service}.{self.name}: the request has no field {self.own_field}")

    @property
    def is_calm(self) -> bool:
        """Whether it changes nothing that others rely on: allowed with late news and with little trust."""
        return self.is_public or self.scope.rpartition(":")[2] in CALM_ACTIONS

    def at(self, actor: str) -> "Operation":
        """Return the same operation of one of several actors of its service, such as ``agent_host:mainpc``."""
        return replace(self, service=actor)

    @property
    def key(self) -> str:
        """``service.name``: unique over all services, while several may have an operation of the same name."""
        return f"{self.service}.{self.name}"


@dataclass(frozen=True, slots=True)
class OperationsOf:
    """Declares the operations of one service, a line each.

    Args:
        service: actor name of the service; the scopes of its operations begin with it.
    """

    service: str

    def __call__(
        self,
        name: str,
        request: type[Contract],
        reply: type[Contract],
        scope: str,
        verb: Verb = "POST",
        path: str = "",
        *,
        status: int = 200,
        own: tuple[str, str] = ("", ""),
        is_repeatable: bool = True,
    ) -> Operation:
        """Return an operation of the service; what is not said here stands at ``Operation``.

        ``scope`` is ``resource:action``, or ``PUBLIC`` where anybody may call it; ``own`` is the ``resource:action``
        of ``own_scope``, and ``own_field``.
        """
        own_scope, own_field = own
        return Operation(
            name=name,
            service=self.service,
            request=request,
            reply=reply,
            scope=f"{self.service}:{scope}" if scope else "",
            verb=verb,
            path=path,
            is_repeatable=is_repeatable,
            is_public=scope == PUBLIC,
            status=status,
            own_scope=f"{self.service}:{own_scope}" if own_scope else "",
            own_field=own_field,
        )
