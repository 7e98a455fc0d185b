"""How a ``CallContext`` travels as HTTP headers."""

from typing import Final

from zejzl_ray.contracts.call import CallContext

# the ingress works no longer than this for one request, and refuses a longer wish
LONGEST_WISH_S: Final = 120.0


def to_headers(call: CallContext, now_s: float) -> dict[str, str]:
    """Return the headers that carry ``call``; what is not set gets no header.

    The deadline travels as the seconds that are left, since the clocks of two machines may differ.
    """
    headers = {"x-request-id": call.request_id}
    if call.token is not None:
        headers["authorization"] = f"Bearer {call.token.get_secret_value()}"
    if call.caused_by:
        headers["x-caused-by"] = call.caused_by
    if call.traceparent is not None:
        headers["traceparent"] = call.traceparent
    if call.deadline_at_s is not None:
        left_s = min(max(0.001, call.deadline_at_s - now_s), LONGEST_WISH_S)
        headers["x-request-timeout-s"] = f"{left_s:.3f}"
    return headers
