"""The watched release under load, its faults, and how a scenario is played."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic, time
from uuid import uuid4

from charts.render import Renderer
from cluster.model import Cluster
from firing.faults import FAULTS
from firing.runbook import follow
from firing.table import Scenario, complaints
from firing.values import watched
from firing.watching import Rules, Watch, rendered, shortened, watching
from load.harness import Traffic, running_load
from load.installed import Installed
from load.looking import seen

FIRES_WITHIN = 90.0
ENDS_WITHIN = 90.0
CALM_WITHIN = 90.0
TARGETS = {"slipway-metrics": 1, "slipway-worker-metrics": 1, "slipway-operator-metrics": 1}
LOAD = Traffic(rate=10, seconds=1800, sign_in_every=1, export_every=2, timeout=10)


@dataclass
class World:
    """`seconds`: scenario → from its fault until the last alert that must fire did."""

    cluster: Cluster
    namespace: str
    image: str
    installed: Installed
    rules: Rules
    watch: Watch
    say: Callable[[str], None]
    seconds: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def scope(self) -> str:
        return f"--namespace={self.namespace}"

    def play(self, scenario: Scenario) -> None:
        """The fault, its alerts, the runbook, and the end of all of them. AssertionError says what differs."""
        looking = self.watch
        self.calm()
        begun, since = monotonic(), time()
        with FAULTS[scenario.name](self):
            waited = self._fired(scenario, begun)
            seen(
                lambda: scenario.inhibited <= looking.suppressed(),
                FIRES_WITHIN,
                lambda: f"{sorted(scenario.inhibited)} inhibited, but {looking.states()}",
            )
            follow(self.cluster, self.namespace, scenario.page, "Diagnosis")
            follow(self.cluster, self.namespace, scenario.page, "Mitigation")
            seen(
                lambda: not scenario.must & looking.active(),
                ENDS_WITHIN,
                lambda: f"the end of {scenario.name} by its runbook, but {sorted(looking.active())}",
            )
            told = complaints(scenario, looking.fired(since))
        self.seconds[scenario.name] = waited
        self.say(f"{scenario.fault}: " + ", ".join(f"{alert} after {took:.0f} s" for alert, took in waited.items()))
        if told:
            raise AssertionError(f"{scenario.name}: " + "; ".join(told))

    def _fired(self, scenario: Scenario, begun: float) -> dict[str, float]:
        """Alert → seconds until it fired."""
        looking = self.watch
        waited: dict[str, float] = {}

        def all_fire() -> bool:
            for alert in looking.active() & scenario.must:
                waited.setdefault(alert, monotonic() - begun)
            return waited.keys() == scenario.must

        seen(all_fire, FIRES_WITHIN, lambda: f"{sorted(scenario.must)} firing, but only {sorted(looking.active())}")
        return waited

    def calm(self) -> None:
        """Returns when every pod is scraped and no alert is pending or fires."""
        looking = self.watch

        def still() -> bool:
            return looking.targets() == TARGETS and not looking.active() | looking.active("pending")

        def told() -> str:
            return f"calm, but {looking.targets()}, {sorted(looking.active())}, {sorted(looking.active('pending'))}"

        seen(still, CALM_WITHIN, told)


@contextmanager
def world_opened(cluster: Cluster, image: str, renderer: Renderer, say: Callable[[str], None]) -> Iterator[World]:
    """In a namespace of its own: installed, loaded and watched by shortened rules."""
    with cluster.namespace(f"alerts-{uuid4().hex[:6]}") as namespace:
        installed, values = Installed(cluster, namespace), watched(image)
        rules = shortened(rendered(renderer, values, namespace))
        installed.apply(values)
        with (
            running_load(cluster, namespace, image, LOAD),
            watching(cluster, namespace, rules) as watch,
        ):
            yield World(cluster, namespace, image, installed, rules, watch, say)
