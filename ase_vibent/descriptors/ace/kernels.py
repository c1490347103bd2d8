"""Compiled inner loops: radial functions, harmonics, density projections, products.

Sizes are arguments and tables are arrays, so that one compilation serves every basis.
Vectorised over the neighbours of an atom, and over blocks of `LANES` atoms in the products.
"""

from __future__ import annotations

import numpy as np

from ase_vibent.compilation import compiled

#: Atoms whose products are evaluated together.
LANES = 8


@compiled
def radial_functions(vectors, radial, recursion, unit, distance, value, slope):
    """Distances, unit vectors, R_n and dR_n/dr of the pairs of one atom."""
    r0, power, x_cut = radial[0], radial[1], radial[2]
    count = len(vectors)
    for k in range(count):
        r = np.sqrt(vectors[k, 0] ** 2 + vectors[k, 1] ** 2 + vectors[k, 2] ** 2)
        distance[k] = r
        for axis in range(3):
            unit[axis, k] = vectors[k, axis] / r
        # x and dx/dr are parked in the first two rows of the value and slope arrays.
        x = ((1 + r0) / (1 + r)) ** power
        dx = -power * x / (1 + r)
        distance[k + count] = x
        distance[k + 2 * count] = dx
        value[0, k] = recursion[0, 0] * (x - x_cut) ** 2
        slope[0, k] = 2 * recursion[0, 0] * (x - x_cut)
    for n in range(1, len(recursion)):
        a, b, c = recursion[n, 0], recursion[n, 1], recursion[n, 2]
        for k in range(count):
            x = distance[k + count]
            older = value[n - 2, k] if n > 1 else 0.0
            older_slope = slope[n - 2, k] if n > 1 else 0.0
            value[n, k] = (a * x + b) * value[n - 1, k] + c * older
            slope[n, k] = a * value[n - 1, k] + (a * x + b) * slope[n - 1, k] + c * older_slope
    for n in range(len(recursion)):
        for k in range(count):
            slope[n, k] *= distance[k + 2 * count]


@compiled
def solid_harmonics(unit, count, prefactors, legendre, azimuth, value):
    """Y_lm of unit vectors; leaves the recurrences' intermediates for the gradient."""
    l_max = len(prefactors) - 1
    for k in range(count):
        azimuth[0, 0, k] = 1.0
        azimuth[1, 0, k] = 0.0
        legendre[0, 0, k] = 1.0
    for m in range(1, l_max + 1):
        for k in range(count):
            c, s = azimuth[0, m - 1, k], azimuth[1, m - 1, k]
            azimuth[0, m, k] = unit[0, k] * c - unit[1, k] * s
            azimuth[1, m, k] = unit[0, k] * s + unit[1, k] * c
    for l in range(1, l_max + 1):
        for k in range(count):
            legendre[l, l, k] = -(2 * l - 1) * legendre[l - 1, l - 1, k]
            legendre[l, l - 1, k] = -unit[2, k] * legendre[l, l, k]
        for m in range(l - 1):
            for k in range(count):
                legendre[l, m, k] = (
                    (2 * l - 1) * unit[2, k] * legendre[l - 1, m, k]
                    - (l + m - 1) * legendre[l - 2, m, k]
                ) / (l - m)
    for l in range(l_max + 1):
        centre = l * l + l
        for k in range(count):
            value[centre, k] = prefactors[l, 0] * legendre[l, 0, k]
        for m in range(1, l + 1):
            for k in range(count):
                scaled = prefactors[l, m] * legendre[l, m, k]
                value[centre + m, k] = scaled * azimuth[0, m, k]
                value[centre - m, k] = scaled * azimuth[1, m, k]


@compiled
def harmonic_gradients(unit, distance, count, prefactors, legendre, azimuth, value, gradient):
    """Gradients of Y_lm(r/|r|) with respect to r, from the solid harmonics' gradients."""
    for l in range(len(prefactors)):
        centre = l * l + l
        for m in range(l + 1):
            for k in range(count):
                plain = prefactors[l, m] * legendre[l, m, k]
                down = prefactors[l, m] * (l + m) * legendre[l - 1, m, k] if m < l else 0.0
                side = prefactors[l, m] * legendre[l - 1, m + 1, k] if m + 1 < l else 0.0
                cos, sin = azimuth[0, m, k], azimuth[1, m, k]
                cos_low = m * azimuth[0, m - 1, k] if m > 0 else 0.0
                sin_low = m * azimuth[1, m - 1, k] if m > 0 else 0.0
                x, y = unit[0, k], unit[1, k]
                gradient[0, centre + m, k] = x * side * cos + plain * cos_low
                gradient[1, centre + m, k] = y * side * cos - plain * sin_low
                gradient[2, centre + m, k] = down * cos
                if m > 0:
                    gradient[0, centre - m, k] = x * side * sin + plain * sin_low
                    gradient[1, centre - m, k] = y * side * sin + plain * cos_low
                    gradient[2, centre - m, k] = down * sin
        for lm in range(l * l, (l + 1) ** 2):
            for axis in range(3):
                for k in range(count):
                    radial_part = l * value[lm, k] * unit[axis, k]
                    gradient[axis, lm, k] = (gradient[axis, lm, k] - radial_part) / distance[k]


@compiled
def project_density(offsets, channels, radial, harmonics, projection):
    """A_znlm of one atom; offsets delimit its neighbours by species."""
    first = offsets[0]
    for c in range(len(channels)):
        z, n, lm = channels[c, 0], channels[c, 1] - 1, channels[c, 2]
        total = 0.0
        for k in range(offsets[z] - first, offsets[z + 1] - first):
            total += radial[n, k] * harmonics[lm, k]
        projection[c] = total


@compiled
def contract_products(left, right, n_inner, weights, density, inner, adjoint, slope, total):
    """Σ_p w_p Π A of a block of atoms, and its slope in every A.

    Products that are no prefix of another one are never stored.
    """
    slope[:] = 0.0
    total[:] = 0.0
    for p in range(n_inner):
        for b in range(LANES):
            below = inner[left[p], b] if left[p] >= 0 else 1.0
            inner[p, b] = below * density[right[p], b]
            total[b] += weights[p] * inner[p, b]
            adjoint[p, b] = weights[p]
    for p in range(n_inner, len(left)):
        weight, a, c = weights[p], left[p], right[p]
        if a < 0:
            for b in range(LANES):
                total[b] += weight * density[c, b]
                slope[c, b] += weight
            continue
        for b in range(LANES):
            total[b] += weight * inner[a, b] * density[c, b]
            adjoint[a, b] += weight * density[c, b]
            slope[c, b] += weight * inner[a, b]
    for p in range(n_inner - 1, -1, -1):
        a, c = left[p], right[p]
        for b in range(LANES):
            if a < 0:
                slope[c, b] += adjoint[p, b]
            else:
                adjoint[a, b] += adjoint[p, b] * density[c, b]
                slope[c, b] += adjoint[p, b] * inner[a, b]


@compiled
def pair_gradients(
    offsets, channels, radial, radial_slope, harmonics, gradients, unit, slope, result
):
    """Slope of one atom's value in each of its pair vectors, from its slope in A."""
    first = offsets[0]
    result[: offsets[-1] - first] = 0.0
    amount = np.empty(offsets[-1] - first)
    change = np.empty(offsets[-1] - first)
    c = 0
    while c < len(channels):
        z, lm = channels[c, 0], channels[c, 2]
        start, stop = offsets[z] - first, offsets[z + 1] - first
        amount[start:stop] = 0.0
        change[start:stop] = 0.0
        while c < len(channels) and channels[c, 2] == lm and channels[c, 0] == z:
            n = channels[c, 1] - 1
            for k in range(start, stop):
                amount[k] += slope[c] * radial[n, k]
                change[k] += slope[c] * radial_slope[n, k]
            c += 1
        for k in range(start, stop):
            along = change[k] * harmonics[lm, k]
            for axis in range(3):
                result[k, axis] += along * unit[axis, k] + amount[k] * gradients[axis, lm, k]


@compiled
def linear_model_blocks(
    blocks,
    centres,
    species,
    offsets,
    vectors,
    radial,
    recursion,
    prefactors,
    channels,
    left,
    right,
    n_inner,
    weights,
    want_gradient,
    values,
    pairs,
):
    """Values of a linear model, and slopes in every pair vector, for blocks of atoms.

    A block holds up to LANES atoms of one species: centres[blocks[i] : blocks[i + 1]].
    """
    most = 1
    for i in range(blocks[0], blocks[-1]):
        most = max(most, offsets[centres[i], -1] - offsets[centres[i], 0])
    n_lm = len(prefactors) ** 2
    unit, distance = np.empty((3, most)), np.empty(3 * most)
    value = np.empty((len(recursion), most))
    slope = np.empty((len(recursion), most))
    legendre = np.empty((len(prefactors), len(prefactors), most))
    azimuth = np.empty((2, len(prefactors), most))
    harmonics = np.empty((n_lm, most))
    gradients = np.empty((3, n_lm, most))
    projection = np.empty(len(channels))
    density = np.zeros((len(channels), LANES))
    density_slope = np.empty((len(channels), LANES))
    inner = np.empty((max(n_inner, 1), LANES))
    adjoint = np.empty((max(n_inner, 1), LANES))
    total = np.empty(LANES)
    for block in range(len(blocks) - 1):
        start, stop = blocks[block], blocks[block + 1]
        for b in range(stop - start):
            own = offsets[centres[start + b]]
            mine = vectors[own[0] : own[-1]]
            radial_functions(mine, radial, recursion, unit, distance, value, slope)
            solid_harmonics(unit, len(mine), prefactors, legendre, azimuth, harmonics)
            project_density(own, channels, value, harmonics, projection)
            density[:, b] = projection
        z = species[centres[start]]
        contract_products(
            left, right, n_inner, weights[z], density, inner, adjoint, density_slope, total
        )
        for b in range(stop - start):
            values[centres[start + b]] = total[b]
            if not want_gradient:
                continue
            own = offsets[centres[start + b]]
            mine = vectors[own[0] : own[-1]]
            count = len(mine)
            radial_functions(mine, radial, recursion, unit, distance, value, slope)
            solid_harmonics(unit, count, prefactors, legendre, azimuth, harmonics)
            harmonic_gradients(
                unit, distance, count, prefactors, legendre, azimuth, harmonics, gradients
            )
            pair_gradients(
                own, channels, value, slope, harmonics, gradients, unit,
                density_slope[:, b].copy(), pairs[own[0] : own[-1]],
            )  # fmt: skip


@compiled
def gather_pairs(centres_of, neighbours, vectors, pairs, gradient, strain):
    """Sum pair slopes into the gradient of the total and its strain derivative."""
    for i in range(len(centres_of)):
        for k in range(centres_of[i, 0], centres_of[i, -1]):
            j = neighbours[k]
            for a in range(3):
                gradient[j, a] += pairs[k, a]
                gradient[i, a] -= pairs[k, a]
                for b in range(3):
                    strain[a, b] += vectors[k, a] * pairs[k, b]


@compiled
def all_features(
    atoms,
    species,
    offsets,
    neighbours,
    vectors,
    radial,
    recursion,
    prefactors,
    channels,
    members,
    feature_of,
    product_of,
    coefficients,
    want_gradient,
    values,
    gradient,
    strain,
):
    """Features of some atoms; gradients and strain derivatives of their sums by species."""
    most = 1
    for i in atoms:
        most = max(most, offsets[i, -1] - offsets[i, 0])
    n_lm, n_features = len(prefactors) ** 2, values.shape[1]
    unit, distance = np.empty((3, most)), np.empty(3 * most)
    value = np.empty((len(recursion), most))
    slope = np.empty((len(recursion), most))
    legendre = np.empty((len(prefactors), len(prefactors), most))
    azimuth = np.empty((2, len(prefactors), most))
    harmonics = np.empty((n_lm, most))
    gradients = np.empty((3, n_lm, most))
    density = np.empty(len(channels))
    jacobian = np.empty((len(channels), n_features))
    for i in atoms:
        own = offsets[i]
        mine = vectors[own[0] : own[-1]]
        count = len(mine)
        radial_functions(mine, radial, recursion, unit, distance, value, slope)
        solid_harmonics(unit, count, prefactors, legendre, azimuth, harmonics)
        project_density(own, channels, value, harmonics, density)
        if want_gradient:
            jacobian[:] = 0.0
        for entry in range(len(feature_of)):
            feature, product = feature_of[entry], members[product_of[entry]]
            whole = coefficients[entry]
            for t in range(len(product)):
                if product[t] >= 0:
                    whole *= density[product[t]]
            values[i, feature] += whole
            if not want_gradient:
                continue
            for t in range(len(product)):
                if product[t] < 0:
                    continue
                others = coefficients[entry]
                for u in range(len(product)):
                    if u != t and product[u] >= 0:
                        others *= density[product[u]]
                jacobian[product[t], feature] += others
        if not want_gradient:
            continue
        harmonic_gradients(
            unit, distance, count, prefactors, legendre, azimuth, harmonics, gradients
        )
        c = 0
        while c < len(channels):
            z, first = channels[c, 0], c
            while c < len(channels) and channels[c, 0] == z:
                c += 1
            start, stop = own[z] - own[0], own[z + 1] - own[0]
            moves = np.empty((stop - start, 3, c - first))
            for d in range(first, c):
                n, lm = channels[d, 1] - 1, channels[d, 2]
                for k in range(start, stop):
                    for axis in range(3):
                        moves[k - start, axis, d - first] = (
                            slope[n, k] * harmonics[lm, k] * unit[axis, k]
                            + value[n, k] * gradients[axis, lm, k]
                        )
            pulls = np.dot(moves.reshape((stop - start) * 3, c - first), jacobian[first:c])
            for k in range(start, stop):
                j = neighbours[own[0] + k]
                for a in range(3):
                    pull = pulls[3 * (k - start) + a]
                    gradient[species[i], j, a] += pull
                    gradient[species[i], i, a] -= pull
                    for b in range(3):
                        strain[species[i], b, a] += mine[k, b] * pull
