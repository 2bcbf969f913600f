"""One module for each system, imported by its own processes only: publishers and workers.

A module offers ``publish(order)`` and ``publish_many(orders)``, both plain or both ``async``, and ``prepare()``, which makes its
tables; ``start()``, if a publisher has to be connected first; and ``fill(orders)``, where that makes a backlog sooner than
``publish_many``. All but eventbus and procrastinate keep the state of their deliveries in the tables of `benchmarks.ledger`.
"""
