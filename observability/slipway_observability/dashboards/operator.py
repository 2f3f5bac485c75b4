"""What the operator looks after, what it waits for, and whether it works itself."""

from __future__ import annotations

from slipway.telemetry.objectives import ROTATION_OVERDUE_SECONDS
from slipway_observability.dashboards.frame import NAMESPACE, OPERATOR, RELEASE, Row, framed
from slipway_observability.dashboards.panels import (
    ANY_IS_BAD,
    HALF,
    QUARTER,
    Panel,
    Q,
    Size,
    Steps,
    lines,
    listing,
    number,
)

UID = "slipway-operator"
_RATE = "[$__rate_interval]"
_WHICH = "exported_namespace, kind, name"
_EACH = "{{kind}} {{exported_namespace}}/{{name}}"
_COLUMNS = {"kind": "Kind", "exported_namespace": "Namespace", "name": "Name"}
_AGE = f"time() - max by ({_WHICH}) (slipway_operator_rotation_last_timestamp_seconds{{{OPERATOR}}})"
_DUE = f"max by ({_WHICH}) (slipway_operator_rotation_due_timestamp_seconds{{{OPERATOR}}}) - time()"
_RESULTS = {"/succeeded|Confirmed/": "green", "/failed/": "red"}
_HELD: Steps = ((None, "red"), (1, "green"))
_OVERDUE: Steps = ((None, "red"), (-ROTATION_OVERDUE_SECONDS, "orange"), (0, "green"))


def operator() -> str:
    return framed(
        UID,
        "Slipway operator",
        "Read from above: must a person act, is something under way, and does the operator itself work.",
        [*_verdict(), *_resources()],
        [
            Row("Migrations", _migrations()),
            Row("Keys and logins", _rotations()),
            Row("The operator itself", _itself()),
        ],
        other="slipway-service",
    )


def _verdict() -> list[Panel]:
    def least(metric: str) -> str:
        return f"max by (exported_namespace, lease) ({metric}{{{NAMESPACE}}})"

    return [
        number("Need a person", "Resources that are Stalled: `kubectl describe` says what to do.", "none",
               Q(f"sum(max by ({_WHICH}) (slipway_operator_resource_stalled{{{OPERATOR}}}))", "stalled"), ANY_IS_BAD),
        number("Lease held", "0: operators run, and none looks after the namespace.", "none",
               Q(f"min({least('slipway_operator_lease_held')})", "held"), _HELD, without="no operator"),
        number("Operators up", "Share of the operator's pods that Prometheus reaches.", "percentunit",
               Q(f"avg(up{{{OPERATOR}}})", "up"), ((None, "red"), (1, "green")), without="none"),
        number("Migrating", "Steps of schema migrations that are being taken.", "none",
               Q(f"sum(max by (exported_namespace, name) (slipway_operator_migration_running_seconds{{{OPERATOR}}}) "
                 "> bool 0)", "running"), ((None, "green"), (1, "blue"))),
        number("Pods lagging", "Pods that don't follow a changed key or login yet.", "none",
               Q(f"sum(max by ({_WHICH}) (slipway_operator_consumers_lagging{{{OPERATOR}}}))", "lagging"),
               ((None, "green"), (1, "orange"))),
        number("Next rotation", "Until it is due; below 0 it is late.", "s", Q(f"min({_DUE})", "next"), _OVERDUE),
        number("Failed looks", "At resources, a second.", "ops",
               Q(f'sum(rate(slipway_operator_reconciles_total{{{OPERATOR}, result="failed"}}{_RATE}))', "failed"),
               ((None, "green"), (0.001, "orange"))),
        number("Due now", "Resources in the queue that are due now.", "none",
               Q(f'sum(slipway_operator_queue{{{OPERATOR}, state="now"}})', "due"), ((None, "green"), (10, "orange"))),
    ]  # fmt: skip


def _resources() -> list[Panel]:
    return [
        listing("Resources and the reason of their Ready", "As the operator last saw them.",
               Q(f"max by ({_WHICH}, reason) (slipway_operator_resource_info{{{OPERATOR}}})", _EACH, now=True),
               _COLUMNS | {"reason": "Reason"}, size=Size(9, 8)),
        lines("Resources by state", "How many of each kind are in which state.", "none",
              Q(f"count by (kind, reason) (slipway_operator_resource_info{{{OPERATOR}}} > 0)", "{{kind}} {{reason}}"),
              size=Size(9, 8), stacked=True),
        listing("Alerts that fire now", "Of this release; each has a page of its name in docs/runbooks.",
               Q(f'ALERTS{{{RELEASE}, alertstate="firing"}}', "{{alertname}}", now=True),
               {"severity": "Severity", "alertname": "Alert", "name": "Name"}, size=Size(6, 8)),
    ]  # fmt: skip


def _migrations() -> list[Panel]:
    which = "exported_namespace, name"
    return [
        lines("Time of the step, and its budget", "0 while no step is taken; beyond the budget somebody is told.", "s",
              Q(f"max by ({which}) (slipway_operator_migration_running_seconds{{{OPERATOR}}})", "{{name}} runs"),
              Q(f"max by ({which}) (slipway_operator_migration_budget_seconds{{{OPERATOR}}})", "{{name}} may take"),
              size=HALF, colors={"/may take/": "red"}),
        lines("Jobs", "Made, succeeded and failed, by what they were for.", "none",
              Q(f"sum by (purpose, result) (increase(slipway_operator_jobs_total{{{OPERATOR}}}{_RATE}))",
                "{{purpose}} {{result}}"), size=HALF, colors=_RESULTS),
    ]  # fmt: skip


def _rotations() -> list[Panel]:
    follow = f"sum by (le, kind) (rate(slipway_operator_secret_propagation_seconds_bucket{{{OPERATOR}}}{_RATE}))"
    return [
        lines("Age", "Since when the key signs, or the role is in use.", "s", Q(_AGE, _EACH)),
        listing("Next rotations", "Until it is due; those without a schedule aren't here.", Q(_DUE, _EACH, now=True),
               _COLUMNS | {"Value": "Due in"}, unit="s", size=Size(8, 8)),
        lines("Rotations that ended", "By what caused them and how they ended.", "none",
              Q(f"sum by (kind, cause, result) (increase(slipway_operator_rotations_total{{{OPERATOR}}}{_RATE}))",
                "{{kind}} {{cause}} {{result}}"), colors=_RESULTS),
        lines("Pods that lag", "They haven't followed the last change, or can't be asked; its status names them.",
              "none", Q(f"max by ({_WHICH}) (slipway_operator_consumers_lagging{{{OPERATOR}}})", _EACH), size=HALF),
        lines("From a Secret's write until every pod follows", "p95, by kind.", "s",
              Q(f"histogram_quantile(0.95, {follow})", "{{kind}}"), size=HALF),
    ]  # fmt: skip


def _itself() -> list[Panel]:
    took = f"sum by (le, kind) (rate(slipway_operator_reconcile_duration_seconds_bucket{{{OPERATOR}}}{_RATE}))"
    return [
        lines("Looks at resources", "A second, by kind and result.", "ops",
              Q(f"sum by (kind, result) (rate(slipway_operator_reconciles_total{{{OPERATOR}}}{_RATE}))",
                "{{kind}} {{result}}"), size=QUARTER, colors={"/failed/": "red"}),
        lines("Duration of a look", "p99, by kind.", "s", Q(f"histogram_quantile(0.99, {took})", "{{kind}}"),
              size=QUARTER),
        lines("Errors", "Looks that failed, by the error's class; its log has the rest.", "ops",
              Q(f"sum by (kind, error) (rate(slipway_operator_errors_total{{{OPERATOR}}}{_RATE}))",
                "{{kind}} {{error}}"), size=QUARTER),
        lines("Queue", "Due now, due later, being looked at; and how many found it full.", "none",
              Q(f"sum by (state) (slipway_operator_queue{{{OPERATOR}}})", "{{state}}"),
              Q(f"sum(increase(slipway_operator_queue_refused_total{{{OPERATOR}}}{_RATE}))", "found it full"),
              size=QUARTER),
        lines("Who holds the Lease", "1: this pod looks after the namespace.", "none",
              Q(f"slipway_operator_lease_held{{{OPERATOR}}}", "{{pod}} {{lease}}"), size=QUARTER, top=1),
        lines("Renewal of the Lease", "Beyond 10 s nothing is changed any more.", "s",
              Q(f"slipway_operator_lease_renewal_age_seconds{{{OPERATOR}}}", "{{pod}} {{lease}}"), size=QUARTER),
        lines("Changes of the Lease's holder", "How often it has changed hands.", "none",
              Q(f"max by (lease) (slipway_operator_lease_transitions{{{OPERATOR}}})", "{{lease}}"), size=QUARTER),
        lines("Age of the watch", "Since a kind's watch told of a change; a watch that is dead stays silent.", "s",
              Q(f"max by (kind) (slipway_operator_last_event_age_seconds{{{OPERATOR}}})", "{{kind}}"), size=QUARTER),
        lines("Clock and definitions", "Seconds ahead of the API server; fields that the cluster's definitions lack.",
              "none", Q(f"slipway_operator_clock_skew_seconds{{{OPERATOR}}}", "{{pod}} ahead, s"),
              Q(f"max(slipway_operator_definitions_outdated{{{OPERATOR}}})", "fields lacking"), size=Size(8, 8)),
        lines("CPU", "Cores that the process keeps busy.", "none",
              Q(f"rate(process_cpu_seconds_total{{{OPERATOR}}}{_RATE})", "{{pod}}")),
        lines("Memory to the limit", "Share of what the container may use; beyond 1 it is killed.", "percentunit",
              Q(f"process_resident_memory_bytes{{{OPERATOR}}} / slipway_memory_limit_bytes{{{OPERATOR}}}", "{{pod}}"),
              top=1),
    ]  # fmt: skip
