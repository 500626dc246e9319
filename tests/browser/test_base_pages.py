"""The pages that belong to no business: sign-in, errors and the frame around every page."""

from http import HTTPStatus

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.browser.conftest import Axe, SignIn, Watch

PASSWORD = "a-password-for-tests"


@pytest.fixture
def user(transactional_db: None) -> User:
    return User.objects.create_user("robin", password=PASSWORD, first_name="Robin", last_name="Ray")


def has_no_sideways_scroll(page: Page) -> bool:
    fits: bool = page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    return fits


def test_login_by_keyboard_alone(page: Page, live_server: LiveServer, user: User, axe: Axe) -> None:
    page.goto(f"{live_server.url}/accounts/login/?next=/healthz")
    axe(page)
    expect(page.get_by_label("Username")).to_be_focused()
    page.keyboard.type(user.username)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/healthz")


def test_login_wrong_password_moves_focus_to_the_error(
    page: Page, live_server: LiveServer, user: User, axe: Axe
) -> None:
    page.goto(f"{live_server.url}/accounts/login/")
    page.get_by_label("Username").fill(user.username)
    page.get_by_label("Password").fill("something else")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("[data-error-summary]")).to_be_focused()
    expect(page).to_have_title("Error: Sign in – Refund desk")
    expect(page.get_by_label("Username")).to_have_value(user.username)
    axe(page)


def test_login_is_paused_after_five_wrong_passwords(
    page: Page, live_server: LiveServer, user: User, watch: Watch, axe: Axe
) -> None:
    watch.expect_status(HTTPStatus.TOO_MANY_REQUESTS)
    for _ in range(5):
        page.goto(f"{live_server.url}/accounts/login/")
        page.get_by_label("Username").fill(user.username)
        page.get_by_label("Password").fill("something else")
        page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign-in is paused for this name")
    expect(page.get_by_text("Wait 15 minutes")).to_be_visible()
    axe(page)


def test_sign_out_ends_the_session(
    page: Page, live_server: LiveServer, user: User, sign_in: SignIn, watch: Watch, axe: Axe
) -> None:
    watch.expect_status(HTTPStatus.NOT_FOUND)
    sign_in(user)
    page.goto(f"{live_server.url}/no-such-page/")
    page.get_by_text("Robin Ray").click()
    axe(page)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed out")
    expect(page.get_by_role("navigation", name="Main")).to_have_count(0)
    axe(page)


@pytest.mark.parametrize("width", [1280, 375])
def test_not_found_helps_on_at_each_width(
    page: Page,
    live_server: LiveServer,
    user: User,
    sign_in: SignIn,
    watch: Watch,
    axe: Axe,
    width: int,
) -> None:
    watch.expect_status(HTTPStatus.NOT_FOUND)
    page.set_viewport_size({"width": width, "height": 800})
    sign_in(user)
    page.goto(f"{live_server.url}/no-such-page/")
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no such page")
    expect(page.get_by_role("searchbox", name="Search orders")).to_be_in_viewport()
    assert has_no_sideways_scroll(page)
    axe(page)


def test_skip_link_leads_past_the_navigation(
    page: Page, live_server: LiveServer, user: User, sign_in: SignIn, watch: Watch
) -> None:
    watch.expect_status(HTTPStatus.NOT_FOUND)
    sign_in(user)
    page.goto(f"{live_server.url}/no-such-page/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_menu_closes_by_escape_and_by_a_click_elsewhere(
    page: Page, live_server: LiveServer, user: User, sign_in: SignIn, watch: Watch
) -> None:
    watch.expect_status(HTTPStatus.NOT_FOUND)
    sign_in(user)
    page.goto(f"{live_server.url}/no-such-page/")
    sign_out = page.get_by_role("button", name="Sign out")
    page.get_by_text("Robin Ray").click()
    expect(sign_out).to_be_visible()
    page.keyboard.press("Escape")
    expect(sign_out).to_be_hidden()
    page.get_by_text("Robin Ray").click()
    page.get_by_role("heading", level=1).click()
    expect(sign_out).to_be_hidden()


def test_inline_script_is_refused_by_the_policy(
    page: Page, live_server: LiveServer, watch: Watch
) -> None:
    page.goto(f"{live_server.url}/accounts/login/")
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "document.title = 'taken over'";
            document.head.append(script);
        }"""
    )
    expect(page).to_have_title("Sign in – Refund desk")
    assert any("Content Security Policy" in complaint for complaint in watch.complaints)
    watch.complaints.clear()
