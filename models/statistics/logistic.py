"""Logistic regression with soft outcomes for many sets of weights at once: one Newton iteration moves them all."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import expit

MAX_ITERATIONS = 60
LARGEST_STEP = 2.0  # log-odds; full Newton steps from far away overshoot
NEAR = 0.1  # log-odds; after a step this small the information matrix is kept: steps shrink at least tenfold with it
CONVERGED = 1e-6  # log-odds, the last step's size; what remains is a tenth of it at most
OUT_OF_REACH = 40.0  # log-odds; what grows beyond has no finite maximum
RIDGE = 1e-10  # keeps a weight that nothing depends on where it was


@dataclass(frozen=True)
class Fit:
    """`parameters`: (parameters, sets). `finite`: (sets,), False where the likelihood has no finite maximum."""

    parameters: np.ndarray
    finite: np.ndarray


class Design:
    """A sparse matrix of covariates (rows, parameters), with what the information matrix needs of it."""

    def __init__(self, rows: sparse.csr_array) -> None:
        self.rows = sparse.csr_array(rows)
        self.transposed = sparse.csr_array(self.rows.T)
        self._products = _row_products(self.rows)

    def information(self, variances: np.ndarray) -> np.ndarray:
        """X' diag(v) X for each column v of `variances` (rows, sets): (sets, parameters, parameters)."""
        size = self.rows.shape[1]
        upper = (self._products @ variances).T.reshape(-1, size, size)
        return upper + np.triu(upper, 1).swapaxes(1, 2)


def fit(
    design: Design, counts: np.ndarray, wins: np.ndarray, start: np.ndarray,
    prior: tuple[np.ndarray, np.ndarray] | None = None,
) -> Fit:  # fmt: skip
    """Maximise sum_rows wins * x'b - counts * log(1 + exp(x'b)) over b, for every set of counts and wins.

    Args:
        counts, wins: (rows, sets), how many trials a row stands for and the (possibly fractional) successes in them.
        start: (parameters,), the same for all sets.
        prior: (means, precisions), (parameters,) each, of normal distributions that b is held to; None: of none.
    """
    sets = counts.shape[1]
    parameters = np.repeat(start[:, None], sets, axis=1)
    finite, active = np.zeros(sets, dtype=bool), np.arange(sets)
    inverse, near = None, False
    for _ in range(MAX_ITERATIONS):
        gradient, information = _derivatives(design, counts, wins, parameters[:, active], not near)
        if prior is not None:
            gradient += prior[1][:, None] * (prior[0][:, None] - parameters[:, active])
            if information is not None:
                information += np.diag(prior[1])
        inverse = inverse if information is None else np.linalg.inv(information)
        step = np.clip(np.einsum("sab,bs->as", inverse, gradient), -LARGEST_STEP, LARGEST_STEP)
        parameters[:, active] += step
        done = np.abs(step).max(axis=0) < CONVERGED
        finite[active[done]] = True
        going = ~done & (np.abs(parameters[:, active]).max(axis=0) < OUT_OF_REACH)
        if not going.any():
            break
        near = np.abs(step[:, going]).max() < NEAR
        if not going.all():
            active, counts, wins, inverse = active[going], counts[:, going], wins[:, going], inverse[going]
    return Fit(parameters, finite)


def _derivatives(
    design: Design, counts: np.ndarray, wins: np.ndarray, parameters: np.ndarray, second: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Gradient (parameters, sets) and, where `second`, information matrices (sets, parameters, parameters)."""
    expected = expit(design.rows @ parameters)
    gradient = design.transposed @ (wins - counts * expected)
    if not second:
        return gradient, None
    information = design.information(counts * expected * (1 - expected))
    diagonal = np.arange(len(parameters))
    information[:, diagonal, diagonal] += RIDGE
    return gradient, information


def _row_products(rows: sparse.csr_array) -> sparse.csr_array:
    """(parameters * parameters, rows): products of a row's covariates, at their place in the upper triangle."""
    entries, size = rows.tocoo(), rows.shape[1]
    shape = (entries.nnz, rows.shape[0])
    of_row = sparse.csr_array((np.ones(entries.nnz), (np.arange(entries.nnz), entries.row)), shape)
    left, right = (of_row @ of_row.T).nonzero()
    left, right = (side[entries.col[left] <= entries.col[right]] for side in (left, right))
    places = entries.col[left].astype(np.int64) * size + entries.col[right]
    products = entries.data[left] * entries.data[right]
    return sparse.csr_array((products, (places, entries.row[left])), shape=(size * size, rows.shape[0]))
