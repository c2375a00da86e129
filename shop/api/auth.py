"""Tokens for client programs: hashed in the database, and over after some hours (django-rest-knox)."""

from typing import Any, ClassVar

from django.contrib.auth import authenticate
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from knox.models import AuthToken
from rest_framework import serializers
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from shop.api.exceptions import LoginFailed
from shop.api.fields import Text


class Credentials(serializers.Serializer[Any]):
    username = Text(max_length=150)
    password = serializers.CharField(max_length=128, trim_whitespace=False)


class Token(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="For the header `Authorization: Token …`.")
    expires_at = serializers.DateTimeField()


class Login(APIView):
    # No session is read and none is made: there is nothing a foreign page could use.
    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_scopes: ClassVar = {"POST": "login"}
    problems: ClassVar = {"POST": (LoginFailed,)}

    @extend_schema(
        operation_id="log_in",
        summary="Get a token",
        tags=["auth"],
        request=Credentials,
        responses={200: Token},
        examples=[
            OpenApiExample("Ada", {"username": "ada@example.org", "password": "correct horse"}, request_only=True)
        ],
    )
    def post(self, request: Request) -> Response:
        """A token for a user name and a password. Failed logins are counted for name and address together."""
        asked = Credentials(data=request.data)
        asked.is_valid(raise_exception=True)
        user = authenticate(request=request._request, **asked.validated_data)
        if user is None:
            raise LoginFailed
        row, token = AuthToken.objects.create(user=user)
        told = Token({"token": token, "expires_at": row.expiry})
        return Response(told.data, headers={"Cache-Control": "no-store"})

    def get_authenticate_header(self, request: Request) -> str:
        return "Token"


class Logout(APIView):
    permission_classes = (IsAuthenticated,)

    @extend_schema(
        operation_id="log_out",
        summary="End a token",
        tags=["auth"],
        request=None,
        responses={204: OpenApiResponse(None, "The token is no longer good for anything.")},
    )
    def post(self, request: Request) -> Response:
        """Ends the token that this request came with; others of the same user stay."""
        if request.auth is None:
            raise NotAuthenticated("This ends tokens, and the request came without one.")
        request.auth.delete()
        return Response(status=204)
