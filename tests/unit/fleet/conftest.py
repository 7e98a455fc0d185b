"""Loading startup configurations that a test writes down as text."""

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from zejzl_ray.fleet.load import LoadedFleet, load_fleet

LoadText = Callable[..., LoadedFleet]


@pytest.fixture
def load_text(tmp_path: Path) -> LoadText:
    """Return a function that loads texts as files ``1.yaml``, ``2.yaml`` of a temporary folder."""

    def load(
        *texts: str, environment: Mapping[str, str] | None = None, overlay: str | None = None
    ) -> LoadedFleet:
        paths = []
        for number, text in enumerate(texts, start=1):
            path = tmp_path / f"{number}.yaml"
            path.write_text(dedent(text), encoding="utf-8")
            paths.append(path)
        over = None
        if overlay is not None:
            over = tmp_path / "overlay.yaml"
            over.write_text(dedent(overlay), encoding="utf-8")
        return load_fleet(paths, environment=environment, overlay=over)

    return load
