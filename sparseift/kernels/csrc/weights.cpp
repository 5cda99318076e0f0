// The operators for weights: the index of a mask, and values of active weights.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>
#include <torch/library.h>

#include <algorithm>
#include <numeric>
#include <tuple>
#include <vector>

#include "index_build.h"
#include "tensors.h"

namespace sparseift {
namespace {

WeightShape weight_shape(Ints size) {
  TORCH_CHECK(size.size() == 4, "expected a weight of four dimensions");
  return {int32_t(size[0]), int32_t(size[1]), {int32_t(size[2]), int32_t(size[3])}};
}

// Best tiles of the forward pass and of the input gradient for an input of size (N, C, H, W).
std::vector<int64_t> best_tiles(Ints weight_size, Ints input_size, Ints geometry) {
  const WeightShape weight = weight_shape(weight_size);
  const Geometry g = geometry_of(weight.kernel, geometry);
  int64_t batch = input_size[0], height = input_size[2], width = input_size[3];
  if (pointwise(g)) batch *= height * width, height = width = 1;
  const int64_t rows = extent(height, g.kernel.h, g.stride.h, g.padding.h, g.dilation.h);
  const int64_t columns = extent(width, g.kernel.w, g.stride.w, g.padding.w, g.dilation.w);
  return {best_tile(kernels(), weight, g, false, rows, columns, batch),
          best_tile(kernels(), weight, g, true, height, width, batch)};
}

Tensor int_tensor(const std::vector<int32_t>& values) {
  Tensor tensor = at::empty({int64_t(values.size())}, at::kInt);
  std::copy(values.begin(), values.end(), tensor.data_ptr<int32_t>());
  return tensor;
}

// Numbers of the active weights in the order of memory.
std::vector<int32_t> in_memory_order(const std::vector<int32_t>& positions) {
  std::vector<int32_t> order(positions.size());
  std::iota(order.begin(), order.end(), 0);
  if (!std::is_sorted(positions.begin(), positions.end()))
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return positions[a] < positions[b]; });
  return order;
}

// Index of a mask for two tiles: of the forward pass, of the input gradient, the place of each active weight in the
// memory of the dense weight and in the first index, by increasing place in memory, and the place in the first index
// of each active weight of the second.
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> index(const Tensor& mask, Ints geometry, Ints tiles) {
  TORCH_CHECK(mask.scalar_type() == at::kBool, "expected a mask of bool");
  const WeightShape weight = weight_shape(mask.sizes());
  const Geometry g = geometry_of(weight.kernel, geometry);
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(mask.const_data_ptr<bool>());
  const ActiveWeights active(bytes, mask.strides().data(), weight);
  std::vector<int32_t> forward_entries, transposed_entries;
  auto build = [&](bool transposed, std::vector<int32_t>& entries) {
    const Layout layout(kernels(), kernels().tiles[tiles[transposed]], weight, g, transposed);
    return int_tensor(build_index(layout, active, weight, g.groups, transposed, entries));
  };
  Tensor forward = build(false, forward_entries), transposed = build(true, transposed_entries);
  const int64_t count = active.positions.size();
  Tensor positions = at::empty({count}, at::kInt), entries = at::empty({count}, at::kInt);
  Tensor order = at::empty({count}, at::kInt);
  int32_t* position = positions.data_ptr<int32_t>();
  int32_t* entry = entries.data_ptr<int32_t>();
  int32_t* in_forward = order.data_ptr<int32_t>();
  const std::vector<int32_t> by_position = in_memory_order(active.positions);
  at::parallel_for(0, count, 1 << 14, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      position[k] = active.positions[by_position[k]];
      entry[k] = forward_entries[by_position[k]];
      in_forward[transposed_entries[k]] = forward_entries[k];
    }
  });
  return {forward, transposed, positions, entries, order};
}

// values[entries[k]] = weight.memory[positions[k]]
Tensor gather(const Tensor& weight, const Tensor& positions, const Tensor& entries) {
  Tensor values = at::empty(positions.sizes(), weight.options());
  const float* from = weight.const_data_ptr<float>();
  const int32_t* position = positions.const_data_ptr<int32_t>();
  const int32_t* entry = entries.const_data_ptr<int32_t>();
  float* to = values.data_ptr<float>();
  at::parallel_for(0, positions.numel(), 1 << 14, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) to[entry[k]] = from[position[k]];
  });
  return values;
}

// The inverse of `gather`: a tensor in the layout of `weight`, zero but for memory[positions[k]] = values[entries[k]].
Tensor scatter(const Tensor& values, const Tensor& positions, const Tensor& entries, const Tensor& weight) {
  Tensor dense = at::empty_strided(weight.sizes(), weight.strides(), weight.options());
  const Tensor contiguous = values.contiguous();
  const float* from = contiguous.const_data_ptr<float>();
  const int32_t* position = positions.const_data_ptr<int32_t>();
  const int32_t* entry = entries.const_data_ptr<int32_t>();
  float* to = dense.data_ptr<float>();
  const int64_t count = positions.numel(), size = weight.numel();
  constexpr int64_t at_once = 1 << 9;  // zeros and values meet in the L1 cache, so memory is written once
  at::parallel_for(0, count / at_once + 1, 32, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * at_once, last = std::min(first + at_once, count);
      const int64_t begins = first == 0 ? 0 : first < count ? position[first] : size;
      std::fill(to + begins, to + (last < count ? position[last] : size), 0.0f);
      for (int64_t k = first; k < last; ++k) to[position[k]] = from[entry[k]];
    }
  });
  return dense;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(sparseift, m) {
  m.def("best_tiles(int[] weight_size, int[] input_size, int[] geometry) -> int[]", best_tiles);
  m.def("index(Tensor mask, int[] geometry, int[] tiles) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def("gather(Tensor weight, Tensor positions, Tensor entries) -> Tensor");
  m.def("scatter(Tensor values, Tensor positions, Tensor entries, Tensor weight) -> Tensor");
}

TORCH_LIBRARY_IMPL(sparseift, CPU, m) {
  m.impl("index", index);
  m.impl("gather", gather);
  m.impl("scatter", scatter);
}

}  // namespace sparseift
