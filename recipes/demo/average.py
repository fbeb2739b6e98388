"""Average the weights of checkpoints that were trained from the same start.

A fine-tuned tower forgets what its photos do not show; on the way back to its start it is better
on both, and runs averaged with each other are better than each. The projection forgets more than
the trunk, so it may have shares of its own. All projections are brought to one length, which
cosines do not see.
"""

import argparse
import math
from pathlib import Path

import torch
from scored import SCORED
from torch import Tensor

from app.core.checkpoint import load_model, read_checkpoint, write_checkpoint
from app.dataset.labelled import load_labelled
from app.dataset.names import load_names
from app.evaluation.metrics import macro_map
from app.training.validation import evaluate

HERE = Path(__file__).parent
PROJECTION = "visual.head.proj.weight"


def averaged(
    states: list[dict[str, Tensor]], shares: list[float], of_projection: list[float]
) -> dict[str, Tensor]:
    """The weighted mean of the image towers; counters and all else are those of the last."""
    length = states[-1][PROJECTION].norm()
    for state in states:
        state[PROJECTION] = state[PROJECTION] * (length / state[PROJECTION].norm())
    mean = {
        key: mixture([state[key] for state in states], shares)
        if key.startswith("visual.") and last.is_floating_point()
        else last
        for key, last in states[-1].items()
    }
    return mean | {PROJECTION: mixture([state[PROJECTION] for state in states], of_projection)}


def mixture(tensors: list[Tensor], shares: list[float]) -> Tensor:
    """The weighted mean of tensors of one shape."""
    return (torch.stack(tensors) * torch.tensor(shares).view(-1, *[1] * tensors[0].ndim)).sum(0)


def shares_of(
    parser: argparse.ArgumentParser, text: str, count: int
) -> tuple[list[float], list[float]]:
    """The shares of all else and of the projection, each of which has one a checkpoint."""
    try:
        parts = [[float(share) for share in part.split(",")] for part in text.split(":")]
    except ValueError:
        parts = []
    fit = all(len(part) == count and math.isclose(sum(part), 1, abs_tol=1e-6) for part in parts)
    if not fit or len(parts) not in {1, 2}:
        parser.error(f"--shares {text}: give {count} numbers, one a checkpoint, that add up to 1")
    return parts[0], parts[-1]


def main() -> None:
    """Measure mixtures on the part validation; write the last one where `--out` is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", type=Path, nargs="+", help="the last one's text and scale")
    parser.add_argument(
        "--shares",
        action="append",
        required=True,
        help="such as 0.2,0.8, or 0.2,0.8:0.4,0.6 with other shares of the projection (repeatable)",
    )
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    count = len(args.checkpoints)
    mixtures = [(text, *shares_of(parser, text, count)) for text in args.shares]

    last = read_checkpoint(args.checkpoints[-1])
    names = load_names(HERE / "names.yaml", last.labels)
    data = load_labelled(args.manifest, args.photos, last.labels, names=names)
    states = [load_model(path).clip.state_dict() for path in args.checkpoints]
    model = load_model(args.checkpoints[-1])
    for text, shares, of_projection in mixtures:
        state = averaged(states, shares, of_projection)
        model.clip.load_state_dict(state)
        ap = evaluate(model, last.preprocess, data, "validation")
        scored = macro_map([ap[name] for name in SCORED])
        print(
            f"{text}: validation {scored:.4f}, all {macro_map(list(ap.values())):.4f}", flush=True
        )
    if args.out:
        write_checkpoint(
            args.out,
            model,
            last.config,
            last.labels,
            name=last.card.name,
            version=last.card.version,
            readme="# An average of checkpoints\n",
            training={
                **last.card.training,
                "averaged": {"checkpoints": [p.name for p in args.checkpoints], "shares": text},
            },
            metrics={"validation": {"macro_map_scored": scored, **ap}},
        )


if __name__ == "__main__":
    main()
