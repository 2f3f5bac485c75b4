"""One look at a release: at most six questions to the API server, side by side."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from slipway_operator.plugin import reading
from slipway_operator.plugin.asking import TIMEOUT, AskError, Kubectl, LeftOutError
from slipway_operator.plugin.model import Budget, Resource, Seen

T = TypeVar("T")

GROUP = "/apis/slipway.dev/v1alpha1"
KINDS: tuple[tuple[reading.Kind, str], ...] = (
    ("SchemaMigration", "schemamigrations"),
    ("KeyRing", "keyrings"),
    ("DatabaseLogin", "databaselogins"),
)
BUDGET = "slipway:slo_budget_remaining:ratio30d"
MOST = 16 * 1024 * 1024
"""Bytes of Prometheus' answer."""


def look(kubectl: Kubectl, namespace: str, release: str | None, prometheus: str | None) -> Seen:
    """Raises AskError where nothing can be said: no API server, no right to see Deployments, no such release."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        unknown: list[str] = []

        def ask(what: str, path: str, read: Callable[[bytes], T]) -> Callable[[], T | None]:
            future = pool.submit(kubectl.get, path)

            def answer() -> T | None:
                try:
                    return read(future.result())
                except LeftOutError as error:
                    unknown.append(f"{what}: {error}.")
                except (ValueError, KeyError, TypeError):
                    unknown.append(
                        f"{what}: the answer can't be understood; is this kubectl-slipway as old as the chart?"
                    )
                return None

            return answer

        listed = ask("Deployments", f"/apis/apps/v1/namespaces/{namespace}/deployments", reading.items)
        kinds = [
            (kind, ask(plural, f"{GROUP}/namespaces/{namespace}/{plural}", reading.items)) for kind, plural in KINDS
        ]
        deployments = listed()
        if deployments is None:
            raise AskError(f"Deployments of namespace {namespace} can't be listed ({' '.join(unknown)})")
        wanted = _release(release, reading.releases(deployments), namespace)
        workloads = reading.workloads(deployments, wanted)
        served = {each.component: each.name for each in workloads}
        metrics = f"/api/v1/namespaces/{namespace}/services/{{}}-metrics:ops/proxy/metrics"
        # What a release has none of isn't asked for.
        api = ask("Dependencies", metrics.format(served["api"]), reading.dependencies) if "api" in served else None
        worker = ask("Jobs", metrics.format(served["worker"]), reading.jobs) if "worker" in served else None
        budgets = pool.submit(_budgets, prometheus, namespace, wanted) if prometheus else None
        resources: list[Resource] = []
        for kind, answer in kinds:
            resources += reading.resources(kind, answer() or (), wanted)
        dependencies, jobs = api() if api else None, worker() if worker else None
        try:
            left = budgets.result() if budgets else ()
        except (OSError, ValueError, KeyError) as error:
            unknown.append(f"SLO budgets: Prometheus doesn't answer ({type(error).__name__}).")
            left = ()
    return Seen(namespace, wanted, workloads, tuple(resources), dependencies, jobs, left, tuple(unknown))


def _release(asked: str | None, there: list[str], namespace: str) -> str:
    if asked is not None:
        if asked not in there:
            raise AskError(
                f"There is no release {asked} in namespace {namespace}; there are: {', '.join(there) or 'none'}."
            )
        return asked
    if len(there) == 1:
        return there[0]
    if not there:
        raise AskError(f"There is no release of Slipway in namespace {namespace}: name another by --namespace.")
    raise AskError(f"There are several releases in namespace {namespace}: name one of {', '.join(there)}.")


def _budgets(prometheus: str, namespace: str, release: str) -> tuple[Budget, ...]:
    query = f'{BUDGET}{{namespace="{namespace}",release="{release}"}}'
    address = f"{prometheus.rstrip('/')}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT) as reply:  # noqa: S310 - --prometheus is checked to be http(s)
            return reading.budgets(reply.read(MOST))
    except urllib.error.HTTPError as error:
        raise OSError(str(error.code)) from None
