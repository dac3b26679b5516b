"""Some damaged models a run; tests/fuzz_models.py tries more."""

from collections import Counter
from random import Random

import fuzz_models

from segan_cli.backends import onnx as onnx_backend


def test_damaged_models_are_run_or_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_backend, "TEST_TIMEOUT_S", 20)
    rng, outcomes, whole = Random(1), Counter(), list(fuzz_models.corpus(tmp_path))
    for _ in range(25):
        ending, content = rng.choice(whole)
        outcomes[fuzz_models.attempt(ending, fuzz_models.damaged(ending, content, rng), tmp_path)] += 1
    assert set(outcomes) == {"run", "refused"}
    assert outcomes["refused"] > 12
