"""The standard subsystems: each a frozen value of pure functions, events in, events out. `worldbus.standard` has all of them."""
