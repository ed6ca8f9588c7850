"""Battles of two models as pairs of answers: one entry per prompt and pair, whatever the order it was judged in."""

from dataclasses import dataclass

import numpy as np

from models.ratings.battles import Battles

SHORTEST_RATIO = 0.1  # below a tenth of the other's length an answer is not the same answer said shorter


@dataclass(frozen=True, eq=False)
class Pairs:
    """One entry per prompt and pair of answers. `preference`: (pairs,), the mean over orders and judges, for the model.

    `prompt`: (pairs,) places in the battles' prompts. `root`: (pairs,) numbers from 0. `gap`: (pairs,) the model's
    length minus the other's, nan where unknown; `too_short`: (pairs,) whether the model's answer is under a tenth as
    long as the other's. `both_orders`: (pairs,) whether each of the two was shown first at least once. `again`: how
    many were judged more than once in one order.
    """

    preference: np.ndarray
    prompt: np.ndarray
    root: np.ndarray
    gap: np.ndarray
    too_short: np.ndarray
    both_orders: np.ndarray
    again: int

    @property
    def roots(self) -> int:
        return int(self.root.max()) + 1

    @property
    def notes(self) -> list[str]:
        """What limits them, one line each."""
        notes, count = [], len(self.root)
        if one := int((~self.both_orders).sum()):
            notes.append(
                f"{one} of {count} pairs were judged in one order only: any love of a position stays in the rates"
            )
        if self.again:
            notes.append(
                f"{self.again} of {count} pairs were judged several times: the mean counts once here, each of them in "
                "plumb ratings"
            )
        if self.roots < 2:
            notes.append("all pairs belong to one prompt (or root): no intervals, which are over prompts")
        return notes


def pairs_of(battles: Battles, model: str, against: str) -> Pairs:
    """The pairs of the two models. Raises ValueError without any."""
    for name in (model, against):
        if name not in battles.models:
            raise ValueError(f"{name!r} has no battles; the table has {', '.join(battles.models)}")
    ours, theirs = battles.models.index(model), battles.models.index(against)
    ahead = (battles.first == ours) & (battles.second == theirs)
    chosen = np.flatnonzero(ahead | (battles.second == ours) & (battles.first == theirs))
    if len(chosen) == 0:
        raise ValueError(f"no battle of {model!r} against {against!r}; win rates need both on the same prompts")
    shown_first = ahead[chosen]
    preference = np.where(shown_first, battles.p_first[chosen], 1 - battles.p_first[chosen])
    lengths, texts = (
        np.where(shown_first[:, None], of[chosen], of[chosen][:, ::-1]) for of in (battles.lengths, battles.texts)
    )
    # The same two answers, asked in another order or again: known by their texts, or else by their lengths.
    unknown = (texts < 0).any(axis=1)
    answers = np.where(unknown[:, None], np.nan_to_num(lengths, nan=-1.0), texts)
    keys = np.column_stack([battles.prompt[chosen], unknown, answers])
    _, kept, pair = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    pair = pair.ravel()
    times = np.bincount(pair)
    own, other = lengths[kept].T
    ahead_share = np.bincount(pair, shown_first) / times
    return Pairs(
        preference=np.bincount(pair, preference) / times,
        prompt=battles.prompt[chosen][kept],
        root=np.unique(battles.root[chosen][kept], return_inverse=True)[1],
        gap=own - other,
        too_short=own < SHORTEST_RATIO * other,
        both_orders=(ahead_share > 0) & (ahead_share < 1),
        again=int((np.maximum(ahead_share, 1 - ahead_share) * times > 1.5).sum()),
    )
