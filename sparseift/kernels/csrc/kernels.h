// The kernels of one instruction set. They know nothing of torch.
#pragma once

#include <cstdint>

#include "index.h"

namespace sparseift {

// Activations with the batch innermost: [channels][height][width][batch].
template <class Float>
struct Volume {
  Float* data;
  int64_t channels, height, width, batch;

  int64_t plane() const { return height * width * batch; }
};

// A forward pass or an input gradient.
struct Convolution {
  Index index;
  const float* values;  // of the active weights, in the order of the index
  const float* bias;    // of each row, or null
  Volume<const float> source;
  Volume<float> result;
};

// Gradients of the active weights of a forward pass.
struct WeightGradient {
  Index index;
  Volume<const float> source;
  Volume<const float> gradient;  // of the result
  float* values;                 // of some tiles, in the order of the index; zero before and after
  float* total;                  // zero before
};

struct Kernels {
  const char* name;
  int32_t lanes;
  const Tile* tiles;
  int32_t tile_count;

  // Compute tiles [begin, end) of all rows. Tiles are independent of each other.
  void (*convolve)(const Convolution&, int64_t begin, int64_t end);

  // Compute the gradients of the `part`-th of `parts` shares of each segment, over all tiles.
  void (*weight_gradient)(const WeightGradient&, int64_t part, int64_t parts);
};

const Kernels* avx2();
const Kernels* avx512();

// Tiles that cover a result, numbered with samples innermost: their windows lie next to each other in memory.
struct Grid {
  int64_t rows, columns, blocks;

  Grid(const Tile& tile, int32_t lanes, const Pair& phases, int64_t height, int64_t width, int64_t batch)
      : rows(up(up(height, phases.h), tile.height)),
        columns(up(up(width, phases.w), tile.width)),
        blocks(up(batch, int64_t(tile.blocks) * lanes)) {}

  template <class Float>
  Grid(const Header& h, const Volume<Float>& result)
      : Grid(h.tile, h.lanes, h.phases, result.height, result.width, result.batch) {}

  int64_t size() const { return rows * columns * blocks; }

 private:
  static int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }
};

}  // namespace sparseift
