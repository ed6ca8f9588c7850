"""What judges across a network may cost that were never asked, for `plumb plan`. Nobody is asked for it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flows.alignment.plan import Planned
from flows.alignment.preflight import across_a_network
from flows.costs.budget import as_money
from tasks.artifacts.champion import is_there
from tasks.judging.costs import Forecast, forecast, of_anchors
from tasks.prepare import survey
from tasks.runner.params import read_params, stage_config

JUDGING = ("compare", "judge", "evaluate", "gate")
JUDGE_PARAM = ".judge"  # in the reason why a stage would run


def with_forecast(root: Path, planned: list[Planned]) -> tuple[list[Planned], list[str]]:
    """The plan with a forecast for the stages whose judges their last run did not ask, and what is to be said of it."""
    names = {row.name for row in planned if row.action == "run" and row.name in JUDGING and _asks_others(row)}
    if not names or not (root / "tasks").is_dir():
        return planned, []
    if not across_a_network(root) & {"compare", "gold"}:
        return planned, []
    params = read_params(root / "params.yaml")
    data = stage_config(params, "prepare").data
    read = survey(data, Path(data.path), model=None)  # no template is asked: it would take torch
    if not read.files:
        return planned, [f"No forecast of judges' calls: {read.findings[0]}"]
    costs = forecast(params, read.files, is_there(root / "data" / "champion"))
    costs = {name: cost for name, cost in costs.items() if name in names}
    return [replace(row, judged=costs.get(row.name)) for row in planned], _in_words(costs, params)


def _asks_others(row: Planned) -> bool:
    """Whether the judges that a stage would ask are not those of its last run here, if there was one."""
    return row.cost is None or not row.cost.calls or any(JUDGE_PARAM in reason for reason in row.reasons)


def _in_words(costs: Mapping[str, Forecast], params: Mapping[str, Any]) -> list[str]:
    if not costs:
        return []
    total = sum(costs.values(), Forecast())
    parts = ", ".join(f"{name} {one.calls:,} for {as_money(one.cost)}" for name, one in costs.items())
    lines = [
        f"Forecast: judges across a network are asked at most {total.calls:,} times for {as_money(total.cost)} "
        f"({parts}): "
        "an upper bound by prompts, pairs, orders and prices, for answers and replies of full length; retries come on "
        "top."
    ]
    try:
        anchors = of_anchors(params)
    except ValueError:
        return lines  # of anchors that cannot be read the preflight tells
    if anchors.calls:
        more = f"{anchors.calls:,} more for {as_money(anchors.cost)}"
        lines.append(f"plumb retrain, and plumb align --anchors, ask {more} each time.")
    return lines
