"""The API's addresses: /api/v1/, its OpenAPI document, and a problem document for everything else below /api/."""

from csp.constants import UNSAFE_INLINE
from csp.decorators import csp_update
from django.urls import include, path, re_path
from django.utils.decorators import method_decorator
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.exceptions import NotFound
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.views import APIView


@method_decorator(csp_update({"style-src": [UNSAFE_INLINE]}), name="dispatch")  # Swagger UI styles its elements inline
class DocsView(SpectacularSwaggerSplitView):
    """The documentation to read and try; everything it loads comes from here."""


class NothingHere(APIView):
    """Any method on any other path: not found. Here, so that it also holds where DEBUG shows pages of its own."""

    schema = None
    authentication_classes = ()
    permission_classes = ()

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        raise NotFound("There is nothing at this address. Addresses of the API end with a slash.")


urlpatterns = [
    path("v1/", include("shop.api.urls")),
    path("v1/", include("sagas.api.urls")),
    path("schema/", SpectacularAPIView.as_view(content_negotiation_class=DefaultContentNegotiation), name="api-schema"),
    path("docs/", DocsView.as_view(url_name="api-schema"), name="api-docs"),
    re_path(r"^(?P<path>.*)$", NothingHere.as_view()),
]
