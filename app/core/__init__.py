"""What serving, training, evaluation and backfill share: from bytes to probabilities."""
