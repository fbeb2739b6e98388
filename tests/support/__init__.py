"""Fakes, builders of test data and servers that several tests use."""
