"""Tests of app.serving.request."""
