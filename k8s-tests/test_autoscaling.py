"""The autoscaler takes over from a fixed number of pods, and follows the load, without a failed request.

The release is one of its own: where somebody has scaled by hand, that hand holds the number of pods, and switching on
proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

import pytest

from cluster.model import Cluster
from load.looking import seen
from load.reporting import line_writer
from load.scene import AUTOSCALING, EAGER, Scene, scene_opened
from load.verdict import nothing_failed

pytestmark = [pytest.mark.timeout(240), pytest.mark.alone]


@pytest.fixture(scope="module")
def scene(cluster: Cluster, service_image: str, next_image: str, pytestconfig: pytest.Config) -> Iterator[Scene]:
    with scene_opened(cluster, service_image, next_image, line_writer(pytestconfig)) as opened:
        yield opened


def test_switching_autoscaling_on_fails_nothing_and_never_dips(scene: Scene) -> None:
    scene.become(scene.graceful())
    scene.settled(2)
    with scene.load() as running, scene.replicas_watched() as replicas:
        scene.become(scene.graceful(autoscaling=AUTOSCALING))
        hpa = scene.cluster.kubectl.json("get", "horizontalpodautoscaler/slipway", f"--namespace={scene.namespace}")
        # Only what it has measured can make it set a number: the load lasts until then.
        seen(lambda: scene.utilization() is not None, 90, "the autoscaler's first look")
        outcome = scene.told("autoscaling switched on", running.finish())
    nothing_failed(outcome)
    assert hpa["spec"]["minReplicas"] == 2
    assert min(replicas.wanted) == 2
    assert min(replicas.ready) >= 2


def test_autoscaling_reacts_to_load_and_fails_nothing(scene: Scene) -> None:
    scene.become(scene.graceful(autoscaling=AUTOSCALING))
    scene.settled(2)
    seen(scene.idle, 90, lambda: f"idle pods, but they use {scene.utilization()} %")
    with scene.replicas_watched() as replicas:
        scene.become(scene.graceful(autoscaling=EAGER))
        with scene.load(rate=60) as running:
            began = monotonic()
            seen(lambda: replicas.wanted[-1] > 2, 90, lambda: f"the autoscaler wanting more: {replicas.wanted}")
            reacted = monotonic() - began
            scene.rollout_done()
            outcome = scene.told(f"scale-up by load, wanted after {reacted:.0f} s", running.finish())
    nothing_failed(outcome)
    assert replicas.wanted[0] == 2
    assert max(replicas.ready) > 2
