"""Which classes of the photo set are judged: those with at least 29 positives in the part test."""

SCORED = (
    *("cat", "cow", "dog", "horse", "person", "sheep"),
    *("desert", "mountains", "sea", "sunset", "trees"),
    *("bathroom", "bedroom", "frontal", "kitchen"),
)
