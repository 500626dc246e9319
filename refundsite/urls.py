"""The addresses of the whole site."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from refundsite import health

admin.site.site_header = "Refund desk administration"
admin.site.site_title = "Refund desk administration"
admin.site.index_title = "Accounts, reasons and records"

handler403 = "refundsite.errors.permission_denied"
handler500 = "refundsite.errors.server_error"

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("accounts/login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("", include("refunds.urls")),
]
