"""What the bank refuses."""


class InvalidTransfer(ValueError):
    """A transfer that nobody can make; ``field`` is the part of the request at fault."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class PostingRefused(Exception):
    """Money that the bank does not move; ``code`` says why in a word."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
