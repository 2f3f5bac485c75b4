"""The commands `kubectl slipway …`, and what completes them on a shell's line."""

from __future__ import annotations

import os
import shutil
import sys
from time import sleep
from urllib.parse import urlsplit

import click

from slipway_operator.plugin.asking import AskError, Kubectl
from slipway_operator.plugin.judging import judge
from slipway_operator.plugin.looking import look
from slipway_operator.plugin.model import Report
from slipway_operator.plugin.showing import as_json, as_text

CANT_ASK = 1
PAUSE = 2.0
"""Seconds between two looks of `--watch`."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def root() -> None:
    """What a release of Slipway is at, and the next command to type."""


def _address(_context: click.Context, _parameter: click.Parameter, given: str | None) -> str | None:
    if given is not None and urlsplit(given).scheme not in {"http", "https"}:
        raise click.BadParameter("must be an http(s) address, such as http://prometheus.monitoring:9090.")
    return given


@root.command()
@click.argument("release", required=False)
@click.option("-n", "--namespace", help="Its namespace; else that of the context.")
@click.option("--context", help="kubectl's context.")
@click.option("--kubeconfig", type=click.Path(dir_okay=False), help="kubectl's file.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("-w", "--watch", is_flag=True, help="Look again every 2 s, until Ctrl-C.")
@click.option(
    "--prometheus", callback=_address, help="Address of a Prometheus with the chart's rules, for SLO budgets."
)
def status(
    *,
    release: str | None,
    namespace: str | None,
    context: str | None,
    kubeconfig: str | None,
    output: str,
    watch: bool,
    prometheus: str | None,
) -> None:
    """Whether RELEASE is fine. Exit code: 0 fine, 1 can't ask, 2 somebody must act, 3 a change is under way."""
    flags = [f"--{name}={value}" for name, value in (("context", context), ("kubeconfig", kubeconfig)) if value]
    kubectl = Kubectl(flags)
    try:
        where = namespace or kubectl.namespace()
        while True:
            report = judge(look(kubectl, where, release, prometheus))
            _show(report, output, again=watch)
            if not watch:
                sys.exit(report.verdict)
            sleep(PAUSE)
    except AskError as error:
        click.echo(f"{error}", err=True)
        sys.exit(CANT_ASK)
    except KeyboardInterrupt:
        sys.exit(130)


def _show(report: Report, output: str, *, again: bool) -> None:
    if output == "json":
        click.echo(as_json(report))
        return
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else 200
    text = as_text(
        report, width=width, color=terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    )
    if again and terminal:
        click.clear()
    click.echo(text, nl=False)


def main() -> None:
    root(prog_name="kubectl slipway")


def complete() -> None:
    """Kubectl's contract for plugins: a line for each word that may come, and what the shell shall do besides."""
    words = sys.argv[1:]
    options = [option for each in status.params for option in each.opts if option.startswith("--")]
    offered = list(root.commands) if len(words) <= 1 else options
    typed = words[-1] if words else ""
    for word in sorted(word for word in offered if word.startswith(typed)):
        click.echo(word)
    click.echo(":4")  # no files
