"""Compiled search for neighbours: points sorted into bins, then bins around every centre."""

from __future__ import annotations

import numpy as np

from ase_vibent.arrays import Array, IntArray
from ase_vibent.compiled.jit import compiled
from ase_vibent.compiled.simd import LANES, WIDTH, below, load, splat
from ase_vibent.errors import InvalidStructureError


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


@compiled
def bounds(points):
    """Lowest coordinates of points, shape (n, 4), and extent along each direction."""
    low, extent = np.empty(3), np.empty(3)
    for axis in range(3):
        least = most = points[0, axis]
        for k in range(1, len(points)):
            least = min(least, points[k, axis])
            most = max(most, points[k, axis])
        low[axis], extent[axis] = least, most - least
    return low, extent


def grid(points: Array, reach: float) -> tuple[Array, Array, IntArray]:
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

    Raises
    ------
    InvalidStructureError
        If the extent of the structure is no number.
    """
    low, extent = bounds(points)
    if not np.all(np.isfinite(extent)):
        raise InvalidStructureError("atoms: their coordinates differ by more than numbers can say")
    edge = reach
    counts = np.maximum(np.floor(extent / edge), 1)
    if counts.prod() > 64 + 4 * len(points):
        # A few points far away: they are counted to the outermost bins of the others.
        ends = np.quantile(points[:, :3], [0.01, 0.99], axis=0)
        low, extent = ends[0], ends[1] - ends[0]
        counts = np.maximum(np.floor(extent / edge), 1)
    # Points far apart in an empty box: coarser bins, lest they outnumber the points.
    while counts.prod() > 64 + 4 * len(points):
        edge *= 1.26
        counts = np.maximum(np.floor(extent / edge), 1)
    # A little more than the extent, so that the last point lies inside.
    edges = np.maximum(extent * (1 + 1e-12), edge * 1e-6) / counts
    return low, edges, counts.astype(np.int64)


@compiled
def bin_of(point, points, low, edges, counts):
    """Bin of a point along each direction; beyond the bins, the outermost."""
    a = min(max((points[point, 0] - low[0]) / edges[0], 0.0), counts[0] - 1.0)
    b = min(max((points[point, 1] - low[1]) / edges[1], 0.0), counts[1] - 1.0)
    c = min(max((points[point, 2] - low[2]) / edges[2], 0.0), counts[2] - 1.0)
    return int(a), int(b), int(c)


@compiled
def sort_by_bin(points, low, edges, counts):
    """Order of the points by bin, the last direction fastest, and where each bin starts."""
    n = len(points)
    bins = np.empty(n, dtype=np.int64)
    starts = np.zeros(counts[0] * counts[1] * counts[2] + 1, dtype=np.int64)
    for k in range(n):
        a, b, c = bin_of(k, points, low, edges, counts)
        index = (a * counts[1] + b) * counts[2] + c
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


@compiled
def lengthen(array, n, length):
    """Copy of the first n numbers of an array in one of another length."""
    copy = np.empty(length, dtype=array.dtype)
    for k in range(n):
        copy[k] = array[k]
    return copy


@compiled
def points_around(home, span, points, species, counts, starts, pool, indices, ends):
    """Fill a pool with the points of the bins around one, species by species.

    Every species is filled up to a multiple of WIDTH with points infinitely far away. Pools
    that are too short are replaced.

    Returns
    -------
    pool : ndarray, shape (3, n)
    indices : ndarray of int32, shape (n,)
    """
    first_a, last_a = max(home[0] - span[0], 0), min(home[0] + span[0] + 1, counts[0])
    first_b, last_b = max(home[1] - span[1], 0), min(home[1] + span[1] + 1, counts[1])
    first_c, last_c = max(home[2] - span[2], 0), min(home[2] + span[2] + 1, counts[2])
    n_near = 0
    for a in range(first_a, last_a):
        for b in range(first_b, last_b):
            row = (a * counts[1] + b) * counts[2]
            n_near += starts[row + last_c] - starts[row + first_c]
    most = n_near + WIDTH * len(ends)
    if most > len(indices):
        pool, indices = np.empty((3, 2 * most)), np.empty(2 * most, dtype=np.int32)
    n = 0
    for z in range(len(ends)):
        for a in range(first_a, last_a):
            for b in range(first_b, last_b):
                row = (a * counts[1] + b) * counts[2]
                for j in range(starts[row + first_c], starts[row + last_c]):
                    pool[0, n], pool[1, n], pool[2, n] = points[j, 0], points[j, 1], points[j, 2]
                    indices[n] = j
                    n += species[j] == z
        while n % WIDTH:
            pool[0, n], indices[n] = np.inf, -1
            n += 1
        ends[z] = n
    return pool, indices


@compiled
def search(centres, points, species, n_species, reach, low, edges, counts, starts):
    """Points within reach of each centre, itself excluded, by species.

    Fastest where centres of one bin follow each other.

    Parameters
    ----------
    centres : ndarray of int64
    points : ndarray, shape (n, 4), Å
        Sorted by bin.
    species : ndarray of int64, shape (n,)
    n_species : int
    reach : float, Å
    low, edges, counts, starts : ndarrays
        The bins.

    Returns
    -------
    offsets : ndarray of int64, shape (n_centres, n_species + 1)
    candidates : ndarray of int32
    """
    offsets = np.empty((len(centres), n_species + 1), dtype=np.int64)
    candidates = np.empty(64 * len(centres) + 64, dtype=np.int32)
    pool, indices = np.empty((3, 0)), np.empty(0, dtype=np.int32)
    ends, span = np.zeros(n_species, dtype=np.int64), np.empty(3, dtype=np.int64)
    for axis in range(3):
        span[axis] = int(np.ceil(reach / edges[axis]))
    home, limit = (-1, -1, -1), splat(reach * reach)
    n, one = np.uint64(0), np.uint64(1)
    for i in range(len(centres)):
        centre = centres[i]
        own = bin_of(centre, points, low, edges, counts)
        if own != home:
            home = own
            pool, indices = points_around(
                home, span, points, species, counts, starts, pool, indices, ends
            )
        if np.int64(n) + len(indices) > len(candidates):
            candidates = lengthen(candidates, n, 2 * (np.int64(n) + len(indices)))
        x, y, z = splat(points[centre, 0]), splat(points[centre, 1]), splat(points[centre, 2])
        stride = pool.shape[1]
        offsets[i, 0], start = n, 0
        for of_species in range(n_species):
            for k in range(start, ends[of_species], WIDTH):
                dx, dy = load(pool, k) - x, load(pool, stride + k) - y
                dz = load(pool, 2 * stride + k) - z
                near = np.uint64(below(dx * dx + dy * dy + dz * dz, limit))
                # Without branches: half the guesses would be wrong.
                for b in range(WIDTH):
                    j = indices[np.uint64(k + b)]
                    candidates[n] = j
                    n += (near >> np.uint64(b)) & one & np.uint64(j != centre)
            start = ends[of_species]
            offsets[i, of_species + 1] = n
    return offsets, lengthen(candidates, n, n)


@compiled
def sorted_by_species(points, species, n_species):
    """Points, species by species, and the edges of blocks of one species and at most LANES."""
    order, edges = np.empty_like(points), np.empty(len(points) + 1, dtype=np.int64)
    n, n_blocks, edges[0] = 0, 0, 0
    for z in range(n_species):
        for point in points:
            if species[point] == z:
                order[n] = point
                n += 1
                if n - edges[n_blocks] == LANES:
                    n_blocks += 1
                    edges[n_blocks] = n
        if n > edges[n_blocks]:
            n_blocks += 1
            edges[n_blocks] = n
    return order, edges[: n_blocks + 1].copy()
