"""States in templates: ``{% state refund %}``, by word, icon and colour, all from the model."""

from django import template
from django.utils.html import format_html

from refunds.models import Order, Refund

register = template.Library()


@register.simple_tag
def state(record: Order | Refund) -> str:
    """Write the state of an order or a refund."""
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
