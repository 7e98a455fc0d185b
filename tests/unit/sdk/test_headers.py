from pydantic import SecretStr

from zejzl_ray.contracts.call import CallContext
from zejzl_ray.sdk.headers import to_headers


def test_all_of_a_call_travels_as_headers() -> None:
    call = CallContext(
        token=SecretStr("secret"),
        request_id="req-1",
        caused_by="req-0",
        traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01",
        deadline_at_s=1012.5,
    )
    assert to_headers(call, now_s=1000.0) == {
        "authorization": "Bearer secret",
        "x-request-id": "req-1",
        "x-caused-by": "req-0",
        "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01",
        "x-request-timeout-s": "12.500",
    }


def test_what_is_not_set_gets_no_header() -> None:
    assert to_headers(CallContext(request_id="req-1"), now_s=0.0) == {"x-request-id": "req-1"}


def test_a_deadline_that_has_passed_still_makes_a_header_that_the_ingress_accepts() -> None:
    assert to_headers(CallContext(request_id="r", deadline_at_s=5.0), 9.0)["x-request-timeout-s"] == "0.001"


def test_a_far_deadline_is_cut_to_what_the_ingress_accepts() -> None:
    assert to_headers(CallContext(request_id="r", deadline_at_s=9e9), 0.0)["x-request-timeout-s"] == "120.000"
