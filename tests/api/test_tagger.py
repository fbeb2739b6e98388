"""`mumic.Tagger` gives the server's numbers; a bad photo does not affect the others."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import app
import mumic
from app.core.images import ImageLimits
from app.errors import OptionError, TextError
from tests.support.photos import NAMES
from tests.support.requests import json_body, multipart, photo, truncated
from tests.support.tiny import write_calibrated

WITHIN = 1e-4  # float32 sums in batches of another size
LABELS = ("temple", "swimming pool", "cat")


@pytest.fixture(scope="module")
def tagger(tiny_checkpoint: Path) -> mumic.Tagger:
    return mumic.load(tiny_checkpoint, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def photos() -> list[bytes]:
    """Four photos; the third is truncated."""
    return [photo(NAMES[0]), photo(NAMES[1]), truncated(), photo(NAMES[2])]


def served(client: httpx.Client, path: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = (
        client.post(path, **request).raise_for_status().json()["results"]
    )
    return results


def assert_same_photo(result: dict[str, Any], photo: Any) -> None:
    """Compare size and error of a photo's results over HTTP and from Python."""
    if result["status"] == "error":
        assert photo.error is not None
        assert result["error"] == {"code": photo.error.code, "message": photo.error.message}
        assert (photo.width, photo.height) == (0, 0)
    else:
        assert photo.error is None
        assert (photo.width, photo.height) == (result["width"], result["height"])


@pytest.mark.parametrize(
    "options",
    [{}, {"all_scores": True}, {"min_confidence": 0.5, "max_labels": 3}],
    ids=["default", "all_scores", "limits"],
)
def test_tag_equals_predict_response(
    client: httpx.Client, tagger: mumic.Tagger, photos: list[bytes], options: dict[str, Any]
) -> None:
    results = served(client, "/predict", multipart(*photos, **options))
    for result, tagged in zip(results, tagger.tag(photos, **options), strict=True):
        assert_same_photo(result, tagged)
        expected = {label["id"]: label["confidence"] for label in result.get("labels", [])}
        confidences = {tag.label.id: tag.confidence for tag in tagged.tags}
        assert confidences == pytest.approx(expected, abs=WITHIN)


def test_embed_equals_embed_response(
    client: httpx.Client, tagger: mumic.Tagger, photos: list[bytes]
) -> None:
    results = served(client, "/embed", json_body(*photos))
    for result, embedded in zip(results, tagger.embed(photos), strict=True):
        assert_same_photo(result, embedded)
        if embedded.embedding is None:
            assert embedded.error
        else:
            assert embedded.embedding.dtype == np.float32
            assert embedded.embedding == pytest.approx(result["embedding"], abs=WITHIN)


def test_embed_texts_equals_embed_response(client: httpx.Client, tagger: mumic.Tagger) -> None:
    results = served(client, "/embed", {"json": {"texts": LABELS}})
    expected = np.array([result["embedding"] for result in results])
    assert tagger.embed_texts(LABELS) == pytest.approx(expected, abs=WITHIN)


@pytest.mark.parametrize("scoring", ["sigmoid", "softmax", "pair"])
def test_zero_shot_equals_zero_shot_response(
    client: httpx.Client, tagger: mumic.Tagger, photos: list[bytes], scoring: Any
) -> None:
    request = json_body(*photos, labels=LABELS, scoring=scoring)
    results = served(client, "/zero-shot", request)
    scored = tagger.zero_shot(photos, LABELS, scoring=scoring)
    for result, one in zip(results, scored, strict=True):
        assert_same_photo(result, one)
        expected = {score["label"]: score["confidence"] for score in result.get("scores", [])}
        confidences = {score.label: score.confidence for score in one.scores}
        assert confidences == pytest.approx(expected, abs=WITHIN)


def test_zero_shot_of_calibrated_checkpoint_is_calibrated(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    directory = write_calibrated(tiny_checkpoint, tmp_path / "calibrated")
    tagger = mumic.load(directory, device="cpu", precision="fp32")
    (default,), (calibrated,), (sigmoid,) = (
        tagger.zero_shot([photo()], LABELS, scoring=scoring)
        for scoring in (None, "calibrated", "sigmoid")
    )
    assert default.scores == calibrated.scores
    assert default.scores != sigmoid.scores


def test_calibrated_scoring_without_calibration_is_refused(tagger: mumic.Tagger) -> None:
    with pytest.raises(mumic.OptionError, match="no calibration of zero-shot scores"):
        tagger.zero_shot([photo()], LABELS, scoring="calibrated")


def test_ids_are_paths_or_indices(tagger: mumic.Tagger, tmp_path: Path) -> None:
    file = tmp_path / "cat.jpg"
    file.write_bytes(photo())
    tagged = tagger.tag([file, str(file), photo()])
    assert [one.id for one in tagged] == [str(file), str(file), "2"]
    assert tagged[0].tags == tagged[1].tags == tagged[2].tags


def test_results_follow_input_order_over_batches(tiny_checkpoint: Path) -> None:
    small = mumic.Tagger(
        mumic.load(tiny_checkpoint, device="cpu", precision="fp32").classifier, batch_size=2
    )
    tagged = small.tag([truncated(), truncated(), photo(), truncated(), photo()])
    assert [one.error is None for one in tagged] == [False, False, True, False, True]
    assert [one.id for one in tagged] == ["0", "1", "2", "3", "4"]


def test_empty_list_gives_no_results(tagger: mumic.Tagger) -> None:
    assert tagger.tag([]) == []


@pytest.mark.parametrize(
    "options",
    [
        {"min_confidence": 1.5},
        {"min_confidence": float("nan")},
        {"min_confidence": "x"},
        {"max_labels": 0},
        {"max_labels": 1.5},
        {"include_labels": "pets"},
        {"exclude_categories": None},
        {"all_scores": True, "max_labels": 1},
        {"include_labels": ["no such label"]},
    ],
)
def test_tag_refuses_invalid_options(tagger: mumic.Tagger, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        tagger.tag([photo()], **options)


def test_single_photo_and_missing_file_are_refused(tagger: mumic.Tagger) -> None:
    with pytest.raises(OptionError, match="give a list"):
        tagger.tag("photo.jpg")
    with pytest.raises(OptionError, match=r"no such file: no\.jpg"):
        tagger.embed([photo(), "no.jpg"])


@pytest.mark.parametrize("images", [None, [None], [1], [bytearray(b"")], iter(["photo.jpg"])])
def test_images_of_another_type_are_refused(tagger: mumic.Tagger, images: Any) -> None:
    with pytest.raises(OptionError, match="images"):
        tagger.tag(images)


def test_directory_is_refused(tagger: mumic.Tagger, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="not a file"):
        tagger.tag([tmp_path])


@pytest.mark.parametrize("options", [{"scoring": "x"}, {"template": 1}])
def test_zero_shot_refuses_invalid_options(tagger: mumic.Tagger, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        tagger.zero_shot([], ["pool"], **options)


@pytest.mark.parametrize(
    "labels", [[], ["cat", "cat"], ["cat", "Cat"], ["b & b", "b &amp; b"], "cat", [""], [1]]
)
def test_zero_shot_refuses_invalid_labels(tagger: mumic.Tagger, labels: list[str]) -> None:
    with pytest.raises(OptionError, match="labels"):
        tagger.zero_shot([photo()], labels)


def test_text_functions_refuse_invalid_texts(tagger: mumic.Tagger) -> None:
    with pytest.raises(OptionError, match="template"):
        tagger.zero_shot([photo()], LABELS, template="a photo")
    with pytest.raises(OptionError, match="at least one text"):
        tagger.embed_texts([])
    with pytest.raises(TextError):
        tagger.embed_texts([""])


def test_package_exports_its_names() -> None:
    assert mumic.__version__ == app.__version__
    assert all(hasattr(mumic, name) for name in mumic.__all__)
    assert (Path(mumic.__file__).parent / "py.typed").is_file()


def test_unreadable_file_is_named(
    tagger: mumic.Tagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo())

    def refuse(*_: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("app.tagger.read_photo_file", refuse)
    with pytest.raises(OptionError, match=r"cannot read .+photo\.jpg: Permission denied"):
        tagger.tag([path])


def test_file_beyond_the_limit_has_an_error(tagger: mumic.Tagger, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo())
    small = mumic.Tagger(tagger.classifier, limits=ImageLimits(max_bytes=1000))
    (result,) = small.tag([path])
    assert result.error is not None
    assert result.error.code == "too_many_bytes"
    assert f"{len(photo()):,} bytes" in result.error.message
