"""What went wrong outside our own code: a server, a network, a disk, a setting of the user's."""


def in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


class Failure(ValueError):
    """One line for the user. `may_pass` when it can pass by itself, so that trying again can help."""

    def __init__(self, message: str, may_pass: bool = False):
        super().__init__(message)
        self.message, self.may_pass = message, may_pass
