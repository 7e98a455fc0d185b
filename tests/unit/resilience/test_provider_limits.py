import pytest

from tests.unit.resilience.noted_pauses import NotedPauses
from zejzl_ray.errors import Overloaded, RateLimited
from zejzl_ray.resilience.provider_limits import PROVIDER_LIMITS, ProviderLimits
from zejzl_ray.resilience.three_tier import RateLimitConfig
from zejzl_ray.testing.clock import ManualClock


@pytest.mark.parametrize(
    ("provider", "minute", "hour", "day"),
    [
        ("chatgpt", 60, 1_000, 10_000),
        ("claude", 50, 1_000, 10_000),
        ("gemini", 60, 1_500, 15_000),
        ("grok", 50, 1_000, 10_000),
        ("deepseek", 60, 1_000, 10_000),
        ("qwen", 60, 1_000, 10_000),
        ("zai", 60, 1_000, 10_000),
        ("unknown", 60, 1_000, 10_000),
    ],
)
def test_each_provider_has_its_limits(provider: str, minute: int, hour: int, day: int) -> None:
    config = ProviderLimits().limiter(provider).config
    assert config == RateLimitConfig(minute, hour, day, 10)
    assert provider == "unknown" or provider in PROVIDER_LIMITS


async def test_providers_do_not_share_a_limit_and_case_does_not_matter() -> None:
    limits = ProviderLimits({"claude": RateLimitConfig(1, 1, 1, 1)}, clock=ManualClock())
    assert limits.limiter("Claude") is limits.limiter("claude")
    assert await limits.acquire("CLAUDE")
    assert not await limits.acquire("claude")
    await limits.admit("grok")
    with pytest.raises(RateLimited, match="claude"):
        await limits.admit("claude")
    stats = limits.stats()
    assert {name: figures["requests_last_minute"] for name, figures in stats.items()} == {
        "claude": 1,
        "grok": 1,
    }


async def test_waiting_uses_the_injected_time() -> None:
    time = NotedPauses()
    limits = ProviderLimits({"x": RateLimitConfig(60, 60, 60, 1)}, clock=time.clock, sleep=time.sleep)
    assert await limits.acquire("x")
    assert await limits.acquire("x")
    assert time.slept == [pytest.approx(1.0)]


def test_the_number_of_providers_is_bounded() -> None:
    limits = ProviderLimits(max_providers=2)
    limits.limiter("a")
    limits.limiter("b")
    assert limits.limiter("A")
    with pytest.raises(Overloaded, match="More than 2 providers"):
        limits.limiter("c")
