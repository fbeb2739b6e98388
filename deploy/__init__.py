"""What belongs to running the service: alert rules, a bill of materials."""
