"""Compiled loops over the tables of an automaton and the arrays of a trie.

They read their operands through addresses, because a call costs as much as its arguments are many: `tables` is the
address of the `int64` array `Transitions.tables`, `trie` that of `TokenTrie.addresses`. Whoever calls keeps those
arrays and all that they point to alive, and no two threads use one `tables` at a time.

A kernel that needs a row which is not there yet writes which one into `tables` and returns a negative code; the caller
fills it and calls again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from grammars.automaton import CROSS, DEAD, LOCAL_MASK, UNFILLED

DONE = 0
MISSING_ROW = -2
"""`tables[MISS_LOCAL]` has no filled row"""
MISSING_CROSSING = -3
"""the crossing row of `tables[MISS_CONTEXT]`, `tables[MISS_LOCAL]` is not there"""

# The fields of `tables`.
(
    TABLE,  # address of int32 [locals, 256]
    EXITS,  # address of int32 [locals]
    KEYS,  # address of int64 [KEY_MASK + 1]: context << 32 | exit class, or EMPTY_KEY
    ROWS,  # address of int32 [KEY_MASK + 1]: the crossing row of each key
    KEY_MASK,
    CROSSINGS,  # address of int64 [crossing rows]: addresses of int64 [256]
    TEXTS,  # address of uint8: the bytes of all tokens, one after the other
    STARTS,  # address of int64 [tokens + 1]: where each begins
    TOKENS,  # how many tokens
    STACK,  # address of int64 [bytes of the longest token + 1]: the states on the way to a node
    POSITION,  # the node at which a walk goes on
    TOP,  # and the first byte that is above it
    VISITED,  # nodes that walks have visited
    MISS_CONTEXT,
    MISS_LOCAL,
    FIELDS,
) = range(16)

# The fields of `TokenTrie.addresses`.
BYTE, DEPTH, END, FIRST, TOKENS_AT, GROUPS, PACKED, TOPS, TOP_BYTES, GROUP_TOPS = range(10)
NODES, GROUP_COUNT, DEEPEST, TRIE_FIELDS = range(10, 14)

EMPTY_KEY = -1
FULL = -4
"""`landings` or `walk_inside` needs a longer array"""
SEVERAL = 256
IMPOSSIBLE = 1 << 30
"""More tokens than any text takes: there is no way"""


def _pointer(kind: Any) -> Any:
    """An intrinsic that turns an address into a pointer to `kind`."""

    @intrinsic
    def pointer(typing_context: Any, address: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(types.int64), codegen

    return pointer


int64_at = _pointer(types.int64)
int32_at = _pointer(types.int32)
uint8_at = _pointer(types.uint8)


@njit("int64(int64, int64)", cache=True, inline="never")
def slot_of(key, key_mask):  # type: ignore[no-untyped-def]
    """Where the search for a key begins in a table of `key_mask + 1` slots."""
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64(mixed >> np.uint64(29)) & key_mask


@njit("int64(int64[::1], int64)", cache=True)
def slot_for(keys, key):  # type: ignore[no-untyped-def]
    """The slot that holds `key` in a hash set, or the free one where it belongs."""
    mask = len(keys) - 1
    slot = slot_of(key, mask)
    while keys[slot] != key and keys[slot] != EMPTY_KEY:
        slot = (slot + 1) & mask
    return slot


@njit("void(int64, int64, int64, int64[::1])", cache=True)
def add_crossing(tables, key, index, row):  # type: ignore[no-untyped-def]
    """Put `key -> index -> row` into the tables of crossing rows; there is room."""
    t = int64_at(tables)
    keys = int64_at(t[KEYS])
    slot = slot_of(key, t[KEY_MASK])
    while keys[slot] != EMPTY_KEY:
        slot = (slot + 1) & t[KEY_MASK]
    keys[slot] = key
    int32_at(t[ROWS])[slot] = np.int32(index)
    int64_at(t[CROSSINGS])[index] = row.ctypes.data


@njit("void(int64[::1], int32[::1], int64, int32)", cache=True)
def insert_key(keys, rows, key, row):  # type: ignore[no-untyped-def]
    """Put `key -> row` into the open-addressing table (keys, rows); there is room."""
    mask = len(keys) - 1
    slot = slot_of(key, mask)
    while keys[slot] != EMPTY_KEY:
        slot = (slot + 1) & mask
    keys[slot] = key
    rows[slot] = row


@njit("void(int64[::1], int32[::1], int64[::1], int32[::1])", cache=True)
def copy_keys(keys, rows, larger_keys, larger_rows):  # type: ignore[no-untyped-def]
    """Put all entries of one table into a larger one."""
    for slot in range(len(keys)):
        if keys[slot] != EMPTY_KEY:
            insert_key(larger_keys, larger_rows, keys[slot], rows[slot])


@njit("int64(int64, int64, int64)", cache=True)
def step(tables, state, byte):  # type: ignore[no-untyped-def]
    """The next state, DEAD, MISSING_ROW or MISSING_CROSSING."""
    t = int64_at(tables)
    local = state & LOCAL_MASK
    following = np.int64(int32_at(t[TABLE])[local * 256 + byte])
    if following >= 0:
        return (state & ~LOCAL_MASK) | following
    if following == DEAD:
        return DEAD
    if following == UNFILLED:
        t[MISS_LOCAL] = local
        return MISSING_ROW
    key = (state & ~LOCAL_MASK) | np.int64(int32_at(t[EXITS])[local])
    keys = int64_at(t[KEYS])
    slot = slot_of(key, t[KEY_MASK])
    while keys[slot] != key:
        if keys[slot] == EMPTY_KEY:
            t[MISS_CONTEXT] = state >> 32
            t[MISS_LOCAL] = local
            return MISSING_CROSSING
        slot = (slot + 1) & t[KEY_MASK]
    row = np.int64(int32_at(t[ROWS])[slot])
    return int64_at(int64_at(t[CROSSINGS])[row])[byte]


@njit("int64(int64, int64, int64)", cache=True)
def advance(tables, state, token):  # type: ignore[no-untyped-def]
    """The state after the bytes of `token`; DEAD also where it has none, or is no token; or a miss."""
    t = int64_at(tables)
    if token < 0 or token >= t[TOKENS]:
        return np.int64(DEAD)
    text = uint8_at(t[TEXTS])
    start = int64_at(t[STARTS])[token]
    stop = int64_at(t[STARTS])[token + 1]
    if start == stop:
        return np.int64(DEAD)
    for k in range(start, stop):
        state = step(tables, state, np.int64(text[k]))
        if state < 0:
            return state
    return state


@njit(inline="always")
def depth_of(head):  # type: ignore[no-untyped-def]
    """The depth of a node; `head` is its first field in `TokenTrie.nodes`."""
    return (head >> 8) & 0xFFFF


@njit(inline="always")
def set_tokens(nodes, first, tokens, i, head, row):  # type: ignore[no-untyped-def]
    """Set the bits of the tokens that end at node i.

    Half of all nodes have one, in no order that a processor could foresee: so it is done without a branch. Few have
    several.
    """
    token = nodes[2 * i + 1]
    row[token >> 5] |= ((head >> 24) & 1) << (token & 31)
    if head >> 25:
        for k in range(first[i] + 1, first[i + 1]):
            row[tokens[k] >> 5] |= np.int32(1) << (tokens[k] & 31)


@njit("int64(int64, int64, int64, int64, int32[::1])", cache=True)
def walk(tables, trie, states, context, row):  # type: ignore[no-untyped-def]
    """Set the bit of every token of the trie that is alive. DONE, or a miss: then call again to go on.

    states: address of int64, what the walk of each group begins in; `context << 32` is added to it.
    `tables[POSITION]` and `tables[TOP]` must be 0 at the first call.
    """
    t = int64_at(tables)
    a = int64_at(trie)
    nodes = int32_at(a[PACKED])
    end = int32_at(a[END])
    first = int32_at(a[FIRST])
    tops = int32_at(a[TOPS])
    top_bytes = uint8_at(a[TOP_BYTES])
    group_tops = int32_at(a[GROUP_TOPS])
    tokens = int32_at(a[TOKENS_AT])
    stack = int64_at(t[STACK])
    i = t[POSITION]
    top = t[TOP]
    visited = 0
    for group in range(a[GROUP_COUNT]):
        stack[0] = (context << 32) + int64_at(states)[group]
        while top < group_tops[group + 1]:
            if i <= tops[top]:  # not in the middle of it
                i = np.int64(tops[top])
                following = step(tables, stack[0], np.int64(top_bytes[top]))
                if following == DEAD:  # most are: they are not looked at any closer
                    top += 1
                    continue
            stop = tops[top + 1]
            while i < stop:
                head = nodes[2 * i]
                d = depth_of(head)
                following = step(tables, stack[d - 1], np.int64(head & 0xFF))
                visited += 1
                if following >= 0:
                    stack[d] = following
                    set_tokens(nodes, first, tokens, i, head, row)
                    i += 1
                elif following == DEAD:
                    i = np.int64(end[i])
                else:
                    t[POSITION] = i
                    t[TOP] = top
                    t[VISITED] += visited
                    return following
            top += 1
    t[VISITED] += visited
    return np.int64(DONE)


@njit("int64(int64, int64, int64, int64, int64, int32[::1])", cache=True)
def walk_apart(tables, trie, state, base, stack_of_base, row):  # type: ignore[no-untyped-def]
    """Turn the mask of (context of `state`, local `base`) into that of `state`: walk only where they lead apart.

    Where both locals lead to one and the same, the subtree is alive alike. `row` holds the mask of the base.
    stack_of_base: address of int32, as long as the STACK. DONE, or a miss: then call again to go on;
    `tables[POSITION]` must be 0 at the first call.
    """
    t = int64_at(tables)
    a = int64_at(trie)
    nodes = int32_at(a[PACKED])
    end = int32_at(a[END])
    first = int32_at(a[FIRST])
    tokens = int32_at(a[TOKENS_AT])
    stack = int64_at(t[STACK])
    bases = int32_at(stack_of_base)
    stack[0] = state
    bases[0] = base
    context = state & ~LOCAL_MASK
    i = t[POSITION]
    visited = 0
    while i < a[NODES]:
        head = nodes[2 * i]
        d = depth_of(head)
        byte = np.int64(head & 0xFF)
        beside = bases[d - 1]
        if beside >= 0:  # else DEAD, or CROSS: somewhere outside the lexeme
            local = np.int64(beside)
            beside = int32_at(t[TABLE])[local * 256 + byte]
            if beside == UNFILLED:
                t[MISS_LOCAL] = local
                t[POSITION] = i
                t[VISITED] += visited
                return np.int64(MISSING_ROW)
        following = step(tables, stack[d - 1], byte)
        visited += 1
        if following >= 0:
            if beside >= 0 and following == context | np.int64(beside):
                i = np.int64(end[i])
                continue
            stack[d] = following
            bases[d] = beside
            set_tokens(nodes, first, tokens, i, head, row)
            i += 1
        elif following == DEAD:
            after = np.int64(end[i])
            if beside != DEAD:
                for k in range(first[i], first[after]):
                    token = tokens[k]
                    row[token >> 5] &= ~(np.int32(1) << (token & 31))
            i = after
        else:
            t[POSITION] = i
            t[VISITED] += visited
            return following
    t[VISITED] += visited
    return np.int64(DONE)


@njit("int64(int64, int64, int64, int32[::1], int32[::1], int32[:, ::1])", cache=True)
def walk_inside(tables, trie, local, row, inside, exits):  # type: ignore[no-untyped-def]
    """Walk without crossing: set the bits of the tokens that stay inside the lexeme of `local`.

    inside: for each local 1 + a node where a token ends in it, or 0
    exits:  [2, n] nodes that the walk would cross into, and the locals that it would cross from; their number is
            `tables[VISITED]` at the end
    MISSING_ROW: fill the row, make `inside` as long as the table, and call again to go on; `tables[POSITION]` and
    `tables[VISITED]` must be 0 at the first call. FULL: `exits` is too short; begin anew.
    """
    t = int64_at(tables)
    a = int64_at(trie)
    nodes = int32_at(a[PACKED])
    end = int32_at(a[END])
    first = int32_at(a[FIRST])
    tokens = int32_at(a[TOKENS_AT])
    table = int32_at(t[TABLE])
    stack = int64_at(t[STACK])
    stack[0] = local
    i = t[POSITION]
    left = t[VISITED]
    while i < a[NODES]:
        head = nodes[2 * i]
        d = depth_of(head)
        following = np.int64(table[stack[d - 1] * 256 + np.int64(head & 0xFF)])
        if following >= 0:
            stack[d] = following
            inside[following] = max(np.int64(inside[following]), ((head >> 24) & 1) * (i + 1))
            set_tokens(nodes, first, tokens, i, head, row)
            i += 1
        elif following == UNFILLED:
            t[MISS_LOCAL] = stack[d - 1]
            t[POSITION] = i
            t[VISITED] = left
            return np.int64(MISSING_ROW)
        else:
            if following == CROSS:
                if left == exits.shape[1]:
                    return np.int64(FULL)
                exits[0, left] = i
                exits[1, left] = stack[d - 1]
                left += 1
            i = np.int64(end[i])
    t[VISITED] = left
    return np.int64(DONE)


@njit("int64(int64, int64, int64, int64, int64[::1], int32[::1])", cache=True)
def landings(tables, trie, states, context, keys, landing):  # type: ignore[no-untyped-def]
    """As `walk`, but note for each token that is alive where it leads: `keys[landing[token]]` is the state after it.

    keys: a hash set of states, EMPTY_KEY where free, a power of two long. landing: [tokens], -1 for those not alive;
    of length 0 where nobody asks. FULL: `keys` is half full; begin anew with a longer one.
    """
    t = int64_at(tables)
    a = int64_at(trie)
    byte = uint8_at(a[BYTE])
    depth = int32_at(a[DEPTH])
    end = int32_at(a[END])
    first = int32_at(a[FIRST])
    tokens = int32_at(a[TOKENS_AT])
    groups = int32_at(a[GROUPS])
    stack = int64_at(t[STACK])
    i = t[POSITION]
    count = 0
    for slot in range(len(keys)):
        count += keys[slot] != EMPTY_KEY
    slot = np.int64(0)
    for group in range(a[GROUP_COUNT]):
        stop = groups[group + 1]
        if i >= stop:
            continue
        stack[0] = (context << 32) + int64_at(states)[group]
        while i < stop:
            d = depth[i]
            following = step(tables, stack[d - 1], np.int64(byte[i]))
            if following >= 0:
                stack[d] = following
                if first[i] != first[i + 1]:
                    if keys[slot] != following:
                        slot = slot_for(keys, following)
                        count += keys[slot] == EMPTY_KEY
                        keys[slot] = following
                        if 2 * count > len(keys):
                            return np.int64(FULL)
                    if len(landing):
                        for k in range(first[i], first[i + 1]):
                            landing[tokens[k]] = slot
                i += 1
            elif following == DEAD:
                i = end[i]
            else:
                t[POSITION] = i
                return following
    return np.int64(DONE)


@njit("int64(int32[::1])", cache=True)
def row_hash(row):  # type: ignore[no-untyped-def]
    """A hash of a mask row."""
    mixed = np.zeros(8, np.uint64)
    words = row.view(np.uint32)
    for w in range(len(words)):
        lane = w & 7
        mixed[lane] = (mixed[lane] ^ np.uint64(words[w])) * np.uint64(0x9E3779B97F4A7C15)
        mixed[lane] ^= mixed[lane] >> np.uint64(29)
    total = np.uint64(0)
    for lane in range(8):
        total = (total ^ mixed[lane]) * np.uint64(0xD6E8FEB86659FD93)
        total ^= total >> np.uint64(32)
    return np.int64(total)


@njit("int64(int64, int64)", cache=True)
def usual_next(tables, local):  # type: ignore[no-untyped-def]
    """The local that most bytes lead to inside the lexeme, DEAD if none does, or MISSING_ROW."""
    t = int64_at(tables)
    row = int32_at(t[TABLE])
    start = local * 256
    if row[start] == UNFILLED:
        t[MISS_LOCAL] = local
        return np.int64(MISSING_ROW)
    # The majority vote of Boyer and Moore over the printable ASCII bytes: right wherever more than half agree.
    usual = np.int64(DEAD)
    votes = 0
    for byte in range(0x20, 0x7F):
        following = np.int64(row[start + byte])
        if following == usual:
            votes += 1
        elif votes == 0:
            usual = following
            votes = 1
        else:
            votes -= 1
    return max(usual, np.int64(DEAD))


@njit("int32[:, ::1](int32[::1], int64)", cache=True)
def pack(row, most):  # type: ignore[no-untyped-def]
    """The words of a row that are not 0, as [2, n]: where they are, and what; [0, 0] if they are more than `most`."""
    count = 0
    for w in range(len(row)):
        count += row[w] != 0
    if count > most:
        return np.empty((0, 0), np.int32)
    packed = np.empty((2, count), np.int32)
    k = 0
    for w in range(len(row)):
        if row[w] != 0:
            packed[0, k] = w
            packed[1, k] = row[w]
            k += 1
    return packed


@njit("void(int32[:, ::1], int32[::1])", cache=True)
def unpack(packed, row):  # type: ignore[no-untyped-def]
    """Make `row` the one that was packed."""
    row[:] = 0
    for k in range(packed.shape[1]):
        row[packed[0, k]] = packed[1, k]


@njit("boolean(int32[::1], int32[::1])", cache=True)
def equal_rows(left, right):  # type: ignore[no-untyped-def]
    """Whether two rows of one width are equal."""
    different = np.int32(0)
    for w in range(len(left)):
        different |= left[w] ^ right[w]
    return different == 0


@njit("int64(int64, int64, int64, int64)", cache=True)
def goes_on(tables, trie, node, state):  # type: ignore[no-untyped-def]
    """1 if a token below `node` is alive when its bytes below the node are read from `state`, else 0; or a miss."""
    t = int64_at(tables)
    a = int64_at(trie)
    byte = uint8_at(a[BYTE])
    depth = int32_at(a[DEPTH])
    end = int32_at(a[END])
    first = int32_at(a[FIRST])
    stack = int64_at(t[STACK])
    top = depth[node]
    stack[top] = state
    i = node + 1
    while i < end[node]:
        d = depth[i]
        following = step(tables, stack[d - 1], np.int64(byte[i]))
        if following >= 0:
            if first[i] != first[i + 1]:
                return np.int64(1)
            stack[d] = following
            i += 1
        elif following == DEAD:
            i = end[i]
        else:
            return following
    return np.int64(0)


@njit("int64(int64, int64)", cache=True)
def only_byte(tables, state):  # type: ignore[no-untyped-def]
    """The byte that must come next; DEAD if none can, SEVERAL if there is a choice; or a miss."""
    found = np.int64(DEAD)
    for byte in range(256):
        following = step(tables, state, np.int64(byte))
        if following >= 0:
            if found >= 0:
                return np.int64(SEVERAL)
            found = np.int64(byte)
        elif following != DEAD:
            return following
    return found


@njit("void(int32[::1], boolean[::1], int32[::1])", cache=True)
def keep_landings(landing, kept, row):  # type: ignore[no-untyped-def]
    """Set the bit of every token whose landing is kept."""
    for token in range(len(landing)):
        if landing[token] >= 0 and kept[landing[token]]:
            row[token >> 5] |= np.int32(1) << (token & 31)


@njit("void(int64, int64[::1], int32[::1])", cache=True)
def index_children(trie, keys, children):  # type: ignore[no-untyped-def]
    """Fill the hash table `(node + 1) << 8 | byte -> child`, node -1 being the root; see `child_of`."""
    a = int64_at(trie)
    byte = uint8_at(a[BYTE])
    depth = int32_at(a[DEPTH])
    path = np.empty(a[DEEPEST] + 1, np.int64)
    path[0] = -1
    for i in range(a[NODES]):
        path[depth[i]] = i
        insert_key(keys, children, (path[depth[i] - 1] + 1) << 8 | np.int64(byte[i]), np.int32(i))


@njit("int64(int64[::1], int32[::1], int64, int64)", cache=True)
def child_of(keys, children, node, byte):  # type: ignore[no-untyped-def]
    """The child of a node by a byte, or -1."""
    key = (node + 1) << 8 | byte
    mask = len(keys) - 1
    slot = slot_of(key, mask)
    while keys[slot] != key:
        if keys[slot] == EMPTY_KEY:
            return np.int64(-1)
        slot = (slot + 1) & mask
    return np.int64(children[slot])


@njit(
    "Tuple((int32[::1], int32[::1]))(int64, int64[::1], int32[::1], Array(uint8, 1, 'C', readonly=True), boolean)",
    cache=True,
)
def fewest_tokens(trie, keys, children, text, commas_part):  # type: ignore[no-untyped-def]
    """The shortest way to write each suffix of `text` in tokens.

    (count int32 [n + 1], choice int32 [n]): `text[k:]` takes `count[k]` tokens, the first of them `choice[k]`, the
    longest that will do; a count of IMPOSSIBLE where there is no way. `commas_part`: behind a comma, tokens have only
    white space.
    """
    a = int64_at(trie)
    first = int32_at(a[FIRST])
    tokens = int32_at(a[TOKENS_AT])
    n = len(text)
    count = np.full(n + 1, IMPOSSIBLE, np.int32)
    choice = np.full(n, -1, np.int32)
    count[n] = 0
    for k in range(n - 1, -1, -1):
        node = np.int64(-1)
        behind = False
        for j in range(k, n):
            if behind and text[j] > 32:
                break
            behind = behind or (commas_part and text[j] == 44)
            node = child_of(keys, children, node, np.int64(text[j]))
            if node < 0:
                break
            if first[node] != first[node + 1] and count[j + 1] != IMPOSSIBLE and count[j + 1] + 1 <= count[k]:
                count[k] = count[j + 1] + 1
                choice[k] = tokens[first[node]]
    return count, choice


assert CROSS < DEAD  # `step` treats every other negative entry as a crossing
