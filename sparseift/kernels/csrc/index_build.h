// Builds indices from masks.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels.h"

namespace sparseift {

struct WeightShape {
  int32_t rows, columns;  // output channels, input channels of a group
  Pair kernel;
};

// The offsets and phases of the weights of one convolution, for one tile.
struct Layout {
  struct Tap {
    int32_t phase, pixel;  // added to the row; of the first factor in the packed tile of a channel
  };
  Header header;
  std::vector<Plane> planes;
  std::vector<Tap> taps;  // of each position in the kernel

  Layout(const Kernels& kernels, Tile tile, const WeightShape& weight, const Geometry& geometry, bool transposed);
};

// Number of the tile that computes a result of this size fastest.
int32_t best_tile(const Kernels& kernels, const WeightShape& weight, const Geometry& geometry, bool transposed,
                  int64_t height, int64_t width, int64_t batch);

// An active weight: its position in the kernel, and the column within its group.
struct Active {
  int32_t column, tap;
};

// The active weights of each output channel.
struct ActiveWeights {
  std::vector<int64_t> starts;
  std::vector<Active> weights;
  std::vector<int32_t> positions;  // in memory

  ActiveWeights(const uint8_t* mask, const int64_t strides[4], const WeightShape& shape);
};

// Return the index as int32, and set `entries` to the place of each active weight in it.
std::vector<int32_t> build_index(const Layout& layout, const ActiveWeights& active, const WeightShape& weight,
                                 int32_t groups, bool transposed, std::vector<int32_t>& entries);

}  // namespace sparseift
