"""Schemas: what the data of an event type must look like. Knows no SQL."""
