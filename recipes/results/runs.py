"""Training runs of a study, each made once, and what came of them."""

import csv
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from rich.console import Console
from rich.progress import Progress

from app.baselines.asl import CARD_FILE as ASL_CARD_FILE
from app.baselines.asl_training import train_asl
from app.baselines.contestants import Scored, parse_contestants, score_contestants
from app.core.card import CARD_FILE
from app.core.checkpoint import read_checkpoint
from app.core.device import choose_placement
from app.dataset.labelled import LabelledPhotos, load_labelled
from app.dataset.manifest import Part
from app.dataset.names import load_names
from app.training.config import TrainConfig
from app.training.devices import make_fabric

console = Console(stderr=True, soft_wrap=True, highlight=False)


@dataclass(frozen=True, slots=True)
class Study:
    """The photos of a study, where its runs start, and what they have in common.

    Attributes:
        init: the checkpoint that every run starts from.
        manifest: which photo is in which part and carries which names.
        photos: the folder that the manifest's files are in.
        names: what the manifest's names mean, or None where they are label ids.
        work: where the runs go; one that is there is not made again.
        part: what is measured on.
        seeds: of repeated runs.
        epochs: of a run, where its table does not vary them.
        learning_rate: of MuMIC.
        asl_learning_rate: of the ASL baseline.
        frozen: whether both towers stay as they are, all but the image projection and
            logit_scale; features are then cached in `work`.
        workers: processes that load photos.
        device: auto, cpu, cuda or cuda:N.
    """

    init: Path
    manifest: Path
    photos: Path
    names: Path | None
    work: Path
    part: Part
    seeds: tuple[int, ...]
    epochs: int
    learning_rate: float
    asl_learning_rate: float
    frozen: bool
    workers: int
    device: str

    @property
    def setting(self) -> str:
        """One line under a table: what its numbers rest on."""
        towers = (
            "both towers frozen but the image projection" if self.frozen else "both towers trained"
        )
        return (
            f"Part {self.part}; {towers}; learning rate {self.learning_rate:g}; "
            f"seeds {', '.join(map(str, self.seeds))}.\n"
        )

    def data(self) -> LabelledPhotos:
        """The photos and human labels."""
        labels = read_checkpoint(self.init).labels
        names = load_names(self.names, labels) if self.names else None
        return load_labelled(self.manifest, self.photos, labels, names=names)

    def train(self, name: str, *options: str, epochs: int | None = None, seed: int = 0) -> Path:
        """Run `mumic train`, or take the run that is there.

        Args:
            name: of the run's folder in `work`.
            options: of the command, beside those that all runs share.
            epochs: instead of the study's.
            seed: of the order of the photos and their augmentation.
        """
        epochs = epochs or self.epochs
        out = self._run(name, epochs, self.learning_rate, seed)
        if (out / CARD_FILE).is_file():
            return out
        out.parent.mkdir(parents=True, exist_ok=True)
        arguments = [
            *("--init", str(self.init), "--manifest", str(self.manifest)),
            *("--photos", str(self.photos), "--out", str(out), "--seed", str(seed)),
            *(("--names", str(self.names)) if self.names else ()),
            *("--learning-rate", str(self.learning_rate), "--workers", str(self.workers)),
            *("--device", self.device, *self._freezing()),
            *("--epochs", str(epochs)),
            *options,
        ]
        console.print(f"$ mumic train {shlex.join(arguments)}", markup=False)
        subprocess.run([sys.executable, "-m", "app.cli", "train", *arguments], check=True)
        return out

    def train_asl(self, *, epochs: int, seed: int = 0) -> Path:
        """Train the ASL baseline in the same loop, or take the run that is there."""
        out = self._run("asl", epochs, self.asl_learning_rate, seed)
        if (out / ASL_CARD_FILE).is_file():
            return out
        out.parent.mkdir(parents=True, exist_ok=True)
        config = TrainConfig(
            learning_rate=self.asl_learning_rate,
            epochs=epochs,
            freeze_image=self.frozen,
            seed=seed,
            workers=self.workers,
        )
        placement = choose_placement(self.device, "fp32", transformer=False).device
        console.print(f"ASL, {epochs} epochs, seed {seed}: {out}", markup=False)
        with Progress(console=console) as progress:
            train_asl(
                read_checkpoint(self.init),
                self.data(),
                config,
                out,
                progress=progress,
                fabric=make_fabric(placement, config.precision),
                feature_cache=self._feature_cache,
            )
        return out

    def score(self, contestants: Mapping[str, str | Path]) -> Scored:
        """Score the part by each `DIR[:SCORING]`, as `mumic compare` does."""
        labels = read_checkpoint(self.init).labels
        with Progress(console=console) as progress:
            return score_contestants(
                parse_contestants([f"{name}={where}" for name, where in contestants.items()]),
                self.data(),
                self.part,
                names=load_names(self.names, labels) if self.names else None,
                device=self.device,
                workers=self.workers,
                progress=progress,
            )

    def _run(self, name: str, epochs: int, learning_rate: float, seed: int) -> Path:
        trained = "projection" if self.frozen else "towers"
        return self.work / trained / name / f"epochs-{epochs}-lr-{learning_rate:g}-seed-{seed}"

    def _freezing(self) -> tuple[str, ...]:
        if not self.frozen:
            return ()
        return ("--freeze-image", "--freeze-text", "--feature-cache", str(self._feature_cache))

    @property
    def _feature_cache(self) -> Path:
        return self.work / "features.safetensors"


def epochs_of(out: Path) -> list[dict[str, float]]:
    """The rows of a run's log that end an epoch, with its metrics on the part validation."""
    with out.with_name(f"{out.name}.run").joinpath("log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        {key: float(value) for key, value in row.items() if value}
        for row in rows
        if row["macro_map"]
    ]


def best_epoch(out: Path) -> dict[str, float]:
    """The row of a run's log with the best macro mAP."""
    return max(epochs_of(out), key=lambda row: row["macro_map"])


def mean_and_spread(values: list[float]) -> str:
    """Mean of some seeds in percent, and their standard deviation where there are several."""
    spread = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * fmean(values):.1f}{spread}"
