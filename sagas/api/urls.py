"""/api/v1/sagas/, for staff."""

from django.urls import path

from sagas.api.views import OPERATIONS, SagaDetail, SagaList, SagaPreview

urlpatterns = [
    path("sagas/", SagaList.as_view(), name="api-sagas"),
    path("sagas/<uuid:saga_id>/", SagaDetail.as_view(), name="api-saga"),
    path("sagas/<uuid:saga_id>/preview/", SagaPreview.as_view(), name="api-saga-preview"),
    *(
        path(f"sagas/<uuid:saga_id>/{name}/", view.as_view(), name=f"api-saga-{name}")
        for name, view in OPERATIONS.items()
    ),
]
