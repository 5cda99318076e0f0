#include "tensors.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <string>

namespace sparseift {
namespace {

const Kernels* chosen = nullptr;

// Choose the kernels: "avx2", "avx512", or "" for the widest. Return their name, or "" if the processor lacks them.
std::string choose_instruction_set(const std::string& name) {
  const Kernels* found = nullptr;
  for (const Kernels* kernels : {avx2(), avx512()})
    if (kernels && (name.empty() || name == kernels->name)) found = kernels;
  if (found) chosen = found;
  return found ? found->name : "";
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

// A contiguous copy of a tensor (N, C, H, W) with the batch innermost in memory.
Tensor from_batch_innermost(const Tensor& x) {
  const Tensor from = batch_innermost(x);
  Tensor to = at::empty(x.sizes(), x.options());
  transpose(from.const_data_ptr<float>(), x.numel() / std::max<int64_t>(1, x.size(0)), x.size(0), to.data_ptr<float>());
  return to;
}

}  // namespace

const Kernels& kernels() {
  TORCH_CHECK(chosen, "no instruction set is chosen");
  return *chosen;
}

Geometry geometry_of(Pair kernel, Ints g) {
  TORCH_CHECK(g.size() == 7, "expected stride, padding, dilation and groups");
  return {kernel, pair(g.slice(0, 2)), pair(g.slice(2, 2)), pair(g.slice(4, 2)), int32_t(g[6])};
}

bool pointwise(const Geometry& g) {
  return g.kernel.h == 1 && g.kernel.w == 1 && g.stride.h == 1 && g.stride.w == 1 && g.padding.h == 0 &&
         g.padding.w == 0;
}

int64_t extent(int64_t size, int32_t kernel, int32_t stride, int32_t padding, int32_t dilation) {
  return (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
}

Tensor batch_innermost(const Tensor& x) {
  const Tensor permuted = x.permute({1, 2, 3, 0});
  return permuted.is_contiguous() ? permuted : to_batch_innermost(x).permute({1, 2, 3, 0});
}

TORCH_LIBRARY_FRAGMENT(sparseift, m) {
  m.def("choose_instruction_set(str name) -> str", choose_instruction_set);
  m.def("to_batch_innermost(Tensor x) -> Tensor");
  m.def("from_batch_innermost(Tensor x) -> Tensor");
}

TORCH_LIBRARY_IMPL(sparseift, CPU, m) {
  m.impl("to_batch_innermost", to_batch_innermost);
  m.impl("from_batch_innermost", from_batch_innermost);
}

}  // namespace sparseift
