"""What the shop takes as text, on its pages and in its API."""

from django.core.validators import RegexValidator

# In our mails and on a label a second line would look like ours. Fields tell of a NUL themselves.
one_line = RegexValidator(
    "[\x01-\x1f\x7f-\x9f]", "Control characters and line breaks are not allowed.", inverse_match=True
)
