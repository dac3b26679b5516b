"""Exporting a model to ONNX: a graph from noisy to enhanced segments, with the config in its metadata."""

import io
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segan_cli.backends.network import example_frames, example_segments, run_on_noise
from segan_cli.backends.onnx import OnnxNetwork
from segan_cli.backends.pytorch import TorchNetwork
from segan_cli.config.modelfile import format_metadata
from segan_cli.errors import CheckpointError
from segan_cli.networks.checkpoint import Model
from segan_cli.networks.families import Generator
from segan_cli.storage.atomic import write_whole

OPSET = 17
PARITY, HALF_PARITY = 1e-4, 1e-2  # largest difference from torch; full scale is 1
MIN_HALF_SIZE = 1_024  # elements of a constant from which --half stores it as float16


def export(model: Model, path: Path, half: bool = False) -> float:
    """Write a model as ONNX and return the largest difference of its output from torch; full scale is 1.

    The inputs are `noisy` [n, 1, T] and, for models with a latent, `z` [n, C, T']; the output is `enhanced` [n, 1, T].
    Causal models have the inputs `spectra` [n, 2, N, F] of N frames and `state` [n, S], and the outputs `mask`
    [n, 2, N, F] and `next_state` [n, S]. `half` stores large weights as float16 and computes in float32.

    Raises CheckpointError when the difference is more than 1e-4, with `half` 1e-2; an existing file is then left
    unchanged.
    """
    import onnx

    config = model.config
    causal = config.generator.state_size() > 0
    inputs = example_frames(config) if causal else example_segments(config)
    names = ("spectra", "state") if causal else ("noisy", "z")
    outputs = ("mask", "next_state") if causal else ("enhanced",)
    axes: dict[str, dict[int, str]] = {name: {0: "n"} for name in (*names, *outputs)}
    if causal:
        axes |= {name: {0: "n", 2: "N"} for name in ("spectra", "mask")}
    content: Any = io.BytesIO()
    with model.generator.exportable(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter; the output is compared below
        torch.onnx.export(
            FrameByFrame(model.generator) if causal else model.generator,
            tuple(None if values is None else torch.from_numpy(values) for values in inputs), content,
            input_names=[name for name, values in zip(names, inputs, strict=True) if values is not None],
            output_names=[*outputs], opset_version=OPSET, dynamo=False, dynamic_axes=axes,
        )  # fmt: skip
    proto = onnx.load_from_string(content.getvalue())
    if half:
        _store_half(proto)
    onnx.helper.set_model_props(proto, {"segan": format_metadata(config, model.provenance)})
    onnx.checker.check_model(proto)
    written = proto.SerializeToString()
    with TemporaryDirectory() as folder:
        trial = Path(folder, path.name)
        trial.write_bytes(written)
        outputs_on_noise = map(run_on_noise, (OnnxNetwork(trial, trusted=True), TorchNetwork(model, "cpu")))
        difference = float(np.abs(np.subtract(*outputs_on_noise)).max())
    if not difference <= (HALF_PARITY if half else PARITY):  # also when it is NaN
        raise CheckpointError(f"{path}: cannot be exported: the output would differ from torch by {difference:.1e}")
    write_whole(path, written)
    return difference


class FrameByFrame(nn.Module):
    """A causal generator, called by its `step`."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, spectra: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The mask and the next state."""
        return self.generator.step(spectra, state)


def _store_half(proto: Any) -> None:
    """Store large constants of an ONNX model as float16, cast to float32 before use."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for constant in proto.graph.initializer:
        values = numpy_helper.to_array(constant)
        if values.dtype == np.float32 and values.size >= MIN_HALF_SIZE:
            name = constant.name
            constant.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
