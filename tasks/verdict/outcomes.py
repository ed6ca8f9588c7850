"""The gate's outcomes in words: one line for a person to each test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PASS, FAIL, THIN = "pass", "fail", "underpowered"


def reason(name: str, test: Mapping[str, Any]) -> str:
    """What was measured, against which bound, and what would settle it."""
    if name in ("monitors", "contracts"):
        return f"{name}: {_monitors(test) if name == 'monitors' else _contracts(test)}"
    if "notes" in test:
        return f"{name}: {'; '.join(test['notes'])}: cannot tell"
    if not test.get("measured", True):
        remedy = f"mark prompts with harmful, take a gold that has the axis, or set gate.guards.{name} to null"
        return f"{name}: not measured, as these prompts or this gold cannot show it: cannot tell; {remedy}"
    measured = f"{name}: {_measured(test)}{test['prompts']} prompts of {test['roots']} roots"
    if test["prompts"] < test["minimum_prompts"] or test["roots"] < test["minimum_roots"]:
        return f"{measured}, at least {test['minimum_prompts']} of {test['minimum_roots']} needed: cannot tell"
    rule = "0.5" if "win_rate" in test else f"-{test['margin']:g}"
    enough = f"cannot tell; about {test['prompts_needed']} prompts would suffice"
    judged = {PASS: "passed", FAIL: "failed", THIN: enough}
    return f"{measured}; the lower end must be above {rule}: {judged[test['outcome']]}"


def _measured(test: Mapping[str, Any]) -> str:
    """The estimate with its interval; nothing where too few prompts gave none."""
    if "win_rate" in test:
        return f"win rate {test['win_rate']:.3f} (interval {test['ci_low']:.3f} to {test['ci_high']:.3f}) on "
    if "difference" in test:
        return f"difference {test['difference']:+.3f} (interval {test['ci_low']:+.3f} to {test['ci_high']:+.3f}) on "
    return ""


def _contracts(test: Mapping[str, Any]) -> str:
    if test["broken"]:
        broken = "; ".join(f"{one['name']}: {one['sentence']}" for one in test["broken"])
        keys = ", ".join(one["key"] for one in test["broken"])
        return f"broken: {broken}: cannot tell on such ground; mend it, or name it in contracts.waived: {keys}"
    notes = [f"not asked, as params contracts.waived names them: {', '.join(test['waived'])}"] if test["waived"] else []
    notes += [f"could not be told: {', '.join(test['untold'])}"] if test["untold"] else []
    return "; ".join([f"{test['kept']} kept", *notes]) + ": passed"


def _monitors(test: Mapping[str, Any]) -> str:
    if not test["measured"]:
        return "not measured"
    if not test["vetoes"]:
        return "none is above its veto: passed"
    vetoes = "; ".join(f"{veto['name']} ({veto['sentence']})" for veto in test["vetoes"])
    return f"above the veto: {vetoes}: failed"
