"""`plumb`: the command line. Nothing heavy is imported before a command needs it."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import judge_check, label_pairs, server_commands, service_commands
from flows.command import console as _console
from flows.command import document_of
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
    typer.Option("--set", metavar="KEY=VALUE", help="Change one param for this run, as in dpo.beta=0.2; repeatable."),
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
    from flows import environment
    from flows.storage import workspace

    text = workspace.params_text(root, params, workspace.parse_settings(settings or []))
    place = workspace.open_workspace(root, environment.state_dir(root), text)
    os.chdir(place)
    console.print(f"Working in {place}", soft_wrap=True, markup=False, highlight=False)
    return place


@app.command()
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

    params = params.absolute() if params else None
    root, console = _root(), _console()
    place = _place(root, settings, params, console)
    if champion:
        from flows.history import registry
        from flows.serving import champion as serving

        console.print(f"The reference is champion {registry.name_of(serving.point_at_registry(place))}.")
    with local.Prefect(root) as prefect:
        code = local.align(place, console, prefect, cores, anchors)
    raise typer.Exit(code)


@app.command()
def anchors(settings: Settings = None, params: ParamsFile = None):
    """Ask the judges of the comparisons their anchors, and say whether one answers otherwise than it did.

    Anchors are the fixed pairs in the file that `anchors.file` names, asked in both orders and past the store of
    verdicts. A judge's first answers are its baseline; raising its epoch in params.yaml begins a new one. A scheduled
    run does the same before it starts (plumb align --anchors). Exit code 1 when a judge moved further than
    anchors.max_drift.
    """
    from flows import environment
    from flows.alignment import anchors as anchoring

    params = params.absolute() if params else None
    root, console = _root(), _console()
    raise typer.Exit(anchoring.by_hand(_place(root, settings, params, console), environment.state_dir(root), console))


@app.command()
def plan(settings: Settings = None, params: ParamsFile = None, cores: Cores = None):
    """Show what align would do and why, with what each stage cost last time: time, judge calls, money, disk.

    Judges across a network that were never asked get a forecast of calls and money, an upper bound. What the last
    preflight found is shown, and whether it is stale; nothing is started and nobody is asked for either.

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

    params = params.absolute() if params else None
    root, console = _root(), _console()
    place = _place(root, settings, params, console)
    read_settings(place)  # params that align would refuse have no plan
    graph = open_graph(place, console)
    check_inputs(place, graph)
    remote, state = meet_others(graph, console), environment.state_dir(root)
    planned, told = with_forecast(place, make_plan(graph, Ledger(state / "ledger.jsonl"), remote))
    show_plan(graph, planned, cores or environment.usable_cores(), console, remote)
    running = [row.name for row in planned if row.action == "run"]
    for line in (*told, *(preflight.report(place, state, graph, running) if running else ())):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command()
def status():
    """Show which stages are current, at which version, why the others are not, which model serves, and what the last
    retraining came to.

    One line says whether every stage kept what it owes the next, or which one is the likely cause of what is wrong.
    """
    import os
    from functools import partial

    from flows.alignment.local import open_graph
    from flows.alignment.plan import show_status
    from flows.alignment.results import contracts_line
    from flows.history import registry
    from flows.schedule import decisions
    from flows.serving import questions
    from flows.settings import read_settings

    root, console = _root(), _console()
    uri, settings = os.environ["MLFLOW_TRACKING_URI"], read_settings(root)
    show_status(open_graph(root, console), console)
    kept = contracts_line(root)
    if kept:
        console.print(kept, markup=False, highlight=False)
    number = registry.champion_number(uri, settings.promote.model_name)
    console.print(f"champion: {registry.name_of(number)}")
    found = decisions.latest(uri, settings.tracking.experiment)
    for line in decisions.in_words(found, partial(questions.ending, root)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command()
def intake(
    inbox: Annotated[
        str | None,
        typer.Option("--inbox", metavar="s3://BUCKET/PREFIX", help="Look here instead of at intake.inbox."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would become of each object.")] = False,
):
    """Take new demonstrations, preferences and human verdicts from the S3 inbox into the data.

    Objects lie below demonstrations/, preferences/ or verdicts/ of the inbox, as .jsonl or .jsonl.gz (verdicts also as
    .csv). Every row is checked: bad ones are quarantined with line and reason, known ones are passed over, and what
    nearly repeats a prompt of select or gate stays out. The data goes to the DVC remote intake.remote; pointer and
    ledger are pushed to the branch plumb/data and to one run/… on top of the commit at hand. Killed, run it again:
    nothing is lost or doubled. Access keys and the endpoint come from the environment (AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL_S3).
    """
    from flows.cli.intake_table import show
    from flows.incoming import intake as taking

    root, console = _root(), _console()
    with console.status("starting") as status:
        found = taking.take_in(root, inbox, dry_run, step=lambda name: status.update(name))
    show(found, console)


@app.command()
def doctor():
    """Check this machine and the project, and say what to do about each finding.

    Looks at Python and package versions, disk, memory, GPU, params.yaml, PLUMB_STATE, the data, the DVC remotes and
    the servers; then at all that would end a run late: every row against template and lengths, the architecture against
    every method, judges' files and variables. Each judge across a network is asked one question. Exit code 1 when there
    is a problem.
    """
    from flows.cli import doctor as examiner

    findings = examiner.examine(_root())
    examiner.show(findings, _console())
    raise typer.Exit(int(any(finding.level == "problem" for finding in findings)))


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
    from flows.alignment import local
    from flows.alignment import seeds as seeding

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
    """Show reward hacking on purpose: judges that love length, praise or refusals, no KL penalty, no guards.

    The proxy rises and gold falls; the gate must reject each candidate and name its hack. Then once more with the guards
    on, which must stop PPO. Exit code 1 unless all of that happens.
    """
    from flows.alignment import hacking as hacked
    from flows.alignment import local

    root, console = _root(), _console()

    def run(name: str, changes: tuple[str, ...]) -> hacked.Hacked:
        place = _place(root, [*changes, *(settings or [])], None, console)
        if local.align(place, console, prefect) != 0:
            raise typer.Exit(1)
        return hacked.Hacked.read(name, place)

    with local.Prefect(root) as prefect:
        data = hacked.write_gushing_data(root)
        found = {hack.name: run(hack.name, hack.settings(guards=False, gushing_data=data)) for hack in hacked.HACKS}
        guarded = run(f"{hacked.GUARDED.name}, guards on", hacked.GUARDED.settings(guards=True))
    raise typer.Exit(hacked.report(found, guarded, console))


Resamples = Annotated[int, typer.Option(min=2, help="Bootstrap resamples of the prompts.")]
Confidence = Annotated[float, typer.Option(min=0.5, max=0.999, help="Of the intervals.")]
Seed = Annotated[int, typer.Option(help="Of the resamples.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the numbers as JSON instead of a table.")]


@app.command()
def ratings(
    file: Annotated[Path, typer.Argument(help="Battles: .jsonl[.gz], .json (a list), .csv, .tsv or .parquet.")],
    order: Annotated[bool, typer.Option(help="Fit the advantage of being shown first, where the table tells it.")] = True,
    style: Annotated[bool, typer.Option("--style", help="Control for length, headers, lists and bold.")] = False,
    elo: Annotated[bool, typer.Option("--elo", help="Also show Elo, and how far order alone moves it.")] = False,
    anchor: Annotated[str | None, typer.Option(help="The model whose strength is 0 (default: the mean is).")] = None,
    resamples: Resamples = 1000,
    confidence: Confidence = 0.95,
    seed: Seed = 0,
    as_json: AsJson = False,
):
    """Rate models from a table of battles: Bradley-Terry strengths with intervals over prompts.

    A row is a battle: first and second (or model_a and model_b) name the models, p_first (0 to 1) or winner (first,
    second, model_a, model_b, tie) the outcome, prompt_id or root the prompt. --style also needs the answers
    (first_response and second_response, response_a and response_b, or the Arena's conversations). A tie counts half;
    the advantage of being shown first is a parameter where the data can tell it.
    """
    import json

    from flows.cli.ratings import show_ratings
    from tasks.tools.ratings import Bootstrap, rate_file

    settings = Bootstrap(confidence, resamples, seed)
    document = rate_file(file, order=order, style=style, anchor=anchor, with_elo=elo, settings=settings)
    if as_json:
        print(json.dumps(document, indent=1))
    else:
        show_ratings(document, _console())


@app.command()
def winrate(
    file: Annotated[Path, typer.Argument(help="Judged answers, in a file of the same kinds.")],
    against: Annotated[str, typer.Option(help="The model to compare with.")],
    model: Annotated[list[str] | None, typer.Option(help="The model to rate; repeatable (default: all).")] = None,
    pool: Annotated[Path | None, typer.Option(help="Judged answers of many models (default: FILE, if it holds many).")] = None,
    resamples: Resamples = 1000,
    confidence: Confidence = 0.95,
    seed: Seed = 0,
    as_json: AsJson = False,
):
    """Win rates against one model: raw, length-controlled as in AlpacaEval 2, and length-adjusted, with intervals.

    The length-adjusted rate is ours: what length is worth is the judge's, as a pool of models shows it, or within limits.

    Rows are as in `plumb ratings`; both orders of a pair are averaged. Length control needs the answers, or their
    lengths as first_length and second_length.
    """
    import json

    from flows.cli.ratings import show_win_rates
    from tasks.tools.ratings import Bootstrap, win_rates_of_file

    settings = Bootstrap(confidence, resamples, seed)
    documents = win_rates_of_file(file, against, model or (), pool=pool, settings=settings)
    if as_json:
        print(json.dumps(documents, indent=1))
    else:
        show_win_rates(documents, _console())


@app.command()
def inspect(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Answers: .jsonl[.gz], .json (a list), .csv, .tsv or .parquet.")
    ],
    against: Annotated[
        Path | None, typer.Option("--against", metavar="FILE", help="Answers of a second model to compare with.")
    ] = None,
    model_column: Annotated[str | None, typer.Option(help="Column that says which model answered.")] = None,
    reference: Annotated[str | None, typer.Option(help="Model of --model-column to hold the others against.")] = None,
    prompt_column: Annotated[str | None, typer.Option(help="Column of prompts, if not one of the usual names.")] = None,
    response_column: Annotated[str | None, typer.Option(help="Column of responses, likewise.")] = None,
    score_column: Annotated[str | None, typer.Option(help="Column of the reward, likewise.")] = None,
    keep_empty: Annotated[bool, typer.Option("--keep-empty", help="Count empty responses as broken answers.")] = False,
    params: ParamsFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
):
    """Look for hacks and collapse in any table of prompts and responses: praise, padding, over-caution, loops, one
    answer for everything, truncation, little diversity, a reward that loves length.

    On its own a table is held against absolute limits; with --against, or --reference, against a second model. Columns
    are `prompt` and `response`, or `messages`; `reward`, `gold`, `finished` and `harmful` are used where they are.
    The limits stand in params.yaml under monitors.limits. Exit code 0 whatever is found, 1 for a table that cannot be
    read.
    """
    import json

    from flows.cli import inspection

    if reference is not None and model_column is None:
        raise ValueError("--reference names a model of --model-column; give that, too, or a second table by --against")
    columns = {"prompt": prompt_column, "response": response_column, "score": score_column, "model": model_column}
    found = document_of(
        "inspection.inspect", file=file, against=against, columns=columns, reference=reference,
        params=inspection.params_file(params), keep_empty=keep_empty,
    )  # fmt: skip
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        inspection.show(found, _console())


judge_check.add_to(app)
label_pairs.add_to(app)
service_commands.add_to(app)
server_commands.add_to(app)


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"--seeds {text}: write whole numbers separated by commas, for example 0,1,2")
    numbers = [int(part) for part in parts]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"--seeds {text}: a seed stands there twice; name each once, a repeated one tells nothing new")
    return numbers


def main() -> None:
    """The entry point: what the user can put right is a line (of several, each) and exit code 1, never a traceback."""
    import sys

    try:
        app()
    except Exception as error:
        # MLflow's errors are known by their module: importing it to name them costs seconds.
        if not isinstance(error, ValueError | OSError) and not type(error).__module__.startswith("mlflow."):
            raise
        from flows.hosting import login
        from flows.redact import redact
        from tasks.common.errors import ManyErrors

        said = str(error) if isinstance(error, ManyErrors) else " ".join(str(error).split())
        text = login.mlflow_advice() if login.refused_by_mlflow(error) else said
        print(f"plumb: {redact(text)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("plumb: stopped; finished stages are kept, the next plumb align goes on from there", file=sys.stderr)
        sys.exit(130)
