"""`plumb`: the command line. Nothing heavy is imported before a command needs it."""

from pathlib import Path
from typing import Annotated

import typer

from flows import cli_service
from flows.command import console as _console
from flows.command import project as _root

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=(
        "Align a language model and prove that it got better.\n\n"
        "DVC knows what must be rebuilt, Prefect runs it, MLflow remembers how it went. The graph of stages stands in "
        "dvc.yaml, every number that can change a result in params.yaml; a stage runs when its command, its code, its "
        "params or its inputs changed, and never otherwise.\n\n"
        "Start with `plumb doctor` (is this machine ready?), then `plumb plan` (what would run, and what did it cost "
        "last time?), then `plumb align`. `plumb COMMAND --help` says more."
    ),
)

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one param for this run, e.g. --set dpo.beta=0.2; repeatable."),
]
ParamsFile = Annotated[
    Path | None, typer.Option("--params", metavar="FILE", help="Use this params file instead of params.yaml.")
]
Cores = Annotated[
    int | None, typer.Option(min=1, help="Stages that may run side by side (default: the cores of this machine).")
]


def _place(root: Path, settings: list[str] | None, params: Path | None, console) -> Path:
    """The project itself, or the clone in which a run with other params happens; made the working directory."""
    import os

    if not settings and params is None:
        return root
    from flows import environment, workspace

    text = workspace.params_text(root, params, workspace.parse_settings(settings or []))
    place = workspace.open_workspace(root, environment.state_dir(root), text)
    os.chdir(place)
    console.print(f"Working in {place}", soft_wrap=True, markup=False, highlight=False)
    return place


@app.command()
def align(settings: Settings = None, params: ParamsFile = None, cores: Cores = None):
    """Bring every stage up to date, log it to MLflow and print what came out.

    Pulls the data and the base model that are missing, runs the stages whose command, code, params or inputs changed,
    and skips the rest. Killed or interrupted, the next run goes on from there: finished stages come from the cache,
    training from its last checkpoint.

    With --set or --params the run happens in a clone of its own that shares the cache; params.yaml is not edited.
    Exit code 0 when all stages are current (a verdict "reject" is a result, not an error), 1 when one failed.
    """
    from flows import local

    params = params.absolute() if params else None
    root, console = _root(), _console()
    place = _place(root, settings, params, console)
    with local.Prefect(root) as prefect:
        code = local.align(place, console, prefect, cores)
    raise typer.Exit(code)


@app.command()
def plan(settings: Settings = None, params: ParamsFile = None, cores: Cores = None):
    """Show what align would do and why, with what each stage cost last time: time, judge calls, money, disk.

    A stage is current, would be restored from the cache, or would run; the reason names the param, code file or
    input that changed. Nothing is run and nothing is changed.
    """
    from flows import environment
    from flows.ledger import Ledger
    from flows.plan import make_plan, show_plan
    from flows.stages import Graph

    params = params.absolute() if params else None
    root, console = _root(), _console()
    graph = Graph(_place(root, settings, params, console))
    planned = make_plan(graph, Ledger(environment.state_dir(root) / "ledger.jsonl"))
    show_plan(graph, planned, cores or environment.usable_cores(), console)


@app.command()
def status():
    """Show which stages are current, at which version, why the others are not, and which model serves."""
    import os

    from flows import registry
    from flows.plan import show_status
    from flows.settings import read_settings
    from flows.stages import Graph

    root, console = _root(), _console()
    show_status(Graph(root), console)
    number = registry.champion_number(os.environ["MLFLOW_TRACKING_URI"], read_settings(root).promote.model_name)
    console.print(f"champion: {registry.name_of(number)}")


@app.command()
def doctor():
    """Check this machine and the project, and say what to do about each finding.

    Looks at Python and package versions, disk, memory, GPU, params.yaml, PLUMB_STATE, the data, the DVC remotes and
    the servers. Exit code 1 when there is a problem.
    """
    from flows import doctor as examiner

    findings = examiner.examine(_root())
    examiner.show(findings, _console())
    raise typer.Exit(int(any(finding.level == "problem" for finding in findings)))


@app.command()
def up(
    prefect_port: Annotated[int, typer.Option(help="Port of the Prefect pages.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow pages.")] = 5000,
):
    """Start the Prefect and MLflow pages of this project on this machine; Ctrl-C ends both.

    While they run, `plumb align` in the same project uses this Prefect server by itself.
    """
    from flows import servers

    raise typer.Exit(servers.serve(_root(), prefect_port, mlflow_port, _console()))


@app.command()
def seeds(
    numbers: Annotated[str, typer.Option("--seeds", help="Seeds, separated by commas.")] = "0,1,2",
    settings: Settings = None,
    params: ParamsFile = None,
):
    """Align once per seed, each in a clone of its own, and check what the project promises on every one.

    Prints gold of each model, its paired difference to SFT with the 95% interval, and the reward model's held-out
    accuracy. Exit code 1 when on some seed sft is not above base, dpo, ppo or best_of_n not clear of sft, or the
    accuracy is below 0.75.
    """
    from flows import local
    from flows import seeds as seeding

    params = params.absolute() if params else None
    root, console = _root(), _console()
    found = []
    with local.Prefect(root) as prefect:
        for number in _numbers(numbers):
            place = _place(root, [*(settings or []), f"runtime.seed={number}"], params, console)
            if local.align(place, console, prefect) != 0:
                raise typer.Exit(1)
            found.append(seeding.Seed.read(number, place))
    raise typer.Exit(seeding.report(found, console))


@app.command()
def hacking(settings: Settings = None):
    """Show reward hacking on purpose: a judge that loves length, no KL penalty; guards off, then on.

    Exit code 1 unless the proxy rises while gold falls with the guards off, and a guard stops PPO when they are on.
    """
    from flows import hacking as hacked
    from flows import local

    root, console = _root(), _console()
    found = []
    with local.Prefect(root) as prefect:
        for name, guards in (("off", hacked.WITHOUT_GUARDS), ("on", ())):
            place = _place(root, [*hacked.HACKED, *guards, *(settings or [])], None, console)
            if local.align(place, console, prefect) != 0:
                raise typer.Exit(1)
            found.append(hacked.Hacked.read(name, place))
    raise typer.Exit(hacked.report(*found, console))


cli_service.add_to(app)


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--seeds {text}: write whole numbers separated by commas, for example 0,1,2") from None


def main() -> None:
    """The entry point: what the user can put right is one line and exit code 1, never a traceback."""
    import sys

    try:
        app()
    except (ValueError, OSError) as error:
        text = " ".join(str(error).split())
        print(f"plumb: {text}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("plumb: stopped; finished stages are kept, the next plumb align goes on from there", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
