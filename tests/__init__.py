"""The tests; `photos` and `tiny` are what they share."""
