"""Measured quality of enhanced segments, the target of a metric discriminator."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segan_cli.measures.score import Undefined
from segan_cli.measures.standard import pesq_wb
from segan_cli.training.batch import Batch, deemphasise

Array = NDArray[np.float32]
QualityMetric = Callable[[Sequence[Array], Sequence[Array]], Tensor]  # clean and degraded waveforms [T] → quality [B]


def pesq_quality(pool: Executor) -> QualityMetric:
    """Wide-band PESQ, as (PESQ + 0.5) / 5 (arXiv 1905.04874), 0.31 … 1.03; NaN if undefined."""

    def quality(clean: Sequence[Array], degraded: Sequence[Array]) -> Tensor:
        scores = pool.map(pesq_wb, clean, degraded)
        return torch.tensor([math.nan if isinstance(score, Undefined) else (score + 0.5) / 5 for score in scores])

    return quality


def measure_quality(batch: Batch, enhanced: Tensor, metric: QualityMetric, pre_emphasis: float) -> Tensor:
    """Quality [2 B] of the de-emphasised enhanced and then of the noisy segments."""
    clean, ours, noisy = (
        [*deemphasise(segments, pre_emphasis)[:, 0].cpu().numpy()] for segments in (batch.clean, enhanced, batch.noisy)
    )
    return metric([*clean, *clean], [*ours, *noisy]).to(enhanced.device)
