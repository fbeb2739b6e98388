"""Training runs of a study, each made once, and their results."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, cast

import torch
from rich.console import Console
from rich.progress import Progress

from app.baselines.asl import CARD_FILE as ASL_CARD_FILE
from app.baselines.asl import train_asl
from app.baselines.comparison import Scored, parse_compared_models, score_compared_models
from app.core.checkpoint import CARD_FILE, read_checkpoint, write_checkpoint
from app.core.runtime import choose_placement
from app.dataset.labelled import LabelledPhotos, load_labelled_photos
from app.dataset.manifest import Split, load_names
from app.evaluation.metrics import scored_classes
from app.training.config import Precision, TrainConfig
from app.training.run import create_fabric, progress_bars, train

MUMIC = "mumic"  # the folder of the runs without optional methods, which studies share
README = "# {name}\n\nA run of recipes/results; its settings are in `mumic.json`.\n"
console = Console(stderr=True, soft_wrap=True, highlight=False)


@dataclass(frozen=True, slots=True)
class Study:
    """The photos, the initial checkpoint and the common settings of a study's runs.

    Attributes:
        init: the checkpoint that every run starts from.
        manifest: the split and the names of each photo.
        photos: the folder of the manifest's files.
        names: definitions of the manifest's names, or None if they are label ids.
        work: the folder of the runs; existing runs are reused.
        split: the split to measure on.
        seeds: seeds of repeated runs.
        epochs: epochs of MuMIC, unless a table varies them.
        asl_epochs: epochs of the ASL baseline.
        learning_rate: learning rate of MuMIC.
        asl_learning_rate: learning rate of the ASL baseline.
        frozen: whether both towers are frozen, except the image projection and logit_scale;
            features are then cached in `work`.
        workers: processes that load photos.
        device: auto, cpu, cuda or cuda:N.
    """

    init: Path
    manifest: Path
    photos: Path
    names: Path | None
    work: Path
    split: Split
    seeds: Sequence[int]
    epochs: int
    asl_epochs: int
    learning_rate: float
    asl_learning_rate: float
    frozen: bool
    workers: int
    device: str

    @property
    def setting(self) -> str:
        """The line under a table with the settings of its numbers."""
        trained = "the image projection alone" if self.frozen else "both towers"
        return (
            f"Split {self.split}; trained: {trained}; learning rate, unless varied, "
            f"{self.learning_rate:g}, of ASL {self.asl_learning_rate:g}; "
            f"seeds {', '.join(map(str, self.seeds))}.\n"
        )

    def data(self, leave_out: Sequence[str] = ()) -> LabelledPhotos:
        """Load the photos and human labels."""
        labels = read_checkpoint(self.init).labels
        names = load_names(self.names, labels) if self.names else None
        return load_labelled_photos(
            self.manifest, self.photos, labels, names=names, leave_out=leave_out
        )

    def train(self, name: str, *, seed: int, leave_out: Sequence[str] = (), **changes: Any) -> Path:
        """Train as `mumic train` does, or reuse the existing run.

        Args:
            name: the folder of runs of this kind.
            seed: seed of the order of the photos and their augmentation.
            leave_out: names whose human labels are not used.
            changes: fields of `TrainConfig` that differ from the study's settings.
        """
        config = self._config(
            **{"learning_rate": self.learning_rate, "epochs": self.epochs, "seed": seed, **changes}
        )
        out = self._folder(name, config)
        if (out / CARD_FILE).is_file():
            return out
        init, run_folder = read_checkpoint(self.init), out.with_name(f"{out.name}.run")
        console.print(str(out), markup=False)
        with progress_bars(console) as progress:
            trained = train(
                init,
                self.data(leave_out),
                config,
                run_folder,
                progress=progress,
                feature_cache=self._feature_cache,
                fabric=create_fabric(self.torch_device, config.precision),
            )
        write_checkpoint(
            out,
            trained.model.cpu(),
            init.config,
            init.labels,
            name=name,
            version="0.1.0",
            readme=README.format(name=name),
            training={"settings": asdict(config), "left_out": list(leave_out)},
            metrics={"validation": trained.measures | trained.validation},
            exif_orientation=init.preprocess.exif_orientation,
        )
        return out

    def train_asl(self, *, seed: int, **changes: Any) -> Path:
        """Train the ASL baseline in the same loop, or reuse the existing run."""
        config = self._config(
            **{
                "learning_rate": self.asl_learning_rate,
                "epochs": self.asl_epochs,
                "seed": seed,
                **changes,
            }
        )
        out = self._folder("asl", config)
        if (out / ASL_CARD_FILE).is_file():
            return out
        console.print(str(out), markup=False)
        with progress_bars(console) as progress:
            train_asl(
                read_checkpoint(self.init),
                self.data(),
                config,
                out,
                progress=progress,
                fabric=create_fabric(self.torch_device, config.precision),
                feature_cache=self._feature_cache,
            )
        return out

    def score(self, models: Mapping[str, str | Path], *, by_label: bool = False) -> Scored:
        """Score the split with each model `DIR[:SCORING]`, as `mumic compare` does.

        Args:
            models: name to directory and scoring method.
            by_label: score the labels of the label set instead of the manifest's names.
        """
        labels, data = read_checkpoint(self.init).labels, self.data()
        names = load_names(self.names, labels) if self.names and not by_label else None
        with Progress(console=console) as progress:
            return score_compared_models(
                parse_compared_models([f"{name}={where}" for name, where in models.items()]),
                data,
                self.split,
                scored_classes(data, labels, names, "names"),
                names=names,
                device=self.device,
                workers=self.workers,
                progress=progress,
            )

    @property
    def torch_device(self) -> torch.device:
        """The device of the runs."""
        return choose_placement(self.device, "auto", transformer=False).device

    @property
    def _feature_cache(self) -> Path:
        return self.work / "features.safetensors"

    def _config(self, **settings: Any) -> TrainConfig:
        placement = choose_placement(self.device, "auto", transformer=False)
        return TrainConfig(
            freeze_image=self.frozen,
            freeze_text=self.frozen,
            precision=cast(Precision, placement.precision),
            workers=self.workers,
            **settings,
        )

    def _folder(self, name: str, config: TrainConfig) -> Path:
        trained = "projection" if self.frozen else "towers"
        settings = f"epochs-{config.epochs}-lr-{config.learning_rate:g}-seed-{config.seed}"
        folder = self.work / trained / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder / settings


def epochs_of(out: Path) -> list[dict[str, float]]:
    """Return the log rows at the end of each epoch, with metrics on the validation split."""
    with out.with_name(f"{out.name}.run").joinpath("log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        {key: float(value) for key, value in row.items() if value}
        for row in rows
        if row["macro_map"]
    ]


def best_epoch(out: Path) -> dict[str, float]:
    """Return the row of a run's log with the best macro mAP."""
    return max(epochs_of(out), key=lambda row: row["macro_map"])


def mean_and_spread(values: Sequence[float]) -> str:
    """Format the mean of several seeds in percent, with the standard deviation of two or more."""
    spread = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * fmean(values):.1f}{spread}"
