"""Asking an API until it answers, with longer and longer waits, and making something there only once."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_never

from wg_evals.training.api.provider import RefusedError, TryAgain

T = TypeVar("T")

Say = Callable[[str], None]
"""Told a line at a time what happens."""

_ATTEMPTS_FOR_EXTRAS = 3


class Pace(NamedTuple):
    """How often the API is asked."""

    shortest: float = 2.0
    """Seconds to the first question after something happened; half as many more each time nothing does."""
    longest: float = 60.0
    attempts: int = 8
    """How often an upload, or the creation of a job, is tried. A job is then followed for as long as it takes."""
    looks: int = 8
    """How often a job that may have been made is looked for before another one is: over a minute, with these waits."""

    def wait(self, waited: int) -> float:
        """Seconds to wait when nothing came of `waited` questions."""
        return min(self.longest, self.shortest * 1.5 ** min(waited, 60))


PACE = Pace()


@dataclass(frozen=True)
class Caller:
    """Asks one API, and tells of its silences."""

    api: str
    """As a person calls it."""
    say: Say
    pace: Pace

    def ask(self, call: Callable[[], T], attempts: int | None = None, *, quietly: bool = False) -> T:
        """Call until there is an answer. Says once that there is none, and that there is.

        Args:
            call: The question.
            attempts: How often; None: without an end.
            quietly: Say nothing.

        Raises:
            TryAgain: No answer to any attempt.
            RefusedError: From the call.
        """
        silent = False
        how_long = f"up to {attempts} times in all" if attempts else "until there is one"

        def wait(state: RetryCallState) -> float:
            ex = state.outcome.exception() if state.outcome else None
            asked = ex.wait if isinstance(ex, TryAgain) else None
            return max(asked or 0.0, self.pace.wait(state.attempt_number - 1))

        def before_sleep(state: RetryCallState) -> None:
            nonlocal silent
            if not silent and not quietly:
                ex = state.outcome.exception() if state.outcome else None
                self.say(f"No answer from {self.api} ({ex}); trying again, {how_long}.")
            silent = True

        retrying = Retrying(
            retry=retry_if_exception_type(TryAgain),
            wait=wait,
            stop=stop_after_attempt(attempts) if attempts else stop_never,
            before_sleep=before_sleep,
            reraise=True,
            sleep=time.sleep,
        )
        result = retrying(call)
        if silent and not quietly:
            self.say(f"{self.api} answers again.")
        return result

    def if_given(self, call: Callable[[], Sequence[T]]) -> Sequence[T] | None:
        """What a job's end does not hang on; None where the API does not give it: no reason to lose the model."""
        try:
            return self.ask(call, _ATTEMPTS_FOR_EXTRAS, quietly=True)
        except (RefusedError, TryAgain):
            return None

    def look(self, find: Callable[[], T | None], looks: int) -> T | None:
        """Look for something that may have been made, several times: an API's list may show it late.

        Raises:
            TryAgain: No answer.
            RefusedError: From the call.
        """
        for number in range(looks):
            if (found := find()) is not None:
                return found
            if number + 1 < looks:
                if number == 0:
                    self.say(f"Looking for a while whether it was made at {self.api} before: its list may be late.")
                time.sleep(self.pace.wait(number))
        return None

    def once(self, make: Callable[[], T], find: Callable[[], T | None], looks: int, *, perhaps_made: bool) -> T:
        """Make something unless it is there: it may have been made and the answer lost, now or in an earlier run.

        Args:
            make: Makes it.
            find: Finds it, or gives None.
            looks: How often it is looked for, where it may be there, before it is made.
            perhaps_made: Whether an earlier run may have made it.

        Raises:
            RefusedError: Refused, or no answer to any attempt.
        """

        def attempt() -> T:
            nonlocal perhaps_made
            if perhaps_made and (found := self.look(find, looks)) is not None:
                return found
            perhaps_made = False
            try:
                return make()
            except TryAgain as ex:
                perhaps_made = ex.perhaps_done
                raise

        try:
            return self.ask(attempt, self.pace.attempts)
        except TryAgain as ex:
            raise RefusedError(
                f"{self.api} could not be used ({ex.reason}), {self.pace.attempts} times. Run the same command again "
                "later: it goes on from here."
            ) from None
