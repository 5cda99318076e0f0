#include "index_build.h"

#include <ATen/Parallel.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

namespace sparseift {
namespace {

int32_t up(int32_t a, int32_t b) { return (a + b - 1) / b; }

// The size of blocks of about equal size, of at most `most` each.
int32_t even(int32_t count, int32_t most) { return up(count, up(count, std::max(1, most))); }

int64_t cache_size(int name, int64_t otherwise) {
  const long size = sysconf(name);
  return size > 0 ? size : otherwise;
}

// One spatial dimension of a convolution.
struct Axis {
  struct Tap {
    int32_t plane, phase, shift;
  };
  struct Part {
    int32_t first, size;
  };
  std::vector<Tap> taps;
  std::vector<Part> planes;
  int32_t source_stride, phases, widest = 0;

  Axis(int32_t kernel, int32_t stride, int32_t padding, int32_t dilation, int32_t tile, bool transposed)
      : source_stride(transposed ? 1 : stride), phases(transposed ? stride : 1) {
    struct Range {
      int32_t residue, low, high;
    };
    std::vector<Range> ranges;
    for (int32_t k = 0; k < kernel; ++k) {
      // In the forward pass, the pixel of tap k of result a is (a + shift) * stride + residue - padding. In the input
      // gradient, that of result a * stride + phase is a + shift.
      const int32_t at = k * dilation;
      const int32_t phase = transposed ? ((at - padding) % stride + stride) % stride : 0;
      const int32_t residue = transposed ? 0 : at % stride;
      const int32_t shift = transposed ? (phase + padding - at) / stride : at / stride;
      auto range = std::find_if(ranges.begin(), ranges.end(), [&](const Range& r) { return r.residue == residue; });
      if (range == ranges.end()) range = ranges.insert(range, {residue, shift, shift});
      range->low = std::min(range->low, shift);
      range->high = std::max(range->high, shift);
      taps.push_back({int32_t(range - ranges.begin()), phase, shift});
    }
    for (const Range& r : ranges) {
      const int32_t first = transposed ? r.low : r.low * stride + r.residue - padding;
      planes.push_back({first, tile + r.high - r.low});
      widest = std::max(widest, planes.back().size);
    }
    for (Tap& tap : taps) tap.shift -= ranges[tap.plane].low;
  }
};

}  // namespace

Layout::Layout(const Kernels& kernels, Tile tile, const WeightShape& weight, const Geometry& g, bool transposed) {
  const Axis h(weight.kernel.h, g.stride.h, g.padding.h, g.dilation.h, tile.height, transposed);
  const Axis w(weight.kernel.w, g.stride.w, g.padding.w, g.dilation.w, tile.width, transposed);
  int32_t pixels = 0;
  for (const Axis::Part& y : h.planes)
    for (const Axis::Part& x : w.planes) {
      planes.push_back({{y.first, x.first}, {y.size, x.size}, pixels});
      pixels += y.size * w.widest;
    }
  for (const Axis::Tap& y : h.taps)
    for (const Axis::Tap& x : w.taps) {
      const int32_t base = planes[y.plane * w.planes.size() + x.plane].base;
      taps.push_back({y.phase * w.phases + x.phase, base + y.shift * w.widest + x.shift});
    }

  const int32_t inputs = weight.columns * g.groups, phases = h.phases * w.phases;
  const int32_t columns = transposed ? weight.rows : inputs, rows = transposed ? inputs * phases : weight.rows;
  const int64_t vector = int64_t(kernels.lanes) * sizeof(float);
  const int64_t of_column = pixels * tile.blocks * vector;  // packed tile, in the L1 cache with room for the sums
  const int64_t of_row = int64_t(tile.height) * tile.width * tile.blocks * vector;  // sums, in the L2 cache
  const int32_t column_block = even(columns, int32_t(cache_size(_SC_LEVEL1_DCACHE_SIZE, 1 << 15) * 7 / 8 / of_column));
  const int32_t row_block = even(rows, int32_t(cache_size(_SC_LEVEL2_CACHE_SIZE, 1 << 19) / 2 / of_row));
  header = {kernels.lanes, tile, columns, rows, column_block, row_block, {h.source_stride, w.source_stride},
            {h.phases, w.phases}, int32_t(planes.size()), w.widest, pixels, 0, 0};
}

int32_t best_tile(const Kernels& kernels, const WeightShape& weight, const Geometry& geometry, bool transposed,
                  int64_t height, int64_t width, int64_t batch) {
  int32_t best = 0;
  double least = 0;
  for (int32_t i = 0; i < kernels.tile_count; ++i) {
    const Tile& tile = kernels.tiles[i];
    const Layout layout(kernels, tile, weight, geometry, transposed);
    const Grid grid(tile, kernels.lanes, layout.header.phases, height, width, batch);
    // Few sums wait for each other, and each visit of a row and each packed vector has a cost of its own.
    const int32_t sums = tile.height * tile.width * tile.blocks;
    const double cost = grid.size() * (std::max(sums, 8) + 2 + 0.02 * layout.header.pixels * tile.blocks);
    if (i == 0 || cost < least) best = i, least = cost;
  }
  return best;
}

ActiveWeights::ActiveWeights(const uint8_t* mask, const int64_t strides[4], const WeightShape& shape)
    : starts(shape.rows + 1) {
  const int32_t taps = shape.kernel.h * shape.kernel.w;
  std::vector<int64_t> tap_at(taps);
  for (int32_t t = 0; t < taps; ++t) tap_at[t] = t / shape.kernel.w * strides[2] + t % shape.kernel.w * strides[3];
  auto for_each_active = [&](int64_t row, auto&& visit) {
    for (int32_t c = 0; c < shape.columns; ++c) {
      const int64_t at = row * strides[0] + c * strides[1];
      for (int32_t t = 0; t < taps; ++t)
        if (mask[at + tap_at[t]]) visit(c, t, at + tap_at[t]);
    }
  };
  at::parallel_for(0, shape.rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t count = 0;
      for_each_active(row, [&](int32_t, int32_t, int64_t) { ++count; });
      starts[row + 1] = count;
    }
  });
  std::partial_sum(starts.begin(), starts.end(), starts.begin());
  weights.resize(starts.back());
  positions.resize(starts.back());
  at::parallel_for(0, shape.rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t next = starts[row];
      for_each_active(row, [&](int32_t c, int32_t t, int64_t position) {
        weights[next] = {c, t};
        positions[next++] = int32_t(position);
      });
    }
  });
}

std::vector<int32_t> build_index(const Layout& layout, const ActiveWeights& active, const WeightShape& weight,
                                 int32_t groups, bool transposed, std::vector<int32_t>& entries) {
  Header header = layout.header;
  const int32_t phases = header.phases.h * header.phases.w, group_rows = weight.rows / groups;
  const int32_t column_blocks = up(header.columns, header.column_block), row_block = header.row_block;
  const int32_t row_blocks = up(header.rows, row_block), segments = row_blocks * column_blocks;
  const int32_t vector = header.tile.blocks * header.lanes * int32_t(sizeof(float));

  // A cell holds the weights of one row in one segment. Output channels are handed to threads in column blocks of the
  // transposed index, so that no two threads write to one cell.
  auto for_each_active = [&](auto&& visit) {
    const int32_t grain = transposed ? header.column_block : 16;
    at::parallel_for(0, up(weight.rows, grain), 1, [&](int64_t begin, int64_t end) {
      for (int32_t o = begin * grain; o < std::min<int64_t>(weight.rows, end * grain); ++o)
        for (int64_t k = active.starts[o]; k < active.starts[o + 1]; ++k) {
          const Active& one = active.weights[k];
          const Layout::Tap& tap = layout.taps[one.tap];
          const int32_t input = o / group_rows * weight.columns + one.column;
          const int32_t row = transposed ? input * phases + tap.phase : o, column = transposed ? o : input;
          const int64_t segment = int64_t(row / row_block) * column_blocks + column / header.column_block;
          const int32_t pixel = column % header.column_block * header.pixels + tap.pixel;
          visit(k, segment * row_block + row % row_block, pixel * vector);
        }
    });
  };
  std::vector<int32_t> cells(int64_t(segments) * row_block);
  for_each_active([&](int64_t, int64_t cell, int32_t) { ++cells[cell]; });

  auto rows_of = [&](int32_t segment) {
    return std::min(row_block, header.rows - segment / column_blocks * row_block);
  };
  auto visits_all = [&](int32_t segment) {
    return segment % column_blocks == 0 || segment % column_blocks == column_blocks - 1;
  };
  std::vector<int32_t> first_visit(segments + 1), first_weight(segments + 1);
  at::parallel_for(0, segments, 1, [&](int64_t begin, int64_t end) {
    for (int32_t segment = begin; segment < end; ++segment) {
      const int32_t* counts = &cells[int64_t(segment) * row_block];
      const int32_t rows = rows_of(segment);
      first_visit[segment + 1] = visits_all(segment) ? rows : rows - int32_t(std::count(counts, counts + rows, 0));
      first_weight[segment + 1] = std::accumulate(counts, counts + rows, 0);
    }
  });
  std::partial_sum(first_visit.begin(), first_visit.end(), first_visit.begin());
  std::partial_sum(first_weight.begin(), first_weight.end(), first_weight.begin());
  header.visits = first_visit.back();
  header.active = first_weight.back();

  std::vector<int32_t> data(Index::size(header));
  std::memcpy(data.data(), &header, sizeof(Header));
  const Index index(data.data());
  std::copy(layout.planes.begin(), layout.planes.end(), const_cast<Plane*>(index.planes));
  std::copy(first_visit.begin(), first_visit.end(), const_cast<int32_t*>(index.segments));
  int32_t* rows = const_cast<int32_t*>(index.rows);
  int32_t* starts = const_cast<int32_t*>(index.starts);
  int32_t* offsets = const_cast<int32_t*>(index.offsets);
  starts[header.visits] = header.active;
  at::parallel_for(0, segments, 1, [&](int64_t begin, int64_t end) {
    std::vector<int32_t> order(row_block);
    for (int32_t segment = begin; segment < end; ++segment) {
      int32_t* counts = &cells[int64_t(segment) * row_block];  // which become the next weight of each cell
      const auto last = order.begin() + rows_of(segment);
      std::iota(order.begin(), last, 0);
      std::stable_sort(order.begin(), last, [&](int32_t a, int32_t b) { return counts[a] < counts[b]; });
      const int32_t visits = first_visit[segment + 1] - first_visit[segment];
      int32_t weight_at = first_weight[segment];
      for (int32_t i = 0; i < visits; ++i) {
        const int32_t row = *(last - visits + i);
        rows[first_visit[segment] + i] = row;
        starts[first_visit[segment] + i] = weight_at;
        weight_at += std::exchange(counts[row], weight_at);
      }
    }
  });
  entries.resize(active.weights.size());
  for_each_active([&](int64_t k, int64_t cell, int32_t offset) {
    entries[k] = cells[cell]++;
    offsets[entries[k]] = offset;
  });
  return data;
}

}  // namespace sparseift
