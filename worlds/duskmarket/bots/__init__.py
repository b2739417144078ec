"""The bots of Duskmarket: simulated players and everybody around them, as its demo, its benchmarks and its tests play them."""
