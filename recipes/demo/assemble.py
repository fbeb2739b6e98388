"""Assembles a checkpoint from the fine-tuned image tower and the distilled text tower."""

import argparse
import json
from pathlib import Path

import torch
from imagenet import folded, imagenet_network, lower_and_upper, unfold
from open_clip import SimpleTokenizer
from open_clip.model import CustomTextCLIP
from safetensors import safe_open
from safetensors.torch import load_file
from students import runs_of

from app.core.checkpoint import write_checkpoint
from app.core.labels import load_label_set
from app.core.model import MumicModel

HERE = Path(__file__).parent


@torch.no_grad()
def assembled(
    config: dict[str, object], student: Path, tower: Path, text_tower: Path
) -> MumicModel:
    """Build the model.

    Args:
        config: open_clip's `model_cfg`.
        student: output of `finetune.py`.
        tower: weights of the ImageNet network, for the stages that were not trained.
        text_tower: output of `distil_text.py`.
    """
    clip = CustomTextCLIP(**config).eval()
    weights = imagenet_network(tower).state_dict()
    trunk = clip.visual.trunk
    trunk.load_state_dict({key: weights[key] for key in trunk.state_dict()})
    with safe_open(student, framework="pt") as file:
        stages = int(file.metadata()["stages"])
    layers = lower_and_upper(folded(imagenet_network(tower)), stages)[1]
    trained = load_file(student)
    upper = {k.removeprefix("upper."): v for k, v in trained.items() if k.startswith("upper.")}
    layers.load_state_dict(upper)
    unfold(layers, lower_and_upper(trunk, stages)[1])
    clip.visual.head.proj.weight.copy_(trained["head.weight"])
    clip.text.load_state_dict(load_file(text_tower))
    clip.logit_scale.copy_(trained["logit_scale"])
    context_length = clip.text.context_length
    return MumicModel(clip, SimpleTokenizer(context_length=context_length))


def main() -> None:
    """Write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("student", "tower", "text-tower", "labels", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    config = json.loads((HERE / "model_config.json").read_text())
    model_cfg = {k: v for k, v in config["model_cfg"].items() if k != "custom_text"}
    write_checkpoint(
        args.out,
        assembled(model_cfg, args.student, args.tower, args.text_tower),
        config,
        load_label_set(args.labels),
        name=args.out.name,
        version="3.0.0",
        readme=f"# {args.out.name}\n\nWritten by recipes/demo/assemble.py.\n",
        training={"recipe": "recipes/demo/finetune.py", "runs": runs_of(args.student)},
        dtype=torch.float32,
    )


if __name__ == "__main__":
    main()
