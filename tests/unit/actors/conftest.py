import pytest

from actors import place
from tests.unit.actors.fake_ray import FakeRay


@pytest.fixture
def fake_ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setattr(place, "ray", fake)
    return fake
