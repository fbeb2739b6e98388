"""`mumic predict`: files, folders, own labels, and photos that cannot be used."""

import io
import json
import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.core.labels import Label, LabelSet, Thresholds
from app.tagger import TaggedPhoto, Tagger
from tests.support.command import Run
from tests.support.requests import photo, truncated
from tests.support.tiny import write_tiny

Mumic = Callable[..., Run]


@pytest.fixture
def run(run: Mumic) -> Mumic:
    """`mumic predict ARGUMENTS...` with the tiny checkpoint."""
    return partial(run, "predict")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A good photo, a truncated one, another good one."""
    contents = {"cat.jpg": photo(), "cut.jpg": truncated(), "temple.jpg": photo("china")}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    return [tmp_path / name for name in contents]


def results(ran: Run) -> list[dict[str, Any]]:
    """Return the results of a JSON document."""
    document: list[dict[str, Any]] = json.loads(ran.out)["results"]
    return document


def test_predict_prints_one_line_per_photo(run: Mumic, files: list[Path]) -> None:
    ran = run(files[0], files[2])
    assert (ran.code, ran.err) == (0, "")
    lines = [line.split("\t") for line in ran.out.splitlines()]
    assert [path for path, _ in lines] == [str(files[0]), str(files[2])]
    for _, tags in lines:
        assert re.fullmatch(r"[^,]+ [01]\.\d\d(, .+ [01]\.\d\d)*", tags)


def test_predict_reports_bad_photo_in_order_and_exits_1(run: Mumic, files: list[Path]) -> None:
    ran = run(*files)
    assert ran.code == 1
    lines = ran.out.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith(f"{files[1]}\terror: the JPEG image is truncated")
    ran = run("--json", *files)
    assert ran.code == 1
    assert [result["status"] for result in json.loads(ran.out)["results"]] == ["ok", "error", "ok"]


def test_predict_accepts_more_photos_than_one_batch(
    run: Mumic, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUMIC_MAX_BATCH_SIZE", "2")
    ran = run("--json", *[files[0]] * 5)
    results = json.loads(ran.out)["results"]
    assert [result["id"] for result in results] == [str(files[0])] * 5
    assert ran.code == 0


def test_missing_and_unreadable_files_are_answered_with_the_others(
    run: Mumic, files: list[Path], tmp_path: Path
) -> None:
    missing, empty = tmp_path / "no.jpg", ""
    ran = run(missing, files[0], empty, tmp_path / ("a" * 300), files[2])
    assert ran.code == 1
    lines = [line.split("\t")[1] for line in ran.out.splitlines()]
    assert lines[0] == "error: cannot read the file: No such file or directory"
    assert lines[2] == "error: the name is empty"
    assert lines[3] == "error: cannot read the file: File name too long"
    assert not any(lines[good].startswith("error") for good in (1, 4))
    assert ran.err == "mumic: 3 of 5 photos cannot be used\n"
    ran = run("--json", missing, files[0])
    assert (ran.code, [each["status"] for each in results(ran)]) == (1, ["error", "ok"])
    message = "cannot read the file: No such file or directory"
    assert results(ran)[0]["error"] == {"code": "unreadable", "message": message}


def test_file_beyond_the_limit_is_not_read(
    run: Mumic, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUMIC_MAX_IMAGE_BYTES", "1000")
    size = files[0].stat().st_size
    ran = run(files[0], "/dev/zero")
    first, second = ran.out.splitlines()
    assert first.endswith(f"error: the image has {size:,} bytes; at most 1,000 are allowed")
    assert second.endswith("error: the image has 1,001 bytes; at most 1,000 are allowed")


def test_json_equals_the_schema_with_and_without_results(
    run: Mumic, files: list[Path], tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, number in (((), 3), (("--all-scores",), 3)):
        ran = run("--json", *arguments, *files)
        document = json.loads(ran.out)
        assert list(document) == ["model", "results"]
        assert len(document["results"]) == number
        assert ran.out == json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    ran = run("--json", empty)
    assert (ran.code, ran.err) == (1, f"mumic: no photo was found in {empty}\n")
    assert json.loads(ran.out)["results"] == []


def test_folder_gives_its_photos_and_reports_what_it_skips(
    run: Mumic, files: list[Path], tmp_path: Path
) -> None:
    inner = tmp_path / "inner"
    (inner / ".thumbnails").mkdir(parents=True)
    (inner / ".thumbnails" / "a.jpg").write_bytes(photo())
    (inner / "without-suffix").write_bytes(photo())
    (inner / "B.JPG").write_bytes(photo())
    (inner / "notes.TXT").write_text("a")
    (inner / "loop").symlink_to(tmp_path)
    (inner / "gone.png").symlink_to("nowhere")
    os.mkfifo(inner / "pipe.jpg")
    ran = run(f"{tmp_path}/")
    paths = [line.split("\t")[0] for line in ran.out.splitlines()]
    names = ["B.JPG", "gone.png", "without-suffix"]
    assert paths == [*map(str, files), *(str(inner / name) for name in names)]
    skipped, failed = ran.err.splitlines()
    kinds = "1 .txt, 1 hidden, 1 linked folder, 1 special file"
    assert skipped == f"skipped in folders, not photos: {kinds}"
    assert (ran.code, failed) == (1, "mumic: 2 of 6 photos cannot be used")


def test_folder_without_permission_is_an_error(
    run: Mumic, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, scandir = tmp_path / "closed", os.scandir
    closed.mkdir()

    def refuse(path: Path) -> Any:
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    ran = run(tmp_path)
    assert len(ran.out.splitlines()) == len(files) + 1
    assert f"{closed}\terror: cannot list the folder: Permission denied\n" in ran.out


NAMES = {
    b"caf\xe9.jpg": ("caf\\xe9.jpg", "caf\\xe9.jpg"),
    b"a\tb\nc.jpg": ("a\tb\nc.jpg", "a\\x09b\\x0ac.jpg"),
    b"\x1b[31m'\".jpg": ("\x1b[31m'\".jpg", "\\x1b[31m'\".jpg"),
    "\u2028\x85é𝄞.jpg".encode(): ("\u2028\x85é𝄞.jpg", "\\x2028\\x85é𝄞.jpg"),
    b"--json": ("--json", "--json"),
}


@pytest.mark.parametrize("name", NAMES)
def test_any_file_name_is_printed(
    run: Mumic, name: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(os.fsdecode(name)).write_bytes(photo())
    in_json, in_text = NAMES[name]
    ran = run("--json", "--", os.fsdecode(name))
    assert (ran.code, [each["id"] for each in results(ran)]) == (0, [in_json])
    ran = run("--", os.fsdecode(name))
    assert (ran.code, ran.out.count("\n"), ran.out.split("\t")[0]) == (0, 1, in_text)


def test_output_that_cannot_encode_a_name_gets_escapes(
    run: Mumic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "é.jpg"
    path.write_bytes(photo())
    for arguments, encoding, expected in (
        ([], "ascii", b"\\xe9.jpg\t"),
        (["--json"], "utf-8", "é.jpg".encode()),
    ):
        stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr("sys.stdout", stdout)
        assert run(*arguments, path).code == 0
        stdout.flush()
        assert expected in stdout.buffer.getvalue()
        assert stdout.encoding == encoding


def test_photo_on_stdin_is_tagged(run: Mumic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(photo())))
    ran = run("--json", "-")
    assert (ran.code, [each["id"] for each in results(ran)]) == (0, ["-"])


def test_options_of_predict_select_labels(run: Mumic, files: list[Path]) -> None:
    def labels(*options: str) -> list[str]:
        return [each["id"] for each in results(run("--json", *options, files[0]))[0]["labels"]]

    everything = labels("--all-scores")
    assert labels("--min-confidence", "0", "--max-labels", "2") == everything[:2]
    first, second = everything[:2]
    options = ["--min-confidence", "0", "--include-label", first, "--include-label", second]
    assert labels(*options) == [first, second]
    assert labels(*options, "--exclude-label", first) == [second]
    ran = run("--include-label", "nothing_like_it", files[0])
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("mumic: include_labels: no label 'nothing_like_it'")


def test_own_labels_are_scored_as_zero_shot_does(
    run: Mumic, files: list[Path], tmp_path: Path
) -> None:
    texts = tmp_path / "labels.txt"
    texts.write_text("swimming pool\r\n\n cat \n", encoding="utf-8-sig")
    options = ["--label", "temple", "--labels-file", texts, "--scoring", "softmax"]
    ran = run("--json", *options, "--template", "{} here", *files)
    good, bad, _ = results(ran)
    assert sorted(each["label"] for each in good["scores"]) == ["cat", "swimming pool", "temple"]
    assert sum(each["confidence"] for each in good["scores"]) == pytest.approx(1, abs=1e-5)
    assert (bad["error"]["code"], ran.code) == ("corrupt", 1)
    assert json.loads(ran.out)["scoring"] == "softmax"
    best = good["scores"][0]
    line = run(*options, "--template", "{} here", "--max-labels", "1", files[0]).out
    assert line == f"{files[0]}\t{best['label']} {best['confidence']:.2f}\n"
    line = run("--label", "cat", "--min-confidence", "1", files[0]).out
    assert line == f"{files[0]}\tno label reaches its threshold\n"


def test_label_that_is_not_served_is_named_on_stderr(
    run: Mumic, files: list[Path], tmp_path: Path
) -> None:
    spa = Label(
        id="spa", name="Spa", description="a spa", category="X", thresholds=Thresholds(serve=None)
    )
    written = write_tiny(tmp_path / "some", LabelSet(version="1", labels=(spa,)))
    arguments = ["--checkpoint", written, files[0]]
    ran = run(*arguments, "--include-label", "spa")
    assert (ran.code, ran.out) == (0, f"{files[0]}\tno label reaches its threshold\n")
    assert "not served by default (serve: null): spa; add --min-confidence" in ran.err
    assert run(*arguments).err == ""
    ran = run(*arguments, "--include-label", "spa", "--min-confidence", "0")
    assert (ran.out.split("\t")[1][:4], ran.err) == ("Spa ", "")
    ran = run(*arguments, "--include-label", "spa", "--all-scores", "--json")
    assert [each["threshold"] for each in results(ran)[0]["labels"]] == [None]
    assert ran.err == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--template", "{}"], "--template and --scoring need --label or --labels-file"),
        (["--label", "a", "--all-scores"], "own labels cannot be combined with"),
        (["--label", "a", "--include-label", "b"], "own labels cannot be combined with"),
        (["--label", "a", "--label", "a"], "give each label once"),
        (["--label", " "], "a label must not be empty"),
        (["--label", "caf\udce9"], "is not UTF-8"),
        (["--labels-file", "nowhere"], "cannot read nowhere: No such file or directory"),
        (["--labels-file", "/dev/null"], "give at least one label"),
        (["--min-confidence", "nan"], "Usage"),
        (["--all-scores", "--max-labels", "1"], "cannot be combined with"),
    ],
)
def test_invalid_option_is_refused_before_the_first_result(
    run: Mumic, files: list[Path], options: Sequence[str], words: str
) -> None:
    ran = run(*options, files[0])
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err


def test_results_of_a_batch_are_printed_before_the_next_is_read(
    run: Mumic, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUMIC_MAX_BATCH_SIZE", "2")
    tag, sizes = Tagger.tag, list[int]()

    def interrupt(tagger: Tagger, images: Sequence[bytes], **options: Any) -> list[TaggedPhoto]:
        sizes.append(len(images))
        if len(sizes) == 3:
            raise KeyboardInterrupt
        return tag(tagger, images, **options)

    monkeypatch.setattr(Tagger, "tag", interrupt)
    ran = run("--json", *[files[0]] * 5)
    assert (ran.code, sizes) == (130, [0, 2, 2])
    assert len(results(ran)) == 2
    assert "Traceback" not in ran.err
