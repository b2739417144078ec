"""The load generator of inference: what players ask, when, on which servers, and what became of it."""
