// Tensors and settings as the kernels take them.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels.h"

namespace sparseift {

using at::Tensor;
using Ints = at::IntArrayRef;
using Maybe = std::optional<Tensor>;

// The kernels of the chosen instruction set.
const Kernels& kernels();

inline Pair pair(Ints values) { return {int32_t(values[0]), int32_t(values[1])}; }

// All of a convolution but its weight: stride, padding and dilation, two values each, and the groups.
Geometry geometry_of(Pair kernel, Ints numbers);

// Whether samples and pixels can be taken for samples of one pixel.
bool pointwise(const Geometry& g);

int64_t extent(int64_t size, int32_t kernel, int32_t stride, int32_t padding, int32_t dilation);

// The tensor (C, H, W, N), contiguous, of one (N, C, H, W).
Tensor batch_innermost(const Tensor& x);

}  // namespace sparseift
