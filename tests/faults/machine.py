"""One of several machines: submits reviewed drafts in as many threads, together with the others.

Reads which ones from its input as JSON, one line; says ``ready`` once it has seen the figures;
begins with the next line; writes what came of each as JSON.
"""

import json
import sys

import django

django.setup()

from django.utils import timezone  # noqa: E402 -- Django is set up first

from refunds.errors import RefundDeskError  # noqa: E402
from refunds.models import Refund  # noqa: E402
from refunds.options import Seen  # noqa: E402
from refunds.selectors import order_account, selection_of  # noqa: E402
from refunds.services.refunds import refund_submit  # noqa: E402
from tests.faults.crowds import Job, at_once  # noqa: E402


def submitting(reference: str) -> Job:
    """Return the submit of a draft's review as it is shown now."""
    draft = Refund.objects.select_related("order", "created_by").get(reference=reference)
    account = order_account(draft.order)
    quote = account.position.quote(selection_of(draft, account.lines))
    seen = Seen(figures=quote.figures(), at=timezone.now(), draft_changed_at=draft.updated_at)
    user = draft.created_by
    assert user is not None

    def job() -> str:
        try:
            return f"sent {refund_submit(draft=draft, user=user, seen=seen).reference}"
        except RefundDeskError as error:
            return type(error).__name__

    return job


def main() -> None:
    """Do what the input says."""
    jobs = [submitting(reference) for reference in json.loads(sys.stdin.readline())]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    json.dump([each if isinstance(each, str) else repr(each) for each in at_once(jobs)], sys.stdout)


if __name__ == "__main__":
    main()
