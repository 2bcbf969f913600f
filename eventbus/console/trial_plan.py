"""Trial plans: which dead letters were retried first, and which others follow if these succeed; kept in a signed address.

Nobody but this console can make one, so that a link can neither start a retry nor widen one. It is needed only where a trial is
taken up again, such as after a restart.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from itsdangerous import BadSignature, URLSafeTimedSerializer

from eventbus.console.site import Site
from eventbus.console.trials import LONGEST_SECONDS
from eventbus.errors import InvalidInput


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """What was confirmed."""

    #: The letters that were retried first.
    tried: list[int]
    #: How many others there are.
    others: int
    #: What means these others, as fields of the form that was confirmed; None where they are too many for an address.
    fields: Mapping[str, str] | None
    #: Who confirmed it.
    who: str


def sign_plan(plan: TrialPlan, site: Site) -> str:
    """*plan* as a word for an address."""
    return str(_signer(site).dumps(asdict(plan)))


def read_plan(word: str, site: Site) -> TrialPlan:
    """The plan that this console has signed.

    Raises:
        InvalidInput: It has not, or not today.
    """
    try:
        return TrialPlan(**_signer(site).loads(word, max_age=LONGEST_SECONDS))
    except BadSignature:
        raise InvalidInput(
            "this trial is out of date, or was not started in this console; letters that were not retried are unchanged."
        ) from None


def _signer(site: Site) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(site.cookies.secret, salt="eventbus.console.trial")
