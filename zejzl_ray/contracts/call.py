"""What travels beside every request: who is calling, what caused it, and until when it matters."""

from pydantic import Field, SecretStr

from zejzl_ray.contracts.base import Contract
from zejzl_ray.ids import new_id

# W3C Trace Context, version 00
TRACEPARENT_PATTERN = r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
REQUEST_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$"


class Forwarded(Contract):
    """Where a call came from, as a front door saw it, with the door's own proof that it may say so.

    Made by the ingress, never from a header; a call over a handle has none.
    """

    address: str = Field(max_length=64, description="IPv4 or IPv6 address of the caller")
    proof: SecretStr = Field(description="access token of the door")
    is_exchange: bool = Field(
        default=False,
        description="the door asks for itself, with the proof of a request that it holds; never of one it passes on",
    )


class CallContext(Contract):
    """The caller's side of one call; travels as HTTP headers on the wire, is never stored or logged whole."""

    token: SecretStr | None = Field(default=None, description="proof of who is calling; never printed")
    request_id: str = Field(default_factory=new_id, pattern=REQUEST_ID_PATTERN)
    caused_by: str = Field(
        default="", max_length=128, description="request id of the call that led to this one"
    )
    traceparent: str | None = Field(default=None, pattern=TRACEPARENT_PATTERN)
    deadline_at_s: float | None = Field(
        default=None, description="wall time after which nobody waits for the reply"
    )
    forwarded: Forwarded | None = None
