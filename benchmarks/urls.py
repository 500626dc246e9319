"""The site's addresses, and the floors'."""

from django.urls import include, path

from benchmarks.floor import floor, take

handler403 = "refundsite.errors.permission_denied"
handler500 = "refundsite.errors.server_error"

urlpatterns = [
    path("benchmark/floor/", floor, name="benchmark-floor"),
    path("benchmark/take/", take, name="benchmark-take"),
    path("", include("refundsite.urls")),
]
