"""Ten anchors in a file, and judges that are asked them."""

from __future__ import annotations

import json

from tasks.common.rows import write_jsonl
from tasks.config.service import AnchorsConfig
from tasks.judging import anchors
from tasks.runner.params import stage_config
from tests.support.evaluation_rows import project_params

PAIRS = 10


def rows(count=PAIRS):
    """The longer is a."""
    return [{"prompt": f"Question {i}?", "a": f"a long answer {i}", "b": f"short {i}"} for i in range(count)]


def params(tmp_path, *judges, asking=(), **changes):
    """The shipped params with these judges and ten anchors in a file."""
    write_jsonl(tmp_path / "anchors.jsonl", rows())
    document = json.loads(json.dumps(project_params()))
    document["compare"]["judges"] = list(judges)
    document["compare"]["asking"] |= {"first_wait_seconds": 0.01, "longest_wait_seconds": 0.05, **dict(asking)}
    document["anchors"] |= {"file": str(tmp_path / "anchors.jsonl"), "minimum_pairs": PAIRS, **changes}
    return document


def ask(tmp_path, *judges, **changes):
    document = params(tmp_path, *judges, **changes)
    cfg = AnchorsConfig.model_validate(document["anchors"])
    return anchors.ask_anchors(cfg, stage_config(document, "compare"), tmp_path / "state")
