"""Pages are asked for anew, whichever way one comes to them."""

import pytest
from django.test import Client


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/accounts/login/", "/orders/", "/healthz", "/nowhere/"])
def test_page_is_not_kept_by_the_browser(client: Client, path: str) -> None:
    assert "no-store" in client.get(path).headers["Cache-Control"]
