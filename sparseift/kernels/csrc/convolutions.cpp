// The operators that compute: convolutions with active weights, and operands. Activations are float tensors
// (N, C, H, W) with the batch innermost in memory. An operand is six arguments: x, scale, other, slope, shift and floor
// (kernels.h).
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "tensors.h"

namespace sparseift {
namespace {

const float* data(const Maybe& t) { return t ? t->const_data_ptr<float>() : nullptr; }

// The tensors of an operand, in the layout of the kernels.
struct OperandTensors {
  Tensor x;
  Maybe scale, other, slope, shift;
  double floor;

  OperandTensors(const Tensor& x, const Maybe& scale, const Maybe& other, const Maybe& slope, const Maybe& shift,
                 double floor)
      : x(batch_innermost(x)), scale(of_channels(scale)), slope(of_channels(slope)), shift(of_channels(shift)),
        floor(floor) {
    if (other) {
      TORCH_CHECK(other->sizes() == x.sizes(), "expected two tensors of the same size");
      this->other = batch_innermost(*other);
    }
    TORCH_CHECK(shift || other || !(scale || floor > -INFINITY),
                "expected a shift with a scale or a floor");
  }

  // Whether it is x as it is.
  bool plain() const { return !other && !shift; }

  Operand operand(bool flat) const;

 private:
  Maybe of_channels(const Maybe& t) const {
    if (!t) return t;
    TORCH_CHECK(t->dim() == 1 && t->size(0) == x.size(0), "expected one value for each channel");
    return t->contiguous();
  }
};

template <class Float>
Volume<Float> volume(const Tensor& t, bool flat) {  // of a tensor (C, H, W, N)
  Float* data;
  if constexpr (std::is_const_v<Float>) data = t.const_data_ptr<float>();
  else data = t.data_ptr<float>();
  if (flat) return {data, t.size(0), 1, 1, t.size(1) * t.size(2) * t.size(3)};
  return {data, t.size(0), t.size(1), t.size(2), t.size(3)};
}

Operand OperandTensors::operand(bool flat) const {
  return {volume<const float>(x, flat), data(scale), data(other), data(slope), data(shift), float(floor)};
}

Tensor as_image(const Tensor& t) { return t.permute({3, 0, 1, 2}); }  // of a tensor (C, H, W, N)

Index checked(const Tensor& data, const Tensor& values) {
  TORCH_CHECK(data.scalar_type() == at::kInt && data.is_contiguous(), "expected an index of int32");
  const Index index(data.const_data_ptr<int32_t>());
  TORCH_CHECK(index.header->lanes == kernels().lanes, "the index is one of another instruction set");
  TORCH_CHECK(index.header->active == values.numel(), "the index has another number of active weights");
  return index;
}

// Tiles are divided into this many parts at most, whatever the number of threads, so that sums have the same bits.
constexpr int64_t PARTS = 32;

// Compute a convolution, and return the sums of each row of each part, (parts, rows, SUMS), if it finishes with some.
Tensor run(const Convolution& call) {
  const Header& header = *call.index.header;
  const int64_t rows = call.result.channels * header.phases.h * header.phases.w;
  TORCH_CHECK(header.columns == call.source.x.channels && header.rows == rows, "the index is one of other channels");
  const int64_t tiles = Grid(header, call.result).size(), parts = std::min(PARTS, tiles);
  if (call.finish == Finish::kNone) {
    at::parallel_for(0, tiles, 1,
                     [&](int64_t begin, int64_t end) { kernels().convolve(call, begin, end, nullptr); });
    return {};
  }
  Tensor sums = at::empty({parts, rows, SUMS}, at::kDouble);
  double* of_part = sums.data_ptr<double>();
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      kernels().convolve(call, tiles * i / parts, tiles * (i + 1) / parts, of_part + i * rows * SUMS);
  });
  return sums;
}

// Mean and variance of each row, from the numbers, means and squared deviations of parts.
std::tuple<Tensor, Tensor> moments(const Tensor& sums) {
  const int64_t parts = sums.size(0), rows = sums.size(1);
  Tensor means = at::empty({rows}, at::kFloat), variances = at::empty({rows}, at::kFloat);
  for (int64_t row = 0; row < rows; ++row) {
    double count = 0, mean = 0, squares = 0;
    for (int64_t i = 0; i < parts; ++i) {
      const double* part = sums.const_data_ptr<double>() + (i * rows + row) * SUMS;
      const double all = count + part[0], apart = part[1] - mean;
      squares += part[2] + apart * apart * count * part[0] / all;
      mean += apart * part[0] / all;
      count = all;
    }
    means.data_ptr<float>()[row] = mean;
    variances.data_ptr<float>()[row] = squares / count;
  }
  return {means, variances};
}

// The value of an operand, (C, H, W, N).
Tensor value_of(const OperandTensors& operand) {
  Tensor value = at::empty_like(operand.x);
  at::parallel_for(0, operand.x.size(0), 1, [&](int64_t begin, int64_t end) {
    kernels().evaluate(operand.operand(false), value.data_ptr<float>(), begin, end);
  });
  return value;
}

// Results that are not asked for.
Tensor nothing() { return at::empty({0}, at::kFloat); }

// A convolution of an operand with the active weights of an index; `kernel` is (output channels, height, width).
// Returns the output; mean and variance of each of its channels, if `with_moments`; and the value of an operand that
// has another tensor.
std::tuple<Tensor, Tensor, Tensor, Tensor> convolution(
    const Tensor& x, const Maybe& scale, const Maybe& other, const Maybe& slope, const Maybe& shift, double floor,
    const Tensor& values, const Maybe& bias, const Tensor& forward, const Tensor& transposed, const Tensor& order,
    Ints kernel, Ints geometry, bool with_moments) {
  const Geometry g = geometry_of(pair(kernel.slice(1, 2)), geometry);
  const int64_t height = extent(x.size(2), g.kernel.h, g.stride.h, g.padding.h, g.dilation.h);
  const int64_t width = extent(x.size(3), g.kernel.w, g.stride.w, g.padding.w, g.dilation.w);
  TORCH_CHECK(height > 0 && width > 0, "the input is smaller than the kernel");
  const bool flat = pointwise(g);
  const OperandTensors operand(x, scale, other, slope, shift, floor);
  Operand source = operand.operand(flat);
  Tensor value = nothing(), mean = nothing(), variance = nothing();
  if (other) {  // its value is needed beyond this convolution, as that of a residual sum
    const Tensor memory = value_of(operand);
    source = {volume<const float>(memory, flat)};
    value = as_image(memory);
  }
  Tensor result = at::empty({kernel[0], height, width, x.size(0)}, x.options());
  const Convolution call{checked(forward, values), values.const_data_ptr<float>(), data(bias), source,
                         volume<float>(result, flat), with_moments ? Finish::kMoments : Finish::kNone, {}};
  const Tensor sums = run(call);
  if (with_moments) std::tie(mean, variance) = moments(sums);
  return {as_image(result), mean, variance, value};
}

// Gradients of an operand: of x, other, scale, slope and shift.
using OperandGradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

// The memory of a gradient of other, unless it is equal to that of x or there is no other.
Tensor memory_for_other(const OperandTensors& operand) {
  return operand.other && (operand.scale || operand.slope) ? at::empty_like(operand.x) : Tensor();
}

// Gradients of an operand from those of x and of other, if it has memory of its own, and the sums of gates.
OperandGradients gradients(const OperandTensors& operand, const Tensor& of_x, const Tensor& of_other,
                           const Tensor& sums) {
  const int64_t channels = operand.x.size(0), parts = sums.size(0);
  const int64_t phases = sums.size(1) / std::max<int64_t>(1, channels);
  const double* from = sums.const_data_ptr<double>();
  auto total = [&](const Maybe& of, int64_t which) {  // over parts, and over the rows that are phases of a channel
    if (!of) return nothing();
    Tensor result = at::empty({channels}, at::kFloat);
    for (int64_t c = 0; c < channels; ++c) {
      double sum = 0;
      for (int64_t part = 0; part < parts; ++part)
        for (int64_t row = c * phases; row < (c + 1) * phases; ++row)
          sum += from[(part * channels * phases + row) * SUMS + which];
      result.data_ptr<float>()[c] = sum;
    }
    return result;
  };
  return {as_image(of_x), of_other.defined() ? as_image(of_other) : nothing(), total(operand.scale, 1),
          total(operand.slope, 2), total(operand.shift, 0)};
}

// The gradient of an output as an operand: those of the mean and the variance of its channels add a multiple of the
// output, and a constant, to its own.
OperandTensors output_gradient(const Tensor& gradient, const Maybe& output, const Maybe& mean, const Maybe& of_mean,
                               const Maybe& of_variance) {
  if (!output || !(of_mean || of_variance)) return {gradient, {}, {}, {}, {}, -INFINITY};
  TORCH_CHECK(mean, "expected the mean of an output whose moments have gradients");
  Tensor slope = at::empty_like(*mean), shift = at::empty_like(*mean);
  const float count = output->numel() / std::max<int64_t>(1, mean->numel());
  const Maybe means = of_mean ? of_mean->contiguous() : of_mean;
  const Maybe variances = of_variance ? of_variance->contiguous() : of_variance;
  for (int64_t c = 0; c < mean->numel(); ++c) {
    const float rise = variances ? 2 / count * data(variances)[c] : 0;
    slope.data_ptr<float>()[c] = rise;
    shift.data_ptr<float>()[c] = (means ? data(means)[c] / count : 0) - rise * data(mean)[c];
  }
  return {gradient, {}, output, slope, shift, -INFINITY};
}

// The gradients of an operand that `convolution` has taken, from those of its results. `of_value`, that of its value,
// is added to the gradient of the operand.
OperandGradients input_gradient(
    const Tensor& gradient, const Maybe& output, const Maybe& mean, const Maybe& of_mean, const Maybe& of_variance,
    const Maybe& of_value, const Tensor& x, const Maybe& scale, const Maybe& other, const Maybe& slope,
    const Maybe& shift, double floor, const Tensor& values, const Tensor& transposed, const Tensor& order, Ints kernel,
    Ints geometry) {
  const bool flat = pointwise(geometry_of(pair(kernel.slice(1, 2)), geometry));
  const OperandTensors of_output = output_gradient(gradient, output, mean, of_mean, of_variance);
  const OperandTensors operand(x, scale, other, slope, shift, floor);
  const Tensor in_order = values.index_select(0, order);
  Tensor of_x = at::empty_like(operand.x), of_other = memory_for_other(operand);
  Maybe added;
  if (of_value) added = batch_innermost(*of_value);
  Convolution call{checked(transposed, in_order), in_order.const_data_ptr<float>(), nullptr, of_output.operand(flat),
                   volume<float>(of_x, flat), Finish::kNone, {}};
  if (operand.plain()) {
    run(call);
    return {as_image(of_x), nothing(), nothing(), nothing(), nothing()};
  }
  call.finish = Finish::kGate;
  call.gate = {operand.operand(flat), data(added), of_x.data_ptr<float>(),
               of_other.defined() ? of_other.data_ptr<float>() : nullptr};
  return gradients(operand, of_x, of_other, run(call));
}

// The gradients of active weights.
Tensor weight_gradient(const Tensor& gradient, const Maybe& output, const Maybe& mean, const Maybe& of_mean,
                       const Maybe& of_variance, const Tensor& x, const Maybe& scale, const Maybe& shift, double floor,
                       const Tensor& forward, int64_t active, Ints kernel, Ints geometry) {
  const bool flat = pointwise(geometry_of(pair(kernel.slice(1, 2)), geometry));
  const OperandTensors of_output = output_gradient(gradient, output, mean, of_mean, of_variance);
  const OperandTensors operand(x, scale, {}, {}, shift, floor);
  Tensor values = at::zeros({active}, x.options()), total = at::zeros({active}, x.options());
  const WeightGradient call{checked(forward, values), operand.operand(flat), of_output.operand(flat),
                            values.data_ptr<float>(), total.data_ptr<float>()};
  const int64_t parts = at::get_num_threads();
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) kernels().weight_gradient(call, part, parts);
  });
  return total;
}

// The value of an operand.
Tensor evaluate(const Tensor& x, const Maybe& scale, const Maybe& other, const Maybe& slope, const Maybe& shift,
                double floor) {
  const OperandTensors operand(x, scale, other, slope, shift, floor);
  return as_image(value_of(operand));
}

OperandGradients operand_gradient(const Tensor& gradient, const Tensor& x, const Maybe& scale, const Maybe& other,
                                  const Maybe& slope, const Maybe& shift, double floor) {
  const OperandTensors operand(x, scale, other, slope, shift, floor);
  const Tensor of_value = batch_innermost(gradient);
  Tensor of_x = at::empty_like(operand.x), of_other = memory_for_other(operand);
  Tensor sums = at::zeros({1, operand.x.size(0), SUMS}, at::kDouble);
  const Gate gate{operand.operand(false), of_value.const_data_ptr<float>(), of_x.data_ptr<float>(),
                  of_other.defined() ? of_other.data_ptr<float>() : nullptr};
  at::parallel_for(0, operand.x.size(0), 1,
                   [&](int64_t begin, int64_t end) { kernels().gate(gate, begin, end, sums.data_ptr<double>()); });
  return gradients(operand, of_x, of_other, sums);
}

}  // namespace

#define OPERAND "Tensor x, Tensor? scale, Tensor? other, Tensor? slope, Tensor? shift, float floor"
#define GRADIENT "Tensor gradient, Tensor? output, Tensor? mean, Tensor? of_mean, Tensor? of_variance"

TORCH_LIBRARY_FRAGMENT(sparseift, m) {
  m.def(
      "convolution(" OPERAND ", Tensor values, Tensor? bias, Tensor forward, Tensor transposed, Tensor order, "
      "int[] kernel, int[] geometry, bool with_moments) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "input_gradient(" GRADIENT ", Tensor? of_value, " OPERAND ", Tensor values, Tensor transposed, Tensor order, "
      "int[] kernel, int[] geometry) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "weight_gradient(" GRADIENT ", Tensor x, Tensor? scale, Tensor? shift, float floor, Tensor forward, "
      "SymInt active, int[] kernel, int[] geometry) -> Tensor");
  m.def("evaluate(" OPERAND ") -> Tensor");
  m.def("operand_gradient(Tensor gradient, " OPERAND ") -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(sparseift, CPU, m) {
  m.impl("convolution", convolution);
  m.impl("input_gradient", input_gradient);
  m.impl("weight_gradient", weight_gradient);
  m.impl("evaluate", evaluate);
  m.impl("operand_gradient", operand_gradient);
}

}  // namespace sparseift
