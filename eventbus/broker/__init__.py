"""The broker: carries wake-ups to the queues of groups, and nothing that would be missed.

    WakeUp ──▶ Celery's own message ──▶ Redis: one scripted write, with the real-time notices
                                   └──▶ any other broker: kombu

A wake-up holds an event's id. Losing one costs latency, repeating one finds nothing to claim.
"""

from eventbus.broker.connecting import connect as connect
from eventbus.broker.connecting import require_agreement as require_agreement
from eventbus.broker.contract import QUEUE_CAP as QUEUE_CAP
from eventbus.broker.contract import Announcement as Announcement
from eventbus.broker.contract import Broker as Broker
from eventbus.broker.contract import Notice as Notice
from eventbus.broker.contract import WakeUp as WakeUp
from eventbus.broker.kombu_broker import KombuBroker as KombuBroker
from eventbus.broker.redis_broker import RedisBroker as RedisBroker
