"""Two gloo processes with half a batch each give the gradients of one with the whole."""

import dataclasses
from multiprocessing import forkserver
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from commands import HEAVY, WARM
from corpora import pairs as make_pairs
from torch import distributed, multiprocessing

from segan_cli.backends.pytorch import choose_device
from segan_cli.config.presets import PRESETS, scaled
from segan_cli.config.recipe import load_recipe
from segan_cli.config.training import AdversarialConfig, DataConfig, MixingConfig, TrainingConfig
from segan_cli.data.cache import Cache
from segan_cli.data.loader import SamplingPlan, batches
from segan_cli.data.training_data import load_training_data
from segan_cli.errors import TrainingError
from segan_cli.training import run
from segan_cli.training.batch import prepare
from segan_cli.training.distributed import Processes, open_processes
from segan_cli.training.loop import sampling_plan
from segan_cli.training.state import TrainState
from segan_cli.training.step import train_step

GAMES = {
    "least squares": ({}, {}),
    "share of the gradient": ({"gradient_share": 0.5}, {}),
    "hinge with R1": ({"objective": "hinge", "r1_weight": 1.0}, {}),
    "two turns": ({"discriminator_steps": 2}, {}),
    "in slices": ({}, {"gradient_accumulation_steps": 2}),
    "spectral norm": ({"objective": "hinge"}, {"spectral_norm": True}),
    "no adversary": ({"weight": 0.0}, {}),
    "metric with replay": ({"objective": "metricgan", "replay_size": 4, "replay_share": 0.5}, {}),
    "spectra": ({}, {"perceptual": 1.0}),
}


def loudness_as_quality(clean, candidates):
    return torch.tensor([float(np.abs(side).mean()) for side in candidates])


def gradients(processes, folder):
    """Of both networks after one step of every game, by name."""
    source = load_training_data(
        DataConfig(speech=(str(folder / "pairs"),)), MixingConfig(), 0, Cache(folder / "cache", 16_000)
    ).training
    found = {}
    for name, (game, changes) in GAMES.items():
        preset = scaled(PRESETS["segan-spectral"], 0.2) if "perceptual" in changes else scaled(PRESETS["segan"], 0.03)
        model = dataclasses.replace(preset, segment_length=4096, hop=2048)
        if changes.get("spectral_norm"):
            model = dataclasses.replace(
                model, discriminator=dataclasses.replace(model.discriminator, spectral_norm=True)
            )
        training = TrainingConfig(
            batch_size=8, reference_segments=2, clip_norm=None,
            gradient_accumulation_steps=changes.get("gradient_accumulation_steps", 1),
            perceptual_weight=changes.get("perceptual", 0.0), adversarial=AdversarialConfig(**game),
        )  # fmt: skip
        state = TrainState(model, training, processes)
        segments = SamplingPlan(0, 4097, state.training.adversarial.discriminator_steps, 0, processes.local_indices(8))
        feed = batches(source, segments, 0, 0)
        generator = torch.Generator().manual_seed(0)
        reference = torch.randn(2, 1, 4096, generator=generator), torch.randn(2, 1, 4096, generator=generator)
        if state.discriminator.needs_reference:
            state.discriminator.set_reference(*reference)
        metric = loudness_as_quality if game.get("objective") == "metricgan" else None
        report = train_step(state, lambda feed=feed, state=state: prepare(state, *next(feed)), metric)
        found[name] = {
            "generator": torch.cat([p.grad.flatten() for p in state.generator.parameters()]),
            "adversarial_gradient": report.get("adversarial_gradient", 0.0),
            "replayed": state.replay.examples,
        }
        if game.get("weight", 1.0):
            found[name]["discriminator"] = torch.cat([p.grad.flatten() for p in state.discriminator.parameters()])
    return found


def part(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.save(gradients(Processes(rank, 2), folder), folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    make_pairs(folder / "pairs")
    alone = gradients(Processes(), folder)
    forkserver.connect_to_new_process = HEAVY.connect_to_new_process
    multiprocessing.start_processes(part, (folder,), nprocs=2, start_method=WARM.get_start_method())
    return alone, torch.load(folder / "0.pt"), torch.load(folder / "1.pt")


@pytest.mark.parametrize("game", GAMES)
def test_half_a_batch_each_gives_the_gradients_of_the_whole(results, game):
    alone, first, second = (result[game] for result in results)
    for network in ("generator", "discriminator")[: 2 if "discriminator" in alone else 1]:
        assert torch.equal(first[network], second[network])
        difference = (alone[network] - first[network]).norm() / alone[network].norm()
        assert float(difference) < 2e-4, network
        assert float(alone[network].norm()) > 0
    assert first["adversarial_gradient"] == pytest.approx(
        alone["adversarial_gradient"], rel=0.02 if game != "in slices" else 1
    )


def test_all_processes_keep_the_same_replay_examples(results):
    """One example of each process, the first of its part of the batch."""
    alone, first, second = (result["metric with replay"]["replayed"] for result in results)
    for whole, ours, theirs in zip(alone, first, second, strict=True):
        assert torch.equal(ours, theirs)
        assert (len(whole), len(ours)) == (1, 2)
        torch.testing.assert_close(ours[:1], whole, rtol=1e-4, atol=1e-5)
        assert not torch.equal(ours[0], ours[1])


def test_a_batch_that_processes_cannot_share_equally_is_refused():
    shares = [Processes(rank, 3).local_indices(6) for rank in range(3)]
    assert shares == [range(2), range(2, 4), range(4, 6)]
    with pytest.raises(TrainingError, match="batch_size 5 cannot be divided among 2 processes"):
        Processes(0, 2).local_indices(5)


@pytest.mark.parametrize(("processes", "slices"), [(2, 1), (1, 2)])
def test_mismatched_pairs_need_two_segments_in_each_part_of_a_batch(processes, slices):
    config = TrainingConfig(
        batch_size=2, gradient_accumulation_steps=slices, adversarial=AdversarialConfig(mismatched_share=0.5)
    )
    with pytest.raises(TrainingError, match="mismatched_share needs at least two segments"):
        sampling_plan(config, 1_024, Processes(0, processes))
    sampling_plan(dataclasses.replace(config, batch_size=4), 1_024, Processes(0, processes))


@pytest.mark.parametrize(("here", "there"), [(False, False), (True, False), (False, True), (True, True)])
def test_all_processes_stop_when_one_does_and_their_metrics_are_averaged(monkeypatch, here, there):
    other = torch.tensor([3.0, 0.5, float(there)])
    monkeypatch.setattr(distributed, "all_reduce", lambda values: values.add_(other))
    metrics, stop = Processes(0, 2).all_reduce_metrics({"l1": 1.0, "stft": 0.25}, here)
    assert metrics == {"l1": 2.0, "stft": 0.375}
    assert stop == (here or there)


@pytest.mark.parametrize("rank", [0, 1])
def test_the_first_process_of_a_machine_reads_the_data_while_the_others_wait(monkeypatch, tmp_path, rank):
    done = []
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    monkeypatch.setattr(run, "load_training_data", lambda *arguments: done.append(("read", arguments[-1])))
    processes = SimpleNamespace(barrier=lambda: done.append("barrier"), local_indices=lambda n: range(n), world_size=2)
    options = SimpleNamespace(run_dir=tmp_path, tensorboard=False, resume=False, cache=tmp_path / "cache")
    run.open_data(load_recipe("segan-spectral"), options, processes, "progress")
    assert done == ([("read", "progress"), "barrier"] if rank == 0 else ["barrier", ("read", None)])


def test_one_process_needs_no_group():
    with open_processes("cpu") as processes:
        assert (processes.is_main, processes.world_size, processes.device.type) == (True, 1, "cpu")
        assert not distributed.is_initialized()
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
