"""The routes: one module per endpoint or group of endpoints."""
