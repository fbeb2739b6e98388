"""Files for operating the service: Prometheus, Grafana and the bill of materials."""
