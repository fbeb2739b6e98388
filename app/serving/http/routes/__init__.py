"""One module for each endpoint that takes images, one for all that only read."""
