"""The errors that a user sees as one sentence."""


class InputError(ValueError):
    """A user's input is unusable; the message is one sentence: what, where, what to do."""


class DamagedFileError(InputError):
    """A file is truncated, empty or no longer what its receipt says; it must be made again."""


class RegistrationError(RuntimeError):
    """A method could not register a pair; the message is the reason shown in the tables."""


class SuspectError(RuntimeError):
    """A registration was made but looks as if it went wrong, and the user asked to be stopped
    then.
    """


class TrainingError(RuntimeError):
    """A training could not go on; the message says why, and what was kept."""


class ToolError(RegistrationError):
    """An external program failed, was stopped or wrote nothing usable; the message ends with its
    last lines.
    """
