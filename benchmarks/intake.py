"""Measures the webhook beside a view that inserts one row: through gunicorn, over connections.

Floor and webhook take turns in short rounds, so that whatever slows the machine meets both. What
a round left to the background is waited for before the next one, but competes with its own round:
with orders that are in the mirror it is as much work as an event can make.

Started by ``benchmarks`` on the database that ``DATABASE_URL`` names.
"""

import argparse
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import cycle
from random import Random

import django
from django.core.management import call_command
from django.db import connection, transaction

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.intake_settings")
django.setup()

# Django has to be set up before models are imported.
from django.urls import reverse  # noqa: E402

from benchmarks.clocks import processor_seconds  # noqa: E402
from benchmarks.desk_settings import DIRECTORY  # noqa: E402
from benchmarks.intake_report import FLOOR, Intake, table  # noqa: E402
from benchmarks.load import send  # noqa: E402
from benchmarks.places import place  # noqa: E402
from benchmarks.recorded import client_of, record  # noqa: E402
from benchmarks.serving import Server, served  # noqa: E402
from refunds.models import Event, Order  # noqa: E402
from refunds.salesforce.payloads import order_record  # noqa: E402
from refunds.services.mirror.records import order_mirror  # noqa: E402
from refunds.services.orders import order_refresh  # noqa: E402
from sandbox.signing import HEADER, sign, timestamp_of  # noqa: E402
from sandbox.store import Sandbox  # noqa: E402

ORDERS = 60
WORKERS = 2
CLIENTS = (1, 8)
#: Requests of a round, for each client there is.
REQUESTS = {1: 60, 8: 30}
WARM_UP = 40
FEWEST_ROUNDS = 5
#: Seconds after which events that are still not processed count as stuck.
_PATIENCE = 120.0


def main(rounds: int, within: float) -> int:
    """Fill, measure and report; returns how many targets were missed."""
    began = time.monotonic()
    call_command("migrate", run_syncdb=True, verbosity=0)
    where = place(DIRECTORY, ORDERS)
    order_ids = _mirror(where.sandbox)
    record(where.sandbox, order_ids, DIRECTORY)
    print(f"Filled with {ORDERS} orders in {time.monotonic() - began:.0f} s.", flush=True)
    with served(os.environ["DJANGO_SETTINGS_MODULE"], workers=WORKERS) as server:
        taken, done = _measure(server, order_ids, rounds, within)
    lines, missed = table(connection.display_name, taken)
    print(*lines, sep="\n")
    print(f"{done} rounds in turns, {WORKERS} workers.")
    connection.close()
    return missed


def _mirror(sandbox: Sandbox) -> list[str]:
    """Mirror the shop's orders; returns the ids of those that Digital River has."""
    with transaction.atomic(), client_of(sandbox) as client:
        for record_ in sandbox.salesforce_records()[:ORDERS]:
            order_refresh(order=order_mirror(record=order_record(record_)), client=client)
    mirrored = Order.objects.exclude(digital_river_id="").order_by("pk")
    return list(mirrored.values_list("digital_river_id", flat=True))


def _measure(
    server: Server, order_ids: Sequence[str], rounds: int, within: float
) -> tuple[list[Intake], int]:
    """Let all take turns, so many rounds or seconds; returns them and the rounds there were."""
    webhook, floor = reverse("refunds:webhook"), reverse("benchmark-take")
    # A body like the others', so that the floor inserts as many bytes.
    unknown, known = cycle(["220000000000"]), cycle(order_ids)
    kinds: dict[str, Callable[[], bytes]] = {
        FLOOR: lambda: _request(floor, next(known)),
        "webhook, order not mirrored": lambda: _request(webhook, next(unknown)),
        "webhook, order mirrored": lambda: _request(webhook, next(known)),
    }
    taken = [Intake(name, clients) for clients in CLIENTS for name in kinds]
    dice = Random(0)
    for each in taken:
        send(
            server.port,
            [kinds[each.name]() for _ in range(WARM_UP)],
            clients=each.clients,
            status=202,
        )
    _await_background()
    began, done = time.monotonic(), 0
    while done < rounds and (done < FEWEST_ROUNDS or time.monotonic() - began < within):
        dice.shuffle(turns := list(taken))
        for each in turns:
            count = each.clients * REQUESTS[each.clients]
            requests = [kinds[each.name]() for _ in range(count)]
            started, used = time.perf_counter(), processor_seconds(server.process)
            each.seconds += send(server.port, requests, clients=each.clients, status=202)
            each.rates.append(count / (time.perf_counter() - started))
            _await_background()
            each.processor_seconds += processor_seconds(server.process) - used
        done += 1
    return taken, done


def _request(path: str, order_id: str) -> bytes:
    """Return a new event as Digital River sends it, signed just now."""
    now = datetime.now(UTC)
    body = json.dumps(_event(order_id, now)).encode()
    signature = sign("whsec_benchmark", timestamp_of(now), body)
    head = (
        f"POST {path} HTTP/1.1\r\n"
        "Host: desk.example\r\n"
        "X-Forwarded-Proto: https\r\n"
        "X-Forwarded-For: 192.0.2.1\r\n"
        "User-Agent: DigitalRiver\r\n"
        "Content-Type: application/json; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"{HEADER}: {signature}\r\n\r\n"
    )
    return head.encode() + body


def _event(order_id: str, now: datetime) -> dict[str, object]:
    refund_id, charge_id = f"re_{uuid.uuid4()}", str(uuid.uuid4())
    return {
        "id": str(uuid.uuid4()),
        "type": "refund.complete",
        "data": {
            "object": {
                "id": refund_id,
                "createdTime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
                "currency": "USD",
                "amount": 40.0,
                "items": [],
                "orderId": order_id,
                "reason": "requested_by_customer",
                "refundedAmount": 40.0,
                "state": "succeeded",
                "charges": [
                    {
                        "id": charge_id,
                        "captured": True,
                        "refunded": True,
                        "refunds": [
                            {
                                "createdTime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
                                "amount": 40.0,
                                "state": "complete",
                            }
                        ],
                        "sourceId": str(uuid.uuid4()),
                    }
                ],
                "metadata": {"refundReference": "RF-00000000-1"},
                "liveMode": False,
            }
        },
        "liveMode": False,
        "createdTime": f"{now:%Y-%m-%dT%H:%M:%S.%fZ}",
        "webhookIds": [],
        "pendingWebhooks": 0,
        "digitalriverVersion": "2021-12-13",
        "digitalRiverVersion": "2021-12-13",
    }


def _await_background() -> None:
    """Wait until every event is processed.

    The connection stays open all the while: on SQLite the last one that closes writes the log
    back, which the floor would then do after every request and the webhook, beside its
    background, would not.
    """
    end = time.monotonic() + _PATIENCE
    while Event.objects.filter(state=Event.State.WAITING).exists():
        if time.monotonic() > end:
            raise RuntimeError("The events are not processed: the background stands still.")
        time.sleep(0.02)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("rounds", type=int)
    parser.add_argument("seconds", type=float)
    # So that the server is stopped too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))
    options = parser.parse_args()
    main(options.rounds, options.seconds)
