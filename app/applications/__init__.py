"""What listings of photos are used for: applications of the labels and embeddings (section 6)."""
