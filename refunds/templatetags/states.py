"""States in templates: ``{% state refund %}``, by word, icon and colour, all from the model."""

from django import template
from django.utils.html import format_html

from refunds.models import Order, Refund

register = template.Library()


@register.simple_tag
def state(record: Order | Refund) -> str:
    """Write the state of an order or a refund."""
    if isinstance(record, Refund) and record.origin == Refund.Origin.CHARGEBACK:
        # That it succeeded is the bank's doing and no success of a refund's.
        return badge("Charged back", "bad", "arrow-counterclockwise")
    tone, icon = record.state_look
    return badge(record.get_state_display(), tone, icon)


@register.simple_tag
def badge(label: str, tone: str, icon: str) -> str:
    """Write a word in a tone: neutral, progress, waiting, good, bad or warning.

    ``icon`` is a Bootstrap icon's name.
    """
    return format_html(
        '<span class="state state-{}"><i class="bi bi-{}" aria-hidden="true"></i>{}</span>',
        tone,
        icon,
        label,
    )


@register.filter
def column_words(column: str) -> str:
    """Write a column's name as words: ``accepted_amount`` becomes "Accepted amount"."""
    return column.replace("_", " ").capitalize()
