"""The capacity report: what the bus carries on this machine, what an engine carries, and whether a plan of GPUs holds."""
