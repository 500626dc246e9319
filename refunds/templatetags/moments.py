"""Moments in templates: ``{% moment order.ordered_at %}``, “2 weeks ago” and exactly when."""

from datetime import UTC, datetime

from django import template
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.timezone import localtime

register = template.Library()


@register.filter
def ago(moment: datetime) -> str:
    """Return how long ago (or from now) it is, by its largest unit alone: “2 weeks ago”."""
    words = str(naturaltime(moment))
    first, separator, rest = words.partition(", ")
    if not separator:
        return words
    return f"{first} {'from now' if rest.endswith('from now') else 'ago'}"


@register.simple_tag
def moment(at: datetime | None) -> str:
    """Write how long ago it is, and exactly when on hover and to screen readers.

    A tag and not an included template, because lists are full of it.
    """
    if at is None:
        return "–"
    local = localtime(at)
    return format_html(
        '<time datetime="{}" title="{}" data-relative>{}</time>'
        '<span class="visually-hidden"> ({})</span>',
        at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        date_format(local, "j M Y, H:i:s T"),
        ago(at),
        date_format(local, "j M Y, H:i T"),
    )
