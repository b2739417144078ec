"""Inference: answers of models by a deadline. Engines generate; workers pull, admit, speak and record."""
