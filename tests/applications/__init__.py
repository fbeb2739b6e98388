"""Applications of labels and embeddings."""
