"""`python manage.py check_salesforce`: what is reachable, and what the integration user lacks."""

from datetime import timedelta
from io import StringIO

import pytest
import stamina
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from refunds.salesforce.client import SalesforceClient
from refunds.services.salesforce_check import Verdict, salesforce_check
from sandbox.salesforce.faults import Fault, FaultKind
from sandbox.salesforce.organisation import Organisation
from sandbox.store import Sandbox

PREFIX = "digitalriverv3__"


def check() -> tuple[str, str, int]:
    """Run the command; returns what it wrote, its last words and its exit status."""
    output = StringIO()
    try:
        call_command("check_salesforce", stdout=output, no_color=True)
    except CommandError as error:
        return output.getvalue(), str(error), error.returncode
    return output.getvalue(), "", 0


def lacking(output: str) -> list[str]:
    """Return the lines of what is lacking."""
    return [
        line.strip().removeprefix("LACKING ") for line in output.splitlines() if "LACKING" in line
    ]


def test_check_tells_every_object_and_field_and_that_nothing_is_lacking(
    organisation: Organisation,
) -> None:
    output, words, status = check()

    assert (words, status) == ("", 0)
    assert output.endswith("Nothing is lacking.\n")
    assert lacking(output) == []
    for line in (
        "Connection",
        "  ok      Sign-in: Salesforce took the desk's client credentials",
        "Order",
        "  ok      OrderNumber: is what reps look for",
        "  ok      BillToContact.Email on Contact: finds the orders of a buyer",
        f"  ok      {PREFIX}DR_Selling_Entity__c (DR Selling Entity): shows who sold it",
        "OrderItem (Order Product)",
        "  ok      Product2.ProductCode on Product2: shows the product's code",
        f"  ok      {PREFIX}DR_Duty__c (DR Duty): shows the line's importer duty",
        "  ok      Package: its fields begin with digitalriverv3__",
        "  ok      Currency: each order names its own",
        "PermissionSetAssignment",
        "  ok      Assignee.IsActive on User: leaves out people who left",
        "PermissionSetGroupComponent",
        "  note    Task: is not needed: SALESFORCE_TASKS is off",
    ):
        assert line in output.splitlines()
    assert "of 1,000,000 are used in the last 24 hours" in output
    assert "Orders: " in output
    assert "DigitalRiver_Connector_Refunds: " in output


@pytest.mark.parametrize(
    ("taken", "told"),
    [
        ("Order.TotalAmount", "TotalAmount: is not there, or not to be seen; it shows what the"),
        ("Order.BillToContactId", "BillToContact.Name by BillToContactId: is not there"),
        ("Contact.Email", "BillToContact.Email on Contact: is not there"),
        ("Contact", "BillToContact.Name on Contact: is not there"),
        (
            f"OrderItem.{PREFIX}DR_Duty__c",
            f"{PREFIX}DR_Duty__c (DR Duty): is not there, or not to be seen; it shows the line's",
        ),
        ("OrderItem", "OrderItem: is not to be seen. Give the integration user Read"),
        ("PermissionSetAssignment", "PermissionSetAssignment: is not to be seen"),
        ("PermissionSetGroupComponent", "PermissionSetGroupComponent: is not to be seen"),
        ("User.FederationIdentifier", "Assignee.FederationIdentifier on User: is not there"),
    ],
)
def test_check_names_what_is_lacking(organisation: Organisation, taken: str, told: str) -> None:
    organisation.reshape(taken=frozenset({taken}))

    output, words, status = check()

    assert status == 1
    assert any(line.startswith(told) for line in lacking(output)), output
    count = len(lacking(output))
    assert words == f"{count} {'thing is' if count == 1 else 'things are'} lacking, marked above."


def test_check_of_an_organisation_without_orders_to_see(organisation: Organisation) -> None:
    organisation.reshape(taken=frozenset({"Order"}))
    output, _, status = check()
    assert status == 1
    assert any(line.startswith("Order: is not to be seen") for line in lacking(output))


def test_check_names_another_namespace(organisation: Organisation) -> None:
    organisation.reshape(namespace="drb2b")
    output, _, status = check()
    assert status == 1
    assert any("Set SALESFORCE_NAMESPACE=drb2b." in line for line in lacking(output))


def test_check_names_a_package_without_namespace(organisation: Organisation) -> None:
    organisation.reshape(namespace="")
    output, _, _ = check()
    assert any("Set SALESFORCE_NAMESPACE=none." in line for line in lacking(output))


def test_check_of_an_organisation_without_the_package(organisation: Organisation) -> None:
    organisation.reshape(has_package=False)
    output, _, status = check()
    assert status == 1
    assert any("install Digital River's package" in line for line in lacking(output))


def test_check_is_fine_without_namespace_where_the_settings_say_so(
    organisation: Organisation, settings: LazySettings
) -> None:
    organisation.reshape(namespace="")
    settings.SALESFORCE_NAMESPACE = ""
    output, _, status = check()
    assert status == 0
    assert "  ok      DR_Order_Id__c (Digital River Order Id): " in output


def test_check_asks_for_the_currency_where_orders_name_none(
    organisation: Organisation, settings: LazySettings
) -> None:
    organisation.reshape(has_currency=False)

    output, _, status = check()
    assert status == 1
    assert [line.split(":")[0] for line in lacking(output)] == ["Currency"]

    settings.SALESFORCE_CURRENCY = "EUR"
    output, _, status = check()
    assert status == 0
    assert "SALESFORCE_CURRENCY is EUR" in output


def test_check_of_tasks_where_they_are_on(
    organisation: Organisation, settings: LazySettings
) -> None:
    settings.SALESFORCE_TASKS = True
    output, _, status = check()
    assert status == 0
    assert "  ok      WhatId: puts the task on the order" in output

    for taken, told in (
        ("Task", "Task: is not to be seen"),
        ("Task:create", "Task: may not be made. Give the integration user Edit Tasks"),
        ("Task.WhatId:create", "WhatId: is not there, or not to be seen; it puts the task on"),
    ):
        organisation.reshape(taken=frozenset({taken}))
        output, _, status = check()
        assert status == 1
        assert lacking(output)[0].startswith(told)


def todays(settings: LazySettings) -> Organisation:
    """Return the organisation by the clock of the day, as the command's stand-in has it."""
    return Organisation(Sandbox(settings.SANDBOX_STATE))


def test_check_says_that_the_days_calls_are_nearly_used(
    organisation: Organisation, settings: LazySettings
) -> None:
    todays(settings).set_calls(960_000)
    output, _, status = check()
    assert status == 1
    (line,) = lacking(output)
    assert line.startswith("API calls: 960,001 of 1,000,000 are used in the last 24 hours: the")


def test_check_ends_where_the_days_calls_are_used_up(
    organisation: Organisation, settings: LazySettings
) -> None:
    todays(settings).set_calls(1_000_000)
    _, words, status = check()
    assert status == 2
    assert words.startswith("The organisation's Salesforce API calls of the last 24 hours are used")


@pytest.mark.parametrize(
    ("off", "verdict", "told"),
    [
        (timedelta(seconds=1), Verdict.FINE, "agrees with Salesforce's"),
        (timedelta(seconds=20), Verdict.FINE, "20 seconds ahead of Salesforce's"),
        (timedelta(minutes=-3), Verdict.LACKING, "3 minutes behind Salesforce's. Set the clock"),
    ],
)
def test_check_compares_the_clocks(
    salesforce: SalesforceClient,
    organisation: Organisation,
    off: timedelta,
    verdict: Verdict,
    told: str,
) -> None:
    theirs = organisation.now()
    sections = salesforce_check(client=salesforce, clock=lambda: theirs + off)
    connection = next(sections)
    (clock,) = (finding for finding in connection.findings if finding.name == "Clock")
    assert clock.verdict is verdict
    assert told in clock.sentence


def test_check_without_salesforce_says_what_to_set(settings: LazySettings) -> None:
    settings.SALESFORCE_TRANSPORT = ""
    output, words, status = check()
    assert (output, status) == ("", 2)
    assert words.startswith("Salesforce is not configured: set SALESFORCE_DOMAIN and ")


def test_check_with_a_wrong_secret_says_so(organisation: Organisation) -> None:
    organisation.reshape(consumer_secret="another")
    output, words, status = check()
    assert (output, status) == ("", 2)
    assert "SALESFORCE_CONSUMER_SECRET" in words


def test_check_of_salesforce_that_is_away_says_so(organisation: Organisation) -> None:
    organisation.queue_fault(Fault(FaultKind.ERROR, code="SERVER_UNAVAILABLE", times=2))
    with stamina.set_testing(True, attempts=2):
        _, words, status = check()
    assert status == 2
    assert "cannot sign the desk in at the moment" in words


def test_check_without_a_right_to_one_field_names_it_in_the_query_as_well(
    organisation: Organisation,
) -> None:
    organisation.reshape(taken=frozenset({"OrderItem.TotalTaxAmount"}))
    output, _, _ = check()
    assert any(
        line.startswith("Order products: The field TotalTaxAmount of OrderItem is not there")
        for line in lacking(output)
    )


def test_check_shows_nothing_of_customers(organisation: Organisation) -> None:
    output, _, _ = check()
    for user in organisation.find("User", "IsActive", "true"):
        assert user["Email"] not in output
    assert "@" not in output
