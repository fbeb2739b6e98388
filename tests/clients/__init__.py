"""Clients that generators make from openapi.yaml, against a running server: `make clients`."""
