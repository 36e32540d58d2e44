"""The training loop; a run that is killed at any moment resumes to bit-identical weights."""

import math
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rillet.data.datasets import Dataset, subset
from rillet.data.images import contract
from rillet.errors import GraphError
from rillet.exporters import rlt
from rillet.importers.rlt import load
from rillet.ir.graph import Array, Graph
from rillet.system.checksums import record_text
from rillet.system.files import write_file
from rillet.train import checkpoint, parallel, quantized, records, start, ternary
from rillet.train.data import Batch, Batches, Share, kept_size
from rillet.train.inputs import precision, to_input
from rillet.train.losses import batch_loss
from rillet.train.modules import TorchNetwork, from_state, to_module
from rillet.train.optim import Average, make_optimizer, rate_at, set_rate
from rillet.train.pictures import Pictures
from rillet.train.quantized import QuantizedNetwork
from rillet.train.recipe import Recipe, to_toml
from rillet.train.records import DEFAULT, SILENT, Options, Row, Tick, Trained, Watch, to_csv
from rillet.train.teacher import Teacher
from rillet.train.testing import loss_and_top1
from rillet.train.tuning import Settings, choose, cores, keep_memory
from rillet.transforms.lowbit import signs
from rillet.transforms.prune import prunable_layers, prune
from rillet.transforms.quantize import Scales, quantize_under

BEST, LAST, LOG, RECIPE, SETTINGS = "best.rlt", "last.rlt", "log.csv", "recipe.toml", "run.json"
SIGNS, FLOAT = "signs.rlt", "float.rlt"
_CALIBRATION_BATCH = 8
_GPU_CHECK_STEPS = 25
"""Steps between looks at the loss on a GPU, each of which waits for it; a CPU is looked at every step."""


def train(
    graph: Graph,
    data: Dataset,
    test: Dataset,
    recipe: Recipe,
    out: Path,
    options: Options = DEFAULT,
    watch: Watch = SILENT,
    judged_by: str = records.TEST,
    teacher: Graph | None = None,
) -> Trained:
    """Trains `graph` on `data` into the folder `out`: recipe, log, checkpoint, best.rlt and last.rlt.

    The best network is that of the greatest top-1 on `test`, which `judged_by` names: the test part, or pictures held
    back from training; weights are the averaged ones where the recipe averages. `teacher`: what a recipe with [distill]
    learns from. Raises GraphError for data and network that do not fit, a folder that holds another run, and a loss
    that is no number (the last good checkpoint stays); BuildError where nothing can be written.
    """
    device = _device(options.device)
    with ExitStack() as stack:
        share = stack.enter_context(parallel.group(device))
        if share.rank == 0:
            stack.enter_context(checkpoint.locked(out))
        if device.type == "cpu":
            keep_memory()
        threads = torch.get_num_threads()
        stack.callback(torch.set_num_threads, threads)
        return _Run(graph, data, test, recipe, out, options, watch, judged_by, teacher, device, share).whole()


def _device(said: str) -> torch.device:
    """The device meant; raises GraphError where it is not there."""
    if said == "cuda" and not torch.cuda.is_available():
        raise GraphError("--device must be one that is there, got cuda")
    if said == "cuda" or (said == "auto" and torch.cuda.is_available()):
        device = torch.device("cuda", parallel.local_rank())
        torch.cuda.set_device(device)
        torch.backends.cudnn.deterministic = True
        return device
    return torch.device("cpu")


class _Tally:
    """Sums over the steps of an epoch, over all processes."""

    def __init__(self, state: Sequence[float] = (0.0, 0.0, 0.0, 0.0)) -> None:
        self.loss, self.right, self.seen, self.seconds = state

    def state(self) -> list[float]:
        """What a checkpoint keeps."""
        return [self.loss, self.right, self.seen, self.seconds]


class _Run:
    """A run: everything that a step changes is here, and in a checkpoint."""

    def __init__(
        self,
        graph: Graph,
        data: Dataset,
        test: Dataset,
        recipe: Recipe,
        out: Path,
        options: Options,
        watch: Watch,
        judged_by: str,
        teacher: Graph | None,
        device: torch.device,
        share: Share,
    ) -> None:
        self.recipe, self.out, self.options, self.watch = recipe, out, options, watch
        self.judged_by, self.device, self.share = judged_by, device, share
        if (recipe.distill is None) != (teacher is None):
            raise GraphError(f"{recipe.name}: distill must come with a teacher, and a teacher with it: --teacher MODEL")
        self.graph = start.started(start.foldable(graph) if recipe.quantize else graph, data, recipe, options.seed)
        self.pruned: tuple[str, ...] = ()
        if recipe.prune:
            named = recipe.prune.layers
            self.pruned = prunable_layers(self.graph, None if named else recipe.prune.more_than, named)
            self.graph = prune(self.graph, recipe.prune.sparsity, self.pruned)
        self.spec = contract(self.graph)
        self.test = Pictures(test, self.spec)
        self.batches = Batches(
            Pictures(data, kept_size(self.graph, data, recipe.augment)),
            recipe.run.batch,
            recipe.augment,
            options.seed,
            share,
            None if teacher is None else Teacher(teacher, data),
        )
        self.layers = ternary.chosen_layers(self.graph, recipe.ternary) if recipe.ternary else ()
        self.identity = checkpoint.identity_of(self.graph, data, test, recipe, options.seed, share.world, teacher)
        self.begun_epochs: int | None = None
        found = self._found()
        module = to_module(start.logits(self.graph))
        self.settings = self._settings(module, None if found is None else found["settings"])
        torch.set_num_threads(self.settings.threads)
        self.module = self._prepared(module)
        weights = [self.module.get_submodule(name).get_parameter("weight") for name in self.pruned]
        self.masks = [(weight, weight.detach() != 0) for weight in weights]
        """What pruning left."""
        self.optimizer = make_optimizer(self.module, recipe.optimizer, self._scale_rates())
        self.average = Average(self.module, recipe.average.decay) if recipe.average.decay else None
        self.scales: Scales | None = None
        self.start_top1: float | None = None
        """Of the integers before the first step, which are the best network until training makes a better one."""
        self.calibration = [] if recipe.quantize is None else self._calibration(data, recipe.quantize.images)
        self.precision = precision(recipe, device)
        self.scaler = torch.GradScaler(device.type, enabled=self.precision is torch.float16)
        self.step = 0
        self.tally = _Tally()
        self.rows: list[Row] = []
        self.pending: list[Tensor] = []
        if found is not None:
            self._restore(found)
        self.wrapped = self._wrapped()
        self.saved_at = time.monotonic()

    # -- before the first step -----------------------------------------------------------------------------------------

    def _found(self) -> dict[str, Any] | None:
        """The state of the checkpoint to go on from."""
        there = checkpoint.load(self.out)
        if there is None:
            return None
        if not self.options.resume:
            raise GraphError(f"{self.out}: must be a folder without a run, or say --resume to go on with it")
        identity, state, checked = there
        checkpoint.check_identity(self.out, self.identity, identity)
        self.begun_epochs = checkpoint.begun_epochs(identity)
        if not checked:
            self.watch.note(f"{self.out / checkpoint.CHECKPOINT}: has no checksum, being older: taken as it is")
        return state

    def _settings(self, module: TorchNetwork, before: Sequence[int] | None) -> Settings:
        """Threads and layout: those of the run so far, those said, or what is fastest."""
        said = self.options.threads
        if before is not None:
            found = Settings(before[0], bool(before[1]))
            return found if said is None else replace(found, threads=said)
        if said is not None or self.device.type != "cpu":
            return Settings(said or max(1, cores() // self.share.world))
        size = min(16, self.recipe.run.batch)
        draw = torch.Generator().manual_seed(0)
        batch = torch.randn(size, self.spec.channels, self.spec.height, self.spec.width, generator=draw)
        return choose(module, batch, self.share.world)

    def _prepared(self, module: TorchNetwork) -> TorchNetwork:
        norm = self.recipe.batch_norm
        if self.recipe.quantize:
            plain, module = module, QuantizedNetwork(module.graph, self.recipe.quantize.learn_scales)
            module.load_state_dict(plain.state_dict(), strict=False)
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = norm.momentum
        if self.recipe.start.freeze:
            start.freeze(module, self.graph)
        if norm.sync and self.share.world > 1 and not self.recipe.start.freeze:
            parallel.synced(module, self.device)
        if self.recipe.ternary:
            ternary.make_ternary(module, self.layers, self.recipe.ternary)
        return module.to(self.device, memory_format=self.settings.layout)  # pyright: ignore[reportCallIssue]

    def _scale_rates(self) -> dict[nn.Parameter, float]:
        """The learning rates of scales that are trained, as factors of the recipe's."""
        if isinstance(self.module, QuantizedNetwork):
            return self.module.scale_rates()
        return ternary.scale_rates(self.module, self.recipe.ternary) if self.recipe.ternary else {}

    def _wrapped(self) -> nn.Module:
        if self.share.world == 1:
            return self.module
        # Statistics of batch norms are each process's own in training; those of the first are kept.
        return DistributedDataParallel(self.module, forward_sync_buffers=False)

    # -- scales of quantisation-aware training -------------------------------------------------------------------------

    def _calibration(self, data: Dataset, count: int) -> list[Array]:
        """Batches of the pictures that ranges are calibrated on: the same whatever the seed."""
        chosen = np.random.default_rng(0).permutation(len(data))[:count]
        found = Pictures(subset(data, chosen), self.spec)
        pixels = [found.near(i)[0] for i in range(len(found))]
        starts = range(0, len(pixels), _CALIBRATION_BATCH)
        return [np.stack(pixels[at : at + _CALIBRATION_BATCH]) for at in starts]

    def _observe(self) -> None:
        """Looks at the ranges again, if they are due and not frozen."""
        said = self.recipe.quantize
        frozen = 0 if said is None or said.learn_scales else said.freeze_epochs * self.batches.steps
        if said is None or (self.scales is not None and self.step >= frozen):
            return
        if self.scales is None or self.step % said.observe_every == 0:
            batches = (self._input(pixels) for pixels in self.calibration)
            self._use(quantized.scales_of(self._real(self.module), self.module, batches, said))

    def _use(self, scales: Scales) -> None:
        self.scales = scales
        for network in (self.module, None if self.average is None else self.average.module):
            if isinstance(network, QuantizedNetwork):
                network.use(scales)

    def _begin_with_integers(self) -> None:
        kept = self._kept()
        loss, self.start_top1 = self._evaluated(kept)
        if self.share.rank == 0:
            self._write_best(kept)
        self.watch.note(f"before training, in integers: {self.judged_by}: loss {loss:.3f}, top-1 {self.start_top1:.2%}")

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else [self.average.steps, self.average.module.state_dict()],
            "scaler": self.scaler.state_dict(),
            "torch": torch.get_rng_state(),
            "tally": self.tally.state(),
            "rows": [asdict(row) for row in self.rows],
            "settings": [self.settings.threads, int(self.settings.channels_last)],
            "scales": None if self.scales is None else quantized.to_state(self.scales),
            "start_top1": self.start_top1,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        try:
            self.module.load_state_dict(state["module"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.average is not None:
                self.average.steps = state["average"][0]
                self.average.module.load_state_dict(state["average"][1])
            self.scaler.load_state_dict(state["scaler"])
            torch.set_rng_state(state["torch"])
            self.step, self.tally = int(state["step"]), _Tally(state["tally"])
            self.rows = [records.row(one) for one in state["rows"]]
            if self.recipe.quantize:
                self._use(quantized.from_state(state["scales"]))
                self.start_top1 = state["start_top1"]
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise GraphError(f"{self.out / checkpoint.CHECKPOINT}: must be this run's: {reason}") from None
        begun = -(-self.step // self.batches.steps)
        if begun > self.recipe.run.epochs:
            raise GraphError(
                f"{self.out}: must be resumed with at least the {begun} epochs that it has begun, "
                f"got {self.recipe.run.epochs}"
            )

    def _save(self) -> None:
        if not all(bool(torch.isfinite(value).all()) for value in self.module.parameters()):
            raise self._diverged("weights", "a value that is no number", self.step)
        if self.share.rank == 0:
            checkpoint.save(self.out, self.identity, self._state())
        self.saved_at = time.monotonic()

    def _due(self) -> bool:
        steps = self.options.save_steps
        if steps and self.step % steps == 0:
            return True
        return self.share.rank == 0 and time.monotonic() - self.saved_at >= self.options.save_seconds

    # -- training ------------------------------------------------------------------------------------------------------

    def whole(self) -> Trained:
        """Trains to the end."""
        if self.step == 0:
            self._observe()
        if self.share.rank == 0:
            self._describe()
        if self.step == 0:
            if self.scales is not None:
                self._begin_with_integers()
            self._save()
        else:
            epochs = self.recipe.run.epochs
            self.watch.note(f"going on from step {self.step} of {self.batches.steps * epochs}")
            if self.begun_epochs not in (None, epochs):
                self.watch.note(
                    f"to {epochs} epochs, where {self.begun_epochs} were given before: from here on the learning rate "
                    f"is the one that the recipe has for {epochs}"
                )
        self.watch.rows(self.rows)
        while len(self.rows) < self.recipe.run.epochs:
            self._epoch()
        return self._finished()

    def _epoch(self) -> None:
        epoch, at = divmod(self.step, self.batches.steps)
        self._mode()
        workers = max(1, min(8, cores() // self.share.world - self.settings.threads))
        before = time.monotonic()
        for batch in self.batches.stream(epoch, at, workers):
            self._train_step(batch)
            now = time.monotonic()
            self.tally.seconds += now - before
            before = now
            if len(self.pending) >= (1 if self.device.type == "cpu" else _GPU_CHECK_STEPS):
                self._look(epoch)
                # After the last step of an epoch a checkpoint waits for the evaluation: its row belongs to it.
                if self._due() and self.step % self.batches.steps:
                    self._save()
        self._look(epoch)
        self._end_epoch(epoch)

    def _mode(self) -> None:
        self.wrapped.train()
        if self.recipe.start.freeze:
            for part in self.module.modules():
                if isinstance(part, nn.BatchNorm2d):
                    part.eval()

    def _train_step(self, batch: Batch) -> None:
        set_rate(self.optimizer, rate_at(self.recipe, self.step, self.batches.steps))
        self._observe()
        image, labels = self._input(batch.pixels), torch.from_numpy(batch.labels).to(self.device)
        with torch.autocast(self.device.type, self.precision, enabled=self.precision is not torch.float32):
            made = self.wrapped(image)
        loss = batch_loss(made.float(), batch, self.recipe)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.layers:
            ternary.clip_scales(self.module)
        with torch.no_grad():
            for weight, mask in self.masks:
                weight.mul_(mask)
        if self.average is not None:
            self.average.update(self.module)
        with torch.no_grad():
            right = (made.argmax(1) == labels).sum()
            self.pending.append(torch.stack([loss.double() * len(labels), right.double()]))
        self.step += 1

    def _input(self, pixels: Array) -> Tensor:
        return to_input(pixels, self.spec, self.device, self.settings.layout)

    def _look(self, epoch: int) -> None:
        """Looks at the losses since the last look; raises GraphError where one is no number."""
        if not self.pending:
            return
        sums = parallel.total(torch.stack(self.pending), self.share).cpu()
        for i, (loss, right) in enumerate(sums.tolist()):
            if not math.isfinite(loss):
                raise self._diverged("loss", f"{loss / self.batches.size:g}", self.step - len(self.pending) + i + 1)
            self.tally.loss += loss
            self.tally.right += right
            self.tally.seen += self.batches.size
        self.pending.clear()
        tally, total = self.tally, self.batches.steps * self.recipe.run.epochs
        speed = tally.seen / max(tally.seconds, 1e-9)
        left = (total - self.step) * self.batches.size / speed
        epochs, seen = self.recipe.run.epochs, max(tally.seen, 1)
        self.watch.tick(Tick(epoch + 1, epochs, self.step, total, tally.loss / seen, tally.right / seen, speed, left))

    def _diverged(self, what: str, got: str, step: int) -> GraphError:
        epoch = (step - 1) // self.batches.steps + 1
        return GraphError(
            f"{self.graph.name}: {what} must be finite, got {got} at step {step} (epoch {epoch}); "
            f"the last good checkpoint stays in {self.out}: try a lower rate, or a longer warmup"
        )

    # -- after an epoch ------------------------------------------------------------------------------------------------

    def _end_epoch(self, epoch: int) -> None:
        if not all(bool(torch.isfinite(value).all()) for value in self.module.parameters()):
            raise self._diverged("weights", "a value that is no number", self.step)
        kept = self._kept()
        parallel.copy_from_first(kept, self.share)
        loss, top1 = self._evaluated(kept)
        tally, seen = self.tally, max(self.tally.seen, 1)
        rate = rate_at(self.recipe, self.step - 1, self.batches.steps)
        speed = tally.seen / max(tally.seconds, 1e-9)
        row = Row(
            epoch + 1,
            self.step,
            rate,
            tally.loss / seen,
            tally.right / seen,
            loss,
            top1,
            speed,
            round(tally.seconds, 3),
            self.judged_by,
        )
        best = max((row.judged_top1 for row in self.rows), default=-1.0)
        best = max(best, -1.0 if self.start_top1 is None else self.start_top1)
        self.rows.append(row)
        self.tally = _Tally()
        if self.share.rank == 0:
            if top1 > best:
                self._write_best(kept)
            write_file(self.out / LAST, rlt.to_bytes(self._graph_of(kept)))
            write_file(self.out / LOG, to_csv(self.rows).encode())
        self._save()
        self.watch.rows(self.rows)

    def _kept(self) -> nn.Module:
        return self.average.module if self.average is not None else self.module

    def _write_best(self, module: nn.Module) -> None:
        write_file(self.out / BEST, rlt.to_bytes(self._graph_of(module)))
        if self.scales is not None:
            write_file(self.out / FLOAT, rlt.to_bytes(self._real(module)))

    def _graph_of(self, module: nn.Module) -> Graph:
        """The network as it computes: in integers where it is trained to be."""
        made = self._real(module)
        return quantize_under(made, module.scales) if isinstance(module, QuantizedNetwork) else made

    def _real(self, module: nn.Module) -> Graph:
        return from_state(ternary.plain_state(module), self.graph)

    def _evaluated(self, module: nn.Module) -> tuple[float, float]:
        """Mean loss and top-1 on the pictures that the run is judged by."""
        return loss_and_top1(module, self.test, self.recipe.run.batch, self._input, self.share)

    def _finished(self) -> Trained:
        best = max((row.judged_top1, -row.epoch) for row in self.rows)
        if self.start_top1 is not None:
            best = max(best, (self.start_top1, 0))
        corrupt = (*self.batches.pictures.corrupt.values(), *self.test.corrupt.values())
        counted = signed = None
        if self.layers:
            # The folder may be the first process's alone; the others get what it has read.
            graph = load(self.out / BEST) if self.share.rank == 0 else self.graph
            counted = ternary.report(graph, self.layers)
            plain = signs(graph, [f"{name}.weight" for name in self.layers])
            module = to_module(start.logits(plain)).to(self.device)
            parallel.copy_from_first(module, self.share)
            _, signed = self._evaluated(module)
            if self.share.rank == 0:
                write_file(self.out / SIGNS, rlt.to_bytes(plain))
        return Trained(
            self.graph.name,
            self.test.data.name,
            tuple(self.rows),
            -best[1],
            best[0],
            self.rows[-1].judged_top1,
            corrupt,
            counted,
            signed,
            None if self.scales is None else self.scales.rule.value,
            self.start_top1,
            self.judged_by,
        )

    def _describe(self) -> None:
        """Writes what the run is: the recipe with all overrides, and how it is executed."""
        write_file(self.out / RECIPE, to_toml(self.recipe).encode())
        about = {
            **{key: value for key, value in self.identity.items() if key != "recipe"},
            "device": str(self.device),
            "precision": str(self.precision).removeprefix("torch."),
            **asdict(self.settings),
            "torch": torch.__version__,
            "cores": cores(),
            "machine": os.uname().machine if hasattr(os, "uname") else "",
        }
        write_file(self.out / SETTINGS, record_text(about).encode())
