"""Photos, what is known of them, and the label texts between."""
