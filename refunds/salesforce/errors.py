"""What can be wrong with a record from Salesforce.

SalesforceRecordError    a record that cannot be mirrored, with the field at fault
"""


class SalesforceRecordError(Exception):
    """A record that cannot be mirrored. ``str()`` is a sentence for whoever runs the mirror.

    ``field`` is the path of the field at fault as Salesforce names it
    (``OrderItems.0.Quantity``), ``record_id`` the order's id where it could be read. Neither
    holds the field's value, which may be a customer's.
    """

    def __init__(self, field: str, complaint: str, *, record_id: str = "") -> None:
        order = f"Salesforce order {record_id}" if record_id else "A Salesforce order"
        super().__init__(f"{order} cannot be mirrored: {field} {complaint}.")
        self.field = field
        self.record_id = record_id
