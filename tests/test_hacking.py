"""What `plumb hacking` must see, and that it says so when it does not."""

import io

from rich.console import Console

from flows import workspace
from flows.hacking import HACKED, WITHOUT_GUARDS, Hacked, broken_promises, report
from tests.import_closure import ROOT


def run(name, proxy, low, high, reason):
    models = {model: {"proxy": value, "gold": {"mean": 0.7}, "kl": 0.0, "length": 20.0}
              for model, value in (("sft", 0.0), ("ppo", proxy))}
    checkpoints = [{"model": "ppo", "checkpoint": "final", "proxy": proxy, "gold": 0.4, "kl": 20.0, "length": 60.0}]
    versus = {"ppo": {"difference": (low + high) / 2, "ci_low": low, "ci_high": high}}
    return Hacked(name, {"models": models, "versus_sft": versus, "checkpoints": checkpoints},
                  {"reason": reason, "steps_done": 9, "steps_asked": 12})


def test_settings_fit_the_shipped_params():
    workspace.params_text(ROOT, None, workspace.parse_settings([*HACKED, *WITHOUT_GUARDS]))


def test_hacked_and_seen():
    off, on = run("off", 2.0, -0.4, -0.3, None), run("on", 1.0, -0.2, -0.1, "kl: 15 nats")
    assert broken_promises(off, on) == []
    console = Console(file=io.StringIO(), width=200)
    assert report(off, on, console) == 0
    assert "kl: 15 nats; 9 of 12 rollouts" in console.file.getvalue()


def test_what_did_not_happen_is_named():
    broken = broken_promises(run("off", -0.1, -0.2, 0.1, None), run("on", 1.0, -0.2, -0.1, None))
    assert [line.split(":")[0] for line in broken] == ["guards off", "guards off", "guards on"]
    assert report(run("off", 2.0, -0.2, 0.1, None), run("on", 1.0, 0, 0, "x"), Console(file=io.StringIO())) == 1
