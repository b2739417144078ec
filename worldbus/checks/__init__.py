"""The checks of `worldbus check`, one noun a file; `worldbus.doctor` goes through them in order. Nothing here changes or makes anything."""
