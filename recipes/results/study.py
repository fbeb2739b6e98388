"""What the paper found, on other photos: each sub-command prints one section of docs/results.md.

Runs are kept in the work folder; a command that is started again makes the missing ones alone.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cropping
import learning_rates
import order
import saturation
import temperature
import zero_shot
from runs import Study

from app.dataset.manifest import PARTS
from app.errors import MumicError

LEFT_OUT = ("sea", "mountains", "sunset", "bathroom", "cow")


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--init", type=Path, required=True, help="checkpoint where runs start")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--names", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--part", choices=PARTS, default="validation")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--asl-epochs", type=int, default=18)
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    parser.add_argument("--asl-learning-rate", type=float, default=1e-4)
    parser.add_argument("--frozen", action="store_true", help="train the image projection alone")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--device", default="auto")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("learning-rates", help=learning_rates.__doc__)
    ordered = commands.add_parser("order", help=order.__doc__)
    ordered.add_argument("--top", type=int, default=15)
    commands.add_parser("temperature", help=temperature.__doc__)
    commands.add_parser("cropping", help=cropping.__doc__)
    commands.add_parser("saturation", help=saturation.__doc__)
    without = commands.add_parser("zero-shot", help=zero_shot.__doc__)
    without.add_argument("--leave-out", nargs="+", default=LEFT_OUT)
    return parser.parse_args()


def main() -> None:
    """Run one study and print its tables."""
    given = vars(read_arguments())
    command = given.pop("command")
    top = given.pop("top", 0)
    left_out = given.pop("leave_out", ())
    study = Study(**given)
    lines: dict[str, Callable[[], Iterator[str]]] = {
        "learning-rates": lambda: learning_rates.lines(study),
        "order": lambda: order.lines(study, top),
        "temperature": lambda: temperature.lines(study),
        "cropping": lambda: cropping.lines(study),
        "saturation": lambda: saturation.lines(study),
        "zero-shot": lambda: zero_shot.lines(study, left_out),
    }
    try:
        sys.stdout.writelines(lines[command]())
    except MumicError as error:
        sys.exit(f"study: {error}")
    sys.stdout.write(f"\n{study.setting}")


if __name__ == "__main__":
    main()
