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
def neighbour_arrays(most, n_radial, n_degrees):
    """Work arrays for up to `most` neighbours of one atom.

    Unit vectors; r, x(r), dx/dr; R_n and slopes; the recurrences of the harmonics; Y_lm and
    gradients. Rows hold the neighbours.
    """
    return (
        np.empty((3, most)),
        np.empty((3, most)),
        np.empty((n_radial, most)),
        np.empty((n_radial, most)),
        np.empty((n_degrees, n_degrees, most)),
        np.empty((2, n_degrees, most)),
        np.empty((n_degrees**2, most)),
        np.empty((3, n_degrees**2, most)),
    )


@compiled
def radial_functions(vectors, radial, recursion, unit, distance, value, slope):
    """Distances, unit vectors, R_n and dR_n/dr of the pairs of one atom.

    Rows hold the neighbours: `distance` is of shape (3, most) for r, x(r) and dx/dr.
    """
    r0, power, x_cut = radial[0], radial[1], radial[2]
    count = len(vectors)
    r, x, dx = distance[0, :count], distance[1, :count], distance[2, :count]
    for k in range(count):
        r[k] = np.sqrt(vectors[k, 0] ** 2 + vectors[k, 1] ** 2 + vectors[k, 2] ** 2)
        for axis in range(3):
            unit[axis, k] = vectors[k, axis] / r[k]
        x[k] = 1.0
        dx[k] = (1 + r0) / (1 + r[k])
    for _ in range(int(power)):
        for k in range(count):
            x[k] *= dx[k]
    for k in range(count):
        dx[k] = -power * x[k] / (1 + r[k])
    first, first_slope = value[0, :count], slope[0, :count]
    for k in range(count):
        first[k] = recursion[0, 0] * (x[k] - x_cut) ** 2
        first_slope[k] = 2 * recursion[0, 0] * (x[k] - x_cut)
    for n in range(1, len(recursion)):
        a, b, c = recursion[n, 0], recursion[n, 1], recursion[n, 2]
        new, new_slope = value[n, :count], slope[n, :count]
        last, last_slope = value[n - 1, :count], slope[n - 1, :count]
        # c = 0 for the second function: its elder is then any finite row.
        older, older_slope = value[max(n - 2, 0), :count], slope[max(n - 2, 0), :count]
        for k in range(count):
            line = a * x[k] + b
            new[k] = line * last[k] + c * older[k]
            new_slope[k] = a * last[k] + line * last_slope[k] + c * older_slope[k]
    for n in range(len(recursion)):
        row = slope[n, :count]
        for k in range(count):
            row[k] *= dx[k]


@compiled
def solid_harmonics(unit, count, prefactors, legendre, azimuth, value):
    """Y_lm of unit vectors; leaves the recurrences' intermediates for the gradient."""
    l_max = len(prefactors) - 1
    x, y, z = unit[0, :count], unit[1, :count], unit[2, :count]
    azimuth[0, 0, :count] = 1.0
    azimuth[1, 0, :count] = 0.0
    legendre[0, 0, :count] = 1.0
    for m in range(1, l_max + 1):
        cos, sin = azimuth[0, m, :count], azimuth[1, m, :count]
        cos_low, sin_low = azimuth[0, m - 1, :count], azimuth[1, m - 1, :count]
        for k in range(count):
            cos[k] = x[k] * cos_low[k] - y[k] * sin_low[k]
            sin[k] = x[k] * sin_low[k] + y[k] * cos_low[k]
    for l in range(1, l_max + 1):
        diagonal, side = legendre[l, l, :count], legendre[l, l - 1, :count]
        above = legendre[l - 1, l - 1, :count]
        for k in range(count):
            diagonal[k] = -(2 * l - 1) * above[k]
            side[k] = -z[k] * diagonal[k]
        for m in range(l - 1):
            row, low = legendre[l, m, :count], legendre[l - 1, m, :count]
            lower = legendre[l - 2, m, :count]
            for k in range(count):
                row[k] = ((2 * l - 1) * z[k] * low[k] - (l + m - 1) * lower[k]) / (l - m)
    for l in range(l_max + 1):
        centre = l * l + l
        row, middle = legendre[l, 0, :count], value[centre, :count]
        for k in range(count):
            middle[k] = prefactors[l, 0] * row[k]
        for m in range(1, l + 1):
            factor, row = prefactors[l, m], legendre[l, m, :count]
            cos, sin = azimuth[0, m, :count], azimuth[1, m, :count]
            plus, minus = value[centre + m, :count], value[centre - m, :count]
            for k in range(count):
                plus[k] = factor * row[k] * cos[k]
                minus[k] = factor * row[k] * sin[k]


@compiled
def harmonic_gradients(unit, distance, count, prefactors, legendre, azimuth, value, gradient):
    """Gradients of Y_lm(r/|r|) with respect to r, from the solid harmonics' gradients."""
    x, y, z = unit[0, :count], unit[1, :count], unit[2, :count]
    inverse, zero = 1 / distance[0, :count], np.zeros(count)
    for l in range(len(prefactors)):
        centre = l * l + l
        for m in range(l + 1):
            factor = prefactors[l, m]
            plain = legendre[l, m, :count]
            down = legendre[l - 1, m, :count] if m < l else zero
            side = legendre[l - 1, m + 1, :count] if m + 1 < l else zero
            cos, sin = azimuth[0, m, :count], azimuth[1, m, :count]
            cos_low = azimuth[0, m - 1, :count] if m > 0 else zero
            sin_low = azimuth[1, m - 1, :count] if m > 0 else zero
            for sign in range(1 if m == 0 else 2):
                lm = centre - m if sign else centre + m
                angle = sin if sign else cos
                dx, dy = (sin_low, cos_low) if sign else (cos_low, sin_low)
                turn = m if sign else -m
                own = value[lm, :count]
                to_x, to_y = gradient[0, lm, :count], gradient[1, lm, :count]
                to_z = gradient[2, lm, :count]
                for k in range(count):
                    radial_part = l * own[k]
                    ring = side[k] * angle[k]
                    wave_x = x[k] * ring + m * plain[k] * dx[k]
                    wave_y = y[k] * ring + turn * plain[k] * dy[k]
                    wave_z = (l + m) * down[k] * angle[k]
                    to_x[k] = (factor * wave_x - radial_part * x[k]) * inverse[k]
                    to_y[k] = (factor * wave_y - radial_part * y[k]) * inverse[k]
                    to_z[k] = (factor * wave_z - radial_part * z[k]) * inverse[k]


@compiled
def project_density(offsets, channels, radial, harmonics, projection):
    """A_znlm of one atom; offsets delimit its neighbours by species."""
    first = offsets[0]
    for c in range(len(channels)):
        z, n, lm = channels[c, 0], channels[c, 1] - 1, channels[c, 2]
        start, stop = offsets[z] - first, offsets[z + 1] - first
        one, other = radial[n, start:stop], harmonics[lm, start:stop]
        total = 0.0
        for k in range(len(one)):
            total += one[k] * other[k]
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
    offsets, channels, radial, radial_slope, harmonics, gradients, unit, slope, pull, result
):
    """Slope of one atom's value in each of its pair vectors, from its slope in A.

    `pull` is a work array of shape (5, most).
    """
    first, count = offsets[0], offsets[-1] - offsets[0]
    pull[2:, :count] = 0.0
    c = 0
    while c < len(channels):
        z, lm = channels[c, 0], channels[c, 2]
        start, stop = offsets[z] - first, offsets[z + 1] - first
        amount, change = pull[0, start:stop], pull[1, start:stop]
        amount[:] = 0.0
        change[:] = 0.0
        while c < len(channels) and channels[c, 2] == lm and channels[c, 0] == z:
            n, weight = channels[c, 1] - 1, slope[c]
            one, other = radial[n, start:stop], radial_slope[n, start:stop]
            for k in range(len(one)):
                amount[k] += weight * one[k]
                change[k] += weight * other[k]
            c += 1
        wave = harmonics[lm, start:stop]
        for axis in range(3):
            total, along = pull[2 + axis, start:stop], unit[axis, start:stop]
            across = gradients[axis, lm, start:stop]
            for k in range(len(total)):
                total[k] += change[k] * wave[k] * along[k] + amount[k] * across[k]
    for k in range(count):
        for axis in range(3):
            result[k, axis] = pull[2 + axis, k]


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
    unit, distance, value, slope, legendre, azimuth, harmonics, gradients = neighbour_arrays(
        most, len(recursion), len(prefactors)
    )
    projection = np.empty(len(channels))
    pull = np.empty((5, most))
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
                density_slope[:, b].copy(), pull, pairs[own[0] : own[-1]],
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
    groups,
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
    """Features of some atoms; gradients and strain derivatives of their sums by group."""
    most = 1
    for i in atoms:
        most = max(most, offsets[i, -1] - offsets[i, 0])
    unit, distance, value, slope, legendre, azimuth, harmonics, gradients = neighbour_arrays(
        most, len(recursion), len(prefactors)
    )
    density = np.empty(len(channels))
    jacobian = np.empty((len(channels), values.shape[1]))
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
                    gradient[groups[i], j, a] += pull
                    gradient[groups[i], i, a] -= pull
                    for b in range(3):
                        strain[groups[i], b, a] += mine[k, b] * pull
