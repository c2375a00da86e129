"""What EasyPost's errors prove: a no, nothing happened, our fault, or nothing at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import InvalidOperation

import requests
from easypost.errors.api.api_error import ApiError
from easypost.errors.general.easypost_error import EasyPostError

from guarded_http import NotNow, proof_of_no_effect
from shipping.exceptions import BookingRefused, CarrierMisuse, CarrierUnavailable, OutcomeUnknown

_WORDS = {
    "ADDRESS.VERIFY.FAILURE": "The carrier does not know this address.",
    "SHIPMENT.POSTAGE.FAILURE": "The carrier does not deliver to this address.",
}
_OTHER_WORDS = "The carrier does not take this parcel."


@contextmanager
def translated() -> Iterator[None]:
    """Raise our exceptions for EasyPost's. An answer that cannot be read is an unknown outcome."""
    try:
        yield
    except ApiError as error:
        raise _meaning(error) from error
    except EasyPostError as error:
        raise CarrierMisuse(f"{type(error).__name__}: {error}") from error
    except requests.RequestException as error:
        raise OutcomeUnknown(f"no answer in time: {error}") from error
    except (AttributeError, KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise OutcomeUnknown(f"the carrier's answer cannot be understood ({type(error).__name__})") from error


def code_of(error: ApiError) -> str:
    """EasyPost's name for what went wrong, such as SHIPMENT.POSTAGE.EXISTS."""
    return str(error.code or "")


def _meaning(error: ApiError) -> BookingRefused | CarrierMisuse | CarrierUnavailable | OutcomeUnknown:
    status = error.http_status
    proof = proof_of_no_effect(error)
    if isinstance(proof, NotNow):
        return CarrierUnavailable(f"the carrier is left alone for now: {proof}", proof.retry_after)
    if proof is not None:
        return CarrierUnavailable("the carrier cannot be reached")
    if status == 422:
        return BookingRefused(code_of(error), _WORDS.get(code_of(error), _OTHER_WORDS))
    if status is not None and 400 <= status < 500 and status not in (408, 409):
        return CarrierMisuse(f"{status} {code_of(error)}: {error.message}")
    return OutcomeUnknown(f"the carrier answered {status or 'nothing'}, which proves nothing")
