from django.contrib import admin
from django.urls import include, path

from config.circuits import circuits_page, close_circuit
from config.health import healthz, readyz
from config.metrics import metrics
from config.problem_pages import problems_page
from sagas.admin.dashboard import dashboard_page

handler400 = "config.problems.bad_request"
handler403 = "config.problems.permission_denied"
handler404 = "config.problems.page_not_found"
handler500 = "config.problems.server_error"

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("admin/circuits/", admin.site.admin_view(circuits_page), name="circuits"),
    path("admin/circuits/<slug:name>/close/", admin.site.admin_view(close_circuit), name="close-circuit"),
    # In the place of the list of the app's tables.
    path("admin/sagas/", admin.site.admin_view(dashboard_page), name="dashboard"),
    path("admin/", admin.site.urls),
    path("api/", include("config.api_urls")),
    path("problems/", problems_page, name="problems"),
    path("problems/<slug:slug>", problems_page, name="problem"),
    path("", include("shop.urls")),
]
