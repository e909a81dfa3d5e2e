"""Why a repair was not applied to a message: a closed set of codes, and the error that carries one.

Belongs here: the codes (counted, and stored by whoever keeps an account of repairs; never renamed) and one line
each for operators.
Does not belong here: why an event is rejected (``reasons.py``); what repairs do (``repair.py``,
``transformations.py``).
"""

from .reasons import Described


class Refusal(Described):
    """Why a repair was not applied."""

    INVALID_REPAIR = "invalid_repair", "The repair itself is wrong: a malformed patch, or an unknown name."
    EMPTY_MESSAGE = "empty_message", "The message has no value or an empty one: there is nothing to repair."
    NOT_JSON = "not_json", "The message is not JSON, or would not be JSON afterwards."
    DUPLICATE_KEY = "duplicate_key", "An object names one member twice, and a repair would have to choose."
    NESTING_TOO_DEEP = "nesting_too_deep", "Arrays and objects are nested too deep for this kind of repair."
    PATH_NOT_FOUND = "path_not_found", "The message has no such place as the patch names."
    TEST_FAILED = "test_failed", "A test of the patch does not hold for this message."
    DOES_NOT_APPLY = "does_not_apply", "The message is not broken in the way that this repair mends."
    TOO_LARGE = "too_large", "The repaired message would be larger than Kafka takes."


class RepairError(Exception):
    """A repair was not applied. The text never holds the message's content."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(message)
        self.refusal, self.message = refusal, message
