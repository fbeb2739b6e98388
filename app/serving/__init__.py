"""The HTTP side: requests into images, images through one engine, results into responses."""
