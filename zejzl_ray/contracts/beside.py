"""Long bytes of a request that travel beside it.

Ray copies each argument of up to 100 KiB along with a call. A longer one goes through its object store, where the
other machine has to fetch it: more work than the call itself, and a second way that can fail. So it goes in pieces.
"""

from typing import Final

from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import InvalidInput

PIECE_BYTES: Final = 96 * 1024
MOST_PIECES: Final = 100  # Ray copies 10 MiB of arguments along at most


def apart(operation: Operation, request: Contract) -> tuple[Contract, tuple[bytes, ...]]:
    """Return what goes with a call: the request as it is, or without its long bytes and these in pieces."""
    if not operation.beside:
        return request, ()
    whole: bytes = getattr(request, operation.beside)
    if len(whole) <= PIECE_BYTES:
        return request, ()
    step = max(PIECE_BYTES, -(-len(whole) // MOST_PIECES))
    pieces = tuple(whole[start : start + step] for start in range(0, len(whole), step))
    return request.model_copy(update={operation.beside: b""}), pieces


def together(operation: Operation, request: Contract, pieces: tuple[bytes, ...]) -> Contract:
    """Return the request as it was before ``apart``.

    Raises:
        InvalidInput: this operation has no such pieces, or the whole is none that the request may hold.
    """
    if not pieces:
        return request
    is_fit = bool(operation.beside) and len(pieces) <= MOST_PIECES
    if not is_fit or not all(type(piece) is bytes for piece in pieces):
        raise InvalidInput(
            f"{operation.key} was called with {len(pieces)} more arguments, which it does not take.",
            "Call it through the typed client, with the same version of zejzl-ray.",
        )
    fields = {name: getattr(request, name) for name in type(request).model_fields}
    try:
        return type(request).model_validate(fields | {operation.beside: b"".join(pieces)})
    except ValueError:
        raise InvalidInput(
            f"{operation.key} was called with a {operation.beside} that is too long."
        ) from None
