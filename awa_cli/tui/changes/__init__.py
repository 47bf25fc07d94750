"""Changes made in the monitor, one module per noun."""
