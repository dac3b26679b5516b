"""Exporting a model to ONNX: a graph from noisy to enhanced segments, with the config in its metadata."""

import dataclasses
import io
import json
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from segan_cli.atomic import write_whole
from segan_cli.backends.onnx import OnnxNetwork
from segan_cli.backends.pytorch import TorchNetwork
from segan_cli.config.modelfile import FORMAT
from segan_cli.errors import ConfigError
from segan_cli.networks.checkpoint import Model

OPSET = 17
PARITY, HALF_PARITY = 1e-4, 1e-2  # largest difference from torch; full scale is 1
MIN_HALF_SIZE = 1_024  # elements of a constant from which --half stores it as float16


def export(model: Model, path: Path, half: bool = False) -> float:
    """Write a model as ONNX and return the largest difference of its output from torch; full scale is 1.

    The inputs are `noisy` [n, 1, T] and, for models with a latent, `z` [n, C, T']; the output is `enhanced` [n, 1, T].
    `half` stores large weights as float16 and computes in float32. Raises ConfigError when the
    difference is more than 1e-4, with `half` 1e-2; an existing file then stays.
    """
    import onnx

    config = model.config
    rng = np.random.default_rng(0)
    noisy = (0.1 * rng.standard_normal((3, 1, config.segment_length))).astype(np.float32)
    z = config.generator.draw_latent(rng, len(noisy), config.segment_length)
    inputs = {"noisy": noisy} if z is None else {"noisy": noisy, "z": z}
    names = [*inputs, "enhanced"]
    content: Any = io.BytesIO()
    with model.generator.exportable(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter; the output is compared below
        torch.onnx.export(
            model.generator, (torch.from_numpy(noisy), None if z is None else torch.from_numpy(z)), content,
            input_names=names[:-1], output_names=["enhanced"], opset_version=OPSET, dynamo=False,
            dynamic_axes={name: {0: "n"} for name in names},
        )  # fmt: skip
    proto = onnx.load_from_string(content.getvalue())
    if half:
        _store_half(proto)
    about = {"format": FORMAT, "config": dataclasses.asdict(config), "provenance": model.provenance}
    onnx.helper.set_model_props(proto, {"segan": json.dumps(about)})
    onnx.checker.check_model(proto)
    written = proto.SerializeToString()
    with TemporaryDirectory() as folder:
        trial = Path(folder, path.name)
        trial.write_bytes(written)
        difference = float(
            np.abs(OnnxNetwork(trial, trusted=True)(noisy, z) - TorchNetwork(model, "cpu")(noisy, z)).max()
        )
    if not difference <= (HALF_PARITY if half else PARITY):  # also when it is NaN
        raise ConfigError(f"{path}: cannot be exported: the output would differ from torch by {difference:.1e}")
    write_whole(path, written)
    return difference


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
