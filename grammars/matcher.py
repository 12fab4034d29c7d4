"""The cursor of one request in the text of a constraint.

In: token ids. Out: masks, and whether a token is allowed. The guarantee: a token is allowed only if a completion is
known that satisfies the constraint and fits the budget. Models, logits and sampling are unknown here.
"""

from __future__ import annotations

from grammars.automaton import DEAD
from grammars.masks.token_mask import ENDED, Row, TokenMasks, allow


class Matcher:
    """Made by `CompiledGrammar.matcher`; cheap to make and to fork. Used by one thread at a time.

    Near the end of its budget it follows a plan: a completion that is known, as tokens. The plan's next token is always
    allowed, so that there is no dead end even where the states on the way have other shortest completions of their own.
    """

    __slots__ = ("_budget", "_masks", "_plan", "_plans", "_state", "_states", "_tokens")

    def __init__(self, masks: TokenMasks, state: int, budget: int | None) -> None:
        self._masks = masks
        self._state = state
        self._budget = budget
        self._tokens: list[int] = []
        """taken so far; `_states[k]` and `_plans.get(k)` are as they were before `_tokens[k]`"""
        self._states: list[int] = []
        self._plan: tuple[int, ...] | None = None
        """set where only a plan begun earlier is known to fit: a completion of the state"""
        self._plans: dict[int, tuple[int, ...]] = {}

    @property
    def remaining(self) -> int | None:
        """Tokens of the budget that are left; None without a budget. End tokens take nothing of it."""
        if self._budget is None:
            return None
        return self._budget - len(self._tokens) + (self._state == ENDED)

    @property
    def tokens(self) -> tuple[int, ...]:
        """The tokens taken so far."""
        return tuple(self._tokens)

    def fill_mask(self, row: Row) -> None:
        """Write the mask of what may come next into `row`, int32 [ceil(V / 32)]."""
        if self._budget is None:
            self._masks.write(self._state, row)
            return
        row[:] = self._masks.row_within(self._state, self._budget - len(self._tokens))
        if self._plan:
            allow(row, self._plan[0])

    def advance(self, token: int) -> bool:
        """Take `token`. False, and nothing changes, if it is not allowed."""
        state = self._state
        landing, following = self._masks.take(state, token) if state != ENDED else (DEAD, DEAD)
        plan = None
        if landing == DEAD:
            if state == ENDED or token not in self._masks.vocabulary.eos_ids or not self._masks.is_accepting(state):
                return False
            following = ENDED
        else:
            if self._budget is not None:
                left = self._budget - len(self._tokens) - 1
                if not self._masks.fits(following, left):
                    plan = self._plan_after(token, landing, left)
                    if plan is None:
                        return False
        if self._plan is not None:
            self._plans[len(self._tokens)] = self._plan
        self._plan = plan
        self._tokens.append(token)
        self._states.append(state)
        self._state = following
        return True

    def _plan_after(self, token: int, landing: int, left: int) -> tuple[int, ...] | None:
        """A plan of at most `left` tokens for after `token`, where the state after it has none that fits, or None."""
        plan = self._plan or self._masks.plan(self._state)
        if plan[:1] == (token,) and len(plan) <= left + 1:
            return plan[1:]
        if self._masks.is_settled(landing) and self._masks.fits(landing, left):
            return self._masks.plan(landing)  # the state that remembers has another shortest completion than this one
        return None

    def forced_tokens(self) -> list[int]:
        """The tokens that must come next, if only one text can; the runtime appends them without asking the model.

        They are cut as the tokenizer cuts the whole text. What could merge with the text behind it is held back.
        """
        if self._state == ENDED:
            return []
        tokens = self._masks.forced_tokens(self._state, self._tokens)
        if not tokens:
            return tokens
        ahead = self.fork()
        for index, token in enumerate(tokens):
            if not ahead.advance(token):
                return tokens[:index]
        return tokens

    def rollback(self, count: int) -> None:
        """Take back the last `count` tokens."""
        kept = len(self._tokens) - count
        if count < 0 or kept < 0:
            raise ValueError(f"cannot take back {count} of {len(self._tokens)} tokens")
        if count == 0:
            return
        self._state = self._states[kept]
        self._plan = self._plans.get(kept)
        del self._states[kept:], self._tokens[kept:]
        for index in [index for index in self._plans if index >= kept]:
            del self._plans[index]

    def fork(self) -> Matcher:
        """A matcher at the same place, with the same history and budget, that goes its own way from here."""
        other = Matcher(self._masks, self._state, self._budget)
        other._tokens, other._states = self._tokens.copy(), self._states.copy()
        other._plan, other._plans = self._plan, self._plans.copy()
        return other

    def is_accepting(self) -> bool:
        """Whether the text may end here."""
        return self._state == ENDED or self._masks.is_accepting(self._state)

    def is_complete(self) -> bool:
        """Whether the text is complete and nothing can follow it."""
        return self._state == ENDED or (self._masks.is_accepting(self._state) and self._masks.is_final(self._state))
