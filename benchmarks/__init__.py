"""Measurements that are not tests: each prints what docs quote."""
