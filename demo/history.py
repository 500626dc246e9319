"""The refunds that the demo's reps made in the last weeks, so that no list starts out empty.

They are made as any other refund is: drafted, submitted and settled by the services, over the
wire. The stand-in of this process is set back together with the desk, so that both date them
alike; one on a port cannot be, and then they are made now.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone

from demo.guard import refuse_beside_live_key
from refunds import selectors
from refunds.digitalriver.client import DigitalRiverClient
from refunds.gateways import APPLICATION_ID, digital_river
from refunds.models import CHECK, Grounds, Order, Refund, RefundReason
from refunds.money import quantize
from refunds.options import LineSelection, Option, Position, Seen, Selection
from refunds.services.drafts import draft_choose, draft_create
from refunds.services.orders import order_refresh
from refunds.services.refunds import refund_check, refund_submit
from sandbox.shop import SHOWCASE
from sandbox.store import Sandbox
from sandbox.transport import in_process_for

#: How long the history's customers have to give their bank details.
EXPIRES_AFTER = timedelta(days=14)
#: A refund comes this long after its order at the earliest.
AFTER_THE_ORDER = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Episode:
    """One refund of the history: who made it, when, why, and of what kind of order."""

    days_ago: int
    by: str
    option: Option
    reason: str
    currency: str = "USD"
    payment_type: str = "creditCard"
    #: How much of what the option can give; None for all of it.
    share: Decimal | None = None
    #: The shop's special order it is about, instead of one without a story.
    case: str = ""
    words: str = ""
    note: str = ""


#: Two are about special orders: one refund failed and one was refused, so both orders are whole.
EPISODES = (
    Episode(34, "rep", Option.COMPLETE_ORDER, "Duplicate order", note="Ordered twice by mistake."),
    Episode(31, "rep2", Option.LINE_ITEMS, "Item damaged or defective", currency="EUR"),
    Episode(
        27,
        "rep2",
        Option.COMPLETE_ORDER,
        "Requested by customer",
        payment_type="wireTransfer",
        share=Decimal("0.2"),
        note="Asked for the bank details twice by mail.",
    ),
    Episode(23, "rep", Option.SHIPPING, "Late delivery", currency="GBP"),
    Episode(19, "rep2", Option.TAX, "Tax exemption", note="Certificate is on file."),
    Episode(
        16,
        "rep",
        Option.IMPORTER_DUTY,
        "Duty or importer tax correction",
        currency="KWD",
        share=Decimal("0.5"),
    ),
    Episode(
        12, "rep", Option.COMPLETE_ORDER, "Returned by customer", case="fails_after_pending_card"
    ),
    Episode(9, "rep2", Option.IMPORTER_TAX, "Duty or importer tax correction", currency="GBP"),
    Episode(7, "rep2", Option.FEES, "Returned by customer", currency="EUR"),
    Episode(5, "rep2", Option.COMPLETE_ORDER, "Wrong item sent", case="refused_on_creation"),
    Episode(3, "rep", Option.LINE_ITEMS, "Item not received", currency="JPY"),
    Episode(
        2,
        "rep2",
        Option.COMPLETE_ORDER,
        "Requested by customer",
        currency="EUR",
        payment_type="wireTransfer",
    ),
    Episode(
        0,
        "rep",
        Option.COMPLETE_ORDER,
        "Other",
        share=Decimal("0.1"),
        words="Goodwill for a long wait",
    ),
)


class Calendar:
    """The moment the desk and the stand-in are at; on a port of its own the stand-in is at now."""

    def __init__(self, *, can_be_set: bool) -> None:
        """Start at the present moment."""
        self.can_be_set = can_be_set
        self._moment = timezone.now()

    def __call__(self) -> datetime:
        """Return the moment."""
        return self._moment if self.can_be_set else timezone.now()

    def set(self, moment: datetime) -> None:
        """Go to a moment."""
        self._moment = moment

    def forward(self, length: timedelta) -> None:
        """Let time pass."""
        self._moment += length


def history_make() -> int:
    """Make the history unless somebody has made a refund at this desk; returns how many.

    Which orders it is about follows from the shop alone. Raises ``DemoRefusedError``, and
    ``OrderUnreadable`` when Digital River cannot be asked half-way: what is made stays.
    """
    refuse_beside_live_key()
    if Refund.objects.filter(origin=Refund.Origin.DESK).exists():
        return 0
    today = datetime.combine(timezone.now().astimezone(UTC), time.min, UTC)
    count = 0
    with _digital_river() as (calendar, client):
        for place, episode in enumerate(EPISODES):
            moment = (
                today - timedelta(days=episode.days_ago) + timedelta(hours=9, minutes=31 * place)
            )
            if not episode.days_ago:
                moment = timezone.now() - 2 * _STEP
            calendar.set(moment)
            order = _order(episode, moment)
            if order is None:
                continue
            _play(episode, order, calendar=calendar, client=client)
            count += 1
    return count


#: What a rep takes for each step of the wizard.
_STEP = timedelta(minutes=1)


@contextmanager
def _digital_river() -> Iterator[tuple[Calendar, DigitalRiverClient]]:
    """Return the client to the stand-in and the calendar that the two go by."""
    if not settings.DIGITALRIVER_TRANSPORT:
        yield Calendar(can_be_set=False), digital_river()
        return
    calendar = Calendar(can_be_set=True)
    sandbox = Sandbox(
        settings.SANDBOX_STATE,
        clock=calendar,
        settle_after=_settles_after(),
        expire_after=EXPIRES_AFTER,
    )
    with DigitalRiverClient(
        base_url="http://sandbox.invalid",
        api_key=settings.DIGITALRIVER_API_KEY,
        version=settings.DIGITALRIVER_VERSION,
        timeout=settings.DIGITALRIVER_TIMEOUT,
        application_id=APPLICATION_ID,
        transport=in_process_for(sandbox),
    ) as client:
        yield calendar, client
    sandbox.close()


def _settles_after() -> timedelta:
    return timedelta(seconds=settings.SANDBOX_SETTLE_SECONDS)


def _order(episode: Episode, moment: datetime) -> Order | None:
    """Return the newest order of the episode's kind that had no refund, or its special order."""
    orders = Order.objects.filter(refundable=True)
    if episode.case:
        return orders.filter(order_number=SHOWCASE[episode.case]).first()
    orders = orders.filter(
        refunds=None,
        currency=episode.currency,
        payment_type=episode.payment_type,
        ordered_at__lte=moment - AFTER_THE_ORDER,
    ).exclude(order_number__in=SHOWCASE.values())
    for order in orders.order_by("-ordered_at", "-pk").iterator():
        if selectors.order_position(order).choice(episode.option).is_open:
            return order
    return None


def _play(
    episode: Episode, order: Order, *, calendar: Calendar, client: DigitalRiverClient
) -> None:
    """Make the refund as the rep did, and let it settle."""
    user = User.objects.get(username=episode.by)
    draft = draft_create(order=order, user=user, clock=calendar)
    calendar.forward(_STEP)
    quote = draft_choose(
        draft=draft,
        user=user,
        selection=_selection(episode, selectors.order_position(order)),
        grounds=Grounds(
            reason=RefundReason.objects.get(label=episode.reason),
            words=episode.words,
            note=episode.note,
        ),
        clock=calendar,
    )
    draft.refresh_from_db()
    seen = Seen(figures=quote.figures(), at=calendar(), draft_changed_at=draft.updated_at)
    calendar.forward(_STEP)
    refund = refund_submit(draft=draft, user=user, seen=seen, clock=calendar, client=client)
    if calendar.can_be_set and episode.days_ago:
        for length in (_settles_after() + 20 * _STEP, EXPIRES_AFTER):
            calendar.forward(length)
            if calendar() < timezone.now():
                refund = refund_check(refund=refund, actor=CHECK, clock=calendar, client=client)
    # The figures as they are today, which no look in the past may overwrite.
    order_refresh(order=Order.objects.get(pk=order.pk))


def _selection(episode: Episode, position: Position) -> Selection:
    option = episode.option
    if option is Option.FEES:
        return Selection(option, lines=tuple(map(LineSelection, position.fee_lines())))
    if option is Option.LINE_ITEMS:
        line = next(line for line in position.ledger.lines if line.units and line.left > 0)
        return Selection(option, lines=(LineSelection(line.figures.line, quantity=1),))
    amount = None
    if episode.share is not None:
        maximum = position.choice(option).maximum
        amount = quantize(maximum * episode.share, position.order.currency)
    return Selection(option, amount=amount)
