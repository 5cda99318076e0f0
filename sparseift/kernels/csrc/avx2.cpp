#pragma GCC target("avx2,fma,bmi2")

#define ISA avx2_kernels
#define LANES 8
#define TILES(tile) tile(2, 4, 1) tile(1, 7, 1) tile(2, 2, 2) tile(1, 8, 1) tile(1, 1, 8) tile(1, 1, 2) tile(1, 1, 1)

#include "kernels.inc"

namespace sparseift {

const Kernels* avx2() {
  using namespace avx2_kernels;
  static constexpr Kernels kernels{"avx2", LANES, tiles, sizeof(tiles) / sizeof(Tile), convolve, weight_gradient,
                                   evaluate, gate};
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kernels : nullptr;
}

}  // namespace sparseift
