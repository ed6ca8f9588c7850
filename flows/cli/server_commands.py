"""The commands of the servers: up, setup-server. As light as flows/cli/main.py."""

from typing import Annotated

import typer

from flows import command


def up(
    prefect_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Prefect pages.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the MLflow pages.")] = 5000,
    workers: Annotated[
        bool, typer.Option("--workers/--no-workers", help="Also run what is deployed to the pools that dvc.yaml names.")
    ] = True,
    deploy: Annotated[
        bool, typer.Option("--deploy", help="Deploy infra/prefect.yaml: retraining, nightly and by Run in the pages.")
    ] = False,
):
    """Start Prefect and MLflow for this project here, with workers; Ctrl-C ends it.

    While they run, `plumb align` in the same project uses this Prefect server by itself. One worker per work pool of
    dvc.yaml runs deployed flows in processes of this machine, in this project; each takes about 150 MB and waits until
    something is deployed: with --deploy, what infra/prefect.yaml says. --no-workers shows the pages alone.
    Flow runs that die are marked as crashed. Prefect's own commands find the server in a shell that
    sources .prefect/up.env. A team's servers: infra/compose.yaml.
    """
    from flows.hosting import up as running

    code = running.serve(command.project(), prefect_port, mlflow_port, workers, deploy, command.console())
    raise typer.Exit(code)


def setup_server(
    heartbeat: Annotated[
        int | None,
        typer.Option(
            min=30,
            metavar="SECONDS",
            help="What the workers' PREFECT_FLOWS_HEARTBEAT_FREQUENCY is (default: this environment's, else 180).",
        ),
    ] = None,
):
    """Give the team's Prefect server what it needs once; repeated, it changes nothing.

    The server is the one at PREFECT_API_URL. An automation marks flow runs as crashed from which three heartbeats in a
    row did not come; another posts that to PLUMB_ALERT_URL, or to what the Secret block plumb-alert-url holds, if
    either is set. `plumb up` does the same on its own server.
    """
    from flows.hosting import servers
    from flows.hosting import up as running

    api = servers.running_prefect(command.project())
    if api is None:
        raise ValueError("no Prefect server is known; set PREFECT_API_URL to the team's, or start one (plumb up)")
    command.console().print(running.set_up_server(api, heartbeat), soft_wrap=True)
