"""Measures of a ranking. `ranked` are the found things, best first; `grades` says how relevant things are, 1 or more; all others are not.

A thing that comes twice counts once, at its first place; its later places are places that help nobody.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")
Grades = Mapping[T, int]


def recall(ranked: Sequence[T], grades: Grades[T], most: int) -> float:
    """The share of relevant things among the first `most` (recall at k). 1 if nothing is relevant: nothing was missed."""
    relevant = {thing for thing, grade in grades.items() if grade > 0}
    return len(relevant & set(ranked[:most])) / len(relevant) if relevant else 1.0


def reciprocal_rank(ranked: Sequence[T], grades: Grades[T]) -> float:
    """One divided by the place of the first relevant thing, 0 without one; its mean over questions is the MRR (Voorhees, TREC-8, 1999)."""
    return next((1 / place for place, thing in enumerate(ranked, start=1) if grades.get(thing, 0) > 0), 0.0)


def dcg(gains: Sequence[int]) -> float:
    """Discounted cumulated gain: the sum of gain / log2(place + 1).

    Jaervelin and Kekaelaeinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20(4), 2002, with the discount that trec_eval
    and so BEIR use, which does not spare the second place: published figures can be compared.
    """
    return sum(gain / math.log2(place + 1) for place, gain in enumerate(gains, start=1))


def ndcg(ranked: Sequence[T], grades: Grades[T], most: int) -> float:
    """DCG of the first `most`, divided by that of the best possible ranking (nDCG at k). 1 if nothing is relevant."""
    seen: set[T] = set()
    gains = []
    for thing in ranked[:most]:
        gains.append(0 if thing in seen else max(0, grades.get(thing, 0)))
        seen.add(thing)
    best = dcg(sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:most])
    return dcg(gains) / best if best else 1.0


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` percent of all values do not exceed (nearest rank); 0 without values."""
    if not values:
        return 0.0
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def separation(answerable: Sequence[float], unanswerable: Sequence[float]) -> float:
    """The probability that the best score of an answerable question is above that of an unanswerable one; ties count half.

    The area under the ROC curve (Hanley and McNeil, Radiology 143, 1982): 0.5 is guessing, 1 means that a threshold tells them apart.
    """
    if not (answerable and unanswerable):
        return 1.0
    wins = sum((one > other) + 0.5 * (one == other) for one in answerable for other in unanswerable)
    return wins / (len(answerable) * len(unanswerable))


def mean(values: Sequence[float]) -> float:
    """The mean; 0 without values."""
    return math.fsum(values) / len(values) if values else 0.0
