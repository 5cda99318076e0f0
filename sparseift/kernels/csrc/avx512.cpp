#pragma GCC target("avx2,fma,bmi2,avx512f,avx512dq,avx512bw,avx512vl,prefer-vector-width=512")

#define ISA avx512_kernels
#define LANES 16
#define TILES(tile) tile(4, 4, 1) tile(2, 7, 1) tile(2, 2, 4) tile(1, 16, 1) tile(1, 1, 16) tile(1, 1, 4) tile(1, 1, 1)

#include "kernels.inc"

namespace sparseift {

const Kernels* avx512() {
  using namespace avx512_kernels;
  static constexpr Kernels kernels{"avx512", LANES, tiles, sizeof(tiles) / sizeof(Tile), convolve, weight_gradient,
                                   evaluate, gate};
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                 __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
             ? &kernels
             : nullptr;
}

}  // namespace sparseift
