// The operators sparseift::*. Activations are float tensors (N, C, H, W) with the batch innermost in memory.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "index_build.h"

namespace sparseift {
namespace {

using at::Tensor;
using Ints = at::IntArrayRef;

const Kernels* chosen = nullptr;

// Choose the kernels: "avx2", "avx512", or "" for the widest. Return their name, or "" if the processor lacks them.
std::string choose_instruction_set(const std::string& name) {
  const Kernels* found = nullptr;
  for (const Kernels* kernels : {avx2(), avx512()})
    if (kernels && (name.empty() || name == kernels->name)) found = kernels;
  if (found) chosen = found;
  return found ? found->name : "";
}

const Kernels& kernels() {
  TORCH_CHECK(chosen, "no instruction set is chosen");
  return *chosen;
}

Pair pair(Ints values) { return {int32_t(values[0]), int32_t(values[1])}; }

WeightShape weight_shape(Ints size) {
  TORCH_CHECK(size.size() == 4, "expected a weight of four dimensions");
  return {int32_t(size[0]), int32_t(size[1]), {int32_t(size[2]), int32_t(size[3])}};
}

// All of a convolution but its weight: stride, padding and dilation, two values each, and the groups.
Geometry geometry_of(Pair kernel, Ints g) {
  TORCH_CHECK(g.size() == 7, "expected stride, padding, dilation and groups");
  return {kernel, pair(g.slice(0, 2)), pair(g.slice(2, 2)), pair(g.slice(4, 2)), int32_t(g[6])};
}

// Whether samples and pixels can be taken for samples of one pixel.
bool pointwise(const Geometry& g) {
  return g.kernel.h == 1 && g.kernel.w == 1 && g.stride.h == 1 && g.stride.w == 1 && g.padding.h == 0 &&
         g.padding.w == 0;
}

int64_t extent(int64_t size, int32_t kernel, int32_t stride, int32_t padding, int32_t dilation) {
  return (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
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

// Index of a mask for two tiles: of the forward pass, of the input gradient, the place of each active weight in the
// memory of the dense weight, and the place in the first index of each active weight of the second.
std::tuple<Tensor, Tensor, Tensor, Tensor> index(const Tensor& mask, Ints geometry, Ints tiles) {
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
  Tensor positions = at::empty({count}, at::kInt), order = at::empty({count}, at::kInt);
  int32_t* position = positions.data_ptr<int32_t>();
  int32_t* entry = order.data_ptr<int32_t>();
  at::parallel_for(0, count, 1 << 14, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      position[forward_entries[k]] = active.positions[k];
      entry[transposed_entries[k]] = forward_entries[k];
    }
  });
  return {forward, transposed, positions, order};
}

// values[i] = weight.memory[positions[i]]
Tensor gather(const Tensor& weight, const Tensor& positions) {
  Tensor values = at::empty(positions.sizes(), weight.options());
  const float* from = weight.const_data_ptr<float>();
  const int32_t* position = positions.const_data_ptr<int32_t>();
  float* to = values.data_ptr<float>();
  at::parallel_for(0, positions.numel(), 1 << 14, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = from[position[i]];
  });
  return values;
}

// The inverse of `gather`: a tensor in the layout of `weight`, zero but for memory[positions[i]] = values[i].
Tensor scatter(const Tensor& values, const Tensor& positions, const Tensor& weight) {
  Tensor dense = at::empty_strided(weight.sizes(), weight.strides(), weight.options()).zero_();
  const Tensor contiguous = values.contiguous();
  const float* from = contiguous.const_data_ptr<float>();
  const int32_t* position = positions.const_data_ptr<int32_t>();
  float* to = dense.data_ptr<float>();
  at::parallel_for(0, positions.numel(), 1 << 14, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[position[i]] = from[i];
  });
  return dense;
}

// to[c][r] = from[r][c], by squares whose lines stay in the L1 cache.
void transpose(const float* from, int64_t rows, int64_t columns, float* to) {
  constexpr int64_t side = 16;
  at::parallel_for(0, (columns + side - 1) / side, 64, [&](int64_t begin, int64_t end) {
    for (int64_t left = begin * side; left < std::min(end * side, columns); left += side)
      for (int64_t top = 0; top < rows; top += side)
        for (int64_t c = left; c < std::min(left + side, columns); ++c)
          for (int64_t r = top; r < std::min(top + side, rows); ++r) to[c * rows + r] = from[r * columns + c];
  });
}

// A copy of a tensor (N, C, H, W) with the batch innermost in memory.
Tensor to_batch_innermost(const Tensor& x) {
  TORCH_CHECK(x.dim() == 4 && x.scalar_type() == at::kFloat, "expected a float tensor (N, C, H, W)");
  const Tensor from = x.contiguous();
  Tensor to = at::empty({x.size(1), x.size(2), x.size(3), x.size(0)}, x.options());
  transpose(from.const_data_ptr<float>(), x.size(0), x.numel() / std::max<int64_t>(1, x.size(0)), to.data_ptr<float>());
  return to.permute({3, 0, 1, 2});
}

// The tensor (C, H, W, N), contiguous.
Tensor batch_innermost(const Tensor& x) {
  const Tensor permuted = x.permute({1, 2, 3, 0});
  return permuted.is_contiguous() ? permuted : to_batch_innermost(x).permute({1, 2, 3, 0});
}

// A contiguous copy of a tensor (N, C, H, W) with the batch innermost in memory.
Tensor from_batch_innermost(const Tensor& x) {
  const Tensor from = batch_innermost(x);
  Tensor to = at::empty(x.sizes(), x.options());
  transpose(from.const_data_ptr<float>(), x.numel() / std::max<int64_t>(1, x.size(0)), x.size(0), to.data_ptr<float>());
  return to;
}

template <class Float>
Volume<Float> volume(const Tensor& t, bool flat) {  // of a tensor (C, H, W, N)
  Float* data;
  if constexpr (std::is_const_v<Float>) data = t.const_data_ptr<float>();
  else data = t.data_ptr<float>();
  if (flat) return {data, t.size(0), 1, 1, t.size(1) * t.size(2) * t.size(3)};
  return {data, t.size(0), t.size(1), t.size(2), t.size(3)};
}

Index checked(const Tensor& data, const Tensor& values) {
  TORCH_CHECK(data.scalar_type() == at::kInt && data.is_contiguous(), "expected an index of int32");
  const Index index(data.const_data_ptr<int32_t>());
  TORCH_CHECK(index.header->lanes == kernels().lanes, "the index is one of another instruction set");
  TORCH_CHECK(index.header->active == values.numel(), "the index has another number of active weights");
  return index;
}

Tensor run(const Tensor& source, const Tensor& values, const Tensor* bias, const Tensor& index, Ints result_size,
           bool flat) {
  const Tensor from = batch_innermost(source);
  Tensor result = at::empty({result_size[1], result_size[2], result_size[3], result_size[0]}, source.options());
  const Convolution call{checked(index, values), values.const_data_ptr<float>(),
                         bias ? bias->const_data_ptr<float>() : nullptr, volume<const float>(from, flat),
                         volume<float>(result, flat)};
  const Header& header = *call.index.header;
  const int64_t rows = call.result.channels * header.phases.h * header.phases.w;
  TORCH_CHECK(header.columns == call.source.channels && header.rows == rows, "the index is one of other channels");
  at::parallel_for(0, Grid(header, call.result).size(), 1,
                   [&](int64_t begin, int64_t end) { kernels().convolve(call, begin, end); });
  return result.permute({3, 0, 1, 2});
}

// A convolution with the active weights of an index; `kernel` is (output channels, height, width).
Tensor convolution(const Tensor& input, const Tensor& values, const std::optional<Tensor>& bias, const Tensor& forward,
                   const Tensor& transposed, const Tensor& order, Ints kernel, Ints geometry) {
  const Geometry g = geometry_of(pair(kernel.slice(1, 2)), geometry);
  const int64_t height = extent(input.size(2), g.kernel.h, g.stride.h, g.padding.h, g.dilation.h);
  const int64_t width = extent(input.size(3), g.kernel.w, g.stride.w, g.padding.w, g.dilation.w);
  TORCH_CHECK(height > 0 && width > 0, "the input is smaller than the kernel");
  return run(input, values, bias ? &*bias : nullptr, forward, {input.size(0), kernel[0], height, width}, pointwise(g));
}

Tensor input_gradient(const Tensor& gradient, const Tensor& values, const Tensor& transposed, const Tensor& order,
                      Ints input_size, Ints kernel, Ints geometry) {
  const Geometry g = geometry_of(pair(kernel.slice(1, 2)), geometry);
  return run(gradient, gather(values, order), nullptr, transposed, input_size, pointwise(g));
}

Tensor weight_gradient(const Tensor& gradient, const Tensor& input, const Tensor& forward, int64_t active, Ints kernel,
                       Ints geometry) {
  const bool flat = pointwise(geometry_of(pair(kernel.slice(1, 2)), geometry));
  const Tensor source = batch_innermost(input), from = batch_innermost(gradient);
  Tensor values = at::zeros({active}, input.options()), total = at::zeros({active}, input.options());
  const WeightGradient call{checked(forward, values), volume<const float>(source, flat),
                            volume<const float>(from, flat), values.data_ptr<float>(), total.data_ptr<float>()};
  const int64_t parts = at::get_num_threads();
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) kernels().weight_gradient(call, part, parts);
  });
  return total;
}

}  // namespace

TORCH_LIBRARY(sparseift, m) {
  m.def("choose_instruction_set(str name) -> str", choose_instruction_set);
  m.def("best_tiles(int[] weight_size, int[] input_size, int[] geometry) -> int[]", best_tiles);
  m.def("index(Tensor mask, int[] geometry, int[] tiles) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def("to_batch_innermost(Tensor x) -> Tensor");
  m.def("from_batch_innermost(Tensor x) -> Tensor");
  m.def("gather(Tensor weight, Tensor positions) -> Tensor");
  m.def("scatter(Tensor values, Tensor positions, Tensor weight) -> Tensor");
  m.def(
      "convolution(Tensor input, Tensor values, Tensor? bias, Tensor forward, Tensor transposed, Tensor order, "
      "int[] kernel, int[] geometry) -> Tensor");
  m.def(
      "input_gradient(Tensor gradient, Tensor values, Tensor transposed, Tensor order, SymInt[] input_size, "
      "int[] kernel, int[] geometry) -> Tensor");
  m.def(
      "weight_gradient(Tensor gradient, Tensor input, Tensor forward, SymInt active, int[] kernel, int[] geometry) "
      "-> Tensor");
}

TORCH_LIBRARY_IMPL(sparseift, CPU, m) {
  m.impl("index", index);
  m.impl("to_batch_innermost", to_batch_innermost);
  m.impl("from_batch_innermost", from_batch_innermost);
  m.impl("gather", gather);
  m.impl("scatter", scatter);
  m.impl("convolution", convolution);
  m.impl("input_gradient", input_gradient);
  m.impl("weight_gradient", weight_gradient);
}

}  // namespace sparseift
