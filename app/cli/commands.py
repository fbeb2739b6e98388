"""`mumic ...`: results go to stdout, everything else to stderr, exit codes are honest.

0: done. 1: it could not be done, or not for all. 2: the call was wrong.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsError
from rich.console import Console

from app.cli.baseline_asl import asl_command
from app.cli.compare import compare_command
from app.cli.data import data_app
from app.cli.evaluate import evaluate_command
from app.cli.prompts import prompts_command
from app.cli.thresholds import thresholds_command
from app.cli.train import train_command
from app.cli.tune import tune_command
from app.errors import InputError, MumicError, OptionError
from app.serving.observability import log_to_stderr
from app.serving.process import unknown_settings
from app.settings import Settings

app = typer.Typer(
    help="Tag photos: serve, predict; make the checkpoint: data, train, tune, evaluate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# Modules that a plain install does not bring.
EXTRA_OF = dict.fromkeys(
    "lightning_fabric markdown_it matplotlib optuna pyarrow sklearn tensorboard".split(), "train"
) | {"opentelemetry": "traces"}
NO_TEMPORARY_DIRECTORY = "No usable temporary directory"  # Python's words
errors = Console(stderr=True, highlight=False, soft_wrap=True)
logger = logging.getLogger("mumic.settings")

CheckpointOption = Annotated[
    Path | None,
    typer.Option("--checkpoint", help="checkpoint directory [MUMIC_CHECKPOINT; the shipped one]"),
]
DeviceOption = Annotated[
    str | None, typer.Option(help="auto, cpu, cuda or cuda:N [MUMIC_DEVICE; auto]")
]
PrecisionOption = Annotated[
    str | None, typer.Option(help="auto, fp32, bf16 or fp16 [MUMIC_PRECISION; auto]")
]


@app.command()
def serve(
    checkpoint: CheckpointOption = None,
    host: Annotated[str | None, typer.Option(help="[MUMIC_HOST; 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="[MUMIC_PORT; 8000]")] = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    workers: Annotated[
        int | None, typer.Option(help="server processes on the port [MUMIC_WORKERS; 1]")
    ] = None,
) -> None:
    """Serve a checkpoint over HTTP. Every setting is a MUMIC_ variable as well."""
    settings = read_settings(
        checkpoint=checkpoint,
        host=host,
        port=port,
        device=device,
        precision=precision,
        workers=workers,
    )
    log_to_stderr(settings.log_format)
    for line in unknown_settings(os.environ):
        logger.warning(line)
    if settings.workers > 1:
        from app.serving.process import run_workers

        raise typer.Exit(run_workers(settings, worker_app, announce))
    from app.main import run_server

    run_server(settings, announce)


def announce(line: str) -> None:
    """Say that the server listens; where stderr's disk is full, it serves all the same."""
    with suppress(OSError):
        errors.print(line, markup=False)


def worker_app(settings: Settings) -> Any:
    """What a worker serves; what is wrong ends the worker as it would end the command."""
    with exit_codes():
        from app.main import create_worker

        return create_worker(settings)


@app.command()
def predict(
    photos: Annotated[list[Path], typer.Argument(help="photo files")],
    as_json: Annotated[bool, typer.Option("--json", help="the answer of POST /predict")] = False,
    checkpoint: CheckpointOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Tag photo files with the checkpoint's labels, without a server."""
    from app.main import load_classifier
    from app.prediction import as_lines, predict_files

    settings = read_settings(checkpoint=checkpoint, device=device, precision=precision)
    answer = predict_files(photos, load_classifier(settings), settings)
    if as_json:
        sys.stdout.write(answer.model_dump_json(indent=2) + "\n")
    else:
        sys.stdout.writelines(as_lines(answer))
    if any(result.status == "error" for result in answer.results):
        raise typer.Exit(1)


@app.command("import")
def import_(
    architecture: Annotated[str, typer.Argument(help="open_clip's name, e.g. ViT-B-32-quickgelu")],
    out: Annotated[Path, typer.Option(help="the checkpoint directory to write")],
    pretrained: Annotated[
        str | None, typer.Option(help="open_clip's tag of weights to download")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="a .safetensors or state-dict .pt file")
    ] = None,
    random: Annotated[bool, typer.Option("--random", help="random weights (benchmarks)")] = False,
    labels: Annotated[
        Path | None, typer.Option(help="a label set; default: the built-in travel set")
    ] = None,
    name: Annotated[str | None, typer.Option(help="default: the directory's name")] = None,
    version: Annotated[str, typer.Option(help="the checkpoint's version")] = "1.0.0",
) -> None:
    """Make a checkpoint directory from an open_clip architecture."""
    from app.core.checkpoint import import_checkpoint
    from app.core.labels import builtin_label_set, load_label_set

    if sum((pretrained is not None, weights is not None, random)) != 1:
        raise OptionError("weights", "give one of --pretrained, --weights and --random")
    import_checkpoint(
        architecture,
        out,
        load_label_set(labels) if labels else builtin_label_set(),
        name=name or out.name,
        version=version,
        pretrained=pretrained,
        weights=weights,
    )
    errors.print(f"wrote {out}; serve it with: mumic serve --checkpoint {out}", markup=False)


app.add_typer(data_app, name="data")
app.command("train")(train_command)
app.command("tune")(tune_command)
app.command("prompts")(prompts_command)
app.command("thresholds")(thresholds_command)
app.command("evaluate")(evaluate_command)
app.command("compare")(compare_command)
baseline = typer.Typer(help="Train what MuMIC is compared with.", no_args_is_help=True)
baseline.command("asl")(asl_command)
app.add_typer(baseline, name="baseline")


@app.command()
def seal(directory: Annotated[Path, typer.Argument(help="a checkpoint directory")]) -> None:
    """Sign a checkpoint whose labels, thresholds or weights you edited on purpose."""
    from app.core.checkpoint import seal as sign

    sign(directory)
    errors.print(f"sealed {directory}", markup=False)


@app.command()
def openapi() -> None:
    """Print the server's OpenAPI document as YAML."""
    import yaml

    from app.main import create_app, load_classifier

    settings = read_settings()
    document = create_app(settings, load_classifier(settings)).openapi()
    sys.stdout.write(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100))


def read_settings(**given: Any) -> Settings:
    """The environment's settings, with what the command line gives instead.

    Raises:
        OptionError: a value is not allowed; the text names the option.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0]).lower()
        option = f"--{field} or " if field in given else ""
        secret = SecretStr in get_args(Settings.model_fields[field].annotation)
        got = "" if secret else f", got {first['input']!r}"
        message = (
            f"{first['msg'].removeprefix('Value error, ')}{got} ({option}MUMIC_{field.upper()})"
        )
        raise OptionError(field, message) from error
    except SettingsError as error:  # of a list
        field = str(error).partition('"')[2].partition('"')[0]
        message = f'must be a JSON list, as ["a", "b"] (MUMIC_{field.upper()})'
        raise OptionError(field, message) from error


@contextmanager
def exit_codes() -> Iterator[None]:
    """The one place where errors become exit codes."""
    try:
        yield
    except InputError as error:
        errors.print(f"mumic: {error}", markup=False)
        sys.exit(2)
    except MumicError as error:
        errors.print(f"mumic: {error}", markup=False)
        sys.exit(1)
    except FileNotFoundError as error:
        if NO_TEMPORARY_DIRECTORY not in str(error):
            raise
        why = f"{error.strerror}; PyTorch needs one: set TMPDIR"
        errors.print(f"mumic: {why}", markup=False)
        sys.exit(1)
    except ModuleNotFoundError as error:
        name = error.name or ""
        extra = EXTRA_OF.get(name.partition(".")[0])  # of many, some may be there
        if extra is None:
            raise
        errors.print(f"mumic: {name} is missing; pip install 'mumic[{extra}]'", markup=False)
        sys.exit(1)


def main() -> None:
    """Run the command line."""
    with exit_codes():
        app()


if __name__ == "__main__":
    main()
