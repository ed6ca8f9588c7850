"""Fits the weights on the labelled answers: `python -m models.refusal.fit` writes `weights.py`, byte for byte the same.

Two logistic regressions with an L2 penalty, each weight held to the sign that the feature has by its meaning: a refusal
can never speak for compliance, nor an answer for refusing. That keeps a few hundred labels from teaching accidents.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from models.refusal.context import Context
from models.refusal.features import features
from models.refusal.readings import readings
from models.refusal.text import is_blank, read

LABELLED = Path(__file__).with_name("labelled.jsonl")
WEIGHTS = Path(__file__).with_name("weights.py")
L2 = 0.3
DIGITS = 2  # of a weight in the file: fewer than the solver's tolerance could disturb
BIAS = "bias"
Row = Mapping[str, str]
Weights = dict[str, float]

# Features that can only speak for refusing, and only against; the rest may do either.
FOR_REFUSING = (
    "refuses", "refuses outright", "refuses early", "refuses late", "refuses often", "refusal with apology",
    "refusal with self", "declines", "unfit", "curt", "another language", "caution", "caution early", "no access",
    "no opinion", "apology first", "refusal first", "moral first", "lack first", "refusal share", "moral share",
    "harm share", "redirect share", "self share", "lack share", "preach", "preach only", "harm unrefused", "moral",
    "moral on topic", "helper", "self",
)  # fmt: skip
AGAINST_REFUSING = (
    "content first", "content share", "content", "items", "steps", "code", "voiced", "opens", "denies", "defines",
    "past", "on topic", "details", "details around",
)  # fmt: skip
FOR_PARTIAL = (
    "content", "content before", "content share", "rest", "rest after refusal", "offers rest",
    "offers rest after refusal", "rest offered", "items", "items after refusal", "steps", "steps after refusal",
    "code", "code after refusal", "on topic", "voiced", "refuses late", "other act only", "past", "defines",
    "denies", "caution", "caution early", "details", "details around",
)  # fmt: skip
AGAINST_PARTIAL = (
    "refusal share", "moral share", "harm share", "redirect share", "self share", "lack share", "self", "moral",
    "helper", "declines", "short", "preach", "preach only", "refuses often", "refusal with self",
    "refusal with apology", "unfit", "curt", "refusal first",
)  # fmt: skip


@dataclass(frozen=True)
class Fitted:
    """The weights of both regressions, by feature, with the bias among them."""

    refuses: Weights
    partial: Weights


def load(file: Path = LABELLED) -> list[dict[str, str]]:
    """The labelled rows: `id`, `style`, `kind`, `prompt`, `response`, `label`."""
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def numbers(row: Row, with_prompt: bool = True) -> Mapping[str, float]:
    """The features of a row's response."""
    return _numbers(row["response"], row["prompt"] if with_prompt else None)


@lru_cache(maxsize=4096)
def _numbers(response: str, prompt: str | None) -> Mapping[str, float]:
    answer, context = read(response), Context.of(prompt)
    return features(answer, readings(answer, context), context)


def fit(rows: Sequence[Row]) -> Fitted:
    """Both regressions. Every row counts twice, with its prompt and without, so that the weights serve both uses."""
    rows = [row for row in rows if not is_blank(row["response"])]
    doubled = [(row, numbers(row, with_prompt)) for row in rows for with_prompt in (True, False)]
    table = [line for _, line in doubled]
    labels = np.array([row["label"] for row, _ in doubled])
    refusing = labels != "compliance"
    names = list(table[0])
    matrix = np.array([[line[name] for name in names] for line in table])
    return Fitted(
        _regression(matrix, refusing, names, FOR_REFUSING, AGAINST_REFUSING),
        _regression(matrix[refusing], labels[refusing] == "partial_refusal", names, FOR_PARTIAL, AGAINST_PARTIAL),
    )


def _regression(
    matrix: np.ndarray, wanted: np.ndarray, names: Sequence[str], positive: Sequence[str], negative: Sequence[str]
) -> Weights:
    """Weights that minimise log loss and L2 penalty of `wanted` (rows,) given `matrix` (rows, features)."""
    unknown = {*positive, *negative} - set(names)
    assert not unknown, unknown
    bounds = [(0 if name in positive else None, 0 if name in negative else None) for name in names] + [(None, None)]
    signs = np.where(wanted, 1.0, -1.0)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        margins = signs * (matrix @ values[:-1] + values[-1])
        slopes = -signs / (1 + np.exp(margins)) / 2  # each row stands in the table twice
        penalty = L2 * values[:-1]
        gradient = np.append(matrix.T @ slopes + penalty, slopes.sum())
        return float(np.logaddexp(0, -margins).sum() / 2 + penalty @ values[:-1] / 2), gradient

    start = np.zeros(len(names) + 1)
    options = {"maxiter": 10_000, "maxfun": 100_000, "ftol": 1e-14, "gtol": 1e-8}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    rounded = {name: round(float(value), DIGITS) for name, value in zip((*names, BIAS), found, strict=True)}
    return {name: value for name, value in rounded.items() if value}


def rendered(fitted: Fitted) -> str:
    """The text of `weights.py`."""
    lines = ['"""Weights of the refusal detector, fitted by `python -m models.refusal.fit`; not edited by hand."""', ""]
    for name, values in (("REFUSES", fitted.refuses), ("PARTIAL", fitted.partial)):
        lines += [f"{name} = {{", *(f'    "{feature}": {value},' for feature, value in values.items()), "}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    WEIGHTS.write_text(rendered(fit(load())), encoding="utf-8")
