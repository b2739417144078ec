"""Kill, pause, cut the power and flip bits under load, then check every promise from the log and the tables alone.

history, journal    what the log holds, what the writers were told
load, worker        the processes under test
cluster, nemesis    running them, and doing them harm
checks              the promises, one pure function each
kills, handovers, powercuts, bitflips    the runs; `run` does all of them
"""
