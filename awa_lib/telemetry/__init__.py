"""OpenTelemetry metrics and traces, and groups of failures."""
