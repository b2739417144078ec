"""The invariants of the log, the handlers and the projections, each as a pure function over what was recorded.

Every function takes what the log, the tables and the writers' journals hold and returns what is wrong with it: an empty list is a kept
promise. None of them asks the code under test. tests/chaos/test_checks_*.py feeds each of them a history in which its promise is broken.
"""
