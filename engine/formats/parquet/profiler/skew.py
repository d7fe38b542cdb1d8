"""Figures of inequality: pure, from any sizes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from engine.formats.parquet.profiler.model import Skew


def skew_of(sizes: Iterable[int] | npt.NDArray[np.int64]) -> Skew | None:
    """Return how unequal sizes are; None if there are none."""
    values = np.sort(np.asarray(sizes if isinstance(sizes, np.ndarray) else list(sizes), np.int64))
    if not len(values):
        return None
    total, median, mean = int(values.sum()), float(np.median(values)), float(values.mean())
    ranks = np.arange(1, len(values) + 1)
    gini = float(
        ((2 * ranks - len(values) - 1) @ values.astype(float)) / (len(values) * (total or 1))
    )
    return Skew(
        count=len(values),
        total=total,
        smallest=int(values[0]),
        median=median,
        mean=mean,
        largest=int(values[-1]),
        max_over_median=float(values[-1]) / median if median else None,
        gini=gini,
        coefficient_of_variation=float(values.std()) / mean if mean else 0.0,
        top_share=int(values[-1]) / total if total else 0.0,
    )


def lorenz(sizes: Iterable[int]) -> tuple[list[float], list[float]]:
    """Return the Lorenz curve: shares of the items, smallest first, and of the bytes they hold."""
    values = np.sort(np.asarray(list(sizes), float))
    sums = np.concatenate(([0.0], np.cumsum(values)))
    shares = sums / (sums[-1] or 1.0)
    return np.linspace(0, 1, len(sums)).tolist(), shares.tolist()
