"""Draws schedules by chance: phrases that lead somewhere, and what happens between them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Final

from sandbox.faults import FaultKind
from tests.faults.cases import CASES
from tests.faults.schedule import (
    Arrive,
    At,
    Cancel,
    ChargeBack,
    Check,
    Choose,
    CloseOut,
    Damage,
    Deliver,
    Dispute,
    Draft,
    Elsewhere,
    Forward,
    Hold,
    Look,
    Mirror,
    Outage,
    Outcome,
    Point,
    Reconcile,
    Resume,
    Retry,
    Schedule,
    Settle,
    Skew,
    Step,
    Submit,
    Sweep,
    Trouble,
    WireFault,
    Work,
)

MACHINES: Final = 3
_FEWEST, _MOST = 10, 30

_SHARES = (1000, 1000, 600, 600, 500, 400, 999, 250, 10)
_UNANSWERED = (
    FaultKind.LOST_BEFORE,
    FaultKind.LOST_AFTER,
    FaultKind.LOST_AFTER,
    FaultKind.MALFORMED,
    FaultKind.WRONG_SHAPE,
    FaultKind.RUBBISH,
    FaultKind.ERROR,
    FaultKind.ERROR_AFTER,
    FaultKind.ERROR_AFTER,
)
_OTHERWISE = (
    FaultKind.CONNECTION_REFUSED,
    FaultKind.RATE_LIMITED,
    FaultKind.RATE_LIMITED,
    FaultKind.OTHER_AMOUNT,
    FaultKind.LATENCY,
    Trouble.UNDERWAY,
)
_STATUSES = (408, 500, 502, 503, 504)


def draw(seed: int) -> Schedule:
    """Return the schedule of a seed: always the same one."""
    chance = Random(seed)
    drawing = _Drawing(chance)
    length = _FEWEST + round((_MOST - _FEWEST) * chance.betavariate(1, 4))
    steps: list[Step] = []
    while len(steps) < length:
        steps += drawing.phrase()
    orders = [chance.choice((0, 0, 1, 2, chance.randrange(len(CASES))))]
    if chance.random() < 0.2:
        orders.append(chance.randrange(len(CASES)))
    return Schedule(
        seed=seed,
        orders=tuple(dict.fromkeys(orders)),
        settle_minutes=chance.choice((1, 5, 5, 60, 24 * 60)),
        lists_events=chance.random() < 0.35,
        audited=chance.random() < 0.2,
        steps=tuple(steps[:length]),
    )


class _Drawing:
    """Draws phrases: a few steps that lead somewhere, each of which also happens by itself."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._phrases: Sequence[tuple[int, Callable[[], list[Step]]]] = (
            (5, self._one_submits),
            (4, self._one_submits_twice),
            (3, self._changed_meanwhile),
            (6, self._two_submit),
            (8, self._nobody_answers),
            (7, self._the_process_dies),
            (4, self._waiting_to_be_sent),
            (4, self._busy),
            (7, self._overtaken),
            (5, self._sent_again),
            (4, self._sent_again_together),
            (5, self._arrives_late),
            (4, self._two_attempts_at_once),
            (5, self._stands_still),
            (6, self._dies_in_a_beat),
            (6, self._stale_look),
            (3, self._another_amount),
            (5, self._sweep),
            (3, self._time),
            (4, self._events),
            (5, self._settled_there),
            (3, self._elsewhere),
            (2, self._look),
            (2, self._resume),
            (2, self._button),
            (1, self._outage),
            (1, self._clock),
            (1, self._dispute),
            (2, self._close_out),
            (1, self._charge_back),
            (2, self._seen_to),
        )
        self._weights = [weight for weight, _ in self._phrases]

    def phrase(self) -> list[Step]:
        """Return the next few steps."""
        (_, make), *_ = self._chance.choices(self._phrases, self._weights)
        return make()

    # -- small things --

    def _likely(self, probability: float) -> bool:
        return self._chance.random() < probability

    def _machine(self) -> int:
        return self._chance.randrange(MACHINES)

    def _order(self) -> int:
        return self._chance.choice((0, 0, 0, 1))

    def _place(self) -> int:
        return self._chance.choice((0, 0, 0, 1, 1, 2, 3))

    def _draft(self, share: int | None = None) -> Draft:
        return Draft(
            rep=self._chance.randrange(2),
            order=self._order(),
            option=self._chance.choice((0, 0, 0, 1, 1, 2, 3, 4, 5, 6)),
            share=self._chance.choice(_SHARES) if share is None else share,
            units=self._chance.randint(1, 3),
        )

    def _unanswered(self) -> WireFault:
        kind = self._chance.choice(_UNANSWERED)
        return WireFault(kind, status=self._chance.choice(_STATUSES))

    def _fault(self, method: str = "POST") -> WireFault:
        kind = self._chance.choice((*_UNANSWERED, *_OTHERWISE))
        if method == "GET" and kind in (Trouble.UNDERWAY, FaultKind.OTHER_AMOUNT):
            kind = FaultKind.CONNECTION_REFUSED
        return WireFault(
            kind,
            method,
            requests=self._chance.choice((1, 1, 2)),
            status=self._chance.choice(_STATUSES),
            seconds=self._chance.choice((1, 4, 30, 90)),
        )

    def _maybe_fault(self) -> WireFault | None:
        if not self._likely(0.3):
            return None
        return self._fault(self._chance.choice(("POST", "POST", "GET")))

    def _pause(self) -> At:
        point = self._chance.choice(
            (
                Point.READ,
                Point.READ_ANSWERED,
                Point.READ_ANSWERED,
                Point.POST,
                Point.POST_ANSWERED,
                Point.POST_ANSWERED,
                Point.TRANSACTION,
                Point.TRANSACTION,
                Point.TRANSACTION,
                Point.BETWEEN,
                Point.BETWEEN,
                Point.CLOCK,
                Point.CLOCK,
            )
        )
        if point == Point.BETWEEN:
            return At(point, self._chance.randint(1, 16))
        if point == Point.CLOCK:
            return At(point, self._chance.randint(1, 6))
        if point in (Point.POST, Point.POST_ANSWERED):
            return At(point)
        return At(point, self._chance.choice((1, 1, 2, 2, 3)))

    def _maybe_pause(self, probability: float = 0.15) -> At | None:
        return self._pause() if self._likely(probability) else None

    def _kill(self) -> At:
        kind = self._chance.randrange(10)
        if kind < 4:
            return At(Point.POST_ANSWERED)
        if kind < 6:
            return At(Point.POST)
        if kind < 8:
            return At(Point.STATEMENT, self._chance.randint(1, 80))
        return self._pause()

    def _forward(self, *seconds: int) -> Forward:
        return Forward(seconds=self._chance.choice(seconds))

    # -- phrases --

    def _one_submits(self) -> list[Step]:
        submit = Submit(
            machine=self._machine(), pause=self._maybe_pause(), fault=self._maybe_fault()
        )
        return [self._draft(), submit]

    def _one_submits_twice(self) -> list[Step]:
        first = Submit(machine=self._machine(), pause=self._pause(), fault=self._maybe_fault())
        second = Submit(machine=self._machine(), pause=self._maybe_pause(0.3))
        return [self._draft(), first, second, Resume(call=-1)]

    def _changed_meanwhile(self) -> list[Step]:
        drafted = self._draft()
        change = Choose(option=drafted.option, share=self._chance.choice(_SHARES))
        return [
            drafted,
            Submit(machine=0, pause=self._pause()),
            change,
            Submit(machine=1, draft=self._chance.choice((0, 1)), pause=self._maybe_pause(0.3)),
            Resume(),
        ]

    def _two_submit(self) -> list[Step]:
        share = self._chance.choice((600, 1000))
        return [
            self._draft(share),
            self._draft(share),
            Submit(machine=0, draft=1, pause=self._pause()),
            Submit(machine=1, draft=0, pause=self._maybe_pause(0.5)),
            Resume(call=-2, pause=self._maybe_pause(0.3)),
        ]

    def _nobody_answers(self) -> list[Step]:
        steps: list[Step] = [
            self._draft(),
            Submit(machine=self._machine(), fault=self._unanswered()),
        ]
        for _ in range(self._chance.randint(0, 3)):
            steps += [self._forward(1, 20, 61, 61, 120), self._looker()]
        if self._likely(0.5):
            steps.append(Retry(machine=self._machine()))
        return steps

    def _looker(self) -> Step:
        kind = self._chance.randrange(3)
        if kind == 0:
            return Look(machine=self._machine())
        if kind == 1:
            return Check(machine=self._machine())
        return Sweep(machine=self._machine())

    def _the_process_dies(self) -> list[Step]:
        steps: list[Step] = [
            self._draft(),
            Submit(machine=self._machine(), kill=self._kill(), fault=self._maybe_fault()),
        ]
        if self._likely(0.4):
            steps.append(Submit(machine=self._machine()))
        for _ in range(self._chance.randint(0, 3)):
            steps += [self._forward(61, 130, 130, 300), self._looker()]
        if self._likely(0.5):
            steps.append(Retry(machine=self._machine()))
        return steps

    def _waiting_to_be_sent(self) -> list[Step]:
        hold: list[Step] = [
            self._draft(),
            Hold(machine=self._machine(), kill=self._kill() if self._likely(0.2) else None),
            self._forward(1, 61, 61, 300),
        ]
        if self._likely(0.3):
            hold.append(Elsewhere(order=0, share=self._chance.choice(_SHARES)))
        sweep = Sweep(
            machine=self._machine(), pause=self._maybe_pause(0.5), fault=self._maybe_fault()
        )
        return [*hold, sweep, self._looker(), Resume(call=-1)]

    def _busy(self) -> list[Step]:
        seconds = self._chance.choice((1, 30, 90))
        busy = WireFault(FaultKind.RATE_LIMITED, seconds=seconds)
        steps: list[Step] = [
            self._draft(),
            Submit(machine=self._machine(), fault=busy),
            self._forward(1, 31, 91, 120),
        ]
        if self._likely(0.3):
            steps.append(Cancel(pause=self._maybe_pause(0.3)))
        sender = self._chance.choice((Sweep, Check))
        steps += [
            sender(machine=0, pause=self._maybe_pause(0.7), fault=self._maybe_fault()),
            self._forward(1, 310),
            self._chance.choice((Sweep, Check))(machine=1),
            Resume(call=-1),
        ]
        return steps

    def _stands_still(self) -> list[Step]:
        clock = At(Point.CLOCK, self._chance.choice((1, 2, 2, 2, 3)))
        steps: list[Step] = [
            self._draft(),
            Submit(machine=self._machine(), pause=clock),
            self._forward(20, 130, 130),
            self._looker(),
        ]
        for _ in range(self._chance.randint(1, 2)):
            steps += [self._forward(61, 61, 130), self._looker()]
        if self._likely(0.4):
            steps.append(Retry(machine=self._machine()))
        return [*steps, Resume(call=-1)]

    def _dies_in_a_beat(self) -> list[Step]:
        beat = self._chance.choice((At(Point.TRANSACTION, 1), At(Point.TRANSACTION, 2)))
        if self._likely(0.6):
            beat = At(Point.POST_ANSWERED)
        kill = At(Point.STATEMENT, self._chance.randint(1, 16))
        steps: list[Step] = [
            self._draft(),
            Submit(machine=self._machine(), pause=beat, fault=self._maybe_fault()),
            Resume(call=-1, kill=kill),
        ]
        for _ in range(self._chance.randint(0, 3)):
            steps += [self._forward(61, 130, 130), self._looker()]
        return steps

    def _stale_look(self) -> list[Step]:
        stop = At(Point.READ_ANSWERED, self._chance.choice((1, 2)))
        looker = self._chance.choice((Look, Check, Sweep))
        return [
            looker(machine=self._machine(), pause=stop),
            Settle(outcome=self._chance.choice((Outcome.SUCCEEDS, *Outcome))),
            Look(machine=self._machine()),
            Resume(call=-1),
        ]

    def _another_amount(self) -> list[Step]:
        fault = WireFault(FaultKind.OTHER_AMOUNT)
        if self._likely(0.5):
            submit = Submit(machine=self._machine(), fault=fault)
        else:
            submit = Submit(machine=self._machine(), fault=fault, kill=At(Point.POST_ANSWERED))
        return [self._draft(), submit]

    def _overtaken(self) -> list[Step]:
        stops = (At(Point.POST), At(Point.POST_ANSWERED), At(Point.POST_ANSWERED), self._pause())
        steps: list[Step] = [
            self._draft(),
            Submit(
                machine=self._machine(),
                pause=self._chance.choice(stops),
                fault=self._maybe_fault(),
            ),
        ]
        for _ in range(self._chance.randint(1, 4)):
            steps += [self._forward(1, 10, 61, 130, 130), self._chance.choice(self._others())]
        return [*steps, Resume(call=-1)]

    def _others(self) -> list[Step]:
        return [
            self._looker(),
            Deliver(machine=self._machine(), event=self._place()),
            Work(machine=self._machine()),
            Settle(outcome=self._chance.choice(list(Outcome))),
            Retry(machine=self._machine()),
            Sweep(machine=self._machine()),
        ]

    def _arrives_late(self) -> list[Step]:
        steps: list[Step] = [
            self._draft(),
            Submit(machine=self._machine(), fault=WireFault(Trouble.UNDERWAY)),
        ]
        for _ in range(self._chance.randint(1, 3)):
            steps += [self._forward(1, 1, 20, 61), self._looker()]
        if self._likely(0.3):
            steps.append(Retry(machine=self._machine()))
        return [*steps, Arrive(), self._looker()]

    def _two_attempts_at_once(self) -> list[Step]:
        """A first attempt comes to light while the one that followed it is on its way."""
        slow = Submit(machine=0, pause=At(Point.POST_ANSWERED))
        found: list[Step] = [Settle(outcome=Outcome.FAILS), Look(machine=1)]
        back: list[Step] = [Resume(call=-2)]
        if self._likely(0.5):
            slow = Submit(machine=0, fault=WireFault(Trouble.UNDERWAY))
            found = [self._forward(1), Look(machine=1), self._forward(61), Look(machine=1)]
            back = [Arrive(), Look(machine=1)]
        again = Retry(
            machine=2,
            pause=self._chance.choice((At(Point.POST), At(Point.POST_ANSWERED), self._pause())),
            fault=self._maybe_fault(),
        )
        return [
            self._draft(self._chance.choice((400, 1000))),
            slow,
            *found,
            again,
            *back,
            Settle(outcome=self._chance.choice((Outcome.FAILS, *Outcome))),
            self._looker(),
            Retry(machine=1, pause=self._maybe_pause(0.3)),
            Resume(call=-1),
        ]

    def _sent_again(self) -> list[Step]:
        retry = Retry(
            machine=self._machine(),
            refund=self._place(),
            fault=self._fault() if self._likely(0.4) else None,
            kill=self._kill() if self._likely(0.2) else None,
        )
        return [Settle(outcome=Outcome.FAILS), self._looker(), retry]

    def _sent_again_together(self) -> list[Step]:
        return [
            Settle(outcome=Outcome.FAILS),
            self._looker(),
            Retry(machine=0, pause=self._pause()),
            Retry(machine=1, pause=self._maybe_pause(0.3)),
            Resume(call=-1),
        ]

    def _sweep(self) -> list[Step]:
        sweep = Sweep(
            machine=self._machine(),
            pause=self._maybe_pause(0.3),
            kill=self._kill() if self._likely(0.2) else None,
            fault=self._maybe_fault(),
        )
        return [self._forward(1, 10, 61, 130, 3600), sweep]

    def _time(self) -> list[Step]:
        return [self._forward(1, 20, 61, 130, 600, 3600, 86_400, 3 * 86_400)]

    def _events(self) -> list[Step]:
        steps: list[Step] = []
        for _ in range(self._chance.randint(1, 4)):
            damage = Damage.NONE
            if self._likely(0.3):
                damage = self._chance.choice(list(Damage))
            kill = self._kill() if self._likely(0.1) else None
            steps.append(
                Deliver(
                    machine=self._machine(),
                    event=self._chance.randrange(12),
                    pause=self._maybe_pause(0.1),
                    damage=damage,
                    kill=kill,
                )
            )
        if self._likely(0.7):
            work = Work(
                machine=self._machine(),
                event=self._chance.randrange(3),
                pause=self._maybe_pause(0.4),
                kill=self._kill() if self._likely(0.2) else None,
                fault=self._fault("GET") if self._likely(0.1) else None,
            )
            steps.append(work)
        return steps

    def _settled_there(self) -> list[Step]:
        outcome = self._chance.choice((Outcome.SUCCEEDS, Outcome.SUCCEEDS, *Outcome))
        steps: list[Step] = [Settle(refund=self._place(), outcome=outcome)]
        if self._likely(0.5):
            steps.append(self._looker())
        return steps

    def _elsewhere(self) -> list[Step]:
        return [
            Elsewhere(
                order=self._order(),
                kind=self._chance.choice(("", "", "item", "shipping", "tax", "duty")),
                share=self._chance.choice(_SHARES),
            )
        ]

    def _look(self) -> list[Step]:
        return [Look(machine=self._machine(), order=self._order(), pause=self._maybe_pause(0.5))]

    def _resume(self) -> list[Step]:
        kill = self._kill() if self._likely(0.2) else None
        return [Resume(call=self._place(), pause=self._maybe_pause(), kill=kill)]

    def _button(self) -> list[Step]:
        press = self._chance.choice((Retry, Cancel, Check))
        return [
            press(
                machine=self._machine(),
                refund=self._place(),
                pause=self._maybe_pause(),
                fault=self._maybe_fault(),
            )
        ]

    def _outage(self) -> list[Step]:
        fault = self._fault("*")
        return [Outage(fault=replace(fault, requests=self._chance.randint(1, 8)))]

    def _clock(self) -> list[Step]:
        return [Skew(machine=self._machine(), seconds=self._chance.choice((-8, -3, -1, 0, 1, 3)))]

    def _dispute(self) -> list[Step]:
        return [Dispute(order=self._order()), *self._look()]

    def _charge_back(self) -> list[Step]:
        taken = ChargeBack(order=self._order(), share=self._chance.choice((1000, 600, 250, 10)))
        return [taken, *self._events()]

    def _seen_to(self) -> list[Step]:
        thing = self._chance.choice((Mirror, Reconcile, Reconcile))
        return [
            thing(
                machine=self._machine(),
                order=self._order(),
                pause=self._maybe_pause(0.4),
                kill=self._kill() if self._likely(0.2) else None,
                fault=self._fault("GET") if self._likely(0.2) else None,
            )
        ]

    def _close_out(self) -> list[Step]:
        close = CloseOut(
            machine=self._machine(),
            order=self._order(),
            pause=self._maybe_pause(0.3),
            kill=self._kill() if self._likely(0.3) else None,
            fault=self._maybe_fault(),
        )
        return [close]
