"""Compiled search for neighbours: points sorted into bins, then bins around every centre."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ase_vibent.compilation import compiled, inlined
from ase_vibent.simd import LANES, WIDTH, below, load, splat

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

@compiled
def place(positions, owners, shifts, cell):
    """Coordinates of images, positions[owners] + shifts @ cell, and zeros: shape (n, 4)."""
    points = np.zeros((len(owners), 4))
    for k in range(len(owners)):
        for axis in range(3):
            points[k, axis] = (
                positions[owners[k], axis]
                + shifts[k, 0] * cell[0, axis]
                + shifts[k, 1] * cell[1, axis]
                + shifts[k, 2] * cell[2, axis]
            )
    return points


@compiled
def fold(on_points, owners, n_atoms):
    """Sum rows of points, shape (n, 4), into rows of their owners, shape (n_atoms, 3)."""
    result = np.zeros((n_atoms, 3))
    for k in range(len(owners)):
        for axis in range(3):
            result[owners[k], axis] += on_points[k, axis]
    return result


def grid(points: Array, reach: float) -> tuple[Array, Array, Indices]:
    """Corner, edges and numbers of bins that hold all points, not many more than these.

    Parameters
    ----------
    points : ndarray, shape (n, 4), Å
    reach : float, Å

    Returns
    -------
    low : ndarray, shape (3,), Å
    edges : ndarray, shape (3,), Å
    counts : ndarray of int64, shape (3,)
    """
    low = points[:, :3].min(axis=0)
    extent = points[:, :3].max(axis=0) - low
    edge = reach
    counts = np.maximum(np.floor(extent / edge), 1)
    # Points far apart in an empty box: coarser bins, lest they outnumber the points.
    while counts.prod() > 64 + 4 * len(points):
        edge *= 1.26
        counts = np.maximum(np.floor(extent / edge), 1)
    # A little more than the extent, so that the last point lies inside.
    edges = np.maximum(extent * (1 + 1e-12), edge * 1e-6) / counts
    return low, edges, counts.astype(np.int64)


@compiled
def sort_by_bin(points, low, edges, counts):
    """Order of the points by bin, the last direction fastest, and where each bin starts."""
    n = len(points)
    bins = np.empty(n, dtype=np.int64)
    starts = np.zeros(counts[0] * counts[1] * counts[2] + 1, dtype=np.int64)
    for k in range(n):
        index = 0
        for axis in range(3):
            at = int((points[k, axis] - low[axis]) / edges[axis])
            index = index * counts[axis] + min(at, counts[axis] - 1)
        bins[k] = index
        starts[index + 1] += 1
    for index in range(len(starts) - 1):
        starts[index + 1] += starts[index]
    filled = starts[:-1].copy()
    order = np.empty(n, dtype=np.int64)
    for k in range(n):
        order[filled[bins[k]]] = k
        filled[bins[k]] += 1
    return order, starts


@inlined
def points_near(points, centre, reach, low, edges, counts, starts, found):
    """Points within reach of a centre, itself included: how many, and in what array.

    `found` is replaced by a longer one where it is too short.
    """
    stride, limit = points.shape[1], splat(reach * reach)
    x, y, z = splat(points[0, centre]), splat(points[1, centre]), splat(points[2, centre])
    first, last = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
    for axis in range(3):
        at = min(int((points[axis, centre] - low[axis]) / edges[axis]), counts[axis] - 1)
        span = int(np.ceil(reach / edges[axis]))
        first[axis], last[axis] = max(at - span, 0), min(at + span + 1, counts[axis])
    n, one = np.uint64(0), np.uint64(1)
    for a in range(first[0], last[0]):
        for b in range(first[1], last[1]):
            row = (a * counts[1] + b) * counts[2]
            start, stop = starts[row + first[2]], starts[row + last[2]]
            if n + stop - start + WIDTH > len(found):
                longer = np.empty(2 * (n + stop - start + WIDTH), dtype=np.int32)
                longer[:n] = found[:n]
                found = longer
            for j in range(start, stop, WIDTH):
                dx, dy = load(points, j) - x, load(points, stride + j) - y
                dz = load(points, 2 * stride + j) - z
                near = np.uint64(below(dx * dx + dy * dy + dz * dz, limit))
                if stop - j < WIDTH:
                    near &= np.uint64((1 << (stop - j)) - 1)
                # Without branches: half the guesses would be wrong.
                for k in range(WIDTH):
                    found[n] = j + k
                    n += (near >> np.uint64(k)) & one
    return n, found


@compiled
def search(centres, points, species, n_species, reach, low, edges, counts, starts):
    """Points within reach of each centre, itself excluded, by species.

    Parameters
    ----------
    points : ndarray, shape (3, n + WIDTH)
        Filled up, since whole vectors are read.

    Returns
    -------
    offsets : ndarray of int64, shape (n_centres, n_species + 1)
    candidates : ndarray of int32
    """
    offsets = np.empty((len(centres), n_species + 1), dtype=np.int64)
    candidates = np.empty(64 * len(centres) + 64, dtype=np.int32)
    found = np.empty(1024, dtype=np.int32)
    total = 0
    for i in range(len(centres)):
        centre = centres[i]
        n, found = points_near(
            points, centre, reach, low, edges, counts, starts, found
        )
        if total + n > len(candidates):
            longer = np.empty(2 * (total + n), dtype=np.int32)
            longer[:total] = candidates[:total]
            candidates = longer
        offsets[i, 0] = total
        for z in range(n_species):
            for k in range(n):
                if found[k] != centre and (n_species == 1 or species[found[k]] == z):
                    candidates[total] = found[k]
                    total += 1
            offsets[i, z + 1] = total
    return offsets, candidates[:total].copy()


@compiled
def blocks_of(sorted_species):
    """Edges of runs of one species, at most LANES long."""
    edges = [0]
    for k in range(1, len(sorted_species) + 1):
        if (
            k == len(sorted_species)
            or sorted_species[k] != sorted_species[k - 1]
            or k - edges[-1] == LANES
        ):
            edges.append(k)
    return np.array(edges)
