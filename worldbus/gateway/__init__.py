"""The HTTP gateway: events in, events and signals out, for engines and tools that speak no NATS."""
