"""Builds the initial checkpoint of the training, which uses no human label.

The image trunk is that of the ImageNet network and the text tower is the distilled one. The
projection between them is a least-squares solution: with T (1000, D) the embeddings of the class
names' prompts and C (1000, F) the network's classifier, W of T @ W = C maps the features of an
image close to the text embeddings of its classes.
"""

import argparse
import json
from pathlib import Path

import torch
from imagenet import imagenet_network
from open_clip import SimpleTokenizer
from open_clip.model import CustomTextCLIP
from safetensors.torch import load_file
from torch import Tensor
from vocabulary import imagenet_names

from app.core.checkpoint import write_checkpoint
from app.core.labels import load_label_set, render
from app.core.model import MumicModel

HERE = Path(__file__).parent
RIDGE = 1e-2


def solved_projection(texts: Tensor, classifier: Tensor) -> Tensor:
    """Return the least-squares W (D, F) of texts (K, D) @ W = classifier (K, F) minus its mean."""
    gram = texts.T @ texts + RIDGE * torch.eye(texts.shape[1])
    projection: Tensor = torch.linalg.solve(gram, texts.T @ (classifier - classifier.mean(0)))
    return projection.contiguous()


@torch.no_grad()
def main() -> None:
    """Write the initial checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tower", type=Path, required=True, help="the ImageNet network's weights")
    parser.add_argument("--classes", type=Path, required=True, help="its class names, one a line")
    parser.add_argument("--text-tower", type=Path, required=True, help="output of distil_text.py")
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    config = json.loads((HERE / "model_config.json").read_text())
    model_cfg = {k: v for k, v in config["model_cfg"].items() if k != "custom_text"}
    clip = CustomTextCLIP(**model_cfg).eval()
    tower = imagenet_network(args.tower).state_dict()
    classifier = tower.pop("classifier.weight")
    del tower["classifier.bias"]
    clip.visual.trunk.load_state_dict(tower)
    clip.text.load_state_dict(load_file(args.text_tower))
    context_length = model_cfg["text_cfg"]["context_length"]
    model = MumicModel(clip, SimpleTokenizer(context_length=context_length))

    label_set = load_label_set(args.labels)
    names = imagenet_names(args.classes)
    prompts = [render(label_set.template, name.split(", ")[0]) for name in names]
    texts = torch.cat(
        [model.encode_text(batch) for batch in torch.split(model.tokenize(prompts), 250)]
    )
    clip.visual.head.proj.weight.copy_(solved_projection(texts, classifier))
    clip.logit_scale.fill_(3.652)

    write_checkpoint(
        args.out,
        model,
        config,
        label_set,
        name="mumic-demo-start",
        version="0.0.0",
        readme="# Initial demonstration checkpoint\n\nNot yet trained on photos.\n",
        training={"recipe": "recipes/demo", "stage": "start"},
        dtype=torch.float32,
    )


if __name__ == "__main__":
    main()
