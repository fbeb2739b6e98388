"""Choice between name and description as a label's text."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

from app.core.checkpoint import read_checkpoint
from app.core.classifier import Classifier
from app.core.labels import Label, LabelSet
from app.evaluation.prompts import apply_prompt_choices, choose_prompts, name_and_description_texts
from app.evaluation.prompts.choice import PromptChoice
from tests.support.command import mumic
from tests.support.training_set import NAMES, write_init, write_manifest, write_photos

Floats = NDArray[np.float64]
LABELS = LabelSet(
    version="1",
    labels=(
        Label(id="gym", name="Gym", description="gym, a room to train in", category="A"),
        Label(id="bar", name="Bar", description="bar, a counter with drinks", category="A"),
        Label(
            id="spa",
            name="Spa",
            description="spa, a place of baths",
            category="A",
            prompt="description",
        ),
        Label(id="club", name="Club", description="GYM", category="A"),
    ),
)


def choices(targets: Floats, by_name: Floats, by_description: Floats) -> dict[str, PromptChoice]:
    found = choose_prompts(
        LABELS, targets, by_name, by_description, min_positives=10, level=0.95, resamples=200
    )
    return {choice.id: choice for choice in found}


@pytest.fixture
def photos_and_scores() -> tuple[Floats, Floats, Floats]:
    """Targets of 200 photos, informative scores, and nearly uninformative scores."""
    draw = np.random.default_rng(0)
    targets = (draw.random((200, 4)) < 0.2).astype(np.float64)
    clear = targets + draw.normal(0, 0.4, targets.shape)
    return targets, clear, targets + draw.normal(0, 4, targets.shape)


def test_text_with_higher_average_precision_is_chosen(
    photos_and_scores: tuple[Floats, Floats, Floats],
) -> None:
    targets, clear, noisy = photos_and_scores
    found = choices(targets, noisy, clear)
    assert [found[id].chosen for id in ("gym", "bar", "spa")] == ["description"] * 3
    assert found["gym"].gap > 0.2
    assert found["gym"].low <= found["gym"].gap <= found["gym"].high
    assert (found["gym"].reason, found["spa"].reason) == ("changed: better", "kept: better")
    assert choices(targets, clear, noisy)["spa"].chosen == "name"


def test_text_of_another_label_is_not_chosen(
    photos_and_scores: tuple[Floats, Floats, Floats],
) -> None:
    targets, clear, noisy = photos_and_scores
    found = choices(targets, noisy, clear)
    assert found["club"].chosen == "name"
    assert "another label" in found["club"].reason
    assert apply_prompt_choices(LABELS, list(found.values())).labels[3].text == "club"


def test_gap_within_noise_keeps_prompt(
    photos_and_scores: tuple[Floats, Floats, Floats],
) -> None:
    targets, clear, _ = photos_and_scores
    other = targets + np.random.default_rng(1).normal(0, 0.4, targets.shape)
    found = choices(targets, clear, other)
    assert {choice.reason for choice in found.values()} == {"kept: within noise"}
    assert all(choice.chosen == choice.present for choice in found.values())


def test_few_positives_or_no_negatives_keep_prompt(
    photos_and_scores: tuple[Floats, Floats, Floats],
) -> None:
    targets, clear, noisy = photos_and_scores
    targets[np.flatnonzero(targets[:, 0] == 1)[9:], 0] = -1.0
    targets[targets[:, 1] == 0, 1] = -1.0
    found = choices(targets, noisy, clear)
    assert (found["gym"].positives, found["bar"].negatives) == (9, 0)
    assert found["gym"].reason == found["bar"].reason == "kept: too few photos"
    assert found["spa"].reason == "kept: better"


def test_texts_equal_label_set_prompts() -> None:
    names, descriptions = name_and_description_texts(LABELS)
    for i, (label, prompt) in enumerate(zip(LABELS.labels, LABELS.prompts, strict=True)):
        assert prompt == (names if label.prompt == "name" else descriptions)[i]


def test_prompts_command_writes_sealed_checkpoint_and_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / "names.yaml"
    names.write_text(yaml.safe_dump({"names": {k: n.model_dump() for k, n in NAMES.items()}}))
    init, out = write_init(tmp_path / "init"), tmp_path / "chosen"
    arguments: list[str | Path] = [
        "prompts",
        "--checkpoint",
        init.directory,
        "--manifest",
        write_manifest(tmp_path),
    ]
    arguments += ["--photos", write_photos(tmp_path / "photos"), "--names", names, "--out", out]
    run = mumic(monkeypatch, capsys, *arguments, "--min-positives", "1", "--level", "0.01")
    assert run.code == 0, run.err
    written = read_checkpoint(out)
    changed = written.card.metrics["prompts"]["changed"]
    assert f"{len(changed)} of 4 labels changed" in run.out
    before = {label.id: label.prompt for label in init.labels.labels}
    after = {label.id: label.prompt for label in written.labels.labels}
    assert changed == [id for id in before if before[id] != after[id]]
    Classifier.load(out, device="cpu", precision="fp32")
    with Image.open(tmp_path / "chosen.prompts.png") as plot:
        assert plot.format == "PNG"
    run = mumic(monkeypatch, capsys, *arguments, "--plot", tmp_path / "plot.txt")
    assert run.code == 2
    assert "must end in .png or .svg" in run.err
    run = mumic(monkeypatch, capsys, *arguments, "--out", ".")
    assert run.code == 2
    assert "out: must end in the folder's name" in run.err
    run = mumic(monkeypatch, capsys, *arguments, "--plot", out / "README.md" / "plot.png")
    assert run.code == 1
    assert "plot.png: the plot cannot be written" in run.err
