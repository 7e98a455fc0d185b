"""Long bytes of a request go beside it and come together again."""

import pytest

from zejzl_ray.contracts.agent_host import MAX_FRAME_BYTES, DeliverMail
from zejzl_ray.contracts.agent_host import OPERATIONS as HOST_OPERATIONS
from zejzl_ray.contracts.beside import MOST_PIECES, PIECE_BYTES, apart, together
from zejzl_ray.contracts.health import GetHealth
from zejzl_ray.contracts.services import health_operation
from zejzl_ray.errors import InvalidInput

DELIVER = next(each for each in HOST_OPERATIONS if each.name == "deliver_mail")
HEALTH = health_operation("node_agent")


def mail(size: int) -> DeliverMail:
    return DeliverMail(connection="c", frame=bytes(range(256)) * (size // 256) + b"x" * (size % 256))


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES])
def test_what_is_short_stays_where_it_is(size: int) -> None:
    request = mail(size)
    assert apart(DELIVER, request) == (request, ())
    assert together(DELIVER, request, ()) is request


@pytest.mark.parametrize("size", [PIECE_BYTES + 1, 3 * PIECE_BYTES, 1_000_003, MAX_FRAME_BYTES])
def test_what_is_long_goes_in_pieces_and_is_whole_again(size: int) -> None:
    request = mail(size)
    own, pieces = apart(DELIVER, request)
    assert isinstance(own, DeliverMail)
    assert (own.connection, own.frame) == ("c", b"")
    assert 1 < len(pieces) <= MOST_PIECES
    assert together(DELIVER, own, pieces) == request


def test_an_operation_without_such_a_field_goes_as_it_is_and_takes_no_pieces() -> None:
    request = GetHealth()
    assert apart(HEALTH, request) == (request, ())
    with pytest.raises(InvalidInput, match="called with 1 more arguments"):
        together(HEALTH, request, (b"x",))


@pytest.mark.parametrize("pieces", [("text",), (b"x", None), (b"x",) * (MOST_PIECES + 1)])
def test_pieces_that_are_none_are_refused(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(InvalidInput, match=r"deliver_mail was called with \d+ more arguments"):
        together(DELIVER, mail(0), pieces)


def test_pieces_are_bounded_like_the_field_that_they_make() -> None:
    piece = b"x" * (MAX_FRAME_BYTES // 2 + 1)
    with pytest.raises(InvalidInput, match="frame that is too long"):
        together(DELIVER, mail(0), (piece, piece))
