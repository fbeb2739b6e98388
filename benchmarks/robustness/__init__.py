"""Load runs with faults, overload and hostile requests."""
