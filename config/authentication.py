"""Who asks: a token, or the session of somebody logged in on our own pages."""

from django.contrib.auth.models import AbstractBaseUser
from knox.auth import TokenAuthentication
from rest_framework.authentication import CSRFCheck, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request


class ForeignOrigin(PermissionDenied):
    """A page of another site sent this request, without a token."""

    default_code = "foreign_origin"
    default_detail = "Pages of other sites may not call this without a token."
    title = "The request comes from another site"


class Tokens(TokenAuthentication):  # type: ignore[misc]
    """Knox's tokens; a header that is not text is a wrong token, not an error of ours."""

    def authenticate_credentials(self, token: bytes) -> tuple[AbstractBaseUser, object]:
        if not token.isascii():
            raise AuthenticationFailed("Invalid token.")
        found: tuple[AbstractBaseUser, object] = super().authenticate_credentials(token)
        return found


class SameOriginSession(SessionAuthentication):
    """Django's session with its CSRF check, and for guests a check of where the request comes from.

    Django REST framework checks CSRF only for users who are logged in. Guests have no cookie the API would
    take anything from, but their browser can still be made to order from their address: a request that
    changes something and names a foreign ``Origin`` is refused. Clients that are not browsers send none.
    """

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, None] | None:
        changes_something = request.method not in ("GET", "HEAD", "OPTIONS")
        if changes_something and "HTTP_ORIGIN" in request.META:
            check = CSRFCheck(lambda _: None)  # type: ignore[arg-type]
            # Not public, but the one reading of CSRF_TRUSTED_ORIGINS and the host that there is.
            if not check._origin_verified(request._request):  # type: ignore[attr-defined]
                raise ForeignOrigin
        return super().authenticate(request)
