"""Where Prometheus and Grafana run, as Ray's dashboard is told so that it can show their panels."""

from pydantic import Field

from zejzl_ray.contracts.base import Contract
from zejzl_ray.settings import Settings

_NONE = "DISABLED"  # Ray's word: no tab of figures, and nobody is asked at localhost:3000


class Monitoring(Contract):
    """Addresses of programs beside the system; empty where there is none."""

    prometheus_url: str = Field(default="", description="as the head reaches it")
    grafana_url: str = Field(default="", description="as the head reaches it")
    grafana_iframe_url: str = Field(default="", description="as a browser reaches it; empty: the same")

    @property
    def environment(self) -> dict[str, str]:
        """What the head's dashboard is started with."""
        found = {"RAY_GRAFANA_HOST": self.grafana_url or _NONE}
        if self.prometheus_url:
            found["RAY_PROMETHEUS_HOST"] = self.prometheus_url
        if self.grafana_url and self.grafana_iframe_url:
            found["RAY_GRAFANA_IFRAME_HOST"] = self.grafana_iframe_url
        return found


def monitoring_of(settings: Settings) -> Monitoring:
    """Return what is set about it."""
    return Monitoring(
        prometheus_url=settings.prometheus_url,
        grafana_url=settings.grafana_url,
        grafana_iframe_url=settings.grafana_iframe_url,
    )
