"""Settings of judges across a network, and params files that hold them."""

from __future__ import annotations

import yaml

ENDPOINT = {
    "name": "remote", "kind": "openai", "model": "m", "revision": "", "epoch": 0, "weights": {"helpfulness": 1.0},
    "rates": True, "url_variable": "PLUMB_JUDGE_URL", "key_variable": None, "seed": 0, "max_tokens": None,
    "input_price": 1.0, "output_price": 2.0, "timeout_seconds": 10.0,
}
HOSTED = {**ENDPOINT, "weights": {"overall": 1.0}, "url_variable": "URL", "input_price": 0.0, "output_price": 0.0}
NO_LIMIT = {"max_prompts": None, "max_calls": None, "max_cost": None}
DROPPING = {"rank": 2, "alpha": 2.0, "dropout": 0.5, "targets": "all-linear"}


def written(tmp_path, params):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params))
    return path
