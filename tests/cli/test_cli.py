"""The command line: output, exit codes and one-line errors."""

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app import __version__
from app.core.checkpoint import read_checkpoint
from tests.support.command import Run
from tests.support.fakes import wait_until
from tests.support.requests import photo, raw, truncated
from tests.support.tiny import write_tiny

SECONDS_TO_START = 120  # torch alone takes several on a busy machine
Mumic = Callable[..., Run]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A good photo, a truncated one, another good one."""
    contents = {"cat.jpg": photo(), "cut.jpg": truncated(), "temple.jpg": photo("china")}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    return [tmp_path / name for name in contents]


def assert_one_line(stderr: str, *words: str) -> None:
    assert stderr.count("\n") == 1, stderr
    assert stderr.startswith("mumic: ")
    assert "Traceback" not in stderr
    for word in words:
        assert word in stderr


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--device", "gpu", "must be auto, cpu, cuda or cuda:N (a GPU is cuda)"),
        ("--precision", "fp8", "must be auto, fp32, bf16 or fp16"),
        ("--checkpoint", "", "must be a path"),
    ],
)
def test_invalid_option_is_named(
    run: Mumic, files: list[Path], option: str, value: str, words: str
) -> None:
    ran = run("predict", option, value, files[0])
    assert (ran.code, ran.out) == (2, "")
    assert_one_line(ran.err, option, repr(value), words)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("MUMIC_PORT", "99999", "must be an integer from 0 to 65535"),
        ("MUMIC_MAX_BATCH_SIZE", "none", "must be an integer from 1 to 4096"),
        ("MUMIC_REQUEST_TIMEOUT_S", "0", "must be a number above 0"),
        ("MUMIC_REQUEST_TIMEOUT_S", "inf", "must be a number above 0"),
        ("MUMIC_HOST", "", "must be a text that is not empty"),
        ("MUMIC_MAX_QUEUED_IMAGES", "63", "at least MUMIC_MAX_IMAGES_PER_REQUEST, which is 64"),
        ("MUMIC_MAX_QUEUED_BYTES", "9", "at least MUMIC_MAX_REQUEST_BYTES, which is 67108864"),
    ],
)
def test_invalid_variable_is_named(
    run: Mumic,
    files: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    words: str,
) -> None:
    monkeypatch.setenv(variable, value)
    for command in ("predict", "openapi"):
        ran = run(command, *(files if command == "predict" else []))
        assert (ran.code, ran.out) == (2, "")
        assert_one_line(ran.err, f"({variable})", repr(value), words)


def test_invalid_list_and_secret_are_not_printed(
    run: Mumic, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value, words in [
        ("MUMIC_URL_ALLOW_HOSTS", "shop.example", "must be a JSON list"),
        ("MUMIC_ADMIN_TOKEN", "tooshort", "must have at least 16 characters"),
        ("MUMIC_METRICS_TOKEN", "tooshort", "must have at least 16 characters"),
    ]:
        with monkeypatch.context() as environment:
            environment.setenv(variable, value)
            ran = run("openapi")
        assert (ran.code, ran.out) == (2, "")
        assert_one_line(ran.err, f"({variable})", words)
        assert value not in ran.err


def test_usage_error_exits_2(run: Mumic) -> None:
    for wrong in (["predict"], ["serve", "--port", "x"], ["frobnicate"], ["predict", "--jsn", "a"]):
        ran = run(*wrong)
        assert (ran.code, ran.out) == (2, "")
        assert "Usage" in ran.err


def test_version_is_printed(run: Mumic) -> None:
    ran = run("--version")
    assert (ran.code, ran.out, ran.err) == (0, f"mumic {__version__}\n", "")


def test_help_does_not_import_torch() -> None:
    script = "import sys, app.cli; print('torch' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert process.stdout == b"False\n"


def test_unknown_propagator_is_one_line_error() -> None:
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0"]
    ran = subprocess.run(
        command,
        env=os.environ | {"OTEL_PROPAGATORS": "tracecontext,b4"},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_TO_START,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert_one_line(ran.stderr, "OTEL_PROPAGATORS: no propagator 'b4'")


def test_predict_loads_checkpoint_of_train(
    run: Mumic, files: list[Path], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "photos.csv"
    (tmp_path / "cat2.jpg").write_bytes(files[0].read_bytes())
    rows = [
        "cat.jpg,train,pets,place_of_worship",
        "temple.jpg,train,place_of_worship,pets",
        "cat2.jpg,validation,pets,place_of_worship",
    ]
    manifest.write_text("\n".join(["file,part,positive,negative", *rows]))
    out = tmp_path / "mine"
    options = ["--init", tiny_checkpoint, "--manifest", manifest, "--photos", files[0].parent]
    trained = run("train", *options, "--out", out, "--epochs", "1", "--batch-size", "2")
    assert trained.code == 0
    assert "macro mAP" in trained.err
    assert run("predict", "--checkpoint", out, files[0]).code == 0


@pytest.mark.parametrize("command", ["train", "tune --trials 1", "baseline asl"])
def test_untrainable_manifest_is_refused_with_working_advice(
    run: Mumic, files: list[Path], tiny_checkpoint: Path, tmp_path: Path, command: str
) -> None:
    manifest, out = tmp_path / "photos.csv", tmp_path / "mine"
    arguments = [*command.split(), "--init", tiny_checkpoint, "--manifest", manifest, "--out", out]
    arguments += ["--photos", files[0].parent, "--epochs", "1"]
    for copy in ("cat2.jpg", "cat3.jpg"):
        (files[0].parent / copy).write_bytes(files[0].read_bytes())
    for last, words in {
        "test,,pets": "column part: no photo is in the split validation",
        "validation,,pets": "column positive: no photo of the split validation has a name",
        "validation,pets,\ncat3.jpg,validation,,pets": (
            "column positive: the split train has only negative photos for flowers"
        ),
    }.items():
        rows = f"cat.jpg,train,pets,flowers\ncat2.jpg,train,,pets\ntemple.jpg,{last}\n"
        manifest.write_text(f"file,part,positive,negative\n{rows}")
        ran = run(*arguments)
        assert (ran.code, ran.out) == (1, "")
        assert_one_line(ran.err, str(manifest), words)
        assert sorted(tmp_path.glob("mine*")) == []
    advice = ran.err.partition("without those labels: ")[2].split()
    ran = run(*arguments, *advice)
    assert ran.code == 0, ran.err
    assert out.is_dir()


@pytest.mark.parametrize(
    "sources", [[], ["--random", "--pretrained", "openai"], ["--random", "--weights", "a.pt"]]
)
def test_import_needs_exactly_one_source(run: Mumic, tmp_path: Path, sources: list[str]) -> None:
    ran = run("import", "ViT-B-32-quickgelu", "--out", tmp_path / "new", *sources)
    assert ran.code == 2
    assert_one_line(ran.err, "give one of --pretrained, --weights and --random")
    assert not (tmp_path / "new").exists()


def test_import_names_unknown_architecture_and_missing_file(run: Mumic, tmp_path: Path) -> None:
    ran = run("import", "ViT-B-23-quickgelu", "--random", "--out", tmp_path / "new")
    assert ran.code == 2
    assert_one_line(ran.err, "did you mean", "ViT-B-32-quickgelu")
    ran = run("import", "ViT-B-32", "--weights", tmp_path / "no.pt", "--out", tmp_path / "new")
    assert ran.code == 1
    assert_one_line(ran.err, "no such file")


def test_import_with_own_labels_makes_servable_checkpoint(
    run: Mumic, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    labels = tmp_path / "labels.yaml"
    labels.write_text(
        'version: "1"\nlabels:\n- {id: dog, name: Dog, description: a dog, category: Animals}\n'
    )
    out = tmp_path / "start"
    ran = run("import", tiny_checkpoint, "--out", out)
    assert ran.code == 2
    assert_one_line(ran.err, "--labels labels.yaml")
    ran = run("import", tiny_checkpoint, "--labels", tmp_path / "no.yaml", "--out", out)
    assert ran.code == 1
    assert_one_line(ran.err, "no.yaml", "No such file")
    assert not out.exists()
    ran = run("import", tiny_checkpoint, "--labels", labels, "--out", out)
    assert ran.code == 0, ran.err
    checkpoint = read_checkpoint(out)
    assert (checkpoint.card.name, checkpoint.labels.ids) == ("start", ["dog"])


@pytest.mark.parametrize("command", ["serve", "predict"])
def test_missing_checkpoint_is_one_line_error(
    run: Mumic, tmp_path: Path, files: list[Path], command: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    where = ["--port", str(port)] if command == "serve" else [str(files[0])]
    ran = run(command, "--checkpoint", tmp_path / "nothing", *where)
    assert (ran.code, ran.out) == (1, "")
    assert_one_line(ran.err, str(tmp_path / "nothing"))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_port_in_use_is_one_line_error(run: Mumic) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run("serve", "--port", str(port))
    assert (ran.code, ran.out) == (2, "")
    assert_one_line(ran.err, f"port: cannot listen on 127.0.0.1:{port}: Address already in use")


@contextmanager
def serving(checkpoint: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--device", "cpu"]
    command += ["--precision", "fp32"]  # auto depends on the machine
    environment = os.environ | {"MUMIC_CHECKPOINT": str(checkpoint), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stderr
    ready, _, _ = select.select([process.stderr], [], [], SECONDS_TO_START)
    assert ready, "no line on stderr"
    return process.stderr.readline()


@pytest.mark.slow
def test_serve_announces_reloads_on_sighup_and_stops_on_sigterm(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    place = tmp_path / "current"
    place.symlink_to(tiny_checkpoint)
    with serving(place) as server:
        line = first_line(server)
        found = re.search(r"listens on (http://127\.0\.0\.1:\d+)", line)
        assert found, line
        for words in ("tiny 1.2.3", str(place), "cpu", "fp32"):
            assert words in line
        with httpx.Client(base_url=found[1], timeout=SECONDS_TO_START) as client:
            assert client.get("/readyz").status_code == 200

            def version() -> str:
                answer = client.post("/predict", **raw(photo()))
                assert answer.status_code == 200
                return str(answer.json()["model"]["version"])

            assert version() == "1.2.3"
            place.unlink()
            place.symlink_to(write_tiny(tmp_path / "new", seed=2, version="2.0.0"))
            server.send_signal(signal.SIGHUP)
            wait_until(lambda: version() == "2.0.0", SECONDS_TO_START)
        server.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert server.wait(SECONDS_TO_START) in (0, -signal.SIGTERM)
        assert time.monotonic() - started < 20
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{found[1]}/readyz")
