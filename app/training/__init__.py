"""Fine-tuning: from a manifest of photos with labels to a checkpoint directory."""
