"""Sample services: an app and one module per consumer group."""
