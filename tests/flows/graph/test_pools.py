"""How the graph is divided among the work pools."""

import pytest
import yaml

from flows.graph import pools
from flows.graph.pools import Segment
from flows.graph.stages import Graph, Stage
from tasks.config.service import FlowConfig
from tests.import_closure import ROOT


def graph(**stages):
    """Stages by name as (pool, upstream)."""
    return {
        name: Stage(name, "true", tuple(upstream.split()), (), (), {"pool": pool} if pool else {})
        for name, (pool, upstream) in stages.items()
    }


def test_consecutive_stages_of_a_pool_are_one_segment():
    made = graph(prepare=("cpu", ""), sft=("gpu", "prepare"), sample=("gpu", "sft"), judge=("cpu", "sample"))
    assert pools.segments(made) == [
        Segment("cpu", ("prepare",)), Segment("gpu", ("sft", "sample")), Segment("cpu", ("judge",)),
    ]  # fmt: skip


def test_stages_of_the_pool_at_hand_go_before_a_change():
    """b waits in the graph's order between a and c, but a change of pool costs a handover."""
    made = graph(a=("cpu", ""), b=("gpu", "a"), c=("cpu", "a"), d=("gpu", "b c"))
    assert pools.segments(made) == [Segment("cpu", ("a", "c")), Segment("gpu", ("b", "d"))]


def test_a_stage_that_names_no_pool_is_the_cpu_s():
    assert pools.segments(graph(a=("", ""))) == [Segment("cpu", ("a",))]


def test_what_a_stage_follows_from_comes_along_in_the_graph_s_order():
    made = graph(a=("cpu", ""), b=("cpu", "a"), c=("cpu", ""), d=("cpu", "b"))
    assert pools.with_upstream(made, ("d",)) == ["a", "b", "d"]
    assert pools.with_upstream(made, ("c", "b")) == ["a", "b", "c"]


def test_the_project_s_own_graph():
    """Every stage once, nothing before what it reads, and few handovers."""
    stages = Graph(ROOT).stages
    found = pools.segments(stages)
    order = [name for segment in found for name in segment.stages]
    assert sorted(order) == sorted(stages)
    for number, name in enumerate(order):
        assert set(stages[name].upstream) <= set(order[:number]), name
    assert all(here.pool != after.pool for here, after in zip(found, found[1:], strict=False))
    assert len(found) <= 8


def test_deployments_by_pool_and_a_pool_without_one():
    found = [Segment("cpu", ("a",)), Segment("gpu", ("b",))]
    assert pools.deployments(found, {"cpu": "stages/cpu", "gpu": "stages/gpu"}) == [
        ("stages/cpu", found[0]), ("stages/gpu", found[1]),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="flow.pools in params.yaml names no deployment for pool 'gpu' of dvc.yaml"):
        pools.deployments(found, {"cpu": "stages/cpu"})


def test_pools_are_deployments():
    nothing = dict.fromkeys(("seconds", "gpu_seconds", "calls", "cost"))
    flow = {"stage_timeout_minutes": 1.0, "retries": 0, "retry_delay_seconds": 0.0, "budget": nothing}
    assert FlowConfig(**flow, pools=None).pools is None
    with pytest.raises(ValueError, match="pools.gpu"):
        FlowConfig(**flow, pools={"gpu": "stages"})


def test_the_deployments_of_the_repository():
    """One retraining at a time, the others queue; no secret, no path; a deployment for every pool of dvc.yaml."""
    document = yaml.safe_load((ROOT / "infra" / "prefect.yaml").read_text())
    deployed = {one["name"]: one for one in document["deployments"]}
    assert deployed["retrain"]["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    assert [schedule["cron"] for schedule in deployed["retrain"]["schedules"]] == ["0 3 * * *"]
    (step,) = document["pull"]
    assert step == {"prefect.deployments.steps.set_working_directory": {"directory": "{{ $PLUMB_PROJECT }}"}}
    assert {pools.pool_of(stage) for stage in Graph(ROOT).stages.values()} <= deployed.keys()
    assert {one["entrypoint"] for one in deployed.values()} == {
        "flows.retrain.retrain", "flows.promote.promote", "flows.stage_runs.stages",
    }  # fmt: skip
