"""`kubectl slipway status` over answers as the API server gives them; k8s-tests ask a real one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import slipway_operator
from slipway_operator.conditions import Condition, by_state, merged
from slipway_operator.plugin import advice, main, reading
from slipway_operator.plugin.model import Verdict

ROOT = Path(__file__).parents[3]
METRICS = 'slipway_degraded{dependency="redis"} 0.0\nslipway_degraded{dependency="postgresql"} 0.0\n'
JOBS = "slipway_jobs_waiting 2.0\nslipway_jobs_dead 0.0\nslipway_jobs_oldest_seconds 1.5\n"


def deployment(component: str, name: str, **status: int) -> dict[str, Any]:
    there = {
        "replicas": 2,
        "updatedReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 2,
        "observedGeneration": 3,
        **status,
    }
    labels = {reading.INSTANCE: "slipway", reading.COMPONENT: component}
    container = {"name": component, "image": "registry.example/slipway:1"}
    return {
        "metadata": {"name": name, "labels": labels, "generation": 3},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [container]}}},
        "status": there,
    }


def resource(state: Any, reason: str, message: str = "It says why.", **status: Any) -> dict[str, Any]:
    conditions: tuple[Condition, ...] = by_state(state, reason, message)
    told = {"observedGeneration": 1, "conditions": merged(conditions, (), 1, 0.0), **status}
    return {"metadata": {"name": "slipway", "generation": 1}, "spec": {}, "status": told}


class Cluster:
    """What a kubectl that only knows these answers says; an exception's text is what it says on standard error."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        apps, ours = "/apis/apps/v1/namespaces/shop", "/apis/slipway.dev/v1alpha1/namespaces/shop"
        services = "/api/v1/namespaces/shop/services"
        self.answers: dict[str, Any] = {
            f"{apps}/deployments": [
                deployment("api", "slipway"),
                deployment("worker", "slipway-worker"),
                deployment("operator", "slipway-operator"),
            ],
            f"{ours}/schemamigrations": [resource("Ready", "UpToDate", revision="0006", target="0006")],
            f"{ours}/keyrings": [resource("Ready", "Stable", signing="a1", nextRotation="2026-12-24T00:00:00Z")],
            f"{ours}/databaselogins": [resource("Ready", "Stable", role="slipway_a")],
            f"{services}/slipway-metrics:ops/proxy/metrics": METRICS,
            f"{services}/slipway-worker-metrics:ops/proxy/metrics": JOBS,
        }

    def answer(self, end: str, given: Any) -> None:
        [path] = [path for path in self.answers if path.endswith(end)]
        self.answers[path] = given

    def asked(self) -> list[str]:
        return [line for line in (self.folder / "asked").read_text().splitlines() if "--raw" in line]

    def run(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
        cases = []
        for number, (path, given) in enumerate(self.answers.items()):
            file = self.folder / f"answer{number}"
            said = str(given) if isinstance(given, Exception) else ""
            file.write_text(said or (given if isinstance(given, str) else json.dumps({"items": given})))
            cases.append(f"*'--raw {path}') cat {file} {'>&2; exit 1' if said else ''};;")
        script = f'echo "$*" >> {self.folder}/asked\ncase "$*" in\n{chr(10).join(cases)}\n*) echo shop;;\nesac\n'
        program = self.folder / "kubectl"
        program.write_text(f"#!/bin/sh\n{script}")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{self.folder}:/usr/bin:/bin")
        return CliRunner().invoke(main.root, ["status", *arguments])


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def test_a_release_that_is_fine_is_said_to_be_in_one_line_with_exit_code_0(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = cluster.run(monkeypatch, "slipway")
    assert told.exit_code == 0, told.output
    assert told.output.startswith("FINE  slipway is fine: 6 pods serve")
    for line in ("api          2/2  registry.example/slipway:1", "revision 0006", "rollback safe", "2 due", "redis ok"):
        assert line in told.output
    assert "Next:" not in told.output
    assert "\x1b" not in told.output


def test_it_asks_six_questions_and_no_more(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.run(monkeypatch)
    assert len(cluster.asked()) == len(cluster.answers) == 6


ACTS: list[tuple[str, Any, str, str]] = [
    ("schemamigrations", [resource("Stalled", "ReleaseSkipped")], "ReleaseSkipped", "helm -n shop history slipway"),
    (
        "schemamigrations",
        [resource("Stalled", "StatementFailed")],
        "StatementFailed",
        "kubectl -n shop describe sm slipway",
    ),
    ("schemamigrations", [resource("Reconciling", "AwaitingApproval")], "AwaitingApproval", "{.status.plan}"),
    ("keyrings", [resource("Stalled", "KeysLost")], "KeysLost", "kubectl -n shop describe keyring slipway"),
    ("databaselogins", [resource("Stalled", "NodeLost")], "NodeLost", "kubectl get nodes"),
    ("slipway-metrics:ops/proxy/metrics", METRICS.replace('sql"} 0', 'sql"} 1'), "postgresql is away", "get pods"),
    ("worker-metrics:ops/proxy/metrics", JOBS.replace("dead 0", "dead 3"), "3 jobs were given up", "slipway jobs list"),
    (
        "deployments",
        [deployment("api", "slipway", readyReplicas=0, availableReplicas=0)],
        "serves nobody",
        "describe pods",
    ),
]


@pytest.mark.parametrize(("where", "given", "said", "command"), ACTS, ids=[each[2] for each in ACTS])
def test_what_waits_for_somebody_is_said_first_with_the_next_command_and_exit_code_2(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, where: str, given: Any, said: str, command: str
) -> None:
    cluster.answer(where, given)
    told = cluster.run(monkeypatch)
    assert told.exit_code == Verdict.ACT
    assert told.output.startswith("ACT  ")
    assert said in told.output.splitlines()[0]
    [following] = [line for line in told.output.splitlines() if line.startswith("Next:")]
    assert command in following


def test_a_change_under_way_has_exit_code_3_and_somebody_who_must_act_goes_before_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.answer("deployments", [deployment("api", "slipway", updatedReplicas=1), deployment("operator", "o")])
    told = cluster.run(monkeypatch)
    assert told.exit_code == Verdict.CHANGE
    assert "Next:  kubectl -n shop rollout status deployment/slipway" in told.output
    cluster.answer("keyrings", [resource("Stalled", "KeysLost")])
    told = cluster.run(monkeypatch)
    assert told.exit_code == Verdict.ACT
    assert "UNDER WAY: slipway is rolling out" in told.output


@pytest.mark.parametrize(
    ("state", "reason", "code"),
    [("Reconciling", "AwaitingApproval", 2), ("Stalled", "StatementFailed", 2), ("Reconciling", "Expanding", 3)],
)
def test_pods_that_wait_for_their_schema_arent_what_is_told_first(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, state: str, reason: str, code: int
) -> None:
    cluster.answer("schemamigrations", [resource(state, reason)])
    waiting = deployment("api", "slipway", readyReplicas=0, availableReplicas=0)
    cluster.answer("deployments", [waiting, deployment("operator", "slipway-operator")])
    told = cluster.run(monkeypatch)
    assert told.exit_code == code
    assert reason in told.output.splitlines()[0]


def test_without_a_worker_no_jobs_are_asked_for(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.answer("deployments", [deployment("api", "slipway")])
    told = cluster.run(monkeypatch)
    assert told.exit_code == 0
    assert len(cluster.asked()) == 5
    assert "jobs " not in told.output
    assert "not seen" not in told.output


def test_what_may_not_be_seen_is_said_and_the_rest_is_told(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.answer("keyrings", RuntimeError("Error from server (Forbidden): keyrings is forbidden"))
    cluster.answer("databaselogins", RuntimeError("Error from server (NotFound): not found"))
    cluster.answer("slipway-metrics:ops/proxy/metrics", RuntimeError("Error from server (ServiceUnavailable): no"))
    told = cluster.run(monkeypatch)
    assert told.exit_code == 0
    assert "keyrings: you have no right to it." in told.output
    assert "databaselogins: the cluster doesn't have it." in told.output
    assert "Dependencies: it doesn't answer." in told.output


CANT = [
    (RuntimeError("The connection to the server localhost:8080 was refused"), (), "was refused"),
    (RuntimeError("Error from server (Forbidden): no"), (), "no right"),
    ([], (), "no release of Slipway in namespace shop"),
    ([deployment("api", "slipway")], ("other",), "There is no release other in namespace shop; there are: slipway."),
]


@pytest.mark.parametrize(("given", "arguments", "said"), CANT)
def test_who_cant_ask_is_told_why_with_exit_code_1(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, given: Any, arguments: tuple[str, ...], said: str
) -> None:
    cluster.answer("deployments", given)
    told = cluster.run(monkeypatch, *arguments)
    assert told.exit_code == 1
    assert said in told.stderr
    assert "Traceback" not in told.output


def test_without_kubectl_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    told = CliRunner().invoke(main.root, ["status"])
    assert (told.exit_code, "isn't on the PATH" in told.stderr) == (1, True)


def test_as_json_it_has_the_same_and_the_same_exit_code(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.answer("keyrings", [resource("Stalled", "KeysLost")])
    told = cluster.run(monkeypatch, "-o", "json")
    assert told.exit_code == Verdict.ACT
    report = json.loads(told.output)
    assert (report["verdict"], report["findings"][0]["verdict"]) == ("act", "act")
    assert report["command"] == "kubectl -n shop describe keyring slipway"


def test_what_a_cluster_says_steers_no_terminal(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.answer("keyrings", [resource("Stalled", "KeysLost", message="\x1b[2Jgone\x07", signing="\x1b]0;x\x07")])
    assert "\x1b" not in cluster.run(monkeypatch).output


def test_a_shell_is_offered_commands_and_then_options(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("sys.argv", ["kubectl_complete-slipway", "st"])
    main.complete()
    assert capsys.readouterr().out == "status\n:4\n"
    monkeypatch.setattr("sys.argv", ["kubectl_complete-slipway", "status", "--na"])
    main.complete()
    assert capsys.readouterr().out == "--namespace\n:4\n"


SOURCES = "\n".join(path.read_text() for path in Path(slipway_operator.__file__).parent.rglob("*.py"))
STALLED = set(re.findall(r'"Stalled", "([A-Z][A-Za-z]+)"', SOURCES)) | set(
    re.findall(r'Trouble\(\s*"([A-Za-z]+)"', SOURCES)
)


@pytest.mark.parametrize("reason", sorted(STALLED | set(advice.COMMANDS)))
def test_every_reason_to_stall_stands_in_the_page_that_the_command_leads_to(reason: str) -> None:
    pages = [(ROOT / page.split("#")[0]).read_text() for page in (advice.MIGRATIONS, advice.ROTATIONS)]
    assert any(f"`{reason}`" in page for page in pages)


@pytest.mark.parametrize(
    "page", [advice.MIGRATIONS, advice.ROTATIONS, advice.APPROVAL, "docs/operations.md#first-look"]
)
def test_pages_that_it_names_have_their_headings(page: str) -> None:
    path, _, anchor = page.partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(), re.MULTILINE)
    assert anchor in {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}


def test_there_are_reasons_to_look_for() -> None:
    """Negative control."""
    assert {"LintFailed", "KeysLost", "RoleNotOurs", "SecretNotOurs"} <= STALLED


def test_it_loads_neither_kopf_nor_a_client_of_its_own() -> None:
    program = "import sys, slipway_operator.plugin.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    loaded = set(done.stdout.split())
    assert "click" in loaded
    assert not loaded & {"kopf", "aiohttp", "asyncpg", "fastapi", "sqlalchemy"}
