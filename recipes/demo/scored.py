"""The scored classes of the photo set: those with at least 29 positives in the test split."""

from collections.abc import Mapping

from app.evaluation.metrics import macro_map

SCORED = (
    *("cat", "cow", "dog", "horse", "person", "sheep"),
    *("desert", "mountains", "sea", "sunset", "trees"),
    *("bathroom", "bedroom", "frontal", "kitchen"),
)


def print_scores(ap: Mapping[str, float]) -> dict[str, float]:
    """Print the validation metrics of a checkpoint and return them for its card.

    Args:
        ap: average precision of each class; NaN for a class without a positive.
    """
    scored, everything = macro_map([ap[name] for name in SCORED]), macro_map(list(ap.values()))
    print(f"validation: macro mAP {scored:.4f} over the scored, {everything:.4f} over all")
    print(", ".join(f"{name} {ap[name]:.3f}" for name in SCORED))
    return {"macro_map_scored": scored, "macro_map": everything, **ap}
