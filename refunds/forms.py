"""The wizard's forms: text becomes Decimals, ids and options; the rules are the options' own.

The option form is given the order's position (lines, ledger, options) and asks it whether what
was chosen can be refunded. It touches neither the network nor other tables.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.core import signing
from django.utils import formats, timezone

from refunds.errors import RefundDeskError
from refunds.ledger import LineLeft
from refunds.models import Grounds, Order, Refund, RefundReason
from refunds.money import minor_units, parse_amount, smallest
from refunds.options import (
    WITH_AMOUNT,
    Choice,
    LineSelection,
    Option,
    Position,
    Quote,
    Seen,
    Selection,
)

#: Digital River takes at most this many characters of a reason.
REASON_LENGTH = 64


@dataclass(frozen=True, slots=True)
class LineFields:
    """One line of the order with its fields on the form."""

    line: LineLeft
    quantity: forms.BoundField
    amount: forms.BoundField
    shown_for: forms.BoundField


@dataclass(frozen=True, slots=True)
class OptionFields:
    """One option with what it can give and its fields on the form."""

    choice: Choice
    id: str
    checked: bool
    amount: forms.BoundField | None


class GroundsForm(forms.Form):
    """Why to refund."""

    reason = forms.ModelChoiceField(
        queryset=RefundReason.objects.filter(active=True),
        empty_label="Choose a reason",
        error_messages={
            "required": "Choose a reason.",
            "invalid_choice": "Choose a reason from the list.",
        },
    )
    reason_text = forms.CharField(
        label="Reason in your own words",
        required=False,
        max_length=REASON_LENGTH,
        help_text="Needed for “Other”. Digital River gets at most 64 characters.",
        error_messages={
            "max_length": "The reason is too long: Digital River takes at most 64 characters."
        },
    )
    note = forms.CharField(
        label="Internal note",
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Stays at this desk; neither Digital River nor the customer sees it.",
    )
    ticket_url = forms.URLField(
        label="Ticket",
        required=False,
        max_length=500,
        assume_scheme="https",
        help_text="The address of the support ticket.",
        error_messages={"invalid": "Enter the ticket's full address, such as https://…"},
    )

    def clean(self) -> dict[str, Any]:
        """Ask for the rep's own words where the reason needs them."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        reason = cleaned.get("reason")
        if (
            reason is not None
            and reason.needs_text
            and not cleaned.get("reason_text")
            and not self.has_error("reason_text")
        ):
            self.add_error("reason_text", f"Write the reason for “{reason.label}”.")
        return cleaned

    @property
    def grounds(self) -> Grounds:
        """Why the rep refunds; of a valid form."""
        return Grounds(
            reason=self.cleaned_data["reason"],
            words=self.cleaned_data["reason_text"],
            note=self.cleaned_data["note"],
            ticket_url=self.cleaned_data["ticket_url"],
        )


class CloseOutForm(GroundsForm):
    """Why to close out an order, and the total the rep saw, signed so that it comes back as shown.

    The template writes ``seen`` anew each time it shows the form: what was posted is of figures
    that may not hold any more.
    """

    seen = forms.CharField(widget=forms.HiddenInput)

    def __init__(self, data: Mapping[str, Any] | None = None, *, order: Order) -> None:
        """Make the form for an order; a total of another order is not accepted."""
        super().__init__(data)
        self._salt = f"refunds.close-out.{order.pk}"

    def signed(self, total: Decimal) -> str:
        """Return the total and the present moment, to be carried by the page."""
        carried = {"total": str(total), "at": timezone.now().isoformat()}
        return signing.dumps(carried, salt=self._salt)

    def clean_seen(self) -> tuple[Decimal, datetime]:
        """Read the total and the moment back. Refuses what this desk did not sign."""
        try:
            carried = signing.loads(self.cleaned_data["seen"], salt=self._salt)
        except signing.BadSignature:
            raise forms.ValidationError(
                "This page is not one the desk made for this order. Look at it again; nothing "
                "was sent."
            ) from None
        return Decimal(carried["total"]), datetime.fromisoformat(carried["at"])


class OptionForm(GroundsForm):
    """Why and what to refund."""

    option = forms.ChoiceField(
        choices=[(option.value, option.label) for option in Option],
        widget=forms.RadioSelect,
        error_messages={
            "required": "Choose a refund option.",
            "invalid_choice": "Choose a refund option from the list.",
        },
    )

    #: As they stand on the page, and so in the summary of what is wrong.
    field_order = ("reason", "reason_text", "option", "note", "ticket_url")

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        position: Position,
        draft: Refund,
        chosen: Selection | None = None,
    ) -> None:
        """Make the form for a draft; ``chosen`` is what it holds already."""
        initial = {
            "reason": draft.reason_id,
            "reason_text": draft.reason_text
            if draft.reason is not None and draft.reason.needs_text
            else "",
            "option": draft.option,
            "note": draft.note,
            "ticket_url": draft.ticket_url,
        }
        super().__init__(data, initial=initial)
        self.position = position
        self.currency = position.order.currency
        self.quote: Quote | None = None
        self._chosen = chosen
        for option in WITH_AMOUNT:
            self.fields[_amount_name(option)] = self._amount_field(
                f"{option.label}: refund amount", self._amount_initial(option)
            )
        chosen_lines = {each.line: each for each in chosen.lines} if chosen else {}
        for line in filter(_is_offered, position.ledger.lines):
            self._add_line_fields(line, chosen_lines.get(line.figures.line))
        for key in position.fee_lines():
            self.fields[f"fees_{key}"] = forms.BooleanField(
                required=False, initial=key in chosen_lines
            )

    def _add_line_fields(self, line: LineLeft, chosen: LineSelection | None) -> None:
        key, label = line.figures.line, line.figures.label
        self.fields[f"quantity_{key}"] = forms.IntegerField(
            label=f"Quantity of {label}",
            required=False,
            min_value=0,
            max_value=line.units,
            initial=chosen.quantity if chosen else 0,
            widget=forms.NumberInput(
                attrs={"inputmode": "numeric", "class": "form-control quantity-input"}
            ),
            error_messages={
                "invalid": f"{label}: enter the quantity as a whole number.",
                "min_value": f"{label}: the quantity cannot be negative.",
                "max_value": f"{label}: at most %(limit_value)s can still be refunded.",
            },
        )
        self.fields[f"for_{key}"] = forms.IntegerField(
            required=False, initial=chosen.quantity if chosen else 0, widget=forms.HiddenInput
        )
        amount = chosen.amount if chosen and chosen.quantity else None
        self.fields[f"amount_{key}"] = self._amount_field(f"Refund amount of {label}", amount)

    def _amount_field(self, label: str, initial: Decimal | None) -> forms.CharField:
        return forms.CharField(
            label=label,
            required=False,
            max_length=60,
            initial="" if initial is None else self.typed(initial),
            widget=forms.TextInput(
                attrs={
                    "class": "form-control money-input",
                    "inputmode": "decimal" if minor_units(self.currency) else "numeric",
                    "autocomplete": "off",
                }
            ),
        )

    def _amount_initial(self, option: Option) -> Decimal:
        if self._chosen and self._chosen.option is option and self._chosen.amount is not None:
            return self._chosen.amount
        return self.position.choice(option).maximum

    def typed(self, amount: Decimal) -> str:
        """Return the amount as a person would type it: no grouping, the locale's decimal mark."""
        plain = f"{amount.quantize(smallest(self.currency)):f}"
        return plain.replace(".", str(formats.get_format("DECIMAL_SEPARATOR")))

    # -- for the template --------------------------------------------------------------------

    def option_fields(self) -> Iterator[OptionFields]:
        """Give each option with its fields, in the order they are offered."""
        chosen = self["option"].value()
        for choice in self.position.choices:
            option = choice.option
            yield OptionFields(
                choice=choice,
                id=f"id_option_{option.value}",
                checked=chosen == option.value and choice.is_open,
                amount=self[_amount_name(option)] if option in WITH_AMOUNT else None,
            )

    def line_fields(self) -> Iterator[LineFields]:
        """Give each line that can still be refunded, with its fields."""
        for line in filter(_is_offered, self.position.ledger.lines):
            key = line.figures.line
            yield LineFields(
                line=line,
                quantity=self[f"quantity_{key}"],
                amount=self[f"amount_{key}"],
                shown_for=self[f"for_{key}"],
            )

    def fee_fields(self) -> Iterator[tuple[str, Decimal, forms.BoundField]]:
        """Give each line that has fees left: its name, the fees with their tax, the checkbox."""
        for key, left in self.position.fee_lines().items():
            line = self.position.ledger.line(key)
            if line is not None:
                yield line.figures.label, left, self[f"fees_{key}"]

    def changed_lines(self) -> Iterator[tuple[LineFields, int, str]]:
        """Give the lines whose quantity was changed, with it and the amount it now comes to."""
        for fields in self.line_fields():
            key = fields.line.figures.line
            units = self.cleaned_data.get(f"quantity_{key}")
            if units is not None and units != self.cleaned_data.get(f"for_{key}"):
                amount = self._line_amount_typed(fields.line, units)
                if amount is None and units:
                    yield fields, units, self.typed(fields.line.value_of(units))
                elif amount is None:
                    yield fields, units, ""

    def selection_errors(self) -> list[str]:
        """Give what is wrong with the option and its fields, for the live total."""
        grounds = {"reason", "reason_text", "note", "ticket_url"}
        option = self.data.get("option")
        if not option:
            return []
        return [
            str(each)
            for name, errors in self.errors.items()
            if name not in grounds
            for each in errors
        ]

    # -- what was chosen -----------------------------------------------------------------------

    def clean(self) -> dict[str, Any]:
        """Read the chosen option's fields and ask the position whether it can be refunded."""
        cleaned = super().clean()
        if cleaned.get("option"):
            self._clean_selection(Option(cleaned["option"]))
        return cleaned

    def _clean_selection(self, option: Option) -> None:
        choice = self.position.choice(option)
        if not choice.is_open:
            # Its fields are not on the page, nor are any where the whole order is closed.
            where = None if self.position.closed_because else "option"
            self.add_error(where, choice.closed_because)
            return
        errors = len(self.errors)
        selection = self._selection(option)
        if len(self.errors) > errors or any(name in self.errors for name in self._names(option)):
            return
        try:
            self.quote = self.position.quote(selection)
        except RefundDeskError as error:
            self.add_error(self._field_at_fault(option, error.field), str(error))

    def _selection(self, option: Option) -> Selection:
        if option in WITH_AMOUNT:
            return Selection(option, amount=self._amount(_amount_name(option), needed=True))
        if option is Option.LINE_ITEMS:
            return Selection(option, lines=tuple(self._lines()))
        if option is Option.FEES:
            chosen = [key for key in self.position.fee_lines() if self.cleaned_data[f"fees_{key}"]]
            return Selection(option, lines=tuple(LineSelection(key) for key in chosen))
        return Selection(option)

    def _lines(self) -> Iterator[LineSelection]:
        for line in self.position.ledger.lines:
            key = line.figures.line
            if not _is_offered(line):
                # Its fields were on the page when something was still left of it.
                if self.data.get(f"quantity_{key}", "").strip(" 0"):
                    self.add_error("option", f"{line.figures.label}: nothing is left to refund.")
                continue
            quantity = self.cleaned_data.get(f"quantity_{key}") or 0
            amount = self._line_amount_typed(line, quantity)
            if quantity or amount:
                yield LineSelection(key, quantity, amount)

    def _line_amount_typed(self, line: LineLeft, quantity: int) -> Decimal | None:
        """Return the amount a person typed for a line; None where it is only the default.

        A field that still shows the default of another quantity was not touched: a changed
        quantity brings its own amount.
        """
        key = line.figures.line
        shown_for = self.cleaned_data.get(f"for_{key}") or 0
        if shown_for != quantity:
            default = self.typed(line.value_of(shown_for)) if shown_for > 0 else ""
            if self.cleaned_data.get(f"amount_{key}") == default:
                return None
        return self._amount(f"amount_{key}", needed=False, of=f"{line.figures.label}: ")

    def _amount(self, name: str, *, needed: bool, of: str = "") -> Decimal | None:
        text = self.cleaned_data.get(name) or ""
        if not text and not needed:
            return None
        try:
            return parse_amount(
                text, self.currency, decimal_mark=str(formats.get_format("DECIMAL_SEPARATOR"))
            )
        except RefundDeskError as error:
            if name in self.fields and not self.has_error(name):
                self.add_error(name, f"{of}{error}")
            return None

    def _names(self, option: Option) -> Sequence[str]:
        """Return the fields that belong to an option."""
        if option in WITH_AMOUNT:
            return [_amount_name(option)]
        if option is Option.LINE_ITEMS:
            return [
                name
                for name in self.fields
                if name.startswith("quantity_")
                or (name.startswith("amount_") and not name.startswith("amount_of_"))
            ]
        return []

    def _field_at_fault(self, option: Option, field: str) -> str | None:
        if field == "amount":
            return _amount_name(option)
        name = field.replace(" ", "_", 1)
        if name in self.fields:
            return name
        return "option" if option in {Option.LINE_ITEMS, Option.FEES} else None

    @property
    def selection(self) -> Selection:
        """What the rep chose; of a valid form."""
        return self._selection(Option(self.cleaned_data["option"]))


def _is_offered(line: LineLeft) -> bool:
    """Tell whether a line still has units and money to give."""
    return line.units > 0 and line.left > 0


def _amount_name(option: Option) -> str:
    return f"amount_of_{option.value}"


class ReviewForm(forms.Form):
    """Carries the figures the rep saw, signed, so that they come back as they were shown."""

    seen = forms.CharField(widget=forms.HiddenInput)

    def __init__(self, data: Mapping[str, Any] | None = None, *, draft: Refund) -> None:
        """Make the form for a draft; figures of another draft are not accepted."""
        super().__init__(data)
        self._salt = f"refunds.review.{draft.reference}"

    @classmethod
    def showing(cls, quote: Quote, *, draft: Refund) -> "ReviewForm":
        """Return the form that carries this quote's figures."""
        form = cls(draft=draft)
        figures = {key: str(amount) for key, amount in quote.figures().items()}
        form.initial["seen"] = signing.dumps(
            {
                "figures": figures,
                "at": timezone.now().isoformat(),
                "draft": draft.updated_at.isoformat(),
            },
            salt=form._salt,
            compress=True,
        )
        return form

    def clean_seen(self) -> Seen:
        """Read the figures back. Refuses what this desk did not sign for this draft."""
        try:
            carried = signing.loads(self.cleaned_data["seen"], salt=self._salt)
        except signing.BadSignature:
            raise forms.ValidationError(
                "This page is not one the desk made for this refund. Review it again; nothing "
                "was sent."
            ) from None
        return Seen(
            figures={key: Decimal(text) for key, text in carried["figures"].items()},
            at=datetime.fromisoformat(carried["at"]),
            draft_changed_at=datetime.fromisoformat(carried["draft"]),
        )


class ReconcileForm(forms.Form):
    """What to compare: the refunds of the last days, of all orders or of one."""

    days = forms.IntegerField(
        label="Refunds of the last days",
        min_value=1,
        max_value=3650,
        initial=30,
        widget=forms.NumberInput(attrs={"class": "form-control", "inputmode": "numeric"}),
        error_messages={
            "required": "Enter how many days to go back.",
            "invalid": "Enter a whole number of days.",
            "min_value": "Go back at least one day.",
            "max_value": "Go back at most 3650 days; the command can go back further.",
        },
    )
    order = forms.CharField(
        label="Order number",
        required=False,
        max_length=60,
        widget=forms.TextInput(
            attrs={"class": "form-control", "autocomplete": "off", "placeholder": "All orders"}
        ),
    )


class RelinkForm(forms.Form):
    """Which of the desk's own refunds one made elsewhere is in truth."""

    reference = forms.CharField(max_length=20)
