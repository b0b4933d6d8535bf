"""tokenctl: issue, inspect, revoke, rotate and account for API tokens."""

__version__ = "0.1.0"
