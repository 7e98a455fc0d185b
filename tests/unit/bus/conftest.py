import pytest


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was started anew does not wait for batches that its predecessor got."""
    monkeypatch.setattr("zejzl_ray.bus.in_order._PATIENCE_S", 0)
