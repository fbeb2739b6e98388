"""The running server against what openapi.yaml says of it."""
