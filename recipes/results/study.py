"""Reproduces the paper's comparisons on other photos.

Each sub-command prints one section of docs/results.md. Runs are kept in the work folder; a
restarted command makes only the missing ones.
"""

import argparse
import sys
from pathlib import Path

import calibration
import cropping
import hierarchy
import learning_rates
import lora
import order
import saturation
import temperature
import unknown_pairs
import zero_shot
from runs import Study

from app.dataset.manifest import SPLITS
from app.errors import MumicError

STUDIES = {
    "learning-rates": learning_rates,
    "order": order,
    "temperature": temperature,
    "cropping": cropping,
    "saturation": saturation,
    "zero-shot": zero_shot,
    "lora": lora,
    "unknown-pairs": unknown_pairs,
    "hierarchy": hierarchy,
    "calibration": calibration,
}
LEFT_OUT = ("sea", "mountains", "sunset", "bathroom", "cow")


def read_arguments() -> argparse.Namespace:
    """Parse the command line."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--init", type=Path, required=True, help="checkpoint that runs start from")
    shared.add_argument("--manifest", type=Path, required=True)
    shared.add_argument("--photos", type=Path, required=True)
    shared.add_argument("--names", type=Path)
    shared.add_argument("--work", type=Path, required=True, help="folder of the runs")
    shared.add_argument("--part", dest="split", choices=SPLITS, default="validation")
    shared.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    shared.add_argument("--epochs", type=int, default=3)
    shared.add_argument("--asl-epochs", type=int, default=18)
    shared.add_argument("--learning-rate", type=float, default=1e-5)
    shared.add_argument("--asl-learning-rate", type=float, default=1e-4)
    shared.add_argument("--frozen", action="store_true", help="train only the image projection")
    shared.add_argument("--workers", type=int, default=0)
    shared.add_argument("--device", default="auto")
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in STUDIES.items():
        command = commands.add_parser(name, help=module.__doc__, parents=[shared])
        if module is order:
            command.add_argument("--top", type=int, default=15)
        if module in (zero_shot, lora):
            command.add_argument("--leave-out", nargs="+", default=LEFT_OUT)
        if module is unknown_pairs:
            command.add_argument(
                "--label-share", type=float, default=0.2, help="share of the train labels to keep"
            )
    return parser.parse_args()


def main() -> None:
    """Run one study and print its tables."""
    given = vars(read_arguments())
    own = {key: given.pop(key) for key in ("top", "leave_out", "label_share") if key in given}
    lines = STUDIES[given.pop("command")].lines
    study = Study(**given)
    try:
        sys.stdout.writelines(lines(study, **own))
    except MumicError as error:
        sys.exit(f"study: {error}")
    sys.stdout.write(f"\n{study.setting}")


if __name__ == "__main__":
    main()
