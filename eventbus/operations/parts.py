"""The parts of a bus that its operations use; `EventBus` makes each when it is first needed."""

from abc import abstractmethod

from eventbus.broker import Broker
from eventbus.lifecycle.catalog import Catalog
from eventbus.lifecycle.waking import Waking
from eventbus.settings import Settings
from eventbus.storage.database import Database
from eventbus.subscription import Subscriptions


class Parts:
    """What every group of operations may rely on."""

    subscriptions: Subscriptions

    @property
    @abstractmethod
    def settings(self) -> Settings: ...

    @property
    @abstractmethod
    def database(self) -> Database: ...

    @property
    @abstractmethod
    def broker(self) -> Broker: ...

    @property
    @abstractmethod
    def catalog(self) -> Catalog: ...

    @property
    @abstractmethod
    def waking(self) -> Waking: ...
