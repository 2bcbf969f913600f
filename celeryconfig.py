"""Celery's configuration for workers of the bus: each setting that differs from Celery's default, and why."""

import os

# The bus and its publishers read the same variable, so that nobody listens where nobody speaks.
broker_url = os.environ.get("EVENTBUS_BROKER_URL", "redis://127.0.0.1:6379/0")

# The modules that declare handlers: each of them may be deployed as a service of its own.
imports = ("workers.inventory", "workers.notification", "workers.analytics")

# Messages hold an event's id and nothing else; a worker must never unpickle what somebody put into Redis.
task_serializer = "json"
accept_content = ["json"]

# Results live in PostgreSQL, as the states of deliveries: a result backend would keep a second, poorer copy.
task_ignore_result = True
result_backend = None

# Early acknowledgement is Celery's default and stays: the lease in PostgreSQL brings back what a dead worker held, within
# seconds; Redis would hand the message out again only after its visibility timeout, when there is nothing left to do.
task_acks_late = False

# A message reserved by a busy process waits although another is idle; wake-ups are cheap, so each process holds one.
worker_prefetch_multiplier = 1

# A broker that is away at start or later is waited for: the deliveries are safe in PostgreSQL.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None

# ETA messages of the bus are at most a minute long; the default, an hour, is for tasks that run as long as that.
broker_transport_options = {"visibility_timeout": 3600}

# One queue per group, created where it is first named.
task_create_missing_queues = True

# A name of our own, so that an application's "celery" queue on the same Redis is not drained by a worker of the bus.
task_default_queue = "eventbus"

# Times in messages and logs are UTC already by default; said here because backoffs depend on it.
enable_utc = True
timezone = "UTC"
