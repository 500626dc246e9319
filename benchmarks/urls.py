"""The site's addresses, and the floor's."""

from django.urls import include, path

from benchmarks.floor import floor

handler403 = "refundsite.errors.permission_denied"
handler500 = "refundsite.errors.server_error"

urlpatterns = [
    path("benchmark/floor/", floor, name="benchmark-floor"),
    path("", include("refundsite.urls")),
]
