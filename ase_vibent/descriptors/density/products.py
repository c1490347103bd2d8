"""Products of channels in the order in which they are evaluated, and features made of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ase_vibent.arrays import Array, IntArray


class Products(NamedTuple):
    """Products of channels as a tree, so that every sub-product is computed once.

    A product is a *shared* one times one more channel (a node), or a node times one more
    channel (a leaf of it). Shared products are those that nodes extend: the empty one, 1, and
    nodes themselves, shorter before longer. Products are numbered node by node, each followed
    by its leaves; nodes stand by the shared product they extend, the last of these first.

    Attributes
    ----------
    shared_left, shared_right : ndarrays of int64, shape (n_shared,)
        Shared products as a shorter shared one times a channel; the first is the empty one.
    n_nodes : ndarray of int64, shape (n_shared,)
        Nodes of each shared product.
    n_leaves : ndarray of int64, shape (n_nodes,)
        Leaves of each node.
    own : ndarray of int64, shape (n_nodes,)
        The node's number among the shared products, n_shared if it is none.
    last : ndarray of int64, shape (n_products,)
        The channel by which a product extends another one.
    members : ndarray of int64, shape (n_products, order)
        Channels of a product, -1 for none.
    feature_of, product_of, coefficients : ndarrays, shape (n_entries,)
        Features as sparse linear combinations of products, sorted by feature.
    entry_features, entry_coefficients : ndarrays
        The same sorted by product; one of coefficient 0 where a product is in no feature.
    entry_is_first : ndarray of bool
        Whether an entry is the first of its product; one more at the end.
    """

    shared_left: IntArray
    shared_right: IntArray
    n_nodes: IntArray
    n_leaves: IntArray
    own: IntArray
    last: IntArray
    members: IntArray
    feature_of: IntArray
    product_of: IntArray
    coefficients: Array
    entry_features: IntArray
    entry_coefficients: Array
    entry_is_first: NDArray[np.bool_]

    def weights(self, of_features: Array) -> Array:
        """Weights of the products from those of the features.

        Parameters
        ----------
        of_features : ndarray, shape (n_features,)

        Returns
        -------
        ndarray, shape (n_products,)
        """
        contributions = self.coefficients * of_features[self.feature_of]
        sums = np.bincount(self.product_of, contributions, minlength=len(self.last))
        return sums.astype(np.float64, copy=False)


def _members(products: IntArray) -> Iterator[tuple[int, ...]]:
    """Channels of every product without those that are none."""
    return (tuple(c for c in product if c >= 0) for product in products.tolist())


def link_products(polynomials: Sequence[tuple[IntArray, Array]]) -> Products:
    """Order all products of some polynomials.

    Parameters
    ----------
    polynomials : sequence of (products, coefficients)
        Channels of products, ascending, shape (n, ν), after -1 for none; coefficients, shape
        (n_features, n).

    Returns
    -------
    Products
    """
    wanted: set[tuple[int, ...]] = set()
    for products, _ in polynomials:
        wanted.update(_members(products))
    nodes = {p[:length] for p in wanted for length in range(1, len(p))}
    nodes |= {p for p in wanted if len(p) == 1}
    leaves, children = defaultdict(list), defaultdict(list)
    for product in sorted(wanted - nodes):
        leaves[product[:-1]].append(product)
    for node in nodes:
        children[node[:-1]].append(node)
    shared = sorted(children, key=lambda p: (len(p), p))
    number = {product: k for k, product in enumerate(shared)}
    # Neighbours with equally many leaves: a processor then guesses well where loops end.
    by_parent = [sorted(children[s], key=lambda p: (len(leaves[p]), p)) for s in shared]
    in_order = [node for group in reversed(by_parent) for node in group]
    ordered = [product for node in in_order for product in (node, *leaves[node])]
    position = {product: k for k, product in enumerate(ordered)}
    order = max(map(len, ordered))
    feature_of, product_of, coefficients = [], [], []
    feature = 0
    for products, rows in polynomials:
        columns = np.array([position[p] for p in _members(products)])
        for row in rows:
            kept = np.abs(row) > 1e-14
            feature_of.append(np.full(kept.sum(), feature))
            product_of.append(columns[kept])
            coefficients.append(row[kept])
            feature += 1
    features, members = np.concatenate(feature_of), np.concatenate(product_of)
    return Products(
        shared_left=np.array([number[s[:-1]] for s in shared], dtype=np.int64),
        shared_right=np.array([s[-1] if s else 0 for s in shared], dtype=np.int64),
        n_nodes=np.array([len(group) for group in by_parent], dtype=np.int64),
        n_leaves=np.array([len(leaves[node]) for node in in_order], dtype=np.int64),
        own=np.array([number.get(node, len(shared)) for node in in_order], dtype=np.int64),
        last=np.array([product[-1] for product in ordered], dtype=np.int64),
        members=np.array([[*p, *[-1] * (order - len(p))] for p in ordered], dtype=np.int64),
        feature_of=features,
        product_of=members,
        coefficients=np.concatenate(coefficients),
        **_by_product(features, members, np.concatenate(coefficients), len(ordered)),
    )


def _by_product(
    features: IntArray, products: IntArray, coefficients: Array, n_products: int
) -> dict[str, Any]:
    """The `entry_` attributes of `Products`."""
    idle = np.setdiff1d(np.arange(n_products), products)
    products = np.concatenate([products, idle])
    order = np.argsort(products, kind="stable")
    none = np.zeros(len(idle), dtype=np.int64)
    return {
        "entry_features": np.concatenate([features, none])[order],
        "entry_coefficients": np.concatenate([coefficients, 0.0 * none])[order],
        "entry_is_first": np.diff(products[order], prepend=-1, append=n_products) > 0,
    }
