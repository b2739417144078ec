"""The bus: envelope, subjects, publish, consume, replay, handler runtime, parking."""
