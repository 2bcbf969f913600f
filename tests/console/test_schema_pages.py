"""Schemas in the console: versions, what lies between two, who reads them, and whom a change breaks."""

from html import unescape
from typing import Any

import pytest
from marshmallow import fields
from playwright.sync_api import expect

from eventbus import EventSchema
from tests.console.client import Client
from tests.console.conftest import OpenPage
from tests.console.seed import EVIL, Seed, handle


class Invoice(EventSchema):
    """An invoice."""

    number = fields.String(required=True)
    total = fields.Integer(required=True)


class InvoiceWithTax(Invoice):
    """With a tax that is required."""

    tax = fields.Integer(required=True)


@pytest.fixture
def invoices(own_seed: Seed) -> Seed:
    """Two versions that do not fit, one of them deprecated; one group that says what it reads, one that does not."""
    bus = own_seed.bus
    bus.register_schema("invoice.sent", 1, Invoice, compatibility="NONE", deprecation=EVIL, owner="billing")
    bus.register_schema("invoice.sent", 2, InvoiceWithTax, compatibility="NONE", changelog="adds the tax")
    bus.subscribe("invoice.sent", group="ledger", handler=handle, reads=["number", "gone"])
    bus.sync()
    return own_seed


def test_all_types_are_listed(client: Client) -> None:
    """With their versions; a part of a name narrows the list."""
    text = client.text("/schemas")

    assert text.count("<tr data-row") == 1
    assert "order.created" in text
    assert "FULL_TRANSITIVE" in text
    assert "No type matches." in client.text("/schemas?type=nothing")


def test_a_type_is_shown_with_its_two_newest_versions(client: Client) -> None:
    """What lies between, that they are compatible, and who reads them."""
    text = unescape(client.text("/schemas/order.created"))

    for part in (
        "compatible both ways",
        '<span class="added">+    "note": {</span>',
        '"$schema"',
        '/groups/notification">notification</a>',
        "as published",
        "not declared",
    ):
        assert part in text, part


def test_problems_are_told_with_a_payload_that_was_tried(own_client: Client, invoices: Seed) -> None:
    """Both ways, with what that does to each group; what is said of a version is not taken for HTML."""
    text = own_client.text("/schemas/invoice.sent?old=1&new=2")

    shown = unescape(text)
    for part in (
        "billing",
        "NONE, unchecked",
        "deprecated",
        "adds the tax",
        "new code reads old events",
        "required",
        "ledger",
    ):
        assert part in shown, part
    assert "<script>window" not in text
    assert "number, gone" in shown or "gone, number" in shown
    assert "deprecated" in own_client.text("/schemas")


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/schemas/order.created?old=9", 400, "the type has the versions 1, 2"),
        ("/schemas/order.created?new=x", 400, "must be a whole number"),
        (f"/schemas/order.created?new={'9' * 30}", 400, "must be a whole number"),
        ("/schemas/order.unknown", 404, "No schema of this type is registered."),
        ("/schemas/%3Cscript%3E", 400, "is not an event type"),
        (f"/schemas/{'a' * 3000}", 400, "is not an event type"),
        ("/schemas/a%00b", 400, "is not an event type"),
        (f"/schemas?type={'a' * 501}", 400, "is longer than"),
    ],
)
def test_what_does_not_exist_is_said_so(client: Client, path: str, status: int, says: str) -> None:
    """In a sentence."""
    text = client.text(path, status=status)

    assert says.lower() in unescape(text).lower()
    assert "<script>" not in text.split("<main")[1]


def test_a_version_is_retired_after_a_question(own_client: Client, own_seed: Seed) -> None:
    """For good; the audit names who did."""
    path, action = "/schemas/order.created", "/schemas/order.created/1/retire"
    asked = own_client.press(path, action)
    assert "This is for good." in asked.text

    done = own_client.submit(asked.text, action)
    again = own_client.submit(asked.text, action)
    missing = own_client.post("/schemas/order.created/9/retire", data={"token": own_client.token(path)})

    assert "Version 1 of order.created is retired." in done.text
    assert ">retired<" in done.text
    assert "was retired before" in again.text
    assert missing.status_code == 404
    assert [each.is_retired for each in own_seed.bus.stored_schemas("order.created")] == [True, False]
    assert own_seed.bus.audit()[1].action == "schema retire"


@pytest.mark.chromium
def test_a_person_compares_versions_by_keyboard(served: str, open_page: OpenPage, seed: Any) -> None:
    """Any two, by two lists and a button."""
    page = open_page(f"{served}/schemas", theme="dark", width=400)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.get_by_label("from").select_option("2")
    page.get_by_role("button", name="Compare").press("Enter")

    expect(page).to_have_url(f"{served}/schemas/order.created?old=2&new=2")
    expect(page.get_by_text("Both have the same form.")).to_be_visible()
