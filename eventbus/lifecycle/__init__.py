"""The life of an event, one module a step: publishing, waking, execution, settlement, repair; and registration before it."""
