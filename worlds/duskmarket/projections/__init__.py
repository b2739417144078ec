"""Read models of what Duskmarket alone has: its brokers and its buyers."""
