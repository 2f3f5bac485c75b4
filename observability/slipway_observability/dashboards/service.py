"""What the service does for its users, and why it doesn't: symptoms above, causes below."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.telemetry.objectives import JOBS, LimitInTime
from slipway_observability.dashboards.frame import ALL, API, PODS, RELEASE, Row, framed
from slipway_observability.dashboards.panels import (
    ANY_IS_BAD,
    CALM,
    HALF,
    QUARTER,
    Panel,
    Q,
    Size,
    bars,
    lines,
    listing,
    number,
)
from slipway_observability.slos import BURNS, Kind, Slo, period

UID = "slipway-service"
_RATE = "[$__rate_interval]"
_PAGES = sorted((burn for burn in BURNS if burn.severity == "page"), key=lambda burn: burn.factor)
_WOKEN = " or ".join(f"{burn.factor:g} (for {burn.short} and {burn.long})" for burn in _PAGES)
_BURNS = ((None, "green"), (1.0, "yellow"), *((burn.factor, "red") for burn in _PAGES))
_BUDGET = ((None, "red"), (0.1, "orange"), (0.5, "green"))
_NEAR_FULL = ((None, "green"), (0.8, "orange"), (0.9, "red"))
_RESULTS = {
    "/^(2..|done|accepted|answered|allowed|local|redis)$/": "green",
    "/^(4..|retried|refused|limited|skipped|miss|bypass)$/": "orange",
    "/^(5..|dead|failed)$/": "red",
}


def service(slos: Sequence[Slo], jobs: LimitInTime = JOBS) -> str:
    return framed(
        UID,
        "Slipway service",
        "Read from above: is it bad for users, since when, and which row below says why.",
        [*_verdict(slos, jobs), _firing()],
        [
            Row("Objectives and their budgets", _objectives(slos)),
            Row("Rate, errors, duration", _traffic()),
            Row("Saturation", _saturation()),
            Row("Dependencies", _dependencies()),
            Row("Jobs", _jobs(jobs)),
            Row("Sign-ins and refusals", _sign_ins()),
        ],
        other="slipway-operator",
    )


def _share(outcome: str) -> str:
    asked = f"sum(rate(slipway_slo_requests_total{{{API}}}{_RATE}))"
    return f'sum(rate(slipway_slo_requests_total{{{API}, outcome="{outcome}"}}{_RATE})) / {asked}'


def _spends(kind: Kind, slos: Sequence[Slo]) -> tuple[tuple[float | None, str], ...]:
    budget = min(slo.budget for slo in slos if slo.kind == kind)
    return ((None, "green"), (budget, "orange"), (round(budget * _PAGES[0].factor, 9), "red"))


def _verdict(slos: Sequence[Slo], jobs: LimitInTime) -> list[Panel]:
    late = ((None, "green"), (jobs.seconds / 2, "orange"), (jobs.seconds, "red"))
    return [
        number("API pods up", "Share of the API's pods that Prometheus reaches.", "percentunit",
               Q(f"avg(up{{{API}}})", "up"), ((None, "red"), (0.5, "orange"), (1, "green")), without="none"),
        number("Requests", "That objectives are about.", "reqps",
               Q(f"sum(rate(slipway_slo_requests_total{{{API}}}{_RATE}))", "requests"), CALM),
        number("Failing", "Share of requests that are answered 5xx: red once a budget burns so fast that it pages.",
               "percentunit", Q(_share("failed"), "failing"), _spends("availability", slos)),
        number("Slow", "Share of requests that take longer than their class may.", "percentunit",
               Q(_share("slow"), "slow"), _spends("latency", slos)),
        number("Least budget", "The objective that is nearest to being missed over its time.", "percentunit",
               Q(f"min(slipway:slo_budget_remaining:ratio30d{{{RELEASE}}})", "left"), _BUDGET),
        number("Deps away", "PostgreSQL, Redis, collector of spans.", "none",
               Q(f"sum(max by (dependency) (slipway_degraded{{{PODS}}}))", "away"), ANY_IS_BAD),
        number("Pool queue", "Requests and jobs that wait for a connection.", "none",
               Q(f"sum(slipway_pool_waiting{{{PODS}}})", "waiting"), ((None, "green"), (1, "orange"), (10, "red"))),
        number("Oldest job", "How long it has waited for a worker.", "s",
               Q(f"max(slipway_jobs_oldest_seconds{{{PODS}}})", "oldest"), late),
    ]  # fmt: skip


def _firing() -> Panel:
    return listing(
        "Alerts that fire now",
        "Of this release; each has a page of its name in docs/runbooks.",
        Q(f'ALERTS{{{RELEASE}, alertstate="firing"}}', "{{alertname}}", now=True),
        {
            "severity": "Severity", "alertname": "Alert", "slo_class": "Class", "dependency": "Dependency",
            "kind": "Kind", "name": "Name", "instance": "Instance",
        },
        size=Size(24, 5),
    )  # fmt: skip


def _objectives(slos: Sequence[Slo]) -> list[Panel]:
    promised = {
        kind: "; ".join(slo.sentence for slo in slos if slo.kind == kind) for kind in ("availability", "latency")
    }
    return [
        bars(f"Budget left of {period()}", f"{promised['availability']}; {promised['latency']}.", "percentunit",
             Q(f"slipway:slo_budget_remaining:ratio30d{{{RELEASE}}}", "{{slo_class}} {{slo}}"), _BUDGET),
        *(
            lines(
                f"{title}: how fast the budget burns",
                f"1 spends it in exactly {period()}; beyond {_WOKEN} somebody is woken. {promised[kind]}.",
                "none",
                Q(
                    f'slipway:slo_errors:ratio_rate{_PAGES[-1].short}{{{RELEASE}, slo="{kind}"}} / on (slo_class) '
                    f'(1 - slipway:slo_objective:ratio{{{RELEASE}, slo="{kind}"}})',
                    "{{slo_class}}",
                ),
                limits=_BURNS,
            )
            for kind, title in (("availability", "Failing"), ("latency", "Slow"))
        ),
    ]  # fmt: skip


def _quantile(share: float, bucket: str, selector: str, by: str = "le") -> str:
    return f"histogram_quantile({share:g}, sum by ({by}) (rate({bucket}_bucket{{{selector}}}{_RATE})))"


def _traffic() -> list[Panel]:
    took = "http_request_duration_seconds"
    failing = f'rate(http_requests_total{{{API}, status=~"5.."}}{_RATE})'
    return [
        lines("Requests by status", "All requests, probes of the API's own port included.", "reqps",
              Q(f"sum by (status) (rate(http_requests_total{{{API}}}{_RATE}))", "{{status}}"),
              stacked=True, colors=_RESULTS),
        lines("Failing routes", "Requests a second that were answered 5xx; nothing here means that nothing fails.",
              "reqps", Q(f"sum by (handler, status) ({failing})", "{{status}} {{handler}}"), stacked=True),
        lines("Duration", "From arrival to the end of the reply. Dots are exemplars: they lead to a trace.", "s",
              *(Q(_quantile(share, took, API), f"p{share * 100:g}", exemplars=share == 0.99)  # noqa: PLR2004
                for share in (0.5, 0.95, 0.99)),
              colors={"/^p50$/": "green", "/^p95$/": "yellow", "/^p99$/": "red"}),
        lines("Slowest routes", "The five whose p99 is the longest.", "s",
              Q(f"topk(5, {_quantile(0.99, took, API, 'le, method, handler')})", "{{method}} {{handler}}"), size=HALF),
        lines("Requests by class and outcome", "As the objectives count them; the good ones aside.", "reqps",
              Q(f'sum by (slo_class, outcome) (rate(slipway_slo_requests_total{{{API}, outcome!="good"}}{_RATE}))',
                "{{slo_class}} {{outcome}}"), size=HALF),
    ]  # fmt: skip


def _saturation() -> list[Panel]:
    memory = f"process_resident_memory_bytes{{{ALL}}} / slipway_memory_limit_bytes{{{ALL}}}"
    return [
        lines("Connections to PostgreSQL", "Of all pods: in use, idle, and how many there may be.", "none",
              Q(f"sum by (state) (slipway_pool_connections{{{PODS}}})", "{{state}}"),
              Q(f"sum(slipway_pool_size{{{PODS}}})", "may be open"),
              colors={"/^may be open$/": "red", "/^in_use$/": "orange", "/^idle$/": "green"}),
        lines("Waiting for a connection", "Now, and how many a second waited in vain (503).", "none",
              Q(f"sum by (service) (slipway_pool_waiting{{{PODS}}})", "{{service}} waiting"),
              Q(f"sum by (service) (rate(slipway_pool_timeouts_total{{{PODS}}}{_RATE}))", "{{service}} in vain, 1/s"),
              colors={"/vain/": "red"}),
        lines("Event loop lag", "How late the loop comes back to what is due: something computes or blocks on it.", "s",
              Q(_quantile(0.99, "slipway_event_loop_lag_seconds", PODS, "le, pod"), "{{pod}} p99")),
        lines("CPU", "Cores that a process keeps busy; one process uses little more than one.", "none",
              Q(f"rate(process_cpu_seconds_total{{{PODS}}}{_RATE})", "{{pod}}"), size=QUARTER),
        lines("Memory", "Resident.", "bytes", Q(f"process_resident_memory_bytes{{{PODS}}}", "{{pod}}"), size=QUARTER),
        lines("Memory to the limit", "Share of what the container may use; beyond 1 it is killed.", "percentunit",
              Q(memory, "{{pod}}"), size=QUARTER, limits=_NEAR_FULL, top=1),
        lines("Requests in progress", "Being worked on, by pod.", "none",
              Q(f"http_requests_in_progress{{{API}}}", "{{pod}}"), size=QUARTER),
    ]  # fmt: skip


def _dependencies() -> list[Panel]:
    return [
        lines("Away", "1 while a pod can't reach it. Without Redis or collector the service goes on.", "none",
              Q(f"max by (dependency) (slipway_degraded{{{PODS}}})", "{{dependency}}"), size=QUARTER, top=1),
        lines("Calls of Redis", "`skipped`: it was away a moment ago, so nobody waits for it.", "ops",
              Q(f"sum by (result) (rate(slipway_redis_calls_total{{{PODS}}}{_RATE}))", "{{result}}"),
              size=QUARTER, stacked=True, colors=_RESULTS),
        lines("Duration of Redis", "Calls that weren't skipped.", "s",
              Q(_quantile(0.99, "slipway_redis_duration_seconds", PODS), "p99"), size=QUARTER),
        lines("Reads of the cache", "By what was found.", "ops",
              Q(f"sum by (result) (rate(slipway_cache_requests_total{{{PODS}}}{_RATE}))", "{{result}}"),
              size=QUARTER, stacked=True, colors=_RESULTS),
        lines("Collector and worker's database", "Batches of spans lost, and times a worker found no database.", "ops",
              Q(f"sum(rate(slipway_trace_export_failures_total{{{PODS}}}{_RATE}))", "batches lost"),
              Q(f"sum(rate(slipway_worker_database_errors_total{{{PODS}}}{_RATE}))", "worker without database"),
              size=HALF),
        lines("Mounted files", "Changed Secrets and settings: taken into use, or refused.", "none",
              Q(f"sum by (set, result) (increase(slipway_file_reloads_total{{{PODS}}}{_RATE}))", "{{set}} {{result}}"),
              size=HALF),
    ]  # fmt: skip


def _jobs(jobs: LimitInTime) -> list[Panel]:
    return [
        lines("Runs", "Jobs a second, by how they ended.", "ops",
              Q(f"sum by (result) (rate(slipway_jobs_total{{{PODS}}}{_RATE}))", "{{result}}"),
              size=QUARTER, stacked=True, colors=_RESULTS),
        lines("Age of the oldest due job", f"The objective: no more than {jobs.seconds:g} s.", "s",
              Q(f"max(slipway_jobs_oldest_seconds{{{PODS}}})", "oldest"),
              size=QUARTER, limits=((None, "green"), (jobs.seconds, "red"))),
        lines("Waiting and given up", "Due and not taken; tried to the end.", "none",
              Q(f"max(slipway_jobs_waiting{{{PODS}}})", "waiting"), Q(f"max(slipway_jobs_dead{{{PODS}}})", "dead"),
              size=QUARTER, colors={"/^dead$/": "red"}),
        lines("Duration of runs", "p95, by job.", "s",
              Q(_quantile(0.95, "slipway_job_duration_seconds", PODS, "le, name"), "{{name}}"), size=QUARTER),
    ]  # fmt: skip


def _sign_ins() -> list[Panel]:
    def rate(metric: str, by: str, legend: str) -> Q:
        return Q(f"sum by ({by}) (rate({metric}{{{API}}}{_RATE}))", legend)

    return [
        lines("Sign-ins", "Passwords checked, and sign-ins refused by back-off before that.", "ops",
              rate("slipway_logins_total", "result", "{{result}}"),
              rate("slipway_login_throttled_total", "by", "back-off by {{by}}"), colors=_RESULTS),
        lines("Refreshes and refused tokens", "A `reused` token ends its session: stolen, or a client that retries.",
              "ops", rate("slipway_refreshes_total", "result", "refresh {{result}}"),
              rate("slipway_token_rejections_total", "reason", "token {{reason}}"),
              Q(f"sum(rate(slipway_session_rejections_total{{{API}}}{_RATE}))", "session is gone")),
        lines("Rate limit", "What it said of requests.", "ops",
              rate("slipway_rate_limit_decisions_total", "result", "{{result}}"),
              rate("slipway_rate_limit_leases_total", "source", "leases from {{source}}"), colors=_RESULTS),
        lines("Hashing of passwords", "Queueing included: it is what a sign-in waits for.", "s",
              Q(_quantile(0.95, "slipway_password_hash_seconds", API), "p95"), size=HALF),
        lines("Purges", "Of expired rows, by table and how they went.", "none",
              Q(f"sum by (table, result) (increase(slipway_purges_total{{{PODS}}}{_RATE}))", "{{table}} {{result}}"),
              size=HALF),
    ]  # fmt: skip
