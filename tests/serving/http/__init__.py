"""Tests of app.serving.http."""
