// The index of a sparse convolution, and the geometry of its tiles.
//
// A forward pass and an input gradient are the same computation: each channel of the result sums active weights times
// windows of a source. In the forward pass the source is the input; a stride splits it into phases, one plane of the
// packed tile each. In the input gradient the source is the output gradient, and a stride splits the result into
// phases, one row of the index each. Linears are convolutions of one pixel.
#pragma once

#include <cstdint>

namespace sparseift {

// Outputs computed at a time: height x width pixels, for `blocks` vectors of consecutive samples.
struct Tile {
  int32_t height, width, blocks;
};

struct Pair {
  int32_t h, w;
};

struct Geometry {
  Pair kernel, stride, padding, dilation;
  int32_t groups;
};

// The part of a source that a packed tile holds: one phase, without the pixels in between.
struct Plane {
  Pair first;    // first pixel, relative to `source stride` times the first pixel of the tile
  Pair size;     // pixels
  int32_t base;  // first pixel in the packed tile of a channel
};

// A row is a channel of the result, or one phase of it (row = channel * phases + phase). A column is a channel of the
// source. Rows and columns are cut into blocks. A segment holds the active weights of a row block and a column block;
// its visits are the rows that it adds to, by increasing number of weights. The first and the last segment of a row
// block visit all rows: there the sums begin and end.
struct Header {
  int32_t lanes;
  Tile tile;
  int32_t columns, rows, column_block, row_block;
  Pair source_stride, phases;
  int32_t planes, pitch, pixels;  // of the packed tile of a channel: planes, pixels between its rows, pixels
  int32_t visits, active;         // of all segments
};

// The parts of an index, which lie behind each other in one tensor of int32.
struct Index {
  const Header* header;
  const Plane* planes;
  const int32_t* segments;  // (row blocks * column blocks + 1): the first visit of each segment
  const int32_t* rows;      // (visits): row of each visit, relative to its block
  const int32_t* starts;    // (visits + 1): first active weight of each visit
  const int32_t* offsets;   // (active): bytes from the start of the packed tile to the first factor of each weight

  explicit Index(const int32_t* data)
      : header(reinterpret_cast<const Header*>(data)),
        planes(reinterpret_cast<const Plane*>(header + 1)),
        segments(reinterpret_cast<const int32_t*>(planes + header->planes)),
        rows(segments + segment_count() + 1),
        starts(rows + header->visits),
        offsets(starts + header->visits + 1) {}

  static int64_t size(const Header& h) {
    Blocks b(h);
    return sizeof(Header) / 4 + h.planes * (sizeof(Plane) / 4) + b.rows * b.columns + 1 + 2 * h.visits + 1 + h.active;
  }

  int32_t column_blocks() const { return Blocks(*header).columns; }
  int32_t segment_count() const { return Blocks(*header).rows * Blocks(*header).columns; }
  int32_t visits(int64_t segment) const { return segments[segment + 1] - segments[segment]; }

 private:
  struct Blocks {
    int32_t rows, columns;
    explicit Blocks(const Header& h)
        : rows((h.rows + h.row_block - 1) / h.row_block), columns((h.columns + h.column_block - 1) / h.column_block) {}
  };
};

}  // namespace sparseift
