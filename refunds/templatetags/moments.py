"""Moments in templates: ``{{ moment|ago }}``, by its largest unit alone: “2 weeks ago”."""

from datetime import datetime

from django import template
from django.contrib.humanize.templatetags.humanize import naturaltime

register = template.Library()


@register.filter
def ago(moment: datetime) -> str:
    """Return how long ago (or from now) it is, as short as it can be said."""
    words = str(naturaltime(moment))
    first, separator, rest = words.partition(", ")
    if not separator:
        return words
    return f"{first} {'from now' if rest.endswith('from now') else 'ago'}"
