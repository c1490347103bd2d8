// LAMMPS' evaluator of .yace, alone: pace MODEL.yace PAIRS, for one element.
// PAIRS: number of atoms, of neighbours of each (int), vectors to them (double). On standard output:
// shortest time of three in s, energies of atoms, and the forces on centres from their neighbours.

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <vector>

#include "ace-evaluator/ace_c_basis.h"
#include "ace-evaluator/ace_recursive.h"

int main(int, char **words) {
    std::cout.rdbuf(std::cerr.rdbuf());
    ACECTildeBasisSet basis(words[1]);
    ACERecursiveEvaluator evaluator;
    evaluator.set_recursive(true);
    evaluator.set_basis(basis, 0);
    evaluator.element_type_mapping.init(1);
    evaluator.element_type_mapping(0) = 0;

    std::ifstream file(words[2], std::ios::binary);
    int n_atoms;
    file.read(reinterpret_cast<char *>(&n_atoms), sizeof(int));
    std::vector<int> counts(n_atoms);
    file.read(reinterpret_cast<char *>(counts.data()), n_atoms * sizeof(int));
    int most = 0;
    size_t n_pairs = 0;
    for (int count : counts) {
        most = std::max(most, count);
        n_pairs += count;
    }
    std::vector<double> vectors(3 * n_pairs), results(1 + n_atoms + 3 * n_pairs);
    file.read(reinterpret_cast<char *>(vectors.data()), vectors.size() * sizeof(double));
    double centre[3] = {0, 0, 0};
    std::vector<double *> points(most + 1);
    std::vector<int> types(most + 1, 0), list(most);
    for (int k = 0; k < most; k++) list[k] = k + 1;
    evaluator.resize_neighbours_cache(most);
    results[0] = 1e300;
    for (int repeat = 0; repeat < 3; repeat++) {
        double *pair = vectors.data(), *force = results.data() + 1 + n_atoms;
        auto began = std::chrono::steady_clock::now();
        for (int i = 0; i < n_atoms; i++) {
            points[0] = centre;
            for (int k = 0; k < counts[i]; k++, pair += 3) points[k + 1] = pair;
            evaluator.compute_atom(0, points.data(), types.data(), counts[i], list.data());
            results[1 + i] = evaluator.e_atom;
            for (int k = 0; k < counts[i]; k++)
                for (int axis = 0; axis < 3; axis++)
                    *force++ = evaluator.neighbours_forces(k, axis);
        }
        std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
        results[0] = std::min(results[0], took.count());
    }
    std::fwrite(results.data(), sizeof(double), results.size(), stdout);
}
