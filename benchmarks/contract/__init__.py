"""Tests a running server against its OpenAPI document."""
