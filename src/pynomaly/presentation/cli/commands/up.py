"""``pynomaly up``."""

from __future__ import annotations

import sys

import click

from pynomaly.presentation.cli.options import Command
from pynomaly.presentation.cli.session import Session

__all__ = ["command"]

_PORT = click.IntRange(1, 65535)


@click.command("up", cls=Command, example="pynomaly up\npynomaly up --port 4300 --mlflow-port 5100")
@click.option("--host", default="127.0.0.1", show_default=True, help="Listen on this address.")
@click.option(
    "--port", type=_PORT, default=4200, show_default=True, help="Prefect's pages and API."
)
@click.option("--mlflow-port", type=_PORT, default=5000, show_default=True, help="MLflow's pages.")
@click.pass_obj
def command(session: Session, host: str, port: int, mlflow_port: int) -> None:
    """Keep Prefect, MLflow and a worker running until Ctrl-C."""
    from pynomaly.operations import keep_up
    from pynomaly.presentation.cli.render.base import clean, console
    from pynomaly.presentation.cli.render.operations import up_lines
    from pynomaly.settings import load_pipeline, pipeline_names
    from pynomaly_flows.deployments import plan_deployments

    for name in pipeline_names(session.settings):  # a mistake is told now, not in a worker's log
        plan_deployments(load_pipeline(name, session.settings))
    err = console(sys.stderr)

    def tell(service: str, what: str) -> None:
        err.print(clean(f"{service}: {what}"))

    with keep_up(session.settings, "pynomaly_flows.worker", host, port, mlflow_port, tell) as (
        addresses,
        watch,
    ):
        document = {
            "home": str(session.settings.home),
            "pid": addresses.pid,
            "prefect": addresses.prefect,
            "api": f"{addresses.prefect}/api",
            "mlflow": addresses.mlflow,
        }
        session.present(document, up_lines(document))
        try:
            watch()
        except KeyboardInterrupt:
            tell("pynomaly", "stopping")
