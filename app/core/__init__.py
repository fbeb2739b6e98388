"""Code shared by serving, training and evaluation: from image bytes to probabilities."""
