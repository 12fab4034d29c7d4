"""The radix tree as a picture needs it: the runs of tokens that were used last, with what they go on from.

In: a tree. Out: plain `TreeNode`s, no more than were asked for. Knows no text.
"""

from __future__ import annotations

import heapq
import itertools

from runtime.api import TreeNode, TreeSummary
from runtime.cache.radix_node import RadixNode
from runtime.cache.radix_tree import RadixTree

HEAD_TOKENS = 64
"""Of each run, for a caption."""


def summarise(tree: RadixTree, max_nodes: int) -> TreeSummary:
    """The runs used last, each after the one that it goes on from.

    Takes O(max_nodes + their children), whatever the size of the tree.
    """
    serials = itertools.count()
    waiting: list[tuple[int, int, int, RadixNode]] = []

    def wait(node: RadixNode, number: int) -> None:
        for child in node.children.values():
            heapq.heappush(waiting, (-child.last_used, next(serials), number, child))

    for root in tree.roots:
        wait(root, -1)
    shown: list[tuple[int, RadixNode]] = []
    while waiting and len(shown) < max_nodes:
        _, _, parent, node = heapq.heappop(waiting)
        shown.append((parent, node))
        wait(node, len(shown) - 1)
    hidden = [0] * (len(shown) + 1)
    for _, _, parent, _ in waiting:
        hidden[parent] += 1
    nodes = tuple(_told(node, parent, hidden[number]) for number, (parent, node) in enumerate(shown))
    return TreeSummary(tree.page_size, tree.num_nodes, hidden[-1], nodes)


def _told(node: RadixNode, parent: int, num_hidden: int) -> TreeNode:
    head = tuple(node.keys[:HEAD_TOKENS].tolist())
    return TreeNode(parent, node.start, node.end, node.num_locks, node.num_uses, num_hidden, head)
