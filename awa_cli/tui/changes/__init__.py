"""Changes that the monitor makes, one module per noun."""
