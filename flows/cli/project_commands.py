"""The commands of a project, from a plan to a model: doctor, plan, align, status, seeds, hacking. As light as
flows/cli/main.py."""

from pathlib import Path
from typing import Annotated

import typer

from flows import command
from flows.cli.options import Cores, ParamsFile, Settings


def doctor():
    """Check this machine and the project, and say what to do about each finding.

    Looks at Python and package versions, disk, memory, GPU, params.yaml, PLUMB_STATE, the data, the DVC remotes and
    the servers; then at all that would end a run late: every row against template and lengths, the architecture against
    every method, judges' files and variables. Each judge across a network is asked one question. Exit code 1 when there
    is a problem.
    """
    from flows.cli import doctor as examiner

    findings = examiner.examine(command.project())
    examiner.show(findings, command.console())
    raise typer.Exit(int(any(finding.level == "problem" for finding in findings)))


def plan(settings: Settings = None, params: ParamsFile = None, cores: Cores = None):
    """Show what align would do, why, and what each stage cost last time.

    Costs are time, judge calls, money and disk. Judges across a network that were never asked get a forecast of calls
    and money, an upper bound. What the last preflight found is shown, and whether it is stale; nothing is started and
    nobody is asked for either.

    A stage is current, would be restored from the cache, or would run; where some would run, the DVC remote
    intake.remote is asked what other machines made, as align asks it. The reason names the param, code file or
    input that changed. Restored stages are looked through: what follows them is known too. What follows a stage that
    runs is taken to run. No stage is run and params.yaml is not edited; with --set or --params a clone is made in
    PLUMB_STATE, the one in which align with the same params would work, and it stays there.
    """
    from flows import environment
    from flows.alignment import preflight
    from flows.alignment.judge_forecast import with_forecast
    from flows.alignment.local import open_graph
    from flows.alignment.plan import make_plan, meet_others, show_plan
    from flows.costs.ledger import Ledger
    from flows.graph.inputs import check_inputs
    from flows.settings import read_settings

    root, console = command.project(), command.console()
    place = command.workspace(root, settings, params, console)
    read_settings(place)  # params that align would refuse have no plan
    graph = open_graph(place, console)
    check_inputs(place, graph)
    state = environment.state_dir(root)
    not_counted = "what other machines made is not counted"
    remote = meet_others(graph, lambda text: console.print(f"{text}; {not_counted}", style="yellow"))
    planned, forecast = with_forecast(place, make_plan(graph, Ledger(state), remote))
    show_plan(graph, planned, cores or environment.usable_cores(), console, remote)
    running = [row.name for row in planned if row.action == "run"]
    for line in (*forecast, *(preflight.report(place, state, graph, running) if running else ())):
        console.print(line, soft_wrap=True)


def align(
    settings: Settings = None,
    params: ParamsFile = None,
    cores: Cores = None,
    anchors: Annotated[
        bool, typer.Option("--anchors", help="Ask the judges their anchors first; stop at drift.")
    ] = False,
    champion: Annotated[
        bool, typer.Option("--champion", help="Compare with the registry's champion: data/champion.dvc will name it.")
    ] = False,
):
    """Bring every stage up to date, log it to MLflow and print what came out.

    Pulls the data and the base model that are missing, looks for all that would end the run late (plumb doctor lists
    the same), runs the stages whose command, code, params or inputs changed,
    and skips the rest. Killed or interrupted, the next run goes on from there: finished stages come from the cache,
    training from its last checkpoint.

    With --set or --params the run happens in a clone of its own that shares the cache; params.yaml is not edited.
    Exit code 0 when all stages are current (a verdict "reject" is a result, not an error), 1 when one failed.
    """
    from flows.alignment import local

    root, console = command.project(), command.console()
    place = command.workspace(root, settings, params, console)
    if champion:
        from flows.history import registry
        from flows.serving import champion as serving

        console.print(f"The reference is champion {registry.name_of(serving.point_at_registry(place))}.")
    with local.Prefect(root) as prefect:
        code = local.align(place, console, prefect, cores, anchors)
    raise typer.Exit(code)


def status():
    """Show the state of every stage, which model serves, and the last retraining.

    For each stage whether it is current, at which version, and why not; of the retraining what it came to. One line
    says whether every stage kept what it owes the next, or which one is the likely cause of what is wrong.
    """
    import os

    from flows.alignment.local import open_graph
    from flows.alignment.plan import show_status
    from flows.alignment.results import contracts_line
    from flows.history import registry
    from flows.settings import read_settings

    root, console = command.project(), command.console()
    uri, settings = os.environ["MLFLOW_TRACKING_URI"], read_settings(root)
    show_status(open_graph(root, console), console)
    if contracts := contracts_line(root):
        console.print(contracts)
    number = registry.champion_number(uri, settings.promote.model_name)
    console.print(f"champion: {registry.name_of(number)}")
    for line in _last_retraining(root, uri, settings.tracking.experiment):
        console.print(line, soft_wrap=True)


def _last_retraining(root: Path, uri: str, experiment: str) -> list[str]:
    from functools import partial

    from flows.hosting import tracking_server
    from flows.schedule import decisions
    from flows.serving import questions

    try:
        tracking_server.check_experiment(experiment)
    except ValueError as error:
        return [f"last retraining: not known: {error}"]
    return decisions.in_words(decisions.latest(uri, experiment), partial(questions.ending, root))


def seeds(
    chosen: Annotated[str, typer.Option("--seeds", help="Seeds, separated by commas.")] = "0,1,2",
    settings: Settings = None,
    params: ParamsFile = None,
):
    """Align once per seed and check what the project promises on every one.

    Each runs in a clone of its own. Prints gold of each model, its paired difference to SFT with the 95% interval, and
    the reward model's held-out accuracy. Exit code 1 when on some seed sft is not above base, dpo, ppo or best_of_n not
    clear of sft, or the accuracy is below 0.75.
    """
    from flows.alignment import local
    from flows.alignment import seeds as seeding

    root, console = command.project(), command.console()
    runs = []
    with local.Prefect(root) as prefect:
        for number in seeding.parse(chosen):
            place = command.workspace(root, [*(settings or []), f"runtime.seed={number}"], params, console)
            if local.align(place, console, prefect) != 0:
                raise typer.Exit(1)
            runs.append(seeding.Seed.read(number, place))
    raise typer.Exit(seeding.report(runs, console))


def hacking(settings: Settings = None):
    """Show reward hacking on purpose, and that the gate and the guards stop it.

    Judges love length, praise or refusals; there is no KL penalty, and there are no guards. The proxy rises and gold
    falls; the gate must reject each candidate and name its hack. Then once more with the guards on, which must stop
    PPO. Exit code 1 unless all of that happens.
    """
    from flows.alignment import hacking as hacked
    from flows.alignment import local

    root, console = command.project(), command.console()

    def run(name: str, changes: tuple[str, ...]) -> hacked.Hacked:
        place = command.workspace(root, [*changes, *(settings or [])], None, console)
        if local.align(place, console, prefect) != 0:
            raise typer.Exit(1)
        return hacked.Hacked.read(name, place)

    with local.Prefect(root) as prefect:
        data = hacked.write_gushing_data(root)
        runs = {hack.name: run(hack.name, hack.settings(guards=False, gushing_data=data)) for hack in hacked.HACKS}
        guarded = run(f"{hacked.GUARDED.name}, guards on", hacked.GUARDED.settings(guards=True))
    raise typer.Exit(hacked.report(runs, guarded, console))
