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

// A volume as kernels read it: max(scale * x + slope * other + shift, floor), with a scale, slope and shift for each
// channel. A batch norm and a ReLU before a convolution are a scale, a shift and a floor; a shortcut is another volume.
struct Operand {
  Volume<const float> x;
  const float* scale = nullptr;  // null: 1
  const float* other = nullptr;  // of the size of x; null: there is none
  const float* slope = nullptr;  // null: 1
  const float* shift = nullptr;  // null: 0, and no floor unless there is another
  float floor = -__builtin_inff();
};

// The gradients of x and of the other of an operand: they are zero where it is at its floor.
struct Gate {
  Operand operand;
  const float* gradient;  // of the operand, or what is added to it; null: nothing
  float* of_x;
  float* of_other;  // null: not wanted
};

// What is done with a result besides storing it, and three sums of each row that this leaves.
enum class Finish {
  kNone,
  kMoments,  // number, mean and sum of squared deviations
  kGate,     // the result is the gradient of the gate's operand, and its x that of the gate; the sums are the gradients
             // of shift, scale and slope
};
constexpr int64_t SUMS = 3;

// A forward pass or an input gradient.
struct Convolution {
  Index index;
  const float* values;  // of the active weights, in the order of the index
  const float* bias;    // of each row, or null
  Operand source;
  Volume<float> result;
  Finish finish;
  Gate gate;  // empty without one
};

// Gradients of the active weights of a forward pass.
struct WeightGradient {
  Index index;
  Operand source;
  Operand gradient;  // of the result
  float* values;                 // of some tiles, in the order of the index; zero before and after
  float* total;                  // zero before
};

struct Kernels {
  const char* name;
  int32_t lanes;
  const Tile* tiles;
  int32_t tile_count;

  // Compute tiles [begin, end) of all rows, and the sums of each row over them. Tiles are independent of each other.
  void (*convolve)(const Convolution&, int64_t begin, int64_t end, double* sums);

  // Compute the gradients of the `part`-th of `parts` shares of each segment, over all tiles.
  void (*weight_gradient)(const WeightGradient&, int64_t part, int64_t parts);

  // Compute channels [begin, end) of the value of an operand.
  void (*evaluate)(const Operand&, float* value, int64_t begin, int64_t end);

  // Compute channels [begin, end) of the gradients of an operand, and the sums of each channel: the gradients of shift,
  // scale and slope.
  void (*gate)(const Gate&, int64_t begin, int64_t end, double* sums);
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
