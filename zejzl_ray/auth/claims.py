"""What a verified access token says."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claims:
    """The content of an access token, each part with the type that it has to have.

    Attributes:
        subject: ``kind:name`` of who is calling.
        grants: what the token allows, in the order of the token.
        audience: the one service that it is for, or ``zejzl`` for all.
        session: session or credential that it was issued for (``sid``).
        token_id: its own id (``jti``).
        issued_at_s: whole seconds since the epoch, like the other two times.
        not_before_s: it counts from this second on.
        expires_at_s: it no longer counts from this second on.
        key_id: which key signed it (``kid``).
    """

    subject: str
    grants: tuple[str, ...]
    audience: str
    session: str
    token_id: str
    issued_at_s: int
    not_before_s: int
    expires_at_s: int
    key_id: str
