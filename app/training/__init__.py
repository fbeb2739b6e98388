"""Fine-tuning: from labelled photos to a checkpoint directory."""
