"""What went wrong in a way that the user can mend."""


class UserError(Exception):
    """A sentence for the user: what was expected, what was found, what mends it."""
