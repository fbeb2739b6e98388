"""Averages the weights of runs of `finetune.py` that continued the same run.

The average often classifies better than each of the runs (Wortsman et al., Model soups, 2022).
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from students import Runs, runs_of


def main() -> None:
    """Write the average."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("students", type=Path, nargs="+", help="outputs of finetune.py")
    parser.add_argument("--out", type=Path, required=True, help="a safetensors file")
    args = parser.parse_args()
    weights = [load_file(student) for student in args.students]
    mean = {key: torch.stack([each[key] for each in weights]).mean(dim=0) for key in weights[0]}
    runs = [runs_of(student) for student in args.students]
    averaged: Runs = [*runs[0][:-1], [run for each in runs for run in each[-1]]]
    with safe_open(args.students[0], framework="pt") as file:
        metadata = {**file.metadata(), "runs": json.dumps(averaged)}
    save_file(mean, args.out, metadata=metadata)


if __name__ == "__main__":
    main()
